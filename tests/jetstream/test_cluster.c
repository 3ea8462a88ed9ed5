/*
 * Three servers on loopback with replicas 3, whose leader is killed in the midst of a flush and of
 * a pull. Flushed with dedup = "window": on nats-server before 2.10.19 an expected subject sequence
 * can make replicas disagree (SPEC §10.1). Afterwards every event is there once, on every server.
 * And a pull whose consumer is led by a server that does not hear from the stream's leader.
 *
 * QUIPU_SOAK_ROUND (0) chooses the sizes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "js_kit.h"
#include "tcp_proxy.h"

#define SERVERS     3
#define TRIES       3000 /* of 10 ms */
#define URL_BYTES   (SERVERS * 64)
#define PAYLOAD_LEN 200

static struct nats_fixture servers[SERVERS];
static struct tcp_proxy links[SERVERS][SERVERS]; /* [i][j]: how i reaches j */
static char urls[URL_BYTES];
static struct js_store store;

static void pause_briefly(void)
{
    struct timespec pause = {0, 10 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
}

/* Each is started alone first, which gives it a port and a folder, then together with the others.
 */
static void cluster_start(void)
{
    int routes[SERVERS];
    char config[2048];
    for (int i = 0; i < SERVERS; i++) {
        nats_fixture_start_plain(&servers[i], NULL);
        routes[i] = nats_fixture_free_port();
    }
    for (int i = 0; i < SERVERS * SERVERS; i++) {
        tcp_proxy_start(&links[i / SERVERS][i % SERVERS], routes[i % SERVERS]);
    }
    urls[0] = 0;
    for (int i = 0; i < SERVERS; i++) {
        /* What a server would tell the others of its routes leads nowhere: the links are all. */
        (void)snprintf(config, sizeof config,
                       "server_name: n%d\n"
                       "jetstream { store_dir: \"%s/data\", max_file: 1GB, max_mem: 64MB }\n"
                       "cluster { name: quipu, listen: \"127.0.0.1:%d\", no_advertise: true, "
                       "advertise: \"127.0.0.1:1\", routes: [ nats-route://127.0.0.1:%d, "
                       "nats-route://127.0.0.1:%d ] }\n",
                       i, servers[i].dir.path, routes[i], links[i][(i + 1) % SERVERS].port,
                       links[i][(i + 2) % SERVERS].port);
        nats_fixture_reconfigure(&servers[i], config);
        (void)snprintf(urls + strlen(urls), sizeof urls - strlen(urls), "%s%s", i == 0 ? "" : ",",
                       servers[i].url);
    }
    js_store_open(&store);
}

static void cluster_stop(void)
{
    js_store_release(&store);
    for (int i = 0; i < SERVERS; i++) {
        nats_fixture_stop(&servers[i]);
    }
    for (int i = 0; i < SERVERS * SERVERS; i++) {
        tcp_proxy_stop(&links[i / SERVERS][i % SERVERS]);
    }
}

TestSuite(cluster, .init = cluster_start, .fini = cluster_stop, .timeout = 170);

static struct quipu_nats *connect_to(const char *url)
{
    struct quipu_error err;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = url;
    options.connect_timeout_us = 2000000;
    options.request_timeout_us = 2000000;
    enum quipu_status status = quipu_nats_open(&options, &nats, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return nats;
}

/* As soon as the three have found one another and chosen a leader. */
static void provision(struct quipu_nats *nats)
{
    struct quipu_error err;
    struct quipu_provision_report report;
    struct quipu_provision_options options = QUIPU_PROVISION_OPTIONS_INIT;
    options.replicas = SERVERS;
    enum quipu_status status = QUIPU_SERVER;
    for (int i = 0; i < TRIES && status != QUIPU_OK; i++) {
        status = quipu_provision(nats, &options, &report, &err);
        if (status != QUIPU_OK) {
            pause_briefly();
        }
    }
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    cr_assert_not_null(strstr(report.notes, "dedup = \"window\""), "%s", report.notes);
    quipu_buf_release(&report.drift);
}

/* Index of the server that leads the event stream; -1 where none is known. */
static int leader_of(const char *stream)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    int leader = -1;
    if (natsConnection_ConnectTo(&connection, urls) == NATS_OK &&
        natsConnection_JetStream(&js, connection, NULL) == NATS_OK &&
        js_GetStreamInfo(&info, js, stream, NULL, NULL) == NATS_OK && info->Cluster != NULL &&
        info->Cluster->Leader != NULL && info->Cluster->Leader[0] == 'n') {
        leader = info->Cluster->Leader[1] - '0';
    }
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    return leader;
}

/* Called in the midst of a flush or a pull, on the test's own thread. */
struct killing {
    const char *stream;
    uint64_t at;  /* when so many are done */
    int killed;   /* server; -1: not yet */
    bool is_back; /* started again */
    uint64_t back_at;
};

static void kill_the_leader(void *ctx, uint64_t done, uint64_t total)
{
    struct killing *killing = ctx;
    if (killing->killed < 0 && done >= killing->at && done < total) {
        int leader = -1;
        for (int i = 0; i < TRIES && leader < 0; i++) { /* one is being chosen */
            leader = leader_of(killing->stream);
            if (leader < 0) {
                pause_briefly();
            }
        }
        if (leader >= 0 && leader < SERVERS) {
            killing->killed = leader;
            nats_fixture_kill(&servers[leader]);
        }
    } else if (killing->killed >= 0 && !killing->is_back && done >= killing->back_at) {
        killing->is_back = true;
        nats_fixture_restart(&servers[killing->killed]);
    }
}

static void bring_back(struct killing *killing)
{
    if (killing->killed >= 0 && !killing->is_back) {
        killing->is_back = true;
        nats_fixture_restart(&servers[killing->killed]);
    }
}

/* A cluster without a leader for a while is no failure: whoever flushes or pulls tries again. */
static bool is_passing(enum quipu_status status)
{
    return status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT || status == QUIPU_SERVER;
}

static void flush_all(struct quipu_nats *nats, struct killing *killing)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.dedup = QUIPU_DEDUP_WINDOW;
    options.window = 64;
    options.progress = kill_the_leader;
    options.ctx = killing;
    enum quipu_status status = QUIPU_SERVER;
    for (int i = 0; i < TRIES && is_passing(status); i++) {
        status = quipu_flush(store.engine, nats, &options, NULL, &err);
        if (is_passing(status)) {
            pause_briefly();
        }
    }
    cr_assert_eq(status, QUIPU_OK, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    bring_back(killing);
}

static uint64_t messages_at(const struct nats_fixture *server)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    uint64_t messages = UINT64_MAX;
    if (natsConnection_ConnectTo(&connection, server->url) == NATS_OK &&
        natsConnection_JetStream(&js, connection, NULL) == NATS_OK &&
        js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL) == NATS_OK) {
        bool are_current = info->Cluster != NULL && info->Cluster->ReplicasLen == SERVERS - 1;
        for (int i = 0; are_current && i < info->Cluster->ReplicasLen; i++) {
            are_current = info->Cluster->Replicas[i]->Current;
        }
        messages = are_current ? info->State.Msgs : UINT64_MAX;
    }
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    return messages;
}

/* All replicas have caught up, and hold so many. */
static void expect_messages(uint64_t wanted)
{
    uint64_t found = UINT64_MAX;
    for (int i = 0; i < TRIES && found == UINT64_MAX; i++) {
        found = messages_at(&servers[0]);
        if (found == UINT64_MAX) {
            pause_briefly();
        }
    }
    cr_assert_eq(found, wanted, "the stream holds %" PRIu64 ", wanted %" PRIu64, found, wanted);
}

static void pull_all(struct js_store *into, struct quipu_nats *nats, struct killing *killing)
{
    struct quipu_error err;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    options.batch = 100;
    options.progress = kill_the_leader;
    options.ctx = killing;
    enum quipu_status status = QUIPU_SERVER;
    for (int i = 0; i < TRIES && is_passing(status); i++) {
        status = quipu_pull(into->engine, nats, &options, NULL, &err);
        if (is_passing(status)) {
            pause_briefly();
        }
    }
    cr_assert_eq(status, QUIPU_OK, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    bring_back(killing);
}

/*
 * Every event once and every payload, byte by byte. Not the order of an aggregate's versions: what
 * the old leader had taken and not yet shared is sent again, behind later ones that the new leader
 * has taken (docs/adr/0009).
 */
static void expect_stream_is_log(struct quipu_nats *nats, uint64_t events)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    options.payloads = QUIPU_PAYLOADS_CHECK;
    enum quipu_status status = quipu_reconcile(store.engine, nats, &options, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    cr_assert_eq(report.same, events);
    cr_assert_eq(report.messages, events);
    cr_assert_eq(report.missing + report.other + report.extra + report.copies, 0);
    cr_assert_eq(report.payloads, 0);
}

static uint64_t round_number(void)
{
    const char *text = getenv("QUIPU_SOAK_ROUND");
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

/* Hears what the stream's leader is asked: a direct get may be answered by a server that is behind.
 */
struct listener {
    natsConnection *connection;
    natsSubscription *questions;
};

static struct listener listen_to_questions(void)
{
    struct listener listener = {NULL, NULL};
    cr_assert_eq(natsConnection_ConnectTo(&listener.connection, urls), NATS_OK);
    cr_assert_eq(natsConnection_SubscribeSync(&listener.questions, listener.connection,
                                              "$JS.API.STREAM.MSG.GET." QUIPU_STREAM_DEFAULT),
                 NATS_OK);
    cr_assert_eq(natsConnection_Flush(listener.connection), NATS_OK);
    return listener;
}

/* It may have lost its own server, and what was asked meanwhile. */
static void expect_questions(struct listener *listener, uint64_t at_least)
{
    int heard = 0;
    for (int i = 0; i < TRIES && (uint64_t)heard < at_least; i++) {
        cr_assert_eq(natsSubscription_GetPending(listener->questions, &heard, NULL), NATS_OK);
        if ((uint64_t)heard < at_least) {
            pause_briefly();
        }
    }
    cr_assert_geq((uint64_t)heard, at_least, "the leader was asked for %d events", heard);
    natsSubscription_Destroy(listener->questions);
    natsConnection_Destroy(listener->connection);
}

Test(cluster, whose_leader_dies_in_the_midst_loses_and_doubles_nothing)
{
    uint64_t events = 3000 + round_number() * 500;
    struct js_store other;
    js_store_fill(&store, events, PAYLOAD_LEN, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = connect_to(urls);
    provision(nats);

    struct listener listener = listen_to_questions();
    struct killing in_flush = {QUIPU_STREAM_DEFAULT, events / 5, -1, false, events * 4 / 5};
    flush_all(nats, &in_flush);
    expect_questions(&listener, events / 5);
    cr_assert_geq(in_flush.killed, 0, "no leader was killed in the midst of the flush");
    expect_messages(events);

    struct killing in_pull = {QUIPU_STREAM_DEFAULT, events / 5, -1, false, events * 4 / 5};
    js_store_open(&other);
    pull_all(&other, nats, &in_pull);
    cr_assert_geq(in_pull.killed, 0, "no leader was killed in the midst of the pull");
    /* Where a pull says that it has come to the end, it has, whatever has happened to leaders. */
    struct quipu_outbox_status outbox = js_store_outbox(&other);
    cr_assert_eq(outbox.published, events,
                 "pulled %" PRIu64 " of %" PRIu64 ", and %" PRIu64 " without a receipt",
                 outbox.published, events, outbox.pending);
    expect_messages(events);

    expect_stream_is_log(nats, events);
    js_store_release(&other);
    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ behind the leader */

/* The server that leads the consumer of this name; -1 where none is known. */
static int consumer_leader_of(jsCtx *js, const char *consumer)
{
    jsConsumerInfo *info = NULL;
    int leader = -1;
    if (js_GetConsumerInfo(&info, js, QUIPU_STREAM_DEFAULT, consumer, NULL, NULL) == NATS_OK &&
        info->Cluster != NULL && info->Cluster->Leader != NULL && info->Cluster->Leader[0] == 'n') {
        leader = info->Cluster->Leader[1] - '0';
    }
    jsConsumerInfo_Destroy(info);
    return leader;
}

static void step_down(natsConnection *connection, const char *what, const char *consumer)
{
    char subject[200];
    natsMsg *reply = NULL;
    (void)snprintf(subject, sizeof subject, "$JS.API.%s.LEADER.STEPDOWN.%s%s%s", what,
                   QUIPU_STREAM_DEFAULT, consumer == NULL ? "" : ".",
                   consumer == NULL ? "" : consumer);
    (void)natsConnection_RequestString(&reply, connection, subject, "", 1000);
    natsMsg_Destroy(reply);
}

/* Until n0 leads the one and n1 the other; then there is nobody but n2 who hears from both. */
static void part_leaders(const char *consumer)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    bool are_apart = false;
    cr_assert_eq(natsConnection_ConnectTo(&connection, servers[2].url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    for (int i = 0; i < TRIES && !are_apart; i++) {
        int of_stream = leader_of(QUIPU_STREAM_DEFAULT);
        int of_consumer = consumer_leader_of(js, consumer);
        are_apart = of_stream >= 0 && of_consumer >= 0 && of_stream + of_consumer == 1;
        if (!are_apart && of_stream == 2) {
            step_down(connection, "STREAM", NULL);
        } else if (!are_apart && of_stream >= 0 && of_consumer >= 0) {
            step_down(connection, "CONSUMER", consumer);
        }
        pause_briefly();
    }
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
    cr_assert(are_apart, "the leaders do not part");
}

static enum quipu_status count_one(void *ctx, const struct quipu_quarantined *event,
                                   struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

/* Taken in, or waiting in quarantine for a payload that the server asked has not got yet. */
static uint64_t here_of(struct js_store *other)
{
    struct quipu_error err;
    uint64_t count = js_store_outbox(other).published;
    cr_assert_eq(quipu_each_quarantined(other->engine, count_one, &count, &err), QUIPU_OK);
    return count;
}

Test(cluster, whose_consumer_is_behind_does_not_end_a_pull_too_soon)
{
    struct quipu_error err;
    struct js_store other;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char consumer[QUIPU_SOURCE_TEXT_BYTES + 8];
    struct killing nobody = {QUIPU_STREAM_DEFAULT, UINT64_MAX, -1, true, 0};
    struct quipu_nats *nats = connect_to(servers[2].url);
    js_store_fill(&store, 20, PAYLOAD_LEN, JS_PAYLOADS_UNIQUE);
    js_store_open(&other);
    provision(nats);
    flush_all(nats, &nobody);
    pull_all(&other, nats, &nobody);
    cr_assert_eq(quipu_identity_source(other.engine, source, &err), QUIPU_OK);
    (void)snprintf(consumer, sizeof consumer, "quipu-%s", source);
    part_leaders(consumer);

    tcp_proxy_blacken(&links[0][1]);
    tcp_proxy_blacken(&links[1][0]);
    js_store_fill(&store, 50, PAYLOAD_LEN, JS_PAYLOADS_UNIQUE);
    flush_all(nats, &nobody);
    bool is_healed = false;
    enum quipu_status status = QUIPU_SERVER;
    for (int i = 0; i < TRIES && (status != QUIPU_OK || js_store_outbox(&other).published < 70);
         i++) {
        struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
        options.asks_at_once = true;
        status = quipu_pull(other.engine, nats, &options, NULL, &err);
        cr_assert(status == QUIPU_OK || is_passing(status), "%s: %s", quipu_status_name(status),
                  err.message);
        cr_assert(status != QUIPU_OK || here_of(&other) == 70,
                  "it says that this is the end: %" PRIu64 " of 70", here_of(&other));
        if (!is_healed) {
            tcp_proxy_drop(&links[0][1]);
            tcp_proxy_drop(&links[1][0]);
            is_healed = true;
        }
        pause_briefly();
    }
    js_assert_same_events(&store, &other);
    js_store_release(&other);
    quipu_nats_close(&nats);
}
