/*
 * A request: its headers and body read, its events stamped and appended, and whether it was carried
 * out before. Sends nothing.
 *
 * The ids of its events are made from the request's id, so the store itself remembers which
 * requests it has carried out: no table of requests, and nothing that expires.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "nats_options.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"
#include "service_impl.h"
#include "service_trace.h"

#define ID_DOMAIN "quipu-request-v1"

/* ------------------------------------------------------------------ reading */

static enum quipu_status format_of(const char *header, const char *value,
                                   enum body_format otherwise, enum body_format *out,
                                   struct quipu_error *err)
{
    *out = otherwise;
    if (value == NULL || value[0] == 0 || strcmp(value, "*/*") == 0) {
        return QUIPU_OK;
    }
    struct quipu_slice type = quipu_slice(value, strcspn(value, "; \t"));
    if (quipu_slice_equal(type, quipu_slice_text("application/json")) ||
        quipu_slice_equal(type, quipu_slice_text("application/vnd.ipld.dag-json"))) {
        *out = BODY_DAG_JSON;
    } else if (quipu_slice_equal(type, quipu_slice_text("application/vnd.ipld.dag-cbor"))) {
        *out = BODY_DAG_CBOR;
    } else {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s \"%.80s\"; application/json and application/vnd.ipld.dag-cbor "
                               "are known",
                               header, value);
    }
    return QUIPU_OK;
}

static enum quipu_status uuid_of(const struct quipu_request *request, const char *header,
                                 struct quipu_uuid *out, struct quipu_error *err)
{
    const char *value = quipu_message_header(request->message, header);
    if (value == NULL || value[0] == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_uuid_parse(quipu_slice_text(value), out);
    return status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, status, "%s \"%.60s\"; give a UUID", header, value);
}

static enum quipu_status id_read(struct quipu_request *request, struct quipu_error *err)
{
    const char *id = quipu_message_header(request->message, "X-Request-ID");
    if (id == NULL || id[0] == 0) {
        return QUIPU_OK;
    }
    if (strlen(id) > QUIPU_REQUEST_ID_BYTES_MAX || !quipu_text_is_printable(quipu_slice_text(id))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "X-Request-ID of %zu bytes; give up to %d bytes of UTF-8 without "
                               "control characters, such as a UUID",
                               strlen(id), QUIPU_REQUEST_ID_BYTES_MAX);
    }
    request->id = id;
    return QUIPU_OK;
}

static enum quipu_status body_read(struct quipu_request *request, enum body_format format,
                                   struct quipu_error *err)
{
    struct quipu_slice body = quipu_message_body(request->message);
    enum quipu_status status = QUIPU_OK;
    if (body.len > 0 && format == BODY_DAG_JSON) {
        status = quipu_dagjson_to_dagcbor(body, &request->body, err);
    } else if (body.len > 0) {
        status = quipu_dagcbor_validate(body, err);
        if (status == QUIPU_OK) {
            quipu_buf_append_slice(&request->body, body);
            status = request->body.status == QUIPU_OK
                         ? QUIPU_OK
                         : quipu_error_set(err, request->body.status, "out of memory");
        }
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "body");
    }
    quipu_sha256(quipu_buf_slice(&request->body), request->digest);
    return QUIPU_OK;
}

enum quipu_status quipu_request_read(struct quipu_request *request, struct quipu_error *err)
{
    enum body_format format = BODY_DAG_JSON;
    const char *type = quipu_message_header(request->message, "Content-Type");
    const char *accept = quipu_message_header(request->message, "Accept");
    const char *trace = quipu_message_header(request->message, "traceparent");
    enum quipu_status status = format_of("Content-Type", type, BODY_DAG_JSON, &format, err);
    request->reply_format = format;
    if (status == QUIPU_OK) {
        status = format_of("Accept", accept, format, &request->reply_format, err);
    }
    if (status == QUIPU_OK) {
        status = uuid_of(request, "X-Correlation-ID", &request->correlation_id, err);
    }
    if (status == QUIPU_OK) {
        status = uuid_of(request, "X-Causation-ID", &request->causation_id, err);
    }
    if (status == QUIPU_OK) {
        status = id_read(request, err);
    }
    if (trace != NULL && quipu_traceparent_is_good(quipu_slice_text(trace))) {
        request->traceparent = quipu_slice_text(trace);
    }
    const char *reply = quipu_message_reply(request->message);
    if (status == QUIPU_OK && reply != NULL) {
        status = quipu_service_inbox_check(request->service, reply, err);
    }
    return status == QUIPU_OK ? body_read(request, format, err) : status;
}

/* ------------------------------------------------------------------ for the handler */

struct quipu_engine *quipu_request_engine(const struct quipu_request *request)
{
    return request->service->engine;
}

const char *quipu_request_subject(const struct quipu_request *request)
{
    return quipu_message_subject(request->message);
}

struct quipu_slice quipu_request_body(const struct quipu_request *request)
{
    return quipu_buf_slice(&request->body);
}

const char *quipu_request_header(const struct quipu_request *request, const char *name)
{
    return quipu_message_header(request->message, name);
}

struct quipu_uuid quipu_request_correlation_id(const struct quipu_request *request)
{
    return request->correlation_id;
}

enum quipu_status quipu_request_result(struct quipu_request *request, struct quipu_slice item,
                                       struct quipu_error *err)
{
    enum quipu_status status = quipu_dagcbor_validate(item, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "result");
    }
    quipu_buf_reset(&request->result);
    quipu_buf_append_slice(&request->result, item);
    return request->result.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, request->result.status, "out of memory for a result");
}

void quipu_request_result_is_reply(struct quipu_request *request)
{
    request->is_result_reply = true;
}

enum quipu_status quipu_request_reply_to(struct quipu_request *request, const char *subject,
                                         struct quipu_error *err)
{
    size_t len = strlen(subject);
    if (len >= sizeof request->reply_subject) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a reply subject of %zu bytes, %zu may be",
                               len, sizeof request->reply_subject - 1);
    }
    enum quipu_status status = quipu_service_target_check(request->service, subject, err);
    if (status == QUIPU_OK) {
        memcpy(request->reply_subject, subject, len + 1);
    }
    return status;
}

/* ------------------------------------------------------------------ event ids */

/* UUIDv8 (RFC 9562 §5.8) of the request, the command and the event's number in the request. */
static struct quipu_uuid id_of_event(const struct quipu_request *request, size_t number)
{
    struct quipu_sha256_stream stream;
    uint8_t digest[QUIPU_SHA256_BYTES];
    uint8_t counted[8];
    struct quipu_uuid id;
    quipu_store_be64(counted, number);
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice(ID_DOMAIN, sizeof ID_DOMAIN)); /* with NULs: */
    quipu_sha256_stream_update(
        &stream, quipu_slice(request->endpoint->name, strlen(request->endpoint->name) + 1));
    quipu_sha256_stream_update(&stream, quipu_slice(request->id, strlen(request->id) + 1));
    quipu_sha256_stream_update(&stream, quipu_slice(counted, sizeof counted));
    quipu_sha256_stream_final(&stream, digest);
    memcpy(id.bytes, digest, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    return id;
}

static enum quipu_status id_new(struct quipu_service *service, struct quipu_uuid *out,
                                struct quipu_error *err)
{
    struct quipu_random random = quipu_random_system();
    (void)pthread_mutex_lock(&service->mutex);
    enum quipu_status status = quipu_uuid_v7(&service->clock, &random, &service->last_uuid, err);
    *out = service->last_uuid;
    (void)pthread_mutex_unlock(&service->mutex);
    return status;
}

static enum quipu_status stamps_grow(struct quipu_request *request, struct quipu_error *err)
{
    if (request->stamp_count >= QUIPU_REQUEST_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "more than %d events in one request",
                               QUIPU_REQUEST_EVENTS_MAX);
    }
    if (request->stamp_count < request->stamp_cap) {
        return QUIPU_OK;
    }
    size_t cap = request->stamp_cap == 0 ? 4 : request->stamp_cap * 2;
    struct request_stamp *stamps = quipu_realloc(request->stamps, cap, sizeof *stamps);
    if (stamps == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu events", cap);
    }
    memset(stamps + request->stamp_cap, 0, (cap - request->stamp_cap) * sizeof *stamps);
    request->stamps = stamps;
    request->stamp_cap = cap;
    return QUIPU_OK;
}

static enum quipu_status stamp_event(struct quipu_request *request, struct quipu_event *event,
                                     struct quipu_error *err)
{
    bool has_own_id = !quipu_uuid_is_nil(event->event_id);
    if (has_own_id && request->id != NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "an event_id in a request that has an X-Request-ID, which gives its "
                               "events their ids; give one of both");
    }
    enum quipu_status status = stamps_grow(request, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct request_stamp *stamp = &request->stamps[request->stamp_count];
    quipu_buf_reset(&stamp->meta);
    if (has_own_id) {
        /* The event is whole already, and must be the same when it comes again: nothing is added
         * that a repeated request would have otherwise. */
        status = quipu_request_meta_check(event->meta, err);
        stamp->event_id = event->event_id;
        quipu_buf_append_slice(&stamp->meta, event->meta);
        if (status == QUIPU_OK && stamp->meta.status != QUIPU_OK) {
            status = quipu_error_set(err, stamp->meta.status, "out of memory for an event's meta");
        }
    } else {
        if (request->id != NULL) {
            stamp->event_id = id_of_event(request, request->stamp_count);
        } else {
            status = id_new(request->service, &stamp->event_id, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_request_meta(request, event->meta, &stamp->meta, err);
        }
    }
    if (status != QUIPU_OK) {
        return status;
    }
    event->event_id = stamp->event_id;
    event->meta = quipu_buf_slice(&stamp->meta);
    if (quipu_uuid_is_nil(event->correlation_id)) {
        event->correlation_id = request->correlation_id;
    }
    if (quipu_uuid_is_nil(event->causation_id)) {
        event->causation_id = request->causation_id;
    }
    request->stamp_count++;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ appending */

static enum quipu_status begin_append(struct quipu_request *request, struct quipu_error *err)
{
    if (request->has_appended) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "command %s appends twice for one request; put all events into one "
                               "call",
                               request->endpoint->name);
    }
    request->stamp_count = 0;
    return QUIPU_OK;
}

static enum quipu_status appended_reserve(struct quipu_request *request, size_t count,
                                          struct quipu_error *err)
{
    struct quipu_appended *appended =
        quipu_realloc(request->appended, count == 0 ? 1 : count, sizeof *appended);
    if (appended == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu results", count);
    }
    request->appended = appended;
    return QUIPU_OK;
}

enum quipu_status quipu_request_append(struct quipu_request *request,
                                       const struct quipu_event *events, size_t count,
                                       struct quipu_error *err)
{
    enum quipu_status status = begin_append(request, err);
    if (status == QUIPU_OK && count > QUIPU_REQUEST_EVENTS_MAX) {
        status = quipu_error_set(err, QUIPU_TOO_LARGE, "%zu events in one request, %d are allowed",
                                 count, QUIPU_REQUEST_EVENTS_MAX);
    }
    if (status == QUIPU_OK) {
        status = appended_reserve(request, count, err);
    }
    struct quipu_event *stamped = quipu_alloc(count + 1, sizeof *stamped);
    if (status == QUIPU_OK && stamped == NULL) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu events", count);
    }
    for (size_t i = 0; i < count && status == QUIPU_OK; i++) {
        stamped[i] = events[i];
        status = stamp_event(request, &stamped[i], err);
        if (status != QUIPU_OK) {
            (void)quipu_error_wrap(err, status, "event %zu", i); /* status stays */
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_append_batch(request->service->engine, stamped, count, request->appended,
                                    NULL, err);
    }
    if (status == QUIPU_OK) {
        request->appended_count = count;
        request->has_appended = count > 0;
        request->is_duplicate = count > 0;
        for (size_t i = 0; i < count; i++) {
            request->is_duplicate = request->is_duplicate && request->appended[i].was_duplicate;
        }
    }
    quipu_free(stamped);
    return status;
}

/* ------------------------------------------------------------------ deciding */

struct decide_for_request {
    struct quipu_request *request;
    const struct quipu_command *command;
};

static enum quipu_status decide(void *ctx, const struct quipu_loaded *loaded,
                                struct quipu_decision *out, struct quipu_error *err)
{
    const struct decide_for_request *with = ctx;
    with->request->stamp_count = 0; /* another writer came first: begin again */
    return with->command->decide(with->command->ctx, loaded, out, err);
}

enum quipu_status quipu_request_decide(struct quipu_request *request,
                                       struct quipu_decision *decision,
                                       const struct quipu_event *event, struct quipu_error *err)
{
    struct quipu_event stamped = *event;
    enum quipu_status status = stamp_event(request, &stamped, err);
    return status == QUIPU_OK ? quipu_decision_add(decision, &stamped, err) : status;
}

static enum quipu_status appended_at(struct quipu_txn *txn, struct quipu_uuid event_id,
                                     struct quipu_event_view *view, struct quipu_appended *out,
                                     struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = quipu_txn_find_event_id(txn, event_id, &record, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, view, err);
    }
    if (status == QUIPU_OK) {
        *out = (struct quipu_appended){.position = view->position,
                                       .version = view->envelope.version,
                                       .event_id = event_id,
                                       .cid = view->cid};
    }
    return status;
}

/* Where the events of the decision are. */
static enum quipu_status find_stamped(struct quipu_request *request, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = appended_reserve(request, request->stamp_count, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(quipu_engine_store(request->service->engine), &txn, err);
    }
    for (size_t i = 0; i < request->stamp_count && status == QUIPU_OK; i++) {
        struct quipu_event_view view;
        status = appended_at(txn, request->stamps[i].event_id, &view, &request->appended[i], err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        request->appended_count = request->stamp_count;
        request->has_appended = request->stamp_count > 0;
    }
    return status;
}

enum quipu_status quipu_request_run(struct quipu_request *request,
                                    const struct quipu_command *command, struct quipu_error *err)
{
    enum quipu_status status = begin_append(request, err);
    if (status != QUIPU_OK || command->decide == NULL) {
        return status != QUIPU_OK ? status
                                  : quipu_error_set(err, QUIPU_MISUSE, "a command needs `decide`");
    }
    struct decide_for_request with = {request, command};
    struct quipu_command wrapped = *command;
    wrapped.decide = decide;
    wrapped.ctx = &with;
    if (quipu_uuid_is_nil(wrapped.correlation_id)) {
        wrapped.correlation_id = request->correlation_id;
    }
    if (quipu_uuid_is_nil(wrapped.causation_id)) {
        wrapped.causation_id = request->causation_id;
    }
    status = quipu_command_run(request->service->engine, &wrapped, NULL, err);
    return status == QUIPU_OK ? find_stamped(request, err) : status;
}

/* ------------------------------------------------------------------ carried out before? */

/* An event's id can be worked out by whoever knows the request's, and what comes in from elsewhere
 * says in its meta what its author liked: only of what was recorded here does the meta tell which
 * request was carried out. With any other event under that id the request is one that was not; the
 * append then finds it to be the same event, or a conflict. */
static enum quipu_status recall_one(struct quipu_request *request, struct quipu_txn *txn,
                                    size_t number, struct quipu_error *err)
{
    struct quipu_event_view view;
    struct quipu_appended found;
    bool is_recorded_here = false;
    enum quipu_status status = appended_at(txn, id_of_event(request, number), &view, &found, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_verify(&view, err); /* what is damaged is not acknowledged */
    }
    if (status == QUIPU_OK) {
        status = quipu_event_is_recorded_here(txn, &view, &is_recorded_here, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    enum request_origin origin =
        is_recorded_here ? quipu_request_origin(request, view.envelope.meta) : REQUEST_ORIGIN_OTHER;
    if (origin == REQUEST_ORIGIN_OTHER) {
        return QUIPU_NOT_FOUND;
    }
    if (origin == REQUEST_ORIGIN_OTHER_BODY) {
        return quipu_error_set(err, QUIPU_EVENT_ID_CONFLICT,
                               "request %s was carried out at position %" PRIu64
                               " with another body; take a new id for a new request",
                               request->id, view.position);
    }
    status = appended_reserve(request, number + 1, err);
    if (status == QUIPU_OK) {
        found.was_duplicate = true;
        request->appended[number] = found;
        request->appended_count = number + 1;
    }
    return status;
}

enum quipu_status quipu_request_recall(struct quipu_request *request, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    if (request->id == NULL) {
        return QUIPU_NOT_FOUND;
    }
    enum quipu_status status =
        quipu_txn_begin_read(quipu_engine_store(request->service->engine), &txn, err);
    request->appended_count = 0;
    for (size_t i = 0; i < QUIPU_REQUEST_EVENTS_MAX && status == QUIPU_OK; i++) {
        status = recall_one(request, txn, i, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_NOT_FOUND && request->appended_count > 0) {
        status = QUIPU_OK; /* all of them: they were appended together */
    }
    request->is_duplicate = status == QUIPU_OK;
    request->has_appended = status == QUIPU_OK;
    return status;
}

void quipu_request_release(struct quipu_request *request)
{
    for (size_t i = 0; i < request->stamp_cap; i++) {
        quipu_buf_release(&request->stamps[i].meta);
    }
    quipu_free(request->stamps);
    quipu_free(request->appended);
    quipu_buf_release(&request->body);
    quipu_buf_release(&request->result);
}
