/*
 * Reading events back: a record of the store as an event, and the walk over the log with a filter.
 *
 * The walk fixes its end when it begins and reads in slices (slice_budget.h): a transaction is
 * ended and begun again between events, so that a slow visitor does not make the file grow.
 * Positions never move, so nothing is missed or met twice between slices.
 *
 * An aggregate is not searched for in the log: its head and the back-pointers of the records lead
 * from event to event. Nor are the events of one type or correlation: the store has an index of
 * them.
 *
 * Both blocks of what is shown are hashed again, unless the filter says that the caller does it;
 * what the filter leaves out is neither decoded nor hashed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_at.h"
#include "event_check.h"
#include "event_checked.h"
#include "event_filter.h"
#include "forks.h"
#include "read_ahead.h"
#include "slice_budget.h"

/* ------------------------------------------------------------------ one event */

/* What the record says of the envelope's content is no part of any hash: it must agree with it. */
static bool is_of_record(const struct quipu_envelope *envelope, const struct quipu_record *record)
{
    return quipu_uuid_equal(envelope->event_id, record->event_id) &&
           quipu_cid_equal(&envelope->payload, &record->payload_cid) &&
           envelope->version == record->version && envelope_is_of(envelope, &record->aggregate) &&
           quipu_slice_equal(envelope->event_type, record->event_type) &&
           quipu_uuid_equal(envelope->correlation_id, record->correlation_id);
}

enum quipu_status quipu_event_view_of(const struct quipu_record *record,
                                      struct quipu_event_view *out, struct quipu_error *err)
{
    if (record == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "event: no record, or nowhere to put it");
    }
    enum quipu_status status = quipu_envelope_decode(record->envelope, &out->envelope, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, QUIPU_CORRUPT, "position %" PRIu64, record->position);
    }
    if (!is_of_record(&out->envelope, record)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 ": envelope and record name different events",
                               record->position);
    }
    out->position = record->position;
    out->cid = record->envelope_cid;
    out->envelope_block = record->envelope;
    out->payload = record->payload;
    return QUIPU_OK;
}

enum quipu_status event_view_at(struct quipu_txn *txn, uint64_t position,
                                struct quipu_event_view *out, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    return status == QUIPU_OK ? quipu_event_view_of(&record, out, err) : status;
}

static enum quipu_status block_verify(const struct quipu_cid *cid, struct quipu_slice block,
                                      const uint8_t digest[QUIPU_SHA256_BYTES], uint64_t position,
                                      const char *what, struct quipu_error *err)
{
    if (memcmp(cid->digest, digest, QUIPU_SHA256_BYTES) == 0) {
        return QUIPU_OK;
    }
    struct quipu_cid found = quipu_cid_of(cid->codec, block);
    char expected_text[QUIPU_CID_TEXT_BYTES];
    char found_text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, expected_text);
    quipu_cid_format(&found, found_text);
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "position %" PRIu64 ": the %s should hash to %s, but hashes to %s",
                           position, what, expected_text, found_text);
}

static enum quipu_status blocks_verify(const struct quipu_event_view *event,
                                       const struct block_digests *digests, struct quipu_error *err)
{
    enum quipu_status status = block_verify(&event->cid, event->envelope_block, digests->envelope,
                                            event->position, "envelope", err);
    if (status != QUIPU_OK) {
        return status;
    }
    return block_verify(&event->envelope.payload, event->payload, digests->payload, event->position,
                        "payload", err);
}

enum quipu_status quipu_event_view_verify(const struct quipu_event_view *event,
                                          struct quipu_error *err)
{
    /* In one call, as the processor can do more than one at a time. */
    const struct quipu_slice blocks[] = {event->envelope_block, event->payload};
    uint8_t found[2][QUIPU_SHA256_BYTES];
    struct block_digests digests;
    quipu_sha256_batch(blocks, 2, found);
    memcpy(digests.envelope, found[0], QUIPU_SHA256_BYTES);
    memcpy(digests.payload, found[1], QUIPU_SHA256_BYTES);
    return blocks_verify(event, &digests, err);
}

enum quipu_status event_view_hashed(const struct quipu_record *record,
                                    const struct block_digests *digests,
                                    struct quipu_event_view *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_event_view_of(record, out, err);
    return status == QUIPU_OK ? blocks_verify(out, digests, err) : status;
}

enum quipu_status event_view_read(const struct quipu_record *record, bool skips_hashing,
                                  struct quipu_event_view *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_event_view_of(record, out, err);
    return status == QUIPU_OK && !skips_hashing ? quipu_event_view_verify(out, err) : status;
}

enum quipu_status event_view_checked(const struct quipu_record *record,
                                     struct quipu_event_view *out, struct quipu_error *err)
{
    return event_view_read(record, false, out, err);
}

/* ------------------------------------------------------------------ what is let through */

enum quipu_status event_filter_init(struct event_filter *out, const struct quipu_filter *given,
                                    struct quipu_error *err)
{
    if ((unsigned)given->direction > QUIPU_BACKWARDS) {
        return quipu_error_set(err, QUIPU_MISUSE, "filter: no such direction: %d",
                               (int)given->direction);
    }
    if (given->aggregate_id != NULL && given->aggregate_type == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "filter: an aggregate_id needs an aggregate_type beside it");
    }
    if (given->from_version != 0 && given->aggregate_id == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "filter: a from_version needs an aggregate_id beside it");
    }
    *out = (struct event_filter){
        .aggregate = {quipu_slice_text(given->aggregate_type),
                      quipu_slice_text(given->aggregate_id)},
        .event_type = quipu_slice_text(given->event_type),
        .correlation_id = given->correlation_id,
        .from_version = given->from_version,
    };
    enum quipu_status status = event_type_wanted_check(given->event_type, err);
    return status == QUIPU_OK
               ? aggregate_wanted_check(given->aggregate_type, given->aggregate_id, err)
               : status;
}

bool event_filter_lets_through(const struct event_filter *filter, const struct quipu_record *record)
{
    const struct quipu_aggregate *wanted = &filter->aggregate;
    if (wanted->type.len > 0 && !quipu_slice_equal(wanted->type, record->aggregate.type)) {
        return false;
    }
    if (wanted->id.len > 0 && !quipu_slice_equal(wanted->id, record->aggregate.id)) {
        return false;
    }
    if (filter->event_type.len > 0 && !quipu_slice_equal(filter->event_type, record->event_type)) {
        return false;
    }
    return record->version >= filter->from_version &&
           (quipu_uuid_is_nil(filter->correlation_id) ||
            quipu_uuid_equal(filter->correlation_id, record->correlation_id));
}

/* ------------------------------------------------------------------ the walk */

struct event_walk {
    struct quipu_engine *engine;
    struct event_filter wanted;
    uint64_t first; /* positions from here… */
    uint64_t last;  /* …to here */
    uint64_t left;  /* events that may still be visited */
    bool skips_hashing;
    quipu_event_fn visit;
    void *ctx;
    struct quipu_txn *txn; /* NULL between slices */
    struct slice_budget budget;
    struct read_ahead ahead; /* of `txn` */
};

/* A transaction to read one more record in. `*is_new` may be NULL. */
static enum quipu_status walk_txn(struct event_walk *walk, bool *is_new, struct quipu_error *err)
{
    if (walk->txn != NULL && slice_budget_spend(&walk->budget)) {
        quipu_txn_abort(&walk->txn);
    }
    if (is_new != NULL) {
        *is_new = walk->txn == NULL;
    }
    if (walk->txn != NULL) {
        return QUIPU_OK;
    }
    read_ahead_drop(&walk->ahead);
    slice_budget_start(&walk->budget);
    return quipu_txn_begin_read(walk->engine->store, &walk->txn, err);
}

/* Show an event to the visitor. @retval QUIPU_DONE  no more */
static enum quipu_status walk_visit(struct event_walk *walk, const struct quipu_event_view *view,
                                    struct quipu_error *err)
{
    enum quipu_status status = walk->visit(walk->ctx, view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    walk->left--;
    return walk->left == 0 ? QUIPU_DONE : QUIPU_OK;
}

/* Show one record to the visitor if the filter lets it through. @retval QUIPU_DONE  no more */
static enum quipu_status walk_record(struct event_walk *walk, const struct quipu_record *record,
                                     struct quipu_error *err)
{
    if (!event_filter_lets_through(&walk->wanted, record)) {
        return QUIPU_OK;
    }
    struct quipu_event_view view;
    enum quipu_status status = event_view_read(record, walk->skips_hashing, &view, err);
    return status == QUIPU_OK ? walk_visit(walk, &view, err) : status;
}

static bool walk_hashes(const void *ctx, const struct quipu_record *record)
{
    const struct event_walk *walk = ctx;
    return event_filter_lets_through(&walk->wanted, record);
}

static enum quipu_status walk_log_forwards(struct event_walk *walk, struct quipu_error *err)
{
    struct read_ahead_plan plan = {.last = walk->last, .hashes = walk_hashes, .ctx = walk};
    for (uint64_t position = walk->first; position <= walk->last; position++) {
        const struct quipu_record *record = NULL;
        enum quipu_status status = walk_txn(walk, NULL, err);
        if (status == QUIPU_OK) {
            bool ends_before = walk->left - 1 < walk->last - position;
            plan.last = ends_before ? position + walk->left - 1 : walk->last;
            status = read_ahead_at(&walk->ahead, walk->txn, position, &plan, &record, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        const struct block_digests *digests = read_ahead_digests(&walk->ahead, position);
        if (digests == NULL) {
            continue; /* the filter leaves it out */
        }
        struct quipu_event_view view;
        status = event_view_hashed(record, digests, &view, err);
        status = status == QUIPU_OK ? walk_visit(walk, &view, err) : status;
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* One by one: backwards, or where nothing is hashed. */
static enum quipu_status walk_log(struct event_walk *walk, bool is_forwards,
                                  struct quipu_error *err)
{
    uint64_t count = walk->last - walk->first + 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t position = is_forwards ? walk->first + i : walk->last - i;
        struct quipu_record record;
        enum quipu_status status = walk_txn(walk, NULL, err);
        if (status == QUIPU_OK) {
            status = quipu_txn_record_at(walk->txn, position, &record, err);
        }
        if (status == QUIPU_OK) {
            status = walk_record(walk, &record, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ one aggregate */

/* The aggregate's head; a position of 0 where it has no event. */
static enum quipu_status walk_head(struct event_walk *walk, struct quipu_head *out,
                                   struct quipu_error *err)
{
    *out = (struct quipu_head){.position = 0};
    enum quipu_status status = walk_txn(walk, NULL, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_head(walk->txn, walk->wanted.aggregate, out, err);
    }
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    return status == QUIPU_OK ? tips_head_check(walk->txn, walk->wanted.aggregate, out, err)
                              : status;
}

static enum quipu_status walk_aggregate_forwards(struct event_walk *walk, struct quipu_error *err)
{
    const struct quipu_aggregate_range range = {
        .aggregate = walk->wanted.aggregate,
        .version_min = walk->wanted.from_version,
        .position_min = walk->first,
        .position_max = walk->last,
    };
    struct quipu_aggregate_walk *events = NULL;
    struct quipu_head head;
    enum quipu_status status = walk_head(walk, &head, err);
    if (status == QUIPU_OK) {
        status = quipu_aggregate_walk_open(walk->txn, &range, &events, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_record record;
        bool is_new = false;
        status = walk_txn(walk, &is_new, err);
        if (status == QUIPU_OK && is_new) {
            quipu_aggregate_walk_resume(events, walk->txn);
        }
        if (status == QUIPU_OK) {
            status = quipu_aggregate_walk_next(events, &record, err);
        }
        if (status == QUIPU_OK) {
            status = walk_record(walk, &record, err);
        }
    }
    quipu_aggregate_walk_close(&events);
    return status;
}

/* A record that the one above it, of version `above`, points back at: see aggregate_walk.c. */
static enum quipu_status link_check(const struct event_walk *walk,
                                    const struct quipu_record *record, bool has_fork,
                                    uint64_t above, struct quipu_error *err)
{
    bool is_end = record->aggregate_prev_position == 0;
    if (aggregate_equal(&record->aggregate, &walk->wanted.aggregate) &&
        (has_fork || (record->version + 1 == above && is_end == (record->version == 1)))) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "aggregate %.*s/%.*s: version %" PRIu64 " at position %" PRIu64
                           " does not follow in its line; run `quipu verify --repair-indexes`",
                           QUIPU_SLICE_FMT(walk->wanted.aggregate.type),
                           QUIPU_SLICE_FMT(walk->wanted.aggregate.id), record->version,
                           record->position);
}

static enum quipu_status walk_aggregate_backwards(struct event_walk *walk, struct quipu_error *err)
{
    struct quipu_head head;
    enum quipu_status status = walk_head(walk, &head, err);
    uint64_t position = head.position;
    uint64_t above = head.version + 1;
    bool is_inside = true;
    while (status == QUIPU_OK && position != 0 && is_inside) {
        struct quipu_record record;
        status = walk_txn(walk, NULL, err);
        if (status == QUIPU_OK) {
            status = quipu_txn_record_at(walk->txn, position, &record, err);
        }
        if (status == QUIPU_OK) {
            status = link_check(walk, &record, head.has_fork, above, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        is_inside = position >= walk->first; /* else only whether the last step was right */
        /* Without a fork the versions before it are smaller still. */
        bool is_end = record.version < walk->wanted.from_version && !head.has_fork;
        /* The store has seen to it that this is before `position`. */
        position = is_end ? 0 : record.aggregate_prev_position;
        above = record.version;
        if (is_inside && record.position <= walk->last) {
            status = walk_record(walk, &record, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ one term */

/* What the store can find this walk's events by. */
static struct quipu_term walk_term_of(const struct event_walk *walk)
{
    /* Events of one correlation are fewer than those of one type. */
    if (!quipu_uuid_is_nil(walk->wanted.correlation_id)) {
        return (struct quipu_term){QUIPU_TERM_CORRELATION,
                                   quipu_slice(walk->wanted.correlation_id.bytes,
                                               sizeof walk->wanted.correlation_id.bytes)};
    }
    return (struct quipu_term){QUIPU_TERM_EVENT_TYPE, walk->wanted.event_type};
}

static enum quipu_status walk_term(struct event_walk *walk, bool is_forwards,
                                   struct quipu_error *err)
{
    struct quipu_term term = walk_term_of(walk);
    uint64_t from = is_forwards ? walk->first : walk->last;
    enum quipu_seek seek = is_forwards ? QUIPU_SEEK_GE : QUIPU_SEEK_LE;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_record record;
        status = walk_txn(walk, NULL, err);
        if (status == QUIPU_OK) {
            status = quipu_txn_find_term(walk->txn, term, from, seek, &record, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        if (record.position < walk->first || record.position > walk->last) {
            return QUIPU_DONE;
        }
        from = record.position;
        seek = is_forwards ? QUIPU_SEEK_GT : QUIPU_SEEK_LT;
        status = walk_record(walk, &record, err);
    }
    return status;
}

/* ------------------------------------------------------------------ all of them */

/* Fix the positions between which the walk goes. @retval QUIPU_DONE  there are none */
static enum quipu_status walk_bounds(struct event_walk *walk, const struct quipu_filter *filter,
                                     struct quipu_error *err)
{
    enum quipu_status status = walk_txn(walk, NULL, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t end = quipu_txn_last_position(walk->txn);
    walk->last = filter->until != 0 && filter->until < end ? filter->until : end;
    if (filter->after >= walk->last) {
        return QUIPU_DONE;
    }
    walk->first = filter->after + 1;
    return QUIPU_OK;
}

enum quipu_status quipu_each_event(struct quipu_engine *engine, const struct quipu_filter *filter,
                                   quipu_event_fn visit, void *ctx, struct quipu_error *err)
{
    static const struct quipu_filter everything;
    if (engine == NULL || visit == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "each event: no %s",
                               engine == NULL ? "engine" : "visitor");
    }
    const struct quipu_filter *given = filter == NULL ? &everything : filter;
    struct event_walk walk = {
        .engine = engine,
        .left = given->limit == 0 ? UINT64_MAX : given->limit,
        .skips_hashing = given->skips_hashing,
        .visit = visit,
        .ctx = ctx,
    };
    bool is_forwards = given->direction == QUIPU_FORWARDS;
    enum quipu_status status = event_filter_init(&walk.wanted, given, err);
    if (status == QUIPU_OK) {
        status = walk_bounds(&walk, given, err);
    }
    if (status == QUIPU_OK && given->aggregate_id != NULL) {
        status = is_forwards ? walk_aggregate_forwards(&walk, err)
                             : walk_aggregate_backwards(&walk, err);
    } else if (status == QUIPU_OK &&
               (walk.wanted.event_type.len > 0 || !quipu_uuid_is_nil(walk.wanted.correlation_id))) {
        status = walk_term(&walk, is_forwards, err);
    } else if (status == QUIPU_OK) {
        status = is_forwards && !walk.skips_hashing ? walk_log_forwards(&walk, err)
                                                    : walk_log(&walk, is_forwards, err);
    }
    quipu_txn_abort(&walk.txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
