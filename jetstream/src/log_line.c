/*
 * One line: formatted on the stack, written with one call. Allocates nothing, keeps nothing.
 *
 * Specification: docs/SPEC.md §10.9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/log_line.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "quipu/buf.h"
#include "quipu/dagjson.h"
#include "quipu/text.h"

/* What the end of a cut line needs. */
#define CUT_BYTES 16

static const char *const level_names[] = {"debug", "info", "warn", "error"};

enum quipu_status quipu_log_format_parse(const char *text, enum quipu_log_format *out,
                                         struct quipu_error *err)
{
    if (strcmp(text, "text") == 0) {
        *out = QUIPU_LOG_TEXT;
    } else if (strcmp(text, "json") == 0) {
        *out = QUIPU_LOG_JSON;
    } else {
        return quipu_error_set(err, QUIPU_INVALID, "log format \"%.40s\"; text and json are there",
                               text);
    }
    return QUIPU_OK;
}

/* As it stands where no blank, quote, '=' or control character is in it. */
static bool is_bare(struct quipu_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f) {
            return false;
        }
    }
    return text.len > 0 && quipu_text_is_printable(text);
}

static void put_text(struct quipu_buf *line, enum quipu_log_format format, struct quipu_slice text)
{
    if (format == QUIPU_LOG_TEXT && is_bare(text)) {
        quipu_buf_append_slice(line, text);
    } else {
        quipu_json_append_string(line, text);
    }
}

static void put_field(struct quipu_buf *line, enum quipu_log_format format,
                      const struct quipu_log_field *field)
{
    if (format == QUIPU_LOG_JSON) {
        quipu_buf_printf(line, ",\"%s\":", field->key);
    } else {
        quipu_buf_printf(line, " %s=", field->key);
    }
    switch (field->kind) {
    case QUIPU_LOG_IS_TEXT:
        put_text(line, format, field->text);
        break;
    case QUIPU_LOG_IS_NUMBER:
        quipu_buf_printf(line, "%" PRIu64, field->number);
        break;
    case QUIPU_LOG_IS_SIGNED:
        quipu_buf_printf(line, "%" PRId64, field->number_signed);
        break;
    case QUIPU_LOG_IS_BOOL:
        quipu_buf_append_text(line, field->number != 0 ? "true" : "false");
        break;
    }
}

size_t quipu_log_format_line(const struct quipu_log *log, enum quipu_log_level level,
                             const char *event, const struct quipu_log_field *fields, size_t count,
                             char *out)
{
    bool is_json = log->format == QUIPU_LOG_JSON;
    char time[QUIPU_RFC3339_BYTES];
    struct quipu_buf line;
    quipu_rfc3339_format(log->clock.unix_us(log->clock.ctx), time);
    quipu_buf_init_fixed(&line, out, QUIPU_LOG_LINE_BYTES_MAX - CUT_BYTES);
    quipu_buf_printf(
        &line, is_json ? "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%.200s\"" : "%s %s %.200s",
        time, level_names[level], event);
    bool is_cut = false;
    for (size_t i = 0; i < count && !is_cut; i++) {
        size_t before = line.len;
        put_field(&line, log->format, &fields[i]);
        if (line.status != QUIPU_OK) {
            line.len = before; /* whole fields only */
            is_cut = true;
        }
    }
    size_t len = line.len;
    const char *end =
        is_json ? (is_cut ? ",\"cut\":true}\n" : "}\n") : (is_cut ? " cut=true\n" : "\n");
    size_t end_len = strlen(end);
    memcpy(out + len, end, end_len);
    return len + end_len;
}

void quipu_log_write(const struct quipu_log *log, enum quipu_log_level level, const char *event,
                     const struct quipu_log_field *fields, size_t count)
{
    char line[QUIPU_LOG_LINE_BYTES_MAX];
    if (log == NULL || log->fd < 0 || level < log->level_min) {
        return;
    }
    size_t len = quipu_log_format_line(log, level, event, fields, count, line);
    for (size_t at = 0; at < len;) {
        ssize_t put = write(log->fd, line + at, len - at);
        if (put < 0 && errno != EINTR) {
            return;
        }
        at += put > 0 ? (size_t)put : 0;
    }
}
