/*
 * Process managers (sagas): what happens in one aggregate causes something in another.
 *
 * A process manager is a name, a filter and a function that is shown one event after another and
 * says which events follow from it. These are appended, all or none, and then the cursor moves.
 *
 * Their event_ids derive from the process's name, the causing event's id and their place among what
 * follows from it. So where a crash comes between the append and the cursor, the event is met
 * again, found to be answered, and nothing is appended twice. Their causation_id is the causing
 * event's id and their correlation_id is that event's, unless `react` sets another.
 *
 * What `react` decides from should be the store: read it with the functions of engine.h, and give
 * what follows an expectation. An event that brought nothing leaves no trace and may be shown again
 * after a crash, when more has happened; the expectation is what keeps a second answer out.
 *
 * Where several stores share their events, let a process run in one of them: two would answer the
 * same cause twice under one event_id, and each store refuses the other's answer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PROCESS_H
#define QUIPU_PROCESS_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/subscription.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What may follow from one event. */
#define QUIPU_REACTIONS_MAX 64
/** How often `react` is asked again where another writer came first. */
#define QUIPU_REACTION_ATTEMPTS_MAX 16

/** Where `react` puts what follows. */
struct quipu_reactions;

/**
 * One more event follows. Copied. Its event_id must be nil. Its correlation_id and causation_id are
 * set where they are nil.
 * @retval QUIPU_TOO_LARGE  more than QUIPU_REACTIONS_MAX. @retval QUIPU_MISUSE  it has an event_id
 * @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_reactions_add(struct quipu_reactions *reactions,
                                                                 const struct quipu_event *event,
                                                                 struct quipu_error *err);

/** Borrowed for the call; texts and functions must stay until close. */
struct quipu_process_options {
    size_t size;      /* sizeof this struct */
    const char *name; /* of its cursor: a subscription's, see subscription.h */
    enum quipu_subscription_start start;
    uint64_t after;
    /** Only events of these types, NULL: of all. Ended by NULL. Leave out what the process itself
     * appends, or have `react` end the circle. */
    const char *const *event_types;
    const char *aggregate_type; /* NULL: any */
    /**
     * Say what follows from `event`; nothing may. Called again, with empty `out`, where an
     * expectation of what it said did not hold any more. May read the store. QUIPU_DONE ends the
     * run well once what was said is appended; a failure, or one of quipu_reactions_add, ends it in
     * front of the event.
     */
    enum quipu_status (*react)(void *ctx, const struct quipu_event_view *event,
                               struct quipu_reactions *out, struct quipu_error *err);
    void *ctx;
};

#define QUIPU_PROCESS_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(struct quipu_process_options)                                               \
    }

struct quipu_process;

/** @retval QUIPU_MISUSE (size, no `react`), QUIPU_INVALID (no name), or as quipu_subscription_open:
 * QUIPU_BUSY where another runs under this name
 * @threads the handle: one thread at a time, but for quipu_process_stop */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_process_open(struct quipu_engine *engine, const struct quipu_process_options *options,
                   struct quipu_process **out, struct quipu_error *err);

/** Close and set NULL. NULL is fine. */
QUIPU_API void quipu_process_close(struct quipu_process **process);

/**
 * React to each event, until there is nothing more (QUIPU_RUN_CATCH_UP) or until it is told to stop
 * (QUIPU_RUN_ON). What it appends itself is met in the same run where the filter lets it through.
 * @retval QUIPU_OK
 * @retval QUIPU_VERSION_CONFLICT  other writers came first, QUIPU_REACTION_ATTEMPTS_MAX times
 * @retval as quipu_append_batch, quipu_subscription_run, or what `react` says; err names process
 * and position, and the next run begins with that event
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_process_run(struct quipu_process *process, enum quipu_run_mode mode, struct quipu_error *err);

/** For a host's loop: run with QUIPU_RUN_CATCH_UP when it is readable. Borrowed until close. */
QUIPU_API int quipu_process_fd(const struct quipu_process *process);

/** Have a run end after the event it is at. @threads any; also from a signal handler */
QUIPU_API void quipu_process_stop(struct quipu_process *process);

/**
 * The event_id of what follows from event `cause` as number `index` (from 0) in the process `name`:
 * a UUIDv8 from SHA-256 over `quipu reaction 1` 00 name 00, the cause's 16 bytes and the index in 8
 * bytes. @threads any
 */
QUIPU_API struct quipu_uuid quipu_reaction_id(const char *name, struct quipu_uuid cause,
                                              uint64_t index);

#ifdef __cplusplus
}
#endif

#endif
