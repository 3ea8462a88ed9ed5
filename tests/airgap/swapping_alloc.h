/*
 * A file that becomes another one in the middle of a call: what was checked is not what is used,
 * unless somebody looks again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_SWAPPING_ALLOC_H
#define QUIPU_TESTS_SWAPPING_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#include "quipu/slice.h"

/* From now on: at the library's allocation behind `count` others the file `path` becomes `bytes`,
 * in place, with the same inode. Both are borrowed until it is disarmed. */
void swapping_alloc_arm(size_t count, const char *path, struct quipu_slice bytes);

/* No more of that; was it done? */
bool swapping_alloc_disarm(void);

#endif
