/*
 * Catch-up subscriptions: history first, then what comes in, each event once and in order, with no
 * gap and no double at the seam. Other threads and processes may append meanwhile.
 *
 * A subscription starts no thread. A host that has an event loop of its own polls the descriptor:
 *
 *     while ((status = quipu_subscription_next(subscription, &event, &err)) == QUIPU_OK) {
 *         …                                            until it says QUIPU_DONE; then poll the
 *     }                                                descriptor, and begin again when readable
 *
 * One that has not calls quipu_subscription_run.
 *
 * Events are read ahead into a buffer of bounded size, and no transaction is open between calls: a
 * slow reader costs neither memory nor room in the store. What it has not read stays in the log.
 *
 * How far it has come is kept in the store, under the subscription's name. The cursor moves when
 * the reader acknowledges, so that after a crash what was not acknowledged comes again. Effects in
 * the store itself can be made exactly once: see quipu_subscription_run_within.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SUBSCRIPTION_H
#define QUIPU_SUBSCRIPTION_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_SUBSCRIPTION_NAME_BYTES_MAX 64
#define QUIPU_SUBSCRIPTION_EVENTS_MAX     65536
#define QUIPU_SUBSCRIPTION_EVENTS_DEFAULT 256
#define QUIPU_SUBSCRIPTION_BYTES_DEFAULT  ((size_t)1 << 20)

struct quipu_subscription;

/** Where a subscription begins that has no cursor in the store; one that has goes on from there. */
enum quipu_subscription_start {
    QUIPU_START_AT_BEGINNING = 0,
    /** Behind the position `after`. */
    QUIPU_START_AFTER,
    /** With the first event that is appended after open. */
    QUIPU_START_NOW,
};

/** All borrowed for the call of open. */
struct quipu_subscription_options {
    size_t size; /* sizeof this struct */
    /** Its cursor's name, [a-z0-9_-], 1 to 64 bytes; NULL: no cursor is kept. */
    const char *name;
    enum quipu_subscription_start start;
    uint64_t after;
    /** Only events of these types, NULL: of all. Ended by NULL. */
    const char *const *event_types;
    const char *aggregate_type;       /* NULL: any */
    const char *aggregate_id;         /* NULL: any; needs aggregate_type */
    struct quipu_uuid correlation_id; /* nil: any */
    /** Bounds of what is read ahead: events (1 to QUIPU_SUBSCRIPTION_EVENTS_MAX) and bytes of their
     * blocks; one event is always taken, however large. 0: the defaults above. */
    uint32_t buffer_events;
    size_t buffer_bytes;
    /** quipu_subscription_run acknowledges when it has caught up, and at the latest after so many
     * events; 1: after each. 0: 64. */
    uint32_t acknowledge_every;
    /** May put other slices, valid until the next call, and another schema into the view before it
     * is handed out. NULL: nothing. Stored bytes never change. */
    enum quipu_status (*upcast)(void *ctx, struct quipu_event_view *event, struct quipu_error *err);
    void *upcast_ctx;
};

#define QUIPU_SUBSCRIPTION_OPTIONS_INIT                                                            \
    {                                                                                              \
        .size = sizeof(struct quipu_subscription_options)                                          \
    }

/**
 * `options` NULL: every event from the beginning, no cursor. One with a name exists in the store
 * from its first opening until it is dropped, and is held by one holder at a time, over all
 * processes: two would take turns at each other's cursor. The engine must stay open until close.
 *
 * Each takes an inotify instance, of which Linux grants a user 128 unless
 * fs.inotify.max_user_instances says more (watch.h): so many can be open at a time.
 * @retval QUIPU_BUSY     the name is held; err says by which process
 * @retval QUIPU_INVALID  name, filter or bounds; `after` beyond the log's end
 * @retval QUIPU_IO       also where the limit of watches is reached; err says the cure
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_NO_SPACE, QUIPU_PERMISSION (a name in a
 * store that can only be read), QUIPU_MISUSE
 * @threads the handle: one thread at a time, but for quipu_subscription_stop
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_open(struct quipu_engine *engine,
                        const struct quipu_subscription_options *options,
                        struct quipu_subscription **out, struct quipu_error *err);

/** Close and set NULL. Acknowledges nothing. NULL is fine. */
QUIPU_API void quipu_subscription_close(struct quipu_subscription **subscription);

/** For poll, select or epoll: readable (level) as long as there may be more. Once next has said
 * QUIPU_DONE and it is not readable, there is nothing. Never read from it. Borrowed until close. */
QUIPU_API int quipu_subscription_fd(const struct quipu_subscription *subscription);

/**
 * The next event, without waiting. The view and its slices are valid until the next call on the
 * subscription.
 * @retval QUIPU_DONE  nothing for now: caught up, or (then the descriptor stays readable) a long
 * stretch of the log held nothing for this filter, and it is the host's turn
 * @retval QUIPU_CORRUPT, QUIPU_IO, QUIPU_NO_MEMORY, QUIPU_BUSY, or what `upcast` says; the same
 * event comes again
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_next(struct quipu_subscription *subscription, struct quipu_event_view *event,
                        struct quipu_error *err);

/** Wait until the descriptor is readable. @param timeout_ms  0: only look; negative: for ever
 * @retval QUIPU_OK  call next; also after a signal. @retval QUIPU_DONE  the time is up
 * @retval QUIPU_IO */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_wait(struct quipu_subscription *subscription, int timeout_ms,
                        struct quipu_error *err);

/**
 * Everything up to and with this position is dealt with. Durable when it returns. A position at or
 * before the cursor changes nothing. With the last one that next has handed out, the cursor goes on
 * over what the filter has left out behind it, as far as the log was looked at.
 * @retval QUIPU_INVALID  beyond the last event that next has handed out
 * @retval QUIPU_MISUSE   it has no name. @retval QUIPU_NOT_FOUND  it was dropped
 * @retval QUIPU_IO, QUIPU_NO_SPACE, …  as quipu_txn_commit
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_acknowledge(struct quipu_subscription *subscription, uint64_t position,
                               struct quipu_error *err);

/**
 * Everything that next has handed out is dealt with, and what the filter has left out behind it, or
 * where nothing came for it at all: a host that polls calls it when next has said QUIPU_DONE, so
 * that it does not go over a long log again after a restart. Never moves over an event that was not
 * handed out. Where there is nothing to move, nothing is written.
 * @retval QUIPU_MISUSE   it has no name. @retval QUIPU_NOT_FOUND  it was dropped
 * @retval QUIPU_IO, QUIPU_NO_SPACE, …  as quipu_txn_commit
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_acknowledge_all(struct quipu_subscription *subscription,
                                   struct quipu_error *err);

/** quipu_subscription_acknowledge within a write transaction of the caller's: what else it writes
 * is committed together with the cursor, or neither is. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_acknowledge_within(struct quipu_subscription *subscription,
                                      struct quipu_txn *txn, uint64_t position,
                                      struct quipu_error *err);

/* ------------------------------------------------------------------ running */

enum quipu_run_mode {
    /** Until there is nothing more. */
    QUIPU_RUN_CATCH_UP = 0,
    /** Until it is told to stop, or the callback ends it. */
    QUIPU_RUN_ON,
};

/**
 * Call `handle` for each event, and acknowledge after it: at least once. May append events.
 * QUIPU_DONE from `handle` ends well, its event acknowledged; a failure ends with it, in front of
 * that event, with all before it acknowledged. The cursor also moves over what the filter leaves
 * out: when the call ends, and while it runs on at the latest each 65,536 positions, and each 1,024
 * where it has caught up.
 * @retval QUIPU_OK  caught up, stopped, or QUIPU_DONE. As next and acknowledge, or what `handle`
 * says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_run(struct quipu_subscription *subscription, enum quipu_run_mode mode,
                       quipu_event_fn handle, void *ctx, struct quipu_error *err);

/** Makes its effects in `txn` only: tables of the host's (QUIPU_API of store.h). */
typedef enum quipu_status (*quipu_subscription_within_fn)(void *ctx, struct quipu_txn *txn,
                                                          const struct quipu_event_view *event,
                                                          struct quipu_error *err);

/**
 * The same with effects exactly once: `handle` writes into a transaction that is committed together
 * with the cursor, for several events at a time. It may be called again for an event whose
 * transaction came to nothing. It must not append, nor commit or abort. Needs a name
 * (QUIPU_MISUSE).
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_run_within(struct quipu_subscription *subscription, enum quipu_run_mode mode,
                              quipu_subscription_within_fn handle, void *ctx,
                              struct quipu_error *err);

/** Have the run in progress, or else the next one, end after the event it is at; end a wait.
 * @threads any; also from a signal handler */
QUIPU_API void quipu_subscription_stop(struct quipu_subscription *subscription);

/* ------------------------------------------------------------------ cursors by name */

struct quipu_subscription_cursor {
    struct quipu_slice name;
    uint64_t position; /* acknowledged; everything up to it is dealt with */
    uint64_t behind;   /* positions of the log after it, whatever the filter says of them */
    int64_t acknowledged_unix_us;
};
typedef enum quipu_status (*quipu_subscription_cursor_fn)(
    void *ctx, const struct quipu_subscription_cursor *cursor, struct quipu_error *err);

/** Call `visit` for each, by name, in one snapshot; it is valid during the call. QUIPU_DONE from
 * the callback ends well. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_each_subscription(struct quipu_engine *engine, quipu_subscription_cursor_fn visit, void *ctx,
                        struct quipu_error *err);

/** Have it go on behind `position`, forwards or back. @retval QUIPU_NOT_FOUND, QUIPU_BUSY (held),
 * QUIPU_INVALID (beyond the log's end), or as quipu_txn_commit */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_subscription_reset(struct quipu_engine *engine,
                                                                      const char *name,
                                                                      uint64_t position,
                                                                      struct quipu_error *err);

/** Forget it, and its lock's file. @retval QUIPU_NOT_FOUND, QUIPU_BUSY (held), or as
 * quipu_txn_commit */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_subscription_drop(struct quipu_engine *engine, const char *name, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
