/*
 * Snapshots as rows of the store, for the files snapshot*.c and command*.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_SNAPSHOT_H
#define QUIPU_ENGINE_SNAPSHOT_H

#include "quipu/command.h"

#define SNAPSHOT_FORMAT        1
#define SNAPSHOT_KEY_BYTES_MAX (QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1 + QUIPU_AGGREGATE_ID_BYTES_MAX)

/* The value of a row, but for its digest. */
struct snapshot_row {
    uint64_t schema;
    uint64_t version;
    uint64_t position;
    struct quipu_cid cid;
    struct quipu_slice state; /* borrowed from the value, or the caller's */
};

/* Append the value. @retval QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status
snapshot_row_encode(const struct snapshot_row *row, struct quipu_buf *out, struct quipu_error *err);
/* @retval QUIPU_CORRUPT, QUIPU_CBOR_*, QUIPU_CID_PROFILE, QUIPU_FORMAT_NEWER */
QUIPU_MUST_CHECK enum quipu_status
snapshot_row_decode(struct quipu_slice value, struct snapshot_row *out, struct quipu_error *err);

/* The key of an aggregate's row; `storage` is borrowed by the slice. */
struct quipu_slice snapshot_key(struct quipu_aggregate aggregate,
                                uint8_t storage[SNAPSHOT_KEY_BYTES_MAX]);

/* Look for a snapshot of this schema that agrees with the log. `*row` is filled, with slices of the
 * transaction, where `*found` is QUIPU_SNAPSHOT_USED. @retval QUIPU_IO, QUIPU_NO_MEMORY, … */
QUIPU_MUST_CHECK enum quipu_status
snapshot_find(struct quipu_txn *txn, struct quipu_aggregate aggregate, uint64_t schema,
              struct snapshot_row *row, enum quipu_snapshot_found *found, struct quipu_error *err);

/* Count what a load found. */
void snapshot_count(struct quipu_engine *engine, enum quipu_snapshot_found found);
/* Count a snapshot that could not be written. */
void snapshot_count_unwritten(struct quipu_engine *engine);

/* Write the state as a snapshot, unless there is one that is as good; count what becomes of it. */
void snapshot_write(struct quipu_engine *engine, const struct quipu_aggregate_kind *kind,
                    struct quipu_aggregate aggregate, const struct quipu_loaded *loaded);

/* An aggregate without its snapshot being written: quipu_aggregate_load's first half. */
QUIPU_MUST_CHECK enum quipu_status aggregate_load(struct quipu_engine *engine,
                                                  const struct quipu_aggregate_kind *kind,
                                                  struct quipu_aggregate aggregate,
                                                  struct quipu_loaded *loaded,
                                                  struct quipu_error *err);
/* Fold what came since. After a failure the state is of no use but to be released. */
QUIPU_MUST_CHECK enum quipu_status aggregate_advance(struct quipu_engine *engine,
                                                     const struct quipu_aggregate_kind *kind,
                                                     struct quipu_aggregate aggregate,
                                                     struct quipu_loaded *loaded,
                                                     struct quipu_error *err);
/* Is a snapshot due after `folded` events? */
static inline bool aggregate_is_due(const struct quipu_aggregate_kind *kind, uint64_t folded)
{
    return kind->snapshot_every > 0 && folded >= kind->snapshot_every;
}

/* @retval QUIPU_MISUSE, QUIPU_INVALID */
QUIPU_MUST_CHECK enum quipu_status aggregate_kind_check(const struct quipu_aggregate_kind *kind,
                                                        const char *aggregate_id,
                                                        struct quipu_error *err);

#endif
