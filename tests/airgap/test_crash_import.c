/*
 * Imports from a pipe and of what is encrypted, imports of lines, and exports of receipts, killed
 * or made to fail at each of their steps: nothing half done, nothing left behind that stays, and
 * the next run goes well.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/event_lines.h"
#include "quipu/operations.h"
#include "quipu/outbox.h"
#include "quipu/receipts.h"
#include "run.h"

#define EVENTS 60

static struct temp_dir dir;
static char plain[PATH_BYTES];
static char sealed[PATH_BYTES];
static char lines[PATH_BYTES];
static char receipts[PATH_BYTES];
static struct quipu_age_secrets *secrets;

/* A store with events, and its bundle in all the forms that are taken in. */
static void fill(void)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient;
    struct store_kit vault;
    struct quipu_error err;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "plain.car", plain);
    temp_dir_join(&dir, "sealed.age", sealed);
    temp_dir_join(&dir, "events.jsonl", lines);
    temp_dir_join(&dir, "receipts.car", receipts);
    cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(secrets, NULL, &err), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, EVENTS, 8000);
    store_kit_export(&vault, plain, NULL);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    options.encryption = &encryption;
    cr_assert_eq(quipu_export(vault.engine, sealed, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    store_kit_export_lines(&vault, lines);
    store_kit_close(&vault);
}

static void remove_all(void)
{
    quipu_age_secrets_free(&secrets);
    temp_dir_release(&dir);
}

TestSuite(crash_import, .init = fill, .fini = remove_all, .timeout = 300);

/* ------------------------------------------------------------------ what is there afterwards */

static enum quipu_status count_operation(void *ctx, const struct quipu_operation *operation,
                                         struct quipu_error *err)
{
    (void)operation;
    (void)err;
    ++*(uint64_t *)ctx;
    return QUIPU_OK;
}

/* The office holds this many events, and as many operations as imports went well. */
static void office_must_hold(uint64_t events, uint64_t operations, const char *after)
{
    struct store_kit office;
    uint8_t digest[QUIPU_SHA256_BYTES];
    uint64_t logged = 0;
    store_kit_open(&office, &dir, "office");
    cr_assert_eq(store_kit_digest(&office, digest), events, "%s", after);
    cr_assert_eq(quipu_each_operation(office.engine, 0, count_operation, &logged, NULL), QUIPU_OK);
    cr_assert_eq(logged, operations, "%s", after);
    store_kit_close(&office);
}

static size_t count_spools(void)
{
    char folder[PATH_BYTES];
    temp_dir_join(&dir, "office", folder);
    return count_names(folder, ".quipu-import-");
}

/* A failpoint, and which time it is reached. */
struct point {
    const char *name;
    int nth;
};

/* Kill `work` at each point, let it fail there, and have it go well in the end. */
static void sweep(const struct point *points, size_t count,
                  enum quipu_status (*work)(struct quipu_error *err))
{
    char failpoint[64];
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill:%d", points[i].name, points[i].nth);
        cr_assert_eq(store_kit_run_armed(failpoint, work), -SIGKILL, "%s", failpoint);
        office_must_hold(0, 0, failpoint);
        (void)snprintf(failpoint, sizeof failpoint, "%s:fail:%d", points[i].name, points[i].nth);
        cr_assert_eq(store_kit_run_armed(failpoint, work), QUIPU_IO, "%s", failpoint);
        office_must_hold(0, 0, failpoint);
        cr_assert_eq(count_spools(), 0u, "%s", failpoint);
    }
    cr_assert_eq(store_kit_run_armed("none:fail", work), QUIPU_OK);
    office_must_hold(EVENTS, 1, "going well");
    cr_assert_eq(count_spools(), 0u);
}

/* ------------------------------------------------------------------ bundles */

static enum quipu_status import_pipe(struct quipu_error *err)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct store_kit office;
    int fd = open(plain, O_RDONLY | O_CLOEXEC);
    struct quipu_source source = quipu_source_fd(&fd);
    store_kit_open(&office, &dir, "office");
    options.source = &source;
    enum quipu_status status = quipu_import(office.engine, "a pipe", &options, NULL, err);
    store_kit_close(&office);
    (void)close(fd); /* was only read */
    return status;
}

Test(crash_import, killed_import_from_a_pipe_takes_in_nothing)
{
    static const struct point points[] = {
        {"airgap.import.spool", 1}, {"airgap.import.copy", 1},   {"airgap.import.copy", 2},
        {"airgap.import.copy", 7},  {"airgap.import.event", 30}, {"airgap.import.commit", 1},
    };
    sweep(points, sizeof points / sizeof points[0], import_pipe);
}

static enum quipu_status import_sealed(struct quipu_error *err)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct store_kit office;
    store_kit_open(&office, &dir, "office");
    options.secrets = secrets;
    options.accept_gap = "the first one is the same, in clear";
    enum quipu_status status = quipu_import(office.engine, sealed, &options, NULL, err);
    store_kit_close(&office);
    return status;
}

Test(crash_import, killed_import_of_an_encrypted_bundle_takes_in_nothing)
{
    static const struct point points[] = {
        {"airgap.import.spool", 1},
        {"airgap.import.copy", 1},
        {"airgap.import.copy", 3},
        {"airgap.import.event", 1},
    };
    sweep(points, sizeof points / sizeof points[0], import_sealed);
}

static void make_file(const char *name)
{
    char path[PATH_BYTES];
    temp_dir_join(&dir, name, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(close(fd), 0);
}

/* A kill between making a file with a name and removing the name leaves it, empty. */
Test(crash_import, without_nameless_files_the_next_import_removes_what_a_kill_left)
{
    cr_assert_eq(store_kit_run_armed("airgap.import.event:kill", import_pipe), -SIGKILL);
    make_file("office/.quipu-import-01900000-0000-7000-8000-000000000001");
    make_file("office/.quipu-import-01900000-0000-7000-8000-000000000002");
    make_file("office/.quipu-import-of-somebody");
    cr_assert_eq(store_kit_run_armed("airgap.import.tmpfile:fail", import_pipe), QUIPU_OK);
    office_must_hold(EVENTS, 1, "without nameless files");
    cr_assert_eq(count_spools(), 1u, "what is not ours stays");
}

/* ------------------------------------------------------------------ lines */

static enum quipu_status import_lines(struct quipu_error *err)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import *import = NULL;
    struct store_kit office;
    store_kit_open(&office, &dir, "office");
    options.takes_unproven = true;
    enum quipu_status status =
        quipu_import_open_lines(office.engine, lines, &options, &import, err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept(import, office.engine, NULL, err);
    }
    quipu_import_close(&import);
    store_kit_close(&office);
    return status;
}

Test(crash_import, killed_import_of_lines_takes_in_nothing)
{
    static const struct point points[] = {
        {"airgap.import.event", 1},
        {"airgap.import.event", 31},
        {"airgap.import.event", 60},
        {"airgap.import.commit", 1},
    };
    sweep(points, sizeof points / sizeof points[0], import_lines);
}

static enum quipu_status import_lines_pipe(struct quipu_error *err)
{
    struct store_kit office;
    int fd = open(lines, O_RDONLY | O_CLOEXEC);
    store_kit_open(&office, &dir, "office");
    enum quipu_status status =
        quipu_lines_import(office.engine, quipu_source_fd(&fd), NULL, NULL, err);
    store_kit_close(&office);
    (void)close(fd); /* was only read */
    return status;
}

Test(crash_import, killed_import_of_lines_from_a_pipe_takes_in_nothing)
{
    static const struct point points[] = {
        {"airgap.import.spool", 1}, {"airgap.import.copy", 1},   {"airgap.import.copy", 2},
        {"airgap.import.copy", 7},  {"airgap.import.event", 30}, {"airgap.import.commit", 1},
    };
    sweep(points, sizeof points / sizeof points[0], import_lines_pipe);
}

/* ------------------------------------------------------------------ receipts */

static enum quipu_status export_receipts(struct quipu_error *err)
{
    struct store_kit office;
    store_kit_open(&office, &dir, "office");
    enum quipu_status status = quipu_receipts_export(office.engine, receipts, NULL, NULL, err);
    store_kit_close(&office);
    return status;
}

static void publish_all(void)
{
    struct quipu_ack acks[EVENTS];
    struct store_kit office;
    struct quipu_error err;
    for (uint64_t i = 0; i < EVENTS; i++) {
        acks[i] = (struct quipu_ack){.position = i + 1, .sequence = i + 100};
    }
    store_kit_open(&office, &dir, "office");
    cr_assert_eq(
        quipu_outbox_acknowledge(office.engine, quipu_slice_text("KEYS"), acks, EVENTS, &err),
        QUIPU_OK, "%s", err.message);
    store_kit_close(&office);
}

Test(crash_import, killed_export_of_receipts_leaves_no_file_and_blocks_nobody)
{
    static const char *const points[] = {"airgap.import.spool",   "airgap.export.create",
                                         "airgap.receipts.write", "airgap.export.write",
                                         "airgap.export.sync",    "airgap.export.rename"};
    char failpoint[64];
    cr_assert_eq(store_kit_run_armed("none:fail", import_pipe), QUIPU_OK);
    publish_all();
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill", points[i]);
        cr_assert_eq(store_kit_run_armed(failpoint, export_receipts), -SIGKILL, "%s", failpoint);
        cr_assert_eq(access(receipts, F_OK), -1, "%s", failpoint);
        cr_assert_leq(count_names(dir.path, ".quipu-export-"), 1u,
                      "its own at most: the one before it is removed");
        (void)snprintf(failpoint, sizeof failpoint, "%s:fail", points[i]);
        cr_assert_eq(store_kit_run_armed(failpoint, export_receipts), QUIPU_IO, "%s", failpoint);
        cr_assert_eq(access(receipts, F_OK), -1, "%s", failpoint);
        office_must_hold(EVENTS, 1, failpoint);
    }
    cr_assert_eq(store_kit_run_armed("none:fail", export_receipts), QUIPU_OK);
    office_must_hold(EVENTS, 2, "receipts are exported");
    cr_assert_eq(count_names(dir.path, ".quipu-export-"), 0u);
    cr_assert_eq(count_spools(), 0u);
    struct store_kit vault;
    struct quipu_receipts_report report;
    struct quipu_error err;
    store_kit_open(&vault, &dir, "vault");
    cr_assert_eq(quipu_receipts_import(vault.engine, receipts, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.added, EVENTS);
    store_kit_close(&vault);
}
