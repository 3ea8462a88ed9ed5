/*
 * Import into a copy of the store, in one go or not at all: refused, killed, failing; and each way
 * of importing on a full disk. Bundles and lines alike.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "import_kit.h"
#include "quipu/verify.h"
#include "run.h"

/* ------------------------------------------------------------------ into a copy */

static enum quipu_status import_alone(enum carrier carrier,
                                      const struct quipu_import_options *options,
                                      struct quipu_import_report *report, struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    char store[PATH_BYTES];
    (void)snprintf(store, sizeof store, "%s", office.path);
    enum quipu_status status = open_as(carrier, options, &import, err);
    store_kit_close(&office);
    if (status == QUIPU_OK) {
        status = quipu_import_accept_alone(import, store, report, err);
    }
    quipu_import_close(&import);
    store_kit_open(&office, &dir, "office");
    return status;
}

static bool has_left_over(void)
{
    return count_names(office.path, "create.tmp") > 0 || count_names(office.path, ".quipu") > 0;
}

static void several_slices(enum carrier carrier)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char before[QUIPU_SOURCE_TEXT_BYTES];
    store_kit_append(&vault, 20000, 40);
    export_as(carrier);
    cr_assert_eq(quipu_identity_ensure(office.engine, NULL), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(office.engine, before, NULL), QUIPU_OK);

    options.is_dry_run = true;
    cr_assert_eq(import_alone(carrier, &options, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, 20000u);
    cr_assert_eq(office_events(), 0u);
    options.is_dry_run = false;
    cr_assert_eq(import_alone(carrier, &options, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, 20000u);
    cr_assert_eq(report.operation, 1u);
    must_be_the_same();
    cr_assert_not(has_left_over());
    cr_assert_eq(quipu_verify(office.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(office.engine, source, NULL), QUIPU_OK);
    cr_assert_str_eq(source, before);
    cr_assert_eq(import_alone(carrier, &options, &report, &err), QUIPU_OK);
    cr_assert_eq(report.events.known, 20000u);
    cr_assert_eq(report.was_known, carrier == BUNDLE);
    cr_assert_eq(read_log(&office).count, 2u);
    cr_assert_str_eq(read_log(&office).kind, carrier == LINES ? "import-lines" : "import");
}

Test(import_steps, into_a_copy_in_several_slices)
{
    several_slices(BUNDLE);
}

Test(import_steps, lines_into_a_copy_in_several_slices)
{
    several_slices(LINES);
}

static void needs_the_store_alone(enum carrier carrier)
{
    struct quipu_import *import = NULL;
    struct quipu_error err;
    store_kit_append(&vault, 5, 40);
    export_as(carrier);
    cr_assert_eq(open_as(carrier, NULL, &import, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import_accept_alone(import, office.path, NULL, &err), QUIPU_BUSY, "%s",
                 err.message);
    quipu_import_close(&import);
    cr_assert_eq(office_events(), 0u);
}

Test(import_steps, into_a_copy_needs_the_store_alone)
{
    needs_the_store_alone(BUNDLE);
}

Test(import_steps, lines_into_a_copy_need_the_store_alone)
{
    needs_the_store_alone(LINES);
}

static void refused_copy(enum carrier carrier)
{
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 9000, 40);
    store_kit_append(&office, 7, 40);
    export_as(carrier);
    cr_assert_eq(import_alone(carrier, NULL, &report, &err), QUIPU_FORK, "%s", err.message);
    cr_assert_eq(office_events(), 7u);
    cr_assert_not(has_left_over());
    cr_assert_eq(read_log(&office).count, 0u);
}

Test(import_steps, a_refused_copy_leaves_the_store_untouched)
{
    refused_copy(BUNDLE);
}

Test(import_steps, a_refused_copy_of_lines_leaves_the_store_untouched)
{
    refused_copy(LINES);
}

/* ------------------------------------------------------------------ in little memory */

static enum quipu_status import_within(enum carrier carrier, uint64_t memory_max, bool keeps_forks,
                                       struct quipu_import_report *report, struct quipu_error *err)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import *import = NULL;
    options.keeps_forks = keeps_forks;
    enum quipu_status status = open_as(carrier, &options, &import, err);
    if (status == QUIPU_OK) {
        status = quipu_import_accept_within(import, office.engine, memory_max, report, err);
    }
    quipu_import_close(&import);
    return status;
}

static void refused_at_sight(enum carrier carrier)
{
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 3000, 1000);
    export_as(carrier);
    cr_assert_eq(import_within(carrier, UINT64_C(1) << 20, false, &report, &err), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(err.message, "more than 1 MiB of memory"), "%s", err.message);
    cr_assert_null(strstr(err.message, "event "), "no event was tried: %s", err.message);
    cr_assert_eq(office_events(), 0u);
    cr_assert_eq(read_log(&office).count, 0u);
    cr_assert_eq(import_within(carrier, UINT64_C(16) << 20, false, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 3000u);
    must_be_the_same();
}

Test(import_steps, more_than_memory_allows_is_refused_at_sight_and_taken_where_it_may)
{
    refused_at_sight(BUNDLE);
}

Test(import_steps, more_lines_than_memory_allows_are_refused_at_sight_and_taken_where_they_may)
{
    refused_at_sight(LINES);
}

/* As many events are there as the bundle has, so that each of them might be known: the bound is met
 * on the way. */
static void given_up_on_the_way(enum carrier carrier)
{
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 500, 6000);
    store_kit_append(&office, 500, 10);
    export_as(carrier);
    cr_assert_eq(import_within(carrier, UINT64_C(1) << 20, true, &report, &err), QUIPU_TOO_LARGE);
    cr_assert_not_null(strstr(err.message, "more than 1 MiB of memory"), "%s", err.message);
    cr_assert_eq(office_events(), 500u);
    cr_assert_eq(read_log(&office).count, 0u);
    cr_assert_eq(import_within(carrier, UINT64_C(32) << 20, true, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(office_events(), 1000u);
}

Test(import_steps, more_than_memory_allows_is_given_up_on_the_way)
{
    given_up_on_the_way(BUNDLE);
}

Test(import_steps, more_lines_than_memory_allows_are_given_up_on_the_way)
{
    given_up_on_the_way(LINES);
}

static void known_needs_no_memory(enum carrier carrier)
{
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 3000, 1000);
    export_as(carrier);
    cr_assert_eq(import_as(carrier, NULL, &err), QUIPU_OK, "%s", err.message);
    /* A few new ones beside them change that little. */
    store_kit_append(&vault, 10, 1000);
    export_as(carrier);
    cr_assert_eq(import_within(carrier, UINT64_C(1) << 20, false, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.known, 3000u);
    cr_assert_eq(report.events.added, 10u);
    cr_assert_eq(import_within(carrier, UINT64_C(1) << 16, false, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.known, 3010u);
    must_be_the_same();
}

Test(import_steps, what_is_known_needs_no_memory_and_no_copy)
{
    known_needs_no_memory(BUNDLE);
}

Test(import_steps, lines_that_are_known_need_no_memory_and_no_copy)
{
    known_needs_no_memory(LINES);
}

/* ------------------------------------------------------------------ killed */

static enum carrier killed_carrier;

static enum quipu_status import_in_office(struct quipu_error *err)
{
    store_kit_open(&office, &dir, "office");
    enum quipu_status status = import_alone(killed_carrier, NULL, NULL, err);
    store_kit_close(&office);
    return status;
}

static int run_armed(enum carrier carrier, const char *failpoint)
{
    killed_carrier = carrier;
    store_kit_close(&office);
    int ended = store_kit_run_armed(failpoint, import_in_office);
    store_kit_open(&office, &dir, "office");
    return ended;
}

static void killed_copies(enum carrier carrier)
{
    static const struct {
        const char *name;
        bool is_in; /* afterwards */
    } steps[] = {
        {"store.stage.copy", false},    {"airgap.import.event", false},
        {"airgap.import.slice", false}, {"airgap.import.commit", false},
        {"store.stage.sync", false},    {"store.stage.rename", true},
    };
    struct quipu_error err;
    store_kit_append(&vault, 9000, 10);
    export_as(carrier);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char failpoint[64];
        uint64_t expected = steps[i].is_in ? 9000u : 0u;
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill", steps[i].name);
        cr_assert_eq(run_armed(carrier, failpoint), -SIGKILL, "%s", failpoint);
        cr_assert_eq(office_events(), expected, "%s", failpoint);
        cr_assert_eq(read_log(&office).count, expected / 9000u, "%s", failpoint);
        cr_assert_not(has_left_over(), "%s", failpoint);
        if (!steps[i].is_in) {
            (void)snprintf(failpoint, sizeof failpoint, "%s:fail", steps[i].name);
            cr_assert_eq(run_armed(carrier, failpoint), QUIPU_IO, "%s", failpoint);
            cr_assert_eq(office_events(), 0u, "%s", failpoint);
            cr_assert_not(has_left_over(), "%s", failpoint);
        }
    }
    cr_assert_eq(import_as(carrier, NULL, &err), QUIPU_OK, "%s", err.message);
    must_be_the_same();
}

Test(import_steps, killed_or_failing_copies_are_all_or_nothing)
{
    killed_copies(BUNDLE);
}

Test(import_steps, killed_or_failing_copies_of_lines_are_all_or_nothing)
{
    killed_copies(LINES);
}

/* ------------------------------------------------------------------ full disk */

/* A store on a disk of 4 MB, and a bundle of 6: each way of taking it in says so, and none leaves
 * anything behind. */
static void full_disk(enum carrier carrier)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    char small[PATH_BYTES];
    temp_dir_join(&dir, "small", small);
    cr_assert_eq(mkdir(small, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", small, "tmpfs", 0, "size=4m") != 0) {
        cr_skip_test("skipped: a small tmpfs cannot be mounted here: %s", strerror(errno));
    }
    store_kit_close(&office);
    store_kit_open(&office, &dir, "small/office");
    store_kit_append(&vault, 2000, 3000);
    export_as(carrier);
    struct quipu_slice bytes = read_file(path);
    struct quipu_slice rest = bytes;
    struct quipu_source source = quipu_source_slice(&rest);

    cr_assert_eq(import_as(carrier, NULL, &err), QUIPU_NO_SPACE, "%s", err.message);
    cr_assert_eq(office_events(), 0u);
    options.source = &source;
    cr_assert_eq(import_as(carrier, &options, &err), QUIPU_NO_SPACE, "%s", err.message);
    cr_assert_eq(office_events(), 0u);
    cr_assert_not(has_left_over());

    struct quipu_import *import = NULL;
    char store[PATH_BYTES];
    (void)snprintf(store, sizeof store, "%s", office.path);
    cr_assert_eq(open_as(carrier, NULL, &import, &err), QUIPU_OK);
    store_kit_close(&office);
    cr_assert_eq(quipu_import_accept_alone(import, store, NULL, &err), QUIPU_NO_SPACE, "%s",
                 err.message);
    quipu_import_close(&import);
    store_kit_open(&office, &dir, "small/office");
    cr_assert_eq(office_events(), 0u);
    cr_assert_not(has_left_over());
    cr_assert_eq(read_log(&office).count, 0u);

    cr_assert_eq(mount("tmpfs", small, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    cr_assert_eq(import_as(carrier, NULL, &err), QUIPU_OK, "%s", err.message);
    must_be_the_same();
    free_file(&bytes);
    store_kit_close(&office);
    cr_assert_eq(umount(small), 0);
    store_kit_open(&office, &dir, "office");
}

Test(import_steps, a_full_disk_is_said_and_nothing_is_taken_in)
{
    full_disk(BUNDLE);
}

Test(import_steps, a_full_disk_is_said_and_no_line_is_taken_in)
{
    full_disk(LINES);
}
