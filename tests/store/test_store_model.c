/*
 * The indexes against a model by brute force: random transactions of appends and look-ups, some
 * aborted, with thresholds so small that every kind of run, merge and segment border occurs.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "store_fixture.h"

#define MODEL_EVENTS_MAX 6000
#define MODEL_AGGREGATES 10

/* What must be stored: the seed of each position. */
struct model {
    uint64_t last;
    uint64_t seeds[MODEL_EVENTS_MAX + 1];
};

struct randomness {
    uint64_t state;
};

static uint64_t next_random(struct randomness *randomness, uint64_t below)
{
    randomness->state = randomness->state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (randomness->state >> 33) % below;
}

static void assert_found(struct quipu_txn *txn, const struct model *model, uint64_t position,
                         bool is_ordered)
{
    struct sample sample;
    struct quipu_record record;
    enum quipu_block_kind kind;
    sample_make(&sample, model->seeds[position], MODEL_AGGREGATES, is_ordered);

    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK,
                 "event_id of position %lu of %lu", position, model->last);
    cr_assert_eq(record.position, position);
    cr_assert(quipu_slice_equal(record.payload, sample.record.payload));
    cr_assert(quipu_slice_equal(record.envelope, sample.record.envelope));
    cr_assert(quipu_cid_equal(&record.payload_cid, &sample.record.payload_cid));

    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.envelope_cid, &record, &kind, NULL),
                 QUIPU_OK, "envelope of position %lu of %lu", position, model->last);
    cr_assert_eq(record.position, position);
    cr_assert_eq(kind, QUIPU_BLOCK_ENVELOPE);

    /* Several have one payload: the first is to be found. */
    uint64_t first = position;
    if (model->seeds[position] % 7 == 0) {
        first = 1;
        while (model->seeds[first] % 7 != 0 ||
               model->seeds[first] % 2 != model->seeds[position] % 2) {
            first++;
        }
    }
    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.payload_cid, &record, &kind, NULL),
                 QUIPU_OK);
    cr_assert_eq(kind, QUIPU_BLOCK_PAYLOAD);
    cr_assert_eq(record.position, first, "payload of %lu: found %lu, want %lu", position,
                 record.position, first);
}

static void assert_absent(struct quipu_txn *txn, uint64_t seed, bool is_ordered)
{
    struct sample sample;
    struct quipu_record record;
    enum quipu_block_kind kind;
    sample_make(&sample, seed, MODEL_AGGREGATES, is_ordered);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL),
                 QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.envelope_cid, &record, &kind, NULL),
                 QUIPU_NOT_FOUND);
}

static void assert_heads(struct quipu_txn *txn, const struct model *model)
{
    uint64_t last[MODEL_AGGREGATES] = {0};
    uint64_t versions[MODEL_AGGREGATES] = {0};
    for (uint64_t position = 1; position <= model->last; position++) {
        uint64_t aggregate = model->seeds[position] % MODEL_AGGREGATES;
        struct quipu_record record;
        cr_assert_eq(quipu_txn_record_at(txn, position, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.aggregate_prev_position, last[aggregate]);
        cr_assert_eq(record.version, ++versions[aggregate]);
        last[aggregate] = position;
    }
    for (uint64_t aggregate = 0; aggregate < MODEL_AGGREGATES; aggregate++) {
        char id[24];
        snprintf(id, sizeof id, "agg-%lu", aggregate);
        struct quipu_aggregate name = {quipu_slice_text("sample"), quipu_slice_text(id)};
        struct quipu_head head;
        enum quipu_status status = quipu_txn_head(txn, name, &head, NULL);
        if (last[aggregate] == 0) {
            cr_assert_eq(status, QUIPU_NOT_FOUND);
            continue;
        }
        cr_assert_eq(status, QUIPU_OK);
        cr_assert_eq(head.position, last[aggregate]);
        cr_assert_eq(head.version, versions[aggregate]);
    }
}

/* Seed of the event that the correlation of `seed` is named after. */
static uint64_t correlation_seed(uint64_t seed)
{
    return seed - seed % 5;
}

static bool has_term(const struct model *model, uint64_t position, const struct sample *wanted,
                     enum quipu_term_kind kind, bool is_ordered)
{
    struct sample sample;
    if (kind == QUIPU_TERM_CORRELATION) {
        return correlation_seed(model->seeds[position]) == correlation_seed(wanted->seed);
    }
    sample_make(&sample, model->seeds[position], MODEL_AGGREGATES, is_ordered);
    return quipu_slice_equal(sample.record.event_type, wanted->record.event_type);
}

/* Up to `steps` look-ups of a term of event `seed` from `position` on, against the model. */
static void assert_term_walk(struct quipu_txn *txn, const struct model *model, uint64_t seed,
                             enum quipu_term_kind kind, uint64_t position, int steps,
                             bool is_ordered)
{
    struct sample sample;
    sample_make(&sample, seed, MODEL_AGGREGATES, is_ordered);
    struct quipu_term term = {.kind = kind, .value = sample.record.event_type};
    if (kind == QUIPU_TERM_CORRELATION) {
        term.value = quipu_slice(sample.record.correlation_id.bytes, QUIPU_UUID_BYTES);
    }
    for (int backwards = 0; backwards < 2; backwards++) {
        enum quipu_seek seek = backwards ? QUIPU_SEEK_LE : QUIPU_SEEK_GE;
        uint64_t want = position;
        uint64_t from = position;
        for (int step = 0; step < steps; step++) {
            while (want >= 1 && want <= model->last &&
                   !has_term(model, want, &sample, kind, is_ordered)) {
                want += backwards ? UINT64_MAX : 1;
            }
            struct quipu_record record = {0};
            enum quipu_status status = quipu_txn_find_term(txn, term, from, seek, &record, NULL);
            bool is_there = want >= 1 && want <= model->last;
            cr_assert_eq(status, is_there ? QUIPU_OK : QUIPU_DONE, "kind %d of seed %lu from %lu",
                         (int)kind, seed, from);
            cr_assert_eq(record.position, is_there ? want : 0, "kind %d, seed %lu, from %lu: %lu",
                         (int)kind, seed, from, record.position);
            if (!is_there) {
                break;
            }
            cr_assert_eq(record.event_id.bytes[15], (uint8_t)~model->seeds[want]);
            from = want;
            want += backwards ? UINT64_MAX : 1;
            seek = backwards ? QUIPU_SEEK_LT : QUIPU_SEEK_GT;
        }
    }
}

static void assert_terms(struct quipu_txn *txn, const struct model *model,
                         struct randomness *randomness, int steps, bool is_ordered)
{
    uint64_t position = 1 + next_random(randomness, model->last);
    uint64_t seed = model->seeds[1 + next_random(randomness, model->last)];
    assert_term_walk(txn, model, seed, QUIPU_TERM_CORRELATION, position, steps, is_ordered);
    assert_term_walk(txn, model, seed, QUIPU_TERM_EVENT_TYPE, position, steps, is_ordered);
}

/* One transaction of up to `most` appends, with look-ups in between; kept in the model unless it is
 * aborted. Seeds never come twice, not even after an abort. */
static void run_transaction(struct quipu_store *store, struct model *model,
                            struct randomness *randomness, uint64_t *next_seed, uint64_t most,
                            bool is_ordered)
{
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_txn_begin_write(store, &txn, &err), QUIPU_OK, "%s", err.message);
    uint64_t before = model->last;
    cr_assert_eq(quipu_txn_last_position(txn), before);
    uint64_t count = 1 + next_random(randomness, most);
    for (uint64_t i = 0; i < count && model->last < MODEL_EVENTS_MAX; i++) {
        struct sample sample;
        uint64_t position = 0;
        sample_make(&sample, *next_seed, MODEL_AGGREGATES, is_ordered);
        cr_assert_eq(sample_append(txn, &sample, &position, &err), QUIPU_OK, "%s", err.message);
        cr_assert_eq(position, model->last + 1);
        model->seeds[++model->last] = (*next_seed)++;
        if (next_random(randomness, 4) == 0) {
            assert_found(txn, model, 1 + next_random(randomness, model->last), is_ordered);
            assert_found(txn, model, model->last, is_ordered);
            assert_absent(txn, *next_seed, is_ordered);
            assert_terms(txn, model, randomness, 3, is_ordered);
        }
    }
    if (next_random(randomness, 4) == 0) {
        quipu_txn_abort(&txn);
        model->last = before;
    } else {
        cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK, "%s", err.message);
    }
}

static void assert_snapshot(struct quipu_store *store, const struct model *model, bool is_ordered)
{
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_last_position(txn), model->last);
    for (uint64_t position = 1; position <= model->last; position++) {
        assert_found(txn, model, position, is_ordered);
    }
    assert_heads(txn, model);
    struct randomness randomness = {model->last};
    for (int i = 0; i < 20 && model->last > 0; i++) {
        assert_terms(txn, model, &randomness, 40, is_ordered);
    }
    quipu_txn_abort(&txn);
}

static void run_model(struct quipu_store_tuning tuning, uint64_t seed, uint64_t events,
                      uint64_t most, bool is_ordered)
{
    struct fixture fixture;
    struct model *model = calloc(1, sizeof *model);
    struct randomness randomness = {seed};
    uint64_t next_seed = 1;
    fixture_init(&fixture, &tuning);

    for (uint64_t round = 0; model->last < events; round++) {
        run_transaction(fixture.store, model, &randomness, &next_seed, most, is_ordered);
        if (round % 37 == 36) {
            assert_snapshot(fixture.store, model, is_ordered);
            cr_assert_eq(problems_of(fixture.store), 0);
        }
        if (round % 53 == 52) {
            fixture_reopen(&fixture, &tuning);
        }
    }

    assert_snapshot(fixture.store, model, is_ordered);
    cr_assert_eq(problems_of(fixture.store), 0);
    fixture_release(&fixture);
    free(model);
}

Test(store_model, agrees_over_small_transactions_with_scattered_ids)
{
    run_model(tuning_small(), 1, 700, 6, false);
}

Test(store_model, agrees_over_small_transactions_with_rising_ids)
{
    run_model(tuning_small(), 2, 700, 6, true);
}

Test(store_model, agrees_over_transactions_that_flush_and_merge_many_times)
{
    run_model(tuning_small(), 3, 1500, 200, false);
}

Test(store_model, agrees_with_every_fan_out_and_odd_sizes)
{
    for (uint32_t fan_out = 2; fan_out <= 8; fan_out++) {
        struct quipu_store_tuning tuning = tuning_small();
        tuning.tail_events = 1 + fan_out % 3;
        tuning.fan_out = fan_out;
        tuning.segment_entries = 1 + 5 * (fan_out % 4);
        run_model(tuning, 10 + fan_out, 400, 30, fan_out % 2 == 0);
    }
}

/* Values in pages of their own, whose addresses are remembered. */
Test(store_model, agrees_where_values_are_larger_than_a_page)
{
    struct quipu_store_tuning tuning = tuning_small();
    tuning.tail_events = 300;
    tuning.segment_entries = 500;
    run_model(tuning, 5, 6000, 90, false);
    tuning.tail_events = 260;
    tuning.fan_out = 3;
    run_model(tuning, 6, 6000, 700, true);
}

Test(store_model, agrees_with_the_sizes_in_use)
{
    run_model(quipu_store_tuning_default(), 4, 6000, 900, false);
}

Test(store_model, a_store_may_be_opened_with_other_sizes_than_before)
{
    struct fixture fixture;
    struct quipu_store_tuning small = tuning_small();
    struct quipu_store_tuning large = quipu_store_tuning_default();
    fixture_init(&fixture, &large);
    samples_commit(fixture.store, 0, 900, 100);

    fixture_reopen(&fixture, &small);
    cr_assert_eq(problems_of(fixture.store), 0);
    struct quipu_txn *txn = NULL;
    struct sample sample;
    struct quipu_record record;
    sample_make(&sample, 450, 10, true);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK);
    cr_assert_eq(record.position, 451);
    quipu_txn_abort(&txn);
    samples_commit(fixture.store, 900, 1000, 7);
    cr_assert_eq(problems_of(fixture.store), 0);

    fixture_reopen(&fixture, &large);
    samples_commit(fixture.store, 1000, 3000, 50);
    cr_assert_eq(problems_of(fixture.store), 0);
    cr_assert_eq(last_position_of(fixture.store), 3000);
    fixture_release(&fixture);
}

Test(store_model, keeps_its_indexes_over_two_levels_of_merges_of_the_sizes_in_use)
{
    struct fixture fixture;
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    struct quipu_txn *txn = NULL;
    fixture_init(&fixture, &tuning);

    samples_commit(fixture.store, 0, 150000, 1000);

    cr_assert_eq(problems_of(fixture.store), 0);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    for (uint64_t seed = 1; seed < 150000; seed += 97) {
        struct sample sample;
        struct quipu_record record;
        enum quipu_block_kind kind;
        sample_make(&sample, seed, MODEL_AGGREGATES, true);
        cr_assert_eq(quipu_txn_find_event_id(txn, sample.record.event_id, &record, NULL), QUIPU_OK);
        cr_assert_eq(record.position, seed + 1);
        cr_assert_eq(quipu_txn_find_cid(txn, &sample.record.envelope_cid, &record, &kind, NULL),
                     QUIPU_OK);
        cr_assert_eq(record.position, seed + 1);
        assert_absent(txn, seed + 150000, true);
    }
    quipu_txn_abort(&txn);
    fixture_release(&fixture);
}
