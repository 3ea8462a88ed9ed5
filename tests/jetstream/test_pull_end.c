/*
 * Where a pull ends: where the stream has nothing more, whatever its consumer says. A consumer of
 * this store's name that somebody else has made, or one that does not deliver what the stream holds
 * (as under a new leader in a cluster), must not move the place over what was not taken.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "js_kit.h"

#define EVENTS 50
#define BATCH  10

static struct nats_fixture server;
static struct js_store here;
static struct js_store there;
static struct quipu_nats *nats;
static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    struct quipu_error err;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    nats_fixture_start(&server, NULL);
    js_store_open(&here);
    js_store_open(&there);
    options.url = server.url;
    options.request_timeout_us = 300000; /* how long a pull waits for a consumer: twice that */
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK, "%s", err.message);
    js_provision(nats, 0);
    js_store_fill(&there, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, nats).published, EVENTS);
    cr_assert_eq(natsConnection_ConnectTo(&side, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, side, NULL), NATS_OK);
}

static void stop(void)
{
    jsCtx_Destroy(js);
    natsConnection_Destroy(side);
    quipu_nats_close(&nats);
    js_store_release(&here);
    js_store_release(&there);
    nats_fixture_stop(&server);
}

TestSuite(pull_end, .init = start, .fini = stop, .timeout = 60);

/* A consumer under this store's name that sees none of the events. */
static void make_blind_consumer(void)
{
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char name[QUIPU_SOURCE_TEXT_BYTES + 8];
    jsConsumerConfig config;
    cr_assert_eq(quipu_identity_ensure(here.engine, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(here.engine, source, &err), QUIPU_OK, "%s", err.message);
    (void)snprintf(name, sizeof name, "quipu-%s", source);
    (void)js_DeleteConsumer(js, QUIPU_STREAM_DEFAULT, name, NULL, NULL); /* or there is none */
    (void)jsConsumerConfig_Init(&config);
    config.Durable = name;
    config.AckPolicy = js_AckAll;
    config.FilterSubject = QUIPU_SUBJECT_PREFIX_DEFAULT ".nothing.>";
    cr_assert_eq(js_AddConsumer(NULL, js, QUIPU_STREAM_DEFAULT, &config, NULL, NULL), NATS_OK, "%s",
                 nats_GetLastError(NULL));
}

static struct quipu_pull_report pull_all(void)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    enum quipu_status status = quipu_pull(here.engine, nats, NULL, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return report;
}

Test(pull_end, a_consumer_with_a_filter_is_made_anew)
{
    make_blind_consumer();
    cr_assert_eq(pull_all().events.added, EVENTS);
    js_assert_same_events(&there, &here);
}

static void go_blind(void *ctx, uint64_t done, uint64_t total)
{
    bool *is_blind = ctx;
    (void)total;
    if (done > 0 && !*is_blind) {
        *is_blind = true;
        make_blind_consumer();
    }
}

Test(pull_end, is_not_where_a_consumer_has_nothing_and_the_stream_has_more)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    bool is_blind = false;
    options.batch = BATCH;
    options.progress = go_blind;
    options.ctx = &is_blind;
    enum quipu_status status = quipu_pull(here.engine, nats, &options, &report, &err);
    cr_assert(is_blind);
    cr_assert_eq(status, QUIPU_SERVER, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "it says that it has everything" : err.message);
    cr_assert_not_null(strstr(err.message, "delivers none; pull again"), "%s", err.message);
    cr_assert_lt(report.last_sequence, EVENTS);
    cr_assert_eq(report.last_sequence, report.events.added);

    uint64_t before = report.events.added;
    cr_assert_eq(pull_all().events.added, EVENTS - before);
    js_assert_same_events(&there, &here);
}

/* What is gone from the stream's end is gone: nothing waits for it. */
Test(pull_end, is_reached_where_the_last_messages_were_removed)
{
    for (uint64_t sequence = EVENTS - 4; sequence <= EVENTS; sequence++) {
        cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, sequence, NULL, NULL), NATS_OK);
    }
    struct quipu_pull_report report = pull_all();
    cr_assert_eq(report.events.added, EVENTS - 5);
    cr_assert_eq(report.last_sequence, EVENTS - 5, "the place is what was delivered");
    struct quipu_pull_report again = pull_all();
    cr_assert_eq(again.events.added + again.events.known, 0);
}
