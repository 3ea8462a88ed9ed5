/*
 * Reading the log: a record by its position, and the figures of the store. SPEC §6.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "internal.h"
#include "record.h"

uint64_t quipu_txn_last_position(const struct quipu_txn *txn)
{
    return txn->last_position;
}

#define PREFETCH_PAGES 2
#define AHEAD_BYTES    ((size_t)1 << 20)

/* Whoever steps through the log waits for memory more than for anything else: records lie in a page
 * from its end to its front, so the processor does not see where the next one is. An appended log
 * has its pages one behind the other, so ask for what lies as far into the page after the next as
 * this record does into its own. Where something else is there, nothing is lost but the asking,
 * which never faults, not even beyond the map's end. */
static void prefetch_ahead(size_t page_bytes, const MDB_val *val)
{
    uintptr_t at = (uintptr_t)val->mv_data + PREFETCH_PAGES * page_bytes;
    quipu_prefetch((const uint8_t *)at, val->mv_size);
}

/* The map is not read ahead by itself: ask for the next part whenever the first half of the part
 * that was asked for last is behind us. */
static void read_ahead(struct quipu_txn *txn, const MDB_val *val)
{
    uintptr_t at = (uintptr_t)val->mv_data;
    if (at >= txn->ahead_from && at - txn->ahead_from < AHEAD_BYTES / 2) {
        return;
    }
    txn->ahead_from = at - at % txn->store->page_bytes;
    /* Asking costs much more than looking whether the part's end is in memory already. Either may
     * fail beyond the map's end: nothing is asked for then. */
    unsigned char is_there = 0;
    void *end = (void *)(txn->ahead_from + AHEAD_BYTES - txn->store->page_bytes);
    if (mincore(end, txn->store->page_bytes, &is_there) == 0 && (is_there & 1) == 0) {
        (void)madvise((void *)txn->ahead_from, AHEAD_BYTES, MADV_WILLNEED); /* a hint */
    }
}

/* A snapshot is mostly read in order, and a cursor's next step is far cheaper than a descent. */
static int read_by_cursor(struct quipu_txn *txn, uint64_t position, MDB_val *val)
{
    int code = 0;
    if (txn->log_cursor == NULL) {
        code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_LOG], &txn->log_cursor);
    } else if (txn->has_old_cursor) {
        code = mdb_cursor_renew(txn->mdb, txn->log_cursor);
    }
    if (code != 0) {
        return code;
    }
    txn->has_old_cursor = false;
    MDB_val key = quipu_val(&position, sizeof position);
    MDB_cursor_op op = MDB_SET_KEY;
    if (txn->cursor_position != 0 && position == txn->cursor_position + 1) {
        op = MDB_NEXT;
    } else if (txn->cursor_position != 0 && position + 1 == txn->cursor_position) {
        op = MDB_PREV;
    }
    txn->cursor_position = 0;
    code = mdb_cursor_get(txn->log_cursor, &key, val, op);
    if (code != 0) {
        return code;
    }
    if (key.mv_size != sizeof position || memcmp(key.mv_data, &position, sizeof position) != 0) {
        return MDB_NOTFOUND;
    }
    txn->cursor_position = position;
    if (op == MDB_NEXT) {
        prefetch_ahead(txn->store->page_bytes, val);
        read_ahead(txn, val);
    }
    return 0;
}

enum quipu_status quipu_log_value(struct quipu_txn *txn, uint64_t position, struct quipu_slice *out,
                                  struct quipu_error *err)
{
    if (position == 0 || position > txn->last_position) {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "no event at position %" PRIu64 ", the last is %" PRIu64, position,
                               txn->last_position);
    }
    MDB_val val;
    int code;
    if (txn->is_write) {
        MDB_val key = quipu_val(&position, sizeof position);
        code = mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_LOG], &key, &val);
    } else {
        code = read_by_cursor(txn, position, &val);
    }
    if (code == MDB_NOTFOUND) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "record at position %" PRIu64 " of %" PRIu64 " is missing", position,
                               txn->last_position);
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read position %" PRIu64, txn->store->path,
                                position);
    }
    *out = quipu_slice_of(val);
    return QUIPU_OK;
}

enum quipu_status quipu_txn_record_at(struct quipu_txn *txn, uint64_t position,
                                      struct quipu_record *out, struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status = quipu_log_value(txn, position, &value, err);
    return status == QUIPU_OK ? quipu_record_decode(value, position, out, err) : status;
}

enum quipu_status quipu_log_indexed(struct quipu_txn *txn, uint64_t position,
                                    struct quipu_record *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_record_at(txn, position, out, err);
    return status == QUIPU_NOT_FOUND
               ? quipu_error_set(err, QUIPU_CORRUPT,
                                 "%s: an index names position %" PRIu64 ", the last is %" PRIu64
                                 "; run `quipu verify --repair-indexes`",
                                 txn->store->path, position, txn->last_position)
               : status;
}

enum quipu_status quipu_txn_stat(struct quipu_txn *txn, struct quipu_store_stat *out,
                                 struct quipu_error *err)
{
    struct quipu_store *store = txn->store;
    MDB_stat heads;
    int fd = -1;
    struct stat file;
    int code = mdb_stat(txn->mdb, store->dbi[QUIPU_DB_HEAD], &heads);
    if (code == 0) {
        code = mdb_env_get_fd(store->env, &fd);
    }
    if (code == 0 && fstat(fd, &file) != 0) {
        code = errno;
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read the figures", store->path);
    }
    *out = (struct quipu_store_stat){
        .events = txn->last_position,
        .aggregates = heads.ms_entries,
        .file_bytes = (uint64_t)file.st_size,
        .map_bytes = store->map_bytes,
        .format = QUIPU_STORE_FORMAT,
    };
    return QUIPU_OK;
}
