/*
 * Finding events by their type and their correlation: at the borders of transactions and snapshots,
 * with terms of one hash, without memory; and how often the tail compares. Random walks are in
 * test_store_model.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal/bytes.h"
#include "quipu/alloc.h"
#include "record.h"
#include "store_fixture.h"
#include "tail.h"

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

TestSuite(store_terms, .init = set_up, .fini = tear_down);

static void append_seeds(const uint64_t *seeds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct sample sample;
        uint64_t position;
        sample_make(&sample, seeds[i], 10, true);
        cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
    }
}

static void begin_write(void)
{
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
}

static void commit_and_read(void)
{
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
}

static struct quipu_term type_term(const char *type)
{
    return (struct quipu_term){QUIPU_TERM_EVENT_TYPE, quipu_slice_text(type)};
}

/* The term of the correlation that the event of this seed belongs to; lives as the sample. */
static struct quipu_term correlation_term(struct sample *sample, uint64_t seed)
{
    sample_make(sample, seed, 10, true);
    return (struct quipu_term){QUIPU_TERM_CORRELATION,
                               quipu_slice(sample->record.correlation_id.bytes, QUIPU_UUID_BYTES)};
}

/* Both ways, the walk over all events of the term meets these positions. */
static void assert_walks(struct quipu_term term, const uint64_t *positions, size_t count)
{
    struct quipu_record record;
    uint64_t at = 0;
    for (size_t i = 0; i <= count; i++) {
        enum quipu_status status = quipu_txn_find_term(txn, term, at, QUIPU_SEEK_GT, &record, NULL);
        cr_assert_eq(status, i < count ? QUIPU_OK : QUIPU_DONE, "step %zu", i);
        if (i < count) {
            at = record.position;
            cr_assert_eq(at, positions[i], "%lu instead of %lu", at, positions[i]);
        }
    }
    at = UINT64_MAX;
    for (size_t i = count + 1; i > 0; i--) {
        enum quipu_status status = quipu_txn_find_term(txn, term, at, QUIPU_SEEK_LT, &record, NULL);
        cr_assert_eq(status, i > 1 ? QUIPU_OK : QUIPU_DONE, "step back %zu", i);
        if (i > 1) {
            at = record.position;
            cr_assert_eq(at, positions[i - 2]);
        }
    }
}

Test(store_terms, the_event_that_a_correlation_is_named_after_may_come_at_any_place)
{
    static const uint64_t seeds[] = {1, 6, 11, 7, 5, 2, 8, 12, 9};
    static const uint64_t of_5[] = {2, 4, 5, 7, 9};
    static const uint64_t of_10[] = {3, 8};
    struct sample sample;
    begin_write();
    append_seeds(seeds, 9);
    assert_walks(correlation_term(&sample, 7), of_5, 5);
    assert_walks(correlation_term(&sample, 12), of_10, 2);
    commit_and_read();

    assert_walks(correlation_term(&sample, 7), of_5, 5);
    assert_walks(correlation_term(&sample, 12), of_10, 2);
    assert_walks(correlation_term(&sample, 20), NULL, 0);
    assert_walks(type_term("sample.kind-77"), NULL, 0);
}

Test(store_terms, a_write_transaction_finds_what_it_has_just_written)
{
    static const uint64_t seeds[] = {6, 7};
    static const uint64_t own[] = {5};
    static const uint64_t more[] = {8, 9, 11};
    static const uint64_t before[] = {1, 2};
    static const uint64_t after[] = {1, 2, 3};
    static const uint64_t behind[] = {1, 2, 3, 4, 5};
    struct sample sample;
    struct quipu_record record;
    begin_write();
    append_seeds(seeds, 2);
    assert_walks(correlation_term(&sample, 6), before, 2);
    append_seeds(own, 1);
    struct quipu_term type = {QUIPU_TERM_EVENT_TYPE, sample.record.event_type};
    cr_assert_eq(quipu_txn_find_term(txn, type, 0, QUIPU_SEEK_GE, &record, NULL), QUIPU_OK);
    assert_walks(correlation_term(&sample, 6), after, 3);
    /* These fill the tail, which becomes a run. */
    append_seeds(more, 3);
    assert_walks(correlation_term(&sample, 6), behind, 5);
    quipu_txn_abort(&txn);

    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    assert_walks(correlation_term(&sample, 6), NULL, 0);
}

Test(store_terms, a_snapshot_keeps_to_its_end)
{
    uint64_t positions[5] = {1, 2, 3, 4, 5};
    struct sample sample;
    samples_commit(fixture.store, 0, 3, 3);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    assert_walks(correlation_term(&sample, 0), positions, 3);

    samples_commit(fixture.store, 3, 90, 7);
    assert_walks(correlation_term(&sample, 0), positions, 3);
    assert_walks(correlation_term(&sample, 7), NULL, 0);
    quipu_txn_abort(&txn);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    assert_walks(correlation_term(&sample, 0), positions, 5);
    for (uint64_t i = 0; i < 5; i++) {
        positions[i] += 85;
    }
    assert_walks(correlation_term(&sample, 85), positions, 5);
}

Test(store_terms, are_found_where_more_is_unindexed_than_a_tail_holds)
{
    struct quipu_store_tuning large = quipu_store_tuning_default();
    struct quipu_store_tuning small = tuning_small();
    static const uint64_t positions[] = {251, 252, 253, 254, 255};
    struct sample sample;
    fixture_reopen(&fixture, &large);
    samples_commit(fixture.store, 0, 500, 100);
    fixture_reopen(&fixture, &small);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    assert_walks(correlation_term(&sample, 253), positions, 5);
}

struct hashed {
    uint32_t hash;
    uint32_t number;
};

static int compare_hashed(const void *a, const void *b)
{
    uint32_t left = ((const struct hashed *)a)->hash;
    uint32_t right = ((const struct hashed *)b)->hash;
    return left < right ? -1 : left > right;
}

/* Two event types of one hash. */
static void make_collision(char first[24], char second[24])
{
    enum { TRIES = 400000 };
    struct hashed *all = malloc(TRIES * sizeof *all);
    for (uint32_t i = 0; i < TRIES; i++) {
        snprintf(first, 24, "type.of-%u", i);
        all[i] =
            (struct hashed){quipu_term_hash(QUIPU_TERM_EVENT_TYPE, quipu_slice_text(first)), i};
    }
    qsort(all, TRIES, sizeof *all, compare_hashed);
    size_t at = 1;
    while (at < TRIES && all[at].hash != all[at - 1].hash) {
        at++;
    }
    cr_assert_lt(at, TRIES, "no two types have one hash");
    snprintf(first, 24, "type.of-%u", all[at - 1].number);
    snprintf(second, 24, "type.of-%u", all[at].number);
    free(all);
}

Test(store_terms, terms_of_one_hash_are_told_apart_by_the_records)
{
    char types[2][24];
    uint64_t positions[2][44];
    size_t counts[2] = {0, 0};
    make_collision(types[0], types[1]);
    begin_write();
    for (uint64_t seed = 0; seed < 66; seed++) {
        struct sample sample;
        uint64_t position;
        size_t which = seed % 3 != 0;
        sample_make(&sample, seed, 10, true);
        /* Between its event_id and its digest. */
        size_t len = strlen(types[which]);
        uint8_t *at = sample.envelope + 28 + seed % 32;
        memcpy(at, types[which], len);
        sample.record.event_type = quipu_slice(at, len);
        sample.record.envelope_cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, sample.record.envelope);
        cr_assert_eq(sample_append(txn, &sample, &position, NULL), QUIPU_OK);
        positions[which][counts[which]++] = position;
    }
    commit_and_read();

    cr_assert_eq(counts[0], 22);
    cr_assert_eq(counts[1], 44);
    assert_walks(type_term(types[0]), positions[0], counts[0]);
    assert_walks(type_term(types[1]), positions[1], counts[1]);
    cr_assert_eq(problems_of(fixture.store), 0);
}

Test(store_terms, the_ends_of_the_log_and_what_is_no_term)
{
    struct quipu_record record;
    struct sample sample;
    static const char long_type[QUIPU_TERM_BYTES_MAX + 1];
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    assert_walks(type_term("sample.kind-0"), NULL, 0);
    quipu_txn_abort(&txn);
    samples_commit(fixture.store, 0, 5, 5);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);

    struct quipu_term term = correlation_term(&sample, 0);
    static const struct {
        uint64_t from;
        enum quipu_seek seek;
        uint64_t position; /* 0: none */
    } cases[] = {
        {0, QUIPU_SEEK_GE, 1},          {0, QUIPU_SEEK_GT, 1},
        {1, QUIPU_SEEK_GT, 2},          {5, QUIPU_SEEK_GE, 5},
        {5, QUIPU_SEEK_GT, 0},          {6, QUIPU_SEEK_GE, 0},
        {0, QUIPU_SEEK_LE, 0},          {0, QUIPU_SEEK_LT, 0},
        {1, QUIPU_SEEK_LT, 0},          {1, QUIPU_SEEK_LE, 1},
        {6, QUIPU_SEEK_LT, 5},          {UINT64_MAX, QUIPU_SEEK_LE, 5},
        {5, QUIPU_SEEK_LT, 4},          {UINT64_MAX, QUIPU_SEEK_LT, 5},
        {UINT64_MAX, QUIPU_SEEK_GE, 0}, {UINT64_MAX, QUIPU_SEEK_GT, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        record.position = 0;
        enum quipu_status status =
            quipu_txn_find_term(txn, term, cases[i].from, cases[i].seek, &record, NULL);
        cr_assert_eq(status, cases[i].position == 0 ? QUIPU_DONE : QUIPU_OK, "case %zu", i);
        cr_assert_eq(record.position, cases[i].position, "case %zu: %lu", i, record.position);
    }
    struct quipu_term wrong[] = {
        {QUIPU_TERM_EVENT_TYPE, quipu_slice(NULL, 0)},
        {QUIPU_TERM_EVENT_TYPE, quipu_slice(long_type, sizeof long_type)},
        {QUIPU_TERM_CORRELATION, quipu_slice(long_type, 15)},
        {QUIPU_TERM_CORRELATION, quipu_slice(long_type, 17)},
    };
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(quipu_txn_find_term(txn, wrong[i], 0, QUIPU_SEEK_GE, &record, NULL),
                     QUIPU_DONE);
    }
}

/* ------------------------------------------------------------------ the tail */

/* Nodes from the one of this id to the end of its bucket. */
static uint32_t chain_length(const struct quipu_tail *tail, struct quipu_uuid id)
{
    uint32_t passed = 0;
    for (uint32_t node = quipu_tail_first(tail, quipu_tail_id_key(id)); node != 0;
         node = tail->next[node - 1]) {
        passed++;
    }
    return passed;
}

Test(store_tail, ids_of_one_millisecond_do_not_share_a_bucket)
{
    enum { EVENTS = 1000 };
    struct quipu_tail tail;
    struct quipu_record record = {.event_type = quipu_slice_text("a")};
    uint64_t candidates = 0;
    uint64_t passed = 0;
    cr_assert_eq(quipu_tail_init(&tail, EVENTS, NULL), QUIPU_OK);
    quipu_tail_reset(&tail, 0);
    for (uint64_t i = 0; i < EVENTS; i++) {
        record.position = i + 1;
        quipu_store_be64(record.event_id.bytes, UINT64_C(0x0190b5d67c3a7000));
        quipu_store_be64(record.event_id.bytes + 8, UINT64_C(0x8000000000000000) + i);
        record.correlation_id = record.event_id;
        quipu_store_be64(record.envelope_cid.digest, i * UINT64_C(0x9e3779b97f4a7c15));
        quipu_store_be64(record.payload_cid.digest, ~i * UINT64_C(0x9e3779b97f4a7c15));
        for (uint32_t node = quipu_tail_first(&tail, quipu_tail_id_key(record.event_id)); node != 0;
             node = quipu_tail_next(&tail, node)) {
            candidates++;
        }
        quipu_tail_push(&tail, &record);
        passed += chain_length(&tail, record.event_id);
    }
    /* With the first eight bytes for a key it would be 499,500 of each. */
    cr_assert_eq(candidates, 0, "%lu records would be compared for ids that are new", candidates);
    cr_assert_lt(passed, 3 * EVENTS, "%lu nodes for %d ids", passed, EVENTS);
    quipu_tail_release(&tail);
}

/* ------------------------------------------------------------------ memory */

struct countdown {
    long left; /* allocations until one fails */
};

static void *count_reallocate(void *ctx, void *pointer, size_t bytes)
{
    struct countdown *countdown = ctx;
    return countdown->left-- == 0 ? NULL : realloc(pointer, bytes);
}

static void count_release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

/* Look-ups and a walk in a store that was just opened; the first failure is returned. */
static enum quipu_status look_around(const struct quipu_store_tuning *tuning)
{
    struct quipu_store *store = NULL;
    struct quipu_txn *read = NULL;
    struct quipu_aggregate_walk *walk = NULL;
    struct quipu_record record;
    struct sample sample;
    struct quipu_term term = correlation_term(&sample, 41);
    struct quipu_aggregate_range range = {.aggregate = sample.record.aggregate};
    uint64_t at = 0;
    enum quipu_status status = quipu_store_open_tuned(fixture.path, NULL, tuning, &store, NULL);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(store, &read, NULL);
    }
    for (int i = 0; i < 5 && status == QUIPU_OK; i++) {
        status = quipu_txn_find_term(read, term, at, QUIPU_SEEK_GT, &record, NULL);
        at = record.position;
        cr_assert(status != QUIPU_OK || at == 41 + (uint64_t)i);
    }
    if (status == QUIPU_OK) {
        status = quipu_aggregate_walk_open(read, &range, &walk, NULL);
    }
    uint64_t versions = 0;
    while (status == QUIPU_OK) {
        status = quipu_aggregate_walk_next(walk, &record, NULL);
        cr_assert(status != QUIPU_OK || record.version == ++versions);
    }
    cr_assert(status != QUIPU_DONE || versions == 20);
    quipu_aggregate_walk_close(&walk);
    quipu_txn_abort(&read);
    quipu_store_close(&store);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

Test(store_terms, survive_the_failure_of_every_allocation)
{
    struct countdown countdown = {0};
    struct quipu_allocator allocator = {count_reallocate, count_release, &countdown};
    struct quipu_store_tuning tuning = tuning_small();
    samples_commit(fixture.store, 0, 200, 20);
    quipu_store_close(&fixture.store);
    long n = 0;
    for (enum quipu_status status = QUIPU_NO_MEMORY; status != QUIPU_OK; n++) {
        countdown.left = n;
        quipu_alloc_set(&allocator);
        status = look_around(&tuning);
        quipu_alloc_set(NULL);
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "allocation %ld: %d", n,
                  (int)status);
        /* Where addresses of runs cannot be noted, they are looked up: that is no failure. */
        if (status == QUIPU_OK && countdown.left < 0) {
            status = QUIPU_NO_MEMORY;
        }
    }
    cr_assert_gt(n, 6);
    fixture_reopen(&fixture, &tuning);
}

Test(store_terms, a_walk_over_runs_that_are_known_allocates_nothing)
{
    struct countdown countdown = {0};
    struct quipu_allocator allocator = {count_reallocate, count_release, &countdown};
    struct quipu_record record;
    struct sample sample;
    samples_commit(fixture.store, 0, 200, 20);
    sample_make(&sample, 77, 10, true);
    struct quipu_term term = {QUIPU_TERM_EVENT_TYPE, sample.record.event_type};
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    uint64_t events[2] = {0, 0};
    for (int round = 0; round < 2; round++) {
        uint64_t at = 0;
        if (round == 1) {
            quipu_alloc_set(&allocator);
        }
        while (quipu_txn_find_term(txn, term, at, QUIPU_SEEK_GT, &record, NULL) == QUIPU_OK) {
            at = record.position;
            events[round]++;
        }
        quipu_alloc_set(NULL);
    }
    cr_assert_gt(events[0], 10);
    cr_assert_eq(events[1], events[0]);
    cr_assert_eq(countdown.left, 0, "something was allocated");
}
