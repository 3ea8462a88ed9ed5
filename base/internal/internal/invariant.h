/*
 * A stop is better than a wrong log: checks of our own logic, on in every build, never of data from
 * disk, wire or caller. Internal: never installed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INTERNAL_INVARIANT_H
#define QUIPU_INTERNAL_INVARIANT_H

#include "quipu/export.h"

QUIPU_API _Noreturn void quipu_invariant_failed(const char *condition, const char *file, int line);

#define QUIPU_INVARIANT(condition)                                                                 \
    ((condition) ? (void)0 : quipu_invariant_failed(#condition, __FILE__, __LINE__))

#endif
