/*
 * Key files on the disk. A new one is written beside its place, as ".<name>.quipu-new", with mode
 * 0600 from the start; it is synced, read back, renamed, and the folder synced. So the place holds
 * the old file, or none, until the new one is known to be readable.
 *
 * The temporary name is one for each place, so that a killed run leaves at most one such file,
 * which the next run empties and uses again; a lock on it, which the system lets go of when the
 * process ends, keeps two runs apart. Never follows a link to what it writes, never touches a file
 * of somebody else's.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "export_file.h"
#include "internal/failpoint.h"
#include "keyring_parts.h"

#define TEMP_SUFFIX        ".quipu-new"
#define FILE_MODE          0600
#define FILE_MODE_OF_OTHER 0077

/* ------------------------------------------------------------------ reading */

static enum quipu_status rights_check(const struct stat *info, const char *path,
                                      struct quipu_error *err)
{
    if (!S_ISREG(info->st_mode)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "%s is not a plain file; name a key file", path);
    }
    if ((info->st_mode & FILE_MODE_OF_OTHER) != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s: mode %04o lets others at the key; chmod 600 it", path,
                               (unsigned)(info->st_mode & 07777));
    }
    if (info->st_size > QUIPU_KEY_FILE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "%s has %lld bytes, a key file at most %d; name a key file", path,
                               (long long)info->st_size, QUIPU_KEY_FILE_BYTES_MAX);
    }
    return QUIPU_OK;
}

/* All of an open file, into memory of its size. */
static enum quipu_status read_all(int fd, const char *path, struct keyring_bytes *out,
                                  struct quipu_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return quipu_error_errno(err, errno, "stat %s", path);
    }
    enum quipu_status status = rights_check(&info, path, err);
    if (status == QUIPU_OK) {
        /* One byte more, to see that it did not grow. */
        status = keyring_bytes_init(out, (size_t)info.st_size + 1, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_source_read_full(quipu_source_fd(&fd), out->data, out->cap, &out->len, err);
    }
    if (status == QUIPU_OK && out->len != (size_t)info.st_size) {
        status = quipu_error_set(err, QUIPU_BUSY,
                                 "%s changed while it was read; run it again when nobody writes it",
                                 path);
    }
    return status;
}

enum quipu_status keyring_file_read(int dir, const char *name, const char *path,
                                    struct keyring_bytes *out, struct quipu_error *err)
{
    /* Not to wait where somebody put a pipe there. */
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %s", path);
    }
    enum quipu_status status = read_all(fd, path, out, err);
    (void)close(fd); /* was only read */
    return status;
}

/* ------------------------------------------------------------------ writing */

/* Where a file is replaced, its name and not what a link leads to is given to the new one. */
static enum quipu_status target_check(const struct keyring_file *file, struct quipu_error *err)
{
    struct stat info;
    if (fstatat(file->folder, file->base, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return quipu_error_errno(err, errno, "look for %s", file->path);
    }
    if (S_ISLNK(info.st_mode)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s is a symbolic link; name the file that it leads to", file->path);
    }
    return rights_check(&info, file->path, err);
}

static enum quipu_status busy(const struct keyring_file *file, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_BUSY,
                           "another process writes %s; run it again when that has finished",
                           file->path);
}

/* The temporary file is ours alone: of this user, of mode 0600, with one name, which is still its
 * own now that it is locked. */
static enum quipu_status temp_hold(struct keyring_file *file, struct quipu_error *err)
{
    struct stat opened;
    struct stat named;
    if (flock(file->fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? busy(file, err)
                   : quipu_error_errno(err, errno, "lock the new file for %s", file->path);
    }
    if (fstat(file->fd, &opened) != 0) {
        return quipu_error_errno(err, errno, "stat the new file for %s", file->path);
    }
    if (fstatat(file->folder, file->temp, &named, AT_SYMLINK_NOFOLLOW) != 0 ||
        named.st_ino != opened.st_ino || named.st_dev != opened.st_dev) {
        return busy(file, err); /* it got its name, or was removed, in this moment */
    }
    if (!S_ISREG(opened.st_mode) || opened.st_uid != geteuid() || opened.st_nlink != 1 ||
        (opened.st_mode & FILE_MODE_OF_OTHER) != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s in the folder of %s is not ours alone; remove it", file->temp,
                               file->path);
    }
    if (ftruncate(file->fd, 0) != 0) {
        return quipu_error_errno(err, errno, "empty the new file for %s", file->path);
    }
    return QUIPU_OK;
}

enum quipu_status keyring_file_begin(struct keyring_file *file, const char *path,
                                     enum keyring_naming naming, struct quipu_error *err)
{
    file->path = path;
    enum quipu_status status = quipu_export_parent_open(path, &file->folder, &file->base, err);
    if (status == QUIPU_OK) {
        status = naming == KEYRING_NEW
                     ? quipu_export_refuse_existing(file->folder, file->base, path, err)
                     : target_check(file, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    char temp[KEYRING_NAME_BYTES];
    int len = snprintf(temp, sizeof temp, ".%s" TEMP_SUFFIX, file->base);
    if (len < 0 || (size_t)len >= sizeof temp) {
        return quipu_error_set(err, QUIPU_INVALID, "%s: its name is too long; choose a shorter one",
                               path);
    }
    file->fd = openat(file->folder, temp, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                      FILE_MODE);
    if (file->fd < 0) {
        return quipu_error_errno(err, errno, "make a new file for %s", path);
    }
    memcpy(file->temp, temp, sizeof file->temp);
    status = temp_hold(file, err);
    if (status != QUIPU_OK) {
        file->temp[0] = 0; /* somebody else's: not ours to remove */
        return status;
    }
    return quipu_failpoint("airgap.keyring.begin", err);
}

enum quipu_status keyring_file_write(struct keyring_file *file, struct quipu_slice bytes,
                                     struct keyring_bytes *back, struct quipu_error *err)
{
    struct quipu_sink sink = quipu_sink_fd(&file->fd);
    enum quipu_status status = quipu_failpoint("airgap.keyring.write", err);
    if (status == QUIPU_OK) {
        status = sink.write(sink.ctx, bytes, err);
        status =
            status == QUIPU_OK ? status : quipu_error_wrap(err, status, "write %s", file->path);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("airgap.keyring.sync", err);
    }
    if (status == QUIPU_OK && fsync(file->fd) != 0) {
        status = quipu_error_errno(err, errno, "sync %s", file->path);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice only */
    if (lseek(file->fd, 0, SEEK_SET) != 0) {
        return quipu_error_errno(err, errno, "read %s back", file->path);
    }
    status = quipu_failpoint("airgap.keyring.check", err);
    return status == QUIPU_OK ? read_all(file->fd, file->path, back, err) : status;
}

/* Some file systems know no rename that spares its target; there a second link does the same. */
static int rename_sparing(const struct keyring_file *file)
{
    if (renameat2(file->folder, file->temp, file->folder, file->base, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    if (linkat(file->folder, file->temp, file->folder, file->base, 0) != 0) {
        return errno;
    }
    (void)unlinkat(file->folder, file->temp, 0); /* at worst the second name stays */
    return 0;
}

enum quipu_status keyring_file_name(struct keyring_file *file, enum keyring_naming naming,
                                    struct quipu_error *err)
{
    int number = 0;
    enum quipu_status status = quipu_failpoint("airgap.keyring.rename", err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (naming == KEYRING_NEW) {
        number = rename_sparing(file);
    } else if (renameat(file->folder, file->temp, file->folder, file->base) != 0) {
        number = errno;
    }
    if (number == EEXIST) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s was made by someone else meanwhile: it is not touched",
                               file->path);
    }
    if (number != 0) {
        return quipu_error_errno(err, number, "name %s", file->path);
    }
    file->temp[0] = 0;
    status = quipu_failpoint("airgap.keyring.named", err);
    /* EINVAL: a file system that does not sync folders, so there is nothing to wait for. */
    if (status == QUIPU_OK && fsync(file->folder) != 0 && errno != EINVAL) {
        status = quipu_error_errno(err, errno, "sync the folder of %s", file->path);
    }
    return status;
}

void keyring_file_end(struct keyring_file *file)
{
    if (file->temp[0] != 0) {
        /* Best effort: the next run empties it. What it holds may be a key in clear. */
        (void)unlinkat(file->folder, file->temp, 0);
    }
    if (file->fd >= 0) {
        (void)close(file->fd); /* synced, or given up */
    }
    if (file->folder >= 0) {
        (void)close(file->folder); /* was only read */
    }
    *file = (struct keyring_file)KEYRING_FILE_INIT;
}
