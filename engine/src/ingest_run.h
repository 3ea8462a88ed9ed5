/*
 * Foreign events being taken in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_INGEST_RUN_H
#define QUIPU_ENGINE_INGEST_RUN_H

#include "engine_impl.h"
#include "identity.h"
#include "quarantine.h"
#include "quipu/ingest.h"
#include "receipts.h"

struct quipu_ingest {
    struct quipu_engine *engine;
    struct quipu_txn *txn;
    enum quipu_ingest_policy policy;
    bool keeps_forks;
    struct quarantine_pending pending_max;
    uint64_t kept_bytes_max; /* of all of quarantine */
    struct quipu_ingest_report report;
    bool is_changed;
    uint64_t letters; /* dead letters, of which a pulled event may be one */
    int dead;         /* how many of them are none any more, as a negative number */
    struct receipt_writer receipts;
    /* This store's own identity, whose events may come back to it. */
    struct identity_row own;
    bool has_own;
    bool is_carrier_own;                         /* the carrier bears this store's own signature */
    char proven_source[QUIPU_SOURCE_TEXT_BYTES]; /* whose signature it bears; "": nobody's */
    bool is_own_changed;
    bool has_own_checked; /* its count was held against the log */
    struct quipu_buf scratch;
    /* Does an event in quarantine wait for another? What came that one may wait for, and the row of
     * the one that is judged again. */
    bool has_waiting;
    bool is_retry;             /* those that are refused again are counted */
    struct quipu_buf arrivals; /* struct quarantine_wait each */
    struct quipu_buf row;
};

/* Is it of this store's own source? */
bool ingest_is_own(const struct quipu_ingest *ingest, const struct quipu_envelope *envelope);

/* Where a new event belongs. */
struct ingest_place {
    struct quipu_head head; /* of its aggregate; position 0: it has no event here */
    bool is_fork;           /* another event follows what it follows */
    uint64_t number_holder; /* position of the first event with its number; 0: it is free */
};

/* What is found out about an event. */
struct ingest_verdict {
    bool is_carried; /* by the judge's caller: it comes by the carrier, and not out of quarantine */
    struct quipu_envelope envelope;
    bool is_proven;    /* of this store's own source, and under its signature */
    uint64_t position; /* its place where it is known, 0 where it is new and may be written */
    struct quarantine_wait wait; /* QUIPU_GAP: for what it waits */
    struct ingest_place place;   /* where it is new */
};

/* Has another store, its source, signed the carrier that it comes by? */
bool ingest_is_attested(const struct quipu_ingest *ingest, const struct ingest_verdict *verdict);

/* It is, and `what` of it (an event_id, a number) is another event here: refuse it, and say which
 * is which. Returns `status`. */
enum quipu_status ingest_refuse_proven(enum quipu_status status, const char *what,
                                       const struct quipu_foreign *event,
                                       const struct quipu_record *here, struct quipu_error *err);

/* An event that is new: does all that it follows stand here, and is its number free? */
QUIPU_MUST_CHECK enum quipu_status ingest_place_judge(struct quipu_ingest *ingest,
                                                      const struct quipu_foreign *event,
                                                      struct ingest_verdict *verdict,
                                                      struct quipu_error *err);

/* Everything that is the event's own fault. `is_signed`: this store's own
 * signature covers it, which matters where it claims this store's own source. */
QUIPU_MUST_CHECK enum quipu_status ingest_judge(struct quipu_ingest *ingest,
                                                const struct quipu_foreign *event, bool is_signed,
                                                struct ingest_verdict *verdict,
                                                struct quipu_error *err);

/* Is it the event's fault? Others are failures of the machine or of our own data. */
bool ingest_is_events_fault(enum quipu_status status);

/* Write it where it is new, note its receipt, take it out of quarantine.
 * Its arrival is noted for those who wait. */
QUIPU_MUST_CHECK enum quipu_status ingest_take(struct quipu_ingest *ingest,
                                               const struct quipu_foreign *event,
                                               struct ingest_verdict *verdict,
                                               struct quipu_error *err);

/* Keep it in quarantine for `why`. */
QUIPU_MUST_CHECK enum quipu_status ingest_quarantine(struct quipu_ingest *ingest,
                                                     const struct quipu_foreign *event,
                                                     const struct ingest_verdict *verdict,
                                                     const struct quipu_error *why,
                                                     struct quipu_error *err);

/* Let in everyone who waited for what arrived, and who waits for those. */
QUIPU_MUST_CHECK enum quipu_status ingest_release(struct quipu_ingest *ingest,
                                                  struct quipu_error *err);

#endif
