/*
 * The strict DAG-CBOR pull reader: one item a call, zero copy, an explicit stack. Each rule is
 * enforced at the branch that names it; nothing is read in two ways, so what is accepted has one
 * encoding only. SPEC §1.
 *
 * How an item is read: (1) where a key is due, the major type must be text; (2) the head's argument
 * in its shortest form; (3) the count or length is held against the bytes that are left; (4) the
 * contents are checked; (5) the item is counted off its level, and levels that it completes are
 * closed. On a failure the reader has not moved.
 *
 * What is rare (a refusal, a wide head, text beyond ASCII, the end of a level) is left by a call in
 * tail position, so that the common way through needs neither stack nor saved registers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"

#include <inttypes.h>
#include <string.h>

#include "dagcbor_head.h"
#include "quipu/multihash.h"

/* Bytes of a link to an event-profile CID behind the tag: string head, prefix, CID. */
#define PLAIN_LINK_BYTES (2 + 1 + QUIPU_CID_BYTES)

/* Argument and bytes of a wide head; 0 bytes where it breaks a rule. */
struct wide_argument {
    uint64_t value;
    size_t bytes;
};

void quipu_dagcbor_reader_init(struct quipu_dagcbor_reader *reader, struct quipu_slice input)
{
    /* The stack stays as it is: each place is filled in when it is used. */
    reader->input = input;
    reader->at = 0;
    reader->level.left = 1;
    reader->level.key = quipu_slice(NULL, 0);
    reader->level.is_map = false;
    reader->depth = 0;
    reader->depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT;
    reader->stack = NULL;
}

void quipu_dagcbor_reader_set_stack(struct quipu_dagcbor_reader *reader,
                                    struct quipu_dagcbor_reader_level *stack, uint32_t depth)
{
    reader->stack = stack;
    reader->depth_max = depth < QUIPU_DAGCBOR_DEPTH_MAX ? depth : QUIPU_DAGCBOR_DEPTH_MAX;
}

static ALWAYS_INLINE struct quipu_dagcbor_reader_level *place(struct quipu_dagcbor_reader *self,
                                                              uint32_t depth)
{
    return self->stack != NULL ? &self->stack[depth] : &self->levels[depth];
}

/* The level's last item is read: that completes an item of the level around it. */
static NEVER_INLINE enum quipu_status close_levels(struct quipu_dagcbor_reader *self)
{
    while (self->level.left == 0 && self->depth > 0) {
        self->depth--;
        self->level = *place(self, self->depth);
        self->level.left--;
    }
    return QUIPU_OK;
}

/* The item that ends before `at` is read. */
static ALWAYS_INLINE enum quipu_status item_done(struct quipu_dagcbor_reader *self, size_t at)
{
    self->at = at;
    if (UNLIKELY(--self->level.left == 0)) {
        return close_levels(self);
    }
    return QUIPU_OK;
}

/* In a map, keys and values take turns, and the values come last. */
static ALWAYS_INLINE bool is_key_due(const struct quipu_dagcbor_reader *self)
{
    return self->level.is_map && self->level.left % 2 == 0;
}

/* ------------------------------------------------------------------ heads */

static NEVER_INLINE enum quipu_status truncated(struct quipu_error *err, size_t offset,
                                                uint64_t need, uint64_t left)
{
    return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, offset,
                              "item announces %" PRIu64 " bytes or more, %" PRIu64 " are left",
                              need, left);
}

/* The additional information that is no argument (RFC 8949 §3). */
static enum quipu_status bad_info(uint8_t first, size_t offset, struct quipu_error *err)
{
    unsigned major = first >> 5;
    unsigned info = first & 31;
    /* RFC 8949 §3.2 knows an indefinite length for strings, lists and maps, and a break that ends
     * it; DAG-CBOR for nothing. */
    bool is_length = (major >= MAJOR_BYTES && major <= MAJOR_MAP) || major == MAJOR_OTHER;
    if (info == INFO_INDEFINITE && is_length) {
        return quipu_error_set_at(err, QUIPU_CBOR_INDEFINITE, offset,
                                  major == MAJOR_OTHER ? "break of an indefinite length"
                                                       : "indefinite length");
    }
    return quipu_error_set_at(err, QUIPU_CBOR_RESERVED, offset,
                              "additional information %u is reserved", info);
}

/* Arguments of 1, 2, 4 or 8 bytes; `info` is one of their four. */
static ALWAYS_INLINE struct wide_argument read_wide(const uint8_t *p, size_t left, unsigned info)
{
    static const uint64_t least[] = {INFO_1_BYTE, (uint64_t)UINT8_MAX + 1, (uint64_t)UINT16_MAX + 1,
                                     (uint64_t)UINT32_MAX + 1};
    size_t width = (size_t)1 << (info - INFO_1_BYTE);
    struct wide_argument argument = {0, 0};
    if (left < width) {
        return argument;
    }
    argument.value = width == 1   ? p[0]
                     : width == 2 ? quipu_load_be16(p)
                     : width == 4 ? quipu_load_be32(p)
                                  : quipu_load_be64(p);
    /* DAG-CBOR strictness: the shortest form only. */
    argument.bytes = argument.value >= least[info - INFO_1_BYTE] ? width : 0;
    return argument;
}

/* Why read_wide gave nothing. */
static enum quipu_status bad_wide(const struct quipu_dagcbor_reader *self, size_t offset,
                                  struct quipu_error *err)
{
    unsigned info = self->input.data[offset] & 31;
    size_t width = (size_t)1 << (info - INFO_1_BYTE);
    size_t left = self->input.len - offset - 1;
    if (left < width) {
        return truncated(err, offset, width, left);
    }
    return quipu_error_set_at(err, QUIPU_CBOR_NOT_SHORTEST, offset,
                              "argument of %zu bytes that fits in fewer", width);
}

/* ------------------------------------------------------------------ strings */

static enum quipu_status not_utf8(struct quipu_error *err, size_t offset, struct quipu_slice text)
{
    return quipu_error_set_at(err, QUIPU_CBOR_UTF8, offset + quipu_utf8_valid_prefix(text),
                              "text is not valid UTF-8");
}

static enum quipu_status bad_key(struct quipu_error *err, size_t offset, int order)
{
    return quipu_error_set_at(
        err, order == 0 ? QUIPU_CBOR_KEY_DUPLICATE : QUIPU_CBOR_KEY_ORDER, offset,
        order == 0 ? "map key occurs twice" : "map key belongs before the one before it");
}

static ALWAYS_INLINE enum quipu_status text_done(struct quipu_dagcbor_reader *self,
                                                 struct quipu_slice text, size_t end,
                                                 struct quipu_dagcbor_item *out)
{
    if (out->is_key) {
        self->level.key = text;
    }
    out->kind = QUIPU_DAGCBOR_TEXT;
    out->bytes = text;
    return item_done(self, end);
}

/* Text that takes a closer look: long, beyond ASCII, or a key much like the one before. */
static NEVER_INLINE enum quipu_status read_text_closely(struct quipu_dagcbor_reader *self,
                                                        struct quipu_slice text,
                                                        struct quipu_dagcbor_item *out,
                                                        struct quipu_error *err)
{
    if (!is_utf8(text.data, text.len)) {
        return not_utf8(err, (size_t)(text.data - self->input.data), text);
    }
    const struct quipu_slice *last = &self->level.key;
    if (out->is_key && last->data != NULL) {
        int order = quipu_dagcbor_key_compare(*last, text);
        if (order >= 0) {
            return bad_key(err, out->offset, order);
        }
    }
    return text_done(self, text, (size_t)(text.data - self->input.data) + text.len, out);
}

static ALWAYS_INLINE enum quipu_status read_text(struct quipu_dagcbor_reader *self,
                                                 uint64_t argument, size_t start,
                                                 struct quipu_dagcbor_item *out,
                                                 struct quipu_error *err)
{
    size_t left = self->input.len - start;
    if (UNLIKELY(argument > left)) {
        return truncated(err, out->offset, argument, left);
    }
    struct quipu_slice text = quipu_slice(self->input.data + start, (size_t)argument);
    const struct quipu_slice *last = &self->level.key;
    bool is_in_order =
        !out->is_key || text.len > last->len ||
        (text.len == last->len && is_plainly_behind(text.data, last->data, text.len));
    if (LIKELY(is_in_order && text.len <= SHORT_TEXT_BYTES &&
               is_short_ascii(text.data, text.len))) {
        return text_done(self, text, start + text.len, out);
    }
    return read_text_closely(self, text, out, err);
}

static ALWAYS_INLINE enum quipu_status read_bytes(struct quipu_dagcbor_reader *self,
                                                  uint64_t argument, size_t start,
                                                  struct quipu_dagcbor_item *out,
                                                  struct quipu_error *err)
{
    size_t left = self->input.len - start;
    if (UNLIKELY(argument > left)) {
        return truncated(err, out->offset, argument, left);
    }
    out->kind = QUIPU_DAGCBOR_BYTES;
    out->bytes = quipu_slice(self->input.data + start, (size_t)argument);
    return item_done(self, start + (size_t)argument);
}

/* ------------------------------------------------------------------ lists and maps */

static enum quipu_status too_deep(const struct quipu_dagcbor_reader *self, size_t offset,
                                  struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_DEPTH, offset, "nested deeper than %" PRIu32,
                              self->depth_max);
}

static ALWAYS_INLINE enum quipu_status open_level(struct quipu_dagcbor_reader *self, bool is_map,
                                                  uint64_t count, size_t start,
                                                  struct quipu_dagcbor_item *out,
                                                  struct quipu_error *err)
{
    if (UNLIKELY(self->depth == self->depth_max)) {
        return too_deep(self, out->offset, err);
    }
    /* Each item takes a byte at least: a count that cannot be kept is refused before anything is
     * done with it. */
    size_t left = self->input.len - start;
    if (UNLIKELY(count > (is_map ? left / 2 : left))) {
        return truncated(err, out->offset, count, left);
    }
    out->kind = is_map ? QUIPU_DAGCBOR_MAP : QUIPU_DAGCBOR_LIST;
    out->number = count;
    if (count == 0) {
        return item_done(self, start);
    }
    *place(self, self->depth) = self->level;
    self->depth++;
    self->level.left = is_map ? count * 2 : count;
    self->level.key = quipu_slice(NULL, 0);
    self->level.is_map = is_map;
    self->at = start;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ links */

static enum quipu_status bad_link(size_t offset, const char *reason, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_LINK, offset, "tag 42: %s", reason);
}

/* The contents of the byte string behind tag 42: 0 and one CID. */
static enum quipu_status read_link_bytes(struct quipu_slice bytes, size_t offset,
                                         struct quipu_cid_view *link, struct quipu_error *err)
{
    if (bytes.len == 0 || bytes.data[0] != LINK_PREFIX) {
        return bad_link(offset, "the byte string does not begin with 0", err);
    }
    struct quipu_slice rest = quipu_slice(bytes.data + 1, bytes.len - 1);
    struct quipu_cid_view view;
    struct quipu_error inner = {.offset = 0};
    enum quipu_status status = quipu_cid_view_take(&rest, &view, &inner);
    if (status != QUIPU_OK) {
        return bad_link(offset + 1 + inner.offset, quipu_status_text(status), err);
    }
    if (rest.len > 0) {
        return bad_link(offset + bytes.len - rest.len, "bytes behind the CID", err);
    }
    *link = view;
    return QUIPU_OK;
}

/* Any link, from the byte string's head at `at` on. */
static NEVER_INLINE enum quipu_status read_any_link(struct quipu_dagcbor_reader *self, size_t at,
                                                    struct quipu_dagcbor_item *out,
                                                    struct quipu_error *err)
{
    struct quipu_slice input = self->input;
    if (at == input.len) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, at, "input ends behind tag 42");
    }
    uint8_t first = input.data[at];
    if (first >> 5 != MAJOR_BYTES) {
        return bad_link(at, "not a byte string", err);
    }
    unsigned info = first & 31;
    struct wide_argument len = {info, 0};
    if (info > INFO_8_BYTES) {
        return bad_info(first, at, err);
    }
    if (info >= INFO_1_BYTE) {
        len = read_wide(input.data + at + 1, input.len - at - 1, info);
        if (len.bytes == 0) {
            return bad_wide(self, at, err);
        }
    }
    size_t start = at + 1 + len.bytes;
    if (len.value > input.len - start) {
        return truncated(err, at, len.value, input.len - start);
    }
    struct quipu_slice bytes = quipu_slice(input.data + start, (size_t)len.value);
    enum quipu_status status = read_link_bytes(bytes, start, &out->link, err);
    if (status != QUIPU_OK) {
        return status;
    }
    out->kind = QUIPU_DAGCBOR_LINK;
    return item_done(self, start + bytes.len);
}

static enum quipu_status bad_tag(uint64_t tag, size_t offset, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_TAG, offset, "tag %" PRIu64 ", only 42 is allowed",
                              tag);
}

static ALWAYS_INLINE enum quipu_status read_tag(struct quipu_dagcbor_reader *self, uint64_t tag,
                                                size_t start, struct quipu_dagcbor_item *out,
                                                struct quipu_error *err)
{
    if (UNLIKELY(tag != LINK_TAG)) {
        return bad_tag(tag, out->offset, err);
    }
    /* The form that quipu itself writes is seen at once: a string of 37 bytes, 0, version 1, a
     * codec of one byte, sha2-256 of 32 bytes. */
    const uint8_t *p = self->input.data + start;
    bool is_plain = self->input.len - start >= PLAIN_LINK_BYTES && p[0] == 0x58 &&
                    p[1] == QUIPU_CID_BYTES + 1 && p[2] == LINK_PREFIX && p[3] == 1 &&
                    p[4] < 0x80 && p[5] == QUIPU_MULTIHASH_SHA2_256 && p[6] == QUIPU_SHA256_BYTES;
    if (UNLIKELY(!is_plain)) {
        return read_any_link(self, start, out, err);
    }
    out->kind = QUIPU_DAGCBOR_LINK;
    out->link.version = 1;
    out->link.codec = p[4];
    out->link.hash = QUIPU_MULTIHASH_SHA2_256;
    out->link.digest = quipu_slice(p + 7, QUIPU_SHA256_BYTES);
    out->link.bytes = quipu_slice(p + 3, QUIPU_CID_BYTES);
    return item_done(self, start + PLAIN_LINK_BYTES);
}

/* ------------------------------------------------------------------ major type 7 */

static enum quipu_status read_float(struct quipu_dagcbor_reader *self, size_t at,
                                    struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    size_t left = self->input.len - at - 1;
    uint64_t bits;
    if (left < sizeof bits) {
        return truncated(err, at, sizeof bits, left);
    }
    bits = quipu_load_be64(self->input.data + at + 1);
    if ((bits & FLOAT_EXPONENT) == FLOAT_EXPONENT) {
        return quipu_error_set_at(err, QUIPU_CBOR_FLOAT_NOT_FINITE, at, "float is NaN or infinite");
    }
    out->kind = QUIPU_DAGCBOR_FLOAT;
    memcpy(&out->real, &bits, sizeof bits);
    return item_done(self, at + 1 + sizeof bits);
}

/* Floats; each other thing has its own refusal. */
static NEVER_INLINE enum quipu_status read_float_or_refuse(struct quipu_dagcbor_reader *self,
                                                           size_t at,
                                                           struct quipu_dagcbor_item *out,
                                                           struct quipu_error *err)
{
    uint8_t first = self->input.data[at];
    unsigned info = first & 31;
    if (first == CBOR_FLOAT) {
        return read_float(self, at, out, err);
    }
    if (info > INFO_8_BYTES) {
        return bad_info(first, at, err);
    }
    if (info == INFO_2_BYTES || info == INFO_4_BYTES) {
        return quipu_error_set_at(err, QUIPU_CBOR_FLOAT_WIDTH, at, "float of %d bits",
                                  info == INFO_2_BYTES ? 16 : 32);
    }
    if (info == INFO_1_BYTE && self->input.len - at < 2) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, at,
                                  "input ends inside a simple value");
    }
    return quipu_error_set_at(err, QUIPU_CBOR_SIMPLE, at, "simple value %u",
                              info == INFO_1_BYTE ? self->input.data[at + 1] : info);
}

static ALWAYS_INLINE enum quipu_status read_other(struct quipu_dagcbor_reader *self, size_t at,
                                                  struct quipu_dagcbor_item *out,
                                                  struct quipu_error *err)
{
    uint8_t first = self->input.data[at];
    if (first < CBOR_FALSE || first > CBOR_NULL) {
        return read_float_or_refuse(self, at, out, err);
    }
    out->kind = first == CBOR_NULL ? QUIPU_DAGCBOR_NULL : QUIPU_DAGCBOR_BOOL;
    out->number = first == CBOR_TRUE;
    return item_done(self, at + 1);
}

/* ------------------------------------------------------------------ the next item */

/* `argument` is the head's, `start` where the contents begin. */
static ALWAYS_INLINE enum quipu_status read_item(struct quipu_dagcbor_reader *self, unsigned major,
                                                 uint64_t argument, size_t start,
                                                 struct quipu_dagcbor_item *out,
                                                 struct quipu_error *err)
{
    switch (major) {
    case MAJOR_UINT:
    case MAJOR_NEGATIVE:
        out->kind = major == MAJOR_UINT ? QUIPU_DAGCBOR_UINT : QUIPU_DAGCBOR_NEGATIVE;
        out->number = argument;
        return item_done(self, start);
    case MAJOR_BYTES:
        return read_bytes(self, argument, start, out, err);
    case MAJOR_TEXT:
        return read_text(self, argument, start, out, err);
    case MAJOR_LIST:
    case MAJOR_MAP:
        return open_level(self, major == MAJOR_MAP, argument, start, out, err);
    case MAJOR_TAG:
    default: /* MAJOR_OTHER goes another way */
        return read_tag(self, argument, start, out, err);
    }
}

/* An item whose argument is not in its first byte, or is none. */
static NEVER_INLINE enum quipu_status step_wide(struct quipu_dagcbor_reader *self,
                                                struct quipu_dagcbor_item *out,
                                                struct quipu_error *err)
{
    size_t at = self->at;
    uint8_t first = self->input.data[at];
    unsigned info = first & 31;
    if (info > INFO_8_BYTES) {
        return bad_info(first, at, err);
    }
    struct wide_argument argument =
        read_wide(self->input.data + at + 1, self->input.len - at - 1, info);
    if (argument.bytes == 0) {
        return bad_wide(self, at, err);
    }
    return read_item(self, first >> 5, argument.value, at + 1 + argument.bytes, out, err);
}

static NEVER_INLINE enum quipu_status at_the_end(struct quipu_dagcbor_reader *self,
                                                 struct quipu_error *err)
{
    if (self->level.left > 0) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, self->at,
                                  self->depth > 0 ? "input ends inside a list or map"
                                                  : "input is empty");
    }
    if (self->at < self->input.len) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRAILING, self->at, "%zu bytes behind the item",
                                  self->input.len - self->at);
    }
    return QUIPU_DONE;
}

static NEVER_INLINE enum quipu_status key_not_text(const struct quipu_dagcbor_reader *self,
                                                   struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_KEY_NOT_TEXT, self->at,
                              "map key is of major type %d, not text",
                              self->input.data[self->at] >> 5);
}

static ALWAYS_INLINE enum quipu_status step(struct quipu_dagcbor_reader *self,
                                            struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    size_t at = self->at;
    if (UNLIKELY(at == self->input.len || self->level.left == 0)) {
        return at_the_end(self, err);
    }
    bool is_key = is_key_due(self);
    uint8_t first = self->input.data[at];
    unsigned major = first >> 5;
    if (UNLIKELY(is_key && major != MAJOR_TEXT)) {
        return key_not_text(self, err);
    }
    out->is_key = is_key;
    out->offset = at;
    if (major == MAJOR_OTHER) {
        return read_other(self, at, out, err);
    }
    if ((first & 31) < INFO_1_BYTE) {
        return read_item(self, major, first & 31, at + 1, out, err);
    }
    return step_wide(self, out, err);
}

enum quipu_status quipu_dagcbor_next(struct quipu_dagcbor_reader *reader,
                                     struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    return step(reader, out, err);
}

enum quipu_status quipu_dagcbor_next_whole(struct quipu_dagcbor_reader *reader,
                                           struct quipu_slice *out, struct quipu_error *err)
{
    size_t start = reader->at;
    uint32_t depth = reader->depth;
    do {
        struct quipu_dagcbor_item item;
        enum quipu_status status = step(reader, &item, err);
        if (status != QUIPU_OK) {
            return status;
        }
        /* A list or map that was opened raises the depth until its last item closes it. */
    } while (reader->depth > depth);
    *out = quipu_slice(reader->input.data + start, reader->at - start);
    return QUIPU_OK;
}

enum quipu_status quipu_dagcbor_validate(struct quipu_slice block, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status status;
    do {
        struct quipu_dagcbor_item item;
        status = step(&reader, &item, err);
    } while (status == QUIPU_OK);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
