/*
 * Appends that share a commit do not share each other's misfortune: calls that are too large, that
 * meet damage, that come from a forked child or from inside a write transaction; and a map that has
 * to grow is nobody's misfortune at all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_impl.h"
#include "engine_kit.h"
#include "quipu/forks.h"
#include "tuning.h"

/* A child that hangs is ended after this; one that does not takes no time. */
#define PATIENCE_SECONDS 120

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(append_shared, .init = setup, .fini = teardown);

/* Open the kit's store in another way than it does. */
static void open_with(const struct quipu_store_options *options,
                      const struct quipu_store_tuning *tuning)
{
    kit_shut(&kit);
    kit_assert_ok(&kit, quipu_store_open_tuned(kit.path, options, tuning, &kit.store, &kit.err));
    kit_assert_ok(&kit, quipu_engine_open(kit.store, NULL, &kit.engine, &kit.err));
}

/* ------------------------------------------------------------------ callers in one group */

static const uint8_t small_payload[] = {0xa1, 0x61, 'n', 0x01};

static struct quipu_event small_event(void)
{
    return (struct quipu_event){
        .type = "thing.changed",
        .aggregate = {"thing", "small"},
        .payload = quipu_slice(small_payload, sizeof small_payload),
    };
}

/* A call in a thread of its own. */
struct caller {
    pthread_t thread;
    const struct quipu_event *events;
    size_t count;
    size_t failed;
    enum quipu_status status;
    struct quipu_error err;
};

static void *call(void *ctx)
{
    struct caller *caller = ctx;
    caller->failed = SIZE_MAX;
    caller->status = quipu_append_batch(kit.engine, caller->events, caller->count, NULL,
                                        &caller->failed, &caller->err);
    return NULL;
}

static void start(struct caller *caller, const struct quipu_event *events, size_t count)
{
    caller->events = events;
    caller->count = count;
    cr_assert_eq(pthread_create(&caller->thread, NULL, call, caller), 0);
}

static void join(struct caller *caller)
{
    cr_assert_eq(pthread_join(caller->thread, NULL), 0);
}

/* The callers that wait in the queue, and whether one leads. */
static size_t in_queue(bool *has_leader)
{
    struct append_queue *queue = &kit.engine->queue;
    pthread_mutex_lock(&queue->lock);
    size_t waiting = queue->waiting;
    *has_leader = queue->has_leader;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

/* One leads and has taken its group, so many wait for it. */
static void await_queue(size_t wanted)
{
    bool has_leader = false;
    while (in_queue(&has_leader) != wanted || !has_leader) {
        sched_yield();
    }
}

enum { SMALL_CALLS = 6 };

/* Several small calls before and behind `odd`, all in one group, behind a call that waits for the
 * write transaction of this thread. All but `odd` go well. */
static void run_group(struct caller *odd, const struct quipu_event *events, size_t count)
{
    struct caller first;
    struct caller small[SMALL_CALLS];
    struct quipu_event event = small_event();
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    start(&first, &event, 1);
    await_queue(0);
    for (size_t i = 0; i < SMALL_CALLS; i++) {
        if (i == SMALL_CALLS / 2) {
            start(odd, events, count);
            await_queue(i + 1);
        }
        start(&small[i], &event, 1);
        await_queue(i + 1 + (i >= SMALL_CALLS / 2));
    }
    cr_assert_eq(kit.engine->queue.first->group, kit.engine->queue.last->group);
    quipu_txn_abort(&txn);
    join(&first);
    join(odd);
    cr_assert_eq(first.status, QUIPU_OK, "%s", first.err.message);
    for (size_t i = 0; i < SMALL_CALLS; i++) {
        join(&small[i]);
        cr_assert_eq(small[i].status, QUIPU_OK, "%s", small[i].err.message);
    }
}

/* ------------------------------------------------------------------ too large a call */

/* A record of 3,700 bytes and more takes two pages of its own. */
enum { LARGE_EVENTS = 400, LARGE_BYTES = 3700, PAGES_MAX = 300 };

static uint8_t large_payload[LARGE_BYTES] = {0x59, (LARGE_BYTES - 3) >> 8,
                                             (LARGE_BYTES - 3) & 0xff};
static struct quipu_event large_events[LARGE_EVENTS];

/* A store whose transactions hold few pages. */
static void open_small(void)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    tuning.dirty_pages_max = PAGES_MAX;
    open_with(NULL, &tuning);
    for (size_t i = 0; i < LARGE_EVENTS; i++) {
        large_events[i] = small_event();
        large_events[i].aggregate.id = "large";
        large_events[i].payload = quipu_slice(large_payload, sizeof large_payload);
    }
}

Test(append_shared, says_of_too_large_a_call_at_which_event_and_what_to_do)
{
    size_t failed = SIZE_MAX;
    open_small();

    enum quipu_status status =
        quipu_append_batch(kit.engine, large_events, LARGE_EVENTS, NULL, &failed, &kit.err);

    cr_assert_eq(status, QUIPU_TOO_LARGE, "%s", quipu_status_name(status));
    cr_assert_gt(failed, PAGES_MAX / 4);
    cr_assert_lt(failed, LARGE_EVENTS);
    char at[32];
    (void)snprintf(at, sizeof at, "events[%zu]: ", failed);
    cr_assert(strncmp(kit.err.message, at, strlen(at)) == 0, "%s", kit.err.message);
    cr_assert(strstr(kit.err.message, "append in smaller calls") != NULL, "%s", kit.err.message);
    kit_assert_sound(&kit, 0);
    for (size_t from = 0; from < LARGE_EVENTS; from += 100) {
        kit_assert_ok(
            &kit, quipu_append_batch(kit.engine, large_events + from, 100, NULL, NULL, &kit.err));
    }
    kit_assert_sound(&kit, LARGE_EVENTS);
}

Test(append_shared, lets_too_large_a_call_fail_alone)
{
    struct caller large;
    open_small();

    run_group(&large, large_events, LARGE_EVENTS);

    cr_assert_eq(large.status, QUIPU_TOO_LARGE, "%s", quipu_status_name(large.status));
    cr_assert_lt(large.failed, LARGE_EVENTS);
    kit_assert_sound(&kit, SMALL_CALLS + 1);
}

/* Two calls, of which each fits and both together do not. */
Test(append_shared, commits_one_after_the_other_what_is_too_large_together)
{
    struct caller half;
    struct caller other_half;
    struct caller first;
    struct quipu_txn *txn = NULL;
    struct quipu_event event = small_event();
    open_small();
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    start(&first, &event, 1);
    await_queue(0);
    start(&half, large_events, 110);
    await_queue(1);
    start(&other_half, large_events + 110, 110);
    await_queue(2);
    quipu_txn_abort(&txn);
    join(&first);
    join(&half);
    join(&other_half);

    cr_assert_eq(half.status, QUIPU_OK, "%s", half.err.message);
    cr_assert_eq(other_half.status, QUIPU_OK, "%s", other_half.err.message);
    kit_assert_sound(&kit, 221);
}

/* ------------------------------------------------------------------ damage */

Test(append_shared, lets_the_retry_of_a_damaged_event_fail_alone)
{
    struct caller retry;
    struct quipu_event event = small_event();
    event.aggregate.id = "somewhere-unique";
    event.event_id = kit_uuid(1);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    kit_damage(&kit, "somewhere-unique", -2); /* in the key before it: the block does not decode */

    run_group(&retry, &event, 1);

    cr_assert_eq(retry.status, QUIPU_CORRUPT, "%s", quipu_status_name(retry.status));
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    cr_assert_eq(quipu_txn_last_position(txn), SMALL_CALLS + 2);
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ the wrong place to append */

/* In the child of a fork, while in the parent others append: 0 where both ways to record an event
 * are refused as that. */
static int append_in_child(void)
{
    struct quipu_event event = small_event();
    (void)alarm(PATIENCE_SECONDS);
    bool is_refused = quipu_append(kit.engine, &event, NULL, &kit.err) == QUIPU_MISUSE &&
                      strstr(kit.err.message, "before the fork") != NULL &&
                      quipu_merge(kit.engine, &event, NULL, &kit.err) == QUIPU_MISUSE &&
                      strstr(kit.err.message, "before the fork") != NULL;
    return is_refused ? 0 : 1;
}

Test(append_shared, refuses_a_forked_child_whatever_others_do_in_the_parent)
{
    struct caller first;
    struct quipu_event event = small_event();
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    start(&first, &event, 1);
    await_queue(0);
    pthread_mutex_t *const locks[] = {&kit.engine->queue.lock, &kit.engine->ids_lock,
                                      &kit.engine->scratch_lock, &kit.engine->types_lock};
    (void)fflush(NULL);
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        pthread_mutex_lock(locks[i]);
    }
    pid_t pid = fork();
    if (pid == 0) {
        _exit(append_in_child());
    }
    for (size_t i = 0; i < sizeof locks / sizeof locks[0]; i++) {
        pthread_mutex_unlock(locks[i]);
    }
    quipu_txn_abort(&txn);
    join(&first);
    cr_assert_gt(pid, 0);
    int how = -1;
    cr_assert_eq(waitpid(pid, &how, 0), pid);
    cr_assert(WIFEXITED(how), "it hung");
    cr_assert_eq(WEXITSTATUS(how), 0);
    cr_assert_eq(first.status, QUIPU_OK, "%s", first.err.message);
    kit_assert_sound(&kit, 1);
}

static void append_is_refused(const char *where)
{
    struct quipu_event event = small_event();
    size_t failed = 0;
    enum quipu_status status = quipu_append_batch(kit.engine, &event, 1, NULL, &failed, &kit.err);
    cr_assert_eq(status, QUIPU_MISUSE, "%s: %s", where, quipu_status_name(status));
    cr_assert_eq(failed, 1);
    cr_assert(strstr(kit.err.message, "this thread has a write transaction") != NULL, "%s",
              kit.err.message);
}

Test(append_shared, refuses_a_thread_in_its_own_write_transaction_also_beside_others)
{
    struct caller other;
    struct quipu_event event = small_event();
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    append_is_refused("alone");
    start(&other, &event, 1);
    await_queue(0);
    append_is_refused("beside another");
    quipu_txn_abort(&txn);
    join(&other);
    cr_assert_eq(other.status, QUIPU_OK, "%s", other.err.message);

    struct quipu_ingest *ingest = NULL;
    kit_assert_ok(&kit, quipu_ingest_begin(kit.engine, QUIPU_INGEST_STRICT, &ingest, &kit.err));
    start(&other, &event, 1);
    await_queue(0);
    append_is_refused("while taking in events");
    quipu_ingest_abort(&ingest);
    join(&other);
    cr_assert_eq(other.status, QUIPU_OK, "%s", other.err.message);

    kit_append(&kit, "a", 1); /* it is over: this thread may append again */
    kit_assert_sound(&kit, 3);
}

static void *check_elsewhere(void *ctx)
{
    *(enum quipu_status *)ctx = quipu_store_check_writer(kit.store, NULL);
    return NULL;
}

Test(append_shared, may_wait_for_the_write_transactions_of_others_only)
{
    struct quipu_txn *txn = NULL;
    pthread_t other;
    enum quipu_status elsewhere = QUIPU_MISUSE;
    kit_assert_ok(&kit, quipu_store_check_writer(kit.store, &kit.err));
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    cr_assert_eq(quipu_store_check_writer(kit.store, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(pthread_create(&other, NULL, check_elsewhere, &elsewhere), 0);
    cr_assert_eq(pthread_join(other, NULL), 0);
    cr_assert_eq(elsewhere, QUIPU_OK);
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
    kit_assert_ok(&kit, quipu_store_check_writer(kit.store, &kit.err));
}

/* ------------------------------------------------------------------ a map that is full */

enum { MAP_BYTES = 1 << 20, MAP_THREADS = 4, MAP_CALLS = 500 };

static void open_with_small_map(void)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    options.map_bytes = MAP_BYTES;
    open_with(&options, &tuning);
}

static uint64_t map_bytes(void)
{
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat = {0};
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_stat(txn, &stat, &kit.err));
    quipu_txn_abort(&txn);
    return stat.map_bytes;
}

static struct quipu_event event_of_bytes(size_t bytes)
{
    static uint8_t payload[4096] = {0x59};
    payload[1] = (uint8_t)((bytes - 3) >> 8);
    payload[2] = (uint8_t)((bytes - 3) & 0xff);
    struct quipu_event event = small_event();
    event.payload = quipu_slice(payload, bytes);
    return event;
}

static void *append_many(void *ctx)
{
    struct quipu_event event = *(const struct quipu_event *)ctx;
    struct quipu_error err;
    for (size_t i = 0; i < MAP_CALLS; i++) {
        if (quipu_append(kit.engine, &event, NULL, &err) != QUIPU_OK) {
            return strdup(err.message);
        }
    }
    return NULL;
}

Test(append_shared, grows_its_map_without_a_word)
{
    struct quipu_event event = event_of_bytes(4096);
    pthread_t threads[MAP_THREADS];
    open_with_small_map();
    for (size_t i = 0; i < MAP_THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, append_many, &event), 0);
    }
    for (size_t i = 0; i < MAP_THREADS; i++) {
        void *said = NULL;
        cr_assert_eq(pthread_join(threads[i], &said), 0);
        cr_assert_null(said, "%s", (char *)said);
    }
    cr_assert_gt(map_bytes(), 4 * MAP_BYTES);
    kit_assert_sound(&kit, MAP_THREADS * MAP_CALLS);
}

Test(append_shared, grows_its_map_for_one_call_as_often_as_that_needs)
{
    enum { COUNT = 4000 };
    struct quipu_event *events = calloc(COUNT, sizeof *events);
    cr_assert_not_null(events);
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = event_of_bytes(4096);
    }
    open_with_small_map();
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, NULL, NULL, &kit.err));
    cr_assert_gt(map_bytes(), 16 * MAP_BYTES);
    kit_assert_sound(&kit, COUNT);
    free(events);
}

/* While another transaction of the process is open the map cannot grow: nothing is stored, and
 * nothing is in doubt. */
Test(append_shared, knows_that_nothing_is_stored_where_its_map_cannot_grow)
{
    uint64_t stored = 0;
    open_with_small_map();
    for (size_t bytes = 400; bytes <= 4096; bytes += 600) {
        struct quipu_event event = event_of_bytes(bytes);
        struct quipu_txn *reader = NULL;
        kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &reader, &kit.err));
        enum quipu_status status = QUIPU_OK;
        while ((status = quipu_append(kit.engine, &event, NULL, &kit.err)) == QUIPU_OK) {
            stored++;
        }
        quipu_txn_abort(&reader);
        cr_assert_eq(status, QUIPU_NO_SPACE, "%s", kit.err.message);
        cr_assert(!kit.err.is_unsure, "%s", kit.err.message);
        cr_assert(strstr(kit.err.message, "may or may not") == NULL, "%s", kit.err.message);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
        stored++;
        kit_assert_sound(&kit, stored);
    }
}
