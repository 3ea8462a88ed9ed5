/*
 * DAG-CBOR to canonical DAG-JSON text, and JSON strings. The pull reader gives the items; each is
 * written as it comes, and a map whose keys DAG-JSON sorts otherwise is put in order when it ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "dagjson_parts.h"
#include "quipu/dagjson.h"
#include "quipu/multibase.h"
#include "quipu/text.h"

/* A map's pair: `key` borrowed from the block, its text in `work`. */
struct pair {
    struct quipu_slice key;
    size_t begin;
    size_t end;
    bool is_string;     /* the value is text */
    bool is_bytes_form; /* the value is a map whose first key is "bytes", with text under it */
};

/* An open list or map. */
struct frame {
    uint64_t left;
    size_t begin; /* in `work`, behind the bracket */
    size_t pairs; /* a map's first pair in `pairs` */
    size_t offset;
    bool is_map;
    bool has_items;
};

struct writer {
    struct quipu_dagcbor_reader reader;
    struct quipu_buf work;
    struct quipu_buf pairs; /* struct pair of all open maps */
    struct quipu_buf sorted;
    uint32_t depth;
    struct frame frames[QUIPU_DAGCBOR_DEPTH_DEFAULT];
};

static struct pair *pair_at(const struct writer *writer, size_t index)
{
    return (struct pair *)(void *)writer->pairs.data + index;
}

static size_t pair_count(const struct writer *writer)
{
    return writer->pairs.len / sizeof(struct pair);
}

/* ------------------------------------------------------------------ strings */

static void append_escaped(struct quipu_buf *out, uint8_t c)
{
    static const char LETTERS[] = "\"\\/bfnrt";
    static const char MEANING[] = "\"\\/\b\f\n\r\t";
    const char *found = c == 0 ? NULL : strchr(MEANING, c);
    if (found != NULL) {
        quipu_buf_append_byte(out, '\\');
        quipu_buf_append_byte(out, (uint8_t)LETTERS[found - MEANING]);
        return;
    }
    quipu_buf_printf(out, "\\u%04x", c);
}

/* Append valid UTF-8, with escapes for the quote, the backslash and control characters only. */
static void append_valid(struct quipu_buf *out, struct quipu_slice text)
{
    size_t run = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            continue;
        }
        quipu_buf_append(out, text.data + run, i - run);
        append_escaped(out, c);
        run = i + 1;
    }
    if (run < text.len) {
        quipu_buf_append(out, text.data + run, text.len - run);
    }
}

void quipu_json_append_string(struct quipu_buf *out, struct quipu_slice text)
{
    static const char REPLACEMENT[] = "\xef\xbf\xbd";
    quipu_buf_append_byte(out, '"');
    while (text.len > 0) {
        size_t valid = quipu_utf8_valid_prefix(text);
        append_valid(out, quipu_slice(text.data, valid));
        if (valid == text.len) {
            break;
        }
        quipu_buf_append_text(out, REPLACEMENT);
        text = quipu_slice(text.data + valid + 1, text.len - valid - 1);
    }
    quipu_buf_append_byte(out, '"');
}

/* ------------------------------------------------------------------ ends of lists and maps */

static int compare_pairs(const void *a, const void *b)
{
    const struct pair *left = a;
    const struct pair *right = b;
    return quipu_slice_compare(left->key, right->key);
}

/* Write the pairs again in DAG-JSON's order; the text keeps its length. */
static void sort_pairs(struct writer *writer, const struct frame *frame, struct pair *pairs,
                       size_t count)
{
    bool is_sorted = true;
    for (size_t i = 1; i < count && is_sorted; i++) {
        is_sorted = compare_pairs(&pairs[i - 1], &pairs[i]) < 0;
    }
    if (is_sorted) {
        return;
    }
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    struct quipu_buf *sorted = &writer->sorted;
    quipu_buf_reset(sorted);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            quipu_buf_append_byte(sorted, ',');
        }
        quipu_buf_append(sorted, writer->work.data + pairs[i].begin, pairs[i].end - pairs[i].begin);
    }
    if (sorted->status == QUIPU_OK) {
        memcpy(writer->work.data + frame->begin, sorted->data, sorted->len);
    }
}

/* Note what the value that ends here is; for a map's value the pair is complete. */
static void value_end(struct writer *writer, bool is_string, bool is_bytes_form)
{
    if (writer->depth == 0) {
        return;
    }
    struct frame *frame = &writer->frames[writer->depth - 1];
    frame->left--;
    if (frame->is_map && writer->pairs.status == QUIPU_OK) {
        struct pair *pair = pair_at(writer, pair_count(writer) - 1);
        pair->end = writer->work.len;
        pair->is_string = is_string;
        pair->is_bytes_form = is_bytes_form;
    }
}

static enum quipu_status close_map(struct writer *writer, const struct frame *frame,
                                   bool *is_bytes_form, struct quipu_error *err)
{
    size_t count = pair_count(writer) - frame->pairs;
    if (count == 0) {
        return QUIPU_OK;
    }
    struct pair *pairs = pair_at(writer, frame->pairs);
    sort_pairs(writer, frame, pairs, count);
    *is_bytes_form =
        pairs[0].is_string && quipu_slice_equal(pairs[0].key, quipu_slice_text("bytes"));
    if (quipu_slice_equal(pairs[0].key, quipu_slice_text("/")) &&
        (pairs[0].is_string || pairs[0].is_bytes_form)) {
        return quipu_error_set_at(err, QUIPU_DAGJSON, frame->offset,
                                  "a map whose first key is \"/\" cannot be told from a link or "
                                  "from bytes in DAG-JSON");
    }
    writer->pairs.len = frame->pairs * sizeof(struct pair);
    return QUIPU_OK;
}

/* Close every list and map that is complete. */
static enum quipu_status close_complete(struct writer *writer, struct quipu_error *err)
{
    while (writer->depth > 0 && writer->frames[writer->depth - 1].left == 0) {
        const struct frame *frame = &writer->frames[writer->depth - 1];
        bool is_bytes_form = false;
        bool is_map = frame->is_map;
        if (is_map) {
            enum quipu_status status = close_map(writer, frame, &is_bytes_form, err);
            if (status != QUIPU_OK) {
                return status;
            }
        }
        quipu_buf_append_byte(&writer->work, is_map ? '}' : ']');
        writer->depth--;
        value_end(writer, false, is_bytes_form);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ items */

/* The comma before an item, the pair of a key. */
static void begin_item(struct writer *writer, const struct quipu_dagcbor_item *item)
{
    if (writer->depth == 0) {
        return;
    }
    struct frame *frame = &writer->frames[writer->depth - 1];
    if (frame->is_map && !item->is_key) {
        quipu_buf_append_byte(&writer->work, ':');
        return;
    }
    if (frame->has_items) {
        quipu_buf_append_byte(&writer->work, ',');
    }
    frame->has_items = true;
    if (item->is_key) {
        struct pair pair = {.key = item->bytes, .begin = writer->work.len};
        quipu_buf_append(&writer->pairs, &pair, sizeof pair);
    }
}

/* -1 - number, down to -2^64. */
static void append_negative(struct quipu_buf *out, uint64_t number)
{
    if (number == UINT64_MAX) {
        quipu_buf_append_text(out, "-18446744073709551616");
        return;
    }
    quipu_buf_printf(out, "-%" PRIu64, number + 1);
}

void quipu_dagjson_append_bytes(struct quipu_buf *out, struct quipu_slice bytes)
{
    quipu_buf_append_text(out, "{\"/\":{\"bytes\":");
    size_t quote = out->len;
    if (quipu_multibase_encode(QUIPU_BASE_64, bytes, out, NULL) != QUIPU_OK) {
        return; /* the buffer's status tells */
    }
    /* DAG-JSON has no multibase prefix: the opening quote takes its place. */
    out->data[quote] = '"';
    quipu_buf_append_text(out, "\"}}");
}

static void open_frame(struct writer *writer, const struct quipu_dagcbor_item *item)
{
    bool is_map = item->kind == QUIPU_DAGCBOR_MAP;
    quipu_buf_append_byte(&writer->work, is_map ? '{' : '[');
    writer->frames[writer->depth++] = (struct frame){
        .left = item->number,
        .begin = writer->work.len,
        .pairs = pair_count(writer),
        .offset = item->offset,
        .is_map = is_map,
    };
}

static void append_item(struct writer *writer, const struct quipu_dagcbor_item *item)
{
    struct quipu_buf *out = &writer->work;
    switch (item->kind) {
    case QUIPU_DAGCBOR_UINT:
        quipu_buf_printf(out, "%" PRIu64, item->number);
        break;
    case QUIPU_DAGCBOR_NEGATIVE:
        append_negative(out, item->number);
        break;
    case QUIPU_DAGCBOR_BYTES:
        quipu_dagjson_append_bytes(out, item->bytes);
        break;
    case QUIPU_DAGCBOR_TEXT:
        quipu_json_append_string(out, item->bytes);
        break;
    case QUIPU_DAGCBOR_LINK:
        quipu_buf_append_text(out, "{\"/\":\"");
        quipu_cid_view_format(&item->link, out);
        quipu_buf_append_text(out, "\"}");
        break;
    case QUIPU_DAGCBOR_BOOL:
        quipu_buf_append_text(out, item->number != 0 ? "true" : "false");
        break;
    case QUIPU_DAGCBOR_NULL:
        quipu_buf_append_text(out, "null");
        break;
    case QUIPU_DAGCBOR_FLOAT:
        dagjson_append_float(out, item->real);
        break;
    case QUIPU_DAGCBOR_LIST:
    case QUIPU_DAGCBOR_MAP:
        open_frame(writer, item);
        return;
    }
    if (!item->is_key) {
        value_end(writer, item->kind == QUIPU_DAGCBOR_TEXT, false);
    }
}

static enum quipu_status write_all(struct writer *writer, struct quipu_error *err)
{
    for (;;) {
        struct quipu_dagcbor_item item;
        enum quipu_status status = quipu_dagcbor_next(&writer->reader, &item, err);
        if (status != QUIPU_OK) {
            return status;
        }
        begin_item(writer, &item);
        append_item(writer, &item);
        /* Offsets into the buffers mean something only as long as every append has happened. */
        enum quipu_status failed = writer->work.status;
        failed = failed != QUIPU_OK ? failed : writer->pairs.status;
        status = failed != QUIPU_OK ? failed : close_complete(writer, err);
        failed = failed != QUIPU_OK ? failed : writer->sorted.status;
        if (failed != QUIPU_OK) {
            return quipu_error_set_at(err, failed, item.offset, "%s", quipu_status_text(failed));
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

enum quipu_status quipu_dagjson_from_dagcbor(struct quipu_slice block, struct quipu_buf *out,
                                             struct quipu_error *err)
{
    struct writer writer;
    quipu_dagcbor_reader_init(&writer.reader, block);
    writer.work = (struct quipu_buf)QUIPU_BUF_INIT;
    writer.pairs = (struct quipu_buf)QUIPU_BUF_INIT;
    writer.sorted = (struct quipu_buf)QUIPU_BUF_INIT;
    writer.depth = 0;

    enum quipu_status status = write_all(&writer, err);
    if (status == QUIPU_DONE) {
        quipu_buf_append_slice(out, quipu_buf_slice(&writer.work));
        status = out->status == QUIPU_OK
                     ? QUIPU_OK
                     : quipu_error_set(err, out->status, "no room for %zu bytes of DAG-JSON: %s",
                                       writer.work.len, quipu_status_text(out->status));
    }
    quipu_buf_release(&writer.work);
    quipu_buf_release(&writer.pairs);
    quipu_buf_release(&writer.sorted);
    return status;
}
