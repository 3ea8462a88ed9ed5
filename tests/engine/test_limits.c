/*
 * What may be appended, at one below each limit, at it, and one above; and expectations of several
 * aggregates in one call, in every combination of right and wrong.
 *
 * Lengths of names, payloads and metas are in test_event_check.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counting_kit.h"
#include "engine_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/forks.h"
#include "quipu/subscription.h"
#include "quipu/types.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(limits, .init = setup, .fini = teardown);

static enum quipu_status append_one(const struct quipu_event *event)
{
    return quipu_append(kit.engine, event, NULL, &kit.err);
}

/* ------------------------------------------------------------------ limits */

Test(limits, of_numbers)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (int over = -1; over <= 1; over++) {
        enum quipu_status expected = over > 0 ? QUIPU_INVALID : QUIPU_OK;
        event.schema = (uint64_t)(QUIPU_ENVELOPE_INTEGER_MAX + over);
        cr_assert_eq(append_one(&event), expected, "schema, %d", over);
        event.schema = 1;
        event.occurred_at = quipu_instant_at(QUIPU_ENVELOPE_INTEGER_MAX + over);
        cr_assert_eq(append_one(&event), expected, "occurred_at, %d", over);
        event.occurred_at = quipu_instant_at(-QUIPU_ENVELOPE_INTEGER_MAX - over);
        cr_assert_eq(append_one(&event), expected, "occurred_at before 1970, %d", over);
        event.occurred_at.is_set = false;
    }
    kit_assert_sound(&kit, 6);
}

static enum quipu_status schema_of(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    (void)err;
    *(uint64_t *)ctx = event->envelope.schema;
    return QUIPU_OK;
}

Test(limits, of_the_schema_below_are_one)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (uint64_t given = 0; given <= 2; given++) {
        uint64_t stored = 0;
        struct quipu_filter last = {.after = given};
        event.schema = given;
        kit_assert_ok(&kit, append_one(&event));
        kit_assert_ok(&kit, quipu_each_event(kit.engine, &last, schema_of, &stored, &kit.err));
        cr_assert_eq(stored, given == 0 ? 1 : given);
    }
}

/* `depth` lists around a null. */
static struct quipu_slice nested(uint8_t *storage, size_t depth)
{
    memset(storage, 0x81, depth);
    storage[depth] = 0xf6;
    return quipu_slice(storage, depth + 1);
}

Test(limits, of_nesting)
{
    uint8_t payload[QUIPU_DAGCBOR_DEPTH_DEFAULT + 2];
    uint8_t meta[QUIPU_DAGCBOR_DEPTH_DEFAULT + 8] = {0xa1, 0x61, 'a'};
    for (int over = -1; over <= 1; over++) {
        enum quipu_status expected = over > 0 ? QUIPU_CBOR_DEPTH : QUIPU_OK;
        size_t depth = (size_t)(QUIPU_DAGCBOR_DEPTH_DEFAULT + over);
        struct quipu_event event = kit_event(&kit, "a", 1);
        event.payload = nested(payload, depth);
        cr_assert_eq(append_one(&event), expected, "payload, %d: %s", over, kit.err.message);
        /* Of a meta the envelope is one map more, and its own map another. */
        event = kit_event(&kit, "a", 1);
        event.meta = quipu_slice(meta, 3 + nested(meta + 3, depth - 2).len);
        cr_assert_eq(append_one(&event), expected, "meta, %d: %s", over, kit.err.message);
    }
    kit_assert_sound(&kit, 4);
}

Test(limits, of_the_events_of_a_call)
{
    struct quipu_event *events = calloc(QUIPU_APPEND_EVENTS_MAX + 1, sizeof *events);
    struct quipu_event one = kit_event(&kit, "a", 1);
    uint64_t stored = 0;
    for (size_t i = 0; i <= QUIPU_APPEND_EVENTS_MAX; i++) {
        events[i] = one;
    }
    for (int over = -1; over <= 1; over++) {
        size_t count = (size_t)(QUIPU_APPEND_EVENTS_MAX + over);
        size_t failed = 0;
        cr_assert_eq(quipu_append_batch(kit.engine, events, count, NULL, &failed, &kit.err),
                     over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK, "%d", over);
        cr_assert_eq(failed, over > 0 ? count : 0);
        stored += over > 0 ? 0 : count;
    }
    cr_assert_eq(kit_append(&kit, "a", 1).position, stored + 1);
    free(events);
}

/* A byte string of `len` bytes in all, head included. */
static void bytes_head(uint8_t *storage, size_t len)
{
    size_t bytes = len - 5;
    const uint8_t head[] = {0x5a, (uint8_t)(bytes >> 24), (uint8_t)(bytes >> 16),
                            (uint8_t)(bytes >> 8), (uint8_t)bytes};
    memcpy(storage, head, sizeof head);
}

Test(limits, of_the_bytes_of_a_call, .timeout = 240)
{
    enum { COUNT = QUIPU_APPEND_BYTES_MAX / QUIPU_PAYLOAD_BYTES_MAX };
    uint8_t *large = calloc(1, QUIPU_PAYLOAD_BYTES_MAX);
    uint8_t *last = calloc(1, QUIPU_PAYLOAD_BYTES_MAX);
    struct quipu_event events[COUNT + 1];
    uint64_t stored = 0;
    bytes_head(large, QUIPU_PAYLOAD_BYTES_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = kit_event(&kit, "a", 1);
        events[i].payload = quipu_slice(large, QUIPU_PAYLOAD_BYTES_MAX);
    }
    /* The last one is short of six bytes; a last but one of five, six or seven fills them. */
    bytes_head(last, QUIPU_PAYLOAD_BYTES_MAX - 6);
    events[COUNT - 1].payload = quipu_slice(last, QUIPU_PAYLOAD_BYTES_MAX - 6);
    for (int over = 1; over >= -1; over--) {
        static const uint8_t short_bytes[] = {0x46, 1, 2, 3, 4, 5, 6};
        uint8_t block[7];
        size_t failed = 0;
        memcpy(block, short_bytes, sizeof block);
        block[0] = (uint8_t)(0x40 + 5 + over);
        events[COUNT] = kit_event(&kit, "a", 1);
        events[COUNT].payload = quipu_slice(block, (size_t)(6 + over));
        cr_assert_eq(quipu_append_batch(kit.engine, events, COUNT + 1, NULL, &failed, &kit.err),
                     over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK, "%d: %s", over, kit.err.message);
        cr_assert_eq(failed, over > 0 ? COUNT : 0);
        stored += over > 0 ? 0 : COUNT + 1;
        cr_assert_eq(kit_append(&kit, "b", 1).position, ++stored);
    }
    free(large);
    free(last);
}

/* ------------------------------------------------------------------ expectations */

Test(limits, of_what_is_expected_hold_for_each_aggregate_of_a_call)
{
    /* "a" has two events, "b" one, "c" none; each is expected rightly in two ways, wrongly in two.
     */
    static const struct quipu_expected choices[3][4] = {
        {{QUIPU_EXPECT_EXACT, 2},
         {QUIPU_EXPECT_ANY, 0},
         {QUIPU_EXPECT_EXACT, 1},
         {QUIPU_EXPECT_NO_STREAM, 0}},
        {{QUIPU_EXPECT_EXACT, 1},
         {QUIPU_EXPECT_ANY, 0},
         {QUIPU_EXPECT_EXACT, 2},
         {QUIPU_EXPECT_NO_STREAM, 0}},
        {{QUIPU_EXPECT_NO_STREAM, 0},
         {QUIPU_EXPECT_EXACT, 0},
         {QUIPU_EXPECT_EXACT, 1},
         {QUIPU_EXPECT_EXACT, UINT64_MAX}},
    };
    static const char *const names[] = {"a", "b", "c"};
    for (unsigned which = 0; which < 4 * 4 * 4; which++) {
        const unsigned picks[] = {which % 4, which / 4 % 4, which / 16};
        struct kit fresh;
        struct quipu_event events[3];
        size_t failed = 77;
        size_t should_fail = 3;
        kit_open(&fresh);
        kit_append(&fresh, "a", 1);
        kit_append(&fresh, "a", 2);
        kit_append(&fresh, "b", 3);
        for (size_t i = 3; i-- > 0;) {
            events[i] = kit_event(&fresh, names[i], 9);
            events[i].expected = choices[i][picks[i]];
            should_fail = picks[i] >= 2 ? i : should_fail;
        }

        enum quipu_status status =
            quipu_append_batch(fresh.engine, events, 3, NULL, &failed, &fresh.err);

        cr_assert_eq(status, should_fail < 3 ? QUIPU_VERSION_CONFLICT : QUIPU_OK, "%u", which);
        cr_assert_eq(failed, should_fail < 3 ? should_fail : 77, "%u", which);
        kit_assert_sound(&fresh, should_fail < 3 ? 3 : 6);
        kit_close(&fresh);
    }
}

/* ------------------------------------------------------------------ secrets */

Test(limits, of_secrets_are_lifted_for_the_event_that_says_so_only)
{
    static const char pem[] = "{\"k\":\"-----BEGIN PRIVATE"
                              " KEY-----\"}";
    struct quipu_event events[2] = {kit_event(&kit, "a", 1), kit_event(&kit, "a", 2)};
    size_t failed = 77;
    events[0].payload = kit_block(&kit, pem);
    events[1].payload = events[0].payload;
    events[0].secrets = QUIPU_SECRET_ALLOW;

    cr_assert_eq(quipu_append_batch(kit.engine, events, 2, NULL, &failed, &kit.err),
                 QUIPU_SECRET_REFUSED);

    cr_assert_eq(failed, 1);
    cr_assert_not_null(strstr(kit.err.message, "events[1]: payload holds secret"), "%s",
                       kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "(rule "), "%s", kit.err.message);
    kit_assert_sound(&kit, 0);
    events[1].secrets = QUIPU_SECRET_ALLOW;
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, 2, NULL, &failed, &kit.err));
}

/* ------------------------------------------------------------------ misuse */

Test(limits, of_what_may_be_null)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    struct quipu_event_view view;
    struct quipu_types *types = NULL;
    size_t failed = 77;
    cr_assert_eq(quipu_append(kit.engine, NULL, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_append(NULL, &event, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_append_batch(kit.engine, NULL, 3, NULL, &failed, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(failed, 3);
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, NULL, 0, NULL, NULL, &kit.err));
    cr_assert_eq(quipu_merge(kit.engine, NULL, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_each_event(kit.engine, NULL, NULL, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_event_view_of(NULL, &view, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_new(QUIPU_TYPES_LENIENT, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_decode(event.payload, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_load(kit.store, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_load(NULL, &types, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_save(kit.store, NULL, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_declare(NULL, NULL, &kit.err), QUIPU_MISUSE);
    kit_assert_sound(&kit, 0);
}

Test(limits, of_enumerations)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    struct quipu_types *types = NULL;
    struct counting counting = {0};
    uint64_t schema = 0;
    event.expected.kind = (enum quipu_expected_kind)7;
    cr_assert_eq(append_one(&event), QUIPU_MISUSE);
    cr_assert_not_null(strstr(kit.err.message, "no such kind: 7"), "%s", kit.err.message);
    event.expected = quipu_expect_any();
    event.secrets = (enum quipu_secret_policy)2;
    cr_assert_eq(append_one(&event), QUIPU_MISUSE);
    event.secrets = QUIPU_SECRET_ALLOW;
    cr_assert_eq(append_one(&event), QUIPU_OK);

    struct quipu_filter filter = {0};
    filter.direction = 2;
    cr_assert_eq(quipu_each_event(kit.engine, &filter, schema_of, &schema, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(quipu_types_new((enum quipu_types_rule)2, &types, &kit.err), QUIPU_MISUSE);
    cr_assert_eq(counts_replay(&kit, &counting, (enum quipu_replay_mode)9, NULL), QUIPU_MISUSE);
    cr_assert_eq(counting.calls, 0);
    kit_assert_sound(&kit, 1);
}

/* ------------------------------------------------------------------ filters */

static enum quipu_status list_with(const char *event_type, const char *aggregate_type)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    const char *const event_types[] = {"thing.changed", event_type, NULL};
    const char *const aggregate_types[] = {"thing", aggregate_type, NULL};
    projection.event_types = event_types;
    projection.aggregate_types = aggregate_types;
    return quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err);
}

static enum quipu_status subscribe_to(const char *event_type, const char *aggregate_type,
                                      const char *aggregate_id)
{
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    struct quipu_subscription *subscription = NULL;
    const char *const event_types[] = {"thing.changed", event_type, NULL};
    options.event_types = event_types;
    options.aggregate_type = aggregate_type;
    options.aggregate_id = aggregate_id;
    enum quipu_status status =
        quipu_subscription_open(kit.engine, &options, &subscription, &kit.err);
    quipu_subscription_close(&subscription);
    return status;
}

static enum quipu_status look_for(const char *event_type, const char *aggregate_type,
                                  const char *aggregate_id)
{
    struct quipu_filter filter = {
        .event_type = event_type, .aggregate_type = aggregate_type, .aggregate_id = aggregate_id};
    uint64_t schema = 0;
    return quipu_each_event(kit.engine, &filter, schema_of, &schema, &kit.err);
}

Test(limits, of_filters_that_no_event_could_pass)
{
    static const char *const no_types[] = {"", "NOT A TYPE", "thing.", ".thing", "a..b", "\n"};
    static const char *const no_aggregate_types[] = {"", "thing.changed", "Thing", "a b"};
    kit_append(&kit, "a", 1);
    for (size_t i = 0; i < sizeof no_types / sizeof no_types[0]; i++) {
        cr_assert_eq(look_for(no_types[i], NULL, NULL), QUIPU_INVALID, "%zu", i);
        cr_assert_eq(subscribe_to(no_types[i], NULL, NULL), QUIPU_INVALID, "%zu", i);
        cr_assert_eq(list_with(no_types[i], "other"), QUIPU_INVALID, "%zu", i);
    }
    cr_assert_null(strchr(kit.err.message, '\n'), "what is shown is plain");
    for (size_t i = 0; i < sizeof no_aggregate_types / sizeof no_aggregate_types[0]; i++) {
        const char *none = no_aggregate_types[i];
        cr_assert_eq(look_for(NULL, none, NULL), QUIPU_INVALID, "%s", none);
        cr_assert_eq(subscribe_to("thing.renamed", none, NULL), QUIPU_INVALID, "%s", none);
        cr_assert_eq(list_with("thing.renamed", none), QUIPU_INVALID, "%s", none);
    }
    cr_assert_eq(look_for(NULL, "thing", ""), QUIPU_INVALID);
    cr_assert_eq(subscribe_to("thing.renamed", "thing", "a\tb"), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "filter: \"…\" is no aggregate_id, and no event can have it");
    cr_assert_eq(look_for("NOT A TYPE", NULL, NULL), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message,
                     "filter: \"NOT A TYPE\" is no event_type, and no event can have it");
    cr_assert_eq(look_for("thing.renamed", "other", "b"), QUIPU_OK, "one that might come");
    cr_assert_eq(subscribe_to("thing.renamed", "other", "b"), QUIPU_OK);
    cr_assert_eq(list_with("thing.renamed", "other"), QUIPU_OK);
}

/* ------------------------------------------------------------------ rows */

struct keys {
    enum quipu_status of_empty[3];
    enum quipu_status of_long;
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static enum quipu_status keys_try(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    static const uint8_t bytes[QUIPU_TABLE_KEY_BYTES_MAX + 1];
    struct keys *keys = ctx;
    struct quipu_slice value = event->payload;
    struct quipu_slice empty = quipu_slice(bytes, 0);
    keys->of_empty[0] = quipu_rows_get(rows, empty, &value, err);
    keys->of_empty[1] = quipu_rows_delete(rows, empty, err);
    keys->of_empty[2] = quipu_rows_put(rows, empty, event->payload, err);
    (void)snprintf(keys->line, sizeof keys->line, "%s", err->message);
    keys->of_long = quipu_rows_put(rows, quipu_slice(bytes, sizeof bytes), event->payload, err);
    return quipu_rows_put(rows, quipu_slice(bytes, sizeof bytes - 1), event->payload, err);
}

Test(limits, of_row_keys)
{
    struct keys keys;
    const struct quipu_projection projection = {
        .name = "keys", .version = 1, .apply = keys_try, .ctx = &keys};
    kit_append(&kit, "a", 1);
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(keys.of_empty[i], QUIPU_INVALID);
    }
    cr_assert_not_null(strstr(keys.line, "row: the key is empty"), "%s", keys.line);
    cr_assert_eq(keys.of_long, QUIPU_TOO_LARGE);
}
