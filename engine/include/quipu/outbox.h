/*
 * The outbox: which events still have to be published, what the server said of the others, and
 * which ones it will never take. A cursor and exceptions, not a row per event (docs/adr/0004).
 *
 * Only receipts mark an event as published.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_OUTBOX_H
#define QUIPU_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What the server said when it stored an event. */
struct quipu_receipt {
    struct quipu_slice stream; /* name; borrowed until its transaction ends */
    uint64_t sequence;         /* JetStream's number; 0 where the server did not name it */
    bool was_duplicate;        /* it had the event already */
    int64_t stored_unix_us;    /* when the server stored it, by its clock; 0: not known */
};

struct quipu_ack {
    uint64_t position;
    uint64_t sequence;
    bool was_duplicate;
    int64_t stored_unix_us; /* 0: the server did not say */
};

/**
 * Call `visit` for up to `limit` events after position `after` that have neither receipt nor dead
 * letter, oldest first (`limit` 0: none). Views are valid during the call; both their blocks were
 * hashed again, and a damaged event ends the walk with QUIPU_CORRUPT in front of it. `*next` (may
 * be NULL) is where to go on: the last position that was looked at. QUIPU_DONE from the callback
 * ends well, with its event looked at.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_outbox_each_pending(struct quipu_engine *engine, uint64_t after, uint64_t limit,
                          quipu_event_fn visit, void *ctx, uint64_t *next, struct quipu_error *err);

/**
 * Record receipts, in any order, and move the cursor over every position that is settled, in one
 * durable transaction. An ack for a position that has one is ignored, but for its time: that is
 * noted where the receipt names the same stream and sequence and no time.
 * @retval QUIPU_NOT_FOUND  no such position (nothing recorded)
 * @retval QUIPU_INVALID    stream's name not 1 to 255 bytes, a sequence over 2^63-1, or a time
 * before 1970 (nothing recorded)
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_outbox_acknowledge(struct quipu_engine *engine, struct quipu_slice stream,
                         const struct quipu_ack *acks, size_t count, struct quipu_error *err);

/** Rows that belong to receipts: `write` is called in their transaction, before its commit. What it
 * fails with is returned, and nothing is recorded. */
struct quipu_beside_receipts {
    enum quipu_status (*write)(void *ctx, struct quipu_txn *txn, struct quipu_error *err);
    void *ctx;
};

/** quipu_outbox_acknowledge, with rows of the caller's in the same transaction. `beside` NULL:
 * none. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_outbox_acknowledge_with(struct quipu_engine *engine, struct quipu_slice stream,
                              const struct quipu_ack *acks, size_t count,
                              const struct quipu_beside_receipts *beside, struct quipu_error *err);

/** Note times in receipts that are there, as quipu_outbox_acknowledge does, and nothing else: a
 * position without a receipt stays without one. `*noted` (may be NULL): how many were new.
 * @retval as above */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_outbox_note_times(struct quipu_engine *engine,
                                                                     struct quipu_slice stream,
                                                                     const struct quipu_ack *acks,
                                                                     size_t count, uint64_t *noted,
                                                                     struct quipu_error *err);

/** The receipt of the greatest position up to `*position`, which becomes that position.
 * @retval QUIPU_NOT_FOUND  none; `*position` stays as it is */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_receipt_last(struct quipu_txn *txn,
                                                                uint64_t *position,
                                                                struct quipu_receipt *out,
                                                                struct quipu_error *err);

/** @retval QUIPU_NOT_FOUND  not published yet */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_receipt_at(struct quipu_txn *txn,
                                                              uint64_t position,
                                                              struct quipu_receipt *out,
                                                              struct quipu_error *err);

/** Put an event aside as a dead letter: the server will never take it. Durable. `line`: for people;
 * over 1,000 bytes it is cut. Again for the same event: replaces reason and line.
 * @retval QUIPU_NOT_FOUND  no such position. @retval QUIPU_INVALID  it is published already */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_outbox_bury(struct quipu_engine *engine, uint64_t position, enum quipu_status reason,
                  struct quipu_slice line, struct quipu_error *err);

struct quipu_dead_letter {
    uint64_t position;
    enum quipu_status reason;
    struct quipu_slice line;
    int64_t buried_unix_us;
    bool is_dropped; /* given up on by a person; it stays in the log */
};
typedef enum quipu_status (*quipu_dead_letter_fn)(void *ctx, const struct quipu_dead_letter *letter,
                                                  struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_dead_letter(struct quipu_engine *engine,
                                                                    quipu_dead_letter_fn visit,
                                                                    void *ctx,
                                                                    struct quipu_error *err);

/** Make it pending again. @retval QUIPU_NOT_FOUND */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dead_letter_retry(struct quipu_engine *engine, uint64_t position, struct quipu_error *err);
/** Give it up for good; it stays in the log and in the list, marked. @retval QUIPU_NOT_FOUND */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dead_letter_drop(struct quipu_engine *engine, uint64_t position, struct quipu_error *err);

/**
 * Forget every receipt: all events but dead letters are pending again. For a flush to another
 * stream, or to one that has lost what it had; what the stream still holds is found there and not
 * stored again. One durable transaction; dead letters stay.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_outbox_restart(struct quipu_engine *engine,
                                                                  struct quipu_error *err);

struct quipu_outbox_status {
    uint64_t cursor;    /* every position up to this one is settled */
    uint64_t pending;   /* events that wait */
    uint64_t published; /* events with a receipt */
    uint64_t dead;      /* dead letters, dropped ones included */
};
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_outbox_status(struct quipu_engine *engine,
                                                                 struct quipu_outbox_status *out,
                                                                 struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
