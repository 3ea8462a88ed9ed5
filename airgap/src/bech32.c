/*
 * Bech32: five bits a character, and a checksum that finds any four wrong ones. What it decodes may
 * be a secret key, so no value of the text indexes a table and no message quotes it.
 *
 * Specification: BIP 173; c2sp.org/age, which lifts the limit of 90 characters.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "bech32.h"

#include <string.h>

#define CHECKSUM_CHARS 6u

static const char DIGITS[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/* One step of the checksum: a polynomial over GF(32), the value of the next digit at its end. */
static uint32_t checksum_step(uint32_t sum, unsigned value)
{
    static const uint32_t GENERATOR[] = {0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                         0x2a1462b3};
    uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ value;
    for (unsigned i = 0; i < 5; i++) {
        sum ^= GENERATOR[i] & (uint32_t)(0u - (top >> i & 1));
    }
    return sum;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static uint8_t in_case(uint8_t c, enum bech32_case letters)
{
    return letters == BECH32_UPPER && c >= 'a' && c <= 'z' ? (uint8_t)(c & ~0x20) : c;
}

/* The checksum is over the lower-case prefix, whatever case is written. */
static uint32_t checksum_prefix(const char *prefix)
{
    uint32_t sum = 1;
    for (const char *p = prefix; *p != 0; p++) {
        sum = checksum_step(sum, (unsigned)lower((uint8_t)*p) >> 5);
    }
    sum = checksum_step(sum, 0);
    for (const char *p = prefix; *p != 0; p++) {
        sum = checksum_step(sum, (unsigned)lower((uint8_t)*p) & 31);
    }
    return sum;
}

static size_t digits_of(size_t bytes)
{
    return (bytes * 8 + 4) / 5;
}

size_t bech32_text_len(size_t prefix_len, size_t bytes)
{
    return prefix_len + 1 + digits_of(bytes) + CHECKSUM_CHARS;
}

/* The digit's character, found without an index that depends on it. */
static uint8_t digit_char(unsigned value)
{
    unsigned found = 0;
    for (unsigned i = 0; i < 32; i++) {
        unsigned differs = ((i ^ value) + 31) >> 5; /* 0 where equal, else 1 */
        found |= (unsigned)(uint8_t)DIGITS[i] & (differs - 1);
    }
    return (uint8_t)found;
}

/* The value of a character, or 32 and more for a foreign one; found the same way. */
static unsigned digit_value(uint8_t c)
{
    unsigned found = 32;
    for (unsigned i = 0; i < 32; i++) {
        unsigned differs = (((unsigned)(uint8_t)DIGITS[i] ^ c) + 255) >> 8;
        found ^= (found ^ i) & (differs - 1);
    }
    return found;
}

void bech32_encode(const char *prefix, struct quipu_slice bytes, enum bech32_case letters,
                   char *out)
{
    uint32_t sum = checksum_prefix(prefix);
    uint32_t pending = 0;
    unsigned bits = 0;
    size_t at = strlen(prefix);
    memcpy(out, prefix, at);
    out[at++] = '1';
    for (size_t i = 0, count = digits_of(bytes.len), next = 0; i < count; i++) {
        if (bits < 5) {
            pending = pending << 8 | (next < bytes.len ? bytes.data[next] : 0u);
            next++;
            bits += 8;
        }
        bits -= 5;
        unsigned value = pending >> bits & 31;
        sum = checksum_step(sum, value);
        out[at++] = (char)in_case(digit_char(value), letters);
    }
    for (unsigned i = 0; i < CHECKSUM_CHARS; i++) {
        sum = checksum_step(sum, 0);
    }
    sum ^= 1;
    for (unsigned i = 0; i < CHECKSUM_CHARS; i++) {
        out[at++] = (char)in_case(digit_char(sum >> 5 * (5 - i) & 31), letters);
    }
    out[at] = 0;
}

bool bech32_decode(struct quipu_slice text, const char *prefix, enum bech32_case letters,
                   uint8_t *out, size_t len, const char **why)
{
    size_t prefix_len = strlen(prefix);
    if (text.len <= prefix_len || memcmp(text.data, prefix, prefix_len) != 0 ||
        text.data[prefix_len] != '1') {
        *why = "it begins otherwise";
        return false;
    }
    if (text.len != bech32_text_len(prefix_len, len)) {
        *why = "its length is wrong";
        return false;
    }
    uint32_t sum = checksum_prefix(prefix);
    uint32_t pending = 0;
    unsigned bits = 0;
    size_t written = 0;
    for (size_t i = prefix_len + 1; i < text.len; i++) {
        uint8_t c = lower(text.data[i]);
        unsigned value = digit_value(c);
        if (value > 31 || in_case(c, letters) != text.data[i]) {
            *why = "it has a character that no key has, or letters of both cases";
            return false;
        }
        sum = checksum_step(sum, value);
        pending = pending << 5 | value;
        bits += 5;
        if (bits >= 8 && written < len) {
            bits -= 8;
            out[written++] = (uint8_t)(pending >> bits);
            if (written == len && (pending & ((1u << bits) - 1)) != 0) {
                *why = "its last digit has stray bits";
                return false;
            }
        }
    }
    if (sum != 1) {
        *why = "its checksum is wrong";
        return false;
    }
    return true;
}
