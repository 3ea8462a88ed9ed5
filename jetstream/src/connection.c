/*
 * Opening, losing, rebuilding and closing a connection. The library's threads only record into
 * struct nats_link, and tell the host what they have recorded; every decision is made by the thread
 * that calls us. Sends no message.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "connection.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "connection_state.h"
#include "nats_identity.h"
#include "nats_options.h"
#include "nats_status.h"
#include "quipu/alloc.h"
#include "quipu/clock.h"

#define US_PER_MS  1000
#define US_PER_S   1000000
#define NS_PER_US  1000
#define INBOX_TEXT "_INBOX."

/* So many in a row are unlucky once in 2^64. */
#define SIGNED_ATTEMPTS_MAX 8
/* How long close waits for the library's threads to be done with us. */
#define CLOSE_WAIT_S 10
/* How long a refusal that the library knows of may take to come to us. */
#define DENIAL_WAIT_S 1

int64_t quipu_nats_ms(int64_t us)
{
    int64_t ms = us / US_PER_MS;
    return ms < 1 ? 1 : ms;
}

int64_t quipu_monotonic_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US;
}

int64_t quipu_slept_us(void)
{
    struct timespec now;
    int64_t awake_us = quipu_monotonic_us();
    (void)clock_gettime(CLOCK_BOOTTIME, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / NS_PER_US - awake_us;
}

/* ------------------------------------------------------------------ threads of the library */

/* The server, or the network, has ended it, unless we have. */
static void tell_loss(natsConnection *connection, struct nats_link *link)
{
    (void)pthread_mutex_lock(&link->mutex);
    bool is_ours = link->is_hanging_up;
    (void)pthread_mutex_unlock(&link->mutex);
    if (is_ours) {
        return;
    }
    const char *text = NULL;
    natsStatus s = natsConnection_GetLastError(connection, &text);
    enum quipu_status status =
        s == NATS_CONNECTION_AUTH_FAILED || s == NATS_NOT_PERMITTED ? QUIPU_AUTH : QUIPU_OFFLINE;
    char message[QUIPU_ERROR_MESSAGE_BYTES];
    (void)snprintf(message, sizeof message, "connection lost: %s",
                   text != NULL && text[0] != 0 ? text : "it was closed");
    quipu_link_enter(link, QUIPU_NATS_OFFLINE, status, message);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct nats_link *link = closure;
    tell_loss(connection, link);
    (void)pthread_mutex_lock(&link->mutex);
    link->is_closed = true;
    (void)pthread_cond_broadcast(&link->changed);
    (void)pthread_mutex_unlock(&link->mutex);
}

static void on_error(natsConnection *connection, natsSubscription *subscription, natsStatus status,
                     void *closure)
{
    (void)subscription;
    struct nats_link *link = closure;
    if (status != NATS_NOT_PERMITTED) {
        return;
    }
    const char *text = NULL;
    if (natsConnection_GetLastError(connection, &text) == NATS_OK || text == NULL) {
        text = text != NULL ? text : natsStatus_GetText(status);
    }
    bool is_subscription = strstr(text, "Subscription") != NULL;
    (void)pthread_mutex_lock(&link->mutex);
    if (!link->is_denied || (is_subscription && !link->is_subscription_denied)) {
        (void)snprintf(link->denied, sizeof link->denied, "%s", text);
    }
    link->is_denied = true;
    link->is_subscription_denied = link->is_subscription_denied || is_subscription;
    (void)pthread_cond_broadcast(&link->changed);
    (void)pthread_mutex_unlock(&link->mutex);
}

/* ------------------------------------------------------------------ our side */

enum quipu_status quipu_nats_denied(struct quipu_nats *nats, enum quipu_status status,
                                    struct quipu_error *err)
{
    char denied[NATS_DENIED_BYTES] = "";
    (void)pthread_mutex_lock(&nats->link.mutex);
    if (nats->link.is_denied) {
        memcpy(denied, nats->link.denied, sizeof denied);
    }
    (void)pthread_mutex_unlock(&nats->link.mutex);
    if (denied[0] == 0) {
        return status;
    }
    return quipu_error_set(err, QUIPU_PERMISSION,
                           "server %s: %s; give this user the permission, or connect as another",
                           nats->server, denied);
}

static struct timespec deadline_after_s(time_t seconds)
{
    struct timespec until;
    (void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail for this clock */
    until.tv_sec += seconds;
    return until;
}

enum quipu_status quipu_nats_subscribed(struct quipu_nats *nats, struct quipu_error *err)
{
    const char *text = NULL;
    if (natsConnection_GetLastError(nats->connection, &text) == NATS_NOT_PERMITTED) {
        /* Or what was refused was something else, long ago: then nothing comes. */
        struct timespec until = deadline_after_s(DENIAL_WAIT_S);
        int waited = 0;
        (void)pthread_mutex_lock(&nats->link.mutex);
        while (!nats->link.is_denied && waited == 0) {
            waited = pthread_cond_timedwait(&nats->link.changed, &nats->link.mutex, &until);
        }
        (void)pthread_mutex_unlock(&nats->link.mutex);
    }
    return quipu_nats_denied(nats, QUIPU_OK, err);
}

enum quipu_status quipu_nats_keeps_subscriptions(struct quipu_nats *nats, struct quipu_error *err)
{
    (void)pthread_mutex_lock(&nats->link.mutex);
    bool is_denied = nats->link.is_subscription_denied;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    return is_denied ? quipu_nats_denied(nats, QUIPU_OK, err) : QUIPU_OK;
}

/* Closing is asynchronous in the library: the closed callback is the last thing that it does with
 * our closure, and nothing is read any more by then. */
bool quipu_nats_hang_up(struct quipu_nats *nats)
{
    (void)pthread_mutex_lock(&nats->link.mutex);
    nats->link.is_hanging_up = true;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    natsConnection_Close(nats->connection);
    struct timespec until = deadline_after_s(CLOSE_WAIT_S);
    int waited = 0;
    (void)pthread_mutex_lock(&nats->link.mutex);
    while (!nats->link.is_closed && waited == 0) {
        waited = pthread_cond_timedwait(&nats->link.changed, &nats->link.mutex, &until);
    }
    bool is_closed = nats->link.is_closed;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    return is_closed;
}

/* False: a thread of the library may still use the handle. */
static bool connection_drop(struct quipu_nats *nats)
{
    if (nats->connection == NULL) {
        return true;
    }
    bool is_closed = quipu_nats_hang_up(nats);
    /* Only now that nothing is read any more: up to 3.5 the library's reading thread does not hold
     * the subscription of the message in its hands, and crashes where that is destroyed meanwhile.
     */
    natsSubscription_Destroy(nats->inbox);
    nats->inbox = NULL;
    jsCtx_Destroy(nats->js);
    nats->js = NULL;
    natsConnection_Destroy(nats->connection);
    nats->connection = NULL;
    return is_closed;
}

/* Which credentials they are, and what is to be done about them. */
static enum quipu_status auth_failure(const struct quipu_nats *nats, struct quipu_error *err)
{
    const struct nats_credentials *used = &nats->in_use;
    char when[QUIPU_RFC3339_BYTES];
    switch (nats->identity.kind) {
    case NATS_IDENTITY_PLAIN:
        break;
    case NATS_IDENTITY_NKEY:
        return quipu_error_set(err, QUIPU_AUTH,
                               "server %s refuses the key %s; give the nkey seed file of a user "
                               "that it knows",
                               nats->server, used->public_text);
    case NATS_IDENTITY_JWT:
        if (used->claims.expires_unix_us != 0 &&
            used->claims.expires_unix_us <= quipu_link_now_us()) {
            quipu_rfc3339_format(used->claims.expires_unix_us, when);
            return quipu_error_set(err, QUIPU_AUTH,
                                   "server %s refuses the credentials of %s: they expired at %s; "
                                   "put new ones into the credentials file",
                                   nats->server, used->public_text, when);
        }
        return quipu_error_set(err, QUIPU_AUTH,
                               "server %s refuses the credentials of %s: revoked, or of an account "
                               "or operator that it does not know; put others into the credentials "
                               "file",
                               nats->server, used->public_text);
    }
    return quipu_error_set(err, QUIPU_AUTH,
                           "server %s refuses the credentials; give a user and password, a token "
                           "or a credentials file that it knows",
                           nats->server);
}

/* The line says the cure; the library's own text only where it adds something. */
static enum quipu_status connect_failure(const struct quipu_nats *nats, natsStatus s,
                                         struct quipu_error *err)
{
    enum quipu_status status = nats->is_dial_cut ? QUIPU_TIMEOUT : quipu_status_from_nats(s);
    const char *detail = quipu_nats_detail();
    if (nats->is_nonce_refused) {
        return quipu_error_set(err, QUIPU_SERVER,
                               "server %s wants something signed that is no nonce; it is none of "
                               "NATS, or hostile: see what is at that address",
                               nats->server);
    }
    detail = detail != NULL ? detail : natsStatus_GetText(s);
    if (s == NATS_SSL_ERROR) {
        return quipu_error_set(err, status,
                               "TLS with %s fails: %s; give the CA that signed the server's "
                               "certificate, and the name that it is made out to",
                               nats->server, detail);
    }
    if (!nats->is_dial_cut && (s == NATS_ERR || s == NATS_PROTOCOL_ERROR)) {
        /* What the library says when a connection ends in the middle of the greeting. */
        return quipu_error_set(err, QUIPU_OFFLINE,
                               "connecting to %s breaks off (%s); see that a NATS server is there, "
                               "and try again",
                               nats->server, detail);
    }
    if (s == NATS_SECURE_CONNECTION_REQUIRED || s == NATS_SECURE_CONNECTION_WANTED) {
        return quipu_error_set(err, status,
                               "server %s and we do not agree on TLS (%s); give the CA file where "
                               "the server uses TLS, and none where it does not",
                               nats->server, natsStatus_GetText(s));
    }
    if (status == QUIPU_AUTH) {
        return auth_failure(nats, err);
    }
    if (status == QUIPU_OFFLINE) {
        return quipu_error_set(err, status,
                               "no server answers at %s; start nats-server there (nats-server "
                               "-js), or give another url",
                               nats->server);
    }
    if (status == QUIPU_TIMEOUT) {
        return quipu_error_set(err, status, "server %s did not answer within %" PRId64 " ms",
                               nats->server, quipu_nats_ms(nats->connect_timeout_us));
    }
    return quipu_error_set(err, status, "connecting to %s: %s", nats->server, detail);
}

/* One subscription takes every reply; a new name per connection, so that a late reply to an older
 * one cannot be taken for ours. */
static natsStatus inbox_open(struct quipu_nats *nats)
{
    natsInbox *name = NULL;
    natsStatus s = natsInbox_Create(&name);
    if (s != NATS_OK) {
        return s;
    }
    char subject[NATS_INBOX_BYTES + 2];
    int len = snprintf(nats->inbox_prefix, sizeof nats->inbox_prefix, "%s.", name);
    natsInbox_Destroy(name);
    if (len < 0 || (size_t)len >= sizeof nats->inbox_prefix) {
        return NATS_INSUFFICIENT_BUFFER;
    }
    (void)snprintf(subject, sizeof subject, "%s*", nats->inbox_prefix);
    s = natsConnection_SubscribeSync(&nats->inbox, nats->connection, subject);
    if (s == NATS_OK) {
        /* Replies are bounded by what we have in flight, not by the library. */
        s = natsSubscription_SetPendingLimits(nats->inbox, -1, -1);
    }
    return s;
}

static natsStatus js_open(struct quipu_nats *nats)
{
    jsOptions options;
    natsStatus s = jsOptions_Init(&options);
    if (s == NATS_OK) {
        options.Wait = quipu_nats_ms(nats->request_timeout_us);
        s = natsConnection_JetStream(&nats->js, nats->connection, &options);
    }
    return s;
}

/* A signature that libnats cannot send, one in 256, is none of the server's doing: try again. */
static natsStatus dial_with_luck(struct quipu_nats *nats)
{
    natsStatus s = NATS_OK;
    int attempts = 0;
    struct dial_guard guard;
    const struct dial dial = {nats->connect_timeout_us, nats->ports, nats->port_count,
                              nats->handshake_pieces, nats->in_use.jwt.len};
    nats->is_nonce_refused = false;
    do {
        nats->is_signature_unlucky = false;
        quipu_dial_guard_begin(&guard, &dial);
        s = natsConnection_Connect(&nats->connection, nats->options);
        quipu_dial_guard_end(&guard);
        nats->is_dial_cut = guard.has_cut;
    } while (s != NATS_OK && nats->is_signature_unlucky && ++attempts < SIGNED_ATTEMPTS_MAX);
    if (s != NATS_OK) {
        nats->connection = NULL;
    }
    return s;
}

/* With the newest credentials; where the server refuses them and the host can get others, with
 * those. */
static enum quipu_status dial(struct quipu_nats *nats, struct quipu_error *err)
{
    struct quipu_error ignored;
    enum quipu_status status = quipu_nats_identity_take(nats, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s = dial_with_luck(nats);
    if (s == NATS_CONNECTION_AUTH_FAILED && nats->identity.refresh != NULL) {
        /* Where it fails, the server's refusal is what there is to say. */
        if (quipu_nats_identity_renew(nats, &ignored) == QUIPU_OK &&
            quipu_nats_identity_is_newer(nats) &&
            quipu_nats_identity_take(nats, &ignored) == QUIPU_OK) {
            s = dial_with_luck(nats);
        }
    }
    return s == NATS_OK ? QUIPU_OK : connect_failure(nats, s, err);
}

static enum quipu_status set_up(struct quipu_nats *nats, struct quipu_error *err)
{
    natsStatus s = js_open(nats);
    if (s == NATS_OK) {
        s = inbox_open(nats);
    }
    if (s == NATS_OK) {
        return QUIPU_OK;
    }
    (void)connection_drop(nats); /* the failure before it is the one to report */
    return quipu_error_nats(err, s, 0, "setting up the connection to %s", nats->server);
}

enum quipu_nats_state quipu_nats_state_after(enum quipu_status failure)
{
    bool is_passing =
        failure == QUIPU_OFFLINE || failure == QUIPU_TIMEOUT || failure == QUIPU_NO_MEMORY;
    return is_passing ? QUIPU_NATS_OFFLINE : QUIPU_NATS_ERROR;
}

enum quipu_status quipu_nats_reconnect(struct quipu_nats *nats, struct quipu_error *err)
{
    struct quipu_error detail; /* the report needs the line, whether the caller does or not */
    nats->facts.is_known = false;
    if (!connection_drop(nats)) {
        return quipu_error_set(err, QUIPU_TIMEOUT,
                               "the connection to %s does not close; restart the program",
                               nats->server);
    }
    (void)pthread_mutex_lock(&nats->link.mutex);
    nats->link.is_closed = false;
    nats->link.is_hanging_up = false;
    nats->link.is_denied = false;
    nats->link.is_subscription_denied = false;
    bool is_first = nats->link.now.connects == 0;
    (void)pthread_mutex_unlock(&nats->link.mutex);
    quipu_link_enter(&nats->link, is_first ? QUIPU_NATS_CONNECTING : QUIPU_NATS_RECONNECTING,
                     QUIPU_OK, "");

    enum quipu_status status = dial(nats, &detail);
    if (status == QUIPU_OK) {
        status = set_up(nats, &detail);
    }
    if (status == QUIPU_OK) {
        quipu_link_enter(&nats->link, QUIPU_NATS_CONNECTED, QUIPU_OK, "");
        return QUIPU_OK;
    }
    quipu_link_enter(&nats->link, quipu_nats_state_after(status), status, detail.message);
    if (err != NULL) {
        *err = detail;
    }
    return status;
}

/* What an earlier operation was denied says nothing about this one. */
static void forget_denials(struct quipu_nats *nats)
{
    (void)pthread_mutex_lock(&nats->link.mutex);
    nats->link.is_denied = false;
    nats->link.is_subscription_denied = false;
    (void)pthread_mutex_unlock(&nats->link.mutex);
}

natsStatus quipu_nats_round_trip(const struct quipu_nats *nats)
{
    return natsConnection_FlushTimeout(nats->connection, quipu_nats_ms(nats->request_timeout_us));
}

enum quipu_status quipu_nats_ready(struct quipu_nats *nats, struct quipu_error *err)
{
    /* A round trip, because a connection whose other end has vanished looks well for minutes. */
    if (nats->connection == NULL || quipu_nats_identity_is_newer(nats) ||
        quipu_nats_round_trip(nats) != NATS_OK) {
        return quipu_nats_reconnect(nats, err);
    }
    forget_denials(nats);
    return QUIPU_OK;
}

bool quipu_nats_stands(struct quipu_nats *nats)
{
    if (nats->connection == NULL || quipu_nats_identity_is_newer(nats) ||
        natsConnection_Status(nats->connection) != NATS_CONN_STATUS_CONNECTED) {
        return false;
    }
    forget_denials(nats);
    return true;
}

static natsStatus set_callbacks(struct quipu_nats *nats)
{
    natsStatus s = natsOptions_SetClosedCB(nats->options, on_closed, &nats->link);
    if (s == NATS_OK) {
        s = natsOptions_SetErrorHandler(nats->options, on_error, &nats->link);
    }
    return s;
}

/* A handle that knows who and where, and has asked nobody. What is in the way is told to the host
 * too: it may be one that does not see what we return, such as that of a bridge. */
static enum quipu_status handle_make(const struct quipu_nats_options *options,
                                     struct quipu_nats **out, struct quipu_error *err)
{
    struct quipu_nats_options known = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_error detail;
    if (options != NULL && options->size != sizeof known) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "options of %zu bytes, this library knows %zu: start from "
                               "QUIPU_NATS_OPTIONS_INIT",
                               options->size, sizeof known);
    }
    if (options != NULL) {
        known = *options;
    }
    struct quipu_nats *nats = quipu_alloc_zero(1, sizeof *nats);
    if (nats == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a connection");
    }
    quipu_link_init(&nats->link, &known);
    enum quipu_status status = quipu_nats_configure(nats, &known, &detail);
    if (status == QUIPU_OK) {
        natsStatus s = set_callbacks(nats);
        status = s == NATS_OK ? QUIPU_OK : quipu_error_nats(&detail, s, 0, "setting callbacks");
    }
    if (status == QUIPU_OK) {
        *out = nats;
        return QUIPU_OK;
    }
    quipu_link_enter(&nats->link, quipu_nats_state_after(status), status, detail.message);
    quipu_nats_close(&nats);
    if (err != NULL) {
        *err = detail;
    }
    return status;
}

enum quipu_status quipu_nats_open(const struct quipu_nats_options *options, struct quipu_nats **out,
                                  struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    if (out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "opening a connection: nowhere to put it");
    }
    enum quipu_status status = handle_make(options, &nats, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_nats_reconnect(nats, err);
    if (status == QUIPU_OK) {
        status = quipu_nats_identity_watch(nats, err);
    }
    if (status != QUIPU_OK) {
        quipu_nats_close(&nats);
        return status;
    }
    nats->next_token = 1;
    *out = nats;
    return QUIPU_OK;
}

enum quipu_status quipu_nats_options_check(const struct quipu_nats_options *options,
                                           struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    enum quipu_status status = handle_make(options, &nats, err);
    quipu_nats_close(&nats);
    return status;
}

void quipu_nats_close(struct quipu_nats **nats)
{
    struct quipu_nats *handle = *nats;
    *nats = NULL;
    if (handle == NULL) {
        return;
    }
    bool is_closed = connection_drop(handle);
    natsOptions_Destroy(handle->options);
    handle->options = NULL;
    quipu_nats_identity_release(handle);
    (void)pthread_mutex_lock(&handle->link.mutex);
    bool is_telling_needed =
        handle->link.now.state != QUIPU_NATS_OFFLINE && handle->link.now.state != QUIPU_NATS_ERROR;
    (void)pthread_mutex_unlock(&handle->link.mutex);
    if (is_telling_needed) {
        quipu_link_enter(&handle->link, QUIPU_NATS_OFFLINE, QUIPU_OK, "");
    }
    quipu_link_settle(&handle->link);
    if (!is_closed) {
        return; /* a thread of the library may still write into it: a leak is better */
    }
    quipu_link_release(&handle->link);
    quipu_free(handle);
}

enum quipu_status quipu_nats_may_publish(const struct quipu_nats *nats, const char *subject,
                                         struct quipu_error *err)
{
    return quipu_rules_are_empty(&nats->in_use.claims.publish)
               ? QUIPU_OK
               : quipu_rules_check(&nats->in_use.claims.publish, subject, err);
}
