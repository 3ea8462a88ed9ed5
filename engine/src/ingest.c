/*
 * Taking in the events of other stores. The way of one event:
 *
 *  1. Is it what it says it is? Both hashes, strict decoding, the source's checksum.
 *  2. Is its event_id known? With the same CID it is known: nothing to do but to note its receipt.
 *  3. Is all that it follows here? Then it is written as it came, with its own source and number.
 *     Where another event follows the same one or has the same number, that is a fork: kept, with
 *     the conflict recorded (fork_note.c), or refused. One that claims this store's own source is
 *     taken only where its carrier bears this store's signature.
 *
 * An event that was let in lets in those in quarantine that waited for it (ingest_waiting.c).
 *
 * Whatever fails in these three is the event's own fault: it fails the call (strict) or goes to
 * quarantine with its reason. A failure of the store fails the call in either case.
 *
 * The three are in ingest_check.c and ingest_place.c. All of it in one write transaction, which
 * commits or leaves no trace.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/ingest.h"

#include <string.h>

#include "forks.h"
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
    struct quarantine_pending pending = {0};
    receipt_writer_init(&ingest->receipts, ingest->txn);
    status = meta_get_u64(ingest->txn, META_DEAD, &ingest->letters, err);
    if (status == QUIPU_OK) {
        status = quarantine_pending_get(ingest->txn, &pending, err);
        ingest->has_waiting = pending.events > 0;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = identity_row_get(ingest->txn, &ingest->own, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    /* A row without its key is that of a lost identity: its events are foreign ones now. */
    bool is_backup = false;
    bool has_row = status == QUIPU_OK;
    status = quipu_txn_backup_mark(ingest->txn, &is_backup, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* A backup goes on under a new source: what the old one recorded after it comes from others. */
    ingest->has_own = has_row && !is_backup && identity_file_exists(engine);
    return ingest->has_own ? identity_numbers_join(ingest->txn, &ingest->own, err) : QUIPU_OK;
}

enum quipu_status quipu_ingest_begin(struct quipu_engine *engine, enum quipu_ingest_policy policy,
                                     struct quipu_ingest **out, struct quipu_error *err)
{
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    options.policy = policy;
    return quipu_ingest_begin_with(engine, &options, out, err);
}

static bool keeps_forks(const struct quipu_ingest_options *options)
{
    switch (options->forks) {
    case QUIPU_INGEST_FORKS_KEEP:
        return true;
    case QUIPU_INGEST_FORKS_REFUSE:
        return false;
    case QUIPU_INGEST_FORKS_BY_POLICY:
        break;
    }
    return options->policy == QUIPU_INGEST_QUARANTINE;
}

enum quipu_status quipu_ingest_begin_with(struct quipu_engine *engine,
                                          const struct quipu_ingest_options *options,
                                          struct quipu_ingest **out, struct quipu_error *err)
{
    static const struct quipu_ingest_options defaults = QUIPU_INGEST_OPTIONS_INIT;
    const struct quipu_ingest_options *wanted = options == NULL ? &defaults : options;
    if (wanted->size != sizeof *wanted) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "ingest options: size %zu, expected %zu; start from "
                               "QUIPU_INGEST_OPTIONS_INIT",
                               wanted->size, sizeof *wanted);
    }
    struct quipu_ingest *ingest = quipu_alloc_zero(1, sizeof *ingest);
    if (ingest == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "ingest: out of memory");
    }
    ingest->engine = engine;
    ingest->policy = wanted->policy;
    ingest->keeps_forks = keeps_forks(wanted);
    ingest->pending_max = (struct quarantine_pending){
        wanted->pending_events_max == 0 ? QUIPU_PENDING_EVENTS_DEFAULT : wanted->pending_events_max,
        wanted->pending_bytes_max == 0 ? QUIPU_PENDING_BYTES_DEFAULT : wanted->pending_bytes_max,
    };
    ingest->kept_bytes_max = wanted->quarantine_bytes_max == 0 ? QUIPU_QUARANTINE_BYTES_DEFAULT
                                                               : wanted->quarantine_bytes_max;
    enum quipu_status status = ingest_open(ingest, err);
    if (status != QUIPU_OK) {
        quipu_ingest_abort(&ingest);
        return status;
    }
    ingest->is_carrier_own =
        ingest->has_own &&
        quipu_slice_equal(wanted->proven_source, quipu_slice_text(ingest->own.source));
    if (wanted->proven_source.len == sizeof ingest->proven_source - 1) {
        memcpy(ingest->proven_source, wanted->proven_source.data, wanted->proven_source.len);
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
    quipu_buf_release(&ending->arrivals);
    quipu_buf_release(&ending->row);
    quipu_free(ending);
}

static enum quipu_status ingest_finish(struct quipu_ingest *ingest, struct quipu_error *err)
{
    enum quipu_status status = receipt_writer_flush(&ingest->receipts, err);
    ingest->is_changed = ingest->is_changed || ingest->receipts.noted > 0;
    if (status == QUIPU_OK && (ingest->receipts.added > 0 || ingest->dead != 0)) {
        status = outbox_settle(ingest->txn, ingest->receipts.added, ingest->dead, err);
        ingest->is_changed = true;
    }
    if (status == QUIPU_OK && ingest->is_own_changed) {
        status = identity_row_put(ingest->txn, &ingest->own, err);
    }
    if (status == QUIPU_OK && ingest->is_changed) {
        status = quipu_txn_commit(&ingest->txn, err);
    }
    return status;
}

/* What is known, or in quarantine, is acknowledged as what is new is, though another process may
 * have written it relaxed; a commit of events has synced it, too. */
static enum quipu_status ingest_sync_known(struct quipu_ingest *ingest, struct quipu_error *err)
{
    const struct quipu_ingest_report *report = &ingest->report;
    quipu_txn_abort(&ingest->txn);
    return report->added == 0 && report->known + report->quarantined > 0
               ? quipu_store_sync(ingest->engine->store, err)
               : QUIPU_OK;
}

enum quipu_status quipu_ingest_commit(struct quipu_ingest **ingest,
                                      struct quipu_ingest_report *report, struct quipu_error *err)
{
    enum quipu_status status = ingest_finish(*ingest, err);
    if (status == QUIPU_OK) {
        status = ingest_sync_known(*ingest, err);
    }
    if (status == QUIPU_OK && report != NULL) {
        *report = (*ingest)->report;
    }
    quipu_ingest_abort(ingest);
    return status;
}

struct quipu_txn *quipu_ingest_txn(struct quipu_ingest *ingest)
{
    ingest->is_changed = true;
    return ingest->txn;
}

/* ------------------------------------------------------------------ one event */

static enum quipu_status event_add(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                   const struct quipu_envelope *envelope,
                                   const struct ingest_place *place, uint64_t *position,
                                   struct quipu_error *err)
{
    struct quipu_record_new record = {
        .aggregate = {envelope->aggregate_type, envelope->aggregate_id},
        .version = envelope->version,
        .event_id = envelope->event_id,
        .envelope_cid = event->cid,
        .payload_cid = envelope->payload,
        .event_type = envelope->event_type,
        .correlation_id = envelope->correlation_id,
        .envelope = event->envelope,
        .payload = event->payload,
    };
    enum quipu_status status = quipu_txn_append(ingest->txn, &record, position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    ingest->is_changed = true;
    if (place->is_fork || place->head.has_fork || place->number_holder != 0) {
        struct fork_arrival arrival = {
            .envelope = envelope,
            .cid = event->cid,
            .position = *position,
            .before = place->head,
            .number_holder = place->number_holder,
        };
        ingest->report.forks += place->is_fork || place->number_holder != 0;
        status = fork_note(ingest->txn, &arrival, &ingest->scratch, err);
    }
    if (status != QUIPU_OK || place->number_holder != 0) {
        return status; /* the number stays with its first holder */
    }
    if (ingest_is_own(ingest, envelope) && envelope->source_seq > ingest->own.last_seq) {
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
    enum quipu_status status = quarantine_delete(ingest->txn, &event->cid, err);
    ingest->is_changed = ingest->is_changed || status == QUIPU_OK;
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    if (event->stream.len == 0) {
        return QUIPU_OK;
    }
    struct quipu_ack ack = {
        .position = position, .sequence = event->sequence, .stored_unix_us = event->stored_unix_us};
    status = receipt_writer_add(&ingest->receipts, event->stream, &ack, err);
    if (status == QUIPU_OK && ingest->letters > 0) {
        status = dead_letter_forget(ingest->txn, position, &ingest->dead, err);
    }
    return status;
}

/* Who waits in quarantine may wait for this one. */
static enum quipu_status arrival_note(struct quipu_ingest *ingest, const struct quipu_cid *cid,
                                      const struct quipu_envelope *envelope,
                                      struct quipu_error *err)
{
    if (!ingest->has_waiting) {
        return QUIPU_OK;
    }
    struct quarantine_wait arrival = {0};
    quarantine_wait_for_event(cid, &arrival);
    quipu_buf_append(&ingest->arrivals, &arrival, sizeof arrival);
    if (ingest_is_own(ingest, envelope)) {
        quarantine_wait_for_number(envelope->source, envelope->source_seq, &arrival);
        quipu_buf_append(&ingest->arrivals, &arrival, sizeof arrival);
    }
    return ingest->arrivals.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, ingest->arrivals.status, "ingest: out of memory");
}

enum quipu_status ingest_take(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                              struct ingest_verdict *verdict, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    bool is_new = verdict->position == 0;
    if (is_new) {
        status =
            event_add(ingest, event, &verdict->envelope, &verdict->place, &verdict->position, err);
    }
    if (status == QUIPU_OK) {
        status = event_settle(ingest, event, verdict->position, err);
    }
    if (status == QUIPU_OK && is_new) {
        status = arrival_note(ingest, &event->cid, &verdict->envelope, err);
    }
    if (status == QUIPU_OK) {
        ingest->report.added += is_new;
    }
    return status;
}

enum quipu_status ingest_quarantine(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                    const struct ingest_verdict *verdict,
                                    const struct quipu_error *why, struct quipu_error *err)
{
    const struct quipu_clock *clock = &ingest->engine->clock;
    struct quarantine_verdict kept = {
        .why = why,
        .wait = verdict->wait,
        .is_proven = verdict->is_proven,
        .now_unix_us = clock->unix_us(clock->ctx),
        .max = ingest->pending_max,
        .kept_bytes_max = ingest->kept_bytes_max,
    };
    if (why->status != QUIPU_GAP) {
        kept.wait.len = 0;
    }
    enum quipu_status status = quarantine_put(ingest->txn, event, &kept, &ingest->scratch, err);
    if (status == QUIPU_OK) {
        ingest->is_changed = true;
        ingest->has_waiting = ingest->has_waiting || kept.wait.len > 0;
    }
    return status;
}

/* The status is the event's fault or the machine's; `why` says what. */
static enum quipu_status event_refuse(struct quipu_ingest *ingest,
                                      const struct quipu_foreign *event,
                                      const struct ingest_verdict *verdict,
                                      const struct quipu_error *why, struct quipu_error *err)
{
    if (ingest->policy != QUIPU_INGEST_QUARANTINE || !ingest_is_events_fault(why->status)) {
        if (err != NULL) {
            *err = *why;
        }
        return why->status;
    }
    enum quipu_status status = ingest_quarantine(ingest, event, verdict, why, err);
    ingest->report.quarantined += status == QUIPU_OK;
    return status;
}

enum quipu_status quipu_ingest_event(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                     enum quipu_ingest_outcome *outcome, struct quipu_error *err)
{
    if (event->cid.codec != QUIPU_CODEC_DAG_CBOR && event->cid.codec != QUIPU_CODEC_RAW) {
        return quipu_error_set(err, QUIPU_MISUSE, "ingest: the event has no CID");
    }
    struct ingest_verdict verdict = {.is_carried = true};
    struct quipu_error why = {0};
    enum quipu_ingest_outcome became = QUIPU_INGEST_QUARANTINED;
    enum quipu_status status = ingest_judge(ingest, event, ingest->is_carrier_own, &verdict, &why);
    if (status != QUIPU_OK) {
        why.status = status;
        status = event_refuse(ingest, event, &verdict, &why, err);
    } else {
        became = verdict.position == 0 ? QUIPU_INGEST_ADDED : QUIPU_INGEST_KNOWN;
        status = ingest_take(ingest, event, &verdict, &why);
        if (status == QUIPU_OK) {
            ingest->report.known += became == QUIPU_INGEST_KNOWN;
            status = ingest_release(ingest, &why);
        }
        if (status != QUIPU_OK) {
            return quipu_error_set(err, status, "%s", why.message);
        }
    }
    if (status == QUIPU_OK && outcome != NULL) {
        *outcome = became;
    }
    return status;
}
