/*
 * How long to wait before the next attempt to connect: doubled each time, with jitter, up to a
 * limit. Pure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BACKOFF_H
#define QUIPU_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_US ((int64_t)50 * 1000)
#define BACKOFF_MAX_US   ((int64_t)5 * 1000 * 1000)

struct backoff {
    uint32_t failures;
};

/* Count a failure; `random` is any 64 bits. Between half and all of the doubled time. */
int64_t quipu_backoff_next(struct backoff *backoff, uint64_t random);

void quipu_backoff_reset(struct backoff *backoff);

#endif
