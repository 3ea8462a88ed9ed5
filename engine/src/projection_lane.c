/*
 * The slice: events become changes of rows, and the changes become durable with the checkpoint. One
 * pass over the log feeds every lane whose checkpoint it passes.
 *
 *  1. In a read transaction, look where each lane stands: its table, its checkpoint, what it skips.
 *  2. Apply events behind the hindmost checkpoint to changes in memory (rows.c). Others append and
 *     read meanwhile, however slow a handler is; the read transaction is renewed now and then.
 *  3. In a write transaction, see that each lane still stands where it stood, write its changes in
 *     the order of their keys and its new checkpoint, commit.
 *
 * A lane that another replay was faster with (3) forgets its changes and looks again: each slice
 * takes effect once. An event whose handler fails is taken back; the ones before it are committed
 * together with the note that the projection is parked in front of it. The slice of a rebuild that
 * reaches the end of the log makes its table the first.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "projection_lane.h"

#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_checked.h"
#include "internal/failpoint.h"
#include "slice_budget.h"

/* The clock is looked at once in so many events. */
#define CLOCK_EVERY 16

/* Slices are not made smaller than that, but where options ask for it. */
#define BYTES_LEAST ((size_t)64 << 10)

bool status_is_passing(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_STOPPED:
    case QUIPU_BUSY:
    case QUIPU_NO_MEMORY:
    case QUIPU_IO:
    case QUIPU_NO_SPACE:
    case QUIPU_PERMISSION:
    case QUIPU_NO_RANDOM:
        return true;
    default:
        return false;
    }
}

/* ------------------------------------------------------------------ where a lane stands */

/* The rows of the rebuild beside must still be this lane's. */
static enum quipu_status shadow_load(struct lane *lane, const struct registry_row *row,
                                     struct quipu_error *err)
{
    const struct quipu_projection *projection = lane->projection;
    if (row->beside != lane->shadow || row->beside_version != projection->version ||
        row->is_causal) {
        return registry_is_rebuilt(projection->name, err);
    }
    lane->from = row->beside_position;
    lane->generation = (struct generation){projection->name, projection->version, row->beside};
    return QUIPU_OK;
}

static enum quipu_status first_load(struct lane *lane, const struct registry_row *row,
                                    struct quipu_error *err)
{
    const struct quipu_projection *projection = lane->projection;
    if (row->version != projection->version) {
        lane->is_replaced = true;
        return quipu_error_set(err, QUIPU_BUSY,
                               "projection %s: it was rebuilt as version %" PRIu64
                               " while version %" PRIu64 " was being replayed",
                               projection->name, row->version, projection->version);
    }
    lane->from = row->position;
    lane->generation = (struct generation){projection->name, projection->version, row->table};
    return QUIPU_OK;
}

static enum quipu_status skip_load(const struct lane *lane, struct quipu_txn *txn, uint64_t after,
                                   uint64_t *position, struct quipu_error *err)
{
    struct skip skip;
    enum quipu_status status = skip_next(txn, &lane->generation, after, &skip, err);
    *position = status == QUIPU_OK ? skip.skip.position : UINT64_MAX;
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status lane_load(struct lane *lane, struct quipu_txn *txn,
                                   struct quipu_error *err)
{
    const char *name = lane->projection->name;
    struct registry_row row;
    enum quipu_status status = registry_get(txn, name, &row, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (row.is_paused) {
        return registry_is_paused(name, err);
    }
    if (lane->shadow != 0 && row.table == lane->shadow) {
        lane->shadow = 0; /* another replay filled it too, and was first at the end */
    }
    status = lane->shadow != 0 ? shadow_load(lane, &row, err) : first_load(lane, &row, err);
    if (status == QUIPU_OK) {
        status = park_check(txn, name, lane->generation.table, err);
    }
    if (status == QUIPU_OK) {
        status = skip_load(lane, txn, lane->from, &lane->first_skip, err);
    }
    lane->position = lane->from;
    lane->next_skip = lane->first_skip;
    return status;
}

/* What holds a lane up without harm to the others. */
static bool status_holds(enum quipu_status status)
{
    return status == QUIPU_PARKED || status == QUIPU_PAUSED || status == QUIPU_BUSY ||
           status == QUIPU_NOT_FOUND;
}

static void lane_hold(struct lane *lane, const struct quipu_error *why)
{
    lane->held = why->status;
    lane->why = *why;
    lane->is_in = false;
}

static enum quipu_status lanes_load(struct slice *slice, struct quipu_txn *txn,
                                    struct quipu_error *err)
{
    slice->end = quipu_txn_last_position(txn);
    if (slice->until != 0 && slice->until < slice->end) {
        slice->end = slice->until;
    }
    for (size_t i = 0; i < slice->count; i++) {
        struct lane *lane = &slice->lanes[i];
        struct quipu_error why;
        lane->is_in = lane->held == QUIPU_OK;
        lane->is_spent = false;
        lane->is_parked = false;
        lane->wanted = 0;
        if (!lane->is_in) {
            continue;
        }
        lane->is_stuck = false;
        enum quipu_status status = lane_load(lane, txn, &why);
        if (status_holds(status)) {
            lane_hold(lane, &why);
        } else if (status != QUIPU_OK) {
            return quipu_error_set(err, status, "%s", why.message);
        } else {
            rows_attach(&lane->rows, txn, (struct quipu_table){lane->generation.table});
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ applying */

/* An event of the pass: decoded when the first lane wants it. */
struct passing {
    struct quipu_txn *txn;
    const struct quipu_record *record;   /* NULL where it cannot be read */
    const struct block_digests *digests; /* NULL: not hashed */
    struct quipu_event_view view;
    bool has_view;
};

static enum quipu_status handler_call(struct lane *lane, const struct quipu_event_view *view,
                                      struct quipu_error *why)
{
    const struct quipu_projection *projection = lane->projection;
    if (projection->upcast == NULL) {
        return projection->apply(projection->ctx, &lane->rows, view, why);
    }
    struct quipu_event_view changed = *view;
    enum quipu_status status = projection->upcast(projection->upcast_ctx, &changed, why);
    return status == QUIPU_OK ? projection->apply(projection->ctx, &lane->rows, &changed, why)
                              : status;
}

static enum quipu_status event_view(const struct lane *lane, struct passing *event,
                                    struct quipu_error *why)
{
    if (event->has_view) {
        return QUIPU_OK;
    }
    enum quipu_status status =
        event->digests != NULL
            ? event_view_hashed(event->record, event->digests, &event->view, why)
            : event_view_read(event->record, lane->skips_hashing, &event->view, why);
    event->has_view = status == QUIPU_OK;
    return status;
}

static enum quipu_status event_apply(struct lane *lane, struct passing *event,
                                     struct quipu_error *why)
{
    rows_event_begin(&lane->rows);
    why->message[0] = 0;
    enum quipu_status status = handler_call(lane, &event->view, why);
    if (status == QUIPU_OK) {
        lane->wanted++;
        return QUIPU_OK;
    }
    rows_event_undo(&lane->rows);
    if (status == QUIPU_DONE) {
        return quipu_error_set(why, QUIPU_MISUSE, "its handler may not return QUIPU_DONE");
    }
    if (why->message[0] == 0) {
        return quipu_error_set(why, status, "%s", quipu_status_text(status));
    }
    return status;
}

/* The lane ends in front of the event at `position`. What the handler says of the event parks it;
 * damage in the log does not: the event may be sound again after a restore. */
static void lane_stop(struct lane *lane, uint64_t position, bool is_of_handler,
                      const struct quipu_error *why)
{
    enum quipu_status status = why->status;
    lane->is_spent = true;
    lane->is_parked = is_of_handler && !status_is_passing(status);
    lane->is_stuck = !is_of_handler;
    lane->park_status = status;
    lane->park_why = *why;
    lane->held = quipu_error_set(&lane->why, status,
                                 "projection %s stopped in front of position %" PRIu64 ": %s",
                                 lane->projection->name, position, why->message);
}

/* Move the lane over the event. */
static void lane_pass(struct lane *lane, struct passing *event, struct slice *slice)
{
    uint64_t position = event->record->position;
    struct quipu_error why;
    enum quipu_status status = QUIPU_OK;
    bool is_of_handler = false;
    if (position == lane->next_skip) {
        status = skip_load(lane, event->txn, position, &lane->next_skip, &why);
    } else if (lane_wants(lane, event->record)) {
        size_t before = lane->rows.bytes;
        status = event_view(lane, event, &why);
        if (status == QUIPU_OK) {
            is_of_handler = true;
            status = event_apply(lane, event, &why);
        }
        slice->bytes += lane->rows.bytes - before;
    }
    if (status != QUIPU_OK) {
        why.status = status;
        lane_stop(lane, position, is_of_handler, &why);
        return;
    }
    lane->position = position;
}

/* Where the pass begins; UINT64_MAX: no lane is behind the end. */
static uint64_t pass_from(const struct slice *slice)
{
    uint64_t from = UINT64_MAX;
    for (size_t i = 0; i < slice->count; i++) {
        const struct lane *lane = &slice->lanes[i];
        if (!lane->is_in || lane->position >= slice->end) {
            continue;
        }
        bool is_better = slice->begin_foremost ? lane->position > from : lane->position < from;
        if (from == UINT64_MAX || is_better) {
            from = lane->position;
        }
    }
    return from;
}

/* Will a lane look at the record? */
static bool slice_hashes(const void *ctx, const struct quipu_record *record)
{
    const struct slice *slice = ctx;
    for (size_t i = 0; i < slice->count; i++) {
        const struct lane *lane = &slice->lanes[i];
        if (lane->is_in && !lane->is_spent && !lane->skips_hashing &&
            lane->position < record->position && lane_wants(lane, record)) {
            return true;
        }
    }
    return false;
}

/* Show one event to the lanes in front of it. False where none goes on. */
static bool event_pass(struct slice *slice, struct passing *event, uint64_t position)
{
    const struct read_ahead_plan plan = {.last = slice->end, .hashes = slice_hashes, .ctx = slice};
    struct quipu_error why;
    enum quipu_status status =
        read_ahead_at(&slice->ahead, event->txn, position, &plan, &event->record, &why);
    bool goes_on = false;
    event->digests = read_ahead_digests(&slice->ahead, position);
    event->has_view = false;
    for (size_t i = 0; i < slice->count; i++) {
        struct lane *lane = &slice->lanes[i];
        if (!lane->is_in || lane->is_spent || lane->position >= position) {
            goes_on |= lane->is_in && !lane->is_spent;
            continue;
        }
        if (lane->position + 1 < position) {
            continue; /* behind where this pass began */
        }
        if (status == QUIPU_OK) {
            lane_pass(lane, event, slice);
        } else {
            lane_stop(lane, position, false, &why);
        }
        goes_on |= !lane->is_spent;
    }
    return goes_on;
}

/* A read transaction that is old makes the file grow: take a new one and look on there. Should
 * another replay have moved a lane meanwhile, its changes will not be committed. */
static enum quipu_status snapshot_renew(struct slice *slice, struct quipu_txn **txn,
                                        struct slice_budget *budget, struct quipu_error *err)
{
    quipu_txn_abort(txn);
    read_ahead_drop(&slice->ahead);
    slice_budget_start(budget);
    enum quipu_status status = quipu_txn_begin_read(slice->engine->store, txn, err);
    for (size_t i = 0; i < slice->count && status == QUIPU_OK; i++) {
        struct lane *lane = &slice->lanes[i];
        rows_attach(&lane->rows, *txn, (struct quipu_table){lane->generation.table});
    }
    return status;
}

static bool slice_is_full(const struct slice *slice, int64_t began_ns)
{
    return slice->events >= slice->events_max || slice->bytes >= slice->bytes_max ||
           (slice->events % CLOCK_EVERY == 0 && slice_now_ns() - began_ns >= slice->ns_max);
}

static enum quipu_status lanes_apply(struct slice *slice, struct quipu_txn **txn,
                                     struct quipu_error *err)
{
    struct passing event;
    struct slice_budget budget;
    uint64_t from = pass_from(slice);
    slice_budget_start(&budget);
    int64_t began_ns = budget.started_ns;
    slice->events = 0;
    slice->bytes = 0;
    read_ahead_drop(&slice->ahead);
    for (uint64_t position = from; from != UINT64_MAX && position < slice->end;) {
        event.txn = *txn;
        bool goes_on = event_pass(slice, &event, ++position);
        slice->events++;
        if (!goes_on || slice_is_full(slice, began_ns)) {
            break;
        }
        budget.events++;
        if (budget.events < SLICE_EVENTS_MAX &&
            (slice->events % CLOCK_EVERY != 0 ||
             slice_now_ns() - budget.started_ns < SLICE_NS_MAX)) {
            continue;
        }
        if (slice->stop != NULL && slice->stop(slice->ctx)) {
            break;
        }
        enum quipu_status status = snapshot_renew(slice, txn, &budget, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ committing */

static bool lane_is_swapping(const struct lane *lane, const struct slice *slice)
{
    return lane->shadow != 0 && !lane->is_spent && lane->position >= slice->end;
}

static bool lane_has_news(const struct lane *lane, const struct slice *slice)
{
    return lane->is_in &&
           (lane->position != lane->from || lane->is_parked || lane_is_swapping(lane, slice));
}

/* Does the lane still stand where the slice found it? Pauses, skips and parks count too. */
static enum quipu_status lane_is_current(const struct lane *lane, struct quipu_txn *txn,
                                         const struct registry_row *row, bool *is_current,
                                         struct quipu_error *err)
{
    const struct generation *generation = &lane->generation;
    struct park park;
    uint64_t first_skip = 0;
    *is_current = false;
    if (lane->shadow != 0
            ? row->beside != generation->table || row->beside_version != generation->version ||
                  row->beside_position != lane->from
            : row->table != generation->table || row->version != generation->version ||
                  row->position != lane->from) {
        return QUIPU_OK;
    }
    enum quipu_status status = park_get(txn, generation->name, generation->table, &park, err);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    status = skip_load(lane, txn, lane->from, &first_skip, err);
    *is_current = status == QUIPU_OK && !row->is_paused && first_skip == lane->first_skip;
    return status;
}

/* Move the checkpoint in `row`. */
static void row_move(struct lane *lane, const struct slice *slice, struct registry_row *row)
{
    if (lane->shadow == 0) {
        /* Where nothing happened that could be reacted to, the watermark comes along. */
        if (lane->wanted == 0 && row->reacted == row->position) {
            row->reacted = lane->position;
        }
        row->position = lane->position;
        return;
    }
    row->beside_position = lane->position;
    /* Readers do not go back in time, unless that is what `until` asks for. */
    if (lane_is_swapping(lane, slice) && (slice->until != 0 || lane->position >= row->position)) {
        registry_swap(row);
        lane->has_swapped = true;
    }
}

static enum quipu_status lane_write(struct lane *lane, const struct slice *slice,
                                    struct quipu_txn *txn, struct quipu_error *err)
{
    const char *name = lane->projection->name;
    struct registry_row row;
    bool is_current = false;
    enum quipu_status status = registry_get(txn, name, &row, err);
    if (status == QUIPU_OK) {
        status = lane_is_current(lane, txn, &row, &is_current, err);
    }
    if (status == QUIPU_NOT_FOUND || (status == QUIPU_OK && !is_current)) {
        rows_discard(&lane->rows);
        lane->is_in = false; /* another one was faster: look again */
        lane->held = QUIPU_OK;
        return QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        rows_attach(&lane->rows, txn, (struct quipu_table){lane->generation.table});
        status = rows_flush(&lane->rows, err);
    }
    if (status == QUIPU_OK) {
        row_move(lane, slice, &row);
        status = registry_put(txn, name, &row, err);
    }
    if (status == QUIPU_OK && lane->is_parked) {
        struct park park = {
            .position = lane->position + 1,
            .status = lane->park_status,
            .unix_us = lane->engine->clock.unix_us(lane->engine->clock.ctx),
            .line = quipu_slice_text(lane->park_why.message),
        };
        status = park_put(txn, name, lane->generation.table, &park, err);
    }
    return status;
}

static enum quipu_status lanes_commit(struct slice *slice, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(slice->engine->store, &txn, err);
    for (size_t i = 0; i < slice->count && status == QUIPU_OK; i++) {
        if (lane_has_news(&slice->lanes[i], slice)) {
            status = lane_write(&slice->lanes[i], slice, txn, err);
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.replay.slice", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* What the slice leaves in the lanes; `status` is the commit's. */
static void lanes_end(struct slice *slice, enum quipu_status status)
{
    slice->is_at_end = true;
    for (size_t i = 0; i < slice->count; i++) {
        struct lane *lane = &slice->lanes[i];
        rows_discard(&lane->rows);
        if (status != QUIPU_OK) {
            lane->has_swapped = false;
            continue;
        }
        if (lane->is_in) {
            lane->applied += lane->wanted;
            lane->shadow = lane->has_swapped ? 0 : lane->shadow;
        }
        if (lane->held == QUIPU_OK &&
            (!lane->is_in || lane->shadow != 0 || lane->position < slice->end)) {
            slice->is_at_end = false;
        }
    }
}

/* The store would not take so much at once, since the changes touch too many of its pages: as if
 * the slice had not been, and the next one is smaller. */
static void lanes_forget(struct slice *slice)
{
    slice->is_at_end = false;
    slice->events = 0;
    for (size_t i = 0; i < slice->count; i++) {
        struct lane *lane = &slice->lanes[i];
        lane->position = lane->from;
        lane->held = lane->is_spent ? QUIPU_OK : lane->held;
        lane->is_in = false;
    }
}

enum quipu_status lanes_slice(struct slice *slice, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    bool has_news = false;
    enum quipu_status status = quipu_txn_begin_read(slice->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = lanes_load(slice, txn, err);
    }
    if (status == QUIPU_OK) {
        status = lanes_apply(slice, &txn, err);
    }
    quipu_txn_abort(&txn);
    for (size_t i = 0; i < slice->count && status == QUIPU_OK; i++) {
        has_news |= lane_has_news(&slice->lanes[i], slice);
    }
    if (status == QUIPU_OK && has_news) {
        status = lanes_commit(slice, err);
    }
    lanes_end(slice, status);
    if (status == QUIPU_TOO_LARGE && slice->bytes_max > BYTES_LEAST) {
        slice->bytes_max /= 2;
        lanes_forget(slice);
        return QUIPU_OK;
    }
    return status;
}
