/*
 * Answers of the query API: each query, its limits and failures, and pages without gaps or doubles
 * while a writer appends and a projection is rebuilt.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counting_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/query.h"

static struct kit kit;
static struct quipu_buf reply;
static struct quipu_buf text;

static void setup(void)
{
    kit_open(&kit);
    reply = (struct quipu_buf)QUIPU_BUF_INIT;
    text = (struct quipu_buf)QUIPU_BUF_INIT;
}

static void teardown(void)
{
    quipu_buf_release(&reply);
    quipu_buf_release(&text);
    kit_close(&kit);
}

TestSuite(query, .init = setup, .fini = teardown);

static enum quipu_status ask_within(const char *json, size_t reply_bytes_max)
{
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    options.reply_bytes_max = reply_bytes_max;
    quipu_buf_reset(&reply);
    return quipu_query_answer(kit.engine, kit_block(&kit, json), &options, &reply, &kit.err);
}

static enum quipu_status ask(const char *json)
{
    return ask_within(json, 0);
}

/* The last reply as DAG-JSON; it is strict DAG-CBOR. */
static const char *reply_json(void)
{
    quipu_buf_reset(&text);
    kit_assert_ok(&kit, quipu_dagjson_from_dagcbor(quipu_buf_slice(&reply), &text, &kit.err));
    quipu_buf_append_byte(&text, 0);
    return (const char *)text.data;
}

static struct quipu_slice member(struct quipu_slice map, const char *key)
{
    struct quipu_slice value = {NULL, 0};
    kit_assert_ok(&kit, quipu_dagcbor_map_get(map, key, &value, &kit.err));
    return value;
}

static uint64_t number(struct quipu_slice map, const char *key)
{
    struct quipu_dagcbor_reader reader;
    uint64_t value = 0;
    quipu_dagcbor_reader_init(&reader, member(map, key));
    kit_assert_ok(&kit, quipu_dagcbor_read_uint(&reader, &value, &kit.err));
    return value;
}

static bool has(const char *key)
{
    struct quipu_slice value;
    return quipu_dagcbor_map_get(quipu_buf_slice(&reply), key, &value, NULL) == QUIPU_OK;
}

/* ------------------------------------------------------------------ rows */

/* Row "row/<aggregate>" → the payload; row ff → bytes that are no DAG-CBOR. */
static enum quipu_status mirror(void *ctx, struct quipu_rows *rows,
                                const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    char key[300];
    int len = snprintf(key, sizeof key, "row/%.*s", QUIPU_SLICE_FMT(event->envelope.aggregate_id));
    enum quipu_status status =
        quipu_rows_put(rows, quipu_slice(key, (size_t)len), event->payload, err);
    return status == QUIPU_OK
               ? quipu_rows_put(rows, quipu_slice("\xff", 1), quipu_slice("\xff\x00", 2), err)
               : status;
}

static const struct quipu_projection mirrored = {.name = "mirror", .version = 3, .apply = mirror};

static void replay(enum quipu_replay_mode mode)
{
    kit_assert_ok(&kit, quipu_replay(kit.engine, &mirrored, mode, NULL, &kit.err));
}

Test(query, gets_a_row_with_its_state)
{
    kit_append(&kit, "a", 7);
    replay(QUIPU_REPLAY_CATCH_UP);
    kit_append(&kit, "b", 8);

    kit_assert_ok(&kit, ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":\"row/a\"}"));

    cr_assert_str_eq(reply_json(), "{\"key\":\"row/a\",\"position\":1,\"projection\":\"mirror\","
                                   "\"query\":\"get\",\"v\":1,\"value\":{\"n\":7},\"version\":3}");
}

Test(query, shows_what_is_no_dag_cbor_as_bytes)
{
    kit_append(&kit, "a", 7);
    replay(QUIPU_REPLAY_CATCH_UP);

    kit_assert_ok(&kit, ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":"
                            "{\"/\":{\"bytes\":\"/w\"}}}"));
    cr_assert_str_eq(
        reply_json(),
        "{\"key\":{\"/\":{\"bytes\":\"/w\"}},\"position\":1,\"projection\":\"mirror\","
        "\"query\":\"get\",\"raw\":{\"/\":{\"bytes\":\"/wA\"}},\"v\":1,\"version\":3}");

    kit_assert_ok(&kit, ask("{\"query\":\"list\",\"projection\":\"mirror\"}"));
    cr_assert_str_eq(reply_json(),
                     "{\"position\":1,\"projection\":\"mirror\",\"query\":\"list\",\"rows\":["
                     "{\"key\":\"row/a\",\"value\":{\"n\":7}},{\"key\":{\"/\":{\"bytes\":\"/w\"}},"
                     "\"raw\":{\"/\":{\"bytes\":\"/wA\"}}}],\"v\":1,\"version\":3}");
}

Test(query, says_which_row_or_projection_is_not_there)
{
    kit_append(&kit, "a", 7);
    cr_assert_eq(ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":\"row/a\"}"),
                 QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(kit.err.message, "mirror has never been replayed"));
    cr_assert_eq(ask("{\"query\":\"list\",\"projection\":\"mirror\"}"), QUIPU_NOT_FOUND);
    replay(QUIPU_REPLAY_CATCH_UP);

    cr_assert_eq(ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":\"row/b\"}"),
                 QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "projection mirror has no row \"row/b\"");
    cr_assert_eq(reply.len, 0);
    cr_assert_eq(ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":"
                     "{\"/\":{\"bytes\":\"AA\"}}}"),
                 QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "projection mirror has no row of this key");
    cr_assert_eq(ask("{\"query\":\"get\",\"projection\":\"No such\",\"key\":\"a\"}"),
                 QUIPU_NOT_FOUND);
}

/* The keys of a page behind one another: "row/a row/b >row/b" where there is more behind it. */
static const char *list_keys(const char *rest)
{
    static char keys[400];
    char request[300];
    size_t len = 0;
    (void)snprintf(request, sizeof request, "{\"query\":\"list\",\"projection\":\"mirror\"%s}",
                   rest);
    kit_assert_ok(&kit, ask(request));
    struct quipu_dagcbor_reader reader;
    uint64_t rows = 0;
    quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "rows"));
    kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &rows, &kit.err));
    keys[0] = 0;
    for (uint64_t i = 0; i < rows; i++) {
        struct quipu_slice row;
        kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &row, &kit.err));
        struct quipu_slice key = member(row, "key"); /* short: a head of one byte */
        len += (size_t)snprintf(keys + len, sizeof keys - len, "%s%.*s", len == 0 ? "" : " ",
                                (int)key.len - 1, (const char *)key.data + 1);
    }
    if (has("next")) {
        struct quipu_slice next = member(quipu_buf_slice(&reply), "next");
        (void)snprintf(keys + len, sizeof keys - len, " >%.*s", (int)next.len - 1,
                       (const char *)next.data + 1);
    }
    return keys;
}

Test(query, lists_rows_by_prefix_from_key_to_key)
{
    static const char *const names[] = {"a", "b1", "b2", "b3", "c"};
    for (size_t i = 0; i < 5; i++) {
        kit_append(&kit, names[i], (int)i);
    }
    replay(QUIPU_REPLAY_CATCH_UP);

    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\""), "row/b1 row/b2 row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":2"), "row/b1 row/b2 >row/b2");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":2,\"after\":\"row/b2\""), "row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"limit\":3"), "row/b1 row/b2 row/b3");
    /* Keys that are no rows: behind, between, before the prefix. */
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/b3\""), "");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"zzz\""), "");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/b20\""), "row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"row/b\",\"after\":\"row/a\""),
                     "row/b1 row/b2 row/b3");
    cr_assert_str_eq(list_keys(",\"prefix\":\"x\""), "");
    cr_assert_str_eq(list_keys(",\"limit\":1"), "row/a >row/a");
    cr_assert_str_eq(list_keys(",\"after\":\"row/b3\",\"prefix\":\"row\""), "row/c");
}

/* ------------------------------------------------------------------ events */

Test(query, shows_an_event_by_each_of_its_names)
{
    struct quipu_appended appended = kit_append(&kit, "a", 7);
    char cid[QUIPU_CID_TEXT_BYTES];
    char id[QUIPU_UUID_TEXT_BYTES];
    char request[200];
    quipu_cid_format(&appended.cid, cid);
    quipu_uuid_format(appended.event_id, id);

    kit_assert_ok(&kit, ask("{\"query\":\"event\",\"position\":1}"));
    struct quipu_buf first = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&first, quipu_buf_slice(&reply));
    struct quipu_slice event = member(quipu_buf_slice(&first), "event");
    cr_assert_eq(number(event, "position"), 1);

    /* The item is the block: it hashes to the CID. */
    struct quipu_cid hashed = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, member(event, "envelope"));
    cr_assert(quipu_cid_equal(&hashed, &appended.cid));
    cr_assert(quipu_slice_equal(member(event, "payload"), kit_block(&kit, "{\"n\":7}")));

    (void)snprintf(request, sizeof request, "{\"query\":\"event\",\"cid\":{\"/\":\"%s\"}}", cid);
    kit_assert_ok(&kit, ask(request));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&reply), quipu_buf_slice(&first)));
    (void)snprintf(request, sizeof request, "{\"query\":\"event\",\"event_id\":\"%s\"}", id);
    kit_assert_ok(&kit, ask(request));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&reply), quipu_buf_slice(&first)));
    struct quipu_cid payload = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, kit_block(&kit, "{\"n\":7}"));
    quipu_cid_format(&payload, cid);
    (void)snprintf(request, sizeof request, "{\"query\":\"event\",\"cid\":\"%s\"}", cid);
    kit_assert_ok(&kit, ask(request));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&reply), quipu_buf_slice(&first)));
    quipu_buf_release(&first);
}

Test(query, says_which_event_is_not_there)
{
    kit_append(&kit, "a", 7);

    cr_assert_eq(ask("{\"query\":\"event\",\"position\":2}"), QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "no event at position 2, the last is 1");
    cr_assert_eq(ask("{\"query\":\"event\",\"event_id\":\"0190b5d6-7c3a-7000-8000-000000000001\"}"),
                 QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "no event 0190b5d6-7c3a-7000-8000-000000000001");
    cr_assert_eq(ask("{\"query\":\"event\",\"cid\":"
                     "\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"}"),
                 QUIPU_NOT_FOUND);
}

Test(query, carries_a_payload_that_is_nested_too_deep_as_bytes)
{
    char json[2 * QUIPU_DAGCBOR_DEPTH_DEFAULT + 1];
    memset(json, '[', QUIPU_DAGCBOR_DEPTH_DEFAULT);
    memset(json + QUIPU_DAGCBOR_DEPTH_DEFAULT, ']', QUIPU_DAGCBOR_DEPTH_DEFAULT);
    json[sizeof json - 1] = 0;
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.payload = kit_block(&kit, json);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));

    kit_assert_ok(&kit, ask("{\"query\":\"events\"}"));

    cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&reply), NULL), QUIPU_OK);
    cr_assert_not_null(strstr(reply_json(), "\"raw_payload\""));
}

/* Positions of a page: "3 4 >4 of 9". */
static const char *positions_of_reply(void)
{
    static char positions[400];
    struct quipu_dagcbor_reader reader;
    uint64_t events = 0;
    size_t len = 0;
    quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "events"));
    kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &events, &kit.err));
    positions[0] = 0;
    for (uint64_t i = 0; i < events; i++) {
        struct quipu_slice event;
        kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &event, &kit.err));
        len += (size_t)snprintf(positions + len, sizeof positions - len, "%llu ",
                                (unsigned long long)number(event, "position"));
    }
    if (has("next")) {
        len += (size_t)snprintf(positions + len, sizeof positions - len, ">%llu ",
                                (unsigned long long)number(quipu_buf_slice(&reply), "next"));
    }
    (void)snprintf(positions + len, sizeof positions - len, "of %llu",
                   (unsigned long long)number(quipu_buf_slice(&reply), "last"));
    return positions;
}

static const char *positions(const char *rest)
{
    char request[300];
    (void)snprintf(request, sizeof request, "{\"query\":\"events\"%s}", rest);
    kit_assert_ok(&kit, ask(request));
    return positions_of_reply();
}

Test(query, lists_events_in_either_order_and_goes_on)
{
    cr_assert_str_eq(positions(""), "of 0");
    for (int i = 0; i < 6; i++) {
        kit_append(&kit, i % 2 == 0 ? "even" : "odd", i);
    }

    cr_assert_str_eq(positions(""), "1 2 3 4 5 6 of 6");
    cr_assert_str_eq(positions(",\"limit\":2"), "1 2 >2 of 6");
    cr_assert_str_eq(positions(",\"limit\":2,\"after\":2"), "3 4 >4 of 6");
    cr_assert_str_eq(positions(",\"limit\":2,\"after\":4"), "5 6 of 6");
    cr_assert_str_eq(positions(",\"after\":6"), "of 6");
    cr_assert_str_eq(positions(",\"after\":99"), "of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"limit\":4"), "6 5 4 3 >3 of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"limit\":4,\"after\":3"), "2 1 of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"after\":1"), "of 6");
    cr_assert_str_eq(positions(",\"order\":\"newest\",\"after\":99,\"limit\":1"), "6 >6 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4"), "2 3 4 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4,\"after\":2"), "3 4 of 6");
    cr_assert_str_eq(positions(",\"since\":4,\"after\":2"), "4 5 6 of 6");
    cr_assert_str_eq(positions(",\"since\":2,\"until\":4,\"order\":\"newest\",\"after\":4"),
                     "3 2 of 6");
    cr_assert_str_eq(positions(",\"since\":5,\"until\":4"), "of 6");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"thing\",\"aggregate_id\":\"odd\""),
                     "2 4 6 of 6");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"thing\",\"aggregate_id\":\"odd\","
                               "\"from_version\":3"),
                     "6 of 6");
    cr_assert_str_eq(positions(",\"event_type\":\"thing.changed\",\"limit\":1"), "1 >1 of 6");
    cr_assert_str_eq(positions(",\"event_type\":\"thing.other\""), "of 6");
}

Test(query, finds_the_events_of_one_correlation)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.correlation_id = kit_uuid(9);
    kit_append(&kit, "a", 0);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    char id[QUIPU_UUID_TEXT_BYTES];
    char rest[100];
    quipu_uuid_format(kit_uuid(9), id);
    (void)snprintf(rest, sizeof rest, ",\"correlation_id\":\"%s\"", id);

    cr_assert_str_eq(positions(rest), "2 of 2");
}

Test(query, searches_a_span_at_a_time_and_says_where_to_go_on, .timeout = 120)
{
    enum { BATCH = 10000 };
    struct quipu_event *events = calloc(BATCH, sizeof *events);
    struct quipu_event needle = kit_event(&kit, "needle", 1);
    cr_assert_not_null(events);
    needle.aggregate.type = "needle";
    kit_assert_ok(&kit, quipu_append(kit.engine, &needle, NULL, &kit.err));
    for (int i = 0; i < BATCH; i++) {
        events[i] = kit_event(&kit, "hay", 1);
        events[i].payload = kit_block(&kit, "1");
    }
    for (uint64_t done = 0; done < QUIPU_QUERY_SPAN_MAX; done += BATCH) {
        kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, BATCH, NULL, NULL, &kit.err));
    }
    needle = kit_event(&kit, "needle", 2);
    needle.aggregate.type = "needle";
    kit_assert_ok(&kit, quipu_append(kit.engine, &needle, NULL, &kit.err));
    free(events);

    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\""), "1 >100000 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"after\":100000"),
                     "100002 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"order\":\"newest\""),
                     "100002 >3 of 100002");
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"order\":\"newest\",\"after\":3"),
                     "1 of 100002");
    /* An index leads there: no need to go on. */
    cr_assert_str_eq(positions(",\"aggregate_type\":\"needle\",\"aggregate_id\":\"needle\""),
                     "1 100002 of 100002");
}

/* ------------------------------------------------------------------ sizes */

Test(query, ends_a_page_where_the_reply_would_become_too_long)
{
    char json[2100];
    memset(json, 'x', sizeof json);
    memcpy(json, "{\"n\":\"", 6);
    memcpy(json + sizeof json - 3, "\"}", 3);
    for (int i = 0; i < 3; i++) {
        char id[2] = {(char)('a' + i), 0};
        struct quipu_event event = kit_event(&kit, id, i);
        event.payload = kit_block(&kit, json);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
    replay(QUIPU_REPLAY_CATCH_UP);

    kit_assert_ok(&kit, ask_within("{\"query\":\"events\"}", 8192));
    cr_assert_str_eq(positions_of_reply(), "1 2 >2 of 3");
    cr_assert_leq(reply.len, 8192);
    kit_assert_ok(&kit, ask_within("{\"query\":\"list\",\"projection\":\"mirror\"}", 8192));
    cr_assert(has("next"));
    cr_assert_leq(reply.len, 8192);

    cr_assert_eq(ask_within("{\"query\":\"events\",\"after\":1}", 4096), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(kit.err.message, "position 2: "), "%s", kit.err.message);
    cr_assert_eq(ask_within("{\"query\":\"list\",\"projection\":\"mirror\"}", 4096),
                 QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(kit.err.message, "row \"row/a\": "), "%s", kit.err.message);
    cr_assert_eq(reply.len, 0);
}

Test(query, holds_its_options_against_their_limits)
{
    struct quipu_query query = {.kind = QUIPU_QUERY_STATUS};
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    static const struct {
        size_t max;
        enum quipu_status status;
    } cases[] = {
        {0, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MIN - 1, QUIPU_MISUSE},
        {QUIPU_QUERY_REPLY_BYTES_MIN, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MAX, QUIPU_OK},
        {QUIPU_QUERY_REPLY_BYTES_MAX + 1, QUIPU_MISUSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        options.reply_bytes_max = cases[i].max;
        cr_assert_eq(quipu_query_run(kit.engine, &query, &options, &reply, &kit.err),
                     cases[i].status, "%zu", cases[i].max);
    }
    options.reply_bytes_max = 0;
    options.size--;
    cr_assert_eq(quipu_query_run(kit.engine, &query, &options, &reply, &kit.err), QUIPU_MISUSE);
    query.limit = 1;
    cr_assert_eq(quipu_query_run(kit.engine, &query, NULL, &reply, &kit.err), QUIPU_INVALID);
}

/* ------------------------------------------------------------------ status, failures */

Test(query, tells_how_the_store_is)
{
    struct counting counting = {.poison = 0};
    kit_assert_ok(&kit, ask("{\"query\":\"status\"}"));
    cr_assert_not_null(strstr(reply_json(), "\"source\":null"));
    cr_assert_not_null(strstr(reply_json(), "\"projections\":[]"));
    counts_park(&kit, &counting);
    replay(QUIPU_REPLAY_CATCH_UP);
    kit_append(&kit, "b", 1);
    char source[QUIPU_SOURCE_TEXT_BYTES];
    kit_assert_ok(&kit, quipu_identity_source(kit.engine, source, &kit.err));

    kit_assert_ok(&kit, ask("{\"query\":\"status\"}"));

    struct quipu_slice status = quipu_buf_slice(&reply);
    cr_assert_eq(number(member(status, "store"), "events"), 6);
    cr_assert_eq(number(member(status, "store"), "last"), 6);
    cr_assert_eq(number(member(status, "store"), "aggregates"), 2);
    cr_assert_eq(number(member(status, "outbox"), "pending"), 6);
    cr_assert_eq(number(member(status, "forks"), "open"), 0);
    cr_assert_eq(number(status, "quarantined"), 0);
    const char *json = reply_json();
    cr_assert_not_null(strstr(json, source));
    cr_assert_not_null(strstr(json, "{\"lag\":4,\"name\":\"counts\",\"parked\":{\"at\":"), "%s",
                       json);
    cr_assert_not_null(strstr(json, "\"position\":3,\"status\":"), "%s", json);
    cr_assert_not_null(strstr(json, "\"shadow\":null,\"skipped\":0,\"state\":\"parked\""), "%s",
                       json);
    cr_assert_not_null(strstr(json, "{\"lag\":1,\"name\":\"mirror\",\"parked\":null,\"position\":5,"
                                    "\"reacted\":"),
                       "%s", json);
    cr_assert_not_null(strstr(json, "\"state\":\"catching up\",\"version\":3}"), "%s", json);
}

Test(query, counts_what_is_in_quarantine_and_forks)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    struct kit_foreign foreign;
    kit_foreign_copy(&kit, 2, &foreign);
    struct kit other;
    kit_open(&other);
    struct quipu_ingest *ingest = NULL;
    enum quipu_ingest_outcome outcome;
    kit_assert_ok(&other,
                  quipu_ingest_begin(other.engine, QUIPU_INGEST_QUARANTINE, &ingest, &other.err));
    kit_assert_ok(&other, quipu_ingest_event(ingest, &foreign.foreign, &outcome, &other.err));
    kit_assert_ok(&other, quipu_ingest_commit(&ingest, NULL, &other.err));

    kit_assert_ok(&other,
                  quipu_query_answer(other.engine, kit_block(&other, "{\"query\":\"status\"}"),
                                     NULL, &reply, &other.err));

    cr_assert_eq(number(quipu_buf_slice(&reply), "quarantined"), 1);
    kit_foreign_release(&foreign);
    kit_close(&other);
}

Test(query, makes_a_reply_of_a_failure)
{
    struct quipu_error failure = {0};
    (void)quipu_error_set(&failure, QUIPU_NOT_FOUND, "no event at position 2");
    kit_assert_ok(&kit, quipu_query_failure(QUIPU_NOT_FOUND, &failure, &reply, &kit.err));
    cr_assert_str_eq(reply_json(), "{\"error\":{\"line\":\"no event at position 2\",\"number\":13,"
                                   "\"status\":\"NOT_FOUND\"},\"v\":1}");

    quipu_buf_reset(&reply);
    (void)snprintf(failure.message, sizeof failure.message, "cut \xc3");
    kit_assert_ok(&kit, quipu_query_failure(QUIPU_IO, &failure, &reply, &kit.err));
    cr_assert_not_null(strstr(reply_json(), "\"line\":\"cut \""));

    quipu_buf_reset(&reply);
    kit_assert_ok(&kit, quipu_query_failure(QUIPU_IO, NULL, &reply, &kit.err));
    cr_assert_not_null(strstr(reply_json(), "\"line\":\"input or output failed\""));
}

Test(query, refuses_bytes_that_are_no_dag_cbor)
{
    quipu_buf_append_byte(&reply, 'x');
    cr_assert_eq(quipu_query_answer(kit.engine, quipu_slice("\x1c", 1), NULL, &reply, &kit.err),
                 QUIPU_CBOR_RESERVED);
    cr_assert_eq(reply.len, 1);
}

/* ------------------------------------------------------------------ while others write */

enum { ROUNDS = 40, ROWS = 200 };

static atomic_bool is_over;
static atomic_int failures;

static void *append_and_rebuild(void *ctx)
{
    (void)ctx;
    struct quipu_error err;
    for (int round = 0; !atomic_load(&is_over); round++) {
        for (int i = 0; i < 5; i++) {
            char id[16];
            char payload[] = {0x01}; /* the integer 1 */
            (void)snprintf(id, sizeof id, "%03d", (round * 7 + i * 31) % ROWS);
            struct quipu_event event = {.type = "thing.changed",
                                        .aggregate = {"thing", id},
                                        .payload = quipu_slice(payload, sizeof payload)};
            if (quipu_append(kit.engine, &event, NULL, &err) != QUIPU_OK) {
                atomic_fetch_add(&failures, 1);
            }
        }
        if (quipu_replay(kit.engine, &mirrored,
                         round % 3 == 0 ? QUIPU_REPLAY_REBUILD : QUIPU_REPLAY_CATCH_UP, NULL,
                         &err) != QUIPU_OK) {
            atomic_fetch_add(&failures, 1);
        }
    }
    return NULL;
}

/* Go over all pages of rows; each of the ROWS keys must be met once, in order. */
static void read_all_rows(struct quipu_buf *request)
{
    uint64_t met = 0;
    struct quipu_buf next = QUIPU_BUF_INIT;
    do {
        struct quipu_query query = {.kind = QUIPU_QUERY_LIST,
                                    .limit = 17,
                                    .projection = quipu_slice_text("mirror"),
                                    .prefix = quipu_slice_text("row/"),
                                    .after_key = quipu_buf_slice(&next)};
        quipu_buf_reset(request);
        kit_assert_ok(&kit, quipu_query_encode(&query, request, &kit.err));
        quipu_buf_reset(&reply);
        kit_assert_ok(
            &kit, quipu_query_answer(kit.engine, quipu_buf_slice(request), NULL, &reply, &kit.err));
        struct quipu_dagcbor_reader reader;
        uint64_t rows = 0;
        quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "rows"));
        kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &rows, &kit.err));
        for (uint64_t i = 0; i < rows; i++) {
            char expected[16];
            struct quipu_slice row;
            kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &row, &kit.err));
            int len = snprintf(expected, sizeof expected, "%crow/%03llu", 0x67,
                               (unsigned long long)met++);
            cr_assert(quipu_slice_equal(member(row, "key"), quipu_slice(expected, (size_t)len)),
                      "row %llu of the walk is another one", (unsigned long long)met);
        }
        quipu_buf_reset(&next);
        if (has("next")) {
            struct quipu_slice key = member(quipu_buf_slice(&reply), "next");
            quipu_buf_append(&next, key.data + 1, key.len - 1);
        }
    } while (next.len > 0);
    cr_assert_eq(met, ROWS);
    quipu_buf_release(&next);
}

/* Go over all pages of events; positions must be 1, 2, 3 … to the end of the last page. */
static void read_all_events(void)
{
    uint64_t met = 0;
    bool goes_on = true;
    while (goes_on) {
        char request[100];
        (void)snprintf(request, sizeof request,
                       "{\"query\":\"events\",\"limit\":50,\"after\":%llu}",
                       (unsigned long long)met);
        kit_assert_ok(&kit, ask(request));
        struct quipu_dagcbor_reader reader;
        uint64_t events = 0;
        quipu_dagcbor_reader_init(&reader, member(quipu_buf_slice(&reply), "events"));
        kit_assert_ok(&kit, quipu_dagcbor_read_list(&reader, &events, &kit.err));
        for (uint64_t i = 0; i < events; i++) {
            struct quipu_slice event;
            kit_assert_ok(&kit, quipu_dagcbor_next_whole(&reader, &event, &kit.err));
            cr_assert_eq(number(event, "position"), ++met);
        }
        goes_on = has("next");
        cr_assert_eq(goes_on ? number(quipu_buf_slice(&reply), "next")
                             : number(quipu_buf_slice(&reply), "last"),
                     met);
    }
}

Test(query, pages_have_no_gaps_and_no_doubles_while_others_write, .timeout = 120)
{
    struct quipu_buf request = QUIPU_BUF_INIT;
    pthread_t writer;
    for (int i = 0; i < ROWS; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%03d", i);
        kit_append(&kit, id, i);
    }
    replay(QUIPU_REPLAY_CATCH_UP);
    atomic_store(&is_over, false);
    cr_assert_eq(pthread_create(&writer, NULL, append_and_rebuild, NULL), 0);

    for (int round = 0; round < ROUNDS; round++) {
        read_all_rows(&request);
        read_all_events();
    }

    atomic_store(&is_over, true);
    cr_assert_eq(pthread_join(writer, NULL), 0);
    cr_assert_eq(atomic_load(&failures), 0);
    quipu_buf_release(&request);
}
