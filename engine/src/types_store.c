/*
 * The registry of event types that a store keeps, in one row of one table.
 *
 * Specification: docs/SPEC.md §7.1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/types.h"

#include "internal/failpoint.h"
#include "tables.h"
#include "types_impl.h"

#define ROW_KEY "types"

enum quipu_status quipu_types_save(struct quipu_store *store, const struct quipu_types *types,
                                   struct quipu_error *err)
{
    if (store == NULL || types == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "types: no store, or no types to keep");
    }
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_types_encode(types, &block, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_write(store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_table_put(txn, TABLE_TYPES, quipu_slice_text(ROW_KEY),
                                     quipu_buf_slice(&block), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.types.before_commit", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    quipu_buf_release(&block);
    return status;
}

enum quipu_status types_row_get(struct quipu_txn *txn, struct quipu_slice *block,
                                struct quipu_error *err)
{
    return quipu_txn_table_get(txn, TABLE_TYPES, quipu_slice_text(ROW_KEY), block, err);
}

enum quipu_status types_block_read(struct quipu_slice block, struct quipu_types **out,
                                   struct quipu_error *err)
{
    struct quipu_error why;
    enum quipu_status status = quipu_types_decode(block, out, &why);
    if (status == QUIPU_OK) {
        return QUIPU_OK;
    }
    if (status == QUIPU_NO_MEMORY || status == QUIPU_FORMAT_NEWER) {
        return quipu_error_set(err, status, "the store's event types: %s", why.message);
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "the store's event types: %s; put good ones in their place with "
                           "`quipu types import --replace`",
                           why.message);
}

enum quipu_status quipu_types_load(struct quipu_store *store, struct quipu_types **out,
                                   struct quipu_error *err)
{
    if (store == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "types: no store, or nowhere to put them");
    }
    struct quipu_txn *txn = NULL;
    struct quipu_slice block;
    enum quipu_status status = quipu_txn_begin_read(store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = types_row_get(txn, &block, err);
    if (status == QUIPU_NOT_FOUND) {
        status = quipu_error_set(err, status, "the store keeps no declared event types");
    } else if (status == QUIPU_OK) {
        status = types_block_read(block, out, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status quipu_types_forget(struct quipu_store *store, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_table_delete(txn, TABLE_TYPES, quipu_slice_text(ROW_KEY), err);
    if (status == QUIPU_NOT_FOUND) {
        status = quipu_error_set(err, status, "the store keeps no declared event types");
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}
