/*
 * The leader and its followers.
 *
 *  1. A caller puts its ticket at the end of the queue, into the group that is forming; where that
 *     is full, into a new one. Whoever comes first in a group is its leader, the others sleep until
 *     the group is done.
 *  2. The leader waits for its turn: groups are committed one after the other. Where nobody
 *     commits, it is its turn at once.
 *  3. It takes the tickets of its group, which ends the group's forming, and commits them without
 *     the lock.
 *  4. It writes down that the group is done and hands over to the next group's leader, if there is
 *     one. Then it wakes its own followers with one call, while the next commit is under way; they
 *     need no lock.
 *
 * So an idle queue costs no waiting, and a busy one gathers exactly while a commit is under way.
 *
 * Gathering. Callers that append again and again come back as soon as they are woken, that is
 * shortly after the next leader has begun: there would always be two halves, each waiting for the
 * other's commit. So a leader whose predecessor had followers waits until as many have come again,
 * at most for a quarter of the time that the commit before took. Where that was for nothing, the
 * next groups go without it, twice as many each time.
 *
 * Nothing is written to a ticket once its group is done: its caller's stack may be gone. What its
 * caller sleeps on is therefore in the queue. The numbers there only rise, so a late sleeper finds
 * its own group's number passed: each group writes its own in both words, also where nobody sleeps
 * on them, and before the next may begin. A leader that is held up afterwards has only its waking
 * left to do; and no word is left so far behind that the numbers, which wrap around, seem passed
 * before they have come.
 *
 * A call that is large by itself begins a group of its own, so that it makes nobody wait for it who
 * came before.
 *
 * Knows nothing of events or transactions.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "append_queue.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define GATHER_SHARE   4
#define GATHER_NS_MAX  1000000
#define GATHER_NS_MIN  20000
#define MISSES_MAX     8
#define NS_IN_A_SECOND INT64_C(1000000000)

int append_queue_init(struct append_queue *queue)
{
    queue->first = NULL;
    queue->last = NULL;
    queue->has_leader = false;
    queue->forming = 1;
    queue->forming_events = 0;
    queue->forming_bytes = 0;
    queue->waiting = 0;
    queue->last_tickets = 0;
    queue->last_ns = 0;
    queue->gather = 0;
    queue->misses = 0;
    queue->to_skip = 0;
    for (size_t i = 0; i < APPEND_QUEUE_WORDS; i++) {
        atomic_init(&queue->turn[i], 0);
        atomic_init(&queue->done[i], 0);
    }
    atomic_init(&queue->gathered, 0);
    return pthread_mutex_init(&queue->lock, NULL);
}

void append_queue_release(struct append_queue *queue)
{
    (void)pthread_mutex_destroy(&queue->lock); /* nobody holds it any more */
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock on Linux */
    return (int64_t)now.tv_sec * NS_IN_A_SECOND + now.tv_nsec;
}

/* ------------------------------------------------------------------ sleeping */

/* Sleep while the word has this value; `timeout` may be NULL. May also return for no reason. */
static void word_sleep(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
    /* What it says does not matter: the caller looks at the word again. */
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void word_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0); /* cannot fail */
}

/* Has the word come to `group`? Numbers may wrap around. */
static bool has_come_to(uint32_t value, uint32_t group)
{
    return (int32_t)(value - group) >= 0;
}

static void await_group(_Atomic uint32_t words[APPEND_QUEUE_WORDS], uint32_t group)
{
    _Atomic uint32_t *word = &words[group % APPEND_QUEUE_WORDS];
    uint32_t value = atomic_load_explicit(word, memory_order_acquire);
    while (!has_come_to(value, group)) {
        word_sleep(word, value, NULL);
        value = atomic_load_explicit(word, memory_order_acquire);
    }
}

static void note_group(_Atomic uint32_t words[APPEND_QUEUE_WORDS], uint32_t group)
{
    atomic_store_explicit(&words[group % APPEND_QUEUE_WORDS], group, memory_order_release);
}

static void wake_group(_Atomic uint32_t words[APPEND_QUEUE_WORDS], uint32_t group)
{
    word_wake(&words[group % APPEND_QUEUE_WORDS]);
}

/* ------------------------------------------------------------------ the queue */

static void forming_end(struct append_queue *queue)
{
    queue->forming++;
    queue->forming_events = 0;
    queue->forming_bytes = 0;
}

static bool is_large(const struct append_ticket *ticket)
{
    return ticket->events >= APPEND_LARGE_EVENTS || ticket->bytes >= APPEND_LARGE_BYTES;
}

/* Into the group that is forming. Is it the group's first? */
static bool queue_push(struct append_queue *queue, struct append_ticket *ticket)
{
    bool has_begun = queue->last != NULL && queue->last->group == queue->forming;
    bool is_full = queue->forming_events >= APPEND_GROUP_EVENTS_MAX ||
                   queue->forming_bytes >= APPEND_GROUP_BYTES_MAX;
    if (is_full || (has_begun && is_large(ticket))) {
        forming_end(queue);
    }
    bool is_first = queue->last == NULL || queue->last->group != queue->forming;
    ticket->group = queue->forming;
    ticket->next = NULL;
    if (queue->last == NULL) {
        queue->first = ticket;
    } else {
        queue->last->next = ticket;
    }
    queue->last = ticket;
    queue->forming_events += ticket->events;
    queue->forming_bytes += ticket->bytes;
    queue->waiting++;
    return is_first;
}

/* Cut the group, whose turn it is, off the front. */
static struct append_ticket *queue_take_group(struct append_queue *queue, uint32_t group)
{
    struct append_ticket *taken = queue->first;
    struct append_ticket *end = taken;
    size_t tickets = 1;
    while (end->next != NULL && end->next->group == group) {
        end = end->next;
        tickets++;
    }
    queue->first = end->next;
    if (queue->first == NULL) {
        queue->last = NULL;
    }
    end->next = NULL;
    queue->waiting -= tickets;
    queue->last_tickets = tickets;
    if (queue->forming == group) {
        forming_end(queue);
    }
    return taken;
}

/* ------------------------------------------------------------------ gathering */

/* How long to wait for those who come back; 0: not at all. */
static int64_t gather_ns(struct append_queue *queue, uint32_t group)
{
    if (queue->last_tickets < 2 || queue->forming != group) {
        return 0;
    }
    if (queue->to_skip > 0) {
        queue->to_skip--;
        return 0;
    }
    int64_t ns = queue->last_ns / GATHER_SHARE;
    return ns < GATHER_NS_MIN ? 0 : ns < GATHER_NS_MAX ? ns : GATHER_NS_MAX;
}

/* Was it worth waiting? */
static void gather_judge(struct append_queue *queue, size_t before, size_t hoped_for)
{
    if (queue->waiting - before >= (hoped_for + 1) / 2) {
        queue->misses = 0;
        return;
    }
    queue->misses += queue->misses < MISSES_MAX ? 1 : 0;
    queue->to_skip = 1u << queue->misses;
}

/* The leader, whose turn it is and who holds the lock, waits for more to come. */
static void gather(struct append_queue *queue, uint32_t group)
{
    int64_t ns = gather_ns(queue, group);
    if (ns == 0) {
        return;
    }
    size_t before = queue->waiting;
    size_t hoped_for = queue->last_tickets;
    int64_t end_ns = now_ns() + ns;
    queue->gather = before + hoped_for;
    while (queue->gather != 0 && ns > 0) {
        uint32_t value = atomic_load_explicit(&queue->gathered, memory_order_relaxed);
        struct timespec timeout = {.tv_nsec = (long)ns};
        (void)pthread_mutex_unlock(&queue->lock); /* a default mutex */
        word_sleep(&queue->gathered, value, &timeout);
        (void)pthread_mutex_lock(&queue->lock); /* as above */
        ns = end_ns - now_ns();
    }
    queue->gather = 0;
    gather_judge(queue, before, hoped_for);
}

/* A ticket has come: does the leader have all it waits for? A full group is enough, too. */
static bool gather_is_over(struct append_queue *queue)
{
    bool is_full = queue->forming_events >= APPEND_GROUP_EVENTS_MAX ||
                   queue->forming_bytes >= APPEND_GROUP_BYTES_MAX;
    if (queue->gather == 0 || (queue->waiting < queue->gather && !is_full)) {
        return false;
    }
    queue->gather = 0;
    (void)atomic_fetch_add_explicit(&queue->gathered, 1, memory_order_relaxed);
    return true;
}

/* ------------------------------------------------------------------ passing */

/* Commit the group, whose turn it is. */
static void lead(struct append_queue *queue, uint32_t group, append_commit_fn commit, void *ctx)
{
    (void)pthread_mutex_lock(&queue->lock); /* a default mutex: fails only for a broken caller */
    note_group(queue->turn, group);
    gather(queue, group);
    struct append_ticket *tickets = queue_take_group(queue, group);
    bool has_followers = tickets->next != NULL;
    (void)pthread_mutex_unlock(&queue->lock); /* as above */

    int64_t start_ns = now_ns();
    commit(ctx, tickets);
    int64_t spent_ns = now_ns() - start_ns;

    (void)pthread_mutex_lock(&queue->lock); /* as above */
    queue->last_ns = spent_ns;
    bool has_next = queue->first != NULL;
    uint32_t next = has_next ? queue->first->group : 0;
    queue->has_leader = has_next;
    note_group(queue->done, group);
    if (has_next) {
        note_group(queue->turn, next);
    }
    (void)pthread_mutex_unlock(&queue->lock); /* as above */
    if (has_next) {
        wake_group(queue->turn, next);
    }
    if (has_followers) {
        wake_group(queue->done, group);
    }
}

void append_queue_pass(struct append_queue *queue, struct append_ticket *ticket,
                       append_commit_fn commit, void *ctx)
{
    (void)pthread_mutex_lock(&queue->lock); /* a default mutex */
    bool is_leader = queue_push(queue, ticket);
    uint32_t group = ticket->group;
    bool is_turn = is_leader && !queue->has_leader;
    queue->has_leader = true;
    bool has_gathered = gather_is_over(queue);
    (void)pthread_mutex_unlock(&queue->lock); /* as above */
    if (has_gathered) {
        word_wake(&queue->gathered);
    }
    if (!is_leader) {
        await_group(queue->done, group);
        return;
    }
    if (!is_turn) {
        await_group(queue->turn, group);
    }
    lead(queue, group, commit, ctx);
}
