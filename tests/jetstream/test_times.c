/*
 * What a store keeps of what servers said beside the bare receipt: when an event was stored, where
 * a reader has learnt it, held against the server's own word; and what flushes have come to. And
 * what a flush may recall of the streams without asking again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "js_kit.h"

#define EVENTS 30

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;
static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
}

static void stop(void)
{
    js_side_close(&side, &js);
    js_stop(&server, &store, &nats);
}

TestSuite(times, .init = start, .fini = stop, .timeout = 60);

/* When the server stored it, as a plain client is told. */
static int64_t told_by_server(uint64_t sequence)
{
    natsMsg *msg = NULL;
    cr_assert_eq(js_GetMsg(&msg, js, QUIPU_STREAM_DEFAULT, sequence, NULL, NULL), NATS_OK);
    int64_t unix_ns = natsMsg_GetTime(msg);
    natsMsg_Destroy(msg);
    cr_assert_gt(unix_ns, 0);
    return unix_ns / 1000;
}

/* How many receipts of `from` have a time; each is the server's. */
static uint64_t count_times(struct js_store *from)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    uint64_t count = 0;
    cr_assert_eq(quipu_txn_begin_read(from->store, &txn, &err), QUIPU_OK, "%s", err.message);
    uint64_t last = quipu_txn_last_position(txn);
    for (uint64_t position = 1; position <= last; position++) {
        struct quipu_receipt receipt;
        if (quipu_receipt_at(txn, position, &receipt, &err) == QUIPU_OK &&
            receipt.stored_unix_us != 0) {
            count++;
            cr_assert_eq(receipt.stored_unix_us, told_by_server(receipt.sequence),
                         "position %" PRIu64, position);
        }
    }
    quipu_txn_abort(&txn);
    return count;
}

static uint64_t reconcile_times(struct js_store *with, enum quipu_status wanted)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    options.notes_times = true;
    enum quipu_status status = quipu_reconcile(with->engine, nats, &options, &report, &err);
    cr_assert_eq(status, wanted, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    return report.times;
}

Test(times, are_not_in_acks_and_a_reconciliation_notes_them)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    js_store_fill(&store, EVENTS, 50, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, EVENTS);
    cr_assert_eq(count_times(&store), 0);

    cr_assert_eq(quipu_reconcile(store.engine, nats, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.times, 0);
    cr_assert_eq(count_times(&store), 0, "a reconciliation wrote what nobody asked for");

    cr_assert_eq(reconcile_times(&store, QUIPU_OK), EVENTS);
    cr_assert_eq(count_times(&store), EVENTS);
    cr_assert_eq(reconcile_times(&store, QUIPU_OK), 0);
}

Test(times, come_with_what_is_pulled_and_with_what_was_there)
{
    struct js_store other;
    struct js_store copy;
    struct quipu_error err;
    struct quipu_pull_report report;
    js_store_fill(&store, EVENTS, 50, JS_PAYLOADS_UNIQUE);
    js_store_open(&copy);
    js_store_copy(&store, &copy);
    cr_assert_eq(js_flush(&store, nats).published, EVENTS);

    js_store_open(&other);
    cr_assert_eq(quipu_pull(other.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, EVENTS);
    cr_assert_eq(count_times(&other), EVENTS);

    /* Own events come back as known, and bring the time. */
    cr_assert_eq(quipu_pull(store.engine, nats, NULL, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.known, EVENTS);
    cr_assert_eq(count_times(&store), EVENTS);

    /* A duplicate is read back, so its time is known at once. */
    cr_assert_eq(js_flush(&copy, nats).duplicates, EVENTS);
    cr_assert_eq(count_times(&copy), EVENTS);
    js_store_release(&other);
    js_store_release(&copy);
}

Test(times, of_a_stream_that_lost_an_event_are_noted_for_the_others)
{
    js_store_fill(&store, EVENTS, 50, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, 7, NULL, NULL), NATS_OK);
    cr_assert_eq(reconcile_times(&store, QUIPU_DRIFT), EVENTS - 1);
    cr_assert_eq(count_times(&store), EVENTS - 1);
}

/* ------------------------------------------------------------------ figures */

static struct quipu_flush_history history_of(struct js_store *of)
{
    struct quipu_error err;
    struct quipu_flush_history history;
    cr_assert_eq(quipu_flush_history_read(of->engine, &history, &err), QUIPU_OK, "%s", err.message);
    return history;
}

Test(times, figures_of_all_flushes_are_kept_in_the_store)
{
    struct js_store copy;
    cr_assert_eq(history_of(&store).last_unix_us, 0);
    js_flush(&store, nats); /* nothing to do, nothing to tell */
    cr_assert_eq(history_of(&store).last_unix_us, 0);

    js_store_fill(&store, EVENTS, 50, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    js_store_fill(&store, 5, 50, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    js_store_close(&store);
    js_store_reopen(&store);
    struct quipu_flush_history history = history_of(&store);
    cr_assert_eq(history.published, EVENTS + 5);
    cr_assert_eq(history.duplicates + history.dead + history.resent + history.reconnects, 0);
    cr_assert_gt(history.events_per_second, 0);
    cr_assert_geq(history.last_unix_us, told_by_server(EVENTS + 5));

    js_store_open(&copy);
    js_store_copy(&store, &copy);
    js_flush(&copy, nats);
    history = history_of(&copy);
    cr_assert_eq(history.duplicates, EVENTS + 5);
    cr_assert_eq(history.published, 0);
    js_store_release(&copy);
}

Test(times, a_dead_letter_is_counted_where_nothing_is_acknowledged)
{
    jsStreamConfig config;
    jsStreamInfo *info = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    config = *info->Config;
    config.MaxMsgSize = 200; /* less than any envelope */
    cr_assert_eq(js_UpdateStream(NULL, js, &config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(info);
    js_store_fill(&store, 1, 50, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).dead, 1);
    struct quipu_flush_history history = history_of(&store);
    cr_assert_eq(history.dead, 1);
    cr_assert_eq(history.published, 0);
    cr_assert_gt(history.last_unix_us, 0);
}

/* ------------------------------------------------------------------ recalling */

/* How many requests of that subject the server has had. */
struct listener {
    natsSubscription *subscription;
};

static void listen_open(struct listener *listener, const char *subject)
{
    cr_assert_eq(natsConnection_SubscribeSync(&listener->subscription, side, subject), NATS_OK);
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
}

static uint64_t listen_count(struct listener *listener)
{
    int messages = 0;
    int bytes = 0;
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    cr_assert_eq(natsSubscription_GetPending(listener->subscription, &messages, &bytes), NATS_OK);
    return (uint64_t)messages;
}

static void listen_close(struct listener *listener)
{
    natsSubscription_Destroy(listener->subscription);
}

Test(times, flushes_in_a_row_do_not_ask_about_the_streams_again)
{
    struct listener listener;
    js_store_fill(&store, 1, 50, JS_PAYLOADS_UNIQUE);
    js_flush(&store, nats);
    listen_open(&listener, "$JS.API.STREAM.INFO.>");
    for (int i = 0; i < 5; i++) {
        js_store_fill(&store, 1, 50, JS_PAYLOADS_UNIQUE);
        cr_assert_eq(js_flush(&store, nats).published, 1);
    }
    cr_assert_eq(listen_count(&listener), 0);

    /* A new connection knows nothing. */
    nats_fixture_kill(&server);
    nats_fixture_restart(&server);
    listen_close(&listener);
    natsConnection_Destroy(side);
    jsCtx_Destroy(js);
    cr_assert_eq(natsConnection_ConnectTo(&side, server.url), NATS_OK);
    cr_assert_eq(natsConnection_JetStream(&js, side, NULL), NATS_OK);
    listen_open(&listener, "$JS.API.STREAM.INFO.>");
    js_store_fill(&store, 1, 50, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    cr_assert_eq(listen_count(&listener), 2);
    listen_close(&listener);
    js_expect_all_published(&server, &store);
}

/* The store must not take what it recalls for what is: each of these, right behind a flush. */
static enum quipu_status flush_status(struct quipu_error *err)
{
    js_store_fill(&store, 1, 50, JS_PAYLOADS_UNIQUE);
    return quipu_flush(store.engine, nats, NULL, NULL, err);
}

Test(times, a_stream_emptied_between_two_flushes_is_noticed)
{
    struct quipu_error err;
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    cr_assert_eq(flush_status(&err), QUIPU_DRIFT);
    cr_assert_not_null(strstr(err.message, "emptied"), "%s", err.message);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 0);
}

Test(times, a_stream_made_anew_between_two_flushes_is_noticed)
{
    struct quipu_error err;
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(js_DeleteStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    struct quipu_nats *another = js_connect(&server); /* the first one is not told */
    js_provision(another, 0);
    quipu_nats_close(&another);
    /* With a message under the sequence that is looked for. */
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(js_Publish(NULL, js, QUIPU_SUBJECT_PREFIX_DEFAULT ".x", "x", 1, NULL, NULL),
                     NATS_OK);
    }
    cr_assert_eq(flush_status(&err), QUIPU_DRIFT);
    cr_assert_not_null(strstr(err.message, "made 20"), "%s", err.message);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 5);
}

/* More is pending than is looked at from the log's end: the receipts behind it count. */
Test(times, an_emptied_stream_is_noticed_behind_a_long_outbox)
{
    struct quipu_error err;
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    js_store_fill(&store, 200, 50, JS_PAYLOADS_SHARED);
    cr_assert_eq(flush_status(&err), QUIPU_DRIFT);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 0);
}

Test(times, a_bucket_removed_between_two_flushes_is_noticed)
{
    struct quipu_error err;
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(flush_status(&err), QUIPU_OK);
    cr_assert_eq(js_DeleteStream(js, "OBJ_" QUIPU_BUCKET_DEFAULT, NULL, NULL), NATS_OK);
    cr_assert_eq(flush_status(&err), QUIPU_NOT_PROVISIONED, "%s", err.message);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 2);
}
