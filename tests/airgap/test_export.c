/*
 * Export: what is in the file, what is refused, and that nothing else on the disk is touched.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/dagcbor.h"
#include "quipu/envelope.h"
#include "quipu/outbox.h"
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

TestSuite(export, .init = set_up, .fini = tear_down, .timeout = 120);

/* Names in the folder, the store's aside. */
static size_t count_files(const char *folder)
{
    return count_names(folder, "") - count_names(folder, "vault");
}

static enum quipu_status export_with(const struct quipu_export_options *options)
{
    return quipu_export(vault.engine, path, options, NULL, NULL);
}

Test(export, report_tells_what_the_file_is)
{
    struct quipu_export_report report;
    struct quipu_bundle_report found;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t sha256[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, 300, 40);
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);

    store_kit_export(&vault, path, &report);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);

    struct quipu_slice file = read_file(path);
    quipu_sha256(file, sha256);
    cr_assert_eq(report.events, 300u);
    cr_assert_eq(report.number, 1u);
    cr_assert_eq(report.first_position, 1u);
    cr_assert_eq(report.last_position, 300u);
    cr_assert_eq(report.file_bytes, file.len);
    cr_assert_arr_eq(report.file_sha256, sha256, sizeof sha256);
    cr_assert_eq(found.events, 300u);
    cr_assert_eq(found.number, 1u);
    cr_assert_not(found.has_previous);
    cr_assert_eq(found.first_position, 1u);
    cr_assert_eq(found.last_position, 300u);
    cr_assert_eq(found.file_bytes, file.len);
    cr_assert_arr_eq(found.file_sha256, sha256, sizeof sha256);
    cr_assert(quipu_cid_equal(&found.manifest, &report.manifest));
    cr_assert_str_eq(found.signer, source);
    cr_assert_str_eq(found.source, source);
    cr_assert_str_eq(found.operator_name, "");
    /* Root, manifest, 300 envelopes, 240 payloads of their own, and 3 that 60 events share. */
    cr_assert_eq(found.blocks, 2u + 300u + 240u + 3u);
    cr_assert_eq(count_files(dir.path), 1u, "only the bundle is there");
    free_file(&file);
}

static int64_t fixed_unix_us(void *ctx)
{
    (void)ctx;
    return 1795182298123456;
}

Test(export, manifest_says_who_when_why_and_which)
{
    struct quipu_clock clock = {fixed_unix_us, NULL};
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_bundle_manifest manifest;
    struct quipu_bundle_report found;
    struct bundle_kit kit;
    store_kit_append(&vault, 10, 8);
    options.operator_name = "Alice Ängström";
    options.reason = "quarterly ceremony";
    options.clock = &clock;
    options.filter.after = 2;
    options.filter.until = 9;

    cr_assert_eq(export_with(&options), QUIPU_OK);

    cr_assert_eq(quipu_bundle_check(path, &found, NULL), QUIPU_OK);
    cr_assert_str_eq(found.operator_name, "Alice Ängström");
    cr_assert_str_eq(found.reason, "quarterly ceremony");
    cr_assert_eq(found.created_unix_us, 1795182298123456);
    cr_assert_eq(found.first_position, 3u);
    cr_assert_eq(found.last_position, 9u);
    bundle_kit_load(&kit, path);
    bundle_kit_manifest(&kit, &manifest);
    cr_assert_eq(manifest.types.count, 3u);
    cr_assert_eq(manifest.sources.count, 1u);
    cr_assert_eq(manifest.sources.entries[0].count, 7u);
    cr_assert_eq(manifest.sources.entries[0].first, 3u);
    cr_assert_eq(manifest.sources.entries[0].last, 9u);
    cr_assert_eq(memcmp(manifest.tool.data, "quipu ", 6), 0);
    quipu_bundle_manifest_release(&manifest);
    bundle_kit_release(&kit);
}

Test(export, bundles_are_numbered_and_linked)
{
    struct quipu_export_report first;
    struct quipu_export_report second;
    struct quipu_bundle_report found;
    char other[PATH_BYTES];
    temp_dir_join(&dir, "second.car", other);
    store_kit_append(&vault, 5, 8);

    store_kit_export(&vault, path, &first);
    cr_assert_eq(export_with(NULL), QUIPU_EXISTS, "a failure takes no number");
    store_kit_close(&vault);
    store_kit_open(&vault, &dir, "vault");
    store_kit_export(&vault, other, &second);

    cr_assert_eq(first.number, 1u);
    cr_assert_eq(second.number, 2u);
    cr_assert_eq(quipu_bundle_check(other, &found, NULL), QUIPU_OK);
    cr_assert_eq(found.number, 2u);
    cr_assert(found.has_previous);
    cr_assert(quipu_cid_equal(&found.previous, &first.manifest));
}

Test(export, existing_target_is_untouched)
{
    char target[PATH_BYTES];
    struct stat before;
    struct stat after;
    store_kit_append(&vault, 5, 8);
    write_file(path, quipu_slice_text("mine"));
    cr_assert_eq(stat(path, &before), 0);

    cr_assert_eq(export_with(NULL), QUIPU_EXISTS);
    cr_assert_eq(stat(path, &after), 0);
    cr_assert_eq(before.st_ino, after.st_ino);
    struct quipu_slice file = read_file(path);
    cr_assert(quipu_slice_equal(file, quipu_slice_text("mine")));
    free_file(&file);

    /* A link that leads nowhere is something too, and is not followed. */
    cr_assert_eq(remove(path), 0);
    temp_dir_join(&dir, "nowhere", target);
    cr_assert_eq(symlink(target, path), 0);
    cr_assert_eq(export_with(NULL), QUIPU_EXISTS);
    cr_assert_eq(access(target, F_OK), -1);
    cr_assert_eq(remove(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(export_with(NULL), QUIPU_EXISTS);
    cr_assert_eq(count_files(dir.path), 1u);
}

Test(export, filter_chooses_and_nothing_chosen_makes_no_file)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_export_report report;
    cr_assert_eq(export_with(NULL), QUIPU_NOT_FOUND, "an empty store");
    store_kit_append(&vault, 70, 8);

    options.filter.aggregate_type = "key";
    options.filter.aggregate_id = "root-99";
    cr_assert_eq(export_with(&options), QUIPU_NOT_FOUND);
    cr_assert_eq(count_files(dir.path), 0u);
    options.filter.aggregate_id = "root-3";
    cr_assert_eq(quipu_export(vault.engine, path, &options, &report, NULL), QUIPU_OK);

    cr_assert_eq(report.events, 10u);
    cr_assert_eq(report.first_position, 4u);
    cr_assert_eq(report.last_position, 67u);
    cr_assert_eq(remove(path), 0);
    options.filter.limit = 4;
    cr_assert_eq(quipu_export(vault.engine, path, &options, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.events, 4u);
}

Test(export, wrong_options_and_paths_are_refused)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    char text[QUIPU_BUNDLE_REASON_BYTES_MAX + 2];
    static const char *const no_files[] = {"", "/", ".", "..", "folder/", "folder/."};
    store_kit_append(&vault, 3, 8);

    options.size--;
    cr_assert_eq(export_with(&options), QUIPU_MISUSE);
    options.size++;
    options.filter.direction = QUIPU_BACKWARDS;
    cr_assert_eq(export_with(&options), QUIPU_MISUSE);
    options.filter.direction = QUIPU_FORWARDS;
    cr_assert_eq(quipu_export(NULL, path, NULL, NULL, NULL), QUIPU_MISUSE);
    cr_assert_eq(quipu_export(vault.engine, NULL, NULL, NULL, NULL), QUIPU_MISUSE);

    options.operator_name = "";
    cr_assert_eq(export_with(&options), QUIPU_INVALID);
    options.operator_name = "a\nb";
    cr_assert_eq(export_with(&options), QUIPU_INVALID);
    memset(text, 'x', sizeof text);
    text[QUIPU_BUNDLE_OPERATOR_BYTES_MAX + 1] = 0;
    options.operator_name = text;
    cr_assert_eq(export_with(&options), QUIPU_INVALID);
    options.operator_name = NULL;
    text[QUIPU_BUNDLE_OPERATOR_BYTES_MAX + 1] = 'x';
    text[QUIPU_BUNDLE_REASON_BYTES_MAX + 1] = 0;
    options.reason = text;
    cr_assert_eq(export_with(&options), QUIPU_INVALID);
    text[QUIPU_BUNDLE_REASON_BYTES_MAX] = 0;
    cr_assert_eq(export_with(&options), QUIPU_OK);

    for (size_t i = 0; i < sizeof no_files / sizeof no_files[0]; i++) {
        cr_assert_eq(quipu_export(vault.engine, no_files[i], NULL, NULL, NULL), QUIPU_INVALID, "%s",
                     no_files[i]);
    }
    temp_dir_join(&dir, "no/such/folder.car", path);
    cr_assert_eq(export_with(NULL), QUIPU_NOT_FOUND);
}

Test(export, mode_is_that_of_an_ordinary_file)
{
    struct stat info;
    store_kit_append(&vault, 3, 8);
    (void)umask(027);

    cr_assert_eq(export_with(NULL), QUIPU_OK);

    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777u, 0640u);
}

Test(export, one_at_a_time)
{
    struct quipu_store_lock *lock = NULL;
    store_kit_append(&vault, 3, 8);
    cr_assert_eq(quipu_store_lock_take(vault.store, "export", &lock, NULL), QUIPU_OK);

    cr_assert_eq(export_with(NULL), QUIPU_BUSY);
    quipu_store_lock_release(&lock);
    cr_assert_eq(export_with(NULL), QUIPU_OK);
}

Test(export, marks_nothing_as_published)
{
    struct quipu_outbox_status outbox;
    store_kit_append(&vault, 30, 8);

    cr_assert_eq(export_with(NULL), QUIPU_OK);

    cr_assert_eq(quipu_outbox_status(vault.engine, &outbox, NULL), QUIPU_OK);
    cr_assert_eq(outbox.pending, 30u);
    cr_assert_eq(outbox.published, 0u);
    cr_assert_eq(outbox.cursor, 0u);
}

/* Copy the newest event to the end, with the first byte of its payload changed. */
static void append_damaged_record(void)
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    uint64_t position;
    uint8_t payload[64];
    cr_assert_eq(quipu_txn_begin_write(vault.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(quipu_txn_record_at(txn, quipu_txn_last_position(txn), &record, NULL), QUIPU_OK);
    cr_assert_leq(record.payload.len, sizeof payload);
    memcpy(payload, record.payload.data, record.payload.len);
    payload[0] ^= 1;
    struct quipu_buf envelope = QUIPU_BUF_INIT;
    quipu_buf_append_slice(&envelope, record.envelope);
    struct quipu_envelope decoded;
    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&envelope), &decoded, NULL), QUIPU_OK);
    struct quipu_record_new damaged = {
        .aggregate = {decoded.aggregate_type, decoded.aggregate_id},
        .version = 1,
        .event_id = record.event_id,
        .envelope_cid = record.envelope_cid,
        .payload_cid = record.payload_cid,
        .event_type = decoded.event_type,
        .correlation_id = record.correlation_id,
        .envelope = quipu_buf_slice(&envelope),
        .payload = quipu_slice(payload, record.payload.len),
    };
    struct quipu_error err;
    cr_assert_eq(quipu_txn_append(txn, &damaged, &position, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_txn_commit(&txn, NULL), QUIPU_OK);
    quipu_buf_release(&envelope);
}

Test(export, damaged_block_in_the_store_makes_no_file)
{
    struct quipu_error err;
    store_kit_append(&vault, 4, 8);
    append_damaged_record();

    cr_assert_eq(quipu_export(vault.engine, path, NULL, NULL, &err), QUIPU_CORRUPT, "%s",
                 err.message);
    cr_assert_not_null(strstr(err.message, "5"), "names the position: %s", err.message);
    cr_assert_eq(count_files(dir.path), 0u);
}

/* An event with this payload: {"n": number} */
static void append_number(uint64_t number)
{
    struct quipu_buf payload = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &payload);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "n");
    quipu_dagcbor_write_uint(&writer, number);
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    struct quipu_event event = {
        .type = "key.used", .aggregate = {"key", "root"}, .payload = quipu_buf_slice(&payload)};
    cr_assert_eq(quipu_append(vault.engine, &event, NULL, NULL), QUIPU_OK);
    quipu_buf_release(&payload);
}

Test(export, payload_beyond_the_window_is_written_again)
{
    struct bundle_kit kit;
    struct store_kit other;
    struct quipu_error err;
    size_t times = 0;
    /* One payload, 255 others, the first again (in the window), one more, the first again (out). */
    for (uint64_t i = 0; i < 256; i++) {
        append_number(i);
    }
    append_number(0);
    append_number(256);
    append_number(0);

    cr_assert_eq(export_with(NULL), QUIPU_OK);
    bundle_kit_load(&kit, path);
    struct quipu_cid payload = bundle_kit_cid(&kit, 3);
    for (size_t i = 2; i < kit.count; i++) {
        struct quipu_cid cid = bundle_kit_cid(&kit, i);
        times += quipu_cid_equal(&cid, &payload);
    }
    cr_assert_eq(times, 2u);
    cr_assert_eq(kit.count, 2u + 259u + 257u + 1u);

    store_kit_open(&other, &dir, "other");
    cr_assert_eq(quipu_import(other.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    store_kit_close(&other);
    bundle_kit_release(&kit);
}

Test(export, file_system_without_sparing_rename_is_served_by_a_link)
{
    store_kit_append(&vault, 3, 8);
    setenv("QUIPU_FAILPOINT", "airgap.export.renameat2:fail", 1);

    enum quipu_status status = export_with(NULL);

    unsetenv("QUIPU_FAILPOINT");
    cr_assert_eq(status, QUIPU_OK);
    cr_assert_eq(quipu_bundle_check(path, NULL, NULL), QUIPU_OK);
    cr_assert_eq(count_files(dir.path), 1u);
}

/* 25,000 events fit the manifest; one more goes to 4 chunks; 32,769 need a fifth of one link. */
static void export_and_import(size_t events, uint64_t chunks)
{
    struct quipu_bundle_report found;
    struct quipu_import_report imported;
    struct bundle_kit kit;
    struct store_kit other;
    struct quipu_error err;
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, events, 8);
    store_kit_open(&other, &dir, "vault/../other");

    cr_assert_eq(quipu_export(vault.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_bundle_check(path, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_import(other.engine, path, NULL, &imported, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(found.events, events);
    bundle_kit_load(&kit, path);
    cr_assert_eq(bundle_kit_find(&kit, 2, true), 2 + chunks);
    cr_assert_eq(imported.events.added, events);
    cr_assert_eq(store_kit_digest(&vault, ours), events);
    cr_assert_eq(store_kit_digest(&other, theirs), events);
    cr_assert_arr_eq(ours, theirs, sizeof ours);
    bundle_kit_release(&kit);
    store_kit_close(&other);
}

static void make_file(const char *name, char out[2 * PATH_BYTES])
{
    (void)snprintf(out, 2 * PATH_BYTES, "%s/%s", dir.path, name);
    FILE *file = fopen(out, "w");
    cr_assert_not_null(file);
    cr_assert_eq(fclose(file), 0);
}

Test(export, removes_what_killed_ones_left_and_nothing_else)
{
    static const char *const others[] = {".quipu-export-0123456789abcde.tmp",
                                         ".quipu-export-0123456789abcdef.tmp2",
                                         ".quipu-export-0123456789ABCDEF.tmp", "0.tmp"};
    char name[2 * PATH_BYTES];
    char held[2 * PATH_BYTES];
    char dead[2 * PATH_BYTES];
    struct quipu_export_report report;
    store_kit_append(&vault, 2, 40);
    make_file(".quipu-export-0123456789abcdef.tmp", dead);
    make_file(".quipu-export-fedcba9876543210.tmp", held);
    int fd = open(held, O_RDONLY);
    cr_assert_eq(flock(fd, LOCK_EX), 0, "as an export that runs does");

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        make_file(others[i], name);
    }
    store_kit_export(&vault, path, &report);

    cr_assert_eq(access(dead, F_OK), -1);
    cr_assert_eq(access(held, F_OK), 0);
    cr_assert_eq(count_files(dir.path), 4 + 1 + 1, "the others, the held one, the bundle");
    cr_assert_eq(close(fd), 0);
}

Test(export, a_lost_key_is_not_replaced_by_a_stranger)
{
    char key[2 * PATH_BYTES];
    struct quipu_error err;
    store_kit_append(&vault, 2, 40);
    (void)snprintf(key, sizeof key, "%s/signing.key", vault.path);
    cr_assert_eq(unlink(key), 0);

    cr_assert_eq(quipu_export(vault.engine, path, NULL, NULL, &err), QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "put it back"), "%s", err.message);
    cr_assert_eq(access(key, F_OK), -1);
    cr_assert_eq(count_files(dir.path), 0);
}

Test(export, links_25000_events_from_the_manifest)
{
    export_and_import(25000, 0);
}

Test(export, links_25001_events_through_chunks)
{
    export_and_import(25001, 4);
}

Test(export, last_chunk_may_hold_one_link)
{
    export_and_import(32769, 5);
}

Test(export, full_disk_leaves_nothing_behind)
{
    char small[PATH_BYTES];
    char kept[PATH_BYTES];
    char target[PATH_BYTES];
    struct quipu_error err;
    temp_dir_join(&dir, "small", small);
    cr_assert_eq(mkdir(small, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", small, "tmpfs", 0, "size=256k") != 0) {
        cr_skip_test("skipped: a small tmpfs cannot be mounted here: %s", strerror(errno));
    }
    temp_dir_join(&dir, "small/kept", kept);
    temp_dir_join(&dir, "small/out.car", target);
    write_file(kept, quipu_slice_text("kept"));
    store_kit_append(&vault, 300, 4000);

    enum quipu_status status = quipu_export(vault.engine, target, NULL, NULL, &err);

    cr_assert_eq(status, QUIPU_NO_SPACE, "%s", err.message);
    cr_assert_eq(count_files(small), 1u, "only what was there before");
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(umount(small), 0);
}
