/*
 * A limit on how long a connect may take. libnats 3.4.1, having read a server's greeting, reads the
 * answer to its CONNECT byte by byte and takes a timeout there for a byte: where the server falls
 * silent at that point, it spins for ever. The guard ends such a connection from outside.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DIAL_GUARD_H
#define QUIPU_DIAL_GUARD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DIAL_SERVERS_MAX 32

/* One connect, on the caller's stack. */
struct dial_guard {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    pthread_t thread;
    bool is_running;
    bool is_done;
    bool has_cut; /* read it after quipu_dial_guard_end */
    int64_t timeout_us;
    uint16_t ports[DIAL_SERVERS_MAX];
    int port_count;
    unsigned handshake_pieces;
    size_t jwt_bytes;
    uint64_t *known; /* sockets that were there before */
    size_t known_count;
};

/* What is known of the connect beforehand; copied. */
struct dial {
    int64_t timeout_us;
    const uint16_t *ports; /* of the servers */
    int port_count;
    unsigned handshake_pieces; /* segments that TLS may send in front; 0: there is no TLS */
    size_t jwt_bytes;          /* that CONNECT has in it */
};

/* Begin to watch. Without memory or a thread there is no guard, and the connect goes on without. */
void quipu_dial_guard_begin(struct dial_guard *guard, const struct dial *dial);
void quipu_dial_guard_end(struct dial_guard *guard);

#endif
