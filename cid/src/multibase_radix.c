/*
 * Base 10, 36 and 58: the bytes are one big number, most significant byte first; each leading zero
 * byte is one leading zero digit. Schoolbook conversion, in place in the output buffer, so its
 * work grows with the square of the length: QUIPU_MULTIBASE_RADIX_MAX bounds it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "multibase_parts.h"

/* ceil(8 / log2(10)): the most digits that one byte can need. */
#define DIGITS_PER_BYTE_MAX 3

static size_t leading(struct quipu_slice slice, uint8_t what)
{
    size_t count = 0;
    while (count < slice.len && slice.data[count] == what) {
        count++;
    }
    return count;
}

/* number = number × by + plus, over `len` places of base `place`, least significant first.
 * Returns the new length. */
static size_t multiply_add(uint8_t *number, size_t len, unsigned by, unsigned plus, unsigned place)
{
    unsigned carry = plus;
    for (size_t i = 0; i < len; i++) {
        carry += number[i] * by;
        number[i] = (uint8_t)(carry % place);
        carry /= place;
    }
    while (carry > 0) {
        number[len++] = (uint8_t)(carry % place);
        carry /= place;
    }
    return len;
}

static void reverse(uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len / 2; i++) {
        uint8_t swap = bytes[i];
        bytes[i] = bytes[len - 1 - i];
        bytes[len - 1 - i] = swap;
    }
}

enum quipu_status multibase_radix_encode(const char *digits, unsigned radix,
                                         struct quipu_slice bytes, struct quipu_buf *out)
{
    if (bytes.len > QUIPU_MULTIBASE_RADIX_MAX) {
        return QUIPU_TOO_LARGE;
    }
    /* A fixed buffer must hold this bound and not only the result. */
    uint8_t *into = quipu_buf_reserve(out, bytes.len * DIGITS_PER_BYTE_MAX);
    if (into == NULL) {
        return out->status;
    }
    size_t zeros = leading(bytes, 0);
    memset(into, digits[0], zeros);
    uint8_t *number = into + zeros;
    size_t len = 0;
    for (size_t i = zeros; i < bytes.len; i++) {
        len = multiply_add(number, len, 256, bytes.data[i], radix);
    }
    reverse(number, len);
    for (size_t i = 0; i < len; i++) {
        number[i] = (uint8_t)digits[number[i]];
    }
    out->len += zeros + len;
    return QUIPU_OK;
}

enum quipu_status multibase_radix_decode(const char *digits, unsigned radix, bool is_caseless,
                                         struct quipu_slice text, struct quipu_buf *out,
                                         struct multibase_fault *fault)
{
    if (text.len > QUIPU_MULTIBASE_RADIX_MAX) {
        return QUIPU_TOO_LARGE;
    }
    /* No digit stands for more than a byte. */
    uint8_t *into = quipu_buf_reserve(out, text.len);
    if (into == NULL) {
        return out->status;
    }
    uint8_t values[256];
    multibase_values(digits, is_caseless, values);

    size_t zeros = leading(text, (uint8_t)digits[0]);
    memset(into, 0, zeros);
    uint8_t *number = into + zeros;
    size_t len = 0;
    for (size_t i = zeros; i < text.len; i++) {
        uint8_t value = values[text.data[i]];
        if (value == UINT8_MAX) {
            *fault = (struct multibase_fault){i, "character that is not of this base"};
            return QUIPU_MULTIBASE;
        }
        len = multiply_add(number, len, radix, value, 256);
    }
    reverse(number, len);
    out->len += zeros + len;
    return QUIPU_OK;
}
