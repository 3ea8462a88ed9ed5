/*
 * One page of a tree by itself: is it what its place says, do its nodes lie in it side by side, do
 * its keys rise? Bytes in, a line out: reads no file, and nothing outside of the page whatever
 * the page says. SPEC §6.9.
 *
 * LMDB keeps a page without gaps: pointers to the nodes from its header on, the nodes at its end,
 * each of an even length, and nothing between two of them. So the nodes that the pointers name must
 * tile the bytes from `upper` to the page's end, and a bit that flips in a pointer or in a length
 * breaks that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "page_walk.h"

#define EVEN(n) (((n) + 1) & ~(size_t)1)

static bool say(char why[QUIPU_ERROR_MESSAGE_BYTES], const char *format, ...) QUIPU_PRINTF(2, 3);

static bool say(char why[QUIPU_ERROR_MESSAGE_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, QUIPU_ERROR_MESSAGE_BYTES, format,
                    args); /* a line for people may be cut */
    va_end(args);
    return false;
}

/* ------------------------------------------------------------------ the header */

static bool header_is_sound(const uint8_t *page, const struct quipu_page_place *place,
                            uint32_t *count, char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    uint64_t number = data_load_u64(page);
    unsigned flags = data_load_u16(page + DATA_PAGE_FLAGS_AT);
    unsigned lower = data_load_u16(page + DATA_PAGE_LOWER_AT);
    /* A page of 64 KiB without a node would have an end that 16 bits cannot say. */
    unsigned upper = data_load_u16(page + DATA_PAGE_UPPER_AT);
    unsigned wanted = place->is_leaf ? DATA_PAGE_IS_LEAF : DATA_PAGE_IS_BRANCH;
    if (number != place->number) {
        return say(why, "its header says that it is page %" PRIu64, number);
    }
    if (flags != wanted) {
        return say(why, "its flags are 0x%x, expected 0x%x, a %s", flags, wanted,
                   place->is_leaf ? "leaf" : "branch");
    }
    if (lower < DATA_PAGE_HEADER_BYTES || lower % 2 != 0 || upper % 2 != 0 || lower > upper ||
        upper > place->page_bytes) {
        return say(why, "its header says that free space is from %u to %u", lower, upper);
    }
    *count = (lower - DATA_PAGE_HEADER_BYTES) / 2;
    if (*count < place->nodes_min) {
        return say(why, "it has %" PRIu32 " nodes, expected %" PRIu32 " at least", *count,
                   place->nodes_min);
    }
    return true;
}

/* ------------------------------------------------------------------ nodes */

static bool leaf_node_is_sound(const struct quipu_page_place *place,
                               const struct quipu_data_node *node, uint32_t index,
                               char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    if ((node->flags & ~place->node_flags) != 0) {
        return say(why, "node %" PRIu32 " has the flags 0x%x", index, node->flags);
    }
    if (place->has_integer_keys ? node->key_bytes != 8
                                : node->key_bytes == 0 || node->key_bytes > DATA_KEY_BYTES_MAX) {
        return say(why, "node %" PRIu32 " has a key of %zu bytes", index, node->key_bytes);
    }
    return true;
}

/* The first key of a branch says nothing, and may be empty. */
static bool branch_node_is_sound(const struct quipu_page_place *place,
                                 const struct quipu_data_node *node, uint32_t index,
                                 char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    bool is_first_empty = index == 0 && node->key_bytes == 0;
    if (!is_first_empty && (place->has_integer_keys ? node->key_bytes != 8
                                                    : node->key_bytes > DATA_KEY_BYTES_MAX ||
                                                          (index > 0 && node->key_bytes == 0))) {
        return say(why, "node %" PRIu32 " has a key of %zu bytes", index, node->key_bytes);
    }
    return true;
}

/* The node's length in the page, 0 where it is not sound. */
static size_t node_bytes(const uint8_t *page, const struct quipu_page_place *place, uint32_t index,
                         char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    size_t at = data_load_u16(page + DATA_PAGE_HEADER_BYTES + 2 * (size_t)index);
    size_t upper = data_load_u16(page + DATA_PAGE_UPPER_AT);
    if (at < upper || at % 2 != 0 || at + DATA_NODE_HEADER_BYTES > place->page_bytes) {
        (void)say(why, "node %" PRIu32 " is said to be at byte %zu", index, at);
        return 0;
    }
    struct quipu_data_node node = quipu_data_node_at(page, at);
    if (place->is_leaf ? !leaf_node_is_sound(place, &node, index, why)
                       : !branch_node_is_sound(place, &node, index, why)) {
        return 0;
    }
    size_t data = 0;
    if (place->is_leaf) {
        data = (node.flags & DATA_NODE_IS_LARGE) != 0 ? 8 : node.data_bytes;
    }
    size_t bytes = EVEN(DATA_NODE_HEADER_BYTES + node.key_bytes + data);
    if (bytes > place->page_bytes - at) {
        (void)say(why, "node %" PRIu32 " at byte %zu does not end within the page", index, at);
        return 0;
    }
    return bytes;
}

/* Forget what was noted of the first `count` nodes. */
static void forget_starts(const uint8_t *page, uint16_t *starts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        starts[data_load_u16(page + DATA_PAGE_HEADER_BYTES + 2 * (size_t)i) / 2] = 0;
    }
}

bool quipu_page_is_sound(const uint8_t *page, const struct quipu_page_place *place,
                         uint16_t *starts, uint32_t *count, char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    if (!header_is_sound(page, place, count, why)) {
        return false;
    }
    bool is_sound = true;
    uint32_t noted = 0;
    while (noted < *count && is_sound) {
        size_t bytes = node_bytes(page, place, noted, why);
        size_t at = data_load_u16(page + DATA_PAGE_HEADER_BYTES + 2 * (size_t)noted);
        if (bytes == 0) {
            is_sound = false;
        } else if (starts[at / 2] != 0) {
            is_sound = say(why, "two nodes are said to be at byte %zu", at);
        } else {
            starts[at / 2] = (uint16_t)bytes; /* a node is shorter than its page */
            noted++;
        }
    }
    uint32_t met = 0;
    size_t at = data_load_u16(page + DATA_PAGE_UPPER_AT);
    while (is_sound && at < place->page_bytes && starts[at / 2] != 0) {
        at += starts[at / 2];
        met++;
    }
    if (is_sound && (met != *count || at != place->page_bytes)) {
        is_sound =
            say(why, "its nodes do not lie side by side: a gap or an overlap at byte %zu", at);
    }
    forget_starts(page, starts, noted);
    return is_sound;
}

/* ------------------------------------------------------------------ keys */

static int key_compare(const struct quipu_page_place *place, struct quipu_slice a,
                       struct quipu_slice b)
{
    if (place->has_integer_keys) {
        uint64_t x = data_load_u64(a.data);
        uint64_t y = data_load_u64(b.data);
        return (x > y) - (x < y);
    }
    return quipu_slice_compare(a, b);
}

bool quipu_page_is_ordered(const uint8_t *page, const struct quipu_page_place *place,
                           uint32_t count, char why[QUIPU_ERROR_MESSAGE_BYTES])
{
    struct quipu_slice before = {NULL, 0};
    for (uint32_t i = place->is_leaf ? 0 : 1; i < count; i++) {
        struct quipu_data_node node = quipu_data_node(page, i);
        struct quipu_slice key = quipu_slice(node.key, node.key_bytes);
        if (before.data != NULL && key_compare(place, before, key) >= 0) {
            return say(why, "the key of node %" PRIu32 " is not above the one before", i);
        }
        if (before.data == NULL && place->floor != NULL &&
            key_compare(place, key, *place->floor) < 0) {
            return say(why, "its keys begin below what leads to it");
        }
        before = key;
    }
    if (before.data != NULL && place->ceiling != NULL &&
        key_compare(place, before, *place->ceiling) >= 0) {
        return say(why, "its keys end above what leads to the next page");
    }
    return true;
}
