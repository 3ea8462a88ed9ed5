/*
 * The full scrub: every block hashed again, every chain, number, index and cursor checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_VERIFY_H
#define QUIPU_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How far it is. */
struct quipu_verify_progress {
    /** What is being checked: "events", "indexes" or "tables". Static text. */
    const char *part;
    /** Of events; both 0 where this is not known. */
    uint64_t done;
    uint64_t total;
    /** Envelopes and payloads hashed so far. */
    uint64_t block_bytes;
};

struct quipu_verify_options {
    size_t size; /* sizeof this struct */
    /** Called for each thing that is wrong; `position` 0 where none is concerned. May be NULL. */
    void (*problem)(void *ctx, uint64_t position, const char *line);
    /** Called some twenty times a second, and at the end of each part. May be NULL. */
    void (*progress)(void *ctx, const struct quipu_verify_progress *progress);
    void *ctx;
};

#define QUIPU_VERIFY_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_verify_options)                                                \
    }

struct quipu_verify_report {
    uint64_t events;
    uint64_t block_bytes; /* envelopes and payloads hashed */
    uint64_t aggregates;
    uint64_t sources;
    uint64_t problems;
};

/**
 * Check the whole store: envelope and payload bytes against their CIDs, strict decoding, `prev` and
 * version of every chain, source_seq of the store's own source, links to causes, heads and indexes,
 * the outbox cursor.
 * @retval QUIPU_OK       nothing is wrong
 * @retval QUIPU_CORRUPT  something is; err holds the first finding, `problem` got them all
 * `report` is filled in both cases.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_verify(struct quipu_engine *engine, const struct quipu_verify_options *options,
             struct quipu_verify_report *report, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
