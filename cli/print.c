/*
 * Failures, notes, progress, and figures for people. Never writes a failure on stdout, and never
 * more than one line for one failure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "print.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "quipu/dagjson.h"
#include "quipu/text.h"

#define PROGRESS_EVERY_US 100000
#define LINE_BYTES        ((size_t)PATH_MAX + 1024) /* a path and what is said of it */

/* Of a sequence that is valid UTF-8. */
static uint32_t code_of(const uint8_t *letter, size_t len)
{
    uint32_t code = len == 1 ? letter[0] : letter[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        code = code << 6 | (letter[i] & 0x3fu);
    }
    return code;
}

/* How many bytes from the front on may go to a terminal as they are: whole letters of UTF-8 that
 * drive nothing, hide nothing and leave the others in their order. `skipped` becomes how many bytes
 * the one behind them takes, where there is one. */
static size_t plain_prefix(struct quipu_slice text, size_t *skipped)
{
    size_t at = 0;
    *skipped = 0;
    while (at < text.len) {
        uint8_t first = text.data[at];
        size_t len = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
        if (len > text.len - at ||
            quipu_utf8_valid_prefix(quipu_slice(text.data + at, len)) != len) {
            *skipped = 1;
            break;
        }
        if (quipu_text_is_hidden(code_of(text.data + at, len))) {
            *skipped = len;
            break;
        }
        at += len;
    }
    return at;
}

/* Messages may quote input: what would break the line, or drive the terminal, becomes a space. */
static void append_line(struct quipu_buf *out, struct quipu_slice text)
{
    while (text.len > 0) {
        size_t skipped = 0;
        size_t plain = plain_prefix(text, &skipped);
        quipu_buf_append(out, text.data, plain);
        if (skipped > 0) {
            quipu_buf_append_byte(out, ' ');
        }
        text = quipu_slice(text.data + plain + skipped, text.len - plain - skipped);
    }
}

static void fail_json(const struct cli_failure *failure, enum cli_exit code, const char *message,
                      const char *cure)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    quipu_buf_printf(&line, "{\"error\":{\"status\":\"%s\",\"number\":%d,\"exit\":%d,\"message\":",
                     quipu_status_name(failure->status), (int)failure->status, (int)code);
    quipu_json_append_string(&line, quipu_slice_text(message));
    if (cure[0] != 0) {
        quipu_buf_append_text(&line, ",\"cure\":");
        quipu_json_append_string(&line, quipu_slice_text(cure));
    }
    if (failure->note != NULL) {
        quipu_buf_append_text(&line, ",\"note\":");
        quipu_json_append_string(&line, quipu_slice_text(failure->note));
    }
    quipu_buf_append_slice(&line, failure->members);
    cli_put_json(quipu_buf_slice(&line), stderr);
    (void)fputs("}}\n", stderr);
    quipu_buf_release(&line);
}

static void fail_text(const struct cli *cli, const struct cli_failure *failure, const char *message,
                      const char *cure)
{
    struct quipu_buf line = QUIPU_BUF_INIT;
    quipu_buf_printf(&line, "quipu%s%s: ", cli->verb == NULL ? "" : " ",
                     cli->verb == NULL ? "" : cli->verb->name);
    append_line(&line, quipu_slice_text(message));
    if (cure[0] != 0) {
        quipu_buf_append_text(&line, "; ");
        append_line(&line, quipu_slice_text(cure));
    }
    if (failure->note != NULL) {
        quipu_buf_append_text(&line, " (");
        append_line(&line, quipu_slice_text(failure->note));
        quipu_buf_append_byte(&line, ')');
    }
    (void)fprintf(stderr, "%.*s\n", QUIPU_SLICE_FMT(quipu_buf_slice(&line)));
    quipu_buf_release(&line);
}

/* The library says the cure behind a semicolon where it knows one; then ours would be noise. */
static bool says_cure(const char *message)
{
    return strstr(message, "; ") != NULL;
}

const char *cli_cure_unless_said(const struct quipu_error *err, const char *cure)
{
    return says_cure(err->message) ? NULL : cure;
}

int cli_fail_with(const struct cli *cli, const struct cli_failure *failure)
{
    (void)fflush(
        stdout); /* results so far stand before the failure; main reports a broken stdout */
    enum cli_exit code =
        failure->code != CLI_EXIT_OK ? failure->code : cli_exit_code(failure->status);
    const char *message = failure->err != NULL && failure->err->message[0] != 0
                              ? failure->err->message
                              : quipu_status_text(failure->status);
    const char *cure = failure->cure;
    if (cure == NULL) {
        cure = says_cure(message) ? "" : cli_cure(failure->status);
    }
    if (cli->is_json) {
        fail_json(failure, code, message, cure);
    } else {
        fail_text(cli, failure, message, cure);
    }
    return (int)code;
}

struct quipu_error cli_without_cure(const struct quipu_error *err)
{
    struct quipu_error plain = *err;
    char *cure = strstr(plain.message, "; ");
    if (cure != NULL) {
        *cure = 0;
    }
    return plain;
}

int cli_fail(const struct cli *cli, enum quipu_status status, const struct quipu_error *err,
             const char *cure)
{
    struct cli_failure failure = {.status = status, .err = err, .cure = cure};
    return cli_fail_with(cli, &failure);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    struct quipu_error err = {.status = QUIPU_INVALID, .offset = QUIPU_ERROR_NO_OFFSET};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(err.message, sizeof err.message, format, args);
    va_end(args);
    char cure[64];
    (void)snprintf(cure, sizeof cure, "see `quipu %s%s`",
                   cli->verb == NULL ? "help" : cli->verb->name,
                   cli->verb == NULL ? "" : " --help");
    struct cli_failure failure = {
        .status = QUIPU_INVALID, .err = &err, .cure = cure, .code = CLI_EXIT_USAGE};
    return cli_fail_with(cli, &failure);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
    char said[LINE_BYTES];
    struct quipu_buf line = QUIPU_BUF_INIT;
    if (cli->is_quiet) {
        return;
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    append_line(&line, quipu_slice_text(said));
    (void)fprintf(stderr, "%.*s\n", QUIPU_SLICE_FMT(quipu_buf_slice(&line)));
    quipu_buf_release(&line);
}

void cli_put_plain(struct quipu_slice text)
{
    while (text.len > 0) {
        size_t skipped = 0;
        size_t plain = plain_prefix(text, &skipped);
        (void)fwrite(text.data, 1, plain, stdout); /* main asks ferror at the end */
        if (skipped > 0) {
            (void)fputc(' ', stdout);
        }
        text = quipu_slice(text.data + plain + skipped, text.len - plain - skipped);
    }
}

void cli_say(const char *format, ...)
{
    char said[LINE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(said, sizeof said, format, args);
    va_end(args);
    cli_put_plain(quipu_slice_text(said));
    (void)fputc('\n', stdout);
}

void cli_print_name(const struct cli *cli, const char *name)
{
    (void)printf("%s%-12s%s ", cli_paint(cli, CLI_DIM), name, cli_paint(cli, CLI_PLAIN));
}

void cli_done(struct cli *cli, uint64_t count, const char *became)
{
    char text[CLI_COUNTED_BYTES];
    (void)snprintf(cli->done, sizeof cli->done, "%s %s %s", cli_counted(count, "event", text),
                   count == 1 ? "is" : "are", became);
}

int64_t cli_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail with this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void cli_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct cli_progress *progress = ctx;
    if (!progress->cli->has_progress) {
        return;
    }
    int64_t now_us = cli_now_us();
    if (progress->is_shown && now_us - progress->last_us < PROGRESS_EVERY_US) {
        return;
    }
    char done_text[CLI_COUNT_BYTES];
    char total_text[CLI_COUNT_BYTES];
    (void)fprintf(stderr, "\r%s%s%s %s\x1b[K", cli_count(done, done_text), total == 0 ? "" : " of ",
                  total == 0 ? "" : cli_count(total, total_text), progress->what);
    (void)fflush(stderr);
    progress->last_us = now_us;
    progress->is_shown = true;
}

void cli_progress_end(struct cli_progress *progress)
{
    if (progress->is_shown) {
        (void)fputs("\r\x1b[K", stderr);
        (void)fflush(stderr);
        progress->is_shown = false;
    }
}

const char *cli_count(uint64_t value, char out[CLI_COUNT_BYTES])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, value);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) {
            out[at++] = ',';
        }
        out[at++] = digits[i];
    }
    out[at] = 0;
    return out;
}

const char *cli_counted(uint64_t value, const char *what, char out[CLI_COUNTED_BYTES])
{
    char count[CLI_COUNT_BYTES];
    (void)snprintf(out, CLI_COUNTED_BYTES, "%s %s%s", cli_count(value, count), what,
                   value == 1 ? "" : "s");
    return out;
}

const char *cli_bytes(uint64_t value, char out[CLI_COUNT_BYTES])
{
    static const char *const units[] = {"kB", "MB", "GB", "TB"};
    if (value < 1000) {
        (void)snprintf(out, CLI_COUNT_BYTES, "%" PRIu64 " B", value);
        return out;
    }
    double scaled = (double)value / 1000;
    size_t unit = 0;
    while (scaled >= 999.95 && unit + 1 < sizeof units / sizeof units[0]) {
        scaled /= 1000;
        unit++;
    }
    (void)snprintf(out, CLI_COUNT_BYTES, "%.1f %s", scaled, units[unit]);
    return out;
}

const char *cli_duration(int64_t us, char out[CLI_COUNT_BYTES])
{
    if (us < 1000) {
        (void)snprintf(out, CLI_COUNT_BYTES, "%" PRId64 " us", us);
    } else if (us < 1000000) {
        (void)snprintf(out, CLI_COUNT_BYTES, "%.1f ms", (double)us / 1e3);
    } else {
        (void)snprintf(out, CLI_COUNT_BYTES, "%.1f s", (double)us / 1e6);
    }
    return out;
}

const char *cli_paint(const struct cli *cli, enum cli_paint paint)
{
    if (!cli->has_colour) {
        return "";
    }
    switch (paint) {
    case CLI_PLAIN:
        return "\x1b[0m";
    case CLI_BOLD:
        return "\x1b[1m";
    case CLI_DIM:
        return "\x1b[2m";
    case CLI_GREEN:
        return "\x1b[32m";
    case CLI_RED:
        return "\x1b[31m";
    case CLI_CYAN:
        return "\x1b[36m";
    }
    return "";
}
