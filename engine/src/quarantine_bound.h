/*
 * How much is in quarantine, counted in the store as rows come and go, and how much may be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_QUARANTINE_BOUND_H
#define QUIPU_ENGINE_QUARANTINE_BOUND_H

#include "quarantine.h"

/* May one more row of `bytes` wait? `max` zero: no bound. @retval QUIPU_TOO_LARGE */
QUIPU_MUST_CHECK enum quipu_status pending_bound(struct quipu_txn *txn, uint64_t bytes,
                                                 const struct quarantine_pending *max,
                                                 struct quipu_error *err);

/* A row of `bytes` that waits comes, or goes. */
QUIPU_MUST_CHECK enum quipu_status pending_add(struct quipu_txn *txn, uint64_t bytes,
                                               struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status pending_remove(struct quipu_txn *txn, uint64_t bytes,
                                                  struct quipu_error *err);

/* May all rows together grow by `more` bytes? `max` 0: no bound. @retval QUIPU_TOO_LARGE */
QUIPU_MUST_CHECK enum quipu_status kept_bound(struct quipu_txn *txn, uint64_t more, uint64_t max,
                                              struct quipu_error *err);

/* A row of `bytes`, waiting or not, is about to be written, or to be deleted. */
QUIPU_MUST_CHECK enum quipu_status kept_add(struct quipu_txn *txn, uint64_t bytes,
                                            struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status kept_remove(struct quipu_txn *txn, uint64_t bytes,
                                               struct quipu_error *err);

/* What was counted by reading every row is what the store counts. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status quarantine_counts_check(struct quipu_txn *txn,
                                                           const struct quarantine_pending *pending,
                                                           uint64_t kept_bytes,
                                                           struct quipu_error *err);

#endif
