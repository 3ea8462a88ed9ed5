/*
 * Reading a projection's rows: the walk, the look at some of them and the digest, each in one
 * snapshot. Never changes a row.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_impl.h"
#include "internal/bytes.h"
#include "registry.h"
#include "rows.h"

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

enum quipu_status quipu_projection_read_rows(struct quipu_engine *engine, const char *name,
                                             quipu_rows_fn look, void *ctx, struct quipu_error *err)
{
    if (engine == NULL || name == NULL || look == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "reading rows needs an engine, a name and a "
                               "callback");
    }
    struct quipu_txn *txn = NULL;
    struct quipu_rows rows;
    struct registry_row row;
    rows_init(&rows);
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        rows_attach(&rows, txn, (struct quipu_table){row.table});
        rows.is_read_only = true;
        status = look(ctx, &rows, err);
    }
    rows_release(&rows);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ the digest */

struct digest_state {
    struct quipu_sha256_stream stream;
    uint64_t rows;
    uint64_t skipped;
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

enum quipu_status skips_visit(struct quipu_txn *txn, const struct generation *generation,
                              uint64_t position, struct quipu_sha256_stream *stream,
                              uint64_t *count, struct quipu_error *err)
{
    struct skip skip = {.skip = {.position = 0}};
    *count = 0;
    for (;;) {
        enum quipu_status status = skip_next(txn, generation, skip.skip.position, &skip, err);
        if (status == QUIPU_DONE || (status == QUIPU_OK && skip.skip.position > position)) {
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        ++*count;
        if (stream != NULL) {
            uint8_t cid[QUIPU_CID_BYTES];
            quipu_cid_to_bytes(&skip.skip.cid, cid);
            digest_u64(stream, skip.skip.position);
            digest_bytes(stream, quipu_slice(cid, sizeof cid));
        }
    }
}

/* All in front of the rows. A digest without skips says nothing of them; one with skips begins
 * otherwise, so that neither can be taken for the other. */
static enum quipu_status digest_head(struct digest_state *state, struct quipu_txn *txn,
                                     const struct generation *generation, uint64_t position,
                                     struct quipu_error *err)
{
    struct quipu_sha256_stream *stream = &state->stream;
    enum quipu_status status = skips_visit(txn, generation, position, NULL, &state->skipped, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *kind = state->skipped == 0 ? "quipu projection 1" : "quipu projection 2";
    digest_bytes(stream, quipu_slice_text(kind));
    digest_bytes(stream, quipu_slice_text(generation->name));
    digest_u64(stream, generation->version);
    digest_u64(stream, position);
    if (state->skipped == 0) {
        return QUIPU_OK;
    }
    digest_u64(stream, state->skipped);
    return skips_visit(txn, generation, position, stream, &state->skipped, err);
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
    const struct generation generation = {name, row.version, row.table};
    struct digest_state state = {.rows = 0};
    quipu_sha256_stream_init(&state.stream);
    status = digest_head(&state, txn, &generation, row.position, err);
    if (status == QUIPU_OK) {
        status = rows_visit(txn, row.table, quipu_slice(NULL, 0), digest_row, &state, err);
    }
    quipu_sha256_stream_final(&state.stream, report->digest);
    report->rows = state.rows;
    report->position = row.position;
    report->skipped = state.skipped;
done:
    quipu_txn_abort(&txn);
    return status;
}
