/*
 * The row of the last bundle: {"number": int, "manifest": link} under "export/" and the source, in
 * the air gap's table.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_record.h"

#include "quipu/dagcbor.h"
#include "quipu/store.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_AIRGAP ((struct quipu_table){0x100})

#define KEY_PREFIX "export/"
#define KEY_BYTES  (sizeof KEY_PREFIX + QUIPU_SOURCE_TEXT_BYTES)

static struct quipu_slice record_key(const char *source, char storage[KEY_BYTES])
{
    struct quipu_buf key;
    quipu_buf_init_fixed(&key, storage, KEY_BYTES);
    quipu_buf_append_text(&key, KEY_PREFIX);
    quipu_buf_append_text(&key, source);
    return quipu_buf_slice(&key);
}

static enum quipu_status record_decode(struct quipu_slice row, struct quipu_export_record *out,
                                       struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_export_record record = {0};
    struct quipu_slice key = {0};
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, row);
    if (quipu_dagcbor_validate(row, NULL) != QUIPU_OK ||
        quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK || pairs != 2 ||
        quipu_dagcbor_read_text(&reader, &key, NULL) != QUIPU_OK ||
        !quipu_slice_equal(key, quipu_slice_text("number")) ||
        quipu_dagcbor_read_uint(&reader, &record.number, NULL) != QUIPU_OK || record.number == 0 ||
        quipu_dagcbor_read_text(&reader, &key, NULL) != QUIPU_OK ||
        !quipu_slice_equal(key, quipu_slice_text("manifest")) ||
        quipu_dagcbor_read_link(&reader, &record.manifest, NULL) != QUIPU_OK) {
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

enum quipu_status quipu_export_record_save(struct quipu_engine *engine, const char *source,
                                           const struct quipu_export_record *record,
                                           struct quipu_error *err)
{
    char storage[KEY_BYTES];
    uint8_t row_storage[128];
    struct quipu_buf row;
    struct quipu_txn *txn = NULL;
    struct quipu_dagcbor_writer writer;
    quipu_buf_init_fixed(&row, row_storage, sizeof row_storage);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "number");
    quipu_dagcbor_write_uint(&writer, record->number);
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &record->manifest);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_write(quipu_engine_store(engine), &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_table_put(txn, TABLE_AIRGAP, record_key(source, storage),
                                     quipu_buf_slice(&row), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}
