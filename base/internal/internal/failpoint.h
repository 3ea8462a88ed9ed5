/*
 * Named places where a test can stop the process or make a call fail. Compiled to nothing unless
 * QUIPU_FAILPOINTS is defined (the test presets define it). Internal: never installed.
 *
 * The environment variable QUIPU_FAILPOINT="name:action[:n]" arms one: action `kill` ends the
 * process with SIGKILL, `fail` makes the call return QUIPU_IO, the n-th time it is reached (1 by
 * default).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INTERNAL_FAILPOINT_H
#define QUIPU_INTERNAL_FAILPOINT_H

#include "quipu/error.h"
#include "quipu/export.h"

#ifdef QUIPU_FAILPOINTS
QUIPU_API enum quipu_status quipu_failpoint(const char *name, struct quipu_error *err);
#else
static inline enum quipu_status quipu_failpoint(const char *name, struct quipu_error *err)
{
    (void)name;
    (void)err;
    return QUIPU_OK;
}
#endif

#endif
