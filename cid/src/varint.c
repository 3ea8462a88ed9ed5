/*
 * Unsigned varints, written and read strictly.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/varint.h"

#define VARINT_MORE 0x80u
#define VARINT_BITS 7

size_t quipu_varint_encode(uint64_t value, uint8_t out[QUIPU_VARINT_BYTES])
{
    if (value > QUIPU_VARINT_MAX) {
        return 0;
    }
    size_t len = 0;
    while (value >= VARINT_MORE) {
        out[len++] = (uint8_t)(value | VARINT_MORE);
        value >>= VARINT_BITS;
    }
    out[len++] = (uint8_t)value;
    return len;
}

void quipu_varint_append(struct quipu_buf *out, uint64_t value)
{
    uint8_t bytes[QUIPU_VARINT_BYTES];
    size_t len = quipu_varint_encode(value, bytes);
    if (len == 0) {
        out->status = out->status == QUIPU_OK ? QUIPU_TOO_LARGE : out->status;
        return;
    }
    quipu_buf_append(out, bytes, len);
}

enum quipu_status quipu_varint_take(struct quipu_slice *input, uint64_t *out,
                                    struct quipu_error *err)
{
    uint64_t value = 0;
    for (size_t i = 0; i < QUIPU_VARINT_BYTES; i++) {
        if (i == input->len) {
            return quipu_error_set_at(err, QUIPU_VARINT, i, "varint ends after %zu bytes", i);
        }
        uint8_t byte = input->data[i];
        value |= (uint64_t)(byte & ~VARINT_MORE) << (VARINT_BITS * i);
        if ((byte & VARINT_MORE) != 0) {
            continue;
        }
        /* A last byte of 0 adds nothing: the form without it is shorter. */
        if (byte == 0 && i > 0) {
            return quipu_error_set_at(err, QUIPU_VARINT, i, "varint is not in its shortest form");
        }
        *input = quipu_slice(input->data + i + 1, input->len - i - 1);
        *out = value;
        return QUIPU_OK;
    }
    return quipu_error_set_at(err, QUIPU_VARINT, QUIPU_VARINT_BYTES,
                              "varint is longer than %d bytes", QUIPU_VARINT_BYTES);
}
