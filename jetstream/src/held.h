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

/* Zero-initialised: empty. Sorted digests of (type, id). */
struct held_aggregates {
    uint64_t *keys;
    size_t count;
    size_t cap;
};

/* Add those of every dead letter that nobody has given up on. @retval as reading does */
enum quipu_status quipu_held_load(struct held_aggregates *held, struct quipu_engine *engine,
                                  struct quipu_error *err) QUIPU_MUST_CHECK;

bool quipu_held_has(const struct held_aggregates *held, const struct quipu_envelope *envelope);

/* @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_held_add(struct held_aggregates *held,
                                 const struct quipu_envelope *envelope,
                                 struct quipu_error *err) QUIPU_MUST_CHECK;

void quipu_held_release(struct held_aggregates *held);

#endif
