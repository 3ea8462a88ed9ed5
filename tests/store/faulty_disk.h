/*
 * A disk that fails when it is told to: the n-th call of a kind, once or from then on. A program
 * that has faulty_disk.c among its sources (not in a library: a linker would take it where nobody
 * asked) calls these instead of the system's, and so do LMDB and quipu in it; they pass everything
 * on, but for the one that is to fail. Any thread.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_FAULTY_DISK_H
#define QUIPU_TESTS_FAULTY_DISK_H

#include <stdbool.h>

enum fault_kind {
    FAULT_NONE = 0,
    FAULT_WRITE,
    FAULT_SHORT, /* about half of it is written */
    FAULT_FULL,  /* about half of it, and then ENOSPC */
    FAULT_SYNC,
    FAULT_RENAME,
    FAULT_LENGTH,
    FAULT_OPEN,
    FAULT_MKDIR,
    FAULT_UNLINK,
};

/* From now on the call behind `n` others of this kind fails; `is_lasting`: and all that follow. */
void fault_arm(enum fault_kind kind, long n, bool is_lasting);

/* Nothing fails any more. How many calls have failed. */
long fault_disarm(void);

#endif
