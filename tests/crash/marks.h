/*
 * What the workload said, line by line, among the writes and syncs of the record: which events it
 * has, which were acknowledged when. The lines are told in workload.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_CRASH_MARKS_H
#define QUIPU_TESTS_CRASH_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

struct marks {
    /* What the whole record says of the events. */
    struct quipu_cid *cids; /* by position */
    bool *is_inside;        /* a store that ends here has a part of an append */
    size_t slots;
    uint64_t events_max;
    uint64_t events_known; /* how many of them have been named */

    /* Numbers of events that a store may have, as far as this pass has come. */
    bool *is_boundary;
    /* Acknowledged so far: by the last call, by the one before, by the one that goes on. */
    struct check_least now;
    struct check_least before;
    struct check_least next;
    /* The call that goes on has written to the store: the one before is no longer the last. */
    bool has_committed;
    /* What comes before is not the workload's. */
    bool has_begun;
    /* From here on calls go on side by side, and each line counts at once. */
    bool is_of_threads;
};

/* `slots`: more than there can be events. */
void marks_init(struct marks *marks, size_t slots);
void marks_release(struct marks *marks);

/* Once, over the whole record. Exits the process for lines that make no sense; false from the
 * second where not every position has been named. */
void marks_learn(struct marks *marks, const uint8_t *data, size_t len);
bool marks_are_whole(const struct marks *marks);

/* Then as often as wanted: from the beginning, line by line. `has_begun` false: a disk's beginning
 * comes first. */
void marks_rewind(struct marks *marks, bool has_begun);
void marks_take(struct marks *marks, const uint8_t *data, size_t len);

#endif
