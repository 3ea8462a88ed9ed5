/*
 * Operator, account and user JWTs for a nats-server of a test, and .creds files for its users. All
 * keys are made anew in each test; none lies in the tree.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_JWT_KIT_H
#define QUIPU_TESTS_JWT_KIT_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"

#define JWT_BYTES 2048

struct jwt_key {
    uint8_t public_key[32];
    uint8_t secret_key[64];
    char text[QUIPU_SOURCE_TEXT_BYTES]; /* O…, A… or U… */
};

/* One operator with one account that may use JetStream, and the system account that the server
 * wants. */
struct jwt_realm {
    struct jwt_key operator_key;
    struct jwt_key account_key;
    char operator_jwt[JWT_BYTES];
    char account_jwt[JWT_BYTES];
    struct jwt_key system_key;
    char system_jwt[JWT_BYTES];
};

void jwt_realm_make(struct jwt_realm *realm);

/* Lines of a server's configuration that trust this realm. */
void jwt_realm_config(const struct jwt_realm *realm, char *out, size_t cap);

/* What a user's JWT says beside whose it is. Zero-initialised: for ever, and everything. */
struct jwt_user_claims {
    int64_t expires_unix_s; /* 0: never */
    const char *publish;    /* JSON of "pub"; NULL: {} */
};

struct jwt_user {
    struct jwt_key key;
    char jwt[JWT_BYTES];
};

void jwt_user_make(const struct jwt_realm *realm, const struct jwt_user_claims *claims,
                   struct jwt_user *user);

/* Any claims, signed by `issuer`. */
void jwt_sign(const struct jwt_key *issuer, const char *claims, char out[JWT_BYTES]);

/* The text of a .creds file: `jwt` (for instance another one) and the user's seed. */
void jwt_creds_append(const struct jwt_user *user, const char *jwt, struct quipu_buf *out);
/* The same into a file that nobody else may read. */
void jwt_creds_write(const struct jwt_user *user, const char *path);

/* A new user's key and its seed, 0600, as `nk -gen user` writes it. */
void jwt_seed_make(struct jwt_key *key, const char *path);

/* The account takes this user no more; the server learns it from jwt_realm_config. */
void jwt_realm_revoke(struct jwt_realm *realm, const struct jwt_user *user);

/* Write a .creds file for a new user of the realm's account; `expires_unix_s` 0: never. */
void jwt_user_creds(const struct jwt_realm *realm, int64_t expires_unix_s, const char *path);

#endif
