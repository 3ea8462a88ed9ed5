/*
 * The tail: chained hashing over arrays of fixed size, so that an append allocates nothing and an
 * abort takes the newest entries off again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tail.h"

#include <string.h>

#include "internal/bytes.h"
#include "internal/invariant.h"
#include "quipu/alloc.h"
#include "record.h"

enum quipu_status quipu_tail_init(struct quipu_tail *tail, uint32_t cap, struct quipu_error *err)
{
    struct quipu_tail made = {.cap = cap, .bucket_bits = 4};
    while ((UINT32_C(1) << made.bucket_bits) < cap * 4u) {
        made.bucket_bits++;
    }
    size_t nodes = (size_t)cap * QUIPU_TAIL_KEYS;
    made.keys = quipu_alloc(nodes, sizeof *made.keys);
    made.next = quipu_alloc(nodes, sizeof *made.next);
    made.id_prefixes = quipu_alloc(cap, sizeof *made.id_prefixes);
    made.terms = quipu_alloc((size_t)cap * QUIPU_TAIL_TERMS, sizeof *made.terms);
    made.buckets = quipu_alloc_zero((size_t)1 << made.bucket_bits, sizeof *made.buckets);
    if (made.keys == NULL || made.next == NULL || made.id_prefixes == NULL || made.terms == NULL ||
        made.buckets == NULL) {
        quipu_tail_release(&made);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to index %u events", cap);
    }
    *tail = made;
    return QUIPU_OK;
}

void quipu_tail_release(struct quipu_tail *tail)
{
    quipu_free(tail->keys);
    quipu_free(tail->next);
    quipu_free(tail->id_prefixes);
    quipu_free(tail->terms);
    quipu_free(tail->buckets);
    *tail = (struct quipu_tail){0};
}

void quipu_tail_reset(struct quipu_tail *tail, uint64_t base)
{
    memset(tail->buckets, 0, sizeof *tail->buckets << tail->bucket_bits);
    tail->base = base;
    tail->count = 0;
}

static uint32_t *bucket_of(const struct quipu_tail *tail, uint64_t key)
{
    return &tail->buckets[key * UINT64_C(0x9e3779b97f4a7c15) >> (64 - tail->bucket_bits)];
}

uint64_t quipu_tail_id_key(struct quipu_uuid event_id)
{
    /* One half is scattered before the other is added, so that they cannot cancel each other out as
     * two counters would; every bit then depends on both. */
    uint64_t x = quipu_load_be64(event_id.bytes) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 32) + quipu_load_be64(event_id.bytes + 8);
    x = (x ^ x >> 29) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 32;
}

void quipu_tail_push(struct quipu_tail *tail, const struct quipu_record *record)
{
    QUIPU_INVARIANT(tail->count < tail->cap);
    QUIPU_INVARIANT(record->position == tail->base + 1 + tail->count);
    uint32_t node = tail->count * QUIPU_TAIL_KEYS;
    tail->keys[node + QUIPU_TAIL_ENVELOPE] = quipu_load_be64(record->envelope_cid.digest);
    tail->keys[node + QUIPU_TAIL_PAYLOAD] = quipu_load_be64(record->payload_cid.digest);
    tail->keys[node + QUIPU_TAIL_EVENT_ID] = quipu_tail_id_key(record->event_id);
    tail->id_prefixes[tail->count] = quipu_load_be64(record->event_id.bytes);
    uint32_t *terms = tail->terms + (size_t)tail->count * QUIPU_TAIL_TERMS;
    quipu_record_terms(record, &terms[QUIPU_TAIL_TYPE], &terms[QUIPU_TAIL_CORRELATION]);
    for (uint32_t i = node; i < node + QUIPU_TAIL_KEYS; i++) {
        uint32_t *bucket = bucket_of(tail, tail->keys[i]);
        tail->next[i] = *bucket;
        *bucket = i + 1;
    }
    tail->count++;
}

void quipu_tail_truncate(struct quipu_tail *tail, uint32_t count)
{
    QUIPU_INVARIANT(count <= tail->count);
    /* Newest first, so each node is at the front of its bucket when its turn comes. */
    for (uint32_t i = tail->count * QUIPU_TAIL_KEYS; i > count * QUIPU_TAIL_KEYS; i--) {
        *bucket_of(tail, tail->keys[i - 1]) = tail->next[i - 1];
    }
    tail->count = count;
}

static uint32_t skip_others(const struct quipu_tail *tail, uint32_t node_plus_1, uint64_t key)
{
    while (node_plus_1 != 0 && tail->keys[node_plus_1 - 1] != key) {
        node_plus_1 = tail->next[node_plus_1 - 1];
    }
    return node_plus_1;
}

uint32_t quipu_tail_first(const struct quipu_tail *tail, uint64_t key)
{
    return skip_others(tail, *bucket_of(tail, key), key);
}

uint32_t quipu_tail_next(const struct quipu_tail *tail, uint32_t node_plus_1)
{
    return skip_others(tail, tail->next[node_plus_1 - 1], tail->keys[node_plus_1 - 1]);
}

uint64_t quipu_tail_term_behind(const struct quipu_tail *tail, enum quipu_tail_term term,
                                uint32_t hash, uint64_t position)
{
    uint64_t i = position > tail->base + 1 ? position - tail->base - 1 : 0;
    for (; i < tail->count; i++) {
        if (tail->terms[i * QUIPU_TAIL_TERMS + term] == hash) {
            return tail->base + 1 + i;
        }
    }
    return 0;
}

uint64_t quipu_tail_term_before(const struct quipu_tail *tail, enum quipu_tail_term term,
                                uint32_t hash, uint64_t position)
{
    uint64_t count = position > tail->base ? position - tail->base : 0;
    for (uint64_t i = count < tail->count ? count : tail->count; i > 0; i--) {
        if (tail->terms[(i - 1) * QUIPU_TAIL_TERMS + term] == hash) {
            return tail->base + i;
        }
    }
    return 0;
}
