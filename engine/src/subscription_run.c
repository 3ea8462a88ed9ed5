/*
 * The loops around a subscription, for hosts that have none: at least once, or exactly once for
 * what is written in the store.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "engine_impl.h"
#include "internal/failpoint.h"
#include "slice_budget.h"
#include "subscription_impl.h"

void quipu_subscription_stop(struct quipu_subscription *subscription)
{
    atomic_store(&subscription->is_stopped, true);
    quipu_watch_wake(subscription->watch);
}

/* A run that waits leaves the cursor behind by less than so many positions that the filter has left
 * out: a commit for each of them would cost more than looking at them again. */
#define LEFT_OUT_MAX 1024

/* The filter has left out everything since the last event: move the cursor over it where that is
 * worth a commit. */
static enum quipu_status left_out_acknowledge(struct quipu_subscription *subscription,
                                              enum quipu_run_mode mode, struct quipu_error *err)
{
    bool is_worth_it = mode == QUIPU_RUN_CATCH_UP || subscription->is_behind ||
                       subscription->looked - subscription->cursor >= LEFT_OUT_MAX;
    return subscription->lock != NULL && is_worth_it
               ? quipu_subscription_acknowledge_all(subscription, err)
               : QUIPU_OK;
}

/* Nothing is there now. @retval QUIPU_DONE  and that ends the run */
static enum quipu_status rest(struct quipu_subscription *subscription, enum quipu_run_mode mode,
                              struct quipu_error *err)
{
    /* A wake that came before the look was cleared by it; then this says what it was for. */
    if (subscription->is_behind || atomic_load(&subscription->is_stopped)) {
        return QUIPU_OK;
    }
    if (mode == QUIPU_RUN_CATCH_UP) {
        return QUIPU_DONE;
    }
    enum quipu_status status = quipu_failpoint("engine.subscription.rest", err);
    return status == QUIPU_OK ? quipu_subscription_wait(subscription, -1, err) : status;
}

/* ------------------------------------------------------------------ at least once */

struct run {
    struct quipu_subscription *subscription;
    uint32_t open; /* events handled and not acknowledged */
};

static enum quipu_status run_acknowledge(struct run *run, struct quipu_error *err)
{
    struct quipu_subscription *subscription = run->subscription;
    if (run->open == 0 || subscription->lock == NULL) {
        run->open = 0;
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_failpoint("engine.subscription.before_acknowledge", err);
    if (status == QUIPU_OK) {
        status = quipu_subscription_acknowledge(subscription, subscription->handed, err);
    }
    if (status == QUIPU_OK) {
        run->open = 0;
    }
    return status;
}

/* One event, or a rest. @retval QUIPU_DONE  it ends well */
static enum quipu_status run_step(struct run *run, enum quipu_run_mode mode, quipu_event_fn handle,
                                  void *ctx, struct quipu_error *err)
{
    struct quipu_subscription *subscription = run->subscription;
    enum quipu_status status = subscription_fill(subscription, err);
    if (status == QUIPU_DONE) {
        status = run_acknowledge(run, err);
        if (status == QUIPU_OK) {
            status = left_out_acknowledge(subscription, mode, err);
        }
        return status == QUIPU_OK ? rest(subscription, mode, err) : status;
    }
    struct quipu_event_view event;
    if (status == QUIPU_OK) {
        status = subscription_peek(subscription, &event, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = handle(ctx, &event, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    subscription->handed = event.position;
    subscription->events_next++;
    run->open++;
    if (status == QUIPU_OK && run->open >= subscription->options.acknowledge_every) {
        status = run_acknowledge(run, err);
    }
    return status;
}

enum quipu_status quipu_subscription_run(struct quipu_subscription *subscription,
                                         enum quipu_run_mode mode, quipu_event_fn handle, void *ctx,
                                         struct quipu_error *err)
{
    struct run run = {.subscription = subscription};
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !atomic_exchange(&subscription->is_stopped, false)) {
        status = run_step(&run, mode, handle, ctx, err);
    }
    status = status == QUIPU_DONE ? QUIPU_OK : status;
    /* Also what was handled before a failure; the first failure is the one to tell. */
    struct quipu_error *last_err = status == QUIPU_OK ? err : NULL;
    enum quipu_status last = run_acknowledge(&run, last_err);
    if (last == QUIPU_OK) {
        last = left_out_acknowledge(subscription, QUIPU_RUN_CATCH_UP, last_err);
    }
    return status == QUIPU_OK ? last : status;
}

/* ------------------------------------------------------------------ exactly once */

struct within {
    struct quipu_subscription *subscription;
    quipu_subscription_within_fn handle;
    void *ctx;
    size_t first;  /* event of the buffer with which the transaction begins */
    size_t limit;  /* it ends in front of this one */
    bool is_ended; /* the handler has said QUIPU_DONE */
};

/* Handle events of the buffer in this transaction. On a failure events_next is the one at fault. */
static enum quipu_status within_handle(struct within *within, struct quipu_txn *txn,
                                       struct quipu_error *err)
{
    struct quipu_subscription *subscription = within->subscription;
    struct slice_budget budget;
    slice_budget_start(&budget);
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && subscription->events_next < within->limit) {
        struct quipu_event_view event;
        status = subscription_peek(subscription, &event, err);
        if (status == QUIPU_OK) {
            status = within->handle(within->ctx, txn, &event, err);
        }
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        within->is_ended = status == QUIPU_DONE;
        subscription->handed = event.position;
        subscription->events_next++;
        if (slice_budget_spend(&budget)) {
            break;
        }
    }
    return quipu_subscription_acknowledge_within(subscription, txn, subscription->handed, err);
}

/* One transaction. Where it comes to nothing, its events are in front again. */
static enum quipu_status within_transaction(struct within *within, struct quipu_error *err)
{
    struct quipu_subscription *subscription = within->subscription;
    uint64_t handed = subscription->handed;
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(subscription->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = within_handle(within, txn, err);
    }
    size_t at = subscription->events_next;
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.subscription.before_commit", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        subscription->cursor = subscription->handed; /* or behind it */
    } else {
        subscription->events_next = within->first;
        subscription->handed = handed;
        within->limit = at;
        within->is_ended = false;
    }
    return status;
}

/* What is in the buffer. Of a transaction that fails at one event, those before it are done again
 * by themselves, so that the cursor stands in front of it. */
static enum quipu_status within_buffer(struct within *within, struct quipu_error *err)
{
    struct quipu_subscription *subscription = within->subscription;
    within->first = subscription->events_next;
    within->limit = subscription->events_len;
    enum quipu_status status = within_transaction(within, err);
    if (status != QUIPU_OK && within->limit > within->first &&
        within->limit < subscription->events_len) {
        /* Where that fails too, everything stands where it stood; the first failure is told. */
        (void)within_transaction(within, NULL);
    }
    return status == QUIPU_OK && within->is_ended ? QUIPU_DONE : status;
}

enum quipu_status quipu_subscription_run_within(struct quipu_subscription *subscription,
                                                enum quipu_run_mode mode,
                                                quipu_subscription_within_fn handle, void *ctx,
                                                struct quipu_error *err)
{
    if (subscription->lock == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a subscription without a name has no cursor to commit");
    }
    struct within within = {.subscription = subscription, .handle = handle, .ctx = ctx};
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !atomic_exchange(&subscription->is_stopped, false)) {
        status = subscription_fill(subscription, err);
        if (status == QUIPU_OK) {
            status = within_buffer(&within, err);
        } else if (status == QUIPU_DONE) {
            status = left_out_acknowledge(subscription, mode, err);
            status = status == QUIPU_OK ? rest(subscription, mode, err) : status;
        }
    }
    status = status == QUIPU_DONE ? QUIPU_OK : status;
    enum quipu_status last =
        left_out_acknowledge(subscription, QUIPU_RUN_CATCH_UP, status == QUIPU_OK ? err : NULL);
    return status == QUIPU_OK ? last : status;
}
