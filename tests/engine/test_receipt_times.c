/*
 * When the server stored an event, in its receipt: rows with and without times, times that become
 * known later, and what never changes a receipt.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "engine_kit.h"
#include "internal/bytes.h"
#include "receipts.h"

#define STREAM "EVENTS"
#define TIME   INT64_C(1795264906821090)

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(receipt_times, .init = setup, .fini = teardown);

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        kit_append(&kit, "a", i);
    }
}

static struct quipu_ack an_ack(uint64_t position, uint64_t sequence, int64_t stored_unix_us)
{
    return (struct quipu_ack){
        .position = position, .sequence = sequence, .stored_unix_us = stored_unix_us};
}

static void record(const char *stream, struct quipu_ack ack)
{
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text(stream), &ack, 1, &kit.err));
}

static uint64_t note(const char *stream, struct quipu_ack ack)
{
    uint64_t noted = UINT64_MAX;
    kit_assert_ok(&kit, quipu_outbox_note_times(kit.engine, quipu_slice_text(stream), &ack, 1,
                                                &noted, &kit.err));
    return noted;
}

static struct quipu_receipt receipt(uint64_t position)
{
    struct quipu_txn *txn = NULL;
    struct quipu_receipt out;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_receipt_at(txn, position, &out, &kit.err));
    cr_assert(quipu_slice_equal(out.stream, quipu_slice_text(STREAM)));
    quipu_txn_abort(&txn);
    return out;
}

static size_t row_bytes(uint64_t first)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice value;
    uint8_t key[POSITION_KEY_BYTES];
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(
        &kit, quipu_txn_table_get(txn, TABLE_RECEIPTS, position_key(first, key), &value, &kit.err));
    size_t len = value.len;
    quipu_txn_abort(&txn);
    return len;
}

static void put_row(uint64_t first, const uint8_t *value, size_t len)
{
    struct quipu_txn *txn = NULL;
    uint8_t key[POSITION_KEY_BYTES];
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_put(txn, TABLE_RECEIPTS, position_key(first, key),
                                            quipu_slice(value, len), &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

Test(receipt_times, are_kept_and_others_stay_unknown)
{
    fill(4);
    record(STREAM, an_ack(1, 11, 0));
    cr_assert_eq(row_bytes(1), 1 + strlen(STREAM) + 8); /* as short as ever */
    record(STREAM, an_ack(2, 12, TIME));
    cr_assert_eq(row_bytes(1), 2 + strlen(STREAM) + 2 * 16);
    record(STREAM, an_ack(3, 13, 0));
    cr_assert_eq(receipt(1).stored_unix_us, 0);
    cr_assert_eq(receipt(2).stored_unix_us, TIME);
    cr_assert_eq(receipt(3).stored_unix_us, 0);
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(receipt(i).sequence, 10 + i);
        cr_assert_not(receipt(i).was_duplicate);
    }
    const struct quipu_ack duplicate = {4, 14, true, TIME + 1};
    record(STREAM, duplicate);
    cr_assert(receipt(4).was_duplicate);
    cr_assert_eq(receipt(4).stored_unix_us, TIME + 1);
    kit_assert_sound(&kit, 4);
}

Test(receipt_times, become_known_later_where_the_message_is_the_same)
{
    fill(3);
    record(STREAM, an_ack(1, 11, 0));
    record(STREAM, an_ack(2, 12, 0));
    record(STREAM, an_ack(1, 11, TIME)); /* a second ack tells the time, and nothing else */
    cr_assert_eq(receipt(1).stored_unix_us, TIME);
    cr_assert_eq(receipt(1).sequence, 11);
    cr_assert_eq(note(STREAM, an_ack(2, 12, TIME + 5)), 1);
    cr_assert_eq(receipt(2).stored_unix_us, TIME + 5);

    /* Once known, it stays. */
    cr_assert_eq(note(STREAM, an_ack(2, 12, TIME + 9)), 0);
    record(STREAM, an_ack(1, 11, TIME + 9));
    cr_assert_eq(receipt(1).stored_unix_us, TIME);
    cr_assert_eq(receipt(2).stored_unix_us, TIME + 5);
    kit_assert_sound(&kit, 3);
}

Test(receipt_times, of_another_message_are_not_taken)
{
    fill(3);
    record(STREAM, an_ack(1, 11, 0));
    record(STREAM, an_ack(2, 0, 0)); /* its sequence was not named */
    cr_assert_eq(note(STREAM, an_ack(1, 12, TIME)), 0);
    cr_assert_eq(note("OTHER", an_ack(1, 11, TIME)), 0);
    cr_assert_eq(note(STREAM, an_ack(1, 11, 0)), 0);
    cr_assert_eq(note(STREAM, an_ack(2, 0, TIME)), 0);
    cr_assert_eq(note(STREAM, an_ack(3, 13, TIME)), 0, "an event without a receipt got one");
    struct quipu_outbox_status status;
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    cr_assert_eq(status.published, 2);
    cr_assert_eq(status.cursor, 2);
    cr_assert_eq(receipt(1).stored_unix_us, 0);
    cr_assert_eq(receipt(2).stored_unix_us, 0);
    kit_assert_sound(&kit, 3);
}

Test(receipt_times, before_1970_are_refused)
{
    const struct quipu_ack early = an_ack(1, 1, -1);
    fill(1);
    cr_assert_eq(
        quipu_outbox_acknowledge(kit.engine, quipu_slice_text(STREAM), &early, 1, &kit.err),
        QUIPU_INVALID);
    cr_assert_eq(
        quipu_outbox_note_times(kit.engine, quipu_slice_text(STREAM), &early, 1, NULL, &kit.err),
        QUIPU_INVALID);
}

/* Random acks and notes over several rows, against a plain array. */
Test(receipt_times, agree_with_a_model)
{
    enum { EVENTS = 400, ROUNDS = 300 };
    int64_t times[EVENTS + 1] = {0};
    uint64_t sequences[EVENTS + 1] = {0};
    uint64_t state = 20261121;
    fill(EVENTS);
    for (int i = 0; i < ROUNDS; i++) {
        struct quipu_ack acks[40];
        size_t count = 1 + kit_random(&state) % 40;
        bool only_notes = kit_random(&state) % 3 == 0;
        uint64_t from = 1 + kit_random(&state) % EVENTS;
        uint64_t wanted = 0;
        for (size_t k = 0; k < count; k++) {
            uint64_t position = (from + k - 1) % EVENTS + 1;
            int64_t time = kit_random(&state) % 2 == 0 ? 0 : (int64_t)(1 + kit_random(&state) % 9);
            acks[k] = an_ack(position, position + 7, time);
            if (sequences[position] == 0 && !only_notes) {
                sequences[position] = position + 7;
                times[position] = time;
            } else if (sequences[position] != 0 && times[position] == 0 && time != 0) {
                times[position] = time;
                wanted++;
            }
        }
        uint64_t noted = 0;
        struct quipu_slice stream = quipu_slice_text(STREAM);
        kit_assert_ok(
            &kit, only_notes
                      ? quipu_outbox_note_times(kit.engine, stream, acks, count, &noted, &kit.err)
                      : quipu_outbox_acknowledge(kit.engine, stream, acks, count, &kit.err));
        cr_assert_eq(noted, only_notes ? wanted : 0);
    }
    uint64_t published = 0;
    for (uint64_t position = 1; position <= EVENTS; position++) {
        if (sequences[position] == 0) {
            continue;
        }
        published++;
        cr_assert_eq(receipt(position).sequence, sequences[position]);
        cr_assert_eq(receipt(position).stored_unix_us, times[position], "position %lu",
                     (unsigned long)position);
    }
    cr_assert_gt(published, EVENTS / 2);
    kit_assert_sound(&kit, EVENTS);
}

static enum quipu_status write_mark(void *ctx, struct quipu_txn *txn, struct quipu_error *err)
{
    const enum quipu_status *verdict = ctx;
    enum quipu_status status =
        quipu_txn_table_put(txn, (struct quipu_table){0x7000}, quipu_slice_text("mark"),
                            quipu_slice_text("beside"), err);
    return status != QUIPU_OK || *verdict == QUIPU_OK ? status
                                                      : quipu_error_set(err, *verdict, "no");
}

static bool has_mark(void)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice value;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    enum quipu_status status = quipu_txn_table_get(txn, (struct quipu_table){0x7000},
                                                   quipu_slice_text("mark"), &value, &kit.err);
    quipu_txn_abort(&txn);
    return status == QUIPU_OK;
}

Test(receipt_times, rows_beside_receipts_come_and_go_with_them)
{
    const struct quipu_ack ack = an_ack(1, 1, 0);
    enum quipu_status verdict = QUIPU_BUSY;
    const struct quipu_beside_receipts mark = {write_mark, &verdict};
    struct quipu_outbox_status status;
    fill(1);
    cr_assert_eq(quipu_outbox_acknowledge_with(kit.engine, quipu_slice_text(STREAM), &ack, 1, &mark,
                                               &kit.err),
                 QUIPU_BUSY);
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    cr_assert_eq(status.published, 0);
    cr_assert_not(has_mark());
    verdict = QUIPU_OK;
    kit_assert_ok(&kit, quipu_outbox_acknowledge_with(kit.engine, quipu_slice_text(STREAM), &ack, 1,
                                                      &mark, &kit.err));
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    cr_assert_eq(status.published, 1);
    cr_assert(has_mark());
}

Test(receipt_times, rows_of_both_forms_are_read_and_others_refused)
{
    static const uint8_t plain[] = "\1E\0\0\0\0\0\0\0\2";
    static const uint8_t timed[] = "\0\1E\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0\5";
    struct quipu_txn *txn = NULL;
    struct quipu_receipt out;
    fill(2);
    put_row(1, plain, sizeof plain - 1);
    put_row(2, timed, sizeof timed - 1);
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_receipt_at(txn, 1, &out, &kit.err));
    cr_assert_eq(out.sequence, 1);
    cr_assert_eq(out.stored_unix_us, 0);
    kit_assert_ok(&kit, quipu_receipt_at(txn, 2, &out, &kit.err));
    cr_assert_eq(out.sequence, 3);
    cr_assert(out.was_duplicate);
    cr_assert_eq(out.stored_unix_us, 5);
    cr_assert(quipu_slice_equal(out.stream, quipu_slice_text("E")));
    quipu_txn_abort(&txn);

    static const uint8_t early[] = "\0\1E\0\0\0\0\0\0\0\7\377\377\377\377\377\377\377\377";
    put_row(2, early, sizeof early - 1);
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    cr_assert_eq(quipu_receipt_at(txn, 2, &out, &kit.err), QUIPU_CORRUPT);
    quipu_txn_abort(&txn);
    for (size_t len = 1; len < sizeof timed - 1; len++) {
        put_row(2, timed, len);
        kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
        cr_assert_eq(quipu_receipt_at(txn, 2, &out, &kit.err), QUIPU_CORRUPT, "%zu bytes", len);
        quipu_txn_abort(&txn);
    }
}
