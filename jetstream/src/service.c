/*
 * A service's run: messages come through a bridge, workers take them, each leads its request from
 * reading over the handler to the reply. A reply is sent after the commit, never before.
 *
 * The end is in this order: the subscriptions are given back and what the server had sent by then
 * comes in; the workers empty the queue; the replies go out.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "nats_status.h"
#include "quipu/alloc.h"
#include "service_impl.h"
#include "subject.h"

#define END_WAIT_US     ((int64_t)5 * 1000 * 1000)
#define DISCOVERY_VERBS 3
#define SUBSCRIPTIONS   (SERVICE_ENDPOINTS_MAX + 1 + 3 * DISCOVERY_VERBS)

/* ------------------------------------------------------------------ one request */

static void count(struct quipu_request *request, enum quipu_status status,
                  const struct quipu_error *err, int64_t took_us)
{
    struct service_endpoint *endpoint = request->endpoint;
    (void)pthread_mutex_lock(&request->service->mutex);
    endpoint->counts.requests++;
    endpoint->counts.took_us += took_us > 0 ? (uint64_t)took_us : 0;
    endpoint->counts.duplicates += request->is_duplicate ? 1 : 0;
    if (status != QUIPU_OK) {
        endpoint->counts.errors++;
        (void)snprintf(endpoint->last_error, sizeof endpoint->last_error, "%d:%.*s", (int)status,
                       SERVICE_LAST_ERROR_BYTES - 16, err->message);
    }
    (void)pthread_mutex_unlock(&request->service->mutex);
}

static void say_request(const struct quipu_request *request, enum quipu_status status,
                        const struct quipu_error *err, int64_t took_us)
{
    char correlation[QUIPU_UUID_TEXT_BYTES] = "";
    struct quipu_log_field fields[10];
    size_t n = 0;
    fields[n++] = quipu_log_text("endpoint", request->endpoint->name);
    fields[n++] = quipu_log_text("subject", quipu_message_subject(request->message));
    fields[n++] = quipu_log_signed("took_us", took_us);
    if (!quipu_uuid_is_nil(request->correlation_id)) {
        quipu_uuid_format(request->correlation_id, correlation);
        fields[n++] = quipu_log_text("correlation_id", correlation);
    }
    if (request->id != NULL) {
        fields[n++] = quipu_log_text("request_id", request->id);
    }
    if (request->traceparent.len > 0) {
        fields[n++] = quipu_log_slice("traceparent", request->traceparent);
    }
    if (status == QUIPU_OK && request->endpoint->kind == ENDPOINT_COMMAND) {
        fields[n++] = quipu_log_number("events", request->appended_count);
        fields[n++] = quipu_log_bool("duplicate", request->is_duplicate);
    }
    if (status != QUIPU_OK) {
        fields[n++] = quipu_log_text("status", quipu_status_name(status));
        fields[n++] = quipu_log_text("line", err->message);
    }
    quipu_log_write(request->service->log, status == QUIPU_OK ? QUIPU_LOG_INFO : QUIPU_LOG_WARN,
                    status == QUIPU_OK ? "request.done" : "request.failed", fields, n);
}

/* The handler, unless the request was carried out before; and after a failure the question again:
 * the same request may have come twice, and the other one have been first. */
static enum quipu_status carry_out(struct quipu_request *request, struct quipu_error *err)
{
    struct quipu_error recalled;
    enum quipu_status status = quipu_request_recall(request, err);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    status = request->endpoint->run(request->endpoint->ctx, request, err);
    if (status == QUIPU_OK || request->has_appended) {
        return status;
    }
    return quipu_request_recall(request, &recalled) == QUIPU_OK ? QUIPU_OK : status;
}

static void serve_request(struct quipu_service *service, struct service_endpoint *endpoint,
                          struct quipu_message *message)
{
    struct quipu_error err = {.message = ""};
    struct quipu_request request = {.service = service, .endpoint = endpoint, .message = message};
    int64_t began_us = quipu_monotonic_us();
    enum quipu_status status = quipu_request_read(&request, &err);
    if (status == QUIPU_OK) {
        status = endpoint->kind == ENDPOINT_QUERY ? quipu_service_query(&request, &err)
                                                  : carry_out(&request, &err);
    }
    if (status != QUIPU_OK && err.message[0] == 0) {
        (void)quipu_error_set(&err, status, "%s", quipu_status_text(status));
    }
    int64_t took_us = quipu_monotonic_us() - began_us;
    count(&request, status, &err, took_us);
    quipu_request_answer(&request, status, &err);
    say_request(&request, status, &err, took_us);
    quipu_request_release(&request);
}

static void serve(struct quipu_service *service, struct quipu_message *message)
{
    const char *subject = quipu_message_subject(message);
    if (quipu_service_tell(service, message)) {
        return;
    }
    for (size_t i = 0; i < service->endpoint_count; i++) {
        if (quipu_subject_covers(service->endpoints[i].subject, subject)) {
            serve_request(service, &service->endpoints[i], message);
            return;
        }
    }
}

/* ------------------------------------------------------------------ workers */

static void *work(void *ctx)
{
    struct quipu_service *service = ctx;
    struct pollfd either[] = {
        {.fd = quipu_bridge_fd(service->bridge), .events = POLLIN},
        {.fd = service->end_fd, .events = POLLIN},
    };
    for (;;) {
        /* Looked at before the queue: nothing comes into it any more once the end is said. */
        bool is_end = poll(&either[1], 1, 0) > 0;
        struct quipu_message *message = NULL;
        if (quipu_bridge_next(service->bridge, &message) == QUIPU_OK) {
            serve(service, message);
            quipu_message_free(message);
        } else if (is_end) {
            return NULL;
        } else {
            (void)poll(either, 2, -1); /* a signal only makes us look again */
        }
    }
}

static void raise_fd(int fd)
{
    uint64_t one = 1;
    (void)!write(fd, &one, sizeof one); /* non-blocking; full means raised already */
}

static void wait_for_stop(const struct quipu_service *service)
{
    struct pollfd stop = {.fd = service->stop_fd, .events = POLLIN};
    while (poll(&stop, 1, -1) < 0 && errno == EINTR) {
    }
}

static void say(const struct quipu_service *service, const char *event)
{
    struct quipu_log_field fields[] = {quipu_log_text("service", service->name),
                                       quipu_log_text("id", service->id),
                                       quipu_log_text("prefix", service->prefix)};
    quipu_log_write(service->log, QUIPU_LOG_INFO, event, fields, 3);
}

enum quipu_status quipu_service_run(struct quipu_service *service, struct quipu_error *err)
{
    pthread_t threads[QUIPU_SERVICE_WORKERS_MAX];
    uint32_t started = 0;
    int failed = 0;
    say(service, "service.started");
    while (started < service->workers && failed == 0) {
        failed = pthread_create(&threads[started], NULL, work, service);
        started += failed == 0 ? 1 : 0;
    }
    if (failed == 0) {
        wait_for_stop(service);
        say(service, "service.stopping");
    }
    enum quipu_status status = quipu_bridge_drain(service->bridge, END_WAIT_US, err);
    say(service, "service.drained");
    raise_fd(service->end_fd);
    for (uint32_t i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    if (failed != 0) {
        return quipu_error_errno(err, failed, "start a worker");
    }
    if (status == QUIPU_OK) {
        status = quipu_bridge_sync(service->bridge, END_WAIT_US, err);
    }
    say(service, "service.stopped");
    return status;
}

void quipu_service_stop(struct quipu_service *service)
{
    if (service != NULL) {
        raise_fd(service->stop_fd);
    }
}

/* ------------------------------------------------------------------ from threads of the library */

/* More than may wait: said at once, so that the requester does not have to wait for its timeout. */
static void on_overflow(void *ctx, struct quipu_message *message)
{
    struct quipu_service *service = ctx;
    (void)pthread_mutex_lock(&service->mutex); /* also: the bridge is known by now */
    service->refused++;
    (void)pthread_mutex_unlock(&service->mutex);
    if (quipu_message_reply(message) != NULL) {
        quipu_service_refuse(service, message, QUIPU_BUSY,
                             "more requests wait than may; try again later");
    }
}

static void on_state(void *ctx, const struct quipu_nats_report *now)
{
    const struct quipu_service *service = ctx;
    struct quipu_log_field fields[] = {quipu_log_text("state", quipu_nats_state_name(now->state)),
                                       quipu_log_number("connects", now->connects),
                                       quipu_log_bool("refresh_due", now->is_refresh_due),
                                       quipu_log_text("line", now->message)};
    bool is_well = now->state == QUIPU_NATS_CONNECTED || now->state == QUIPU_NATS_CONNECTING ||
                   now->status == QUIPU_OK;
    quipu_log_write(service->log, is_well ? QUIPU_LOG_INFO : QUIPU_LOG_WARN, "nats.state", fields,
                    now->message[0] == 0 ? 3 : 4);
    if (service->on_state != NULL) {
        service->on_state(service->on_state_ctx, now);
    }
}

/* ------------------------------------------------------------------ opening and closing */

static enum quipu_status bridge_open(struct quipu_service *service,
                                     const struct quipu_service_options *options,
                                     struct quipu_error *err)
{
    static const char *const verbs[DISCOVERY_VERBS] = {"PING", "INFO", "STATS"};
    struct quipu_bridge_subscription subscriptions[SUBSCRIPTIONS];
    char discovery[3 * DISCOVERY_VERBS][SERVICE_SUBJECT_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        subscriptions[n].subject = service->endpoints[i].subject;
        subscriptions[n++].queue = service->queue_group;
    }
    subscriptions[n].subject = service->health_subject;
    subscriptions[n++].queue = service->queue_group;
    for (size_t i = 0; i < DISCOVERY_VERBS; i++) { /* everyone answers these */
        char(*texts)[SERVICE_SUBJECT_BYTES] = &discovery[3 * i];
        (void)snprintf(texts[0], SERVICE_SUBJECT_BYTES, "$SRV.%s", verbs[i]);
        (void)snprintf(texts[1], SERVICE_SUBJECT_BYTES, "$SRV.%s.%s", verbs[i], service->name);
        (void)snprintf(texts[2], SERVICE_SUBJECT_BYTES, "$SRV.%s.%s.%s", verbs[i], service->name,
                       service->id);
        for (size_t j = 0; j < 3; j++) {
            subscriptions[n].subject = texts[j];
            subscriptions[n++].queue = NULL;
        }
    }
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    if (options->nats != NULL) {
        nats = *options->nats;
    }
    service->on_state = nats.on_state;
    service->on_state_ctx = nats.on_state_ctx;
    nats.on_state = on_state;
    nats.on_state_ctx = service;
    struct quipu_bridge_options bridge = QUIPU_BRIDGE_OPTIONS_INIT;
    bridge.nats = &nats;
    bridge.subscriptions = subscriptions;
    bridge.subscription_count = n;
    bridge.received_max = options->waiting_max;
    bridge.overflow = on_overflow;
    bridge.ctx = service;
    (void)pthread_mutex_lock(&service->mutex); /* on_overflow waits until the bridge is known */
    enum quipu_status status = quipu_bridge_open(&bridge, &service->bridge, err);
    (void)pthread_mutex_unlock(&service->mutex);
    return status;
}

enum quipu_status quipu_service_open(struct quipu_engine *engine,
                                     const struct quipu_service_options *options,
                                     struct quipu_service **out, struct quipu_error *err)
{
    if (engine == NULL || options == NULL || out == NULL || options->size != sizeof *options ||
        (options->nats != NULL && options->nats->size != sizeof *options->nats)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a service needs an engine, and options that start from "
                               "QUIPU_SERVICE_OPTIONS_INIT and QUIPU_NATS_OPTIONS_INIT");
    }
    struct quipu_service *service = quipu_alloc_zero(1, sizeof *service);
    if (service == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a service");
    }
    (void)pthread_mutex_init(&service->mutex, NULL); /* cannot fail with default attributes */
    service->engine = engine;
    service->log = options->log;
    service->clock = quipu_clock_system();
    service->started_unix_us = service->clock.unix_us(service->clock.ctx);
    service->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    service->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum quipu_status status = service->stop_fd >= 0 && service->end_fd >= 0
                                   ? quipu_service_setup(service, options, err)
                                   : quipu_error_errno(err, errno, "make a service's descriptors");
    if (status == QUIPU_OK) {
        status = bridge_open(service, options, err);
    }
    if (status != QUIPU_OK) {
        quipu_service_close(&service);
        return status;
    }
    *out = service;
    return QUIPU_OK;
}

void quipu_service_close(struct quipu_service **service)
{
    struct quipu_service *handle = *service;
    *service = NULL;
    if (handle == NULL) {
        return;
    }
    quipu_bridge_close(&handle->bridge);
    if (handle->stop_fd >= 0) {
        (void)close(handle->stop_fd);
    }
    if (handle->end_fd >= 0) {
        (void)close(handle->end_fd);
    }
    (void)pthread_mutex_destroy(&handle->mutex);
    quipu_free(handle);
}

/* ------------------------------------------------------------------ figures */

const char *quipu_service_id(const struct quipu_service *service)
{
    return service->id;
}

void quipu_service_report(struct quipu_service *service, struct quipu_service_report *out)
{
    memset(out, 0, sizeof *out);
    quipu_bridge_report(service->bridge, &out->bridge);
    (void)pthread_mutex_lock(&service->mutex);
    out->refused = service->refused;
    out->endpoint_count = service->endpoint_count;
    for (size_t i = 0; i < service->endpoint_count; i++) {
        out->endpoints[i] = service->endpoints[i].counts;
        out->requests += out->endpoints[i].requests;
        out->errors += out->endpoints[i].errors;
        out->duplicates += out->endpoints[i].duplicates;
    }
    (void)pthread_mutex_unlock(&service->mutex);
}

enum quipu_status quipu_service_wait_ready(struct quipu_service *service, int64_t timeout_us,
                                           struct quipu_error *err)
{
    return quipu_bridge_wait_ready(service->bridge, timeout_us, err);
}
