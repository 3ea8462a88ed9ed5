/*
 * Where a new foreign event belongs: is every event here that it follows, is its version right,
 * does another event follow the same one (a fork), is its number free in its source; and is one
 * that claims this store's own source proven to be its own. Looks only; writes nothing.
 *
 * Nearly every event follows its aggregate's head, and that takes one look-up. All others are
 * looked up by the CIDs that they name, so it does not matter in which order branches arrive.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "event_at.h"
#include "forks.h"
#include "ingest_run.h"
#include "numbers.h"

#define NUMBER_BYTES (sizeof "number 18446744073709551615 of source " + QUIPU_SOURCE_TEXT_BYTES)

/* ------------------------------------------------------------------ what it follows */

static enum quipu_status place_conflict(enum quipu_status status,
                                        const struct quipu_envelope *envelope, const char *why,
                                        struct quipu_error *err)
{
    return quipu_error_set(err, status, "aggregate %.*s/%.*s: version %" PRIu64 " %s",
                           QUIPU_SLICE_FMT(envelope->aggregate_type),
                           QUIPU_SLICE_FMT(envelope->aggregate_id), envelope->version, why);
}

static enum quipu_status prev_is_missing(const struct quipu_envelope *envelope,
                                         const struct quipu_cid *prev, struct quarantine_wait *wait,
                                         struct quipu_error *err)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(prev, text);
    quarantine_wait_for_event(prev, wait);
    return quipu_error_set(err, QUIPU_GAP,
                           "aggregate %.*s/%.*s: version %" PRIu64 " %s %s, which is not here; "
                           "bring that in first",
                           QUIPU_SLICE_FMT(envelope->aggregate_type),
                           QUIPU_SLICE_FMT(envelope->aggregate_id), envelope->version,
                           envelope->prev_count > 1 ? "merges" : "follows", text);
}

/* One event that it names: here, of the same aggregate? */
static enum quipu_status prev_find(const struct quipu_ingest *ingest,
                                   struct ingest_verdict *verdict, const struct quipu_cid *prev,
                                   uint64_t *version, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &verdict->envelope;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct quipu_record record;
    struct quipu_event_view view;
    enum quipu_status status = fork_envelope_find(ingest->txn, aggregate, prev, &record, err);
    if (status == QUIPU_NOT_FOUND) {
        return prev_is_missing(envelope, prev, &verdict->wait, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &view, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (!envelope_is_of(&view.envelope, &aggregate)) {
        return place_conflict(QUIPU_ENVELOPE, envelope, "follows an event of another aggregate",
                              err);
    }
    *version = view.envelope.version;
    return QUIPU_OK;
}

static enum quipu_status prevs_judge(const struct quipu_ingest *ingest,
                                     struct ingest_verdict *verdict, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &verdict->envelope;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    uint64_t greatest = 0;
    for (size_t i = 0; i < envelope->prev_count; i++) {
        uint64_t version = 0;
        bool is_tip = false;
        enum quipu_status status = prev_find(ingest, verdict, &envelope->prev[i], &version, err);
        if (status == QUIPU_OK) {
            status = tips_have(ingest->txn, aggregate, &verdict->place.head, &envelope->prev[i],
                               &is_tip, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        greatest = version > greatest ? version : greatest;
        verdict->place.is_fork = verdict->place.is_fork || !is_tip;
    }
    if (envelope->version != greatest + 1) {
        return place_conflict(QUIPU_ENVELOPE, envelope,
                              "does not follow the greatest version that it names", err);
    }
    return QUIPU_OK;
}

static enum quipu_status chain_judge(const struct quipu_ingest *ingest,
                                     struct ingest_verdict *verdict, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &verdict->envelope;
    struct ingest_place *place = &verdict->place;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct quipu_head head = {0};
    enum quipu_status status = quipu_txn_head(ingest->txn, aggregate, &head, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    status = tips_head_check(ingest->txn, aggregate, &head, err);
    if (status != QUIPU_OK) {
        return status;
    }
    place->head = head;
    bool follows_head = envelope->prev_count == 1 && head.position != 0 &&
                        envelope->version == head.version + 1 &&
                        quipu_cid_equal(&envelope->prev[0], &head.envelope_cid);
    if (follows_head) {
        return QUIPU_OK;
    }
    if (envelope->prev_count > 0) {
        status = prevs_judge(ingest, verdict, err);
    } else {
        place->is_fork = head.position != 0;
        status = QUIPU_OK;
    }
    if (status != QUIPU_OK || !place->is_fork || ingest->keeps_forks) {
        return status;
    }
    return place_conflict(QUIPU_FORK, envelope,
                          envelope->prev_count == 0
                              ? "comes in, but another event is the first one here"
                              : "comes in, but it follows another event than the last one here",
                          err);
}

/* ------------------------------------------------------------------ its number */

bool ingest_is_own(const struct quipu_ingest *ingest, const struct quipu_envelope *envelope)
{
    return ingest->has_own &&
           quipu_slice_equal(envelope->source, quipu_slice_text(ingest->own.source));
}

static enum quipu_status number_is_held(const struct quipu_ingest *ingest,
                                        const struct ingest_verdict *verdict,
                                        const struct quipu_record *holder,
                                        const struct quipu_foreign *event, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &verdict->envelope;
    char what[NUMBER_BYTES];
    char here[QUIPU_CID_TEXT_BYTES];
    char theirs[QUIPU_CID_TEXT_BYTES];
    if (ingest_is_attested(ingest, verdict)) {
        (void)snprintf(what, sizeof what, "number %" PRIu64 " of source %.*s", envelope->source_seq,
                       QUIPU_SLICE_FMT(envelope->source));
        return ingest_refuse_proven(QUIPU_FORK, what, event, holder, err);
    }
    quipu_cid_format(&holder->envelope_cid, here);
    quipu_cid_format(&event->cid, theirs);
    return quipu_error_set(err, QUIPU_FORK,
                           "number %" PRIu64 " of source %.*s is %s here, position %" PRIu64
                           ", and %s there: its signing key is in use twice, or "
                           "somebody else wrote one of them",
                           envelope->source_seq, QUIPU_SLICE_FMT(envelope->source), here,
                           holder->position, theirs);
}

/* Who has its number. Numbers that came from elsewhere have rows; those that this store recorded
 * itself, under its identity or a lost one, are in the order of the log. */
static enum quipu_status number_find(const struct quipu_ingest *ingest,
                                     const struct quipu_envelope *envelope, uint64_t *position,
                                     struct quipu_error *err)
{
    enum quipu_status status =
        numbers_get(ingest->txn, envelope->source, envelope->source_seq, position, err);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    uint64_t last = ingest->own.last_seq;
    status = QUIPU_OK;
    if (!ingest_is_own(ingest, envelope)) {
        status = identity_last_given(ingest->txn, envelope->source, &last, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (envelope->source_seq > last) {
        *position = 0;
        return QUIPU_OK;
    }
    return numbers_find_recorded(ingest->txn, envelope->source, envelope->source_seq, position,
                                 err);
}

/* What comes in is here, but a look-up of its event_id says that it is not. */
static enum quipu_status index_is_damaged(const struct quipu_foreign *event,
                                          const struct quipu_envelope *envelope, uint64_t position,
                                          struct quipu_error *err)
{
    char id[QUIPU_UUID_TEXT_BYTES];
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_uuid_format(envelope->event_id, id);
    quipu_cid_format(&event->cid, cid);
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "event_id %s, %s, comes in and stands here already, position %" PRIu64
                           ", but the index of event_ids does not know it; run `quipu verify "
                           "--repair-indexes`",
                           id, cid, position);
}

/* Anybody can write an envelope that names this store as its source: it carries no signature. Taken
 * in, it would stand here as this store's own, and the store would number on behind it. */
static enum quipu_status own_is_unproven(const struct quipu_ingest *ingest,
                                         const struct quipu_foreign *event,
                                         const struct quipu_envelope *envelope,
                                         struct quipu_error *err)
{
    bool is_given = envelope->source_seq <= ingest->own.last_seq;
    if (is_given) {
        struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
        struct quipu_record record;
        enum quipu_status status =
            fork_envelope_find(ingest->txn, aggregate, &event->cid, &record, err);
        if (status != QUIPU_NOT_FOUND) {
            return status == QUIPU_OK ? index_is_damaged(event, envelope, record.position, err)
                                      : status;
        }
    }
    return quipu_error_set(err, QUIPU_UNTRUSTED,
                           "number %" PRIu64 " of this store's own source %.*s comes in, but %s, "
                           "and nothing proves that its key signed for this one; bring the bundle "
                           "that this store itself signed",
                           envelope->source_seq, QUIPU_SLICE_FMT(envelope->source),
                           is_given ? "that number is another event here" : "it is not here");
}

static enum quipu_status own_is_ahead(const struct quipu_ingest *ingest,
                                      const struct quipu_envelope *envelope,
                                      struct quarantine_wait *wait, struct quipu_error *err)
{
    quarantine_wait_for_number(envelope->source, envelope->source_seq - 1, wait);
    return quipu_error_set(err, QUIPU_GAP,
                           "number %" PRIu64 " of this store's own source comes back, but its "
                           "last one here is %" PRIu64 "; bring the ones between in first",
                           envelope->source_seq, ingest->own.last_seq);
}

/* An event of our own that we do not have: this store lost its tail, or the key is used twice. */
static enum quipu_status own_judge(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                   struct ingest_verdict *verdict, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &verdict->envelope;
    if (!ingest_is_own(ingest, envelope)) {
        return QUIPU_OK;
    }
    if (!verdict->is_proven) {
        return own_is_unproven(ingest, event, envelope, err);
    }
    if (!ingest->has_own_checked) {
        struct identity_looked nothing = {.position = 0};
        enum quipu_status status = identity_count_check(ingest->txn, &nothing, &ingest->own, err);
        if (status != QUIPU_OK) {
            return status;
        }
        ingest->has_own_checked = true;
    }
    if (envelope->source_seq > ingest->own.last_seq + 1) {
        return own_is_ahead(ingest, envelope, &verdict->wait, err);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ is it here all the same */

/* Of an event that the index of event_ids does not know, whose number is that of the one at
 * `holder` (0: of none): taken in, it would stand here twice, if that index is damaged. */
static enum quipu_status absence_check(const struct quipu_ingest *ingest,
                                       const struct quipu_foreign *event,
                                       const struct quipu_envelope *envelope, uint64_t holder,
                                       struct quipu_error *err)
{
    struct quipu_record record;
    uint64_t position = 0;
    if (holder == 0) {
        return QUIPU_OK; /* each event is the first with its number, or is noted beside that */
    }
    enum quipu_status status = quipu_txn_record_at(ingest->txn, holder, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (quipu_cid_equal(&record.envelope_cid, &event->cid)) {
        return index_is_damaged(event, envelope, holder, err);
    }
    struct fork_place place = fork_place_number(envelope->source, envelope->source_seq);
    status = place_claim_of(ingest->txn, &place, &event->cid, &position, err);
    if (status == QUIPU_OK) {
        return index_is_damaged(event, envelope, position, err);
    }
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

static enum quipu_status number_judge(const struct quipu_ingest *ingest,
                                      const struct quipu_foreign *event,
                                      struct ingest_verdict *verdict, uint64_t holder,
                                      struct quipu_error *err)
{
    struct quipu_record record;
    if (holder == 0) {
        return QUIPU_OK;
    }
    if (ingest->keeps_forks) {
        verdict->place.number_holder = holder;
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_txn_record_at(ingest->txn, holder, &record, err);
    return status == QUIPU_OK ? number_is_held(ingest, verdict, &record, event, err) : status;
}

enum quipu_status ingest_place_judge(struct quipu_ingest *ingest, const struct quipu_foreign *event,
                                     struct ingest_verdict *verdict, struct quipu_error *err)
{
    uint64_t holder = 0;
    enum quipu_status status = own_judge(ingest, event, verdict, err);
    if (status == QUIPU_OK) {
        status = number_find(ingest, &verdict->envelope, &holder, err);
    }
    if (status == QUIPU_OK) {
        status = absence_check(ingest, event, &verdict->envelope, holder, err);
    }
    if (status == QUIPU_OK) {
        status = chain_judge(ingest, verdict, err);
    }
    return status == QUIPU_OK ? number_judge(ingest, event, verdict, holder, err) : status;
}
