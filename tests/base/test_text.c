/*
 * UTF-8 validity (Unicode 15, table 3-7), control characters, hexadecimal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/text.h"

/* The definition, one code point at a time, to compare with. */
static size_t encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

Test(utf8, accepts_every_scalar_value_and_no_surrogate)
{
    for (uint32_t code = 0; code < 0x120000; code++) {
        uint8_t bytes[4];
        size_t len = encode(code, bytes);
        bool is_scalar = code < 0xd800 || (code > 0xdfff && code < 0x110000);
        cr_assert_eq(quipu_utf8_valid_prefix(quipu_slice(bytes, len)) == len, is_scalar, "%x",
                     code);
    }
}

Test(utf8, refuses_overlong_cut_and_stray_bytes_and_says_where)
{
    static const struct {
        const char *bytes;
        size_t len;
        size_t valid;
    } cases[] = {
        {"\xc0\x80", 2, 0},
        {"\xc1\xbf", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\x80", 1, 0},
        {"abcdefgh\xff", 9, 8},
        {"abc\xe2\x82", 5, 3},
        {"abcdefghij\xc3", 11, 10},
        {"\xf5\x80\x80\x80", 4, 0},
        {"ab\xe2\x28\xa1", 5, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(quipu_utf8_valid_prefix(quipu_slice(cases[i].bytes, cases[i].len)),
                     cases[i].valid, "case %zu", i);
    }
}

Test(text, printable_means_no_control_characters)
{
    cr_assert(quipu_text_is_printable(quipu_slice_text("caf\xc3\xa9 \xc2\xa0 ok")));
    cr_assert(quipu_text_is_printable(quipu_slice_text("")));
    cr_assert_not(quipu_text_is_printable(quipu_slice_text("a\nb")));
    cr_assert_not(quipu_text_is_printable(quipu_slice_text("a\x7f")));
    cr_assert_not(quipu_text_is_printable(quipu_slice_text("a\xc2\x85")));
    cr_assert_not(quipu_text_is_printable(quipu_slice_text("a\xff")));
    cr_assert_not(quipu_text_is_printable(quipu_slice("a\0b", 3)));
}

Test(hex, reads_back_what_it_writes_and_refuses_the_rest)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf bytes = QUIPU_BUF_INIT;

    quipu_hex_append(&text, quipu_slice("\x00\xff\x1a", 3));
    cr_assert(quipu_slice_equal(quipu_buf_slice(&text), quipu_slice_text("00ff1a")));
    cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text("00FF1a")), QUIPU_OK);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&bytes), quipu_slice("\x00\xff\x1a", 3)));
    cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text("0")), QUIPU_INVALID);
    cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text("0g")), QUIPU_INVALID);
    cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text("0@")), QUIPU_INVALID);
    cr_assert_eq(bytes.len, 3);
    quipu_buf_release(&text);
    quipu_buf_release(&bytes);
}

Test(text, knows_what_is_hidden)
{
    static const uint32_t hidden[] = {0x00,   0x1f,   0x7f,   0x9f,    0xad,
                                      0x61c,  0x200b, 0x200e, 0x202a,  0x202e,
                                      0x2066, 0x2069, 0xfeff, 0xe0041, 0xe0fff};
    static const uint32_t shown[] = {0x20,   0x7e,   0xa0,   0x61b,  0x200c,  0x200d,  0x2010,
                                     0x202f, 0x2070, 0xfefe, 0xfffd, 0x1f600, 0xe1000, 0x10ffff};
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0]; i++) {
        cr_assert(quipu_text_is_hidden(hidden[i]), "U+%04x", (unsigned)hidden[i]);
    }
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        cr_assert_not(quipu_text_is_hidden(shown[i]), "U+%04x", (unsigned)shown[i]);
    }
}
