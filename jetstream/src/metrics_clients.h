/*
 * Inside of the metrics' server: it and its clients.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_METRICS_CLIENTS_H
#define QUIPU_METRICS_CLIENTS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/metrics.h"

#define METRICS_CLIENTS_MAX    16
#define METRICS_HEAD_BYTES_MAX 8192

/* One connection: first its request comes, then its answer goes. */
struct metrics_client {
    int fd;           /* -1: free */
    bool is_answered; /* the request is whole, or refused */
    int64_t deadline_us;
    size_t head_len;
    uint8_t head[METRICS_HEAD_BYTES_MAX];
    struct quipu_buf reply;
    size_t sent;
};

struct quipu_metrics_server {
    struct quipu_metrics_server_options options; /* address is not kept */
    int fd;
    int stop_fd;
    uint16_t port;
    pthread_t thread;
    bool has_thread;
    struct metrics_client clients[METRICS_CLIENTS_MAX]; /* the thread's own */
};

/* Answer until stop_fd is readable; who has asked by then gets the answer. */
void quipu_metrics_clients_serve(struct quipu_metrics_server *server);

#endif
