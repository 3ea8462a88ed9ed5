/*
 * Keeping several projections up to date in one pass, each by itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counting_kit.h"
#include "quipu/alloc.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(projections_run, .init = setup, .fini = teardown);

enum { MANY = 3 };

/* What a wait does, in turns. */
typedef void (*step_fn)(void);

struct watching {
    const step_fn *steps; /* ended by NULL: then the run ends */
    size_t waits;
    uint64_t position; /* of the last wait */
    uint64_t slices;
    uint64_t stop_after; /* slices; 0: never */
    size_t held;
    char why[QUIPU_ERROR_MESSAGE_BYTES]; /* of the last one that was held */
};

static struct watching watching;
static struct counting counting[MANY];
static struct quipu_projection projections[MANY];
static const struct quipu_projection *const all[MANY] = {&projections[0], &projections[1],
                                                         &projections[2]};

static enum quipu_status wait_step(void *ctx, uint64_t position, struct quipu_error *err)
{
    struct watching *at = ctx;
    (void)err;
    at->position = position;
    step_fn step = at->steps[at->waits++];
    if (step == NULL) {
        return QUIPU_DONE;
    }
    step();
    return QUIPU_OK;
}

static bool stop_after(void *ctx)
{
    const struct watching *at = ctx;
    return at->stop_after != 0 && at->slices >= at->stop_after;
}

static void count_slices(void *ctx, const struct quipu_replay_progress *progress)
{
    struct watching *at = ctx;
    at->slices++;
    cr_assert_leq(progress->done, progress->total);
}

static void note_held(void *ctx, const struct quipu_projection *projection,
                      const struct quipu_error *why)
{
    struct watching *at = ctx;
    cr_assert_not_null(strstr(why->message, projection->name), "%s", why->message);
    at->held++;
    (void)snprintf(at->why, sizeof at->why, "%s", why->message);
}

static struct quipu_run_options begin(const step_fn *steps)
{
    static const char *const names[MANY] = {"one", "two", "three"};
    struct quipu_run_options options = QUIPU_RUN_OPTIONS_INIT;
    watching = (struct watching){.steps = steps};
    for (size_t i = 0; i < MANY; i++) {
        counting[i] = (struct counting){0};
        projections[i] = counts(&counting[i]);
        projections[i].name = names[i];
    }
    options.slice_events = 100;
    options.slice_us = 60000000;
    options.stop = stop_after;
    options.progress = count_slices;
    options.held = note_held;
    options.wait = steps == NULL ? NULL : wait_step;
    options.ctx = &watching;
    return options;
}

static enum quipu_status run(const struct quipu_run_options *options)
{
    return quipu_projections_run(kit.engine, all, MANY, options, &kit.err);
}

static void assert_all(const char *rows)
{
    for (size_t i = 0; i < MANY; i++) {
        counts_assert_rows(&kit, projections[i].name, "", rows);
    }
}

static void append_some(void)
{
    kit_append_many(&kit, 50);
}

static void do_nothing(void)
{
}

Test(projections_run, one_pass_feeds_all_of_them_and_goes_on_after_each_wait)
{
    static const step_fn steps[] = {append_some, do_nothing, append_some, NULL};
    struct quipu_run_options options = begin(steps);
    kit_append_many(&kit, 1000);
    kit_assert_ok(&kit, run(&options));
    cr_assert_eq(watching.waits, 4);
    cr_assert_eq(watching.position, 1100);
    cr_assert_leq(watching.slices, 10 + 3 + 1, "one pass, not one for each: %lu slices",
                  (unsigned long)watching.slices);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(counting[i].calls, 1100);
    }
    assert_all("a=1100");
    kit_assert_sound(&kit, 1100);
}

Test(projections_run, without_options_it_goes_to_the_end_once)
{
    (void)begin(NULL);
    kit_append_many(&kit, 10);
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, all, MANY, NULL, &kit.err));
    assert_all("a=10");
}

Test(projections_run, each_goes_on_from_its_own_checkpoint)
{
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 300);
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, all, 1, &options, &kit.err));
    kit_append_many(&kit, 150);
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, all, 2, &options, &kit.err));
    kit_append_many(&kit, 70);
    kit_assert_ok(&kit, run(&options));
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(counting[i].calls, 520);
    }
    assert_all("a=520");
}

static void retry_two(void)
{
    counting[1].poison = 0;
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "two", &kit.err));
}

Test(projections_run, one_that_parks_does_not_hold_up_the_others_and_is_looked_at_again)
{
    static const step_fn steps[] = {do_nothing, do_nothing, append_some, retry_two, NULL};
    struct quipu_run_options options = begin(steps);
    kit_append_many(&kit, 400);
    counting[1].poison = 150;
    counting[1].fail_with = QUIPU_INVALID;

    kit_assert_ok(&kit, run(&options));

    assert_all("a=450");
    cr_assert_eq(watching.held, 2, "when it failed, and that it is parked: %zu times",
                 watching.held);
    cr_assert_not_null(strstr(watching.why, "position 150"), "%s", watching.why);
    cr_assert_eq(counting[1].calls, 451);
    kit_assert_sound(&kit, 450);
}

static void resume_three(void)
{
    kit_assert_ok(&kit, quipu_projection_resume(kit.engine, "three", &kit.err));
}

Test(projections_run, one_that_is_paused_waits_until_it_is_resumed)
{
    static const step_fn steps[] = {append_some, resume_three, NULL};
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 10);
    kit_assert_ok(&kit, run(&options));
    kit_assert_ok(&kit, quipu_projection_pause(kit.engine, "three", &kit.err));
    options = begin(steps);
    kit_append_many(&kit, 10);
    kit_assert_ok(&kit, run(&options));
    assert_all("a=70");
    cr_assert_eq(watching.held, 1);
}

Test(projections_run, says_what_held_one_when_there_is_no_wait)
{
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 400);
    counting[1].poison = 150;
    counting[1].fail_with = QUIPU_INVALID;
    cr_assert_eq(run(&options), QUIPU_INVALID);
    counts_assert_rows(&kit, "one", "", "a=400");
    counts_assert_rows(&kit, "two", "", "a=149");
    counts_assert_rows(&kit, "three", "", "a=400");
    cr_assert_eq(run(&options), QUIPU_PARKED);
}

Test(projections_run, a_failure_of_the_machine_ends_it)
{
    static const step_fn steps[] = {do_nothing, NULL};
    struct quipu_run_options options = begin(steps);
    kit_append_many(&kit, 400);
    counting[1].poison = 150;
    counting[1].fail_with = QUIPU_NO_SPACE;
    cr_assert_eq(run(&options), QUIPU_NO_SPACE);
    cr_assert_eq(watching.waits, 0);
    counting[1].poison = 0;
    kit_assert_ok(&kit, run(&options));
    assert_all("a=400");
}

Test(projections_run, one_of_another_version_is_rebuilt_while_the_others_follow_the_log)
{
    static const step_fn steps[] = {append_some, NULL};
    struct quipu_run_options options = begin(NULL);
    struct quipu_projection_status status;
    kit_append_many(&kit, 1000);
    kit_assert_ok(&kit, run(&options));
    kit_append_many(&kit, 100);
    options = begin(steps);
    projections[1].version = 2;
    kit_assert_ok(&kit, run(&options));
    cr_assert_eq(counting[0].calls, 150);
    cr_assert_eq(counting[1].calls, 1150);
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "two", &status, &kit.err));
    cr_assert_eq(status.version, 2);
    cr_assert_eq(status.shadow_version, 0);
    assert_all("a=1150");
    kit_assert_sound(&kit, 1150);
}

static void rebuild_two_as_another_version(void)
{
    struct counting other = {0};
    struct quipu_projection projection = counts(&other);
    projection.name = "two";
    projection.version = 9;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    kit_append_many(&kit, 5);
}

Test(projections_run, does_not_rebuild_what_another_version_took_over_meanwhile)
{
    static const step_fn steps[] = {rebuild_two_as_another_version, do_nothing, append_some, NULL};
    struct quipu_run_options options = begin(steps);
    struct quipu_projection_status status;
    kit_append_many(&kit, 100);
    kit_assert_ok(&kit, run(&options));
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "two", &status, &kit.err));
    cr_assert_eq(status.version, 9);
    cr_assert_eq(status.position, 100);
    cr_assert_eq(watching.held, 1);
    counts_assert_rows(&kit, "three", "", "a=155");
}

Test(projections_run, stops_between_slices_with_all_committed)
{
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 1000);
    watching.stop_after = 3;
    cr_assert_eq(run(&options), QUIPU_STOPPED);
    cr_assert_eq(watching.slices, 3);
    assert_all("a=300");
    watching.stop_after = 0;
    kit_assert_ok(&kit, run(&options));
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(counting[i].calls, 1000);
    }
}

static enum quipu_status fail_react(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    (void)event;
    const struct counting *one = ctx;
    return one->fail_with == QUIPU_OFFLINE ? quipu_error_set(err, QUIPU_OFFLINE, "nobody answers")
                                           : QUIPU_OK;
}

static void answer(void)
{
    counting[0].fail_with = QUIPU_OK;
}

Test(projections_run, a_failing_reaction_waits_and_is_tried_again)
{
    static const step_fn steps[] = {append_some, answer, NULL};
    struct quipu_run_options options = begin(steps);
    struct quipu_projection_status status;
    projections[0].react = fail_react;
    counting[0].fail_with = QUIPU_OFFLINE;
    kit_append_many(&kit, 10);
    kit_assert_ok(&kit, run(&options));
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "one", &status, &kit.err));
    cr_assert_eq(status.reacted, 60);
    cr_assert_geq(watching.held, 1);
    assert_all("a=60");
}

Test(projections_run, refuses_what_is_no_set_of_projections)
{
    const struct quipu_projection *many[QUIPU_PROJECTIONS_RUN_MAX + 1];
    struct quipu_projection storage[QUIPU_PROJECTIONS_RUN_MAX + 1];
    char names[QUIPU_PROJECTIONS_RUN_MAX + 1][8];
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 3);
    for (size_t i = 0; i <= QUIPU_PROJECTIONS_RUN_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "n%zu", i);
        storage[i] = counts(&counting[0]);
        storage[i].name = names[i];
        many[i] = &storage[i];
    }
    for (int over = -1; over <= 1; over++) {
        size_t count = (size_t)(QUIPU_PROJECTIONS_RUN_MAX + over);
        cr_assert_eq(quipu_projections_run(kit.engine, many, count, &options, &kit.err),
                     over > 0 ? QUIPU_MISUSE : QUIPU_OK);
    }
    cr_assert_eq(quipu_projections_run(kit.engine, many, 0, &options, &kit.err), QUIPU_MISUSE);
    storage[1].name = "n0";
    cr_assert_eq(quipu_projections_run(kit.engine, many, 2, &options, &kit.err), QUIPU_MISUSE);
    storage[1].name = "N";
    cr_assert_eq(quipu_projections_run(kit.engine, many, 2, &options, &kit.err), QUIPU_INVALID);
    options.size = 1;
    cr_assert_eq(quipu_projections_run(kit.engine, many, 1, &options, &kit.err), QUIPU_MISUSE);
}

/* ------------------------------------------------------------------ without memory */

static uint64_t allocations;
static uint64_t fail_at; /* number of the allocation that fails; 0: none */

static void *count_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return ++allocations == fail_at ? NULL : realloc(pointer, bytes);
}

static void count_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

Test(projections_run, whichever_allocation_fails_it_says_so_and_goes_on_from_what_is_committed)
{
    static const char *const types[] = {"thing.changed", NULL};
    struct quipu_allocator allocator = {count_reallocate, count_release, NULL};
    struct quipu_run_options options = begin(NULL);
    quipu_alloc_set(&allocator);
    kit_append_many(&kit, 250);
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        options = begin(NULL);
        projections[0].event_types = types;
        projections[1].version = n; /* a rebuild each time */
        projections[2].react = fail_react;
        allocations = 0;
        fail_at = n;
        enum quipu_status status = run(&options);
        bool was_reached = allocations >= n;
        fail_at = 0;
        if (!was_reached) {
            cr_assert_eq(status, QUIPU_OK, "%s", kit.err.message);
            break;
        }
        cr_assert(status == QUIPU_NO_MEMORY || status == QUIPU_OK, "allocation %lu: %s",
                  (unsigned long)n, kit.err.message);
        failures += status == QUIPU_NO_MEMORY;
        if (n % 7 == 0) {
            kit_append(&kit, "a", 1);
        }
    }
    cr_assert_geq(failures, 5);
    options = begin(NULL);
    projections[1].version = 1;
    kit_assert_ok(&kit, run(&options));
    struct quipu_txn *txn = NULL;
    char rows[32];
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    uint64_t last = quipu_txn_last_position(txn);
    (void)snprintf(rows, sizeof rows, "a=%lu", (unsigned long)last);
    quipu_txn_abort(&txn);
    assert_all(rows);
    kit_assert_sound(&kit, last);
}

/* ------------------------------------------------------------------ at the same time */

/* A run on a watch, which tells when it has seen so many events. */
struct following {
    struct quipu_watch *watch;
    bool is_stopped;
    pthread_mutex_t lock; /* guards position */
    pthread_cond_t moved;
    uint64_t position;
    enum quipu_status end;
};

static bool following_stop(void *ctx)
{
    struct following *following = ctx;
    return __atomic_load_n(&following->is_stopped, __ATOMIC_ACQUIRE);
}

static void following_moved(void *ctx, const struct quipu_replay_progress *progress)
{
    struct following *following = ctx;
    (void)pthread_mutex_lock(&following->lock);
    following->position = progress->position;
    (void)pthread_cond_broadcast(&following->moved);
    (void)pthread_mutex_unlock(&following->lock);
}

static void *follow_in_thread(void *ctx)
{
    struct following *following = ctx;
    struct quipu_run_options options = QUIPU_RUN_OPTIONS_INIT;
    struct quipu_error err;
    options.stop = following_stop;
    options.progress = following_moved;
    options.watch = following->watch;
    options.ctx = following;
    following->end = quipu_projections_run(kit.engine, all, MANY, &options, &err);
    return NULL;
}

static void child_append(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    kit_append(&kit, "a", 1);
}

Test(projections_run, follows_what_other_threads_and_processes_append_until_it_is_stopped)
{
    struct following following = {.lock = PTHREAD_MUTEX_INITIALIZER,
                                  .moved = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    (void)begin(NULL);
    kit_append(&kit, "a", 1); /* makes the store's key before there are two processes */
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &following.watch, &kit.err));
    (void)fflush(NULL);
    int pipes[2];
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        char go;
        if (read(pipes[0], &go, 1) == 1) {
            child_append(NULL);
        }
        _exit(0);
    }
    cr_assert_eq(pthread_create(&thread, NULL, follow_in_thread, &following), 0);
    for (uint64_t events = 2; events <= 6; events++) {
        if (events == 4) {
            cr_assert_eq(write(pipes[1], "g", 1), 1);
        } else {
            kit_append(&kit, "a", 1);
        }
        (void)pthread_mutex_lock(&following.lock);
        while (following.position < events) {
            (void)pthread_cond_wait(&following.moved, &following.lock);
        }
        (void)pthread_mutex_unlock(&following.lock);
    }
    __atomic_store_n(&following.is_stopped, true, __ATOMIC_RELEASE);
    quipu_watch_wake(following.watch);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(following.end, QUIPU_STOPPED);
    assert_all("a=6");
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    quipu_watch_close(&following.watch);
}

static void *run_in_thread(void *ctx)
{
    struct counting own[MANY] = {{0}};
    struct quipu_projection mine[MANY];
    const struct quipu_projection *list[MANY];
    struct quipu_run_options options = QUIPU_RUN_OPTIONS_INIT;
    struct quipu_error err;
    options.slice_events = 97;
    for (size_t i = 0; i < MANY; i++) {
        mine[i] = counts(&own[i]);
        mine[i].name = projections[i].name;
        list[i] = &mine[i];
    }
    *(enum quipu_status *)ctx = quipu_projections_run(kit.engine, list, MANY, &options, &err);
    return NULL;
}

static void child_run(void *ctx)
{
    enum quipu_status status = QUIPU_OK;
    (void)ctx;
    kit_reopen(&kit);
    (void)run_in_thread(&status);
    _exit(status == QUIPU_OK ? 0 : 1);
}

static void *append_in_thread(void *ctx)
{
    struct quipu_event event = *(const struct quipu_event *)ctx;
    struct quipu_error err;
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(quipu_append(kit.engine, &event, NULL, &err), QUIPU_OK);
    }
    return NULL;
}

Test(projections_run, two_threads_that_run_and_one_that_appends_count_each_event_once)
{
    pthread_t threads[3];
    enum quipu_status ends[2];
    struct quipu_event event = kit_event(&kit, "a", 1);
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 5000);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, run_in_thread, &ends[i]), 0);
    }
    cr_assert_eq(pthread_create(&threads[2], NULL, append_in_thread, &event), 0);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_eq(ends[0], QUIPU_OK);
    cr_assert_eq(ends[1], QUIPU_OK);
    kit_assert_ok(&kit, run(&options));
    assert_all("a=5200");
    kit_assert_sound(&kit, 5200);
}

Test(projections_run, two_processes_count_each_event_once)
{
    struct quipu_run_options options = begin(NULL);
    kit_append_many(&kit, 3000);
    kit_shut(&kit);
    pid_t pids[2];
    (void)fflush(NULL);
    for (size_t i = 0; i < 2; i++) {
        pids[i] = fork();
        cr_assert_geq(pids[i], 0);
        if (pids[i] == 0) {
            child_run(NULL);
        }
    }
    for (size_t i = 0; i < 2; i++) {
        int how = 0;
        cr_assert_eq(waitpid(pids[i], &how, 0), pids[i]);
        cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    kit_reopen(&kit);
    kit_assert_ok(&kit, run(&options));
    assert_all("a=3000");
    kit_assert_sound(&kit, 3000);
}
