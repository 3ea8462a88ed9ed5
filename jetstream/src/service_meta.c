/*
 * What a request leaves in the meta of its events, and reading it back: {"request": {"id",
 * "sha256"}, "traceparent"}. Pure: no I/O.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "quipu/dagcbor.h"
#include "service_impl.h"
#include "service_trace.h"

#define KEY_REQUEST     "request"
#define KEY_TRACEPARENT "traceparent"

/* Keys of ours that are still to be written; in canonical order. */
struct own_keys {
    bool request;
    bool traceparent;
};

static void write_request(struct quipu_dagcbor_writer *writer, const struct quipu_request *request)
{
    quipu_dagcbor_write_key(writer, KEY_REQUEST);
    quipu_dagcbor_write_map(writer, 2);
    quipu_dagcbor_write_key(writer, "id");
    quipu_dagcbor_write_text(writer, quipu_slice_text(request->id));
    quipu_dagcbor_write_key(writer, "sha256");
    quipu_dagcbor_write_bytes(writer, quipu_slice(request->digest, sizeof request->digest));
}

/* Those of ours that come before `key`; all that are left where its data is NULL. */
static void write_own_before(struct quipu_dagcbor_writer *writer, struct own_keys *keys,
                             struct quipu_slice key, const struct quipu_request *request)
{
    if (keys->request &&
        (key.data == NULL || quipu_dagcbor_key_compare(quipu_slice_text(KEY_REQUEST), key) < 0)) {
        write_request(writer, request);
        keys->request = false;
    }
    if (keys->traceparent &&
        (key.data == NULL ||
         quipu_dagcbor_key_compare(quipu_slice_text(KEY_TRACEPARENT), key) < 0)) {
        quipu_dagcbor_write_key(writer, KEY_TRACEPARENT);
        quipu_dagcbor_write_text(writer, request->traceparent);
        keys->traceparent = false;
    }
}

/* The pairs of the event's own meta, with ours between them. */
static enum quipu_status merge(struct quipu_dagcbor_writer *writer, struct own_keys keys,
                               struct quipu_slice meta, const struct quipu_request *request,
                               struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs = 0;
    enum quipu_status status = QUIPU_OK;
    if (meta.len > 0) {
        quipu_dagcbor_reader_init(&reader, meta);
        status = quipu_dagcbor_read_map(&reader, &pairs, err);
    }
    if (status == QUIPU_OK) {
        quipu_dagcbor_write_map(writer,
                                pairs + (keys.request ? 1 : 0) + (keys.traceparent ? 1 : 0));
    }
    for (uint64_t i = 0; i < pairs && status == QUIPU_OK; i++) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_dagcbor_read_text(&reader, &key, err);
        if (status == QUIPU_OK) {
            status = quipu_dagcbor_next_whole(&reader, &value, err);
        }
        if (status == QUIPU_OK) {
            write_own_before(writer, &keys, key, request);
            quipu_dagcbor_write_text(writer, key);
            quipu_dagcbor_write_item(writer, value);
        }
    }
    write_own_before(writer, &keys, quipu_slice(NULL, 0), request);
    return status;
}

static bool has_key(struct quipu_slice meta, const char *key)
{
    struct quipu_slice value;
    return meta.len > 0 && quipu_dagcbor_map_get(meta, key, &value, NULL) == QUIPU_OK;
}

enum quipu_status quipu_request_meta_check(struct quipu_slice meta, struct quipu_error *err)
{
    if (meta.len > 0) {
        enum quipu_status status = quipu_dagcbor_validate(meta, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "meta");
        }
    }
    return has_key(meta, KEY_REQUEST)
               ? quipu_error_set(err, QUIPU_INVALID,
                                 "meta: \"" KEY_REQUEST "\" is where the service puts the "
                                 "request's id; choose another key")
               : QUIPU_OK;
}

enum quipu_status quipu_request_meta(const struct quipu_request *request, struct quipu_slice meta,
                                     struct quipu_buf *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_request_meta_check(meta, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct own_keys keys = {.request = request->id != NULL,
                            .traceparent =
                                request->traceparent.len > 0 && !has_key(meta, KEY_TRACEPARENT)};
    if (!keys.request && !keys.traceparent) {
        quipu_buf_append_slice(out, meta);
        return out->status == QUIPU_OK
                   ? QUIPU_OK
                   : quipu_error_set(err, out->status, "out of memory for an event's meta");
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    status = merge(&writer, keys, meta, request, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "meta");
    }
    status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK && out->len > QUIPU_META_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "meta: %zu bytes with what the request adds, %u are allowed",
                               out->len, QUIPU_META_BYTES_MAX);
    }
    return status;
}

enum request_origin quipu_request_origin(const struct quipu_request *request,
                                         struct quipu_slice meta)
{
    struct quipu_slice origin;
    struct quipu_slice value;
    struct quipu_slice id;
    struct quipu_slice digest;
    struct quipu_dagcbor_reader reader;
    if (meta.len == 0 || quipu_dagcbor_map_get(meta, KEY_REQUEST, &origin, NULL) != QUIPU_OK ||
        quipu_dagcbor_map_get(origin, "id", &value, NULL) != QUIPU_OK) {
        return REQUEST_ORIGIN_OTHER;
    }
    quipu_dagcbor_reader_init(&reader, value);
    if (quipu_dagcbor_read_text(&reader, &id, NULL) != QUIPU_OK ||
        !quipu_slice_equal(id, quipu_slice_text(request->id)) ||
        quipu_dagcbor_map_get(origin, "sha256", &value, NULL) != QUIPU_OK) {
        return REQUEST_ORIGIN_OTHER;
    }
    quipu_dagcbor_reader_init(&reader, value);
    return quipu_dagcbor_read_bytes(&reader, &digest, NULL) == QUIPU_OK &&
                   quipu_slice_equal(digest, quipu_slice(request->digest, QUIPU_SHA256_BYTES))
               ? REQUEST_ORIGIN_SAME
               : REQUEST_ORIGIN_OTHER_BODY;
}
