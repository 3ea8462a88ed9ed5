/*
 * Other processes that append when they are told to, and one that is killed in the act.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_WRITER_KIT_H
#define QUIPU_TESTS_WRITER_KIT_H

#include <sys/types.h>

#include "engine_kit.h"

/* A process of its own with the store open. It appends events of type "thing.changed" to the
 * aggregates thing/a, thing/b and thing/c in turn. */
struct writer {
    pid_t pid;
    int orders; /* pipe to it */
};

/* Start it. No store may be open in this process, and no other thread may run. `failpoint` NULL:
 * none. */
void writer_start(struct writer *writer, const char *path, const char *failpoint);
/* Have it append `count` events, 1 or more, one a commit. Returns at once. */
void writer_order(struct writer *writer, unsigned count);
/* Let it finish its orders and end; returns what waitpid says. */
int writer_end(struct writer *writer);

/* Two of them on the store of a kit, which is shut while they start; each has `count` events to
 * append before it is open again (0: none yet). In the end they must end well. */
void writers_start(struct writer writers[2], struct kit *kit, unsigned count);
void writers_end(struct writer writers[2]);

#endif
