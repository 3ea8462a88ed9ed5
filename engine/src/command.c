/*
 * Running a command:
 *
 *  1. Load the aggregate.
 *  2. Ask what follows. What is said is copied, so that the caller's memory is its own again.
 *  3. Append it at exactly the version that was loaded.
 *  4. Another writer came first: fold what that one wrote, and go back to 2, a bounded number of
 *     times.
 *  5. Where enough events were folded, write a snapshot, whatever became of the command.
 *
 * Never writes to the store itself but through the append and the snapshot.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/command.h"

#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "kept_event.h"
#include "quipu/alloc.h"
#include "snapshot.h"

/* An event that was decided. */
struct decided {
    struct kept_event kept;
    bool is_own; /* of the command's aggregate */
};

struct quipu_decision {
    const char *aggregate_type;
    const char *aggregate_id;
    struct decided *items;
    struct quipu_event *events; /* as many as items, as quipu_append_batch wants them */
    struct quipu_appended *appended;
    size_t count;
    size_t cap;
    struct quipu_buf bytes;
    /* First failure of an add: half a decision is none, whether decide looked at it or not. */
    struct quipu_error failure;
};

/* ------------------------------------------------------------------ decisions */

static void decision_reset(struct quipu_decision *decision)
{
    decision->count = 0;
    decision->failure.status = QUIPU_OK;
    quipu_buf_reset(&decision->bytes);
}

static void decision_release(struct quipu_decision *decision)
{
    quipu_free(decision->items);
    quipu_free(decision->events);
    quipu_free(decision->appended);
    quipu_buf_release(&decision->bytes);
}

static enum quipu_status decision_fail(struct quipu_decision *decision, enum quipu_status status,
                                       const char *line, struct quipu_error *err)
{
    if (decision->failure.status == QUIPU_OK) {
        (void)quipu_error_set(&decision->failure, status, "%s", line); /* returns its argument */
    }
    return quipu_error_set(err, status, "%s", line);
}

static bool decision_grow(struct quipu_decision *decision)
{
    if (decision->count < decision->cap) {
        return true;
    }
    size_t cap = decision->cap == 0 ? 4 : 2 * decision->cap;
    struct decided *items = quipu_realloc(decision->items, cap, sizeof *items);
    if (items == NULL) {
        return false;
    }
    decision->items = items;
    struct quipu_event *events = quipu_realloc(decision->events, cap, sizeof *events);
    if (events == NULL) {
        return false;
    }
    decision->events = events;
    struct quipu_appended *appended = quipu_realloc(decision->appended, cap, sizeof *appended);
    if (appended == NULL) {
        return false;
    }
    decision->appended = appended;
    decision->cap = cap;
    return true;
}

enum quipu_status quipu_decision_add(struct quipu_decision *decision,
                                     const struct quipu_event *event, struct quipu_error *err)
{
    const char *type = event->aggregate.type;
    const char *id = event->aggregate.id;
    if ((type == NULL) != (id == NULL)) {
        return decision_fail(decision, QUIPU_MISUSE,
                             "an event has half the name of an aggregate; give both, or neither "
                             "for the command's own",
                             err);
    }
    bool is_own = type == NULL || (strcmp(type, decision->aggregate_type) == 0 &&
                                   strcmp(id, decision->aggregate_id) == 0);
    if (is_own && event->expected.kind != QUIPU_EXPECT_ANY) {
        return decision_fail(decision, QUIPU_MISUSE,
                             "an event of the command's own aggregate is appended at the version "
                             "that was loaded; leave its expectation open",
                             err);
    }
    if (decision->count == QUIPU_DECISION_EVENTS_MAX) {
        return decision_fail(decision, QUIPU_TOO_LARGE, "a decision has 1024 events at most", err);
    }
    if (!decision_grow(decision)) {
        return decision_fail(decision, QUIPU_NO_MEMORY, "out of memory for a decision", err);
    }
    struct quipu_buf *bytes = &decision->bytes;
    struct decided *decided = &decision->items[decision->count];
    decided->is_own = is_own;
    kept_event_add(bytes, event, &decided->kept);
    if (bytes->status != QUIPU_OK) {
        return decision_fail(decision, bytes->status, "out of memory for a decision", err);
    }
    decision->count++;
    return QUIPU_OK;
}

/* The events as quipu_append_batch wants them; those of the command's aggregate one behind the
 * other from `version` on. Returns how many these are. */
static uint64_t decision_finish(struct quipu_decision *decision, uint64_t version,
                                const struct quipu_command *command)
{
    uint64_t own = 0;
    for (size_t i = 0; i < decision->count; i++) {
        const struct decided *decided = &decision->items[i];
        struct quipu_event *event = &decision->events[i];
        *event = kept_event_get(&decision->bytes, &decided->kept);
        if (decided->is_own) {
            event->aggregate.type = decision->aggregate_type;
            event->aggregate.id = decision->aggregate_id;
            event->expected = quipu_expect_exact(version + own++);
        }
        if (quipu_uuid_is_nil(event->correlation_id)) {
            event->correlation_id = command->correlation_id;
        }
        if (quipu_uuid_is_nil(event->causation_id)) {
            event->causation_id = command->causation_id;
        }
    }
    return own;
}

/* ------------------------------------------------------------------ running */

struct command_run {
    struct quipu_engine *engine;
    const struct quipu_command *command;
    struct quipu_aggregate aggregate;
    struct quipu_decision decision;
    struct quipu_loaded loaded;
    uint32_t attempts;
    uint64_t own; /* events of the aggregate that were appended */
};

static enum quipu_status decide_once(struct command_run *run, struct quipu_error *err)
{
    struct quipu_decision *decision = &run->decision;
    struct quipu_error why = {.offset = QUIPU_ERROR_NO_OFFSET};
    decision_reset(decision);
    run->attempts++;
    enum quipu_status said = run->command->decide(run->command->ctx, &run->loaded, decision, &why);
    if (said == QUIPU_OK && decision->failure.status != QUIPU_OK) {
        why = decision->failure;
        said = why.status;
    }
    if (said != QUIPU_OK) {
        if (why.message[0] == 0) {
            (void)quipu_error_set(&why, said, "%s", quipu_status_text(said)); /* as above */
        }
        if (err != NULL) {
            *err = why;
        }
        return said;
    }
    run->own = decision_finish(decision, run->loaded.version, run->command);
    return QUIPU_OK;
}

/* Decide and append, as often as it takes and may. */
static enum quipu_status command_attempts(struct command_run *run, struct quipu_error *err)
{
    struct quipu_decision *decision = &run->decision;
    for (;;) {
        enum quipu_status status = decide_once(run, err);
        if (status != QUIPU_OK) {
            run->own = 0;
            return status;
        }
        status = quipu_append_batch(run->engine, decision->events, decision->count,
                                    decision->appended, NULL, err);
        if (status == QUIPU_OK) {
            return QUIPU_OK;
        }
        run->own = 0;
        if (status != QUIPU_VERSION_CONFLICT || run->attempts > run->command->retries) {
            return status;
        }
        status =
            aggregate_advance(run->engine, run->command->kind, run->aggregate, &run->loaded, err);
        if (status != QUIPU_OK) {
            quipu_loaded_release(run->command->kind, &run->loaded);
            return status;
        }
    }
}

/* A snapshot where one is due; behind the command's own events, which are stored, not folded. */
static void command_snapshot(struct command_run *run)
{
    const struct quipu_aggregate_kind *kind = run->command->kind;
    struct quipu_loaded *loaded = &run->loaded;
    if (loaded->state == NULL || !aggregate_is_due(kind, loaded->folded + run->own)) {
        return;
    }
    struct quipu_error why;
    if (run->own > 0 &&
        aggregate_advance(run->engine, kind, run->aggregate, loaded, &why) != QUIPU_OK) {
        snapshot_count_unwritten(run->engine);
        return;
    }
    snapshot_write(run->engine, kind, run->aggregate, loaded);
}

static void report_fill(const struct command_run *run, struct quipu_command_report *out)
{
    const struct quipu_decision *decision = &run->decision;
    *out = (struct quipu_command_report){
        .attempts = run->attempts,
        .events = decision->count,
        .version = run->loaded.version,
        .snapshot = run->loaded.snapshot,
    };
    if (decision->count > 0) {
        out->first = decision->appended[0];
        out->last = decision->appended[decision->count - 1];
    }
    for (size_t i = 0; i < decision->count; i++) {
        /* Of a duplicate it is the version that it had the first time. */
        if (decision->items[i].is_own && decision->appended[i].version > out->version) {
            out->version = decision->appended[i].version;
        }
    }
}

static enum quipu_status command_check(const struct quipu_command *command, struct quipu_error *err)
{
    if (command->size != sizeof *command) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "command: size %zu, expected %zu; start from QUIPU_COMMAND_INIT",
                               command->size, sizeof *command);
    }
    if (command->retries > QUIPU_COMMAND_RETRIES_MAX || command->decide == NULL ||
        command->kind == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a command needs a kind, a function that decides, and %d retries at "
                               "most",
                               QUIPU_COMMAND_RETRIES_MAX);
    }
    return aggregate_kind_check(command->kind, command->aggregate_id, err);
}

enum quipu_status quipu_command_run(struct quipu_engine *engine,
                                    const struct quipu_command *command,
                                    struct quipu_command_report *report, struct quipu_error *err)
{
    enum quipu_status status = command_check(command, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct command_run run = {
        .engine = engine,
        .command = command,
        .aggregate = {quipu_slice_text(command->kind->aggregate_type),
                      quipu_slice_text(command->aggregate_id)},
        .decision = {.aggregate_type = command->kind->aggregate_type,
                     .aggregate_id = command->aggregate_id},
    };
    status = aggregate_load(engine, command->kind, run.aggregate, &run.loaded, err);
    if (status == QUIPU_OK) {
        status = command_attempts(&run, err);
        if (status == QUIPU_OK && report != NULL) {
            report_fill(&run, report);
        }
        command_snapshot(&run);
    }
    quipu_loaded_release(command->kind, &run.loaded);
    decision_release(&run.decision);
    return status;
}
