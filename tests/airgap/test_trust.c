/*
 * Allowed signers: what ssh-keygen takes from a line is what we take, and what we cannot take is
 * refused by its line.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "quipu/bundle.h"
#include "quipu/clock.h"
#include "quipu/trust.h"
#include "run.h"
#include "ssh_kit.h"
#include "temp_dir.h"

#define PATH_BYTES ((size_t)2 * TEMP_DIR_BYTES)
#define KEY        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAZwHlDnywvmdLZs4JRL6uiWjam0aEeDkIGFpm7I87Vt"
#define OTHER_TYPE "ssh-dss AAAAB3NzaC1kc3MAAAABAQ=="

static const char space[] = QUIPU_BUNDLE_NAMESPACE;

static int64_t at(const char *time)
{
    int64_t us = 0;
    cr_assert_eq(quipu_rfc3339_parse(quipu_slice_text(time), &us), QUIPU_OK);
    return us;
}

static struct quipu_trust *parse(const char *text)
{
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    cr_assert_eq(quipu_trust_parse(quipu_slice_text(text), &trust, &err), QUIPU_OK, "%s: %s", text,
                 err.message);
    return trust;
}

Test(trust, lines_comments_and_other_keys)
{
    struct quipu_trust *trust = parse("# who may\r\n\n  \t\nada,*@office " KEY " Ada's\r\n"
                                      "old " OTHER_TYPE "\n"
                                      "eve namespaces=\"git\",valid-before=\"20300101Z\" " KEY);
    cr_assert_eq(quipu_trust_count(trust), 2u);
    cr_assert_eq(quipu_trust_ignored(trust), 1u);
    const struct quipu_trust_signer *ada = quipu_trust_signer_at(trust, 0);
    const struct quipu_trust_signer *eve = quipu_trust_signer_at(trust, 1);
    cr_assert(quipu_slice_equal(ada->principals, quipu_slice_text("ada,*@office")));
    cr_assert_eq(ada->namespaces.len, 0u);
    cr_assert_eq(ada->line, 4u);
    cr_assert_eq(ada->valid_after_unix_us, INT64_MIN);
    cr_assert_eq(ada->valid_before_unix_us, INT64_MAX);
    cr_assert_eq(eve->line, 6u);
    cr_assert_eq(eve->valid_before_unix_us, at("2030-01-01T00:00:00Z"));
    cr_assert_eq(quipu_trust_find(trust, ada->key, space, 0), ada);
    cr_assert_null(quipu_trust_signer_at(trust, 2));
    quipu_trust_free(&trust);
    cr_assert_null(trust);
    quipu_trust_free(&trust);
}

Test(trust, namespaces_are_patterns)
{
    static const struct {
        const char *list;
        bool is_allowed;
    } cases[] = {
        {"quipu-bundle@v1", true},
        {"quipu-*", true},
        {"*", true},
        {"git,quipu-bundle@v?", true},
        {"git", false},
        {"quipu-bundle@v", false},
        {"quipu-bundle@v1?", false},
        {"*,!quipu-*", false},
        {"!git,*", true},
        {"!git", false},
        {"*b*d*e*v*", true},
        {"*b*d*e*x*", false},
        {"**1", true},
        {"?uipu-bundle@v1*", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        (void)snprintf(line, sizeof line, "ada namespaces=\"%s\" " KEY "\n", cases[i].list);
        struct quipu_trust *trust = parse(line);
        cr_assert_eq(quipu_trust_signer_may(quipu_trust_signer_at(trust, 0), space, 0),
                     cases[i].is_allowed, "%s", line);
        quipu_trust_free(&trust);
    }
}

Test(trust, spans_hold_at_both_ends)
{
    struct quipu_trust *trust =
        parse("ada valid-after=\"20260102Z\",valid-before=\"20260203040506Z\" " KEY "\n");
    const struct quipu_trust_signer *ada = quipu_trust_signer_at(trust, 0);
    cr_assert_not(quipu_trust_signer_may(ada, space, at("2026-01-01T23:59:59.999999Z")));
    cr_assert(quipu_trust_signer_may(ada, space, at("2026-01-02T00:00:00Z")));
    cr_assert(quipu_trust_signer_may(ada, space, at("2026-02-03T04:05:06Z")));
    cr_assert_not(quipu_trust_signer_may(ada, space, at("2026-02-03T04:05:06.000001Z")));
    cr_assert_null(quipu_trust_find(trust, ada->key, space, 0));
    quipu_trust_free(&trust);

    cr_assert_eq(setenv("TZ", "EST5", 1), 0);
    trust = parse("ada valid-after=\"202601020000\" " KEY "\n");
    cr_assert_eq(quipu_trust_signer_at(trust, 0)->valid_after_unix_us, at("2026-01-02T05:00:00Z"));
    quipu_trust_free(&trust);
}

Test(trust, what_is_no_line_is_refused_by_its_number)
{
    static const char *const lines[] = {
        "ada",
        "ada ssh-ed25519",
        "ada cert-authority " KEY,
        "ada namespaces=\"a\",cert-authority " KEY,
        "ada namespaces=a " KEY,
        "ada namespaces=\"a " KEY,
        "ada namespaces=\"\" " KEY,
        "ada namespaces=\"a,,b\" " KEY,
        "ada namespaces=\"!\" " KEY,
        "ada namespaces=\"a\",namespaces=\"b\" " KEY,
        "ada namespaces=\"a\"valid-after=\"20260101\" " KEY,
        "ada namespaces=\"a\", " KEY,
        "ada valid-after=\"20260230Z\" " KEY,
        "ada valid-after=\"2026\" " KEY,
        "ada valid-after=\"2026010a\" " KEY,
        "ada valid-after=\"202601012460Z\" " KEY,
        "ada valid-after=\"19691231Z\" " KEY,
        "ada no-touch-required " KEY,
        "\"ada\" " KEY,
        ",ada " KEY,
        "! " KEY,
        "ada ssh-ed448 AAAA",
        "ada ssh-ed25519 AAAA",
        "ada ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAHwZwHlDnywvmdLZs4JRL6uiWjam0aEeDkIGFpm7I87U=",
        "ada ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAZwHlDnywvmdLZs4JRL6uiWjam0aEeDkIGFpm7I87Vt",
        "ada\x01 " KEY,
        KEY,
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        char text[1024];
        struct quipu_trust *trust = NULL;
        struct quipu_error err;
        (void)snprintf(text, sizeof text, "# first\n%s\nada " KEY "\n", lines[i]);
        cr_assert_eq(quipu_trust_parse(quipu_slice_text(text), &trust, &err), QUIPU_INVALID, "%s",
                     lines[i]);
        cr_assert_not_null(strstr(err.message, "line 2: "), "%s: %s", lines[i], err.message);
        cr_assert_null(trust);
    }
}

/* A line for a key of each type trusts it, and the key as it is in the signature finds its line. */
Test(trust, keys_of_every_type)
{
    for (int type = QUIPU_SSH_KEY_ED25519; type <= QUIPU_SSH_KEY_SK_ECDSA_P256; type++) {
        struct ssh_kit kit;
        struct ssh_kit other;
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_trust *trust = NULL;
        struct quipu_error err;
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_init(&other, (enum quipu_ssh_key_type)type);
        cr_assert_eq(
            quipu_ssh_key_allowed_line("ada", space, quipu_buf_slice(&kit.key), &text, NULL),
            QUIPU_OK);
        cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&text), &trust, &err), QUIPU_OK, "%s",
                     err.message);
        cr_assert_eq(quipu_trust_count(trust), 1u);
        const struct quipu_trust_signer *ada = quipu_trust_signer_at(trust, 0);
        cr_assert_eq(ada->type, (enum quipu_ssh_key_type)type);
        cr_assert_eq(quipu_trust_find(trust, quipu_buf_slice(&kit.key), space, 0), ada);
        cr_assert_null(quipu_trust_find(trust, quipu_buf_slice(&kit.key), "git", 0));
        cr_assert_null(quipu_trust_find(trust, quipu_buf_slice(&other.key), space, 0));
        quipu_trust_free(&trust);

        /* The same key with an option that would let its holder be elsewhere. */
        struct quipu_buf changed = QUIPU_BUF_INIT;
        quipu_buf_append_text(&changed, "ada no-touch-required");
        quipu_buf_append(&changed, text.data + 3, text.len - 3);
        cr_assert_eq(quipu_trust_parse(quipu_buf_slice(&changed), &trust, &err), QUIPU_INVALID);
        cr_assert_not_null(strstr(err.message, "line 1: "), "%s", err.message);
        quipu_buf_release(&changed);
        quipu_buf_release(&text);
        ssh_kit_release(&kit);
        ssh_kit_release(&other);
    }
}

Test(trust, a_key_that_cannot_sign_is_refused_by_its_line)
{
    static const unsigned bits[] = {1024, 2040};
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        struct ssh_kit kit;
        struct quipu_trust *trust = NULL;
        struct quipu_error err;
        char base64[4096];
        char line[4200];
        ssh_kit_init_rsa(&kit, bits[i]);
        (void)sodium_bin2base64(base64, sizeof base64, kit.key.data, kit.key.len,
                                sodium_base64_VARIANT_ORIGINAL);
        (void)snprintf(line, sizeof line, "\nada ssh-rsa %s\n", base64);
        cr_assert_eq(quipu_trust_parse(quipu_slice_text(line), &trust, &err), QUIPU_INVALID);
        cr_assert_not_null(strstr(err.message, "line 2: its RSA key has less than 2048 bits"), "%s",
                           err.message);
        ssh_kit_release(&kit);
    }
}

Test(trust, files)
{
    struct temp_dir dir;
    char path[PATH_BYTES];
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    temp_dir_init(&dir);
    temp_dir_join(&dir, "signers", path);
    cr_assert_eq(quipu_trust_load(path, &trust, NULL), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_trust_load(dir.path, &trust, NULL), QUIPU_INVALID);
    write_file(path, quipu_slice_text("ada " KEY "\n"));
    cr_assert_eq(chmod(path, 0666), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "chmod"), "%s", err.message);
    cr_assert_eq(chmod(path, 0664), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, &err), QUIPU_PERMISSION, "the group too");
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_trust_count(trust), 1u);
    quipu_trust_free(&trust);
    cr_assert_eq(truncate(path, QUIPU_TRUST_BYTES_MAX + 1), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, NULL), QUIPU_TOO_LARGE);
    temp_dir_release(&dir);
}

/* Where others may put a file of their own in its place, it is not trusted; nor where it stands
 * behind a link to such a place. A folder like /tmp lets nobody rename what is another's. */
Test(trust, folder_that_others_may_write_to_is_refused)
{
    static const struct {
        mode_t mode;
        enum quipu_status status;
    } rows[] = {
        {0755, QUIPU_OK},         {0775, QUIPU_PERMISSION}, {0757, QUIPU_PERMISSION},
        {0777, QUIPU_PERMISSION}, {01777, QUIPU_OK},        {0700, QUIPU_OK},
    };
    struct temp_dir dir;
    char open_folder[PATH_BYTES];
    char inner[PATH_BYTES];
    char path[PATH_BYTES];
    char way[PATH_BYTES];
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    temp_dir_init(&dir);
    cr_assert_eq(mkdir(temp_dir_join(&dir, "open", open_folder), 0700), 0);
    cr_assert_eq(mkdir(temp_dir_join(&dir, "open/inner", inner), 0700), 0);
    write_file(temp_dir_join(&dir, "open/inner/signers", path), quipu_slice_text("ada " KEY "\n"));
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(symlink(path, temp_dir_join(&dir, "link", way)), 0);
    const char *const ways[] = {path, way};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(chmod(open_folder, rows[i / 2].mode), 0);
        cr_assert_eq(quipu_trust_load(ways[i % 2], &trust, &err), rows[i / 2].status, "%o: %s",
                     (unsigned)rows[i / 2].mode, err.message);
        cr_assert(rows[i / 2].status == QUIPU_OK || strstr(err.message, "; chmod go-w /") != NULL);
        quipu_trust_free(&trust);
    }
    temp_dir_release(&dir);
}

Test(trust, file_of_another_user_is_refused)
{
    struct temp_dir dir;
    char path[PATH_BYTES];
    struct quipu_trust *trust = NULL;
    struct quipu_error err;
    if (geteuid() != 0) {
        cr_skip_test("skipped: only the superuser gives files away");
    }
    temp_dir_init(&dir);
    write_file(temp_dir_join(&dir, "signers", path), quipu_slice_text("ada " KEY "\n"));
    cr_assert_eq(chmod(path, 0644), 0);
    cr_assert_eq(chown(path, 65534, 65534), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "of user 65534"), "%s", err.message);
    /* That user may: the file is theirs, and what is above it theirs or the superuser's. */
    cr_assert_eq(chmod(dir.path, 0755), 0);
    cr_assert_eq(seteuid(65534), 0);
    enum quipu_status status = quipu_trust_load(path, &trust, &err);
    cr_assert_eq(seteuid(0), 0);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    quipu_trust_free(&trust);
    cr_assert_eq(chown(path, 0, 0), 0);
    cr_assert_eq(chown(dir.path, 65534, 65534), 0);
    cr_assert_eq(quipu_trust_load(path, &trust, &err), QUIPU_PERMISSION, "nor from their folder");
    cr_assert_eq(chown(dir.path, 0, 0), 0);
    temp_dir_release(&dir);
}

/* ------------------------------------------------------------------ the same as ssh-keygen */

static const char *const judged[] = {
    "",
    "namespaces=\"quipu-*\" ",
    "namespaces=\"git,file\" ",
    "namespaces=\"*,!quipu-bundle@v1\" ",
    "namespaces=\"!git,*\" ",
    "valid-after=\"20200101\" ",
    "valid-after=\"21000101\" ",
    "valid-before=\"20200101\" ",
    "valid-after=\"20200101\",valid-before=\"21000101\",namespaces=\"quipu-bundle@v?\" ",
};

Test(trust, ssh_keygen_says_the_same, .timeout = 120)
{
    struct temp_dir dir;
    char key[PATH_BYTES];
    char pub[PATH_BYTES];
    char message[PATH_BYTES];
    char signature[PATH_BYTES];
    char signers[PATH_BYTES];
    char line[1024];
    if (!run_is_there("ssh-keygen")) {
        cr_skip_test("skipped: no ssh-keygen");
    }
    temp_dir_init(&dir);
    temp_dir_join(&dir, "key", key);
    temp_dir_join(&dir, "key.pub", pub);
    temp_dir_join(&dir, "message", message);
    temp_dir_join(&dir, "message.sig", signature);
    temp_dir_join(&dir, "signers", signers);
    write_file(message, quipu_slice_text("all of it"));
    const char *const make[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "",
                                "-C",         "",   "-f", key,       NULL};
    const char *const sign[] = {"ssh-keygen", "-Y", "sign", "-n", space, "-f", key, message, NULL};
    const char *const verify[] = {"ssh-keygen", "-Y", "verify", "-f", signers,   "-I",
                                  "ada",        "-n", space,    "-s", signature, NULL};
    cr_assert_eq(run(make, NULL), 0);
    cr_assert_eq(run(sign, NULL), 0);
    struct quipu_slice text = read_file(pub);
    char spelled[256];
    (void)snprintf(spelled, sizeof spelled, "%.*s", (int)text.len - 1, (const char *)text.data);
    free_file(&text);
    struct quipu_clock clock = quipu_clock_system();
    size_t allowed = 0;
    for (size_t i = 0; i < sizeof judged / sizeof judged[0]; i++) {
        (void)snprintf(line, sizeof line, "ada %s%s of Ada", judged[i], spelled);
        write_file(signers, quipu_slice_text(line));
        struct quipu_trust *trust = parse(line);
        bool may = quipu_trust_signer_may(quipu_trust_signer_at(trust, 0), space,
                                          clock.unix_us(clock.ctx));
        cr_assert_eq(run(verify, message) == 0, may, "%s", line);
        allowed += may;
        quipu_trust_free(&trust);
    }
    cr_assert_eq(allowed, 5u);
    temp_dir_release(&dir);
}
