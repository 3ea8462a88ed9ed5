/*
 * How long one transaction may last: a long reader makes the file grow and a long writer keeps
 * others waiting, so long work is done in slices of at most so many events and so much time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_SLICE_BUDGET_H
#define QUIPU_ENGINE_SLICE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define SLICE_EVENTS_MAX 10000
#define SLICE_NS_MAX     50000000

struct slice_budget {
    uint64_t events;
    int64_t started_ns;
};

static inline int64_t slice_now_ns(void)
{
    struct timespec now;
    /* Steps of a few milliseconds will do, and this is asked once an event. Cannot fail on Linux.
     */
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void slice_budget_start(struct slice_budget *budget)
{
    budget->events = 0;
    budget->started_ns = slice_now_ns();
}

/* Count one event; true where the slice should end behind it. */
static inline bool slice_budget_spend(struct slice_budget *budget)
{
    budget->events++;
    return budget->events >= SLICE_EVENTS_MAX ||
           slice_now_ns() - budget->started_ns >= SLICE_NS_MAX;
}

#endif
