/*
 * The end of a process whose own logic is wrong.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal/invariant.h"

#include <stdio.h>
#include <stdlib.h>

void quipu_invariant_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "quipu: invariant broken: %s (%s:%d)\n", condition, file, line);
    abort();
}
