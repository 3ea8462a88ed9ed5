/*
 * The DAG-CBOR writer's short way for a map: a key and its value in one step. A key of a fixed
 * schema comes with its head before it, so that it is copied as it stands. What is not plain (a
 * long key, a key that is not due or not behind the last one, a buffer that is nearly full) goes
 * the long way of dagcbor_writer.c, which alone decides what is refused. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "dagcbor_writer.h"

/* Key with head, head of the value, short value or link. */
#define PAIR_BYTES 64
/* Longer text than this goes the long way. */
#define LONG_TEXT_BYTES 256

_Static_assert(1 + QUIPU_DAGCBOR_KEY_BYTES_MAX + LINK_BYTES <= PAIR_BYTES, "room for any pair");
_Static_assert(QUIPU_DAGCBOR_KEY_BYTES_MAX == SHORT_TEXT_BYTES, "one notion of a short key");

static struct quipu_slice key_text(const struct quipu_dagcbor_key *key)
{
    return quipu_slice(key->text, key->len);
}

/* May a short key `text` be written here and now? No means that a closer look is due. */
static ALWAYS_INLINE bool key_is_plain(const struct quipu_dagcbor_writer *writer,
                                       const uint8_t *text, size_t len, size_t room)
{
    const struct quipu_buf *buf = writer->buf;
    const struct quipu_dagcbor_writer_level *level = &writer->level;
    if (UNLIKELY(writer->due != DUE_KEY || buf->cap - buf->len < room)) {
        return false;
    }
    return LIKELY(len >= level->key_mark) ||
           (len + 1 == level->key_mark && is_plainly_behind(text, buf->data + level->key, len));
}

/* What a pair that is being written needs to know, held in registers: stores through byte pointers
 * would make the compiler load it again and again. `len` counts apart from `at`, so that the next
 * pair need not wait for more than one sum. */
struct pair {
    uint8_t *into; /* where the pair begins; NULL: nothing is done */
    size_t at;     /* the buffer's length there */
    size_t len;    /* of the key with its head */
};

static ALWAYS_INLINE struct pair key_goes(struct quipu_dagcbor_writer *writer, size_t len)
{
    struct pair pair = {writer->buf->data + writer->buf->len, writer->buf->len, 1 + len};
    writer->level.key = pair.at + 1;
    writer->level.key_mark = (uint32_t)pair.len;
    return pair;
}

static ALWAYS_INLINE struct pair begin_pair(struct quipu_dagcbor_writer *writer,
                                            const struct quipu_dagcbor_key *key, size_t room)
{
    const uint8_t *text = (const uint8_t *)key->text;
    uint64_t low;
    uint64_t high;
    memcpy(&low, text, sizeof low);
    memcpy(&high, text + sizeof low, sizeof high);
    if (UNLIKELY(((low | high) & NO_ASCII) != 0 || !key_is_plain(writer, text, key->len, room))) {
        return (struct pair){NULL, 0, 0};
    }
    struct pair pair = key_goes(writer, key->len);
    /* All seventeen bytes, however long the key: what is too much is written over. */
    memcpy(pair.into, &key->head, 1 + QUIPU_DAGCBOR_KEY_BYTES_MAX);
    return pair;
}

/* The same for a key without its head. */
static ALWAYS_INLINE struct pair begin_pair_slice(struct quipu_dagcbor_writer *writer,
                                                  struct quipu_slice key)
{
    if (UNLIKELY(key.len > SHORT_TEXT_BYTES || !is_short_ascii(key.data, key.len) ||
                 !key_is_plain(writer, key.data, key.len, PAIR_BYTES))) {
        return (struct pair){NULL, 0, 0};
    }
    struct pair pair = key_goes(writer, key.len);
    pair.into[0] = (uint8_t)(MAJOR_TEXT << 5 | key.len);
    copy_short(pair.into + 1, key.data, key.len);
    return pair;
}

/* The value took `len` bytes; the next key is due again. */
static ALWAYS_INLINE void end_pair(struct quipu_dagcbor_writer *writer, struct pair pair,
                                   size_t len)
{
    writer->buf->len = pair.at + (pair.len + len);
    writer->level.left -= 2;
    if (UNLIKELY(writer->level.left == 0)) {
        dagcbor_writer_close(writer);
    }
}

static ALWAYS_INLINE void end_pair_head(struct quipu_dagcbor_writer *writer, struct pair pair,
                                        enum cbor_major major, uint64_t argument)
{
    end_pair(writer, pair, head_put(pair.into + pair.len, major, argument));
}

static ALWAYS_INLINE void end_pair_string(struct quipu_dagcbor_writer *writer, struct pair pair,
                                          enum cbor_major major, struct quipu_slice value)
{
    uint8_t *into = pair.into + pair.len;
    into[0] = (uint8_t)((unsigned)major << 5 | value.len);
    copy_short(into + 1, value.data, value.len);
    end_pair(writer, pair, 1 + value.len);
}

/* ------------------------------------------------------------------ text and bytes */

static NEVER_INLINE void pair_text_closely(struct quipu_dagcbor_writer *writer,
                                           const struct quipu_dagcbor_key *key,
                                           struct quipu_slice text)
{
    struct pair pair = {NULL, 0, 0};
    if (text.len <= LONG_TEXT_BYTES && is_utf8(text.data, text.len)) {
        pair = begin_pair(writer, key, PAIR_BYTES + LONG_TEXT_BYTES);
    }
    if (pair.into == NULL) {
        quipu_dagcbor_write_text(writer, key_text(key));
        quipu_dagcbor_write_text(writer, text);
        return;
    }
    uint8_t *into = pair.into + pair.len;
    size_t head = head_put(into, MAJOR_TEXT, text.len);
    copy_short(into + head, text.data, text.len);
    end_pair(writer, pair, head + text.len);
}

void quipu_dagcbor_write_pair_text(struct quipu_dagcbor_writer *writer,
                                   const struct quipu_dagcbor_key *key, struct quipu_slice text)
{
    struct pair pair = {NULL, 0, 0};
    if (LIKELY(text.len <= SHORT_TEXT_BYTES && is_short_ascii(text.data, text.len))) {
        pair = begin_pair(writer, key, PAIR_BYTES);
    }
    if (UNLIKELY(pair.into == NULL)) {
        pair_text_closely(writer, key, text);
        return;
    }
    end_pair_string(writer, pair, MAJOR_TEXT, text);
}

static NEVER_INLINE void pair_bytes_closely(struct quipu_dagcbor_writer *writer,
                                            const struct quipu_dagcbor_key *key,
                                            struct quipu_slice bytes)
{
    quipu_dagcbor_write_text(writer, key_text(key));
    quipu_dagcbor_write_bytes(writer, bytes);
}

void quipu_dagcbor_write_pair_bytes(struct quipu_dagcbor_writer *writer,
                                    const struct quipu_dagcbor_key *key, struct quipu_slice bytes)
{
    struct pair pair = {NULL, 0, 0};
    if (LIKELY(bytes.len <= SHORT_TEXT_BYTES)) {
        pair = begin_pair(writer, key, PAIR_BYTES);
    }
    if (UNLIKELY(pair.into == NULL)) {
        pair_bytes_closely(writer, key, bytes);
        return;
    }
    end_pair_string(writer, pair, MAJOR_BYTES, bytes);
}

/* ------------------------------------------------------------------ numbers, null, links */

static NEVER_INLINE void pair_uint_closely(struct quipu_dagcbor_writer *writer,
                                           const struct quipu_dagcbor_key *key, uint64_t value)
{
    quipu_dagcbor_write_text(writer, key_text(key));
    quipu_dagcbor_write_uint(writer, value);
}

void quipu_dagcbor_write_pair_uint(struct quipu_dagcbor_writer *writer,
                                   const struct quipu_dagcbor_key *key, uint64_t value)
{
    struct pair pair = begin_pair(writer, key, PAIR_BYTES);
    if (UNLIKELY(pair.into == NULL)) {
        pair_uint_closely(writer, key, value);
        return;
    }
    end_pair_head(writer, pair, MAJOR_UINT, value);
}

static NEVER_INLINE void pair_int_closely(struct quipu_dagcbor_writer *writer,
                                          const struct quipu_dagcbor_key *key, int64_t value)
{
    quipu_dagcbor_write_text(writer, key_text(key));
    quipu_dagcbor_write_int(writer, value);
}

void quipu_dagcbor_write_pair_int(struct quipu_dagcbor_writer *writer,
                                  const struct quipu_dagcbor_key *key, int64_t value)
{
    struct pair pair = begin_pair(writer, key, PAIR_BYTES);
    if (UNLIKELY(pair.into == NULL)) {
        pair_int_closely(writer, key, value);
        return;
    }
    if (value < 0) {
        end_pair_head(writer, pair, MAJOR_NEGATIVE, ~(uint64_t)value);
    } else {
        end_pair_head(writer, pair, MAJOR_UINT, (uint64_t)value);
    }
}

static NEVER_INLINE void pair_null_closely(struct quipu_dagcbor_writer *writer,
                                           const struct quipu_dagcbor_key *key)
{
    quipu_dagcbor_write_text(writer, key_text(key));
    quipu_dagcbor_write_null(writer);
}

void quipu_dagcbor_write_pair_null(struct quipu_dagcbor_writer *writer,
                                   const struct quipu_dagcbor_key *key)
{
    struct pair pair = begin_pair(writer, key, PAIR_BYTES);
    if (UNLIKELY(pair.into == NULL)) {
        pair_null_closely(writer, key);
        return;
    }
    pair.into[pair.len] = CBOR_NULL;
    end_pair(writer, pair, 1);
}

static NEVER_INLINE void pair_link_closely(struct quipu_dagcbor_writer *writer,
                                           const struct quipu_dagcbor_key *key,
                                           const struct quipu_cid *cid)
{
    quipu_dagcbor_write_text(writer, key_text(key));
    quipu_dagcbor_write_link(writer, cid);
}

void quipu_dagcbor_write_pair_link(struct quipu_dagcbor_writer *writer,
                                   const struct quipu_dagcbor_key *key, const struct quipu_cid *cid)
{
    struct pair pair = {NULL, 0, 0};
    if (LIKELY(is_event_cid(cid))) {
        pair = begin_pair(writer, key, PAIR_BYTES);
    }
    if (UNLIKELY(pair.into == NULL)) {
        pair_link_closely(writer, key, cid);
        return;
    }
    put_link(pair.into + pair.len, cid);
    end_pair(writer, pair, LINK_BYTES);
}

/* ------------------------------------------------------------------ a value as it was read */

static NEVER_INLINE void pair_read_closely(struct quipu_dagcbor_writer *writer,
                                           struct quipu_slice key,
                                           const struct quipu_dagcbor_item *value)
{
    quipu_dagcbor_write_text(writer, key);
    quipu_dagcbor_write_read(writer, value);
}

/* Can this value follow a key in one step? */
static ALWAYS_INLINE bool value_is_plain(const struct quipu_dagcbor_item *value)
{
    switch (value->kind) {
    case QUIPU_DAGCBOR_UINT:
    case QUIPU_DAGCBOR_NEGATIVE:
        return true;
    case QUIPU_DAGCBOR_BYTES:
        return value->bytes.len <= SHORT_TEXT_BYTES;
    case QUIPU_DAGCBOR_TEXT:
        return value->bytes.len <= SHORT_TEXT_BYTES &&
               is_short_ascii(value->bytes.data, value->bytes.len);
    case QUIPU_DAGCBOR_LIST:
    case QUIPU_DAGCBOR_MAP:
    case QUIPU_DAGCBOR_LINK:
    case QUIPU_DAGCBOR_BOOL:
    case QUIPU_DAGCBOR_NULL:
    case QUIPU_DAGCBOR_FLOAT:
        break;
    }
    return false;
}

void quipu_dagcbor_write_pair_read(struct quipu_dagcbor_writer *writer, struct quipu_slice key,
                                   const struct quipu_dagcbor_item *value)
{
    struct pair pair = {NULL, 0, 0};
    if (LIKELY(value_is_plain(value))) {
        pair = begin_pair_slice(writer, key);
    }
    if (UNLIKELY(pair.into == NULL)) {
        pair_read_closely(writer, key, value);
    } else if (value->kind == QUIPU_DAGCBOR_UINT) {
        end_pair_head(writer, pair, MAJOR_UINT, value->number);
    } else if (value->kind == QUIPU_DAGCBOR_NEGATIVE) {
        end_pair_head(writer, pair, MAJOR_NEGATIVE, value->number);
    } else if (value->kind == QUIPU_DAGCBOR_TEXT) {
        end_pair_string(writer, pair, MAJOR_TEXT, value->bytes);
    } else {
        end_pair_string(writer, pair, MAJOR_BYTES, value->bytes);
    }
}
