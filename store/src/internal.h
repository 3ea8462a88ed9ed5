/*
 * What the files of store/ share: the store, the transaction, the writer's state. The only header
 * of the project that includes lmdb.h. Private to store/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_INTERNAL_H
#define QUIPU_STORE_INTERNAL_H

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/types.h>

#include <lmdb.h>

#include "entry.h"
#include "lmdb_status.h"
#include "manifest.h"
#include "quipu/store.h"
#include "tail.h"
#include "tuning.h"

#define QUIPU_STORE_FORMAT 1

#define QUIPU_DATA_NAME      "data.mdb"
#define QUIPU_LMDB_LOCK_NAME "lock.mdb"
#define QUIPU_OPEN_LOCK_NAME "open.lock"
#define QUIPU_TEMP_NAME      "create.tmp"

/* Idle read transactions that are kept for the next reader. */
#define QUIPU_IDLE_READS_MAX 64

/* Named databases of the environment, SPEC §6.2. */
enum quipu_db {
    QUIPU_DB_META = 0,
    QUIPU_DB_LOG,
    QUIPU_DB_CID_RUN,
    QUIPU_DB_EVENT_ID_RUN,
    QUIPU_DB_TERM_RUN,
    QUIPU_DB_HEAD,
    QUIPU_DB_TABLE,
    QUIPU_DBS
};

/* Where a search in a run has led. */
struct quipu_run_cursor {
    struct quipu_run *run;
    enum quipu_index index;
    uint64_t segment;
    struct quipu_slice entries; /* of the segment */
    size_t at;                  /* the entry, bytes into it */
};

/* Where the last look-up of a term has led, so that the next one need only step on. */
struct quipu_term_cursor {
    bool is_valid;
    bool has_own; /* the next three are valid */
    struct quipu_uuid own_id;
    uint64_t own_position;
    uint64_t own_writes;
    uint32_t hash;
    uint64_t position; /* of the entry at the cursor */
    uint64_t writes;   /* of the transaction, when it was placed */
    struct quipu_run_cursor cursor;
};

/* What the write transaction in progress works on. Whoever holds write_mutex owns it. */
struct quipu_writer {
    struct quipu_manifest manifest;
    /* The manifest as it is stored, to see whether another process has changed it. */
    struct quipu_buf manifest_bytes;
    /* Events behind manifest.indexed, with those that are not committed yet. */
    struct quipu_tail tail;
    /* False where tail or manifest may hold what was never committed. */
    bool is_valid;
    /* Room to sort the entries of one flush: twice two entries an event. */
    struct quipu_entry *sort;
};

struct quipu_txn {
    struct quipu_store *store;
    MDB_txn *mdb;
    bool is_write;
    bool has_synced;  /* write: writer agrees with this transaction */
    bool has_flushed; /* write: made a run, so the tail cannot be cut back to where it was */
    bool has_runs;    /* read: runs are those of this snapshot */
    uint64_t last_position;
    uint64_t begin_position;
    uint64_t writes; /* changes so far; slices and walks from before are old */
    /* A read transaction keeps it while it is idle; it is to be renewed then. */
    MDB_cursor *log_cursor;
    bool has_old_cursor;
    MDB_cursor *table_cursor;
    uint64_t cursor_position; /* of log_cursor in a read transaction, 0: nowhere */
    uintptr_t ahead_from;     /* what the disk was asked for last; see log.c */
    struct quipu_table_walk *walks;
    /* First failure; what is stored so far must not be committed. */
    struct quipu_error failure;
    /* For the bound on the pages that LMDB holds in memory, see check_room in txn.c. */
    uint64_t log_pages_before;
    uint64_t large_pages;
    uint64_t small_values;
    bool has_put_rows; /* so that the commit writes, and syncs */
    /* read: the runs of this snapshot, or where has_runs is false of an earlier one; owned */
    struct quipu_run *runs;
    uint32_t run_count;
    uint64_t indexed;
    struct quipu_term_cursor term_cursor;
    struct quipu_txn *next_idle;
};

struct quipu_store {
    char *path;               /* as given */
    char real_path[PATH_MAX]; /* so that a later chdir does not matter */
    pid_t pid;
    /* A byte that is 1 here, and that a forked child finds 0; NULL where the kernel cannot do that.
     * Asking for the process's number is a system call, and this is asked with each transaction. */
    const volatile uint8_t *own_mark;
    int folder_fd;
    int open_lock_fd;
    bool is_read_only; /* the folder cannot be written: LMDB's locks cannot be used */
    bool is_alone;     /* no other process can have it open, nor open it */
    bool is_repair;    /* to be read for its log and its tables: what derives may be missing */
    bool is_scratch;   /* in create.tmp: no locks, synced once at the end */
    struct quipu_store_options options;
    struct quipu_store_tuning tuning;
    struct quipu_uuid id;

    MDB_env *env; /* NULL where a reopen has failed */
    MDB_dbi dbi[QUIPU_DBS];
    uint64_t map_bytes;
    size_t page_bytes;

    /* Guards what follows, up to write_mutex. Leaf-level, but for mapping anew. */
    pthread_mutex_t mutex;
    uint64_t active; /* transactions and backups in progress, waiting ones too */
    struct quipu_txn *idle;
    uint32_t idle_count;
    bool wants_larger_map;
    bool is_map_largest; /* a larger one was refused; changes only where nobody is in a transaction
                          */
    bool wants_reopen;
    /* LMDB's number of the newest transaction that this process knows to be on the disk, 0: none;
     * and whether a sync has failed since, after which the kernel may call lost pages clean. */
    uint64_t synced_txn;
    bool has_lost_sync;

    /* Held as long as a write transaction: LMDB's own lock would let the next thread in before
     * commit could tidy up the writer. Of the error-checking kind: a thread that begins a second
     * write transaction is told so instead of waiting for itself. */
    pthread_mutex_t write_mutex;
    /* Who holds it, so that others who are asked to wait can see that it is not they. */
    _Atomic(pthread_t) writing_thread;
    atomic_bool is_writing;
    struct quipu_txn write_txn;
    struct quipu_writer writer;

    /* Tail of the readers, and the lock over it. */
    pthread_mutex_t read_tail_mutex;
    struct quipu_tail read_tail;
};

/* ------------------------------------------------------------------ small helpers */

/* Ask for the lines of memory that hold a record, or its first part, before they are needed. Never
 * faults, whatever the address. */
static inline void quipu_prefetch(const uint8_t *at, size_t len)
{
    enum { LINE_BYTES = 64, BYTES_MAX = 1024 };
    size_t wanted = len < BYTES_MAX ? len : BYTES_MAX;
    for (size_t i = 0; i < wanted + LINE_BYTES; i += LINE_BYTES) {
        __builtin_prefetch((const void *)((uintptr_t)at + i));
    }
}

/* LMDB's value type has no const; it does not write through what it is given to put or to seek. */
static inline MDB_val quipu_val(const void *data, size_t len)
{
    MDB_val val = {.mv_size = len};
    memcpy(&val.mv_data, &data, sizeof val.mv_data);
    return val;
}

static inline MDB_val quipu_val_of(struct quipu_slice slice)
{
    return quipu_val(slice.data, slice.len);
}

static inline struct quipu_slice quipu_slice_of(MDB_val val)
{
    return quipu_slice(val.mv_data, val.mv_size);
}

/* Key of segment `segment` of a run; the directory of a run of several segments is the last one. */
#define QUIPU_RUN_SEGMENT_BITS 24
#define QUIPU_RUN_DIRECTORY    ((UINT64_C(1) << QUIPU_RUN_SEGMENT_BITS) - 1)

static inline uint64_t quipu_run_key(uint64_t number, uint64_t segment)
{
    return number << QUIPU_RUN_SEGMENT_BITS | segment;
}

/* A write puts a value of this size into pages of its own. */
static inline void quipu_txn_note_large(struct quipu_txn *txn, uint64_t bytes)
{
    txn->large_pages += bytes / txn->store->page_bytes + 1;
}

static inline enum quipu_db quipu_index_db(enum quipu_index index)
{
    static const enum quipu_db dbs[QUIPU_INDEXES] = {QUIPU_DB_CID_RUN, QUIPU_DB_EVENT_ID_RUN,
                                                     QUIPU_DB_TERM_RUN};
    return dbs[index];
}

/* ------------------------------------------------------------------ environment.c */

/* Name and flags of each database. */
const char *quipu_db_name(enum quipu_db db);
unsigned quipu_db_flags(enum quipu_db db);

/* Open store->env, check that it is ours and whole, fill in dbi, id, map_bytes and
 * page_bytes. On failure store->env is NULL. */
QUIPU_MUST_CHECK enum quipu_status quipu_env_open(struct quipu_store *store,
                                                  struct quipu_error *err);
/* Is the environment in this folder one of ours? Touches no lock file. */
QUIPU_MUST_CHECK enum quipu_status quipu_env_probe(const char *folder, struct quipu_error *err);
/* A larger map, or the one that another process has made. No transaction may be in progress. */
QUIPU_MUST_CHECK enum quipu_status quipu_env_remap(struct quipu_store *store,
                                                   struct quipu_error *err);
void quipu_env_close(struct quipu_store *store);

/* ------------------------------------------------------------------ data_file.c */

/* Look at data.mdb before LMDB does. */
QUIPU_MUST_CHECK enum quipu_status quipu_data_file_check(int folder_fd, struct quipu_error *err);
/* Does the file hold every page in use? Call it with the environment open, before any page is
 * read. */
QUIPU_MUST_CHECK enum quipu_status quipu_data_file_check_length(struct quipu_store *store,
                                                                struct quipu_error *err);

/* ------------------------------------------------------------------ create.c */

/* Make data.mdb where there is none, all or nothing, or finish what was left half done. The caller
 * holds the creation lock. `*was_made`: it was not there before. */
QUIPU_MUST_CHECK enum quipu_status quipu_create_files(const struct quipu_store *store,
                                                      bool may_create, bool *was_made,
                                                      struct quipu_error *err);

/* A new, empty environment in this folder, committed. Returns LMDB's code. */
int quipu_environment_build(const char *folder, const struct quipu_uuid *id);

/* ------------------------------------------------------------------ backup.c */

/* A compacted copy of the environment as create.tmp/data.mdb in this folder, synced. Where it
 * fails, nothing of it is left. */
QUIPU_MUST_CHECK enum quipu_status quipu_copy_make(struct quipu_store *store, int folder,
                                                   const char *real_path, struct quipu_error *err);
/* Put create.tmp/data.mdb, which is synced, in the place of the folder's data.mdb; `failpoint` is
 * passed behind the rename. */
QUIPU_MUST_CHECK enum quipu_status quipu_copy_place(int folder, const char *real_path,
                                                    const char *failpoint, struct quipu_error *err);

/* ------------------------------------------------------------------ store.c, txn.c */

/* Open an existing store that nobody else has open, and keep others out until it is closed. With
 * `is_repair` only its log and its tables are opened. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_open_alone(const char *path,
                                                          const struct quipu_store_tuning *tuning,
                                                          bool is_repair, struct quipu_store **out,
                                                          struct quipu_error *err);
/* Of a store that is_read_only: keep writers out until it is closed. Where there is no open.lock
 * nobody writes, and open_lock_fd stays -1: to be called again before each reading. Fails with
 * QUIPU_BUSY, QUIPU_PERMISSION. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_guard(struct quipu_store *store,
                                                     struct quipu_error *err);
/* Open what was built in the parent's create.tmp. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_open_scratch(const struct quipu_store *parent,
                                                            struct quipu_store **out,
                                                            struct quipu_error *err);

/* Has this process opened the store, and not its parent? */
bool quipu_store_is_own(const struct quipu_store *store);
/* QUIPU_MISUSE in a forked child. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_check_process(const struct quipu_store *store,
                                                             struct quipu_error *err);
/* QUIPU_PERMISSION, for a store that is_read_only. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_refuse_write(const struct quipu_store *store,
                                                            struct quipu_error *err);
/* Count a transaction in; grows the map or opens the environment afresh where that is due. */
QUIPU_MUST_CHECK enum quipu_status quipu_store_enter(struct quipu_store *store, bool will_write,
                                                     struct quipu_error *err);
void quipu_store_leave(struct quipu_store *store);
/* LMDB said MDB_MAP_RESIZED: have the next one that enters alone map anew. */
void quipu_store_want_larger_map(struct quipu_store *store);
/* It said so again: QUIPU_BUSY. */
enum quipu_status quipu_store_outgrown(const struct quipu_store *store, struct quipu_error *err);
/* Translate what a writing LMDB call returned and note what it means for the store. */
enum quipu_status quipu_store_write_error(struct quipu_store *store, struct quipu_error *err,
                                          int code, const char *what);
/* LMDB says EIO for a write that the file system has cut short: ENOSPC where hardly anything is
 * left on that of `path`, else `code` as it is. */
int quipu_write_code(const char *path, int code);
/* End the idle read transactions; the caller holds store->mutex. */
void quipu_store_drop_idle(struct quipu_store *store);

/* ------------------------------------------------------------------ txn_write.c */

/* This thread has taken write_mutex. */
void quipu_writer_note(struct quipu_store *store);
void quipu_writer_unlock(struct quipu_store *store);
/* QUIPU_MISUSE: this thread holds write_mutex already. */
enum quipu_status quipu_store_refuse_second(const struct quipu_store *store,
                                            struct quipu_error *err);
/* A commit has failed with `code`: say in `err` whether it may be stored all the same. */
void quipu_commit_doubt(struct quipu_error *err, int code);

/* QUIPU_MISUSE on a read transaction, the first failure after one, QUIPU_TOO_LARGE where there is
 * no room left. Call it before each write; `bytes` is the value's size, 0 for an append. */
QUIPU_MUST_CHECK enum quipu_status quipu_txn_may_write(struct quipu_txn *txn, uint64_t bytes,
                                                       struct quipu_error *err);
/* A write failed half-way: keep the failure, so that commit refuses. Returns the status. */
enum quipu_status quipu_txn_fail(struct quipu_txn *txn, int code, const char *what,
                                 struct quipu_error *err);
enum quipu_status quipu_txn_fail_with(struct quipu_txn *txn, const struct quipu_error *failure,
                                      struct quipu_error *err);

/* ------------------------------------------------------------------ table_walk.c */

/* Rows of `table` have changed: end its walks. */
void quipu_walks_end(struct quipu_txn *txn, struct quipu_table table);
/* The transaction ends: let go of all cursors. */
void quipu_walks_detach(struct quipu_txn *txn);

/* ------------------------------------------------------------------ log.c, head.c */

/* The stored bytes of a record. */
QUIPU_MUST_CHECK enum quipu_status quipu_log_value(struct quipu_txn *txn, uint64_t position,
                                                   struct quipu_slice *out,
                                                   struct quipu_error *err);

#define QUIPU_HEAD_VALUE_BYTES 56
QUIPU_MUST_CHECK enum quipu_status
quipu_head_decode(struct quipu_slice value, struct quipu_head *out, struct quipu_error *err);
void quipu_head_encode(const struct quipu_head *head, uint8_t out[QUIPU_HEAD_VALUE_BYTES]);

/* The record that an index names: one that is not there is damage of the index. Fails with
 * QUIPU_CORRUPT, never with QUIPU_NOT_FOUND. */
QUIPU_MUST_CHECK enum quipu_status quipu_log_indexed(struct quipu_txn *txn, uint64_t position,
                                                     struct quipu_record *out,
                                                     struct quipu_error *err);

/* ------------------------------------------------------------------ find.c */

/* Forget the runs of a read transaction. */
void quipu_runs_release(struct quipu_txn *txn);

/* Sorted runs of what a transaction sees, oldest positions first; behind them the tail. */
struct quipu_runs {
    struct quipu_run *runs;
    uint32_t count;
    uint64_t indexed;
};
QUIPU_MUST_CHECK enum quipu_status quipu_txn_runs(struct quipu_txn *txn, struct quipu_runs *out,
                                                  struct quipu_error *err);
/* The tail of what a transaction sees, to be given back with quipu_txn_tail_leave. NULL where there
 * is none: then records behind the runs, if any, are to be read from the log. */
QUIPU_MUST_CHECK enum quipu_status
quipu_txn_tail_enter(struct quipu_txn *txn, struct quipu_tail **out, struct quipu_error *err);
void quipu_txn_tail_leave(struct quipu_txn *txn, const struct quipu_tail *tail);

/* ------------------------------------------------------------------ writer.c */

/* Forget what is known of the stored state: the map moves, or a commit has failed. */
void quipu_writer_forget(struct quipu_writer *writer);

QUIPU_MUST_CHECK enum quipu_status quipu_writer_init(struct quipu_writer *writer,
                                                     const struct quipu_store_tuning *tuning,
                                                     struct quipu_error *err);
void quipu_writer_release(struct quipu_writer *writer);
/* Make the writer's manifest and tail agree with what this write transaction sees. */
QUIPU_MUST_CHECK enum quipu_status quipu_writer_sync(struct quipu_txn *txn,
                                                     struct quipu_error *err);
/* Push records from the tail's end up to `last`, reading them from the log. */
QUIPU_MUST_CHECK enum quipu_status quipu_tail_catch_up(struct quipu_txn *txn,
                                                       struct quipu_tail *tail, uint64_t last,
                                                       struct quipu_error *err);
/* The stored manifest, as bytes. */
QUIPU_MUST_CHECK enum quipu_status
quipu_manifest_load(struct quipu_txn *txn, struct quipu_slice *out, struct quipu_error *err);

/* ------------------------------------------------------------------ runs.c, merge.c */

/* Make a run of the whole tail, go on with the merges, store the manifest, empty the tail. */
QUIPU_MUST_CHECK enum quipu_status quipu_runs_flush(struct quipu_txn *txn, struct quipu_error *err);
/* Store the writer's manifest. */
QUIPU_MUST_CHECK enum quipu_status quipu_manifest_store(struct quipu_txn *txn,
                                                        struct quipu_error *err);
/* Start merges that are due and do the work that is due: bounded by the size of one flush times
 * the number of levels, plus one segment. */
QUIPU_MUST_CHECK enum quipu_status quipu_merges_step(struct quipu_txn *txn,
                                                     struct quipu_error *err);
/* The run that a merge of these makes. */
struct quipu_run quipu_merged_run(const struct quipu_run *inputs, const struct quipu_merge *merge);
/* One segment of a run: its entries. `count` is what it must hold. Fails with QUIPU_CORRUPT. */
QUIPU_MUST_CHECK enum quipu_status quipu_run_segment(struct quipu_txn *txn, enum quipu_index index,
                                                     const struct quipu_run *run, uint64_t segment,
                                                     struct quipu_slice *entries,
                                                     struct quipu_error *err);

#endif
