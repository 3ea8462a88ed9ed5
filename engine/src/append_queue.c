/*
 * The leader and its followers.
 *
 *  1. A caller puts its ticket at the end of the queue. Where there is no leader, it is the leader.
 *  2. The leader takes the front of the queue as a group, up to a number of events and bytes but at
 *     least one ticket (its own is the first), and commits it without the lock.
 *  3. It marks the tickets of its group as done and wakes their callers; where others have queued
 *     up meanwhile, the first of them is the next leader.
 *
 * So an idle queue costs no waiting, and a busy one gathers exactly while a commit is under way.
 * A ticket is not touched any more once it is marked and the lock is given back: its caller's stack
 * may be gone.
 *
 * Knows nothing of events or transactions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "append_queue.h"

int append_queue_init(struct append_queue *queue)
{
    queue->first = NULL;
    queue->last = NULL;
    queue->has_leader = false;
    return pthread_mutex_init(&queue->lock, NULL);
}

void append_queue_release(struct append_queue *queue)
{
    (void)pthread_mutex_destroy(&queue->lock); /* nobody holds it any more */
}

static void queue_push(struct append_queue *queue, struct append_ticket *ticket)
{
    ticket->next = NULL;
    if (queue->last == NULL) {
        queue->first = ticket;
    } else {
        queue->last->next = ticket;
    }
    queue->last = ticket;
}

/* Cut the next group off the front; the queue is not empty. */
static struct append_ticket *queue_take_group(struct append_queue *queue)
{
    struct append_ticket *group = queue->first;
    struct append_ticket *end = group;
    size_t events = end->events;
    size_t bytes = end->bytes;
    while (end->next != NULL && events < APPEND_GROUP_EVENTS_MAX &&
           bytes < APPEND_GROUP_BYTES_MAX) {
        end = end->next;
        events += end->events;
        bytes += end->bytes;
    }
    queue->first = end->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    end->next = NULL;
    return group;
}

static void group_wake(struct append_ticket *group)
{
    while (group != NULL) {
        struct append_ticket *next = group->next;
        group->is_done = true;
        (void)pthread_cond_signal(&group->turn); /* cannot fail for an initialised condition */
        group = next;
    }
}

static void leader_hand_over(struct append_queue *queue)
{
    if (queue->first == NULL) {
        queue->has_leader = false;
        return;
    }
    queue->first->is_leader = true;
    (void)pthread_cond_signal(&queue->first->turn); /* as above */
}

void append_queue_pass(struct append_queue *queue, struct append_ticket *ticket,
                       append_commit_fn commit, void *ctx)
{
    ticket->turn = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    ticket->is_done = false;
    (void)pthread_mutex_lock(&queue->lock); /* a default mutex: fails only for a broken caller */
    ticket->is_leader = !queue->has_leader;
    queue->has_leader = true;
    queue_push(queue, ticket);
    while (!ticket->is_leader && !ticket->is_done) {
        (void)pthread_cond_wait(&ticket->turn, &queue->lock); /* as above */
    }

    if (ticket->is_leader) {
        struct append_ticket *group = queue_take_group(queue);
        (void)pthread_mutex_unlock(&queue->lock); /* as above */
        commit(ctx, group);
        (void)pthread_mutex_lock(&queue->lock); /* as above */
        group_wake(group);
        leader_hand_over(queue);
    }
    (void)pthread_mutex_unlock(&queue->lock);  /* as above */
    (void)pthread_cond_destroy(&ticket->turn); /* nobody waits on it any more */
}
