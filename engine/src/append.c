/*
 * The way in. In the caller's thread and outside of any lock: check each event, hash its payload,
 * give it an id and a time. Then queue for the group commit (append_queue.c), and answer.
 *
 * Never writes to the store itself. A warm append of small events allocates nothing here: the
 * working memory of a call goes back to a list and is used again.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "append.h"

#include <string.h>

#include "engine_impl.h"
#include "event_check.h"
#include "quipu/alloc.h"
#include "scratch.h"
#include "types_stored.h"

#define HASH_BATCH 64

enum quipu_status append_failure(const struct append_request *request, size_t index,
                                 enum quipu_status status)
{
    if (request->count == 1) {
        return status;
    }
    return quipu_error_wrap(request->err, status, "events[%zu]", index);
}

/* ------------------------------------------------------------------ working memory */

static void scratch_free(struct append_scratch *scratch)
{
    quipu_free(scratch->items);
    quipu_free(scratch->slots);
    quipu_free(scratch);
}

void append_scratch_release(struct quipu_engine *engine)
{
    while (engine->scratch_free != NULL) {
        struct append_scratch *next = engine->scratch_free->next;
        scratch_free(engine->scratch_free);
        engine->scratch_free = next;
    }
}

static struct append_scratch *scratch_take(struct quipu_engine *engine)
{
    (void)pthread_mutex_lock(&engine->scratch_lock); /* a default mutex */
    struct append_scratch *scratch = engine->scratch_free;
    if (scratch != NULL) {
        engine->scratch_free = scratch->next;
    }
    (void)pthread_mutex_unlock(&engine->scratch_lock); /* as above */
    return scratch != NULL ? scratch : quipu_alloc_zero(1, sizeof *scratch);
}

static void scratch_give_back(struct quipu_engine *engine, struct append_scratch *scratch)
{
    if (scratch->items_cap > SCRATCH_ITEMS_KEPT) {
        scratch_free(scratch);
        return;
    }
    (void)pthread_mutex_lock(&engine->scratch_lock); /* a default mutex */
    scratch->next = engine->scratch_free;
    engine->scratch_free = scratch;
    (void)pthread_mutex_unlock(&engine->scratch_lock); /* as above */
}

/* Room for `count` items and, for more than one, for two hash tables at most half full. */
static enum quipu_status scratch_reserve(struct append_scratch *scratch, uint32_t count,
                                         struct append_request *request)
{
    if (scratch->items_cap < count) {
        struct append_item *items = quipu_realloc(scratch->items, count, sizeof *items);
        if (items == NULL) {
            return QUIPU_NO_MEMORY;
        }
        scratch->items = items;
        scratch->items_cap = count;
    }
    request->items = scratch->items;
    request->count = count;
    if (count == 1) {
        return QUIPU_OK;
    }
    uint32_t slots = 4;
    while (slots < 2 * count) {
        slots *= 2;
    }
    if (scratch->slots_cap < slots) {
        uint32_t *grown = quipu_realloc(scratch->slots, (size_t)2 * slots, sizeof *grown);
        if (grown == NULL) {
            return QUIPU_NO_MEMORY;
        }
        scratch->slots = grown;
        scratch->slots_cap = slots;
    }
    request->id_slots = scratch->slots;
    request->aggregate_slots = scratch->slots + slots;
    request->slot_mask = slots - 1;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ preparing */

static enum quipu_status next_id(struct quipu_engine *engine, struct quipu_uuid *out,
                                 struct quipu_error *err)
{
    (void)pthread_mutex_lock(&engine->ids_lock); /* a default mutex */
    enum quipu_status status =
        quipu_uuid_v7(&engine->clock, &engine->random, &engine->last_id, err);
    if (status == QUIPU_OK) {
        *out = engine->last_id;
    }
    (void)pthread_mutex_unlock(&engine->ids_lock); /* as above */
    return status;
}

enum quipu_status append_item_prepare(struct quipu_engine *engine, const struct quipu_event *event,
                                      int64_t now_unix_us, struct append_item *item,
                                      struct quipu_error *err)
{
    enum quipu_status status = event_check(event, err);
    item->refused = QUIPU_OK;
    if (status == QUIPU_SECRET_REFUSED && !quipu_uuid_is_nil(event->event_id)) {
        item->refused = status; /* it may be a retry of one that was allowed */
    } else if (status != QUIPU_OK) {
        return status;
    }
    item->event = event;
    item->type = quipu_slice_text(event->type);
    item->aggregate.type = quipu_slice_text(event->aggregate.type);
    item->aggregate.id = quipu_slice_text(event->aggregate.id);
    item->schema = event->schema == 0 ? 1 : event->schema;
    item->occurred_unix_us = event->occurred_at.is_set ? event->occurred_at.unix_us : now_unix_us;
    item->event_id = event->event_id;
    if (quipu_uuid_is_nil(event->event_id)) {
        status = next_id(engine, &item->event_id, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    item->correlation_id =
        quipu_uuid_is_nil(event->correlation_id) ? item->event_id : event->correlation_id;
    return QUIPU_OK;
}

void append_types_check(struct append_request *request, const struct quipu_types *types)
{
    request->types = types;
    for (uint32_t i = 0; i < request->count; i++) {
        struct append_item *item = &request->items[i];
        if (item->refused != QUIPU_SECRET_REFUSED) {
            item->refused = types == NULL ? QUIPU_OK : quipu_types_check(types, item->event, NULL);
        }
    }
}

/* CIDs of all payloads, as many at once as the processor likes. */
static void payloads_hash(struct append_request *request)
{
    struct quipu_slice messages[HASH_BATCH];
    uint8_t digests[HASH_BATCH][QUIPU_SHA256_BYTES];
    for (uint32_t start = 0; start < request->count; start += HASH_BATCH) {
        uint32_t left = request->count - start;
        uint32_t count = left < HASH_BATCH ? left : HASH_BATCH;
        for (uint32_t i = 0; i < count; i++) {
            messages[i] = request->items[start + i].event->payload;
        }
        quipu_sha256_batch(messages, count, digests);
        for (uint32_t i = 0; i < count; i++) {
            struct quipu_cid *cid = &request->items[start + i].payload_cid;
            cid->codec = QUIPU_CODEC_DAG_CBOR;
            memcpy(cid->digest, digests[i], sizeof cid->digest);
        }
    }
}

static enum quipu_status request_prepare(struct quipu_engine *engine,
                                         const struct quipu_event *events,
                                         struct append_request *request)
{
    int64_t now_unix_us = engine->clock.unix_us(engine->clock.ctx);
    size_t bytes = 0;
    for (uint32_t i = 0; i < request->count; i++) {
        enum quipu_status status =
            append_item_prepare(engine, &events[i], now_unix_us, &request->items[i], request->err);
        if (status == QUIPU_OK) {
            /* Both are below their limits, so the sum cannot overflow. */
            bytes += events[i].payload.len + events[i].meta.len;
            if (bytes > QUIPU_APPEND_BYTES_MAX) {
                status = quipu_error_set(request->err, QUIPU_TOO_LARGE,
                                         "the payloads up to this event are over %u bytes; append "
                                         "in smaller calls",
                                         QUIPU_APPEND_BYTES_MAX);
            }
        }
        if (status != QUIPU_OK) {
            request->failed = status == QUIPU_NO_RANDOM ? request->count : i;
            return append_failure(request, i, status);
        }
    }
    request->ticket.events = request->count;
    request->ticket.bytes = bytes;
    payloads_hash(request);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ public */

/* What can be said of a call before its events are looked at. */
static enum quipu_status call_check(const struct quipu_engine *engine,
                                    const struct quipu_event *events, size_t count,
                                    struct quipu_error *err)
{
    if (engine == NULL || (events == NULL && count > 0)) {
        return quipu_error_set(err, QUIPU_MISUSE, "append: no %s",
                               engine == NULL ? "engine" : "event");
    }
    if (count > QUIPU_APPEND_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "%zu events in one call, at most %d are allowed", count,
                               QUIPU_APPEND_EVENTS_MAX);
    }
    /* Before any lock, and before others are waited for: a forked child may have got a held lock,
     * and a leader with threads behind it that it has not got; and who is in a write transaction
     * would wait for a leader who waits for the end of that one. */
    return quipu_store_check_writer(engine->store, err);
}

enum quipu_status quipu_append_batch(struct quipu_engine *engine, const struct quipu_event *events,
                                     size_t count, struct quipu_appended *out, size_t *failed,
                                     struct quipu_error *err)
{
    enum quipu_status status = call_check(engine, events, count, err);
    if (status != QUIPU_OK && failed != NULL) {
        *failed = count;
    }
    if (status != QUIPU_OK || count == 0) {
        return status;
    }
    /* Reading the store also says what it did not find: the caller's line is for failures only. */
    struct quipu_error why;
    struct append_request request = {.failed = count, .err = &why};
    struct stored_types *stored = NULL;
    struct append_scratch *scratch = scratch_take(engine);
    status =
        scratch == NULL ? QUIPU_NO_MEMORY : scratch_reserve(scratch, (uint32_t)count, &request);
    if (status != QUIPU_OK) {
        status = quipu_error_set(&why, status, "append: out of memory for %zu events", count);
        goto done;
    }
    status = request_prepare(engine, events, &request);
    if (status != QUIPU_OK) {
        goto done;
    }
    /* Held until the answer is there, so that no other registry can come to lie at its address. */
    stored = types_stored_hold(engine);
    append_types_check(&request, types_in_force(engine, stored));
    append_queue_pass(&engine->queue, &request.ticket, append_commit_group, engine);
    status = request.status;
    if (status == QUIPU_OK && out != NULL) {
        for (size_t i = 0; i < count; i++) {
            out[i] = request.items[i].result;
        }
    }
done:
    types_stored_give_back(stored);
    if (scratch != NULL) {
        scratch_give_back(engine, scratch);
    }
    if (status != QUIPU_OK && failed != NULL) {
        *failed = request.failed;
    }
    if (status != QUIPU_OK && err != NULL) {
        *err = why;
    }
    return status;
}

enum quipu_status quipu_append(struct quipu_engine *engine, const struct quipu_event *event,
                               struct quipu_appended *out, struct quipu_error *err)
{
    return quipu_append_batch(engine, event, 1, out, NULL, err);
}
