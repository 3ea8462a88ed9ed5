/*
 * Appending: versions, expectations, duplicates, conflicts, batches, limits.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

TestSuite(append, .init = setup, .fini = teardown);

static enum quipu_status append_one(const struct quipu_event *event)
{
    struct quipu_appended appended;
    return quipu_append(kit.engine, event, &appended, &kit.err);
}

/* The stored event at a position, with its blocks copied by the caller's kit. */
static void assert_envelope(uint64_t position, struct quipu_envelope *out,
                            struct kit_foreign *foreign)
{
    kit_foreign_copy(&kit, position, foreign);
    kit_assert_ok(&kit, quipu_envelope_decode(foreign->foreign.envelope, out, &kit.err));
}

Test(append, gives_positions_and_versions_from_one)
{
    struct quipu_appended first = kit_append(&kit, "a", 1);
    struct quipu_appended second = kit_append(&kit, "b", 2);
    struct quipu_appended third = kit_append(&kit, "a", 3);

    cr_assert_eq(first.position, 1);
    cr_assert_eq(first.version, 1);
    cr_assert_eq(second.position, 2);
    cr_assert_eq(second.version, 1);
    cr_assert_eq(third.position, 3);
    cr_assert_eq(third.version, 2);
    cr_assert_not(third.was_duplicate);
    kit_assert_sound(&kit, 3);
}

Test(append, fills_in_what_the_caller_leaves_open)
{
    struct quipu_appended appended = kit_append(&kit, "a", 1);

    struct kit_foreign stored;
    struct quipu_envelope envelope;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    assert_envelope(1, &envelope, &stored);
    kit_assert_ok(&kit, quipu_identity_source(kit.engine, source, &kit.err));
    cr_assert(quipu_uuid_equal(envelope.event_id, appended.event_id));
    cr_assert_eq(envelope.event_id.bytes[6] >> 4, 7, "a UUIDv7");
    cr_assert(quipu_uuid_equal(envelope.correlation_id, appended.event_id));
    cr_assert(quipu_uuid_is_nil(envelope.causation_id));
    cr_assert_not(envelope.has_causation);
    cr_assert_eq(envelope.schema, 1);
    cr_assert_eq(envelope.occurred_unix_us, kit.now_unix_us);
    cr_assert_eq(envelope.source_seq, 1);
    cr_assert_eq(envelope.prev_count, 0);
    cr_assert(quipu_slice_equal(envelope.source, quipu_slice_text(source)));
    cr_assert_eq(envelope.meta.len, 0);
    kit_foreign_release(&stored);
}

Test(append, keeps_what_the_caller_gives)
{
    struct quipu_event event = kit_event(&kit, "Schlüssel/β", 1);
    event.schema = 7;
    event.event_id = kit_uuid(1);
    event.correlation_id = kit_uuid(2);
    event.causation_id = kit_uuid(3);
    event.occurred_at = quipu_instant_at(-5);
    event.meta = kit_block(&kit, "{\"actor\":\"a\"}");
    cr_assert_eq(append_one(&event), QUIPU_OK, "%s", kit.err.message);

    struct kit_foreign stored;
    struct quipu_envelope envelope;
    assert_envelope(1, &envelope, &stored);
    cr_assert(quipu_slice_equal(envelope.aggregate_id, quipu_slice_text("Schlüssel/β")));
    cr_assert_eq(envelope.schema, 7);
    cr_assert(quipu_uuid_equal(envelope.event_id, kit_uuid(1)));
    cr_assert(quipu_uuid_equal(envelope.correlation_id, kit_uuid(2)));
    cr_assert(quipu_uuid_equal(envelope.causation_id, kit_uuid(3)));
    cr_assert_not(envelope.has_causation, "the cause is not in this store");
    cr_assert_eq(envelope.occurred_unix_us, -5);
    cr_assert(quipu_slice_equal(envelope.meta, event.meta));
    cr_assert(quipu_slice_equal(stored.foreign.payload, event.payload));
    kit_foreign_release(&stored);
    kit_assert_sound(&kit, 1);
}

Test(append, links_to_the_event_before_and_to_the_cause)
{
    struct quipu_appended first = kit_append(&kit, "a", 1);
    struct quipu_event events[2] = {kit_event(&kit, "a", 2), kit_event(&kit, "a", 3)};
    events[0].event_id = kit_uuid(1);
    events[0].causation_id = first.event_id;
    events[1].causation_id = kit_uuid(1);
    struct quipu_appended appended[2];
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, 2, appended, NULL, &kit.err));

    struct kit_foreign stored;
    struct quipu_envelope envelope;
    assert_envelope(2, &envelope, &stored);
    cr_assert_eq(envelope.prev_count, 1);
    cr_assert(quipu_cid_equal(&envelope.prev[0], &first.cid));
    cr_assert(envelope.has_causation);
    cr_assert(quipu_cid_equal(&envelope.causation, &first.cid));
    kit_foreign_release(&stored);
    assert_envelope(3, &envelope, &stored);
    cr_assert(quipu_cid_equal(&envelope.prev[0], &appended[0].cid));
    cr_assert(envelope.has_causation, "the cause is earlier in the same call");
    cr_assert(quipu_cid_equal(&envelope.causation, &appended[0].cid));
    kit_foreign_release(&stored);
    kit_assert_sound(&kit, 3);
}

Test(append, numbers_a_source_without_gaps_over_failures_and_reopening)
{
    kit_append(&kit, "a", 1);
    struct quipu_event wrong = kit_event(&kit, "a", 2);
    wrong.expected = quipu_expect_no_stream();
    cr_assert_eq(append_one(&wrong), QUIPU_VERSION_CONFLICT);
    kit_append(&kit, "a", 3);
    kit_reopen(&kit);
    kit_append(&kit, "b", 4);

    struct kit_foreign stored;
    struct quipu_envelope envelope;
    assert_envelope(3, &envelope, &stored);
    cr_assert_eq(envelope.source_seq, 3);
    kit_foreign_release(&stored);
    kit_assert_sound(&kit, 3);
}

Test(append, accepts_nothing)
{
    size_t failed = 77;

    cr_assert_eq(quipu_append_batch(kit.engine, NULL, 0, NULL, &failed, &kit.err), QUIPU_OK);

    cr_assert_eq(failed, 77);
    kit_assert_sound(&kit, 0);
}

/* ------------------------------------------------------------------ expectations */

Test(append, checks_what_the_caller_expects)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    static const struct {
        struct quipu_expected expected;
        enum quipu_status when_empty;
        enum quipu_status at_version_two;
    } table[] = {
        {{QUIPU_EXPECT_NO_STREAM, 0}, QUIPU_OK, QUIPU_VERSION_CONFLICT},
        {{QUIPU_EXPECT_EXACT, 0}, QUIPU_OK, QUIPU_VERSION_CONFLICT},
        {{QUIPU_EXPECT_EXACT, 1}, QUIPU_VERSION_CONFLICT, QUIPU_VERSION_CONFLICT},
        {{QUIPU_EXPECT_EXACT, 2}, QUIPU_VERSION_CONFLICT, QUIPU_OK},
        {{QUIPU_EXPECT_EXACT, 3}, QUIPU_VERSION_CONFLICT, QUIPU_VERSION_CONFLICT},
        {{QUIPU_EXPECT_ANY, 0}, QUIPU_OK, QUIPU_OK},
    };
    uint64_t events = 0;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        char full[8];
        char empty[8];
        (void)snprintf(full, sizeof full, "full-%zu", i);
        (void)snprintf(empty, sizeof empty, "empty-%zu", i);
        kit_append(&kit, full, 1);
        kit_append(&kit, full, 2);
        event.expected = table[i].expected;
        event.aggregate.id = empty;
        cr_assert_eq(append_one(&event), table[i].when_empty, "row %zu", i);
        event.aggregate.id = full;
        cr_assert_eq(append_one(&event), table[i].at_version_two, "row %zu", i);
        events += 2;
        events += table[i].when_empty == QUIPU_OK;
        events += table[i].at_version_two == QUIPU_OK;
    }
    kit_assert_sound(&kit, events);
}

Test(append, names_aggregate_and_both_versions_in_a_conflict)
{
    kit_append(&kit, "root-2026", 1);
    struct quipu_event event = kit_event(&kit, "root-2026", 2);
    event.expected = quipu_expect_exact(7);

    cr_assert_eq(append_one(&event), QUIPU_VERSION_CONFLICT);

    cr_assert_not_null(strstr(kit.err.message, "thing/root-2026"), "%s", kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "version 7"), "%s", kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "found 1"), "%s", kit.err.message);
}

Test(append, lets_expectations_see_the_events_before_them_in_the_call)
{
    struct quipu_event events[4] = {kit_event(&kit, "a", 1), kit_event(&kit, "b", 2),
                                    kit_event(&kit, "a", 3), kit_event(&kit, "b", 4)};
    events[0].expected = quipu_expect_no_stream();
    events[1].expected = quipu_expect_no_stream();
    events[2].expected = quipu_expect_exact(1);
    events[3].expected = quipu_expect_exact(1);
    struct quipu_appended appended[4];

    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, 4, appended, NULL, &kit.err));

    cr_assert_eq(appended[2].version, 2);
    cr_assert_eq(appended[3].version, 2);
    cr_assert_eq(appended[3].position, 4);
    kit_assert_sound(&kit, 4);
}

Test(append, writes_nothing_of_a_call_whose_last_event_conflicts)
{
    kit_append(&kit, "b", 0);
    struct quipu_event events[3] = {kit_event(&kit, "a", 1), kit_event(&kit, "a", 2),
                                    kit_event(&kit, "b", 3)};
    events[2].expected = quipu_expect_no_stream();
    struct quipu_appended appended[3] = {{.position = 99}};
    size_t failed = 0;

    cr_assert_eq(quipu_append_batch(kit.engine, events, 3, appended, &failed, &kit.err),
                 QUIPU_VERSION_CONFLICT);

    cr_assert_eq(failed, 2);
    cr_assert_eq(appended[0].position, 99, "results are untouched");
    cr_assert_not_null(strstr(kit.err.message, "events[2]"), "%s", kit.err.message);
    kit_assert_sound(&kit, 1);
    cr_assert_eq(kit_append(&kit, "a", 1).version, 1);
    kit_assert_sound(&kit, 2);
}

/* ------------------------------------------------------------------ duplicates */

static struct quipu_event full_event(void)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.event_id = kit_uuid(9);
    event.schema = 2;
    event.correlation_id = kit_uuid(2);
    event.causation_id = kit_uuid(3);
    event.occurred_at = quipu_instant_at(1000);
    event.meta = kit_block(&kit, "{\"actor\":\"a\"}");
    return event;
}

Test(append, returns_the_first_result_for_the_same_event)
{
    struct quipu_event event = full_event();
    struct quipu_appended first;
    struct quipu_appended again;
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &first, &kit.err));
    kit_append(&kit, "a", 5);

    event.expected = quipu_expect_no_stream(); /* not looked at for a duplicate */
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &again, &kit.err));

    cr_assert(again.was_duplicate);
    cr_assert_eq(again.position, first.position);
    cr_assert_eq(again.version, first.version);
    cr_assert(quipu_cid_equal(&again.cid, &first.cid));
    cr_assert(quipu_uuid_equal(again.event_id, first.event_id));
    kit_assert_sound(&kit, 2);
}

Test(append, compares_only_the_fields_that_are_given)
{
    struct quipu_event event = full_event();
    cr_assert_eq(append_one(&event), QUIPU_OK);
    kit.now_unix_us += 1000000;
    struct quipu_appended again;

    event.correlation_id = (struct quipu_uuid){{0}};
    event.causation_id = (struct quipu_uuid){{0}};
    event.occurred_at.is_set = false;
    event.meta = quipu_slice(NULL, 0);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &again, &kit.err));

    cr_assert(again.was_duplicate);
}

/* Change the field of this number in the table below; `*block` is the block that it has then. */
static void change_field(size_t field, struct quipu_event *other, struct quipu_slice *block)
{
    switch (field) {
    case 0:
        other->type = "thing.renamed";
        break;
    case 1:
        other->aggregate.type = "other";
        break;
    case 2:
        other->aggregate.id = "b";
        break;
    case 3:
        other->payload = kit_block(&kit, "{\"n\":2}");
        *block = other->payload;
        break;
    case 4:
        other->schema = 3;
        break;
    case 5:
        other->correlation_id = kit_uuid(8);
        break;
    case 6:
        other->causation_id = kit_uuid(8);
        break;
    case 7:
        other->occurred_at = quipu_instant_at(1001);
        break;
    default:
        other->meta = kit_block(&kit, "{\"actor\":\"b\"}");
        *block = other->meta;
    }
}

Test(append, refuses_another_event_under_a_known_id_and_shows_both)
{
    struct quipu_event original = full_event();
    struct quipu_appended first;
    kit_assert_ok(&kit, quipu_append(kit.engine, &original, &first, &kit.err));
    char first_cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&first.cid, first_cid);
    static const char *const fields[] = {"event_type",   "aggregate",   "aggregate",
                                         "payload",      "schema",      "correlation_id",
                                         "causation_id", "occurred_at", "meta"};
    /* What is said of both sides; NULL: two CIDs. */
    static const char *const there[] = {
        "thing.changed",       "thing/a", "thing/a", NULL, "schema 2", "0002;", "0003;",
        "occurred_at 1000 µs", NULL};
    static const char *const here[] = {"event_type thing.renamed",
                                       "aggregate other/a",
                                       "aggregate thing/b",
                                       NULL,
                                       "schema 3",
                                       "0008;",
                                       "0008;",
                                       "occurred_at 1001 µs",
                                       NULL};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct quipu_event other = full_event();
        struct quipu_slice blocks[2] = {i == 3 ? other.payload : other.meta};
        change_field(i, &other, &blocks[1]);
        cr_assert_eq(append_one(&other), QUIPU_EVENT_ID_CONFLICT, "field %s", fields[i]);
        cr_assert_not_null(strstr(kit.err.message, first_cid), "%s", kit.err.message);
        cr_assert_not_null(strstr(kit.err.message, fields[i]), "%s", kit.err.message);
        for (size_t side = 0; side < 2; side++) {
            const char *said = side == 0 ? there[i] : here[i];
            char cid[QUIPU_CID_TEXT_BYTES];
            if (said == NULL) {
                struct quipu_cid block = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, blocks[side]);
                quipu_cid_format(&block, cid);
                said = cid;
            }
            cr_assert_not_null(strstr(kit.err.message, said), "%s: %s", said, kit.err.message);
        }
    }
    kit_assert_sound(&kit, 1);
}

Test(append, finds_duplicates_and_conflicts_within_a_call)
{
    struct quipu_event events[3] = {full_event(), full_event(), kit_event(&kit, "a", 5)};
    struct quipu_appended appended[3];
    size_t failed = 0;
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, 3, appended, NULL, &kit.err));
    cr_assert_not(appended[0].was_duplicate);
    cr_assert(appended[1].was_duplicate);
    cr_assert_eq(appended[1].position, 1);
    cr_assert(quipu_cid_equal(&appended[1].cid, &appended[0].cid));
    cr_assert_eq(appended[2].position, 2);
    cr_assert_eq(appended[2].version, 2);

    events[0].event_id = kit_uuid(20);
    events[1].event_id = kit_uuid(20);
    events[1].schema = 99;
    cr_assert_eq(quipu_append_batch(kit.engine, events, 3, appended, &failed, &kit.err),
                 QUIPU_EVENT_ID_CONFLICT);
    cr_assert_eq(failed, 1);
    cr_assert_not_null(strstr(kit.err.message, "events[0] of this call"), "%s", kit.err.message);
    kit_assert_sound(&kit, 2);
}

Test(append, finds_duplicates_of_a_large_call_after_reopening)
{
    enum { COUNT = 3000 };
    struct quipu_event *events = calloc(COUNT, sizeof *events);
    struct quipu_appended *first = calloc(COUNT, sizeof *first);
    struct quipu_appended *again = calloc(COUNT, sizeof *again);
    static char ids[COUNT][16];
    for (size_t i = 0; i < COUNT; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "a-%zu", i % 100);
        events[i] = kit_event(&kit, ids[i], 7);
        events[i].event_id = kit_uuid(1);
        events[i].event_id.bytes[0] = (uint8_t)(i * 37);
        events[i].event_id.bytes[1] = (uint8_t)(i >> 8);
        events[i].event_id.bytes[2] = (uint8_t)i;
    }
    struct quipu_slice payload = kit_block(&kit, "{\"n\":7}");
    for (size_t i = 0; i < COUNT; i++) {
        events[i].payload = payload;
    }

    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, first, NULL, &kit.err));
    kit_reopen(&kit);
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, again, NULL, &kit.err));

    for (size_t i = 0; i < COUNT; i++) {
        cr_assert_eq(first[i].position, i + 1);
        cr_assert_eq(first[i].version, i / 100 + 1);
        cr_assert(again[i].was_duplicate);
        cr_assert_eq(again[i].position, i + 1);
        cr_assert(quipu_cid_equal(&again[i].cid, &first[i].cid));
    }
    kit_assert_sound(&kit, COUNT);
    free(events);
    free(first);
    free(again);
}
