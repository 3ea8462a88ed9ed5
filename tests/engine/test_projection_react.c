/*
 * Side effects of projections: after the commit, at least once, never again for what a rebuild
 * applies again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

TestSuite(projection_react, .init = setup, .fini = teardown);

enum { POSITIONS = 100 };

struct reacting {
    struct counting counting; /* first: the handler's ctx */
    unsigned calls[POSITIONS];
    uint64_t last; /* position of the latest call */
    uint64_t fail_at;
    uint64_t append_at; /* append an event as a reaction to this one */
};

static enum quipu_status react(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    struct reacting *reacting = ctx;
    struct quipu_projection_status status;
    cr_assert_lt(event->position, POSITIONS);
    /* What it reacts to is durable already. */
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "counts", &status, &kit.err));
    cr_assert_geq(status.position, event->position);
    if (event->position == reacting->fail_at) {
        return quipu_error_set(err, QUIPU_OFFLINE, "nobody answers");
    }
    reacting->calls[event->position]++;
    cr_assert_gt(event->position, reacting->last, "in the order of the log");
    reacting->last = event->position;
    if (event->position == reacting->append_at) {
        kit_append(&kit, "b", 1);
    }
    return QUIPU_OK;
}

static struct quipu_projection projection_of(struct reacting *reacting)
{
    struct quipu_projection projection = counts(&reacting->counting);
    projection.react = react;
    return projection;
}

static enum quipu_status replay(struct reacting *reacting, enum quipu_replay_mode mode)
{
    struct quipu_projection projection = projection_of(reacting);
    reacting->last = 0;
    return quipu_replay(kit.engine, &projection, mode, NULL, &kit.err);
}

/* Every position from `first` to `last` was reacted to `times` times, and no other. */
static void assert_calls(const struct reacting *reacting, uint64_t first, uint64_t last,
                         unsigned times)
{
    for (uint64_t i = 0; i < POSITIONS; i++) {
        unsigned expected = i >= first && i <= last ? times : 0;
        cr_assert_eq(reacting->calls[i], expected, "position %lu: %u calls", (unsigned long)i,
                     reacting->calls[i]);
    }
}

static uint64_t reacted(void)
{
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "counts", &status, &kit.err));
    return status.reacted;
}

Test(projection_react, happens_once_for_each_event_and_not_again_on_rebuild_or_another_version)
{
    struct reacting reacting = {0};
    kit_append_many(&kit, 20);
    kit_assert_ok(&kit, replay(&reacting, QUIPU_REPLAY_CATCH_UP));
    assert_calls(&reacting, 1, 20, 1);
    cr_assert_eq(reacted(), 20);

    kit_reopen(&kit);
    kit_assert_ok(&kit, replay(&reacting, QUIPU_REPLAY_REBUILD));
    assert_calls(&reacting, 1, 20, 1);
    struct quipu_projection other = projection_of(&reacting);
    other.version = 2;
    kit_append_many(&kit, 5);
    reacting.last = 0;
    kit_assert_ok(&kit, quipu_replay(kit.engine, &other, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    assert_calls(&reacting, 1, 25, 1);
    cr_assert_eq(reacted(), 25);
    kit_assert_sound(&kit, 25);
}

Test(projection_react, waits_where_it_fails_while_the_rows_go_on)
{
    struct reacting reacting = {.fail_at = 8};
    kit_append_many(&kit, 20);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(replay(&reacting, QUIPU_REPLAY_CATCH_UP), QUIPU_OFFLINE);
        cr_assert_not_null(strstr(kit.err.message, "position 8"), "%s", kit.err.message);
        cr_assert_not_null(strstr(kit.err.message, "nobody answers"), "%s", kit.err.message);
        assert_calls(&reacting, 1, 7, 1);
        cr_assert_eq(reacted(), 7);
        counts_assert_rows(&kit, "counts", "", "a=20");
    }
    reacting.fail_at = 0;
    kit_assert_ok(&kit, replay(&reacting, QUIPU_REPLAY_CATCH_UP));
    assert_calls(&reacting, 1, 20, 1);
    cr_assert_eq(reacting.counting.calls, 20);
}

Test(projection_react, leaves_out_events_that_were_filtered_out_or_skipped)
{
    static const char *const types[] = {"thing.made", NULL};
    struct reacting reacting = {.counting = {.poison = 12, .fail_with = QUIPU_INVALID}};
    struct quipu_projection projection = projection_of(&reacting);
    struct quipu_event event = kit_event(&kit, "a", 1);
    projection.event_types = types;
    kit_append_many(&kit, 10);
    event.type = "thing.made";
    for (int i = 0; i < 3; i++) {
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
    cr_assert_eq(reacted(), 11);
    kit_assert_ok(&kit, quipu_projection_skip(kit.engine, "counts", 12, "no", &kit.err));
    reacting.last = 0;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    reacting.calls[12] += 1; /* so that 11 to 13 are equal */
    assert_calls(&reacting, 11, 13, 1);
    cr_assert_eq(reacted(), 13);
}

Test(projection_react, can_begin_behind_a_position_of_an_old_log)
{
    struct reacting reacting = {0};
    struct quipu_projection projection = projection_of(&reacting);
    kit_append_many(&kit, 10);
    projection.react_after = 12;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    assert_calls(&reacting, 0, 0, 0);
    kit_append_many(&kit, 5);
    reacting.last = 0;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    assert_calls(&reacting, 13, 15, 1);
}

Test(projection_react, may_append_and_reacts_to_that_too)
{
    struct reacting reacting = {.append_at = 5};
    kit_append_many(&kit, 5);
    kit_assert_ok(&kit, replay(&reacting, QUIPU_REPLAY_CATCH_UP));
    kit_assert_ok(&kit, replay(&reacting, QUIPU_REPLAY_CATCH_UP));
    assert_calls(&reacting, 1, 6, 1);
    counts_assert_rows(&kit, "counts", "", "a=5 b=1");
    kit_assert_sound(&kit, 6);
}

static enum quipu_status react_done(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    (void)ctx;
    (void)event;
    (void)err;
    return QUIPU_DONE;
}

Test(projection_react, that_ends_the_walk_is_misuse)
{
    struct reacting reacting = {0};
    struct quipu_projection projection = projection_of(&reacting);
    kit_append_many(&kit, 1);
    projection.react = react_done;
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_MISUSE);
    cr_assert_eq(reacted(), 0);
}

/* Each call leaves a byte in a file, which outlives the process. */
static enum quipu_status react_into_file(void *ctx, const struct quipu_event_view *event,
                                         struct quipu_error *err)
{
    (void)err;
    uint8_t position = (uint8_t)event->position;
    cr_assert_eq(write(*(int *)ctx, &position, 1), 1);
    return QUIPU_OK;
}

static enum quipu_status ignore(void *ctx, struct quipu_rows *rows,
                                const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    (void)rows;
    (void)event;
    (void)err;
    return QUIPU_OK;
}

static int file = -1;

static void child_replay(void *ctx)
{
    struct quipu_projection projection = {
        .name = "counts", .version = 1, .apply = ignore, .ctx = &file, .react = react_into_file};
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    (void)ctx;
    options.slice_events = 10;
    options.slice_us = 60000000;
    kit_reopen(&kit);
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err));
}

Test(projection_react, happens_at_least_once_whatever_the_process_dies_in)
{
    static const char *const failpoints[] = {
        "engine.replay.slice:kill:1",   "engine.replay.slice:kill:2",
        "engine.replay.slice:kill:3",   "engine.replay.reacted:kill:1",
        "engine.replay.reacted:kill:2", "engine.replay.reacted:kill:3"};
    char path[2 * TEMP_DIR_BYTES];
    temp_dir_join(&kit.dir, "reactions", path);
    kit_append_many(&kit, 30);
    kit_shut(&kit);
    for (size_t i = 0; i < sizeof failpoints / sizeof failpoints[0]; i++) {
        uint8_t positions[200];
        unsigned calls[31] = {0};
        file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
        cr_assert_geq(file, 0);
        cr_assert(WIFSIGNALED(kit_run_child(failpoints[i], child_replay, NULL)));
        cr_assert(WIFEXITED(kit_run_child("none", child_replay, NULL)));
        ssize_t len = pread(file, positions, sizeof positions, 0);
        (void)close(file);
        cr_assert_geq(len, 30);
        cr_assert_leq(len, 40, "at most one slice again: %zd", len);
        for (ssize_t at = 0; at < len; at++) {
            calls[positions[at]]++;
            cr_assert(at == 0 || positions[at] == positions[at - 1] + 1 ||
                          positions[at] <= positions[at - 1],
                      "no gap");
        }
        for (size_t position = 1; position <= 30; position++) {
            cr_assert_geq(calls[position], 1);
        }
        kit_reopen(&kit);
        cr_assert_eq(reacted(), 30);
        kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));
        kit_shut(&kit);
    }
    kit_reopen(&kit);
}
