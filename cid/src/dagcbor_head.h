/*
 * What reader and writer of DAG-CBOR share: major types, heads, UTF-8 of mostly short ASCII text.
 * Private to cid/. SPEC §1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DAGCBOR_HEAD_H
#define QUIPU_DAGCBOR_HEAD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/text.h"

enum cbor_major {
    MAJOR_UINT = 0,
    MAJOR_NEGATIVE = 1,
    MAJOR_BYTES = 2,
    MAJOR_TEXT = 3,
    MAJOR_LIST = 4,
    MAJOR_MAP = 5,
    MAJOR_TAG = 6,
    MAJOR_OTHER = 7,
};

/* Additional information of a head (RFC 8949 §3). */
#define INFO_1_BYTE     24
#define INFO_2_BYTES    25
#define INFO_4_BYTES    26
#define INFO_8_BYTES    27
#define INFO_INDEFINITE 31

#define CBOR_FALSE 0xf4
#define CBOR_TRUE  0xf5
#define CBOR_NULL  0xf6
#define CBOR_FLOAT 0xfb

#define LINK_TAG      42
#define LINK_TAG_HEAD 0xd8
#define LINK_PREFIX   0x00 /* multibase identity, before the binary CID */

#define HEAD_BYTES_MAX 9

/* An exponent of ones is infinity or NaN. */
#define FLOAT_EXPONENT UINT64_C(0x7ff0000000000000)

/* Shortest head; its length. */
static inline size_t head_put(uint8_t *into, enum cbor_major major, uint64_t argument)
{
    uint8_t top = (uint8_t)((unsigned)major << 5);
    if (argument < INFO_1_BYTE) {
        into[0] = (uint8_t)(top | argument);
        return 1;
    }
    if (argument <= UINT8_MAX) {
        into[0] = (uint8_t)(top | INFO_1_BYTE);
        into[1] = (uint8_t)argument;
        return 2;
    }
    if (argument <= UINT16_MAX) {
        into[0] = (uint8_t)(top | INFO_2_BYTES);
        quipu_store_be16(into + 1, (uint16_t)argument);
        return 3;
    }
    if (argument <= UINT32_MAX) {
        into[0] = (uint8_t)(top | INFO_4_BYTES);
        quipu_store_be32(into + 1, (uint32_t)argument);
        return 5;
    }
    into[0] = (uint8_t)(top | INFO_8_BYTES);
    quipu_store_be64(into + 1, argument);
    return 9;
}

/* True where no byte has its top bit set. Loads overlap rather than go byte by byte. */
static inline bool is_ascii(const uint8_t *p, size_t len)
{
    uint64_t bits = 0;
    uint64_t word;
    if (len >= sizeof word) {
        for (size_t at = 0; at + sizeof word <= len; at += sizeof word) {
            memcpy(&word, p + at, sizeof word);
            bits |= word;
        }
        memcpy(&word, p + len - sizeof word, sizeof word);
        return ((bits | word) & UINT64_C(0x8080808080808080)) == 0;
    }
    uint32_t first;
    uint32_t last;
    if (len >= sizeof first) {
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + len - sizeof last, sizeof last);
        return ((first | last) & 0x80808080u) == 0;
    }
    for (size_t i = 0; i < len; i++) {
        bits |= p[i];
    }
    return (bits & 0x80) == 0;
}

static inline bool is_utf8(const uint8_t *p, size_t len)
{
    return is_ascii(p, len) || quipu_utf8_valid_prefix(quipu_slice(p, len)) == len;
}

/* Canonical order of map keys: length first, then bytewise (RFC 7049 §3.9). */
static inline int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    if (a_len != b_len) {
        return a_len < b_len ? -1 : 1;
    }
    return a_len == 0 ? 0 : memcmp(a, b, a_len);
}

#endif
