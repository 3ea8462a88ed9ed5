/*
 * Time and randomness are injected, so that tests own them and stored bytes can be reproduced.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLOCK_H
#define QUIPU_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Wall clock, microseconds since 1970 UTC. May be called from any thread. */
struct quipu_clock {
    int64_t (*unix_us)(void *ctx);
    void *ctx;
};

/** Randomness. May be called from any thread. */
struct quipu_random {
    enum quipu_status (*fill)(void *ctx, void *into, size_t len, struct quipu_error *err);
    void *ctx;
};

/** The system's clock (CLOCK_REALTIME). */
QUIPU_API struct quipu_clock quipu_clock_system(void);

/** The system's randomness (getrandom). */
QUIPU_API struct quipu_random quipu_random_system(void);

/** Longest text of quipu_rfc3339_format, with its NUL. */
#define QUIPU_RFC3339_BYTES 48

/**
 * Write microseconds since 1970 UTC as RFC 3339 in UTC: "2026-11-20T13:58:18Z", with exactly six
 * digits of fraction where the microseconds are not 0.
 * Years 0000 to 9999; an instant outside becomes "out-of-range".
 */
QUIPU_API void quipu_rfc3339_format(int64_t unix_us, char out[QUIPU_RFC3339_BYTES]);

/**
 * Read RFC 3339 §5.6 (any offset, fraction of 1 to 9 digits, truncated to microseconds; second 60
 * is read as the next second's 0).
 * @retval QUIPU_INVALID  not RFC 3339; nothing written
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_rfc3339_parse(struct quipu_slice text,
                                                                 int64_t *unix_us);

#ifdef __cplusplus
}
#endif

#endif
