/*
 * Identities and a passphrase in guarded memory: libsodium's pages between guard pages, left out of
 * core dumps, locked where the limit of the process allows, wiped when given back. The struct
 * itself holds no secret. No error here ever quotes a character of a key.
 *
 * Specification: c2sp.org/age, "The X25519 recipient type"; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "age_parts.h"

#include <string.h>

#include "bech32.h"
#include "internal/failpoint.h"
#include "quipu/alloc.h"

#define RECIPIENT_PREFIX "age"
#define IDENTITY_PREFIX  "AGE-SECRET-KEY-"
#define CAP_FIRST        4u

enum quipu_status age_start(struct quipu_error *err)
{
    return sodium_init() < 0 ? quipu_error_set(err, QUIPU_NO_RANDOM, "libsodium does not start")
                             : QUIPU_OK;
}

void *age_secret_alloc(size_t bytes, bool *is_locked)
{
    if (quipu_failpoint("airgap.age.secret", NULL) != QUIPU_OK) {
        return NULL;
    }
    void *secret = sodium_malloc(bytes);
    if (secret == NULL) {
        return NULL;
    }
    /* sodium_malloc locks too, but does not tell; a second lock changes nothing. */
    if (sodium_mlock(secret, bytes) != 0) {
        *is_locked = false;
    }
    memset(secret, 0, bytes);
    return secret;
}

void age_secret_free(void *secret)
{
    sodium_free(secret); /* wipes and unlocks; NULL is fine */
}

static enum quipu_status no_memory(struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_NO_MEMORY, "no memory for age keys");
}

/* ------------------------------------------------------------------ recipients */

static bool begins_with(struct quipu_slice text, const char *prefix)
{
    size_t len = strlen(prefix);
    return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

/* The readable part of another type: "age1pq1…", "age1tag1…", "age1yubikey1…". The digits of bech32
 * have no '1', so a second one cannot be part of an X25519 key. */
static bool is_other_recipient(struct quipu_slice text)
{
    return begins_with(text, "ssh-") ||
           (begins_with(text, "age1") && memchr(text.data + 4, '1', text.len - 4) != NULL);
}

enum quipu_status quipu_age_recipient_parse(struct quipu_slice text,
                                            struct quipu_age_recipient *out,
                                            struct quipu_error *err)
{
    struct quipu_age_recipient recipient;
    const char *why = NULL;
    if (is_other_recipient(text)) {
        return quipu_error_set(err, QUIPU_AGE_UNSUPPORTED,
                               "this age recipient is of a type that is not supported; give an "
                               "X25519 one, age1 and 58 characters");
    }
    if (!bech32_decode(text, RECIPIENT_PREFIX, BECH32_LOWER, recipient.public_key,
                       sizeof recipient.public_key, &why)) {
        return quipu_error_set(err, QUIPU_AGE_KEY, "not an age recipient (age1…): %s", why);
    }
    *out = recipient;
    return QUIPU_OK;
}

void quipu_age_recipient_format(const struct quipu_age_recipient *recipient,
                                char out[QUIPU_AGE_RECIPIENT_TEXT_BYTES])
{
    bech32_encode(RECIPIENT_PREFIX,
                  quipu_slice(recipient->public_key, sizeof recipient->public_key), BECH32_LOWER,
                  out);
}

/* ------------------------------------------------------------------ secrets */

enum quipu_status quipu_age_secrets_new(struct quipu_age_secrets **out, struct quipu_error *err)
{
    enum quipu_status status = age_start(err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_age_secrets *secrets = quipu_alloc_zero(1, sizeof *secrets);
    if (secrets == NULL) {
        return no_memory(err);
    }
    secrets->is_locked = true;
    *out = secrets;
    return QUIPU_OK;
}

void quipu_age_secrets_free(struct quipu_age_secrets **secrets)
{
    struct quipu_age_secrets *old = *secrets;
    *secrets = NULL;
    if (old != NULL) {
        age_secret_free(old->identities);
        age_secret_free(old->passphrase);
        quipu_free(old);
    }
}

/* Room for one identity more. */
static enum quipu_status secrets_grow(struct quipu_age_secrets *secrets, struct quipu_error *err)
{
    if (secrets->count == QUIPU_AGE_IDENTITIES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "more than %d age identities; give fewer",
                               QUIPU_AGE_IDENTITIES_MAX);
    }
    if (secrets->count < secrets->cap) {
        return QUIPU_OK;
    }
    size_t cap = secrets->cap == 0 ? CAP_FIRST : 2 * secrets->cap;
    struct age_identity *grown =
        age_secret_alloc(cap * sizeof *secrets->identities, &secrets->is_locked);
    if (grown == NULL) {
        return no_memory(err);
    }
    if (secrets->count > 0) {
        memcpy(grown, secrets->identities, secrets->count * sizeof *grown);
    }
    age_secret_free(secrets->identities);
    secrets->identities = grown;
    secrets->cap = cap;
    return QUIPU_OK;
}

/* Take back what was added behind the first `count`. */
static void secrets_cut(struct quipu_age_secrets *secrets, size_t count)
{
    if (secrets->identities != NULL) {
        sodium_memzero(secrets->identities + count,
                       (secrets->cap - count) * sizeof *secrets->identities);
    }
    secrets->count = count;
}

/* The identity behind the last becomes one of the set. */
static void secrets_admit(struct quipu_age_secrets *secrets)
{
    struct age_identity *identity = &secrets->identities[secrets->count++];
    (void)crypto_scalarmult_base(identity->public_key, identity->secret_key); /* always 0 */
}

static enum quipu_status add_line(struct quipu_age_secrets *secrets, struct quipu_slice line,
                                  size_t number, struct quipu_error *err)
{
    const char *why = NULL;
    if (line.len > 0 && line.data[line.len - 1] == '\r') {
        line.len--;
    }
    if (line.len == 0 || line.data[0] == '#') {
        return QUIPU_OK;
    }
    if (begins_with(line, IDENTITY_PREFIX "PQ-1") || begins_with(line, "AGE-PLUGIN-")) {
        secrets->has_unsupported = true;
        return QUIPU_OK;
    }
    enum quipu_status status = secrets_grow(secrets, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct age_identity *identity = &secrets->identities[secrets->count];
    if (!bech32_decode(line, IDENTITY_PREFIX, BECH32_UPPER, identity->secret_key,
                       sizeof identity->secret_key, &why)) {
        return quipu_error_set(err, QUIPU_AGE_KEY,
                               "line %zu is not an age identity (AGE-SECRET-KEY-1…): %s", number,
                               why);
    }
    secrets_admit(secrets);
    return QUIPU_OK;
}

enum quipu_status quipu_age_secrets_add(struct quipu_age_secrets *secrets, struct quipu_slice text,
                                        struct quipu_error *err)
{
    size_t before = secrets->count;
    bool had_unsupported = secrets->has_unsupported;
    enum quipu_status status = QUIPU_OK;
    secrets->has_unsupported = false;
    for (size_t number = 1; text.len > 0 && status == QUIPU_OK; number++) {
        const uint8_t *end = memchr(text.data, '\n', text.len);
        size_t len = end == NULL ? text.len : (size_t)(end - text.data);
        status = add_line(secrets, quipu_slice(text.data, len), number, err);
        len += end != NULL;
        text = quipu_slice(text.data + len, text.len - len);
    }
    if (status == QUIPU_OK && secrets->count == before && !secrets->has_unsupported) {
        status = quipu_error_set(err, QUIPU_AGE_KEY,
                                 "no age identity in it: a line AGE-SECRET-KEY-1… was expected");
    }
    if (status != QUIPU_OK) {
        secrets_cut(secrets, before);
        secrets->has_unsupported = had_unsupported;
        return status;
    }
    secrets->has_unsupported = secrets->has_unsupported || had_unsupported;
    return QUIPU_OK;
}

enum quipu_status quipu_age_secrets_generate(struct quipu_age_secrets *secrets,
                                             const struct quipu_random *random,
                                             struct quipu_error *err)
{
    struct quipu_random from = random != NULL ? *random : quipu_random_system();
    enum quipu_status status = secrets_grow(secrets, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct age_identity *identity = &secrets->identities[secrets->count];
    status = from.fill(from.ctx, identity->secret_key, sizeof identity->secret_key, err);
    if (status != QUIPU_OK) {
        secrets_cut(secrets, secrets->count);
        return status;
    }
    secrets_admit(secrets);
    return QUIPU_OK;
}

enum quipu_status quipu_age_secrets_set_passphrase(struct quipu_age_secrets *secrets,
                                                   struct quipu_slice passphrase,
                                                   struct quipu_error *err)
{
    if (passphrase.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "a passphrase of 0 bytes; give at least one");
    }
    if (passphrase.len > QUIPU_AGE_PASSPHRASE_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a passphrase has at most %d bytes, not %zu",
                               QUIPU_AGE_PASSPHRASE_BYTES_MAX, passphrase.len);
    }
    uint8_t *copy = age_secret_alloc(passphrase.len, &secrets->is_locked);
    if (copy == NULL) {
        return no_memory(err);
    }
    memcpy(copy, passphrase.data, passphrase.len);
    age_secret_free(secrets->passphrase);
    secrets->passphrase = copy;
    secrets->passphrase_len = passphrase.len;
    return QUIPU_OK;
}

enum quipu_status quipu_age_secrets_allow_work(struct quipu_age_secrets *secrets,
                                               unsigned work_factor_max, struct quipu_error *err)
{
    if (work_factor_max > QUIPU_AGE_SCRYPT_LOG_CEILING) {
        return quipu_error_set(err, QUIPU_INVALID, "scrypt work factor %u; at most %d",
                               work_factor_max, QUIPU_AGE_SCRYPT_LOG_CEILING);
    }
    secrets->work_factor_max = work_factor_max;
    return QUIPU_OK;
}

size_t quipu_age_secrets_count(const struct quipu_age_secrets *secrets)
{
    return secrets->count;
}

enum quipu_status quipu_age_secrets_recipient(const struct quipu_age_secrets *secrets, size_t index,
                                              struct quipu_age_recipient *out)
{
    if (index >= secrets->count) {
        return QUIPU_MISUSE;
    }
    memcpy(out->public_key, secrets->identities[index].public_key, sizeof out->public_key);
    return QUIPU_OK;
}

enum quipu_status quipu_age_secrets_format(const struct quipu_age_secrets *secrets, size_t index,
                                           char out[QUIPU_AGE_IDENTITY_TEXT_BYTES])
{
    if (index >= secrets->count) {
        return QUIPU_MISUSE;
    }
    const struct age_identity *identity = &secrets->identities[index];
    bech32_encode(IDENTITY_PREFIX, quipu_slice(identity->secret_key, sizeof identity->secret_key),
                  BECH32_UPPER, out);
    return QUIPU_OK;
}

bool quipu_age_secrets_is_locked(const struct quipu_age_secrets *secrets)
{
    return secrets->is_locked;
}
