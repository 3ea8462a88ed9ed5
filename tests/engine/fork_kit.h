/*
 * Several stores that take each other's events, for the tests of forks and of causal order.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_FORK_KIT_H
#define QUIPU_TESTS_FORK_KIT_H

#include "engine_kit.h"
#include "quipu/causal.h"
#include "quipu/forks.h"

/* Begin to take events in: forks kept, what cannot be taken in quarantine. Each event comes as from
 * a bundle that its own source has signed. */
void fork_kit_begin(struct kit *into, struct quipu_ingest **out);

/* Take event `position` of `from` into `into`, forks kept. */
enum quipu_ingest_outcome fork_kit_take(struct kit *into, struct kit *from, uint64_t position);
/* All of them, in order. */
void fork_kit_take_all(struct kit *into, struct kit *from);

/* Position of the last event. */
uint64_t fork_kit_last(struct kit *kit);

/* Let `copy`, which has recorded nothing yet, record under the key of `kit`. */
void fork_kit_copy_key(struct kit *copy, struct kit *kit);

/* The evidence CIDs, as text, each with a letter for its state ('o', 'c', 'l') and a newline. */
struct quipu_buf fork_kit_forks(struct kit *kit);
/* The events' CIDs in causal order, as text. */
struct quipu_buf fork_kit_order(struct kit *kit);

/* Tips of an aggregate of type "thing". */
uint64_t fork_kit_tips(struct kit *kit, const char *aggregate_id);

/* Merge them; the test fails where that fails. */
struct quipu_merged fork_kit_merge(struct kit *kit, const char *aggregate_id, int n);

#endif
