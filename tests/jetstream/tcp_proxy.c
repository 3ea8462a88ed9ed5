/*
 * One thread, one poll loop, a few pairs of sockets.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tcp_proxy.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define COPY_BYTES 16384
#define DAWDLES    20
#define DAWDLE_NS  (15 * 1000 * 1000)

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    return address;
}

/* Splitmix64: seeds that lie side by side give numbers that have nothing to do with each other. */
static uint64_t next_random(uint64_t *seed)
{
    uint64_t mixed = *seed += 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
    return mixed ^ mixed >> 31;
}

static void pair_close(struct tcp_proxy_pair *pair, bool is_reset)
{
    struct linger at_once = {1, 0};
    if (is_reset) {
        (void)setsockopt(pair->client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    (void)close(pair->client);
    (void)close(pair->server);
    memset(pair, 0, sizeof *pair);
    pair->client = -1;
}

static void take_connection(struct tcp_proxy *proxy)
{
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in target = loopback(proxy->target_port);
    struct tcp_proxy_pair *free_pair = NULL;
    for (int i = 0; i < TCP_PROXY_PAIRS && free_pair == NULL; i++) {
        free_pair = proxy->pairs[i].client < 0 ? &proxy->pairs[i] : NULL;
    }
    if (client < 0 || server < 0 || free_pair == NULL ||
        connect(server, (struct sockaddr *)&target, sizeof target) != 0) {
        if (client >= 0) {
            (void)close(client);
        }
        if (server >= 0) {
            (void)close(server);
        }
        return;
    }
    (void)pthread_mutex_lock(&proxy->mutex);
    struct tcp_proxy_pair pair = {.client = client, .server = server, .left = UINT64_MAX};
    if (proxy->cuts_left > 0) {
        proxy->cuts_left--;
        pair.left = 1 + next_random(&proxy->seed) % proxy->cut_bytes_max;
        unsigned kinds = proxy->has_all_troubles ? TCP_TROUBLES : TCP_RESETS + 1;
        pair.trouble = (enum tcp_trouble)(next_random(&proxy->seed) % kinds);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
    *free_pair = pair;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static void begin_trouble(struct tcp_proxy *proxy, struct tcp_proxy_pair *pair)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->cuts_done++;
    proxy->tally.began[pair->trouble]++;
    (void)pthread_mutex_unlock(&proxy->mutex);
    pair->left = UINT64_MAX;
    switch (pair->trouble) {
    case TCP_CLOSES:
    case TCP_TROUBLES:
        pair_close(pair, false);
        break;
    case TCP_RESETS:
        pair_close(pair, true);
        break;
    case TCP_HALF_CLOSES:
        pair->is_half_closed = true;
        (void)shutdown(pair->client, SHUT_WR);
        break;
    case TCP_IS_DEAF:
        pair->is_deaf = true;
        break;
    case TCP_DAWDLES:
        pair->dawdles_left = DAWDLES;
        break;
    }
}

static void pump(struct tcp_proxy *proxy, struct tcp_proxy_pair *pair, int from, int to)
{
    char bytes[COPY_BYTES];
    size_t most = pair->left < sizeof bytes ? (size_t)pair->left : sizeof bytes;
    bool is_answer = from == pair->server;
    if (pair->dawdles_left > 0) {
        struct timespec pause = {0, DAWDLE_NS};
        pair->dawdles_left--;
        (void)nanosleep(&pause, NULL);
    }
    ssize_t got = recv(from, bytes, most, 0);
    bool is_lost = is_answer && (pair->is_deaf || pair->is_half_closed);
    if (got <= 0 || (!is_lost && !write_all(to, bytes, (size_t)got))) {
        pair_close(pair, false);
        return;
    }
    if (is_lost) {
        (void)pthread_mutex_lock(&proxy->mutex);
        proxy->tally.lost_answers++;
        (void)pthread_mutex_unlock(&proxy->mutex);
    }
    if (pair->left == UINT64_MAX) {
        return;
    }
    pair->left -= (uint64_t)got;
    if (pair->left == 0) {
        begin_trouble(proxy, pair);
    }
}

/* False: stop. */
static bool take_orders(struct tcp_proxy *proxy)
{
    char byte = 0;
    (void)!read(proxy->wake[0], &byte, 1);
    (void)pthread_mutex_lock(&proxy->mutex);
    bool is_stopping = proxy->is_stopping;
    for (int i = 0; proxy->is_blackening && i < TCP_PROXY_PAIRS; i++) {
        proxy->tally.blacked += proxy->pairs[i].client >= 0 && !proxy->pairs[i].is_black;
        proxy->pairs[i].is_black = true;
    }
    for (int i = 0; proxy->is_dropping && i < TCP_PROXY_PAIRS; i++) {
        if (proxy->pairs[i].client >= 0) {
            pair_close(&proxy->pairs[i], false);
        }
    }
    proxy->is_blackening = false;
    proxy->is_dropping = false;
    (void)pthread_cond_broadcast(&proxy->obeyed);
    (void)pthread_mutex_unlock(&proxy->mutex);
    return !is_stopping;
}

static void *run(void *arg)
{
    struct tcp_proxy *proxy = arg;
    for (;;) {
        struct pollfd fds[2 + 2 * TCP_PROXY_PAIRS];
        fds[0] = (struct pollfd){proxy->listener, POLLIN, 0};
        fds[1] = (struct pollfd){proxy->wake[0], POLLIN, 0};
        for (int i = 0; i < TCP_PROXY_PAIRS; i++) {
            const struct tcp_proxy_pair *pair = &proxy->pairs[i];
            /* Of a black one we only see that the client has given up. */
            short events = pair->is_black ? POLLRDHUP : POLLIN;
            bool is_open = pair->client >= 0 && !pair->is_black;
            fds[2 + 2 * i] = (struct pollfd){pair->client, events, 0};
            fds[3 + 2 * i] = (struct pollfd){is_open ? pair->server : -1, POLLIN, 0};
        }
        if (poll(fds, sizeof fds / sizeof fds[0], -1) < 0) {
            continue;
        }
        if (fds[1].revents != 0) {
            if (!take_orders(proxy)) {
                return NULL;
            }
            continue; /* what was polled for may be something else now */
        }
        for (int i = 0; i < TCP_PROXY_PAIRS; i++) {
            struct tcp_proxy_pair *pair = &proxy->pairs[i];
            if (fds[2 + 2 * i].revents != 0 && pair->is_black) {
                pair_close(pair, false);
            } else if (fds[2 + 2 * i].revents != 0) {
                pump(proxy, pair, pair->client, pair->server);
            }
            if (fds[3 + 2 * i].revents != 0 && pair->client >= 0 && !pair->is_black) {
                pump(proxy, pair, pair->server, pair->client);
            }
        }
        if (fds[0].revents != 0) {
            take_connection(proxy);
        }
    }
}

void tcp_proxy_start(struct tcp_proxy *proxy, int target_port)
{
    struct sockaddr_in address = loopback(0);
    socklen_t len = sizeof address;
    memset(proxy, 0, sizeof *proxy);
    proxy->target_port = target_port;
    for (int i = 0; i < TCP_PROXY_PAIRS; i++) {
        proxy->pairs[i].client = -1;
    }
    (void)pthread_mutex_init(&proxy->mutex, NULL);
    (void)pthread_cond_init(&proxy->obeyed, NULL);
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&address, len) != 0 ||
        listen(proxy->listener, 16) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &len) != 0 ||
        pipe2(proxy->wake, O_CLOEXEC) != 0 ||
        pthread_create(&proxy->thread, NULL, run, proxy) != 0) {
        perror("tcp proxy");
        abort();
    }
    proxy->port = ntohs(address.sin_port);
    (void)snprintf(proxy->url, sizeof proxy->url, "nats://127.0.0.1:%d", proxy->port);
}

static void wake(struct tcp_proxy *proxy)
{
    (void)!write(proxy->wake[1], "x", 1);
}

static void spoil(struct tcp_proxy *proxy, uint64_t seed, int times, uint64_t bytes_max,
                  bool has_all_troubles)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->seed = seed;
    proxy->cuts_left = times;
    proxy->cut_bytes_max = bytes_max;
    proxy->has_all_troubles = has_all_troubles;
    (void)pthread_mutex_unlock(&proxy->mutex);
}

void tcp_proxy_cut(struct tcp_proxy *proxy, uint64_t seed, int times, uint64_t bytes_max)
{
    spoil(proxy, seed, times, bytes_max, false);
}

void tcp_proxy_trouble(struct tcp_proxy *proxy, uint64_t seed, int times, uint64_t bytes_max)
{
    spoil(proxy, seed, times, bytes_max, true);
}

void tcp_proxy_blacken(struct tcp_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->is_blackening = true;
    wake(proxy);
    while (proxy->is_blackening) {
        (void)pthread_cond_wait(&proxy->obeyed, &proxy->mutex);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
}

void tcp_proxy_drop(struct tcp_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->is_dropping = true;
    wake(proxy);
    while (proxy->is_dropping) {
        (void)pthread_cond_wait(&proxy->obeyed, &proxy->mutex);
    }
    (void)pthread_mutex_unlock(&proxy->mutex);
}

int tcp_proxy_cuts(struct tcp_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    int cuts = proxy->cuts_done;
    (void)pthread_mutex_unlock(&proxy->mutex);
    return cuts;
}

struct tcp_tally tcp_proxy_tally(struct tcp_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    struct tcp_tally tally = proxy->tally;
    (void)pthread_mutex_unlock(&proxy->mutex);
    return tally;
}

void tcp_proxy_stop(struct tcp_proxy *proxy)
{
    (void)pthread_mutex_lock(&proxy->mutex);
    proxy->is_stopping = true;
    (void)pthread_mutex_unlock(&proxy->mutex);
    wake(proxy);
    (void)pthread_join(proxy->thread, NULL);
    for (int i = 0; i < TCP_PROXY_PAIRS; i++) {
        if (proxy->pairs[i].client >= 0) {
            pair_close(&proxy->pairs[i], false);
        }
    }
    (void)close(proxy->listener);
    (void)close(proxy->wake[0]);
    (void)close(proxy->wake[1]);
    (void)pthread_cond_destroy(&proxy->obeyed);
    (void)pthread_mutex_destroy(&proxy->mutex);
}
