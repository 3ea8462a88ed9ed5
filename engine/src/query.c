/*
 * Answers to queries: a row, a page of rows, and the way to those of the other files. An answer is
 * read in one snapshot. Never writes to the store.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "engine_impl.h"
#include "query_reply.h"
#include "quipu/projection.h"
#include "quipu/text.h"
#include "registry.h"

#define NAME_BYTES (QUIPU_PROJECTION_NAME_BYTES_MAX + 1)

/* ------------------------------------------------------------------ rows */

/* A row's value: as the item it is under `value`, else as bytes under `raw`. */
static void write_value(struct quipu_dagcbor_writer *writer, struct quipu_slice value)
{
    if (reply_takes_item(value)) {
        quipu_dagcbor_write_key(writer, "value");
        quipu_dagcbor_write_item(writer, value);
    } else {
        quipu_dagcbor_write_key(writer, "raw");
        quipu_dagcbor_write_bytes(writer, value);
    }
}

/* The same among longer keys, where `raw` and `value` stand in different places. */
static bool write_raw_first(struct quipu_dagcbor_writer *writer, struct quipu_slice value)
{
    if (reply_takes_item(value)) {
        return false;
    }
    quipu_dagcbor_write_key(writer, "raw");
    quipu_dagcbor_write_bytes(writer, value);
    return true;
}

/* The projection's row of the registry, under its name as C text. */
static enum quipu_status find_projection(struct quipu_txn *txn, const struct quipu_query *query,
                                         char name[NAME_BYTES], struct registry_row *row,
                                         struct quipu_error *err)
{
    /* Decoding has held its length against the limit. */
    (void)snprintf(name, NAME_BYTES, "%.*s", QUIPU_SLICE_FMT(query->projection));
    return registry_get(txn, name, row, err);
}

static enum quipu_status key_not_found(const struct quipu_query *query, struct quipu_error *err)
{
    struct quipu_slice key = query->key;
    return quipu_text_is_printable(key) && key.len <= 300
               ? quipu_error_set(err, QUIPU_NOT_FOUND, "projection %.*s has no row \"%.*s\"",
                                 QUIPU_SLICE_FMT(query->projection), QUIPU_SLICE_FMT(key))
               : quipu_error_set(err, QUIPU_NOT_FOUND, "projection %.*s has no row of this key",
                                 QUIPU_SLICE_FMT(query->projection));
}

static enum quipu_status get(struct quipu_txn *txn, const struct quipu_query *query,
                             struct quipu_buf *reply, struct quipu_error *err)
{
    char name[NAME_BYTES];
    struct registry_row row;
    struct quipu_slice value;
    enum quipu_status status = find_projection(txn, query, name, &row, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_table_get(txn, (struct quipu_table){row.table}, query->key, &value, err);
        if (status == QUIPU_NOT_FOUND) {
            return key_not_found(query, err);
        }
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, reply);
    quipu_dagcbor_write_map(&writer, 7);
    reply_write_format(&writer);
    quipu_dagcbor_write_key(&writer, "key");
    reply_write_key(&writer, query->key);
    bool is_raw = write_raw_first(&writer, value);
    reply_write_kind(&writer, query->kind);
    if (!is_raw) {
        quipu_dagcbor_write_key(&writer, "value");
        quipu_dagcbor_write_item(&writer, value);
    }
    reply_write_number(&writer, "version", row.version);
    reply_write_number(&writer, "position", row.position);
    quipu_dagcbor_write_key(&writer, "projection");
    quipu_dagcbor_write_text(&writer, query->projection);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static bool begins_with(struct quipu_slice key, struct quipu_slice prefix)
{
    return key.len >= prefix.len && quipu_slice_equal(quipu_slice(key.data, prefix.len), prefix);
}

static enum quipu_status add_row(struct page *page, struct quipu_slice key,
                                 struct quipu_slice value, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    size_t start = page->items.len;
    quipu_dagcbor_writer_init(&writer, &page->items);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "key");
    reply_write_key(&writer, key);
    write_value(&writer, value);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    return status == QUIPU_OK ? page_add(page, start, "a row", err) : status;
}

/* `*last` is the key of the page's last row; it lives as long as the transaction. */
static enum quipu_status collect_rows(struct quipu_txn *txn, struct quipu_table table,
                                      const struct quipu_query *query, struct page *page,
                                      struct quipu_slice *last, struct quipu_error *err)
{
    bool goes_on =
        quipu_slice_compare(query->after_key, query->prefix) >= 0 && query->after_key.len > 0;
    struct quipu_slice key = goes_on ? query->after_key : query->prefix;
    enum quipu_seek seek = goes_on ? QUIPU_SEEK_GT : QUIPU_SEEK_GE;
    for (;;) {
        struct quipu_slice value;
        enum quipu_status status = quipu_txn_table_seek(txn, table, key, seek, &key, &value, err);
        if (status == QUIPU_DONE || (status == QUIPU_OK && !begins_with(key, query->prefix))) {
            return QUIPU_OK;
        }
        if (status == QUIPU_OK && page->count == page->limit) {
            page->has_more = true;
            return QUIPU_OK;
        }
        if (status == QUIPU_OK) {
            status = add_row(page, key, value, err);
        }
        if (status == QUIPU_TOO_LARGE && quipu_text_is_printable(key)) {
            return quipu_error_wrap(err, status, "row \"%.*s\"", QUIPU_SLICE_FMT(key));
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        *last = key;
        seek = QUIPU_SEEK_GT;
    }
}

static enum quipu_status list(struct quipu_txn *txn, const struct quipu_query *query,
                              struct page *page, struct quipu_buf *reply, struct quipu_error *err)
{
    char name[NAME_BYTES];
    struct registry_row row;
    struct quipu_slice last = {NULL, 0};
    enum quipu_status status = find_projection(txn, query, name, &row, err);
    if (status == QUIPU_OK) {
        status = collect_rows(txn, (struct quipu_table){row.table}, query, page, &last, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, reply);
    quipu_dagcbor_write_map(&writer, page->has_more ? 7 : 6);
    reply_write_format(&writer);
    if (page->has_more) {
        quipu_dagcbor_write_key(&writer, "next");
        reply_write_key(&writer, last);
    }
    page_write(page, "rows", &writer);
    reply_write_kind(&writer, query->kind);
    reply_write_number(&writer, "version", row.version);
    reply_write_number(&writer, "position", row.position);
    quipu_dagcbor_write_key(&writer, "projection");
    quipu_dagcbor_write_text(&writer, query->projection);
    return quipu_dagcbor_writer_finish(&writer, err);
}

/* ------------------------------------------------------------------ all of them */

/* The queries that are answered from one snapshot. */
static enum quipu_status snapshot_answer(struct quipu_engine *engine,
                                         const struct quipu_query *query, size_t reply_bytes_max,
                                         struct quipu_buf *reply, struct quipu_error *err)
{
    struct page page;
    struct quipu_txn *txn = NULL;
    page_init(&page, query, reply_bytes_max);
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK && query->kind == QUIPU_QUERY_GET) {
        status = get(txn, query, reply, err);
    } else if (status == QUIPU_OK && query->kind == QUIPU_QUERY_LIST) {
        status = list(txn, query, &page, reply, err);
    } else if (status == QUIPU_OK) {
        status = query_event(txn, query, reply, err);
    }
    quipu_txn_abort(&txn);
    page_release(&page);
    return status;
}

static enum quipu_status answer(struct quipu_engine *engine, const struct quipu_query *query,
                                size_t reply_bytes_max, struct quipu_buf *reply,
                                struct quipu_error *err)
{
    switch (query->kind) {
    case QUIPU_QUERY_STATUS:
        return query_status(engine, reply, err);
    case QUIPU_QUERY_EVENTS:
        return query_events(engine, query, reply_bytes_max, reply, err);
    case QUIPU_QUERY_GET:
    case QUIPU_QUERY_LIST:
    case QUIPU_QUERY_EVENT:
        return snapshot_answer(engine, query, reply_bytes_max, reply, err);
    }
    return QUIPU_INVALID;
}

/* `query` has been decoded, or would be. */
static enum quipu_status run(struct quipu_engine *engine, const struct quipu_query *query,
                             const struct quipu_query_options *options, struct quipu_buf *reply,
                             struct quipu_error *err)
{
    size_t start = reply->len;
    size_t max = options == NULL || options->reply_bytes_max == 0 ? QUIPU_QUERY_REPLY_BYTES_DEFAULT
                                                                  : options->reply_bytes_max;
    if (options != NULL && options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "query: options of %zu bytes, expected %zu",
                               options->size, sizeof *options);
    }
    if (max < QUIPU_QUERY_REPLY_BYTES_MIN || max > QUIPU_QUERY_REPLY_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_MISUSE, "query: a reply of %zu bytes, expected %u to %u",
                               max, QUIPU_QUERY_REPLY_BYTES_MIN, QUIPU_QUERY_REPLY_BYTES_MAX);
    }
    enum quipu_status status = answer(engine, query, max, reply, err);
    if (status == QUIPU_OK && reply->len - start > max) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE,
                                 "query %s: the reply takes %zu bytes, it may have %zu",
                                 quipu_query_kind_text(query->kind), reply->len - start, max);
    }
    if (status != QUIPU_OK) {
        reply->len = start;
    }
    return status;
}

enum quipu_status quipu_query_run(struct quipu_engine *engine, const struct quipu_query *query,
                                  const struct quipu_query_options *options,
                                  struct quipu_buf *reply, struct quipu_error *err)
{
    /* A request has one meaning and one set of rules, however it came here. */
    struct quipu_buf request = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_query_encode(query, &request, err);
    if (status == QUIPU_OK) {
        status = run(engine, query, options, reply, err);
    }
    quipu_buf_release(&request);
    return status;
}

enum quipu_status quipu_query_answer(struct quipu_engine *engine, struct quipu_slice request,
                                     const struct quipu_query_options *options,
                                     struct quipu_buf *reply, struct quipu_error *err)
{
    struct quipu_query query;
    enum quipu_status status = quipu_query_decode(request, &query, err);
    return status == QUIPU_OK ? run(engine, &query, options, reply, err) : status;
}
