/*
 * The one place memory comes from. A host may put its own allocator in before the first call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ALLOC_H
#define QUIPU_ALLOC_H

#include <stddef.h>

#include "quipu/export.h"

#ifdef __cplusplus
extern "C" {
#endif

/** realloc-shaped: `pointer` NULL allocates; `bytes` is never 0; NULL means out of memory. */
struct quipu_allocator {
    void *(*reallocate)(void *ctx, void *pointer, size_t bytes);
    void (*release)(void *ctx, void *pointer);
    void *ctx;
};

/**
 * Use this allocator from now on in the whole process; NULL restores the C library's. Copied.
 * @threads Call it before any other quipu function, from one thread.
 */
QUIPU_API void quipu_alloc_set(const struct quipu_allocator *allocator);

/** count × size bytes, not zeroed; NULL where out of memory or where the product overflows. */
QUIPU_API void *quipu_alloc(size_t count, size_t size);

/** The same, zeroed. */
QUIPU_API void *quipu_alloc_zero(size_t count, size_t size);

/** Grow or shrink to count × size bytes; the old block stays valid where NULL is returned. */
QUIPU_API void *quipu_realloc(void *pointer, size_t count, size_t size);

/** Give back; NULL is fine. */
QUIPU_API void quipu_free(void *pointer);

#ifdef __cplusplus
}
#endif

#endif
