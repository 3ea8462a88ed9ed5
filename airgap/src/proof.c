/*
 * Proofs about RFC 6962 trees. Pure: hashes in, hashes out; never reads the log.
 *
 * Specification: RFC 6962 §2.1; RFC 9162 §2.1.4.2 (how a proof of consistency is checked);
 * docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "proof.h"

#include <string.h>

/* ------------------------------------------------------------------ inclusion, made */

/* Put a hash into the proof in front of what stands at `at`. */
static void insert_hash(struct quipu_buf *hashes, size_t at, const uint8_t *hash)
{
    if (quipu_buf_reserve(hashes, QUIPU_SHA256_BYTES) == NULL) {
        return; /* the status sticks */
    }
    memmove(hashes->data + at + QUIPU_SHA256_BYTES, hashes->data + at, hashes->len - at);
    memcpy(hashes->data + at, hash, QUIPU_SHA256_BYTES);
    hashes->len += QUIPU_SHA256_BYTES;
}

/* The last two parts become one: the hash of one in which no leaf is named goes into the proof when
 * its sibling has one. */
static void join_last(struct quipu_proof_writer *writer)
{
    struct quipu_proof_part *left = &writer->parts[writer->part_count - 2];
    const struct quipu_proof_part *right = &writer->parts[writer->part_count - 1];
    if (left->is_named && !right->is_named) {
        quipu_buf_append(&writer->hashes, right->hash, sizeof right->hash);
    } else if (!left->is_named && right->is_named) {
        insert_hash(&writer->hashes, right->at, left->hash);
    }
    left->at = left->at < right->at ? left->at : right->at;
    left->is_named = left->is_named || right->is_named;
    quipu_merkle_node(left->hash, right->hash, left->hash);
    writer->part_count--;
}

void quipu_proof_add(struct quipu_proof_writer *writer, unsigned level,
                     const uint8_t hash[QUIPU_SHA256_BYTES], bool is_named)
{
    struct quipu_proof_part *part = &writer->parts[writer->part_count++];
    memcpy(part->hash, hash, sizeof part->hash);
    part->is_named = is_named;
    part->at = writer->hashes.len;
    for (uint64_t size = writer->size >> level; (size & 1) != 0; size >>= 1) {
        join_last(writer);
    }
    writer->size += UINT64_C(1) << level;
}

void quipu_proof_end(struct quipu_proof_writer *writer, uint8_t root[QUIPU_SHA256_BYTES])
{
    while (writer->part_count > 1) {
        join_last(writer);
    }
    if (writer->part_count == 0) {
        quipu_sha256(quipu_slice(NULL, 0), root);
        return;
    }
    memcpy(root, writer->parts[0].hash, QUIPU_SHA256_BYTES);
}

/* ------------------------------------------------------------------ inclusion, checked */

/* Greatest level with 2^level leaves in `leaves`, which is not 0. */
static unsigned level_within(uint64_t leaves)
{
    unsigned level = 0;
    while ((leaves >>= 1) != 0) {
        level++;
    }
    return level;
}

/* Greatest level of a full subtree that can begin at leaf `at`. */
static unsigned level_at(uint64_t at)
{
    unsigned level = 0;
    while (level < QUIPU_MERKLE_DEPTH_MAX - 1 && ((at >> level) & 1) == 0) {
        level++;
    }
    return level;
}

static bool take_hash(struct quipu_proof_reader *reader, const uint8_t **hash)
{
    if (reader->rest.len < QUIPU_SHA256_BYTES) {
        return false;
    }
    *hash = reader->rest.data;
    reader->rest.data += QUIPU_SHA256_BYTES;
    reader->rest.len -= QUIPU_SHA256_BYTES;
    return true;
}

bool quipu_proof_leaf(struct quipu_proof_reader *reader, uint64_t index,
                      const uint8_t hash[QUIPU_SHA256_BYTES])
{
    if (index < reader->tree.size || index >= reader->size) {
        return false;
    }
    while (reader->tree.size < index) {
        const uint8_t *skipped = NULL;
        unsigned fits = level_within(index - reader->tree.size);
        unsigned level = level_at(reader->tree.size);
        if (!take_hash(reader, &skipped)) {
            return false;
        }
        quipu_merkle_add_hash(&reader->tree, level < fits ? level : fits, skipped);
    }
    quipu_merkle_add_hash(&reader->tree, 0, hash);
    return true;
}

bool quipu_proof_finish(struct quipu_proof_reader *reader, uint8_t root[QUIPU_SHA256_BYTES])
{
    struct quipu_merkle *tree = &reader->tree;
    while (tree->size < reader->size) {
        const uint8_t *skipped = NULL;
        unsigned level = level_at(tree->size);
        if (!take_hash(reader, &skipped)) {
            return false;
        }
        if (reader->size - tree->size >= UINT64_C(1) << level) {
            quipu_merkle_add_hash(tree, level, skipped);
            continue;
        }
        /* The ragged right end of the tree is one node. */
        memcpy(tree->peaks[tree->peak_count++], skipped, QUIPU_SHA256_BYTES);
        tree->size = reader->size;
    }
    quipu_merkle_root(tree, root);
    return reader->rest.len == 0;
}

/* ------------------------------------------------------------------ consistency */

size_t quipu_proof_consistency(uint64_t before, uint64_t size,
                               struct quipu_proof_range ranges[QUIPU_PROOF_CONSISTENCY_MAX])
{
    struct quipu_proof_range siblings[QUIPU_PROOF_CONSISTENCY_MAX];
    uint64_t begin = 0;
    uint64_t end = size;
    size_t count = 0;
    size_t out = 0;
    bool is_known = true; /* the subtree looked at is all of the old tree: its root is known */
    if (before == 0 || before >= size) {
        return 0;
    }
    /* Down the right edge of the old tree; RFC 6962 §2.1.2, SUBPROOF, without recursion. */
    while (before != end) {
        uint64_t middle = begin + (UINT64_C(1) << level_within(end - begin - 1));
        if (before <= middle) {
            siblings[count++] = (struct quipu_proof_range){middle, end};
            end = middle;
        } else {
            siblings[count++] = (struct quipu_proof_range){begin, middle};
            begin = middle;
            is_known = false;
        }
    }
    if (!is_known) {
        ranges[out++] = (struct quipu_proof_range){begin, end};
    }
    while (count > 0) {
        ranges[out++] = siblings[--count];
    }
    return out;
}

/* RFC 9162 §2.1.4.2, steps 4 to 8. */
static bool climb(const struct quipu_proof_tree *before, const struct quipu_proof_tree *after,
                  const uint8_t *first, struct quipu_slice rest)
{
    uint64_t old_at = before->size - 1;
    uint64_t new_at = after->size - 1;
    uint8_t old_root[QUIPU_SHA256_BYTES];
    uint8_t new_root[QUIPU_SHA256_BYTES];
    memcpy(old_root, first, sizeof old_root);
    memcpy(new_root, first, sizeof new_root);
    while ((old_at & 1) != 0) {
        old_at >>= 1;
        new_at >>= 1;
    }
    for (; rest.len > 0; rest.data += QUIPU_SHA256_BYTES, rest.len -= QUIPU_SHA256_BYTES) {
        if (new_at == 0) {
            return false;
        }
        if ((old_at & 1) != 0 || old_at == new_at) {
            quipu_merkle_node(rest.data, old_root, old_root);
            quipu_merkle_node(rest.data, new_root, new_root);
            while ((old_at & 1) == 0 && old_at != 0) {
                old_at >>= 1;
                new_at >>= 1;
            }
        } else {
            quipu_merkle_node(new_root, rest.data, new_root);
        }
        old_at >>= 1;
        new_at >>= 1;
    }
    return new_at == 0 && memcmp(old_root, before->root, sizeof old_root) == 0 &&
           memcmp(new_root, after->root, sizeof new_root) == 0;
}

bool quipu_proof_is_consistent(const struct quipu_proof_tree *before,
                               const struct quipu_proof_tree *after, struct quipu_slice proof)
{
    if (before->size > after->size || proof.len % QUIPU_SHA256_BYTES != 0) {
        return false;
    }
    if (before->size == 0) {
        uint8_t nothing[QUIPU_SHA256_BYTES];
        quipu_sha256(quipu_slice(NULL, 0), nothing);
        return proof.len == 0 && memcmp(nothing, before->root, sizeof nothing) == 0;
    }
    if (before->size == after->size) {
        return proof.len == 0 && memcmp(before->root, after->root, QUIPU_SHA256_BYTES) == 0;
    }
    /* The root of an old tree that is one full subtree is not in the proof. */
    if ((before->size & (before->size - 1)) == 0) {
        return climb(before, after, before->root, proof);
    }
    if (proof.len == 0) {
        return false;
    }
    struct quipu_slice rest =
        quipu_slice(proof.data + QUIPU_SHA256_BYTES, proof.len - QUIPU_SHA256_BYTES);
    return climb(before, after, proof.data, rest);
}
