/*
 * Several stores that take each other's events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "fork_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

void fork_kit_begin(struct kit *into, struct quipu_ingest **out)
{
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    char own[QUIPU_SOURCE_TEXT_BYTES];
    options.policy = QUIPU_INGEST_QUARANTINE;
    if (quipu_identity_source(into->engine, own, NULL) == QUIPU_OK) {
        options.proven_source = quipu_slice_text(own);
    }
    kit_assert_ok(into, quipu_ingest_begin_with(into->engine, &options, out, &into->err));
}

enum quipu_ingest_outcome fork_kit_take(struct kit *into, struct kit *from, uint64_t position)
{
    struct quipu_ingest *ingest = NULL;
    struct kit_foreign event;
    enum quipu_ingest_outcome outcome = QUIPU_INGEST_QUARANTINED;
    kit_foreign_copy(from, position, &event);
    fork_kit_begin(into, &ingest);
    kit_assert_ok(into, quipu_ingest_event(ingest, &event.foreign, &outcome, &into->err));
    kit_assert_ok(into, quipu_ingest_commit(&ingest, NULL, &into->err));
    kit_foreign_release(&event);
    return outcome;
}

uint64_t fork_kit_last(struct kit *kit)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(kit, quipu_txn_begin_read(kit->store, &txn, &kit->err));
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

void fork_kit_take_all(struct kit *into, struct kit *from)
{
    uint64_t last = fork_kit_last(from);
    for (uint64_t i = 1; i <= last; i++) {
        fork_kit_take(into, from, i);
    }
}

void fork_kit_copy_key(struct kit *copy, struct kit *kit)
{
    char from[4 * TEMP_DIR_BYTES];
    char to[4 * TEMP_DIR_BYTES];
    kit_assert_ok(kit, quipu_identity_ensure(kit->engine, &kit->err));
    (void)snprintf(from, sizeof from, "%s/signing.key", kit->path);
    (void)snprintf(to, sizeof to, "%s/signing.key", copy->path);
    cr_assert_eq(link(from, to), 0);
}

static void add_cid(struct quipu_buf *out, const struct quipu_cid *cid)
{
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    quipu_buf_append_text(out, text);
}

static enum quipu_status add_fork(void *ctx, const struct quipu_fork *fork, struct quipu_error *err)
{
    (void)err;
    static const char *const states[] = {" o\n", " c\n", " l\n"};
    add_cid(ctx, &fork->cid);
    quipu_buf_append_text(ctx, states[fork->state]);
    return QUIPU_OK;
}

struct quipu_buf fork_kit_forks(struct kit *kit)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    kit_assert_ok(kit, quipu_each_fork(kit->engine, add_fork, &out, &kit->err));
    quipu_buf_append_byte(&out, 0);
    return out;
}

static enum quipu_status add_event(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    (void)err;
    add_cid(ctx, &event->cid);
    quipu_buf_append_text(ctx, "\n");
    return QUIPU_OK;
}

struct quipu_buf fork_kit_order(struct kit *kit)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    kit_assert_ok(kit, quipu_each_event_causal(kit->engine, NULL, add_event, &out, &kit->err));
    quipu_buf_append_byte(&out, 0);
    return out;
}

static enum quipu_status count_tip(void *ctx, const struct quipu_tip *tip, struct quipu_error *err)
{
    (void)tip;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

uint64_t fork_kit_tips(struct kit *kit, const char *aggregate_id)
{
    struct quipu_aggregate aggregate = {quipu_slice_text("thing"), quipu_slice_text(aggregate_id)};
    uint64_t count = 0;
    kit_assert_ok(kit, quipu_each_tip(kit->engine, aggregate, count_tip, &count, &kit->err));
    return count;
}

struct quipu_merged fork_kit_merge(struct kit *kit, const char *aggregate_id, int n)
{
    struct quipu_event event = kit_event(kit, aggregate_id, n);
    struct quipu_merged merged;
    event.type = "thing.merged";
    kit_assert_ok(kit, quipu_merge(kit->engine, &event, &merged, &kit->err));
    return merged;
}
