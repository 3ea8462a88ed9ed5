/*
 * One tree of data.mdb, page by page; which findings there are, and what they mean: page_walk.c.
 * Reads by pread, changes nothing, and descends without recursion. SPEC §6.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "page_tree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "quipu/alloc.h"

#define LINE_BYTES     QUIPU_ERROR_MESSAGE_BYTES
#define PROGRESS_PAGES 4096

/* ------------------------------------------------------------------ findings */

static void tell(struct page_walk *walk, uint64_t position, bool is_mendable, const char *line)
{
    walk->report.problems++;
    walk->report.mendable += is_mendable;
    if (!walk->has_stopped && walk->options->problem != NULL &&
        !walk->options->problem(walk->options->ctx, position, line)) {
        walk->has_stopped = true;
    }
}

void page_walk_problem(struct page_walk *walk, bool is_mendable, const char *format, ...)
{
    char line[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args); /* a line for people may be cut */
    va_end(args);
    tell(walk, 0, is_mendable, line);
}

/* The key at or below which, or above which, the page at this level has none. */
static bool bound_of(const struct page_walk *walk, unsigned level, uint32_t beside,
                     struct quipu_slice *key)
{
    for (unsigned l = level; l-- > 0;) {
        const struct page_frame *above = &walk->frames[l];
        uint32_t index = above->index + beside;
        if (index > 0 && index < above->count) {
            struct quipu_data_node node = quipu_data_node(above->bytes, index);
            *key = quipu_slice(node.key, node.key_bytes);
            return true;
        }
    }
    return false;
}

/* Positions that the page at this level of the log is for; false where keys are out of order. */
static bool positions_of(const struct page_walk *walk, unsigned level, uint64_t *first,
                         uint64_t *last)
{
    struct quipu_slice key;
    *first = bound_of(walk, level, 0, &key) ? data_load_u64(key.data) : 1;
    *last = bound_of(walk, level, 1, &key) ? data_load_u64(key.data) - 1 : walk->tree.db.entries;
    return *first >= 1 && *first <= *last && *last <= walk->tree.db.entries;
}

/* A finding about a page of the tree; `level` is that of the page, or of the leaf whose large value
 * it is. */
static void page_problem(struct page_walk *walk, unsigned level, uint64_t number, bool is_mendable,
                         const char *why)
{
    char line[LINE_BYTES];
    char positions[64] = "";
    uint64_t first = walk->tree.large_key;
    uint64_t last = first;
    bool is_derived = walk->tree.is_derived || is_mendable;
    if (!walk->tree.is_log || (first == 0 && !positions_of(walk, level, &first, &last))) {
        first = 0;
    } else if (first == last) {
        (void)snprintf(positions, sizeof positions, ", position %" PRIu64, first);
    } else {
        (void)snprintf(positions, sizeof positions, ", positions %" PRIu64 " to %" PRIu64, first,
                       last);
    }
    (void)snprintf(line, sizeof line, "page %" PRIu64 " of %s%s: %s", number, walk->tree.name,
                   positions, why);
    tell(walk, first, is_derived, line);
}

/* The same, of what LMDB could stumble over. */
static bool page_unsafe(struct page_walk *walk, unsigned level, uint64_t number, const char *format,
                        ...) QUIPU_PRINTF(4, 5);

static bool page_unsafe(struct page_walk *walk, unsigned level, uint64_t number, const char *format,
                        ...)
{
    char why[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(why, sizeof why, format, args); /* a line for people may be cut */
    va_end(args);
    walk->tree.is_sound = false;
    walk->has_holes = true;
    if (walk->tree.kind != TREE_FREE) { /* which only writing looks at */
        walk->report.is_safe = false;
    }
    page_problem(walk, level, number, false, why);
    return false;
}

/* ------------------------------------------------------------------ which pages were met */

static void bit_set(uint8_t *bits, uint64_t page)
{
    bits[page / 8] |= (uint8_t)(1u << page % 8);
}

/* A page that is led to: in the file, and for the first time. */
static bool take_page(struct page_walk *walk, unsigned level, uint64_t number)
{
    if (number < DATA_FIRST_PAGE || number > walk->last_page) {
        return page_unsafe(walk, level, number, "is led to, but the file's are %d to %" PRIu64,
                           DATA_FIRST_PAGE, walk->last_page);
    }
    if (page_bit_get(walk->used, number)) {
        return page_unsafe(walk, level, number, "is led to twice");
    }
    bit_set(walk->used, number);
    if (walk->free != NULL && page_bit_get(walk->free, number)) {
        page_problem(walk, level, number, true, "is in use, and in the list of free pages too");
    }
    walk->report.pages++;
    if (walk->options->progress != NULL && walk->report.pages % PROGRESS_PAGES == 0) {
        walk->options->progress(walk->options->ctx, walk->report.pages, walk->last_page + 1);
    }
    return true;
}

static bool read_page(struct page_walk *walk, unsigned level, uint64_t number, void *into,
                      size_t bytes)
{
    int code = quipu_data_read(walk->fd, number * walk->page_bytes, into, bytes);
    if (code == ENODATA) {
        return page_unsafe(walk, level, number, "lies behind the end of the file");
    }
    if (code == 0) {
        return true;
    }
    struct quipu_error failure;
    (void)quipu_error_errno(&failure, code, "cannot be read"); /* for its line */
    return page_unsafe(walk, level, number, "%s", failure.message);
}

/* ------------------------------------------------------------------ free pages */

/* Numbers of a list: from the top down, each in the file and free for the first time. */
static bool take_free(struct page_walk *walk, const uint64_t *numbers, uint64_t count,
                      uint64_t *before)
{
    for (uint64_t i = 0; i < count; i++) {
        if (numbers[i] < DATA_FIRST_PAGE || numbers[i] > walk->last_page || numbers[i] >= *before ||
            page_bit_get(walk->free, numbers[i])) {
            page_walk_problem(walk, true,
                              "the list of free pages names page %" PRIu64
                              ", which is out of place there",
                              numbers[i]);
            return false;
        }
        if (page_bit_get(walk->used, numbers[i])) {
            page_walk_problem(walk, true,
                              "page %" PRIu64 " is in use, and in the list of free pages",
                              numbers[i]);
        }
        *before = numbers[i];
        bit_set(walk->free, numbers[i]);
        walk->report.pages++;
    }
    return true;
}

/* One list: how many there are, then each; `bytes` of it, at this offset of the file. */
static void take_list(struct page_walk *walk, uint64_t offset, size_t bytes)
{
    uint64_t count = 0;
    uint64_t before = UINT64_MAX;
    int code = bytes < 8 ? ENODATA : quipu_data_read(walk->fd, offset, &count, sizeof count);
    bool is_good = code == 0 && count <= (bytes - 8) / 8;
    for (uint64_t done = 0; is_good && done < count;) {
        uint64_t part = count - done < PAGE_LIST_CHUNK ? count - done : PAGE_LIST_CHUNK;
        code = quipu_data_read(walk->fd, offset + 8 + 8 * done, walk->list, (size_t)part * 8);
        if (code != 0) {
            is_good = false;
        } else if (!take_free(walk, walk->list, part, &before)) {
            return; /* it has been told */
        }
        done += part;
    }
    if (!is_good) {
        page_walk_problem(walk, true,
                          "the list of free pages is cut off: %" PRIu64 " pages in %zu bytes",
                          count, bytes);
    }
}

/* ------------------------------------------------------------------ leaves */

/* A large value's run of pages; `*page` is its first. */
static bool take_large(struct page_walk *walk, unsigned level, const struct quipu_data_node *node,
                       uint64_t *page)
{
    uint8_t header[DATA_PAGE_HEADER_BYTES];
    uint64_t first = data_load_u64(node->data);
    *page = first;
    if (!take_page(walk, level, first) || !read_page(walk, level, first, header, sizeof header)) {
        return false;
    }
    uint64_t wanted = (DATA_PAGE_HEADER_BYTES - 1 + node->data_bytes) / walk->page_bytes + 1;
    uint64_t pages = data_load_u32(header + DATA_PAGE_LOWER_AT);
    unsigned flags = data_load_u16(header + DATA_PAGE_FLAGS_AT);
    if (data_load_u64(header) != first || flags != DATA_PAGE_IS_LARGE) {
        return page_unsafe(walk, level, first,
                           "should begin a large value; its header says page %" PRIu64
                           ", flags 0x%x",
                           data_load_u64(header), flags);
    }
    /* LMDB reuses a run that is too long within a transaction; a record is never written anew. */
    if (pages < wanted || (walk->tree.is_log && pages != wanted) ||
        pages > walk->last_page - first + 1) {
        return page_unsafe(walk, level, first,
                           "begins a value of %zu bytes, %" PRIu64
                           " pages, but its header says %" PRIu64,
                           node->data_bytes, wanted, pages);
    }
    for (uint64_t i = 1; i < pages; i++) {
        if (!take_page(walk, level, first + i)) {
            return false;
        }
    }
    if ((first + wanted) * walk->page_bytes > walk->file_bytes) {
        return page_unsafe(walk, level, first, "begins a value that the file cuts off");
    }
    walk->tree.met.overflow_pages += pages;
    return true;
}

/* The record of a database. */
static void take_name(struct page_walk *walk, unsigned level, uint64_t page,
                      const struct quipu_data_node *node)
{
    if (node->flags != DATA_NODE_IS_DB || node->data_bytes != DATA_DB_RECORD_BYTES) {
        page_problem(walk, level, page, false, "has a row that is no database");
        return;
    }
    for (int db = 0; db < QUIPU_DBS; db++) {
        const char *name = quipu_db_name((enum quipu_db)db);
        if (node->key_bytes == strlen(name) && memcmp(node->key, name, node->key_bytes) == 0) {
            walk->dbs[db] = quipu_data_db_load(node->data);
            walk->has_db[db] = true;
            return;
        }
    }
    page_problem(walk, level, page, false, "names a database that is not one of a store");
}

static void take_leaf(struct page_walk *walk, unsigned level)
{
    const struct page_frame *leaf = &walk->frames[level];
    for (uint32_t i = 0; i < leaf->count && !walk->has_stopped; i++) {
        struct quipu_data_node node = quipu_data_node(leaf->bytes, i);
        uint64_t data_at = leaf->number * walk->page_bytes + (uint64_t)(node.data - leaf->bytes);
        if ((node.flags & DATA_NODE_IS_LARGE) != 0) {
            uint64_t page = 0;
            walk->tree.large_key = walk->tree.is_log ? data_load_u64(node.key) : 0;
            bool is_sound = take_large(walk, level, &node, &page);
            walk->tree.large_key = 0;
            if (!is_sound) {
                continue;
            }
            data_at = page * walk->page_bytes + DATA_PAGE_HEADER_BYTES;
        }
        if (walk->tree.kind == TREE_FREE) {
            take_list(walk, data_at, node.data_bytes);
        } else if (walk->tree.kind == TREE_NAMES) {
            take_name(walk, level, leaf->number, &node);
        }
        if (walk->tree.has_integer_keys) {
            walk->tree.last_key = data_load_u64(node.key);
        }
    }
    walk->tree.met.entries += leaf->count;
}

/* ------------------------------------------------------------------ one tree */

/* Read the page, look at it, and make it the frame of its level. */
static bool enter(struct page_walk *walk, unsigned level, uint64_t number)
{
    struct page_frame *frame = &walk->frames[level];
    struct quipu_slice floor;
    struct quipu_slice ceiling;
    char why[LINE_BYTES];
    bool is_leaf = level + 1 == walk->tree.db.depth;
    struct quipu_page_place place = {
        .number = number,
        .page_bytes = walk->page_bytes,
        .is_leaf = is_leaf,
        .has_integer_keys = walk->tree.has_integer_keys,
        .node_flags =
            (uint16_t)(walk->tree.kind == TREE_NAMES ? DATA_NODE_IS_DB | DATA_NODE_IS_LARGE
                                                     : DATA_NODE_IS_LARGE),
        .nodes_min = is_leaf || walk->tree.kind == TREE_FREE ? 1 : 2,
        .floor = bound_of(walk, level, 0, &floor) ? &floor : NULL,
        .ceiling = bound_of(walk, level, 1, &ceiling) ? &ceiling : NULL,
    };
    if (!take_page(walk, level, number) ||
        !read_page(walk, level, number, frame->bytes, walk->page_bytes)) {
        return false;
    }
    if (!quipu_page_is_sound(frame->bytes, &place, walk->starts, &frame->count, why)) {
        return page_unsafe(walk, level, number, "%s", why);
    }
    if (!quipu_page_is_ordered(frame->bytes, &place, frame->count, why)) {
        walk->tree.is_sound = false;
        page_problem(walk, level, number, false, why);
    }
    frame->number = number;
    frame->index = walk->tree.is_end_only && !is_leaf ? frame->count - 1 : 0;
    if (is_leaf) {
        walk->tree.met.leaf_pages++;
        take_leaf(walk, level);
    } else {
        walk->tree.met.branch_pages++;
    }
    return true;
}

/* Down to each leaf, from the left. */
static void walk_down(struct page_walk *walk)
{
    unsigned depth = walk->tree.db.depth;
    if (!enter(walk, 0, walk->tree.db.root)) {
        return;
    }
    unsigned level = 0; /* of a page that was entered */
    while (!walk->has_stopped) {
        struct page_frame *frame = &walk->frames[level];
        if (level + 1 < depth && frame->index < frame->count) {
            if (enter(walk, level + 1, quipu_data_node(frame->bytes, frame->index).child)) {
                level++;
            } else {
                frame->index++;
            }
            continue;
        }
        if (level == 0) {
            return;
        }
        level--;
        walk->frames[level].index++;
    }
}

static void compare(struct page_walk *walk, const char *what, uint64_t recorded, uint64_t met)
{
    if (recorded != met) {
        page_walk_problem(walk, true, "%s: its record says %" PRIu64 " %s, its pages have %" PRIu64,
                          walk->tree.name, recorded, what, met);
    }
}

/* Do the pages add up to the record? */
static void compare_all(struct page_walk *walk)
{
    const struct page_tree *tree = &walk->tree;
    if (!tree->is_sound || tree->is_end_only || walk->has_stopped) {
        return;
    }
    compare(walk, "branch pages", tree->db.branch_pages, tree->met.branch_pages);
    compare(walk, "leaf pages", tree->db.leaf_pages, tree->met.leaf_pages);
    compare(walk, "pages of large values", tree->db.overflow_pages, tree->met.overflow_pages);
    if (tree->db.entries != tree->met.entries ||
        (tree->is_log && tree->last_key != tree->db.entries)) {
        page_walk_problem(walk, tree->is_derived,
                          "%s: its record says %" PRIu64 " entries, its leaves have %" PRIu64
                          ", up to key %" PRIu64,
                          tree->name, tree->db.entries, tree->met.entries, tree->last_key);
    }
}

static bool grow_frames(struct page_walk *walk, unsigned depth)
{
    for (unsigned i = 0; i < depth; i++) {
        if (walk->frames[i].bytes == NULL) {
            walk->frames[i].bytes = quipu_alloc(1, walk->page_bytes);
        }
        if (walk->frames[i].bytes == NULL) {
            return false;
        }
    }
    return true;
}

bool page_walk_tree(struct page_walk *walk, const struct page_tree *tree, uint16_t flags)
{
    walk->tree = *tree;
    walk->tree.is_sound = true;
    const struct quipu_data_db *db = &walk->tree.db;
    bool is_empty = db->root == DATA_NO_PAGE;
    if (db->flags != flags || db->depth > DATA_DEPTH_MAX || is_empty != (db->depth == 0)) {
        walk->has_holes = true;
        walk->report.is_safe = walk->report.is_safe && tree->kind == TREE_FREE;
        page_walk_problem(walk, tree->is_derived,
                          "the record of %s says depth %u, root %" PRIu64 ", flags 0x%x",
                          tree->name, db->depth, db->root, db->flags);
        return true;
    }
    if (!grow_frames(walk, db->depth)) {
        return false;
    }
    if (!is_empty) {
        walk_down(walk);
    }
    compare_all(walk);
    return true;
}
