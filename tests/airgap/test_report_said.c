/*
 * What others wrote into their texts does not leave its place on the report: it is escaped, and
 * what is not to be seen, or drives a terminal, is shown by its number.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "internal/bytes.h"
#include "report_kit.h"

/* On disk, so it never changes. */
#define TABLE_OPERATIONS ((struct quipu_table){0x102})

TestSuite(report_said, .init = report_set_up, .fini = report_tear_down, .timeout = 120);

Test(report_said, text_of_others_stays_text)
{
    struct quipu_report report;
    struct quipu_operation row =
        said("<script>alert(1)</script>&\"'", "</bdi></dd><img src=x onerror=alert(1)>");
    record(&vault, &row);
    collect(&vault, &report);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_HTML);
    cr_assert(!page_has(&page, "<script") && !page_has(&page, "<img"));
    cr_assert(page_has(&page,
                       "<bdi class=\"said\">&lt;script&gt;alert(1)&lt;/script&gt;&amp;&quot;&#39;"
                       "</bdi>"));
    cr_assert(page_has(&page, "&lt;/bdi&gt;&lt;/dd&gt;&lt;img src=x onerror=alert(1)&gt;</bdi>"));
    static const char *const outside[] = {"http:", "https:",  "src=\"", "href",
                                          "url(",  "@import", "<link"};
    for (size_t i = 0; i < sizeof outside / sizeof outside[0]; i++) {
        cr_assert(!page_has(&page, outside[i]), "%s leads outside", outside[i]);
    }
    quipu_buf_release(&page);
    page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(page_has(&page, "  operator    <script>alert(1)</script>&\"'\n"));
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

/* Characters that are not seen, or turn the direction of reading, on both sides of the ranges. */
Test(report_said, hidden_characters_are_shown_by_number)
{
    static const struct {
        const char *text;
        const char *shown; /* NULL: as it is */
    } cases[] = {
        {"\xe2\x80\xae", "[U+202E]"},
        {"\xe2\x80\xa8", "[U+2028]"},
        {"\xe2\x80\x8b", "[U+200B]"},
        {"\xe2\x80\x8f", "[U+200F]"},
        {"\xe2\x81\xa6", "[U+2066]"},
        {"\xe2\x81\xaf", "[U+206F]"},
        {"\xd8\x9c", "[U+061C]"},
        {"\xef\xbb\xbf", "[U+FEFF]"},
        {"\xc2\xad", "[U+00AD]"},
        {"\xf3\xa0\x81\x81", "[U+E0041]"},
        {"\xe2\x80\x8c", NULL},
        {"\xe2\x80\x8d", NULL},
        {"\xe2\x80\xaf", NULL},
        {"\xe2\x80\xa7", NULL},
        {"\xe2\x81\x9f", NULL},
        {"\xe2\x81\xb0", NULL},
        {"\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", NULL},
        {"\xf0\x9f\x94\x91", NULL},
        {"\xe6\x97\xa5\xe6\x9c\xac", NULL},
        {"\xef\xbf\xbd", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char reason[64];
        struct quipu_operation row;
        (void)snprintf(reason, sizeof reason, "a%zu-%s-z", i, cases[i].text);
        row = said("Ada", reason);
        record(&vault, &row);
    }
    for (int form = QUIPU_REPORT_TEXT; form <= QUIPU_REPORT_HTML; form++) {
        struct quipu_report report;
        collect(&vault, &report);
        struct quipu_buf page = page_of(&report, (enum quipu_report_form)form);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            const char *shown = cases[i].shown == NULL ? cases[i].text : cases[i].shown;
            bool is_span = form == QUIPU_REPORT_HTML && cases[i].shown != NULL;
            char wanted[128];
            (void)snprintf(wanted, sizeof wanted, "a%zu-%s%s%s-z", i,
                           is_span ? "<span class=\"hidden\">" : "", shown,
                           is_span ? "</span>" : "");
            cr_assert(page_has(&page, wanted), "\"%s\" in form %d", wanted, form);
            cr_assert(cases[i].shown == NULL || !page_has(&page, cases[i].text), "%zu", i);
        }
        quipu_buf_release(&page);
        quipu_report_release(&report);
    }
}

/* A row with control characters is never recorded, but a file may hold one. */
Test(report_said, a_forged_row_drives_no_terminal)
{
    struct quipu_report report;
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    struct quipu_slice key = {0};
    struct quipu_slice value = {0};
    struct quipu_buf forged = QUIPU_BUF_INIT;
    struct quipu_operation row = said("#[2J#]0;owned#", "");
    record(&vault, &row);
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_seek(txn, TABLE_OPERATIONS, quipu_slice(NULL, 0), QUIPU_SEEK_GT,
                                      &key, &value, &err),
                 QUIPU_OK);
    quipu_buf_append_slice(&forged, value);
    for (size_t i = 0; i < forged.len; i++) {
        forged.data[i] = forged.data[i] == '#' ? 0x1b : forged.data[i];
    }
    uint8_t number[8];
    quipu_store_be64(number, 1);
    cr_assert_eq(quipu_txn_table_put(txn, TABLE_OPERATIONS, quipu_slice(number, sizeof number),
                                     quipu_buf_slice(&forged), &err),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK);
    for (int form = QUIPU_REPORT_TEXT; form <= QUIPU_REPORT_HTML; form++) {
        collect(&vault, &report);
        struct quipu_buf page = page_of(&report, (enum quipu_report_form)form);
        cr_assert(!page_has(&page, "\x1b"));
        cr_assert(page_has(&page, "[U+001B]"));
        quipu_buf_release(&page);
        quipu_report_release(&report);
    }
    quipu_buf_release(&forged);
}

Test(report_said, no_line_of_text_is_longer_than_80_columns)
{
    static char reason[QUIPU_OPERATION_TEXT_BYTES_MAX + 1];
    struct quipu_report report;
    struct quipu_operation row;
    memset(reason, 'x', sizeof reason - 1);
    for (size_t i = 0; i < 40; i++) {
        reason[i * 97 + i % 5] = ' '; /* words shorter and longer than a line */
    }
    row = said("Ada", reason);
    record(&vault, &row);
    store_kit_append(&vault, 10, 0);
    collect(&vault, &report);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    size_t column = 0;
    size_t letters = 0;
    for (size_t i = 0; i < page.len - 1; i++) {
        column = page.data[i] == '\n' ? 0 : column + 1;
        letters += page.data[i] == 'x';
        cr_assert_leq(column, 80u, "byte %zu", i);
        cr_assert(page.data[i] != '\n' || i == 0 || page.data[i - 1] != ' ', "byte %zu", i);
    }
    cr_assert_geq(letters, sizeof reason - 1 - 40, "nothing of it is lost");
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

/* Two columns each: 33 fit behind the names of the values. */
Test(report_said, wide_characters_take_two_columns)
{
    char reason[3 * 40 + 1] = "";
    char wanted[256];
    struct quipu_report report;
    for (int i = 0; i < 40; i++) {
        strcat(reason, "\xe6\x97\xa5");
    }
    struct quipu_operation row = said("Ada", reason);
    record(&vault, &row);
    collect(&vault, &report);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    (void)snprintf(wanted, sizeof wanted, "  reason      %.*s\n%14s%s\n", 3 * 33, reason, "",
                   reason + 3 * (size_t)33);
    cr_assert(page_has(&page, wanted), "%s", (char *)page.data);
    quipu_buf_release(&page);
    quipu_report_release(&report);
}
