/*
 * One hexadecimal digit. Internal: never installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INTERNAL_HEX_H
#define QUIPU_INTERNAL_HEX_H

#include <stdint.h>

/* Value of a digit in either case, or -1. */
static inline int quipu_hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    uint8_t lower = (uint8_t)(c | 0x20);
    if (lower >= 'a' && lower <= 'f') {
        return lower - 'a' + 10;
    }
    return -1;
}

#endif
