/*
 * What both forms of the report need of text: figures, and a look at each character that others
 * wrote. Pure.
 *
 * Widths are ranges of the Unicode Character Database (15.0): East Asian Width W and F are two
 * columns wide, Mn and Me none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "quipu/text.h"
#include "report_parts.h"

struct range {
    uint32_t first;
    uint32_t last;
};

static const struct range narrow[] = {
    {0x0300, 0x036f}, {0x0483, 0x0489}, {0x0591, 0x05bd}, {0x05bf, 0x05bf}, {0x05c1, 0x05c2},
    {0x05c4, 0x05c5}, {0x0610, 0x061a}, {0x064b, 0x065f}, {0x0670, 0x0670}, {0x06d6, 0x06dc},
    {0x0900, 0x0902}, {0x093a, 0x093a}, {0x093c, 0x093c}, {0x0941, 0x0948}, {0x094d, 0x094d},
    {0x0e31, 0x0e31}, {0x0e34, 0x0e3a}, {0x0e47, 0x0e4e}, {0x1ab0, 0x1ace}, {0x1dc0, 0x1dff},
    {0x200c, 0x200d}, {0x20d0, 0x20f0}, {0x302a, 0x302d}, {0x3099, 0x309a}, {0xfe00, 0xfe0f},
    {0xfe20, 0xfe2f},
};

static const struct range wide[] = {
    {0x1100, 0x115e},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},
    {0x2e80, 0x303e},   {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},
    {0xa000, 0xa4c6},   {0xa960, 0xa97c},   {0xac00, 0xd7a3},   {0xf900, 0xfaff},
    {0xfe10, 0xfe19},   {0xfe30, 0xfe6b},   {0xff01, 0xff60},   {0xffe0, 0xffe6},
    {0x16fe0, 0x18cff}, {0x1b000, 0x1b2fb}, {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff},
    {0x1f900, 0x1f9ff}, {0x1fa70, 0x1faff}, {0x20000, 0x3fffd},
};

static bool is_in(uint32_t code, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count && ranges[i].first <= code; i++) {
        if (code <= ranges[i].last) {
            return true;
        }
    }
    return false;
}

#define IS_IN(code, ranges) is_in(code, ranges, sizeof(ranges) / sizeof((ranges)[0]))

/* Bytes of the sequence that begins with `first`, which is valid. */
static size_t sequence_len(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

struct report_char report_char_at(struct quipu_slice text)
{
    struct report_char got = {.code = 0xfffd, .len = 1, .wide = 1};
    size_t len = sequence_len(text.data[0]);
    if (len > text.len || quipu_utf8_valid_prefix(quipu_slice(text.data, len)) != len) {
        return got;
    }
    got.len = len;
    got.code = len == 1 ? text.data[0] : text.data[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        got.code = got.code << 6 | (text.data[i] & 0x3fu);
    }
    got.is_hidden = quipu_text_is_hidden(got.code);
    if (!got.is_hidden && got.code >= 0x300) {
        got.wide = IS_IN(got.code, narrow) ? 0 : IS_IN(got.code, wide) ? 2 : 1;
    }
    return got;
}

const char *report_count_text(uint64_t value, char out[REPORT_COUNT_BYTES])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}
