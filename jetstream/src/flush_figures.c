/*
 * What the flushes of a store have come to: one row of seven integers beside the places in streams,
 * written in the transaction of the receipts, so that it costs no sync of its own. For people who
 * ask how things are (`quipu status`) on a machine that may have no network; nothing is decided by
 * it. How far the stream reached is noted along with it (receipt_stream.h).
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "flusher.h"
#include "internal/bytes.h"
#include "pull_place.h"
#include "quipu/clock.h"
#include "receipt_stream.h"

#define ROW_KEY  ".flushes" /* no stream's name */
#define FIGURES  7
#define EACH     8
#define US_PER_S 1000000

static enum quipu_status row_get(struct quipu_txn *txn, struct quipu_flush_history *out,
                                 struct quipu_error *err)
{
    struct quipu_slice value;
    struct quipu_flush_history none = {0};
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PLACES, quipu_slice_text(ROW_KEY), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        *out = none;
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len != (size_t)FIGURES * EACH) {
        return quipu_error_set(err, QUIPU_CORRUPT, "the figures of flushes: a row of %zu bytes",
                               value.len);
    }
    const uint8_t *at = value.data;
    *out = (struct quipu_flush_history){
        .last_unix_us = (int64_t)quipu_load_be64(at),
        .events_per_second = quipu_load_be64(at + EACH),
        .published = quipu_load_be64(at + 2 * EACH),
        .duplicates = quipu_load_be64(at + 3 * EACH),
        .dead = quipu_load_be64(at + 4 * EACH),
        .resent = quipu_load_be64(at + 5 * EACH),
        .reconnects = quipu_load_be64(at + 6 * EACH),
    };
    return QUIPU_OK;
}

static enum quipu_status row_put(struct quipu_txn *txn, const struct quipu_flush_history *row,
                                 struct quipu_error *err)
{
    const uint64_t figures[FIGURES] = {(uint64_t)row->last_unix_us,
                                       row->events_per_second,
                                       row->published,
                                       row->duplicates,
                                       row->dead,
                                       row->resent,
                                       row->reconnects};
    uint8_t value[FIGURES * EACH];
    for (size_t i = 0; i < FIGURES; i++) {
        quipu_store_be64(value + i * EACH, figures[i]);
    }
    return quipu_txn_table_put(txn, TABLE_PLACES, quipu_slice_text(ROW_KEY),
                               quipu_slice(value, sizeof value), err);
}

enum quipu_status quipu_flusher_figures_write(void *ctx, struct quipu_txn *txn,
                                              struct quipu_error *err)
{
    struct flusher *flusher = ctx;
    struct quipu_flush_history *history = &flusher->history;
    const struct quipu_flush_report *report = &flusher->report;
    const struct quipu_flush_report *told = &flusher->told;
    if (!flusher->has_history) {
        /* Only one flush at a time has the lock, so nobody else writes the row meanwhile. */
        enum quipu_status status = row_get(txn, history, err);
        if (status != QUIPU_OK) {
            return status;
        }
        flusher->has_history = true;
    }
    struct quipu_clock clock = quipu_clock_system();
    int64_t took_us = quipu_monotonic_us() - flusher->began_us;
    uint64_t settled = report->published + report->duplicates;
    history->last_unix_us = clock.unix_us(clock.ctx);
    history->events_per_second = took_us <= 0 ? 0 : settled * US_PER_S / (uint64_t)took_us;
    history->published += report->published - told->published;
    history->duplicates += report->duplicates - told->duplicates;
    history->dead += report->dead - told->dead;
    history->resent += report->resent - told->resent;
    history->reconnects += report->reconnects - told->reconnects;
    flusher->told = *report;
    enum quipu_status status = row_put(txn, history, err);
    return status == QUIPU_OK
               ? quipu_receipts_reach_put(txn, flusher->stream.created_unix_ns, flusher->reach, err)
               : status;
}

void quipu_flusher_figures_end(struct flusher *flusher)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error ignored;
    const struct quipu_flush_report *report = &flusher->report;
    const struct quipu_flush_report *told = &flusher->told;
    if (report->dead == told->dead && report->resent == told->resent &&
        report->reconnects == told->reconnects) {
        return; /* the others change with receipts only */
    }
    enum quipu_status status =
        quipu_txn_begin_write(quipu_engine_store(flusher->engine), &txn, &ignored);
    if (status == QUIPU_OK) {
        status = quipu_flusher_figures_write(flusher, txn, &ignored);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, &ignored);
    }
    quipu_txn_abort(&txn);
    (void)status;
}

enum quipu_status quipu_flush_history_read(struct quipu_engine *engine,
                                           struct quipu_flush_history *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    if (engine == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "the history of flushes needs an engine");
    }
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = row_get(txn, out, err);
    }
    quipu_txn_abort(&txn);
    return status;
}
