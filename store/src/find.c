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
#include "run_search.h"

/* What is looked for, and where the answer goes. */
struct wanted {
    enum quipu_index index;
    uint64_t prefix;   /* in runs */
    uint64_t tail_key; /* in the tail */
    const struct quipu_uuid *event_id;
    const struct quipu_cid *cid;
    enum quipu_block_kind kind;
    struct quipu_record record;
};

/* Is it the event at `position`? QUIPU_OK with wanted->record and kind, or QUIPU_NOT_FOUND. */
static enum quipu_status compare(struct quipu_txn *txn, struct wanted *wanted, uint64_t position,
                                 struct quipu_error *err)
{
    enum quipu_status status = quipu_log_indexed(txn, position, &wanted->record, err);
    if (status != QUIPU_OK) {
        return status;
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

static enum quipu_status find_in_run(struct quipu_txn *txn, struct wanted *wanted,
                                     struct quipu_run *run, struct quipu_error *err)
{
    struct quipu_run_cursor cursor;
    enum quipu_status status =
        quipu_run_seek(txn, run, wanted->index, wanted->prefix, &cursor, err);
    while (status == QUIPU_OK) {
        struct quipu_entry entry = quipu_run_entry(&cursor);
        if (entry.prefix != wanted->prefix) {
            return QUIPU_NOT_FOUND;
        }
        status = compare(txn, wanted, quipu_entry_position(wanted->index, &entry), err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
        status = quipu_run_next(txn, &cursor, err);
    }
    return status == QUIPU_DONE ? QUIPU_NOT_FOUND : status;
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
        for (uint32_t node = quipu_tail_first(tail, wanted->tail_key); node != 0;
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
 * are committed and never change; what is beyond a snapshot's last position is for the caller to
 * leave out. */
enum quipu_status quipu_txn_tail_enter(struct quipu_txn *txn, struct quipu_tail **out,
                                       struct quipu_error *err)
{
    struct quipu_store *store = txn->store;
    struct quipu_tail *tail = &store->read_tail;
    *out = NULL;
    if (txn->is_write) {
        *out = &store->writer.tail;
        return QUIPU_OK;
    }
    if (txn->last_position == txn->indexed || txn->last_position - txn->indexed > tail->cap) {
        return QUIPU_OK;
    }
    pthread_mutex_lock(&store->read_tail_mutex);
    if (txn->indexed < tail->base || txn->indexed > tail->base + tail->count ||
        txn->last_position - tail->base > tail->cap) {
        quipu_tail_reset(tail, txn->indexed);
    }
    enum quipu_status status = quipu_tail_catch_up(txn, tail, txn->last_position, err);
    if (status == QUIPU_OK) {
        *out = tail;
    } else {
        pthread_mutex_unlock(&store->read_tail_mutex);
    }
    return status;
}

void quipu_txn_tail_leave(struct quipu_txn *txn, const struct quipu_tail *tail)
{
    if (!txn->is_write && tail != NULL) {
        pthread_mutex_unlock(&txn->store->read_tail_mutex);
    }
}

static enum quipu_status find_behind_runs(struct quipu_txn *txn, struct wanted *wanted,
                                          struct quipu_error *err)
{
    struct quipu_tail *tail;
    enum quipu_status status = quipu_txn_tail_enter(txn, &tail, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = tail == NULL ? find_in_log(txn, wanted, err) : find_in_tail(txn, tail, wanted, err);
    quipu_txn_tail_leave(txn, tail);
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
        txn->term_cursor = (struct quipu_term_cursor){0};
    }
    return status;
}

enum quipu_status quipu_txn_runs(struct quipu_txn *txn, struct quipu_runs *out,
                                 struct quipu_error *err)
{
    enum quipu_status status = txn->is_write ? quipu_writer_sync(txn, err) : load_runs(txn, err);
    if (status == QUIPU_OK && txn->is_write) {
        struct quipu_manifest *manifest = &txn->store->writer.manifest;
        *out = (struct quipu_runs){manifest->runs, manifest->run_count, manifest->indexed};
    } else if (status == QUIPU_OK) {
        *out = (struct quipu_runs){txn->runs, txn->run_count, txn->indexed};
    }
    return status;
}

/* QUIPU_OK with wanted->record and kind, QUIPU_NOT_FOUND without a line, or a failure. */
static enum quipu_status find(struct quipu_txn *txn, struct wanted *wanted, struct quipu_error *err)
{
    struct quipu_runs all;
    enum quipu_status status = quipu_txn_runs(txn, &all, err);
    if (status != QUIPU_OK) {
        return status;
    }
    for (uint32_t i = 0; i < all.count; i++) {
        struct quipu_run *run = &all.runs[i];
        if (wanted->prefix < run->min_key[wanted->index] ||
            wanted->prefix > run->max_key[wanted->index]) {
            continue;
        }
        status = find_in_run(txn, wanted, run, err);
        if (status != QUIPU_NOT_FOUND) {
            return status;
        }
    }
    return find_behind_runs(txn, wanted, err);
}

enum quipu_status quipu_txn_find_cid(struct quipu_txn *txn, const struct quipu_cid *cid,
                                     struct quipu_record *out, enum quipu_block_kind *kind,
                                     struct quipu_error *err)
{
    uint64_t prefix = quipu_load_be64(cid->digest);
    struct wanted wanted = {
        .index = QUIPU_INDEX_CID, .prefix = prefix, .tail_key = prefix, .cid = cid};
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
                            .tail_key = quipu_tail_id_key(event_id),
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
