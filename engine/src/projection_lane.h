/*
 * A projection while it is being replayed, and the slice that moves one or several of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_PROJECTION_LANE_H
#define QUIPU_ENGINE_PROJECTION_LANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/projection.h"
#include "read_ahead.h"
#include "registry.h"
#include "rows.h"

/* Names that an event's type may have; NULL: any. */
struct name_list {
    struct quipu_slice *names;
    size_t count;
};

struct lane {
    struct quipu_engine *engine;
    const struct quipu_projection *projection;
    struct name_list event_types;
    struct name_list aggregate_types;
    struct quipu_rows rows;
    uint32_t shadow;                /* table that this rebuild fills; 0: none, go on in the first */
    struct quipu_store_lock *claim; /* of the shadow that this lane began */
    uint64_t applied;

    /* Why it cannot go on; QUIPU_OK: it can. */
    enum quipu_status held;
    struct quipu_error why;
    bool is_replaced;       /* rebuilt as another version by somebody else */
    bool is_stuck;          /* it failed by what no handler said: disk or memory, not the event */
    bool skips_hashing;     /* the caller verifies the log otherwise */
    enum quipu_status told; /* what of it was told last */
    /* Why its reactions wait. */
    enum quipu_status react_held;
    struct quipu_error react_why;

    /* Of the slice that runs. */
    bool is_in;
    bool is_spent; /* of this slice: an event failed */
    struct generation generation;
    uint64_t from;       /* its checkpoint as the slice found it */
    uint64_t position;   /* and how far it has come */
    uint64_t first_skip; /* behind `from`; UINT64_MAX: none */
    uint64_t next_skip;
    uint64_t wanted; /* events that were applied */
    bool is_parked;  /* it is to be parked behind `position` */
    enum quipu_status park_status;
    struct quipu_error park_why;
    bool has_swapped; /* the old rows are to be cleared */
};

/* @retval QUIPU_INVALID (name, version, handler), QUIPU_NO_MEMORY; release it all the same */
QUIPU_MUST_CHECK enum quipu_status lane_init(struct lane *lane, struct quipu_engine *engine,
                                             const struct quipu_projection *projection,
                                             struct quipu_error *err);
void lane_release(struct lane *lane);

/* Does the projection want this event? Looks at the record only. */
bool lane_wants(const struct lane *lane, const struct quipu_record *record);

/* Failures of a handler that say nothing about the event: they end the replay, and it is tried
 * again. All others park the projection. What fails before the handler is called never does. */
bool status_is_passing(enum quipu_status status);

/* One slice of one or several lanes: as many events as fit, then one commit. */
struct slice {
    struct quipu_engine *engine;
    struct lane *lanes;
    size_t count;
    uint64_t until;          /* 0: the end of the log */
    uint64_t events_max;     /* a slice ends behind so many events… */
    int64_t ns_max;          /* …or so much time */
    size_t bytes_max;        /* …or so many bytes of changes */
    bool (*stop)(void *ctx); /* ends it early; NULL: never */
    void *ctx;
    /* Begin at the foremost lane that is not at the end, not at the hindmost one: so that a lane
     * that fills a new table does not keep the others from new events. */
    bool begin_foremost;

    /* What it found. */
    uint64_t end;    /* of the log, or `until` */
    uint64_t events; /* gone over */
    bool is_at_end;  /* no lane that can go on is behind */
    size_t bytes;    /* of changes */

    struct read_ahead ahead; /* of the transaction that it reads in */
};

/* @retval QUIPU_OK  also where lanes are held: each says why. A failure is one of all lanes;
 * nothing was committed */
QUIPU_MUST_CHECK enum quipu_status lanes_slice(struct slice *slice, struct quipu_error *err);

/* Find or make what the lane goes on from: its row, or an empty table beside. Clears what others
 * left. @retval QUIPU_PARKED, QUIPU_PAUSED, QUIPU_BUSY, … */
QUIPU_MUST_CHECK enum quipu_status lane_begin(struct lane *lane, enum quipu_replay_mode mode,
                                              struct quipu_error *err);

/* Rebuild the projection in causal order. @retval as quipu_replay_with */
QUIPU_MUST_CHECK enum quipu_status lane_replay_causal(struct quipu_engine *engine,
                                                      const struct quipu_projection *projection,
                                                      const struct quipu_replay_options *options,
                                                      uint64_t *applied, struct quipu_error *err);

/* React to the events that have taken effect since the watermark. A failing reaction is kept in the
 * lane. @retval  failures of the store only */
QUIPU_MUST_CHECK enum quipu_status lane_react(struct lane *lane, struct quipu_error *err);

/* ------------------------------------------------------------------ progress */

struct pace {
    int64_t began_ns;
    uint64_t done;
    uint64_t gone_over; /* since the call began, for the rate */
};

/* The figures behind a slice; `left` events are still to be gone over. */
struct quipu_replay_progress pace_tell(const struct pace *pace, const struct lane *lane,
                                       uint64_t left);

/* A size or a limit that the options give. @retval QUIPU_MISUSE */
QUIPU_MUST_CHECK enum quipu_status slice_limits(struct slice *slice, uint32_t events, int64_t us,
                                                struct quipu_error *err);

#endif
