/*
 * Proofs about an RFC 6962 tree. A proof of inclusion names any number of leaves at once: it holds,
 * from left to right, the hashes of the largest subtrees in which no leaf is named, so that leaves
 * and proof together give the root. A proof of consistency is that of RFC 6962 §2.1.2. Pure.
 *
 * Specification: RFC 6962 §2.1; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_PROOF_H
#define QUIPU_AIRGAP_PROOF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "merkle.h"
#include "quipu/buf.h"
#include "quipu/error.h"

/* Hashes of a proof of consistency at the most: one a level, and one more. */
#define QUIPU_PROOF_CONSISTENCY_MAX (QUIPU_MERKLE_DEPTH_MAX + 1u)

/* ------------------------------------------------------------------ inclusion, made */

struct quipu_proof_part {
    uint8_t hash[QUIPU_SHA256_BYTES];
    bool is_named; /* a leaf in it is named */
    size_t at;     /* where its part of the proof begins */
};

/* Zero-initialised is the tree without leaves. Release `hashes`. */
struct quipu_proof_writer {
    uint64_t size;
    size_t part_count;
    struct quipu_proof_part parts[QUIPU_MERKLE_DEPTH_MAX];
    struct quipu_buf hashes; /* the proof; sticky as every buffer */
};

/* Add a full subtree of 2^level leaves from left to right: all of its leaves are named, or none. */
void quipu_proof_add(struct quipu_proof_writer *writer, unsigned level,
                     const uint8_t hash[QUIPU_SHA256_BYTES], bool is_named);

/* No more leaves: `hashes` holds the proof (nothing where no leaf is named), `root` the root. */
void quipu_proof_end(struct quipu_proof_writer *writer, uint8_t root[QUIPU_SHA256_BYTES]);

/* ------------------------------------------------------------------ inclusion, checked */

/* Zero-initialise, set `size` of the tree and `rest` of the proof. */
struct quipu_proof_reader {
    uint64_t size;
    struct quipu_slice rest;
    struct quipu_merkle tree;
};

/* The next named leaf. False where it is not behind the one before it, is beyond the tree, or the
 * proof has too few hashes. */
QUIPU_MUST_CHECK bool quipu_proof_leaf(struct quipu_proof_reader *reader, uint64_t index,
                                       const uint8_t hash[QUIPU_SHA256_BYTES]);

/* No more named leaves (there was one at least). False where the proof has too few or too many
 * hashes. */
QUIPU_MUST_CHECK bool quipu_proof_finish(struct quipu_proof_reader *reader,
                                         uint8_t root[QUIPU_SHA256_BYTES]);

/* ------------------------------------------------------------------ consistency */

/* A range of leaves whose hash a proof of consistency holds. */
struct quipu_proof_range {
    uint64_t begin;
    uint64_t end;
};

/* Which ranges prove that the tree of `size` leaves began as that of `before`, in the order of the
 * proof; how many. None where before is 0 or size. */
size_t quipu_proof_consistency(uint64_t before, uint64_t size,
                               struct quipu_proof_range ranges[QUIPU_PROOF_CONSISTENCY_MAX]);

struct quipu_proof_tree {
    uint64_t size;
    uint8_t root[QUIPU_SHA256_BYTES];
};

/* Does `proof` show that `after` began as `before`? */
QUIPU_MUST_CHECK bool quipu_proof_is_consistent(const struct quipu_proof_tree *before,
                                                const struct quipu_proof_tree *after,
                                                struct quipu_slice proof);

#endif
