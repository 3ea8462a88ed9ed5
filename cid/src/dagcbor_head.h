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
#include "quipu/dagcbor.h"
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

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* The common way through reader and writer is one piece of code; what is rare is out of it. */
#define ALWAYS_INLINE inline __attribute__((always_inline))
#define NEVER_INLINE  __attribute__((noinline))

/* Length of the shortest head. */
static ALWAYS_INLINE size_t head_bytes(uint64_t argument)
{
    if (argument < INFO_1_BYTE) {
        return 1;
    }
    return argument <= UINT8_MAX ? 2 : argument <= UINT16_MAX ? 3 : argument <= UINT32_MAX ? 5 : 9;
}

/* Shortest head; its length. */
static ALWAYS_INLINE size_t head_put(uint8_t *into, enum cbor_major major, uint64_t argument)
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

#define NO_ASCII UINT64_C(0x8080808080808080)

/* What is_short_ascii can look at. */
#define SHORT_TEXT_BYTES 16

/* Is this ASCII? Two loads that overlap, not byte by byte; len ≤ SHORT_TEXT_BYTES. */
static ALWAYS_INLINE bool is_short_ascii(const uint8_t *p, size_t len)
{
    if (len >= 8) {
        uint64_t first;
        uint64_t last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + len - sizeof last, sizeof last);
        return ((first | last) & NO_ASCII) == 0;
    }
    if (len >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + len - sizeof last, sizeof last);
        return ((first | last) & (uint32_t)NO_ASCII) == 0;
    }
    return len == 0 || ((p[0] | p[len / 2] | p[len - 1]) & 0x80) == 0;
}

static inline bool is_utf8(const uint8_t *p, size_t len)
{
    return (len <= SHORT_TEXT_BYTES && is_short_ascii(p, len)) ||
           quipu_utf8_valid_prefix(quipu_slice(p, len)) == len;
}

/* quipu_dagcbor_key_compare for bytes that are no slices. */
static inline int key_compare(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
    return quipu_dagcbor_key_compare(quipu_slice(a, a_len), quipu_slice(b, b_len));
}

/* Does a key come plainly behind `last`, of the same length? Looks at its first bytes only: false
 * means no more than that a closer look is due. */
static ALWAYS_INLINE bool is_plainly_behind(const uint8_t *key, const uint8_t *last, size_t len)
{
    if (len >= sizeof(uint32_t)) {
        return quipu_load_be32(key) > quipu_load_be32(last);
    }
    return len > 0 && key[0] > last[0];
}

/* memcpy for what is mostly short: a call costs more than the copy. Pieces overlap. */
static ALWAYS_INLINE void copy_short(uint8_t *into, const uint8_t *from, size_t len)
{
    if (len >= 8 && len <= 16) {
        uint64_t first;
        uint64_t last;
        memcpy(&first, from, sizeof first);
        memcpy(&last, from + len - sizeof last, sizeof last);
        memcpy(into, &first, sizeof first);
        memcpy(into + len - sizeof last, &last, sizeof last);
    } else if (len >= 4 && len < 8) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, from, sizeof first);
        memcpy(&last, from + len - sizeof last, sizeof last);
        memcpy(into, &first, sizeof first);
        memcpy(into + len - sizeof last, &last, sizeof last);
    } else if (len > 16) {
        memcpy(into, from, len);
    } else {
        if (len > 0) {
            uint8_t middle = from[len / 2];
            uint8_t last = from[len - 1];
            into[0] = from[0];
            into[len / 2] = middle;
            into[len - 1] = last;
        }
    }
}

#endif
