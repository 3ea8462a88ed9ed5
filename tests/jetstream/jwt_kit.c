/*
 * NATS JWTs (version 2) over libsodium: three base64url parts, signed with Ed25519.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "jwt_kit.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "quipu/multibase.h"

static void must(int is_good, const char *what)
{
    if (!is_good) {
        fprintf(stderr, "jwt kit: %s\n", what);
        abort();
    }
}

static void key_make(struct jwt_key *key, char prefix)
{
    must(sodium_init() >= 0, "libsodium");
    (void)crypto_sign_keypair(key->public_key, key->secret_key);
    quipu_nkey_format(prefix, key->public_key, key->text);
}

static void append_base(struct quipu_buf *out, enum quipu_base base, struct quipu_slice bytes)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    must(quipu_multibase_encode(base, bytes, &text, NULL) == QUIPU_OK, "multibase");
    quipu_buf_append(out, text.data + 1, text.len - 1); /* without multibase's letter */
    quipu_buf_release(&text);
}

void jwt_sign(const struct jwt_key *issuer, const char *claims, char out[JWT_BYTES])
{
    uint8_t signature[crypto_sign_BYTES];
    struct quipu_buf jwt = QUIPU_BUF_INIT;
    append_base(&jwt, QUIPU_BASE_64_URL,
                quipu_slice_text("{\"typ\":\"JWT\",\"alg\":\"ed25519-nkey\"}"));
    quipu_buf_append_byte(&jwt, '.');
    append_base(&jwt, QUIPU_BASE_64_URL, quipu_slice_text(claims));
    (void)crypto_sign_detached(signature, NULL, jwt.data, jwt.len, issuer->secret_key);
    quipu_buf_append_byte(&jwt, '.');
    append_base(&jwt, QUIPU_BASE_64_URL, quipu_slice(signature, sizeof signature));
    quipu_buf_append_byte(&jwt, 0);
    must(jwt.status == QUIPU_OK && jwt.len <= JWT_BYTES, "JWT too long");
    memcpy(out, jwt.data, jwt.len);
    quipu_buf_release(&jwt);
}

static void account_sign(const struct jwt_realm *realm, const struct jwt_key *key, const char *more,
                         char out[JWT_BYTES])
{
    char claims[JWT_BYTES];
    (void)snprintf(
        claims, sizeof claims,
        "{\"jti\":\"a\",\"iat\":1700000000,\"iss\":\"%s\",\"name\":\"account\",\"sub\":"
        "\"%s\",\"nats\":{%s,"
        "\"default_permissions\":{\"pub\":{},\"sub\":{}},\"type\":\"account\",\"version\":"
        "2}}",
        realm->operator_key.text, key->text, more);
    jwt_sign(&realm->operator_key, claims, out);
}

#define LIMITS                                                                                     \
    "\"limits\":{\"subs\":-1,\"data\":-1,\"payload\":-1,\"imports\":-1,\"exports\":-1,"            \
    "\"wildcards\":true,\"conn\":-1,\"leaf\":-1"
#define STORAGE ",\"mem_storage\":-1,\"disk_storage\":-1,\"streams\":-1,\"consumer\":-1"

void jwt_realm_make(struct jwt_realm *realm)
{
    char claims[JWT_BYTES];
    key_make(&realm->operator_key, 'O');
    (void)snprintf(claims, sizeof claims,
                   "{\"jti\":\"o\",\"iat\":1700000000,\"iss\":\"%s\",\"name\":\"operator\",\"sub\":"
                   "\"%s\",\"nats\":{\"type\":\"operator\",\"version\":2}}",
                   realm->operator_key.text, realm->operator_key.text);
    jwt_sign(&realm->operator_key, claims, realm->operator_jwt);
    key_make(&realm->account_key, 'A');
    account_sign(realm, &realm->account_key, LIMITS STORAGE "}", realm->account_jwt);
    key_make(&realm->system_key, 'A');
    account_sign(realm, &realm->system_key, LIMITS "}", realm->system_jwt);
}

void jwt_realm_revoke(struct jwt_realm *realm, const struct jwt_user *user)
{
    char more[JWT_BYTES / 2];
    (void)snprintf(more, sizeof more, LIMITS STORAGE "},\"revocations\":{\"%s\":1800000000}",
                   user->key.text);
    account_sign(realm, &realm->account_key, more, realm->account_jwt);
}

void jwt_realm_config(const struct jwt_realm *realm, char *out, size_t cap)
{
    (void)snprintf(out, cap,
                   "operator: %s\nsystem_account: %s\nresolver: MEMORY\nresolver_preload: {\n  %s: "
                   "%s\n  %s: %s\n}\n",
                   realm->operator_jwt, realm->system_key.text, realm->account_key.text,
                   realm->account_jwt, realm->system_key.text, realm->system_jwt);
}

/* CRC-16/XMODEM, as nkeys has it. */
static uint16_t crc16(const uint8_t *bytes, size_t len)
{
    unsigned crc = 0;
    for (size_t i = 0; i < len; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1 & 0xffff;
        }
    }
    return (uint16_t)crc;
}

static void append_user_seed(struct quipu_buf *out, const struct jwt_key *user)
{
    enum { SEED_PREFIX = 18 << 3, USER_PREFIX = 20 << 3 };
    uint8_t raw[2 + 32 + 2];
    raw[0] = SEED_PREFIX | USER_PREFIX >> 5;
    raw[1] = (USER_PREFIX & 31) << 3;
    memcpy(raw + 2, user->secret_key, 32);
    uint16_t crc = crc16(raw, 34);
    raw[34] = (uint8_t)crc;
    raw[35] = (uint8_t)(crc >> 8);
    append_base(out, QUIPU_BASE_32_UPPER, quipu_slice(raw, sizeof raw));
}

void jwt_user_make(const struct jwt_realm *realm, const struct jwt_user_claims *claims,
                   struct jwt_user *user)
{
    char text[JWT_BYTES];
    char expiry[64] = "";
    key_make(&user->key, 'U');
    if (claims->expires_unix_s != 0) {
        (void)snprintf(expiry, sizeof expiry, "\"exp\":%" PRId64 ",", claims->expires_unix_s);
    }
    (void)snprintf(text, sizeof text,
                   "{%s\"jti\":\"u\",\"iat\":1700000000,\"iss\":\"%s\",\"name\":\"user\",\"sub\":"
                   "\"%s\",\"nats\":{\"pub\":%s,\"sub\":{},\"subs\":-1,\"data\":-1,\"payload\":-1,"
                   "\"type\":\"user\",\"version\":2}}",
                   expiry, realm->account_key.text, user->key.text,
                   claims->publish != NULL ? claims->publish : "{}");
    jwt_sign(&realm->account_key, text, user->jwt);
}

void jwt_creds_append(const struct jwt_user *user, const char *jwt, struct quipu_buf *out)
{
    quipu_buf_printf(out,
                     "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                     "-----BEGIN USER NKEY SEED-----\n",
                     jwt);
    append_user_seed(out, &user->key);
    quipu_buf_append_text(out, "\n------END USER NKEY SEED------\n");
}

/* Under another name first: a reader never sees half a file. */
static void secret_write(const struct quipu_buf *text, const char *path)
{
    char fresh[512];
    (void)snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *file = fopen(fresh, "w");
    must(file != NULL && text->status == QUIPU_OK, "cannot write a file of secrets");
    must(fchmod(fileno(file), 0600) == 0, "chmod");
    must(fwrite(text->data, 1, text->len, file) == text->len && fclose(file) == 0, "writing");
    must(rename(fresh, path) == 0, "rename");
}

void jwt_creds_write(const struct jwt_user *user, const char *path)
{
    struct quipu_buf creds = QUIPU_BUF_INIT;
    jwt_creds_append(user, user->jwt, &creds);
    secret_write(&creds, path);
    quipu_buf_release(&creds);
}

void jwt_seed_make(struct jwt_key *key, const char *path)
{
    struct quipu_buf seed = QUIPU_BUF_INIT;
    key_make(key, 'U');
    append_user_seed(&seed, key);
    quipu_buf_append_byte(&seed, '\n');
    secret_write(&seed, path);
    quipu_buf_release(&seed);
}

void jwt_user_creds(const struct jwt_realm *realm, int64_t expires_unix_s, const char *path)
{
    struct jwt_user user;
    struct jwt_user_claims claims = {.expires_unix_s = expires_unix_s};
    jwt_user_make(realm, &claims, &user);
    jwt_creds_write(&user, path);
}
