/*
 * Flushing while things break: the server killed, paused, away, full, forbidding; the flushing
 * process killed at every step. Afterwards each event is in the stream exactly once.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "js_kit.h"

static struct nats_fixture server;
static struct js_store store;

static void start(void)
{
    js_start(&server, &store, NULL);
}

static void stop(void)
{
    js_stop(&server, &store, NULL);
}

TestSuite(flush_faults, .init = start, .fini = stop, .timeout = 100);

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    (void)nanosleep(&pause, NULL);
}

static struct quipu_nats *connect_with(const char *user, int64_t request_timeout_us)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.user = user;
    options.password = user != NULL ? "pw" : NULL;
    options.request_timeout_us = request_timeout_us;
    options.connect_timeout_us = request_timeout_us;
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK, "%s", err.message);
    return nats;
}

/* ------------------------------------------------------------------ a server that breaks */

enum fault { FAULT_KILL, FAULT_PAUSE };

/* A flush on a thread of its own; the server is broken by the thread that started it. */
struct flush_thread {
    struct quipu_nats *nats;
    struct quipu_flush_options options;
    struct quipu_flush_report report;
    enum quipu_status status;
    struct quipu_error err;
    sem_t has_begun; /* or has ended */
};

/* Called for the first time when the streams have been asked about. */
static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct flush_thread *flush = ctx;
    (void)done;
    (void)total;
    (void)sem_post(&flush->has_begun);
}

static void *run_flush(void *arg)
{
    struct flush_thread *flush = arg;
    flush->status =
        quipu_flush(store.engine, flush->nats, &flush->options, &flush->report, &flush->err);
    (void)sem_post(&flush->has_begun);
    return NULL;
}

static void flush_under(struct flush_thread *flush, enum fault fault, int times, long pause_ms)
{
    pthread_t thread;
    flush->options.size = sizeof flush->options;
    flush->options.progress = on_progress;
    flush->options.ctx = flush;
    cr_assert_eq(sem_init(&flush->has_begun, 0, 0), 0);
    cr_assert_eq(pthread_create(&thread, NULL, run_flush, flush), 0);
    (void)sem_wait(&flush->has_begun); /* a server that is away before is another matter */
    for (int i = 0; i < times; i++) {
        sleep_ms(40);
        if (fault == FAULT_KILL) {
            nats_fixture_kill(&server);
            sleep_ms(pause_ms);
            nats_fixture_restart(&server);
        } else {
            nats_fixture_pause(&server);
            sleep_ms(pause_ms);
            nats_fixture_resume(&server);
        }
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(flush_faults, goes_on_by_itself_when_the_server_is_killed_and_restarted)
{
    js_store_fill(&store, 4000, 200, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = connect_with(NULL, 2000000);
    js_provision(nats, 0);
    struct flush_thread flush = {.nats = nats};

    flush_under(&flush, FAULT_KILL, 3, 100);

    cr_assert_eq(flush.status, QUIPU_OK, "%s", flush.err.message);
    cr_assert_eq(flush.report.published + flush.report.duplicates, 4000);
    cr_assert_eq(flush.report.pending, 0);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush_faults, takes_a_server_that_stands_still_beyond_the_deadlines)
{
    js_store_fill(&store, 3000, 200, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = connect_with(NULL, 300000);
    js_provision(nats, 100000);
    struct flush_thread flush = {.nats = nats};

    flush_under(&flush, FAULT_PAUSE, 2, 1200);

    cr_assert_eq(flush.status, QUIPU_OK, "%s", flush.err.message);
    cr_assert_eq(flush.report.published + flush.report.duplicates, 3000);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush_faults, gives_up_on_a_server_that_stays_away_and_keeps_what_was_acknowledged)
{
    js_store_fill(&store, 3000, 200, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = connect_with(NULL, 500000);
    js_provision(nats, 0);
    struct flush_thread flush = {.nats = nats, .options = {.give_up_us = 1000000}};

    flush_under(&flush, FAULT_PAUSE, 1, 4000);

    cr_assert(flush.status == QUIPU_TIMEOUT || flush.status == QUIPU_OFFLINE, "%s",
              quipu_status_name(flush.status));
    cr_assert_gt(flush.report.pending, 0);
    cr_assert_eq(flush.report.published + flush.report.pending, 3000);
    cr_assert_eq(js_store_outbox(&store).published, flush.report.published);
    js_flush(&store, nats);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush_faults, says_that_the_server_is_gone)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    js_store_fill(&store, 10, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    nats_fixture_kill(&server);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, &report, &err), QUIPU_OFFLINE);

    cr_assert_not_null(strstr(err.message, "start nats-server"));
    cr_assert_eq(report.pending, 10);
    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ a server that refuses */

Test(flush_faults, says_that_nothing_is_provisioned)
{
    struct quipu_error err;
    js_store_fill(&store, 3, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_NOT_PROVISIONED);

    cr_assert_not_null(strstr(err.message, "quipu provision"));
    quipu_nats_close(&nats);
}

static void remove_stream(jsCtx *js, const void *name)
{
    cr_assert_eq(js_DeleteStream(js, name, NULL, NULL), NATS_OK);
}

Test(flush_faults, says_that_the_bucket_is_missing)
{
    struct quipu_error err;
    js_store_fill(&store, 3, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    char name[] = "OBJ_" QUIPU_BUCKET_DEFAULT;
    js_with(&server, remove_stream, name);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_NOT_PROVISIONED);

    cr_assert_not_null(strstr(err.message, name));
    quipu_nats_close(&nats);
}

static void limit_messages(jsCtx *js, const void *max)
{
    jsStreamInfo *info = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    info->Config->MaxMsgs = *(const int64_t *)max;
    jsStreamInfo *updated = NULL;
    cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK, "%s",
                 nats_GetLastError(NULL));
    jsStreamInfo_Destroy(updated);
    jsStreamInfo_Destroy(info);
}

Test(flush_faults, stops_at_a_full_stream_and_goes_on_when_there_is_room)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    js_store_fill(&store, 700, 50, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    int64_t max = 300;
    js_with(&server, limit_messages, &max);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, &report, &err), QUIPU_SERVER);

    cr_assert_not_null(strstr(err.message, "the stream is full"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, QUIPU_STREAM_DEFAULT));
    cr_assert_eq(report.dead, 0);
    cr_assert_eq(report.published, 300);
    cr_assert_eq(report.pending, 400);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 300);

    max = 1000000000;
    js_with(&server, limit_messages, &max);
    cr_assert_eq(js_flush(&store, nats).published, 400);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

static void limit_size(jsCtx *js, const void *max)
{
    jsStreamInfo *info = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, "OBJ_" QUIPU_BUCKET_DEFAULT, NULL, NULL), NATS_OK);
    info->Config->MaxBytes = *(const int64_t *)max;
    jsStreamInfo *updated = NULL;
    cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(updated);
    jsStreamInfo_Destroy(info);
}

Test(flush_faults, publishes_no_envelope_whose_payload_found_a_full_bucket)
{
    struct quipu_error err;
    js_store_fill(&store, 200, 2900, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    int64_t max = 200000; /* for fifty or so: a small meta fits where its chunk did not */
    js_with(&server, limit_size, &max);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_SERVER);

    cr_assert_not_null(strstr(err.message, "OBJ_" QUIPU_BUCKET_DEFAULT));
    uint64_t published = js_stream_messages(&server, QUIPU_STREAM_DEFAULT);
    cr_assert_lt(published, 100);
    max = 1000000000;
    js_with(&server, limit_size, &max);
    js_flush(&store, nats);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

#define PERMISSIONS                                                                                \
    "authorization { users: [ {user: alice, password: pw},"                                        \
    " {user: noevents, password: pw, permissions: {publish: {deny: [\"cim.keys.>\"]}}},"           \
    " {user: nopayloads, password: pw, permissions: {publish: {deny: [\"$O.>\"]}}} ] }"

Test(flush_faults, names_the_permission_that_is_missing_and_loses_nothing)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    nats_fixture_reconfigure(&server, PERMISSIONS);
    js_store_fill(&store, 100, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *alice = connect_with("alice", 0);
    js_provision(alice, 0);
    static const char *const users[] = {"noevents", "nopayloads"};
    static const char *const subjects[] = {"cim.keys.", "$O."};
    for (size_t i = 0; i < 2; i++) {
        struct quipu_nats *nats = connect_with(users[i], 0);
        cr_assert_eq(quipu_flush(store.engine, nats, NULL, &report, &err), QUIPU_PERMISSION);
        cr_assert_not_null(strstr(err.message, subjects[i]), "%s", err.message);
        cr_assert_eq(report.pending, 100);
        quipu_nats_close(&nats);
    }
    cr_assert_eq(js_flush(&store, alice).published, 100);
    quipu_nats_close(&alice);
}

static void make_foreign_stream(jsCtx *js, const void *ctx)
{
    (void)ctx;
    const char *subjects[] = {"other.>"};
    jsStreamConfig config;
    jsStreamInfo *info = NULL;
    (void)jsStreamConfig_Init(&config);
    config.Name = QUIPU_STREAM_DEFAULT;
    config.Subjects = subjects;
    config.SubjectsLen = 1;
    cr_assert_eq(js_AddStream(&info, js, &config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(info);
}

Test(flush_faults, does_not_use_a_stream_that_does_not_take_its_subjects)
{
    struct quipu_error err;
    js_store_fill(&store, 3, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_with(&server, make_foreign_stream, NULL);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_DRIFT);

    cr_assert_not_null(strstr(err.message, "does not take our subjects"));
    quipu_nats_close(&nats);
}

/* The server remembers the ids of messages that somebody has deleted. */
static void delete_all(jsCtx *js, const void *ctx)
{
    (void)ctx;
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
}

Test(flush_faults, brings_back_what_the_server_remembers_but_has_lost)
{
    struct js_store other;
    js_store_open(&other);
    js_store_fill(&store, 50, 20, JS_PAYLOADS_UNIQUE);
    js_store_copy(&store, &other);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    js_flush(&store, nats);
    js_with(&server, delete_all, NULL);

    struct quipu_flush_report report = js_flush(&other, nats);

    cr_assert_eq(report.published, 50);
    js_expect_all_published(&server, &other);
    js_store_release(&other);
    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ processes */

static pid_t child_start(const char *failpoint, const char *verb)
{
    return js_child_start(&store, server.url, verb, failpoint);
}

#ifdef QUIPU_FAILPOINTS
static void check_killed_at(const char *failpoint, size_t events)
{
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    js_store_fill(&store, events, 60, JS_PAYLOADS_UNIQUE);
    js_store_close(&store);

    int state = js_child_wait(child_start(failpoint, NULL));

    cr_assert(WIFSIGNALED(state) && WTERMSIG(state) == SIGKILL, "%s was not reached (%d)",
              failpoint, state);
    cr_assert_eq(js_child_wait(child_start(NULL, NULL)), 0);
    js_store_reopen(&store);
    cr_assert_eq(js_store_outbox(&store).pending, 0);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush_faults, killed_before_any_payload)
{
    check_killed_at("jetstream.flush.payload:kill", 700);
}

Test(flush_faults, killed_among_payloads)
{
    check_killed_at("jetstream.flush.payload:kill:300", 700);
}

Test(flush_faults, killed_before_any_envelope)
{
    check_killed_at("jetstream.flush.envelope:kill", 700);
}

Test(flush_faults, killed_among_envelopes)
{
    check_killed_at("jetstream.flush.envelope:kill:650", 700);
}

Test(flush_faults, killed_at_the_first_ack)
{
    check_killed_at("jetstream.flush.ack:kill", 700);
}

Test(flush_faults, killed_at_the_last_ack)
{
    check_killed_at("jetstream.flush.ack:kill:700", 700);
}

Test(flush_faults, killed_before_the_first_receipt)
{
    check_killed_at("jetstream.flush.commit:kill", 700);
}

Test(flush_faults, killed_between_receipts)
{
    check_killed_at("jetstream.flush.commit:kill:2", 4500);
}

Test(flush_faults, killed_in_the_receipts_transaction)
{
    check_killed_at("engine.ack.before:kill", 700);
}

Test(flush_faults, killed_behind_the_receipts_transaction)
{
    check_killed_at("engine.ack.after:kill", 700);
}
#endif

Test(flush_faults, killed_at_any_moment)
{
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    js_store_fill(&store, 5000, 60, JS_PAYLOADS_UNIQUE);
    js_store_close(&store);
    for (long ms = 5; ms <= 245; ms += 12) {
        pid_t pid = child_start(NULL, NULL);
        sleep_ms(ms);
        (void)kill(pid, SIGKILL);
        int state = js_child_wait(pid);
        cr_assert(WIFSIGNALED(state) || WEXITSTATUS(state) == 0, "exit %d", WEXITSTATUS(state));
    }
    cr_assert_eq(js_child_wait(child_start(NULL, NULL)), 0);
    js_store_reopen(&store);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush_faults, says_that_another_flush_is_running)
{
    struct quipu_error err;
    struct quipu_store_lock *lock = NULL;
    js_store_fill(&store, 3, 20, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    cr_assert_eq(quipu_store_lock_take(store.store, "flusher", &lock, &err), QUIPU_OK);

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_BUSY);
    cr_assert_eq(WEXITSTATUS(js_child_wait(child_start(NULL, NULL))), QUIPU_BUSY);

    quipu_store_lock_release(&lock);
    cr_assert_eq(js_flush(&store, nats).published, 3);
    quipu_nats_close(&nats);
}

Test(flush_faults, two_stores_with_the_same_events_flush_at_once)
{
    struct js_store other;
    js_store_open(&other);
    js_store_fill(&store, 2000, 60, JS_PAYLOADS_UNIQUE);
    js_store_copy(&store, &other);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 100000);
    js_store_close(&store);
    pid_t pid = child_start(NULL, NULL);

    struct quipu_flush_report report = js_flush(&other, nats);

    cr_assert_eq(js_child_wait(pid), 0);
    cr_assert_eq(report.published + report.duplicates, 2000);
    js_expect_all_published(&server, &other);
    js_store_reopen(&store);
    cr_assert_eq(js_store_outbox(&store).pending, 0);
    js_store_release(&other);
    quipu_nats_close(&nats);
}
