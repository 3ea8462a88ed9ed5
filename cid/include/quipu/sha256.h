/*
 * SHA-256 (FIPS 180-4): one message, a stream, or many independent messages at once.
 * libcrypto does the work through a context that each thread keeps; libsodium where it cannot.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SHA256_H
#define QUIPU_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_SHA256_BYTES 32

/** Digest of `message`. Cannot fail. Any thread. */
QUIPU_API void quipu_sha256(struct quipu_slice message, uint8_t digest[QUIPU_SHA256_BYTES]);

/** Digests of `count` messages, as fast as this processor can do independent ones. Any thread. */
QUIPU_API void quipu_sha256_batch(const struct quipu_slice *messages, size_t count,
                                  uint8_t (*digests)[QUIPU_SHA256_BYTES]);

/** A digest over bytes that come in pieces; caller's storage; cannot fail. One thread at a time. */
struct quipu_sha256_stream {
    uint64_t opaque[16];
};

QUIPU_API void quipu_sha256_stream_init(struct quipu_sha256_stream *stream);
QUIPU_API void quipu_sha256_stream_update(struct quipu_sha256_stream *stream,
                                          struct quipu_slice bytes);
/** Writes the digest; the stream must be initialised again before more. */
QUIPU_API void quipu_sha256_stream_final(struct quipu_sha256_stream *stream,
                                         uint8_t digest[QUIPU_SHA256_BYTES]);

#ifdef __cplusplus
}
#endif

#endif
