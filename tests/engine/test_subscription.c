/*
 * Subscriptions: history, then live, each event once; filters; the buffer's bounds; the descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "engine_kit.h"
#include "quipu/alloc.h"
#include "subscription_impl.h"
#include "writer_kit.h"

/* What has not come by then never comes. */
#define LOST_MS 60000

static struct quipu_subscription *subscribe(struct kit *kit,
                                            const struct quipu_subscription_options *options)
{
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(kit, quipu_subscription_open(kit->engine, options, &subscription, &kit->err));
    return subscription;
}

static bool is_readable(struct quipu_subscription *subscription)
{
    struct pollfd polled = {.fd = quipu_subscription_fd(subscription), .events = POLLIN};
    return poll(&polled, 1, 0) == 1;
}

/* Assert that the next events have these positions, and that nothing comes then. */
static void assert_positions(struct kit *kit, struct quipu_subscription *subscription,
                             const char *expected)
{
    char found[512] = "";
    struct quipu_event_view event;
    enum quipu_status status;
    while ((status = quipu_subscription_next(subscription, &event, &kit->err)) == QUIPU_OK) {
        kit_assert_ok(kit, quipu_event_view_verify(&event, &kit->err));
        size_t len = strlen(found);
        (void)snprintf(found + len, sizeof found - len, "%s%lu", len > 0 ? " " : "",
                       (unsigned long)event.position);
    }
    cr_assert_eq(status, QUIPU_DONE, "%s", kit->err.message);
    cr_assert_str_eq(found, expected);
}

Test(subscription, history_then_live)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    kit_append(&kit, "b", 2);
    struct quipu_subscription *subscription = subscribe(&kit, NULL);
    assert_positions(&kit, subscription, "1 2");
    assert_positions(&kit, subscription, "");
    kit_append(&kit, "a", 3);
    assert_positions(&kit, subscription, "3");
    quipu_subscription_close(&subscription);
    cr_assert_null(subscription);
    kit_close(&kit);
}

Test(subscription, the_descriptor_says_whether_there_may_be_more)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_subscription *subscription = subscribe(&kit, NULL);
    cr_assert(is_readable(subscription), "nobody has looked yet");
    assert_positions(&kit, subscription, "");
    cr_assert_not(is_readable(subscription));
    cr_assert_eq(quipu_subscription_wait(subscription, 0, &kit.err), QUIPU_DONE);

    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    cr_assert_eq(quipu_subscription_wait(subscription, 0, &kit.err), QUIPU_OK);
    struct quipu_event_view event;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
        cr_assert(is_readable(subscription), "a host that takes one at a time comes back");
    }
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_DONE);
    cr_assert_not(is_readable(subscription));
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

static void *append_many(void *ctx)
{
    const uint8_t payload[] = {0xa0};
    struct quipu_event event = {.type = "thing.changed",
                                .aggregate = {"thing", "thread"},
                                .payload = quipu_slice(payload, sizeof payload)};
    for (int i = 0; i < 400; i++) {
        if (quipu_append(ctx, &event, NULL, NULL) != QUIPU_OK) {
            abort();
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------ a commit during the look */

/* Appends at the allocation that is named, from a thread of its own as it may have a transaction.
 */
struct meddler {
    struct kit *kit;
    uint64_t calls; /* since it was armed */
    uint64_t at;    /* 0: not armed */
    uint64_t times;
};

static void *append_one(void *ctx)
{
    struct meddler *meddler = ctx;
    (void)kit_append(meddler->kit, "b", 1);
    return NULL;
}

static void *meddle_reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct meddler *meddler = ctx;
    if (meddler->at != 0 && ++meddler->calls == meddler->at) {
        pthread_t thread;
        meddler->at = 0;
        meddler->times++;
        if (pthread_create(&thread, NULL, append_one, meddler) != 0 ||
            pthread_join(thread, NULL) != 0) {
            abort();
        }
    }
    return realloc(pointer, bytes);
}

static void meddle_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

/* Whenever it comes: it is handed out, or the descriptor says that there may be more. */
Test(subscription, a_commit_in_the_middle_of_a_look_is_not_lost)
{
    static struct meddler meddler;
    const struct quipu_allocator allocator = {meddle_reallocate, meddle_release, &meddler};
    struct kit kit;
    quipu_alloc_set(&allocator);
    kit_open(&kit);
    meddler.kit = &kit;
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.aggregate_type = "thing";
    options.aggregate_id = "b";
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    uint64_t at = 1;
    for (; meddler.times == at - 1; at++) {
        kit_append(&kit, "a", 1); /* something to look at, and nothing for this filter */
        struct quipu_event_view event;
        meddler.calls = 0;
        meddler.at = at;
        enum quipu_status status = quipu_subscription_next(subscription, &event, &kit.err);
        meddler.at = 0;
        if (meddler.times == at && status == QUIPU_DONE) {
            cr_assert(is_readable(subscription), "it came at allocation %lu", (unsigned long)at);
            status = quipu_subscription_next(subscription, &event, &kit.err);
        }
        cr_assert_eq(status, meddler.times == at ? QUIPU_OK : QUIPU_DONE);
    }
    cr_assert_gt(at, 2, "once at least");
    quipu_subscription_close(&subscription);
    kit_close(&kit);
    quipu_alloc_set(NULL);
}

/* A host's own loop over epoll, while two processes and a thread append: it begins in the middle of
 * what they write, and meets every position once. */
Test(subscription, each_event_once_over_the_seam)
{
    struct kit kit;
    kit_open(&kit);
    struct writer writers[2];
    writers_start(writers, &kit, 400);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, append_many, kit.engine), 0);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.buffer_events = 7;
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_geq(loop, 0);
    struct epoll_event interest = {.events = EPOLLIN};
    cr_assert_eq(epoll_ctl(loop, EPOLL_CTL_ADD, quipu_subscription_fd(subscription), &interest), 0);

    uint64_t last = 0;
    while (last < 1200) {
        struct epoll_event ready;
        cr_assert_eq(epoll_wait(loop, &ready, 1, LOST_MS), 1, "a wake is missing behind %lu",
                     (unsigned long)last);
        struct quipu_event_view event;
        enum quipu_status status;
        while ((status = quipu_subscription_next(subscription, &event, &kit.err)) == QUIPU_OK) {
            cr_assert_eq(event.position, last + 1);
            last = event.position;
        }
        cr_assert_eq(status, QUIPU_DONE, "%s", kit.err.message);
    }
    cr_assert_eq(pthread_join(thread, NULL), 0);
    writers_end(writers);
    assert_positions(&kit, subscription, "");
    cr_assert_eq(close(loop), 0);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

Test(subscription, a_slow_reader_costs_no_memory)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.buffer_bytes = 4000;
    options.buffer_events = 1000;
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    size_t most = 0;
    uint64_t read = 0;
    for (int n = 0; n < 300; n++) {
        kit_append(&kit, "a", n);
        struct quipu_event_view event;
        if (n % 3 == 0) { /* one is read for three that come in */
            cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
            cr_assert_eq(event.position, ++read);
        }
        most = subscription->bytes.len > most ? subscription->bytes.len : most;
        cr_assert_leq(subscription->bytes.cap, 2 * options.buffer_bytes);
    }
    cr_assert(most <= 4000 && most > 3000, "%zu bytes", most);

    /* One event is taken however large, and its memory given back. */
    struct quipu_event large = kit_event(&kit, "large", 1);
    static uint8_t payload[200005] = {0x5a, 0, 3, 0x0d, 0x40};
    large.payload = quipu_slice(payload, sizeof payload);
    kit_assert_ok(&kit, quipu_append(kit.engine, &large, NULL, &kit.err));
    kit_append(&kit, "a", 1);
    struct quipu_event_view event;
    while (read < 301) {
        cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
        cr_assert_eq(event.position, ++read);
    }
    cr_assert_eq(event.payload.len, sizeof payload);
    cr_assert_eq(subscription->events_len, 1);
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
    cr_assert_leq(subscription->bytes.cap, 2 * options.buffer_bytes);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ which events */

static void append_as(struct kit *kit, const char *type, const char *aggregate_type,
                      const char *aggregate_id, uint8_t correlation)
{
    struct quipu_event event = kit_event(kit, aggregate_id, 1);
    event.type = type;
    event.aggregate.type = aggregate_type;
    if (correlation > 0) {
        event.correlation_id = kit_uuid(correlation);
    }
    kit_assert_ok(kit, quipu_append(kit->engine, &event, NULL, &kit->err));
}

static void assert_filter(struct kit *kit, struct quipu_subscription_options options,
                          const char *expected)
{
    options.size = sizeof options;
    options.buffer_events = 2; /* so that it is filled again and again */
    struct quipu_subscription *subscription = subscribe(kit, &options);
    assert_positions(kit, subscription, expected);
    cr_assert_not(is_readable(subscription));
    quipu_subscription_close(&subscription);
}

Test(subscription, filters)
{
    struct kit kit;
    kit_open(&kit);
    append_as(&kit, "key.made", "key", "a", 1);
    append_as(&kit, "key.used", "key", "a", 2);
    append_as(&kit, "key.made", "key", "b", 1);
    append_as(&kit, "person.named", "person", "a", 2);
    append_as(&kit, "key.used", "key", "b", 1);
    append_as(&kit, "key.made", "key", "c", 0);
    const char *const made[] = {"key.made", NULL};
    const char *const two[] = {"person.named", "key.used", NULL};
    const char *const none[] = {NULL};
    assert_filter(&kit, (struct quipu_subscription_options){.start = QUIPU_START_AT_BEGINNING},
                  "1 2 3 4 5 6");
    assert_filter(&kit, (struct quipu_subscription_options){.event_types = made}, "1 3 6");
    assert_filter(&kit, (struct quipu_subscription_options){.event_types = two}, "2 4 5");
    assert_filter(&kit, (struct quipu_subscription_options){.event_types = none}, "");
    assert_filter(&kit, (struct quipu_subscription_options){.aggregate_type = "key"}, "1 2 3 5 6");
    assert_filter(&kit,
                  (struct quipu_subscription_options){.aggregate_type = "key", .aggregate_id = "b"},
                  "3 5");
    assert_filter(&kit,
                  (struct quipu_subscription_options){
                      .aggregate_type = "key", .aggregate_id = "b", .event_types = made},
                  "3");
    assert_filter(&kit, (struct quipu_subscription_options){.correlation_id = kit_uuid(1)},
                  "1 3 5");
    assert_filter(
        &kit,
        (struct quipu_subscription_options){.correlation_id = kit_uuid(2), .event_types = two},
        "2 4");
    assert_filter(&kit, (struct quipu_subscription_options){.start = QUIPU_START_AFTER, .after = 4},
                  "5 6");
    assert_filter(&kit, (struct quipu_subscription_options){.start = QUIPU_START_NOW}, "");
    kit_close(&kit);
}

Test(subscription, starts_now)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.start = QUIPU_START_NOW;
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    kit_append(&kit, "a", 2);
    assert_positions(&kit, subscription, "2");
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* A long stretch without a match is gone over in steps, and the descriptor says so. */
Test(subscription, a_long_stretch_does_not_keep_the_host)
{
    enum { EVENTS = 150000, BATCH = 15000 };
    struct kit kit;
    kit_open(&kit);
    static struct quipu_event batch[BATCH];
    for (size_t i = 0; i < BATCH; i++) {
        batch[i] = kit_event(&kit, "a", 1);
    }
    for (int i = 0; i < EVENTS / BATCH; i++) {
        kit_assert_ok(&kit, quipu_append_batch(kit.engine, batch, BATCH, NULL, NULL, &kit.err));
    }
    append_as(&kit, "thing.rare", "thing", "b", 0);
    const char *const types[] = {"thing.rare", "thing.never", NULL};
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.event_types = types;
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    struct quipu_event_view event;
    for (int step = 0; step < 2; step++) {
        cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_DONE);
        cr_assert(is_readable(subscription));
    }
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
    cr_assert_eq(event.position, EVENTS + 1);
    assert_positions(&kit, subscription, "");
    cr_assert_not(is_readable(subscription));
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

struct upcasting {
    uint64_t fail_at;
    uint8_t payload[1];
};

static enum quipu_status upcast(void *ctx, struct quipu_event_view *event, struct quipu_error *err)
{
    struct upcasting *upcasting = ctx;
    if (event->position == upcasting->fail_at) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER, "no upcaster");
    }
    event->payload = quipu_slice(upcasting->payload, sizeof upcasting->payload);
    event->envelope.schema = 9;
    return QUIPU_OK;
}

Test(subscription, an_upcaster_changes_the_view_and_may_refuse)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    struct upcasting upcasting = {.fail_at = 2, .payload = {0xf6}};
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.upcast = upcast;
    options.upcast_ctx = &upcasting;
    struct quipu_subscription *subscription = subscribe(&kit, &options);
    struct quipu_event_view event;
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
    cr_assert_eq(event.envelope.schema, 9);
    cr_assert(event.payload.len == 1 && event.payload.data[0] == 0xf6);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_FORMAT_NEWER);
        cr_assert_str_eq(kit.err.message, "position 2: no upcaster");
        cr_assert(is_readable(subscription));
    }
    upcasting.fail_at = 0;
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_OK);
    cr_assert_eq(event.position, 2);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

Test(subscription, what_open_refuses)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_subscription *subscription = NULL;
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    cr_assert_eq(quipu_subscription_open(NULL, NULL, &subscription, &kit.err), QUIPU_MISUSE);
    options.size = 1;
    cr_assert_eq(quipu_subscription_open(kit.engine, &options, &subscription, &kit.err),
                 QUIPU_MISUSE);
    static const struct quipu_subscription_options bad[] = {
        {.aggregate_id = "a"},
        {.buffer_events = QUIPU_SUBSCRIPTION_EVENTS_MAX + 1},
        {.start = QUIPU_START_AFTER, .after = 1},
        {.name = ""},
        {.name = "UPPER"},
        {.name = "a/b"},
        {.name = "00000000001111111111222222222233333333334444444444555555555566666"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        options = bad[i];
        options.size = sizeof options;
        cr_assert_eq(quipu_subscription_open(kit.engine, &options, &subscription, &kit.err),
                     QUIPU_INVALID, "%zu", i);
        cr_assert_null(subscription);
    }
    /* The limits themselves are fine. */
    options = (struct quipu_subscription_options)QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.buffer_events = QUIPU_SUBSCRIPTION_EVENTS_MAX;
    options.name = "0000000000111111111122222222223333333333444444444455555555556666";
    subscription = subscribe(&kit, &options);
    quipu_subscription_close(&subscription);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ running */

struct counted {
    struct kit *kit;
    struct quipu_subscription *subscription;
    uint64_t seen;
    uint64_t fail_at;
    uint64_t done_at;
    uint64_t stop_at;
    uint64_t append_at; /* appends one itself */
};

static enum quipu_status count(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    struct counted *counted = ctx;
    if (event->position == counted->fail_at) {
        return quipu_error_set(err, QUIPU_INVALID, "cannot");
    }
    cr_assert_eq(event->position, ++counted->seen);
    if (event->position == counted->append_at) {
        kit_append(counted->kit, "own", 1);
    }
    if (event->position == counted->stop_at) {
        quipu_subscription_stop(counted->subscription);
    }
    return event->position == counted->done_at ? QUIPU_DONE : QUIPU_OK;
}

Test(subscription, runs_until_caught_up_stopped_or_done)
{
    struct kit kit;
    kit_open(&kit);
    for (int n = 0; n < 10; n++) {
        kit_append(&kit, "a", n);
    }
    struct quipu_subscription *subscription = subscribe(&kit, NULL);
    struct counted counted = {.kit = &kit,
                              .subscription = subscription,
                              .fail_at = 3,
                              .done_at = 5,
                              .stop_at = 7,
                              .append_at = 9};
    cr_assert_eq(quipu_subscription_run(subscription, QUIPU_RUN_ON, count, &counted, &kit.err),
                 QUIPU_INVALID);
    cr_assert_eq(counted.seen, 2);
    counted.fail_at = 0; /* the event that failed comes again */
    kit_assert_ok(&kit,
                  quipu_subscription_run(subscription, QUIPU_RUN_ON, count, &counted, &kit.err));
    cr_assert_eq(counted.seen, 5);
    kit_assert_ok(&kit,
                  quipu_subscription_run(subscription, QUIPU_RUN_ON, count, &counted, &kit.err));
    cr_assert_eq(counted.seen, 7);
    kit_assert_ok(
        &kit, quipu_subscription_run(subscription, QUIPU_RUN_CATCH_UP, count, &counted, &kit.err));
    cr_assert_eq(counted.seen, 11, "with the one that it appended itself");

    quipu_subscription_stop(subscription);
    kit_append(&kit, "a", 1);
    kit_assert_ok(&kit,
                  quipu_subscription_run(subscription, QUIPU_RUN_ON, count, &counted, &kit.err));
    cr_assert_eq(counted.seen, 11, "told to stop before it began");
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

static void *stop_it(void *subscription)
{
    quipu_subscription_stop(subscription);
    return NULL;
}

Test(subscription, stops_wherever_it_is)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct quipu_subscription *subscription = subscribe(&kit, NULL);
    struct counted counted = {.kit = &kit};
    for (int i = 0; i < 2000; i++) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, stop_it, subscription), 0);
        kit_assert_ok(
            &kit, quipu_subscription_run(subscription, QUIPU_RUN_ON, count, &counted, &kit.err));
        cr_assert_eq(pthread_join(thread, NULL), 0);
    }
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}
