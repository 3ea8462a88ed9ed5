/*
 * Finding events by a term: an event type or a correlation_id. The runs cover one range of
 * positions after the other, and a term's entries in a run are in the order of their positions; so
 * the nearest one is in the run that covers the position asked for, or in the next that has the
 * term at all, or in the tail. Entries are hints: the record is compared, and so are the entries on
 * both sides of a term's line, that none of it has been changed into another's. SPEC §6.5.
 *
 * The event that a correlation is named after has no entry: its event_id is its correlation_id, and
 * it is found by that.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "record.h"
#include "run_search.h"

/* What is looked for. */
struct search {
    struct quipu_term term;
    uint32_t hash;
    bool is_forwards;
    uint64_t own_position; /* of the event that the correlation is named after, 0: none */
};

static bool is_match(const struct search *search, const struct quipu_record *record)
{
    struct quipu_slice value = search->term.value;
    return search->term.kind == QUIPU_TERM_EVENT_TYPE
               ? quipu_slice_equal(record->event_type, value)
               : memcmp(record->correlation_id.bytes, value.data, QUIPU_UUID_BYTES) == 0;
}

/* Another term may have the same hash; but an entry for it is of a record that has that hash. */
static bool has_hash(const struct search *search, const struct quipu_record *record)
{
    struct quipu_entry entry = {search->hash, record->position};
    return quipu_run_entry_is_true(record, QUIPU_INDEX_TERM, &entry);
}

/* ------------------------------------------------------------------ runs */

/* Place the cursor at the term's nearest entry in the run. QUIPU_DONE: it has none. */
static enum quipu_status seek_in_run(struct quipu_txn *txn, const struct search *search,
                                     struct quipu_run *run, uint64_t from, struct quipu_error *err)
{
    struct quipu_run_cursor *cursor = &txn->term_cursor.cursor;
    uint64_t offset = from > run->first_position ? from - run->first_position : 0;
    uint64_t key = quipu_term_key(search->hash, offset);
    uint64_t least = search->is_forwards ? key : quipu_term_key(search->hash, 0);
    uint64_t most = search->is_forwards ? quipu_term_key(search->hash, UINT32_MAX) : key;
    if (most < run->min_key[QUIPU_INDEX_TERM] || least > run->max_key[QUIPU_INDEX_TERM]) {
        uint64_t outside = most < run->min_key[QUIPU_INDEX_TERM] ? most : least;
        enum quipu_status fence = quipu_run_check_fence(txn, run, QUIPU_INDEX_TERM, outside, err);
        return fence == QUIPU_OK ? QUIPU_DONE : fence;
    }
    /* Offsets are below 2^32 - 1, so adding one stays within the term. */
    uint64_t sought = search->is_forwards ? key : key + 1;
    enum quipu_status status = quipu_run_seek(txn, run, QUIPU_INDEX_TERM, sought, cursor, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    enum quipu_status checked = quipu_run_check_place(txn, cursor, status, sought, err);
    if (checked != QUIPU_OK) {
        return checked;
    }
    return search->is_forwards ? status : quipu_run_prev(txn, cursor, err);
}

/* Where the cursor is, if it is at the term: its position, else 0. */
static uint64_t take_entry(struct quipu_txn *txn, const struct search *search)
{
    struct quipu_term_cursor *at = &txn->term_cursor;
    struct quipu_entry entry = quipu_run_entry(&at->cursor);
    at->is_valid = entry.prefix == search->hash;
    if (!at->is_valid) {
        return 0;
    }
    at->hash = search->hash;
    at->position = entry.rest;
    at->writes = txn->writes;
    return entry.rest;
}

/* One step from where the last search has led, if that leads to what this one wants; else 0. */
static enum quipu_status step_on(struct quipu_txn *txn, const struct search *search, uint64_t from,
                                 uint64_t *position, struct quipu_error *err)
{
    struct quipu_term_cursor *at = &txn->term_cursor;
    *position = 0;
    if (!at->is_valid || at->hash != search->hash || at->writes != txn->writes ||
        from != (search->is_forwards ? at->position + 1 : at->position - 1)) {
        return QUIPU_OK;
    }
    at->is_valid = false;
    enum quipu_status status = search->is_forwards ? quipu_run_next(txn, &at->cursor, err)
                                                   : quipu_run_prev(txn, &at->cursor, err);
    if (status == QUIPU_OK) {
        status = quipu_run_check_order(txn, &at->cursor, true, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_run_check_order(txn, &at->cursor, false, err);
    }
    if (status != QUIPU_OK) {
        return status == QUIPU_DONE ? QUIPU_OK : status;
    }
    *position = take_entry(txn, search);
    /* The entry that ends the term's line: is it of another term by right? */
    return *position == 0 ? quipu_run_check_entry(txn, &at->cursor, err) : QUIPU_OK;
}

/* Number of the run that covers the position, or of the next one on this side; count: none. */
static uint32_t run_of(const struct quipu_runs *all, uint64_t position)
{
    uint32_t low = 0;
    uint32_t high = all->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (all->runs[middle].last_position < position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The term's nearest entry in the runs: its position, 0 where there is none. */
static enum quipu_status seek_nearest(struct quipu_txn *txn, const struct search *search,
                                      const struct quipu_runs *all, uint64_t from,
                                      uint64_t *position, struct quipu_error *err)
{
    enum quipu_status status = step_on(txn, search, from, position, err);
    if (status != QUIPU_OK || *position != 0) {
        return status;
    }
    uint64_t start = from < all->indexed || search->is_forwards ? from : all->indexed;
    uint32_t which = run_of(all, start);
    while (which < all->count) {
        struct quipu_run *run = &all->runs[which];
        uint64_t within = start < run->last_position ? start : run->last_position;
        status = seek_in_run(txn, search, run, within, err);
        if (status == QUIPU_OK) {
            *position = take_entry(txn, search);
        }
        if ((status != QUIPU_OK && status != QUIPU_DONE) || *position != 0) {
            return status;
        }
        which = search->is_forwards ? which + 1 : which - 1; /* behind all, below the first one */
    }
    return QUIPU_OK;
}

/* The same. The event that the correlation is named after has no entry; where it comes first, the
 * entry is not asked for again, so it is held against its record here. */
static enum quipu_status nearest_in_runs(struct quipu_txn *txn, const struct search *search,
                                         const struct quipu_runs *all, uint64_t from,
                                         uint64_t *position, struct quipu_error *err)
{
    enum quipu_status status = seek_nearest(txn, search, all, from, position, err);
    uint64_t own = search->own_position;
    if (status != QUIPU_OK || *position == 0 || own == 0) {
        return status;
    }
    const struct quipu_run_cursor *cursor = &txn->term_cursor.cursor;
    bool is_first =
        search->is_forwards ? from <= own && own < *position : *position < own && own <= from;
    if (*position == own) {
        return quipu_run_is_damaged(txn, cursor, err);
    }
    return is_first ? quipu_run_check_entry(txn, cursor, err) : QUIPU_OK;
}

/* ------------------------------------------------------------------ the tail */

static enum quipu_status nearest_in_tail(struct quipu_txn *txn, const struct search *search,
                                         uint64_t indexed, uint64_t from, uint64_t *position,
                                         struct quipu_error *err)
{
    struct quipu_tail *tail;
    *position = 0;
    enum quipu_status status = quipu_txn_tail_enter(txn, &tail, err);
    if (status != QUIPU_OK) {
        return status;
    }
    enum quipu_tail_term term =
        search->term.kind == QUIPU_TERM_EVENT_TYPE ? QUIPU_TAIL_TYPE : QUIPU_TAIL_CORRELATION;
    uint64_t found;
    if (tail == NULL) {
        found = search->is_forwards && from <= indexed ? indexed + 1 : from; /* each is asked */
    } else if (search->is_forwards) {
        found =
            quipu_tail_term_behind(tail, term, search->hash, from > indexed ? from : indexed + 1);
    } else {
        found = quipu_tail_term_before(tail, term, search->hash, from);
    }
    quipu_txn_tail_leave(txn, tail);
    /* The readers' tail may begin earlier and end later than this snapshot's. */
    *position = found > indexed && found <= txn->last_position ? found : 0;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ all of it */

/* Position of the nearest event that may have the term, 0: none. */
static enum quipu_status nearest(struct quipu_txn *txn, const struct search *search,
                                 const struct quipu_runs *all, uint64_t from, uint64_t *position,
                                 struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    uint64_t own = search->own_position;
    *position = 0;
    if (search->is_forwards) {
        if (from <= all->indexed) {
            status = nearest_in_runs(txn, search, all, from, position, err);
        }
        if (status == QUIPU_OK && *position == 0) {
            status = nearest_in_tail(txn, search, all->indexed, from, position, err);
        }
        if (own >= from && own != 0 && (own < *position || *position == 0)) {
            *position = own;
        }
        return status;
    }
    if (from > all->indexed) {
        status = nearest_in_tail(txn, search, all->indexed, from, position, err);
    }
    if (status == QUIPU_OK && *position == 0) {
        status = nearest_in_runs(txn, search, all, from, position, err);
    }
    if (own <= from && own > *position) {
        *position = own;
    }
    return status;
}

/* Look for the event that the correlation is named after, unless the last search did. */
static enum quipu_status find_own(struct quipu_txn *txn, struct search *search,
                                  struct quipu_error *err)
{
    struct quipu_term_cursor *at = &txn->term_cursor;
    struct quipu_uuid id;
    memcpy(id.bytes, search->term.value.data, sizeof id.bytes);
    if (!at->has_own || at->own_writes != txn->writes || !quipu_uuid_equal(at->own_id, id)) {
        struct quipu_record record;
        struct quipu_error failure;
        enum quipu_status status = quipu_txn_find_event_id(txn, id, &record, &failure);
        if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
            if (err != NULL) {
                *err = failure;
            }
            return status;
        }
        bool is_own = status == QUIPU_OK && quipu_uuid_equal(record.correlation_id, id);
        at->has_own = true;
        at->own_id = id;
        at->own_position = is_own ? record.position : 0;
        at->own_writes = txn->writes;
    }
    search->own_position = at->own_position;
    return QUIPU_OK;
}

static bool term_is_possible(struct quipu_term term)
{
    return term.kind == QUIPU_TERM_EVENT_TYPE
               ? term.value.len > 0 && term.value.len <= QUIPU_TERM_BYTES_MAX
               : term.kind == QUIPU_TERM_CORRELATION && term.value.len == QUIPU_UUID_BYTES;
}

/* The position to begin at, itself included; 0: there is nothing on this side. */
static uint64_t first_position(uint64_t from, enum quipu_seek seek, uint64_t last)
{
    switch (seek) {
    case QUIPU_SEEK_GE:
        return from == 0 ? 1 : from;
    case QUIPU_SEEK_GT:
        return from == UINT64_MAX ? 0 : from + 1;
    case QUIPU_SEEK_LE:
        return from < last ? from : last;
    case QUIPU_SEEK_LT:
        return from <= last && from > 0 ? from - 1 : (from == 0 ? 0 : last);
    }
    return 0;
}

/* The record at a position that may have the term. @retval QUIPU_NOT_FOUND  it has another one */
static enum quipu_status compare(struct quipu_txn *txn, const struct search *search,
                                 uint64_t position, uint64_t indexed, struct quipu_record *out,
                                 struct quipu_error *err)
{
    enum quipu_status status = quipu_log_indexed(txn, position, out, err);
    if (status != QUIPU_OK || is_match(search, out)) {
        return status;
    }
    if (position <= indexed && !has_hash(search, out)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: the index of types and correlations names position %" PRIu64
                               " for one that it has not; run `quipu verify --repair-indexes`",
                               txn->store->path, position);
    }
    return QUIPU_NOT_FOUND;
}

enum quipu_status quipu_txn_find_term(struct quipu_txn *txn, struct quipu_term term, uint64_t from,
                                      enum quipu_seek seek, struct quipu_record *out,
                                      struct quipu_error *err)
{
    uint64_t last = txn->last_position;
    uint64_t position = first_position(from, seek, last);
    if (!term_is_possible(term) || position == 0 || position > last) {
        return QUIPU_DONE;
    }
    struct search search = {
        .term = term,
        .hash = quipu_term_hash(term.kind, term.value),
        .is_forwards = seek == QUIPU_SEEK_GE || seek == QUIPU_SEEK_GT,
    };
    struct quipu_runs all;
    struct quipu_record record;
    enum quipu_status status = quipu_txn_runs(txn, &all, err);
    if (status == QUIPU_OK && term.kind == QUIPU_TERM_CORRELATION) {
        status = find_own(txn, &search, err);
    }
    while (status == QUIPU_OK && position != 0 && position <= last) {
        uint64_t found = 0;
        status = nearest(txn, &search, &all, position, &found, err);
        if (status == QUIPU_OK && found == 0) {
            return QUIPU_DONE;
        }
        if (status == QUIPU_OK) {
            status = compare(txn, &search, found, all.indexed, &record, err);
            if (status == QUIPU_OK) {
                *out = record;
                return QUIPU_OK;
            }
            status = status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
        }
        position = search.is_forwards ? found + 1 : found - 1;
    }
    if (status == QUIPU_OK) {
        return QUIPU_DONE;
    }
    txn->term_cursor.is_valid = false; /* it may be at what is damaged */
    return status;
}
