/*
 * The pieces that replies are made of: their head, keys, blocks, the page of items, and the reply
 * that tells of a failure. Knows nothing of a store.
 *
 * Specification: docs/SPEC.md §8.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "query_reply.h"

#include <inttypes.h>

#include "internal/bytes.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

/* Levels that a block in a reply may have: reply, list and item are around it. */
#define ITEM_DEPTH_MAX (QUIPU_DAGCBOR_DEPTH_DEFAULT - 8)

void reply_write_format(struct quipu_dagcbor_writer *writer)
{
    quipu_dagcbor_write_key(writer, "v");
    quipu_dagcbor_write_uint(writer, QUIPU_QUERY_FORMAT);
}

void reply_write_kind(struct quipu_dagcbor_writer *writer, enum quipu_query_kind kind)
{
    quipu_dagcbor_write_key(writer, "query");
    quipu_dagcbor_write_text(writer, quipu_slice_text(quipu_query_kind_text(kind)));
}

void reply_write_key(struct quipu_dagcbor_writer *writer, struct quipu_slice key)
{
    if (quipu_utf8_valid_prefix(key) == key.len) {
        quipu_dagcbor_write_text(writer, key);
    } else {
        quipu_dagcbor_write_bytes(writer, key);
    }
}

bool reply_takes_item(struct quipu_slice block)
{
    return quipu_dagjson_check(block, ITEM_DEPTH_MAX, NULL) == QUIPU_OK;
}

void reply_write_number(struct quipu_dagcbor_writer *writer, const char *key, uint64_t value)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_uint(writer, value);
}

/* ------------------------------------------------------------------ a page */

void page_init(struct page *page, const struct quipu_query *query, size_t reply_bytes_max)
{
    *page = (struct page){
        .limit = query->limit == 0 ? QUIPU_QUERY_LIMIT_DEFAULT : query->limit,
        .bytes_max = reply_bytes_max - FRAME_BYTES,
    };
}

void page_release(struct page *page)
{
    quipu_buf_release(&page->items);
    quipu_buf_release(&page->lengths);
}

enum quipu_status page_add(struct page *page, size_t start, const char *what,
                           struct quipu_error *err)
{
    size_t len = page->items.len - start;
    if (page->items.len > page->bytes_max) {
        page->items.len = start;
        page->has_more = true;
        if (page->count > 0) {
            return QUIPU_DONE;
        }
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "query: %s alone takes %zu bytes, a reply may have %zu", what, len,
                               page->bytes_max + FRAME_BYTES);
    }
    uint8_t length[4];
    quipu_store_be32(length, (uint32_t)len); /* bytes_max is far below 2^32 */
    quipu_buf_append(&page->lengths, length, sizeof length);
    page->count++;
    return page->lengths.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, page->lengths.status, "query: a page of %" PRIu64 " items",
                                 page->count);
}

void page_write(const struct page *page, const char *key, struct quipu_dagcbor_writer *writer)
{
    size_t at = 0;
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_list(writer, page->count);
    for (uint64_t i = 0; i < page->count; i++) {
        size_t len = quipu_load_be32(page->lengths.data + 4 * i);
        quipu_dagcbor_write_item(writer, quipu_slice(page->items.data + at, len));
        at += len;
    }
}

/* ------------------------------------------------------------------ failures */

enum quipu_status quipu_query_failure(enum quipu_status status, const struct quipu_error *failure,
                                      struct quipu_buf *reply, struct quipu_error *err)
{
    const char *line = failure == NULL ? quipu_status_text(status) : failure->message;
    struct quipu_slice text = quipu_slice_text(line);
    struct quipu_dagcbor_writer writer;
    text.len = quipu_utf8_valid_prefix(text); /* a message is cut at its limit, maybe inside */
    quipu_dagcbor_writer_init(&writer, reply);
    quipu_dagcbor_write_map(&writer, 2);
    reply_write_format(&writer);
    quipu_dagcbor_write_key(&writer, "error");
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "line");
    quipu_dagcbor_write_text(&writer, text);
    reply_write_number(&writer, "number", (uint64_t)status);
    quipu_dagcbor_write_key(&writer, "status");
    quipu_dagcbor_write_text(&writer, quipu_slice_text(quipu_status_name(status)));
    return quipu_dagcbor_writer_finish(&writer, err);
}
