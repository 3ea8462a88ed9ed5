/*
 * A signing key that a test makes for itself, and signatures by it: a stranger's, or several.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_SIGN_KIT_H
#define QUIPU_TESTS_SIGN_KIT_H

#include <sodium.h>

#include "quipu/sshsig.h"

struct sign_kit {
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t secret_key[crypto_sign_SECRETKEYBYTES];
};

/* A new key. */
void sign_kit_init(struct sign_kit *kit);

/* Append a binary SSHSIG of the message by this key. */
void sign_kit_sign(const struct sign_kit *kit, const char *name_space, enum quipu_sshsig_hash hash,
                   struct quipu_slice message, struct quipu_buf *out);

#endif
