/*
 * Keys of table rows: the table's number, big-endian, then the row's key. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_TABLE_H
#define QUIPU_STORE_TABLE_H

#include "internal.h"
#include "internal/bytes.h"

#define QUIPU_TABLE_NUMBER_BYTES 4
#define QUIPU_ROW_KEY_BYTES_MAX  (QUIPU_TABLE_NUMBER_BYTES + QUIPU_TABLE_KEY_BYTES_MAX)

/* Write the row's key, at most QUIPU_ROW_KEY_BYTES_MAX bytes; returns its length. */
static inline size_t quipu_row_key(struct quipu_table table, struct quipu_slice key, uint8_t *out)
{
    quipu_store_be32(out, table.number);
    if (key.len > 0) {
        memcpy(out + QUIPU_TABLE_NUMBER_BYTES, key.data, key.len);
    }
    return QUIPU_TABLE_NUMBER_BYTES + key.len;
}

/* Does `key` begin with these bytes? */
static inline bool quipu_val_begins_with(MDB_val key, const uint8_t *bytes, size_t len)
{
    return key.mv_size >= len && memcmp(key.mv_data, bytes, len) == 0;
}

#endif
