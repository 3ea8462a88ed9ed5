/*
 * Answers of the query API: rows, events, status, and failures.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "counting_kit.h"
#include "query_kit.h"
#include "quipu/dagcbor.h"

/* ------------------------------------------------------------------ rows */

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

/* {"/": "x"} and {"a": 1}: as JSON the first would be a link. */
Test(query, carries_as_bytes_what_dag_json_cannot)
{
    struct quipu_event event = kit_event(&kit, "odd", 1);
    event.payload = quipu_slice("\xa1\x61/\x61x", 5);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event = kit_event(&kit, "meta", 2);
    event.meta = quipu_slice("\xa1\x61/\x61x", 5);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    kit_append(&kit, "plain", 3);
    replay(QUIPU_REPLAY_REBUILD);

    kit_assert_ok(&kit, ask("{\"query\":\"event\",\"position\":1}"));
    cr_assert_not_null(strstr(reply_json(), "\"raw_payload\":{\"/\":{\"bytes\":\"oWEvYXg\"}}"));
    cr_assert_not_null(strstr(reply_json(), "\"envelope\":{"));
    kit_assert_ok(&kit, ask("{\"query\":\"event\",\"position\":2}"));
    cr_assert_not_null(strstr(reply_json(), "\"raw_envelope\":{\"/\":{\"bytes\":"));
    cr_assert_not_null(strstr(reply_json(), "\"payload\":{\"n\":2}"));
    kit_assert_ok(&kit, ask("{\"query\":\"events\"}"));
    cr_assert_not_null(strstr(reply_json(), "\"payload\":{\"n\":3}"), "also what is behind them");
    kit_assert_ok(&kit, ask("{\"query\":\"list\",\"projection\":\"mirror\",\"prefix\":\"row/\"}"));
    cr_assert_not_null(
        strstr(reply_json(), "{\"key\":\"row/odd\",\"raw\":{\"/\":{\"bytes\":\"oWEvYXg\"}}}"));
    kit_assert_ok(&kit, ask("{\"query\":\"get\",\"projection\":\"mirror\",\"key\":\"row/odd\"}"));
    cr_assert_not_null(strstr(reply_json(), "\"raw\":{\"/\":{\"bytes\":\"oWEvYXg\"}}"));
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
