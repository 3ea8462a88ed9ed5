/*
 * Making the engine's own rows again that derive from the log, or from rows that do not: the
 * counters and the cursor of the outbox from receipts and dead letters, and from the log the
 * numbers of events that came from elsewhere and how many the store has recorded itself under each
 * source that it is or was.
 *
 * An event has a row in the table of numbers where another store gave it its number. Of a source
 * that this store never was, that is every event. Of a source that it is or was, the log does not
 * say who recorded which, so a row that is true stays, and one is added where the number does not
 * follow the one before, which this store would have seen to.
 *
 * In slices, each of which leaves rows that are no worse than before; done again after a kill, it
 * ends where it would have ended. Never touches receipts, dead letters, quarantine, projections, or
 * who the store is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event_at.h"
#include "forks.h"
#include "internal/bytes.h"
#include "internal/failpoint.h"
#include "nkey.h"
#include "numbers.h"
#include "outbox_state.h"
#include "quipu/alloc.h"
#include "receipts.h"
#include "slice_budget.h"
#include "verify_run.h"

/* A source that this store is or was. */
struct own_source {
    char text[QUIPU_SOURCE_TEXT_BYTES];
    uint64_t seq_max; /* of its events so far */
};

struct repair_run {
    struct quipu_engine *engine;
    struct quipu_repaired report;
    uint64_t end;
    struct own_source *own;
    size_t own_len;
    /* The source of the event before, which mostly is that of the next. */
    char last[QUIPU_SOURCE_TEXT_BYTES];
    struct own_source *last_own; /* NULL: it is foreign */
};

/* ------------------------------------------------------------------ the outbox */

static enum quipu_status count_receipts(struct quipu_txn *txn, uint64_t *published,
                                        struct quipu_error *err)
{
    uint64_t at = 0;
    *published = 0;
    for (;;) {
        struct receipt_run row;
        enum quipu_status status = receipt_run_seek(txn, at, QUIPU_SEEK_GT, &row, err);
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        at = row.first;
        *published += row.count;
    }
}

/* Write a counter where it is absent, malformed or wrong. */
static enum quipu_status put_counter(struct repair_run *run, struct quipu_txn *txn, const char *key,
                                     uint64_t value, struct quipu_error *err)
{
    uint64_t stored = 0;
    enum quipu_status status = meta_get_u64(txn, key, &stored, err);
    if (status != QUIPU_CORRUPT && (status != QUIPU_OK || stored == value)) {
        return status;
    }
    run->report.counters++;
    return meta_put_u64(txn, key, value, err);
}

static enum quipu_status outbox_repair(struct repair_run *run, struct quipu_txn *txn,
                                       struct quipu_error *err)
{
    uint64_t published = 0;
    uint64_t dead = 0;
    struct outbox_stretch stretch = {0};
    enum quipu_status status = count_receipts(txn, &published, err);
    if (status == QUIPU_OK) {
        status = table_count(txn, TABLE_DEAD_LETTERS, &dead, err);
    }
    if (status == QUIPU_OK) {
        status = outbox_next_stretch(txn, 1, &stretch, err);
        status = status == QUIPU_DONE ? QUIPU_OK : status;
    }
    if (status == QUIPU_OK) {
        status = put_counter(run, txn, META_PUBLISHED, published, err);
    }
    if (status == QUIPU_OK) {
        status = put_counter(run, txn, META_DEAD, dead, err);
    }
    if (status == QUIPU_OK) {
        status = put_counter(run, txn, META_OUTBOX_CURSOR, stretch.from - 1, err);
    }
    run->end = quipu_txn_last_position(txn);
    return status;
}

/* ------------------------------------------------------------------ sources */

static enum quipu_status own_add(struct repair_run *run, const char *text, struct quipu_error *err)
{
    void *grown = quipu_realloc(run->own, run->own_len + 1, sizeof *run->own);
    if (grown == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "repair: out of memory for %zu sources",
                               run->own_len + 1);
    }
    run->own = grown;
    run->own[run->own_len] = (struct own_source){.seq_max = 0};
    memcpy(run->own[run->own_len].text, text, NKEY_PUBLIC_CHARS);
    run->own_len++;
    return QUIPU_OK;
}

/* The sources that this store is and was, as its rows say. */
static enum quipu_status own_load(struct repair_run *run, struct quipu_txn *txn,
                                  struct quipu_error *err)
{
    struct identity_row row;
    enum quipu_status status = identity_row_get(txn, &row, err);
    if (status == QUIPU_OK) {
        status = own_add(run, row.source, err);
    } else if (status == QUIPU_NOT_FOUND) {
        status = QUIPU_OK;
    }
    struct quipu_table_walk *walk = NULL;
    if (status == QUIPU_OK) {
        status =
            quipu_table_walk_open(txn, TABLE_META, quipu_slice_text(META_PAST_SOURCE), &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK && key.len == sizeof META_PAST_SOURCE - 1 + NKEY_PUBLIC_CHARS) {
            status = own_add(run, (const char *)key.data + sizeof META_PAST_SOURCE - 1, err);
        }
    }
    quipu_table_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static struct own_source *own_find(struct repair_run *run, struct quipu_slice source)
{
    if (memcmp(run->last, source.data, NKEY_PUBLIC_CHARS) != 0) {
        memcpy(run->last, source.data, NKEY_PUBLIC_CHARS);
        run->last_own = NULL;
        for (size_t i = 0; i < run->own_len; i++) {
            if (memcmp(run->own[i].text, source.data, NKEY_PUBLIC_CHARS) == 0) {
                run->last_own = &run->own[i];
            }
        }
    }
    return run->last_own;
}

/* ------------------------------------------------------------------ rows that are not true */

/* Does the row name an event that has this number? */
static enum quipu_status row_is_true(struct quipu_txn *txn, struct quipu_slice key,
                                     struct quipu_slice value, bool *is_true,
                                     struct quipu_error *err)
{
    *is_true = false;
    if (key.len != NUMBER_KEY_BYTES || value.len != POSITION_KEY_BYTES) {
        return QUIPU_OK;
    }
    struct quipu_event_view event;
    enum quipu_status status = event_view_at(txn, quipu_load_be64(value.data), &event, err);
    if (status != QUIPU_OK) {
        /* Nothing is there, or nothing that can be read: a machine's failure ends the repair. */
        return verify_is_finding(status) ? QUIPU_OK : status;
    }
    *is_true = event.envelope.source.len == NKEY_PUBLIC_CHARS &&
               memcmp(event.envelope.source.data, key.data, NKEY_PUBLIC_CHARS) == 0 &&
               event.envelope.source_seq == quipu_load_be64(key.data + NKEY_PUBLIC_CHARS);
    return QUIPU_OK;
}

/* Rows behind `at`, as many as one transaction may. `at` is the last key that was looked at. */
static enum quipu_status rows_slice(struct repair_run *run, struct quipu_txn *txn,
                                    struct quipu_buf *at, bool *is_over, struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status = quipu_txn_table_seek(txn, TABLE_NUMBERS, quipu_buf_slice(at),
                                                        QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE) {
            *is_over = true;
            return QUIPU_OK;
        }
        bool is_true = false;
        if (status == QUIPU_OK) {
            quipu_buf_reset(at);
            quipu_buf_append_slice(at, key);
            status = at->status != QUIPU_OK
                         ? quipu_error_set(err, QUIPU_NO_MEMORY, "repair: out of memory")
                         : row_is_true(txn, key, value, &is_true, err);
        }
        if (status == QUIPU_OK && !is_true) {
            run->report.numbers_removed++;
            status = quipu_txn_table_delete(txn, TABLE_NUMBERS, quipu_buf_slice(at), err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

static enum quipu_status rows_check(struct repair_run *run, struct quipu_error *err)
{
    struct quipu_buf at = QUIPU_BUF_INIT;
    enum quipu_status status = QUIPU_OK;
    bool is_over = false;
    while (status == QUIPU_OK && !is_over) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(run->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = rows_slice(run, txn, &at, &is_over, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
    }
    quipu_buf_release(&at);
    return status;
}

/* ------------------------------------------------------------------ rows that are missing */

static enum quipu_status number_repair(struct repair_run *run, struct quipu_txn *txn,
                                       uint64_t position, struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (quipu_event_view_of(&record, &event, NULL) != QUIPU_OK ||
        event.envelope.source.len != NKEY_PUBLIC_CHARS) {
        return QUIPU_OK; /* its envelope is damaged, and verify says so */
    }
    struct own_source *own = own_find(run, event.envelope.source);
    uint64_t seq = event.envelope.source_seq;
    bool follows = own != NULL && seq == own->seq_max + 1;
    if (own != NULL && seq > own->seq_max) {
        own->seq_max = seq;
    }
    uint64_t named = 0;
    if (follows) {
        return QUIPU_OK;
    }
    status = numbers_get(txn, event.envelope.source, seq, &named, err);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    bool is_second = false;
    status = place_number_is_second(txn, &event.envelope, &event.cid, position, &is_second, err);
    if (status != QUIPU_OK || is_second) {
        return status; /* a number that was used twice stays with the one that came first */
    }
    /* The slices of the event end with the first write. */
    char source[QUIPU_SOURCE_TEXT_BYTES] = {0};
    memcpy(source, event.envelope.source.data, NKEY_PUBLIC_CHARS);
    run->report.numbers_added++;
    return numbers_put(txn, quipu_slice_text(source), seq, position, err);
}

static enum quipu_status numbers_slice(struct repair_run *run, struct quipu_txn *txn, uint64_t *at,
                                       struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    enum quipu_status status = QUIPU_OK;
    bool is_over = false;
    while (status == QUIPU_OK && !is_over && *at < run->end) {
        status = number_repair(run, txn, *at + 1, err);
        ++*at;
        is_over = slice_budget_spend(&budget);
    }
    return status;
}

static enum quipu_status numbers_repair(struct repair_run *run, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    uint64_t at = 0;
    while (status == QUIPU_OK && at < run->end) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(run->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = numbers_slice(run, txn, &at, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
        if (status == QUIPU_OK) {
            status = quipu_failpoint("engine.repair.slice", err);
        }
    }
    run->report.events = at;
    return status;
}

/* ------------------------------------------------------------------ how many it has recorded */

/* The row that counts what was recorded as `own`; `*is_current`: it is the store's source. */
static enum quipu_status count_read(struct quipu_txn *txn, const struct own_source *own,
                                    bool *is_current, uint64_t *count, struct quipu_error *err)
{
    struct identity_row row;
    enum quipu_status status = identity_row_get(txn, &row, err);
    *is_current = status == QUIPU_OK && memcmp(row.source, own->text, sizeof own->text) == 0;
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) {
        return status;
    }
    return identity_last_given(txn, quipu_slice_text(own->text), count, err);
}

static enum quipu_status count_write(struct quipu_txn *txn, const struct own_source *own,
                                     bool is_current, uint64_t count, struct quipu_error *err)
{
    if (is_current) {
        struct identity_row row = {.last_seq = count};
        memcpy(row.source, own->text, sizeof row.source);
        return identity_row_put(txn, &row, err);
    }
    char key[sizeof META_PAST_SOURCE + QUIPU_SOURCE_TEXT_BYTES];
    (void)snprintf(key, sizeof key, META_PAST_SOURCE "%s", own->text);
    return meta_put_u64(txn, key, count, err);
}

static enum quipu_status count_repair(struct repair_run *run, struct quipu_txn *txn,
                                      const struct own_source *own, struct quipu_error *err)
{
    struct quipu_slice source = quipu_slice_text(own->text);
    struct identity_newest newest;
    bool is_current = false;
    uint64_t count = 0;
    uint64_t came = 0;
    enum quipu_status status = count_read(txn, own, &is_current, &count, err);
    if (status == QUIPU_OK && count == own->seq_max && !is_current) {
        return QUIPU_OK; /* nothing is recorded under it any more */
    }
    if (status == QUIPU_OK || status == QUIPU_CORRUPT) {
        status = identity_newest(txn, source, 0, UINT64_MAX, &newest, err);
    }
    if (status == QUIPU_OK) {
        status = numbers_last(txn, source, &came, err);
    }
    uint64_t most = status == QUIPU_OK && newest.number > came ? newest.number : came;
    if (status != QUIPU_OK || newest.unreadable > 0 || count == newest.number || count == most) {
        return status;
    }
    run->report.counters++;
    return count_write(txn, own, is_current, most, err);
}

static enum quipu_status counts_repair(struct repair_run *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(run->engine->store, &txn, err);
    for (size_t i = 0; status == QUIPU_OK && i < run->own_len; i++) {
        status = count_repair(run, txn, &run->own[i], err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ all of it */

/* Counters and cursor, and who this store is and was. */
static enum quipu_status first_slice(struct repair_run *run, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(run->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = own_load(run, txn, err);
    }
    if (status == QUIPU_OK) {
        status = outbox_repair(run, txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status quipu_repair_derived(struct quipu_engine *engine, struct quipu_repaired *report,
                                       struct quipu_error *err)
{
    struct repair_run run = {.engine = engine};
    enum quipu_status status = first_slice(&run, err);
    if (status == QUIPU_OK) {
        status = rows_check(&run, err);
    }
    if (status == QUIPU_OK) {
        status = numbers_repair(&run, err);
    }
    if (status == QUIPU_OK) {
        status = counts_repair(&run, err);
    }
    quipu_free(run.own);
    if (status == QUIPU_OK && report != NULL) {
        *report = run.report;
    }
    return status;
}
