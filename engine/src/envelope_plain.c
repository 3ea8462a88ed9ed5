/*
 * The short way through an envelope: what the encoder writes is met byte by byte, keys with their
 * heads as they stand, values straight into the caller's view. Nothing is cleared, nothing is
 * decided that the careful way (envelope_decode.c) would decide otherwise: what is not plain (a
 * broken rule of DAG-CBOR, a key that is missing or unknown, a field of another kind, a link of
 * another codec) is left to it, and it alone names what is wrong.
 *
 * Looks at structure only; the rules about values are envelope_check's.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "envelope_keys.h"
#include "internal/bytes.h"
#include "quipu/dagcbor.h"

/* Tag 42, a string of 37 bytes, 0, version 1, dag-cbor, sha2-256 of 32 bytes. */
static const uint8_t link_head[] = {0xd8, 0x2a, 0x58, 0x25, 0x00, 0x01, 0x71, 0x12, 0x20};

#define MAP_OF_14   0xae
#define MAP_OF_17   0xb1
#define LIST_OF_0   0x80
#define TEXT_OF_0   0x60
#define TEXT_LONG   0x78 /* the length is in the byte behind */
#define BYTES_OF_16 0x50
#define CBOR_NULL   0xf6
#define MAJOR_MAP   5
#define NEGATIVE    0x20
#define MAJOR_BITS  0xe0

/* One piece of code, so that the rest stays in registers and lengths of keys are constants. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

/* What is left of the block. */
struct rest {
    const uint8_t *at;
    const uint8_t *end;
};

static ALWAYS_INLINE size_t rest_len(const struct rest *rest)
{
    return (size_t)(rest->end - rest->at);
}

/* memcmp(a, b, len) == 0 for 2 to 16 bytes whose number the compiler knows: two loads that overlap,
 * not a call. */
static ALWAYS_INLINE bool same_bytes(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len >= sizeof(uint64_t)) {
        uint64_t of_a[2];
        uint64_t of_b[2];
        memcpy(&of_a[0], a, sizeof of_a[0]);
        memcpy(&of_a[1], a + len - sizeof of_a[1], sizeof of_a[1]);
        memcpy(&of_b[0], b, sizeof of_b[0]);
        memcpy(&of_b[1], b + len - sizeof of_b[1], sizeof of_b[1]);
        return ((of_a[0] ^ of_b[0]) | (of_a[1] ^ of_b[1])) == 0;
    }
    if (len >= sizeof(uint32_t)) {
        uint32_t of_a[2];
        uint32_t of_b[2];
        memcpy(&of_a[0], a, sizeof of_a[0]);
        memcpy(&of_a[1], a + len - sizeof of_a[1], sizeof of_a[1]);
        memcpy(&of_b[0], b, sizeof of_b[0]);
        memcpy(&of_b[1], b + len - sizeof of_b[1], sizeof of_b[1]);
        return ((of_a[0] ^ of_b[0]) | (of_a[1] ^ of_b[1])) == 0;
    }
    return a[0] == b[0] && a[1] == b[1];
}

static ALWAYS_INLINE bool take_key(struct rest *rest, enum envelope_key key)
{
    const struct quipu_dagcbor_key *wanted = &envelope_keys[key];
    size_t len = 1 + (size_t)wanted->len;
    if (rest_len(rest) < len || !same_bytes(rest->at, &wanted->head, len)) {
        return false;
    }
    rest->at += len;
    return true;
}

/* The argument of the head at the front, in its shortest form; the major type is the caller's. */
static ALWAYS_INLINE bool take_argument(struct rest *rest, uint64_t *out)
{
    const uint8_t *p = rest->at;
    size_t left = rest_len(rest);
    if (left == 0) {
        return false;
    }
    unsigned info = *p & 31u;
    if (info < 24) {
        *out = info;
        rest->at = p + 1;
        return true;
    }
    uint64_t value;
    uint64_t least;
    size_t width;
    if (info == 24 && left >= 2) {
        value = p[1];
        least = 24;
        width = 1;
    } else if (info == 25 && left >= 3) {
        value = quipu_load_be16(p + 1);
        least = (uint64_t)UINT8_MAX + 1;
        width = 2;
    } else if (info == 26 && left >= 5) {
        value = quipu_load_be32(p + 1);
        least = (uint64_t)UINT16_MAX + 1;
        width = 4;
    } else if (info == 27 && left >= 9) {
        value = quipu_load_be64(p + 1);
        least = (uint64_t)UINT32_MAX + 1;
        width = 8;
    } else {
        return false;
    }
    *out = value;
    rest->at = p + 1 + width;
    return value >= least;
}

static ALWAYS_INLINE bool take_uint(struct rest *rest, uint64_t *out)
{
    return rest_len(rest) > 0 && (*rest->at & MAJOR_BITS) == 0 && take_argument(rest, out);
}

static ALWAYS_INLINE bool take_int(struct rest *rest, int64_t *out)
{
    if (rest_len(rest) == 0 || (*rest->at & MAJOR_BITS) > NEGATIVE) {
        return false;
    }
    bool is_negative = (*rest->at & MAJOR_BITS) == NEGATIVE;
    uint64_t value;
    if (!take_argument(rest, &value) || value > INT64_MAX) {
        return false;
    }
    *out = is_negative ? -1 - (int64_t)value : (int64_t)value;
    return true;
}

/* Up to 255 bytes: no text of an envelope may be longer. Its characters are looked at later. */
static ALWAYS_INLINE bool take_text(struct rest *rest, struct quipu_slice *out)
{
    if (rest_len(rest) < 2) {
        return false;
    }
    unsigned head = *rest->at;
    bool is_long = head == TEXT_LONG;
    size_t len = is_long ? rest->at[1] : head - TEXT_OF_0;
    const uint8_t *text = rest->at + (is_long ? 2 : 1);
    if (is_long ? len < 24 : (head < TEXT_OF_0 || len > 23)) {
        return false;
    }
    if (len > (size_t)(rest->end - text)) {
        return false;
    }
    *out = quipu_slice(text, len);
    rest->at = text + len;
    return true;
}

static ALWAYS_INLINE bool take_uuid(struct rest *rest, struct quipu_uuid *out)
{
    if (rest_len(rest) < 1 + sizeof out->bytes || *rest->at != BYTES_OF_16) {
        return false;
    }
    memcpy(out->bytes, rest->at + 1, sizeof out->bytes);
    rest->at += 1 + sizeof out->bytes;
    return true;
}

static ALWAYS_INLINE bool take_uuid_or_null(struct rest *rest, struct quipu_uuid *out)
{
    if (rest_len(rest) > 0 && *rest->at == CBOR_NULL) {
        memset(out, 0, sizeof *out);
        rest->at++;
        return true;
    }
    return take_uuid(rest, out) && !quipu_uuid_is_nil(*out);
}

static ALWAYS_INLINE bool take_link(struct rest *rest, struct quipu_cid *out)
{
    if (rest_len(rest) < sizeof link_head + sizeof out->digest ||
        !same_bytes(rest->at, link_head, sizeof link_head)) {
        return false;
    }
    out->codec = QUIPU_CODEC_DAG_CBOR;
    memcpy(out->digest, rest->at + sizeof link_head, sizeof out->digest);
    rest->at += sizeof link_head + sizeof out->digest;
    return true;
}

static ALWAYS_INLINE bool take_prev(struct rest *rest, struct quipu_envelope *out)
{
    if (rest_len(rest) == 0 || *rest->at < LIST_OF_0 ||
        *rest->at > LIST_OF_0 + QUIPU_ENVELOPE_PREV_MAX) {
        return false;
    }
    size_t count = (size_t)(*rest->at - LIST_OF_0);
    rest->at++;
    for (size_t i = 0; i < count; i++) {
        if (!take_link(rest, &out->prev[i])) {
            return false;
        }
    }
    out->prev_count = count;
    return true;
}

/* An optional map, strictly checked; empty where its key is not next. Counts it. */
static bool take_map(struct rest *rest, enum envelope_key key, struct quipu_slice *out,
                     unsigned *pairs)
{
    *out = quipu_slice(NULL, 0);
    if (!take_key(rest, key)) {
        return true;
    }
    (*pairs)++;
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, quipu_slice(rest->at, rest_len(rest)));
    /* The envelope's own map is one level. */
    reader.depth_max--;
    struct quipu_slice map;
    if (quipu_dagcbor_next_whole(&reader, &map, NULL) != QUIPU_OK ||
        map.data[0] >> 5 != MAJOR_MAP) {
        return false;
    }
    *out = map;
    rest->at += map.len;
    return true;
}

/* The keys up to `version`. */
static ALWAYS_INLINE bool take_first_half(struct rest *rest, struct quipu_envelope *out,
                                          unsigned *pairs)
{
    uint64_t format;
    return take_key(rest, ENVELOPE_V) && take_uint(rest, &format) &&
           format == QUIPU_ENVELOPE_FORMAT && take_map(rest, ENVELOPE_ENC, &out->enc, pairs) &&
           take_map(rest, ENVELOPE_META, &out->meta, pairs) && take_key(rest, ENVELOPE_PREV) &&
           take_prev(rest, out) && take_key(rest, ENVELOPE_SCHEMA) &&
           take_uint(rest, &out->schema) && take_key(rest, ENVELOPE_SOURCE) &&
           take_text(rest, &out->source) && take_key(rest, ENVELOPE_PAYLOAD) &&
           take_link(rest, &out->payload) && take_key(rest, ENVELOPE_VERSION) &&
           take_uint(rest, &out->version);
}

static ALWAYS_INLINE bool take_second_half(struct rest *rest, struct quipu_envelope *out,
                                           unsigned *pairs)
{
    if (!take_key(rest, ENVELOPE_EVENT_ID) || !take_uuid(rest, &out->event_id)) {
        return false;
    }
    out->has_causation = take_key(rest, ENVELOPE_CAUSATION);
    if (out->has_causation) {
        (*pairs)++;
        if (!take_link(rest, &out->causation)) {
            return false;
        }
    }
    return take_key(rest, ENVELOPE_EVENT_TYPE) && take_text(rest, &out->event_type) &&
           take_key(rest, ENVELOPE_SOURCE_SEQ) && take_uint(rest, &out->source_seq) &&
           take_key(rest, ENVELOPE_OCCURRED_AT) && take_int(rest, &out->occurred_unix_us) &&
           take_key(rest, ENVELOPE_AGGREGATE_ID) && take_text(rest, &out->aggregate_id) &&
           take_key(rest, ENVELOPE_CAUSATION_ID) && take_uuid_or_null(rest, &out->causation_id) &&
           take_key(rest, ENVELOPE_AGGREGATE_TYPE) && take_text(rest, &out->aggregate_type) &&
           take_key(rest, ENVELOPE_CORRELATION_ID) && take_uuid(rest, &out->correlation_id);
}

bool envelope_decode_plain(struct quipu_slice block, struct quipu_envelope *out)
{
    if (block.len == 0 || block.data[0] < MAP_OF_14 || block.data[0] > MAP_OF_17) {
        return false;
    }
    struct rest rest = {block.data + 1, block.data + block.len};
    unsigned pairs = ENVELOPE_KEYS_ALWAYS;
    return take_first_half(&rest, out, &pairs) && take_second_half(&rest, out, &pairs) &&
           rest.at == rest.end && pairs == (unsigned)(block.data[0] - MAP_OF_14) + 14;
}
