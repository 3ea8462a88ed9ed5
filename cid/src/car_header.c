/*
 * The header of a CAR: a map of exactly `roots` and `version`. CARv2 and other versions are told
 * from CARv1 and refused with a status of their own. Also the search for roots among the blocks.
 *
 * Specification: ipld.io/specs/transport/car/carv1 and carv2; docs/SPEC.md §5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "car_parts.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/multihash.h"

#define CAR_VERSION_CONTAINER 2
#define LINK_BYTES_MIN        8 /* d8 2a, a head, 00, and the 4 bytes of the shortest CID */

/* What the header's map holds. */
struct fields {
    bool has_roots;
    bool has_version;
    bool has_others;
    uint64_t version;
};

/* The list of links; the count is held against the bytes that are there before it is believed. */
static enum quipu_status parse_roots(struct car_header *header, struct quipu_dagcbor_reader *reader,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_item list;
    enum quipu_status status = quipu_dagcbor_next(reader, &list, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (list.kind != QUIPU_DAGCBOR_LIST) {
        return quipu_error_set_at(err, QUIPU_CAR, list.offset,
                                  "the CAR header's roots are no list");
    }
    size_t rest = header->bytes.len - reader->at;
    if (list.number > rest / LINK_BYTES_MIN) {
        return quipu_error_set_at(err, QUIPU_CAR, list.offset,
                                  "%" PRIu64 " roots cannot stand in the %zu bytes that are left",
                                  list.number, rest);
    }
    size_t count = (size_t)list.number;
    if (count > 0) {
        header->roots = quipu_alloc(count, sizeof *header->roots);
        if (header->roots == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu roots", count);
        }
    }
    for (size_t i = 0; i < count; i++) {
        struct quipu_dagcbor_item item;
        status = quipu_dagcbor_next(reader, &item, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (item.kind != QUIPU_DAGCBOR_LINK) {
            return quipu_error_set_at(err, QUIPU_CAR, item.offset, "root %zu is no CID", i);
        }
        header->roots[i] = item.link;
    }
    header->root_count = count;
    return QUIPU_OK;
}

static enum quipu_status parse_version(struct quipu_dagcbor_reader *reader, uint64_t *version,
                                       struct quipu_error *err)
{
    struct quipu_dagcbor_item item;
    enum quipu_status status = quipu_dagcbor_next(reader, &item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (item.kind != QUIPU_DAGCBOR_UINT) {
        return quipu_error_set_at(err, QUIPU_CAR, item.offset,
                                  "the CAR header's version is no whole number");
    }
    *version = item.number;
    return QUIPU_OK;
}

static enum quipu_status parse_fields(struct car_header *header, struct fields *fields,
                                      struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, quipu_buf_slice(&header->bytes));
    struct quipu_dagcbor_item map;
    enum quipu_status status = quipu_dagcbor_next(&reader, &map, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (map.kind != QUIPU_DAGCBOR_MAP) {
        return quipu_error_set_at(err, QUIPU_CAR, 0, "the CAR header is no map");
    }
    for (uint64_t i = 0; i < map.number && status == QUIPU_OK; i++) {
        struct quipu_slice key;
        struct quipu_slice skipped;
        status = quipu_dagcbor_read_text(&reader, &key, err);
        if (status != QUIPU_OK) {
            break;
        }
        if (quipu_slice_equal(key, quipu_slice_text("roots"))) {
            fields->has_roots = true;
            status = parse_roots(header, &reader, err);
        } else if (quipu_slice_equal(key, quipu_slice_text("version"))) {
            fields->has_version = true;
            status = parse_version(&reader, &fields->version, err);
        } else {
            fields->has_others = true;
            status = quipu_dagcbor_next_whole(&reader, &skipped, err);
        }
    }
    if (status != QUIPU_OK) {
        return status;
    }
    /* Nothing may stand behind the map. */
    status = quipu_dagcbor_next(&reader, &map, err);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status judge(const struct fields *fields, struct quipu_error *err)
{
    if (!fields->has_version) {
        return quipu_error_set(err, QUIPU_CAR, "the CAR header has no version");
    }
    if (fields->version == CAR_VERSION_CONTAINER) {
        return quipu_error_set(err, QUIPU_CAR_VERSION,
                               "this is a CARv2 container, only CARv1 is read here; take the CARv1 "
                               "out of it first (car extract-v1)");
    }
    if (fields->version != CAR_VERSION) {
        return quipu_error_set(err, QUIPU_CAR_VERSION,
                               "CAR version %" PRIu64 " where only version 1 is read",
                               fields->version);
    }
    if (!fields->has_roots) {
        return quipu_error_set(err, QUIPU_CAR, "the CAR header has no roots");
    }
    if (fields->has_others) {
        return quipu_error_set(err, QUIPU_CAR,
                               "the CAR header has other keys than roots and version");
    }
    return QUIPU_OK;
}

static int compare_wanted(const void *a, const void *b)
{
    const struct car_wanted *left = a;
    const struct car_wanted *right = b;
    return quipu_slice_compare(left->cid, right->cid);
}

/* The roots that need a block, each once. A CID with the identity hash holds its data itself. */
static enum quipu_status index_roots(struct car_header *header, struct quipu_error *err)
{
    if (header->root_count == 0) {
        return QUIPU_OK;
    }
    header->wanted = quipu_alloc(header->root_count, sizeof *header->wanted);
    if (header->wanted == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu roots",
                               header->root_count);
    }
    size_t count = 0;
    for (size_t i = 0; i < header->root_count; i++) {
        if (header->roots[i].hash != QUIPU_MULTIHASH_IDENTITY) {
            header->wanted[count++] = (struct car_wanted){.cid = header->roots[i].bytes};
        }
    }
    if (count > 0) {
        qsort(header->wanted, count, sizeof *header->wanted, compare_wanted);
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || !quipu_slice_equal(header->wanted[kept - 1].cid, header->wanted[i].cid)) {
            header->wanted[kept++] = header->wanted[i];
        }
    }
    header->wanted_count = kept;
    header->missing = kept;
    return QUIPU_OK;
}

enum quipu_status car_header_parse(struct car_header *header, uint64_t offset,
                                   struct quipu_error *err)
{
    struct quipu_error local;
    struct quipu_error *detail = err == NULL ? &local : err;
    struct fields fields = {0};
    enum quipu_status status = parse_fields(header, &fields, detail);
    if (status == QUIPU_OK) {
        status = judge(&fields, detail);
    }
    if (status == QUIPU_OK) {
        status = index_roots(header, detail);
    }
    if (status == QUIPU_CAR_VERSION) {
        detail->offset = offset;
    } else if (status != QUIPU_OK && status != QUIPU_NO_MEMORY) {
        uint64_t inside = detail->offset == QUIPU_ERROR_NO_OFFSET ? 0 : detail->offset;
        (void)quipu_error_wrap(detail, status, "CAR header of %zu bytes from byte %" PRIu64,
                               header->bytes.len, offset);
        detail->offset = offset + inside;
    }
    return status;
}

void car_header_found(struct car_header *header, struct quipu_slice cid)
{
    if (header->missing == 0) {
        return;
    }
    struct car_wanted key = {.cid = cid};
    struct car_wanted *found =
        bsearch(&key, header->wanted, header->wanted_count, sizeof *header->wanted, compare_wanted);
    if (found != NULL && !found->is_found) {
        found->is_found = true;
        header->missing--;
    }
}

void car_header_release(struct car_header *header)
{
    quipu_free(header->roots);
    quipu_free(header->wanted);
    quipu_buf_release(&header->bytes);
}
