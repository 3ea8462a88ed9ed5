/*
 * The DAG-CBOR writer: one pass into a buffer, heads in their shortest form, map keys checked
 * against the one before. It cannot write anything that the strict reader refuses. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"

#include <string.h>

#include "dagcbor_head.h"

#define NO_KEY UINT32_MAX

void quipu_dagcbor_writer_init(struct quipu_dagcbor_writer *writer, struct quipu_buf *buf)
{
    /* The levels stay as they are: each is filled in when it is opened. */
    writer->buf = buf;
    writer->status = buf->status;
    writer->start = buf->len;
    writer->depth = 0;
    writer->depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT;
    writer->is_done = false;
    writer->stack = NULL;
}

void quipu_dagcbor_writer_set_stack(struct quipu_dagcbor_writer *writer,
                                    struct quipu_dagcbor_writer_level *stack, uint32_t depth)
{
    writer->stack = stack;
    writer->depth_max = depth < QUIPU_DAGCBOR_DEPTH_MAX ? depth : QUIPU_DAGCBOR_DEPTH_MAX;
}

static struct quipu_dagcbor_writer_level *top(struct quipu_dagcbor_writer *writer)
{
    struct quipu_dagcbor_writer_level *levels =
        writer->stack != NULL ? writer->stack : writer->levels;
    return &levels[writer->depth - 1];
}

static void fail(struct quipu_dagcbor_writer *writer, enum quipu_status status)
{
    if (writer->status == QUIPU_OK) {
        writer->status = status;
    }
}

/* Room for `more` bytes, or NULL with the status set. */
static inline uint8_t *reserve(struct quipu_dagcbor_writer *writer, size_t more)
{
    struct quipu_buf *buf = writer->buf;
    if (more <= buf->cap - buf->len) {
        return buf->data + buf->len;
    }
    uint8_t *into = quipu_buf_reserve(buf, more);
    if (into == NULL) {
        fail(writer, buf->status);
    }
    return into;
}

/* May an item that is not text stand here? */
static inline bool may_write(struct quipu_dagcbor_writer *writer)
{
    if (writer->status != QUIPU_OK) {
        return false;
    }
    if (writer->depth == 0) {
        if (writer->is_done) {
            fail(writer, QUIPU_MISUSE);
            return false;
        }
        return true;
    }
    struct quipu_dagcbor_writer_level *level = top(writer);
    if (level->is_map && level->left % 2 == 0) {
        fail(writer, QUIPU_CBOR_KEY_NOT_TEXT);
        return false;
    }
    return true;
}

/* An item is complete: so may be what it closes. A level whose `left` is 0 is closed at once, so
 * that there is always one item to come in the topmost. */
static inline void item_done(struct quipu_dagcbor_writer *writer)
{
    while (writer->depth > 0) {
        if (--top(writer)->left > 0) {
            return;
        }
        writer->depth--;
    }
    writer->is_done = true;
}

static inline void write_head(struct quipu_dagcbor_writer *writer, enum cbor_major major,
                              uint64_t argument)
{
    if (!may_write(writer)) {
        return;
    }
    uint8_t *into = reserve(writer, HEAD_BYTES_MAX);
    if (into == NULL) {
        return;
    }
    writer->buf->len += head_put(into, major, argument);
    item_done(writer);
}

static void open_level(struct quipu_dagcbor_writer *writer, enum cbor_major major, uint64_t count)
{
    if (!may_write(writer)) {
        return;
    }
    if (writer->depth == writer->depth_max) {
        fail(writer, QUIPU_CBOR_DEPTH);
        return;
    }
    bool is_map = major == MAJOR_MAP;
    /* Each item takes a byte at least, so such a count could never be kept. */
    if (is_map && count > UINT64_MAX / 2) {
        fail(writer, QUIPU_TOO_LARGE);
        return;
    }
    uint8_t *into = reserve(writer, HEAD_BYTES_MAX);
    if (into == NULL) {
        return;
    }
    writer->buf->len += head_put(into, major, count);
    if (count == 0) {
        item_done(writer);
        return;
    }
    writer->depth++;
    *top(writer) = (struct quipu_dagcbor_writer_level){
        .left = is_map ? count * 2 : count, .key_len = NO_KEY, .is_map = is_map};
}

void quipu_dagcbor_write_map(struct quipu_dagcbor_writer *writer, uint64_t pairs)
{
    open_level(writer, MAJOR_MAP, pairs);
}

void quipu_dagcbor_write_list(struct quipu_dagcbor_writer *writer, uint64_t items)
{
    open_level(writer, MAJOR_LIST, items);
}

/* Where `level` wants a key next: is `text` behind the last one? */
static inline bool key_fits(struct quipu_dagcbor_writer *writer,
                            const struct quipu_dagcbor_writer_level *level, struct quipu_slice text)
{
    if (text.len >= NO_KEY) {
        fail(writer, QUIPU_TOO_LARGE);
        return false;
    }
    if (level->key_len == NO_KEY || text.len > level->key_len) {
        return true;
    }
    int order = key_compare(writer->buf->data + level->key, level->key_len, text.data, text.len);
    if (order >= 0) {
        fail(writer, order == 0 ? QUIPU_CBOR_KEY_DUPLICATE : QUIPU_CBOR_KEY_ORDER);
        return false;
    }
    return true;
}

/* A string's head and bytes at the end of the buffer; false where there is no room. */
static inline bool put_string(struct quipu_dagcbor_writer *writer, enum cbor_major major,
                              struct quipu_slice bytes)
{
    size_t need;
    if (!quipu_add_size(bytes.len, HEAD_BYTES_MAX, &need)) {
        fail(writer, QUIPU_TOO_LARGE);
        return false;
    }
    uint8_t *into = reserve(writer, need);
    if (into == NULL) {
        return false;
    }
    size_t head = head_put(into, major, bytes.len);
    if (bytes.len > 0) {
        memcpy(into + head, bytes.data, bytes.len);
    }
    writer->buf->len += head + bytes.len;
    return true;
}

void quipu_dagcbor_write_text(struct quipu_dagcbor_writer *writer, struct quipu_slice text)
{
    if (writer->status != QUIPU_OK) {
        return;
    }
    if (!is_utf8(text.data, text.len)) {
        fail(writer, QUIPU_CBOR_UTF8);
        return;
    }
    struct quipu_dagcbor_writer_level *level = writer->depth > 0 ? top(writer) : NULL;
    bool is_key = level != NULL && level->is_map && level->left % 2 == 0;
    if (is_key ? !key_fits(writer, level, text) : !may_write(writer)) {
        return;
    }
    if (!put_string(writer, MAJOR_TEXT, text)) {
        return;
    }
    if (is_key) {
        level->key = writer->buf->len - text.len;
        level->key_len = (uint32_t)text.len;
    }
    item_done(writer);
}

void quipu_dagcbor_write_key(struct quipu_dagcbor_writer *writer, const char *key)
{
    quipu_dagcbor_write_text(writer, quipu_slice_text(key));
}

void quipu_dagcbor_write_bytes(struct quipu_dagcbor_writer *writer, struct quipu_slice bytes)
{
    if (may_write(writer) && put_string(writer, MAJOR_BYTES, bytes)) {
        item_done(writer);
    }
}

void quipu_dagcbor_write_uint(struct quipu_dagcbor_writer *writer, uint64_t value)
{
    write_head(writer, MAJOR_UINT, value);
}

void quipu_dagcbor_write_negative(struct quipu_dagcbor_writer *writer, uint64_t value)
{
    write_head(writer, MAJOR_NEGATIVE, value);
}

void quipu_dagcbor_write_int(struct quipu_dagcbor_writer *writer, int64_t value)
{
    if (value >= 0) {
        write_head(writer, MAJOR_UINT, (uint64_t)value);
    } else {
        /* -1 - value without overflow: the bits turned over. */
        write_head(writer, MAJOR_NEGATIVE, ~(uint64_t)value);
    }
}

void quipu_dagcbor_write_bool(struct quipu_dagcbor_writer *writer, bool value)
{
    write_head(writer, MAJOR_OTHER, value ? CBOR_TRUE & 31 : CBOR_FALSE & 31);
}

void quipu_dagcbor_write_null(struct quipu_dagcbor_writer *writer)
{
    write_head(writer, MAJOR_OTHER, CBOR_NULL & 31);
}

void quipu_dagcbor_write_float(struct quipu_dagcbor_writer *writer, double value)
{
    if (!may_write(writer)) {
        return;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & FLOAT_EXPONENT) == FLOAT_EXPONENT) {
        fail(writer, QUIPU_CBOR_FLOAT_NOT_FINITE);
        return;
    }
    uint8_t *into = reserve(writer, HEAD_BYTES_MAX);
    if (into == NULL) {
        return;
    }
    into[0] = CBOR_FLOAT;
    quipu_store_be64(into + 1, bits);
    writer->buf->len += 1 + sizeof bits;
    item_done(writer);
}

void quipu_dagcbor_write_link(struct quipu_dagcbor_writer *writer, const struct quipu_cid *cid)
{
    if (!may_write(writer)) {
        return;
    }
    static const uint8_t head[] = {LINK_TAG_HEAD, LINK_TAG, 0x58, QUIPU_CID_BYTES + 1, LINK_PREFIX};
    uint8_t *into = reserve(writer, sizeof head + QUIPU_CID_BYTES);
    if (into == NULL) {
        return;
    }
    memcpy(into, head, sizeof head);
    quipu_cid_to_bytes(cid, into + sizeof head);
    writer->buf->len += sizeof head + QUIPU_CID_BYTES;
    item_done(writer);
}

void quipu_dagcbor_write_link_view(struct quipu_dagcbor_writer *writer,
                                   const struct quipu_cid_view *cid)
{
    size_t need;
    if (!may_write(writer)) {
        return;
    }
    if (!quipu_add_size(cid->bytes.len, 2 + HEAD_BYTES_MAX + 1, &need)) {
        fail(writer, QUIPU_TOO_LARGE);
        return;
    }
    uint8_t *into = reserve(writer, need);
    if (into == NULL) {
        return;
    }
    size_t at = 0;
    into[at++] = LINK_TAG_HEAD;
    into[at++] = LINK_TAG;
    at += head_put(into + at, MAJOR_BYTES, cid->bytes.len + 1);
    into[at++] = LINK_PREFIX;
    memcpy(into + at, cid->bytes.data, cid->bytes.len);
    writer->buf->len += at + cid->bytes.len;
    item_done(writer);
}

void quipu_dagcbor_write_item(struct quipu_dagcbor_writer *writer, struct quipu_slice item)
{
    if (!may_write(writer)) {
        return;
    }
    if (item.len == 0) {
        fail(writer, QUIPU_MISUSE);
        return;
    }
    uint8_t *into = reserve(writer, item.len);
    if (into == NULL) {
        return;
    }
    memcpy(into, item.data, item.len);
    writer->buf->len += item.len;
    item_done(writer);
}

void quipu_dagcbor_write_read(struct quipu_dagcbor_writer *writer,
                              const struct quipu_dagcbor_item *item)
{
    switch (item->kind) {
    case QUIPU_DAGCBOR_UINT:
        quipu_dagcbor_write_uint(writer, item->number);
        return;
    case QUIPU_DAGCBOR_NEGATIVE:
        quipu_dagcbor_write_negative(writer, item->number);
        return;
    case QUIPU_DAGCBOR_BYTES:
        quipu_dagcbor_write_bytes(writer, item->bytes);
        return;
    case QUIPU_DAGCBOR_TEXT:
        quipu_dagcbor_write_text(writer, item->bytes);
        return;
    case QUIPU_DAGCBOR_LIST:
        quipu_dagcbor_write_list(writer, item->number);
        return;
    case QUIPU_DAGCBOR_MAP:
        quipu_dagcbor_write_map(writer, item->number);
        return;
    case QUIPU_DAGCBOR_LINK:
        quipu_dagcbor_write_link_view(writer, &item->link);
        return;
    case QUIPU_DAGCBOR_BOOL:
        quipu_dagcbor_write_bool(writer, item->number != 0);
        return;
    case QUIPU_DAGCBOR_NULL:
        quipu_dagcbor_write_null(writer);
        return;
    case QUIPU_DAGCBOR_FLOAT:
        quipu_dagcbor_write_float(writer, item->real);
        return;
    }
    fail(writer, QUIPU_MISUSE);
}

enum quipu_status quipu_dagcbor_writer_finish(struct quipu_dagcbor_writer *writer,
                                              struct quipu_error *err)
{
    if (writer->status == QUIPU_OK && !writer->is_done) {
        fail(writer, QUIPU_CBOR_INCOMPLETE);
    }
    if (writer->status == QUIPU_OK) {
        return QUIPU_OK;
    }
    size_t written = writer->buf->len - writer->start;
    writer->buf->len = writer->start;
    return quipu_error_set(err, writer->status, "writing DAG-CBOR, %zu bytes in: %s", written,
                           quipu_status_text(writer->status));
}
