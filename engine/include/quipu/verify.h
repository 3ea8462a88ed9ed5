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
#include "quipu/store_upkeep.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How far it is. */
struct quipu_verify_progress {
    /** What is being checked: "pages", "events", "indexes" or "tables". Static text. */
    const char *part;
    /** Of pages in the first part, then of events; both 0 where this is not known. */
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
    uint64_t pages; /* of the data file, in use or free */
    uint64_t events;
    uint64_t block_bytes; /* envelopes and payloads hashed */
    uint64_t aggregates;
    uint64_t sources;
    uint64_t problems;
    /** Of these, how many quipu_store_repair and quipu_repair_derived can mend. */
    uint64_t mendable;
    /** How many are events whose event_id an event before them in the log has: quipu_store_repair
     * leaves the log as it is, so it does not mend these. */
    uint64_t repeated;
};

/**
 * Check the whole store: the structure of each page of its data file (quipu_store_check_pages), and
 * where reading on is safe, envelope and payload bytes against their CIDs, strict decoding, `prev`
 * and version of every chain, source_seq of the store's own sources and of others, links to causes,
 * heads and indexes, that no event_id is there twice, receipts, dead letters and the outbox cursor,
 * quarantine, checkpoints of projections. The log is read in slices, up to where it ended at first;
 * others may read and write meanwhile. The pages are looked at in one snapshot.
 * @retval QUIPU_OK       nothing is wrong
 * @retval QUIPU_CORRUPT  something is; err holds the first finding, `problem` got them all
 * `report` is filled in both cases.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_verify(struct quipu_engine *engine, const struct quipu_verify_options *options,
             struct quipu_verify_report *report, struct quipu_error *err);

struct quipu_repaired {
    uint64_t events;          /* that were looked at */
    uint64_t counters;        /* of the outbox, its cursor too, that were wrong */
    uint64_t numbers_added;   /* of events that came from elsewhere */
    uint64_t numbers_removed; /* rows that were not true */
};

/**
 * Make those rows of the engine again that derive from the log or from other rows: the counters and
 * the cursor of the outbox, and the table of numbers. quipu_store_repair comes first where indexes
 * are damaged. Works in slices while others read and write; stopped anywhere, it may be done again.
 * Receipts, dead letters, quarantine, projections and who the store is are not touched.
 * `report` may be NULL.
 * @retval QUIPU_CORRUPT  a record, a receipt or the row of the store's own source cannot be read
 * @retval QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE, QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_repair_derived(struct quipu_engine *engine,
                                                                  struct quipu_repaired *report,
                                                                  struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
