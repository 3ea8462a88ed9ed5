/*
 * Aggregates that have a dead letter: the events behind it in the same aggregate are held back, so
 * that no stream gets an event whose predecessor it will never have. Other aggregates go on.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_HELD_H
#define QUIPU_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"

struct held_aggregate {
    uint64_t key;
    uint64_t position; /* of its first dead letter: what is behind that waits */
};

/* Zero-initialised: empty. Sorted by key. */
struct held_aggregates {
    struct held_aggregate *list;
    size_t count;
    size_t cap;
};

/* A number for the envelope's aggregate: 64 bits of a SHA-256 of type and id. That two aggregates
 * share them does not happen. */
uint64_t quipu_aggregate_key(const struct quipu_envelope *envelope);

/* Add those of every dead letter that nobody has given up on. @retval as reading does */
enum quipu_status quipu_held_load(struct held_aggregates *held, struct quipu_engine *engine,
                                  struct quipu_error *err) QUIPU_MUST_CHECK;

/* Position of the dead letter that the event at `position` waits for; 0: none. */
uint64_t quipu_held_behind(const struct held_aggregates *held, uint64_t key, uint64_t position);

/* @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_held_add(struct held_aggregates *held, uint64_t key, uint64_t position,
                                 struct quipu_error *err) QUIPU_MUST_CHECK;

void quipu_held_release(struct held_aggregates *held);

#endif
