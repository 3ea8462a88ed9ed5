/*
 * Dead letters: events that a server will never take, each with its reason. They stay in the log;
 * a person may have them tried again or give them up.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "engine_impl.h"
#include "outbox_state.h"
#include "receipts.h"
#include "row_codec.h"
#include "slice_budget.h"

#define ROW_PAIRS 4

/* ------------------------------------------------------------------ rows */

static enum quipu_status letter_read(struct quipu_slice value, struct quipu_dead_letter *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs;
    uint64_t reason;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    if (status == QUIPU_OK) {
        status = row_read_text(&reader, "line", &out->line, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "reason", &reason, err);
    }
    if (status == QUIPU_OK) {
        out->reason = (enum quipu_status)reason;
        status = row_read_int(&reader, "buried_at", &out->buried_unix_us, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bool(&reader, "is_dropped", &out->is_dropped, err);
    }
    return status;
}

enum quipu_status dead_letter_decode(struct quipu_slice key, struct quipu_slice value,
                                     struct quipu_dead_letter *out, struct quipu_error *err)
{
    struct quipu_dead_letter letter = {0};
    enum quipu_status status = position_of_key(key, "dead letters", &letter.position, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_error inner = {0};
    if (letter_read(value, &letter, &inner) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "dead letter of position %" PRIu64 ": %s",
                               letter.position, inner.message);
    }
    *out = letter;
    return QUIPU_OK;
}

static enum quipu_status letter_put(struct quipu_txn *txn, const struct quipu_dead_letter *letter,
                                    struct quipu_error *err)
{
    /* The line, 4 keys and 3 numbers always fit. */
    uint8_t storage[ROW_LINE_BYTES_MAX + 128];
    struct quipu_buf row;
    quipu_buf_init_fixed(&row, storage, sizeof storage);
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, ROW_PAIRS);
    quipu_dagcbor_write_key(&writer, "line");
    quipu_dagcbor_write_text(&writer, letter->line);
    quipu_dagcbor_write_key(&writer, "reason");
    quipu_dagcbor_write_uint(&writer, (uint64_t)letter->reason);
    quipu_dagcbor_write_key(&writer, "buried_at");
    quipu_dagcbor_write_int(&writer, letter->buried_unix_us);
    quipu_dagcbor_write_key(&writer, "is_dropped");
    quipu_dagcbor_write_bool(&writer, letter->is_dropped);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t key[POSITION_KEY_BYTES];
    return quipu_txn_table_put(txn, TABLE_DEAD_LETTERS, position_key(letter->position, key),
                               quipu_buf_slice(&row), err);
}

/* @retval QUIPU_NOT_FOUND */
static enum quipu_status letter_get(struct quipu_txn *txn, uint64_t position,
                                    struct quipu_dead_letter *out, struct quipu_error *err)
{
    uint8_t storage[POSITION_KEY_BYTES];
    struct quipu_slice key = position_key(position, storage);
    struct quipu_slice value;
    enum quipu_status status = quipu_txn_table_get(txn, TABLE_DEAD_LETTERS, key, &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "position %" PRIu64 " is no dead letter",
                               position);
    }
    return status == QUIPU_OK ? dead_letter_decode(key, value, out, err) : status;
}

enum quipu_status dead_letter_forget(struct quipu_txn *txn, uint64_t position, int *dead,
                                     struct quipu_error *err)
{
    uint8_t storage[POSITION_KEY_BYTES];
    enum quipu_status status =
        quipu_txn_table_delete(txn, TABLE_DEAD_LETTERS, position_key(position, storage), err);
    if (status == QUIPU_OK) {
        --*dead;
    }
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ one transaction each */

/* Something to do with a position in a write transaction. */
struct letter_change {
    enum quipu_status (*make)(struct quipu_txn *txn, const struct letter_change *change,
                              struct quipu_error *err);
    uint64_t position;
    enum quipu_status reason;
    struct quipu_slice line;
    int64_t now_unix_us;
};

static enum quipu_status letter_change_run(struct quipu_engine *engine,
                                           const struct letter_change *change,
                                           struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = change->make(txn, change, err);
    }
    if (status == QUIPU_OK) {
        return quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status bury(struct quipu_txn *txn, const struct letter_change *change,
                              struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    if (change->position == 0 || change->position > last) {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "position %" PRIu64 " is not in the log, which has 1 to %" PRIu64,
                               change->position, last);
    }
    struct receipt_run run;
    enum quipu_status status = receipt_run_seek(txn, change->position, QUIPU_SEEK_LE, &run, err);
    if (status == QUIPU_OK && receipt_run_covers(&run, change->position)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "position %" PRIu64 " is published already, so it is no dead letter",
                               change->position);
    }
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    struct quipu_dead_letter letter;
    status = letter_get(txn, change->position, &letter, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    int more = status == QUIPU_NOT_FOUND ? 1 : 0;
    letter = (struct quipu_dead_letter){
        .position = change->position,
        .reason = change->reason,
        .line = row_line(change->line),
        .buried_unix_us = change->now_unix_us,
    };
    status = letter_put(txn, &letter, err);
    return status == QUIPU_OK ? outbox_settle(txn, 0, more, err) : status;
}

enum quipu_status quipu_outbox_bury(struct quipu_engine *engine, uint64_t position,
                                    enum quipu_status reason, struct quipu_slice line,
                                    struct quipu_error *err)
{
    struct letter_change change = {
        .make = bury,
        .position = position,
        .reason = reason,
        .line = line,
        .now_unix_us = engine->clock.unix_us(engine->clock.ctx),
    };
    return letter_change_run(engine, &change, err);
}

static enum quipu_status retry(struct quipu_txn *txn, const struct letter_change *change,
                               struct quipu_error *err)
{
    struct quipu_dead_letter letter;
    enum quipu_status status = letter_get(txn, change->position, &letter, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int dead = 0;
    status = dead_letter_forget(txn, change->position, &dead, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t cursor = 0;
    status = meta_get_u64(txn, META_OUTBOX_CURSOR, &cursor, err);
    if (status == QUIPU_OK && cursor >= change->position) {
        /* What is behind the cursor is settled, and this one no longer is. */
        status = meta_put_u64(txn, META_OUTBOX_CURSOR, change->position - 1, err);
    }
    return status == QUIPU_OK ? outbox_settle(txn, 0, dead, err) : status;
}

enum quipu_status quipu_dead_letter_retry(struct quipu_engine *engine, uint64_t position,
                                          struct quipu_error *err)
{
    struct letter_change change = {.make = retry, .position = position};
    return letter_change_run(engine, &change, err);
}

static enum quipu_status drop(struct quipu_txn *txn, const struct letter_change *change,
                              struct quipu_error *err)
{
    struct quipu_dead_letter letter;
    enum quipu_status status = letter_get(txn, change->position, &letter, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* The put may move the page that the line is borrowed from: letter_put copies it first. */
    letter.is_dropped = true;
    return letter_put(txn, &letter, err);
}

enum quipu_status quipu_dead_letter_drop(struct quipu_engine *engine, uint64_t position,
                                         struct quipu_error *err)
{
    struct letter_change change = {.make = drop, .position = position};
    return letter_change_run(engine, &change, err);
}

/* ------------------------------------------------------------------ listing */

/* Visit letters behind `*after` in one transaction. @retval QUIPU_DONE  no more */
static enum quipu_status letters_slice(struct quipu_txn *txn, uint64_t *after,
                                       quipu_dead_letter_fn visit, void *ctx,
                                       struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        uint8_t storage[POSITION_KEY_BYTES];
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, TABLE_DEAD_LETTERS, position_key(*after, storage),
                                 QUIPU_SEEK_GT, &key, &value, err);
        struct quipu_dead_letter letter;
        if (status == QUIPU_OK) {
            status = dead_letter_decode(key, value, &letter, err);
        }
        if (status == QUIPU_OK) {
            *after = letter.position;
            status = visit(ctx, &letter, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

enum quipu_status quipu_each_dead_letter(struct quipu_engine *engine, quipu_dead_letter_fn visit,
                                         void *ctx, struct quipu_error *err)
{
    uint64_t after = 0;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = letters_slice(txn, &after, visit, ctx, err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
