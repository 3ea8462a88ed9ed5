/*
 * Ways to tamper with a bundle of twelve events, and what each must be refused with.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_FORGERIES_H
#define QUIPU_TESTS_FORGERIES_H

#include "bundle_kit.h"

#define FORGERY_EVENTS 12

struct forgery {
    const char *name;
    void (*tamper)(struct bundle_kit *kit);
    enum quipu_status expected;
    const char *says; /* part of the line */
};

extern const struct forgery forgeries[];
extern const size_t forgery_count;

/* The forger holds this store's key. Borrowed while forging. */
void forgeries_init(struct quipu_engine *engine);

/* Put a copy of section `of` in front of section `at`. */
void insert_copy(struct bundle_kit *kit, size_t at, size_t of);

#endif
