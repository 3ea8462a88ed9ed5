/*
 * The rows of bundles that came in, and what they say about the next one.
 *
 * A bundle names the one before it and the tree that that one ended with. Where both came in, the
 * links must hold; where one is missing, the trees must at least grow: the one that ended the
 * bundle in front, the one that the bundle behind goes on from, the one that ends it. Trees of one
 * size are one tree.
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

#define ROW_PAIRS       5u
#define ROW_PAIRS_FIRST 4u /* of before "before" was kept */

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

/* The log's tree at some moment. */
struct tree {
    uint64_t size;
    uint8_t root[QUIPU_SHA256_BYTES];
};

/* What is kept of a bundle. */
struct place_row {
    struct quipu_bundle_place place;
    bool has_before;    /* false also in rows of before it was kept */
    struct tree before; /* what its log went on from */
    bool has_previous;
    struct quipu_cid previous;
};

static bool read_key(struct quipu_dagcbor_reader *reader, const char *wanted)
{
    struct quipu_slice key = {0};
    return quipu_dagcbor_read_text(reader, &key, NULL) == QUIPU_OK &&
           quipu_slice_equal(key, quipu_slice_text(wanted));
}

/* "root" and "size" of a map that was begun. */
static bool read_tree(struct quipu_dagcbor_reader *reader, struct tree *tree)
{
    struct quipu_slice root = {0};
    if (!read_key(reader, "root") || quipu_dagcbor_read_bytes(reader, &root, NULL) != QUIPU_OK ||
        root.len != sizeof tree->root || !read_key(reader, "size") ||
        quipu_dagcbor_read_uint(reader, &tree->size, NULL) != QUIPU_OK) {
        return false;
    }
    memcpy(tree->root, root.data, root.len);
    return true;
}

static bool read_before(struct quipu_dagcbor_reader *reader, struct place_row *row)
{
    struct quipu_dagcbor_item item;
    if (!read_key(reader, "before") || quipu_dagcbor_next(reader, &item, NULL) != QUIPU_OK) {
        return false;
    }
    row->has_before = item.kind == QUIPU_DAGCBOR_MAP;
    return row->has_before ? item.number == 2 && read_tree(reader, &row->before)
                           : item.kind == QUIPU_DAGCBOR_NULL;
}

static bool row_decode(struct quipu_slice value, struct place_row *row)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct tree tree;
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, value);
    if (quipu_dagcbor_validate(value, NULL) != QUIPU_OK ||
        quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK ||
        (pairs != ROW_PAIRS && pairs != ROW_PAIRS_FIRST) || !read_tree(&reader, &tree) ||
        (pairs == ROW_PAIRS && !read_before(&reader, row)) || !read_key(&reader, "manifest") ||
        quipu_dagcbor_read_link(&reader, &row->place.manifest, NULL) != QUIPU_OK ||
        !read_key(&reader, "previous") || quipu_dagcbor_next(&reader, &item, NULL) != QUIPU_OK) {
        return false;
    }
    row->place.log_size = tree.size;
    memcpy(row->place.log_root, tree.root, sizeof tree.root);
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

static struct tree tree_of(uint64_t size, const uint8_t root[QUIPU_SHA256_BYTES])
{
    struct tree tree = {.size = size};
    memcpy(tree.root, root, sizeof tree.root);
    return tree;
}

static bool is_same_tree(const struct tree *one, const struct tree *other)
{
    return one->size == other->size && memcmp(one->root, other->root, sizeof one->root) == 0;
}

/* May the one have grown into the other? All that can be said without the events between. */
static bool may_become(const struct tree *tree, const struct tree *later)
{
    return tree->size < later->size || is_same_tree(tree, later);
}

/* The nearest one in front of it. */
static enum quipu_status judge_before(const struct quipu_bundle_report *bundle,
                                      const struct place_row *before,
                                      struct quipu_import_place *out, struct quipu_error *err)
{
    uint64_t known = before->place.number;
    out->missing = bundle->number - 1 - known;
    if (out->missing == 0 || known == 0) {
        return out->missing > 0
                   ? QUIPU_OK
                   : quipu_bundle_follows(known == 0 ? NULL : &before->place, bundle, err);
    }
    struct tree ours = tree_of(before->place.log_size, before->place.log_root);
    struct tree from = tree_of(bundle->log_previous_size, bundle->log_previous_root);
    struct tree theirs = tree_of(bundle->log_size, bundle->log_root);
    bool is_fork =
        !may_become(&ours, &theirs) || (bundle->has_log_previous && !may_become(&ours, &from));
    return is_fork ? rolled_back(bundle, known, err) : QUIPU_OK;
}

/* The nearest one behind it, which came in earlier: its gap is being filled. */
static enum quipu_status judge_behind(const struct quipu_bundle_report *bundle,
                                      const struct place_row *behind, struct quipu_error *err)
{
    if (behind->place.number == 0) {
        return QUIPU_OK;
    }
    struct tree ours = tree_of(bundle->log_size, bundle->log_root);
    struct tree theirs = tree_of(behind->place.log_size, behind->place.log_root);
    bool is_next = behind->place.number == bundle->number + 1;
    bool is_linked = behind->has_previous && quipu_cid_equal(&behind->previous, &bundle->manifest);
    bool is_fork = (is_next && !is_linked) || !may_become(&ours, &theirs);
    if (behind->has_before) {
        is_fork = is_fork || (is_next ? !is_same_tree(&ours, &behind->before)
                                      : !may_become(&ours, &behind->before));
    }
    return is_fork ? rolled_back(bundle, behind->place.number, err) : QUIPU_OK;
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

static void write_before(struct quipu_dagcbor_writer *writer,
                         const struct quipu_bundle_report *bundle)
{
    quipu_dagcbor_write_key(writer, "before");
    if (!bundle->has_log_previous) {
        quipu_dagcbor_write_null(writer);
        return;
    }
    quipu_dagcbor_write_map(writer, 2);
    quipu_dagcbor_write_key(writer, "root");
    quipu_dagcbor_write_bytes(
        writer, quipu_slice(bundle->log_previous_root, sizeof bundle->log_previous_root));
    quipu_dagcbor_write_key(writer, "size");
    quipu_dagcbor_write_uint(writer, bundle->log_previous_size);
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
    write_before(&writer, bundle);
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
