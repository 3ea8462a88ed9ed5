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
 * Keys and values are copied into chunks that never move. A value is written over in place where
 * the new one fits, so a counter that is raised a thousand times takes its room once; what an event
 * writes over is kept until it is done.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "rows.h"

#include <stdlib.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"

#define CHUNK_BYTES ((size_t)64 << 10)
#define SLOTS_FIRST 1024
/* A larger table is given back after the slice: emptying it would cost the small slices dear. */
#define SLOTS_KEPT 65536
#define NO_SAVED   SIZE_MAX

struct row_undo {
    size_t index;
    struct row_change change; /* as it was */
    size_t saved_at;          /* its value in undo_bytes; NO_SAVED: it was not written over */
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

static void slots_clear(struct quipu_rows *rows)
{
    if (rows->slots_cap > SLOTS_KEPT) {
        quipu_free(rows->slots);
        rows->slots = NULL;
        rows->slots_cap = 0;
    } else if (rows->changes_len > 0) {
        memset(rows->slots, 0, rows->slots_cap * sizeof *rows->slots);
    }
}

void rows_discard(struct quipu_rows *rows)
{
    while (rows->chunks != NULL) {
        struct rows_chunk *next = rows->chunks->next;
        quipu_free(rows->chunks);
        rows->chunks = next;
    }
    slots_clear(rows);
    rows_order_discard(rows);
    rows->bytes = 0;
    rows->changes_len = 0;
    rows->undos_len = 0;
    rows->last = 0;
}

void rows_release(struct quipu_rows *rows)
{
    rows_discard(rows);
    rows_order_release(rows);
    quipu_free(rows->changes);
    quipu_free(rows->slots);
    quipu_free(rows->undos);
    quipu_buf_release(&rows->undo_bytes);
    *rows = (struct quipu_rows){0};
}

void rows_event_begin(struct quipu_rows *rows)
{
    rows->undos_len = 0;
    quipu_buf_reset(&rows->undo_bytes);
}

void rows_event_undo(struct quipu_rows *rows)
{
    while (rows->undos_len > 0) {
        const struct row_undo *undo = &rows->undos[--rows->undos_len];
        rows->changes[undo->index] = undo->change;
        if (undo->saved_at != NO_SAVED && undo->change.value_len > 0) {
            memcpy(undo->change.value, rows->undo_bytes.data + undo->saved_at,
                   undo->change.value_len);
        }
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

/* Room in the chunks. */
static uint8_t *bytes_take(struct quipu_rows *rows, size_t len)
{
    struct rows_chunk *chunk = rows->chunks;
    if (chunk == NULL || chunk->cap - chunk->len < len) {
        size_t cap = len < CHUNK_BYTES ? CHUNK_BYTES : len;
        chunk = quipu_alloc(1, sizeof *chunk + cap);
        if (chunk == NULL) {
            return NULL;
        }
        chunk->next = rows->chunks;
        chunk->len = 0;
        chunk->cap = cap;
        rows->chunks = chunk;
    }
    uint8_t *taken = chunk->bytes + chunk->len;
    chunk->len += len;
    rows->bytes += len;
    return taken;
}

/* ------------------------------------------------------------------ the hash table */

/* Eight bytes at a time, multiplied and folded. Keys are the application's own: whoever chooses
 * them to collide slows down nobody but the projection. */
static uint32_t key_hash(struct quipu_slice key)
{
    uint64_t hash = key.len * UINT64_C(0x9e3779b97f4a7c15);
    size_t at = 0;
    for (; key.len - at >= sizeof hash; at += sizeof hash) {
        uint64_t word;
        memcpy(&word, key.data + at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    uint64_t rest = 0;
    memcpy(&rest, key.data + at, key.len - at);
    hash = (hash ^ rest) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(hash ^ hash >> 32);
}

/* Keys often begin alike, so their last eight bytes are compared first. */
static bool change_has_key(const struct row_change *change, struct quipu_slice key)
{
    if (change->key_len != key.len) {
        return false;
    }
    if (key.len < sizeof(uint64_t)) {
        return memcmp(change->key, key.data, key.len) == 0;
    }
    size_t rest = key.len - sizeof(uint64_t);
    uint64_t own;
    uint64_t other;
    memcpy(&own, change->key + rest, sizeof own);
    memcpy(&other, key.data + rest, sizeof other);
    return own == other && memcmp(change->key, key.data, rest) == 0;
}

/* The slot of `key`, or the free one where it would go. There always is one: at most half full. */
static uint64_t *slot_of(const struct quipu_rows *rows, struct quipu_slice key, uint32_t hash)
{
    size_t mask = rows->slots_cap - 1;
    size_t at = hash & mask;
    while (rows->slots[at] != 0 &&
           ((uint32_t)(rows->slots[at] >> 32) != hash ||
            !change_has_key(&rows->changes[(uint32_t)rows->slots[at] - 1], key))) {
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
    uint64_t *slots = quipu_alloc_zero(cap, sizeof *slots);
    if (slots == NULL) {
        return no_memory(err);
    }
    quipu_free(rows->slots);
    rows->slots = slots;
    rows->slots_cap = cap;
    for (size_t i = 0; i < rows->changes_len; i++) {
        size_t at = rows->changes[i].hash & (cap - 1);
        while (slots[at] != 0) {
            at = (at + 1) & (cap - 1);
        }
        slots[at] = (uint64_t)rows->changes[i].hash << 32 | (i + 1);
    }
    return QUIPU_OK;
}

/* The change of `key`, or NULL where there is none. */
static struct row_change *change_find(struct quipu_rows *rows, struct quipu_slice key)
{
    if (rows->changes_len == 0) {
        return NULL;
    }
    if (change_has_key(&rows->changes[rows->last], key)) {
        return &rows->changes[rows->last];
    }
    uint32_t found = (uint32_t)*slot_of(rows, key, key_hash(key));
    if (found == 0) {
        return NULL;
    }
    rows->last = found - 1;
    return &rows->changes[found - 1];
}

/* A change of `key`, which has none yet. */
static enum quipu_status change_add(struct quipu_rows *rows, struct quipu_slice key,
                                    struct row_change **out, struct quipu_error *err)
{
    void *changes = rows->changes;
    enum quipu_status status = slots_reserve(rows, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!array_reserve(&changes, &rows->changes_cap, rows->changes_len, sizeof *rows->changes)) {
        return no_memory(err);
    }
    rows->changes = changes;
    uint8_t *copy = bytes_take(rows, key.len);
    if (copy == NULL) {
        return no_memory(err);
    }
    memcpy(copy, key.data, key.len);
    uint32_t hash = key_hash(key);
    *slot_of(rows, key, hash) = (uint64_t)hash << 32 | (rows->changes_len + 1);
    rows->last = rows->changes_len++;
    rows->bytes += sizeof **out + 2 * sizeof *rows->slots;
    *out = &rows->changes[rows->last];
    **out = (struct row_change){.key = copy, .hash = hash, .key_len = (uint16_t)key.len};
    return QUIPU_OK;
}

/* Remember how the change is, so that this event can be taken back. */
static enum quipu_status change_save(struct quipu_rows *rows, const struct row_change *change,
                                     bool is_written_over, struct quipu_error *err)
{
    void *undos = rows->undos;
    size_t saved_at = NO_SAVED;
    if (!array_reserve(&undos, &rows->undos_cap, rows->undos_len, sizeof *rows->undos)) {
        return no_memory(err);
    }
    rows->undos = undos;
    if (is_written_over) {
        saved_at = rows->undo_bytes.len;
        quipu_buf_append(&rows->undo_bytes, change->value, change->value_len);
        if (rows->undo_bytes.status != QUIPU_OK) {
            return no_memory(err);
        }
    }
    rows->undos[rows->undos_len++] = (struct row_undo){
        .index = (size_t)(change - rows->changes), .change = *change, .saved_at = saved_at};
    return QUIPU_OK;
}

static enum quipu_status change_put(struct quipu_rows *rows, struct row_change *change,
                                    struct quipu_slice value, struct quipu_error *err)
{
    bool fits = value.len <= change->value_cap;
    uint8_t *room = fits ? change->value : bytes_take(rows, value.len);
    if (!fits && room == NULL) {
        return no_memory(err);
    }
    enum quipu_status status = change_save(rows, change, fits && change->value_len > 0, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len > 0) {
        memmove(room, value.data, value.len); /* it may be this row's own value */
    }
    change->value = room;
    change->value_len = (uint32_t)value.len;
    change->value_cap = fits ? change->value_cap : (uint32_t)value.len;
    change->state = ROW_PUT;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ what a handler calls */

static enum quipu_status key_check(struct quipu_slice key, struct quipu_error *err)
{
    if (key.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "row: the key is empty, it has 1 to %d bytes",
                               QUIPU_TABLE_KEY_BYTES_MAX);
    }
    if (key.len > QUIPU_TABLE_KEY_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "row: a key has 1 to %d bytes, this one has %zu",
                               QUIPU_TABLE_KEY_BYTES_MAX, key.len);
    }
    return QUIPU_OK;
}

static enum quipu_status writable_check(const struct quipu_rows *rows, struct quipu_slice key,
                                        struct quipu_error *err)
{
    return rows->is_read_only ? quipu_error_set(err, QUIPU_MISUSE,
                                                "row: a reader changes no rows; have the "
                                                "projection's `apply` do it")
                              : key_check(key, err);
}

enum quipu_status quipu_rows_get(struct quipu_rows *rows, struct quipu_slice key,
                                 struct quipu_slice *value, struct quipu_error *err)
{
    enum quipu_status status = key_check(key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct row_change *change = change_find(rows, key);
    if (change == NULL || change->state == ROW_UNCHANGED) {
        return quipu_txn_table_get(rows->txn, rows->table, key, value, err);
    }
    if (change->state == ROW_DELETED) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "row: not found");
    }
    *value = quipu_slice(change->value, change->value_len);
    return QUIPU_OK;
}

enum quipu_status quipu_rows_put(struct quipu_rows *rows, struct quipu_slice key,
                                 struct quipu_slice value, struct quipu_error *err)
{
    enum quipu_status status = writable_check(rows, key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len > QUIPU_ROW_VALUE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "row: a value of %zu bytes, at most %u are allowed", value.len,
                               QUIPU_ROW_VALUE_BYTES_MAX);
    }
    struct row_change *change = change_find(rows, key);
    if (change == NULL) {
        status = change_add(rows, key, &change, err);
    }
    return status == QUIPU_OK ? change_put(rows, change, value, err) : status;
}

enum quipu_status quipu_rows_delete(struct quipu_rows *rows, struct quipu_slice key,
                                    struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = writable_check(rows, key, err);
    if (status == QUIPU_OK) {
        status = quipu_rows_get(rows, key, &value, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct row_change *change = change_find(rows, key);
    if (change == NULL) {
        status = change_add(rows, key, &change, err);
    }
    if (status == QUIPU_OK) {
        status = change_save(rows, change, false, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    /* The room stays as it is, for an event that is taken back. */
    change->value = NULL;
    change->value_len = 0;
    change->value_cap = 0;
    change->state = ROW_DELETED;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the end of a slice */

/* A change in the order that it is written in: eight bytes of its key behind what all keys have in
 * common decide almost every comparison without a look at the key. */
struct row_place {
    uint64_t prefix;
    const struct row_change *change;
};

static int place_compare(const void *a, const void *b)
{
    const struct row_place *left = a;
    const struct row_place *right = b;
    if (left->prefix != right->prefix) {
        return left->prefix < right->prefix ? -1 : 1;
    }
    return quipu_slice_compare(quipu_slice(left->change->key, left->change->key_len),
                               quipu_slice(right->change->key, right->change->key_len));
}

/* How many bytes all keys begin with. */
static size_t keys_common(const struct quipu_rows *rows)
{
    size_t common = rows->changes[0].key_len;
    const uint8_t *key = rows->changes[0].key;
    for (size_t i = 1; i < rows->changes_len && common > 0; i++) {
        const struct row_change *change = &rows->changes[i];
        size_t len = change->key_len < common ? change->key_len : common;
        size_t same = 0;
        while (same < len && change->key[same] == key[same]) {
            same++;
        }
        common = same;
    }
    return common;
}

static uint64_t key_prefix(const struct row_change *change, size_t from)
{
    uint8_t bytes[8] = {0};
    size_t len = change->key_len - from;
    memcpy(bytes, change->key + from, len < sizeof bytes ? len : sizeof bytes);
    return quipu_load_be64(bytes);
}

static enum quipu_status change_write(struct quipu_rows *rows, const struct row_change *change,
                                      struct quipu_error *err)
{
    struct quipu_slice key = quipu_slice(change->key, change->key_len);
    if (change->state == ROW_PUT) {
        return quipu_txn_table_put(rows->txn, rows->table, key,
                                   quipu_slice(change->value, change->value_len), err);
    }
    if (change->state == ROW_UNCHANGED) {
        return QUIPU_OK;
    }
    /* A row that was put and deleted within the slice was never there. */
    enum quipu_status status = quipu_txn_table_delete(rows->txn, rows->table, key, err);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

enum quipu_status rows_flush(struct quipu_rows *rows, struct quipu_error *err)
{
    size_t count = rows->changes_len;
    if (count == 0) {
        return QUIPU_OK;
    }
    struct row_place *places = quipu_alloc(count, sizeof *places);
    if (places == NULL) {
        return no_memory(err);
    }
    size_t common = keys_common(rows);
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct row_place){key_prefix(&rows->changes[i], common), &rows->changes[i]};
    }
    qsort(places, count, sizeof *places, place_compare);
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        status = change_write(rows, places[i].change, err);
    }
    quipu_free(places);
    return status;
}
