/*
 * The outbox: a cursor below which everything is settled, and exceptions above it. An event is
 * settled when it has a receipt or a dead letter, pending otherwise; so appending writes nothing
 * here, and the number of pending events is last position - published - dead.
 *
 * Never publishes anything.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "event_checked.h"
#include "internal/failpoint.h"
#include "outbox_state.h"
#include "quipu/alloc.h"
#include "receipts.h"
#include "slice_budget.h"

/* ------------------------------------------------------------------ what is pending */

/* Move `*position` behind the receipts and dead letters that begin there; `*limit` is where the
 * next ones begin. */
static enum quipu_status skip_settled(struct quipu_txn *txn, uint64_t *position, uint64_t *limit,
                                      struct quipu_error *err)
{
    for (;;) {
        struct receipt_run run;
        enum quipu_status status = receipt_run_seek(txn, *position, QUIPU_SEEK_LE, &run, err);
        if (status == QUIPU_OK && receipt_run_covers(&run, *position)) {
            *position = run.first + run.count;
            continue;
        }
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        uint8_t storage[POSITION_KEY_BYTES];
        struct quipu_slice key;
        struct quipu_slice value;
        uint64_t dead = UINT64_MAX;
        status = quipu_txn_table_seek(txn, TABLE_DEAD_LETTERS, position_key(*position, storage),
                                      QUIPU_SEEK_GE, &key, &value, err);
        if (status == QUIPU_OK) {
            status = position_of_key(key, "dead letters", &dead, err);
        }
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        if (dead == *position) {
            ++*position;
            continue;
        }
        status = receipt_run_seek(txn, *position, QUIPU_SEEK_GT, &run, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        *limit = status == QUIPU_OK && run.first < dead ? run.first : dead;
        return QUIPU_OK;
    }
}

enum quipu_status outbox_next_stretch(struct quipu_txn *txn, uint64_t position,
                                      struct outbox_stretch *out, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    uint64_t from = position;
    uint64_t limit = UINT64_MAX;
    enum quipu_status status = skip_settled(txn, &from, &limit, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (from > last) {
        out->from = last + 1;
        return QUIPU_DONE;
    }
    out->from = from;
    out->until = limit <= last ? limit - 1 : last;
    return QUIPU_OK;
}

enum quipu_status outbox_settle(struct quipu_txn *txn, uint64_t published, int dead,
                                struct quipu_error *err)
{
    uint64_t cursor = 0;
    uint64_t published_before = 0;
    uint64_t dead_before = 0;
    enum quipu_status status = meta_get_u64(txn, META_OUTBOX_CURSOR, &cursor, err);
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_PUBLISHED, &published_before, err);
    }
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_DEAD, &dead_before, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (dead < 0 && dead_before < (uint64_t)-dead) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "outbox: counts %" PRIu64 " dead letters, but %d more are there",
                               dead_before, -dead);
    }
    struct outbox_stretch stretch;
    status = outbox_next_stretch(txn, cursor + 1, &stretch, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    if (stretch.from - 1 != cursor) {
        status = meta_put_u64(txn, META_OUTBOX_CURSOR, stretch.from - 1, err);
    } else {
        status = QUIPU_OK;
    }
    if (status == QUIPU_OK && published != 0) {
        status = meta_put_u64(txn, META_PUBLISHED, published_before + published, err);
    }
    if (status == QUIPU_OK && dead != 0) {
        uint64_t now = dead < 0 ? dead_before - (uint64_t)-dead : dead_before + (uint64_t)dead;
        status = meta_put_u64(txn, META_DEAD, now, err);
    }
    return status;
}

/* ------------------------------------------------------------------ handing out */

/* A walk over the pending events, in slices. */
struct pending_walk {
    struct quipu_engine *engine;
    quipu_event_fn visit;
    void *ctx;
    uint64_t at;   /* last position that was looked at */
    uint64_t last; /* the log's end when the walk began; 0: not begun */
    uint64_t left;
};

static enum quipu_status pending_event(struct pending_walk *walk, struct quipu_txn *txn,
                                       uint64_t position, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_event_view view;
    status = event_view_checked(&record, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = walk->visit(walk->ctx, &view, err);
    if (status == QUIPU_OK || status == QUIPU_DONE) {
        walk->at = position;
        walk->left--;
    }
    return status;
}

/* Visit what one transaction may. @retval QUIPU_DONE  the walk is over. @retval QUIPU_OK  go on */
static enum quipu_status pending_slice(struct pending_walk *walk, struct quipu_txn *txn,
                                       struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    for (;;) {
        struct outbox_stretch stretch;
        enum quipu_status status = outbox_next_stretch(txn, walk->at + 1, &stretch, err);
        if (status == QUIPU_DONE || (status == QUIPU_OK && stretch.from > walk->last)) {
            walk->at = walk->last > walk->at ? walk->last : walk->at;
            return QUIPU_DONE;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        uint64_t until = stretch.until < walk->last ? stretch.until : walk->last;
        for (uint64_t position = stretch.from; position <= until; position++) {
            if (walk->left == 0) {
                return QUIPU_DONE;
            }
            status = pending_event(walk, txn, position, err);
            if (status != QUIPU_OK || slice_budget_spend(&budget)) {
                return status;
            }
        }
    }
}

/* Where the walk begins and ends. */
static enum quipu_status pending_bounds(struct pending_walk *walk, struct quipu_txn *txn,
                                        struct quipu_error *err)
{
    uint64_t cursor = 0;
    enum quipu_status status = meta_get_u64(txn, META_OUTBOX_CURSOR, &cursor, err);
    if (status != QUIPU_OK) {
        return status;
    }
    walk->last = quipu_txn_last_position(txn);
    walk->at = walk->at > cursor ? walk->at : cursor;
    return QUIPU_OK;
}

enum quipu_status quipu_outbox_each_pending(struct quipu_engine *engine, uint64_t after,
                                            uint64_t limit, quipu_event_fn visit, void *ctx,
                                            uint64_t *next, struct quipu_error *err)
{
    struct pending_walk walk = {
        .engine = engine, .visit = visit, .ctx = ctx, .at = after, .left = limit};
    enum quipu_status status = QUIPU_OK;
    bool is_first = true;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(engine->store, &txn, err);
        if (status == QUIPU_OK && is_first) {
            status = pending_bounds(&walk, txn, err);
            is_first = false;
        }
        if (status == QUIPU_OK) {
            status = pending_slice(&walk, txn, err);
        }
        quipu_txn_abort(&txn);
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    if (next != NULL) {
        *next = walk.at;
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ receipts */

static int ack_compare(const void *a, const void *b)
{
    uint64_t left = ((const struct quipu_ack *)a)->position;
    uint64_t right = ((const struct quipu_ack *)b)->position;
    return (left > right) - (left < right);
}

static enum quipu_status acks_check(struct quipu_txn *txn, const struct quipu_ack *sorted,
                                    size_t count, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    if (sorted[0].position == 0 || sorted[count - 1].position > last) {
        uint64_t wrong = sorted[0].position == 0 ? 0 : sorted[count - 1].position;
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "ack for position %" PRIu64 ", but the log has 1 to %" PRIu64, wrong,
                               last);
    }
    return QUIPU_OK;
}

static enum quipu_status acks_write(struct receipt_writer *writer, struct quipu_slice stream,
                                    const struct quipu_ack *sorted, size_t count,
                                    struct quipu_error *err)
{
    uint64_t letters = 0;
    int dead = 0;
    enum quipu_status status = acks_check(writer->txn, sorted, count, err);
    if (status == QUIPU_OK) {
        status = meta_get_u64(writer->txn, META_DEAD, &letters, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        status = receipt_writer_add(writer, stream, &sorted[i], err);
        if (status == QUIPU_OK && letters > 0 && !writer->only_notes) {
            status = dead_letter_forget(writer->txn, sorted[i].position, &dead, err);
        }
    }
    if (status == QUIPU_OK) {
        status = receipt_writer_flush(writer, err);
    }
    if (status != QUIPU_OK || writer->only_notes) {
        return status;
    }
    return outbox_settle(writer->txn, writer->added, dead, err);
}

/* What is recorded together. */
struct recording {
    struct quipu_slice stream;
    struct quipu_ack *sorted; /* owned */
    size_t count;
    bool only_notes;
    const struct quipu_beside_receipts *beside; /* NULL: nothing */
    uint64_t noted;                             /* filled in */
};

static enum quipu_status record_into(struct recording *recording, struct quipu_txn *txn,
                                     struct quipu_error *err)
{
    struct receipt_writer writer;
    receipt_writer_init(&writer, txn);
    writer.only_notes = recording->only_notes;
    enum quipu_status status =
        acks_write(&writer, recording->stream, recording->sorted, recording->count, err);
    recording->noted = writer.noted;
    if (status == QUIPU_OK && recording->beside != NULL) {
        status = recording->beside->write(recording->beside->ctx, txn, err);
    }
    return status;
}

static enum quipu_status record(struct quipu_engine *engine, const struct quipu_ack *acks,
                                struct recording *recording, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    size_t count = recording->count;
    recording->sorted = quipu_alloc(count, sizeof *acks);
    if (recording->sorted == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for %zu acks", count);
    }
    memcpy(recording->sorted, acks, count * sizeof *acks);
    qsort(recording->sorted, count, sizeof *acks, ack_compare);

    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = record_into(recording, txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.ack.before", err);
    }
    if (status == QUIPU_OK && (!recording->only_notes || recording->noted > 0)) {
        status = quipu_txn_commit(&txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("engine.ack.after", err);
    }
    quipu_txn_abort(&txn);
    quipu_free(recording->sorted);
    return status;
}

enum quipu_status quipu_outbox_acknowledge_with(struct quipu_engine *engine,
                                                struct quipu_slice stream,
                                                const struct quipu_ack *acks, size_t count,
                                                const struct quipu_beside_receipts *beside,
                                                struct quipu_error *err)
{
    struct recording recording = {.stream = stream, .count = count, .beside = beside};
    return count == 0 ? QUIPU_OK : record(engine, acks, &recording, err);
}

enum quipu_status quipu_outbox_acknowledge(struct quipu_engine *engine, struct quipu_slice stream,
                                           const struct quipu_ack *acks, size_t count,
                                           struct quipu_error *err)
{
    return quipu_outbox_acknowledge_with(engine, stream, acks, count, NULL, err);
}

enum quipu_status quipu_outbox_note_times(struct quipu_engine *engine, struct quipu_slice stream,
                                          const struct quipu_ack *acks, size_t count,
                                          uint64_t *noted, struct quipu_error *err)
{
    struct recording recording = {.stream = stream, .count = count, .only_notes = true};
    enum quipu_status status = count == 0 ? QUIPU_OK : record(engine, acks, &recording, err);
    if (status == QUIPU_OK && noted != NULL) {
        *noted = recording.noted;
    }
    return status;
}

static enum quipu_status receipts_forget(struct quipu_txn *txn, struct quipu_error *err)
{
    enum quipu_status status = quipu_txn_table_clear(txn, TABLE_RECEIPTS, err);
    if (status == QUIPU_OK) {
        status = meta_put_u64(txn, META_PUBLISHED, 0, err);
    }
    if (status == QUIPU_OK) {
        status = meta_put_u64(txn, META_OUTBOX_CURSOR, 0, err);
    }
    /* Dead letters at the log's beginning are settled still. */
    return status == QUIPU_OK ? outbox_settle(txn, 0, 0, err) : status;
}

enum quipu_status quipu_outbox_restart(struct quipu_engine *engine, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = receipts_forget(txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ figures */

static enum quipu_status status_read(struct quipu_txn *txn, struct quipu_outbox_status *out,
                                     struct quipu_error *err)
{
    enum quipu_status status = meta_get_u64(txn, META_OUTBOX_CURSOR, &out->cursor, err);
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_PUBLISHED, &out->published, err);
    }
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_DEAD, &out->dead, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = quipu_txn_last_position(txn);
    if (out->published > last || out->dead > last - out->published) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "outbox: %" PRIu64 " published and %" PRIu64
                               " dead, but the log has %" PRIu64 " events",
                               out->published, out->dead, last);
    }
    out->pending = last - out->published - out->dead;
    return QUIPU_OK;
}

enum quipu_status quipu_outbox_status(struct quipu_engine *engine, struct quipu_outbox_status *out,
                                      struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_outbox_status figures;
    status = status_read(txn, &figures, err);
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        *out = figures;
    }
    return status;
}
