/*
 * A borrowed run of bytes. Pointer and length travel together everywhere in quipu.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SLICE_H
#define QUIPU_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Borrowed bytes. `{NULL, 0}` is the empty slice and is legal everywhere. Text is UTF-8, not
 * NUL-terminated. */
struct quipu_slice {
    const uint8_t *data;
    size_t len;
};

/** Slice over `len` bytes at `data`; borrowed. */
static inline struct quipu_slice quipu_slice(const void *data, size_t len)
{
    struct quipu_slice slice = {(const uint8_t *)data, len};
    return slice;
}

/** Slice over a NUL-terminated string, without its NUL; NULL gives the empty slice. */
static inline struct quipu_slice quipu_slice_text(const char *text)
{
    return quipu_slice(text, text == NULL ? 0 : strlen(text));
}

/** True where both hold the same bytes. */
static inline bool quipu_slice_equal(struct quipu_slice a, struct quipu_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/** Bytewise order, a prefix before what it begins: <0, 0, >0. */
static inline int quipu_slice_compare(struct quipu_slice a, struct quipu_slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter == 0 ? 0 : memcmp(a.data, b.data, shorter);
    if (order != 0) {
        return order;
    }
    return (a.len > b.len) - (a.len < b.len);
}

/* For printf("%.*s", QUIPU_SLICE_FMT(slice)) with text that is known to be short. */
#define QUIPU_SLICE_FMT(slice) (int)(slice).len, (const char *)(slice).data

#ifdef __cplusplus
}
#endif

#endif
