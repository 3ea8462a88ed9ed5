/*
 * Pulling from a real server: what comes in, what does not, and that each message counts once. What
 * goes wrong on the way is in test_pull_faults.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pull_kit.h"
#include "quipu/event_json.h"
#include "quipu/forks.h"
#include "quipu/verify.h"

TestSuite(pull, .init = pull_kit_start, .fini = pull_kit_stop, .timeout = 100);

/* ------------------------------------------------------------------ what comes in */

Test(pull, brings_every_event_into_a_fresh_store)
{
    js_provision(nats, 0);
    js_store_fill(&there, 1700, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 1700);
    cr_assert_eq(report.events.known + report.events.quarantined, 0);
    cr_assert_eq(report.last_sequence, 1700);
    js_assert_same_events(&there, &here);
    /* They have their receipts: nothing is published again. */
    cr_assert_eq(js_store_outbox(&here).pending, 0);
    cr_assert_eq(js_flush(&here, nats).duplicates, 0);
}

Test(pull, goes_on_where_it_was)
{
    js_provision(nats, 0);
    js_store_fill(&there, 40, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_pull(&here, nats);
    js_store_fill(&there, 30, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 30);
    cr_assert_eq(report.events.known, 0);
    report = js_pull(&here, nats);
    cr_assert_eq(report.events.added + report.events.known, 0);
    cr_assert_eq(report.last_sequence, 70);
    js_assert_same_events(&there, &here);
}

Test(pull, two_stores_that_share_a_stream_converge)
{
    js_provision(nats, 0);
    js_store_append(&here, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"mine\",\"event_type\":"
                           "\"key.generated\",\"payload\":1}");
    js_store_append(&there, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"theirs\","
                            "\"event_type\":\"key.generated\",\"payload\":2}");
    js_flush(&here, nats);
    js_flush(&there, nats);

    struct quipu_pull_report mine = js_pull(&here, nats);
    struct quipu_pull_report theirs = js_pull(&there, nats);

    cr_assert_eq(mine.events.added, 1);
    cr_assert_eq(mine.events.known, 1, "our own event comes back and does no harm");
    cr_assert_eq(theirs.events.added, 1);
    js_assert_same_events(&here, &there);
}

Test(pull, takes_an_empty_stream_for_the_end)
{
    js_provision(nats, 0);
    struct quipu_pull_report report = js_pull(&here, nats);
    cr_assert_eq(report.events.added, 0);
    cr_assert_eq(report.last_sequence, 0);
}

Test(pull, works_with_the_smallest_batch)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    js_provision(nats, 0);
    js_store_fill(&there, 12, 100, JS_PAYLOADS_SHARED);
    js_flush(&there, nats);
    options.batch = 1;

    cr_assert_eq(quipu_pull(here.engine, nats, &options, &report, &err), QUIPU_OK);

    cr_assert_eq(report.events.added, 12);
    js_assert_same_events(&there, &here);
}

/* ------------------------------------------------------------------ places */

static void delete_consumers(jsCtx *js, const void *stream)
{
    jsConsumerNamesList *names = NULL;
    cr_assert_eq(js_ConsumerNames(&names, js, stream, NULL, NULL), NATS_OK);
    cr_assert_gt(names->Count, 0);
    for (int i = 0; i < names->Count; i++) {
        cr_assert_eq(js_DeleteConsumer(js, stream, names->List[i], NULL, NULL), NATS_OK);
    }
    jsConsumerNamesList_Destroy(names);
}

Test(pull, knows_its_place_when_the_server_has_lost_the_consumer)
{
    js_provision(nats, 0);
    js_store_fill(&there, 40, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_pull(&here, nats);
    js_with(&server, delete_consumers, QUIPU_STREAM_DEFAULT);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 5);
    cr_assert_eq(report.events.known, 0);
}

static void delete_stream(jsCtx *js, const void *stream)
{
    cr_assert_eq(js_DeleteStream(js, stream, NULL, NULL), NATS_OK);
}

Test(pull, begins_anew_in_a_stream_that_was_made_anew)
{
    js_provision(nats, 0);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_pull(&here, nats);
    js_with(&server, delete_stream, QUIPU_STREAM_DEFAULT);
    js_provision(nats, 0);
    struct js_store third;
    js_store_open(&third);
    js_store_append(&third, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"new\",\"event_type\":"
                            "\"key.generated\",\"payload\":1}");
    js_flush(&third, nats);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 1);
    js_store_release(&third);
}

static void fetch_and_vanish(jsCtx *js, const void *stream)
{
    jsConsumerNamesList *names = NULL;
    natsSubscription *sub = NULL;
    natsMsgList list;
    jsSubOptions options;
    cr_assert_eq(js_ConsumerNames(&names, js, stream, NULL, NULL), NATS_OK);
    (void)jsSubOptions_Init(&options);
    options.Stream = stream;
    options.Consumer = names->List[0];
    cr_assert_eq(js_PullSubscribe(&sub, js, NULL, names->List[0], NULL, &options, NULL), NATS_OK);
    cr_assert_eq(natsSubscription_Fetch(&list, sub, 3, 1000, NULL), NATS_OK);
    cr_assert_eq(list.Count, 3);
    natsMsgList_Destroy(&list);
    natsSubscription_Destroy(sub);
    jsConsumerNamesList_Destroy(names);
}

Test(pull, misses_nothing_that_was_delivered_and_never_acknowledged)
{
    js_provision(nats, 0);
    js_store_fill(&there, 10, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_pull(&here, nats);
    js_store_fill(&there, 10, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    /* As a pull that was killed between fetch and commit: the server waits for its acks. */
    js_with(&server, fetch_and_vanish, QUIPU_STREAM_DEFAULT);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 10);
    js_assert_same_events(&there, &here);
}

/* ------------------------------------------------------------------ what does not come in */

struct quarantine {
    size_t count;
    enum quipu_status reasons[8];
    char bodies[8][64];
};

static enum quipu_status note_quarantined(void *ctx, const struct quipu_quarantined *event,
                                          struct quipu_error *err)
{
    (void)err;
    struct quarantine *quarantine = ctx;
    cr_assert_lt(quarantine->count, 8);
    quarantine->reasons[quarantine->count] = event->reason;
    (void)snprintf(quarantine->bodies[quarantine->count], 64, "%.*s",
                   event->envelope.len < 63 ? (int)event->envelope.len : 63,
                   event->envelope.len == 0 ? "" : (const char *)event->envelope.data);
    quarantine->count++;
    return QUIPU_OK;
}

static struct quarantine quarantine_of(struct js_store *store)
{
    struct quipu_error err;
    struct quarantine quarantine = {.count = 0};
    cr_assert_eq(quipu_each_quarantined(store->engine, note_quarantined, &quarantine, &err),
                 QUIPU_OK);
    return quarantine;
}

static void publish_poison(jsCtx *js, const void *text)
{
    cr_assert_eq(
        js_Publish(NULL, js, "cim.keys.key.key.used.poison", text, (int)strlen(text), NULL, NULL),
        NATS_OK);
}

Test(pull, puts_a_message_that_is_no_event_aside_and_goes_on)
{
    js_provision(nats, 0);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    js_with(&server, publish_poison, "{\"not\":\"an envelope\"}");
    js_with(&server, publish_poison, "");
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 10);
    cr_assert_eq(report.events.quarantined, 2);
    cr_assert_eq(report.last_sequence, 12);
    struct quarantine quarantine = quarantine_of(&here);
    cr_assert_eq(quarantine.count, 2);
    cr_assert(strcmp(quarantine.bodies[0], "{\"not\":\"an envelope\"}") == 0 ||
                  strcmp(quarantine.bodies[1], "{\"not\":\"an envelope\"}") == 0,
              "its body is kept");
    /* It was acknowledged: it does not come again. */
    cr_assert_eq(js_pull(&here, nats).events.quarantined, 0);
}

static void purge_chunks(jsCtx *js, const void *bucket)
{
    jsOptions options;
    (void)jsOptions_Init(&options);
    options.Stream.Purge.Subject = "$O." QUIPU_BUCKET_DEFAULT ".C.>";
    cr_assert_eq(js_PurgeStream(js, bucket, &options, NULL), NATS_OK);
}

Test(pull, quarantines_an_event_whose_payload_is_missing_but_not_one_that_it_has)
{
    js_provision(nats, 0);
    js_store_append(&there, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a\",\"event_type\":"
                            "\"key.generated\",\"payload\":1}");
    js_store_append(&here, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"b\",\"event_type\":"
                           "\"key.generated\",\"payload\":2}");
    js_flush(&there, nats);
    js_flush(&here, nats);
    js_with(&server, purge_chunks, "OBJ_" QUIPU_BUCKET_DEFAULT);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 0);
    cr_assert_eq(report.events.known, 1);
    cr_assert_eq(report.events.quarantined, 1);
    cr_assert_eq(quarantine_of(&here).reasons[0], QUIPU_CID_MISMATCH);
}

static void purge_all(jsCtx *js, const void *bucket)
{
    cr_assert_eq(js_PurgeStream(js, bucket, NULL, NULL), NATS_OK);
}

Test(pull, takes_in_what_waits_in_quarantine_once_its_payload_is_there)
{
    js_provision(nats, 0);
    for (int i = 0; i < 3; i++) {
        char line[200];
        (void)snprintf(line, sizeof line,
                       "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a\",\"event_type\":"
                       "\"key.used\",\"payload\":%d}",
                       i);
        js_store_append(&there, line);
    }
    js_flush(&there, nats);
    js_with(&server, purge_all, "OBJ_" QUIPU_BUCKET_DEFAULT);
    cr_assert_eq(js_pull(&here, nats).events.quarantined, 3);
    struct quipu_pull_report idle = js_pull(&here, nats);
    cr_assert_eq(idle.events.added, 0);
    cr_assert_eq(idle.events.quarantined, 0, "they are reported once");
    cr_assert_eq(quarantine_of(&here).count, 3);

    /* The other store brings the payloads back. */
    struct quipu_error err;
    struct quipu_flush_options again = QUIPU_FLUSH_OPTIONS_INIT;
    again.restart = true;
    cr_assert_eq(quipu_flush(there.engine, nats, &again, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(js_pull(&here, nats).events.added, 0, "they were asked for just now");
    struct quipu_pull_report report;
    struct quipu_pull_options at_once = QUIPU_PULL_OPTIONS_INIT;
    at_once.asks_at_once = true;
    enum quipu_status status = quipu_pull(here.engine, nats, &at_once, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);

    cr_assert_eq(report.events.added, 3);
    cr_assert_eq(quarantine_of(&here).count, 0);
    cr_assert_eq(js_store_outbox(&here).published, 3, "they have their receipts");
    cr_assert_eq(js_store_outbox(&here).pending, 0);
}

Test(pull, ends_where_the_newest_messages_have_been_removed)
{
    js_provision(nats, 0);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    cr_assert_eq(natsConnection_ConnectTo(&connection, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, 5, NULL, NULL), NATS_OK);
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.added, 4);
    cr_assert_eq(js_pull(&here, nats).events.added, 0);
}

/* ------------------------------------------------------------------ forks, and what waits */

#define KEY_EVENT(id, n)                                                                           \
    "{\"aggregate_type\":\"key\",\"aggregate_id\":\"" id "\",\"event_type\":\"key.changed\","      \
    "\"payload\":" #n "}"

static uint64_t open_forks(struct js_store *store)
{
    struct quipu_error err;
    struct quipu_fork_counts counts;
    cr_assert_eq(quipu_fork_count(store->engine, &counts, &err), QUIPU_OK, "%s", err.message);
    return counts.aggregates_open;
}

Test(pull, two_stores_that_forked_converge_and_a_merge_closes_it_for_both)
{
    struct quipu_error err;
    js_provision(nats, 0);
    js_store_append(&here, KEY_EVENT("shared", 1));
    js_store_copy(&here, &there);
    js_store_append(&here, KEY_EVENT("shared", 2));
    js_store_append(&there, KEY_EVENT("shared", 3));
    js_flush(&here, nats);
    js_flush(&there, nats);

    cr_assert_eq(js_pull(&here, nats).events.forks, 1);
    cr_assert_eq(js_pull(&there, nats).events.forks, 1);
    js_assert_same_events(&here, &there);
    cr_assert_eq(open_forks(&here), 1);
    cr_assert_eq(open_forks(&there), 1);

    struct quipu_event_arena arena = {0};
    struct quipu_event event;
    const char *line = KEY_EVENT("shared", 4);
    cr_assert_eq(quipu_event_from_json(quipu_slice_text(line), &arena, &event, &err), QUIPU_OK);
    cr_assert_eq(quipu_merge(here.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_event_arena_release(&arena);
    js_flush(&here, nats);
    cr_assert_eq(js_pull(&there, nats).events.added, 1);
    cr_assert_eq(open_forks(&there), 0);
    cr_assert_eq(quipu_verify(there.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

static void remove_messages(uint64_t first, uint64_t last)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    cr_assert_eq(natsConnection_ConnectTo(&connection, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, connection, NULL), NATS_OK);
    for (uint64_t i = first; i <= last; i++) {
        cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, i, NULL, NULL), NATS_OK);
    }
    jsCtx_Destroy(js);
    natsConnection_Destroy(connection);
}

Test(pull, leaves_in_the_stream_what_there_is_no_room_to_wait_for)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    js_provision(nats, 0);
    js_store_append(&there, KEY_EVENT("a", 1));
    js_store_append(&there, KEY_EVENT("b", 1));
    js_store_append(&there, KEY_EVENT("c", 1));
    js_store_append(&there, KEY_EVENT("a", 2));
    js_store_append(&there, KEY_EVENT("b", 2));
    js_flush(&there, nats);
    remove_messages(1, 2);

    options.pending_events_max = 1;
    cr_assert_eq(quipu_pull(here.engine, nats, &options, &report, &err), QUIPU_TOO_LARGE);
    cr_assert_eq(report.events.added, 1, "what came before is taken in");
    cr_assert_eq(report.events.quarantined, 1);
    cr_assert_eq(report.last_sequence, 4);
    options.pending_events_max = 2;
    cr_assert_eq(quipu_pull(here.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.quarantined, 1);
    cr_assert_eq(report.last_sequence, 5);
    js_store_copy(&there, &here);
    js_assert_same_events(&there, &here);
}

Test(pull, takes_in_a_message_longer_than_a_fetch_asks_for)
{
    static char text[9 << 20];
    memset(text, 'x', sizeof text - 1);
    nats_fixture_reconfigure(&server, "max_payload: 16MB");
    js_provision(nats, 0);
    js_with(&server, publish_poison, text);
    js_store_fill(&there, 5, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&there, nats);
    nats_fixture_reconfigure(&server, NULL); /* now a fetch is bounded below that message */

    struct quipu_pull_report report = js_pull(&here, nats);

    cr_assert_eq(report.events.quarantined, 1);
    cr_assert_eq(report.events.added, 5);
}
