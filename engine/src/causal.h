/*
 * What causal order knows of each event: its links as indexes and its number's group. An index is a
 * position less one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_CAUSAL_H
#define QUIPU_ENGINE_CAUSAL_H

#include "quipu/causal.h"
#include "quipu/engine.h"

#define CAUSAL_EVENTS_MAX (UINT32_MAX - 1)

/* Events of one number of one source: those at members[first … first + left - 1] at the beginning.
 * Groups of a source follow each other in the order of their numbers. */
struct causal_group {
    uint32_t first;
    uint32_t left;    /* of its events, not walked yet */
    bool is_behind;   /* the group before it is of the same source */
    bool is_in_reach; /* that one is walked through, or there is none */
};

struct causal_graph {
    uint64_t count;
    struct quipu_uuid *ids;
    /* Who links to an event: followers[starts[i]] … followers[starts[i + 1] - 1]. */
    uint32_t *starts;
    uint32_t *followers;
    uint8_t *links; /* links of an event to others that are not walked yet */
    /* Numbers. */
    uint32_t *group_of;
    uint32_t *members;
    struct causal_group *groups;
    uint32_t group_count;
};

/* Read positions 1 to the end of the log. `out` is zeroed; release it also after a failure.
 * @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY, QUIPU_CORRUPT, … */
QUIPU_MUST_CHECK enum quipu_status
causal_graph_read(struct quipu_engine *engine, struct causal_graph *out, struct quipu_error *err);
void causal_graph_release(struct causal_graph *graph);

#endif
