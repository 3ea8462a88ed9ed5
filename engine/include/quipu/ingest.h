/*
 * Taking in events that another store recorded: verified, deduplicated by event_id, chained, all in
 * one transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INGEST_H
#define QUIPU_INGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum quipu_ingest_policy {
    /** The first event that cannot be taken fails the whole transaction, forks included (import).
     */
    QUIPU_INGEST_STRICT = 0,
    /** It goes to quarantine with its reason, and the others go on; forks are kept (pull). */
    QUIPU_INGEST_QUARANTINE,
};

enum quipu_ingest_forks {
    /** As the policy says: strict refuses them, quarantine keeps them. */
    QUIPU_INGEST_FORKS_BY_POLICY = 0,
    /** A fork is taken into the log like any other event, and the conflict recorded (forks.h). */
    QUIPU_INGEST_FORKS_KEEP,
    /** A fork is refused: QUIPU_FORK. */
    QUIPU_INGEST_FORKS_REFUSE,
};

#define QUIPU_PENDING_EVENTS_DEFAULT   UINT64_C(100000)
#define QUIPU_PENDING_BYTES_DEFAULT    (UINT64_C(256) << 20)
#define QUIPU_QUARANTINE_BYTES_DEFAULT (UINT64_C(1) << 30)

struct quipu_ingest_options {
    size_t size; /* sizeof this struct */
    enum quipu_ingest_policy policy;
    enum quipu_ingest_forks forks;
    /** How much may wait in quarantine for events that are not here yet, in all: events, and bytes
     * of their rows. 0: QUIPU_PENDING_EVENTS_DEFAULT, QUIPU_PENDING_BYTES_DEFAULT. */
    uint64_t pending_events_max;
    uint64_t pending_bytes_max;
    /** How much quarantine may hold, whatever its events are there for: bytes of rows. Beyond it an
     * event that would go there is refused: QUIPU_TOO_LARGE. 0: QUIPU_QUARANTINE_BYTES_DEFAULT. */
    uint64_t quarantine_bytes_max;
    /** The source whose signature over the carrier of these events the caller has checked, as text;
     * empty: none. Read by quipu_ingest_begin_with only. An envelope is not signed by itself, so
     * this is all that proves who recorded an event, and only an event of that very source. */
    struct quipu_slice proven_source;
};

#define QUIPU_INGEST_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_ingest_options)                                                \
    }

enum quipu_ingest_outcome { QUIPU_INGEST_ADDED, QUIPU_INGEST_KNOWN, QUIPU_INGEST_QUARANTINED };

struct quipu_ingest_report {
    uint64_t added;
    uint64_t known;
    uint64_t quarantined;
    uint64_t released; /* of `added`: those that came out of quarantine */
    uint64_t forks;    /* of `added`: those that began a branch, or took a number a second time */
};

/** One event of another store; borrowed for the call. */
struct quipu_foreign {
    struct quipu_cid cid; /* what the carrier says the envelope's CID is */
    struct quipu_slice envelope;
    struct quipu_slice payload;
    /** Where it was pulled from; stream empty: not from a stream. */
    struct quipu_slice stream;
    uint64_t sequence;
    int64_t stored_unix_us; /* when the stream got it, by the server's clock; 0: not known */
};

/**
 * What can be said of it without a store, as quipu_ingest_event does first: sizes, both hashes,
 * strict decoding, the checksum of its source.
 * @retval QUIPU_CID_MISMATCH, QUIPU_ENVELOPE, QUIPU_CBOR_*, QUIPU_FORMAT_NEWER, QUIPU_TOO_LARGE,
 * QUIPU_MISUSE (no event)
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_foreign_check(const struct quipu_foreign *event,
                                                                 struct quipu_error *err);

/** A write transaction that takes events in. Owner thread only. */
struct quipu_ingest;

/** With everything else as the policy has it, and nothing proven. @retval as quipu_txn_begin_write
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_begin(struct quipu_engine *engine,
                                                                enum quipu_ingest_policy policy,
                                                                struct quipu_ingest **out,
                                                                struct quipu_error *err);

/** `options` NULL: the defaults, strict. @retval QUIPU_MISUSE  their size is another. As above */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ingest_begin_with(struct quipu_engine *engine, const struct quipu_ingest_options *options,
                        struct quipu_ingest **out, struct quipu_error *err);

/**
 * Verify both hashes, decode strictly, then: known event_id with the same CID → known; new, and
 * every envelope in its `prev` is here and its version is one above the greatest of theirs → added.
 * An event with a stream gets its receipt, so that it is not published again. With
 * QUIPU_INGEST_STRICT a refused event fails (and the caller should abort):
 * @retval QUIPU_CID_MISMATCH, QUIPU_ENVELOPE, QUIPU_CBOR_*  not what it says it is
 * @retval QUIPU_EVENT_ID_CONFLICT  the id is known with another CID
 * @retval QUIPU_GAP                an event that it follows is not here
 * @retval QUIPU_FORK               forks are refused, and it follows an event that another one
 * follows already, or it is a second first event, or another event has its number in its source
 * @retval QUIPU_UNTRUSTED          it claims this store's own source, this store does not have it,
 * and options.proven_source is not that source: anybody could have written it
 * @retval QUIPU_FORMAT_NEWER, QUIPU_TOO_LARGE
 * A proven event of this store's own source that it does not have is taken back only as its next
 * number (else QUIPU_GAP); under a number that it has given out, it is a fork: the key is used
 * twice.
 * With QUIPU_INGEST_QUARANTINE these are kept aside and `*outcome` says so. Where as much waits as
 * may, one more that would wait fails the call with QUIPU_TOO_LARGE; nothing of it is written, what
 * came before it may be committed, and its carrier keeps it.
 *
 * An added event lets in, in the same transaction and under either policy, what waited in
 * quarantine for it: those with reason QUIPU_GAP that name it. They count as added and as
 * released.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_event(struct quipu_ingest *ingest,
                                                                const struct quipu_foreign *event,
                                                                enum quipu_ingest_outcome *outcome,
                                                                struct quipu_error *err);

/** Its transaction, for rows that are to be written together with the events; they are, also where
 * no event is added. Borrowed until commit or abort, which are not to be called on it. */
QUIPU_API struct quipu_txn *quipu_ingest_txn(struct quipu_ingest *ingest);

/** Consumes `*ingest`. Durable when it returns; `report` may be NULL. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_commit(struct quipu_ingest **ingest,
                                                                 struct quipu_ingest_report *report,
                                                                 struct quipu_error *err);
QUIPU_API void quipu_ingest_abort(struct quipu_ingest **ingest);

enum quipu_waits_for_kind {
    QUIPU_WAITS_FOR_NOTHING = 0,
    /** The event with this envelope. */
    QUIPU_WAITS_FOR_EVENT,
    /** This number of this store's own source. */
    QUIPU_WAITS_FOR_NUMBER,
};

struct quipu_waits_for {
    enum quipu_waits_for_kind kind;
    struct quipu_cid event;
    struct quipu_slice source;
    uint64_t source_seq;
};

/** What is in quarantine: kept until it is taken in after all, or dropped. Slices live during the
 * callback. */
struct quipu_quarantined {
    struct quipu_cid cid;     /* of the envelope's bytes; its name in quarantine */
    struct quipu_cid claimed; /* what the carrier said; the same where it said the truth */
    enum quipu_status reason;
    bool is_proven; /* of this store's own source, and its signature covered it (options) */
    struct quipu_waits_for waits_for; /* where the reason is QUIPU_GAP */
    struct quipu_slice line;          /* the error's message */
    struct quipu_slice envelope;      /* empty where it was over its limit */
    struct quipu_slice payload;       /* the same */
    struct quipu_slice stream;        /* empty: not from a stream */
    uint64_t sequence;
    int64_t received_unix_us;
};
typedef enum quipu_status (*quipu_quarantine_fn)(void *ctx, const struct quipu_quarantined *event,
                                                 struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_quarantined(struct quipu_engine *engine,
                                                                    quipu_quarantine_fn visit,
                                                                    void *ctx,
                                                                    struct quipu_error *err);

/**
 * Judge everything in quarantine again, except conflicts of ids and what was too large, until
 * nothing more is let in, in slices that are transactions of their own. Forks are kept: taken into
 * the log with their conflicts recorded. What follows an added event is let in by
 * ingest itself, so this is for what changed otherwise: a newer program, a row restored by hand.
 * It proves nothing anew: what was refused with QUIPU_UNTRUSTED is refused again, and comes in with
 * a carrier that this store signed. `report` may be NULL; its `quarantined` says how many were
 * refused again.
 * @retval as quipu_txn_commit; what was let in before the failure stays in
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_quarantine_retry(struct quipu_engine *engine, struct quipu_ingest_report *report,
                       struct quipu_error *err);

/** Forget one event in quarantine; it comes back when its carrier brings it again.
 * @retval QUIPU_NOT_FOUND  it is not in quarantine. @retval as quipu_txn_commit */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_quarantine_drop(struct quipu_engine *engine,
                                                                   const struct quipu_cid *cid,
                                                                   struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
