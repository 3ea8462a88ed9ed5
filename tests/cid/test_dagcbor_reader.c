/*
 * The strict reader: what it gives, every refusal with its status and offset, its limits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/dagcbor.h"
#include "quipu/text.h"

#define CID_HEX "0171122058ad9e5b6fbb2ce1c3fb6c6c1d5b5a0a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a"

static enum quipu_status validate_hex(const char *hex, struct quipu_error *err)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text(hex)), QUIPU_OK, "%s", hex);
    enum quipu_status status = quipu_dagcbor_validate(quipu_buf_slice(&bytes), err);
    quipu_buf_release(&bytes);
    return status;
}

/* Reads hex into `*storage` and its first item. */
static struct quipu_dagcbor_item first_item(const char *hex, struct quipu_buf *storage,
                                            struct quipu_dagcbor_reader *reader)
{
    struct quipu_dagcbor_item item = {0};
    quipu_buf_reset(storage);
    cr_assert_eq(quipu_hex_decode(storage, quipu_slice_text(hex)), QUIPU_OK);
    quipu_dagcbor_reader_init(reader, quipu_buf_slice(storage));
    cr_assert_eq(quipu_dagcbor_next(reader, &item, NULL), QUIPU_OK, "%s", hex);
    return item;
}

Test(dagcbor_reader, gives_integers_over_the_whole_range)
{
    static const struct {
        const char *hex;
        enum quipu_dagcbor_kind kind;
        uint64_t number;
    } cases[] = {
        {"00", QUIPU_DAGCBOR_UINT, 0},
        {"17", QUIPU_DAGCBOR_UINT, 23},
        {"1818", QUIPU_DAGCBOR_UINT, 24},
        {"18ff", QUIPU_DAGCBOR_UINT, 255},
        {"190100", QUIPU_DAGCBOR_UINT, 256},
        {"19ffff", QUIPU_DAGCBOR_UINT, 65535},
        {"1a00010000", QUIPU_DAGCBOR_UINT, 65536},
        {"1affffffff", QUIPU_DAGCBOR_UINT, UINT32_MAX},
        {"1b0000000100000000", QUIPU_DAGCBOR_UINT, UINT64_C(1) << 32},
        {"1bffffffffffffffff", QUIPU_DAGCBOR_UINT, UINT64_MAX},
        {"20", QUIPU_DAGCBOR_NEGATIVE, 0},
        {"3818", QUIPU_DAGCBOR_NEGATIVE, 24},
        {"3bffffffffffffffff", QUIPU_DAGCBOR_NEGATIVE, UINT64_MAX},
    };
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_dagcbor_reader reader;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_dagcbor_item item = first_item(cases[i].hex, &storage, &reader);
        cr_assert_eq(item.kind, cases[i].kind, "%s", cases[i].hex);
        cr_assert_eq(item.number, cases[i].number, "%s", cases[i].hex);
        cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_DONE);
        cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_DONE);
    }
    quipu_buf_release(&storage);
}

Test(dagcbor_reader, gives_the_other_scalars)
{
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_dagcbor_reader reader;

    struct quipu_dagcbor_item item = first_item("f4", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_BOOL && item.number == 0);
    item = first_item("f5", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_BOOL && item.number == 1);
    item = first_item("f6", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_NULL);
    item = first_item("fb3ff8000000000000", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_FLOAT && item.real == 1.5);
    item = first_item("fb7fefffffffffffff", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_FLOAT && item.real == 1.7976931348623157e308);
    item = first_item("43010203", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_BYTES && item.bytes.len == 3);
    cr_assert_eq(item.bytes.data, storage.data + 1);
    item = first_item("62c3a9", &storage, &reader);
    cr_assert(item.kind == QUIPU_DAGCBOR_TEXT && item.bytes.len == 2 && !item.is_key);
    quipu_buf_release(&storage);
}

Test(dagcbor_reader, gives_links_of_either_version)
{
    struct quipu_buf storage = QUIPU_BUF_INIT;
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item = first_item("d82a582500" CID_HEX, &storage, &reader);

    cr_assert_eq(item.kind, QUIPU_DAGCBOR_LINK);
    cr_assert(item.link.version == 1 && item.link.codec == 0x71 && item.link.hash == 0x12);
    cr_assert_eq(item.link.bytes.data, storage.data + 5);
    cr_assert_eq(item.link.bytes.len, 36);
    cr_assert_eq(item.link.digest.data, storage.data + 9);
    cr_assert_eq(item.link.digest.len, 32);

    item = first_item("d82a582300122022ad631c69ee983095b5b8acd029ff94aff1dc6c48837878589a92b90d"
                      "fea317",
                      &storage, &reader);
    cr_assert(item.link.version == 0 && item.link.codec == 0x70);

    item = first_item("d82a480001000003616263", &storage, &reader);
    cr_assert(item.link.version == 1 && item.link.codec == 0 && item.link.hash == 0);
    cr_assert(quipu_slice_equal(item.link.digest, quipu_slice_text("abc")));
    quipu_buf_release(&storage);
}

Test(dagcbor_reader, walks_depth_first_and_marks_keys)
{
    /* {"a": [1, {"b": {}}], "cc": []} */
    static const struct {
        enum quipu_dagcbor_kind kind;
        bool is_key;
        size_t offset;
    } walk[] = {
        {QUIPU_DAGCBOR_MAP, false, 0},   {QUIPU_DAGCBOR_TEXT, true, 1},
        {QUIPU_DAGCBOR_LIST, false, 3},  {QUIPU_DAGCBOR_UINT, false, 4},
        {QUIPU_DAGCBOR_MAP, false, 5},   {QUIPU_DAGCBOR_TEXT, true, 6},
        {QUIPU_DAGCBOR_MAP, false, 8},   {QUIPU_DAGCBOR_TEXT, true, 9},
        {QUIPU_DAGCBOR_LIST, false, 12},
    };
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    quipu_dagcbor_reader_init(&reader, quipu_slice("\xa2\x61"
                                                   "a\x82\x01\xa1\x61"
                                                   "b\xa0\x62"
                                                   "cc\x80",
                                                   13));
    for (size_t i = 0; i < sizeof walk / sizeof walk[0]; i++) {
        cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_OK, "item %zu", i);
        cr_assert_eq(item.kind, walk[i].kind, "item %zu", i);
        cr_assert_eq(item.is_key, walk[i].is_key, "item %zu", i);
        cr_assert_eq(item.offset, walk[i].offset, "item %zu", i);
    }
    cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_DONE);
}

Test(dagcbor_reader, refuses_each_broken_rule_with_its_status_and_place)
{
    static const struct {
        const char *hex;
        enum quipu_status status;
        uint64_t offset;
    } cases[] = {
        {"", QUIPU_CBOR_TRUNCATED, 0},
        {"18", QUIPU_CBOR_TRUNCATED, 0},
        {"1901", QUIPU_CBOR_TRUNCATED, 0},
        {"1a010203", QUIPU_CBOR_TRUNCATED, 0},
        {"1b01020304050607", QUIPU_CBOR_TRUNCATED, 0},
        {"4161", QUIPU_OK, 0},
        {"4261", QUIPU_CBOR_TRUNCATED, 0},
        {"6261", QUIPU_CBOR_TRUNCATED, 0},
        {"8101", QUIPU_OK, 0},
        {"8201", QUIPU_CBOR_TRUNCATED, 0},
        {"828101", QUIPU_CBOR_TRUNCATED, 3},
        {"a16161", QUIPU_CBOR_TRUNCATED, 3},
        {"a161", QUIPU_CBOR_TRUNCATED, 0},
        {"9bffffffffffffffff", QUIPU_CBOR_TRUNCATED, 0},
        {"bbffffffffffffffff", QUIPU_CBOR_TRUNCATED, 0},
        {"5bffffffffffffffff", QUIPU_CBOR_TRUNCATED, 0},
        {"fb3ff80000000000", QUIPU_CBOR_TRUNCATED, 0},
        {"f8", QUIPU_CBOR_TRUNCATED, 0},
        {"d8", QUIPU_CBOR_TRUNCATED, 0},
        {"d82a", QUIPU_CBOR_TRUNCATED, 2},
        {"d82a58", QUIPU_CBOR_TRUNCATED, 2},
        {"d82a44000155", QUIPU_CBOR_TRUNCATED, 2},
        {"0000", QUIPU_CBOR_TRAILING, 1},
        {"80ff", QUIPU_CBOR_TRAILING, 1},
        {"a161610200", QUIPU_CBOR_TRAILING, 4},
        {"1817", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"1900ff", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"1a0000ffff", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"1b00000000ffffffff", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"3800", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"580161", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"780161", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"980100", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"b801616100", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"d9002a4100", QUIPU_CBOR_NOT_SHORTEST, 0},
        {"d82a590025"
         "00" CID_HEX,
         QUIPU_CBOR_NOT_SHORTEST, 2},
        {"81820118ff", QUIPU_OK, 0},
        {"8182011817", QUIPU_CBOR_NOT_SHORTEST, 3},
        {"5f4100ff", QUIPU_CBOR_INDEFINITE, 0},
        {"7f6161ff", QUIPU_CBOR_INDEFINITE, 0},
        {"9fff", QUIPU_CBOR_INDEFINITE, 0},
        {"bfff", QUIPU_CBOR_INDEFINITE, 0},
        {"81ff", QUIPU_CBOR_INDEFINITE, 1},
        {"a17fff", QUIPU_CBOR_INDEFINITE, 1},
        {"d82a5f", QUIPU_CBOR_INDEFINITE, 2},
        {"1c", QUIPU_CBOR_RESERVED, 0},
        {"3d", QUIPU_CBOR_RESERVED, 0},
        {"5e", QUIPU_CBOR_RESERVED, 0},
        {"1f", QUIPU_CBOR_RESERVED, 0},
        {"3f", QUIPU_CBOR_RESERVED, 0},
        {"df", QUIPU_CBOR_RESERVED, 0},
        {"fc", QUIPU_CBOR_RESERVED, 0},
        {"fe", QUIPU_CBOR_RESERVED, 0},
        {"a10000", QUIPU_CBOR_KEY_NOT_TEXT, 1},
        {"a1416100", QUIPU_CBOR_KEY_NOT_TEXT, 1},
        {"a1f400", QUIPU_CBOR_KEY_NOT_TEXT, 1},
        {"a18000", QUIPU_CBOR_KEY_NOT_TEXT, 1},
        {"a1ff00", QUIPU_CBOR_KEY_NOT_TEXT, 1},
        {"a161610102", QUIPU_CBOR_TRAILING, 4},
        {"a2616101"
         "02"
         "03",
         QUIPU_CBOR_KEY_NOT_TEXT, 4},
        {"a2616201616102", QUIPU_CBOR_KEY_ORDER, 4},
        {"a262616101616202", QUIPU_CBOR_KEY_ORDER, 5},
        {"a2616101626161"
         "02",
         QUIPU_OK, 0},
        {"a26161016002", QUIPU_CBOR_KEY_ORDER, 4},
        {"a2600161610"
         "2",
         QUIPU_OK, 0},
        {"a2616101616102", QUIPU_CBOR_KEY_DUPLICATE, 4},
        {"a260016002", QUIPU_CBOR_KEY_DUPLICATE, 3},
        {"a26161a26161016161026162"
         "03",
         QUIPU_CBOR_KEY_DUPLICATE, 7},
        {"f93e00", QUIPU_CBOR_FLOAT_WIDTH, 0},
        {"f97c00", QUIPU_CBOR_FLOAT_WIDTH, 0},
        {"f9", QUIPU_CBOR_FLOAT_WIDTH, 0},
        {"fa3fc00000", QUIPU_CBOR_FLOAT_WIDTH, 0},
        {"fb7ff8000000000000", QUIPU_CBOR_FLOAT_NOT_FINITE, 0},
        {"fb7ff0000000000001", QUIPU_CBOR_FLOAT_NOT_FINITE, 0},
        {"fb7ff0000000000000", QUIPU_CBOR_FLOAT_NOT_FINITE, 0},
        {"fbfff0000000000000", QUIPU_CBOR_FLOAT_NOT_FINITE, 0},
        {"81fbfff8000000000000", QUIPU_CBOR_FLOAT_NOT_FINITE, 1},
        {"f7", QUIPU_CBOR_SIMPLE, 0},
        {"e0", QUIPU_CBOR_SIMPLE, 0},
        {"f3", QUIPU_CBOR_SIMPLE, 0},
        {"f814", QUIPU_CBOR_SIMPLE, 0},
        {"f8ff", QUIPU_CBOR_SIMPLE, 0},
        {"c000", QUIPU_CBOR_TAG, 0},
        {"c24101", QUIPU_CBOR_TAG, 0},
        {"d82b4100", QUIPU_CBOR_TAG, 0},
        {"d9d9f700", QUIPU_CBOR_TAG, 0},
        {"d82a00", QUIPU_CBOR_LINK, 2},
        {"d82a6100", QUIPU_CBOR_LINK, 2},
        {"d82a40", QUIPU_CBOR_LINK, 3},
        {"d82a4101", QUIPU_CBOR_LINK, 3},
        {"d82a4100", QUIPU_CBOR_LINK, 4},
        {"d82a5824" CID_HEX, QUIPU_CBOR_LINK, 4},
        {"d82a582500"
         "0271122058ad9e5b6fbb2ce1c3fb6c6c1d5b5a0a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a",
         QUIPU_CBOR_LINK, 5},
        {"d82a582600" CID_HEX "00", QUIPU_CBOR_LINK, 41},
        {"d82a450001551201", QUIPU_CBOR_LINK, 8},
        {"d82a4500015512"
         "81",
         QUIPU_CBOR_LINK, 8},
        {"61ff", QUIPU_CBOR_UTF8, 1},
        {"6361c328", QUIPU_CBOR_UTF8, 2},
        {"63eda080", QUIPU_CBOR_UTF8, 1},
        {"62c080", QUIPU_CBOR_UTF8, 1},
        {"6a616263646566676869e2", QUIPU_CBOR_UTF8, 10},
        {"a161ff00", QUIPU_CBOR_UTF8, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_error err = {.status = QUIPU_OK};
        cr_assert_eq(validate_hex(cases[i].hex, &err), cases[i].status, "%s: %s %s", cases[i].hex,
                     quipu_status_name(err.status), err.message);
        cr_assert_eq(err.status, cases[i].status);
        cr_assert_eq(err.offset, cases[i].offset, "%s: %s", cases[i].hex, err.message);
        cr_assert_eq(validate_hex(cases[i].hex, NULL), cases[i].status);
    }
}

Test(dagcbor_reader, stays_where_it_was_on_a_refusal)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_error err;
    quipu_dagcbor_reader_init(&reader, quipu_slice("\x82\x01\xf7", 3));
    cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_OK);
    cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_OK);

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(quipu_dagcbor_next(&reader, &item, &err), QUIPU_CBOR_SIMPLE);
        cr_assert_eq(err.offset, 2);
        cr_assert_eq(reader.at, 2);
    }
}

/* `depth` lists or maps around `inner`. */
static void nest(struct quipu_buf *out, size_t depth, bool in_maps, const char *inner, size_t len)
{
    for (size_t i = 0; i < depth; i++) {
        quipu_buf_append(out, in_maps ? "\xa1\x61k" : "\x81", in_maps ? 3 : 1);
    }
    quipu_buf_append(out, inner, len);
}

Test(dagcbor_reader, nests_as_deep_as_its_limit_and_no_deeper)
{
    for (int in_maps = 0; in_maps < 2; in_maps++) {
        for (size_t over = 0; over < 3; over++) {
            size_t depth = QUIPU_DAGCBOR_DEPTH_DEFAULT - 1 + over;
            struct quipu_buf block = QUIPU_BUF_INIT;
            struct quipu_error err = {0};
            nest(&block, depth, in_maps, "\x00", 1);

            enum quipu_status status = quipu_dagcbor_validate(quipu_buf_slice(&block), &err);
            cr_assert_eq(status, over < 2 ? QUIPU_OK : QUIPU_CBOR_DEPTH, "depth %zu", depth);
            if (over == 2) {
                cr_assert_eq(err.offset, QUIPU_DAGCBOR_DEPTH_DEFAULT * (in_maps ? 3u : 1u));
            }
            quipu_buf_release(&block);
        }
    }
}

Test(dagcbor_reader, counts_an_empty_list_as_a_level)
{
    for (size_t over = 0; over < 3; over++) {
        struct quipu_buf block = QUIPU_BUF_INIT;
        nest(&block, QUIPU_DAGCBOR_DEPTH_DEFAULT - 2 + over, false, "\x80", 1);
        cr_assert_eq(quipu_dagcbor_validate(quipu_buf_slice(&block), NULL),
                     over < 2 ? QUIPU_OK : QUIPU_CBOR_DEPTH);
        quipu_buf_release(&block);
    }
}

static enum quipu_status read_nested(size_t depth, uint32_t asked)
{
    static struct quipu_dagcbor_reader_level stack[QUIPU_DAGCBOR_DEPTH_MAX];
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_dagcbor_reader reader;
    struct quipu_slice whole;
    nest(&block, depth, true, "\xf6", 1);
    quipu_dagcbor_reader_init(&reader, quipu_buf_slice(&block));
    quipu_dagcbor_reader_set_stack(&reader, stack, asked);
    enum quipu_status status = quipu_dagcbor_next_whole(&reader, &whole, NULL);
    cr_assert(status != QUIPU_OK || quipu_slice_equal(whole, quipu_buf_slice(&block)));
    quipu_buf_release(&block);
    return status;
}

Test(dagcbor_reader, nests_deeper_on_a_lent_stack_up_to_the_absolute_limit)
{
    cr_assert_eq(read_nested(QUIPU_DAGCBOR_DEPTH_MAX - 1, QUIPU_DAGCBOR_DEPTH_MAX), QUIPU_OK);
    cr_assert_eq(read_nested(QUIPU_DAGCBOR_DEPTH_MAX, QUIPU_DAGCBOR_DEPTH_MAX), QUIPU_OK);
    cr_assert_eq(read_nested(QUIPU_DAGCBOR_DEPTH_MAX + 1, QUIPU_DAGCBOR_DEPTH_MAX),
                 QUIPU_CBOR_DEPTH);
    cr_assert_eq(read_nested(QUIPU_DAGCBOR_DEPTH_MAX + 1, UINT32_MAX), QUIPU_CBOR_DEPTH);
    cr_assert_eq(read_nested(3, 3), QUIPU_OK);
    cr_assert_eq(read_nested(4, 3), QUIPU_CBOR_DEPTH);
    cr_assert_eq(read_nested(0, 0), QUIPU_OK);
    cr_assert_eq(read_nested(1, 0), QUIPU_CBOR_DEPTH);
}

Test(dagcbor_reader, next_whole_gives_each_item_with_all_that_it_holds)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_slice whole;
    quipu_dagcbor_reader_init(&reader, quipu_slice("\x84\x01\x82\x02\x81\x03\x80\x61z", 9));
    cr_assert_eq(quipu_dagcbor_next(&reader, &item, NULL), QUIPU_OK);

    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(whole, quipu_slice("\x01", 1)));
    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(whole, quipu_slice("\x82\x02\x81\x03", 4)));
    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(whole, quipu_slice("\x80", 1)));
    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(whole, quipu_slice("\x61z", 2)));
    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, NULL), QUIPU_DONE);
}

Test(dagcbor_reader, next_whole_stops_inside_on_the_first_broken_rule)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice whole = {NULL, 77};
    struct quipu_error err;
    quipu_dagcbor_reader_init(&reader, quipu_slice("\x82\x81\x01\xf7", 4));

    cr_assert_eq(quipu_dagcbor_next_whole(&reader, &whole, &err), QUIPU_CBOR_SIMPLE);
    cr_assert_eq(err.offset, 3);
    cr_assert_eq(whole.len, 77);
}
