/*
 * Memory that runs out when the test says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "failing_alloc.h"

#include <limits.h>
#include <stdlib.h>

#include "quipu/alloc.h"

static long left = LONG_MAX;

static void *failing_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return left-- == 0 ? NULL : realloc(pointer, bytes);
}

static void failing_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

static const struct quipu_allocator failing = {failing_reallocate, failing_release, NULL};

void failing_alloc_arm(size_t count)
{
    quipu_alloc_set(&failing);
    left = (long)count;
}

void failing_alloc_disarm(void)
{
    left = LONG_MAX;
}
