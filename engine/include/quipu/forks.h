/*
 * Forks: what happens where two devices went on from the same place without knowing of each other.
 * Nothing is lost: both branches are in the log, the conflict is an object of its own, and a merge
 * joins the branches again.
 *
 * Two stores that hold the same events hold the same conflicts, byte for byte, whatever the order
 * in which the events came.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_FORKS_H
#define QUIPU_FORKS_H

#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum quipu_fork_kind {
    /** Two events follow the same event of their aggregate, or are both its first. */
    QUIPU_FORK_AGGREGATE = 0,
    /** Two events that claim one source have the same number: its key is in use on two devices, or
     * a store was put back to an old copy beside its key, or somebody else wrote one of them.
     * Envelopes are not signed one by one: a bundle or checkpoint that the source signed tells. */
    QUIPU_FORK_SOURCE,
};

enum quipu_fork_state {
    /** The aggregate has more than one tip: events that none of its events follows. */
    QUIPU_FORK_OPEN = 0,
    /** Its branches are merged. */
    QUIPU_FORK_CLOSED,
    /** A number that was used twice stays so; where the source signed for both, its key should be
     * retired. */
    QUIPU_FORK_LASTING,
};

/** One conflict. Slices live during the callback, or as long as the evidence. */
struct quipu_fork {
    struct quipu_cid cid; /* of the evidence */
    enum quipu_fork_kind kind;
    enum quipu_fork_state state;      /* quipu_fork_verify: QUIPU_FORK_OPEN or _LASTING */
    struct quipu_aggregate aggregate; /* of the first event; of both for QUIPU_FORK_AGGREGATE */
    uint64_t version;                 /* QUIPU_FORK_AGGREGATE: the smaller one of both */
    struct quipu_slice source;        /* QUIPU_FORK_SOURCE */
    uint64_t source_seq;
    struct quipu_cid events[2];      /* ascending */
    struct quipu_slice envelopes[2]; /* their blocks */
    struct quipu_slice evidence;     /* the object: a block of DAG-CBOR (SPEC §7) */
};

typedef enum quipu_status (*quipu_fork_fn)(void *ctx, const struct quipu_fork *fork,
                                           struct quipu_error *err);

/** Call `visit` for each conflict in the order of their CIDs; QUIPU_DONE from it ends well.
 * @retval QUIPU_CORRUPT, QUIPU_IO, …, or the callback's. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_fork(struct quipu_engine *engine,
                                                             quipu_fork_fn visit, void *ctx,
                                                             struct quipu_error *err);

struct quipu_fork_counts {
    uint64_t aggregates;      /* conflicts of aggregates, open and closed */
    uint64_t sources;         /* numbers used twice */
    uint64_t aggregates_open; /* aggregates with more than one tip */
};
/** @retval as quipu_each_fork. @cost one look at each conflict */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_fork_count(struct quipu_engine *engine,
                                                              struct quipu_fork_counts *out,
                                                              struct quipu_error *err);

/** Append the evidence with this CID to `out`. @retval QUIPU_NOT_FOUND, QUIPU_NO_MEMORY, … */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_fork_evidence(struct quipu_engine *engine,
                                                                 const struct quipu_cid *cid,
                                                                 struct quipu_buf *out,
                                                                 struct quipu_error *err);

/**
 * Does this object hold two envelopes that claim one place? Needs no store. It proves no more than
 * that: not who made them, for an envelope carries no signature and anybody can write one with any
 * source. Who made them is shown by bundles and checkpoints that this source signed. Both envelopes
 * are decoded strictly; they must be two, in the order of their CIDs, and claim the same place: the
 * same version or a common prev in the same aggregate, or the same number of the same source. `out`
 * may be NULL; its slices point into `evidence`.
 * @retval QUIPU_INVALID  they claim no place together; err says what is missing
 * @retval QUIPU_FORMAT_NEWER, QUIPU_ENVELOPE, QUIPU_CBOR_*  it, or an envelope in it, is not one
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_fork_verify(struct quipu_slice evidence, struct quipu_fork *out, struct quipu_error *err);

/** An event that no event of its aggregate in this store follows. */
struct quipu_tip {
    struct quipu_cid cid;
    uint64_t position;
    uint64_t version;
};

/** Call `visit` for each tip of the aggregate, in the order of their CIDs: one where there is no
 * open conflict. @retval QUIPU_NOT_FOUND  no event of this aggregate. @retval QUIPU_CORRUPT, … */
typedef enum quipu_status (*quipu_tip_fn)(void *ctx, const struct quipu_tip *tip,
                                          struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_tip(struct quipu_engine *engine,
                                                            struct quipu_aggregate aggregate,
                                                            quipu_tip_fn visit, void *ctx,
                                                            struct quipu_error *err);

struct quipu_merged {
    struct quipu_appended event;
    uint64_t tips_joined;
    /** Tips of the aggregate afterwards: 1 where the conflict is closed. More than
     * QUIPU_ENVELOPE_PREV_MAX tips take several merges: call again with another event. */
    uint64_t tips_left;
};

/**
 * Append an event whose prev are all tips of its aggregate (the first QUIPU_ENVELOPE_PREV_MAX in
 * the order of CIDs), sorted by CID, and whose version is one above the greatest of theirs. It is
 * an ordinary event: the caller chooses its type, and its payload says what the merged state is.
 * `event->expected` is checked against the greatest version of the tips. Idempotent by event_id as
 * quipu_append, then with tips_joined 0. Durable when it returns.
 * @retval QUIPU_INVALID   the aggregate has one tip: there is nothing to merge
 * @retval QUIPU_NOT_FOUND it has no event. @retval otherwise as quipu_append
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_merge(struct quipu_engine *engine,
                                                         const struct quipu_event *event,
                                                         struct quipu_merged *out,
                                                         struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
