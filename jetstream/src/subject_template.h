/*
 * Subjects of events, made from a template. Pure: no I/O, no memory.
 *
 * Specification: docs/SPEC.md §10.1, §13.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SUBJECT_TEMPLATE_H
#define QUIPU_SUBJECT_TEMPLATE_H

#include "quipu/config.h"

/* The literal part with its dots, and each variable of an event once, by its name. */
#define SUBJECT_TEMPLATE_BYTES 256

/* Put the prefix into the template; `literal` gets the tokens in front of the first variable, which
 * the stream takes with all that is behind them. `prefix` is a literal subject already.
 * @retval QUIPU_INVALID */
enum quipu_status quipu_subject_template_make(const char *text, const char *prefix,
                                              char out[SUBJECT_TEMPLATE_BYTES],
                                              char literal[QUIPU_SUBJECT_LITERAL_MAX + 1],
                                              struct quipu_error *err) QUIPU_MUST_CHECK;

/* Texts of one event, in the order of the template's variables. */
struct subject_values {
    const char *aggregate_type;
    const char *event_type;
    const char *event_id;
};

/* The subject of one event by a template that was made above. What does not fit is cut off: `cap`
 * is EVENT_SUBJECT_BYTES. */
void quipu_subject_template_fill(const char *made, const struct subject_values *values, char *out,
                                 size_t cap);

#endif
