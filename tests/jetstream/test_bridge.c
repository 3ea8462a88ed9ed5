/*
 * The bridge between NATS and a host's loop, against a real server; the other end is libnats
 * itself.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "nats_fixture.h"
#include "quipu/bridge.h"

#define PATIENCE_MS 20000
#define PATIENCE_US ((int64_t)PATIENCE_MS * 1000)

static struct quipu_bridge *open_bridge(const char *url,
                                        const struct quipu_bridge_subscription *subscriptions,
                                        size_t count, struct quipu_bridge_options options)
{
    struct quipu_error err;
    struct quipu_bridge *bridge = NULL;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    nats.url = url;
    nats.credentials_file = "";
    options.nats = &nats;
    options.subscriptions = subscriptions;
    options.subscription_count = count;
    enum quipu_status status = quipu_bridge_open(&options, &bridge, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    return bridge;
}

static void wait_ready(struct quipu_bridge *bridge)
{
    struct quipu_error err;
    enum quipu_status status = quipu_bridge_wait_ready(bridge, PATIENCE_US, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
}

static natsConnection *connect_peer(const struct nats_fixture *server)
{
    natsConnection *peer = NULL;
    cr_assert_eq(natsConnection_ConnectTo(&peer, server->url), NATS_OK);
    return peer;
}

static bool is_readable(struct quipu_bridge *bridge, int timeout_ms)
{
    struct pollfd it = {.fd = quipu_bridge_fd(bridge), .events = POLLIN};
    return poll(&it, 1, timeout_ms) == 1;
}

static struct quipu_message *take(struct quipu_bridge *bridge)
{
    struct quipu_message *message = NULL;
    cr_assert(is_readable(bridge, PATIENCE_MS), "no message came");
    cr_assert_eq(quipu_bridge_next(bridge, &message), QUIPU_OK);
    return message;
}

static void expect_body(const struct quipu_message *message, const char *body)
{
    cr_assert(quipu_slice_equal(quipu_message_body(message), quipu_slice_text(body)), "%.*s",
              QUIPU_SLICE_FMT(quipu_message_body(message)));
}

static void publish(struct quipu_bridge *bridge, const char *subject, const char *body)
{
    struct quipu_error err;
    struct quipu_outgoing message = {.subject = subject, .body = quipu_slice_text(body)};
    enum quipu_status status = quipu_bridge_publish(bridge, &message, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
}

static struct quipu_bridge_report report_of(struct quipu_bridge *bridge)
{
    struct quipu_bridge_report report;
    quipu_bridge_report(bridge, &report);
    return report;
}

static const struct quipu_bridge_options defaults = QUIPU_BRIDGE_OPTIONS_INIT;

Test(bridge, hands_over_what_comes_with_all_its_parts)
{
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    struct quipu_bridge_subscription subscription = {.subject = "host.*.in"};
    struct quipu_bridge *bridge = open_bridge(server.url, &subscription, 1, defaults);
    wait_ready(bridge);
    natsConnection *peer = connect_peer(&server);

    natsMsg *msg = NULL;
    cr_assert_eq(natsMsg_Create(&msg, "host.a.in", "answers.7", "body", 4), NATS_OK);
    cr_assert_eq(natsMsgHeader_Set(msg, "X-Correlation-ID", "seven"), NATS_OK);
    cr_assert_eq(natsConnection_PublishMsg(peer, msg), NATS_OK);
    natsMsg_Destroy(msg);
    struct quipu_message *message = take(bridge);

    cr_assert_str_eq(quipu_message_subject(message), "host.a.in");
    cr_assert_str_eq(quipu_message_reply(message), "answers.7");
    cr_assert_str_eq(quipu_message_header(message, "X-Correlation-ID"), "seven");
    cr_assert_null(quipu_message_header(message, "X-Other"));
    expect_body(message, "body");
    quipu_message_free(message);
    cr_assert_not(is_readable(bridge, 0), "nothing waits, and the descriptor says otherwise");
    cr_assert_eq(quipu_bridge_next(bridge, &message), QUIPU_DONE);

    natsConnection_Destroy(peer);
    quipu_bridge_close(&bridge);
    cr_assert_null(bridge);
    nats_fixture_stop(&server);
}

Test(bridge, sends_in_order_with_reply_and_headers)
{
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    natsConnection *peer = connect_peer(&server);
    natsSubscription *inbox = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&inbox, peer, "out.>"), NATS_OK);
    cr_assert_eq(natsConnection_Flush(peer), NATS_OK);
    struct quipu_bridge *bridge = open_bridge(server.url, NULL, 0, defaults);

    struct quipu_error err;
    struct quipu_header headers[] = {{"A", "1"}, {"B", "two"}};
    struct quipu_outgoing message = {.subject = "out.x",
                                     .reply = "back",
                                     .headers = headers,
                                     .header_count = 2,
                                     .body = quipu_slice_text("0")};
    cr_assert_eq(quipu_bridge_publish(bridge, &message, &err), QUIPU_OK);
    for (int i = 1; i < 100; i++) {
        char body[8];
        (void)snprintf(body, sizeof body, "%d", i);
        publish(bridge, "out.x", body);
    }
    cr_assert_eq(quipu_bridge_sync(bridge, PATIENCE_US, &err), QUIPU_OK, "%s", err.message);

    for (int i = 0; i < 100; i++) {
        natsMsg *msg = NULL;
        char body[8];
        (void)snprintf(body, sizeof body, "%d", i);
        cr_assert_eq(natsSubscription_NextMsg(&msg, inbox, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(natsMsg_GetData(msg), body);
        if (i == 0) {
            const char *value = NULL;
            cr_assert_str_eq(natsMsg_GetReply(msg), "back");
            cr_assert_eq(natsMsgHeader_Get(msg, "B", &value), NATS_OK);
            cr_assert_str_eq(value, "two");
        }
        natsMsg_Destroy(msg);
    }
    cr_assert_eq(report_of(bridge).published, 100);

    quipu_bridge_close(&bridge);
    natsSubscription_Destroy(inbox);
    natsConnection_Destroy(peer);
    nats_fixture_stop(&server);
}

Test(bridge, waits_for_nothing_while_there_is_no_server_and_sends_when_there_is_one)
{
    struct quipu_error err;
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    nats_fixture_kill(&server);
    struct quipu_bridge_subscription subscription = {.subject = "echo"};
    struct quipu_bridge_options options = defaults;
    options.outgoing_max = 3;
    struct quipu_bridge *bridge = open_bridge(server.url, &subscription, 1, options);

    publish(bridge, "echo", "1");
    publish(bridge, "echo", "2");
    publish(bridge, "echo", "3");
    struct quipu_outgoing fourth = {.subject = "echo", .body = quipu_slice_text("4")};
    cr_assert_eq(quipu_bridge_publish(bridge, &fourth, &err), QUIPU_BUSY);
    cr_assert_eq(quipu_bridge_sync(bridge, 0, &err), QUIPU_TIMEOUT);
    cr_assert_eq(report_of(bridge).unsent, 3);
    nats_fixture_restart(&server);

    for (const char *body = "123"; *body != 0; body++) {
        char text[2] = {*body, 0};
        struct quipu_message *message = take(bridge);
        expect_body(message, text);
        quipu_message_free(message);
    }
    /* What came back may be here before the sending thread has counted it. */
    cr_assert_eq(quipu_bridge_sync(bridge, PATIENCE_US, &err), QUIPU_OK, "%s", err.message);
    struct quipu_bridge_report report = report_of(bridge);
    cr_assert_eq(report.unsent, 0);
    cr_assert_eq(report.nats.state, QUIPU_NATS_CONNECTED);
    cr_assert_gt(report.message_bytes_max, 1000);

    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

struct ending {
    struct nats_fixture server;
    sem_t is_asking;
};

static void *end_server(void *ctx)
{
    struct ending *ending = ctx;
    (void)sem_wait(&ending->is_asking);
    (void)usleep(300000); /* by then it waits */
    nats_fixture_kill(&ending->server);
    return NULL;
}

Test(bridge, does_not_say_that_the_server_has_what_went_down_with_the_connection)
{
    struct quipu_error err;
    struct ending ending;
    pthread_t thread;
    cr_assert_eq(sem_init(&ending.is_asking, 0, 0), 0);
    nats_fixture_start_plain(&ending.server, NULL);
    struct quipu_bridge *bridge = open_bridge(ending.server.url, NULL, 0, defaults);
    wait_ready(bridge);
    nats_fixture_pause(&ending.server); /* it takes nothing any more */
    publish(bridge, "out.x", "1");
    cr_assert_eq(pthread_create(&thread, NULL, end_server, &ending), 0);
    (void)sem_post(&ending.is_asking);

    enum quipu_status status = quipu_bridge_sync(bridge, PATIENCE_US, &err);
    cr_assert_eq(status, QUIPU_OFFLINE, "%s", quipu_status_name(status));

    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(report_of(bridge).published, 1);
    cr_assert_eq(quipu_bridge_sync(bridge, 0, &err), QUIPU_OK, "%s", err.message);
    quipu_bridge_close(&bridge);
    nats_fixture_stop(&ending.server);
}

Test(bridge, subscribes_again_after_the_server_was_away)
{
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    struct quipu_bridge_subscription subscription = {.subject = "echo"};
    struct quipu_bridge *bridge = open_bridge(server.url, &subscription, 1, defaults);
    wait_ready(bridge);

    for (int i = 0; i < 3; i++) {
        nats_fixture_kill(&server);
        /* In the queue until there is a server; the subscription is made before it goes out. The
         * one that the bridge had not yet noticed to be gone may take it along. */
        struct quipu_message *message = NULL;
        nats_fixture_restart(&server);
        while (message == NULL) {
            publish(bridge, "echo", "again");
            if (is_readable(bridge, 100)) {
                cr_assert_eq(quipu_bridge_next(bridge, &message), QUIPU_OK);
            }
        }
        expect_body(message, "again");
        quipu_message_free(message);
        while (quipu_bridge_next(bridge, &message) == QUIPU_OK) {
            quipu_message_free(message);
        }
    }
    cr_assert_geq(report_of(bridge).nats.connects, 4);

    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

struct overflowed {
    struct quipu_bridge *bridge;
    unsigned count;
};

static void answer_busy(void *ctx, struct quipu_message *message)
{
    struct overflowed *seen = ctx;
    struct quipu_outgoing busy = {.subject = quipu_message_reply(message),
                                  .body = quipu_slice_text("busy")};
    if (quipu_bridge_publish(seen->bridge, &busy, NULL) == QUIPU_OK) {
        seen->count++;
    }
}

Test(bridge, keeps_no_more_than_it_may_and_says_so)
{
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    struct overflowed seen = {NULL, 0};
    struct quipu_bridge_subscription subscription = {.subject = "in"};
    struct quipu_bridge_options options = defaults;
    options.received_max = 4;
    options.overflow = answer_busy;
    options.ctx = &seen;
    seen.bridge = open_bridge(server.url, &subscription, 1, options);
    wait_ready(seen.bridge);
    natsConnection *peer = connect_peer(&server);
    natsSubscription *inbox = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&inbox, peer, "answers"), NATS_OK);

    for (int i = 0; i < 10; i++) {
        char body[2] = {(char)('0' + i), 0};
        cr_assert_eq(natsConnection_PublishRequestString(peer, "in", "answers", body), NATS_OK);
    }
    for (int i = 0; i < 6; i++) {
        natsMsg *msg = NULL;
        cr_assert_eq(natsSubscription_NextMsg(&msg, inbox, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(natsMsg_GetData(msg), "busy");
        natsMsg_Destroy(msg);
    }
    struct quipu_bridge_report report = report_of(seen.bridge);

    cr_assert_eq(report.received, 4);
    cr_assert_eq(report.waiting, 4);
    cr_assert_eq(report.dropped, 6);
    cr_assert_eq(seen.count, 6);
    for (int i = 0; i < 2; i++) { /* two stay behind for close to free */
        struct quipu_message *message = take(seen.bridge);
        char body[2] = {(char)('0' + i), 0};
        expect_body(message, body);
        quipu_message_free(message);
    }

    quipu_bridge_close(&seen.bridge);
    natsSubscription_Destroy(inbox);
    natsConnection_Destroy(peer);
    nats_fixture_stop(&server);
}

Test(bridge, counts_bytes_too)
{
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    struct quipu_bridge_subscription subscription = {.subject = "in"};
    struct quipu_bridge_options options = defaults;
    options.received_bytes_max = 5000;
    options.outgoing_bytes_max = 50000;
    struct quipu_bridge *bridge = open_bridge(server.url, &subscription, 1, options);
    wait_ready(bridge);
    static char body[4097];
    memset(body, 'x', sizeof body - 1);

    publish(bridge, "in", body);
    publish(bridge, "in", body);
    struct quipu_error err;
    cr_assert_eq(quipu_bridge_sync(bridge, PATIENCE_US, &err), QUIPU_OK);
    cr_assert_eq(quipu_bridge_drain(bridge, PATIENCE_US, &err), QUIPU_OK);
    struct quipu_bridge_report report = report_of(bridge);
    static char large[60000];
    memset(large, 'y', sizeof large - 1);
    struct quipu_outgoing over = {.subject = "in", .body = quipu_slice_text(large)};

    cr_assert_eq(report.received, 1);
    cr_assert_eq(report.dropped, 1);
    cr_assert_eq(quipu_bridge_publish(bridge, &over, &err), QUIPU_BUSY);

    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

Test(bridge, drains_all_that_was_sent_to_it_and_leaves_the_rest_to_its_group)
{
    struct quipu_error err;
    struct nats_fixture server;
    nats_fixture_start_plain(&server, NULL);
    struct quipu_bridge_subscription subscription = {.subject = "work", .queue = "group"};
    struct quipu_bridge *first = open_bridge(server.url, &subscription, 1, defaults);
    wait_ready(first);
    natsConnection *peer = connect_peer(&server);
    for (int i = 0; i < 500; i++) {
        cr_assert_eq(natsConnection_PublishString(peer, "work", "w"), NATS_OK);
    }
    cr_assert_eq(natsConnection_Flush(peer), NATS_OK);

    struct quipu_bridge *second = open_bridge(server.url, &subscription, 1, defaults);
    wait_ready(second);
    cr_assert_eq(quipu_bridge_drain(first, PATIENCE_US, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report_of(first).received, 500);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(natsConnection_PublishString(peer, "work", "w"), NATS_OK);
    }
    for (int i = 0; i < 20; i++) {
        quipu_message_free(take(second));
    }
    cr_assert_eq(report_of(first).received, 500);
    publish(first, "work", "sent after the drain");
    struct quipu_message *message = take(second);
    expect_body(message, "sent after the drain");
    quipu_message_free(message);

    quipu_bridge_close(&second);
    quipu_bridge_close(&first);
    natsConnection_Destroy(peer);
    nats_fixture_stop(&server);
}

Test(bridge, what_the_server_will_not_take_does_not_hold_up_the_rest)
{
    struct quipu_error err;
    struct nats_fixture server;
    nats_fixture_start_plain(&server, "max_payload: 1024");
    struct quipu_bridge_subscription subscription = {.subject = "in"};
    struct quipu_bridge *bridge = open_bridge(server.url, &subscription, 1, defaults);
    wait_ready(bridge);
    static char large[5000];
    memset(large, 'y', sizeof large - 1);

    publish(bridge, "in", large);
    publish(bridge, "in", "small");
    cr_assert_eq(quipu_bridge_sync(bridge, PATIENCE_US, &err), QUIPU_OK, "%s", err.message);
    struct quipu_message *message = take(bridge);

    expect_body(message, "small");
    cr_assert_eq(report_of(bridge).refused, 1);
    cr_assert_eq(report_of(bridge).message_bytes_max, 1024);
    quipu_message_free(message);
    quipu_bridge_close(&bridge);
    nats_fixture_stop(&server);
}

Test(bridge, refuses_what_is_malformed)
{
    struct quipu_error err;
    struct quipu_bridge *bridge = NULL;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    static const char *const bad[] = {"", "a..b", ".a", "a.", "a b", "a.>.b", "a*", "a.b*", ">a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct quipu_bridge_subscription subscription = {.subject = bad[i]};
        struct quipu_bridge_options options = defaults;
        options.subscriptions = &subscription;
        options.subscription_count = 1;
        cr_assert_eq(quipu_bridge_open(&options, &bridge, &err), QUIPU_INVALID, "%s", bad[i]);
    }
    struct quipu_bridge_options options = defaults;
    options.received_max = QUIPU_BRIDGE_MESSAGES_MAX + 1;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, &err), QUIPU_INVALID);
    options = defaults;
    nats.url = "http://127.0.0.1";
    options.nats = &nats;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, &err), QUIPU_INVALID);
    options.size = 1;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, &err), QUIPU_MISUSE);

    nats.url = "nats://127.0.0.1:1";
    options = defaults;
    options.nats = &nats;
    cr_assert_eq(quipu_bridge_open(&options, &bridge, &err), QUIPU_OK);
    static const struct quipu_header bad_headers[] = {
        {"", "v"}, {"a:b", "v"}, {"a\n", "v"}, {"a", "v\r\nb: w"}};
    for (size_t i = 0; i < 4; i++) {
        struct quipu_outgoing out = {.subject = "a", .headers = &bad_headers[i], .header_count = 1};
        cr_assert_eq(quipu_bridge_publish(bridge, &out, &err), QUIPU_INVALID);
    }
    struct quipu_outgoing wild = {.subject = "a.*"};
    cr_assert_eq(quipu_bridge_publish(bridge, &wild, &err), QUIPU_INVALID);
    quipu_bridge_close(&bridge);
    quipu_bridge_close(&bridge);
}
