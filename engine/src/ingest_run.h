/*
 * Foreign events being taken in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_INGEST_RUN_H
#define QUIPU_ENGINE_INGEST_RUN_H

#include "engine_impl.h"
#include "identity.h"
#include "quipu/ingest.h"
#include "receipts.h"

struct quipu_ingest {
    struct quipu_engine *engine;
    struct quipu_txn *txn;
    enum quipu_ingest_policy policy;
    struct quipu_ingest_report report;
    bool is_changed;
    uint64_t letters; /* dead letters, of which a pulled event may be one */
    int dead;         /* how many of them are none any more, as a negative number */
    struct receipt_writer receipts;
    /* This store's own identity, whose events may come back to it. */
    struct identity_row own;
    bool has_own;
    bool is_own_changed;
    struct quipu_buf scratch;
};

/* Is it of this store's own source? */
bool ingest_is_own(const struct quipu_ingest *ingest, const struct quipu_envelope *envelope);

/* Everything that is the event's own fault. `*position` is its place where it is known, 0 where it
 * is new and may be written. */
QUIPU_MUST_CHECK enum quipu_status ingest_judge(struct quipu_ingest *ingest,
                                                const struct quipu_foreign *event,
                                                struct quipu_envelope *envelope, uint64_t *position,
                                                struct quipu_error *err);

#endif
