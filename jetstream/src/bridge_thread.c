/*
 * A bridge's thread: connect → subscribe → send what waits → look after the connection, round and
 * round, until it is told to stop. The threads of libnats only put messages into the queue.
 *
 * A message is taken out of the queue when it has been handed to a connection; one that found the
 * connection gone stays at the front.
 *
 * Specification: docs/SPEC.md §10.7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>
#include <time.h>

#include "bridge_impl.h"
#include "connection_state.h"
#include "nats_status.h"
#include "quipu/alloc.h"
#include "quipu/clock.h"

#define US_PER_S  1000000
#define NS_PER_MS 1000000
#define NS_PER_S  1000000000L
/* How often a connection is looked at that says nothing: lost, or (with a round trip) dead. */
#define LOOK_MS  50
#define CHECK_US ((int64_t)15 * US_PER_S)

/* ------------------------------------------------------------------ threads of the library */

static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *msg,
                       void *closure)
{
    (void)connection;
    (void)subscription;
    quipu_bridge_take(closure, msg);
}

static void on_complete(void *closure)
{
    struct quipu_bridge *bridge = closure;
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->callbacks--;
    (void)pthread_cond_broadcast(&bridge->done);
    (void)pthread_cond_signal(&bridge->work);
    (void)pthread_mutex_unlock(&bridge->mutex);
}

/* ------------------------------------------------------------------ subscriptions */

static void subscriptions_drop(struct quipu_bridge *bridge)
{
    for (size_t i = 0; i < bridge->subscription_count; i++) {
        natsSubscription_Destroy(bridge->subscriptions[i].subscription);
        bridge->subscriptions[i].subscription = NULL;
    }
}

static natsStatus subscribe(struct quipu_bridge *bridge, struct bridge_subscription *it)
{
    natsConnection *connection = bridge->nats->connection;
    natsStatus s = it->queue == NULL
                       ? natsConnection_Subscribe(&it->subscription, connection, it->subject,
                                                  on_message, bridge)
                       : natsConnection_QueueSubscribe(&it->subscription, connection, it->subject,
                                                       it->queue, on_message, bridge);
    if (s == NATS_OK) {
        (void)pthread_mutex_lock(&bridge->mutex);
        bridge->callbacks++;
        (void)pthread_mutex_unlock(&bridge->mutex);
        /* Where this fails, the connection was lost meanwhile and nobody can say when the library
         * is done with us: the count stays, and closing gives the memory up. */
        s = natsSubscription_SetOnCompleteCB(it->subscription, on_complete, bridge);
    }
    return s;
}

static enum quipu_status subscribe_all(struct quipu_bridge *bridge, struct quipu_error *err)
{
    subscriptions_drop(bridge);
    natsStatus s = NATS_OK;
    for (size_t i = 0; i < bridge->subscription_count && s == NATS_OK; i++) {
        s = subscribe(bridge, &bridge->subscriptions[i]);
    }
    if (s == NATS_OK) {
        s = quipu_nats_round_trip(bridge->nats);
    }
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "subscribing at %s", bridge->nats->server);
    }
    return quipu_nats_subscribed(bridge->nats, err);
}

/* Messages that the server has sent by now are called back before a subscription counts as drained.
 */
static void drain(struct quipu_bridge *bridge)
{
    int64_t timeout_us = bridge->nats->request_timeout_us;
    int64_t until_us = quipu_monotonic_us() + timeout_us;
    for (size_t i = 0; i < bridge->subscription_count; i++) {
        (void)natsSubscription_DrainTimeout(bridge->subscriptions[i].subscription,
                                            quipu_nats_ms(timeout_us));
    }
    for (size_t i = 0; i < bridge->subscription_count; i++) {
        /* One that is lost with its connection has nothing more to give. The time is that of all
         * of them together. */
        (void)natsSubscription_WaitForDrainCompletion(
            bridge->subscriptions[i].subscription, quipu_nats_ms(until_us - quipu_monotonic_us()));
    }
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->is_drained = true;
    (void)pthread_cond_broadcast(&bridge->done);
    (void)pthread_mutex_unlock(&bridge->mutex);
}

/* ------------------------------------------------------------------ the connection */

static bool connection_stands(const struct quipu_bridge *bridge)
{
    return bridge->nats != NULL && bridge->nats->connection != NULL &&
           !natsConnection_IsClosed(bridge->nats->connection);
}

static enum quipu_status connect_first(struct quipu_bridge *bridge, struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    enum quipu_status status = quipu_nats_open(&bridge->nats_options, &nats, err);
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->nats = nats;
    (void)pthread_mutex_unlock(&bridge->mutex);
    return status;
}

/* The server has all that was sent. */
static void note_confirmed(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->is_unconfirmed = false;
    (void)pthread_mutex_unlock(&bridge->mutex);
}

/* Of what went out last over the connection that was, nobody can say any more whether it arrived.
 * Holds the mutex. */
static void count_loss(struct quipu_bridge *bridge)
{
    bridge->losses += bridge->is_unconfirmed ? 1 : 0;
    bridge->is_unconfirmed = false;
}

/* There is no connection, and nothing to give back. Holds the mutex. */
static void lose(struct quipu_bridge *bridge)
{
    bridge->is_ready = false;
    bridge->is_drained = bridge->is_drained || bridge->wants_drain;
    count_loss(bridge);
    (void)pthread_cond_broadcast(&bridge->done);
}

static void note_lost(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    lose(bridge);
    (void)pthread_mutex_unlock(&bridge->mutex);
}

/* False: nothing is to be taken any more. */
static bool begin_subscribing(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->is_ready = false;
    count_loss(bridge);
    bridge->is_subscribing = !bridge->is_drained;
    bool begins = bridge->is_subscribing;
    (void)pthread_mutex_unlock(&bridge->mutex);
    return begins;
}

static void note_ready(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->is_ready = true;
    bridge->is_subscribing = false;
    bridge->counts.message_bytes_max =
        (uint64_t)natsConnection_GetMaxPayload(bridge->nats->connection);
    bridge->trouble.status = QUIPU_OK;
    bridge->trouble.message[0] = 0;
    (void)pthread_cond_broadcast(&bridge->done);
    (void)pthread_mutex_unlock(&bridge->mutex);
    quipu_link_mend(&bridge->nats->link);
}

/* A connection with the subscriptions on it. */
static enum quipu_status make_ready(struct quipu_bridge *bridge, struct quipu_error *err)
{
    if (bridge->is_ready && connection_stands(bridge)) {
        enum quipu_status kept = quipu_nats_keeps_subscriptions(bridge->nats, err);
        if (kept != QUIPU_OK || quipu_monotonic_us() - bridge->checked_us < CHECK_US) {
            return kept;
        }
    }
    if (!connection_stands(bridge)) {
        note_lost(bridge);
    }
    enum quipu_status status =
        bridge->nats == NULL ? connect_first(bridge, err) : quipu_nats_ready(bridge->nats, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_nats_report now;
    quipu_nats_state(bridge->nats, &now);
    if (!bridge->is_ready || now.connects != bridge->made_with) {
        /* After a drain nothing is to be taken any more. */
        status = begin_subscribing(bridge) ? subscribe_all(bridge, err) : QUIPU_OK;
    } else {
        note_confirmed(bridge); /* by the round trip above */
    }
    if (status == QUIPU_OK) {
        bridge->made_with = now.connects;
        bridge->checked_us = quipu_monotonic_us();
        quipu_backoff_reset(&bridge->backoff);
        if (!bridge->is_ready) {
            note_ready(bridge);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ sending */

static struct bridge_outgoing *outgoing_front(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    struct bridge_outgoing *item = bridge->outgoing;
    (void)pthread_mutex_unlock(&bridge->mutex);
    return item;
}

static void outgoing_pop(struct quipu_bridge *bridge, bool is_sent)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    struct bridge_outgoing *item = bridge->outgoing;
    bridge->outgoing = item->next;
    if (bridge->outgoing == NULL) {
        bridge->outgoing_end = &bridge->outgoing;
    }
    bridge->outgoing_count--;
    bridge->outgoing_bytes -= item->bytes;
    bridge->counts.published += is_sent ? 1 : 0;
    bridge->is_unconfirmed = bridge->is_unconfirmed || is_sent;
    bridge->counts.refused += is_sent ? 0 : 1;
    (void)pthread_mutex_unlock(&bridge->mutex);
    natsMsg_Destroy(item->msg);
    quipu_free(item);
}

/* What no other connection would help against. Any other failure is the connection's: it may be
 * breaking and not yet be closed. */
static bool is_refused(natsStatus s)
{
    return s == NATS_MAX_PAYLOAD || s == NATS_INVALID_ARG || s == NATS_INVALID_SUBJECT ||
           s == NATS_NO_SERVER_SUPPORT || s == NATS_NO_MEMORY;
}

/* All that waits; false where the connection is gone. */
static bool send_all(struct quipu_bridge *bridge)
{
    struct bridge_outgoing *item;
    while ((item = outgoing_front(bridge)) != NULL) {
        const char *subject = natsMsg_GetSubject(item->msg);
        /* With the right to answer, which subjects those are is for the server to know. */
        if (!bridge->nats->in_use.claims.may_respond &&
            quipu_nats_may_publish(bridge->nats, subject, NULL) != QUIPU_OK) {
            outgoing_pop(bridge, false);
            continue;
        }
        natsStatus s = natsConnection_PublishMsg(bridge->nats->connection, item->msg);
        if (s != NATS_OK && !is_refused(s)) {
            /* Half a message may be on the wire: only a new connection is clean again. */
            natsConnection_Close(bridge->nats->connection);
            return false;
        }
        outgoing_pop(bridge, s == NATS_OK);
    }
    return true;
}

/* Everything up to the ticket is sent: have the server say that it got it. */
static void answer_sync(struct quipu_bridge *bridge)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    uint64_t wanted = bridge->sync_wanted;
    bool is_due = bridge->sync_done < wanted && bridge->outgoing == NULL;
    (void)pthread_mutex_unlock(&bridge->mutex);
    if (!is_due || quipu_nats_round_trip(bridge->nats) != NATS_OK) {
        return;
    }
    note_confirmed(bridge);
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->sync_done = wanted;
    (void)pthread_cond_broadcast(&bridge->done);
    (void)pthread_mutex_unlock(&bridge->mutex);
}

/* ------------------------------------------------------------------ the loop */

static struct timespec after_ms(int64_t ms)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at); /* cannot fail for this clock */
    at.tv_sec += (time_t)(ms / 1000);
    at.tv_nsec += (long)(ms % 1000) * NS_PER_MS;
    if (at.tv_nsec >= NS_PER_S) {
        at.tv_nsec -= NS_PER_S;
        at.tv_sec++;
    }
    return at;
}

/* Until there is work, or the time is up. False: stop. */
static bool wait_for_work(struct quipu_bridge *bridge)
{
    struct timespec until = after_ms(LOOK_MS);
    int waited = 0;
    (void)pthread_mutex_lock(&bridge->mutex);
    while (!bridge->wants_stop && bridge->outgoing == NULL &&
           bridge->sync_done == bridge->sync_wanted &&
           !(bridge->wants_drain && !bridge->is_drained) && waited == 0) {
        waited = pthread_cond_timedwait(&bridge->work, &bridge->mutex, &until);
    }
    bool goes_on = !bridge->wants_stop;
    (void)pthread_mutex_unlock(&bridge->mutex);
    return goes_on;
}

/* A connection without its subscriptions looks well from without. What keeps it from connecting at
 * all has been told by then. */
static void tell_trouble(const struct quipu_bridge *bridge, const struct quipu_error *trouble)
{
    if (bridge->nats != NULL && quipu_nats_state_after(trouble->status) == QUIPU_NATS_ERROR) {
        quipu_link_spoil(&bridge->nats->link, trouble->status, trouble->message);
    }
}

/* False: stop. */
static bool wait_out_trouble(struct quipu_bridge *bridge, const struct quipu_error *trouble)
{
    uint64_t bits = 0;
    struct quipu_random random = quipu_random_system();
    /* Jitter only spreads clients; without it we still wait. */
    (void)random.fill(random.ctx, &bits, sizeof bits, NULL);
    struct timespec until = after_ms(quipu_nats_ms(quipu_backoff_next(&bridge->backoff, bits)));
    int waited = 0;
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->trouble = *trouble;
    bridge->is_subscribing = false;
    lose(bridge);
    while (!bridge->wants_stop && waited == 0) {
        waited = pthread_cond_timedwait(&bridge->work, &bridge->mutex, &until);
    }
    bool goes_on = !bridge->wants_stop;
    (void)pthread_mutex_unlock(&bridge->mutex);
    return goes_on;
}

static void close_all(struct quipu_bridge *bridge)
{
    if (bridge->nats != NULL && bridge->nats->connection != NULL) {
        (void)quipu_nats_hang_up(bridge->nats); /* the callbacks below say whether it worked */
    }
    subscriptions_drop(bridge);
    (void)pthread_mutex_lock(&bridge->mutex);
    struct timespec until = after_ms(quipu_nats_ms((int64_t)10 * US_PER_S));
    int waited = 0;
    while (bridge->callbacks > 0 && waited == 0) {
        waited = pthread_cond_timedwait(&bridge->done, &bridge->mutex, &until);
    }
    struct quipu_nats *nats = bridge->nats;
    bridge->nats = NULL;
    (void)pthread_mutex_unlock(&bridge->mutex);
    quipu_nats_close(&nats);
}

void *quipu_bridge_run(void *ctx)
{
    struct quipu_bridge *bridge = ctx;
    struct quipu_error trouble = {.status = QUIPU_OK};
    bool goes_on = true;
    while (goes_on) {
        if (make_ready(bridge, &trouble) != QUIPU_OK) {
            tell_trouble(bridge, &trouble);
            goes_on = wait_out_trouble(bridge, &trouble);
            continue;
        }
        (void)pthread_mutex_lock(&bridge->mutex);
        bool drains = bridge->wants_drain && !bridge->is_drained;
        (void)pthread_mutex_unlock(&bridge->mutex);
        if (drains) {
            drain(bridge);
        }
        if (!send_all(bridge)) {
            continue;
        }
        answer_sync(bridge);
        goes_on = wait_for_work(bridge);
    }
    close_all(bridge);
    return NULL;
}
