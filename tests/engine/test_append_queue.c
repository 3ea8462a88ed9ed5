/*
 * The queue of appends under schedules that hardly ever come by themselves: this program stands in
 * for pthread_mutex_unlock and holds a thread up behind one of its calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "after_test.h"
#include "append_queue.h"

/* The linker leads every call of pthread_mutex_unlock here. */
int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex);
int __real_pthread_mutex_unlock(pthread_mutex_t *mutex);

/* Where a thread is held up. */
struct hold {
    atomic_bool is_there;
    atomic_bool is_over;
};

static _Thread_local struct hold *hold_up; /* NULL: this thread is not held up */
static _Thread_local int unlocks_before;

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    int code = __real_pthread_mutex_unlock(mutex);
    if (hold_up != NULL && --unlocks_before == 0) {
        atomic_store(&hold_up->is_there, true);
        while (!atomic_load(&hold_up->is_over)) {
            sched_yield();
        }
        hold_up = NULL;
    }
    return code;
}

static struct append_queue queue;
static atomic_bool commits_wait;
static atomic_uint committing; /* at the same time */
static atomic_uint most_committing;
static atomic_uint returned;

/* A ticket that says how often it was committed. */
struct ticket {
    struct append_ticket ticket; /* first, so that it leads here */
    atomic_uint commits;
};

static void commit(void *ctx, struct append_ticket *group)
{
    (void)ctx;
    unsigned at_once = atomic_fetch_add(&committing, 1) + 1;
    if (at_once > atomic_load(&most_committing)) {
        atomic_store(&most_committing, at_once);
    }
    while (atomic_load(&commits_wait)) {
        sched_yield();
    }
    for (; group != NULL; group = group->next) {
        atomic_fetch_add(&((struct ticket *)group)->commits, 1);
    }
    atomic_fetch_sub(&committing, 1);
}

/* One thread that passes the queue once. */
struct caller {
    pthread_t thread;
    struct hold hold;
    int unlocks; /* it is held up behind this one of its calls; 0: never */
    struct append_ticket asks;
    unsigned commits; /* of its ticket, when it came back */
};

static void *call(void *ctx)
{
    struct caller *caller = ctx;
    struct ticket ticket = {.ticket = caller->asks};
    hold_up = caller->unlocks > 0 ? &caller->hold : NULL;
    unlocks_before = caller->unlocks;
    append_queue_pass(&queue, &ticket.ticket, commit, NULL);
    caller->commits = atomic_load(&ticket.commits);
    atomic_fetch_add(&returned, 1);
    return NULL;
}

static size_t queue_len(void)
{
    pthread_mutex_lock(&queue.lock);
    size_t len = queue.waiting;
    pthread_mutex_unlock(&queue.lock);
    return len;
}

/* It has begun to commit, and waits there. */
static void start_committing(struct caller *caller)
{
    atomic_store(&commits_wait, true);
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
    while (atomic_load(&committing) == 0) {
        sched_yield();
    }
}

/* It is in the queue behind those who are there, or has passed it against the rules. */
static void start_waiting(struct caller *caller)
{
    size_t before = queue_len();
    unsigned returned_before = atomic_load(&returned);
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
    while (queue_len() == before && atomic_load(&returned) == returned_before &&
           atomic_load(&committing) < 2) {
        sched_yield();
    }
}

static void come_back(struct caller *caller)
{
    cr_assert_eq(pthread_join(caller->thread, NULL), 0);
    cr_assert_eq(caller->commits, 1, "%u commits when it came back", caller->commits);
}

static void pass_alone(void)
{
    struct ticket ticket = {.ticket = {.events = 1, .bytes = 1}};
    append_queue_pass(&queue, &ticket.ticket, commit, NULL);
    cr_assert_eq(atomic_load(&ticket.commits), 1);
}

static struct caller small_call(int unlocks)
{
    return (struct caller){.unlocks = unlocks, .asks = {.events = 1, .bytes = 1}};
}

static void setup(void)
{
    cr_assert_eq(append_queue_init(&queue), 0);
}

static void teardown(void)
{
    after_test_require(!queue.has_leader, "nobody leads");
    after_test_require(queue.waiting == 0, "nobody waits");
    append_queue_release(&queue);
}

TestSuite(append_queue_schedule, .init = setup, .fini = teardown);

/* What a leader unlocks: it has its ticket in the queue, has taken its group, has handed over. */
enum { PUSHED = 1, HANDED_OVER = 3 };

/* A leader with a follower is held up when it has handed over, until the group is done that shares
 * its word and whose follower has not looked at it yet. */
Test(append_queue_schedule, wakes_a_late_follower_whatever_becomes_of_an_earlier_leader)
{
    struct caller first = small_call(0);
    struct caller late_leader = small_call(HANDED_OVER);
    struct caller follower = small_call(0);
    start_committing(&first);
    start_waiting(&late_leader);
    start_waiting(&follower);
    uint32_t group = queue.forming;
    atomic_store(&commits_wait, false);
    come_back(&first);
    while (!atomic_load(&late_leader.hold.is_there)) {
        sched_yield();
    }
    while (queue.forming != group + APPEND_QUEUE_WORDS - 1) {
        pass_alone();
    }

    struct caller busy = small_call(0);
    struct caller leader = small_call(0);
    struct caller late_follower = small_call(PUSHED);
    start_committing(&busy);
    start_waiting(&leader);
    start_waiting(&late_follower);
    while (!atomic_load(&late_follower.hold.is_there)) {
        sched_yield();
    }
    atomic_store(&commits_wait, false);
    come_back(&busy);
    come_back(&leader);
    atomic_store(&late_leader.hold.is_over, true);
    come_back(&late_leader);
    come_back(&follower);

    cr_assert_eq(atomic_load(&queue.done[group % APPEND_QUEUE_WORDS]), group + APPEND_QUEUE_WORDS,
                 "the late follower would sleep for ever");
    atomic_store(&late_follower.hold.is_over, true);
    come_back(&late_follower);
}

/* Numbers wrap around. Where every append was alone for half of them, nobody has slept on a word;
 * then some come at the same time. */
Test(append_queue_schedule, waits_its_turn_after_half_of_all_numbers_went_by_alone)
{
    queue.forming = UINT32_C(1) << 31;
    for (size_t i = 0; i < APPEND_QUEUE_WORDS; i++) {
        pass_alone();
    }
    struct caller first = small_call(0);
    struct caller leader = small_call(0);
    struct caller follower = small_call(0);
    start_committing(&first);
    start_waiting(&leader);
    start_waiting(&follower);
    cr_assert_eq(atomic_load(&returned), 0, "it came back and nothing of it was committed");
    atomic_store(&commits_wait, false);
    come_back(&first);
    come_back(&leader);
    come_back(&follower);
    cr_assert_eq(atomic_load(&most_committing), 1);
}

/* Small calls that came before a large one have a commit of their own. */
Test(append_queue_schedule, gives_a_large_call_a_group_of_its_own)
{
    static const struct append_ticket larges[] = {{.events = APPEND_LARGE_EVENTS, .bytes = 1},
                                                  {.events = 1, .bytes = APPEND_LARGE_BYTES}};
    for (size_t i = 0; i < sizeof larges / sizeof larges[0]; i++) {
        struct caller first = small_call(0);
        struct caller small = small_call(0);
        struct caller large = {.asks = larges[i]};
        struct caller next = small_call(0);
        start_committing(&first);
        uint32_t group = queue.forming;
        start_waiting(&small);
        start_waiting(&large);
        start_waiting(&next);
        cr_assert_eq(queue.first->group, group);
        cr_assert_eq(queue.first->next->group, group + 1);
        cr_assert_eq(queue.last->group, group + 2);
        atomic_store(&commits_wait, false);
        come_back(&first);
        come_back(&small);
        come_back(&large);
        come_back(&next);
    }
}

/* One event or byte less, and it may share. */
Test(append_queue_schedule, lets_a_call_below_that_join_a_group_that_has_begun)
{
    struct caller first = small_call(0);
    struct caller small = small_call(0);
    struct caller almost = {
        .asks = {.events = APPEND_LARGE_EVENTS - 1, .bytes = APPEND_LARGE_BYTES - 1}};
    start_committing(&first);
    start_waiting(&small);
    start_waiting(&almost);
    cr_assert_eq(queue.first->group, queue.last->group);
    atomic_store(&commits_wait, false);
    come_back(&first);
    come_back(&small);
    come_back(&almost);
}
