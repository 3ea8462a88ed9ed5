/*
 * A nats-server of our own for a short while: on 127.0.0.1, on a port that the system chooses, with
 * JetStream, all its files in one folder.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_DEMO_SERVER_H
#define QUIPU_CLI_DEMO_SERVER_H

#include <stddef.h>
#include <sys/types.h>

#include "quipu/error.h"

#define DEMO_SERVER_PATH_BYTES 600

struct demo_server {
    pid_t pid; /* 0: not running */
    char url[64];
    char folder[DEMO_SERVER_PATH_BYTES];
};

/** The program: `wanted`, or nats-server in PATH or where Debian puts it. @retval QUIPU_NOT_FOUND
 */
enum quipu_status demo_server_find(const char *wanted, char out[DEMO_SERVER_PATH_BYTES],
                                   struct quipu_error *err);

/**
 * Start it with its files in the new folder `folder`, and wait until it listens. It ends with this
 * process, however that ends. SIGINT and SIGTERM stop it first and then do what they did before.
 * @retval QUIPU_IO, QUIPU_TIMEOUT
 */
enum quipu_status demo_server_start(const char *program, const char *folder,
                                    struct demo_server *out, struct quipu_error *err);

/** Stop it by its pid, wait for it, and remove its folder. Idempotent. */
void demo_server_stop(struct demo_server *server);

#endif
