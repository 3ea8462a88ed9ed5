/*
 * A signing key that is wrapped by a passphrase: the store records as ever, and signs when the key
 * was opened. What is wrapped is of no matter here, so a stand-in takes its place.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine_kit.h"

#define WRAPPED_BINARY  "age-encryption.org/v1\n-> scrypt AAAA 18\n"
#define WRAPPED_ARMORED "-----BEGIN AGE ENCRYPTED FILE-----\nYWdlLWVuY3J5cHRpb24ub3Jn\n"

static struct kit kit;
static char seed[QUIPU_NKEY_SEED_TEXT_BYTES]; /* of the store's key, before it was wrapped */
static char source[QUIPU_SOURCE_TEXT_BYTES];

static char *key_path(char out[4 * TEMP_DIR_BYTES])
{
    (void)snprintf(out, 4 * TEMP_DIR_BYTES, "%s/signing.key", kit.path);
    return out;
}

static void key_write(const char *text)
{
    char path[4 * TEMP_DIR_BYTES];
    FILE *file = fopen(key_path(path), "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(text, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);
}

static void key_take(char out[QUIPU_NKEY_SEED_TEXT_BYTES])
{
    char path[4 * TEMP_DIR_BYTES];
    FILE *file = fopen(key_path(path), "r");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(out, QUIPU_NKEY_SEED_TEXT_BYTES, file));
    cr_assert_eq(fclose(file), 0);
}

/* A store that has recorded one event, and whose key was then wrapped. */
static void setup(void)
{
    cr_assert_geq(sodium_init(), 0);
    kit_open(&kit);
    (void)kit_append(&kit, "a", 1);
    kit_assert_ok(&kit, quipu_identity_source(kit.engine, source, &kit.err));
    key_take(seed);
    key_write(WRAPPED_BINARY);
    kit_reopen(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(identity_wrapped, .init = setup, .fini = teardown);

static enum quipu_status unlock(const char *text)
{
    return quipu_identity_unlock(kit.engine, quipu_slice_text(text), &kit.err);
}

static enum quipu_status sign(void)
{
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    return quipu_identity_sign(kit.engine, quipu_slice_text("message"), signature, &kit.err);
}

static void assert_state(enum quipu_identity_state expected)
{
    enum quipu_identity_state state;
    kit_assert_ok(&kit, quipu_identity_state(kit.engine, &state, &kit.err));
    cr_assert_eq(state, expected);
}

static void assert_source(const char *expected)
{
    char found[QUIPU_SOURCE_TEXT_BYTES];
    kit_assert_ok(&kit, quipu_identity_source(kit.engine, found, &kit.err));
    cr_assert_str_eq(found, expected);
}

Test(identity_wrapped, store_records_under_its_source_without_the_passphrase)
{
    assert_state(QUIPU_IDENTITY_LOCKED);
    assert_source(source);

    cr_assert_eq(kit_append(&kit, "a", 2).position, 2u);

    assert_source(source);
    kit_assert_sound(&kit, 2);
    assert_state(QUIPU_IDENTITY_LOCKED);
}

Test(identity_wrapped, armored_file_with_space_before_it_is_known_too)
{
    key_write(" \r\n\t" WRAPPED_ARMORED);

    assert_state(QUIPU_IDENTITY_LOCKED);
    assert_source(source);
}

Test(identity_wrapped, other_bytes_are_still_no_key)
{
    enum quipu_identity_state state;
    key_write("age-encryption.com/v1\n");

    cr_assert_eq(quipu_identity_state(kit.engine, &state, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(sign(), QUIPU_CORRUPT);
}

Test(identity_wrapped, signing_says_that_the_key_is_locked_and_what_to_do)
{
    cr_assert_eq(sign(), QUIPU_KEY_LOCKED);

    cr_assert_not_null(strstr(kit.err.message, "/signing.key is wrapped"), "%s", kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "; give its passphrase"), "%s", kit.err.message);
    cr_assert_eq(quipu_identity_ensure_first(kit.engine, &kit.err), QUIPU_KEY_LOCKED);
    kit_assert_ok(&kit, quipu_identity_ensure(kit.engine, &kit.err));
}

Test(identity_wrapped, opened_key_signs_until_the_engine_is_closed)
{
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_slice message = quipu_slice_text("message");

    cr_assert_eq(unlock(seed), QUIPU_OK, "%s", kit.err.message);

    assert_state(QUIPU_IDENTITY_OPENED);
    kit_assert_ok(&kit, quipu_identity_ensure_first(kit.engine, &kit.err));
    kit_assert_ok(&kit, quipu_identity_sign(kit.engine, message, signature, &kit.err));
    kit_assert_ok(&kit, quipu_source_public_key(quipu_slice_text(source), public_key, &kit.err));
    cr_assert_eq(crypto_sign_verify_detached(signature, message.data, message.len, public_key), 0);
    kit_reopen(&kit);
    assert_state(QUIPU_IDENTITY_LOCKED);
    cr_assert_eq(sign(), QUIPU_KEY_LOCKED);
}

Test(identity_wrapped, newline_of_the_file_may_stay_and_nothing_else)
{
    char text[QUIPU_NKEY_SEED_TEXT_BYTES + 2];
    static const char *const ends[] = {"\n\n", "\r\n", " ", "A"};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        (void)snprintf(text, sizeof text, "%s%s", seed, ends[i]);
        cr_assert_eq(unlock(text), QUIPU_CORRUPT);
        cr_assert_null(strstr(kit.err.message, seed), "the line shows the seed");
    }
    cr_assert_eq(unlock(""), QUIPU_CORRUPT);
    assert_state(QUIPU_IDENTITY_LOCKED);

    (void)snprintf(text, sizeof text, "%s\n", seed);
    cr_assert_eq(unlock(text), QUIPU_OK, "%s", kit.err.message);
    cr_assert_eq(sign(), QUIPU_OK);
}

Test(identity_wrapped, key_of_another_source_is_refused)
{
    char other[QUIPU_NKEY_SEED_TEXT_BYTES];
    cr_assert_eq(quipu_nkey_seed_generate(NULL, other, &kit.err), QUIPU_OK);

    cr_assert_eq(unlock(other), QUIPU_INVALID);

    cr_assert_not_null(strstr(kit.err.message, source), "%s", kit.err.message);
    assert_state(QUIPU_IDENTITY_LOCKED);
    cr_assert_eq(sign(), QUIPU_KEY_LOCKED);
}

Test(identity_wrapped, plain_key_needs_no_opening_and_is_compared)
{
    char other[QUIPU_NKEY_SEED_TEXT_BYTES];
    key_write(seed);
    cr_assert_eq(quipu_nkey_seed_generate(NULL, other, &kit.err), QUIPU_OK);

    cr_assert_eq(unlock(seed), QUIPU_OK, "%s", kit.err.message);
    cr_assert_eq(unlock(other), QUIPU_INVALID);

    assert_state(QUIPU_IDENTITY_PLAIN);
}

Test(identity_wrapped, without_a_key_there_is_nothing_to_open)
{
    char path[4 * TEMP_DIR_BYTES];
    cr_assert_eq(unlink(key_path(path)), 0);

    assert_state(QUIPU_IDENTITY_ABSENT);
    cr_assert_eq(unlock(seed), QUIPU_NOT_FOUND);
}

Test(identity_wrapped, others_at_the_file_are_refused)
{
    char path[4 * TEMP_DIR_BYTES];
    enum quipu_identity_state state;
    cr_assert_eq(chmod(key_path(path), 0640), 0);

    cr_assert_eq(quipu_identity_state(kit.engine, &state, &kit.err), QUIPU_PERMISSION);
    cr_assert_eq(unlock(seed), QUIPU_PERMISSION);
}

/* Which source the first event is of, nobody knows before the key was opened. */
Test(identity_wrapped, new_store_waits_for_the_opened_key)
{
    struct kit fresh;
    char path[4 * TEMP_DIR_BYTES];
    char found[QUIPU_SOURCE_TEXT_BYTES];
    struct quipu_appended appended;
    kit_open(&fresh);
    struct quipu_event event = kit_event(&fresh, "a", 1);
    (void)snprintf(path, sizeof path, "%s/signing.key", fresh.path);
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file);
    cr_assert_geq(fputs(WRAPPED_ARMORED, file), 0);
    cr_assert_eq(fclose(file), 0);
    cr_assert_eq(chmod(path, 0600), 0);

    cr_assert_eq(quipu_append(fresh.engine, &event, &appended, &fresh.err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_identity_source(fresh.engine, found, &fresh.err), QUIPU_KEY_LOCKED);
    cr_assert_eq(quipu_identity_ensure(fresh.engine, &fresh.err), QUIPU_KEY_LOCKED);

    kit_assert_ok(&fresh, quipu_identity_unlock(fresh.engine, quipu_slice_text(seed), &fresh.err));
    kit_assert_ok(&fresh, quipu_append(fresh.engine, &event, &appended, &fresh.err));
    kit_assert_ok(&fresh, quipu_identity_source(fresh.engine, found, &fresh.err));
    cr_assert_str_eq(found, source);
    kit_assert_sound(&fresh, 1);
    kit_close(&fresh);
}

/* A long-lived engine, while another process puts another key in the place of the first. */
Test(identity_wrapped, opened_key_that_was_put_away_signs_no_more)
{
    char other[QUIPU_NKEY_SEED_TEXT_BYTES];
    struct quipu_store *store = NULL;
    struct quipu_engine *second = NULL;
    cr_assert_eq(unlock(seed), QUIPU_OK, "%s", kit.err.message);
    cr_assert_eq(sign(), QUIPU_OK);

    kit_shut(&kit); /* one process may not open a store twice */
    cr_assert_eq(quipu_nkey_seed_generate(NULL, other, &kit.err), QUIPU_OK);
    key_write(other);
    kit_assert_ok(&kit, quipu_store_open(kit.path, NULL, &store, &kit.err));
    kit_assert_ok(&kit, quipu_engine_open(store, NULL, &second, &kit.err));
    kit_assert_ok(&kit, quipu_identity_ensure(second, &kit.err));
    kit_assert_ok(&kit, quipu_identity_unlock(second, quipu_slice_text(other), &kit.err));
    key_write(WRAPPED_BINARY);
    kit_assert_ok(&kit, quipu_identity_unlock(second, quipu_slice_text(other), &kit.err));
    key_write(seed);
    kit_assert_ok(&kit, quipu_identity_ensure(second, &kit.err)); /* the row is the first's again */
    key_write(WRAPPED_BINARY);

    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    cr_assert_eq(quipu_identity_sign(second, quipu_slice_text("m"), signature, &kit.err),
                 QUIPU_KEY_LOCKED);
    quipu_engine_close(&second);
    quipu_store_close(&store);
    kit_reopen(&kit);
}

/* The engine knows no passphrase: who stands in front of it is told that the new key is plain. */
static void assert_was_wrapped(bool expected)
{
    bool was_wrapped = !expected;
    kit_assert_ok(&kit, quipu_identity_was_wrapped(kit.engine, &was_wrapped, &kit.err));
    cr_assert_eq(was_wrapped, expected);
}

Test(identity_wrapped, store_remembers_that_a_key_that_is_gone_was_wrapped)
{
    char path[4 * TEMP_DIR_BYTES];
    assert_was_wrapped(false); /* nobody has recorded since it was wrapped */
    kit_assert_ok(&kit, quipu_identity_ensure(kit.engine, &kit.err));
    assert_was_wrapped(true);

    cr_assert_eq(unlink(key_path(path)), 0);
    kit_reopen(&kit);
    assert_was_wrapped(true);
    (void)kit_append(&kit, "a", 1);
    assert_state(QUIPU_IDENTITY_PLAIN);

    kit_reopen(&kit);
    (void)kit_append(&kit, "a", 1);
    assert_was_wrapped(false);
}

Test(identity_wrapped, appending_alone_remembers_too)
{
    (void)kit_append(&kit, "a", 1);
    assert_was_wrapped(true);
    key_write(seed);
    kit_reopen(&kit);
    (void)kit_append(&kit, "a", 1);
    assert_was_wrapped(false);
}

#ifdef QUIPU_FAILPOINTS
Test(identity_wrapped, no_memory_for_the_key_leaves_it_locked)
{
    cr_assert_eq(setenv("QUIPU_FAILPOINT", "engine.identity.secret:fail", 1), 0);

    cr_assert_eq(unlock(seed), QUIPU_NO_MEMORY);
    assert_state(QUIPU_IDENTITY_LOCKED);

    cr_assert_eq(unlock(seed), QUIPU_OK, "%s", kit.err.message);
    cr_assert_eq(sign(), QUIPU_OK);
}
#endif

/* ------------------------------------------------------------------ seeds */

Test(nkey, generated_seed_signs_for_its_public_key)
{
    char text[QUIPU_NKEY_SEED_TEXT_BYTES];
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_slice message = quipu_slice_text("message");

    cr_assert_eq(quipu_nkey_seed_generate(NULL, text, NULL), QUIPU_OK);

    cr_assert_eq(strlen(text), 58u);
    cr_assert_eq(strncmp(text, "SU", 2), 0);
    cr_assert_eq(quipu_nkey_seed_public_key(quipu_slice_text(text), public_key, NULL), QUIPU_OK);
    cr_assert_eq(quipu_nkey_seed_sign(quipu_slice_text(text), message, signature, NULL), QUIPU_OK);
    cr_assert_eq(crypto_sign_verify_detached(signature, message.data, message.len, public_key), 0);
    text[10] = text[10] == 'A' ? 'B' : 'A';
    cr_assert_eq(quipu_nkey_seed_sign(quipu_slice_text(text), message, signature, NULL),
                 QUIPU_INVALID);
}
