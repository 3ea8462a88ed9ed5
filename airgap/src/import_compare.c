/*
 * What of a checked bundle is new, known, or contradicts the store, by type and by aggregate. Looks
 * only, in read transactions of some thousand events each, so that no snapshot pins old pages for
 * long.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "import.h"
#include "quipu/alloc.h"
#include "quipu/envelope.h"
#include "tally.h"

#define SNAPSHOT_EVENTS 4096u

enum finding { FOUND_NEW, FOUND_KNOWN, FOUND_CONFLICT, FINDINGS };

struct row {
    struct quipu_slice name; /* owned */
    uint64_t counts[FINDINGS];
};

/* In the order of names; what does not fit is counted in `others`. */
struct rows {
    struct row *items;
    size_t count;
    size_t cap;
    uint64_t others[FINDINGS];
};

struct comparing {
    struct quipu_store *store;
    struct quipu_txn *txn;
    uint64_t seen; /* events of this snapshot */
    struct rows types;
    struct rows aggregates;
    struct quipu_buf name;
    uint64_t counts[FINDINGS];
    enum quipu_status refused;
};

/* ------------------------------------------------------------------ counting */

static void rows_release(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        quipu_free((void *)(uintptr_t)rows->items[i].name.data);
    }
    quipu_free(rows->items);
}

/* True, and where; else false, and where it would stand. */
static bool rows_find(const struct rows *rows, struct quipu_slice name, size_t *index)
{
    size_t low = 0;
    size_t high = rows->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = quipu_tally_order(rows->items[middle].name, name);
        if (order == 0) {
            *index = middle;
            return true;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *index = low;
    return false;
}

static enum quipu_status rows_insert(struct rows *rows, size_t index, struct quipu_slice name,
                                     struct quipu_error *err)
{
    if (rows->count == rows->cap) {
        size_t cap = rows->cap == 0 ? 64 : rows->cap * 2;
        struct row *grown = quipu_realloc(rows->items, cap, sizeof *grown);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for %zu names", cap);
        }
        rows->items = grown;
        rows->cap = cap;
    }
    uint8_t *copy = quipu_alloc(name.len, 1);
    if (copy == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a name of %zu bytes", name.len);
    }
    memcpy(copy, name.data, name.len);
    struct row *at = rows->items + index;
    memmove(at + 1, at, (rows->count - index) * sizeof *at);
    *at = (struct row){.name = quipu_slice(copy, name.len)};
    rows->count++;
    return QUIPU_OK;
}

static enum quipu_status rows_count(struct rows *rows, struct quipu_slice name,
                                    enum finding finding, struct quipu_error *err)
{
    size_t index = 0;
    if (!rows_find(rows, name, &index)) {
        if (rows->count == QUIPU_IMPORT_ROWS_MAX) {
            rows->others[finding]++;
            return QUIPU_OK;
        }
        enum quipu_status status = rows_insert(rows, index, name, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    rows->items[index].counts[finding]++;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ one event */

/* Is its id known; if not, has its aggregate an event of its version here already? */
static enum quipu_status look_up(struct comparing *run, const struct quipu_cid *cid,
                                 const struct quipu_envelope *envelope, enum finding *finding,
                                 struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_head head;
    enum quipu_status status = quipu_txn_find_event_id(run->txn, envelope->event_id, &record, err);
    if (status == QUIPU_OK) {
        *finding = quipu_cid_equal(&record.envelope_cid, cid) ? FOUND_KNOWN : FOUND_CONFLICT;
        return QUIPU_OK;
    }
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    status = quipu_txn_head(run->txn, aggregate, &head, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    *finding = status == QUIPU_OK && envelope->version <= head.version ? FOUND_CONFLICT : FOUND_NEW;
    return QUIPU_OK;
}

static enum quipu_status next_snapshot(struct comparing *run, struct quipu_error *err)
{
    if (run->txn != NULL && run->seen < SNAPSHOT_EVENTS) {
        return QUIPU_OK;
    }
    quipu_txn_abort(&run->txn);
    run->seen = 0;
    return quipu_txn_begin_read(run->store, &run->txn, err);
}

static enum quipu_status compare_one(struct comparing *run, const struct quipu_bundle_event *event,
                                     struct quipu_error *err)
{
    struct quipu_envelope envelope;
    enum finding finding = FOUND_NEW;
    enum quipu_status status = next_snapshot(run, err);
    if (status == QUIPU_OK) {
        status = quipu_envelope_decode(event->envelope, &envelope, err);
    }
    if (status == QUIPU_OK) {
        status = look_up(run, &event->cid, &envelope, &finding, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    run->seen++;
    run->counts[finding]++;
    quipu_buf_reset(&run->name);
    quipu_buf_append_slice(&run->name, envelope.aggregate_type);
    quipu_buf_append_byte(&run->name, '/');
    quipu_buf_append_slice(&run->name, envelope.aggregate_id);
    if (run->name.status != QUIPU_OK) {
        return quipu_error_set(err, run->name.status, "no memory for the name of an aggregate");
    }
    status = rows_count(&run->types, envelope.event_type, finding, err);
    return status == QUIPU_OK
               ? rows_count(&run->aggregates, quipu_buf_slice(&run->name), finding, err)
               : status;
}

static enum quipu_status compare_event(void *ctx, const struct quipu_bundle_event *event,
                                       struct quipu_error *err)
{
    struct comparing *run = ctx;
    run->refused = compare_one(run, event, err);
    return run->refused;
}

/* ------------------------------------------------------------------ telling */

static enum quipu_status tell_row(const struct quipu_slice *name, const uint64_t *counts,
                                  enum quipu_import_row_kind kind, quipu_import_row_fn visit,
                                  void *ctx, struct quipu_error *err)
{
    struct quipu_import_row row = {
        .kind = kind,
        .name = name == NULL ? quipu_slice(NULL, 0) : *name,
        .added = counts[FOUND_NEW],
        .known = counts[FOUND_KNOWN],
        .conflicting = counts[FOUND_CONFLICT],
    };
    return visit(ctx, &row, err);
}

static enum quipu_status tell(const struct rows *rows, enum quipu_import_row_kind kind,
                              quipu_import_row_fn visit, void *ctx, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < rows->count && status == QUIPU_OK; i++) {
        status = tell_row(&rows->items[i].name, rows->items[i].counts, kind, visit, ctx, err);
    }
    const uint64_t *others = rows->others;
    if (status == QUIPU_OK &&
        (others[FOUND_NEW] | others[FOUND_KNOWN] | others[FOUND_CONFLICT]) != 0) {
        status = tell_row(NULL, others, kind, visit, ctx, err);
    }
    return status;
}

static enum quipu_status judge_place(struct comparing *run,
                                     const struct quipu_bundle_report *bundle,
                                     struct quipu_import_place *place, struct quipu_error *err)
{
    run->seen = SNAPSHOT_EVENTS;
    enum quipu_status status = next_snapshot(run, err);
    return status == QUIPU_OK ? quipu_import_place_judge(run->txn, bundle, place, err) : status;
}

enum quipu_status quipu_import_compare(struct quipu_import *import, struct quipu_engine *engine,
                                       quipu_import_row_fn visit, void *ctx,
                                       struct quipu_import_diff *diff, struct quipu_error *err)
{
    struct comparing run = {.store = quipu_engine_store(engine)};
    struct quipu_import_place place = {0};
    enum quipu_status status = judge_place(&run, &import->bundle, &place, err);
    if (status == QUIPU_OK) {
        status = quipu_import_again(import, compare_event, &run, &run.refused, err);
    }
    quipu_txn_abort(&run.txn);
    if (status == QUIPU_OK && visit != NULL) {
        status = tell(&run.types, QUIPU_IMPORT_BY_TYPE, visit, ctx, err);
    }
    if (status == QUIPU_OK && visit != NULL) {
        status = tell(&run.aggregates, QUIPU_IMPORT_BY_AGGREGATE, visit, ctx, err);
    }
    if (status == QUIPU_OK && diff != NULL) {
        *diff = (struct quipu_import_diff){
            .added = run.counts[FOUND_NEW],
            .known = run.counts[FOUND_KNOWN],
            .conflicting = run.counts[FOUND_CONFLICT],
            .missing = place.missing,
            .was_known = place.is_known,
        };
    }
    rows_release(&run.types);
    rows_release(&run.aggregates);
    quipu_buf_release(&run.name);
    return status;
}
