/*
 * A projection that counts the events of each aggregate, for the tests of projections.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "counting_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum quipu_status count_up(struct quipu_rows *rows, struct quipu_slice key,
                                  struct quipu_error *err)
{
    struct quipu_slice value;
    char text[24];
    unsigned long count = 0;
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status == QUIPU_OK) {
        (void)snprintf(text, sizeof text, "%.*s", QUIPU_SLICE_FMT(value));
        count = strtoul(text, NULL, 10);
    } else if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    (void)snprintf(text, sizeof text, "%lu", count + 1);
    return quipu_rows_put(rows, key, quipu_slice_text(text), err);
}

static enum quipu_status count_event(void *ctx, struct quipu_rows *rows,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    struct counting *counting = ctx;
    counting->calls++;
    enum quipu_status status = count_up(rows, event->envelope.aggregate_id, err);
    if (status == QUIPU_OK && event->position == counting->poison) {
        status = count_up(rows, quipu_slice_text("poisoned"), err);
        if (status == QUIPU_OK) {
            status = quipu_rows_delete(rows, event->envelope.aggregate_id, err);
        }
        return counting->fail_with == QUIPU_DONE
                   ? QUIPU_DONE
                   : quipu_error_set(err, counting->fail_with, "poison");
    }
    return status;
}

struct quipu_projection counts(struct counting *counting)
{
    return (struct quipu_projection){
        .name = "counts", .version = 1, .apply = count_event, .ctx = counting};
}

static enum quipu_status row_text(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    (void)err;
    char *text = ctx;
    size_t used = strlen(text);
    cr_assert_lt(used, 900);
    (void)snprintf(text + used, 1000 - used, "%s%.*s=%.*s", used == 0 ? "" : " ",
                   QUIPU_SLICE_FMT(key), (int)value.len,
                   value.len == 0 ? "" : (const char *)value.data);
    return QUIPU_OK;
}

void counts_assert_rows(struct kit *kit, const char *name, const char *prefix, const char *expected)
{
    char text[1000] = {0};
    kit_assert_ok(kit, quipu_projection_each_row(kit->engine, name, quipu_slice_text(prefix),
                                                 row_text, text, &kit->err));
    cr_assert_str_eq(text, expected);
}

enum quipu_status counts_replay(struct kit *kit, struct counting *counting,
                                enum quipu_replay_mode mode, struct quipu_replay_report *report)
{
    struct quipu_projection projection = counts(counting);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.mode = mode;
    /* Slices of 10,000 events, however slow this machine is. */
    options.slice_events = 10000;
    options.slice_us = 60000000;
    return quipu_replay_with(kit->engine, &projection, &options, report, &kit->err);
}

void counts_park(struct kit *kit, struct counting *counting)
{
    *counting = (struct counting){.poison = 3, .fail_with = QUIPU_INVALID};
    kit_append_many(kit, 5);
    cr_assert_eq(counts_replay(kit, counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_INVALID);
    counting->calls = 0;
}

void kit_append_many(struct kit *kit, size_t count)
{
    struct quipu_event *events = calloc(count, sizeof *events);
    struct quipu_event one = kit_event(kit, "a", 1);
    for (size_t i = 0; i < count; i++) {
        events[i] = one;
    }
    kit_assert_ok(kit, quipu_append_batch(kit->engine, events, count, NULL, NULL, &kit->err));
    free(events);
}

struct act_at {
    struct kit *kit;
    counts_act_fn act;
};

static void act_at_twenty(void *ctx, const struct quipu_replay_progress *progress)
{
    struct act_at *at = ctx;
    if (progress->done == 20) {
        kit_assert_ok(at->kit, at->act(at->kit->engine, "counts", &at->kit->err));
    }
}

enum quipu_status counts_replay_until(struct kit *kit, struct counting *counting, counts_act_fn act)
{
    struct act_at at = {kit, act};
    struct quipu_projection projection = counts(counting);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    kit_append_many(kit, 50);
    options.slice_events = 10;
    options.slice_us = 60000000;
    options.progress = act_at_twenty;
    options.ctx = &at;
    return quipu_replay_with(kit->engine, &projection, &options, NULL, &kit->err);
}
