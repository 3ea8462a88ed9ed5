/*
 * Is the number that the row of a source counts that of the newest event that this store recorded
 * under it? The row is in no hash, and a number that is given out twice, or left out, stays in the
 * log for good. So before it counts on, the row is held against the log, from its end back to that
 * event: mostly the last one. Events of others that came in since are stepped over, once each by an
 * engine; behind very many of them the row is believed.
 *
 * Specification: docs/SPEC.md §3, §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "event_at.h"
#include "identity.h"
#include "numbers.h"
#include "tables.h"

/* About 50 ms, while others wait to write. */
#define STEPS_MAX 65536

enum quipu_status identity_newest(struct quipu_txn *txn, struct quipu_slice source, uint64_t floor,
                                  uint64_t steps_max, struct identity_newest *out,
                                  struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    *out = (struct identity_newest){.is_at_floor = true};
    for (uint64_t at = last; at > floor; at--) {
        if (last - at == steps_max) {
            *out = (struct identity_newest){.is_too_far = true};
            return QUIPU_OK;
        }
        enum quipu_status status = numbers_recorded_at(txn, source, at, &out->number, err);
        if (status == QUIPU_CORRUPT) {
            out->unreadable++; /* verify tells; it may be one of them */
        } else if (status != QUIPU_OK) {
            return status;
        } else if (out->number != 0) {
            out->position = at;
            out->is_at_floor = false;
            return QUIPU_OK;
        }
    }
    return QUIPU_OK;
}

/* The usual way: the last event is its newest. */
static bool is_last_event(struct quipu_txn *txn, const struct identity_row *row)
{
    struct quipu_event_view view;
    uint64_t last = quipu_txn_last_position(txn);
    return last > 0 && event_view_at(txn, last, &view, NULL) == QUIPU_OK &&
           view.envelope.source_seq == row->last_seq &&
           quipu_slice_equal(view.envelope.source, quipu_slice_text(row->source));
}

static enum quipu_status count_is_wrong(const struct identity_row *row,
                                        const struct identity_newest *newest,
                                        struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "meta row " META_SOURCE ": the last number given out is %" PRIu64
                           ", but the newest event of source %s, at position %" PRIu64
                           ", has %" PRIu64 "; run `quipu verify --repair-indexes`",
                           row->last_seq, row->source, newest->position, newest->number);
}

/* `came`: the greatest number that came in from elsewhere. The row goes on from either. */
static bool count_is_possible(const struct identity_row *row, const struct identity_newest *newest,
                              uint64_t came)
{
    uint64_t most = newest->number > came ? newest->number : came;
    return newest->unreadable == 0
               ? row->last_seq == newest->number || row->last_seq == most
               : row->last_seq >= newest->number &&
                     (row->last_seq <= most || row->last_seq - most <= newest->unreadable);
}

enum quipu_status identity_count_check(struct quipu_txn *txn, struct identity_looked *looked,
                                       struct identity_row *row, struct quipu_error *err)
{
    if (is_last_event(txn, row)) {
        return QUIPU_OK;
    }
    struct quipu_slice source = quipu_slice_text(row->source);
    struct identity_newest newest;
    uint64_t came = 0;
    uint64_t last = quipu_txn_last_position(txn);
    uint64_t floor = looked->position <= last ? looked->position : 0;
    enum quipu_status status = identity_newest(txn, source, floor, STEPS_MAX, &newest, err);
    if (status == QUIPU_OK) {
        status = numbers_last(txn, source, &came, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (newest.is_at_floor && floor != 0) {
        newest.number = looked->number;
        newest.position = looked->at;
    }
    if (newest.is_too_far) {
        newest.number = row->last_seq;
    }
    if (!count_is_possible(row, &newest, came)) {
        return count_is_wrong(row, &newest, err);
    }
    if (newest.unreadable == 0) {
        *looked = (struct identity_looked){last, newest.number, newest.position};
    }
    row->last_seq = row->last_seq > came ? row->last_seq : came;
    return QUIPU_OK;
}
