/*
 * Projections: rows, catching up, failures in a handler, digests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counting_kit.h"
#include "internal/bytes.h"
#include "rows.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(projection, .init = setup, .fini = teardown);

/* The digest as SPEC §7 says, from rows that are given as key, value, key, value… in order. */
static void expected_digest(const char *name, uint64_t version, uint64_t position,
                            const char *const *rows, size_t count,
                            uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    uint8_t number[8];
    const char *heads[] = {"quipu projection 1", name};
    for (size_t i = 0; i < 2; i++) {
        quipu_store_be64(number, strlen(heads[i]));
        quipu_buf_append(&bytes, number, 8);
        quipu_buf_append_text(&bytes, heads[i]);
    }
    quipu_store_be64(number, version);
    quipu_buf_append(&bytes, number, 8);
    quipu_store_be64(number, position);
    quipu_buf_append(&bytes, number, 8);
    for (size_t i = 0; i < 2 * count; i++) {
        quipu_store_be64(number, strlen(rows[i]));
        quipu_buf_append(&bytes, number, 8);
        quipu_buf_append_text(&bytes, rows[i]);
    }
    quipu_sha256(quipu_buf_slice(&bytes), digest);
    quipu_buf_release(&bytes);
}

static enum quipu_status stop_after_one(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                        struct quipu_error *err)
{
    (void)key;
    (void)value;
    (void)err;
    ++*(int *)ctx;
    return QUIPU_DONE;
}

/* ------------------------------------------------------------------ catching up */

Test(projection, turns_history_into_rows_and_goes_on_from_its_checkpoint)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    kit_append(&kit, "b", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "b", 3);

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 3);
    cr_assert_eq(report.position, 3);
    cr_assert_eq(report.rows, 2);
    counts_assert_rows(&kit, "counts", "", "a=1 b=2");

    kit_append(&kit, "c", 4);
    kit_reopen(&kit);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 1);
    cr_assert_eq(report.position, 4);
    cr_assert_eq(report.rows, 3);
    counts_assert_rows(&kit, "counts", "", "a=1 b=2 c=1");
    cr_assert_eq(counting.calls, 4);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 0);
    cr_assert_eq(report.rows, 3);
    kit_assert_sound(&kit, 4);
}

Test(projection, is_there_and_empty_over_an_empty_log)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    int visits = 0;
    cr_assert_eq(quipu_projection_each_row(kit.engine, "counts", quipu_slice(NULL, 0),
                                           stop_after_one, &visits, &kit.err),
                 QUIPU_NOT_FOUND);

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));

    cr_assert_eq(report.position, 0);
    cr_assert_eq(report.rows, 0);
    counts_assert_rows(&kit, "counts", "", "");
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL));
    counts_assert_rows(&kit, "counts", "", "");
}

Test(projection, reports_the_digest_of_the_specification)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    uint8_t digest[QUIPU_SHA256_BYTES];
    static const char *const rows[] = {"a", "1", "b", "2"};
    kit_append(&kit, "b", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "b", 3);

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));

    expected_digest("counts", 1, 3, rows, 2, digest);
    cr_assert(memcmp(report.digest, digest, sizeof digest) == 0);
    uint8_t before[QUIPU_SHA256_BYTES];
    memcpy(before, report.digest, sizeof before);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, &report));
    cr_assert(memcmp(report.digest, before, sizeof before) == 0, "a rebuild gives the same");
    kit_append(&kit, "c", 4);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert(memcmp(report.digest, before, sizeof before) != 0);
}

Test(projection, shows_rows_by_prefix_until_the_visitor_stops)
{
    struct counting counting = {0};
    int visits = 0;
    kit_append(&kit, "key-1", 1);
    kit_append(&kit, "key-2", 2);
    kit_append(&kit, "other", 3);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));

    counts_assert_rows(&kit, "counts", "key-", "key-1=1 key-2=1");
    counts_assert_rows(&kit, "counts", "z", "");
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "counts", quipu_slice(NULL, 0),
                                                  stop_after_one, &visits, &kit.err));
    cr_assert_eq(visits, 1);
}

Test(projection, refuses_what_is_no_projection)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    char name[QUIPU_PROJECTION_NAME_BYTES_MAX + 2];
    static const char *const names[] = {NULL, "", "A", "a.b", "a b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        projection.name = names[i];
        cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                     QUIPU_INVALID);
    }
    for (int over = -1; over <= 1; over++) {
        size_t len = (size_t)(QUIPU_PROJECTION_NAME_BYTES_MAX + over);
        memset(name, 'n', len);
        name[len] = 0;
        projection.name = name;
        cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                     over > 0 ? QUIPU_INVALID : QUIPU_OK);
    }
    projection = counts(&counting);
    projection.version = 0;
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
    projection = counts(&counting);
    projection.apply = NULL;
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
}

/* ------------------------------------------------------------------ rows */

static enum quipu_status exercise_rows(void *ctx, struct quipu_rows *rows,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    (void)event;
    static uint8_t large[QUIPU_ROW_VALUE_BYTES_MAX + 1];
    static uint8_t key[QUIPU_TABLE_KEY_BYTES_MAX + 1];
    struct quipu_slice value;
    struct quipu_slice a = quipu_slice_text("a");
    ++*(int *)ctx;
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_put(rows, a, quipu_slice_text("1"), err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_OK);
    cr_assert(quipu_slice_equal(value, quipu_slice_text("1")));
    cr_assert_eq(quipu_rows_put(rows, a, quipu_slice(NULL, 0), err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_OK);
    cr_assert_eq(value.len, 0);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_NOT_FOUND);
    struct quipu_slice none = quipu_slice(NULL, 0);
    cr_assert_eq(quipu_rows_put(rows, none, a, err), QUIPU_INVALID);
    for (int over = -1; over <= 1; over++) {
        struct quipu_slice long_key = quipu_slice(key, (size_t)(QUIPU_TABLE_KEY_BYTES_MAX + over));
        struct quipu_slice long_value =
            quipu_slice(large, (size_t)((int)QUIPU_ROW_VALUE_BYTES_MAX + over));
        enum quipu_status expected = over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK;
        cr_assert_eq(quipu_rows_put(rows, long_key, none, err), expected);
        cr_assert_eq(quipu_rows_get(rows, long_key, &value, err), expected);
        cr_assert_eq(quipu_rows_put(rows, a, long_value, err), expected);
        if (over <= 0) {
            cr_assert_eq(quipu_rows_delete(rows, long_key, err), QUIPU_OK);
        }
    }
    return quipu_rows_delete(rows, a, err);
}

Test(projection, reads_its_own_writes_and_holds_rows_to_their_limits)
{
    int calls = 0;
    struct quipu_projection projection = {
        .name = "rows", .version = 1, .apply = exercise_rows, .ctx = &calls};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(calls, 2);
    counts_assert_rows(&kit, "rows", "", "");
}

/* Puts, gets and deletes of few keys, driven by position, checked against an array. */
enum { MODEL_KEYS = 97 };

struct rows_model {
    uint64_t values[MODEL_KEYS]; /* 0: absent */
    uint64_t state;
};

static enum quipu_status random_change(void *ctx, struct quipu_rows *rows,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct rows_model *model = ctx;
    for (int i = 0; i < 4; i++) {
        uint64_t random = kit_random(&model->state);
        uint64_t key = random % MODEL_KEYS;
        char name[16];
        struct quipu_slice value;
        (void)snprintf(name, sizeof name, "k%02lu", (unsigned long)key);
        enum quipu_status found = quipu_rows_get(rows, quipu_slice_text(name), &value, err);
        cr_assert_eq(found, model->values[key] == 0 ? QUIPU_NOT_FOUND : QUIPU_OK);
        cr_assert(found != QUIPU_OK ||
                  (value.len == 8 && quipu_load_be64(value.data) == model->values[key]));
        if (random >> 60 < 5) {
            cr_assert_eq(quipu_rows_delete(rows, quipu_slice_text(name), err), found);
            model->values[key] = 0;
        } else {
            uint8_t bytes[8];
            model->values[key] = event->position * 4 + (uint64_t)i;
            quipu_store_be64(bytes, model->values[key]);
            cr_assert_eq(quipu_rows_put(rows, quipu_slice_text(name), quipu_slice(bytes, 8), err),
                         QUIPU_OK);
        }
    }
    return QUIPU_OK;
}

static enum quipu_status compare_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                     struct quipu_error *err)
{
    (void)err;
    struct rows_model *model = ctx;
    unsigned at = (unsigned)(key.data[1] - '0') * 10 + (unsigned)(key.data[2] - '0');
    cr_assert_eq(value.len, 8);
    cr_assert_eq(quipu_load_be64(value.data), model->values[at]);
    model->values[at] = 0;
    return QUIPU_OK;
}

Test(projection, agrees_with_a_model_over_random_changes_and_slices)
{
    struct rows_model model = {.state = 3};
    struct quipu_projection projection = {
        .name = "model", .version = 1, .apply = random_change, .ctx = &model};
    static const size_t pieces[] = {1, 5, 100, 12000, 3};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        kit_append_many(&kit, pieces[i]);
        kit_assert_ok(&kit,
                      quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    }
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "model", quipu_slice(NULL, 0),
                                                  compare_row, &model, &kit.err));
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        cr_assert_eq(model.values[i], 0, "row %zu is missing", i);
    }
}

static enum quipu_status put_much(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    static uint8_t value[QUIPU_ROW_VALUE_BYTES_MAX];
    uint8_t key[8];
    quipu_store_be64(key, event->position);
    cr_assert_leq(rows->bytes, ROWS_CHANGES_BYTES_MAX);
    return quipu_rows_put(rows, quipu_slice(key, 8), quipu_slice(value, sizeof value), err);
}

Test(projection, writes_before_its_changes_take_much_memory)
{
    struct quipu_projection projection = {.name = "much", .version = 1, .apply = put_much};
    struct quipu_replay_report report;
    kit_append_many(&kit, 50);
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert_eq(report.rows, 50);
}

/* ------------------------------------------------------------------ failures */

Test(projection, stops_in_front_of_the_event_that_fails_and_keeps_the_ones_before)
{
    struct counting counting = {.poison = 3, .fail_with = QUIPU_INVALID};
    struct quipu_replay_report report = {.applied = 99};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "a", 3);
    kit_append(&kit, "b", 4);

    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report), QUIPU_INVALID);

    cr_assert_not_null(strstr(kit.err.message, "position 3"), "%s", kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "poison"), "%s", kit.err.message);
    cr_assert_eq(report.applied, 99, "untouched");
    counts_assert_rows(&kit, "counts", "", "a=2");
}

Test(projection, calls_a_handler_that_ends_the_walk_misuse)
{
    struct counting counting = {.poison = 2, .fail_with = QUIPU_DONE};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_MISUSE);
    counts_assert_rows(&kit, "counts", "", "a=1");
}

Test(projection, is_tried_again_where_the_failure_was_not_the_events)
{
    static const enum quipu_status passing[] = {QUIPU_STOPPED,  QUIPU_BUSY,     QUIPU_NO_MEMORY,
                                                QUIPU_IO,       QUIPU_NO_SPACE, QUIPU_PERMISSION,
                                                QUIPU_NO_RANDOM};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    for (size_t i = 0; i < sizeof passing / sizeof passing[0]; i++) {
        struct counting counting = {.poison = 2, .fail_with = passing[i]};
        cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), passing[i]);
        counts_assert_rows(&kit, "counts", "", "a=1");
    }
    struct counting counting = {0};
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    cr_assert_eq(counting.calls, 1);
    counts_assert_rows(&kit, "counts", "", "a=2");
}

/* ------------------------------------------------------------------ filters, upcasting */

Test(projection, gets_only_events_of_its_types_and_moves_over_the_others)
{
    static const char *const types[] = {"thing.changed", "thing.made", NULL};
    static const char *const aggregates[] = {"thing", NULL};
    static const char *const nothing[] = {NULL};
    static const char *const part_of_a_type[] = {"thing", "thing.change", "thing.changed.x", NULL};
    static const struct {
        const char *const *event_types;
        const char *const *aggregate_types;
        uint64_t calls;
    } filters[] = {
        {NULL, NULL, 4},    {types, NULL, 3},   {NULL, aggregates, 3},     {types, aggregates, 2},
        {nothing, NULL, 0}, {NULL, nothing, 0}, {part_of_a_type, NULL, 0},
    };
    struct quipu_event event = kit_event(&kit, "a", 1);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event.type = "thing.broken";
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event.type = "thing.made";
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event.aggregate.type = "other";
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        struct counting counting = {0};
        struct quipu_projection projection = counts(&counting);
        struct quipu_replay_report report;
        projection.version = i + 1;
        projection.event_types = filters[i].event_types;
        projection.aggregate_types = filters[i].aggregate_types;
        kit_assert_ok(
            &kit, quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
        cr_assert_eq(counting.calls, filters[i].calls, "filter %zu: %lu calls", i,
                     (unsigned long)counting.calls);
        cr_assert_eq(report.applied, filters[i].calls);
        cr_assert_eq(report.position, 4);
    }
}

struct upcasting {
    struct quipu_slice payload; /* what it puts there */
    uint64_t poison;
    uint64_t applied;
    uint64_t reacted;
};

static enum quipu_status upcast(void *ctx, struct quipu_event_view *event, struct quipu_error *err)
{
    const struct upcasting *upcasting = ctx;
    cr_assert_eq(event->envelope.schema, 1);
    if (event->position == upcasting->poison) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER, "schema 9 is not known");
    }
    event->envelope.schema = 7;
    event->payload = upcasting->payload;
    return QUIPU_OK;
}

static void assert_upcast(const struct upcasting *upcasting, const struct quipu_event_view *event)
{
    cr_assert_eq(event->envelope.schema, 7);
    cr_assert(quipu_slice_equal(event->payload, upcasting->payload));
}

static enum quipu_status upcast_apply(void *ctx, struct quipu_rows *rows,
                                      const struct quipu_event_view *event, struct quipu_error *err)
{
    struct upcasting *upcasting = ctx;
    assert_upcast(upcasting, event);
    upcasting->applied++;
    return quipu_rows_put(rows, event->envelope.aggregate_id, event->payload, err);
}

static enum quipu_status upcast_react(void *ctx, const struct quipu_event_view *event,
                                      struct quipu_error *err)
{
    struct upcasting *upcasting = ctx;
    (void)err;
    assert_upcast(upcasting, event);
    upcasting->reacted++;
    return QUIPU_OK;
}

Test(projection, hands_both_callbacks_what_the_upcast_hook_made)
{
    struct upcasting upcasting = {.payload = quipu_slice_text("new"), .poison = 3};
    struct quipu_projection projection = {.name = "up",
                                          .version = 1,
                                          .apply = upcast_apply,
                                          .ctx = &upcasting,
                                          .react = upcast_react,
                                          .upcast = upcast,
                                          .upcast_ctx = &upcasting};
    struct quipu_projection_status status;
    for (int i = 1; i <= 3; i++) {
        kit_append(&kit, "a", i);
    }

    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_FORMAT_NEWER);

    cr_assert_eq(upcasting.applied, 2);
    cr_assert_eq(upcasting.reacted, 2);
    counts_assert_rows(&kit, "up", "", "a=new");
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "up", &status, &kit.err));
    cr_assert_eq(status.parked_position, 3);
    cr_assert_str_eq(status.parked_line, "schema 9 is not known");
    kit_assert_sound(&kit, 3);
}

/* ------------------------------------------------------------------ options */

struct watching {
    uint64_t slices;
    uint64_t stop_after; /* slices; 0: never */
    struct quipu_replay_progress last;
};

static bool watch_stop(void *ctx)
{
    const struct watching *watching = ctx;
    return watching->stop_after != 0 && watching->slices >= watching->stop_after;
}

static void watch_progress(void *ctx, const struct quipu_replay_progress *progress)
{
    struct watching *watching = ctx;
    watching->slices++;
    cr_assert_geq(progress->done, watching->last.done);
    watching->last = *progress;
}

static struct quipu_replay_options watch(struct watching *watching)
{
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.slice_events = 100;
    options.slice_us = 60000000;
    options.stop = watch_stop;
    options.progress = watch_progress;
    options.ctx = watching;
    return options;
}

Test(projection, tells_how_far_it_is_and_stops_between_slices)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct watching watching = {.stop_after = 3};
    struct quipu_replay_options options = watch(&watching);
    struct quipu_replay_report report;
    kit_append_many(&kit, 1050);

    cr_assert_eq(quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err),
                 QUIPU_STOPPED);

    cr_assert_eq(watching.slices, 3);
    cr_assert_eq(watching.last.position, 300);
    cr_assert_eq(watching.last.done, 300);
    cr_assert_eq(watching.last.total, 1050);
    cr_assert_eq(watching.last.per_second > 0, watching.last.left_us >= 0,
                 "where the clock has not moved there is neither");
    counts_assert_rows(&kit, "counts", "", "a=300");

    watching = (struct watching){0};
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, &report, &kit.err));
    cr_assert_eq(watching.slices, 8);
    cr_assert_eq(watching.last.done, 750);
    cr_assert_eq(watching.last.total, 750);
    cr_assert_eq(watching.last.left_us, 0);
    cr_assert_eq(report.applied, 750);
    counts_assert_rows(&kit, "counts", "", "a=1050");
}

Test(projection, replays_up_to_a_position_as_if_the_log_ended_there)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    struct quipu_replay_report report;
    kit_append_many(&kit, 10);
    options.until = 4;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, &report, &kit.err));
    cr_assert_eq(report.position, 4);
    counts_assert_rows(&kit, "counts", "", "a=4");
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, NULL, &report, &kit.err));
    cr_assert_eq(report.position, 10);
    options.mode = QUIPU_REPLAY_REBUILD;
    options.until = 6;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, &report, &kit.err));
    cr_assert_eq(report.position, 6);
    counts_assert_rows(&kit, "counts", "", "a=6");
    options.mode = QUIPU_REPLAY_CATCH_UP;
    options.until = 99;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, &report, &kit.err));
    cr_assert_eq(report.position, 10);
}

Test(projection, refuses_options_that_are_none)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    for (int over = -1; over <= 1; over++) {
        struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
        options.slice_events = (uint32_t)(QUIPU_SLICE_EVENTS_MAX + over);
        cr_assert_eq(quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err),
                     over > 0 ? QUIPU_MISUSE : QUIPU_OK);
    }
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.slice_us = -1;
    cr_assert_eq(quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err),
                 QUIPU_MISUSE);
    options = (struct quipu_replay_options){.size = 3};
    cr_assert_eq(quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err),
                 QUIPU_MISUSE);
}
