/*
 * Keys of every type, and signatures by them. Aborts where libcrypto fails: a test has no use for
 * less.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "ssh_kit.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#include "internal/bytes.h"
#include "quipu/sha256.h"

#define APPLICATION "ssh:"

static void need(bool holds)
{
    if (!holds) {
        abort();
    }
}

void ssh_kit_string(struct quipu_buf *out, struct quipu_slice bytes)
{
    uint8_t head[4];
    quipu_store_be32(head, (uint32_t)bytes.len);
    quipu_buf_append(out, head, sizeof head);
    quipu_buf_append_slice(out, bytes);
}

void ssh_kit_number(struct quipu_buf *out, struct quipu_slice magnitude, size_t more)
{
    struct quipu_buf number = QUIPU_BUF_INIT;
    size_t zeros = more + (magnitude.len > 0 && magnitude.data[0] >= 0x80);
    for (size_t i = 0; i < zeros; i++) {
        quipu_buf_append_byte(&number, 0);
    }
    quipu_buf_append_slice(&number, magnitude);
    ssh_kit_string(out, quipu_buf_slice(&number));
    quipu_buf_release(&number);
}

static void write_bn(struct quipu_buf *out, const BIGNUM *number)
{
    uint8_t bytes[2200];
    int len = BN_num_bytes(number);
    need(len <= (int)sizeof bytes && BN_bn2bin(number, bytes) == len);
    ssh_kit_number(out, quipu_slice(bytes, (size_t)len), 0);
}

/* ------------------------------------------------------------------ keys */

static void make_ed25519(struct ssh_kit *kit)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    need(sodium_init() >= 0 && crypto_sign_keypair(public_key, kit->secret) == 0);
    ssh_kit_string(&kit->key, quipu_slice(public_key, sizeof public_key));
}

static void make_ecdsa(struct ssh_kit *kit, const char *group, const char *curve)
{
    uint8_t point[160];
    size_t len = 0;
    kit->pkey = EVP_EC_gen(group);
    need(kit->pkey != NULL && EVP_PKEY_get_octet_string_param(kit->pkey, OSSL_PKEY_PARAM_PUB_KEY,
                                                              point, sizeof point, &len) == 1);
    ssh_kit_string(&kit->key, quipu_slice_text(curve));
    ssh_kit_string(&kit->key, quipu_slice(point, len));
}

static void make_rsa(struct ssh_kit *kit, unsigned bits)
{
    BIGNUM *n = NULL;
    BIGNUM *e = NULL;
    kit->pkey = EVP_RSA_gen(bits);
    need(kit->pkey != NULL && EVP_PKEY_get_bn_param(kit->pkey, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
         EVP_PKEY_get_bn_param(kit->pkey, OSSL_PKEY_PARAM_RSA_E, &e) == 1);
    write_bn(&kit->key, e);
    write_bn(&kit->key, n);
    BN_free(n);
    BN_free(e);
}

static void init(struct ssh_kit *kit, enum quipu_ssh_key_type type, unsigned rsa_bits)
{
    *kit = (struct ssh_kit){.type = type, .digest = "SHA256", .flags = 1, .counter = 77};
    kit->algorithm = quipu_ssh_key_type_name(type);
    ssh_kit_string(&kit->key, quipu_slice_text(kit->algorithm));
    switch (type) {
    case QUIPU_SSH_KEY_ED25519:
    case QUIPU_SSH_KEY_SK_ED25519:
        make_ed25519(kit);
        break;
    case QUIPU_SSH_KEY_ECDSA_P256:
    case QUIPU_SSH_KEY_SK_ECDSA_P256:
        make_ecdsa(kit, "P-256", "nistp256");
        break;
    case QUIPU_SSH_KEY_ECDSA_P384:
        make_ecdsa(kit, "P-384", "nistp384");
        kit->digest = "SHA384";
        break;
    case QUIPU_SSH_KEY_ECDSA_P521:
        make_ecdsa(kit, "P-521", "nistp521");
        kit->digest = "SHA512";
        break;
    case QUIPU_SSH_KEY_RSA:
        make_rsa(kit, rsa_bits);
        kit->algorithm = "rsa-sha2-512";
        kit->digest = "SHA512";
        break;
    }
    if (type == QUIPU_SSH_KEY_SK_ED25519 || type == QUIPU_SSH_KEY_SK_ECDSA_P256) {
        ssh_kit_string(&kit->key, quipu_slice_text(APPLICATION));
    }
    need(kit->key.status == QUIPU_OK);
}

void ssh_kit_init(struct ssh_kit *kit, enum quipu_ssh_key_type type)
{
    init(kit, type, SSH_KIT_RSA_BITS);
}

void ssh_kit_init_rsa(struct ssh_kit *kit, unsigned bits)
{
    init(kit, QUIPU_SSH_KEY_RSA, bits);
}

void ssh_kit_release(struct ssh_kit *kit)
{
    EVP_PKEY_free(kit->pkey);
    quipu_buf_release(&kit->key);
}

/* ------------------------------------------------------------------ signatures */

static bool is_sk(const struct ssh_kit *kit)
{
    return kit->type == QUIPU_SSH_KEY_SK_ED25519 || kit->type == QUIPU_SSH_KEY_SK_ECDSA_P256;
}

/* What the hardware puts around the bytes. */
static void wrap(const struct ssh_kit *kit, struct quipu_buf *bytes)
{
    uint8_t wrapped[32 + 1 + 4 + 32];
    quipu_sha256(quipu_slice_text(APPLICATION), wrapped);
    wrapped[32] = kit->flags;
    quipu_store_be32(wrapped + 33, kit->counter);
    quipu_sha256(quipu_buf_slice(bytes), wrapped + 37);
    quipu_buf_reset(bytes);
    quipu_buf_append(bytes, wrapped, sizeof wrapped);
}

static void sign_by_libcrypto(const struct ssh_kit *kit, struct quipu_slice bytes,
                              struct quipu_buf *value)
{
    uint8_t made[2200];
    size_t len = sizeof made;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    need(ctx != NULL &&
         EVP_DigestSignInit_ex(ctx, NULL, kit->digest, NULL, NULL, kit->pkey, NULL) == 1 &&
         EVP_DigestSign(ctx, made, &len, bytes.data, bytes.len) == 1);
    EVP_MD_CTX_free(ctx);
    if (kit->type == QUIPU_SSH_KEY_RSA) {
        quipu_buf_append(value, made, len);
        return;
    }
    const uint8_t *at = made;
    ECDSA_SIG *both = d2i_ECDSA_SIG(NULL, &at, (long)len);
    need(both != NULL);
    write_bn(value, ECDSA_SIG_get0_r(both));
    write_bn(value, ECDSA_SIG_get0_s(both));
    ECDSA_SIG_free(both);
}

void ssh_kit_sign(const struct ssh_kit *kit, const char *name_space, struct quipu_slice message,
                  struct quipu_buf *out)
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf value = QUIPU_BUF_INIT;
    struct quipu_buf signature = QUIPU_BUF_INIT;
    quipu_sshsig_signed_bytes(quipu_slice_text(name_space), QUIPU_SSHSIG_SHA512, message, &bytes);
    if (is_sk(kit)) {
        wrap(kit, &bytes);
    }
    if (kit->pkey == NULL) {
        uint8_t made[crypto_sign_BYTES];
        need(crypto_sign_detached(made, NULL, bytes.data, bytes.len, kit->secret) == 0);
        quipu_buf_append(&value, made, sizeof made);
    } else {
        sign_by_libcrypto(kit, quipu_buf_slice(&bytes), &value);
    }
    ssh_kit_string(&signature, quipu_slice_text(kit->algorithm));
    ssh_kit_string(&signature, quipu_buf_slice(&value));
    if (is_sk(kit)) {
        uint8_t counter[4];
        quipu_store_be32(counter, kit->counter);
        quipu_buf_append_byte(&signature, kit->flags);
        quipu_buf_append(&signature, counter, sizeof counter);
    }
    struct quipu_sshsig sshsig = {
        .type = kit->type,
        .key = quipu_buf_slice(&kit->key),
        .name_space = quipu_slice_text(name_space),
        .hash = QUIPU_SSHSIG_SHA512,
        .signature = quipu_buf_slice(&signature),
    };
    quipu_sshsig_encode(&sshsig, out);
    need(out->status == QUIPU_OK);
    quipu_buf_release(&bytes);
    quipu_buf_release(&value);
    quipu_buf_release(&signature);
}
