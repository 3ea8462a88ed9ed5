/*
 * What the files of multibase share. Each function works on text without its prefix, appends, and
 * leaves the buffer's length alone on failure. Private to cid/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_MULTIBASE_PARTS_H
#define QUIPU_MULTIBASE_PARTS_H

#include <stdbool.h>

#include "quipu/multibase.h"

/* Where and why text was refused; `at` counts from the start of that text. */
struct multibase_fault {
    size_t at;
    const char *reason;
};

/* Bytes as one big number in base 10, 36 or 58; leading zero bytes are leading zero digits. */
enum quipu_status multibase_radix_encode(const char *digits, unsigned radix,
                                         struct quipu_slice bytes, struct quipu_buf *out);
enum quipu_status multibase_radix_decode(const char *digits, unsigned radix, bool is_caseless,
                                         struct quipu_slice text, struct quipu_buf *out,
                                         struct multibase_fault *fault);

/* One emoji a byte. */
enum quipu_status multibase_emoji_encode(struct quipu_slice bytes, struct quipu_buf *out);
enum quipu_status multibase_emoji_decode(struct quipu_slice text, struct quipu_buf *out,
                                         struct multibase_fault *fault);

/* Value of each character in a digit string, UINT8_MAX for a foreign one. */
void multibase_values(const char *digits, bool is_caseless, uint8_t values[256]);

#endif
