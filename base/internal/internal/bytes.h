/*
 * Integers to and from bytes, big-endian, and sums and products that say when they overflow.
 * Internal: never installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INTERNAL_BYTES_H
#define QUIPU_INTERNAL_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline uint16_t quipu_load_be16(const uint8_t *p)
{
    return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t quipu_load_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t quipu_load_be64(const uint8_t *p)
{
    return (uint64_t)quipu_load_be32(p) << 32 | quipu_load_be32(p + 4);
}

static inline void quipu_store_be16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void quipu_store_be32(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 24);
    p[1] = (uint8_t)(value >> 16);
    p[2] = (uint8_t)(value >> 8);
    p[3] = (uint8_t)value;
}

static inline void quipu_store_be64(uint8_t *p, uint64_t value)
{
    quipu_store_be32(p, (uint32_t)(value >> 32));
    quipu_store_be32(p + 4, (uint32_t)value);
}

/* false where the result does not fit; *out is then unspecified. */
static inline bool quipu_add_size(size_t a, size_t b, size_t *out)
{
    *out = a + b;
    return *out >= a;
}

static inline bool quipu_add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    *out = a + b;
    return *out >= a;
}

static inline bool quipu_mul_size(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

#endif
