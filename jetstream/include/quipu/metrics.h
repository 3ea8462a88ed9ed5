/*
 * Figures for Prometheus: the text, and a small HTTP server on loopback that hands it out.
 *
 * Specification: docs/SPEC.md §10.9, the Prometheus text format 0.0.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_METRICS_H
#define QUIPU_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/flush.h"
#include "quipu/service.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What flushes of this process have come to; whoever flushes adds up. Zero-initialise. */
struct quipu_flush_totals {
    uint64_t flushes;
    uint64_t failures;
    uint64_t published;
    uint64_t duplicates;
    uint64_t dead;
    uint64_t resent;
    uint64_t reconnects;
    uint64_t payload_bytes;
    uint64_t events_per_second; /* of the last flush that published */
    int64_t succeeded_unix_us;  /* when a flush last ended well; 0: never */
};

/** Add one flush. One thread at a time. */
QUIPU_API void quipu_flush_totals_add(struct quipu_flush_totals *totals, enum quipu_status status,
                                      const struct quipu_flush_report *report, int64_t now_unix_us);

/** What to speak of; NULL: leave it out. All borrowed for the call. */
struct quipu_metrics_of {
    struct quipu_engine *engine;
    const struct quipu_nats_report *nats; /* of the connection that flushes */
    const struct quipu_flush_totals *flush;
    struct quipu_service *service;
};

/**
 * Append the figures. Those of the store are as of the call; counters are since the process began.
 * The age of the oldest pending event is by its occurred_at.
 * @retval QUIPU_CORRUPT, QUIPU_IO, QUIPU_NO_MEMORY; what was appended then is whole families
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_metrics_append(const struct quipu_metrics_of *of,
                                                                  struct quipu_buf *out,
                                                                  struct quipu_error *err);

/* ------------------------------------------------------------------ the server */

/** Answers GET and HEAD of /metrics and /healthz, one request a connection, up to 16 connections at
 * a time; one more takes the place of whoever has been longest about asking. */
struct quipu_metrics_server;

struct quipu_metrics_server_options {
    size_t size;
    /** "127.0.0.1:9464", "[::1]:9464", "localhost:0"; port 0: any. Loopback alone: there is neither
     * encryption nor a password. */
    const char *address;
    /** Append the text. A failure is answered with 503 and its line. */
    enum quipu_status (*metrics)(void *ctx, struct quipu_buf *out, struct quipu_error *err);
    /** As above, for /healthz; the text is the body. NULL: always well. */
    enum quipu_status (*health)(void *ctx, struct quipu_buf *out, struct quipu_error *err);
    void *ctx;
    int64_t timeout_us; /* for a whole request, and again for its answer; 0: 2 s */
};

#define QUIPU_METRICS_SERVER_OPTIONS_INIT                                                          \
    {                                                                                              \
        .size = sizeof(struct quipu_metrics_server_options)                                        \
    }

/**
 * Listen, and answer from a thread of its own.
 * @retval QUIPU_INVALID     the address is malformed, or is not loopback
 * @retval QUIPU_EXISTS      somebody listens there
 * @retval QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_MISUSE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_metrics_server_open(const struct quipu_metrics_server_options *options,
                          struct quipu_metrics_server **out, struct quipu_error *err);

/** The port that it listens at. */
QUIPU_API uint16_t quipu_metrics_server_port(const struct quipu_metrics_server *server);

/** Stop and set NULL; a request under way is answered first. NULL is fine. */
QUIPU_API void quipu_metrics_server_close(struct quipu_metrics_server **server);

#ifdef __cplusplus
}
#endif

#endif
