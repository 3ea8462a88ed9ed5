/*
 * UUIDs (RFC 9562): text, bytes, and a generator of version 7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_UUID_H
#define QUIPU_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "quipu/clock.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_UUID_BYTES      16
#define QUIPU_UUID_TEXT_BYTES 37 /* 36 characters and a NUL */

/** A UUID in network order. All zero (the nil UUID) means "none given" where a field is optional.
 */
struct quipu_uuid {
    uint8_t bytes[QUIPU_UUID_BYTES];
};

static inline bool quipu_uuid_is_nil(struct quipu_uuid uuid)
{
    static const uint8_t nil[QUIPU_UUID_BYTES] = {0};
    return memcmp(uuid.bytes, nil, sizeof nil) == 0;
}

static inline bool quipu_uuid_equal(struct quipu_uuid a, struct quipu_uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}

/** "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx", lower case, with a NUL. */
QUIPU_API void quipu_uuid_format(struct quipu_uuid uuid, char out[QUIPU_UUID_TEXT_BYTES]);

/** Reads the 36-character form, either case. @retval QUIPU_INVALID anything else; nothing written
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_uuid_parse(struct quipu_slice text,
                                                              struct quipu_uuid *out);

/**
 * Next UUIDv7 (RFC 9562 §5.7) after `*last`, which is the caller's and is updated: 48 bits of
 * milliseconds, 12 bits of sub-millisecond fraction, 62 random bits. Each one is greater than the
 * one before, also when the clock stands still or goes back (§6.2, method 3).
 * @retval QUIPU_NO_RANDOM
 * @threads the caller guards `last`
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_uuid_v7(const struct quipu_clock *clock,
                                                           const struct quipu_random *random,
                                                           struct quipu_uuid *last,
                                                           struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
