/*
 * A small sorted set. Dead letters are exceptions, so inserting in the middle is good enough.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "held.h"

#include <string.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "quipu/outbox.h"

#define CAP_FIRST 16

uint64_t quipu_aggregate_key(const struct quipu_envelope *envelope)
{
    static const uint8_t between = 0; /* in neither of the two */
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_sha256_stream stream;
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, envelope->aggregate_type);
    quipu_sha256_stream_update(&stream, quipu_slice(&between, 1));
    quipu_sha256_stream_update(&stream, envelope->aggregate_id);
    quipu_sha256_stream_final(&stream, digest);
    return quipu_load_be64(digest);
}

/* Place of the first key that is not smaller. */
static size_t lower_bound(const struct held_aggregates *held, uint64_t key)
{
    size_t from = 0;
    size_t to = held->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (held->list[middle].key < key) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

uint64_t quipu_held_behind(const struct held_aggregates *held, uint64_t key, uint64_t position)
{
    size_t at = lower_bound(held, key);
    bool is_behind =
        at < held->count && held->list[at].key == key && held->list[at].position < position;
    return is_behind ? held->list[at].position : 0;
}

enum quipu_status quipu_held_add(struct held_aggregates *held, uint64_t key, uint64_t position,
                                 struct quipu_error *err)
{
    size_t at = lower_bound(held, key);
    if (at < held->count && held->list[at].key == key) {
        if (position < held->list[at].position) {
            held->list[at].position = position;
        }
        return QUIPU_OK;
    }
    if (held->count == held->cap) {
        size_t cap = held->cap == 0 ? CAP_FIRST : held->cap * 2;
        struct held_aggregate *list = quipu_realloc(held->list, cap, sizeof *list);
        if (list == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory listing dead letters");
        }
        held->list = list;
        held->cap = cap;
    }
    memmove(held->list + at + 1, held->list + at, (held->count - at) * sizeof *held->list);
    held->list[at] = (struct held_aggregate){key, position};
    held->count++;
    return QUIPU_OK;
}

void quipu_held_release(struct held_aggregates *held)
{
    quipu_free(held->list);
    memset(held, 0, sizeof *held);
}

/* ------------------------------------------------------------------ loading */

static enum quipu_status note_position(void *ctx, const struct quipu_dead_letter *letter,
                                       struct quipu_error *err)
{
    struct quipu_buf *positions = ctx;
    if (letter->is_dropped) {
        return QUIPU_OK; /* a person decided that the aggregate goes on without it */
    }
    quipu_buf_append(positions, &letter->position, sizeof letter->position);
    if (positions->status != QUIPU_OK) {
        return quipu_error_set(err, positions->status, "out of memory listing dead letters");
    }
    return QUIPU_OK;
}

static enum quipu_status add_position(struct held_aggregates *held, struct quipu_txn *txn,
                                      uint64_t position, struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &event, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_held_add(held, quipu_aggregate_key(&event.envelope), position, err);
    }
    return status;
}

enum quipu_status quipu_held_load(struct held_aggregates *held, struct quipu_engine *engine,
                                  struct quipu_error *err)
{
    struct quipu_buf positions = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_each_dead_letter(engine, note_position, &positions, err);
    if (status == QUIPU_OK && positions.len > 0) {
        status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    }
    for (size_t at = 0; status == QUIPU_OK && at < positions.len; at += sizeof(uint64_t)) {
        uint64_t position = 0;
        memcpy(&position, positions.data + at, sizeof position);
        status = add_position(held, txn, position, err);
    }
    quipu_txn_abort(&txn);
    quipu_buf_release(&positions);
    return status;
}
