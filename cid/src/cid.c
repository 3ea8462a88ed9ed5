/*
 * Content identifiers in binary: the fixed event profile, and the generic profile as a reader meets
 * it. Text is in cid_text.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/cid.h"

#include <inttypes.h>

#include "quipu/multihash.h"
#include "quipu/varint.h"

/* A CIDv0 is a bare multihash, of this function and length only. */
#define CID_V0_BYTES 34

struct quipu_cid quipu_cid_of(uint8_t codec, struct quipu_slice block)
{
    struct quipu_cid cid;
    cid.codec = codec;
    quipu_sha256(block, cid.digest);
    return cid;
}

void quipu_cid_to_bytes(const struct quipu_cid *cid, uint8_t out[QUIPU_CID_BYTES])
{
    out[0] = 1;
    out[1] = cid->codec;
    out[2] = QUIPU_MULTIHASH_SHA2_256;
    out[3] = QUIPU_SHA256_BYTES;
    memcpy(out + 4, cid->digest, QUIPU_SHA256_BYTES);
}

struct quipu_cid_view quipu_cid_to_view(const struct quipu_cid *cid,
                                        uint8_t storage[QUIPU_CID_BYTES])
{
    quipu_cid_to_bytes(cid, storage);
    return (struct quipu_cid_view){.version = 1,
                                   .codec = cid->codec,
                                   .hash = QUIPU_MULTIHASH_SHA2_256,
                                   .digest = quipu_slice(storage + 4, QUIPU_SHA256_BYTES),
                                   .bytes = quipu_slice(storage, QUIPU_CID_BYTES)};
}

static enum quipu_status take_v0(struct quipu_slice *input, struct quipu_cid_view *out,
                                 struct quipu_error *err)
{
    if (input->len < CID_V0_BYTES) {
        return quipu_error_set_at(err, QUIPU_CID, input->len,
                                  "version 0 takes %d bytes, %zu are there", CID_V0_BYTES,
                                  input->len);
    }
    *out = (struct quipu_cid_view){.version = 0,
                                   .codec = QUIPU_CODEC_DAG_PB,
                                   .hash = QUIPU_MULTIHASH_SHA2_256,
                                   .digest = quipu_slice(input->data + 2, QUIPU_SHA256_BYTES),
                                   .bytes = quipu_slice(input->data, CID_V0_BYTES)};
    *input = quipu_slice(input->data + CID_V0_BYTES, input->len - CID_V0_BYTES);
    return QUIPU_OK;
}

/* One part of a version 1 CID failed at `*inner`, `at` bytes from the CID's start. */
static enum quipu_status part_failed(struct quipu_error *err, enum quipu_status status, size_t at,
                                     const struct quipu_error *inner, const char *part)
{
    uint64_t offset = at + (inner->offset == QUIPU_ERROR_NO_OFFSET ? 0 : inner->offset);
    return quipu_error_set_at(err, status, offset, "%s of a CID: %s", part,
                              quipu_status_text(status));
}

enum quipu_status quipu_cid_view_take(struct quipu_slice *input, struct quipu_cid_view *out,
                                      struct quipu_error *err)
{
    if (input->len == 0) {
        return quipu_error_set_at(err, QUIPU_CID, 0, "CID is empty");
    }
    if (input->len >= 2 && input->data[0] == QUIPU_MULTIHASH_SHA2_256 &&
        input->data[1] == QUIPU_SHA256_BYTES) {
        return take_v0(input, out, err);
    }

    struct quipu_error inner = {.offset = 0};
    struct quipu_slice rest = *input;
    uint64_t version;
    enum quipu_status status = quipu_varint_take(&rest, &version, &inner);
    if (status != QUIPU_OK) {
        return part_failed(err, status, 0, &inner, "version");
    }
    if (version != 1) {
        return quipu_error_set_at(err, QUIPU_CID, 0, "CID version %" PRIu64 " is not known",
                                  version);
    }
    size_t at = input->len - rest.len;
    uint64_t codec;
    status = quipu_varint_take(&rest, &codec, &inner);
    if (status != QUIPU_OK) {
        return part_failed(err, status, at, &inner, "codec");
    }
    at = input->len - rest.len;
    struct quipu_multihash hash;
    status = quipu_multihash_take(&rest, &hash, &inner);
    if (status != QUIPU_OK) {
        return part_failed(err, status, at, &inner, "multihash");
    }
    *out = (struct quipu_cid_view){.version = 1,
                                   .codec = codec,
                                   .hash = hash.code,
                                   .digest = hash.digest,
                                   .bytes = quipu_slice(input->data, input->len - rest.len)};
    *input = rest;
    return QUIPU_OK;
}

enum quipu_status quipu_cid_from_view(const struct quipu_cid_view *view, struct quipu_cid *out,
                                      struct quipu_error *err)
{
    bool is_ours = view->version == 1 && view->hash == QUIPU_MULTIHASH_SHA2_256 &&
                   view->digest.len == QUIPU_SHA256_BYTES &&
                   (view->codec == QUIPU_CODEC_DAG_CBOR || view->codec == QUIPU_CODEC_RAW);
    if (!is_ours) {
        return quipu_error_set(err, QUIPU_CID_PROFILE,
                               "CID version %" PRIu64 ", codec 0x%" PRIx64 ", hash 0x%" PRIx64
                               " of %zu bytes: only version 1, dag-cbor or raw, sha2-256 of 32 "
                               "bytes is taken here",
                               view->version, view->codec, view->hash, view->digest.len);
    }
    out->codec = (uint8_t)view->codec;
    memcpy(out->digest, view->digest.data, QUIPU_SHA256_BYTES);
    return QUIPU_OK;
}

enum quipu_status quipu_cid_view_verify(const struct quipu_cid_view *view, struct quipu_slice block,
                                        struct quipu_error *err)
{
    struct quipu_multihash hash = {view->hash, view->digest};
    return quipu_multihash_verify(&hash, block, err);
}
