/*
 * Proofs against a tree that is hashed the slow way, recursively as RFC 6962 writes it; checkpoints
 * as signed notes; the words of a digest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bundle_kit.h"
#include "checkpoint.h"
#include "merkle_log.h"
#include "proof.h"
#include "quipu/text.h"

#define LEAVES 40

static uint8_t leaves[LEAVES][QUIPU_SHA256_BYTES];

static void make_leaves(void)
{
    for (uint8_t i = 0; i < LEAVES; i++) {
        quipu_merkle_leaf(quipu_slice(&i, 1), leaves[i]);
    }
}

TestSuite(proof, .init = make_leaves, .timeout = 120);

/* MTH(D[begin:end]) as RFC 6962 §2.1 defines it. */
static void slow_root(size_t begin, size_t end, uint8_t out[QUIPU_SHA256_BYTES])
{
    uint8_t left[QUIPU_SHA256_BYTES];
    uint8_t right[QUIPU_SHA256_BYTES];
    size_t split = 1;
    if (end == begin) {
        quipu_sha256(quipu_slice(NULL, 0), out);
        return;
    }
    if (end - begin == 1) {
        memcpy(out, leaves[begin], QUIPU_SHA256_BYTES);
        return;
    }
    while (split * 2 < end - begin) {
        split *= 2;
    }
    slow_root(begin, begin + split, left);
    slow_root(begin + split, end, right);
    quipu_merkle_node(left, right, out);
}

/* Make the proof for the leaves in `mask`, and read it; true where both give the root. */
static bool prove(size_t size, uint64_t mask, size_t flip)
{
    struct quipu_proof_writer writer = {0};
    uint8_t root[QUIPU_SHA256_BYTES];
    uint8_t made[QUIPU_SHA256_BYTES];
    uint8_t found[QUIPU_SHA256_BYTES];
    bool holds = true;
    for (size_t i = 0; i < size; i++) {
        quipu_proof_add(&writer, 0, leaves[i], (mask >> i & 1) != 0);
    }
    quipu_proof_end(&writer, made);
    slow_root(0, size, root);
    cr_assert_arr_eq(made, root, sizeof root);
    if (flip < writer.hashes.len) {
        writer.hashes.data[flip] ^= 1;
    }
    struct quipu_proof_reader reader = {.size = size, .rest = quipu_buf_slice(&writer.hashes)};
    for (size_t i = 0; holds && i < size; i++) {
        if ((mask >> i & 1) != 0) {
            holds = quipu_proof_leaf(&reader, i, leaves[i]);
        }
    }
    holds = holds && quipu_proof_finish(&reader, found) && memcmp(found, root, sizeof root) == 0;
    quipu_buf_release(&writer.hashes);
    return holds;
}

Test(proof, holds_for_every_choice_of_leaves)
{
    for (size_t size = 1; size <= 11; size++) {
        for (uint64_t mask = 1; mask < UINT64_C(1) << size; mask++) {
            cr_assert(prove(size, mask, SIZE_MAX), "%zu leaves, %llx", size,
                      (unsigned long long)mask);
        }
    }
    for (size_t size = 12; size <= LEAVES; size++) {
        for (size_t i = 0; i < size; i++) {
            cr_assert(prove(size, UINT64_C(1) << i, SIZE_MAX), "leaf %zu of %zu", i, size);
            cr_assert(prove(size, UINT64_MAX << i, SIZE_MAX), "from %zu of %zu", i, size);
        }
    }
}

Test(proof, does_not_hold_with_a_changed_hash)
{
    for (size_t at = 0; at < 3 * (size_t)QUIPU_SHA256_BYTES; at++) {
        cr_assert_not(prove(21, 0x420, at), "byte %zu", at);
    }
}

Test(proof, of_one_leaf_is_as_long_as_its_path)
{
    struct quipu_proof_writer writer = {0};
    uint8_t root[QUIPU_SHA256_BYTES];
    for (size_t i = 0; i < 32; i++) {
        quipu_proof_add(&writer, 0, leaves[i], i == 5);
    }
    quipu_proof_end(&writer, root);
    cr_assert_eq(writer.hashes.len, 5u * QUIPU_SHA256_BYTES);
    quipu_buf_release(&writer.hashes);
}

Test(proof, refuses_leaves_that_come_twice_backwards_or_beyond_the_end)
{
    struct quipu_proof_reader reader = {.size = 2};
    cr_assert_not(quipu_proof_leaf(&reader, 2, leaves[0]));
    cr_assert_not(quipu_proof_leaf(&reader, 1, leaves[1]), "the hash of the first is missing");
    cr_assert(quipu_proof_leaf(&reader, 0, leaves[0]));
    cr_assert_not(quipu_proof_leaf(&reader, 0, leaves[0]));
}

/* The proof that the tree of `before` leaves is the beginning of that of `size`. */
static void consistency(size_t before, size_t size, struct quipu_buf *proof)
{
    struct quipu_proof_range ranges[QUIPU_PROOF_CONSISTENCY_MAX];
    size_t count = quipu_proof_consistency(before, size, ranges);
    quipu_buf_reset(proof);
    for (size_t i = 0; i < count; i++) {
        uint8_t hash[QUIPU_SHA256_BYTES];
        slow_root((size_t)ranges[i].begin, (size_t)ranges[i].end, hash);
        quipu_buf_append(proof, hash, sizeof hash);
    }
}

Test(proof, of_consistency_holds_for_every_pair_and_for_no_other_tree)
{
    struct quipu_buf proof = QUIPU_BUF_INIT;
    for (size_t size = 0; size <= LEAVES; size++) {
        for (size_t before = 0; before <= size; before++) {
            struct quipu_proof_tree small = {.size = before};
            struct quipu_proof_tree large = {.size = size};
            slow_root(0, before, small.root);
            slow_root(0, size, large.root);
            consistency(before, size, &proof);
            cr_assert(quipu_proof_is_consistent(&small, &large, quipu_buf_slice(&proof)),
                      "%zu in %zu", before, size);
            small.root[3] ^= 1;
            cr_assert_not(quipu_proof_is_consistent(&small, &large, quipu_buf_slice(&proof)));
            small.root[3] ^= 1;
            large.root[3] ^= 1;
            cr_assert(before == 0 ||
                      !quipu_proof_is_consistent(&small, &large, quipu_buf_slice(&proof)));
            large.root[3] ^= 1;
            quipu_buf_append(&proof, small.root, sizeof small.root);
            cr_assert_not(quipu_proof_is_consistent(&small, &large, quipu_buf_slice(&proof)));
        }
    }
    quipu_buf_release(&proof);
}

/* The order of the hashes is that of RFC 6962 §2.1.3's example, PROOF(3, D[7]) = [c, d, g, l]. */
Test(proof, of_consistency_is_in_the_order_of_the_rfc)
{
    struct quipu_proof_range ranges[QUIPU_PROOF_CONSISTENCY_MAX];
    cr_assert_eq(quipu_proof_consistency(3, 7, ranges), 4u);
    static const uint64_t wanted[][2] = {{2, 3}, {3, 4}, {0, 2}, {4, 7}};
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(ranges[i].begin, wanted[i][0]);
        cr_assert_eq(ranges[i].end, wanted[i][1]);
    }
    cr_assert_eq(quipu_proof_consistency(4, 7, ranges), 1u);
    cr_assert_eq(quipu_proof_consistency(6, 7, ranges), 3u);
}

/* ------------------------------------------------------------------ the log of a store */

static struct temp_dir dir;
static struct store_kit vault;
static char source[QUIPU_SOURCE_TEXT_BYTES];

static void open_vault(void)
{
    temp_dir_init(&dir);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 700, 8);
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);
}

static void close_vault(void)
{
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(merkle_log, .init = open_vault, .fini = close_vault, .timeout = 120);

static enum quipu_status add_event(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    (void)err;
    quipu_merkle_add(ctx, event->envelope_block);
    return QUIPU_OK;
}

static void load(struct quipu_merkle_log *log, uint64_t until)
{
    struct quipu_error err;
    cr_assert_eq(quipu_merkle_log_load(log, vault.engine, source, until, &err), QUIPU_OK, "%s",
                 err.message);
}

static void keep(struct quipu_merkle_log *log)
{
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_merkle_log_save(log, txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

Test(merkle_log, has_the_root_of_all_events_however_it_was_kept)
{
    static const uint64_t steps[] = {1, 255, 256, 257, 511, 512, 513, 700};
    struct quipu_merkle_log log = {0};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct quipu_merkle tree = {0};
        struct quipu_filter filter = {.until = steps[i]};
        uint8_t wanted[QUIPU_SHA256_BYTES];
        uint8_t found[QUIPU_SHA256_BYTES];
        cr_assert_eq(quipu_each_event(vault.engine, &filter, add_event, &tree, NULL), QUIPU_OK);
        quipu_merkle_root(&tree, wanted);
        load(&log, steps[i]);
        cr_assert_eq(log.size, steps[i]);
        cr_assert_eq(
            quipu_merkle_log_root(&log, (struct quipu_proof_range){0, steps[i]}, found, NULL),
            QUIPU_OK);
        cr_assert_arr_eq(found, wanted, sizeof wanted, "%zu", (size_t)steps[i]);
        keep(&log);
        quipu_merkle_log_release(&log);
    }
}

Test(merkle_log, a_row_that_was_changed_is_found_when_its_block_is_read)
{
    struct quipu_merkle_log log = {0};
    struct quipu_buf proof = QUIPU_BUF_INIT;
    const uint64_t named[] = {3};
    struct quipu_error err;
    load(&log, 700);
    keep(&log);
    log.blocks.data[5] ^= 1;
    cr_assert_eq(quipu_merkle_log_prove(&log, named, 1, &proof, &err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(err.message, "positions 1 to 256"), "%s", err.message);
    quipu_buf_release(&proof);
    quipu_merkle_log_release(&log);
}

/* ------------------------------------------------------------------ the note */

Test(merkle_log, checkpoint_is_a_signed_note_and_nothing_else)
{
    struct quipu_proof_tree tree = {.size = 700};
    struct quipu_proof_tree found = {0};
    struct quipu_buf note = QUIPU_BUF_INIT;
    struct quipu_buf vkey = QUIPU_BUF_INIT;
    char head[192];
    memset(tree.root, 0x5a, sizeof tree.root);
    cr_assert_eq(quipu_checkpoint_sign(vault.engine, source, &tree, &note, NULL), QUIPU_OK);

    (void)snprintf(head, sizeof head,
                   "quipu/%s\n700\nWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlo=\n\n\xe2\x80\x94 "
                   "quipu/%s ",
                   source, source);
    cr_assert_eq(memcmp(note.data, head, strlen(head)), 0, "%.*s", (int)note.len, note.data);
    cr_assert_eq(
        quipu_checkpoint_verify(quipu_buf_slice(&note), quipu_slice_text(source), &found, NULL),
        QUIPU_OK);
    cr_assert_eq(found.size, 700u);
    cr_assert_arr_eq(found.root, tree.root, sizeof tree.root);
    for (size_t bit = 0; bit < note.len * 8; bit++) {
        note.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_geq(
            quipu_checkpoint_verify(quipu_buf_slice(&note), quipu_slice_text(source), &found, NULL),
            10, "bit %zu", bit);
        note.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t len = 0; len < note.len; len++) {
        cr_assert_geq(quipu_checkpoint_verify(quipu_slice(note.data, len), quipu_slice_text(source),
                                              &found, NULL),
                      10, "%zu bytes", len);
    }
    /* name+hash+key: the hash is in front of the signature too. */
    cr_assert_eq(quipu_checkpoint_vkey(quipu_slice_text(source), &vkey, NULL), QUIPU_OK);
    cr_assert_eq(memcmp(vkey.data, "quipu/U", 7), 0);
    cr_assert_eq(vkey.data[6 + strlen(source)], '+');
    quipu_buf_release(&note);
    quipu_buf_release(&vkey);
}

/* ------------------------------------------------------------------ words */

static const struct {
    const char *hex;
    const char *words;
} spoken[] = {
    {"", ""},
    {"00", "aardvark"},
    {"0000", "aardvark adroitness"},
    {"ffff", "Zulu Yucatan"},
    {"e58294f2e9a227486e8b061b31cc528fd7fa3f19",
     "topmost Istanbul Pluto vagabond treadmill Pacific brackish dictator goldfish Medusa afflict "
     "bravado chatter revolver Dupont midsummer stopwatch whimsical cowbell bottomless"},
    {"12b4b0057400076fa5c0f5cbf726ac65",
     "atlas politeness ruffled almighty indoors adroitness ahead hemisphere reindeer recipe vapor "
     "revival virus caretaker ribcage glossary"},
};

Test(words, are_those_of_the_pgp_word_list)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf words = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof spoken / sizeof spoken[0]; i++) {
        quipu_buf_reset(&bytes);
        quipu_buf_reset(&words);
        cr_assert_eq(quipu_hex_decode(&bytes, quipu_slice_text(spoken[i].hex)), QUIPU_OK);
        quipu_digest_words(quipu_buf_slice(&bytes), &words);
        cr_assert(quipu_slice_equal(quipu_buf_slice(&words), quipu_slice_text(spoken[i].words)),
                  "%.*s", (int)words.len, words.data);
    }
    quipu_buf_release(&bytes);
    quipu_buf_release(&words);
}
