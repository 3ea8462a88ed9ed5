/*
 * A shared object for LD_PRELOAD: writes down, in order and with data, every call by which a
 * program changes or syncs the files below one folder, and what it prints meanwhile. It changes
 * nothing and makes nothing fail. A call is written down after it has returned; a lock over both
 * keeps the order of the record that of the calls, whichever threads they come from.
 *
 * What it does not stand in for (stores through a map, copy_file_range) shows when the explorer
 * compares the record with the files. It is built without sanitizers, for programs with and
 * without.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "record.h"

#define INODES_MAX 4096
#define PATH_BYTES 4096

static pthread_mutex_t record_lock = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static dev_t device;
static uint64_t inodes[INODES_MAX];
static size_t inodes_len;

/* The C library's function of this name. */
static void *next(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) {
        abort();
    }
    return found;
}

/* ISO C has no cast from an object pointer to a function pointer; POSIX has the bytes agree. */
#define NEXT(type, variable, name)                                                                 \
    type variable;                                                                                 \
    do {                                                                                           \
        void *found = next(name);                                                                  \
        memcpy(&(variable), &found, sizeof(variable));                                             \
    } while (0)

typedef int (*openat_fn)(int, const char *, int, ...);
typedef ssize_t (*write_fn)(int, const void *, size_t);
typedef ssize_t (*pwrite_fn)(int, const void *, size_t, off_t);
typedef ssize_t (*writev_fn)(int, const struct iovec *, int);
typedef ssize_t (*pwritev_fn)(int, const struct iovec *, int, off_t);
typedef int (*fd_fn)(int);
typedef int (*ftruncate_fn)(int, off_t);
typedef int (*msync_fn)(void *, size_t, int);
typedef int (*mkdirat_fn)(int, const char *, mode_t);
typedef int (*renameat_fn)(int, const char *, int, const char *);
typedef int (*unlinkat_fn)(int, const char *, int);

static bool is_known(uint64_t inode)
{
    for (size_t i = 0; i < inodes_len; i++) {
        if (inodes[i] == inode) {
            return true;
        }
    }
    return false;
}

static void know(uint64_t inode)
{
    if (!is_known(inode)) {
        if (inodes_len == INODES_MAX) {
            abort();
        }
        inodes[inodes_len++] = inode;
    }
}

static void put(const void *data, size_t len)
{
    NEXT(write_fn, real, "write");
    for (const char *at = data; len > 0;) {
        ssize_t wrote = real(log_fd, at, len);
        if (wrote <= 0) {
            abort(); /* a record with a hole is worth nothing */
        }
        at += wrote;
        len -= (size_t)wrote;
    }
}

static void put_record(const struct record_header *header, const void *data)
{
    put(header, sizeof *header);
    if (header->data_bytes > 0) {
        put(data, header->data_bytes);
    }
}

__attribute__((constructor)) static void record_start(void)
{
    const char *root = getenv(RECORD_ROOT_VARIABLE);
    const char *log = getenv(RECORD_LOG_VARIABLE);
    struct stat info;
    if (root == NULL || log == NULL) {
        return;
    }
    NEXT(openat_fn, real, "openat");
    log_fd = real(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0 || stat(root, &info) != 0) {
        abort();
    }
    device = info.st_dev;
    know(info.st_ino);
    struct record_header header = {.kind = RECORD_ROOT, .inode = info.st_ino};
    put_record(&header, NULL);
}

/* Is it a file below the root? */
static bool inode_of(int fd, uint64_t *inode)
{
    struct stat info;
    if (log_fd < 0 || fstat(fd, &info) != 0 || info.st_dev != device || !is_known(info.st_ino)) {
        return false;
    }
    *inode = info.st_ino;
    return true;
}

/* Inode of the folder that `path` is in, if that is below the root, and the last name of it. */
static bool place_of(int dirfd, const char *path, uint64_t *folder, char name[RECORD_NAME_BYTES])
{
    char parent[PATH_BYTES];
    struct stat info;
    size_t len = strlen(path);
    if (log_fd < 0 || len == 0 || len >= sizeof parent) {
        return false;
    }
    const char *slash = strrchr(path, '/');
    const char *last = slash == NULL ? path : slash + 1;
    if (slash == NULL) {
        memcpy(parent, ".", 2);
    } else {
        size_t parent_len = slash == path ? 1 : (size_t)(slash - path);
        memcpy(parent, path, parent_len);
        parent[parent_len] = 0;
    }
    if (strlen(last) >= RECORD_NAME_BYTES || fstatat(dirfd, parent, &info, 0) != 0 ||
        info.st_dev != device || !is_known(info.st_ino)) {
        return false;
    }
    *folder = info.st_ino;
    memcpy(name, last, strlen(last) + 1);
    return true;
}

/* ------------------------------------------------------------------ names */

static int open_recorded(int dirfd, const char *path, int flags, mode_t mode)
{
    NEXT(openat_fn, real, "openat");
    if ((flags & (O_CREAT | O_TRUNC)) == 0) {
        return real(dirfd, path, flags, mode);
    }
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_CREATE};
    struct stat info;
    bool is_ours = place_of(dirfd, path, &header.folder, header.name);
    bool was_there = is_ours && fstatat(dirfd, path, &info, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = real(dirfd, path, flags, mode);
    if (is_ours && fd >= 0 && fstat(fd, &info) == 0) {
        header.inode = info.st_ino;
        if (was_there) {
            header.kind = RECORD_TRUNCATE; /* to 0 bytes, where it is one */
        }
        if (!was_there || (flags & O_TRUNC) != 0) {
            know(info.st_ino);
            put_record(&header, NULL);
        }
    }
    pthread_mutex_unlock(&record_lock);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments)
{
    return (flags & O_CREAT) != 0 ? (mode_t)va_arg(arguments, unsigned) : 0;
}

int open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_recorded(AT_FDCWD, path, flags, mode);
}

int openat(int dirfd, const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_recorded(dirfd, path, flags, mode);
}

int mkdirat(int dirfd, const char *path, mode_t mode)
{
    NEXT(mkdirat_fn, real, "mkdirat");
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_MKDIR};
    struct stat info;
    int result = real(dirfd, path, mode);
    if (result == 0 && place_of(dirfd, path, &header.folder, header.name) &&
        fstatat(dirfd, path, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        header.inode = info.st_ino;
        know(info.st_ino);
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}

int mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    NEXT(renameat_fn, real, "renameat");
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_RENAME};
    int result = real(from_fd, from, to_fd, to);
    if (result == 0 && place_of(from_fd, from, &header.folder, header.name) &&
        place_of(to_fd, to, &header.to_folder, header.to_name)) {
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int unlinkat(int dirfd, const char *path, int flags)
{
    NEXT(unlinkat_fn, real, "unlinkat");
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_UNLINK};
    int result = real(dirfd, path, flags);
    if (result == 0 && place_of(dirfd, path, &header.folder, header.name)) {
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}

int unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

/* ------------------------------------------------------------------ data */

/* `wrote` bytes of `pieces` at `offset` have been written. */
static void put_write(int fd, const struct iovec *pieces, int count, off_t offset, ssize_t wrote)
{
    struct record_header header = {.kind = RECORD_WRITE};
    if (wrote <= 0 || !inode_of(fd, &header.inode)) {
        return;
    }
    int flags = fcntl(fd, F_GETFL);
    header.is_synchronous = (flags & O_DSYNC) != 0; /* O_SYNC has this bit too */
    header.offset = (uint64_t)offset;
    header.data_bytes = (uint64_t)wrote;
    put(&header, sizeof header);
    size_t left = (size_t)wrote;
    for (int i = 0; i < count && left > 0; i++) {
        size_t some = pieces[i].iov_len < left ? pieces[i].iov_len : left;
        put(pieces[i].iov_base, some);
        left -= some;
    }
}

/* Where write() is going to write. */
static off_t write_offset(int fd)
{
    return lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) != 0 ? SEEK_END : SEEK_CUR);
}

ssize_t writev(int fd, const struct iovec *pieces, int count)
{
    NEXT(writev_fn, real, "writev");
    pthread_mutex_lock(&record_lock);
    off_t offset = log_fd < 0 ? 0 : write_offset(fd);
    ssize_t wrote = real(fd, pieces, count);
    put_write(fd, pieces, count, offset, wrote);
    pthread_mutex_unlock(&record_lock);
    return wrote;
}

ssize_t write(int fd, const void *data, size_t len)
{
    struct iovec piece = {.iov_len = len};
    memcpy(&piece.iov_base, &data, sizeof data);
    NEXT(write_fn, real, "write");
    pthread_mutex_lock(&record_lock);
    off_t offset = log_fd < 0 ? 0 : write_offset(fd);
    ssize_t wrote = real(fd, data, len);
    put_write(fd, &piece, 1, offset, wrote);
    if (log_fd >= 0 && fd == STDOUT_FILENO && wrote > 0) {
        struct record_header header = {.kind = RECORD_MARK, .data_bytes = (uint64_t)wrote};
        put_record(&header, data);
    }
    pthread_mutex_unlock(&record_lock);
    return wrote;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
    struct iovec piece = {.iov_len = len};
    memcpy(&piece.iov_base, &data, sizeof data);
    NEXT(pwrite_fn, real, "pwrite");
    pthread_mutex_lock(&record_lock);
    ssize_t wrote = real(fd, data, len, offset);
    put_write(fd, &piece, 1, offset, wrote);
    pthread_mutex_unlock(&record_lock);
    return wrote;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    NEXT(pwritev_fn, real, "pwritev");
    pthread_mutex_lock(&record_lock);
    ssize_t wrote = real(fd, pieces, count, offset);
    put_write(fd, pieces, count, offset, wrote);
    pthread_mutex_unlock(&record_lock);
    return wrote;
}

int ftruncate(int fd, off_t len)
{
    NEXT(ftruncate_fn, real, "ftruncate");
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_TRUNCATE, .offset = (uint64_t)len};
    int result = real(fd, len);
    if (result == 0 && inode_of(fd, &header.inode)) {
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}

/* ------------------------------------------------------------------ syncs */

static int sync_recorded(int fd, fd_fn real)
{
    pthread_mutex_lock(&record_lock);
    struct record_header header = {.kind = RECORD_SYNC};
    int result = real(fd);
    if (result == 0 && inode_of(fd, &header.inode)) {
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}

int fsync(int fd)
{
    NEXT(fd_fn, real, "fsync");
    return sync_recorded(fd, real);
}

int fdatasync(int fd)
{
    NEXT(fd_fn, real, "fdatasync");
    return sync_recorded(fd, real);
}

int msync(void *at, size_t len, int flags)
{
    NEXT(msync_fn, real, "msync");
    pthread_mutex_lock(&record_lock);
    int result = real(at, len, flags);
    if (log_fd >= 0) {
        /* Of which file is not known here: inode 0, which the explorer refuses. */
        struct record_header header = {.kind = RECORD_SYNC};
        put_record(&header, NULL);
    }
    pthread_mutex_unlock(&record_lock);
    return result;
}
