/*
 * Judging a foreign event: is it what it says it is, is it known, does it follow, is its number
 * free. Looks only; writes nothing.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "ingest_run.h"
#include "numbers.h"
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
                                     const struct quipu_envelope *envelope,
                                     struct quarantine_wait *wait, struct quipu_error *err)
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
        quarantine_wait_for_version(envelope->aggregate_type, envelope->aggregate_id,
                                    envelope->version - 1, wait);
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
                                   const struct quipu_envelope *envelope,
                                   struct quarantine_wait *wait, struct quipu_error *err)
{
    uint64_t last = ingest->own.last_seq;
    if (envelope->source_seq <= last) {
        return quipu_error_set(err, QUIPU_FORK,
                               "source %s, which is this store's, has another event under number "
                               "%" PRIu64 ": the same signing key is in use twice",
                               ingest->own.source, envelope->source_seq);
    }
    if (envelope->source_seq > last + 1) {
        quarantine_wait_for_number(envelope->source, envelope->source_seq - 1, wait);
        return quipu_error_set(err, QUIPU_GAP,
                               "number %" PRIu64 " of this store's own source comes back, but its "
                               "last one here is %" PRIu64 ": bring the ones between in first",
                               envelope->source_seq, last);
    }
    return QUIPU_OK;
}

bool ingest_is_own(const struct quipu_ingest *ingest, const struct quipu_envelope *envelope)
{
    return ingest->has_own &&
           quipu_slice_equal(envelope->source, quipu_slice_text(ingest->own.source));
}

/* ------------------------------------------------------------------ 4: is its number free */

static enum quipu_status number_is_held(const struct quipu_record *holder,
                                        const struct quipu_foreign *event,
                                        const struct quipu_envelope *envelope,
                                        struct quipu_error *err)
{
    char here[QUIPU_CID_TEXT_BYTES];
    char theirs[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&holder->envelope_cid, here);
    quipu_cid_format(&event->cid, theirs);
    return quipu_error_set(err, QUIPU_FORK,
                           "number %" PRIu64 " of source %.*s is %s here, position %" PRIu64
                           ", and %s there: its signing key is in use twice",
                           envelope->source_seq, QUIPU_SLICE_FMT(envelope->source), here,
                           holder->position, theirs);
}

/* Foreign numbers have rows; what this store recorded itself under an identity that it no longer
 * has, has none, but there every number up to the last one is given. */
static enum quipu_status number_check(const struct quipu_ingest *ingest,
                                      const struct quipu_foreign *event,
                                      const struct quipu_envelope *envelope,
                                      struct quipu_error *err)
{
    uint64_t position = 0;
    enum quipu_status status =
        numbers_get(ingest->txn, envelope->source, envelope->source_seq, &position, err);
    struct quipu_record holder;
    if (status == QUIPU_OK) {
        status = quipu_txn_record_at(ingest->txn, position, &holder, err);
        return status == QUIPU_OK ? number_is_held(&holder, event, envelope, err) : status;
    }
    uint64_t last = 0;
    if (status == QUIPU_NOT_FOUND && !ingest_is_own(ingest, envelope)) {
        status = identity_last_given(ingest->txn, envelope->source, &last, err);
    }
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    if (envelope->source_seq <= last) {
        return quipu_error_set(err, QUIPU_FORK,
                               "source %.*s, which was this store's, has another event under "
                               "number %" PRIu64 ": its signing key is in use elsewhere",
                               QUIPU_SLICE_FMT(envelope->source), envelope->source_seq);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ all of it */

enum quipu_status ingest_judge(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                               struct ingest_verdict *verdict, struct quipu_error *err)
{
    struct quipu_envelope *envelope = &verdict->envelope;
    verdict->position = 0;
    verdict->wait.is_set = false;
    enum quipu_status status = blocks_check(event, envelope, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record record;
    status = quipu_txn_find_event_id(ingest->txn, envelope->event_id, &record, err);
    if (status == QUIPU_OK) {
        verdict->position = record.position;
        return known_check(event, &record, err);
    }
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    status = chain_check(ingest, envelope, &verdict->wait, err);
    if (status == QUIPU_OK && ingest_is_own(ingest, envelope)) {
        status = own_check(ingest, envelope, &verdict->wait, err);
    }
    return status == QUIPU_OK ? number_check(ingest, event, envelope, err) : status;
}

bool ingest_is_events_fault(enum quipu_status status)
{
    return status >= QUIPU_CBOR_TRUNCATED || status == QUIPU_EVENT_ID_CONFLICT ||
           status == QUIPU_FORK || status == QUIPU_GAP || status == QUIPU_FORMAT_NEWER ||
           status == QUIPU_TOO_LARGE;
}
