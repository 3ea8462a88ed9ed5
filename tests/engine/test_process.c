/*
 * Process managers: what follows is appended once, whatever happens between append and cursor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine_kit.h"
#include "quipu/process.h"
#include "writer_kit.h"

/* What the process of a test does, and what it has seen. */
struct answering {
    struct kit *kit;
    struct quipu_process *process;
    size_t per_event; /* this many follow from each event */
    int n;            /* payload of what follows */
    uint64_t calls;
    uint64_t fail_at;
    uint64_t done_at;
    uint64_t stop_after;   /* calls */
    uint64_t conflicts;    /* so often another writer comes first */
    bool ignores_failures; /* of quipu_reactions_add */
};

static const char *const causes[] = {"thing.changed", NULL};

/* From each thing follow notes about it, to an aggregate of their own. */
static enum quipu_status answer_it(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_reactions *out, struct quipu_error *err)
{
    struct answering *answering = ctx;
    answering->calls++;
    if (event->position == answering->fail_at) {
        return quipu_error_set(err, QUIPU_INVALID, "cannot");
    }
    for (size_t i = 0; i < answering->per_event; i++) {
        char id[64];
        (void)snprintf(id, sizeof id, "%.*s-%lu", QUIPU_SLICE_FMT(event->envelope.aggregate_id),
                       (unsigned long)event->envelope.version);
        struct quipu_event follows = kit_event(answering->kit, id, answering->n);
        follows.type = "note.taken";
        follows.aggregate.type = "note";
        follows.expected = quipu_expect_exact(i);
        enum quipu_status status = quipu_reactions_add(out, &follows, err);
        memset(id, 'x', sizeof id); /* it was copied */
        if (status != QUIPU_OK && !answering->ignores_failures) {
            return status;
        }
        if (answering->conflicts > 0 && i == 0) {
            answering->conflicts--;
            struct quipu_event other = follows;
            (void)snprintf(id, sizeof id, "%.*s-%lu", QUIPU_SLICE_FMT(event->envelope.aggregate_id),
                           (unsigned long)event->envelope.version);
            other.expected = quipu_expect_any();
            kit_assert_ok(answering->kit, quipu_append(answering->kit->engine, &other, NULL, err));
        }
    }
    if (answering->calls == answering->stop_after) {
        quipu_process_stop(answering->process);
    }
    return event->position == answering->done_at ? QUIPU_DONE : QUIPU_OK;
}

static void process_open(struct answering *answering)
{
    struct quipu_process_options options = QUIPU_PROCESS_OPTIONS_INIT;
    options.name = "notes";
    options.event_types = causes;
    options.react = answer_it;
    options.ctx = answering;
    kit_assert_ok(answering->kit, quipu_process_open(answering->kit->engine, &options,
                                                     &answering->process, &answering->kit->err));
}

static enum quipu_status process_run(struct answering *answering, enum quipu_run_mode mode)
{
    process_open(answering);
    enum quipu_status status = quipu_process_run(answering->process, mode, &answering->kit->err);
    quipu_process_close(&answering->process);
    return status;
}

static enum quipu_status count_notes(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(size_t *)ctx;
    return QUIPU_OK;
}

static size_t notes(struct kit *kit)
{
    size_t count = 0;
    struct quipu_filter filter = {.event_type = "note.taken"};
    kit_assert_ok(kit, quipu_each_event(kit->engine, &filter, count_notes, &count, &kit->err));
    return count;
}

Test(process, ids_are_those_of_the_specification)
{
    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(quipu_reaction_id("issuer", kit_uuid(7), 3), text);
    cr_assert_str_eq(text, "791929c4-7edf-8607-ba67-42e54ec955e4");
}

static bool is_readable(const struct quipu_process *process)
{
    struct pollfd polled = {.fd = quipu_process_fd(process), .events = POLLIN};
    return poll(&polled, 1, 0) == 1 && (polled.revents & POLLIN) != 0;
}

Test(process, its_descriptor_says_when_to_run)
{
    struct kit kit;
    kit_open(&kit);
    struct answering answering = {.kit = &kit, .per_event = 1};
    process_open(&answering);

    kit_assert_ok(&kit, quipu_process_run(answering.process, QUIPU_RUN_CATCH_UP, &kit.err));
    cr_assert(!is_readable(answering.process));
    kit_append(&kit, "a", 1);
    cr_assert(is_readable(answering.process));
    kit_assert_ok(&kit, quipu_process_run(answering.process, QUIPU_RUN_CATCH_UP, &kit.err));
    if (is_readable(answering.process)) { /* by what it appended itself */
        kit_assert_ok(&kit, quipu_process_run(answering.process, QUIPU_RUN_CATCH_UP, &kit.err));
    }
    cr_assert(!is_readable(answering.process));
    cr_assert_eq(notes(&kit), 1);

    quipu_process_close(&answering.process);
    kit_close(&kit);
}

Test(process, carries_correlation_and_cause)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_event first = kit_event(&kit, "a", 1);
    first.correlation_id = kit_uuid(9);
    struct quipu_appended cause;
    kit_assert_ok(&kit, quipu_append(kit.engine, &first, &cause, &kit.err));
    struct answering answering = {.kit = &kit, .per_event = 2};
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));

    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    cr_assert_eq(quipu_txn_last_position(txn), 3);
    for (uint64_t i = 0; i < 2; i++) {
        struct quipu_record record;
        struct quipu_event_view view;
        kit_assert_ok(&kit, quipu_txn_record_at(txn, 2 + i, &record, &kit.err));
        kit_assert_ok(&kit, quipu_event_view_of(&record, &view, &kit.err));
        cr_assert(quipu_uuid_equal(view.envelope.event_id,
                                   quipu_reaction_id("notes", cause.event_id, i)));
        cr_assert(quipu_uuid_equal(view.envelope.correlation_id, kit_uuid(9)));
        cr_assert(quipu_uuid_equal(view.envelope.causation_id, cause.event_id));
        cr_assert(view.envelope.has_causation &&
                  quipu_cid_equal(&view.envelope.causation, &cause.cid));
        cr_assert(quipu_slice_equal(view.envelope.aggregate_id, quipu_slice_text("a-1")));
    }
    quipu_txn_abort(&txn);
    kit_assert_sound(&kit, 3);
    kit_close(&kit);
}

Test(process, goes_on_where_it_was)
{
    struct kit kit;
    kit_open(&kit);
    for (int n = 0; n < 5; n++) {
        kit_append(&kit, "a", n);
    }
    struct answering answering = {.kit = &kit, .per_event = 1, .fail_at = 4};
    cr_assert_eq(process_run(&answering, QUIPU_RUN_CATCH_UP), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "process notes, position 4: cannot");
    cr_assert_eq(notes(&kit), 3);
    answering.fail_at = 0;
    answering.done_at = 4;
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    cr_assert_eq(notes(&kit), 4, "what was said with QUIPU_DONE is appended: %zu", notes(&kit));
    answering.calls = 0;
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    cr_assert_eq(answering.calls, 1, "each event once");
    cr_assert_eq(notes(&kit), 5);
    kit_close(&kit);
}

/* The answer is what was said first, also where the second time something else would be said. */
Test(process, an_event_that_is_met_again_is_not_answered_again)
{
    struct kit kit;
    kit_open(&kit);
    for (int n = 0; n < 3; n++) {
        kit_append(&kit, "a", n);
    }
    struct answering answering = {.kit = &kit, .per_event = 2, .n = 1};
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    kit_assert_ok(&kit, quipu_subscription_reset(kit.engine, "notes", 0, &kit.err));
    answering.n = 2;
    answering.per_event = 3;
    answering.calls = 0;
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    cr_assert_eq(answering.calls, 0);
    kit_assert_sound(&kit, 9);
    kit_close(&kit);
}

static void child_answers(void *ctx)
{
    struct kit *kit = ctx;
    kit_reopen(kit);
    struct answering answering = {.kit = kit, .per_event = 3};
    kit_assert_ok(kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
}

Test(process, killed_between_append_and_cursor)
{
    enum { CAUSES = 30 };
    struct kit kit;
    kit_open(&kit);
    for (int n = 0; n < CAUSES; n++) {
        kit_append(&kit, "a", n);
    }
    kit_shut(&kit);
    static const char *const points[] = {
        "engine.process.appended:kill:1", "engine.process.appended:kill:5",
        "engine.append.before_commit:kill:3", "engine.subscription.before_acknowledge:kill:1"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        int how = kit_run_child(points[i], child_answers, &kit);
        cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL, "%s", points[i]);
    }
    kit_reopen(&kit);
    struct answering answering = {.kit = &kit, .per_event = 3};
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    cr_assert_eq(answering.calls, 0, "all was answered, and the cursor had not moved");
    kit_assert_sound(&kit, CAUSES + 3 * CAUSES);
    kit_close(&kit);
}

Test(process, is_asked_again_where_another_writer_came_first)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct answering answering = {.kit = &kit, .per_event = 1, .conflicts = 1};
    /* What it says the second time does not fit either: it expects that nothing is there. */
    cr_assert_eq(process_run(&answering, QUIPU_RUN_CATCH_UP), QUIPU_VERSION_CONFLICT);
    cr_assert_eq(answering.calls, QUIPU_REACTION_ATTEMPTS_MAX);
    cr_assert_eq(notes(&kit), 1);
    answering.per_event = 0; /* it has looked: nothing follows any more */
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    kit_assert_sound(&kit, 2);
    kit_close(&kit);
}

Test(process, limits)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct answering answering = {.kit = &kit, .per_event = QUIPU_REACTIONS_MAX + 1};
    cr_assert_eq(process_run(&answering, QUIPU_RUN_CATCH_UP), QUIPU_TOO_LARGE);
    answering.ignores_failures = true;
    cr_assert_eq(process_run(&answering, QUIPU_RUN_CATCH_UP), QUIPU_TOO_LARGE);
    cr_assert_eq(notes(&kit), 0, "half an answer is none");
    answering.per_event = QUIPU_REACTIONS_MAX;
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_CATCH_UP));
    cr_assert_eq(notes(&kit), QUIPU_REACTIONS_MAX);

    struct quipu_process_options options = QUIPU_PROCESS_OPTIONS_INIT;
    struct quipu_process *process = NULL;
    options.name = "x";
    cr_assert_eq(quipu_process_open(kit.engine, &options, &process, &kit.err), QUIPU_MISUSE);
    options.react = answer_it;
    options.name = NULL;
    cr_assert_eq(quipu_process_open(kit.engine, &options, &process, &kit.err), QUIPU_INVALID);
    options.name = "A";
    cr_assert_eq(quipu_process_open(kit.engine, &options, &process, &kit.err), QUIPU_INVALID);
    cr_assert_null(process);
    quipu_process_close(&process);
    kit_close(&kit);
}

static enum quipu_status with_an_id(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_reactions *out, struct quipu_error *err)
{
    (void)event;
    struct quipu_event follows = kit_event(ctx, "b", 1);
    follows.event_id = kit_uuid(1);
    return quipu_reactions_add(out, &follows, err);
}

Test(process, chooses_the_ids_itself)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 1);
    struct quipu_process_options options = QUIPU_PROCESS_OPTIONS_INIT;
    options.name = "x";
    options.react = with_an_id;
    options.ctx = &kit;
    struct quipu_process *process = NULL;
    kit_assert_ok(&kit, quipu_process_open(kit.engine, &options, &process, &kit.err));
    cr_assert_eq(quipu_process_run(process, QUIPU_RUN_CATCH_UP, &kit.err), QUIPU_MISUSE);
    quipu_process_close(&process);
    kit_assert_sound(&kit, 1);
    kit_close(&kit);
}

Test(process, runs_on_while_other_processes_append)
{
    struct kit kit;
    kit_open(&kit);
    struct writer writers[2];
    writers_start(writers, &kit, 100);
    struct answering answering = {.kit = &kit, .per_event = 1, .stop_after = 200};
    kit_assert_ok(&kit, process_run(&answering, QUIPU_RUN_ON));
    writers_end(writers);
    cr_assert_eq(notes(&kit), 200);
    kit_assert_sound(&kit, 400);
    kit_close(&kit);
}
