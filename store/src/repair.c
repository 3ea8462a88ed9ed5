/*
 * Making all that derives from the log again: heads, back-pointers, runs, manifest.
 *
 * A new environment is built in create.tmp beside the old one, which is only read, and only its
 * log, its tables and `meta`. That is simpler than mending in place, and holds more: no index that
 * is damaged is ever touched, nothing has to be marked as under way, nobody has to resume it, and
 * whatever fails, the old file is as it was. It costs room for a second copy, as compacting does.
 *
 *   1. create.tmp/data.mdb is made, with the store's own id
 *   2. each record is appended to it as though it were new, so whatever indexes appending keeps are
 *      made, by the code that makes them; rows of tables and of `meta` are copied as they are
 *   3. the new file is checked (check.c) and synced
 *   4. it is renamed to data.mdb, and the folder is synced
 *
 * Memory is bounded: a transaction is committed every few thousand events. Heads are written where
 * their keys lie, not in sorted batches: the new file is not synced until it is whole, so their
 * pages stay in memory and each is written to the disk about once.
 *
 * Never changes what an event says: its envelope, payload, version and CIDs are taken over as they
 * are, so that damage stays to be found. SPEC §6.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/failpoint.h"
#include "page_walk.h"
#include "quipu/buf.h"
#include "record.h"
#include "upkeep.h"

/* Where a record's header has the previous position in the aggregate. */
#define RECORD_PREV_AT 32

/* One transaction takes so many events or bytes, far less than it may hold. */
#define BATCH_EVENTS 4096
#define BATCH_BYTES  (UINT64_C(64) << 20)

struct repair {
    struct quipu_store *old_store;
    struct quipu_store *new_store;
    struct quipu_txn *source; /* snapshot of the old one */
    struct quipu_upkeep_options options;
    struct quipu_repair_report report;
    struct quipu_buf copy; /* of a record, to be read without its link */
};

/* ------------------------------------------------------------------ the log */

/* A record whose link alone may be wrong is read without it: appending makes the link anew. */
static enum quipu_status read_record(struct repair *repair, uint64_t position,
                                     struct quipu_slice value, struct quipu_record *out,
                                     struct quipu_error *err)
{
    enum quipu_status status = quipu_record_decode(value, position, out, err);
    if (status != QUIPU_CORRUPT || value.len < QUIPU_RECORD_HEADER_BYTES) {
        return status;
    }
    quipu_buf_reset(&repair->copy);
    quipu_buf_append_slice(&repair->copy, value);
    if (repair->copy.status != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a record of %zu bytes",
                               value.len);
    }
    memset(repair->copy.data + RECORD_PREV_AT, 0, 8);
    return quipu_record_decode(quipu_buf_slice(&repair->copy), position, out, err);
}

static enum quipu_status append_record(struct repair *repair, struct quipu_txn *txn,
                                       uint64_t position, uint64_t *bytes, struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_slice before;
    enum quipu_status status = quipu_log_value(repair->source, position, &before, err);
    if (status == QUIPU_OK) {
        status = read_record(repair, position, before, &record, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record_new copy = {
        .aggregate = record.aggregate,
        .version = record.version,
        .event_id = record.event_id,
        .envelope_cid = record.envelope_cid,
        .payload_cid = record.payload_cid,
        .event_type = record.event_type,
        .correlation_id = record.correlation_id,
        .envelope = record.envelope,
        .payload = record.payload,
    };
    uint64_t given = 0;
    status = quipu_txn_append(txn, &copy, &given, err);
    struct quipu_slice after;
    if (status == QUIPU_OK) {
        status = quipu_log_value(txn, given, &after, err);
    }
    if (status == QUIPU_OK) {
        repair->report.relinked += !quipu_slice_equal(before, after);
        *bytes += before.len;
    }
    return status;
}

/* Positions behind `*at`, as many as one transaction takes. */
static enum quipu_status append_batch(struct repair *repair, uint64_t *at, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(repair->new_store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = quipu_txn_last_position(repair->source);
    uint64_t position = *at;
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < BATCH_EVENTS && bytes < BATCH_BYTES && position < last; i++) {
        position++;
        status = append_record(repair, txn, position, &bytes, err);
        if (status != QUIPU_OK) {
            quipu_txn_abort(&txn);
            if (status != QUIPU_CORRUPT && status != QUIPU_MISUSE && status != QUIPU_TOO_LARGE) {
                return status;
            }
            /* The log is at fault; a record that cannot be appended could never have been. */
            return quipu_error_wrap(err, QUIPU_CORRUPT, "%s: position %" PRIu64,
                                    repair->old_store->path, position);
        }
    }
    *at = position;
    return quipu_txn_commit(&txn, err);
}

static enum quipu_status append_log(struct repair *repair, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(repair->source);
    enum quipu_status status = QUIPU_OK;
    uint64_t at = 0;
    while (at < last && status == QUIPU_OK) {
        status = append_batch(repair, &at, err);
        quipu_upkeep_tell(&repair->options, "events indexed again", at, last);
        if (status == QUIPU_OK) {
            status = quipu_failpoint("store.repair.batch", err);
        }
    }
    repair->report.events = at;
    return status;
}

/* ------------------------------------------------------------------ rows */

/* Is it a row of `meta` that the new file has of its own? */
static bool is_own_row(enum quipu_db db, const MDB_val *key)
{
    static const char *const names[] = {"format", "id", "runs"};
    for (size_t i = 0; i < sizeof names / sizeof names[0] && db == QUIPU_DB_META; i++) {
        if (key->mv_size == strlen(names[i]) && memcmp(key->mv_data, names[i], key->mv_size) == 0) {
            return true;
        }
    }
    return false;
}

/* Put rows from the cursor on, as many as one transaction takes. MDB_NOTFOUND: behind the last. */
static int put_rows(struct repair *repair, struct quipu_txn *txn, enum quipu_db db,
                    MDB_cursor *cursor)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < BATCH_EVENTS && bytes < BATCH_BYTES; i++) {
        MDB_val key;
        MDB_val val;
        int code = mdb_cursor_get(cursor, &key, &val, MDB_NEXT);
        if (code == 0 && !is_own_row(db, &key)) {
            unsigned flags = db == QUIPU_DB_TABLE ? MDB_APPEND : MDB_NOOVERWRITE;
            bytes += val.mv_size;
            code = mdb_put(txn->mdb, repair->new_store->dbi[db], &key, &val, flags);
        }
        if (code != 0) {
            return code;
        }
    }
    return 0;
}

static enum quipu_status copy_rows(struct repair *repair, enum quipu_db db, struct quipu_error *err)
{
    MDB_cursor *cursor = NULL;
    int code = mdb_cursor_open(repair->source->mdb, repair->old_store->dbi[db], &cursor);
    enum quipu_status status = QUIPU_OK;
    while (code == 0 && status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(repair->new_store, &txn, err);
        if (status != QUIPU_OK) {
            break;
        }
        code = put_rows(repair, txn, db, cursor);
        if (code == 0 || code == MDB_NOTFOUND) {
            status = quipu_txn_commit(&txn, err);
        } else {
            quipu_txn_abort(&txn);
        }
    }
    if (cursor != NULL) {
        mdb_cursor_close(cursor);
    }
    if (status == QUIPU_OK && code != 0 && code != MDB_NOTFOUND) {
        return quipu_store_write_error(repair->new_store, err, code, "copy the rows of a table");
    }
    return status;
}

/* ------------------------------------------------------------------ the new file */

static enum quipu_status begin_file(struct repair *repair, struct quipu_error *err)
{
    const struct quipu_store *store = repair->old_store;
    char temp[PATH_MAX];
    enum quipu_status status = quipu_folder_temp_path(store->real_path, temp, err);
    if (status == QUIPU_OK) {
        status = quipu_folder_remove_temp(store->folder_fd, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (mkdirat(store->folder_fd, QUIPU_TEMP_NAME, 0700) != 0) {
        return quipu_error_errno(err, errno, "make a new file in %s", store->path);
    }
    int code = quipu_environment_build(temp, &store->id);
    code = quipu_write_code(store->real_path, code);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "make a new file in %s", store->path);
    }
    return quipu_store_open_scratch(store, &repair->new_store, err);
}

/* What is wrong with the new file, as an error; there is nothing unless this code or the machine is
 * at fault. */
static bool note_problem(void *ctx, uint64_t position, const char *line)
{
    struct quipu_error *err = ctx;
    (void)quipu_error_set(err, QUIPU_CORRUPT, "the new file, position %" PRIu64 ": %s", position,
                          line);
    return false;
}

static enum quipu_status check_file(struct repair *repair, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat;
    struct quipu_error found = {0};
    uint64_t problems = 0;
    enum quipu_status status =
        quipu_store_check_indexes(repair->new_store, note_problem, NULL, &found, &problems, err);
    if (status == QUIPU_OK && problems > 0) {
        status =
            quipu_error_set(err, QUIPU_CORRUPT, "%s: %s", repair->old_store->path, found.message);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(repair->new_store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_stat(txn, &stat, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        repair->report.aggregates = stat.aggregates;
        int code = mdb_env_sync(repair->new_store->env, 1);
        status = code == 0
                     ? QUIPU_OK
                     : quipu_store_write_error(repair->new_store, err, code, "sync the new file");
    }
    return status;
}

static enum quipu_status build_file(struct repair *repair, struct quipu_error *err)
{
    /* Its derived databases are not read, so their pages may be damaged in any way. */
    struct quipu_page_source old = {repair->old_store->env, repair->old_store->path, true};
    enum quipu_status status = quipu_pages_require(&old, QUIPU_PAGES_KEPT, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(repair->old_store, &repair->source, err);
    }
    if (status == QUIPU_OK) {
        status = begin_file(repair, err);
    }
    if (status == QUIPU_OK) {
        status = append_log(repair, err);
    }
    if (status == QUIPU_OK) {
        status = copy_rows(repair, QUIPU_DB_TABLE, err);
    }
    if (status == QUIPU_OK) {
        status = copy_rows(repair, QUIPU_DB_META, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.repair.rows", err);
    }
    if (status == QUIPU_OK) {
        status = check_file(repair, err);
    }
    quipu_txn_abort(&repair->source);
    quipu_store_close(&repair->new_store);
    if (status == QUIPU_OK) {
        status = quipu_upkeep_keep_owner(repair->old_store, err); /* syncs it, too */
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.repair.sync", err);
    }
    if (status != QUIPU_OK) {
        /* The next opening does it too. */
        (void)quipu_folder_remove_temp(repair->old_store->folder_fd, NULL);
    }
    return status;
}

enum quipu_status quipu_store_repair_tuned(const char *path,
                                           const struct quipu_store_tuning *tuning,
                                           const struct quipu_upkeep_options *given,
                                           struct quipu_repair_report *report,
                                           struct quipu_error *err)
{
    struct repair repair = {.report = {0}};
    enum quipu_status status = quipu_upkeep_take(given, path, &repair.options, err);
    if (status == QUIPU_OK) {
        status = quipu_store_open_alone(path, tuning, true, &repair.old_store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_file_bytes(repair.old_store, &repair.report.bytes_before, err);
    }
    if (status == QUIPU_OK) {
        status = build_file(&repair, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_replace(repair.old_store, "store.repair.rename", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_file_bytes(repair.old_store, &repair.report.bytes_after, err);
    }
    quipu_store_close(&repair.old_store);
    quipu_buf_release(&repair.copy);
    if (status == QUIPU_OK && report != NULL) {
        *report = repair.report;
    }
    return status;
}

enum quipu_status quipu_store_repair(const char *path, const struct quipu_upkeep_options *options,
                                     struct quipu_repair_report *report, struct quipu_error *err)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    return quipu_store_repair_tuned(path, &tuning, options, report, err);
}
