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

#include "js_kit.h"
#include "payload_store.h"

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
