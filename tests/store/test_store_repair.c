/*
 * Repairing: whatever is done to what derives from the log, through LMDB and behind the store's
 * back, the store answers as before afterwards. What does not derive from it is refused, with the
 * old file untouched; and a kill at any boundary leaves the old file or the new one.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "internal.h"
#include "store_answers.h"
#include "store_fixture.h"
#include "upkeep.h"

#define EVENTS 150
#define ROUNDS 200

static struct fixture fixture;
static struct quipu_store_tuning tuning;
static uint64_t before;

static void set_up(void)
{
    tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    samples_commit(fixture.store, 0, EVENTS, 3);
    rows_commit(fixture.store, 40);
    quipu_store_close(&fixture.store);
    before = answers_at(fixture.path);
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_repair, .init = set_up, .fini = tear_down);

static enum quipu_status repair(struct quipu_repair_report *report, struct quipu_error *err)
{
    return quipu_store_repair_tuned(fixture.path, &tuning, NULL, report, err);
}

/* ------------------------------------------------------------------ damage */

static uint64_t next_random(uint64_t *state)
{
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = (*state ^ *state >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* The environment, opened without the store. */
struct raw {
    MDB_env *env;
    MDB_txn *txn;
};

static struct raw raw_open(void)
{
    struct raw raw = {NULL, NULL};
    cr_assert_eq(mdb_env_create(&raw.env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(raw.env, 16), 0);
    cr_assert_eq(mdb_env_set_mapsize(raw.env, 64 << 20), 0);
    cr_assert_eq(mdb_env_open(raw.env, fixture.path, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(raw.env, NULL, 0, &raw.txn), 0);
    return raw;
}

static void raw_commit(struct raw *raw)
{
    cr_assert_eq(mdb_txn_commit(raw->txn), 0);
    mdb_env_close(raw->env);
}

/* Change one row: flip a byte of its value, cut it, write rubbish, delete it, or forge another. */
static void damage_row(MDB_txn *txn, MDB_dbi dbi, MDB_val key, MDB_val val, uint64_t *random)
{
    uint8_t value[1 << 16];
    uint8_t name[600];
    cr_assert_leq(val.mv_size, sizeof value);
    memcpy(value, val.mv_data, val.mv_size);
    memcpy(name, key.mv_data, key.mv_size);
    MDB_val new_key = {key.mv_size, name};
    MDB_val new_val = {val.mv_size, value};
    switch (next_random(random) % 5) {
    case 0:
        value[next_random(random) % val.mv_size] ^= (uint8_t)(1u << next_random(random) % 8);
        break;
    case 1:
        new_val.mv_size = (size_t)(next_random(random) % val.mv_size);
        break;
    case 2:
        for (size_t i = 0; i < val.mv_size; i++) {
            value[i] = (uint8_t)next_random(random);
        }
        break;
    case 3:
        cr_assert_eq(mdb_del(txn, dbi, &new_key, NULL), 0);
        return;
    default:
        name[key.mv_size - 1] ^= (uint8_t)(1 + next_random(random) % 255);
        break;
    }
    cr_assert_eq(mdb_put(txn, dbi, &new_key, &new_val, 0), 0);
}

static void damage_some_row(MDB_txn *txn, MDB_dbi dbi, uint64_t *random)
{
    MDB_stat stat;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    cr_assert_eq(mdb_stat(txn, dbi, &stat), 0);
    if (stat.ms_entries == 0) {
        return;
    }
    uint64_t skip = next_random(random) % stat.ms_entries;
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    do {
        cr_assert_eq(mdb_cursor_get(cursor, &key, &val, MDB_NEXT), 0);
    } while (skip-- > 0);
    damage_row(txn, dbi, key, val, random);
    mdb_cursor_close(cursor);
}

/* Hurt one of the databases that derive from the log, or the manifest. */
static void damage_something(uint64_t *random)
{
    struct raw raw = raw_open();
    MDB_dbi dbi;
    for (uint64_t times = 1 + next_random(random) % 3; times > 0; times--) {
        enum quipu_db db = (enum quipu_db)(next_random(random) % QUIPU_DBS);
        if (db == QUIPU_DB_LOG || db == QUIPU_DB_TABLE) {
            continue;
        }
        int code = mdb_dbi_open(raw.txn, quipu_db_name(db), quipu_db_flags(db), &dbi);
        if (code == MDB_NOTFOUND) {
            continue; /* dropped in a turn before */
        }
        cr_assert_eq(code, 0);
        if (db == QUIPU_DB_META) {
            char runs[] = "runs";
            MDB_val key = {4, runs};
            MDB_val val;
            if (mdb_get(raw.txn, dbi, &key, &val) == 0) {
                damage_row(raw.txn, dbi, key, val, random);
            }
        } else if (next_random(random) % 16 == 0) {
            cr_assert_eq(mdb_drop(raw.txn, dbi, (int)(next_random(random) % 2)), 0);
        } else {
            damage_some_row(raw.txn, dbi, random);
        }
    }
    raw_commit(&raw);
}

Test(store_repair, mends_whatever_is_done_to_what_derives_from_the_log, .timeout = 300)
{
    uint64_t random = 1;
    struct quipu_error err;
    for (int round = 0; round < ROUNDS; round++) {
        struct quipu_repair_report report = {0};
        damage_something(&random);
        cr_assert_eq(repair(&report, &err), QUIPU_OK, "round %d: %s", round, err.message);
        cr_assert_eq(report.events, EVENTS);
        cr_assert_eq(report.aggregates, 10);
        cr_assert_eq(report.relinked, 0);
        cr_assert_eq(answers_at(fixture.path), before, "round %d", round);
    }
}

/* Change bytes of a record in place. */
static void damage_record(uint64_t position, size_t at, uint8_t mask)
{
    struct raw raw = raw_open();
    MDB_dbi dbi;
    uint8_t value[4096];
    MDB_val key = {sizeof position, &position};
    MDB_val val;
    cr_assert_eq(mdb_dbi_open(raw.txn, "log", MDB_INTEGERKEY, &dbi), 0);
    cr_assert_eq(mdb_get(raw.txn, dbi, &key, &val), 0);
    cr_assert_leq(val.mv_size, sizeof value);
    memcpy(value, val.mv_data, val.mv_size);
    value[at] ^= mask;
    val.mv_data = value;
    cr_assert_eq(mdb_put(raw.txn, dbi, &key, &val, 0), 0);
    raw_commit(&raw);
}

Test(store_repair, puts_links_between_events_right)
{
    struct quipu_repair_report report = {0};
    struct quipu_error err;
    damage_record(77, 39, 0x05);
    damage_record(90, 32, 0x80); /* leads behind the log's end: the record is malformed */
    cr_assert_eq(repair(&report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.relinked, 2);
    cr_assert_eq(answers_at(fixture.path), before);
}

Test(store_repair, leaves_bytes_of_events_as_they_are)
{
    struct quipu_repair_report report = {0};
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    uint8_t digest[QUIPU_SHA256_BYTES];
    /* The last byte of the header: of the envelope's digest. */
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, 60, &record, NULL), QUIPU_OK);
    memcpy(digest, record.envelope_cid.digest, sizeof digest);
    quipu_txn_abort(&txn);
    quipu_store_close(&fixture.store);
    damage_record(60, 71, 1);
    digest[QUIPU_SHA256_BYTES - 1] ^= 1;

    cr_assert_eq(repair(&report, &err), QUIPU_OK, "%s", err.message);
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, 60, &record, NULL), QUIPU_OK);
    cr_assert_arr_eq(record.envelope_cid.digest, digest, sizeof digest);
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ refusals */

Test(store_repair, says_which_record_cannot_be_read_and_changes_nothing)
{
    struct quipu_error err;
    struct quipu_repair_report report = {.events = 999};
    damage_record(42, 0, 0xff);
    cr_assert_eq(repair(&report, &err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(err.message, "position 42"), "%s", err.message);
    cr_assert_eq(report.events, 999);
    cr_assert_not(folder_has(fixture.path, "create.tmp"));
    damage_record(42, 0, 0xff); /* back again */
    cr_assert_eq(answers_at(fixture.path), before);
}

Test(store_repair, says_that_a_position_is_missing)
{
    struct quipu_error err;
    struct raw raw = raw_open();
    MDB_dbi dbi;
    uint64_t position = 42;
    MDB_val key = {sizeof position, &position};
    cr_assert_eq(mdb_dbi_open(raw.txn, "log", MDB_INTEGERKEY, &dbi), 0);
    cr_assert_eq(mdb_del(raw.txn, dbi, &key, NULL), 0);
    raw_commit(&raw);
    cr_assert_eq(repair(NULL, &err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(err.message, "ends at position 150 but holds 149 records"), "%s",
                       err.message);
}

Test(store_repair, is_refused_where_it_is_open)
{
    struct quipu_error err;
    fixture_reopen(&fixture, &tuning);
    cr_assert_eq(repair(NULL, &err), QUIPU_BUSY, "%s", err.message);
}

/* ------------------------------------------------------------------ in the middle */

Test(store_repair, a_kill_or_failure_anywhere_leaves_the_old_file_or_the_new, .timeout = 300)
{
    static const char *const points[] = {
        "store.repair.batch",  "store.repair.rows", "store.repair.sync",   "store.repair.rename",
        "store.commit.before", "store.run.write",   "store.merge.segment", "store.append",
    };
#ifndef QUIPU_FAILPOINTS
    fprintf(stderr, "skipped: built without failpoints\n");
    return;
#endif
    uint64_t random = 7;
    for (size_t i = 0; i < 2 * sizeof points / sizeof points[0]; i++) {
        const char *point = points[i / 2];
        bool is_kill = i % 2 == 0;
        char failpoint[64];
        snprintf(failpoint, sizeof failpoint, "%s:%s:1", point, is_kill ? "kill" : "fail");
        damage_something(&random);
        pid_t pid = fork();
        if (pid == 0) {
            setenv("QUIPU_FAILPOINT", failpoint, 1);
            _exit(repair(NULL, NULL) == QUIPU_OK ? 0 : 1);
        }
        int status = -1;
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert(is_kill ? WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                          : WIFEXITED(status) && WEXITSTATUS(status) == 1,
                  "%s: status 0x%x", failpoint, (unsigned)status);
        cr_assert_eq(repair(NULL, NULL), QUIPU_OK, "%s", failpoint);
        cr_assert_eq(answers_at(fixture.path), before, "%s", failpoint);
        cr_assert_not(folder_has(fixture.path, "create.tmp"), "%s", failpoint);
    }
}
