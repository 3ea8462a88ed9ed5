/*
 * Making a store, so that a kill at any moment leaves either none or a whole one: the environment
 * is built and synced inside create.tmp, and its data file then renamed into place. SPEC §6.1.
 *
 *   1. what an earlier, killed attempt left in create.tmp is removed
 *   2. create.tmp/data.mdb gets its databases and the rows of `meta`, in one committed transaction
 *   3. it is renamed to data.mdb: from here on there is a store
 *   4. the folder and its parent are synced, create.tmp is removed
 *
 * Whoever opens the store and finds both data.mdb and create.tmp does step 4 again, before it
 * acknowledges anything.
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
#include "internal/bytes.h"
#include "internal/failpoint.h"

/* Enough for the databases, empty. */
#define NEW_MAP_BYTES (1u << 20)

static int put_meta(MDB_txn *mdb, MDB_dbi meta, const char *name, const void *data, size_t len)
{
    MDB_val key = quipu_val(name, strlen(name));
    MDB_val val = quipu_val(data, len);
    return mdb_put(mdb, meta, &key, &val, MDB_NOOVERWRITE);
}

static int fill_environment(MDB_txn *mdb, const struct quipu_uuid *id)
{
    MDB_dbi meta = 0;
    for (int db = QUIPU_DBS - 1; db >= 0; db--) {
        /* `meta` comes last, so its handle is what is left in the variable. */
        int code = mdb_dbi_open(mdb, quipu_db_name((enum quipu_db)db),
                                quipu_db_flags((enum quipu_db)db) | MDB_CREATE, &meta);
        if (code != 0) {
            return code;
        }
    }
    uint8_t format[8];
    quipu_store_be64(format, QUIPU_STORE_FORMAT);
    int code = put_meta(mdb, meta, "format", format, sizeof format);
    return code != 0 ? code : put_meta(mdb, meta, "id", id->bytes, sizeof id->bytes);
}

int quipu_environment_build(const char *folder, const struct quipu_uuid *id)
{
    MDB_env *env = NULL;
    int code = mdb_env_create(&env);
    if (code != 0) {
        return code;
    }
    MDB_txn *mdb = NULL;
    /* Nobody else works in create.tmp: the creation lock is held. */
    if ((code = mdb_env_set_maxdbs(env, QUIPU_DBS)) == 0 &&
        (code = mdb_env_set_mapsize(env, NEW_MAP_BYTES)) == 0 &&
        (code = mdb_env_open(env, folder, MDB_NOLOCK, 0600)) == 0 &&
        (code = mdb_txn_begin(env, NULL, 0, &mdb)) == 0) {
        code = fill_environment(mdb, id);
        if (code == 0) {
            code = mdb_txn_commit(mdb);
        } else {
            mdb_txn_abort(mdb);
        }
    }
    mdb_env_close(env);
    return code;
}

static enum quipu_status build_in_temp(const struct quipu_store *store, struct quipu_error *err)
{
    char temp[PATH_MAX];
    struct quipu_clock clock = quipu_clock_system();
    struct quipu_random random = quipu_random_system();
    struct quipu_uuid id = {{0}};
    enum quipu_status status = quipu_folder_temp_path(store->real_path, temp, err);
    if (status == QUIPU_OK) {
        status = quipu_uuid_v7(&clock, &random, &id, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    int code = quipu_environment_build(temp, &id);
    code = quipu_write_code(store->real_path, code);
    if (code != 0) {
        return quipu_lmdb_error(err, code, "make a store in %s", store->path);
    }
    /* The commit has synced the data; this syncs the length as well. */
    int fd = openat(store->folder_fd, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        status = quipu_error_errno(err, errno, "sync the new store in %s", store->path);
    }
    if (fd >= 0) {
        (void)close(fd); /* synced, or failed already */
    }
    return status;
}

static enum quipu_status finish(const struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_folder_sync(store->folder_fd, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.create.sync", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_folder_remove_temp(store->folder_fd, err);
    }
    return status;
}

static enum quipu_status create(const struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = quipu_folder_remove_temp(store->folder_fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (mkdirat(store->folder_fd, QUIPU_TEMP_NAME, 0700) != 0) {
        return quipu_error_errno(err, errno, "make a store in %s", store->path);
    }
    status = quipu_failpoint("store.create.folder", err);
    if (status == QUIPU_OK) {
        status = build_in_temp(store, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("store.create.environment", err);
    }
    if (status != QUIPU_OK) {
        (void)quipu_folder_remove_temp(store->folder_fd, NULL); /* the next attempt does it too */
        return status;
    }
    if (renameat(store->folder_fd, QUIPU_TEMP_NAME "/" QUIPU_DATA_NAME, store->folder_fd,
                 QUIPU_DATA_NAME) != 0) {
        return quipu_error_errno(err, errno, "put the new store of %s in place", store->path);
    }
    status = quipu_failpoint("store.create.rename", err);
    return status != QUIPU_OK ? status : finish(store, err);
}

enum quipu_status quipu_create_files(const struct quipu_store *store, bool may_create,
                                     bool *was_made, struct quipu_error *err)
{
    bool has_data = false;
    bool has_temp = false;
    enum quipu_status status = quipu_folder_has(store->folder_fd, QUIPU_DATA_NAME, &has_data, err);
    if (status == QUIPU_OK) {
        status = quipu_folder_has(store->folder_fd, QUIPU_TEMP_NAME, &has_temp, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    *was_made = !has_data;
    if (has_data) {
        status = has_temp ? finish(store, err) : QUIPU_OK;
        return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", store->path);
    }
    if (!may_create) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "%s: no store in this folder", store->path);
    }
    return create(store, err);
}
