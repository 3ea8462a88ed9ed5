/*
 * A thread that sleeps while a connect is under way and wakes up only if it takes too long. It then
 * looks for the connection among this process's sockets: one that was not there before, to a port
 * of our servers, on which nothing was said but what a connect says, and we had the last word,
 * longer ago than a connect may take. It shuts that one down, which libnats does understand. Sends
 * nothing and reads nothing.
 *
 * libnats names no socket before it is connected, and the kernel does not tell which thread opened
 * one. So another connection of the host's fits only if it is made meanwhile to the same port, and
 * hangs in its own greeting as ours does; or, over TLS with a client certificate, if all that it
 * ever sent is as short as a greeting and was never answered.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "dial_guard.h"

#include <dirent.h>
#include <linux/tcp.h> /* that of the C library has an older struct tcp_info */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "quipu/alloc.h"

#define US_PER_MS     1000
#define US_PER_S      1000000
#define NS_PER_US     1000
#define LOOK_EVERY_US ((int64_t)200 * US_PER_MS)
#define KNOWN_MAX     65536

/* What a CONNECT holds beside a JWT. */
#define CONNECT_BYTES 1024

typedef void (*socket_fn)(struct dial_guard *guard, int fd, uint64_t cookie);

/* The kernel's number of a socket, which no later one gets; 0: it is none. */
static uint64_t cookie_of(int fd)
{
    uint64_t cookie = 0;
    socklen_t len = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) == 0 ? cookie : 0;
}

/* By the name that its link has: other threads open and close theirs meanwhile, and must not find
 * us at what is no longer what it was. */
static void each_socket(struct dial_guard *guard, socket_fn visit)
{
    static const char prefix[] = "socket:[";
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry = NULL;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char *end = NULL;
        char target[64];
        long fd = strtol(entry->d_name, &end, 10);
        ssize_t len = readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1);
        if (end == entry->d_name || *end != 0 || len < (ssize_t)sizeof prefix - 1) {
            continue;
        }
        target[len] = 0;
        if (strncmp(target, prefix, sizeof prefix - 1) != 0) {
            continue;
        }
        uint64_t cookie = cookie_of((int)fd);
        if (cookie != 0) {
            visit(guard, (int)fd, cookie);
        }
    }
    if (folder != NULL) {
        (void)closedir(folder); /* only read */
    }
}

static void remember(struct dial_guard *guard, int fd, uint64_t cookie)
{
    (void)fd;
    if (guard->known_count < KNOWN_MAX) {
        uint64_t *more = quipu_realloc(guard->known, guard->known_count + 1, sizeof *more);
        if (more != NULL) {
            guard->known = more;
            guard->known[guard->known_count++] = cookie;
        }
    }
}

static bool is_known(const struct dial_guard *guard, uint64_t cookie)
{
    for (size_t i = 0; i < guard->known_count; i++) {
        if (guard->known[i] == cookie) {
            return true;
        }
    }
    return false;
}

static bool is_to_a_server(const struct dial_guard *guard, int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } peer;
    socklen_t len = sizeof peer;
    if (getpeername(fd, &peer.any, &len) != 0) {
        return false;
    }
    uint16_t port = 0;
    if (peer.any.sa_family == AF_INET) {
        port = ntohs(peer.v4.sin_port);
    } else if (peer.any.sa_family == AF_INET6) {
        port = ntohs(peer.v6.sin6_port);
    }
    for (int i = 0; i < guard->port_count; i++) {
        if (port != 0 && guard->ports[i] == port) {
            return true;
        }
    }
    return false;
}

/* No more than a greeting sent, and nothing heard since. */
static bool is_stuck(const struct dial_guard *guard, int fd)
{
    struct tcp_info info;
    socklen_t len = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return false;
    }
    int64_t sent_us = (int64_t)info.tcpi_last_data_sent * US_PER_MS;
    int64_t heard_us = (int64_t)info.tcpi_last_data_recv * US_PER_MS;
    /* An older kernel does not count: 0 pieces are few enough. */
    uint64_t piece = info.tcpi_snd_mss == 0 ? CONNECT_BYTES : info.tcpi_snd_mss;
    uint64_t pieces_max = guard->handshake_pieces + 1 + (CONNECT_BYTES + guard->jwt_bytes) / piece;
    bool is_short = info.tcpi_data_segs_out <= pieces_max + info.tcpi_total_retrans;
    return is_short && sent_us >= guard->timeout_us && heard_us >= sent_us;
}

static void cut_if_stuck(struct dial_guard *guard, int fd, uint64_t cookie)
{
    if (!is_known(guard, cookie) && is_to_a_server(guard, fd) && is_stuck(guard, fd) &&
        cookie_of(fd) == cookie) {
        guard->has_cut = shutdown(fd, SHUT_RDWR) == 0 || guard->has_cut;
    }
}

static struct timespec later(int64_t us)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at); /* cannot fail for this clock */
    int64_t ns = at.tv_nsec + us % US_PER_S * NS_PER_US;
    at.tv_sec += (time_t)(us / US_PER_S + ns / ((int64_t)US_PER_S * NS_PER_US));
    at.tv_nsec = (long)(ns % ((int64_t)US_PER_S * NS_PER_US));
    return at;
}

static void *watch(void *arg)
{
    struct dial_guard *guard = arg;
    struct timespec until = later(guard->timeout_us);
    (void)pthread_mutex_lock(&guard->mutex);
    while (!guard->is_done) {
        if (pthread_cond_timedwait(&guard->done, &guard->mutex, &until) != 0 && !guard->is_done) {
            each_socket(guard, cut_if_stuck);
            until = later(LOOK_EVERY_US);
        }
    }
    (void)pthread_mutex_unlock(&guard->mutex);
    return NULL;
}

void quipu_dial_guard_begin(struct dial_guard *guard, const struct dial *dial)
{
    pthread_condattr_t monotonic;
    memset(guard, 0, sizeof *guard);
    guard->timeout_us = dial->timeout_us;
    guard->handshake_pieces = dial->handshake_pieces;
    guard->jwt_bytes = dial->jwt_bytes;
    guard->port_count = dial->port_count < DIAL_SERVERS_MAX ? dial->port_count : DIAL_SERVERS_MAX;
    memcpy(guard->ports, dial->ports, (size_t)guard->port_count * sizeof *dial->ports);
    (void)pthread_mutex_init(&guard->mutex, NULL); /* cannot fail with default attributes */
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&guard->done, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    each_socket(guard, remember);
    guard->is_running = pthread_create(&guard->thread, NULL, watch, guard) == 0;
}

void quipu_dial_guard_end(struct dial_guard *guard)
{
    if (guard->is_running) {
        (void)pthread_mutex_lock(&guard->mutex);
        guard->is_done = true;
        (void)pthread_cond_signal(&guard->done);
        (void)pthread_mutex_unlock(&guard->mutex);
        (void)pthread_join(guard->thread, NULL);
    }
    (void)pthread_cond_destroy(&guard->done);
    (void)pthread_mutex_destroy(&guard->mutex);
    quipu_free(guard->known);
}
