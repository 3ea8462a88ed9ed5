/*
 * Small facts about text: UTF-8 validity, control characters, hexadecimal.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TEXT_H
#define QUIPU_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Number of leading bytes that are whole, valid UTF-8 (Unicode 15, table 3-7: no surrogates, no
 * overlong forms, up to U+10FFFF). Equal to text.len where all is valid. */
QUIPU_API size_t quipu_utf8_valid_prefix(struct quipu_slice text);

/** True for valid UTF-8 without control characters (U+0000–U+001F, U+007F–U+009F). */
QUIPU_API bool quipu_text_is_printable(struct quipu_slice text);

/** True for a code point that shows nothing, or turns the order of what stands around it: controls
 * (Cc), the controls of direction (UAX #9), and format characters without a shape. Text of others
 * is shown without them. */
QUIPU_API bool quipu_text_is_hidden(uint32_t code);

/** Append lower-case hexadecimal. */
QUIPU_API void quipu_hex_append(struct quipu_buf *buf, struct quipu_slice bytes);

/** Append the bytes that hexadecimal text (either case, even length) stands for.
 * @retval QUIPU_INVALID not hexadecimal; nothing appended. @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_hex_decode(struct quipu_buf *buf,
                                                              struct quipu_slice text);

#ifdef __cplusplus
}
#endif

#endif
