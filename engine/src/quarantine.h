/*
 * Foreign events that were not let in, inside a transaction.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_QUARANTINE_H
#define QUIPU_ENGINE_QUARANTINE_H

#include "quipu/ingest.h"
#include "quipu/store.h"

/* What an event waits for, hashed: the event before it in its aggregate or in this store's own
 * source. */
#define WAIT_BYTES 24
struct quarantine_wait {
    bool is_set; /* false: it waits for nothing that this store could notice */
    uint8_t key[WAIT_BYTES];
};

/* `version` of this aggregate is here. */
void quarantine_wait_for_version(struct quipu_slice aggregate_type, struct quipu_slice aggregate_id,
                                 uint64_t version, struct quarantine_wait *out);
/* `source_seq` of this source is here. */
void quarantine_wait_for_number(struct quipu_slice source, uint64_t source_seq,
                                struct quarantine_wait *out);

/* Why, and since when. */
struct quarantine_verdict {
    const struct quipu_error *why;
    struct quarantine_wait wait;
    int64_t now_unix_us;
};

/* Keep `event`. What is kept of the same envelope gives way only to the same bytes or to better
 * ones: the payload that the envelope names, or a carrier that names the envelope rightly.
 * `scratch` is the caller's to reuse; it must hold nothing of `event`. */
QUIPU_MUST_CHECK enum quipu_status quarantine_put(struct quipu_txn *txn,
                                                  const struct quipu_foreign *event,
                                                  const struct quarantine_verdict *verdict,
                                                  struct quipu_buf *scratch,
                                                  struct quipu_error *err);

/* It has been let in after all, or is dropped. @retval QUIPU_NOT_FOUND  it was not there */
QUIPU_MUST_CHECK enum quipu_status
quarantine_delete(struct quipu_txn *txn, const struct quipu_cid *cid, struct quipu_error *err);

/* Does any event wait? */
QUIPU_MUST_CHECK enum quipu_status quarantine_is_waiting(struct quipu_txn *txn, bool *is_waiting,
                                                         struct quipu_error *err);

/* The first event that waits for this. @retval QUIPU_DONE  none does */
QUIPU_MUST_CHECK enum quipu_status quarantine_waiter(struct quipu_txn *txn,
                                                     const uint8_t wait[WAIT_BYTES],
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
