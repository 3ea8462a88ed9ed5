/*
 * What others may do between two steps of one call: the program stands in for the system's fsync
 * and fcntl, and does something of its own before the one that comes next.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store_answers.h"
#include "store_fixture.h"

/* Done once, before the next call of this kind. */
static void (*before_sync)(void);
static void (*before_lock)(void);

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
