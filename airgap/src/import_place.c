/*
 * The rows of bundles that came in, and what they say about the next one.
 *
 * A bundle names the one before it and the tree that that one ended with. Where both came in, the
 * links must hold; where one is missing, the trees must at least grow.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "import_place.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/dagcbor.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_AIRGAP ((struct quipu_table){0x100})

#define KEY_PREFIX "import/"
#define KEY_BYTES  (sizeof KEY_PREFIX - 1 + QUIPU_SOURCE_TEXT_BYTES - 1 + 8)

#define ROW_PAIRS 4u

/* "import/", the source, its number. */
static struct quipu_slice place_key(const char *source, uint64_t number, uint8_t storage[KEY_BYTES])
{
    uint8_t *at = storage;
    memcpy(at, KEY_PREFIX, sizeof KEY_PREFIX - 1);
    at += sizeof KEY_PREFIX - 1;
    memcpy(at, source, QUIPU_SOURCE_TEXT_BYTES - 1);
    at += QUIPU_SOURCE_TEXT_BYTES - 1;
    quipu_store_be64(at, number);
    return quipu_slice(storage, KEY_BYTES);
}

static bool is_of_source(struct quipu_slice key, const uint8_t wanted[KEY_BYTES])
{
    return key.len == KEY_BYTES && memcmp(key.data, wanted, KEY_BYTES - 8) == 0;
}

/* ------------------------------------------------------------------ a row */

/* What is kept of a bundle. */
struct place_row {
    struct quipu_bundle_place place;
    bool has_previous;
    struct quipu_cid previous;
};

static bool read_key(struct quipu_dagcbor_reader *reader, const char *wanted)
{
    struct quipu_slice key = {0};
    return quipu_dagcbor_read_text(reader, &key, NULL) == QUIPU_OK &&
           quipu_slice_equal(key, quipu_slice_text(wanted));
}

static bool row_decode(struct quipu_slice value, struct place_row *row)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_slice root = {0};
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, value);
    if (quipu_dagcbor_validate(value, NULL) != QUIPU_OK ||
        quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK || pairs != ROW_PAIRS ||
        !read_key(&reader, "root") || quipu_dagcbor_read_bytes(&reader, &root, NULL) != QUIPU_OK ||
        root.len != sizeof row->place.log_root || !read_key(&reader, "size") ||
        quipu_dagcbor_read_uint(&reader, &row->place.log_size, NULL) != QUIPU_OK ||
        !read_key(&reader, "manifest") ||
        quipu_dagcbor_read_link(&reader, &row->place.manifest, NULL) != QUIPU_OK ||
        !read_key(&reader, "previous") || quipu_dagcbor_next(&reader, &item, NULL) != QUIPU_OK) {
        return false;
    }
    memcpy(row->place.log_root, root.data, root.len);
    row->has_previous = item.kind == QUIPU_DAGCBOR_LINK;
    return row->has_previous ? quipu_cid_from_view(&item.link, &row->previous, NULL) == QUIPU_OK
                             : item.kind == QUIPU_DAGCBOR_NULL;
}

/* The row nearest to the bundle's number on that side; `row->place.number` 0: none. */
static enum quipu_status row_seek(struct quipu_txn *txn, const struct quipu_bundle_report *bundle,
                                  enum quipu_seek seek, struct place_row *row,
                                  struct quipu_error *err)
{
    uint8_t storage[KEY_BYTES];
    struct quipu_slice key = {0};
    struct quipu_slice value = {0};
    *row = (struct place_row){0};
    enum quipu_status status =
        quipu_txn_table_seek(txn, TABLE_AIRGAP, place_key(bundle->source, bundle->number, storage),
                             seek, &key, &value, err);
    if (status == QUIPU_DONE || (status == QUIPU_OK && !is_of_source(key, storage))) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    row->place.number = quipu_load_be64(key.data + KEY_BYTES - 8);
    if (!row_decode(value, row)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "the store's row about bundle %" PRIu64 " of source %s is damaged",
                               row->place.number, bundle->source);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ judging */

static enum quipu_status rolled_back(const struct quipu_bundle_report *bundle, uint64_t other,
                                     struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_FORK,
                           "bundles %" PRIu64 " and %" PRIu64
                           " of source %s contradict each other: it was rolled back, or its key is "
                           "used twice",
                           bundle->number, other, bundle->source);
}

/* The nearest one in front of it. */
static enum quipu_status judge_before(const struct quipu_bundle_report *bundle,
                                      const struct place_row *before,
                                      struct quipu_import_place *out, struct quipu_error *err)
{
    out->missing = bundle->number - 1 - before->place.number;
    if (out->missing > 0) {
        return bundle->log_size < before->place.log_size
                   ? rolled_back(bundle, before->place.number, err)
                   : QUIPU_OK;
    }
    return quipu_bundle_follows(before->place.number == 0 ? NULL : &before->place, bundle, err);
}

/* The nearest one behind it, which came in earlier: its gap is being filled. */
static enum quipu_status judge_behind(const struct quipu_bundle_report *bundle,
                                      const struct place_row *behind, struct quipu_error *err)
{
    if (behind->place.number == 0) {
        return QUIPU_OK;
    }
    bool is_next = behind->place.number == bundle->number + 1;
    bool is_linked = behind->has_previous && quipu_cid_equal(&behind->previous, &bundle->manifest);
    return (is_next && !is_linked) || behind->place.log_size < bundle->log_size
               ? rolled_back(bundle, behind->place.number, err)
               : QUIPU_OK;
}

enum quipu_status quipu_import_place_judge(struct quipu_txn *txn,
                                           const struct quipu_bundle_report *bundle,
                                           struct quipu_import_place *out, struct quipu_error *err)
{
    struct quipu_import_place place = {0};
    struct place_row row = {0};
    struct place_row behind = {0};
    enum quipu_status status = QUIPU_OK;
    if (bundle->number == 0) {
        *out = place;
        return QUIPU_OK;
    }
    status = row_seek(txn, bundle, QUIPU_SEEK_LE, &row, err);
    if (status == QUIPU_OK && row.place.number == bundle->number) {
        place.is_known = quipu_cid_equal(&row.place.manifest, &bundle->manifest);
        status = place.is_known ? QUIPU_OK : quipu_bundle_follows(&row.place, bundle, err);
    } else if (status == QUIPU_OK) {
        status = judge_before(bundle, &row, &place, err);
        if (status == QUIPU_OK) {
            status = row_seek(txn, bundle, QUIPU_SEEK_GT, &behind, err);
        }
        if (status == QUIPU_OK) {
            status = judge_behind(bundle, &behind, err);
        }
        /* What is in front of a gap that is being filled was accepted when the gap was. */
        place.missing = behind.place.number == 0 ? place.missing : 0;
    }
    if (status == QUIPU_OK) {
        *out = place;
    }
    return status;
}

enum quipu_status quipu_import_place_gap(const struct quipu_bundle_report *bundle, uint64_t missing,
                                         struct quipu_error *err)
{
    uint64_t first = bundle->number - missing;
    return missing == 1
               ? quipu_error_set(err, QUIPU_GAP,
                                 "bundle %" PRIu64 " of source %s is missing before %" PRIu64
                                 "; import it first, or accept the gap with a reason",
                                 first, bundle->source, bundle->number)
               : quipu_error_set(err, QUIPU_GAP,
                                 "bundles %" PRIu64 " to %" PRIu64
                                 " of source %s are missing before %" PRIu64
                                 "; import them first, or accept the gap with a reason",
                                 first, bundle->number - 1, bundle->source, bundle->number);
}

enum quipu_status quipu_import_place_keep(struct quipu_txn *txn,
                                          const struct quipu_bundle_report *bundle,
                                          struct quipu_error *err)
{
    uint8_t key[KEY_BYTES];
    uint8_t storage[256];
    struct quipu_buf row;
    struct quipu_dagcbor_writer writer;
    if (bundle->number == 0) {
        return QUIPU_OK;
    }
    quipu_buf_init_fixed(&row, storage, sizeof storage);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, ROW_PAIRS);
    quipu_dagcbor_write_key(&writer, "root");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(bundle->log_root, sizeof bundle->log_root));
    quipu_dagcbor_write_key(&writer, "size");
    quipu_dagcbor_write_uint(&writer, bundle->log_size);
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &bundle->manifest);
    quipu_dagcbor_write_key(&writer, "previous");
    if (bundle->has_previous) {
        quipu_dagcbor_write_link(&writer, &bundle->previous);
    } else {
        quipu_dagcbor_write_null(&writer);
    }
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    return status != QUIPU_OK ? status
                              : quipu_txn_table_put(txn, TABLE_AIRGAP,
                                                    place_key(bundle->source, bundle->number, key),
                                                    quipu_buf_slice(&row), err);
}
