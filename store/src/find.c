/*
 * Finding an event by the CID of its envelope or payload, or by its event_id: the runs that may
 * hold it, then the tail. A hit on the first eight bytes is only a hint; the record decides. SPEC
 * §6.5.
 *
 * Of several events with one payload the first is wanted, so runs are asked oldest first.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "run_pages.h"

/* Guesses before a search goes on by doubling its steps, and where it ends by looking at each. */
#define GUESSES_MAX        4
#define NARROW_ENTRIES     8
#define FIRST_STEP_ENTRIES 4

/* What is looked for, and where the answer goes. */
struct wanted {
    enum quipu_index index;
    uint64_t prefix;
    const struct quipu_uuid *event_id;
    const struct quipu_cid *cid;
    enum quipu_block_kind kind;
    struct quipu_record record;
};

/* Is it the event at `position`? QUIPU_OK with wanted->record and kind, or QUIPU_NOT_FOUND. */
static enum quipu_status compare(struct quipu_txn *txn, struct wanted *wanted, uint64_t position,
                                 struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_record_at(txn, position, &wanted->record, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_CORRUPT : status;
    }
    if (wanted->event_id != NULL) {
        return quipu_uuid_equal(wanted->record.event_id, *wanted->event_id) ? QUIPU_OK
                                                                            : QUIPU_NOT_FOUND;
    }
    if (quipu_cid_equal(&wanted->record.envelope_cid, wanted->cid)) {
        wanted->kind = QUIPU_BLOCK_ENVELOPE;
        return QUIPU_OK;
    }
    wanted->kind = QUIPU_BLOCK_PAYLOAD;
    return quipu_cid_equal(&wanted->record.payload_cid, wanted->cid) ? QUIPU_OK : QUIPU_NOT_FOUND;
}

/* ------------------------------------------------------------------ runs */

static uint64_t prefix_at(struct quipu_slice entries, size_t i)
{
    return quipu_load_be64(entries.data + i * QUIPU_ENTRY_BYTES);
}

/* An interval of the entries: what is at `low` is below the prefix, what is at `high` is not. */
struct bracket {
    size_t low;
    size_t high;
    uint64_t low_prefix;
    uint64_t high_prefix;
};

/* Move one end of the bracket to entry i, which lies inside. True where it was the lower end. */
static bool bracket_take(struct bracket *bracket, struct quipu_slice entries, size_t i,
                         uint64_t prefix)
{
    uint64_t here = prefix_at(entries, i);
    if (here < prefix) {
        bracket->low = i;
        bracket->low_prefix = here;
        return true;
    }
    bracket->high = i;
    bracket->high_prefix = here;
    return false;
}

/*
 * First entry whose prefix is not below `prefix`, or their number. `first` is the prefix of entry
 * 0, `last` a bound of all of them.
 *
 * Digests are spread evenly, so a guess by proportion lands within the square root of the distance:
 * a page or two of memory are touched where bisection would touch ten. Event_ids are spread less
 * evenly; after a few guesses the search leaves the last one by steps that double, and bisects what
 * it has stepped over, so it is logarithmic whatever the entries are.
 */
static size_t lower_bound(struct quipu_slice entries, uint64_t prefix, uint64_t first,
                          uint64_t last)
{
    struct bracket at = {0, entries.len / QUIPU_ENTRY_BYTES, first, last};
    if (prefix <= first || prefix > last) {
        return prefix <= first ? 0 : at.high;
    }
    bool went_up = true;
    for (int i = 0; i < GUESSES_MAX && at.high - at.low > NARROW_ENTRIES; i++) {
        double share = (double)(prefix - at.low_prefix) / (double)(at.high_prefix - at.low_prefix);
        size_t inside = (size_t)(share * (double)(at.high - at.low));
        size_t guess = at.low + (inside < 1 ? 1 : inside);
        went_up = bracket_take(&at, entries, guess < at.high ? guess : at.high - 1, prefix);
    }
    for (size_t step = FIRST_STEP_ENTRIES; at.high - at.low > step; step *= 2) {
        size_t next = went_up ? at.low + step : at.high - step;
        if (bracket_take(&at, entries, next, prefix) != went_up) {
            break;
        }
    }
    while (at.high - at.low > 1) {
        (void)bracket_take(&at, entries, at.low + (at.high - at.low) / 2, prefix);
    }
    return at.high;
}

/* One segment of a run, with bounds of its prefixes that are known without touching it. */
struct segment {
    uint64_t number;
    uint64_t first;
    uint64_t last;
};

/* The segment in which the first entry with this prefix is, if there is one: the last that begins
 * below it, as those behind begin with it or above. */
static struct segment choose_segment(const struct wanted *wanted, const struct quipu_run *run,
                                     const uint8_t *firsts, uint64_t segments)
{
    uint64_t low = 0;
    uint64_t high = segments;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (quipu_load_be64(firsts + middle * 8) < wanted->prefix) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (struct segment){
        .number = low,
        .first = segments > 1 ? quipu_load_be64(firsts + low * 8) : run->min_key[wanted->index],
        .last = low + 1 < segments ? quipu_load_be64(firsts + (low + 1) * 8)
                                   : run->max_key[wanted->index],
    };
}

/* Ask the entries with the prefix from the i-th on. `*is_end` where a greater one was met. */
static enum quipu_status ask_entries(struct quipu_txn *txn, struct wanted *wanted,
                                     struct quipu_slice entries, size_t i, bool *is_end,
                                     struct quipu_error *err)
{
    size_t count = entries.len / QUIPU_ENTRY_BYTES;
    for (; i < count && prefix_at(entries, i) == wanted->prefix; i++) {
        uint64_t rest = quipu_load_be64(entries.data + i * QUIPU_ENTRY_BYTES + 8);
        uint64_t position = wanted->index == QUIPU_INDEX_CID ? rest >> 1 : rest;
        enum quipu_status status = compare(txn, wanted, position, err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
    }
    *is_end = i < count;
    return QUIPU_NOT_FOUND;
}

static enum quipu_status find_in_run(struct quipu_txn *txn, struct wanted *wanted,
                                     struct quipu_run *run, struct quipu_error *err)
{
    uint64_t segments = quipu_segments(quipu_run_entries(run, wanted->index), run->segment_entries);
    const uint8_t *firsts = NULL;
    enum quipu_status status = QUIPU_OK;
    if (segments > 1) {
        status = quipu_run_directory(txn, run, wanted->index, &firsts, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct segment segment = choose_segment(wanted, run, firsts, segments);
    bool is_end = false;
    struct quipu_slice entries;
    status = quipu_run_entries_of(txn, run, wanted->index, segment.number, &entries, err);
    if (status == QUIPU_OK) {
        size_t i = lower_bound(entries, wanted->prefix, segment.first, segment.last);
        status = ask_entries(txn, wanted, entries, i, &is_end, err);
    }
    /* Equal prefixes may go on in the segments behind. */
    for (uint64_t n = segment.number + 1; n < segments && status == QUIPU_NOT_FOUND && !is_end;
         n++) {
        status = quipu_run_entries_of(txn, run, wanted->index, n, &entries, err);
        if (status == QUIPU_OK) {
            status = ask_entries(txn, wanted, entries, 0, &is_end, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ the tail */

/* Ask the tail's candidates up to `last`, the oldest first. */
static enum quipu_status find_in_tail(struct quipu_txn *txn, const struct quipu_tail *tail,
                                      struct wanted *wanted, struct quipu_error *err)
{
    uint64_t floor = 0;
    for (;;) {
        /* Chains are newest first, and prefixes of unlike digests are hardly ever alike: so walk
         * the whole chain for the oldest one, and read one record only. */
        uint64_t oldest = 0;
        for (uint32_t node = quipu_tail_first(tail, wanted->prefix); node != 0;
             node = quipu_tail_next(tail, node)) {
            bool is_id = quipu_tail_key_of(node) == QUIPU_TAIL_EVENT_ID;
            uint64_t position = quipu_tail_position(tail, node);
            if (is_id == (wanted->index == QUIPU_INDEX_EVENT_ID) && position > floor &&
                position <= txn->last_position) {
                oldest = position;
            }
        }
        if (oldest == 0) {
            return QUIPU_NOT_FOUND;
        }
        enum quipu_status status = compare(txn, wanted, oldest, err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
        floor = oldest;
    }
}

/* Read the records that neither a run nor the shared tail covers for this snapshot. */
static enum quipu_status find_in_log(struct quipu_txn *txn, struct wanted *wanted,
                                     struct quipu_error *err)
{
    for (uint64_t position = txn->indexed + 1; position <= txn->last_position; position++) {
        enum quipu_status status = compare(txn, wanted, position, err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
    }
    return QUIPU_NOT_FOUND;
}

/* The readers' tail is shared by snapshots of different ages. It covers base+1 … base+count, which
 * are committed and never change; what is beyond a snapshot's last position is left out above. */
static enum quipu_status find_in_read_tail(struct quipu_txn *txn, struct wanted *wanted,
                                           struct quipu_error *err)
{
    struct quipu_store *store = txn->store;
    struct quipu_tail *tail = &store->read_tail;
    if (txn->last_position == txn->indexed) {
        return QUIPU_NOT_FOUND;
    }
    if (txn->last_position - txn->indexed > tail->cap) {
        return find_in_log(txn, wanted, err);
    }
    pthread_mutex_lock(&store->read_tail_mutex);
    if (txn->indexed < tail->base || txn->indexed > tail->base + tail->count ||
        txn->last_position - tail->base > tail->cap) {
        quipu_tail_reset(tail, txn->indexed);
    }
    enum quipu_status status = quipu_tail_catch_up(txn, tail, txn->last_position, err);
    if (status == QUIPU_OK) {
        status = find_in_tail(txn, tail, wanted, err);
    }
    pthread_mutex_unlock(&store->read_tail_mutex);
    return status;
}

/* ------------------------------------------------------------------ both */

/* Runs that an earlier snapshot of this handle had too keep their addresses. */
static void take_over_pages(struct quipu_run *run, struct quipu_run *old, uint32_t old_count)
{
    for (uint32_t i = 0; i < old_count; i++) {
        if (old[i].number == run->number) {
            run->pages = old[i].pages;
            old[i].pages = NULL;
        }
    }
}

static enum quipu_status decode_runs(struct quipu_txn *txn, const struct quipu_manifest_view *view,
                                     struct quipu_error *err)
{
    struct quipu_run *runs = quipu_alloc(view->run_count, sizeof *runs);
    if (runs == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %u runs", view->run_count);
    }
    for (uint32_t i = 0; i < view->run_count; i++) {
        enum quipu_status status = quipu_manifest_run(view, i, &runs[i], err);
        if (status != QUIPU_OK) {
            quipu_free(runs);
            return status;
        }
    }
    for (uint32_t i = 0; i < view->run_count; i++) {
        take_over_pages(&runs[i], txn->runs, txn->run_count);
    }
    quipu_runs_release(txn);
    txn->runs = runs;
    txn->run_count = view->run_count;
    return QUIPU_OK;
}

void quipu_runs_release(struct quipu_txn *txn)
{
    for (uint32_t i = 0; i < txn->run_count; i++) {
        quipu_run_pages_release(&txn->runs[i]);
    }
    quipu_free(txn->runs);
    txn->runs = NULL;
    txn->run_count = 0;
}

/* Read the runs of this snapshot, once; and not even that where the snapshot that this handle had
 * before had the same. */
static enum quipu_status load_runs(struct quipu_txn *txn, struct quipu_error *err)
{
    if (txn->has_runs) {
        return QUIPU_OK;
    }
    struct quipu_slice bytes;
    struct quipu_manifest_view view = {0};
    enum quipu_status status = quipu_manifest_load(txn, &bytes, err);
    if (status == QUIPU_OK && bytes.len > 0) {
        status = quipu_manifest_view(bytes, &view, err);
    }
    if (status == QUIPU_OK && view.indexed > txn->last_position) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "%s: %" PRIu64 " positions are indexed, the log has %" PRIu64,
                                 txn->store->path, view.indexed, txn->last_position);
    }
    /* The manifest changes with what is indexed, and never otherwise. */
    if (status == QUIPU_OK && (view.indexed != txn->indexed || view.run_count != txn->run_count)) {
        status = decode_runs(txn, &view, err);
    }
    if (status == QUIPU_OK) {
        txn->indexed = view.indexed;
        txn->has_runs = true;
    }
    return status;
}

/* QUIPU_OK with wanted->record and kind, QUIPU_NOT_FOUND without a line, or a failure. */
static enum quipu_status find(struct quipu_txn *txn, struct wanted *wanted, struct quipu_error *err)
{
    enum quipu_status status = txn->is_write ? quipu_writer_sync(txn, err) : load_runs(txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    struct quipu_run *runs = txn->is_write ? manifest->runs : txn->runs;
    uint32_t count = txn->is_write ? manifest->run_count : txn->run_count;
    for (uint32_t i = 0; i < count; i++) {
        struct quipu_run *run = &runs[i];
        if (wanted->prefix < run->min_key[wanted->index] ||
            wanted->prefix > run->max_key[wanted->index]) {
            continue;
        }
        status = find_in_run(txn, wanted, run, err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
    }
    return txn->is_write ? find_in_tail(txn, &txn->store->writer.tail, wanted, err)
                         : find_in_read_tail(txn, wanted, err);
}

enum quipu_status quipu_txn_find_cid(struct quipu_txn *txn, const struct quipu_cid *cid,
                                     struct quipu_record *out, enum quipu_block_kind *kind,
                                     struct quipu_error *err)
{
    struct wanted wanted = {
        .index = QUIPU_INDEX_CID, .prefix = quipu_load_be64(cid->digest), .cid = cid};
    enum quipu_status status = find(txn, &wanted, err);
    if (status == QUIPU_NOT_FOUND && err != NULL) {
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(cid, text);
        return quipu_error_set(err, status, "no block %s in this store", text);
    }
    if (status == QUIPU_OK) {
        *out = wanted.record;
        *kind = wanted.kind;
    }
    return status;
}

enum quipu_status quipu_txn_find_event_id(struct quipu_txn *txn, struct quipu_uuid event_id,
                                          struct quipu_record *out, struct quipu_error *err)
{
    struct wanted wanted = {.index = QUIPU_INDEX_EVENT_ID,
                            .prefix = quipu_load_be64(event_id.bytes),
                            .event_id = &event_id};
    enum quipu_status status = find(txn, &wanted, err);
    if (status == QUIPU_NOT_FOUND && err != NULL) {
        char text[QUIPU_UUID_TEXT_BYTES];
        quipu_uuid_format(event_id, text);
        return quipu_error_set(err, status, "no event %s in this store", text);
    }
    if (status == QUIPU_OK) {
        *out = wanted.record;
    }
    return status;
}
