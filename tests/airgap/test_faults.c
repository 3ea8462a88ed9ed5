/*
 * A disk that fails, or gets full, at the n-th write, sync, change of a name, or opening, once or
 * from then on, for every n, while a bundle is exported, in a file and in volumes, and while it, or
 * the same events as lines, are imported, from a file, from a pipe and into a copy of the store.
 * Each says so; nothing half done is there afterwards, nothing temporary stays, and the same call
 * goes well once the disk does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "export_file.h"
#include "export_folder.h"
#include "faulty_disk.h"
#include "quipu/event_lines.h"
#include "quipu/new_file.h"
#include "quipu/verify.h"
#include "run.h"

#define EVENTS    12
#define CALLS_MAX 400

static struct temp_dir dir;
static struct store_kit vault;
static char bundle[PATH_BYTES]; /* that is imported */
static char lines[PATH_BYTES];  /* the same */
static char made[PATH_BYTES];   /* that is exported */
static int offices;

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "bundle.car", bundle);
    temp_dir_join(&dir, "made", made);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, EVENTS, 12000);
    store_kit_export(&vault, bundle, NULL);
    temp_dir_join(&dir, "events.jsonl", lines);
    store_kit_export_lines(&vault, lines);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(faults, .init = set_up, .fini = tear_down, .timeout = 300);

/* What a fault is. */
struct failing {
    enum fault_kind kind;
    bool is_lasting;
};

static const struct failing failings[] = {
    {FAULT_WRITE, false}, {FAULT_WRITE, true},   {FAULT_SHORT, false},
    {FAULT_FULL, true},   {FAULT_SYNC, false},   {FAULT_SYNC, true},
    {FAULT_RENAME, true}, {FAULT_LENGTH, false}, {FAULT_OPEN, false},
};

/* One run with the n-th call failing; false where that was never reached. */
typedef bool (*fault_run)(const struct failing *failing, long n);

/* Run until no call is left that could fail; how many there were of each kind. */
static void sweep(fault_run attempt, long writes_least, long syncs_least)
{
    for (size_t i = 0; i < sizeof failings / sizeof failings[0]; i++) {
        long n = 0;
        while (attempt(&failings[i], n)) {
            n++;
            cr_assert_lt(n, CALLS_MAX);
        }
        bool is_write = failings[i].kind <= FAULT_FULL;
        long least = is_write ? writes_least : failings[i].kind == FAULT_SYNC ? syncs_least : 0;
        cr_assert_geq(n, least, "kind %d: only %ld calls", (int)failings[i].kind, n);
    }
}

/* A write that is cut short is taken for a full disk by LMDB, which it mostly is. */
static void assert_status(enum quipu_status status, const struct failing *failing, long n,
                          long failures, const struct quipu_error *err)
{
    bool may_be_full = failing->kind == FAULT_SHORT || failing->kind == FAULT_FULL;
    bool is_said = status == QUIPU_IO || (status == QUIPU_NO_SPACE && may_be_full);
    cr_assert(status == QUIPU_OK || (failures > 0 && is_said), "kind %d, call %ld: %s: %s",
              (int)failing->kind, n, quipu_status_name(status), err->message);
}

/* ------------------------------------------------------------------ export */

/* The file or the folder of volumes. */
static void remove_made(void)
{
    char volume[PATH_BYTES + 64];
    if (remove(made) == 0) {
        return;
    }
    DIR *opened = opendir(made);
    cr_assert_not_null(opened);
    for (struct dirent *entry = readdir(opened); entry != NULL; entry = readdir(opened)) {
        (void)snprintf(volume, sizeof volume, "%s/%.60s", made, entry->d_name);
        (void)unlink(volume); /* "." and ".." are refused */
    }
    closedir(opened);
    cr_assert_eq(rmdir(made), 0);
}

static bool run_export(const struct failing *failing, long n, uint64_t volume_bytes)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    options.volume_bytes = volume_bytes;
    fault_arm(failing->kind, n, failing->is_lasting);
    enum quipu_status status = quipu_export(vault.engine, made, &options, NULL, &err);
    long failures = fault_disarm();

    assert_status(status, failing, n, failures, &err);
    cr_assert_eq(count_names(dir.path, ".quipu-export-"), 0u, "kind %d, call %ld",
                 (int)failing->kind, n);
    if (status == QUIPU_OK) {
        cr_assert_eq(quipu_bundle_check(made, NULL, &err), QUIPU_OK, "%s", err.message);
        remove_made();
    }
    cr_assert_eq(access(made, F_OK), -1, "kind %d, call %ld", (int)failing->kind, n);
    cr_assert_eq(quipu_export(vault.engine, made, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_bundle_check(made, NULL, &err), QUIPU_OK, "%s", err.message);
    remove_made();
    return failures > 0;
}

static bool run_export_file(const struct failing *failing, long n)
{
    return run_export(failing, n, 0);
}

static bool run_export_volumes(const struct failing *failing, long n)
{
    return run_export(failing, n, QUIPU_BUNDLE_VOLUME_BYTES_MIN);
}

Test(faults, export_survives_every_failure_of_the_disk)
{
    sweep(run_export_file, 3, 3);
}

Test(faults, export_in_volumes_survives_every_failure_of_the_disk)
{
    sweep(run_export_volumes, 3, 3);
}

/* ------------------------------------------------------------------ names */

static enum quipu_status write_new(struct quipu_error *err)
{
    return quipu_new_file_write(made, quipu_slice_text("new"), err);
}

static enum quipu_status write_over(struct quipu_error *err)
{
    struct quipu_export_file file = QUIPU_EXPORT_FILE_INIT;
    struct stat known;
    cr_assert_eq(stat(made, &known), 0);
    enum quipu_status status = quipu_export_file_create_over(&file, made, &known, err);
    if (status == QUIPU_OK) {
        struct quipu_sink sink = quipu_export_file_sink(&file);
        status = sink.write(sink.ctx, quipu_slice_text("new"), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_finish(&file, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_file_replace(&file, &known, err);
    }
    quipu_export_file_discard(&file);
    return status;
}

static enum quipu_status write_folder(struct quipu_error *err)
{
    struct quipu_export_folder folder = QUIPU_EXPORT_FOLDER_INIT;
    enum quipu_status status = quipu_export_folder_create(&folder, made, err);
    if (status == QUIPU_OK) {
        status = quipu_export_folder_put(&folder, "one", quipu_slice_text("new"), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_export_folder_publish(&folder, err);
    }
    quipu_export_folder_discard(&folder);
    return status;
}

static bool is_old(void)
{
    struct quipu_slice found = read_file(made);
    bool is = quipu_slice_equal(found, quipu_slice_text("old"));
    free_file(&found);
    return is;
}

/* The contents first, then the name: the last sync is that of the folder, and who hears that the
 * file is there has waited for it. */
Test(faults, what_is_said_to_be_there_has_a_name_that_was_synced)
{
    static const struct {
        enum quipu_status (*write)(struct quipu_error *err);
        long syncs;
        bool is_over; /* an old one has the name */
    } ways[] = {{write_new, 2, false}, {write_over, 2, true}, {write_folder, 3, false}};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (long n = 0; n <= ways[i].syncs; n++) {
            struct quipu_error err = {.message = ""};
            if (ways[i].is_over) {
                write_file(made, quipu_slice_text("old"));
            }
            fault_arm(FAULT_SYNC, n, false);
            enum quipu_status status = ways[i].write(&err);
            long failures = fault_disarm();

            bool is_last = n == ways[i].syncs - 1;
            bool is_done = n == ways[i].syncs;
            cr_assert_eq(failures, is_done ? 0 : 1, "way %zu, sync %ld", i, n);
            cr_assert_eq(status, is_done ? QUIPU_OK : QUIPU_IO, "way %zu, sync %ld", i, n);
            cr_assert_eq(strstr(err.message, "sync the folder of") != NULL, is_last,
                         "way %zu, sync %ld: %s", i, n, err.message);
            cr_assert_eq(access(made, F_OK) == 0, is_done || ways[i].is_over);
            cr_assert(!ways[i].is_over || is_old() == (!is_last && !is_done),
                      "what took the place of another stays there");
            cr_assert_eq(count_names(dir.path, ".quipu-export-"), 0u);
        }
        remove_made();
    }
}

/* ------------------------------------------------------------------ import */

static uint64_t events_of(struct store_kit *kit)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    return store_kit_digest(kit, digest);
}

/* All or nothing, and sound; then all. */
static void assert_office(struct store_kit *office, enum quipu_status status,
                          const struct failing *failing, long n)
{
    struct quipu_error err;
    uint64_t events = events_of(office);
    cr_assert(events == EVENTS || (events == 0 && status != QUIPU_OK),
              "kind %d, call %ld: %d events after %s", (int)failing->kind, n, (int)events,
              quipu_status_name(status));
    cr_assert_eq(count_names(office->path, ".quipu-import-"), 0u);
    cr_assert_eq(count_names(office->path, "create.tmp"), 0u);
    cr_assert_eq(quipu_import(office->engine, bundle, NULL, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(events_of(office), EVENTS);
    cr_assert_eq(quipu_verify(office->engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
}

static void open_office(struct store_kit *office)
{
    char name[32];
    (void)snprintf(name, sizeof name, "office-%d", offices);
    store_kit_open(office, &dir, name);
}

/* How events come in. */
struct carrier {
    bool is_lines;
    bool is_pipe;
};

static enum quipu_status open_import(const struct carrier *carrier, struct store_kit *office,
                                     const struct quipu_source *pipe, struct quipu_import **out,
                                     struct quipu_error *err)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    options.source = pipe;
    options.takes_unproven = carrier->is_lines;
    return carrier->is_lines ? quipu_import_open_lines(office->engine, lines, &options, out, err)
                             : quipu_import_open(office->engine, bundle, &options, out, err);
}

static bool run_import(const struct failing *failing, long n, const struct carrier *carrier)
{
    struct quipu_import *import = NULL;
    struct store_kit office;
    struct quipu_error err;
    int fd = open(carrier->is_lines ? lines : bundle, O_RDONLY | O_CLOEXEC);
    struct quipu_source pipe = quipu_source_fd(&fd);
    offices++;
    open_office(&office);
    fault_arm(failing->kind, n, failing->is_lasting);
    enum quipu_status status =
        open_import(carrier, &office, carrier->is_pipe ? &pipe : NULL, &import, &err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept(import, office.engine, NULL, &err);
    }
    quipu_import_close(&import);
    long failures = fault_disarm();
    (void)close(fd); /* was only read */
    assert_status(status, failing, n, failures, &err);
    assert_office(&office, status, failing, n);
    store_kit_close(&office);
    return failures > 0;
}

static bool run_import_file(const struct failing *failing, long n)
{
    return run_import(failing, n, &(struct carrier){.is_lines = false});
}

static bool run_import_pipe(const struct failing *failing, long n)
{
    return run_import(failing, n, &(struct carrier){.is_pipe = true});
}

static bool run_import_lines(const struct failing *failing, long n)
{
    return run_import(failing, n, &(struct carrier){.is_lines = true});
}

static bool run_import_lines_pipe(const struct failing *failing, long n)
{
    return run_import(failing, n, &(struct carrier){.is_lines = true, .is_pipe = true});
}

Test(faults, import_survives_every_failure_of_the_disk)
{
    sweep(run_import_file, 2, 1);
}

Test(faults, import_from_a_pipe_survives_every_failure_of_the_disk)
{
    sweep(run_import_pipe, 4, 1);
}

Test(faults, import_of_lines_survives_every_failure_of_the_disk)
{
    sweep(run_import_lines, 2, 1);
}

Test(faults, import_of_lines_from_a_pipe_survives_every_failure_of_the_disk)
{
    sweep(run_import_lines_pipe, 4, 1);
}

static bool run_alone(const struct failing *failing, long n, bool is_lines)
{
    struct quipu_import *import = NULL;
    struct store_kit office;
    struct quipu_error err;
    char store[PATH_BYTES];
    offices++;
    open_office(&office);
    (void)snprintf(store, sizeof store, "%s", office.path);
    cr_assert_eq(open_import(&(struct carrier){.is_lines = is_lines}, &office, NULL, &import, &err),
                 QUIPU_OK);
    store_kit_close(&office);
    fault_arm(failing->kind, n, failing->is_lasting);
    enum quipu_status status = quipu_import_accept_alone(import, store, NULL, &err);
    long failures = fault_disarm();
    quipu_import_close(&import);
    assert_status(status, failing, n, failures, &err);
    open_office(&office); /* and whoever opens it removes what is left */
    assert_office(&office, status, failing, n);
    store_kit_close(&office);
    return failures > 0;
}

static bool run_import_alone(const struct failing *failing, long n)
{
    return run_alone(failing, n, false);
}

static bool run_import_lines_alone(const struct failing *failing, long n)
{
    return run_alone(failing, n, true);
}

Test(faults, import_into_a_copy_survives_every_failure_of_the_disk)
{
    sweep(run_import_alone, 3, 2);
}

Test(faults, import_of_lines_into_a_copy_survives_every_failure_of_the_disk)
{
    sweep(run_import_lines_alone, 3, 2);
}
