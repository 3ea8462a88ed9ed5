/*
 * Walking over the rows of a table that begin with a prefix. A walk knows its last key, so that it
 * finds its place again after a write to some other table; a write to its own table ends it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/alloc.h"
#include "table.h"

struct quipu_table_walk {
    struct quipu_txn *txn; /* NULL once that has ended */
    struct quipu_table table;
    MDB_cursor *cursor;
    uint64_t writes; /* of the transaction, when the cursor was placed */
    bool has_started;
    bool has_ended; /* its table was written to */
    size_t prefix_len;
    /* Key of the last row, or the prefix: its first prefix_len bytes are the prefix always. */
    size_t key_len;
    uint8_t key[QUIPU_ROW_KEY_BYTES_MAX];
    struct quipu_table_walk *next;
};

enum quipu_status quipu_table_walk_open(struct quipu_txn *txn, struct quipu_table table,
                                        struct quipu_slice prefix, struct quipu_table_walk **out,
                                        struct quipu_error *err)
{
    if (prefix.len > QUIPU_TABLE_KEY_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "prefix has %zu bytes, limit %d", prefix.len,
                               QUIPU_TABLE_KEY_BYTES_MAX);
    }
    struct quipu_table_walk *walk = quipu_alloc_zero(1, sizeof *walk);
    if (walk == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to walk table %u", table.number);
    }
    int code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_TABLE], &walk->cursor);
    if (code != 0) {
        quipu_free(walk);
        return quipu_lmdb_error(err, code, "%s: walk table %u", txn->store->path, table.number);
    }
    walk->txn = txn;
    walk->table = table;
    walk->prefix_len = quipu_row_key(table, prefix, walk->key);
    walk->key_len = walk->prefix_len;
    walk->next = txn->walks;
    txn->walks = walk;
    *out = walk;
    return QUIPU_OK;
}

static int step(struct quipu_table_walk *walk, MDB_val *row, MDB_val *val)
{
    if (walk->has_started && walk->writes == walk->txn->writes) {
        return mdb_cursor_get(walk->cursor, row, val, MDB_NEXT);
    }
    *row = quipu_val(walk->key, walk->key_len);
    int code = mdb_cursor_get(walk->cursor, row, val, MDB_SET_RANGE);
    if (code == 0 && walk->has_started && row->mv_size == walk->key_len &&
        memcmp(row->mv_data, walk->key, walk->key_len) == 0) {
        code = mdb_cursor_get(walk->cursor, row, val, MDB_NEXT);
    }
    walk->writes = walk->txn->writes;
    walk->has_started = true;
    return code;
}

enum quipu_status quipu_table_walk_next(struct quipu_table_walk *walk, struct quipu_slice *key,
                                        struct quipu_slice *value, struct quipu_error *err)
{
    if (walk->txn == NULL || walk->has_ended) {
        return quipu_error_set(err, QUIPU_MISUSE, "walk over table %u: %s", walk->table.number,
                               walk->txn == NULL ? "its transaction has ended"
                                                 : "the table was written to");
    }
    MDB_val row = {0};
    MDB_val val = {0};
    int code = step(walk, &row, &val);
    if (code == MDB_NOTFOUND ||
        (code == 0 && !quipu_val_begins_with(row, walk->key, walk->prefix_len))) {
        /* Stay there: the next call seeks from the last key again. */
        walk->writes = UINT64_MAX;
        return QUIPU_DONE;
    }
    if (code == 0 && row.mv_size > sizeof walk->key) {
        code = MDB_CORRUPTED;
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: walk table %u", walk->txn->store->path,
                                walk->table.number);
    }
    memcpy(walk->key, row.mv_data, row.mv_size);
    walk->key_len = row.mv_size;
    struct quipu_slice bytes = quipu_slice_of(row);
    *key = quipu_slice(bytes.data + QUIPU_TABLE_NUMBER_BYTES, bytes.len - QUIPU_TABLE_NUMBER_BYTES);
    *value = quipu_slice_of(val);
    return QUIPU_OK;
}

void quipu_table_walk_close(struct quipu_table_walk **walk_pointer)
{
    if (walk_pointer == NULL || *walk_pointer == NULL) {
        return;
    }
    struct quipu_table_walk *walk = *walk_pointer;
    *walk_pointer = NULL;
    if (walk->txn != NULL) {
        struct quipu_table_walk **link = &walk->txn->walks;
        while (*link != walk) {
            link = &(*link)->next;
        }
        *link = walk->next;
        mdb_cursor_close(walk->cursor);
    }
    quipu_free(walk);
}

void quipu_walks_end(struct quipu_txn *txn, struct quipu_table table)
{
    for (struct quipu_table_walk *walk = txn->walks; walk != NULL; walk = walk->next) {
        walk->has_ended = walk->has_ended || walk->table.number == table.number;
    }
}

void quipu_walks_detach(struct quipu_txn *txn)
{
    while (txn->walks != NULL) {
        struct quipu_table_walk *walk = txn->walks;
        txn->walks = walk->next;
        mdb_cursor_close(walk->cursor);
        walk->cursor = NULL;
        walk->txn = NULL;
        walk->next = NULL;
    }
}
