/*
 * Events as JSON lines: there and back they are the same bytes, whatever they hold; and lines that
 * are none are refused by their number, with nothing taken in.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/event_lines.h"
#include "quipu/operations.h"

static struct temp_dir dir;
static struct store_kit vault;
static struct store_kit office;

static void set_up(void)
{
    temp_dir_init(&dir);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&office, &dir, "office");
}

static void tear_down(void)
{
    store_kit_close(&vault);
    store_kit_close(&office);
    temp_dir_release(&dir);
}

TestSuite(jsonl, .init = set_up, .fini = tear_down, .timeout = 120);

static enum quipu_status write_line(void *ctx, const struct quipu_event_view *event,
                                    struct quipu_error *err)
{
    struct quipu_buf *lines = ctx;
    enum quipu_status status = quipu_event_line_write(event, lines, err);
    quipu_buf_append_byte(lines, '\n');
    return status;
}

static struct quipu_buf lines_of(struct store_kit *kit)
{
    struct quipu_buf lines = QUIPU_BUF_INIT;
    struct quipu_filter all = {0};
    struct quipu_error err;
    cr_assert_eq(quipu_each_event(kit->engine, &all, write_line, &lines, &err), QUIPU_OK, "%s",
                 err.message);
    return lines;
}

static enum quipu_status take(struct quipu_slice text, struct quipu_lines_report *report,
                              struct quipu_error *err)
{
    return quipu_lines_import(office.engine, quipu_source_slice(&text), NULL, report, err);
}

static void must_be_the_same(void)
{
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    cr_assert_eq(store_kit_digest(&vault, ours), store_kit_digest(&office, theirs));
    cr_assert_arr_eq(ours, theirs, sizeof ours);
}

static uint64_t office_events(void)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    return store_kit_digest(&office, digest);
}

static void append(struct quipu_slice payload, struct quipu_slice meta)
{
    struct quipu_error err;
    struct quipu_event event = {
        .type = "note.written", .aggregate = {"note", "a"}, .payload = payload, .meta = meta};
    cr_assert_eq(quipu_append(vault.engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
}

Test(jsonl, there_and_back_are_the_same_bytes)
{
    struct quipu_lines_report report;
    struct quipu_error err;
    store_kit_append(&vault, 300, 50);
    struct quipu_buf lines = lines_of(&vault);
    cr_assert_eq(take(quipu_buf_slice(&lines), &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.lines, 300u);
    cr_assert_eq(report.events.added, 300u);
    cr_assert_eq(report.operation, 1u);
    must_be_the_same();
    struct quipu_buf again = lines_of(&office);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&lines), quipu_buf_slice(&again)));
    cr_assert_eq(take(quipu_buf_slice(&lines), &report, &err), QUIPU_OK);
    cr_assert_eq(report.events.known, 300u);
    quipu_buf_release(&lines);
    quipu_buf_release(&again);
}

/* Lists in each other, `depth` of them. */
static struct quipu_slice nested(uint8_t *storage, size_t depth)
{
    memset(storage, 0x81, depth - 1);
    storage[depth - 1] = 0x80;
    return quipu_slice(storage, depth);
}

Test(jsonl, what_json_cannot_carry_travels_as_bytes)
{
    static const uint8_t slash[] = {0xa1, 0x61, '/', 0x61, 'x'}; /* {"/": "x"} */
    static const uint8_t list[] = {0x81, 0x43, 1, 2, 3};         /* [bytes] */
    static const uint8_t minus[] = {0x3b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint8_t storage[QUIPU_DAGCBOR_DEPTH_DEFAULT];
    struct quipu_slice none = quipu_slice(NULL, 0);
    struct quipu_error err;
    append(quipu_slice(slash, sizeof slash), none);
    append(quipu_slice(list, sizeof list), none);
    append(quipu_slice(list + 1, 4), none);
    append(quipu_slice(minus, sizeof minus), none);
    append(nested(storage, sizeof storage), none);
    append(quipu_slice(list, sizeof list), quipu_slice(slash, sizeof slash));
    append(quipu_slice(slash, sizeof slash), quipu_slice(slash, sizeof slash));
    struct quipu_buf lines = lines_of(&vault);
    quipu_buf_append_byte(&lines, 0);
    cr_assert_not_null(strstr((const char *)lines.data, "\"envelope_bytes\""));
    cr_assert_not_null(strstr((const char *)lines.data, "\"payload_bytes\""));
    cr_assert_eq(take(quipu_slice(lines.data, lines.len - 1), NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(office_events(), 7u);
    must_be_the_same();
    quipu_buf_release(&lines);
}

Test(jsonl, spelling_does_not_matter_and_content_does)
{
    struct quipu_error err;
    store_kit_append(&vault, 3, 5);
    struct quipu_buf lines = lines_of(&vault);
    struct quipu_buf spaced = QUIPU_BUF_INIT;
    quipu_buf_append_text(&spaced, "\n  \r\n");
    for (size_t i = 0; i < lines.len; i++) {
        quipu_buf_append_byte(&spaced, lines.data[i]);
        if (lines.data[i] == '{') {
            quipu_buf_append_byte(&spaced, ' ');
        }
    }
    spaced.len--; /* no end behind the last line */
    uint8_t *first_type = (uint8_t *)strstr((char *)lines.data, "key.generated");
    cr_assert_not_null(first_type);
    *first_type = 'b';
    cr_assert_eq(take(quipu_buf_slice(&lines), NULL, &err), QUIPU_CID_MISMATCH, "%s", err.message);
    cr_assert_eq(take(quipu_buf_slice(&spaced), NULL, &err), QUIPU_OK, "%s", err.message);
    must_be_the_same();
    quipu_buf_release(&lines);
    quipu_buf_release(&spaced);
}

Test(jsonl, what_is_no_line_takes_nothing_in)
{
    static const struct {
        const char *line;
        enum quipu_status expected;
    } cases[] = {
        {"{", QUIPU_JSON},
        {"[]", QUIPU_INVALID},
        {"{}", QUIPU_INVALID},
        {"{\"cid\":1,\"envelope\":{},\"payload\":1}", QUIPU_INVALID},
        {"{\"cid\":{\"/\":\"x\"},\"envelope\":{},\"payload\":1}", QUIPU_DAGJSON},
        {"{\"cid\":{\"/\":\"bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi\"},"
         "\"envelope\":{},\"payload\":1}",
         QUIPU_CID_MISMATCH},
        {"{\"cid\":{\"/\":\"bafyreigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi\"},"
         "\"envelope\":{},\"payload_bytes\":1}",
         QUIPU_INVALID},
    };
    store_kit_append(&vault, 2, 5);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_error err;
        struct quipu_buf lines = lines_of(&vault);
        quipu_buf_append_text(&lines, cases[i].line);
        cr_assert_eq(take(quipu_buf_slice(&lines), NULL, &err), cases[i].expected, "%s: %s",
                     cases[i].line, err.message);
        cr_assert_not_null(strstr(err.message, "line 3"), "%s", err.message);
        cr_assert_eq(office_events(), 0u);
        quipu_buf_release(&lines);
    }
}

Test(jsonl, a_dry_run_and_wrong_options)
{
    struct quipu_lines_import_options options = QUIPU_LINES_IMPORT_OPTIONS_INIT;
    struct quipu_lines_report report;
    store_kit_append(&vault, 2, 5);
    struct quipu_buf lines = lines_of(&vault);
    struct quipu_slice text = quipu_buf_slice(&lines);
    options.is_dry_run = true;
    cr_assert_eq(
        quipu_lines_import(office.engine, quipu_source_slice(&text), &options, &report, NULL),
        QUIPU_OK);
    cr_assert_eq(report.events.added, 2u);
    cr_assert_eq(report.operation, 0u);
    cr_assert_eq(office_events(), 0u);
    options.size--;
    cr_assert_eq(
        quipu_lines_import(office.engine, quipu_source_slice(&text), &options, &report, NULL),
        QUIPU_MISUSE);
    quipu_buf_release(&lines);
}

/* ------------------------------------------------------------------ in steps */

/* A file of them in the folder; the caller's path. */
static void write_lines(struct store_kit *kit, char path[PATH_BYTES])
{
    temp_dir_join(&dir, "events.jsonl", path);
    store_kit_export_lines(kit, path);
}

static struct quipu_import *open_must(const char *path, const struct quipu_import_options *options)
{
    struct quipu_import *import = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_import_open_lines(office.engine, path, options, &import, &err), QUIPU_OK,
                 "%s", err.message);
    return import;
}

static enum quipu_status note_row(void *ctx, const struct quipu_import_row *row,
                                  struct quipu_error *err)
{
    uint64_t *rows = ctx;
    (void)err;
    rows[row->kind]++;
    return QUIPU_OK;
}

Test(jsonl, they_are_compared_before_they_are_accepted)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_import_diff diff;
    struct quipu_error err;
    char path[PATH_BYTES];
    uint64_t rows[2] = {0};
    store_kit_append(&vault, 70, 50);
    write_lines(&vault, path);
    options.takes_unproven = true;
    struct quipu_import *import = open_must(path, &options);
    cr_assert_eq(quipu_import_bundle(import)->events, 70u);
    cr_assert_eq(quipu_import_bundle(import)->unproven, 70u);
    cr_assert_eq(quipu_import_compare(import, office.engine, note_row, rows, &diff, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(diff.added, 70u);
    cr_assert_eq(diff.known + diff.conflicting + diff.missing, 0u);
    cr_assert_eq(rows[QUIPU_IMPORT_BY_TYPE], 3u);
    cr_assert_eq(rows[QUIPU_IMPORT_BY_AGGREGATE], 7u);
    cr_assert_eq(office_events(), 0u);
    cr_assert_eq(quipu_import_accept(import, office.engine, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 70u);
    cr_assert_eq(report.operation, 1u);
    must_be_the_same();
    cr_assert_eq(quipu_import_compare(import, office.engine, NULL, NULL, &diff, &err), QUIPU_OK);
    cr_assert_eq(diff.known, 70u);
    quipu_import_close(&import);
}

/* By the first pass, which knows no store and begins no transaction. */
Test(jsonl, what_is_wrong_is_found_before_anything_is_taken_in)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import *import = NULL;
    struct quipu_error err;
    store_kit_append(&vault, 30, 50);
    struct quipu_buf lines = lines_of(&vault);
    lines.data[lines.len - 1] = 0;
    char *last = strrchr((char *)lines.data, '\n') + 1;
    char *type = strstr(last, "key.");
    cr_assert_not_null(type);
    *type = 'b';
    struct quipu_slice text = quipu_slice(lines.data, lines.len - 1);
    struct quipu_source source = quipu_source_slice(&text);
    options.source = &source;
    options.takes_unproven = true;
    cr_assert_eq(quipu_import_open_lines(office.engine, "a pipe", &options, &import, &err),
                 QUIPU_CID_MISMATCH, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "line 30"), "%s", err.message);
    cr_assert_null(import);
    quipu_buf_release(&lines);
}

Test(jsonl, nothing_is_taken_in_of_what_changed_since_the_check)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_diff diff;
    struct quipu_error err;
    char path[PATH_BYTES];
    store_kit_append(&vault, 20, 50);
    write_lines(&vault, path);
    options.takes_unproven = true;
    struct quipu_import *import = open_must(path, &options);
    store_kit_append(&vault, 1, 50);
    write_lines(&vault, path);
    cr_assert_eq(quipu_import_accept(import, office.engine, NULL, &err), QUIPU_BUNDLE, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, "changed between"), "%s", err.message);
    cr_assert_eq(quipu_import_compare(import, office.engine, NULL, NULL, &diff, &err),
                 QUIPU_BUNDLE);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs("no line\n", file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(quipu_import_accept(import, office.engine, NULL, &err), QUIPU_BUNDLE, "%s",
                 err.message);
    quipu_import_close(&import);
    cr_assert_eq(office_events(), 0u);
}

Test(jsonl, nobody_signs_them_so_they_come_in_on_the_callers_word_only)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import *import = NULL;
    struct quipu_error err;
    char path[PATH_BYTES];
    char folder[PATH_BYTES];
    store_kit_append(&vault, 2, 50);
    write_lines(&vault, path);
    cr_assert_eq(quipu_import_open_lines(office.engine, path, NULL, &import, &err), QUIPU_UNTRUSTED,
                 "%s", err.message);
    options.is_dry_run = true;
    import = open_must(path, &options);
    quipu_import_close(&import);
    options.takes_unproven = true;
    options.accept_gap = "none there is";
    cr_assert_eq(quipu_import_open_lines(office.engine, path, &options, &import, &err),
                 QUIPU_INVALID);
    options.accept_gap = NULL;
    options.required_signers = 1;
    cr_assert_eq(quipu_import_open_lines(office.engine, path, &options, &import, &err),
                 QUIPU_INVALID);
    options.required_signers = 0;
    (void)snprintf(folder, sizeof folder, "%s", dir.path);
    cr_assert_eq(quipu_import_open_lines(office.engine, folder, &options, &import, &err),
                 QUIPU_INVALID, "%s", err.message);
    cr_assert_null(import);
}

Test(jsonl, nothing_is_recorded_of_a_file_without_events)
{
    struct quipu_lines_report report;
    struct quipu_error err;
    cr_assert_eq(take(quipu_slice_text("\n \n"), &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.lines, 0u);
    cr_assert_eq(report.operation, 0u);
    cr_assert_eq(take(quipu_slice_text(""), &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.operation, 0u);
    cr_assert_eq(take(quipu_slice_text("age-encryption.org/v1\n"), &report, &err),
                 QUIPU_AGE_NO_MATCH);
}
