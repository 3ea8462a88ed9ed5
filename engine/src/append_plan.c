/*
 * Deciding what a call would write, before any of it is written: which events are there already,
 * which version each of the others gets, what its prev and its cause are. So a call that fails
 * leaves no trace in the transaction that it shares with others.
 *
 * Looks at the store as the transaction sees it (with the calls before it in the same group) and at
 * the earlier events of the same call. Writes nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "append.h"
#include "event_at.h"
#include "event_check.h"
#include "event_checked.h"
#include "forks.h"
#include "internal/fnv.h"

/* ------------------------------------------------------------------ what is in this call */

static uint32_t hash_bytes(uint64_t hash, struct quipu_slice bytes)
{
    /* Collisions cost the caller who made them time, and nobody else. */
    hash = quipu_fnv(hash, bytes.data, bytes.len);
    return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t hash_id(const struct quipu_uuid *id)
{
    return hash_bytes(QUIPU_FNV_BEGIN, quipu_slice(id->bytes, sizeof id->bytes));
}

static uint32_t hash_aggregate(const struct quipu_aggregate *aggregate)
{
    uint32_t type = hash_bytes(QUIPU_FNV_BEGIN, aggregate->type);
    return hash_bytes(QUIPU_FNV_BEGIN ^ type, aggregate->id);
}

/* The slot that holds an item with this id, or the free one where it would go; NULL for a call of
 * one event, which has none before it. */
static uint32_t *id_slot(const struct append_request *request, const struct quipu_uuid *id)
{
    if (request->id_slots == NULL) {
        return NULL;
    }
    uint32_t at = hash_id(id) & request->slot_mask;
    while (request->id_slots[at] != 0 &&
           !quipu_uuid_equal(request->items[request->id_slots[at] - 1].event_id, *id)) {
        at = (at + 1) & request->slot_mask;
    }
    return &request->id_slots[at];
}

static uint32_t *aggregate_slot(const struct append_request *request,
                                const struct quipu_aggregate *aggregate)
{
    if (request->aggregate_slots == NULL) {
        return NULL;
    }
    uint32_t at = hash_aggregate(aggregate) & request->slot_mask;
    while (
        request->aggregate_slots[at] != 0 &&
        !aggregate_equal(&request->items[request->aggregate_slots[at] - 1].aggregate, aggregate)) {
        at = (at + 1) & request->slot_mask;
    }
    return &request->aggregate_slots[at];
}

static uint32_t slot_index(const uint32_t *slot)
{
    return slot == NULL || *slot == 0 ? APPEND_NO_INDEX : *slot - 1;
}

/* ------------------------------------------------------------------ duplicates */

/* What is compared to tell the same event from another one under its id. */
struct event_facts {
    struct quipu_slice type;
    struct quipu_aggregate aggregate;
    uint64_t schema;
    struct quipu_cid payload;
    struct quipu_uuid correlation_id;
    struct quipu_uuid causation_id;
    int64_t occurred_unix_us;
    struct quipu_slice meta;
};

/* What one of them says of the field that differs; long names are cut. */
#define SAID_BYTES 80

/* The first given field in which an event is not the one that has its id. */
struct difference {
    const char *field; /* NULL: there is none */
    char there[SAID_BYTES];
    char here[SAID_BYTES];
};

static void say_text(char out[SAID_BYTES], struct quipu_slice text)
{
    (void)snprintf(out, SAID_BYTES, "%.*s", QUIPU_SLICE_FMT(text));
}

static void say_aggregate(char out[SAID_BYTES], const struct quipu_aggregate *aggregate)
{
    (void)snprintf(out, SAID_BYTES, "%.*s/%.*s", QUIPU_SLICE_FMT(aggregate->type),
                   QUIPU_SLICE_FMT(aggregate->id));
}

static void say_cid(char out[SAID_BYTES], const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    (void)snprintf(out, SAID_BYTES, "%s", text);
}

static void say_uuid(char out[SAID_BYTES], struct quipu_uuid uuid)
{
    char text[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(uuid, text);
    (void)snprintf(out, SAID_BYTES, "%s", quipu_uuid_is_nil(uuid) ? "none" : text);
}

/* Of the fields that may be left open: given, and not as it is there? */
static void open_field_compare(const struct append_item *item, const struct event_facts *facts,
                               struct difference *out)
{
    const struct quipu_event *given = item->event;
    if (!quipu_uuid_is_nil(given->correlation_id) &&
        !quipu_uuid_equal(given->correlation_id, facts->correlation_id)) {
        out->field = "correlation_id";
        say_uuid(out->there, facts->correlation_id);
        say_uuid(out->here, given->correlation_id);
    } else if (!quipu_uuid_is_nil(given->causation_id) &&
               !quipu_uuid_equal(given->causation_id, facts->causation_id)) {
        out->field = "causation_id";
        say_uuid(out->there, facts->causation_id);
        say_uuid(out->here, given->causation_id);
    } else if (given->occurred_at.is_set && given->occurred_at.unix_us != facts->occurred_unix_us) {
        out->field = "occurred_at";
        (void)snprintf(out->there, SAID_BYTES, "%" PRId64 " µs", facts->occurred_unix_us);
        (void)snprintf(out->here, SAID_BYTES, "%" PRId64 " µs", given->occurred_at.unix_us);
    } else if (given->meta.len > 0 && !quipu_slice_equal(given->meta, facts->meta)) {
        struct quipu_cid there = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, facts->meta);
        struct quipu_cid here = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, given->meta);
        out->field = "meta";
        say_cid(out->there, &there);
        say_cid(out->here, &here);
        if (facts->meta.len == 0) {
            say_text(out->there, quipu_slice_text("none"));
        }
    }
}

static void first_difference(const struct append_item *item, const struct event_facts *facts,
                             struct difference *out)
{
    out->field = NULL;
    if (!quipu_slice_equal(item->type, facts->type)) {
        out->field = "event_type";
        say_text(out->there, facts->type);
        say_text(out->here, item->type);
    } else if (!aggregate_equal(&item->aggregate, &facts->aggregate)) {
        out->field = "aggregate";
        say_aggregate(out->there, &facts->aggregate);
        say_aggregate(out->here, &item->aggregate);
    } else if (!quipu_cid_equal(&item->payload_cid, &facts->payload)) {
        out->field = "payload";
        say_cid(out->there, &facts->payload);
        say_cid(out->here, &item->payload_cid);
    } else if (item->schema != facts->schema) {
        out->field = "schema";
        (void)snprintf(out->there, SAID_BYTES, "%" PRIu64, facts->schema);
        (void)snprintf(out->here, SAID_BYTES, "%" PRIu64, item->schema);
    } else {
        open_field_compare(item, facts, out);
    }
}

/* The new event has no CID to show: its envelope names its place in the log, and it gets none. */
static enum quipu_status id_conflict(const struct append_item *item,
                                     const struct difference *difference, const char *where,
                                     struct quipu_error *err)
{
    char id[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(item->event_id, id);
    return quipu_error_set(err, QUIPU_EVENT_ID_CONFLICT,
                           "event_id %s is %s with %s %s; this event has %s %s; give it an "
                           "event_id of its own",
                           id, where, difference->field, difference->there, difference->field,
                           difference->here);
}

enum quipu_status append_duplicate_of(struct append_item *item, const struct quipu_record *record,
                                      struct quipu_error *err)
{
    /* Hashed: whoever is told that it is there already may throw the good copy away. */
    struct quipu_event_view view;
    enum quipu_status status = event_view_checked(record, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct quipu_envelope *envelope = &view.envelope;
    struct event_facts facts = {
        .type = envelope->event_type,
        .aggregate = {envelope->aggregate_type, envelope->aggregate_id},
        .schema = envelope->schema,
        .payload = envelope->payload,
        .correlation_id = envelope->correlation_id,
        .causation_id = envelope->causation_id,
        .occurred_unix_us = envelope->occurred_unix_us,
        .meta = envelope->meta,
    };
    struct difference difference;
    first_difference(item, &facts, &difference);
    if (difference.field != NULL) {
        char cid[QUIPU_CID_TEXT_BYTES];
        char where[128];
        quipu_cid_format(&view.cid, cid);
        (void)snprintf(where, sizeof where, "stored already as %s, position %" PRIu64 ",", cid,
                       view.position);
        return id_conflict(item, &difference, where, err);
    }
    item->is_duplicate = true;
    item->result = (struct quipu_appended){
        .position = view.position,
        .version = envelope->version,
        .event_id = item->event_id,
        .cid = view.cid,
        .was_duplicate = true,
    };
    return QUIPU_OK;
}

static enum quipu_status duplicate_in_call(const struct append_request *request, uint32_t first,
                                           struct append_item *item)
{
    const struct append_item *other = &request->items[first];
    struct event_facts facts = {
        .type = other->type,
        .aggregate = other->aggregate,
        .schema = other->schema,
        .payload = other->payload_cid,
        .correlation_id = other->correlation_id,
        .causation_id = other->event->causation_id,
        .occurred_unix_us = other->occurred_unix_us,
        .meta = other->event->meta,
    };
    struct difference difference;
    first_difference(item, &facts, &difference);
    if (difference.field != NULL) {
        char where[64];
        (void)snprintf(where, sizeof where, "events[%" PRIu32 "] of this call", first);
        return id_conflict(item, &difference, where, request->err);
    }
    item->is_duplicate = true;
    item->same_as = first;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ versions and causes */

enum quipu_status append_expectation_check(const struct append_item *item, uint64_t found,
                                           struct quipu_error *err)
{
    const struct quipu_expected *expected = &item->event->expected;
    uint64_t wanted = 0;
    switch (expected->kind) {
    case QUIPU_EXPECT_ANY:
        return QUIPU_OK;
    case QUIPU_EXPECT_NO_STREAM:
        break;
    case QUIPU_EXPECT_EXACT:
        wanted = expected->version;
        break;
    }
    if (found == wanted) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_VERSION_CONFLICT,
                           "aggregate %.*s/%.*s: expected version %" PRIu64 "%s, found %" PRIu64
                           "; read it again and decide",
                           QUIPU_SLICE_FMT(item->aggregate.type),
                           QUIPU_SLICE_FMT(item->aggregate.id), wanted,
                           wanted == 0 ? " (no event)" : "", found);
}

static enum quipu_status version_plan(struct quipu_txn *txn, const struct append_request *request,
                                      struct append_item *item)
{
    uint64_t found = 0;
    uint32_t before = slot_index(aggregate_slot(request, &item->aggregate));
    if (before != APPEND_NO_INDEX) {
        found = request->items[before].result.version;
        item->prev_item = before;
    } else {
        struct quipu_head head;
        enum quipu_status status = quipu_txn_head(txn, item->aggregate, &head, request->err);
        if (status == QUIPU_OK) {
            found = head.version;
            item->prev = head.envelope_cid;
            status = head.has_fork ? tips_refuse_several(txn, item->aggregate, request->err)
                                   : tips_head_check(txn, item->aggregate, &head, request->err);
            if (status != QUIPU_OK) {
                return status;
            }
        } else if (status != QUIPU_NOT_FOUND) {
            return status;
        }
    }
    item->result.version = found + 1;
    return append_expectation_check(item, found, request->err);
}

/* A look that mostly finds nothing. The line that says so would take longer than the look. */
static enum quipu_status find_event(struct quipu_txn *txn, struct quipu_uuid event_id,
                                    struct quipu_record *out, struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_find_event_id(txn, event_id, out, NULL);
    if (status == QUIPU_OK || status == QUIPU_NOT_FOUND) {
        return status;
    }
    return quipu_txn_find_event_id(txn, event_id, out, err);
}

enum quipu_status append_cause_find(struct quipu_txn *txn, struct append_item *item,
                                    struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = find_event(txn, item->event->causation_id, &record, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    /* Its name goes into the new event for good, and nothing else would show that it is wrong. */
    struct quipu_cid found = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, record.envelope);
    if (!quipu_cid_equal(&found, &record.envelope_cid)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "position %" PRIu64 ", the cause of this event: the envelope does "
                               "not hash to its CID; run `quipu verify`",
                               record.position);
    }
    item->has_cause = true;
    item->cause = found;
    return QUIPU_OK;
}

static enum quipu_status cause_plan(struct quipu_txn *txn, const struct append_request *request,
                                    struct append_item *item)
{
    struct quipu_uuid cause = item->event->causation_id;
    if (quipu_uuid_is_nil(cause)) {
        return QUIPU_OK;
    }
    item->cause_item = slot_index(id_slot(request, &cause));
    if (item->cause_item != APPEND_NO_INDEX) {
        item->has_cause = true;
        return QUIPU_OK;
    }
    return append_cause_find(txn, item, request->err);
}

enum quipu_status append_refuse(const struct append_item *item, const struct quipu_types *types,
                                struct quipu_error *err)
{
    enum quipu_status again = item->refused == QUIPU_TYPE
                                  ? quipu_types_check(types, item->event, err)
                                  : event_check(item->event, err);
    return again == item->refused
               ? again
               : quipu_error_set(err, item->refused, "the event was changed during the call");
}

/* Is it there already? What is, is answered as the first time, whatever is refused today; what is
 * not, and a conflict, gets the refusal. @retval QUIPU_NOT_FOUND  it is new, and may be recorded */
static enum quipu_status duplicate_plan(struct quipu_txn *txn, struct append_request *request,
                                        const uint32_t *same_id, struct append_item *item)
{
    struct quipu_record record;
    enum quipu_status status = find_event(txn, item->event_id, &record, request->err);
    if (status == QUIPU_OK) {
        status = append_duplicate_of(item, &record, request->err);
    } else if (status == QUIPU_NOT_FOUND && slot_index(same_id) != APPEND_NO_INDEX) {
        status = duplicate_in_call(request, *same_id - 1, item);
    }
    bool is_unknown = status == QUIPU_NOT_FOUND || status == QUIPU_EVENT_ID_CONFLICT;
    return is_unknown && item->refused != QUIPU_OK
               ? append_refuse(item, request->types, request->err)
               : status;
}

static enum quipu_status item_plan(struct quipu_txn *txn, struct append_request *request,
                                   uint32_t index)
{
    struct append_item *item = &request->items[index];
    item->is_duplicate = false;
    item->has_cause = false;
    item->same_as = APPEND_NO_INDEX;
    item->prev_item = APPEND_NO_INDEX;
    item->cause_item = APPEND_NO_INDEX;

    uint32_t *same_id = id_slot(request, &item->event_id);
    enum quipu_status status = duplicate_plan(txn, request, same_id, item);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    status = version_plan(txn, request, item);
    if (status != QUIPU_OK) {
        return status;
    }
    status = cause_plan(txn, request, item);
    if (status == QUIPU_OK && same_id != NULL) {
        *same_id = index + 1;
        *aggregate_slot(request, &item->aggregate) = index + 1;
    }
    return status;
}

enum quipu_status append_plan(struct quipu_txn *txn, struct append_request *request)
{
    if (request->id_slots != NULL) {
        size_t slots = (size_t)request->slot_mask + 1;
        memset(request->id_slots, 0, slots * sizeof *request->id_slots);
        memset(request->aggregate_slots, 0, slots * sizeof *request->aggregate_slots);
    }
    for (uint32_t i = 0; i < request->count; i++) {
        enum quipu_status status = item_plan(txn, request, i);
        if (status != QUIPU_OK) {
            /* The store's own failures are no event's fault. */
            bool is_event = append_is_callers_own(status);
            request->failed = is_event ? i : request->count;
            return is_event ? append_failure(request, i, status) : status;
        }
    }
    return QUIPU_OK;
}
