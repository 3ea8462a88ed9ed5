/*
 * An aggregate's order in the stream, against a real server that takes its later events and not the
 * earlier one: the later ones wait, are put aside with it, or, where they were in flight beside it,
 * are there before it and readers wait.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "js_kit.h"

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
}

static void stop(void)
{
    js_stop(&server, &store, &nats);
}

TestSuite(flush_order, .init = start, .fini = stop, .timeout = 60);

static void delete_the_first(jsCtx *js, const void *ctx)
{
    (void)ctx;
    cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, 1, NULL, NULL), NATS_OK);
}

#define FIRST_ID "018f0000-0000-7000-8000-0000000000d1"

static uint64_t append(const char *aggregate, const char *id_field, const char *payload)
{
    char line[300];
    (void)snprintf(line, sizeof line,
                   "{\"aggregate_type\":\"key\",\"aggregate_id\":\"%s\",%s\"event_type\":"
                   "\"key.used\",\"payload\":\"%s\"}",
                   aggregate, id_field, payload);
    return js_store_append(&store, line);
}

static enum quipu_status count_quarantined(void *ctx, const struct quipu_quarantined *event,
                                           struct quipu_error *err)
{
    (void)event;
    (void)err;
    uint64_t *count = ctx;
    ++*count;
    return QUIPU_OK;
}

/* A new store that pulls gets all of them, and none stays in quarantine. */
static void expect_pull_takes(uint64_t count)
{
    struct js_store puller;
    struct quipu_pull_report report;
    struct quipu_error err;
    uint64_t quarantined = 0;
    js_store_open(&puller);
    cr_assert_eq(quipu_pull(puller.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_each_quarantined(puller.engine, count_quarantined, &quarantined, &err),
                 QUIPU_OK);
    cr_assert_eq(quarantined, 0);
    cr_assert_eq(js_store_outbox(&puller).published, count);
    js_store_release(&puller);
}

Test(flush_order, later_events_wait_for_one_that_the_server_remembers_but_has_lost)
{
    struct js_store other;
    js_store_open(&other);
    append("x", "", "one");
    js_store_copy(&store, &other);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    js_with(&server, delete_the_first, NULL);
    /* The other store has all of it and no receipts. */
    append("x", "", "two");
    append("y", "", "meanwhile");
    append("x", "", "three");
    js_store_copy(&store, &other);

    struct quipu_flush_report report = js_flush(&other, nats);

    cr_assert_eq(report.published, 4);
    cr_assert_eq(report.ahead, 0, "the first one is not refused for good");
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 4);
    expect_pull_takes(4);
    js_store_release(&other);
}

static void put_rubbish(jsCtx *js, const void *ctx)
{
    (void)ctx;
    jsPubAck *ack = NULL;
    cr_assert_eq(js_Publish(&ack, js, QUIPU_SUBJECT_PREFIX_DEFAULT ".key.key.used." FIRST_ID,
                            "rubbish", 7, NULL, NULL),
                 NATS_OK);
    jsPubAck_Destroy(ack);
}

/* With one event in flight nothing is beside it when it is refused. */
static struct quipu_flush_report flush_one_by_one(void)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.window = 1;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    return report;
}

static void retry(uint64_t position)
{
    struct quipu_error err;
    cr_assert_eq(quipu_dead_letter_retry(store.engine, position, &err), QUIPU_OK);
}

Test(flush_order, what_is_behind_a_conflict_in_the_same_flush_is_put_aside_with_it)
{
    js_with(&server, put_rubbish, NULL);
    append("x", "\"event_id\":\"" FIRST_ID "\",", "one");
    append("x", "", "two");
    append("y", "", "meanwhile");
    append("x", "", "three");

    struct quipu_flush_report report = flush_one_by_one();

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.ahead, 0);
    cr_assert_eq(report.dead, 3);
    cr_assert_eq(report.pending, 0);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 2);
    struct js_letters letters = js_letters_of(&store);
    cr_assert_eq(letters.count, 3);
    cr_assert_eq(letters.reasons[0], QUIPU_EVENT_ID_CONFLICT);
    cr_assert_eq(letters.positions[1], 2);
    cr_assert_eq(letters.reasons[1], QUIPU_GAP);
    cr_assert_not_null(strstr(letters.lines[1], "waits for position 1,"), "%s", letters.lines[1]);
    cr_assert_not_null(strstr(letters.lines[1], "key/x"), "%s", letters.lines[1]);
    cr_assert_eq(letters.positions[2], 4);
    cr_assert_not_null(strstr(letters.lines[2], "waits for position 1,"), "%s", letters.lines[2]);

    /* One by one, from the first: the letters behind it do not hold it back. */
    js_with(&server, delete_the_first, NULL);
    retry(1);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    retry(2);
    retry(4);
    cr_assert_eq(js_flush(&store, nats).published, 2);
    cr_assert_eq(js_store_outbox(&store).dead, 0);
    expect_pull_takes(4);
}

Test(flush_order, what_was_in_flight_beside_a_conflict_is_published_and_readers_wait)
{
    js_with(&server, put_rubbish, NULL);
    append("x", "\"event_id\":\"" FIRST_ID "\",", "one");
    for (int i = 0; i < 300; i++) {
        append("x", "", "more");
    }
    append("y", "", "meanwhile");

    struct quipu_flush_report report = js_flush(&store, nats);

    /* How many got away depends on when the refusal came; each is either there or a letter. */
    cr_assert_eq(report.published + report.dead, 302);
    cr_assert_eq(report.ahead + 1, report.published);
    cr_assert_eq(report.pending, 0);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), report.published + 1);

    js_with(&server, delete_the_first, NULL);
    struct quipu_error err;
    struct quipu_outbox_status outbox = js_store_outbox(&store);
    for (uint64_t position = 1; position <= 301; position++) {
        enum quipu_status status = quipu_dead_letter_retry(store.engine, position, &err);
        cr_assert(status == QUIPU_OK || status == QUIPU_NOT_FOUND);
        outbox.dead -= status == QUIPU_OK;
    }
    cr_assert_eq(outbox.dead, 0);
    cr_assert_eq(js_flush(&store, nats).published, 302 - report.published);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 302);
    expect_pull_takes(302);
}

Test(flush_order, a_letter_retried_out_of_turn_is_put_aside_again)
{
    js_with(&server, put_rubbish, NULL);
    append("x", "\"event_id\":\"" FIRST_ID "\",", "one");
    append("x", "", "two");
    flush_one_by_one();
    retry(2);

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.dead, 1);
    cr_assert_eq(report.published, 0);
    cr_assert_eq(js_store_outbox(&store).dead, 2);
}

Test(flush_order, a_long_run_of_one_aggregate_goes_out_in_order)
{
    for (int i = 0; i < 700; i++) {
        char payload[16];
        (void)snprintf(payload, sizeof payload, "%d", i);
        append(i % 50 == 49 ? "y" : "x", "", payload);
    }

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 700);
    js_expect_all_published(&server, &store);
}
