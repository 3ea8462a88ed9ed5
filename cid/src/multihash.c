/*
 * Multihash: reading, and the digests that can be computed and compared here. A digest that no one
 * can check here is said to be so; it is never counted as verified.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/multihash.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "quipu/cid.h"
#include "quipu/varint.h"

#define DIGEST_BYTES_MAX  64
#define BLAKE2B_256_BYTES 32

enum quipu_status quipu_multihash_take(struct quipu_slice *input, struct quipu_multihash *out,
                                       struct quipu_error *err)
{
    struct quipu_slice rest = *input;
    uint64_t code;
    uint64_t len;
    enum quipu_status status = quipu_varint_take(&rest, &code, err);
    if (status != QUIPU_OK) {
        return status;
    }
    size_t code_len = input->len - rest.len;
    struct quipu_error inner = {0};
    status = quipu_varint_take(&rest, &len, &inner);
    if (status != QUIPU_OK) {
        return quipu_error_set_at(err, status, code_len + inner.offset,
                                  "digest length of a multihash: %s", quipu_status_text(status));
    }
    if (len > rest.len) {
        return quipu_error_set_at(
            err, QUIPU_MULTIHASH, input->len - rest.len,
            "multihash announces a digest of %" PRIu64 " bytes, %zu are there", len, rest.len);
    }
    *out = (struct quipu_multihash){code, quipu_slice(rest.data, (size_t)len)};
    *input = quipu_slice(rest.data + len, rest.len - (size_t)len);
    return QUIPU_OK;
}

/* The whole digest; its length, or 0 where the function is not computed here. */
static size_t compute(uint64_t code, struct quipu_slice message, uint8_t digest[DIGEST_BYTES_MAX])
{
    /* libsodium wants a pointer, also to nothing. */
    const uint8_t *data = message.len == 0 ? (const uint8_t *)"" : message.data;
    if (code == QUIPU_MULTIHASH_SHA2_256) {
        quipu_sha256(message, digest);
        return QUIPU_SHA256_BYTES;
    }
    if (code == QUIPU_MULTIHASH_SHA2_512) {
        (void)crypto_hash_sha512(digest, data, message.len); /* always 0 */
        return crypto_hash_sha512_BYTES;
    }
    if (code == QUIPU_MULTIHASH_BLAKE2B_256) {
        /* Always 0 with these lengths. */
        (void)crypto_generichash_blake2b(digest, BLAKE2B_256_BYTES, data, message.len, NULL, 0);
        return BLAKE2B_256_BYTES;
    }
    return 0;
}

static enum quipu_status unverifiable(uint64_t code, struct quipu_error *err)
{
    const char *name = quipu_multihash_name(code);
    return quipu_error_set(err, QUIPU_CID_UNVERIFIABLE,
                           "hash function 0x%" PRIx64 " (%s) cannot be computed here", code,
                           name != NULL ? name : "unknown");
}

static enum quipu_status mismatch(uint64_t code, struct quipu_slice message,
                                  struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_CID_MISMATCH, "%zu bytes do not have this %s digest",
                           message.len, quipu_multihash_name(code));
}

enum quipu_status quipu_multihash_verify(const struct quipu_multihash *hash,
                                         struct quipu_slice message, struct quipu_error *err)
{
    if (hash->code == QUIPU_MULTIHASH_IDENTITY) {
        return quipu_slice_equal(hash->digest, message) ? QUIPU_OK
                                                        : mismatch(hash->code, message, err);
    }
    uint8_t digest[DIGEST_BYTES_MAX];
    size_t len = compute(hash->code, message, digest);
    if (len == 0) {
        return unverifiable(hash->code, err);
    }
    if (hash->digest.len > len) {
        return quipu_error_set(err, QUIPU_CID_MISMATCH,
                               "a %s digest has %zu bytes, the multihash holds %zu",
                               quipu_multihash_name(hash->code), len, hash->digest.len);
    }
    if (!quipu_slice_equal(hash->digest, quipu_slice(digest, hash->digest.len))) {
        return mismatch(hash->code, message, err);
    }
    if (hash->digest.len < QUIPU_MULTIHASH_PROOF_BYTES) {
        return quipu_error_set(
            err, QUIPU_CID_UNVERIFIABLE,
            "%s digest cut to %zu bytes matches, but fewer than %d prove nothing",
            quipu_multihash_name(hash->code), hash->digest.len, QUIPU_MULTIHASH_PROOF_BYTES);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_multihash_append(uint64_t code, size_t digest_bytes,
                                         struct quipu_slice message, struct quipu_buf *out,
                                         struct quipu_error *err)
{
    uint8_t storage[DIGEST_BYTES_MAX];
    struct quipu_slice digest = message;
    if (code != QUIPU_MULTIHASH_IDENTITY) {
        size_t len = compute(code, message, storage);
        if (len == 0) {
            return unverifiable(code, err);
        }
        digest = quipu_slice(storage, len);
    }
    bool is_cut = digest_bytes != 0 && digest_bytes != digest.len;
    if (is_cut && (digest_bytes > digest.len || code == QUIPU_MULTIHASH_IDENTITY)) {
        return quipu_error_set(err, QUIPU_INVALID, "a %s digest has %zu bytes, %zu were asked for",
                               quipu_multihash_name(code), digest.len, digest_bytes);
    }
    if (is_cut) {
        digest.len = digest_bytes;
    }
    size_t before = out->len;
    quipu_varint_append(out, code);
    quipu_varint_append(out, digest.len);
    quipu_buf_append_slice(out, digest);
    if (out->status != QUIPU_OK) {
        out->len = before;
        return quipu_error_set(err, out->status, "multihash of %zu bytes: %s", message.len,
                               quipu_status_text(out->status));
    }
    return QUIPU_OK;
}
