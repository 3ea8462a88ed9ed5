/*
 * An allocator that counts what is asked for, and fails one call by its number.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_ALLOC_KIT_H
#define QUIPU_TESTS_ALLOC_KIT_H

#include "engine_kit.h"

struct alloc_kit {
    uint64_t calls;
    uint64_t fail_at; /* number of the call that fails; 0: none */
    int64_t live;     /* blocks */
};

/* From now on quipu's memory comes through it. It must stay where it is. */
void alloc_kit_use(struct alloc_kit *counter);

/* What a suite begins and ends with: an engine whose memory comes through the counter, and of which
 * nothing is left. */
void alloc_kit_open(struct alloc_kit *counter, struct kit *kit);
void alloc_kit_close(struct alloc_kit *counter, struct kit *kit);

#endif
