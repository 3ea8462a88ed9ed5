/*
 * The store's folder. Locks are those of open files (F_OFD_SETLK): they hold between threads and
 * openings of one process as well as between processes, and closing some other descriptor of the
 * file does not drop them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "internal.h"

/* Numbers of linux/magic.h and of the file systems' own sources. */
static const uint64_t network_magics[] = {
    0x6969,     /* NFS */
    0x517b,     /* SMB */
    0xff534d42, /* CIFS */
    0xfe534d42, /* SMB2 */
    0x564c,     /* NCP */
    0x5346414f, /* AFS */
    0x6b414653, /* kAFS */
    0x73757245, /* Coda */
    0x01021997, /* 9P */
    0x00c36400, /* Ceph */
    0x0bd00bd0, /* Lustre */
    0x47504653, /* GPFS */
    0x7461636f, /* OCFS2 */
    0x01161970, /* GFS2 */
    0x20030528, /* PVFS2 */
    0x786f4256, /* vboxsf */
};

bool quipu_folder_is_network(uint64_t magic)
{
    for (size_t i = 0; i < sizeof network_magics / sizeof network_magics[0]; i++) {
        if (network_magics[i] == magic) {
            return true;
        }
    }
    return false;
}

static enum quipu_status make_folder(const char *path, bool *was_made, struct quipu_error *err)
{
    *was_made = mkdir(path, 0700) == 0;
    if (!*was_made && errno != EEXIST) {
        return quipu_error_errno(err, errno, "make the folder %s", path);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_folder_enter(const char *path, bool may_make, int *fd,
                                     char real_path[PATH_MAX], struct quipu_error *err)
{
    bool was_made = false;
    if (may_make) {
        enum quipu_status status = make_folder(path, &was_made, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) {
        if (errno == ENOTDIR) {
            return quipu_error_set(err, QUIPU_NOT_A_STORE, "%s is not a folder", path);
        }
        return quipu_error_errno(err, errno, "open the folder %s", path);
    }

    enum quipu_status status = QUIPU_OK;
    struct statfs fs;
    if (realpath(path, real_path) == NULL || fstatfs(opened, &fs) != 0) {
        status = quipu_error_errno(err, errno, "look at the folder %s", path);
    } else if (quipu_folder_is_network((uint64_t)(uint32_t)fs.f_type)) {
        status =
            quipu_error_set(err, QUIPU_INVALID,
                            "%s is on a network file system (type 0x%lx), where locks and maps "
                            "cannot be relied on; use a local disk",
                            path, (unsigned long)fs.f_type);
    }
    if (status != QUIPU_OK) {
        (void)close(opened); /* was only read */
        if (was_made) {
            (void)rmdir(path); /* best effort */
        }
        return status;
    }
    *fd = opened;
    return QUIPU_OK;
}

static bool is_own_leftover(const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
           strcmp(name, QUIPU_TEMP_NAME) == 0 || strcmp(name, QUIPU_LMDB_LOCK_NAME) == 0 ||
           (len > 5 && strcmp(name + len - 5, ".lock") == 0);
}

enum quipu_status quipu_folder_is_blank(int fd, bool *is_blank, struct quipu_error *err)
{
    /* A descriptor of its own: closedir closes it, and reading moves its offset. */
    int own = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = own < 0 ? NULL : fdopendir(own);
    if (dir == NULL) {
        int number = errno;
        if (own >= 0) {
            (void)close(own); /* was only read */
        }
        return quipu_error_errno(err, number, "list the folder");
    }
    bool blank = true;
    errno = 0; /* a folder that cannot be listed to its end is not a blank one */
    for (struct dirent *entry = readdir(dir); entry != NULL && blank; entry = readdir(dir)) {
        blank = is_own_leftover(entry->d_name);
    }
    int number = blank ? errno : 0;
    (void)closedir(dir); /* was only read */
    if (number != 0) {
        return quipu_error_errno(err, number, "list the folder");
    }
    *is_blank = blank;
    return QUIPU_OK;
}

enum quipu_status quipu_folder_has(int fd, const char *name, bool *has, struct quipu_error *err)
{
    struct stat info;
    if (fstatat(fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
        *has = true;
        return QUIPU_OK;
    }
    if (errno == ENOENT) {
        *has = false;
        return QUIPU_OK;
    }
    return quipu_error_errno(err, errno, "look for %s", name);
}

enum quipu_status quipu_folder_sync(int fd, struct quipu_error *err)
{
    if (fsync(fd) != 0) {
        return quipu_error_errno(err, errno, "sync the folder");
    }
    int parent = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        /* A parent that may be passed through but not read cannot be synced by anybody like us. */
        return errno == EACCES ? QUIPU_OK : quipu_error_errno(err, errno, "open the parent folder");
    }
    int result = fsync(parent);
    int number = errno;
    (void)close(parent); /* was only read */
    if (result != 0) {
        return quipu_error_errno(err, number, "sync the parent folder");
    }
    return QUIPU_OK;
}

enum quipu_status quipu_folder_temp_path(const char *real_path, char out[PATH_MAX],
                                         struct quipu_error *err)
{
    int len = snprintf(out, PATH_MAX, "%s/%s", real_path, QUIPU_TEMP_NAME);
    return len >= 0 && len < PATH_MAX
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_TOO_LARGE, "%s: too long a path", real_path);
}

static enum quipu_status remove_one(int fd, const char *name, int flags, struct quipu_error *err)
{
    if (unlinkat(fd, name, flags) != 0 && errno != ENOENT) {
        if (errno == ENOTEMPTY || errno == EEXIST) {
            return quipu_error_set(err, QUIPU_EXISTS,
                                   "%s in the store's folder holds files that are not quipu's; "
                                   "move them away",
                                   name);
        }
        return quipu_error_errno(err, errno, "remove %s", name);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_folder_remove_temp(int fd, struct quipu_error *err)
{
    int temp = openat(fd, QUIPU_TEMP_NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (temp < 0 && errno == ENOENT) {
        return QUIPU_OK;
    }
    if (temp < 0 && (errno == ENOTDIR || errno == ELOOP)) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s in the store's folder is no folder and not quipu's; move it "
                               "away",
                               QUIPU_TEMP_NAME);
    }
    if (temp < 0) {
        return quipu_error_errno(err, errno, "open %s", QUIPU_TEMP_NAME);
    }
    enum quipu_status status = remove_one(temp, QUIPU_DATA_NAME, 0, err);
    (void)close(temp); /* was only read */
    return status == QUIPU_OK ? remove_one(fd, QUIPU_TEMP_NAME, AT_REMOVEDIR, err) : status;
}

/* ------------------------------------------------------------------ locks */

int quipu_lock_file_open(int fd, const char *name, int flags, int *out)
{
    struct stat info;
    int opened = openat(fd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    int number = opened < 0 || fstat(opened, &info) != 0 ? errno : 0;
    if (number == 0 && !S_ISREG(info.st_mode)) {
        number = ELOOP; /* one word for all that is no plain file */
    }
    if (number == 0) {
        *out = opened;
    } else if (opened >= 0) {
        (void)close(opened); /* nothing was written */
    }
    return number;
}

enum quipu_status quipu_lock_file_error(struct quipu_error *err, int number, const char *path,
                                        const char *name)
{
    if (number == ELOOP || number == ENXIO) {
        return quipu_error_set(err, QUIPU_INVALID, "%s: %s is not a plain file; move it away", path,
                               name);
    }
    return quipu_error_errno(err, number, "%s: open %s", path, name);
}

bool quipu_folder_names(int fd, const char *name, int opened)
{
    struct stat file;
    struct stat named;
    return fstat(opened, &file) == 0 && fstatat(fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           file.st_ino == named.st_ino && file.st_dev == named.st_dev;
}

/* What is in the way of a lock of this type in this stretch: its start and length; length 0:
 * nothing. */
static enum quipu_status find_lock(int fd, short type, off_t from, off_t bytes, struct flock *out,
                                   struct quipu_error *err)
{
    *out = (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = from, .l_len = bytes};
    if (fcntl(fd, F_OFD_GETLK, out) != 0) {
        return quipu_error_errno(err, errno, "look at the locks of %s", QUIPU_OPEN_LOCK_NAME);
    }
    if (out->l_type == F_UNLCK) {
        out->l_len = 0;
    }
    return QUIPU_OK;
}

enum quipu_status quipu_folder_lock_alone(int fd, const char *path, struct quipu_error *err)
{
    struct flock all = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = QUIPU_CREATION_BYTE};
    if (fcntl(fd, F_OFD_SETLK, &all) == 0) {
        bool is_held = false; /* nobody else can want it: the bytes below are ours */
        return quipu_byte_lock(fd, QUIPU_ALONE_BYTES + getpid(), false, &is_held, err);
    }
    if (errno != EAGAIN && errno != EACCES) {
        return quipu_error_errno(err, errno, "lock %s of %s", QUIPU_OPEN_LOCK_NAME, path);
    }
    struct flock found;
    enum quipu_status status = find_lock(fd, F_WRLCK, 0, QUIPU_CREATION_BYTE, &found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (found.l_len == 0) {
        return quipu_error_set(err, QUIPU_BUSY, "%s was in use just now; try again", path);
    }
    if (found.l_len != 1) {
        return quipu_folder_explain_lock(fd, path, err);
    }
    return quipu_error_set(err, QUIPU_BUSY, "%s is open in process %ld%s; close it there first",
                           path, (long)found.l_start,
                           found.l_start == (off_t)getpid() ? ", this one" : "");
}

/* Number of the process that holds the store alone, or reads it; 0 where there is none any more. */
static enum quipu_status find_process(int fd, off_t bytes, long *process, struct quipu_error *err)
{
    struct flock found;
    enum quipu_status status =
        find_lock(fd, F_WRLCK, bytes, QUIPU_READER_BYTES - QUIPU_ALONE_BYTES, &found, err);
    if (status == QUIPU_OK) {
        *process = found.l_len == 0 ? 0L : (long)(found.l_start - bytes);
    }
    return status;
}

static enum quipu_status being_read(int fd, const char *path, struct quipu_error *err)
{
    long process = 0;
    enum quipu_status status = find_process(fd, QUIPU_READER_BYTES, &process, err);
    return status != QUIPU_OK
               ? status
               : quipu_error_set(err, QUIPU_BUSY,
                                 "%s is being read by process %ld, which cannot write there and so "
                                 "must not be written under; try again when it has ended",
                                 path, process);
}

enum quipu_status quipu_folder_lock_reader(int fd, const char *path, struct quipu_error *err)
{
    struct flock all = {
        .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = QUIPU_CREATION_BYTE};
    if (fcntl(fd, F_OFD_SETLK, &all) == 0) {
        struct flock own = {.l_type = F_RDLCK,
                            .l_whence = SEEK_SET,
                            .l_start = QUIPU_READER_BYTES + getpid(),
                            .l_len = 1};
        /* Only for the message of whoever is kept out: nobody else can be in the way. */
        (void)fcntl(fd, F_OFD_SETLK, &own);
        return QUIPU_OK;
    }
    if (errno != EAGAIN && errno != EACCES) {
        return quipu_error_errno(err, errno, "lock %s of %s", QUIPU_OPEN_LOCK_NAME, path);
    }
    struct flock found;
    enum quipu_status status = find_lock(fd, F_RDLCK, 0, QUIPU_CREATION_BYTE, &found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (found.l_len == 0) {
        return quipu_error_set(err, QUIPU_BUSY, "%s was in use just now; try again", path);
    }
    if (found.l_len != 1) {
        return quipu_folder_explain_lock(fd, path, err);
    }
    return quipu_error_set(err, QUIPU_BUSY,
                           "%s is open in process %ld, which may write, and cannot be read beside "
                           "it by who cannot write there; close it there first, or read a backup",
                           path, (long)found.l_start);
}

void quipu_folder_unlock(int fd)
{
    struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 0};
    (void)fcntl(fd, F_OFD_SETLK, &all); /* cannot fail where it splits no lock */
}

enum quipu_status quipu_folder_explain_lock(int fd, const char *path, struct quipu_error *err)
{
    struct flock own;
    long keeper = 0;
    enum quipu_status status = find_lock(fd, F_WRLCK, (off_t)getpid(), 1, &own, err);
    if (status == QUIPU_OK) {
        status = find_process(fd, QUIPU_ALONE_BYTES, &keeper, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (own.l_len != 0 && own.l_type == F_RDLCK) {
        return being_read(fd, path, err);
    }
    if (own.l_len == 1) {
        return quipu_error_set(err, QUIPU_EXISTS,
                               "%s is open already in this process (or in another container, with "
                               "the same process number); share the handle",
                               path);
    }
    /* It may have ended between the two looks; trying again is right then too. */
    return quipu_error_set(err, QUIPU_BUSY,
                           "%s is being made, compacted or repaired by process %ld; try again when "
                           "it is done",
                           path, keeper);
}

enum quipu_status quipu_byte_lock(int fd, off_t byte, bool wait, bool *is_held,
                                  struct quipu_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    int result;
    do {
        result = fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &lock);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno != EAGAIN && errno != EACCES) {
        return quipu_error_errno(err, errno, "lock a file of the store");
    }
    *is_held = result == 0;
    return QUIPU_OK;
}

void quipu_byte_unlock(int fd, off_t byte)
{
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    (void)fcntl(fd, F_OFD_SETLK, &lock); /* cannot fail for a lock that is held */
}
