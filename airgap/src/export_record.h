/*
 * What the store remembers of its last bundle, so that the next one has the next number and links
 * to it: one row for each source that the store has exported under.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_EXPORT_RECORD_H
#define QUIPU_AIRGAP_EXPORT_RECORD_H

#include "quipu/cid.h"
#include "quipu/engine.h"

/* Zero: no bundle yet. */
struct quipu_export_record {
    uint64_t number;
    struct quipu_cid manifest;
};

/* QUIPU_CORRUPT, and what the store says. No row is no failure. */
QUIPU_MUST_CHECK enum quipu_status quipu_export_record_load(struct quipu_engine *engine,
                                                            const char *source,
                                                            struct quipu_export_record *out,
                                                            struct quipu_error *err);

/* Durable when it returns. */
QUIPU_MUST_CHECK enum quipu_status
quipu_export_record_save(struct quipu_engine *engine, const char *source,
                         const struct quipu_export_record *record, struct quipu_error *err);

#endif
