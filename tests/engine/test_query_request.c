/*
 * Requests of the query API: what is read, what is refused and with which words, one form when
 * written.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/query.h"

static struct quipu_error err;
static struct quipu_buf block;

static void setup(void)
{
    block = (struct quipu_buf)QUIPU_BUF_INIT;
    memset(&err, 0, sizeof err);
}

static void teardown(void)
{
    quipu_buf_release(&block);
}

TestSuite(query_request, .init = setup, .fini = teardown);

static enum quipu_status decode(const char *json, struct quipu_query *out)
{
    quipu_buf_reset(&block);
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(json), &block, &err), QUIPU_OK, "%s: %s",
                 json, err.message);
    return quipu_query_decode(quipu_buf_slice(&block), out, &err);
}

/* The one form of the request, as DAG-JSON. */
static void assert_encodes(const struct quipu_query *query, const char *expected)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf json = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_query_encode(query, &bytes, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_dagjson_from_dagcbor(quipu_buf_slice(&bytes), &json, &err), QUIPU_OK);
    quipu_buf_append_byte(&json, 0);
    cr_assert_str_eq((const char *)json.data, expected);
    quipu_buf_release(&bytes);
    quipu_buf_release(&json);
}

Test(query_request, reads_and_writes_each_query)
{
    static const struct {
        const char *read;
        const char *written;
    } cases[] = {
        {"{\"query\":\"status\"}", "{\"query\":\"status\",\"v\":1}"},
        {"{\"v\":1,\"query\":\"get\",\"projection\":\"p\",\"key\":\"k/1\"}",
         "{\"key\":\"k/1\",\"projection\":\"p\",\"query\":\"get\",\"v\":1}"},
        {"{\"query\":\"get\",\"projection\":\"p\",\"key\":{\"/\":{\"bytes\":\"ay8x\"}}}",
         "{\"key\":\"k/1\",\"projection\":\"p\",\"query\":\"get\",\"v\":1}"},
        {"{\"query\":\"get\",\"projection\":\"p\",\"key\":{\"/\":{\"bytes\":\"/w\"}}}",
         "{\"key\":{\"/\":{\"bytes\":\"/w\"}},\"projection\":\"p\",\"query\":\"get\",\"v\":1}"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"prefix\":\"\"}",
         "{\"projection\":\"p\",\"query\":\"list\",\"v\":1}"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"prefix\":\"a\",\"after\":\"ab\",\"limit\":9}",
         "{\"after\":\"ab\",\"limit\":9,\"prefix\":\"a\",\"projection\":\"p\",\"query\":\"list\","
         "\"v\":1}"},
        {"{\"query\":\"event\",\"position\":7}", "{\"position\":7,\"query\":\"event\",\"v\":1}"},
        {"{\"query\":\"event\",\"event_id\":\"0190b5d6-7c3a-7000-8000-000000000001\"}",
         "{\"event_id\":{\"/"
         "\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}},\"query\":\"event\",\"v\":1}"},
        {"{\"query\":\"event\",\"cid\":"
         "\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"}",
         "{\"cid\":{\"/\":\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"},"
         "\"query\":\"event\",\"v\":1}"},
        {"{\"query\":\"events\",\"order\":\"oldest\",\"after\":0}",
         "{\"query\":\"events\",\"v\":1}"},
        {"{\"query\":\"events\",\"order\":\"newest\",\"after\":5,\"since\":1,\"until\":9,"
         "\"event_type\":\"a.b\",\"aggregate_type\":\"t\",\"aggregate_id\":\"i\","
         "\"from_version\":2,\"correlation_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}},"
         "\"limit\":10000}",
         "{\"after\":5,\"aggregate_id\":\"i\",\"aggregate_type\":\"t\",\"correlation_id\":"
         "{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}},\"event_type\":\"a.b\","
         "\"from_version\":2,\"limit\":10000,\"order\":\"newest\",\"query\":\"events\","
         "\"since\":1,\"until\":9,\"v\":1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_query query;
        cr_assert_eq(decode(cases[i].read, &query), QUIPU_OK, "%s: %s", cases[i].read, err.message);
        assert_encodes(&query, cases[i].written);
    }
}

Test(query_request, has_these_bytes)
{
    /* {"v": 1, "key": "k", "query": "get", "projection": "p"} */
    static const uint8_t expected[] = {
        0xa4, 0x61, 'v', 0x01, 0x63, 'k', 'e', 'y', 0x61, 'k', 0x65, 'q', 'u', 'e', 'r',  'y', 0x63,
        'g',  'e',  't', 0x6a, 'p',  'r', 'o', 'j', 'e',  'c', 't',  'i', 'o', 'n', 0x61, 'p'};
    struct quipu_query query = {
        .kind = QUIPU_QUERY_GET, .projection = quipu_slice_text("p"), .key = quipu_slice_text("k")};

    cr_assert_eq(quipu_query_encode(&query, &block, &err), QUIPU_OK, "%s", err.message);

    cr_assert_eq(block.len, sizeof expected);
    cr_assert_arr_eq(block.data, expected, sizeof expected);
}

Test(query_request, refuses_what_is_no_request_and_says_why)
{
    static const struct {
        const char *json;
        const char *says;
    } cases[] = {
        {"[]", "a request is a map"},
        {"{}", "\"query\" must be \"get\""},
        {"{\"query\":7}", "\"query\" must be \"get\""},
        {"{\"query\":\"gets\"}", "\"query\" must be \"get\""},
        {"{\"query\":\"status\",\"colour\":1}", "unknown member \"colour\""},
        {"{\"query\":\"status\",\"limit\":1}", "query status: \"limit\" does not belong to it"},
        {"{\"query\":\"get\",\"projection\":\"p\",\"key\":\"k\",\"prefix\":\"k\"}",
         "query get: \"prefix\" does not belong to it"},
        {"{\"query\":\"get\",\"projection\":\"p\"}", "query get: \"key\" is missing"},
        {"{\"query\":\"list\"}", "query list: \"projection\" is missing"},
        {"{\"query\":\"get\",\"projection\":\"p\",\"key\":\"\"}", "text or bytes, 1 to 500 bytes"},
        {"{\"query\":\"get\",\"projection\":\"p\",\"key\":1}", "text or bytes, 1 to 500 bytes"},
        {"{\"query\":\"get\",\"projection\":\"\",\"key\":\"k\"}", "text of 1 to 64 bytes"},
        {"{\"query\":\"get\",\"projection\":\"a\\u0000b\",\"key\":\"k\"}", "without U+0000"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"limit\":0}",
         "an integer from 1 to 10000, found 0"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"limit\":10001}",
         "an integer from 1 to 10000, found 10001"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"limit\":-1}", "an integer from 1 to 10000"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"limit\":1.5}", "an integer from 1 to 10000"},
        {"{\"query\":\"list\",\"projection\":\"p\",\"after\":5}", "text or bytes"},
        {"{\"query\":\"events\",\"after\":\"k\"}", "\"after\" must be an integer from 0"},
        {"{\"query\":\"events\",\"since\":0}", "an integer from 1, found 0"},
        {"{\"query\":\"events\",\"order\":\"random\"}", "\"oldest\" or \"newest\""},
        {"{\"query\":\"events\",\"aggregate_id\":\"a\"}", "needs \"aggregate_type\" beside it"},
        {"{\"query\":\"events\",\"aggregate_type\":\"a\",\"from_version\":2}",
         "needs \"aggregate_id\" beside it"},
        {"{\"query\":\"events\",\"correlation_id\":\"x\"}", "a UUID that is not nil"},
        {"{\"query\":\"event\"}", "wants one of \"position\", \"event_id\" and \"cid\", found 0"},
        {"{\"query\":\"event\",\"position\":1,\"event_id\":"
         "\"0190b5d6-7c3a-7000-8000-000000000001\"}",
         "found 2"},
        {"{\"query\":\"event\",\"position\":0}", "an integer from 1, found 0"},
        {"{\"query\":\"event\",\"event_id\":\"00000000-0000-0000-0000-000000000000\"}",
         "a UUID that is not nil"},
        {"{\"query\":\"event\",\"cid\":\"bafy\"}", "the CID of an event or a payload"},
        {"{\"query\":\"event\",\"cid\":{\"/\":\"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG\"}}",
         "the CID of an event or a payload"},
        {"{\"query\":\"status\",\"v\":0}", "\"v\" must be an integer from 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_query query = {.limit = 77};
        cr_assert_eq(decode(cases[i].json, &query), QUIPU_INVALID, "%s", cases[i].json);
        cr_assert_not_null(strstr(err.message, cases[i].says), "%s: %s", cases[i].json,
                           err.message);
        cr_assert_eq(query.limit, 77, "%s wrote to the result", cases[i].json);
    }
}

Test(query_request, tells_a_later_format_from_a_wrong_one)
{
    struct quipu_query query;

    cr_assert_eq(decode("{\"query\":\"status\",\"v\":2}", &query), QUIPU_FORMAT_NEWER);

    cr_assert_str_eq(err.message, "query: format 2, this program knows up to 1");
}

Test(query_request, is_strict_dag_cbor_of_limited_size)
{
    static const uint8_t trailing[] = {0xa1, 0x65, 'q', 'u', 'e', 'r', 'y', 0x66,
                                       's',  't',  'a', 't', 'u', 's', 0x00};
    static uint8_t large[QUIPU_QUERY_REQUEST_BYTES_MAX + 1];
    struct quipu_query query;

    cr_assert_eq(quipu_query_decode(quipu_slice(trailing, sizeof trailing - 1), &query, &err),
                 QUIPU_OK);
    cr_assert_eq(quipu_query_decode(quipu_slice(trailing, sizeof trailing), &query, &err),
                 QUIPU_CBOR_TRAILING);
    cr_assert_eq(quipu_query_decode(quipu_slice(trailing, 5), &query, &err), QUIPU_CBOR_TRUNCATED);
    cr_assert_eq(quipu_query_decode(quipu_slice(NULL, 0), &query, &err), QUIPU_CBOR_TRUNCATED);
    cr_assert_eq(quipu_query_decode(quipu_slice(large, sizeof large), &query, &err),
                 QUIPU_TOO_LARGE);
    cr_assert_neq(quipu_query_decode(quipu_slice(large, sizeof large - 1), &query, &err),
                  QUIPU_TOO_LARGE);
}

/* A request whose member is text of so many bytes. */
static enum quipu_status with_text(const char *member, const char *rest, size_t len)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_query query;
    quipu_buf_printf(&json, "{%s,\"%s\":\"", rest, member);
    for (size_t i = 0; i < len; i++) {
        quipu_buf_append_byte(&json, 'a');
    }
    quipu_buf_append(&json, "\"}", 3);
    enum quipu_status status = decode((const char *)json.data, &query);
    quipu_buf_release(&json);
    return status;
}

Test(query_request, holds_names_against_their_limits)
{
    static const struct {
        const char *member;
        const char *rest;
        size_t max;
    } cases[] = {
        {"projection", "\"query\":\"list\"", 64},
        {"key", "\"query\":\"get\",\"projection\":\"p\"", 500},
        {"prefix", "\"query\":\"list\",\"projection\":\"p\"", 500},
        {"after", "\"query\":\"list\",\"projection\":\"p\"", 500},
        {"event_type", "\"query\":\"events\"", 128},
        {"aggregate_type", "\"query\":\"events\"", 64},
        {"aggregate_id", "\"query\":\"events\",\"aggregate_type\":\"t\"", 255},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(with_text(cases[i].member, cases[i].rest, cases[i].max - 1), QUIPU_OK, "%s",
                     cases[i].member);
        cr_assert_eq(with_text(cases[i].member, cases[i].rest, cases[i].max), QUIPU_OK, "%s",
                     cases[i].member);
        cr_assert_eq(with_text(cases[i].member, cases[i].rest, cases[i].max + 1), QUIPU_INVALID,
                     "%s", cases[i].member);
    }
}

Test(query_request, writes_nothing_that_it_would_not_read)
{
    struct quipu_query wrong[] = {
        {.kind = QUIPU_QUERY_GET, .projection = quipu_slice_text("p")},
        {.kind = QUIPU_QUERY_STATUS, .limit = 5},
        {.kind = QUIPU_QUERY_EVENTS, .limit = QUIPU_QUERY_LIMIT_MAX + 1},
        {.kind = QUIPU_QUERY_EVENT, .position = 1, .has_cid = true},
        {.kind = (enum quipu_query_kind)99},
    };
    wrong[3].cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("x"));
    quipu_buf_append_byte(&block, 'x');
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        cr_assert_eq(quipu_query_encode(&wrong[i], &block, &err), QUIPU_INVALID, "%zu", i);
        cr_assert_eq(block.len, 1, "%zu", i);
    }
    cr_assert_str_empty(quipu_query_kind_text((enum quipu_query_kind)99));
    cr_assert_str_eq(quipu_query_kind_text(QUIPU_QUERY_EVENTS), "events");
}
