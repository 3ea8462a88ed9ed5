/*
 * Queries that come as requests: those of query.h as they are, and "verify", the full scrub, one at
 * a time.
 *
 * Specification: docs/SPEC.md §8.1, §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>

#include "quipu/dagcbor.h"
#include "quipu/query.h"
#include "quipu/text.h"
#include "quipu/verify.h"
#include "service_impl.h"

/* Of the server's limit, for subject and headers. DAG-JSON is longer than DAG-CBOR: where a page as
 * JSON gets too long all the same, the reply says so. */
#define FRAME_BYTES  4096
#define FINDINGS_MAX 10

/* ------------------------------------------------------------------ verify */

struct findings {
    struct {
        uint64_t position;
        char line[QUIPU_ERROR_MESSAGE_BYTES];
    } items[FINDINGS_MAX];
    size_t count;
};

static void remember(void *ctx, uint64_t position, const char *line)
{
    struct findings *findings = ctx;
    if (findings->count < FINDINGS_MAX) {
        size_t at = findings->count++;
        findings->items[at].position = position;
        (void)snprintf(findings->items[at].line, sizeof findings->items[at].line, "%s", line);
    }
}

static void write_number(struct quipu_dagcbor_writer *writer, const char *key, uint64_t value)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_uint(writer, value);
}

static void write_findings(struct quipu_dagcbor_writer *writer, const struct findings *findings)
{
    quipu_dagcbor_write_key(writer, "findings");
    quipu_dagcbor_write_list(writer, findings->count);
    for (size_t i = 0; i < findings->count; i++) {
        struct quipu_slice line = quipu_slice_text(findings->items[i].line);
        line.len = quipu_utf8_valid_prefix(line); /* it may have been cut inside of a character */
        quipu_dagcbor_write_map(writer, 2);
        quipu_dagcbor_write_key(writer, "line");
        quipu_dagcbor_write_text(writer, line);
        write_number(writer, "position", findings->items[i].position);
    }
}

static enum quipu_status write_report(const struct quipu_verify_report *report,
                                      const struct findings *findings, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 9);
    write_number(&writer, "v", QUIPU_QUERY_FORMAT);
    quipu_dagcbor_write_key(&writer, "query");
    quipu_dagcbor_write_text(&writer, quipu_slice_text("verify"));
    write_number(&writer, "events", report->events);
    write_number(&writer, "sources", report->sources);
    write_findings(&writer, findings);
    write_number(&writer, "mendable", report->mendable);
    write_number(&writer, "problems", report->problems);
    write_number(&writer, "aggregates", report->aggregates);
    write_number(&writer, "block_bytes", report->block_bytes);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static bool verify_begin(struct quipu_service *service)
{
    (void)pthread_mutex_lock(&service->mutex);
    bool may = !service->is_verifying;
    service->is_verifying = true;
    (void)pthread_mutex_unlock(&service->mutex);
    return may;
}

static void verify_end(struct quipu_service *service)
{
    (void)pthread_mutex_lock(&service->mutex);
    service->is_verifying = false;
    (void)pthread_mutex_unlock(&service->mutex);
}

static enum quipu_status verify(struct quipu_service *service, struct quipu_buf *out,
                                struct quipu_error *err)
{
    struct findings findings = {.count = 0};
    struct quipu_verify_report report = {0};
    struct quipu_verify_options options = QUIPU_VERIFY_OPTIONS_INIT;
    options.problem = remember;
    options.ctx = &findings;
    if (!verify_begin(service)) {
        return quipu_error_set(err, QUIPU_BUSY, "a verify is under way; ask again later");
    }
    enum quipu_status status = quipu_verify(service->engine, &options, &report, err);
    verify_end(service);
    /* What it has found is the answer, not a failure to answer. */
    if (status == QUIPU_OK || (status == QUIPU_CORRUPT && report.problems > 0)) {
        status = write_report(&report, &findings, out, err);
    }
    return status;
}

/* ------------------------------------------------------------------ dispatch */

/* {"query":"verify"}, and nothing else. */
static bool is_verify(struct quipu_slice body)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_slice key;
    struct quipu_slice value;
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, body);
    return quipu_dagcbor_read_map(&reader, &pairs, NULL) == QUIPU_OK && pairs == 1 &&
           quipu_dagcbor_read_text(&reader, &key, NULL) == QUIPU_OK &&
           quipu_slice_equal(key, quipu_slice_text("query")) &&
           quipu_dagcbor_read_text(&reader, &value, NULL) == QUIPU_OK &&
           quipu_slice_equal(value, quipu_slice_text("verify")) &&
           quipu_dagcbor_next(&reader, &item, NULL) == QUIPU_DONE;
}

enum quipu_status quipu_service_query(struct quipu_request *request, struct quipu_error *err)
{
    struct quipu_slice body = quipu_request_body(request);
    if (body.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the request has no body; give a query such as "
                               "{\"query\":\"status\"}");
    }
    if (is_verify(body)) {
        return verify(request->service, &request->result, err);
    }
    struct quipu_bridge_report report;
    struct quipu_query_options options = QUIPU_QUERY_OPTIONS_INIT;
    quipu_bridge_report(request->service->bridge, &report);
    if (report.message_bytes_max > FRAME_BYTES + QUIPU_QUERY_REPLY_BYTES_MIN) {
        uint64_t room = report.message_bytes_max - FRAME_BYTES;
        options.reply_bytes_max =
            room < QUIPU_QUERY_REPLY_BYTES_DEFAULT ? (size_t)room : QUIPU_QUERY_REPLY_BYTES_DEFAULT;
        /* As JSON, bytes take four characters for three, and a page must still fit. */
        if (request->reply_format == BODY_DAG_JSON) {
            options.reply_bytes_max /= 2;
        }
        if (options.reply_bytes_max < QUIPU_QUERY_REPLY_BYTES_MIN) {
            options.reply_bytes_max = QUIPU_QUERY_REPLY_BYTES_MIN;
        }
    }
    return quipu_query_answer(request->service->engine, body, &options, &request->result, err);
}
