/*
 * Reading: views, filters in both directions, slices, snapshots.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "engine_kit.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(read, .init = setup, .fini = teardown);

/* Positions that were visited, as text: "1 3 5". */
struct seen {
    char text[4096];
    uint64_t count;
    uint64_t stop_after; /* 0: never */
    enum quipu_status stop_with;
};

static enum quipu_status see(void *ctx, const struct quipu_event_view *event,
                             struct quipu_error *err)
{
    struct seen *seen = ctx;
    size_t used = strlen(seen->text);
    if (used < sizeof seen->text - 24) {
        (void)snprintf(seen->text + used, sizeof seen->text - used, "%s%lu", used == 0 ? "" : " ",
                       (unsigned long)event->position);
    }
    cr_assert_eq(quipu_event_view_verify(event, err), QUIPU_OK);
    seen->count++;
    if (seen->count == seen->stop_after) {
        return seen->stop_with == QUIPU_DONE ? QUIPU_DONE
                                             : quipu_error_set(err, seen->stop_with, "enough");
    }
    return QUIPU_OK;
}

static void assert_seen(const struct quipu_filter *filter, const char *expected)
{
    struct seen seen = {.count = 0};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, filter, see, &seen, &kit.err));
    cr_assert_str_eq(seen.text, expected);
}

/* 1 a, 2 b, 3 a, 4 b, 5 a, 6 c(other), 7 a: types changed, odd ones share a correlation. */
static void fill(void)
{
    static const char *const ids[] = {"a", "b", "a", "b", "a", "c", "a"};
    for (size_t i = 0; i < 7; i++) {
        struct quipu_event event = kit_event(&kit, ids[i], (int)i);
        event.type = i % 3 == 0 ? "thing.changed" : "thing.renamed";
        event.aggregate.type = i == 5 ? "other" : "thing";
        event.correlation_id = i % 2 == 0 ? kit_uuid(1) : kit_uuid(2);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
}

Test(read, visits_all_oldest_first_or_newest_first)
{
    fill();
    struct quipu_filter filter = {0};
    assert_seen(NULL, "1 2 3 4 5 6 7");
    assert_seen(&filter, "1 2 3 4 5 6 7");
    filter.direction = QUIPU_BACKWARDS;
    assert_seen(&filter, "7 6 5 4 3 2 1");
}

Test(read, visits_nothing_in_an_empty_store)
{
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "a"};
    assert_seen(NULL, "");
    assert_seen(&filter, "");
}

Test(read, holds_to_after_until_and_limit)
{
    fill();
    static const struct {
        uint64_t after, until, limit;
        const char *forwards, *backwards;
    } table[] = {
        {2, 0, 0, "3 4 5 6 7", "7 6 5 4 3"},
        {0, 3, 0, "1 2 3", "3 2 1"},
        {2, 4, 0, "3 4", "4 3"},
        {0, 0, 2, "1 2", "7 6"},
        {2, 6, 3, "3 4 5", "6 5 4"},
        {7, 0, 0, "", ""},
        {99, 0, 0, "", ""},
        {0, 99, 0, "1 2 3 4 5 6 7", "7 6 5 4 3 2 1"},
        {4, 4, 0, "", ""},
        {5, 4, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct quipu_filter filter = {
            .after = table[i].after, .until = table[i].until, .limit = table[i].limit};
        assert_seen(&filter, table[i].forwards);
        filter.direction = QUIPU_BACKWARDS;
        assert_seen(&filter, table[i].backwards);
    }
}

Test(read, follows_one_aggregate)
{
    fill();
    static const struct {
        uint64_t after, until, limit;
        const char *forwards, *backwards;
    } table[] = {
        {0, 0, 0, "1 3 5 7", "7 5 3 1"}, {1, 0, 0, "3 5 7", "7 5 3"}, {2, 6, 0, "3 5", "5 3"},
        {0, 0, 2, "1 3", "7 5"},         {1, 5, 1, "3", "5"},         {7, 0, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct quipu_filter filter = {.after = table[i].after,
                                      .until = table[i].until,
                                      .limit = table[i].limit,
                                      .aggregate_type = "thing",
                                      .aggregate_id = "a"};
        assert_seen(&filter, table[i].forwards);
        filter.direction = QUIPU_BACKWARDS;
        assert_seen(&filter, table[i].backwards);
    }
    struct quipu_filter other = {.aggregate_type = "other", .aggregate_id = "a"};
    assert_seen(&other, "");
}

Test(read, filters_by_types_and_correlation)
{
    fill();
    struct quipu_filter filter = {.event_type = "thing.changed"};
    assert_seen(&filter, "1 4 7");
    filter.direction = QUIPU_BACKWARDS;
    assert_seen(&filter, "7 4 1");
    filter = (struct quipu_filter){.aggregate_type = "other"};
    assert_seen(&filter, "6");
    filter = (struct quipu_filter){.correlation_id = kit_uuid(2)};
    assert_seen(&filter, "2 4 6");
    filter.event_type = "thing.changed";
    assert_seen(&filter, "4");
    filter = (struct quipu_filter){
        .aggregate_type = "thing", .aggregate_id = "a", .event_type = "thing.renamed", .limit = 1};
    assert_seen(&filter, "3");
    filter.direction = QUIPU_BACKWARDS;
    assert_seen(&filter, "5");
}

Test(read, holds_to_after_until_and_limit_among_events_of_a_type_or_correlation)
{
    fill();
    static const struct {
        uint64_t after, until, limit;
        const char *of_type[2], *of_correlation[2];
    } table[] = {
        {0, 0, 0, {"1 4 7", "7 4 1"}, {"1 3 5 7", "7 5 3 1"}},
        {1, 0, 0, {"4 7", "7 4"}, {"3 5 7", "7 5 3"}},
        {0, 6, 0, {"1 4", "4 1"}, {"1 3 5", "5 3 1"}},
        {0, 4, 1, {"1", "4"}, {"1", "3"}},
        {1, 3, 0, {"", ""}, {"3", "3"}},
        {7, 0, 0, {"", ""}, {"", ""}},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (int direction = 0; direction < 2; direction++) {
            struct quipu_filter filter = {
                .after = table[i].after, .until = table[i].until, .limit = table[i].limit};
            filter.direction = direction == 0 ? QUIPU_FORWARDS : QUIPU_BACKWARDS;
            filter.event_type = "thing.changed";
            assert_seen(&filter, table[i].of_type[direction]);
            filter.event_type = NULL;
            filter.correlation_id = kit_uuid(1);
            assert_seen(&filter, table[i].of_correlation[direction]);
        }
    }
    struct quipu_filter none = {.event_type = "thing.unheard_of"};
    assert_seen(&none, "");
    none = (struct quipu_filter){.correlation_id = kit_uuid(99)};
    assert_seen(&none, "");
    none = (struct quipu_filter){.aggregate_type = "other", .event_type = "thing.changed"};
    assert_seen(&none, "");
}

Test(read, refuses_an_aggregate_id_without_its_type_and_a_version_without_both)
{
    struct quipu_filter filter = {.aggregate_id = "a"};
    struct seen seen = {.count = 0};
    cr_assert_eq(quipu_each_event(kit.engine, &filter, see, &seen, &kit.err), QUIPU_INVALID);
    filter = (struct quipu_filter){.aggregate_type = "thing", .from_version = 1};
    cr_assert_eq(quipu_each_event(kit.engine, &filter, see, &seen, &kit.err), QUIPU_INVALID);
}

Test(read, ends_as_the_visitor_says)
{
    fill();
    struct seen seen = {.stop_after = 3, .stop_with = QUIPU_DONE};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, see, &seen, &kit.err));
    cr_assert_str_eq(seen.text, "1 2 3");

    seen = (struct seen){.stop_after = 2, .stop_with = QUIPU_STOPPED};
    cr_assert_eq(quipu_each_event(kit.engine, NULL, see, &seen, &kit.err), QUIPU_STOPPED);
    cr_assert_str_eq(kit.err.message, "enough");
    cr_assert_str_eq(seen.text, "1 2");
}

static enum quipu_status append_more(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)err;
    uint64_t *count = ctx;
    cr_assert_leq(event->position, 7);
    /* Through an engine of its own: the same one is not allowed in here. */
    struct quipu_engine *other = NULL;
    struct quipu_event more = kit_event(&kit, "a", 9);
    kit_assert_ok(&kit, quipu_engine_open(kit.store, NULL, &other, &kit.err));
    kit_assert_ok(&kit, quipu_append(other, &more, NULL, &kit.err));
    quipu_engine_close(&other);
    ++*count;
    return QUIPU_OK;
}

Test(read, sees_the_log_as_it_was_at_the_moment_of_the_call)
{
    fill();
    uint64_t count = 0;
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "a"};

    kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, append_more, &count, &kit.err));
    cr_assert_eq(count, 7);
    filter.until = 7;
    count = 0;
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, append_more, &count, &kit.err));
    cr_assert_eq(count, 4);
}

struct order {
    uint64_t last;
    uint64_t count;
    uint64_t step;
};

static enum quipu_status check_order(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)err;
    struct order *order = ctx;
    cr_assert_eq(event->position, order->last + order->step);
    order->last = event->position;
    order->count++;
    return QUIPU_OK;
}

Test(read, misses_nothing_over_many_slices)
{
    enum { COUNT = 30000 };
    struct quipu_event *events = calloc(COUNT, sizeof *events);
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = kit_event(&kit, i % 2 == 0 ? "even" : "odd", 1);
        events[i].payload = events[0].payload;
    }
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, NULL, NULL, &kit.err));
    free(events);

    struct order order = {0, 0, 1};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, check_order, &order, &kit.err));
    cr_assert_eq(order.count, COUNT);
    struct quipu_filter filter = {.direction = QUIPU_BACKWARDS};
    order = (struct order){COUNT + 1, 0, (uint64_t)-1};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, check_order, &order, &kit.err));
    cr_assert_eq(order.count, COUNT);
    filter = (struct quipu_filter){.aggregate_type = "thing", .aggregate_id = "odd"};
    order = (struct order){0, 0, 2};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, check_order, &order, &kit.err));
    cr_assert_eq(order.count, COUNT / 2);
    filter.direction = QUIPU_BACKWARDS;
    order = (struct order){COUNT + 2, 0, (uint64_t)-2};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, check_order, &order, &kit.err));
    cr_assert_eq(order.count, COUNT / 2);
}

Test(read, walks_an_aggregate_from_a_version_on)
{
    fill();
    static const struct {
        uint64_t from, after, until, limit;
        const char *forwards, *backwards;
    } table[] = {
        {0, 0, 0, 0, "1 3 5 7", "7 5 3 1"},
        {1, 0, 0, 0, "1 3 5 7", "7 5 3 1"},
        {2, 0, 0, 0, "3 5 7", "7 5 3"},
        {4, 0, 0, 0, "7", "7"},
        {5, 0, 0, 0, "", ""},
        {2, 3, 0, 0, "5 7", "7 5"},
        {2, 0, 6, 0, "3 5", "5 3"},
        {3, 1, 0, 1, "5", "7"},
        {UINT64_MAX, 0, 0, 0, "", ""},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct quipu_filter filter = {.after = table[i].after,
                                      .until = table[i].until,
                                      .limit = table[i].limit,
                                      .aggregate_type = "thing",
                                      .aggregate_id = "a",
                                      .from_version = table[i].from};
        assert_seen(&filter, table[i].forwards);
        filter.direction = QUIPU_BACKWARDS;
        assert_seen(&filter, table[i].backwards);
    }
    struct quipu_filter both = {.aggregate_type = "thing",
                                .aggregate_id = "a",
                                .from_version = 2,
                                .event_type = "thing.changed"};
    assert_seen(&both, "7");
}

Test(read, walks_a_long_aggregate_with_a_limit)
{
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "odd"};
    for (size_t i = 0; i < 2000; i++) {
        struct quipu_event event = kit_event(&kit, i % 2 == 0 ? "even" : "odd", 1);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
    for (uint64_t limit = 0; limit <= 1001; limit += 77) {
        struct order order = {0, 0, 2};
        filter.limit = limit;
        kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, check_order, &order, &kit.err));
        cr_assert_eq(order.count, limit == 0 || limit > 1000 ? 1000 : limit);
    }
}

/* ------------------------------------------------------------------ views */

Test(read, notices_a_block_that_does_not_hash)
{
    kit_append(&kit, "a", 1);
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view view;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, 1, &record, &kit.err));
    kit_assert_ok(&kit, quipu_event_view_of(&record, &view, &kit.err));
    kit_assert_ok(&kit, quipu_event_view_verify(&view, &kit.err));

    uint8_t payload[64];
    memcpy(payload, view.payload.data, view.payload.len);
    payload[3] ^= 1;
    view.payload.data = payload;
    cr_assert_eq(quipu_event_view_verify(&view, &kit.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "position 1: the payload"), "%s", kit.err.message);

    view.payload = record.payload;
    view.envelope_block = record.payload;
    cr_assert_eq(quipu_event_view_verify(&view, &kit.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "position 1: the envelope"), "%s", kit.err.message);
    quipu_txn_abort(&txn);
}

Test(read, notices_a_record_whose_envelope_is_of_another_event)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_record other;
    struct quipu_event_view view;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, 1, &record, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, 2, &other, &kit.err));

    record.envelope = other.envelope;
    cr_assert_eq(quipu_event_view_of(&record, &view, &kit.err), QUIPU_CORRUPT);
    record.envelope = other.payload;
    cr_assert_eq(quipu_event_view_of(&record, &view, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(kit.err.status, QUIPU_CORRUPT);
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ opening */

Test(read, refuses_an_engine_without_a_store_or_with_strange_options)
{
    struct quipu_engine *engine = NULL;
    struct quipu_engine_options options = {.size = 3};
    cr_assert_eq(quipu_engine_open(NULL, NULL, &engine, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_engine_open(kit.store, &options, &engine, &kit.err), QUIPU_MISUSE);
    cr_assert_null(engine);
    cr_assert_eq(quipu_engine_store(kit.engine), kit.store);
    quipu_engine_close(&engine);
}
