/*
 * Compacting a store that nobody else has open, in three steps:
 *
 *   1. The runs are merged into one, in the store itself and by the merges of ordinary appending
 *      (merge.c), which may be stopped anywhere; what was merged is deleted.
 *   2. LMDB copies the environment without its free pages into create.tmp; the copy is synced and
 *      compared with the original, row by row.
 *   3. The copy is renamed to data.mdb, and the folder is synced.
 *
 * So data.mdb is the old file or the new one, and both are whole. Whoever finds a left-over
 * create.tmp removes it (create.c). Nobody can have the old file open: the store is held alone.
 * SPEC §6.1, §6.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/failpoint.h"
#include "upkeep.h"

/* Events that one step of the merges works as though they had arrived: 32,768 × 8 entries for each
 * index, far below what a transaction may hold. */
#define STEP_EVENTS 32768

/* Rows between two calls of progress. */
#define PROGRESS_ROWS 4096

void quipu_upkeep_tell(const struct quipu_upkeep_options *options, const char *what, uint64_t done,
                       uint64_t total)
{
    if (options->progress != NULL) {
        options->progress(options->ctx, what, done, total);
    }
}

enum quipu_status quipu_upkeep_take(const struct quipu_upkeep_options *given, const char *path,
                                    struct quipu_upkeep_options *out, struct quipu_error *err)
{
    struct quipu_upkeep_options defaults = QUIPU_UPKEEP_OPTIONS_INIT;
    *out = given == NULL ? defaults : *given;
    if (path == NULL || path[0] == 0 || out->size != sizeof *out) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "upkeep of a store: path missing, or options not begun with "
                               "QUIPU_UPKEEP_OPTIONS_INIT");
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ 1: merging */

/* How many of the newest runs can become one: as many as a merge may have, and a run may cover. */
static uint32_t runs_to_merge(const struct quipu_manifest *manifest)
{
    uint32_t inputs = 0;
    uint64_t events = 0;
    while (inputs < manifest->run_count && inputs < QUIPU_FAN_OUT_MAX) {
        events += quipu_run_events(&manifest->runs[manifest->run_count - 1 - inputs]);
        if (events >= QUIPU_RUN_EVENTS_MAX) {
            break;
        }
        inputs++;
    }
    return inputs;
}

static bool has_work(const struct quipu_manifest *manifest)
{
    return manifest->merge_count > 0 || manifest->trash_count > 0 || runs_to_merge(manifest) > 1;
}

/* Where no merge is under way, begin one of the newest runs. Inputs are of one level: that of the
 * oldest. */
static void begin_merge(struct quipu_manifest *manifest, const struct quipu_store_tuning *tuning)
{
    uint32_t inputs = runs_to_merge(manifest);
    if (manifest->merge_count > 0 || inputs < 2) {
        return;
    }
    struct quipu_run *oldest = &manifest->runs[manifest->run_count - inputs];
    for (uint32_t i = 1; i < inputs; i++) {
        oldest[i].level = oldest->level;
    }
    manifest->merges[manifest->merge_count++] = (struct quipu_merge){
        .number = manifest->next_run++,
        .first_run = oldest->number,
        .started_at = manifest->indexed,
        .inputs = inputs,
        .segment_entries = tuning->segment_entries,
    };
}

/* The schedule paces merges by what has arrived since they began: let them have begun earlier. */
static void let_time_pass(struct quipu_manifest *manifest)
{
    for (uint32_t i = 0; i < manifest->merge_count; i++) {
        uint64_t *started_at = &manifest->merges[i].started_at;
        *started_at = *started_at > STEP_EVENTS ? *started_at - STEP_EVENTS : 0;
    }
}

static enum quipu_status merge_step(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quipu_manifest *manifest = &txn->store->writer.manifest;
    txn->has_flushed = true; /* the writer's manifest is not the stored one from here on */
    begin_merge(manifest, &txn->store->tuning);
    let_time_pass(manifest);
    enum quipu_status status = quipu_merges_step(txn, err);
    return status == QUIPU_OK ? quipu_manifest_store(txn, err) : status;
}

/* One transaction of merging; `*has_more` is false where nothing was left to do. */
static enum quipu_status merge_some(struct quipu_store *store, struct quipu_compact_report *report,
                                    bool *has_more, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_writer_sync(txn, err);
    const struct quipu_manifest *manifest = &store->writer.manifest;
    report->events = txn->last_position;
    if (status == QUIPU_OK) {
        report->runs_after = manifest->run_count;
        *has_more = has_work(manifest);
    }
    if (status == QUIPU_OK && *has_more) {
        status = merge_step(txn, err);
        if (status == QUIPU_OK) {
            return quipu_txn_commit(&txn, err);
        }
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status merge_all(struct quipu_store *store,
                                   const struct quipu_upkeep_options *options,
                                   struct quipu_compact_report *report, struct quipu_error *err)
{
    bool has_more = true;
    enum quipu_status status = merge_some(store, report, &has_more, err);
    for (uint64_t steps = 1; status == QUIPU_OK && has_more; steps++) {
        report->runs_before = report->runs_before == 0 ? report->runs_after : report->runs_before;
        quipu_upkeep_tell(options, "steps of merging the indexes", steps, 0);
        status = quipu_failpoint("store.compact.merge", err);
        if (status == QUIPU_OK) {
            status = merge_some(store, report, &has_more, err);
        }
    }
    report->runs_before = report->runs_before == 0 ? report->runs_after : report->runs_before;
    return status;
}

/* ------------------------------------------------------------------ 2: the copy */

/* Rows of two environments, side by side. */
struct comparison {
    MDB_txn *old_txn;
    MDB_txn *new_txn;
    const struct quipu_upkeep_options *options;
    uint64_t done;
    uint64_t total;
};

static bool val_equal(const MDB_val *a, const MDB_val *b)
{
    return a->mv_size == b->mv_size &&
           (a->mv_size == 0 || memcmp(a->mv_data, b->mv_data, a->mv_size) == 0);
}

/* 0: all rows are the same; MDB_CORRUPTED: they are not. */
static int compare_rows(struct comparison *comparison, MDB_cursor *old_rows, MDB_cursor *new_rows)
{
    for (;;) {
        MDB_val old_key;
        MDB_val old_val;
        MDB_val new_key;
        MDB_val new_val;
        int code = mdb_cursor_get(old_rows, &old_key, &old_val, MDB_NEXT);
        int new_code = mdb_cursor_get(new_rows, &new_key, &new_val, MDB_NEXT);
        if (code == MDB_NOTFOUND && new_code == MDB_NOTFOUND) {
            return 0;
        }
        if (code != new_code || code != 0) {
            return code == 0 || code == MDB_NOTFOUND ? MDB_CORRUPTED : code;
        }
        if (!val_equal(&old_key, &new_key) || !val_equal(&old_val, &new_val)) {
            return MDB_CORRUPTED;
        }
        if (++comparison->done % PROGRESS_ROWS == 0) {
            quipu_upkeep_tell(comparison->options, "rows compared", comparison->done,
                              comparison->total);
        }
    }
}

static int compare_database(struct comparison *comparison, MDB_dbi old_dbi, MDB_dbi new_dbi)
{
    MDB_cursor *old_rows = NULL;
    MDB_cursor *new_rows = NULL;
    int code = mdb_cursor_open(comparison->old_txn, old_dbi, &old_rows);
    if (code == 0) {
        code = mdb_cursor_open(comparison->new_txn, new_dbi, &new_rows);
    }
    if (code == 0) {
        code = compare_rows(comparison, old_rows, new_rows);
    }
    if (old_rows != NULL) {
        mdb_cursor_close(old_rows);
    }
    if (new_rows != NULL) {
        mdb_cursor_close(new_rows);
    }
    return code;
}

static int compare_environments(struct comparison *comparison, const struct quipu_store *store,
                                const struct quipu_store *copy)
{
    for (int db = 0; db < QUIPU_DBS; db++) {
        MDB_stat stat;
        if (mdb_stat(comparison->old_txn, store->dbi[db], &stat) == 0) {
            comparison->total += stat.ms_entries;
        }
    }
    int code = 0;
    for (int db = 0; db < QUIPU_DBS && code == 0; db++) {
        code = compare_database(comparison, store->dbi[db], copy->dbi[db]);
    }
    quipu_upkeep_tell(comparison->options, "rows compared", comparison->done, comparison->total);
    return code;
}

/* Is the copy what the store is? */
static enum quipu_status compare(struct quipu_store *store, struct quipu_store *copy,
                                 const struct quipu_upkeep_options *options,
                                 struct quipu_error *err)
{
    struct quipu_txn *old_txn = NULL;
    struct quipu_txn *new_txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(store, &old_txn, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(copy, &new_txn, err);
    }
    if (status == QUIPU_OK) {
        struct comparison comparison = {
            .old_txn = old_txn->mdb, .new_txn = new_txn->mdb, .options = options};
        int code = compare_environments(&comparison, store, copy);
        if (code != 0) {
            status = quipu_lmdb_error(err, code, "%s: the new file is not what the old one is",
                                      store->path);
        }
    }
    quipu_txn_abort(&new_txn);
    quipu_txn_abort(&old_txn);
    return status;
}

enum quipu_status quipu_upkeep_keep_owner(const struct quipu_store *store, struct quipu_error *err)
{
    struct stat old_file;
    struct stat new_file;
    int fd = openat(store->folder_fd, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME, O_RDWR | O_CLOEXEC);
    bool is_good = fd >= 0 && fstatat(store->folder_fd, QUIPU_DATA_NAME, &old_file, 0) == 0 &&
                   fstat(fd, &new_file) == 0 &&
                   ((old_file.st_uid == new_file.st_uid && old_file.st_gid == new_file.st_gid) ||
                    fchown(fd, old_file.st_uid, old_file.st_gid) == 0) &&
                   fchmod(fd, old_file.st_mode & 07777) == 0 && fsync(fd) == 0;
    int number = errno;
    if (fd >= 0) {
        (void)close(fd); /* synced, or failed already */
    }
    return is_good ? QUIPU_OK
                   : quipu_error_errno(err, number, "%s: give the new file the owner of the old",
                                       store->path);
}

static enum quipu_status make_copy(struct quipu_store *store,
                                   const struct quipu_upkeep_options *options,
                                   struct quipu_error *err)
{
    quipu_upkeep_tell(options, "files copied", 0, 1);
    enum quipu_status status = quipu_copy_make(store, store->folder_fd, store->real_path, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_upkeep_tell(options, "files copied", 1, 1);
    struct quipu_store *copy = NULL;
    status = quipu_failpoint("store.compact.copy", err);
    if (status == QUIPU_OK) {
        status = quipu_store_open_scratch(store, &copy, err);
    }
    if (status == QUIPU_OK) {
        status = compare(store, copy, options, err);
    }
    quipu_store_close(&copy);
    if (status == QUIPU_OK) {
        status = quipu_upkeep_keep_owner(store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.compact.compare", err);
    }
    if (status != QUIPU_OK) {
        (void)quipu_folder_remove_temp(store->folder_fd, NULL); /* the next opening does it too */
    }
    return status;
}

/* ------------------------------------------------------------------ all of it */

enum quipu_status quipu_upkeep_replace(struct quipu_store *store, const char *failpoint,
                                       struct quipu_error *err)
{
    /* Its map is of the old file; the lock on open.lock stays. */
    quipu_store_drop_idle(store);
    quipu_env_close(store);
    return quipu_copy_place(store->folder_fd, store->real_path, failpoint, err);
}

enum quipu_status quipu_upkeep_file_bytes(const struct quipu_store *store, uint64_t *bytes,
                                          struct quipu_error *err)
{
    struct stat file;
    if (fstatat(store->folder_fd, QUIPU_DATA_NAME, &file, 0) != 0) {
        return quipu_error_errno(err, errno, "%s: look at %s", store->path, QUIPU_DATA_NAME);
    }
    *bytes = (uint64_t)file.st_size;
    return QUIPU_OK;
}

enum quipu_status quipu_store_compact_tuned(const char *path,
                                            const struct quipu_store_tuning *tuning,
                                            const struct quipu_upkeep_options *given,
                                            struct quipu_compact_report *report,
                                            struct quipu_error *err)
{
    struct quipu_upkeep_options options;
    struct quipu_compact_report figures = {0};
    struct quipu_store *store = NULL;
    enum quipu_status status = quipu_upkeep_take(given, path, &options, err);
    if (status == QUIPU_OK) {
        status = quipu_store_open_alone(path, tuning, false, &store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_file_bytes(store, &figures.bytes_before, err);
    }
    if (status == QUIPU_OK) {
        status = merge_all(store, &options, &figures, err);
    }
    if (status == QUIPU_OK) {
        status = make_copy(store, &options, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_replace(store, "store.compact.rename", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_upkeep_file_bytes(store, &figures.bytes_after, err);
    }
    quipu_store_close(&store);
    if (status == QUIPU_OK && report != NULL) {
        *report = figures;
    }
    return status;
}

enum quipu_status quipu_store_compact(const char *path, const struct quipu_upkeep_options *options,
                                      struct quipu_compact_report *report, struct quipu_error *err)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    return quipu_store_compact_tuned(path, &tuning, options, report, err);
}
