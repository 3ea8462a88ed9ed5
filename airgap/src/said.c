/*
 * Checks what an operator says before it is recorded or signed. Changes none of it.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "said.h"

#include "quipu/slice.h"
#include "quipu/text.h"

enum quipu_status quipu_said_check(const char *field, const char *text, size_t bytes_max,
                                   struct quipu_error *err)
{
    struct quipu_slice slice = quipu_slice_text(text);
    if (text != NULL &&
        (slice.len == 0 || slice.len > bytes_max || !quipu_text_is_printable(slice))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s: expected 1 to %zu bytes of text without control characters, "
                               "found %zu bytes",
                               field, bytes_max, slice.len);
    }
    return QUIPU_OK;
}
