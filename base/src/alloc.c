/*
 * The process-wide allocator. The only global of the library that is not constant: passing it by
 * hand would put a parameter on every codec call (docs/adr/0002).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "internal/bytes.h"

static void *libc_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return realloc(pointer, bytes);
}

static void libc_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

static const struct quipu_allocator libc_allocator = {libc_reallocate, libc_release, NULL};

static struct quipu_allocator current = {libc_reallocate, libc_release, NULL};

void quipu_alloc_set(const struct quipu_allocator *allocator)
{
    current = allocator != NULL ? *allocator : libc_allocator;
}

void *quipu_realloc(void *pointer, size_t count, size_t size)
{
    size_t bytes;
    if (!quipu_mul_size(count, size, &bytes)) {
        return NULL;
    }
    return current.reallocate(current.ctx, pointer, bytes == 0 ? 1 : bytes);
}

void *quipu_alloc(size_t count, size_t size)
{
    return quipu_realloc(NULL, count, size);
}

void *quipu_alloc_zero(size_t count, size_t size)
{
    void *pointer = quipu_realloc(NULL, count, size);
    if (pointer != NULL) {
        /* The product was checked by quipu_realloc. */
        memset(pointer, 0, count * size);
    }
    return pointer;
}

void quipu_free(void *pointer)
{
    if (pointer != NULL) {
        current.release(current.ctx, pointer);
    }
}
