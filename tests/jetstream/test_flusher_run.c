/*
 * The flusher that goes on by itself: events that are appended, by whichever handle and whether or
 * not the server is there at the time, are published without anybody asking for it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#include "js_kit.h"

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;

/* What the callbacks have said. */
static uint64_t published;
static uint64_t failures;
static enum quipu_status last_failure;
static uint64_t lives;

static struct quipu_flusher *flusher;
static pthread_t thread;
static enum quipu_status ended;

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
}

static void stop(void)
{
    js_stop(&server, &store, &nats);
}

TestSuite(flusher_run, .init = start, .fini = stop, .timeout = 100);

static void after(void *ctx, enum quipu_status status, const struct quipu_flush_report *report,
                  const struct quipu_error *err)
{
    (void)ctx;
    cr_assert_eq(err == NULL, status == QUIPU_OK || status == QUIPU_STOPPED);
    if (err != NULL) {
        last_failure = status;
        js_figure_add(&failures, 1);
    }
    js_figure_add(&published, report->published);
}

static void live(void *ctx, const struct quipu_flush_live *now)
{
    (void)ctx;
    cr_assert_leq(now->in_flight, 64);
    js_figure_add(&lives, 1);
}

static void *run(void *arg)
{
    struct quipu_error *err = arg;
    ended = quipu_flusher_run(flusher, err);
    return NULL;
}

static void begin(struct quipu_error *err)
{
    struct quipu_flusher_options options = QUIPU_FLUSHER_OPTIONS_INIT;
    options.flush.window = 64;
    options.flush.live = live;
    options.flush.give_up_us = 300000;
    options.after = after;
    cr_assert_eq(quipu_flusher_open(store.engine, nats, &options, &flusher, err), QUIPU_OK);
    cr_assert_eq(pthread_create(&thread, NULL, run, err), 0);
}

static void end(void)
{
    quipu_flusher_stop(flusher);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    quipu_flusher_close(&flusher);
    cr_assert_null(flusher);
}

Test(flusher_run, publishes_what_was_there_and_what_comes)
{
    struct quipu_error err;
    js_store_fill(&store, 100, 100, JS_PAYLOADS_UNIQUE);
    begin(&err);
    js_figure_await(&published, 100);
    js_store_fill(&store, 30, 100, JS_PAYLOADS_SHARED);
    js_figure_await(&published, 130);
    js_store_fill(&store, 1, 100, JS_PAYLOADS_SHARED);
    js_figure_await(&published, 131);
    end();

    cr_assert_eq(ended, QUIPU_OK, "%s", err.message);
    cr_assert_gt(lives, 0);
    cr_assert_eq(failures, 0);
    js_expect_all_published(&server, &store);
}

Test(flusher_run, waits_for_a_server_that_is_away_and_goes_on_when_it_is_back)
{
    struct quipu_error err;
    begin(&err);
    nats_fixture_kill(&server);
    js_store_fill(&store, 200, 100, JS_PAYLOADS_UNIQUE);
    js_figure_await(&failures, 2);
    cr_assert(last_failure == QUIPU_OFFLINE || last_failure == QUIPU_TIMEOUT, "%s",
              quipu_status_name(last_failure));
    nats_fixture_restart(&server);
    js_figure_await(&published, 200);
    end();

    cr_assert_eq(ended, QUIPU_OK, "%s", err.message);
    js_expect_all_published(&server, &store);
}

Test(flusher_run, one_that_is_stopped_before_it_runs_ends_at_once)
{
    struct quipu_error err;
    js_store_fill(&store, 10, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(quipu_flusher_open(store.engine, nats, NULL, &flusher, &err), QUIPU_OK);
    quipu_flusher_stop(flusher);

    cr_assert_eq(quipu_flusher_run(flusher, &err), QUIPU_OK);

    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 0);
    quipu_flusher_close(&flusher);
    quipu_flusher_stop(NULL);
}

Test(flusher_run, ends_with_a_failure_that_waiting_does_not_heal)
{
    struct quipu_error err;
    struct nats_fixture elsewhere;
    js_store_fill(&store, 10, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, 10);
    nats_fixture_start(&elsewhere, NULL);
    quipu_nats_close(&nats);
    nats = js_connect(&elsewhere);
    js_provision(nats, 0);
    cr_assert_eq(quipu_flusher_open(store.engine, nats, NULL, &flusher, &err), QUIPU_OK);

    cr_assert_eq(quipu_flusher_run(flusher, &err), QUIPU_DRIFT);

    quipu_flusher_close(&flusher);
    nats_fixture_stop(&elsewhere);
}

static int rounds;

static bool enough(void *ctx)
{
    (void)ctx;
    return ++rounds > 3;
}

Test(flusher_run, a_flush_that_is_stopped_keeps_what_was_acknowledged)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.window = 16;
    options.should_stop = enough;
    js_store_fill(&store, 2000, 100, JS_PAYLOADS_UNIQUE);

    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_STOPPED);

    cr_assert_eq(report.pending, 2000 - report.published);
    cr_assert_gt(report.pending, 0);
    cr_assert_eq(js_flush(&store, nats).pending, 0);
    js_expect_all_published(&server, &store);
}

Test(flusher_run, a_window_that_looks_publishes_once_whatever_the_server_remembers)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct js_store other;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.dedup = QUIPU_DEDUP_WINDOW;
    js_store_open(&other);
    js_store_fill(&store, 300, 5000, JS_PAYLOADS_SHARED);
    js_store_copy(&store, &other);

    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.published, 300);
    cr_assert_eq(quipu_flush(other.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.duplicates, 300);
    js_expect_all_published(&server, &store);
    /* No server remembers ids over this one. */
    nats_fixture_kill(&server);
    nats_fixture_restart(&server);
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.duplicates, 300);
    js_expect_all_published(&server, &store);
    js_store_release(&other);
}
