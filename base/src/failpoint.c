/*
 * Failpoints, armed by the environment. Only in test builds.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal/failpoint.h"

#ifdef QUIPU_FAILPOINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum quipu_status quipu_failpoint(const char *name, struct quipu_error *err)
{
    static atomic_long reached;
    const char *armed = getenv("QUIPU_FAILPOINT");
    size_t len = strlen(name);
    if (armed == NULL || strncmp(armed, name, len) != 0 || armed[len] != ':') {
        return QUIPU_OK;
    }
    const char *action = armed + len + 1;
    const char *count = strchr(action, ':');
    long wanted = count == NULL ? 1 : strtol(count + 1, NULL, 10);
    if (atomic_fetch_add(&reached, 1) + 1 != wanted) {
        return QUIPU_OK;
    }
    if (strncmp(action, "kill", 4) == 0) {
        (void)raise(SIGKILL); /* cannot fail for the process itself */
    }
    return quipu_error_set(err, QUIPU_IO, "failpoint %s", name);
}

#else

/* A translation unit may not be empty. */
extern int quipu_failpoints_are_off;

#endif
