/*
 * Forks that are kept: both branches are in the log, the conflict is evidence that stands alone,
 * and every store that holds the same events holds the same.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#include "fork_kit.h"
#include "forks.h"
#include "tables.h"

static struct kit a;
static struct kit b;
static struct kit c;

static void setup(void)
{
    kit_open(&a);
    kit_open(&b);
    kit_open(&c);
    b.random_state = 1000;
    c.random_state = 2000;
}

static void teardown(void)
{
    kit_close(&a);
    kit_close(&b);
    kit_close(&c);
}

TestSuite(forks, .init = setup, .fini = teardown);

struct seen {
    uint64_t count;
    struct quipu_cid cid;
    enum quipu_fork_kind kind;
    enum quipu_fork_state state;
    uint64_t version;
    uint64_t source_seq;
    struct quipu_cid events[2];
    char aggregate_id[32];
};

static enum quipu_status see(void *ctx, const struct quipu_fork *fork, struct quipu_error *err)
{
    (void)err;
    struct seen *seen = ctx;
    seen->count++;
    seen->cid = fork->cid;
    seen->kind = fork->kind;
    seen->state = fork->state;
    seen->version = fork->version;
    seen->source_seq = fork->source_seq;
    memcpy(seen->events, fork->events, sizeof seen->events);
    memcpy(seen->aggregate_id, fork->aggregate.id.data, fork->aggregate.id.len);
    return QUIPU_OK;
}

static struct seen look(struct kit *kit)
{
    struct seen seen = {0};
    kit_assert_ok(kit, quipu_each_fork(kit->engine, see, &seen, &kit->err));
    return seen;
}

static void assert_same_forks(struct kit *x, struct kit *y)
{
    struct quipu_buf one = fork_kit_forks(x);
    struct quipu_buf other = fork_kit_forks(y);
    cr_assert_str_eq((const char *)one.data, (const char *)other.data);
    quipu_buf_release(&one);
    quipu_buf_release(&other);
}

/* `a` and `b` go on from the same event by themselves. */
static void part(const char *aggregate_id)
{
    kit_append(&a, aggregate_id, 1);
    fork_kit_take_all(&b, &a);
    kit_append(&a, aggregate_id, 2);
    kit_append(&b, aggregate_id, 3);
}

Test(forks, both_branches_are_in_the_log_and_both_stores_hold_the_same_conflict)
{
    part("x");
    kit_append(&b, "x", 4);
    fork_kit_take_all(&b, &a);
    fork_kit_take_all(&a, &b);

    kit_assert_sound(&a, 4);
    kit_assert_sound(&b, 4);
    assert_same_forks(&a, &b);
    struct seen seen = look(&a);
    cr_assert_eq(seen.count, 1, "the events behind the fork are no conflicts of their own");
    cr_assert_eq(seen.kind, QUIPU_FORK_AGGREGATE);
    cr_assert_eq(seen.state, QUIPU_FORK_OPEN);
    cr_assert_eq(seen.version, 2);
    cr_assert_str_eq(seen.aggregate_id, "x");
    cr_assert_eq(fork_kit_tips(&a, "x"), 2);
    struct quipu_fork_counts counts;
    kit_assert_ok(&a, quipu_fork_count(a.engine, &counts, &a.err));
    cr_assert_eq(counts.aggregates, 1);
    cr_assert_eq(counts.sources, 0);
    cr_assert_eq(counts.aggregates_open, 1);
}

Test(forks, two_first_events_of_an_aggregate_are_a_conflict)
{
    kit_append(&a, "x", 1);
    kit_append(&b, "x", 2);
    kit_append(&b, "x", 3);
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&b, &a);
    cr_assert_eq(look(&a).count, 1);
    cr_assert_eq(look(&a).version, 1);
    assert_same_forks(&a, &b);
    kit_assert_sound(&a, 3);
    kit_assert_sound(&b, 3);
}

Test(forks, an_append_to_a_forked_aggregate_is_refused_and_others_go_on)
{
    part("x");
    fork_kit_take_all(&a, &b);
    struct quipu_event events[2] = {kit_event(&a, "y", 1), kit_event(&a, "x", 9)};
    struct quipu_appended out[2];
    size_t failed = 9;
    char cid[QUIPU_CID_TEXT_BYTES];

    cr_assert_eq(quipu_append_batch(a.engine, events, 2, out, &failed, &a.err), QUIPU_FORK);
    cr_assert_eq(failed, 1);
    quipu_cid_format(&look(&a).events[0], cid);
    cr_assert_not_null(strstr(a.err.message, cid), "%s", a.err.message);
    cr_assert_not_null(strstr(a.err.message, "merge"), "%s", a.err.message);
    kit_append(&a, "y", 1);
    kit_assert_sound(&a, 4);
}

Test(forks, three_branches_make_the_same_conflicts_in_every_order)
{
    static const uint64_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                          {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    struct kit *stores[3] = {&a, &b, &c};
    kit_append(&a, "x", 1);
    fork_kit_take_all(&b, &a);
    fork_kit_take_all(&c, &a);
    for (int i = 0; i < 3; i++) {
        kit_append(stores[i], "x", 10 + i);
    }
    struct quipu_buf first = QUIPU_BUF_INIT;
    for (int i = 0; i < 6; i++) {
        struct kit d;
        kit_open(&d);
        fork_kit_take(&d, &a, 1);
        for (int j = 0; j < 3; j++) {
            fork_kit_take(&d, stores[orders[i][j]], 2);
        }
        kit_assert_sound(&d, 4);
        struct quipu_buf forks = fork_kit_forks(&d);
        cr_assert_eq(look(&d).count, 2, "each two neighbours are one");
        cr_assert_eq(fork_kit_tips(&d, "x"), 3);
        if (i == 0) {
            first = forks;
        } else {
            cr_assert_str_eq((const char *)forks.data, (const char *)first.data);
            quipu_buf_release(&forks);
        }
        kit_close(&d);
    }
    quipu_buf_release(&first);
}

/* ------------------------------------------------------------------ merges */

Test(forks, a_merge_closes_the_conflict_here_and_where_it_comes_in)
{
    part("x");
    kit_append(&b, "x", 4);
    fork_kit_take_all(&a, &b);
    struct quipu_merged merged = fork_kit_merge(&a, "x", 5);
    cr_assert_eq(merged.event.version, 4);
    cr_assert_eq(merged.tips_joined, 2);
    cr_assert_eq(merged.tips_left, 1);

    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_envelope envelope;
    kit_assert_ok(&a, quipu_txn_begin_read(a.store, &txn, &a.err));
    kit_assert_ok(&a, quipu_txn_record_at(txn, merged.event.position, &record, &a.err));
    kit_assert_ok(&a, quipu_envelope_decode(record.envelope, &envelope, &a.err));
    cr_assert_eq(envelope.prev_count, 2);
    cr_assert_lt(memcmp(envelope.prev[0].digest, envelope.prev[1].digest, 32), 0);
    quipu_txn_abort(&txn);

    fork_kit_take_all(&b, &a);
    cr_assert_eq(look(&a).state, QUIPU_FORK_CLOSED);
    assert_same_forks(&a, &b);
    cr_assert_eq(fork_kit_tips(&b, "x"), 1);
    cr_assert_eq(kit_append(&b, "x", 6).version, 5);
    kit_assert_sound(&a, 5);
    kit_assert_sound(&b, 6);
}

Test(forks, a_merge_that_comes_before_its_branches_waits_for_each)
{
    part("x");
    fork_kit_take_all(&a, &b);
    fork_kit_merge(&a, "x", 5); /* position 4 of a: 1 common, 2 ours, 3 theirs */
    cr_assert_eq(fork_kit_take(&c, &a, 4), QUIPU_INGEST_QUARANTINED);
    cr_assert_eq(fork_kit_take(&c, &a, 1), QUIPU_INGEST_ADDED);
    cr_assert_eq(fork_kit_last(&c), 1);
    fork_kit_take(&c, &a, 3);
    cr_assert_eq(fork_kit_last(&c), 2);
    fork_kit_take(&c, &a, 2);
    cr_assert_eq(fork_kit_last(&c), 4, "the merge came in with its last branch");
    assert_same_forks(&a, &c);
    kit_assert_sound(&c, 4);
}

Test(forks, two_merges_of_the_same_branches_are_one_conflict)
{
    part("x");
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&b, &a);
    fork_kit_merge(&a, "x", 5);
    fork_kit_merge(&b, "x", 6);
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&b, &a);
    cr_assert_eq(look(&a).count, 2, "the one merged, and the one of the merges");
    cr_assert_eq(look(&a).state, QUIPU_FORK_OPEN);
    assert_same_forks(&a, &b);
    fork_kit_merge(&a, "x", 7);
    cr_assert_eq(look(&a).state, QUIPU_FORK_CLOSED);
    kit_assert_sound(&a, 6);
    kit_assert_sound(&b, 5);
}

Test(forks, three_merges_of_the_same_branches_are_two_conflicts_in_every_order)
{
    part("x");
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&b, &a);
    fork_kit_take_all(&c, &a);
    fork_kit_merge(&a, "x", 5);
    fork_kit_merge(&b, "x", 6);
    fork_kit_merge(&c, "x", 7);
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&a, &c);
    fork_kit_take_all(&b, &c);
    fork_kit_take_all(&b, &a);
    fork_kit_take_all(&c, &b);
    cr_assert_eq(look(&a).count, 3);
    assert_same_forks(&a, &b);
    assert_same_forks(&a, &c);
    kit_assert_sound(&a, 6);
    kit_assert_sound(&b, 6);
    kit_assert_sound(&c, 6);
}

Test(forks, more_tips_than_one_event_can_name_take_several_merges)
{
    struct quipu_envelope envelope;
    struct kit_foreign event;
    kit_append(&a, "x", 1);
    for (uint8_t i = 0; i < QUIPU_ENVELOPE_PREV_MAX; i++) {
        struct quipu_ingest *ingest = NULL;
        struct quipu_buf block = QUIPU_BUF_INIT;
        kit_foreign_copy(&a, 1, &event);
        kit_assert_ok(&a, quipu_envelope_decode(event.foreign.envelope, &envelope, &a.err));
        envelope.event_id = kit_uuid((uint8_t)(i + 1));
        kit_assert_ok(&a, quipu_envelope_encode(&envelope, &block, &a.err));
        event.foreign.envelope = quipu_buf_slice(&block);
        event.foreign.cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event.foreign.envelope);
        fork_kit_begin(&a, &ingest);
        kit_assert_ok(&a, quipu_ingest_event(ingest, &event.foreign, NULL, &a.err));
        kit_assert_ok(&a, quipu_ingest_commit(&ingest, NULL, &a.err));
        quipu_buf_release(&block);
        kit_foreign_release(&event);
    }
    kit_assert_sound(&a, 17);
    struct quipu_merged merged = fork_kit_merge(&a, "x", 2);
    cr_assert_eq(merged.tips_joined, 16);
    cr_assert_eq(merged.tips_left, 2);
    merged = fork_kit_merge(&a, "x", 3);
    cr_assert_eq(merged.tips_left, 1);
    cr_assert_eq(merged.event.version, 3);
    kit_assert_sound(&a, 19);
}

Test(forks, a_merge_says_why_it_cannot)
{
    struct quipu_merged merged;
    struct quipu_event event = kit_event(&a, "x", 1);
    cr_assert_eq(quipu_merge(a.engine, &event, &merged, &a.err), QUIPU_NOT_FOUND);
    kit_append(&a, "x", 1);
    cr_assert_eq(quipu_merge(a.engine, &event, &merged, &a.err), QUIPU_INVALID);
    cr_assert_not_null(strstr(a.err.message, "one tip"), "%s", a.err.message);
    event.type = "Not a type";
    cr_assert_eq(quipu_merge(a.engine, &event, &merged, &a.err), QUIPU_INVALID);
    kit_assert_sound(&a, 1);
}

static void merge_and_die(void *ctx)
{
    (void)ctx;
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_event event = kit_event(&a, "x", 1);
    event.type = "thing.merged";
    if (quipu_store_open(a.path, NULL, &store, NULL) == QUIPU_OK &&
        quipu_engine_open(store, NULL, &engine, NULL) == QUIPU_OK) {
        _exit((int)quipu_merge(engine, &event, NULL, NULL));
    }
}

Test(forks, a_merge_is_there_whole_or_not_at_all)
{
    part("x");
    fork_kit_take_all(&a, &b);
    uint64_t last = fork_kit_last(&a);
    kit_shut(&a);
    int how = kit_run_child("engine.merge.before_commit:kill", merge_and_die, NULL);
    cr_assert_eq(how & 0x7f, 9, "killed by the failpoint");
    how = kit_run_child("engine.merge.before_commit:fail", merge_and_die, NULL);
    cr_assert_eq(how >> 8, QUIPU_IO);
    kit_reopen(&a);
    cr_assert_eq(fork_kit_last(&a), last);
    cr_assert_eq(fork_kit_tips(&a, "x"), 2);
    (void)fork_kit_merge(&a, "x", 2);
    cr_assert_eq(fork_kit_tips(&a, "x"), 1);
    kit_assert_sound(&a, last + 1);
}

Test(forks, a_merge_is_idempotent_by_event_id_and_holds_its_expectation)
{
    struct quipu_merged merged;
    part("x");
    fork_kit_take_all(&a, &b);
    struct quipu_event event = kit_event(&a, "x", 5);
    event.event_id = kit_uuid(77);
    event.expected = quipu_expect_exact(7);
    cr_assert_eq(quipu_merge(a.engine, &event, &merged, &a.err), QUIPU_VERSION_CONFLICT);
    event.expected = quipu_expect_exact(2);
    kit_assert_ok(&a, quipu_merge(a.engine, &event, &merged, &a.err));
    uint64_t position = merged.event.position;
    kit_assert_ok(&a, quipu_merge(a.engine, &event, &merged, &a.err));
    cr_assert(merged.event.was_duplicate);
    cr_assert_eq(merged.event.position, position);
    cr_assert_eq(merged.tips_joined, 0);
    event.payload = kit_block(&a, "{\"n\":6}");
    cr_assert_eq(quipu_merge(a.engine, &event, &merged, &a.err), QUIPU_EVENT_ID_CONFLICT);
    kit_assert_sound(&a, 4);
}

/* ------------------------------------------------------------------ sources */

Test(forks, a_number_used_twice_is_kept_with_its_evidence)
{
    fork_kit_copy_key(&b, &a);
    kit_append(&a, "x", 1);
    kit_append(&a, "x", 2);
    kit_append(&b, "y", 1);
    fork_kit_take_all(&c, &a);
    fork_kit_take_all(&c, &b);
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&b, &a);

    struct seen seen = look(&c);
    cr_assert_eq(seen.count, 1);
    cr_assert_eq(seen.kind, QUIPU_FORK_SOURCE);
    cr_assert_eq(seen.state, QUIPU_FORK_LASTING);
    cr_assert_eq(seen.source_seq, 1);
    assert_same_forks(&a, &c);
    assert_same_forks(&b, &c);
    kit_assert_sound(&a, 3);
    kit_assert_sound(&b, 3);
    kit_assert_sound(&c, 3);
    kit_append(&a, "z", 1);
    kit_append(&b, "z", 2);
    kit_assert_sound(&a, 4);
    kit_assert_sound(&b, 4);
}

Test(forks, a_repair_leaves_forks_and_numbers_used_twice_as_they_are)
{
    struct quipu_repaired repaired;
    fork_kit_copy_key(&b, &a);
    kit_append(&a, "x", 1);
    kit_append(&a, "x", 2);
    kit_append(&b, "x", 1);
    fork_kit_take_all(&a, &b);
    fork_kit_take_all(&c, &a);
    struct kit *stores[2] = {&a, &c};
    for (size_t i = 0; i < 2; i++) {
        struct quipu_buf before = fork_kit_forks(stores[i]);
        kit_assert_ok(stores[i],
                      quipu_repair_derived(stores[i]->engine, &repaired, &stores[i]->err));
        cr_assert_eq(repaired.numbers_added + repaired.numbers_removed, 0);
        struct quipu_buf after = fork_kit_forks(stores[i]);
        cr_assert_str_eq((const char *)before.data, (const char *)after.data);
        quipu_buf_release(&before);
        quipu_buf_release(&after);
        kit_assert_sound(stores[i], 3);
    }
}

Test(forks, the_holder_of_a_number_is_found_among_others_events)
{
    fork_kit_copy_key(&b, &a);
    for (int i = 0; i < 20; i++) {
        kit_append(&c, "c", i);
        fork_kit_take(&a, &c, (uint64_t)i + 1);
        kit_append(&a, "x", i);
        kit_append(&b, "y", i);
    }
    for (uint64_t i = 20; i >= 1; i--) {
        fork_kit_take(&a, &b, i);
    }
    fork_kit_take_all(&b, &a);
    cr_assert_eq(look(&a).count, 20);
    assert_same_forks(&a, &b);
    kit_assert_sound(&a, 60);
    kit_assert_sound(&b, 60);
}

/* ------------------------------------------------------------------ evidence */

static struct quipu_buf evidence_of(struct kit *kit)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_cid cid = look(kit).cid;
    kit_assert_ok(kit, quipu_fork_evidence(kit->engine, &cid, &out, &kit->err));
    return out;
}

Test(forks, evidence_stands_alone)
{
    struct quipu_fork fork;
    part("x");
    fork_kit_take_all(&a, &b);
    struct quipu_buf evidence = evidence_of(&a);
    kit_assert_ok(&a, quipu_fork_verify(quipu_buf_slice(&evidence), &fork, &a.err));
    struct seen seen = look(&a);
    cr_assert(quipu_cid_equal(&fork.cid, &seen.cid));
    cr_assert(quipu_cid_equal(&fork.events[0], &seen.events[0]));
    struct quipu_cid none = {.codec = QUIPU_CODEC_DAG_CBOR};
    struct quipu_buf out = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_fork_evidence(a.engine, &none, &out, &a.err), QUIPU_NOT_FOUND);
    quipu_buf_release(&evidence);
}

Test(forks, evidence_with_any_byte_changed_proves_nothing_or_something_else)
{
    part("x");
    fork_kit_take_all(&a, &b);
    struct quipu_buf evidence = evidence_of(&a);
    struct quipu_fork fork;
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_buf_slice(&evidence));
    for (size_t i = 0; i < evidence.len; i++) {
        evidence.data[i] ^= 1;
        if (quipu_fork_verify(quipu_buf_slice(&evidence), &fork, &a.err) == QUIPU_OK) {
            cr_assert_not(quipu_cid_equal(&fork.cid, &cid), "byte %zu", i);
        }
        evidence.data[i] ^= 1;
        cr_assert_neq(quipu_fork_verify(quipu_slice(evidence.data, i), NULL, &a.err), QUIPU_OK);
    }
    kit_assert_ok(&a, quipu_fork_verify(quipu_buf_slice(&evidence), NULL, &a.err));
    quipu_buf_release(&evidence);
}

Test(forks, what_proves_nothing_is_named)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct fork_side sides[3];
    part("x");
    kit_append(&a, "y", 1);
    fork_kit_take_all(&a, &b);
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&a, quipu_txn_begin_read(a.store, &txn, &a.err));
    for (uint64_t i = 0; i < 3; i++) {
        kit_assert_ok(&a, fork_side_at(txn, i + 1, &sides[i], &a.err));
    }
    struct {
        enum quipu_fork_kind kind;
        int one;
        int other;
        const char *why;
    } const cases[] = {
        {QUIPU_FORK_AGGREGATE, 0, 1, "neither version nor prev"},
        {QUIPU_FORK_AGGREGATE, 0, 2, "another aggregate"},
        {QUIPU_FORK_AGGREGATE, 1, 1, "the same"},
        {QUIPU_FORK_SOURCE, 0, 1, "another source or source_seq"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        quipu_buf_reset(&block);
        kit_assert_ok(&a, fork_evidence_write(cases[i].kind, &sides[cases[i].one],
                                              &sides[cases[i].other], &block, &a.err));
        cr_assert_eq(quipu_fork_verify(quipu_buf_slice(&block), NULL, &a.err), QUIPU_INVALID);
        cr_assert_not_null(strstr(a.err.message, cases[i].why), "%s", a.err.message);
    }
    quipu_txn_abort(&txn);
    quipu_buf_release(&block);
    struct quipu_slice newer = kit_block(&a, "{\"v\":2,\"kind\":\"aggregate\"}");
    cr_assert_eq(quipu_fork_verify(newer, NULL, &a.err), QUIPU_FORMAT_NEWER);
    cr_assert_eq(quipu_fork_verify(kit_block(&a, "{\"v\":1,\"kind\":\"x\"}"), NULL, &a.err),
                 QUIPU_INVALID);
    cr_assert_eq(quipu_fork_verify(quipu_slice_text("\x18\x01"), NULL, &a.err),
                 QUIPU_CBOR_NOT_SHORTEST);
}
