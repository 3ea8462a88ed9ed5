/*
 * Export and import killed, or made to fail, at each of their steps: nothing half done, and the
 * next run is not in anyone's way.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "run.h"

#define EVENTS 80

static struct temp_dir dir;
static char path[PATH_BYTES];

static void fill_vault(void)
{
    struct store_kit vault;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, EVENTS, 16000); /* so that writing takes several steps */
    store_kit_close(&vault);
}

static void remove_all(void)
{
    temp_dir_release(&dir);
}

TestSuite(crash, .init = fill_vault, .fini = remove_all, .timeout = 300);

static size_t count_temporaries(void)
{
    return count_names(dir.path, ".quipu-export-");
}

static enum quipu_status export_vault(struct quipu_error *err)
{
    struct store_kit vault;
    store_kit_open(&vault, &dir, "vault");
    enum quipu_status status = quipu_export(vault.engine, path, NULL, NULL, err);
    store_kit_close(&vault);
    return status;
}

static enum quipu_status import_office(struct quipu_error *err)
{
    struct store_kit office;
    store_kit_open(&office, &dir, "office");
    enum quipu_status status = quipu_import(office.engine, path, NULL, NULL, err);
    store_kit_close(&office);
    return status;
}

static uint64_t office_events(void)
{
    struct store_kit office;
    uint8_t digest[QUIPU_SHA256_BYTES];
    store_kit_open(&office, &dir, "office");
    uint64_t events = store_kit_digest(&office, digest);
    store_kit_close(&office);
    return events;
}

static const struct {
    const char *name;
    bool is_file_there; /* after a kill */
    bool takes_number;  /* the same */
} steps[] = {
    {"airgap.export.create", false, false},  {"airgap.export.write", false, false},
    {"airgap.export.sync", false, false},    {"airgap.export.check", false, false},
    {"airgap.export.reserve", false, false}, {"airgap.export.rename", false, true},
    {"airgap.export.record", true, true},
};

static void export_again(uint64_t number)
{
    struct store_kit vault;
    struct quipu_export_report report;
    store_kit_open(&vault, &dir, "vault");
    store_kit_export(&vault, path, &report);
    cr_assert_eq(report.events, EVENTS);
    cr_assert_eq(report.number, number);
    store_kit_close(&vault);
}

Test(crash, killed_export_leaves_no_half_file_and_blocks_nobody)
{
    char failpoint[64];
    size_t leftovers = 0;
    uint64_t taken = 0;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        for (int nth = 1; nth <= 3; nth++) {
            (void)snprintf(failpoint, sizeof failpoint, "%s:kill:%d", steps[i].name, nth);
            int ended = store_kit_run_armed(failpoint, export_vault);
            if (ended == QUIPU_OK) {
                cr_assert_gt(nth, 1, "%s is reached", failpoint);
                cr_assert_eq(remove(path), 0);
                taken++;
                break;
            }
            cr_assert_eq(ended, -SIGKILL, "%s: %d", failpoint, ended);
            taken += steps[i].takes_number;
            cr_assert_eq(access(path, F_OK) == 0, steps[i].is_file_there, "%s", failpoint);
            if (steps[i].is_file_there) {
                cr_assert_eq(quipu_bundle_check(path, NULL, NULL), QUIPU_OK);
                cr_assert_eq(remove(path), 0);
            } else {
                leftovers++;
            }
            /* Its own; the one before it is removed. */
            cr_assert_eq(count_temporaries(), steps[i].is_file_there ? 0u : 1u, "%s", failpoint);
        }
    }
    cr_assert_gt(leftovers, 5u);
    export_again(taken + 1);
    cr_assert_eq(count_temporaries(), 0u);
}

static enum quipu_status export_volumes(struct quipu_error *err)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct store_kit vault;
    store_kit_open(&vault, &dir, "vault");
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN;
    enum quipu_status status = quipu_export(vault.engine, path, &options, NULL, err);
    store_kit_close(&vault);
    return status;
}

Test(crash, killed_export_in_volumes_leaves_no_folder)
{
    static const char *const points[] = {"airgap.export.create", "airgap.export.write",
                                         "airgap.export.sync",   "airgap.export.check",
                                         "airgap.export.rename", "airgap.export.reserve"};
    char failpoint[64];
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill:1", points[i]);
        cr_assert_eq(store_kit_run_armed(failpoint, export_volumes), -SIGKILL, "%s", failpoint);
        cr_assert_eq(access(path, F_OK), -1, "%s", failpoint);
        cr_assert_eq(count_temporaries(), 1u, "%s", failpoint);
        (void)snprintf(failpoint, sizeof failpoint, "%s:fail:1", points[i]);
        cr_assert_eq(store_kit_run_armed(failpoint, export_volumes), QUIPU_IO, "%s", failpoint);
        cr_assert_eq(access(path, F_OK), -1, "%s", failpoint);
        cr_assert_eq(count_temporaries(), 0u, "also what the killed one left: %s", failpoint);
    }
    cr_assert_eq(store_kit_run_armed("none:fail", export_volumes), QUIPU_OK);
    cr_assert_eq(quipu_bundle_check(path, NULL, NULL), QUIPU_OK);
}

/* A file that got its name before the kill may be anywhere by now: its number is spent, its events
 * come again. */
Test(crash, number_of_an_interrupted_bundle_is_not_used_again)
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_export_report next;
    struct quipu_bundle_report seen;
    struct quipu_bundle_report after;
    struct store_kit vault;
    struct quipu_error err;
    char second[PATH_BYTES];
    temp_dir_join(&dir, "second.car", second);
    cr_assert_eq(store_kit_run_armed("airgap.export.record:kill", export_vault), -SIGKILL);
    cr_assert_eq(quipu_bundle_check(path, &seen, NULL), QUIPU_OK);

    store_kit_open(&vault, &dir, "vault");
    options.from = QUIPU_EXPORT_SINCE_LAST;
    cr_assert_eq(quipu_export(vault.engine, second, &options, &next, &err), QUIPU_OK, "%s",
                 err.message);
    store_kit_close(&vault);

    cr_assert_eq(seen.number, 1u);
    cr_assert_eq(next.number, 2u);
    cr_assert(next.was_interrupted);
    cr_assert_eq(next.events, EVENTS, "what may be lost is exported once more");
    cr_assert_eq(quipu_bundle_check(second, &after, NULL), QUIPU_OK);
    struct quipu_bundle_place place = quipu_bundle_place_of(&seen);
    cr_assert_eq(quipu_bundle_follows(&place, &after, &err), QUIPU_OK, "%s", err.message);
}

Test(crash, failed_export_leaves_nothing_at_all)
{
    char failpoint[64];
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:fail", steps[i].name);
        cr_assert_eq(store_kit_run_armed(failpoint, export_vault), QUIPU_IO, "%s", failpoint);
        cr_assert_eq(access(path, F_OK), -1, "%s", failpoint);
        cr_assert_eq(count_temporaries(), 0u, "%s", failpoint);
    }
    export_again(1);
}

Test(crash, killed_import_takes_in_nothing)
{
    static const char *const kills[] = {"airgap.import.event:kill:1", "airgap.import.event:kill:2",
                                        "airgap.import.event:kill:80", "airgap.import.commit:kill"};
    export_again(1);
    for (size_t i = 0; i < sizeof kills / sizeof kills[0]; i++) {
        cr_assert_eq(store_kit_run_armed(kills[i], import_office), -SIGKILL, "%s", kills[i]);
        cr_assert_eq(office_events(), 0u, "%s", kills[i]);
    }
    cr_assert_eq(store_kit_run_armed("airgap.import.event:fail:40", import_office), QUIPU_IO);
    cr_assert_eq(office_events(), 0u);
    cr_assert_eq(store_kit_run_armed("none:fail", import_office), QUIPU_OK);
    cr_assert_eq(office_events(), EVENTS);
}
