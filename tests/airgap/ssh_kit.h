/*
 * Keys of every type that OpenSSH signs with, made by the test for itself; of hardware keys also
 * what the hardware would do. And their signatures, which may be made wrong in any field.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_SSH_KIT_H
#define QUIPU_TESTS_SSH_KIT_H

#include <openssl/evp.h>
#include <sodium.h>

#include "quipu/sshsig.h"

#define SSH_KIT_RSA_BITS 2048

struct ssh_kit {
    enum quipu_ssh_key_type type;
    struct quipu_buf key; /* in its wire form */
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    EVP_PKEY *pkey;
    /* How the next signature is made; set by init to what is right. */
    const char *algorithm; /* name in front of it */
    const char *digest;    /* of libcrypto; RSA and ECDSA */
    uint8_t flags;
    uint32_t counter;
};

/* RSA with so many bits, or SSH_KIT_RSA_BITS. */
void ssh_kit_init_rsa(struct ssh_kit *kit, unsigned bits);
void ssh_kit_init(struct ssh_kit *kit, enum quipu_ssh_key_type type);
void ssh_kit_release(struct ssh_kit *kit);

/* Append a binary SSHSIG of the message. */
void ssh_kit_sign(const struct ssh_kit *kit, const char *name_space, struct quipu_slice message,
                  struct quipu_buf *out);

/* The two wire forms below; for forgeries. */
void ssh_kit_string(struct quipu_buf *out, struct quipu_slice bytes);
/* `more` zero bytes in front, beyond what is right. */
void ssh_kit_number(struct quipu_buf *out, struct quipu_slice magnitude, size_t more);

#endif
