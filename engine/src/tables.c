/*
 * Reading and writing the integers of the engine's meta rows, positions as keys, counting rows.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tables.h"

#include "internal/bytes.h"

enum quipu_status meta_get_u64(struct quipu_txn *txn, const char *key, uint64_t *value,
                               struct quipu_error *err)
{
    struct quipu_slice stored;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_META, quipu_slice_text(key), &stored, err);
    if (status == QUIPU_NOT_FOUND) {
        *value = 0;
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (stored.len != 8) {
        return quipu_error_set(err, QUIPU_CORRUPT, "meta row %s: expected 8 bytes, found %zu", key,
                               stored.len);
    }
    *value = quipu_load_be64(stored.data);
    return QUIPU_OK;
}

enum quipu_status meta_put_u64(struct quipu_txn *txn, const char *key, uint64_t value,
                               struct quipu_error *err)
{
    uint8_t bytes[8];
    quipu_store_be64(bytes, value);
    return quipu_txn_table_put(txn, TABLE_META, quipu_slice_text(key),
                               quipu_slice(bytes, sizeof bytes), err);
}

enum quipu_status table_count(struct quipu_txn *txn, struct quipu_table table, uint64_t *count,
                              struct quipu_error *err)
{
    struct quipu_table_walk *walk = NULL;
    uint64_t rows = 0;
    enum quipu_status status = quipu_table_walk_open(txn, table, quipu_slice(NULL, 0), &walk, err);
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        rows += status == QUIPU_OK;
    }
    quipu_table_walk_close(&walk);
    if (status != QUIPU_DONE) {
        return status;
    }
    *count = rows;
    return QUIPU_OK;
}

struct quipu_slice position_key(uint64_t position, uint8_t storage[POSITION_KEY_BYTES])
{
    quipu_store_be64(storage, position);
    return quipu_slice(storage, POSITION_KEY_BYTES);
}

enum quipu_status position_of_key(struct quipu_slice key, const char *what, uint64_t *position,
                                  struct quipu_error *err)
{
    if (key.len != POSITION_KEY_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s: a key of %zu bytes, expected %d", what,
                               key.len, POSITION_KEY_BYTES);
    }
    *position = quipu_load_be64(key.data);
    return QUIPU_OK;
}
