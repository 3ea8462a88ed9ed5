/*
 * A consistent, compacted copy of the environment while others read and write. It is made under a
 * temporary name and renamed when it is synced, so a copy that is there is whole.
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

static enum quipu_status copy_to(struct quipu_store *store, int fd, const char *real_path,
                                 struct quipu_error *err)
{
    enum quipu_status status = quipu_store_enter(store, false, err);
    if (status != QUIPU_OK) {
        return status;
    }
    mdb_filehandle_t own;
    if (mdb_env_get_fd(store->env, &own) == 0) {
        /* The copy follows the map, which is not read ahead (environment.c). A hint. */
        (void)posix_fadvise(own, 0, 0, POSIX_FADV_WILLNEED);
    }
    int code = mdb_env_copyfd2(store->env, fd, MDB_CP_COMPACT);
    quipu_store_leave(store);
    if (code == 0 && fsync(fd) != 0) {
        code = errno;
    }
    if (code == EIO && quipu_disk_is_full(real_path)) {
        code = ENOSPC;
    }
    return code == 0 ? QUIPU_OK
                     : quipu_lmdb_error(err, code, "copy %s to %s", store->path, real_path);
}

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
    if (status != QUIPU_OK) {
        (void)quipu_folder_remove_temp(folder, NULL); /* the next attempt does it too */
        return status;
    }
    return quipu_copy_place(folder, real_path, "store.backup.rename", err);
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
    bool is_blank = false;
    status = quipu_folder_is_blank(folder, &is_blank, err);
    if (status == QUIPU_OK && !is_blank) {
        status = quipu_error_set(err, QUIPU_EXISTS, "%s is not empty; give a new folder", path);
    }
    if (status == QUIPU_OK) {
        status = copy_in_temp(store, folder, real_path, err);
    }
    (void)close(folder); /* was only read */
    return status;
}
