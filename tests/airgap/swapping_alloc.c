/*
 * A file that becomes another one in the middle of a call.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "swapping_alloc.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "quipu/alloc.h"

static long left = LONG_MAX;
static const char *swapped;
static struct quipu_slice becomes;

static void swap(void)
{
    int fd = open(swapped, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, becomes.data, becomes.len, 0), (ssize_t)becomes.len);
    cr_assert_eq(ftruncate(fd, (off_t)becomes.len), 0);
    cr_assert_eq(close(fd), 0);
}

static void *swapping_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    if (left-- == 0) {
        swap();
    }
    return realloc(pointer, bytes);
}

static void swapping_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

static const struct quipu_allocator swapping = {swapping_reallocate, swapping_release, NULL};

void swapping_alloc_arm(size_t count, const char *path, struct quipu_slice bytes)
{
    swapped = path;
    becomes = bytes;
    quipu_alloc_set(&swapping);
    left = (long)count;
}

bool swapping_alloc_disarm(void)
{
    bool is_done = left < 0;
    left = LONG_MAX;
    return is_done;
}
