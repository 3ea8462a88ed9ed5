/*
 * Receipts speak of one stream: a flush to another one, to one made anew or to one that was emptied
 * does not take them for an answer.
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
static struct quipu_nats *nats;  /* to the usual stream */
static struct quipu_nats *other; /* to stream "other" */
static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
    struct quipu_error err;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.stream = "other";
    options.bucket = "other";
    options.subject_prefix = "other";
    cr_assert_eq(quipu_nats_open(&options, &other, &err), QUIPU_OK, "%s", err.message);
    js_provision(other, 0);
    js_side_open(&server, &side, &js);
}

static void stop(void)
{
    js_side_close(&side, &js);
    quipu_nats_close(&other);
    js_stop(&server, &store, &nats);
}

TestSuite(receipt_stream, .init = start, .fini = stop, .timeout = 60);

/* The flush refuses, names both words and the cure, and changes nothing. */
static void expect_drift(struct quipu_nats *to, const char *one, const char *another)
{
    struct quipu_outbox_status before = js_store_outbox(&store);
    struct quipu_error err;
    cr_assert_eq(quipu_flush(store.engine, to, NULL, NULL, &err), QUIPU_DRIFT);
    cr_assert_not_null(strstr(err.message, one), "%s", err.message);
    cr_assert_not_null(strstr(err.message, another), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "quipu flush --again"), "%s", err.message);
    cr_assert_eq(js_store_outbox(&store).published, before.published);
    cr_assert_eq(js_store_outbox(&store).pending, before.pending);
}

static struct quipu_flush_report flush_again(struct quipu_nats *to)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, to, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    return report;
}

Test(receipt_stream, a_flush_to_another_stream_needs_to_be_asked_for)
{
    js_store_fill(&store, 20, 30, JS_PAYLOADS_SHARED);
    js_flush(&store, nats);

    expect_drift(other, QUIPU_STREAM_DEFAULT, "stream other ");
    cr_assert_eq(js_stream_messages(&server, "other"), 0);

    struct quipu_flush_report report = flush_again(other);
    cr_assert_eq(report.published, 20);
    cr_assert_eq(report.pending, 0);
    cr_assert_eq(js_stream_messages(&server, "other"), 20);
    cr_assert_eq(js_flush(&store, other).published, 0);
    expect_drift(nats, "stream other ", QUIPU_STREAM_DEFAULT);
}

Test(receipt_stream, a_stream_made_anew_is_another_one)
{
    js_store_fill(&store, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    cr_assert_eq(js_DeleteStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    js_provision(nats, 0);

    expect_drift(nats, QUIPU_STREAM_DEFAULT, "made 20");

    cr_assert_eq(flush_again(nats).published, 20);
    js_expect_all_published(&server, &store);
}

Test(receipt_stream, a_stream_that_was_emptied_gets_everything_once_more)
{
    js_store_fill(&store, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    js_store_fill(&store, 1, 30, JS_PAYLOADS_UNIQUE);

    expect_drift(nats, "emptied", "sequence 21");

    cr_assert_eq(flush_again(nats).published, 21);
    js_expect_all_published(&server, &store);
}

Test(receipt_stream, everything_again_to_the_same_stream_adds_nothing)
{
    js_store_fill(&store, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);

    struct quipu_flush_report report = flush_again(nats);

    cr_assert_eq(report.duplicates, 20);
    cr_assert_eq(report.published, 0);
    js_expect_all_published(&server, &store);
}

Test(receipt_stream, without_receipts_any_stream_will_do)
{
    js_flush(&store, nats);
    js_store_fill(&store, 5, 30, JS_PAYLOADS_UNIQUE);

    cr_assert_eq(js_flush(&store, other).published, 5);
}

static struct quipu_pull_report pull(struct js_store *into, struct quipu_nats *from)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    cr_assert_eq(quipu_pull(into->engine, from, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    return report;
}

Test(receipt_stream, what_is_pulled_from_another_stream_is_not_published_in_ours)
{
    struct js_store theirs;
    js_store_open(&theirs);
    js_store_fill(&theirs, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&theirs, other);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"mine\",\"event_type\":"
                            "\"key.used\",\"payload\":1}");
    js_flush(&store, nats);

    cr_assert_eq(pull(&store, other).events.added, 20);

    cr_assert_eq(js_store_outbox(&store).pending, 20);
    cr_assert_eq(js_flush(&store, nats).published, 20);
    js_expect_all_published(&server, &store);
    js_store_release(&theirs);
}

Test(receipt_stream, what_is_pulled_from_ours_is_published)
{
    struct js_store theirs;
    js_store_open(&theirs);
    js_store_fill(&theirs, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&theirs, nats);

    cr_assert_eq(pull(&store, nats).events.added, 20);

    cr_assert_eq(js_store_outbox(&store).published, 20);
    expect_drift(other, QUIPU_STREAM_DEFAULT, "stream other ");
    js_store_release(&theirs);
}

Test(receipt_stream, waits_for_a_pull_before_it_turns_to_another_stream)
{
    js_store_fill(&store, 5, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    struct quipu_error err;
    struct quipu_store_lock *lock = NULL;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.restart = true;
    cr_assert_eq(quipu_store_lock_take(store.store, "puller", &lock, &err), QUIPU_OK);

    cr_assert_eq(quipu_flush(store.engine, other, &options, NULL, &err), QUIPU_BUSY);

    quipu_store_lock_release(&lock);
    cr_assert_eq(js_store_outbox(&store).published, 5);
}
