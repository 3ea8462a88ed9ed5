/*
 * Several processes, and processes that die: killed at each failpoint at each of its turns, out of
 * memory at each allocation, out of space. Afterwards the store opens, is clean, and has every
 * event that was acknowledged.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/alloc.h"
#include "store_fixture.h"

/* In a child: create, append 40 events in batches of 3, back up; each commit is acknowledged by its
 * last position through the pipe. */
static void work(const char *path, const char *backup, int ack)
{
    struct quipu_store *store = NULL;
    struct quipu_store_tuning tuning = tuning_small();
    if (quipu_store_open_tuned(path, NULL, &tuning, &store, NULL) != QUIPU_OK) {
        _exit(2);
    }
    uint64_t last = last_position_of(store);
    while (last < 40) {
        samples_commit(store, last, last + 3, 3);
        last += 3;
        if (write(ack, &last, sizeof last) != sizeof last) {
            _exit(3);
        }
    }
    if (quipu_store_backup(store, backup, NULL) != QUIPU_OK) {
        _exit(4);
    }
    quipu_store_close(&store);
    _exit(0);
}

/* Run it once with the failpoint armed; true where it was killed. `*acked` is what it has said. */
static bool run_until_killed(const struct temp_dir *dir, const char *failpoint, uint64_t *acked)
{
    char path[2 * TEMP_DIR_BYTES];
    char backup[2 * TEMP_DIR_BYTES];
    int pipes[2];
    temp_dir_join(dir, "store", path);
    temp_dir_join(dir, "backup", backup);
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(pipes[0]);
        setenv("QUIPU_FAILPOINT", failpoint, 1);
        work(path, backup, pipes[1]);
    }
    close(pipes[1]);
    uint64_t last;
    while (read(pipes[0], &last, sizeof last) == sizeof last) {
        *acked = last;
    }
    close(pipes[0]);
    int status = -1;
    waitpid(pid, &status, 0);
    bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    cr_assert(was_killed || status == 0, "%s: status 0x%x", failpoint, (unsigned)status);
    return was_killed;
}

static void check_after_kill(const struct temp_dir *dir, uint64_t acked, const char *failpoint)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    struct quipu_store_tuning tuning = tuning_small();
    temp_dir_join(dir, "store", path);
    cr_assert_eq(quipu_store_open_tuned(path, NULL, &tuning, &store, &err), QUIPU_OK, "%s: %s",
                 failpoint, err.message);
    uint64_t last = last_position_of(store);
    cr_assert_geq(last, acked, "%s", failpoint);
    cr_assert_leq(last, acked + 3, "%s", failpoint);
    cr_assert_eq(last % 3, 0, "%s: half a transaction", failpoint);
    cr_assert_eq(problems_of(store), 0, "%s", failpoint);
    samples_commit(store, last, last + 20, 4);
    cr_assert_eq(problems_of(store), 0, "%s", failpoint);
    quipu_store_close(&store);
}

Test(store_crash, loses_nothing_acknowledged_when_killed_anywhere)
{
    static const char *const points[] = {
        "store.create.mkdir",  "store.create.lock",        "store.create.folder",
        "store.create.rename", "store.create.environment", "store.create.sync",
        "store.append",        "store.run.write",          "store.merge.segment",
        "store.commit.before", "store.commit.after",       "store.backup.copy",
        "store.backup.mark",
    };
#ifndef QUIPU_FAILPOINTS
    fprintf(stderr, "skipped: built without failpoints\n");
    return;
#endif
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        int kills = 0;
        for (int turn = 1; turn < 100; turn++) {
            struct temp_dir dir;
            char failpoint[64];
            uint64_t acked = 0;
            temp_dir_init(&dir);
            snprintf(failpoint, sizeof failpoint, "%s:kill:%d", points[i], turn);
            bool was_killed = run_until_killed(&dir, failpoint, &acked);
            check_after_kill(&dir, acked, failpoint);
            if (was_killed) {
                /* A second run takes up what the first one left, the copy too. */
                kills++;
                uint64_t ignored = 0;
                cr_assert_not(run_until_killed(&dir, "none:kill", &ignored));
            }
            temp_dir_release(&dir);
            if (!was_killed) {
                break;
            }
        }
        cr_assert_gt(kills, 0, "%s was never reached", points[i]);
    }
}

/* ------------------------------------------------------------------ processes */

#define WRITERS          3
#define EVENTS_A_PROCESS 120

static void write_as(const char *path, uint64_t process)
{
    struct quipu_store *store = NULL;
    struct quipu_store_tuning tuning = tuning_small();
    if (quipu_store_open_tuned(path, NULL, &tuning, &store, NULL) != QUIPU_OK) {
        _exit(2);
    }
    for (uint64_t i = 0; i < EVENTS_A_PROCESS; i++) {
        struct quipu_txn *txn = NULL;
        struct sample sample;
        struct quipu_record record;
        uint64_t position;
        uint64_t seed = process * 10000 + i;
        sample_make(&sample, seed, 10, false);
        if (quipu_txn_begin_write(store, &txn, NULL) != QUIPU_OK ||
            quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL) !=
                QUIPU_NOT_FOUND ||
            sample_append(txn, &sample, &position, NULL) != QUIPU_OK) {
            _exit(3);
        }
        if (i % 5 == 4) {
            quipu_txn_abort(&txn);
            i -= i % 10 == 4 ? 0 : 1; /* every second one is tried again, the others left out */
            if (i % 10 == 8) {
                sample_make(&sample, seed, 10, false);
                if (quipu_txn_begin_write(store, &txn, NULL) != QUIPU_OK ||
                    sample_append(txn, &sample, &position, NULL) != QUIPU_OK) {
                    _exit(4);
                }
                i++;
            } else {
                continue;
            }
        }
        if (quipu_txn_commit(&txn, NULL) != QUIPU_OK) {
            _exit(5);
        }
    }
    quipu_store_close(&store);
    _exit(0);
}

static void read_as(const char *path, uint64_t until)
{
    struct quipu_store *store = NULL;
    if (quipu_store_open(path, NULL, &store, NULL) != QUIPU_OK) {
        _exit(2);
    }
    uint64_t last = 0;
    while (last < until) {
        struct quipu_txn *txn = NULL;
        if (quipu_txn_begin_read(store, &txn, NULL) != QUIPU_OK ||
            quipu_txn_last_position(txn) < last) {
            _exit(3);
        }
        last = quipu_txn_last_position(txn);
        for (uint64_t position = 1; position <= last; position++) {
            struct quipu_record record;
            struct quipu_record found;
            enum quipu_block_kind kind;
            if (quipu_txn_record_at(txn, position, &record, NULL) != QUIPU_OK ||
                quipu_txn_find_event_id(txn, record.event_id, &found, NULL) != QUIPU_OK ||
                found.position != position ||
                quipu_txn_find_cid(txn, &record.envelope_cid, &found, &kind, NULL) != QUIPU_OK ||
                found.position != position) {
                _exit(4);
            }
        }
        quipu_txn_abort(&txn);
    }
    quipu_store_close(&store);
    _exit(0);
}

Test(store_processes, write_and_read_one_store_together)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    pid_t pids[WRITERS + 2];
    /* Of ten events nine are kept: the fifth is aborted and left out, the tenth tried again. */
    uint64_t kept = WRITERS * EVENTS_A_PROCESS / 10 * 9;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    for (uint64_t i = 0; i < WRITERS + 2; i++) {
        pids[i] = fork();
        if (pids[i] == 0 && i < WRITERS) {
            write_as(path, i);
        } else if (pids[i] == 0) {
            read_as(path, kept);
        }
    }
    for (size_t i = 0; i < WRITERS + 2; i++) {
        int status = -1;
        waitpid(pids[i], &status, 0);
        cr_assert_eq(status, 0, "process %zu: 0x%x", i, (unsigned)status);
    }

    struct quipu_store *store = NULL;
    cr_assert_eq(quipu_store_open(path, NULL, &store, NULL), QUIPU_OK);
    cr_assert_eq(last_position_of(store), kept);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    temp_dir_release(&dir);
}

Test(store_processes, a_writer_that_is_killed_holds_nobody_up)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    int pipes[2];
    struct quipu_store_tuning tuning = tuning_small();
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        struct quipu_txn *txn = NULL;
        struct quipu_txn *reader = NULL;
        struct sample sample;
        uint64_t position;
        sample_make(&sample, 1, 10, true);
        char ready = 'f';
        if (quipu_store_open_tuned(path, NULL, &tuning, &store, NULL) == QUIPU_OK &&
            quipu_txn_begin_read(store, &reader, NULL) == QUIPU_OK &&
            quipu_txn_begin_write(store, &txn, NULL) == QUIPU_OK &&
            sample_append(txn, &sample, &position, NULL) == QUIPU_OK) {
            ready = 'r';
        }
        ssize_t written = write(pipes[1], &ready, 1);
        (void)written;
        pause();
    }
    char ready = 0;
    cr_assert_eq(read(pipes[0], &ready, 1), 1);
    cr_assert_eq(ready, 'r');
    struct quipu_store *store = NULL;
    cr_assert_eq(quipu_store_open_tuned(path, NULL, &tuning, &store, NULL), QUIPU_OK);

    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_assert_eq(last_position_of(store), 0);
    samples_commit(store, 0, 30, 4);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    temp_dir_release(&dir);
}

/* ------------------------------------------------------------------ memory */

struct countdown {
    long left; /* allocations until one fails; negative: none does */
    long live;
};

static void *count_reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct countdown *countdown = ctx;
    if (countdown->left == 0) {
        return NULL;
    }
    countdown->left -= countdown->left > 0;
    void *result = realloc(pointer, bytes);
    countdown->live += pointer == NULL && result != NULL;
    return result;
}

static void count_release(void *ctx, void *pointer)
{
    struct countdown *countdown = ctx;
    countdown->live--;
    free(pointer);
}

/* Everything that allocates; the first failure is returned. `*acked` counts what was committed. */
static enum quipu_status use_all(const char *path, const char *backup, uint64_t *acked)
{
    struct quipu_store *store = NULL;
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    struct quipu_store_lock *lock = NULL;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    struct sample sample;
    struct quipu_record record;
    uint64_t problems;
    enum quipu_status status = quipu_store_open_tuned(path, NULL, &tuning, &store, &err);
    for (uint64_t seed = 0; seed < 30 && status == QUIPU_OK; seed++) {
        uint64_t position;
        sample_make(&sample, seed, 10, true);
        status = quipu_txn_begin_write(store, &txn, &err);
        if (status == QUIPU_OK) {
            status = sample_append(txn, &sample, &position, &err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, &err);
        }
        quipu_txn_abort(&txn);
        *acked += status == QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        status = quipu_store_lock_take(store, "flush", &lock, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(store, &txn, &err);
    }
    if (status == QUIPU_OK) {
        status =
            quipu_table_walk_open(txn, (struct quipu_table){1}, quipu_slice(NULL, 0), &walk, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_find_event_id(txn, sample.record.event_id, &record, &err);
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        status = quipu_store_check_indexes(store, NULL, NULL, NULL, &problems, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_store_backup(store, backup, &err);
    }
    quipu_store_lock_release(&lock);
    quipu_store_close(&store);
    return status;
}

Test(store_memory, survives_the_failure_of_every_allocation)
{
    struct countdown countdown = {0, 0};
    struct quipu_allocator allocator = {count_reallocate, count_release, &countdown};
    enum quipu_status status = QUIPU_NO_MEMORY;
    long n = 0;
    for (; status != QUIPU_OK; n++) {
        struct temp_dir dir;
        char path[2 * TEMP_DIR_BYTES];
        char backup[2 * TEMP_DIR_BYTES];
        uint64_t acked = 0;
        temp_dir_init(&dir);
        temp_dir_join(&dir, "store", path);
        temp_dir_join(&dir, "backup", backup);
        countdown = (struct countdown){n, 0};
        quipu_alloc_set(&allocator);
        status = use_all(path, backup, &acked);
        quipu_alloc_set(NULL);

        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "%ld: %s", n,
                  quipu_status_name(status));
        cr_assert_eq(countdown.live, 0, "%ld: %ld blocks left", n, countdown.live);
        struct quipu_store *store = NULL;
        cr_assert_eq(quipu_store_open(path, NULL, &store, NULL), QUIPU_OK);
        cr_assert_eq(last_position_of(store), acked);
        cr_assert_eq(problems_of(store), 0);
        quipu_store_close(&store);
        temp_dir_release(&dir);
        cr_assert_lt(n, 500);
    }
    cr_assert_gt(n, 8, "only %ld allocations", n);
}

Test(store_memory, a_warm_append_and_a_warm_look_up_allocate_nothing)
{
    struct countdown countdown = {-1, 0};
    struct quipu_allocator allocator = {count_reallocate, count_release, &countdown};
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct sample sample;
    uint64_t position;
    quipu_alloc_set(&allocator);
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 200, 10);
    sample_make(&sample, 7, 10, true);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK);
    quipu_txn_abort(&txn);

    countdown.left = 0; /* from here on each would fail */
    for (uint64_t seed = 200; seed < 203; seed++) {
        samples_commit(fixture.store, seed, seed + 1, 1);
    }
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK);
    quipu_txn_abort(&txn);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    sample_make(&sample, 300, 10, true);
    cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    fixture_release(&fixture);
    quipu_alloc_set(NULL);
}

/* ------------------------------------------------------------------ space */

static enum quipu_status append_until_full(struct quipu_store *store, uint64_t *seed,
                                           struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        uint64_t position;
        status = quipu_txn_begin_write(store, &txn, err);
        for (uint64_t i = 0; i < 20 && status == QUIPU_OK; i++) {
            struct sample sample;
            sample_make(&sample, *seed + i, 10, true);
            status = sample_append(txn, &sample, &position, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
        *seed += status == QUIPU_OK ? 20 : 0;
    }
    return status;
}

/* A file that leaves no block over. */
static void fill_disk(const char *path)
{
    static uint8_t zeroes[4096];
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    setvbuf(file, NULL, _IONBF, 0);
    while (fwrite(zeroes, 1, sizeof zeroes, file) == sizeof zeroes) {
    }
    fclose(file);
}

static void use_small_disk(const struct temp_dir *disk)
{
    char ballast[2 * TEMP_DIR_BYTES];
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    temp_dir_join(disk, "ballast", ballast);
    temp_dir_join(disk, "store", path);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    uint64_t seed = 0;
    samples_commit(store, 0, 100, 10);
    seed = 100;

    fill_disk(ballast);
    cr_assert_eq(append_until_full(store, &seed, &err), QUIPU_NO_SPACE, "%s", err.message);
    cr_assert(strstr(err.message, "No space left") != NULL, "%s", err.message);
    cr_assert_eq(append_until_full(store, &seed, &err), QUIPU_NO_SPACE, "%s", err.message);
    cr_assert_eq(last_position_of(store), seed, "reads go on, and only what was acknowledged");
    cr_assert_eq(problems_of(store), 0);

    /* A full disk can be opened, too, and is not to be a SIGBUS. */
    quipu_store_close(&store);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(last_position_of(store), seed);
    char copy[2 * TEMP_DIR_BYTES];
    temp_dir_join(disk, "copy", copy);
    cr_assert_eq(quipu_store_backup(store, copy, &err), QUIPU_NO_SPACE, "%s", err.message);

    cr_assert_eq(unlink(ballast), 0);
    cr_assert_eq(quipu_store_backup(store, copy, &err), QUIPU_OK, "%s", err.message);
    samples_commit(store, seed, seed + 50, 10);
    cr_assert_eq(last_position_of(store), seed + 50);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
}

Test(store_space, says_disk_full_reads_on_and_writes_again_when_there_is_space)
{
    small_disk_run("size=3m", use_small_disk);
}

static void make_on_full_disk(const struct temp_dir *disk)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    char ballast[2 * TEMP_DIR_BYTES];
    fill_disk(temp_dir_join(disk, "ballast", ballast));

    temp_dir_join(disk, "store", path);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_NO_SPACE, "%s", err.message);
    cr_assert_eq(unlink(ballast), 0);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    quipu_store_close(&store);
}

Test(store_space, says_disk_full_where_a_store_is_to_be_made_on_a_full_disk)
{
    small_disk_run("size=256k", make_on_full_disk);
}

/* LMDB writes lock.mdb through a map: a full disk must be said, and not be a SIGBUS. */
static void open_without_lock_file(const struct temp_dir *disk)
{
    char path[2 * TEMP_DIR_BYTES];
    char lock[2 * TEMP_DIR_BYTES];
    char ballast[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    temp_dir_join(disk, "store", path);
    temp_dir_join(disk, "store/lock.mdb", lock);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    samples_commit(store, 0, 20, 5);
    quipu_store_close(&store);
    cr_assert_eq(unlink(lock), 0); /* as where a backup was copied back */
    fill_disk(temp_dir_join(disk, "ballast", ballast));

    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_NO_SPACE, "%s", err.message);

    cr_assert_eq(unlink(ballast), 0);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(last_position_of(store), 20);
    quipu_store_close(&store);
}

Test(store_space, says_disk_full_where_there_is_no_room_for_the_lock_file)
{
    small_disk_run("size=3m", open_without_lock_file);
}
