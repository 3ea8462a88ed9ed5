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
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"

#include <inttypes.h>
#include <string.h>

#include "dagcbor_head.h"
#include "quipu/multihash.h"

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Bytes of a link to an event-profile CID behind the tag: string head, prefix, CID. */
#define PLAIN_LINK_BYTES (2 + 1 + QUIPU_CID_BYTES)

/* A head, taken apart. `argument` is the value for majors 0 to 6. */
struct head {
    unsigned major;
    unsigned info;
    uint64_t argument;
    size_t offset; /* of the head */
    size_t end;    /* first byte behind it */
};

void quipu_dagcbor_reader_init(struct quipu_dagcbor_reader *reader, struct quipu_slice input)
{
    /* The levels stay as they are: each is filled in when it is opened. */
    reader->input = input;
    reader->at = 0;
    reader->depth = 0;
    reader->depth_max = QUIPU_DAGCBOR_DEPTH_DEFAULT;
    reader->is_done = false;
    reader->stack = NULL;
}

void quipu_dagcbor_reader_set_stack(struct quipu_dagcbor_reader *reader,
                                    struct quipu_dagcbor_reader_level *stack, uint32_t depth)
{
    reader->stack = stack;
    reader->depth_max = depth < QUIPU_DAGCBOR_DEPTH_MAX ? depth : QUIPU_DAGCBOR_DEPTH_MAX;
}

static inline struct quipu_dagcbor_reader_level *top(struct quipu_dagcbor_reader *self)
{
    struct quipu_dagcbor_reader_level *levels = self->stack != NULL ? self->stack : self->levels;
    return &levels[self->depth - 1];
}

/* An item is complete: so may be what it closes. No level with nothing left stays open. */
static inline void item_done(struct quipu_dagcbor_reader *self)
{
    while (self->depth > 0) {
        if (--top(self)->left > 0) {
            return;
        }
        self->depth--;
    }
    self->is_done = true;
}

static enum quipu_status truncated(struct quipu_error *err, const struct head *head, uint64_t need,
                                   uint64_t left)
{
    return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, head->offset,
                              "item announces %" PRIu64 " bytes or more, %" PRIu64 " are left",
                              need, left);
}

/* Arguments of 1, 2, 4 or 8 bytes, and the additional information that is none. */
static enum quipu_status read_argument(struct quipu_slice input, struct head *head,
                                       struct quipu_error *err)
{
    if (head->info == INFO_INDEFINITE) {
        /* RFC 8949 §3.2 knows it for strings, lists and maps; DAG-CBOR for nothing. */
        bool is_length = head->major >= MAJOR_BYTES && head->major <= MAJOR_MAP;
        return quipu_error_set_at(err, is_length ? QUIPU_CBOR_INDEFINITE : QUIPU_CBOR_RESERVED,
                                  head->offset,
                                  is_length ? "indefinite length" : "additional information 31");
    }
    if (head->info > INFO_8_BYTES) {
        return quipu_error_set_at(err, QUIPU_CBOR_RESERVED, head->offset,
                                  "additional information %u is reserved", head->info);
    }
    size_t width = (size_t)1 << (head->info - INFO_1_BYTE);
    if (input.len - head->end < width) {
        return truncated(err, head, width, input.len - head->end);
    }
    const uint8_t *p = input.data + head->end;
    uint64_t least;
    switch (width) {
    case 1:
        head->argument = p[0];
        least = INFO_1_BYTE;
        break;
    case 2:
        head->argument = quipu_load_be16(p);
        least = (uint64_t)UINT8_MAX + 1;
        break;
    case 4:
        head->argument = quipu_load_be32(p);
        least = (uint64_t)UINT16_MAX + 1;
        break;
    default:
        head->argument = quipu_load_be64(p);
        least = (uint64_t)UINT32_MAX + 1;
        break;
    }
    if (head->argument < least) {
        return quipu_error_set_at(err, QUIPU_CBOR_NOT_SHORTEST, head->offset,
                                  "%" PRIu64 " is written in %zu bytes behind its head",
                                  head->argument, width);
    }
    head->end += width;
    return QUIPU_OK;
}

/* The head at `at` of a major type that is not 7. */
static inline enum quipu_status read_head(struct quipu_slice input, size_t at, struct head *head,
                                          struct quipu_error *err)
{
    uint8_t first = input.data[at];
    head->major = first >> 5;
    head->info = first & 31;
    head->argument = head->info;
    head->offset = at;
    head->end = at + 1;
    if (LIKELY(head->info < INFO_1_BYTE)) {
        return QUIPU_OK;
    }
    return read_argument(input, head, err);
}

/* ------------------------------------------------------------------ the kinds of item */

static inline enum quipu_status read_string(struct quipu_dagcbor_reader *self,
                                            const struct head *head, struct quipu_slice *out,
                                            struct quipu_error *err)
{
    size_t left = self->input.len - head->end;
    if (UNLIKELY(head->argument > left)) {
        return truncated(err, head, head->argument, left);
    }
    *out = quipu_slice(self->input.data + head->end, (size_t)head->argument);
    return QUIPU_OK;
}

static enum quipu_status not_utf8(const struct head *head, struct quipu_slice text,
                                  struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_UTF8, head->end + quipu_utf8_valid_prefix(text),
                              "text is not valid UTF-8");
}

static enum quipu_status bad_key(const struct head *head, int order, struct quipu_error *err)
{
    return quipu_error_set_at(
        err, order == 0 ? QUIPU_CBOR_KEY_DUPLICATE : QUIPU_CBOR_KEY_ORDER, head->offset,
        order == 0 ? "map key occurs twice" : "map key belongs before the one before it");
}

static inline enum quipu_status read_text(struct quipu_dagcbor_reader *self,
                                          const struct head *head, bool is_key,
                                          struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    struct quipu_slice text;
    enum quipu_status status = read_string(self, head, &text, err);
    if (UNLIKELY(status != QUIPU_OK)) {
        return status;
    }
    if (UNLIKELY(!is_utf8(text.data, text.len))) {
        return not_utf8(head, text, err);
    }
    if (is_key) {
        struct quipu_dagcbor_reader_level *level = top(self);
        if (level->has_key && text.len <= level->key.len) {
            int order = key_compare(level->key.data, level->key.len, text.data, text.len);
            if (UNLIKELY(order >= 0)) {
                return bad_key(head, order, err);
            }
        }
        level->key = text;
        level->has_key = true;
    }
    out->kind = QUIPU_DAGCBOR_TEXT;
    out->bytes = text;
    self->at = head->end + text.len;
    item_done(self);
    return QUIPU_OK;
}

static inline enum quipu_status open_level(struct quipu_dagcbor_reader *self,
                                           const struct head *head, struct quipu_dagcbor_item *out,
                                           struct quipu_error *err)
{
    bool is_map = head->major == MAJOR_MAP;
    if (UNLIKELY(self->depth == self->depth_max)) {
        return quipu_error_set_at(err, QUIPU_CBOR_DEPTH, head->offset,
                                  "nested deeper than %" PRIu32, self->depth_max);
    }
    /* Each item takes a byte at least: a count that cannot be kept is refused before anything is
     * done with it. */
    size_t left = self->input.len - head->end;
    if (UNLIKELY(head->argument > (is_map ? left / 2 : left))) {
        return truncated(err, head, head->argument, left);
    }
    out->kind = is_map ? QUIPU_DAGCBOR_MAP : QUIPU_DAGCBOR_LIST;
    out->number = head->argument;
    self->at = head->end;
    if (head->argument == 0) {
        item_done(self);
        return QUIPU_OK;
    }
    self->depth++;
    struct quipu_dagcbor_reader_level *level = top(self);
    level->left = is_map ? head->argument * 2 : head->argument;
    level->is_map = is_map;
    level->has_key = false;
    return QUIPU_OK;
}

static enum quipu_status bad_link(size_t offset, const char *reason, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_LINK, offset, "tag 42: %s", reason);
}

/* The form that quipu itself writes, seen at once. `p` is the byte string behind the tag. */
static inline bool is_plain_link(const uint8_t *p)
{
    return p[0] == 0x58 && p[1] == QUIPU_CID_BYTES + 1 && p[2] == LINK_PREFIX && p[3] == 1 &&
           p[4] < 0x80 && p[5] == QUIPU_MULTIHASH_SHA2_256 && p[6] == QUIPU_SHA256_BYTES;
}

static enum quipu_status read_any_link(struct quipu_dagcbor_reader *self, size_t at,
                                       struct quipu_cid_view *link, size_t *end,
                                       struct quipu_error *err)
{
    if (at == self->input.len) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, at, "input ends behind tag 42");
    }
    if (self->input.data[at] >> 5 != MAJOR_BYTES) {
        return bad_link(at, "not a byte string", err);
    }
    struct head head;
    struct quipu_slice bytes = {NULL, 0};
    enum quipu_status status = read_head(self->input, at, &head, err);
    if (status == QUIPU_OK) {
        status = read_string(self, &head, &bytes, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (bytes.len == 0 || bytes.data[0] != LINK_PREFIX) {
        return bad_link(head.end, "the byte string does not begin with 0", err);
    }
    struct quipu_slice rest = quipu_slice(bytes.data + 1, bytes.len - 1);
    struct quipu_error inner = {.offset = 0};
    status = quipu_cid_view_take(&rest, link, &inner);
    if (status != QUIPU_OK) {
        return bad_link(head.end + 1 + inner.offset, quipu_status_text(status), err);
    }
    *end = head.end + bytes.len;
    if (rest.len > 0) {
        return bad_link(*end - rest.len, "bytes behind the CID", err);
    }
    return QUIPU_OK;
}

static enum quipu_status read_tag(struct quipu_dagcbor_reader *self, const struct head *head,
                                  struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    if (head->argument != LINK_TAG) {
        return quipu_error_set_at(err, QUIPU_CBOR_TAG, head->offset,
                                  "tag %" PRIu64 ", only 42 is allowed", head->argument);
    }
    const uint8_t *p = self->input.data + head->end;
    size_t end = head->end + PLAIN_LINK_BYTES;
    if (LIKELY(self->input.len - head->end >= PLAIN_LINK_BYTES && is_plain_link(p))) {
        out->link = (struct quipu_cid_view){.version = 1,
                                            .codec = p[4],
                                            .hash = QUIPU_MULTIHASH_SHA2_256,
                                            .digest = quipu_slice(p + 7, QUIPU_SHA256_BYTES),
                                            .bytes = quipu_slice(p + 3, QUIPU_CID_BYTES)};
    } else {
        enum quipu_status status = read_any_link(self, head->end, &out->link, &end, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    out->kind = QUIPU_DAGCBOR_LINK;
    self->at = end;
    item_done(self);
    return QUIPU_OK;
}

static enum quipu_status read_float(struct quipu_dagcbor_reader *self,
                                    struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    const struct head head = {.offset = self->at};
    size_t left = self->input.len - self->at - 1;
    uint64_t bits;
    if (left < sizeof bits) {
        return truncated(err, &head, sizeof bits, left);
    }
    bits = quipu_load_be64(self->input.data + self->at + 1);
    if ((bits & FLOAT_EXPONENT) == FLOAT_EXPONENT) {
        return quipu_error_set_at(err, QUIPU_CBOR_FLOAT_NOT_FINITE, self->at,
                                  "float is NaN or infinite");
    }
    out->kind = QUIPU_DAGCBOR_FLOAT;
    memcpy(&out->real, &bits, sizeof bits);
    self->at += 1 + sizeof bits;
    item_done(self);
    return QUIPU_OK;
}

/* Major type 7: false, true, null and floats; each other thing has its own refusal. */
static enum quipu_status read_other(struct quipu_dagcbor_reader *self, uint8_t first,
                                    struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    unsigned info = first & 31;
    if (first == CBOR_FALSE || first == CBOR_TRUE || first == CBOR_NULL) {
        out->kind = first == CBOR_NULL ? QUIPU_DAGCBOR_NULL : QUIPU_DAGCBOR_BOOL;
        out->number = first == CBOR_TRUE;
        self->at++;
        item_done(self);
        return QUIPU_OK;
    }
    if (first == CBOR_FLOAT) {
        return read_float(self, out, err);
    }
    if (info == INFO_INDEFINITE) {
        return quipu_error_set_at(err, QUIPU_CBOR_INDEFINITE, self->at,
                                  "break of an indefinite length");
    }
    if (info > INFO_8_BYTES) {
        return quipu_error_set_at(err, QUIPU_CBOR_RESERVED, self->at,
                                  "additional information %u is reserved", info);
    }
    if (info == INFO_2_BYTES || info == INFO_4_BYTES) {
        return quipu_error_set_at(err, QUIPU_CBOR_FLOAT_WIDTH, self->at, "float of %d bits",
                                  info == INFO_2_BYTES ? 16 : 32);
    }
    if (info == INFO_1_BYTE && self->input.len - self->at < 2) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, self->at,
                                  "input ends inside a simple value");
    }
    return quipu_error_set_at(err, QUIPU_CBOR_SIMPLE, self->at, "simple value %u",
                              info == INFO_1_BYTE ? self->input.data[self->at + 1] : info);
}

/* ------------------------------------------------------------------ the next item */

static enum quipu_status nothing_left(struct quipu_dagcbor_reader *self, struct quipu_error *err)
{
    if (self->depth > 0 || !self->is_done) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRUNCATED, self->at,
                                  self->depth > 0 ? "input ends inside a list or map"
                                                  : "input is empty");
    }
    return QUIPU_DONE;
}

static enum quipu_status key_not_text(struct quipu_dagcbor_reader *self, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_KEY_NOT_TEXT, self->at,
                              "map key is of major type %d, not text",
                              self->input.data[self->at] >> 5);
}

static inline enum quipu_status step(struct quipu_dagcbor_reader *self,
                                     struct quipu_dagcbor_item *out, struct quipu_error *err)
{
    if (UNLIKELY(self->at == self->input.len)) {
        return nothing_left(self, err);
    }
    if (UNLIKELY(self->is_done)) {
        return quipu_error_set_at(err, QUIPU_CBOR_TRAILING, self->at, "%zu bytes behind the item",
                                  self->input.len - self->at);
    }
    bool is_key = false;
    if (self->depth > 0) {
        const struct quipu_dagcbor_reader_level *level = top(self);
        is_key = level->is_map && level->left % 2 == 0;
    }
    uint8_t first = self->input.data[self->at];
    unsigned major = first >> 5;
    if (UNLIKELY(is_key && major != MAJOR_TEXT)) {
        return key_not_text(self, err);
    }
    out->is_key = is_key;
    out->offset = self->at;
    if (major == MAJOR_OTHER) {
        return read_other(self, first, out, err);
    }
    struct head head;
    enum quipu_status status = read_head(self->input, self->at, &head, err);
    if (UNLIKELY(status != QUIPU_OK)) {
        return status;
    }
    switch (major) {
    case MAJOR_UINT:
    case MAJOR_NEGATIVE:
        out->kind = major == MAJOR_UINT ? QUIPU_DAGCBOR_UINT : QUIPU_DAGCBOR_NEGATIVE;
        out->number = head.argument;
        self->at = head.end;
        item_done(self);
        return QUIPU_OK;
    case MAJOR_BYTES:
        status = read_string(self, &head, &out->bytes, err);
        if (status == QUIPU_OK) {
            out->kind = QUIPU_DAGCBOR_BYTES;
            self->at = head.end + out->bytes.len;
            item_done(self);
        }
        return status;
    case MAJOR_TEXT:
        return read_text(self, &head, is_key, out, err);
    case MAJOR_LIST:
    case MAJOR_MAP:
        return open_level(self, &head, out, err);
    default:
        return read_tag(self, &head, out, err);
    }
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
