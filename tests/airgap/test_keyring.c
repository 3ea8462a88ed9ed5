/*
 * Key files: what is made can be loaded, looked at, wrapped, opened and used; what is wrong with a
 * file is said, and the file stays as it is.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keyring_kit.h"
#include "run.h"

static struct temp_dir dir;
static char path[2 * TEMP_DIR_BYTES];
static struct quipu_error err;

static void setup(void)
{
    temp_dir_init(&dir);
    (void)temp_dir_join(&dir, "key", path);
}

static void teardown(void)
{
    temp_dir_release(&dir);
}

TestSuite(keyring, .init = setup, .fini = teardown, .timeout = 120);

/* ------------------------------------------------------------------ passphrases */

Test(keyring, passphrase_of_twelve_characters_is_long_enough)
{
    static const struct {
        const char *text;
        enum quipu_status status;
    } rows[] = {
        {"", QUIPU_INVALID},
        {"eleven char", QUIPU_INVALID},
        {"            ", QUIPU_INVALID}, /* twelve blanks */
        {" \t\n\v\f\r         ", QUIPU_INVALID},
        {"           x", QUIPU_OK},
        {"twelve chars", QUIPU_OK},
        {"äöüäöüäöüäö", QUIPU_INVALID}, /* 22 bytes, 11 characters */
        {"äöüäöüäöüäöü", QUIPU_OK},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(quipu_passphrase_check(quipu_slice_text(rows[i].text), &err), rows[i].status,
                     "row %zu", i);
    }
    cr_assert_eq(quipu_passphrase_check(quipu_slice("twelve\0chars", 12), &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "NUL"), "%s", err.message);
    static char longest[QUIPU_AGE_PASSPHRASE_BYTES_MAX + 1];
    memset(longest, 'x', sizeof longest);
    cr_assert_eq(quipu_passphrase_check(quipu_slice(longest, sizeof longest - 1), &err), QUIPU_OK);
    cr_assert_eq(quipu_passphrase_check(quipu_slice(longest, sizeof longest), &err),
                 QUIPU_TOO_LARGE);
}

Test(keyring, short_passphrase_makes_no_file)
{
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);
    options.passphrase = secrets;

    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_SIGNING, &options, NULL, &err), QUIPU_INVALID);
    cr_assert_eq(quipu_age_secrets_set_passphrase(secrets, quipu_slice_text("short"), &err),
                 QUIPU_OK);
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_SIGNING, &options, NULL, &err), QUIPU_INVALID);

    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_null(strstr(err.message, "short"), "%s", err.message);
    quipu_age_secrets_free(&secrets);
}

/* ------------------------------------------------------------------ making */

/* What is made, in every kind and cover, is what is loaded. */
static void make_and_look(enum quipu_key_kind kind, const char *passphrase,
                          enum quipu_age_form form)
{
    struct quipu_key_public made;
    struct quipu_key_public found;
    struct keyring_kit_asked asked = {passphrase, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct stat info;
    bool is_wrapped = passphrase == NULL;
    (void)unlink(path);
    keyring_kit_make(path, kind, passphrase, form, &made);

    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 0600u);
    cr_assert_eq(made.kind, kind);
    cr_assert_eq(made.is_wrapped, passphrase != NULL);
    cr_assert_eq(strncmp(made.text, kind == QUIPU_KEY_SIGNING ? "U" : "age1",
                         kind == QUIPU_KEY_SIGNING ? 1 : 4),
                 0);
    cr_assert_eq(quipu_key_is_wrapped(path, &is_wrapped, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(is_wrapped, passphrase != NULL);
    cr_assert_eq(quipu_key_look(path, &ask, &found, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(asked.count, passphrase == NULL ? 0u : 1u);
    cr_assert_eq(found.kind, kind);
    cr_assert_eq(found.is_wrapped, passphrase != NULL);
    cr_assert_str_eq(found.text, made.text);
    cr_assert_arr_eq(found.public_key, made.public_key, sizeof made.public_key);
    keyring_kit_assert_alone(&dir, "key");
}

Test(keyring, what_is_made_is_what_is_found)
{
    for (int kind = QUIPU_KEY_SIGNING; kind <= QUIPU_KEY_AGE; kind++) {
        make_and_look((enum quipu_key_kind)kind, NULL, QUIPU_AGE_BINARY);
        make_and_look((enum quipu_key_kind)kind, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_BINARY);
        make_and_look((enum quipu_key_kind)kind, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED);
    }
}

Test(keyring, plain_signing_key_is_what_a_store_holds)
{
    struct quipu_key_public made;
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    keyring_kit_make(path, QUIPU_KEY_SIGNING, NULL, QUIPU_AGE_BINARY, &made);

    struct quipu_slice file = read_file(path);

    cr_assert_eq(file.len, 59u);
    cr_assert_eq(file.data[58], '\n');
    cr_assert_eq(quipu_nkey_seed_public_key(quipu_slice(file.data, 58), key, &err), QUIPU_OK);
    cr_assert_arr_eq(key, made.public_key, sizeof key);
    free_file(&file);
}

Test(keyring, plain_identity_is_as_age_keygen_writes_it)
{
    struct quipu_key_public made;
    char expected[512];
    keyring_kit_make(path, QUIPU_KEY_AGE, NULL, QUIPU_AGE_BINARY, &made);

    struct quipu_slice file = read_file(path);

    /* The kit's clock. */
    int len =
        snprintf(expected, sizeof expected,
                 "# created: 2026-11-21T10:00:00Z\n# public key: %s\nAGE-SECRET-KEY-1", made.text);
    cr_assert_gt(file.len, (size_t)len);
    cr_assert_arr_eq(file.data, expected, (size_t)len);
    cr_assert_eq(file.data[file.len - 1], '\n');
    cr_assert_eq(memchr(file.data, 0, file.len), NULL);
    free_file(&file);
}

Test(keyring, wrapped_file_opens_to_the_plain_one)
{
    static const enum quipu_age_form forms[] = {QUIPU_AGE_BINARY, QUIPU_AGE_ARMORED};
    for (size_t i = 0; i < 2; i++) {
        struct quipu_key_public made;
        struct quipu_buf plain = QUIPU_BUF_INIT;
        (void)unlink(path);
        keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, forms[i], &made);

        keyring_kit_decrypt(path, KEYRING_KIT_PASSPHRASE, &plain);

        uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
        cr_assert_eq(plain.len, 59u);
        cr_assert_eq(plain.data[58], '\n');
        cr_assert_eq(quipu_nkey_seed_public_key(quipu_slice(plain.data, 58), key, &err), QUIPU_OK);
        cr_assert_arr_eq(key, made.public_key, sizeof key);
        quipu_buf_release(&plain);
    }
}

Test(keyring, nothing_is_overwritten)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    char target[2 * TEMP_DIR_BYTES];
    struct stat info;
    write_file(path, quipu_slice_text("mine"));
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_EXISTS);
    struct quipu_slice file = read_file(path);
    cr_assert(quipu_slice_equal(file, quipu_slice_text("mine")));
    free_file(&file);

    /* Nor through a link that leads nowhere. */
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(symlink(temp_dir_join(&dir, "target", target), path), 0);
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_EXISTS);
    cr_assert_neq(lstat(target, &info), 0);
}

Test(keyring, path_must_name_a_file_in_a_folder_that_is_there)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    char nowhere[2 * TEMP_DIR_BYTES];
    char name[TEMP_DIR_BYTES];

    cr_assert_eq(quipu_key_make("", QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_INVALID);
    cr_assert_eq(
        quipu_key_make(temp_dir_join(&dir, "no/key", nowhere), QUIPU_KEY_AGE, &options, NULL, &err),
        QUIPU_NOT_FOUND);
    memset(name, 'x', sizeof name);
    name[250] = 0;
    cr_assert_eq(
        quipu_key_make(temp_dir_join(&dir, name, nowhere), QUIPU_KEY_AGE, &options, NULL, &err),
        QUIPU_INVALID);
    options.size--;
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_MISUSE);
}

/* ------------------------------------------------------------------ loading */

Test(keyring, loaded_key_signs_as_its_public_key)
{
    static const char *const passphrases[] = {NULL, KEYRING_KIT_PASSPHRASE};
    struct quipu_slice message = quipu_slice_text("message");
    for (size_t i = 0; i < 2; i++) {
        struct quipu_signing_key *key = NULL;
        struct quipu_key_public made;
        uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
        uint8_t signature[QUIPU_SIGNATURE_BYTES];
        struct keyring_kit_asked asked = {passphrases[i], 0};
        struct quipu_passphrase ask = keyring_kit_ask(&asked);
        (void)unlink(path);
        keyring_kit_make(path, QUIPU_KEY_SIGNING, passphrases[i], QUIPU_AGE_ARMORED, &made);

        cr_assert_eq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_OK, "%s", err.message);

        quipu_signing_key_public(key, public_key);
        cr_assert_arr_eq(public_key, made.public_key, sizeof public_key);
        cr_assert_eq(quipu_signing_key_sign(key, message, signature, &err), QUIPU_OK);
        cr_assert_eq(crypto_sign_verify_detached(signature, message.data, message.len, public_key),
                     0);
        quipu_signing_key_free(&key);
        cr_assert_null(key);
    }
    struct quipu_signing_key *none = NULL;
    quipu_signing_key_free(&none);
}

Test(keyring, wrapped_key_without_a_passphrase_is_locked)
{
    struct quipu_signing_key *key = NULL;
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_key_public found;
    keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, NULL);
    cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);

    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_age_secrets_load(secrets, path, NULL, &err), QUIPU_KEY_LOCKED);

    cr_assert_null(key);
    cr_assert_not_null(strstr(err.message, path));
    cr_assert_not_null(strstr(err.message, "; give its passphrase"));
    quipu_age_secrets_free(&secrets);
}

Test(keyring, wrong_passphrase_is_told_with_the_file)
{
    struct quipu_signing_key *key = NULL;
    struct keyring_kit_asked asked = {"another passphrase", 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, NULL);

    cr_assert_eq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_AGE_NO_MATCH);

    cr_assert_null(key);
    cr_assert_eq(asked.count, 1u);
    cr_assert_not_null(strstr(err.message, path), "%s", err.message);
}

Test(keyring, whoever_asks_may_give_up)
{
    struct quipu_signing_key *key = NULL;
    struct keyring_kit_asked asked = {NULL, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, NULL);

    cr_assert_eq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_STOPPED);
    cr_assert_null(key);
}

/* What is wrong with an answer is not wrong with the file. */
Test(keyring, answer_that_is_no_passphrase_does_not_blame_the_file)
{
    static const enum quipu_key_kind kinds[] = {QUIPU_KEY_SIGNING, QUIPU_KEY_AGE};
    for (size_t i = 0; i < 2; i++) {
        struct quipu_signing_key *key = NULL;
        struct quipu_age_secrets *secrets = NULL;
        struct quipu_key_public found;
        struct keyring_kit_asked asked = {"", 0};
        struct quipu_passphrase ask = keyring_kit_ask(&asked);
        (void)unlink(path);
        keyring_kit_make(path, kinds[i], KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, NULL);
        cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);

        cr_assert_eq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_INVALID);
        cr_assert_not_null(strstr(err.message, "passphrase of 0 bytes"), "%s", err.message);
        cr_assert_eq(quipu_key_look(path, &ask, &found, &err), QUIPU_INVALID);
        cr_assert_not_null(strstr(err.message, "passphrase of 0 bytes"), "%s", err.message);
        cr_assert_eq(quipu_age_secrets_load(secrets, path, &ask, &err), QUIPU_INVALID);
        cr_assert_eq(asked.count, 3u);
        quipu_age_secrets_free(&secrets);
    }
}

Test(keyring, identities_are_loaded_plain_and_wrapped)
{
    static const char *const passphrases[] = {NULL, KEYRING_KIT_PASSPHRASE};
    for (size_t i = 0; i < 2; i++) {
        struct quipu_age_secrets *secrets = NULL;
        struct quipu_age_recipient recipient;
        struct quipu_key_public made;
        struct keyring_kit_asked asked = {passphrases[i], 0};
        struct quipu_passphrase ask = keyring_kit_ask(&asked);
        (void)unlink(path);
        keyring_kit_make(path, QUIPU_KEY_AGE, passphrases[i], QUIPU_AGE_BINARY, &made);
        cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);

        cr_assert_eq(quipu_age_secrets_load(secrets, path, &ask, &err), QUIPU_OK, "%s",
                     err.message);

        cr_assert_eq(quipu_age_secrets_count(secrets), 1u);
        cr_assert_eq(quipu_age_secrets_recipient(secrets, 0, &recipient), QUIPU_OK);
        cr_assert_arr_eq(recipient.public_key, made.public_key, 32);
        quipu_age_secrets_free(&secrets);
    }
}

/* ------------------------------------------------------------------ files that are not right */

Test(keyring, file_that_others_have_a_right_to_is_refused)
{
    static const mode_t modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644, 0666, 0777};
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    struct quipu_key_public found;
    struct quipu_signing_key *key = NULL;
    struct quipu_age_secrets *secrets = keyring_kit_secrets(KEYRING_KIT_PASSPHRASE);
    bool is_wrapped = false;
    keyring_kit_make(path, QUIPU_KEY_SIGNING, NULL, QUIPU_AGE_BINARY, NULL);
    struct quipu_slice before = read_file(path);
    options.passphrase = secrets;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        cr_assert_eq(chmod(path, modes[i]), 0);
        cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_PERMISSION);
        cr_assert_not_null(strstr(err.message, "; chmod 600 it"), "%s", err.message);
        cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_PERMISSION);
        cr_assert_eq(quipu_key_is_wrapped(path, &is_wrapped, &err), QUIPU_PERMISSION);
        cr_assert_eq(quipu_key_rewrap(path, NULL, &options, NULL, &err), QUIPU_PERMISSION);
    }
    struct quipu_slice after = read_file(path);
    cr_assert(quipu_slice_equal(before, after));
    keyring_kit_assert_alone(&dir, "key");
    free_file(&before);
    free_file(&after);
    quipu_age_secrets_free(&secrets);
}

Test(keyring, what_is_no_key_file_is_said_to_be_none)
{
    static const char *const texts[] = {
        "", "\n", "SU", "hello", "AGE-SECRET-KEY-1QQQ\n", "-----BEGIN OPENSSH KEY-----\n",
    };
    struct quipu_signing_key *key = NULL;
    struct quipu_key_public found;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        write_file(path, quipu_slice_text(texts[i]));
        cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_CORRUPT, "%zu", i);
        cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_CORRUPT, "%zu", i);
    }
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_NOT_FOUND);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_CORRUPT);
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0); /* and nobody writes into it */
    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_CORRUPT);
}

Test(keyring, identity_is_no_signing_key)
{
    struct quipu_signing_key *key = NULL;
    struct quipu_age_secrets *secrets = NULL;
    keyring_kit_make(path, QUIPU_KEY_AGE, NULL, QUIPU_AGE_BINARY, NULL);
    cr_assert_eq(quipu_signing_key_load(path, NULL, &key, &err), QUIPU_CORRUPT);

    cr_assert_eq(unlink(path), 0);
    keyring_kit_make(path, QUIPU_KEY_SIGNING, NULL, QUIPU_AGE_BINARY, NULL);
    cr_assert_eq(quipu_age_secrets_new(&secrets, &err), QUIPU_OK);
    cr_assert_eq(quipu_age_secrets_load(secrets, path, NULL, &err), QUIPU_AGE_KEY);
    cr_assert_null(strstr(err.message, "SU"), "%s", err.message);
    quipu_age_secrets_free(&secrets);
}

Test(keyring, file_may_have_so_many_bytes_and_no_more)
{
    struct quipu_key_public found;
    static char text[QUIPU_KEY_FILE_BYTES_MAX + 1];
    keyring_kit_make(path, QUIPU_KEY_AGE, NULL, QUIPU_AGE_BINARY, NULL);
    struct quipu_slice file = read_file(path);
    memset(text, '\n', sizeof text);
    memcpy(text, file.data, file.len);

    write_file(path, quipu_slice(text, sizeof text - 1));
    cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_OK, "%s", err.message);
    write_file(path, quipu_slice(text, sizeof text));
    cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_TOO_LARGE);
    free_file(&file);
}

/* Each byte of a wrapped key, changed or cut off: never a key, never a crash. */
static void damage(enum quipu_age_form form)
{
    struct keyring_kit_asked asked = {KEYRING_KIT_PASSPHRASE, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_signing_key *key = NULL;
    (void)unlink(path);
    keyring_kit_make(path, QUIPU_KEY_SIGNING, KEYRING_KIT_PASSPHRASE, form, NULL);
    struct quipu_slice file = read_file(path);
    uint8_t *bytes = malloc(file.len);
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < file.len; i++) {
        memcpy(bytes, file.data, file.len);
        bytes[i] ^= 1;
        write_file(path, quipu_slice(bytes, file.len));
        cr_assert_neq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_OK, "byte %zu", i);
        /* Armor may end without its newline. */
        if (i + 1 < file.len) {
            write_file(path, quipu_slice(file.data, i));
            cr_assert_neq(quipu_signing_key_load(path, &ask, &key, &err), QUIPU_OK, "cut at %zu",
                          i);
        }
    }
    free(bytes);
    free_file(&file);
}

Test(keyring, damaged_wrapped_key_is_refused)
{
    damage(QUIPU_AGE_BINARY);
    damage(QUIPU_AGE_ARMORED);
}

/* ------------------------------------------------------------------ other covers */

static void rewrap(const char *from, const char *to)
{
    struct keyring_kit_asked asked = {from, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_age_secrets *secrets = to == NULL ? NULL : keyring_kit_secrets(to);
    options.passphrase = secrets;
    cr_assert_eq(quipu_key_rewrap(path, &ask, &options, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_age_secrets_free(&secrets);
    keyring_kit_assert_alone(&dir, "key");
}

Test(keyring, cover_changes_and_the_key_stays)
{
    struct quipu_key_public found;
    struct stat info;
    for (int kind = QUIPU_KEY_SIGNING; kind <= QUIPU_KEY_AGE; kind++) {
        (void)unlink(path);
        keyring_kit_make(path, (enum quipu_key_kind)kind, NULL, QUIPU_AGE_BINARY, NULL);
        struct quipu_slice plain = read_file(path);

        rewrap(NULL, KEYRING_KIT_PASSPHRASE);
        cr_assert_eq(quipu_key_look(path, NULL, &found, &err), QUIPU_KEY_LOCKED);
        rewrap(KEYRING_KIT_PASSPHRASE, "the second passphrase");
        struct keyring_kit_asked asked = {KEYRING_KIT_PASSPHRASE, 0};
        struct quipu_passphrase ask = keyring_kit_ask(&asked);
        cr_assert_eq(quipu_key_look(path, &ask, &found, &err), QUIPU_AGE_NO_MATCH);
        rewrap("the second passphrase", NULL);

        struct quipu_slice again = read_file(path);
        cr_assert(quipu_slice_equal(plain, again));
        cr_assert_eq(stat(path, &info), 0);
        cr_assert_eq(info.st_mode & 07777, 0600u);
        free_file(&plain);
        free_file(&again);
    }
}

Test(keyring, plain_key_cannot_be_unwrapped)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    keyring_kit_make(path, QUIPU_KEY_AGE, NULL, QUIPU_AGE_BINARY, NULL);

    cr_assert_eq(quipu_key_rewrap(path, NULL, &options, NULL, &err), QUIPU_INVALID);
    keyring_kit_assert_alone(&dir, "key");
}

Test(keyring, link_is_not_replaced)
{
    struct quipu_key_options options = keyring_kit_options();
    struct quipu_age_secrets *secrets = keyring_kit_secrets(KEYRING_KIT_PASSPHRASE);
    char link[2 * TEMP_DIR_BYTES];
    struct stat info;
    options.passphrase = secrets;
    keyring_kit_make(path, QUIPU_KEY_AGE, NULL, QUIPU_AGE_BINARY, NULL);
    cr_assert_eq(symlink(path, temp_dir_join(&dir, "link", link)), 0);

    cr_assert_eq(quipu_key_rewrap(link, NULL, &options, NULL, &err), QUIPU_INVALID);

    cr_assert_eq(lstat(link, &info), 0);
    cr_assert(S_ISLNK(info.st_mode));
    quipu_age_secrets_free(&secrets);
}

/* What a killed run left is used again, whatever is in it; what another run holds is not. */
Test(keyring, left_over_is_used_again_and_a_run_beside_it_waits)
{
    struct quipu_key_options options = QUIPU_KEY_OPTIONS_INIT;
    char temp[2 * TEMP_DIR_BYTES];
    (void)temp_dir_join(&dir, ".key.quipu-new", temp);
    write_file(temp, quipu_slice_text("rest of a run that was killed"));
    int fd = open(temp, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(flock(fd, LOCK_EX), 0);

    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_BUSY);
    cr_assert_eq(access(temp, F_OK), 0);
    cr_assert_eq(close(fd), 0);

    cr_assert_eq(chmod(temp, 0640), 0);
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_PERMISSION);
    cr_assert_eq(chmod(temp, 0600), 0);
    /* With a second name somebody would have the key when it is written. */
    char other[2 * TEMP_DIR_BYTES];
    cr_assert_eq(link(temp, temp_dir_join(&dir, "other", other)), 0);
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_PERMISSION);
    cr_assert_not_null(strstr(err.message, "is not ours alone"), "%s", err.message);
    struct quipu_slice left = read_file(other);
    cr_assert(quipu_slice_equal(left, quipu_slice_text("rest of a run that was killed")));
    free_file(&left);
    cr_assert_eq(unlink(other), 0);
    cr_assert_eq(quipu_key_make(path, QUIPU_KEY_AGE, &options, NULL, &err), QUIPU_OK, "%s",
                 err.message);
    keyring_kit_assert_alone(&dir, "key");
}

/* ------------------------------------------------------------------ a store's key */

Test(keyring, wrapped_key_of_a_store_is_opened_for_its_engine)
{
    struct quipu_store_options store_options = QUIPU_STORE_OPTIONS_INIT;
    struct keyring_kit_asked asked = {KEYRING_KIT_PASSPHRASE, 0};
    struct quipu_passphrase ask = keyring_kit_ask(&asked);
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    char folder[2 * TEMP_DIR_BYTES];
    char key[2 * TEMP_DIR_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_key_public made;
    store_options.create = QUIPU_STORE_CREATE_NEW;
    (void)temp_dir_join(&dir, "store", folder);
    cr_assert_eq(quipu_store_open(folder, &store_options, &store, &err), QUIPU_OK);
    cr_assert_eq(quipu_engine_open(store, NULL, &engine, &err), QUIPU_OK);
    cr_assert_eq(quipu_engine_unlock(engine, &ask, &err), QUIPU_OK, "there is no key to open");

    keyring_kit_make(temp_dir_join(&dir, "store/signing.key", key), QUIPU_KEY_SIGNING,
                     KEYRING_KIT_PASSPHRASE, QUIPU_AGE_ARMORED, &made);
    cr_assert_eq(quipu_engine_unlock(engine, NULL, &err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_engine_unlock(engine, &ask, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_engine_unlock(engine, &ask, &err), QUIPU_OK);

    cr_assert_eq(asked.count, 1u, "it is opened once");
    cr_assert_eq(quipu_identity_ensure(engine, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_identity_source(engine, source, &err), QUIPU_OK);
    cr_assert_str_eq(source, made.text);
    cr_assert_eq(quipu_identity_sign(engine, quipu_slice_text("m"), signature, &err), QUIPU_OK);
    cr_assert_eq(crypto_sign_verify_detached(signature, (const uint8_t *)"m", 1, made.public_key),
                 0);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}
