/*
 * How many people must have signed: at a check, at an import, at a release. What has too few
 * signers goes nowhere.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "failing_alloc.h"
#include "quipu/operations.h"
#include "quipu/sign_bundle.h"
#include "run.h"
#include "ssh_kit.h"

static struct temp_dir dir;
static struct store_kit vault;
static char bundle[PATH_BYTES];
static char out[PATH_BYTES];
static struct ssh_kit ada[2]; /* one person with two keys */
static struct ssh_kit bob;
static struct quipu_trust *trust;

static void add_line(struct quipu_buf *text, const char *principal, const struct ssh_kit *kit)
{
    cr_assert_eq(quipu_ssh_key_allowed_line(principal, QUIPU_BUNDLE_NAMESPACE,
                                            quipu_buf_slice(&kit->key), text, NULL),
                 QUIPU_OK);
}

static void set_up(void)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "in.car", bundle);
    temp_dir_join(&dir, "out", out);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 200, 4000);
    store_kit_export(&vault, bundle, NULL);
    ssh_kit_init(&ada[0], QUIPU_SSH_KEY_SK_ED25519);
    ssh_kit_init(&ada[1], QUIPU_SSH_KEY_ECDSA_P384);
    ssh_kit_init(&bob, QUIPU_SSH_KEY_ED25519);
    add_line(&text, "ada", &ada[0]);
    add_line(&text, "ada", &ada[1]);
    add_line(&text, "bob", &bob);
    cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&text), &trust, NULL), QUIPU_OK);
    quipu_buf_release(&text);
}

static void tear_down(void)
{
    quipu_trust_free(&trust);
    ssh_kit_release(&ada[0]);
    ssh_kit_release(&ada[1]);
    ssh_kit_release(&bob);
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(require, .init = set_up, .fini = tear_down, .timeout = 300);

static void sign(const struct ssh_kit *kit)
{
    struct quipu_signing *signing = NULL;
    struct quipu_error err;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_signing_open(bundle, &signing, &err), QUIPU_OK, "%s", err.message);
    ssh_kit_sign(kit, QUIPU_BUNDLE_NAMESPACE, quipu_signing_manifest(signing), &blob);
    cr_assert_eq(quipu_signing_add(signing, quipu_buf_slice(&blob), &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_signing_write(signing, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_signing_close(&signing);
    quipu_buf_release(&blob);
}

static struct quipu_release_options two_must_sign(void)
{
    struct quipu_release_options options = QUIPU_RELEASE_OPTIONS_INIT;
    options.trust = trust;
    options.required_signers = 2;
    return options;
}

static struct quipu_operation last;
static char last_texts[4][QUIPU_OPERATION_TEXT_BYTES_MAX + 1];

static void keep_text(size_t index, struct quipu_slice text)
{
    (void)snprintf(last_texts[index], sizeof last_texts[index], "%.*s", QUIPU_SLICE_FMT(text));
}

static enum quipu_status keep_last(void *ctx, const struct quipu_operation *operation,
                                   struct quipu_error *err)
{
    (void)ctx;
    (void)err;
    last = *operation;
    keep_text(0, operation->kind);
    keep_text(1, operation->signers);
    keep_text(2, operation->operator_name);
    keep_text(3, operation->reason);
    return QUIPU_OK;
}

static uint64_t operations(struct store_kit *kit)
{
    last = (struct quipu_operation){0};
    cr_assert_eq(quipu_each_operation(kit->engine, 0, keep_last, NULL, NULL), QUIPU_OK);
    return last.number;
}

/* ------------------------------------------------------------------ check and import */

Test(require, a_check_asks_for_people_and_not_for_keys)
{
    struct quipu_bundle_check_options options = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_bundle_report report;
    struct quipu_error err;
    cr_assert_eq(quipu_bundle_check(bundle, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.people, 0u, "nobody was named");
    options.required_signers = 2;
    cr_assert_eq(quipu_bundle_check_with(bundle, &options, NULL, &err), QUIPU_INVALID);
    options.trust = trust;
    cr_assert_eq(quipu_bundle_check_with(bundle, &options, NULL, &err), QUIPU_TOO_FEW_SIGNERS);
    sign(&ada[0]);
    sign(&ada[1]);
    cr_assert_eq(quipu_bundle_check_with(bundle, &options, NULL, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_not_null(strstr(err.message, "1 of the 2 people that must sign has: ada"), "%s",
                       err.message);
    sign(&bob);
    cr_assert_eq(quipu_bundle_check_with(bundle, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.people, 2u);
    cr_assert_eq(report.signatures, 4u);
    options.required_signers = 0;
    cr_assert_eq(quipu_bundle_check_with(bundle, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
}

Test(require, an_import_with_too_few_takes_nothing_in)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_bundle_report checked;
    struct store_kit office;
    struct quipu_error err;
    struct quipu_buf names = QUIPU_BUF_INIT;
    uint8_t digest[QUIPU_SHA256_BYTES];
    store_kit_open(&office, &dir, "office");
    options.trust = trust;
    options.required_signers = 2;
    sign(&ada[0]);
    cr_assert_eq(quipu_import(office.engine, bundle, &options, NULL, &err), QUIPU_TOO_FEW_SIGNERS);
    cr_assert_eq(store_kit_digest(&office, digest), 0u);
    cr_assert_eq(operations(&office), 0u);
    sign(&bob);
    cr_assert_eq(quipu_import(office.engine, bundle, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(store_kit_digest(&office, digest), 200u);
    cr_assert_eq(report.bundle.people, 2u);

    /* Everyone who signed is in the operations log. */
    cr_assert_eq(quipu_bundle_check(bundle, &checked, NULL), QUIPU_OK);
    cr_assert_eq(operations(&office), 1u);
    quipu_signer_names(checked.signers, (size_t)checked.signatures, &names);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&names), quipu_slice_text(last_texts[1])), "%s",
              last_texts[1]);
    quipu_buf_release(&names);
    store_kit_close(&office);
}

/* A signer who is no store is trusted alone where one is enough. */
Test(require, one_trusted_hardware_key_is_enough_without_a_number)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct store_kit office;
    struct quipu_error err;
    store_kit_open(&office, &dir, "office");
    options.trust = trust;
    cr_assert_eq(quipu_import(office.engine, bundle, &options, NULL, &err), QUIPU_UNTRUSTED);
    sign(&ada[0]);
    cr_assert_eq(quipu_import(office.engine, bundle, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(strncmp(report.bundle.signer, "SHA256:", 7), 0, "%s", report.bundle.signer);
    store_kit_close(&office);
}

/* ------------------------------------------------------------------ release */

Test(require, a_release_with_too_few_writes_nothing)
{
    struct quipu_release_options options = two_must_sign();
    struct quipu_error err;
    uint64_t before = operations(&vault);
    sign(&ada[0]);
    sign(&ada[1]);
    cr_assert_eq(quipu_release(vault.engine, bundle, out, &options, NULL, &err),
                 QUIPU_TOO_FEW_SIGNERS, "%s", err.message);
    cr_assert_eq(access(out, F_OK), -1);
    cr_assert_eq(operations(&vault), before);
}

Test(require, a_release_is_the_same_file_and_is_recorded)
{
    struct quipu_release_options options = two_must_sign();
    struct quipu_release_report report;
    struct quipu_error err;
    sign(&ada[1]);
    sign(&bob);
    options.operator_name = "Ada Quispe";
    options.reason = "for the auditor";
    uint64_t before = operations(&vault);
    cr_assert_eq(quipu_release(vault.engine, bundle, out, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    struct quipu_slice inside = read_file(bundle);
    struct quipu_slice released = read_file(out);
    cr_assert(quipu_slice_equal(inside, released));
    free_file(&inside);
    free_file(&released);
    cr_assert_eq(operations(&vault), before + 1);
    cr_assert_eq(report.operation, before + 1);
    cr_assert_str_eq(last_texts[0], QUIPU_OPERATION_RELEASE);
    cr_assert_str_eq(last_texts[2], "Ada Quispe");
    cr_assert_str_eq(last_texts[3], "for the auditor");
    cr_assert_arr_eq(last.sha256, report.bundle.file_sha256, sizeof last.sha256);
    cr_assert_eq(last.events, 200u);
    cr_assert_eq(report.bundle.people, 2u);
    cr_assert_eq(quipu_release(vault.engine, bundle, out, &options, NULL, &err), QUIPU_EXISTS);
    cr_assert_eq(operations(&vault), before + 1);
}

Test(require, without_a_store_nothing_is_recorded)
{
    struct quipu_release_options options = two_must_sign();
    struct quipu_release_report report;
    struct quipu_error err;
    sign(&ada[1]);
    sign(&bob);
    cr_assert_eq(quipu_release(NULL, bundle, out, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.operation, 0u);
    cr_assert_eq(quipu_bundle_check(out, NULL, NULL), QUIPU_OK);
}

Test(require, a_release_is_encrypted_and_in_volumes_as_an_export_is)
{
    struct quipu_bundle_check_options check = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_release_options options = two_must_sign();
    struct quipu_release_report report;
    struct quipu_bundle_report found;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(secrets, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    options.encryption = &encryption;
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN;
    sign(&ada[1]);
    sign(&bob);
    cr_assert_eq(quipu_release(vault.engine, bundle, out, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_gt(report.volumes, 2u);
    check.secrets = secrets;
    check.trust = trust;
    check.required_signers = 2;
    cr_assert_eq(quipu_bundle_check_with(out, &check, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert(found.was_encrypted);
    cr_assert_eq(found.volumes, report.volumes);
    cr_assert_arr_eq(found.file_sha256, report.bundle.file_sha256, sizeof found.file_sha256);
    quipu_age_secrets_free(&secrets);
}

static void refuse(struct quipu_engine *engine, const struct quipu_release_options *options,
                   enum quipu_status expected, const char *words)
{
    struct quipu_error err;
    cr_assert_eq(quipu_release(engine, bundle, out, options, NULL, &err), expected, "%s: %s", words,
                 err.message);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    cr_assert_eq(access(out, F_OK), -1, "%s", words);
}

Test(require, a_release_that_makes_no_sense_is_refused)
{
    struct quipu_release_options options = two_must_sign();
    struct store_kit office;
    sign(&ada[1]);
    sign(&bob);
    store_kit_open(&office, &dir, "office");
    store_kit_append(&office, 1, 10);
    char other[PATH_BYTES];
    store_kit_export(&office, temp_dir_join(&dir, "office.car", other), NULL); /* makes its key */
    options.required_signers = 0;
    refuse(vault.engine, &options, QUIPU_INVALID, "one signer at least");
    options = two_must_sign();
    options.trust = NULL;
    refuse(vault.engine, &options, QUIPU_INVALID, "nobody says who");
    options = two_must_sign();
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN - 1;
    refuse(vault.engine, &options, QUIPU_INVALID, "smaller than");
    options.volume_bytes++;
    refuse(NULL, &options, QUIPU_INVALID, "volumes need the store");
    refuse(office.engine, &options, QUIPU_INVALID, "only that store can sign the index");
    options = two_must_sign();
    options.reason = "two\nlines";
    refuse(vault.engine, &options, QUIPU_INVALID, "reason");
    options.reason = NULL;
    options.operator_name = "";
    refuse(vault.engine, &options, QUIPU_INVALID, "operator");
    options.size--;
    refuse(vault.engine, &options, QUIPU_MISUSE, "options");
    store_kit_close(&office);
}

/* ------------------------------------------------------------------ killed, failing, out of memory
 */

static enum quipu_status release_it(struct store_kit *kit)
{
    struct quipu_release_options options = two_must_sign();
    return quipu_release(kit->engine, bundle, out, &options, NULL, NULL);
}

static enum quipu_status release_alone(struct quipu_error *err)
{
    struct store_kit kit;
    (void)err;
    store_kit_open(&kit, &dir, "vault");
    enum quipu_status status = release_it(&kit);
    store_kit_close(&kit);
    return status;
}

/* How many rows there are now; what the last one says is in last_texts. */
static uint64_t look_at_rows(void)
{
    store_kit_open(&vault, &dir, "vault");
    uint64_t count = operations(&vault);
    store_kit_close(&vault);
    return count;
}

/* No file without a row, whenever it ends; and a row that says too much is followed by one that
 * says so, unless it was a kill. */
Test(require, killed_or_failing_anywhere_nothing_leaves_without_a_row)
{
    static const struct {
        const char *name;
        bool is_behind; /* behind the row, before the name */
    } steps[] = {
        {"airgap.export.create", false},  {"airgap.export.write", false},
        {"airgap.export.sync", false},    {"airgap.release.check", false},
        {"airgap.release.record", false}, {"airgap.release.name", true},
        {"airgap.export.rename", true},
    };
    char failpoint[64];
    sign(&ada[0]);
    sign(&bob);
    uint64_t rows = operations(&vault);
    store_kit_close(&vault); /* no process shares a store that it did not open itself */
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill", steps[i].name);
        cr_assert_eq(store_kit_run_armed(failpoint, release_alone), -SIGKILL, "%s", failpoint);
        cr_assert_eq(access(out, F_OK), -1, "%s", failpoint);
        rows += steps[i].is_behind ? 1 : 0;
        cr_assert_eq(look_at_rows(), rows, "%s", failpoint);
        if (steps[i].is_behind) {
            cr_assert_str_eq(last_texts[0], QUIPU_OPERATION_RELEASE);
        }
        (void)snprintf(failpoint, sizeof failpoint, "%s:fail", steps[i].name);
        cr_assert_eq(store_kit_run_armed(failpoint, release_alone), QUIPU_IO, "%s", failpoint);
        cr_assert_eq(access(out, F_OK), -1, "%s", failpoint);
        rows += steps[i].is_behind ? 2 : 0;
        cr_assert_eq(look_at_rows(), rows, "%s", failpoint);
        if (steps[i].is_behind) {
            cr_assert_str_eq(last_texts[0], QUIPU_OPERATION_RELEASE_UNDONE);
        }
    }
    store_kit_open(&vault, &dir, "vault");
    cr_assert_eq(release_it(&vault), QUIPU_OK);
    cr_assert_eq(operations(&vault), rows + 1);
    cr_assert_str_eq(last_texts[0], QUIPU_OPERATION_RELEASE);
}

Test(require, failing_memory_releases_nothing)
{
    size_t failed = 0;
    sign(&ada[0]);
    sign(&bob);
    for (;; failed++) {
        failing_alloc_arm(failed);
        enum quipu_status status = release_it(&vault);
        failing_alloc_disarm();
        if (status == QUIPU_OK) {
            break;
        }
        cr_assert_eq(status, QUIPU_NO_MEMORY, "allocation %zu: %s", failed,
                     quipu_status_name(status));
        cr_assert_eq(access(out, F_OK), -1);
    }
    cr_assert_gt(failed, 20u);
    cr_assert_eq(quipu_bundle_check(out, NULL, NULL), QUIPU_OK);
}

/* ------------------------------------------------------------------ the auditor's folder */

Test(require, the_auditors_folder_holds_every_type_of_key)
{
    char path[2 * PATH_BYTES];
    struct quipu_error err;
    struct quipu_bundle_report report;
    sign(&ada[0]);
    sign(&ada[1]);
    sign(&bob);
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, out, &report, &err), QUIPU_OK, "%s",
                 err.message);
    (void)snprintf(path, sizeof path, "%s/VERIFY.txt", out);
    struct quipu_slice text = read_file(path);
    char *page = strndup((const char *)text.data, text.len);
    for (size_t i = 0; i < report.signatures; i++) {
        cr_assert_not_null(strstr(page, report.signers[i].fingerprint), "signer %zu", i + 1);
    }
    cr_assert_not_null(strstr(page, "OpenSSH 8.2"));
    free(page);
    free_file(&text);
    (void)snprintf(path, sizeof path, "%s/allowed_signers", out);
    struct quipu_trust *written = NULL;
    cr_assert_eq(quipu_trust_load(path, &written, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_trust_count(written), 4u);
    quipu_trust_free(&written);
}
