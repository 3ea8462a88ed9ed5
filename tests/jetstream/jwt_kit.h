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

/* Write a .creds file for a new user of the realm's account; `expires_unix_s` 0: never. */
void jwt_user_creds(const struct jwt_realm *realm, int64_t expires_unix_s, const char *path);

#endif
