/*
 * The registry of projections: a row for each with its tables and checkpoints. Each generation of a
 * projection's rows has a table number of its own, so a rebuild can fill a new one while readers go
 * on in the old one. Never reads or changes a projection's own rows.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_impl.h"
#include "event_check.h"
#include "internal/bytes.h"
#include "registry.h"
#include "tables.h"

/* The last 16 bytes are there only where one of them is not 0. */
#define ROW_BYTES_SHORT 40
#define ROW_BYTES       56

#define FLAG_PAUSED  UINT64_C(1)
#define FLAG_DROPPED UINT64_C(2)
#define FLAG_CAUSAL  UINT64_C(4)
#define FLAGS        (FLAG_PAUSED | FLAG_DROPPED | FLAG_CAUSAL)

enum quipu_status registry_decode(struct quipu_slice value, struct registry_row *out,
                                  struct quipu_error *err)
{
    if (value.len != ROW_BYTES_SHORT && value.len != ROW_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "projection: a row of %zu bytes, expected %d or %d", value.len,
                               ROW_BYTES_SHORT, ROW_BYTES);
    }
    uint64_t flags = value.len == ROW_BYTES ? quipu_load_be64(value.data + 48) : 0;
    if ((flags & ~FLAGS) != 0) {
        return quipu_error_set(err, QUIPU_CORRUPT, "projection: a row with unknown flags");
    }
    out->table = quipu_load_be32(value.data);
    out->beside = quipu_load_be32(value.data + 4);
    out->version = quipu_load_be64(value.data + 8);
    out->position = quipu_load_be64(value.data + 16);
    out->beside_version = quipu_load_be64(value.data + 24);
    out->beside_position = quipu_load_be64(value.data + 32);
    out->reacted = value.len == ROW_BYTES ? quipu_load_be64(value.data + 40) : 0;
    out->is_paused = (flags & FLAG_PAUSED) != 0;
    out->is_dropped = (flags & FLAG_DROPPED) != 0;
    out->is_causal = (flags & FLAG_CAUSAL) != 0;
    return QUIPU_OK;
}

static enum quipu_status never_replayed(const char *name, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NOT_FOUND,
                           "projection %s has never been replayed in this store", name);
}

enum quipu_status registry_get_any(struct quipu_txn *txn, const char *name,
                                   struct registry_row *out, struct quipu_error *err)
{
    struct quipu_slice value;
    if (!name_is_token(quipu_slice_text(name), QUIPU_PROJECTION_NAME_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "no projection can have that name");
    }
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PROJECTIONS, quipu_slice_text(name), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return never_replayed(name, err);
    }
    return status == QUIPU_OK ? registry_decode(value, out, err) : status;
}

enum quipu_status registry_get(struct quipu_txn *txn, const char *name, struct registry_row *out,
                               struct quipu_error *err)
{
    struct registry_row row;
    enum quipu_status status = registry_get_any(txn, name, &row, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (row.is_dropped) {
        return never_replayed(name, err);
    }
    *out = row;
    return QUIPU_OK;
}

enum quipu_status registry_put(struct quipu_txn *txn, const char *name,
                               const struct registry_row *row, struct quipu_error *err)
{
    uint8_t value[ROW_BYTES];
    uint64_t flags = (row->is_paused ? FLAG_PAUSED : 0) | (row->is_dropped ? FLAG_DROPPED : 0) |
                     (row->is_causal ? FLAG_CAUSAL : 0);
    quipu_store_be32(value, row->table);
    quipu_store_be32(value + 4, row->beside);
    quipu_store_be64(value + 8, row->version);
    quipu_store_be64(value + 16, row->position);
    quipu_store_be64(value + 24, row->beside_version);
    quipu_store_be64(value + 32, row->beside_position);
    quipu_store_be64(value + 40, row->reacted);
    quipu_store_be64(value + 48, flags);
    size_t len = row->reacted == 0 && flags == 0 ? ROW_BYTES_SHORT : ROW_BYTES;
    return quipu_txn_table_put(txn, TABLE_PROJECTIONS, quipu_slice_text(name),
                               quipu_slice(value, len), err);
}

void registry_swap(struct registry_row *row)
{
    uint32_t old = row->table;
    row->table = row->beside;
    row->version = row->beside_version;
    row->position = row->beside_position;
    row->beside = old;
    row->beside_version = 0;
    row->beside_position = 0;
    row->is_causal = false;
}

enum quipu_status registry_is_paused(const char *name, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_PAUSED, "projection %s is paused; resume it first", name);
}

enum quipu_status registry_is_rebuilt(const char *name, struct quipu_error *err)
{
    return quipu_error_set(
        err, QUIPU_BUSY, "projection %s: another rebuild of it has begun; let that one end", name);
}

enum quipu_status registry_new_table(struct quipu_txn *txn, uint32_t *out, struct quipu_error *err)
{
    uint64_t next = 0;
    enum quipu_status status = meta_get_u64(txn, META_ROWS_NEXT, &next, err);
    if (status != QUIPU_OK) {
        return status;
    }
    next = next == 0 ? TABLE_ROWS_FIRST : next;
    if (next < TABLE_ROWS_FIRST || next > UINT32_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT, "meta row %s: no table number", META_ROWS_NEXT);
    }
    *out = (uint32_t)next;
    return meta_put_u64(txn, META_ROWS_NEXT, next + 1, err);
}

enum quipu_status registry_change(struct quipu_engine *engine, const char *name,
                                  registry_change_fn change, void *ctx, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct registry_row row;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        status = change(engine, txn, name, &row, ctx, err);
    }
    if (status == QUIPU_OK) {
        status = registry_put(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        return quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
