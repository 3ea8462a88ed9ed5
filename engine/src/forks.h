/*
 * Forks inside a transaction: places that several events claim, the evidence of it, and the tips of
 * aggregates with open conflicts.
 *
 *   fork_evidence.c  the object that proves one conflict: made, read, verified
 *   fork_places.c    who claims which place; keeps the table of evidence what the events make it
 *   fork_tips.c      the tips of aggregates that have more than one
 *   fork_note.c      an event that was taken in: its places and its tips
 *   fork_check.c     all of that against the log, for verify
 *   forks.c          listing, for others
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_FORKS_H
#define QUIPU_ENGINE_FORKS_H

#include <stdbool.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/forks.h"
#include "tables.h"

/* ------------------------------------------------------------------ evidence */

/* One side of a conflict. */
struct fork_side {
    struct quipu_cid cid;
    struct quipu_slice block;
    struct quipu_envelope envelope;
};

/* Does it name this event in prev? */
bool fork_names(const struct quipu_envelope *envelope, const struct quipu_cid *cid);
/* Do both name one event in prev, or are both the first of their aggregate? */
bool fork_sides_meet(const struct quipu_envelope *a, const struct quipu_envelope *b);

/* Append the evidence of a conflict between `a` and `b`, in either order. */
QUIPU_MUST_CHECK enum quipu_status
fork_evidence_write(enum quipu_fork_kind kind, const struct fork_side *a, const struct fork_side *b,
                    struct quipu_buf *out, struct quipu_error *err);

/* The side that the event at `position` is; slices live as those of records.
 * @retval QUIPU_CORRUPT, … */
QUIPU_MUST_CHECK enum quipu_status fork_side_at(struct quipu_txn *txn, uint64_t position,
                                                struct fork_side *out, struct quipu_error *err);

/* ------------------------------------------------------------------ places */

#define PLACE_BYTES     33 /* kind, SHA-256 */
#define PLACE_KEY_BYTES (PLACE_BYTES + QUIPU_SHA256_BYTES)

enum place_kind { PLACE_BEHIND = 1, PLACE_FIRST = 2, PLACE_NUMBER = 3 };

struct fork_place {
    uint8_t bytes[PLACE_BYTES];
};
/* Behind this event in its aggregate. */
struct fork_place fork_place_behind(const struct quipu_cid *prev);
/* The beginning of an aggregate. */
struct fork_place fork_place_first(struct quipu_aggregate aggregate);
/* A number of a source. */
struct fork_place fork_place_number(struct quipu_slice source, uint64_t source_seq);

/* Who claims a place: rows exist only where there are two at least. */
struct place_claim {
    uint8_t digest[QUIPU_SHA256_BYTES]; /* of the envelope */
    uint64_t position;
};
/* The claim behind (or in front of) `digest` at this place; NULL: the first (the last).
 * @retval QUIPU_DONE  none */
QUIPU_MUST_CHECK enum quipu_status
place_neighbour(struct quipu_txn *txn, const struct fork_place *place, const uint8_t *digest,
                bool is_above, struct place_claim *out, struct quipu_error *err);
/* @retval QUIPU_NOT_FOUND  it does not claim it, or nobody else does */
QUIPU_MUST_CHECK enum quipu_status place_claim_of(struct quipu_txn *txn,
                                                  const struct fork_place *place,
                                                  const struct quipu_cid *cid, uint64_t *position,
                                                  struct quipu_error *err);
/* One more claims it. Evidence is kept for each two neighbours in the order of their CIDs.
 * `scratch` is the caller's to reuse. */
QUIPU_MUST_CHECK enum quipu_status
place_claim_add(struct quipu_txn *txn, const struct fork_place *place, const struct quipu_cid *cid,
                uint64_t position, struct quipu_buf *scratch, struct quipu_error *err);
/* Is this event one that took a number which an event before it in the log has? */
QUIPU_MUST_CHECK enum quipu_status place_number_is_second(struct quipu_txn *txn,
                                                          const struct quipu_envelope *envelope,
                                                          const struct quipu_cid *cid,
                                                          uint64_t position, bool *is_second,
                                                          struct quipu_error *err);

/* ------------------------------------------------------------------ tips */

/* Has the aggregate more than one tip? */
QUIPU_MUST_CHECK enum quipu_status tips_are_several(struct quipu_txn *txn,
                                                    struct quipu_aggregate aggregate,
                                                    bool *are_several, struct quipu_error *err);
/* Is this event a tip? `head` is the aggregate's. */
QUIPU_MUST_CHECK enum quipu_status
tips_have(struct quipu_txn *txn, struct quipu_aggregate aggregate, const struct quipu_head *head,
          const struct quipu_cid *cid, bool *is_tip, struct quipu_error *err);
/* The first `cap` tips in the order of their CIDs; `*count` is that of all.
 * @retval QUIPU_NOT_FOUND  no event of this aggregate */
QUIPU_MUST_CHECK enum quipu_status tips_list(struct quipu_txn *txn,
                                             struct quipu_aggregate aggregate,
                                             struct quipu_tip *out, uint64_t cap, uint64_t *count,
                                             struct quipu_error *err);
/* SHA-256 of both with a zero byte between them. */
void fork_hash_pair(struct quipu_slice front, struct quipu_slice back,
                    uint8_t out[QUIPU_SHA256_BYTES]);
/* What the keys of its tips begin with. */
void tips_aggregate_hash(struct quipu_aggregate aggregate, uint8_t out[QUIPU_SHA256_BYTES]);
/* @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status tip_read(struct quipu_slice key, struct quipu_slice value,
                                            struct quipu_tip *out, struct quipu_error *err);

/* The tip behind `after` (NULL: the first) of those that are in the table. @retval QUIPU_DONE */
QUIPU_MUST_CHECK enum quipu_status tips_next(struct quipu_txn *txn,
                                             struct quipu_aggregate aggregate,
                                             const struct quipu_cid *after, struct quipu_tip *out,
                                             struct quipu_error *err);
/* `tip` was written behind these; `before` is the head that the aggregate had. */
QUIPU_MUST_CHECK enum quipu_status
tips_advance(struct quipu_txn *txn, const struct quipu_envelope *envelope,
             const struct quipu_head *before, const struct quipu_tip *tip, struct quipu_error *err);
/* Nobody but its head says that an aggregate has a fork, in one bit, and tips are looked for only
 * where it does: QUIPU_CORRUPT where it says that there is none, and there are tips. */
QUIPU_MUST_CHECK enum quipu_status tips_head_check(struct quipu_txn *txn,
                                                   struct quipu_aggregate aggregate,
                                                   const struct quipu_head *head,
                                                   struct quipu_error *err);
/* Is it as the event at its position? @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status tip_record_check(struct quipu_txn *txn,
                                                    struct quipu_aggregate aggregate,
                                                    const struct quipu_tip *tip,
                                                    struct quipu_error *err);
/* QUIPU_FORK where the aggregate has several tips: names them, and the cure. */
QUIPU_MUST_CHECK enum quipu_status tips_refuse_several(struct quipu_txn *txn,
                                                       struct quipu_aggregate aggregate,
                                                       struct quipu_error *err);

/* ------------------------------------------------------------------ an event that was written */

struct fork_arrival {
    const struct quipu_envelope *envelope;
    struct quipu_cid cid;
    uint64_t position;
    struct quipu_head before; /* position 0: it is the aggregate's first here */
    uint64_t number_holder;   /* position of the first event with its number; 0: none but itself */
};
/* Note where it forked, and the tips. Only needed where the aggregate has a fork or now gets one,
 * or where the number is taken. */
QUIPU_MUST_CHECK enum quipu_status fork_note(struct quipu_txn *txn,
                                             const struct fork_arrival *arrival,
                                             struct quipu_buf *scratch, struct quipu_error *err);

/* An event of this aggregate, other than the one at `position`, that claims the same place: the one
 * behind `prev`, or (NULL) the first. Looks from `from` back along the aggregate; `floor` is where
 * it cannot be any more. `*found` 0: none. */
QUIPU_MUST_CHECK enum quipu_status fork_rival(struct quipu_txn *txn, const struct quipu_cid *prev,
                                              uint64_t from, uint64_t floor, uint64_t *found,
                                              struct quipu_error *err);

/* The envelope with this CID. Unlike quipu_txn_find_cid never an event whose payload has the same
 * bytes. @retval QUIPU_NOT_FOUND */
QUIPU_MUST_CHECK enum quipu_status
fork_envelope_find(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                   const struct quipu_cid *cid, struct quipu_record *out, struct quipu_error *err);

/* ------------------------------------------------------------------ verify */

/* Is this event, whose aggregate's event before it in the log is at `before`, a branch whose fork
 * is recorded, or an event on one? False too where it is neither. */
QUIPU_MUST_CHECK enum quipu_status fork_is_recorded(struct quipu_txn *txn,
                                                    const struct quipu_event_view *event,
                                                    uint64_t before, bool *is_recorded,
                                                    struct quipu_error *err);

typedef void (*fork_problem_fn)(void *ctx, uint64_t position, const char *line);
/* Every row of places, evidence and tips against the log and each other. `problem` gets each
 * finding. @retval QUIPU_CORRUPT  a row that cannot be read on */
QUIPU_MUST_CHECK enum quipu_status fork_check(struct quipu_txn *txn, fork_problem_fn problem,
                                              void *ctx, struct quipu_error *err);

#endif
