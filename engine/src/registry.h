/*
 * Which projections there are, where their rows are and how far they have come.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_REGISTRY_H
#define QUIPU_ENGINE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/projection.h"
#include "quipu/store.h"

/* One projection. Its rows are in `table`. A second table, number not 0, stands beside it: while
 * `beside_version` is not 0, a rebuild is filling it; else it holds rows that are to be deleted. */
struct registry_row {
    uint32_t table;
    uint32_t beside;
    uint64_t version;
    uint64_t position;
    uint64_t beside_version;
    uint64_t beside_position;
};

/* @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status registry_get(struct quipu_txn *txn, const char *name,
                                                struct registry_row *out, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status registry_put(struct quipu_txn *txn, const char *name,
                                                const struct registry_row *row,
                                                struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
registry_decode(struct quipu_slice value, struct registry_row *out, struct quipu_error *err);

/* A table number that was never given out before. */
QUIPU_MUST_CHECK enum quipu_status registry_new_table(struct quipu_txn *txn, uint32_t *out,
                                                      struct quipu_error *err);

/* Fill in rows, position and digest of `report` from one snapshot (SPEC §7). */
QUIPU_MUST_CHECK enum quipu_status projection_digest(struct quipu_engine *engine, const char *name,
                                                     struct quipu_replay_report *report,
                                                     struct quipu_error *err);

#endif
