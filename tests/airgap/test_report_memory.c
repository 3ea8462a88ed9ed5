/*
 * The report's memory and its file: it does not grow with the store, survives each allocation that
 * fails, and what is saved is whole or not there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "after_test.h"
#include "quipu/alloc.h"
#include "report_kit.h"
#include "run.h"

/* Fails the call with this number; 0: none. */
static uint64_t calls;
static uint64_t fail_at;
static int64_t live;
static size_t held;
static size_t held_max;

static void *count_reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    if (++calls == fail_at) {
        return NULL;
    }
    size_t before = pointer == NULL ? 0 : malloc_usable_size(pointer);
    void *grown = realloc(pointer, bytes);
    if (grown != NULL) {
        live += pointer == NULL;
        held += malloc_usable_size(grown) - before;
        held_max = held > held_max ? held : held_max;
    }
    return grown;
}

static void count_release(void *ctx, void *pointer)
{
    (void)ctx;
    if (pointer != NULL) {
        live--;
        held -= malloc_usable_size(pointer);
    }
    free(pointer);
}

static void set_up(void)
{
    const struct quipu_allocator allocator = {count_reallocate, count_release, NULL};
    quipu_alloc_set(&allocator);
    report_set_up();
}

static void tear_down(void)
{
    fail_at = 0;
    report_tear_down();
    after_test_require(live == 0, "blocks have leaked");
}

TestSuite(report_memory, .init = set_up, .fini = tear_down, .timeout = 120);

static enum quipu_status count_bytes(void *ctx, struct quipu_slice bytes, struct quipu_error *err)
{
    uint64_t *written = ctx;
    (void)err;
    *written += bytes.len;
    return QUIPU_OK;
}

/* Most bytes that were held at a time for the page, and how long it is. */
static size_t memory_of(struct store_kit *kit, enum quipu_report_form form, uint64_t *written)
{
    struct quipu_report report;
    struct quipu_error err;
    *written = 0;
    held_max = held;
    size_t before = held;
    collect(kit, &report);
    cr_assert_eq(quipu_report_write(&report, form, (struct quipu_sink){count_bytes, written}, &err),
                 QUIPU_OK, "%s", err.message);
    quipu_report_release(&report);
    return held_max - before;
}

/* Rows as others name them; with `many` operators and types. */
static void record_rows(size_t count)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, &err), QUIPU_OK);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "operator %zu", i % 40);
        struct quipu_operation row = said(name, "again");
        cr_assert_eq(quipu_operation_record(txn, &row, NULL, &err), QUIPU_OK);
    }
    cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK);
}

Test(report_memory, does_not_grow_with_events_and_rows)
{
    for (int form = QUIPU_REPORT_TEXT; form <= QUIPU_REPORT_HTML; form++) {
        uint64_t short_page;
        uint64_t long_page;
        store_kit_append(&vault, 100, 10);
        record_rows(100);
        size_t small = memory_of(&vault, (enum quipu_report_form)form, &short_page);
        store_kit_append(&vault, 20000, 10);
        record_rows(5000);
        size_t great = memory_of(&vault, (enum quipu_report_form)form, &long_page);
        cr_assert_gt(long_page, short_page + 5000 * UINT64_C(60));
        cr_assert_lt(great, small + 65536, "%zu bytes, with 5,000 rows more %zu", small, great);
        cr_assert_lt(great, (size_t)4 << 20);
    }
}

/* What is over a limit is counted with the others. */
Test(report_memory, names_over_the_limit_are_counted_together)
{
    struct quipu_report report;
    struct quipu_error err;
    static struct quipu_event events[QUIPU_REPORT_NAMES_MAX + 2];
    static char types[QUIPU_REPORT_NAMES_MAX + 2][24];
    size_t count = sizeof events / sizeof events[0];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(types[i], sizeof types[i], "thing-%zu", i);
        events[i] = (struct quipu_event){
            .type = types[i], .aggregate = {types[i], "one"}, .payload = quipu_slice("\xa0", 1)};
    }
    cr_assert_eq(quipu_append_batch(vault.engine, events, QUIPU_REPORT_NAMES_MAX, NULL, NULL, &err),
                 QUIPU_OK, "%s", err.message);
    collect(&vault, &report);
    cr_assert_eq(report.types.count, QUIPU_REPORT_NAMES_MAX);
    cr_assert_gt(report.types.rows[QUIPU_REPORT_NAMES_MAX - 1].name.len, 0u);
    cr_assert_eq(report.by_aggregate.count, 0u, "too many to be named");
    quipu_report_release(&report);

    cr_assert_eq(
        quipu_append_batch(vault.engine, events + QUIPU_REPORT_NAMES_MAX, 2, NULL, NULL, &err),
        QUIPU_OK);
    record_rows(80);
    collect(&vault, &report);
    cr_assert_eq(report.types.count, QUIPU_REPORT_NAMES_MAX + 1);
    cr_assert_eq(report.types.rows[QUIPU_REPORT_NAMES_MAX].name.len, 0u);
    cr_assert_eq(report.types.rows[QUIPU_REPORT_NAMES_MAX].count, 2u);
    cr_assert_eq(report.aggregate_types.rows[QUIPU_REPORT_NAMES_MAX].aggregates, 2u);
    cr_assert_eq(report.aggregates, count);
    cr_assert_eq(report.operators.count, QUIPU_REPORT_OPERATORS_MAX + 1);
    cr_assert_eq(rows_sum(&report.operators), 80u);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(page_has(&page, "           2  all other types\n"));
    cr_assert(page_has(&page, "          48  all others\n"));
    cr_assert(page_has(&page, "  Operations by kind\n  operations  kind\n          80  export\n"));
    cr_assert(page_has(&page, "too many aggregates"));
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

Test(report_memory, aggregates_are_named_up_to_the_limit)
{
    struct quipu_report report;
    struct quipu_error err;
    for (size_t i = 0; i <= QUIPU_REPORT_AGGREGATES_MAX; i++) {
        char id[24];
        (void)snprintf(id, sizeof id, "%zu", i);
        const struct quipu_event event = {
            .type = "thing.made", .aggregate = {"thing", id}, .payload = quipu_slice("\xa0", 1)};
        if (i == QUIPU_REPORT_AGGREGATES_MAX) {
            collect(&vault, &report);
            cr_assert_eq(report.by_aggregate.count, QUIPU_REPORT_AGGREGATES_MAX);
            quipu_report_release(&report);
        }
        cr_assert_eq(quipu_append(vault.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    }
    collect(&vault, &report);
    cr_assert_eq(report.by_aggregate.count, 0u);
    quipu_report_release(&report);
}

Test(report_memory, each_allocation_that_fails_is_told_and_nothing_leaks)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    options.keeps_forks = true;
    store_kit_append(&office, 7, 10);
    store_kit_append(&vault, 7, 10);
    store_kit_export(&office, path, NULL);
    cr_assert_eq(quipu_import(vault.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    record_rows(20);
    enum quipu_status status = QUIPU_NO_MEMORY;
    uint64_t refused = 0;
    for (uint64_t n = 1; status != QUIPU_OK; n++) {
        struct quipu_report report;
        struct quipu_buf page = QUIPU_BUF_INIT;
        calls = 0;
        fail_at = n;
        status = quipu_report_collect(vault.engine, NULL, &report, &err);
        if (status == QUIPU_OK) {
            status = quipu_report_write(&report, QUIPU_REPORT_HTML, quipu_sink_buf(&page), &err);
        }
        fail_at = 0;
        cr_assert(status == QUIPU_OK || status == QUIPU_NO_MEMORY, "allocation %lu: %s",
                  (unsigned long)n, err.message);
        refused += status != QUIPU_OK;
        quipu_buf_release(&page);
        quipu_report_release(&report);
        cr_assert_lt(n, 2000);
    }
    cr_assert_gt(refused, 20u);
}

/* ------------------------------------------------------------------ the file */

Test(report_memory, the_file_is_the_page_and_what_is_there_is_not_touched)
{
    struct quipu_report report;
    struct quipu_error err;
    uint8_t said_digest[QUIPU_SHA256_BYTES];
    uint8_t digest[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, 5, 10);
    collect(&vault, &report);
    temp_dir_join(&dir, "page.html", path);
    cr_assert_eq(quipu_report_save(&report, QUIPU_REPORT_HTML, path, said_digest, &err), QUIPU_OK,
                 "%s", err.message);
    struct quipu_slice file = read_file(path);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_HTML);
    cr_assert(quipu_slice_equal(file, quipu_slice(page.data, page.len - 1)));
    quipu_sha256(file, digest);
    cr_assert_arr_eq(digest, said_digest, sizeof digest);
    cr_assert_eq(quipu_report_save(&report, QUIPU_REPORT_TEXT, path, NULL, &err), QUIPU_EXISTS);
    cr_assert_eq(quipu_report_save(&report, QUIPU_REPORT_TEXT, NULL, NULL, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_report_save(&report, QUIPU_REPORT_TEXT, dir.path, NULL, &err), QUIPU_EXISTS);
    temp_dir_join(&dir, "nowhere/page.html", path);
    cr_assert_eq(quipu_report_save(&report, QUIPU_REPORT_TEXT, path, NULL, &err), QUIPU_NOT_FOUND);
    free_file(&file);
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

static struct quipu_report report_to_save;

static enum quipu_status save(struct quipu_error *err)
{
    return quipu_report_save(&report_to_save, QUIPU_REPORT_HTML, path, NULL, err);
}

Test(report_memory, a_failure_at_any_step_leaves_no_file)
{
    static const char *const points[] = {"airgap.export.create:fail", "airgap.export.write:fail",
                                         "airgap.export.sync:fail", "airgap.export.rename:fail"};
    struct stat info;
    temp_dir_join(&dir, "page.html", path);
    collect(&vault, &report_to_save);
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        cr_assert_eq(store_kit_run_armed(points[i], save), QUIPU_IO, "%s", points[i]);
        cr_assert_neq(lstat(path, &info), 0, "%s", points[i]);
    }
    cr_assert_eq(store_kit_run_armed("airgap.export.nowhere:fail", save), QUIPU_OK);
    cr_assert_eq(lstat(path, &info), 0);
    quipu_report_release(&report_to_save);
}
