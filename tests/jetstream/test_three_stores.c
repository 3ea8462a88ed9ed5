/*
 * Three stores over one stream, by seed: each appends to aggregates of its own and to shared ones,
 * flushes and pulls in any order, is cut off for a while, and speaks through a network that spoils
 * its connections. When the network is kind again and each has flushed and pulled, all three hold
 * the same events in the same causal order with the same forks, and a projection whose rows depend
 * on that order has the same digest.
 *
 * QUIPU_SOAK_SEED (1) and QUIPU_SOAK_SCHEDULES (2) choose which and how many.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "js_kit.h"
#include "quipu/causal.h"
#include "quipu/event_json.h"
#include "quipu/forks.h"
#include "quipu/projection.h"
#include "quipu/verify.h"
#include "tcp_proxy.h"

#define STORES            3
#define STEPS             60
#define APPENDS_MAX       12
#define SHARED_AGGREGATES 3
#define SCHEDULES_DEFAULT 2
#define ATTEMPTS_MAX      50

struct three {
    uint64_t seed;
    uint64_t random;
    struct nats_fixture server;
    struct tcp_proxy proxy;
    struct js_store stores[STORES];
    uint64_t cut_off_until[STORES]; /* step */
    uint64_t events;
    uint64_t failed; /* flushes and pulls that the network ended */
    uint64_t forks;
    uint64_t merges;
};

/* Splitmix64. */
static uint64_t draw(struct three *three, uint64_t below)
{
    uint64_t mixed = three->random += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return (mixed ^ mixed >> 31) % below;
}

/* ------------------------------------------------------------------ what a store does */

/* Appended, or where the aggregate has forked, as its merge. */
static void record(struct three *three, size_t who, const char *line)
{
    struct quipu_error err;
    struct quipu_event_arena arena = {0};
    struct quipu_event event;
    struct quipu_engine *engine = three->stores[who].engine;
    cr_assert_eq(quipu_event_from_json(quipu_slice_text(line), &arena, &event, &err), QUIPU_OK);
    enum quipu_status status = quipu_append(engine, &event, NULL, &err);
    if (status == QUIPU_FORK) {
        status = quipu_merge(engine, &event, NULL, &err);
        three->merges++;
    }
    cr_assert_eq(status, QUIPU_OK, "%s: %s", line, status == QUIPU_OK ? "" : err.message);
    quipu_event_arena_release(&arena);
    three->events++;
}

static void append(struct three *three, size_t who)
{
    uint64_t count = 1 + draw(three, APPENDS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        char line[300];
        bool is_shared = draw(three, 3) == 0;
        (void)snprintf(line, sizeof line,
                       "{\"aggregate_type\":\"key\",\"aggregate_id\":\"%s%" PRIu64
                       "\",\"event_type\":\"key.changed\",\"payload\":{\"by\":%zu,\"n\":%" PRIu64
                       "}}",
                       is_shared ? "shared" : "own",
                       is_shared ? draw(three, SHARED_AGGREGATES) : 100 * who + draw(three, 4), who,
                       three->events);
        record(three, who, line);
    }
}

static bool is_excused(enum quipu_status status)
{
    return status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT || status == QUIPU_SERVER;
}

/* Over a connection of its own, through the proxy. */
static enum quipu_status speak(struct three *three, size_t who, bool is_pull,
                               struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    struct quipu_engine *engine = three->stores[who].engine;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_pull_options pull = QUIPU_PULL_OPTIONS_INIT;
    struct quipu_pull_report report = {.last_sequence = 0};
    options.url = three->proxy.url;
    options.connect_timeout_us = 500000;
    options.request_timeout_us = 200000;
    flush.give_up_us = 1000000;
    flush.window = 16;
    pull.batch = 1 + (uint32_t)draw(three, 20);
    enum quipu_status status = quipu_nats_open(&options, &nats, err);
    if (status == QUIPU_OK) {
        status = is_pull ? quipu_pull(engine, nats, &pull, &report, err)
                         : quipu_flush(engine, nats, &flush, NULL, err);
    }
    three->forks += report.events.forks;
    quipu_nats_close(&nats);
    return status;
}

static void step(struct three *three, uint64_t number)
{
    struct quipu_error err;
    size_t who = (size_t)draw(three, STORES);
    uint64_t what = draw(three, 10);
    if (what < 4) {
        append(three, who);
        return;
    }
    if (what == 9) {
        three->cut_off_until[who] = number + 5 + draw(three, 15);
        return;
    }
    if (number < three->cut_off_until[who]) {
        return;
    }
    if (draw(three, 2) == 0) {
        tcp_proxy_trouble(&three->proxy, draw(three, UINT32_MAX), 1, 1 + draw(three, 20000));
    }
    enum quipu_status status = speak(three, who, what >= 6, &err);
    cr_assert(status == QUIPU_OK || is_excused(status),
              "seed %" PRIu64 ", step %" PRIu64 ": %s: %s", three->seed, number,
              quipu_status_name(status), err.message);
    three->failed += status != QUIPU_OK;
    tcp_proxy_cut(&three->proxy, 1, 0, 1);
}

/* On a network that is kind. A consumer may still be asked for what was sent to a lost connection.
 */
static void must_speak(struct three *three, size_t who, bool is_pull)
{
    struct quipu_error err;
    enum quipu_status status = QUIPU_SERVER;
    for (int i = 0; i < ATTEMPTS_MAX && is_excused(status); i++) {
        status = speak(three, who, is_pull, &err);
    }
    cr_assert_eq(status, QUIPU_OK, "seed %" PRIu64 ": %s: %s", three->seed,
                 quipu_status_name(status), status == QUIPU_OK ? "" : err.message);
}

/* ------------------------------------------------------------------ comparing */

static const char row_chain[] = "chain";

/* Each event hashed with what the ones before it came to: another order, another row. */
static enum quipu_status chain_apply(void *ctx, struct quipu_rows *rows,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_slice before = quipu_slice(NULL, 0);
    struct quipu_sha256_stream stream;
    enum quipu_status status = quipu_rows_get(rows, quipu_slice_text(row_chain), &before, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, before);
    quipu_sha256_stream_update(&stream, event->envelope_block);
    quipu_sha256_stream_final(&stream, digest);
    return quipu_rows_put(rows, quipu_slice_text(row_chain), quipu_slice(digest, sizeof digest),
                          err);
}

static enum quipu_status add_cid(void *ctx, const struct quipu_event_view *event,
                                 struct quipu_error *err)
{
    (void)err;
    struct quipu_buf *order = ctx;
    quipu_buf_append_slice(order, event->envelope_block);
    return order->status;
}

struct outcome {
    struct quipu_buf order; /* envelopes in causal order */
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_fork_counts forks;
};

static struct outcome outcome_of(struct js_store *store)
{
    static const struct quipu_projection chain = {
        .name = "chain", .version = 1, .apply = chain_apply};
    struct quipu_error err = {.message = ""};
    struct outcome outcome = {.order = QUIPU_BUF_INIT};
    struct quipu_replay_report report;
    cr_assert_eq(quipu_each_event_causal(store->engine, NULL, add_cid, &outcome.order, &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_replay(store->engine, &chain, QUIPU_REPLAY_CAUSAL, &report, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(report.rows, 1);
    memcpy(outcome.digest, report.digest, sizeof outcome.digest);
    cr_assert_eq(quipu_fork_count(store->engine, &outcome.forks, &err), QUIPU_OK);
    cr_assert_eq(quipu_verify(store->engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    return outcome;
}

static enum quipu_status none_expected(void *ctx, const struct quipu_quarantined *event,
                                       struct quipu_error *err)
{
    (void)err;
    cr_assert(false, "seed %" PRIu64 ": in quarantine: %.*s", *(uint64_t *)ctx,
              (int)event->line.len, (const char *)event->line.data);
    return QUIPU_OK;
}

static void check(struct three *three)
{
    struct quipu_error err;
    struct outcome first = outcome_of(&three->stores[0]);
    for (size_t i = 0; i < STORES; i++) {
        struct js_store *store = &three->stores[i];
        cr_assert_eq(quipu_each_quarantined(store->engine, none_expected, &three->seed, &err),
                     QUIPU_OK);
        cr_assert_eq(js_store_outbox(store).pending, 0);
        cr_assert_eq(js_store_outbox(store).published, three->events, "seed %" PRIu64, three->seed);
        js_assert_same_events(&three->stores[0], store);
        struct outcome other = outcome_of(store);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&first.order), quipu_buf_slice(&other.order)),
                  "seed %" PRIu64 ": another causal order", three->seed);
        cr_assert_arr_eq(first.digest, other.digest, sizeof first.digest,
                         "seed %" PRIu64 ": another digest", three->seed);
        cr_assert_eq(first.forks.aggregates_open, other.forks.aggregates_open);
        quipu_buf_release(&other.order);
    }
    quipu_buf_release(&first.order);
    cr_assert_eq(js_stream_messages(&three->server, QUIPU_STREAM_DEFAULT), three->events,
                 "seed %" PRIu64, three->seed);
}

static uint64_t number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text == NULL ? otherwise : strtoull(text, NULL, 10);
}

static void three_run(struct three *three)
{
    nats_fixture_start(&three->server, NULL);
    tcp_proxy_start(&three->proxy, three->server.port);
    struct quipu_nats *nats = js_connect(&three->server);
    js_provision(nats, 0);
    quipu_nats_close(&nats);
    for (size_t i = 0; i < STORES; i++) {
        js_store_open(&three->stores[i]);
        append(three, i);
    }
    for (uint64_t i = 0; i < STEPS; i++) {
        step(three, i);
    }
    for (size_t i = 0; i < STORES; i++) {
        must_speak(three, i, false);
    }
    for (size_t i = 0; i < STORES; i++) {
        must_speak(three, i, true);
    }
    check(three);
    printf("seed %" PRIu64 ": %" PRIu64 " events, %" PRIu64 " forks, %" PRIu64
           " merges, %d connections spoilt, %" PRIu64 " flushes and pulls ended by that\n",
           three->seed, three->events, three->forks, three->merges, tcp_proxy_cuts(&three->proxy),
           three->failed);
    for (size_t i = 0; i < STORES; i++) {
        js_store_release(&three->stores[i]);
    }
    tcp_proxy_stop(&three->proxy);
    nats_fixture_stop(&three->server);
}

Test(three_stores, converge_whatever_the_network_does, .timeout = 900)
{
    uint64_t seed = number_of("QUIPU_SOAK_SEED", 1);
    uint64_t schedules = number_of("QUIPU_SOAK_SCHEDULES", SCHEDULES_DEFAULT);
    uint64_t failed = 0;
    uint64_t forks = 0;
    for (uint64_t i = 0; i < schedules; i++) {
        static struct three three;
        memset(&three, 0, sizeof three);
        three.seed = seed + i;
        three.random = seed + i;
        three_run(&three);
        failed += three.failed;
        forks += three.forks;
    }
    cr_assert(schedules < SCHEDULES_DEFAULT || (failed > 0 && forks > 0),
              "no flush or pull was spoilt, or there was no fork");
}
