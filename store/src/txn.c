/*
 * Transactions: counting them in and out, mapping anew when nobody is in the way, and what a failed
 * write means for those to come. What one may write: txn_write.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "internal.h"
#include "internal/failpoint.h"
#include "internal/invariant.h"
#include "quipu/alloc.h"

/* Commits, of all processes together, between two looks for readers that were killed. */
#define DEAD_READERS_COMMITS 256

/* For good: a cursor of a read transaction does not end with it. */
static void snapshot_end(struct quipu_txn *txn)
{
    if (txn->log_cursor != NULL) {
        mdb_cursor_close(txn->log_cursor);
        txn->log_cursor = NULL;
    }
    if (txn->mdb != NULL) {
        mdb_txn_abort(txn->mdb);
        txn->mdb = NULL;
    }
}

void quipu_store_drop_idle(struct quipu_store *store)
{
    bool is_ours = quipu_store_is_own(store);
    while (store->idle != NULL) {
        struct quipu_txn *txn = store->idle;
        store->idle = txn->next_idle;
        if (is_ours) {
            snapshot_end(txn);
        }
        quipu_runs_release(txn);
        quipu_free(txn);
    }
    store->idle_count = 0;
}

static enum quipu_status reopen(struct quipu_store *store, struct quipu_error *err)
{
    quipu_store_drop_idle(store);
    quipu_writer_forget(&store->writer);
    quipu_env_close(store);
    store->synced_txn = 0; /* whatever failed may have been a write that this counted on */
    enum quipu_status status = quipu_env_open(store, err);
    if (status == QUIPU_OK) {
        store->wants_reopen = false;
        store->wants_larger_map = false;
    }
    return status;
}

enum quipu_status quipu_store_enter(struct quipu_store *store, bool will_write,
                                    struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    pthread_mutex_lock(&store->mutex);
    if (store->is_read_only && store->open_lock_fd < 0) {
        status = quipu_store_guard(store, err);
        /* Who made open.lock meanwhile may have put another data file in place. */
        store->wants_reopen = store->wants_reopen || store->open_lock_fd >= 0;
    }
    if (status == QUIPU_OK && store->active == 0) {
        if (store->wants_reopen || store->env == NULL) {
            status = reopen(store, err);
        } else if (store->wants_larger_map) {
            quipu_store_drop_idle(store);
            quipu_writer_forget(&store->writer);
            status = quipu_env_remap(store, err);
            if (status != QUIPU_OK) {
                /* The system grants no more: go on with what it granted before. */
                store->is_map_largest = true;
                status = reopen(store, err);
            }
            store->wants_larger_map = status != QUIPU_OK;
        }
    } else if (status == QUIPU_OK && store->wants_reopen && will_write) {
        status =
            quipu_error_set(err, QUIPU_IO,
                            "%s: a write failed before; end every transaction of this process, "
                            "then writing is tried afresh",
                            store->path);
    }
    if (status == QUIPU_OK) {
        store->active++;
    }
    pthread_mutex_unlock(&store->mutex);
    return status;
}

void quipu_store_leave(struct quipu_store *store)
{
    pthread_mutex_lock(&store->mutex);
    QUIPU_INVARIANT(store->active > 0);
    store->active--;
    pthread_mutex_unlock(&store->mutex);
}

static void want(struct quipu_store *store, bool *flag)
{
    pthread_mutex_lock(&store->mutex);
    *flag = true;
    pthread_mutex_unlock(&store->mutex);
}

void quipu_store_want_larger_map(struct quipu_store *store)
{
    want(store, &store->wants_larger_map);
}

enum quipu_status quipu_store_write_error(struct quipu_store *store, struct quipu_error *err,
                                          int code, const char *what)
{
    if (code == MDB_MAP_FULL) {
        want(store, &store->wants_larger_map);
        return quipu_error_set(
            err, QUIPU_NO_SPACE, "%s: %s: the reserved %" PRIu64 " bytes are used up; %s",
            store->path, what, store->map_bytes,
            store->is_map_largest ? "the system grants this process no more; raise its limit on "
                                    "address space (ulimit -v)"
                                  : "end every transaction of this process and try again, they "
                                    "are doubled then");
    }
    code = quipu_write_code(store->real_path, code);
    if (code == EIO || code == MDB_PANIC) {
        want(store, &store->wants_reopen);
    }
    return quipu_lmdb_error(err, code, "%s: %s", store->path, what);
}

/* May beginning be tried once more after `code`? Notes what has to happen first. */
static bool can_retry(struct quipu_store *store, int code)
{
    switch (code) {
    case MDB_READERS_FULL: {
        int dead = 0;
        return mdb_reader_check(store->env, &dead) == 0 && dead > 0;
    }
    case MDB_MAP_RESIZED:
        want(store, &store->wants_larger_map);
        return true;
    case MDB_PANIC:
        want(store, &store->wants_reopen);
        return true;
    default:
        return false;
    }
}

enum quipu_status quipu_store_outgrown(const struct quipu_store *store, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUSY,
                           "%s has outgrown the map of this process: end its transactions and try "
                           "again",
                           store->path);
}

static enum quipu_status begin_error(const struct quipu_store *store, int code,
                                     struct quipu_error *err)
{
    if (code == MDB_MAP_RESIZED) {
        return quipu_store_outgrown(store, err);
    }
    return quipu_lmdb_error(err, code, "%s: begin a transaction", store->path);
}

/* ------------------------------------------------------------------ read */

static struct quipu_txn *take_idle(struct quipu_store *store)
{
    pthread_mutex_lock(&store->mutex);
    struct quipu_txn *txn = store->idle;
    if (txn != NULL) {
        store->idle = txn->next_idle;
        store->idle_count--;
    }
    pthread_mutex_unlock(&store->mutex);
    return txn;
}

static int last_position_of(struct quipu_txn *txn)
{
    MDB_stat stat;
    int code = mdb_stat(txn->mdb, txn->store->dbi[QUIPU_DB_LOG], &stat);
    if (code == 0) {
        txn->last_position = stat.ms_entries;
        txn->begin_position = stat.ms_entries;
        txn->log_pages_before = stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    return code;
}

/* LMDB 0.9.24 reads the number of its snapshot first and the meta page of that number then; the
 * page is written again by the second commit after it. A thread that was held up in between has the
 * newer content under the older number, perhaps before that commit is announced, and its next
 * snapshot could be an older one. Where that may have happened, begin again. */
static int settle_snapshot(struct quipu_txn *txn)
{
    MDB_envinfo info;
    int code = mdb_env_info(txn->store->env, &info);
    while (code == 0 && info.me_last_txnid > mdb_txn_id(txn->mdb) + 1) {
        mdb_txn_reset(txn->mdb);
        code = mdb_txn_renew(txn->mdb);
        if (code == 0) {
            code = mdb_env_info(txn->store->env, &info);
        }
    }
    return code;
}

/* A snapshot in *txn, whose struct is made or taken from the idle ones. */
static int begin_snapshot(struct quipu_store *store, struct quipu_txn **out)
{
    struct quipu_txn *txn = take_idle(store);
    int code;
    if (txn != NULL) {
        code = mdb_txn_renew(txn->mdb);
    } else {
        txn = quipu_alloc_zero(1, sizeof *txn);
        if (txn == NULL) {
            return ENOMEM;
        }
        txn->store = store;
        code = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn->mdb);
    }
    if (code == 0) {
        code = settle_snapshot(txn);
    }
    if (code == 0) {
        code = last_position_of(txn);
    }
    if (code != 0) {
        snapshot_end(txn);
        quipu_runs_release(txn);
        quipu_free(txn);
        return code;
    }
    *out = txn;
    return 0;
}

enum quipu_status quipu_txn_begin_read(struct quipu_store *store, struct quipu_txn **out,
                                       struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int code = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        status = quipu_store_enter(store, false, err);
        if (status != QUIPU_OK) {
            return status;
        }
        code = begin_snapshot(store, out);
        if (code == 0) {
            return QUIPU_OK;
        }
        bool is_worth_it = can_retry(store, code);
        quipu_store_leave(store);
        if (!is_worth_it) {
            break;
        }
    }
    return begin_error(store, code, err);
}

static void close_cursors(struct quipu_txn *txn)
{
    quipu_walks_detach(txn);
    if (txn->is_write && txn->log_cursor != NULL) {
        mdb_cursor_close(txn->log_cursor);
        txn->log_cursor = NULL;
    }
    if (txn->table_cursor != NULL) {
        mdb_cursor_close(txn->table_cursor);
        txn->table_cursor = NULL;
    }
    txn->cursor_position = 0;
}

static void end_read(struct quipu_txn *txn)
{
    struct quipu_store *store = txn->store;
    if (!quipu_store_is_own(store)) {
        return; /* the parent's, and in the parent's reader table */
    }
    close_cursors(txn);
    txn->has_old_cursor = txn->log_cursor != NULL;
    txn->has_runs = false;
    mdb_txn_reset(txn->mdb);
    pthread_mutex_lock(&store->mutex);
    bool keep = store->idle_count < QUIPU_IDLE_READS_MAX;
    if (keep) {
        txn->next_idle = store->idle;
        store->idle = txn;
        store->idle_count++;
    }
    store->active--;
    pthread_mutex_unlock(&store->mutex);
    if (!keep) {
        snapshot_end(txn);
        quipu_runs_release(txn);
        quipu_free(txn);
    }
}

/* ------------------------------------------------------------------ write */

/* Now and then is often enough to let go of what readers pin that were killed; who only writes rows
 * must do it too. A failure of it is only a larger file. */
static void release_dead_readers(const struct quipu_txn *txn)
{
    int dead = 0;
    if (mdb_txn_id(txn->mdb) % DEAD_READERS_COMMITS == 0) {
        (void)mdb_reader_check(txn->store->env, &dead);
    }
}

/* Is half of the map in use, and nobody in the way of a larger one? Better now than in the midst of
 * a transaction, which would be in vain. */
static bool should_grow(struct quipu_store *store)
{
    MDB_envinfo info;
    if (store->is_map_largest || mdb_env_info(store->env, &info) != 0 ||
        ((uint64_t)info.me_last_pgno + 1) * store->page_bytes <= store->map_bytes / 2) {
        return false;
    }
    pthread_mutex_lock(&store->mutex);
    bool is_alone = store->active == 1;
    pthread_mutex_unlock(&store->mutex);
    return is_alone;
}

static enum quipu_status enter_to_write(struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_store_enter(store, true, err);
    if (status != QUIPU_OK || !should_grow(store)) {
        return status;
    }
    quipu_store_want_larger_map(store);
    quipu_store_leave(store);
    return quipu_store_enter(store, true, err);
}

enum quipu_status quipu_txn_begin_write(struct quipu_store *store, struct quipu_txn **out,
                                        struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (store->is_read_only) {
        return quipu_store_refuse_write(store, err);
    }
    int code = pthread_mutex_lock(&store->write_mutex);
    if (code != 0) {
        return quipu_store_refuse_second(store, err);
    }
    quipu_writer_note(store);
    struct quipu_txn *txn = &store->write_txn;
    *txn = (struct quipu_txn){.store = store, .is_write = true};
    for (int attempt = 0; attempt < 2; attempt++) {
        status = enter_to_write(store, err);
        if (status != QUIPU_OK) {
            break;
        }
        code = mdb_txn_begin(store->env, NULL, 0, &txn->mdb);
        if (code == 0 && (code = last_position_of(txn)) == 0) {
            release_dead_readers(txn);
            *out = txn;
            return QUIPU_OK;
        }
        if (txn->mdb != NULL) {
            mdb_txn_abort(txn->mdb);
            txn->mdb = NULL;
        }
        bool is_worth_it = can_retry(store, code);
        quipu_store_leave(store);
        status = begin_error(store, code, err);
        if (!is_worth_it) {
            break;
        }
    }
    quipu_writer_unlock(store);
    return status;
}

/* The lock of LMDB is released already, or `txn->mdb` is still to be aborted. */
static void end_write(struct quipu_txn *txn, bool was_committed)
{
    struct quipu_store *store = txn->store;
    struct quipu_writer *writer = &store->writer;
    if (txn->mdb != NULL) {
        close_cursors(txn);
        mdb_txn_abort(txn->mdb);
        txn->mdb = NULL;
    }
    if (!was_committed && txn->has_synced) {
        if (txn->has_flushed || !writer->is_valid) {
            quipu_writer_forget(writer);
        } else {
            quipu_tail_truncate(&writer->tail, (uint32_t)(txn->begin_position - writer->tail.base));
        }
    }
    quipu_store_leave(store);
    quipu_writer_unlock(store);
}

/* Wake those who watch: see watch.c. The byte does not matter, nor does a failure to read it. */
static void announce(const struct quipu_store *store)
{
    (void)quipu_failpoint("store.commit.announce", NULL); /* to be killed at */
    mdb_filehandle_t fd;
    char byte;
    if (mdb_env_get_fd(store->env, &fd) == 0) {
        ssize_t got = pread(fd, &byte, 1, 0);
        (void)got;
    }
}

/* ------------------------------------------------------------------ what is on the disk */

/* A commit that wrote is on the disk, and with it all before it: its pages lead to theirs. Where a
 * sync has failed since, only what is a proof counts: one of events. */
static void note_synced(struct quipu_store *store, uint64_t txn, bool is_proof)
{
    pthread_mutex_lock(&store->mutex);
    store->has_lost_sync = store->has_lost_sync && !is_proof;
    if (!store->has_lost_sync && txn > store->synced_txn) {
        store->synced_txn = txn;
    }
    pthread_mutex_unlock(&store->mutex);
}

static enum quipu_status sync_entered(struct quipu_store *store, struct quipu_error *err)
{
    MDB_envinfo info;
    int code = mdb_env_info(store->env, &info); /* before the sync: later ones are not covered */
    pthread_mutex_lock(&store->mutex);
    bool is_known = code == 0 && info.me_last_txnid <= store->synced_txn;
    bool has_lost = store->has_lost_sync;
    pthread_mutex_unlock(&store->mutex);
    if (is_known) {
        return QUIPU_OK;
    }
    if (has_lost) {
        code = EIO;
    }
    if (code == 0) {
        code = mdb_env_sync(store->env, 1);
    }
    if (code == 0) {
        note_synced(store, info.me_last_txnid, false);
        return QUIPU_OK;
    }
    pthread_mutex_lock(&store->mutex);
    store->has_lost_sync = true;
    pthread_mutex_unlock(&store->mutex);
    return quipu_lmdb_error(err, code, "%s: sync what is stored", store->path);
}

enum quipu_status quipu_store_sync(struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK || store->options.durability == QUIPU_RELAXED || store->is_read_only ||
        store->is_scratch) {
        return status;
    }
    status = quipu_store_enter(store, false, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = sync_entered(store, err);
    quipu_store_leave(store);
    return status;
}

/* ------------------------------------------------------------------ the end of a write */

enum quipu_status quipu_txn_commit(struct quipu_txn **txn_pointer, struct quipu_error *err)
{
    struct quipu_txn *txn = *txn_pointer;
    *txn_pointer = NULL;
    if (!txn->is_write) {
        end_read(txn);
        return QUIPU_OK;
    }
    struct quipu_store *store = txn->store;
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = txn->failure.status;
    if (status != QUIPU_OK) {
        (void)quipu_txn_fail_with(txn, &txn->failure, err); /* copies it out */
        end_write(txn, false);
        return status;
    }
    status = quipu_failpoint("store.commit.before", err);
    if (status != QUIPU_OK) {
        end_write(txn, false);
        return status;
    }

    close_cursors(txn);
    uint64_t number = mdb_txn_id(txn->mdb);
    /* LMDB writes nothing, and syncs nothing, where nothing was changed. */
    bool has_events = txn->last_position > txn->begin_position;
    bool is_synced = (has_events || txn->has_put_rows) &&
                     store->options.durability == QUIPU_DURABLE && !store->is_scratch;
    int code = mdb_txn_commit(txn->mdb);
    txn->mdb = NULL;
    if (code != 0) {
        /* What became of the pages is LMDB's knowledge only. */
        quipu_writer_forget(&store->writer);
        status = quipu_store_write_error(store, err, code, "commit");
        quipu_commit_doubt(err, code);
    } else {
        if (is_synced) {
            note_synced(store, number, has_events);
        }
        announce(store);
    }
    end_write(txn, code == 0);
    if (status == QUIPU_OK) {
        /* What is committed cannot fail any more: this one is to be killed at. */
        (void)quipu_failpoint("store.commit.after", NULL);
    }
    return status;
}

void quipu_txn_abort(struct quipu_txn **txn_pointer)
{
    if (txn_pointer == NULL || *txn_pointer == NULL) {
        return;
    }
    struct quipu_txn *txn = *txn_pointer;
    *txn_pointer = NULL;
    if (!txn->is_write) {
        end_read(txn);
    } else if (quipu_store_is_own(txn->store)) {
        end_write(txn, false);
    }
}
