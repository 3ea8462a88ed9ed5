/*
 * An allocator that has nothing to give.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_NO_MEMORY_H
#define QUIPU_TESTS_NO_MEMORY_H

#include "quipu/alloc.h"

/* With quipu_alloc_set, until that is called with NULL. */
extern const struct quipu_allocator no_memory;

#endif
