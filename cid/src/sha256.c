/*
 * SHA-256 of one message or of a stream. libcrypto's low-level functions do the work: their state
 * lives on the stack, they cannot fail, and they skip the 30 ns that a reused EVP context costs
 * each message. libsodium does it where libcrypto was built without them. Batches: sha256_batch.c.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/sha256.h"

#include <string.h>

#include "sha256_lanes.h"

#ifdef QUIPU_HAVE_LIBCRYPTO_SHA256

/* Deprecated in favour of EVP since 3.0, and kept through all of 3.x. */
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

typedef SHA256_CTX engine_state;

static void engine_init(engine_state *state)
{
    (void)SHA256_Init(state); /* always 1 */
}

static void engine_update(engine_state *state, struct quipu_slice bytes)
{
    (void)SHA256_Update(state, bytes.data, bytes.len); /* always 1 */
}

static void engine_final(engine_state *state, uint8_t *digest)
{
    (void)SHA256_Final(digest, state); /* always 1 */
}

/* As if `done` bytes, whole blocks, had gone in and left `words`. */
static void engine_resume(engine_state *state, const uint32_t *words, uint64_t done)
{
    engine_init(state);
    memcpy(state->h, words, sizeof state->h);
    state->Nl = (SHA_LONG)(done << 3);
    state->Nh = (SHA_LONG)(done >> 29);
}

#else

#include <sodium.h>

typedef crypto_hash_sha256_state engine_state;

static void engine_init(engine_state *state)
{
    (void)crypto_hash_sha256_init(state); /* always 0 */
}

static void engine_update(engine_state *state, struct quipu_slice bytes)
{
    (void)crypto_hash_sha256_update(state, bytes.data, bytes.len); /* always 0 */
}

static void engine_final(engine_state *state, uint8_t *digest)
{
    (void)crypto_hash_sha256_final(state, digest); /* always 0 */
}

/* As if `done` bytes, whole blocks, had gone in and left `words`. */
static void engine_resume(engine_state *state, const uint32_t *words, uint64_t done)
{
    engine_init(state);
    memcpy(state->state, words, sizeof state->state);
    state->count = done << 3;
}

#endif

_Static_assert(sizeof(engine_state) <= sizeof(struct quipu_sha256_stream),
               "the public stream has room for the state");

void quipu_sha256(struct quipu_slice message, uint8_t digest[QUIPU_SHA256_BYTES])
{
    engine_state state;
    engine_init(&state);
    engine_update(&state, message);
    engine_final(&state, digest);
}

void sha256_resume(const uint32_t words[SHA256_WORDS], struct quipu_slice message, size_t done,
                   uint8_t digest[QUIPU_SHA256_BYTES])
{
    engine_state state;
    engine_resume(&state, words, done);
    engine_update(&state, quipu_slice(message.data + done, message.len - done));
    engine_final(&state, digest);
}

/* The public struct holds the state's bytes; they are copied out and in because its own type is
 * another one. */
void quipu_sha256_stream_init(struct quipu_sha256_stream *stream)
{
    engine_state state;
    engine_init(&state);
    memcpy(stream, &state, sizeof state);
}

void quipu_sha256_stream_update(struct quipu_sha256_stream *stream, struct quipu_slice bytes)
{
    engine_state state;
    memcpy(&state, stream, sizeof state);
    engine_update(&state, bytes);
    memcpy(stream, &state, sizeof state);
}

void quipu_sha256_stream_final(struct quipu_sha256_stream *stream,
                               uint8_t digest[QUIPU_SHA256_BYTES])
{
    engine_state state;
    memcpy(&state, stream, sizeof state);
    engine_final(&state, digest);
}
