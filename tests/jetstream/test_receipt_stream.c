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

/* ------------------------------------------------------------------ what the stream has lost */

static void change_config(const char *name, void (*change)(jsStreamConfig *config), bool is_anew)
{
    jsStreamInfo *info = NULL;
    jsStreamInfo *made = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, name, NULL, NULL), NATS_OK);
    if (change != NULL) {
        change(info->Config);
    }
    if (is_anew) {
        cr_assert_eq(js_DeleteStream(js, name, NULL, NULL), NATS_OK);
        cr_assert_eq(js_AddStream(&made, js, info->Config, NULL, NULL), NATS_OK);
    } else {
        cr_assert_eq(js_UpdateStream(&made, js, info->Config, NULL, NULL), NATS_OK);
    }
    jsStreamInfo_Destroy(made);
    jsStreamInfo_Destroy(info);
}

static void purge(void)
{
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
}

static void make_anew(void)
{
    change_config(QUIPU_STREAM_DEFAULT, NULL, true);
}

/* Asked between rounds: does its mischief once, when a hundred events or so are in the stream. */
struct mischief {
    void (*act)(void);
    bool is_done;
};

static bool act_in_mid_flush(void *ctx)
{
    struct mischief *mischief = ctx;
    if (!mischief->is_done && js_stream_messages(&server, QUIPU_STREAM_DEFAULT) >= 100) {
        mischief->is_done = true;
        mischief->act();
    }
    return false;
}

/* A small window, so that the flush is still busy when it happens. */
static enum quipu_status flush_with(struct mischief *mischief, struct quipu_error *err)
{
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.window = 8;
    options.should_stop = act_in_mid_flush;
    options.ctx = mischief;
    enum quipu_status status = quipu_flush(store.engine, nats, &options, NULL, err);
    cr_assert(mischief->is_done);
    return status;
}

Test(receipt_stream, a_purge_in_mid_flush_is_seen_by_that_flush_and_by_the_next)
{
    struct quipu_error err;
    struct mischief mischief = {.act = purge};
    js_store_fill(&store, 400, 30, JS_PAYLOADS_SHARED);

    cr_assert_eq(flush_with(&mischief, &err), QUIPU_DRIFT);
    cr_assert_not_null(strstr(err.message, "emptied"), "%s", err.message);
    expect_drift(nats, "emptied", QUIPU_STREAM_DEFAULT);

    cr_assert_gt(flush_again(nats).published, 0);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 400);
    cr_assert_eq(js_flush(&store, nats).pending, 0);
}

Test(receipt_stream, another_stream_under_the_name_in_mid_flush_is_no_success)
{
    struct quipu_error err;
    struct mischief mischief = {.act = make_anew};
    js_store_fill(&store, 400, 30, JS_PAYLOADS_SHARED);

    enum quipu_status status = flush_with(&mischief, &err);

    cr_assert(status == QUIPU_DRIFT || status == QUIPU_NOT_PROVISIONED, "%s",
              status == QUIPU_OK ? "success" : err.message);
    cr_assert_lt(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 100,
                 "seen by its first answers");
    expect_drift(nats, QUIPU_STREAM_DEFAULT, "made 20");
    (void)flush_again(nats);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 400);
}

static void another_server(void)
{
    make_anew();
    nats_fixture_kill(&server);
    nats_fixture_restart(&server);
}

/* A standby that answers at the same address, with a stream of its own. */
Test(receipt_stream, the_stream_of_another_server_behind_a_new_connection_is_no_success)
{
    struct quipu_error err;
    struct mischief mischief = {.act = another_server};
    js_store_fill(&store, 400, 30, JS_PAYLOADS_SHARED);

    enum quipu_status status = flush_with(&mischief, &err);

    cr_assert(status == QUIPU_DRIFT || status == QUIPU_NOT_PROVISIONED, "%s",
              status == QUIPU_OK ? "success" : err.message);
}

/* A disk from a backup: the same stream, and our last events are not in it. */
Test(receipt_stream, a_stream_that_was_set_back_is_not_taken_for_complete)
{
    struct quipu_error err;
    js_store_fill(&store, 20, 30, JS_PAYLOADS_SHARED);
    js_flush(&store, nats);
    js_store_fill(&store, 1, 30, JS_PAYLOADS_SHARED);
    struct quipu_ack ack = {.position = 21, .sequence = 21}; /* which the disk has lost */
    cr_assert_eq(quipu_outbox_acknowledge(store.engine, quipu_slice_text(QUIPU_STREAM_DEFAULT),
                                          &ack, 1, &err),
                 QUIPU_OK, "%s", err.message);
    quipu_nats_close(&nats);
    nats = js_connect(&server);

    expect_drift(nats, "set back", "sequence 20");

    cr_assert_eq(flush_again(nats).published, 1);
    js_expect_all_published(&server, &store);
}

/* The newest receipt is far from the log's end, and from what is settled without a gap. */
Test(receipt_stream, a_purge_is_seen_however_much_is_pending)
{
    struct js_store theirs;
    js_store_open(&theirs);
    js_store_fill(&theirs, 20, 30, JS_PAYLOADS_UNIQUE);
    js_flush(&theirs, nats);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"mine\",\"event_type\":"
                            "\"key.used\",\"payload\":1}");
    cr_assert_eq(pull(&store, nats).events.added, 20);
    for (int i = 0; i < 40; i++) {
        js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"mine\","
                                "\"event_type\":\"key.used\",\"payload\":2}");
    }
    purge();

    expect_drift(nats, "emptied", "sequence 21");
    js_store_release(&theirs);
}

/* ------------------------------------------------------------------ streams that keep nothing */

static void keep_by_interest(jsStreamConfig *config)
{
    config->Retention = js_InterestPolicy;
}

static void keep_until_taken(jsStreamConfig *config)
{
    config->Retention = js_WorkQueuePolicy;
}

static void say_nothing(jsStreamConfig *config)
{
    config->NoAck = true;
}

static void seal(jsStreamConfig *config)
{
    config->Sealed = true;
}

static void expect_unfit(void (*change)(jsStreamConfig *config), bool is_anew, const char *word)
{
    change_config(QUIPU_STREAM_DEFAULT, change, is_anew);
    js_store_fill(&store, 1, 30, JS_PAYLOADS_SHARED);
    struct quipu_error err;
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_DRIFT);
    cr_assert_not_null(strstr(err.message, word), "%s", err.message);
    cr_assert_eq(js_store_outbox(&store).published, 0);
}

Test(receipt_stream, a_stream_of_interest_is_not_published_to)
{
    expect_unfit(keep_by_interest, true, "interest");
}

Test(receipt_stream, nor_a_work_queue)
{
    expect_unfit(keep_until_taken, true, "work-queue");
}

Test(receipt_stream, nor_one_that_does_not_answer)
{
    expect_unfit(say_nothing, true, "no_ack");
}

Test(receipt_stream, nor_one_that_is_sealed)
{
    expect_unfit(seal, false, "sealed");
}
