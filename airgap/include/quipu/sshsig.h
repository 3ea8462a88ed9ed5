/*
 * SSHSIG, the detached signature of OpenSSH: written and checked for Ed25519 keys, and put into the
 * texts that `ssh-keygen -Y verify` reads, so that an auditor needs no tool of ours.
 *
 * Never holds a secret key: the store's identity signs (quipu_identity_sign).
 *
 * Specification: PROTOCOL.sshsig of OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SSHSIG_H
#define QUIPU_SSHSIG_H

#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Longest binary signature that is read. Ours has 170 bytes and the namespace. */
#define QUIPU_SSHSIG_BYTES_MAX 1024

/** How the message was hashed before it was signed. We write SHA-512; ssh-keygen may do either. */
enum quipu_sshsig_hash { QUIPU_SSHSIG_SHA512 = 0, QUIPU_SSHSIG_SHA256 };

/** What a binary SSHSIG says. `name_space` is borrowed from it. */
struct quipu_sshsig {
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    struct quipu_slice name_space;
    enum quipu_sshsig_hash hash;
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
};

/**
 * Read a binary SSHSIG (not its armor). Strict: encode(decode(x)) = x. Checks no signature.
 * @retval QUIPU_BAD_SIGNATURE  not an SSHSIG, or not by an Ed25519 key; err names the byte
 * @retval QUIPU_FORMAT_NEWER   its version is greater than 1
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_decode(struct quipu_slice blob, struct quipu_sshsig *out, struct quipu_error *err);

/** Append the binary SSHSIG. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_sshsig_encode(const struct quipu_sshsig *sshsig, struct quipu_buf *out);

/** Append the bytes that the Ed25519 key signs for `message` in `name_space`. Failures stick in
 * `out`. Any thread. */
QUIPU_API void quipu_sshsig_signed_bytes(struct quipu_slice name_space, enum quipu_sshsig_hash hash,
                                         struct quipu_slice message, struct quipu_buf *out);

/**
 * Sign `message` in `name_space` with the store's key and append the binary SSHSIG to `out`.
 * @retval as quipu_identity_sign; QUIPU_INVALID (name_space is empty), QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_sign(struct quipu_engine *engine, const char *name_space, struct quipu_slice message,
                  struct quipu_buf *out, struct quipu_error *err);

/**
 * Does `blob` sign `message` in `name_space`? By whom is the caller's to judge.
 * @param public_key  raw Ed25519 key that signed; written only on QUIPU_OK
 * @retval QUIPU_BAD_SIGNATURE  it does not, or as quipu_sshsig_decode
 * @retval QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_verify(struct quipu_slice blob, const char *name_space, struct quipu_slice message,
                    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES], struct quipu_error *err);

/** Append the armor, "-----BEGIN SSH SIGNATURE-----" and so on, with a newline at the end, as
 * `ssh-keygen -Y sign` writes it. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_sshsig_armor(struct quipu_slice blob, struct quipu_buf *out);

/**
 * Append the key as a line of an .pub file: "ssh-ed25519 AAAA… comment\n". `comment` NULL or empty:
 * none. @retval QUIPU_INVALID  control characters in the comment. @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_public_key_line(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES], const char *comment,
                          struct quipu_buf *out, struct quipu_error *err);

/**
 * Append a line of an allowed_signers file: "principal namespaces="…" ssh-ed25519 AAAA…\n". An NKey
 * text is a good principal. `name_space` NULL: any namespace.
 * @retval QUIPU_INVALID    principal or namespace is empty or holds what would end it: spaces,
 *                          quotes, commas, '#', wildcards, '!', control or non-ASCII characters
 * @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_allowed_signers_line(const char *principal, const char *name_space,
                               const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                               struct quipu_buf *out, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
