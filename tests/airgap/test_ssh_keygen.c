/*
 * The real ssh-keygen checks our signatures, and we check those it makes. Skipped, with exit code
 * 77, where there is no ssh-keygen.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "bundle_kit.h"
#include "run.h"
#include "ssh_kit.h"

#define NAME_SPACE "quipu-bundle@v1"
#define PRINCIPAL  "vault-7"

static struct temp_dir dir;
static char message_path[2 * TEMP_DIR_BYTES];
static char signature_path[2 * TEMP_DIR_BYTES];
static char signers_path[2 * TEMP_DIR_BYTES];

static void set_up(void)
{
    temp_dir_init(&dir);
    temp_dir_join(&dir, "manifest", message_path);
    temp_dir_join(&dir, "manifest.sig", signature_path);
    temp_dir_join(&dir, "allowed_signers", signers_path);
    write_file(message_path, quipu_slice_text("the manifest\n"));
}

static void tear_down(void)
{
    temp_dir_release(&dir);
}

TestSuite(ssh_keygen, .init = set_up, .fini = tear_down);

static int verify(const char *name_space)
{
    const char *argv[] = {"ssh-keygen", "-Y", "verify",   "-f", signers_path,   "-I",
                          PRINCIPAL,    "-n", name_space, "-s", signature_path, NULL};
    return run(argv, message_path);
}

static void write_signature(const struct sign_kit *kit, enum quipu_sshsig_hash hash)
{
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf text = QUIPU_BUF_INIT;
    sign_kit_sign(kit, NAME_SPACE, hash, quipu_slice_text("the manifest\n"), &blob);
    quipu_sshsig_armor(quipu_buf_slice(&blob), &text);
    write_file(signature_path, quipu_buf_slice(&text));
    quipu_buf_release(&blob);
    quipu_buf_release(&text);
}

static void write_signers(const struct sign_kit *kit, const char *name_space)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    cr_assert_eq(
        quipu_ssh_allowed_signers_line(PRINCIPAL, name_space, kit->public_key, &text, NULL),
        QUIPU_OK);
    write_file(signers_path, quipu_buf_slice(&text));
    quipu_buf_release(&text);
}

Test(ssh_keygen, verifies_our_signatures)
{
    struct sign_kit kit;
    sign_kit_init(&kit);
    write_signers(&kit, NAME_SPACE);

    for (int hash = QUIPU_SSHSIG_SHA512; hash <= QUIPU_SSHSIG_SHA256; hash++) {
        write_signature(&kit, (enum quipu_sshsig_hash)hash);
        cr_assert_eq(verify(NAME_SPACE), 0);
        cr_assert_neq(verify("git"), 0, "another namespace must not verify");
    }
    write_file(message_path, quipu_slice_text("the manifesT\n"));
    cr_assert_neq(verify(NAME_SPACE), 0, "a changed message must not verify");
}

Test(ssh_keygen, heeds_the_namespace_of_our_allowed_signers_line)
{
    struct sign_kit kit;
    sign_kit_init(&kit);
    write_signature(&kit, QUIPU_SSHSIG_SHA512);

    write_signers(&kit, "git");
    cr_assert_neq(verify(NAME_SPACE), 0);
    write_signers(&kit, NULL);
    cr_assert_eq(verify(NAME_SPACE), 0);
}

Test(ssh_keygen, reads_our_public_key_line)
{
    struct sign_kit kit;
    struct quipu_buf text = QUIPU_BUF_INIT;
    const char *argv[] = {"ssh-keygen", "-l", "-f", signers_path, NULL};
    sign_kit_init(&kit);
    cr_assert_eq(quipu_ssh_public_key_line(kit.public_key, "vault seven", &text, NULL), QUIPU_OK);
    write_file(signers_path, quipu_buf_slice(&text));

    cr_assert_eq(run(argv, NULL), 0);
    quipu_buf_release(&text);
}

Test(ssh_keygen, verifies_the_manifest_of_a_bundle_against_its_source)
{
    char path[PATH_BYTES];
    struct store_kit vault;
    struct bundle_kit kit;
    struct quipu_bundle_root root;
    struct quipu_bundle_report report;
    struct quipu_buf text = QUIPU_BUF_INIT;
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    temp_dir_join(&dir, "out.car", path);
    store_kit_open(&vault, &dir, "vault");
    store_kit_append(&vault, 20, 10);
    store_kit_export(&vault, path, NULL);
    cr_assert_eq(quipu_bundle_check(path, &report, NULL), QUIPU_OK);
    bundle_kit_load(&kit, path);
    bundle_kit_root(&kit, &root);
    quipu_sshsig_armor(root.signatures[0], &text);
    write_file(signature_path, quipu_buf_slice(&text));
    quipu_buf_reset(&text);
    cr_assert_eq(quipu_source_public_key(quipu_slice_text(report.source), key, NULL), QUIPU_OK);
    cr_assert_eq(quipu_ssh_allowed_signers_line(PRINCIPAL, NAME_SPACE, key, &text, NULL), QUIPU_OK);
    write_file(signers_path, quipu_buf_slice(&text));

    write_file(message_path, bundle_kit_block(&kit, 1));
    cr_assert_eq(verify(NAME_SPACE), 0);
    kit.sections[1].block[40] ^= 1;
    write_file(message_path, bundle_kit_block(&kit, 1));
    cr_assert_neq(verify(NAME_SPACE), 0);

    quipu_buf_release(&text);
    bundle_kit_release(&kit);
    store_kit_close(&vault);
}

/* Binary SSHSIG of an armored file. */
static void dearmor(const char *path, struct quipu_buf *out)
{
    struct quipu_slice text = read_file(path);
    cr_assert(quipu_sshsig_is_armor(text));
    cr_assert_eq(quipu_sshsig_dearmor(text, out, NULL), QUIPU_OK);

    /* Our armor of the same bytes is what ssh-keygen wrote. */
    struct quipu_buf armored = QUIPU_BUF_INIT;
    quipu_sshsig_armor(quipu_buf_slice(out), &armored);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&armored), text));
    quipu_buf_release(&armored);
    free_file(&text);
}

static void key_of_ssh_keygen(const char *type, const char *bits, const char *path)
{
    const char *argv[] = {"ssh-keygen", "-q", "-t", type, "-b", bits, "-N",
                          "",           "-C", "",   "-f", path, NULL};
    cr_assert_eq(run(argv, NULL), 0);
}

static void sign_by_ssh_keygen(const char *key, const char *option)
{
    const char *argv[] = {"ssh-keygen", "-q", "-Y", "sign", "-n",         NAME_SPACE,
                          "-f",         key,  "-O", option, message_path, NULL};
    (void)remove(signature_path); /* ssh-keygen asks before it overwrites */
    cr_assert_eq(run(argv, NULL), 0);
}

/* Every type of key that can be made without hardware. */
static const struct {
    const char *type;
    const char *bits;
    enum quipu_ssh_key_type expected;
} key_types[] = {
    {"ed25519", "256", QUIPU_SSH_KEY_ED25519},  {"ecdsa", "256", QUIPU_SSH_KEY_ECDSA_P256},
    {"ecdsa", "384", QUIPU_SSH_KEY_ECDSA_P384}, {"ecdsa", "521", QUIPU_SSH_KEY_ECDSA_P521},
    {"rsa", "2048", QUIPU_SSH_KEY_RSA},         {"rsa", "4096", QUIPU_SSH_KEY_RSA},
};

Test(ssh_keygen, makes_signatures_that_we_verify)
{
    static const char *const options[] = {"hashalg=sha512", "hashalg=sha256"};
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++) {
        char name[16];
        char key[2 * TEMP_DIR_BYTES];
        char public_path[2 * TEMP_DIR_BYTES];
        struct quipu_sshsig found;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        struct quipu_buf line = QUIPU_BUF_INIT;
        (void)snprintf(name, sizeof name, "key%zu", i);
        temp_dir_join(&dir, name, key);
        (void)snprintf(name, sizeof name, "key%zu.pub", i);
        temp_dir_join(&dir, name, public_path);
        key_of_ssh_keygen(key_types[i].type, key_types[i].bits, key);

        for (size_t hash = 0; hash < 2; hash++) {
            sign_by_ssh_keygen(key, options[hash]);
            quipu_buf_reset(&blob);
            dearmor(signature_path, &blob);
            cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE,
                                             quipu_slice_text("the manifest\n"), &found, NULL),
                         QUIPU_OK, "%s %s, %s", key_types[i].type, key_types[i].bits,
                         options[hash]);
            cr_assert_eq(found.type, key_types[i].expected);
            cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE,
                                             quipu_slice_text("the manifesT\n"), NULL, NULL),
                         QUIPU_BAD_SIGNATURE);
        }

        /* And the public key is the one in its .pub file, as we would write it. */
        struct quipu_slice text = read_file(public_path);
        cr_assert_eq(quipu_ssh_key_line(found.key, NULL, &line, NULL), QUIPU_OK);
        cr_assert_eq(memcmp(text.data, line.data, line.len - 1), 0);
        free_file(&text);
        quipu_buf_release(&blob);
        quipu_buf_release(&line);
    }
}

/* Signatures by keys of the test's own, of every type; the hardware keys are the test's too. */
Test(ssh_keygen, verifies_signatures_by_every_type_of_key)
{
    for (int type = QUIPU_SSH_KEY_ED25519; type <= QUIPU_SSH_KEY_SK_ECDSA_P256; type++) {
        struct ssh_kit kit;
        struct quipu_buf blob = QUIPU_BUF_INIT;
        struct quipu_buf text = QUIPU_BUF_INIT;
        struct quipu_slice message = quipu_slice_text("the manifest\n");
        ssh_kit_init(&kit, (enum quipu_ssh_key_type)type);
        ssh_kit_sign(&kit, NAME_SPACE, message, &blob);
        cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message, NULL, NULL),
                     QUIPU_OK, "type %d", type);
        quipu_sshsig_armor(quipu_buf_slice(&blob), &text);
        write_file(signature_path, quipu_buf_slice(&text));
        quipu_buf_reset(&text);
        cr_assert_eq(quipu_ssh_key_allowed_line(PRINCIPAL, NAME_SPACE, quipu_buf_slice(&kit.key),
                                                &text, NULL),
                     QUIPU_OK);
        write_file(signers_path, quipu_buf_slice(&text));
        cr_assert_eq(verify(NAME_SPACE), 0, "type %d", type);
        write_file(message_path, quipu_slice_text("the manifesT\n"));
        cr_assert_neq(verify(NAME_SPACE), 0, "type %d", type);
        write_file(message_path, message);
        quipu_buf_release(&blob);
        quipu_buf_release(&text);
        ssh_kit_release(&kit);
    }
}

/* What `ssh-keygen -l` prints holds the fingerprint that we show. */
Test(ssh_keygen, shows_our_fingerprints)
{
    char key[2 * TEMP_DIR_BYTES];
    char shown[2 * TEMP_DIR_BYTES];
    char command[8 * TEMP_DIR_BYTES];
    struct quipu_sshsig found;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    char fingerprint[QUIPU_SSH_FINGERPRINT_BYTES];
    temp_dir_join(&dir, "key", key);
    temp_dir_join(&dir, "shown", shown);
    key_of_ssh_keygen("ecdsa", "256", key);
    sign_by_ssh_keygen(key, "hashalg=sha512");
    dearmor(signature_path, &blob);
    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &found, NULL), QUIPU_OK);
    quipu_ssh_key_fingerprint(found.key, fingerprint);

    (void)snprintf(command, sizeof command, "ssh-keygen -l -f '%s' > '%s'", key, shown);
    const char *argv[] = {"sh", "-c", command, NULL};
    cr_assert_eq(run(argv, NULL), 0);
    struct quipu_slice text = read_file(shown);
    char line[512];
    (void)snprintf(line, sizeof line, "%.*s", (int)text.len, (const char *)text.data);
    cr_assert_not_null(strstr(line, fingerprint), "%s is not in %s", fingerprint, line);
    free_file(&text);
    quipu_buf_release(&blob);
}

int main(int argc, char **argv)
{
    if (!run_is_there("ssh-keygen")) {
        puts("skipped: no ssh-keygen on PATH (Debian: openssh-client)");
        return 77;
    }
    struct criterion_test_set *tests = criterion_initialize();
    int result = 0;
    if (criterion_handle_args(argc, argv, true)) {
        result = criterion_run_all_tests(tests) ? 0 : 1;
    }
    criterion_finalize(tests);
    return result;
}
