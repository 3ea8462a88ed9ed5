/*
 * Reading an envelope: one pass over the block, keys in canonical order, each with its kind and its
 * limits. Accepts exactly what the encoder can write, so encode(decode(x)) = x. Borrows from the
 * block, never allocates, never hashes.
 *
 * The short way (envelope_plain.c) is tried first; here is the careful one, which takes the few
 * forms that the short one leaves out and says of all others which rule they break.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "envelope_keys.h"
#include "quipu/dagcbor.h"
#include "quipu/store.h"

struct key_rule {
    const char *name;
    size_t len;
    bool is_optional;
};

static const struct key_rule key_rules[ENVELOPE_KEY_COUNT] = {
#define ENVELOPE_KEY_RULE(constant, key, optional) {key, sizeof(key) - 1, optional},
    ENVELOPE_KEY_MAP(ENVELOPE_KEY_RULE)
#undef ENVELOPE_KEY_RULE
};

/* A field of another kind than SPEC §3 says is QUIPU_ENVELOPE; broken DAG-CBOR stays what it is. */
static enum quipu_status field_failure(enum quipu_status status, enum envelope_key key,
                                       struct quipu_error *err)
{
    const char *name = key_rules[key].name;
    if (status == QUIPU_CBOR_KIND || status == QUIPU_CID_PROFILE) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: %s is of the wrong kind", name);
    }
    return quipu_error_wrap(err, status, "envelope: %s", name);
}

static enum quipu_status read_format(struct quipu_dagcbor_reader *reader, struct quipu_error *err)
{
    uint64_t format;
    enum quipu_status status = quipu_dagcbor_read_uint(reader, &format, err);
    if (status != QUIPU_OK) {
        return field_failure(status, ENVELOPE_V, err);
    }
    if (format > QUIPU_ENVELOPE_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER,
                               "envelope: format %" PRIu64 ", this program reads up to %d; use a "
                               "newer quipu",
                               format, QUIPU_ENVELOPE_FORMAT);
    }
    if (format < 1) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: v must be %d, found 0",
                               QUIPU_ENVELOPE_FORMAT);
    }
    return QUIPU_OK;
}

static enum quipu_status read_uuid(struct quipu_dagcbor_reader *reader, struct quipu_uuid *out,
                                   struct quipu_error *err)
{
    struct quipu_slice bytes;
    enum quipu_status status = quipu_dagcbor_read_bytes(reader, &bytes, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (bytes.len != sizeof out->bytes) {
        return QUIPU_CBOR_KIND;
    }
    memcpy(out->bytes, bytes.data, sizeof out->bytes);
    return QUIPU_OK;
}

/* bytes(16), which must not be the nil UUID, or null, which gives it. */
static enum quipu_status read_uuid_or_null(struct quipu_dagcbor_reader *reader,
                                           struct quipu_uuid *out, struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    memset(out, 0, sizeof *out);
    if (item.kind == QUIPU_DAGCBOR_NULL) {
        return QUIPU_OK;
    }
    if (item.kind != QUIPU_DAGCBOR_BYTES || item.bytes.len != sizeof out->bytes) {
        return QUIPU_CBOR_KIND;
    }
    memcpy(out->bytes, item.bytes.data, sizeof out->bytes);
    return quipu_uuid_is_nil(*out) ? QUIPU_CBOR_KIND : QUIPU_OK;
}

static enum quipu_status read_prev(struct quipu_dagcbor_reader *reader, struct quipu_envelope *out,
                                   struct quipu_error *err)
{
    uint64_t count;
    enum quipu_status status = quipu_dagcbor_read_list(reader, &count, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (count > QUIPU_ENVELOPE_PREV_MAX) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "%" PRIu64 " links, at most %d are allowed",
                               count, QUIPU_ENVELOPE_PREV_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        status = quipu_dagcbor_read_link(reader, &out->prev[i], err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    out->prev_count = (size_t)count;
    return QUIPU_OK;
}

/* Any map, checked and given as its bytes. */
static enum quipu_status read_map_whole(struct quipu_dagcbor_reader *reader,
                                        struct quipu_slice *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_dagcbor_next_whole(reader, out, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* Major type 5. */
    return out->data[0] >> 5 == 5 ? QUIPU_OK : QUIPU_CBOR_KIND;
}

static enum quipu_status read_field(struct quipu_dagcbor_reader *reader, enum envelope_key key,
                                    struct quipu_envelope *out, struct quipu_error *err)
{
    switch (key) {
    case ENVELOPE_V:
        return read_format(reader, err);
    case ENVELOPE_ENC:
        return read_map_whole(reader, &out->enc, err);
    case ENVELOPE_META:
        return read_map_whole(reader, &out->meta, err);
    case ENVELOPE_PREV:
        return read_prev(reader, out, err);
    case ENVELOPE_SCHEMA:
        return quipu_dagcbor_read_uint(reader, &out->schema, err);
    case ENVELOPE_SOURCE:
        return quipu_dagcbor_read_text(reader, &out->source, err);
    case ENVELOPE_PAYLOAD:
        return quipu_dagcbor_read_link(reader, &out->payload, err);
    case ENVELOPE_VERSION:
        return quipu_dagcbor_read_uint(reader, &out->version, err);
    case ENVELOPE_EVENT_ID:
        return read_uuid(reader, &out->event_id, err);
    case ENVELOPE_CAUSATION:
        out->has_causation = true;
        return quipu_dagcbor_read_link(reader, &out->causation, err);
    case ENVELOPE_EVENT_TYPE:
        return quipu_dagcbor_read_text(reader, &out->event_type, err);
    case ENVELOPE_SOURCE_SEQ:
        return quipu_dagcbor_read_uint(reader, &out->source_seq, err);
    case ENVELOPE_OCCURRED_AT:
        return quipu_dagcbor_read_int(reader, &out->occurred_unix_us, err);
    case ENVELOPE_AGGREGATE_ID:
        return quipu_dagcbor_read_text(reader, &out->aggregate_id, err);
    case ENVELOPE_CAUSATION_ID:
        return read_uuid_or_null(reader, &out->causation_id, err);
    case ENVELOPE_AGGREGATE_TYPE:
        return quipu_dagcbor_read_text(reader, &out->aggregate_type, err);
    case ENVELOPE_CORRELATION_ID:
        return read_uuid(reader, &out->correlation_id, err);
    case ENVELOPE_KEY_COUNT:
        break;
    }
    return QUIPU_MISUSE;
}

/* Are all keys from `first` up to, but without, `end` optional? */
static enum quipu_status keys_may_be_absent(size_t first, size_t end, struct quipu_error *err)
{
    for (size_t i = first; i < end; i++) {
        if (!key_rules[i].is_optional) {
            return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: %s is missing",
                                   key_rules[i].name);
        }
    }
    return QUIPU_OK;
}

/* Which key `name` is; `*next` is the first one that has not been met, and moves behind it. The
 * reader has seen to the order, so no key comes back. */
static enum quipu_status key_take(struct quipu_slice name, size_t *next, enum envelope_key *key,
                                  struct quipu_error *err)
{
    size_t found = *next;
    while (found < ENVELOPE_KEY_COUNT &&
           !quipu_slice_equal(name, quipu_slice(key_rules[found].name, key_rules[found].len))) {
        found++;
    }
    if (found == ENVELOPE_KEY_COUNT) {
        struct quipu_slice shown = quipu_slice(name.data, name.len < 64 ? name.len : 64);
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: unknown key '%.*s'",
                               QUIPU_SLICE_FMT(shown));
    }
    enum quipu_status status = keys_may_be_absent(*next, found, err);
    *key = (enum envelope_key)found;
    *next = found + 1;
    return status;
}

static enum quipu_status read_pairs(struct quipu_dagcbor_reader *reader, uint64_t pairs,
                                    struct quipu_envelope *out, struct quipu_error *err)
{
    size_t next = 0;
    for (uint64_t i = 0; i < pairs; i++) {
        struct quipu_slice name;
        enum quipu_status status = quipu_dagcbor_read_text(reader, &name, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "envelope");
        }
        enum envelope_key key = ENVELOPE_V;
        status = key_take(name, &next, &key, err);
        if (status != QUIPU_OK) {
            return status;
        }
        status = read_field(reader, key, out, err);
        if (status == QUIPU_FORMAT_NEWER || (status != QUIPU_OK && key == ENVELOPE_V)) {
            return status;
        }
        if (status != QUIPU_OK) {
            return field_failure(status, key, err);
        }
    }
    return keys_may_be_absent(next, ENVELOPE_KEY_COUNT, err);
}

enum quipu_status envelope_decode_carefully(struct quipu_slice block, struct quipu_envelope *out,
                                            struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, block);
    uint64_t pairs;
    enum quipu_status status = quipu_dagcbor_read_map(&reader, &pairs, err);
    if (status == QUIPU_CBOR_KIND) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: the block is not a map");
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "envelope");
    }
    out->meta = quipu_slice(NULL, 0);
    out->enc = quipu_slice(NULL, 0);
    out->has_causation = false;
    status = read_pairs(&reader, pairs, out, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_dagcbor_item item;
    status = quipu_dagcbor_next(&reader, &item, err);
    if (status != QUIPU_DONE) {
        return quipu_error_wrap(err, status, "envelope");
    }
    return envelope_check(out, err);
}

enum quipu_status quipu_envelope_decode(struct quipu_slice block, struct quipu_envelope *out,
                                        struct quipu_error *err)
{
    if (block.len > QUIPU_ENVELOPE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: %zu bytes, at most %u are allowed",
                               block.len, QUIPU_ENVELOPE_BYTES_MAX);
    }
    if (envelope_decode_plain(block, out) && envelope_check(out, NULL) == QUIPU_OK) {
        return QUIPU_OK;
    }
    return envelope_decode_carefully(block, out, err);
}
