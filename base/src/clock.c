/*
 * The system's clock and randomness.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/clock.h"

#include <errno.h>
#include <sys/random.h>
#include <time.h>

#define US_PER_SECOND 1000000
#define NS_PER_US     1000

static int64_t system_unix_us(void *ctx)
{
    (void)ctx;
    struct timespec now;
    /* CLOCK_REALTIME cannot fail with a valid pointer. */
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_SECOND + now.tv_nsec / NS_PER_US;
}

static enum quipu_status system_random_fill(void *ctx, void *into, size_t len,
                                            struct quipu_error *err)
{
    (void)ctx;
    uint8_t *rest = into;
    while (len > 0) {
        ssize_t got = getrandom(rest, len, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            (void)quipu_error_errno(err, errno, "getrandom"); /* the status below says more */
            return quipu_error_wrap(err, QUIPU_NO_RANDOM, "no random bytes");
        }
        rest += got;
        len -= (size_t)got;
    }
    return QUIPU_OK;
}

struct quipu_clock quipu_clock_system(void)
{
    return (struct quipu_clock){system_unix_us, NULL};
}

struct quipu_random quipu_random_system(void)
{
    return (struct quipu_random){system_random_fill, NULL};
}
