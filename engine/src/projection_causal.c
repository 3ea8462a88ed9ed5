/*
 * Replay in causal order (causal.c): always a rebuild, since one event that comes in later may
 * belong anywhere. A second table is filled beside the first, in slices as those of
 * projection_lane.c, and made the first when all events of the snapshot are applied; its checkpoint
 * is then the end of that snapshot, so two stores that hold the same events reach the same digest.
 *
 * While it is filled, the row says that the rebuild beside is causal: whoever finds it after a
 * crash clears it and never goes on with it by position. An event that fails ends the
 * replay; the old rows stay, and nothing is parked.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "engine_impl.h"
#include "event_checked.h"
#include "internal/failpoint.h"
#include "projection_lane.h"
#include "quipu/causal.h"
#include "slice_budget.h"

#define BYTES_MAX ((size_t)8 << 20)

struct causal_replay {
    struct lane lane;
    const struct quipu_replay_options *options;
    struct quipu_causal *order;
    uint64_t walked;
    struct pace pace;
};

/* ------------------------------------------------------------------ its row */

static enum quipu_status row_check(const struct causal_replay *replay,
                                   const struct registry_row *row, struct quipu_error *err)
{
    const char *name = replay->lane.projection->name;
    if (row->is_paused) {
        return registry_is_paused(name, err);
    }
    if (row->beside != replay->lane.shadow || !row->is_causal) {
        return registry_is_rebuilt(name, err);
    }
    return QUIPU_OK;
}

static enum quipu_status mark_as_causal(struct quipu_engine *engine, struct quipu_txn *txn,
                                        const char *name, struct registry_row *row, void *ctx,
                                        struct quipu_error *err)
{
    (void)engine;
    (void)txn;
    const struct causal_replay *replay = ctx;
    if (row->beside != replay->lane.shadow ||
        row->beside_version != replay->lane.projection->version || row->beside_position != 0) {
        return registry_is_rebuilt(name, err);
    }
    row->is_causal = true;
    return QUIPU_OK;
}

/* An empty table beside. A projection that is new gets its first table on the way. */
static enum quipu_status shadow_make(struct causal_replay *replay, struct quipu_error *err)
{
    struct lane *lane = &replay->lane;
    enum quipu_status status = lane_begin(lane, QUIPU_REPLAY_REBUILD, err);
    if (status == QUIPU_OK && lane->shadow == 0) {
        status = lane_begin(lane, QUIPU_REPLAY_REBUILD, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    lane->generation =
        (struct generation){lane->projection->name, lane->projection->version, lane->shadow};
    return registry_change(lane->engine, lane->projection->name, mark_as_causal, replay, err);
}

/* ------------------------------------------------------------------ one event */

static enum quipu_status is_skipped(const struct lane *lane, struct quipu_txn *txn,
                                    uint64_t position, bool *skipped, struct quipu_error *err)
{
    struct skip skip;
    enum quipu_status status = skip_next(txn, &lane->generation, position - 1, &skip, err);
    *skipped = status == QUIPU_OK && skip.skip.position == position;
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status event_apply(struct lane *lane, const struct quipu_record *record,
                                     struct quipu_error *err)
{
    const struct quipu_projection *projection = lane->projection;
    struct quipu_event_view view;
    enum quipu_status status = event_view_read(record, lane->skips_hashing, &view, err);
    if (status == QUIPU_OK && projection->upcast != NULL) {
        status = projection->upcast(projection->upcast_ctx, &view, err);
    }
    if (status == QUIPU_OK) {
        rows_event_begin(&lane->rows);
        status = projection->apply(projection->ctx, &lane->rows, &view, err);
        lane->applied += status == QUIPU_OK;
    }
    if (status == QUIPU_DONE) {
        return quipu_error_set(err, QUIPU_MISUSE, "its handler may not return QUIPU_DONE");
    }
    return status;
}

/* @retval QUIPU_DONE  all are applied */
static enum quipu_status next_apply(struct causal_replay *replay, struct quipu_txn *txn,
                                    struct quipu_error *err)
{
    struct lane *lane = &replay->lane;
    struct quipu_record record;
    struct quipu_error why = {0};
    uint64_t position = 0;
    bool skipped = false;
    enum quipu_status status = quipu_causal_next(replay->order, &position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_record_at(txn, position, &record, &why);
    if (status == QUIPU_OK && lane_wants(lane, &record)) {
        status = is_skipped(lane, txn, position, &skipped, &why);
        if (status == QUIPU_OK && !skipped) {
            status = event_apply(lane, &record, &why);
        }
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, status,
                               "projection %s stopped in front of position %" PRIu64 ": %s",
                               lane->projection->name, position,
                               why.message[0] == 0 ? quipu_status_text(status) : why.message);
    }
    replay->walked++;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ one slice */

static bool is_over(const struct causal_replay *replay)
{
    return replay->walked == quipu_causal_count(replay->order);
}

static enum quipu_status slice_apply(struct causal_replay *replay, struct quipu_error *err)
{
    struct lane *lane = &replay->lane;
    struct quipu_txn *txn = NULL;
    struct slice_budget budget;
    enum quipu_status status = quipu_txn_begin_read(lane->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        rows_attach(&lane->rows, txn, (struct quipu_table){lane->shadow});
    }
    slice_budget_start(&budget);
    bool is_full = false;
    while (status == QUIPU_OK && !is_full && !is_over(replay)) {
        status = next_apply(replay, txn, err);
        is_full = slice_budget_spend(&budget) || lane->rows.bytes >= BYTES_MAX;
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Readers do not go back in time. */
static enum quipu_status row_swap(const struct causal_replay *replay, struct registry_row *row,
                                  struct quipu_error *err)
{
    const struct quipu_projection *projection = replay->lane.projection;
    if (row->position > replay->walked) {
        return quipu_error_set(err, QUIPU_BUSY,
                               "projection %s: it was brought up to position %" PRIu64 " while its "
                               "first %" PRIu64 " events were replayed; run it again",
                               projection->name, row->position, replay->walked);
    }
    registry_swap(row);
    return QUIPU_OK;
}

static enum quipu_status slice_commit(struct causal_replay *replay, struct quipu_error *err)
{
    struct lane *lane = &replay->lane;
    const char *name = lane->projection->name;
    struct quipu_txn *txn = NULL;
    struct registry_row row;
    enum quipu_status status = quipu_txn_begin_write(lane->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        status = row_check(replay, &row, err);
    }
    if (status == QUIPU_OK) {
        rows_attach(&lane->rows, txn, (struct quipu_table){lane->shadow});
        status = rows_flush(&lane->rows, err);
    }
    if (status == QUIPU_OK) {
        row.beside_position = replay->walked;
        status = is_over(replay) ? row_swap(replay, &row, err) : QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        status = registry_put(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.replay.causal", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    rows_discard(&lane->rows);
    return status;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status slices_run(struct causal_replay *replay, struct quipu_error *err)
{
    const struct quipu_replay_options *options = replay->options;
    enum quipu_status status = QUIPU_OK;
    bool has_swapped = false;
    replay->pace.began_ns = slice_now_ns();
    while (status == QUIPU_OK && !has_swapped) {
        if (options->stop != NULL && options->stop(options->ctx)) {
            return quipu_error_set(err, QUIPU_STOPPED, "projection %s: stopped on request",
                                   replay->lane.projection->name);
        }
        status = slice_apply(replay, err);
        if (status == QUIPU_OK) {
            status = slice_commit(replay, err);
            has_swapped = status == QUIPU_OK && is_over(replay);
        }
        if (status == QUIPU_OK && options->progress != NULL) {
            replay->lane.position = replay->walked;
            replay->pace.done = replay->walked;
            replay->pace.gone_over = replay->walked;
            struct quipu_replay_progress progress = pace_tell(
                &replay->pace, &replay->lane, quipu_causal_count(replay->order) - replay->walked);
            options->progress(options->ctx, &progress);
        }
    }
    return status;
}

enum quipu_status lane_replay_causal(struct quipu_engine *engine,
                                     const struct quipu_projection *projection,
                                     const struct quipu_replay_options *options, uint64_t *applied,
                                     struct quipu_error *err)
{
    struct causal_replay replay = {.options = options};
    if (options->until != 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "projection: a replay in causal order has no end by position");
    }
    enum quipu_status status = lane_init(&replay.lane, engine, projection, err);
    replay.lane.skips_hashing = options->skips_hashing;
    if (status == QUIPU_OK) {
        status = shadow_make(&replay, err);
    }
    bool has_shadow = status == QUIPU_OK;
    if (status == QUIPU_OK) {
        status = quipu_causal_open(engine, &replay.order, err);
    }
    if (status == QUIPU_OK) {
        status = slices_run(&replay, err);
    }
    if (has_shadow) {
        /* After a swap these are the old rows, else what was filled so far; not another's. */
        struct quipu_error why;
        enum quipu_status cleared =
            beside_clear(engine, projection->name, replay.lane.shadow, &why);
        if (status == QUIPU_OK && cleared != QUIPU_OK) {
            status = quipu_error_set(err, cleared, "%s", why.message);
        }
    }
    *applied = replay.lane.applied;
    quipu_causal_close(&replay.order);
    lane_release(&replay.lane);
    return status;
}
