/*
 * Import in steps: from a pipe, encrypted, by whom one trusts, compared first; bundles in their
 * order; and what the operations log says of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "import_kit.h"
#include "run.h"

/* Its tests are in test_import_place.c and test_import_staged.c too. */
TestSuite(import_steps, .init = import_set_up, .fini = import_tear_down, .timeout = 300);

/* ------------------------------------------------------------------ where it comes from */

Test(import_steps, from_a_source_that_is_read_once)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 200, 900);
    store_kit_export(&vault, path, NULL);
    struct quipu_slice bytes = read_file(path);
    struct quipu_slice rest = bytes;
    struct quipu_source source = quipu_source_slice(&rest);
    options.source = &source;

    cr_assert_eq(quipu_import(office.engine, "standard input", &options, &report, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(report.events.added, 200u);
    cr_assert_not(report.bundle.was_encrypted);
    must_be_the_same();

    rest = quipu_slice(bytes.data, bytes.len - 1);
    cr_assert_eq(quipu_import(office.engine, "standard input", &options, NULL, &err),
                 QUIPU_CAR_TRUNCATED);
    cr_assert_not_null(strstr(err.message, "standard input"), "%s", err.message);
    free_file(&bytes);
}

static enum quipu_status read_badly(void *ctx, void *into, size_t cap, size_t *got,
                                    struct quipu_error *err)
{
    (void)ctx;
    (void)into;
    (void)cap;
    (void)got;
    return quipu_error_set(err, QUIPU_IO, "the stick is gone");
}

Test(import_steps, a_source_that_fails_says_so)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_source source = {read_badly, NULL};
    struct quipu_error err;
    options.source = &source;
    cr_assert_eq(quipu_import(office.engine, "the stick", &options, NULL, &err), QUIPU_IO);
    cr_assert_not_null(strstr(err.message, "the stick is gone"), "%s", err.message);
}

static void encrypt(struct quipu_age_secrets *secrets, enum quipu_age_form form,
                    uint64_t volume_bytes)
{
    struct quipu_age_recipient recipient;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    encryption.form = form;
    options.encryption = &encryption;
    options.volume_bytes = volume_bytes;
    cr_assert_eq(quipu_export(vault.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

static void import_encrypted(enum quipu_age_form form, uint64_t volume_bytes)
{
    struct quipu_age_secrets *ours = NULL;
    struct quipu_age_secrets *theirs = NULL;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_new(&ours, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_new(&theirs, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(ours, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(theirs, NULL, NULL), QUIPU_OK);
    store_kit_append(&vault, 200, 900);
    encrypt(ours, form, volume_bytes);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_AGE_NO_MATCH);
    cr_assert_not_null(strstr(err.message, "encrypted"), "%s", err.message);
    options.secrets = theirs;
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), QUIPU_AGE_NO_MATCH);
    cr_assert_eq(office_events(), 0u);
    options.secrets = ours;
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 200u);
    cr_assert(report.bundle.was_encrypted);
    must_be_the_same();
    quipu_age_secrets_free(&ours);
    quipu_age_secrets_free(&theirs);
}

Test(import_steps, encrypted)
{
    import_encrypted(QUIPU_AGE_BINARY, 0);
}

Test(import_steps, encrypted_in_armor)
{
    import_encrypted(QUIPU_AGE_ARMORED, 0);
}

Test(import_steps, encrypted_in_volumes)
{
    import_encrypted(QUIPU_AGE_BINARY, QUIPU_BUNDLE_VOLUME_BYTES_MIN);
}

Test(import_steps, every_cut_of_an_encrypted_bundle_is_refused)
{
    struct quipu_age_secrets *ours = NULL;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    cr_assert_eq(quipu_age_secrets_new(&ours, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(ours, NULL, NULL), QUIPU_OK);
    store_kit_append(&vault, 5, 10);
    encrypt(ours, QUIPU_AGE_BINARY, 0);
    struct quipu_slice bytes = read_file(path);
    options.secrets = ours;
    for (size_t len = 0; len < bytes.len; len += len < 200 ? 1 : 37) {
        struct quipu_slice rest = quipu_slice(bytes.data, len);
        struct quipu_source source = quipu_source_slice(&rest);
        options.source = &source;
        cr_assert_neq(quipu_import(office.engine, "cut", &options, NULL, NULL), QUIPU_OK, "%zu",
                      len);
    }
    cr_assert_eq(office_events(), 0u);
    free_file(&bytes);
    quipu_age_secrets_free(&ours);
}

/* ------------------------------------------------------------------ whom one trusts */

Test(import_steps, allowed_signers_decide)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_trust *trust = NULL;
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    store_kit_append(&vault, 3, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);
    cr_assert_eq(quipu_source_public_key(quipu_slice_text(source), key, NULL), QUIPU_OK);
    static const struct {
        const char *space;
        bool is_stranger;
        enum quipu_status expected;
    } cases[] = {
        {"git", false, QUIPU_UNTRUSTED},
        {QUIPU_BUNDLE_NAMESPACE, true, QUIPU_UNTRUSTED},
        {QUIPU_BUNDLE_NAMESPACE, false, QUIPU_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t named[QUIPU_PUBLIC_KEY_BYTES];
        memcpy(named, key, sizeof named);
        named[3] ^= cases[i].is_stranger;
        quipu_buf_reset(&line);
        cr_assert_eq(quipu_ssh_allowed_signers_line("vault", cases[i].space, named, &line, NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&line), &trust, &err), QUIPU_OK, "%s",
                     err.message);
        options.trust = trust;
        cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), cases[i].expected,
                     "%zu: %s", i, err.message);
        cr_assert_eq(office_events(), cases[i].expected == QUIPU_OK ? 3u : 0u);
        quipu_trust_free(&trust);
    }
    quipu_buf_release(&line);
}

/* ------------------------------------------------------------------ compared first */

struct seen {
    uint64_t rows[2];
    uint64_t added[2];
    uint64_t known[2];
    uint64_t conflicting[2];
    bool has_root_3;
};

static enum quipu_status note_row(void *ctx, const struct quipu_import_row *row,
                                  struct quipu_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->rows[row->kind]++;
    seen->added[row->kind] += row->added;
    seen->known[row->kind] += row->known;
    seen->conflicting[row->kind] += row->conflicting;
    seen->has_root_3 =
        seen->has_root_3 || quipu_slice_equal(row->name, quipu_slice_text("key/root-3"));
    return QUIPU_OK;
}

Test(import_steps, comparison_counts_by_type_and_aggregate)
{
    struct quipu_import *import = NULL;
    struct quipu_import_diff diff;
    struct seen seen = {.has_root_3 = false};
    struct quipu_error err;
    store_kit_append(&vault, 70, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_OK);
    store_kit_append(&office, 7, 10); /* one more of each key here … */
    store_kit_append(&vault, 14, 10); /* … and two of each there */
    cr_assert_eq(remove(path), 0);
    store_kit_export(&vault, path, NULL);

    cr_assert_eq(quipu_import_open(office.engine, path, NULL, &import, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_import_bundle(import)->events, 84u);
    cr_assert_eq(quipu_import_compare(import, office.engine, note_row, &seen, &diff, &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(diff.added, 7u);
    cr_assert_eq(diff.known, 70u);
    cr_assert_eq(diff.conflicting, 7u);
    cr_assert_eq(diff.missing, 0u);
    cr_assert_not(diff.was_known);
    cr_assert_eq(seen.rows[QUIPU_IMPORT_BY_TYPE], 3u);
    cr_assert_eq(seen.rows[QUIPU_IMPORT_BY_AGGREGATE], 7u);
    for (size_t kind = 0; kind < 2; kind++) {
        cr_assert_eq(seen.added[kind], 7u);
        cr_assert_eq(seen.known[kind], 70u);
        cr_assert_eq(seen.conflicting[kind], 7u);
    }
    cr_assert(seen.has_root_3);
    cr_assert_eq(quipu_import_accept(import, office.engine, NULL, &err), QUIPU_FORK);
    quipu_import_close(&import);
    cr_assert_eq(office_events(), 77u);
}

/* ------------------------------------------------------------------ in their order */

static void export_to(const char *name, uint64_t events, char out[PATH_BYTES])
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    temp_dir_join(&dir, name, out);
    options.from = QUIPU_EXPORT_SINCE_LAST;
    store_kit_append(&vault, (size_t)events, 10);
    cr_assert_eq(quipu_export(vault.engine, out, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

Test(import_steps, a_missing_bundle_is_accepted_by_reason_only_and_may_come_later)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char third[PATH_BYTES];
    export_to("1.car", 7, first);
    export_to("2.car", 0 + 7, second);
    export_to("3.car", 7, third);

    cr_assert_eq(quipu_import(office.engine, first, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_import(office.engine, third, NULL, NULL, &err), QUIPU_GAP);
    cr_assert_not_null(strstr(err.message, "bundle 2 of source"), "%s", err.message);
    options.accept_gap = "the stick broke";
    options.operator_name = "Ada";
    cr_assert_eq(quipu_import(office.engine, third, &options, NULL, &err), QUIPU_GAP,
                 "its events follow those that are missing: %s", err.message);
    cr_assert_eq(office_events(), 7u);
    cr_assert_eq(quipu_import(office.engine, second, &options, &report, &err), QUIPU_OK);
    cr_assert_eq(report.missing, 0u);
    cr_assert_eq(quipu_import(office.engine, third, &options, &report, &err), QUIPU_OK);
    must_be_the_same();
    struct logged logged = read_log(&office);
    cr_assert_eq(logged.count, 3u);
    cr_assert_str_eq(logged.kind, "import");
    cr_assert_str_eq(logged.operator_name, "Ada");
    cr_assert_str_eq(logged.reason, "");
    cr_assert_eq(logged.added, 7u);
}

/* A bundle of events that need no others: each key's first one. */
Test(import_steps, an_accepted_gap_is_recorded_and_filled)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_export_options again = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char third[PATH_BYTES];
    export_to("1.car", 7, first);
    temp_dir_join(&dir, "2.car", second);
    temp_dir_join(&dir, "3.car", third);
    cr_assert_eq(quipu_export(vault.engine, second, &again, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_export(vault.engine, third, &again, NULL, NULL), QUIPU_OK);

    cr_assert_eq(quipu_import(office.engine, third, NULL, NULL, &err), QUIPU_GAP);
    cr_assert_not_null(strstr(err.message, "bundles 1 to 2 of source"), "%s", err.message);
    options.accept_gap = "the stick broke";
    cr_assert_eq(quipu_import(office.engine, third, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.missing, 2u);
    struct logged logged = read_log(&office);
    cr_assert_eq(logged.missing, 2u);
    cr_assert_str_eq(logged.reason, "the stick broke");

    cr_assert_eq(quipu_import(office.engine, second, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_import(office.engine, first, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_not(report.was_known);
    cr_assert_eq(report.operation, 3u);
    cr_assert_eq(quipu_import(office.engine, second, NULL, &report, &err), QUIPU_OK);
    cr_assert(report.was_known, "an old bundle, played again");
    cr_assert_eq(report.events.added, 0u);
    must_be_the_same();
}

Test(import_steps, a_source_that_was_rolled_back_is_seen)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    char backup[PATH_BYTES];
    char command[4 * PATH_BYTES];
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char forged[PATH_BYTES];
    export_to("1.car", 7, first);
    store_kit_close(&vault);
    temp_dir_join(&dir, "backup", backup);
    (void)snprintf(command, sizeof command, "cp -r '%s/vault' '%s'", dir.path, backup);
    cr_assert_eq(system(command), 0);
    store_kit_open(&vault, &dir, "vault");
    export_to("2.car", 7, second);
    store_kit_close(&vault);
    store_kit_open(&vault, &dir, "backup");
    export_to("forged.car", 14, forged);

    cr_assert_eq(quipu_import(office.engine, first, NULL, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import(office.engine, second, NULL, NULL, NULL), QUIPU_OK);
    options.accept_gap = "does not help";
    options.keeps_forks = true;
    cr_assert_eq(quipu_import(office.engine, forged, &options, NULL, &err), QUIPU_FORK);
    cr_assert_not_null(strstr(err.message, "number 2"), "%s", err.message);
    cr_assert_eq(office_events(), 14u);
}
