/*
 * A disk that fails while events are appended: the n-th write, short write, sync, the write that
 * finds the disk full, once or from then on, for every n; one call after the other, batches, and
 * several threads whose calls share commits. What was acknowledged is there, for the process that
 * goes on and for the next one; a call that failed has stored nothing; and the same call goes well
 * once the disk does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>

#include "engine_kit.h"
#include "faulty_disk.h"

#define CALLS_MAX 1000
#define THREADS   4
#define CALLS     6 /* of a thread */
#define BATCH_MAX 3

static struct kit kit;

/* A call of quipu_append or quipu_append_batch, and what it said. */
struct call {
    struct quipu_event events[BATCH_MAX];
    struct quipu_appended appended[BATCH_MAX];
    char aggregate_id[16];
    size_t count;
    enum quipu_status status;
};

struct writer {
    struct call calls[CALLS];
    size_t count;
    bool waits; /* for all of the threads before the first call */
};

static struct writer writers[THREADS];
static pthread_barrier_t start;

static const uint8_t payload[] = {0xa1, 0x61, 'n', 0x01};

/* Calls of one event and of three in turns, with ids that say which they are. */
static void writers_init(size_t threads)
{
    for (size_t i = 0; i < threads; i++) {
        writers[i].count = CALLS;
        writers[i].waits = threads > 1;
        for (size_t j = 0; j < CALLS; j++) {
            struct call *call = &writers[i].calls[j];
            *call = (struct call){.count = j % 2 == 0 ? 1 : BATCH_MAX};
            (void)snprintf(call->aggregate_id, sizeof call->aggregate_id, "of-%zu", i);
            for (size_t k = 0; k < call->count; k++) {
                struct quipu_event *event = &call->events[k];
                *event = (struct quipu_event){
                    .type = "thing.changed",
                    .aggregate = {"thing", call->aggregate_id},
                    .payload = quipu_slice(payload, sizeof payload),
                    .event_id = kit_uuid((uint8_t)(1 + k)),
                };
                event->event_id.bytes[14] = (uint8_t)j;
                event->event_id.bytes[13] = (uint8_t)i;
            }
        }
    }
}

static void call_make(struct call *call)
{
    struct quipu_error err;
    call->status = call->count == 1 ? quipu_append(kit.engine, call->events, call->appended, &err)
                                    : quipu_append_batch(kit.engine, call->events, call->count,
                                                         call->appended, NULL, &err);
}

static void *write_all(void *ctx)
{
    struct writer *writer = ctx;
    if (writer->waits) {
        (void)pthread_barrier_wait(&start); /* cannot fail once it is made */
    }
    for (size_t i = 0; i < writer->count; i++) {
        call_make(&writer->calls[i]);
    }
    return NULL;
}

static void run_writers(size_t threads)
{
    pthread_t ids[THREADS];
    if (threads == 1) {
        (void)write_all(&writers[0]);
        return;
    }
    cr_assert_eq(pthread_barrier_init(&start, NULL, (unsigned)threads), 0);
    for (size_t i = 0; i < threads; i++) {
        cr_assert_eq(pthread_create(&ids[i], NULL, write_all, &writers[i]), 0);
    }
    for (size_t i = 0; i < threads; i++) {
        cr_assert_eq(pthread_join(ids[i], NULL), 0);
    }
    cr_assert_eq(pthread_barrier_destroy(&start), 0);
}

/* ------------------------------------------------------------------ what must be so */

/* The event is where the acknowledgement said, or, where there was none, nowhere. */
static void assert_event(struct quipu_txn *txn, const struct call *call, size_t index)
{
    struct quipu_record record;
    struct quipu_event_view view;
    enum quipu_status status =
        quipu_txn_find_event_id(txn, call->events[index].event_id, &record, &kit.err);
    if (call->status != QUIPU_OK) {
        cr_assert_eq(status, QUIPU_NOT_FOUND, "a call that failed has stored its event %zu", index);
        return;
    }
    cr_assert_eq(status, QUIPU_OK, "acknowledged at position %lu, and it is not there: %s",
                 (unsigned long)call->appended[index].position, kit.err.message);
    cr_assert_eq(record.position, call->appended[index].position);
    cr_assert(quipu_cid_equal(&record.envelope_cid, &call->appended[index].cid));
    kit_assert_ok(&kit, quipu_event_view_of(&record, &view, &kit.err));
    kit_assert_ok(&kit, quipu_event_view_verify(&view, &kit.err));
}

/* All of them, and no others but the first `before`. */
static void assert_stored(size_t threads, uint64_t before)
{
    struct quipu_txn *txn = NULL;
    uint64_t stored = before;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    for (size_t i = 0; i < threads; i++) {
        for (size_t j = 0; j < CALLS; j++) {
            const struct call *call = &writers[i].calls[j];
            for (size_t k = 0; k < call->count; k++) {
                assert_event(txn, call, k);
            }
            stored += call->status == QUIPU_OK ? call->count : 0;
        }
    }
    cr_assert_eq(quipu_txn_last_position(txn), stored);
    quipu_txn_abort(&txn);
    kit_assert_sound(&kit, stored);
}

/* How many calls failed; with what a disk can be blamed for, and only where it has failed. */
static size_t failed_calls(size_t threads, long failures)
{
    size_t failed = 0;
    for (size_t i = 0; i < threads; i++) {
        for (size_t j = 0; j < CALLS; j++) {
            enum quipu_status status = writers[i].calls[j].status;
            bool is_of_disk = status == QUIPU_IO || status == QUIPU_NO_SPACE;
            cr_assert(status == QUIPU_OK || (failures > 0 && is_of_disk), "%s",
                      quipu_status_name(status));
            failed += status != QUIPU_OK;
        }
    }
    return failed;
}

/* ------------------------------------------------------------------ every n */

struct plan {
    enum fault_kind kind;
    bool is_lasting;
    size_t threads;
    bool is_first; /* nothing was appended before: there is no signing key yet */
};

/* One run with the n-th call failing; false where that was never reached. */
static bool run(const struct plan *plan, long n)
{
    kit_open(&kit);
    uint64_t before = plan->is_first ? 0 : 1;
    if (!plan->is_first) {
        (void)kit_append(&kit, "first", 1);
    }
    writers_init(plan->threads);

    fault_arm(plan->kind, n, plan->is_lasting);
    run_writers(plan->threads);
    long failures = fault_disarm();

    size_t failed = failed_calls(plan->threads, failures);
    cr_assert(failed > 0 || failures == 0 || plan->is_first, "call %ld: nobody was told", n);
    assert_stored(plan->threads, before);
    kit_reopen(&kit);
    assert_stored(plan->threads, before);
    /* The same calls again: what is there is found to be, what is not goes in. */
    for (size_t i = 0; i < plan->threads; i++) {
        for (size_t j = 0; j < CALLS; j++) {
            struct call *call = &writers[i].calls[j];
            bool was_stored = call->status == QUIPU_OK;
            call_make(call);
            cr_assert_eq(call->status, QUIPU_OK);
            cr_assert_eq(call->appended[0].was_duplicate, was_stored);
        }
    }
    assert_stored(plan->threads, before);
    kit_close(&kit);
    return failures > 0;
}

static void sweep(struct plan plan, long calls_least)
{
    long n = 0;
    while (run(&plan, n)) {
        n++;
        cr_assert_lt(n, CALLS_MAX);
    }
    cr_assert_geq(n, calls_least, "kind %d: only %ld calls", (int)plan.kind, n);
}

Test(append_faults, acknowledge_nothing_where_a_write_fails)
{
    sweep((struct plan){FAULT_WRITE, false, 1, false}, CALLS);
    sweep((struct plan){FAULT_WRITE, true, 1, false}, CALLS);
}

Test(append_faults, acknowledge_nothing_where_a_write_is_short)
{
    sweep((struct plan){FAULT_SHORT, false, 1, false}, CALLS);
}

Test(append_faults, acknowledge_nothing_where_a_sync_fails)
{
    sweep((struct plan){FAULT_SYNC, false, 1, false}, CALLS);
    sweep((struct plan){FAULT_SYNC, true, 1, false}, CALLS);
}

Test(append_faults, acknowledge_nothing_where_the_disk_is_full)
{
    sweep((struct plan){FAULT_FULL, true, 1, false}, CALLS);
}

Test(append_faults, acknowledge_nothing_where_the_first_events_and_the_key_meet_them)
{
    sweep((struct plan){FAULT_WRITE, false, 1, true}, CALLS);
    sweep((struct plan){FAULT_SYNC, false, 1, true}, CALLS);
    sweep((struct plan){FAULT_FULL, true, 1, true}, CALLS);
}

/* How many commits the threads' calls share differs from run to run: at least so many. */
Test(append_faults, acknowledge_nothing_to_threads_that_share_a_commit_that_fails)
{
    sweep((struct plan){FAULT_WRITE, false, THREADS, false}, 3);
    sweep((struct plan){FAULT_WRITE, true, THREADS, false}, 3);
    sweep((struct plan){FAULT_SYNC, false, THREADS, false}, 3);
    sweep((struct plan){FAULT_FULL, true, THREADS, false}, 3);
}
