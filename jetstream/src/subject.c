/*
 * Subjects and their wildcards, token by token: "*" is any one token, ">" one or more at the end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "subject.h"

#include <string.h>

#include "quipu/slice.h"

/* Takes the next token off `*rest`; its length is 0 behind the last one. */
static struct quipu_slice next_token(const char **rest)
{
    const char *from = *rest;
    size_t len = strcspn(from, ".");
    *rest = from[len] == '.' ? from + len + 1 : from + len;
    return quipu_slice(from, len);
}

bool quipu_subject_covers(const char *wide, const char *narrow)
{
    for (;;) {
        struct quipu_slice w = next_token(&wide);
        struct quipu_slice n = next_token(&narrow);
        if (w.len == 0 || n.len == 0) {
            return w.len == n.len;
        }
        if (quipu_slice_equal(w, quipu_slice_text(">"))) {
            return true;
        }
        if (quipu_slice_equal(n, quipu_slice_text(">"))) {
            return false;
        }
        bool is_any = quipu_slice_equal(w, quipu_slice_text("*"));
        if (!is_any && !quipu_slice_equal(w, n)) {
            return false;
        }
    }
}

bool quipu_subjects_meet(const char *a, const char *b)
{
    for (;;) {
        struct quipu_slice x = next_token(&a);
        struct quipu_slice y = next_token(&b);
        if (x.len == 0 || y.len == 0) {
            return x.len == y.len;
        }
        if (quipu_slice_equal(x, quipu_slice_text(">")) ||
            quipu_slice_equal(y, quipu_slice_text(">"))) {
            return true;
        }
        bool is_any = quipu_slice_equal(x, quipu_slice_text("*")) ||
                      quipu_slice_equal(y, quipu_slice_text("*"));
        if (!is_any && !quipu_slice_equal(x, y)) {
            return false;
        }
    }
}
