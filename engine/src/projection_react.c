/*
 * Side effects of a projection: its `react` is called for each event that took effect, once the
 * commit that made it so is durable, and a watermark in the registry says how far that has gone.
 *
 * The watermark is committed after the calls, so a crash in between brings the last ones again: at
 * least once. A rebuild does not move it, so what it applies again is not reacted to again. Reads
 * in slices like every walk over the log, and holds no write transaction while it calls.
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
#include "slice_budget.h"

struct reaction {
    struct lane *lane;
    struct quipu_txn *txn;
    struct generation generation;
    uint64_t next_skip;
    uint64_t watermark; /* as it is stored */
    uint64_t position;  /* reacted to up to here */
    uint64_t end;       /* the checkpoint */
};

static enum quipu_status skip_move(struct reaction *reaction, struct quipu_error *err)
{
    struct skip skip;
    enum quipu_status status =
        skip_next(reaction->txn, &reaction->generation, reaction->position, &skip, err);
    reaction->next_skip = status == QUIPU_OK ? skip.skip.position : UINT64_MAX;
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* Where the rows of this version stand, and the watermark. @retval QUIPU_DONE  they are not ours */
static enum quipu_status reaction_load(struct reaction *reaction, struct quipu_error *err)
{
    const struct quipu_projection *projection = reaction->lane->projection;
    struct registry_row row;
    enum quipu_status status = registry_get(reaction->txn, projection->name, &row, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_DONE : status;
    }
    if (row.version != projection->version || row.is_paused) {
        return QUIPU_DONE;
    }
    reaction->generation = (struct generation){projection->name, row.version, row.table};
    reaction->end = row.position;
    reaction->watermark = row.reacted;
    reaction->position =
        row.reacted > projection->react_after ? row.reacted : projection->react_after;
    if (reaction->position > reaction->end) {
        reaction->position = reaction->end;
    }
    if (reaction->watermark >= reaction->end) {
        return QUIPU_DONE;
    }
    return skip_move(reaction, err);
}

static enum quipu_status event_react(const struct lane *lane, const struct quipu_record *record,
                                     struct quipu_error *why)
{
    const struct quipu_projection *projection = lane->projection;
    struct quipu_event_view view;
    enum quipu_status status = event_view_read(record, lane->skips_hashing, &view, why);
    if (status != QUIPU_OK) {
        return status;
    }
    why->message[0] = 0;
    if (projection->upcast != NULL) {
        status = projection->upcast(projection->upcast_ctx, &view, why);
    }
    if (status == QUIPU_OK) {
        status = projection->react(projection->ctx, &view, why);
    }
    if (status == QUIPU_DONE) {
        return quipu_error_set(why, QUIPU_MISUSE, "a reaction may not return QUIPU_DONE");
    }
    if (status != QUIPU_OK && why->message[0] == 0) {
        return quipu_error_set(why, status, "%s", quipu_status_text(status));
    }
    return status;
}

/* React to the next event. A failure of the reaction is kept in the lane. */
static enum quipu_status reaction_step(struct reaction *reaction, struct quipu_error *err)
{
    struct lane *lane = reaction->lane;
    struct quipu_record record;
    struct quipu_error why;
    enum quipu_status status =
        quipu_txn_record_at(reaction->txn, reaction->position + 1, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (record.position == reaction->next_skip) {
        reaction->position++;
        return skip_move(reaction, err);
    }
    if (lane_wants(lane, &record)) {
        status = event_react(lane, &record, &why);
    }
    if (status == QUIPU_OK) {
        reaction->position++;
        return QUIPU_OK;
    }
    lane->react_held =
        quipu_error_set(&lane->react_why, status,
                        "projection %s: its reaction to position %" PRIu64 " failed, and waits: %s",
                        lane->projection->name, record.position, why.message);
    return QUIPU_OK;
}

static enum quipu_status watermark_move(struct quipu_engine *engine, struct quipu_txn *txn,
                                        const char *name, struct registry_row *row, void *ctx,
                                        struct quipu_error *err)
{
    (void)engine;
    (void)txn;
    (void)name;
    const struct reaction *reaction = ctx;
    if (row->reacted >= reaction->position) {
        return QUIPU_DONE; /* another process was faster */
    }
    row->reacted = reaction->position;
    return quipu_failpoint("engine.replay.reacted", err);
}

/* One slice. @retval QUIPU_DONE  nothing is left to react to */
static enum quipu_status react_slice(struct reaction *reaction, struct quipu_error *err)
{
    struct lane *lane = reaction->lane;
    struct slice_budget budget;
    slice_budget_start(&budget);
    enum quipu_status status = quipu_txn_begin_read(lane->engine->store, &reaction->txn, err);
    if (status == QUIPU_OK) {
        status = reaction_load(reaction, err);
    }
    bool is_over = false;
    while (status == QUIPU_OK && lane->react_held == QUIPU_OK && !is_over &&
           reaction->position < reaction->end) {
        status = reaction_step(reaction, err);
        is_over = slice_budget_spend(&budget);
    }
    quipu_txn_abort(&reaction->txn);
    if (status == QUIPU_OK && reaction->position > reaction->watermark) {
        status =
            registry_change(lane->engine, lane->projection->name, watermark_move, reaction, err);
        status = status == QUIPU_NOT_FOUND ? QUIPU_DONE : status;
    }
    return status;
}

enum quipu_status lane_react(struct lane *lane, struct quipu_error *err)
{
    struct reaction reaction = {.lane = lane};
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && lane->projection->react != NULL && lane->react_held == QUIPU_OK) {
        status = react_slice(&reaction, err);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
