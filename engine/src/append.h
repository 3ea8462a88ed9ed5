/*
 * What a call of quipu_append_batch is on its way into the log.
 *
 *   append.c         checks the events, hashes the payloads, queues, answers
 *   append_plan.c    checks a call against the store and decides versions, links, duplicates
 *   append_commit.c  writes the planned events of a group and commits once
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_APPEND_H
#define QUIPU_ENGINE_APPEND_H

#include "append_queue.h"
#include "quipu/engine.h"
#include "quipu/types.h"

#define APPEND_NO_INDEX UINT32_MAX

/* One event with everything in it that is known. */
struct append_item {
    /* From the caller, checked; what the caller left open is filled in. */
    const struct quipu_event *event;
    struct quipu_slice type;
    struct quipu_aggregate aggregate;
    uint64_t schema;
    struct quipu_uuid event_id;
    struct quipu_uuid correlation_id;
    int64_t occurred_unix_us;
    struct quipu_cid payload_cid;
    /* QUIPU_TYPE or QUIPU_SECRET_REFUSED: not to be recorded. It may be recorded already, from when
     * that was allowed; what is said to a retry is decided in the plan. */
    enum quipu_status refused;

    /* From the plan. */
    bool is_duplicate;      /* `result` says where the event is already */
    uint32_t same_as;       /* an earlier item of the call is this event, or APPEND_NO_INDEX */
    uint32_t prev_item;     /* an earlier item is the aggregate's event before, or… */
    struct quipu_cid prev;  /* …this one is, where version > 1 */
    uint32_t cause_item;    /* an earlier item is the cause, or… */
    struct quipu_cid cause; /* …this one is, where has_cause */
    bool has_cause;

    struct quipu_appended result;
};

/* A call. `ticket` comes first, so that a group's tickets are its requests. */
struct append_request {
    struct append_ticket ticket;
    struct append_item *items;
    uint32_t count;
    const struct quipu_types *types; /* that the items were checked against; NULL: none */
    /* Two hash tables over the items of this call, for count > 1: by event_id, and the latest item
     * of an aggregate. A slot holds an index + 1, 0 is free. */
    uint32_t *id_slots;
    uint32_t *aggregate_slots;
    uint32_t slot_mask;
    enum quipu_status status;
    size_t failed;           /* the item that is at fault, or count */
    struct quipu_error *err; /* never NULL; also written by reads that find nothing */
};

/* Check `event` and fill in what it leaves open, but for the CID of its payload.
 * @retval as event_check; QUIPU_NO_RANDOM */
QUIPU_MUST_CHECK enum quipu_status
append_item_prepare(struct quipu_engine *engine, const struct quipu_event *event,
                    int64_t now_unix_us, struct append_item *item, struct quipu_error *err);

/* Say of each item whether it fits `types` (NULL: any does). */
void append_types_check(struct append_request *request, const struct quipu_types *types);

/* Fill in the plan of each item, looking at `txn` and at the items before it; writes nothing.
 * @retval QUIPU_VERSION_CONFLICT, QUIPU_EVENT_ID_CONFLICT, QUIPU_FORK, QUIPU_TYPE,
 * QUIPU_SECRET_REFUSED, and what reading the store gives */
QUIPU_MUST_CHECK enum quipu_status append_plan(struct quipu_txn *txn,
                                               struct append_request *request);

/* Is it this event that failed, and not the store? What the store could not read for one call, it
 * cannot read for the others either. */
static inline bool append_is_callers_own(enum quipu_status status)
{
    return status == QUIPU_VERSION_CONFLICT || status == QUIPU_EVENT_ID_CONFLICT ||
           status == QUIPU_FORK || status == QUIPU_TYPE || status == QUIPU_SECRET_REFUSED;
}

/* `record` has the item's event_id: the same event, or QUIPU_EVENT_ID_CONFLICT. */
QUIPU_MUST_CHECK enum quipu_status append_duplicate_of(struct append_item *item,
                                                       const struct quipu_record *record,
                                                       struct quipu_error *err);

/* The item has a cause: it gets a link where that is in the log; else its id alone is recorded. */
QUIPU_MUST_CHECK enum quipu_status
append_cause_find(struct quipu_txn *txn, struct append_item *item, struct quipu_error *err);

/* The line of what was found wrong with a refused item, again. @return item->refused */
QUIPU_MUST_CHECK enum quipu_status append_refuse(const struct append_item *item,
                                                 const struct quipu_types *types,
                                                 struct quipu_error *err);

/* Is the aggregate, found at this version, where the caller expects it? */
QUIPU_MUST_CHECK enum quipu_status
append_expectation_check(const struct append_item *item, uint64_t found, struct quipu_error *err);

/* append_commit_fn over an engine: one transaction for the whole group. */
void append_commit_group(void *engine, struct append_ticket *group);

/* Put "events[i]: " before the line where the call has several events. */
enum quipu_status append_failure(const struct append_request *request, size_t index,
                                 enum quipu_status status);

#endif
