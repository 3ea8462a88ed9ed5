/*
 * Taking in the events of other stores. The way of one event:
 *
 *  1. Is it what it says it is? Both hashes, strict decoding, the source's checksum.
 *  2. Is its event_id known? With the same CID it is known: nothing to do but to note its receipt.
 *  3. Does it follow its aggregate's head: version and prev? Then it is written as it came, with
 * its own source and number, which no other event of that source may have.
 *
 * Whatever fails in these three is the event's own fault: it fails the call (strict) or goes to
 * quarantine with its reason. A failure of the store fails the call in either case.
 *
 * The three are in ingest_check.c. All of it in one write transaction, which commits or leaves no
 * trace.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/ingest.h"

#include "ingest_run.h"
#include "numbers.h"
#include "outbox_state.h"
#include "quarantine.h"
#include "quipu/alloc.h"

/* ------------------------------------------------------------------ begin and end */

static enum quipu_status ingest_open(struct quipu_ingest *ingest, struct quipu_error *err)
{
    struct quipu_engine *engine = ingest->engine;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &ingest->txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    receipt_writer_init(&ingest->receipts, ingest->txn);
    status = meta_get_u64(ingest->txn, META_DEAD, &ingest->letters, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = identity_row_get(ingest->txn, &ingest->own, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    /* A row without its key is that of a lost identity: its events are foreign ones now. */
    ingest->has_own = status == QUIPU_OK && identity_file_exists(engine);
    return ingest->has_own ? identity_numbers_join(ingest->txn, &ingest->own, err) : QUIPU_OK;
}

enum quipu_status quipu_ingest_begin(struct quipu_engine *engine, enum quipu_ingest_policy policy,
                                     struct quipu_ingest **out, struct quipu_error *err)
{
    struct quipu_ingest *ingest = quipu_alloc_zero(1, sizeof *ingest);
    if (ingest == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "ingest: out of memory");
    }
    ingest->engine = engine;
    ingest->policy = policy;
    enum quipu_status status = ingest_open(ingest, err);
    if (status != QUIPU_OK) {
        quipu_ingest_abort(&ingest);
        return status;
    }
    *out = ingest;
    return QUIPU_OK;
}

void quipu_ingest_abort(struct quipu_ingest **ingest)
{
    struct quipu_ingest *ending = *ingest;
    *ingest = NULL;
    if (ending == NULL) {
        return;
    }
    quipu_txn_abort(&ending->txn);
    quipu_buf_release(&ending->scratch);
    quipu_free(ending);
}

static enum quipu_status ingest_finish(struct quipu_ingest *ingest, struct quipu_error *err)
{
    enum quipu_status status = receipt_writer_flush(&ingest->receipts, err);
    if (status == QUIPU_OK && (ingest->receipts.added > 0 || ingest->dead != 0)) {
        status = outbox_settle(ingest->txn, ingest->receipts.added, ingest->dead, err);
        ingest->is_changed = true;
    }
    if (status == QUIPU_OK && ingest->is_own_changed) {
        status = identity_row_put(ingest->txn, &ingest->own, err);
    }
    if (status != QUIPU_OK || !ingest->is_changed) {
        return status;
    }
    return quipu_txn_commit(&ingest->txn, err);
}

enum quipu_status quipu_ingest_commit(struct quipu_ingest **ingest,
                                      struct quipu_ingest_report *report, struct quipu_error *err)
{
    enum quipu_status status = ingest_finish(*ingest, err);
    if (status == QUIPU_OK && report != NULL) {
        *report = (*ingest)->report;
    }
    quipu_ingest_abort(ingest);
    return status;
}

/* ------------------------------------------------------------------ one event */

static enum quipu_status event_add(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                   const struct quipu_envelope *envelope, uint64_t *position,
                                   struct quipu_error *err)
{
    struct quipu_record_new record = {
        .aggregate = {envelope->aggregate_type, envelope->aggregate_id},
        .version = envelope->version,
        .event_id = envelope->event_id,
        .envelope_cid = event->cid,
        .payload_cid = envelope->payload,
        .envelope = event->envelope,
        .payload = event->payload,
    };
    enum quipu_status status = quipu_txn_append(ingest->txn, &record, position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    ingest->is_changed = true;
    if (ingest_is_own(ingest, envelope)) {
        ingest->own.last_seq = envelope->source_seq;
        ingest->is_own_changed = true;
        return QUIPU_OK;
    }
    return numbers_put(ingest->txn, envelope->source, envelope->source_seq, *position, err);
}

/* Its receipt, where it comes from a stream, and its place in quarantine, where it had one. */
static enum quipu_status event_settle(struct quipu_ingest *ingest,
                                      const struct quipu_foreign *event, uint64_t position,
                                      struct quipu_error *err)
{
    bool was_in_quarantine = false;
    enum quipu_status status = quarantine_forget(ingest->txn, &event->cid, &was_in_quarantine, err);
    ingest->is_changed = ingest->is_changed || was_in_quarantine;
    if (status != QUIPU_OK || event->stream.len == 0) {
        return status;
    }
    struct quipu_ack ack = {.position = position, .sequence = event->sequence};
    status = receipt_writer_add(&ingest->receipts, event->stream, &ack, err);
    if (status == QUIPU_OK && ingest->letters > 0) {
        status = dead_letter_forget(ingest->txn, position, &ingest->dead, err);
    }
    return status;
}

/* Failures of the machine or of our own data; every other one is the event's. */
static bool is_events_fault(enum quipu_status status)
{
    return status >= QUIPU_CBOR_TRUNCATED || status == QUIPU_EVENT_ID_CONFLICT ||
           status == QUIPU_FORK || status == QUIPU_GAP || status == QUIPU_FORMAT_NEWER ||
           status == QUIPU_TOO_LARGE;
}

static enum quipu_status event_quarantine(struct quipu_ingest *ingest,
                                          const struct quipu_foreign *event,
                                          const struct quipu_error *why, struct quipu_error *err)
{
    const struct quipu_clock *clock = &ingest->engine->clock;
    enum quipu_status status =
        quarantine_put(ingest->txn, event, why, clock->unix_us(clock->ctx), &ingest->scratch, err);
    if (status == QUIPU_OK) {
        ingest->is_changed = true;
        ingest->report.quarantined++;
    }
    return status;
}

enum quipu_status quipu_ingest_event(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                     enum quipu_ingest_outcome *outcome, struct quipu_error *err)
{
    if (event->cid.codec != QUIPU_CODEC_DAG_CBOR && event->cid.codec != QUIPU_CODEC_RAW) {
        return quipu_error_set(err, QUIPU_MISUSE, "ingest: the event has no CID");
    }
    struct quipu_envelope envelope;
    struct quipu_error why = {0};
    uint64_t position = 0;
    enum quipu_ingest_outcome became = QUIPU_INGEST_KNOWN;
    enum quipu_status status = ingest_judge(ingest, event, &envelope, &position, &why);
    if (status != QUIPU_OK) {
        if (ingest->policy == QUIPU_INGEST_QUARANTINE && is_events_fault(status)) {
            why.status = status;
            status = event_quarantine(ingest, event, &why, err);
            became = QUIPU_INGEST_QUARANTINED;
        } else if (err != NULL) {
            *err = why;
        }
        if (status == QUIPU_OK && outcome != NULL) {
            *outcome = became;
        }
        return status;
    }
    if (position == 0) {
        status = event_add(ingest, event, &envelope, &position, &why);
        became = QUIPU_INGEST_ADDED;
    }
    if (status == QUIPU_OK) {
        status = event_settle(ingest, event, position, &why);
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, status, "%s", why.message);
    }
    ingest->report.added += became == QUIPU_INGEST_ADDED;
    ingest->report.known += became == QUIPU_INGEST_KNOWN;
    if (outcome != NULL) {
        *outcome = became;
    }
    return QUIPU_OK;
}
