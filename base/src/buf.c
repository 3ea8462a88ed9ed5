/*
 * The growing byte buffer. Capacity doubles, so appending n bytes costs O(n) in all.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"

#define BUF_FIRST_BYTES 256

void quipu_buf_init_fixed(struct quipu_buf *buf, void *storage, size_t cap)
{
    *buf = (struct quipu_buf){.data = storage, .cap = cap, .is_fixed = true};
}

void quipu_buf_release(struct quipu_buf *buf)
{
    if (!buf->is_fixed) {
        quipu_free(buf->data);
    }
    *buf = (struct quipu_buf)QUIPU_BUF_INIT;
}

void quipu_buf_reset(struct quipu_buf *buf)
{
    buf->len = 0;
    buf->status = QUIPU_OK;
}

uint8_t *quipu_buf_reserve(struct quipu_buf *buf, size_t more)
{
    if (buf->status != QUIPU_OK) {
        return NULL;
    }
    if (more <= buf->cap - buf->len && buf->data != NULL) {
        return buf->data + buf->len;
    }
    size_t need;
    if (buf->is_fixed || !quipu_add_size(buf->len, more, &need)) {
        buf->status = QUIPU_TOO_LARGE;
        return NULL;
    }
    size_t cap = buf->cap < BUF_FIRST_BYTES ? BUF_FIRST_BYTES : buf->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    uint8_t *grown = quipu_realloc(buf->data, cap, 1);
    if (grown == NULL) {
        buf->status = QUIPU_NO_MEMORY;
        return NULL;
    }
    buf->data = grown;
    buf->cap = cap;
    return buf->data + buf->len;
}

void quipu_buf_append(struct quipu_buf *buf, const void *data, size_t len)
{
    uint8_t *into = quipu_buf_reserve(buf, len);
    if (into != NULL && len > 0) {
        memcpy(into, data, len);
        buf->len += len;
    }
}

void quipu_buf_append_slice(struct quipu_buf *buf, struct quipu_slice slice)
{
    quipu_buf_append(buf, slice.data, slice.len);
}

void quipu_buf_append_text(struct quipu_buf *buf, const char *text)
{
    quipu_buf_append(buf, text, strlen(text));
}

void quipu_buf_append_byte(struct quipu_buf *buf, uint8_t byte)
{
    quipu_buf_append(buf, &byte, 1);
}

void quipu_buf_printf(struct quipu_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (need < 0) {
        buf->status = buf->status == QUIPU_OK ? QUIPU_INVALID : buf->status;
        return;
    }
    /* vsnprintf writes a NUL behind the text: room for it, but it does not count. */
    uint8_t *into = quipu_buf_reserve(buf, (size_t)need + 1);
    if (into == NULL) {
        return;
    }
    va_start(args, format);
    (void)vsnprintf((char *)into, (size_t)need + 1, format, args);
    va_end(args);
    buf->len += (size_t)need;
}
