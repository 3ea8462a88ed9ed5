/*
 * Two stores, and the page about one of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "report_kit.h"

#include <criterion/criterion.h>

#include "quipu/text.h"

struct temp_dir dir;
struct store_kit vault;
struct store_kit office;
char path[PATH_BYTES];

void report_set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&office, &dir, "office");
}

void report_tear_down(void)
{
    store_kit_close(&vault);
    store_kit_close(&office);
    temp_dir_release(&dir);
}

static int64_t noon(void *ctx)
{
    (void)ctx;
    return NOON_US;
}

static const struct quipu_clock clock_at_noon = {noon, NULL};

void collect_after(struct store_kit *kit, uint64_t after, struct quipu_report *report)
{
    struct quipu_error err;
    struct quipu_report_options options = QUIPU_REPORT_OPTIONS_INIT;
    options.after = after;
    options.clock = &clock_at_noon;
    cr_assert_eq(quipu_report_collect(kit->engine, &options, report, &err), QUIPU_OK, "%s",
                 err.message);
}

void collect(struct store_kit *kit, struct quipu_report *report)
{
    collect_after(kit, 0, report);
}

struct quipu_buf page_of(const struct quipu_report *report, enum quipu_report_form form)
{
    struct quipu_error err;
    struct quipu_buf page = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_report_write(report, form, quipu_sink_buf(&page), &err), QUIPU_OK, "%s",
                 err.message);
    quipu_buf_append_byte(&page, 0);
    cr_assert_eq(page.status, QUIPU_OK);
    cr_assert_eq(strlen((const char *)page.data), page.len - 1, "a NUL in the page");
    cr_assert_eq(quipu_utf8_valid_prefix(quipu_slice(page.data, page.len - 1)), page.len - 1);
    return page;
}

bool page_has(const struct quipu_buf *page, const char *part)
{
    return strstr((const char *)page->data, part) != NULL;
}

void record(struct store_kit *kit, const struct quipu_operation *operation)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_write(kit->store, &txn, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_operation_record(txn, operation, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK, "%s", err.message);
}

struct quipu_operation said(const char *operator_name, const char *reason)
{
    const struct quipu_operation operation = {
        .unix_us = NOON_US,
        .kind = quipu_slice_text(QUIPU_OPERATION_EXPORT),
        .operator_name = quipu_slice_text(operator_name),
        .reason = quipu_slice_text(reason),
    };
    return operation;
}

const struct quipu_report_count *row_named(const struct quipu_report_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (quipu_slice_equal(table->rows[i].name, quipu_slice_text(name))) {
            return &table->rows[i];
        }
    }
    cr_assert_fail("there is no row \"%s\"", name);
    return NULL;
}

uint64_t rows_sum(const struct quipu_report_table *table)
{
    uint64_t total = 0;
    for (size_t i = 0; i < table->count; i++) {
        total += table->rows[i].count;
    }
    return total;
}
