/*
 * Being told of commits, over threads and processes, by inotify.
 *
 * LMDB's own writes come too early for that: a reader takes its snapshot by a number in the lock
 * file's map, which is set only after the last write to the data file, and a reader that is woken
 * between the two sees nothing and would never be woken again. So a commit is announced once it can
 * be seen, by reading a byte of the data file (txn.c): a read changes nothing, costs less than a
 * microsecond and is an event for whoever watches. A writer that is killed before it has announced
 * its commit closes the data file by dying, which is an event, too; its commit had not returned to
 * anyone.
 *
 * The folder is watched and not the file, so that a data file that is renamed into the place of
 * another one is watched from its first moment. Other files of the folder are rarely touched; their
 * events are wakes for nothing. A queue that overflows is readable as well.
 *
 * Never touches the environment.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "internal.h"
#include "quipu/alloc.h"

/* One read takes many events; the same one again and again is merged by the kernel. */
#define EVENTS_BYTES 4096

struct quipu_watch {
    int epoll_fd;   /* readable where one of the two below is */
    int inotify_fd; /* commits */
    int wake_fd;    /* quipu_watch_wake */
};

static enum quipu_status inotify_error(const struct quipu_store *store, int number,
                                       struct quipu_error *err)
{
    if (number == EMFILE) {
        return quipu_error_set(err, QUIPU_IO,
                               "%s: watch: no more inotify instances for this user, or too many "
                               "open files; raise fs.inotify.max_user_instances or the limit of "
                               "open files",
                               store->path);
    }
    if (number == ENOSPC) {
        return quipu_error_set(err, QUIPU_IO,
                               "%s: watch: no more inotify watches for this user; raise "
                               "fs.inotify.max_user_watches",
                               store->path);
    }
    return quipu_error_errno(err, number, "%s: watch", store->path);
}

static enum quipu_status open_inotify(struct quipu_watch *watch, const struct quipu_store *store,
                                      struct quipu_error *err)
{
    watch->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch->inotify_fd < 0) {
        return inotify_error(store, errno, err);
    }
    /* A commit, a process that has ended, a data file that was put in the place of another. */
    const uint32_t mask = IN_ACCESS | IN_CLOSE_WRITE | IN_MOVED_TO | IN_ONLYDIR;
    if (inotify_add_watch(watch->inotify_fd, store->real_path, mask) < 0) {
        return inotify_error(store, errno, err);
    }
    return QUIPU_OK;
}

static bool poll_also(int epoll_fd, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static enum quipu_status open_descriptors(struct quipu_watch *watch,
                                          const struct quipu_store *store, struct quipu_error *err)
{
    enum quipu_status status = open_inotify(watch, store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    watch->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (watch->wake_fd < 0) {
        return quipu_error_errno(err, errno, "%s: watch: make an eventfd", store->path);
    }
    watch->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (watch->epoll_fd < 0 || !poll_also(watch->epoll_fd, watch->inotify_fd) ||
        !poll_also(watch->epoll_fd, watch->wake_fd)) {
        return quipu_error_errno(err, errno, "%s: watch: make an epoll descriptor", store->path);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_watch_open(struct quipu_store *store, struct quipu_watch **out,
                                   struct quipu_error *err)
{
    if (store == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "watch: no store, or nowhere to put the handle");
    }
    enum quipu_status status = quipu_store_check_process(store, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_watch *watch = quipu_alloc(1, sizeof *watch);
    if (watch == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "%s: no memory for a watch", store->path);
    }
    *watch = (struct quipu_watch){.epoll_fd = -1, .inotify_fd = -1, .wake_fd = -1};
    status = open_descriptors(watch, store, err);
    if (status != QUIPU_OK) {
        quipu_watch_close(&watch);
        return status;
    }
    *out = watch;
    return QUIPU_OK;
}

int quipu_watch_fd(const struct quipu_watch *watch)
{
    return watch->epoll_fd;
}

void quipu_watch_clear(struct quipu_watch *watch)
{
    uint64_t wakes;
    while (read(watch->wake_fd, &wakes, sizeof wakes) < 0 && errno == EINTR) {
        /* Again. */
    }
    /* What the events say does not matter; whatever it was, the caller looks now. */
    char events[EVENTS_BYTES];
    ssize_t got;
    do {
        got = read(watch->inotify_fd, events, sizeof events);
    } while (got > 0 || (got < 0 && errno == EINTR));
}

enum quipu_status quipu_watch_wait(struct quipu_watch *watch, int timeout_ms,
                                   struct quipu_error *err)
{
    struct pollfd polled = {.fd = watch->epoll_fd, .events = POLLIN};
    int ready = poll(&polled, 1, timeout_ms < 0 ? -1 : timeout_ms);
    if (ready < 0 && errno != EINTR) {
        return quipu_error_errno(err, errno, "wait for a commit");
    }
    return ready == 0 ? QUIPU_DONE : QUIPU_OK;
}

void quipu_watch_wake(struct quipu_watch *watch)
{
    int number = errno; /* a signal handler must not change it */
    const uint64_t one = 1;
    ssize_t written = write(watch->wake_fd, &one, sizeof one);
    (void)written; /* it fails only where 2^64-1 wakes are waiting already */
    errno = number;
}

static void close_descriptor(int fd)
{
    if (fd >= 0) {
        (void)close(fd); /* holds nothing that could be lost */
    }
}

void quipu_watch_close(struct quipu_watch **watch_pointer)
{
    if (watch_pointer == NULL || *watch_pointer == NULL) {
        return;
    }
    struct quipu_watch *watch = *watch_pointer;
    *watch_pointer = NULL;
    close_descriptor(watch->epoll_fd);
    close_descriptor(watch->wake_fd);
    close_descriptor(watch->inotify_fd);
    quipu_free(watch);
}
