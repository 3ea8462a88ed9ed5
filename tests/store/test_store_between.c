/*
 * What others may do between two steps of one call: the program stands in for the system's fsync
 * and fcntl, and does something of its own before the one that comes next; and for LMDB where it
 * begins a snapshot, and does something right after.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store_answers.h"
#include "store_fixture.h"

/* Done once, before the next call of this kind. */
static void (*before_sync)(void);
static void (*before_lock)(void);
static void (*behind_snapshot)(void);

static void do_once(void (**what)(void))
{
    void (*now)(void) = *what;
    *what = NULL;
    if (now != NULL) {
        now();
    }
}

int fsync(int fd)
{
    do_once(&before_sync);
    return (int)syscall(SYS_fsync, fd);
}

int fcntl(int fd, int command, ...)
{
    va_list rest;
    va_start(rest, command);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (command == F_OFD_SETLK) {
        do_once(&before_lock);
    }
    return (int)syscall(SYS_fcntl, fd, command, argument);
}

/* A thread that is held up in there may have its snapshot's number from before and its content from
 * after what others do meanwhile: all of that looks, to whoever asks then, as here. */
int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **out)
{
    int (*begin)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);
    void *found = dlsym(RTLD_NEXT, "mdb_txn_begin");
    memcpy(&begin, &found, sizeof begin);
    int code = begin(env, parent, flags, out);
    if ((flags & MDB_RDONLY) != 0) {
        do_once(&behind_snapshot);
    }
    return code;
}

int mdb_txn_renew(MDB_txn *txn)
{
    int (*renew)(MDB_txn *);
    void *found = dlsym(RTLD_NEXT, "mdb_txn_renew");
    memcpy(&renew, &found, sizeof renew);
    int code = renew(txn);
    do_once(&behind_snapshot);
    return code;
}

static struct fixture fixture;
static char place[2 * TEMP_DIR_BYTES]; /* where copies go */

/* What came of it when it was done in between. */
static enum quipu_status between;
static struct quipu_error between_err;

static void set_up(void)
{
    struct quipu_store_tuning tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 50, 7);
    temp_dir_join(&fixture.dir, "copy", place);
    between = QUIPU_DONE;
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_between, .init = set_up, .fini = tear_down);

/* It has been done, and was refused: this process is at work there. */
static void assert_was_refused(void)
{
    char words[64];
    cr_assert_eq(between, QUIPU_BUSY, "%s", quipu_status_name(between));
    (void)snprintf(words, sizeof words, "process %d", (int)getpid());
    cr_assert_not_null(strstr(between_err.message, words), "%s", between_err.message);
}

/* ------------------------------------------------------------------ copies */

static void back_up(void)
{
    between = quipu_store_backup(fixture.store, place, &between_err);
}

static void make_store(void)
{
    struct quipu_store *store = NULL;
    between = quipu_store_open(place, NULL, &store, &between_err);
    quipu_store_close(&store);
}

static void assert_copy_is_whole(void)
{
    cr_assert_not(folder_has(place, "create.tmp"));
    cr_assert_not(folder_has(place, "open.lock"), "a copy is one file");
    cr_assert_eq(answers_at(place), answers_of(fixture.store));
}

Test(store_between, a_folder_is_backed_up_into_by_one_at_a_time)
{
    struct quipu_error err;
    before_sync = back_up;

    cr_assert_eq(quipu_store_backup(fixture.store, place, &err), QUIPU_OK, "%s", err.message);

    assert_was_refused();
    assert_copy_is_whole();
}

Test(store_between, no_store_is_made_where_a_backup_is_being_made)
{
    struct quipu_error err;
    before_sync = make_store;

    cr_assert_eq(quipu_store_backup(fixture.store, place, &err), QUIPU_OK, "%s", err.message);

    assert_was_refused();
    assert_copy_is_whole();
}

Test(store_between, no_backup_is_made_where_a_store_is_being_made)
{
    struct quipu_store *store = NULL;
    struct quipu_error err;
    before_sync = back_up;

    cr_assert_eq(quipu_store_open(place, NULL, &store, &err), QUIPU_OK, "%s", err.message);

    assert_was_refused();
    cr_assert_eq(last_position_of(store), 0);
    quipu_store_close(&store);
}

/* The other has filled the folder, and gone, since we saw that it was empty. */
Test(store_between, a_backup_does_not_replace_one_that_was_made_meanwhile)
{
    struct quipu_error err;
    before_lock = back_up;

    cr_assert_eq(quipu_store_backup(fixture.store, place, &err), QUIPU_BUSY, "%s", err.message);

    cr_assert_eq(between, QUIPU_OK, "%s", between_err.message);
    cr_assert_eq(quipu_store_backup(fixture.store, place, &err), QUIPU_EXISTS);
    assert_copy_is_whole();
}

/* A backup deletes the lock file that we are about to lock. */
Test(store_between, an_opening_locks_the_file_that_others_find)
{
    struct quipu_store *store = NULL;
    struct quipu_store *second = NULL;
    struct quipu_error err;
    before_lock = back_up;

    cr_assert_eq(quipu_store_open(place, NULL, &store, &err), QUIPU_OK, "%s", err.message);

    cr_assert_eq(between, QUIPU_OK, "%s", between_err.message);
    cr_assert_eq(last_position_of(store), 50);
    cr_assert_eq(quipu_store_open(place, NULL, &second, &err), QUIPU_EXISTS);
    quipu_store_close(&store);
}

/* ------------------------------------------------------------------ named locks */

static struct quipu_store_lock *held;

static void remove_held(void)
{
    quipu_store_lock_remove(&held);
}

/* The second has the file open when the first one deletes it, and locks it then. */
Test(store_between, a_lock_of_a_file_that_was_deleted_is_none)
{
    struct quipu_store_lock *second = NULL;
    struct quipu_store_lock *third = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &held, NULL), QUIPU_OK);
    before_lock = remove_held;

    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &second, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_null(held);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &third, NULL), QUIPU_BUSY);
    cr_assert(folder_has(fixture.path, "once.lock"));
    quipu_store_lock_release(&second);
    cr_assert_eq(quipu_store_lock_take(fixture.store, "once", &third, NULL), QUIPU_OK);
    quipu_store_lock_release(&third);
}

/* ------------------------------------------------------------------ snapshots */

static void commit_thrice(void)
{
    uint64_t last = 50;
    samples_commit(fixture.store, last, last + 3, 1);
    between = QUIPU_OK;
}

/* The page that a snapshot's number leads to is written anew by the second commit after it. So one
 * that is found so old may be of two ages, and is begun again: by the first of a handle, and by one
 * that was idle. */
Test(store_between, a_snapshot_that_was_overtaken_is_begun_again)
{
    for (int is_idle = 0; is_idle < 2; is_idle++) {
        struct quipu_txn *txn = NULL;
        struct quipu_store_tuning tuning = tuning_small();
        struct quipu_record record;
        struct sample sample;
        fixture_release(&fixture);
        fixture_init(&fixture, &tuning);
        samples_commit(fixture.store, 0, 50, 7);
        fixture_reopen(&fixture, &tuning);
        if (is_idle == 1) {
            cr_assert_eq(last_position_of(fixture.store), 50);
        }
        between = QUIPU_DONE;
        behind_snapshot = commit_thrice;

        cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);

        cr_assert_eq(between, QUIPU_OK);
        cr_assert_eq(quipu_txn_last_position(txn), 53, "the snapshot is from before");
        sample_make(&sample, 52, 10, true);
        cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK);
        quipu_txn_abort(&txn);
    }
}
