/*
 * Events of the log one behind the other, hashed before they are asked for: several blocks at once
 * cost the processor less than one after the other.
 *
 * Records are borrowed from the transaction: whoever ends it begins anew (read_ahead_drop). What
 * lies ahead and cannot be read, or does not hash to its CID, is told of when its turn comes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_READ_AHEAD_H
#define QUIPU_ENGINE_READ_AHEAD_H

#include <stdbool.h>

#include "quipu/engine.h"
#include "quipu/sha256.h"

#define READ_AHEAD_EVENTS 16

/* Digests of an event's two blocks, as they are on the disk. */
struct block_digests {
    uint8_t envelope[QUIPU_SHA256_BYTES];
    uint8_t payload[QUIPU_SHA256_BYTES];
};

/* Zeroed: nothing is there yet. */
struct read_ahead {
    uint64_t first; /* position of records[0] */
    size_t count;
    struct quipu_record records[READ_AHEAD_EVENTS];
    struct block_digests digests[READ_AHEAD_EVENTS];
    bool is_hashed[READ_AHEAD_EVENTS];
};

struct read_ahead_plan {
    uint64_t last; /* nothing behind this position will be asked for */
    /* Which of them are worth hashing; the others are only read. */
    bool (*hashes)(const void *ctx, const struct quipu_record *record);
    const void *ctx;
};

static inline void read_ahead_drop(struct read_ahead *ahead)
{
    ahead->count = 0;
}

/*
 * The record at `position`, and its digests where they were worth it (else NULL). Both are borrowed
 * from `ahead`, until the next call.
 * @retval as quipu_txn_record_at
 */
QUIPU_MUST_CHECK enum quipu_status read_ahead_at(struct read_ahead *ahead, struct quipu_txn *txn,
                                                 uint64_t position,
                                                 const struct read_ahead_plan *plan,
                                                 const struct quipu_record **record,
                                                 struct quipu_error *err);

/* Digests of the record at `position`, where they are there; else NULL. */
const struct block_digests *read_ahead_digests(const struct read_ahead *ahead, uint64_t position);

#endif
