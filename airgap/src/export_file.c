/*
 * Writing a file so that no reader ever sees half of it and no existing file is ever touched.
 *
 * The temporary name is random, so what a killed run left behind blocks nobody; and the next export
 * into that folder removes it: who writes holds a lock on the file, which the system lets go of
 * when the process ends, so a file of our pattern without a lock is nobody's. It is made with
 * O_EXCL, so nothing is written through a link that someone else put there. From the start it is
 * open to nobody to whom the finished file will not be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "export_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal/failpoint.h"
#include "quipu/alloc.h"
#include "quipu/clock.h"
#include "quipu/text.h"

#define PENDING_BYTES ((size_t)256 << 10)
#define TEMP_TRIES    16
#define TEMP_RANDOM   8
#define TEMP_PREFIX   ".quipu-export-"
#define TEMP_SUFFIX   ".tmp"
#define MODE_BITS     0777

/* The folder part of the path: "." where there is none. */
enum quipu_status quipu_export_parent_open(const char *path, int *parent, const char **base,
                                           struct quipu_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash == NULL ? path : slash + 1;
    if (last[0] == 0 || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "%s names no file; end it with the name to give",
                               path[0] == 0 ? "an empty path" : path);
    }
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    char *folder = quipu_alloc(len + 2, 1);
    if (folder == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a path");
    }
    memcpy(folder, path, len);
    folder[len] = 0;
    if (len == 0) {
        folder[0] = slash == NULL ? '.' : '/';
        folder[1] = 0;
    }
    enum quipu_status status = QUIPU_OK;
    int opened = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) {
        status = quipu_error_errno(err, errno, "open the folder %s", folder);
    } else {
        *parent = opened;
        *base = last;
    }
    quipu_free(folder);
    return status;
}

/* Early, so that nobody waits for an export that cannot end well; publish asks again. */
enum quipu_status quipu_export_refuse_existing(int parent, const char *base, const char *path,
                                               struct quipu_error *err)
{
    struct stat info;
    if (fstatat(parent, base, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s exists already; choose another name or remove it", path);
    }
    if (errno != ENOENT) {
        return quipu_error_errno(err, errno, "look for %s", path);
    }
    return QUIPU_OK;
}

static bool is_temp_name(const char *name)
{
    size_t prefix = sizeof TEMP_PREFIX - 1;
    size_t digits = 2 * (size_t)TEMP_RANDOM;
    return strncmp(name, TEMP_PREFIX, prefix) == 0 &&
           strspn(name + prefix, "0123456789abcdef") == digits &&
           strcmp(name + prefix + digits, TEMP_SUFFIX) == 0;
}

void quipu_export_remove_folder(int parent, const char *name, int folder)
{
    int fd = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *opened = fd < 0 ? NULL : fdopendir(fd);
    if (opened == NULL) {
        if (fd >= 0) {
            (void)close(fd); /* was only read */
        }
        return;
    }
    /* A folder that cannot be read on is taken for empty: then it is not removed below, and stays
     * for a later export. */
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        (void)unlinkat(folder, entry->d_name, 0); /* best effort; "." and ".." are refused */
    }
    (void)closedir(opened);                     /* was only read */
    (void)unlinkat(parent, name, AT_REMOVEDIR); /* best effort: it is in nobody's way */
}

/* Remove this file or folder where it is ours and nobody writes it. */
static void remove_left_over(int folder, const char *name)
{
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat info;
    if (fd < 0) {
        return;
    }
    bool is_ours =
        fstat(fd, &info) == 0 && info.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (is_ours && S_ISREG(info.st_mode)) {
        (void)unlinkat(folder, name, 0); /* best effort: it is in nobody's way */
    } else if (is_ours && S_ISDIR(info.st_mode)) {
        quipu_export_remove_folder(folder, name, fd);
    }
    (void)close(fd); /* was only read */
}

void quipu_export_remove_left_overs(int parent)
{
    int fd = openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    if (folder == NULL) {
        if (fd >= 0) {
            (void)close(fd); /* was only read */
        }
        return;
    }
    /* A failure ends it as the end of the folder does: what is left over hinders nobody. */
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (is_temp_name(entry->d_name)) {
            remove_left_over(parent, entry->d_name);
        }
    }
    (void)closedir(folder); /* was only read */
}

enum quipu_status quipu_export_temp_name(char name[QUIPU_EXPORT_TEMP_BYTES],
                                         struct quipu_error *err)
{
    struct quipu_random random = quipu_random_system();
    uint8_t bytes[TEMP_RANDOM];
    struct quipu_buf text;
    enum quipu_status status = random.fill(random.ctx, bytes, sizeof bytes, err);
    if (status == QUIPU_OK) {
        quipu_buf_init_fixed(&text, name, QUIPU_EXPORT_TEMP_BYTES);
        quipu_buf_append_text(&text, TEMP_PREFIX);
        quipu_hex_append(&text, quipu_slice(bytes, sizeof bytes));
        quipu_buf_append(&text, TEMP_SUFFIX, sizeof TEMP_SUFFIX);
    }
    return status;
}

/* Lock the new file until discard. False where somebody took it for a left-over in the moment
 * before; another name is tried then. A file system without such locks has none that removes. */
static bool temp_hold(struct quipu_export_file *file)
{
    struct stat info;
    bool is_taken = flock(file->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (!is_taken && fstat(file->fd, &info) == 0 && info.st_nlink > 0) {
        file->hold = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
    }
    if (file->hold >= 0) {
        return true;
    }
    (void)close(file->fd); /* nothing was written */
    file->fd = -1;
    return false;
}

static enum quipu_status open_temp(struct quipu_export_file *file, mode_t mode,
                                   struct quipu_error *err)
{
    for (int tries = 0; tries < TEMP_TRIES; tries++) {
        char name[QUIPU_EXPORT_TEMP_BYTES];
        enum quipu_status status = quipu_export_temp_name(name, err);
        if (status != QUIPU_OK) {
            return status;
        }
        file->fd = openat(file->folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->fd >= 0 && temp_hold(file)) {
            memcpy(file->temp, name, sizeof file->temp);
            return QUIPU_OK;
        }
        if (file->fd < 0 && errno != EEXIST) {
            return quipu_error_errno(err, errno, "make a temporary file beside %s", file->path);
        }
    }
    return quipu_error_set(err, QUIPU_IO, "no free name for a temporary file beside %s",
                           file->path);
}

static enum quipu_status create(struct quipu_export_file *file, const char *path, bool is_over,
                                mode_t mode, struct quipu_error *err)
{
    file->path = path;
    quipu_sha256_stream_init(&file->stream);
    enum quipu_status status = quipu_export_parent_open(path, &file->folder, &file->base, err);
    if (status == QUIPU_OK && !is_over) {
        status = quipu_export_refuse_existing(file->folder, file->base, path, err);
    }
    if (status == QUIPU_OK) {
        quipu_export_remove_left_overs(file->folder);
        status = open_temp(file, mode & MODE_BITS, err);
    }
    return status != QUIPU_OK ? status : quipu_failpoint("airgap.export.create", err);
}

enum quipu_status quipu_export_file_create(struct quipu_export_file *file, const char *path,
                                           struct quipu_error *err)
{
    return create(file, path, false, 0644, err);
}

enum quipu_status quipu_export_file_create_as(struct quipu_export_file *file, const char *path,
                                              const struct stat *model, struct quipu_error *err)
{
    return create(file, path, false, model->st_mode, err);
}

enum quipu_status quipu_export_file_create_over(struct quipu_export_file *file, const char *path,
                                                const struct stat *known, struct quipu_error *err)
{
    return create(file, path, true, known->st_mode, err);
}

static enum quipu_status file_flush(struct quipu_export_file *file, struct quipu_error *err)
{
    struct quipu_sink sink = quipu_sink_fd(&file->fd);
    enum quipu_status status = quipu_failpoint("airgap.export.write", err);
    if (status == QUIPU_OK) {
        status = sink.write(sink.ctx, quipu_buf_slice(&file->pending), err);
    }
    quipu_buf_reset(&file->pending);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", file->path);
}

static enum quipu_status file_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_export_file *file = ctx;
    file->bytes += bytes.len;
    quipu_sha256_stream_update(&file->stream, bytes);
    quipu_buf_append_slice(&file->pending, bytes);
    if (file->pending.status != QUIPU_OK) {
        return quipu_error_set(err, file->pending.status, "no memory to write %s", file->path);
    }
    return file->pending.len < PENDING_BYTES ? QUIPU_OK : file_flush(file, err);
}

struct quipu_sink quipu_export_file_sink(struct quipu_export_file *file)
{
    return (struct quipu_sink){file_write, file};
}

enum quipu_status quipu_export_file_finish(struct quipu_export_file *file, struct quipu_error *err)
{
    enum quipu_status status = file_flush(file, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("airgap.export.sync", err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (fsync(file->fd) != 0) {
        return quipu_error_errno(err, errno, "sync %s", file->path);
    }
    (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED); /* advice only */
    int closing = file->fd;
    file->fd = -1;
    if (close(closing) != 0) {
        return quipu_error_errno(err, errno, "close %s", file->path);
    }
    quipu_sha256_stream_final(&file->stream, file->sha256);
    return QUIPU_OK;
}

/* Some file systems know no rename that spares its target; there a second link does the same. */
static int rename_sparing(const struct quipu_export_file *file)
{
    bool is_known = quipu_failpoint("airgap.export.renameat2", NULL) == QUIPU_OK;
    if (is_known &&
        renameat2(file->folder, file->temp, file->folder, file->base, RENAME_NOREPLACE) == 0) {
        return 0;
    }
    if (is_known && errno != EINVAL && errno != ENOSYS) {
        return errno;
    }
    if (linkat(file->folder, file->temp, file->folder, file->base, 0) != 0) {
        return errno;
    }
    (void)unlinkat(file->folder, file->temp, 0); /* at worst the second name stays */
    return 0;
}

enum quipu_status quipu_export_file_publish(struct quipu_export_file *file, struct quipu_error *err)
{
    enum quipu_status status = quipu_failpoint("airgap.export.rename", err);
    if (status != QUIPU_OK) {
        return status;
    }
    int number = rename_sparing(file);
    if (number == EEXIST) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s was made by someone else meanwhile: it is not touched",
                               file->path);
    }
    if (number != 0) {
        return quipu_error_errno(err, number, "name %s", file->path);
    }
    file->temp[0] = 0;
    /* EINVAL: a file system that does not sync folders, so there is nothing to wait for. */
    if (fsync(file->folder) != 0 && errno != EINVAL) {
        status = quipu_error_errno(err, errno, "sync the folder of %s", file->path);
        quipu_export_file_retract(file);
    }
    return status;
}

enum quipu_status quipu_export_file_replace(struct quipu_export_file *file,
                                            const struct stat *known, struct quipu_error *err)
{
    struct stat info;
    enum quipu_status status = quipu_failpoint("airgap.export.rename", err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (fstatat(file->folder, file->base, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return quipu_error_errno(err, errno, "look at %s", file->path);
    }
    if (info.st_dev != known->st_dev || info.st_ino != known->st_ino ||
        info.st_size != known->st_size || info.st_mtim.tv_sec != known->st_mtim.tv_sec ||
        info.st_mtim.tv_nsec != known->st_mtim.tv_nsec) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s was changed by someone else meanwhile: it is not touched",
                               file->path);
    }
    if (fchmodat(file->folder, file->temp, known->st_mode & MODE_BITS, 0) != 0) {
        return quipu_error_errno(err, errno, "give the new %s the mode of the old one", file->path);
    }
    if (renameat(file->folder, file->temp, file->folder, file->base) != 0) {
        return quipu_error_errno(err, errno, "replace %s", file->path);
    }
    file->temp[0] = 0;
    status = quipu_failpoint("airgap.export.replaced", err);
    /* EINVAL: a file system that does not sync folders, so there is nothing to wait for. */
    if (status == QUIPU_OK && fsync(file->folder) != 0 && errno != EINVAL) {
        status = quipu_error_errno(err, errno, "sync the folder of %s", file->path);
    }
    return status;
}

void quipu_export_file_retract(struct quipu_export_file *file)
{
    (void)unlinkat(file->folder, file->base, 0); /* the failure before it is what is told */
    (void)fsync(file->folder);
}

void quipu_export_file_discard(struct quipu_export_file *file)
{
    if (file->fd >= 0) {
        (void)close(file->fd); /* nothing of it is kept */
    }
    if (file->temp[0] != 0) {
        (void)unlinkat(file->folder, file->temp,
                       0); /* best effort: a name of ours, not in the way */
    }
    if (file->hold >= 0) {
        (void)close(file->hold); /* nothing was written through it */
    }
    if (file->folder >= 0) {
        (void)close(file->folder); /* was only read */
    }
    quipu_buf_release(&file->pending);
    *file = (struct quipu_export_file)QUIPU_EXPORT_FILE_INIT;
}
