/*
 * Addresses of the values of a run, noted when they are first read.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "run_pages.h"

#include <inttypes.h>

#include "quipu/alloc.h"

struct quipu_run_pages {
    /* Copies of the directories, NULL: not read yet. */
    uint8_t *directories[QUIPU_INDEXES];
    /* Address of each segment, NULL: not read yet; one index behind the other. */
    size_t first_cell[QUIPU_INDEXES];
    const uint8_t *cells[];
};

/* NULL where addresses do not last, or where there is no memory to note them. */
static struct quipu_run_pages *pages_of(struct quipu_run *run)
{
    if (run->is_committed && run->pages == NULL) {
        size_t first_cell[QUIPU_INDEXES];
        size_t cells = 0;
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            first_cell[k] = cells;
            cells += (size_t)quipu_run_segments(run, (enum quipu_index)k);
        }
        run->pages = quipu_alloc_zero(1, sizeof *run->pages + cells * sizeof run->pages->cells[0]);
        if (run->pages != NULL) {
            memcpy(run->pages->first_cell, first_cell, sizeof first_cell);
        }
    }
    return run->is_committed ? run->pages : NULL;
}

enum quipu_status quipu_run_entries_of(struct quipu_txn *txn, struct quipu_run *run,
                                       enum quipu_index index, uint64_t segment,
                                       struct quipu_slice *entries, struct quipu_error *err)
{
    uint64_t left = quipu_run_entries(run, index) - segment * run->segment_entries;
    uint64_t count = left < run->segment_entries ? left : run->segment_entries;
    size_t bytes = (size_t)count * quipu_entry_bytes(index);
    struct quipu_run_pages *pages = bytes > txn->store->page_bytes ? pages_of(run) : NULL;
    const uint8_t **cell = pages == NULL ? NULL : &pages->cells[pages->first_cell[index] + segment];
    if (cell != NULL && *cell != NULL) {
        *entries = quipu_slice(*cell, bytes);
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_run_segment(txn, index, run, segment, entries, err);
    if (status == QUIPU_OK && cell != NULL) {
        *cell = entries->data;
    }
    return status;
}

enum quipu_status quipu_run_directory(struct quipu_txn *txn, struct quipu_run *run,
                                      enum quipu_index index, const uint8_t **firsts,
                                      struct quipu_error *err)
{
    struct quipu_run_pages *pages = pages_of(run);
    if (pages != NULL && pages->directories[index] != NULL) {
        *firsts = pages->directories[index];
        return QUIPU_OK;
    }
    uint64_t number = quipu_run_key(run->number, QUIPU_RUN_DIRECTORY);
    MDB_val key = quipu_val(&number, sizeof number);
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[quipu_index_db(index)], &key, &val);
    if (code == MDB_NOTFOUND || (code == 0 && val.mv_size != quipu_run_segments(run, index) * 8)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s: the directory of run %" PRIu64 " in %s %s",
                               txn->store->path, run->number, quipu_db_name(quipu_index_db(index)),
                               code == 0 ? "has a wrong length" : "is missing");
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read run %" PRIu64, txn->store->path, run->number);
    }
    *firsts = val.mv_data;
    if (pages != NULL) {
        uint8_t *copy = quipu_alloc(1, val.mv_size);
        if (copy != NULL) {
            memcpy(copy, val.mv_data, val.mv_size);
            pages->directories[index] = copy;
        }
    }
    return QUIPU_OK;
}

void quipu_run_pages_release(struct quipu_run *run)
{
    if (run->pages != NULL) {
        for (int k = 0; k < QUIPU_INDEXES; k++) {
            quipu_free(run->pages->directories[k]);
        }
        quipu_free(run->pages);
        run->pages = NULL;
    }
}
