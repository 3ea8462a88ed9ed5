/*
 * The state of a connection and the queue of reports to the host. The host's callback runs with no
 * lock held, on one thread at a time, in the order of what happened: whoever finds another thread
 * there leaves its report to that one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "connection_state.h"

#include <stdio.h>
#include <string.h>

#include "quipu/clock.h"

const char *quipu_nats_state_name(enum quipu_nats_state state)
{
    switch (state) {
    case QUIPU_NATS_OFFLINE:
        return "offline";
    case QUIPU_NATS_CONNECTING:
        return "connecting";
    case QUIPU_NATS_CONNECTED:
        return "connected";
    case QUIPU_NATS_RECONNECTING:
        return "reconnecting";
    case QUIPU_NATS_ERROR:
        return "error";
    }
    return "unknown";
}

int64_t quipu_link_now_us(void)
{
    struct quipu_clock clock = quipu_clock_system();
    return clock.unix_us(clock.ctx);
}

void quipu_link_init(struct nats_link *link, const struct quipu_nats_options *options)
{
    (void)pthread_mutex_init(&link->mutex, NULL); /* cannot fail with default attributes */
    (void)pthread_cond_init(&link->changed, NULL);
    link->on_state = options->on_state;
    link->on_state_ctx = options->on_state_ctx;
    link->now.state = QUIPU_NATS_OFFLINE;
    link->now.since_unix_us = quipu_link_now_us();
}

void quipu_link_release(struct nats_link *link)
{
    (void)pthread_cond_destroy(&link->changed);
    (void)pthread_mutex_destroy(&link->mutex);
}

static void mark_due(struct quipu_nats_report *report)
{
    int64_t expires = report->credentials_expire_unix_us;
    report->is_refresh_due = expires != 0 && expires - quipu_link_now_us() < NATS_REFRESH_BEFORE_US;
}

void quipu_link_note(struct nats_link *link)
{
    if (link->on_state == NULL) {
        return;
    }
    if (link->queued == NATS_REPORTS_QUEUED) {
        link->queue_first = (link->queue_first + 1) % NATS_REPORTS_QUEUED;
        link->queued--;
    }
    struct quipu_nats_report *place =
        &link->queue[(link->queue_first + link->queued) % NATS_REPORTS_QUEUED];
    *place = link->now;
    mark_due(place);
    link->queued++;
}

void quipu_link_tell(struct nats_link *link)
{
    if (link->is_telling) {
        return;
    }
    link->is_telling = true;
    while (link->queued > 0) {
        struct quipu_nats_report report = link->queue[link->queue_first];
        link->queue_first = (link->queue_first + 1) % NATS_REPORTS_QUEUED;
        link->queued--;
        (void)pthread_mutex_unlock(&link->mutex);
        link->on_state(link->on_state_ctx, &report);
        (void)pthread_mutex_lock(&link->mutex);
    }
    link->is_telling = false;
    (void)pthread_cond_broadcast(&link->changed);
}

void quipu_link_settle(struct nats_link *link)
{
    (void)pthread_mutex_lock(&link->mutex);
    while (link->is_telling) {
        (void)pthread_cond_wait(&link->changed, &link->mutex);
    }
    (void)pthread_mutex_unlock(&link->mutex);
}

/* The caller holds the mutex, which is let go while the host is told. */
static void enter(struct nats_link *link, enum quipu_nats_state state, enum quipu_status status,
                  const char *message)
{
    if (link->now.state != state) {
        link->now.since_unix_us = quipu_link_now_us();
    }
    link->now.state = state;
    if (state != QUIPU_NATS_CONNECTING && state != QUIPU_NATS_RECONNECTING) {
        /* While it is being tried again, why it is not there stays true. */
        link->now.status = status;
        (void)snprintf(link->now.message, sizeof link->now.message, "%s", message);
    }
    if (state == QUIPU_NATS_CONNECTED) {
        link->now.connected_unix_us = link->now.since_unix_us;
        link->now.connects++;
    }
    quipu_link_note(link);
    quipu_link_tell(link);
}

void quipu_link_enter(struct nats_link *link, enum quipu_nats_state state, enum quipu_status status,
                      const char *message)
{
    (void)pthread_mutex_lock(&link->mutex);
    enter(link, state, status, message);
    (void)pthread_mutex_unlock(&link->mutex);
}

void quipu_link_spoil(struct nats_link *link, enum quipu_status status, const char *message)
{
    (void)pthread_mutex_lock(&link->mutex);
    if (link->now.state == QUIPU_NATS_CONNECTED) {
        enter(link, QUIPU_NATS_ERROR, status, message);
    }
    (void)pthread_mutex_unlock(&link->mutex);
}

void quipu_link_mend(struct nats_link *link)
{
    (void)pthread_mutex_lock(&link->mutex);
    if (link->now.state == QUIPU_NATS_ERROR) {
        link->now.since_unix_us = quipu_link_now_us();
        link->now.state = QUIPU_NATS_CONNECTED;
        link->now.status = QUIPU_OK;
        link->now.message[0] = 0;
        quipu_link_note(link);
        quipu_link_tell(link);
    }
    (void)pthread_mutex_unlock(&link->mutex);
}

void quipu_nats_state(struct quipu_nats *nats, struct quipu_nats_report *out)
{
    (void)pthread_mutex_lock(&nats->link.mutex);
    *out = nats->link.now;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    mark_due(out);
}
