/*
 * What is swapped under us: a file that becomes another good one between the check and the use, at
 * every allocation of the call; a file beside which a new one was made; an index of volumes that
 * was signed for another bundle. Whatever comes out must be what was reported, or nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "export_target.h"
#include "quipu/outbox.h"
#include "quipu/receipts.h"
#include "quipu/sign_bundle.h"
#include "run.h"
#include "swapping_alloc.h"

static struct temp_dir dir;
static struct store_kit vault;
static struct store_kit office;
static char path[PATH_BYTES];
static char out[PATH_BYTES];
static struct quipu_slice one; /* two good files of one source; the path holds the first */
static struct quipu_slice other;

static void set_up(void)
{
    sides_open(&dir, &vault, &office, "in.car", path);
    temp_dir_join(&dir, "out", out);
}

static void tear_down(void)
{
    free_file(&one);
    free_file(&other);
    sides_close(&dir, &vault, &office);
}

TestSuite(swapped, .init = set_up, .fini = tear_down, .timeout = 300);

static void make_bundles(void)
{
    char second[PATH_BYTES];
    store_kit_append(&vault, 6, 10);
    store_kit_export(&vault, path, NULL);
    store_kit_append(&vault, 3, 10);
    store_kit_export(&vault, temp_dir_join(&dir, "second.car", second), NULL);
    one = read_file(path);
    other = read_file(second);
}

/* ------------------------------------------------------------------ between check and use */

Test(swapped, what_is_released_is_what_was_checked)
{
    struct quipu_release_options options = QUIPU_RELEASE_OPTIONS_INIT;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_bundle_check_options check = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_age_recipient recipient;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_release_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {source};
    size_t refused = 0;
    make_bundles();
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(secrets, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    options.trusted = trusted;
    options.trusted_count = 1;
    options.required_signers = 1;
    options.encryption =
        &encryption; /* what is encrypted cannot be checked again when it is there */
    check.secrets = secrets;

    bool is_done = true;
    for (size_t n = 0; is_done; n++) {
        write_file(path, one);
        swapping_alloc_arm(n, path, other);
        enum quipu_status status = quipu_release(NULL, path, out, &options, &report, &err);
        is_done = swapping_alloc_disarm();
        if (status != QUIPU_OK) {
            refused += strstr(err.message, "changed between the check and the release") != NULL;
            cr_assert_eq(access(out, F_OK), -1, "allocation %zu", n);
            continue;
        }
        cr_assert_eq(quipu_bundle_check_with(out, &check, &found, &err), QUIPU_OK, "%s",
                     err.message);
        cr_assert_arr_eq(found.file_sha256, report.bundle.file_sha256, sizeof found.file_sha256,
                         "allocation %zu", n);
        cr_assert_eq(remove(out), 0);
    }
    cr_assert_gt(refused, 0u, "it was swapped at the right moment");
    quipu_age_secrets_free(&secrets);
}

Test(swapped, what_is_unpacked_is_what_was_checked)
{
    struct quipu_bundle_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    char car[2 * PATH_BYTES];
    char command[2 * PATH_BYTES];
    size_t refused = 0;
    make_bundles();
    (void)snprintf(car, sizeof car, "%s/events.car", out);
    (void)snprintf(command, sizeof command, "rm -r '%s'", out);

    bool is_done = true;
    for (size_t n = 0; is_done; n++) {
        write_file(path, one);
        swapping_alloc_arm(n, path, other);
        enum quipu_status status = quipu_bundle_unpack(path, NULL, out, &report, &err);
        is_done = swapping_alloc_disarm();
        if (status != QUIPU_OK) {
            refused += strstr(err.message, "changed while it was unpacked") != NULL;
            cr_assert_eq(access(out, F_OK), -1, "allocation %zu", n);
            continue;
        }
        cr_assert_eq(quipu_bundle_check(car, &found, &err), QUIPU_OK, "%s", err.message);
        cr_assert_arr_eq(found.file_sha256, report.file_sha256, sizeof found.file_sha256,
                         "allocation %zu", n);
        cr_assert_eq(system(command), 0);
    }
    cr_assert_gt(refused, 0u, "it was swapped at the right moment");
}

static void publish(uint64_t from, uint64_t to, const char *receipts)
{
    struct quipu_error err;
    for (uint64_t position = from; position <= to; position++) {
        struct quipu_ack ack = {.position = position, .sequence = position};
        cr_assert_eq(
            quipu_outbox_acknowledge(office.engine, quipu_slice_text("KEYS"), &ack, 1, &err),
            QUIPU_OK, "%s", err.message);
    }
    cr_assert_eq(quipu_receipts_export(office.engine, receipts, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

Test(swapped, receipts_that_are_marked_are_those_that_were_checked)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_receipts_report report;
    struct quipu_error err;
    char bundle[PATH_BYTES];
    char more[PATH_BYTES];
    size_t refused = 0;
    store_kit_append(&vault, 9, 10);
    store_kit_export(&vault, temp_dir_join(&dir, "bundle.car", bundle), NULL);
    cr_assert_eq(quipu_import(office.engine, bundle, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    publish(1, 3, path);
    publish(4, 9, temp_dir_join(&dir, "more.car", more));
    one = read_file(path);
    other = read_file(more);
    options.is_dry_run = true; /* the second pass looks each event up, and marks none */

    bool is_done = true;
    for (size_t n = 0; is_done; n++) {
        write_file(path, one);
        swapping_alloc_arm(n, path, other);
        enum quipu_status status =
            quipu_receipts_import(vault.engine, path, &options, &report, &err);
        is_done = swapping_alloc_disarm();
        if (status != QUIPU_OK) {
            refused += strstr(err.message, "changed while it was taken in") != NULL;
            continue;
        }
        cr_assert_eq(report.added, report.receipts, "allocation %zu", n);
    }
    cr_assert_gt(refused, 0u, "it was swapped at the right moment");
}

/* ------------------------------------------------------------------ a file that is replaced */

/* What the file that is to be replaced holds, and when it changed. */
static void have(const char *text, struct timespec changed)
{
    struct timespec times[2] = {changed, changed};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* the same inode */
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(futimens(fd, times), 0);
    cr_assert_eq(close(fd), 0);
}

Test(swapped, a_file_that_was_written_to_meanwhile_is_not_replaced)
{
    static const struct timespec then = {1700000000, 500};
    static const struct {
        const char *text;
        struct timespec changed;
        enum quipu_status expected;
    } cases[] = {
        {"as it was", {1700000000, 500}, QUIPU_OK},
        {"as it is!", {1700000060, 500}, QUIPU_EXISTS},           /* another minute */
        {"as it is!", {1700000000, 501}, QUIPU_EXISTS},           /* another nanosecond */
        {"as it is!", {1700000000, 0}, QUIPU_EXISTS},             /* the same second, before */
        {"as it was, and more", {1700000000, 500}, QUIPU_EXISTS}, /* as long ago, another size */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
        struct stat known;
        struct quipu_error err;
        have("as it was", then);
        cr_assert_eq(stat(path, &known), 0);
        cr_assert_eq(quipu_export_file_create_over(&file, path, &known, &err), QUIPU_OK, "%s",
                     err.message);
        struct quipu_sink sink = quipu_export_file_sink(&file);
        cr_assert_eq(sink.write(sink.ctx, quipu_slice_text("new"), &err), QUIPU_OK);
        cr_assert_eq(quipu_export_file_finish(&file, &err), QUIPU_OK, "%s", err.message);
        have(cases[i].text, cases[i].changed);

        cr_assert_eq(quipu_export_file_replace(&file, &known, &err), cases[i].expected, "%zu", i);

        quipu_export_file_discard(&file);
        struct quipu_slice found = read_file(path);
        const char *wanted = cases[i].expected == QUIPU_OK ? "new" : cases[i].text;
        cr_assert(quipu_slice_equal(found, quipu_slice_text(wanted)), "%zu", i);
        free_file(&found);
    }
}

/* ------------------------------------------------------------------ volumes */

/* The bytes of a bundle in a folder of volumes whose index, signed by its source, names a manifest.
 */
static void write_volumes(struct quipu_slice bytes, const struct quipu_bundle_report *bundle,
                          const struct quipu_cid *manifest)
{
    struct quipu_export_target target = QUIPU_EXPORT_TARGET_INIT;
    struct quipu_volume_label label = {bundle->source, bundle->number, manifest};
    struct quipu_error err;
    cr_assert_eq(quipu_export_target_create(&target, out, QUIPU_BUNDLE_VOLUME_BYTES_MIN, &err),
                 QUIPU_OK, "%s", err.message);
    struct quipu_sink sink = quipu_export_target_sink(&target);
    cr_assert_eq(sink.write(sink.ctx, bytes, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_export_target_finish(&target, vault.engine, &label, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_export_target_publish(&target, &err), QUIPU_OK, "%s", err.message);
    quipu_export_target_discard(&target);
}

Test(swapped, an_index_that_was_signed_for_another_bundle_of_the_source_is_refused)
{
    struct quipu_bundle_report bundle;
    struct quipu_bundle_report found;
    struct quipu_cid stranger = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("another"));
    char command[2 * PATH_BYTES];
    struct quipu_error err;
    make_bundles();
    cr_assert_eq(quipu_bundle_check(path, &bundle, &err), QUIPU_OK, "%s", err.message);
    (void)snprintf(command, sizeof command, "rm -r '%s'", out);

    write_volumes(one, &bundle, &bundle.manifest);
    cr_assert_eq(quipu_bundle_check(out, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.volumes, 1u);
    cr_assert_eq(system(command), 0);
    write_volumes(one, &bundle, &stranger);

    cr_assert_eq(quipu_bundle_check(out, NULL, &err), QUIPU_BUNDLE, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "signed for another bundle"), "%s", err.message);
    cr_assert_eq(quipu_import(office.engine, out, NULL, NULL, NULL), QUIPU_BUNDLE);
}
