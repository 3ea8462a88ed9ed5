/*
 * A verification under way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_VERIFY_RUN_H
#define QUIPU_ENGINE_VERIFY_RUN_H

#include "engine_impl.h"
#include "identity.h"
#include "quipu/verify.h"

#define VERIFY_HASHES_MAX 64

/* A block that still has to be hashed, with the CID it should have. */
struct verify_block {
    uint64_t position;
    struct quipu_cid cid;
    const char *what;
};

/* A source that was met. */
struct verify_source {
    char text[QUIPU_SOURCE_TEXT_BYTES];
    uint64_t last_given; /* by this store as that source, as its row says; 0: it never was */
    uint64_t seq_max;    /* greatest number met */
    uint64_t seq_own;    /* the same, of the events without a row in the table of numbers */
};

struct verify_run {
    struct quipu_engine *engine;
    struct quipu_verify_options options;
    struct quipu_verify_report report;
    struct quipu_error first; /* the first finding's line */

    uint64_t end; /* last position, fixed at the beginning */
    struct identity_row own;
    bool has_own;
    uint64_t numbers; /* foreign events whose row names them */

    /* Sources that were met, sorted; as many as there are writers, not events. */
    struct verify_source *sources;
    size_t sources_cap;

    struct verify_block blocks[VERIFY_HASHES_MAX];
    struct quipu_slice messages[VERIFY_HASHES_MAX];
    size_t blocks_len;
};

/* Is it a failure that says something about the data, and not of the machine? */
static inline bool verify_is_finding(enum quipu_status status)
{
    return status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND || status >= QUIPU_CBOR_TRUNCATED;
}

/* Note one finding. */
void verify_problem(struct verify_run *run, uint64_t position, const char *format, ...)
    QUIPU_PRINTF(3, 4);

/* Say how far it is. */
void verify_tell(const struct verify_run *run, const char *part, uint64_t done, uint64_t total);

/* Queue a block for hashing; it must stay readable until verify_hash. */
void verify_block_add(struct verify_run *run, uint64_t position, const struct quipu_cid *cid,
                      struct quipu_slice block, const char *what);
/* Hash what is queued. */
void verify_hash(struct verify_run *run);

/* Check one position by itself, against the event before it and against its cause.
 * Only a failure of the machine is returned; findings are noted. */
QUIPU_MUST_CHECK enum quipu_status verify_position(struct verify_run *run, struct quipu_txn *txn,
                                                   uint64_t position, struct quipu_error *err);

/* Behind the last position: is the last number of each of our sources in the log? */
void verify_own_numbers(struct verify_run *run);

/* Check outbox, dead letters, projections and quarantine. */
QUIPU_MUST_CHECK enum quipu_status verify_tables(struct verify_run *run, struct quipu_error *err);

#endif
