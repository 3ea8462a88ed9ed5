/*
 * Which projections there are, where their rows are and how far they have come; and the events that
 * stopped them: the one that each is parked in front of, and those that were skipped by name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_REGISTRY_H
#define QUIPU_ENGINE_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/projection.h"
#include "quipu/store.h"

struct quipu_sha256_stream;

/* One projection. Its rows are in `table`. A second table, number not 0, stands beside it: while
 * `beside_version` is not 0, a rebuild is filling it; else it holds rows that are to be deleted. */
struct registry_row {
    uint32_t table;
    uint32_t beside;
    uint64_t version;
    uint64_t position;
    uint64_t beside_version;
    uint64_t beside_position;
    uint64_t reacted; /* events up to here were reacted to */
    bool is_paused;
    bool is_dropped; /* gone for all but those who delete its rows */
    bool is_causal;  /* the rebuild beside goes in causal order: nobody goes on with it */
};

/* The row, if it is not dropped. @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status registry_get(struct quipu_txn *txn, const char *name,
                                                struct registry_row *out, struct quipu_error *err);
/* The row, also where it is dropped. */
QUIPU_MUST_CHECK enum quipu_status registry_get_any(struct quipu_txn *txn, const char *name,
                                                    struct registry_row *out,
                                                    struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status registry_put(struct quipu_txn *txn, const char *name,
                                                const struct registry_row *row,
                                                struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
registry_decode(struct quipu_slice value, struct registry_row *out, struct quipu_error *err);

/* The table beside, which is filled, becomes the first, and the old one is to be cleared. */
void registry_swap(struct registry_row *row);

/* @return QUIPU_PAUSED */
enum quipu_status registry_is_paused(const char *name, struct quipu_error *err);
/* The rebuild beside is another's. @return QUIPU_BUSY */
enum quipu_status registry_is_rebuilt(const char *name, struct quipu_error *err);

/* A table number that was never given out before. */
QUIPU_MUST_CHECK enum quipu_status registry_new_table(struct quipu_txn *txn, uint32_t *out,
                                                      struct quipu_error *err);

/* Change a projection's row in a transaction of its own. `change` may say QUIPU_DONE: nothing to
 * write. */
typedef enum quipu_status (*registry_change_fn)(struct quipu_engine *engine, struct quipu_txn *txn,
                                                const char *name, struct registry_row *row,
                                                void *ctx, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status registry_change(struct quipu_engine *engine, const char *name,
                                                   registry_change_fn change, void *ctx,
                                                   struct quipu_error *err);

/* Fill in rows, position, skips and digest of `report` from one snapshot (SPEC §7). */
QUIPU_MUST_CHECK enum quipu_status projection_digest(struct quipu_engine *engine, const char *name,
                                                     struct quipu_replay_report *report,
                                                     struct quipu_error *err);

/* ------------------------------------------------------------------ deleting rows */

/* Delete up to a slice of rows of a table. `*is_empty` says whether none is left. */
QUIPU_MUST_CHECK enum quipu_status table_clear_slice(struct quipu_txn *txn, uint32_t table,
                                                     bool *is_empty, struct quipu_error *err);
/* Delete the rows beside, in slices; those of a rebuild only where it fills the table `take_over`
 * (0: of none, BESIDE_ANY: whichever it is). */
#define BESIDE_ANY UINT32_MAX
QUIPU_MUST_CHECK enum quipu_status beside_clear(struct quipu_engine *engine, const char *name,
                                                uint32_t take_over, struct quipu_error *err);

/* Whoever begins a rebuild claims the number of its table in this file of the store, until it ends
 * or dies. */
#define CLAIM_REBUILD "rebuild"

/* Is the table beside one that nobody will ever go on with: of a rebuild in causal order, or of the
 * version that the first table has, whose process is gone? */
QUIPU_MUST_CHECK enum quipu_status beside_is_left_over(struct quipu_engine *engine,
                                                       const struct registry_row *row, bool *out,
                                                       struct quipu_error *err);
/* Delete what a dropped projection left, in slices. Nothing to do: QUIPU_OK. */
QUIPU_MUST_CHECK enum quipu_status drop_finish(struct quipu_engine *engine, const char *name,
                                               struct quipu_error *err);

/* ------------------------------------------------------------------ events that stopped it */

/* What a table of a projection is parked in front of. Its checkpoint does not move meanwhile. */
struct park {
    uint64_t position;
    enum quipu_status status;
    int64_t unix_us;
    struct quipu_slice line; /* borrowed from the transaction */
};

/* @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status park_get(struct quipu_txn *txn, const char *name, uint32_t table,
                                            struct park *out, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status park_put(struct quipu_txn *txn, const char *name, uint32_t table,
                                            const struct park *park, struct quipu_error *err);
/* QUIPU_OK too where there is none. */
QUIPU_MUST_CHECK enum quipu_status park_forget(struct quipu_txn *txn, const char *name,
                                               uint32_t table, struct quipu_error *err);
/* Is the table parked? @retval QUIPU_PARKED  with the line that says so */
QUIPU_MUST_CHECK enum quipu_status park_check(struct quipu_txn *txn, const char *name,
                                              uint32_t table, struct quipu_error *err);

/* One table of a projection. */
struct generation {
    const char *name;
    uint64_t version;
    uint32_t table;
};

/* A skip counts for the table it was made in and for those that came later. */
struct skip {
    struct quipu_projection_skip skip;
    uint32_t table;
};

/* The first skip behind `after` that counts for this table. @retval QUIPU_DONE  none */
QUIPU_MUST_CHECK enum quipu_status skip_next(struct quipu_txn *txn,
                                             const struct generation *generation, uint64_t after,
                                             struct skip *out, struct quipu_error *err);

/* Count the skips up to `position`, a checkpoint, and put them into the digest where `stream` is
 * not NULL. */
QUIPU_MUST_CHECK enum quipu_status
skips_visit(struct quipu_txn *txn, const struct generation *generation, uint64_t position,
            struct quipu_sha256_stream *stream, uint64_t *count, struct quipu_error *err);

/* Forget up to a slice of parks and skips of `name`. */
QUIPU_MUST_CHECK enum quipu_status stops_forget_slice(struct quipu_txn *txn, const char *name,
                                                      bool *is_empty, struct quipu_error *err);

#endif
