/*
 * Log lines: both forms, what is quoted, what is cut.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "quipu/buf.h"
#include "quipu/dagjson.h"
#include "quipu/log_line.h"

static int64_t noon(void *ctx)
{
    (void)ctx;
    return INT64_C(1795262400000001);
}

static const char *line_of(enum quipu_log_format format, const struct quipu_log_field *fields,
                           size_t count)
{
    static char line[QUIPU_LOG_LINE_BYTES_MAX + 1];
    struct quipu_log log = {.fd = -1, .format = format, .clock = {.unix_us = noon}};
    size_t len = quipu_log_format_line(&log, QUIPU_LOG_WARN, "request.failed", fields, count, line);
    cr_assert_leq(len, QUIPU_LOG_LINE_BYTES_MAX);
    line[len] = 0;
    return line;
}

Test(log_line, has_time_level_event_and_fields)
{
    struct quipu_log_field fields[] = {
        quipu_log_text("bare", "a.b"),     quipu_log_text("blank", "a b"),
        quipu_log_text("quote", "a\"b\n"), quipu_log_text("empty", NULL),
        quipu_log_number("n", UINT64_MAX), quipu_log_signed("s", -7),
        quipu_log_bool("is", true)};

    cr_assert_str_eq(line_of(QUIPU_LOG_TEXT, fields, 7),
                     "2026-11-21T12:00:00.000001Z warn request.failed bare=a.b blank=\"a b\" "
                     "quote=\"a\\\"b\\n\" empty=\"\" n=18446744073709551615 s=-7 is=true\n");
    cr_assert_str_eq(
        line_of(QUIPU_LOG_JSON, fields, 7),
        "{\"time\":\"2026-11-21T12:00:00.000001Z\",\"level\":\"warn\",\"event\":"
        "\"request.failed\",\"bare\":\"a.b\",\"blank\":\"a b\",\"quote\":\"a\\\"b\\n\","
        "\"empty\":\"\",\"n\":18446744073709551615,\"s\":-7,\"is\":true}\n");
}

Test(log_line, that_is_too_long_loses_whole_fields_and_says_so)
{
    static char longer[QUIPU_LOG_LINE_BYTES_MAX];
    memset(longer, 'x', sizeof longer - 1);
    for (size_t len = QUIPU_LOG_LINE_BYTES_MAX - 160; len < sizeof longer; len++) {
        struct quipu_log_field fields[] = {quipu_log_text("first", "kept"),
                                           quipu_log_slice("second", quipu_slice(longer, len)),
                                           quipu_log_bool("last", true)};
        struct quipu_error err;
        struct quipu_buf block = QUIPU_BUF_INIT;
        const char *line = line_of(QUIPU_LOG_JSON, fields, 3);
        cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(line), &block, &err), QUIPU_OK,
                     "%zu: %s", len, err.message);
        quipu_buf_release(&block);
        bool is_whole = strstr(line, "\"last\":true}\n") != NULL;
        bool is_cut = strstr(line, ",\"cut\":true}\n") != NULL;
        cr_assert(is_whole != is_cut, "%zu", len);
        cr_assert_not_null(strstr(line, "\"first\":\"kept\""));
    }
}

Test(log_line, formats_have_names)
{
    struct quipu_error err;
    enum quipu_log_format format = QUIPU_LOG_TEXT;
    cr_assert_eq(quipu_log_format_parse("json", &format, &err), QUIPU_OK);
    cr_assert_eq(format, QUIPU_LOG_JSON);
    cr_assert_eq(quipu_log_format_parse("text", &format, &err), QUIPU_OK);
    cr_assert_eq(format, QUIPU_LOG_TEXT);
    cr_assert_eq(quipu_log_format_parse("xml", &format, &err), QUIPU_INVALID);
}
