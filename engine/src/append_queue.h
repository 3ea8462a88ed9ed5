/*
 * Who commits for whom: callers that append at the same time share one commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_APPEND_QUEUE_H
#define QUIPU_ENGINE_APPEND_QUEUE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A group ends behind the request that reaches one of these. */
#define APPEND_GROUP_EVENTS_MAX 1000
#define APPEND_GROUP_BYTES_MAX  ((size_t)4 << 20)

/* A request that reaches one of these is large: it joins no group that has begun. Without such ones
 * a group is far below what one transaction may hold. */
#define APPEND_LARGE_EVENTS ((size_t)8 * APPEND_GROUP_EVENTS_MAX)
#define APPEND_LARGE_BYTES  (8 * APPEND_GROUP_BYTES_MAX)

/* Words that callers sleep on; groups share them in turns. */
#define APPEND_QUEUE_WORDS 64

/* One caller's place in the queue; it lives on that caller's stack. */
struct append_ticket {
    size_t events;
    size_t bytes;
    uint32_t group;
    struct append_ticket *next; /* in the queue, then in its group */
};

struct append_queue {
    pthread_mutex_t lock; /* guards what follows, up to the words, and every ticket in the queue */
    struct append_ticket *first;
    struct append_ticket *last;
    bool has_leader;
    uint32_t forming; /* number of the group that takes the next ticket */
    size_t forming_events;
    size_t forming_bytes;
    size_t waiting; /* tickets in the queue */
    /* Of the last commit, for the gathering before the next. */
    size_t last_tickets;
    int64_t last_ns;
    size_t gather;    /* the leader sleeps until so many wait; 0: it does not */
    unsigned misses;  /* gatherings in a row that were for nothing */
    unsigned to_skip; /* groups that go without one for that */
    /* Numbers of the latest group whose leader may go on, and of the latest that is committed; each
     * rises, and is written with the lock held. A word serves every APPEND_QUEUE_WORDS-th group. */
    _Atomic uint32_t turn[APPEND_QUEUE_WORDS];
    _Atomic uint32_t done[APPEND_QUEUE_WORDS];
    _Atomic uint32_t gathered; /* counts the leaders that were woken from gathering */
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
