/*
 * What an operator says of an operation: who he is, and why.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_SAID_H
#define QUIPU_AIRGAP_SAID_H

#include <stddef.h>

#include "quipu/error.h"

/* QUIPU_INVALID, naming the field, unless `text` is NULL or 1 to `bytes_max` bytes of text without
 * control characters. */
QUIPU_MUST_CHECK enum quipu_status quipu_said_check(const char *field, const char *text,
                                                    size_t bytes_max, struct quipu_error *err);

#endif
