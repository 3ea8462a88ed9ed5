/*
 * Several people sign one bundle: in any order, on different machines, in place or into a new file;
 * and what is no signature of it is not added.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_kit.h"
#include "failing_alloc.h"
#include "quipu/sign_bundle.h"
#include "run.h"
#include "ssh_kit.h"

#define SIGNERS 7 /* one key of each type */

static struct temp_dir dir;
static struct store_kit vault;
static char bundle[PATH_BYTES];
static struct ssh_kit keys[SIGNERS];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "out.car", bundle);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 60, 40);
    store_kit_export(&vault, bundle, NULL);
    for (int i = 0; i < SIGNERS; i++) {
        ssh_kit_init(&keys[i], (enum quipu_ssh_key_type)i);
    }
}

static void tear_down(void)
{
    for (int i = 0; i < SIGNERS; i++) {
        ssh_kit_release(&keys[i]);
    }
    store_kit_close(&vault);
    temp_dir_release(&dir);
}

TestSuite(sign, .init = set_up, .fini = tear_down, .timeout = 300);

static char *at(const char *name, char path[PATH_BYTES])
{
    return temp_dir_join(&dir, name, path);
}

static struct quipu_signing *open_it(const char *path)
{
    struct quipu_signing *signing = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_signing_open(path, &signing, &err), QUIPU_OK, "%s", err.message);
    return signing;
}

/* The signature of key `i` over the bundle that is open, kept where one was made before: some types
 * sign otherwise each time. */
static struct quipu_buf kept[SIGNERS];

static struct quipu_slice signature_of(const struct quipu_signing *signing, int i)
{
    if (kept[i].len == 0) {
        ssh_kit_sign(&keys[i], QUIPU_BUNDLE_NAMESPACE, quipu_signing_manifest(signing), &kept[i]);
    }
    return quipu_buf_slice(&kept[i]);
}

/* Sign `from` with the keys of these digits; to `to`, or in place. */
static void sign(const char *from, const char *digits, const char *to)
{
    struct quipu_error err;
    struct quipu_signing *signing = open_it(from);
    for (const char *digit = digits; *digit != 0; digit++) {
        cr_assert_eq(quipu_signing_add(signing, signature_of(signing, *digit - '0'), &err),
                     QUIPU_OK, "%s", err.message);
    }
    cr_assert_eq(quipu_signing_write(signing, to, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_signing_close(&signing);
}

static bool same_bytes(const char *a, const char *b)
{
    struct quipu_slice left = read_file(a);
    struct quipu_slice right = read_file(b);
    bool is_same = quipu_slice_equal(left, right);
    free_file(&left);
    free_file(&right);
    return is_same;
}

static size_t count_temporaries(void)
{
    return count_names(dir.path, ".quipu-export-");
}

/* ------------------------------------------------------------------ what goes well */

Test(sign, adds_signatures_of_every_type_and_changes_nothing_else)
{
    char all[PATH_BYTES];
    struct quipu_error err;
    struct quipu_bundle_report before;
    struct quipu_bundle_report after;
    struct quipu_signed_report written;
    struct quipu_signing *signing = open_it(bundle);
    cr_assert_eq(quipu_bundle_check(bundle, &before, NULL), QUIPU_OK);
    cr_assert_eq(quipu_signing_count(signing), 1u);
    cr_assert(quipu_signing_at(signing, 0)->is_source);
    cr_assert_null(quipu_signing_at(signing, 1));
    cr_assert_eq(quipu_signing_bundle(signing)->events, 60u);
    for (int i = 0; i < SIGNERS; i++) {
        cr_assert_eq(quipu_signing_add(signing, signature_of(signing, i), &err), QUIPU_OK, "%d: %s",
                     i, err.message);
        cr_assert_eq(quipu_signing_at(signing, (size_t)i + 1)->type, (enum quipu_ssh_key_type)i);
    }
    cr_assert_eq(quipu_signing_write(signing, at("all.car", all), &written, &err), QUIPU_OK, "%s",
                 err.message);
    quipu_signing_close(&signing);

    cr_assert_eq(quipu_bundle_check(all, &after, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(after.signatures, SIGNERS + 1u);
    cr_assert_str_eq(after.signer, before.source);
    cr_assert(quipu_cid_equal(&after.manifest, &before.manifest));
    cr_assert_eq(after.events, before.events);
    cr_assert_eq(after.file_bytes, written.file_bytes);
    cr_assert_arr_eq(after.file_sha256, written.file_sha256, sizeof after.file_sha256);
    for (size_t i = 0; i < after.signatures; i++) {
        cr_assert_eq(after.signers[i].is_source, i == 0, "the source stands first");
    }
    /* Behind the root the bytes are the same. */
    struct quipu_slice old = read_file(bundle);
    struct quipu_slice new = read_file(all);
    size_t more = new.len - old.len;
    cr_assert_eq(memcmp(old.data + 400, new.data + 400 + more, old.len - 400), 0);
    free_file(&old);
    free_file(&new);
    cr_assert_eq(count_temporaries(), 0u);
}

/* Signed in any order, one after another or on copies that are brought together: the same file. */
Test(sign, any_order_gives_the_same_file)
{
    static const char *const orders[] = {"123", "132", "213", "231", "312", "321"};
    char one[PATH_BYTES];
    char next[PATH_BYTES];
    char other[PATH_BYTES];
    size_t added = 0;
    sign(bundle, "123", at("one.car", one));
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        sign(bundle, orders[i], at("next.car", next));
        cr_assert(same_bytes(one, next), "%s", orders[i]);
        cr_assert_eq(remove(next), 0);
        for (size_t digit = 0; digit < 3; digit++) { /* one after another, in place */
            const char alone[] = {orders[i][digit], 0};
            sign(digit == 0 ? bundle : next, alone, digit == 0 ? next : NULL);
        }
        cr_assert(same_bytes(one, next), "%s", orders[i]);
        cr_assert_eq(remove(next), 0);
    }
    sign(bundle, "31", at("next.car", next));
    sign(bundle, "21", at("other.car", other));
    struct quipu_signing *signing = open_it(next);
    cr_assert_eq(quipu_signing_merge(signing, other, &added, NULL), QUIPU_OK);
    cr_assert_eq(added, 1u, "what both have counts once");
    cr_assert_eq(quipu_signing_write(signing, NULL, NULL, NULL), QUIPU_OK);
    quipu_signing_close(&signing);
    cr_assert(same_bytes(one, next));
}

Test(sign, in_place_keeps_the_mode_and_leaves_nothing_beside_it)
{
    struct stat info;
    cr_assert_eq(chmod(bundle, 0640), 0);
    sign(bundle, "0", NULL);
    sign(bundle, "4", NULL);
    cr_assert_eq(stat(bundle, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0640u);
    struct quipu_bundle_report report;
    cr_assert_eq(quipu_bundle_check(bundle, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.signatures, 3u);
    cr_assert_eq(count_temporaries(), 0u);
}

/* A new file of the bundle's own mode, less the umask; never more than that. */
Test(sign, a_copy_is_open_to_nobody_to_whom_the_bundle_is_not)
{
    static const struct {
        mode_t mode;
        mode_t mask;
        mode_t expected;
    } cases[] = {{0600, 0, 0600}, {0400, 0, 0400}, {0666, 0, 0666}, {0664, 022, 0644}};
    char copy[PATH_BYTES];
    struct stat info;
    at("copy.car", copy);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(chmod(bundle, cases[i].mode), 0);
        mode_t before = umask(cases[i].mask);
        sign(bundle, "0", copy);
        (void)umask(before);
        cr_assert_eq(stat(copy, &info), 0);
        cr_assert_eq(info.st_mode & 07777, cases[i].expected, "%zu: %o", i, info.st_mode);
        cr_assert_eq(remove(copy), 0);
    }
}

Test(sign, with_a_key_file)
{
    char path[PATH_BYTES];
    struct quipu_error err;
    struct quipu_key_public made;
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    struct quipu_signing_key *key = NULL;
    struct quipu_bundle_report report;
    cr_assert_eq(quipu_key_make(at("ada.key", path), QUIPU_KEY_SIGNING, &options, &made, &err),
                 QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_OK, "%s", err.message);
    struct quipu_signing *signing = open_it(bundle);
    cr_assert_eq(quipu_signing_sign(signing, key, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_signing_sign(signing, key, &err), QUIPU_EXISTS, "%s", err.message);
    cr_assert_eq(quipu_signing_write(signing, NULL, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_signing_close(&signing);
    quipu_signing_key_free(&key);
    cr_assert_eq(quipu_bundle_check(bundle, &report, NULL), QUIPU_OK);
    cr_assert_str_eq(report.signers[1].name, made.text);
}

/* ------------------------------------------------------------------ what is refused */

static void refuse(struct quipu_signing *signing, struct quipu_slice blob,
                   enum quipu_status expected, const char *words)
{
    struct quipu_error err;
    size_t count = quipu_signing_count(signing);
    cr_assert_eq(quipu_signing_add(signing, blob, &err), expected, "%s: %s", words, err.message);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    cr_assert_eq(quipu_signing_count(signing), count);
}

Test(sign, what_is_no_signature_of_it_is_not_added)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_signing *signing = open_it(bundle);
    for (int i = 0; i < SIGNERS; i++) {
        quipu_buf_reset(&blob);
        ssh_kit_sign(&keys[i], QUIPU_BUNDLE_NAMESPACE, quipu_slice_text("another"), &blob);
        refuse(signing, quipu_buf_slice(&blob), QUIPU_BAD_SIGNATURE, "does not verify");
        quipu_buf_reset(&blob);
        ssh_kit_sign(&keys[i], "git", quipu_signing_manifest(signing), &blob);
        refuse(signing, quipu_buf_slice(&blob), QUIPU_BAD_SIGNATURE, "namespace");
        cr_assert_eq(quipu_signing_add(signing, signature_of(signing, i), NULL), QUIPU_OK);
        quipu_buf_reset(&blob); /* the same key signs anew */
        ssh_kit_sign(&keys[i], QUIPU_BUNDLE_NAMESPACE, quipu_signing_manifest(signing), &blob);
        refuse(signing, quipu_buf_slice(&blob), QUIPU_EXISTS, "each key signs once");
    }
    refuse(signing, quipu_slice_text("nothing"), QUIPU_BAD_SIGNATURE, "not an SSHSIG");
    quipu_buf_release(&blob);
    quipu_signing_close(&signing);
}

Test(sign, sixty_four_signatures_are_the_most)
{
    struct quipu_bundle_report report;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_signing *signing = open_it(bundle);
    for (size_t i = 1; i <= QUIPU_SIGNERS_MAX; i++) {
        struct sign_kit kit;
        sign_kit_init(&kit);
        quipu_buf_reset(&blob);
        sign_kit_sign(&kit, QUIPU_BUNDLE_NAMESPACE, QUIPU_SSHSIG_SHA512,
                      quipu_signing_manifest(signing), &blob);
        if (i < QUIPU_SIGNERS_MAX) {
            cr_assert_eq(quipu_signing_add(signing, quipu_buf_slice(&blob), NULL), QUIPU_OK);
        } else {
            refuse(signing, quipu_buf_slice(&blob), QUIPU_TOO_LARGE, "64");
        }
    }
    cr_assert_eq(quipu_signing_write(signing, NULL, NULL, NULL), QUIPU_OK);
    quipu_signing_close(&signing);
    cr_assert_eq(quipu_bundle_check(bundle, &report, NULL), QUIPU_OK);
    cr_assert_eq(report.signatures, QUIPU_SIGNERS_MAX);
    quipu_buf_release(&blob);
}

static void refuse_open(const char *path, enum quipu_status expected, const char *words)
{
    struct quipu_signing *signing = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_signing_open(path, &signing, &err), expected, "%s: %s", path, err.message);
    cr_assert_not_null(strstr(err.message, words), "%s", err.message);
    cr_assert_null(signing);
}

Test(sign, what_is_wrapped_damaged_or_busy_is_not_signed)
{
    char path[PATH_BYTES];
    struct quipu_export_options options = QUIPU_EXPORT_OPTIONS_INIT;
    struct quipu_age_write_options encryption = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_age_recipient recipient;
    struct quipu_age_secrets *secrets = NULL;
    cr_assert_eq(quipu_age_secrets_new(&secrets, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_generate(secrets, NULL, NULL), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
    encryption.recipients = &recipient;
    encryption.recipient_count = 1;
    options.encryption = &encryption;
    cr_assert_eq(quipu_export(vault.engine, at("out.age", path), &options, NULL, NULL), QUIPU_OK);
    refuse_open(path, QUIPU_INVALID, "sign it before it is encrypted");
    options.encryption = NULL;
    options.volume_bytes = QUIPU_BUNDLE_VOLUME_BYTES_MIN;
    cr_assert_eq(quipu_export(vault.engine, at("volumes", path), &options, NULL, NULL), QUIPU_OK);
    refuse_open(path, QUIPU_INVALID, "before it is split into volumes");
    cr_assert_eq(symlink(bundle, at("link.car", path)), 0);
    refuse_open(path, QUIPU_INVALID, "symbolic link");
    refuse_open(at("nothing.car", path), QUIPU_NOT_FOUND, "nothing.car");

    struct quipu_slice bytes = read_file(bundle);
    write_file(at("cut.car", path), quipu_slice(bytes.data, bytes.len - 1));
    refuse_open(path, QUIPU_CAR_TRUNCATED, "cut.car");
    free_file(&bytes);

    struct quipu_signing *signing = open_it(bundle);
    refuse_open(bundle, QUIPU_BUSY, "another process");
    quipu_signing_close(&signing);
    signing = open_it(bundle);
    quipu_signing_close(&signing);
    quipu_signing_close(&signing);
    quipu_age_secrets_free(&secrets);
}

Test(sign, another_bundle_gives_no_signatures)
{
    char other[PATH_BYTES];
    struct quipu_error err;
    store_kit_append(&vault, 1, 10);
    store_kit_export(&vault, at("other.car", other), NULL);
    struct quipu_signing *signing = open_it(bundle);
    cr_assert_eq(quipu_signing_merge(signing, other, NULL, &err), QUIPU_BUNDLE);
    cr_assert_not_null(strstr(err.message, "another bundle"), "%s", err.message);
    cr_assert_eq(quipu_signing_count(signing), 1u);
    quipu_signing_close(&signing);
}

Test(sign, a_file_that_changed_meanwhile_is_not_replaced)
{
    char other[PATH_BYTES];
    struct quipu_error err;
    struct quipu_signing *signing = open_it(bundle);
    cr_assert_eq(quipu_signing_add(signing, signature_of(signing, 0), NULL), QUIPU_OK);
    write_file(at("other.car", other), quipu_slice_text("mine"));
    cr_assert_eq(rename(other, bundle), 0);
    cr_assert_eq(quipu_signing_write(signing, NULL, NULL, &err), QUIPU_EXISTS, "%s", err.message);
    quipu_signing_close(&signing);
    struct quipu_slice bytes = read_file(bundle);
    cr_assert(quipu_slice_equal(bytes, quipu_slice_text("mine")));
    free_file(&bytes);
    cr_assert_eq(count_temporaries(), 0u);
}

Test(sign, what_is_there_is_not_overwritten)
{
    char other[PATH_BYTES];
    struct quipu_signing *signing = open_it(bundle);
    write_file(at("other.car", other), quipu_slice_text("mine"));
    cr_assert_eq(quipu_signing_write(signing, other, NULL, NULL), QUIPU_EXISTS);
    quipu_signing_close(&signing);
    struct quipu_slice bytes = read_file(other);
    cr_assert(quipu_slice_equal(bytes, quipu_slice_text("mine")));
    free_file(&bytes);
}

/* ------------------------------------------------------------------ killed, failing, out of memory
 */

static enum quipu_status sign_in_place(struct quipu_error *err)
{
    struct quipu_signing *signing = NULL;
    enum quipu_status status = quipu_signing_open(bundle, &signing, err);
    if (status == QUIPU_OK) {
        status = quipu_signing_add(signing, signature_of(signing, 0), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_signing_write(signing, NULL, NULL, err);
    }
    quipu_signing_close(&signing);
    return status;
}

static uint64_t signatures_now(void)
{
    struct quipu_bundle_report report;
    struct quipu_error err;
    cr_assert_eq(quipu_bundle_check(bundle, &report, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(report.events, 60u);
    return report.signatures;
}

Test(sign, killed_or_failing_anywhere_leaves_a_whole_bundle)
{
    static const struct {
        const char *name;
        bool is_behind; /* the new file stands */
    } steps[] = {
        {"airgap.export.create", false}, {"airgap.export.write", false},
        {"airgap.export.sync", false},   {"airgap.sign.check", false},
        {"airgap.export.rename", false}, {"airgap.export.replaced", true},
    };
    char failpoint[64];
    char copy[PATH_BYTES];
    struct quipu_slice bytes = read_file(bundle);
    write_file(at("copy.car", copy), bytes);
    free_file(&bytes);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        static const char *const ways[] = {"kill", "fail"};
        for (int way = 0; way < 2; way++) {
            (void)snprintf(failpoint, sizeof failpoint, "%s:%s", steps[i].name, ways[way]);
            cr_assert_eq(store_kit_run_armed(failpoint, sign_in_place),
                         way == 0 ? -SIGKILL : (int)QUIPU_IO, "%s", failpoint);
            cr_assert_eq(signatures_now(), steps[i].is_behind ? 2u : 1u, "%s", failpoint);
            cr_assert(steps[i].is_behind || same_bytes(bundle, copy), "%s", failpoint);
            cr_assert_eq(count_temporaries(), way == 0 && !steps[i].is_behind ? 1u : 0u, "%s",
                         failpoint);
            bytes = read_file(copy);
            write_file(bundle, bytes);
            free_file(&bytes);
        }
    }
    cr_assert_eq(store_kit_run_armed("none:fail", sign_in_place), QUIPU_OK);
    cr_assert_eq(signatures_now(), 2u);
    cr_assert_eq(count_temporaries(), 0u);
}

/* The mode of the temporary file that a killed run has left. */
static mode_t mode_left(void)
{
    struct stat info;
    mode_t mode = 0;
    DIR *folder = opendir(dir.path);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (strncmp(entry->d_name, ".quipu-export-", 14) == 0) {
            cr_assert_eq(fstatat(dirfd(folder), entry->d_name, &info, AT_SYMLINK_NOFOLLOW), 0);
            mode = info.st_mode;
        }
    }
    cr_assert_eq(closedir(folder), 0);
    cr_assert(S_ISREG(mode), "there is one");
    return mode & 07777;
}

Test(sign, at_no_step_is_the_new_file_open_to_more_than_the_old_one)
{
    static const char *const steps[] = {"airgap.export.create", "airgap.export.write",
                                        "airgap.export.sync", "airgap.sign.check",
                                        "airgap.export.rename"};
    char failpoint[64];
    mode_t before = umask(0);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        (void)snprintf(failpoint, sizeof failpoint, "%s:kill", steps[i]);
        cr_assert_eq(chmod(bundle, 0600), 0);
        cr_assert_eq(store_kit_run_armed(failpoint, sign_in_place), -SIGKILL, "%s", failpoint);
        cr_assert_eq(mode_left(), 0600u, "%s", failpoint);
        cr_assert_eq(chmod(bundle, 0640), 0);
        cr_assert_eq(store_kit_run_armed(failpoint, sign_in_place), -SIGKILL, "%s", failpoint);
        cr_assert_eq(mode_left(), 0640u, "%s", failpoint);
    }
    (void)umask(before);
}

Test(sign, failing_memory_is_told_and_changes_nothing)
{
    char copy[PATH_BYTES];
    size_t failed = 0;
    struct quipu_slice bytes = read_file(bundle);
    write_file(at("copy.car", copy), bytes);
    free_file(&bytes);
    struct quipu_signing *signing = open_it(bundle);
    (void)signature_of(signing, 0);
    quipu_signing_close(&signing);
    for (;; failed++) {
        failing_alloc_arm(failed);
        enum quipu_status status = sign_in_place(NULL);
        failing_alloc_disarm();
        if (status == QUIPU_OK) {
            break;
        }
        cr_assert_eq(status, QUIPU_NO_MEMORY, "allocation %zu: %s", failed,
                     quipu_status_name(status));
        cr_assert(same_bytes(bundle, copy));
        cr_assert_eq(count_temporaries(), 0u);
    }
    cr_assert_gt(failed, 20u);
    cr_assert_eq(signatures_now(), 2u);
}
