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
#include <time.h>

#include "jwt_kit.h"
#include "nats_fixture.h"
#include "quipu/flush.h"
#include "quipu/metrics.h"
#include "quipu/outbox.h"
#include "race_kit.h"

#define EVENTS_DEFAULT 300
#define WRITERS        3
#define RESTARTS       2

struct race {
    struct race_store store;
    struct nats_fixture server;
    struct jwt_realm realm;
    struct quipu_nats *nats; /* the flusher's */
    struct quipu_flusher *flusher;
    uint64_t events; /* of each writer */
    atomic_int writers_left;
    atomic_bool is_over;
    atomic_ullong appended;
    atomic_ullong renewals;
    atomic_ullong states;
    pthread_mutex_t mutex;
    pthread_cond_t changed;           /* something was settled */
    struct quipu_flush_totals totals; /* guarded by mutex */
};

/* ------------------------------------------------------------------ callbacks */

static void on_state(void *ctx, const struct quipu_nats_report *now)
{
    struct race *race = ctx;
    race_require(now->since_unix_us > 0, "a report says since when");
    (void)atomic_fetch_add(&race->states, 1);
}

/* So little time is left of these that newer ones are asked for again and again. */
static enum quipu_status refresh(void *ctx, struct quipu_buf *creds, struct quipu_error *err)
{
    struct race *race = ctx;
    struct jwt_user user;
    struct jwt_user_claims claims = {.expires_unix_s = (int64_t)time(NULL) + 1800};
    (void)err;
    (void)atomic_fetch_add(&race->renewals, 1);
    jwt_user_make(&race->realm, &claims, &user);
    jwt_creds_append(&user, user.jwt, creds);
    return QUIPU_OK;
}

static void after(void *ctx, enum quipu_status status, const struct quipu_flush_report *report,
                  const struct quipu_error *err)
{
    struct race *race = ctx;
    race_require((err == NULL) == (status == QUIPU_OK || status == QUIPU_STOPPED),
                 "a failure has its line");
    (void)pthread_mutex_lock(&race->mutex);
    quipu_flush_totals_add(&race->totals, status, report, 1);
    (void)pthread_cond_broadcast(&race->changed);
    (void)pthread_mutex_unlock(&race->mutex);
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

static struct quipu_nats *connect_to(struct race *race)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = race->server.url;
    options.refresh = refresh;
    options.refresh_ctx = race;
    options.on_state = on_state;
    options.on_state_ctx = race;
    options.request_timeout_us = 2000000;
    race_must(quipu_nats_open(&options, &nats, &err), &err);
    return nats;
}

/* Two flush one store: one has the lock, and the other is told. */
static void *flush_too(void *ctx)
{
    struct race *race = ctx;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_nats *nats = connect_to(race);
    options.give_up_us = 200000;
    options.window = 16;
    while (!atomic_load(&race->is_over)) {
        struct quipu_flush_report report = {.published = 0};
        enum quipu_status status = quipu_flush(race->store.engine, nats, &options, &report, NULL);
        race_require(status == QUIPU_OK || status == QUIPU_BUSY || status == QUIPU_OFFLINE ||
                         status == QUIPU_TIMEOUT,
                     "a flush beside another says how it went");
        (void)pthread_mutex_lock(&race->mutex);
        race->totals.published += report.published;
        race->totals.duplicates += report.duplicates;
        (void)pthread_cond_broadcast(&race->changed);
        (void)pthread_mutex_unlock(&race->mutex);
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
    struct quipu_provision_report report;
    struct quipu_flusher_options options = QUIPU_FLUSHER_OPTIONS_INIT;
    char config[4 * JWT_BYTES];
    race_require(pthread_mutex_init(&race->mutex, NULL) == 0 &&
                     pthread_cond_init(&race->changed, NULL) == 0,
                 "a mutex");
    jwt_realm_make(&race->realm);
    jwt_realm_config(&race->realm, config, sizeof config);
    nats_fixture_start(&race->server, config);
    race_store_open(&race->store);
    race->nats = connect_to(race);
    race_must(quipu_provision(race->nats, NULL, &report, &err), &err);
    quipu_buf_release(&report.drift);
    options.flush.window = 32;
    options.flush.give_up_us = 300000;
    options.flush.live = live;
    options.flush.ctx = race;
    options.after = after;
    race_must(quipu_flusher_open(race->store.engine, race->nats, &options, &race->flusher, &err),
              &err);
}

static uint64_t settled(const struct race *race)
{
    return race->totals.published + race->totals.duplicates;
}

/* Waits until so many events are settled. A receipt that a flush found written by another counts
 * for both, so the outbox has the last word. */
static void wait_settled(struct race *race, uint64_t at_least)
{
    (void)pthread_mutex_lock(&race->mutex);
    while (settled(race) < at_least) {
        (void)pthread_cond_wait(&race->changed, &race->mutex);
    }
    (void)pthread_mutex_unlock(&race->mutex);
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
    struct quipu_error err;
    struct quipu_provision_report report;
    struct quipu_nats *nats = connect_to(race);
    race_must(quipu_provision(nats, NULL, &report, &err), &err);
    quipu_buf_release(&report.drift);
    quipu_nats_close(&nats);
    return report.stream_messages;
}

int main(int argc, char **argv)
{
    static struct race race;
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
        wait_settled(&race, all * i / (RESTARTS + 2));
        nats_fixture_kill(&race.server);
        nats_fixture_restart(&race.server);
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
    race_require(atomic_load(&race.renewals) > 2 && atomic_load(&race.states) > 2 * RESTARTS,
                 "there was something to race for");
    (void)printf("%" PRIu64 " events in the stream, %" PRIu64 " settled, %llu renewals, %llu "
                 "states\n",
                 messages, settled(&race), atomic_load(&race.renewals), atomic_load(&race.states));
    race_store_close(&race.store);
    nats_fixture_stop(&race.server);
    return EXIT_SUCCESS;
}
