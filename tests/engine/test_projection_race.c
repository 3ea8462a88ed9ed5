/*
 * Projections with somebody else in between: what a second thread does at a given event, while a
 * slice of the first one is under way, is forced by the handler of that event.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "counting_kit.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(projection_race, .init = setup, .fini = teardown);

/* ------------------------------------------------------------------ somebody else */

/* Does `meddle` once, in a thread of its own, when the handler gets to `at`. */
struct meddling {
    struct counting counting; /* first: what counts() is given */
    struct quipu_projection inner;
    uint64_t at;
    void (*meddle)(struct meddling *meddling);
    enum quipu_status status; /* of what it did */
    uint64_t reactions[20];
    uint64_t seen; /* the greatest checkpoint that anybody could read */
};

static void *meddle_in_thread(void *ctx)
{
    struct meddling *meddling = ctx;
    meddling->meddle(meddling);
    return NULL;
}

static void meddle_at(struct meddling *meddling, uint64_t position)
{
    pthread_t thread;
    if (position != meddling->at) {
        return;
    }
    meddling->at = 0;
    if (pthread_create(&thread, NULL, meddle_in_thread, meddling) != 0 ||
        pthread_join(thread, NULL) != 0) {
        abort();
    }
}

static enum quipu_status apply(void *ctx, struct quipu_rows *rows,
                               const struct quipu_event_view *event, struct quipu_error *err)
{
    struct meddling *meddling = ctx;
    meddle_at(meddling, event->position);
    return meddling->inner.apply(&meddling->counting, rows, event, err);
}

static struct quipu_projection projection_of(struct meddling *meddling)
{
    meddling->inner = counts(&meddling->counting);
    struct quipu_projection projection = meddling->inner;
    projection.apply = apply;
    projection.ctx = meddling;
    return projection;
}

static struct quipu_projection_status status_now(void)
{
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "counts", &status, &kit.err));
    return status;
}

/* ------------------------------------------------------------------ readers and time */

/* One more event, and the rows that are read are brought up to it. */
static void append_and_catch_up(struct meddling *meddling)
{
    struct counting counting = {0};
    kit_append_many(&kit, 1);
    meddling->status = counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL);
    meddling->seen = status_now().position;
}

static void look_between(void *ctx, const struct quipu_replay_progress *progress)
{
    struct meddling *meddling = ctx;
    (void)progress;
    cr_assert_geq(status_now().position, meddling->seen, "readers went back in time");
}

static enum quipu_status rebuild_meddled(struct meddling *meddling, enum quipu_replay_mode mode)
{
    struct quipu_projection projection = projection_of(meddling);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    struct counting counting = {0};
    kit_append_many(&kit, 5);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    meddling->at = 5;
    meddling->meddle = append_and_catch_up;
    meddling->status = QUIPU_MISUSE;
    options.mode = mode;
    options.slice_us = 60000000;
    options.progress = look_between;
    options.ctx = meddling;
    enum quipu_status status = quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err);
    cr_assert_eq(meddling->status, QUIPU_OK);
    cr_assert_eq(meddling->seen, 6);
    return status;
}

Test(projection_race, a_rebuild_does_not_take_readers_back_in_time)
{
    struct meddling meddling = {.at = 0};
    kit_assert_ok(&kit, rebuild_meddled(&meddling, QUIPU_REPLAY_REBUILD));
    cr_assert_eq(status_now().position, 6);
    cr_assert_eq(status_now().shadow_version, 0);
    counts_assert_rows(&kit, "counts", "", "a=6");
}

Test(projection_race, a_causal_rebuild_does_not_take_readers_back_in_time)
{
    struct meddling meddling = {.at = 0};
    cr_assert_eq(rebuild_meddled(&meddling, QUIPU_REPLAY_CAUSAL), QUIPU_BUSY);
    cr_assert_not_null(strstr(kit.err.message, "brought up to position 6"), "%s", kit.err.message);
    cr_assert_eq(status_now().position, 6);
    cr_assert_eq(status_now().shadow_version, 0, "what it filled is cleared");
    counts_assert_rows(&kit, "counts", "", "a=6");
}

/* ------------------------------------------------------------------ a skip in between */

/* Another process meets what this one does not: it parks in front of 3, and a person skips that. */
static void park_and_skip(struct meddling *meddling)
{
    struct counting counting = {.poison = 3, .fail_with = QUIPU_INVALID};
    enum quipu_status parked = counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL);
    meddling->status = parked == QUIPU_INVALID
                           ? quipu_projection_skip(kit.engine, "counts", 3, "no", &kit.err)
                           : QUIPU_MISUSE;
}

Test(projection_race, a_skip_that_comes_in_between_counts)
{
    struct meddling meddling = {.meddle = park_and_skip, .at = 3, .status = QUIPU_MISUSE};
    struct quipu_projection projection = projection_of(&meddling);
    struct quipu_replay_report report;
    struct counting counting = {0};
    kit_append_many(&kit, 2);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    kit_append_many(&kit, 3); /* both begin at 2 */
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert_eq(meddling.status, QUIPU_OK);
    cr_assert_eq(report.skipped, 1);
    counts_assert_rows(&kit, "counts", "", "a=4");
}

/* ------------------------------------------------------------------ the watermark */

static enum quipu_status react(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    struct meddling *meddling = ctx;
    (void)err;
    meddling->reactions[event->position]++;
    meddle_at(meddling, event->position);
    return QUIPU_OK;
}

static void append_and_react(struct meddling *meddling)
{
    struct quipu_projection projection = projection_of(meddling);
    projection.react = react;
    kit_append_many(&kit, 3);
    meddling->status = quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err);
}

Test(projection_race, the_watermark_of_reactions_does_not_go_back)
{
    struct meddling meddling = {.meddle = append_and_react, .status = QUIPU_MISUSE};
    struct quipu_projection projection = projection_of(&meddling);
    kit_append_many(&kit, 5);
    /* The rows first, so that `at` is met by a reaction. */
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    meddling.at = 5;
    projection.react = react;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(meddling.status, QUIPU_OK);
    cr_assert_eq(status_now().reacted, 8);
    for (uint64_t position = 6; position <= 8; position++) {
        cr_assert_eq(meddling.reactions[position], 1, "position %lu: %lu times",
                     (unsigned long)position, (unsigned long)meddling.reactions[position]);
    }
}

/* ------------------------------------------------------------------ waking */

struct waiting {
    struct quipu_watch *watch;
    unsigned waits;
    enum quipu_status quiet; /* what the watch says once there is nothing more */
};

static enum quipu_status wait_thrice(void *ctx, uint64_t position, struct quipu_error *err)
{
    struct waiting *waiting = ctx;
    (void)position;
    waiting->waits++;
    if (waiting->waits == 1) {
        kit_append_many(&kit, 1);
    }
    if (waiting->waits < 3) {
        return QUIPU_OK;
    }
    waiting->quiet = quipu_watch_wait(waiting->watch, 0, err);
    return QUIPU_DONE;
}

/* The second round commits what the first wait has appended; the third has nothing to do. */
Test(projection_race, a_run_that_has_nothing_to_do_clears_its_watch)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    const struct quipu_projection *const all[] = {&projection};
    struct waiting waiting = {.quiet = QUIPU_MISUSE};
    struct quipu_run_options options = QUIPU_RUN_OPTIONS_INIT;
    kit_append_many(&kit, 1);
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &waiting.watch, &kit.err));
    options.watch = waiting.watch;
    options.wait = wait_thrice;
    options.ctx = &waiting;
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, all, 1, &options, &kit.err));
    cr_assert_eq(waiting.waits, 3);
    cr_assert_eq(waiting.quiet, QUIPU_DONE, "it would not sleep");
    quipu_watch_close(&waiting.watch);
}
