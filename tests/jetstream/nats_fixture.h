/*
 * A nats-server of a test's own: on 127.0.0.1, a free port, a folder of its own, with JetStream. It
 * dies with the thread that started or restarted it: do that on the test's main thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_NATS_FIXTURE_H
#define QUIPU_TESTS_NATS_FIXTURE_H

#include <stdbool.h>
#include <sys/types.h>

#include "temp_dir.h"

struct nats_fixture {
    pid_t pid; /* 0: not running */
    int port;  /* stays the same over restarts */
    char url[64];
    struct temp_dir dir;
    char config[8192]; /* what the test added */
    bool has_jetstream;
};

/* Start it and wait until it answers. `config`: lines for its configuration file (users,
 * permissions, max_payload, tls…), or NULL. Aborts the test where it does not come up. */
void nats_fixture_start(struct nats_fixture *server, const char *config);

/* The same without JetStream. */
void nats_fixture_start_plain(struct nats_fixture *server, const char *config);

/* SIGKILL, and wait until it is gone. Its data stay. */
void nats_fixture_kill(struct nats_fixture *server);

/* Start it again on the same port with the same data, and wait until it answers. */
void nats_fixture_restart(struct nats_fixture *server);

/* Restart with other lines of configuration. */
void nats_fixture_reconfigure(struct nats_fixture *server, const char *config);

/* Have it read other lines while it runs: its connections stay. It does so at its leisure. */
void nats_fixture_reload(struct nats_fixture *server, const char *config);

/* SIGSTOP and SIGCONT. */
void nats_fixture_pause(const struct nats_fixture *server);
void nats_fixture_resume(const struct nats_fixture *server);

/* Stop it where it runs, and remove its folder. */
void nats_fixture_stop(struct nats_fixture *server);

/* A port on 127.0.0.1 where nobody listens, and that is given to nobody else while this process
 * lives. */
int nats_fixture_free_port(void);

#endif
