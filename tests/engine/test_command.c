/*
 * Commands: load, decide, append at the version that was loaded, begin again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "after_test.h"
#include "command_kit.h"
#include "fork_kit.h"
#include "quipu/forks.h"

static struct kit kit;
static struct tally_ctx calls;
static struct quipu_aggregate_kind kind;
static struct add_command add;
static struct quipu_command command;

static void setup(void)
{
    kit_open(&kit);
    calls = (struct tally_ctx){0};
    kind = tally_kind(&calls, 0);
    add = (struct add_command){.kit = &kit, .value = 1};
    command = (struct quipu_command)QUIPU_COMMAND_INIT;
    command.kind = &kind;
    command.aggregate_id = "a";
    command.decide = decide_add;
    command.ctx = &add;
}

static void teardown(void)
{
    after_test_require(calls.live == 0, "every state is destroyed");
    kit_close(&kit);
}

TestSuite(command, .init = setup, .fini = teardown);

static enum quipu_status run(struct quipu_command_report *report)
{
    return quipu_command_run(kit.engine, &command, report, &kit.err);
}

/* ------------------------------------------------------------------ loading */

Test(command, loads_what_the_events_say)
{
    for (int i = 1; i <= 20; i++) {
        kit_append(&kit, i % 3 == 0 ? "b" : "a", i);
    }
    struct quipu_loaded loaded;

    struct tally tally = tally_load(&kit, &kind, "a", &loaded);

    tally_assert_equal(tally, tally_from_log(&kit, "a"));
    cr_assert_eq(tally.events, 14);
    cr_assert_eq(loaded.version, 14);
    cr_assert_eq(loaded.position, 20);
    cr_assert_eq(loaded.folded, 14);
    cr_assert_eq(loaded.snapshot, QUIPU_SNAPSHOT_NONE);
}

Test(command, loads_an_aggregate_without_events_as_it_is_created)
{
    struct quipu_loaded loaded;

    struct tally tally = tally_load(&kit, &kind, "nobody", &loaded);

    cr_assert_eq(tally.events, 0);
    cr_assert_eq(loaded.version, 0);
    cr_assert_eq(loaded.position, 0);
    cr_assert_eq(loaded.folded, 0);
}

Test(command, loads_more_events_than_a_slice_reads)
{
    enum { COUNT = 10500 };
    static struct quipu_event events[COUNT];
    struct quipu_slice payload = kit_block(&kit, "{\"n\":2}");
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = kit_event(&kit, "a", 2);
        events[i].payload = payload;
    }
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, NULL, NULL, &kit.err));

    struct tally tally = tally_load(&kit, &kind, "a", NULL);

    cr_assert_eq(tally.events, COUNT);
    cr_assert_eq(tally.sum, 2 * COUNT);
}

Test(command, names_the_version_that_could_not_be_applied)
{
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    calls.fail_at = 2;
    struct quipu_loaded loaded = {.version = 77};

    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "a", &loaded, &kit.err), QUIPU_INVALID);

    cr_assert_str_eq(kit.err.message, "thing/a version 2: poison");
    cr_assert_eq(loaded.version, 77, "untouched");
    cr_assert_eq(run(NULL), QUIPU_INVALID);
}

Test(command, refuses_kinds_and_names_that_are_none)
{
    struct quipu_loaded loaded;
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "", &loaded, &kit.err), QUIPU_INVALID);
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, NULL, &loaded, &kit.err), QUIPU_INVALID);
    kind.aggregate_type = "Thing";
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "a", &loaded, &kit.err), QUIPU_INVALID);
    kind.aggregate_type = "thing";
    kind.snapshot_every = 1;
    kind.save = NULL;
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "a", &loaded, &kit.err), QUIPU_MISUSE);
    kind.snapshot_every = 0;
    kind.apply = NULL;
    cr_assert_eq(quipu_aggregate_load(kit.engine, &kind, "a", &loaded, &kit.err), QUIPU_MISUSE);
}

/* ------------------------------------------------------------------ deciding */

Test(command, appends_what_was_decided_at_the_version_that_was_loaded)
{
    kit_append(&kit, "a", 5);
    add.events = 3;
    struct quipu_command_report report;

    kit_assert_ok(&kit, run(&report));

    cr_assert_eq(report.attempts, 1);
    cr_assert_eq(report.events, 3);
    cr_assert_eq(report.version, 4);
    cr_assert_eq(report.first.version, 2);
    cr_assert_eq(report.first.position, 2);
    cr_assert_eq(report.last.version, 4);
    cr_assert_eq(report.last.position, 4);
    cr_assert_eq(tally_from_log(&kit, "a").sum, 8);
    kit_assert_sound(&kit, 4);
}

Test(command, begins_an_aggregate)
{
    struct quipu_command_report report;
    kit_assert_ok(&kit, run(&report));
    cr_assert_eq(report.version, 1);
    cr_assert_eq(report.first.position, 1);
    kit_assert_sound(&kit, 1);
}

Test(command, hands_on_the_words_of_a_decision_that_refuses)
{
    kit_append(&kit, "a", 5);
    add.value = -6;
    command.retries = 3;
    struct quipu_command_report report = {.version = 77};

    cr_assert_eq(run(&report), QUIPU_INVALID);

    cr_assert_str_eq(kit.err.message, "there are only 5");
    cr_assert_eq(kit.err.status, QUIPU_INVALID);
    cr_assert_eq(add.decisions, 1, "a refusal is not asked for again");
    cr_assert_eq(report.version, 77, "untouched");
    kit_assert_sound(&kit, 1);
}

static enum quipu_status decide_silently(void *ctx, const struct quipu_loaded *loaded,
                                         struct quipu_decision *out, struct quipu_error *err)
{
    (void)loaded;
    (void)out;
    (void)err;
    return *(const enum quipu_status *)ctx;
}

Test(command, accepts_that_nothing_follows)
{
    kit_append(&kit, "a", 5);
    enum quipu_status said = QUIPU_OK;
    command.decide = decide_silently;
    command.ctx = &said;
    struct quipu_command_report report;

    kit_assert_ok(&kit, run(&report));

    cr_assert_eq(report.events, 0);
    cr_assert_eq(report.version, 1);
    cr_assert_eq(report.first.position, 0);
    kit_assert_sound(&kit, 1);
}

Test(command, says_the_status_of_a_refusal_without_words)
{
    enum quipu_status said = QUIPU_NOT_FOUND;
    command.decide = decide_silently;
    command.ctx = &said;
    cr_assert_eq(run(NULL), QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, quipu_status_text(QUIPU_NOT_FOUND));
    cr_assert_eq(quipu_command_run(kit.engine, &command, NULL, NULL), QUIPU_NOT_FOUND);
}

Test(command, refuses_to_be_called_wrongly)
{
    command.retries = QUIPU_COMMAND_RETRIES_MAX + 1;
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    command.retries = QUIPU_COMMAND_RETRIES_MAX;
    cr_assert_eq(run(NULL), QUIPU_OK);
    command.size--;
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    command.size++;
    command.decide = NULL;
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    command.decide = decide_add;
    command.kind = NULL;
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    command.kind = &kind;
    kit_assert_sound(&kit, 1);
}

/* ------------------------------------------------------------------ what may be decided */

/* Adds `event` and, where `is_swallowed`, does not look at what was said. */
struct decide_event {
    struct quipu_event event;
    size_t times;
    bool is_swallowed;
};

static enum quipu_status decide_events(void *ctx, const struct quipu_loaded *loaded,
                                       struct quipu_decision *out, struct quipu_error *err)
{
    (void)loaded;
    const struct decide_event *wanted = ctx;
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < wanted->times; i++) {
        status = quipu_decision_add(out, &wanted->event, err);
    }
    return wanted->is_swallowed ? QUIPU_OK : status;
}

Test(command, refuses_half_names_and_expectations_of_its_own_aggregate)
{
    struct decide_event wanted = {.event = kit_event(&kit, "a", 1), .times = 1};
    command.decide = decide_events;
    command.ctx = &wanted;
    wanted.event.expected = quipu_expect_exact(0);
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    wanted.is_swallowed = true;
    cr_assert_eq(run(NULL), QUIPU_MISUSE, "half a decision is none");
    wanted.event.expected = quipu_expect_any();
    wanted.event.aggregate.id = NULL;
    cr_assert_eq(run(NULL), QUIPU_MISUSE);
    wanted.event.aggregate.id = "a"; /* its own by its whole name */
    wanted.times = 2;
    struct quipu_command_report report;
    kit_assert_ok(&kit, run(&report));
    cr_assert_eq(report.version, 2);
}

Test(command, holds_a_decision_to_its_number_of_events)
{
    struct decide_event wanted = {.event = kit_event(&kit, "a", 1),
                                  .times = QUIPU_DECISION_EVENTS_MAX + 1};
    command.decide = decide_events;
    command.ctx = &wanted;
    cr_assert_eq(run(NULL), QUIPU_TOO_LARGE);
    kit_assert_sound(&kit, 0);
    wanted.times = QUIPU_DECISION_EVENTS_MAX;
    cr_assert_eq(run(NULL), QUIPU_OK, "%s", kit.err.message);
    kit_assert_sound(&kit, QUIPU_DECISION_EVENTS_MAX);
}

/* Moves 5 from "a" to "b", which must be at this version. */
static enum quipu_status decide_move(void *ctx, const struct quipu_loaded *loaded,
                                     struct quipu_decision *out, struct quipu_error *err)
{
    (void)loaded;
    struct quipu_event take = kit_event(&kit, NULL, -5);
    take.aggregate.type = NULL;
    struct quipu_event give = kit_event(&kit, "b", 5);
    give.expected = quipu_expect_exact(*(const uint64_t *)ctx);
    enum quipu_status status = quipu_decision_add(out, &take, err);
    return status == QUIPU_OK ? quipu_decision_add(out, &give, err) : status;
}

Test(command, decides_about_other_aggregates_all_or_none)
{
    kit_append(&kit, "a", 10);
    kit_append(&kit, "b", 1);
    uint64_t version_of_b = 2;
    command.decide = decide_move;
    command.ctx = &version_of_b;

    cr_assert_eq(run(NULL), QUIPU_VERSION_CONFLICT);
    cr_assert_not_null(strstr(kit.err.message, "thing/b"), "%s", kit.err.message);
    kit_assert_sound(&kit, 2);

    version_of_b = 1;
    struct quipu_command_report report;
    kit_assert_ok(&kit, run(&report));
    cr_assert_eq(report.version, 2, "of the command's own");
    cr_assert_eq(tally_from_log(&kit, "a").sum, 5);
    cr_assert_eq(tally_from_log(&kit, "b").sum, 6);
    kit_assert_sound(&kit, 4);
}

struct ids {
    struct quipu_uuid correlation;
    struct quipu_uuid causation;
};

static enum quipu_status ids_of(void *ctx, const struct quipu_event_view *event,
                                struct quipu_error *err)
{
    (void)err;
    *(struct ids *)ctx = (struct ids){event->envelope.correlation_id, event->envelope.causation_id};
    return QUIPU_OK;
}

static struct ids ids_at(uint64_t position)
{
    struct ids ids = {{{0}}, {{0}}};
    struct quipu_filter filter = {.after = position - 1, .until = position};
    kit_assert_ok(&kit, quipu_each_event(kit.engine, &filter, ids_of, &ids, &kit.err));
    return ids;
}

Test(command, gives_its_correlation_and_cause_to_events_without)
{
    command.correlation_id = kit_uuid(1);
    command.causation_id = kit_uuid(2);
    kit_assert_ok(&kit, run(NULL));
    cr_assert(quipu_uuid_equal(ids_at(1).correlation, kit_uuid(1)));
    cr_assert(quipu_uuid_equal(ids_at(1).causation, kit_uuid(2)));

    struct decide_event wanted = {.event = kit_event(&kit, "a", 1), .times = 1};
    wanted.event.correlation_id = kit_uuid(3);
    wanted.event.causation_id = kit_uuid(4);
    command.decide = decide_events;
    command.ctx = &wanted;
    kit_assert_ok(&kit, run(NULL));
    cr_assert(quipu_uuid_equal(ids_at(2).correlation, kit_uuid(3)));
    cr_assert(quipu_uuid_equal(ids_at(2).causation, kit_uuid(4)));
}

/* ------------------------------------------------------------------ other writers */

static void write_between(struct add_command *mine)
{
    kit_append(mine->kit, "a", 100);
}

static void write_between_once(struct add_command *mine)
{
    if (mine->decisions == 1) {
        kit_append(mine->kit, "a", -3);
    }
}

Test(command, hands_on_a_conflict_where_no_retry_is_allowed)
{
    add.meddle = write_between;
    cr_assert_eq(run(NULL), QUIPU_VERSION_CONFLICT);
    cr_assert_eq(add.decisions, 1);
    kit_assert_sound(&kit, 1);
}

Test(command, begins_again_with_what_the_other_writer_wrote)
{
    kit_append(&kit, "a", 5);
    add.meddle = write_between_once;
    command.retries = 1;
    struct quipu_command_report report;

    kit_assert_ok(&kit, run(&report));

    cr_assert_eq(report.attempts, 2);
    cr_assert_eq(report.version, 3);
    cr_assert_eq(calls.applied, 2, "only what is new is folded");
    cr_assert_eq(tally_from_log(&kit, "a").sum, 3);
}

Test(command, decides_anew_by_what_the_other_writer_wrote)
{
    kit_append(&kit, "a", 5);
    add.meddle = write_between_once;
    add.value = -4;
    command.retries = 5;
    cr_assert_eq(run(NULL), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "there are only 2");
    kit_assert_sound(&kit, 2);
}

Test(command, begins_again_as_often_as_it_may)
{
    add.meddle = write_between;
    command.retries = 4;
    cr_assert_eq(run(NULL), QUIPU_VERSION_CONFLICT);
    cr_assert_eq(add.decisions, 5);
    kit_assert_sound(&kit, 5);
}

Test(command, fails_where_the_other_writers_event_cannot_be_applied)
{
    kit_append(&kit, "a", 5);
    add.meddle = write_between_once;
    calls.fail_at = 2;
    command.retries = 1;
    cr_assert_eq(run(NULL), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "thing/a version 2: poison");
}

struct teller {
    struct tally_ctx calls;
    struct quipu_aggregate_kind kind;
    struct add_command add;
    uint64_t attempts;
    uint64_t failures;
};

/* Take 3 where there are 3, over and over, until there are not. */
static void *teller_run(void *ctx)
{
    struct teller *teller = ctx;
    struct quipu_command mine = QUIPU_COMMAND_INIT;
    mine.kind = &teller->kind;
    mine.aggregate_id = "a";
    mine.decide = decide_add;
    mine.ctx = &teller->add;
    mine.retries = QUIPU_COMMAND_RETRIES_MAX;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_command_report report;
        struct quipu_error why;
        status = quipu_command_run(kit.engine, &mine, &report, &why);
        teller->attempts += status == QUIPU_OK ? report.attempts : 0;
    }
    teller->failures += status != QUIPU_INVALID;
    return NULL;
}

Test(command, of_several_threads_never_takes_what_is_not_there)
{
    enum { TELLERS = 4 };
    static struct teller tellers[TELLERS];
    pthread_t threads[TELLERS];
    kit_append(&kit, "a", 301);
    for (size_t i = 0; i < TELLERS; i++) {
        struct teller *teller = &tellers[i];
        *teller = (struct teller){.add = {.kit = &kit, .value = -3}};
        teller->kind = tally_kind(&teller->calls, 8);
        cr_assert_eq(pthread_create(&threads[i], NULL, teller_run, teller), 0);
    }
    uint64_t attempts = 0;
    for (size_t i = 0; i < TELLERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(tellers[i].failures, 0);
        cr_assert_eq(tellers[i].calls.live, 0);
        attempts += tellers[i].attempts;
    }
    struct tally tally = tally_from_log(&kit, "a");
    cr_assert_eq(tally.sum, 1);
    cr_assert_eq(tally.events, 101);
    cr_assert_geq(attempts, 100);
    tally_assert_equal(tally_load(&kit, &tellers[0].kind, "a", NULL), tally);
    kit_assert_sound(&kit, 101);
}

/* ------------------------------------------------------------------ forks */

Test(command, is_refused_while_its_aggregate_is_forked)
{
    struct kit twin;
    kit_open(&twin);
    twin.random_state = 77;
    kit_append(&kit, "a", 1);
    fork_kit_take_all(&twin, &kit);
    kit_append(&kit, "a", 2);
    kit_append(&twin, "a", 3);
    cr_assert_eq(fork_kit_take(&kit, &twin, 2), QUIPU_INGEST_ADDED);

    tally_assert_equal(tally_load(&kit, &kind, "a", NULL), tally_from_log(&kit, "a"));
    cr_assert_eq(run(NULL), QUIPU_FORK, "%s", kit.err.message);

    (void)fork_kit_merge(&kit, "a", 4);
    struct quipu_command_report report;
    kit_assert_ok(&kit, run(&report));
    cr_assert_eq(tally_from_log(&kit, "a").sum, 11);
    cr_assert_eq(report.version, 4);
    kit_close(&twin);
}
