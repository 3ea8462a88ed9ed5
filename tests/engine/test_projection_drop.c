/*
 * Dropping projections, and rows of theirs that are damaged or from an older quipu.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/wait.h>

#include "counting_kit.h"
#include "tables.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(projection_drop, .init = setup, .fini = teardown);

static enum quipu_status put_row(void *ctx, struct quipu_rows *rows,
                                 const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, quipu_slice(event->cid.digest, sizeof event->cid.digest),
                          event->payload, err);
}

static const struct quipu_projection many_rows = {.name = "counts", .version = 1, .apply = put_row};

static void child_drop(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));
}

static uint64_t rows_left(void)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    uint64_t left = 0;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    for (uint32_t table = TABLE_ROWS_FIRST; table < TABLE_ROWS_FIRST + 20; table++) {
        left += quipu_txn_table_seek(txn, (struct quipu_table){table}, quipu_slice(NULL, 0),
                                     QUIPU_SEEK_GE, &key, &value, &kit.err) == QUIPU_OK;
    }
    left += quipu_txn_table_seek(txn, TABLE_STOPS, quipu_slice(NULL, 0), QUIPU_SEEK_GE, &key,
                                 &value, &kit.err) == QUIPU_OK;
    left += quipu_txn_table_seek(txn, TABLE_PROJECTIONS, quipu_slice(NULL, 0), QUIPU_SEEK_GE, &key,
                                 &value, &kit.err) == QUIPU_OK;
    quipu_txn_abort(&txn);
    return left;
}

Test(projection_drop, a_dropped_one_is_gone_with_its_skips_and_can_begin_anew)
{
    struct counting counting;
    struct quipu_replay_report report;
    struct quipu_projection_status status;
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, quipu_projection_skip(kit.engine, "counts", 3, "no", &kit.err));
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));

    kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));

    cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(rows_left(), 0);
    cr_assert_eq(quipu_projection_drop(kit.engine, "counts", &kit.err), QUIPU_NOT_FOUND);
    counting.poison = 0;
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.skipped, 0);
    counts_assert_rows(&kit, "counts", "", "a=5");
    kit_assert_sound(&kit, 5);
}

Test(projection_drop, a_drop_that_was_cut_off_is_a_drop_all_the_same)
{
    struct quipu_projection_status status;
    struct counting counting = {0};
    kit_append_many(&kit, 25000);
    for (int by_replay = 0; by_replay < 2; by_replay++) {
        kit_assert_ok(&kit,
                      quipu_replay(kit.engine, &many_rows, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
        kit_shut(&kit);
        cr_assert(WIFSIGNALED(kit_run_child("engine.replay.cleared:kill", child_drop, NULL)));
        kit_reopen(&kit);
        cr_assert_gt(rows_left(), 0);
        cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err),
                     QUIPU_NOT_FOUND);
        cr_assert_eq(quipu_projection_pause(kit.engine, "counts", &kit.err), QUIPU_NOT_FOUND);
        kit_assert_sound(&kit, 25000);
        if (by_replay == 0) {
            kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "counts", &kit.err));
            cr_assert_eq(rows_left(), 0);
        } else {
            kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
            counts_assert_rows(&kit, "counts", "", "a=25000");
        }
    }
}

Test(projection_drop, a_replay_of_what_is_dropped_meanwhile_ends)
{
    struct counting counting = {0};
    cr_assert_eq(counts_replay_until(&kit, &counting, quipu_projection_drop), QUIPU_NOT_FOUND);
    cr_assert_eq(rows_left(), 0);
}

/* ------------------------------------------------------------------ damaged rows */

static void table_put(struct quipu_table table, struct quipu_slice key, struct quipu_slice value)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_put(txn, table, key, value, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

Test(projection_drop, rows_that_are_damaged_are_said_to_be)
{
    struct counting counting;
    struct quipu_projection_status status;
    struct quipu_txn *txn = NULL;
    struct quipu_slice found;
    struct quipu_slice value;
    uint8_t key[100];
    uint8_t row[56] = {0};
    counts_park(&kit, &counting);
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_seek(txn, TABLE_STOPS, quipu_slice(NULL, 0), QUIPU_SEEK_GE,
                                             &found, &value, &kit.err));
    size_t len = found.len;
    cr_assert_leq(len, sizeof key);
    memcpy(key, found.data, len);
    quipu_txn_abort(&txn);
    table_put(TABLE_STOPS, quipu_slice(key, len), quipu_slice_text("\xa0"));
    cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_CORRUPT);

    row[55] = 8; /* a flag that nobody knows */
    table_put(TABLE_PROJECTIONS, quipu_slice_text("counts"), quipu_slice(row, sizeof row));
    cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err), QUIPU_CORRUPT);
    table_put(TABLE_PROJECTIONS, quipu_slice_text("counts"), quipu_slice(row, 41));
    cr_assert_eq(quipu_projection_status(kit.engine, "counts", &status, &kit.err), QUIPU_CORRUPT);
}

Test(projection_drop, rows_as_they_were_before_there_were_stops_are_read)
{
    struct counting counting = {0};
    struct quipu_txn *txn = NULL;
    struct quipu_slice value;
    kit_append_many(&kit, 5);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_get(txn, TABLE_PROJECTIONS, quipu_slice_text("counts"),
                                            &value, &kit.err));
    cr_assert_eq(value.len, 40, "and are still written where there is nothing new to say");
    quipu_txn_abort(&txn);
    struct quipu_projection_status status;
    kit_assert_ok(&kit, quipu_projection_status(kit.engine, "counts", &status, &kit.err));
    cr_assert_eq(status.state, QUIPU_PROJECTION_LIVE);
}
