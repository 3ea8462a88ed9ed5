/*
 * FNV-1a, 64 bits: a quick hash of a few bytes. Whoever chooses the bytes can make them collide.
 * Internal: never installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INTERNAL_FNV_H
#define QUIPU_INTERNAL_FNV_H

#include <stddef.h>
#include <stdint.h>

#define QUIPU_FNV_BEGIN UINT64_C(0xcbf29ce484222325)

/* The hash of what `hash` stands for with these bytes behind it; QUIPU_FNV_BEGIN for nothing. */
static inline uint64_t quipu_fnv(uint64_t hash, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return hash;
}

#endif
