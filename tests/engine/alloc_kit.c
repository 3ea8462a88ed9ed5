/*
 * Counts, and hands the rest to the system.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "alloc_kit.h"

#include <stdlib.h>

#include "after_test.h"
#include "quipu/alloc.h"

static void *reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct alloc_kit *counter = ctx;
    if (++counter->calls == counter->fail_at) {
        return NULL;
    }
    counter->live += pointer == NULL;
    return realloc(pointer, bytes);
}

static void release(void *ctx, void *pointer)
{
    struct alloc_kit *counter = ctx;
    counter->live -= pointer != NULL;
    free(pointer);
}

void alloc_kit_use(struct alloc_kit *counter)
{
    struct quipu_allocator allocator = {reallocate, release, counter};
    quipu_alloc_set(&allocator);
}

void alloc_kit_open(struct alloc_kit *counter, struct kit *kit)
{
    alloc_kit_use(counter);
    kit_open(kit);
}

void alloc_kit_close(struct alloc_kit *counter, struct kit *kit)
{
    counter->fail_at = 0;
    kit_close(kit);
    after_test_require(counter->live == 0, "blocks have leaked");
}
