/*
 * What lies in the folder beside the log: lock files and copies.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "quipu/store_upkeep.h"
#include "store_answers.h"
#include "store_fixture.h"

static struct fixture fixture;

static void set_up(void)
{
    struct quipu_store_tuning tuning = tuning_small();
    fixture_init(&fixture, &tuning);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_files, .init = set_up, .fini = tear_down);

Test(store_files, a_lock_has_one_holder_and_says_who_it_is)
{
    struct quipu_store_lock *lock = NULL;
    struct quipu_store_lock *second = NULL;
    struct quipu_error err;
    char pid[32];
    snprintf(pid, sizeof pid, "process %d", (int)getpid());

    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, &err), QUIPU_OK);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &second, &err), QUIPU_BUSY);
    cr_assert(strstr(err.message, pid) != NULL, "%s", err.message);
    cr_assert_not_null(strstr(err.message, ", this one"), "%s", err.message);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "pull", &second, &err), QUIPU_OK);
    quipu_store_lock_release(&second);
    quipu_store_lock_release(&lock);
    cr_assert_null(lock);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, &err), QUIPU_OK);
    quipu_store_lock_release(&lock);
    quipu_store_lock_release(&lock);
}

static bool file_is_there(const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", quipu_store_path(fixture.store), name);
    return access(path, F_OK) == 0;
}

Test(store_files, a_lock_that_is_removed_takes_its_file_along)
{
    struct quipu_store_lock *lock = NULL;
    struct quipu_store_lock *second = NULL;
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &lock, NULL), QUIPU_OK);
    cr_assert(file_is_there("once.lock"));
    quipu_store_lock_remove(&lock);
    cr_assert_null(lock);
    cr_assert_not(file_is_there("once.lock"));
    quipu_store_lock_remove(&lock);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &lock, NULL), QUIPU_OK);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &second, NULL), QUIPU_BUSY);
    quipu_store_lock_release(&lock);
    cr_assert(file_is_there("once.lock"));
}

enum { REMOVERS = 3, REMOVALS = 2000 };

static atomic_int holders;
static atomic_int failures;

static void *take_and_remove(void *ctx)
{
    (void)ctx;
    for (int taken = 0; taken < REMOVALS;) {
        struct quipu_store_lock *lock = NULL;
        enum quipu_status status = quipu_store_lock_take(fixture.store, "once", &lock, NULL);
        if (status == QUIPU_BUSY) {
            continue;
        }
        if (status != QUIPU_OK || atomic_fetch_add(&holders, 1) != 0) {
            atomic_fetch_add(&failures, 1);
        }
        taken++;
        atomic_fetch_sub(&holders, 1);
        quipu_store_lock_remove(&lock);
    }
    return NULL;
}

/* One that had the file open before it was deleted does not hold a lock that nobody else sees. */
Test(store_files, removing_leaves_one_holder_at_a_time)
{
    pthread_t threads[REMOVERS];
    for (size_t i = 0; i < REMOVERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, take_and_remove, NULL), 0);
    }
    for (size_t i = 0; i < REMOVERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_eq(atomic_load(&failures), 0);
    cr_assert_not(file_is_there("once.lock"));
}

static bool is_claimed(uint32_t number)
{
    bool is_held = false;
    cr_assert_eq(quipu_store_claim_is_held(fixture.store, "claims", number, &is_held, NULL),
                 QUIPU_OK);
    return is_held;
}

Test(store_files, a_claim_is_on_a_number_and_can_be_looked_at)
{
    struct quipu_store_lock *five = NULL;
    struct quipu_store_lock *six = NULL;
    struct quipu_store_lock *other = NULL;
    bool is_held;
    cr_assert_not(is_claimed(5), "there is no file yet");
    cr_assert_not(file_is_there("claims.lock"), "and looking makes none");
    cr_assert_eq(quipu_store_claim_take(fixture.store, "claims", 5, &five, NULL), QUIPU_OK);
    cr_assert_eq(quipu_store_claim_take(fixture.store, "claims", UINT32_MAX, &six, NULL), QUIPU_OK);
    cr_assert_eq(quipu_store_claim_take(fixture.store, "claims", 5, &other, NULL), QUIPU_BUSY);
    cr_assert(is_claimed(5) && is_claimed(UINT32_MAX));
    cr_assert_not(is_claimed(4) || is_claimed(6));
    quipu_store_lock_release(&five);
    cr_assert_not(is_claimed(5));
    cr_assert(is_claimed(UINT32_MAX));
    quipu_store_lock_release(&six);
    cr_assert_eq(quipu_store_claim_is_held(fixture.store, "a/b", 1, &is_held, NULL), QUIPU_MISUSE);
}

Test(store_files, names_of_locks_are_plain)
{
    static const char *const bad[] = {
        "", "open", "lock", "../x", "a/b", "A", "a.b", "a b", "123456789012345678901234567890123"};
    struct quipu_store_lock *lock = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_store_lock_take(fixture.store, bad[i], &lock, NULL), QUIPU_MISUSE, "%s",
                     bad[i]);
    }
    cr_assert_eq(quipu_store_lock_take(fixture.store, NULL, &lock, NULL), QUIPU_MISUSE);
    cr_assert_eq(
        quipu_store_lock_take(fixture.store, "12345678901234567890123456789012", &lock, NULL),
        QUIPU_OK);
    quipu_store_lock_release(&lock);
}

/* ------------------------------------------------------------------ what is put in our way */

static const char precious[] = "the log of another store";

/* "<store>/<name>" */
static char *path_of(const char *name, char out[3 * TEMP_DIR_BYTES])
{
    (void)snprintf(out, 3 * TEMP_DIR_BYTES, "%s/%s", fixture.path, name);
    return out;
}

/* A folder "elsewhere" with a data.mdb, beside the store. */
static void put_precious(void)
{
    char path[2 * TEMP_DIR_BYTES];
    cr_assert_eq(mkdir(temp_dir_join(&fixture.dir, "elsewhere", path), 0700), 0);
    FILE *file = fopen(temp_dir_join(&fixture.dir, "elsewhere/data.mdb", path), "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(precious, file), 0);
    cr_assert_eq(fclose(file), 0);
}

static void assert_precious(void)
{
    char path[2 * TEMP_DIR_BYTES];
    char text[sizeof precious + 1] = {0};
    FILE *file = fopen(temp_dir_join(&fixture.dir, "elsewhere/data.mdb", path), "r");
    cr_assert_not_null(file, "it was deleted");
    cr_assert_eq(fread(text, 1, sizeof text, file), sizeof precious - 1);
    cr_assert_str_eq(text, precious);
    cr_assert_eq(fclose(file), 0);
}

Test(store_files, a_link_is_not_taken_for_a_folder_that_was_left_over)
{
    char path[3 * TEMP_DIR_BYTES];
    struct quipu_error err;
    put_precious();
    quipu_store_close(&fixture.store);
    cr_assert_eq(symlink("../elsewhere", path_of("create.tmp", path)), 0);

    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_EXISTS);
    cr_assert_not_null(strstr(err.message, "create.tmp"), "%s", err.message);
    assert_precious();
    cr_assert_eq(quipu_store_compact(fixture.path, NULL, NULL, &err), QUIPU_EXISTS);
    assert_precious();
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_OK);
}

Test(store_files, a_lock_file_that_is_a_link_is_not_written_to)
{
    static const char *const of_opening[] = {"open.lock", "lock.mdb"};
    char path[3 * TEMP_DIR_BYTES];
    struct quipu_store_lock *lock = NULL;
    struct quipu_error err;
    bool is_held;
    put_precious();
    cr_assert_eq(symlink("../elsewhere/data.mdb", path_of("flush.lock", path)), 0);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "flush.lock is not a plain file"), "%s", err.message);
    cr_assert_eq(quipu_store_claim_take(fixture.store, "flush", 1, &lock, &err), QUIPU_INVALID);
    cr_assert_eq(quipu_store_claim_is_held(fixture.store, "flush", 1, &is_held, &err),
                 QUIPU_INVALID);
    assert_precious();
    quipu_store_close(&fixture.store);
    for (size_t i = 0; i < sizeof of_opening / sizeof of_opening[0]; i++) {
        cr_assert_eq(unlink(path_of(of_opening[i], path)), 0);
        cr_assert_eq(symlink("../elsewhere/data.mdb", path), 0);
        cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_INVALID,
                     "%s", of_opening[i]);
        assert_precious();
        cr_assert_eq(unlink(path), 0);
    }
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, &err), QUIPU_OK);
}

/* Opening a FIFO for reading waits for whoever writes to it. */
Test(store_files, a_lock_file_that_is_a_fifo_keeps_nobody_waiting, .timeout = 60)
{
    char path[3 * TEMP_DIR_BYTES];
    struct quipu_store_lock *lock = NULL;
    bool is_held;
    cr_assert_eq(mkfifo(path_of("flush.lock", path), 0600), 0);
    cr_assert_eq(quipu_store_claim_is_held(fixture.store, "flush", 1, &is_held, NULL),
                 QUIPU_INVALID);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, NULL), QUIPU_INVALID);
}

Test(store_files, a_lock_of_another_process_ends_with_it)
{
    int pipes[2];
    struct quipu_store_lock *lock = NULL;
    struct quipu_error err;
    quipu_store_close(&fixture.store);
    cr_assert_eq(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char ready = 'r';
        if (quipu_store_open(fixture.path, NULL, &fixture.store, NULL) != QUIPU_OK ||
            quipu_store_lock_take(fixture.store, "flush", &lock, NULL) != QUIPU_OK) {
            ready = 'f';
        }
        ssize_t written = write(pipes[1], &ready, 1);
        (void)written;
        pause();
        _exit(1);
    }
    char ready = 0;
    cr_assert_eq(read(pipes[0], &ready, 1), 1);
    cr_assert_eq(ready, 'r');
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, NULL), QUIPU_OK);

    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, &err), QUIPU_BUSY);
    char text[32];
    snprintf(text, sizeof text, "process %d", (int)pid);
    cr_assert(strstr(err.message, text) != NULL, "%s", err.message);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, &err), QUIPU_OK);
    quipu_store_lock_release(&lock);
}

Test(store_files, a_forked_child_cannot_give_away_its_parents_lock)
{
    struct quipu_store_lock *lock = NULL;
    struct quipu_store_lock *second = NULL;
    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &lock, NULL), QUIPU_OK);
    pid_t pid = fork();
    if (pid == 0) {
        quipu_store_lock_release(&lock);
        quipu_store_close(&fixture.store);
        _exit(0);
    }
    waitpid(pid, NULL, 0);

    cr_assert_eq(quipu_store_lock_take(fixture.store, "flush", &second, NULL), QUIPU_BUSY);
    struct quipu_store *again = NULL;
    cr_assert_eq(quipu_store_open(fixture.path, NULL, &again, NULL), QUIPU_EXISTS);
    quipu_store_lock_release(&lock);
}

Test(store_files, a_backup_is_a_store_of_its_own)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *copy = NULL;
    struct stat info;
    struct quipu_error err;
    samples_commit(fixture.store, 0, 150, 7);
    temp_dir_join(&fixture.dir, "backup", path);

    cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_OK, "%s", err.message);
    samples_commit(fixture.store, 150, 160, 7);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0700);
    cr_assert_eq(quipu_store_open(path, NULL, &copy, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(last_position_of(copy), 150);
    cr_assert_eq(problems_of(copy), 0);
    cr_assert(quipu_uuid_equal(quipu_store_id(copy), quipu_store_id(fixture.store)));
    samples_commit(copy, 150, 200, 3);
    cr_assert_eq(problems_of(copy), 0);
    quipu_store_close(&copy);
    cr_assert_eq(last_position_of(fixture.store), 160);
}

Test(store_files, a_backup_goes_into_an_empty_folder_only)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_error err;
    temp_dir_join(&fixture.dir, "backup", path);
    cr_assert_eq(mkdir(path, 0700), 0);

    cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_EXISTS);
    cr_assert_eq(quipu_store_backup(fixture.store, fixture.path, &err), QUIPU_EXISTS);
    cr_assert_eq(quipu_store_backup(fixture.store, "", &err), QUIPU_MISUSE);
    temp_dir_join(&fixture.dir, "absent/below", path);
    cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_NOT_FOUND);
    temp_dir_join(&fixture.dir, "store/data.mdb", path);
    cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_NOT_A_STORE);
}

Test(store_files, a_backup_while_another_process_writes_is_consistent)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_error err;
    struct quipu_store_tuning tuning = tuning_small();
    samples_commit(fixture.store, 0, 50, 7);
    quipu_store_close(&fixture.store);
    pid_t pid = fork();
    if (pid == 0) {
        fixture_reopen(&fixture, &tuning);
        for (uint64_t seed = 50;; seed++) {
            samples_commit(fixture.store, seed, seed + 1, 1);
        }
    }
    fixture_reopen(&fixture, &tuning);
    for (int i = 0; i < 10; i++) {
        char name[16];
        struct quipu_store *copy = NULL;
        snprintf(name, sizeof name, "backup-%d", i);
        temp_dir_join(&fixture.dir, name, path);
        uint64_t before = last_position_of(fixture.store);
        cr_assert_eq(quipu_store_backup(fixture.store, path, &err), QUIPU_OK, "%s", err.message);
        uint64_t after = last_position_of(fixture.store);
        cr_assert_eq(quipu_store_open(path, NULL, &copy, &err), QUIPU_OK, "%s", err.message);
        uint64_t copied = last_position_of(copy);
        cr_assert(copied >= before && copied <= after);
        cr_assert_eq(problems_of(copy), 0);
        quipu_store_close(&copy);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

Test(store_files, a_backup_that_is_killed_behind_its_rename_is_whole)
{
#ifndef QUIPU_FAILPOINTS
    fprintf(stderr, "skipped: built without failpoints\n");
    return;
#endif
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store_tuning tuning = tuning_small();
    temp_dir_join(&fixture.dir, "copy", path);
    samples_commit(fixture.store, 0, 50, 5);
    uint64_t answers = answers_of(fixture.store);
    quipu_store_close(&fixture.store);
    pid_t pid = fork();
    if (pid == 0) {
        setenv("QUIPU_FAILPOINT", "store.backup.rename:kill", 1);
        fixture_reopen(&fixture, &tuning);
        _exit(quipu_store_backup(fixture.store, path, NULL) == QUIPU_OK ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "status 0x%x", (unsigned)status);
    cr_assert_eq(answers_at(path), answers);
    cr_assert_not(folder_has(path, "create.tmp"));
}
