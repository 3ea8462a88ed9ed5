/*
 * Names, limits and contents of what the caller wants to append.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_EVENT_CHECK_H
#define QUIPU_ENGINE_EVENT_CHECK_H

#include <stdbool.h>

#include "quipu/engine.h"

/* One token of [a-z0-9_-], 1 to `max` bytes. */
bool name_is_token(struct quipu_slice name, size_t max);
/* Tokens joined by single dots, 1 to `max` bytes. */
bool name_is_tokens(struct quipu_slice name, size_t max);
/* UTF-8 without control characters, 1 to QUIPU_AGGREGATE_ID_BYTES_MAX bytes. */
bool name_is_aggregate_id(struct quipu_slice name);

/* Can an event be of this type, of an aggregate of this type and id? NULL: any. For filters.
 * @retval QUIPU_INVALID */
QUIPU_MUST_CHECK enum quipu_status event_type_wanted_check(const char *event_type,
                                                           struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status aggregate_wanted_check(const char *type, const char *id,
                                                          struct quipu_error *err);

/* @retval QUIPU_TOO_LARGE  naming `what` and both sizes */
QUIPU_MUST_CHECK enum quipu_status block_size_check(struct quipu_slice block, size_t max,
                                                    const char *what, struct quipu_error *err);

/* Is `block` one item of DAG-CBOR, a map, and no deeper than may be within an envelope? @retval
 * QUIPU_INVALID, QUIPU_CBOR_* */
QUIPU_MUST_CHECK enum quipu_status map_check(struct quipu_slice block, const char *what,
                                             struct quipu_error *err);

/* All that can be said of an event without the store: fields, limits, strict DAG-CBOR, secrets;
 * fields and sizes first, so that they are known to hold where it is refused for a secret.
 * @retval QUIPU_MISUSE, QUIPU_INVALID, QUIPU_TOO_LARGE, QUIPU_CBOR_*, QUIPU_SECRET_REFUSED */
QUIPU_MUST_CHECK enum quipu_status event_check(const struct quipu_event *event,
                                               struct quipu_error *err);

#endif
