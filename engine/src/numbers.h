/*
 * Which event of a foreign source has which number, inside a transaction. Rows are written when an
 * event is taken in; the store's own events are gap-free in the log and have none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_NUMBERS_H
#define QUIPU_ENGINE_NUMBERS_H

#include "nkey.h"
#include "tables.h"

/* Of a row's key. */
#define NUMBER_KEY_BYTES (NKEY_PUBLIC_CHARS + 8)

/* Position of the foreign event that has this number.
 * @retval QUIPU_NOT_FOUND  none has. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status numbers_get(struct quipu_txn *txn, struct quipu_slice source,
                                               uint64_t source_seq, uint64_t *position,
                                               struct quipu_error *err);

/* `source` is 56 characters; the caller has looked before. */
QUIPU_MUST_CHECK enum quipu_status numbers_put(struct quipu_txn *txn, struct quipu_slice source,
                                               uint64_t source_seq, uint64_t position,
                                               struct quipu_error *err);

/* The number that this store gave to the event at `position` as `source`; 0: somebody else's. */
QUIPU_MUST_CHECK enum quipu_status numbers_recorded_at(struct quipu_txn *txn,
                                                       struct quipu_slice source, uint64_t position,
                                                       uint64_t *number, struct quipu_error *err);

/* Position of the event that this store recorded itself as `source` under this number; 0: it did
 * not. There is no index for it: a bisection of the log that skips what others recorded, so it
 * costs most where that is most of the log. Asked only when a number comes in a second time. */
QUIPU_MUST_CHECK enum quipu_status numbers_find_recorded(struct quipu_txn *txn,
                                                         struct quipu_slice source,
                                                         uint64_t source_seq, uint64_t *position,
                                                         struct quipu_error *err);

/* Greatest number that came in from this source, 0 where none did. */
QUIPU_MUST_CHECK enum quipu_status numbers_last(struct quipu_txn *txn, struct quipu_slice source,
                                                uint64_t *last, struct quipu_error *err);

/* Counting the rows whose positions are 1 to `end`, in slices; starts as {.end = …}. Rows of such
 * positions neither come nor go meanwhile. */
struct numbers_count {
    uint64_t end;
    uint64_t rows;
    uint8_t after[NUMBER_KEY_BYTES]; /* key of the last one */
    size_t after_len;
    bool is_over;
};
/* As many as one transaction may. @retval QUIPU_CORRUPT  a row of another shape, or beyond the
 * log's end */
QUIPU_MUST_CHECK enum quipu_status
numbers_count_slice(struct quipu_txn *txn, struct numbers_count *count, struct quipu_error *err);

#endif
