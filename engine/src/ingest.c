/*
 * Taking in the events of other stores. The way of one event:
 *
 *  1. Is it what it says it is? Both hashes, strict decoding, the source's checksum.
 *  2. Is its event_id known? With the same CID it is known: nothing to do but to note its receipt.
 *  3. Does it follow its aggregate's head: version and prev? Then it is written as it came, with
 * its own source and number.
 *
 * Whatever fails in these three is the event's own fault: it fails the call (strict) or goes to
 * quarantine with its reason. A failure of the store fails the call in either case.
 *
 * All of it in one write transaction, which commits or leaves no trace.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/ingest.h"

#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "identity.h"
#include "outbox_state.h"
#include "quarantine.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
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
    return QUIPU_OK;
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

/* ------------------------------------------------------------------ 1: what it says it is */

static enum quipu_status hash_check(const struct quipu_cid *cid, uint8_t codec,
                                    struct quipu_slice block, const char *what,
                                    struct quipu_error *err)
{
    struct quipu_cid found = quipu_cid_of(codec, block);
    if (quipu_cid_equal(cid, &found)) {
        return QUIPU_OK;
    }
    char expected_text[QUIPU_CID_TEXT_BYTES];
    char found_text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, expected_text);
    quipu_cid_format(&found, found_text);
    return quipu_error_set(err, QUIPU_CID_MISMATCH, "%s %s hashes to %s", what, expected_text,
                           found_text);
}

static enum quipu_status size_check(struct quipu_slice block, size_t max, const char *what,
                                    struct quipu_error *err)
{
    if (block.len > max) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "%s: %zu bytes, at most %zu are allowed", what,
                               block.len, max);
    }
    return QUIPU_OK;
}

static enum quipu_status blocks_check(const struct quipu_foreign *event,
                                      struct quipu_envelope *envelope, struct quipu_error *err)
{
    enum quipu_status status =
        size_check(event->envelope, QUIPU_ENVELOPE_BYTES_MAX, "envelope", err);
    if (status == QUIPU_OK) {
        status = size_check(event->payload, QUIPU_PAYLOAD_BYTES_MAX, "payload", err);
    }
    if (status == QUIPU_OK) {
        status = hash_check(&event->cid, QUIPU_CODEC_DAG_CBOR, event->envelope, "envelope", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_envelope_decode(event->envelope, envelope, err);
    }
    if (status == QUIPU_OK) {
        status =
            hash_check(&envelope->payload, envelope->payload.codec, event->payload, "payload", err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    if (quipu_source_public_key(envelope->source, public_key, err) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_ENVELOPE, "envelope: the checksum of source is wrong");
    }
    if (envelope->payload.codec == QUIPU_CODEC_RAW) {
        return QUIPU_OK;
    }
    status = quipu_dagcbor_validate(event->payload, err);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "payload");
}

/* ------------------------------------------------------------------ 2: is it known */

static enum quipu_status known_check(const struct quipu_foreign *event,
                                     const struct quipu_record *record, struct quipu_error *err)
{
    if (quipu_cid_equal(&record->envelope_cid, &event->cid)) {
        return QUIPU_OK;
    }
    char id[QUIPU_UUID_TEXT_BYTES];
    char here[QUIPU_CID_TEXT_BYTES];
    char theirs[QUIPU_CID_TEXT_BYTES];
    quipu_uuid_format(record->event_id, id);
    quipu_cid_format(&record->envelope_cid, here);
    quipu_cid_format(&event->cid, theirs);
    return quipu_error_set(err, QUIPU_EVENT_ID_CONFLICT,
                           "event_id %s is %s here, position %" PRIu64 ", and %s there", id, here,
                           record->position, theirs);
}

/* ------------------------------------------------------------------ 3: does it follow */

static enum quipu_status place_conflict(enum quipu_status status,
                                        const struct quipu_envelope *envelope, uint64_t head,
                                        const char *why, struct quipu_error *err)
{
    return quipu_error_set(err, status,
                           "aggregate %.*s/%.*s: version %" PRIu64 " comes in, the last one here "
                           "is %" PRIu64 ": %s",
                           QUIPU_SLICE_FMT(envelope->aggregate_type),
                           QUIPU_SLICE_FMT(envelope->aggregate_id), envelope->version, head, why);
}

static bool names_head(const struct quipu_envelope *envelope, const struct quipu_head *head)
{
    for (size_t i = 0; i < envelope->prev_count; i++) {
        if (quipu_cid_equal(&envelope->prev[i], &head->envelope_cid)) {
            return true;
        }
    }
    return false;
}

static enum quipu_status chain_check(struct quipu_ingest *ingest,
                                     const struct quipu_envelope *envelope, struct quipu_error *err)
{
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct quipu_head head = {0};
    enum quipu_status status = quipu_txn_head(ingest->txn, aggregate, &head, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    if (envelope->version <= head.version) {
        return place_conflict(QUIPU_FORK, envelope, head.version, "another event has that version",
                              err);
    }
    if (envelope->version > head.version + 1) {
        return place_conflict(QUIPU_GAP, envelope, head.version, "bring the ones between in first",
                              err);
    }
    if (envelope->prev_count > 0 && !names_head(envelope, &head)) {
        return place_conflict(QUIPU_FORK, envelope, head.version,
                              "it follows another event than that one", err);
    }
    if (envelope->prev_count > 1) {
        return place_conflict(QUIPU_GAP, envelope, head.version,
                              "it merges a branch that is not here", err);
    }
    return QUIPU_OK;
}

/* An event of our own that we do not have: this store lost its tail, or the key is used twice. */
static enum quipu_status own_check(const struct quipu_ingest *ingest,
                                   const struct quipu_envelope *envelope, struct quipu_error *err)
{
    uint64_t last = ingest->own.last_seq;
    if (envelope->source_seq <= last) {
        return quipu_error_set(err, QUIPU_FORK,
                               "source %s, which is this store's, has another event under number "
                               "%" PRIu64 ": the same signing key is in use twice",
                               ingest->own.source, envelope->source_seq);
    }
    if (envelope->source_seq > last + 1) {
        return quipu_error_set(err, QUIPU_GAP,
                               "number %" PRIu64 " of this store's own source comes back, but its "
                               "last one here is %" PRIu64 ": bring the ones between in first",
                               envelope->source_seq, last);
    }
    return QUIPU_OK;
}

static bool is_own(const struct quipu_ingest *ingest, const struct quipu_envelope *envelope)
{
    return ingest->has_own &&
           quipu_slice_equal(envelope->source, quipu_slice_text(ingest->own.source));
}

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
    if (is_own(ingest, envelope)) {
        ingest->own.last_seq = envelope->source_seq;
        ingest->is_own_changed = true;
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ one event */

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

/* Everything that is the event's own fault: 1, 2 and 3. `*position` is its place where it is known,
 * 0 where it is new and may be written. */
static enum quipu_status event_judge(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                     struct quipu_envelope *envelope, uint64_t *position,
                                     struct quipu_error *err)
{
    enum quipu_status status = blocks_check(event, envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record record;
    status = quipu_txn_find_event_id(ingest->txn, envelope->event_id, &record, err);
    if (status == QUIPU_OK) {
        *position = record.position;
        return known_check(event, &record, err);
    }
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    *position = 0;
    status = chain_check(ingest, envelope, err);
    if (status == QUIPU_OK && is_own(ingest, envelope)) {
        status = own_check(ingest, envelope, err);
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
    enum quipu_status status = event_judge(ingest, event, &envelope, &position, &why);
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
