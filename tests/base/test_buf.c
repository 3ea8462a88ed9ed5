/*
 * The growing buffer: growth, the sticky status, fixed storage.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "quipu/alloc.h"
#include "quipu/buf.h"
#include "quipu/io.h"

Test(buf, keeps_what_was_appended_while_it_grows)
{
    struct quipu_buf buf = QUIPU_BUF_INIT;

    for (int i = 0; i < 1000; i++) {
        quipu_buf_printf(&buf, "%04d", i);
    }

    cr_assert_eq(buf.status, QUIPU_OK);
    cr_assert_eq(buf.len, 4000);
    cr_assert(memcmp(buf.data + 3996, "0999", 4) == 0);
    quipu_buf_release(&buf);
}

Test(buf, says_too_large_and_keeps_its_length_where_fixed_storage_is_full)
{
    uint8_t storage[4];
    struct quipu_buf buf;
    quipu_buf_init_fixed(&buf, storage, sizeof storage);

    quipu_buf_append_text(&buf, "abcd");
    cr_assert_eq(buf.status, QUIPU_OK);
    quipu_buf_append_byte(&buf, 'e');
    cr_assert_eq(buf.status, QUIPU_TOO_LARGE);
    cr_assert_eq(buf.len, 4);

    quipu_buf_reset(&buf);
    quipu_buf_append_text(&buf, "xy");
    cr_assert(quipu_slice_equal(quipu_buf_slice(&buf), quipu_slice_text("xy")));
}

static void *refuse(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    (void)pointer;
    (void)bytes;
    return NULL;
}

static void release_nothing(void *ctx, void *pointer)
{
    (void)ctx;
    (void)pointer;
}

Test(buf, says_no_memory_once_and_writes_nothing_after)
{
    struct quipu_allocator none = {refuse, release_nothing, NULL};
    struct quipu_buf buf = QUIPU_BUF_INIT;
    quipu_alloc_set(&none);

    quipu_buf_append_text(&buf, "abc");
    quipu_alloc_set(NULL);
    quipu_buf_append_text(&buf, "def");

    cr_assert_eq(buf.status, QUIPU_NO_MEMORY);
    cr_assert_eq(buf.len, 0);
    quipu_buf_release(&buf);
}

Test(alloc, refuses_a_product_that_overflows)
{
    cr_assert_null(quipu_alloc(SIZE_MAX / 2, 3));
}

Test(source, reads_in_full_over_short_reads)
{
    struct quipu_slice rest = quipu_slice_text("hello");
    char into[8];
    size_t got = 0;

    cr_assert_eq(quipu_source_read_full(quipu_source_slice(&rest), into, sizeof into, &got, NULL),
                 QUIPU_OK);
    cr_assert_eq(got, 5);
    cr_assert_eq(rest.len, 0);
}
