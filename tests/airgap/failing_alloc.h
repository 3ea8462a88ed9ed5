/*
 * Memory that runs out when the test says so.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_FAILING_ALLOC_H
#define QUIPU_TESTS_FAILING_ALLOC_H

#include <stddef.h>

/* From now on `count` allocations of the library go well, the next one fails, and all behind it go
 * well again. */
void failing_alloc_arm(size_t count);

/* None fails any more. */
void failing_alloc_disarm(void);

#endif
