/*
 * What several files ask of an event that is stored: the one at a position, and whether an envelope
 * is of an aggregate. Nothing here hashes: see event_checked.h.
 *
 * Specification: docs/SPEC.md §6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_EVENT_AT_H
#define QUIPU_ENGINE_EVENT_AT_H

#include <stdbool.h>

#include "quipu/engine.h"

/* quipu_txn_record_at and quipu_event_view_of, with the statuses of both. On failure `*out` is
 * undefined. */
QUIPU_MUST_CHECK enum quipu_status event_view_at(struct quipu_txn *txn, uint64_t position,
                                                 struct quipu_event_view *out,
                                                 struct quipu_error *err);

static inline bool aggregate_equal(const struct quipu_aggregate *a, const struct quipu_aggregate *b)
{
    return quipu_slice_equal(a->type, b->type) && quipu_slice_equal(a->id, b->id);
}

static inline bool envelope_is_of(const struct quipu_envelope *envelope,
                                  const struct quipu_aggregate *aggregate)
{
    return quipu_slice_equal(envelope->aggregate_type, aggregate->type) &&
           quipu_slice_equal(envelope->aggregate_id, aggregate->id);
}

#endif
