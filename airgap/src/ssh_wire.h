/*
 * The few pieces of the SSH wire format (RFC 4251 §5) that signatures and public keys are made of,
 * and what those two are made of.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_SSH_WIRE_H
#define QUIPU_AIRGAP_SSH_WIRE_H

#include <stdbool.h>

#include "internal/bytes.h"
#include "quipu/buf.h"
#include "quipu/slice.h"
#include "quipu/sshsig.h"

#define QUIPU_SSH_ED25519 "ssh-ed25519"

/* A big-endian length and the bytes. Callers hold what goes in far below 4 GiB. */
static inline void quipu_ssh_write_string(struct quipu_buf *out, struct quipu_slice bytes)
{
    uint8_t head[4];
    quipu_store_be32(head, (uint32_t)bytes.len);
    quipu_buf_append(out, head, sizeof head);
    quipu_buf_append_slice(out, bytes);
}

static inline struct quipu_slice quipu_ssh_take(struct quipu_slice *rest, size_t len)
{
    struct quipu_slice taken = quipu_slice(rest->data, len);
    *rest = quipu_slice(rest->data + len, rest->len - len);
    return taken;
}

/* False: cut off; nothing is taken then. */
static inline bool quipu_ssh_take_u32(struct quipu_slice *rest, uint32_t *out)
{
    if (rest->len < 4) {
        return false;
    }
    *out = quipu_load_be32(rest->data);
    (void)quipu_ssh_take(rest, 4);
    return true;
}

/* The same of a length and its bytes. */
static inline bool quipu_ssh_take_string(struct quipu_slice *rest, struct quipu_slice *out)
{
    if (rest->len < 4) {
        return false;
    }
    uint32_t len = quipu_load_be32(rest->data);
    if (len > rest->len - 4) {
        return false;
    }
    (void)quipu_ssh_take(rest, 4);
    *out = quipu_ssh_take(rest, len);
    return true;
}

/* What a public key says; slices are borrowed from it. */
struct quipu_ssh_key {
    enum quipu_ssh_key_type type;
    struct quipu_slice point;       /* Ed25519: 32 bytes; ECDSA: 04 and both coordinates */
    struct quipu_slice application; /* of hardware keys */
    struct quipu_slice exponent;    /* RSA, without leading zeros */
    struct quipu_slice modulus;     /* the same */
};

/* What a signature in its wire form says. */
struct quipu_ssh_signature {
    struct quipu_slice bytes; /* Ed25519: 64; RSA: as many as the modulus */
    struct quipu_slice r;     /* ECDSA, without leading zeros */
    struct quipu_slice s;
    bool is_sha256; /* RSA: hashed with SHA-256, not SHA-512 */
    uint8_t flags;  /* of hardware keys */
    uint32_t counter;
};

/* The holder of a hardware key was there when it signed. */
#define QUIPU_SSH_SK_USER_PRESENT 0x01u

/* NULL, or what is wrong with it; `out` is written on NULL only. */
const char *quipu_ssh_key_decode(struct quipu_slice key, struct quipu_ssh_key *out);

/* The same of a signature by that key. */
const char *quipu_ssh_signature_decode(struct quipu_slice signature,
                                       const struct quipu_ssh_key *key,
                                       struct quipu_ssh_signature *out);

/* Does the signature hold over the bytes? NULL, or why not. QUIPU_NO_MEMORY is in `status`. */
const char *quipu_ssh_signature_check(const struct quipu_ssh_key *key,
                                      const struct quipu_ssh_signature *signature,
                                      struct quipu_slice bytes, enum quipu_status *status);

#endif
