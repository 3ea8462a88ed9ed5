/*
 * The binary SSHSIG: read strictly, and written. Only version 1. Looks at the form of key and
 * signature; whether a signature holds is for sshsig_verify.c. Never touches a file, nor a secret
 * key.
 *
 * Specification: PROTOCOL.sshsig of OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/sshsig.h"

#include <inttypes.h>
#include <sodium.h>

#include "quipu/sha256.h"
#include "ssh_wire.h"

#define SSHSIG_MAGIC   "SSHSIG"
#define SSHSIG_VERSION 1u

_Static_assert(QUIPU_PUBLIC_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "Ed25519 public key");
_Static_assert(QUIPU_SIGNATURE_BYTES == crypto_sign_BYTES, "Ed25519 signature");

static const char *hash_name(enum quipu_sshsig_hash hash)
{
    return hash == QUIPU_SSHSIG_SHA256 ? "sha256" : "sha512";
}

/* ------------------------------------------------------------------ read */

/* Input that is being taken apart; `whole` keeps the start, for offsets. */
struct wire {
    struct quipu_slice whole;
    struct quipu_slice rest;
    struct quipu_error *err;
};

static enum quipu_status wire_refuse(const struct wire *wire, const char *what)
{
    return quipu_error_set_at(wire->err, QUIPU_BAD_SIGNATURE, wire->whole.len - wire->rest.len,
                              "not an SSHSIG: %s", what);
}

static enum quipu_status take_string(struct wire *wire, const char *what, struct quipu_slice *out)
{
    return quipu_ssh_take_string(&wire->rest, out) ? QUIPU_OK : wire_refuse(wire, what);
}

static enum quipu_status take_magic(struct wire *wire)
{
    size_t magic = strlen(SSHSIG_MAGIC);
    if (wire->rest.len < magic || memcmp(wire->rest.data, SSHSIG_MAGIC, magic) != 0) {
        return wire_refuse(wire, "it does not begin with SSHSIG");
    }
    (void)quipu_ssh_take(&wire->rest, magic);
    return QUIPU_OK;
}

static enum quipu_status take_version(struct wire *wire)
{
    uint32_t version = 0;
    if (!quipu_ssh_take_u32(&wire->rest, &version)) {
        return wire_refuse(wire, "its version is missing");
    }
    if (version > SSHSIG_VERSION) {
        return quipu_error_set(wire->err, QUIPU_FORMAT_NEWER,
                               "SSHSIG version %" PRIu32 " is newer than %u, the one known here",
                               version, SSHSIG_VERSION);
    }
    return version == SSHSIG_VERSION ? QUIPU_OK : wire_refuse(wire, "its version is 0");
}

static enum quipu_status take_key(struct wire *wire, struct quipu_ssh_key *key,
                                  struct quipu_slice *bytes)
{
    struct wire before = *wire; /* what is wrong with the key is told at its beginning */
    enum quipu_status status = take_string(wire, "its key is cut off", bytes);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *wrong = quipu_ssh_key_decode(*bytes, key);
    return wrong == NULL ? QUIPU_OK : wire_refuse(&before, wrong);
}

static enum quipu_status take_hash(struct wire *wire, enum quipu_sshsig_hash *out)
{
    struct quipu_slice name = {0};
    enum quipu_status status = take_string(wire, "its hash algorithm is cut off", &name);
    if (status != QUIPU_OK) {
        return status;
    }
    if (quipu_slice_equal(name, quipu_slice_text(hash_name(QUIPU_SSHSIG_SHA512)))) {
        *out = QUIPU_SSHSIG_SHA512;
        return QUIPU_OK;
    }
    if (quipu_slice_equal(name, quipu_slice_text(hash_name(QUIPU_SSHSIG_SHA256)))) {
        *out = QUIPU_SSHSIG_SHA256;
        return QUIPU_OK;
    }
    return wire_refuse(wire, "its hash algorithm is neither sha512 nor sha256");
}

static enum quipu_status take_signature(struct wire *wire, const struct quipu_ssh_key *key,
                                        struct quipu_slice *bytes)
{
    struct wire before = *wire;
    struct quipu_ssh_signature signature;
    enum quipu_status status = take_string(wire, "its signature is cut off", bytes);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *wrong = quipu_ssh_signature_decode(*bytes, key, &signature);
    if (wrong != NULL) {
        return wire_refuse(&before, wrong);
    }
    return wire->rest.len == 0 ? QUIPU_OK : wire_refuse(wire, "bytes follow it");
}

static enum quipu_status take_all(struct wire *wire, struct quipu_sshsig *out)
{
    struct quipu_slice reserved = {0};
    struct quipu_ssh_key key = {0};
    enum quipu_status status = take_magic(wire);
    if (status == QUIPU_OK) {
        status = take_version(wire);
    }
    if (status == QUIPU_OK) {
        status = take_key(wire, &key, &out->key);
        out->type = key.type;
    }
    if (status == QUIPU_OK) {
        status = take_string(wire, "its namespace is cut off", &out->name_space);
    }
    if (status == QUIPU_OK && out->name_space.len == 0) {
        return wire_refuse(wire, "its namespace is empty");
    }
    if (status == QUIPU_OK) {
        status = take_string(wire, "its reserved field is cut off", &reserved);
    }
    /* What is signed always has an empty field here, so bytes in it would be nobody's. */
    if (status == QUIPU_OK && reserved.len != 0) {
        return wire_refuse(wire, "its reserved field is not empty");
    }
    if (status == QUIPU_OK) {
        status = take_hash(wire, &out->hash);
    }
    return status != QUIPU_OK ? status : take_signature(wire, &key, &out->signature);
}

enum quipu_status quipu_sshsig_decode(struct quipu_slice blob, struct quipu_sshsig *out,
                                      struct quipu_error *err)
{
    struct quipu_sshsig decoded = {0};
    struct wire wire = {blob, blob, err};
    if (blob.len > QUIPU_SSHSIG_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_BAD_SIGNATURE, "an SSHSIG has at most %d bytes, not %zu",
                               QUIPU_SSHSIG_BYTES_MAX, blob.len);
    }
    enum quipu_status status = take_all(&wire, &decoded);
    if (status == QUIPU_OK) {
        *out = decoded;
    }
    return status;
}

/* ------------------------------------------------------------------ write */

void quipu_sshsig_encode(const struct quipu_sshsig *sshsig, struct quipu_buf *out)
{
    uint8_t version[4];
    quipu_store_be32(version, SSHSIG_VERSION);
    quipu_buf_append_text(out, SSHSIG_MAGIC);
    quipu_buf_append(out, version, sizeof version);
    quipu_ssh_write_string(out, sshsig->key);
    quipu_ssh_write_string(out, sshsig->name_space);
    quipu_ssh_write_string(out, quipu_slice(NULL, 0));
    quipu_ssh_write_string(out, quipu_slice_text(hash_name(sshsig->hash)));
    quipu_ssh_write_string(out, sshsig->signature);
}

void quipu_sshsig_encode_ed25519(const uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
                                 struct quipu_slice name_space,
                                 const uint8_t signature[QUIPU_SIGNATURE_BYTES],
                                 struct quipu_buf *out)
{
    uint8_t key[QUIPU_SSH_ED25519_KEY_BYTES];
    uint8_t storage[128];
    struct quipu_buf wire;
    quipu_ssh_key_from_ed25519(public_key, key);
    quipu_buf_init_fixed(&wire, storage, sizeof storage);
    quipu_ssh_write_string(&wire, quipu_slice_text(quipu_ssh_key_type_name(QUIPU_SSH_KEY_ED25519)));
    quipu_ssh_write_string(&wire, quipu_slice(signature, QUIPU_SIGNATURE_BYTES));
    struct quipu_sshsig sshsig = {
        .type = QUIPU_SSH_KEY_ED25519,
        .key = quipu_slice(key, sizeof key),
        .name_space = name_space,
        .hash = QUIPU_SSHSIG_SHA512,
        .signature = quipu_buf_slice(&wire),
    };
    quipu_sshsig_encode(&sshsig, out);
}

void quipu_sshsig_signed_bytes(struct quipu_slice name_space, enum quipu_sshsig_hash hash,
                               struct quipu_slice message, struct quipu_buf *out)
{
    uint8_t digest[crypto_hash_sha512_BYTES];
    size_t digest_len = crypto_hash_sha512_BYTES;
    if (hash == QUIPU_SSHSIG_SHA256) {
        quipu_sha256(message, digest);
        digest_len = QUIPU_SHA256_BYTES;
    } else {
        (void)crypto_hash_sha512(digest, message.data, message.len); /* always 0 */
    }
    quipu_buf_append_text(out, SSHSIG_MAGIC);
    quipu_ssh_write_string(out, name_space);
    quipu_ssh_write_string(out, quipu_slice(NULL, 0));
    quipu_ssh_write_string(out, quipu_slice_text(hash_name(hash)));
    quipu_ssh_write_string(out, quipu_slice(digest, digest_len));
}
