/*
 * Appending at the same time: the queue by itself, then threads on one engine, then crashes and
 * failures of a group's commit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "append_queue.h"
#include "engine_kit.h"

/* ------------------------------------------------------------------ the queue */

enum { QUEUE_FOLLOWERS = 7 };

struct queue_test {
    struct append_queue queue;
    size_t wait_for; /* tickets that must wait before the first group is committed */
    size_t groups[16];
    size_t groups_len;
};

static size_t queue_len(struct append_queue *queue)
{
    size_t len = 0;
    pthread_mutex_lock(&queue->lock);
    for (struct append_ticket *ticket = queue->first; ticket != NULL; ticket = ticket->next) {
        len++;
    }
    pthread_mutex_unlock(&queue->lock);
    return len;
}

static void count_group(void *ctx, struct append_ticket *group)
{
    struct queue_test *test = ctx;
    while (test->groups_len == 0 && queue_len(&test->queue) < test->wait_for) {
        sched_yield();
    }
    size_t len = 0;
    for (; group != NULL; group = group->next) {
        len++;
    }
    test->groups[test->groups_len++] = len;
}

struct queue_caller {
    struct queue_test *test;
    size_t events;
    size_t bytes;
};

static void *queue_call(void *ctx)
{
    struct queue_caller *caller = ctx;
    struct append_ticket ticket = {.events = caller->events, .bytes = caller->bytes};
    append_queue_pass(&caller->test->queue, &ticket, count_group, caller->test);
    return NULL;
}

/* One leader, then seven that come while it commits. */
static void run_queue(struct queue_test *test, size_t events, size_t bytes)
{
    pthread_t threads[QUEUE_FOLLOWERS + 1];
    struct queue_caller caller = {test, events, bytes};
    *test = (struct queue_test){.wait_for = QUEUE_FOLLOWERS};
    cr_assert_eq(append_queue_init(&test->queue), 0);
    for (size_t i = 0; i <= QUEUE_FOLLOWERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, queue_call, &caller), 0);
    }
    for (size_t i = 0; i <= QUEUE_FOLLOWERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_not(test->queue.has_leader);
    append_queue_release(&test->queue);
}

Test(append_queue, commits_those_who_came_meanwhile_as_one_group)
{
    struct queue_test test;
    run_queue(&test, 1, 100);
    cr_assert_eq(test.groups_len, 2);
    cr_assert_eq(test.groups[0], 1);
    cr_assert_eq(test.groups[1], QUEUE_FOLLOWERS);
}

Test(append_queue, ends_a_group_at_a_number_of_events)
{
    struct queue_test test;
    run_queue(&test, APPEND_GROUP_EVENTS_MAX / 3, 100);
    cr_assert_eq(test.groups_len, 3);
    cr_assert_eq(test.groups[1], 4);
    cr_assert_eq(test.groups[2], 3);
}

Test(append_queue, ends_a_group_at_a_number_of_bytes)
{
    struct queue_test test;
    run_queue(&test, 1, APPEND_GROUP_BYTES_MAX / 2);
    cr_assert_eq(test.groups_len, 5);
    cr_assert_eq(test.groups[1], 2);
    cr_assert_eq(test.groups[4], 1);
}

Test(append_queue, takes_a_ticket_that_is_over_the_limits_alone)
{
    struct queue_test test;
    run_queue(&test, 65536, APPEND_GROUP_BYTES_MAX * 2);
    cr_assert_eq(test.groups_len, QUEUE_FOLLOWERS + 1);
}

enum { STORM_THREADS = 16, STORM_PASSES = 400 };

struct storm {
    struct append_queue queue;
    atomic_uint committing; /* at the same time */
    unsigned most_committing;
    size_t largest; /* events of a group but for its last ticket */
    uint64_t tickets;
};

/* A ticket that says what became of it. */
struct storm_ticket {
    struct append_ticket ticket; /* first, so that it leads here */
    unsigned commits;
};

static void storm_commit(void *ctx, struct append_ticket *group)
{
    struct storm *storm = ctx;
    unsigned others = atomic_fetch_add(&storm->committing, 1);
    storm->most_committing =
        others + 1 > storm->most_committing ? others + 1 : storm->most_committing;
    size_t events = 0;
    for (; group != NULL; group = group->next) {
        storm->largest = events > storm->largest ? events : storm->largest;
        events += group->events;
        ((struct storm_ticket *)group)->commits++;
        storm->tickets++;
    }
    sched_yield();
    atomic_fetch_sub(&storm->committing, 1);
}

static void *storm_call(void *ctx)
{
    struct storm *storm = ctx;
    size_t wrong = 0;
    for (size_t i = 0; i < STORM_PASSES; i++) {
        struct storm_ticket ticket = {.ticket = {.events = i % 7 == 0 ? 700 : 1, .bytes = i}};
        append_queue_pass(&storm->queue, &ticket.ticket, storm_commit, storm);
        wrong += ticket.commits != 1;
    }
    return wrong == 0 ? NULL : storm;
}

Test(append_queue, commits_each_ticket_once_and_one_group_at_a_time)
{
    static struct storm storm;
    pthread_t threads[STORM_THREADS];
    cr_assert_eq(append_queue_init(&storm.queue), 0);
    /* The numbers of groups wrap around in between. */
    storm.queue.forming = UINT32_MAX - STORM_PASSES / 2;
    for (size_t i = 0; i < APPEND_QUEUE_WORDS; i++) {
        atomic_store(&storm.queue.turn[i], storm.queue.forming - 1);
        atomic_store(&storm.queue.done[i], storm.queue.forming - 1);
    }
    for (size_t i = 0; i < STORM_THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, storm_call, &storm), 0);
    }
    for (size_t i = 0; i < STORM_THREADS; i++) {
        void *wrong = NULL;
        cr_assert_eq(pthread_join(threads[i], &wrong), 0);
        cr_assert_null(wrong, "a ticket came back uncommitted, or committed twice");
    }
    cr_assert_eq(storm.most_committing, 1);
    cr_assert_eq(storm.tickets, STORM_THREADS * STORM_PASSES);
    cr_assert_lt(storm.largest, APPEND_GROUP_EVENTS_MAX);
    cr_assert_not(storm.queue.has_leader);
    cr_assert_eq(storm.queue.waiting, 0);
    cr_assert_lt(storm.queue.forming, UINT32_MAX / 2);
    append_queue_release(&storm.queue);
}

/* ------------------------------------------------------------------ threads on one engine */

enum { THREADS = 8, ROUNDS = 60 };

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(group, .init = setup, .fini = teardown);

static const uint8_t one_payload[] = {0xa1, 0x61, 'n', 0x01};

static struct quipu_event event_of(const char *aggregate_id)
{
    return (struct quipu_event){
        .type = "thing.changed",
        .aggregate = {"thing", aggregate_id},
        .payload = quipu_slice(one_payload, sizeof one_payload),
    };
}

struct worker {
    size_t number;
    uint64_t conflicts;
    uint64_t duplicates;
    uint64_t failures;
    enum quipu_status wrong; /* a status that should not have been */
};

static void run_workers(void *(*work)(void *ctx), struct worker *workers)
{
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.number = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(workers[i].wrong, QUIPU_OK, "%s", quipu_status_name(workers[i].wrong));
    }
}

/* Append to an aggregate of its own, always knowing its version. */
static void *append_own(void *ctx)
{
    struct worker *worker = ctx;
    char id[16];
    (void)snprintf(id, sizeof id, "own-%zu", worker->number);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        struct quipu_event events[2] = {event_of(id), event_of(id)};
        struct quipu_appended appended[2];
        events[0].expected = quipu_expect_exact(2 * i);
        events[1].expected = quipu_expect_exact(2 * i + 1);
        enum quipu_status status = quipu_append_batch(kit.engine, events, 2, appended, NULL, NULL);
        if (status != QUIPU_OK || appended[1].version != 2 * i + 2 ||
            appended[1].position != appended[0].position + 1) {
            worker->wrong = status == QUIPU_OK ? QUIPU_CORRUPT : status;
            return NULL;
        }
    }
    return NULL;
}

Test(group, keeps_the_versions_of_each_thread_exact)
{
    struct worker workers[THREADS];
    run_workers(append_own, workers);
    kit_assert_sound(&kit, 2 * THREADS * ROUNDS);
}

/* Add one to a shared aggregate, reading and trying again on conflict. */
static void *append_shared(void *ctx)
{
    struct worker *worker = ctx;
    struct quipu_aggregate aggregate = {quipu_slice_text("thing"), quipu_slice_text("shared")};
    for (int done = 0; done < ROUNDS;) {
        struct quipu_txn *txn = NULL;
        struct quipu_head head = {0};
        enum quipu_status status = quipu_txn_begin_read(kit.store, &txn, NULL);
        if (status == QUIPU_OK) {
            status = quipu_txn_head(txn, aggregate, &head, NULL);
        }
        quipu_txn_abort(&txn);
        if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
            worker->wrong = status;
            return NULL;
        }
        struct quipu_event event = event_of("shared");
        struct quipu_appended appended;
        event.expected = quipu_expect_exact(head.version);
        status = quipu_append(kit.engine, &event, &appended, NULL);
        if (status == QUIPU_OK && appended.version == head.version + 1) {
            done++;
        } else if (status == QUIPU_VERSION_CONFLICT) {
            worker->conflicts++;
        } else {
            worker->wrong = status == QUIPU_OK ? QUIPU_CORRUPT : status;
            return NULL;
        }
    }
    return NULL;
}

Test(group, gives_each_version_of_a_shared_aggregate_once)
{
    struct worker workers[THREADS];
    run_workers(append_shared, workers);
    kit_assert_sound(&kit, THREADS * ROUNDS);
    cr_assert_eq(kit_append(&kit, "shared", 1).version, THREADS * ROUNDS + 1);
}

/* All threads append the same events; every third call holds a conflict behind a good event. */
static void *append_same(void *ctx)
{
    struct worker *worker = ctx;
    for (uint8_t i = 1; i <= ROUNDS; i++) {
        struct quipu_event events[2] = {event_of("same"), event_of("same")};
        struct quipu_appended appended[2];
        events[0].event_id = kit_uuid(i);
        enum quipu_status status = quipu_append(kit.engine, &events[0], appended, NULL);
        if (status != QUIPU_OK) {
            worker->wrong = status;
            return NULL;
        }
        worker->duplicates += appended[0].was_duplicate;
        if (i % 3 == 0) {
            events[0].event_id = kit_uuid((uint8_t)(100 + worker->number));
            events[1].expected = quipu_expect_no_stream();
            size_t failed = 0;
            status = quipu_append_batch(kit.engine, events, 2, appended, &failed, NULL);
            worker->conflicts += status == QUIPU_VERSION_CONFLICT && failed == 1;
        }
    }
    return NULL;
}

Test(group, stores_an_event_once_and_lets_a_conflict_fail_alone)
{
    struct worker workers[THREADS];
    uint64_t duplicates = 0;
    run_workers(append_same, workers);
    for (size_t i = 0; i < THREADS; i++) {
        duplicates += workers[i].duplicates;
        cr_assert_eq(workers[i].conflicts, ROUNDS / 3);
    }
    cr_assert_eq(duplicates, (THREADS - 1) * ROUNDS);
    kit_assert_sound(&kit, ROUNDS);
}

/* ------------------------------------------------------------------ failures of a commit */

/* Append with ids of its own until each is in, whatever fails in between. */
static void *append_stubbornly(void *ctx)
{
    struct worker *worker = ctx;
    for (uint8_t i = 1; i <= 30; i++) {
        struct quipu_event event = event_of("stubborn");
        struct quipu_appended appended;
        struct quipu_error err;
        event.event_id = kit_uuid(i);
        event.event_id.bytes[14] = (uint8_t)worker->number;
        enum quipu_status status = quipu_append(kit.engine, &event, &appended, &err);
        while (status == QUIPU_IO) {
            if (strstr(err.message, "failpoint") == NULL) {
                worker->wrong = status;
                return NULL;
            }
            worker->failures++;
            status = quipu_append(kit.engine, &event, &appended, &err);
        }
        if (status != QUIPU_OK) {
            worker->wrong = status;
            return NULL;
        }
        worker->duplicates += appended.was_duplicate;
    }
    return NULL;
}

/* Exit status: what was found. */
static void group_fails_in_child(void *ctx)
{
    struct worker workers[THREADS];
    uint64_t failures = 0;
    uint64_t duplicates = 0;
    bool was_committed = *(bool *)ctx;
    kit_reopen(&kit);
    kit_append(&kit, "first", 1);
    run_workers(append_stubbornly, workers);
    for (size_t i = 0; i < THREADS; i++) {
        failures += workers[i].failures;
        duplicates += workers[i].duplicates;
    }
    kit_assert_sound(&kit, THREADS * 30 + 1);
    if (failures == 0) {
        _exit(1);
    }
    _exit(duplicates == (was_committed ? failures : 0) ? 0 : 2);
}

Test(group, fails_for_all_when_its_commit_fails_and_succeeds_when_tried_again)
{
    bool was_committed = false;
    kit_shut(&kit);
    int how =
        kit_run_child("engine.append.before_commit:fail:5", group_fails_in_child, &was_committed);
    cr_assert(WIFEXITED(how));
    cr_assert_eq(WEXITSTATUS(how), 0);
    kit_reopen(&kit);
    kit_assert_sound(&kit, THREADS * 30 + 1);
}

Test(group, finds_duplicates_when_only_the_answer_was_lost)
{
    bool was_committed = true;
    kit_shut(&kit);
    int how =
        kit_run_child("engine.append.after_commit:fail:5", group_fails_in_child, &was_committed);
    cr_assert(WIFEXITED(how));
    cr_assert_eq(WEXITSTATUS(how), 0);
    kit_reopen(&kit);
    kit_assert_sound(&kit, THREADS * 30 + 1);
}

static void append_in_child(void *ctx)
{
    struct quipu_event event = event_of("a");
    (void)ctx;
    kit_reopen(&kit);
    event.event_id = kit_uuid(1);
    _exit(quipu_append(kit.engine, &event, NULL, &kit.err) == QUIPU_OK ? 0 : 1);
}

Test(group, is_there_or_not_after_a_crash_and_a_retry_tells_which)
{
    static const char *const failpoints[] = {"engine.append.before_commit:kill",
                                             "engine.append.after_commit:kill"};
    struct quipu_event event = event_of("a");
    event.event_id = kit_uuid(1);
    for (uint64_t i = 0; i < 2; i++) {
        kit_shut(&kit);
        cr_assert(WIFSIGNALED(kit_run_child(failpoints[i], append_in_child, NULL)));
        kit_reopen(&kit);
        kit_assert_sound(&kit, i);
    }
    struct quipu_appended appended;
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &appended, &kit.err));
    cr_assert(appended.was_duplicate);
    kit_assert_sound(&kit, 1);
}
