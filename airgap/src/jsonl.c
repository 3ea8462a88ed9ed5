/*
 * Events as JSON lines, both ways. A line is the DAG-JSON of a map that holds both blocks as
 * values, so the bytes of the blocks are found again in what it reads back to. Reading checks each
 * event by itself and hands it on; taking it in is import's (import_accept.c), as for a bundle.
 *
 * Specification: docs/SPEC.md §8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "jsonl.h"

#include <inttypes.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "quipu/event_lines.h"
#include "quipu/sha256.h"

#define READ_BYTES 65536u

/* ------------------------------------------------------------------ write */

/* Which blocks stand as values. */
struct line_form {
    bool has_envelope;
    bool has_payload;
};

static enum quipu_status write_blocks(const struct quipu_event_line *line, struct line_form form,
                                      struct quipu_buf *block, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_buf_reset(block);
    quipu_dagcbor_writer_init(&writer, block);
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "cid");
    quipu_dagcbor_write_link(&writer, line->cid);
    if (form.has_payload) {
        quipu_dagcbor_write_key(&writer, "payload");
        if (line->is_raw) {
            quipu_dagcbor_write_bytes(&writer, line->payload);
        } else {
            quipu_dagcbor_write_item(&writer, line->payload);
        }
    }
    if (form.has_envelope) {
        quipu_dagcbor_write_key(&writer, "envelope");
        quipu_dagcbor_write_item(&writer, line->envelope);
    }
    if (!form.has_payload) {
        quipu_dagcbor_write_key(&writer, "payload_bytes");
        quipu_dagcbor_write_bytes(&writer, line->payload);
    }
    if (!form.has_envelope) {
        quipu_dagcbor_write_key(&writer, "envelope_bytes");
        quipu_dagcbor_write_bytes(&writer, line->envelope);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

static bool cannot_carry(enum quipu_status status)
{
    return status == QUIPU_DAGJSON || status == QUIPU_CBOR_DEPTH;
}

enum quipu_status quipu_event_line_put(const struct quipu_event_line *line,
                                       struct quipu_buf *scratch, struct quipu_buf *out,
                                       struct quipu_error *err)
{
    /* From the most that can be read to what always works. */
    static const struct line_form forms[] = {
        {true, true}, {true, false}, {false, true}, {false, false}};
    enum quipu_status status = QUIPU_DAGJSON;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0] && cannot_carry(status); i++) {
        if (line->is_raw && !line->shows_raw && forms[i].has_payload) {
            continue;
        }
        status = write_blocks(line, forms[i], scratch, err);
        if (status == QUIPU_OK) {
            status = quipu_dagjson_from_dagcbor(quipu_buf_slice(scratch), out, err);
        }
    }
    return status;
}

enum quipu_status quipu_event_line_write(const struct quipu_event_view *event,
                                         struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_buf scratch = QUIPU_BUF_INIT;
    struct quipu_event_line line = {
        .cid = &event->cid,
        .envelope = event->envelope_block,
        .payload = event->payload,
        .is_raw = event->envelope.payload.codec == QUIPU_CODEC_RAW,
    };
    enum quipu_status status = quipu_event_line_put(&line, &scratch, out, err);
    quipu_buf_release(&scratch);
    return status;
}

/* ------------------------------------------------------------------ lines of a source */

struct lines {
    struct quipu_source source;
    struct quipu_sha256_stream sha256;
    struct quipu_buf buf;
    size_t at;       /* first byte that was not given out */
    size_t searched; /* bytes behind it without a line end */
    bool is_end;
    uint64_t number; /* of the line given out last, from 1 */
    uint64_t bytes;  /* read so far */
};

static enum quipu_status read_more(struct lines *lines, struct quipu_error *err)
{
    size_t got = 0;
    if (lines->at > 0) {
        memmove(lines->buf.data, lines->buf.data + lines->at, lines->buf.len - lines->at);
        lines->buf.len -= lines->at;
        lines->at = 0;
    }
    if (lines->buf.len > QUIPU_EVENT_LINE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "line %" PRIu64 " has more than %zu bytes",
                               lines->number + 1, (size_t)QUIPU_EVENT_LINE_BYTES_MAX);
    }
    uint8_t *into = quipu_buf_reserve(&lines->buf, READ_BYTES);
    if (into == NULL) {
        return quipu_error_set(err, lines->buf.status, "no memory for line %" PRIu64,
                               lines->number + 1);
    }
    enum quipu_status status = lines->source.read(lines->source.ctx, into, READ_BYTES, &got, err);
    if (status == QUIPU_OK) {
        quipu_sha256_stream_update(&lines->sha256, quipu_slice(into, got));
        lines->buf.len += got;
        lines->bytes += got;
        lines->is_end = got == 0;
    }
    return status;
}

/* QUIPU_DONE: behind the last one. */
static enum quipu_status next_line(struct lines *lines, struct quipu_slice *line,
                                   struct quipu_error *err)
{
    for (;;) {
        size_t len = lines->buf.len - lines->at;
        const uint8_t *from = len == 0 ? NULL : lines->buf.data + lines->at;
        const uint8_t *end = len == lines->searched
                                 ? NULL
                                 : memchr(from + lines->searched, '\n', len - lines->searched);
        if (end == NULL && !lines->is_end) {
            lines->searched = len;
            enum quipu_status status = read_more(lines, err);
            if (status != QUIPU_OK) {
                return status;
            }
            continue;
        }
        if (end == NULL && len == 0) {
            return QUIPU_DONE;
        }
        *line = quipu_slice(from, end == NULL ? len : (size_t)(end - from));
        lines->at += line->len + (end == NULL ? 0 : 1);
        lines->searched = 0;
        lines->number++;
        return QUIPU_OK;
    }
}

/* ------------------------------------------------------------------ read */

struct lines_pass {
    const struct quipu_bundle_pass *pass;
    struct lines lines;
    struct quipu_buf block; /* the line as DAG-CBOR */
    uint64_t events;
};

static bool is_blank(struct quipu_slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (memchr(" \t\r", line.data[i], 3) == NULL) {
            return false;
        }
    }
    return true;
}

/* The block under `key`, or the bytes under `key_bytes`. */
static enum quipu_status get_block(struct quipu_slice map, const char *key, const char *key_bytes,
                                   struct quipu_slice *out, struct quipu_error *err)
{
    struct quipu_slice value = {0};
    struct quipu_dagcbor_reader reader;
    if (quipu_dagcbor_map_get(map, key, out, NULL) == QUIPU_OK) {
        return QUIPU_OK;
    }
    if (quipu_dagcbor_map_get(map, key_bytes, &value, NULL) == QUIPU_OK) {
        quipu_dagcbor_reader_init(&reader, value);
        if (quipu_dagcbor_read_bytes(&reader, out, NULL) == QUIPU_OK) {
            return QUIPU_OK;
        }
    }
    return quipu_error_set(err, QUIPU_INVALID,
                           "neither a value under \"%s\" nor bytes under \"%s\"", key, key_bytes);
}

static enum quipu_status get_event(struct quipu_slice map, struct quipu_foreign *event,
                                   struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice cid = {0};
    uint64_t pairs = 0;
    quipu_dagcbor_reader_init(&reader, map);
    if (quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK || pairs != 3) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "an event is an object with cid, envelope and payload, as `quipu "
                               "export --format jsonl` writes it");
    }
    enum quipu_status status = quipu_dagcbor_map_get(map, "cid", &cid, NULL);
    if (status == QUIPU_OK) {
        quipu_dagcbor_reader_init(&reader, cid);
        status = quipu_dagcbor_read_link(&reader, &event->cid, NULL);
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_INVALID, "no link under \"cid\"");
    }
    status = get_block(map, "envelope", "envelope_bytes", &event->envelope, err);
    return status == QUIPU_OK ? get_block(map, "payload", "payload_bytes", &event->payload, err)
                              : status;
}

static enum quipu_status read_line(struct lines_pass *run, struct quipu_slice line,
                                   struct quipu_error *err)
{
    struct quipu_foreign event = {.sequence = 0};
    quipu_buf_reset(&run->block);
    enum quipu_status status = quipu_dagjson_to_dagcbor(line, &run->block, err);
    if (status == QUIPU_OK) {
        status = get_event(quipu_buf_slice(&run->block), &event, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_foreign_check(&event, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_bundle_event found = {
        .number = ++run->events,
        .cid = event.cid,
        .envelope = event.envelope,
        .payload = event.payload,
    };
    return run->pass->visit(run->pass->ctx, &found, err);
}

static enum quipu_status read_lines(struct lines_pass *run, struct quipu_error *err)
{
    for (;;) {
        struct quipu_slice line = {0};
        enum quipu_status status = next_line(&run->lines, &line, err);
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        if (is_blank(line)) {
            continue;
        }
        status = read_line(run, line, err);
        if (status != QUIPU_OK) {
            return quipu_error_wrap(err, status, "line %" PRIu64, run->lines.number);
        }
    }
}

enum quipu_status quipu_lines_read(struct quipu_source source, const struct quipu_bundle_pass *pass,
                                   struct quipu_bundle_report *report, struct quipu_error *err)
{
    struct lines_pass run = {.pass = pass, .lines = {.source = source}};
    quipu_sha256_stream_init(&run.lines.sha256);
    enum quipu_status status = read_lines(&run, err);
    if (status == QUIPU_OK) {
        *report = (struct quipu_bundle_report){
            .events = run.events,
            .unproven = run.events,
            .file_bytes = run.lines.bytes,
        };
        quipu_sha256_stream_final(&run.lines.sha256, report->file_sha256);
    }
    quipu_buf_release(&run.lines.buf);
    quipu_buf_release(&run.block);
    return status;
}

/* ------------------------------------------------------------------ in one call */

enum quipu_status quipu_lines_import(struct quipu_engine *engine, struct quipu_source source,
                                     const struct quipu_lines_import_options *options,
                                     struct quipu_lines_report *report, struct quipu_error *err)
{
    static const struct quipu_lines_import_options defaults = QUIPU_LINES_IMPORT_OPTIONS_INIT;
    struct quipu_import_options all = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report found;
    struct quipu_import *import = NULL;
    if (options == NULL) {
        options = &defaults;
    }
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE, "lines: options of %zu bytes, not %zu",
                               options->size, sizeof *options);
    }
    all.is_dry_run = options->is_dry_run;
    all.keeps_forks = options->keeps_forks;
    all.operator_name = options->operator_name;
    all.clock = options->clock;
    all.takes_unproven = true;
    all.source = &source;
    enum quipu_status status = quipu_import_open_lines(engine, "lines", &all, &import, err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept(import, engine, &found, err);
    }
    quipu_import_close(&import);
    if (status == QUIPU_OK && report != NULL) {
        *report = (struct quipu_lines_report){
            .lines = found.bundle.events,
            .events = found.events,
            .operation = found.operation,
        };
        memcpy(report->sha256, found.bundle.file_sha256, sizeof report->sha256);
    }
    return status;
}
