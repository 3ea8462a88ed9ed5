/*
 * The tail: a hash table in memory over the newest events, which no run indexes yet. Never touches
 * LMDB; what it finds are hints, which the caller compares in full with the record. Private to
 * store/.
 *
 * Invariants: entries are of the positions base+1 … base+count, each with three keys and two terms;
 * nodes of a bucket are linked newest first. Terms are in no bucket: a search for one goes over all
 * of them in the order of their positions, which is how they are asked for.
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

enum quipu_tail_term { QUIPU_TAIL_TYPE = 0, QUIPU_TAIL_CORRELATION, QUIPU_TAIL_TERMS };

struct quipu_tail {
    uint64_t base;
    uint32_t count;
    uint32_t cap;
    uint32_t bucket_bits;
    /* keys[3 i + k] of the event at base + 1 + i: the first 8 bytes of a digest, big-endian, or
     * quipu_tail_id_key of its event_id. */
    uint64_t *keys;
    uint64_t *id_prefixes; /* per event: first 8 bytes of its event_id, big-endian */
    uint32_t *terms;       /* terms[2 i + t]: hash of the term; 0: its correlation is its own */
    uint32_t *next;        /* per key: node + 1 of the one before it in its bucket, 0: none */
    uint32_t *buckets;     /* node + 1 of the newest, 0: none */
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

/* All 16 bytes of an event_id as one number: ids that were made in one millisecond may share their
 * first eight. */
uint64_t quipu_tail_id_key(struct quipu_uuid event_id);

/* The event with this term that is nearest to `position` on one side, itself included; 0: none.
 * Positions that the tail does not cover are left out. */
uint64_t quipu_tail_term_behind(const struct quipu_tail *tail, enum quipu_tail_term term,
                                uint32_t hash, uint64_t position);
uint64_t quipu_tail_term_before(const struct quipu_tail *tail, enum quipu_tail_term term,
                                uint32_t hash, uint64_t position);

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
