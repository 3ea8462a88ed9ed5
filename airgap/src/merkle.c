/*
 * RFC 6962 tree hashes. Pure: bytes in, a root out.
 *
 * Specification: RFC 6962 §2.1; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "merkle.h"

#include <string.h>

/* The prefixes keep a leaf from passing for a node. */
#define LEAF_PREFIX 0x00
#define NODE_PREFIX 0x01

void quipu_merkle_node(const uint8_t left[QUIPU_SHA256_BYTES],
                       const uint8_t right[QUIPU_SHA256_BYTES], uint8_t out[QUIPU_SHA256_BYTES])
{
    uint8_t node[1 + 2 * QUIPU_SHA256_BYTES] = {NODE_PREFIX};
    memcpy(node + 1, left, QUIPU_SHA256_BYTES);
    memcpy(node + 1 + QUIPU_SHA256_BYTES, right, QUIPU_SHA256_BYTES);
    quipu_sha256(quipu_slice(node, sizeof node), out);
}

void quipu_merkle_leaf(struct quipu_slice leaf, uint8_t out[QUIPU_SHA256_BYTES])
{
    static const uint8_t prefix = LEAF_PREFIX;
    struct quipu_sha256_stream stream;
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice(&prefix, 1));
    quipu_sha256_stream_update(&stream, leaf);
    quipu_sha256_stream_final(&stream, out);
}

void quipu_merkle_add_hash(struct quipu_merkle *tree, unsigned level,
                           const uint8_t hash[QUIPU_SHA256_BYTES])
{
    memmove(tree->peaks[tree->peak_count], hash, QUIPU_SHA256_BYTES);
    tree->peak_count++;
    /* Each trailing one bit of the old size, from this level on, is a full subtree that the new one
     * completes. */
    for (uint64_t size = tree->size >> level; (size & 1) != 0; size >>= 1) {
        tree->peak_count--;
        quipu_merkle_node(tree->peaks[tree->peak_count - 1], tree->peaks[tree->peak_count],
                          tree->peaks[tree->peak_count - 1]);
    }
    tree->size += UINT64_C(1) << level;
}

void quipu_merkle_add(struct quipu_merkle *tree, struct quipu_slice leaf)
{
    uint8_t hash[QUIPU_SHA256_BYTES];
    quipu_merkle_leaf(leaf, hash);
    quipu_merkle_add_hash(tree, 0, hash);
}

void quipu_merkle_root(const struct quipu_merkle *tree, uint8_t root[QUIPU_SHA256_BYTES])
{
    if (tree->peak_count == 0) {
        quipu_sha256(quipu_slice(NULL, 0), root);
        return;
    }
    size_t at = tree->peak_count - 1;
    uint8_t folded[QUIPU_SHA256_BYTES];
    memcpy(folded, tree->peaks[at], sizeof folded);
    while (at > 0) {
        at--;
        quipu_merkle_node(tree->peaks[at], folded, folded);
    }
    memcpy(root, folded, sizeof folded);
}
