/*
 * A walk over the pages under way: what page_walk.c and page_tree.c share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_PAGE_TREE_H
#define QUIPU_STORE_PAGE_TREE_H

#include "page_walk.h"

/* Page numbers of a list that are read at once. */
#define PAGE_LIST_CHUNK 4096

struct page_frame {
    uint64_t number;
    uint32_t index; /* of the child that is looked at */
    uint32_t count;
    uint8_t *bytes;
};

enum page_tree_kind { TREE_FREE, TREE_NAMES, TREE_VALUES };

struct page_tree {
    enum page_tree_kind kind;
    const char *name;
    struct quipu_data_db db; /* as recorded */
    struct quipu_data_db met;
    uint64_t last_key;  /* where keys are integers */
    uint64_t large_key; /* of the log: whose large value is looked at; 0: none */
    bool has_integer_keys;
    bool is_log;
    bool is_derived;
    bool is_end_only; /* only the last child of each branch */
    bool is_sound;
};

struct page_walk {
    int fd;
    size_t page_bytes;
    uint64_t txn;
    uint64_t last_page;
    uint64_t file_bytes;
    const struct quipu_page_options *options;
    struct quipu_pages_report report;
    bool has_stopped;
    bool has_holes; /* pages that could not be walked over */
    uint8_t *used;  /* a bit a page */
    uint8_t *free;
    uint16_t *starts; /* for quipu_page_is_sound */
    uint64_t *list;   /* PAGE_LIST_CHUNK */
    struct page_frame frames[DATA_DEPTH_MAX];
    struct page_tree tree; /* the one that is walked over */
    struct quipu_data_db free_db;
    struct quipu_data_db names_db;
    struct quipu_data_db dbs[QUIPU_DBS];
    bool has_db[QUIPU_DBS];
};

/* A finding that concerns no page of a tree. */
void page_walk_problem(struct page_walk *walk, bool is_mendable, const char *format, ...)
    QUIPU_PRINTF(3, 4);

/* Walk over the tree, whose record must have these flags. False: no memory. */
bool page_walk_tree(struct page_walk *walk, const struct page_tree *tree, uint16_t flags);

/* Has the page been met? */
static inline bool page_bit_get(const uint8_t *bits, uint64_t page)
{
    return (bits[page / 8] >> page % 8 & 1) != 0;
}

#endif
