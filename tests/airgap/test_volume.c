/*
 * Bundles in volumes and encrypted ones: what is written, what is refused and with what, and that
 * what is inside is the very CAR.
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
#include "run.h"
#include "volume.h"

#define LONG_BYTES (2 * PATH_BYTES)

static struct temp_dir dir;
static struct store_kit vault;
static char folder[PATH_BYTES];
static char plain[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", folder);
    temp_dir_join(&dir, "plain.car", plain);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 100, 4000);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(volume, .init = set_up, .fini = tear_down, .timeout = 120);
TestSuite(encrypted, .init = set_up, .fini = tear_down, .timeout = 120);

static void export_volumes(struct quipu_export_report *report)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN;
    cr_assert_eq(quipu_export(vault.engine, folder, &options, report, &err), QUIPU_OK, "%s",
                 err.message);
}

static void file_of(const char *name, char out[LONG_BYTES])
{
    (void)snprintf(out, LONG_BYTES, "%s/%s", folder, name);
}

static void expect(enum quipu_status expected, const char *says)
{
    struct quipu_error err = {0};
    struct store_kit office;
    uint8_t digest[QUIPU_SHA256_BYTES];
    cr_assert_eq(quipu_bundle_check(folder, NULL, &err), expected, "%s: %s",
                 quipu_status_name(err.status), err.message);
    cr_assert_not_null(strstr(err.message, says), "'%s' is in: %s", says, err.message);
    cr_assert_not_null(strstr(err.message, "out.car"), "%s", err.message);
    store_kit_open(&office, &dir, "office");
    cr_assert_geq(quipu_import(office.engine, folder, NULL, NULL, NULL), 10);
    cr_assert_eq(store_kit_digest(&office, digest), 0u);
    store_kit_close(&office);
}

Test(volume, put_together_they_are_the_bundle)
{
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_buf whole = QUIPU_BUF_INIT;
    struct quipu_error err;
    uint8_t digest[QUIPU_SHA256_BYTES];
    char path[LONG_BYTES];
    export_volumes(&report);

    cr_assert_eq(report.volumes, (report.file_bytes + 65535) / 65536);
    cr_assert_gt(report.volumes, 4u);
    for (uint64_t i = 1; i <= report.volumes; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "out.car.%03u", (unsigned)i);
        file_of(name, path);
        struct quipu_slice part = read_file(path);
        cr_assert(i == report.volumes || part.len == 65536u);
        quipu_buf_append_slice(&whole, part);
        free_file(&part);
    }
    quipu_sha256(quipu_buf_slice(&whole), digest);
    cr_assert_eq(whole.len, report.file_bytes);
    cr_assert_arr_eq(digest, report.file_sha256, sizeof digest);
    cr_assert_eq(quipu_bundle_check(folder, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.volumes, report.volumes);
    cr_assert_arr_eq(found.file_sha256, digest, sizeof digest);
    write_file(plain, quipu_buf_slice(&whole));
    cr_assert_eq(quipu_bundle_check(plain, NULL, NULL), QUIPU_OK);
    quipu_buf_release(&whole);
}

Test(volume, index_is_checked_by_stock_tools)
{
    char command[4 * PATH_BYTES];
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    export_volumes(NULL);
    (void)snprintf(command, sizeof command, "cd '%s' && sha256sum --check --strict SHA256SUMS",
                   folder);
    cr_assert_eq(run(argv, NULL), 0);
}

Test(volume, missing_ones_are_named)
{
    char path[LONG_BYTES];
    export_volumes(NULL);
    file_of("out.car.003", path);
    cr_assert_eq(remove(path), 0);
    expect(QUIPU_MISSING, "out.car.003");
    file_of("out.car.001", path);
    cr_assert_eq(remove(path), 0);
    expect(QUIPU_MISSING, "out.car.001, out.car.003");
    file_of("SHA256SUMS.sig", path);
    cr_assert_eq(remove(path), 0);
    expect(QUIPU_MISSING, "SHA256SUMS.sig");
}

Test(volume, swapped_ones_are_named)
{
    char first[LONG_BYTES];
    char second[LONG_BYTES];
    char kept[LONG_BYTES];
    export_volumes(NULL);
    file_of("out.car.001", first);
    file_of("out.car.002", second);
    file_of("kept", kept);
    cr_assert_eq(rename(first, kept) | rename(second, first) | rename(kept, second), 0);
    expect(QUIPU_CID_MISMATCH, "out.car.001 holds what is out.car.002");
}

Test(volume, changed_cut_and_foreign_ones_are_refused)
{
    char path[LONG_BYTES];
    export_volumes(NULL);
    file_of("out.car.002", path);
    struct quipu_slice part = read_file(path);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&changed, part);
    changed.data[77] ^= 1;
    write_file(path, quipu_buf_slice(&changed));
    expect(QUIPU_CID_MISMATCH, "out.car.002 is not what the index was signed for");
    write_file(path, quipu_slice(part.data, part.len - 1));
    expect(QUIPU_CID_MISMATCH, "out.car.002");
    write_file(path, quipu_slice(NULL, 0));
    expect(QUIPU_CID_MISMATCH, "out.car.002");
    quipu_buf_release(&changed);
    free_file(&part);
}

/* All volumes are hashed first, and again while they are read: nobody holds on to what was there in
 * between. */
static enum quipu_status read_all(struct quipu_volume_reader *reader, size_t *bytes,
                                  struct quipu_error *err)
{
    static uint8_t into[1000];
    struct quipu_source source = quipu_volume_reader_source(reader);
    enum quipu_status status = QUIPU_OK;
    size_t got = 1;
    *bytes = 0;
    while (status == QUIPU_OK && got > 0) {
        status = source.read(source.ctx, into, sizeof into, &got, err);
        *bytes += status == QUIPU_OK ? got : 0;
    }
    return status;
}

static void open_reader(struct quipu_volume_reader *reader)
{
    struct quipu_error err;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(quipu_volume_reader_open(reader, fd, folder, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(close(fd), 0);
}

/* Read with the volume changed to `bytes` behind the first look. */
static void expect_noticed(const char *path, struct quipu_slice bytes, struct quipu_slice honest,
                           const char *says)
{
    struct quipu_volume_reader reader = QUIPU_VOLUME_READER_INIT;
    struct quipu_error err = {.message = ""};
    size_t read = 0;
    open_reader(&reader);
    write_file(path, bytes);

    enum quipu_status status = read_all(&reader, &read, &err);

    cr_assert_eq(status, QUIPU_CID_MISMATCH, "%s: %s", quipu_status_name(status), err.message);
    cr_assert_not_null(strstr(err.message, says), "'%s' is in: %s", says, err.message);
    quipu_volume_reader_close(&reader);
    write_file(path, honest);
}

Test(volume, one_that_changes_after_it_was_checked_is_not_believed)
{
    struct quipu_volume_reader reader = QUIPU_VOLUME_READER_INIT;
    struct quipu_export_report report;
    struct quipu_buf changed = QUIPU_BUF_INIT;
    struct quipu_error err;
    size_t read = 0;
    char path[LONG_BYTES];
    export_volumes(&report);
    open_reader(&reader);
    cr_assert_eq(read_all(&reader, &read, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(read, report.file_bytes);
    quipu_volume_reader_close(&reader);
    file_of("out.car.001", path);
    struct quipu_slice first = read_file(path);

    for (uint64_t i = 1; i <= report.volumes; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "out.car.%03u", (unsigned)i);
        file_of(name, path);
        struct quipu_slice part = read_file(path);
        quipu_buf_reset(&changed);
        quipu_buf_append_slice(&changed, part);
        changed.data[part.len - 1] ^= 1;
        expect_noticed(path, quipu_buf_slice(&changed), part, "is not what the index was signed");
        expect_noticed(path, quipu_slice(part.data, part.len - 1), part, name);
        quipu_buf_append(&changed, "x", 1);
        expect_noticed(path, quipu_buf_slice(&changed), part, name);
        if (i > 1) {
            expect_noticed(path, first, part, "holds what is out.car.001");
        }
        free_file(&part);
    }
    free_file(&first);
    quipu_buf_release(&changed);
}

Test(volume, what_is_no_file_of_its_size_is_not_read)
{
    char path[LONG_BYTES];
    char kept[LONG_BYTES];
    export_volumes(NULL);
    file_of("out.car.002", path);
    file_of("kept", kept);
    cr_assert_eq(rename(path, kept), 0);
    cr_assert_eq(symlink("kept", path), 0);
    expect(QUIPU_BUNDLE, "out.car.002 is a symbolic link");
    cr_assert_eq(remove(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    expect(QUIPU_BUNDLE, "out.car.002 is no regular file");
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect(QUIPU_BUNDLE, "out.car.002 is no regular file");
    cr_assert_eq(remove(path), 0);
    cr_assert_eq(rename(kept, path), 0);
    cr_assert_eq(truncate(path, (off_t)1 << 40), 0, "a sparse file of a terabyte");
    expect(QUIPU_BUNDLE, "out.car.002 is larger than the whole bundle");
}

Test(volume, an_index_that_is_not_what_was_signed_is_refused)
{
    char path[LONG_BYTES];
    export_volumes(NULL);
    file_of("SHA256SUMS", path);
    struct quipu_slice index = read_file(path);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    for (size_t at = 0; at < index.len; at++) {
        quipu_buf_reset(&changed);
        quipu_buf_append_slice(&changed, index);
        changed.data[at] ^= 1;
        write_file(path, quipu_buf_slice(&changed));
        cr_assert_geq(quipu_bundle_check(folder, NULL, NULL), 10, "byte %zu", at);
    }
    write_file(path, quipu_slice(index.data, index.len - 1));
    expect(QUIPU_BUNDLE, "not an index");
    quipu_buf_release(&changed);
    free_file(&index);
}

Test(volume, too_small_ones_are_refused_and_nothing_is_left)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN - 1;
    cr_assert_eq(quipu_export(vault.engine, folder, &options, NULL, NULL), QUIPU_INVALID);
    cr_assert_eq(access(folder, F_OK), -1);
    cr_assert_eq(mkdir(folder, 0700), 0);
    options.volume_bytes++;
    cr_assert_eq(quipu_export(vault.engine, folder, &options, NULL, NULL), QUIPU_EXISTS);
    struct quipu_error err;
    cr_assert_eq(quipu_bundle_check(folder, NULL, &err), QUIPU_INVALID);
}

/* ------------------------------------------------------------------ encrypted */

Test(encrypted, opens_into_the_very_car_for_each_recipient)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_age_write_options age = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_bundle_check_options check = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_age_recipient recipients[2];
    struct quipu_age_secrets *secrets[3] = {NULL};
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(quipu_age_secrets_new(&secrets[i], NULL), QUIPU_OK);
        cr_assert_eq(quipu_age_secrets_generate(secrets[i], NULL, NULL), QUIPU_OK);
    }
    cr_assert_eq(quipu_age_secrets_recipient(secrets[0], 0, &recipients[0]), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_recipient(secrets[1], 0, &recipients[1]), QUIPU_OK);
    age.recipients = recipients;
    age.recipient_count = 2;
    options.encryption = &age;
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN;

    cr_assert_eq(quipu_export(vault.engine, folder, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_neq(memcmp(report.file_sha256, report.car_sha256, sizeof report.car_sha256), 0);
    for (size_t i = 0; i < 2; i++) {
        check.secrets = secrets[i];
        cr_assert_eq(quipu_bundle_check_with(folder, &check, &found, &err), QUIPU_OK, "%s",
                     err.message);
        cr_assert_arr_eq(found.file_sha256, report.car_sha256, sizeof report.car_sha256);
        cr_assert(found.was_encrypted);
    }
    check.secrets = secrets[2];
    cr_assert_eq(quipu_bundle_check_with(folder, &check, NULL, NULL), QUIPU_AGE_NO_MATCH);
    cr_assert_eq(quipu_bundle_check(folder, NULL, NULL), QUIPU_AGE_NO_MATCH);
    for (size_t i = 0; i < 3; i++) {
        quipu_age_secrets_free(&secrets[i]);
    }
}

Test(encrypted, every_cut_and_a_flipped_bit_anywhere_are_refused)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_age_write_options age = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_bundle_check_options check = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_filter few = {.until = 3};
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice_text("a b"), NULL),
                 QUIPU_OK);
    age.passphrase = secrets;
    age.work_factor = 2;
    options.encryption = &age;
    options.filter = few;
    check.secrets = secrets;
    cr_assert_eq(quipu_export(vault.engine, plain, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_bundle_check_with(plain, &check, NULL, &err), QUIPU_OK, "%s", err.message);
    struct quipu_slice file = read_file(plain);
    struct quipu_buf changed = QUIPU_BUF_INIT;
    for (size_t at = 0; at < file.len; at += at < 300 ? 1 : 41) {
        quipu_buf_reset(&changed);
        quipu_buf_append_slice(&changed, file);
        changed.data[at] ^= 1;
        write_file(plain, quipu_buf_slice(&changed));
        cr_assert_geq(quipu_bundle_check_with(plain, &check, NULL, NULL), 10, "byte %zu", at);
        write_file(plain, quipu_slice(file.data, at));
        cr_assert_geq(quipu_bundle_check_with(plain, &check, NULL, NULL), 10, "%zu bytes", at);
    }
    quipu_buf_release(&changed);
    free_file(&file);
    quipu_age_secrets_free(&secrets);
}
