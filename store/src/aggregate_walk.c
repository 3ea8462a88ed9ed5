/*
 * Walking over the events of one aggregate, oldest first, though only back-pointers link them.
 *
 * They are followed from the head down to where the range begins, and what is met is noted: the
 * position, and where the record lies, so that it is looked up once. Where a record lies holds
 * within the transaction only; in a later one the position is looked up. Of a long aggregate only
 * the oldest events are noted, and it is gone over again for the next ones.
 *
 * Back-pointers are in no hash. Where the aggregate has no fork, versions go down by one to 1, so a
 * pointer that a disk has changed is seen; where it has one, only the check of all heads sees it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "internal.h"
#include "quipu/alloc.h"
#include "record.h"

#define NOTED_FIRST 64

struct noted {
    uint64_t position;
    struct quipu_slice value;
};

struct quipu_aggregate_walk {
    struct quipu_txn *txn;
    bool has_fork; /* of the aggregate, as its head says */
    /* Of the transaction, when the values were noted. */
    uint64_t writes;
    bool has_values;
    uint8_t key[QUIPU_HEAD_KEY_BYTES_MAX]; /* what range.aggregate points into */
    struct quipu_aggregate_range range;
    /* Newest first; a ring once it is full, so that the oldest are kept. */
    struct noted *noted;
    size_t cap;
    uint64_t met;  /* events in what is left of the range */
    uint64_t left; /* of those noted, still to be served */
};

struct chain_link {
    struct quipu_slice value;
    struct quipu_record record;
};

static enum quipu_status note(struct quipu_aggregate_walk *walk, uint64_t position,
                              struct quipu_slice value, struct quipu_error *err)
{
    size_t most = walk->txn->store->tuning.walk_events;
    if (walk->met == walk->cap && walk->cap < most) {
        size_t doubled = walk->cap == 0 ? NOTED_FIRST : walk->cap * 2;
        size_t cap = doubled < most ? doubled : most;
        struct noted *grown = quipu_realloc(walk->noted, cap, sizeof *grown);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to walk over %zu events", cap);
        }
        walk->noted = grown;
        walk->cap = cap;
    }
    walk->noted[walk->met % walk->cap] = (struct noted){position, value};
    walk->met++;
    return QUIPU_OK;
}

/* The record at `position`, which the one above it, of version `above`, points back at. Where there
 * is no fork its version is the one below, and that of the first event is 1: so no back-pointer can
 * lead past an event. */
static enum quipu_status read_link(struct quipu_aggregate_walk *walk, uint64_t position,
                                   uint64_t above, struct chain_link *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_log_value(walk->txn, position, &out->value, err);
    if (status == QUIPU_OK) {
        status = quipu_record_decode(out->value, position, &out->record, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    const struct quipu_record *record = &out->record;
    if (!quipu_aggregate_equal(record->aggregate, walk->range.aggregate)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 " is in the chain of another aggregate",
                               position);
    }
    bool is_end = record->aggregate_prev_position == 0;
    if (!walk->has_fork && (record->version + 1 != above || is_end != (record->version == 1))) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "aggregate %.*s/%.*s: version %" PRIu64 " at position %" PRIu64
                               " does not follow in its line; run `quipu verify "
                               "--repair-indexes`",
                               QUIPU_SLICE_FMT(record->aggregate.type),
                               QUIPU_SLICE_FMT(record->aggregate.id), record->version, position);
    }
    return QUIPU_OK;
}

/* Note what the range holds. */
static enum quipu_status collect(struct quipu_aggregate_walk *walk, struct quipu_error *err)
{
    const struct quipu_aggregate_range *range = &walk->range;
    struct quipu_txn *txn = walk->txn;
    struct quipu_head head = {0};
    enum quipu_status status = quipu_txn_head(txn, range->aggregate, &head, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    if (walk->range.position_max == 0) {
        walk->range.position_max = head.position;
    }
    walk->met = 0;
    walk->has_fork = head.has_fork;
    uint64_t above = head.version + 1;
    uint64_t position = head.position;
    while (position != 0 && position >= range->position_min) {
        struct chain_link link;
        status = read_link(walk, position, above, &link, err);
        if (status == QUIPU_OK && position <= range->position_max &&
            link.record.version >= range->version_min) {
            quipu_prefetch(link.value.data, link.value.len);
            status = note(walk, position, link.value, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        /* Without a fork the versions before it are smaller still. */
        bool is_end = link.record.version < range->version_min && !head.has_fork;
        above = link.record.version;
        position = is_end ? 0 : link.record.aggregate_prev_position;
    }
    /* The last step has left the range: rightly so? The head has been looked at already. */
    if (position != 0 && position != head.position) {
        struct chain_link link;
        status = read_link(walk, position, above, &link, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    walk->left = walk->met < walk->cap ? walk->met : walk->cap;
    walk->writes = txn->writes;
    walk->has_values = true;
    return QUIPU_OK;
}

enum quipu_status quipu_aggregate_walk_open(struct quipu_txn *txn,
                                            const struct quipu_aggregate_range *range,
                                            struct quipu_aggregate_walk **out,
                                            struct quipu_error *err)
{
    struct quipu_aggregate_walk *walk = quipu_alloc_zero(1, sizeof *walk);
    if (walk == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory to walk over an aggregate");
    }
    walk->txn = txn;
    walk->range = *range;
    enum quipu_status status = QUIPU_OK;
    if (quipu_head_key(range->aggregate, walk->key) != 0) {
        walk->range.aggregate.type.data = walk->key + 1;
        walk->range.aggregate.id.data = walk->key + 1 + range->aggregate.type.len;
        status = collect(walk, err);
    } /* else no event can be of it */
    if (status != QUIPU_OK) {
        quipu_aggregate_walk_close(&walk);
        return status;
    }
    *out = walk;
    return QUIPU_OK;
}

enum quipu_status quipu_aggregate_walk_next(struct quipu_aggregate_walk *walk,
                                            struct quipu_record *out, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (walk->left == 0 && walk->met > walk->cap) {
        status = collect(walk, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (walk->left == 0) {
        return QUIPU_DONE;
    }
    uint64_t kept = walk->met < walk->cap ? walk->met : walk->cap;
    uint64_t nth = walk->met - 1 - (kept - walk->left);
    const struct noted *noted = &walk->noted[nth % walk->cap];
    if (walk->has_values && walk->writes == walk->txn->writes) {
        status = quipu_record_decode(noted->value, noted->position, out, err);
    } else {
        status = quipu_txn_record_at(walk->txn, noted->position, out, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    walk->left--;
    walk->range.position_min = noted->position + 1;
    return QUIPU_OK;
}

void quipu_aggregate_walk_resume(struct quipu_aggregate_walk *walk, struct quipu_txn *txn)
{
    walk->txn = txn;
    walk->has_values = false;
}

void quipu_aggregate_walk_close(struct quipu_aggregate_walk **walk)
{
    if (walk != NULL && *walk != NULL) {
        quipu_free((*walk)->noted);
        quipu_free(*walk);
        *walk = NULL;
    }
}
