/*
 * The rows of a projection during a slice: a write-back table in memory over the table in the
 * store.
 *
 * A get looks among the changes first, then in the store. A put or delete goes among the changes
 * only. At the end of the slice the changes are sorted by key and written: random keys cost the
 * B-tree one descent each, sorted ones share theirs, and a row that a thousand events touch is
 * written once. Since nothing is in the store before the flush, an event whose handler fails is
 * taken back by the list of what it changed.
 *
 * Keys and values are copied into chunks that never move, so a value that was handed out stays
 * valid until the slice ends.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "quipu/alloc.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define SLOTS_FIRST 1024

enum row_state { ROW_UNCHANGED, ROW_PUT, ROW_DELETED };

struct row_change {
    struct quipu_slice key;
    struct quipu_slice value;
    enum row_state state;
};

struct row_undo {
    size_t change;
    struct quipu_slice value;
    enum row_state state;
};

struct rows_chunk {
    struct rows_chunk *next;
    size_t len;
    size_t cap;
    uint8_t bytes[];
};

void rows_init(struct quipu_rows *rows)
{
    *rows = (struct quipu_rows){0};
}

void rows_attach(struct quipu_rows *rows, struct quipu_txn *txn, struct quipu_table table)
{
    rows->txn = txn;
    rows->table = table;
}

void rows_discard(struct quipu_rows *rows)
{
    while (rows->chunks != NULL) {
        struct rows_chunk *next = rows->chunks->next;
        quipu_free(rows->chunks);
        rows->chunks = next;
    }
    rows->bytes = 0;
    rows->changes_len = 0;
    rows->undos_len = 0;
    if (rows->slots != NULL) {
        memset(rows->slots, 0, rows->slots_cap * sizeof *rows->slots);
    }
}

void rows_release(struct quipu_rows *rows)
{
    rows_discard(rows);
    quipu_free(rows->changes);
    quipu_free(rows->slots);
    quipu_free(rows->undos);
    *rows = (struct quipu_rows){0};
}

void rows_event_begin(struct quipu_rows *rows)
{
    rows->undos_len = 0;
}

void rows_event_undo(struct quipu_rows *rows)
{
    while (rows->undos_len > 0) {
        const struct row_undo *undo = &rows->undos[--rows->undos_len];
        rows->changes[undo->change].value = undo->value;
        rows->changes[undo->change].state = undo->state;
    }
}

/* ------------------------------------------------------------------ memory */

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "projection: out of memory for its changes");
}

/* Room for one more of `size` bytes in an array that grows by doubling. */
static bool array_reserve(void **array, size_t *cap, size_t len, size_t size)
{
    if (len < *cap) {
        return true;
    }
    size_t wanted = *cap == 0 ? 256 : *cap * 2;
    void *grown = quipu_realloc(*array, wanted, size);
    if (grown == NULL) {
        return false;
    }
    *array = grown;
    *cap = wanted;
    return true;
}

static enum quipu_status bytes_copy(struct quipu_rows *rows, struct quipu_slice bytes,
                                    struct quipu_slice *out, struct quipu_error *err)
{
    if (bytes.len == 0) {
        *out = quipu_slice(NULL, 0);
        return QUIPU_OK;
    }
    struct rows_chunk *chunk = rows->chunks;
    if (chunk == NULL || chunk->cap - chunk->len < bytes.len) {
        size_t cap = bytes.len < CHUNK_BYTES ? CHUNK_BYTES : bytes.len;
        chunk = quipu_alloc(1, sizeof *chunk + cap);
        if (chunk == NULL) {
            return no_memory(err);
        }
        chunk->next = rows->chunks;
        chunk->len = 0;
        chunk->cap = cap;
        rows->chunks = chunk;
    }
    memcpy(chunk->bytes + chunk->len, bytes.data, bytes.len);
    *out = quipu_slice(chunk->bytes + chunk->len, bytes.len);
    chunk->len += bytes.len;
    rows->bytes += bytes.len;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the hash table */

static size_t key_hash(struct quipu_slice key)
{
    /* FNV-1a over at most 500 bytes, folded. */
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < key.len; i++) {
        hash = (hash ^ key.data[i]) * UINT64_C(0x100000001b3);
    }
    return (size_t)(hash ^ hash >> 32);
}

/* The slot of `key`, or the free one where it would go. There always is one: at most half full. */
static uint32_t *slot_of(const struct quipu_rows *rows, struct quipu_slice key)
{
    size_t mask = rows->slots_cap - 1;
    size_t at = key_hash(key) & mask;
    while (rows->slots[at] != 0 &&
           !quipu_slice_equal(rows->changes[rows->slots[at] - 1].key, key)) {
        at = (at + 1) & mask;
    }
    return &rows->slots[at];
}

static enum quipu_status slots_reserve(struct quipu_rows *rows, struct quipu_error *err)
{
    if (rows->changes_len * 2 < rows->slots_cap) {
        return QUIPU_OK;
    }
    size_t cap = rows->slots_cap == 0 ? SLOTS_FIRST : rows->slots_cap * 2;
    uint32_t *slots = quipu_alloc_zero(cap, sizeof *slots);
    if (slots == NULL) {
        return no_memory(err);
    }
    quipu_free(rows->slots);
    rows->slots = slots;
    rows->slots_cap = cap;
    for (size_t i = 0; i < rows->changes_len; i++) {
        *slot_of(rows, rows->changes[i].key) = (uint32_t)(i + 1);
    }
    return QUIPU_OK;
}

/* The change of `key`, or NULL where there is none that counts. */
static struct row_change *change_find(const struct quipu_rows *rows, struct quipu_slice key)
{
    if (rows->slots_cap == 0) {
        return NULL;
    }
    uint32_t found = *slot_of(rows, key);
    if (found == 0 || rows->changes[found - 1].state == ROW_UNCHANGED) {
        return NULL;
    }
    return &rows->changes[found - 1];
}

/* The change of `key`, made where there is none. */
static enum quipu_status change_take(struct quipu_rows *rows, struct quipu_slice key, size_t *out,
                                     struct quipu_error *err)
{
    void *changes = rows->changes;
    enum quipu_status status = slots_reserve(rows, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint32_t *slot = slot_of(rows, key);
    if (*slot != 0) {
        *out = *slot - 1;
        return QUIPU_OK;
    }
    if (!array_reserve(&changes, &rows->changes_cap, rows->changes_len, sizeof *rows->changes)) {
        return no_memory(err);
    }
    rows->changes = changes;
    struct row_change *change = &rows->changes[rows->changes_len];
    status = bytes_copy(rows, key, &change->key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    change->state = ROW_UNCHANGED;
    change->value = quipu_slice(NULL, 0);
    *out = rows->changes_len++;
    *slot = (uint32_t)rows->changes_len;
    return QUIPU_OK;
}

static enum quipu_status change_set(struct quipu_rows *rows, struct quipu_slice key,
                                    enum row_state state, struct quipu_slice value,
                                    struct quipu_error *err)
{
    void *undos = rows->undos;
    if (!array_reserve(&undos, &rows->undos_cap, rows->undos_len, sizeof *rows->undos)) {
        return no_memory(err);
    }
    rows->undos = undos;
    struct quipu_slice copy;
    enum quipu_status status = bytes_copy(rows, value, &copy, err);
    size_t index = 0;
    if (status == QUIPU_OK) {
        status = change_take(rows, key, &index, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct row_change *change = &rows->changes[index];
    rows->undos[rows->undos_len++] =
        (struct row_undo){.change = index, .value = change->value, .state = change->state};
    change->state = state;
    change->value = copy;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ what a handler calls */

static enum quipu_status key_check(struct quipu_slice key, struct quipu_error *err)
{
    if (key.len == 0 || key.len > QUIPU_TABLE_KEY_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "row: a key has 1 to %d bytes, this one has %zu",
                               QUIPU_TABLE_KEY_BYTES_MAX, key.len);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_rows_get(struct quipu_rows *rows, struct quipu_slice key,
                                 struct quipu_slice *value, struct quipu_error *err)
{
    enum quipu_status status = key_check(key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct row_change *change = change_find(rows, key);
    if (change == NULL) {
        return quipu_txn_table_get(rows->txn, rows->table, key, value, err);
    }
    if (change->state == ROW_DELETED) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "row: not found");
    }
    *value = change->value;
    return QUIPU_OK;
}

enum quipu_status quipu_rows_put(struct quipu_rows *rows, struct quipu_slice key,
                                 struct quipu_slice value, struct quipu_error *err)
{
    enum quipu_status status = key_check(key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len > QUIPU_ROW_VALUE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "row: a value of %zu bytes, at most %u are allowed", value.len,
                               QUIPU_ROW_VALUE_BYTES_MAX);
    }
    return change_set(rows, key, ROW_PUT, value, err);
}

enum quipu_status quipu_rows_delete(struct quipu_rows *rows, struct quipu_slice key,
                                    struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return change_set(rows, key, ROW_DELETED, quipu_slice(NULL, 0), err);
}

/* ------------------------------------------------------------------ the end of a slice */

static int change_compare(const void *a, const void *b)
{
    const struct row_change *left = a;
    const struct row_change *right = b;
    return quipu_slice_compare(left->key, right->key);
}

static enum quipu_status change_write(struct quipu_rows *rows, const struct row_change *change,
                                      struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    switch (change->state) {
    case ROW_UNCHANGED:
        return QUIPU_OK;
    case ROW_PUT:
        return quipu_txn_table_put(rows->txn, rows->table, change->key, change->value, err);
    case ROW_DELETED:
        /* A row that was put and deleted within the slice was never there. */
        status = quipu_txn_table_delete(rows->txn, rows->table, change->key, err);
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    return QUIPU_OK;
}

enum quipu_status rows_flush(struct quipu_rows *rows, struct quipu_error *err)
{
    /* Sorting moves the changes; the hash table over them is emptied below. */
    if (rows->changes_len > 1) {
        qsort(rows->changes, rows->changes_len, sizeof *rows->changes, change_compare);
    }
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < rows->changes_len; i++) {
        status = change_write(rows, &rows->changes[i], err);
    }
    rows_discard(rows);
    return status;
}
