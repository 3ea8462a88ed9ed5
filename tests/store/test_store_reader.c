/*
 * Reading a store in a folder that cannot be written, where LMDB's locks are out of reach: nobody
 * writes under such a reader, and it reads nothing that somebody may be writing.
 *
 * The reader is a process of its own, without the right to write to the folder; where the tests run
 * as the superuser it is nobody's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "quipu/store_upkeep.h"
#include "store_answers.h"
#include "store_fixture.h"

enum { NOBODY = 65534, EVENTS = 50 };

static struct fixture fixture;
static struct quipu_store_tuning tuning;

/* ------------------------------------------------------------------ the reader */

enum command { OPEN = 'o', READ = 'r', CLOSE = 'c' };

struct answer {
    enum quipu_status status;
    uint64_t events;
    struct quipu_error err;
};

struct reader {
    pid_t pid;
    int to;
    int from;
};

static enum quipu_status count_events(struct quipu_store *store, uint64_t *events,
                                      struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(store, &txn, err);
    if (status == QUIPU_OK) {
        *events = quipu_txn_last_position(txn);
    }
    quipu_txn_abort(&txn);
    return status;
}

static void reader_main(int from, int to)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    options.create = QUIPU_STORE_OPEN_EXISTING;
    struct quipu_store *store = NULL;
    char command = 0;
    while (read(from, &command, 1) == 1) {
        struct answer answer = {.status = QUIPU_OK};
        if (command == OPEN) {
            answer.status = quipu_store_open(fixture.path, &options, &store, &answer.err);
        } else if (command == READ) {
            answer.status = count_events(store, &answer.events, &answer.err);
        } else {
            quipu_store_close(&store);
        }
        if (write(to, &answer, sizeof answer) != (ssize_t)sizeof answer) {
            break;
        }
    }
    quipu_store_close(&store);
    _exit(0);
}

/* False where even then the folder could be written, or not be read. */
static bool give_up_rights(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 ||
                           setresuid(NOBODY, NOBODY, NOBODY) != 0)) {
        return false;
    }
    return access(fixture.path, R_OK | X_OK) == 0 && access(fixture.path, W_OK) != 0;
}

static struct reader reader_start(void)
{
    int to[2];
    int from[2];
    cr_assert(pipe(to) == 0 && pipe(from) == 0);
    struct reader reader = {.pid = fork(), .to = to[1], .from = from[0]};
    if (reader.pid == 0) {
        (void)close(to[1]);
        (void)close(from[0]);
        bool is_ready = give_up_rights();
        if (write(from[1], &is_ready, sizeof is_ready) != (ssize_t)sizeof is_ready || !is_ready) {
            _exit(1);
        }
        reader_main(to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    bool is_ready = false;
    cr_assert_eq(read(reader.from, &is_ready, sizeof is_ready), (ssize_t)sizeof is_ready);
    if (!is_ready) {
        fprintf(stderr, "skipped: no process here can read the folder and not write it\n");
        (void)close(reader.to);
        reader.to = -1;
    }
    return reader;
}

static bool is_running(const struct reader *reader)
{
    return reader->to >= 0;
}

static struct answer ask(const struct reader *reader, enum command command)
{
    char letter = (char)command;
    struct answer answer = {.status = QUIPU_OK};
    cr_assert_eq(write(reader->to, &letter, 1), 1);
    cr_assert_eq(read(reader->from, &answer, sizeof answer), (ssize_t)sizeof answer,
                 "the reader has died");
    return answer;
}

static void reader_end(struct reader *reader)
{
    if (is_running(reader)) {
        (void)close(reader->to);
    }
    (void)close(reader->from);
    cr_assert_eq(waitpid(reader->pid, NULL, 0), reader->pid);
}

/* ------------------------------------------------------------------ the folder */

static void set_modes(mode_t folder, mode_t files)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "open.lock"};
    char path[3 * TEMP_DIR_BYTES];
    cr_assert_eq(chmod(fixture.path, 0700), 0);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", fixture.path, names[i]);
        (void)chmod(path, files); /* not every one is always there */
    }
    cr_assert_eq(chmod(fixture.path, folder), 0);
}

static void forbid_writing(void)
{
    set_modes(0555, 0444);
}

/* The superuser may write in any case, and the reader goes on having no right to it. */
static void allow_writing(void)
{
    set_modes(geteuid() == 0 ? 0555 : 0700, geteuid() == 0 ? 0444 : 0600);
}

static void set_up(void)
{
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    cr_assert_eq(chmod(fixture.dir.path, 0711), 0);
    samples_commit(fixture.store, 0, EVENTS, 7);
    quipu_store_close(&fixture.store);
    forbid_writing();
}

static void tear_down(void)
{
    set_modes(0700, 0600);
    fixture_release(&fixture);
}

TestSuite(store_reader, .init = set_up, .fini = tear_down, .timeout = 120);

/* ------------------------------------------------------------------ tests */

/* The line names this process behind these words. */
static void assert_names(const struct quipu_error *err, const char *words, pid_t pid)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%s %d", words, (int)pid);
    cr_assert_not_null(strstr(err->message, text), "%s: \"%s\" is missing", err->message, text);
}

Test(store_reader, keeps_writers_out_until_it_has_closed)
{
    struct quipu_error err;
    struct reader reader = reader_start();
    if (is_running(&reader)) {
        struct answer answer = ask(&reader, OPEN);
        cr_assert_eq(answer.status, QUIPU_OK, "%s", answer.err.message);
        answer = ask(&reader, READ);
        cr_assert(answer.status == QUIPU_OK && answer.events == EVENTS, "%s", answer.err.message);

        allow_writing();
        enum quipu_status status =
            quipu_store_open_tuned(fixture.path, NULL, &tuning, &fixture.store, &err);
        cr_assert_eq(status, QUIPU_BUSY, "%s", quipu_status_name(status));
        assert_names(&err, "being read by process", reader.pid);
        cr_assert_eq(quipu_store_compact(fixture.path, NULL, NULL, &err), QUIPU_BUSY);
        assert_names(&err, "being read by process", reader.pid);

        cr_assert_eq(ask(&reader, CLOSE).status, QUIPU_OK);
        fixture_reopen(&fixture, &tuning);
        samples_commit(fixture.store, EVENTS, EVENTS + 10, 3);
        cr_assert_eq(problems_of(fixture.store), 0);
    }
    reader_end(&reader);
}

Test(store_reader, does_not_keep_other_readers_out)
{
    struct reader one = reader_start();
    struct reader two = reader_start();
    if (is_running(&one) && is_running(&two)) {
        cr_assert_eq(ask(&one, OPEN).status, QUIPU_OK);
        cr_assert_eq(ask(&two, OPEN).status, QUIPU_OK);
        cr_assert_eq(ask(&one, READ).events, EVENTS);
        cr_assert_eq(ask(&two, READ).events, EVENTS);
    }
    /* The second holds the first one's pipe, too, so it ends before it. */
    reader_end(&two);
    reader_end(&one);
}

Test(store_reader, reads_nothing_while_somebody_may_write)
{
    struct reader reader = reader_start();
    if (is_running(&reader)) {
        allow_writing();
        fixture_reopen(&fixture, &tuning);
        forbid_writing();
        struct answer answer = ask(&reader, OPEN);
        cr_assert_eq(answer.status, QUIPU_BUSY, "%s", quipu_status_name(answer.status));
        assert_names(&answer.err, "open in process", getpid());

        quipu_store_close(&fixture.store);
        answer = ask(&reader, OPEN);
        cr_assert_eq(answer.status, QUIPU_OK, "%s", answer.err.message);
        cr_assert_eq(ask(&reader, READ).events, EVENTS);
    }
    reader_end(&reader);
}

Test(store_reader, reads_nothing_while_somebody_has_the_store_alone)
{
    struct quipu_store *alone = NULL;
    struct quipu_error err;
    struct reader reader = reader_start();
    if (is_running(&reader)) {
        allow_writing();
        cr_assert_eq(quipu_store_open_alone(fixture.path, &tuning, false, &alone, &err), QUIPU_OK,
                     "%s", err.message);
        forbid_writing();
        struct answer answer = ask(&reader, OPEN);
        cr_assert_eq(answer.status, QUIPU_BUSY, "%s", quipu_status_name(answer.status));
        assert_names(&answer.err, "compacted or repaired by process", getpid());
        quipu_store_close(&alone);
    }
    reader_end(&reader);
}

/* Of a store that may be written to meanwhile, nothing that is read proves anything. */
Test(store_reader, is_refused_where_it_cannot_see_who_writes)
{
    char path[3 * TEMP_DIR_BYTES];
    (void)snprintf(path, sizeof path, "%s/open.lock", fixture.path);
    cr_assert_eq(chmod(path, 0), 0);
    struct reader reader = reader_start();
    if (is_running(&reader)) {
        struct answer answer = ask(&reader, OPEN);
        cr_assert_eq(answer.status, QUIPU_PERMISSION, "%s", quipu_status_name(answer.status));
        cr_assert_not_null(strstr(answer.err.message, "open.lock cannot be read"), "%s",
                           answer.err.message);
    }
    reader_end(&reader);
}

/* Nobody has it open for writing then; but somebody may come, and make the file. */
Test(store_reader, without_a_lock_file_looks_for_one_before_each_reading)
{
    char path[3 * TEMP_DIR_BYTES];
    (void)snprintf(path, sizeof path, "%s/open.lock", fixture.path);
    cr_assert_eq(chmod(fixture.path, 0700), 0);
    cr_assert_eq(unlink(path), 0);
    forbid_writing();
    struct reader reader = reader_start();
    if (is_running(&reader)) {
        cr_assert_eq(ask(&reader, OPEN).status, QUIPU_OK);
        cr_assert_eq(ask(&reader, READ).events, EVENTS);
        cr_assert_not(folder_has(fixture.path, "open.lock"), "reading makes no file");

        allow_writing();
        fixture_reopen(&fixture, &tuning);
        forbid_writing();
        struct answer answer = ask(&reader, READ);
        cr_assert_eq(answer.status, QUIPU_BUSY, "%s", quipu_status_name(answer.status));
        samples_commit(fixture.store, EVENTS, EVENTS + 10, 3);
        quipu_store_close(&fixture.store);

        answer = ask(&reader, READ);
        cr_assert_eq(answer.status, QUIPU_OK, "%s", answer.err.message);
        cr_assert_eq(answer.events, EVENTS + 10);
        allow_writing();
        cr_assert_eq(quipu_store_open(fixture.path, NULL, &fixture.store, NULL), QUIPU_BUSY);
    }
    reader_end(&reader);
}
