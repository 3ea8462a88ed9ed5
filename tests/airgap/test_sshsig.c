/*
 * SSHSIG: what is written is read, what is not exactly one is refused, and one wrong bit anywhere
 * makes it fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>

#include "sign_kit.h"

#define NAME_SPACE "quipu-bundle@v1"

Test(sshsig, verifies_what_was_signed_and_names_the_key)
{
    struct sign_kit kit;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_slice message = quipu_slice_text("the manifest");
    uint8_t found[QUIPU_PUBLIC_KEY_BYTES];
    struct quipu_sshsig out;
    sign_kit_init(&kit);

    for (int hash = QUIPU_SSHSIG_SHA512; hash <= QUIPU_SSHSIG_SHA256; hash++) {
        quipu_buf_reset(&blob);
        memset(found, 0, sizeof found);
        sign_kit_sign(&kit, NAME_SPACE, (enum quipu_sshsig_hash)hash, message, &blob);
        cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message, &out, NULL),
                     QUIPU_OK);
        cr_assert_eq(out.type, QUIPU_SSH_KEY_ED25519);
        cr_assert(quipu_ssh_key_ed25519(out.key, found));
        cr_assert_arr_eq(found, kit.public_key, sizeof found);
    }

    quipu_buf_release(&blob);
}

Test(sshsig, one_flipped_bit_anywhere_is_refused)
{
    struct sign_kit kit;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_slice message = quipu_slice_text("the manifest");
    struct quipu_sshsig out = {.key = {NULL, 77}};
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA512, message, &blob);

    for (size_t bit = 0; bit < blob.len * 8; bit++) {
        blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        enum quipu_status status =
            quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message, &out, NULL);
        cr_assert(status == QUIPU_BAD_SIGNATURE || status == QUIPU_FORMAT_NEWER, "bit %zu: %s", bit,
                  quipu_status_name(status));
        blob.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(out.key.len, 77u, "untouched");

    quipu_buf_release(&blob);
}

Test(sshsig, every_cut_and_every_byte_more_is_refused)
{
    struct sign_kit kit;
    struct quipu_sshsig out;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA512, quipu_slice_text("m"), &blob);

    for (size_t len = 0; len < blob.len; len++) {
        cr_assert_eq(quipu_sshsig_decode(quipu_slice(blob.data, len), &out, NULL),
                     QUIPU_BAD_SIGNATURE, "%zu bytes", len);
    }
    quipu_buf_append_byte(&blob, 0);
    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &out, NULL), QUIPU_BAD_SIGNATURE);

    quipu_buf_release(&blob);
}

Test(sshsig, another_namespace_message_or_version_is_refused)
{
    struct sign_kit kit;
    struct quipu_error err;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_slice message = quipu_slice_text("the manifest");
    struct quipu_sshsig found;
    sign_kit_init(&kit);
    sign_kit_sign(&kit, "git", QUIPU_SSHSIG_SHA512, message, &blob);

    cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), NAME_SPACE, message, &found, &err),
                 QUIPU_BAD_SIGNATURE);
    cr_assert_not_null(strstr(err.message, "namespace"), "%s", err.message);
    cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), "git", quipu_slice_text("another"),
                                     &found, &err),
                 QUIPU_BAD_SIGNATURE);
    blob.data[9] = 2; /* the version's last byte */
    cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), "git", message, &found, &err),
                 QUIPU_FORMAT_NEWER);
    blob.data[9] = 0;
    cr_assert_eq(quipu_sshsig_verify(quipu_buf_slice(&blob), "git", message, &found, &err),
                 QUIPU_BAD_SIGNATURE);

    quipu_buf_release(&blob);
}

Test(sshsig, a_reserved_field_that_nobody_signed_is_refused)
{
    struct sign_kit kit;
    struct quipu_sshsig out;
    struct quipu_error err;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf changed = QUIPU_BUF_INIT;
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA512, quipu_slice_text("m"), &blob);
    /* magic, version, key with its length, namespace with its length */
    size_t reserved = 6 + 4 + 4 + 51 + 4 + strlen(NAME_SPACE);
    quipu_buf_append(&changed, blob.data, reserved);
    quipu_buf_append(&changed, "\0\0\0\1x", 5);
    quipu_buf_append(&changed, blob.data + reserved + 4, blob.len - reserved - 4);

    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&changed), &out, &err), QUIPU_BAD_SIGNATURE);
    cr_assert_not_null(strstr(err.message, "reserved"), "%s", err.message);

    quipu_buf_release(&blob);
    quipu_buf_release(&changed);
}

Test(sshsig, another_kind_of_key_is_refused)
{
    struct sign_kit kit;
    struct quipu_sshsig out;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA512, quipu_slice_text("m"), &blob);
    memcpy(blob.data + 18, "ssh-ed25520", 11);

    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &out, NULL), QUIPU_BAD_SIGNATURE);

    quipu_buf_release(&blob);
}

Test(sshsig, limit_is_held_at_its_last_byte)
{
    struct sign_kit kit;
    struct quipu_sshsig out;
    struct quipu_sshsig longer;
    char name_space[QUIPU_SSHSIG_BYTES_MAX] = "";
    struct quipu_buf blob = QUIPU_BUF_INIT;
    memset(name_space, 'n', sizeof name_space);
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA512, quipu_slice_text("m"), &blob);
    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &longer, NULL), QUIPU_OK);
    for (int more = -1; more <= 1; more++) {
        struct quipu_buf changed = QUIPU_BUF_INIT;
        size_t fixed = 6 + 4 + 4 + 51 + 4 + 4 + 4 + 6 + 4 + 83;
        longer.name_space = quipu_slice(name_space, QUIPU_SSHSIG_BYTES_MAX - fixed + (size_t)more);
        quipu_sshsig_encode(&longer, &changed);
        cr_assert_eq(changed.len, (size_t)(QUIPU_SSHSIG_BYTES_MAX + more));
        cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&changed), &out, NULL),
                     more <= 0 ? QUIPU_OK : QUIPU_BAD_SIGNATURE);
        quipu_buf_release(&changed);
    }
    quipu_buf_release(&blob);
}

Test(sshsig, encode_gives_back_what_decode_took)
{
    struct sign_kit kit;
    struct quipu_sshsig out;
    struct quipu_buf blob = QUIPU_BUF_INIT;
    struct quipu_buf again = QUIPU_BUF_INIT;
    sign_kit_init(&kit);
    sign_kit_sign(&kit, NAME_SPACE, QUIPU_SSHSIG_SHA256, quipu_slice_text("m"), &blob);

    cr_assert_eq(quipu_sshsig_decode(quipu_buf_slice(&blob), &out, NULL), QUIPU_OK);
    quipu_sshsig_encode(&out, &again);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&blob), quipu_buf_slice(&again)));

    quipu_buf_release(&blob);
    quipu_buf_release(&again);
}

Test(ssh_text, refuses_words_that_would_change_the_line)
{
    static const char *const bad[] = {"",     "two words", "a,b", "a\"b", "*",
                                      "who?", "!not",      "#",   "a\nb", "\xc3\xa9"};
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES] = {1};
    struct quipu_buf out = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_ssh_allowed_signers_line(bad[i], NULL, key, &out, NULL), QUIPU_INVALID);
        cr_assert_eq(quipu_ssh_allowed_signers_line("ok", bad[i], key, &out, NULL), QUIPU_INVALID);
    }
    cr_assert_eq(quipu_ssh_allowed_signers_line(NULL, NULL, key, &out, NULL), QUIPU_INVALID);
    cr_assert_eq(quipu_ssh_public_key_line(key, "a\nb", &out, NULL), QUIPU_INVALID);
    cr_assert_eq(out.len, 0u);
    quipu_buf_release(&out);
}

Test(ssh_text, writes_the_lines_of_openssh)
{
    /* 32 zero bytes as OpenSSH writes them; checked against the real one in test_ssh_keygen.c. */
    static const char blob[] =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES] = {0};
    struct quipu_buf out = QUIPU_BUF_INIT;
    char expected[256];

    cr_assert_eq(quipu_ssh_public_key_line(key, "vault seven", &out, NULL), QUIPU_OK);
    (void)snprintf(expected, sizeof expected, "%s vault seven\n", blob);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text(expected)));

    quipu_buf_reset(&out);
    cr_assert_eq(quipu_ssh_allowed_signers_line("UABC", NAME_SPACE, key, &out, NULL), QUIPU_OK);
    (void)snprintf(expected, sizeof expected, "UABC namespaces=\"quipu-bundle@v1\" %s\n", blob);
    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_slice_text(expected)));

    quipu_buf_release(&out);
}
