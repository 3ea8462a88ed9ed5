/*
 * A disk that fails: the n-th write, the n-th short write, the n-th sync, the n-th change of a name
 * or of a length, once or from then on, for every n; while a store is made, appended to, compacted,
 * repaired and backed up, and rows of its tables are written. What was acknowledged is there
 * afterwards, nothing else is, reading goes on, and the same call goes well once the disk does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "faulty_disk.h"
#include "quipu/store_upkeep.h"
#include "store_fixture.h"

#define CALLS_MAX 1000

/* One run with the n-th call failing; false where that was never reached. */
typedef bool (*fault_run)(enum fault_kind kind, long n, bool is_lasting);

static void sweep(fault_run run, enum fault_kind kind, bool is_lasting, long calls_least)
{
    long n = 0;
    while (run(kind, n, is_lasting)) {
        n++;
        cr_assert_lt(n, CALLS_MAX);
    }
    cr_assert_geq(n, calls_least, "kind %d: only %ld calls", (int)kind, n);
}

/* Where a failure may be one of cleaning up, which is not told. A write that is cut short while the
 * environment is made is taken for a full disk by LMDB, which it mostly is. */
static void assert_status(enum quipu_status status, enum fault_kind kind, long n, long failures)
{
    bool is_allowed = status == QUIPU_IO || (status == QUIPU_NO_SPACE && kind == FAULT_SHORT);
    cr_assert(status == QUIPU_OK || (failures > 0 && is_allowed), "kind %d, call %ld: %s",
              (int)kind, n, quipu_status_name(status));
}

/* ------------------------------------------------------------------ appending */

/* Append in batches of 3 until one fails or `batches` are done; `*acked` is the last position that
 * was acknowledged. */
static enum quipu_status append_batches(struct quipu_store *store, int batches, uint64_t *acked,
                                        struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (int i = 0; i < batches && status == QUIPU_OK; i++) {
        struct quipu_txn *txn = NULL;
        uint64_t position = *acked;
        status = quipu_txn_begin_write(store, &txn, err);
        for (int k = 0; k < 3 && status == QUIPU_OK; k++) {
            struct sample sample;
            sample_make(&sample, position, 10, true);
            status = sample_append(txn, &sample, &position, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
        *acked = status == QUIPU_OK ? position : *acked;
    }
    return status;
}

static bool run_appends(enum fault_kind kind, long n, bool is_lasting)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    uint64_t acked = 0;
    fixture_init(&fixture, &tuning);
    cr_assert_eq(append_batches(fixture.store, 3, &acked, &err), QUIPU_OK);

    fault_arm(kind, n, is_lasting);
    enum quipu_status status = append_batches(fixture.store, 9, &acked, &err);
    long failures = fault_disarm();

    cr_assert_eq(status, failures == 0 ? QUIPU_OK : QUIPU_IO, "kind %d, call %ld: %s", (int)kind, n,
                 quipu_status_name(status));
    /* The same process goes on, with what was acknowledged and nothing else. */
    cr_assert_eq(last_position_of(fixture.store), acked, "kind %d, call %ld", (int)kind, n);
    cr_assert_eq(problems_of(fixture.store), 0);
    cr_assert_eq(append_batches(fixture.store, 4, &acked, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(last_position_of(fixture.store), acked);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_release(&fixture);
    return failures > 0;
}

Test(store_faults, survives_the_failure_of_every_write)
{
    sweep(run_appends, FAULT_WRITE, false, 9);
}

Test(store_faults, survives_a_disk_that_takes_no_writes_from_one_of_them_on)
{
    sweep(run_appends, FAULT_WRITE, true, 9);
}

Test(store_faults, survives_every_short_write)
{
    sweep(run_appends, FAULT_SHORT, false, 9);
}

Test(store_faults, survives_the_failure_of_every_sync)
{
    sweep(run_appends, FAULT_SYNC, false, 9);
    sweep(run_appends, FAULT_SYNC, true, 9);
}

Test(store_faults, writing_is_refused_while_a_reader_is_in_the_way_of_a_fresh_start)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    struct quipu_txn *reader = NULL;
    struct quipu_record record;
    uint64_t acked = 0;
    fixture_init(&fixture, &tuning);
    cr_assert_eq(append_batches(fixture.store, 3, &acked, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &reader, NULL), QUIPU_OK);
    fault_arm(FAULT_WRITE, 0, false);
    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_IO);
    cr_assert_eq(fault_disarm(), 1);

    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_IO);
    cr_assert(strstr(err.message, "end every transaction") != NULL, "%s", err.message);
    cr_assert_eq(quipu_txn_record_at(reader, 9, &record, NULL), QUIPU_OK);
    cr_assert_eq(last_position_of(fixture.store), 9, "reading goes on");
    quipu_txn_abort(&reader);
    cr_assert_eq(append_batches(fixture.store, 1, &acked, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(last_position_of(fixture.store), 12);
    fixture_release(&fixture);
}

/* ------------------------------------------------------------------ rows of tables */

#define ROWS 6

static const struct quipu_table table = {0x1000};

/* Turn t: row t % ROWS becomes t with 3,000 bytes behind it, the row before it goes. */
static enum quipu_status write_rows(struct quipu_store *store, uint64_t turns, uint64_t *acked,
                                    struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (uint64_t end = *acked + turns; *acked < end && status == QUIPU_OK;) {
        uint8_t value[3000] = {0};
        uint64_t turn = *acked + 1;
        uint8_t key = (uint8_t)(turn % ROWS);
        uint8_t gone = (uint8_t)((turn + ROWS - 1) % ROWS);
        struct quipu_txn *txn = NULL;
        memcpy(value, &turn, sizeof turn);
        status = quipu_txn_begin_write(store, &txn, err);
        if (status == QUIPU_OK) {
            status = quipu_txn_table_put(txn, table, quipu_slice(&key, 1),
                                         quipu_slice(value, sizeof value), err);
        }
        if (status == QUIPU_OK && turn % 2 == 0) {
            status = quipu_txn_table_delete(txn, table, quipu_slice(&gone, 1), err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        quipu_txn_abort(&txn);
        *acked += status == QUIPU_OK;
    }
    return status;
}

/* Exactly the rows that so many turns leave. */
static void assert_rows(struct quipu_store *store, uint64_t turns)
{
    uint64_t expected[ROWS] = {0};
    struct quipu_txn *txn = NULL;
    for (uint64_t turn = 1; turn <= turns; turn++) {
        expected[turn % ROWS] = turn;
        expected[(turn + ROWS - 1) % ROWS] *= turn % 2;
    }
    cr_assert_eq(quipu_txn_begin_read(store, &txn, NULL), QUIPU_OK);
    for (uint8_t key = 0; key < ROWS; key++) {
        struct quipu_slice value;
        uint64_t found = 0;
        enum quipu_status status =
            quipu_txn_table_get(txn, table, quipu_slice(&key, 1), &value, NULL);
        if (status == QUIPU_OK) {
            memcpy(&found, value.data, sizeof found);
        }
        cr_assert(status == QUIPU_OK || status == QUIPU_NOT_FOUND);
        cr_assert_eq(found, expected[key], "row %u after %" PRIu64 " turns", key, turns);
    }
    quipu_txn_abort(&txn);
}

static bool run_rows(enum fault_kind kind, long n, bool is_lasting)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    uint64_t acked = 0;
    fixture_init(&fixture, &tuning);
    cr_assert_eq(write_rows(fixture.store, 3, &acked, &err), QUIPU_OK);

    fault_arm(kind, n, is_lasting);
    enum quipu_status status = write_rows(fixture.store, 9, &acked, &err);
    long failures = fault_disarm();

    cr_assert_eq(status, failures == 0 ? QUIPU_OK : QUIPU_IO, "kind %d, call %ld: %s", (int)kind, n,
                 quipu_status_name(status));
    assert_rows(fixture.store, acked);
    cr_assert_eq(write_rows(fixture.store, 4, &acked, &err), QUIPU_OK, "%s", err.message);
    fixture_reopen(&fixture, &tuning);
    assert_rows(fixture.store, acked);
    fixture_release(&fixture);
    return failures > 0;
}

Test(store_faults, rows_survive_the_failure_of_every_write_and_sync)
{
    sweep(run_rows, FAULT_WRITE, false, 9);
    sweep(run_rows, FAULT_WRITE, true, 9);
    sweep(run_rows, FAULT_SHORT, false, 9);
    sweep(run_rows, FAULT_SYNC, false, 9);
    sweep(run_rows, FAULT_SYNC, true, 9);
}

/* ------------------------------------------------------------------ making, copying, compacting */

static const struct {
    enum fault_kind kind;
    /* Calls that there are at least, so that a sweep that meets none is seen. */
    long calls_to_make;
    long calls_to_copy;
    long calls_to_compact;
} kinds[] = {
    {FAULT_WRITE, 2, 1, 1},  {FAULT_SHORT, 2, 1, 1},  {FAULT_SYNC, 3, 2, 2},
    {FAULT_RENAME, 1, 1, 1}, {FAULT_LENGTH, 1, 0, 0}, {FAULT_OPEN, 3, 2, 3},
    {FAULT_MKDIR, 2, 2, 1},  {FAULT_UNLINK, 1, 1, 1},
};

static bool run_making(enum fault_kind kind, long n, bool is_lasting)
{
    struct temp_dir dir;
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_error err;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "store", path);

    fault_arm(kind, n, is_lasting);
    enum quipu_status status = quipu_store_open(path, NULL, &store, &err);
    long failures = fault_disarm();

    assert_status(status, kind, n, failures);
    quipu_store_close(&store);
    cr_assert_eq(quipu_store_open(path, NULL, &store, &err), QUIPU_OK, "kind %d, call %ld: %s",
                 (int)kind, n, err.message);
    samples_commit(store, 0, 5, 5);
    cr_assert_eq(problems_of(store), 0);
    quipu_store_close(&store);
    temp_dir_release(&dir);
    return failures > 0;
}

/* A copy that is there is whole; one that is not can be made. */
static bool run_copying(enum fault_kind kind, long n, bool is_lasting)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_store *copy = NULL;
    struct quipu_error err;
    char path[2 * TEMP_DIR_BYTES];
    fixture_init(&fixture, &tuning);
    temp_dir_join(&fixture.dir, "copy", path);
    samples_commit(fixture.store, 0, 20, 5);

    fault_arm(kind, n, is_lasting);
    enum quipu_status status = quipu_store_backup(fixture.store, path, &err);
    long failures = fault_disarm();

    assert_status(status, kind, n, failures);
    enum quipu_status again = quipu_store_backup(fixture.store, path, &err);
    cr_assert(again == QUIPU_EXISTS || (again == QUIPU_OK && status != QUIPU_OK),
              "kind %d, call %ld: %s", (int)kind, n, quipu_status_name(again));
    cr_assert_eq(quipu_store_open_tuned(path, NULL, &tuning, &copy, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(last_position_of(copy), 20);
    cr_assert_eq(problems_of(copy), 0);
    quipu_store_close(&copy);
    samples_commit(fixture.store, 20, 30, 5);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_release(&fixture);
    return failures > 0;
}

static enum quipu_status renew(const struct fixture *fixture, bool is_repair,
                               struct quipu_error *err)
{
    return is_repair ? quipu_store_repair(fixture->path, NULL, NULL, err)
                     : quipu_store_compact(fixture->path, NULL, NULL, err);
}

static bool run_renewing(enum fault_kind kind, long n, bool is_lasting, bool is_repair)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_error err;
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, 20, 5);
    quipu_store_close(&fixture.store);

    fault_arm(kind, n, is_lasting);
    enum quipu_status status = renew(&fixture, is_repair, &err);
    long failures = fault_disarm();

    assert_status(status, kind, n, failures);
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(last_position_of(fixture.store), 20, "kind %d, call %ld", (int)kind, n);
    cr_assert_eq(problems_of(fixture.store), 0);
    samples_commit(fixture.store, 20, 30, 5);
    cr_assert_eq(problems_of(fixture.store), 0);
    quipu_store_close(&fixture.store);
    cr_assert_eq(renew(&fixture, is_repair, &err), QUIPU_OK, "%s", err.message);
    fixture_release(&fixture);
    return failures > 0;
}

static bool run_compacting(enum fault_kind kind, long n, bool is_lasting)
{
    return run_renewing(kind, n, is_lasting, false);
}

static bool run_repairing(enum fault_kind kind, long n, bool is_lasting)
{
    return run_renewing(kind, n, is_lasting, true);
}

Test(store_faults, a_store_can_be_made_after_the_failure_of_every_call_that_makes_it)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        sweep(run_making, kinds[i].kind, false, kinds[i].calls_to_make);
        sweep(run_making, kinds[i].kind, true, kinds[i].calls_to_make);
    }
}

Test(store_faults, a_backup_is_whole_or_not_there_after_the_failure_of_every_call)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        sweep(run_copying, kinds[i].kind, false, kinds[i].calls_to_copy);
        sweep(run_copying, kinds[i].kind, true, kinds[i].calls_to_copy);
    }
}

Test(store_faults, compacting_leaves_a_good_store_after_the_failure_of_every_call)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        sweep(run_compacting, kinds[i].kind, false, kinds[i].calls_to_compact);
        sweep(run_compacting, kinds[i].kind, true, kinds[i].calls_to_compact);
    }
}

Test(store_faults, repairing_leaves_a_good_store_after_the_failure_of_every_call)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        sweep(run_repairing, kinds[i].kind, false, kinds[i].calls_to_compact);
        sweep(run_repairing, kinds[i].kind, true, kinds[i].calls_to_compact);
    }
}
