/*
 * Log against stream: what is missing, other, extra, there twice, or without its payload is told by
 * position and sequence, nothing else is, and a flush that starts over repairs what is missing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "event_message.h"
#include "js_kit.h"
#include "payload_store.h"

/* The default template with its prefix. */
#define TEMPLATE_MADE QUIPU_SUBJECT_PREFIX_DEFAULT ".{aggregate_type}.{event_type}.{event_id}"

#define SEEN_MAX      700
#define BUCKET_STREAM "OBJ_" QUIPU_BUCKET_DEFAULT

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;
static natsConnection *connection;
static jsCtx *js;

static void start(void)
{
    js_start(&server, &store, &nats);
    js_provision(nats, 0);
    js_side_open(&server, &connection, &js);
}

static void stop(void)
{
    js_side_close(&connection, &js);
    js_stop(&server, &store, &nats);
}

TestSuite(reconcile, .init = start, .fini = stop, .timeout = 60);

struct seen {
    size_t count;
    enum quipu_difference what[SEEN_MAX];
    uint64_t position[SEEN_MAX];
    uint64_t sequence[SEEN_MAX];
};

static enum quipu_status note(void *ctx, const struct quipu_difference_seen *difference,
                              struct quipu_error *err)
{
    (void)err;
    struct seen *seen = ctx;
    cr_assert_lt(seen->count, SEEN_MAX);
    cr_assert_gt(difference->line.len, 10);
    seen->what[seen->count] = difference->what;
    seen->position[seen->count] = difference->position;
    seen->sequence[seen->count] = difference->sequence;
    seen->count++;
    return QUIPU_OK;
}

static struct seen seen;

static struct quipu_reconcile_report reconcile(enum quipu_status expected)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    memset(&seen, 0, sizeof seen);
    options.payloads = QUIPU_PAYLOADS_CHECK;
    options.seen = note;
    options.ctx = &seen;
    enum quipu_status status = quipu_reconcile(store.engine, nats, &options, &report, &err);
    cr_assert_eq(status, expected, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    cr_assert_eq(report.missing + report.other + report.extra + report.copies + report.payloads,
                 seen.count);
    return report;
}

static void repair(void)
{
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.restart = true;
    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

static void delete_message(const char *stream, uint64_t sequence)
{
    cr_assert_eq(js_DeleteMsg(js, stream, sequence, NULL, NULL), NATS_OK);
}

static uint64_t put(const char *subject, const void *body, size_t len)
{
    jsPubAck *ack = NULL;
    cr_assert_eq(js_Publish(&ack, js, subject, body, (int)len, NULL, NULL), NATS_OK);
    uint64_t sequence = ack->Sequence;
    jsPubAck_Destroy(ack);
    return sequence;
}

/* Sequence of the last message of the bucket on a subject. */
static uint64_t sequence_at(const char *subject)
{
    natsMsg *msg = NULL;
    const char *number = NULL;
    jsDirectGetMsgOptions options;
    cr_assert_eq(jsDirectGetMsgOptions_Init(&options), NATS_OK);
    options.LastBySubject = subject;
    cr_assert_eq(js_DirectGetMsg(&msg, js, BUCKET_STREAM, NULL, &options), NATS_OK);
    cr_assert_eq(natsMsgHeader_Get(msg, "Nats-Sequence", &number), NATS_OK);
    uint64_t sequence = strtoull(number, NULL, 10);
    natsMsg_Destroy(msg);
    return sequence;
}

/* Texts and envelope of the event at a position. */
struct looked {
    struct event_texts texts;
    struct payload_names names;
    uint8_t envelope[1024];
    size_t len;
};

static enum quipu_status copy_event(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct looked *looked = ctx;
    cr_assert_leq(event->envelope_block.len, sizeof looked->envelope);
    memcpy(looked->envelope, event->envelope_block.data, event->envelope_block.len);
    looked->len = event->envelope_block.len;
    enum quipu_status status =
        quipu_payload_names(QUIPU_BUCKET_DEFAULT, &event->envelope.payload, &looked->names, err);
    return status == QUIPU_OK ? quipu_event_texts(TEMPLATE_MADE, event, &looked->texts, err)
                              : status;
}

static void look(uint64_t position, struct looked *out)
{
    struct quipu_error err;
    struct quipu_filter filter = {.after = position - 1, .limit = 1};
    cr_assert_eq(quipu_each_event(store.engine, &filter, copy_event, out, &err), QUIPU_OK);
}

static void flush_events(size_t count)
{
    js_store_fill(&store, count, 100, JS_PAYLOADS_UNIQUE);
    cr_assert_eq(js_flush(&store, nats).published, count);
}

Test(reconcile, finds_nothing_where_nothing_is_wrong)
{
    flush_events(600);
    js_store_fill(&store, 5, 100, JS_PAYLOADS_UNIQUE); /* pending */

    struct quipu_reconcile_report report = reconcile(QUIPU_OK);

    cr_assert_eq(report.events, 600);
    cr_assert_eq(report.same, 600);
    cr_assert_eq(report.messages, 600);
    cr_assert_eq(report.waiting, 5);
    cr_assert_eq(report.last_sequence, 600);
    cr_assert_eq(seen.count, 0);
}

Test(reconcile, finds_nothing_in_an_empty_store_and_an_empty_stream)
{
    struct quipu_reconcile_report report = reconcile(QUIPU_OK);

    cr_assert_eq(report.events + report.messages + report.waiting, 0);
}

Test(reconcile, tells_what_the_stream_has_lost_and_a_flush_that_starts_over_repairs_it)
{
    flush_events(40);
    delete_message(QUIPU_STREAM_DEFAULT, 5);
    delete_message(QUIPU_STREAM_DEFAULT, 40);

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.missing, 2);
    cr_assert_eq(report.same, 38);
    cr_assert_eq(seen.position[0], 5);
    cr_assert_eq(seen.position[1], 40);
    cr_assert_eq(seen.what[1], QUIPU_DIFFERENCE_MISSING);
    repair();
    cr_assert_eq(reconcile(QUIPU_OK).same, 40);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 40);
}

Test(reconcile, skips_a_long_gap)
{
    flush_events(700);
    for (uint64_t sequence = 2; sequence <= 640; sequence++) {
        delete_message(QUIPU_STREAM_DEFAULT, sequence);
    }

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.missing, 639);
    cr_assert_eq(report.messages, 61);
    cr_assert_eq(report.same, 61);
}

Test(reconcile, tells_another_event_in_the_place_of_ours)
{
    struct looked looked;
    flush_events(10);
    delete_message(QUIPU_STREAM_DEFAULT, 3);
    look(3, &looked);
    uint64_t sequence = put(looked.texts.subject, "rubbish", 7);

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.other, 1);
    cr_assert_eq(report.missing + report.extra + report.copies, 0);
    cr_assert_eq(seen.what[0], QUIPU_DIFFERENCE_OTHER);
    cr_assert_eq(seen.position[0], 3);
    cr_assert_eq(seen.sequence[0], sequence);
}

Test(reconcile, tells_an_event_that_is_there_twice)
{
    struct looked looked;
    flush_events(10);
    look(7, &looked);
    uint64_t sequence = put(looked.texts.subject, looked.envelope, looked.len);

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.copies, 1);
    cr_assert_eq(report.same, 10);
    cr_assert_eq(seen.what[0], QUIPU_DIFFERENCE_COPY);
    cr_assert_eq(seen.position[0], 7);
    cr_assert_eq(seen.sequence[0], sequence);
}

Test(reconcile, what_others_have_published_is_extra_and_no_failure)
{
    struct js_store other;
    js_store_open(&other);
    js_store_fill(&other, 12, 100, JS_PAYLOADS_UNIQUE);
    js_flush(&other, nats);
    flush_events(8);
    put(QUIPU_SUBJECT_PREFIX_DEFAULT ".no.event", "rubbish", 7);

    struct quipu_reconcile_report report = reconcile(QUIPU_OK);

    cr_assert_eq(report.extra, 13);
    cr_assert_eq(report.same, 8);
    cr_assert_eq(report.messages, 21);
    js_store_release(&other);
}

Test(reconcile, tells_payloads_that_are_gone_or_something_else)
{
    struct looked looked;
    flush_events(6);
    look(2, &looked);
    delete_message(BUCKET_STREAM, sequence_at(looked.names.chunk_subject));
    look(4, &looked);
    delete_message(BUCKET_STREAM, sequence_at(looked.names.chunk_subject));
    put(looked.names.chunk_subject, "rubbish", 7);

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.payloads, 2);
    cr_assert_eq(report.same, 6);
    cr_assert_eq(seen.position[0], 2);
    cr_assert_eq(seen.position[1], 4);
    cr_assert_eq(seen.what[1], QUIPU_DIFFERENCE_PAYLOAD);
}

Test(reconcile, goes_on_over_a_new_connection)
{
    flush_events(20);
    nats_fixture_kill(&server);
    nats_fixture_restart(&server);

    cr_assert_eq(reconcile(QUIPU_OK).same, 20);
}

static enum quipu_status refuse(void *ctx, const struct quipu_difference_seen *difference,
                                struct quipu_error *err)
{
    (void)ctx;
    (void)difference;
    return quipu_error_set(err, QUIPU_STOPPED, "enough");
}

Test(reconcile, ends_with_the_callers_failure)
{
    struct quipu_error err;
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    flush_events(3);
    delete_message(QUIPU_STREAM_DEFAULT, 1);
    options.seen = refuse;

    cr_assert_eq(quipu_reconcile(store.engine, nats, &options, NULL, &err), QUIPU_STOPPED);
    options.size = 1;
    cr_assert_eq(quipu_reconcile(store.engine, nats, &options, NULL, &err), QUIPU_MISUSE);
}

/* A stream that drops old messages by its own limits has not lost them. */
Test(reconcile, what_the_stream_has_dropped_by_its_limits_is_expired_and_not_missing)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    struct quipu_reconcile_options options = QUIPU_RECONCILE_OPTIONS_INIT;
    struct seen found = {.count = 0};
    jsStreamInfo *info = NULL;
    jsStreamInfo *updated = NULL;
    js_store_fill(&store, 20, 30, JS_PAYLOADS_SHARED);
    js_flush(&store, nats);
    cr_assert_eq(js_GetStreamInfo(&info, js, QUIPU_STREAM_DEFAULT, NULL, NULL), NATS_OK);
    info->Config->MaxMsgs = 12;
    info->Config->Discard = js_DiscardOld;
    cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(updated);
    jsStreamInfo_Destroy(info);
    options.seen = note;
    options.ctx = &found;

    cr_assert_eq(quipu_reconcile(store.engine, nats, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.expired, 8);
    cr_assert_eq(report.missing, 0);
    cr_assert_eq(report.same, 12);
    cr_assert_eq(found.count, 8);
    cr_assert_eq(found.what[0], QUIPU_DIFFERENCE_EXPIRED);
    cr_assert_eq(found.position[7], 8);

    /* One in the midst is missing all the same. */
    cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, 15, NULL, NULL), NATS_OK);
    cr_assert_eq(quipu_reconcile(store.engine, nats, &options, &report, &err), QUIPU_DRIFT);
    cr_assert_eq(report.expired, 8);
    cr_assert_eq(report.missing, 1);
}

/* ------------------------------------------------------------------ a stream filled to the brim */

static void limit_bytes(const char *stream, int64_t max)
{
    jsStreamInfo *info = NULL;
    jsStreamInfo *updated = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, stream, NULL, NULL), NATS_OK);
    info->Config->MaxBytes = max;
    cr_assert_eq(js_UpdateStream(&updated, js, info->Config, NULL, NULL), NATS_OK);
    jsStreamInfo_Destroy(updated);
    jsStreamInfo_Destroy(info);
}

static int64_t bytes_of(const char *stream)
{
    jsStreamInfo *info = NULL;
    cr_assert_eq(js_GetStreamInfo(&info, js, stream, NULL, NULL), NATS_OK);
    int64_t bytes = (int64_t)info->State.Bytes;
    jsStreamInfo_Destroy(info);
    return bytes;
}

/* Leave a stream, to which ten events have gone, a little more room, and again, until the server
 * takes another message for which there is none, once stored: it deletes old ones for it then. */
static void fill_to_the_brim(const char *stream)
{
    enum { STEP = 40, STEPS = 60 };
    struct quipu_error err;
    bool has_dropped = false;
    flush_events(10);
    js_store_fill(&store, 1, 110, JS_PAYLOADS_UNIQUE); /* a payload that is not there yet */
    int64_t room = bytes_of(stream);
    for (int i = 0; i < STEPS && !has_dropped; i++) {
        room += STEP;
        limit_bytes(stream, room);
        cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_SERVER);
        cr_assert_not_null(strstr(err.message, stream), "%s", err.message);
        has_dropped = strstr(err.message, "has deleted its oldest") != NULL;
    }
    cr_assert(has_dropped, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "reconcile --repair"));
    limit_bytes(stream, -1);
    cr_assert_eq(quipu_flush(store.engine, nats, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

Test(reconcile, a_payload_that_a_full_bucket_deleted_is_told_and_repaired)
{
    fill_to_the_brim(BUCKET_STREAM);

    cr_assert_gt(reconcile(QUIPU_DRIFT).payloads, 0);
    repair();
    cr_assert_eq(reconcile(QUIPU_OK).same, 11);
    js_expect_all_published(&server, &store);
}

Test(reconcile, an_event_that_a_full_stream_deleted_is_missing_and_not_expired)
{
    fill_to_the_brim(QUIPU_STREAM_DEFAULT);

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);
    cr_assert_eq(report.missing, 1);
    cr_assert_eq(report.expired, 0);
    repair();
    cr_assert_eq(reconcile(QUIPU_OK).same, 11);
}
