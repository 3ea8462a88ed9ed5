/*
 * Numbers of foreign sources: source text and be64 source_seq to be64 position. Two events of one
 * source under one number mean that its signing key is in use twice; without these rows nobody
 * would notice. Where such a pair is kept, the number stays with the one that came first
 * (fork_places.c has both).
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "numbers.h"

#include <inttypes.h>
#include <string.h>

#include "event_at.h"
#include "forks.h"
#include "identity.h"
#include "internal/bytes.h"
#include "slice_budget.h"

static struct quipu_slice number_key(struct quipu_slice source, uint64_t source_seq,
                                     uint8_t storage[NUMBER_KEY_BYTES])
{
    memcpy(storage, source.data, NKEY_PUBLIC_CHARS);
    quipu_store_be64(storage + NKEY_PUBLIC_CHARS, source_seq);
    return quipu_slice(storage, NUMBER_KEY_BYTES);
}

enum quipu_status numbers_get(struct quipu_txn *txn, struct quipu_slice source, uint64_t source_seq,
                              uint64_t *position, struct quipu_error *err)
{
    uint8_t storage[NUMBER_KEY_BYTES];
    struct quipu_slice value;
    enum quipu_status status = quipu_txn_table_get(
        txn, TABLE_NUMBERS, number_key(source, source_seq, storage), &value, err);
    return status == QUIPU_OK ? position_of_key(value, "number of a source", position, err)
                              : status;
}

enum quipu_status numbers_put(struct quipu_txn *txn, struct quipu_slice source, uint64_t source_seq,
                              uint64_t position, struct quipu_error *err)
{
    uint8_t key[NUMBER_KEY_BYTES];
    uint8_t value[POSITION_KEY_BYTES];
    return quipu_txn_table_put(txn, TABLE_NUMBERS, number_key(source, source_seq, key),
                               position_key(position, value), err);
}

enum quipu_status numbers_recorded_at(struct quipu_txn *txn, struct quipu_slice source,
                                      uint64_t position, uint64_t *number, struct quipu_error *err)
{
    struct quipu_event_view view;
    *number = 0;
    enum quipu_status status = event_view_at(txn, position, &view, err);
    if (status != QUIPU_OK || !quipu_slice_equal(view.envelope.source, source)) {
        return status;
    }
    uint64_t named = 0;
    bool is_second = false;
    status = numbers_get(txn, source, view.envelope.source_seq, &named, err);
    if (status != QUIPU_NOT_FOUND) {
        return status; /* it came from elsewhere */
    }
    status = place_number_is_second(txn, &view.envelope, &view.cid, position, &is_second, err);
    if (status == QUIPU_OK && !is_second) {
        *number = view.envelope.source_seq;
    }
    return status;
}

enum quipu_status quipu_event_is_recorded_here(struct quipu_txn *txn,
                                               const struct quipu_event_view *event, bool *out,
                                               struct quipu_error *err)
{
    uint64_t last = 0;
    uint64_t number = 0;
    if (txn == NULL || event == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "who recorded an event: no event is given");
    }
    struct quipu_slice source = event->envelope.source;
    enum quipu_status status = identity_last_given(txn, source, &last, err);
    if (status == QUIPU_OK && event->envelope.source_seq <= last) {
        status = numbers_recorded_at(txn, source, event->position, &number, err);
    }
    if (status == QUIPU_OK) {
        *out = number != 0;
    }
    return status;
}

enum quipu_status numbers_find_recorded(struct quipu_txn *txn, struct quipu_slice source,
                                        uint64_t source_seq, uint64_t *position,
                                        struct quipu_error *err)
{
    uint64_t low = 1;
    uint64_t high = quipu_txn_last_position(txn) + 1;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t at = middle;
        uint64_t number = 0;
        while (at < high && number == 0) {
            enum quipu_status status = numbers_recorded_at(txn, source, at, &number, err);
            if (status != QUIPU_OK) {
                return status;
            }
            at++;
        }
        if (number == source_seq) {
            *position = at - 1;
            return QUIPU_OK;
        }
        if (number != 0 && number < source_seq) {
            low = at;
        } else {
            high = middle;
        }
    }
    *position = 0;
    return QUIPU_OK;
}

enum quipu_status numbers_last(struct quipu_txn *txn, struct quipu_slice source, uint64_t *last,
                               struct quipu_error *err)
{
    uint8_t storage[NUMBER_KEY_BYTES];
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_seek(txn, TABLE_NUMBERS, number_key(source, UINT64_MAX, storage),
                             QUIPU_SEEK_LE, &key, &value, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    bool is_there = status == QUIPU_OK && key.len == NUMBER_KEY_BYTES &&
                    memcmp(key.data, source.data, NKEY_PUBLIC_CHARS) == 0;
    *last = is_there ? quipu_load_be64(key.data + NKEY_PUBLIC_CHARS) : 0;
    return QUIPU_OK;
}

static enum quipu_status row_count(struct quipu_slice key, struct quipu_slice value, uint64_t end,
                                   uint64_t log_end, uint64_t *count, struct quipu_error *err)
{
    uint64_t position = 0;
    enum quipu_status status = position_of_key(value, "number of a source", &position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (key.len != NUMBER_KEY_BYTES || position == 0 || position > log_end) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "number of a source: a row of %zu bytes leads to position %" PRIu64
                               ", the last one is %" PRIu64,
                               key.len, position, log_end);
    }
    *count += position <= end;
    return QUIPU_OK;
}

enum quipu_status numbers_count_slice(struct quipu_txn *txn, struct numbers_count *count,
                                      struct quipu_error *err)
{
    uint64_t log_end = quipu_txn_last_position(txn);
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, TABLE_NUMBERS, quipu_slice(count->after, count->after_len),
                                 QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE) {
            count->is_over = true;
            return QUIPU_OK;
        }
        if (status == QUIPU_OK) {
            status = row_count(key, value, count->end, log_end, &count->rows, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        memcpy(count->after, key.data, key.len); /* row_count has seen to its length */
        count->after_len = key.len;
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}
