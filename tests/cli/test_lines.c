/*
 * Lines from a descriptor: whatever the pieces they come in, up to the limit.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"

static int file_of(struct quipu_slice bytes)
{
    char path[] = "/tmp/quipu-lines-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(unlink(path), 0);
    while (bytes.len > 0) {
        ssize_t written = write(fd, bytes.data, bytes.len);
        cr_assert_gt(written, 0);
        bytes.data += written;
        bytes.len -= (size_t)written;
    }
    cr_assert_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

Test(lines, end_with_a_newline_or_with_the_file)
{
    struct cli_lines lines = {.fd = file_of(quipu_slice_text("one\n\nthree"))};
    struct quipu_slice line;

    cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(line, quipu_slice_text("one")));
    cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_OK);
    cr_assert_eq(line.len, 0);
    cr_assert_eq(lines.number, 2);
    cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_OK);
    cr_assert(quipu_slice_equal(line, quipu_slice_text("three")));
    cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_DONE);
    cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_DONE);

    close(lines.fd);
    cli_lines_release(&lines);
}

Test(lines, are_whole_however_long_they_are)
{
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 131072, 1000003};
    struct quipu_buf text = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (size_t n = 0; n < sizes[i]; n++) {
            quipu_buf_append_byte(&text, (uint8_t)('a' + (n + i) % 26));
        }
        quipu_buf_append_byte(&text, '\n');
    }
    struct cli_lines lines = {.fd = file_of(quipu_buf_slice(&text))};
    const uint8_t *at = text.data;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct quipu_slice line;
        cr_assert_eq(cli_lines_next(&lines, &line, NULL), QUIPU_OK);
        cr_assert(quipu_slice_equal(line, quipu_slice(at, sizes[i])));
        at += sizes[i] + 1;
    }

    close(lines.fd);
    cli_lines_release(&lines);
    quipu_buf_release(&text);
}

static enum quipu_status read_one(size_t len, size_t *got)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    cr_assert_not_null(quipu_buf_reserve(&text, len + 1));
    memset(text.data, 'x', len);
    text.data[len] = '\n';
    text.len = len + 1;
    struct cli_lines lines = {.fd = file_of(quipu_buf_slice(&text))};
    struct quipu_slice line = {NULL, 0};
    enum quipu_status status = cli_lines_next(&lines, &line, NULL);
    cr_assert_eq(lines.number, 1);
    *got = line.len;
    close(lines.fd);
    cli_lines_release(&lines);
    quipu_buf_release(&text);
    return status;
}

Test(lines, are_refused_over_the_limit)
{
    size_t got;

    cr_assert_eq(read_one(CLI_LINE_BYTES_MAX, &got), QUIPU_OK);
    cr_assert_eq(got, CLI_LINE_BYTES_MAX);
    cr_assert_eq(read_one(CLI_LINE_BYTES_MAX + 1, &got), QUIPU_TOO_LARGE);
}
