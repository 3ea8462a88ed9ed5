/*
 * What a pull takes for published: an event under its own subject whose payload is in our bucket,
 * chunk and meta. Any other stays in the outbox, and the next flush sends what is missing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "event_message.h"
#include "payload_store.h"
#include "pull_kit.h"
#include "quipu/flush.h"

#define TEMPLATE_MADE  QUIPU_SUBJECT_PREFIX_DEFAULT ".{aggregate_type}.{event_type}.{event_id}"
#define ELSEWHERE      QUIPU_SUBJECT_PREFIX_DEFAULT ".some.where.else"
#define BUCKET_STREAM  "OBJ_" QUIPU_BUCKET_DEFAULT
#define PAYLOADS_GET   "$JS.API.DIRECT.GET." BUCKET_STREAM ".>"
#define EVENTS         20
#define LONG_BYTES     200000
#define SMALL_MESSAGES "max_payload: 65536\n"

static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    pull_kit_start();
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
}

static void stop(void)
{
    js_side_close(&side, &js);
    pull_kit_stop();
}

TestSuite(pull_receipts, .init = start, .fini = stop, .timeout = 60);

struct looked {
    struct event_texts texts;
    struct payload_names names;
    struct quipu_cid payload_cid;
    uint8_t envelope[4096];
    uint8_t payload[4096];
    size_t envelope_len;
    size_t payload_len;
};

static enum quipu_status copy_event(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct looked *looked = ctx;
    cr_assert_leq(event->envelope_block.len, sizeof looked->envelope);
    cr_assert_leq(event->payload.len, sizeof looked->payload);
    memcpy(looked->envelope, event->envelope_block.data, event->envelope_block.len);
    memcpy(looked->payload, event->payload.data, event->payload.len);
    looked->envelope_len = event->envelope_block.len;
    looked->payload_len = event->payload.len;
    looked->payload_cid = event->envelope.payload;
    enum quipu_status status =
        quipu_payload_names(QUIPU_BUCKET_DEFAULT, &event->envelope.payload, &looked->names, err);
    return status == QUIPU_OK ? quipu_event_texts(TEMPLATE_MADE, event, &looked->texts, err)
                              : status;
}

static struct looked look(struct js_store *store, uint64_t position)
{
    struct looked looked;
    struct quipu_error err;
    struct quipu_filter filter = {.after = position - 1, .limit = 1};
    memset(&looked, 0, sizeof looked);
    cr_assert_eq(quipu_each_event(store->engine, &filter, copy_event, &looked, &err), QUIPU_OK);
    return looked;
}

static void put(const char *subject, const void *data, size_t len)
{
    cr_assert_eq(js_Publish(NULL, js, subject, data, (int)len, NULL, NULL), NATS_OK);
}

static void put_envelope(const char *subject, const struct looked *event)
{
    put(subject, event->envelope, event->envelope_len);
}

static void put_chunk(const struct looked *event)
{
    put(event->names.chunk_subject, event->payload, event->payload_len);
}

static void put_meta(const struct looked *event)
{
    struct quipu_error err;
    struct quipu_buf meta = QUIPU_BUF_INIT;
    struct payload_object object = {event->names.cid, event->payload_len, 1};
    cr_assert_eq(quipu_payload_meta(QUIPU_BUCKET_DEFAULT, &event->names, &event->payload_cid,
                                    &object, &meta, &err),
                 QUIPU_OK);
    put(event->names.meta_subject, meta.data, meta.len);
    quipu_buf_release(&meta);
}

static struct looked append(struct js_store *store)
{
    return look(store, js_store_append(store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a\","
                                              "\"event_type\":\"key.used\",\"payload\":\"one\"}"));
}

/* A pull after which so many events are pending. */
static void expect_pending(uint64_t known, uint64_t pending)
{
    struct quipu_pull_report report = js_pull(&here, nats);
    cr_assert_eq(report.events.known, known);
    cr_assert_eq(report.events.quarantined, 0);
    cr_assert_eq(js_store_outbox(&here).pending, pending);
}

Test(pull_receipts, an_event_whose_payload_is_not_in_the_bucket_is_not_published)
{
    struct looked event = append(&here);
    put_envelope(event.texts.subject, &event);

    expect_pending(1, 1);

    cr_assert_eq(js_flush(&here, nats).duplicates, 1);
    js_expect_all_published(&server, &here);
}

Test(pull_receipts, nor_one_whose_payload_has_a_chunk_and_no_meta)
{
    struct looked event = append(&here);
    put_chunk(&event);
    put_envelope(event.texts.subject, &event);

    expect_pending(1, 1);

    cr_assert_eq(js_flush(&here, nats).duplicates, 1);
    js_expect_all_published(&server, &here);
}

Test(pull_receipts, nor_one_whose_payload_has_a_meta_and_no_chunk)
{
    struct looked event = append(&here);
    put_meta(&event);
    put_envelope(event.texts.subject, &event);

    expect_pending(1, 1);

    cr_assert_eq(js_flush(&here, nats).duplicates, 1);
    js_expect_all_published(&server, &here);
}

Test(pull_receipts, nor_one_whose_chunk_is_something_else)
{
    struct looked event = append(&here);
    put(event.names.chunk_subject, "rubbish", 7);
    put_meta(&event);
    put_envelope(event.texts.subject, &event);

    expect_pending(1, 1);

    cr_assert_eq(js_flush(&here, nats).dead, 1);
}

Test(pull_receipts, nor_one_that_lies_under_another_subject)
{
    struct looked event = append(&here);
    put_chunk(&event);
    put_meta(&event);
    put_envelope(ELSEWHERE, &event);

    expect_pending(1, 1);

    cr_assert_eq(js_flush(&here, nats).published, 1);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 2);
}

Test(pull_receipts, one_that_is_there_with_its_payload_is_published)
{
    struct looked event = append(&here);
    put_chunk(&event);
    put_meta(&event);
    put_envelope(event.texts.subject, &event);

    expect_pending(1, 0);

    js_expect_all_published(&server, &here);
}

Test(pull_receipts, also_where_the_same_event_lies_elsewhere_before_that)
{
    struct looked event = append(&here);
    put_envelope(ELSEWHERE, &event);
    put_chunk(&event);
    put_meta(&event);
    put_envelope(event.texts.subject, &event);

    expect_pending(2, 0);

    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    struct quipu_receipt receipt;
    cr_assert_eq(quipu_txn_begin_read(here.store, &txn, &err), QUIPU_OK);
    cr_assert_eq(quipu_receipt_at(txn, 1, &receipt, &err), QUIPU_OK);
    cr_assert_eq(receipt.sequence, 2);
    quipu_txn_abort(&txn);
}

Test(pull_receipts, events_of_a_bundle_that_another_store_has_flushed_are_published)
{
    js_store_fill(&here, EVENTS, 100, JS_PAYLOADS_SHARED);
    js_store_copy(&here, &there);
    cr_assert_eq(js_flush(&there, nats).published, EVENTS);

    expect_pending(EVENTS, 0);

    js_expect_all_published(&server, &here);
}

Test(pull_receipts, also_where_their_payloads_take_several_messages)
{
    nats_fixture_reconfigure(&server, SMALL_MESSAGES);
    js_store_fill(&here, 3, LONG_BYTES, JS_PAYLOADS_UNIQUE);
    js_store_copy(&here, &there);
    cr_assert_eq(js_flush(&there, nats).published, 3);

    expect_pending(3, 0);

    js_expect_all_published(&server, &here);
}

Test(pull_receipts, but_not_where_it_has_another_bucket)
{
    struct quipu_error err;
    struct quipu_nats *other = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.bucket = "other-objects";
    cr_assert_eq(quipu_nats_open(&options, &other, &err), QUIPU_OK);
    js_provision(other, 0);
    js_store_fill(&here, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    js_store_copy(&here, &there);
    cr_assert_eq(js_flush(&there, other).published, EVENTS);

    expect_pending(EVENTS, EVENTS);

    cr_assert_eq(js_flush(&here, nats).duplicates, EVENTS);
    js_expect_all_published(&server, &here);
    quipu_nats_close(&other);
}

/* ------------------------------------------------------------------ events of others */

Test(pull_receipts, an_event_of_another_store_under_another_subject_waits_to_be_published)
{
    struct looked event = append(&there);
    put_chunk(&event);
    put_meta(&event);
    put_envelope(ELSEWHERE, &event);

    cr_assert_eq(js_pull(&here, nats).events.added, 1);

    cr_assert_eq(js_store_outbox(&here).pending, 1);
    cr_assert_eq(js_flush(&here, nats).published, 1);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 2);
}

Test(pull_receipts, also_where_its_payload_comes_later)
{
    struct quipu_error err;
    struct quipu_pull_report report;
    struct quipu_pull_options options = QUIPU_PULL_OPTIONS_INIT;
    struct looked event = append(&there);
    put_envelope(ELSEWHERE, &event);
    cr_assert_eq(js_pull(&here, nats).events.quarantined, 1);
    put_chunk(&event);
    put_meta(&event);

    options.asks_at_once = true;
    cr_assert_eq(quipu_pull(here.engine, nats, &options, &report, &err), QUIPU_OK);

    cr_assert_eq(report.events.added, 1);
    cr_assert_eq(js_store_outbox(&here).pending, 1);
}

/* Questions for payloads until now. What a client has sent before its pull ended is here when a
 * ping comes back. */
static uint64_t questions(natsSubscription *ears)
{
    uint64_t count = 0;
    natsMsg *msg = NULL;
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    while (natsSubscription_NextMsg(&msg, ears, 0) == NATS_OK) {
        natsMsg_Destroy(msg);
        count++;
    }
    return count;
}

/* Their payloads are fetched in any case, and that is all that is asked. */
Test(pull_receipts, events_of_others_cost_one_question_each_and_known_ones_none)
{
    natsSubscription *ears = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&ears, side, PAYLOADS_GET), NATS_OK);
    js_store_fill(&there, EVENTS, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&there, nats).published, EVENTS);
    (void)questions(ears); /* those of the flush */

    cr_assert_eq(js_pull(&here, nats).events.added, EVENTS);
    uint64_t of_others = questions(ears);
    cr_assert_eq(js_pull(&there, nats).events.known, EVENTS);
    uint64_t of_known = questions(ears);

    cr_assert_eq(of_others, EVENTS);
    cr_assert_eq(of_known, 0);
    cr_assert_eq(js_store_outbox(&here).pending, 0);
    natsSubscription_Destroy(ears);
}
