/*
 * Flushing where the bucket already has something under a payload's CID: the payload itself, or
 * something else that somebody has put there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "js_kit.h"
#include "payload_store.h"
#include "quipu/flush.h"

#define BUCKET_STREAM "OBJ_" QUIPU_BUCKET_DEFAULT

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;
static struct payload_names names; /* of the payload "one" */
static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    /* DAG-CBOR of the text "one". */
    static const uint8_t one[] = {0x63, 'o', 'n', 'e'};
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(one, sizeof one));
    cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &names, NULL), QUIPU_OK);
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
}

static void stop(void)
{
    js_side_close(&side, &js);
    js_stop(&server, &store, &nats);
}

TestSuite(flush_compare, .init = start, .fini = stop, .timeout = 60);

static uint64_t put(const char *subject, const char *body)
{
    jsPubAck *ack = NULL;
    cr_assert_eq(js_Publish(&ack, js, subject, body, (int)strlen(body), NULL, NULL), NATS_OK);
    uint64_t sequence = ack->Sequence;
    jsPubAck_Destroy(ack);
    return sequence;
}

static uint64_t append(const char *aggregate, const char *payload)
{
    char line[300];
    (void)snprintf(line, sizeof line,
                   "{\"aggregate_type\":\"key\",\"aggregate_id\":\"%s\",\"event_type\":"
                   "\"key.used\",\"payload\":\"%s\"}",
                   aggregate, payload);
    return js_store_append(&store, line);
}

struct letter {
    size_t count;
    uint64_t position;
    enum quipu_status reason;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status note_first(void *ctx, const struct quipu_dead_letter *letter,
                                    struct quipu_error *err)
{
    (void)err;
    struct letter *first = ctx;
    if (first->count++ == 0) {
        first->position = letter->position;
        first->reason = letter->reason;
        (void)snprintf(first->line, sizeof first->line, "%.*s", QUIPU_SLICE_FMT(letter->line));
    }
    return QUIPU_OK;
}

/* There are `count` letters, the first of them position 1, because of its payload. */
static void expect_letter(size_t count)
{
    struct letter first = {.count = 0};
    struct quipu_error err;
    cr_assert_eq(quipu_each_dead_letter(store.engine, note_first, &first, &err), QUIPU_OK);
    cr_assert_eq(first.count, count);
    cr_assert_eq(first.position, 1);
    cr_assert_eq(first.reason, QUIPU_CORRUPT);
    cr_assert_not_null(strstr(first.line, names.cid), "%s", first.line);
}

static void retry(uint64_t position)
{
    struct quipu_error err;
    cr_assert_eq(quipu_dead_letter_retry(store.engine, position, &err), QUIPU_OK);
}

Test(flush_compare, publishes_no_envelope_whose_payload_is_something_else_in_the_bucket)
{
    uint64_t rubbish = put(names.chunk_subject, "rubbish");
    append("x", "one");
    append("x", "two");
    append("y", "three");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.dead, 2);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 1);
    expect_letter(2);

    cr_assert_eq(js_DeleteMsg(js, BUCKET_STREAM, rubbish, NULL, NULL), NATS_OK);
    retry(1);
    retry(2);
    cr_assert_eq(js_flush(&store, nats).published, 2);
    js_expect_all_published(&server, &store);
}

Test(flush_compare, nor_one_whose_payload_is_another_object_that_somebody_put)
{
    char meta[512];
    put("$O." QUIPU_BUCKET_DEFAULT ".C.AnyNuid", "rubbish");
    (void)snprintf(meta, sizeof meta,
                   "{\"name\":\"%s\",\"bucket\":\"%s\",\"nuid\":\"AnyNuid\",\"size\":7,"
                   "\"chunks\":1}",
                   names.cid, QUIPU_BUCKET_DEFAULT);
    put(names.meta_subject, meta);
    append("x", "one");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 0);
    cr_assert_eq(report.dead, 1);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 0);
    expect_letter(1);
}

Test(flush_compare, nor_one_whose_description_is_no_object)
{
    put(names.meta_subject, "rubbish");
    append("x", "one");
    append("y", "two");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.dead, 1);
}

Test(flush_compare, takes_a_payload_that_is_there_and_right)
{
    put(names.chunk_subject, "\x63one");
    append("x", "one");
    append("y", "one");
    append("z", "one");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 3);
    js_expect_all_published(&server, &store);
}

/* ------------------------------------------------------------------ what is under an event's
 * subject */

/* What lies under the event's subject decides by its bytes: headers are anybody's. */
Test(flush_compare, headers_alone_make_no_event_ours)
{
    struct quipu_error err;
    natsMsg *first = NULL;
    natsMsg *forged = NULL;
    const char *subject = NULL;
    const char *cid = NULL;
    append("x", "one");
    cr_assert_eq(js_flush(&store, nats).published, 1);
    cr_assert_eq(js_GetMsg(&first, js, QUIPU_STREAM_DEFAULT, 1, NULL, NULL), NATS_OK);
    subject = natsMsg_GetSubject(first);
    cr_assert_eq(natsMsgHeader_Get(first, "X-Event-CID", &cid), NATS_OK);
    cr_assert_eq(natsMsg_Create(&forged, subject, NULL, "rubbish", 7), NATS_OK);
    cr_assert_eq(natsMsgHeader_Set(forged, "X-Event-CID", cid), NATS_OK);
    cr_assert_eq(js_EraseMsg(js, QUIPU_STREAM_DEFAULT, 1, NULL, NULL), NATS_OK);
    cr_assert_eq(js_PublishMsg(NULL, js, forged, NULL, NULL), NATS_OK);

    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_flush_report report;
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(report.duplicates, 0);
    cr_assert_eq(report.dead, 1);
    cr_assert_eq(js_letters_of(&store).reasons[0], QUIPU_EVENT_ID_CONFLICT);
    natsMsg_Destroy(first);
    natsMsg_Destroy(forged);
}

/* The first of the long payloads that were there is read back. */
Test(flush_compare, a_long_payload_that_is_something_else_is_not_published_either)
{
    js_store_fill(&store, 1, 9000, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    natsMsg *chunk = NULL;
    cr_assert_eq(js_GetMsg(&chunk, js, BUCKET_STREAM, 1, NULL, NULL), NATS_OK);
    cr_assert_eq(js_EraseMsg(js, BUCKET_STREAM, 1, NULL, NULL), NATS_OK);
    put(natsMsg_GetSubject(chunk), "rubbish");
    natsMsg_Destroy(chunk);

    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_flush_report report;
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(report.dead, 1);
    cr_assert_eq(js_letters_of(&store).reasons[0], QUIPU_CORRUPT);
}

/* One that needs several messages is read back too. */
Test(flush_compare, nor_one_of_several_chunks)
{
    struct quipu_error err;
    jsStreamInfo *info = NULL;
    jsStreamInfo *updated = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, BUCKET_STREAM, NULL, NULL), NATS_OK);
    info->Config->MaxMsgSize = 4096;
    cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(updated);
    jsStreamInfo_Destroy(info);
    js_store_fill(&store, 1, 9000, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    cr_assert_gt(js_stream_messages(&server, BUCKET_STREAM), 2);
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct quipu_flush_report report;
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.duplicates, 1);

    natsMsg *chunk = NULL;
    cr_assert_eq(js_GetMsg(&chunk, js, BUCKET_STREAM, 1, NULL, NULL), NATS_OK);
    cr_assert_eq(js_EraseMsg(js, BUCKET_STREAM, 1, NULL, NULL), NATS_OK);
    put(natsMsg_GetSubject(chunk), "rubbish");
    natsMsg_Destroy(chunk);
    cr_assert_eq(quipu_flush(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(report.dead, 1);
    cr_assert_eq(js_letters_of(&store).reasons[0], QUIPU_CORRUPT);
}

/* ------------------------------------------------------------------ guards of a message */

static void expect_guards(enum quipu_dedup dedup, bool has_expectation)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    natsMsg *msg = NULL;
    const char *id = NULL;
    const char *event_id = NULL;
    const char *expected = NULL;
    options.dedup = dedup;
    append("x", "one");
    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(js_GetMsg(&msg, js, QUIPU_STREAM_DEFAULT, 1, NULL, NULL), NATS_OK);
    cr_assert_eq(natsMsgHeader_Get(msg, "Nats-Msg-Id", &id), NATS_OK);
    cr_assert_eq(natsMsgHeader_Get(msg, "X-Event-ID", &event_id), NATS_OK);
    cr_assert_str_eq(id, event_id);
    natsStatus s = natsMsgHeader_Get(msg, "Nats-Expected-Last-Subject-Sequence", &expected);
    cr_assert_eq(s, has_expectation ? NATS_OK : NATS_NOT_FOUND);
    natsMsg_Destroy(msg);
}

Test(flush_compare, a_message_names_its_id_and_what_is_expected)
{
    expect_guards(QUIPU_DEDUP_SUBJECT, true);
}

Test(flush_compare, a_message_of_a_window_that_looks_names_its_id)
{
    expect_guards(QUIPU_DEDUP_WINDOW, false);
}

Test(flush_compare, a_window_that_looks_wants_a_server_that_remembers_for_a_while)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    jsStreamInfo *info = NULL;
    jsStreamInfo *updated = NULL;
    options.dedup = QUIPU_DEDUP_WINDOW;
    append("x", "one");
    cr_assert_eq(js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    for (int64_t s = 29; s <= 30; s++) {
        info->Config->Duplicates = s * 1000 * 1000 * 1000;
        cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK);
        jsStreamInfo_Destroy(updated);
        enum quipu_status status = quipu_flush(store.engine, nats, &options, NULL, &err);
        cr_assert_eq(status, s < 30 ? QUIPU_DRIFT : QUIPU_OK);
        cr_assert(s >= 30 || strstr(err.message, "29000 ms") != NULL, "%s", err.message);
    }
    jsStreamInfo_Destroy(info);
}

/* ------------------------------------------------------------------ what is under way */

static void note_most(void *ctx, const struct quipu_flush_live *live)
{
    uint32_t *most = ctx;
    *most = live->in_flight > *most ? live->in_flight : *most;
}

Test(flush_compare, no_more_than_sixteen_mebibytes_are_admitted_at_once)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    uint32_t most = 0;
    options.live = note_most;
    options.ctx = &most;
    js_store_fill(&store, 40, 900000, JS_PAYLOADS_UNIQUE);

    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_gt(most, 1);
    cr_assert_leq(most, 20);
    cr_assert_eq(js_store_outbox(&store).published, 40);
}

/* ------------------------------------------------------------------ receipts */

struct watching {
    uint64_t recorded; /* receipts, when there were some for the first time */
    uint32_t pauses;
};

/* Called between any two steps of a flush: each takes some time, as on a slow line. */
static bool watch_receipts(void *ctx)
{
    struct watching *watching = ctx;
    if (watching->recorded == 0) {
        struct timespec pause = {0, 5 * 1000 * 1000};
        watching->recorded = js_store_outbox(&store).published;
        watching->pauses++;
        (void)nanosleep(&pause, NULL);
    }
    return false;
}

/* Whoever loses power in a long flush has the receipts of most of what went out: they do not wait
 * until thousands have come together. */
Test(flush_compare, receipts_are_recorded_while_a_slow_flush_goes_on)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    struct watching watching = {.recorded = 0};
    options.window = 1;
    options.should_stop = watch_receipts;
    options.ctx = &watching;
    js_store_fill(&store, 400, 20, JS_PAYLOADS_UNIQUE);

    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_gt(watching.recorded, 0, "nothing in %u steps", watching.pauses);
    cr_assert_lt(watching.recorded, 400);
    cr_assert_eq(js_store_outbox(&store).published, 400);
}
