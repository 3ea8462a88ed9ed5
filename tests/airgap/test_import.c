/*
 * Import: all or none, once, from whom one trusts, and only what was checked.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failing_alloc.h"
#include "import_kit.h"
#include "quipu/forks.h"
#include "quipu/verify.h"
#include "run.h"

TestSuite(import, .init = import_set_up, .fini = import_tear_down, .timeout = 120);

Test(import, second_store_holds_the_same_events_and_again_adds_nothing)
{
    struct quipu_import_report report;
    struct quipu_error err;
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, 500, 60);
    store_kit_export(&vault, path, NULL);

    cr_assert_eq(quipu_import(office.engine, path, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);

    cr_assert_eq(report.events.added, 500u);
    cr_assert_eq(report.events.known, 0u);
    cr_assert_eq(report.bundle.events, 500u);
    cr_assert_eq(store_kit_digest(&vault, ours), 500u);
    cr_assert_eq(store_kit_digest(&office, theirs), 500u);
    cr_assert_arr_eq(ours, theirs, sizeof ours);

    cr_assert_eq(quipu_import(office.engine, path, NULL, &report, &err), QUIPU_OK);
    cr_assert_eq(report.events.added, 0u);
    cr_assert_eq(report.events.known, 500u);
    cr_assert_eq(store_kit_digest(&office, theirs), 500u);
    cr_assert_arr_eq(ours, theirs, sizeof ours);
}

static void import_on_its_word(struct store_kit *kit, const char *bundle)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    options.takes_unproven = true;
    cr_assert_eq(quipu_import(kit->engine, bundle, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

Test(import, imported_events_travel_on)
{
    struct store_kit third;
    char onward[PATH_BYTES];
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    temp_dir_join(&dir, "onward.car", onward);
    store_kit_open(&third, &dir, "third");
    store_kit_append(&vault, 50, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_OK);

    store_kit_export(&office, onward, NULL);
    import_on_its_word(&third, onward);

    cr_assert_eq(store_kit_digest(&vault, ours), 50u);
    cr_assert_eq(store_kit_digest(&third, theirs), 50u);
    cr_assert_arr_eq(ours, theirs, sizeof ours);
    store_kit_close(&third);
}

Test(import, dry_run_reports_and_writes_nothing)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, NULL);
    options.is_dry_run = true;

    cr_assert_eq(quipu_import(office.engine, path, &options, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.events.added, 20u);
    cr_assert_eq(office_events(), 0u);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.events.known, 20u);
    cr_assert_eq(report.events.added, 0u);
}

Test(import, only_from_whom_one_trusts)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char ours[QUIPU_SOURCE_TEXT_BYTES];
    char theirs[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[2] = {ours, theirs};
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_identity_ensure(office.engine, NULL), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(office.engine, ours, NULL), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(vault.engine, theirs, NULL), QUIPU_OK);
    options.trusted = trusted;

    options.trusted_count = 1;
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_UNTRUSTED);
    cr_assert_not_null(strstr(err.message, theirs), "names the signer: %s", err.message);
    cr_assert_eq(office_events(), 0u);
    options.trusted_count = 2;
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK);
    cr_assert_str_eq(report.bundle.signer, theirs);
    cr_assert_eq(office_events(), 20u);
}

Test(import, wrong_options_are_refused)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    char text[QUIPU_SOURCE_TEXT_BYTES];
    const char *trusted[1] = {text};
    store_kit_append(&vault, 2, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_identity_source(vault.engine, text, NULL), QUIPU_OK);

    options.size++;
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, NULL), QUIPU_MISUSE);
    options.size--;
    options.trusted_count = 1;
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, NULL), QUIPU_MISUSE);
    options.trusted = trusted;
    text[5] = text[5] == 'A' ? 'B' : 'A';
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "trusted signer 1"), "%s", err.message);
    cr_assert_eq(quipu_import(NULL, path, NULL, NULL, NULL), QUIPU_MISUSE);
    cr_assert_eq(quipu_import(office.engine, NULL, NULL, NULL, NULL), QUIPU_MISUSE);
    cr_assert_eq(quipu_bundle_check(NULL, NULL, NULL), QUIPU_MISUSE);
    cr_assert_eq(office_events(), 0u);
}

Test(import, only_regular_files)
{
    struct quipu_error err;
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_import(office.engine, dir.path, NULL, NULL, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "folder"), "%s", err.message);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "pipe"), "%s", err.message);
    cr_assert_eq(quipu_bundle_check("/dev/null", NULL, NULL), QUIPU_INVALID);
    cr_assert_eq(remove(path), 0);
    write_file(path, quipu_slice(NULL, 0));
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_CAR_TRUNCATED);
}

Test(import, a_gap_leaves_the_store_untouched)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    store_kit_append(&vault, 30, 10);
    options.filter.after = 3;
    cr_assert_eq(quipu_export(vault.engine, path, &options, NULL, NULL), QUIPU_OK);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_GAP, "%s", err.message);
    cr_assert_not_null(strstr(err.message, "event 5 of 27"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, path), "%s", err.message);
    cr_assert_eq(office_events(), 0u);
}

Test(import, a_fork_leaves_the_store_untouched)
{
    struct quipu_error err;
    uint8_t before[QUIPU_SHA256_BYTES];
    uint8_t after[QUIPU_SHA256_BYTES];
    store_kit_append(&vault, 30, 10);
    store_kit_append(&office, 1, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(store_kit_digest(&office, before), 1u);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_FORK, "%s",
                 err.message);
    cr_assert_eq(store_kit_digest(&office, after), 1u);
    cr_assert_arr_eq(before, after, sizeof before);
}

static enum quipu_status count_conflict(void *ctx, const struct quipu_fork *fork,
                                        struct quipu_error *err)
{
    (void)err;
    ++*(uint64_t *)ctx;
    cr_assert_eq(fork->state, QUIPU_FORK_OPEN);
    return QUIPU_OK;
}

Test(import, a_fork_that_is_to_be_kept_is_taken_in_and_recorded)
{
    struct quipu_error err;
    struct quipu_import_report report;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    uint64_t conflicts = 0;
    options.keeps_forks = true;
    store_kit_append(&vault, 30, 10);
    store_kit_append(&office, 1, 10);
    store_kit_export(&vault, path, NULL);

    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 30u);
    cr_assert_eq(report.events.forks, 1u);
    cr_assert_eq(quipu_each_fork(office.engine, count_conflict, &conflicts, &err), QUIPU_OK);
    cr_assert_eq(conflicts, 1u);
    cr_assert_eq(quipu_verify(office.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

/* ------------------------------------------------------------------ changed under us */

static enum quipu_status imported;
static struct quipu_error import_err;

static void *import_in_thread(void *ctx)
{
    (void)ctx;
    imported = quipu_import(office.engine, path, NULL, NULL, &import_err);
    return NULL;
}

/* True where this process has read the file to its end through some descriptor. */
static bool is_read_to_the_end(const struct stat *file)
{
    bool is_read = false;
    DIR *folder = opendir("/proc/self/fd");
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        struct stat info;
        int fd = atoi(entry->d_name);
        if (entry->d_name[0] != '.' && fstat(fd, &info) == 0 && info.st_ino == file->st_ino &&
            info.st_dev == file->st_dev) {
            is_read = is_read || lseek(fd, 0, SEEK_CUR) == file->st_size;
        }
    }
    closedir(folder);
    return is_read;
}

/* Import while someone holds the store's write lock, so that it stands between its two passes; put
 * `bytes` at `offset` of the file meanwhile, and end it there. */
static void import_with_a_change(off_t offset, struct quipu_slice bytes)
{
    struct stat file;
    struct quipu_txn *txn = NULL;
    pthread_t thread;
    cr_assert_eq(stat(path, &file), 0);
    cr_assert_eq(quipu_txn_begin_write(office.store, &txn, NULL), QUIPU_OK);
    cr_assert_eq(pthread_create(&thread, NULL, import_in_thread, NULL), 0);
    while (!is_read_to_the_end(&file)) {
        (void)sched_yield();
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, bytes.data, bytes.len, offset), (ssize_t)bytes.len);
    cr_assert_eq(ftruncate(fd, offset + (off_t)bytes.len), 0);
    cr_assert_eq(close(fd), 0);
    quipu_txn_abort(&txn);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}

Test(import, file_that_changes_meanwhile_is_refused)
{
    struct quipu_export_report report;
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, &report);

    import_with_a_change((off_t)report.file_bytes - 1, quipu_slice_text("!"));

    cr_assert_eq(imported, QUIPU_BUNDLE, "%s", import_err.message);
    cr_assert_not_null(strstr(import_err.message, "changed"), "%s", import_err.message);
    cr_assert_eq(office_events(), 0u);
}

Test(import, file_that_becomes_another_bundle_meanwhile_is_refused)
{
    char other[PATH_BYTES];
    temp_dir_join(&dir, "other.car", other);
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, NULL);
    /* Not a longer one: the reader may not have asked yet whether the file ends where it does. */
    struct quipu_export_options half = QUIPU_EXPORT_OPTIONS_INIT;
    half.filter.until = 10;
    cr_assert_eq(quipu_export(vault.engine, other, &half, NULL, NULL), QUIPU_OK);
    struct quipu_slice bytes = read_file(other);

    import_with_a_change(0, bytes);

    cr_assert_eq(imported, QUIPU_BUNDLE, "%s", import_err.message);
    cr_assert_not_null(strstr(import_err.message, "changed"), "%s", import_err.message);
    cr_assert_eq(office_events(), 0u);
    free_file(&bytes);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_GAP, "the second");
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    options.accept_gap = "the first one was overwritten";
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, NULL), QUIPU_OK, "a good one");
}

/* ------------------------------------------------------------------ out of memory */

Test(import, every_allocation_may_fail)
{
    struct quipu_error err;
    size_t n = 0;
    enum quipu_status status = QUIPU_NO_MEMORY;
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, NULL);
    for (; status == QUIPU_NO_MEMORY; n++) {
        failing_alloc_arm(n);
        status = quipu_import(office.engine, path, NULL, NULL, &err);
        if (status == QUIPU_NO_MEMORY) {
            failing_alloc_disarm();
            cr_assert_eq(office_events(), 0u);
        }
    }
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    cr_assert_gt(n, 20);
    failing_alloc_disarm();
    cr_assert_eq(office_events(), 20u);
}

Test(import, every_allocation_of_an_export_may_fail)
{
    struct quipu_error err;
    struct quipu_export_report report;
    size_t n = 0;
    enum quipu_status status = QUIPU_NO_MEMORY;
    store_kit_append(&vault, 20, 10);
    for (; status == QUIPU_NO_MEMORY; n++) {
        failing_alloc_arm(n);
        status = quipu_export(vault.engine, path, NULL, &report, &err);
        if (status == QUIPU_NO_MEMORY) {
            cr_assert_eq(access(path, F_OK), -1);
        }
    }
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    cr_assert_gt(n, 20);
    cr_assert_eq(report.number, 1u);
}
