/*
 * The store: one folder, one LMDB environment, the durable log of events and the tables beside it.
 *
 * Read this first:
 *  - A store is opened once per process and shared by all its threads; a second open of the same
 *    folder in one process is refused (QUIPU_EXISTS). Other processes may open it at the same time.
 *  - Do not use a store after fork() in the child; it is refused (QUIPU_MISUSE).
 *  - Not on a network file system: it is refused (QUIPU_INVALID).
 *  - A read transaction pins old pages: the file grows while a long one is open. Read in slices
 * (about 10,000 events or 50 ms), end it, begin again.
 *  - Write transactions are serialised over all threads and processes; a second one waits.
 *  - Slices that come out of a transaction live until that transaction ends, or, in a write
 *    transaction, until its next write.
 *  - LMDB keeps no checksums: what comes out of here is only structurally checked. The CIDs are the
 *    checksums; quipu_verify (engine) and every publish, export and ingest hash again.
 *
 * Layout: docs/SPEC.md §6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORE_H
#define QUIPU_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/uuid.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ limits */

#define QUIPU_AGGREGATE_TYPE_BYTES_MAX 64
#define QUIPU_AGGREGATE_ID_BYTES_MAX   255
#define QUIPU_ENVELOPE_BYTES_MAX       (64u << 10)
#define QUIPU_PAYLOAD_BYTES_MAX        (4u << 20)
/* Greatest length of an event type. */
#define QUIPU_TERM_BYTES_MAX        128
#define QUIPU_TABLE_KEY_BYTES_MAX   500
#define QUIPU_TABLE_VALUE_BYTES_MAX (16u << 20)

/* ------------------------------------------------------------------ the store */

struct quipu_store;

enum quipu_store_create {
    QUIPU_STORE_CREATE_IF_MISSING = 0,
    QUIPU_STORE_OPEN_EXISTING,
    QUIPU_STORE_CREATE_NEW,
};

enum quipu_durability {
    /** A commit returns after fdatasync: what it acknowledged survives a power cut. */
    QUIPU_DURABLE = 0,
    /** The last commits may be lost in a power cut, all or none of each; never corrupted. */
    QUIPU_RELAXED,
};

struct quipu_store_options {
    size_t size; /* sizeof this struct */
    enum quipu_store_create create;
    enum quipu_durability durability;
    /** Address space to reserve, bytes; 0: 1 TiB, halved until the system grants it. */
    uint64_t map_bytes;
};

#define QUIPU_STORE_OPTIONS_INIT                                                                   \
    {                                                                                              \
        .size = sizeof(struct quipu_store_options)                                                 \
    }

/**
 * Open (or make) the store in the folder `path`; the folder itself is made, with mode 0700, its
 * parents are not. `options` NULL: create if missing, durable.
 *
 * A store whose folder cannot be written, such as on a read-only mount, is opened for reading.
 * Nobody can open it for writing until it is closed (QUIPU_BUSY there), and it is not opened where
 * somebody has done so. That takes the right to read `open.lock`; a folder without that file, such
 * as a backup's, is looked at again before each transaction. What would write, and named locks,
 * fail with QUIPU_PERMISSION.
 *
 * @retval QUIPU_NOT_FOUND     no such folder, or no store in it, and OPEN_EXISTING
 * @retval QUIPU_EXISTS        CREATE_NEW and there is a store; or already open in this process
 * @retval QUIPU_NOT_A_STORE   the folder holds something else (a file, or another LMDB environment,
 * or for CREATE_* a folder that is not empty and has no store)
 * @retval QUIPU_BUSY          it is being made by a backup, compacted or repaired; or it is open
 * elsewhere, and only one of the two can write to its folder; err names the process
 * @retval QUIPU_FORMAT_NEWER  made by a newer quipu
 * @retval QUIPU_CORRUPT       truncated or otherwise structurally broken
 * @retval QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE, QUIPU_NO_MEMORY, QUIPU_INVALID
 * @threads any; the handle is shareable
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_open(const char *path, const struct quipu_store_options *options,
                 struct quipu_store **out, struct quipu_error *err);

/** Close and set NULL; every transaction must have ended. NULL is fine. */
QUIPU_API void quipu_store_close(struct quipu_store **store);

/** The folder as it was given to open; borrowed until close. */
QUIPU_API const char *quipu_store_path(const struct quipu_store *store);

/** Descriptor of the folder, for what is kept beside the data file: it stays right where the
 * process changes its working directory. Borrowed until close. */
QUIPU_API int quipu_store_folder(const struct quipu_store *store);

/** UUIDv7 that the store got when it was made. A backup has the same one. */
QUIPU_API struct quipu_uuid quipu_store_id(const struct quipu_store *store);

/**
 * Write a consistent, compacted copy of the environment into the new or empty folder `path` while
 * others read and write. The copy is synced before this returns. Files beside the environment
 * (keys) are not copied. The copy is marked as one (quipu_txn_backup_mark).
 * @retval QUIPU_EXISTS  the folder is not empty
 * @retval QUIPU_BUSY    another backup, or a new store, is being made there; err names the process
 * @retval QUIPU_IO, QUIPU_NO_SPACE, …
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_backup(struct quipu_store *store, const char *path, struct quipu_error *err);

/** A named lock file in the folder, held by at most one process and within it by one holder, so
 * that one flusher runs at a time. Released by the system if the process dies. `name` is 1 to 32 of
 * a-z, 0-9 and '-', and not "open" or "lock"; the file is "<name>.lock". Release it before the
 * store is closed.
 * @retval QUIPU_BUSY     held already; err names the process that holds it, which may be this one
 * @retval QUIPU_INVALID  the file is a link, or no plain file
 * @retval QUIPU_MISUSE (name; after fork), QUIPU_IO, QUIPU_PERMISSION, QUIPU_NO_MEMORY */
struct quipu_store_lock;
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_store_lock_take(struct quipu_store *store,
                                                                   const char *name,
                                                                   struct quipu_store_lock **out,
                                                                   struct quipu_error *err);
QUIPU_API void quipu_store_lock_release(struct quipu_store_lock **lock);

/** Release it and delete its file, where there is no more need for the name. Not for claims, whose
 * file others may hold too. */
QUIPU_API void quipu_store_lock_remove(struct quipu_store_lock **lock);

/** A claim: a lock on `number` within the file of that name, released as a lock is. Locks and
 * claims do not share names. @retval as quipu_store_lock_take */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_claim_take(struct quipu_store *store, const char *name, uint32_t number,
                       struct quipu_store_lock **out, struct quipu_error *err);

/** Does anybody hold this claim, of any process, the caller too? Takes nothing, so it is in
 * nobody's way; also where the store can only be read. @retval QUIPU_MISUSE (name), QUIPU_IO,
 * QUIPU_PERMISSION */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_store_claim_is_held(struct quipu_store *store,
                                                                       const char *name,
                                                                       uint32_t number, bool *out,
                                                                       struct quipu_error *err);

/* ------------------------------------------------------------------ transactions */

/** A snapshot (read) or the one write in progress. Owner thread only. */
struct quipu_txn;

/** @retval QUIPU_NO_MEMORY, QUIPU_IO, QUIPU_MISUSE (after fork)
 * @retval QUIPU_BUSY  too many readers; or the store can only be read here, and is being written to
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_begin_read(struct quipu_store *store, struct quipu_txn **out, struct quipu_error *err);

/** Waits for the write transaction before it. @retval as above; QUIPU_NO_SPACE, QUIPU_CORRUPT;
 * QUIPU_MISUSE where this thread has one in progress itself */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_begin_write(struct quipu_store *store, struct quipu_txn **out, struct quipu_error *err);

/** May this thread wait for a write transaction? For who takes a lock, or waits for another thread,
 * before one begins: a thread that has one in progress itself would wait for ever, and in a forked
 * child nobody is there to wait for. Takes no lock and looks at no file.
 * @retval QUIPU_MISUSE  after fork; this thread has a write transaction in progress */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_check_writer(const struct quipu_store *store, struct quipu_error *err);

/**
 * Make all of the writes durable, or none. `*txn` is consumed and NULL afterwards whatever happens.
 * On a read transaction it just ends it.
 * @retval QUIPU_OK        fdatasync has returned (QUIPU_DURABLE)
 * @retval QUIPU_NO_SPACE, QUIPU_IO, QUIPU_NO_MEMORY  not acknowledged; or the first failure of a
 * call on this transaction. Nothing of it is stored, but where err->is_unsure: then either all of
 * it is or nothing, the disk may have taken the last page and failed to say so. Look in a new
 * transaction before writing it again
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_commit(struct quipu_txn **txn,
                                                              struct quipu_error *err);

/** Forget the writes, or end a read; `*txn` becomes NULL. NULL is fine. */
QUIPU_API void quipu_txn_abort(struct quipu_txn **txn);

/**
 * Before something is acknowledged that was found stored: make sure that it survives a power cut as
 * the commits of this store do. Another process may have written it relaxed. Costs nothing where
 * this process has appended and synced since the newest commit, else one fdatasync. In a relaxed
 * store it does nothing. Call it outside of the transaction that found it, or within.
 * @retval QUIPU_OK  fdatasync has returned for every commit before the call (QUIPU_DURABLE)
 * @retval QUIPU_IO  it failed, or did before: what is stored may be lost in a power cut. Only an
 * append by this process that succeeds is proof again
 * @retval QUIPU_MISUSE (after fork)
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_store_sync(struct quipu_store *store,
                                                              struct quipu_error *err);

/** Is this a copy that quipu_store_backup made, and the mark still there? Such a store may be older
 * than what was recorded after it, so whoever numbers events must not go on from its counters under
 * the same name. Compacting and repairing keep the mark. @retval QUIPU_CORRUPT, QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_backup_mark(struct quipu_txn *txn, bool *is_marked, struct quipu_error *err);

/** Take the mark away, with this transaction's commit. @retval as quipu_txn_table_delete */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_backup_mark_clear(struct quipu_txn *txn,
                                                                         struct quipu_error *err);

/* ------------------------------------------------------------------ the log */

/** Names the aggregate an event belongs to. */
struct quipu_aggregate {
    struct quipu_slice type;
    struct quipu_slice id;
};

/** What goes in: all borrowed for the call. */
struct quipu_record_new {
    struct quipu_aggregate aggregate;
    uint64_t version;
    struct quipu_uuid event_id;
    struct quipu_cid envelope_cid;
    struct quipu_cid payload_cid;
    struct quipu_slice event_type;
    /** nil: the event's own id */
    struct quipu_uuid correlation_id;
    /** Must contain the bytes of event_id, payload_cid's digest, aggregate type and id, event_type
     * and correlation_id: they are not stored twice. Slices above that point into it save a
     * search. */
    struct quipu_slice envelope;
    struct quipu_slice payload;
};

/** What comes out: slices live as long as the transaction allows. */
struct quipu_record {
    uint64_t position;
    /** Position of the aggregate's event before this one, 0 where it is the first. */
    uint64_t aggregate_prev_position;
    uint64_t version;
    struct quipu_aggregate aggregate;
    struct quipu_slice event_type;
    struct quipu_uuid event_id;
    /** Equal to event_id where the event is the first of its correlation. */
    struct quipu_uuid correlation_id;
    struct quipu_cid envelope_cid;
    struct quipu_cid payload_cid;
    struct quipu_slice envelope;
    struct quipu_slice payload;
};

/** Last event of an aggregate: the one that was appended last, also where it is of a fork. */
struct quipu_head {
    uint64_t version;
    /** Greatest version of all; above `version` only where an event of a fork was appended last. */
    uint64_t version_max;
    /** Versions of its events do not all rise by one: a fork was kept. */
    bool has_fork;
    uint64_t position;
    struct quipu_cid envelope_cid;
};

/** Position of the newest event in this transaction's view; 0 in an empty store. Positions are
 * gap-free. */
QUIPU_API uint64_t quipu_txn_last_position(const struct quipu_txn *txn);

/** About how much memory this write transaction holds with what it has changed, in bytes: rather
 * too much than too little. 0 for a read transaction. @cost a few reads in memory */
QUIPU_API uint64_t quipu_txn_bytes_held(const struct quipu_txn *txn);

/**
 * Append one event at the next position, update the aggregate's head and the indexes. The caller
 * has looked before: that event_id is new, and that version follows the head (or, for a fork that
 * it has decided to keep, does not); neither is checked again here.
 * @retval QUIPU_TOO_LARGE  a field over its limit, or more than about 400 MiB in one transaction;
 *                          nothing of this event is written, what was appended before may be
 *                          committed
 * @retval QUIPU_MISUSE     read transaction; empty aggregate type, id or event type; version above
 *                          2^63 - 1; envelope_cid not dag-cbor; envelope without the bytes of
 *                          event_id, payload digest, aggregate, event type or correlation_id. As
 *                          above
 * @retval QUIPU_NO_SPACE, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_CORRUPT  commit will refuse
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_append(struct quipu_txn *txn,
                                                              const struct quipu_record_new *record,
                                                              uint64_t *position,
                                                              struct quipu_error *err);

/** @retval QUIPU_NOT_FOUND  position 0 or beyond the last. @retval QUIPU_CORRUPT  structurally
 * broken */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_record_at(struct quipu_txn *txn,
                                                                 uint64_t position,
                                                                 struct quipu_record *out,
                                                                 struct quipu_error *err);

enum quipu_block_kind { QUIPU_BLOCK_ENVELOPE, QUIPU_BLOCK_PAYLOAD };

/** Event whose envelope or payload has this CID (the first, where several share a payload).
 * @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_find_cid(struct quipu_txn *txn, const struct quipu_cid *cid, struct quipu_record *out,
                   enum quipu_block_kind *kind, struct quipu_error *err);

/** @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_find_event_id(struct quipu_txn *txn,
                                                                     struct quipu_uuid event_id,
                                                                     struct quipu_record *out,
                                                                     struct quipu_error *err);

/** @retval QUIPU_NOT_FOUND  no event of this aggregate. @retval QUIPU_CORRUPT */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_head(struct quipu_txn *txn,
                                                            struct quipu_aggregate aggregate,
                                                            struct quipu_head *out,
                                                            struct quipu_error *err);

/** Nearest at or behind, behind, at or before, before. */
enum quipu_seek { QUIPU_SEEK_GE, QUIPU_SEEK_GT, QUIPU_SEEK_LE, QUIPU_SEEK_LT };

/** What events can be found by beside their names. */
enum quipu_term_kind {
    QUIPU_TERM_EVENT_TYPE = 0, /* the whole text of the type */
    QUIPU_TERM_CORRELATION,    /* 16 bytes of a correlation_id; its first event counts */
};
struct quipu_term {
    enum quipu_term_kind kind;
    struct quipu_slice value;
};

/**
 * The event with the term that is nearest to position `from` on one side; position 0 stands before
 * all and UINT64_MAX behind all. Stepping with GT, or LT, walks over all of them: the transaction
 * remembers where its last such search was, so a step costs hardly more than reading the record.
 * Such a walk may also go on in another transaction, and needs no closing.
 * @retval QUIPU_DONE     none; also where the value cannot be a term, such as an empty one
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_IO
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_find_term(struct quipu_txn *txn, struct quipu_term term, uint64_t from,
                    enum quipu_seek seek, struct quipu_record *out, struct quipu_error *err);

/** Which events of an aggregate to walk over. */
struct quipu_aggregate_range {
    struct quipu_aggregate aggregate;
    uint64_t version_min;  /* 0: from the first one */
    uint64_t position_min; /* 0: from the first one */
    uint64_t position_max; /* 0: to the head */
};

/**
 * A walk over the events of one aggregate in the order of their positions, which is that of their
 * versions where there is no fork. Opening it follows the back-pointers from the head to the first
 * event of the range, once; so it costs in proportion to what is in the range and behind it, not to
 * what is before it. Events are then served without being looked up again.
 *
 * The walk is the caller's to close, before or after the end of its transaction. Once that has
 * ended, `quipu_aggregate_walk_resume` goes on in another one.
 */
struct quipu_aggregate_walk;
/** An aggregate without events in the range is fine: the walk is over at once.
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_aggregate_walk_open(struct quipu_txn *txn, const struct quipu_aggregate_range *range,
                          struct quipu_aggregate_walk **out, struct quipu_error *err);
/** The slices of `*out` live as those of every record of the transaction.
 * @retval QUIPU_DONE  behind the last
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_aggregate_walk_next(struct quipu_aggregate_walk *walk, struct quipu_record *out,
                          struct quipu_error *err);
/** Go on in `txn`, of the same store; the walk ends where it would have ended before. */
QUIPU_API void quipu_aggregate_walk_resume(struct quipu_aggregate_walk *walk,
                                           struct quipu_txn *txn);
/** NULL is fine. */
QUIPU_API void quipu_aggregate_walk_close(struct quipu_aggregate_walk **walk);

/** Figures of the store as this transaction sees it. */
struct quipu_store_stat {
    uint64_t events;
    uint64_t aggregates;
    uint64_t file_bytes; /* of the environment's data file */
    uint64_t map_bytes;
    uint64_t format;
};
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_stat(struct quipu_txn *txn, struct quipu_store_stat *out, struct quipu_error *err);

/**
 * Check all that derives from the log against it: that positions are gap-free, that every record is
 * well-formed, that each head, each index entry and each back-pointer agrees with the records and
 * that none is missing. Hashes are the engine's part (quipu_verify). `problem` is called for each
 * finding with a line for people; it may return false to stop, and may be NULL. `*problems` counts
 * them.
 *
 * In slices: no snapshot pins old pages for long, and others may append meanwhile. The log is
 * checked up to where it ended at first. `progress` is called some times a second and may be NULL.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_check_indexes(struct quipu_store *store,
                          bool (*problem)(void *ctx, uint64_t position, const char *line),
                          void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                          uint64_t *problems, struct quipu_error *err);

/** An event_id that the log has more than once. */
struct quipu_repeated_id {
    struct quipu_uuid event_id;
    uint64_t first;     /* position of the first event with it: the one that look-ups find */
    uint64_t position;  /* of one behind it */
    bool is_same_event; /* the same envelope, stored twice */
};

/**
 * Find the event_ids that the log has more than once. Appending lets none in; one is there where an
 * index was damaged and so did not know the first event. quipu_store_repair makes indexes again and
 * leaves the log as it is, so it does not mend this. `repeated` is called for each event but the
 * first one with its event_id, in the order of the first eight bytes of the ids.
 *
 * Goes by the index of event_ids: what quipu_store_check_indexes finds wrong with it may hide one.
 * In slices, while others append. Memory does not grow with the log, but with the events that have
 * one and the same event_id.
 * @retval QUIPU_CORRUPT  the index is too damaged to be gone through
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_check_event_ids(struct quipu_store *store,
                            void (*repeated)(void *ctx, const struct quipu_repeated_id *repeated),
                            void *ctx, struct quipu_error *err);

/** What a walk over the pages of the data file has found. */
struct quipu_pages_report {
    uint64_t pages; /* that are in use or in the list of free pages */
    uint64_t problems;
    /** Of these, how many quipu_store_repair mends: they are in indexes, heads, or the list of free
     * pages. */
    uint64_t mendable;
    /** False: what was found could end the process where the store is read on. */
    bool is_safe;
};

/**
 * Look at every page of the data file without letting LMDB walk over it, which trusts its pages and
 * may end the process where a bit of their structure is flipped: headers, pointers and nodes of
 * each page, the order of keys, roots and counts of the databases, the list of free pages; and
 * that each page is in use once or free. Values are the part of quipu_store_check_indexes and of
 * quipu_verify, to be called only where `report->is_safe`.
 *
 * Of one snapshot, which pins its pages meanwhile; others may read and write. Memory: two bits a
 * page. `problem` as for quipu_store_check_indexes, `position` being the first one that the page is
 * for, 0 where it holds no events; `progress` counts pages. Both may be NULL. Not inside of a
 * transaction of this thread.
 * @retval QUIPU_OK  findings are in the report. @retval QUIPU_NO_MEMORY, QUIPU_IO, QUIPU_BUSY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_store_check_pages(struct quipu_store *store,
                        bool (*problem)(void *ctx, uint64_t position, const char *line),
                        void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                        struct quipu_pages_report *report, struct quipu_error *err);

/* ------------------------------------------------------------------ tables */

/**
 * Ordered key-value rows in the same environment, committed with everything else of the
 * transaction. A table is a number; rows are ordered bytewise by key. Who has which numbers: the
 * engine 1 to 0xff and from 0x10000 on, the air gap 0x100 to 0x1ff, jetstream 0x200 to 0x2ff, a
 * host 0x1000 to 0xffff.
 */
struct quipu_table {
    uint32_t number;
};

/** @retval QUIPU_NOT_FOUND, QUIPU_TOO_LARGE (key empty or over QUIPU_TABLE_KEY_BYTES_MAX),
 * QUIPU_CORRUPT */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_table_get(struct quipu_txn *txn, struct quipu_table table, struct quipu_slice key,
                    struct quipu_slice *value, struct quipu_error *err);
/** Insert or replace; the value may be empty. @retval QUIPU_MISUSE (read transaction),
 * QUIPU_TOO_LARGE (key, value, or all that one transaction may hold), QUIPU_NO_SPACE, … */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_table_put(struct quipu_txn *txn, struct quipu_table table, struct quipu_slice key,
                    struct quipu_slice value, struct quipu_error *err);
/** @retval QUIPU_NOT_FOUND */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_txn_table_delete(struct quipu_txn *txn,
                                                                    struct quipu_table table,
                                                                    struct quipu_slice key,
                                                                    struct quipu_error *err);
/** Delete every row. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_table_clear(struct quipu_txn *txn, struct quipu_table table, struct quipu_error *err);

/**
 * The row nearest to `key` on one side. An empty key stands before every row; with LE and LT it
 * stands behind every row, so LE with an empty key gives the last. Stepping with GT walks the
 * table.
 * @retval QUIPU_DONE  none
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_txn_table_seek(struct quipu_txn *txn, struct quipu_table table, struct quipu_slice key,
                     enum quipu_seek seek, struct quipu_slice *found_key, struct quipu_slice *value,
                     struct quipu_error *err);

/** A walk over the rows whose keys begin with `prefix`, in order. Ends with its transaction.
 * Writing to the table during the walk ends the walk (next says QUIPU_MISUSE). */
struct quipu_table_walk;
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_table_walk_open(struct quipu_txn *txn, struct quipu_table table, struct quipu_slice prefix,
                      struct quipu_table_walk **out, struct quipu_error *err);
/** @retval QUIPU_DONE behind the last row */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_table_walk_next(struct quipu_table_walk *walk,
                                                                   struct quipu_slice *key,
                                                                   struct quipu_slice *value,
                                                                   struct quipu_error *err);
QUIPU_API void quipu_table_walk_close(struct quipu_table_walk **walk);

#ifdef __cplusplus
}
#endif

#endif
