/*
 * Deleting rows of projections, in slices: the table beside the first one, and all that a dropped
 * projection leaves. A crash between two slices leaves the registry's row saying what is still to
 * be deleted, and whoever replays or drops the projection next goes on.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "engine_impl.h"
#include "internal/failpoint.h"
#include "registry.h"
#include "slice_budget.h"
#include "tables.h"

enum quipu_status table_clear_slice(struct quipu_txn *txn, uint32_t table, bool *is_empty,
                                    struct quipu_error *err)
{
    struct quipu_table rows = {table};
    *is_empty = false;
    for (uint64_t i = 0; i < SLICE_EVENTS_MAX; i++) {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, rows, quipu_slice(NULL, 0), QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE) {
            *is_empty = true;
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        /* The key is borrowed from the page that the delete changes. */
        uint8_t copy[QUIPU_TABLE_KEY_BYTES_MAX];
        memcpy(copy, key.data, key.len);
        status = quipu_txn_table_delete(txn, rows, quipu_slice(copy, key.len), err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* A slice of deleting. @retval QUIPU_DONE  nothing is left to delete, and nothing was written */
typedef enum quipu_status (*clear_fn)(struct quipu_txn *txn, const char *name,
                                      struct registry_row *row, uint32_t take_over,
                                      struct quipu_error *err);

/* ------------------------------------------------------------------ the table beside */

static bool beside_is_to_clear(const struct registry_row *row, uint32_t take_over)
{
    return row->beside != 0 &&
           (row->beside_version == 0 || take_over == BESIDE_ANY || take_over == row->beside);
}

static enum quipu_status beside_clear_slice(struct quipu_txn *txn, const char *name,
                                            struct registry_row *row, uint32_t take_over,
                                            struct quipu_error *err)
{
    if (!beside_is_to_clear(row, take_over)) {
        return QUIPU_DONE;
    }
    bool is_empty = false;
    enum quipu_status status = table_clear_slice(txn, row->beside, &is_empty, err);
    if (status == QUIPU_OK) {
        status = park_forget(txn, name, row->beside, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    row->beside = is_empty ? 0 : row->beside;
    /* From now on it holds rows to be deleted, whoever filled it. */
    row->beside_version = 0;
    row->beside_position = 0;
    row->is_causal = false;
    return registry_put(txn, name, row, err);
}

/* ------------------------------------------------------------------ what was dropped */

static enum quipu_status drop_slice(struct quipu_txn *txn, const char *name,
                                    struct registry_row *row, uint32_t take_over,
                                    struct quipu_error *err)
{
    (void)take_over;
    if (!row->is_dropped) {
        return QUIPU_DONE;
    }
    if (row->beside != 0) {
        return beside_clear_slice(txn, name, row, BESIDE_ANY, err);
    }
    bool is_empty = false;
    enum quipu_status status = table_clear_slice(txn, row->table, &is_empty, err);
    if (status == QUIPU_OK && is_empty) {
        status = stops_forget_slice(txn, name, &is_empty, err);
    }
    if (status == QUIPU_OK && is_empty) {
        status = quipu_txn_table_delete(txn, TABLE_PROJECTIONS, quipu_slice_text(name), err);
    }
    return status;
}

/* ------------------------------------------------------------------ slice after slice */

static enum quipu_status clear_slice(struct quipu_engine *engine, const char *name, clear_fn clear,
                                     uint32_t take_over, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct registry_row row;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get_any(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        status = clear(txn, name, &row, take_over, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.replay.cleared", err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* The row as a read transaction sees it, so that a call with nothing to do writes nothing. */
static enum quipu_status row_look(struct quipu_engine *engine, const char *name,
                                  struct registry_row *row, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get_any(txn, name, row, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status beside_is_left_over(struct quipu_engine *engine, const struct registry_row *row,
                                      bool *out, struct quipu_error *err)
{
    bool is_held = false;
    *out = false;
    if (row->beside_version == 0 || (row->beside_version != row->version && !row->is_causal)) {
        return QUIPU_OK; /* none, or the next replay of that version goes on with it */
    }
    enum quipu_status status =
        quipu_store_claim_is_held(engine->store, CLAIM_REBUILD, row->beside, &is_held, err);
    *out = status == QUIPU_OK && !is_held;
    return status;
}

enum quipu_status beside_clear(struct quipu_engine *engine, const char *name, uint32_t take_over,
                               struct quipu_error *err)
{
    struct registry_row row;
    enum quipu_status status = row_look(engine, name, &row, err);
    bool is_needed = status == QUIPU_OK && beside_is_to_clear(&row, take_over);
    while (status == QUIPU_OK && is_needed) {
        status = clear_slice(engine, name, beside_clear_slice, take_over, err);
    }
    return status == QUIPU_DONE || status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

enum quipu_status drop_finish(struct quipu_engine *engine, const char *name,
                              struct quipu_error *err)
{
    struct registry_row row;
    enum quipu_status status = row_look(engine, name, &row, err);
    bool is_needed = status == QUIPU_OK && row.is_dropped;
    while (status == QUIPU_OK && is_needed) {
        status = clear_slice(engine, name, drop_slice, BESIDE_ANY, err);
    }
    return status == QUIPU_DONE || status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

static enum quipu_status drop_mark(struct quipu_engine *engine, struct quipu_txn *txn,
                                   const char *name, struct registry_row *row, void *ctx,
                                   struct quipu_error *err)
{
    (void)engine;
    (void)txn;
    (void)name;
    (void)ctx;
    (void)err;
    row->is_dropped = true;
    return QUIPU_OK;
}

enum quipu_status quipu_projection_drop(struct quipu_engine *engine, const char *name,
                                        struct quipu_error *err)
{
    struct registry_row row;
    enum quipu_status status = row_look(engine, name, &row, err);
    if (status == QUIPU_OK && !row.is_dropped) {
        status = registry_change(engine, name, drop_mark, NULL, err);
    }
    return status == QUIPU_OK ? drop_finish(engine, name, err) : status;
}
