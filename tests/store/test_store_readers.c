/*
 * Readers of other processes that are killed while they hold a snapshot: what they pin is given
 * back, so that the file does not grow for ever.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_fixture.h"

#define COMMITS 750

/* In a child: hold a snapshot and wait to be killed. */
static pid_t hold_snapshot(const char *path)
{
    int pipes[2];
    char ready = 0;
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        struct quipu_txn *txn = NULL;
        bool is_held = quipu_store_open(path, NULL, &store, NULL) == QUIPU_OK &&
                       quipu_txn_begin_read(store, &txn, NULL) == QUIPU_OK;
        ssize_t written = write(pipes[1], is_held ? "r" : "f", 1);
        (void)written;
        pause();
    }
    cr_assert_eq(read(pipes[0], &ready, 1), 1);
    cr_assert_eq(ready, 'r');
    close(pipes[0]);
    close(pipes[1]);
    return pid;
}

enum reader { READER_NONE, READER_ALIVE, READER_KILLED };

/* One row, written over and over; no event is appended meanwhile. */
static void rows_commit(struct quipu_store *store, uint64_t commits)
{
    static const uint8_t value[3000];
    for (uint64_t i = 0; i < commits; i++) {
        struct quipu_txn *txn = NULL;
        cr_assert_eq(quipu_txn_begin_write(store, &txn, NULL), QUIPU_OK);
        cr_assert_eq(quipu_txn_table_put(txn, (struct quipu_table){0x1000}, quipu_slice_text("row"),
                                         quipu_slice(value, sizeof value), NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    }
}

static void events_commit(struct quipu_store *store, uint64_t commits)
{
    samples_commit(store, 20, 20 + 2 * commits, 2);
}

typedef void (*commit_fn)(struct quipu_store *store, uint64_t commits);

/* Bytes of the file after many small commits, while a reader does what is said. */
static uint64_t bytes_after_commits(enum reader reader, commit_fn commit)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_store_stat stat;
    struct quipu_txn *txn = NULL;
    pid_t pid = -1;
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 20, 5);
    if (reader != READER_NONE) {
        pid = hold_snapshot(fixture.path);
    }
    if (reader == READER_KILLED) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    commit(fixture.store, COMMITS);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_stat(txn, &stat, NULL), QUIPU_OK);
    quipu_txn_abort(&txn);
    if (reader == READER_ALIVE) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_release(&fixture);
    return stat.file_bytes;
}

Test(store_readers, one_that_is_killed_pins_no_pages_of_those_who_append)
{
    uint64_t alone = bytes_after_commits(READER_NONE, events_commit);
    uint64_t pinned = bytes_after_commits(READER_ALIVE, events_commit);
    uint64_t after_kill = bytes_after_commits(READER_KILLED, events_commit);

    cr_assert_gt(pinned, 4 * alone, "a living one does: %" PRIu64 ", %" PRIu64, pinned, alone);
    cr_assert_lt(after_kill, alone + alone / 4, "%" PRIu64 ", %" PRIu64, after_kill, alone);
}

/* As a flusher or a projection does. Dead readers are looked for every 256 commits. */
Test(store_readers, one_that_is_killed_soon_pins_no_pages_of_those_who_write_rows)
{
    uint64_t alone = bytes_after_commits(READER_NONE, rows_commit);
    uint64_t pinned = bytes_after_commits(READER_ALIVE, rows_commit);
    uint64_t after_kill = bytes_after_commits(READER_KILLED, rows_commit);

    cr_assert_gt(pinned, 8 * alone, "a living one does: %" PRIu64 ", %" PRIu64, pinned, alone);
    cr_assert_lt(after_kill, pinned / 2, "%" PRIu64 ", %" PRIu64, after_kill, pinned);
}
