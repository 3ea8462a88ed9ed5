/*
 * SHA-256 of several messages in step: what the engines and their scheduler (sha256_batch.c) share.
 * An engine knows one thing: how to run the compression function over some blocks of as many
 * messages as it has lanes. Private to cid/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SHA256_LANES_H
#define QUIPU_SHA256_LANES_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/sha256.h"

#define SHA256_BLOCK_BYTES 64
#define SHA256_WORDS       8
#define SHA256_ROUNDS      64
#define SHA256_LANES_MAX   16

extern const uint32_t sha256_round_constants[SHA256_ROUNDS];

/**
 * Run `blocks` blocks of each lane's message through its state. Word w of lane l is
 * state[w * word_stride + l * lane_stride]; data[l] points to blocks * 64 bytes.
 */
typedef void sha256_compress(uint32_t *state, const uint8_t *const *data, size_t blocks);

struct sha256_engine {
    const char *name;
    sha256_compress *compress;
    unsigned lanes;
    unsigned word_stride;
    unsigned lane_stride;
    /* Fewer messages than this are faster one by one. */
    unsigned worth_from;
};

/** The engine of that name ("sha-ni", "avx2", "avx512"), or NULL where it was not compiled in or
 * this processor has not what it takes. */
const struct sha256_engine *sha256_engine_find(const char *name);

/** What quipu_sha256_batch uses here; NULL: one message after the other. */
const struct sha256_engine *sha256_engine_best(void);

void sha256_batch_with(const struct sha256_engine *engine, const struct quipu_slice *messages,
                       size_t count, uint8_t (*digests)[QUIPU_SHA256_BYTES]);

/** Digest of `message`, of which `done` bytes (whole blocks) have been run into `words`. */
void sha256_resume(const uint32_t words[SHA256_WORDS], struct quipu_slice message, size_t done,
                   uint8_t digest[QUIPU_SHA256_BYTES]);

#ifdef QUIPU_HAVE_X86_LANES
sha256_compress sha256_compress_avx2;
sha256_compress sha256_compress_avx512;
sha256_compress sha256_compress_sha_ni;
#endif

#endif
