/*
 * Who commits for whom: callers that append at the same time share one commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_APPEND_QUEUE_H
#define QUIPU_ENGINE_APPEND_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* A group ends behind the request that reaches one of these. */
#define APPEND_GROUP_EVENTS_MAX 1000
#define APPEND_GROUP_BYTES_MAX  ((size_t)4 << 20)

/* One caller's place in the queue; it lives on that caller's stack. */
struct append_ticket {
    size_t events;
    size_t bytes;
    struct append_ticket *next; /* in the queue, then in its group */
    pthread_cond_t turn;
    bool is_leader;
    bool is_done;
};

struct append_queue {
    pthread_mutex_t lock; /* guards all below and every ticket in the queue */
    struct append_ticket *first;
    struct append_ticket *last;
    bool has_leader;
};

/* Commits a group: a list of tickets linked by `next`, in the order of their coming. */
typedef void (*append_commit_fn)(void *ctx, struct append_ticket *group);

/* @return 0 or an errno value */
int append_queue_init(struct append_queue *queue);
void append_queue_release(struct append_queue *queue);

/* Returns when `ticket` has been in a group that was committed, by this thread or by another.
 * `ticket->events` and `bytes` are set by the caller. Never waits where nobody else commits. */
void append_queue_pass(struct append_queue *queue, struct append_ticket *ticket,
                       append_commit_fn commit, void *ctx);

#endif
