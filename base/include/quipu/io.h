/*
 * Where bytes come from and go to: a source and a sink, each a function and its context.
 * Codecs read and write through these only, so they never touch a file or a socket themselves.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_IO_H
#define QUIPU_IO_H

#include <stddef.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Takes all of `bytes` or fails. */
struct quipu_sink {
    enum quipu_status (*write)(void *ctx, struct quipu_slice bytes, struct quipu_error *err);
    void *ctx;
};

/** Gives 1 to `cap` bytes into `into` and their number in `*got`; 0 bytes mean the end. */
struct quipu_source {
    enum quipu_status (*read)(void *ctx, void *into, size_t cap, size_t *got,
                              struct quipu_error *err);
    void *ctx;
};

/** Sink that appends to `buf`. Borrowed. */
QUIPU_API struct quipu_sink quipu_sink_buf(struct quipu_buf *buf);

/** Source over memory: `*rest` is advanced as it is read. Borrowed. */
QUIPU_API struct quipu_source quipu_source_slice(struct quipu_slice *rest);

/** Sink and source over a file descriptor, which stays the caller's. `*fd` is borrowed; it resumes
 * after EINTR and after short transfers. */
QUIPU_API struct quipu_sink quipu_sink_fd(int *fd);
QUIPU_API struct quipu_source quipu_source_fd(int *fd);

/** Read until `len` bytes are there or the source ends; `*got` tells how many. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_source_read_full(struct quipu_source source,
                                                                    void *into, size_t len,
                                                                    size_t *got,
                                                                    struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
