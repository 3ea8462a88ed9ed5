/*
 * Loading an aggregate:
 *
 *  1. Make an empty state; where there is a snapshot that agrees with the log, restore it.
 *  2. Fold the aggregate's events behind it, in the order of their positions.
 *  3. Where enough were folded, write a snapshot.
 *
 * Positions, not versions, say what is behind a snapshot: so a fork that came in later is folded
 * too. Callbacks run in read transactions, which end and begin again as slices go.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "engine_impl.h"
#include "event_check.h"
#include "event_checked.h"
#include "slice_budget.h"
#include "snapshot.h"

enum quipu_status aggregate_kind_check(const struct quipu_aggregate_kind *kind,
                                       const char *aggregate_id, struct quipu_error *err)
{
    if (kind->create == NULL || kind->apply == NULL || kind->destroy == NULL ||
        (kind->snapshot_every > 0 && (kind->save == NULL || kind->restore == NULL))) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "aggregate kind: create, apply and destroy are needed, and for "
                               "snapshots save and restore");
    }
    if (!name_is_token(quipu_slice_text(kind->aggregate_type), QUIPU_AGGREGATE_TYPE_BYTES_MAX) ||
        !name_is_aggregate_id(quipu_slice_text(aggregate_id))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "no such name of an aggregate: a type of a-z, 0-9, _ and -, and an "
                               "id of UTF-8 without control characters");
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ folding */

static enum quipu_status record_fold(const struct quipu_aggregate_kind *kind,
                                     const struct quipu_record *record, struct quipu_loaded *loaded,
                                     struct quipu_error *err)
{
    struct quipu_event_view view;
    enum quipu_status status = event_view_checked(record, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (kind->upcast != NULL) {
        status = kind->upcast(kind->upcast_ctx, &view, err);
    }
    if (status == QUIPU_OK) {
        status = kind->apply(kind->ctx, loaded->state, &view, err);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "%s/%.*s version %" PRIu64, kind->aggregate_type,
                                QUIPU_SLICE_FMT(record->aggregate.id), record->version);
    }
    loaded->version = record->version;
    loaded->position = record->position;
    loaded->folded++;
    return QUIPU_OK;
}

enum quipu_status aggregate_advance(struct quipu_engine *engine,
                                    const struct quipu_aggregate_kind *kind,
                                    struct quipu_aggregate aggregate, struct quipu_loaded *loaded,
                                    struct quipu_error *err)
{
    const struct quipu_aggregate_range range = {
        .aggregate = aggregate,
        .position_min = loaded->position + 1,
    };
    struct quipu_txn *txn = NULL;
    struct quipu_aggregate_walk *walk = NULL;
    struct slice_budget budget;
    slice_budget_start(&budget);
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_aggregate_walk_open(txn, &range, &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_record record;
        if (slice_budget_spend(&budget)) {
            quipu_txn_abort(&txn);
            slice_budget_start(&budget);
            status = quipu_txn_begin_read(engine->store, &txn, err);
            if (status != QUIPU_OK) {
                break;
            }
            quipu_aggregate_walk_resume(walk, txn);
        }
        status = quipu_aggregate_walk_next(walk, &record, err);
        if (status == QUIPU_OK) {
            status = record_fold(kind, &record, loaded, err);
            /* An iteration's word for its end, but said by a callback. */
            status = status == QUIPU_DONE ? QUIPU_INVALID : status;
        }
    }
    quipu_aggregate_walk_close(&walk);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ beginning */

static enum quipu_status state_renew(const struct quipu_aggregate_kind *kind,
                                     struct quipu_loaded *loaded, struct quipu_error *err)
{
    quipu_loaded_release(kind, loaded);
    return kind->create(kind->ctx, &loaded->state, err);
}

/* Begin with a snapshot where there is a good one, else with nothing. */
static enum quipu_status snapshot_restore(struct quipu_engine *engine,
                                          const struct quipu_aggregate_kind *kind,
                                          struct quipu_aggregate aggregate,
                                          struct quipu_loaded *loaded, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct snapshot_row row;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = snapshot_find(txn, aggregate, kind->snapshot_schema, &row, &loaded->snapshot, err);
    }
    if (status == QUIPU_OK && loaded->snapshot == QUIPU_SNAPSHOT_USED) {
        struct quipu_error why = {.status = QUIPU_OK};
        if (kind->restore(kind->ctx, loaded->state, row.state, &why) == QUIPU_OK) {
            loaded->version = row.version;
            loaded->position = row.position;
            loaded->snapshot_version = row.version;
        } else {
            loaded->snapshot = QUIPU_SNAPSHOT_DAMAGED;
            status = state_renew(kind, loaded, err);
        }
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status aggregate_load(struct quipu_engine *engine,
                                 const struct quipu_aggregate_kind *kind,
                                 struct quipu_aggregate aggregate, struct quipu_loaded *loaded,
                                 struct quipu_error *err)
{
    *loaded = (struct quipu_loaded){.state = NULL};
    enum quipu_status status = state_renew(kind, loaded, err);
    if (status == QUIPU_OK && kind->snapshot_every > 0) {
        status = snapshot_restore(engine, kind, aggregate, loaded, err);
        if (status == QUIPU_OK) {
            snapshot_count(engine, loaded->snapshot);
        }
    }
    if (status == QUIPU_OK) {
        status = aggregate_advance(engine, kind, aggregate, loaded, err);
    }
    if (status != QUIPU_OK) {
        quipu_loaded_release(kind, loaded);
    }
    return status;
}

/* ------------------------------------------------------------------ public */

enum quipu_status quipu_aggregate_load(struct quipu_engine *engine,
                                       const struct quipu_aggregate_kind *kind,
                                       const char *aggregate_id, struct quipu_loaded *out,
                                       struct quipu_error *err)
{
    enum quipu_status status = aggregate_kind_check(kind, aggregate_id, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_aggregate aggregate = {quipu_slice_text(kind->aggregate_type),
                                        quipu_slice_text(aggregate_id)};
    struct quipu_loaded loaded;
    status = aggregate_load(engine, kind, aggregate, &loaded, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (aggregate_is_due(kind, loaded.folded)) {
        snapshot_write(engine, kind, aggregate, &loaded);
    }
    *out = loaded;
    return QUIPU_OK;
}

void quipu_loaded_release(const struct quipu_aggregate_kind *kind, struct quipu_loaded *loaded)
{
    if (loaded->state != NULL) {
        kind->destroy(kind->ctx, loaded->state);
        loaded->state = NULL;
    }
}
