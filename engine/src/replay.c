/*
 * Replay: history becomes state, each event exactly once. One projection, slice after slice, until
 * it is at the end of the log; what a slice does is in projection_lane.c, where it begins in
 * projection_begin.c.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "engine_impl.h"
#include "projection_lane.h"
#include "slice_budget.h"

#define SLICE_US_DEFAULT 500000
#define SLICE_US_MAX     INT64_C(60000000)

enum quipu_status slice_limits(struct slice *slice, uint32_t events, int64_t us,
                               struct quipu_error *err)
{
    if (events > QUIPU_SLICE_EVENTS_MAX || us < 0 || us > SLICE_US_MAX) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a slice of %" PRIu32 " events and %" PRId64 " µs: at most %d and "
                               "%" PRId64 " are allowed",
                               events, us, QUIPU_SLICE_EVENTS_MAX, SLICE_US_MAX);
    }
    slice->events_max = events == 0 ? QUIPU_SLICE_EVENTS_MAX : events;
    slice->bytes_max = ROWS_CHANGES_BYTES_MAX;
    slice->ns_max = (us == 0 ? SLICE_US_DEFAULT : us) * 1000;
    return QUIPU_OK;
}

struct quipu_replay_progress pace_tell(const struct pace *pace, const struct lane *lane,
                                       uint64_t left)
{
    int64_t us = (slice_now_ns() - pace->began_ns) / 1000;
    struct quipu_replay_progress progress = {
        .projection = lane->projection,
        .position = lane->position,
        .done = pace->done,
        .total = pace->done + left,
        .left_us = left == 0 ? 0 : -1,
    };
    if (us > 0 && pace->gone_over > 0) {
        /* In floating point: these are figures for people, and products do not overflow. */
        double per_us = (double)pace->gone_over / (double)us;
        double left_us = (double)left / per_us;
        progress.per_second = (uint64_t)(per_us * 1e6);
        progress.left_us = left_us < 9e18 ? (int64_t)left_us : INT64_MAX;
    }
    return progress;
}

struct replay {
    struct lane lane;
    struct slice slice;
    struct pace pace;
    const struct quipu_replay_options *options;
};

static enum quipu_status replay_check(struct replay *replay, struct quipu_error *err)
{
    const struct quipu_replay_options *options = replay->options;
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "replay options of %zu bytes, want %zu: use "
                               "QUIPU_REPLAY_OPTIONS_INIT",
                               options->size, sizeof *options);
    }
    if ((unsigned)options->mode > QUIPU_REPLAY_CAUSAL) {
        return quipu_error_set(err, QUIPU_MISUSE, "replay: no such mode: %d", (int)options->mode);
    }
    replay->slice = (struct slice){
        .engine = replay->lane.engine,
        .lanes = &replay->lane,
        .count = 1,
        .until = options->until,
        .stop = options->stop,
        .ctx = options->ctx,
    };
    return slice_limits(&replay->slice, options->slice_events, options->slice_us, err);
}

static bool replay_is_stopped(const struct replay *replay)
{
    const struct quipu_replay_options *options = replay->options;
    return options->stop != NULL && options->stop(options->ctx);
}

/* Between two slices: tell how far it has come, react, clear what a swap left. */
static enum quipu_status replay_between(struct replay *replay, struct quipu_error *err)
{
    const struct quipu_replay_options *options = replay->options;
    struct lane *lane = &replay->lane;
    enum quipu_status status = QUIPU_OK;
    if (lane->has_swapped) {
        lane->has_swapped = false;
        status = beside_clear(lane->engine, lane->projection->name, 0, err);
    }
    if (status == QUIPU_OK) {
        status = lane_react(lane, err);
    }
    if (status == QUIPU_OK && options->progress != NULL && lane->is_in) {
        uint64_t end = replay->slice.end;
        uint64_t left = end > lane->position ? end - lane->position : 0;
        struct quipu_replay_progress progress = pace_tell(&replay->pace, lane, left);
        options->progress(options->ctx, &progress);
    }
    return status;
}

static enum quipu_status replay_run(struct replay *replay, struct quipu_error *err)
{
    struct lane *lane = &replay->lane;
    enum quipu_status status = lane_react(lane, err);
    replay->pace.began_ns = slice_now_ns();
    while (status == QUIPU_OK && lane->held == QUIPU_OK && !replay->slice.is_at_end) {
        if (replay_is_stopped(replay)) {
            return quipu_error_set(err, QUIPU_STOPPED, "projection %s: stopped on request",
                                   lane->projection->name);
        }
        status = lanes_slice(&replay->slice, err);
        if (status == QUIPU_OK && lane->is_in) {
            replay->pace.done += lane->position - lane->from;
            replay->pace.gone_over = replay->pace.done;
        }
        if (status == QUIPU_OK) {
            status = replay_between(replay, err);
        }
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (lane->held != QUIPU_OK) {
        return quipu_error_set(err, lane->held, "%s", lane->why.message);
    }
    return lane->react_held == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, lane->react_held, "%s", lane->react_why.message);
}

enum quipu_status quipu_replay_with(struct quipu_engine *engine,
                                    const struct quipu_projection *projection,
                                    const struct quipu_replay_options *options,
                                    struct quipu_replay_report *report, struct quipu_error *err)
{
    static const struct quipu_replay_options defaults = QUIPU_REPLAY_OPTIONS_INIT;
    struct replay replay = {.options = options == NULL ? &defaults : options};
    bool is_causal = replay.options->mode == QUIPU_REPLAY_CAUSAL;
    enum quipu_status status = lane_init(&replay.lane, engine, projection, err);
    if (status == QUIPU_OK) {
        status = replay_check(&replay, err);
    }
    replay.lane.skips_hashing = status == QUIPU_OK && replay.options->skips_hashing;
    if (status == QUIPU_OK && is_causal) {
        status = lane_replay_causal(engine, projection, replay.options, &replay.lane.applied, err);
    } else if (status == QUIPU_OK) {
        status = lane_begin(&replay.lane, replay.options->mode, err);
    }
    if (status == QUIPU_OK && !is_causal) {
        status = replay_run(&replay, err);
    }
    struct quipu_replay_report done = {.applied = replay.lane.applied};
    lane_release(&replay.lane);
    if (status != QUIPU_OK || report == NULL) {
        return status;
    }
    status = projection_digest(engine, projection->name, &done, err);
    if (status == QUIPU_OK) {
        *report = done;
    }
    return status;
}

enum quipu_status quipu_replay(struct quipu_engine *engine,
                               const struct quipu_projection *projection,
                               enum quipu_replay_mode mode, struct quipu_replay_report *report,
                               struct quipu_error *err)
{
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.mode = mode;
    return quipu_replay_with(engine, projection, &options, report, err);
}
