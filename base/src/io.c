/*
 * Sinks and sources over memory and file descriptors.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/io.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static enum quipu_status buf_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    struct quipu_buf *buf = ctx;
    quipu_buf_append_slice(buf, bytes);
    if (buf->status != QUIPU_OK) {
        return quipu_error_set(err, buf->status, "%s: a buffer of %zu bytes cannot take %zu more",
                               quipu_status_text(buf->status), buf->len, bytes.len);
    }
    return QUIPU_OK;
}

static enum quipu_status slice_read(void *ctx, void *into, size_t cap, size_t *got,
                                    struct quipu_error *err)
{
    (void)err;
    struct quipu_slice *rest = ctx;
    size_t take = rest->len < cap ? rest->len : cap;
    if (take > 0) {
        memcpy(into, rest->data, take);
        rest->data += take;
        rest->len -= take;
    }
    *got = take;
    return QUIPU_OK;
}

static enum quipu_status fd_write(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    const int *fd = ctx;
    while (bytes.len > 0) {
        ssize_t written = write(*fd, bytes.data, bytes.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return quipu_error_errno(err, errno, "write %zu bytes", bytes.len);
        }
        bytes.data += written;
        bytes.len -= (size_t)written;
    }
    return QUIPU_OK;
}

static enum quipu_status fd_read(void *ctx, void *into, size_t cap, size_t *got,
                                 struct quipu_error *err)
{
    const int *fd = ctx;
    ssize_t count;
    do {
        count = read(*fd, into, cap);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return quipu_error_errno(err, errno, "read");
    }
    *got = (size_t)count;
    return QUIPU_OK;
}

struct quipu_sink quipu_sink_buf(struct quipu_buf *buf)
{
    return (struct quipu_sink){buf_write, buf};
}

struct quipu_source quipu_source_slice(struct quipu_slice *rest)
{
    return (struct quipu_source){slice_read, rest};
}

struct quipu_sink quipu_sink_fd(int *fd)
{
    return (struct quipu_sink){fd_write, fd};
}

struct quipu_source quipu_source_fd(int *fd)
{
    return (struct quipu_source){fd_read, fd};
}

enum quipu_status quipu_source_read_full(struct quipu_source source, void *into, size_t len,
                                         size_t *got, struct quipu_error *err)
{
    size_t have = 0;
    while (have < len) {
        size_t more = 0;
        enum quipu_status status =
            source.read(source.ctx, (uint8_t *)into + have, len - have, &more, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (more == 0) {
            break;
        }
        have += more;
    }
    *got = have;
    return QUIPU_OK;
}
