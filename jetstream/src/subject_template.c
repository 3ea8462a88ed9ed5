/*
 * Fills templates of subjects: the prefix once, when the connection is described, the event's own
 * texts for each message. Never decides what a template may be: that is
 * quipu_subject_template_check.
 *
 * Specification: docs/SPEC.md §10.1, §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "subject_template.h"

#include <string.h>

struct variable {
    const char *name;
    const char *value; /* NULL: it stays as it is */
};

/* Copies the template with its variables filled in, NUL-terminated. */
static void fill(const char *text, const struct variable *variables, size_t count,
                 struct quipu_buf *out)
{
    const char *rest = text;
    for (;;) {
        struct quipu_slice token = quipu_slice(rest, strcspn(rest, "."));
        struct quipu_slice written = token;
        for (size_t i = 0; i < count && token.len > 0 && token.data[0] == '{'; i++) {
            if (quipu_slice_equal(token, quipu_slice_text(variables[i].name))) {
                written = quipu_slice_text(variables[i].value);
            }
        }
        quipu_buf_append_slice(out, written);
        rest += token.len;
        if (*rest == 0) {
            quipu_buf_append_byte(out, 0);
            return;
        }
        quipu_buf_append_byte(out, '.');
        rest++;
    }
}

enum quipu_status quipu_subject_template_make(const char *text, const char *prefix,
                                              char out[SUBJECT_TEMPLATE_BYTES],
                                              char literal[QUIPU_SUBJECT_LITERAL_MAX + 1],
                                              struct quipu_error *err)
{
    enum quipu_status status = quipu_subject_template_check(text, prefix, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct variable variables[] = {{"{prefix}", prefix}};
    char storage[SUBJECT_TEMPLATE_BYTES];
    struct quipu_buf made;
    quipu_buf_init_fixed(&made, storage, sizeof storage);
    fill(text, variables, 1, &made);
    /* The check's limits say that it fits, and that a token stands in front of the variables. */
    const char *first = made.status == QUIPU_OK ? strstr(storage, ".{") : NULL;
    if (first == NULL || first - storage > QUIPU_SUBJECT_LITERAL_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "subject template \"%.100s\" is too long", text);
    }
    memcpy(out, storage, made.len);
    memcpy(literal, storage, (size_t)(first - storage));
    literal[first - storage] = 0;
    return QUIPU_OK;
}

void quipu_subject_template_fill(const char *made, const struct subject_values *values, char *out,
                                 size_t cap)
{
    const struct variable variables[] = {{"{aggregate_type}", values->aggregate_type},
                                         {"{event_type}", values->event_type},
                                         {"{event_id}", values->event_id}};
    struct quipu_buf subject;
    quipu_buf_init_fixed(&subject, out, cap);
    fill(made, variables, sizeof variables / sizeof variables[0], &subject);
    if (subject.status != QUIPU_OK) {
        out[subject.len < cap ? subject.len : cap - 1] = 0;
    }
}
