/*
 * A network that cuts connections in the middle of a message, and one whose other end vanishes
 * without a word. Afterwards each event is in the stream exactly once, each payload whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "js_kit.h"
#include "tcp_proxy.h"

#define SCHEDULES  20
#define TROUBLES   10
#define EVENTS     60
#define LONG_BYTES 150000 /* three chunks of a server that takes 64 KiB */

static struct nats_fixture server;
static struct tcp_proxy proxy;
static struct js_store store;

static void start(void)
{
    nats_fixture_start(&server, "max_payload: 64KB");
    tcp_proxy_start(&proxy, server.port);
    js_store_open(&store);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 100000);
    quipu_nats_close(&nats);
}

static void stop(void)
{
    js_store_release(&store);
    tcp_proxy_stop(&proxy);
    nats_fixture_stop(&server);
}

TestSuite(network, .init = start, .fini = stop, .timeout = 100);

static struct quipu_nats *connect_through_proxy(void)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = proxy.url;
    options.connect_timeout_us = 1000000;
    options.request_timeout_us = 400000;
    enum quipu_status status = quipu_nats_open(&options, &nats, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return nats;
}

/* Streams may be looked up while a connection is cut; who asks tries again. */
static uint64_t flush_stubbornly(struct quipu_nats *nats)
{
    uint64_t published = 0;
    for (int attempt = 0; attempt < 20; attempt++) {
        struct quipu_error err;
        struct quipu_flush_report report;
        enum quipu_status status = quipu_flush(store.engine, nats, NULL, &report, &err);
        published += report.published + report.duplicates;
        if (status == QUIPU_OK) {
            return published;
        }
        cr_assert(status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT, "%s: %s",
                  quipu_status_name(status), err.message);
    }
    cr_assert_fail("no flush comes through");
    return 0;
}

static void append_long(uint64_t seed)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    quipu_buf_printf(&line,
                     "{\"aggregate_type\":\"key\",\"aggregate_id\":\"long\",\"event_type\":"
                     "\"key.used\",\"payload\":\"%lu",
                     (unsigned long)seed);
    for (size_t i = 0; i < LONG_BYTES; i++) {
        quipu_buf_append_byte(&line, (uint8_t)('a' + i % 25));
    }
    quipu_buf_append_text(&line, "\"}");
    quipu_buf_append_byte(&line, 0);
    js_store_append(&store, (const char *)line.data);
    quipu_buf_release(&line);
}

Test(network, cut_at_any_byte_in_many_schedules)
{
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        struct quipu_nats *nats = connect_through_proxy();
        js_store_fill(&store, EVENTS, 300, JS_PAYLOADS_UNIQUE);
        append_long(seed);
        /* The connection that is open lives; those behind it are cut. */
        tcp_proxy_cut(&proxy, seed, 3, 60000);
        tcp_proxy_blacken(&proxy);

        cr_assert_eq(flush_stubbornly(nats), EVENTS + 1, "schedule %lu", (unsigned long)seed);

        tcp_proxy_cut(&proxy, seed, 0, 1);
        quipu_nats_close(&nats);
    }
    cr_assert_gt(tcp_proxy_cuts(&proxy), SCHEDULES, "the network was too kind");
    js_expect_all_published(&server, &store);

    /* The chained payloads are whole too. */
    struct js_store other;
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_nats *nats = js_connect(&server);
    js_store_open(&other);
    cr_assert_eq(quipu_pull(other.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, SCHEDULES * (EVENTS + 1));
    js_store_release(&other);
    quipu_nats_close(&nats);
}

Test(network, of_every_trouble_loses_and_doubles_nothing)
{
    for (uint64_t seed = 1; seed <= TROUBLES; seed++) {
        struct quipu_nats *nats = connect_through_proxy();
        js_store_fill(&store, EVENTS, 300, JS_PAYLOADS_UNIQUE);
        tcp_proxy_trouble(&proxy, seed, 2, 60000);
        tcp_proxy_blacken(&proxy);

        cr_assert_eq(flush_stubbornly(nats), EVENTS, "schedule %lu", (unsigned long)seed);

        tcp_proxy_cut(&proxy, seed, 0, 1);
        quipu_nats_close(&nats);
    }
    cr_assert_gt(tcp_proxy_cuts(&proxy), TROUBLES / 2, "the network was too kind");
    js_expect_all_published(&server, &store);
}

struct vanishing {
    bool is_done;
};

static void vanish_in_the_middle(void *ctx, uint64_t done, uint64_t total)
{
    struct vanishing *vanishing = ctx;
    if (!vanishing->is_done && done > 0 && done < total) {
        vanishing->is_done = true;
        tcp_proxy_blacken(&proxy);
    }
}

Test(network, connects_anew_when_the_other_end_has_vanished_without_a_word)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct vanishing vanishing = {false};
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    js_store_fill(&store, 6000, 100, JS_PAYLOADS_UNIQUE);
    options.progress = vanish_in_the_middle;
    options.ctx = &vanishing;
    struct quipu_nats *nats = connect_through_proxy();

    enum quipu_status status = quipu_flush(store.engine, nats, &options, &report, &err);

    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert(vanishing.is_done);
    cr_assert_eq(report.published + report.duplicates, 6000);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(network, an_operation_does_not_trust_a_connection_that_has_vanished)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_nats *nats = connect_through_proxy();
    tcp_proxy_blacken(&proxy);

    cr_assert_eq(quipu_pull(store.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);

    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ dedup = "window" */

static void start_for_windows(void)
{
    nats_fixture_start(&server, NULL);
    tcp_proxy_start(&proxy, server.port);
    js_store_open(&store);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 30000000);
    quipu_nats_close(&nats);
}

/* Wherever the connection ends, between the answers to a chunk and to its meta too, what is not
 * answered is asked for again, and no flush waits for what nobody will say. */
Test(network_window, a_flush_that_looks_goes_on_behind_any_cut, .init = start_for_windows,
     .fini = stop, .timeout = 100)
{
    for (uint64_t seed = 1; seed <= SCHEDULES; seed++) {
        struct quipu_error err;
        enum quipu_status status = QUIPU_OFFLINE;
        struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
        options.dedup = QUIPU_DEDUP_WINDOW;
        options.give_up_us = 1000000;
        js_store_fill(&store, EVENTS, 20 + seed, JS_PAYLOADS_UNIQUE);
        tcp_proxy_cut(&proxy, seed, 2, 80000);
        for (int attempt = 0; attempt < 10 && status != QUIPU_OK; attempt++) {
            struct quipu_nats_options to = QUIPU_NATS_OPTIONS_INIT;
            struct quipu_nats *nats = NULL;
            to.url = proxy.url;
            to.connect_timeout_us = 1000000;
            to.request_timeout_us = 400000;
            status = quipu_nats_open(&to, &nats, &err);
            if (status == QUIPU_OK) {
                status = quipu_flush(store.engine, nats, &options, NULL, &err);
            }
            cr_assert(status == QUIPU_OK || strstr(err.message, "has not answered for") == NULL,
                      "seed %lu: %s", (unsigned long)seed, err.message);
            quipu_nats_close(&nats);
        }
        cr_assert_eq(status, QUIPU_OK, "%s", err.message);
        tcp_proxy_cut(&proxy, seed, 0, 1);
    }
    cr_assert_gt(tcp_proxy_cuts(&proxy), SCHEDULES, "the network was too kind");
    js_expect_all_published(&server, &store);
}
