/*
 * The check in slices while other processes append and merge: it finds nothing in a sound store,
 * however the runs move under it, and finds what is wrong in a store that goes on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#define EVENTS 3000

static struct fixture fixture;
static struct quipu_store_tuning tuning;

static void set_up(void)
{
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 200, 3);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_slices, .init = set_up, .fini = tear_down);

static bool print(void *ctx, uint64_t position, const char *line)
{
    (void)ctx;
    fprintf(stderr, "position %llu: %s\n", (unsigned long long)position, line);
    return true;
}

/* An event of a version that is there already: every chain is looked at more closely then. */
static void append_fork(void)
{
    struct sample sample;
    struct quipu_txn *txn = NULL;
    uint64_t position = 0;
    sample_make(&sample, 1000003, 10, true);
    sample.record.version = 2;
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

/* What it says of how far it is. */
static uint64_t said_done;
static uint64_t said_calls;

static void note_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx;
    cr_assert_leq(done, total);
    said_done = done;
    said_calls++;
}

Test(store_slices, tells_how_far_it_is)
{
    uint64_t problems = 99;
    cr_assert_eq(
        quipu_store_check_indexes(fixture.store, print, note_progress, NULL, &problems, NULL),
        QUIPU_OK);
    cr_assert_eq(problems, 0);
    cr_assert_eq(said_done, 200);
    cr_assert_gt(said_calls, 5);
}

static void check_while_another_appends(void)
{
    uint64_t events = EVENTS + last_position_of(fixture.store);
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        if (quipu_store_open_tuned(fixture.path, NULL, &tuning, &store, NULL) != QUIPU_OK) {
            _exit(2);
        }
        samples_commit(store, 200, 200 + EVENTS, 2);
        quipu_store_close(&store);
        _exit(0);
    }
    int status = -1;
    uint64_t checks = 0;
    uint64_t before = 0;
    uint64_t moved = 0;
    while (waitpid(pid, &status, WNOHANG) == 0) {
        uint64_t problems = 99;
        struct quipu_error err;
        cr_assert_eq(quipu_store_check_indexes(fixture.store, print, NULL, NULL, &problems, &err),
                     QUIPU_OK, "%s", err.message);
        cr_assert_eq(problems, 0);
        uint64_t last = last_position_of(fixture.store);
        moved += last > before;
        before = last;
        checks++;
    }
    cr_assert_eq(status, 0);
    cr_assert_gt(checks, 3);
    cr_assert_gt(moved, 3);
    cr_assert_eq(last_position_of(fixture.store), events);
    cr_assert_eq(problems_of(fixture.store), 0);
}

Test(store_slices, finds_nothing_while_another_process_appends_and_merges, .timeout = 300)
{
    check_while_another_appends();
}

Test(store_slices, follows_the_chains_of_forks_while_another_process_appends, .timeout = 300)
{
    append_fork();
    check_while_another_appends();
}
