/*
 * Import in steps: from a pipe, encrypted, compared first, into a copy; bundles in their order; and
 * what the operations log says of them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "quipu/operations.h"
#include "quipu/verify.h"
#include "run.h"

static struct temp_dir dir;
static struct store_kit vault;
static struct store_kit office;
static char path[PATH_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_open(&office, &dir, "office");
}

static void tear_down(void)
{
    store_kit_close(&vault);
    store_kit_close(&office);
    temp_dir_release(&dir);
}

TestSuite(import_steps, .init = set_up, .fini = tear_down, .timeout = 300);

static void must_be_the_same(void)
{
    uint8_t ours[QUIPU_SHA256_BYTES];
    uint8_t theirs[QUIPU_SHA256_BYTES];
    cr_assert_eq(store_kit_digest(&vault, ours), store_kit_digest(&office, theirs));
    cr_assert_arr_eq(ours, theirs, sizeof ours);
}

static uint64_t office_events(void)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    return store_kit_digest(&office, digest);
}

/* ------------------------------------------------------------------ where it comes from */

Test(import_steps, from_a_source_that_is_read_once)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 200, 900);
    store_kit_export(&vault, path, NULL);
    struct quipu_slice bytes = read_file(path);
    struct quipu_slice rest = bytes;
    struct quipu_source source = quipu_source_slice(&rest);
    options.source = &source;

    cr_assert_eq(quipu_import(office.engine, "standard input", &options, &report, &err), QUIPU_OK,
                 "%s", err.message);
    cr_assert_eq(report.events.added, 200u);
    cr_assert_not(report.bundle.was_encrypted);
    must_be_the_same();

    rest = quipu_slice(bytes.data, bytes.len - 1);
    cr_assert_eq(quipu_import(office.engine, "standard input", &options, NULL, &err),
                 QUIPU_CAR_TRUNCATED);
    cr_assert_not_null(strstr(err.message, "standard input"), "%s", err.message);
    free_file(&bytes);
}

static enum quipu_status read_badly(void *ctx, void *into, size_t cap, size_t *got,
                                    struct quipu_error *err)
{
    (void)ctx;
    (void)into;
    (void)cap;
    (void)got;
    return quipu_error_set(err, QUIPU_IO, "the stick is gone");
}

Test(import_steps, a_source_that_fails_says_so)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_source source = {read_badly, NULL};
    struct quipu_error err;
    options.source = &source;
    cr_assert_eq(quipu_import(office.engine, "the stick", &options, NULL, &err), QUIPU_IO);
    cr_assert_not_null(strstr(err.message, "the stick is gone"), "%s", err.message);
}

static void encrypt(struct quipu_age_secrets *secrets, enum quipu_age_form form,
                    uint64_t volume_bytes)
{
    struct quipu_age_recipient recipient;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    encryption.form = form;
    options.encryption = &encryption;
    options.volume_bytes = volume_bytes;
    cr_assert_eq(quipu_export(vault.engine, path, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

static void import_encrypted(enum quipu_age_form form, uint64_t volume_bytes)
{
    struct quipu_age_secrets *ours = NULL;
    struct quipu_age_secrets *theirs = NULL;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    cr_assert_eq(quipu_age_secrets_new(&ours, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_new(&theirs, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(ours, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(theirs, NULL, NULL), QUIPU_OK);
    store_kit_append(&vault, 200, 900);
    encrypt(ours, form, volume_bytes);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_AGE_NO_MATCH);
    cr_assert_not_null(strstr(err.message, "encrypted"), "%s", err.message);
    options.secrets = theirs;
    cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), QUIPU_AGE_NO_MATCH);
    cr_assert_eq(office_events(), 0u);
    options.secrets = ours;
    cr_assert_eq(quipu_import(office.engine, path, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.events.added, 200u);
    cr_assert(report.bundle.was_encrypted);
    must_be_the_same();
    quipu_age_secrets_free(&ours);
    quipu_age_secrets_free(&theirs);
}

Test(import_steps, encrypted)
{
    import_encrypted(QUIPU_AGE_BINARY, 0);
}

Test(import_steps, encrypted_in_armor)
{
    import_encrypted(QUIPU_AGE_ARMORED, 0);
}

Test(import_steps, encrypted_in_volumes)
{
    import_encrypted(QUIPU_AGE_BINARY, QUIPU_BUNDLE_VOLUME_BYTES_MIN);
}

Test(import_steps, every_cut_of_an_encrypted_bundle_is_refused)
{
    struct quipu_age_secrets *ours = NULL;
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    cr_assert_eq(quipu_age_secrets_new(&ours, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(ours, NULL, NULL), QUIPU_OK);
    store_kit_append(&vault, 5, 10);
    encrypt(ours, QUIPU_AGE_BINARY, 0);
    struct quipu_slice bytes = read_file(path);
    options.secrets = ours;
    for (size_t len = 0; len < bytes.len; len += len < 200 ? 1 : 37) {
        struct quipu_slice rest = quipu_slice(bytes.data, len);
        struct quipu_source source = quipu_source_slice(&rest);
        options.source = &source;
        cr_assert_neq(quipu_import(office.engine, "cut", &options, NULL, NULL), QUIPU_OK, "%zu",
                      len);
    }
    cr_assert_eq(office_events(), 0u);
    free_file(&bytes);
    quipu_age_secrets_free(&ours);
}

/* ------------------------------------------------------------------ whom one trusts */

Test(import_steps, allowed_signers_decide)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_trust *trust = NULL;
    struct quipu_buf line = QUIPU_BUF_INIT;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    store_kit_append(&vault, 3, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_identity_source(vault.engine, source, NULL), QUIPU_OK);
    cr_assert_eq(quipu_source_public_key(quipu_slice_text(source), key, NULL), QUIPU_OK);
    static const struct {
        const char *space;
        bool is_stranger;
        enum quipu_status expected;
    } cases[] = {
        {"git", false, QUIPU_UNTRUSTED},
        {QUIPU_BUNDLE_NAMESPACE, true, QUIPU_UNTRUSTED},
        {QUIPU_BUNDLE_NAMESPACE, false, QUIPU_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t named[QUIPU_PUBLIC_KEY_BYTES];
        memcpy(named, key, sizeof named);
        named[3] ^= cases[i].is_stranger;
        quipu_buf_reset(&line);
        cr_assert_eq(quipu_ssh_allowed_signers_line("vault", cases[i].space, named, &line, NULL),
                     QUIPU_OK);
        cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&line), &trust, &err), QUIPU_OK, "%s",
                     err.message);
        options.trust = trust;
        cr_assert_eq(quipu_import(office.engine, path, &options, NULL, &err), cases[i].expected,
                     "%zu: %s", i, err.message);
        cr_assert_eq(office_events(), cases[i].expected == QUIPU_OK ? 3u : 0u);
        quipu_trust_free(&trust);
    }
    quipu_buf_release(&line);
}

/* ------------------------------------------------------------------ compared first */

struct seen {
    uint64_t rows[2];
    uint64_t added[2];
    uint64_t known[2];
    uint64_t conflicting[2];
    bool has_root_3;
};

static enum quipu_status note_row(void *ctx, const struct quipu_import_row *row,
                                  struct quipu_error *err)
{
    struct seen *seen = ctx;
    (void)err;
    seen->rows[row->kind]++;
    seen->added[row->kind] += row->added;
    seen->known[row->kind] += row->known;
    seen->conflicting[row->kind] += row->conflicting;
    seen->has_root_3 =
        seen->has_root_3 || quipu_slice_equal(row->name, quipu_slice_text("key/root-3"));
    return QUIPU_OK;
}

Test(import_steps, comparison_counts_by_type_and_aggregate)
{
    struct quipu_import *import = NULL;
    struct quipu_import_diff diff;
    struct seen seen = {.has_root_3 = false};
    struct quipu_error err;
    store_kit_append(&vault, 70, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, NULL), QUIPU_OK);
    store_kit_append(&office, 7, 10); /* one more of each key here … */
    store_kit_append(&vault, 14, 10); /* … and two of each there */
    cr_assert_eq(remove(path), 0);
    store_kit_export(&vault, path, NULL);

    cr_assert_eq(quipu_import_open(office.engine, path, NULL, &import, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_import_bundle(import)->events, 84u);
    cr_assert_eq(quipu_import_compare(import, office.engine, note_row, &seen, &diff, &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(diff.added, 7u);
    cr_assert_eq(diff.known, 70u);
    cr_assert_eq(diff.conflicting, 7u);
    cr_assert_eq(diff.missing, 0u);
    cr_assert_not(diff.was_known);
    cr_assert_eq(seen.rows[QUIPU_IMPORT_BY_TYPE], 3u);
    cr_assert_eq(seen.rows[QUIPU_IMPORT_BY_AGGREGATE], 7u);
    for (size_t kind = 0; kind < 2; kind++) {
        cr_assert_eq(seen.added[kind], 7u);
        cr_assert_eq(seen.known[kind], 70u);
        cr_assert_eq(seen.conflicting[kind], 7u);
    }
    cr_assert(seen.has_root_3);
    cr_assert_eq(quipu_import_accept(import, office.engine, NULL, &err), QUIPU_FORK);
    quipu_import_close(&import);
    cr_assert_eq(office_events(), 77u);
}

/* ------------------------------------------------------------------ in their order */

static void export_to(const char *name, uint64_t events, char out[PATH_BYTES])
{
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_error err;
    temp_dir_join(&dir, name, out);
    options.from = QUIPU_EXPORT_SINCE_LAST;
    store_kit_append(&vault, (size_t)events, 10);
    cr_assert_eq(quipu_export(vault.engine, out, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
}

struct logged {
    uint64_t count;
    uint64_t missing;
    uint64_t added;
    char kind[QUIPU_OPERATION_KIND_BYTES_MAX + 1];
    char reason[64];
    char operator_name[64];
};

static enum quipu_status note_operation(void *ctx, const struct quipu_operation *operation,
                                        struct quipu_error *err)
{
    struct logged *logged = ctx;
    (void)err;
    cr_assert_eq(operation->number, ++logged->count);
    logged->missing = operation->missing;
    logged->added = operation->added;
    (void)snprintf(logged->kind, sizeof logged->kind, "%.*s", QUIPU_SLICE_FMT(operation->kind));
    (void)snprintf(logged->reason, sizeof logged->reason, "%.*s",
                   QUIPU_SLICE_FMT(operation->reason));
    (void)snprintf(logged->operator_name, sizeof logged->operator_name, "%.*s",
                   QUIPU_SLICE_FMT(operation->operator_name));
    return QUIPU_OK;
}

static struct logged read_log(struct store_kit *kit)
{
    struct logged logged = {0};
    struct quipu_error err;
    cr_assert_eq(quipu_each_operation(kit->engine, 0, note_operation, &logged, &err), QUIPU_OK,
                 "%s", err.message);
    return logged;
}

Test(import_steps, a_missing_bundle_is_accepted_by_reason_only_and_may_come_later)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char third[PATH_BYTES];
    export_to("1.car", 7, first);
    export_to("2.car", 0 + 7, second);
    export_to("3.car", 7, third);

    cr_assert_eq(quipu_import(office.engine, first, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_import(office.engine, third, NULL, NULL, &err), QUIPU_GAP);
    cr_assert_not_null(strstr(err.message, "bundle 2 of source"), "%s", err.message);
    options.accept_gap = "the stick broke";
    options.operator_name = "Ada";
    cr_assert_eq(quipu_import(office.engine, third, &options, NULL, &err), QUIPU_GAP,
                 "its events follow those that are missing: %s", err.message);
    cr_assert_eq(office_events(), 7u);
    cr_assert_eq(quipu_import(office.engine, second, &options, &report, &err), QUIPU_OK);
    cr_assert_eq(report.missing, 0u);
    cr_assert_eq(quipu_import(office.engine, third, &options, &report, &err), QUIPU_OK);
    must_be_the_same();
    struct logged logged = read_log(&office);
    cr_assert_eq(logged.count, 3u);
    cr_assert_str_eq(logged.kind, "import");
    cr_assert_str_eq(logged.operator_name, "Ada");
    cr_assert_str_eq(logged.reason, "");
    cr_assert_eq(logged.added, 7u);
}

/* A bundle of events that need no others: each key's first one. */
Test(import_steps, an_accepted_gap_is_recorded_and_filled)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_export_options again = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char third[PATH_BYTES];
    export_to("1.car", 7, first);
    temp_dir_join(&dir, "2.car", second);
    temp_dir_join(&dir, "3.car", third);
    cr_assert_eq(quipu_export(vault.engine, second, &again, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_export(vault.engine, third, &again, NULL, NULL), QUIPU_OK);

    cr_assert_eq(quipu_import(office.engine, third, NULL, NULL, &err), QUIPU_GAP);
    cr_assert_not_null(strstr(err.message, "bundles 1 to 2 of source"), "%s", err.message);
    options.accept_gap = "the stick broke";
    cr_assert_eq(quipu_import(office.engine, third, &options, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(report.missing, 2u);
    struct logged logged = read_log(&office);
    cr_assert_eq(logged.missing, 2u);
    cr_assert_str_eq(logged.reason, "the stick broke");

    cr_assert_eq(quipu_import(office.engine, second, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_eq(quipu_import(office.engine, first, NULL, &report, &err), QUIPU_OK, "%s",
                 err.message);
    cr_assert_not(report.was_known);
    cr_assert_eq(report.operation, 3u);
    cr_assert_eq(quipu_import(office.engine, second, NULL, &report, &err), QUIPU_OK);
    cr_assert(report.was_known, "an old bundle, played again");
    cr_assert_eq(report.events.added, 0u);
    must_be_the_same();
}

Test(import_steps, a_source_that_was_rolled_back_is_seen)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_error err;
    char backup[PATH_BYTES];
    char command[4 * PATH_BYTES];
    char first[PATH_BYTES];
    char second[PATH_BYTES];
    char forged[PATH_BYTES];
    export_to("1.car", 7, first);
    store_kit_close(&vault);
    temp_dir_join(&dir, "backup", backup);
    (void)snprintf(command, sizeof command, "cp -r '%s/vault' '%s'", dir.path, backup);
    cr_assert_eq(system(command), 0);
    store_kit_open(&vault, &dir, "vault");
    export_to("2.car", 7, second);
    store_kit_close(&vault);
    store_kit_open(&vault, &dir, "backup");
    export_to("forged.car", 14, forged);

    cr_assert_eq(quipu_import(office.engine, first, NULL, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import(office.engine, second, NULL, NULL, NULL), QUIPU_OK);
    options.accept_gap = "does not help";
    options.keeps_forks = true;
    cr_assert_eq(quipu_import(office.engine, forged, &options, NULL, &err), QUIPU_FORK);
    cr_assert_not_null(strstr(err.message, "number 2"), "%s", err.message);
    cr_assert_eq(office_events(), 14u);
}

/* ------------------------------------------------------------------ into a copy */

static enum quipu_status import_alone(const struct quipu_import_options *options,
                                      struct quipu_import_report *report, struct quipu_error *err)
{
    struct quipu_import *import = NULL;
    char store[PATH_BYTES];
    (void)snprintf(store, sizeof store, "%s", office.path);
    enum quipu_status status = quipu_import_open(office.engine, path, options, &import, err);
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
    char store[PATH_BYTES];
    bool has = false;
    (void)snprintf(store, sizeof store, "%s", office.path);
    DIR *folder = opendir(store);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        has = has || strcmp(entry->d_name, "create.tmp") == 0 ||
              strncmp(entry->d_name, ".quipu", 6) == 0;
    }
    closedir(folder);
    return has;
}

Test(import_steps, into_a_copy_in_several_slices)
{
    struct quipu_import_options options = QUIPU_IMPORT_OPTIONS_INIT;
    struct quipu_import_report report;
    struct quipu_error err;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    char before[QUIPU_SOURCE_TEXT_BYTES];
    store_kit_append(&vault, 20000, 40);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_identity_ensure(office.engine, NULL), QUIPU_OK);
    cr_assert_eq(quipu_identity_source(office.engine, before, NULL), QUIPU_OK);

    options.is_dry_run = true;
    cr_assert_eq(import_alone(&options, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, 20000u);
    cr_assert_eq(office_events(), 0u);
    options.is_dry_run = false;
    cr_assert_eq(import_alone(&options, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events.added, 20000u);
    cr_assert_eq(report.operation, 1u);
    must_be_the_same();
    cr_assert_not(has_left_over());
    cr_assert_eq(quipu_verify(office.engine, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(office.engine, source, NULL), QUIPU_OK);
    cr_assert_str_eq(source, before);
    cr_assert_eq(import_alone(&options, &report, &err), QUIPU_OK);
    cr_assert_eq(report.events.known, 20000u);
    cr_assert(report.was_known);
    cr_assert_eq(read_log(&office).count, 2u);
}

Test(import_steps, into_a_copy_needs_the_store_alone)
{
    struct quipu_import *import = NULL;
    struct quipu_error err;
    store_kit_append(&vault, 5, 40);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_import_open(office.engine, path, NULL, &import, NULL), QUIPU_OK);
    cr_assert_eq(quipu_import_accept_alone(import, office.path, NULL, &err), QUIPU_BUSY, "%s",
                 err.message);
    quipu_import_close(&import);
    cr_assert_eq(office_events(), 0u);
}

Test(import_steps, a_refused_copy_leaves_the_store_untouched)
{
    struct quipu_import_report report;
    struct quipu_error err;
    store_kit_append(&vault, 9000, 40);
    store_kit_append(&office, 7, 40);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(import_alone(NULL, &report, &err), QUIPU_FORK, "%s", err.message);
    cr_assert_eq(office_events(), 7u);
    cr_assert_not(has_left_over());
    cr_assert_eq(read_log(&office).count, 0u);
}

/* ------------------------------------------------------------------ killed */

/* In a process of its own; how it ended: a status, or -signal. */
static int run_armed(const char *failpoint)
{
    int state = 0;
    store_kit_close(&office);
    (void)fflush(NULL);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct quipu_error err;
        setenv("QUIPU_FAILPOINT", failpoint, 1);
        store_kit_open(&office, &dir, "office");
        enum quipu_status status = import_alone(NULL, NULL, &err);
        store_kit_close(&office);
        _exit((int)status);
    }
    cr_assert_eq(waitpid(child, &state, 0), child);
    store_kit_open(&office, &dir, "office");
    return WIFSIGNALED(state) ? -WTERMSIG(state) : WEXITSTATUS(state);
}

Test(import_steps, killed_or_failing_copies_are_all_or_nothing)
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
    store_kit_export(&vault, path, NULL);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        char failpoint[64];
        uint64_t expected = steps[i].is_in ? 9000u : 0u;
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill", steps[i].name);
        cr_assert_eq(run_armed(failpoint), -SIGKILL, "%s", failpoint);
        cr_assert_eq(office_events(), expected, "%s", failpoint);
        cr_assert_eq(read_log(&office).count, expected / 9000u, "%s", failpoint);
        cr_assert_not(has_left_over(), "%s", failpoint);
        if (!steps[i].is_in) {
            (void)snprintf(failpoint, sizeof failpoint, "%s:fail", steps[i].name);
            cr_assert_eq(run_armed(failpoint), QUIPU_IO, "%s", failpoint);
            cr_assert_eq(office_events(), 0u, "%s", failpoint);
            cr_assert_not(has_left_over(), "%s", failpoint);
        }
    }
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    must_be_the_same();
}

/* ------------------------------------------------------------------ full disk */

/* A store on a disk of 4 MB, and a bundle of 6: each way of taking it in says so, and none leaves
 * anything behind. */
Test(import_steps, a_full_disk_is_said_and_nothing_is_taken_in)
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
    store_kit_export(&vault, path, NULL);
    struct quipu_slice bytes = read_file(path);
    struct quipu_slice rest = bytes;
    struct quipu_source source = quipu_source_slice(&rest);

    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_NO_SPACE, "%s",
                 err.message);
    cr_assert_eq(office_events(), 0u);
    options.source = &source;
    cr_assert_eq(quipu_import(office.engine, "a pipe", &options, NULL, &err), QUIPU_NO_SPACE, "%s",
                 err.message);
    cr_assert_eq(office_events(), 0u);
    cr_assert_not(has_left_over());

    struct quipu_import *import = NULL;
    char store[PATH_BYTES];
    (void)snprintf(store, sizeof store, "%s", office.path);
    cr_assert_eq(quipu_import_open(office.engine, path, NULL, &import, &err), QUIPU_OK);
    store_kit_close(&office);
    cr_assert_eq(quipu_import_accept_alone(import, store, NULL, &err), QUIPU_NO_SPACE, "%s",
                 err.message);
    quipu_import_close(&import);
    store_kit_open(&office, &dir, "small/office");
    cr_assert_eq(office_events(), 0u);
    cr_assert_not(has_left_over());
    cr_assert_eq(read_log(&office).count, 0u);

    cr_assert_eq(mount("tmpfs", small, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    cr_assert_eq(quipu_import(office.engine, path, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    must_be_the_same();
    free_file(&bytes);
    store_kit_close(&office);
    cr_assert_eq(umount(small), 0);
    store_kit_open(&office, &dir, "office");
}
