/*
 * A leaf node: its store flushes to the server beside it, and the hub, which mirrors the leaf's
 * event stream and its bucket, sees every event and every object; also those that were flushed
 * while the hub was away. nats-server 2.9.10 leaves messages with a roll-up header out of mirrors;
 * what a flush stores has none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "js_kit.h"

#define TRIES         3000 /* of 10 ms */
#define EVENTS        300
#define BUCKET_STREAM "OBJ_" QUIPU_BUCKET_DEFAULT

static struct nats_fixture hub;
static struct nats_fixture leaf;
static struct js_store store;

static void start(void)
{
    char config[1024];
    int leaf_port = nats_fixture_free_port();
    nats_fixture_start_plain(&hub, NULL);
    (void)snprintf(config, sizeof config,
                   "server_name: hub\njetstream { store_dir: \"%s/data\", domain: hub }\n"
                   "leafnodes { listen: \"127.0.0.1:%d\" }\n",
                   hub.dir.path, leaf_port);
    nats_fixture_reconfigure(&hub, config);
    nats_fixture_start_plain(&leaf, NULL);
    (void)snprintf(config, sizeof config,
                   "server_name: leaf\njetstream { store_dir: \"%s/data\", domain: leaf }\n"
                   "leafnodes { reconnect: 1, remotes: [ { url: \"nats-leaf://127.0.0.1:%d\" } ] "
                   "}\n",
                   leaf.dir.path, leaf_port);
    nats_fixture_reconfigure(&leaf, config);
    js_store_open(&store);
}

static void stop(void)
{
    js_store_release(&store);
    nats_fixture_stop(&leaf);
    nats_fixture_stop(&hub);
}

TestSuite(leaf_node, .init = start, .fini = stop, .timeout = 100);

static void pause_briefly(void)
{
    struct timespec pause = {0, 10 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
}

/* On the hub: a copy of the leaf's stream of that name, which takes no publishes of its own. */
static void mirror(const char *stream)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    jsStreamInfo *info = NULL;
    jsExternalStream external;
    jsStreamSource source;
    jsStreamConfig config;
    (void)jsExternalStream_Init(&external);
    external.APIPrefix = "$JS.leaf.API";
    external.DeliverPrefix = ""; /* libnats 3.4.1 crashes without one */
    (void)jsStreamSource_Init(&source);
    source.Name = stream;
    source.External = &external;
    (void)jsStreamConfig_Init(&config);
    config.Name = stream;
    config.Mirror = &source;
    config.AllowDirect = true;
    cr_assert_eq(natsConnection_ConnectTo(&connection, hub.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    natsStatus s = NATS_ERR;
    for (int i = 0; i < TRIES && s != NATS_OK; i++) { /* until the leaf has come */
        s = js_AddStream(&info, js, &config, NULL, NULL);
        if (s != NATS_OK) {
            pause_briefly();
        }
    }
    cr_assert_eq(s, NATS_OK, "%s", nats_GetLastError(NULL));
    jsStreamInfo_Destroy(info);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
}

static void await_at_hub(const char *stream, uint64_t wanted)
{
    uint64_t found = 0;
    for (int i = 0; i < TRIES && found != wanted; i++) {
        found = js_stream_messages(&hub, stream);
        cr_assert_leq(found, wanted, "%s: the hub has more than the leaf", stream);
        if (found != wanted) {
            pause_briefly();
        }
    }
    cr_assert_eq(found, wanted, "%s: the hub sees %" PRIu64 " of %" PRIu64, stream, found, wanted);
}

struct looker {
    natsConnection *connection;
    jsCtx *js;
};

static void look_open(struct looker *looker, const struct nats_fixture *server)
{
    cr_assert_eq(natsConnection_ConnectTo(&looker->connection, server->url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&looker->js, looker->connection, NULL), NATS_OK);
}

static void look_close(struct looker *looker)
{
    jsCtx_Destroy(looker->js);
    natsConnection_Destroy(looker->connection);
}

/* Message for message, what the leaf has. */
static void expect_same(const char *stream, uint64_t messages, struct looker *there,
                        struct looker *here)
{
    for (uint64_t sequence = 1; sequence <= messages; sequence++) {
        natsMsg *a = NULL;
        natsMsg *b = NULL;
        cr_assert_eq(js_GetMsg(&a, there->js, stream, sequence, NULL, NULL), NATS_OK);
        cr_assert_eq(js_GetMsg(&b, here->js, stream, sequence, NULL, NULL), NATS_OK,
                     "%s: sequence %" PRIu64 " is not seen", stream, sequence);
        cr_assert_str_eq(natsMsg_GetSubject(a), natsMsg_GetSubject(b));
        cr_assert_eq(natsMsg_GetDataLength(a), natsMsg_GetDataLength(b));
        cr_assert_arr_eq(natsMsg_GetData(a), natsMsg_GetData(b), (size_t)natsMsg_GetDataLength(a));
        natsMsg_Destroy(a);
        natsMsg_Destroy(b);
    }
}

static void expect_at_hub(uint64_t events)
{
    struct looker beside;
    struct looker mirrored;
    js_expect_all_published(&leaf, &store);
    await_at_hub(QUIPU_STREAM_DEFAULT, events);
    await_at_hub(BUCKET_STREAM, 2 * events);
    look_open(&beside, &leaf);
    look_open(&mirrored, &hub);
    expect_same(QUIPU_STREAM_DEFAULT, events, &beside, &mirrored);
    expect_same(BUCKET_STREAM, 2 * events, &beside, &mirrored);
    look_close(&beside);
    look_close(&mirrored);
}

Test(leaf_node, flushes_beside_it_and_the_hub_sees_it)
{
    js_store_fill(&store, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&leaf);
    js_provision(nats, 0);
    mirror(QUIPU_STREAM_DEFAULT);
    mirror(BUCKET_STREAM);

    cr_assert_eq(js_flush(&store, nats).published, EVENTS);
    expect_at_hub(EVENTS);

    /* The hub away: the leaf's store does not notice; the hub catches up. */
    nats_fixture_kill(&hub);
    js_store_fill(&store, EVENTS, 120, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, EVENTS);
    nats_fixture_restart(&hub);
    expect_at_hub(2 * (uint64_t)EVENTS);
    quipu_nats_close(&nats);
}
