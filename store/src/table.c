/*
 * Tables: ordered rows for the modules above, all in one database, each key with its table's number
 * in front. SPEC §6.7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "table.h"

static enum quipu_status check_key(struct quipu_slice key, bool may_be_empty,
                                   struct quipu_error *err)
{
    if (key.len > QUIPU_TABLE_KEY_BYTES_MAX || (key.len == 0 && !may_be_empty)) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "table key has %zu bytes, want 1 to %d",
                               key.len, QUIPU_TABLE_KEY_BYTES_MAX);
    }
    return QUIPU_OK;
}

static enum quipu_status no_row(struct quipu_table table, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NOT_FOUND, "no such row in table %u", table.number);
}

enum quipu_status quipu_txn_table_get(struct quipu_txn *txn, struct quipu_table table,
                                      struct quipu_slice key, struct quipu_slice *value,
                                      struct quipu_error *err)
{
    enum quipu_status status = check_key(key, false, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t bytes[QUIPU_ROW_KEY_BYTES_MAX];
    MDB_val row = quipu_val(bytes, quipu_row_key(table, key, bytes));
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &row, &val);
    if (code == MDB_NOTFOUND) {
        return no_row(table, err);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read table %u", txn->store->path, table.number);
    }
    *value = quipu_slice_of(val);
    return QUIPU_OK;
}

enum quipu_status quipu_txn_table_put(struct quipu_txn *txn, struct quipu_table table,
                                      struct quipu_slice key, struct quipu_slice value,
                                      struct quipu_error *err)
{
    enum quipu_status status = check_key(key, false, err);
    if (status == QUIPU_OK && value.len > QUIPU_TABLE_VALUE_BYTES_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "table value has %zu bytes, limit %u",
                                 value.len, QUIPU_TABLE_VALUE_BYTES_MAX);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_may_write(txn, value.len, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t bytes[QUIPU_ROW_KEY_BYTES_MAX];
    MDB_val row = quipu_val(bytes, quipu_row_key(table, key, bytes));
    MDB_val val = quipu_val_of(value);
    quipu_walks_end(txn, table);
    int code = mdb_put(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &row, &val, 0);
    txn->has_put_rows = true;
    return code == 0 ? QUIPU_OK : quipu_txn_fail(txn, code, "write a table", err);
}

enum quipu_status quipu_txn_table_delete(struct quipu_txn *txn, struct quipu_table table,
                                         struct quipu_slice key, struct quipu_error *err)
{
    enum quipu_status status = check_key(key, false, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_may_write(txn, 0, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t bytes[QUIPU_ROW_KEY_BYTES_MAX];
    MDB_val row = quipu_val(bytes, quipu_row_key(table, key, bytes));
    int code = mdb_del(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &row, NULL);
    if (code == MDB_NOTFOUND) {
        return no_row(table, err);
    }
    quipu_walks_end(txn, table);
    return code == 0 ? QUIPU_OK : quipu_txn_fail(txn, code, "delete a row", err);
}

enum quipu_status quipu_txn_table_clear(struct quipu_txn *txn, struct quipu_table table,
                                        struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_may_write(txn, 0, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_walks_end(txn, table);
    uint8_t number[QUIPU_TABLE_NUMBER_BYTES];
    quipu_store_be32(number, table.number);
    MDB_cursor *cursor = NULL;
    int code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &cursor);
    while (code == 0) {
        /* The first row that is left; deleting moves the cursor, so it is sought each time. */
        MDB_val row = quipu_val(number, sizeof number);
        MDB_val val;
        code = mdb_cursor_get(cursor, &row, &val, MDB_SET_RANGE);
        if (code == 0 && !quipu_val_begins_with(row, number, sizeof number)) {
            code = MDB_NOTFOUND;
        }
        if (code == 0) {
            txn->small_values++;
            code = mdb_cursor_del(cursor, 0);
        }
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    return code == MDB_NOTFOUND ? QUIPU_OK : quipu_txn_fail(txn, code, "clear a table", err);
}

/* Step from the first row that is not below `target` to the one that was asked for. */
static int seek_from(MDB_cursor *cursor, const uint8_t *target, size_t len, enum quipu_seek seek,
                     MDB_val *row, MDB_val *val)
{
    *row = quipu_val(target, len);
    int code = mdb_cursor_get(cursor, row, val, MDB_SET_RANGE);
    bool is_equal = code == 0 && row->mv_size == len && memcmp(row->mv_data, target, len) == 0;
    switch (seek) {
    case QUIPU_SEEK_GE:
        return code;
    case QUIPU_SEEK_GT:
        return is_equal ? mdb_cursor_get(cursor, row, val, MDB_NEXT) : code;
    case QUIPU_SEEK_LE:
        if (is_equal) {
            return 0;
        }
        break;
    case QUIPU_SEEK_LT:
        break;
    }
    if (code == MDB_NOTFOUND) {
        return mdb_cursor_get(cursor, row, val, MDB_LAST);
    }
    return code == 0 ? mdb_cursor_get(cursor, row, val, MDB_PREV) : code;
}

static int seek_row(MDB_cursor *cursor, struct quipu_table table, struct quipu_slice key,
                    enum quipu_seek seek, MDB_val *row, MDB_val *val)
{
    uint8_t target[QUIPU_ROW_KEY_BYTES_MAX];
    if (key.len > 0 || seek == QUIPU_SEEK_GE || seek == QUIPU_SEEK_GT) {
        size_t len = quipu_row_key(table, key, target);
        return seek_from(cursor, target, len, seek, row, val);
    }
    /* Behind every row: before the first of the next table. */
    if (table.number == UINT32_MAX) {
        return mdb_cursor_get(cursor, row, val, MDB_LAST);
    }
    quipu_store_be32(target, table.number + 1);
    return seek_from(cursor, target, QUIPU_TABLE_NUMBER_BYTES, QUIPU_SEEK_LT, row, val);
}

enum quipu_status quipu_txn_table_seek(struct quipu_txn *txn, struct quipu_table table,
                                       struct quipu_slice key, enum quipu_seek seek,
                                       struct quipu_slice *found_key, struct quipu_slice *value,
                                       struct quipu_error *err)
{
    enum quipu_status status = check_key(key, true, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int code = 0;
    if (txn->table_cursor == NULL) {
        code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &txn->table_cursor);
    }
    MDB_val row = {0};
    MDB_val val = {0};
    if (code == 0) {
        code = seek_row(txn->table_cursor, table, key, seek, &row, &val);
    }
    uint8_t number[QUIPU_TABLE_NUMBER_BYTES];
    quipu_store_be32(number, table.number);
    if (code == MDB_NOTFOUND || (code == 0 && !quipu_val_begins_with(row, number, sizeof number))) {
        return QUIPU_DONE;
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read table %u", txn->store->path, table.number);
    }
    struct quipu_slice bytes = quipu_slice_of(row);
    *found_key = quipu_slice(bytes.data + sizeof number, bytes.len - sizeof number);
    *value = quipu_slice_of(val);
    return QUIPU_OK;
}
