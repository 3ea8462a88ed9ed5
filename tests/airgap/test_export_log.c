/*
 * Export and the log: what comes since the last bundle, what is proven of which events, and that a
 * log which is not what was said of it is not signed for.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/operations.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;
static char path[PATH_BYTES];

static void set_up(void)
{
    sides_open(&dir, &vault, NULL, "out.car", path);
}

static void tear_down(void)
{
    sides_close(&dir, &vault, NULL);
}

TestSuite(export_log, .init = set_up, .fini = tear_down, .timeout = 120);

static enum quipu_status export_with(const struct quipu_export_options *options)
{
    return quipu_export(vault.engine, path, options, NULL, NULL);
}

struct seen {
    size_t count;
    uint64_t bundle;
    uint64_t events;
    uint8_t sha256[QUIPU_SHA256_BYTES];
    bool names_operator;
};

static enum quipu_status see(void *ctx, const struct quipu_operation *operation,
                             struct quipu_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    cr_assert(quipu_slice_equal(operation->kind, quipu_slice_text(QUIPU_OPERATION_EXPORT)));
    seen->count++;
    seen->bundle = operation->bundle;
    seen->events = operation->events;
    seen->names_operator =
        quipu_slice_equal(operation->operator_name, quipu_slice_text("Ada Quispe"));
    memcpy(seen->sha256, operation->sha256, sizeof seen->sha256);
    return QUIPU_OK;
}

Test(export_log, each_export_is_recorded_and_a_failed_one_is_not)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_export_report report;
    struct seen seen = {0};
    store_kit_append(&vault, 20, 8);
    options.operator_name = "Ada Quispe";
    cr_assert_eq(quipu_export(vault.engine, path, &options, &report, NULL), QUIPU_OK);
    cr_assert_eq(export_with(&options), QUIPU_EXISTS);

    cr_assert_eq(quipu_each_operation(vault.engine, 0, see, &seen, NULL), QUIPU_OK);

    cr_assert_eq(seen.count, 1u);
    cr_assert_eq(seen.bundle, 1u);
    cr_assert_eq(seen.events, 20u);
    cr_assert(seen.names_operator);
    cr_assert_arr_eq(seen.sha256, report.car_sha256, sizeof seen.sha256);
}

Test(export_log, since_the_last_goes_on_where_whole_bundles_end)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_export_options some = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    char next[PATH_BYTES];
    temp_dir_join(&dir, "next.car", next);
    store_kit_append(&vault, 300, 8);
    options.from = QUIPU_EXPORT_SINCE_LAST;
    cr_assert_eq(export_with(&options), QUIPU_OK);
    cr_assert_eq(quipu_export(vault.engine, next, &options, NULL, &err), QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "since bundle number 1"), "%s", err.message);

    store_kit_append(&vault, 200, 8);
    some.filter.aggregate_type = "key";
    some.filter.aggregate_id = "root-3";
    cr_assert_eq(quipu_export(vault.engine, next, &some, &report, &err), QUIPU_OK);
    cr_assert_eq(remove(next), 0);
    cr_assert_eq(quipu_export(vault.engine, next, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(report.number, 3u);
    cr_assert_eq(report.first_position, 301u, "what was chosen from in between does not count");
    cr_assert_eq(report.events, 200u);
    cr_assert_eq(report.log_size, 500u);
    cr_assert_eq(quipu_bundle_check(next, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.proven, 200u);
    cr_assert_eq(found.log_size, 500u);
    cr_assert(found.has_log_previous);
    cr_assert_eq(found.log_previous_size, 500u, "of bundle 2");
    some.from = QUIPU_EXPORT_SINCE_LAST;
    cr_assert_eq(quipu_export(vault.engine, path, &some, NULL, NULL), QUIPU_INVALID);
}

Test(export_log, chosen_events_are_proven_to_be_in_the_log)
{
    static const uint64_t ranges[][2] = {{0, 1},     {0, 256},   {1, 257},   {255, 600},
                                         {300, 301}, {512, 700}, {699, 700}, {0, 700}};
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_bundle_report found;
    struct quipu_error err;
    store_kit_append(&vault, 700, 8);
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        for (int is_one_key = 0; is_one_key < 2; is_one_key++) {
            options.filter = (struct quipu_filter){.after = ranges[i][0], .until = ranges[i][1]};
            options.filter.aggregate_type = is_one_key != 0 ? "key" : NULL;
            options.filter.aggregate_id = is_one_key != 0 ? "root-4" : NULL;
            enum quipu_status status = quipu_export(vault.engine, path, &options, NULL, &err);
            if (status == QUIPU_NOT_FOUND && is_one_key != 0) {
                continue;
            }
            cr_assert_eq(status, QUIPU_OK, "%s", err.message);
            cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
            cr_assert_eq(found.proven, found.events);
            cr_assert_eq(found.log_size, 700u);
            cr_assert_eq(remove(path), 0);
        }
    }
}

/* A proof block of one aggregate's bundle with a bit changed, sealed again with the store's key. */
Test(export_log, a_changed_proof_is_refused)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_bundle_manifest manifest;
    struct quipu_buf proof = QUIPU_BUF_INIT;
    struct quipu_buf kept = QUIPU_BUF_INIT;
    struct bundle_kit kit;
    struct quipu_error err;
    store_kit_append(&vault, 70, 8);
    options.filter.aggregate_type = "key";
    options.filter.aggregate_id = "root-4";
    cr_assert_eq(export_with(&options), QUIPU_OK);
    bundle_kit_load(&kit, path);
    quipu_buf_append_slice(&kept, bundle_kit_block(&kit, 1));
    cr_assert_eq(quipu_bundle_manifest_decode(quipu_buf_slice(&kept), &manifest, NULL), QUIPU_OK);
    cr_assert_eq(manifest.log.proof.len, (size_t)QUIPU_SHA256_BYTES, "one block of proof");
    quipu_buf_append_slice(&proof, bundle_kit_block(&kit, 2));
    cr_assert_gt(proof.len, 10 * (size_t)QUIPU_SHA256_BYTES);
    proof.data[proof.len / 2] ^= 1;
    bundle_kit_replace(&kit, 2, QUIPU_CODEC_RAW, quipu_buf_slice(&proof));
    memcpy(manifest.log.proof.data, bundle_kit_cid(&kit, 2).digest, QUIPU_SHA256_BYTES);
    bundle_kit_seal(&kit, &manifest, vault.engine);
    bundle_kit_save(&kit, path);

    cr_assert_eq(quipu_bundle_check(path, NULL, &err), QUIPU_BUNDLE, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "belong to the log is not proven"), "%s", err.message);
    quipu_bundle_manifest_release(&manifest);
    quipu_buf_release(&proof);
    quipu_buf_release(&kept);
    bundle_kit_release(&kit);
}

Test(export_log, events_of_others_are_carried_but_not_proven)
{
    struct quipu_bundle_report found;
    struct store_kit other;
    struct quipu_error err;
    char mixed[PATH_BYTES];
    temp_dir_join(&dir, "mixed.car", mixed);
    store_kit_append(&vault, 30, 8);
    store_kit_export(&vault, path, NULL);
    store_kit_open(&other, &dir, "vault/../other");
    cr_assert_eq(quipu_import(other.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    store_kit_append(&other, 12, 8);
    store_kit_export(&other, mixed, NULL);
    store_kit_close(&other);

    cr_assert_eq(quipu_bundle_check(mixed, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.events, 42u);
    cr_assert_eq(found.proven, 12u);
    cr_assert_eq(found.log_size, 12u);
}

/* The key was used twice: two events have one number. The first in the log is in the tree, the
 * other is carried as outside of it, alone or with it. */
Test(export_log, an_event_with_a_number_that_is_taken_is_outside_of_the_tree)
{
    struct quipu_import_options keep = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_bundle_report found;
    struct store_kit twin;
    struct quipu_error err;
    char copied[PATH_BYTES];
    temp_dir_join(&dir, "twin", copied);
    const char *const argv[] = {"/bin/cp", "-r", vault.path, copied, NULL};
    store_kit_append(&vault, 10, 8);
    store_kit_close(&vault);
    cr_assert_eq(run(argv, NULL), 0);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&twin, &dir, "twin");
    store_kit_append(&vault, 4, 8);
    store_kit_append(&twin, 6, 8);
    options.filter.until = 13;
    cr_assert_eq(quipu_export(twin.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    keep.keeps_forks = true;
    cr_assert_eq(quipu_import(vault.engine, path, &keep, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(remove(path), 0);

    cr_assert_eq(export_with(NULL), QUIPU_OK);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.events, 17u);
    cr_assert_eq(found.log_size, 14u);
    cr_assert_eq(found.proven, 14u);
    cr_assert_eq(remove(path), 0);
    options.filter = (struct quipu_filter){.after = 14, .until = 16};
    cr_assert_eq(quipu_export(vault.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.events, 2u);
    cr_assert_eq(found.proven, 0u);
    store_kit_close(&twin);
}

/* {"number": 7, "manifest": link}, as it was before there were checkpoints. */
Test(export_log, goes_on_from_a_row_of_before_there_were_checkpoints)
{
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_dagcbor_writer writer;
    struct quipu_buf row = QUIPU_BUF_INIT;
    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_txn *txn = NULL;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_cid manifest = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice_text("before"));
    store_kit_append(&vault, 5, 8);
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);
    quipu_buf_printf(&key, "export/%s", source);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, 2);
    quipu_dagcbor_write_key(&writer, "number");
    quipu_dagcbor_write_uint(&writer, 7);
    quipu_dagcbor_write_key(&writer, "manifest");
    quipu_dagcbor_write_link(&writer, &manifest);
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_put(txn, (struct quipu_table){0x100}, quipu_buf_slice(&key),
                                     quipu_buf_slice(&row), NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);

    cr_assert_eq(quipu_export(vault.engine, path, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.number, 8u);
    cr_assert_not(report.was_interrupted);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert(quipu_cid_equal(&found.previous, &manifest));
    cr_assert_not(found.has_log_previous);
    quipu_buf_release(&row);
    quipu_buf_release(&key);
}

Test(export_log, a_log_that_is_not_what_the_last_bundle_said_is_refused)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice key = {0};
    struct quipu_slice row = {0};
    struct quipu_error err;
    uint8_t changed[256];
    char next[PATH_BYTES];
    temp_dir_join(&dir, "next.car", next);
    store_kit_append(&vault, 30, 8);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_table_seek(txn, (struct quipu_table){0x100}, quipu_slice_text("export/"),
                                      QUIPU_SEEK_GE, &key, &row, NULL),
                 QUIPU_OK);
    cr_assert_leq(row.len, sizeof changed);
    memcpy(changed, row.data, row.len);
    changed[8 + 10] ^= 1; /* in the root: map, "root", head, 32 bytes */
    struct quipu_buf name = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&name, key);
    cr_assert_eq(quipu_txn_table_put(txn, (struct quipu_table){0x100}, quipu_buf_slice(&name),
                                     quipu_slice(changed, row.len), NULL),
                 QUIPU_OK);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);

    cr_assert_eq(quipu_export(vault.engine, next, NULL, NULL, &err), QUIPU_CORRUPT);
    cr_assert_not_null(strstr(err.message, "were changed"), "%s", err.message);
    cr_assert_eq(access(next, F_OK), -1);
    quipu_buf_release(&name);
}

Test(export_log, a_store_that_cannot_be_written_gives_a_bundle_without_a_number)
{
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    store_kit_append(&vault, 30, 8);
    store_kit_close(&vault);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount(vault.path, vault.path, NULL, MS_BIND, NULL) != 0 ||
        mount(NULL, vault.path, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) != 0) {
        store_kit_open(&vault, &dir, "vault");
        cr_skip_test("skipped: a read-only mount cannot be made here: %s", strerror(errno));
    }
    store_kit_open(&vault, &dir, "vault");
    cr_assert_eq(quipu_export(vault.engine, path, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    store_kit_close(&vault);
    cr_assert_eq(umount(vault.path), 0);
    store_kit_open(&vault, &dir, "vault");

    cr_assert_eq(report.number, 0u);
    cr_assert_eq(report.events, 30u);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(found.number, 0u);
    cr_assert_eq(found.proven, 30u);
    cr_assert_eq(quipu_bundle_follows(NULL, &found, NULL), QUIPU_OK);
    cr_assert_eq(remove(path), 0);
    store_kit_export(&vault, path, &report);
    cr_assert_eq(report.number, 1u, "no number was taken");
}
