/*
 * Two stores, and the page about one of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_REPORT_KIT_H
#define QUIPU_TESTS_REPORT_KIT_H

#include "bundle_kit.h"
#include "quipu/operations.h"
#include "quipu/report.h"

#define NOON_US INT64_C(1795176000000000) /* 2026-11-20T12:00:00Z */

extern struct temp_dir dir;
extern struct store_kit vault;
extern struct store_kit office;
extern char path[PATH_BYTES]; /* of a file that may be written */

void report_set_up(void);
void report_tear_down(void);

/* Collect, printed at noon. */
void collect(struct store_kit *kit, struct quipu_report *report);
void collect_after(struct store_kit *kit, uint64_t after, struct quipu_report *report);

/* The page with a NUL behind it. Release it. */
struct quipu_buf page_of(const struct quipu_report *report, enum quipu_report_form form);
bool page_has(const struct quipu_buf *page, const char *part);

/* Record a row; and an export at noon with these texts. */
void record(struct store_kit *kit, const struct quipu_operation *operation);
struct quipu_operation said(const char *operator_name, const char *reason);

/* The row; the test fails where there is none. */
const struct quipu_report_count *row_named(const struct quipu_report_table *table,
                                           const char *name);
uint64_t rows_sum(const struct quipu_report_table *table);

#endif
