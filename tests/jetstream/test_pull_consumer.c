/*
 * What a pull trusts on the server: its consumer, if that is as quipu makes it and stands at our
 * place; its place, if the stream's message there is the one that was taken in. And what its user
 * may not do is seen before anything is sent.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jwt_kit.h"
#include "pull_kit.h"

#define EVENTS 20

static natsConnection *side;
static jsCtx *js;
static char consumer[QUIPU_SOURCE_TEXT_BYTES + 8];

static void start(void)
{
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    pull_kit_start();
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
    cr_assert_eq(quipu_identity_ensure(here.engine, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(here.engine, source, &err), QUIPU_OK, "%s", err.message);
    (void)snprintf(consumer, sizeof consumer, "quipu-%s", source);
}

static void stop(void)
{
    js_side_close(&side, &js);
    pull_kit_stop();
}

TestSuite(pull_consumer, .init = start, .fini = stop, .timeout = 100);

static void publish(struct js_store *store, size_t events)
{
    js_store_fill(store, events, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(store, nats).published, events);
}

/* ------------------------------------------------------------------ the consumer */

static const char *const others[] = {
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"headers_only\":true",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"filter_subject\":"
    "\"cim.keys.nothing.>\"",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"max_deliver\":1",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"explicit\"",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"max_ack_pending\":1",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"replay_policy\":"
    "\"original\"",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"max_batch\":1",
    "\"deliver_policy\":\"by_start_sequence\",\"ack_policy\":\"all\",\"inactive_threshold\":"
    "60000000000",
    "\"deliver_policy\":\"last\",\"ack_policy\":\"all\"",
    "\"deliver_policy\":\"new\",\"ack_policy\":\"all\"",
};

/* In the place of the one that is there, and standing where that should stand. */
static void make_consumer(const char *other, uint64_t place)
{
    char subject[200];
    char body[600];
    natsMsg *reply = NULL;
    bool wants_start = strstr(other, "by_start_sequence") != NULL;
    int len = snprintf(body, sizeof body,
                       "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\",%s",
                       QUIPU_STREAM_DEFAULT, consumer, other);
    len += wants_start ? snprintf(body + len, sizeof body - (size_t)len,
                                  ",\"opt_start_seq\":%" PRIu64, place + 1)
                       : 0;
    if (strstr(other, "max_ack_pending") == NULL) {
        len += snprintf(body + len, sizeof body - (size_t)len, ",\"max_ack_pending\":20000");
    }
    (void)snprintf(body + len, sizeof body - (size_t)len, ",\"ack_wait\":300000000000}}");
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s",
                   QUIPU_STREAM_DEFAULT, consumer);
    (void)js_DeleteConsumer(js, QUIPU_STREAM_DEFAULT, consumer, NULL, NULL);
    cr_assert_eq(natsConnection_RequestString(&reply, side, subject, body, 5000), NATS_OK);
    cr_assert_null(strstr(natsMsg_GetData(reply), "\"error\""), "%s: %s", other,
                   natsMsg_GetData(reply));
    natsMsg_Destroy(reply);
}

static jsConsumerInfo *consumer_now(void)
{
    jsConsumerInfo *info = NULL;
    cr_assert_eq(js_GetConsumerInfo(&info, js, QUIPU_STREAM_DEFAULT, consumer, NULL, NULL),
                 NATS_OK);
    return info;
}

Test(pull_consumer, of_our_name_that_is_not_as_we_make_it_is_made_anew)
{
    publish(&there, EVENTS);
    uint64_t place = js_pull(&here, nats).last_sequence;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        bool is_new = strstr(others[i], "\"new\"") != NULL;
        /* "last" begins at the newest message, "new" behind it: at our place both. */
        if (is_new) {
            make_consumer(others[i], place);
        }
        publish(&there, 1);
        if (!is_new) {
            make_consumer(others[i], place);
        }
        struct quipu_pull_report report = js_pull(&here, nats);
        cr_assert_eq(report.events.added, 1, "%s", others[i]);
        cr_assert_eq(report.events.quarantined, 0, "%s", others[i]);
        cr_assert_eq(report.last_sequence, place + 1, "%s", others[i]);
        place = report.last_sequence;

        jsConsumerInfo *info = consumer_now();
        cr_assert_eq(info->Config->AckPolicy, js_AckAll, "%s", others[i]);
        cr_assert_eq(info->Config->MaxAckPending, 20000, "%s", others[i]);
        cr_assert_eq(info->Config->DeliverPolicy, js_DeliverByStartSequence, "%s", others[i]);
        cr_assert_str_eq(info->Config->Description, "quipu: a store that pulls", "%s", others[i]);
        jsConsumerInfo_Destroy(info);
    }
    js_assert_same_events(&there, &here);
}

Test(pull_consumer, as_we_make_it_stays_as_long_as_it_stands_where_it_should)
{
    publish(&there, EVENTS);
    cr_assert_eq(js_pull(&here, nats).events.added, EVENTS);
    cr_assert_eq(js_DeleteConsumer(js, QUIPU_STREAM_DEFAULT, consumer, NULL, NULL), NATS_OK);
    cr_assert_eq(js_pull(&here, nats).events.known, 0, "it begins behind our place");
    jsConsumerInfo *info = consumer_now();
    int64_t created = info->Created;
    jsConsumerInfo_Destroy(info);
    (void)js_pull(&here, nats);
    publish(&there, 1);
    cr_assert_eq(js_pull(&here, nats).events.added, 1);
    /* Where the end of the stream has been removed its floor may be behind our place. */
    publish(&there, 5);
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    for (int i = 0; i < 3; i++) {
        struct quipu_pull_report report = js_pull(&here, nats);
        cr_assert_eq(report.events.added + report.events.known, 0);
    }
    info = consumer_now();
    cr_assert_eq(info->Created, created, "it was made anew");
    jsConsumerInfo_Destroy(info);
    js_store_fill(&there, 3, 100, JS_PAYLOADS_UNIQUE);
    struct quipu_error err;
    struct quipu_flush_options again = QUIPU_FLUSH_OPTIONS_INIT;
    again.restart = true;
    cr_assert_eq(quipu_flush(there.engine, nats, &again, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(js_pull(&here, nats).events.added, 8);
    js_assert_same_events(&there, &here);
}

/* ------------------------------------------------------------------ a server that was set back */

enum server_data { DATA_KEEP, DATA_BRING_BACK };

static void server_data(enum server_data what)
{
    char command[8 * TEMP_DIR_BYTES];
    const char *dir = server.dir.path;
    if (what == DATA_KEEP) {
        (void)snprintf(command, sizeof command, "cp -a %s/data %s/old", dir, dir);
    } else {
        (void)snprintf(command, sizeof command, "rm -r %s/data && mv %s/old %s/data", dir, dir,
                       dir);
    }
    cr_assert_eq(system(command), 0, "%s", command);
}

/* The server as it was with `before` events, `after` later ones forgotten, which `here` has. */
static void set_back(size_t before, size_t after)
{
    publish(&there, before);
    nats_fixture_kill(&server);
    server_data(DATA_KEEP);
    nats_fixture_restart(&server);
    publish(&there, after);
    cr_assert_eq(js_pull(&here, nats).events.added, before + after);
    nats_fixture_kill(&server);
    server_data(DATA_BRING_BACK);
    nats_fixture_restart(&server);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), before);
}

static void others_publish_and_it_comes_in(size_t events)
{
    struct js_store third;
    js_store_open(&third);
    for (size_t i = 0; i < events; i++) {
        char line[200];
        (void)snprintf(line, sizeof line,
                       "{\"aggregate_type\":\"key\",\"aggregate_id\":\"other\",\"event_type\":"
                       "\"key.used\",\"payload\":%zu}",
                       i);
        (void)js_store_append(&third, line);
    }
    cr_assert_eq(js_flush(&third, nats).published, events);
    struct quipu_pull_report report = js_pull(&here, nats);
    cr_assert_eq(report.events.added, events, "%" PRIu64 " added, %" PRIu64 " in quarantine",
                 report.events.added, report.events.quarantined);
    cr_assert_eq(report.events.quarantined, 0);
    report = js_pull(&here, nats);
    cr_assert_eq(report.events.added + report.events.known, 0, "and it goes on from there");
    js_store_copy(&there, &third);
    js_assert_same_events(&third, &here);
    js_store_release(&third);
}

Test(pull_consumer, sequences_that_a_server_gives_again_beyond_our_place_are_noticed)
{
    set_back(EVENTS, EVENTS);
    others_publish_and_it_comes_in(EVENTS + EVENTS / 2);
}

Test(pull_consumer, sequences_that_a_server_gives_again_up_to_our_place_are_noticed)
{
    set_back(EVENTS, EVENTS);
    others_publish_and_it_comes_in(EVENTS);
}

Test(pull_consumer, a_stream_that_ends_before_our_place_is_taken_from_its_beginning)
{
    set_back(EVENTS, EVENTS);
    struct quipu_pull_report report = js_pull(&here, nats);
    cr_assert_eq(report.events.added, 0);
    cr_assert_eq(report.last_sequence, EVENTS);
    others_publish_and_it_comes_in(3);
}

/* ------------------------------------------------------------------ rights */

static struct jwt_realm realm;
static char creds[2 * TEMP_DIR_BYTES];

/* NULL: everything is allowed. */
static struct quipu_nats *connect_denied(const char *subject)
{
    struct quipu_error err;
    struct quipu_nats *user_nats = NULL;
    struct jwt_user user;
    char rules[200];
    struct jwt_user_claims claims = {.publish = subject == NULL ? NULL : rules};
    (void)snprintf(rules, sizeof rules, "{\"deny\":[\"%s\"]}", subject == NULL ? "" : subject);
    jwt_user_make(&realm, &claims, &user);
    jwt_creds_write(&user, creds);
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.credentials_file = creds;
    cr_assert_eq(quipu_nats_open(&options, &user_nats, &err), QUIPU_OK, "%s", err.message);
    return user_nats;
}

static void expect_denied(struct js_store *store, const char *subject)
{
    struct quipu_error err;
    char rule[100];
    struct quipu_nats *denied = connect_denied(subject);
    (void)snprintf(rule, sizeof rule, "rule \"%s\"", subject);
    enum quipu_status status = quipu_pull(store->engine, denied, NULL, NULL, &err);
    cr_assert_eq(status, QUIPU_PERMISSION, "%s: %s", subject, quipu_status_name(status));
    cr_assert_not_null(strstr(err.message, rule), "%s", err.message);
    quipu_nats_close(&denied);
}

Test(pull_consumer, what_its_user_may_not_do_is_seen_before_it_is_asked_for)
{
    char config[4 * JWT_BYTES];
    jwt_realm_make(&realm);
    jwt_realm_config(&realm, config, sizeof config);
    nats_fixture_reconfigure(&server, config);
    temp_dir_join(&server.dir, "user.creds", creds);
    struct quipu_nats *allowed = connect_denied(NULL);
    js_provision(allowed, 0);
    js_store_fill(&there, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, allowed).published, EVENTS);

    expect_denied(&here, "$JS.API.CONSUMER.INFO.>");
    expect_denied(&here, "$JS.API.CONSUMER.DURABLE.>");
    expect_denied(&here, "$JS.API.CONSUMER.MSG.NEXT.>");
    expect_denied(&here, "$JS.ACK.>"); /* taken in, and its place is known */
    struct quipu_pull_report report = js_pull(&here, allowed);
    cr_assert_eq(report.events.added + report.events.known, 0);
    cr_assert_eq(report.last_sequence, EVENTS);
    expect_denied(&here, "$JS.API.STREAM.MSG.GET.>");
    js_store_fill(&there, 1, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, allowed).published, 1);
    expect_denied(&here, "$JS.ACK.>"); /* so that the consumer stands behind our place */
    expect_denied(&here, "$JS.API.CONSUMER.DELETE.>");
    (void)js_pull(&here, allowed);
    js_assert_same_events(&there, &here);
    quipu_nats_close(&allowed);
}
