/*
 * Keeping several projections up to date: slices over the log that feed all of them, then a wait
 * for what comes next, until somebody says stop. Each projection has its own checkpoint and is held
 * up by itself: one that is parked or paused waits and is looked at again after the wait.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "projection_lane.h"
#include "quipu/alloc.h"
#include "slice_budget.h"

struct run {
    struct quipu_engine *engine;
    const struct quipu_run_options *options;
    struct lane *lanes;
    size_t count;
    struct slice slice;
    struct pace pace;
};

static enum quipu_status run_check(struct run *run,
                                   const struct quipu_projection *const *projections,
                                   struct quipu_error *err)
{
    if (run->options->size != sizeof *run->options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "run options of %zu bytes, want %zu: use QUIPU_RUN_OPTIONS_INIT",
                               run->options->size, sizeof *run->options);
    }
    if (run->count == 0 || run->count > QUIPU_PROJECTIONS_RUN_MAX) {
        return quipu_error_set(err, QUIPU_MISUSE, "%zu projections: 1 to %d can be run together",
                               run->count, QUIPU_PROJECTIONS_RUN_MAX);
    }
    for (size_t i = 0; i < run->count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (quipu_slice_equal(quipu_slice_text(projections[i]->name),
                                  quipu_slice_text(projections[j]->name))) {
                return quipu_error_set(err, QUIPU_MISUSE,
                                       "projections %zu and %zu have the same name", j, i);
            }
        }
    }
    return slice_limits(&run->slice, run->options->slice_events, run->options->slice_us, err);
}

static enum quipu_status run_init(struct run *run,
                                  const struct quipu_projection *const *projections,
                                  struct quipu_error *err)
{
    run->lanes = quipu_alloc_zero(run->count, sizeof *run->lanes);
    if (run->lanes == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu projections",
                               run->count);
    }
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < run->count && status == QUIPU_OK; i++) {
        status = lane_init(&run->lanes[i], run->engine, projections[i], err);
        run->lanes[i].skips_hashing = run->options->skips_hashing;
    }
    run->slice.engine = run->engine;
    run->slice.lanes = run->lanes;
    run->slice.count = run->count;
    run->slice.stop = run->options->stop;
    run->slice.ctx = run->options->ctx;
    return status;
}

static void run_release(struct run *run)
{
    for (size_t i = 0; run->lanes != NULL && i < run->count; i++) {
        lane_release(&run->lanes[i]);
    }
    quipu_free(run->lanes);
}

/* What a projection waits for, while the others go on; other failures are ones of the run. */
static bool status_can_wait(enum quipu_status status)
{
    return status == QUIPU_PARKED || status == QUIPU_PAUSED || status == QUIPU_NOT_FOUND ||
           status == QUIPU_BUSY || !status_is_passing(status);
}

/* Tell of a projection that is held up, once: not again after each wait. */
static void held_tell(const struct run *run, struct lane *lane)
{
    if (lane->held != QUIPU_OK && lane->held != lane->told && run->options->held != NULL) {
        run->options->held(run->options->ctx, lane->projection, &lane->why);
    }
    if (lane->held != QUIPU_OK || (lane->is_in && lane->position != lane->from)) {
        lane->told = lane->held;
    }
}

/* @retval  what of a lane ends the run */
static enum quipu_status lane_judge(const struct run *run, struct lane *lane,
                                    struct quipu_error *err)
{
    if ((lane->held != QUIPU_OK && lane->is_stuck) || !status_can_wait(lane->held)) {
        return quipu_error_set(err, lane->held, "%s", lane->why.message);
    }
    held_tell(run, lane);
    return QUIPU_OK;
}

/* Begin anew with what there is after a wait. */
static enum quipu_status lanes_begin(struct run *run, bool is_first, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < run->count && status == QUIPU_OK; i++) {
        struct lane *lane = &run->lanes[i];
        if ((!is_first && lane->held == QUIPU_OK) || lane->is_replaced) {
            continue; /* two versions in turns would rebuild each other for ever */
        }
        lane->is_in = false;
        lane->held = lane_begin(lane, QUIPU_REPLAY_CATCH_UP, &lane->why);
        status = lane_judge(run, lane, err);
    }
    return status;
}

static enum quipu_status lane_between(struct run *run, struct lane *lane, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    bool had_react_held = lane->react_held != QUIPU_OK;
    if (lane->has_swapped) {
        lane->has_swapped = false;
        status = beside_clear(run->engine, lane->projection->name, 0, err);
    }
    if (status == QUIPU_OK) {
        status = lane_react(lane, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (lane->react_held != QUIPU_OK && !had_react_held && run->options->held != NULL) {
        run->options->held(run->options->ctx, lane->projection, &lane->react_why);
    }
    return lane_judge(run, lane, err);
}

static void run_tell(struct run *run)
{
    const struct lane *hindmost = NULL;
    for (size_t i = 0; i < run->count; i++) {
        const struct lane *lane = &run->lanes[i];
        if (lane->is_in && (hindmost == NULL || lane->position < hindmost->position)) {
            hindmost = lane;
        }
    }
    run->pace.done += run->slice.events;
    run->pace.gone_over += run->slice.events;
    if (hindmost == NULL || run->options->progress == NULL) {
        return;
    }
    uint64_t end = run->slice.end;
    uint64_t left = end > hindmost->position ? end - hindmost->position : 0;
    struct quipu_replay_progress progress = pace_tell(&run->pace, hindmost, left);
    run->options->progress(run->options->ctx, &progress);
}

/* One slice and what comes with it. */
static enum quipu_status run_slice(struct run *run, struct quipu_error *err)
{
    enum quipu_status status = lanes_slice(&run->slice, err);
    /* In turns: whoever is far behind, and whoever is nearly there. */
    run->slice.begin_foremost = !run->slice.begin_foremost;
    for (size_t i = 0; i < run->count && status == QUIPU_OK; i++) {
        status = lane_between(run, &run->lanes[i], err);
    }
    if (status == QUIPU_OK) {
        run_tell(run);
    }
    return status;
}

/* Slices until every projection that can is at the end of the log. */
static enum quipu_status run_to_end(struct run *run, struct quipu_error *err)
{
    const struct quipu_run_options *options = run->options;
    enum quipu_status status = QUIPU_OK;
    run->slice.is_at_end = false;
    run->pace.done = 0;
    while (status == QUIPU_OK && !run->slice.is_at_end) {
        if (options->stop != NULL && options->stop(options->ctx)) {
            return quipu_error_set(err, QUIPU_STOPPED, "projections: stopped on request");
        }
        status = run_slice(run, err);
    }
    return status;
}

/* What held the first one that could not go on. */
static enum quipu_status run_outcome(const struct run *run, struct quipu_error *err)
{
    for (size_t i = 0; i < run->count; i++) {
        const struct lane *lane = &run->lanes[i];
        if (lane->held != QUIPU_OK) {
            return quipu_error_set(err, lane->held, "%s", lane->why.message);
        }
        if (lane->react_held != QUIPU_OK) {
            return quipu_error_set(err, lane->react_held, "%s", lane->react_why.message);
        }
    }
    return QUIPU_OK;
}

/* What the next round waits for. @retval QUIPU_DONE  end well */
static enum quipu_status run_wait(const struct run *run, struct quipu_error *err)
{
    const struct quipu_run_options *options = run->options;
    if (options->wait != NULL) {
        return options->wait(options->ctx, run->slice.end, err);
    }
    return options->watch == NULL ? QUIPU_DONE : quipu_watch_wait(options->watch, -1, err);
}

static enum quipu_status run_all(struct run *run, struct quipu_error *err)
{
    const struct quipu_run_options *options = run->options;
    enum quipu_status status = QUIPU_OK;
    run->pace.began_ns = slice_now_ns();
    for (bool is_first = true; status == QUIPU_OK; is_first = false) {
        /* In this order a commit behind the look below wakes the wait. */
        if (options->watch != NULL) {
            quipu_watch_clear(options->watch);
        }
        status = lanes_begin(run, is_first, err);
        if (status == QUIPU_OK) {
            status = run_to_end(run, err);
        }
        if (status == QUIPU_OK && options->wait == NULL && options->watch == NULL) {
            return run_outcome(run, err);
        }
        if (status == QUIPU_OK) {
            status = run_wait(run, err);
        }
        for (size_t i = 0; i < run->count; i++) {
            run->lanes[i].react_held = QUIPU_OK; /* the next slice tries again */
        }
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status quipu_projections_run(struct quipu_engine *engine,
                                        const struct quipu_projection *const *projections,
                                        size_t count, const struct quipu_run_options *options,
                                        struct quipu_error *err)
{
    static const struct quipu_run_options defaults = QUIPU_RUN_OPTIONS_INIT;
    struct run run = {
        .engine = engine,
        .options = options == NULL ? &defaults : options,
        .count = count,
    };
    enum quipu_status status = run_check(&run, projections, err);
    if (status == QUIPU_OK) {
        status = run_init(&run, projections, err);
    }
    if (status == QUIPU_OK) {
        status = run_all(&run, err);
    }
    run_release(&run);
    return status;
}
