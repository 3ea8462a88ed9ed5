/*
 * DAG-CBOR to canonical DAG-JSON: every kind, the shortest floats, order, the way there and back.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "comma_locale.h"
#include "internal/bytes.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

#define LINK_TEXT "bafyreidykglsfhoixmivffc5uwhcgshx4j465xwqntbmu43nb2dzqwfvae"
#define LINK_HEX                                                                                   \
    "d82a58250001711220785197229dc8bb1152945da58e2348f7e279eeded06cc2ca736d0e879858b501"

static enum quipu_status to_json(const char *hex, struct quipu_buf *json, struct quipu_error *err)
{
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_hex_decode(&cbor, quipu_slice_text(hex)), QUIPU_OK);
    enum quipu_status status = quipu_dagjson_from_dagcbor(quipu_buf_slice(&cbor), json, err);
    quipu_buf_release(&cbor);
    return status;
}

/* What says beforehand whether DAG-JSON can carry a block says what writing it says. */
static void checks(const char *hex, enum quipu_status expected, uint64_t offset)
{
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};
    cr_assert_eq(quipu_hex_decode(&cbor, quipu_slice_text(hex)), QUIPU_OK);

    enum quipu_status status =
        quipu_dagjson_check(quipu_buf_slice(&cbor), QUIPU_DAGCBOR_DEPTH_DEFAULT, &err);

    cr_assert_eq(status, expected, "%s: %s", hex, quipu_status_name(status));
    cr_assert_eq(err.offset, offset, "%s: at %d: %s", hex, (int)err.offset, err.message);
    quipu_buf_release(&cbor);
}

/* `hex` is written as `expected` and read back as `hex`. */
static void writes(const char *hex, const char *expected)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_buf cbor = QUIPU_BUF_INIT;
    struct quipu_buf back = QUIPU_BUF_INIT;
    struct quipu_error err = {.message = ""};

    cr_assert_eq(to_json(hex, &json, &err), QUIPU_OK, "%s: %s", hex, err.message);
    checks(hex, QUIPU_OK, 0);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&json), quipu_slice_text(expected)),
              "%s gave %.*s, not %s", hex, QUIPU_SLICE_FMT(quipu_buf_slice(&json)), expected);
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), &cbor, &err), QUIPU_OK, "%s: %s",
                 expected, err.message);
    quipu_hex_append(&back, quipu_buf_slice(&cbor));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&back), quipu_slice_text(hex)),
              "%s came back as %.*s", hex, QUIPU_SLICE_FMT(quipu_buf_slice(&back)));
    quipu_buf_release(&json);
    quipu_buf_release(&cbor);
    quipu_buf_release(&back);
}

static void refuses(const char *hex, enum quipu_status expected, uint64_t offset)
{
    struct quipu_buf json = QUIPU_BUF_INIT;
    struct quipu_error err = {.offset = 0};

    enum quipu_status status = to_json(hex, &json, &err);

    cr_assert_eq(status, expected, "%s: %s", hex, quipu_status_name(status));
    cr_assert_eq(err.offset, offset, "%s: at %d: %s", hex, (int)err.offset, err.message);
    cr_assert_eq(json.len, 0);
    checks(hex, expected, offset);
    quipu_buf_release(&json);
}

Test(dagjson_write, writes_every_kind)
{
    writes("f6", "null");
    writes("f5", "true");
    writes("f4", "false");
    writes("00", "0");
    writes("1bffffffffffffffff", "18446744073709551615");
    writes("20", "-1");
    writes("3bfffffffffffffffe", "-18446744073709551615");
    writes("3bffffffffffffffff", "-18446744073709551616");
    writes("60", "\"\"");
    writes("6668c3a96c6c6f", "\"h\xc3\xa9llo\"");
    writes("40", "{\"/\":{\"bytes\":\"\"}}");
    writes("43fbffbf", "{\"/\":{\"bytes\":\"+/+/\"}}");
    writes("4100", "{\"/\":{\"bytes\":\"AA\"}}");
    writes("420001", "{\"/\":{\"bytes\":\"AAE\"}}");
    writes(LINK_HEX, "{\"/\":\"" LINK_TEXT "\"}");
    writes("d82a582300122031c3d57080d8463a3c63b2923df5a1d40ad7a73eae5a14af584213e5f504ac33",
           "{\"/\":\"QmRgutAxd8t7oGkSm4wmeuByG6M51wcTso6cubDdQtuEfL\"}");
    writes("80", "[]");
    writes("a0", "{}");
    writes("8301820280a0", "[1,[2,[]],{}]");
}

Test(dagjson_write, escapes_what_json_must_and_nothing_else)
{
    writes("6a225c2f08090a0c0d007f", "\"\\\"\\\\/\\b\\t\\n\\f\\r\\u0000\x7f\"");
    writes("621f1b", "\"\\u001f\\u001b\"");
    writes("6ae282ace280a8f09f9a80", "\"\xe2\x82\xac\xe2\x80\xa8\xf0\x9f\x9a\x80\"");
}

Test(dagjson_write, sorts_keys_bytewise)
{
    writes("a361610261620362616101", "{\"a\":2,\"aa\":1,\"b\":3}");
    writes("a26162a2617a0162616102626161"
           "80",
           "{\"aa\":[],\"b\":{\"aa\":2,\"z\":1}}");
    writes("a2600062ce8500", "{\"\":0,\"\xce\x85\":0}");
}

static void writes_float(double value, const char *expected)
{
    uint8_t item[9] = {0xfb};
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    quipu_store_be64(item + 1, bits);
    struct quipu_buf hex = QUIPU_BUF_INIT;
    quipu_hex_append(&hex, quipu_slice(item, sizeof item));
    quipu_buf_append_byte(&hex, 0);

    writes((const char *)hex.data, expected);

    quipu_buf_release(&hex);
}

Test(dagjson_write, writes_floats_in_the_shortest_text)
{
    writes_float(0.0, "0.0");
    writes_float(-0.0, "-0.0");
    writes_float(1.0, "1.0");
    writes_float(-1.5, "-1.5");
    writes_float(0.1, "0.1");
    writes_float(100.0, "100.0");
    writes_float(123456789012345680000.0, "123456789012345680000.0");
    writes_float(1e21, "1e+21");
    writes_float(1.5e21, "1.5e+21");
    writes_float(0.000001, "0.000001");
    writes_float(0.0000015, "0.0000015");
    writes_float(1e-7, "1e-7");
    writes_float(1.25e-7, "1.25e-7");
    writes_float(9007199254740993.0, "9007199254740992.0");
    writes_float(0.30000000000000004, "0.30000000000000004");
    writes_float(1.7976931348623157e308, "1.7976931348623157e+308");
    writes_float(2.2250738585072014e-308, "2.2250738585072014e-308");
    writes_float(2.225073858507201e-308, "2.225073858507201e-308");
    writes_float(5e-324, "5e-324");
    writes_float(1.5e-323, "1.5e-323");
    writes_float(9.5367431640625e-07, "9.5367431640625e-7");
    /* 2^-44: the nearest 16 digits read back to another double, the next ones above do not. */
    writes_float(5.684341886080802e-14, "5.684341886080802e-14");
}

Test(dagjson_write, writes_floats_the_same_under_a_comma_locale)
{
    struct temp_dir dir;
    temp_dir_init(&dir);
    bool has_locale = comma_locale_set(&dir);
    if (!has_locale) {
        temp_dir_release(&dir);
        cr_skip_test("no comma locale can be made here");
    }

    writes_float(1.5, "1.5");
    writes_float(1.25e-7, "1.25e-7");
    writes_float(0.30000000000000004, "0.30000000000000004");

    temp_dir_release(&dir);
}

/* xorshift64*: the same values on every run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* Significant digits of a number's text. */
static size_t digit_count(struct quipu_slice text)
{
    size_t count = 0;
    size_t zeros = 0; /* at the end so far */
    for (size_t i = 0; i < text.len && text.data[i] != 'e'; i++) {
        uint8_t c = text.data[i];
        bool is_digit = c >= '0' && c <= '9';
        if (!is_digit || (c == '0' && count == 0)) {
            continue;
        }
        count++;
        zeros = c == '0' ? zeros + 1 : 0;
    }
    return count - zeros;
}

/* How many digits printf needs for a text that reads back to `value`. */
static size_t printf_digits(double value)
{
    char text[64];
    for (int precision = 1; precision < 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision - 1, value);
        if (strtod(text, NULL) == value) {
            return (size_t)precision;
        }
    }
    return 17;
}

Test(dagjson_write, brings_every_float_back_and_never_in_more_digits_than_printf)
{
    uint64_t state = 20;
    for (int i = 0; i < 20000; i++) {
        /* Every fourth a power of two, where the gaps below and above differ. */
        uint64_t bits = next_random(&state) & (i % 4 == 0 ? UINT64_C(0x7ff) << 52 : UINT64_MAX);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) {
            continue;
        }
        uint8_t item[9] = {0xfb};
        quipu_store_be64(item + 1, bits);
        struct quipu_buf json = QUIPU_BUF_INIT;
        struct quipu_buf cbor = QUIPU_BUF_INIT;

        cr_assert_eq(quipu_dagjson_from_dagcbor(quipu_slice(item, sizeof item), &json, NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_buf_slice(&json), &cbor, NULL), QUIPU_OK);

        cr_assert(quipu_slice_equal(quipu_buf_slice(&cbor), quipu_slice(item, sizeof item)),
                  "%a as %.*s", value, QUIPU_SLICE_FMT(quipu_buf_slice(&json)));
        cr_assert_leq(digit_count(quipu_buf_slice(&json)), printf_digits(value), "%a", value);
        quipu_buf_release(&json);
        quipu_buf_release(&cbor);
    }
}

Test(dagjson_write, refuses_maps_that_would_read_back_as_something_else)
{
    refuses("a1612f63666f6f", QUIPU_DAGJSON, 0);               /* {"/": "foo"} */
    refuses("81a2612f63666f6f6361616101", QUIPU_DAGJSON, 1);   /* [{"/": "foo", "aaa": 1}] */
    refuses("a1612fa165627974657363666f6f", QUIPU_DAGJSON, 0); /* {"/": {"bytes": "foo"}} */
    refuses("a1612fa261630165627974657360", QUIPU_DAGJSON, 0); /* {"/": {"c": 1, "bytes": ""}} */
    refuses("a2612fa1656279746573606162"
            "01",
            QUIPU_DAGJSON, 0);
    /* Inside of others, which go on behind them: {"a": {"/": "x"}, "b": 1} and so on. */
    refuses("a26161a1612f6178616201", QUIPU_DAGJSON, 3);
    refuses("a1612fa16121a1612f60", QUIPU_DAGJSON, 6);
    refuses("8301a1612f6002", QUIPU_DAGJSON, 2);
    writes("a1612f01", "{\"/\":1}");
    writes("a1612fa0", "{\"/\":{}}");
    writes("a1612f80", "{\"/\":[]}");
    writes("a1612f816178", "{\"/\":[\"x\"]}");
    writes("a1612fa1656279746573a0", "{\"/\":{\"bytes\":{}}}");
    writes("a1612fa1656279746573a165627974657360", "{\"/\":{\"bytes\":{\"bytes\":\"\"}}}");
    writes("a2606178612f60", "{\"\":\"x\",\"/\":\"\"}");
    writes("a1612f4100", "{\"/\":{\"/\":{\"bytes\":\"AA\"}}}");
    writes("a1612f" LINK_HEX, "{\"/\":{\"/\":\"" LINK_TEXT "\"}}");
    writes("a1612fa2616101656279746573"
           "60",
           "{\"/\":{\"a\":1,\"bytes\":\"\"}}");
    writes("a2612f617862212101", "{\"!!\":1,\"/\":\"x\"}");
    writes("a165627974657360", "{\"bytes\":\"\"}");
}

Test(dagjson_write, refuses_what_is_not_strict_dag_cbor)
{
    refuses("1817", QUIPU_CBOR_NOT_SHORTEST, 0);
    refuses("8201f7", QUIPU_CBOR_SIMPLE, 2);
    refuses("81", QUIPU_CBOR_TRUNCATED, 0);
    refuses("0000", QUIPU_CBOR_TRAILING, 1);
    refuses("a2616201616101", QUIPU_CBOR_KEY_ORDER, 4);
}

Test(dagjson_write, brings_the_deepest_value_back)
{
    struct quipu_buf hex = QUIPU_BUF_INIT;
    struct quipu_buf json = QUIPU_BUF_INIT;
    for (int i = 0; i < QUIPU_DAGCBOR_DEPTH_DEFAULT; i++) {
        quipu_buf_append_text(&hex, "81");
        quipu_buf_append_byte(&json, '[');
    }
    quipu_buf_append(&hex, "4100", 5);
    quipu_buf_append_text(&json, "{\"/\":{\"bytes\":\"AA\"}}");
    for (int i = 0; i < QUIPU_DAGCBOR_DEPTH_DEFAULT; i++) {
        quipu_buf_append_byte(&json, ']');
    }
    quipu_buf_append_byte(&json, 0);

    writes((const char *)hex.data, (const char *)json.data);

    quipu_buf_release(&hex);
    quipu_buf_release(&json);
}

Test(dagjson_write, check_goes_as_deep_as_it_is_told)
{
    uint8_t block[QUIPU_DAGCBOR_DEPTH_DEFAULT + 2];
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = 0x81;
    }
    for (uint32_t levels = 1; levels <= QUIPU_DAGCBOR_DEPTH_DEFAULT + 1; levels++) {
        struct quipu_slice nested = quipu_slice(block, levels + 1);
        block[levels] = 0;
        enum quipu_status whole =
            levels <= QUIPU_DAGCBOR_DEPTH_DEFAULT ? QUIPU_OK : QUIPU_CBOR_DEPTH;
        cr_assert_eq(quipu_dagjson_check(nested, UINT32_MAX, NULL), whole, "%u", levels);
        cr_assert_eq(quipu_dagjson_check(nested, levels, NULL), whole, "%u", levels);
        cr_assert_eq(quipu_dagjson_check(nested, levels - 1, NULL), QUIPU_CBOR_DEPTH);
        block[levels] = 0x81;
    }
}

Test(json_string, replaces_each_byte_that_is_no_utf8)
{
    struct quipu_buf out = QUIPU_BUF_INIT;

    quipu_json_append_string(&out, quipu_slice("a\xff\xc3(\"\xe2\x82", 7));

    cr_assert(quipu_slice_equal(
        quipu_buf_slice(&out),
        quipu_slice_text("\"a\xef\xbf\xbd\xef\xbf\xbd(\\\"\xef\xbf\xbd\xef\xbf\xbd\"")));
    quipu_buf_release(&out);
}

Test(json_string, takes_the_empty_slice)
{
    struct quipu_buf out = QUIPU_BUF_INIT;

    quipu_json_append_string(&out, quipu_slice(NULL, 0));

    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("\"\"")));
    quipu_buf_release(&out);
}
