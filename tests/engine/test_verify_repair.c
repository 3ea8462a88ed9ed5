/*
 * Repairing the engine's rows: whatever was written into the table of numbers and the outbox's
 * counters, they are as they were afterwards, what does not derive is not touched, and stopped
 * anywhere it may be done again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "engine_kit.h"
#include "identity.h"
#include "internal/bytes.h"
#include "quipu/ingest.h"
#include "quipu/verify.h"
#include "tables.h"

static struct kit theirs;
static struct kit ours;

static void take_theirs(uint64_t position)
{
    struct kit_foreign event;
    struct quipu_ingest *ingest = NULL;
    kit_foreign_copy(&theirs, position, &event);
    kit_assert_ok(&ours, quipu_ingest_begin(ours.engine, QUIPU_INGEST_STRICT, &ingest, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_event(ingest, &event.foreign, NULL, &ours.err));
    kit_assert_ok(&ours, quipu_ingest_commit(&ingest, NULL, &ours.err));
    kit_foreign_release(&event);
}

/* Eight events, each second one of theirs; the first two are published, the third a dead letter. */
static void setup(void)
{
    const struct quipu_ack acks[] = {{1, 1, false, 0}, {2, 2, false, 0}};
    kit_open(&theirs);
    kit_open(&ours);
    ours.random_state = 1000;
    for (int i = 0; i < 4; i++) {
        kit_append(&theirs, "theirs", i);
        kit_append(&ours, "ours", i);
        take_theirs((uint64_t)i + 1);
    }
    kit_assert_ok(&ours, quipu_outbox_acknowledge(ours.engine, quipu_slice_text("EVENTS"), acks, 2,
                                                  &ours.err));
    kit_assert_ok(
        &ours, quipu_outbox_bury(ours.engine, 3, QUIPU_SERVER, quipu_slice_text("no"), &ours.err));
    kit_assert_sound(&ours, 8);
}

static void teardown(void)
{
    kit_close(&theirs);
    kit_close(&ours);
}

TestSuite(verify_repair, .init = setup, .fini = teardown);

static void put_row(struct quipu_table table, struct quipu_slice key, struct quipu_slice value)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_put(txn, table, key, value, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
}

static void put_counter(const char *key, uint64_t value)
{
    uint8_t bytes[8];
    quipu_store_be64(bytes, value);
    put_row(TABLE_META, quipu_slice_text(key), quipu_slice(bytes, sizeof bytes));
}

/* A digest over the rows of a table. */
static uint64_t rows_digest(struct quipu_table table)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    struct quipu_slice part[2];
    kit_assert_ok(&ours, quipu_txn_begin_read(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_table_walk_open(txn, table, quipu_slice(NULL, 0), &walk, &ours.err));
    while (quipu_table_walk_next(walk, &part[0], &part[1], &ours.err) == QUIPU_OK) {
        for (size_t i = 0; i < 2; i++) {
            digest = (digest ^ part[i].len) * UINT64_C(0x100000001b3);
            for (size_t at = 0; at < part[i].len; at++) {
                digest = (digest ^ part[i].data[at]) * UINT64_C(0x100000001b3);
            }
        }
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    return digest;
}

static uint64_t mendable(void)
{
    struct quipu_verify_report report = {0};
    cr_assert_eq(quipu_verify(ours.engine, NULL, &report, &ours.err), QUIPU_CORRUPT);
    cr_assert_eq(report.mendable, report.problems, "%s", ours.err.message);
    return report.mendable;
}

static struct quipu_repaired repair(void)
{
    struct quipu_repaired report = {.counters = 99};
    kit_assert_ok(&ours, quipu_repair_derived(ours.engine, &report, &ours.err));
    kit_assert_sound(&ours, 8);
    return report;
}

Test(verify_repair, leaves_a_sound_store_alone)
{
    uint64_t meta = rows_digest(TABLE_META);
    uint64_t numbers = rows_digest(TABLE_NUMBERS);
    struct quipu_repaired report = repair();
    cr_assert_eq(report.events, 8);
    cr_assert_eq(report.counters, 0);
    cr_assert_eq(report.numbers_added, 0);
    cr_assert_eq(report.numbers_removed, 0);
    cr_assert_eq(rows_digest(TABLE_META), meta);
    cr_assert_eq(rows_digest(TABLE_NUMBERS), numbers);
}

/* The row that says who the store is, with another count, and a letter of its source turned. */
static void put_identity(uint64_t count, int letter)
{
    struct identity_row row;
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, identity_row_get(txn, &row, &ours.err));
    row.last_seq = count;
    if (letter >= 0) {
        row.source[letter] = row.source[letter] == 'A' ? 'B' : 'A';
    }
    kit_assert_ok(&ours, identity_row_put(txn, &row, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
}

static uint64_t own_number_at(uint64_t position)
{
    struct kit_foreign event;
    struct quipu_envelope envelope;
    kit_foreign_copy(&ours, position, &event);
    kit_assert_ok(&ours, quipu_envelope_decode(event.foreign.envelope, &envelope, &ours.err));
    kit_foreign_release(&event);
    return envelope.source_seq;
}

static void assert_append_is_refused(void)
{
    struct quipu_event event = kit_event(&ours, "ours", 9);
    cr_assert_eq(quipu_append(ours.engine, &event, NULL, &ours.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(ours.err.message, "--repair-indexes"), "%s", ours.err.message);
}

Test(verify_repair, gives_no_number_twice_and_leaves_none_out_whatever_the_row_counts)
{
    static const uint64_t counts[] = {0, 1, 2, 3, 5, 6, 12, UINT64_C(4) + (UINT64_C(1) << 40)};
    uint64_t meta = rows_digest(TABLE_META);
    /* The last event is theirs, and then ours. */
    for (uint64_t own = 4; own < 6; own++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            if (counts[i] == own) {
                continue;
            }
            put_identity(counts[i], -1);
            if (i % 2 == 0) {
                kit_reopen(&ours); /* an engine that has not recorded yet */
            }
            assert_append_is_refused();
            cr_assert_geq(mendable(), 1);
            struct quipu_repaired report = {0};
            kit_assert_ok(&ours, quipu_repair_derived(ours.engine, &report, &ours.err));
            cr_assert_eq(report.counters, 1);
            kit_assert_sound(&ours, 4 + own);
            cr_assert_eq(rows_digest(TABLE_META), meta, "%lu", (unsigned long)counts[i]);
        }
        kit_append(&ours, "ours", 5);
        cr_assert_eq(own_number_at(5 + own), own + 1);
        kit_assert_sound(&ours, 5 + own);
        meta = rows_digest(TABLE_META);
    }
}

Test(verify_repair, goes_on_under_its_key_whatever_the_row_says_who_it_is)
{
    put_identity(4, 20);
    assert_append_is_refused();
    cr_assert_geq(mendable(), 1);
    struct quipu_repaired report = {0};
    kit_assert_ok(&ours, quipu_repair_derived(ours.engine, &report, &ours.err));
    kit_assert_sound(&ours, 8);
    kit_append(&ours, "ours", 5);
    cr_assert_eq(own_number_at(9), 5);
    kit_assert_sound(&ours, 9);
}

Test(verify_repair, counts_again_and_moves_the_cursor)
{
    uint64_t meta = rows_digest(TABLE_META);
    uint64_t receipts = rows_digest(TABLE_RECEIPTS);
    uint64_t letters = rows_digest(TABLE_DEAD_LETTERS);
    put_counter(META_PUBLISHED, 7);
    put_counter(META_OUTBOX_CURSOR, 6);
    cr_assert_eq(mendable(), 2);
    put_row(TABLE_META, quipu_slice_text(META_DEAD), quipu_slice_text("one"));
    cr_assert_eq(repair().counters, 3);
    cr_assert_eq(rows_digest(TABLE_META), meta);
    cr_assert_eq(rows_digest(TABLE_RECEIPTS), receipts);
    cr_assert_eq(rows_digest(TABLE_DEAD_LETTERS), letters);
}

/* Delete the row, forge one beside it, and let a third name another event. */
static void break_numbers(void)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    uint8_t copy[128];
    uint8_t position[8];
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_seek(txn, TABLE_NUMBERS, quipu_slice(NULL, 0),
                                              QUIPU_SEEK_GE, &key, &value, &ours.err));
    size_t len = key.len;
    cr_assert_leq(len, sizeof copy);
    memcpy(copy, key.data, len);
    kit_assert_ok(&ours,
                  quipu_txn_table_delete(txn, TABLE_NUMBERS, quipu_slice(copy, len), &ours.err));
    copy[len - 1]++;
    quipu_store_be64(position, 1);
    kit_assert_ok(&ours, quipu_txn_table_put(txn, TABLE_NUMBERS, quipu_slice(copy, len),
                                             quipu_slice(position, 8), &ours.err));
    copy[len - 1] = 77;
    quipu_store_be64(position, 1u << 20);
    kit_assert_ok(&ours, quipu_txn_table_put(txn, TABLE_NUMBERS, quipu_slice(copy, len),
                                             quipu_slice(position, 8), &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_put(txn, TABLE_NUMBERS, quipu_slice_text("rubbish"),
                                             quipu_slice(position, 8), &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
}

Test(verify_repair, finds_the_numbers_of_others_in_the_log)
{
    uint64_t numbers = rows_digest(TABLE_NUMBERS);
    break_numbers();
    struct quipu_verify_report verified;
    cr_assert_eq(quipu_verify(ours.engine, NULL, &verified, &ours.err), QUIPU_CORRUPT);
    struct quipu_repaired report = repair();
    cr_assert_eq(report.numbers_removed, 3);
    cr_assert_eq(report.numbers_added, 2);
    cr_assert_eq(rows_digest(TABLE_NUMBERS), numbers);
}

Test(verify_repair, makes_a_lost_table_of_numbers_again)
{
    uint64_t numbers = rows_digest(TABLE_NUMBERS);
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&ours, quipu_txn_begin_write(ours.store, &txn, &ours.err));
    kit_assert_ok(&ours, quipu_txn_table_clear(txn, TABLE_NUMBERS, &ours.err));
    kit_assert_ok(&ours, quipu_txn_commit(&txn, &ours.err));
    cr_assert_eq(repair().numbers_added, 4);
    cr_assert_eq(rows_digest(TABLE_NUMBERS), numbers);
}

static void repair_until_killed(void *ctx)
{
    (void)ctx;
    kit_reopen(&ours);
    exit(quipu_repair_derived(ours.engine, NULL, NULL) == QUIPU_OK ? 0 : 1);
}

Test(verify_repair, stopped_anywhere_it_may_be_done_again)
{
#ifndef QUIPU_FAILPOINTS
    return;
#endif
    static const char *const points[] = {"store.commit.before:kill:1", "store.commit.after:kill:1",
                                         "store.commit.before:kill:2", "store.commit.after:kill:2",
                                         "store.commit.before:kill:3", "engine.repair.slice:kill",
                                         "engine.repair.slice:fail"};
    uint64_t numbers = rows_digest(TABLE_NUMBERS);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        break_numbers();
        put_counter(META_PUBLISHED, 7);
        kit_shut(&ours);
        int status = kit_run_child(points[i], repair_until_killed, NULL);
        bool fails = strstr(points[i], ":fail") != NULL;
        cr_assert(fails ? WIFEXITED(status) && WEXITSTATUS(status) == 1
                        : WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
                  "%s: status 0x%x", points[i], (unsigned)status);
        kit_reopen(&ours);
        (void)repair();
        cr_assert_eq(rows_digest(TABLE_NUMBERS), numbers, "%s", points[i]);
    }
}
