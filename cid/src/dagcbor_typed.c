/*
 * Reading what is expected: the next item of one kind, and one key of a map. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/dagcbor.h"

#include <inttypes.h>
#include <string.h>

#include "dagcbor_head.h"

static const char *kind_name(enum quipu_dagcbor_kind kind)
{
    switch (kind) {
    case QUIPU_DAGCBOR_UINT:
        return "an unsigned integer";
    case QUIPU_DAGCBOR_NEGATIVE:
        return "a negative integer";
    case QUIPU_DAGCBOR_BYTES:
        return "bytes";
    case QUIPU_DAGCBOR_TEXT:
        return "text";
    case QUIPU_DAGCBOR_LIST:
        return "a list";
    case QUIPU_DAGCBOR_MAP:
        return "a map";
    case QUIPU_DAGCBOR_LINK:
        return "a link";
    case QUIPU_DAGCBOR_BOOL:
        return "true or false";
    case QUIPU_DAGCBOR_NULL:
        return "null";
    case QUIPU_DAGCBOR_FLOAT:
        return "a float";
    }
    return "an unknown kind";
}

static enum quipu_status other_kind(const struct quipu_dagcbor_item *item,
                                    enum quipu_dagcbor_kind wanted, struct quipu_error *err)
{
    return quipu_error_set_at(err, QUIPU_CBOR_KIND, item->offset, "expected %s, found %s",
                              kind_name(wanted), kind_name(item->kind));
}

/* The next item, whatever it is; the end is a kind that was not expected. */
static enum quipu_status next_any(struct quipu_dagcbor_reader *reader,
                                  enum quipu_dagcbor_kind wanted, struct quipu_dagcbor_item *item,
                                  struct quipu_error *err)
{
    enum quipu_status status = quipu_dagcbor_next(reader, item, err);
    if (status == QUIPU_DONE) {
        return quipu_error_set_at(err, QUIPU_CBOR_KIND, reader->at, "expected %s, found the end",
                                  kind_name(wanted));
    }
    return status;
}

static enum quipu_status next_of(struct quipu_dagcbor_reader *reader,
                                 enum quipu_dagcbor_kind wanted, struct quipu_dagcbor_item *item,
                                 struct quipu_error *err)
{
    enum quipu_status status = next_any(reader, wanted, item, err);
    if (status == QUIPU_OK && item->kind != wanted) {
        return other_kind(item, wanted, err);
    }
    return status;
}

static enum quipu_status next_number(struct quipu_dagcbor_reader *reader,
                                     enum quipu_dagcbor_kind wanted, uint64_t *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = next_of(reader, wanted, &item, err);
    if (status == QUIPU_OK) {
        *out = item.number;
    }
    return status;
}

static enum quipu_status next_string(struct quipu_dagcbor_reader *reader,
                                     enum quipu_dagcbor_kind wanted, struct quipu_slice *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = next_of(reader, wanted, &item, err);
    if (status == QUIPU_OK) {
        *out = item.bytes;
    }
    return status;
}

enum quipu_status quipu_dagcbor_read_map(struct quipu_dagcbor_reader *reader, uint64_t *pairs,
                                         struct quipu_error *err)
{
    return next_number(reader, QUIPU_DAGCBOR_MAP, pairs, err);
}

enum quipu_status quipu_dagcbor_read_list(struct quipu_dagcbor_reader *reader, uint64_t *items,
                                          struct quipu_error *err)
{
    return next_number(reader, QUIPU_DAGCBOR_LIST, items, err);
}

enum quipu_status quipu_dagcbor_read_text(struct quipu_dagcbor_reader *reader,
                                          struct quipu_slice *out, struct quipu_error *err)
{
    return next_string(reader, QUIPU_DAGCBOR_TEXT, out, err);
}

enum quipu_status quipu_dagcbor_read_bytes(struct quipu_dagcbor_reader *reader,
                                           struct quipu_slice *out, struct quipu_error *err)
{
    return next_string(reader, QUIPU_DAGCBOR_BYTES, out, err);
}

enum quipu_status quipu_dagcbor_read_uint(struct quipu_dagcbor_reader *reader, uint64_t *out,
                                          struct quipu_error *err)
{
    return next_number(reader, QUIPU_DAGCBOR_UINT, out, err);
}

enum quipu_status quipu_dagcbor_read_int(struct quipu_dagcbor_reader *reader, int64_t *out,
                                         struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = next_any(reader, QUIPU_DAGCBOR_UINT, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (item.kind != QUIPU_DAGCBOR_UINT && item.kind != QUIPU_DAGCBOR_NEGATIVE) {
        return other_kind(&item, QUIPU_DAGCBOR_UINT, err);
    }
    if (item.number > INT64_MAX) {
        return quipu_error_set_at(err, QUIPU_CBOR_KIND, item.offset,
                                  "expected an integer of 64 bits with sign, found %s%" PRIu64,
                                  item.kind == QUIPU_DAGCBOR_UINT ? "" : "-1 - ", item.number);
    }
    int64_t number = (int64_t)item.number;
    *out = item.kind == QUIPU_DAGCBOR_UINT ? number : -1 - number;
    return QUIPU_OK;
}

enum quipu_status quipu_dagcbor_read_link(struct quipu_dagcbor_reader *reader,
                                          struct quipu_cid *out, struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = next_of(reader, QUIPU_DAGCBOR_LINK, &item, err);
    return status == QUIPU_OK ? quipu_cid_from_view(&item.link, out, err) : status;
}

enum quipu_status quipu_dagcbor_map_get(struct quipu_slice block, const char *key,
                                        struct quipu_slice *value, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, block);
    uint64_t pairs;
    enum quipu_status status = quipu_dagcbor_read_map(&reader, &pairs, err);
    struct quipu_slice wanted = quipu_slice_text(key);
    for (uint64_t i = 0; status == QUIPU_OK && i < pairs; i++) {
        struct quipu_slice name;
        struct quipu_slice found;
        status = quipu_dagcbor_read_text(&reader, &name, err);
        if (status != QUIPU_OK) {
            return status;
        }
        int order = quipu_dagcbor_key_compare(name, wanted);
        if (order > 0) {
            break;
        }
        status = quipu_dagcbor_next_whole(&reader, &found, err);
        if (status == QUIPU_OK && order == 0) {
            *value = found;
            return QUIPU_OK;
        }
    }
    if (status != QUIPU_OK) {
        return status;
    }
    return quipu_error_set(err, QUIPU_NOT_FOUND, "map has no key \"%s\"", key);
}
