/*
 * The pure parts below bundles: the tree of RFC 6962, counts under names, the window of payloads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "merkle.h"
#include "payload_window.h"
#include "quipu/text.h"
#include "tally.h"

/* ------------------------------------------------------------------ the tree */

static void hash_node(const uint8_t *left, const uint8_t *right, uint8_t *out)
{
    uint8_t node[65] = {1};
    memcpy(node + 1, left, 32);
    memcpy(node + 33, right, 32);
    quipu_sha256(quipu_slice(node, sizeof node), out);
}

/* The definition of RFC 6962 §2.1 word by word, over leaves whose bytes are their number. */
static void tree_by_definition(uint32_t first, uint32_t count, uint8_t *out)
{
    if (count == 1) {
        uint8_t leaf[5] = {0, (uint8_t)(first >> 24), (uint8_t)(first >> 16), (uint8_t)(first >> 8),
                           (uint8_t)first};
        quipu_sha256(quipu_slice(leaf, sizeof leaf), out);
        return;
    }
    uint32_t split = 1;
    while (split * 2 < count) {
        split *= 2;
    }
    uint8_t left[32];
    uint8_t right[32];
    tree_by_definition(first, split, left);
    tree_by_definition(first + split, count - split, right);
    hash_node(left, right, out);
}

Test(merkle, agrees_with_the_definition_for_every_size)
{
    struct quipu_merkle tree = {0};
    for (uint32_t size = 1; size <= 300; size++) {
        uint32_t number = size - 1;
        uint8_t leaf[4] = {(uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                           (uint8_t)number};
        uint8_t expected[32];
        uint8_t root[32];
        quipu_merkle_add(&tree, quipu_slice(leaf, sizeof leaf));
        tree_by_definition(0, size, expected);
        quipu_merkle_root(&tree, root);
        cr_assert_arr_eq(root, expected, 32, "size %u", size);
    }
    cr_assert_eq(tree.size, 300u);
}

Test(merkle, agrees_with_the_published_roots)
{
    /* Leaves and roots that certificate-transparency implementations publish for RFC 6962. */
    static const struct {
        const char *leaf;
        const char *root;
    } rows[] = {
        {"", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
        {"00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
        {"10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
        {"2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"},
        {"3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
        {"40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"},
        {"5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
        {"606162636465666768696a6b6c6d6e6f",
         "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"},
    };
    struct quipu_merkle tree = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct quipu_buf leaf = QUIPU_BUF_INIT;
        struct quipu_buf expected = QUIPU_BUF_INIT;
        uint8_t root[32];
        cr_assert_eq(quipu_hex_decode(&leaf, quipu_slice_text(rows[i].leaf)), QUIPU_OK);
        cr_assert_eq(quipu_hex_decode(&expected, quipu_slice_text(rows[i].root)), QUIPU_OK);
        quipu_merkle_add(&tree, quipu_buf_slice(&leaf));
        quipu_merkle_root(&tree, root);
        cr_assert_arr_eq(root, expected.data, 32, "row %zu", i);
        quipu_buf_release(&leaf);
        quipu_buf_release(&expected);
    }
}

Test(merkle, root_of_nothing_is_the_hash_of_nothing)
{
    struct quipu_merkle tree = {0};
    uint8_t root[32];
    uint8_t expected[32];
    quipu_sha256(quipu_slice(NULL, 0), expected);

    quipu_merkle_root(&tree, root);

    cr_assert_arr_eq(root, expected, 32);
}

/* ------------------------------------------------------------------ counts */

Test(tally, keeps_names_in_the_order_of_map_keys)
{
    static const char *const names[] = {"key.revoked", "b", "aa", "a", "key.revoked", "a"};
    static const char *const sorted[] = {"a", "b", "aa", "key.revoked"};
    static const uint64_t counts[] = {2, 1, 1, 2};
    struct quipu_tally tally = {0};

    for (uint64_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_eq(quipu_tally_count(&tally, quipu_slice_text(names[i]), 10 - i, 4, NULL),
                     QUIPU_OK);
    }

    cr_assert_eq(tally.count, 4u);
    for (size_t i = 0; i < tally.count; i++) {
        cr_assert(quipu_slice_equal(tally.entries[i].name, quipu_slice_text(sorted[i])));
        cr_assert_eq(tally.entries[i].count, counts[i]);
    }
    cr_assert_eq(tally.entries[3].first, 6u);
    cr_assert_eq(tally.entries[3].last, 10u);
    quipu_tally_release(&tally);
}

Test(tally, holds_its_limit_of_names)
{
    struct quipu_tally tally = {0};

    cr_assert_eq(quipu_tally_count(&tally, quipu_slice_text("a"), 1, 2, NULL), QUIPU_OK);
    cr_assert_eq(quipu_tally_count(&tally, quipu_slice_text("b"), 1, 2, NULL), QUIPU_OK);
    cr_assert_eq(quipu_tally_count(&tally, quipu_slice_text("c"), 1, 2, NULL), QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_tally_count(&tally, quipu_slice_text("b"), 1, 2, NULL), QUIPU_OK);

    cr_assert_eq(tally.count, 2u);
    quipu_tally_release(&tally);
}

Test(tally, appends_only_what_follows)
{
    struct quipu_tally tally = {0};
    struct quipu_tally_entry entry = {.name = quipu_slice_text("b"), .count = 1};

    cr_assert_eq(quipu_tally_append(&tally, &entry, NULL), QUIPU_OK);
    cr_assert_eq(quipu_tally_append(&tally, &entry, NULL), QUIPU_BUNDLE);
    entry.name = quipu_slice_text("a");
    cr_assert_eq(quipu_tally_append(&tally, &entry, NULL), QUIPU_BUNDLE);
    entry.name = quipu_slice_text("aa");
    cr_assert_eq(quipu_tally_append(&tally, &entry, NULL), QUIPU_OK);

    quipu_tally_release(&tally);
}

/* ------------------------------------------------------------------ the window */

static struct quipu_cid numbered_cid(uint32_t number)
{
    return quipu_cid_of(QUIPU_CODEC_RAW, quipu_slice(&number, sizeof number));
}

Test(payload_window, forgets_the_oldest_beyond_its_count)
{
    struct quipu_payload_window window = {.keeps_bytes = true};
    struct quipu_slice bytes;
    for (uint32_t i = 0; i <= QUIPU_PAYLOAD_WINDOW_BLOCKS; i++) {
        struct quipu_cid cid = numbered_cid(i);
        cr_assert_eq(quipu_payload_window_add(&window, &cid, quipu_slice(&i, sizeof i), NULL),
                     QUIPU_OK);
    }

    struct quipu_cid first = numbered_cid(0);
    cr_assert_not(quipu_payload_window_find(&window, &first, &bytes));
    for (uint32_t i = 1; i <= QUIPU_PAYLOAD_WINDOW_BLOCKS; i++) {
        struct quipu_cid cid = numbered_cid(i);
        cr_assert(quipu_payload_window_find(&window, &cid, &bytes));
        cr_assert(quipu_slice_equal(bytes, quipu_slice(&i, sizeof i)));
    }
    quipu_payload_window_release(&window);
}

Test(payload_window, forgets_the_oldest_beyond_its_bytes)
{
    struct quipu_payload_window window = {.keeps_bytes = true};
    struct quipu_slice bytes;
    struct quipu_cid small = numbered_cid(1);
    struct quipu_cid large = numbered_cid(2);
    struct quipu_cid last = numbered_cid(3);
    uint8_t *storage = calloc(1, QUIPU_PAYLOAD_WINDOW_BYTES);
    cr_assert_not_null(storage);

    cr_assert_eq(quipu_payload_window_add(&window, &small, quipu_slice(storage, 1), NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_payload_window_add(
                     &window, &large, quipu_slice(storage, QUIPU_PAYLOAD_WINDOW_BYTES - 1), NULL),
                 QUIPU_OK);
    cr_assert(quipu_payload_window_find(&window, &small, &bytes), "both fit exactly");
    cr_assert(quipu_payload_window_find(&window, &large, &bytes));
    cr_assert_eq(quipu_payload_window_add(&window, &last, quipu_slice(storage, 2), NULL), QUIPU_OK);

    cr_assert_not(quipu_payload_window_find(&window, &small, &bytes));
    cr_assert_not(quipu_payload_window_find(&window, &large, &bytes));
    cr_assert(quipu_payload_window_find(&window, &last, &bytes));
    quipu_payload_window_release(&window);
    free(storage);
}
