/*
 * Judging a foreign event: is it what it says it is, is it known; where it belongs is in
 * ingest_place.c. Looks only; writes nothing.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "event_check.h"
#include "ingest_run.h"
#include "quipu/dagcbor.h"

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

static enum quipu_status blocks_check(const struct quipu_foreign *event,
                                      struct quipu_envelope *envelope, struct quipu_error *err)
{
    enum quipu_status status =
        block_size_check(event->envelope, QUIPU_ENVELOPE_BYTES_MAX, "envelope", err);
    if (status == QUIPU_OK) {
        status = block_size_check(event->payload, QUIPU_PAYLOAD_BYTES_MAX, "payload", err);
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

enum quipu_status quipu_foreign_check(const struct quipu_foreign *event, struct quipu_error *err)
{
    struct quipu_envelope envelope;
    if (event == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "foreign event: none");
    }
    return blocks_check(event, &envelope, err);
}

/* ------------------------------------------------------------------ 2: is it known */

bool ingest_is_attested(const struct quipu_ingest *ingest, const struct ingest_verdict *verdict)
{
    return verdict->is_carried && !ingest_is_own(ingest, &verdict->envelope) &&
           quipu_slice_equal(verdict->envelope.source, quipu_slice_text(ingest->proven_source));
}

enum quipu_status ingest_refuse_proven(enum quipu_status status, const char *what,
                                       const struct quipu_foreign *event,
                                       const struct quipu_record *here, struct quipu_error *err)
{
    char stands[QUIPU_CID_TEXT_BYTES];
    char comes[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&here->envelope_cid, stands);
    quipu_cid_format(&event->cid, comes);
    return quipu_error_set(err, status,
                           "%s is %s, signed by its source, and %s stands here, position %" PRIu64
                           ", on another's word (or that key signs twice); restore the backup from "
                           "before that came in: `quipu operations` says when",
                           what, comes, stands, here->position);
}

/* What this store recorded itself stands on nobody's word. */
static bool is_recorded_here(const struct quipu_ingest *ingest, const struct quipu_record *record)
{
    struct quipu_envelope envelope;
    return quipu_envelope_decode(record->envelope, &envelope, NULL) == QUIPU_OK &&
           ingest_is_own(ingest, &envelope);
}

/* Whoever is told that an event is known may throw the good copy away: the blocks that come in have
 * been hashed, so those that stand here must be the same bytes. */
static enum quipu_status stored_compare(const struct quipu_foreign *event,
                                        const struct quipu_record *record, struct quipu_error *err)
{
    bool is_envelope = quipu_slice_equal(record->envelope, event->envelope);
    if (is_envelope && quipu_slice_equal(record->payload, event->payload)) {
        return QUIPU_OK;
    }
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&event->cid, text);
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "position %" PRIu64 ": %s comes in, which is known, but %s that "
                           "stands here is damaged; keep what comes in and run `quipu verify`",
                           record->position, text, is_envelope ? "the payload" : "the envelope");
}

static enum quipu_status known_check(const struct quipu_ingest *ingest,
                                     const struct quipu_foreign *event,
                                     const struct ingest_verdict *verdict,
                                     const struct quipu_record *record, struct quipu_error *err)
{
    if (quipu_cid_equal(&record->envelope_cid, &event->cid)) {
        return stored_compare(event, record, err);
    }
    char id[QUIPU_UUID_TEXT_BYTES];
    char what[sizeof "event_id " + QUIPU_UUID_TEXT_BYTES];
    char here[QUIPU_CID_TEXT_BYTES];
    char theirs[QUIPU_CID_TEXT_BYTES];
    quipu_uuid_format(record->event_id, id);
    if (ingest_is_attested(ingest, verdict) && !is_recorded_here(ingest, record)) {
        (void)snprintf(what, sizeof what, "event_id %s", id);
        return ingest_refuse_proven(QUIPU_EVENT_ID_CONFLICT, what, event, record, err);
    }
    quipu_cid_format(&record->envelope_cid, here);
    quipu_cid_format(&event->cid, theirs);
    return quipu_error_set(err, QUIPU_EVENT_ID_CONFLICT,
                           "event_id %s is %s here, position %" PRIu64 ", and %s there", id, here,
                           record->position, theirs);
}

/* ------------------------------------------------------------------ all of it */

enum quipu_status ingest_judge(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                               bool is_signed, struct ingest_verdict *verdict,
                               struct quipu_error *err)
{
    struct quipu_envelope *envelope = &verdict->envelope;
    verdict->position = 0;
    verdict->is_proven = false;
    verdict->wait.len = 0;
    verdict->place = (struct ingest_place){0};
    enum quipu_status status = blocks_check(event, envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    verdict->is_proven = is_signed && ingest_is_own(ingest, envelope); /* the CIDs hold */
    struct quipu_record record;
    status = quipu_txn_find_event_id(ingest->txn, envelope->event_id, &record, err);
    if (status == QUIPU_OK) {
        verdict->position = record.position;
        return known_check(ingest, event, verdict, &record, err);
    }
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    return ingest_place_judge(ingest, event, verdict, err);
}

bool ingest_is_events_fault(enum quipu_status status)
{
    return status >= QUIPU_CBOR_TRUNCATED || status == QUIPU_EVENT_ID_CONFLICT ||
           status == QUIPU_FORK || status == QUIPU_GAP || status == QUIPU_UNTRUSTED ||
           status == QUIPU_FORMAT_NEWER || status == QUIPU_TOO_LARGE;
}
