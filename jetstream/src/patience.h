/*
 * What those who go on by themselves make of a failure: try again soon, try again later, or end.
 *
 * Specification: docs/SPEC.md §10.5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PATIENCE_H
#define QUIPU_PATIENCE_H

#include "backoff.h"
#include "quipu/error.h"

enum failure_kind {
    FAILURE_AWAY,    /* the server: try again soon */
    FAILURE_REFUSED, /* the server is there and will not: a person may see to it meanwhile */
    FAILURE_LASTING, /* no waiting helps */
};

enum failure_kind quipu_failure_kind(enum quipu_status status);

/* How long to wait behind one more failure: doubled each time, with jitter; where the server
 * refuses again and again, `interval_us`. */
int64_t quipu_failure_pause(struct backoff *backoff, enum failure_kind kind, int64_t interval_us);

/* Sleep for about so many microseconds; a signal ends it early. */
void quipu_nats_sleep(int64_t us);

#endif
