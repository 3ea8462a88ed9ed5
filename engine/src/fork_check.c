/*
 * Forks against the log, for verify: that every claim is one, that every two neighbours have their
 * evidence and nothing else has, that the tips of aggregates with open conflicts are their tips,
 * and that an event which does not follow the one before it is a branch that was recorded.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event_at.h"
#include "forks.h"

#define LINE_BYTES 400

struct fork_checking {
    struct quipu_txn *txn;
    fork_problem_fn problem;
    void *ctx;
    struct quipu_buf scratch;
};

static void finding(struct fork_checking *check, uint64_t position, const char *what)
{
    char line[LINE_BYTES];
    (void)snprintf(line, sizeof line, "forks: %s", what);
    check->problem(check->ctx, position, line);
}

/* ------------------------------------------------------------------ one event of the log */

enum quipu_status fork_is_recorded(struct quipu_txn *txn, const struct quipu_event_view *event,
                                   uint64_t before, bool *is_recorded, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct fork_place place = fork_place_first(aggregate);
    uint64_t position = 0;
    uint64_t greatest = 0;
    enum quipu_status status = QUIPU_OK;
    *is_recorded = false;
    if (envelope->prev_count == 0) {
        status = place_claim_of(txn, &place, &event->cid, &position, err);
        *is_recorded = status == QUIPU_OK && position == event->position;
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    for (size_t i = 0; i < envelope->prev_count; i++) {
        struct quipu_record record;
        struct quipu_event_view prev;
        uint64_t rival = 0;
        status = fork_envelope_find(txn, aggregate, &envelope->prev[i], &record, err);
        if (status == QUIPU_OK) {
            status = quipu_event_view_of(&record, &prev, err);
        }
        if (status == QUIPU_OK && record.position < event->position) {
            status = fork_rival(txn, &envelope->prev[i], before, record.position, &rival, err);
        }
        if (status == QUIPU_OK && rival != 0) {
            place = fork_place_behind(&envelope->prev[i]);
            status = place_claim_of(txn, &place, &event->cid, &position, err);
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
        }
        if (record.position >= event->position || !envelope_is_of(&prev.envelope, &aggregate)) {
            return QUIPU_OK;
        }
        greatest = prev.envelope.version > greatest ? prev.envelope.version : greatest;
    }
    *is_recorded = envelope->version == greatest + 1;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ places */

static bool is_claim_true(const struct fork_place *place, const struct fork_side *side)
{
    const struct quipu_envelope *envelope = &side->envelope;
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct fork_place own;
    switch ((enum place_kind)place->bytes[0]) {
    case PLACE_FIRST:
        own = fork_place_first(aggregate);
        return envelope->prev_count == 0 && memcmp(&own, place, sizeof own) == 0;
    case PLACE_NUMBER:
        own = fork_place_number(envelope->source, envelope->source_seq);
        return memcmp(&own, place, sizeof own) == 0;
    case PLACE_BEHIND:
        break;
    }
    for (size_t i = 0; i < envelope->prev_count; i++) {
        own = fork_place_behind(&envelope->prev[i]);
        if (memcmp(&own, place, sizeof own) == 0) {
            return true;
        }
    }
    return false;
}

static enum quipu_status evidence_check(struct fork_checking *check, const struct fork_place *place,
                                        const struct fork_side *low, const struct fork_side *high,
                                        uint64_t position, struct quipu_error *err)
{
    enum quipu_fork_kind kind =
        place->bytes[0] == PLACE_NUMBER ? QUIPU_FORK_SOURCE : QUIPU_FORK_AGGREGATE;
    uint8_t key[QUIPU_CID_BYTES];
    struct quipu_slice value;
    quipu_buf_reset(&check->scratch);
    enum quipu_status status = fork_evidence_write(kind, low, high, &check->scratch, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&check->scratch));
    quipu_cid_to_bytes(&cid, key);
    status =
        quipu_txn_table_get(check->txn, TABLE_FORKS, quipu_slice(key, sizeof key), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        finding(check, position, "there is no evidence of this event's conflict");
        return QUIPU_OK;
    }
    return status;
}

/* One claim, and the one before it at the same place (position 0: none). */
static enum quipu_status claim_check(struct fork_checking *check, const struct fork_place *place,
                                     const struct place_claim *claim, uint64_t before,
                                     struct quipu_error *err)
{
    struct fork_side side;
    struct fork_side low;
    enum quipu_status status = fork_side_at(check->txn, claim->position, &side, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (memcmp(side.cid.digest, claim->digest, sizeof claim->digest) != 0 ||
        !is_claim_true(place, &side)) {
        finding(check, claim->position, "the table of places names it for a place that is not its");
        return QUIPU_OK;
    }
    if (before == 0) {
        return QUIPU_OK;
    }
    status = fork_side_at(check->txn, before, &low, err);
    return status == QUIPU_OK ? evidence_check(check, place, &low, &side, claim->position, err)
                              : status;
}

static enum quipu_status places_check(struct fork_checking *check, struct quipu_error *err)
{
    uint8_t at[PLACE_KEY_BYTES] = {0};
    size_t at_len = 0;
    struct fork_place place = {{0}};
    struct place_claim claim = {.position = 0};
    uint64_t claims = 2; /* of the place that was before the first */
    for (;;) {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status = quipu_txn_table_seek(
            check->txn, TABLE_PLACES, quipu_slice(at, at_len), QUIPU_SEEK_GT, &key, &value, err);
        bool is_next = status == QUIPU_OK &&
                       (key.len != PLACE_KEY_BYTES || memcmp(key.data, &place, PLACE_BYTES) != 0);
        if ((is_next || status == QUIPU_DONE) && claims < 2) {
            finding(check, claim.position, "the table of places names it as the only one at its");
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        if (key.len != PLACE_KEY_BYTES) {
            return quipu_error_set(err, QUIPU_CORRUPT, "forks: a place with a key of %zu bytes",
                                   key.len);
        }
        uint64_t before = is_next ? 0 : claim.position;
        claims = is_next ? 1 : claims + 1;
        memcpy(at, key.data, sizeof at);
        at_len = sizeof at;
        memcpy(&place, at, sizeof place);
        memcpy(claim.digest, at + PLACE_BYTES, sizeof claim.digest);
        status = position_of_key(value, "forks: a place", &claim.position, err);
        if (status == QUIPU_OK) {
            status = claim_check(check, &place, &claim, before, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

/* ------------------------------------------------------------------ evidence */

static enum quipu_status are_neighbours(struct quipu_txn *txn, const struct fork_place *place,
                                        const struct quipu_fork *fork, bool *are,
                                        struct quipu_error *err)
{
    uint64_t position = 0;
    struct place_claim next;
    enum quipu_status status = place_claim_of(txn, place, &fork->events[0], &position, err);
    if (status == QUIPU_OK) {
        status = place_neighbour(txn, place, fork->events[0].digest, true, &next, err);
    }
    *are = *are || (status == QUIPU_OK &&
                    memcmp(next.digest, fork->events[1].digest, sizeof next.digest) == 0);
    return status == QUIPU_NOT_FOUND || status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status fork_row_check(struct fork_checking *check, struct quipu_slice key,
                                        struct quipu_slice value, struct quipu_error *err)
{
    struct quipu_fork fork;
    struct quipu_envelope envelope;
    struct quipu_error why;
    uint8_t cid[QUIPU_CID_BYTES];
    if (quipu_fork_verify(value, &fork, &why) != QUIPU_OK ||
        quipu_envelope_decode(fork.envelopes[0], &envelope, &why) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "forks: %s", why.message);
    }
    quipu_cid_to_bytes(&fork.cid, cid);
    if (!quipu_slice_equal(key, quipu_slice(cid, sizeof cid))) {
        finding(check, 0, "a piece of evidence stands under another CID than its own");
        return QUIPU_OK;
    }
    bool are = false;
    struct fork_place place = fork.kind == QUIPU_FORK_SOURCE
                                  ? fork_place_number(fork.source, fork.source_seq)
                                  : fork_place_first(fork.aggregate);
    enum quipu_status status = are_neighbours(check->txn, &place, &fork, &are, err);
    for (size_t i = 0; status == QUIPU_OK && !are && i < envelope.prev_count; i++) {
        place = fork_place_behind(&envelope.prev[i]);
        status = are_neighbours(check->txn, &place, &fork, &are, err);
    }
    if (status == QUIPU_OK && !are) {
        char line[LINE_BYTES / 2];
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(&fork.cid, text);
        (void)snprintf(line, sizeof line, "the evidence %s is of no conflict in the log", text);
        finding(check, 0, line);
    }
    return status;
}

static enum quipu_status evidence_rows_check(struct fork_checking *check, struct quipu_error *err)
{
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status =
        quipu_table_walk_open(check->txn, TABLE_FORKS, quipu_slice(NULL, 0), &walk, err);
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            status = fork_row_check(check, key, value, err);
        }
    }
    quipu_table_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ tips */

/* Claims of this place beyond the first. */
static enum quipu_status claims_beyond(struct quipu_txn *txn, const struct fork_place *place,
                                       uint64_t *count, struct quipu_error *err)
{
    struct place_claim claim;
    enum quipu_status status = place_neighbour(txn, place, NULL, true, &claim, err);
    while (status == QUIPU_OK) {
        uint8_t digest[QUIPU_SHA256_BYTES];
        memcpy(digest, claim.digest, sizeof digest);
        status = place_neighbour(txn, place, digest, true, &claim, err);
        *count += status == QUIPU_OK;
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* How many tips must the aggregate have? Its events less those that are followed, and each link
 * follows one, but for those beyond the first at their place. */
static enum quipu_status tips_expected(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                       uint64_t *expected, struct quipu_error *err)
{
    struct quipu_head head;
    uint64_t events = 0;
    uint64_t links = 0;
    uint64_t beyond = 0;
    enum quipu_status status = quipu_txn_head(txn, aggregate, &head, err);
    uint64_t position = status == QUIPU_OK ? head.position : 0;
    while (status == QUIPU_OK && position != 0) {
        struct quipu_record record;
        struct quipu_event_view view;
        status = quipu_txn_record_at(txn, position, &record, err);
        if (status == QUIPU_OK) {
            status = quipu_event_view_of(&record, &view, err);
        }
        if (status == QUIPU_OK) {
            struct fork_place place = fork_place_behind(&view.cid);
            events++;
            links += view.envelope.prev_count;
            status = claims_beyond(txn, &place, &beyond, err);
        }
        bool goes_back = status == QUIPU_OK && record.aggregate_prev_position < position;
        position = goes_back ? record.aggregate_prev_position : 0;
    }
    *expected = events + beyond - links;
    return status;
}

/* The tips of the aggregate whose first one is at `position`. `*found` of them were met. */
static enum quipu_status aggregate_tips_check(struct fork_checking *check, uint64_t position,
                                              uint64_t found, struct quipu_error *err)
{
    struct quipu_event_view view;
    uint64_t expected = 0;
    enum quipu_status status = event_view_at(check->txn, position, &view, err);
    if (status == QUIPU_OK) {
        struct quipu_aggregate aggregate = {view.envelope.aggregate_type,
                                            view.envelope.aggregate_id};
        status = tips_expected(check->txn, aggregate, &expected, err);
    }
    if (status == QUIPU_OK && (found != expected || found < 2)) {
        char line[LINE_BYTES / 2];
        (void)snprintf(line, sizeof line,
                       "its aggregate has %" PRIu64 " tips, the table of tips names %" PRIu64,
                       expected, found);
        finding(check, position, line);
    }
    return status;
}

static enum quipu_status tip_check(struct fork_checking *check, const struct quipu_tip *tip,
                                   const uint8_t *aggregate_hash, struct quipu_error *err)
{
    struct fork_side side;
    struct quipu_head head;
    uint64_t follower = 0;
    uint8_t hash[QUIPU_SHA256_BYTES];
    enum quipu_status status = fork_side_at(check->txn, tip->position, &side, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_aggregate aggregate = {side.envelope.aggregate_type, side.envelope.aggregate_id};
    tips_aggregate_hash(aggregate, hash);
    if (!quipu_cid_equal(&side.cid, &tip->cid) || side.envelope.version != tip->version ||
        memcmp(hash, aggregate_hash, sizeof hash) != 0) {
        finding(check, tip->position, "the table of tips has it under another name or version");
        return QUIPU_OK;
    }
    status = quipu_txn_head(check->txn, aggregate, &head, err);
    if (status == QUIPU_OK) {
        status = fork_rival(check->txn, &tip->cid, head.position, tip->position, &follower, err);
    }
    if (status == QUIPU_OK && follower != 0) {
        finding(check, tip->position, "the table of tips names it, but an event follows it");
    }
    return status;
}

static enum quipu_status tips_check(struct fork_checking *check, struct quipu_error *err)
{
    uint8_t at[2 * QUIPU_SHA256_BYTES] = {0};
    size_t at_len = 0;
    uint64_t first = 0; /* position of the aggregate's first tip; 0: none met yet */
    uint64_t found = 0;
    for (;;) {
        struct quipu_slice key;
        struct quipu_slice value;
        struct quipu_tip tip;
        enum quipu_status status = quipu_txn_table_seek(
            check->txn, TABLE_TIPS, quipu_slice(at, at_len), QUIPU_SEEK_GT, &key, &value, err);
        enum quipu_status seen = status;
        if (status == QUIPU_OK) {
            status = tip_read(key, value, &tip, err);
        }
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        bool is_next = seen == QUIPU_DONE || memcmp(key.data, at, QUIPU_SHA256_BYTES) != 0;
        if (is_next && first != 0) {
            enum quipu_status ended = aggregate_tips_check(check, first, found, err);
            if (ended != QUIPU_OK) {
                return ended;
            }
        }
        if (seen == QUIPU_DONE) {
            return QUIPU_OK;
        }
        first = is_next ? tip.position : first;
        found = is_next ? 1 : found + 1;
        memcpy(at, key.data, sizeof at);
        at_len = sizeof at;
        status = tip_check(check, &tip, at, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
}

enum quipu_status fork_check(struct quipu_txn *txn, fork_problem_fn problem, void *ctx,
                             struct quipu_error *err)
{
    struct fork_checking check = {.txn = txn, .problem = problem, .ctx = ctx};
    enum quipu_status status = places_check(&check, err);
    if (status == QUIPU_OK) {
        status = evidence_rows_check(&check, err);
    }
    if (status == QUIPU_OK) {
        status = tips_check(&check, err);
    }
    quipu_buf_release(&check.scratch);
    return status;
}
