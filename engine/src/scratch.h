/*
 * The working memory of an append, kept between calls.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_SCRATCH_H
#define QUIPU_ENGINE_SCRATCH_H

#include "append.h"
#include "engine_impl.h"

/* A call of more events gives its memory back to the system. */
#define SCRATCH_ITEMS_KEPT 4096

struct append_scratch {
    struct append_scratch *next;
    struct append_item *items;
    uint32_t items_cap;
    uint32_t *slots; /* twice slots_cap: two tables */
    uint32_t slots_cap;
};

/* Free what the engine keeps. */
void append_scratch_release(struct quipu_engine *engine);

#endif
