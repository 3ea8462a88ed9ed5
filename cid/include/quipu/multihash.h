/*
 * Multihash: a hash function's number, a length, a digest. Any function is read; sha2-256,
 * sha2-512, blake2b-256 and identity are verified; every other is reported as what it is: not
 * verifiable here. Also the names of the multicodec table that tools print.
 *
 * Specification: github.com/multiformats/multihash; docs/SPEC.md §2.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_MULTIHASH_H
#define QUIPU_MULTIHASH_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_MULTIHASH_IDENTITY    0x00
#define QUIPU_MULTIHASH_SHA2_512    0x13
#define QUIPU_MULTIHASH_BLAKE2B_256 0xb220

/** A digest cut shorter than this proves nothing: forging a match would be within reach. */
#define QUIPU_MULTIHASH_PROOF_BYTES 20

struct quipu_multihash {
    uint64_t code;
    struct quipu_slice digest; /* borrowed from what was read */
};

/**
 * Read the multihash at the front of `*input` and advance past it.
 * @retval QUIPU_VARINT, QUIPU_MULTIHASH (digest cut short)  with err->offset relative to the start
 *         of input; `*input` and `*out` are unchanged
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_multihash_take(struct quipu_slice *input,
                                                                  struct quipu_multihash *out,
                                                                  struct quipu_error *err);

/**
 * Is `hash` the multihash of `message`? A digest that was cut to QUIPU_MULTIHASH_PROOF_BYTES or
 * more is compared as far as it goes.
 * @retval QUIPU_OK
 * @retval QUIPU_CID_MISMATCH      another digest, or a longer one than the function has
 * @retval QUIPU_CID_UNVERIFIABLE  a function that is not computed here, or a digest so short that
 *         its match proves nothing: never to be taken for verified
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_multihash_verify(const struct quipu_multihash *hash, struct quipu_slice message,
                       struct quipu_error *err);

/**
 * Append the multihash of `message` with `digest_bytes` of digest (0: all of it).
 * @retval QUIPU_CID_UNVERIFIABLE  a function that is not computed here
 * @retval QUIPU_INVALID           more bytes than the function has; identity cannot be cut
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_multihash_append(uint64_t code, size_t digest_bytes, struct quipu_slice message,
                       struct quipu_buf *out, struct quipu_error *err);

/** Name of a hash function in the multicodec table, such as "sha2-256", or NULL where it is not
 * known here. Static text. Any thread. */
QUIPU_API const char *quipu_multihash_name(uint64_t code);

/** @retval QUIPU_NOT_FOUND  no known function has this name; nothing written */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_multihash_find(struct quipu_slice name,
                                                                  uint64_t *code);

/** Bytes of a whole digest; 0 for identity and for what is not known here. */
QUIPU_API size_t quipu_multihash_digest_bytes(uint64_t code);

/** Name of a content codec, such as "dag-cbor", or NULL. Static text. Any thread. */
QUIPU_API const char *quipu_codec_name(uint64_t code);

/** @retval QUIPU_NOT_FOUND  no known codec has this name; nothing written */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_codec_find(struct quipu_slice name,
                                                              uint64_t *code);

#ifdef __cplusplus
}
#endif

#endif
