/*
 * A process manager: a subscription whose handler appends what follows from each event.
 *
 *  1. Is the first thing that can follow from this event stored already? Then the event was
 *     answered before a crash, whole, because an answer is appended all or none.
 *  2. Else ask `react`, give its events their ids, and append them in one batch.
 *  3. Another writer may have come first: ask again, a bounded number of times.
 *
 * The cursor moves when the subscription acknowledges. It may trail: step 1 is what makes that
 * harmless.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/process.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal/bytes.h"
#include "internal/failpoint.h"
#include "kept_event.h"
#include "quipu/alloc.h"
#include "quipu/buf.h"
#include "quipu/sha256.h"

/* What react has said so far. */
struct quipu_reactions {
    struct kept_event *items; /* QUIPU_REACTIONS_MAX */
    struct quipu_event *events;
    size_t count;
    struct quipu_buf bytes;
    /* First failure of an add: half an answer is none, whether react looked at it or not. */
    struct quipu_error failure;
};

struct quipu_process {
    struct quipu_engine *engine;
    struct quipu_process_options options;
    struct quipu_subscription *subscription;
    struct quipu_reactions reactions;
};

struct quipu_uuid quipu_reaction_id(const char *name, struct quipu_uuid cause, uint64_t index)
{
    static const char domain[] = "quipu reaction 1";
    uint8_t number[8];
    quipu_store_be64(number, index);
    struct quipu_sha256_stream stream;
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice(domain, sizeof domain));  /* with its NUL */
    quipu_sha256_stream_update(&stream, quipu_slice(name, strlen(name) + 1)); /* the same */
    quipu_sha256_stream_update(&stream, quipu_slice(cause.bytes, sizeof cause.bytes));
    quipu_sha256_stream_update(&stream, quipu_slice(number, sizeof number));
    quipu_sha256_stream_final(&stream, digest);
    struct quipu_uuid id;
    memcpy(id.bytes, digest, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80); /* RFC 9562 §5.8: version 8 */
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80); /* §4.1: the variant */
    return id;
}

/* ------------------------------------------------------------------ what follows */

static void reactions_reset(struct quipu_reactions *reactions)
{
    reactions->count = 0;
    reactions->failure.status = QUIPU_OK;
    quipu_buf_reset(&reactions->bytes);
}

static enum quipu_status reactions_fail(struct quipu_reactions *reactions, enum quipu_status status,
                                        const char *line, struct quipu_error *err)
{
    if (reactions->failure.status == QUIPU_OK) {
        (void)quipu_error_set(&reactions->failure, status, "%s", line); /* returns its argument */
    }
    return quipu_error_set(err, status, "%s", line);
}

enum quipu_status quipu_reactions_add(struct quipu_reactions *reactions,
                                      const struct quipu_event *event, struct quipu_error *err)
{
    if (reactions->count == QUIPU_REACTIONS_MAX) {
        return reactions_fail(reactions, QUIPU_TOO_LARGE, "more than 64 events follow from one",
                              err);
    }
    if (!quipu_uuid_is_nil(event->event_id)) {
        return reactions_fail(reactions, QUIPU_MISUSE,
                              "what a process appends gets its event_id from its cause; leave "
                              "event_id nil",
                              err);
    }
    struct quipu_buf *bytes = &reactions->bytes;
    kept_event_add(bytes, event, &reactions->items[reactions->count]);
    if (bytes->status != QUIPU_OK) {
        return reactions_fail(reactions, bytes->status,
                              "out of memory for what follows from an event", err);
    }
    reactions->count++;
    return QUIPU_OK;
}

/* The events as quipu_append_batch wants them. */
static const struct quipu_event *reactions_finish(struct quipu_process *process,
                                                  const struct quipu_envelope *cause)
{
    struct quipu_reactions *reactions = &process->reactions;
    for (size_t i = 0; i < reactions->count; i++) {
        struct quipu_event *event = &reactions->events[i];
        *event = kept_event_get(&reactions->bytes, &reactions->items[i]);
        event->event_id = quipu_reaction_id(process->options.name, cause->event_id, i);
        if (quipu_uuid_is_nil(event->correlation_id)) {
            event->correlation_id = cause->correlation_id;
        }
        if (quipu_uuid_is_nil(event->causation_id)) {
            event->causation_id = cause->event_id;
        }
    }
    return reactions->events;
}

/* ------------------------------------------------------------------ one event */

static enum quipu_status is_answered(const struct quipu_process *process, struct quipu_uuid cause,
                                     bool *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(process->engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record record;
    struct quipu_uuid id = quipu_reaction_id(process->options.name, cause, 0);
    status = quipu_txn_find_event_id(txn, id, &record, err);
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK || status == QUIPU_NOT_FOUND) {
        *out = status == QUIPU_OK;
        return QUIPU_OK;
    }
    return status;
}

static enum quipu_status react_once(struct quipu_process *process,
                                    const struct quipu_event_view *event, struct quipu_error *err)
{
    struct quipu_reactions *reactions = &process->reactions;
    reactions_reset(reactions);
    enum quipu_status said = process->options.react(process->options.ctx, event, reactions, err);
    if (said != QUIPU_OK && said != QUIPU_DONE) {
        return said;
    }
    if (reactions->failure.status != QUIPU_OK) {
        return quipu_error_set(err, reactions->failure.status, "%s", reactions->failure.message);
    }
    if (reactions->count == 0) {
        return said;
    }
    const struct quipu_event *events = reactions_finish(process, &event->envelope);
    enum quipu_status status =
        quipu_append_batch(process->engine, events, reactions->count, NULL, NULL, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.process.appended", err);
    }
    return status == QUIPU_OK ? said : status;
}

static enum quipu_status answer(void *ctx, const struct quipu_event_view *event,
                                struct quipu_error *err)
{
    struct quipu_process *process = ctx;
    bool was_answered = false;
    enum quipu_status status = is_answered(process, event->envelope.event_id, &was_answered, err);
    if (status == QUIPU_OK && !was_answered) {
        int attempts = 0;
        do {
            status = react_once(process, event, err);
            attempts++;
        } while (status == QUIPU_VERSION_CONFLICT && attempts < QUIPU_REACTION_ATTEMPTS_MAX);
    }
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return quipu_error_wrap(err, status, "process %s, position %" PRIu64, process->options.name,
                                event->position);
    }
    return status;
}

/* ------------------------------------------------------------------ public */

static enum quipu_status options_check(const struct quipu_process_options *options,
                                       struct quipu_error *err)
{
    if (options == NULL || options->size != sizeof *options || options->react == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "process options: want a size of %zu and a function to react; start "
                               "from QUIPU_PROCESS_OPTIONS_INIT",
                               sizeof(struct quipu_process_options));
    }
    return options->name != NULL
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_INVALID, "a process needs a name for its cursor");
}

enum quipu_status quipu_process_open(struct quipu_engine *engine,
                                     const struct quipu_process_options *options,
                                     struct quipu_process **out, struct quipu_error *err)
{
    enum quipu_status status = options_check(options, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_process *process = quipu_alloc_zero(1, sizeof *process);
    if (process == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for a process");
    }
    process->engine = engine;
    process->options = *options;
    struct quipu_reactions *reactions = &process->reactions;
    reactions->items = quipu_alloc(QUIPU_REACTIONS_MAX, sizeof *reactions->items);
    reactions->events = quipu_alloc(QUIPU_REACTIONS_MAX, sizeof *reactions->events);
    if (reactions->items == NULL || reactions->events == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for a process");
    }
    if (status == QUIPU_OK) {
        struct quipu_subscription_options wanted = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
        wanted.name = options->name;
        wanted.start = options->start;
        wanted.after = options->after;
        wanted.event_types = options->event_types;
        wanted.aggregate_type = options->aggregate_type;
        status = quipu_subscription_open(engine, &wanted, &process->subscription, err);
    }
    if (status != QUIPU_OK) {
        quipu_process_close(&process);
        return status;
    }
    *out = process;
    return QUIPU_OK;
}

void quipu_process_close(struct quipu_process **process_pointer)
{
    if (process_pointer == NULL || *process_pointer == NULL) {
        return;
    }
    struct quipu_process *process = *process_pointer;
    *process_pointer = NULL;
    quipu_subscription_close(&process->subscription);
    quipu_buf_release(&process->reactions.bytes);
    quipu_free(process->reactions.items);
    quipu_free(process->reactions.events);
    quipu_free(process);
}

enum quipu_status quipu_process_run(struct quipu_process *process, enum quipu_run_mode mode,
                                    struct quipu_error *err)
{
    return quipu_subscription_run(process->subscription, mode, answer, process, err);
}

int quipu_process_fd(const struct quipu_process *process)
{
    return quipu_subscription_fd(process->subscription);
}

void quipu_process_stop(struct quipu_process *process)
{
    quipu_subscription_stop(process->subscription);
}
