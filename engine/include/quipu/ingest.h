/*
 * Taking in events that another store recorded: verified, deduplicated by event_id, chained, all in
 * one transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_INGEST_H
#define QUIPU_INGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

enum quipu_ingest_policy {
    /** The first event that cannot be taken fails the whole transaction (import). */
    QUIPU_INGEST_STRICT = 0,
    /** It goes to quarantine with its reason, and the others go on (pull). */
    QUIPU_INGEST_QUARANTINE,
};

enum quipu_ingest_outcome { QUIPU_INGEST_ADDED, QUIPU_INGEST_KNOWN, QUIPU_INGEST_QUARANTINED };

struct quipu_ingest_report {
    uint64_t added;
    uint64_t known;
    uint64_t quarantined;
    uint64_t released; /* of `added`: those that came out of quarantine */
};

/** One event of another store; borrowed for the call. */
struct quipu_foreign {
    struct quipu_cid cid; /* what the carrier says the envelope's CID is */
    struct quipu_slice envelope;
    struct quipu_slice payload;
    /** Where it was pulled from; stream empty: not from a stream. */
    struct quipu_slice stream;
    uint64_t sequence;
};

/** A write transaction that takes events in. Owner thread only. */
struct quipu_ingest;

/** @retval as quipu_txn_begin_write */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_begin(struct quipu_engine *engine,
                                                                enum quipu_ingest_policy policy,
                                                                struct quipu_ingest **out,
                                                                struct quipu_error *err);

/**
 * Verify both hashes, decode strictly, then: known event_id with the same CID → known; new, and
 * `prev` and version follow the aggregate's head → added. An event with a stream gets its receipt,
 * so that it is not published again. With QUIPU_INGEST_STRICT a refused event fails (and the caller
 * should abort):
 * @retval QUIPU_CID_MISMATCH, QUIPU_ENVELOPE, QUIPU_CBOR_*  not what it says it is
 * @retval QUIPU_EVENT_ID_CONFLICT  the id is known with another CID
 * @retval QUIPU_FORK               another event has this aggregate's version, or this number of
 * its source
 * @retval QUIPU_GAP                the aggregate's event before it is not here
 * @retval QUIPU_FORMAT_NEWER, QUIPU_TOO_LARGE
 * An event of this store's own source that it does not have is taken back only as its next number
 * (else QUIPU_GAP); under a number that it has given out, it is QUIPU_FORK: the key is used twice.
 * With QUIPU_INGEST_QUARANTINE these are kept aside and `*outcome` says so.
 *
 * An added event lets in, in the same transaction and under either policy, what waited in
 * quarantine for it: those with reason QUIPU_GAP that follow it. They count as added and as
 * released.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_event(struct quipu_ingest *ingest,
                                                                const struct quipu_foreign *event,
                                                                enum quipu_ingest_outcome *outcome,
                                                                struct quipu_error *err);

/** Consumes `*ingest`. Durable when it returns; `report` may be NULL. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ingest_commit(struct quipu_ingest **ingest,
                                                                 struct quipu_ingest_report *report,
                                                                 struct quipu_error *err);
QUIPU_API void quipu_ingest_abort(struct quipu_ingest **ingest);

/** What is in quarantine: kept until it is taken in after all, or dropped. Slices live during the
 * callback. */
struct quipu_quarantined {
    struct quipu_cid cid;     /* of the envelope's bytes; its name in quarantine */
    struct quipu_cid claimed; /* what the carrier said; the same where it said the truth */
    enum quipu_status reason;
    struct quipu_slice line;     /* the error's message */
    struct quipu_slice envelope; /* empty where it was over its limit */
    struct quipu_slice payload;  /* the same */
    struct quipu_slice stream;   /* empty: not from a stream */
    uint64_t sequence;
    int64_t received_unix_us;
};
typedef enum quipu_status (*quipu_quarantine_fn)(void *ctx, const struct quipu_quarantined *event,
                                                 struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_each_quarantined(struct quipu_engine *engine,
                                                                    quipu_quarantine_fn visit,
                                                                    void *ctx,
                                                                    struct quipu_error *err);

/**
 * Judge everything in quarantine again, except forks and conflicts of ids, until nothing more is
 * let in, in slices that are transactions of their own. What follows an added event is let in by
 * ingest itself, so this is for what changed otherwise: a newer program, a row restored by hand.
 * `report` may be NULL; its `quarantined` says how many were refused again.
 * @retval as quipu_txn_commit; what was let in before the failure stays in
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_quarantine_retry(struct quipu_engine *engine, struct quipu_ingest_report *report,
                       struct quipu_error *err);

/** Forget one event in quarantine; it comes back when its carrier brings it again.
 * @retval QUIPU_NOT_FOUND  it is not in quarantine. @retval as quipu_txn_commit */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_quarantine_drop(struct quipu_engine *engine,
                                                                   const struct quipu_cid *cid,
                                                                   struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
