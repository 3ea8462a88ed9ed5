/*
 * Damage to what a store notes of its forks (heads, tips, places, evidence): nothing new is built
 * on it, and verify names it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "fork_kit.h"
#include "forks.h"
#include "tables.h"

static struct kit a;
static struct kit b;

static void setup(void)
{
    kit_open(&a);
    kit_open(&b);
    b.random_state = 1000;
}

static void teardown(void)
{
    kit_close(&a);
    kit_close(&b);
}

TestSuite(fork_damage, .init = setup, .fini = teardown);

/* `a` and `b` go on from the same event by themselves. */
static void part(const char *aggregate_id)
{
    kit_append(&a, aggregate_id, 1);
    fork_kit_take_all(&b, &a);
    kit_append(&a, aggregate_id, 2);
    kit_append(&b, aggregate_id, 3);
}

static void assert_verify_finds(struct quipu_table table, const char *line)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
    kit_assert_ok(&a, quipu_txn_table_clear(txn, table, &a.err));
    kit_assert_ok(&a, quipu_txn_commit(&txn, &a.err));
    cr_assert_eq(quipu_verify(a.engine, NULL, NULL, &a.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(a.err.message, line), "%s", a.err.message);
}

/* The bit in the head of thing/x that says that there is a fork. */
static void turn_fork_bit(struct kit *kit)
{
    kit_damage_bits(kit, "\5thingx", 7 + 8, 0x80);
}

static enum quipu_status count_event(void *ctx, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)event;
    (void)err;
    ++*(int *)ctx;
    return QUIPU_OK;
}

Test(fork_damage, a_head_that_does_not_say_that_there_is_one_is_seen_by_its_tips)
{
    struct kit_foreign next;
    part("x");
    fork_kit_take_all(&a, &b);
    kit_append(&b, "x", 5);
    kit_foreign_copy(&b, 3, &next);
    turn_fork_bit(&a);

    struct quipu_event event = kit_event(&a, "x", 6);
    cr_assert_eq(quipu_append(a.engine, &event, NULL, &a.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(a.err.message, "no fork"), "%s", a.err.message);
    cr_assert_eq(quipu_merge(a.engine, &event, NULL, &a.err), QUIPU_CORRUPT);
    struct quipu_ingest *ingest = NULL;
    fork_kit_begin(&a, &ingest);
    cr_assert_eq(quipu_ingest_event(ingest, &next.foreign, NULL, &a.err), QUIPU_CORRUPT);
    quipu_ingest_abort(&ingest);
    for (int backwards = 0; backwards < 2; backwards++) {
        int seen = 0;
        struct quipu_filter filter = {
            .aggregate_type = "thing", .aggregate_id = "x", .from_version = 2};
        filter.direction = backwards == 1 ? QUIPU_BACKWARDS : QUIPU_FORWARDS;
        cr_assert_eq(quipu_each_event(a.engine, &filter, count_event, &seen, &a.err),
                     QUIPU_CORRUPT);
    }
    kit_append(&a, "another", 1);

    turn_fork_bit(&a);
    cr_assert_eq(fork_kit_take(&a, &b, 3), QUIPU_INGEST_ADDED);
    (void)fork_kit_merge(&a, "x", 7);
    kit_foreign_release(&next);
    kit_assert_sound(&a, 6);
}

Test(fork_damage, a_tip_that_is_another_event_is_not_merged)
{
    part("x");
    fork_kit_take_all(&a, &b);
    struct quipu_event event = kit_event(&a, "x", 6);
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    uint8_t bytes[16];
    uint8_t name[64];
    kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
    kit_assert_ok(&a, quipu_txn_table_seek(txn, TABLE_TIPS, quipu_slice(NULL, 0), QUIPU_SEEK_GE,
                                           &key, &value, &a.err));
    cr_assert_eq(value.len, sizeof bytes);
    cr_assert_eq(key.len, sizeof name);
    memcpy(bytes, value.data, sizeof bytes);
    memcpy(name, key.data, sizeof name);
    quipu_txn_abort(&txn);
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit += 3) {
        uint8_t changed[sizeof bytes];
        memcpy(changed, bytes, sizeof changed);
        changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        for (int i = 0; i < 2; i++) {
            struct quipu_slice row = quipu_slice(i == 0 ? changed : bytes, sizeof bytes);
            kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
            kit_assert_ok(&a, quipu_txn_table_put(txn, TABLE_TIPS, quipu_slice(name, sizeof name),
                                                  row, &a.err));
            kit_assert_ok(&a, quipu_txn_commit(&txn, &a.err));
            if (i == 0) {
                cr_assert_eq(quipu_merge(a.engine, &event, NULL, &a.err), QUIPU_CORRUPT, "bit %zu",
                             bit);
            }
        }
    }
    /* And one that is not there any more. */
    kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
    kit_assert_ok(&a,
                  quipu_txn_table_delete(txn, TABLE_TIPS, quipu_slice(name, sizeof name), &a.err));
    kit_assert_ok(&a, quipu_txn_commit(&txn, &a.err));
    cr_assert_eq(quipu_merge(a.engine, &event, NULL, &a.err), QUIPU_CORRUPT);
    cr_assert_eq(quipu_append(a.engine, &event, NULL, &a.err), QUIPU_CORRUPT);
}

Test(fork_damage, verify_finds_an_unrecorded_fork)
{
    part("x");
    fork_kit_take_all(&a, &b);
    assert_verify_finds(TABLE_PLACES, "position 3");
}

Test(fork_damage, verify_finds_missing_evidence)
{
    part("x");
    fork_kit_take_all(&a, &b);
    assert_verify_finds(TABLE_FORKS, "no evidence");
}

Test(fork_damage, verify_finds_a_tip_that_is_none_and_one_that_is_missing)
{
    struct quipu_txn *txn = NULL;
    uint8_t key[64] = {0};
    uint8_t value[16] = {0};
    struct fork_side side;
    part("x");
    fork_kit_take_all(&a, &b);
    kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
    kit_assert_ok(&a, fork_side_at(txn, 1, &side, &a.err));
    tips_aggregate_hash((struct quipu_aggregate){quipu_slice_text("thing"), quipu_slice_text("x")},
                        key);
    memcpy(key + 32, side.cid.digest, 32);
    value[7] = 1;
    value[15] = 1;
    kit_assert_ok(&a, quipu_txn_table_put(txn, TABLE_TIPS, quipu_slice(key, sizeof key),
                                          quipu_slice(value, sizeof value), &a.err));
    kit_assert_ok(&a, quipu_txn_commit(&txn, &a.err));
    cr_assert_eq(quipu_verify(a.engine, NULL, NULL, &a.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(a.err.message, "an event follows it"), "%s", a.err.message);

    kit_assert_ok(&a, quipu_txn_begin_write(a.store, &txn, &a.err));
    kit_assert_ok(&a, fork_side_at(txn, 2, &side, &a.err));
    kit_assert_ok(&a,
                  quipu_txn_table_delete(txn, TABLE_TIPS, quipu_slice(key, sizeof key), &a.err));
    memcpy(key + 32, side.cid.digest, 32);
    kit_assert_ok(&a,
                  quipu_txn_table_delete(txn, TABLE_TIPS, quipu_slice(key, sizeof key), &a.err));
    kit_assert_ok(&a, quipu_txn_commit(&txn, &a.err));
    cr_assert_eq(quipu_verify(a.engine, NULL, NULL, &a.err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(a.err.message, "has 2 tips"), "%s", a.err.message);
}
