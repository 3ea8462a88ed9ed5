/*
 * UTF-8, control characters, hexadecimal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/text.h"

#include <string.h>

#include "internal/hex.h"

#define ASCII_MASK UINT64_C(0x8080808080808080)

/* Length of the valid sequence at the front of `p`, or 0. Unicode 15, table 3-7. */
static size_t sequence_len(const uint8_t *p, size_t len)
{
    uint8_t first = p[0];
    if (first < 0x80) {
        return 1;
    }
    size_t need = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || len < need) {
        return 0;
    }
    /* The second byte's range shuts out overlong forms, surrogates and what is beyond U+10FFFF. */
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return need;
}

size_t quipu_utf8_valid_prefix(struct quipu_slice text)
{
    size_t at = 0;
    while (at < text.len) {
        /* Eight ASCII bytes at a time: almost all text is ASCII. */
        while (text.len - at >= sizeof(uint64_t)) {
            uint64_t word;
            memcpy(&word, text.data + at, sizeof word);
            if ((word & ASCII_MASK) != 0) {
                break;
            }
            at += sizeof word;
        }
        if (at == text.len) {
            break;
        }
        size_t len = sequence_len(text.data + at, text.len - at);
        if (len == 0) {
            return at;
        }
        at += len;
    }
    return at;
}

bool quipu_text_is_printable(struct quipu_slice text)
{
    if (quipu_utf8_valid_prefix(text) != text.len) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < 0x20 || c == 0x7f) {
            return false;
        }
        /* U+0080 to U+009F are c2 80 to c2 9f. */
        if (c == 0xc2 && text.data[i + 1] < 0xa0) {
            return false;
        }
    }
    return true;
}

/* Ranges of the Unicode Character Database (15.0), ascending. */
static const uint32_t hidden[][2] = {
    {0x0000, 0x001f}, {0x007f, 0x009f}, {0x00ad, 0x00ad},   {0x061c, 0x061c},
    {0x115f, 0x1160}, {0x17b4, 0x17b5}, {0x180e, 0x180e},   {0x200b, 0x200b},
    {0x200e, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0x3164, 0x3164},
    {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
};

bool quipu_text_is_hidden(uint32_t code)
{
    for (size_t i = 0; i < sizeof hidden / sizeof hidden[0] && hidden[i][0] <= code; i++) {
        if (code <= hidden[i][1]) {
            return true;
        }
    }
    return false;
}

void quipu_hex_append(struct quipu_buf *buf, struct quipu_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.len; i++) {
        quipu_buf_append_byte(buf, (uint8_t)digits[bytes.data[i] >> 4]);
        quipu_buf_append_byte(buf, (uint8_t)digits[bytes.data[i] & 15]);
    }
}

enum quipu_status quipu_hex_decode(struct quipu_buf *buf, struct quipu_slice text)
{
    if (text.len % 2 != 0) {
        return QUIPU_INVALID;
    }
    uint8_t *into = quipu_buf_reserve(buf, text.len / 2);
    if (into == NULL) {
        return buf->status;
    }
    for (size_t i = 0; i < text.len; i += 2) {
        int high = quipu_hex_value(text.data[i]);
        int low = quipu_hex_value(text.data[i + 1]);
        if (high < 0 || low < 0) {
            return QUIPU_INVALID;
        }
        into[i / 2] = (uint8_t)(high << 4 | low);
    }
    buf->len += text.len / 2;
    return QUIPU_OK;
}
