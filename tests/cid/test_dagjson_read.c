/*
 * DAG-JSON text to DAG-CBOR: RFC 8259 to the letter, the reserved key "/", limits, offsets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "comma_locale.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

#define LINK_TEXT "bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae"
#define LINK_HEX                                                                                   \
    "d82a58250001711220785197229dc8bb1152945da58e2348f7e279eeded06cc2ca736d0e879858b501"

static enum quipu_status to_cbor(struct quipu_slice json, struct quipu_buf *hex,
                                 struct quipu_error *err)
{
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_dagjson_to_dagcbor(json, &cbor, err);
    quipu_buf_reset(hex);
    quipu_hex_append(hex, quipu_buf_slice(&cbor));
    quipu_buf_release(&cbor);
    return status;
}

static void accepts(const char *json, const char *expected)
{
    struct quipu_buf hex = QUIPU_BUF_INIT;
    struct quipu_error err = {.message = ""};

    enum quipu_status status = to_cbor(quipu_slice_text(json), &hex, &err);

    cr_assert_eq(status, QUIPU_OK, "%s: %s", json, err.message);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&hex), quipu_slice_text(expected)),
              "%s gave %.*s, not %s", json, QUIPU_SLICE_FMT(quipu_buf_slice(&hex)), expected);
    quipu_buf_release(&hex);
}

static void refuses_slice(struct quipu_slice json, enum quipu_status expected, uint64_t offset)
{
    struct quipu_buf hex = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};

    enum quipu_status status = to_cbor(json, &hex, &err);

    cr_assert_eq(status, expected, "%.*s: %s, not %s", QUIPU_SLICE_FMT(json),
                 quipu_status_name(status), quipu_status_name(expected));
    cr_assert_eq(err.status, expected);
    cr_assert_eq(err.offset, offset, "%.*s: at %d, not at %d: %s", QUIPU_SLICE_FMT(json),
                 (int)err.offset, (int)offset, err.message);
    cr_assert_eq(hex.len, 0, "%.*s left output", QUIPU_SLICE_FMT(json));
    quipu_buf_release(&hex);
}

static void refuses(const char *json, enum quipu_status expected, uint64_t offset)
{
    refuses_slice(quipu_slice_text(json), expected, offset);
}

Test(dagjson_read, decodes_no_link_in_a_base_that_links_do_not_have)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    quipu_buf_append_text(&json, "{\"/\":\"🚀");
    for (size_t i = 0; i < 2000000; i++) {
        quipu_buf_append_text(&json, "🥂");
    }
    quipu_buf_append_text(&json, "\"}");
    cr_assert_eq(json.status, QUIPU_OK);
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};

    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), &cbor, &err), QUIPU_DAGJSON);

    cr_assert_eq(err.offset, 5);
    quipu_buf_release(&json);
    quipu_buf_release(&cbor);
}

Test(dagjson_read, takes_every_kind_of_value)
{
    accepts("null", "f6");
    accepts("true", "f5");
    accepts(" \t\r\n false \n", "f4");
    accepts("\"\"", "60");
    accepts("\"h\xc3\xa9llo\"", "6668c3a96c6c6f");
    accepts("[]", "80");
    accepts("{}", "a0");
    accepts("[1,[2,[]],{}]", "83018202"
                             "80"
                             "a0");
    accepts(" { \"a\" : [ 1 , 2 ] , \"b\" : { } } ", "a26161820102"
                                                     "6162a0");
}

Test(dagjson_read, tells_integers_from_floats)
{
    accepts("0", "00");
    accepts("-0", "00");
    accepts("23", "17");
    accepts("24", "1818");
    accepts("256", "190100");
    accepts("65536", "1a00010000");
    accepts("4294967296", "1b0000000100000000");
    accepts("18446744073709551615", "1bffffffffffffffff");
    accepts("-1", "20");
    accepts("-18446744073709551615", "3bfffffffffffffffe");
    accepts("-18446744073709551616", "3bffffffffffffffff");
    accepts("1.0", "fb3ff0000000000000");
    accepts("-0.0", "fb8000000000000000");
    accepts("1e2", "fb4059000000000000");
    accepts("1E+2", "fb4059000000000000");
    accepts("0.1", "fb3fb999999999999a");
    accepts("-4.5e-1", "fbbfdccccccccccccd");
}

Test(dagjson_read, rounds_floats_correctly)
{
    /* Half way between two doubles: to even, unless a digit far behind says otherwise. */
    accepts("9007199254740993.0", "fb4340000000000000");
    accepts("9007199254740993.00000000000000000000000000000000000001", "fb4340000000000001");
    accepts("5e-324", "fb0000000000000001");
    accepts("2e-324", "fb0000000000000000");
    accepts("1.7976931348623157e308", "fb7fefffffffffffff");
    accepts("1e-999999999999999999999", "fb0000000000000000");
}

Test(dagjson_read, reads_floats_the_same_under_a_comma_locale)
{
    struct temp_dir dir;
    temp_dir_init(&dir);
    bool has_locale = comma_locale_set(&dir);
    if (!has_locale) {
        temp_dir_release(&dir);
        cr_skip_test("no comma locale can be made here");
    }

    accepts("[1.5,-2e3]", "82fb3ff8000000000000fbc09f400000000000");

    temp_dir_release(&dir);
}

Test(dagjson_read, refuses_numbers_that_do_not_fit)
{
    refuses("18446744073709551616", QUIPU_DAGJSON, 0);
    refuses("[-18446744073709551617]", QUIPU_DAGJSON, 1);
    refuses("[1, 1e309]", QUIPU_CBOR_FLOAT_NOT_FINITE, 4);
    refuses("-1e400", QUIPU_CBOR_FLOAT_NOT_FINITE, 0);
}

Test(dagjson_read, refuses_what_is_no_json_and_says_where)
{
    static const struct {
        const char *json;
        uint64_t offset;
    } CASES[] = {
        {"", 0},
        {"  ", 2},
        {"[", 1},
        {"[1", 2},
        {"[1,", 3},
        {"[1,]", 3},
        {"[,1]", 1},
        {"[1 2]", 3},
        {"{", 1},
        {"{\"a\"", 4},
        {"{\"a\":", 5},
        {"{\"a\":1", 6},
        {"{\"a\":1,}", 7},
        {"{a:1}", 1},
        {"{1:1}", 1},
        {"{\"a\" 1}", 5},
        {"{\"a\":}", 5},
        {"[}", 1},
        {"{]", 1},
        {"[1}", 2},
        {"{\"a\":1]", 6},
        {"]", 0},
        {"1 2", 2},
        {"[] []", 3},
        {"nul", 0},
        {"nullx", 4},
        {"True", 0},
        {"NaN", 0},
        {"Infinity", 0},
        {"-Infinity", 1},
        {"01", 1},
        {"+1", 0},
        {"-", 1},
        {"-a", 1},
        {".5", 0},
        {"1.", 2},
        {"1.e1", 2},
        {"1e", 2},
        {"1e+", 3},
        {"0x10", 1},
        {"\"", 1},
        {"\"a", 2},
        {"\"\t\"", 1},
        {"\"a\nb\"", 2},
        {"'a'", 0},
        {"\"\\\"", 3},
        {"\"\\x41\"", 1},
        {"\"\\", 2},
        {"\"\\u12\"", 1},
        {"\"\\u12g4\"", 1},
        {"/**/1", 0},
        {"\xef\xbb\xbf"
         "1",
         0},
        {"[1]\x01", 3},
        {"{\"a\":1 \"b\":2}", 7},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        refuses(CASES[i].json, QUIPU_JSON, CASES[i].offset);
    }
    refuses_slice(quipu_slice("1\0", 2), QUIPU_JSON, 1);
    refuses_slice(quipu_slice("\"a\0b\"", 5), QUIPU_JSON, 2);
    refuses_slice(quipu_slice(NULL, 0), QUIPU_JSON, 0);
}

Test(dagjson_read, decodes_escapes)
{
    accepts("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "68225c2f080c0a0d09");
    accepts("\"\\u0000\\u0041\\u00e9\\u20AC\"", "670041c3a9e282ac");
    accepts("\"\\ud83d\\ude80\"", "64f09f9a80");
    accepts("\"a\\u0062c\"", "63616263");
    accepts("{\"\\u0061\":1,\"b\":2}", "a2616101616202");
}

Test(dagjson_read, refuses_lone_surrogates_and_bad_utf8)
{
    refuses("\"\\ud800\"", QUIPU_JSON, 1);
    refuses("\"\\ude80\"", QUIPU_JSON, 1);
    refuses("\"\\ud83d\\u0041\"", QUIPU_JSON, 1);
    refuses("\"\\ud83dx\"", QUIPU_JSON, 1);
    refuses("\"\\ud83d\\ud83d\"", QUIPU_JSON, 1);
    refuses("\"\xff\"", QUIPU_JSON, 1);
    refuses("\"a\xed\xa0\x80\"", QUIPU_JSON, 2);
    refuses("\"\xc0\xaf\"", QUIPU_JSON, 1);
}

Test(dagjson_read, sorts_keys_length_first)
{
    accepts("{\"bb\":1,\"a\":2,\"c\":3}", "a3"
                                          "616102"
                                          "616303"
                                          "62626201");
    accepts("{\"\":0,\"a\":{\"z\":1,\"y\":2}}", "a2"
                                                "6000"
                                                "6161"
                                                "a2"
                                                "617902"
                                                "617a01");
    /* 24 keys and more: the head takes two bytes and the pairs move. */
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf expected = QUIPU_BUF_INIT;
    quipu_buf_append_byte(&json, '{');
    quipu_buf_append_text(&expected, "b81a");
    for (int c = 'z'; c >= 'a'; c--) {
        quipu_buf_printf(&json, "%s\"%c\":%d", c == 'z' ? "" : ",", c, c - 'a');
    }
    for (int c = 'a'; c <= 'z'; c++) {
        quipu_buf_printf(&expected, c - 'a' < 24 ? "61%02x%02x" : "61%02x18%02x", c, c - 'a');
    }
    quipu_buf_append(&json, "}\0", 2);
    quipu_buf_append_byte(&expected, 0);

    accepts((const char *)json.data, (const char *)expected.data);

    quipu_buf_release(&json);
    quipu_buf_release(&expected);
}

Test(dagjson_read, refuses_a_key_twice_and_names_the_second)
{
    refuses("{\"foo\":1,\"foo\":2,\"bar\":3}", QUIPU_JSON, 9);
    refuses("{\"a\":1,\"bb\":2,\"\\u0061\":3}", QUIPU_JSON, 14);
    refuses("[{\"\":1,\"\":1}]", QUIPU_JSON, 7);
    refuses("{\"/\":1,\"/\":1}", QUIPU_JSON, 7);
}

Test(dagjson_read, takes_links)
{
    accepts("{\"/\":\"" LINK_TEXT "\"}", LINK_HEX);
    accepts("[{\"/\" : \"" LINK_TEXT "\" }]", "81" LINK_HEX);
    accepts("{\"/\":\"QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL\"}",
            "d82a582300122031c3d57080d8463a3c63b2923df5a1d40ad7a73eae5a14af584213e5f504ac33");
    accepts("{\"\\u002f\":\"" LINK_TEXT "\"}", LINK_HEX);
}

Test(dagjson_read, takes_bytes)
{
    accepts("{\"/\":{\"bytes\":\"\"}}", "40");
    accepts("{\"/\":{\"bytes\":\"AA\"}}", "4100");
    accepts("{\"/\":{\"bytes\":\"AAE\"}}", "420001");
    accepts("{\"/\":{\"bytes\":\"+/+/\"}}", "43fbffbf");
    accepts("{\"a\":{\"/\":{\"bytes\":\"AQID\"}}}", "a1616143010203");
    accepts("{\"/\":{\"bytes\":\"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGA\"}}",
            "5819000102030405060708090a0b0c0d0e0f101112131415161718");
}

Test(dagjson_read, refuses_bad_links_and_bytes)
{
    refuses("{\"/\":\"foo\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":\"\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":\"bafyreid\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":\"B\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":\"QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEf0\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":\"QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEf\"}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":{\"bytes\":\"A\"}}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":{\"bytes\":\"AA==\"}}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":{\"bytes\":\"AB\"}}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":{\"bytes\":\"A_-A\"}}", QUIPU_DAGJSON, 5);
    refuses("{\"/\":{\"bytes\":\"AA AA\"}}", QUIPU_DAGJSON, 5);
}

Test(dagjson_read, keeps_the_reserved_namespace)
{
    /* The forms that the specification names as never valid. */
    refuses("{\"/\":\"foo\",\"bar\":\"baz\"}", QUIPU_DAGJSON, 1);
    refuses("{\"/\":{\"bytes\":\"foo\",\"car\":\"baz\"}}", QUIPU_DAGJSON, 1);
    refuses("{\"/\":{\"bytes\":\"foo\"},\"bar\":\"baz\"}", QUIPU_DAGJSON, 1);
    refuses("{\"bar\":\"baz\",\"/\":\"" LINK_TEXT "\"}", QUIPU_DAGJSON, 13);
    /* And those that it leaves to be maps: "/" is not the first key in order, or is no string. */
    accepts("{\"/\":true,\"bar\":\"baz\"}", "a2612ff563626172"
                                            "6362617a");
    accepts("{\"/\":1}", "a1612f01");
    accepts("{\"/\":{}}", "a1612fa0");
    accepts("{\"/\":[\"foo\"]}", "a1612f8163666f6f");
    accepts("{\"/\":{\"bytes\":true}}", "a1612fa1656279746573f5");
    accepts("{\"/\":{\"abar\":1,\"bytes\":\"foo\"}}", "a1612fa26461626172016562797465"
                                                      "7363666f6f");
    accepts("{\"!\":1,\"/\":\"foo\"}", "a2612101612f63666f6f");
    accepts("{\"\":1,\"/\":{\"bytes\":\"AA\"}}", "a26001612fa16562797465"
                                                 "73624141");
    accepts("{\"!!\":1,\"/\":\"x\"}", "a2612f6178"
                                      "62212101");
    accepts("{\"/\":{\"/\":\"" LINK_TEXT "\"}}", "a1612f" LINK_HEX);
    accepts("{\"/\":{\"/\":{\"bytes\":\"AA\"}}}", "a1612f4100");
    accepts("{\"bytes\":\"AA\"}", "a16562797465"
                                  "73624141");
}

/* `levels` lists around `inner`. */
static struct quipu_slice nested(struct quipu_buf *buf, int levels, const char *inner)
{
    quipu_buf_reset(buf);
    for (int i = 0; i < levels; i++) {
        quipu_buf_append_byte(buf, '[');
    }
    quipu_buf_append_text(buf, inner);
    for (int i = 0; i < levels; i++) {
        quipu_buf_append_byte(buf, ']');
    }
    return quipu_buf_slice(buf);
}

Test(dagjson_read, holds_the_depth_of_the_value_not_of_its_text)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf hex = QUIPU_BUF_INIT;
    struct quipu_error err;
    int limit = QUIPU_DAGCBOR_DEPTH_DEFAULT;

    cr_assert_eq(to_cbor(nested(&json, limit - 1, "1"), &hex, &err), QUIPU_OK);
    cr_assert_eq(to_cbor(nested(&json, limit, "1"), &hex, &err), QUIPU_OK);
    refuses_slice(nested(&json, limit + 1, "1"), QUIPU_CBOR_DEPTH, (uint64_t)limit);
    refuses_slice(nested(&json, limit + 2, "1"), QUIPU_CBOR_DEPTH, (uint64_t)limit);
    refuses_slice(nested(&json, 100000, "1"), QUIPU_CBOR_DEPTH, (uint64_t)limit + 2);
    /* Bytes take two more levels of text, but none of the value. */
    cr_assert_eq(to_cbor(nested(&json, limit, "{\"/\":{\"bytes\":\"AA\"}}"), &hex, &err), QUIPU_OK);
    cr_assert_eq(to_cbor(nested(&json, limit, "{\"/\":\"" LINK_TEXT "\"}"), &hex, &err), QUIPU_OK);
    refuses_slice(nested(&json, limit, "{\"a\":1}"), QUIPU_CBOR_DEPTH, (uint64_t)limit);
    refuses_slice(nested(&json, limit - 1, "{\"a\":{\"bytes\":\"AA\"}}"), QUIPU_CBOR_DEPTH,
                  (uint64_t)limit + 4);
    refuses_slice(nested(&json, limit, "{\"a\":{\"/\":{\"bytes\":\"AA\"}}}"), QUIPU_CBOR_DEPTH,
                  (uint64_t)limit + 10);

    quipu_buf_release(&json);
    quipu_buf_release(&hex);
}

Test(dagjson_read, appends_behind_what_the_buffer_holds_and_only_on_success)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    quipu_buf_append_text(&out, "x");

    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text("[1"), &out, NULL), QUIPU_JSON);
    cr_assert_eq(out.len, 1);
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text("[1]"), &out, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("x\x81\x01")));

    uint8_t small[2];
    struct quipu_buf fixed;
    quipu_buf_init_fixed(&fixed, small, sizeof small);
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text("[1,2]"), &fixed, NULL),
                 QUIPU_TOO_LARGE);
    quipu_buf_release(&out);
}

/* An allocator that fails the n-th request. */
struct failing {
    int left;
};

static void *failing_reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct failing *failing = ctx;
    return failing->left-- == 0 ? NULL : realloc(pointer, bytes);
}

static void failing_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

Test(dagjson_read, survives_the_failure_of_any_allocation)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    quipu_buf_append_text(&json, "{\"zz\":[1.5,\"\\n\",{\"/\":\"" LINK_TEXT "\"}");
    for (int i = 0; i < 400; i++) {
        quipu_buf_printf(&json, ",{\"b%d\":\"some text\",\"a\":{\"/\":{\"bytes\":\"AQID\"}}}", i);
    }
    quipu_buf_append_text(&json, "],\"a\":1}");
    struct failing failing;
    struct quipu_allocator allocator = {failing_reallocate, failing_release, &failing};
    enum quipu_status status = QUIPU_NO_MEMORY;
    int failures = 0;
    for (int n = 0; status != QUIPU_OK; n++) {
        struct quipu_buf out = QUIPU_BUF_INIT;
        failing.left = n;
        quipu_alloc_set(&allocator);

        status = quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), &out, NULL);

        quipu_buf_release(&out);
        quipu_alloc_set(NULL);
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "%s", quipu_status_name(status));
        failures += status == QUIPU_NO_MEMORY;
    }
    cr_assert_gt(failures, 5);
    quipu_buf_release(&json);
}
