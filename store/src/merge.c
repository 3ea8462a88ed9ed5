/*
 * Merging runs off the append path: eight of one level become one of the next, a segment at a time.
 *
 * Each flush does its share. A merge is done when an eighth as many events as it covers have
 * arrived, long before eight more runs of its level are there; so few runs wait to be merged, and
 * what one flush writes for one level is in proportion to the flush, plus at most one segment. Its
 * inputs stay as they are and are searched until all of the output is there. How many entries are
 * taken from each input is kept in the manifest, so a merge goes on where it was after a reopen, in
 * whatever process. SPEC §6.5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>

#include "internal/bytes.h"
#include "internal/failpoint.h"
#include "internal/invariant.h"
#include "run_pages.h"

/* A merge takes this many times the entries of each flush, as if each event had the most. */
#define MERGE_HASTE 8

/* So many runs, and merges no longer wait for their time. */
#define RUNS_TOO_MANY (QUIPU_RUNS_MAX / 2)

/* One input of a merge while a segment is made. */
struct source {
    const struct quipu_run *run;
    uint64_t taken;
    struct quipu_slice segment;
    size_t at; /* next entry of the segment, bytes */
    struct quipu_entry entry;
};

static bool level_is_merging(const struct quipu_manifest *manifest, uint32_t first, uint32_t end)
{
    for (uint32_t i = 0; i < manifest->merge_count; i++) {
        uint32_t input = quipu_manifest_find(manifest, manifest->merges[i].first_run);
        if (input >= first && input < end) {
            return true;
        }
    }
    return false;
}

/* Begin a merge on each level that has enough runs and none under way. */
static void start_merges(struct quipu_manifest *manifest, const struct quipu_store_tuning *tuning)
{
    uint32_t first = 0;
    while (first < manifest->run_count) {
        uint32_t end = first + 1;
        while (end < manifest->run_count &&
               manifest->runs[end].level == manifest->runs[first].level) {
            end++;
        }
        const struct quipu_run *runs = manifest->runs;
        if (end - first >= tuning->fan_out &&
            runs[first + tuning->fan_out - 1].last_position - runs[first].first_position + 1 <
                QUIPU_RUN_EVENTS_MAX &&
            manifest->merge_count < QUIPU_MERGES_MAX && !level_is_merging(manifest, first, end)) {
            manifest->merges[manifest->merge_count++] = (struct quipu_merge){
                .number = manifest->next_run++,
                .first_run = manifest->runs[first].number,
                .started_at = manifest->runs[manifest->run_count - 1].first_position - 1,
                .inputs = tuning->fan_out,
                .segment_entries = tuning->segment_entries,
            };
        }
        first = end;
    }
}

static uint64_t taken_of(const struct quipu_merge *merge, enum quipu_index index)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < merge->inputs; i++) {
        sum += merge->consumed[index][i];
    }
    return sum;
}

/* Entries of all inputs, and so of the output. */
static uint64_t entries_of(const struct quipu_manifest *manifest, const struct quipu_merge *merge,
                           enum quipu_index index)
{
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < merge->inputs; i++) {
        sum += quipu_run_entries(&manifest->runs[first + i], index);
    }
    return sum;
}

static uint64_t events_of(const struct quipu_manifest *manifest, const struct quipu_merge *merge)
{
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    return manifest->runs[first + merge->inputs - 1].last_position -
           manifest->runs[first].first_position + 1;
}

/* ------------------------------------------------------------------ one segment */

/* Load the source's next entry; `*has_more` is false where its run is used up. */
static enum quipu_status source_load(struct quipu_txn *txn, enum quipu_index index,
                                     struct source *source, bool *has_more, struct quipu_error *err)
{
    *has_more = source->taken < quipu_run_entries(source->run, index);
    if (!*has_more) {
        return QUIPU_OK;
    }
    if (source->at == source->segment.len) {
        enum quipu_status status =
            quipu_run_segment(txn, index, source->run, source->taken / source->run->segment_entries,
                              &source->segment, err);
        if (status != QUIPU_OK) {
            return status;
        }
        source->at =
            (size_t)(source->taken % source->run->segment_entries) * quipu_entry_bytes(index);
    }
    source->entry = quipu_entry_load(source->run, index, source->segment.data + source->at);
    return QUIPU_OK;
}

static enum quipu_status source_step(struct quipu_txn *txn, enum quipu_index index,
                                     struct source *source, bool *has_more, struct quipu_error *err)
{
    source->taken++;
    source->at += quipu_entry_bytes(index);
    return source_load(txn, index, source, has_more, err);
}

static size_t least(const struct source *const *sources, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++) {
        if (quipu_entry_is_below(&sources[i]->entry, &sources[best]->entry)) {
            best = i;
        }
    }
    return best;
}

/* Write `count` entries, the least that are left, to `into`. Only reads LMDB. */
static enum quipu_status merge_entries(struct quipu_txn *txn, struct quipu_merge *merge,
                                       enum quipu_index index, uint8_t *into, uint64_t count,
                                       struct quipu_error *err)
{
    const struct quipu_manifest *manifest = &txn->store->writer.manifest;
    uint32_t first = quipu_manifest_find(manifest, merge->first_run);
    struct quipu_run output = {.first_position = manifest->runs[first].first_position};
    struct source all[QUIPU_FAN_OUT_MAX];
    struct source *live[QUIPU_FAN_OUT_MAX];
    size_t live_count = 0;
    for (uint32_t i = 0; i < merge->inputs; i++) {
        all[i] =
            (struct source){.run = &manifest->runs[first + i], .taken = merge->consumed[index][i]};
        bool has_more = false;
        enum quipu_status status = source_load(txn, index, &all[i], &has_more, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (has_more) {
            live[live_count++] = &all[i];
        }
    }
    for (uint64_t n = 0; n < count; n++, into += quipu_entry_bytes(index)) {
        QUIPU_INVARIANT(live_count > 0);
        size_t i = least((const struct source *const *)live, live_count);
        quipu_entry_store(&output, index, &live[i]->entry, into);
        bool has_more = false;
        enum quipu_status status = source_step(txn, index, live[i], &has_more, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (!has_more) {
            live[i] = live[--live_count];
        }
    }
    for (uint32_t i = 0; i < merge->inputs; i++) {
        merge->consumed[index][i] = all[i].taken;
    }
    return QUIPU_OK;
}

/* Make the next segment of the merge's output. */
static enum quipu_status emit_segment(struct quipu_txn *txn, struct quipu_merge *merge,
                                      enum quipu_index index, struct quipu_error *err)
{
    uint64_t done = taken_of(merge, index);
    uint64_t all = entries_of(&txn->store->writer.manifest, merge, index);
    uint64_t count = all - done < merge->segment_entries ? all - done : merge->segment_entries;
    uint64_t segment = done / merge->segment_entries;
    if (segment >= QUIPU_RUN_DIRECTORY) {
        return quipu_txn_fail(txn, EOVERFLOW, "merge runs", err);
    }
    uint64_t number = quipu_run_key(merge->number, segment);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val = quipu_val(NULL, (size_t)count * quipu_entry_bytes(index));
    int code = mdb_put(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val, MDB_RESERVE);
    if (code != 0) {
        return quipu_txn_fail(txn, code, "write a segment of a merge", err);
    }
    quipu_txn_note_large(txn, val.mv_size);
    enum quipu_status status = quipu_failpoint("store.merge.segment", err);
    return status == QUIPU_OK ? merge_entries(txn, merge, index, val.mv_data, count, err) : status;
}

/* ------------------------------------------------------------------ the end of a merge */

/* A run of several segments gets a directory: the prefix that each begins with. */
static enum quipu_status put_directory(struct quipu_txn *txn, const struct quipu_run *run,
                                       enum quipu_index index, struct quipu_error *err)
{
    uint64_t segments = quipu_run_segments(run, index);
    if (segments == 1) {
        return QUIPU_OK;
    }
    uint64_t number = quipu_run_key(run->number, QUIPU_RUN_DIRECTORY);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val = quipu_val(NULL, (size_t)segments * 8);
    int code = mdb_put(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val, MDB_RESERVE);
    if (code != 0) {
        return quipu_txn_fail(txn, code, "write the directory of a run", err);
    }
    quipu_txn_note_large(txn, val.mv_size);
    uint8_t *into = val.mv_data;
    for (uint64_t segment = 0; segment < segments; segment++, into += 8) {
        struct quipu_slice entries;
        enum quipu_status status = quipu_run_segment(txn, index, run, segment, &entries, err);
        if (status != QUIPU_OK) {
            return status;
        }
        memcpy(into, entries.data, 8);
    }
    return QUIPU_OK;
}

/* The run is searched no more: its directories go at once, its segments bit by bit. */
static enum quipu_status throw_away(struct quipu_txn *txn, struct quipu_run *run,
                                    struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    QUIPU_INVARIANT(manifest->trash_count < QUIPU_TRASH_MAX);
    quipu_run_pages_release(run);
    struct quipu_trash *trash = &manifest->trash[manifest->trash_count++];
    trash->number = run->number;
    for (int k = 0; k < QUIPU_INDEXES; k++) {
        enum quipu_index index = (enum quipu_index)k;
        uint64_t segments = quipu_run_segments(run, index);
        trash->values[k] = (uint32_t)segments; /* below 2^24, as the keys say */
        if (segments == 1) {
            continue;
        }
        uint64_t number = quipu_run_key(run->number, QUIPU_RUN_DIRECTORY);
        MDB_val key = quipu_val(&number, sizeof number);
        int code = mdb_del(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, NULL);
        if (code != 0) {
            return quipu_txn_fail(txn, code, "delete the directory of a run", err);
        }
    }
    return QUIPU_OK;
}

struct quipu_run quipu_merged_run(const struct quipu_run *inputs, const struct quipu_merge *merge)
{
    struct quipu_run run = {
        .number = merge->number,
        .first_position = inputs[0].first_position,
        .last_position = inputs[merge->inputs - 1].last_position,
        .level = inputs[0].level + 1,
        .segment_entries = merge->segment_entries,
    };
    for (uint32_t i = 0; i < merge->inputs; i++) {
        run.term_entries += inputs[i].term_entries;
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            /* Terms have positions from the run's first on. */
            uint64_t shift =
                k == QUIPU_INDEX_TERM ? inputs[i].first_position - run.first_position : 0;
            uint64_t min = inputs[i].min_key[k] + shift;
            uint64_t max = inputs[i].max_key[k] + shift;
            run.min_key[k] = i == 0 || min < run.min_key[k] ? min : run.min_key[k];
            run.max_key[k] = i == 0 || max > run.max_key[k] ? max : run.max_key[k];
        }
    }
    return run;
}

/* All of the output is there: it takes the place of its inputs. */
static enum quipu_status finish_merge(struct quipu_txn *txn, uint32_t which,
                                      struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    struct quipu_merge merge = manifest->merges[which];
    uint32_t first = quipu_manifest_find(manifest, merge.first_run);
    struct quipu_run *inputs = &manifest->runs[first];
    struct quipu_run run = quipu_merged_run(inputs, &merge);
    enum quipu_status status = QUIPU_OK;
    for (int k = 0; k < QUIPU_INDEXES && status == QUIPU_OK; k++) {
        status = put_directory(txn, &run, (enum quipu_index)k, err);
    }
    for (uint32_t i = 0; i < merge.inputs && status == QUIPU_OK; i++) {
        status = throw_away(txn, &inputs[i], err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    inputs[0] = run;
    memmove(&inputs[1], &inputs[merge.inputs],
            (manifest->run_count - first - merge.inputs) * sizeof *inputs);
    manifest->run_count -= merge.inputs - 1;
    manifest->merges[which] = manifest->merges[--manifest->merge_count];
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the work of one flush */

/* Entries taken for all indexes; `*next` is the first index that is not done, if any. */
static uint64_t progress_of(const struct quipu_manifest *manifest, const struct quipu_merge *merge,
                            enum quipu_index *next)
{
    uint64_t done = 0;
    *next = QUIPU_INDEXES;
    for (int k = QUIPU_INDEXES - 1; k >= 0; k--) {
        uint64_t taken = taken_of(merge, (enum quipu_index)k);
        *next =
            taken < entries_of(manifest, merge, (enum quipu_index)k) ? (enum quipu_index)k : *next;
        done += taken;
    }
    return done;
}

static enum quipu_status work_on(struct quipu_txn *txn, uint32_t which, bool *is_done,
                                 struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    struct quipu_merge *merge = &manifest->merges[which];
    uint64_t events = events_of(manifest, merge);
    if (events >= QUIPU_RUN_EVENTS_MAX) {
        return quipu_txn_fail(txn, EOVERFLOW, "merge runs", err);
    }
    uint64_t elapsed = manifest->indexed - merge->started_at;
    bool is_due = elapsed >= events / MERGE_HASTE || manifest->run_count > RUNS_TOO_MANY;
    uint64_t needed = is_due ? UINT64_MAX : QUIPU_EVENT_ENTRIES_MAX * MERGE_HASTE * elapsed;
    enum quipu_index next;
    enum quipu_status status = QUIPU_OK;
    while (progress_of(manifest, merge, &next) < needed && next != QUIPU_INDEXES &&
           status == QUIPU_OK) {
        status = emit_segment(txn, merge, next, err);
    }
    *is_done = status == QUIPU_OK && next == QUIPU_INDEXES;
    return *is_done ? finish_merge(txn, which, err) : status;
}

/* Delete some values of runs that were merged. */
static enum quipu_status empty_trash(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    uint32_t budget = txn->store->tuning.trash_values;
    while (manifest->trash_count > 0 &&
           (budget > 0 || manifest->trash_count > QUIPU_TRASH_MAX / 2)) {
        struct quipu_trash *trash = &manifest->trash[manifest->trash_count - 1];
        int k = 0;
        while (k < QUIPU_INDEXES && trash->values[k] == 0) {
            k++;
        }
        if (k == QUIPU_INDEXES) {
            manifest->trash_count--;
            continue;
        }
        uint64_t number = quipu_run_key(trash->number, --trash->values[k]);
        MDB_val key = quipu_val(&number, sizeof number);
        int code =
            mdb_del(txn->mdb, txn->store->dbi[quipu_index_db((enum quipu_index)k)], &key, NULL);
        if (code != 0) {
            return quipu_txn_fail(txn, code, "delete a merged run", err);
        }
        budget -= budget > 0;
    }
    return QUIPU_OK;
}

enum quipu_status quipu_merges_step(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    start_merges(manifest, &txn->store->tuning);
    enum quipu_status status = QUIPU_OK;
    uint32_t which = 0;
    while (which < manifest->merge_count && status == QUIPU_OK) {
        bool is_done = false;
        status = work_on(txn, which, &is_done, err);
        /* The place of a finished one is taken by the last. */
        which += is_done ? 0 : 1;
    }
    return status == QUIPU_OK ? empty_trash(txn, err) : status;
}
