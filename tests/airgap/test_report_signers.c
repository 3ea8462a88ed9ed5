/*
 * Keys on the report: each that signed has a number, by which the rows name it, and the people whom
 * a file of allowed signers names stand beside it. What has no number stands in full.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "quipu/trust.h"
#include "report_kit.h"

TestSuite(report_signers, .init = report_set_up, .fini = report_tear_down, .timeout = 120);

#define PEOPLE 3u

/* Keys whose first byte is their number. */
static void key_of(size_t number, uint8_t key[QUIPU_PUBLIC_KEY_BYTES])
{
    memset(key, 7, QUIPU_PUBLIC_KEY_BYTES);
    key[0] = (uint8_t)number;
}

static const char *name_of(size_t number, char text[QUIPU_SOURCE_TEXT_BYTES])
{
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    key_of(number, key);
    quipu_nkey_format('U', key, text);
    return text;
}

static void record_signed(const char *signers)
{
    struct quipu_operation row = said("Ada", "");
    row.signers = quipu_slice_text(signers);
    record(&vault, &row);
}

/* Key 1 is ada's, but for another purpose first; key 2 had its time; key 3 may sign files only. */
static struct quipu_trust *trust_of_people(void)
{
    static const char *const lines[] = {
        "git namespaces=\"git\"", "ada,ada@example namespaces=\"quipu-bundle@v1\"",
        "<b>&bruno valid-before=\"20200101Z\"", "carla namespaces=\"file\""};
    static const size_t keys[] = {1, 1, 2, 3};
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    struct quipu_buf text = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        key_of(keys[i], key);
        quipu_buf_printf(&text, "%s ", lines[i]);
        cr_assert_eq(quipu_ssh_public_key_line(key, NULL, &text, &err), QUIPU_OK);
    }
    cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&text), &trust, &err), QUIPU_OK, "%s",
                 err.message);
    quipu_buf_release(&text);
    return trust;
}

static void collect_with(const struct quipu_trust *trust, struct quipu_report *report)
{
    struct quipu_error err;
    struct quipu_report_options options = QUIPU_REPORT_OPTIONS_INIT;
    options.trust = trust;
    cr_assert_eq(quipu_report_collect(vault.engine, &options, report, &err), QUIPU_OK, "%s",
                 err.message);
}

static void expect(const struct quipu_report *report, enum quipu_report_form form, const char *part)
{
    struct quipu_buf page = page_of(report, form);
    cr_assert(page_has(&page, part), "\"%s\" is not in\n%s", part, (char *)page.data);
    quipu_buf_release(&page);
}

Test(report_signers, rows_name_keys_by_the_numbers_under_which_they_stand)
{
    struct quipu_report report;
    struct quipu_error err;
    struct quipu_trust *trust = trust_of_people();
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char names[PEOPLE][QUIPU_SOURCE_TEXT_BYTES];
    char text[1024];
    store_kit_append(&vault, 1, 0);
    cr_assert_eq(quipu_identity_source(vault.engine, source, &err), QUIPU_OK);
    for (size_t i = 0; i < PEOPLE; i++) {
        (void)name_of(i + 1, names[i]);
    }
    (void)snprintf(text, sizeof text, "%s %s %s", source, names[0], names[1]);
    record_signed(text);
    (void)snprintf(text, sizeof text, "%s %s", names[2], names[0]);
    record_signed(text);

    collect_with(trust, &report);
    cr_assert_eq(report.signer_count, 3u);
    cr_assert_str_eq(report.signers[0].name, names[0]);
    cr_assert_eq(report.signers[0].operations, 2u);
    cr_assert_eq(report.signers[2].operations, 1u);
    expect(&report, QUIPU_REPORT_TEXT, "  signed by   the source, key 1, key 2\n");
    expect(&report, QUIPU_REPORT_TEXT, "  signed by   key 3, key 1\n");
    (void)snprintf(text, sizeof text,
                   "  key 1       %s\n              ada,ada@example\n"
                   "  key 2       %s\n              <b>&bruno\n"
                   "  key 3       %s\n\n",
                   names[0], names[1], names[2]);
    expect(&report, QUIPU_REPORT_TEXT, text);
    (void)snprintf(text, sizeof text,
                   "<div><dt>key 2</dt><dd><code>%s</code></dd>"
                   "<dd><bdi class=\"said\">&lt;b&gt;&amp;bruno</bdi></dd></div>\n",
                   names[1]);
    expect(&report, QUIPU_REPORT_HTML, text);
    expect(&report, QUIPU_REPORT_HTML, "<dt>signed by</dt><dd>key 3, key 1</dd>");
    quipu_report_release(&report);

    collect_with(NULL, &report);
    cr_assert_eq(report.signers[0].principals.len, 0u, "nobody is named where no file is given");
    (void)snprintf(text, sizeof text, "  key 1       %s\n  key 2 ", names[0]);
    expect(&report, QUIPU_REPORT_TEXT, text);
    quipu_report_release(&report);
    quipu_trust_free(&trust);
}

Test(report_signers, keys_that_are_not_ed25519_have_numbers_too)
{
    static const char name[] = "SHA256:7xhV/lZ4RPaKybdhGaenm49G3PZFbgbiKCsUWeXC/9E";
    struct quipu_report report;
    record_signed(name);
    collect_with(NULL, &report);
    cr_assert_eq(report.signer_count, 1u);
    cr_assert_str_eq(report.signers[0].name, name);
    expect(&report, QUIPU_REPORT_TEXT, "  signed by   key 1\n");
    quipu_report_release(&report);
}

/* A forged row may hold anything; nothing of it is taken for a key, nothing is left out. */
Test(report_signers, what_is_no_key_stands_in_full)
{
    struct quipu_report report;
    char key[QUIPU_SOURCE_TEXT_BYTES];
    char text[512];
    (void)snprintf(text, sizeof text, "%s the source", name_of(1, key));
    record_signed(text);
    (void)snprintf(text, sizeof text, "%s  %s", key, key);
    record_signed(text);
    record_signed(" ");
    collect_with(NULL, &report);
    cr_assert_eq(report.signer_count, 1u);
    (void)snprintf(text, sizeof text, "<dd><bdi class=\"said keys\">%s the source</bdi></dd>", key);
    expect(&report, QUIPU_REPORT_HTML, text);
    (void)snprintf(text, sizeof text, "<dd><bdi class=\"said keys\">%s  %s</bdi></dd>", key, key);
    expect(&report, QUIPU_REPORT_HTML, text);
    expect(&report, QUIPU_REPORT_HTML, "<dd><bdi class=\"said keys\"> </bdi></dd>");
    quipu_report_release(&report);
}

Test(report_signers, keys_over_the_limit_stand_in_full)
{
    struct quipu_report report;
    char key[QUIPU_SOURCE_TEXT_BYTES];
    char text[512];
    for (size_t i = 0; i <= QUIPU_REPORT_SIGNERS_MAX; i++) {
        record_signed(name_of(i + 1, key));
    }
    collect_with(NULL, &report);
    cr_assert_eq(report.signer_count, QUIPU_REPORT_SIGNERS_MAX);
    (void)snprintf(text, sizeof text, "  signed by   key %u\n", QUIPU_REPORT_SIGNERS_MAX);
    expect(&report, QUIPU_REPORT_TEXT, text);
    (void)snprintf(text, sizeof text, "  signed by   %s\n", key);
    expect(&report, QUIPU_REPORT_TEXT, text);
    quipu_report_release(&report);
}

/* One row with all the keys that have numbers. */
Test(report_signers, a_row_of_as_many_as_have_numbers_fits)
{
    struct quipu_report report;
    struct quipu_buf names = QUIPU_BUF_INIT;
    char key[QUIPU_SOURCE_TEXT_BYTES];
    for (size_t i = 0; i < QUIPU_REPORT_SIGNERS_MAX; i++) {
        quipu_buf_printf(&names, "%s%s", i > 0 ? " " : "", name_of(i + 1, key));
    }
    quipu_buf_append_byte(&names, 0);
    cr_assert_eq(names.status, QUIPU_OK);
    record_signed((const char *)names.data);
    collect_with(NULL, &report);
    expect(&report, QUIPU_REPORT_HTML, "<dd>key 1, key 2, ");
    expect(&report, QUIPU_REPORT_HTML, ", key 31, key 32</dd></div>\n");
    quipu_buf_release(&names);
    quipu_report_release(&report);
}

/* ------------------------------------------------------------------ said once */

static void record_manifest(const char *text)
{
    struct quipu_operation row = said("Ada", "");
    row.has_manifest = true;
    row.manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text(text));
    record(&vault, &row);
}

Test(report_signers, a_manifest_stands_once_in_full)
{
    struct quipu_report report;
    struct quipu_cid manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("1"));
    char cid[QUIPU_CID_TEXT_BYTES];
    char text[16];
    quipu_cid_format(&manifest, cid);
    record_manifest("1");
    record_manifest("2");
    record_manifest("1");
    collect_with(NULL, &report);
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(page_has(&page, "  manifest    as in 1\n") && !page_has(&page, "as in 2"));
    const char *first = strstr((const char *)page.data, cid);
    cr_assert_not_null(first);
    cr_assert_null(strstr(first + 1, cid));
    quipu_buf_release(&page);
    quipu_report_release(&report);

    /* So many are kept; a manifest that is long past stands in full again. */
    for (int i = 3; i < 30; i++) {
        (void)snprintf(text, sizeof text, "%d", i);
        record_manifest(text);
    }
    record_manifest("1");
    collect_with(NULL, &report);
    page = page_of(&report, QUIPU_REPORT_TEXT);
    first = strstr((const char *)page.data, cid);
    cr_assert_not_null(first);
    cr_assert_not_null(strstr(first + 1, cid));
    quipu_buf_release(&page);
    quipu_report_release(&report);
}
