/*
 * Upcasters: chains, what is refused, and the one hook in projections, subscriptions and loads.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "command_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/subscription.h"
#include "quipu/upcast.h"

static struct kit kit;
static struct quipu_upcasts *upcasts;
static struct quipu_upcasting upcasting;

/* {"n": x} of schema 1 counts in tens, of schema 2 in ones with "n" doubled, and so on: each step
 * makes n * factor. */
struct step {
    int64_t factor;
    uint64_t calls;
    enum quipu_status fails_with;
    const char *writes; /* these bytes instead */
};

static enum quipu_status make(void *ctx, const struct quipu_event_view *event,
                              struct quipu_buf *payload, struct quipu_error *err)
{
    struct step *step = ctx;
    step->calls++;
    cr_assert_eq(payload->len, 0, "it is handed out empty");
    if (step->fails_with != QUIPU_OK) {
        return quipu_error_set(err, step->fails_with, "no luck");
    }
    if (step->writes != NULL) {
        quipu_buf_append_text(payload, step->writes);
        return QUIPU_OK;
    }
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, payload);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "n");
    quipu_dagcbor_write_int(&writer, tally_n(event->payload) * step->factor);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static struct step steps[3];
static struct quipu_upcaster chain[3];

static void setup(void)
{
    kit_open(&kit);
    static const int64_t factors[] = {10, 3, 7};
    /* Out of order on purpose. */
    static const uint64_t schemas[] = {2, 1, 3};
    for (size_t i = 0; i < 3; i++) {
        steps[i] = (struct step){.factor = factors[schemas[i] - 1]};
        chain[i] = (struct quipu_upcaster){"thing.changed", schemas[i], make, &steps[i]};
    }
}

static void teardown(void)
{
    quipu_upcasting_release(&upcasting);
    quipu_upcasts_free(upcasts);
    kit_close(&kit);
}

TestSuite(upcast, .init = setup, .fini = teardown);

static void chain_up(void)
{
    kit_assert_ok(&kit, quipu_upcasts_new(chain, 3, NULL, 0, &upcasts, &kit.err));
    upcasting.upcasts = upcasts;
}

static void append_schema(uint64_t schema, int n)
{
    struct quipu_event event = kit_event(&kit, "a", n);
    event.schema = schema;
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
}

/* Upcast the event at `position`; its n, or the status. */
struct upcast_one {
    enum quipu_status status;
    int64_t n;
    uint64_t schema;
};

static enum quipu_status upcast_view(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    struct upcast_one *one = ctx;
    struct quipu_event_view view = *event;
    one->status = quipu_upcast(&upcasting, &view, err);
    one->schema = view.envelope.schema;
    if (one->status == QUIPU_OK) {
        one->n = tally_n(view.payload);
        cr_assert(quipu_cid_equal(&view.cid, &event->cid));
        cr_assert(quipu_cid_equal(&view.envelope.payload, &event->envelope.payload));
    } else {
        cr_assert(quipu_slice_equal(view.payload, event->payload), "untouched on failure");
    }
    return QUIPU_OK;
}

static struct upcast_one upcast_at(uint64_t position)
{
    struct upcast_one one = {.status = QUIPU_OK};
    struct quipu_filter filter = {.after = position - 1, .until = position};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, upcast_view, &one, &kit.err));
    return one;
}

/* ------------------------------------------------------------------ chains */

Test(upcast, goes_through_every_step_to_the_newest)
{
    chain_up();
    static const int64_t expected[] = {2 * 210, 2 * 21, 2 * 7, 2};
    for (uint64_t schema = 1; schema <= 4; schema++) {
        append_schema(schema, 2);
        struct upcast_one one = upcast_at(schema);
        cr_assert_eq(one.status, QUIPU_OK, "%s", kit.err.message);
        cr_assert_eq(one.n, expected[schema - 1]);
        cr_assert_eq(one.schema, 4);
    }
    cr_assert_eq(quipu_upcasts_newest(upcasts, quipu_slice_text("thing.changed")), 4);
    cr_assert_eq(quipu_upcasts_newest(upcasts, quipu_slice_text("thing.chang")), 0);
    kit_assert_sound(&kit, 4); /* stored bytes are as they were */
}

Test(upcast, reports_a_schema_that_is_newer_than_any_it_knows)
{
    chain_up();
    append_schema(5, 1);
    struct upcast_one one = upcast_at(1);
    cr_assert_eq(one.status, QUIPU_SCHEMA_NEWER);
    cr_assert_str_eq(kit.err.message, "thing.changed has schema 5, the newest that is known here "
                                      "is 4; use a newer version of this program");
    cr_assert_eq(one.schema, 5);
    cr_assert_eq(steps[0].calls + steps[1].calls + steps[2].calls, 0);
}

Test(upcast, knows_types_by_their_newest_schema_alone)
{
    static const struct quipu_schema schemas[] = {{"thing.changed", 2}, {"another.type", 1}};
    kit_assert_ok(&kit, quipu_upcasts_new(NULL, 0, schemas, 2, &upcasts, &kit.err));
    upcasting.upcasts = upcasts;
    append_schema(2, 1);
    append_schema(3, 1);
    append_schema(1, 1);
    cr_assert_eq(upcast_at(1).status, QUIPU_OK);
    cr_assert_eq(upcast_at(2).status, QUIPU_SCHEMA_NEWER);
    cr_assert_eq(upcast_at(3).status, QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "no upcaster of thing.changed from schema 1; the oldest that "
                                      "can be read is 2");
}

Test(upcast, lets_types_pass_that_it_knows_nothing_of)
{
    static const struct quipu_schema schemas[] = {{"another.type", 1}};
    kit_assert_ok(&kit, quipu_upcasts_new(NULL, 0, schemas, 1, &upcasts, &kit.err));
    upcasting.upcasts = upcasts;
    append_schema(9, 5);
    struct upcast_one one = upcast_at(1);
    cr_assert_eq(one.status, QUIPU_OK);
    cr_assert_eq(one.n, 5);
    cr_assert_eq(one.schema, 9);
}

Test(upcast, refuses_chains_with_a_hole)
{
    chain[0].schema = 4; /* 1, 3, 4 */
    cr_assert_eq(quipu_upcasts_new(chain, 3, NULL, 0, &upcasts, &kit.err), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message,
                     "upcasts: no upcaster of thing.changed from schema 2, but one from schema 3");
    chain[0].schema = 3;
    cr_assert_eq(quipu_upcasts_new(chain, 3, NULL, 0, &upcasts, &kit.err), QUIPU_INVALID);
    chain[0].schema = 2;
    chain[1].event_type = "another.type"; /* whose chain begins and ends with schema 1 */
    kit_assert_ok(&kit, quipu_upcasts_new(chain, 3, NULL, 0, &upcasts, &kit.err));
    cr_assert_eq(quipu_upcasts_newest(upcasts, quipu_slice_text("another.type")), 2);
}

Test(upcast, refuses_chains_that_do_not_end_at_the_declared_schema)
{
    struct quipu_schema schema = {"thing.changed", 5};
    cr_assert_eq(quipu_upcasts_new(chain, 3, &schema, 1, &upcasts, &kit.err), QUIPU_INVALID);
    cr_assert_not_null(strstr(kit.err.message, "thing.changed is 5"), "%s", kit.err.message);
    schema.newest = 3;
    cr_assert_eq(quipu_upcasts_new(chain, 3, &schema, 1, &upcasts, &kit.err), QUIPU_INVALID);
    schema.newest = 4;
    kit_assert_ok(&kit, quipu_upcasts_new(chain, 3, &schema, 1, &upcasts, &kit.err));
}

Test(upcast, refuses_what_is_no_upcaster_or_schema)
{
    const struct quipu_schema twice[] = {{"t.e", 1}, {"t.e", 2}};
    cr_assert_eq(quipu_upcasts_new(NULL, 0, twice, 2, &upcasts, &kit.err), QUIPU_INVALID);
    struct quipu_schema schema = {"t.e", 0};
    cr_assert_eq(quipu_upcasts_new(NULL, 0, &schema, 1, &upcasts, &kit.err), QUIPU_INVALID);
    struct quipu_upcaster one = {"t.e", 1, NULL, NULL};
    cr_assert_eq(quipu_upcasts_new(&one, 1, NULL, 0, &upcasts, &kit.err), QUIPU_INVALID);
    one.make = make;
    one.event_type = "T";
    cr_assert_eq(quipu_upcasts_new(&one, 1, NULL, 0, &upcasts, &kit.err), QUIPU_INVALID);
    one.event_type = NULL;
    cr_assert_eq(quipu_upcasts_new(&one, 1, NULL, 0, &upcasts, &kit.err), QUIPU_INVALID);
    cr_assert_eq(quipu_upcasts_new(&one, QUIPU_UPCASTERS_MAX + 1, NULL, 0, &upcasts, &kit.err),
                 QUIPU_TOO_LARGE);
    cr_assert_null(upcasts);
}

Test(upcast, names_the_step_that_failed)
{
    chain_up();
    append_schema(1, 1);
    steps[0].fails_with = QUIPU_NOT_FOUND; /* from 2 */
    cr_assert_eq(upcast_at(1).status, QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "upcasting thing.changed from schema 2: no luck");
    steps[0].fails_with = QUIPU_OK;
    steps[0].writes = "\x01\x02";
    cr_assert_eq(upcast_at(1).status, QUIPU_CBOR_TRAILING);
    cr_assert_not_null(strstr(kit.err.message, "from schema 2"), "%s", kit.err.message);
    steps[0].writes = "";
    cr_assert_eq(upcast_at(1).status, QUIPU_CBOR_TRUNCATED);
}

/* ------------------------------------------------------------------ where it is plugged in */

Test(upcast, is_the_hook_of_an_aggregate_kind)
{
    struct tally_ctx calls = {0};
    struct quipu_aggregate_kind kind = tally_kind(&calls, 2);
    chain_up();
    kind.upcast = quipu_upcast;
    kind.upcast_ctx = &upcasting;
    append_schema(1, 1);
    append_schema(3, 1);
    append_schema(4, 1);
    cr_assert_eq(tally_load(&kit, &kind, "a", NULL).sum, 210 + 7 + 1);
    cr_assert_eq(tally_load(&kit, &kind, "a", NULL).sum, 210 + 7 + 1, "from the snapshot");

    append_schema(5, 1);
    struct quipu_loaded loaded;
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "a", &loaded, &kit.err),
                 QUIPU_SCHEMA_NEWER);
    cr_assert_not_null(strstr(kit.err.message, "thing/a version 4: thing.changed has schema 5"),
                       "%s", kit.err.message);
}

static enum quipu_status sum_rows(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    char key[32];
    char value[32];
    (void)snprintf(key, sizeof key, "%02u", (unsigned)event->position);
    (void)snprintf(value, sizeof value, "%d of %u", (int)tally_n(event->payload),
                   (unsigned)event->envelope.schema);
    return quipu_rows_put(rows, quipu_slice_text(key), quipu_slice_text(value), err);
}

static enum quipu_status row_join(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    (void)key;
    (void)err;
    char *text = ctx;
    (void)snprintf(text + strlen(text), 100 - strlen(text), "%.*s;", QUIPU_SLICE_FMT(value));
    return QUIPU_OK;
}

Test(upcast, is_the_hook_of_projections_which_park_in_front_of_a_newer_schema)
{
    chain_up();
    struct quipu_projection projection = {.name = "sums",
                                          .version = 1,
                                          .apply = sum_rows,
                                          .upcast = quipu_upcast,
                                          .upcast_ctx = &upcasting};
    append_schema(1, 1);
    append_schema(2, 1);
    append_schema(4, 1);
    append_schema(5, 1);
    append_schema(4, 9);

    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_SCHEMA_NEWER);

    char text[100] = "";
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "sums", quipu_slice(NULL, 0),
                                                  row_join, text, &kit.err));
    cr_assert_str_eq(text, "210 of 4;21 of 4;1 of 4;");
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "sums", &status, &kit.err));
    cr_assert_eq(status.state, QUIPU_PROJECTION_PARKED);
    cr_assert_eq(status.parked_position, 4);
    cr_assert_eq(status.parked_status, QUIPU_SCHEMA_NEWER);

    /* The newer program knows schema 5, and goes on from there. */
    struct step fifth = {.factor = 2};
    const struct quipu_upcaster longer[] = {
        chain[0], chain[1], chain[2], {"thing.changed", 4, make, &fifth}};
    quipu_upcasts_free(upcasts);
    kit_assert_ok(&kit, quipu_upcasts_new(longer, 4, NULL, 0, &upcasts, &kit.err));
    upcasting.upcasts = upcasts;
    projection.version = 2;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    text[0] = 0;
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "sums", quipu_slice(NULL, 0),
                                                  row_join, text, &kit.err));
    cr_assert_str_eq(text, "420 of 5;42 of 5;2 of 5;1 of 5;18 of 5;");
}

Test(upcast, is_the_hook_of_subscriptions)
{
    chain_up();
    append_schema(1, 3);
    append_schema(5, 1);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.upcast = quipu_upcast;
    options.upcast_ctx = &upcasting;
    struct quipu_subscription *subscription = NULL;
    struct quipu_event_view event;
    kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
    kit_assert_ok(&kit, quipu_subscription_next(subscription, &event, &kit.err));
    cr_assert_eq(tally_n(event.payload), 630);
    cr_assert_eq(event.envelope.schema, 4);
    cr_assert_eq(quipu_subscription_next(subscription, &event, &kit.err), QUIPU_SCHEMA_NEWER);
    cr_assert_not_null(strstr(kit.err.message, "position 2: thing.changed has schema 5"), "%s",
                       kit.err.message);
    quipu_subscription_close(&subscription);
}
