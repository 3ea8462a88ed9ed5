/*
 * What the store remembers of its bundles, so that each has a number of its own and links to the
 * one before: one row for each source that the store has exported under. The row of a bundle is
 * written right before its file gets its name, and settled behind that.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_RECORD_H
#define QUIPU_AIRGAP_EXPORT_RECORD_H

#include "merkle_log.h"
#include "proof.h"
#include "quipu/cid.h"
#include "quipu/engine.h"
#include "quipu/operations.h"

/* Zero: no bundle yet. */
struct quipu_export_record {
    uint64_t number;
    struct quipu_cid manifest;
    bool is_settled;   /* its file stands; else nobody can say */
    uint64_t exported; /* settled bundles hold every event up to this position */
    bool has_tree;     /* its checkpoint; false in a row of before there were any */
    struct quipu_proof_tree tree;
};

/* QUIPU_CORRUPT, and what the store says. No row is no failure. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_record_load(struct quipu_engine *engine,
                                                            const char *source,
                                                            struct quipu_export_record *out,
                                                            struct quipu_error *err);

/* Durable when it returns. A record with number 0 removes the row. `log` and `operation` may be
 * NULL, else the log's rows are kept, and the operation is recorded, in the same transaction. */
QUIPU_MUST_CHECK enum quipu_status
quipu_export_record_save(struct quipu_engine *engine, const char *source,
                         const struct quipu_export_record *record, struct quipu_merkle_log *log,
                         const struct quipu_operation *operation, struct quipu_error *err);

#endif
