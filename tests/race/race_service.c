/*
 * A service with two workers and room for one request more, asked by several peers at once, with
 * commands, queries and discovery, while others look at its report and its metrics and the server
 * is killed and restarted. Each command has an id and is asked again until it is answered: its
 * event is appended once.
 *
 * usage: race_service [COMMANDS]
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_fixture.h"
#include "quipu/clock.h"
#include "quipu/metrics.h"
#include "quipu/service.h"
#include "race_kit.h"

#define COMMANDS_DEFAULT 150
#define PEERS            3
#define RESTARTS         2
#define ASK_MS           500
#define EVENT                                                                                      \
    "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k1\",\"event_type\":\"key.used\","             \
    "\"payload\":{\"n\":1}}"

struct race {
    struct race_store store;
    struct nats_fixture server;
    struct quipu_service *service;
    uint64_t commands; /* of each peer */
    atomic_int peers;
    atomic_bool is_over;
    atomic_ullong answered;
    atomic_ullong repeated;
};

/* ------------------------------------------------------------------ peers */

static natsConnection *peer_open(const struct race *race)
{
    natsOptions *options = NULL;
    natsConnection *peer = NULL;
    race_require(natsOptions_Create(&options) == NATS_OK &&
                     natsOptions_SetURL(options, race->server.url) == NATS_OK &&
                     natsOptions_SetMaxReconnect(options, 100000) == NATS_OK &&
                     natsOptions_SetReconnectWait(options, 20) == NATS_OK &&
                     natsOptions_SetIgnoreDiscoveredServers(options, true) == NATS_OK,
                 "options of a peer");
    race_require(natsConnection_Connect(&peer, options) == NATS_OK, "a peer connects");
    natsOptions_Destroy(options);
    return peer;
}

/* False: no answer came; the server may be away. */
static bool ask(natsConnection *peer, const char *subject, const char *id, const char *body)
{
    natsMsg *request = NULL;
    natsMsg *answer = NULL;
    race_require(natsMsg_Create(&request, subject, NULL, body, (int)strlen(body)) == NATS_OK,
                 "a request");
    if (id != NULL) {
        race_require(natsMsgHeader_Set(request, "X-Request-ID", id) == NATS_OK, "a header");
    }
    natsStatus s = natsConnection_RequestMsg(&answer, peer, request, ASK_MS);
    bool is_good = false;
    if (s == NATS_OK) {
        const char *code = NULL;
        is_good = natsMsgHeader_Get(answer, "Nats-Service-Error-Code", &code) != NATS_OK;
    }
    natsMsg_Destroy(answer);
    natsMsg_Destroy(request);
    return is_good;
}

static void *command(void *ctx)
{
    struct race *race = ctx;
    int number = atomic_fetch_add(&race->peers, 1);
    natsConnection *peer = peer_open(race);
    for (uint64_t i = 0; i < race->commands; i++) {
        char id[40];
        (void)snprintf(id, sizeof id, "peer %d command %" PRIu64, number, i);
        while (!ask(peer, "svc.cim.keys.cmd.append", id, EVENT)) {
            (void)atomic_fetch_add(&race->repeated, 1);
        }
        (void)atomic_fetch_add(&race->answered, 1);
    }
    natsConnection_Destroy(peer);
    return NULL;
}

static void *query(void *ctx)
{
    struct race *race = ctx;
    natsConnection *peer = peer_open(race);
    while (!atomic_load(&race->is_over)) {
        /* What comes of each is other tests' business; here it is that they come at once. */
        (void)ask(peer, "svc.cim.keys.query", NULL, "{\"v\":1,\"query\":\"status\"}");
        (void)ask(peer, "$SRV.STATS", NULL, "");
        (void)ask(peer, "health.quipu", NULL, "");
    }
    natsConnection_Destroy(peer);
    return NULL;
}

static void *look(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    struct quipu_buf text = QUIPU_BUF_INIT;
    uint64_t requests = 0;
    while (!atomic_load(&race->is_over)) {
        struct quipu_service_report report;
        struct quipu_metrics_of of = {.engine = race->store.engine, .service = race->service};
        quipu_service_report(race->service, &report);
        race_require(report.requests >= requests, "a count never falls");
        requests = report.requests;
        quipu_buf_reset(&text);
        race_must(quipu_metrics_append(&of, &text, &err), &err);
        race_pause_ms(1);
    }
    quipu_buf_release(&text);
    return NULL;
}

/* ------------------------------------------------------------------ the whole */

static void *serve(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error err;
    race_must(quipu_service_run(race->service, &err), &err);
    return NULL;
}

static void open_service(struct race *race, const struct quipu_log *log)
{
    struct quipu_error err;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    nats.url = race->server.url;
    nats.credentials_file = "";
    options.nats = &nats;
    options.workers = 2;
    options.waiting_max = 1;
    options.log = log;
    race_must(quipu_service_open(race->store.engine, &options, &race->service, &err), &err);
}

int main(int argc, char **argv)
{
    static struct race race;
    struct quipu_error err;
    pthread_t peers[PEERS];
    race.commands = argc > 1 ? strtoull(argv[1], NULL, 10) : COMMANDS_DEFAULT;
    nats_fixture_start_plain(&race.server, NULL);
    race_store_open(&race.store);
    char path[2 * TEMP_DIR_BYTES];
    FILE *file = fopen(temp_dir_join(&race.store.dir, "log", path), "a");
    race_require(file != NULL, "a log");
    struct quipu_log log = {fileno(file), QUIPU_LOG_JSON, QUIPU_LOG_DEBUG, quipu_clock_system()};
    open_service(&race, &log);
    pthread_t serving = race_begin(serve, &race);
    race_must(quipu_service_wait_ready(race.service, RACE_PATIENCE_US, &err), &err);
    for (int i = 0; i < PEERS; i++) {
        peers[i] = race_begin(command, &race);
    }
    pthread_t asking = race_begin(query, &race);
    pthread_t looking = race_begin(look, &race);
    uint64_t all = PEERS * race.commands;
    for (uint64_t i = 1; i <= RESTARTS; i++) {
        while (atomic_load(&race.answered) < all * i / (RESTARTS + 2)) {
            race_pause_ms(1);
        }
        nats_fixture_kill(&race.server);
        nats_fixture_restart(&race.server);
    }
    for (int i = 0; i < PEERS; i++) {
        race_end(peers[i]);
    }
    atomic_store(&race.is_over, true);
    race_end(asking);
    race_end(looking);
    quipu_service_stop(race.service);
    race_end(serving);
    struct quipu_service_report report;
    quipu_service_report(race.service, &report);
    quipu_service_close(&race.service);
    race_require(race_events(&race.store) == all, "each command's event is there once");
    race_require(report.requests >= all && report.refused > 0 && ftell(file) > 0,
                 "there was something to race for");
    (void)fclose(file);
    (void)printf("%" PRIu64 " commands, %llu asked again, %" PRIu64 " answered from the store, "
                 "%" PRIu64 " refused for want of room\n",
                 all, atomic_load(&race.repeated), report.duplicates, report.refused);
    race_store_close(&race.store);
    nats_fixture_stop(&race.server);
    return EXIT_SUCCESS;
}
