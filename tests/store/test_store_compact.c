/*
 * Compacting: smaller afterwards and otherwise the same; refused where anybody has the store open;
 * killed, failing and out of space at every boundary, it leaves a good store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_answers.h"
#include "store_fixture.h"
#include "upkeep.h"

#define EVENTS 300

static struct fixture fixture;
static struct quipu_store_tuning tuning;

/* A closed store with merges under way, trash, free pages and rows. */
static void set_up(void)
{
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, EVENTS, 3);
    rows_commit(fixture.store, 40);
    quipu_store_close(&fixture.store);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_compact, .init = set_up, .fini = tear_down);

static enum quipu_status compact(struct quipu_compact_report *report, struct quipu_error *err)
{
    return quipu_store_compact_tuned(fixture.path, &tuning, NULL, report, err);
}

Test(store_compact, merges_all_runs_and_gives_free_pages_back)
{
    struct quipu_compact_report report = {0};
    struct quipu_compact_report again = {0};
    struct quipu_error err;
    uint64_t before = answers_at(fixture.path);
    cr_assert_eq(compact(&report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events, EVENTS);
    cr_assert_gt(report.runs_before, 1);
    cr_assert_eq(report.runs_after, 1);
    cr_assert_lt(report.bytes_after, report.bytes_before);
    cr_assert_eq(answers_at(fixture.path), before);
    cr_assert_not(folder_has(fixture.path, "create.tmp"));

    /* Nothing is left to do, and nothing is done. */
    cr_assert_eq(compact(&again, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(again.runs_before, 1);
    cr_assert_eq(again.bytes_before, report.bytes_after);
    cr_assert_eq(again.bytes_after, report.bytes_after);
    cr_assert_eq(answers_at(fixture.path), before);
}

Test(store_compact, the_store_goes_on_afterwards)
{
    struct quipu_error err;
    for (uint64_t round = 0; round < 4; round++) {
        cr_assert_eq(compact(NULL, &err), QUIPU_OK, "%s", err.message);
        fixture_reopen(&fixture, &tuning);
        uint64_t last = last_position_of(fixture.store);
        samples_commit(fixture.store, last, last + 60, 7);
        cr_assert_eq(problems_of(fixture.store), 0);
        quipu_store_close(&fixture.store);
    }
}

Test(store_compact, an_empty_store_is_compact)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    struct quipu_compact_report report = {.events = 1};
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK);
    quipu_store_close(&store);
    cr_assert_eq(quipu_store_compact(path, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events, 0);
    cr_assert_eq(report.runs_after, 0);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "%s", err.message);
    samples_commit(store, 0, 5, 5);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    temp_dir_release(&dir);
}

Test(store_compact, keeps_the_mode_of_the_file)
{
    struct stat file;
    char path[2 * TEMP_DIR_BYTES + 16];
    snprintf(path, sizeof path, "%s/data.mdb", fixture.path);
    cr_assert_eq(chmod(path, 0640), 0);
    cr_assert_eq(compact(NULL, NULL), QUIPU_OK);
    cr_assert_eq(stat(path, &file), 0);
    cr_assert_eq(file.st_mode & 07777, 0640);
}

static void note_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
    char *words = ctx;
    if (strstr(words, what) == NULL) {
        strcat(words, what);
    }
    cr_assert(total == 0 || done <= total, "%s: %llu of %llu", what, (unsigned long long)done,
              (unsigned long long)total);
}

Test(store_compact, tells_how_far_it_is)
{
    char words[256] = "";
    struct quipu_upkeep_options options = QUIPU_UPKEEP_OPTIONS_INIT;
    options.progress = note_progress;
    options.ctx = words;
    struct quipu_error err;
    cr_assert_eq(quipu_store_compact_tuned(fixture.path, &tuning, &options, NULL, &err), QUIPU_OK);
    cr_assert_not_null(strstr(words, "merging"), "%s", words);
    cr_assert_not_null(strstr(words, "copied"), "%s", words);
    cr_assert_not_null(strstr(words, "compared"), "%s", words);
}

Test(store_compact, refuses_what_is_no_store)
{
    struct quipu_upkeep_options wrong = {.size = 1};
    struct quipu_error err;
    cr_assert_eq(quipu_store_compact(fixture.path, &wrong, NULL, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_store_compact("", NULL, NULL, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_store_compact("/nowhere/at/all", NULL, NULL, &err), QUIPU_NOT_FOUND);
}

/* ------------------------------------------------------------------ others */

Test(store_compact, is_refused_where_this_process_has_it_open)
{
    struct quipu_error err;
    char pid[64];
    snprintf(pid, sizeof pid, "is open in process %d, this one", (int)getpid());
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(compact(NULL, &err), QUIPU_BUSY);
    cr_assert_not_null(strstr(err.message, pid), "%s", err.message);
    cr_assert_eq(problems_of(fixture.store), 0);
}

/* A child that has the store open until the pipe is closed. */
static pid_t open_in_child(bool is_alone, int hold[2])
{
    int ready[2];
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(hold), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct quipu_store *store = NULL;
        close(hold[1]);
        enum quipu_status status =
            is_alone ? quipu_store_open_alone(fixture.path, &tuning, false, &store, NULL)
                     : quipu_store_open_tuned(fixture.path, NULL, &tuning, &store, NULL);
        char byte = 0;
        if (status != QUIPU_OK || write(ready[1], "r", 1) != 1) {
            _exit(2);
        }
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 3);
    }
    char byte = 0;
    close(ready[1]);
    close(hold[0]);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    return pid;
}

Test(store_compact, is_refused_where_another_process_has_it_open)
{
    struct quipu_error err;
    int hold[2];
    char words[64];
    pid_t pid = open_in_child(false, hold);
    snprintf(words, sizeof words, "is open in process %d; close", (int)pid);
    cr_assert_eq(compact(NULL, &err), QUIPU_BUSY);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    close(hold[1]);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    cr_assert_eq(compact(NULL, &err), QUIPU_OK, "%s", err.message);
}

Test(store_compact, keeps_others_out_while_it_works)
{
    struct quipu_store *store = NULL;
    struct quipu_error err;
    int hold[2];
    char words[64];
    pid_t pid = open_in_child(true, hold);
    snprintf(words, sizeof words, "compacted or repaired by process %d; ", (int)pid);
    cr_assert_eq(quipu_store_open_tuned(fixture.path, NULL, &tuning, &store, &err), QUIPU_BUSY);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    cr_assert_eq(compact(NULL, &err), QUIPU_BUSY);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);

    /* The lock is the process's, and goes with it. */
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, NULL, 0), pid);
    close(hold[1]);
    (void)answers_at(fixture.path);
}

/* ------------------------------------------------------------------ in the middle */

static const char *const points[] = {
    "store.merge.segment", "store.commit.before",   "store.commit.after",   "store.compact.merge",
    "store.compact.copy",  "store.compact.compare", "store.compact.rename",
};

/* In a child with the failpoint armed; the child's wait status. */
static int compact_in_child(const char *failpoint)
{
    pid_t pid = fork();
    if (pid == 0) {
        setenv("QUIPU_FAILPOINT", failpoint, 1);
        _exit(compact(NULL, NULL) == QUIPU_OK ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

/* A new store like the one of set_up. */
static void start_afresh(void)
{
    tear_down();
    set_up();
}

Test(store_compact, a_kill_anywhere_leaves_a_good_store, .timeout = 300)
{
#ifndef QUIPU_FAILPOINTS
    fprintf(stderr, "skipped: built without failpoints\n");
    return;
#endif
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        int kills = 0;
        for (int turn = 1; turn < 1000; turn = turn < 4 ? turn + 1 : turn * 2) {
            char failpoint[64];
            start_afresh();
            uint64_t before = answers_at(fixture.path);
            snprintf(failpoint, sizeof failpoint, "%s:kill:%d", points[i], turn);
            int status = compact_in_child(failpoint);
            bool was_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
            cr_assert(was_killed || status == 0, "%s: status 0x%x", failpoint, (unsigned)status);
            cr_assert_eq(answers_at(fixture.path), before, "%s", failpoint);
            cr_assert_not(folder_has(fixture.path, "create.tmp"), "%s", failpoint);
            cr_assert_eq(compact(NULL, NULL), QUIPU_OK, "%s", failpoint);
            cr_assert_eq(answers_at(fixture.path), before, "%s", failpoint);
            kills += was_killed;
            if (!was_killed) {
                break;
            }
        }
        cr_assert_gt(kills, 0, "%s was never reached", points[i]);
    }
}

Test(store_compact, a_failure_anywhere_leaves_a_good_store)
{
#ifndef QUIPU_FAILPOINTS
    fprintf(stderr, "skipped: built without failpoints\n");
    return;
#endif
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        char failpoint[64];
        start_afresh();
        uint64_t before = answers_at(fixture.path);
        snprintf(failpoint, sizeof failpoint, "%s:fail", points[i]);
        int status = compact_in_child(failpoint);
        /* What is committed cannot fail any more. */
        bool may_fail = strcmp(points[i], "store.commit.after") != 0;
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == may_fail, "%s: status 0x%x",
                  failpoint, (unsigned)status);
        cr_assert_eq(answers_at(fixture.path), before, "%s", failpoint);
    }
}

/* ------------------------------------------------------------------ a full disk */

static void fill(const char *path, off_t leave)
{
    static char block[4096];
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    while (write(fd, block, sizeof block) == (ssize_t)sizeof block) {
    }
    off_t end = lseek(fd, 0, SEEK_END);
    cr_assert_gt(end, leave);
    cr_assert_eq(ftruncate(fd, end - leave), 0);
    close(fd);
}

static void compact_on_a_full_disk(const struct temp_dir *disk)
{
    struct quipu_store *store = NULL;
    struct quipu_error err;
    char path[2 * TEMP_DIR_BYTES];
    char ballast[2 * TEMP_DIR_BYTES];
    temp_dir_join(disk, "store", path);
    temp_dir_join(disk, "ballast", ballast);
    cr_assert_eq(quipu_store_open_tuned(path, NULL, &tuning, &store, &err), QUIPU_OK);
    samples_commit(store, 0, EVENTS, 3);
    rows_commit(store, 40);
    quipu_store_close(&store);
    uint64_t before = answers_at(path);
    /* From none at all to just too little for a copy. */
    for (off_t leave = 0; leave <= 256 << 10; leave += 32 << 10) {
        fill(ballast, leave);
        cr_assert_eq(quipu_store_compact_tuned(path, &tuning, NULL, NULL, &err), QUIPU_NO_SPACE,
                     "%s", err.message);
        cr_assert_eq(unlink(ballast), 0);
        cr_assert_eq(answers_at(path), before);
        cr_assert_not(folder_has(path, "create.tmp"));
    }
    cr_assert_eq(quipu_store_compact_tuned(path, &tuning, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(answers_at(path), before);
}

Test(store_compact, a_full_disk_is_said_and_loses_nothing)
{
    small_disk_run("size=16m", compact_on_a_full_disk);
}
