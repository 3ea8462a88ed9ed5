/*
 * The file of allowed signers, and who could have written it: whoever can says who is trusted. What
 * stands in it is read elsewhere.
 *
 * Specification: sshd_config(5), StrictModes; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quipu/buf.h"
#include "quipu/io.h"
#include "quipu/trust.h"

/* Who can write there says who is trusted: only we and the superuser may. `what` is the file
 * itself, or a folder on the way to it, where others may put files of their own if theirs is not to
 * be renamed (/tmp). */
static enum quipu_status writers_check(const struct stat *info, const char *path, const char *what,
                                       struct quipu_error *err)
{
    bool is_shared = S_ISDIR(info->st_mode) && (info->st_mode & S_ISVTX) != 0;
    if (info->st_uid != geteuid() && info->st_uid != 0) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s: %s is of user %u, who so says who is trusted; take one of user "
                               "%u or of the superuser",
                               path, what, (unsigned)info->st_uid, (unsigned)geteuid());
    }
    if ((info->st_mode & (S_IWGRP | S_IWOTH)) != 0 && !is_shared) {
        return quipu_error_set(err, QUIPU_PERMISSION,
                               "%s: mode %04o of %s lets others say who is trusted; chmod go-w %s",
                               path, (unsigned)(info->st_mode & 07777), what, what);
    }
    return QUIPU_OK;
}

/* Every folder above `real`, a path without links; it is cut on the way. */
static enum quipu_status folders_check(char *real, const char *path, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && strcmp(real, "/") != 0) {
        struct stat info;
        char *slash = strrchr(real, '/');
        slash[slash == real] = 0;
        status = stat(real, &info) != 0 ? quipu_error_errno(err, errno, "look at %s", real)
                                        : writers_check(&info, path, real, err);
    }
    return status;
}

/* The place that a path leads to, held against everybody who could have put another file there. */
static enum quipu_status place_check(const char *path, char real[PATH_MAX], struct quipu_error *err)
{
    char way[PATH_MAX];
    if (realpath(path, real) == NULL) {
        return quipu_error_errno(err, errno, "open %s", path);
    }
    memcpy(way, real, PATH_MAX);
    return folders_check(way, path, err);
}

static enum quipu_status open_file(const char *path, int *out, struct quipu_error *err)
{
    struct stat info;
    char real[PATH_MAX] = "";
    enum quipu_status status = place_check(path, real, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) {
        return quipu_error_errno(err, errno, "open %s", path);
    }
    if (fstat(fd, &info) != 0) {
        status = quipu_error_errno(err, errno, "look at %s", path);
    } else if (!S_ISREG(info.st_mode)) {
        status = quipu_error_set(err, QUIPU_INVALID, "%s is not a regular file", path);
    } else {
        status = writers_check(&info, path, real, err);
    }
    if (status != QUIPU_OK) {
        (void)close(fd); /* nothing was written */
        return status;
    }
    *out = fd;
    return QUIPU_OK;
}

enum quipu_status quipu_trust_load(const char *path, struct quipu_trust **out,
                                   struct quipu_error *err)
{
    int fd = -1;
    size_t got = 0;
    struct quipu_buf text = QUIPU_BUF_INIT;
    if (path == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "the allowed signers need a path");
    }
    enum quipu_status status = open_file(path, &fd, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* One byte more than there may be, to see that there is none. */
    uint8_t *into = quipu_buf_reserve(&text, QUIPU_TRUST_BYTES_MAX + 1);
    status = into == NULL ? quipu_error_set(err, text.status, "no memory to read %s", path)
                          : quipu_source_read_full(quipu_source_fd(&fd), into,
                                                   QUIPU_TRUST_BYTES_MAX + 1, &got, err);
    if (status == QUIPU_OK) {
        status = quipu_trust_parse(quipu_slice(into, got), out, err);
    }
    (void)close(fd); /* was only read */
    quipu_buf_release(&text);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
}
