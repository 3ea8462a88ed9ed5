/*
 * How projections are, and pausing them. Reads what the store knows by name; never needs the
 * projection's own code.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "engine_impl.h"
#include "registry.h"
#include "row_codec.h"
#include "tables.h"

const char *quipu_projection_state_text(enum quipu_projection_state state)
{
    switch (state) {
    case QUIPU_PROJECTION_LIVE:
        return "live";
    case QUIPU_PROJECTION_CATCHING_UP:
        return "catching up";
    case QUIPU_PROJECTION_REBUILDING:
        return "rebuilding";
    case QUIPU_PROJECTION_PAUSED:
        return "paused";
    case QUIPU_PROJECTION_PARKED:
        return "parked";
    }
    return "";
}

/* What this table is parked in front of, if it is. */
static enum quipu_status parked_look(struct quipu_txn *txn, struct quipu_projection_status *out,
                                     uint32_t table, uint64_t version, struct quipu_error *err)
{
    struct park park;
    enum quipu_status status = park_get(txn, out->name, table, &park, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    size_t len =
        park.line.len < sizeof out->parked_line - 1 ? park.line.len : sizeof out->parked_line - 1;
    out->parked_position = park.position;
    out->parked_version = version;
    out->parked_status = park.status;
    out->parked_unix_us = park.unix_us;
    memcpy(out->parked_line, park.line.data, len);
    out->parked_line[len] = 0;
    return QUIPU_OK;
}

static enum quipu_projection_state state_of(const struct registry_row *row,
                                            const struct quipu_projection_status *status)
{
    if (row->is_paused) {
        return QUIPU_PROJECTION_PAUSED;
    }
    bool is_own = row->beside_version == row->version || row->is_causal;
    if (status->parked_position != 0 && !(status->parked_is_shadow && is_own)) {
        return QUIPU_PROJECTION_PARKED;
    }
    if (status->shadow_version != 0 && !status->shadow_is_left_over) {
        return QUIPU_PROJECTION_REBUILDING;
    }
    return status->lag == 0 ? QUIPU_PROJECTION_LIVE : QUIPU_PROJECTION_CATCHING_UP;
}

/* All but the name. */
static enum quipu_status status_fill(struct quipu_engine *engine, struct quipu_txn *txn,
                                     const struct registry_row *row,
                                     struct quipu_projection_status *out, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    out->version = row->version;
    out->position = row->position;
    out->lag = last > row->position ? last - row->position : 0;
    out->reacted = row->reacted;
    out->shadow_version = row->beside_version;
    out->shadow_position = row->beside_position;
    out->shadow_is_causal = row->beside_version != 0 && row->is_causal;
    out->parked_position = 0;
    out->parked_is_shadow = false;
    const struct generation generation = {out->name, row->version, row->table};
    enum quipu_status status =
        skips_visit(txn, &generation, row->position, NULL, &out->skipped, err);
    if (status == QUIPU_OK) {
        status = parked_look(txn, out, row->table, row->version, err);
    }
    if (status == QUIPU_OK && row->beside_version != 0 && out->parked_position == 0) {
        status = parked_look(txn, out, row->beside, row->beside_version, err);
        out->parked_is_shadow = out->parked_position != 0;
    }
    if (status == QUIPU_OK) {
        status = beside_is_left_over(engine, row, &out->shadow_is_left_over, err);
    }
    out->state = state_of(row, out);
    return status;
}

enum quipu_status quipu_projection_status(struct quipu_engine *engine, const char *name,
                                          struct quipu_projection_status *out,
                                          struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct registry_row row;
    struct quipu_projection_status found = {.state = QUIPU_PROJECTION_LIVE};
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        memcpy(found.name, name, strlen(name));
        status = status_fill(engine, txn, &row, &found, err);
    }
    if (status == QUIPU_OK) {
        *out = found;
    }
    quipu_txn_abort(&txn);
    return status;
}

/* One row of the registry. @retval QUIPU_NOT_FOUND  it is being dropped */
static enum quipu_status status_of_row(struct quipu_engine *engine, struct quipu_txn *txn,
                                       struct quipu_slice name, struct quipu_slice value,
                                       struct quipu_projection_status *out, struct quipu_error *err)
{
    struct registry_row row;
    *out = (struct quipu_projection_status){.state = QUIPU_PROJECTION_LIVE};
    if (name.len > QUIPU_PROJECTION_NAME_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT, "projection: a name of %zu bytes", name.len);
    }
    enum quipu_status status = registry_decode(value, &row, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (row.is_dropped) {
        return QUIPU_NOT_FOUND;
    }
    memcpy(out->name, name.data, name.len);
    return status_fill(engine, txn, &row, out, err);
}

enum quipu_status quipu_each_projection(struct quipu_engine *engine, quipu_projection_fn visit,
                                        void *ctx, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_table_walk_open(txn, TABLE_PROJECTIONS, quipu_slice(NULL, 0), &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_slice name;
        struct quipu_slice value;
        struct quipu_projection_status found;
        status = quipu_table_walk_next(walk, &name, &value, err);
        if (status != QUIPU_OK) {
            break;
        }
        status = status_of_row(engine, txn, name, value, &found, err);
        if (status == QUIPU_NOT_FOUND) {
            status = QUIPU_OK;
        } else if (status == QUIPU_OK) {
            status = visit(ctx, &found, err);
        }
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ pausing */

static enum quipu_status pause_set(struct quipu_engine *engine, struct quipu_txn *txn,
                                   const char *name, struct registry_row *row, void *ctx,
                                   struct quipu_error *err)
{
    (void)engine;
    (void)txn;
    (void)name;
    (void)err;
    const bool *is_paused = ctx;
    if (row->is_paused == *is_paused) {
        return QUIPU_DONE;
    }
    row->is_paused = *is_paused;
    return QUIPU_OK;
}

enum quipu_status quipu_projection_pause(struct quipu_engine *engine, const char *name,
                                         struct quipu_error *err)
{
    bool is_paused = true;
    return registry_change(engine, name, pause_set, &is_paused, err);
}

enum quipu_status quipu_projection_resume(struct quipu_engine *engine, const char *name,
                                          struct quipu_error *err)
{
    bool is_paused = false;
    return registry_change(engine, name, pause_set, &is_paused, err);
}
