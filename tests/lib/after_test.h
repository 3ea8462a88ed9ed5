/*
 * What must hold behind a test, in the `.fini` of a suite. Criterion (2.4.1) forgets an assertion
 * that fails there; behind a crash it ends with 1.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_AFTER_TEST_H
#define QUIPU_TESTS_AFTER_TEST_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static inline void after_test_require(bool holds, const char *what)
{
    if (!holds) {
        (void)fprintf(stderr, "behind a test: %s\n", what);
        abort();
    }
}

#endif
