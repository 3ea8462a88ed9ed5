/*
 * A reconciliation reads every message of the stream, and so learns when the server stored it,
 * which an ack does not say: noted in receipts that lack it, a few thousand in one transaction. A
 * receipt that names another message stays as it is (outbox.h).
 *
 * Specification: docs/SPEC.md §10.10.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "internal/invariant.h"
#include "quipu/alloc.h"
#include "quipu/outbox.h"
#include "reconcile.h"

enum quipu_status quipu_reconcile_times_open(struct reconcile *reconcile, struct quipu_error *err)
{
    if (!reconcile->options.notes_times) {
        return QUIPU_OK;
    }
    reconcile->times = quipu_alloc(RECONCILE_TIMES_AT, sizeof *reconcile->times);
    return reconcile->times != NULL
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %d times",
                                 RECONCILE_TIMES_AT);
}

void quipu_reconcile_times_add(struct reconcile *reconcile, uint64_t position, uint64_t sequence,
                               int64_t stored_unix_us)
{
    if (reconcile->times == NULL || stored_unix_us == 0) {
        return;
    }
    QUIPU_INVARIANT(reconcile->time_count < RECONCILE_TIMES_AT);
    reconcile->times[reconcile->time_count++] = (struct quipu_ack){
        .position = position, .sequence = sequence, .stored_unix_us = stored_unix_us};
}

enum quipu_status quipu_reconcile_times_write(struct reconcile *reconcile, bool is_final,
                                              struct quipu_error *err)
{
    uint64_t noted = 0;
    if (reconcile->time_count == 0 ||
        (!is_final && reconcile->time_count + ASK_MAX <= RECONCILE_TIMES_AT)) {
        return QUIPU_OK;
    }
    enum quipu_status status =
        quipu_outbox_note_times(reconcile->engine, quipu_slice_text(reconcile->nats->stream),
                                reconcile->times, reconcile->time_count, &noted, err);
    reconcile->time_count = 0;
    reconcile->report.times += noted;
    return status;
}
