/*
 * What is settled and what is pending, inside a transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_OUTBOX_STATE_H
#define QUIPU_ENGINE_OUTBOX_STATE_H

#include "quipu/outbox.h"
#include "quipu/store.h"

/* A stretch of positions without receipt and without dead letter: from … until. */
struct outbox_stretch {
    uint64_t from;
    uint64_t until;
};

/* The first stretch at or after `position`, up to the last position. @retval QUIPU_DONE  none;
 * `out->from` is then the last position + 1 */
QUIPU_MUST_CHECK enum quipu_status outbox_next_stretch(struct quipu_txn *txn, uint64_t position,
                                                       struct outbox_stretch *out,
                                                       struct quipu_error *err);

/* Move the cursor over every position that is settled, and count `published` new receipts and
 * `dead` more (or fewer) dead letters. */
QUIPU_MUST_CHECK enum quipu_status outbox_settle(struct quipu_txn *txn, uint64_t published,
                                                 int dead, struct quipu_error *err);

/* Forget the dead letter of a position that turns out to be published. `*dead` is lowered where
 * there was one. */
QUIPU_MUST_CHECK enum quipu_status dead_letter_forget(struct quipu_txn *txn, uint64_t position,
                                                      int *dead, struct quipu_error *err);

/* Read a row of the dead letters; slices live as long as the transaction allows.
 * @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status dead_letter_decode(struct quipu_slice key,
                                                      struct quipu_slice value,
                                                      struct quipu_dead_letter *out,
                                                      struct quipu_error *err);

#endif
