/*
 * Named locks: a file in the store's folder, a lock on the open file, and in it the number of the
 * process that holds it, for the message of whoever comes second. And claims: locks on numbers of
 * one such file, which others can look at without taking them.
 *
 * A file is deleted only by who holds its lock; whoever takes a lock sees afterwards that the file
 * still has its name, so that two never hold locks of two files of one name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "folder.h"
#include "internal.h"
#include "quipu/alloc.h"

#define LOCK_NAME_BYTES_MAX 32
#define LOCK_FILE_BYTES     (LOCK_NAME_BYTES_MAX + sizeof ".lock")
/* So often a file may be deleted between our opening and locking it. */
#define TAKE_TRIES 100

struct quipu_store_lock {
    int fd;
    int folder_fd; /* the store's, which is closed after this */
    pid_t pid;
    bool is_claim;
    off_t byte;
    char file[LOCK_FILE_BYTES];
};

static bool name_is_good(const char *name)
{
    if (name == NULL || strcmp(name, "open") == 0 || strcmp(name, "lock") == 0) {
        return false;
    }
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return len >= 1 && len <= LOCK_NAME_BYTES_MAX && name[len] == 0;
}

static enum quipu_status held_elsewhere(int fd, const char *path, const char *name,
                                        struct quipu_error *err)
{
    char text[16] = {0};
    char own[16];
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    text[len > 0 ? strcspn(text, "\n") : 0] = 0;
    (void)snprintf(own, sizeof own, "%ld", (long)getpid()); /* fits */
    return quipu_error_set(err, QUIPU_BUSY, "%s: the lock %s is held by process %s%s", path, name,
                           text[0] != 0 ? text : "unknown",
                           strcmp(text, own) == 0
                               ? ", this one (or one of another container, with the same number)"
                               : "");
}

/* Only for people, so a failure of it does not matter. */
static void write_pid(int fd, pid_t pid)
{
    char text[16];
    int len = snprintf(text, sizeof text, "%ld\n", (long)pid);
    if (len > 0 && ftruncate(fd, 0) == 0) {
        ssize_t written = pwrite(fd, text, (size_t)len, 0);
        (void)written;
    }
}

static enum quipu_status name_check(const char *name, struct quipu_error *err)
{
    return name_is_good(name)
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_MISUSE,
                                 "name of a lock: want 1 to %d of a-z, 0-9 and -, not open or lock",
                                 LOCK_NAME_BYTES_MAX);
}

/* @retval QUIPU_DONE  the file was deleted meanwhile: once more */
static enum quipu_status take_once(const struct quipu_store *store, const char *name,
                                   struct quipu_store_lock *lock, struct quipu_error *err)
{
    bool is_held = false;
    int number = quipu_lock_file_open(store->folder_fd, lock->file, O_RDWR | O_CREAT, &lock->fd);
    if (number != 0) {
        return quipu_lock_file_error(err, number, store->path, lock->file);
    }
    enum quipu_status status = quipu_byte_lock(lock->fd, lock->byte, false, &is_held, err);
    if (status == QUIPU_OK && !is_held) {
        status = held_elsewhere(lock->fd, store->path, name, err);
    }
    if (status == QUIPU_OK && !quipu_folder_names(store->folder_fd, lock->file, lock->fd)) {
        status = QUIPU_DONE;
    }
    if (status != QUIPU_OK) {
        (void)close(lock->fd); /* nothing was written */
    }
    return status;
}

static enum quipu_status take(struct quipu_store *store, const char *name,
                              const struct quipu_store_lock *wanted, struct quipu_store_lock **out,
                              struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status == QUIPU_OK) {
        status = name_check(name, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (store->is_read_only) {
        return quipu_store_refuse_write(store, err);
    }
    struct quipu_store_lock *lock = quipu_alloc(1, sizeof *lock);
    if (lock == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the lock %s", name);
    }
    *lock = *wanted;
    lock->pid = store->pid;
    lock->folder_fd = store->folder_fd;
    (void)snprintf(lock->file, sizeof lock->file, "%s.lock", name); /* fits: it was checked */
    status = QUIPU_DONE;
    for (int i = 0; i < TAKE_TRIES && status == QUIPU_DONE; i++) {
        status = take_once(store, name, lock, err);
    }
    if (status == QUIPU_DONE) {
        status = quipu_error_set(err, QUIPU_BUSY, "%s: the lock %s is deleted again and again",
                                 store->path, name);
    }
    if (status != QUIPU_OK) {
        quipu_free(lock);
        return status;
    }
    *out = lock;
    return QUIPU_OK;
}

enum quipu_status quipu_store_lock_take(struct quipu_store *store, const char *name,
                                        struct quipu_store_lock **out, struct quipu_error *err)
{
    const struct quipu_store_lock wanted = {.byte = 0};
    enum quipu_status status = take(store, name, &wanted, out, err);
    if (status == QUIPU_OK) {
        write_pid((*out)->fd, (*out)->pid);
    }
    return status;
}

static void lock_end(struct quipu_store_lock **lock_pointer, bool is_removed)
{
    if (lock_pointer == NULL || *lock_pointer == NULL) {
        return;
    }
    struct quipu_store_lock *lock = *lock_pointer;
    *lock_pointer = NULL;
    /* A forked child shares the lock with its parent and must not take it away. */
    if (lock->pid == getpid()) {
        if (is_removed && unlinkat(lock->folder_fd, lock->file, 0) != 0) {
            /* An empty file stays, which is what release leaves too. */
        }
        if (!lock->is_claim && ftruncate(lock->fd, 0) != 0) {
            /* The old number stays in the file; nobody reads it while nobody holds the lock. */
        }
        quipu_byte_unlock(lock->fd, lock->byte);
    }
    (void)close(lock->fd); /* what it says does not matter any more */
    quipu_free(lock);
}

void quipu_store_lock_release(struct quipu_store_lock **lock)
{
    lock_end(lock, false);
}

void quipu_store_lock_remove(struct quipu_store_lock **lock)
{
    lock_end(lock, true);
}

/* ------------------------------------------------------------------ claims */

enum quipu_status quipu_store_claim_take(struct quipu_store *store, const char *name,
                                         uint32_t number, struct quipu_store_lock **out,
                                         struct quipu_error *err)
{
    const struct quipu_store_lock wanted = {.byte = (off_t)number, .is_claim = true};
    return take(store, name, &wanted, out, err);
}

enum quipu_status quipu_store_claim_is_held(struct quipu_store *store, const char *name,
                                            uint32_t number, bool *out, struct quipu_error *err)
{
    char file[LOCK_FILE_BYTES];
    enum quipu_status status = name_check(name, err);
    if (status != QUIPU_OK) {
        return status;
    }
    (void)snprintf(file, sizeof file, "%s.lock", name); /* fits: it was checked */
    int fd = -1;
    int code = quipu_lock_file_open(store->folder_fd, file, O_RDONLY, &fd);
    if (code == ENOENT) {
        *out = false; /* nobody ever claimed one */
        return QUIPU_OK;
    }
    if (code != 0) {
        return quipu_lock_file_error(err, code, store->path, file);
    }
    struct flock found = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)number, .l_len = 1};
    if (fcntl(fd, F_OFD_GETLK, &found) == 0) {
        *out = found.l_type != F_UNLCK;
    } else {
        status = quipu_error_errno(err, errno, "%s: look at %s", store->path, file);
    }
    (void)close(fd); /* nothing was written */
    return status;
}
