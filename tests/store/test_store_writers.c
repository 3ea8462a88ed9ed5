/*
 * Several processes that append in turns through handles that stay open, so that each meets runs
 * and merges that the others have made; and snapshots that are older than what was appended since.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#define WRITERS_MAX 3
#define ROUNDS      40

struct turns {
    int to_child[2];
    int to_parent[2];
    pid_t pid;
};

/* Events of a turn; the next one begins behind them. */
static uint64_t turn_events(uint64_t turn)
{
    return 1 + turn * 5 % 7;
}

/* Until an empty range comes: append the samples behind the number that comes, and say so. */
static void child_run(const char *path, const struct turns *turns)
{
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_store *store = NULL;
    uint64_t range[2];
    if (quipu_store_open_tuned(path, NULL, &tuning, &store, NULL) != QUIPU_OK) {
        _exit(2);
    }
    while (read(turns->to_child[0], range, sizeof range) == (ssize_t)sizeof range &&
           range[1] != 0) {
        samples_commit(store, range[0], range[1], 3);
        if (write(turns->to_parent[1], range, sizeof range) != (ssize_t)sizeof range) {
            _exit(3);
        }
    }
    quipu_store_close(&store);
    _exit(0);
}

static void child_start(struct turns *turns, const char *path)
{
    cr_assert_eq(pipe(turns->to_child), 0);
    cr_assert_eq(pipe(turns->to_parent), 0);
    turns->pid = fork();
    cr_assert_geq(turns->pid, 0);
    if (turns->pid == 0) {
        close(turns->to_child[1]);
        close(turns->to_parent[0]);
        child_run(path, turns);
    }
    close(turns->to_child[0]);
    close(turns->to_parent[1]);
}

static void assert_sample(struct quipu_store *store, uint64_t seed)
{
    struct sample sample;
    struct quipu_record record;
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    enum quipu_block_kind kind;
    sample_make(&sample, seed, 10, true);
    cr_assert_eq(quipu_txn_begin_read(store, &txn, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, &err), QUIPU_OK,
                 "%" PRIu64 ": %s", seed, err.message);
    cr_assert_eq(record.position, seed + 1);
    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.envelope_cid, &record, &kind, &err),
                 QUIPU_OK, "%" PRIu64 ": %s", seed, err.message);
    cr_assert_eq(record.position, seed + 1);
    quipu_txn_abort(&txn);
}

/* The parent is one of them. */
static void append_in_turns(size_t writers)
{
    struct turns turns[WRITERS_MAX];
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    uint64_t last = 0;
    int how = 0;
    fixture_init(&fixture, &tuning);
    quipu_store_close(&fixture.store); /* no handle crosses the fork */
    for (size_t i = 1; i < writers; i++) {
        child_start(&turns[i], fixture.path);
    }
    fixture_reopen(&fixture, &tuning);
    for (uint64_t turn = 0; turn < ROUNDS * writers; turn++) {
        uint64_t range[2] = {last, last + turn_events(turn)};
        const struct turns *its = &turns[turn % writers];
        if (turn % writers == 0) {
            samples_commit(fixture.store, range[0], range[1], 3);
        } else {
            uint64_t done[2] = {0};
            cr_assert_eq(write(its->to_child[1], range, sizeof range), (ssize_t)sizeof range);
            cr_assert_eq(read(its->to_parent[0], done, sizeof done), (ssize_t)sizeof done,
                         "turn %" PRIu64 ": a writer has ended", turn);
        }
        last = range[1];
        cr_assert_eq(last_position_of(fixture.store), last);
        assert_sample(fixture.store, range[0]);
    }
    for (size_t i = 1; i < writers; i++) {
        static const uint64_t end[2];
        cr_assert_eq(write(turns[i].to_child[1], end, sizeof end), (ssize_t)sizeof end);
        close(turns[i].to_child[1]);
        close(turns[i].to_parent[0]);
        cr_assert_eq(waitpid(turns[i].pid, &how, 0), turns[i].pid);
        cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    }
    cr_assert_eq(problems_of(fixture.store), 0);
    for (uint64_t seed = 0; seed < last; seed++) {
        assert_sample(fixture.store, seed);
    }
    fixture_release(&fixture);
}

Test(store_writers, two_append_in_turns_through_handles_that_stay_open)
{
    append_in_turns(2);
}

Test(store_writers, three_append_in_turns_through_handles_that_stay_open)
{
    append_in_turns(3);
}

/* ------------------------------------------------------------------ old snapshots */

static void assert_unseen(struct quipu_txn *txn, uint64_t seed)
{
    struct sample sample;
    struct quipu_record record;
    enum quipu_block_kind kind;
    struct quipu_error err = {0};
    sample_make(&sample, seed, 10, true);
    const struct quipu_record_new *new = &sample.record;
    struct quipu_term type = {QUIPU_TERM_EVENT_TYPE, new->event_type};
    enum quipu_status status = quipu_txn_find_cid(txn, &new->envelope_cid, &record, &kind, &err);
    cr_assert_eq(status, QUIPU_NOT_FOUND, "CID of %" PRIu64 ": %s", seed, err.message);
    status = quipu_txn_find_event_id(txn, new->event_id, &record, &err);
    cr_assert_eq(status, QUIPU_NOT_FOUND, "event_id of %" PRIu64 ": %s", seed, err.message);
    status = quipu_txn_find_term(txn, type, seed, QUIPU_SEEK_GT, &record, &err);
    cr_assert(status == QUIPU_DONE || status == QUIPU_NOT_FOUND, "type of %" PRIu64 ": %s", seed,
              err.message);
}

/* At every distance from what the indexes cover, while newer snapshots fill the shared tail. */
Test(store_writers, an_old_snapshot_never_sees_a_newer_event)
{
    struct quipu_store_tuning tunings[] = {tuning_small(), quipu_store_tuning_default()};
    for (size_t i = 0; i < sizeof tunings / sizeof tunings[0]; i++) {
        for (uint64_t before = 1; before < 12; before++) {
            struct fixture fixture;
            struct quipu_txn *old = NULL;
            fixture_init(&fixture, &tunings[i]);
            samples_commit(fixture.store, 0, before, 1);
            assert_sample(fixture.store, before - 1);
            cr_assert_eq(quipu_txn_begin_read(fixture.store, &old, NULL), QUIPU_OK);
            for (uint64_t seed = before; seed < before + 6; seed++) {
                samples_commit(fixture.store, seed, seed + 1, 1);
                assert_sample(fixture.store, seed); /* by a new snapshot */
                assert_unseen(old, seed);
            }
            cr_assert_eq(quipu_txn_last_position(old), before);
            quipu_txn_abort(&old);
            fixture_release(&fixture);
        }
    }
}
