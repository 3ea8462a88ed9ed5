/*
 * What a service says about itself: health, and discovery by ADR-32 (PING, INFO, STATS), as JSON.
 *
 * Specification: docs/SPEC.md §10.8, NATS ADR-32.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "quipu/dagjson.h"
#include "quipu/outbox.h"
#include "service_impl.h"

#define DISCOVERY "$SRV."
#define NS_PER_US 1000

static void put_member(struct quipu_buf *json, const char *key, const char *value)
{
    quipu_buf_printf(json, "\"%s\":", key);
    quipu_json_append_string(json, quipu_slice_text(value));
}

static void put_identity(const struct quipu_service *service, const char *type,
                         struct quipu_buf *json)
{
    quipu_buf_append_text(json, "{");
    put_member(json, "type", type);
    quipu_buf_append_text(json, ",");
    put_member(json, "name", service->name);
    quipu_buf_append_text(json, ",");
    put_member(json, "id", service->id);
    quipu_buf_append_text(json, ",");
    put_member(json, "version", service->version);
    quipu_buf_append_text(json, ",\"metadata\":{}");
}

static void put_endpoint(const struct quipu_service *service,
                         const struct service_endpoint *endpoint, struct quipu_buf *json)
{
    put_member(json, "name", endpoint->name);
    quipu_buf_append_text(json, ",");
    put_member(json, "subject", endpoint->subject);
    quipu_buf_append_text(json, ",");
    put_member(json, "queue_group", service->queue_group);
}

static void put_info(const struct quipu_service *service, struct quipu_buf *json)
{
    put_identity(service, "io.nats.micro.v1.info_response", json);
    quipu_buf_append_text(json, ",");
    put_member(json, "description", service->description);
    quipu_buf_append_text(json, ",\"endpoints\":[");
    for (size_t i = 0; i < service->endpoint_count; i++) {
        quipu_buf_append_text(json, i == 0 ? "{" : ",{");
        put_endpoint(service, &service->endpoints[i], json);
        quipu_buf_append_text(json, ",\"metadata\":{}}");
    }
    quipu_buf_append_text(json, "]}");
}

static void put_stats(struct quipu_service *service, struct quipu_buf *json)
{
    char started[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(service->started_unix_us, started);
    put_identity(service, "io.nats.micro.v1.stats_response", json);
    quipu_buf_printf(json, ",\"started\":\"%s\",\"endpoints\":[", started);
    (void)pthread_mutex_lock(&service->mutex);
    for (size_t i = 0; i < service->endpoint_count; i++) {
        const struct service_endpoint *endpoint = &service->endpoints[i];
        uint64_t requests = endpoint->counts.requests;
        uint64_t took_ns = endpoint->counts.took_us * NS_PER_US;
        quipu_buf_append_text(json, i == 0 ? "{" : ",{");
        put_endpoint(service, endpoint, json);
        quipu_buf_printf(
            json,
            ",\"num_requests\":%" PRIu64 ",\"num_errors\":%" PRIu64 ",\"processing_time\":%" PRIu64
            ",\"average_processing_time\":%" PRIu64 ",",
            requests, endpoint->counts.errors, took_ns, requests == 0 ? 0 : took_ns / requests);
        put_member(json, "last_error", endpoint->last_error);
        quipu_buf_append_text(json, "}");
    }
    (void)pthread_mutex_unlock(&service->mutex);
    quipu_buf_append_text(json, "]}");
}

/* Can the store be read, and how is what runs beside us? */
static void put_health(const struct quipu_service *service, struct quipu_buf *json)
{
    struct quipu_error err = {.message = ""};
    struct quipu_outbox_status outbox;
    char time[QUIPU_RFC3339_BYTES];
    enum quipu_status status = quipu_outbox_status(service->engine, &outbox, &err);
    enum quipu_status beside = status == QUIPU_OK && service->health != NULL
                                   ? service->health(service->health_ctx, &err)
                                   : QUIPU_OK;
    quipu_rfc3339_format(service->clock.unix_us(service->clock.ctx), time);
    quipu_buf_append_text(json, "{");
    put_member(json, "status",
               status != QUIPU_OK   ? "error"
               : beside != QUIPU_OK ? "degraded"
                                    : "ok");
    quipu_buf_append_text(json, ",");
    put_member(json, "service", service->name);
    quipu_buf_append_text(json, ",");
    put_member(json, "id", service->id);
    quipu_buf_append_text(json, ",");
    put_member(json, "version", service->version);
    quipu_buf_append_text(json, ",");
    put_member(json, "timestamp", time);
    if (status == QUIPU_OK) {
        quipu_buf_printf(json, ",\"pending\":%" PRIu64 ",\"dead\":%" PRIu64, outbox.pending,
                         outbox.dead);
        status = beside;
    }
    if (status != QUIPU_OK) {
        quipu_buf_append_text(json, ",");
        put_member(json, "reason", quipu_status_name(status));
        quipu_buf_append_text(json, ",");
        put_member(json, "line", err.message[0] == 0 ? quipu_status_text(status) : err.message);
    }
    quipu_buf_append_text(json, "}");
}

/* "$SRV.<verb>", "$SRV.<verb>.<name>" or "$SRV.<verb>.<name>.<id>": the subscriptions see to the
 * rest of it. */
static bool is_verb(const char *subject, const char *verb)
{
    size_t len = strlen(verb);
    const char *at = subject + sizeof DISCOVERY - 1;
    return strncmp(at, verb, len) == 0 && (at[len] == 0 || at[len] == '.');
}

bool quipu_service_tell(struct quipu_service *service, struct quipu_message *message)
{
    const char *subject = quipu_message_subject(message);
    struct quipu_buf json = QUIPU_BUF_INIT;
    bool is_health = strcmp(subject, service->health_subject) == 0;
    if (!is_health && strncmp(subject, DISCOVERY, sizeof DISCOVERY - 1) != 0) {
        return false;
    }
    if (is_health) {
        put_health(service, &json);
    } else if (is_verb(subject, "PING")) {
        put_identity(service, "io.nats.micro.v1.ping_response", &json);
        quipu_buf_append_text(&json, "}");
    } else if (is_verb(subject, "INFO")) {
        put_info(service, &json);
    } else if (is_verb(subject, "STATS")) {
        put_stats(service, &json);
    }
    if (json.status == QUIPU_OK && json.len > 0) {
        quipu_service_answer_json(service, message, quipu_buf_slice(&json));
    }
    quipu_buf_release(&json);
    return true;
}
