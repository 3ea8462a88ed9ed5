/*
 * Counts under names, as a sorted array: names are few, events are many. Pure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tally.h"

#include <inttypes.h>
#include <string.h>

#include "quipu/alloc.h"

#define TALLY_FIRST_CAP 16

void quipu_tally_release(struct quipu_tally *tally)
{
    for (size_t i = 0; tally->owns_names && i < tally->count; i++) {
        /* The tally made this copy itself, so it may be given back. */
        quipu_free((void *)(uintptr_t)tally->entries[i].name.data);
    }
    quipu_free(tally->entries);
    *tally = (struct quipu_tally){0};
}

int quipu_tally_order(struct quipu_slice a, struct quipu_slice b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return quipu_slice_compare(a, b);
}

bool quipu_tally_find(struct quipu_tally *tally, struct quipu_slice name, size_t *index)
{
    if (tally->last_hit < tally->count &&
        quipu_slice_equal(tally->entries[tally->last_hit].name, name)) {
        *index = tally->last_hit;
        return true;
    }
    size_t low = 0;
    size_t high = tally->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = quipu_tally_order(tally->entries[middle].name, name);
        if (order == 0) {
            tally->last_hit = middle;
            *index = middle;
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index = low;
    return false;
}

void quipu_tally_entry_count(struct quipu_tally_entry *entry, uint64_t number)
{
    if (entry->count == 0 || number < entry->first) {
        entry->first = number;
    }
    if (entry->count == 0 || number > entry->last) {
        entry->last = number;
    }
    entry->count++;
}

static enum quipu_status tally_grow(struct quipu_tally *tally, struct quipu_error *err)
{
    if (tally->count < tally->cap) {
        return QUIPU_OK;
    }
    size_t cap = tally->cap == 0 ? TALLY_FIRST_CAP : tally->cap * 2;
    struct quipu_tally_entry *grown = quipu_realloc(tally->entries, cap, sizeof *grown);
    if (grown == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to count under %zu names", cap);
    }
    tally->entries = grown;
    tally->cap = cap;
    return QUIPU_OK;
}

static enum quipu_status tally_insert(struct quipu_tally *tally, size_t index,
                                      struct quipu_slice name, struct quipu_error *err)
{
    enum quipu_status status = tally_grow(tally, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* One byte more, so that the empty name has a copy too. */
    uint8_t *copy = quipu_alloc(name.len + 1, 1);
    if (copy == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a name of %zu bytes", name.len);
    }
    if (name.len > 0) {
        memcpy(copy, name.data, name.len);
    }
    memmove(tally->entries + index + 1, tally->entries + index,
            (tally->count - index) * sizeof *tally->entries);
    tally->entries[index] = (struct quipu_tally_entry){.name = quipu_slice(copy, name.len)};
    tally->count++;
    tally->owns_names = true;
    return QUIPU_OK;
}

enum quipu_status quipu_tally_count(struct quipu_tally *tally, struct quipu_slice name,
                                    uint64_t number, size_t names_max, struct quipu_error *err)
{
    size_t index = 0;
    if (!quipu_tally_find(tally, name, &index)) {
        if (tally->count >= names_max) {
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "more than %zu names to count under: export in parts",
                                   names_max);
        }
        enum quipu_status status = tally_insert(tally, index, name, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    quipu_tally_entry_count(&tally->entries[index], number);
    return QUIPU_OK;
}

enum quipu_status quipu_tally_append(struct quipu_tally *tally,
                                     const struct quipu_tally_entry *entry, struct quipu_error *err)
{
    if (tally->count > 0 &&
        quipu_tally_order(tally->entries[tally->count - 1].name, entry->name) >= 0) {
        return quipu_error_set(err, QUIPU_BUNDLE, "a name stands out of order or twice");
    }
    enum quipu_status status = tally_grow(tally, err);
    if (status == QUIPU_OK) {
        tally->entries[tally->count] = *entry;
        tally->count++;
    }
    return status;
}
