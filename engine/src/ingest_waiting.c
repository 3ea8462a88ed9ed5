/*
 * Letting in what waited in quarantine. Whoever arrives is looked up in the table of waiting; those
 * who waited for it are judged again, in the same transaction, and where they are let in, they have
 * arrived too. Each step is one look-up, however much is in quarantine, and the list of arrivals
 * takes the place of recursion.
 *
 * An event that is judged again and refused stays in quarantine under its new reason; it never
 * fails the transaction that woke it.
 *
 * A carrier's signature proves what it carries, not what was kept before: an event that claims this
 * store's own source is let out of quarantine only where it was proven when it was kept.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "ingest_run.h"
#include "slice_budget.h"

static struct quipu_foreign foreign_of(const struct quipu_quarantined *kept)
{
    return (struct quipu_foreign){
        .cid = kept->claimed,
        .envelope = kept->envelope,
        .payload = kept->payload,
        .stream = kept->stream,
        .sequence = kept->sequence,
    };
}

/* Judge the event that was read into ingest->row once more. */
static enum quipu_status kept_judge(struct quipu_ingest *ingest,
                                    const struct quipu_quarantined *kept, struct quipu_error *err)
{
    struct quipu_foreign event = foreign_of(kept);
    struct ingest_verdict verdict = {.is_carried = false};
    struct quipu_error why = {0};
    enum quipu_status status = ingest_judge(ingest, &event, kept->is_proven, &verdict, &why);
    if (status != QUIPU_OK) {
        why.status = status;
        if (!ingest_is_events_fault(status)) {
            return quipu_error_set(err, status, "%s", why.message);
        }
        ingest->report.quarantined += ingest->is_retry;
        if (status == kept->reason && verdict.wait.len == 0) {
            return QUIPU_OK; /* nothing is new about it */
        }
        return ingest_quarantine(ingest, &event, &verdict, &why, err);
    }
    uint64_t added = ingest->report.added;
    status = ingest_take(ingest, &event, &verdict, err);
    ingest->report.released += ingest->report.added - added;
    ingest->report.known += status == QUIPU_OK && ingest->report.added == added;
    return status;
}

/* Judge one who waits for `arrival`. @retval QUIPU_DONE  none does */
static enum quipu_status waiter_judge(struct quipu_ingest *ingest,
                                      const struct quarantine_wait *arrival,
                                      struct quipu_error *err)
{
    struct quipu_cid cid;
    struct quipu_quarantined kept;
    enum quipu_status status =
        quarantine_waiter(ingest->txn, quipu_slice(arrival->key, arrival->len), &cid, err);
    if (status == QUIPU_OK) {
        status = quarantine_read(ingest->txn, &cid, &ingest->row, &kept, err);
        if (status == QUIPU_NOT_FOUND) {
            return quipu_error_set(err, QUIPU_CORRUPT,
                                   "quarantine: the table of waiting names an event that is not in "
                                   "quarantine");
        }
    }
    return status == QUIPU_OK ? kept_judge(ingest, &kept, err) : status;
}

enum quipu_status ingest_release(struct quipu_ingest *ingest, struct quipu_error *err)
{
    while (ingest->arrivals.len > 0) {
        struct quarantine_wait arrival;
        ingest->arrivals.len -= sizeof arrival;
        memcpy(&arrival, ingest->arrivals.data + ingest->arrivals.len, sizeof arrival);
        /* More than one may wait for it, so each is asked for until there is none; who was judged
         * waits no more, or for something else. */
        enum quipu_status status = waiter_judge(ingest, &arrival, err);
        while (status == QUIPU_OK) {
            status = waiter_judge(ingest, &arrival, err);
        }
        if (status != QUIPU_DONE) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ retry */

/* What a later look may see otherwise. An id that is taken stays taken, and what was over its limit
 * was not kept. */
static bool is_worth_it(const struct quipu_quarantined *kept)
{
    return kept->reason != QUIPU_EVENT_ID_CONFLICT && kept->reason != QUIPU_TOO_LARGE;
}

/* Judge those behind `*after` in one transaction. @retval QUIPU_DONE  no more */
static enum quipu_status retry_slice(struct quipu_ingest *ingest, struct quipu_cid *after,
                                     bool *has_after, struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_quarantined kept;
        enum quipu_status status =
            quarantine_next(ingest->txn, *has_after ? after : NULL, &kept, err);
        if (status != QUIPU_OK) {
            return status;
        }
        *after = kept.cid;
        *has_after = true;
        if (!is_worth_it(&kept)) {
            continue;
        }
        struct quipu_cid cid = kept.cid;
        status = quarantine_read(ingest->txn, &cid, &ingest->row, &kept, err);
        if (status == QUIPU_OK) {
            status = kept_judge(ingest, &kept, err);
        }
        if (status == QUIPU_OK) {
            status = ingest_release(ingest, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

enum quipu_status quipu_quarantine_retry(struct quipu_engine *engine,
                                         struct quipu_ingest_report *report,
                                         struct quipu_error *err)
{
    struct quipu_ingest_report sum = {0};
    struct quipu_cid after;
    bool has_after = false;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_ingest *ingest = NULL;
        struct quipu_ingest_report part = {0};
        status = quipu_ingest_begin(engine, QUIPU_INGEST_QUARANTINE, &ingest, err);
        if (status != QUIPU_OK) {
            break;
        }
        ingest->is_retry = true;
        status = retry_slice(ingest, &after, &has_after, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            quipu_ingest_abort(&ingest);
            break;
        }
        enum quipu_status ended = quipu_ingest_commit(&ingest, &part, err);
        if (ended != QUIPU_OK) {
            status = ended;
        }
        sum.added += part.added;
        sum.known += part.known;
        sum.quarantined += part.quarantined;
        sum.released += part.released;
        sum.forks += part.forks;
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    if (report != NULL) {
        *report = sum;
    }
    return QUIPU_OK;
}
