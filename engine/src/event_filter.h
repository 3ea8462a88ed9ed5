/*
 * What a filter lets through, as every walk over events has it. Positions, order and limits are the
 * walk's own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_EVENT_FILTER_H
#define QUIPU_EVENT_FILTER_H

#include "quipu/engine.h"

struct event_filter {
    struct quipu_aggregate aggregate; /* empty type: any; empty id: any of the type */
    struct quipu_slice event_type;    /* empty: any */
    struct quipu_uuid correlation_id; /* nil: any */
    uint64_t from_version;
};

/* Check what was given, and borrow its texts. @retval QUIPU_INVALID, QUIPU_MISUSE */
QUIPU_MUST_CHECK enum quipu_status event_filter_init(struct event_filter *out,
                                                     const struct quipu_filter *given,
                                                     struct quipu_error *err);

/* What the record says of itself is enough to leave it out; it need not be decoded for that. */
bool event_filter_lets_through(const struct event_filter *filter,
                               const struct quipu_record *record);

#endif
