/*
 * A model of a flush: the window, a server, and a network that may cut, delay and lose, small
 * enough that every reachable state can be visited.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_WINDOW_MODEL_H
#define QUIPU_TESTS_WINDOW_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flush_window.h"

#define MODEL_EVENTS_MAX 3
#define MODEL_QUEUE_MAX  24

/* What lies on the server before the flush, per event. */
enum model_before {
    MODEL_NOTHING,
    MODEL_PAYLOAD,   /* chunk and meta, by another store */
    MODEL_OURS,      /* payload and envelope, by an earlier flush whose acks were lost */
    MODEL_FOREIGN,   /* another event under the same event_id */
    MODEL_AGED,      /* as MODEL_OURS, and the duplicate window is over */
    MODEL_FORGOTTEN, /* the duplicate window knows the id, the message is deleted */
    MODEL_UNFIT      /* the server will never take the envelope */
};

struct model_setup {
    uint32_t capacity;
    uint32_t events;
    enum model_before before[MODEL_EVENTS_MAX];
    uint8_t aggregates[MODEL_EVENTS_MAX]; /* equal: the same one */
    bool looks; /* the window looks; the server is not told to expect nothing */
    /* How often each fault may happen. */
    uint8_t cuts, timeouts, losses, refusals;
    /* How often the server may forget an id, its duplicate window being over: only when no envelope
     * of that event is under way, which is what a window that looks relies on. */
    uint8_t forgets;
};

/* Visit every state; fails the Criterion test at the first broken rule. Returns their number. */
size_t model_explore(const struct model_setup *setup);

#endif
