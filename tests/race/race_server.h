/*
 * A server that wants credentials, connections to it that renew theirs again and again, and a count
 * that several threads raise while the server is killed and restarted.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_RACE_SERVER_H
#define QUIPU_TESTS_RACE_SERVER_H

#include <pthread.h>
#include <stdatomic.h>

#include "jwt_kit.h"
#include "nats_fixture.h"
#include "quipu/jetstream.h"

struct race_server {
    struct nats_fixture fixture;
    struct jwt_realm realm;
    atomic_ullong given;    /* how often credentials were asked for, over all connections */
    atomic_ullong connects; /* each of which asks once itself */
};

/* It must stay where it is. */
void race_server_start(struct race_server *server);
/* Kill it and start it again. */
void race_server_restart(struct race_server *server);
void race_server_stop(struct race_server *server);

/* Connect, also where it is just being restarted. `on_state` NULL: nobody is told. */
struct quipu_nats *race_server_connect(struct race_server *server, quipu_nats_state_fn on_state,
                                       void *ctx);

/* How often newer credentials were asked for, beside those that a connection begins with. */
unsigned long long race_server_renewals(struct race_server *server);

/* Make the stream; how many messages there are in it. */
uint64_t race_server_provision(struct quipu_nats *nats);

struct race_count {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t value; /* guarded by mutex */
};
#define RACE_COUNT_INIT                                                                            \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }
void race_count_add(struct race_count *count, uint64_t by);
void race_count_await(struct race_count *count, uint64_t at_least);

#endif
