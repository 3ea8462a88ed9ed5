/*
 * The Merkle tree hash of RFC 6962 §2.1, leaf by leaf, in the memory of one path.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_MERKLE_H
#define QUIPU_AIRGAP_MERKLE_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/sha256.h"
#include "quipu/slice.h"

#define QUIPU_MERKLE_DEPTH_MAX 64

/* Zero-initialised is the tree without leaves. `peaks` holds the roots of the full subtrees that
 * `size` leaves fall into, largest first: as many as `size` has one bits. */
struct quipu_merkle {
    uint64_t size;
    size_t peak_count;
    uint8_t peaks[QUIPU_MERKLE_DEPTH_MAX][QUIPU_SHA256_BYTES];
};

/* SHA-256 of 0x00 and the leaf's bytes; SHA-256 of 0x01 and both children. */
void quipu_merkle_leaf(struct quipu_slice leaf, uint8_t out[QUIPU_SHA256_BYTES]);
void quipu_merkle_node(const uint8_t left[QUIPU_SHA256_BYTES],
                       const uint8_t right[QUIPU_SHA256_BYTES], uint8_t out[QUIPU_SHA256_BYTES]);

/* Add the next leaf. */
void quipu_merkle_add(struct quipu_merkle *tree, struct quipu_slice leaf);

/* Add a full subtree of 2^level leaves by its hash; the size must be a multiple of 2^level. */
void quipu_merkle_add_hash(struct quipu_merkle *tree, unsigned level,
                           const uint8_t hash[QUIPU_SHA256_BYTES]);

/* Root over the leaves so far; the SHA-256 of nothing where there are none. */
void quipu_merkle_root(const struct quipu_merkle *tree, uint8_t root[QUIPU_SHA256_BYTES]);

#endif
