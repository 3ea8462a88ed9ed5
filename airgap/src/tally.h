/*
 * Counts under names, in the order of DAG-CBOR's map keys: events per type, and per source with its
 * lowest and highest number.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_TALLY_H
#define QUIPU_AIRGAP_TALLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/error.h"
#include "quipu/slice.h"

struct quipu_tally_entry {
    struct quipu_slice name;
    uint64_t count;
    uint64_t first; /* lowest and highest number that was counted */
    uint64_t last;
};

/* Entries in strictly increasing order of name. Zero-initialised is empty. The names belong to the
 * tally where owns_names is set, else they are borrowed. */
struct quipu_tally {
    struct quipu_tally_entry *entries;
    size_t count;
    size_t cap;
    size_t last_hit; /* index that was found last: events of one kind come in runs */
    bool owns_names;
};

void quipu_tally_release(struct quipu_tally *tally);

/* Shorter first, then bytewise: <0, 0, >0. */
int quipu_tally_order(struct quipu_slice a, struct quipu_slice b);

/* True, and where; else false, and where it would stand. */
bool quipu_tally_find(struct quipu_tally *tally, struct quipu_slice name, size_t *index);

/* Count `number` in an entry: one event more, and the range takes it in. */
void quipu_tally_entry_count(struct quipu_tally_entry *entry, uint64_t number);

/* Count one event under `name`, which is copied where it is new.
 * QUIPU_TOO_LARGE: it would be the name after `names_max`. QUIPU_NO_MEMORY. */
QUIPU_MUST_CHECK enum quipu_status quipu_tally_count(struct quipu_tally *tally,
                                                     struct quipu_slice name, uint64_t number,
                                                     size_t names_max, struct quipu_error *err);

/* Put an entry behind the others; the name is borrowed. QUIPU_BUNDLE: it does not follow them. */
QUIPU_MUST_CHECK enum quipu_status quipu_tally_append(struct quipu_tally *tally,
                                                      const struct quipu_tally_entry *entry,
                                                      struct quipu_error *err);

#endif
