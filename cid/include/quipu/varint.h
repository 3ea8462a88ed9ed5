/*
 * Unsigned varints of multiformats: seven bits a byte, least significant first, at most nine bytes,
 * shortest form only.
 *
 * Specification: github.com/multiformats/unsigned-varint; docs/SPEC.md §2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_VARINT_H
#define QUIPU_VARINT_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_VARINT_BYTES 9
#define QUIPU_VARINT_MAX   ((UINT64_C(1) << 63) - 1)

/**
 * Write `value`. @return the number of bytes, 1 to QUIPU_VARINT_BYTES; 0 where `value` is above
 * QUIPU_VARINT_MAX, and then nothing is written. Any thread.
 */
QUIPU_API size_t quipu_varint_encode(uint64_t value, uint8_t out[QUIPU_VARINT_BYTES]);

/** Append `value`; the buffer's status becomes QUIPU_TOO_LARGE above QUIPU_VARINT_MAX. */
QUIPU_API void quipu_varint_append(struct quipu_buf *out, uint64_t value);

/**
 * Read the varint at the front of `*input` and advance past it.
 * @retval QUIPU_VARINT  cut short, longer than nine bytes, or not the shortest form; err->offset is
 *         relative to the start of input, and `*input` and `*out` are unchanged
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_varint_take(struct quipu_slice *input, uint64_t *out, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
