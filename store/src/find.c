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

#include "internal.h"
#include "internal/bytes.h"
#include "quipu/alloc.h"

/* Below so many entries plain bisection is as good as guessing. */
#define GUESS_ENTRIES_MIN 64

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

/* First entry whose prefix is not below `prefix`, or their number. Digests are spread evenly, so
 * guessing from the ends gets close in a step or two; each guess is followed by a bisection, which
 * bounds the steps whatever the entries are. */
static size_t lower_bound(struct quipu_slice entries, uint64_t prefix)
{
    size_t low = 0; /* everything before it is below */
    size_t high = entries.len / QUIPU_ENTRY_BYTES;
    bool guess = true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (guess && high - low > GUESS_ENTRIES_MIN) {
            uint64_t first = prefix_at(entries, low);
            uint64_t last = prefix_at(entries, high - 1);
            if (prefix <= first) {
                return low;
            }
            if (prefix > last) {
                return high;
            }
            double share = (double)(prefix - first) / (double)(last - first);
            middle = low + (size_t)(share * (double)(high - low - 1));
        }
        guess = !guess;
        if (prefix_at(entries, middle) < prefix) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The segment in which the first entry with this prefix is, if there is one. */
static enum quipu_status first_segment(struct quipu_txn *txn, const struct wanted *wanted,
                                       const struct quipu_run *run, uint64_t segments,
                                       uint64_t *segment, struct quipu_error *err)
{
    *segment = 0;
    if (segments == 1) {
        return QUIPU_OK;
    }
    uint64_t number = quipu_run_key(run->number, QUIPU_RUN_DIRECTORY);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[quipu_index_db(wanted->index)], &key, &val);
    if (code == MDB_NOTFOUND || (code == 0 && val.mv_size != segments * 8)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s: the directory of run %" PRIu64 " is %s",
                               txn->store->path, run->number,
                               code == 0 ? "of a wrong length" : "missing");
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read run %" PRIu64, txn->store->path, run->number);
    }
    /* The last segment that begins below the prefix; those behind it begin with it or above. */
    const uint8_t *firsts = val.mv_data;
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
    *segment = low;
    return QUIPU_OK;
}

static enum quipu_status find_in_run(struct quipu_txn *txn, struct wanted *wanted,
                                     const struct quipu_run *run, struct quipu_error *err)
{
    uint64_t segments = quipu_segments(quipu_run_entries(run, wanted->index), run->segment_entries);
    uint64_t segment;
    enum quipu_status status = first_segment(txn, wanted, run, segments, &segment, err);
    for (; status == QUIPU_OK && segment < segments; segment++) {
        struct quipu_slice entries;
        status = quipu_run_segment(txn, wanted->index, run, segment, &entries, err);
        if (status != QUIPU_OK) {
            return status;
        }
        size_t count = entries.len / QUIPU_ENTRY_BYTES;
        size_t i = lower_bound(entries, wanted->prefix);
        for (; i < count && prefix_at(entries, i) == wanted->prefix; i++) {
            uint64_t rest = quipu_load_be64(entries.data + i * QUIPU_ENTRY_BYTES + 8);
            uint64_t position = wanted->index == QUIPU_INDEX_CID ? rest >> 1 : rest;
            status = compare(txn, wanted, position, err);
            if (status != QUIPU_NOT_FOUND) {
                return status;
            }
        }
        if (i < count) {
            break; /* everything behind is greater */
        }
        status = QUIPU_OK;
    }
    return status == QUIPU_OK ? QUIPU_NOT_FOUND : status;
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

/* Read the runs of this snapshot, once. */
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
    if (status == QUIPU_OK && view.run_count > txn->run_cap) {
        struct quipu_run *larger = quipu_realloc(txn->runs, view.run_count + 16, sizeof *larger);
        if (larger == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %u runs", view.run_count);
        }
        txn->runs = larger;
        txn->run_cap = view.run_count + 16;
    }
    for (uint32_t i = 0; i < view.run_count && status == QUIPU_OK; i++) {
        status = quipu_manifest_run(&view, i, &txn->runs[i], err);
    }
    if (status == QUIPU_OK) {
        txn->run_count = view.run_count;
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
    const struct quipu_manifest *manifest = &txn->store->writer.manifest;
    const struct quipu_run *runs = txn->is_write ? manifest->runs : txn->runs;
    uint32_t count = txn->is_write ? manifest->run_count : txn->run_count;
    for (uint32_t i = 0; i < count; i++) {
        const struct quipu_run *run = &runs[i];
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
