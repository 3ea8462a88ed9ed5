/*
 * The tail: a hash table in memory over the newest events, which no run indexes yet. Never touches
 * LMDB; what it finds are hints, which the caller compares in full with the record. Private to
 * store/.
 *
 * Invariants: entries are of the positions base+1 … base+count, each with three keys; nodes of a
 * bucket are linked newest first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_TAIL_H
#define QUIPU_STORE_TAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/store.h"

enum quipu_tail_key {
    QUIPU_TAIL_ENVELOPE = 0,
    QUIPU_TAIL_PAYLOAD,
    QUIPU_TAIL_EVENT_ID,
    QUIPU_TAIL_KEYS
};

struct quipu_tail {
    uint64_t base;
    uint32_t count;
    uint32_t cap;
    uint32_t bucket_bits;
    /* keys[3 i + k]: first 8 bytes, big-endian, of digest or id of the event at base + 1 + i. */
    uint64_t *keys;
    uint32_t *next;    /* per key: node + 1 of the one before it in its bucket, 0: none */
    uint32_t *buckets; /* node + 1 of the newest, 0: none */
};

/* Room for `cap` events (1 to 2^24). Fails with QUIPU_NO_MEMORY. Release is fine on zeroes. */
QUIPU_MUST_CHECK enum quipu_status quipu_tail_init(struct quipu_tail *tail, uint32_t cap,
                                                   struct quipu_error *err);
void quipu_tail_release(struct quipu_tail *tail);

/* Empty it; the next event is the one at base + 1. */
void quipu_tail_reset(struct quipu_tail *tail, uint64_t base);

/* Add the event behind the last; count must be below cap. */
void quipu_tail_push(struct quipu_tail *tail, const struct quipu_record *record);

/* Forget the newest events, so that `count` are left. */
void quipu_tail_truncate(struct quipu_tail *tail, uint32_t count);

/* Nodes with this key, newest first: node + 1, or 0 where there is none (more). */
uint32_t quipu_tail_first(const struct quipu_tail *tail, uint64_t key);
uint32_t quipu_tail_next(const struct quipu_tail *tail, uint32_t node_plus_1);

static inline uint64_t quipu_tail_position(const struct quipu_tail *tail, uint32_t node_plus_1)
{
    return tail->base + 1 + (node_plus_1 - 1) / QUIPU_TAIL_KEYS;
}

static inline enum quipu_tail_key quipu_tail_key_of(uint32_t node_plus_1)
{
    return (enum quipu_tail_key)((node_plus_1 - 1) % QUIPU_TAIL_KEYS);
}

#endif
