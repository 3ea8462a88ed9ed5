/*
 * The payload store against a real server: chains of chunks, crashes between them, others at the
 * same work, tombstones, objects that somebody put anew.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "connection.h"
#include "js_kit.h"
#include "payload_store.h"
#include "publish.h"

#define BYTES     100000
#define CHUNK_MAX 30000 /* four chunks */
#define BUCKET    "OBJ_" QUIPU_BUCKET_DEFAULT

static struct nats_fixture server;
static struct quipu_nats *nats;
static uint8_t bytes[BYTES];
static struct quipu_slice payload;
static struct quipu_cid cid;
static struct payload_names names;

static void start(void)
{
    nats_fixture_start(&server, NULL);
    nats = js_connect(&server);
    js_provision(nats, 0);
    bytes[0] = 0x5a; /* a byte string of BYTES - 5 bytes */
    bytes[1] = 0;
    bytes[2] = 1;
    bytes[3] = 0x86;
    bytes[4] = 0x9b;
    for (size_t i = 5; i < BYTES; i++) {
        bytes[i] = (uint8_t)(i * 131 >> 3);
    }
    payload = quipu_slice(bytes, BYTES);
    cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, payload);
    cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &names, NULL), QUIPU_OK);
}

static void stop(void)
{
    quipu_nats_close(&nats);
    nats_fixture_stop(&server);
}

TestSuite(payload_store, .init = start, .fini = stop, .timeout = 60);

static enum payload_put put(void)
{
    struct quipu_error err;
    enum payload_put outcome = PAYLOAD_PUT_EXISTED;
    cr_assert_eq(quipu_payload_put(nats, &cid, payload, CHUNK_MAX, &outcome, &err), QUIPU_OK, "%s",
                 err.message);
    return outcome;
}

static void expect_readable(void)
{
    struct quipu_error err;
    struct quipu_buf out = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_payload_get(nats, &cid, &out, &err), QUIPU_OK, "%s", err.message);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), payload));
    quipu_buf_release(&out);
}

static uint64_t publish(const char *subject, struct quipu_slice body, bool is_rollup)
{
    natsMsg *msg = NULL;
    jsPubAck *ack = NULL;
    cr_assert_eq(natsMsg_Create(&msg, subject, NULL, (const char *)body.data, (int)body.len),
                 NATS_OK);
    if (is_rollup) {
        (void)natsMsgHeader_Set(msg, "Nats-Rollup", "sub");
    }
    cr_assert_eq(js_PublishMsg(&ack, nats->js, msg, NULL, NULL), NATS_OK);
    uint64_t sequence = ack->Sequence;
    jsPubAck_Destroy(ack);
    natsMsg_Destroy(msg);
    return sequence;
}

Test(payload_store, puts_a_chain_and_reads_it_back)
{
    cr_assert_eq(put(), PAYLOAD_PUT_STORED);
    cr_assert_eq(js_stream_messages(&server, BUCKET), 5, "four chunks and one meta");
    expect_readable();
}

Test(payload_store, puts_nothing_where_it_is_already)
{
    put();
    cr_assert_eq(put(), PAYLOAD_PUT_EXISTED);
    cr_assert_eq(js_stream_messages(&server, BUCKET), 5);
}

Test(payload_store, goes_on_where_a_crash_has_left_it)
{
    for (size_t chunks = 1; chunks <= 4; chunks++) {
        size_t from = 0;
        /* Each round a payload of its own. */
        bytes[BYTES - 1] = (uint8_t)chunks;
        cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, payload);
        cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &names, NULL), QUIPU_OK);
        uint64_t before = js_stream_messages(&server, BUCKET);
        for (size_t i = 0; i < chunks; i++) {
            size_t len = BYTES - from < CHUNK_MAX ? BYTES - from : CHUNK_MAX;
            publish(names.chain_subject, quipu_slice(bytes + from, len), false);
            from += len;
        }

        cr_assert_eq(put(), PAYLOAD_PUT_STORED);

        cr_assert_eq(js_stream_messages(&server, BUCKET) - before, 5, "after %zu chunks", chunks);
        expect_readable();
    }
}

Test(payload_store, goes_on_behind_chunks_of_another_length)
{
    publish(names.chain_subject, quipu_slice(bytes, 777), false);

    cr_assert_eq(put(), PAYLOAD_PUT_STORED);

    expect_readable();
}

Test(payload_store, does_not_build_on_chunks_of_something_else)
{
    struct quipu_error err;
    enum payload_put outcome;
    publish(names.chain_subject, quipu_slice_text("not this payload"), false);

    cr_assert_eq(quipu_payload_put(nats, &cid, payload, CHUNK_MAX, &outcome, &err), QUIPU_CORRUPT);

    cr_assert_not_null(strstr(err.message, names.chain_subject));
}

struct writer {
    size_t chunk_max;
    enum payload_put outcome;
    enum quipu_status status;
};

static void *write_concurrently(void *arg)
{
    struct writer *writer = arg;
    struct quipu_nats *own = js_connect(&server);
    writer->status =
        quipu_payload_put(own, &cid, payload, writer->chunk_max, &writer->outcome, NULL);
    quipu_nats_close(&own);
    return NULL;
}

Test(payload_store, makes_one_object_of_what_four_write_at_once)
{
    struct writer writers[4] = {
        {.chunk_max = 1000}, {.chunk_max = 1700}, {.chunk_max = 900}, {.chunk_max = 5000}};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, write_concurrently, &writers[i]), 0);
    }
    int stored = 0;
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(writers[i].status, QUIPU_OK, "%s", quipu_status_name(writers[i].status));
        stored += writers[i].outcome == PAYLOAD_PUT_STORED;
    }
    cr_assert_eq(stored, 1);
    expect_readable();
}

/* As an official client deletes: chunks purged, a tombstone in the meta. */
static void put_tombstone(void)
{
    char meta[512];
    (void)snprintf(meta, sizeof meta,
                   "{\"name\":\"%s\",\"bucket\":\"%s\",\"nuid\":\"%s\",\"size\":0,\"mtime\":"
                   "\"0001-01-01T00:00:00Z\",\"chunks\":0,\"digest\":\"\",\"deleted\":true}",
                   names.cid, QUIPU_BUCKET_DEFAULT, names.cid);
    publish(names.meta_subject, quipu_slice_text(meta), true);
}

Test(payload_store, leaves_erased_what_has_been_erased)
{
    put_tombstone();

    cr_assert_eq(put(), PAYLOAD_PUT_ERASED);

    cr_assert_eq(js_stream_messages(&server, BUCKET), 1);
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_error err;
    cr_assert_eq(quipu_payload_get(nats, &cid, &out, &err), QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "erased"));
}

Test(payload_store, a_flush_does_not_bring_an_erased_payload_back)
{
    struct js_store store;
    js_store_open(&store);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":"
                            "\"key.generated\",\"payload\":{\"name\":\"Ada\"}}");
    cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\xa1\x64name\x63"
                                                         "Ada",
                                                         10));
    cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &names, NULL), QUIPU_OK);
    put_tombstone();

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.payloads_stored, 0);
    cr_assert_eq(js_stream_messages(&server, BUCKET), 1, "the chunk is still there");
    js_store_release(&store);
}

Test(payload_store, reads_an_object_that_an_official_client_put_anew)
{
    char meta[512];
    publish("$O." QUIPU_BUCKET_DEFAULT ".C.OfficialNuid1", quipu_slice(bytes, 60000), false);
    publish("$O." QUIPU_BUCKET_DEFAULT ".C.OfficialNuid1", quipu_slice(bytes + 60000, 40000),
            false);
    (void)snprintf(meta, sizeof meta,
                   "{\"name\":\"%s\",\"options\":{\"max_chunk_size\":60000},\"bucket\":\"%s\","
                   "\"nuid\":\"OfficialNuid1\",\"size\":%d,\"mtime\":\"2026-01-01T00:00:00Z\","
                   "\"chunks\":2,\"digest\":\"SHA-256=unimportant\"}",
                   names.cid, QUIPU_BUCKET_DEFAULT, BYTES);
    publish(names.meta_subject, quipu_slice_text(meta), true);

    expect_readable();
    cr_assert_eq(put(), PAYLOAD_PUT_EXISTED);
}

Test(payload_store, refuses_what_does_not_hash_to_its_cid)
{
    struct quipu_error err;
    struct quipu_buf out = QUIPU_BUF_INIT;
    put();
    cid.digest[0] ^= 1;
    struct payload_names other;
    cr_assert_eq(quipu_payload_names(QUIPU_BUCKET_DEFAULT, &cid, &other, NULL), QUIPU_OK);
    char meta[512];
    (void)snprintf(meta, sizeof meta,
                   "{\"name\":\"%s\",\"bucket\":\"b\",\"nuid\":\"%s\",\"size\":%d,\"chunks\":4}",
                   other.cid, names.chain_nuid, BYTES);
    publish(other.meta_subject, quipu_slice_text(meta), true);

    cr_assert_eq(quipu_payload_get(nats, &cid, &out, &err), QUIPU_CORRUPT);
    cr_assert_eq(out.len, 0);
    quipu_buf_release(&out);
}

Test(payload_store, bounds_what_a_meta_claims)
{
    static const char *const claims[] = {
        "{\"nuid\":\"x\",\"size\":99999999999,\"chunks\":1}",
        "{\"nuid\":\"x\",\"size\":1,\"chunks\":99999999999}",
        "{\"nuid\":\"a.b\",\"size\":1,\"chunks\":1}",
        "{\"nuid\":\"x\",\"size\":1}",
        "no json",
    };
    static const enum quipu_status expected[] = {QUIPU_TOO_LARGE, QUIPU_TOO_LARGE, QUIPU_CORRUPT,
                                                 QUIPU_CORRUPT, QUIPU_CORRUPT};
    for (size_t i = 0; i < 5; i++) {
        struct quipu_error err;
        struct quipu_buf out = QUIPU_BUF_INIT;
        publish(names.meta_subject, quipu_slice_text(claims[i]), true);
        cr_assert_eq(quipu_payload_get(nats, &cid, &out, &err), expected[i], "%s", claims[i]);
        quipu_buf_release(&out);
    }
}

/* ------------------------------------------------------------------ through a flush */

static void fill_line(struct quipu_buf *line, const char *id, size_t length)
{
    quipu_buf_reset(line);
    quipu_buf_printf(line,
                     "{\"aggregate_type\":\"key\",\"aggregate_id\":\"%s\",\"event_type\":\"key."
                     "used\",\"payload\":\"",
                     id);
    for (size_t i = 0; i < length; i++) {
        quipu_buf_append_byte(line, (uint8_t)('a' + i % 23));
    }
    quipu_buf_append_text(line, "\"}");
    quipu_buf_append_byte(line, 0);
}

Test(payload_store, a_flush_splits_what_is_above_the_servers_max_payload)
{
    struct js_store store;
    struct js_store other;
    struct quipu_buf line = QUIPU_BUF_INIT;
    nats_fixture_reconfigure(&server, "max_payload: 64KB");
    js_store_open(&store);
    js_store_open(&other);
    /* Around the limit, far above it, and small ones between. */
    static const size_t lengths[] = {100,    65536 - 256 - 5, 65536 - 256 - 4, 65536,
                                     300000, 50000,           3000000,         10};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "a%zu", i % 3);
        fill_line(&line, id, lengths[i]);
        js_store_append(&store, (const char *)line.data);
    }
    quipu_buf_release(&line);

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 8);
    cr_assert_eq(report.payloads_stored, 8);
    cr_assert_eq(report.dead, 0);
    struct quipu_error err;
    struct quipu_pull_report pulled;
    cr_assert_eq(quipu_pull(other.engine, nats, NULL, &pulled, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(pulled.events.added, 8);
    cr_assert_eq(js_flush(&store, nats).published, 0);
    js_store_release(&store);
    js_store_release(&other);
}

Test(payload_store, an_envelope_that_no_message_can_hold_becomes_a_dead_letter)
{
    struct js_store store;
    struct quipu_buf line = QUIPU_BUF_INIT;
    nats_fixture_reconfigure(&server, "max_payload: 8KB");
    js_store_open(&store);
    quipu_buf_append_text(&line,
                          "{\"aggregate_type\":\"key\",\"aggregate_id\":\"big\",\"event_type\""
                          ":\"key.used\",\"payload\":1,\"meta\":{\"note\":\"");
    for (size_t i = 0; i < 9000; i++) {
        quipu_buf_append_byte(&line, 'x');
    }
    quipu_buf_append_text(&line, "\"}}");
    quipu_buf_append_byte(&line, 0);
    js_store_append(&store, (const char *)line.data);
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"big\",\"event_type\":"
                            "\"key.used\",\"payload\":2}");
    js_store_append(&store, "{\"aggregate_type\":\"key\",\"aggregate_id\":\"small\",\"event_type\":"
                            "\"key.used\",\"payload\":2}");

    struct quipu_flush_report report = js_flush(&store, nats);

    cr_assert_eq(report.published, 1);
    cr_assert_eq(report.dead, 2, "the large one, and the one that follows it");

    /* With a larger limit, both go out when they are retried. */
    struct quipu_error err;
    nats_fixture_reconfigure(&server, NULL);
    cr_assert_eq(quipu_dead_letter_retry(store.engine, 1, &err), QUIPU_OK);
    cr_assert_eq(quipu_dead_letter_retry(store.engine, 2, &err), QUIPU_OK);
    cr_assert_eq(js_flush(&store, nats).published, 2);
    js_expect_all_published(&server, &store);
    quipu_buf_release(&line);
    js_store_release(&store);
}
