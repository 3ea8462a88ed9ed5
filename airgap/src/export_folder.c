/*
 * A new folder, whole or not there. Never touches a name that is taken, and writes through no link.
 *
 * Its temporary name follows the pattern of export_file.c: what a killed export left is removed by
 * the next one into that place, which the lock on the folder keeps away from one that runs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/failpoint.h"

enum quipu_status quipu_export_folder_create(struct quipu_export_folder *folder, const char *path,
                                             struct quipu_error *err)
{
    char name[QUIPU_EXPORT_TEMP_BYTES];
    folder->path = path;
    enum quipu_status status = quipu_export_parent_open(path, &folder->parent, &folder->base, err);
    if (status == QUIPU_OK) {
        status = quipu_export_refuse_existing(folder->parent, folder->base, path, err);
    }
    if (status == QUIPU_OK) {
        quipu_export_remove_left_overs(folder->parent);
        status = quipu_export_temp_name(name, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (mkdirat(folder->parent, name, 0755) != 0) {
        return quipu_error_errno(err, errno, "make a temporary folder beside %s", path);
    }
    memcpy(folder->temp, name, sizeof folder->temp);
    folder->fd = openat(folder->parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->fd < 0) {
        return quipu_error_errno(err, errno, "open the temporary folder beside %s", path);
    }
    (void)flock(folder->fd, LOCK_EX | LOCK_NB); /* a file system without locks has no removers */
    return quipu_failpoint("airgap.export.create", err);
}

enum quipu_status quipu_export_folder_open(struct quipu_export_folder *folder, const char *name,
                                           int *fd, struct quipu_error *err)
{
    int opened = openat(folder->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (opened < 0) {
        return quipu_error_errno(err, errno, "make %s in %s", name, folder->path);
    }
    *fd = opened;
    return QUIPU_OK;
}

enum quipu_status quipu_export_folder_close(struct quipu_export_folder *folder, const char *name,
                                            int *fd, struct quipu_error *err)
{
    int closing = *fd;
    *fd = -1;
    enum quipu_status status = quipu_failpoint("airgap.export.sync", err);
    if (status == QUIPU_OK && fsync(closing) != 0) {
        status = quipu_error_errno(err, errno, "sync %s in %s", name, folder->path);
    }
    (void)posix_fadvise(closing, 0, 0, POSIX_FADV_DONTNEED); /* advice only */
    if (close(closing) != 0 && status == QUIPU_OK) {
        status = quipu_error_errno(err, errno, "close %s in %s", name, folder->path);
    }
    return status;
}

enum quipu_status quipu_export_folder_put(struct quipu_export_folder *folder, const char *name,
                                          struct quipu_slice bytes, struct quipu_error *err)
{
    int fd = -1;
    enum quipu_status status = quipu_export_folder_open(folder, name, &fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_sink sink = quipu_sink_fd(&fd);
    status = sink.write(sink.ctx, bytes, err);
    if (status != QUIPU_OK) {
        (void)close(fd); /* the write before it is what failed */
        return quipu_error_wrap(err, status, "%s in %s", name, folder->path);
    }
    return quipu_export_folder_close(folder, name, &fd, err);
}

/* A rename onto a folder that is there fails unless that is empty; where the system can spare its
 * target, also then. */
static int rename_sparing(const struct quipu_export_folder *folder)
{
    if (renameat2(folder->parent, folder->temp, folder->parent, folder->base, RENAME_NOREPLACE) ==
        0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    return renameat(folder->parent, folder->temp, folder->parent, folder->base) == 0 ? 0 : errno;
}

enum quipu_status quipu_export_folder_publish(struct quipu_export_folder *folder,
                                              struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("airgap.export.rename", err);
    if (status == QUIPU_OK && fsync(folder->fd) != 0 && errno != EINVAL) {
        status = quipu_error_errno(err, errno, "sync %s", folder->path);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    int number = rename_sparing(folder);
    if (number == EEXIST || number == ENOTEMPTY) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s was made by someone else meanwhile: it is not touched",
                               folder->path);
    }
    if (number != 0) {
        return quipu_error_errno(err, number, "name %s", folder->path);
    }
    folder->temp[0] = 0;
    /* EINVAL: a file system that does not sync folders, so there is nothing to wait for. */
    if (fsync(folder->parent) != 0 && errno != EINVAL) {
        status = quipu_error_errno(err, errno, "sync the folder of %s", folder->path);
        quipu_export_folder_retract(folder);
    }
    return status;
}

void quipu_export_folder_retract(struct quipu_export_folder *folder)
{
    quipu_export_remove_folder(folder->parent, folder->base, folder->fd);
    (void)fsync(folder->parent); /* the failure before it is what is told */
}

void quipu_export_folder_discard(struct quipu_export_folder *folder)
{
    if (folder->temp[0] != 0 && folder->fd >= 0) {
        quipu_export_remove_folder(folder->parent, folder->temp, folder->fd);
    } else if (folder->temp[0] != 0) {
        (void)unlinkat(folder->parent, folder->temp, AT_REMOVEDIR); /* best effort: it is empty */
    }
    if (folder->fd >= 0) {
        (void)close(folder->fd); /* only its files were written */
    }
    if (folder->parent >= 0) {
        (void)close(folder->parent); /* was only read */
    }
    *folder = (struct quipu_export_folder)QUIPU_EXPORT_FOLDER_INIT;
}
