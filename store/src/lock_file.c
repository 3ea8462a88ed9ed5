/*
 * Named locks: a file in the store's folder, a lock on the open file, and in it the number of the
 * process that holds it, for the message of whoever comes second.
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

struct quipu_store_lock {
    int fd;
    pid_t pid;
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
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    text[len > 0 ? strcspn(text, "\n") : 0] = 0;
    return quipu_error_set(err, QUIPU_BUSY, "%s: the lock %s is held by process %s", path, name,
                           text[0] != 0 ? text : "unknown");
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

enum quipu_status quipu_store_lock_take(struct quipu_store *store, const char *name,
                                        struct quipu_store_lock **out, struct quipu_error *err)
{
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!name_is_good(name)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "name of a lock: want 1 to %d of a-z, 0-9 and -, not open or lock",
                               LOCK_NAME_BYTES_MAX);
    }
    if (store->is_read_only) {
        return quipu_store_refuse_write(store, err);
    }
    struct quipu_store_lock *lock = quipu_alloc(1, sizeof *lock);
    if (lock == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for the lock %s", name);
    }
    char file[LOCK_NAME_BYTES_MAX + sizeof ".lock"];
    (void)snprintf(file, sizeof file, "%s.lock", name); /* fits: the name was checked */
    lock->pid = store->pid;
    lock->fd = openat(store->folder_fd, file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock->fd < 0) {
        status = quipu_error_errno(err, errno, "%s: open %s", store->path, file);
        quipu_free(lock);
        return status;
    }
    bool is_held = false;
    status = quipu_byte_lock(lock->fd, 0, false, &is_held, err);
    if (status == QUIPU_OK && !is_held) {
        status = held_elsewhere(lock->fd, store->path, name, err);
    }
    if (status != QUIPU_OK) {
        (void)close(lock->fd); /* nothing was written */
        quipu_free(lock);
        return status;
    }
    write_pid(lock->fd, lock->pid);
    *out = lock;
    return QUIPU_OK;
}

void quipu_store_lock_release(struct quipu_store_lock **lock_pointer)
{
    if (lock_pointer == NULL || *lock_pointer == NULL) {
        return;
    }
    struct quipu_store_lock *lock = *lock_pointer;
    *lock_pointer = NULL;
    /* A forked child shares the lock with its parent and must not take it away. */
    if (lock->pid == getpid()) {
        if (ftruncate(lock->fd, 0) != 0) {
            /* The old number stays in the file; nobody reads it while nobody holds the lock. */
        }
        quipu_byte_unlock(lock->fd, 0);
    }
    (void)close(lock->fd); /* what it says does not matter any more */
    quipu_free(lock);
}
