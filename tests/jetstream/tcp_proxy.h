/*
 * A TCP proxy of a test's own, on 127.0.0.1, that spoils connections after so many bytes: cuts
 * them, closes one half, loses every answer, dawdles, or lets them vanish without a word.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_TCP_PROXY_H
#define QUIPU_TESTS_TCP_PROXY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define TCP_PROXY_PAIRS 8

/* What happens to a connection once its bytes are used up. */
enum tcp_trouble {
    TCP_CLOSES,
    TCP_RESETS,
    TCP_HALF_CLOSES, /* the client sees the end; what it sends still arrives */
    TCP_IS_DEAF,     /* all that is sent arrives, and no answer comes back: stored, never acked */
    TCP_DAWDLES,     /* each piece takes its time, for a while */
    TCP_TROUBLES,
};

/* What it really did to connections, and what became of bytes. */
struct tcp_tally {
    uint64_t began[TCP_TROUBLES]; /* of each kind of trouble */
    uint64_t blacked;             /* connections that vanished */
    uint64_t lost_answers;        /* pieces that the server had sent and nobody got */
};

struct tcp_proxy_pair {
    int client; /* -1: free */
    int server;
    uint64_t left; /* bytes, both ways together, until its trouble begins */
    bool is_black; /* it swallows nothing and says nothing */
    enum tcp_trouble trouble;
    bool is_deaf;
    bool is_half_closed;
    int dawdles_left;
};

struct tcp_proxy {
    int port;
    char url[64];
    int target_port;
    int listener;
    int wake[2];
    pthread_t thread;
    pthread_cond_t obeyed; /* an order was carried out */
    pthread_mutex_t mutex; /* guards what follows */
    bool is_stopping;
    bool is_blackening;
    bool is_dropping;
    uint64_t seed; /* of the cuts */
    int cuts_left; /* so many connections are cut; later ones live */
    uint64_t cut_bytes_max;
    bool has_all_troubles; /* not only cuts */
    int cuts_done;
    struct tcp_tally tally;
    struct tcp_proxy_pair pairs[TCP_PROXY_PAIRS]; /* the thread's own */
};

void tcp_proxy_start(struct tcp_proxy *proxy, int target_port);
void tcp_proxy_stop(struct tcp_proxy *proxy);

/* The next `times` connections are cut after 1 to `bytes_max` bytes each, some by closing, some by
 * a reset; which, the seed says. */
void tcp_proxy_cut(struct tcp_proxy *proxy, uint64_t seed, int times, uint64_t bytes_max);

/* The same with any of the troubles there are. */
void tcp_proxy_trouble(struct tcp_proxy *proxy, uint64_t seed, int times, uint64_t bytes_max);

/* From now on nothing goes through the connections that are open; new ones work. */
void tcp_proxy_blacken(struct tcp_proxy *proxy);

/* The connections that are open are closed, black ones too. */
void tcp_proxy_drop(struct tcp_proxy *proxy);

/* How many connections have been spoilt. */
int tcp_proxy_cuts(struct tcp_proxy *proxy);

/* The same by kinds. */
struct tcp_tally tcp_proxy_tally(struct tcp_proxy *proxy);

#endif
