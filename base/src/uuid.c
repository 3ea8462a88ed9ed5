/*
 * UUID text and the version 7 generator (RFC 9562 §5.7, §6.2 method 3).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/uuid.h"

#include <stddef.h>

#include "internal/bytes.h"
#include "internal/hex.h"

#define US_PER_MS 1000
/* 48 bits of milliseconds and 12 bits of fraction make one 60-bit counter. */
#define FRACTION_BITS 12
#define FRACTION_MAX  4096

void quipu_uuid_format(struct quipu_uuid uuid, char out[QUIPU_UUID_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;
    for (size_t i = 0; i < QUIPU_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }
        *p++ = digits[uuid.bytes[i] >> 4];
        *p++ = digits[uuid.bytes[i] & 15];
    }
    *p = 0;
}

enum quipu_status quipu_uuid_parse(struct quipu_slice text, struct quipu_uuid *out)
{
    if (text.len != QUIPU_UUID_TEXT_BYTES - 1) {
        return QUIPU_INVALID;
    }
    struct quipu_uuid uuid;
    size_t at = 0;
    for (size_t i = 0; i < QUIPU_UUID_BYTES; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text.data[at++] != '-') {
                return QUIPU_INVALID;
            }
        }
        int high = quipu_hex_value(text.data[at++]);
        int low = quipu_hex_value(text.data[at++]);
        if (high < 0 || low < 0) {
            return QUIPU_INVALID;
        }
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *out = uuid;
    return QUIPU_OK;
}

/* The 60-bit counter inside a version 7 UUID. */
static uint64_t uuid_counter(const struct quipu_uuid *uuid)
{
    uint64_t head = quipu_load_be64(uuid->bytes);
    return (head >> 16) << FRACTION_BITS | (head & (FRACTION_MAX - 1));
}

enum quipu_status quipu_uuid_v7(const struct quipu_clock *clock, const struct quipu_random *random,
                                struct quipu_uuid *last, struct quipu_error *err)
{
    struct quipu_uuid next;
    enum quipu_status status = random->fill(random->ctx, next.bytes + 8, 8, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int64_t now_us = clock->unix_us(clock->ctx);
    uint64_t us = now_us > 0 ? (uint64_t)now_us : 0;
    uint64_t counter = us / US_PER_MS << FRACTION_BITS | us % US_PER_MS * FRACTION_MAX / US_PER_MS;
    if (counter <= uuid_counter(last)) {
        counter = uuid_counter(last) + 1;
    }
    uint64_t head = (counter >> FRACTION_BITS) << 16 | 0x7000 | (counter & (FRACTION_MAX - 1));
    quipu_store_be64(next.bytes, head);
    next.bytes[8] = (uint8_t)((next.bytes[8] & 0x3f) | 0x80);
    *last = next;
    return QUIPU_OK;
}
