/*
 * Tables: rows, seeking, walking, and a model of them by brute force.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "internal/bytes.h"
#include "store_fixture.h"

static struct fixture fixture;
static struct quipu_txn *txn;
static const struct quipu_table first = {0};
static const struct quipu_table middle = {0x01020304};
static const struct quipu_table last = {UINT32_MAX};

static void set_up(void)
{
    struct quipu_store_tuning tuning = quipu_store_tuning_default();
    fixture_init(&fixture, &tuning);
    txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
}

static void tear_down(void)
{
    quipu_txn_abort(&txn);
    fixture_release(&fixture);
}

TestSuite(store_table, .init = set_up, .fini = tear_down);

static void put(struct quipu_table table, const char *key, const char *value)
{
    cr_assert_eq(
        quipu_txn_table_put(txn, table, quipu_slice_text(key), quipu_slice_text(value), NULL),
        QUIPU_OK);
}

static const char *get(struct quipu_table table, const char *key)
{
    static char text[64];
    struct quipu_slice value;
    enum quipu_status status = quipu_txn_table_get(txn, table, quipu_slice_text(key), &value, NULL);
    if (status == QUIPU_NOT_FOUND) {
        return "-";
    }
    cr_assert_eq(status, QUIPU_OK);
    snprintf(text, sizeof text, "%.*s", QUIPU_SLICE_FMT(value));
    return text;
}

static const char *seek(struct quipu_table table, const char *key, enum quipu_seek how)
{
    static char text[64];
    struct quipu_slice found;
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_seek(txn, table, quipu_slice_text(key), how, &found, &value, NULL);
    if (status == QUIPU_DONE) {
        return "-";
    }
    cr_assert_eq(status, QUIPU_OK);
    snprintf(text, sizeof text, "%.*s=%.*s", QUIPU_SLICE_FMT(found), QUIPU_SLICE_FMT(value));
    return text;
}

Test(store_table, keeps_replaces_and_deletes_rows_of_each_table_by_itself)
{
    put(middle, "k", "one");
    put(last, "k", "other");
    put(middle, "k", "two");
    put(middle, "empty", "");
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);

    cr_assert_str_eq(get(middle, "k"), "two");
    cr_assert_str_eq(get(middle, "empty"), "");
    cr_assert_str_eq(get(last, "k"), "other");
    cr_assert_str_eq(get(first, "k"), "-");
    cr_assert_eq(quipu_txn_table_delete(txn, middle, quipu_slice_text("k"), NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_delete(txn, middle, quipu_slice_text("k"), NULL), QUIPU_NOT_FOUND);
    cr_assert_str_eq(get(middle, "k"), "-");
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

Test(store_table, holds_the_limits_of_key_and_value)
{
    uint8_t *bytes = calloc(1, QUIPU_TABLE_VALUE_BYTES_MAX + 1);
    struct quipu_slice value;
    struct quipu_slice found;

    cr_assert_eq(quipu_txn_table_put(txn, middle, quipu_slice(bytes, 500),
                                     quipu_slice(bytes, QUIPU_TABLE_VALUE_BYTES_MAX), NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_table_get(txn, middle, quipu_slice(bytes, 500), &value, NULL), QUIPU_OK);
    cr_assert_eq(value.len, QUIPU_TABLE_VALUE_BYTES_MAX);
    cr_assert_eq(quipu_txn_table_put(txn, middle, quipu_slice(bytes, 501), value, NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_txn_table_put(txn, middle, quipu_slice(bytes, 0), value, NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_txn_table_put(txn, middle, quipu_slice(bytes, 5),
                                     quipu_slice(bytes, QUIPU_TABLE_VALUE_BYTES_MAX + 1), NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_txn_table_get(txn, middle, quipu_slice(bytes, 0), &value, NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_txn_table_delete(txn, middle, quipu_slice(bytes, 501), NULL),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_txn_table_seek(txn, middle, quipu_slice(bytes, 501), QUIPU_SEEK_GE, &found,
                                      &value, NULL),
                 QUIPU_TOO_LARGE);
    struct quipu_table_walk *walk = NULL;
    cr_assert_eq(quipu_table_walk_open(txn, middle, quipu_slice(bytes, 501), &walk, NULL),
                 QUIPU_TOO_LARGE);
    /* None of these has spoiled the transaction. */
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    free(bytes);
}

static void check_seeks(struct quipu_table table)
{
    cr_assert_str_eq(seek(table, "", QUIPU_SEEK_GE), "b=1");
    cr_assert_str_eq(seek(table, "", QUIPU_SEEK_GT), "b=1");
    cr_assert_str_eq(seek(table, "", QUIPU_SEEK_LE), "dd=3");
    cr_assert_str_eq(seek(table, "", QUIPU_SEEK_LT), "dd=3");
    cr_assert_str_eq(seek(table, "d", QUIPU_SEEK_GE), "d=2");
    cr_assert_str_eq(seek(table, "d", QUIPU_SEEK_GT), "dd=3");
    cr_assert_str_eq(seek(table, "d", QUIPU_SEEK_LE), "d=2");
    cr_assert_str_eq(seek(table, "d", QUIPU_SEEK_LT), "b=1");
    cr_assert_str_eq(seek(table, "c", QUIPU_SEEK_GE), "d=2");
    cr_assert_str_eq(seek(table, "c", QUIPU_SEEK_GT), "d=2");
    cr_assert_str_eq(seek(table, "c", QUIPU_SEEK_LE), "b=1");
    cr_assert_str_eq(seek(table, "c", QUIPU_SEEK_LT), "b=1");
    cr_assert_str_eq(seek(table, "a", QUIPU_SEEK_LE), "-");
    cr_assert_str_eq(seek(table, "b", QUIPU_SEEK_LT), "-");
    cr_assert_str_eq(seek(table, "dd", QUIPU_SEEK_GT), "-");
    cr_assert_str_eq(seek(table, "z", QUIPU_SEEK_GE), "-");
    cr_assert_str_eq(seek(table, "z", QUIPU_SEEK_LT), "dd=3");
}

Test(store_table, seeks_on_both_sides_and_never_leaves_the_table)
{
    static const struct quipu_table tables[] = {{0}, {0x01020304}, {UINT32_MAX}};
    for (size_t i = 0; i < 3; i++) {
        cr_assert_str_eq(seek(tables[i], "", QUIPU_SEEK_GE), "-");
        cr_assert_str_eq(seek(tables[i], "", QUIPU_SEEK_LE), "-");
        put(tables[i], "b", "1");
        put(tables[i], "dd", "3");
        put(tables[i], "d", "2");
        check_seeks(tables[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        check_seeks(tables[i]);
    }
    cr_assert_str_eq(seek((struct quipu_table){0x01020303}, "", QUIPU_SEEK_LE), "-");
    cr_assert_str_eq(seek((struct quipu_table){0x01020305}, "", QUIPU_SEEK_GE), "-");
}

Test(store_table, walks_the_rows_with_a_prefix_and_ends_there)
{
    struct quipu_table_walk *walk = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    char seen[64] = "";
    put(middle, "a", "0");
    put(middle, "pa", "1");
    put(middle, "p", "2");
    put(middle, "pb", "3");
    put(middle, "q", "4");
    put(last, "pc", "5");
    cr_assert_eq(quipu_table_walk_open(txn, middle, quipu_slice_text("p"), &walk, NULL), QUIPU_OK);

    while (quipu_table_walk_next(walk, &key, &value, NULL) == QUIPU_OK) {
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "%.*s ", QUIPU_SLICE_FMT(key));
        /* Another table may be written to meanwhile. */
        put(last, seen, "x");
    }

    cr_assert_str_eq(seen, "p pa pb ");
    cr_assert_eq(quipu_table_walk_next(walk, &key, &value, NULL), QUIPU_DONE);
    quipu_table_walk_close(&walk);
    cr_assert_null(walk);
    cr_assert_eq(quipu_table_walk_open(txn, first, quipu_slice(NULL, 0), &walk, NULL), QUIPU_OK);
    cr_assert_eq(quipu_table_walk_next(walk, &key, &value, NULL), QUIPU_DONE);
    quipu_table_walk_close(&walk);
}

Test(store_table, a_write_to_its_table_ends_a_walk)
{
    struct quipu_table_walk *walks[3] = {NULL};
    struct quipu_slice key;
    struct quipu_slice value;
    put(middle, "a", "0");
    put(middle, "b", "1");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(quipu_table_walk_open(txn, middle, quipu_slice(NULL, 0), &walks[i], NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_table_walk_next(walks[i], &key, &value, NULL), QUIPU_OK);
        switch (i) {
        case 0:
            put(middle, "c", "2");
            break;
        case 1:
            cr_assert_eq(quipu_txn_table_delete(txn, middle, quipu_slice_text("a"), NULL),
                         QUIPU_OK);
            break;
        default:
            cr_assert_eq(quipu_txn_table_clear(txn, middle, NULL), QUIPU_OK);
            break;
        }
        cr_assert_eq(quipu_table_walk_next(walks[i], &key, &value, NULL), QUIPU_MISUSE);
    }
    /* In another order than they were opened in, one of them after its transaction. */
    quipu_table_walk_close(&walks[1]);
    quipu_table_walk_close(&walks[2]);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    quipu_table_walk_close(&walks[0]);
}

Test(store_table, a_walk_ends_with_its_transaction)
{
    struct quipu_table_walk *walk = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    struct quipu_error err;
    put(middle, "a", "0");
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_read(fixture.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_table_walk_open(txn, middle, quipu_slice(NULL, 0), &walk, NULL), QUIPU_OK);
    cr_assert_eq(quipu_table_walk_next(walk, &key, &value, NULL), QUIPU_OK);
    quipu_txn_abort(&txn);

    cr_assert_eq(quipu_table_walk_next(walk, &key, &value, &err), QUIPU_MISUSE);
    cr_assert(strstr(err.message, "transaction has ended") != NULL);
    quipu_table_walk_close(&walk);
}

Test(store_table, clears_one_table_and_no_other)
{
    char key[16];
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "%05d", i);
        put(middle, key, "value");
        put(first, key, "value");
        put(last, key, "value");
    }
    cr_assert_eq(quipu_txn_table_clear(txn, middle, NULL), QUIPU_OK);
    cr_assert_str_eq(seek(middle, "", QUIPU_SEEK_GE), "-");
    cr_assert_str_eq(seek(first, "", QUIPU_SEEK_LE), "01999=value");
    cr_assert_eq(quipu_txn_table_clear(txn, last, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_clear(txn, last, NULL), QUIPU_OK);
    cr_assert_str_eq(seek(last, "", QUIPU_SEEK_GE), "-");
    cr_assert_eq(quipu_txn_table_clear(txn, first, NULL), QUIPU_OK);
    cr_assert_str_eq(seek(first, "", QUIPU_SEEK_GE), "-");
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
}

#define MODEL_KEYS 64

/* Rows present in the model, by key number. */
static void check_model(const int *model)
{
    for (int i = 0; i < MODEL_KEYS; i++) {
        char key[16];
        char want[32];
        snprintf(key, sizeof key, "%02d", i);
        snprintf(want, sizeof want, model[i] < 0 ? "-" : "%d", model[i]);
        cr_assert_str_eq(get(middle, key), want);
        int above = i + 1;
        while (above < MODEL_KEYS && model[above] < 0) {
            above++;
        }
        snprintf(want, sizeof want, above == MODEL_KEYS ? "-" : "%02d=%d", above,
                 above == MODEL_KEYS ? 0 : model[above]);
        cr_assert_str_eq(seek(middle, key, QUIPU_SEEK_GT), want);
        int below = i - 1;
        while (below >= 0 && model[below] < 0) {
            below--;
        }
        snprintf(want, sizeof want, below < 0 ? "-" : "%02d=%d", below,
                 below < 0 ? 0 : model[below]);
        cr_assert_str_eq(seek(middle, key, QUIPU_SEEK_LT), want);
    }
}

Test(store_table, agrees_with_a_model_over_random_writes)
{
    int model[MODEL_KEYS];
    uint64_t state = 5;
    put(first, "~", "neighbour");
    put(last, "!", "neighbour");
    for (int i = 0; i < MODEL_KEYS; i++) {
        model[i] = -1;
    }
    for (int round = 0; round < 2000; round++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
        int i = (int)(state >> 40) % MODEL_KEYS;
        char key[16];
        char value[16];
        snprintf(key, sizeof key, "%02d", i);
        snprintf(value, sizeof value, "%d", round);
        if (round % 3 == 0) {
            enum quipu_status want = model[i] < 0 ? QUIPU_NOT_FOUND : QUIPU_OK;
            cr_assert_eq(quipu_txn_table_delete(txn, middle, quipu_slice_text(key), NULL), want);
            model[i] = -1;
        } else {
            put(middle, key, value);
            model[i] = round;
        }
        if (round % 50 == 0) {
            check_model(model);
        }
        if (round % 200 == 199) {
            cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
            cr_assert_eq(quipu_txn_begin_write(fixture.store, &txn, NULL), QUIPU_OK);
        }
    }
    check_model(model);
}
