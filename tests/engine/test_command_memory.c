/*
 * Memory: whichever allocation of a registry, a chain of upcasters, a load or a command fails, the
 * call says so, nothing leaks, and the next one works.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "after_test.h"
#include "alloc_kit.h"
#include "command_kit.h"
#include "quipu/types.h"
#include "quipu/upcast.h"

static struct alloc_kit counter;
static struct kit kit;
static struct tally_ctx calls;
static struct quipu_error err;

static void setup(void)
{
    alloc_kit_open(&counter, &kit);
}

static void teardown(void)
{
    alloc_kit_close(&counter, &kit);
    after_test_require(calls.live == 0, "every state is destroyed");
}

TestSuite(command_memory, .init = setup, .fini = teardown);

/* Let every allocation of `operation` fail once. A snapshot that could not be written for want of
 * memory is no failure, so QUIPU_OK may come although one failed. */
static void sweep(enum quipu_status (*operation)(void))
{
    uint64_t failures = 0;
    for (uint64_t n = 1;; n++) {
        int64_t live = counter.live;
        counter.calls = 0;
        counter.fail_at = n;
        enum quipu_status status = operation();
        bool was_reached = counter.calls >= n;
        counter.fail_at = 0;
        if (!was_reached) {
            cr_assert_eq(status, QUIPU_OK, "%s", err.message);
            cr_assert_gt(failures, 0, "it allocates something");
            return;
        }
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "allocation %lu: %s: %s",
                  (unsigned long)n, quipu_status_name(status), err.message);
        cr_assert_eq(calls.live, 0);
        cr_assert(status == QUIPU_OK || counter.live <= live + 2,
                  "allocation %lu leaves %ld blocks", (unsigned long)n,
                  (long)(counter.live - live));
        failures += status != QUIPU_OK;
    }
}

static enum quipu_status build_and_read(void)
{
    static const struct quipu_field item = {.kind = QUIPU_FIELD_TEXT};
    static const struct quipu_field fields[] = {
        {.name = "a", .kind = QUIPU_FIELD_LIST, .items = &item},
        {.name = "b", .kind = QUIPU_FIELD_UUID, .is_optional = true},
    };
    static const struct quipu_type type = {
        .name = "t.e",
        .schema = 1,
        .aggregate_type = "g",
        .payload = {.kind = QUIPU_FIELD_MAP, QUIPU_FIELDS(fields)}};
    struct quipu_types *made = NULL;
    struct quipu_types *read = NULL;
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_types_new(QUIPU_TYPES_STRICT, &made, &err);
    if (status == QUIPU_OK) {
        status = quipu_types_declare(made, &type, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_types_encode(made, &block, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_types_decode(quipu_buf_slice(&block), &read, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_types_merge(read, made, &err);
    }
    quipu_types_free(made);
    quipu_types_free(read);
    quipu_buf_release(&block);
    return status;
}

Test(command_memory, is_told_by_a_registry)
{
    sweep(build_and_read);
}

static enum quipu_status make(void *ctx, const struct quipu_event_view *event,
                              struct quipu_buf *payload, struct quipu_error *why)
{
    (void)ctx;
    (void)why;
    quipu_buf_append_slice(payload, event->payload);
    return QUIPU_OK; /* the buffer keeps its own failure */
}

static enum quipu_status chain_and_upcast(void)
{
    const struct quipu_upcaster steps[] = {{"thing.changed", 1, make, NULL},
                                           {"thing.changed", 2, make, NULL}};
    static const uint8_t null_block[] = {0xf6};
    struct quipu_upcasts *upcasts = NULL;
    enum quipu_status status = quipu_upcasts_new(steps, 2, NULL, 0, &upcasts, &err);
    struct quipu_upcasting upcasting = {.upcasts = upcasts};
    if (status == QUIPU_OK) {
        struct quipu_event_view view = {
            .envelope = {.event_type = quipu_slice_text("thing.changed"), .schema = 1},
            .payload = quipu_slice(null_block, 1)};
        status = quipu_upcast(&upcasting, &view, &err);
    }
    quipu_upcasting_release(&upcasting);
    quipu_upcasts_free(upcasts);
    return status;
}

Test(command_memory, is_told_by_upcasters)
{
    sweep(chain_and_upcast);
}

static enum quipu_status add_five(void)
{
    static struct quipu_aggregate_kind kind;
    static struct add_command add;
    kind = tally_kind(&calls, 3);
    add = (struct add_command){.kit = &kit, .value = 1, .events = 5};
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &kind;
    command.aggregate_id = "a";
    command.decide = decide_add;
    command.ctx = &add;
    return quipu_command_run(kit.engine, &command, NULL, &err);
}

Test(command_memory, is_told_by_a_command)
{
    kit_append(&kit, "a", 1);
    sweep(add_five);
    kit_reopen(&kit);
    uint64_t events = tally_from_log(&kit, "a").events;
    cr_assert_eq(events % 5, 1, "all five or none, each time");
    kit_assert_sound(&kit, events);
}
