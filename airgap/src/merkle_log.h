/*
 * The tree over all events that one source has recorded in a store, from number 1 on, without
 * reading them all again: hashes of 256 leaves each, and the leaves behind them, are kept in a
 * table of the store. The caller holds the export lock.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_MERKLE_LOG_H
#define QUIPU_AIRGAP_MERKLE_LOG_H

#include "proof.h"
#include "quipu/engine.h"

#define QUIPU_MERKLE_BLOCK_LEVEL  8u
#define QUIPU_MERKLE_BLOCK_LEAVES 256u

/* Zero-initialised may be released. */
struct quipu_merkle_log {
    struct quipu_engine *engine;
    const char *source;
    struct quipu_buf blocks; /* of each full block: hash, position of its last event */
    struct quipu_buf tail;   /* hashes of the leaves behind them */
    struct quipu_buf twins;  /* positions of events with a number that an event before them has */
    uint64_t size;           /* leaves */
    uint64_t position;       /* looked at up to here */
    uint64_t blocks_stored;
    uint64_t twins_stored;
    struct quipu_buf leaves; /* of the block that was read last */
    uint64_t leaves_of;      /* its index + 1; 0: none */
};

void quipu_merkle_log_release(struct quipu_merkle_log *log);

/* Take what the store keeps, and read on up to and with position `until`. QUIPU_CORRUPT: a row or
 * an envelope is damaged, or a number is missing. */
QUIPU_MUST_CHECK enum quipu_status quipu_merkle_log_load(struct quipu_merkle_log *log,
                                                         struct quipu_engine *engine,
                                                         const char *source, uint64_t until,
                                                         struct quipu_error *err);

/* Keep what is new, inside a write transaction. */
QUIPU_MUST_CHECK enum quipu_status
quipu_merkle_log_save(struct quipu_merkle_log *log, struct quipu_txn *txn, struct quipu_error *err);

/* Has an event before the one at `position` the same number of the source? Then it is not in the
 * tree. */
bool quipu_merkle_log_is_twin(const struct quipu_merkle_log *log, uint64_t position);

/* Hash over the leaves begin to end (a subtree, or the whole tree). */
QUIPU_MUST_CHECK enum quipu_status quipu_merkle_log_root(struct quipu_merkle_log *log,
                                                         struct quipu_proof_range range,
                                                         uint8_t root[QUIPU_SHA256_BYTES],
                                                         struct quipu_error *err);

/* Append the proof of inclusion of `count` leaves, given as ascending indices. */
QUIPU_MUST_CHECK enum quipu_status quipu_merkle_log_prove(struct quipu_merkle_log *log,
                                                          const uint64_t *named, size_t count,
                                                          struct quipu_buf *proof,
                                                          struct quipu_error *err);

#endif
