/*
 * What the files of a subscription share.
 *
 *   subscription.c          opening, reading ahead, handing out
 *   subscription_cursor.c   names, cursors in the store, who holds one
 *   subscription_run.c      the loops around them
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_SUBSCRIPTION_IMPL_H
#define QUIPU_ENGINE_SUBSCRIPTION_IMPL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "quipu/buf.h"
#include "quipu/subscription.h"
#include "quipu/watch.h"

/* An event that was read ahead: its blocks lie in the buffer's bytes, envelope first. */
struct subscription_event {
    uint64_t position;
    struct quipu_cid cid;
    size_t at;
    size_t envelope_len;
    size_t payload_len;
};

struct quipu_subscription {
    struct quipu_engine *engine;
    struct quipu_watch *watch;
    struct quipu_store_lock *lock; /* NULL: no name */
    char name[QUIPU_SUBSCRIPTION_NAME_BYTES_MAX + 1];
    struct quipu_subscription_options options; /* its texts are our own copies, below */
    struct quipu_buf texts;
    const char **event_types;

    struct subscription_event *events; /* options.buffer_events of them */
    size_t events_len;
    size_t events_next; /* the first that was not handed out */
    bool is_full;       /* the last look ended because there was no more room */
    struct quipu_buf bytes;

    uint64_t looked; /* the log was looked at up to here… */
    bool is_behind;  /* …and there was more of it */
    uint64_t handed; /* position handed out last */
    uint64_t cursor; /* what is known to be stored */
    atomic_bool is_stopped;
};

/* ------------------------------------------------------------------ subscription_cursor.c */

/* @retval QUIPU_INVALID */
QUIPU_MUST_CHECK enum quipu_status subscription_name_check(const char *name,
                                                           struct quipu_error *err);

/* The lock of a name. @retval QUIPU_BUSY */
QUIPU_MUST_CHECK enum quipu_status subscription_hold(struct quipu_engine *engine, const char *name,
                                                     struct quipu_store_lock **out,
                                                     struct quipu_error *err);

/* @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status subscription_cursor_get(struct quipu_txn *txn, const char *name,
                                                           uint64_t *position,
                                                           struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status subscription_cursor_put(struct quipu_engine *engine,
                                                           struct quipu_txn *txn, const char *name,
                                                           uint64_t position,
                                                           struct quipu_error *err);

/* quipu_each_subscription in a transaction of the caller's. */
QUIPU_MUST_CHECK enum quipu_status subscription_each_in(struct quipu_txn *txn,
                                                        quipu_subscription_cursor_fn visit,
                                                        void *ctx, struct quipu_error *err);

/* ------------------------------------------------------------------ subscription.c */

/* The view of the event that is next in the buffer, which holds one. Does not hand it out. */
QUIPU_MUST_CHECK enum quipu_status subscription_peek(struct quipu_subscription *subscription,
                                                     struct quipu_event_view *out,
                                                     struct quipu_error *err);

/* Read ahead where the buffer is empty. @retval QUIPU_DONE  it still is */
QUIPU_MUST_CHECK enum quipu_status subscription_fill(struct quipu_subscription *subscription,
                                                     struct quipu_error *err);

#endif
