/*
 * Settled events become receipts, in batches, and dead letters. Sends nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>

#include "flusher.h"
#include "internal/failpoint.h"
#include "internal/invariant.h"

/* The longest that an acknowledged event waits for its receipt. */
#define RECORD_EVERY_US ((int64_t)500 * 1000)

static void bury(struct flusher *flusher, uint64_t position, const struct flush_item *item)
{
    enum quipu_status status = quipu_outbox_bury(flusher->engine, position, item->reason,
                                                 quipu_slice_text(item->line), &flusher->trouble);
    if (status != QUIPU_OK) {
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
        return;
    }
    flusher->report.dead++;
}

void quipu_flusher_held_line(const struct quipu_envelope *envelope, uint64_t position,
                             char line[FLUSH_LINE_BYTES])
{
    (void)snprintf(line, FLUSH_LINE_BYTES,
                   "waits for position %" PRIu64 ", a dead letter of the same aggregate "
                   "%.*s/%.*s; retry that one, then this",
                   position, QUIPU_SLICE_FMT(envelope->aggregate_type),
                   QUIPU_SLICE_FMT(envelope->aggregate_id));
}

/* The window has held it behind one that was refused, which has been settled before it. */
static void bury_held(struct flusher *flusher, const struct flush_slot *slot,
                      struct flush_item *item)
{
    struct quipu_envelope envelope;
    enum quipu_status status =
        quipu_envelope_decode(quipu_buf_slice(&item->envelope), &envelope, &flusher->trouble);
    if (status != QUIPU_OK) {
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
        return;
    }
    uint64_t behind = quipu_held_behind(&flusher->held, slot->aggregate, slot->position);
    if (behind == 0) {
        return; /* no memory to note that one: the flush is ending, and this stays pending */
    }
    item->reason = QUIPU_GAP;
    quipu_flusher_held_line(&envelope, behind, item->line);
    bury(flusher, slot->position, item);
}

/* From now on what comes behind it in its aggregate is held. */
static void hold(struct flusher *flusher, const struct flush_slot *slot)
{
    enum quipu_status status =
        quipu_held_add(&flusher->held, slot->aggregate, slot->position, &flusher->trouble);
    if (status != QUIPU_OK) {
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
    }
}

static void keep_ack(struct flusher *flusher, const struct flush_slot *slot,
                     const struct flush_item *item)
{
    QUIPU_INVARIANT(flusher->ack_count < FLUSH_RECORD_AT + (size_t)flusher->window.capacity);
    struct quipu_ack *ack = &flusher->acks[flusher->ack_count++];
    ack->position = slot->position;
    ack->sequence = slot->sequence;
    ack->was_duplicate = slot->outcome == FLUSH_DUPLICATE;
    ack->stored_unix_us = item->stored_unix_us;
}

void quipu_flusher_settle(struct flusher *flusher)
{
    uint64_t ticket = 0;
    struct flush_slot slot;
    while (quipu_window_next_settled(&flusher->window, &ticket, &slot)) {
        struct flush_item *item = flusher_item(flusher, ticket);
        switch (slot.outcome) {
        case FLUSH_PUBLISHED:
            flusher->report.published++;
            keep_ack(flusher, &slot, item);
            break;
        case FLUSH_DUPLICATE:
            flusher->report.duplicates++;
            keep_ack(flusher, &slot, item);
            break;
        case FLUSH_CONFLICT:
        case FLUSH_REFUSED:
            bury(flusher, slot.position, item);
            hold(flusher, &slot);
            break;
        case FLUSH_HELD:
            bury_held(flusher, &slot, item);
            break;
        case FLUSH_UNSETTLED:
            break;
        }
        flusher->done++;
        quipu_flusher_item_done(flusher, ticket);
    }
}

void quipu_flusher_record(struct flusher *flusher, bool is_final)
{
    int64_t now = quipu_monotonic_us();
    bool is_due = flusher->ack_count >= FLUSH_RECORD_AT || is_final ||
                  now - flusher->recorded_us >= RECORD_EVERY_US;
    if (!is_due || flusher->ack_count == 0) {
        return;
    }
    struct quipu_beside_receipts figures = {quipu_flusher_figures_write, flusher};
    enum quipu_status status = quipu_failpoint("jetstream.flush.commit", &flusher->trouble);
    if (status == QUIPU_OK) {
        status = quipu_outbox_acknowledge_with(
            flusher->engine, quipu_slice_text(flusher->nats->stream), flusher->acks,
            flusher->ack_count, &figures, &flusher->trouble);
    }
    flusher->ack_count = 0;
    flusher->recorded_us = now;
    if (status != QUIPU_OK) {
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
    }
}
