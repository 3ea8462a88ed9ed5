/*
 * A byte that the disk has changed: whoever asks for the event, by whatever call, is told position
 * and block and is shown nothing of it; what is before it is served. A projection is not parked by
 * it, and goes on by itself when the byte is what it was.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "command_kit.h"
#include "counting_kit.h"
#include "quipu/causal.h"
#include "quipu/forks.h"
#include "quipu/outbox.h"
#include "quipu/process.h"
#include "quipu/query.h"
#include "quipu/subscription.h"

/* Words of event 3's two blocks, which stand in the file once each. */
#define IN_PAYLOAD  "payload-needle"
#define IN_ENVELOPE "envelope-needle"
#define OF_IT                                                                                      \
    {                                                                                              \
        {                                                                                          \
            0x01, 0x90, [6] = 0x70, [8] = 0x80, [15] = 7                                           \
        }                                                                                          \
    }
#define DAMAGED 3
#define LAST    5

static struct kit kit;
static const struct quipu_uuid of_it = OF_IT;

/* The event that becomes damaged, as its client has it. */
static struct quipu_event damaged_event(void)
{
    struct quipu_event event = kit_event(&kit, "a", DAMAGED);
    event.event_id = kit_uuid(DAMAGED);
    event.payload = kit_block(&kit, "{\"n\":3,\"word\":\"" IN_PAYLOAD "\"}");
    event.meta = kit_block(&kit, "{\"word\":\"" IN_ENVELOPE "\"}");
    event.correlation_id = of_it;
    return event;
}

static void setup(void)
{
    kit_open(&kit);
    for (int n = 1; n <= LAST; n++) {
        struct quipu_event event = n == DAMAGED ? damaged_event() : kit_event(&kit, "a", n);
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(damaged, .init = setup, .fini = teardown);

/* The words without their first byte: that one is flipped. */
static void damage_payload(void)
{
    kit_damage(&kit, &IN_PAYLOAD[1], -1);
}

static void damage_envelope(void)
{
    kit_damage(&kit, &IN_ENVELOPE[1], -1);
}

static const struct {
    const char *block;
    void (*damage)(void);
} kinds[] = {{"the payload", damage_payload}, {"the envelope", damage_envelope}};

#define KINDS (sizeof kinds / sizeof kinds[0])

static void assert_said(enum quipu_status status, size_t kind, const char *who)
{
    char position[32];
    (void)snprintf(position, sizeof position, "position %d", DAMAGED);
    cr_assert_eq(status, QUIPU_CORRUPT, "%s: %s", who, quipu_status_name(status));
    cr_assert_not_null(strstr(kit.err.message, position), "%s: %s", who, kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, kinds[kind].block), "%s: %s", who, kit.err.message);
}

struct seen {
    uint64_t positions; /* a bit each */
};

static enum quipu_status see(void *ctx, const struct quipu_event_view *event,
                             struct quipu_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->positions |= UINT64_C(1) << event->position;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ taken for known */

Test(damaged, event_is_not_acknowledged_to_whoever_brings_it_again)
{
    struct quipu_event event = damaged_event();
    struct quipu_appended appended;
    for (size_t kind = 0; kind < KINDS; kind++) {
        kinds[kind].damage();
        assert_said(quipu_append(kit.engine, &event, &appended, &kit.err), kind, "append");
        assert_said(quipu_merge(kit.engine, &event, NULL, &kit.err), kind, "merge");
        kinds[kind].damage();
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, &appended, &kit.err));
        cr_assert(appended.was_duplicate);
    }
    kit_assert_sound(&kit, LAST);
}

Test(damaged, event_is_not_known_to_whoever_takes_it_in_again)
{
    struct kit_foreign again;
    enum quipu_ingest_outcome outcome;
    kit_foreign_copy(&kit, DAMAGED, &again);
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct quipu_ingest *ingest = NULL;
        kinds[kind].damage();
        kit_assert_ok(&kit,
                      quipu_ingest_begin(kit.engine, QUIPU_INGEST_QUARANTINE, &ingest, &kit.err));
        assert_said(quipu_ingest_event(ingest, &again.foreign, NULL, &kit.err), kind, "ingest");
        quipu_ingest_abort(&ingest);
        kinds[kind].damage();
        kit_assert_ok(&kit,
                      quipu_ingest_begin(kit.engine, QUIPU_INGEST_QUARANTINE, &ingest, &kit.err));
        kit_assert_ok(&kit, quipu_ingest_event(ingest, &again.foreign, &outcome, &kit.err));
        cr_assert_eq(outcome, QUIPU_INGEST_KNOWN);
        quipu_ingest_abort(&ingest);
    }
    kit_foreign_release(&again);
}

/* ------------------------------------------------------------------ what is built upon */

/* The head of thing/a: version, greatest version, position, digest, all big-endian. */
static const struct {
    ptrdiff_t offset;
    uint8_t bits;
} head_bits[] = {{7, 8}, {7, 7}, {15, 8}, {23, 1}, {23, 6}, {16, 1}, {24, 0x10}, {55, 1}};

static void damage_head(size_t i)
{
    kit_damage_bits(&kit, "\5thinga", 7 + head_bits[i].offset, head_bits[i].bits);
}

Test(damaged, head_is_built_upon_by_no_event_and_hides_none)
{
    static const struct quipu_filter of_aggregate[] = {
        {.aggregate_type = "thing", .aggregate_id = "a"},
        {.aggregate_type = "thing", .aggregate_id = "a", .direction = QUIPU_BACKWARDS},
    };
    for (size_t i = 0; i < sizeof head_bits / sizeof head_bits[0]; i++) {
        struct quipu_event event = kit_event(&kit, "a", 6);
        damage_head(i);
        cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_CORRUPT, "%zu", i);
        cr_assert_not_null(strstr(kit.err.message, "--repair-indexes"), "%s", kit.err.message);
        for (size_t k = 0; k < 2; k++) {
            struct seen seen = {0};
            cr_assert_eq(quipu_each_event(kit.engine, &of_aggregate[k], see, &seen, &kit.err),
                         QUIPU_CORRUPT, "%zu", i);
            cr_assert_eq(seen.positions, 0);
        }
        kit_append(&kit, "b", (int)i); /* others go on */
        damage_head(i);
    }
    kit_append(&kit, "a", 6);
    kit_assert_sound(&kit, LAST + 1 + sizeof head_bits / sizeof head_bits[0]);
}

Test(damaged, head_whose_name_was_changed_hides_no_event)
{
    struct seen seen = {0};
    struct quipu_filter filter = {.aggregate_type = "thing", .aggregate_id = "a"};
    kit_append(&kit, "c", 1);
    kit_damage_bits(&kit, "\5thinga", 6, 1 << 4);
    cr_assert_eq(quipu_each_event(kit.engine, &filter, see, &seen, &kit.err), QUIPU_CORRUPT);
    filter.direction = QUIPU_BACKWARDS;
    cr_assert_eq(quipu_each_event(kit.engine, &filter, see, &seen, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(seen.positions, 0);
}

Test(damaged, cause_gives_no_event_a_wrong_link)
{
    struct quipu_event event = kit_event(&kit, "b", 6);
    event.causation_id = kit_uuid(DAMAGED);
    damage_envelope();
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(kit.err.message, "position 3"), "%s", kit.err.message);
    damage_envelope();
    kit_append(&kit, "b", 6);
}

/* ------------------------------------------------------------------ the log */

/* Every way through the log that quipu_each_event has, and what it may show before it ends. */
static const struct {
    const char *name;
    struct quipu_filter filter;
    uint64_t shown;
} walks[] = {
    {"log", {0}, 0x6},
    {"log backwards", {.direction = QUIPU_BACKWARDS}, 0x30},
    {"aggregate", {.aggregate_type = "thing", .aggregate_id = "a"}, 0x6},
    {"aggregate backwards",
     {.aggregate_type = "thing", .aggregate_id = "a", .direction = QUIPU_BACKWARDS},
     0x30},
    {"event type", {.event_type = "thing.changed"}, 0x6},
    {"event type backwards", {.event_type = "thing.changed", .direction = QUIPU_BACKWARDS}, 0x30},
    {"correlation", {.correlation_id = OF_IT}, 0},
    {"from it on", {.after = DAMAGED - 1}, 0},
};

Test(damaged, event_ends_every_walk_over_the_log)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        kinds[kind].damage();
        for (size_t i = 0; i < sizeof walks / sizeof walks[0]; i++) {
            struct seen seen = {0};
            assert_said(quipu_each_event(kit.engine, &walks[i].filter, see, &seen, &kit.err), kind,
                        walks[i].name);
            cr_assert_eq(seen.positions, walks[i].shown, "%s", walks[i].name);
        }
        struct quipu_filter around = {.until = DAMAGED - 1};
        struct seen seen = {0};
        kit_assert_ok(&kit, quipu_each_event(kit.engine, &around, see, &seen, &kit.err));
        kinds[kind].damage(); /* back */
        kit_assert_ok(&kit, quipu_each_event(kit.engine, NULL, see, &seen, &kit.err));
        cr_assert_eq(seen.positions, 0x3e);
    }
}

/* ------------------------------------------------------------------ the record's own words */

static void change_event_id(struct quipu_record *record)
{
    record->event_id.bytes[9] ^= 1;
}

static void change_payload_cid(struct quipu_record *record)
{
    record->payload_cid.digest[31] ^= 1;
}

static void change_version(struct quipu_record *record)
{
    record->version++;
}

static void change_aggregate_type(struct quipu_record *record)
{
    record->aggregate.type.len--;
}

static void change_aggregate_id(struct quipu_record *record)
{
    record->aggregate.id = quipu_slice_text("b");
}

static void change_event_type(struct quipu_record *record)
{
    record->event_type.len--;
}

static void change_correlation_id(struct quipu_record *record)
{
    record->correlation_id = record->event_id;
}

/* What a record says beside its envelope is in no hash: it is held against it. */
Test(damaged, record_that_says_another_thing_than_its_envelope_is_no_event)
{
    static void (*const changes[])(struct quipu_record * record) = {
        change_event_id,     change_payload_cid, change_version,        change_aggregate_type,
        change_aggregate_id, change_event_type,  change_correlation_id,
    };
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view event;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, DAMAGED, &record, &kit.err));
    kit_assert_ok(&kit, quipu_event_view_of(&record, &event, &kit.err));
    cr_assert(quipu_uuid_equal(event.envelope.correlation_id, of_it));
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct quipu_record changed = record;
        changes[i](&changed);
        cr_assert_eq(quipu_event_view_of(&changed, &event, &kit.err), QUIPU_CORRUPT, "change %zu",
                     i);
        cr_assert_not_null(strstr(kit.err.message, "position 3: "), "%s", kit.err.message);
    }
    quipu_txn_abort(&txn);
}

Test(damaged, event_is_shown_to_who_says_that_he_verifies_it)
{
    struct quipu_filter filter = {.skips_hashing = true};
    struct seen seen = {0};
    damage_payload();
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, see, &seen, &kit.err));
    cr_assert_eq(seen.positions, 0x3e);
    seen.positions = 0;
    kit_assert_ok(&kit, quipu_each_event_causal(kit.engine, &filter, see, &seen, &kit.err));
    cr_assert_eq(seen.positions, 0x3e);
}

Test(damaged, event_ends_the_walk_in_causal_order)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct seen seen = {0};
        kinds[kind].damage();
        assert_said(quipu_each_event_causal(kit.engine, NULL, see, &seen, &kit.err), kind,
                    "causal");
        cr_assert_eq(seen.positions, 0x6);
        kinds[kind].damage();
    }
}

Test(damaged, event_ends_the_walk_over_what_waits_in_the_outbox)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct seen seen = {0};
        kinds[kind].damage();
        assert_said(quipu_outbox_each_pending(kit.engine, 0, 100, see, &seen, NULL, &kit.err), kind,
                    "outbox");
        cr_assert_eq(seen.positions, 0x6);
        kinds[kind].damage();
    }
}

/* ------------------------------------------------------------------ one event, one aggregate */

static enum quipu_status ask(const char *json)
{
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    struct quipu_buf reply = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_query_answer(kit.engine, kit_block(&kit, json), &options, &reply, &kit.err);
    quipu_buf_release(&reply);
    return status;
}

Test(damaged, event_is_no_answer_to_a_query)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        kinds[kind].damage();
        assert_said(ask("{\"query\":\"event\",\"position\":3}"), kind, "event");
        assert_said(ask("{\"query\":\"events\"}"), kind, "events");
        kit_assert_ok(&kit, ask("{\"query\":\"event\",\"position\":2}"));
        kinds[kind].damage();
    }
}

Test(damaged, event_is_not_folded_into_an_aggregate)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct tally_ctx ctx = {0};
        struct quipu_aggregate_kind tally = tally_kind(&ctx, 0);
        struct quipu_loaded loaded;
        kinds[kind].damage();
        assert_said(quipu_aggregate_load(kit.engine, &tally, "a", &loaded, &kit.err), kind, "load");
        cr_assert_eq(ctx.applied, 2);
        cr_assert_eq(ctx.live, 0);
        kinds[kind].damage();
    }
}

/* ------------------------------------------------------------------ subscriptions, processes */

Test(damaged, event_is_not_handed_to_a_subscription)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
        struct quipu_subscription *subscription = NULL;
        struct quipu_event_view event;
        struct seen seen = {0};
        kinds[kind].damage();
        kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
        kit_assert_ok(&kit, quipu_subscription_next(subscription, &event, &kit.err));
        kit_assert_ok(&kit, quipu_subscription_next(subscription, &event, &kit.err));
        cr_assert_eq(event.position, 2);
        assert_said(quipu_subscription_next(subscription, &event, &kit.err), kind, "next");
        assert_said(quipu_subscription_next(subscription, &event, &kit.err), kind, "next again");
        quipu_subscription_close(&subscription);

        options.name = kind == 0 ? "one" : "two";
        kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
        assert_said(quipu_subscription_run(subscription, QUIPU_RUN_CATCH_UP, see, &seen, &kit.err),
                    kind, "run");
        cr_assert_eq(seen.positions, 0x6);
        quipu_subscription_close(&subscription);
        kinds[kind].damage();
    }
}

static enum quipu_status react_not(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_reactions *out, struct quipu_error *err)
{
    (void)out;
    return see(ctx, event, err);
}

Test(damaged, event_is_not_shown_to_a_process)
{
    struct seen seen = {0};
    struct quipu_process_options options = QUIPU_PROCESS_OPTIONS_INIT;
    struct quipu_process *process = NULL;
    options.name = "process";
    options.react = react_not;
    options.ctx = &seen;
    damage_envelope();
    kit_assert_ok(&kit, quipu_process_open(kit.engine, &options, &process, &kit.err));
    assert_said(quipu_process_run(process, QUIPU_RUN_CATCH_UP, &kit.err), 1, "process");
    cr_assert_eq(seen.positions, 0x6);
    quipu_process_close(&process);
}

/* ------------------------------------------------------------------ projections */

static uint64_t position_of(const char *name)
{
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, name, &status, &kit.err));
    cr_assert_eq(status.parked_position, 0, "it is not parked");
    return status.position;
}

Test(damaged, event_ends_a_replay_and_does_not_park_it)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        static const enum quipu_replay_mode modes[] = {QUIPU_REPLAY_CATCH_UP, QUIPU_REPLAY_CATCH_UP,
                                                       QUIPU_REPLAY_REBUILD, QUIPU_REPLAY_CAUSAL};
        struct counting counting = {0};
        kinds[kind].damage();
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            assert_said(counts_replay(&kit, &counting, modes[i], NULL), kind, "replay");
            cr_assert_eq(position_of("counts"), 2, "what was applied is committed");
            counts_assert_rows(&kit, "counts", "", "a=2");
        }
        /* The byte is what it was: nobody need say so. */
        kinds[kind].damage();
        kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
        counts_assert_rows(&kit, "counts", "", "a=5");
        kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));
    }
}

Test(damaged, event_ends_a_run_of_projections_and_parks_none)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    const struct quipu_projection *list[] = {&projection};
    damage_payload();
    for (int i = 0; i < 2; i++) {
        assert_said(quipu_projections_run(kit.engine, list, 1, NULL, &kit.err), 0, "run");
        cr_assert_eq(position_of("counts"), 2);
    }
    damage_payload();
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, list, 1, NULL, &kit.err));
    counts_assert_rows(&kit, "counts", "", "a=5");
}

Test(damaged, what_a_handler_says_of_an_event_parks_as_ever)
{
    struct counting counting = {.poison = DAMAGED, .fail_with = QUIPU_CORRUPT};
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_CORRUPT);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_PARKED);
}

Test(damaged, event_is_applied_for_who_says_that_he_verifies_the_log)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    struct quipu_run_options run = QUIPU_RUN_OPTIONS_INIT;
    const struct quipu_projection *list[] = {&projection};
    damage_payload();
    options.skips_hashing = true;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err));
    counts_assert_rows(&kit, "counts", "", "a=5");
    options.mode = QUIPU_REPLAY_CAUSAL;
    kit_assert_ok(&kit, quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err));
    projection.name = "others";
    run.skips_hashing = true;
    kit_assert_ok(&kit, quipu_projections_run(kit.engine, list, 1, &run, &kit.err));
    counts_assert_rows(&kit, "others", "", "a=5");
}

static enum quipu_status react_to(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    return see(ctx, event, err);
}

static enum quipu_status apply_nothing(void *ctx, struct quipu_rows *rows,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    (void)ctx;
    (void)rows;
    (void)event;
    (void)err;
    return QUIPU_OK;
}

Test(damaged, event_is_not_reacted_to)
{
    struct seen seen = {0};
    struct quipu_projection projection = {
        .name = "reacts", .version = 1, .apply = apply_nothing, .ctx = &seen};
    /* Applied while it was sound; the reaction comes later. */
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(seen.positions, 0);
    damage_payload();
    struct quipu_event event = kit_event(&kit, "a", 6);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    projection.react = react_to;
    assert_said(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err), 0,
                "react");
    cr_assert_eq(seen.positions, 0x6);
    damage_payload();
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(seen.positions, 0x7e);
}
