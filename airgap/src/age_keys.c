/*
 * The keys of one age file: how the file key is wrapped for a recipient or a passphrase, what is
 * derived from it, and the chunks that are sealed with that. Every intermediate secret lies in
 * struct age_keys, which is secret memory.
 *
 * Specification: c2sp.org/age, "File key", "Payload", "The X25519 recipient type", "The scrypt
 * recipient type"; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <string.h>

#include "age_parts.h"
#include "internal/bytes.h"

#define INFO_HEADER  "header"
#define INFO_PAYLOAD "payload"
#define INFO_X25519  "age-encryption.org/v1/X25519"
#define SALT_SCRYPT  "age-encryption.org/v1/scrypt"
#define SCRYPT_R     8u
#define SCRYPT_P     1u

_Static_assert(sizeof(((struct quipu_age_recipient *)0)->public_key) == crypto_scalarmult_BYTES,
               "X25519 key");
_Static_assert(crypto_auth_hmacsha256_BYTES == 32, "one block of HKDF is a whole key");

static void hmac_update(struct age_keys *keys, struct quipu_slice bytes)
{
    (void)crypto_auth_hmacsha256_update(&keys->hmac, bytes.data, bytes.len); /* always 0 */
}

static void hmac_init(struct age_keys *keys, struct quipu_slice key)
{
    static const uint8_t NO_KEY[1];
    (void)crypto_auth_hmacsha256_init(&keys->hmac, key.len == 0 ? NO_KEY : key.data,
                                      key.len); /* always 0 */
}

static void hmac_final(struct age_keys *keys, uint8_t out[crypto_auth_hmacsha256_BYTES])
{
    (void)crypto_auth_hmacsha256_final(&keys->hmac, out); /* always 0 */
}

/* HKDF-SHA-256 (RFC 5869) of 32 bytes: one block of the expansion. */
static void derive(struct age_keys *keys, struct quipu_slice input, struct quipu_slice salt,
                   const char *info, uint8_t out[32])
{
    static const uint8_t FIRST_BLOCK = 1;
    hmac_init(keys, salt);
    hmac_update(keys, input);
    hmac_final(keys, keys->derived);
    hmac_init(keys, quipu_slice(keys->derived, sizeof keys->derived));
    hmac_update(keys, quipu_slice_text(info));
    hmac_update(keys, quipu_slice(&FIRST_BLOCK, 1));
    hmac_final(keys, out);
}

/* A wrap key is used once, so its nonce is all zero. */
static const uint8_t WRAP_NONCE[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

void age_seal_file_key(struct age_keys *keys, uint8_t body[AGE_BODY_BYTES])
{
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, keys->file_key,
                                                    sizeof keys->file_key, NULL, 0, NULL,
                                                    WRAP_NONCE, keys->wrap_key); /* always 0 */
}

bool age_open_file_key(struct age_keys *keys, const uint8_t body[AGE_BODY_BYTES])
{
    return crypto_aead_chacha20poly1305_ietf_decrypt(keys->file_key, NULL, NULL, body,
                                                     AGE_BODY_BYTES, NULL, 0, WRAP_NONCE,
                                                     keys->wrap_key) == 0;
}

/* keys->wrap_key from keys->shared. */
static void derive_x25519(struct age_keys *keys, const uint8_t share[crypto_scalarmult_BYTES],
                          const uint8_t recipient[crypto_scalarmult_BYTES])
{
    uint8_t salt[2 * crypto_scalarmult_BYTES];
    memcpy(salt, share, crypto_scalarmult_BYTES);
    memcpy(salt + crypto_scalarmult_BYTES, recipient, crypto_scalarmult_BYTES);
    derive(keys, quipu_slice(keys->shared, sizeof keys->shared), quipu_slice(salt, sizeof salt),
           INFO_X25519, keys->wrap_key);
}

/* keys->shared; false where it is all zero: the point is of low order. */
static bool share_secret(struct age_keys *keys, const uint8_t secret[crypto_scalarmult_SCALARBYTES],
                         const uint8_t point[crypto_scalarmult_BYTES])
{
    /* libsodium refuses some such points before it multiplies, and says so in the same way. */
    return crypto_scalarmult(keys->shared, secret, point) == 0 &&
           sodium_is_zero(keys->shared, sizeof keys->shared) == 0;
}

bool age_wrap_x25519(struct age_keys *keys, const struct quipu_age_recipient *recipient,
                     uint8_t share[crypto_scalarmult_BYTES], uint8_t body[AGE_BODY_BYTES])
{
    (void)crypto_scalarmult_base(share, keys->ephemeral); /* always 0 */
    if (!share_secret(keys, keys->ephemeral, recipient->public_key)) {
        return false;
    }
    derive_x25519(keys, share, recipient->public_key);
    age_seal_file_key(keys, body);
    return true;
}

enum age_unwrapped age_unwrap_x25519(struct age_keys *keys, const struct age_identity *identity,
                                     const uint8_t share[crypto_scalarmult_BYTES],
                                     const uint8_t body[AGE_BODY_BYTES])
{
    if (!share_secret(keys, identity->secret_key, share)) {
        return AGE_LOW_ORDER;
    }
    derive_x25519(keys, share, identity->public_key);
    return age_open_file_key(keys, body) ? AGE_UNWRAPPED : AGE_NOT_OURS;
}

enum quipu_status age_derive_scrypt(struct age_keys *keys, const struct quipu_age_secrets *secrets,
                                    const uint8_t salt[AGE_SALT_BYTES], unsigned work_factor,
                                    struct quipu_error *err)
{
    uint8_t long_salt[sizeof SALT_SCRYPT - 1 + AGE_SALT_BYTES];
    memcpy(long_salt, SALT_SCRYPT, sizeof SALT_SCRYPT - 1);
    memcpy(long_salt + sizeof SALT_SCRYPT - 1, salt, AGE_SALT_BYTES);
    if (crypto_pwhash_scryptsalsa208sha256_ll(secrets->passphrase, secrets->passphrase_len,
                                              long_salt, sizeof long_salt,
                                              (uint64_t)1 << work_factor, SCRYPT_R, SCRYPT_P,
                                              keys->wrap_key, sizeof keys->wrap_key) != 0) {
        return quipu_error_set(err, QUIPU_NO_MEMORY,
                               "no memory for scrypt: work factor %u takes %llu KiB", work_factor,
                               1ull << work_factor);
    }
    return QUIPU_OK;
}

void age_header_mac(struct age_keys *keys, struct quipu_slice header, uint8_t mac[AGE_MAC_BYTES])
{
    derive(keys, quipu_slice(keys->file_key, sizeof keys->file_key), quipu_slice(NULL, 0),
           INFO_HEADER, keys->derived);
    hmac_init(keys, quipu_slice(keys->derived, sizeof keys->derived));
    hmac_update(keys, header);
    hmac_final(keys, mac);
}

void age_derive_payload_key(struct age_keys *keys, const uint8_t nonce[AGE_NONCE_BYTES])
{
    derive(keys, quipu_slice(keys->file_key, sizeof keys->file_key),
           quipu_slice(nonce, AGE_NONCE_BYTES), INFO_PAYLOAD, keys->payload_key);
}

/* Eleven bytes of counter, of which eight can ever be used, and the mark of the last chunk. */
static void chunk_nonce(uint64_t number, bool is_last,
                        uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
    memset(nonce, 0, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
    quipu_store_be64(nonce + 3, number);
    nonce[11] = is_last;
}

void age_seal_chunk(const struct age_keys *keys, uint64_t number, bool is_last,
                    struct quipu_slice plain, uint8_t *sealed)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    chunk_nonce(number, is_last, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain.data, plain.len, NULL, 0,
                                                    NULL, nonce, keys->payload_key); /* always 0 */
}

bool age_open_chunk(const struct age_keys *keys, uint64_t number, bool is_last,
                    struct quipu_slice sealed, uint8_t *plain)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    chunk_nonce(number, is_last, nonce);
    /* The tag is checked before a byte of `plain` is written. */
    return crypto_aead_chacha20poly1305_ietf_decrypt(plain, NULL, NULL, sealed.data, sealed.len,
                                                     NULL, 0, nonce, keys->payload_key) == 0;
}
