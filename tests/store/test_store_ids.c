/*
 * Finding event_ids that are there twice: what is found is what comparing all of them with each
 * other finds, wherever they lie (in one run, in several, behind them) and however many begin
 * alike; and a store that others write to meanwhile is gone through to its end.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"
#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "store_fixture.h"

#define IDS_MAX 6000

static struct fixture fixture;
static struct quipu_uuid ids[IDS_MAX]; /* of the event at position i + 1 */
static uint64_t count;
static uint64_t state;

static void set_up(void)
{
    struct quipu_store_tuning tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    count = 0;
    state = 7;
}

static void tear_down(void)
{
    fixture_release(&fixture);
}

TestSuite(store_ids, .init = set_up, .fini = tear_down);

static uint64_t any(uint64_t below)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (state >> 33) % below;
}

static struct quipu_uuid id_of(uint64_t front, uint64_t back)
{
    struct quipu_uuid id;
    quipu_store_be64(id.bytes, front);
    quipu_store_be64(id.bytes + 8, back);
    return id;
}

/* In one transaction for every few. */
static void append(const struct quipu_uuid *list, uint64_t len)
{
    struct quipu_error err;
    for (uint64_t at = 0; at < len;) {
        struct quipu_txn *txn = NULL;
        cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, &err), QUIPU_OK, "%s", err.message);
        for (int i = 0; i < 50 && at < len; i++, at++) {
            struct sample sample;
            uint64_t position = 0;
            sample_make(&sample, count, 10, true);
            sample.record.event_id = list[at];
            memcpy(sample.envelope + 8 + count % 32, list[at].bytes, QUIPU_UUID_BYTES);
            sample.record.envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, sample.record.envelope);
            cr_assert_eq(sample_append(txn, &sample, &position, &err), QUIPU_OK, "%s", err.message);
            ids[count++] = list[at];
            cr_assert_eq(position, count);
        }
        cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK, "%s", err.message);
    }
}

/* For each position: which one it was said to repeat. */
static uint64_t first_of[IDS_MAX + 1];
static uint64_t told;
static bool are_same;

static void note(void *ctx, const struct quipu_repeated_id *repeated)
{
    (void)ctx;
    cr_assert_leq(repeated->position, IDS_MAX);
    cr_assert_eq(first_of[repeated->position], 0, "position %" PRIu64 " is told once",
                 repeated->position);
    cr_assert(quipu_uuid_equal(repeated->event_id, ids[repeated->position - 1]));
    first_of[repeated->position] = repeated->first;
    are_same = repeated->is_same_event;
    told++;
}

static enum quipu_status check(struct quipu_error *err)
{
    memset(first_of, 0, sizeof first_of);
    told = 0;
    return quipu_store_check_event_ids(fixture.store, note, NULL, err);
}

/* Against the comparison of each with each. */
static uint64_t assert_finds_all(void)
{
    struct quipu_error err;
    uint64_t expected = 0;
    cr_assert_eq(check(&err), QUIPU_OK, "%s", err.message);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = 0;
        while (!quipu_uuid_equal(ids[first], ids[i])) {
            first++;
        }
        cr_assert_eq(first_of[i + 1], first == i ? 0 : first + 1, "position %" PRIu64, i + 1);
        expected += first != i;
    }
    cr_assert_eq(told, expected);
    cr_assert_eq(problems_of(fixture.store), 0, "the indexes are sound");
    return told;
}

Test(store_ids, finds_none_in_a_sound_store)
{
    cr_assert_eq(assert_finds_all(), 0, "an empty one");
    samples_commit(fixture.store, 0, 3, 1);
    struct quipu_error err;
    cr_assert_eq(check(&err), QUIPU_OK, "%s", err.message);
    samples_commit(fixture.store, 3, 200, 7);
    cr_assert_eq(check(&err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(told, 0);
}

Test(store_ids, finds_each_pair_of_places)
{
    /* 4 events a tail: one run, another, and behind them. */
    for (uint64_t n = 1; n <= 11; n++) {
        struct quipu_uuid id = id_of(n, n);
        append(&id, 1);
    }
    for (uint64_t n = 1; n <= 11; n++) {
        struct quipu_uuid id = id_of(n, n);
        append(&id, 1);
        cr_assert_eq(assert_finds_all(), n);
    }
    cr_assert_not(are_same);
}

Test(store_ids, ids_that_begin_or_end_alike_are_not_the_same)
{
    static const struct {
        uint64_t front;
        uint64_t back;
    } list[] = {{5, 1}, {5, 2}, {6, 1},          {UINT64_MAX, 1}, {UINT64_MAX, UINT64_MAX},
                {0, 0}, {0, 1}, {5, UINT64_MAX}, {UINT64_MAX, 0}};
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        struct quipu_uuid id = id_of(list[i].front, list[i].back);
        append(&id, 1);
    }
    cr_assert_eq(assert_finds_all(), 0);
    struct quipu_uuid last = id_of(UINT64_MAX, UINT64_MAX);
    append(&last, 1);
    cr_assert_eq(assert_finds_all(), 1);
}

Test(store_ids, agrees_with_a_comparison_of_all)
{
    static struct quipu_uuid list[400];
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < 400; i++) {
            list[i] = id_of(any(500), any(4));
        }
        append(list, 400);
        cr_assert_gt(assert_finds_all(), 0);
    }
}

/* 256 fit, with these sizes. */
Test(store_ids, more_begin_alike_than_are_held_at_once)
{
    static struct quipu_uuid list[2000];
    for (size_t i = 0; i < 2000; i++) {
        list[i] = id_of(i % 5 == 0 ? i : 77, any(UINT64_C(1) << 40));
    }
    list[1501] = list[3];
    list[1999] = list[3];
    list[999] = list[998];
    append(list, 2000);
    cr_assert_eq(assert_finds_all(), 3);
}

Test(store_ids, one_is_there_more_often_than_are_held_at_once)
{
    static struct quipu_uuid list[1200];
    for (size_t i = 0; i < 1200; i++) {
        list[i] = i % 2 == 0 ? id_of(77, 5) : id_of(77, i);
    }
    append(list, 1200);
    cr_assert_eq(assert_finds_all(), 600, "599 and the one that is five itself");
}

Test(store_ids, tells_the_same_event_from_another)
{
    struct sample sample;
    struct quipu_error err;
    for (int i = 0; i < 2; i++) {
        struct quipu_txn *txn = NULL;
        uint64_t position = 0;
        sample_make(&sample, 3, 10, true);
        cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, &err), QUIPU_OK, "%s", err.message);
        cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, &err), QUIPU_OK);
        cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK, "%s", err.message);
        ids[count++] = sample.record.event_id;
    }
    cr_assert_eq(check(&err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(told, 1);
    cr_assert(are_same);
    cr_assert_eq(first_of[2], 1);
}

/* Another handle writes between the slices: every one of them begins behind what was looked at. */
static struct quipu_uuid more[40];

static void note_and_append(void *ctx, const struct quipu_repeated_id *repeated)
{
    note(ctx, repeated);
    if (count < 5900) {
        for (size_t i = 0; i < 40; i++) {
            more[i] = id_of(any(UINT64_C(1) << 30) | UINT64_C(1) << 40, count + i);
        }
        append(more, 40);
    }
}

Test(store_ids, goes_on_where_runs_have_moved)
{
    static struct quipu_uuid list[2000];
    struct quipu_error err;
    for (size_t i = 0; i < 2000; i++) {
        list[i] = id_of(any(UINT64_C(1) << 40), i);
    }
    for (size_t i = 1000; i < 1100; i++) {
        list[i] = list[i - 1000];
    }
    append(list, 2000);
    told = 0;
    memset(first_of, 0, sizeof first_of);
    cr_assert_eq(quipu_store_check_event_ids(fixture.store, note_and_append, NULL, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(told, 100);
    for (uint64_t i = 1001; i <= 1100; i++) {
        cr_assert_eq(first_of[i], i - 1000);
    }
    cr_assert_gt(count, 5000);
}

/* ------------------------------------------------------------------ damaged indexes */

/* Change the first entry of each segment of the index, by LMDB. */
static void damage_index(uint8_t prefix_byte)
{
    MDB_env *env = NULL;
    MDB_txn *txn = NULL;
    MDB_dbi dbi;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val val;
    quipu_store_close(&fixture.store);
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 8), 0);
    cr_assert_eq(mdb_env_set_mapsize(env, 64 << 20), 0);
    cr_assert_eq(mdb_env_open(env, fixture.path, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "eidrun", MDB_INTEGERKEY, &dbi), 0);
    cr_assert_eq(mdb_cursor_open(txn, dbi, &cursor), 0);
    while (mdb_cursor_get(cursor, &key, &val, MDB_NEXT) == 0) {
        uint8_t copy[65536];
        cr_assert_leq(val.mv_size, sizeof copy);
        memcpy(copy, val.mv_data, val.mv_size);
        copy[0] = prefix_byte;
        MDB_val now = {val.mv_size, copy};
        cr_assert_eq(mdb_cursor_put(cursor, &key, &now, MDB_CURRENT), 0);
    }
    mdb_cursor_close(cursor);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    struct quipu_store_tuning tuning = tuning_small();
    fixture_reopen(&fixture, &tuning);
}

Test(store_ids, ends_where_the_index_is_not_sorted)
{
    struct quipu_error err;
    samples_commit(fixture.store, 0, 100, 5);
    damage_index(0xff);
    cr_assert_eq(check(&err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(err.message, "--repair-indexes"), "%s", err.message);
    cr_assert_eq(told, 0);
}

/* ------------------------------------------------------------------ memory */

static uint64_t calls_left;

static void *scarce(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return calls_left-- == 0 ? (calls_left = 0, NULL) : realloc(pointer, bytes);
}

static void give_back(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

Test(store_ids, without_memory_it_says_so)
{
    static const struct quipu_allocator allocator = {scarce, give_back, NULL};
    static struct quipu_uuid list[1202];
    struct quipu_error err;
    enum quipu_status status = QUIPU_NO_MEMORY;
    for (size_t i = 0; i < 1202; i++) {
        list[i] = id_of(77, i % 2 == 0 ? 5 : i);
    }
    append(list, 1202);
    quipu_alloc_set(&allocator);
    for (uint64_t calls = 0; status != QUIPU_OK && calls < 100; calls++) {
        calls_left = calls;
        status = check(&err);
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "%s", err.message);
    }
    quipu_alloc_set(NULL);
    cr_assert_eq(status, QUIPU_OK);
}
