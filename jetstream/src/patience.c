/*
 * Kinds of failures, and the pauses behind them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "patience.h"

#include <time.h>

#include "quipu/clock.h"

#define US_PER_S  1000000
#define NS_PER_US 1000

void quipu_nats_sleep(int64_t us)
{
    struct timespec pause = {(time_t)(us / US_PER_S), (long)(us % US_PER_S) * NS_PER_US};
    (void)nanosleep(&pause, NULL); /* woken early is no harm */
}

enum failure_kind quipu_failure_kind(enum quipu_status status)
{
    switch ((int)status) {
    case QUIPU_OFFLINE:
    case QUIPU_TIMEOUT:
        return FAILURE_AWAY;
    case QUIPU_AUTH:
    case QUIPU_PERMISSION:
    case QUIPU_SERVER:
    case QUIPU_NOT_PROVISIONED:
    case QUIPU_BUSY:
        return FAILURE_REFUSED;
    default:
        return FAILURE_LASTING;
    }
}

int64_t quipu_failure_pause(struct backoff *backoff, enum failure_kind kind, int64_t interval_us)
{
    uint64_t bits = 0;
    struct quipu_random random = quipu_random_system();
    if (random.fill(random.ctx, &bits, sizeof bits, NULL) != QUIPU_OK) {
        bits = 0; /* jitter only spreads clients; without it we still wait */
    }
    int64_t pause_us = quipu_backoff_next(backoff, bits);
    bool is_slow = kind == FAILURE_REFUSED && pause_us > BACKOFF_MAX_US / 2;
    return is_slow ? interval_us : pause_us;
}
