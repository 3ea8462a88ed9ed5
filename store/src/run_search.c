/*
 * Searching in the sorted entries of one run, and stepping through them over the borders of its
 * segments. Its key is the first eight bytes of an entry, whichever index it is of. SPEC §6.5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "run_search.h"

#include <inttypes.h>

#include "internal/bytes.h"
#include "record.h"
#include "run_pages.h"

/* Guesses before a search goes on by doubling its steps, and where it ends by looking at each. */
#define GUESSES_MAX        4
#define NARROW_ENTRIES     8
#define FIRST_STEP_ENTRIES 4

/* An interval of the entries: what is at `low` is below the key, what is at `high` is not. */
struct bracket {
    const uint8_t *entries;
    size_t entry_bytes;
    size_t low;
    size_t high;
    uint64_t low_key;
    uint64_t high_key;
};

/* Move one end of the bracket to entry i, which lies inside. True where it was the lower end. */
static bool bracket_take(struct bracket *bracket, size_t i, uint64_t key)
{
    uint64_t here = quipu_load_be64(bracket->entries + i * bracket->entry_bytes);
    if (here < key) {
        bracket->low = i;
        bracket->low_key = here;
        return true;
    }
    bracket->high = i;
    bracket->high_key = here;
    return false;
}

/*
 * First entry whose key is not below `key`, or their number. `first` is the key of entry 0, `last`
 * a bound of all of them.
 *
 * Digests are spread evenly, so a guess by proportion lands within the square root of the distance:
 * a page or two of memory are touched where bisection would touch ten. Event_ids and terms are
 * spread less evenly; after a few guesses the search leaves the last one by steps that double, and
 * bisects what it has stepped over, so it is logarithmic whatever the entries are.
 */
static size_t lower_bound(struct quipu_slice entries, size_t entry_bytes, uint64_t key,
                          uint64_t first, uint64_t last)
{
    struct bracket at = {entries.data, entry_bytes, 0, entries.len / entry_bytes, first, last};
    if (key <= first || key > last) {
        return key <= first ? 0 : at.high;
    }
    bool went_up = true;
    for (int i = 0; i < GUESSES_MAX && at.high - at.low > NARROW_ENTRIES; i++) {
        double share = (double)(key - at.low_key) / (double)(at.high_key - at.low_key);
        size_t inside = (size_t)(share * (double)(at.high - at.low));
        size_t guess = at.low + (inside < 1 ? 1 : inside);
        went_up = bracket_take(&at, guess < at.high ? guess : at.high - 1, key);
    }
    for (size_t step = FIRST_STEP_ENTRIES; at.high - at.low > step; step *= 2) {
        size_t next = went_up ? at.low + step : at.high - step;
        if (bracket_take(&at, next, key) != went_up) {
            break;
        }
    }
    while (at.high - at.low > 1) {
        (void)bracket_take(&at, at.low + (at.high - at.low) / 2, key);
    }
    return at.high;
}

/* One segment of a run, with bounds of its keys that are known without touching it. */
struct segment {
    uint64_t number;
    uint64_t first;
    uint64_t last;
};

/* The segment in which the first entry with this key is, if there is one: the last that begins
 * below it, as those behind begin with it or above. */
static struct segment choose_segment(const struct quipu_run *run, enum quipu_index index,
                                     uint64_t key, const uint8_t *firsts, uint64_t segments)
{
    uint64_t low = 0;
    uint64_t high = segments;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (quipu_load_be64(firsts + middle * 8) < key) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (struct segment){
        .number = low,
        .first = segments > 1 ? quipu_load_be64(firsts + low * 8) : run->min_key[index],
        .last = low + 1 < segments ? quipu_load_be64(firsts + (low + 1) * 8) : run->max_key[index],
    };
}

static enum quipu_status load_segment(struct quipu_txn *txn, struct quipu_run_cursor *cursor,
                                      uint64_t segment, struct quipu_error *err)
{
    struct quipu_slice entries;
    enum quipu_status status =
        quipu_run_entries_of(txn, cursor->run, cursor->index, segment, &entries, err);
    if (status == QUIPU_OK) {
        cursor->segment = segment;
        cursor->entries = entries;
    }
    return status;
}

/* From behind the last entry of a segment to the first of the next one. */
static enum quipu_status settle(struct quipu_txn *txn, struct quipu_run_cursor *cursor,
                                struct quipu_error *err)
{
    if (cursor->at < cursor->entries.len) {
        return QUIPU_OK;
    }
    if (cursor->segment + 1 == quipu_run_segments(cursor->run, cursor->index)) {
        return QUIPU_DONE;
    }
    enum quipu_status status = load_segment(txn, cursor, cursor->segment + 1, err);
    cursor->at = status == QUIPU_OK ? 0 : cursor->at;
    return status;
}

enum quipu_status quipu_run_seek(struct quipu_txn *txn, struct quipu_run *run,
                                 enum quipu_index index, uint64_t key, struct quipu_run_cursor *out,
                                 struct quipu_error *err)
{
    *out = (struct quipu_run_cursor){.run = run, .index = index};
    uint64_t segments = quipu_run_segments(run, index);
    const uint8_t *firsts = NULL;
    enum quipu_status status = QUIPU_OK;
    if (segments > 1) {
        status = quipu_run_directory(txn, run, index, &firsts, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct segment segment = choose_segment(run, index, key, firsts, segments);
    status = load_segment(txn, out, segment.number, err);
    if (status != QUIPU_OK) {
        return status;
    }
    size_t entry_bytes = quipu_entry_bytes(index);
    out->at =
        entry_bytes * lower_bound(out->entries, entry_bytes, key, segment.first, segment.last);
    return settle(txn, out, err);
}

enum quipu_status quipu_run_next(struct quipu_txn *txn, struct quipu_run_cursor *cursor,
                                 struct quipu_error *err)
{
    cursor->at += quipu_entry_bytes(cursor->index);
    return settle(txn, cursor, err);
}

enum quipu_status quipu_run_prev(struct quipu_txn *txn, struct quipu_run_cursor *cursor,
                                 struct quipu_error *err)
{
    if (cursor->at == 0) {
        if (cursor->segment == 0) {
            return QUIPU_DONE;
        }
        enum quipu_status status = load_segment(txn, cursor, cursor->segment - 1, err);
        if (status != QUIPU_OK) {
            return status;
        }
        cursor->at = cursor->entries.len;
    }
    cursor->at -= quipu_entry_bytes(cursor->index);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ is it true */

bool quipu_run_entry_is_true(const struct quipu_record *record, enum quipu_index index,
                             const struct quipu_entry *entry)
{
    uint32_t type;
    uint32_t correlation;
    switch (index) {
    case QUIPU_INDEX_CID:
        return entry->prefix == quipu_load_be64((entry->rest & 1) == 0
                                                    ? record->envelope_cid.digest
                                                    : record->payload_cid.digest);
    case QUIPU_INDEX_EVENT_ID:
        return entry->prefix == quipu_load_be64(record->event_id.bytes);
    case QUIPU_INDEX_TERM:
        quipu_record_terms(record, &type, &correlation);
        return entry->prefix == type || (correlation != 0 && entry->prefix == correlation);
    case QUIPU_INDEXES:
        break;
    }
    return false;
}

enum quipu_status quipu_run_is_damaged(const struct quipu_txn *txn,
                                       const struct quipu_run_cursor *cursor,
                                       struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "%s: run %" PRIu64 " of %s has a wrong entry; run `quipu verify "
                           "--repair-indexes`",
                           txn->store->path, cursor->run->number,
                           quipu_db_name(quipu_index_db(cursor->index)));
}

static uint64_t key_at(const struct quipu_run_cursor *cursor)
{
    return quipu_load_be64(cursor->entries.data + cursor->at);
}

enum quipu_status quipu_run_check_entry(struct quipu_txn *txn,
                                        const struct quipu_run_cursor *cursor,
                                        struct quipu_error *err)
{
    struct quipu_entry entry = quipu_run_entry(cursor);
    uint64_t position = quipu_entry_position(cursor->index, &entry);
    struct quipu_record record;
    if (position < cursor->run->first_position || position > cursor->run->last_position) {
        return quipu_run_is_damaged(txn, cursor, err);
    }
    enum quipu_status status = quipu_log_indexed(txn, position, &record, err);
    return status == QUIPU_OK && !quipu_run_entry_is_true(&record, cursor->index, &entry)
               ? quipu_run_is_damaged(txn, cursor, err)
               : status;
}

enum quipu_status quipu_run_check_order(struct quipu_txn *txn,
                                        const struct quipu_run_cursor *cursor, bool is_behind,
                                        struct quipu_error *err)
{
    struct quipu_run_cursor beside = *cursor;
    enum quipu_status status =
        is_behind ? quipu_run_next(txn, &beside, err) : quipu_run_prev(txn, &beside, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_DONE ? QUIPU_OK : status;
    }
    struct quipu_entry here = quipu_run_entry(cursor);
    struct quipu_entry there = quipu_run_entry(&beside);
    bool is_sorted =
        is_behind ? quipu_entry_is_below(&here, &there) : quipu_entry_is_below(&there, &here);
    return is_sorted ? QUIPU_OK : quipu_run_is_damaged(txn, cursor, err);
}

/* One of the two between which the key belongs. */
static enum quipu_status check_side(struct quipu_txn *txn, const struct quipu_run_cursor *cursor,
                                    bool is_behind, uint64_t key, struct quipu_error *err)
{
    if (is_behind != (key_at(cursor) >= key)) {
        return quipu_run_is_damaged(txn, cursor, err);
    }
    enum quipu_status status = quipu_run_check_entry(txn, cursor, err);
    return status == QUIPU_OK ? quipu_run_check_order(txn, cursor, is_behind, err) : status;
}

enum quipu_status quipu_run_check_place(struct quipu_txn *txn,
                                        const struct quipu_run_cursor *cursor,
                                        enum quipu_status seek, uint64_t key,
                                        struct quipu_error *err)
{
    struct quipu_run_cursor before = *cursor;
    enum quipu_status status = quipu_run_prev(txn, &before, err);
    if (status == QUIPU_OK) {
        status = check_side(txn, &before, false, key, err);
    }
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    return seek == QUIPU_OK ? check_side(txn, cursor, true, key, err) : QUIPU_OK;
}

enum quipu_status quipu_run_check_fence(struct quipu_txn *txn, struct quipu_run *run,
                                        enum quipu_index index, uint64_t key,
                                        struct quipu_error *err)
{
    struct quipu_run_cursor cursor = {.run = run, .index = index};
    bool is_below = key < run->min_key[index];
    uint64_t fence = is_below ? run->min_key[index] : run->max_key[index];
    uint64_t last = quipu_run_segments(run, index) - 1;
    enum quipu_status status = load_segment(txn, &cursor, is_below ? 0 : last, err);
    if (status != QUIPU_OK) {
        return status;
    }
    cursor.at = is_below ? 0 : cursor.entries.len - quipu_entry_bytes(index);
    return key_at(&cursor) == fence ? QUIPU_OK : quipu_run_is_damaged(txn, &cursor, err);
}
