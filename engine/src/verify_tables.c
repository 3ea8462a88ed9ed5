/*
 * Verifying what stands beside the log: receipts, dead letters and their counters, the outbox
 * cursor, checkpoints of projections, cursors of subscriptions, quarantine, forks. Each part in a
 * snapshot of its own; the table of numbers, which grows with the log, in slices.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "forks.h"
#include "numbers.h"
#include "outbox_state.h"
#include "quarantine.h"
#include "receipts.h"
#include "registry.h"
#include "subscription_impl.h"
#include "verify_run.h"

/* Go through the runs; `*published` counts their receipts. */
static enum quipu_status receipts_check(struct verify_run *run, struct quipu_txn *txn,
                                        uint64_t *published, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    uint64_t settled = 0;
    for (;;) {
        struct receipt_run row;
        enum quipu_status status = receipt_run_seek(txn, settled, QUIPU_SEEK_GT, &row, err);
        if (status == QUIPU_DONE) {
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        if (row.first > last || row.count > last - row.first + 1) {
            verify_problem(run, row.first, "receipts for positions beyond the log's end, %" PRIu64,
                           last);
            return QUIPU_OK;
        }
        settled = row.first;
        *published += row.count;
        struct receipt_run next;
        status = receipt_run_seek(txn, row.first, QUIPU_SEEK_GT, &next, err);
        if (status == QUIPU_OK && next.first < row.first + row.count) {
            verify_problem(run, next.first, "has two receipts");
        } else if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
    }
}

static enum quipu_status letters_check(struct verify_run *run, struct quipu_txn *txn,
                                       uint64_t *dead, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    uint64_t after = 0;
    for (;;) {
        uint8_t storage[POSITION_KEY_BYTES];
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, TABLE_DEAD_LETTERS, position_key(after, storage),
                                 QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE) {
            return QUIPU_OK;
        }
        struct quipu_dead_letter letter;
        if (status == QUIPU_OK) {
            status = dead_letter_decode(key, value, &letter, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        after = letter.position;
        ++*dead;
        struct receipt_run row;
        status = receipt_run_seek(txn, letter.position, QUIPU_SEEK_LE, &row, err);
        if (status == QUIPU_OK && receipt_run_covers(&row, letter.position)) {
            verify_problem(run, letter.position, "is a dead letter and has a receipt");
        } else if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        if (letter.position > last) {
            verify_problem(run, letter.position, "is a dead letter beyond the log's end, %" PRIu64,
                           last);
        }
    }
}

static enum quipu_status counter_check(struct verify_run *run, struct quipu_txn *txn,
                                       const char *key, uint64_t counted, struct quipu_error *err)
{
    uint64_t stored = 0;
    enum quipu_status status = meta_get_u64(txn, key, &stored, err);
    if (status == QUIPU_OK && stored != counted) {
        run->report.mendable++;
        verify_problem(run, 0, "outbox: %s says %" PRIu64 ", counted %" PRIu64, key, stored,
                       counted);
    }
    return status;
}

static enum quipu_status cursor_check(struct verify_run *run, struct quipu_txn *txn,
                                      struct quipu_error *err)
{
    uint64_t cursor = 0;
    enum quipu_status status = meta_get_u64(txn, META_OUTBOX_CURSOR, &cursor, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = quipu_txn_last_position(txn);
    if (cursor > last) {
        run->report.mendable++;
        verify_problem(run, 0,
                       "outbox: the cursor is at %" PRIu64 ", beyond the log's end, %" PRIu64,
                       cursor, last);
        return QUIPU_OK;
    }
    struct outbox_stretch stretch;
    status = outbox_next_stretch(txn, 1, &stretch, err);
    if (status == QUIPU_OK && stretch.from <= cursor) {
        run->report.mendable++;
        verify_problem(run, stretch.from,
                       "is neither published nor a dead letter, but the outbox cursor is at "
                       "%" PRIu64,
                       cursor);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status outbox_check(struct verify_run *run, struct quipu_txn *txn,
                                      struct quipu_error *err)
{
    uint64_t published = 0;
    uint64_t dead = 0;
    enum quipu_status status = receipts_check(run, txn, &published, err);
    if (status == QUIPU_OK) {
        status = letters_check(run, txn, &dead, err);
    }
    if (status == QUIPU_OK) {
        status = counter_check(run, txn, META_PUBLISHED, published, err);
    }
    if (status == QUIPU_OK) {
        status = counter_check(run, txn, META_DEAD, dead, err);
    }
    return status == QUIPU_OK ? cursor_check(run, txn, err) : status;
}

/* Each event's row was looked at already; are there more rows than events? What is damaged in the
 * log has been told, and would be told here again. */
static enum quipu_status numbers_check(struct verify_run *run, struct quipu_error *err)
{
    struct numbers_count count = {.end = run->end};
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && !count.is_over) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(run->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = numbers_count_slice(txn, &count, err);
        }
        quipu_txn_abort(&txn);
    }
    if (status == QUIPU_OK && count.rows != run->numbers && run->report.problems == 0) {
        run->report.mendable++;
        verify_problem(run, 0,
                       "the table of numbers has %" PRIu64 " rows for %" PRIu64
                       " events from elsewhere",
                       count.rows, run->numbers);
    }
    return status;
}

static void projection_check(struct verify_run *run, struct quipu_slice name,
                             const struct registry_row *row, uint64_t last)
{
    if (row->table < TABLE_ROWS_FIRST || row->version == 0) {
        verify_problem(run, 0, "projection %.*s: its row names table %" PRIu32 ", version %" PRIu64,
                       QUIPU_SLICE_FMT(name), row->table, row->version);
    }
    if (row->position > last || row->beside_position > last) {
        verify_problem(run, 0, "projection %.*s: its checkpoint is beyond the log's end, %" PRIu64,
                       QUIPU_SLICE_FMT(name), last);
    }
}

static enum quipu_status projections_check(struct verify_run *run, struct quipu_txn *txn,
                                           struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status =
        quipu_table_walk_open(txn, TABLE_PROJECTIONS, quipu_slice(NULL, 0), &walk, err);
    while (status == QUIPU_OK) {
        struct quipu_slice name;
        struct quipu_slice value;
        struct registry_row row;
        status = quipu_table_walk_next(walk, &name, &value, err);
        if (status == QUIPU_OK) {
            status = registry_decode(value, &row, err);
        }
        if (status == QUIPU_OK) {
            projection_check(run, name, &row, last);
        }
    }
    quipu_table_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

struct subscriptions_run {
    struct verify_run *run;
    uint64_t last;
};

static enum quipu_status subscription_check(void *ctx,
                                            const struct quipu_subscription_cursor *cursor,
                                            struct quipu_error *err)
{
    (void)err;
    const struct subscriptions_run *checked = ctx;
    if (cursor->position > checked->last) {
        verify_problem(checked->run, 0,
                       "subscription %.*s: its cursor is at %" PRIu64
                       ", beyond the log's end, %" PRIu64,
                       QUIPU_SLICE_FMT(cursor->name), cursor->position, checked->last);
    }
    return QUIPU_OK;
}

static enum quipu_status subscriptions_check(struct verify_run *run, struct quipu_txn *txn,
                                             struct quipu_error *err)
{
    struct subscriptions_run checked = {run, quipu_txn_last_position(txn)};
    return subscription_each_in(txn, subscription_check, &checked, err);
}

static void fork_problem(void *ctx, uint64_t position, const char *line)
{
    verify_problem(ctx, position, "%s", line);
}

/* A part that is too damaged to be read on is one finding; the other parts are still looked at. */
static enum quipu_status part_end(struct verify_run *run, enum quipu_status status,
                                  const struct quipu_error *why, struct quipu_error *err)
{
    if (status == QUIPU_CORRUPT) {
        verify_problem(run, 0, "%s", why->message);
        return QUIPU_OK;
    }
    return status == QUIPU_OK ? status : quipu_error_set(err, status, "%s", why->message);
}

static enum quipu_status forks_check(struct verify_run *run, struct quipu_txn *txn,
                                     struct quipu_error *err)
{
    return fork_check(txn, fork_problem, run, err);
}

static enum quipu_status waiting_check(struct verify_run *run, struct quipu_txn *txn,
                                       struct quipu_error *err)
{
    (void)run;
    return quarantine_check(txn, err);
}

/* Counters and what they count have to be seen at one moment, but each part by itself. */
static enum quipu_status part_check(struct verify_run *run,
                                    enum quipu_status (*check)(struct verify_run *run,
                                                               struct quipu_txn *txn,
                                                               struct quipu_error *err),
                                    struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error why = {0};
    enum quipu_status status = quipu_txn_begin_read(run->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = part_end(run, check(run, txn, &why), &why, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status verify_tables(struct verify_run *run, struct quipu_error *err)
{
    struct quipu_error why = {0};
    enum quipu_status status = part_check(run, outbox_check, err);
    if (status == QUIPU_OK) {
        status = part_end(run, numbers_check(run, &why), &why, err);
    }
    if (status == QUIPU_OK) {
        status = part_check(run, projections_check, err);
    }
    if (status == QUIPU_OK) {
        status = part_check(run, subscriptions_check, err);
    }
    if (status == QUIPU_OK) {
        status = part_check(run, waiting_check, err);
    }
    if (status == QUIPU_OK) {
        status = part_check(run, forks_check, err);
    }
    return status;
}
