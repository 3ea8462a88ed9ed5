/*
 * Every allocation fails.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "no_memory.h"

#include <stddef.h>

static void *nothing(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    (void)pointer;
    (void)bytes;
    return NULL;
}

static void nothing_to_free(void *ctx, void *pointer)
{
    (void)ctx;
    (void)pointer;
}

const struct quipu_allocator no_memory = {nothing, nothing_to_free, NULL};
