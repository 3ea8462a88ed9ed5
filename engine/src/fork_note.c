/*
 * An event was written: which places does it claim that another one claims already, and what are
 * the tips of its aggregate now.
 *
 * Who else follows an event is in no index, since nobody asks in a log without forks. It is looked
 * for once a place, along the aggregate from its end back to that event; from then on the place has
 * rows.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "forks.h"

/* The record at `*position`; then `*position` is that of the aggregate's event before it. */
static enum quipu_status step_back(struct quipu_txn *txn, uint64_t *position,
                                   struct quipu_record *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_record_at(txn, *position, out, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (out->aggregate_prev_position >= *position) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 ": its back-pointer goes forwards, to %" PRIu64,
                               *position, out->aggregate_prev_position);
    }
    *position = out->aggregate_prev_position;
    return QUIPU_OK;
}

static bool claims(const struct quipu_envelope *envelope, const struct quipu_cid *prev)
{
    return prev == NULL ? envelope->prev_count == 0 : fork_names(envelope, prev);
}

enum quipu_status fork_rival(struct quipu_txn *txn, const struct quipu_cid *prev, uint64_t from,
                             uint64_t floor, uint64_t *found, struct quipu_error *err)
{
    *found = 0;
    while (from > floor) {
        struct quipu_record record;
        struct quipu_envelope envelope;
        uint64_t at = from;
        enum quipu_status status = step_back(txn, &from, &record, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (quipu_envelope_decode(record.envelope, &envelope, err) != QUIPU_OK) {
            return quipu_error_wrap(err, QUIPU_CORRUPT, "position %" PRIu64, at);
        }
        if (claims(&envelope, prev)) {
            *found = at;
            return QUIPU_OK;
        }
    }
    return QUIPU_OK;
}

enum quipu_status fork_envelope_find(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                     const struct quipu_cid *cid, struct quipu_record *out,
                                     struct quipu_error *err)
{
    enum quipu_block_kind kind = QUIPU_BLOCK_ENVELOPE;
    enum quipu_status status = quipu_txn_find_cid(txn, cid, out, &kind, err);
    if (status != QUIPU_OK || kind == QUIPU_BLOCK_ENVELOPE) {
        return status;
    }
    /* Somebody has put a copy of an envelope into a payload. It must not hide the event. */
    struct quipu_head head;
    status = quipu_txn_head(txn, aggregate, &head, err);
    uint64_t position = status == QUIPU_OK ? head.position : 0;
    while (status == QUIPU_OK && position > 0) {
        status = step_back(txn, &position, out, err);
        if (status == QUIPU_OK && quipu_cid_equal(&out->envelope_cid, cid)) {
            return QUIPU_OK;
        }
    }
    return status == QUIPU_OK ? quipu_error_set(err, QUIPU_NOT_FOUND, "no such envelope") : status;
}

/* ------------------------------------------------------------------ places */

/* `arrival` claims the place behind `prev` (NULL: the first), and somebody else does. */
static enum quipu_status place_note(struct quipu_txn *txn, const struct fork_arrival *arrival,
                                    const struct quipu_cid *prev, struct quipu_buf *scratch,
                                    struct quipu_error *err)
{
    struct quipu_aggregate aggregate = {arrival->envelope->aggregate_type,
                                        arrival->envelope->aggregate_id};
    struct fork_place place = prev == NULL ? fork_place_first(aggregate) : fork_place_behind(prev);
    struct place_claim claim;
    struct quipu_record record;
    uint64_t floor = 0;
    uint64_t rival = 0;
    enum quipu_status status = place_neighbour(txn, &place, NULL, true, &claim, err);
    if (status == QUIPU_DONE) {
        status = prev == NULL ? QUIPU_OK : fork_envelope_find(txn, aggregate, prev, &record, err);
        if (status == QUIPU_OK) {
            floor = prev == NULL ? 0 : record.position;
            status = fork_rival(txn, prev, arrival->before.position, floor, &rival, err);
        }
        if (status == QUIPU_OK && rival == 0) {
            return quipu_error_set(err, QUIPU_CORRUPT,
                                   "aggregate %.*s/%.*s: its tips and its events do not agree; run "
                                   "`quipu verify`",
                                   QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_record_at(txn, rival, &record, err);
        }
        if (status == QUIPU_OK) {
            struct quipu_cid cid = record.envelope_cid;
            status = place_claim_add(txn, &place, &cid, rival, scratch, err);
        }
    }
    return status == QUIPU_OK
               ? place_claim_add(txn, &place, &arrival->cid, arrival->position, scratch, err)
               : status;
}

static enum quipu_status places_note(struct quipu_txn *txn, const struct fork_arrival *arrival,
                                     struct quipu_buf *scratch, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = arrival->envelope;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    if (envelope->prev_count == 0) {
        return arrival->before.position == 0 ? QUIPU_OK
                                             : place_note(txn, arrival, NULL, scratch, err);
    }
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; status == QUIPU_OK && i < envelope->prev_count; i++) {
        bool is_tip = true;
        status = tips_have(txn, aggregate, &arrival->before, &envelope->prev[i], &is_tip, err);
        if (status == QUIPU_OK && !is_tip) {
            status = place_note(txn, arrival, &envelope->prev[i], scratch, err);
        }
    }
    return status;
}

static enum quipu_status number_note(struct quipu_txn *txn, const struct fork_arrival *arrival,
                                     struct quipu_buf *scratch, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = arrival->envelope;
    struct fork_place place = fork_place_number(envelope->source, envelope->source_seq);
    struct place_claim claim;
    enum quipu_status status = place_neighbour(txn, &place, NULL, true, &claim, err);
    if (status == QUIPU_DONE) {
        struct quipu_record record;
        status = quipu_txn_record_at(txn, arrival->number_holder, &record, err);
        if (status == QUIPU_OK) {
            struct quipu_cid cid = record.envelope_cid;
            status = place_claim_add(txn, &place, &cid, arrival->number_holder, scratch, err);
        }
    }
    return status == QUIPU_OK
               ? place_claim_add(txn, &place, &arrival->cid, arrival->position, scratch, err)
               : status;
}

enum quipu_status fork_note(struct quipu_txn *txn, const struct fork_arrival *arrival,
                            struct quipu_buf *scratch, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (arrival->number_holder != 0) {
        status = number_note(txn, arrival, scratch, err);
    }
    if (status == QUIPU_OK) {
        status = places_note(txn, arrival, scratch, err);
    }
    if (status != QUIPU_OK || arrival->before.position == 0) {
        return status;
    }
    struct quipu_tip tip = {arrival->cid, arrival->position, arrival->envelope->version};
    return tips_advance(txn, arrival->envelope, &arrival->before, &tip, err);
}
