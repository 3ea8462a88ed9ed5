/*
 * The DAG-CBOR writer: one pass into a buffer, heads in their shortest form, map keys checked
 * against the one before. It cannot write anything that the strict reader refuses. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"

#include <string.h>

#include "dagcbor_writer.h"

/* A map's last key is remembered by its length + 1. */
#define KEY_BYTES_MAX (UINT32_MAX - 1)

void quipu_dagcbor_writer_init(struct quipu_dagcbor_writer *writer, struct quipu_buf *buf)
{
    /* The stack stays as it is: each place is filled in when it is used. */
    writer->buf = buf;
    writer->status = buf->status;
    writer->due = buf->status == QUIPU_OK ? DUE_ITEM : DUE_NOTHING;
    writer->start = buf->len;
    writer->level = (struct quipu_dagcbor_writer_level){.left = 1};
    writer->depth = 0;
    writer->depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT;
    writer->stack = NULL;
}

void quipu_dagcbor_writer_set_stack(struct quipu_dagcbor_writer *writer,
                                    struct quipu_dagcbor_writer_level *stack, uint32_t depth)
{
    writer->stack = stack;
    writer->depth_max = depth < QUIPU_DAGCBOR_DEPTH_MAX ? depth : QUIPU_DAGCBOR_DEPTH_MAX;
}

static struct quipu_dagcbor_writer_level *place(struct quipu_dagcbor_writer *writer, uint32_t depth)
{
    return writer->stack != NULL ? &writer->stack[depth] : &writer->levels[depth];
}

static NEVER_INLINE void fail(struct quipu_dagcbor_writer *writer, enum quipu_status status)
{
    if (writer->status == QUIPU_OK) {
        writer->status = status;
    }
    writer->due = DUE_NOTHING;
}

/* Room at the end: `ample` bytes are more than will be written, and checked for first because that
 * is cheap; `exact` are what a buffer of fixed size must have. NULL with the status set. */
static ALWAYS_INLINE uint8_t *reserve(struct quipu_dagcbor_writer *writer, size_t ample,
                                      size_t exact)
{
    struct quipu_buf *buf = writer->buf;
    if (LIKELY(ample <= buf->cap - buf->len)) {
        return buf->data + buf->len;
    }
    uint8_t *into = quipu_buf_reserve(buf, exact);
    if (into == NULL) {
        fail(writer, buf->status);
    }
    return into;
}

/* Something else than an item without a key may stand here. */
static NEVER_INLINE bool refuse(struct quipu_dagcbor_writer *writer)
{
    fail(writer, writer->due == DUE_KEY ? QUIPU_CBOR_KEY_NOT_TEXT : QUIPU_MISUSE);
    return false;
}

/* May an item that is no key stand here? */
static ALWAYS_INLINE bool may_write(struct quipu_dagcbor_writer *writer)
{
    return LIKELY(writer->due == DUE_ITEM) || refuse(writer);
}

/* The level's last item is written: that completes an item of the level around it. */
void dagcbor_writer_close(struct quipu_dagcbor_writer *writer)
{
    while (writer->depth > 0) {
        writer->depth--;
        writer->level = *place(writer, writer->depth);
        if (--writer->level.left > 0) {
            bool is_key_due = writer->level.is_map && writer->level.left % 2 == 0;
            writer->due = is_key_due ? DUE_KEY : DUE_ITEM;
            return;
        }
    }
    writer->due = DUE_NOTHING;
}

static ALWAYS_INLINE void item_done(struct quipu_dagcbor_writer *writer)
{
    if (UNLIKELY(--writer->level.left == 0)) {
        dagcbor_writer_close(writer);
    } else if (writer->level.is_map) {
        writer->due ^= DUE_ITEM ^ DUE_KEY;
    }
}

static ALWAYS_INLINE void write_head(struct quipu_dagcbor_writer *writer, enum cbor_major major,
                                     uint64_t argument)
{
    if (!may_write(writer)) {
        return;
    }
    uint8_t *into = reserve(writer, HEAD_BYTES_MAX, head_bytes(argument));
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
    uint8_t *into = reserve(writer, HEAD_BYTES_MAX, head_bytes(count));
    if (into == NULL) {
        return;
    }
    writer->buf->len += head_put(into, major, count);
    if (count == 0) {
        item_done(writer);
        return;
    }
    *place(writer, writer->depth) = writer->level;
    writer->depth++;
    writer->level =
        (struct quipu_dagcbor_writer_level){.left = is_map ? count * 2 : count, .is_map = is_map};
    writer->due = is_map ? DUE_KEY : DUE_ITEM;
}

void quipu_dagcbor_write_map(struct quipu_dagcbor_writer *writer, uint64_t pairs)
{
    open_level(writer, MAJOR_MAP, pairs);
}

void quipu_dagcbor_write_list(struct quipu_dagcbor_writer *writer, uint64_t items)
{
    open_level(writer, MAJOR_LIST, items);
}

/* Is `text` behind the map's last key? */
static bool key_fits(struct quipu_dagcbor_writer *writer, struct quipu_slice text)
{
    const struct quipu_dagcbor_writer_level *level = &writer->level;
    if (text.len > KEY_BYTES_MAX) {
        fail(writer, QUIPU_TOO_LARGE);
        return false;
    }
    if (text.len >= level->key_mark) {
        return true;
    }
    struct quipu_slice last = quipu_slice(writer->buf->data + level->key, level->key_mark - 1);
    int order = quipu_dagcbor_key_compare(last, text);
    if (order >= 0) {
        fail(writer, order == 0 ? QUIPU_CBOR_KEY_DUPLICATE : QUIPU_CBOR_KEY_ORDER);
        return false;
    }
    return true;
}

/* A string's head and bytes at the end of the buffer; false where there is no room. */
static ALWAYS_INLINE bool put_string(struct quipu_dagcbor_writer *writer, enum cbor_major major,
                                     struct quipu_slice bytes)
{
    size_t need;
    if (UNLIKELY(!quipu_add_size(bytes.len, HEAD_BYTES_MAX, &need))) {
        fail(writer, QUIPU_TOO_LARGE);
        return false;
    }
    uint8_t *into = reserve(writer, need, bytes.len + head_bytes(bytes.len));
    if (into == NULL) {
        return false;
    }
    size_t head = head_put(into, major, bytes.len);
    copy_short(into + head, bytes.data, bytes.len);
    writer->buf->len += head + bytes.len;
    return true;
}

/* Any text. */
static NEVER_INLINE void write_text_closely(struct quipu_dagcbor_writer *writer,
                                            struct quipu_slice text)
{
    bool is_key = writer->due == DUE_KEY;
    if (is_key ? !key_fits(writer, text) : !may_write(writer)) {
        return;
    }
    if (!is_utf8(text.data, text.len)) {
        fail(writer, QUIPU_CBOR_UTF8);
        return;
    }
    if (!put_string(writer, MAJOR_TEXT, text)) {
        return;
    }
    if (is_key) {
        writer->level.key = writer->buf->len - text.len;
        writer->level.key_mark = (uint32_t)text.len + 1;
    }
    item_done(writer);
}

/* Text that is short, ASCII and, where it is a key, plainly behind the last one needs no stack and
 * no saved registers; all else goes the long way. */
void quipu_dagcbor_write_text(struct quipu_dagcbor_writer *writer, struct quipu_slice text)
{
    struct quipu_buf *buf = writer->buf;
    bool is_plain = text.len <= SHORT_TEXT_BYTES && buf->cap - buf->len > SHORT_TEXT_BYTES &&
                    is_short_ascii(text.data, text.len);
    if (UNLIKELY(!is_plain)) {
        write_text_closely(writer, text);
        return;
    }
    uint8_t *into = buf->data + buf->len;
    if (writer->due == DUE_KEY) {
        const struct quipu_dagcbor_writer_level *level = &writer->level;
        bool is_behind = text.len >= level->key_mark ||
                         (text.len + 1 == level->key_mark &&
                          is_plainly_behind(text.data, buf->data + level->key, text.len));
        if (UNLIKELY(!is_behind)) {
            write_text_closely(writer, text);
            return;
        }
        writer->level.key = buf->len + 1;
        writer->level.key_mark = (uint32_t)text.len + 1;
    } else if (UNLIKELY(writer->due != DUE_ITEM)) {
        write_text_closely(writer, text);
        return;
    }
    into[0] = (uint8_t)(MAJOR_TEXT << 5 | text.len);
    copy_short(into + 1, text.data, text.len);
    buf->len += 1 + text.len;
    item_done(writer);
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
    uint8_t *into = reserve(writer, 1 + sizeof bits, 1 + sizeof bits);
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
    if (UNLIKELY(!is_event_cid(cid))) {
        fail(writer, QUIPU_MISUSE);
        return;
    }
    uint8_t *into = reserve(writer, LINK_BYTES, LINK_BYTES);
    if (into == NULL) {
        return;
    }
    put_link(into, cid);
    writer->buf->len += LINK_BYTES;
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
    uint8_t *into = reserve(writer, need, 2 + head_bytes(cid->bytes.len + 1) + 1 + cid->bytes.len);
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
    uint8_t *into = reserve(writer, item.len, item.len);
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
    if (writer->due != DUE_NOTHING) {
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
