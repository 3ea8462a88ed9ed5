/*
 * Where the values of a run lie: a look-up asks a dozen runs, and finding each value again by its
 * key would cost more than searching it. LMDB keeps a value that is larger than a page in pages of
 * its own and never moves these unless it is written to; and runs are immutable. So the address of
 * a committed, large value holds for as long as its run and the map do. Smaller values share pages
 * with others and move with these; values that the transaction in progress has written lie
 * elsewhere: both are looked up each time. Directories are small and are copied. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_RUN_PAGES_H
#define QUIPU_STORE_RUN_PAGES_H

#include "internal.h"

/* Entries of one segment, as quipu_run_segment, but remembered. */
QUIPU_MUST_CHECK enum quipu_status
quipu_run_entries_of(struct quipu_txn *txn, struct quipu_run *run, enum quipu_index index,
                     uint64_t segment, struct quipu_slice *entries, struct quipu_error *err);

/* The directory of a run of several segments: eight bytes each, big-endian. */
QUIPU_MUST_CHECK enum quipu_status quipu_run_directory(struct quipu_txn *txn, struct quipu_run *run,
                                                       enum quipu_index index,
                                                       const uint8_t **firsts,
                                                       struct quipu_error *err);

/* Forget the addresses. */
void quipu_run_pages_release(struct quipu_run *run);

#endif
