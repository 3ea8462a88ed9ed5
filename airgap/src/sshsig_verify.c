/*
 * Whether a signature holds: Ed25519 by libsodium, ECDSA and RSA by libcrypto, and what hardware
 * keys sign around the bytes. Only public keys come here. What libcrypto puts on its list of errors
 * is taken off again: the list is the host program's.
 *
 * Specification: RFC 5656 §3.1.2, RFC 8332 §3, RFC 8709 §6; PROTOCOL.u2f and PROTOCOL.sshsig of
 * OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <string.h>

#include "quipu/sha256.h"
#include "ssh_wire.h"

#define DOES_NOT_HOLD                                                                              \
    "signature does not verify: the signed bytes or the signature were changed, or another key "   \
    "made it"
#define NO_SUCH_KEY "signature is by a key that is none: its point is not on its curve"
#define NOT_THERE                                                                                  \
    "signature is by a hardware key whose holder was not asked to touch it: sign without "         \
    "no-touch-required"

/* Longest DER of two numbers of P-521: 2 × (2 + 67) bytes behind 3. */
#define ECDSA_DER_BYTES_MAX 160

/* Of a hardware key: the two digests, flags and counter. */
#define SK_SIGNED_BYTES (2 * QUIPU_SHA256_BYTES + 1 + 4)

/* ------------------------------------------------------------------ keys of libcrypto */

static EVP_PKEY *key_make(const char *kind, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, kind, NULL);
    if (params == NULL || ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        key = NULL; /* fromdata leaves nothing behind where it fails */
    }
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

/* NULL: its point is not on its curve, or there is no memory. */
static EVP_PKEY *key_of_ecdsa(const struct quipu_ssh_key *from)
{
    EVP_PKEY *key = NULL;
    const char *group = from->type == QUIPU_SSH_KEY_ECDSA_P384   ? "P-384"
                        : from->type == QUIPU_SSH_KEY_ECDSA_P521 ? "P-521"
                                                                 : "P-256";
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (build != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, group, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, from->point.data,
                                         from->point.len) == 1) {
        key = key_make("EC", build);
    }
    OSSL_PARAM_BLD_free(build);
    return key;
}

static BIGNUM *number_of(struct quipu_slice bytes)
{
    return BN_bin2bn(bytes.data, (int)bytes.len, NULL); /* 2,048 bytes at most */
}

static EVP_PKEY *key_of_rsa(const struct quipu_ssh_key *from)
{
    EVP_PKEY *key = NULL;
    BIGNUM *n = number_of(from->modulus);
    BIGNUM *e = number_of(from->exponent);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    if (n != NULL && e != NULL && build != NULL &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        key = key_make("RSA", build);
    }
    OSSL_PARAM_BLD_free(build);
    BN_free(e);
    BN_free(n);
    return key;
}

/* ------------------------------------------------------------------ checks */

static const char *check_ed25519(const struct quipu_ssh_key *key,
                                 const struct quipu_ssh_signature *signature,
                                 struct quipu_slice bytes)
{
    return crypto_sign_verify_detached(signature->bytes.data, bytes.data, bytes.len,
                                       key->point.data) == 0
               ? NULL
               : DOES_NOT_HOLD;
}

/* PKCS #1 v1.5 for RSA, as SSH has it, which is libcrypto's default. */
static const char *check_digest(EVP_PKEY *key, const EVP_MD *hash, struct quipu_slice signature,
                                struct quipu_slice bytes, enum quipu_status *status)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const char *wrong = DOES_NOT_HOLD;
    if (ctx == NULL) {
        *status = QUIPU_NO_MEMORY;
    } else if (EVP_DigestVerifyInit(ctx, NULL, hash, NULL, key) == 1 &&
               EVP_DigestVerify(ctx, signature.data, signature.len, bytes.data, bytes.len) == 1) {
        wrong = NULL;
    }
    EVP_MD_CTX_free(ctx);
    return wrong;
}

/* libcrypto takes both numbers as DER. 0: no memory. */
static size_t ecdsa_der(const struct quipu_ssh_signature *signature,
                        uint8_t der[ECDSA_DER_BYTES_MAX])
{
    BIGNUM *r = number_of(signature->r);
    BIGNUM *s = number_of(signature->s);
    ECDSA_SIG *both = ECDSA_SIG_new();
    uint8_t *at = der;
    int len = 0;
    if (r != NULL && s != NULL && both != NULL && ECDSA_SIG_set0(both, r, s) == 1) {
        r = NULL; /* they are in it now */
        s = NULL;
        len = i2d_ECDSA_SIG(both, NULL);
        len = len > 0 && len <= ECDSA_DER_BYTES_MAX ? i2d_ECDSA_SIG(both, &at) : 0;
    }
    ECDSA_SIG_free(both);
    BN_free(s);
    BN_free(r);
    return len > 0 ? (size_t)len : 0;
}

static const char *check_ecdsa(const struct quipu_ssh_key *from,
                               const struct quipu_ssh_signature *signature,
                               struct quipu_slice bytes, enum quipu_status *status)
{
    uint8_t der[ECDSA_DER_BYTES_MAX];
    const EVP_MD *hash = from->type == QUIPU_SSH_KEY_ECDSA_P384   ? EVP_sha384()
                         : from->type == QUIPU_SSH_KEY_ECDSA_P521 ? EVP_sha512()
                                                                  : EVP_sha256();
    size_t len = ecdsa_der(signature, der);
    if (len == 0) {
        *status = QUIPU_NO_MEMORY;
        return DOES_NOT_HOLD;
    }
    EVP_PKEY *key = key_of_ecdsa(from);
    const char *wrong =
        key == NULL ? NO_SUCH_KEY : check_digest(key, hash, quipu_slice(der, len), bytes, status);
    EVP_PKEY_free(key);
    return wrong;
}

static const char *check_rsa(const struct quipu_ssh_key *from,
                             const struct quipu_ssh_signature *signature, struct quipu_slice bytes,
                             enum quipu_status *status)
{
    EVP_PKEY *key = key_of_rsa(from);
    if (key == NULL) { /* any two numbers make a key, so only memory can be missing */
        *status = QUIPU_NO_MEMORY;
        return DOES_NOT_HOLD;
    }
    const char *wrong = check_digest(key, signature->is_sha256 ? EVP_sha256() : EVP_sha512(),
                                     signature->bytes, bytes, status);
    EVP_PKEY_free(key);
    return wrong;
}

/* What a hardware key signs: digest of its application, flags, counter, digest of the bytes. */
static struct quipu_slice sk_bytes(const struct quipu_ssh_key *key,
                                   const struct quipu_ssh_signature *signature,
                                   struct quipu_slice bytes, uint8_t out[SK_SIGNED_BYTES])
{
    quipu_sha256(key->application, out);
    out[QUIPU_SHA256_BYTES] = signature->flags;
    quipu_store_be32(out + QUIPU_SHA256_BYTES + 1, signature->counter);
    quipu_sha256(bytes, out + QUIPU_SHA256_BYTES + 1 + 4);
    return quipu_slice(out, SK_SIGNED_BYTES);
}

const char *quipu_ssh_signature_check(const struct quipu_ssh_key *key,
                                      const struct quipu_ssh_signature *signature,
                                      struct quipu_slice bytes, enum quipu_status *status)
{
    uint8_t wrapped[SK_SIGNED_BYTES];
    bool is_sk = key->type == QUIPU_SSH_KEY_SK_ED25519 || key->type == QUIPU_SSH_KEY_SK_ECDSA_P256;
    struct quipu_slice all = is_sk ? sk_bytes(key, signature, bytes, wrapped) : bytes;
    const char *wrong = NULL;
    *status = QUIPU_OK;
    (void)ERR_set_mark(); /* where it fails, nothing is on the list */
    switch (key->type) {
    case QUIPU_SSH_KEY_ED25519:
    case QUIPU_SSH_KEY_SK_ED25519:
        wrong = check_ed25519(key, signature, all);
        break;
    case QUIPU_SSH_KEY_ECDSA_P256:
    case QUIPU_SSH_KEY_ECDSA_P384:
    case QUIPU_SSH_KEY_ECDSA_P521:
    case QUIPU_SSH_KEY_SK_ECDSA_P256:
        wrong = check_ecdsa(key, signature, all, status);
        break;
    case QUIPU_SSH_KEY_RSA:
        wrong = check_rsa(key, signature, all, status);
        break;
    }
    (void)ERR_pop_to_mark();
    /* Asked last: what a forger writes into the flags is not worth a message of its own. */
    if (wrong == NULL && is_sk && (signature->flags & QUIPU_SSH_SK_USER_PRESENT) == 0) {
        wrong = NOT_THERE;
    }
    return wrong;
}

/* ------------------------------------------------------------------ all of it */

/* Key and signature are well-formed: decode has seen to that. */
static const char *check_decoded(const struct quipu_sshsig *sshsig, struct quipu_slice bytes,
                                 enum quipu_status *status)
{
    struct quipu_ssh_key key;
    struct quipu_ssh_signature signature;
    const char *wrong = quipu_ssh_key_decode(sshsig->key, &key);
    if (wrong == NULL) {
        wrong = quipu_ssh_signature_decode(sshsig->signature, &key, &signature);
    }
    return wrong != NULL ? wrong : quipu_ssh_signature_check(&key, &signature, bytes, status);
}

enum quipu_status quipu_sshsig_verify(struct quipu_slice blob, const char *name_space,
                                      struct quipu_slice message, struct quipu_sshsig *out,
                                      struct quipu_error *err)
{
    struct quipu_sshsig sshsig = {0};
    enum quipu_status status = quipu_sshsig_decode(blob, &sshsig, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!quipu_slice_equal(sshsig.name_space, quipu_slice_text(name_space))) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                               "signature is for a purpose other than %s: its namespace differs",
                               name_space);
    }
    if (sodium_init() < 0) {
        return quipu_error_set(err, QUIPU_NO_RANDOM, "libsodium does not start");
    }
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    quipu_sshsig_signed_bytes(sshsig.name_space, sshsig.hash, message, &bytes);
    status = bytes.status;
    const char *wrong =
        status == QUIPU_OK ? check_decoded(&sshsig, quipu_buf_slice(&bytes), &status) : NULL;
    quipu_buf_release(&bytes);
    if (status != QUIPU_OK) {
        return quipu_error_set(err, status, "no memory to check a signature");
    }
    if (wrong != NULL) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE, "%s", wrong);
    }
    if (out != NULL) {
        *out = sshsig;
    }
    return QUIPU_OK;
}
