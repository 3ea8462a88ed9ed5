/*
 * The built-in command "append": one event, or {"events": [...]}, in the form of a line of `quipu
 * append`. All or none.
 *
 * Specification: docs/SPEC.md §8, §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/event_json.h"
#include "service_impl.h"

struct batch {
    struct quipu_event_arena *arenas;
    struct quipu_event *events;
    size_t count; /* of arenas that are in use */
};

static enum quipu_status batch_reserve(struct batch *batch, uint64_t count, struct quipu_error *err)
{
    if (count == 0 || count > QUIPU_REQUEST_EVENTS_MAX) {
        return quipu_error_set(err, count == 0 ? QUIPU_INVALID : QUIPU_TOO_LARGE,
                               "%" PRIu64 " events in one request; 1 to %d are taken", count,
                               QUIPU_REQUEST_EVENTS_MAX);
    }
    batch->arenas = quipu_alloc_zero((size_t)count, sizeof *batch->arenas);
    batch->events = quipu_alloc_zero((size_t)count, sizeof *batch->events);
    return batch->arenas != NULL && batch->events != NULL
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %" PRIu64 " events",
                                 count);
}

static void batch_release(struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        quipu_event_arena_release(&batch->arenas[i]);
    }
    quipu_free(batch->arenas);
    quipu_free(batch->events);
}

/* One reader of events, whether they come by a file or by a request: that of lines. */
static enum quipu_status batch_add(struct batch *batch, struct quipu_slice item,
                                   struct quipu_error *err)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    size_t at = batch->count;
    enum quipu_status status = quipu_dagjson_from_dagcbor(item, &line, err);
    if (status == QUIPU_OK) {
        batch->count++;
        status = quipu_event_from_json(quipu_buf_slice(&line), &batch->arenas[at],
                                       &batch->events[at], err);
    }
    quipu_buf_release(&line);
    return status == QUIPU_OK ? QUIPU_OK : quipu_error_wrap(err, status, "event %zu", at);
}

static enum quipu_status read_list(struct batch *batch, struct quipu_slice body,
                                   struct quipu_slice list, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t count = 0;
    quipu_dagcbor_reader_init(&reader, body);
    enum quipu_status status = quipu_dagcbor_read_map(&reader, &count, err);
    if (status == QUIPU_OK && count != 1) {
        status = quipu_error_set(
            err, QUIPU_INVALID,
            "a request with \"events\" holds nothing else, found %" PRIu64 " members", count);
    }
    quipu_dagcbor_reader_init(&reader, list);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_list(&reader, &count, err);
        if (status == QUIPU_CBOR_KIND) {
            status = quipu_error_set(err, QUIPU_INVALID, "\"events\" is not a list");
        }
    }
    if (status == QUIPU_OK) {
        status = batch_reserve(batch, count, err);
    }
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        struct quipu_slice item;
        status = quipu_dagcbor_next_whole(&reader, &item, err);
        if (status == QUIPU_OK) {
            status = batch_add(batch, item, err);
        }
    }
    return status;
}

enum quipu_status quipu_service_append(void *ctx, struct quipu_request *request,
                                       struct quipu_error *err)
{
    (void)ctx;
    struct batch batch = {0};
    struct quipu_slice list;
    struct quipu_slice body = quipu_request_body(request);
    if (body.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the request has no body; give an event or {\"events\":[…]}");
    }
    enum quipu_status status = quipu_dagcbor_map_get(body, "events", &list, err);
    if (status == QUIPU_OK) {
        status = read_list(&batch, body, list, err);
    } else if (status == QUIPU_NOT_FOUND) {
        status = batch_reserve(&batch, 1, err);
        if (status == QUIPU_OK) {
            status = batch_add(&batch, body, err);
        }
    } else {
        status = quipu_error_set(err, QUIPU_INVALID, "the body is no map");
    }
    if (status == QUIPU_OK) {
        status = quipu_request_append(request, batch.events, batch.count, err);
    }
    batch_release(&batch);
    return status;
}
