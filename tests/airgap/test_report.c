/*
 * The ceremony report says what the store says, in both forms. What is expected is made here from
 * the rows, never copied from what came out.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "internal/bytes.h"
#include "quipu/text.h"
#include "report_kit.h"
#include "run.h"

/* On disk, so it never changes. */
#define TABLE_OPERATIONS ((struct quipu_table){0x102})

TestSuite(report, .init = report_set_up, .fini = report_tear_down, .timeout = 120);

/* Collect, write, and look for each of the parts (ended by NULL). */
static void must_say(struct store_kit *kit, enum quipu_report_form form, const char *const parts[])
{
    struct quipu_report report;
    collect(kit, &report);
    struct quipu_buf page = page_of(&report, form);
    for (size_t i = 0; parts[i] != NULL; i++) {
        cr_assert(page_has(&page, parts[i]), "\"%s\" is not in\n%s", parts[i], (char *)page.data);
    }
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

/* ------------------------------------------------------------------ what is collected */

Test(report, an_empty_store_has_an_empty_page)
{
    static const char *const text[] = {"  source      none yet: nothing was recorded under",
                                       "  events      0 events of 0 aggregates;",
                                       "  No export and no import is recorded.\n",
                                       "  The store holds no event.\n",
                                       "  Nothing: no open fork",
                                       "  printed     2026-11-20T12:00:00Z by quipu ",
                                       NULL};
    static const char *const html[] = {"<p>No export and no import is recorded.</p>",
                                       "<p>The store holds no event.</p>", "</html>\n", NULL};
    must_say(&vault, QUIPU_REPORT_TEXT, text);
    must_say(&vault, QUIPU_REPORT_HTML, html);
}

/* Recognised by its first bytes; it says nothing of whose it is. */
Test(report, a_wrapped_key_that_has_recorded_nothing_is_no_source_yet)
{
    static const char *const text[] = {"  source      none yet: nothing was recorded under", NULL};
    char key[2 * PATH_BYTES];
    (void)snprintf(key, sizeof key, "%s/signing.key", vault.path);
    write_file(key, quipu_slice_text("age-encryption.org/v1\n-> scrypt "));
    cr_assert_eq(chmod(key, 0600), 0);
    must_say(&vault, QUIPU_REPORT_TEXT, text);
}

Test(report, the_log_is_that_of_the_next_checkpoint)
{
    struct quipu_report report;
    struct quipu_export_report first;
    struct quipu_export_report second;
    store_kit_append(&vault, 2500, 10);
    store_kit_export(&vault, path, &first);

    collect(&vault, &report);
    cr_assert_eq(report.events, 2500u);
    cr_assert_eq(report.log_size, first.log_size);
    cr_assert_arr_eq(report.log_root, first.log_root, sizeof first.log_root);
    cr_assert_eq(report.bundle, 1u);
    cr_assert(report.is_bundle_settled);
    cr_assert(quipu_cid_equal(&report.bundle_manifest, &first.manifest));
    cr_assert_eq(report.not_exported, 0u);
    quipu_report_release(&report);

    store_kit_append(&vault, 3, 10);
    collect(&vault, &report);
    temp_dir_join(&dir, "second.car", path);
    store_kit_export(&vault, path, &second);
    cr_assert_eq(report.not_exported, 3u);
    cr_assert_eq(report.log_size, second.log_size);
    cr_assert_arr_eq(report.log_root, second.log_root, sizeof second.log_root);
    cr_assert_arr_eq(report.bundle_log_root, first.log_root, sizeof first.log_root);
    quipu_report_release(&report);
}

Test(report, counts_what_others_recorded_by_type_aggregate_and_source)
{
    struct quipu_report report;
    struct quipu_error err;
    char source[2][QUIPU_SOURCE_TEXT_BYTES];
    store_kit_append(&vault, 21, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    const struct quipu_event own = {
        .type = "note.written", .aggregate = {"note", "a/b"}, .payload = quipu_slice("\xa0", 1)};
    cr_assert_eq(quipu_append(office.engine, &own, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(vault.engine, source[0], &err), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(office.engine, source[1], &err), QUIPU_OK);

    collect(&office, &report);
    cr_assert_eq(report.events, 22u);
    cr_assert_eq(report.aggregates, 8u);
    cr_assert_eq(report.types.count, 4u);
    cr_assert_eq(row_named(&report.types, "key.generated")->count, 7u);
    cr_assert_eq(row_named(&report.types, "key.certificate.issued")->count, 7u);
    cr_assert_eq(row_named(&report.aggregate_types, "key")->count, 21u);
    cr_assert_eq(row_named(&report.aggregate_types, "key")->aggregates, 7u);
    cr_assert_eq(row_named(&report.aggregate_types, "note")->aggregates, 1u);
    cr_assert_eq(report.by_aggregate.count, 8u);
    cr_assert_eq(row_named(&report.by_aggregate, "key/root-6")->count, 3u);
    cr_assert_eq(row_named(&report.by_aggregate, "note/a/b")->count, 1u);
    cr_assert_eq(row_named(&report.sources, source[0])->count, 21u);
    cr_assert_eq(row_named(&report.sources, source[1])->count, 1u);
    cr_assert_eq(row_named(&report.kinds, "import")->count, 1u);
    cr_assert_eq(report.log_size, 1u, "only its own");
    for (size_t i = 1; i < report.types.count; i++) {
        cr_assert_lt(quipu_slice_compare(report.types.rows[i - 1].name, report.types.rows[i].name),
                     0, "in the order of the names");
    }
    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(page_has(&page, "  Recorded by\n      events  source\n"));
    quipu_buf_release(&page);
    quipu_report_release(&report);

    collect(&vault, &report);
    page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(!page_has(&page, "Recorded by"), "all of it is its own");
    cr_assert(page_has(&page, "  log         21 events recorded by the source;"));
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

/* `ssh-keygen -l` says the same of the key. */
Test(report, the_fingerprint_is_that_of_ssh_keygen)
{
    struct quipu_report report;
    struct quipu_error err;
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    struct quipu_buf line = QUIPU_BUF_INIT;
    char command[2 * PATH_BYTES];
    char shown[256] = "";
    if (!run_is_there("ssh-keygen")) {
        cr_skip("skipped: there is no ssh-keygen");
    }
    store_kit_append(&vault, 1, 0);
    collect(&vault, &report);
    cr_assert_eq(quipu_source_public_key(quipu_slice_text(report.source), key, &err), QUIPU_OK);
    cr_assert_eq(quipu_ssh_public_key_line(key, NULL, &line, &err), QUIPU_OK);
    write_file(path, quipu_buf_slice(&line));
    (void)snprintf(command, sizeof command, "ssh-keygen -l -f '%s'", path);
    FILE *pipe = popen(command, "r");
    cr_assert_not_null(pipe);
    cr_assert_not_null(fgets(shown, sizeof shown, pipe));
    cr_assert_eq(pclose(pipe), 0);
    cr_assert_eq(strlen(report.fingerprint), sizeof report.fingerprint - 1);
    cr_assert_not_null(strstr(shown, report.fingerprint), "%s is not in %s", report.fingerprint,
                       shown);
    quipu_buf_release(&line);
    quipu_report_release(&report);
}

Test(report, says_what_is_not_in_order)
{
    static const char *const parts[] = {"  forks       7 aggregates with open branches, 0 numbers",
                                        "  fork        branches behind version 1 of:\n",
                                        "              key/root-6\n", NULL};
    static const char *const dead[] = {"  dead        1 event that a server refused for good",
                                       NULL};
    struct quipu_error err;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    options.keeps_forks = true;
    store_kit_append(&vault, 7, 10);
    store_kit_append(&office, 7, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    must_say(&office, QUIPU_REPORT_TEXT, parts);
    cr_assert_eq(quipu_outbox_bury(office.engine, 2, QUIPU_SERVER, quipu_slice_text("no"), &err),
                 QUIPU_OK);
    must_say(&office, QUIPU_REPORT_TEXT, dead);
}

Test(report, wrong_use_and_damage_are_told)
{
    struct quipu_report report;
    struct quipu_error err;
    struct quipu_report_options options = QUIPU_REPORT_OPTIONS_INIT;
    struct quipu_txn *txn = NULL;
    uint8_t key[8];
    options.size--;
    cr_assert_eq(quipu_report_collect(NULL, NULL, &report, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_report_collect(vault.engine, NULL, NULL, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_report_collect(vault.engine, &options, &report, &err), QUIPU_MISUSE);
    cr_assert_eq(quipu_report_write(&report, QUIPU_REPORT_TEXT, (struct quipu_sink){0}, &err),
                 QUIPU_MISUSE);

    quipu_store_be64(key, 2); /* there is no row 1 */
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, &err), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_put(txn, TABLE_OPERATIONS, quipu_slice(key, sizeof key),
                                     quipu_slice("\xa0", 1), &err),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, &err), QUIPU_OK);
    cr_assert_eq(quipu_report_collect(vault.engine, NULL, &report, &err), QUIPU_CORRUPT);
    quipu_report_release(&report);
}

/* ------------------------------------------------------------------ how a row looks */

/* Words of a digest as lines that end before column 80. */
static void expect_words(struct quipu_buf *out, const uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_buf words = QUIPU_BUF_INIT;
    size_t column = 14;
    quipu_digest_words(quipu_slice(digest, QUIPU_SHA256_BYTES), &words);
    quipu_buf_append_byte(&words, 0);
    quipu_buf_append_text(out, "  in words    ");
    char *save = NULL;
    for (char *word = strtok_r((char *)words.data, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        bool is_first = column == 14;
        if (!is_first && column + 1 + strlen(word) > 80) {
            quipu_buf_printf(out, "\n%14s%s", "", word);
            column = 14 + strlen(word);
        } else {
            quipu_buf_printf(out, "%s%s", is_first ? "" : " ", word);
            column += strlen(word) + (is_first ? 0 : 1);
        }
    }
    quipu_buf_append_byte(out, '\n');
    quipu_buf_release(&words);
}

/* `text` ends in 0. */
static void expect_on_page(const struct quipu_report *report, enum quipu_report_form form,
                           const struct quipu_buf *text)
{
    struct quipu_buf page = page_of(report, form);
    cr_assert(page_has(&page, (const char *)text->data), "%s\nis not in\n%s", (char *)text->data,
              (char *)page.data);
    quipu_buf_release(&page);
}

Test(report, a_row_stands_as_it_was_recorded)
{
    struct quipu_report report;
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct quipu_buf html = QUIPU_BUF_INIT;
    struct quipu_buf words = QUIPU_BUF_INIT;
    char cid[QUIPU_CID_TEXT_BYTES];
    struct quipu_operation row = said("Ada Quispe", "the stick broke");
    row.kind = quipu_slice_text(QUIPU_OPERATION_IMPORT);
    row.source = quipu_slice_text("UFIRST");
    row.signers = quipu_slice_text("UFIRST USECOND");
    row.bundle = 12;
    row.events = 13288;
    row.added = 13000;
    row.known = 288;
    row.missing = 1;
    row.has_manifest = true;
    row.manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("x"));
    row.has_sha256 = true;
    quipu_sha256(quipu_slice_text("y"), row.sha256);
    quipu_cid_format(&row.manifest, cid);
    quipu_digest_words(quipu_slice(row.sha256, sizeof row.sha256), &words);
    record(&vault, &row);

    quipu_buf_printf(&text,
                     "\n1  import\n  when        2026-11-20T12:00:00Z\n"
                     "  operator    Ada Quispe\n  reason      the stick broke\n"
                     "  source      UFIRST\n  bundle      12\n"
                     "  events      13,288 events: 13,000 new here, 288 known already\n"
                     "  gap         1 bundle missing before it, accepted for the reason given\n"
                     "  manifest    %s\n  sha256      ",
                     cid);
    quipu_hex_append(&text, quipu_slice(row.sha256, sizeof row.sha256));
    quipu_buf_append_byte(&text, '\n');
    expect_words(&text, row.sha256);
    quipu_buf_append_text(&text, "  signed by   UFIRST USECOND\n\nEvents\n");
    quipu_buf_append_byte(&text, 0);

    quipu_buf_printf(
        &html,
        "<h3>1  import</h3>\n<dl>\n"
        "<div><dt>when</dt><dd>2026-11-20T12:00:00Z</dd></div>\n"
        "<div><dt>operator</dt><dd><bdi class=\"said\">Ada Quispe</bdi></dd></div>\n"
        "<div><dt>reason</dt><dd><bdi class=\"said\">the stick broke</bdi></dd></div>\n"
        "<div><dt>source</dt><dd><bdi class=\"said keys\">UFIRST</bdi></dd></div>\n"
        "<div><dt>bundle</dt><dd>12</dd></div>\n"
        "<div><dt>events</dt><dd>13,288 events: 13,000 new here, 288 known already</dd>"
        "</div>\n<div><dt>gap</dt><dd><span class=\"alarm\">1 bundle missing before it, "
        "accepted for the reason given</span></dd></div>\n"
        "<div><dt>manifest</dt><dd><code>%s</code></dd></div>\n"
        "<div><dt>sha256</dt><dd><code>",
        cid);
    quipu_hex_append(&html, quipu_slice(row.sha256, sizeof row.sha256));
    quipu_buf_printf(
        &html,
        "</code></dd></div>\n<div><dt>in words</dt><dd><span class=\"words\">%.*s"
        "</span></dd></div>\n"
        "<div><dt>signed by</dt><dd><bdi class=\"said keys\">UFIRST USECOND</bdi></dd></div>\n"
        "</dl>\n</section>\n",
        QUIPU_SLICE_FMT(quipu_buf_slice(&words)));
    quipu_buf_append_byte(&html, 0);

    collect(&vault, &report);
    expect_on_page(&report, QUIPU_REPORT_TEXT, &text);
    expect_on_page(&report, QUIPU_REPORT_HTML, &html);
    quipu_buf_release(&text);
    quipu_buf_release(&html);
    quipu_buf_release(&words);
    quipu_report_release(&report);
}

Test(report, rows_up_to_a_number_are_left_out_and_later_ones_are_another_report)
{
    struct quipu_report report;
    struct quipu_operation first = said("Ada", "one");
    struct quipu_operation second = said("Bruno", "two");
    struct quipu_operation third = said("Carla", "three");
    record(&vault, &first);
    record(&vault, &second);
    collect_after(&vault, 1, &report);
    record(&vault, &third);

    struct quipu_buf page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(!page_has(&page, "Ada") && !page_has(&page, "Carla"), "%s", (char *)page.data);
    cr_assert(page_has(&page, "\n2  export\n") && page_has(&page, "Bruno"));
    cr_assert(page_has(&page, "  Operations with a number greater than 1.\n"));
    cr_assert_eq(rows_sum(&report.kinds), 1u);
    cr_assert_eq(report.last_operation, 2u);
    quipu_buf_release(&page);
    quipu_report_release(&report);

    collect_after(&vault, 9, &report);
    page = page_of(&report, QUIPU_REPORT_TEXT);
    cr_assert(page_has(&page, "  No export and no import is recorded.\n"));
    quipu_buf_release(&page);
    quipu_report_release(&report);
}

Test(report, the_same_store_gives_the_same_bytes)
{
    store_kit_append(&vault, 40, 10);
    store_kit_export(&vault, path, NULL);
    for (int form = QUIPU_REPORT_TEXT; form <= QUIPU_REPORT_HTML; form++) {
        struct quipu_buf pages[2];
        for (int i = 0; i < 2; i++) {
            struct quipu_report report;
            collect(&vault, &report);
            pages[i] = page_of(&report, (enum quipu_report_form)form);
            quipu_report_release(&report);
        }
        cr_assert(quipu_slice_equal(quipu_buf_slice(&pages[0]), quipu_buf_slice(&pages[1])));
        quipu_buf_release(&pages[0]);
        quipu_buf_release(&pages[1]);
    }
}
