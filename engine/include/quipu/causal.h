/*
 * Causal order: one order of all events of a store that depends on nothing but which events it
 * holds. Two stores that hold the same events walk them in the same order, whatever the order of
 * their arrival, and a projection that is replayed in it has the same digest on both.
 *
 * An event comes behind its prev, behind its cause (the link `causation`, where that is here), and
 * behind every event of its source that has the next smaller number here. Of those that may come,
 * the one with the smallest event_id comes first. Numbers of a source that is in use twice can
 * contradict the links; then, and only where nothing else may come, the links win: the smallest
 * event_id of those that only wait for numbers comes first.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CAUSAL_H
#define QUIPU_CAUSAL_H

#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A walk in causal order over what the store held when it was opened. Owner thread only; holds no
 * transaction. */
struct quipu_causal;

/**
 * Read the links of all events and prepare the order.
 * @cost  two passes' worth of reading over the log; about 60 bytes of memory an event until it is
 *        closed, about 100 while it opens (1M events: some 60 and 100 MB)
 * @retval QUIPU_TOO_LARGE  more than 2^32 - 2 events, or links between them. @retval
 * QUIPU_NO_MEMORY, QUIPU_CORRUPT, …
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_causal_open(struct quipu_engine *engine, struct quipu_causal **out, struct quipu_error *err);

/** How many events it goes over: positions 1 to this. */
QUIPU_API uint64_t quipu_causal_count(const struct quipu_causal *causal);

/** Position of the next event. @retval QUIPU_DONE  that was all. @retval QUIPU_CORRUPT  the events'
 * links go in a circle */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_causal_next(struct quipu_causal *causal, uint64_t *position, struct quipu_error *err);

/** NULL is fine; `*causal` becomes NULL. */
QUIPU_API void quipu_causal_close(struct quipu_causal **causal);

/**
 * quipu_each_event in causal order. The filter (NULL: all) chooses among the events; their order is
 * that of all.
 * @retval QUIPU_INVALID  QUIPU_BACKWARDS. @retval as quipu_each_event and quipu_causal_open
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_each_event_causal(struct quipu_engine *engine, const struct quipu_filter *filter,
                        quipu_event_fn visit, void *ctx, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
