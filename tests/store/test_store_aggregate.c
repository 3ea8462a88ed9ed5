/*
 * Walks over one aggregate: whole, from a version, between positions; with forks, longer than what
 * is noted at a time, over several transactions, under writes, without memory.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "quipu/alloc.h"
#include "record.h"
#include "store_fixture.h"

#define AGGREGATES 3

static struct fixture fixture;
static struct quipu_txn *txn;

static void set_up(void)
{
    struct quipu_store_tuning tuning = tuning_small();
    fixture_init(&fixture, &tuning);
    txn = NULL;
}

static void tear_down(void)
{
    quipu_txn_abort(&txn);
    fixture_release(&fixture);
}

TestSuite(store_aggregate, .init = set_up, .fini = tear_down);

/* Events 0 … count - 1, those of one aggregate with the versions that come next. */
static void append_samples(uint64_t count)
{
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t seed = 0; seed < count; seed++) {
        struct sample sample;
        uint64_t position;
        sample_make(&sample, seed, AGGREGATES, true);
        cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
    }
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

static void append_version(uint64_t seed, uint64_t version)
{
    struct sample sample;
    uint64_t position;
    sample_make(&sample, seed * AGGREGATES, AGGREGATES, true);
    sample.record.version = version;
    cr_assert_eq(quipu_txn_append(txn, &sample.record, &position, NULL), QUIPU_OK);
}

static struct quipu_aggregate aggregate_of(const char *id)
{
    return (struct quipu_aggregate){quipu_slice_text("sample"), quipu_slice_text(id)};
}

static struct quipu_aggregate_walk *open_walk(const struct quipu_aggregate_range *range)
{
    struct quipu_aggregate_walk *walk = NULL;
    struct quipu_error err;
    if (txn == NULL) {
        cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    }
    cr_assert_eq(quipu_aggregate_walk_open(txn, range, &walk, &err), QUIPU_OK, "%s", err.message);
    return walk;
}

/* Walks to the end: versions first … last, by one each, of agg-1 (seeds 1, 4, 7 …). */
static void assert_serves(struct quipu_aggregate_walk *walk, uint64_t first, uint64_t last)
{
    struct quipu_record record;
    struct quipu_error err;
    for (uint64_t version = first; version <= last; version++) {
        struct sample sample;
        sample_make(&sample, 1 + (version - 1) * AGGREGATES, AGGREGATES, true);
        cr_assert_eq(quipu_aggregate_walk_next(walk, &record, &err), QUIPU_OK, "version %lu: %s",
                     version, err.message);
        cr_assert_eq(record.version, version);
        cr_assert_eq(record.position, 2 + (version - 1) * AGGREGATES);
        cr_assert(quipu_slice_equal(record.payload, sample.record.payload));
    }
    cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
    cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
}

Test(store_aggregate, serves_every_range_of_versions_and_positions)
{
    append_samples(60);
    for (uint64_t first = 0; first <= 22; first++) {
        struct quipu_aggregate_range range = {.aggregate = aggregate_of("agg-1"),
                                              .version_min = first};
        struct quipu_aggregate_walk *walk = open_walk(&range);
        assert_serves(walk, first == 0 ? 1 : first, 20);
        quipu_aggregate_walk_close(&walk);
        cr_assert_null(walk);
    }
    for (uint64_t first = 0; first <= 62; first++) {
        for (uint64_t last = 1; last <= 62; last += 5) {
            struct quipu_aggregate_range range = {
                .aggregate = aggregate_of("agg-1"), .position_min = first, .position_max = last};
            struct quipu_aggregate_walk *walk = open_walk(&range);
            uint64_t end = last > 60 ? 20 : (last + 1) / 3;
            assert_serves(walk, first <= 2 ? 1 : first / 3 + 1, end);
            quipu_aggregate_walk_close(&walk);
        }
    }
}

Test(store_aggregate, without_events_a_walk_is_over_at_once)
{
    append_samples(5);
    struct quipu_record record;
    static char long_id[300];
    memset(long_id, 'a', sizeof long_id - 1);
    const char *ids[] = {"agg-9", "", long_id};
    for (int i = 0; i < 3; i++) {
        struct quipu_aggregate_range range = {.aggregate = aggregate_of(ids[i])};
        struct quipu_aggregate_walk *walk = open_walk(&range);
        cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
        quipu_aggregate_walk_close(&walk);
    }
    quipu_aggregate_walk_close(NULL);
}

Test(store_aggregate, a_fork_hides_no_event_of_a_greater_version)
{
    static const uint64_t versions[] = {1, 2, 3, 4, 2, 3, 4, 5};
    static const uint64_t wanted[] = {4, 4, 5};
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t i = 0; i < 8; i++) {
        append_version(i, versions[i]);
    }
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);

    struct quipu_aggregate_range range = {.aggregate = aggregate_of("agg-0"), .version_min = 4};
    struct quipu_aggregate_walk *walk = open_walk(&range);
    struct quipu_record record;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.version, wanted[i]);
    }
    cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
    quipu_aggregate_walk_close(&walk);
    cr_assert_eq(problems_of(fixture.store), 0);
}

Test(store_aggregate, goes_on_in_later_transactions_to_the_end_that_it_began_with)
{
    append_samples(60);
    struct quipu_aggregate_range range = {.aggregate = aggregate_of("agg-1")};
    struct quipu_aggregate_walk *walk = open_walk(&range);
    struct quipu_record record;
    for (uint64_t version = 1; version <= 20; version++) {
        cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.version, version);
        if (version % 3 == 0) {
            quipu_txn_abort(&txn);
            struct sample sample;
            uint64_t position;
            cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
            sample_make(&sample, 1000 * AGGREGATES + 1 + version, AGGREGATES, true);
            cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
            cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
            cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
            quipu_aggregate_walk_resume(walk, txn);
        }
    }
    cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
    quipu_txn_abort(&txn);
    quipu_aggregate_walk_close(&walk);
}

Test(store_aggregate, survives_writes_of_its_own_transaction)
{
    append_samples(30);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
    struct quipu_aggregate_range range = {.aggregate = aggregate_of("agg-1")};
    struct quipu_aggregate_walk *walk = open_walk(&range);
    struct quipu_record record;
    for (uint64_t version = 1; version <= 10; version++) {
        struct sample sample;
        uint64_t position;
        cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.version, version);
        sample_make(&sample, 100 * AGGREGATES + version, AGGREGATES, true);
        cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
    }
    cr_assert_eq(quipu_aggregate_walk_next(walk, &record, NULL), QUIPU_DONE);
    quipu_aggregate_walk_close(&walk);
}
