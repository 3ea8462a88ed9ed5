/*
 * A bridge as the host sees it: opening, both queues, waiting, closing. No call in here but those
 * that are named for waiting waits for a server; the thread (bridge_thread.c) does.
 *
 * Specification: docs/SPEC.md §10.7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "bridge_impl.h"
#include "nats_options.h"
#include "nats_status.h"
#include "quipu/alloc.h"

#define MESSAGES_DEFAULT 1024
#define BYTES_DEFAULT    ((size_t)16 << 20)
#define US_PER_S         1000000
#define NS_PER_US        1000
/* What a message costs beside its bytes. */
#define MESSAGE_BYTES 256

/* ------------------------------------------------------------------ messages */

const char *quipu_message_subject(const struct quipu_message *message)
{
    return natsMsg_GetSubject(message->msg);
}

const char *quipu_message_reply(const struct quipu_message *message)
{
    const char *reply = natsMsg_GetReply(message->msg);
    return reply != NULL && reply[0] != 0 ? reply : NULL;
}

struct quipu_slice quipu_message_body(const struct quipu_message *message)
{
    int len = natsMsg_GetDataLength(message->msg);
    return quipu_slice(natsMsg_GetData(message->msg), len > 0 ? (size_t)len : 0);
}

const char *quipu_message_header(struct quipu_message *message, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(message->msg, name, &value) == NATS_OK ? value : NULL;
}

void quipu_message_free(struct quipu_message *message)
{
    if (message != NULL) {
        natsMsg_Destroy(message->msg);
        quipu_free(message);
    }
}

/* ------------------------------------------------------------------ what comes */

static void fd_raise(const struct quipu_bridge *bridge)
{
    uint64_t one = 1;
    /* The counter is 0 or 1 here, so this cannot block and cannot fail. */
    (void)!write(bridge->fd, &one, sizeof one);
}

static void fd_lower(const struct quipu_bridge *bridge)
{
    uint64_t count;
    (void)!read(bridge->fd, &count, sizeof count); /* non-blocking; it is 1 */
}

void quipu_bridge_take(struct quipu_bridge *bridge, natsMsg *msg)
{
    int body = natsMsg_GetDataLength(msg);
    struct quipu_message *message = quipu_alloc(1, sizeof *message);
    if (message == NULL) {
        natsMsg_Destroy(msg);
        (void)pthread_mutex_lock(&bridge->mutex);
        bridge->counts.dropped++;
        (void)pthread_mutex_unlock(&bridge->mutex);
        return;
    }
    message->msg = msg;
    message->bytes = MESSAGE_BYTES + (body > 0 ? (size_t)body : 0);

    (void)pthread_mutex_lock(&bridge->mutex);
    bool has_room = bridge->received_count < bridge->received_max &&
                    message->bytes <= bridge->received_bytes_max - bridge->received_bytes;
    if (has_room) {
        uint32_t at = (bridge->received_first + bridge->received_count) % bridge->received_max;
        bridge->received[at] = message;
        bridge->received_bytes += message->bytes;
        bridge->counts.received++;
        if (bridge->received_count++ == 0) {
            fd_raise(bridge);
        }
    } else {
        bridge->counts.dropped++;
    }
    (void)pthread_mutex_unlock(&bridge->mutex);

    if (!has_room) {
        if (bridge->overflow != NULL) {
            bridge->overflow(bridge->ctx, message);
        }
        quipu_message_free(message);
    }
}

enum quipu_status quipu_bridge_next(struct quipu_bridge *bridge, struct quipu_message **out)
{
    enum quipu_status status = QUIPU_DONE;
    (void)pthread_mutex_lock(&bridge->mutex);
    if (bridge->received_count > 0) {
        *out = bridge->received[bridge->received_first];
        bridge->received_first = (bridge->received_first + 1) % bridge->received_max;
        bridge->received_bytes -= (*out)->bytes;
        if (--bridge->received_count == 0) {
            fd_lower(bridge);
        }
        status = QUIPU_OK;
    }
    (void)pthread_mutex_unlock(&bridge->mutex);
    return status;
}

int quipu_bridge_fd(const struct quipu_bridge *bridge)
{
    return bridge->fd;
}

/* ------------------------------------------------------------------ what goes */

static bool has_line_end(const char *text)
{
    return strpbrk(text, "\r\n") != NULL;
}

static enum quipu_status outgoing_check(const struct quipu_outgoing *message,
                                        struct quipu_error *err)
{
    if (message->subject == NULL || !quipu_subject_is_literal(message->subject) ||
        (message->reply != NULL && !quipu_subject_is_literal(message->reply))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "subject \"%.100s\"; give tokens joined by dots, without wildcards",
                               message->subject == NULL ? "" : message->subject);
    }
    if (message->body.len > INT32_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a message of %zu bytes", message->body.len);
    }
    for (size_t i = 0; i < message->header_count; i++) {
        const struct quipu_header *header = &message->headers[i];
        if (header->name[0] == 0 || strchr(header->name, ':') != NULL ||
            has_line_end(header->name) || has_line_end(header->value)) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "header \"%.60s\": a name without colons and line ends, and a "
                                   "value without line ends, are wanted",
                                   header->name);
        }
    }
    return QUIPU_OK;
}

static natsStatus outgoing_fill(struct bridge_outgoing *item, const struct quipu_outgoing *message)
{
    /* The library copies all of it; an empty body may be NULL. */
    natsStatus s = natsMsg_Create(&item->msg, message->subject, message->reply,
                                  (const char *)message->body.data, (int)message->body.len);
    item->bytes = MESSAGE_BYTES + message->body.len;
    for (size_t i = 0; i < message->header_count && s == NATS_OK; i++) {
        s = natsMsgHeader_Add(item->msg, message->headers[i].name, message->headers[i].value);
        item->bytes += strlen(message->headers[i].name) + strlen(message->headers[i].value) + 4;
    }
    return s;
}

enum quipu_status quipu_bridge_publish(struct quipu_bridge *bridge,
                                       const struct quipu_outgoing *message,
                                       struct quipu_error *err)
{
    enum quipu_status status = outgoing_check(message, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct bridge_outgoing *item = quipu_alloc_zero(1, sizeof *item);
    if (item == NULL || outgoing_fill(item, message) != NATS_OK) {
        natsMsg_Destroy(item == NULL ? NULL : item->msg);
        quipu_free(item);
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory queueing a message");
    }
    (void)pthread_mutex_lock(&bridge->mutex);
    if (bridge->outgoing_count >= bridge->outgoing_max ||
        item->bytes > bridge->outgoing_bytes_max - bridge->outgoing_bytes) {
        status = quipu_error_set(err, QUIPU_BUSY,
                                 "%" PRIu32 " messages of %zu bytes wait to be sent, and no more "
                                 "may; try again when some have gone",
                                 bridge->outgoing_count, bridge->outgoing_bytes);
    } else {
        *bridge->outgoing_end = item;
        bridge->outgoing_end = &item->next;
        bridge->outgoing_count++;
        bridge->outgoing_bytes += item->bytes;
        item = NULL;
        (void)pthread_cond_signal(&bridge->work);
    }
    (void)pthread_mutex_unlock(&bridge->mutex);
    if (item != NULL) {
        natsMsg_Destroy(item->msg);
        quipu_free(item);
    }
    return status;
}

/* ------------------------------------------------------------------ waiting */

void quipu_bridge_report(struct quipu_bridge *bridge, struct quipu_bridge_report *out)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    *out = bridge->counts;
    out->waiting = bridge->received_count;
    out->unsent = bridge->outgoing_count;
    if (bridge->nats != NULL) {
        quipu_nats_state(bridge->nats, &out->nats);
    } else {
        out->nats.state = bridge->trouble.status == QUIPU_OK
                              ? QUIPU_NATS_CONNECTING
                              : quipu_nats_state_after(bridge->trouble.status);
        out->nats.status = bridge->trouble.status;
        memcpy(out->nats.message, bridge->trouble.message, sizeof out->nats.message);
    }
    (void)pthread_mutex_unlock(&bridge->mutex);
}

static struct timespec deadline_after(int64_t us)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at); /* cannot fail for this clock */
    int64_t ns = at.tv_nsec + us % US_PER_S * NS_PER_US;
    at.tv_sec += (time_t)(us / US_PER_S + ns / (US_PER_S * (int64_t)NS_PER_US));
    at.tv_nsec = (long)(ns % (US_PER_S * (int64_t)NS_PER_US));
    return at;
}

typedef bool (*bridge_is_fn)(const struct quipu_bridge *bridge, uint64_t ticket);

/* The mutex is held. */
static enum quipu_status wait_until(struct quipu_bridge *bridge, bridge_is_fn is, uint64_t ticket,
                                    int64_t timeout_us)
{
    struct timespec until = deadline_after(timeout_us < 0 ? 0 : timeout_us);
    int waited = 0;
    (void)pthread_cond_signal(&bridge->work);
    while (!is(bridge, ticket) && waited == 0) {
        waited = pthread_cond_timedwait(&bridge->done, &bridge->mutex, &until);
    }
    return is(bridge, ticket) ? QUIPU_OK : QUIPU_TIMEOUT;
}

static enum quipu_status say_timeout(struct quipu_bridge *bridge, enum quipu_status status,
                                     const char *what, struct quipu_error *err)
{
    if (status == QUIPU_OK) {
        return status;
    }
    struct quipu_bridge_report report;
    quipu_bridge_report(bridge, &report);
    return quipu_error_set(err, status, "%s: the server has not answered in time%s%.300s", what,
                           report.nats.message[0] == 0 ? "" : ": ", report.nats.message);
}

static bool is_ready(const struct quipu_bridge *bridge, uint64_t ticket)
{
    (void)ticket;
    return bridge->is_ready;
}

enum quipu_status quipu_bridge_wait_ready(struct quipu_bridge *bridge, int64_t timeout_us,
                                          struct quipu_error *err)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    enum quipu_status status = wait_until(bridge, is_ready, 0, timeout_us);
    (void)pthread_mutex_unlock(&bridge->mutex);
    return say_timeout(bridge, status, "subscribing", err);
}

static bool is_drained(const struct quipu_bridge *bridge, uint64_t ticket)
{
    (void)ticket;
    return bridge->is_drained;
}

enum quipu_status quipu_bridge_drain(struct quipu_bridge *bridge, int64_t timeout_us,
                                     struct quipu_error *err)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    bridge->wants_drain = true;
    /* Without a connection there is nothing to give back, and later ones will not subscribe. */
    bridge->is_drained = bridge->is_drained || (!bridge->is_ready && !bridge->is_subscribing);
    enum quipu_status status = wait_until(bridge, is_drained, 0, timeout_us);
    (void)pthread_mutex_unlock(&bridge->mutex);
    return say_timeout(bridge, status, "giving the subscriptions back", err);
}

/* Or there is nothing to wait for, with or without a server. */
static bool is_synced(const struct quipu_bridge *bridge, uint64_t ticket)
{
    return bridge->sync_done >= ticket || (bridge->outgoing == NULL && !bridge->is_unconfirmed);
}

enum quipu_status quipu_bridge_sync(struct quipu_bridge *bridge, int64_t timeout_us,
                                    struct quipu_error *err)
{
    (void)pthread_mutex_lock(&bridge->mutex);
    uint64_t losses = bridge->losses;
    enum quipu_status status = QUIPU_OK;
    if (!is_synced(bridge, UINT64_MAX)) {
        status = wait_until(bridge, is_synced, ++bridge->sync_wanted, timeout_us);
    }
    bool is_lost = bridge->losses != losses;
    (void)pthread_mutex_unlock(&bridge->mutex);
    if (is_lost) {
        return quipu_error_set(err, QUIPU_OFFLINE,
                               "the connection ended before the server said that it has all; what "
                               "was sent last may not have arrived");
    }
    return say_timeout(bridge, status, "sending what waits", err);
}

/* ------------------------------------------------------------------ opening and closing */

static const size_t nats_texts[] = {
    offsetof(struct quipu_nats_options, url),
    offsetof(struct quipu_nats_options, credentials_file),
    offsetof(struct quipu_nats_options, nkey_file),
    offsetof(struct quipu_nats_options, user),
    offsetof(struct quipu_nats_options, password),
    offsetof(struct quipu_nats_options, token),
    offsetof(struct quipu_nats_options, tls_ca_file),
    offsetof(struct quipu_nats_options, tls_cert_file),
    offsetof(struct quipu_nats_options, tls_key_file),
    offsetof(struct quipu_nats_options, tls_host),
    offsetof(struct quipu_nats_options, stream),
    offsetof(struct quipu_nats_options, bucket),
    offsetof(struct quipu_nats_options, subject_prefix),
    offsetof(struct quipu_nats_options, subject_template),
};

static const char **text_of(struct quipu_nats_options *options, size_t i)
{
    return (const char **)(void *)((char *)options + nats_texts[i]);
}

static char *copy_text(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = quipu_alloc(bytes, 1);
    if (copy != NULL) {
        memcpy(copy, text, bytes);
    }
    return copy;
}

/* False: out of memory. Some of them are secrets, hence the wiping at the end. */
static bool nats_options_copy(struct quipu_nats_options *options)
{
    bool is_whole = true;
    for (size_t i = 0; i < sizeof nats_texts / sizeof nats_texts[0]; i++) {
        const char **text = text_of(options, i);
        const char *given = *text;
        *text = given == NULL ? NULL : copy_text(given);
        is_whole = is_whole && (given == NULL || *text != NULL);
    }
    return is_whole;
}

static void nats_options_release(struct quipu_nats_options *options)
{
    for (size_t i = 0; i < sizeof nats_texts / sizeof nats_texts[0]; i++) {
        char *text = NULL;
        memcpy(&text, text_of(options, i), sizeof text);
        if (text != NULL) {
            explicit_bzero(text, strlen(text));
            quipu_free(text);
        }
    }
}

static bool is_subscribable(const char *subject)
{
    /* Wildcards are tokens of their own, '>' the last one. */
    char text[NATS_NAME_BYTES_MAX * 2];
    size_t len = strlen(subject);
    if (len == 0 || len >= sizeof text) {
        return false;
    }
    for (size_t i = 0; i <= len; i++) {
        bool begins = i == 0 || subject[i - 1] == '.';
        bool ends = i == len || subject[i + 1] == '.' || subject[i + 1] == 0;
        bool is_wildcard = (subject[i] == '*' && begins && ends) ||
                           (subject[i] == '>' && begins && subject[i + 1] == 0);
        text[i] = is_wildcard ? 'x' : subject[i];
    }
    return quipu_subject_is_literal(text);
}

static enum quipu_status subscriptions_copy(struct quipu_bridge *bridge,
                                            const struct quipu_bridge_options *options,
                                            struct quipu_error *err)
{
    if (options->subscription_count > QUIPU_BRIDGE_SUBSCRIPTIONS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%zu subscriptions, up to %d are allowed",
                               options->subscription_count, QUIPU_BRIDGE_SUBSCRIPTIONS_MAX);
    }
    bridge->subscriptions =
        quipu_alloc_zero(options->subscription_count + 1, sizeof *bridge->subscriptions);
    if (bridge->subscriptions == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a bridge");
    }
    bridge->subscription_count = options->subscription_count;
    for (size_t i = 0; i < options->subscription_count; i++) {
        const struct quipu_bridge_subscription *given = &options->subscriptions[i];
        if (given->subject == NULL || !is_subscribable(given->subject) ||
            (given->queue != NULL && !quipu_subject_is_literal(given->queue))) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "subscription \"%.100s\"; give tokens joined by dots, '*' for "
                                   "one of them or '>' for the rest",
                                   given->subject == NULL ? "" : given->subject);
        }
        bridge->subscriptions[i].subject = copy_text(given->subject);
        bridge->subscriptions[i].queue = given->queue == NULL ? NULL : copy_text(given->queue);
        if (bridge->subscriptions[i].subject == NULL ||
            (given->queue != NULL && bridge->subscriptions[i].queue == NULL)) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a bridge");
        }
    }
    return QUIPU_OK;
}

static enum quipu_status limits_set(struct quipu_bridge *bridge,
                                    const struct quipu_bridge_options *options,
                                    struct quipu_error *err)
{
    if (options->received_max > QUIPU_BRIDGE_MESSAGES_MAX ||
        options->outgoing_max > QUIPU_BRIDGE_MESSAGES_MAX ||
        options->received_bytes_max > QUIPU_BRIDGE_BYTES_MAX ||
        options->outgoing_bytes_max > QUIPU_BRIDGE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "queues of %" PRIu32 " and %" PRIu32 " messages, %zu and %zu bytes; "
                               "up to %d messages and %u bytes are allowed",
                               options->received_max, options->outgoing_max,
                               options->received_bytes_max, options->outgoing_bytes_max,
                               QUIPU_BRIDGE_MESSAGES_MAX, QUIPU_BRIDGE_BYTES_MAX);
    }
    bridge->received_max = options->received_max == 0 ? MESSAGES_DEFAULT : options->received_max;
    bridge->outgoing_max = options->outgoing_max == 0 ? MESSAGES_DEFAULT : options->outgoing_max;
    bridge->received_bytes_max =
        options->received_bytes_max == 0 ? BYTES_DEFAULT : options->received_bytes_max;
    bridge->outgoing_bytes_max =
        options->outgoing_bytes_max == 0 ? BYTES_DEFAULT : options->outgoing_bytes_max;
    bridge->received = quipu_alloc_zero(bridge->received_max, sizeof(struct quipu_message *));
    return bridge->received != NULL
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a bridge");
}

static enum quipu_status bridge_fill(struct quipu_bridge *bridge,
                                     const struct quipu_bridge_options *options,
                                     struct quipu_error *err)
{
    struct quipu_nats_options defaults = QUIPU_NATS_OPTIONS_INIT;
    bridge->nats_options = options->nats == NULL ? defaults : *options->nats;
    bool is_copied = nats_options_copy(&bridge->nats_options);
    enum quipu_status status =
        is_copied ? QUIPU_OK
                  : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a bridge");
    if (status == QUIPU_OK && bridge->nats_options.url != NULL) {
        status = quipu_nats_url_check(bridge->nats_options.url, err);
    }
    if (status == QUIPU_OK) {
        status = limits_set(bridge, options, err);
    }
    if (status == QUIPU_OK) {
        status = subscriptions_copy(bridge, options, err);
    }
    return status;
}

enum quipu_status quipu_bridge_open(const struct quipu_bridge_options *options,
                                    struct quipu_bridge **out, struct quipu_error *err)
{
    if (options == NULL || out == NULL || options->size != sizeof *options ||
        (options->nats != NULL && options->nats->size != sizeof *options->nats)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "bridge options of another size than this library's; start from "
                               "QUIPU_BRIDGE_OPTIONS_INIT and QUIPU_NATS_OPTIONS_INIT");
    }
    /* Messages are made and destroyed before there is a connection; up to 3.5 the library's
     * collector of them is not there until it is opened. Again and again is fine. */
    natsStatus s = nats_Open(-1);
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "opening libnats");
    }
    struct quipu_bridge *bridge = quipu_alloc_zero(1, sizeof *bridge);
    if (bridge == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a bridge");
    }
    pthread_condattr_t monotonic;
    (void)pthread_condattr_init(&monotonic); /* none of these can fail here */
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&bridge->mutex, NULL);
    (void)pthread_cond_init(&bridge->work, &monotonic);
    (void)pthread_cond_init(&bridge->done, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    bridge->outgoing_end = &bridge->outgoing;
    bridge->overflow = options->overflow;
    bridge->ctx = options->ctx;
    bridge->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    enum quipu_status status = bridge->fd >= 0
                                   ? bridge_fill(bridge, options, err)
                                   : quipu_error_errno(err, errno, "make a bridge's descriptor");
    if (status == QUIPU_OK) {
        int failed = pthread_create(&bridge->thread, NULL, quipu_bridge_run, bridge);
        bridge->has_thread = failed == 0;
        status = failed == 0 ? QUIPU_OK : quipu_error_errno(err, failed, "start a bridge's thread");
    }
    if (status != QUIPU_OK) {
        quipu_bridge_close(&bridge);
        return status;
    }
    *out = bridge;
    return QUIPU_OK;
}

static void queues_release(struct quipu_bridge *bridge)
{
    for (uint32_t i = 0; i < bridge->received_count; i++) {
        quipu_message_free(bridge->received[(bridge->received_first + i) % bridge->received_max]);
    }
    quipu_free(bridge->received);
    while (bridge->outgoing != NULL) {
        struct bridge_outgoing *item = bridge->outgoing;
        bridge->outgoing = item->next;
        natsMsg_Destroy(item->msg);
        quipu_free(item);
    }
}

void quipu_bridge_close(struct quipu_bridge **bridge)
{
    struct quipu_bridge *handle = *bridge;
    *bridge = NULL;
    if (handle == NULL) {
        return;
    }
    if (handle->has_thread) {
        (void)pthread_mutex_lock(&handle->mutex);
        handle->wants_stop = true;
        (void)pthread_cond_signal(&handle->work);
        (void)pthread_mutex_unlock(&handle->mutex);
        (void)pthread_join(handle->thread, NULL);
    }
    if (handle->callbacks > 0) {
        return; /* a thread of the library may still write into it: a leak is better */
    }
    queues_release(handle);
    for (size_t i = 0; i < handle->subscription_count; i++) {
        quipu_free(handle->subscriptions[i].subject);
        quipu_free(handle->subscriptions[i].queue);
    }
    quipu_free(handle->subscriptions);
    nats_options_release(&handle->nats_options);
    if (handle->fd >= 0) {
        (void)close(handle->fd);
    }
    (void)pthread_cond_destroy(&handle->done);
    (void)pthread_cond_destroy(&handle->work);
    (void)pthread_mutex_destroy(&handle->mutex);
    quipu_free(handle);
}
