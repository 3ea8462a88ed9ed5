/*
 * libquipu-jetstream: events to a NATS JetStream stream, payloads to the JetStream object store,
 * and back. The only part of quipu with a network in it.
 *
 * Specification: docs/SPEC.md §10 (subjects, headers, messages), NATS ADR-20 (object store).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_JETSTREAM_H
#define QUIPU_JETSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/ingest.h"
#include "quipu/outbox.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_STREAM_DEFAULT         "CIM_KEYS_EVENTS"
#define QUIPU_BUCKET_DEFAULT         "cim-keys-objects"
#define QUIPU_SUBJECT_PREFIX_DEFAULT "cim.keys"

/* ------------------------------------------------------------------ connection */

/** How to reach the server. Strings are copied by quipu_nats_open. NULL or 0: the default. */
struct quipu_nats_options {
    size_t size; /* sizeof this struct */
    /* nats://127.0.0.1:4222; tls:// and several with commas between are possible; may carry
     * user:password@ or token@, which no message ever shows */
    const char *url;
    const char *credentials_file; /* .creds: JWT and seed */
    const char *user;
    const char *password;
    const char *token;
    const char *tls_ca_file; /* PEM; turns TLS on */
    const char *stream;
    const char *bucket;
    const char *subject_prefix;
    int64_t connect_timeout_us; /* 5 s */
    int64_t request_timeout_us; /* 5 s; an ack that takes longer is sent again */
};

#define QUIPU_NATS_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct quipu_nats_options)                                                  \
    }

/** A connection with the names of the stream and the bucket. One thread at a time. */
struct quipu_nats;

/**
 * Connect, within the timeout. A connection that is lost later is made anew by the next operation,
 * and by a flush in its midst. With TLS the server's certificate must be signed by the CA and name
 * the host of the url.
 * @retval QUIPU_OFFLINE  nobody listens at url. @retval QUIPU_AUTH  credentials (or, with TLS, the
 * server's certificate) refused; err says the cure
 * @retval QUIPU_INVALID  url, credentials file, CA file or a name is malformed, or more than one of
 * credentials file, user and token is given. @retval QUIPU_MISUSE  options->size
 * @retval QUIPU_TIMEOUT, QUIPU_SERVER, QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_nats_open(const struct quipu_nats_options *options, struct quipu_nats **out,
                struct quipu_error *err);
/** Close and set NULL; waits until the library's threads are done with it. NULL is fine. */
QUIPU_API void quipu_nats_close(struct quipu_nats **nats);

/* ------------------------------------------------------------------ provisioning */

struct quipu_provision_options {
    size_t size;
    int64_t duplicate_window_us; /* 0: 2 minutes */
    uint32_t replicas;           /* 0: 1 */
};

#define QUIPU_PROVISION_OPTIONS_INIT                                                               \
    {                                                                                              \
        .size = sizeof(struct quipu_provision_options)                                             \
    }

struct quipu_provision_report {
    bool stream_created;
    bool bucket_created;
    uint64_t stream_messages; /* that are in it */
    /** What differs from what quipu would have made, one line each, empty where nothing. Buffer is
     * caller's: release it. */
    struct quipu_buf drift;
};

/**
 * Create the stream and the bucket where they are missing; change nothing that is there.
 * @retval QUIPU_OK     both are there and as they should be
 * @retval QUIPU_DRIFT  both are there, but `report->drift` says what is otherwise. Nothing else
 * writes the report on failure
 * @retval QUIPU_SERVER, QUIPU_TIMEOUT, QUIPU_OFFLINE, QUIPU_AUTH, QUIPU_PERMISSION,
 * QUIPU_NO_MEMORY, QUIPU_MISUSE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_provision(struct quipu_nats *nats, const struct quipu_provision_options *options,
                struct quipu_provision_report *report, struct quipu_error *err);

/* ------------------------------------------------------------------ flushing */

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
};

/**
 * Publish what is pending: per event its payload chunk and meta, then, when both are acknowledged,
 * its envelope; then its receipt and the cursor. Never publishes an event twice, however long ago
 * the first time was (SPEC §10.3). An aggregate's event is sent only when the one before it is in
 * the stream, so that the stream holds no event before one that it follows. Takes the store's
 * "flusher" lock. On failure all that was acknowledged is recorded, and the next flush goes on from
 * there; the report (may be NULL) is filled in then too.
 *
 * An event that the server will never take becomes a dead letter, and so does what comes behind it
 * in the same aggregate, until that one is retried or dropped; other aggregates go on.
 * @retval QUIPU_OK               nothing is pending any more (dead letters apart)
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
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_flush(struct quipu_engine *engine,
                                                         struct quipu_nats *nats,
                                                         const struct quipu_flush_options *options,
                                                         struct quipu_flush_report *report,
                                                         struct quipu_error *err);

/* ------------------------------------------------------------------ pulling */

struct quipu_pull_options {
    size_t size;
    uint32_t batch; /* messages per fetch, up to 10,000; 0: 500 */
    /** Called now and then. May be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *ctx;
    /** As those of struct quipu_ingest_options. */
    uint64_t pending_events_max;
    uint64_t pending_bytes_max;
};

#define QUIPU_PULL_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .size = sizeof(struct quipu_pull_options)                                                  \
    }

struct quipu_pull_report {
    struct quipu_ingest_report events;
    uint64_t last_sequence; /* of the stream, that was ingested */
};

/**
 * Bring in what is in the stream and not yet here: fetch messages and their payloads, verify,
 * ingest, commit, then acknowledge. The place in the stream is kept in the store and by a durable
 * consumer "quipu-<source>", which is made anew where it stands elsewhere. What is pulled counts as
 * published, unless the store's receipts speak of another stream. A message that is not a
 * quipu event, or whose payload is missing, goes to quarantine; payloads that were missing are
 * asked for again first. Forks are kept (forks.h). Takes the store's "puller" lock and makes its
 * signing key where it has none. The report (may be NULL) is filled in on failure too.
 * @retval QUIPU_OK  the end of the stream, as of the call, is reached
 * @retval QUIPU_BUSY  another process pulls into this store
 * @retval QUIPU_TOO_LARGE  as many events wait in quarantine for others as may; what came before is
 * taken in, and this message and those behind it stay in the stream
 * @retval QUIPU_NOT_PROVISIONED, QUIPU_DRIFT, QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_AUTH,
 * QUIPU_PERMISSION, QUIPU_SERVER, QUIPU_MISUSE, QUIPU_INVALID, and what the store says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_pull(struct quipu_engine *engine,
                                                        struct quipu_nats *nats,
                                                        const struct quipu_pull_options *options,
                                                        struct quipu_pull_report *report,
                                                        struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
