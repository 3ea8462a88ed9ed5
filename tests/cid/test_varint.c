/*
 * Unsigned varints: shortest form, nine bytes at most.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/varint.h"

static enum quipu_status take(const char *bytes, size_t len, uint64_t *value, size_t *used,
                              struct quipu_error *err)
{
    struct quipu_slice input = quipu_slice(bytes, len);
    enum quipu_status status = quipu_varint_take(&input, value, err);
    *used = len - input.len;
    return status;
}

Test(varint, reads_back_what_it_writes_at_every_length)
{
    for (unsigned bits = 0; bits < 63; bits++) {
        for (int delta = -1; delta <= 1; delta++) {
            uint64_t value = (UINT64_C(1) << bits) + (uint64_t)delta;
            uint8_t bytes[QUIPU_VARINT_BYTES];
            size_t len = quipu_varint_encode(value, bytes);
            struct quipu_slice input = quipu_slice(bytes, len);
            uint64_t read = 0;

            cr_assert_gt(len, 0);
            cr_assert_eq(quipu_varint_take(&input, &read, NULL), QUIPU_OK);
            cr_assert_eq(read, value);
            cr_assert_eq(input.len, 0);
        }
    }
}

Test(varint, writes_nothing_above_its_limit)
{
    uint8_t bytes[QUIPU_VARINT_BYTES] = {0};
    struct quipu_buf buf = QUIPU_BUF_INIT;

    cr_assert_eq(quipu_varint_encode(QUIPU_VARINT_MAX - 1, bytes), 9);
    cr_assert_eq(quipu_varint_encode(QUIPU_VARINT_MAX, bytes), 9);
    cr_assert_eq(bytes[8], 0x7f);
    cr_assert_eq(quipu_varint_encode(QUIPU_VARINT_MAX + 1, bytes), 0);
    quipu_varint_append(&buf, QUIPU_VARINT_MAX + 1);
    cr_assert_eq(buf.status, QUIPU_TOO_LARGE);
    cr_assert_eq(buf.len, 0);
    quipu_buf_release(&buf);
}

Test(varint, appends_and_leaves_what_follows)
{
    struct quipu_buf buf = QUIPU_BUF_INIT;
    uint64_t value;

    quipu_varint_append(&buf, 300);
    quipu_buf_append_text(&buf, "rest");
    struct quipu_slice input = quipu_buf_slice(&buf);

    cr_assert_eq(quipu_varint_take(&input, &value, NULL), QUIPU_OK);
    cr_assert_eq(value, 300);
    cr_assert(quipu_slice_equal(input, quipu_slice_text("rest")));
    quipu_buf_release(&buf);
}

Test(varint, refuses_every_other_form_and_moves_nothing)
{
    static const struct {
        const char *bytes;
        size_t len;
        uint64_t offset;
    } cases[] = {
        {"", 0, 0},
        {"\x80", 1, 1},
        {"\x81\x81", 2, 2},
        {"\x81\x00", 2, 1},
        {"\x80\x00", 2, 1},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01", 10, 9},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, 9},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, 9},
        {"\x80\x80\x80\x80\x80\x80\x80\x80\x00", 9, 8},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_error err = {0};
        uint64_t value = 77;
        size_t used;

        cr_assert_eq(take(cases[i].bytes, cases[i].len, &value, &used, &err), QUIPU_VARINT,
                     "case %zu", i);
        cr_assert_eq(err.offset, cases[i].offset, "case %zu", i);
        cr_assert_eq(value, 77);
        cr_assert_eq(used, 0);
    }
}
