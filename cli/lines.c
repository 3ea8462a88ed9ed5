/*
 * Lines from a file descriptor. The buffer grows to the longest line that was met and never beyond
 * the limit. Never closes the descriptor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lines.h"

#include <string.h>

#include "quipu/io.h"

#define READ_BYTES ((size_t)64 << 10)

/* Move what is left to the front and read more behind it. */
static enum quipu_status fill(struct cli_lines *lines, struct quipu_error *err)
{
    struct quipu_buf *buf = &lines->buf;
    if (lines->at > 0) {
        memmove(buf->data, buf->data + lines->at, buf->len - lines->at);
        buf->len -= lines->at;
        lines->at = 0;
    }
    uint8_t *into = quipu_buf_reserve(buf, READ_BYTES);
    if (into == NULL) {
        return quipu_error_set(err, buf->status, "line %llu: %s",
                               (unsigned long long)lines->number + 1,
                               quipu_status_text(buf->status));
    }
    struct quipu_source source = quipu_source_fd(&lines->fd);
    size_t got = 0;
    enum quipu_status status = source.read(source.ctx, into, READ_BYTES, &got, err);
    if (status != QUIPU_OK) {
        return status;
    }
    buf->len += got;
    lines->is_end = got == 0;
    return QUIPU_OK;
}

enum quipu_status cli_lines_next(struct cli_lines *lines, struct quipu_slice *line,
                                 struct quipu_error *err)
{
    for (;;) {
        size_t have = lines->buf.len - lines->at;
        const uint8_t *begin = have == 0 ? lines->buf.data : lines->buf.data + lines->at;
        const uint8_t *end = have > lines->searched
                                 ? memchr(begin + lines->searched, '\n', have - lines->searched)
                                 : NULL;
        size_t len = end == NULL ? have : (size_t)(end - begin);
        if (len > CLI_LINE_BYTES_MAX) {
            lines->number++;
            return quipu_error_set(err, QUIPU_TOO_LARGE,
                                   "line %llu is longer than %zu bytes; put the data elsewhere and "
                                   "its CID into the payload",
                                   (unsigned long long)lines->number, CLI_LINE_BYTES_MAX);
        }
        if (end != NULL || (lines->is_end && have > 0)) {
            *line = quipu_slice(begin, len);
            lines->at += end == NULL ? len : len + 1;
            lines->searched = 0;
            lines->number++;
            return QUIPU_OK;
        }
        if (lines->is_end) {
            return QUIPU_DONE;
        }
        lines->searched = have;
        enum quipu_status status = fill(lines, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

void cli_lines_release(struct cli_lines *lines)
{
    quipu_buf_release(&lines->buf);
}
