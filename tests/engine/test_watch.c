/*
 * The watch: every commit wakes, whoever made it, and never before it can be seen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_kit.h"
#include "quipu/watch.h"
#include "writer_kit.h"

/* A wake that has not come by then never comes. */
#define LOST_MS 60000

static uint64_t last_position(struct kit *kit)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(kit, quipu_txn_begin_read(kit->store, &txn, &kit->err));
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

static enum quipu_status look(struct kit *kit, struct quipu_watch *watch)
{
    return quipu_watch_wait(watch, 0, &kit->err);
}

/* Clear, look, wait, until the log has this many events. */
static void watch_until(struct kit *kit, struct quipu_watch *watch, uint64_t end)
{
    for (;;) {
        quipu_watch_clear(watch);
        if (last_position(kit) >= end) {
            return;
        }
        cr_assert_eq(quipu_watch_wait(watch, LOST_MS, &kit->err), QUIPU_OK,
                     "a wake is missing: at %lu of %lu", (unsigned long)last_position(kit),
                     (unsigned long)end);
    }
}

Test(watch, is_readable_from_a_commit_to_the_next_clear)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    cr_assert_eq(look(&kit, watch), QUIPU_DONE);

    kit_append(&kit, "a", 1);
    cr_assert_eq(look(&kit, watch), QUIPU_OK);
    cr_assert_eq(look(&kit, watch), QUIPU_OK, "level, not edge");
    struct pollfd polled = {.fd = quipu_watch_fd(watch), .events = POLLIN};
    cr_assert_eq(poll(&polled, 1, 0), 1);
    quipu_watch_clear(watch);
    cr_assert_eq(look(&kit, watch), QUIPU_DONE);
    cr_assert_eq(quipu_watch_wait(watch, 1, &kit.err), QUIPU_DONE);

    /* Reading, and writing that comes to nothing, wake nobody. */
    cr_assert_eq(last_position(&kit), 1);
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    quipu_txn_abort(&txn);
    cr_assert_eq(look(&kit, watch), QUIPU_DONE);

    quipu_watch_close(&watch);
    cr_assert_null(watch);
    quipu_watch_close(&watch);
    kit_close(&kit);
}

/* Each event is ordered only when the one before has been seen, so that a single lost wake, or one
 * that comes before its commit can be seen, stops everything. */
Test(watch, each_commit_of_another_process_wakes)
{
    struct kit kit;
    kit_open(&kit);
    struct writer writers[2];
    writers_start(writers, &kit, 0);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    for (uint64_t i = 0; i < 1500; i++) {
        writer_order(&writers[i % 2], 1);
        watch_until(&kit, watch, i + 1);
    }
    writers_end(writers);
    quipu_watch_close(&watch);
    kit_close(&kit);
}

struct appender {
    struct kit *kit;
    unsigned count;
};

static void *append_many(void *ctx)
{
    struct appender *appender = ctx;
    const uint8_t payload[] = {0xa0};
    struct quipu_event event = {.type = "thing.changed",
                                .aggregate = {"thing", "thread"},
                                .payload = quipu_slice(payload, sizeof payload)};
    for (unsigned i = 0; i < appender->count; i++) {
        if (quipu_append(appender->kit->engine, &event, NULL, NULL) != QUIPU_OK) {
            abort();
        }
    }
    return NULL;
}

Test(watch, threads_and_processes_at_once)
{
    struct kit kit;
    kit_open(&kit);
    struct writer writers[2];
    writers_start(writers, &kit, 0);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    struct appender appender = {&kit, 300};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        writer_order(&writers[i], 300);
        cr_assert_eq(pthread_create(&threads[i], NULL, append_many, &appender), 0);
    }
    watch_until(&kit, watch, 1200);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(writer_end(&writers[i]), 0);
    }
    cr_assert_eq(last_position(&kit), 1200);
    quipu_watch_close(&watch);
    kit_close(&kit);
}

Test(watch, a_writer_that_dies_before_it_has_told_anyone_wakes)
{
#ifndef QUIPU_FAILPOINTS
    cr_skip("skipped: built without QUIPU_FAILPOINTS");
#endif
    struct kit kit;
    kit_open(&kit);
    kit_shut(&kit);
    struct writer writer;
    writer_start(&writer, kit.path, "store.commit.announce:kill:3");
    kit_reopen(&kit);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    writer_order(&writer, 10);
    watch_until(&kit, watch, 3);
    int how = writer_end(&writer);
    cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    kit_assert_sound(&kit, 3);
    quipu_watch_close(&watch);
    kit_close(&kit);
}

static void copy_file(const char *from, const char *to)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert(in >= 0 && out >= 0);
    char bytes[65536];
    ssize_t got;
    while ((got = read(in, bytes, sizeof bytes)) > 0) {
        cr_assert_eq(write(out, bytes, (size_t)got), got);
    }
    cr_assert_eq(got, 0);
    cr_assert_eq(close(in) | close(out), 0);
}

Test(watch, a_data_file_put_in_the_place_of_another_is_watched)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    kit_shut(&kit);
    char data[3 * TEMP_DIR_BYTES];
    char copy[3 * TEMP_DIR_BYTES];
    (void)snprintf(data, sizeof data, "%s/data.mdb", kit.path);
    (void)snprintf(copy, sizeof copy, "%s/../copy.mdb", kit.path);
    copy_file(data, copy);
    quipu_watch_clear(watch);
    cr_assert_eq(rename(copy, data), 0);
    cr_assert_eq(look(&kit, watch), QUIPU_OK, "the exchange itself wakes");

    kit_reopen(&kit);
    quipu_watch_clear(watch);
    cr_assert_eq(look(&kit, watch), QUIPU_DONE);
    kit_append(&kit, "a", 2);
    cr_assert_eq(look(&kit, watch), QUIPU_OK);
    quipu_watch_close(&watch);
    kit_close(&kit);
}

static struct quipu_watch *signalled_watch;

static void on_signal(int number)
{
    (void)number;
    quipu_watch_wake(signalled_watch);
}

static void *wake_it(void *watch)
{
    quipu_watch_wake(watch);
    return NULL;
}

Test(watch, can_be_woken_by_hand)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wake_it, watch), 0);
    cr_assert_eq(quipu_watch_wait(watch, LOST_MS, &kit.err), QUIPU_OK);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    quipu_watch_clear(watch);
    cr_assert_eq(look(&kit, watch), QUIPU_DONE);

    signalled_watch = watch;
    struct sigaction action = {.sa_handler = on_signal};
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    cr_assert_eq(raise(SIGUSR1), 0);
    cr_assert_eq(quipu_watch_wait(watch, -1, &kit.err), QUIPU_OK, "raised before: not lost");
    quipu_watch_close(&watch);
    kit_close(&kit);
}

Test(watch, a_changed_working_directory_does_not_matter)
{
    struct kit kit;
    kit_open(&kit);
    kit_shut(&kit);
    cr_assert_eq(chdir(kit.dir.path), 0);
    cr_assert_eq(quipu_store_open("store", NULL, &kit.store, &kit.err), QUIPU_OK);
    cr_assert_eq(chdir("/"), 0);
    struct quipu_watch *watch = NULL;
    kit_assert_ok(&kit, quipu_watch_open(kit.store, &watch, &kit.err));
    quipu_watch_close(&watch);
    kit_close(&kit);
}

Test(watch, says_which_limit_is_in_the_way)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_watch *watch = NULL;
    cr_assert_eq(quipu_watch_open(NULL, &watch, &kit.err), QUIPU_MISUSE);

    int next = dup(0);
    cr_assert_geq(next, 0);
    cr_assert_eq(close(next), 0);
    struct rlimit before;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    /* Room for none, one and two of the three descriptors that it wants. */
    for (int room = 0; room < 3; room++) {
        struct rlimit few = {(rlim_t)(next + room), before.rlim_max};
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        enum quipu_status status = quipu_watch_open(kit.store, &watch, &kit.err);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        cr_assert_eq(status, QUIPU_IO, "room %d: %s", room, kit.err.message);
        cr_assert(strstr(kit.err.message, room == 0 ? "max_user_instances" : "watch: make an") !=
                      NULL,
                  "%s", kit.err.message);
        cr_assert_null(watch);
        int again = dup(0);
        cr_assert_eq(again, next, "a failed open must not keep a descriptor");
        cr_assert_eq(close(again), 0);
    }
    kit_close(&kit);
}
