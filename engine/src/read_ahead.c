/*
 * Reading ahead in the log. See read_ahead.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "read_ahead.h"

/* Behind so many bytes of blocks there is nothing to win, and the visitor may want no more. */
#define AHEAD_BYTES ((size_t)64 * 1024)

static bool holds(const struct read_ahead *ahead, uint64_t position)
{
    return position >= ahead->first && position - ahead->first < ahead->count;
}

static void hash_all(struct read_ahead *ahead)
{
    struct quipu_slice blocks[READ_AHEAD_EVENTS * 2];
    uint8_t digests[READ_AHEAD_EVENTS * 2][QUIPU_SHA256_BYTES];
    size_t count = 0;
    for (size_t i = 0; i < ahead->count; i++) {
        if (ahead->is_hashed[i]) {
            blocks[count++] = ahead->records[i].envelope;
            blocks[count++] = ahead->records[i].payload;
        }
    }
    quipu_sha256_batch(blocks, count, digests);
    count = 0;
    for (size_t i = 0; i < ahead->count; i++) {
        if (ahead->is_hashed[i]) {
            memcpy(ahead->digests[i].envelope, digests[count++], QUIPU_SHA256_BYTES);
            memcpy(ahead->digests[i].payload, digests[count++], QUIPU_SHA256_BYTES);
        }
    }
}

static enum quipu_status fill(struct read_ahead *ahead, struct quipu_txn *txn, uint64_t position,
                              const struct read_ahead_plan *plan, struct quipu_error *err)
{
    size_t bytes = 0;
    ahead->first = position;
    ahead->count = 0;
    while (ahead->count < READ_AHEAD_EVENTS && bytes < AHEAD_BYTES &&
           (ahead->count == 0 || position + ahead->count <= plan->last)) {
        struct quipu_record *record = &ahead->records[ahead->count];
        /* Only the first one's failure is of interest now. */
        enum quipu_status status = quipu_txn_record_at(txn, position + ahead->count, record,
                                                       ahead->count == 0 ? err : NULL);
        if (status != QUIPU_OK && ahead->count == 0) {
            return status;
        }
        if (status != QUIPU_OK) {
            break;
        }
        bool is_hashed = plan->hashes(plan->ctx, record);
        ahead->is_hashed[ahead->count++] = is_hashed;
        bytes += is_hashed ? record->envelope.len + record->payload.len : 0;
    }
    hash_all(ahead);
    return QUIPU_OK;
}

enum quipu_status read_ahead_at(struct read_ahead *ahead, struct quipu_txn *txn, uint64_t position,
                                const struct read_ahead_plan *plan,
                                const struct quipu_record **record, struct quipu_error *err)
{
    if (!holds(ahead, position)) {
        enum quipu_status status = fill(ahead, txn, position, plan, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    *record = &ahead->records[position - ahead->first];
    return QUIPU_OK;
}

const struct block_digests *read_ahead_digests(const struct read_ahead *ahead, uint64_t position)
{
    return holds(ahead, position) && ahead->is_hashed[position - ahead->first]
               ? &ahead->digests[position - ahead->first]
               : NULL;
}
