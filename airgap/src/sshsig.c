/*
 * The binary SSHSIG: read strictly, written, and checked. Only version 1 with an Ed25519 key. Never
 * touches a file, nor a secret key.
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

/* Input that is being taken apart; `whole` keeps the start, for offsets. */
struct wire {
    struct quipu_slice whole;
    struct quipu_slice rest;
    struct quipu_error *err;
};

static enum quipu_status wire_refuse(const struct wire *wire, const char *what)
{
    return quipu_error_set_at(wire->err, QUIPU_BAD_SIGNATURE, wire->whole.len - wire->rest.len,
                              "not an SSHSIG by an ssh-ed25519 key: %s", what);
}

static enum quipu_status take_u32(struct wire *wire, const char *what, uint32_t *out)
{
    if (wire->rest.len < 4) {
        return wire_refuse(wire, what);
    }
    *out = quipu_load_be32(wire->rest.data);
    wire->rest = quipu_slice(wire->rest.data + 4, wire->rest.len - 4);
    return QUIPU_OK;
}

static enum quipu_status take_string(struct wire *wire, const char *what, struct quipu_slice *out)
{
    uint32_t len = 0;
    enum quipu_status status = take_u32(wire, what, &len);
    if (status != QUIPU_OK) {
        return status;
    }
    if (len > wire->rest.len) {
        return wire_refuse(wire, what);
    }
    *out = quipu_slice(wire->rest.data, len);
    wire->rest = quipu_slice(wire->rest.data + len, wire->rest.len - len);
    return QUIPU_OK;
}

/* A string that holds two strings: "ssh-ed25519" and `len` bytes, which go to `into`. */
static enum quipu_status take_ed25519(struct wire *wire, const char *what, uint8_t *into,
                                      size_t len)
{
    struct quipu_slice outer = {0};
    struct quipu_slice type = {0};
    struct quipu_slice value = {0};
    enum quipu_status status = take_string(wire, what, &outer);
    if (status != QUIPU_OK) {
        return status;
    }
    struct wire inner = {wire->whole, outer, NULL};
    if (take_string(&inner, what, &type) != QUIPU_OK ||
        take_string(&inner, what, &value) != QUIPU_OK || inner.rest.len != 0 || value.len != len ||
        !quipu_slice_equal(type, quipu_slice_text(QUIPU_SSH_ED25519))) {
        return wire_refuse(wire, what);
    }
    memcpy(into, value.data, len);
    return QUIPU_OK;
}

static enum quipu_status take_version(struct wire *wire)
{
    uint32_t version = 0;
    enum quipu_status status = take_u32(wire, "its version is missing", &version);
    if (status != QUIPU_OK) {
        return status;
    }
    if (version > SSHSIG_VERSION) {
        return quipu_error_set(wire->err, QUIPU_FORMAT_NEWER,
                               "SSHSIG version %" PRIu32 " is newer than %u, the one known here",
                               version, SSHSIG_VERSION);
    }
    return version == SSHSIG_VERSION ? QUIPU_OK : wire_refuse(wire, "its version is 0");
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

static enum quipu_status take_all(struct wire *wire, struct quipu_sshsig *out)
{
    struct quipu_slice reserved = {0};
    size_t magic = strlen(SSHSIG_MAGIC);
    if (wire->rest.len < magic || memcmp(wire->rest.data, SSHSIG_MAGIC, magic) != 0) {
        return wire_refuse(wire, "it does not begin with SSHSIG");
    }
    wire->rest = quipu_slice(wire->rest.data + magic, wire->rest.len - magic);
    enum quipu_status status = take_version(wire);
    if (status == QUIPU_OK) {
        status = take_ed25519(wire, "its key is none of 32 bytes", out->public_key,
                              sizeof out->public_key);
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
    if (status == QUIPU_OK) {
        status = take_ed25519(wire, "its signature is none of 64 bytes", out->signature,
                              sizeof out->signature);
    }
    if (status == QUIPU_OK && wire->rest.len != 0) {
        return wire_refuse(wire, "bytes follow it");
    }
    return status;
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

static void write_ed25519(struct quipu_buf *out, const uint8_t *bytes, size_t len)
{
    uint8_t storage[128];
    struct quipu_buf inner;
    quipu_buf_init_fixed(&inner, storage, sizeof storage);
    quipu_ssh_write_string(&inner, quipu_slice_text(QUIPU_SSH_ED25519));
    quipu_ssh_write_string(&inner, quipu_slice(bytes, len));
    quipu_ssh_write_string(out, quipu_buf_slice(&inner));
}

void quipu_sshsig_encode(const struct quipu_sshsig *sshsig, struct quipu_buf *out)
{
    uint8_t version[4];
    quipu_store_be32(version, SSHSIG_VERSION);
    quipu_buf_append_text(out, SSHSIG_MAGIC);
    quipu_buf_append(out, version, sizeof version);
    write_ed25519(out, sshsig->public_key, sizeof sshsig->public_key);
    quipu_ssh_write_string(out, sshsig->name_space);
    quipu_ssh_write_string(out, quipu_slice(NULL, 0));
    quipu_ssh_write_string(out, quipu_slice_text(hash_name(sshsig->hash)));
    write_ed25519(out, sshsig->signature, sizeof sshsig->signature);
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

enum quipu_status quipu_sshsig_verify(struct quipu_slice blob, const char *name_space,
                                      struct quipu_slice message,
                                      uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES],
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
    struct quipu_buf signed_bytes = QUIPU_BUF_INIT;
    quipu_sshsig_signed_bytes(sshsig.name_space, sshsig.hash, message, &signed_bytes);
    status = signed_bytes.status;
    if (status != QUIPU_OK) {
        status = quipu_error_set(err, status, "no memory to check a signature");
    } else if (crypto_sign_verify_detached(sshsig.signature, signed_bytes.data, signed_bytes.len,
                                           sshsig.public_key) != 0) {
        status = quipu_error_set(err, QUIPU_BAD_SIGNATURE,
                                 "signature does not verify: the signed bytes or the signature "
                                 "were changed, or another key made it");
    } else {
        memcpy(public_key, sshsig.public_key, QUIPU_PUBLIC_KEY_BYTES);
    }
    quipu_buf_release(&signed_bytes);
    return status;
}
