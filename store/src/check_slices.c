/*
 * The check of check.c in slices, each a snapshot of its own, so that none pins old pages for long,
 * and correct while others append and merge.
 *
 *   - Records never change: they are summed up to where the log ended at first.
 *   - Runs never change either, but vanish when they are merged. A run that is gone half-way is
 *     begun again with the one that covers its positions now.
 *   - A head moves. What it was at the end that was fixed is where its chain, followed back, comes
 *     to that end.
 *
 * Where sums differ or a fork is there, the closer look of check_slow.c follows, in slices too. One
 * snapshot is left for what has to be seen at one moment: values that nobody knows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>

#include "check.h"
#include "entry.h"
#include "quipu/alloc.h"
#include "quipu/buf.h"
#include "record.h"

/* What one snapshot is for, some tens of milliseconds, in events of a tail: 8,192 records or heads,
 * a million entries; few where tests have small tails. */
#define SLICE_RECORD_TAILS 8
#define SLICE_ENTRY_TAILS  1024

/* How far the entries of the run are summed. */
struct entry_walk {
    int index;
    uint64_t segment;
    struct quipu_check_entry_sum sum;
};

struct slices {
    struct quipu_check check;
    struct quipu_manifest manifest; /* of this slice */
    uint64_t records_max;           /* of one slice, heads too */
    uint64_t entries_max;
    uint64_t end;    /* of the log, when it began */
    uint64_t linked; /* records up to here are in link_sum */
    uint64_t link_sum;
    bool needs_chains;    /* a closer look at heads and back-pointers */
    bool is_without_runs; /* the manifest is damaged, which has been reported */

    uint64_t from; /* first position that no run was held against yet */
    uint64_t run;  /* number of the one under way, 0: none */
    uint64_t next; /* its next record */
    struct quipu_check_sums sums;
    struct entry_walk entries;
    bool is_agreeing; /* the indexes of the run so far */
};

/* ------------------------------------------------------------------ records */

static enum quipu_status take_record(struct slices *slices, uint64_t position,
                                     struct quipu_error *err)
{
    struct quipu_error failure;
    struct quipu_record record;
    uint64_t hash = 0;
    enum quipu_status status =
        quipu_check_record(&slices->check, position, &record, &hash, &failure);
    bool is_new = position > slices->linked && position <= slices->end;
    if (status == QUIPU_OK) {
        quipu_check_add(&slices->sums, &record);
        slices->link_sum += is_new ? quipu_check_link(&record, hash) : 0;
    } else {
        slices->sums.has_gap = true;
        bool is_finding = status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND;
        if (is_new || !is_finding) {
            status = quipu_check_found(&slices->check, position, status, &failure, err);
        } else {
            status = QUIPU_OK;
        }
    }
    slices->linked = is_new ? position : slices->linked;
    return status;
}

/* Records up to `last`, as many as a slice may. */
static enum quipu_status take_records(struct slices *slices, uint64_t last, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (uint64_t i = 0; i < slices->records_max && slices->next <= last && status == QUIPU_OK;
         i++) {
        status = take_record(slices, slices->next++, err);
    }
    return status;
}

/* ------------------------------------------------------------------ runs */

/* Entries of the run, as many as a slice may; `*is_done` where all indexes have been summed. */
static void take_entries(struct slices *slices, const struct quipu_run *run, bool *is_done)
{
    struct entry_walk *walk = &slices->entries;
    for (uint64_t taken = 0; taken < slices->entries_max && walk->index < QUIPU_INDEXES;) {
        enum quipu_index index = (enum quipu_index)walk->index;
        if (walk->segment < quipu_run_segments(run, index)) {
            quipu_check_sum_segment(&slices->check, run, index, walk->segment++, &walk->sum);
            taken += run->segment_entries;
            continue;
        }
        slices->is_agreeing =
            slices->is_agreeing && quipu_check_sum_agrees(&walk->sum, run, index, &slices->sums);
        *walk = (struct entry_walk){.index = walk->index + 1, .sum = {.is_sound = true}};
    }
    *is_done = walk->index == QUIPU_INDEXES;
}

/* The run that covers `from` now; NULL: none does. */
static const struct quipu_run *find_run(struct slices *slices)
{
    for (uint32_t i = 0; i < slices->manifest.run_count; i++) {
        const struct quipu_run *run = &slices->manifest.runs[i];
        if (run->first_position <= slices->from && slices->from <= run->last_position) {
            return run;
        }
    }
    return NULL;
}

static void begin_run(struct slices *slices, const struct quipu_run *run)
{
    slices->run = run->number;
    slices->next = run->first_position;
    slices->sums = (struct quipu_check_sums){.has_gap = false};
    slices->entries = (struct entry_walk){.sum = {.is_sound = true}};
    slices->is_agreeing = true;
}

static enum quipu_status run_slice(struct slices *slices, struct quipu_error *err)
{
    const struct quipu_run *run = find_run(slices);
    if (run == NULL) {
        /* Behind the last run: only links are left to be summed. */
        slices->next = slices->from > slices->linked ? slices->from : slices->linked + 1;
        enum quipu_status status = take_records(slices, slices->end, err);
        slices->from = slices->next;
        return status;
    }
    if (run->number != slices->run) {
        begin_run(slices, run);
    }
    if (slices->next <= run->last_position) {
        return take_records(slices, run->last_position, err);
    }
    bool is_done = false;
    take_entries(slices, run, &is_done);
    if (!is_done) {
        return QUIPU_OK;
    }
    slices->from = run->last_position + 1;
    slices->run = 0;
    return slices->is_agreeing ? QUIPU_OK
                               : quipu_check_run(&slices->check, run, &slices->sums, err);
}

static enum quipu_status take_manifest(struct slices *slices, struct quipu_error *err)
{
    uint64_t before = slices->check.problems;
    memset(&slices->manifest, 0, sizeof slices->manifest);
    if (slices->is_without_runs) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_check_manifest(&slices->check, &slices->manifest, err);
    slices->is_without_runs = slices->check.problems > before;
    return status;
}

/* ------------------------------------------------------------------ heads */

/* What the head was where the log ended at first, off the sum. False: it needs a closer look. */
static bool take_head(struct slices *slices, MDB_val key, MDB_val value)
{
    struct quipu_record record;
    uint64_t hash;
    if (!quipu_check_head_is_plain(&slices->check, key, value, &record)) {
        return false;
    }
    while (record.position > slices->end) {
        if (record.aggregate_prev_position == 0) {
            return true; /* the whole aggregate is newer */
        }
        if (quipu_check_record(&slices->check, record.aggregate_prev_position, &record, &hash,
                               NULL) != QUIPU_OK) {
            return false;
        }
    }
    slices->link_sum -=
        quipu_check_mix(quipu_head_key_hash(quipu_slice_of(key)), record.position, record.version);
    return true;
}

/* Heads behind `after`, as many as a slice may. */
static enum quipu_status head_slice(struct slices *slices, struct quipu_buf *after, bool *is_over,
                                    struct quipu_error *err)
{
    struct quipu_txn *txn = slices->check.txn;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    int code = quipu_check_heads_open(txn, quipu_buf_slice(after), &cursor, &key, &val);
    for (uint64_t i = 0; i < slices->records_max && code == 0 && !slices->needs_chains; i++) {
        slices->needs_chains = !take_head(slices, key, val);
        quipu_buf_reset(after);
        quipu_buf_append_slice(after, quipu_slice_of(key));
        code = after->status == QUIPU_OK ? mdb_cursor_get(cursor, &key, &val, MDB_NEXT) : ENOMEM;
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    *is_over = code == MDB_NOTFOUND || slices->needs_chains;
    return code == 0 || code == MDB_NOTFOUND
               ? QUIPU_OK
               : quipu_lmdb_error(err, code, "%s: walk the heads", txn->store->path);
}

static enum quipu_status check_heads(struct slices *slices, struct quipu_store *store,
                                     struct quipu_error *err)
{
    struct quipu_buf after = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    bool is_over = false;
    while (status == QUIPU_OK && !is_over) {
        status = quipu_txn_begin_read(store, &slices->check.txn, err);
        if (status == QUIPU_OK) {
            status = head_slice(slices, &after, &is_over, err);
        }
        quipu_txn_abort(&slices->check.txn);
    }
    quipu_buf_release(&after);
    return status;
}

/* ------------------------------------------------------------------ all of it */

static enum quipu_status check_log(struct slices *slices, struct quipu_store *store,
                                   void (*progress)(void *ctx, uint64_t done, uint64_t total),
                                   struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_begin_read(store, &slices->check.txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    slices->end = quipu_txn_last_position(slices->check.txn);
    quipu_txn_abort(&slices->check.txn);
    slices->from = 1;
    while (status == QUIPU_OK && slices->from <= slices->end && !slices->check.has_stopped) {
        status = quipu_txn_begin_read(store, &slices->check.txn, err);
        if (status == QUIPU_OK) {
            status = take_manifest(slices, err);
        }
        if (status == QUIPU_OK) {
            status = run_slice(slices, err);
        }
        quipu_txn_abort(&slices->check.txn);
        if (progress != NULL) {
            progress(slices->check.ctx, slices->linked, slices->end);
        }
    }
    return status;
}

/* The closer look where sums differ or a fork is there: again in slices, up to the same end. */
static enum quipu_status check_chains(struct slices *slices, struct quipu_store *store,
                                      struct quipu_error *err)
{
    struct quipu_check_heads heads = {.after = QUIPU_BUF_INIT, .end = slices->end};
    enum quipu_status status = QUIPU_OK;
    uint64_t next = 1;
    while (status == QUIPU_OK && !heads.is_over && !slices->check.has_stopped) {
        status = quipu_txn_begin_read(store, &slices->check.txn, err);
        if (status == QUIPU_OK && next <= slices->end) {
            uint64_t left = slices->end - next + 1;
            uint64_t part = left < slices->records_max ? left : slices->records_max;
            status = quipu_check_back_pointers(&slices->check, next, next + part - 1, err);
            next += part;
        } else if (status == QUIPU_OK) {
            status = quipu_check_heads(&slices->check, &heads, slices->records_max, err);
        }
        quipu_txn_abort(&slices->check.txn);
    }
    quipu_buf_release(&heads.after);
    return status;
}

/* What has to be seen at one moment. */
static enum quipu_status check_rest(struct slices *slices, struct quipu_store *store,
                                    struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_begin_read(store, &slices->check.txn, err);
    if (status == QUIPU_OK) {
        status = take_manifest(slices, err);
    }
    for (int k = 0; k < QUIPU_INDEXES && slices->manifest.run_count > 0; k++) {
        if (status == QUIPU_OK && !slices->check.has_stopped) {
            status =
                quipu_check_values(&slices->check, &slices->manifest, (enum quipu_index)k, err);
        }
    }
    quipu_txn_abort(&slices->check.txn);
    return status;
}

enum quipu_status
quipu_store_check_indexes(struct quipu_store *store,
                          bool (*problem)(void *ctx, uint64_t position, const char *line),
                          void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                          uint64_t *problems, struct quipu_error *err)
{
    struct slices *slices = quipu_alloc_zero(1, sizeof *slices);
    if (slices == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to check %s", store->path);
    }
    slices->check = (struct quipu_check){.problem = problem, .ctx = ctx};
    slices->records_max = (uint64_t)SLICE_RECORD_TAILS * store->tuning.tail_events;
    slices->entries_max = (uint64_t)SLICE_ENTRY_TAILS * store->tuning.tail_events;
    enum quipu_status status = check_log(slices, store, progress, err);
    if (status == QUIPU_OK && !slices->check.has_stopped) {
        status = check_heads(slices, store, err);
        slices->needs_chains = slices->needs_chains || slices->link_sum != 0;
    }
    if (status == QUIPU_OK && slices->needs_chains && !slices->check.has_stopped) {
        status = check_chains(slices, store, err);
    }
    if (status == QUIPU_OK && !slices->check.has_stopped) {
        status = check_rest(slices, store, err);
    }
    if (status == QUIPU_OK) {
        *problems = slices->check.problems;
    }
    quipu_free(slices);
    return status;
}
