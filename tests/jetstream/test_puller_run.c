/*
 * The puller that goes on by itself: what others publish comes in without anybody asking for it,
 * over restarts of the server; and a pull that is to end in its midst.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <pthread.h>
#include <string.h>

#include "pull_kit.h"

#define INTERVAL_US 20000

static struct quipu_nats *other; /* flushes */

/* What the callback has said. */
static uint64_t added;
static uint64_t failures;

static struct quipu_puller *puller;
static pthread_t thread;
static enum quipu_status ended;
static struct quipu_error ended_err;

static void start(void)
{
    pull_kit_start();
    other = js_connect(&server);
    js_provision(other, 0);
}

static void stop(void)
{
    quipu_nats_close(&other);
    pull_kit_stop();
}

TestSuite(puller_run, .init = start, .fini = stop, .timeout = 100);

static void after(void *ctx, enum quipu_status status, const struct quipu_pull_report *report,
                  const struct quipu_error *err)
{
    (void)ctx;
    cr_assert_eq(err == NULL, status == QUIPU_OK || status == QUIPU_STOPPED);
    js_figure_add(&added, report->events.added);
    js_figure_add(&failures, err != NULL ? 1 : 0);
}

static void *run(void *ctx)
{
    (void)ctx;
    ended = quipu_puller_run(puller, &ended_err);
    return NULL;
}

static void open_puller(void)
{
    struct quipu_error err;
    struct quipu_puller_options options = QUIPU_PULLER_OPTIONS_INIT;
    options.interval_us = INTERVAL_US;
    options.after = after;
    cr_assert_eq(quipu_puller_open(here.engine, nats, &options, &puller, &err), QUIPU_OK, "%s",
                 err.message);
}

static void join(void)
{
    cr_assert_eq(pthread_join(thread, NULL), 0);
    quipu_puller_close(&puller);
    cr_assert_null(puller);
}

Test(puller_run, takes_in_what_is_published_while_it_runs)
{
    js_store_fill(&there, 20, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, other).published, 20);
    open_puller();
    cr_assert_eq(pthread_create(&thread, NULL, run, NULL), 0);
    js_figure_await(&added, 20);
    js_store_fill(&there, 10, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, other).published, 10);
    js_figure_await(&added, 30);

    nats_fixture_kill(&server);
    js_figure_await(&failures, 1);
    nats_fixture_restart(&server);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, other).published, 5);
    js_figure_await(&added, 35);

    quipu_puller_stop(puller);
    join();
    cr_assert_eq(ended, QUIPU_OK, "%s", ended_err.message);
    js_assert_same_events(&there, &here);
}

Test(puller_run, ends_at_once_where_it_is_stopped_before_it_begins)
{
    struct quipu_error err;
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, other);
    open_puller();
    quipu_puller_stop(puller);
    cr_assert_eq(quipu_puller_run(puller, &err), QUIPU_OK);
    cr_assert_eq(added, 0);
    quipu_puller_close(&puller);
    quipu_puller_close(&puller); /* NULL is fine */
    quipu_puller_stop(NULL);
}

Test(puller_run, ends_with_a_failure_that_lasts)
{
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    natsConnection *side = NULL;
    cr_assert_eq(natsConnection_ConnectTo(&side, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, side, NULL), NATS_OK);
    cr_assert_eq(js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    info->Config->AllowDirect = false;
    cr_assert_eq(js_UpdateStream(NULL, js, info->Config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(side);

    open_puller();
    cr_assert_eq(pthread_create(&thread, NULL, run, NULL), 0);
    join();
    cr_assert_eq(ended, QUIPU_DRIFT);
    cr_assert_not_null(strstr(ended_err.message, "direct gets"), "%s", ended_err.message);
    cr_assert_eq(failures, 1);
}

Test(puller_run, wants_an_engine_a_connection_and_options_of_its_size)
{
    struct quipu_error err;
    struct quipu_puller_options options = QUIPU_PULLER_OPTIONS_INIT;
    cr_assert_eq(quipu_puller_open(NULL, nats, NULL, &puller, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_puller_open(here.engine, NULL, NULL, &puller, &err), QUIPU_MISUSE);
    options.size--;
    cr_assert_eq(quipu_puller_open(here.engine, nats, &options, &puller, &err), QUIPU_MISUSE);
    cr_assert_null(puller);
}

/* True from the n-th question on. */
static bool enough(void *ctx)
{
    uint64_t *left = ctx;
    return (*left)-- == 0;
}

Test(puller_run, a_pull_that_is_stopped_goes_on_where_it_was)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    uint64_t left = 3;
    js_store_fill(&there, 50, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, other);
    options.batch = 10;
    options.should_stop = enough;
    options.ctx = &left;
    cr_assert_eq(quipu_pull(here.engine, nats, &options, &report, &err), QUIPU_STOPPED);
    cr_assert_eq(report.events.added, 30);
    cr_assert_eq(report.last_sequence, 30);
    cr_assert_eq(quipu_pull(here.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, 20);
    cr_assert_eq(report.events.known, 0);
    cr_assert_geq(report.took_us, 1);
    js_assert_same_events(&there, &here);
}
