/*
 * The figures as Prometheus text: families with help and type, samples with labels. The store's
 * come from the reply to the query "status" and nowhere else. Opens no socket.
 *
 * Specification: docs/SPEC.md §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/metrics.h"

#include <inttypes.h>

#include "quipu/alloc.h"
#include "quipu/clock.h"
#include "quipu/dagcbor.h"
#include "quipu/outbox.h"
#include "quipu/query.h"

#define US_PER_S 1000000

void quipu_flush_totals_add(struct quipu_flush_totals *totals, enum quipu_status status,
                            const struct quipu_flush_report *report, int64_t now_unix_us)
{
    bool is_well = status == QUIPU_OK || status == QUIPU_STOPPED;
    totals->flushes++;
    totals->failures += is_well ? 0 : 1;
    totals->published += report->published;
    totals->duplicates += report->duplicates;
    totals->dead += report->dead;
    totals->resent += report->resent;
    totals->reconnects += report->reconnects;
    totals->payload_bytes += report->payload_bytes;
    if (report->published > 0 && report->took_us > 0) {
        totals->events_per_second =
            (uint64_t)((double)report->published * US_PER_S / (double)report->took_us);
    }
    if (is_well) {
        totals->succeeded_unix_us = now_unix_us;
    }
}

/* ------------------------------------------------------------------ text */

static void family(struct quipu_buf *out, const char *name, const char *type, const char *help)
{
    quipu_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void gauge(struct quipu_buf *out, const char *name, const char *help, uint64_t value)
{
    family(out, name, "gauge", help);
    quipu_buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

static void counter(struct quipu_buf *out, const char *name, const char *help, uint64_t value)
{
    family(out, name, "counter", help);
    quipu_buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* Seconds; the sign is that of `us`. No float, so no locale has a say in it. */
static void put_seconds(struct quipu_buf *out, int64_t us)
{
    uint64_t size = us < 0 ? 0 - (uint64_t)us : (uint64_t)us;
    quipu_buf_printf(out, "%s%" PRIu64 ".%06" PRIu64, us < 0 ? "-" : "", size / US_PER_S,
                     size % US_PER_S);
}

static void gauge_seconds(struct quipu_buf *out, const char *name, const char *help, int64_t us)
{
    family(out, name, "gauge", help);
    quipu_buf_printf(out, "%s ", name);
    put_seconds(out, us);
    quipu_buf_append_text(out, "\n");
}

/* A label's value: backslash, quote and line end are escaped. */
static void put_label(struct quipu_buf *out, struct quipu_slice value)
{
    quipu_buf_append_byte(out, '"');
    for (size_t i = 0; i < value.len; i++) {
        uint8_t c = value.data[i];
        if (c == '\\' || c == '"') {
            quipu_buf_append_byte(out, '\\');
            quipu_buf_append_byte(out, c);
        } else if (c == '\n') {
            quipu_buf_append_text(out, "\\n");
        } else {
            quipu_buf_append_byte(out, c);
        }
    }
    quipu_buf_append_byte(out, '"');
}

static int64_t now_unix_us(void)
{
    struct quipu_clock clock = quipu_clock_system();
    return clock.unix_us(clock.ctx);
}

/* ------------------------------------------------------------------ the store */

static struct quipu_slice member(struct quipu_slice map, const char *key)
{
    struct quipu_slice value;
    return quipu_dagcbor_map_get(map, key, &value, NULL) == QUIPU_OK ? value : quipu_slice(NULL, 0);
}

static uint64_t number(struct quipu_slice map, const char *key)
{
    struct quipu_dagcbor_reader reader;
    uint64_t out = 0;
    quipu_dagcbor_reader_init(&reader, member(map, key));
    return quipu_dagcbor_read_uint(&reader, &out, NULL) == QUIPU_OK ? out : 0;
}

static enum quipu_status take_instant(void *ctx, const struct quipu_event_view *event,
                                      struct quipu_error *err)
{
    (void)err;
    *(int64_t *)ctx = event->envelope.occurred_unix_us;
    return QUIPU_DONE;
}

static enum quipu_status append_oldest(struct quipu_engine *engine, uint64_t cursor,
                                       struct quipu_buf *out, struct quipu_error *err)
{
    int64_t now = now_unix_us();
    int64_t oldest = now;
    enum quipu_status status =
        quipu_outbox_each_pending(engine, cursor, 1, take_instant, &oldest, NULL, err);
    if (status == QUIPU_OK) {
        gauge_seconds(out, "quipu_outbox_oldest_pending_age_seconds",
                      "Age of the oldest event that waits to be published; 0 where none does.",
                      oldest < now ? now - oldest : 0);
    }
    return status;
}

static enum quipu_status append_lag(struct quipu_slice status_reply, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t count = 0;
    quipu_dagcbor_reader_init(&reader, member(status_reply, "projections"));
    enum quipu_status status = quipu_dagcbor_read_list(&reader, &count, err);
    if (status == QUIPU_OK && count > 0) {
        family(out, "quipu_projection_lag_events", "gauge",
               "Events that a projection has not taken in yet.");
    }
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        struct quipu_slice projection;
        struct quipu_slice name = {NULL, 0};
        status = quipu_dagcbor_next_whole(&reader, &projection, err);
        if (status == QUIPU_OK) {
            struct quipu_dagcbor_reader text;
            quipu_dagcbor_reader_init(&text, member(projection, "name"));
            status = quipu_dagcbor_read_text(&text, &name, err);
        }
        if (status == QUIPU_OK) {
            quipu_buf_append_text(out, "quipu_projection_lag_events{projection=");
            put_label(out, name);
            quipu_buf_printf(out, "} %" PRIu64 "\n", number(projection, "lag"));
        }
    }
    return status;
}

static enum quipu_status append_store(struct quipu_engine *engine, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    struct quipu_buf reply = QUIPU_BUF_INIT;
    struct quipu_query query = {.kind = QUIPU_QUERY_STATUS};
    enum quipu_status status = quipu_query_run(engine, &query, NULL, &reply, err);
    if (status == QUIPU_OK) {
        struct quipu_slice all = quipu_buf_slice(&reply);
        struct quipu_slice store = member(all, "store");
        struct quipu_slice outbox = member(all, "outbox");
        gauge(out, "quipu_store_events", "Events in the store.", number(store, "events"));
        gauge(out, "quipu_store_aggregates", "Aggregates in the store.",
              number(store, "aggregates"));
        gauge(out, "quipu_store_file_bytes", "Size of the store's file.",
              number(store, "file_bytes"));
        gauge(out, "quipu_outbox_pending_events", "Events that wait to be published.",
              number(outbox, "pending"));
        gauge(out, "quipu_outbox_published_events", "Events with a receipt of a server.",
              number(outbox, "published"));
        gauge(out, "quipu_outbox_dead_letters", "Events that the server refused for good.",
              number(outbox, "dead"));
        gauge(out, "quipu_quarantine_events", "Events that could not be taken in.",
              number(all, "quarantined"));
        gauge(out, "quipu_forks_open", "Aggregates with an open conflict.",
              number(member(all, "forks"), "open"));
        status = append_oldest(engine, number(outbox, "cursor"), out, err);
        if (status == QUIPU_OK) {
            status = append_lag(all, out, err);
        }
    }
    quipu_buf_release(&reply);
    return status;
}

/* ------------------------------------------------------------------ the network */

static void append_nats(const struct quipu_nats_report *nats, struct quipu_buf *out)
{
    gauge(out, "quipu_nats_connected", "1 while there is a connection.",
          nats->state == QUIPU_NATS_CONNECTED ? 1 : 0);
    family(out, "quipu_nats_state", "gauge", "1 for the state that the connection is in.");
    for (int state = QUIPU_NATS_OFFLINE; state <= QUIPU_NATS_ERROR; state++) {
        quipu_buf_printf(out, "quipu_nats_state{state=\"%s\"} %d\n",
                         quipu_nats_state_name((enum quipu_nats_state)state),
                         (int)nats->state == state ? 1 : 0);
    }
    counter(out, "quipu_nats_connects_total", "Connections that came about.", nats->connects);
    counter(out, "quipu_nats_credentials_refreshes_total", "New credentials that were taken.",
            nats->refreshes);
    if (nats->credentials_expire_unix_us != 0) {
        gauge_seconds(out, "quipu_nats_credentials_left_seconds",
                      "Time until the credentials in use expire; below 0 they have.",
                      nats->credentials_expire_unix_us - now_unix_us());
    }
}

static void append_flush(const struct quipu_flush_totals *flush, struct quipu_buf *out)
{
    counter(out, "quipu_flush_runs_total", "Flushes.", flush->flushes);
    counter(out, "quipu_flush_failures_total", "Flushes that ended with a failure.",
            flush->failures);
    counter(out, "quipu_flush_published_events_total", "Events that the server stored.",
            flush->published);
    counter(out, "quipu_flush_duplicate_events_total", "Events that the server had already.",
            flush->duplicates);
    counter(out, "quipu_flush_dead_events_total", "Events that became dead letters.", flush->dead);
    counter(out, "quipu_flush_retried_messages_total", "Messages that were sent again.",
            flush->resent);
    counter(out, "quipu_flush_reconnects_total", "Connections made anew in the midst of a flush.",
            flush->reconnects);
    counter(out, "quipu_flush_payload_bytes_total", "Bytes of payloads that were stored.",
            flush->payload_bytes);
    gauge(out, "quipu_flush_rate_events_per_second", "Rate of the last flush that published.",
          flush->events_per_second);
    if (flush->succeeded_unix_us != 0) {
        gauge_seconds(out, "quipu_flush_last_success_timestamp_seconds",
                      "When a flush last ended well, in seconds since 1970 UTC.",
                      flush->succeeded_unix_us);
    }
}

/* One family over all endpoints. */
static void endpoints(struct quipu_buf *out, const struct quipu_service_report *report,
                      const char *name, const char *help,
                      uint64_t (*value)(const struct quipu_endpoint_report *))
{
    family(out, name, "counter", help);
    for (size_t i = 0; i < report->endpoint_count; i++) {
        quipu_buf_printf(out, "%s{endpoint=\"%s\"} %" PRIu64 "\n", name, report->endpoints[i].name,
                         value(&report->endpoints[i]));
    }
}

static uint64_t requests_of(const struct quipu_endpoint_report *endpoint)
{
    return endpoint->requests;
}

static uint64_t errors_of(const struct quipu_endpoint_report *endpoint)
{
    return endpoint->errors;
}

static uint64_t duplicates_of(const struct quipu_endpoint_report *endpoint)
{
    return endpoint->duplicates;
}

static enum quipu_status append_service(struct quipu_service *service, struct quipu_buf *out,
                                        struct quipu_error *err)
{
    struct quipu_service_report *report = quipu_alloc(1, sizeof *report);
    if (report == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for the service's figures");
    }
    quipu_service_report(service, report);
    endpoints(out, report, "quipu_service_requests_total", "Requests that were carried out.",
              requests_of);
    endpoints(out, report, "quipu_service_errors_total", "Requests that failed.", errors_of);
    endpoints(out, report, "quipu_service_duplicates_total",
              "Repeated requests that were answered from the store.", duplicates_of);
    family(out, "quipu_service_processing_seconds_total", "counter",
           "Time that requests took, all together.");
    for (size_t i = 0; i < report->endpoint_count; i++) {
        quipu_buf_printf(out, "quipu_service_processing_seconds_total{endpoint=\"%s\"} ",
                         report->endpoints[i].name);
        put_seconds(out, (int64_t)report->endpoints[i].took_us);
        quipu_buf_append_text(out, "\n");
    }
    counter(out, "quipu_service_refused_total", "Requests refused because too many waited.",
            report->refused);
    gauge(out, "quipu_service_waiting_requests", "Requests that wait.", report->bridge.waiting);
    gauge(out, "quipu_service_connected", "1 while the service can be reached.",
          report->bridge.nats.state == QUIPU_NATS_CONNECTED ? 1 : 0);
    quipu_free(report);
    return QUIPU_OK;
}

enum quipu_status quipu_metrics_append(const struct quipu_metrics_of *of, struct quipu_buf *out,
                                       struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (of->engine != NULL) {
        status = append_store(of->engine, out, err);
    }
    if (of->nats != NULL) {
        append_nats(of->nats, out);
    }
    if (of->flush != NULL) {
        append_flush(of->flush, out);
    }
    if (status == QUIPU_OK && of->service != NULL) {
        status = append_service(of->service, out, err);
    }
    if (status == QUIPU_OK && out->status != QUIPU_OK) {
        status = quipu_error_set(err, out->status, "out of memory for the metrics");
    }
    return status;
}
