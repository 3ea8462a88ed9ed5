/*
 * Does a text or byte string hold secret material in clear?
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_SECRET_GUARD_H
#define QUIPU_ENGINE_SECRET_GUARD_H

#include "quipu/slice.h"

/* Name of the first rule that finds something in `bytes`, or NULL. Static text. */
const char *secret_guard_rule(struct quipu_slice bytes);

#endif
