/*
 * The auditor's folder: what is in it, and that it is whole or not there. That stock tools find
 * what it says is tests/interop/auditor.sh's to show.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bundle_kit.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;
static char bundle[PATH_BYTES];
static char folder[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", bundle);
    temp_dir_join(&dir, "audit", folder);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 60, 40);
    store_kit_export(&vault, bundle, NULL);
}

static void tear_down(void)
{
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(unpack, .init = set_up, .fini = tear_down, .timeout = 120);

static struct quipu_slice file_of(const char *name)
{
    char path[2 * PATH_BYTES];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    return read_file(path);
}

Test(unpack, holds_the_bundle_its_manifest_and_every_event)
{
    struct quipu_bundle_report report;
    struct bundle_kit kit;
    struct quipu_error err;
    size_t lines = 0;
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, folder, &report, &err), QUIPU_OK, "%s",
                 err.message);

    struct quipu_slice original = read_file(bundle);
    struct quipu_slice car = file_of("events.car");
    struct quipu_slice manifest = file_of("manifest.cbor");
    struct quipu_slice events = file_of("events.ndjson");
    bundle_kit_load(&kit, bundle);
    cr_assert(quipu_slice_equal(original, car));
    cr_assert(quipu_slice_equal(manifest, bundle_kit_block(&kit, 1)));
    for (size_t i = 0; i < events.len; i++) {
        lines += events.data[i] == '\n';
    }
    cr_assert_eq(lines, 60u);
    cr_assert_eq(report.events, 60u);
    cr_assert_eq(count_names(dir.path, ""), 3u);
    bundle_kit_release(&kit);
    free_file(&original);
    free_file(&car);
    free_file(&manifest);
    free_file(&events);
}

Test(unpack, what_is_there_is_not_touched_and_what_is_wrong_is_not_unpacked)
{
    struct quipu_bundle_check_options options = QUIPU_BUNDLE_CHECK_OPTIONS_INIT;
    const char *const trusted[] = {"UBAD"};
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, vault.path, NULL, NULL), QUIPU_EXISTS);
    options.trusted = trusted;
    options.trusted_count = 1;
    cr_assert_eq(quipu_bundle_unpack(bundle, &options, folder, NULL, NULL), QUIPU_INVALID);
    struct quipu_slice file = read_file(bundle);
    write_file(bundle, quipu_slice(file.data, file.len - 1));
    cr_assert_eq(quipu_bundle_unpack(bundle, NULL, folder, NULL, NULL), QUIPU_CAR_TRUNCATED);
    free_file(&file);
    cr_assert_eq(count_names(dir.path, ""), 2u);
}

static enum quipu_status unpack(struct quipu_error *err)
{
    return quipu_bundle_unpack(bundle, NULL, folder, NULL, err);
}

Test(unpack, a_failure_at_any_step_leaves_no_folder)
{
    static const char *const points[] = {"airgap.export.create:fail", "airgap.export.rename:fail"};
    char failpoint[64];
    size_t syncs = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        cr_assert_eq(store_kit_run_armed(points[i], unpack), QUIPU_IO, "%s", points[i]);
        cr_assert_eq(count_names(dir.path, ""), 2u, "%s", points[i]);
    }
    for (;; syncs++) {
        (void)snprintf(failpoint, sizeof failpoint, "airgap.export.sync:fail:%zu", syncs + 1);
        if (store_kit_run_armed(failpoint, unpack) == QUIPU_OK) {
            break;
        }
        cr_assert_eq(count_names(dir.path, ""), 2u, "%s", failpoint);
    }
    cr_assert_eq(syncs, 11u, "each of its files is synced");
    cr_assert_eq(count_names(dir.path, ""), 3u);
}
