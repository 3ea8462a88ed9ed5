/*
 * Searching in the sorted entries of one run. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_RUN_SEARCH_H
#define QUIPU_STORE_RUN_SEARCH_H

#include "internal.h"

/* Place the cursor at the first entry whose first eight bytes are not below `key`. QUIPU_DONE:
 * there is none, and the cursor is behind the last. Fails with QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_run_seek(struct quipu_txn *txn, struct quipu_run *run,
                                                  enum quipu_index index, uint64_t key,
                                                  struct quipu_run_cursor *out,
                                                  struct quipu_error *err);

/* One entry on, or back. QUIPU_DONE: there is none. Fails with QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status
quipu_run_next(struct quipu_txn *txn, struct quipu_run_cursor *cursor, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
quipu_run_prev(struct quipu_txn *txn, struct quipu_run_cursor *cursor, struct quipu_error *err);

/* The entry at the cursor. */
static inline struct quipu_entry quipu_run_entry(const struct quipu_run_cursor *cursor)
{
    return quipu_entry_load(cursor->run, cursor->index, cursor->entries.data + cursor->at);
}

#endif
