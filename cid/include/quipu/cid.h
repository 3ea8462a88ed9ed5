/*
 * Content identifiers. Two types on purpose:
 *
 * struct quipu_cid       what quipu writes, the *event* profile: CIDv1, dag-cbor or raw, sha2-256.
 * A value of 33 bytes; 36 bytes in binary, 59 characters in text (base32). struct quipu_cid_view
 * whatever a reader may meet, the *generic* profile: CIDv0 or v1, any codec, any hash. Borrowed
 * from the bytes it was parsed from.
 *
 * Specification: github.com/multiformats/cid; docs/SPEC.md §2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CID_H
#define QUIPU_CID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/sha256.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Multicodec numbers that quipu itself writes. */
#define QUIPU_CODEC_RAW          0x55
#define QUIPU_CODEC_DAG_CBOR     0x71
#define QUIPU_CODEC_DAG_PB       0x70
#define QUIPU_MULTIHASH_SHA2_256 0x12

#define QUIPU_CID_BYTES      36 /* 01 codec 12 20 digest */
#define QUIPU_CID_TEXT_BYTES 60 /* 'b', 58 characters of base32, NUL */

/** CID of the event profile. Compare with quipu_cid_equal. Zero-initialised is no valid CID. */
struct quipu_cid {
    uint8_t codec; /* QUIPU_CODEC_DAG_CBOR or QUIPU_CODEC_RAW */
    uint8_t digest[QUIPU_SHA256_BYTES];
};

static inline bool quipu_cid_equal(const struct quipu_cid *a, const struct quipu_cid *b)
{
    return a->codec == b->codec && memcmp(a->digest, b->digest, sizeof a->digest) == 0;
}

/** CID of `block` under `codec`. Cannot fail. Any thread. */
QUIPU_API struct quipu_cid quipu_cid_of(uint8_t codec, struct quipu_slice block);

/** 36 bytes. */
QUIPU_API void quipu_cid_to_bytes(const struct quipu_cid *cid, uint8_t out[QUIPU_CID_BYTES]);

/** 59 characters "bafy…" or "bafk…" and a NUL. */
QUIPU_API void quipu_cid_format(const struct quipu_cid *cid, char out[QUIPU_CID_TEXT_BYTES]);

/**
 * Read text in any multibase that is supported.
 * @retval QUIPU_MULTIBASE, QUIPU_CID, QUIPU_VARINT, QUIPU_MULTIHASH  malformed
 * @retval QUIPU_CID_PROFILE  well-formed, but not of the event profile
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE  text beyond reason
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_cid_parse(struct quipu_slice text, struct quipu_cid *out, struct quipu_error *err);

/** Generic CID; slices are borrowed from the parsed bytes and valid as long as these. */
struct quipu_cid_view {
    uint64_t version; /* 0 or 1 */
    uint64_t codec;   /* dag-pb in version 0 */
    uint64_t hash;    /* multihash function */
    struct quipu_slice digest;
    struct quipu_slice bytes; /* the whole binary CID */
};

/**
 * Read the binary CID at the front of `*input` and advance past it.
 * @retval QUIPU_VARINT, QUIPU_MULTIHASH, QUIPU_CID  with err->offset relative to the start of
 * input;
 *         `*input` is unchanged
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_cid_view_take(struct quipu_slice *input, struct quipu_cid_view *out, struct quipu_error *err);

/**
 * Read the text of a generic CID; its bytes are appended to `storage`, which the view borrows:
 * valid until the next change of the buffer.
 * @retval QUIPU_MULTIBASE, QUIPU_CID, QUIPU_VARINT, QUIPU_MULTIHASH  malformed
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 * On failure the buffer's length is as it was.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_cid_view_parse(struct quipu_slice text,
                                                                  struct quipu_buf *storage,
                                                                  struct quipu_cid_view *out,
                                                                  struct quipu_error *err);

/** Narrow to the event profile. @retval QUIPU_CID_PROFILE */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_cid_from_view(const struct quipu_cid_view *view,
                                                                 struct quipu_cid *out,
                                                                 struct quipu_error *err);

/** View of an event-profile CID; `storage` receives its bytes and is borrowed by the view. */
QUIPU_API struct quipu_cid_view quipu_cid_to_view(const struct quipu_cid *cid,
                                                  uint8_t storage[QUIPU_CID_BYTES]);

/** Append the text of a generic CID: base58btc for version 0, base32 for version 1. */
QUIPU_API void quipu_cid_view_format(const struct quipu_cid_view *view, struct quipu_buf *out);

/**
 * Does `block` hash to this CID? sha2-256, sha2-512, blake2b-256 and identity are verified.
 * @retval QUIPU_OK, QUIPU_CID_MISMATCH
 * @retval QUIPU_CID_UNVERIFIABLE  another hash function: never to be taken for verified
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_cid_view_verify(const struct quipu_cid_view *view, struct quipu_slice block,
                      struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
