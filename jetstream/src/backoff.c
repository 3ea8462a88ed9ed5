/*
 * Exponential backoff with jitter. No clock, no randomness of its own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "backoff.h"

#define DOUBLINGS_MAX 20

int64_t quipu_backoff_next(struct backoff *backoff, uint64_t random)
{
    uint32_t doublings = backoff->failures < DOUBLINGS_MAX ? backoff->failures : DOUBLINGS_MAX;
    backoff->failures++;
    int64_t whole = BACKOFF_FIRST_US << doublings;
    if (whole > BACKOFF_MAX_US) {
        whole = BACKOFF_MAX_US;
    }
    int64_t half = whole / 2;
    return half + (int64_t)(random % (uint64_t)(half + 1));
}

void quipu_backoff_reset(struct backoff *backoff)
{
    backoff->failures = 0;
}
