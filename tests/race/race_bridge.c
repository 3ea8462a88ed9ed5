/*
 * Threads on one bridge, beside a server that is killed and restarted: two publish what comes back
 * to the bridge itself, two take what came, one asks for reports and syncs, libnats calls back, and
 * the queue is so small that messages are dropped. Each message that was taken into the queue is
 * sent once.
 *
 * usage: race_bridge [MESSAGES]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "nats_fixture.h"
#include "quipu/bridge.h"
#include "race_kit.h"

#define MESSAGES_DEFAULT 2000
#define PUBLISHERS       2
#define TAKERS           2
#define RESTARTS         2
#define LOOK_MS          5

struct race {
    struct quipu_bridge *bridge;
    uint64_t messages; /* of each publisher */
    atomic_int publishers_left;
    atomic_bool is_over; /* nothing more comes */
    atomic_ullong queued;
    atomic_ullong taken;
    atomic_ullong dropped; /* as the callback was told */
    atomic_ullong states;
};

static void on_overflow(void *ctx, struct quipu_message *message)
{
    struct race *race = ctx;
    race_require(quipu_message_subject(message)[0] == 'l', "a message of ours is dropped");
    (void)atomic_fetch_add(&race->dropped, 1);
}

static void on_state(void *ctx, const struct quipu_nats_report *now)
{
    struct race *race = ctx;
    race_require(quipu_nats_state_name(now->state)[0] != 'u', "a state has a name");
    (void)atomic_fetch_add(&race->states, 1);
}

static void *publish(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    struct quipu_header header = {"Of", "race"};
    struct quipu_outgoing message = {.subject = "loop.back",
                                     .headers = &header,
                                     .header_count = 1,
                                     .body = quipu_slice_text("round and round")};
    for (uint64_t i = 0; i < race->messages;) {
        enum quipu_status status = quipu_bridge_publish(race->bridge, &message, &err);
        if (status == QUIPU_BUSY) {
            race_pause_ms(1);
            continue;
        }
        race_must(status, &err);
        (void)atomic_fetch_add(&race->queued, 1);
        i++;
    }
    (void)atomic_fetch_sub(&race->publishers_left, 1);
    return NULL;
}

static void *take(void *ctx)
{
    struct race *race = ctx;
    struct pollfd it = {.fd = quipu_bridge_fd(race->bridge), .events = POLLIN};
    for (;;) {
        bool is_over = atomic_load(&race->is_over); /* before the queue is looked at */
        struct quipu_message *message = NULL;
        if (quipu_bridge_next(race->bridge, &message) == QUIPU_OK) {
            const char *of = quipu_message_header(message, "Of");
            race_require(of != NULL && of[0] == 'r', "a message comes whole");
            quipu_message_free(message);
            (void)atomic_fetch_add(&race->taken, 1);
        } else if (is_over) {
            return NULL;
        } else {
            (void)poll(&it, 1, LOOK_MS);
        }
    }
}

static void *look(void *ctx)
{
    struct race *race = ctx;
    uint64_t published = 0;
    while (atomic_load(&race->publishers_left) > 0) {
        struct quipu_bridge_report report;
        quipu_bridge_report(race->bridge, &report);
        race_require(report.published >= published, "a count never falls");
        published = report.published;
        enum quipu_status status = quipu_bridge_sync(race->bridge, 1000, NULL);
        race_require(status == QUIPU_OK || status == QUIPU_TIMEOUT || status == QUIPU_OFFLINE,
                     "a sync says how it went");
    }
    return NULL;
}

static struct quipu_bridge *open_bridge(struct race *race, const char *url)
{
    struct quipu_error err;
    struct quipu_bridge *bridge = NULL;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_bridge_options options = QUIPU_BRIDGE_OPTIONS_INIT;
    struct quipu_bridge_subscription subscriptions[] = {{.subject = "loop.*"},
                                                        {.subject = "loop.>", .queue = "group"}};
    nats.url = url;
    nats.credentials_file = "";
    nats.on_state = on_state;
    nats.on_state_ctx = race;
    options.nats = &nats;
    options.subscriptions = subscriptions;
    options.subscription_count = 2;
    options.received_max = 4;
    options.outgoing_max = 32;
    options.overflow = on_overflow;
    options.ctx = race;
    race_must(quipu_bridge_open(&options, &bridge, &err), &err);
    return bridge;
}

/* Kills and restarts while the publishers are at it, the last time before they can be done. */
static void disturb(struct race *race, struct nats_fixture *server)
{
    uint64_t all = PUBLISHERS * race->messages;
    for (uint64_t i = 1; i <= RESTARTS; i++) {
        while (atomic_load(&race->queued) < all * i / (RESTARTS + 2)) {
            race_pause_ms(1);
        }
        nats_fixture_kill(server);
        nats_fixture_restart(server);
    }
}

static void check(struct race *race)
{
    struct quipu_bridge_report report;
    quipu_bridge_report(race->bridge, &report);
    (void)printf("%" PRIu64 " sent, %" PRIu64 " refused, %" PRIu64 " taken, %" PRIu64 " dropped, "
                 "%" PRIu64 " connects\n",
                 report.published, report.refused, report.received, report.dropped,
                 report.nats.connects);
    (void)fflush(stdout);
    race_require(report.published == atomic_load(&race->queued) && report.refused == 0 &&
                     report.unsent == 0,
                 "each message is sent once");
    race_require(report.received == atomic_load(&race->taken) && report.waiting == 0,
                 "what came in was taken out");
    race_require(report.dropped == atomic_load(&race->dropped), "each drop was told");
    race_require(report.nats.connects >= RESTARTS, "the connection was made anew");
    /* Some may be lost with a connection; each comes at most once to each subscription. */
    race_require(report.received + report.dropped <= 2 * report.published, "nothing comes twice");
    race_require(report.received > 0 && atomic_load(&race->states) >= 2 * RESTARTS,
                 "there was something to race for");
}

int main(int argc, char **argv)
{
    struct nats_fixture server;
    struct quipu_error err;
    pthread_t threads[PUBLISHERS + 1];
    pthread_t takers[TAKERS];
    struct race race = {.messages = MESSAGES_DEFAULT, .publishers_left = PUBLISHERS};
    if (argc > 1) {
        race.messages = strtoull(argv[1], NULL, 10);
    }
    nats_fixture_start_plain(&server, NULL);
    race.bridge = open_bridge(&race, server.url);
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = race_begin(take, &race);
    }
    race_must(quipu_bridge_wait_ready(race.bridge, RACE_PATIENCE_US, &err), &err);
    for (int i = 0; i < PUBLISHERS; i++) {
        threads[i] = race_begin(publish, &race);
    }
    threads[PUBLISHERS] = race_begin(look, &race);
    disturb(&race, &server);
    for (int i = 0; i <= PUBLISHERS; i++) {
        race_end(threads[i]);
    }
    race_must(quipu_bridge_sync(race.bridge, RACE_PATIENCE_US, &err), &err);
    race_must(quipu_bridge_drain(race.bridge, RACE_PATIENCE_US, &err), &err);
    atomic_store(&race.is_over, true);
    for (int i = 0; i < TAKERS; i++) {
        race_end(takers[i]);
    }
    check(&race);
    quipu_bridge_close(&race.bridge);
    nats_fixture_stop(&server);
    return EXIT_SUCCESS;
}
