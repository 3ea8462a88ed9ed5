/*
 * The writer's state between write transactions: the manifest and the tail. They are kept, because
 * a commit of one event must not read a thousand; and they are compared with what is stored at the
 * first use in each transaction, because another process may have written in between.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "quipu/alloc.h"
#include "run_pages.h"

#define MANIFEST_USUAL_BYTES 8192

enum quipu_status quipu_writer_init(struct quipu_writer *writer,
                                    const struct quipu_store_tuning *tuning,
                                    struct quipu_error *err)
{
    enum quipu_status status = quipu_tail_init(&writer->tail, tuning->tail_events, err);
    if (status != QUIPU_OK) {
        return status;
    }
    writer->sort = quipu_alloc((size_t)tuning->tail_events * 4, sizeof *writer->sort);
    /* As large as the manifest of 100 million events, so that a flush need not allocate. */
    if (writer->sort == NULL ||
        quipu_buf_reserve(&writer->manifest_bytes, MANIFEST_USUAL_BYTES) == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to sort %u events",
                               tuning->tail_events);
    }
    return QUIPU_OK;
}

void quipu_writer_forget(struct quipu_writer *writer)
{
    for (uint32_t i = 0; i < writer->manifest.run_count; i++) {
        quipu_run_pages_release(&writer->manifest.runs[i]);
    }
    writer->manifest.run_count = 0;
    writer->is_valid = false;
}

void quipu_writer_release(struct quipu_writer *writer)
{
    quipu_writer_forget(writer);
    quipu_tail_release(&writer->tail);
    quipu_buf_release(&writer->manifest_bytes);
    quipu_free(writer->sort);
    writer->sort = NULL;
}

enum quipu_status quipu_manifest_load(struct quipu_txn *txn, struct quipu_slice *out,
                                      struct quipu_error *err)
{
    MDB_val key = quipu_val("runs", 4);
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_META], &key, &val);
    if (code == MDB_NOTFOUND) {
        *out = quipu_slice(NULL, 0); /* no event has been indexed yet */
        return QUIPU_OK;
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read the manifest of the runs", txn->store->path);
    }
    *out = quipu_slice_of(val);
    return QUIPU_OK;
}

enum quipu_status quipu_tail_catch_up(struct quipu_txn *txn, struct quipu_tail *tail, uint64_t last,
                                      struct quipu_error *err)
{
    for (uint64_t position = tail->base + tail->count + 1; position <= last; position++) {
        struct quipu_record record;
        enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
        if (status != QUIPU_OK) {
            return status;
        }
        quipu_tail_push(tail, &record);
    }
    return QUIPU_OK;
}

static enum quipu_status load_manifest(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_writer *writer = &txn->store->writer;
    struct quipu_slice bytes;
    enum quipu_status status = quipu_manifest_load(txn, &bytes, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (writer->is_valid && quipu_slice_equal(bytes, quipu_buf_slice(&writer->manifest_bytes))) {
        for (uint32_t i = 0; i < writer->manifest.run_count; i++) {
            writer->manifest.runs[i].is_committed = true;
        }
        return QUIPU_OK;
    }
    quipu_writer_forget(writer);
    quipu_buf_reset(&writer->manifest_bytes);
    quipu_buf_append_slice(&writer->manifest_bytes, bytes);
    if (writer->manifest_bytes.status != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the manifest of the runs");
    }
    if (bytes.len == 0) {
        writer->manifest.indexed = 0;
        writer->manifest.next_run = 1;
        writer->manifest.merge_count = 0;
        writer->manifest.trash_count = 0;
    } else {
        status = quipu_manifest_decode(bytes, &writer->manifest, err);
        if (status != QUIPU_OK) {
            writer->manifest.run_count = 0; /* what is there is not to be released */
        }
    }
    if (status == QUIPU_OK) {
        quipu_tail_reset(&writer->tail, writer->manifest.indexed);
        writer->is_valid = true;
    }
    return status;
}

static enum quipu_status sync_writer(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_writer *writer = &txn->store->writer;
    enum quipu_status status = load_manifest(txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (writer->manifest.indexed > txn->last_position) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: %" PRIu64 " positions are indexed, the log has %" PRIu64,
                               txn->store->path, writer->manifest.indexed, txn->last_position);
    }
    if (writer->tail.base + writer->tail.count > txn->last_position) {
        quipu_tail_reset(&writer->tail, writer->manifest.indexed);
    }
    /* More than the tail holds were left unindexed by a process with a larger one. */
    while (status == QUIPU_OK && txn->last_position - writer->tail.base >= writer->tail.cap) {
        status = quipu_tail_catch_up(txn, &writer->tail, writer->tail.base + writer->tail.cap, err);
        if (status == QUIPU_OK) {
            status = quipu_runs_flush(txn, err);
        }
    }
    return status == QUIPU_OK ? quipu_tail_catch_up(txn, &writer->tail, txn->last_position, err)
                              : status;
}

enum quipu_status quipu_writer_sync(struct quipu_txn *txn, struct quipu_error *err)
{
    if (txn->has_synced) {
        return QUIPU_OK;
    }
    enum quipu_status status = sync_writer(txn, err);
    txn->has_synced = true;
    if (status != QUIPU_OK) {
        quipu_writer_forget(&txn->store->writer);
        txn->has_synced = false;
    }
    return status;
}
