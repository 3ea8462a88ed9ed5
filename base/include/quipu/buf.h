/*
 * A growing byte buffer with a sticky status: write freely, ask once at the end.
 *
 * Invariants: len <= cap; data is NULL only where cap is 0; after a failure nothing more is written
 * and len stays where it was. A fixed buffer (quipu_buf_init_fixed) never allocates.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BUF_H
#define QUIPU_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Caller's storage; zero-initialised is an empty growing buffer. One thread at a time. */
struct quipu_buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    /** First failure (NO_MEMORY, or TOO_LARGE where a fixed buffer is full), else QUIPU_OK. */
    enum quipu_status status;
    bool is_fixed;
};

#define QUIPU_BUF_INIT                                                                             \
    {                                                                                              \
        0                                                                                          \
    }

/** Write into `cap` bytes at `storage`, borrowed until release; never allocates. */
QUIPU_API void quipu_buf_init_fixed(struct quipu_buf *buf, void *storage, size_t cap);
/** Free the memory (not a fixed buffer's storage) and zero the struct. */
QUIPU_API void quipu_buf_release(struct quipu_buf *buf);
/** Empty it and clear the status; the memory stays. */
QUIPU_API void quipu_buf_reset(struct quipu_buf *buf);
/** Room for `more` bytes at the end, or NULL with the status set. Does not change len. */
QUIPU_API uint8_t *quipu_buf_reserve(struct quipu_buf *buf, size_t more);
/** Append; a no-op after a failure. */
QUIPU_API void quipu_buf_append(struct quipu_buf *buf, const void *data, size_t len);
QUIPU_API void quipu_buf_append_slice(struct quipu_buf *buf, struct quipu_slice slice);
QUIPU_API void quipu_buf_append_text(struct quipu_buf *buf, const char *text);
QUIPU_API void quipu_buf_append_byte(struct quipu_buf *buf, uint8_t byte);
QUIPU_API void quipu_buf_printf(struct quipu_buf *buf, const char *format, ...) QUIPU_PRINTF(2, 3);

/** What was written; valid until the next write, reset or release. */
static inline struct quipu_slice quipu_buf_slice(const struct quipu_buf *buf)
{
    return quipu_slice(buf->data, buf->len);
}

#ifdef __cplusplus
}
#endif

#endif
