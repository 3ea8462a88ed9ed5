/*
 * Lines from a file descriptor, in bounded memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CLI_LINES_H
#define QUIPU_CLI_LINES_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/store.h"

/* The longest line: a payload at its limit, written with every byte escaped (\u00xx), and room for
 * the other fields. */
#define CLI_LINE_BYTES_MAX ((size_t)6 * QUIPU_PAYLOAD_BYTES_MAX + (64u << 10))

/** Zero-initialise, then set fd. One thread at a time. */
struct cli_lines {
    int fd;
    struct quipu_buf buf;
    size_t at;       /* first byte that was not given out */
    size_t searched; /* bytes behind `at` that hold no line end */
    bool is_end;
    uint64_t number; /* of the line given out last, from 1 */
};

/**
 * Next line without its line end; the last one may lack it. Valid until the next call.
 * @retval QUIPU_DONE  behind the last line. @retval QUIPU_TOO_LARGE  over CLI_LINE_BYTES_MAX, with
 * `number` on it. @retval QUIPU_IO, QUIPU_NO_MEMORY
 */
enum quipu_status cli_lines_next(struct cli_lines *lines, struct quipu_slice *line,
                                 struct quipu_error *err);

void cli_lines_release(struct cli_lines *lines);

#endif
