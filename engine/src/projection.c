/*
 * The registry of projections, and reading their rows: walk and digest. Each generation of a
 * projection's rows has a table number of its own, so a rebuild can fill a new one while readers go
 * on in the old one. Never applies an event (replay.c does).
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_impl.h"
#include "internal/bytes.h"
#include "registry.h"
#include "tables.h"

#define ROW_BYTES 40

/* ------------------------------------------------------------------ the registry */

enum quipu_status registry_decode(struct quipu_slice value, struct registry_row *out,
                                  struct quipu_error *err)
{
    if (value.len != ROW_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT, "projection: a row of %zu bytes, expected %d",
                               value.len, ROW_BYTES);
    }
    out->table = quipu_load_be32(value.data);
    out->beside = quipu_load_be32(value.data + 4);
    out->version = quipu_load_be64(value.data + 8);
    out->position = quipu_load_be64(value.data + 16);
    out->beside_version = quipu_load_be64(value.data + 24);
    out->beside_position = quipu_load_be64(value.data + 32);
    return QUIPU_OK;
}

enum quipu_status registry_get(struct quipu_txn *txn, const char *name, struct registry_row *out,
                               struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PROJECTIONS, quipu_slice_text(name), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "projection %s has never been replayed in this store", name);
    }
    return status == QUIPU_OK ? registry_decode(value, out, err) : status;
}

enum quipu_status registry_put(struct quipu_txn *txn, const char *name,
                               const struct registry_row *row, struct quipu_error *err)
{
    uint8_t value[ROW_BYTES];
    quipu_store_be32(value, row->table);
    quipu_store_be32(value + 4, row->beside);
    quipu_store_be64(value + 8, row->version);
    quipu_store_be64(value + 16, row->position);
    quipu_store_be64(value + 24, row->beside_version);
    quipu_store_be64(value + 32, row->beside_position);
    return quipu_txn_table_put(txn, TABLE_PROJECTIONS, quipu_slice_text(name),
                               quipu_slice(value, sizeof value), err);
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

/* ------------------------------------------------------------------ reading rows */

/* Call `visit` for each row of a table. */
static enum quipu_status rows_visit(struct quipu_txn *txn, uint32_t table,
                                    struct quipu_slice prefix, quipu_row_fn visit, void *ctx,
                                    struct quipu_error *err)
{
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status =
        quipu_table_walk_open(txn, (struct quipu_table){table}, prefix, &walk, err);
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            status = visit(ctx, key, value, err);
        }
    }
    quipu_table_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status quipu_projection_each_row(struct quipu_engine *engine, const char *name,
                                            struct quipu_slice prefix, quipu_row_fn visit,
                                            void *ctx, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    struct registry_row row;
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        status = rows_visit(txn, row.table, prefix, visit, ctx, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ the digest */

struct digest_state {
    struct quipu_sha256_stream stream;
    uint64_t rows;
};

static void digest_u64(struct quipu_sha256_stream *stream, uint64_t value)
{
    uint8_t bytes[8];
    quipu_store_be64(bytes, value);
    quipu_sha256_stream_update(stream, quipu_slice(bytes, sizeof bytes));
}

static void digest_bytes(struct quipu_sha256_stream *stream, struct quipu_slice bytes)
{
    digest_u64(stream, bytes.len);
    quipu_sha256_stream_update(stream, bytes);
}

static enum quipu_status digest_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                    struct quipu_error *err)
{
    (void)err;
    struct digest_state *state = ctx;
    digest_bytes(&state->stream, key);
    digest_bytes(&state->stream, value);
    state->rows++;
    return QUIPU_OK;
}

enum quipu_status projection_digest(struct quipu_engine *engine, const char *name,
                                    struct quipu_replay_report *report, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    struct registry_row row;
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status != QUIPU_OK) {
        goto done;
    }
    struct digest_state state = {.rows = 0};
    quipu_sha256_stream_init(&state.stream);
    digest_bytes(&state.stream, quipu_slice_text("quipu projection 1"));
    digest_bytes(&state.stream, quipu_slice_text(name));
    digest_u64(&state.stream, row.version);
    digest_u64(&state.stream, row.position);
    status = rows_visit(txn, row.table, quipu_slice(NULL, 0), digest_row, &state, err);
    quipu_sha256_stream_final(&state.stream, report->digest);
    report->rows = state.rows;
    report->position = row.position;
done:
    quipu_txn_abort(&txn);
    return status;
}
