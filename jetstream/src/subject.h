/*
 * NATS subjects held against each other. Pure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SUBJECT_H
#define QUIPU_SUBJECT_H

#include <stdbool.h>

/* True where every subject that `narrow` can match is matched by `wide` (NATS wildcards). */
bool quipu_subject_covers(const char *wide, const char *narrow);

/* True where there is a subject that both match. */
bool quipu_subjects_meet(const char *a, const char *b);

#endif
