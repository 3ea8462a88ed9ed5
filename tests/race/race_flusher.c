/*
 * A flusher that goes on by itself, beside threads that append, one that flushes the same store
 * over a connection of its own, one that looks at connection, outbox and metrics, a thread of
 * quipu's own that renews credentials, and a server that is killed and restarted. In the end each
 * event lies in the stream once.
 *
 * usage: race_flusher [EVENTS]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/flush.h"
#include "quipu/metrics.h"
#include "quipu/outbox.h"
#include "race_kit.h"
#include "race_server.h"

#define EVENTS_DEFAULT 300
#define WRITERS        3
#define RESTARTS       2

struct race {
    struct race_store store;
    struct race_server server;
    struct quipu_nats *nats; /* the flusher's */
    struct quipu_flusher *flusher;
    uint64_t events; /* of each writer */
    atomic_int writers_left;
    atomic_bool is_over;
    atomic_ullong appended;
    atomic_ullong states;
    /* By both who flush. A receipt that a flush found written by another counts for both, so the
     * outbox has the last word. */
    struct race_count settled;
    pthread_mutex_t mutex;
    struct quipu_flush_totals totals; /* guarded by mutex */
};

/* ------------------------------------------------------------------ callbacks */

static void on_state(void *ctx, const struct quipu_nats_report *now)
{
    struct race *race = ctx;
    race_require(now->since_unix_us > 0, "a report says since when");
    (void)atomic_fetch_add(&race->states, 1);
}

static void settle(struct race *race, enum quipu_status status,
                   const struct quipu_flush_report *report)
{
    (void)pthread_mutex_lock(&race->mutex);
    quipu_flush_totals_add(&race->totals, status, report, 1);
    (void)pthread_mutex_unlock(&race->mutex);
    race_count_add(&race->settled, report->published + report->duplicates);
}

static void after(void *ctx, enum quipu_status status, const struct quipu_flush_report *report,
                  const struct quipu_error *err)
{
    race_require((err == NULL) == (status == QUIPU_OK || status == QUIPU_STOPPED),
                 "a failure has its line");
    settle(ctx, status, report);
}

static void live(void *ctx, const struct quipu_flush_live *now)
{
    struct race *race = ctx;
    race_require(now->in_flight <= 32 && now->published <= atomic_load(&race->appended),
                 "a live line speaks of events that there are");
}

/* ------------------------------------------------------------------ threads */

static void *write_events(void *ctx)
{
    struct race *race = ctx;
    char id[24];
    (void)snprintf(id, sizeof id, "of-%d", atomic_fetch_sub(&race->writers_left, 1));
    for (uint64_t i = 0; i < race->events; i++) {
        (void)atomic_fetch_add(&race->appended, 1);
        race_append(race->store.engine, i % 3 == 0 ? "shared" : id);
    }
    return NULL;
}

static void *run_flusher(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    race_must(quipu_flusher_run(race->flusher, &err), &err);
    return NULL;
}

/* Two flush one store: one has the lock, and the other is told. */
static void *flush_too(void *ctx)
{
    struct race *race = ctx;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_nats *nats = race_server_connect(&race->server, on_state, race);
    options.give_up_us = 200000;
    options.window = 16;
    while (!atomic_load(&race->is_over)) {
        struct quipu_flush_report report = {.published = 0};
        enum quipu_status status = quipu_flush(race->store.engine, nats, &options, &report, NULL);
        race_require(status == QUIPU_OK || status == QUIPU_BUSY || status == QUIPU_OFFLINE ||
                         status == QUIPU_TIMEOUT,
                     "a flush beside another says how it went");
        settle(race, status, &report);
        race_pause_ms(2);
    }
    quipu_nats_close(&nats);
    return NULL;
}

static void *look(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    struct quipu_buf text = QUIPU_BUF_INIT;
    while (!atomic_load(&race->is_over)) {
        struct quipu_nats_report report;
        quipu_nats_state(race->nats, &report);
        (void)pthread_mutex_lock(&race->mutex);
        struct quipu_flush_totals totals = race->totals;
        (void)pthread_mutex_unlock(&race->mutex);
        struct quipu_metrics_of of = {
            .engine = race->store.engine, .nats = &report, .flush = &totals};
        quipu_buf_reset(&text);
        race_must(quipu_metrics_append(&of, &text, &err), &err);
        race_require(text.len > 0, "there are figures");
        race_pause_ms(1);
    }
    quipu_buf_release(&text);
    return NULL;
}

/* ------------------------------------------------------------------ the whole */

static void prepare(struct race *race)
{
    struct quipu_error err;
    struct quipu_flusher_options options = QUIPU_FLUSHER_OPTIONS_INIT;
    race_server_start(&race->server);
    race_store_open(&race->store);
    race->nats = race_server_connect(&race->server, on_state, race);
    (void)race_server_provision(race->nats);
    options.flush.window = 32;
    options.flush.give_up_us = 300000;
    options.flush.live = live;
    options.flush.ctx = race;
    options.after = after;
    race_must(quipu_flusher_open(race->store.engine, race->nats, &options, &race->flusher, &err),
              &err);
}

static uint64_t pending(struct race *race)
{
    struct quipu_error err;
    struct quipu_outbox_status status;
    race_must(quipu_outbox_status(race->store.engine, &status, &err), &err);
    race_require(status.dead == 0, "no event is refused");
    return status.pending;
}

/* Asks the server itself, as another client. */
static uint64_t stream_messages(struct race *race)
{
    struct quipu_nats *nats = race_server_connect(&race->server, NULL, NULL);
    uint64_t messages = race_server_provision(nats);
    quipu_nats_close(&nats);
    return messages;
}

int main(int argc, char **argv)
{
    static struct race race = {.settled = RACE_COUNT_INIT, .mutex = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[WRITERS];
    race.events = argc > 1 ? strtoull(argv[1], NULL, 10) : EVENTS_DEFAULT;
    race.writers_left = WRITERS;
    prepare(&race);
    pthread_t flushing = race_begin(run_flusher, &race);
    pthread_t beside = race_begin(flush_too, &race);
    pthread_t looking = race_begin(look, &race);
    for (int i = 0; i < WRITERS; i++) {
        threads[i] = race_begin(write_events, &race);
    }
    uint64_t all = WRITERS * race.events;
    for (uint64_t i = 1; i <= RESTARTS; i++) {
        race_count_await(&race.settled, all * i / (RESTARTS + 2));
        race_server_restart(&race.server);
    }
    for (int i = 0; i < WRITERS; i++) {
        race_end(threads[i]);
    }
    while (pending(&race) > 0) {
        race_pause_ms(10);
    }
    atomic_store(&race.is_over, true);
    quipu_flusher_stop(race.flusher);
    race_end(flushing);
    race_end(beside);
    race_end(looking);
    quipu_flusher_close(&race.flusher);
    quipu_nats_close(&race.nats);
    uint64_t messages = stream_messages(&race);
    race_require(race_events(&race.store) == all && messages == all,
                 "each event lies in the stream once");
    race_require(race_server_renewals(&race.server) > 0 && atomic_load(&race.states) > 2 * RESTARTS,
                 "there was something to race for");
    (void)printf("%" PRIu64 " events in the stream, %" PRIu64 " settled, %llu renewals, %llu "
                 "states\n",
                 messages, race.settled.value, race_server_renewals(&race.server),
                 atomic_load(&race.states));
    race_store_close(&race.store);
    race_server_stop(&race.server);
    return EXIT_SUCCESS;
}
