/*
 * Inside of a bridge: two bounded queues and what its thread goes by.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BRIDGE_IMPL_H
#define QUIPU_BRIDGE_IMPL_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>

#include "backoff.h"
#include "connection.h"
#include "quipu/bridge.h"

struct quipu_message {
    natsMsg *msg;
    size_t bytes;
};

/* A message of ours, in one piece of memory with its texts. */
struct bridge_outgoing {
    struct bridge_outgoing *next;
    natsMsg *msg;
    size_t bytes;
};

struct bridge_subscription {
    char *subject;
    char *queue; /* NULL: none */
    natsSubscription *subscription;
};

struct quipu_bridge {
    struct quipu_nats_options nats_options; /* its strings are our own */
    struct bridge_subscription *subscriptions;
    size_t subscription_count;
    uint32_t received_max;
    size_t received_bytes_max;
    uint32_t outgoing_max;
    size_t outgoing_bytes_max;
    void (*overflow)(void *ctx, struct quipu_message *message);
    void *ctx;
    int fd;
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t mutex;           /* guards all below, but what is the thread's */
    pthread_cond_t work;             /* for the thread */
    pthread_cond_t done;             /* for those who wait for it */
    struct quipu_message **received; /* a ring of received_max */
    uint32_t received_first;
    uint32_t received_count;
    size_t received_bytes;
    struct bridge_outgoing *outgoing;
    struct bridge_outgoing **outgoing_end;
    uint32_t outgoing_count;
    size_t outgoing_bytes;
    struct quipu_bridge_report counts; /* all but `nats` */
    struct quipu_nats *nats;
    struct quipu_error trouble; /* of the last connect that failed, while there is no handle */
    uint32_t callbacks;         /* subscriptions whose last callback has not returned */
    bool is_ready;
    bool is_subscribing;
    bool wants_drain;
    bool is_drained;
    bool wants_stop;
    uint64_t sync_wanted; /* ticket of the newest quipu_bridge_sync */
    uint64_t sync_done;
    bool is_unconfirmed; /* something went out since the server last answered a ping */
    uint64_t losses;     /* connections that ended while it was so */

    /* Of the thread alone. */
    struct backoff backoff;
    uint64_t made_with; /* connects of the connection that the subscriptions are of */
    int64_t checked_us;
};

/* The thread's function; `bridge` is a struct quipu_bridge. */
void *quipu_bridge_run(void *bridge);

/* From a thread of libnats. Takes the message over. */
void quipu_bridge_take(struct quipu_bridge *bridge, natsMsg *msg);

#endif
