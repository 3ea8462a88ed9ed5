/*
 * Messages with headers that somebody made up. A direct get gives them back in front of what the
 * server says: whatever they are, a message is a message, and its sequence, subject and time are
 * the server's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <string.h>

#include "event_message.h"
#include "js_kit.h"
#include "payload_store.h"
#include "quipu/flush.h"
#include "raw_message.h"

#define TEMPLATE_MADE QUIPU_SUBJECT_PREFIX_DEFAULT ".{aggregate_type}.{event_type}.{event_id}"
#define BUCKET_STREAM "OBJ_" QUIPU_BUCKET_DEFAULT
#define YEAR_2020_US  ((int64_t)1577836800 * 1000000)

/* What a server could say in earnest, in the first line and below it; values of the server's own;
 * and blocks that no parser can read. */
static const char *const lies[] = {
    "NATS/1.0\r\nStatus: 404\r\n\r\n",
    "NATS/1.0\r\nStatus: 503\r\nDescription: No Responders\r\n\r\n",
    "NATS/1.0 404 Message Not Found\r\n\r\n",
    "NATS/1.0 503\r\n\r\n",
    "NATS/1.0\r\nNats-Sequence: 9000000000\r\nNats-Time-Stamp: 1999-01-01T00:00:00Z\r\n\r\n",
    "NATS/1.0\r\nNats-Stream: ELSE\r\nNats-Subject: other.subject\r\nStatus: 408\r\n\r\n",
    "NATS/1.0\r\nStatus: 404 zz",
    "NATS/1.0\r\nStatus: 404\r\nnothing behind iz",
    "NATS/1.0\r\nStatus: 404\r\n\r\n\r\n",
    "XXXX",
};
#define LIES (sizeof lies / sizeof lies[0])

static struct nats_fixture server;
static struct js_store store;
static struct quipu_nats *nats;
static natsConnection *side;
static jsCtx *js;

static void start(void)
{
    js_start(&server, &store, NULL);
    struct quipu_error err;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.url = server.url;
    options.request_timeout_us = 2000000; /* what the library swallows is asked for again then */
    cr_assert_eq(quipu_nats_open(&options, &nats, &err), QUIPU_OK);
    js_provision(nats, 0);
    js_side_open(&server, &side, &js);
}

static void stop(void)
{
    js_side_close(&side, &js);
    js_stop(&server, &store, &nats);
}

TestSuite(stored, .init = start, .fini = stop, .timeout = 100);

struct looked {
    struct event_texts texts;
    struct payload_names names;
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

static struct quipu_slice envelope_of(const struct looked *looked)
{
    return quipu_slice(looked->envelope, looked->envelope_len);
}

static struct quipu_flush_report flush(enum quipu_dedup dedup)
{
    struct quipu_error err;
    struct quipu_flush_report report;
    struct quipu_flush_options options = QUIPU_FLUSH_OPTIONS_INIT;
    options.dedup = dedup;
    enum quipu_status status = quipu_flush(store.engine, nats, &options, &report, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", status == QUIPU_OK ? "" : err.message);
    return report;
}

/* One event for each lie, each of an aggregate of its own, and one more. */
static void fill(void)
{
    for (size_t i = 0; i <= LIES; i++) {
        char line[300];
        (void)snprintf(line, sizeof line,
                       "{\"aggregate_type\":\"key\",\"aggregate_id\":\"a%zu\",\"event_type\":"
                       "\"key.used\",\"payload\":\"number %zu\"}",
                       i, i);
        cr_assert_eq(js_store_append(&store, line), i + 1);
    }
}

static void expect_receipts(void)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(store.store, &txn, &err), QUIPU_OK);
    for (uint64_t position = 1; position <= LIES; position++) {
        struct quipu_receipt receipt;
        cr_assert_eq(quipu_receipt_at(txn, position, &receipt, &err), QUIPU_OK);
        cr_assert_eq(receipt.sequence, position, "%" PRIu64 ": %" PRIu64, position,
                     receipt.sequence);
        cr_assert_gt(receipt.stored_unix_us, YEAR_2020_US);
    }
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ events */

static size_t letters_with_sequence;

static enum quipu_status note_letter(void *ctx, const struct quipu_dead_letter *letter,
                                     struct quipu_error *err)
{
    (void)err;
    char sequence[40];
    size_t *count = ctx;
    ++*count;
    cr_assert_eq(letter->reason, QUIPU_EVENT_ID_CONFLICT);
    (void)snprintf(sequence, sizeof sequence, "at sequence %" PRIu64 ",", letter->position);
    char line[QUIPU_ERROR_MESSAGE_BYTES];
    (void)snprintf(line, sizeof line, "%.*s", QUIPU_SLICE_FMT(letter->line));
    letters_with_sequence += strstr(line, sequence) != NULL;
    return QUIPU_OK;
}

static void expect_conflicts(enum quipu_dedup dedup, struct quipu_slice body)
{
    struct quipu_error err;
    size_t letters = 0;
    fill();
    for (size_t i = 0; i < LIES; i++) {
        struct looked event;
        look(i + 1, &event);
        raw_message_publish(&server, event.texts.subject, quipu_slice_text(lies[i]), body);
    }

    struct quipu_flush_report report = flush(dedup);

    cr_assert_eq(report.dead, LIES);
    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.pending, 0);
    letters_with_sequence = 0;
    cr_assert_eq(quipu_each_dead_letter(store.engine, note_letter, &letters, &err), QUIPU_OK);
    cr_assert_eq(letters, LIES);
    cr_assert_eq(letters_with_sequence, LIES);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), LIES + 1);
}

Test(stored, a_foreign_message_is_a_conflict_whatever_its_headers_say)
{
    expect_conflicts(QUIPU_DEDUP_SUBJECT, quipu_slice_text("not ours"));
}

Test(stored, also_where_the_stream_is_asked_first)
{
    expect_conflicts(QUIPU_DEDUP_WINDOW, quipu_slice_text("not ours"));
}

Test(stored, also_without_a_body)
{
    expect_conflicts(QUIPU_DEDUP_SUBJECT, quipu_slice_text(""));
}

Test(stored, also_without_a_body_where_the_stream_is_asked_first)
{
    expect_conflicts(QUIPU_DEDUP_WINDOW, quipu_slice_text(""));
}

static void expect_known(enum quipu_dedup dedup)
{
    struct quipu_error err;
    struct quipu_reconcile_report differences;
    fill();
    for (size_t i = 0; i < LIES; i++) {
        struct looked event;
        look(i + 1, &event);
        raw_message_publish(&server, event.texts.subject, quipu_slice_text(lies[i]),
                            envelope_of(&event));
    }

    struct quipu_flush_report report = flush(dedup);

    cr_assert_eq(report.duplicates, LIES);
    cr_assert_eq(report.published, 1);
    cr_assert_eq(js_stream_messages(&server, QUIPU_STREAM_DEFAULT), LIES + 1);
    expect_receipts();
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"later\","
                            "\"event_type\":\"key.used\",\"payload\":1}");
    cr_assert_eq(flush(dedup).published, 1);
    cr_assert_eq(quipu_reconcile(store.engine, nats, NULL, &differences, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(differences.same, LIES + 2);
    cr_assert_eq(differences.messages, LIES + 2);
}

Test(stored, an_event_of_ours_is_known_and_its_receipt_is_the_servers_word)
{
    expect_known(QUIPU_DEDUP_SUBJECT);
}

Test(stored, and_is_not_stored_twice_where_the_stream_is_asked_first)
{
    expect_known(QUIPU_DEDUP_WINDOW);
}

/* ------------------------------------------------------------------ payloads */

static void expect_payloads(enum quipu_dedup dedup)
{
    fill();
    for (size_t i = 0; i < LIES; i++) {
        struct looked event;
        look(i + 1, &event);
        raw_message_publish(&server, event.names.chunk_subject, quipu_slice_text(lies[i]),
                            quipu_slice(event.payload, event.payload_len));
    }
    cr_assert_eq(flush(dedup).published, LIES + 1);

    struct js_store other;
    js_store_open(&other);
    js_store_append(&other, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"o\","
                            "\"event_type\":\"key.used\",\"payload\":1}");
    struct quipu_pull_report pulled = js_pull(&other, nats);
    cr_assert_eq(pulled.events.added, LIES + 1,
                 "%" PRIu64 " added, %" PRIu64 " in quarantine, up to %" PRIu64,
                 pulled.events.added, pulled.events.quarantined, pulled.last_sequence);
    js_store_release(&other);
}

Test(stored, a_payload_is_there_whatever_its_chunks_headers_say)
{
    expect_payloads(QUIPU_DEDUP_SUBJECT);
}

Test(stored, a_payload_is_there_where_its_meta_is_asked_for_first)
{
    expect_payloads(QUIPU_DEDUP_WINDOW);
}

Test(stored, an_empty_chunk_is_not_the_payload_whatever_its_headers_say)
{
    fill();
    for (size_t i = 0; i < LIES; i++) {
        struct looked event;
        look(i + 1, &event);
        raw_message_publish(&server, event.names.chunk_subject, quipu_slice_text(lies[i]),
                            quipu_slice_text(""));
    }

    struct quipu_flush_report report = flush(QUIPU_DEDUP_SUBJECT);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.dead, LIES);
}

/* A chain of chunks under another nuid, each with its lie, described by a meta with one too. */
Test(stored, an_object_of_several_chunks_is_read_whatever_their_headers_say)
{
    struct quipu_error err;
    struct payload_names names;
    uint8_t payload[LIES];
    for (size_t i = 0; i < LIES; i++) {
        payload[i] = (uint8_t)i;
    }
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(payload, sizeof payload));
    struct payload_object object = {names.chain_nuid, sizeof payload, LIES};
    cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &names, &err), QUIPU_OK);

    for (size_t lie = 0; lie < LIES; lie++) {
        struct quipu_buf meta = QUIPU_BUF_INIT;
        struct quipu_buf read = QUIPU_BUF_INIT;
        cr_assert_eq(js_PurgeStream(js, BUCKET_STREAM, NULL, NULL), NATS_OK);
        for (size_t i = 0; i < LIES; i++) {
            raw_message_publish(&server, names.chain_subject, quipu_slice_text(lies[i]),
                                quipu_slice(payload + i, 1));
        }
        cr_assert_eq(quipu_payload_meta(QUIPU_BUCKET_DEFAULT, &names, &cid, &object, &meta, &err),
                     QUIPU_OK);
        raw_message_publish(&server, names.meta_subject, quipu_slice_text(lies[lie]),
                            quipu_buf_slice(&meta));

        enum quipu_status status = quipu_payload_get(nats, &cid, &read, &err);

        cr_assert_eq(status, QUIPU_OK, "%zu: %s", lie, status == QUIPU_OK ? "" : err.message);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&read), quipu_slice(payload, sizeof payload)));
        quipu_buf_release(&read);
        quipu_buf_release(&meta);
    }
}

/* ------------------------------------------------------------------ reconciling */

static struct quipu_reconcile_report reconcile(enum quipu_status expected)
{
    struct quipu_error err;
    struct quipu_reconcile_report report;
    enum quipu_status status = quipu_reconcile(store.engine, nats, NULL, &report, &err);
    cr_assert_eq(status, expected, "%s: %s", quipu_status_name(status),
                 status == QUIPU_OK ? "" : err.message);
    return report;
}

Test(stored, every_message_is_seen_whatever_its_headers_say)
{
    fill();
    cr_assert_eq(flush(QUIPU_DEDUP_SUBJECT).published, LIES + 1);
    for (size_t i = 0; i < LIES; i++) {
        raw_message_publish(&server, "cim.keys.somewhere", quipu_slice_text(lies[i]),
                            i % 2 == 0 ? quipu_slice_text("") : quipu_slice_text("forged"));
        /* As JSON it has escapes. */
        raw_message_publish(&server, "cim.keys.some\"where\\<else>", quipu_slice_text(lies[i]),
                            i % 2 == 1 ? quipu_slice_text("") : quipu_slice_text("forged"));
    }

    struct quipu_reconcile_report report = reconcile(QUIPU_OK);

    cr_assert_eq(report.same, LIES + 1);
    cr_assert_eq(report.extra, 2 * LIES);
}

/* Behind a gap of more than a batch the next message is asked for. */
Test(stored, and_so_is_one_behind_a_gap)
{
    for (int i = 0; i < 600; i++) {
        cr_assert_eq(natsConnection_PublishString(side, "cim.keys.gap", "x"), NATS_OK);
    }
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    jsOptions options;
    (void)jsOptions_Init(&options);
    options.Stream.Purge.Subject = "cim.keys.gap";
    raw_message_publish(&server, "cim.keys.first", quipu_slice_text("NATS/1.0\r\n\r\n"),
                        quipu_slice_text(""));
    for (int i = 0; i < 600; i++) {
        cr_assert_eq(natsConnection_PublishString(side, "cim.keys.gap", "x"), NATS_OK);
    }
    cr_assert_eq(natsConnection_Flush(side), NATS_OK);
    for (size_t i = 0; i < LIES; i++) {
        raw_message_publish(&server, "cim.keys.somewhere", quipu_slice_text(lies[i]),
                            quipu_slice_text(""));
    }
    cr_assert_eq(js_PurgeStream(js, QUIPU_STREAM_DEFAULT, &options, NULL), NATS_OK);

    cr_assert_eq(reconcile(QUIPU_OK).extra, LIES + 1);
}

/* An event whose message is gone, and its bytes elsewhere, under a subject that ends with its
 * event_id or with a header that names the right one. */
static void expect_missing(const char *subject, const char *header_format)
{
    struct looked event;
    char headers[1024];
    fill();
    cr_assert_eq(flush(QUIPU_DEDUP_SUBJECT).published, LIES + 1);
    cr_assert_eq(js_DeleteMsg(js, QUIPU_STREAM_DEFAULT, 1, NULL, NULL), NATS_OK);
    look(1, &event);
    char full[1024];
    (void)snprintf(full, sizeof full, "%s%s", subject,
                   subject[strlen(subject) - 1] == '.' ? event.texts.event_id : "");
    (void)snprintf(headers, sizeof headers, "NATS/1.0\r\n%s%s\r\n\r\n", header_format,
                   event.texts.subject);
    raw_message_publish(&server, full, quipu_slice_text(headers), envelope_of(&event));

    struct quipu_reconcile_report report = reconcile(QUIPU_DRIFT);

    cr_assert_eq(report.missing, 1);
    cr_assert_eq(report.same, LIES);
    cr_assert_eq(report.extra, 1);
}

Test(stored, an_event_is_missing_where_its_bytes_lie_elsewhere_and_a_header_says_otherwise)
{
    expect_missing("cim.keys.nowhere", "Nats-Subject: ");
}

Test(stored, and_where_only_the_end_of_the_subject_is_its_own)
{
    expect_missing("cim.keys.else.where.", "X-Subject: ");
}

/* ------------------------------------------------------------------ pulling */

Test(stored, a_pull_takes_what_is_behind_a_message_that_the_library_swallows)
{
    struct js_store other;
    js_store_open(&other);
    for (size_t i = 0; i < LIES; i++) {
        raw_message_publish(&server, "cim.keys.somewhere", quipu_slice_text(lies[i]),
                            quipu_slice_text(""));
    }
    fill();
    cr_assert_eq(flush(QUIPU_DEDUP_SUBJECT).published, LIES + 1);
    raw_message_publish(&server, "cim.keys.somewhere", quipu_slice_text(lies[3]),
                        quipu_slice_text(""));

    struct quipu_pull_report report = js_pull(&other, nats);

    cr_assert_eq(report.events.added, LIES + 1);
    cr_assert_eq(report.last_sequence, 2 * LIES + 2);
    cr_assert_eq(js_pull(&other, nats).events.added, 0);
    js_store_release(&other);
}

Test(stored, a_pull_takes_an_event_in_though_another_ones_payload_is_swallowed)
{
    struct js_store other;
    struct looked event;
    js_store_open(&other);
    fill();
    cr_assert_eq(flush(QUIPU_DEDUP_SUBJECT).published, LIES + 1);
    for (size_t i = 0; i < LIES; i++) {
        look(i + 1, &event);
        raw_message_publish(&server, event.names.chunk_subject, quipu_slice_text(lies[i]),
                            quipu_slice_text(""));
    }

    struct quipu_pull_report report = js_pull(&other, nats);

    cr_assert_eq(report.events.added, 1);
    cr_assert_eq(report.events.quarantined, LIES);
    js_store_release(&other);
}
