/*
 * Reading events back: a record of the store as an event, and the walk over the log with a filter.
 *
 * The walk fixes its end when it begins and reads in slices (slice_budget.h): a transaction is
 * ended and begun again between events, so that a slow visitor does not make the file grow.
 * Positions never move, so nothing is missed or met twice between slices.
 *
 * An aggregate is not searched for in the log: its head and the back-pointers of the records lead
 * from event to event. Forwards, the positions are collected first, at most a million at a time;
 * of a longer aggregate the oldest ones come first and the walk is done again for the next.
 *
 * Hashes nothing: quipu_event_view_verify does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "engine_impl.h"
#include "quipu/alloc.h"
#include "slice_budget.h"

#define COLLECT_FIRST 256

/* ------------------------------------------------------------------ one event */

/* What the record says of the envelope's content is no part of any hash: it must agree with it. */
static bool is_of_record(const struct quipu_envelope *envelope, const struct quipu_record *record)
{
    return quipu_uuid_equal(envelope->event_id, record->event_id) &&
           quipu_cid_equal(&envelope->payload, &record->payload_cid) &&
           envelope->version == record->version &&
           quipu_slice_equal(envelope->aggregate_type, record->aggregate.type) &&
           quipu_slice_equal(envelope->aggregate_id, record->aggregate.id) &&
           quipu_slice_equal(envelope->event_type, record->event_type) &&
           quipu_uuid_equal(envelope->correlation_id, record->correlation_id);
}

enum quipu_status quipu_event_view_of(const struct quipu_record *record,
                                      struct quipu_event_view *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_envelope_decode(record->envelope, &out->envelope, err);
    if (status != QUIPU_OK) {
        (void)quipu_error_wrap(err, status, "position %" PRIu64, record->position);
        if (err != NULL) {
            err->status = QUIPU_CORRUPT;
        }
        return QUIPU_CORRUPT;
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

static enum quipu_status block_verify(const struct quipu_cid *cid, struct quipu_slice block,
                                      uint64_t position, const char *what, struct quipu_error *err)
{
    struct quipu_cid found = quipu_cid_of(cid->codec, block);
    if (quipu_cid_equal(cid, &found)) {
        return QUIPU_OK;
    }
    char expected_text[QUIPU_CID_TEXT_BYTES];
    char found_text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, expected_text);
    quipu_cid_format(&found, found_text);
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "position %" PRIu64 ": the %s should hash to %s, but hashes to %s",
                           position, what, expected_text, found_text);
}

enum quipu_status quipu_event_view_verify(const struct quipu_event_view *event,
                                          struct quipu_error *err)
{
    enum quipu_status status =
        block_verify(&event->cid, event->envelope_block, event->position, "envelope", err);
    if (status != QUIPU_OK) {
        return status;
    }
    return block_verify(&event->envelope.payload, event->payload, event->position, "payload", err);
}

/* ------------------------------------------------------------------ the walk */

struct event_walk {
    struct quipu_engine *engine;
    struct quipu_slice aggregate_type; /* empty: any */
    struct quipu_slice aggregate_id;   /* empty: any */
    struct quipu_slice event_type;     /* empty: any */
    struct quipu_uuid correlation_id;
    uint64_t first; /* positions from here… */
    uint64_t last;  /* …to here */
    uint64_t left;  /* events that may still be visited */
    quipu_event_fn visit;
    void *ctx;
    struct quipu_txn *txn; /* NULL between slices */
    struct slice_budget budget;
};

/* A transaction to read one more record in. */
static enum quipu_status walk_txn(struct event_walk *walk, struct quipu_error *err)
{
    if (walk->txn != NULL && slice_budget_spend(&walk->budget)) {
        quipu_txn_abort(&walk->txn);
    }
    if (walk->txn != NULL) {
        return QUIPU_OK;
    }
    slice_budget_start(&walk->budget);
    return quipu_txn_begin_read(walk->engine->store, &walk->txn, err);
}

static bool walk_lets_through(const struct event_walk *walk, const struct quipu_envelope *envelope)
{
    if (walk->aggregate_type.len > 0 &&
        !quipu_slice_equal(walk->aggregate_type, envelope->aggregate_type)) {
        return false;
    }
    if (walk->aggregate_id.len > 0 &&
        !quipu_slice_equal(walk->aggregate_id, envelope->aggregate_id)) {
        return false;
    }
    if (walk->event_type.len > 0 && !quipu_slice_equal(walk->event_type, envelope->event_type)) {
        return false;
    }
    return quipu_uuid_is_nil(walk->correlation_id) ||
           quipu_uuid_equal(walk->correlation_id, envelope->correlation_id);
}

/* Show one record to the visitor if the filter lets it through. @retval QUIPU_DONE  no more */
static enum quipu_status walk_record(struct event_walk *walk, const struct quipu_record *record,
                                     struct quipu_error *err)
{
    struct quipu_event_view view;
    enum quipu_status status = quipu_event_view_of(record, &view, err);
    if (status != QUIPU_OK || !walk_lets_through(walk, &view.envelope)) {
        return status;
    }
    status = walk->visit(walk->ctx, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    walk->left--;
    return walk->left == 0 ? QUIPU_DONE : QUIPU_OK;
}

static enum quipu_status walk_position(struct event_walk *walk, uint64_t position,
                                       struct quipu_error *err)
{
    enum quipu_status status = walk_txn(walk, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record record;
    status = quipu_txn_record_at(walk->txn, position, &record, err);
    return status == QUIPU_OK ? walk_record(walk, &record, err) : status;
}

static enum quipu_status walk_log(struct event_walk *walk, bool is_forwards,
                                  struct quipu_error *err)
{
    uint64_t count = walk->last - walk->first + 1;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t position = is_forwards ? walk->first + i : walk->last - i;
        enum quipu_status status = walk_position(walk, position, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* The newest event of the aggregate at or before walk->last; 0: none. */
static enum quipu_status walk_aggregate_end(struct event_walk *walk, uint64_t *position,
                                            struct quipu_error *err)
{
    enum quipu_status status = walk_txn(walk, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_aggregate aggregate = {walk->aggregate_type, walk->aggregate_id};
    struct quipu_head head;
    status = quipu_txn_head(walk->txn, aggregate, &head, err);
    *position = status == QUIPU_OK ? head.position : 0;
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* The record at `*position`; then `*position` is that of the aggregate's event before it. */
static enum quipu_status walk_back(struct event_walk *walk, uint64_t *position,
                                   struct quipu_record *out, struct quipu_error *err)
{
    enum quipu_status status = walk_txn(walk, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record record;
    status = quipu_txn_record_at(walk->txn, *position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (record.aggregate_prev_position >= *position) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 ": its back-pointer goes forwards, to %" PRIu64,
                               *position, record.aggregate_prev_position);
    }
    *position = record.aggregate_prev_position;
    *out = record;
    return QUIPU_OK;
}

static enum quipu_status walk_aggregate_backwards(struct event_walk *walk, struct quipu_error *err)
{
    uint64_t position = 0;
    enum quipu_status status = walk_aggregate_end(walk, &position, err);
    while (status == QUIPU_OK && position >= walk->first) {
        struct quipu_record record = {0};
        status = walk_back(walk, &position, &record, err);
        if (status == QUIPU_OK && record.position <= walk->last) {
            status = walk_record(walk, &record, err);
        }
    }
    return status;
}

/* Positions of an aggregate, newest first; of more than `max` only the oldest are kept. */
struct collected {
    uint64_t *positions; /* a ring once it is full */
    size_t cap;
    size_t max;
    uint64_t count; /* of all that were met */
};

static enum quipu_status collected_add(struct collected *all, uint64_t position,
                                       struct quipu_error *err)
{
    if (all->count >= all->cap && all->cap < all->max) {
        size_t doubled = all->cap == 0 ? COLLECT_FIRST : all->cap * 2;
        size_t cap = doubled < all->max ? doubled : all->max;
        uint64_t *grown = quipu_realloc(all->positions, cap, sizeof *grown);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu positions", cap);
        }
        all->positions = grown;
        all->cap = cap;
    }
    all->positions[all->count % all->cap] = position;
    all->count++;
    return QUIPU_OK;
}

static enum quipu_status walk_collect(struct event_walk *walk, struct collected *all,
                                      struct quipu_error *err)
{
    all->count = 0;
    uint64_t position = 0;
    enum quipu_status status = walk_aggregate_end(walk, &position, err);
    while (status == QUIPU_OK && position >= walk->first) {
        struct quipu_record record = {0};
        status = walk_back(walk, &position, &record, err);
        if (status == QUIPU_OK && record.position <= walk->last) {
            status = collected_add(all, record.position, err);
        }
    }
    return status;
}

static enum quipu_status walk_aggregate_forwards(struct event_walk *walk, struct quipu_error *err)
{
    struct collected all = {.max = walk->engine->collect_max};
    enum quipu_status status;
    bool has_more = true;
    do {
        status = walk_collect(walk, &all, err);
        has_more = all.count > all.cap;
        uint64_t kept = has_more ? all.cap : all.count;
        for (uint64_t i = 1; status == QUIPU_OK && i <= kept; i++) {
            uint64_t position = all.positions[(all.count - i) % all.cap];
            status = walk_position(walk, position, err);
            walk->first = position + 1;
        }
    } while (status == QUIPU_OK && has_more);
    quipu_free(all.positions);
    return status;
}

static enum quipu_status filter_check(const struct quipu_filter *filter, struct quipu_error *err)
{
    if (filter->aggregate_id != NULL && filter->aggregate_type == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "filter: an aggregate_id needs an aggregate_type beside it");
    }
    return QUIPU_OK;
}

/* Fix the positions between which the walk goes. @retval QUIPU_DONE  there are none */
static enum quipu_status walk_bounds(struct event_walk *walk, const struct quipu_filter *filter,
                                     struct quipu_error *err)
{
    enum quipu_status status = walk_txn(walk, err);
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
    const struct quipu_filter *wanted = filter == NULL ? &everything : filter;
    enum quipu_status status = filter_check(wanted, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct event_walk walk = {
        .engine = engine,
        .aggregate_type = quipu_slice_text(wanted->aggregate_type),
        .aggregate_id = quipu_slice_text(wanted->aggregate_id),
        .event_type = quipu_slice_text(wanted->event_type),
        .correlation_id = wanted->correlation_id,
        .left = wanted->limit == 0 ? UINT64_MAX : wanted->limit,
        .visit = visit,
        .ctx = ctx,
    };
    bool is_forwards = wanted->direction == QUIPU_FORWARDS;
    status = walk_bounds(&walk, wanted, err);
    if (status == QUIPU_OK && wanted->aggregate_id != NULL) {
        status = is_forwards ? walk_aggregate_forwards(&walk, err)
                             : walk_aggregate_backwards(&walk, err);
    } else if (status == QUIPU_OK) {
        status = walk_log(&walk, is_forwards, err);
    }
    quipu_txn_abort(&walk.txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
