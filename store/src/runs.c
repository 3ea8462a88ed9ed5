/*
 * Runs: sorted, immutable blocks of index entries. A full tail is sorted and written as one run of
 * level 0; merges (merge.c) make fewer and larger ones of them. SPEC §6.5.
 *
 * What an entry is: entry.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>

#include "internal.h"
#include "internal/bytes.h"
#include "internal/failpoint.h"
#include "internal/invariant.h"

enum quipu_status quipu_run_segment(struct quipu_txn *txn, enum quipu_index index,
                                    const struct quipu_run *run, uint64_t segment,
                                    struct quipu_slice *entries, struct quipu_error *err)
{
    uint64_t before = segment * run->segment_entries;
    uint64_t left = quipu_run_entries(run, index) - before;
    uint64_t count = left < run->segment_entries ? left : run->segment_entries;
    uint64_t number = quipu_run_key(run->number, segment);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val);
    if (code == MDB_NOTFOUND || (code == 0 && val.mv_size != count * quipu_entry_bytes(index))) {
        return quipu_error_set(
            err, QUIPU_CORRUPT, "%s: segment %" PRIu64 " of run %" PRIu64 " in %s %s",
            txn->store->path, segment, run->number, quipu_db_name(quipu_index_db(index)),
            code == 0 ? "has a wrong length" : "is missing");
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read run %" PRIu64, txn->store->path, run->number);
    }
    *entries = quipu_slice_of(val);
    return QUIPU_OK;
}

/* Stable radix sort by prefix, a byte at a time from the last: entries come in the order of their
 * positions, and equal prefixes keep it. Returns the one of the two arrays that holds the result.
 */
static struct quipu_entry *sort_by_prefix(struct quipu_entry *entries, struct quipu_entry *spare,
                                          size_t count)
{
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t starts[256] = {0};
        for (size_t i = 0; i < count; i++) {
            starts[entries[i].prefix >> shift & 0xff]++;
        }
        if (starts[entries[0].prefix >> shift & 0xff] == count) {
            continue; /* the same byte in all of them */
        }
        size_t sum = 0;
        for (size_t value = 0; value < 256; value++) {
            size_t here = starts[value];
            starts[value] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++) {
            spare[starts[entries[i].prefix >> shift & 0xff]++] = entries[i];
        }
        struct quipu_entry *swapped = entries;
        entries = spare;
        spare = swapped;
    }
    return entries;
}

static size_t gather(const struct quipu_tail *tail, enum quipu_index index, struct quipu_entry *out)
{
    size_t count = 0;
    for (uint32_t i = 0; i < tail->count; i++) {
        const uint64_t *keys = tail->keys + (size_t)i * QUIPU_TAIL_KEYS;
        const uint32_t *terms = tail->terms + (size_t)i * QUIPU_TAIL_TERMS;
        uint64_t position = tail->base + 1 + i;
        switch (index) {
        case QUIPU_INDEX_CID:
            out[count++] = (struct quipu_entry){keys[QUIPU_TAIL_ENVELOPE], position << 1};
            out[count++] = (struct quipu_entry){keys[QUIPU_TAIL_PAYLOAD], position << 1 | 1};
            break;
        case QUIPU_INDEX_EVENT_ID:
            out[count++] = (struct quipu_entry){tail->id_prefixes[i], position};
            break;
        case QUIPU_INDEX_TERM:
            out[count++] = (struct quipu_entry){terms[QUIPU_TAIL_TYPE], position};
            if (terms[QUIPU_TAIL_CORRELATION] != 0) {
                out[count++] = (struct quipu_entry){terms[QUIPU_TAIL_CORRELATION], position};
            }
            break;
        case QUIPU_INDEXES:
            break;
        }
    }
    return count;
}

static enum quipu_status put_run(struct quipu_txn *txn, struct quipu_run *run,
                                 enum quipu_index index, struct quipu_error *err)
{
    struct quipu_writer *writer = &txn->store->writer;
    size_t half = (size_t)writer->tail.cap * 2;
    size_t count = gather(&writer->tail, index, writer->sort);
    const struct quipu_entry *sorted = sort_by_prefix(writer->sort, writer->sort + half, count);
    size_t entry_bytes = quipu_entry_bytes(index);
    if (index == QUIPU_INDEX_TERM) {
        run->term_entries = count;
    }

    /* Numbers only grow, so the key is behind all others. */
    uint64_t number = quipu_run_key(run->number, 0);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val = quipu_val(NULL, count * entry_bytes);
    int code = mdb_put(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val,
                       MDB_APPEND | MDB_RESERVE);
    if (code != 0) {
        return quipu_txn_fail(txn, code, "write a run", err);
    }
    quipu_txn_note_large(txn, val.mv_size);
    uint8_t *into = val.mv_data;
    for (size_t i = 0; i < count; i++) {
        quipu_entry_store(run, index, &sorted[i], into + i * entry_bytes);
    }
    run->min_key[index] = quipu_load_be64(into);
    run->max_key[index] = quipu_load_be64(into + (count - 1) * entry_bytes);
    return QUIPU_OK;
}

enum quipu_status quipu_manifest_store(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_writer *writer = &txn->store->writer;
    quipu_buf_reset(&writer->manifest_bytes);
    quipu_manifest_encode(&writer->manifest, &writer->manifest_bytes);
    int code = ENOMEM;
    if (writer->manifest_bytes.status == QUIPU_OK) {
        MDB_val key = quipu_val("runs", 4);
        MDB_val val = quipu_val_of(quipu_buf_slice(&writer->manifest_bytes));
        code = mdb_put(txn->mdb, txn->store->dbi[QUIPU_DB_META], &key, &val, 0);
    }
    return code == 0 ? QUIPU_OK : quipu_txn_fail(txn, code, "write the manifest of the runs", err);
}

static enum quipu_status flush_tail(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_writer *writer = &txn->store->writer;
    struct quipu_manifest *manifest = &writer->manifest;
    QUIPU_INVARIANT(writer->tail.base == manifest->indexed);
    QUIPU_INVARIANT(writer->tail.count > 0);
    QUIPU_INVARIANT(manifest->run_count < QUIPU_RUNS_MAX);
    struct quipu_run *run = &manifest->runs[manifest->run_count];
    *run = (struct quipu_run){
        .number = manifest->next_run++,
        .first_position = manifest->indexed + 1,
        .last_position = manifest->indexed + writer->tail.count,
        .segment_entries = 2 * writer->tail.count,
    };
    enum quipu_status status = QUIPU_OK;
    for (int k = 0; k < QUIPU_INDEXES && status == QUIPU_OK; k++) {
        status = put_run(txn, run, (enum quipu_index)k, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    manifest->indexed = run->last_position;
    manifest->run_count++;
    status = quipu_merges_step(txn, err);
    return status == QUIPU_OK ? quipu_manifest_store(txn, err) : status;
}

enum quipu_status quipu_runs_flush(struct quipu_txn *txn, struct quipu_error *err)
{
    /* From here on the writer holds what only this transaction has. */
    txn->has_flushed = true;
    struct quipu_error failure;
    enum quipu_status status = quipu_failpoint("store.run.write", &failure);
    if (status == QUIPU_OK) {
        status = flush_tail(txn, &failure);
    }
    if (status != QUIPU_OK) {
        return quipu_txn_fail_with(txn, &failure, err);
    }
    struct quipu_writer *writer = &txn->store->writer;
    quipu_tail_reset(&writer->tail, writer->manifest.indexed);
    /* Now and then is often enough to let go of what dead readers pin; a failure of it is only a
     * larger file. */
    int dead = 0;
    (void)mdb_reader_check(txn->store->env, &dead);
    return QUIPU_OK;
}
