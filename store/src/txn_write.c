/*
 * What a write transaction may do: which thread may begin one, how much one may hold, and what a
 * failure leaves of it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>

#include "internal.h"

/* How often a write looks at the room that is left. */
#define ROOM_CHECK_WRITES 64

/* ------------------------------------------------------------------ who writes */

void quipu_writer_note(struct quipu_store *store)
{
    atomic_store_explicit(&store->writing_thread, pthread_self(), memory_order_relaxed);
    atomic_store_explicit(&store->is_writing, true, memory_order_release);
}

void quipu_writer_unlock(struct quipu_store *store)
{
    atomic_store_explicit(&store->is_writing, false, memory_order_relaxed);
    pthread_mutex_unlock(&store->write_mutex);
}

enum quipu_status quipu_store_refuse_second(const struct quipu_store *store,
                                            struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_MISUSE,
                           "%s: this thread has a write transaction in progress already",
                           store->path);
}

enum quipu_status quipu_store_check_writer(const struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* Only this thread notes itself, and it has taken that back where it writes no more: whatever
     * others do meanwhile, the answer is right. */
    if (atomic_load_explicit(&store->is_writing, memory_order_acquire) &&
        pthread_equal(atomic_load_explicit(&store->writing_thread, memory_order_relaxed),
                      pthread_self())) {
        return quipu_store_refuse_second(store, err);
    }
    return QUIPU_OK;
}

void quipu_commit_doubt(struct quipu_error *err, int code)
{
    /* LMDB's own codes, and a lack of memory, come before anything is written. */
    if (err != NULL) {
        err->is_unsure = code > 0 && code != ENOMEM;
    }
}

/* ------------------------------------------------------------------ what it writes */

enum quipu_status quipu_txn_fail_with(struct quipu_txn *txn, const struct quipu_error *failure,
                                      struct quipu_error *err)
{
    if (txn->failure.status == QUIPU_OK) {
        txn->failure = *failure;
    }
    if (err != NULL) {
        *err = *failure;
    }
    return failure->status;
}

enum quipu_status quipu_txn_fail(struct quipu_txn *txn, int code, const char *what,
                                 struct quipu_error *err)
{
    struct quipu_error failure;
    (void)quipu_store_write_error(txn->store, &failure, code, what);
    return quipu_txn_fail_with(txn, &failure, err);
}

static uint64_t pages_of(const struct quipu_txn *txn, enum quipu_db db)
{
    MDB_stat stat;
    return mdb_stat(txn->mdb, txn->store->dbi[db], &stat) == 0
               ? stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages
               : 0;
}

/* What it has changed, which LMDB holds in memory. The log's growth and large values count in full,
 * and for small values elsewhere one page each, but no more than there are. */
static uint64_t pages_held(const struct quipu_txn *txn)
{
    uint64_t log_pages = pages_of(txn, QUIPU_DB_LOG);
    uint64_t others = pages_of(txn, QUIPU_DB_HEAD) + pages_of(txn, QUIPU_DB_TABLE);
    uint64_t used = txn->large_pages;
    used += log_pages > txn->log_pages_before ? log_pages - txn->log_pages_before : 0;
    return used + (txn->small_values < others ? txn->small_values : others);
}

uint64_t quipu_txn_bytes_held(const struct quipu_txn *txn)
{
    return txn->is_write ? pages_held(txn) * txn->store->page_bytes : 0;
}

/* LMDB 0.9.24 has bugs where a transaction holds more than 131,071 pages. */
static enum quipu_status check_room(const struct quipu_txn *txn, struct quipu_error *err)
{
    uint64_t used = pages_held(txn);
    if (used > txn->store->tuning.dirty_pages_max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "%s: this transaction holds %" PRIu64 " pages in memory, limit %u: "
                               "commit and go on in a new one",
                               txn->store->path, used, txn->store->tuning.dirty_pages_max);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_txn_may_write(struct quipu_txn *txn, uint64_t bytes,
                                      struct quipu_error *err)
{
    if (!txn->is_write) {
        return quipu_error_set(err, QUIPU_MISUSE, "a read transaction cannot write");
    }
    if (txn->failure.status != QUIPU_OK) {
        return quipu_txn_fail_with(txn, &txn->failure, err);
    }
    if (txn->writes % ROOM_CHECK_WRITES == ROOM_CHECK_WRITES - 1) {
        enum quipu_status status = check_room(txn, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    if (bytes > 1024) {
        quipu_txn_note_large(txn, bytes);
    } else {
        txn->small_values++;
    }
    txn->writes++;
    return QUIPU_OK;
}
