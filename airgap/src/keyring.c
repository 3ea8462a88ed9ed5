/*
 * Key files made, looked at and given another cover. Who asks for the passphrase, and where it
 * comes from, is the caller's; nothing here says a character of a key or of a passphrase.
 *
 * Specification: docs/SPEC.md §3.2, §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <fcntl.h>
#include <string.h>

#include "age_parts.h"
#include "keyring_parts.h"
#include "quipu/alloc.h"

#define SEED_CHARS (QUIPU_NKEY_SEED_TEXT_BYTES - 1)
/* Two comments and an identity. */
#define IDENTITY_FILE_BYTES 512

enum quipu_status quipu_passphrase_check(struct quipu_slice passphrase, struct quipu_error *err)
{
    size_t chars = 0;
    size_t blanks = 0;
    for (size_t i = 0; i < passphrase.len; i++) {
        chars += (passphrase.data[i] & 0xc0) != 0x80; /* UTF-8: not the middle of a character */
        blanks +=
            passphrase.data[i] == ' ' || (passphrase.data[i] >= '\t' && passphrase.data[i] <= '\r');
    }
    if (passphrase.len > QUIPU_AGE_PASSPHRASE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a passphrase has at most %d bytes, not %zu",
                               QUIPU_AGE_PASSPHRASE_BYTES_MAX, passphrase.len);
    }
    if (chars < QUIPU_PASSPHRASE_CHARS_MIN) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the passphrase has %zu characters, and who gets hold of the file "
                               "can try it at leisure; take %d or more, such as five words",
                               chars, QUIPU_PASSPHRASE_CHARS_MIN);
    }
    if (blanks == passphrase.len) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "the passphrase is nothing but blanks; take words");
    }
    if (memchr(passphrase.data, 0, passphrase.len) != NULL) {
        return quipu_error_set(
            err, QUIPU_INVALID,
            "there is a NUL in the passphrase, which nobody can type; take words");
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ what is in a file */

/* The NKey seed that a plain signing key file holds; empty where it is none. */
static struct quipu_slice seed_of(struct quipu_slice plain)
{
    bool has_newline = plain.len == SEED_CHARS + 1 && plain.data[SEED_CHARS] == '\n';
    size_t chars = has_newline ? SEED_CHARS : plain.len;
    return chars == SEED_CHARS ? quipu_slice(plain.data, chars) : quipu_slice(NULL, 0);
}

/* An age identity file with no X25519 identity in it cannot be told apart from anything else. */
static enum quipu_status look_at_age(struct quipu_slice plain, struct quipu_key_public *out,
                                     struct quipu_error *err)
{
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_age_recipient recipient;
    enum quipu_status status = quipu_age_secrets_new(&secrets, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_add(secrets, plain, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_recipient(secrets, 0, &recipient);
    }
    if (status == QUIPU_OK) {
        out->kind = QUIPU_KEY_AGE;
        memcpy(out->public_key, recipient.public_key, sizeof out->public_key);
        quipu_age_recipient_format(&recipient, out->text);
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

static enum quipu_status look(const char *path, struct quipu_slice plain,
                              struct quipu_key_public *out, struct quipu_error *err)
{
    struct quipu_slice seed = seed_of(plain);
    struct quipu_key_public found = {.kind = QUIPU_KEY_SIGNING};
    enum quipu_status status = QUIPU_INVALID;
    if (seed.len > 0) {
        status = quipu_nkey_seed_public_key(seed, found.public_key, NULL);
    }
    if (status == QUIPU_OK) {
        quipu_nkey_format('U', found.public_key, found.text);
    } else {
        status = look_at_age(plain, &found, err);
    }
    if (status == QUIPU_OK) {
        *out = found;
    } else if (status != QUIPU_NO_MEMORY && status != QUIPU_NO_RANDOM) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "%s holds neither one NKey user seed nor an age identity; name a "
                                 "key file",
                                 path);
    }
    return status;
}

/* ------------------------------------------------------------------ loading */

/* The plaintext of a key file; the caller releases `plain` in any case. */
static enum quipu_status load(int dir, const char *name, const char *path,
                              const struct quipu_passphrase *passphrase,
                              struct keyring_bytes *plain, bool *is_wrapped,
                              struct quipu_error *err)
{
    struct keyring_bytes file = {0};
    enum quipu_status status = keyring_file_read(dir, name, path, &file, err);
    if (status == QUIPU_OK) {
        *is_wrapped = keyring_is_wrapped(keyring_bytes_slice(&file));
        status = keyring_open(path, &file, passphrase, plain, err);
    }
    keyring_bytes_release(&file);
    return status;
}

struct quipu_signing_key {
    struct keyring_bytes seed; /* its text */
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
};

/* The text into memory of its own: the file's may be as large as a file. */
static enum quipu_status signing_key_new(struct quipu_slice seed, struct quipu_signing_key **out,
                                         struct quipu_error *err)
{
    struct quipu_signing_key *key = quipu_alloc_zero(1, sizeof *key);
    if (key == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a signing key");
    }
    enum quipu_status status = quipu_nkey_seed_public_key(seed, key->public_key, err);
    if (status == QUIPU_OK) {
        status = keyring_bytes_init(&key->seed, seed.len, err);
    }
    if (status != QUIPU_OK) {
        quipu_free(key);
        return status;
    }
    memcpy(key->seed.data, seed.data, seed.len);
    key->seed.len = seed.len;
    *out = key;
    return QUIPU_OK;
}

enum quipu_status quipu_signing_key_load(const char *path,
                                         const struct quipu_passphrase *passphrase,
                                         struct quipu_signing_key **out, struct quipu_error *err)
{
    struct keyring_bytes plain = {0};
    bool is_wrapped = false;
    enum quipu_status status = load(AT_FDCWD, path, path, passphrase, &plain, &is_wrapped, err);
    if (status == QUIPU_OK) {
        status = signing_key_new(seed_of(keyring_bytes_slice(&plain)), out, err);
        if (status == QUIPU_INVALID) {
            status =
                quipu_error_set(err, QUIPU_CORRUPT,
                                "%s does not hold one NKey user seed; name a signing key", path);
        }
    }
    keyring_bytes_release(&plain);
    return status;
}

void quipu_signing_key_free(struct quipu_signing_key **key)
{
    struct quipu_signing_key *old = *key;
    *key = NULL;
    if (old != NULL) {
        keyring_bytes_release(&old->seed);
        quipu_free(old);
    }
}

void quipu_signing_key_public(const struct quipu_signing_key *key,
                              uint8_t out[QUIPU_PUBLIC_KEY_BYTES])
{
    memcpy(out, key->public_key, sizeof key->public_key);
}

enum quipu_status quipu_signing_key_sign(const struct quipu_signing_key *key,
                                         struct quipu_slice message,
                                         uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                         struct quipu_error *err)
{
    return quipu_nkey_seed_sign(keyring_bytes_slice(&key->seed), message, signature, err);
}

bool quipu_signing_key_is_locked(const struct quipu_signing_key *key)
{
    return key->seed.is_locked;
}

enum quipu_status quipu_engine_unlock(struct quipu_engine *engine,
                                      const struct quipu_passphrase *passphrase,
                                      struct quipu_error *err)
{
    struct quipu_store *store = quipu_engine_store(engine);
    struct keyring_bytes plain = {0};
    struct quipu_buf path = QUIPU_BUF_INIT;
    enum quipu_identity_state state = QUIPU_IDENTITY_ABSENT;
    bool is_wrapped = false;
    enum quipu_status status = quipu_identity_state(engine, &state, err);
    if (status != QUIPU_OK || state != QUIPU_IDENTITY_LOCKED) {
        return status;
    }
    quipu_buf_printf(&path, "%s/signing.key", quipu_store_path(store));
    quipu_buf_append_byte(&path, 0);
    status = path.status;
    if (status != QUIPU_OK) {
        (void)quipu_error_set(err, status, "no memory for a path"); /* returned below */
    } else {
        status = load(quipu_store_folder(store), "signing.key", (const char *)path.data, passphrase,
                      &plain, &is_wrapped, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_unlock(engine, keyring_bytes_slice(&plain), err);
    }
    keyring_bytes_release(&plain);
    quipu_buf_release(&path);
    return status;
}

enum quipu_status quipu_age_secrets_load(struct quipu_age_secrets *secrets, const char *path,
                                         const struct quipu_passphrase *passphrase,
                                         struct quipu_error *err)
{
    struct keyring_bytes plain = {0};
    bool is_wrapped = false;
    enum quipu_status status = load(AT_FDCWD, path, path, passphrase, &plain, &is_wrapped, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_add(secrets, keyring_bytes_slice(&plain), err);
        status = status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
    }
    keyring_bytes_release(&plain);
    return status;
}

enum quipu_status quipu_key_look(const char *path, const struct quipu_passphrase *passphrase,
                                 struct quipu_key_public *out, struct quipu_error *err)
{
    struct keyring_bytes plain = {0};
    struct quipu_key_public found = {.kind = QUIPU_KEY_SIGNING};
    bool is_wrapped = false;
    enum quipu_status status = load(AT_FDCWD, path, path, passphrase, &plain, &is_wrapped, err);
    if (status == QUIPU_OK) {
        status = look(path, keyring_bytes_slice(&plain), &found, err);
    }
    if (status == QUIPU_OK) {
        *out = found;
        out->is_wrapped = is_wrapped;
    }
    keyring_bytes_release(&plain);
    return status;
}

enum quipu_status quipu_key_is_wrapped(const char *path, bool *out, struct quipu_error *err)
{
    struct keyring_bytes file = {0};
    enum quipu_status status = keyring_file_read(AT_FDCWD, path, path, &file, err);
    if (status == QUIPU_OK) {
        *out = keyring_is_wrapped(keyring_bytes_slice(&file));
    }
    keyring_bytes_release(&file);
    return status;
}

/* ------------------------------------------------------------------ making and replacing */

static enum quipu_status options_check(const struct quipu_key_options *options,
                                       struct quipu_error *err)
{
    if (options == NULL || options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "options of %zu bytes, not %zu; start from QUIPU_KEY_OPTIONS_INIT",
                               options == NULL ? 0 : options->size, sizeof *options);
    }
    if (options->passphrase == NULL) {
        return QUIPU_OK;
    }
    return quipu_passphrase_check(
        quipu_slice(options->passphrase->passphrase, options->passphrase->passphrase_len), err);
}

static enum quipu_status make_signing(const struct quipu_key_options *options,
                                      struct keyring_bytes *plain, struct quipu_error *err)
{
    enum quipu_status status = keyring_bytes_init(plain, QUIPU_NKEY_SEED_TEXT_BYTES, err);
    if (status == QUIPU_OK) {
        status = quipu_nkey_seed_generate(options->random, (char *)plain->data, err);
    }
    if (status == QUIPU_OK) {
        plain->data[SEED_CHARS] = '\n'; /* in place of the NUL */
        plain->len = SEED_CHARS + 1;
    }
    return status;
}

/* As age-keygen writes it. */
static enum quipu_status make_age(const struct quipu_key_options *options,
                                  struct keyring_bytes *plain, struct quipu_error *err)
{
    struct quipu_clock clock = options->clock != NULL ? *options->clock : quipu_clock_system();
    struct quipu_age_secrets *secrets = NULL;
    struct quipu_age_recipient recipient;
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];
    char created[QUIPU_RFC3339_BYTES];
    enum quipu_status status = keyring_bytes_init(plain, IDENTITY_FILE_BYTES, err);
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_new(&secrets, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_generate(secrets, options->random, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_age_secrets_recipient(secrets, 0, &recipient);
    }
    if (status == QUIPU_OK) {
        struct quipu_buf out;
        int64_t now_us = clock.unix_us(clock.ctx);
        quipu_age_recipient_format(&recipient, text);
        quipu_rfc3339_format(now_us - now_us % 1000000, created);
        quipu_buf_init_fixed(&out, plain->data, plain->cap);
        quipu_buf_printf(&out, "# created: %s\n# public key: %s\n", created, text);
        plain->len = out.len;
        /* Straight into secret memory; its NUL becomes the newline. */
        status = quipu_age_secrets_format(secrets, 0, (char *)plain->data + plain->len);
        plain->len += QUIPU_AGE_IDENTITY_TEXT_BYTES;
        plain->data[plain->len - 1] = '\n';
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

/* Cover it, write it, read it back, name it. */
static enum quipu_status settle(struct keyring_file *file, enum keyring_naming naming,
                                const struct keyring_bytes *plain,
                                const struct quipu_key_options *options, struct quipu_error *err)
{
    struct quipu_buf wrapped = QUIPU_BUF_INIT;
    struct keyring_bytes back = {0};
    struct quipu_slice bytes = quipu_slice(NULL, 0);
    enum quipu_status status = keyring_cover(plain, options, &wrapped, &bytes, err);
    if (status == QUIPU_OK) {
        status = keyring_file_write(file, bytes, &back, err);
    }
    if (status == QUIPU_OK) {
        status = keyring_check(file->path, &back, options, plain, err);
    }
    if (status == QUIPU_OK) {
        status = keyring_file_name(file, naming, err);
    }
    keyring_bytes_release(&back);
    quipu_buf_release(&wrapped);
    return status;
}

enum quipu_status quipu_key_make(const char *path, enum quipu_key_kind kind,
                                 const struct quipu_key_options *options,
                                 struct quipu_key_public *out, struct quipu_error *err)
{
    struct keyring_file file = KEYRING_FILE_INIT;
    struct keyring_bytes plain = {0};
    struct quipu_key_public made = {.kind = kind};
    enum quipu_status status = options_check(options, err);
    if (status == QUIPU_OK) {
        status = keyring_file_begin(&file, path, KEYRING_NEW, err);
    }
    if (status == QUIPU_OK) {
        status = kind == QUIPU_KEY_SIGNING ? make_signing(options, &plain, err)
                                           : make_age(options, &plain, err);
    }
    if (status == QUIPU_OK) {
        status = look(path, keyring_bytes_slice(&plain), &made, err);
    }
    if (status == QUIPU_OK) {
        status = settle(&file, KEYRING_NEW, &plain, options, err);
    }
    if (status == QUIPU_OK && out != NULL) {
        *out = made;
        out->is_wrapped = options->passphrase != NULL;
    }
    keyring_bytes_release(&plain);
    keyring_file_end(&file);
    return status;
}

enum quipu_status quipu_key_rewrap(const char *path, const struct quipu_passphrase *passphrase,
                                   const struct quipu_key_options *options,
                                   struct quipu_key_public *out, struct quipu_error *err)
{
    struct keyring_file file = KEYRING_FILE_INIT;
    struct keyring_bytes plain = {0};
    struct quipu_key_public found = {.kind = QUIPU_KEY_SIGNING};
    bool is_wrapped = false;
    enum quipu_status status = options_check(options, err);
    if (status == QUIPU_OK) {
        status = keyring_file_begin(&file, path, KEYRING_REPLACE, err);
    }
    if (status == QUIPU_OK) {
        status = load(file.folder, file.base, path, passphrase, &plain, &is_wrapped, err);
    }
    if (status == QUIPU_OK && !is_wrapped && options->passphrase == NULL) {
        status = quipu_error_set(err, QUIPU_INVALID,
                                 "%s is not wrapped; use it as it is, or wrap it", path);
    }
    if (status == QUIPU_OK) {
        status = look(path, keyring_bytes_slice(&plain), &found, err);
    }
    if (status == QUIPU_OK) {
        status = settle(&file, KEYRING_REPLACE, &plain, options, err);
    }
    if (status == QUIPU_OK && out != NULL) {
        *out = found;
        out->is_wrapped = options->passphrase != NULL;
    }
    keyring_bytes_release(&plain);
    keyring_file_end(&file);
    return status;
}
