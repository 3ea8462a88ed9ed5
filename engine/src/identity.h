/*
 * The store's signing key and its source, inside a write transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_IDENTITY_H
#define QUIPU_ENGINE_IDENTITY_H

#include "engine_impl.h"

#define IDENTITY_FILE "signing.key"

/* Who records, and the last number it gave out: the row META_SOURCE. */
struct identity_row {
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint64_t last_seq;
};

/* The row as it is stored. @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status identity_row_get(struct quipu_txn *txn, struct identity_row *out,
                                                    struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
identity_row_put(struct quipu_txn *txn, const struct identity_row *row, struct quipu_error *err);

/* The row to go on from: that of the key in the folder, which is made where there is none. Puts the
 * row where it is new. The write transaction is the lock over folder and engine->source. */
QUIPU_MUST_CHECK enum quipu_status identity_take(struct quipu_engine *engine, struct quipu_txn *txn,
                                                 struct identity_row *out, struct quipu_error *err);

/* Let the row go on behind every number of its source that came in from elsewhere while its key was
 * not here. */
QUIPU_MUST_CHECK enum quipu_status
identity_numbers_join(struct quipu_txn *txn, struct identity_row *row, struct quipu_error *err);

/* The newest event that this store recorded as `source` behind position `floor`. */
struct identity_newest {
    uint64_t number; /* 0: none */
    uint64_t position;
    uint64_t unreadable; /* events that were met and that nobody can say whose they are */
    bool is_at_floor;    /* none was met */
    bool is_too_far;     /* the search has ended without */
};
QUIPU_MUST_CHECK enum quipu_status identity_newest(struct quipu_txn *txn, struct quipu_slice source,
                                                   uint64_t floor, uint64_t steps_max,
                                                   struct identity_newest *out,
                                                   struct quipu_error *err);

/* Does the row count that event? It goes on behind every number of its source that came in from
 * elsewhere while its key was not here. `looked` remembers how far the log was looked at for this
 * source, and is of a log that was committed. @retval QUIPU_CORRUPT  it does not */
QUIPU_MUST_CHECK enum quipu_status identity_count_check(struct quipu_txn *txn,
                                                        struct identity_looked *looked,
                                                        struct identity_row *row,
                                                        struct quipu_error *err);

/* Last number that this store gave out as `source`, 0 where it never was that source. */
QUIPU_MUST_CHECK enum quipu_status identity_last_given(struct quipu_txn *txn,
                                                       struct quipu_slice source, uint64_t *last,
                                                       struct quipu_error *err);

/* Is there a key in the folder? Looks, reads nothing. */
bool identity_file_exists(const struct quipu_engine *engine);

#endif
