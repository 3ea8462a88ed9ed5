/*
 * A consistent, compacted copy of the environment while others read and write. It is made under a
 * temporary name and renamed when it is synced, so a copy that is there is whole. A backup, but not
 * the copy that compaction makes, carries a mark in its `meta`: the copy itself has to say that it
 * may be behind, for it may be put back into the store's folder, beside its key. Whoever makes a
 * copy has its folder alone meanwhile, as though it compacted a store there; the lock file goes
 * when the copy is there. SPEC §6.2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "internal/failpoint.h"

/* The row of `meta` that says: a copy, in which nobody has recorded yet. */
#define MARK_KEY "backup"

/* Room for the few pages that the mark takes. */
#define MARK_MAP_BYTES (1u << 20)

static enum quipu_status copy_to(struct quipu_store *store, int fd, const char *real_path,
                                 struct quipu_error *err)
{
    /* LMDB begins a transaction of its own, which fails before anything is written where another
     * process has outgrown our map. */
    int code = MDB_MAP_RESIZED;
    for (int attempt = 0; attempt < 2 && code == MDB_MAP_RESIZED; attempt++) {
        enum quipu_status status = quipu_store_enter(store, false, err);
        if (status != QUIPU_OK) {
            return status;
        }
        mdb_filehandle_t own;
        if (mdb_env_get_fd(store->env, &own) == 0) {
            /* The copy follows the map, which is not read ahead (environment.c). A hint. */
            (void)posix_fadvise(own, 0, 0, POSIX_FADV_WILLNEED);
        }
        code = mdb_env_copyfd2(store->env, fd, MDB_CP_COMPACT);
        quipu_store_leave(store);
        if (code == MDB_MAP_RESIZED) {
            quipu_store_want_larger_map(store);
        }
    }
    if (code == MDB_MAP_RESIZED) {
        return quipu_store_outgrown(store, err);
    }
    if (code == 0 && fsync(fd) != 0) {
        code = errno;
    }
    code = quipu_write_code(real_path, code);
    return code == 0 ? QUIPU_OK
                     : quipu_lmdb_error(err, code, "copy %s to %s", store->path, real_path);
}

/* ------------------------------------------------------------------ the mark */

static int put_mark(MDB_env *env)
{
    MDB_txn *mdb = NULL;
    MDB_dbi meta = 0;
    MDB_val key = quipu_val(MARK_KEY, strlen(MARK_KEY));
    MDB_val val = quipu_val("\1", 1);
    int code = mdb_txn_begin(env, NULL, 0, &mdb);
    if (code != 0) {
        return code;
    }
    code = mdb_dbi_open(mdb, quipu_db_name(QUIPU_DB_META), 0, &meta);
    if (code == 0) {
        code = mdb_put(mdb, meta, &key, &val, 0);
    }
    if (code != 0) {
        mdb_txn_abort(mdb);
        return code;
    }
    return mdb_txn_commit(mdb);
}

/* Mark the environment in `temp`, of so many bytes. Nobody else works in there. */
static int mark_environment(const char *temp, uint64_t bytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t map_bytes = (bytes + MARK_MAP_BYTES) / page * page;
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    if (code != 0) {
        return code;
    }
    if ((code = mdb_env_set_maxdbs(env, QUIPU_DBS)) == 0 &&
        (code = mdb_env_set_mapsize(env, (size_t)map_bytes)) == 0 &&
        (code = mdb_env_open(env, temp, MDB_NOLOCK, 0600)) == 0) {
        code = put_mark(env);
    }
    mdb_env_close(env);
    return code;
}

static enum quipu_status mark_copy(int folder, const char *real_path, struct quipu_error *err)
{
    char temp[PATH_MAX];
    enum quipu_status status = quipu_folder_temp_path(real_path, temp, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct stat info;
    int fd = openat(folder, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME, O_RDONLY | O_CLOEXEC);
    int code = fd < 0 || fstat(fd, &info) != 0 ? errno : 0;
    if (code == 0) {
        code = mark_environment(temp, (uint64_t)info.st_size);
    }
    /* The commit has synced the data; this syncs the length as well. */
    if (code == 0 && fsync(fd) != 0) {
        code = errno;
    }
    if (fd >= 0) {
        (void)close(fd); /* synced, or failed already */
    }
    code = quipu_write_code(real_path, code);
    return code == 0 ? QUIPU_OK : quipu_lmdb_error(err, code, "mark the copy in %s", real_path);
}

enum quipu_status quipu_txn_backup_mark(struct quipu_txn *txn, bool *is_marked,
                                        struct quipu_error *err)
{
    MDB_val key = quipu_val(MARK_KEY, strlen(MARK_KEY));
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_META], &key, &val);
    if (code != 0 && code != MDB_NOTFOUND) {
        return quipu_lmdb_error(err, code, "%s: is it a backup?", txn->store->path);
    }
    *is_marked = code == 0;
    return QUIPU_OK;
}

enum quipu_status quipu_txn_backup_mark_clear(struct quipu_txn *txn, struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_may_write(txn, 0, err);
    if (status != QUIPU_OK) {
        return status;
    }
    MDB_val key = quipu_val(MARK_KEY, strlen(MARK_KEY));
    int code = mdb_del(txn->mdb, txn->store->dbi[QUIPU_DB_META], &key, NULL);
    return code == 0 || code == MDB_NOTFOUND ? QUIPU_OK
                                             : quipu_txn_fail(txn, code, "clear the mark", err);
}

/* ------------------------------------------------------------------ making one */

enum quipu_status quipu_copy_make(struct quipu_store *store, int folder, const char *real_path,
                                  struct quipu_error *err)
{
    enum quipu_status status = quipu_folder_remove_temp(folder, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (mkdirat(folder, QUIPU_TEMP_NAME, 0700) != 0) {
        return quipu_error_errno(err, errno, "make a copy in %s", real_path);
    }
    int fd = openat(folder, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME,
                    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        status = quipu_error_errno(err, errno, "make a copy in %s", real_path);
    } else {
        status = copy_to(store, fd, real_path, err);
        (void)close(fd); /* synced, or failed already */
    }
    if (status != QUIPU_OK) {
        (void)quipu_folder_remove_temp(folder, NULL); /* the next attempt does it too */
    }
    return status;
}

enum quipu_status quipu_copy_place(int folder, const char *real_path, const char *failpoint,
                                   struct quipu_error *err)
{
    if (renameat(folder, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME, folder, QUIPU_DATA_NAME) != 0) {
        enum quipu_status status =
            quipu_error_errno(err, errno, "put the copy in %s in place", real_path);
        (void)quipu_folder_remove_temp(folder, NULL); /* the next attempt does it too */
        return status;
    }
    enum quipu_status status = quipu_failpoint(failpoint, err);
    if (status == QUIPU_OK) {
        status = quipu_folder_sync(folder, err);
    }
    return status == QUIPU_OK ? quipu_folder_remove_temp(folder, err) : status;
}

static enum quipu_status copy_in_temp(struct quipu_store *store, int folder, const char *real_path,
                                      struct quipu_error *err)
{
    enum quipu_status status = quipu_copy_make(store, folder, real_path, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_failpoint("store.backup.copy", err);
    if (status == QUIPU_OK) {
        status = mark_copy(folder, real_path, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.backup.mark", err);
    }
    if (status != QUIPU_OK) {
        (void)quipu_folder_remove_temp(folder, NULL); /* the next attempt does it too */
        return status;
    }
    return quipu_copy_place(folder, real_path, "store.backup.rename", err);
}

static enum quipu_status require_blank(int folder, const char *path, struct quipu_error *err)
{
    bool is_blank = false;
    enum quipu_status status = quipu_folder_is_blank(folder, &is_blank, err);
    return status != QUIPU_OK || is_blank
               ? status
               : quipu_error_set(err, QUIPU_EXISTS, "%s is not empty; give a new folder", path);
}

/* Nobody else backs up into the folder meanwhile, nor makes a store in it. */
static enum quipu_status copy_alone(struct quipu_store *store, int folder, const char *path,
                                    const char *real_path, struct quipu_error *err)
{
    int lock = -1;
    int number = quipu_lock_file_open(folder, QUIPU_OPEN_LOCK_NAME, O_RDWR | O_CREAT, &lock);
    if (number != 0) {
        return quipu_lock_file_error(err, number, path, QUIPU_OPEN_LOCK_NAME);
    }
    enum quipu_status status = quipu_folder_lock_alone(lock, path, err);
    if (status != QUIPU_OK) {
        (void)close(lock); /* nothing was written */
        return status;
    }
    bool is_named = quipu_folder_names(folder, QUIPU_OPEN_LOCK_NAME, lock);
    if (!is_named) {
        status = quipu_error_set(err, QUIPU_BUSY, "%s was in use just now; try again", path);
    }
    if (status == QUIPU_OK) {
        /* Another may have filled it before we had it alone. */
        status = require_blank(folder, path, err);
    }
    if (status == QUIPU_OK) {
        status = copy_in_temp(store, folder, real_path, err);
    }
    if (is_named) {
        /* Best effort: what stays is an empty file. Who has it open sees that it has no name. */
        (void)unlinkat(folder, QUIPU_OPEN_LOCK_NAME, 0);
    }
    quipu_folder_unlock(lock);
    (void)close(lock); /* nothing was written */
    return status;
}

enum quipu_status quipu_store_backup(struct quipu_store *store, const char *path,
                                     struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (path == NULL || path[0] == 0) {
        return quipu_error_set(err, QUIPU_MISUSE, "back up %s: no folder is given", store->path);
    }
    int folder = -1;
    char real_path[PATH_MAX];
    status = quipu_folder_enter(path, true, &folder, real_path, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = require_blank(folder, path, err);
    if (status == QUIPU_OK) {
        status = copy_alone(store, folder, path, real_path, err);
    }
    (void)close(folder); /* was only read */
    return status;
}
