/*
 * Errors: the line, the offset, the context that layers add, and the table of statuses.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>

#include "quipu/error.h"

Test(error, names_the_byte_where_there_is_one)
{
    struct quipu_error err;

    cr_assert_eq(quipu_error_set_at(&err, QUIPU_CBOR_TAG, 7, "tag %d", 43), QUIPU_CBOR_TAG);
    cr_assert_eq(err.offset, 7);
    cr_assert_str_eq(err.message, "tag 43, at byte 7");
}

Test(error, puts_context_before_what_it_was)
{
    struct quipu_error err;
    (void)quipu_error_set(&err, QUIPU_IO, "read: %s", "gone");

    cr_assert_eq(quipu_error_wrap(&err, QUIPU_IO, "line %d", 3), QUIPU_IO);
    cr_assert_str_eq(err.message, "line 3: read: gone");
}

Test(error, has_the_status_of_the_layer_that_spoke_last)
{
    struct quipu_error err;
    struct quipu_error untouched = {.status = QUIPU_OK};
    (void)quipu_error_set(&err, QUIPU_ENVELOPE, "no map");

    cr_assert_eq(quipu_error_wrap(&err, QUIPU_CORRUPT, "position %d", 3), QUIPU_CORRUPT);
    cr_assert_eq(err.status, QUIPU_CORRUPT);
    cr_assert_str_eq(err.message, "position 3: no map");
    /* A failure without a line of its own is one all the same. */
    cr_assert_eq(quipu_error_wrap(&untouched, QUIPU_CORRUPT, "a row"), QUIPU_CORRUPT);
    cr_assert_eq(untouched.status, QUIPU_CORRUPT);
}

Test(error, is_unsure_until_the_next_failure)
{
    struct quipu_error err;
    (void)quipu_error_set(&err, QUIPU_IO, "commit");
    cr_assert(!err.is_unsure);
    err.is_unsure = true;

    cr_assert_eq(quipu_error_wrap(&err, QUIPU_IO, "line %d", 3), QUIPU_IO);
    cr_assert(err.is_unsure, "context takes nothing away");
    cr_assert_eq(quipu_error_errno(&err, ENOENT, "open"), QUIPU_NOT_FOUND);
    cr_assert(!err.is_unsure);
}

Test(error, may_be_null_everywhere)
{
    cr_assert_eq(quipu_error_set(NULL, QUIPU_IO, "x"), QUIPU_IO);
    cr_assert_eq(quipu_error_set_at(NULL, QUIPU_IO, 1, "x"), QUIPU_IO);
    cr_assert_eq(quipu_error_wrap(NULL, QUIPU_IO, "x"), QUIPU_IO);
    cr_assert_eq(quipu_error_errno(NULL, ENOSPC, "x"), QUIPU_NO_SPACE);
}

Test(error, says_in_words_what_the_system_said)
{
    struct quipu_error err;

    cr_assert_eq(quipu_error_errno(&err, ENOENT, "open \"%s\"", "here"), QUIPU_NOT_FOUND);
    cr_assert_str_eq(err.message, "open \"here\": No such file or directory");
}

Test(error, cuts_a_line_that_is_too_long)
{
    struct quipu_error err;

    (void)quipu_error_set(&err, QUIPU_IO, "%600d", 1);
    (void)quipu_error_wrap(&err, QUIPU_IO, "%600d", 2);
    cr_assert_eq(strlen(err.message), QUIPU_ERROR_MESSAGE_BYTES - 1);
}

Test(status, has_a_name_and_a_text_for_every_number)
{
#define CHECK_STATUS(name, number, text)                                                           \
    cr_assert_eq((int)QUIPU_##name, number);                                                       \
    cr_assert_str_eq(quipu_status_name(QUIPU_##name), #name);                                      \
    cr_assert_str_eq(quipu_status_text(QUIPU_##name), text);
    QUIPU_STATUS_MAP(CHECK_STATUS)
#undef CHECK_STATUS
    cr_assert_str_eq(quipu_status_name((enum quipu_status)9999), "UNKNOWN");
}
