/*
 * The cover of a key file: none, or age with a passphrase. What is in it lies in guarded memory of
 * its own size, so that even a small limit for locked memory suffices. Asks for a passphrase
 * through its caller's function, once, and keeps none.
 *
 * Specification: c2sp.org/age, "The scrypt recipient type"; docs/SPEC.md §3.2, §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "age_parts.h"
#include "keyring_parts.h"

enum quipu_status keyring_bytes_init(struct keyring_bytes *bytes, size_t cap,
                                     struct quipu_error *err)
{
    enum quipu_status status = age_start(err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct keyring_bytes made = {.cap = cap, .is_locked = true};
    made.data = age_secret_alloc(cap, &made.is_locked);
    if (made.data == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for a key");
    }
    *bytes = made;
    return QUIPU_OK;
}

void keyring_bytes_release(struct keyring_bytes *bytes)
{
    age_secret_free(bytes->data); /* wipes it; NULL is fine */
    *bytes = (struct keyring_bytes){0};
}

bool keyring_is_wrapped(struct quipu_slice file)
{
    static const char *const marks[] = {"age-encryption.org/",
                                        "-----BEGIN AGE ENCRYPTED FILE-----"};
    /* As the engine tells them apart: white space may stand before armor. */
    while (file.len > 0 && memchr(" \t\r\n", file.data[0], 4) != NULL) {
        file = quipu_slice(file.data + 1, file.len - 1);
    }
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        size_t len = strlen(marks[i]);
        if (file.len >= len && memcmp(file.data, marks[i], len) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes what fits: plaintext is never longer than its file. */
static enum quipu_status bytes_write(void *ctx, struct quipu_slice more, struct quipu_error *err)
{
    struct keyring_bytes *bytes = ctx;
    if (more.len > bytes->cap - bytes->len) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a key of more than %zu bytes", bytes->cap);
    }
    memcpy(bytes->data + bytes->len, more.data, more.len);
    bytes->len += more.len;
    return QUIPU_OK;
}

static enum quipu_status unwrap(const struct keyring_bytes *file,
                                const struct quipu_age_secrets *secrets, unsigned work_factor,
                                struct keyring_bytes *plain, struct quipu_error *err)
{
    struct quipu_age_read_options options = QUIPU_AGE_READ_OPTIONS_INIT;
    struct quipu_slice rest = keyring_bytes_slice(file);
    struct quipu_sink sink = {bytes_write, plain};
    options.work_factor_max =
        work_factor > QUIPU_AGE_SCRYPT_LOG_KEY_MAX ? work_factor : QUIPU_AGE_SCRYPT_LOG_KEY_MAX;
    enum quipu_status status = keyring_bytes_init(plain, file->len, err);
    return status == QUIPU_OK
               ? quipu_age_decrypt(quipu_source_slice(&rest), secrets, &options, sink, err)
               : status;
}

enum quipu_status keyring_open(const char *path, struct keyring_bytes *file,
                               const struct quipu_passphrase *passphrase,
                               struct keyring_bytes *plain, struct quipu_error *err)
{
    if (!keyring_is_wrapped(keyring_bytes_slice(file))) {
        *plain = *file;
        *file = (struct keyring_bytes){0};
        return QUIPU_OK;
    }
    if (passphrase == NULL || passphrase->ask == NULL) {
        return quipu_error_set(err, QUIPU_KEY_LOCKED, "%s is wrapped; give its passphrase", path);
    }
    struct quipu_age_secrets *secrets = NULL;
    enum quipu_status status = quipu_age_secrets_new(&secrets, err);
    if (status == QUIPU_OK) {
        status = passphrase->ask(passphrase->ctx, path, secrets, err);
    }
    if (status == QUIPU_OK) {
        status = unwrap(file, secrets, 0, plain, err);
        status = status == QUIPU_OK ? status : quipu_error_wrap(err, status, "%s", path);
    }
    quipu_age_secrets_free(&secrets);
    return status;
}

enum quipu_status keyring_cover(const struct keyring_bytes *plain,
                                const struct quipu_key_options *options, struct quipu_buf *wrapped,
                                struct quipu_slice *out, struct quipu_error *err)
{
    if (options->passphrase == NULL) {
        *out = keyring_bytes_slice(plain);
        return QUIPU_OK;
    }
    struct quipu_age_write_options age = QUIPU_AGE_WRITE_OPTIONS_INIT;
    struct quipu_slice rest = keyring_bytes_slice(plain);
    age.passphrase = options->passphrase;
    age.work_factor = options->work_factor;
    age.form = options->form;
    age.random = options->random;
    enum quipu_status status =
        quipu_age_encrypt(quipu_source_slice(&rest), &age, quipu_sink_buf(wrapped), err);
    if (status == QUIPU_OK && wrapped->status != QUIPU_OK) {
        status = quipu_error_set(err, wrapped->status, "no memory for a wrapped key");
    }
    *out = quipu_buf_slice(wrapped);
    return status;
}

enum quipu_status keyring_check(const char *path, struct keyring_bytes *file,
                                const struct quipu_key_options *options,
                                const struct keyring_bytes *plain, struct quipu_error *err)
{
    struct keyring_bytes opened = {0};
    const struct keyring_bytes *found = file;
    enum quipu_status status = QUIPU_OK;
    if (options->passphrase != NULL) {
        status = unwrap(file, options->passphrase, options->work_factor, &opened, err);
        found = &opened;
    }
    bool is_same = status == QUIPU_OK && found->len == plain->len &&
                   sodium_memcmp(found->data, plain->data, plain->len) == 0;
    if (!is_same && status != QUIPU_NO_MEMORY) {
        status = quipu_error_set(err, QUIPU_IO,
                                 "what was read back of %s is not what was written; check the disk",
                                 path);
    }
    keyring_bytes_release(&opened);
    return status;
}
