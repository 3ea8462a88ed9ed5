/*
 * Joining the branches of a forked aggregate: one event whose prev are all tips. A merge is rare,
 * so it has a write transaction of its own instead of a place in the group commit; what is checked
 * of the event, and how it is told from a duplicate, is the append's.
 *
 * Specification: docs/SPEC.md §3.1, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "append.h"
#include "engine_impl.h"
#include "envelope_keys.h"
#include "forks.h"
#include "identity.h"
#include "internal/failpoint.h"
#include "types_stored.h"

struct merge {
    struct quipu_engine *engine;
    struct quipu_txn *txn;
    struct append_item item;
    struct quipu_head head;
    struct quipu_tip tips[QUIPU_ENVELOPE_PREV_MAX];
    uint64_t joined;
    uint64_t tips_before;
    struct quipu_buf scratch;
};

static enum quipu_status item_fill(struct merge *merge, const struct quipu_event *event,
                                   struct quipu_error *err)
{
    struct quipu_engine *engine = merge->engine;
    int64_t now_unix_us = engine->clock.unix_us(engine->clock.ctx);
    enum quipu_status status = append_item_prepare(engine, event, now_unix_us, &merge->item, err);
    if (status == QUIPU_OK) {
        merge->item.payload_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event->payload);
    }
    return status;
}

/* Which tips it joins, and the version that it gets. */
static enum quipu_status tips_plan(struct merge *merge, struct quipu_error *err)
{
    struct append_item *item = &merge->item;
    enum quipu_status status = quipu_txn_head(merge->txn, item->aggregate, &merge->head, err);
    if (status == QUIPU_OK) {
        status = tips_head_check(merge->txn, item->aggregate, &merge->head, err);
    }
    if (status == QUIPU_OK) {
        status = tips_list(merge->txn, item->aggregate, merge->tips, QUIPU_ENVELOPE_PREV_MAX,
                           &merge->tips_before, err);
    }
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status, "aggregate %.*s/%.*s has no event",
                               QUIPU_SLICE_FMT(item->aggregate.type),
                               QUIPU_SLICE_FMT(item->aggregate.id));
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (merge->tips_before < 2) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "aggregate %.*s/%.*s has one tip, at version %" PRIu64
                               ", and nothing to merge; append to it instead",
                               QUIPU_SLICE_FMT(item->aggregate.type),
                               QUIPU_SLICE_FMT(item->aggregate.id), merge->tips[0].version);
    }
    merge->joined =
        merge->tips_before < QUIPU_ENVELOPE_PREV_MAX ? merge->tips_before : QUIPU_ENVELOPE_PREV_MAX;
    uint64_t greatest = 0;
    for (uint64_t i = 0; i < merge->joined; i++) {
        status = tip_record_check(merge->txn, item->aggregate, &merge->tips[i], err);
        if (status != QUIPU_OK) {
            return status;
        }
        greatest = merge->tips[i].version > greatest ? merge->tips[i].version : greatest;
    }
    item->result.version = greatest + 1;
    return append_expectation_check(item, greatest, err);
}

static void envelope_fill(const struct merge *merge, const struct identity_row *identity,
                          struct quipu_envelope *out)
{
    const struct append_item *item = &merge->item;
    *out = (struct quipu_envelope){
        .event_id = item->event_id,
        .event_type = item->type,
        .schema = item->schema,
        .aggregate_type = item->aggregate.type,
        .aggregate_id = item->aggregate.id,
        .version = item->result.version,
        .prev_count = (size_t)merge->joined,
        .payload = item->payload_cid,
        .correlation_id = item->correlation_id,
        .causation_id = item->event->causation_id,
        .has_causation = item->has_cause,
        .causation = item->cause,
        .occurred_unix_us = item->occurred_unix_us,
        .source = quipu_slice_text(identity->source),
        .source_seq = identity->last_seq,
        .meta = item->event->meta,
    };
    for (size_t i = 0; i < out->prev_count; i++) {
        out->prev[i] = merge->tips[i].cid;
    }
}

static enum quipu_status event_write(struct merge *merge, struct quipu_error *err)
{
    struct append_item *item = &merge->item;
    struct quipu_buf *block = &merge->engine->envelope;
    struct identity_row identity;
    struct quipu_envelope envelope;
    enum quipu_status status = identity_take(merge->engine, merge->txn, &identity, err);
    if (status != QUIPU_OK) {
        return status;
    }
    identity.last_seq++;
    envelope_fill(merge, &identity, &envelope);
    quipu_buf_reset(block);
    status = envelope_write(&envelope, block, err);
    if (status != QUIPU_OK) {
        return status;
    }
    item->result.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(block));
    item->result.event_id = item->event_id;
    struct quipu_record_new record = {
        .aggregate = item->aggregate,
        .version = envelope.version,
        .event_id = item->event_id,
        .envelope_cid = item->result.cid,
        .payload_cid = item->payload_cid,
        .event_type = item->type,
        .correlation_id = item->correlation_id,
        .envelope = quipu_buf_slice(block),
        .payload = item->event->payload,
    };
    status = quipu_txn_append(merge->txn, &record, &item->result.position, err);
    struct fork_arrival arrival = {
        .envelope = &envelope,
        .cid = item->result.cid,
        .position = item->result.position,
        .before = merge->head,
    };
    if (status == QUIPU_OK) {
        status = fork_note(merge->txn, &arrival, &merge->scratch, err);
    }
    return status == QUIPU_OK ? identity_row_put(merge->txn, &identity, err) : status;
}

/* Does it fit what is declared, as the transaction sees it? */
static enum quipu_status types_check(struct merge *merge, struct quipu_error *err)
{
    struct stored_types *stored = NULL;
    enum quipu_status status = types_stored_look(merge->engine, merge->txn, &stored, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct quipu_types *types = types_in_force(merge->engine, stored);
    if (types != NULL) {
        status = quipu_types_check(types, merge->item.event, err);
    }
    types_stored_give_back(stored);
    return status;
}

/* @retval QUIPU_DONE  it was there already */
static enum quipu_status merge_run(struct merge *merge, struct quipu_error *err)
{
    struct append_item *item = &merge->item;
    struct quipu_record record;
    struct quipu_error why;
    enum quipu_status status = quipu_txn_begin_write(merge->engine->store, &merge->txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_find_event_id(merge->txn, item->event_id, &record, &why);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status, "%s", why.message);
    }
    if (status == QUIPU_OK) {
        status = append_duplicate_of(item, &record, err);
        if (status != QUIPU_EVENT_ID_CONFLICT || item->refused == QUIPU_OK) {
            return status == QUIPU_OK ? QUIPU_DONE : status;
        }
    }
    /* What is there already is not refused, whatever may be recorded today. */
    status = item->refused == QUIPU_OK ? types_check(merge, err) : append_refuse(item, NULL, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = tips_plan(merge, err);
    if (status == QUIPU_OK && !quipu_uuid_is_nil(item->event->causation_id)) {
        status = append_cause_find(merge->txn, item, err);
    }
    if (status == QUIPU_OK) {
        status = event_write(merge, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.merge.before_commit", err);
    }
    return status == QUIPU_OK ? quipu_txn_commit(&merge->txn, err) : status;
}

/* A duplicate joined nothing now; how many tips are there? */
static enum quipu_status duplicate_fill(struct merge *merge, struct quipu_error *err)
{
    merge->joined = 0;
    return tips_list(merge->txn, merge->item.aggregate, merge->tips, QUIPU_ENVELOPE_PREV_MAX,
                     &merge->tips_before, err);
}

enum quipu_status quipu_merge(struct quipu_engine *engine, const struct quipu_event *event,
                              struct quipu_merged *out, struct quipu_error *err)
{
    if (engine == NULL || event == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "merge: no %s",
                               engine == NULL ? "engine" : "event");
    }
    struct merge merge = {.engine = engine};
    merge.item.prev_item = APPEND_NO_INDEX;
    merge.item.cause_item = APPEND_NO_INDEX;
    merge.item.same_as = APPEND_NO_INDEX;
    /* Before any lock, as an append: see call_check in append.c. */
    enum quipu_status status = quipu_store_check_writer(engine->store, err);
    if (status == QUIPU_OK) {
        status = item_fill(&merge, event, err);
    }
    if (status == QUIPU_OK) {
        status = merge_run(&merge, err);
    }
    bool is_duplicate = status == QUIPU_DONE;
    if (is_duplicate) {
        status = duplicate_fill(&merge, err);
    }
    quipu_txn_abort(&merge.txn);
    quipu_buf_release(&merge.scratch);
    if (status == QUIPU_OK && is_duplicate) {
        /* Acknowledged as a new one is; another process may have written it relaxed. */
        status = quipu_store_sync(engine->store, err);
    }
    if (status == QUIPU_OK && out != NULL) {
        out->event = merge.item.result;
        out->tips_joined = merge.joined;
        out->tips_left =
            merge.joined == 0 ? merge.tips_before : merge.tips_before - merge.joined + 1;
    }
    return status;
}
