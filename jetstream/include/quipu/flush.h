/*
 * Publishing: one flush, a flusher that goes on by itself, and the proof that stream and log say
 * the same. Part of jetstream.h, which has the connection.
 *
 * Specification: docs/SPEC.md §10; docs/adr/0009 (order in the stream).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_FLUSH_H
#define QUIPU_FLUSH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

struct quipu_nats;

/* ------------------------------------------------------------------ one flush */

/** What keeps a second copy of an event out of the stream. */
enum quipu_dedup {
    /** The server is told to expect nothing under the event's subject. For ever. */
    QUIPU_DEDUP_SUBJECT = 0,
    /** The server is asked before each sending, and remembers the event's id in between, by its
     * duplicate window. For servers that must not keep an index of subjects in memory, and for
     * clusters older than nats-server 2.10.19, where an expectation can make replicas differ. One
     * request more an event; holds while nothing is sent later than the duplicate window (2 min)
     * after it was asked for. `quipu_reconcile` shows what that has missed. */
    QUIPU_DEDUP_WINDOW,
};

/** How a flush stands, for a live line. */
struct quipu_flush_live {
    uint64_t pending; /* in the outbox when the flush began, or more since, less what is settled */
    uint32_t in_flight; /* events in the window */
    uint64_t published;
    uint64_t duplicates;
    uint64_t dead;
    uint64_t resent;            /* messages that were sent again: no answer, or a new connection */
    uint64_t events_per_second; /* over the last second or so */
    bool is_reconnecting;
};

struct quipu_flush_options {
    size_t size;
    uint32_t window; /* events in flight, up to 65,536; 0: 512 */
    /** Give up when no event has got a step further for this long, server gone or silent; 0: 30 s.
     */
    int64_t give_up_us;
    /** Called now and then. May be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    /** Forget all receipts first (quipu_outbox_restart) and publish everything to this stream: the
     * way to another stream, or to one that was made anew. Nothing is published twice. */
    bool restart;
    enum quipu_dedup dedup;
    /** The same occasions as `progress`, with `ctx`. May be NULL. */
    void (*live)(void *ctx, const struct quipu_flush_live *live);
    /** Asked between rounds, with `ctx`: true ends the flush, once what is acknowledged is
     * recorded, with QUIPU_STOPPED. May be NULL. */
    bool (*should_stop)(void *ctx);
};

#define QUIPU_FLUSH_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(struct quipu_flush_options)                                                 \
    }

struct quipu_flush_report {
    uint64_t published;  /* stored by the server now */
    uint64_t duplicates; /* the stream had them already, and they are ours */
    uint64_t dead;       /* refused for good: dead letters */
    uint64_t pending;    /* left in the outbox */
    uint64_t payloads_stored;
    uint64_t payload_bytes;
    /** Of `published` and `duplicates`: in the stream although one before it in its aggregate was
     * refused for good while both were in flight. Readers wait for that one. */
    uint64_t ahead;
    uint64_t resent; /* messages that were sent again */
    uint64_t reconnects;
    int64_t took_us; /* from the first message to the last receipt; rates are counts over this */
};

/**
 * Publish what is pending: per event its payload chunk and meta, then, when both are acknowledged,
 * its envelope; then its receipt and the cursor. Never publishes an event twice, however long ago
 * the first time was (SPEC §10.3). Envelopes go out in the order of positions without waiting for
 * one another's answer, and not past one that is known to be refused; so an aggregate's events lie
 * in the stream in their order, unless the server refuses or loses one in the midst of a window
 * (docs/adr/0009). Takes the store's "flusher" lock. On failure all that was acknowledged is
 * recorded, and the next flush goes on from there; the report (may be NULL) is filled in then too.
 *
 * An event that the server will never take becomes a dead letter, and so does what comes behind it
 * in the same aggregate, until that one is retried or dropped; other aggregates go on.
 * @retval QUIPU_OK               nothing is pending any more (dead letters apart)
 * @retval QUIPU_STOPPED          options->should_stop said so
 * @retval QUIPU_BUSY             another process flushes this store, or pulls into it while this is
 * to turn to another stream
 * @retval QUIPU_NOT_PROVISIONED  stream or bucket missing: `quipu provision`
 * @retval QUIPU_DRIFT            they are there, but made so that quipu cannot use them; or the
 * receipts of this store speak of another stream (another name, or made anew under this one), or of
 * one that has been emptied since, and options->restart is not set. Nothing was sent
 * @retval QUIPU_CORRUPT          an event is damaged here; err names its position. It is not
 * published, nor is what is behind it
 * @retval QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_AUTH, QUIPU_PERMISSION, QUIPU_SERVER (stream full,
 * …), QUIPU_MISUSE, QUIPU_INVALID, and what the store says
 * @threads one at a time per connection
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_flush(struct quipu_engine *engine,
                                                         struct quipu_nats *nats,
                                                         const struct quipu_flush_options *options,
                                                         struct quipu_flush_report *report,
                                                         struct quipu_error *err);

/** What all flushes of a store have come to, by whichever process: kept in the store. */
struct quipu_flush_history {
    int64_t last_unix_us;       /* when one last did something; 0: none has */
    uint64_t events_per_second; /* of that one */
    uint64_t published;
    uint64_t duplicates; /* the stream had them already */
    uint64_t dead;
    uint64_t resent; /* messages that were sent again */
    uint64_t reconnects;
};

/** Needs no server. @retval QUIPU_CORRUPT, and what the store says. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_flush_history_read(struct quipu_engine *engine, struct quipu_flush_history *out,
                         struct quipu_error *err);

/* ------------------------------------------------------------------ going on by itself */

struct quipu_flusher_options {
    size_t size;
    struct quipu_flush_options flush; /* should_stop is left to the flusher */
    /** Flush at least this often, for what became pending without a commit that was seen, such as
     * by a restored server; 0: 60 s. */
    int64_t interval_us;
    /** After each flush that did something or failed, the first of a run, and the first that went
     * well after a failure; with flush.ctx. `err` is NULL unless
     * `status` is a failure. May be NULL. */
    void (*after)(void *ctx, enum quipu_status status, const struct quipu_flush_report *report,
                  const struct quipu_error *err);
};

#define QUIPU_FLUSHER_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(struct quipu_flusher_options), .flush = {                                   \
            .size = sizeof(struct quipu_flush_options)                                             \
        }                                                                                          \
    }

/** A flush that is repeated: at once when any process commits events, when the server is back, and
 * every interval. */
struct quipu_flusher;

/**
 * @param engine, nats  borrowed until the flusher is closed
 * @retval QUIPU_INVALID, QUIPU_MISUSE, QUIPU_NO_MEMORY, and what quipu_watch_open says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_flusher_open(struct quipu_engine *engine, struct quipu_nats *nats,
                   const struct quipu_flusher_options *options, struct quipu_flusher **out,
                   struct quipu_error *err);

/**
 * Go on until quipu_flusher_stop, or until a failure that waiting does not heal: one of this store
 * or this machine (QUIPU_CORRUPT, QUIPU_IO, QUIPU_NO_SPACE, QUIPU_NO_MEMORY, …), QUIPU_INVALID, or
 * QUIPU_DRIFT. Everything else (no server, refused credentials, a stream that is full or missing,
 * another flusher at work) is tried again after a pause that doubles, with jitter, up to 5 s where
 * the server is away and up to the interval where it refuses.
 * @retval QUIPU_OK  it was stopped; what was acknowledged is recorded
 * @threads one; quipu_flusher_stop from any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_flusher_run(struct quipu_flusher *flusher,
                                                               struct quipu_error *err);

/** Have the run end soon; one that has not begun ends at once. @threads any; also from a signal
 * handler. NULL is fine. */
QUIPU_API void quipu_flusher_stop(struct quipu_flusher *flusher);

/** Close and set NULL, when no run is under way. NULL is fine. */
QUIPU_API void quipu_flusher_close(struct quipu_flusher **flusher);

/* ------------------------------------------------------------------ reconciling */

/** How log and stream differ in one place. */
enum quipu_difference {
    /** Here with a receipt, and not in the stream. */
    QUIPU_DIFFERENCE_MISSING,
    /** Under this event's subject lies something else. */
    QUIPU_DIFFERENCE_OTHER,
    /** In the stream under quipu's subjects and not here: another store's, until it is pulled, or
     * no event at all. */
    QUIPU_DIFFERENCE_EXTRA,
    /** The same event once more, behind its first copy. */
    QUIPU_DIFFERENCE_COPY,
    /** The event is there and its payload is not in the bucket, or is something else. */
    QUIPU_DIFFERENCE_PAYLOAD,
    /** Published once and dropped since by the stream's own limits (age, number, bytes): no
     * failure, and nothing to repair. */
    QUIPU_DIFFERENCE_EXPIRED,
};

struct quipu_difference_seen {
    enum quipu_difference what;
    uint64_t position;       /* 0: the event is not here */
    uint64_t sequence;       /* 0: it is not in the stream */
    struct quipu_slice line; /* for people; borrowed for the call */
};

enum quipu_payload_check {
    QUIPU_PAYLOADS_SKIP = 0,
    /** Read every payload back from the bucket, and hash it. */
    QUIPU_PAYLOADS_CHECK,
};

struct quipu_reconcile_options {
    size_t size;
    enum quipu_payload_check payloads;
    /** Called for every difference: EXTRA and COPY by sequence, then the others in batches of
     * ascending positions. A failure that it returns ends the reconciliation. May be NULL. */
    enum quipu_status (*seen)(void *ctx, const struct quipu_difference_seen *difference,
                              struct quipu_error *err);
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL */
    void *ctx;
    /** Note in receipts that name no time when the stream got their events. Nothing else is ever
     * written. */
    bool notes_times;
};

#define QUIPU_RECONCILE_OPTIONS_INIT                                                               \
    {                                                                                              \
        .size = sizeof(struct quipu_reconcile_options)                                             \
    }

struct quipu_reconcile_report {
    uint64_t events;   /* of this log that were looked for: all but what is pending or dead */
    uint64_t waiting;  /* pending, or dead letters: not looked for */
    uint64_t messages; /* of the stream that were looked at */
    uint64_t same;
    uint64_t missing;
    uint64_t other;
    uint64_t extra;
    uint64_t copies;
    uint64_t expired;                       /* dropped since by the stream's own limits */
    uint64_t payloads;                      /* events whose payload is missing or other */
    uint64_t times;                         /* receipts that have a time now and had none */
    uint64_t first_sequence, last_sequence; /* of the stream, as of the call */
};

/**
 * Hold the log against the stream, both ways: every event that counts as published is asked for
 * under its subject and compared byte by byte, and every message of the stream is looked up here.
 * Writes nothing, here or there, but for options->notes_times. Memory is bounded whatever the
 * sizes. What others publish while it
 * runs is not looked at; what this store publishes meanwhile may be.
 * @retval QUIPU_OK     log and stream agree, but for `extra` (which a pull brings in), `expired`
 * and `waiting`
 * @retval QUIPU_DRIFT  they do not; the report says how
 * @retval QUIPU_NOT_PROVISIONED, QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_PERMISSION, QUIPU_SERVER,
 * QUIPU_CORRUPT (an event here is damaged), QUIPU_MISUSE, and what the store says. The report (may
 * be NULL) is filled in on failure too
 * @threads one at a time per connection
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_reconcile(struct quipu_engine *engine, struct quipu_nats *nats,
                const struct quipu_reconcile_options *options,
                struct quipu_reconcile_report *report, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
