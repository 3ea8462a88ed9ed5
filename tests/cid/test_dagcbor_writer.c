/*
 * The writer: canonical bytes, or a status that sticks and a buffer as it was.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/text.h"

static struct quipu_buf out = QUIPU_BUF_INIT;
static struct quipu_dagcbor_writer writer;

static void begin(void)
{
    quipu_buf_reset(&out);
    quipu_buf_append_text(&out, "before");
    quipu_dagcbor_writer_init(&writer, &out);
}

static void assert_written(const char *hex)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK, "%s", hex);
    struct quipu_slice written = quipu_slice(out.data + 6, out.len - 6);
    quipu_hex_append(&text, written);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text(hex)), "%.*s, not %s",
              (int)text.len, (const char *)text.data, hex);
    cr_assert_eq(quipu_dagcbor_validate(written, NULL), QUIPU_OK);
    quipu_buf_release(&text);
}

static void assert_refused(enum quipu_status status)
{
    struct quipu_error err = {0};
    cr_assert_eq(writer.status, status);
    quipu_dagcbor_write_null(&writer);
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, &err), status);
    cr_assert_eq(err.status, status);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("before")));
}

static void release(void)
{
    quipu_buf_release(&out);
}

TestSuite(dagcbor_writer, .fini = release);

Test(dagcbor_writer, writes_the_shortest_heads)
{
    static const struct {
        uint64_t value;
        const char *hex;
        const char *negative;
    } cases[] = {
        {0, "00", "20"},
        {23, "17", "37"},
        {24, "1818", "3818"},
        {255, "18ff", "38ff"},
        {256, "190100", "390100"},
        {65535, "19ffff", "39ffff"},
        {65536, "1a00010000", "3a00010000"},
        {UINT32_MAX, "1affffffff", "3affffffff"},
        {UINT64_C(1) << 32, "1b0000000100000000", "3b0000000100000000"},
        {UINT64_MAX, "1bffffffffffffffff", "3bffffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        quipu_dagcbor_write_uint(&writer, cases[i].value);
        assert_written(cases[i].hex);
        begin();
        quipu_dagcbor_write_negative(&writer, cases[i].value);
        assert_written(cases[i].negative);
    }
}

Test(dagcbor_writer, writes_integers_with_sign)
{
    static const struct {
        int64_t value;
        const char *hex;
    } cases[] = {
        {0, "00"},
        {-1, "20"},
        {-24, "37"},
        {-25, "3818"},
        {INT64_MAX, "1b7fffffffffffffff"},
        {INT64_MIN, "3b7fffffffffffffff"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        quipu_dagcbor_write_int(&writer, cases[i].value);
        assert_written(cases[i].hex);
    }
}

Test(dagcbor_writer, writes_each_other_kind)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW, .digest = {0xab}};

    begin();
    quipu_dagcbor_write_bool(&writer, false);
    assert_written("f4");
    begin();
    quipu_dagcbor_write_bool(&writer, true);
    assert_written("f5");
    begin();
    quipu_dagcbor_write_null(&writer);
    assert_written("f6");
    begin();
    quipu_dagcbor_write_float(&writer, 1.5);
    assert_written("fb3ff8000000000000");
    begin();
    quipu_dagcbor_write_float(&writer, -0.0);
    assert_written("fb8000000000000000");
    begin();
    quipu_dagcbor_write_text(&writer, quipu_slice(NULL, 0));
    assert_written("60");
    begin();
    quipu_dagcbor_write_text(&writer, quipu_slice_text("caf\xc3\xa9"));
    assert_written("65636166c3a9");
    begin();
    quipu_dagcbor_write_bytes(&writer, quipu_slice(NULL, 0));
    assert_written("40");
    begin();
    quipu_dagcbor_write_bytes(&writer, quipu_slice("\xff", 1));
    assert_written("41ff");
    begin();
    quipu_dagcbor_write_link(&writer, &cid);
    assert_written("d82a58250001551220ab"
                   "00000000000000000000000000000000000000000000000000000000000000");
    begin();
    quipu_dagcbor_write_map(&writer, 0);
    assert_written("a0");
    begin();
    quipu_dagcbor_write_list(&writer, 0);
    assert_written("80");
}

Test(dagcbor_writer, writes_nested_maps_and_lists)
{
    begin();
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "a");
    quipu_dagcbor_write_list(&writer, 2);
    quipu_dagcbor_write_list(&writer, 0);
    quipu_dagcbor_write_list(&writer, 1);
    quipu_dagcbor_write_uint(&writer, 1);
    quipu_dagcbor_write_key(&writer, "b");
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "a");
    quipu_dagcbor_write_map(&writer, 0);
    quipu_dagcbor_write_text(&writer, quipu_slice_text("aa"));
    quipu_dagcbor_write_item(&writer, quipu_slice("\x82\x01\x02", 3));
    assert_written("a361618280810161"
                   "62a16161a0626161820102");
}

Test(dagcbor_writer, writes_links_of_any_profile)
{
    static const uint8_t v0[34] = {0x12, 0x20, 1};
    struct quipu_slice input = quipu_slice(v0, sizeof v0);
    struct quipu_cid_view view;
    cr_assert_eq(quipu_cid_view_take(&input, &view, NULL), QUIPU_OK);

    begin();
    quipu_dagcbor_write_link_view(&writer, &view);
    assert_written("d82a5823001220"
                   "0100000000000000000000000000000000000000000000000000000000000000");
}

Test(dagcbor_writer, refuses_a_link_outside_the_event_profile)
{
    static const struct quipu_dagcbor_key key = QUIPU_DAGCBOR_KEY("k");
    static const uint8_t codecs[] = {0, QUIPU_CODEC_DAG_PB, 0x80};
    for (size_t i = 0; i < sizeof codecs; i++) {
        struct quipu_cid cid = {.codec = codecs[i]};
        begin();
        quipu_dagcbor_write_link(&writer, &cid);
        assert_refused(QUIPU_MISUSE);
        begin();
        quipu_dagcbor_write_map(&writer, 1);
        quipu_dagcbor_write_pair_link(&writer, &key, &cid);
        assert_refused(QUIPU_MISUSE);
    }
}

Test(dagcbor_writer, refuses_keys_that_are_out_of_order_or_twice)
{
    static const struct {
        const char *first;
        const char *second;
        enum quipu_status status;
    } cases[] = {
        {"b", "a", QUIPU_CBOR_KEY_ORDER},         {"aa", "b", QUIPU_CBOR_KEY_ORDER},
        {"a", "", QUIPU_CBOR_KEY_ORDER},          {"a", "a", QUIPU_CBOR_KEY_DUPLICATE},
        {"", "", QUIPU_CBOR_KEY_DUPLICATE},       {"ab", "aa", QUIPU_CBOR_KEY_ORDER},
        {"\xc3\xa9", "zz", QUIPU_CBOR_KEY_ORDER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        begin();
        quipu_dagcbor_write_map(&writer, 2);
        quipu_dagcbor_write_key(&writer, cases[i].first);
        quipu_dagcbor_write_uint(&writer, 1);
        quipu_dagcbor_write_key(&writer, cases[i].second);
        assert_refused(cases[i].status);
    }
}

Test(dagcbor_writer, compares_keys_within_their_own_map_only)
{
    begin();
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "b");
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "a");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("a"));
    quipu_dagcbor_write_key(&writer, "c");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("a"));
    assert_written("a26162a16161616161636161");
}

Test(dagcbor_writer, refuses_every_key_that_is_not_text)
{
    struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW};
    struct quipu_cid_view view = {.bytes = quipu_slice("\x01\x55\x00\x00", 4)};
    for (int kind = 0; kind < 10; kind++) {
        begin();
        quipu_dagcbor_write_map(&writer, 1);
        switch (kind) {
        case 0:
            quipu_dagcbor_write_uint(&writer, 1);
            break;
        case 1:
            quipu_dagcbor_write_bytes(&writer, quipu_slice_text("k"));
            break;
        case 2:
            quipu_dagcbor_write_list(&writer, 1);
            break;
        case 3:
            quipu_dagcbor_write_map(&writer, 0);
            break;
        case 4:
            quipu_dagcbor_write_null(&writer);
            break;
        case 5:
            quipu_dagcbor_write_float(&writer, 1);
            break;
        case 6:
            quipu_dagcbor_write_link(&writer, &cid);
            break;
        case 8:
            quipu_dagcbor_write_link_view(&writer, &view);
            break;
        case 7:
            quipu_dagcbor_write_bool(&writer, true);
            break;
        default:
            quipu_dagcbor_write_item(&writer, quipu_slice("\x61k", 2));
            break;
        }
        assert_refused(QUIPU_CBOR_KEY_NOT_TEXT);
    }
}

Test(dagcbor_writer, refuses_floats_that_are_no_numbers_and_text_that_is_no_utf8)
{
    static const double bad[] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    for (size_t i = 0; i < 3; i++) {
        begin();
        quipu_dagcbor_write_float(&writer, bad[i]);
        assert_refused(QUIPU_CBOR_FLOAT_NOT_FINITE);
    }
    begin();
    quipu_dagcbor_write_text(&writer, quipu_slice("ab\xff", 3));
    assert_refused(QUIPU_CBOR_UTF8);
    begin();
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "\xc3");
    assert_refused(QUIPU_CBOR_UTF8);
}

Test(dagcbor_writer, refuses_to_end_too_early)
{
    static const struct {
        bool is_map;
        uint64_t count;
        int written;
    } cases[] = {{false, 1, 0}, {false, 2, 1}, {true, 1, 0}, {true, 1, 1}, {true, 2, 2}};
    for (size_t i = 0; i <= sizeof cases / sizeof cases[0]; i++) {
        struct quipu_error err = {0};
        begin();
        if (i > 0 && cases[i - 1].is_map) {
            quipu_dagcbor_write_map(&writer, cases[i - 1].count);
        } else if (i > 0) {
            quipu_dagcbor_write_list(&writer, cases[i - 1].count);
        }
        for (int item = 0; i > 0 && item < cases[i - 1].written; item++) {
            quipu_dagcbor_write_text(&writer, quipu_slice_text("x"));
        }

        cr_assert_eq(quipu_dagcbor_writer_finish(&writer, &err), QUIPU_CBOR_INCOMPLETE);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text("before")));
    }
}

Test(dagcbor_writer, refuses_a_second_item_and_an_empty_one)
{
    begin();
    quipu_dagcbor_write_uint(&writer, 1);
    quipu_dagcbor_write_uint(&writer, 2);
    assert_refused(QUIPU_MISUSE);
    begin();
    quipu_dagcbor_write_list(&writer, 0);
    quipu_dagcbor_write_text(&writer, quipu_slice_text("a"));
    assert_refused(QUIPU_MISUSE);
    begin();
    quipu_dagcbor_write_item(&writer, quipu_slice("", 0));
    assert_refused(QUIPU_MISUSE);
}

Test(dagcbor_writer, refuses_a_map_that_no_one_could_fill)
{
    begin();
    quipu_dagcbor_write_map(&writer, UINT64_MAX / 2 + 1);
    assert_refused(QUIPU_TOO_LARGE);
}

/* Lengths that no memory holds are refused before a byte of them is looked at. */
Test(dagcbor_writer, refuses_lengths_beyond_reason)
{
    struct quipu_slice endless = quipu_slice("x", SIZE_MAX);
    struct quipu_cid_view view = {.bytes = endless};

    begin();
    quipu_dagcbor_write_bytes(&writer, endless);
    assert_refused(QUIPU_TOO_LARGE);
    begin();
    quipu_dagcbor_write_link_view(&writer, &view);
    assert_refused(QUIPU_TOO_LARGE);
    begin();
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_text(&writer, quipu_slice("x", UINT32_MAX));
    assert_refused(QUIPU_TOO_LARGE);
}

Test(dagcbor_writer, refuses_an_item_of_no_known_kind)
{
    struct quipu_dagcbor_item item = {.kind = (enum quipu_dagcbor_kind)99};

    begin();
    quipu_dagcbor_write_read(&writer, &item);
    assert_refused(QUIPU_MISUSE);
}

Test(dagcbor_writer, fits_a_fixed_buffer_to_the_last_byte)
{
    static const uint8_t block[] = {0x83, 0x19, 0x01, 0x00, 0x61, 'x', 0x41, 0xff};
    for (size_t cap = 0; cap <= sizeof block; cap++) {
        uint8_t storage[sizeof block];
        struct quipu_buf fixed;
        quipu_buf_init_fixed(&fixed, storage, cap);
        quipu_dagcbor_writer_init(&writer, &fixed);
        quipu_dagcbor_write_list(&writer, 3);
        quipu_dagcbor_write_uint(&writer, 256);
        quipu_dagcbor_write_text(&writer, quipu_slice_text("x"));
        quipu_dagcbor_write_bytes(&writer, quipu_slice("\xff", 1));

        cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL),
                     cap < sizeof block ? QUIPU_TOO_LARGE : QUIPU_OK);
        cr_assert(cap < sizeof block || memcmp(storage, block, sizeof block) == 0);
    }
}

static enum quipu_status write_nested(size_t depth, struct quipu_dagcbor_writer_level *stack,
                                      uint32_t asked)
{
    begin();
    if (stack != NULL) {
        quipu_dagcbor_writer_set_stack(&writer, stack, asked);
    }
    for (size_t i = 0; i < depth; i++) {
        quipu_dagcbor_write_list(&writer, 1);
    }
    quipu_dagcbor_write_null(&writer);
    return quipu_dagcbor_writer_finish(&writer, NULL);
}

Test(dagcbor_writer, nests_as_deep_as_its_limits_and_no_deeper)
{
    static struct quipu_dagcbor_writer_level stack[QUIPU_DAGCBOR_DEPTH_MAX];

    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_DEFAULT - 1, NULL, 0), QUIPU_OK);
    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_DEFAULT, NULL, 0), QUIPU_OK);
    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_DEFAULT + 1, NULL, 0), QUIPU_CBOR_DEPTH);
    cr_assert_eq(out.len, 6);
    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_MAX - 1, stack, UINT32_MAX), QUIPU_OK);
    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_MAX, stack, UINT32_MAX), QUIPU_OK);
    cr_assert_eq(write_nested(QUIPU_DAGCBOR_DEPTH_MAX + 1, stack, UINT32_MAX), QUIPU_CBOR_DEPTH);
    cr_assert_eq(write_nested(3, stack, 2), QUIPU_CBOR_DEPTH);
}

Test(dagcbor_writer, says_when_a_fixed_buffer_is_full)
{
    uint8_t storage[12];
    struct quipu_buf fixed;
    for (int kind = 0; kind < 4; kind++) {
        struct quipu_cid cid = {.codec = QUIPU_CODEC_RAW};
        struct quipu_cid_view view = {.bytes = quipu_slice("\x01\x55\x00\x08 8 bytes", 12)};
        quipu_buf_init_fixed(&fixed, storage, sizeof storage);
        quipu_dagcbor_writer_init(&writer, &fixed);
        quipu_dagcbor_write_list(&writer, 2);
        if (kind == 0) {
            quipu_dagcbor_write_text(&writer, quipu_slice_text("twelve bytes"));
        } else if (kind == 1) {
            quipu_dagcbor_write_link(&writer, &cid);
        } else if (kind == 2) {
            quipu_dagcbor_write_link_view(&writer, &view);
        } else {
            quipu_dagcbor_write_item(&writer, quipu_slice("\x4ctwelve bytes", 13));
        }
        cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_TOO_LARGE);
        cr_assert_eq(fixed.len, 0);
    }
}

static int allocations_left;

static void *counted(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return allocations_left-- > 0 ? realloc(pointer, bytes) : NULL;
}

static void counted_free(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

Test(dagcbor_writer, reports_that_memory_is_out_wherever_that_happens)
{
    struct quipu_allocator allocator = {counted, counted_free, NULL};
    static uint8_t payload[5000];
    quipu_alloc_set(&allocator);
    for (int allowed = 0;; allowed++) {
        struct quipu_buf growing = QUIPU_BUF_INIT;
        struct quipu_error err = {0};
        allocations_left = allowed;
        quipu_dagcbor_writer_init(&writer, &growing);
        quipu_dagcbor_write_list(&writer, 3);
        quipu_dagcbor_write_bytes(&writer, quipu_slice(payload, 500));
        quipu_dagcbor_write_bytes(&writer, quipu_slice(payload, sizeof payload));
        quipu_dagcbor_write_float(&writer, 0.5);
        enum quipu_status status = quipu_dagcbor_writer_finish(&writer, &err);
        size_t len = growing.len;
        quipu_buf_release(&growing);
        if (status == QUIPU_OK) {
            cr_assert_geq(allowed, 2);
            break;
        }
        cr_assert_eq(status, QUIPU_NO_MEMORY);
        cr_assert_eq(len, 0);
        cr_assert_lt(allowed, 10);
    }
    quipu_alloc_set(NULL);
}

Test(dagcbor_writer, allocates_nothing_where_the_buffer_has_room)
{
    struct quipu_allocator allocator = {counted, counted_free, NULL};
    uint8_t storage[256];
    struct quipu_buf fixed;
    quipu_alloc_set(&allocator);
    allocations_left = 0;
    quipu_buf_init_fixed(&fixed, storage, sizeof storage);
    quipu_dagcbor_writer_init(&writer, &fixed);

    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "key");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("value"));

    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    quipu_alloc_set(NULL);
}

Test(dagcbor_writer, takes_over_a_buffer_that_has_failed_already)
{
    uint8_t storage[4];
    struct quipu_buf fixed;
    quipu_buf_init_fixed(&fixed, storage, sizeof storage);
    quipu_buf_append_text(&fixed, "too long");
    quipu_dagcbor_writer_init(&writer, &fixed);

    quipu_dagcbor_write_null(&writer);

    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(fixed.len, 0);
}
