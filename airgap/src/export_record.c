/*
 * The row of the last bundle under "export/" and the source, in the air gap's table.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_record.h"

#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/store.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_AIRGAP ((struct quipu_table){0x100})

#define KEY_PREFIX "export/"
#define KEY_BYTES  (sizeof KEY_PREFIX + QUIPU_SOURCE_TEXT_BYTES)

#define ROW_PAIRS       6u
#define ROW_PAIRS_FIRST 2u /* of before there were checkpoints: "number" and "manifest" */

static struct quipu_slice record_key(const char *source, char storage[KEY_BYTES])
{
    struct quipu_buf key;
    quipu_buf_init_fixed(&key, storage, KEY_BYTES);
    quipu_buf_append_text(&key, KEY_PREFIX);
    quipu_buf_append_text(&key, source);
    return quipu_buf_slice(&key);
}

static bool read_key(struct quipu_dagcbor_reader *reader, const char *wanted)
{
    struct quipu_slice key = {0};
    return quipu_dagcbor_read_text(reader, &key, NULL) == QUIPU_OK &&
           quipu_slice_equal(key, quipu_slice_text(wanted));
}

static bool read_number(struct quipu_dagcbor_reader *reader, const char *key, uint64_t *out)
{
    return read_key(reader, key) && quipu_dagcbor_read_uint(reader, out, NULL) == QUIPU_OK;
}

static bool read_root(struct quipu_dagcbor_reader *reader, uint8_t root[QUIPU_SHA256_BYTES])
{
    struct quipu_slice bytes = {0};
    if (!read_key(reader, "root") || quipu_dagcbor_read_bytes(reader, &bytes, NULL) != QUIPU_OK ||
        bytes.len != QUIPU_SHA256_BYTES) {
        return false;
    }
    memcpy(root, bytes.data, bytes.len);
    return true;
}

static bool read_fields(struct quipu_slice row, struct quipu_export_record *record)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs = 0;
    uint64_t settled = 1;
    quipu_dagcbor_reader_init(&reader, row);
    if (quipu_dagcbor_validate(row, NULL) != QUIPU_OK ||
        quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK ||
        (pairs != ROW_PAIRS && pairs != ROW_PAIRS_FIRST)) {
        return false;
    }
    record->has_tree = pairs == ROW_PAIRS;
    if (record->has_tree && (!read_root(&reader, record->tree.root) ||
                             !read_number(&reader, "size", &record->tree.size))) {
        return false;
    }
    if (!read_number(&reader, "number", &record->number) || record->number == 0) {
        return false;
    }
    if (record->has_tree && (!read_number(&reader, "settled", &settled) || settled > 1 ||
                             !read_number(&reader, "exported", &record->exported))) {
        return false;
    }
    record->is_settled = settled == 1;
    return read_key(&reader, "manifest") &&
           quipu_dagcbor_read_link(&reader, &record->manifest, NULL) == QUIPU_OK;
}

static enum quipu_status record_decode(struct quipu_slice row, struct quipu_export_record *out,
                                       struct quipu_error *err)
{
    struct quipu_export_record record = {0};
    if (!read_fields(row, &record)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "the store's row about its last bundle is damaged");
    }
    *out = record;
    return QUIPU_OK;
}

enum quipu_status quipu_export_record_load(struct quipu_engine *engine, const char *source,
                                           struct quipu_export_record *out, struct quipu_error *err)
{
    char storage[KEY_BYTES];
    struct quipu_slice row = {0};
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_table_get(txn, TABLE_AIRGAP, record_key(source, storage), &row, err);
    if (status == QUIPU_OK) {
        status = record_decode(row, out, err);
    } else if (status == QUIPU_NOT_FOUND) {
        *out = (struct quipu_export_record){0};
        status = QUIPU_OK;
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status record_encode(const struct quipu_export_record *record,
                                       struct quipu_buf *row, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, row);
    quipu_dagcbor_write_map(&writer, record->has_tree ? ROW_PAIRS : ROW_PAIRS_FIRST);
    if (record->has_tree) {
        quipu_dagcbor_write_key(&writer, "root");
        quipu_dagcbor_write_bytes(&writer,
                                  quipu_slice(record->tree.root, sizeof record->tree.root));
        quipu_dagcbor_write_key(&writer, "size");
        quipu_dagcbor_write_uint(&writer, record->tree.size);
    }
    quipu_dagcbor_write_key(&writer, "number");
    quipu_dagcbor_write_uint(&writer, record->number);
    if (record->has_tree) {
        quipu_dagcbor_write_key(&writer, "settled");
        quipu_dagcbor_write_uint(&writer, record->is_settled ? 1 : 0);
        quipu_dagcbor_write_key(&writer, "exported");
        quipu_dagcbor_write_uint(&writer, record->exported);
    }
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &record->manifest);
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status quipu_export_record_save(struct quipu_engine *engine, const char *source,
                                           const struct quipu_export_record *record,
                                           struct quipu_merkle_log *log,
                                           const struct quipu_operation *operation,
                                           struct quipu_error *err)
{
    char storage[KEY_BYTES];
    uint8_t row_storage[256];
    struct quipu_buf row;
    struct quipu_txn *txn = NULL;
    struct quipu_slice key = record_key(source, storage);
    quipu_buf_init_fixed(&row, row_storage, sizeof row_storage);
    enum quipu_status status = record->number == 0 ? QUIPU_OK : record_encode(record, &row, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_write(quipu_engine_store(engine), &txn, err);
    }
    if (status == QUIPU_OK) {
        status = record->number == 0
                     ? quipu_txn_table_delete(txn, TABLE_AIRGAP, key, err)
                     : quipu_txn_table_put(txn, TABLE_AIRGAP, key, quipu_buf_slice(&row), err);
    }
    if (status == QUIPU_OK && log != NULL) {
        status = quipu_merkle_log_save(log, txn, err);
    }
    if (status == QUIPU_OK && operation != NULL) {
        status = quipu_operation_record(txn, operation, NULL, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}
