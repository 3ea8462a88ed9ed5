/*
 * Looking for the nearest row: among the changes of a slice and in the store, whichever is nearer.
 *
 * The changes have no order of their own (rows.c keeps them by hash). The first seek of a slice
 * puts them into a skip list, and each later one those that came since, so that who never seeks
 * pays nothing. How many levels a change takes part in follows from the hash of its key: a quarter
 * of those on one level is on the next. Changes never leave the list before the slice ends: one
 * that was taken back stays as ROW_UNCHANGED and is passed over, one that deletes hides the stored
 * row.
 *
 * Never changes a row. Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "quipu/alloc.h"
#include "rows.h"

#define LEVELS 12 /* a quarter each: 16 million changes, more than a slice has */
/* A larger list is given back after the slice. */
#define LINKS_KEPT 65536

/* Node 0 is the head, node n is change n - 1. A link is the next node, 0: none. */
struct rows_order {
    uint32_t heads[LEVELS];
    uint32_t *links; /* of all nodes, each one's levels side by side */
    size_t links_len;
    size_t links_cap;
    uint32_t *first; /* of each change: where its links begin */
    size_t first_cap;
    size_t len; /* changes that are in the list: the first ones */
};

/* ------------------------------------------------------------------ the list */

static struct quipu_slice key_of(const struct quipu_rows *rows, uint32_t node)
{
    const struct row_change *change = &rows->changes[node - 1];
    return quipu_slice(change->key, change->key_len);
}

static uint32_t *link_of(struct rows_order *order, uint32_t node, size_t level)
{
    return node == 0 ? &order->heads[level] : &order->links[order->first[node - 1] + level];
}

/* The last node before `key` on each level; with NULL the last of all. */
static void order_find(const struct quipu_rows *rows, const struct quipu_slice *key,
                       uint32_t before[LEVELS])
{
    uint32_t node = 0;
    for (size_t level = LEVELS; level-- > 0;) {
        uint32_t next = *link_of(rows->order, node, level);
        while (next != 0 && (key == NULL || quipu_slice_compare(key_of(rows, next), *key) < 0)) {
            node = next;
            next = *link_of(rows->order, node, level);
        }
        before[level] = node;
    }
}

static size_t levels_of(uint32_t hash)
{
    size_t levels = 1;
    while (levels < LEVELS && (hash & 3) == 0) {
        hash >>= 2;
        levels++;
    }
    return levels;
}

static bool reserve(uint32_t **array, size_t *cap, size_t wanted)
{
    size_t grown_cap = *cap == 0 ? 1024 : *cap;
    while (grown_cap < wanted) {
        grown_cap *= 2;
    }
    if (grown_cap == *cap) {
        return true;
    }
    uint32_t *grown = quipu_realloc(*array, grown_cap, sizeof **array);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *cap = grown_cap;
    return true;
}

static bool order_insert(struct quipu_rows *rows)
{
    struct rows_order *order = rows->order;
    const struct row_change *change = &rows->changes[order->len];
    size_t levels = levels_of(change->hash);
    uint32_t before[LEVELS];
    if (!reserve(&order->links, &order->links_cap, order->links_len + levels) ||
        !reserve(&order->first, &order->first_cap, order->len + 1)) {
        return false;
    }
    struct quipu_slice key = quipu_slice(change->key, change->key_len);
    order_find(rows, &key, before);
    order->first[order->len] = (uint32_t)order->links_len;
    order->links_len += levels;
    uint32_t node = (uint32_t)++order->len;
    for (size_t level = 0; level < levels; level++) {
        uint32_t *link = link_of(order, before[level], level);
        *link_of(order, node, level) = *link;
        *link = node;
    }
    rows->bytes += (levels + 1) * sizeof *order->links;
    return true;
}

/* Put in what is missing. */
static enum quipu_status order_complete(struct quipu_rows *rows, struct quipu_error *err)
{
    if (rows->changes_len == 0) {
        return QUIPU_OK;
    }
    if (rows->order == NULL) {
        rows->order = quipu_alloc_zero(1, sizeof *rows->order);
    }
    bool is_good = rows->order != NULL;
    while (is_good && rows->order->len < rows->changes_len) {
        is_good = order_insert(rows);
    }
    return is_good ? QUIPU_OK
                   : quipu_error_set(err, QUIPU_NO_MEMORY,
                                     "projection: out of memory for the order of its changes");
}

void rows_order_discard(struct quipu_rows *rows)
{
    struct rows_order *order = rows->order;
    if (order == NULL) {
        return;
    }
    if (order->links_cap > LINKS_KEPT) {
        rows_order_release(rows);
        return;
    }
    memset(order->heads, 0, sizeof order->heads);
    order->links_len = 0;
    order->len = 0;
}

void rows_order_release(struct quipu_rows *rows)
{
    if (rows->order != NULL) {
        quipu_free(rows->order->links);
        quipu_free(rows->order->first);
    }
    quipu_free(rows->order);
    rows->order = NULL;
}

/* ------------------------------------------------------------------ seeking */

static bool is_forwards(enum quipu_seek seek)
{
    return seek == QUIPU_SEEK_GE || seek == QUIPU_SEEK_GT;
}

/* The node nearest to `key`, 0: none. An empty key stands where quipu_txn_table_seek has it. */
static uint32_t order_seek(const struct quipu_rows *rows, struct quipu_slice key,
                           enum quipu_seek seek)
{
    uint32_t before[LEVELS];
    bool is_last = key.len == 0 && !is_forwards(seek);
    order_find(rows, is_last ? NULL : &key, before);
    uint32_t next = *link_of(rows->order, before[0], 0);
    bool is_equal = next != 0 && quipu_slice_equal(key_of(rows, next), key);
    switch (seek) {
    case QUIPU_SEEK_GE:
        return next;
    case QUIPU_SEEK_GT:
        return is_equal ? *link_of(rows->order, next, 0) : next;
    case QUIPU_SEEK_LE:
        return is_equal ? next : before[0];
    case QUIPU_SEEK_LT:
        break;
    }
    return before[0];
}

/* The nearest change that says something, NULL: none. */
static const struct row_change *change_seek(const struct quipu_rows *rows, struct quipu_slice key,
                                            enum quipu_seek seek)
{
    uint32_t node = rows->changes_len == 0 ? 0 : order_seek(rows, key, seek);
    while (node != 0 && rows->changes[node - 1].state == ROW_UNCHANGED) {
        seek = is_forwards(seek) ? QUIPU_SEEK_GT : QUIPU_SEEK_LT;
        node = order_seek(rows, key_of(rows, node), seek);
    }
    return node == 0 ? NULL : &rows->changes[node - 1];
}

enum quipu_status quipu_rows_seek(struct quipu_rows *rows, struct quipu_slice key,
                                  enum quipu_seek seek, struct quipu_slice *found_key,
                                  struct quipu_slice *value, struct quipu_error *err)
{
    enum quipu_status status = order_complete(rows, err);
    while (status == QUIPU_OK) {
        struct quipu_slice stored = {0};
        struct quipu_slice stored_value = {0};
        status =
            quipu_txn_table_seek(rows->txn, rows->table, key, seek, &stored, &stored_value, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        bool is_stored = status == QUIPU_OK;
        const struct row_change *change = change_seek(rows, key, seek);
        if (change == NULL && !is_stored) {
            return QUIPU_DONE;
        }
        struct quipu_slice changed =
            change == NULL ? quipu_slice(NULL, 0) : quipu_slice(change->key, change->key_len);
        int order = change == NULL || !is_stored ? 0 : quipu_slice_compare(stored, changed);
        if (change == NULL || (is_forwards(seek) ? order < 0 : order > 0)) {
            *found_key = stored;
            *value = stored_value;
            return QUIPU_OK;
        }
        if (change->state == ROW_PUT) {
            *found_key = changed;
            *value = quipu_slice(change->value, change->value_len);
            return QUIPU_OK;
        }
        /* Deleted in this slice: go on behind it. */
        key = changed;
        seek = is_forwards(seek) ? QUIPU_SEEK_GT : QUIPU_SEEK_LT;
        status = QUIPU_OK;
    }
    return status;
}
