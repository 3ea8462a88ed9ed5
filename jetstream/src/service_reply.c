/*
 * Replies: what was appended or what failed, as DAG-CBOR or DAG-JSON, with the headers that tools
 * of NATS services look at; failures also to the error subject. Everything goes into the bridge's
 * queue; where that is full, a reply is lost and counted, and the requester asks again.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats_options.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/query.h"
#include "quipu/text.h"
#include "service_impl.h"

#define HEADERS_MAX 8
/* Of the server's limit, for what is around the body: subject, headers. */
#define FRAME_BYTES 4096

struct reply {
    struct quipu_outgoing message;
    struct quipu_header headers[HEADERS_MAX];
    char code[16];
    char line[QUIPU_ERROR_MESSAGE_BYTES];
};

static void add_header(struct reply *reply, const char *name, const char *value)
{
    if (value != NULL && value[0] != 0 && reply->message.header_count < HEADERS_MAX) {
        struct quipu_header header = {name, value};
        reply->headers[reply->message.header_count++] = header;
        reply->message.headers = reply->headers;
    }
}

/* A line of text that may stand in a header. */
static void copy_line(char *out, size_t cap, const char *line)
{
    (void)snprintf(out, cap, "%s", line);
    for (char *p = out; *p != 0; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            *p = ' ';
        }
    }
}

static void add_failure(struct reply *reply, enum quipu_status status, const char *line)
{
    copy_line(reply->line, sizeof reply->line, line);
    (void)snprintf(reply->code, sizeof reply->code, "%d", (int)status);
    add_header(reply, "Nats-Service-Error", reply->line);
    add_header(reply, "Nats-Service-Error-Code", reply->code);
    add_header(reply, "X-Quipu-Status", quipu_status_name(status));
}

static void say_lost(const struct quipu_service *service, const char *subject,
                     const struct quipu_error *err)
{
    struct quipu_log_field fields[] = {quipu_log_text("subject", subject),
                                       quipu_log_text("line", err->message)};
    quipu_log_write(service->log, QUIPU_LOG_WARN, "reply.lost", fields, 2);
}

const char *quipu_service_reply_subject(struct quipu_service *service,
                                        const struct quipu_message *message)
{
    struct quipu_error err;
    const char *subject = quipu_message_reply(message);
    if (subject == NULL || quipu_service_inbox_check(service, subject, &err) == QUIPU_OK) {
        return subject;
    }
    struct quipu_log_field fields[] = {quipu_log_text("subject", quipu_message_subject(message)),
                                       quipu_log_text("line", err.message)};
    quipu_log_write(service->log, QUIPU_LOG_WARN, "reply.refused", fields, 2);
    return NULL;
}

static void send(struct quipu_service *service, const struct quipu_outgoing *message)
{
    struct quipu_error err;
    if (message->subject != NULL &&
        quipu_bridge_publish(service->bridge, message, &err) != QUIPU_OK) {
        say_lost(service, message->subject, &err);
    }
}

/* ------------------------------------------------------------------ bodies */

static void write_appended(struct quipu_dagcbor_writer *writer, const struct quipu_appended *it)
{
    char event_id[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(it->event_id, event_id);
    quipu_dagcbor_write_map(writer, 5);
    quipu_dagcbor_write_key(writer, "cid");
    quipu_dagcbor_write_link(writer, &it->cid);
    quipu_dagcbor_write_key(writer, "version");
    quipu_dagcbor_write_uint(writer, it->version);
    quipu_dagcbor_write_key(writer, "event_id");
    quipu_dagcbor_write_text(writer, quipu_slice_text(event_id));
    quipu_dagcbor_write_key(writer, "position");
    quipu_dagcbor_write_uint(writer, it->position);
    quipu_dagcbor_write_key(writer, "duplicate");
    quipu_dagcbor_write_bool(writer, it->was_duplicate);
}

static enum quipu_status success_body(const struct quipu_request *request, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    bool has_result = request->result.len > 0;
    if (request->is_result_reply || request->endpoint->kind == ENDPOINT_QUERY) {
        quipu_buf_append_slice(out, quipu_buf_slice(&request->result));
        return out->status;
    }
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, has_result ? 4 : 3);
    quipu_dagcbor_write_key(&writer, "v");
    quipu_dagcbor_write_uint(&writer, 1);
    quipu_dagcbor_write_key(&writer, "events");
    quipu_dagcbor_write_list(&writer, request->appended_count);
    for (size_t i = 0; i < request->appended_count; i++) {
        write_appended(&writer, &request->appended[i]);
    }
    if (has_result) {
        quipu_dagcbor_write_key(&writer, "result");
        quipu_dagcbor_write_item(&writer, quipu_buf_slice(&request->result));
    }
    quipu_dagcbor_write_key(&writer, "duplicate");
    quipu_dagcbor_write_bool(&writer, request->is_duplicate);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static enum quipu_status in_format(enum body_format format, struct quipu_slice block,
                                   struct quipu_buf *out, struct quipu_error *err)
{
    if (format == BODY_DAG_JSON && block.len > 0) {
        return quipu_dagjson_from_dagcbor(block, out, err);
    }
    quipu_buf_append_slice(out, block);
    return out->status;
}

static enum quipu_status check_length(const struct quipu_service *service, size_t len,
                                      struct quipu_error *err)
{
    struct quipu_bridge_report report;
    quipu_bridge_report(service->bridge, &report);
    if (report.message_bytes_max != 0 && len + FRAME_BYTES > report.message_bytes_max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE,
                               "a reply of %zu bytes, the server takes %" PRIu64
                               "; ask for less at a time",
                               len, report.message_bytes_max);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ failures */

static void put_member(struct quipu_buf *json, const char *key, const char *value)
{
    quipu_buf_printf(json, ",\"%s\":", key);
    quipu_json_append_string(json, quipu_slice_text(value));
}

/* For whoever watches the error subject. */
static void publish_failure(const struct quipu_request *request, enum quipu_status status,
                            const char *line)
{
    struct quipu_service *service = request->service;
    char subject[SERVICE_SUBJECT_BYTES];
    char time[QUIPU_RFC3339_BYTES];
    char correlation[QUIPU_UUID_TEXT_BYTES] = "";
    struct quipu_buf json = QUIPU_BUF_INIT;
    quipu_rfc3339_format(service->clock.unix_us(service->clock.ctx), time);
    if (!quipu_uuid_is_nil(request->correlation_id)) {
        quipu_uuid_format(request->correlation_id, correlation);
    }
    quipu_buf_printf(&json, "{\"v\":1,\"time\":\"%s\",\"number\":%d", time, (int)status);
    put_member(&json, "status", quipu_status_name(status));
    put_member(&json, "line", line);
    put_member(&json, "service", service->name);
    put_member(&json, "id", service->id);
    put_member(&json, "subject", quipu_message_subject(request->message));
    put_member(&json, "correlation_id", correlation);
    put_member(&json, "request_id", request->id == NULL ? "" : request->id);
    quipu_buf_append_text(&json, "}");
    int len =
        snprintf(subject, sizeof subject, "%s.errors.%s", service->prefix, request->endpoint->name);
    if (json.status == QUIPU_OK && len > 0 && (size_t)len < sizeof subject) {
        struct reply reply = {.message = {.subject = subject, .body = quipu_buf_slice(&json)}};
        add_header(&reply, "Content-Type", "application/json");
        send(service, &reply.message);
    }
    quipu_buf_release(&json);
}

static const char *content_type(enum body_format format)
{
    return format == BODY_DAG_JSON ? "application/json" : "application/vnd.ipld.dag-cbor";
}

/* ------------------------------------------------------------------ answering */

static enum quipu_status body_of(const struct quipu_request *request, struct quipu_buf *block,
                                 struct quipu_buf *body, struct quipu_error *err)
{
    enum quipu_status status = success_body(request, block, err);
    if (status == QUIPU_OK) {
        status = in_format(request->reply_format, quipu_buf_slice(block), body, err);
    }
    return status == QUIPU_OK ? check_length(request->service, body->len, err) : status;
}

static void send_reply(const struct quipu_request *request, enum quipu_status status,
                       const char *line, struct quipu_slice body)
{
    struct reply reply = {.message = {.body = body}};
    reply.message.subject = request->reply_subject[0] != 0
                                ? request->reply_subject
                                : quipu_service_reply_subject(request->service, request->message);
    char correlation[QUIPU_UUID_TEXT_BYTES] = "";
    char trace[QUIPU_TRACEPARENT_BYTES] = "";
    if (!quipu_uuid_is_nil(request->correlation_id)) {
        quipu_uuid_format(request->correlation_id, correlation);
    }
    if (request->traceparent.len < sizeof trace) {
        (void)snprintf(trace, sizeof trace, "%.*s", QUIPU_SLICE_FMT(request->traceparent));
    }
    add_header(&reply, "Content-Type", content_type(request->reply_format));
    add_header(&reply, "X-Correlation-ID", correlation);
    add_header(&reply, "X-Request-ID", request->id);
    add_header(&reply, "traceparent", trace);
    if (status != QUIPU_OK) {
        add_failure(&reply, status, line);
    }
    send(request->service, &reply.message);
}

void quipu_request_answer(struct quipu_request *request, enum quipu_status status,
                          const struct quipu_error *failure)
{
    struct quipu_error err = {.message = ""};
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf body = QUIPU_BUF_INIT;
    if (status == QUIPU_OK) {
        status = body_of(request, &block, &body, &err);
        failure = &err;
    }
    if (status == QUIPU_OK) {
        send_reply(request, QUIPU_OK, "", quipu_buf_slice(&body));
    } else {
        const char *line = failure->message[0] != 0 ? failure->message : quipu_status_text(status);
        quipu_buf_reset(&block);
        quipu_buf_reset(&body);
        /* Without memory for it the headers say enough. */
        if (quipu_query_failure(status, failure->message[0] != 0 ? failure : NULL, &block, NULL) ==
            QUIPU_OK) {
            (void)in_format(request->reply_format, quipu_buf_slice(&block), &body, NULL);
        }
        send_reply(request, status, line, quipu_buf_slice(&body));
        publish_failure(request, status, line);
    }
    quipu_buf_release(&block);
    quipu_buf_release(&body);
}

void quipu_service_refuse(struct quipu_service *service, struct quipu_message *message,
                          enum quipu_status status, const char *line)
{
    struct reply reply = {.message = {.subject = quipu_service_reply_subject(service, message)}};
    add_failure(&reply, status, line);
    add_header(&reply, "X-Request-ID", quipu_message_header(message, "X-Request-ID"));
    send(service, &reply.message);
}

void quipu_service_answer_json(struct quipu_service *service, const struct quipu_message *message,
                               struct quipu_slice json)
{
    struct reply reply = {
        .message = {.subject = quipu_service_reply_subject(service, message), .body = json}};
    add_header(&reply, "Content-Type", "application/json");
    send(service, &reply.message);
}
