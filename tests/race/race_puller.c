/*
 * A puller that goes on by itself, beside threads that publish from another store, append to the
 * store that it pulls into, pull into it over a connection of their own, and look at its
 * connection; a thread of quipu's own that renews credentials, and a server that is killed and
 * restarted. It is stopped from another thread, and in the end every event is there once.
 *
 * usage: race_puller [EVENTS]
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
#include "quipu/jetstream.h"
#include "race_kit.h"
#include "race_server.h"

#define EVENTS_DEFAULT 300
#define RESTARTS       2
#define CHUNK          20 /* events between two flushes of the publisher */

struct race {
    struct race_store here;
    struct race_store there;
    struct race_server server;
    struct quipu_nats *nats; /* the puller's */
    struct quipu_puller *puller;
    uint64_t events;
    atomic_bool is_over;
    atomic_ullong published;
    atomic_ullong shown;
    struct race_count taken; /* by both who pull */
};

/* ------------------------------------------------------------------ callbacks */

static void after(void *ctx, enum quipu_status status, const struct quipu_pull_report *report,
                  const struct quipu_error *err)
{
    struct race *race = ctx;
    race_require((err == NULL) == (status == QUIPU_OK || status == QUIPU_STOPPED),
                 "a failure has its line");
    race_count_add(&race->taken, report->events.added);
}

static void progress(void *ctx, uint64_t done, uint64_t total)
{
    struct race *race = ctx;
    race_require(done <= total, "no more is done than there is");
    (void)atomic_fetch_add(&race->shown, 1);
}

/* ------------------------------------------------------------------ threads */

static bool is_passing(enum quipu_status status)
{
    return status == QUIPU_OK || status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT ||
           status == QUIPU_SERVER || status == QUIPU_BUSY;
}

static void *publish(void *ctx)
{
    struct race *race = ctx;
    struct quipu_nats *nats = race_server_connect(&race->server, NULL, NULL);
    while (atomic_load(&race->published) < race->events) {
        for (int i = 0; i < CHUNK; i++) {
            race_append(race->there.engine, i % 3 == 0 ? "shared" : "there");
        }
        enum quipu_status status = QUIPU_SERVER;
        while (status != QUIPU_OK) {
            status = quipu_flush(race->there.engine, nats, NULL, NULL, NULL);
            race_require(is_passing(status), "a flush says how it went");
        }
        (void)atomic_fetch_add(&race->published, CHUNK);
    }
    quipu_nats_close(&nats);
    return NULL;
}

/* Commits that the puller's watch hears of, for nothing. */
static void *append_here(void *ctx)
{
    struct race *race = ctx;
    while (!atomic_load(&race->is_over)) {
        race_append(race->here.engine, "here");
        race_pause_ms(3);
    }
    return NULL;
}

/* Two pull into one store: one has the lock, and the other is told. */
static void *pull_too(void *ctx)
{
    struct race *race = ctx;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    struct quipu_nats *nats = race_server_connect(&race->server, NULL, NULL);
    options.batch = 7;
    while (!atomic_load(&race->is_over)) {
        struct quipu_pull_report report = {.last_sequence = 0};
        enum quipu_status status = quipu_pull(race->here.engine, nats, &options, &report, NULL);
        race_require(is_passing(status), "a pull beside another says how it went");
        race_count_add(&race->taken, report.events.added);
        race_pause_ms(2);
    }
    quipu_nats_close(&nats);
    return NULL;
}

static void *look(void *ctx)
{
    struct race *race = ctx;
    while (!atomic_load(&race->is_over)) {
        struct quipu_nats_report report;
        quipu_nats_state(race->nats, &report);
        race_pause_ms(1);
    }
    return NULL;
}

static void *run_puller(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    race_must(quipu_puller_run(race->puller, &err), &err);
    return NULL;
}

/* ------------------------------------------------------------------ the whole */

static void prepare(struct race *race)
{
    struct quipu_error err;
    struct quipu_puller_options options = QUIPU_PULLER_OPTIONS_INIT;
    race_server_start(&race->server);
    race_store_open(&race->here);
    race_store_open(&race->there);
    race->nats = race_server_connect(&race->server, NULL, NULL);
    (void)race_server_provision(race->nats);
    options.interval_us = 5000;
    options.pull.batch = 11;
    options.pull.progress = progress;
    options.pull.ctx = race;
    options.after = after;
    race_must(quipu_puller_open(race->here.engine, race->nats, &options, &race->puller, &err),
              &err);
}

int main(int argc, char **argv)
{
    static struct race race = {.taken = RACE_COUNT_INIT};
    race.events = argc > 1 ? strtoull(argv[1], NULL, 10) : EVENTS_DEFAULT;
    prepare(&race);
    pthread_t pulling = race_begin(run_puller, &race);
    pthread_t beside = race_begin(pull_too, &race);
    pthread_t looking = race_begin(look, &race);
    pthread_t appending = race_begin(append_here, &race);
    pthread_t publishing = race_begin(publish, &race);
    for (uint64_t i = 1; i <= RESTARTS; i++) {
        race_count_await(&race.taken, race.events * i / (RESTARTS + 2));
        race_server_restart(&race.server);
    }
    race_end(publishing);
    race_count_await(&race.taken, race_events(&race.there));
    quipu_puller_stop(race.puller);
    race_end(pulling);
    atomic_store(&race.is_over, true);
    race_end(beside);
    race_end(looking);
    race_end(appending);

    race_require(race.taken.value == race_events(&race.there), "each event came in once");
    race_require(race_server_renewals(&race.server) > 0, "credentials were renewed");
    race_require(atomic_load(&race.shown) > 0, "progress was shown");
    printf("%" PRIu64 " events taken in, %llu renewals\n", race.taken.value,
           race_server_renewals(&race.server));
    quipu_puller_close(&race.puller);
    quipu_nats_close(&race.nats);
    race_store_close(&race.here);
    race_store_close(&race.there);
    race_server_stop(&race.server);
    return 0;
}
