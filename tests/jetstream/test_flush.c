/*
 * Flushing against a real server: what lies there afterwards, and that it never lies there twice.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "js_kit.h"

#define EVENTS 2000

static struct nats_fixture server;
static struct js_store store;

static void start(void)
{
    js_start(&server, &store, NULL);
}

static void stop(void)
{
    js_stop(&server, &store, NULL);
}

TestSuite(flush, .init = start, .fini = stop, .timeout = 60);

Test(flush, puts_every_event_and_payload_on_the_server_once)
{
    js_store_fill(&store, EVENTS, 200, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, EVENTS);
    cr_assert_eq(report.payloads_stored, EVENTS);
    cr_assert_gt(report.payload_bytes, EVENTS * 200);
    cr_assert_eq(report.duplicates + report.dead + report.pending, 0);
    js_expect_all_published(&server, &store);
    cr_assert_eq(js_store_outbox(&store).published, EVENTS);
    quipu_nats_close(&nats);
}

Test(flush, publishes_nothing_the_second_time)
{
    js_store_fill(&store, 300, 50, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    js_flush(&store, nats);

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published + report.duplicates + report.dead + report.pending, 0);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 300);
    quipu_nats_close(&nats);
}

Test(flush, adds_none_of_another_stores_events_even_beyond_the_duplicate_window)
{
    struct js_store other;
    js_store_open(&other);
    js_store_fill(&store, 500, 50, JS_PAYLOADS_UNIQUE);
    js_store_copy(&store, &other);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 100000);
    js_flush(&store, nats);
    usleep(300000); /* the server forgets the ids: only the expected sequence is left */

    struct quipu_flush_report report = js_flush(&other, nats);

    cr_assert_eq(report.published, 0);
    cr_assert_eq(report.duplicates, 500);
    cr_assert_eq(report.payloads_stored, 0);
    js_expect_all_published(&server, &other);
    cr_assert_eq(js_store_outbox(&other).pending, 0);
    js_store_release(&other);
    quipu_nats_close(&nats);
}

Test(flush, adds_none_of_another_stores_events_within_the_duplicate_window)
{
    struct js_store other;
    js_store_open(&other);
    js_store_fill(&store, 100, 50, JS_PAYLOADS_UNIQUE);
    js_store_copy(&store, &other);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    js_flush(&store, nats);

    struct quipu_flush_report report = js_flush(&other, nats);

    cr_assert_eq(report.duplicates, 100);
    js_expect_all_published(&server, &other);
    js_store_release(&other);
    quipu_nats_close(&nats);
}

Test(flush, records_the_sequence_of_every_event)
{
    js_store_fill(&store, 20, 50, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);

    js_flush(&store, nats);

    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(store.store, &txn, &err), QUIPU_OK);
    for (uint64_t position = 1; position <= 20; position++) {
        struct quipu_receipt receipt;
        cr_assert_eq(quipu_receipt_at(txn, position, &receipt, &err), QUIPU_OK);
        cr_assert_eq(receipt.sequence, position);
        cr_assert_not(receipt.was_duplicate);
        cr_assert(quipu_slice_equal(receipt.stream, quipu_slice_text(QUIPU_STREAM_DEFAULT)));
    }
    quipu_txn_abort(&txn);
    quipu_nats_close(&nats);
}

Test(flush, stores_a_payload_that_many_events_share_once)
{
    js_store_fill(&store, 1000, 100, JS_PAYLOADS_SHARED);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1000);
    cr_assert_eq(report.payloads_stored, 10);
    cr_assert_eq(js_stream_messages(&server, "OBJ_" QUIPU_BUCKET_DEFAULT), 20);
    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

Test(flush, works_with_the_smallest_window)
{
    js_store_fill(&store, 50, 100, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.window = 1;

    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK);

    js_expect_all_published(&server, &store);
    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ headers */

static void expect_header(natsMsg *msg, const char *name, const char *expected)
{
    const char *value = NULL;
    natsStatus s = natsMsgHeader_Get(msg, name, &value);
    if (expected == NULL) {
        cr_assert_eq(s, NATS_NOT_FOUND, "%s is there", name);
        return;
    }
    cr_assert_eq(s, NATS_OK, "%s is missing", name);
    cr_assert_str_eq(value, expected);
}

static natsMsg *first_message(void)
{
    natsConnection *connection = NULL;
    jsCtx *js = NULL;
    natsMsg *msg = NULL;
    jsDirectGetMsgOptions get;
    js_side_open(&server, &connection, &js);
    (void)jsDirectGetMsgOptions_Init(&get);
    get.Sequence = 1;
    cr_assert_eq(js_DirectGetMsg(&msg, js, QUIPU_STREAM_DEFAULT, NULL, &get), NATS_OK);
    js_side_close(&connection, &js);
    return msg;
}

Test(flush, sends_the_headers_that_the_specification_names)
{
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"Schl\\u00fcssel 1: a\","
                            "\"event_type\":\"key.generated\",\"payload\":{\"a\":1},"
                            "\"event_id\":\"018f0000-0000-7000-8000-000000000001\","
                            "\"correlation_id\":\"018f0000-0000-7000-8000-0000000000aa\","
                            "\"causation_id\":\"018f0000-0000-7000-8000-0000000000bb\","
                            "\"occurred_at\":\"2026-11-20T13:58:18.25Z\"}");
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);

    js_flush(&store, nats);

    natsMsg *msg = first_message();
    expect_header(msg, "Nats-Subject",
                  "cim.keys.key.key.generated.018f0000-0000-7000-8000-000000000001");
    expect_header(msg, "Nats-Msg-Id", "018f0000-0000-7000-8000-000000000001");
    expect_header(msg, "Nats-Expected-Last-Subject-Sequence", "0");
    expect_header(msg, "X-Event-ID", "018f0000-0000-7000-8000-000000000001");
    expect_header(msg, "X-Correlation-ID", "018f0000-0000-7000-8000-0000000000aa");
    expect_header(msg, "X-Causation-ID", "018f0000-0000-7000-8000-0000000000bb");
    expect_header(msg, "X-Event-Type", "key.generated");
    expect_header(msg, "X-Aggregate-ID", "Schl\xc3\xbcssel 1: a");
    expect_header(msg, "X-Timestamp", "2026-11-20T13:58:18.250000Z");
    struct quipu_cid cid =
        quipu_cid_of(QUIPU_CODEC_DAG_CBOR,
                     quipu_slice(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)));
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&cid, text);
    expect_header(msg, "X-Event-CID", text);
    cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\xa1\x61\x61\x01", 4));
    quipu_cid_format(&cid, text);
    expect_header(msg, "X-Payload-CID", text);
    natsMsg_Destroy(msg);
    quipu_nats_close(&nats);
}

Test(flush, leaves_out_the_causation_header_where_nothing_caused_the_event)
{
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":"
                            "\"key.generated\",\"payload\":1}");
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);

    js_flush(&store, nats);

    natsMsg *msg = first_message();
    expect_header(msg, "X-Causation-ID", NULL);
    natsMsg_Destroy(msg);
    quipu_nats_close(&nats);
}

/* ------------------------------------------------------------------ dead letters */

#define SAME_ID "\"event_id\":\"018f0000-0000-7000-8000-0000000000cc\","

static void put_another_event_under_the_same_id(struct quipu_nats *nats)
{
    struct js_store other;
    js_store_open(&other);
    js_store_append(&other, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"x\"," SAME_ID
                            "\"event_type\":\"key.generated\",\"payload\":\"theirs\"}");
    js_flush(&other, nats);
    js_store_release(&other);
}

static void check_conflict(int64_t duplicate_window_us, useconds_t wait_us)
{
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, duplicate_window_us);
    put_another_event_under_the_same_id(nats);
    usleep(wait_us);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"x\"," SAME_ID
                            "\"event_type\":\"key.generated\",\"payload\":\"ours\"}");
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"y\",\"event_type\":"
                            "\"key.generated\",\"payload\":1}");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.dead, 1);
    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.pending, 0);
    struct js_letters letters = js_letters_of(&store);
    cr_assert_eq(letters.count, 1);
    cr_assert_eq(letters.positions[0], 1);
    cr_assert_eq(letters.reasons[0], QUIPU_EVENT_ID_CONFLICT);
    const char *first = strstr(letters.lines[0], "bafy");
    cr_assert_not_null(first);
    const char *second = strstr(first + 1, "bafy");
    cr_assert_not_null(second, "the line names one CID only: %s", letters.lines[0]);
    cr_assert_neq(strncmp(first, second, 59), 0);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 2);
    quipu_nats_close(&nats);
}

Test(flush, buries_an_event_whose_id_another_event_has_in_the_stream)
{
    check_conflict(0, 0);
}

Test(flush, buries_it_beyond_the_duplicate_window_too)
{
    check_conflict(100000, 300000);
}

Test(flush, holds_back_what_follows_a_dead_letter_in_its_aggregate_only)
{
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    put_another_event_under_the_same_id(nats);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"x\"," SAME_ID
                            "\"event_type\":\"key.generated\",\"payload\":\"ours\"}");
    js_flush(&store, nats);
    uint64_t behind =
        js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"x\",\"event_type\":"
                                "\"key.used\",\"payload\":2}");
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"y\",\"event_type\":"
                            "\"key.generated\",\"payload\":1}");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.dead, 1);
    struct js_letters letters = js_letters_of(&store);
    cr_assert_eq(letters.count, 2);
    cr_assert_eq(letters.positions[1], behind);
    cr_assert_eq(letters.reasons[1], QUIPU_GAP);

    /* A person drops the first one for good: the second may go. */
    struct quipu_error err;
    cr_assert_eq(quipu_dead_letter_drop(store.engine, 1, &err), QUIPU_OK);
    cr_assert_eq(quipu_dead_letter_retry(store.engine, behind, &err), QUIPU_OK);
    cr_assert_eq(js_flush(&store, nats).published, 1);
    quipu_nats_close(&nats);
}

/* Flip a bit wherever `mark` stands, as a worn disk does; pages that are free now may hold it too.
 */
static void damage(const char *path, const char *mark)
{
    char data[3 * TEMP_DIR_BYTES];
    static char bytes[8 << 20];
    (void)snprintf(data, sizeof data, "%s/data.mdb", path);
    FILE *file = fopen(data, "r+");
    cr_assert_not_null(file, "%s", data);
    size_t len = fread(bytes, 1, sizeof bytes, file);
    char *found = memmem(bytes, len, mark, strlen(mark));
    cr_assert_not_null(found);
    while (found != NULL) {
        cr_assert_eq(fseek(file, found - bytes, SEEK_SET), 0);
        cr_assert_eq(fputc(mark[0] ^ 1, file), mark[0] ^ 1);
        size_t from = (size_t)(found - bytes) + 1;
        found = memmem(bytes + from, len - from, mark, strlen(mark));
    }
    cr_assert_eq(fclose(file), 0);
}

Test(flush, never_publishes_a_damaged_event_and_names_it)
{
    js_store_fill(&store, 30, 20, JS_PAYLOADS_UNIQUE);
    uint64_t position =
        js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"d\",\"event_type\":"
                                "\"key.used\",\"payload\":\"damaged-by-a-worn-disk\"}");
    js_store_fill(&store, 5, 20, JS_PAYLOADS_UNIQUE);
    js_store_close(&store);
    damage(store.path, "damaged-by-a-worn-disk");
    js_store_reopen(&store);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    struct quipu_error err;
    struct quipu_flush_report report;

    cr_assert_eq(quipu_flush(store.engine, nats, NULL, &report, &err), QUIPU_CORRUPT);

    char number[32];
    (void)snprintf(number, sizeof number, "%d", (int)position);
    cr_assert_not_null(strstr(err.message, number), "%s", err.message);
    cr_assert_eq(report.published, 30, "what is before it is published and recorded");
    cr_assert_eq(js_store_outbox(&store).published, 30);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), 30);
    quipu_nats_close(&nats);
}

static void note(void *ctx, uint64_t done, uint64_t total)
{
    uint64_t *into = ctx;
    into[0] = done;
    into[1] = total;
}

Test(flush, tells_progress_up_to_the_end)
{
    js_store_fill(&store, 100, 50, JS_PAYLOADS_UNIQUE);
    struct quipu_nats *nats = js_connect(&server);
    js_provision(nats, 0);
    uint64_t last[2] = {0, 0};
    struct quipu_error err;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.progress = note;
    options.ctx = last;

    cr_assert_eq(quipu_flush(store.engine, nats, &options, NULL, &err), QUIPU_OK);

    cr_assert_eq(last[0], 100);
    cr_assert_eq(last[1], 100);
    quipu_nats_close(&nats);
}
