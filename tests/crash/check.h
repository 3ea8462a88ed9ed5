/*
 * What must be true of a store after a crash. One state is checked in one process of its own, so
 * that a state that makes quipu crash is a finding and not the end of the search.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_CHECK_H
#define QUIPU_TESTS_CRASH_CHECK_H

#include "quipu/engine.h"

#define CHECK_BACKUPS_MAX 4

/* A backup that was begun, and whether it was acknowledged. */
struct check_backup {
    char name[32];
    uint64_t events; /* at its beginning */
    bool is_saved;
};

/* What had been acknowledged. */
struct check_least {
    uint64_t events;
    uint64_t cursor;                      /* of the outbox */
    uint64_t checkpoint;                  /* of the projection */
    char source[QUIPU_SOURCE_TEXT_BYTES]; /* empty: no signing key yet */
    struct check_backup backups[CHECK_BACKUPS_MAX];
    size_t backups_len;
};

struct check_plan {
    const char *root; /* holds the folder "store" and the backups */
    struct check_least least;
    /* Numbers of events that a store may have: where an append that was begun ends. Indexed 0 to
     * events_max. */
    const bool *is_boundary;
    uint64_t events_max;
    const struct quipu_cid *cids; /* of the event at each position */
    uint64_t number;              /* of the state */
    enum quipu_durability durability;
};

/* Check it in a child; true where all is well. What is wrong has been said on stderr. */
bool check_in_child(const struct check_plan *plan);

#endif
