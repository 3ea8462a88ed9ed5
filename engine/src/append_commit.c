/*
 * The leader's work: one write transaction for the calls of a group.
 *
 *  1. Begin; only the leader is in here, so the store's write lock is waited for once a group.
 *  2. The event types that the store declares are looked at; where they changed since the events
 *     of a call were checked, those are checked again.
 *  3. Each call is planned by itself (append_plan.c). A call that fails there has written nothing,
 *     and the others go on.
 *  4. The planned events are encoded, hashed and written; each gets the next source_seq.
 *  5. Commit once. Then every caller has its answer.
 *
 * Where the transaction itself fails, every call of the group fails with it, also one that had a
 * conflict: what it was in conflict with may not have been written. But first it is tried again:
 *
 *  - The map of the data file was full. It is larger in the next transaction, so that one is begun
 *    at once, as often as the map grows by that.
 *  - One call may be to blame: it changes more than a transaction may hold or than there is memory
 *    for, or it needs what is damaged. Then each call has a transaction of its own and is answered
 *    by what becomes of that. In doubt about what is stored, nothing is tried again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "append.h"

#include <inttypes.h>

#include "engine_impl.h"
#include "envelope_keys.h"
#include "identity.h"
#include "internal/failpoint.h"
#include "types_stored.h"

/* What the calls of a group share. */
struct group_state {
    struct quipu_engine *engine;
    struct quipu_txn *txn;
    struct stored_types *stored; /* the registry that this transaction sees, or NULL */
    struct identity_row identity;
    bool is_again; /* these calls were in a transaction before this one */
    bool has_identity;
    bool has_written;
    bool has_found; /* duplicates are to be acknowledged */
};

static struct append_request *request_of(struct append_ticket *ticket)
{
    /* The ticket is the request's first member. */
    return (struct append_request *)ticket;
}

/* The group's failure is that of each of its calls. */
static void group_fail(struct append_ticket *group, enum quipu_status status,
                       const struct quipu_error *line)
{
    bool names_event = status == QUIPU_TOO_LARGE && group->next == NULL; /* see room_failed */
    for (struct append_ticket *ticket = group; ticket != NULL; ticket = ticket->next) {
        struct append_request *request = request_of(ticket);
        request->status = status;
        request->failed = names_event ? request->failed : request->count;
        *request->err = *line;
    }
}

static void item_to_envelope(const struct append_request *request, const struct append_item *item,
                             const struct identity_row *identity, struct quipu_envelope *out)
{
    out->event_id = item->event_id;
    out->event_type = item->type;
    out->schema = item->schema;
    out->aggregate_type = item->aggregate.type;
    out->aggregate_id = item->aggregate.id;
    out->version = item->result.version;
    out->prev_count = item->result.version == 1 ? 0 : 1;
    out->prev[0] = item->prev_item == APPEND_NO_INDEX ? item->prev
                                                      : request->items[item->prev_item].result.cid;
    out->payload = item->payload_cid;
    out->correlation_id = item->correlation_id;
    out->causation_id = item->event->causation_id;
    out->has_causation = item->has_cause;
    out->causation = item->cause_item == APPEND_NO_INDEX
                         ? item->cause
                         : request->items[item->cause_item].result.cid;
    out->occurred_unix_us = item->occurred_unix_us;
    out->source = quipu_slice_text(identity->source);
    out->source_seq = identity->last_seq;
    out->meta = item->event->meta;
    out->enc = quipu_slice(NULL, 0);
}

static enum quipu_status item_write(struct group_state *state, const struct append_request *request,
                                    struct append_item *item, struct quipu_error *err)
{
    state->identity.last_seq++;
    struct quipu_envelope envelope;
    item_to_envelope(request, item, &state->identity, &envelope);
    struct quipu_buf *block = &state->engine->envelope;
    quipu_buf_reset(block);
    enum quipu_status status = envelope_write(&envelope, block, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_record_new record = {
        .aggregate = item->aggregate,
        .version = envelope.version,
        .event_id = item->event_id,
        .envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(block)),
        .payload_cid = item->payload_cid,
        .event_type = item->type,
        .correlation_id = item->correlation_id,
        .envelope = quipu_buf_slice(block),
        .payload = item->event->payload,
    };
    status = quipu_txn_append(state->txn, &record, &item->result.position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    state->has_written = true;
    item->result.event_id = item->event_id;
    item->result.cid = record.envelope_cid;
    item->result.was_duplicate = false;
    return QUIPU_OK;
}

/* More than a transaction may hold. The store says what it would want of who has one in hand; the
 * caller of an append has the call. */
static enum quipu_status room_failed(const struct group_state *state,
                                     struct append_request *request, uint32_t index,
                                     struct quipu_error *err)
{
    uint64_t mib = quipu_txn_bytes_held(state->txn) >> 20;
    request->failed = index;
    return quipu_error_set(err, QUIPU_TOO_LARGE,
                           "events[%" PRIu32 "]: with this event the call changes %" PRIu64
                           " MiB of the store's pages, more than one commit may hold; append in "
                           "smaller calls",
                           index, mib);
}

/* Write what was planned. A failure here is the transaction's. */
static enum quipu_status request_write(struct group_state *state, struct append_request *request,
                                       struct quipu_error *err)
{
    for (uint32_t i = 0; i < request->count; i++) {
        struct append_item *item = &request->items[i];
        if (item->same_as != APPEND_NO_INDEX) {
            item->result = request->items[item->same_as].result;
            item->result.was_duplicate = true;
        }
        if (item->is_duplicate) {
            state->has_found = true;
            continue;
        }
        enum quipu_status status = QUIPU_OK;
        if (!state->has_identity) {
            status = identity_take(state->engine, state->txn, &state->identity, err);
            state->has_identity = status == QUIPU_OK;
        }
        if (status == QUIPU_OK) {
            status = item_write(state, request, item, err);
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_TOO_LARGE ? room_failed(state, request, i, err) : status;
        }
    }
    return QUIPU_OK;
}

static enum quipu_status group_write(struct group_state *state, struct append_ticket *group,
                                     struct quipu_error *err)
{
    enum quipu_status looked = types_stored_look(state->engine, state->txn, &state->stored, err);
    if (looked != QUIPU_OK) {
        return looked;
    }
    const struct quipu_types *types = types_in_force(state->engine, state->stored);
    for (struct append_ticket *ticket = group; ticket != NULL; ticket = ticket->next) {
        struct append_request *request = request_of(ticket);
        /* Was it declared otherwise meanwhile? Between two transactions another registry may have
         * come to lie at the address of the one that was seen in the first. */
        if (state->is_again || request->types != types) {
            append_types_check(request, types);
        }
        request->status = append_plan(state->txn, request);
        if (append_is_callers_own(request->status)) {
            continue;
        }
        if (request->status != QUIPU_OK) {
            *err = *request->err;
            return request->status;
        }
        enum quipu_status status = request_write(state, request, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* A commit that failed is not always one that did not happen: the disk may have taken the page that
 * counts and failed to say so. The caller learns how to find out, and to have it once in either
 * case. */
static enum quipu_status commit_failed(enum quipu_status status, struct quipu_error *err)
{
    if (!err->is_unsure) {
        return status;
    }
    struct quipu_error why = *err;
    (void)quipu_error_set(err, status,
                          "%s; not acknowledged, and it may or may not be stored: append again "
                          "with the same event_id",
                          why.message);
    err->is_unsure = true;
    return status;
}

static enum quipu_status group_commit(struct group_state *state, struct quipu_error *err)
{
    if (!state->has_written) {
        quipu_txn_abort(&state->txn);
        /* Duplicates are acknowledged as what is new is; another process may have written them
         * relaxed. */
        return state->has_found ? quipu_store_sync(state->engine->store, err) : QUIPU_OK;
    }
    enum quipu_status status = identity_row_put(state->txn, &state->identity, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.append.before_commit", err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_commit(&state->txn, err);
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.append.after_commit", err);
        err->is_unsure = err->is_unsure || status != QUIPU_OK;
    }
    return status == QUIPU_OK ? QUIPU_OK : commit_failed(status, err);
}

/* ------------------------------------------------------------------ trying */

/* These calls in one transaction. `err` is written also where it succeeds. */
static enum quipu_status group_try(struct quipu_engine *engine, struct append_ticket *group,
                                   bool is_again, struct quipu_error *err)
{
    struct group_state state = {.engine = engine, .is_again = is_again};
    err->is_unsure = false;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &state.txn, err);
    if (status == QUIPU_OK) {
        status = group_write(&state, group, err);
    }
    if (status == QUIPU_OK) {
        status = group_commit(&state, err);
    }
    quipu_txn_abort(&state.txn);
    types_stored_give_back(state.stored);
    return status;
}

/* Is the map larger than `*map_bytes`? A transaction that begins alone has made it so. */
static bool map_has_grown(const struct quipu_engine *engine, uint64_t *map_bytes)
{
    struct quipu_txn *txn = NULL;
    struct quipu_store_stat stat;
    bool has_grown = quipu_txn_begin_read(engine->store, &txn, NULL) == QUIPU_OK &&
                     quipu_txn_stat(txn, &stat, NULL) == QUIPU_OK && stat.map_bytes > *map_bytes;
    quipu_txn_abort(&txn);
    if (has_grown) {
        *map_bytes = stat.map_bytes;
    }
    return has_grown;
}

static enum quipu_status group_try_with_room(struct quipu_engine *engine,
                                             struct append_ticket *group, bool is_again,
                                             struct quipu_error *err)
{
    uint64_t map_bytes = 0;
    enum quipu_status status = group_try(engine, group, is_again, err);
    while (status == QUIPU_NO_SPACE && !err->is_unsure && map_has_grown(engine, &map_bytes)) {
        status = group_try(engine, group, true, err);
    }
    return status;
}

/* May one call be to blame, so that the others should not fail with it? */
static bool may_be_ones_fault(enum quipu_status status, const struct quipu_error *err)
{
    return status == QUIPU_TOO_LARGE || status == QUIPU_NO_MEMORY || status == QUIPU_CORRUPT ||
           (status == QUIPU_NO_SPACE && !err->is_unsure);
}

void append_commit_group(void *ctx, struct append_ticket *group)
{
    struct quipu_error err;
    enum quipu_status status = group_try_with_room(ctx, group, false, &err);
    if (status == QUIPU_OK) {
        return;
    }
    if (group->next == NULL || !may_be_ones_fault(status, &err)) {
        group_fail(group, status, &err);
        return;
    }
    while (group != NULL) {
        struct append_ticket *others = group->next;
        group->next = NULL;
        status = group_try_with_room(ctx, group, true, &err);
        if (status != QUIPU_OK) {
            group_fail(group, status, &err);
        }
        group = others;
    }
}
