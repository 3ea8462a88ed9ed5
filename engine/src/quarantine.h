/*
 * Foreign events that were not let in, inside a transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_QUARANTINE_H
#define QUIPU_ENGINE_QUARANTINE_H

#include "quipu/ingest.h"
#include "quipu/store.h"

/* What an event waits for, as it stands in front of a key of the table of waiting: the CID of an
 * envelope, or a source and a number of it. They differ in length. */
#define WAIT_EVENT_BYTES  QUIPU_CID_BYTES
#define WAIT_NUMBER_BYTES (QUIPU_SOURCE_TEXT_BYTES - 1 + 8)
struct quarantine_wait {
    size_t len; /* 0: it waits for nothing that this store could notice */
    uint8_t key[WAIT_NUMBER_BYTES];
};

/* This envelope is here. */
void quarantine_wait_for_event(const struct quipu_cid *cid, struct quarantine_wait *out);
/* `source_seq` of this source, 56 characters, is here. */
void quarantine_wait_for_number(struct quipu_slice source, uint64_t source_seq,
                                struct quarantine_wait *out);

/* How much waits, and how much may. */
struct quarantine_pending {
    uint64_t events;
    uint64_t bytes; /* of their rows */
};

/* Why, and since when. */
struct quarantine_verdict {
    const struct quipu_error *why;
    struct quarantine_wait wait;
    bool is_proven; /* this store's own event, under its own signature */
    int64_t now_unix_us;
    struct quarantine_pending max; /* zero: no bound */
    uint64_t kept_bytes_max;       /* of all rows; 0: no bound */
};

/* Keep `event`. What is kept of the same envelope gives way only to the same bytes or to better
 * ones: the payload that the envelope names, or a carrier that names the envelope rightly.
 * `scratch` is the caller's to reuse; it must hold nothing of `event`.
 * @retval QUIPU_TOO_LARGE  it would wait, and as much waits as may, or quarantine holds as much as
 * it may; nothing is written */
QUIPU_MUST_CHECK enum quipu_status quarantine_put(struct quipu_txn *txn,
                                                  const struct quipu_foreign *event,
                                                  const struct quarantine_verdict *verdict,
                                                  struct quipu_buf *scratch,
                                                  struct quipu_error *err);

/* It has been let in after all, or is dropped. @retval QUIPU_NOT_FOUND  it was not there */
QUIPU_MUST_CHECK enum quipu_status
quarantine_delete(struct quipu_txn *txn, const struct quipu_cid *cid, struct quipu_error *err);

/* How much waits. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status quarantine_pending_get(struct quipu_txn *txn,
                                                          struct quarantine_pending *out,
                                                          struct quipu_error *err);

/* The first event that waits for this. @retval QUIPU_DONE  none does */
QUIPU_MUST_CHECK enum quipu_status quarantine_waiter(struct quipu_txn *txn, struct quipu_slice wait,
                                                     struct quipu_cid *cid,
                                                     struct quipu_error *err);

/* The row of this event, copied into `copy`, to which the slices of `out` point.
 * @retval QUIPU_NOT_FOUND, QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status
quarantine_read(struct quipu_txn *txn, const struct quipu_cid *cid, struct quipu_buf *copy,
                struct quipu_quarantined *out, struct quipu_error *err);

/* The event behind `after` (NULL: the first), in the order of CIDs; slices live as long as the
 * transaction allows. @retval QUIPU_DONE  none. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status quarantine_next(struct quipu_txn *txn,
                                                   const struct quipu_cid *after,
                                                   struct quipu_quarantined *out,
                                                   struct quipu_error *err);

/* Every row readable, and exactly those that wait in the table of waiting. @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status quarantine_check(struct quipu_txn *txn, struct quipu_error *err);

#endif
