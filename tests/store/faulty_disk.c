/*
 * The system's writing calls, as a disk that fails has them: faulty_disk.h.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "faulty_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static struct {
    enum fault_kind kind;
    long left; /* calls until it fails */
    bool is_lasting;
    long failures;
} fault;

static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;

/* Under the lock. Is this the call that fails? */
static bool is_due_locked(enum fault_kind kind)
{
    if (fault.kind != kind || (fault.failures > 0 && !fault.is_lasting)) {
        return false;
    }
    if (fault.left > 0) {
        fault.left--;
        return false;
    }
    fault.failures++;
    return true;
}

static bool is_due(enum fault_kind kind)
{
    (void)pthread_mutex_lock(&fault_lock); /* cannot fail: never taken twice */
    bool is = is_due_locked(kind);
    (void)pthread_mutex_unlock(&fault_lock);
    if (is) {
        errno = EIO;
    }
    return is;
}

/* What a disk that gets full takes of `bytes`: half of the first write that does not fit. */
static ssize_t allowed_on_full(size_t bytes)
{
    (void)pthread_mutex_lock(&fault_lock);
    bool is = is_due_locked(FAULT_FULL);
    bool is_first = fault.failures == 1;
    (void)pthread_mutex_unlock(&fault_lock);
    if (is && !is_first) {
        errno = ENOSPC;
        return -1;
    }
    return is ? (ssize_t)(bytes / 2) : (ssize_t)bytes;
}

/* What is to be written of `bytes`: all, about half, or nothing (-1, with errno). */
static ssize_t allowed(size_t bytes)
{
    if (is_due(FAULT_WRITE)) {
        return -1;
    }
    return is_due(FAULT_SHORT) ? (ssize_t)(bytes / 2) : allowed_on_full(bytes);
}

static bool is_armed(void)
{
    (void)pthread_mutex_lock(&fault_lock);
    bool is = fault.kind != FAULT_NONE;
    (void)pthread_mutex_unlock(&fault_lock);
    return is;
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    ssize_t allow = allowed(bytes);
    return allow < 0 ? -1 : syscall(SYS_pwrite64, fd, data, (size_t)allow, offset);
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    struct stat info;
    /* Criterion has pipes to write to. */
    bool is_file = is_armed() && fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
    ssize_t allow = is_file ? allowed(bytes) : (ssize_t)bytes;
    return allow < 0 ? -1 : syscall(SYS_write, fd, data, (size_t)allow);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += parts[i].iov_len;
    }
    ssize_t allow = allowed(bytes);
    if (allow < 0 || (size_t)allow < bytes) {
        return allow < 0 ? -1 : syscall(SYS_writev, fd, parts, count / 2);
    }
    return syscall(SYS_writev, fd, parts, count);
}

int fdatasync(int fd)
{
    return is_due(FAULT_SYNC) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return is_due(FAULT_SYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}

int ftruncate(int fd, off_t bytes)
{
    return is_due(FAULT_LENGTH) ? -1 : (int)syscall(SYS_ftruncate, fd, bytes);
}

int fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return is_due(FAULT_LENGTH) ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, bytes);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return is_due(FAULT_RENAME) ? -1 : (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return is_due(FAULT_RENAME) ? -1 : (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

int mkdirat(int fd, const char *name, mode_t mode)
{
    return is_due(FAULT_MKDIR) ? -1 : (int)syscall(SYS_mkdirat, fd, name, mode);
}

int mkdir(const char *name, mode_t mode)
{
    return mkdirat(AT_FDCWD, name, mode);
}

int unlinkat(int fd, const char *name, int flags)
{
    return is_due(FAULT_UNLINK) ? -1 : (int)syscall(SYS_unlinkat, fd, name, flags);
}

static int open_counted(int fd, const char *name, int flags, va_list arguments)
{
    bool makes = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    mode_t mode = makes ? (mode_t)va_arg(arguments, unsigned) : 0;
    return is_due(FAULT_OPEN) ? -1 : (int)syscall(SYS_openat, fd, name, flags, mode);
}

int openat(int fd, const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int opened = open_counted(fd, name, flags, arguments);
    va_end(arguments);
    return opened;
}

int open(const char *name, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    int opened = open_counted(AT_FDCWD, name, flags, arguments);
    va_end(arguments);
    return opened;
}

void fault_arm(enum fault_kind kind, long n, bool is_lasting)
{
    (void)pthread_mutex_lock(&fault_lock);
    fault.left = n;
    fault.is_lasting = is_lasting;
    fault.failures = 0;
    fault.kind = kind;
    (void)pthread_mutex_unlock(&fault_lock);
}

long fault_disarm(void)
{
    (void)pthread_mutex_lock(&fault_lock);
    long failures = fault.failures;
    fault.kind = FAULT_NONE;
    (void)pthread_mutex_unlock(&fault_lock);
    return failures;
}
