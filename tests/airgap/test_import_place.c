/*
 * The place of a bundle among those of its source that came in, over gaps: a store that was rolled
 * back, and went on beside the one that it was taken from, is seen as far as trees can tell.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "import_kit.h"
#include "import_place.h"
#include "quipu/dagcbor.h"

#define FIRST 7u /* events in the bundle that both have exported */

static struct store_kit twin; /* the vault as it was behind its first bundle */
static char first[PATH_BYTES];

static void write_bundle(struct store_kit *kit, const char *name, size_t events,
                         char out[PATH_BYTES])
{
    if (events > 0) {
        store_kit_append(kit, events, 10);
    }
    store_kit_export(kit, temp_dir_join(&dir, name, out), NULL);
}

/* The number of this one is one higher; nobody wants it. */
static void spend_number(struct store_kit *kit)
{
    char unused[PATH_BYTES];
    write_bundle(kit, "unused.car", 0, unused);
    cr_assert_eq(remove(unused), 0);
}

static void part(void)
{
    char command[4 * PATH_BYTES];
    write_bundle(&vault, "1.car", FIRST, first);
    store_kit_close(&vault);
    (void)snprintf(command, sizeof command, "cp -r '%s/vault' '%s/twin'", dir.path, dir.path);
    cr_assert_eq(system(command), 0);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&twin, &dir, "twin");
}

static void take(const char *bundle)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    options.accept_gap = "lost";
    cr_assert_eq(quipu_import(office.engine, bundle, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

static void refuse(const char *bundle, const char *numbers)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    uint64_t before = office_events();
    options.accept_gap = "lost";
    options.keeps_forks = true;
    cr_assert_eq(quipu_import(office.engine, bundle, &options, NULL, &err), QUIPU_FORK, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, numbers), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "contradict each other"), "%s", err.message);
    cr_assert_eq(office_events(), before);
}

/* ------------------------------------------------------------------ behind a gap */

Test(import_steps, behind_a_gap_another_tree_of_the_same_size_is_a_fork)
{
    char second[PATH_BYTES];
    char third[PATH_BYTES];
    char forged[PATH_BYTES];
    part();
    write_bundle(&vault, "2.car", 7, second);
    write_bundle(&vault, "3.car", 1, third);
    store_kit_append(&twin, 7, 10);
    spend_number(&twin);
    spend_number(&twin);
    write_bundle(&twin, "4x.car", 0, forged);
    take(first);
    take(second);

    refuse(forged, "bundles 4 and 2");

    take(third); /* the honest one is not locked out */
    must_be_the_same();
    store_kit_close(&twin);
}

Test(import_steps, behind_a_gap_a_smaller_tree_is_a_fork)
{
    char second[PATH_BYTES];
    char forged[PATH_BYTES];
    part();
    write_bundle(&vault, "2.car", 7, second);
    spend_number(&twin);
    spend_number(&twin);
    write_bundle(&twin, "4x.car", 3, forged);
    take(first);
    take(second);

    refuse(forged, "bundles 4 and 2");
    store_kit_close(&twin);
}

/* It ends with a larger tree, and says itself that it went on from a smaller one. */
Test(import_steps, behind_a_gap_a_log_that_went_on_from_a_smaller_tree_is_a_fork)
{
    char second[PATH_BYTES];
    char forged[PATH_BYTES];
    part();
    write_bundle(&vault, "2.car", 7, second);
    spend_number(&twin);
    spend_number(&twin);
    write_bundle(&twin, "4x.car", 21, forged);
    take(first);
    take(second);

    refuse(forged, "bundles 4 and 2");
    store_kit_close(&twin);
}

/* ------------------------------------------------------------------ in a gap */

/* The office has bundles 1 and 4 of the vault: the fourth went on from 14 events, and has 21. The
 * twin's second bundle has as many as that. */
static void fill_a_gap(size_t events, char forged[PATH_BYTES])
{
    char third[PATH_BYTES];
    char fourth[PATH_BYTES];
    part();
    store_kit_append(&vault, 7, 10);
    spend_number(&vault);
    write_bundle(&vault, "3.car", 0, third);
    write_bundle(&vault, "4.car", 7, fourth);
    write_bundle(&twin, "2x.car", events, forged);
    take(first);
    take(fourth);
}

Test(import_steps, in_a_gap_a_larger_tree_than_behind_it_is_a_fork)
{
    char forged[PATH_BYTES];
    fill_a_gap(15, forged);
    refuse(forged, "bundles 2 and 4");
    store_kit_close(&twin);
}

Test(import_steps, in_a_gap_another_tree_of_the_size_behind_it_is_a_fork)
{
    char forged[PATH_BYTES];
    fill_a_gap(14, forged);
    refuse(forged, "bundles 2 and 4");
    store_kit_close(&twin);
}

Test(import_steps, in_a_gap_a_larger_tree_than_the_one_behind_went_on_from_is_a_fork)
{
    char forged[PATH_BYTES];
    fill_a_gap(10, forged); /* 17 events: between the fourth's beginning and its end */
    refuse(forged, "bundles 2 and 4");
    store_kit_close(&twin);
}

Test(import_steps, in_a_gap_another_tree_of_the_size_that_the_one_behind_went_on_from_is_a_fork)
{
    char forged[PATH_BYTES];
    fill_a_gap(7, forged);
    refuse(forged, "bundles 2 and 4");
    store_kit_close(&twin);
}

Test(import_steps, in_a_gap_the_honest_bundles_come_in)
{
    char forged[PATH_BYTES];
    char third[PATH_BYTES];
    fill_a_gap(7, forged);
    take(temp_dir_join(&dir, "3.car", third));
    must_be_the_same();
    store_kit_close(&twin);
}

/* ------------------------------------------------------------------ each rule by itself */

/* What a bundle's report says of its place; each root is one byte, again and again. */
struct told {
    uint64_t number;
    uint64_t size;
    char root;
    uint64_t from_size; /* 0: it does not say what it went on from */
    char from_root;
    enum quipu_status expected;
};

/* Its manifest is made of its number, and names that of the number before. */
static struct quipu_bundle_report report_of(const struct told *told)
{
    struct quipu_bundle_report report = {
        .number = told->number,
        .log_size = told->size,
        .has_log_previous = told->from_size > 0,
        .log_previous_size = told->from_size,
        .has_previous = true,
    };
    uint64_t before = told->number - 1;
    memset(report.source, 'U', sizeof report.source - 1);
    memset(report.log_root, told->root, sizeof report.log_root);
    memset(report.log_previous_root, told->from_root, sizeof report.log_previous_root);
    report.manifest =
        quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(&told->number, sizeof told->number));
    report.previous = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(&before, sizeof before));
    return report;
}

/* Each case against the one bundle that is here. */
static void judge(const struct told *here, const struct told *cases, size_t count)
{
    struct quipu_txn *txn = NULL;
    struct quipu_import_place place;
    struct quipu_bundle_report kept = report_of(here);
    cr_assert_eq(quipu_txn_begin_write(office.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import_place_keep(txn, &kept, NULL), QUIPU_OK);
    for (size_t i = 0; i < count; i++) {
        struct quipu_bundle_report report = report_of(&cases[i]);
        cr_assert_eq(quipu_import_place_judge(txn, &report, &place, NULL), cases[i].expected,
                     "case %zu", i);
    }
    quipu_txn_abort(&txn);
}

Test(import_steps, behind_a_gap_each_rule_holds_by_itself)
{
    static const struct told here = {.number = 2, .size = 10, .root = 'a'};
    static const struct told cases[] = {
        {4, 9, 'x', 0, 0, QUIPU_FORK},    {4, 10, 'x', 0, 0, QUIPU_FORK},
        {4, 10, 'a', 0, 0, QUIPU_OK},     {4, 11, 'x', 0, 0, QUIPU_OK},
        {4, 11, 'x', 9, 'y', QUIPU_FORK}, {4, 11, 'x', 10, 'y', QUIPU_FORK},
        {4, 11, 'x', 10, 'a', QUIPU_OK},  {4, 11, 'x', 11, 'x', QUIPU_OK},
    };
    judge(&here, cases, sizeof cases / sizeof cases[0]);
}

Test(import_steps, in_a_gap_each_rule_holds_by_itself)
{
    static const struct told silent = {.number = 5, .size = 20, .root = 'b'};
    static const struct told told = {
        .number = 5, .size = 20, .root = 'b', .from_size = 15, .from_root = 'c'};
    static const struct told of_silent[] = {
        {3, 21, 'x', 0, 0, QUIPU_FORK}, {3, 20, 'x', 0, 0, QUIPU_FORK},
        {3, 20, 'b', 0, 0, QUIPU_OK},   {3, 19, 'x', 0, 0, QUIPU_OK},
        {4, 19, 'x', 0, 0, QUIPU_OK},
    };
    static const struct told of_told[] = {
        {3, 16, 'x', 0, 0, QUIPU_FORK}, {3, 15, 'x', 0, 0, QUIPU_FORK},
        {3, 15, 'c', 0, 0, QUIPU_OK},   {3, 14, 'x', 0, 0, QUIPU_OK},
        {4, 14, 'x', 0, 0, QUIPU_FORK}, {4, 15, 'x', 0, 0, QUIPU_FORK},
        {4, 15, 'c', 0, 0, QUIPU_OK},
    };
    judge(&silent, of_silent, sizeof of_silent / sizeof of_silent[0]);
    judge(&told, of_told, sizeof of_told / sizeof of_told[0]);
}

/* ------------------------------------------------------------------ rows of before */

/* The row about the first bundle, as it was before what it went on from was kept. */
static void write_old_row(const struct quipu_bundle_report *bundle)
{
    static const struct quipu_table airgap = {0x100};
    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_buf row = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    struct quipu_txn *txn = NULL;
    struct quipu_slice old = {0};
    quipu_buf_append_text(&key, "import/");
    quipu_buf_append_text(&key, bundle->source);
    quipu_buf_append(&key, "\0\0\0\0\0\0\0\1", 8);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, 4);
    quipu_dagcbor_write_key(&writer, "root");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(bundle->log_root, sizeof bundle->log_root));
    quipu_dagcbor_write_key(&writer, "size");
    quipu_dagcbor_write_uint(&writer, bundle->log_size);
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &bundle->manifest);
    quipu_dagcbor_write_key(&writer, "previous");
    quipu_dagcbor_write_null(&writer);
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_write(office.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_get(txn, airgap, quipu_buf_slice(&key), &old, NULL), QUIPU_OK,
                 "there is one");
    cr_assert_eq(
        quipu_txn_table_put(txn, airgap, quipu_buf_slice(&key), quipu_buf_slice(&row), NULL),
        QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    quipu_buf_release(&key);
    quipu_buf_release(&row);
}

Test(import_steps, rows_of_before_the_tree_before_was_kept_are_read)
{
    struct quipu_bundle_report bundle;
    char second[PATH_BYTES];
    write_bundle(&vault, "1.car", FIRST, first);
    write_bundle(&vault, "2.car", 7, second);
    take(first);
    cr_assert_eq(quipu_bundle_check(first, &bundle, NULL), QUIPU_OK);
    write_old_row(&bundle);

    take(first); /* known */
    take(second);

    must_be_the_same();
}
