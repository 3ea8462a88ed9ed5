/*
 * Base64, canonical: no foreign characters, no stray bits, padding exactly where it belongs. All
 * that goes through it is public, so it looks values up; libsodium's, which does not, is six times
 * slower and takes some bytes above ASCII for characters of base64.
 *
 * Specification: RFC 4648 §4 and §3.5; c2sp.org/age, "Conventions".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "age_parts.h"

static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#define X 0xff /* no character of base64 */

static const uint8_t VALUES[256] = {
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  62, X,  X,  X,  63,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, X,  X,  X,  X,  X,  X,  X,  0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, X,  X,  X,  X,  X,
    X,  26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
    X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,  X,
};

size_t age_base64_encode(struct quipu_slice bytes, bool is_padded, char *out)
{
    char *at = out;
    size_t i = 0;
    for (; i + 3 <= bytes.len; i += 3) {
        uint32_t group =
            (uint32_t)bytes.data[i] << 16 | (uint32_t)bytes.data[i + 1] << 8 | bytes.data[i + 2];
        *at++ = DIGITS[group >> 18];
        *at++ = DIGITS[group >> 12 & 63];
        *at++ = DIGITS[group >> 6 & 63];
        *at++ = DIGITS[group & 63];
    }
    size_t rest = bytes.len - i;
    if (rest > 0) {
        uint32_t group = (uint32_t)bytes.data[i] << 16;
        group |= rest == 2 ? (uint32_t)bytes.data[i + 1] << 8 : 0;
        *at++ = DIGITS[group >> 18];
        *at++ = DIGITS[group >> 12 & 63];
        if (rest == 2) {
            *at++ = DIGITS[group >> 6 & 63];
        }
        for (; is_padded && rest < 3; rest++) {
            *at++ = '=';
        }
    }
    return (size_t)(at - out);
}

/* The last two or three characters, of which the last carries bits that must be zero. */
static bool decode_rest(const uint8_t *text, size_t len, uint8_t *out)
{
    unsigned a = VALUES[text[0]];
    unsigned b = VALUES[text[1]];
    unsigned c = len == 3 ? VALUES[text[2]] : 0;
    if ((a | b | c) > 63 || (len == 2 ? b & 15 : c & 3) != 0) {
        return false;
    }
    out[0] = (uint8_t)(a << 2 | b >> 4);
    if (len == 3) {
        out[1] = (uint8_t)(b << 4 | c >> 2);
    }
    return true;
}

bool age_base64_decode(struct quipu_slice text, bool is_padded, uint8_t *out, size_t cap,
                       size_t *len)
{
    size_t chars = text.len;
    if (is_padded) {
        if (chars % 4 != 0) {
            return false;
        }
        for (int i = 0; i < 2 && chars > 0 && text.data[chars - 1] == '='; i++) {
            chars--;
        }
    }
    size_t rest = chars % 4;
    size_t bytes = chars / 4 * 3 + (rest == 0 ? 0 : rest - 1);
    if (rest == 1 || bytes > cap) {
        return false;
    }
    size_t at = 0;
    for (; at + 4 <= chars; at += 4, out += 3) {
        unsigned a = VALUES[text.data[at]];
        unsigned b = VALUES[text.data[at + 1]];
        unsigned c = VALUES[text.data[at + 2]];
        unsigned d = VALUES[text.data[at + 3]];
        if ((a | b | c | d) > 63) {
            return false;
        }
        out[0] = (uint8_t)(a << 2 | b >> 4);
        out[1] = (uint8_t)(b << 4 | c >> 2);
        out[2] = (uint8_t)(c << 6 | d);
    }
    if (rest != 0 && !decode_rest(text.data + at, rest, out)) {
        return false;
    }
    *len = bytes;
    return true;
}

bool age_base64_exact(struct quipu_slice text, uint8_t *out, size_t len)
{
    size_t bytes = 0;
    return text.len == (len * 4 + 2) / 3 && age_base64_decode(text, false, out, len, &bytes) &&
           bytes == len;
}
