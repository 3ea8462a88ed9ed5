/*
 * Events whose bytes go to a caller: decoded, and both blocks hashed again, so that what a disk has
 * changed is never served as good. Every path that hands out an event goes through here, or says
 * why it need not; who only looks at links and numbers decodes alone (quipu_event_view_of).
 *
 * Specification: docs/SPEC.md §6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_EVENT_CHECKED_H
#define QUIPU_ENGINE_EVENT_CHECKED_H

#include <stdbool.h>

#include "quipu/engine.h"
#include "read_ahead.h"

/* quipu_event_view_of and quipu_event_view_verify. On failure `*out` is undefined.
 * @retval QUIPU_CORRUPT  names the position, and the block where it is one */
QUIPU_MUST_CHECK enum quipu_status event_view_checked(const struct quipu_record *record,
                                                      struct quipu_event_view *out,
                                                      struct quipu_error *err);

/* The same, but without hashing for a caller who has said `skips_hashing`. */
QUIPU_MUST_CHECK enum quipu_status event_view_read(const struct quipu_record *record,
                                                   bool skips_hashing, struct quipu_event_view *out,
                                                   struct quipu_error *err);

/* The same with digests that were made beforehand, of the bytes that the record has now. */
QUIPU_MUST_CHECK enum quipu_status event_view_hashed(const struct quipu_record *record,
                                                     const struct block_digests *digests,
                                                     struct quipu_event_view *out,
                                                     struct quipu_error *err);

#endif
