/*
 * Reading what is expected, kind by kind, and one key of a map.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/dagcbor.h"

static struct quipu_dagcbor_reader over(const char *bytes, size_t len)
{
    struct quipu_dagcbor_reader reader;
    quipu_dagcbor_reader_init(&reader, quipu_slice(bytes, len));
    return reader;
}

Test(dagcbor_typed, reads_a_record_as_its_schema_says)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice_text("x"));
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &block);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "k");
    quipu_dagcbor_write_link(&writer, &cid);
    quipu_dagcbor_write_key(&writer, "n");
    quipu_dagcbor_write_list(&writer, 4);
    quipu_dagcbor_write_uint(&writer, 5);
    quipu_dagcbor_write_int(&writer, -6);
    quipu_dagcbor_write_bytes(&writer, quipu_slice("\1\2", 2));
    quipu_dagcbor_write_text(&writer, quipu_slice_text("t"));
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    struct quipu_dagcbor_reader reader;
    struct quipu_slice slice;
    struct quipu_cid link;
    uint64_t number;
    int64_t signed_number;
    quipu_dagcbor_reader_init(&reader, quipu_buf_slice(&block));

    cr_assert_eq(quipu_dagcbor_read_map(&reader, &number, NULL), QUIPU_OK);
    cr_assert_eq(number, 2);
    cr_assert_eq(quipu_dagcbor_read_text(&reader, &slice, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(slice, quipu_slice_text("k")));
    cr_assert_eq(quipu_dagcbor_read_link(&reader, &link, NULL), QUIPU_OK);
    cr_assert(quipu_cid_equal(&link, &cid));
    cr_assert_eq(quipu_dagcbor_read_text(&reader, &slice, NULL), QUIPU_OK);
    cr_assert_eq(quipu_dagcbor_read_list(&reader, &number, NULL), QUIPU_OK);
    cr_assert_eq(number, 4);
    cr_assert_eq(quipu_dagcbor_read_uint(&reader, &number, NULL), QUIPU_OK);
    cr_assert_eq(number, 5);
    cr_assert_eq(quipu_dagcbor_read_int(&reader, &signed_number, NULL), QUIPU_OK);
    cr_assert_eq(signed_number, -6);
    cr_assert_eq(quipu_dagcbor_read_bytes(&reader, &slice, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(slice, quipu_slice("\1\2", 2)));
    cr_assert_eq(quipu_dagcbor_read_text(&reader, &slice, NULL), QUIPU_OK);
    cr_assert_eq(quipu_dagcbor_read_text(&reader, &slice, NULL), QUIPU_CBOR_KIND);
    quipu_buf_release(&block);
}

Test(dagcbor_typed, refuses_every_other_kind_and_writes_nothing)
{
    static const char *const items[] = {"\x05",  "\x25", "\x41x",
                                        "\x61x", "\x80", "\xa0",
                                        "\xf4",  "\xf6", "\xfb\x3f\xf0\0\0\0\0\0\0"};
    static const size_t lens[] = {1, 1, 2, 2, 1, 1, 1, 1, 9};
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        struct quipu_dagcbor_reader reader = over(items[i], lens[i]);
        struct quipu_slice slice = {NULL, 77};
        struct quipu_cid cid = {.codec = 77};
        struct quipu_error err = {0};
        uint64_t number = 77;
        int64_t signed_number = 77;

        struct quipu_dagcbor_reader copy = reader;
        cr_assert_eq(quipu_dagcbor_read_uint(&copy, &number, &err) == QUIPU_CBOR_KIND, i != 0);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_int(&copy, &signed_number, &err) == QUIPU_CBOR_KIND, i > 1);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_bytes(&copy, &slice, &err) == QUIPU_CBOR_KIND, i != 2);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_text(&copy, &slice, &err) == QUIPU_CBOR_KIND, i != 3);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_list(&copy, &number, &err) == QUIPU_CBOR_KIND, i != 4);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_map(&copy, &number, &err) == QUIPU_CBOR_KIND, i != 5);
        copy = reader;
        cr_assert_eq(quipu_dagcbor_read_link(&copy, &cid, &err), QUIPU_CBOR_KIND);
        cr_assert_eq(err.offset, 0);
        cr_assert_eq(cid.codec, 77);
        if (i > 5) {
            cr_assert(number == 77 && signed_number == 77 && slice.len == 77);
        }
    }
}

Test(dagcbor_typed, refuses_a_link_instead_of_a_scalar_and_a_foreign_profile)
{
    struct quipu_dagcbor_reader reader = over("\xd8\x2a\x48\x00\x01\x00\x00\x03"
                                              "abc",
                                              11);
    struct quipu_cid cid = {.codec = 77};
    struct quipu_slice slice;

    struct quipu_dagcbor_reader copy = reader;
    cr_assert_eq(quipu_dagcbor_read_bytes(&copy, &slice, NULL), QUIPU_CBOR_KIND);
    cr_assert_eq(quipu_dagcbor_read_link(&reader, &cid, NULL), QUIPU_CID_PROFILE);
    cr_assert_eq(cid.codec, 77);
}

Test(dagcbor_typed, reads_integers_at_the_edges_of_64_bits)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum quipu_status status;
        int64_t value;
    } cases[] = {
        {"\x1b\x7f\xff\xff\xff\xff\xff\xff\xfe", 9, QUIPU_OK, INT64_MAX - 1},
        {"\x1b\x7f\xff\xff\xff\xff\xff\xff\xff", 9, QUIPU_OK, INT64_MAX},
        {"\x1b\x80\x00\x00\x00\x00\x00\x00\x00", 9, QUIPU_CBOR_KIND, 0},
        {"\x3b\x7f\xff\xff\xff\xff\xff\xff\xfe", 9, QUIPU_OK, INT64_MIN + 1},
        {"\x3b\x7f\xff\xff\xff\xff\xff\xff\xff", 9, QUIPU_OK, INT64_MIN},
        {"\x3b\x80\x00\x00\x00\x00\x00\x00\x00", 9, QUIPU_CBOR_KIND, 0},
        {"\x20", 1, QUIPU_OK, -1},
        {"\x00", 1, QUIPU_OK, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_dagcbor_reader reader = over(cases[i].bytes, cases[i].len);
        int64_t value = 0;
        cr_assert_eq(quipu_dagcbor_read_int(&reader, &value, NULL), cases[i].status, "case %zu", i);
        cr_assert_eq(value, cases[i].value, "case %zu", i);
    }
}

Test(dagcbor_typed, passes_the_readers_refusals_on)
{
    struct quipu_dagcbor_reader reader = over("\x18\x01", 2);
    struct quipu_error err = {0};
    int64_t value;
    uint64_t number;

    cr_assert_eq(quipu_dagcbor_read_int(&reader, &value, &err), QUIPU_CBOR_NOT_SHORTEST);
    cr_assert_eq(quipu_dagcbor_read_uint(&reader, &number, &err), QUIPU_CBOR_NOT_SHORTEST);
    reader = over("", 0);
    cr_assert_eq(quipu_dagcbor_read_map(&reader, &number, &err), QUIPU_CBOR_TRUNCATED);
}

/* {"a": 1, "b": [2, 3], "cc": {"a": 9}} */
#define RECORD                                                                                     \
    "\xa3\x61"                                                                                     \
    "a\x01\x61"                                                                                    \
    "b\x82\x02\x03\x62"                                                                            \
    "cc\xa1\x61"                                                                                   \
    "a\x09"

Test(dagcbor_map_get, gives_the_bytes_of_a_value)
{
    struct quipu_slice block = quipu_slice(RECORD, sizeof RECORD - 1);
    struct quipu_slice value;

    cr_assert_eq(quipu_dagcbor_map_get(block, "a", &value, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(value, quipu_slice("\x01", 1)));
    cr_assert_eq(quipu_dagcbor_map_get(block, "b", &value, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(value, quipu_slice("\x82\x02\x03", 3)));
    cr_assert_eq(value.data, block.data + 6);
    cr_assert_eq(quipu_dagcbor_map_get(block, "cc", &value, NULL), QUIPU_OK);
    cr_assert_eq(value.len, 4);
}

Test(dagcbor_map_get, says_what_is_not_there)
{
    struct quipu_slice block = quipu_slice(RECORD, sizeof RECORD - 1);
    struct quipu_slice value = {NULL, 77};
    struct quipu_error err = {0};
    static const char *const absent[] = {"", "0", "aa", "c", "cd", "ccc"};

    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++) {
        cr_assert_eq(quipu_dagcbor_map_get(block, absent[i], &value, &err), QUIPU_NOT_FOUND);
    }
    cr_assert_eq(quipu_dagcbor_map_get(quipu_slice("\xa0", 1), "a", &value, &err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_dagcbor_map_get(quipu_slice("\x80", 1), "a", &value, &err), QUIPU_CBOR_KIND);
    cr_assert_eq(quipu_dagcbor_map_get(quipu_slice("", 0), "a", &value, &err),
                 QUIPU_CBOR_TRUNCATED);
    cr_assert_eq(quipu_dagcbor_map_get(quipu_slice("\xa1\x61"
                                                   "a\xf7",
                                                   4),
                                       "a", &value, &err),
                 QUIPU_CBOR_SIMPLE);
    cr_assert_eq(quipu_dagcbor_map_get(quipu_slice("\xa1\x01\x01", 3), "a", &value, &err),
                 QUIPU_CBOR_KEY_NOT_TEXT);
    cr_assert_eq(value.len, 77);
}

Test(dagcbor_typed, stands_behind_an_item_of_another_kind_and_before_a_malformed_one)
{
    struct quipu_dagcbor_reader reader = over("\x82\x05\x18\x00", 4);
    struct quipu_slice text;
    uint64_t items;
    struct quipu_error err = {.offset = 0};

    cr_assert_eq(quipu_dagcbor_read_list(&reader, &items, NULL), QUIPU_OK);
    cr_assert_eq(quipu_dagcbor_read_text(&reader, &text, NULL), QUIPU_CBOR_KIND);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(quipu_dagcbor_read_text(&reader, &text, &err), QUIPU_CBOR_NOT_SHORTEST);
        cr_assert_eq(err.offset, 2);
    }
}
