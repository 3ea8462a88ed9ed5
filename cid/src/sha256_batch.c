/*
 * SHA-256 of many independent messages: which engine this processor runs best, and the scheduler
 * that keeps its lanes full.
 *
 * How a batch goes: (1) each lane takes a message; (2) all lanes run as many blocks as the one with
 * the fewest left in its current piece, where a piece is the message's whole blocks or its padded
 * tail; (3) a lane whose piece is through goes on to its tail, or hands out its digest and takes
 * the next message; (4) when no message is left, a lane without work runs along on another lane's
 * bytes, until so few lanes are busy that each is finished alone from where it stands.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdbool.h>
#include <string.h>

#include "internal/bytes.h"
#include "sha256_lanes.h"

#if defined(QUIPU_HAVE_X86_LANES)
#include <cpuid.h>
#endif

#define TAIL_BYTES   (2 * SHA256_BLOCK_BYTES)
#define LENGTH_BYTES 8
#define NO_MESSAGE   SIZE_MAX

const uint32_t sha256_round_constants[SHA256_ROUNDS] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t INITIAL[SHA256_WORDS] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

/* ------------------------------------------------------------------ which engine */

#ifdef QUIPU_HAVE_X86_LANES

enum { ENGINE_SHA_NI, ENGINE_AVX512, ENGINE_AVX2, ENGINE_COUNT };

/* Best first, as measured on processors that have more than one (docs/PERFORMANCE.md). */
static const struct sha256_engine ENGINES[ENGINE_COUNT] = {
    [ENGINE_SHA_NI] = {"sha-ni", sha256_compress_sha_ni, 2, 1, SHA256_WORDS, 2},
    [ENGINE_AVX512] = {"avx512", sha256_compress_avx512, 16, 16, 1, 4},
    [ENGINE_AVX2] = {"avx2", sha256_compress_avx2, 8, 8, 1, 3},
};

static bool has_sha_instructions(void)
{
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 &&
           (b & bit_SHA) != 0;
}

static bool is_usable(size_t engine)
{
    switch (engine) {
    case ENGINE_SHA_NI:
        return has_sha_instructions();
    case ENGINE_AVX512:
        return __builtin_cpu_supports("avx512f");
    default:
        return __builtin_cpu_supports("avx2");
    }
}

const struct sha256_engine *sha256_engine_find(const char *name)
{
    for (size_t i = 0; i < ENGINE_COUNT; i++) {
        if (strcmp(ENGINES[i].name, name) == 0 && is_usable(i)) {
            return &ENGINES[i];
        }
    }
    return NULL;
}

const struct sha256_engine *sha256_engine_best(void)
{
    /* What the processor says never changes, but asking it takes microseconds inside a virtual
     * machine. Number of the engine + 1, 0: not asked yet; threads that race write the same. */
    static _Atomic unsigned known;
    unsigned best = known;
    for (unsigned i = 0; best == 0 && i < ENGINE_COUNT; i++) {
        best = is_usable(i) ? i + 1 : 0;
    }
    if (best == 0) {
        best = ENGINE_COUNT + 1;
    }
    known = best;
    return best <= ENGINE_COUNT ? &ENGINES[best - 1] : NULL;
}

#else

const struct sha256_engine *sha256_engine_find(const char *name)
{
    (void)name;
    return NULL;
}

const struct sha256_engine *sha256_engine_best(void)
{
    return NULL;
}

#endif

/* ------------------------------------------------------------------ the scheduler */

/* One lane's work: the message that it hashes and the piece of it that comes next. */
struct lane {
    const uint8_t *data;
    size_t blocks;      /* left in this piece */
    size_t tail_blocks; /* to come after this piece; 0: this is the tail */
    size_t message;     /* its number; NO_MESSAGE: no work */
    uint8_t tail[TAIL_BYTES];
};

struct batch {
    const struct sha256_engine *engine;
    const struct quipu_slice *messages;
    size_t count;
    size_t next; /* first message that no lane has taken */
    size_t busy; /* lanes with work */
    uint8_t (*digests)[QUIPU_SHA256_BYTES];
    _Alignas(64) uint32_t state[SHA256_WORDS * SHA256_LANES_MAX];
    struct lane lanes[SHA256_LANES_MAX];
};

/* What is left behind the whole blocks, 0x80, zeros, the length in bits: one block or two. */
static void pad_tail(struct lane *lane, struct quipu_slice message)
{
    size_t whole = message.len / SHA256_BLOCK_BYTES * SHA256_BLOCK_BYTES;
    size_t rest = message.len - whole;
    size_t blocks = rest + 1 + LENGTH_BYTES > SHA256_BLOCK_BYTES ? 2 : 1;
    size_t bytes = blocks * SHA256_BLOCK_BYTES;
    if (rest > 0) {
        memcpy(lane->tail, message.data + whole, rest);
    }
    lane->tail[rest] = 0x80;
    memset(lane->tail + rest + 1, 0, bytes - rest - 1 - LENGTH_BYTES);
    quipu_store_be64(lane->tail + bytes - LENGTH_BYTES, (uint64_t)message.len * 8);
    lane->tail_blocks = blocks;
}

/* Give the lane its next message, or none. */
static void take_message(struct batch *batch, unsigned l)
{
    struct lane *lane = &batch->lanes[l];
    if (batch->next == batch->count) {
        lane->message = NO_MESSAGE;
        return;
    }
    lane->message = batch->next++;
    batch->busy++;
    struct quipu_slice message = batch->messages[lane->message];
    pad_tail(lane, message);
    lane->data = message.data;
    lane->blocks = message.len / SHA256_BLOCK_BYTES;
    if (lane->blocks == 0) {
        lane->data = lane->tail;
        lane->blocks = lane->tail_blocks;
        lane->tail_blocks = 0;
    }
    const struct sha256_engine *engine = batch->engine;
    for (unsigned w = 0; w < SHA256_WORDS; w++) {
        batch->state[w * engine->word_stride + l * engine->lane_stride] = INITIAL[w];
    }
}

static void give_digest(struct batch *batch, unsigned l)
{
    const struct sha256_engine *engine = batch->engine;
    uint8_t *digest = batch->digests[batch->lanes[l].message];
    for (unsigned w = 0; w < SHA256_WORDS; w++) {
        quipu_store_be32(digest + 4 * (size_t)w,
                         batch->state[w * engine->word_stride + l * engine->lane_stride]);
    }
}

/* The lane's piece is through. */
static void next_piece(struct batch *batch, unsigned l)
{
    struct lane *lane = &batch->lanes[l];
    if (lane->tail_blocks > 0) {
        lane->data = lane->tail;
        lane->blocks = lane->tail_blocks;
        lane->tail_blocks = 0;
        return;
    }
    give_digest(batch, l);
    batch->busy--;
    take_message(batch, l);
}

/* Few lanes have work and none will come: finish those that are not at their tail yet. */
static void finish_alone(struct batch *batch)
{
    const struct sha256_engine *engine = batch->engine;
    for (unsigned l = 0; l < engine->lanes; l++) {
        struct lane *lane = &batch->lanes[l];
        if (lane->message == NO_MESSAGE || lane->tail_blocks == 0) {
            continue;
        }
        struct quipu_slice message = batch->messages[lane->message];
        uint32_t words[SHA256_WORDS];
        for (unsigned w = 0; w < SHA256_WORDS; w++) {
            words[w] = batch->state[w * engine->word_stride + l * engine->lane_stride];
        }
        sha256_resume(words, message, (size_t)(lane->data - message.data),
                      batch->digests[lane->message]);
        lane->message = NO_MESSAGE;
    }
}

/* The lanes' data, and how many blocks all of them can run; 0: nothing is left to do. */
static size_t next_step(const struct batch *batch, const uint8_t *data[SHA256_LANES_MAX])
{
    size_t blocks = SIZE_MAX;
    const uint8_t *shortest = NULL;
    for (unsigned l = 0; l < batch->engine->lanes; l++) {
        const struct lane *lane = &batch->lanes[l];
        if (lane->message != NO_MESSAGE && lane->blocks < blocks) {
            blocks = lane->blocks;
            shortest = lane->data;
        }
    }
    for (unsigned l = 0; l < batch->engine->lanes; l++) {
        const struct lane *lane = &batch->lanes[l];
        data[l] = lane->message != NO_MESSAGE ? lane->data : shortest;
    }
    return shortest != NULL ? blocks : 0;
}

static void count_off(struct batch *batch, size_t blocks)
{
    for (unsigned l = 0; l < batch->engine->lanes; l++) {
        struct lane *lane = &batch->lanes[l];
        if (lane->message == NO_MESSAGE) {
            continue;
        }
        lane->data += blocks * SHA256_BLOCK_BYTES;
        lane->blocks -= blocks;
        if (lane->blocks == 0) {
            next_piece(batch, l);
        }
    }
}

void sha256_batch_with(const struct sha256_engine *engine, const struct quipu_slice *messages,
                       size_t count, uint8_t (*digests)[QUIPU_SHA256_BYTES])
{
    struct batch batch;
    batch.engine = engine;
    batch.messages = messages;
    batch.count = count;
    batch.next = 0;
    batch.busy = 0;
    batch.digests = digests;
    for (unsigned l = 0; l < engine->lanes; l++) {
        take_message(&batch, l);
    }
    const uint8_t *data[SHA256_LANES_MAX];
    size_t blocks;
    while ((blocks = next_step(&batch, data)) > 0) {
        engine->compress(batch.state, data, blocks);
        count_off(&batch, blocks);
        if (batch.busy < engine->worth_from) {
            finish_alone(&batch);
        }
    }
}

void quipu_sha256_batch(const struct quipu_slice *messages, size_t count,
                        uint8_t (*digests)[QUIPU_SHA256_BYTES])
{
    const struct sha256_engine *engine = sha256_engine_best();
    if (engine != NULL && count >= engine->worth_from) {
        sha256_batch_with(engine, messages, count, digests);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        quipu_sha256(messages[i], digests[i]);
    }
}
