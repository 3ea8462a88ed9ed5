/*
 * Memory: a warm append allocates nothing, and whichever allocation fails, the call says so and
 * leaves the store as it was.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alloc_kit.h"
#include "engine_kit.h"

static struct alloc_kit counter;
static struct kit kit;

static void setup(void)
{
    alloc_kit_open(&counter, &kit);
}

static void teardown(void)
{
    alloc_kit_close(&counter, &kit);
}

TestSuite(engine_memory, .init = setup, .fini = teardown);

Test(engine_memory, is_not_asked_for_by_a_warm_append)
{
    struct quipu_event events[20];
    struct quipu_slice payload = kit_block(&kit, "{\"n\":1}");
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 20; i++) {
            events[i] = kit_event(&kit, i % 2 == 0 ? "a" : "b", 1);
            events[i].payload = payload;
        }
        counter.calls = 0;
        for (size_t count = 20; count > 0; count -= 1) {
            kit_assert_ok(&kit,
                          quipu_append_batch(kit.engine, events, count, NULL, NULL, &kit.err));
        }
        if (round > 0) {
            cr_assert_eq(counter.calls, 0, "%lu allocations", (unsigned long)counter.calls);
        }
    }
}

/* ------------------------------------------------------------------ sweeps */

/* Something to do; whatever it needs is there already. */
typedef enum quipu_status (*operation_fn)(void);

/* Let every allocation of `operation` fail once, each in a fresh engine; `undo_check` tells whether
 * the store is as it was. */
static void sweep(operation_fn operation, void (*check_unchanged)(void))
{
    for (uint64_t n = 1;; n++) {
        kit_reopen(&kit);
        counter.calls = 0;
        counter.fail_at = n;
        enum quipu_status status = operation();
        bool was_reached = counter.calls >= n;
        counter.fail_at = 0;
        if (!was_reached) {
            cr_assert_eq(status, QUIPU_OK, "%s", kit.err.message);
            cr_assert_gt(n, 1, "it allocates something");
            return;
        }
        if (status == QUIPU_OK) {
            continue; /* it could do without */
        }
        cr_assert_eq(status, QUIPU_NO_MEMORY, "allocation %lu: %s: %s", (unsigned long)n,
                     quipu_status_name(status), kit.err.message);
        check_unchanged();
    }
}

static uint64_t events_before;

static void log_is_unchanged(void)
{
    kit_assert_sound(&kit, events_before);
}

static struct quipu_event fifty[50];

static enum quipu_status append_fifty(void)
{
    size_t failed = 0;
    enum quipu_status status = quipu_append_batch(kit.engine, fifty, 50, NULL, &failed, &kit.err);
    if (status == QUIPU_OK) {
        events_before = 51;
    } else {
        cr_assert_eq(failed, 50, "no event's fault");
    }
    return status;
}

Test(engine_memory, may_run_out_anywhere_in_an_append)
{
    kit_append(&kit, "first", 1);
    events_before = 1;
    for (size_t i = 0; i < 50; i++) {
        fifty[i] = kit_event(&kit, "a", 1);
        fifty[i].event_id = kit_uuid((uint8_t)(i + 1));
        fifty[i].payload = quipu_slice("\x01", 1);
    }
    sweep(append_fifty, log_is_unchanged);
    kit_assert_sound(&kit, 51);
}

static struct kit_foreign foreigners[40];

static enum quipu_status ingest_all(void)
{
    struct quipu_ingest *ingest = NULL;
    enum quipu_status status =
        quipu_ingest_begin(kit.engine, QUIPU_INGEST_QUARANTINE, &ingest, &kit.err);
    for (size_t i = 0; status == QUIPU_OK && i < 40; i++) {
        foreigners[i].foreign.stream = quipu_slice_text("EVENTS");
        foreigners[i].foreign.sequence = i + 1;
        status = quipu_ingest_event(ingest, &foreigners[i].foreign, NULL, &kit.err);
    }
    if (status == QUIPU_OK) {
        return quipu_ingest_commit(&ingest, NULL, &kit.err);
    }
    quipu_ingest_abort(&ingest);
    return status;
}

Test(engine_memory, may_run_out_anywhere_in_an_ingest)
{
    struct kit theirs;
    kit_open(&theirs);
    for (uint64_t i = 0; i < 40; i++) {
        kit_append(&theirs, "a", (int)i);
        kit_foreign_copy(&theirs, i + 1, &foreigners[i]);
    }
    foreigners[39].payload.data[0] ^= 1; /* this one goes to quarantine */
    events_before = 0;
    sweep(ingest_all, log_is_unchanged);
    kit_assert_sound(&kit, 39);
    for (size_t i = 0; i < 40; i++) {
        kit_foreign_release(&foreigners[i]);
    }
    kit_close(&theirs);
}

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        kit_append(&kit, i % 2 == 0 ? "a" : "b", i);
    }
    events_before = (uint64_t)count;
}

static enum quipu_status ack_all(void)
{
    struct quipu_ack acks[30];
    for (uint64_t i = 0; i < 30; i++) {
        acks[i] = (struct quipu_ack){i + 1, i + 1, false, 0};
    }
    return quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), acks, 30, &kit.err);
}

static void nothing_is_published(void)
{
    struct quipu_outbox_status status;
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    cr_assert_eq(status.published, 0);
    kit_assert_sound(&kit, events_before);
}

Test(engine_memory, may_run_out_anywhere_in_an_acknowledgement)
{
    fill(30);
    sweep(ack_all, nothing_is_published);
    kit_assert_sound(&kit, 30);
}

static enum quipu_status put_row(void *ctx, struct quipu_rows *rows,
                                 const struct quipu_event_view *event, struct quipu_error *err)
{
    char key[32];
    (void)ctx;
    (void)snprintf(key, sizeof key, "row-%lu", (unsigned long)event->position);
    return quipu_rows_put(rows, quipu_slice_text(key), quipu_slice_text(key), err);
}

static enum quipu_status rebuild(void)
{
    struct quipu_projection projection = {.name = "rows", .version = 1, .apply = put_row};
    struct quipu_replay_report report;
    return quipu_replay(kit.engine, &projection, QUIPU_REPLAY_REBUILD, &report, &kit.err);
}

static enum quipu_status count_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *err)
{
    (void)key;
    (void)value;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

static void rows_are_whole(void)
{
    uint64_t rows = 0;
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "rows", quipu_slice(NULL, 0),
                                                  count_row, &rows, &kit.err));
    cr_assert_eq(rows, events_before);
    kit_assert_sound(&kit, events_before);
}

Test(engine_memory, may_run_out_anywhere_in_a_rebuild)
{
    fill(60);
    kit_assert_ok(&kit, rebuild());
    sweep(rebuild, rows_are_whole);
    rows_are_whole();
}

static enum quipu_status count_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

static enum quipu_status read_aggregate(void)
{
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "a"};
    uint64_t count = 0;
    enum quipu_status status = quipu_each_event(kit.engine, &filter, count_event, &count, &kit.err);
    if (status == QUIPU_OK) {
        cr_assert_eq(count, 20);
    }
    return status;
}

static enum quipu_status verify_all(void)
{
    return quipu_verify(kit.engine, NULL, NULL, &kit.err);
}

Test(engine_memory, may_run_out_anywhere_in_reading)
{
    fill(40);
    sweep(read_aggregate, log_is_unchanged);
    sweep(verify_all, log_is_unchanged);
}

static enum quipu_status read_line(void)
{
    struct quipu_event_arena arena = {0};
    struct quipu_event event;
    enum quipu_status status = quipu_event_from_json(
        quipu_slice_text("{\"aggregate_type\":\"key\",\"aggregate_id\":\"root\",\"event_type\":"
                         "\"key.made\",\"payload\":{\"b\":[1,2,{\"c\":\"d\"}],\"a\":null}}"),
        &arena, &event, &kit.err);
    quipu_event_arena_release(&arena);
    return status;
}

Test(engine_memory, may_run_out_anywhere_in_reading_a_line)
{
    events_before = 0;
    sweep(read_line, log_is_unchanged);
}

Test(engine_memory, may_run_out_when_an_engine_is_opened)
{
    for (uint64_t n = 1;; n++) {
        struct quipu_engine *engine = NULL;
        counter.calls = 0;
        counter.fail_at = n;
        enum quipu_status status = quipu_engine_open(kit.store, NULL, &engine, &kit.err);
        counter.fail_at = 0;
        if (status == QUIPU_OK) {
            quipu_engine_close(&engine);
            cr_assert_eq(n, 3);
            return;
        }
        cr_assert_eq(status, QUIPU_NO_MEMORY);
        cr_assert_null(engine);
    }
}
