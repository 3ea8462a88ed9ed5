/*
 * All that a store answers, as one number: what compacting and repairing must not change.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_STORE_ANSWERS_H
#define QUIPU_TESTS_STORE_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "quipu/store.h"

/* A digest over every record, every look-up by CID and event_id, the ten aggregates' heads of
 * samples_commit, and the rows of table 0x1000; aborts the test where any of it fails. */
uint64_t answers_of(struct quipu_store *store);

/* Put rows into table 0x1000, `count` of 100 bytes each, and one of 100 KiB. */
void rows_commit(struct quipu_store *store, uint64_t count);

/* The same for the store in a folder that is not open: opened, checked to have no problem, closed.
 */
uint64_t answers_at(const char *path);

/* True where the folder holds this name. */
bool folder_has(const char *path, const char *name);

#endif
