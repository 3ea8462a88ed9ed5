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

/* Does the event have the key that the entry says? */
bool quipu_run_entry_is_true(const struct quipu_record *record, enum quipu_index index,
                             const struct quipu_entry *entry);

/*
 * Is the cursor where `key` belongs? `seek` is what quipu_run_seek said. An entry that a disk has
 * changed is one of the two between which the search for its old key ends, as all others are in
 * order; so those two are held against the records that they name, and against the ones beside
 * them. Then nothing that has the key is missing. It costs two records that may be anywhere in the
 * log. Fails with QUIPU_CORRUPT.
 */
QUIPU_MUST_CHECK enum quipu_status quipu_run_check_place(struct quipu_txn *txn,
                                                         const struct quipu_run_cursor *cursor,
                                                         enum quipu_status seek, uint64_t key,
                                                         struct quipu_error *err);
/* The entry at the cursor alone. */
QUIPU_MUST_CHECK enum quipu_status quipu_run_check_entry(struct quipu_txn *txn,
                                                         const struct quipu_run_cursor *cursor,
                                                         struct quipu_error *err);
/* Is the entry behind that at the cursor, or the one before it, where it must be? */
QUIPU_MUST_CHECK enum quipu_status quipu_run_check_order(struct quipu_txn *txn,
                                                         const struct quipu_run_cursor *cursor,
                                                         bool is_behind, struct quipu_error *err);
/* The run is left out, as `key` is not between its fences: are those its first and last key? */
QUIPU_MUST_CHECK enum quipu_status quipu_run_check_fence(struct quipu_txn *txn,
                                                         struct quipu_run *run,
                                                         enum quipu_index index, uint64_t key,
                                                         struct quipu_error *err);
/* QUIPU_CORRUPT, with the cure. */
enum quipu_status quipu_run_is_damaged(const struct quipu_txn *txn,
                                       const struct quipu_run_cursor *cursor,
                                       struct quipu_error *err);

#endif
