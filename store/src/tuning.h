/*
 * Sizes that tests make small, so that a few events cross every threshold. Private to store/ and
 * its tests; a store may be opened with other sizes than before.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_TUNING_H
#define QUIPU_STORE_TUNING_H

#include <stdint.h>

#include "quipu/store.h"

struct quipu_store_tuning {
    /* Events that are indexed in memory before they become a run. */
    uint32_t tail_events;
    /* Runs of one level that are merged into one of the next; 2 to QUIPU_FAN_OUT_MAX. */
    uint32_t fan_out;
    /* Entries in one value of a run that comes out of a merge. */
    uint32_t segment_entries;
    /* Values of merged runs that one flush deletes. */
    uint32_t trash_values;
    /* Pages that one write transaction may hold in memory. */
    uint32_t dirty_pages_max;
    /* Events that a walk over an aggregate notes at a time. */
    uint32_t walk_events;
};

/* 1,024 events; ×8; 16,384 entries (up to 192 KiB); 24; 100,000 (400 MiB); 262,144 (6 MiB). */
struct quipu_store_tuning quipu_store_tuning_default(void);

/* quipu_store_open with other sizes; `tuning` is copied. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_open_tuned(const char *path,
                                                          const struct quipu_store_options *options,
                                                          const struct quipu_store_tuning *tuning,
                                                          struct quipu_store **out,
                                                          struct quipu_error *err);

#endif
