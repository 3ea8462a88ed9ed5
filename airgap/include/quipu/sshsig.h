/*
 * SSHSIG, the detached signature of OpenSSH: written for Ed25519 keys, checked for every type of
 * key that `ssh-keygen -Y sign` signs with, and put into the texts that `ssh-keygen -Y verify`
 * reads, so that an auditor needs no tool of ours and a signer needs none either.
 *
 * Never holds a secret key: the store's identity signs (quipu_identity_sign), or a keyring does.
 *
 * Specification: PROTOCOL.sshsig and PROTOCOL.u2f of OpenSSH, RFC 4253, 5656, 8332, 8709;
 * docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SSHSIG_H
#define QUIPU_SSHSIG_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------ keys */

/** Types of keys, as OpenSSH has them. DSA is none of them, nor are certificates. */
enum quipu_ssh_key_type {
    QUIPU_SSH_KEY_ED25519 = 0,   /* ssh-ed25519 */
    QUIPU_SSH_KEY_ECDSA_P256,    /* ecdsa-sha2-nistp256 */
    QUIPU_SSH_KEY_ECDSA_P384,    /* ecdsa-sha2-nistp384 */
    QUIPU_SSH_KEY_ECDSA_P521,    /* ecdsa-sha2-nistp521 */
    QUIPU_SSH_KEY_RSA,           /* ssh-rsa; its signatures are rsa-sha2-256 or rsa-sha2-512 */
    QUIPU_SSH_KEY_SK_ED25519,    /* sk-ssh-ed25519@openssh.com */
    QUIPU_SSH_KEY_SK_ECDSA_P256, /* sk-ecdsa-sha2-nistp256@openssh.com */
};

/** Bits of an RSA key's modulus. OpenSSH reads none above the greatest. */
#define QUIPU_SSH_RSA_BITS_MIN 2048u
#define QUIPU_SSH_RSA_BITS_MAX 16384u

/** Longest public key in its wire form. RSA of 16,384 bits has 2,078 bytes at most, and what a
 * hardware key calls its application may be long. */
#define QUIPU_SSH_KEY_BYTES_MAX 4096

/** Of an Ed25519 key in its wire form. */
#define QUIPU_SSH_ED25519_KEY_BYTES 51

/** "SHA256:", 43 characters, NUL. */
#define QUIPU_SSH_FINGERPRINT_BYTES 51

/** Such as "ssh-rsa". Static text. Any thread. */
QUIPU_API const char *quipu_ssh_key_type_name(enum quipu_ssh_key_type type);

/**
 * Is this the wire form (RFC 4253 §6.6) of a public key that may sign? Strict: numbers in their
 * shortest form, points uncompressed, nothing behind. That a point lies on its curve is looked at
 * when a signature is checked.
 * @param key   Not its base64. Borrowed for the call.
 * @retval QUIPU_INVALID  it is none; err says why
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_key_read(struct quipu_slice key, enum quipu_ssh_key_type *type, struct quipu_error *err);

/** The 32 bytes of an Ed25519 key in its wire form; false, and `out` untouched, for anything else.
 * Any thread. */
QUIPU_API bool quipu_ssh_key_ed25519(struct quipu_slice key, uint8_t out[QUIPU_PUBLIC_KEY_BYTES]);

/** The wire form of an Ed25519 key. Any thread. */
QUIPU_API void quipu_ssh_key_from_ed25519(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                          uint8_t out[QUIPU_SSH_ED25519_KEY_BYTES]);

/** As `ssh-keygen -l` shows it. Any thread. */
QUIPU_API void quipu_ssh_key_fingerprint(struct quipu_slice key,
                                         char out[QUIPU_SSH_FINGERPRINT_BYTES]);

/** The name of a key in reports: the NKey text "U…" of an Ed25519 key, else its fingerprint. Any
 * thread. */
QUIPU_API void quipu_ssh_key_name(struct quipu_slice key, char out[QUIPU_SOURCE_TEXT_BYTES]);

/* ------------------------------------------------------------------ signatures */

/** Longest binary signature that is read: one by an RSA key of 16,384 bits has 4.3 kB. Ours has 170
 * bytes and the namespace. */
#define QUIPU_SSHSIG_BYTES_MAX 8192

/** How the message was hashed before it was signed. We write SHA-512; ssh-keygen may do either. */
enum quipu_sshsig_hash { QUIPU_SSHSIG_SHA512 = 0, QUIPU_SSHSIG_SHA256 };

/** What a binary SSHSIG says. Slices are borrowed from it. */
struct quipu_sshsig {
    enum quipu_ssh_key_type type;
    struct quipu_slice key; /* in its wire form */
    struct quipu_slice name_space;
    enum quipu_sshsig_hash hash;
    struct quipu_slice signature; /* in its wire form: algorithm, value, and of hardware keys flags
                                     and counter */
};

/**
 * Read a binary SSHSIG (not its armor). Strict: encode(decode(x)) = x, and signature and key are of
 * one type and well-formed. Checks no signature.
 * @retval QUIPU_BAD_SIGNATURE  not an SSHSIG, or by a type of key that cannot sign; err names the
 *                              byte
 * @retval QUIPU_FORMAT_NEWER   its version is greater than 1
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_decode(struct quipu_slice blob, struct quipu_sshsig *out, struct quipu_error *err);

/** Append the binary SSHSIG; key and signature as they are. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_sshsig_encode(const struct quipu_sshsig *sshsig, struct quipu_buf *out);

/** Append the bytes that a key signs for `message` in `name_space`. Failures stick in `out`. Any
 * thread. */
QUIPU_API void quipu_sshsig_signed_bytes(struct quipu_slice name_space, enum quipu_sshsig_hash hash,
                                         struct quipu_slice message, struct quipu_buf *out);

/** Append the binary SSHSIG of an Ed25519 key, whose signature over quipu_sshsig_signed_bytes (with
 * SHA-512) this is. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_sshsig_encode_ed25519(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                           struct quipu_slice name_space,
                                           const uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                           struct quipu_buf *out);

/**
 * Sign `message` in `name_space` with the store's key and append the binary SSHSIG to `out`.
 * @retval as quipu_identity_sign; QUIPU_INVALID (name_space is empty), QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_sign(struct quipu_engine *engine, const char *name_space, struct quipu_slice message,
                  struct quipu_buf *out, struct quipu_error *err);

/**
 * Does `blob` sign `message` in `name_space`? By whom is the caller's to judge. A hardware key must
 * say that its holder was there (user presence); RSA with SHA-1 is refused.
 * @param out  What it says, borrowed from `blob`; NULL: not wanted; written only on QUIPU_OK.
 * @retval QUIPU_BAD_SIGNATURE  it does not, or as quipu_sshsig_decode
 * @retval QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_verify(struct quipu_slice blob, const char *name_space, struct quipu_slice message,
                    struct quipu_sshsig *out, struct quipu_error *err);

/* ------------------------------------------------------------------ texts */

/** Append the armor, "-----BEGIN SSH SIGNATURE-----" and so on, with a newline at the end, as
 * `ssh-keygen -Y sign` writes it. Failures stick in `out`. Any thread. */
QUIPU_API void quipu_sshsig_armor(struct quipu_slice blob, struct quipu_buf *out);

/** Longest text that quipu_sshsig_dearmor reads. */
#define QUIPU_SSHSIG_ARMOR_BYTES_MAX (2 * QUIPU_SSHSIG_BYTES_MAX)

/** Does the text begin as armor does? Any thread. */
QUIPU_API bool quipu_sshsig_is_armor(struct quipu_slice text);

/**
 * Append the binary SSHSIG that the armor holds. Strict: the BEGIN line first, lines of canonical
 * base64 with LF or CRLF, the END line, and only white space behind it.
 * @retval QUIPU_BAD_SIGNATURE  it is no armor. @retval QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_sshsig_dearmor(struct quipu_slice text, struct quipu_buf *out, struct quipu_error *err);

/**
 * Append a key in its wire form as a line of an .pub file: "ssh-rsa AAAA… comment\n". `comment`
 * NULL or empty: none.
 * @retval QUIPU_INVALID  it is no key, or control characters in the comment. @retval
 * QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_ssh_key_line(struct quipu_slice key,
                                                                const char *comment,
                                                                struct quipu_buf *out,
                                                                struct quipu_error *err);

/** The same of an Ed25519 key. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_public_key_line(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES], const char *comment,
                          struct quipu_buf *out, struct quipu_error *err);

/**
 * Append a line of an allowed_signers file: "principal namespaces="…" ssh-rsa AAAA…\n". An NKey
 * text is a good principal. `name_space` NULL: any namespace.
 * @retval QUIPU_INVALID    it is no key; or principal or namespace is empty or holds what would end
 *                          it: spaces, quotes, commas, '#', wildcards, '!', control or non-ASCII
 *                          characters
 * @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_key_allowed_line(const char *principal, const char *name_space, struct quipu_slice key,
                           struct quipu_buf *out, struct quipu_error *err);

/** The same of an Ed25519 key. */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_ssh_allowed_signers_line(const char *principal, const char *name_space,
                               const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                               struct quipu_buf *out, struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
