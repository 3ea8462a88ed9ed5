/*
 * SHA-256 over two messages in step by the processor's SHA instructions. One message alone leaves
 * them idle half of the time: each pair of rounds waits for the pair before. Compiled with -msha
 * -msse4.1 and called only where the processor has both.
 *
 * The instructions want the state as two registers, {a, b, e, f} and {c, d, g, h}, each with its
 * first word on top; sha256rnds2 does two rounds with the two lowest words of its third operand.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <immintrin.h>

#include "sha256_lanes.h"

#define LANES       2
#define BLOCK_QUADS 4 /* four words each */

struct lane {
    __m128i abef;
    __m128i cdgh;
    __m128i w[BLOCK_QUADS];
};

static inline __m128i load(const void *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* {a, b, c, d} and {e, f, g, h} in memory, first word lowest, into the two registers and back. */
static inline void load_state(struct lane *lane, const uint32_t *words)
{
    __m128i badc = _mm_shuffle_epi32(load(words), 0xb1);
    __m128i hgfe = _mm_shuffle_epi32(load(words + 4), 0x1b);
    lane->abef = _mm_alignr_epi8(badc, hgfe, 8);
    lane->cdgh = _mm_blend_epi16(hgfe, badc, 0xf0);
}

static inline void store_state(const struct lane *lane, uint32_t *words)
{
    __m128i feba = _mm_shuffle_epi32(lane->abef, 0x1b);
    __m128i dchg = _mm_shuffle_epi32(lane->cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)words, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(words + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* Four rounds with the words of `w[quad % 4]`. */
static inline void rounds(struct lane *lane, unsigned quad)
{
    __m128i wk = _mm_add_epi32(lane->w[quad % BLOCK_QUADS],
                               load(sha256_round_constants + quad * BLOCK_QUADS));
    lane->cdgh = _mm_sha256rnds2_epu32(lane->cdgh, lane->abef, wk);
    lane->abef = _mm_sha256rnds2_epu32(lane->abef, lane->cdgh, _mm_shuffle_epi32(wk, 0x0e));
}

/* The next four words of the schedule, in place of those four quads back. */
static inline void schedule(struct lane *lane, unsigned quad)
{
    __m128i *w = lane->w;
    __m128i w1 = w[(quad + 1) % BLOCK_QUADS];
    __m128i w2 = w[(quad + 2) % BLOCK_QUADS];
    __m128i w3 = w[(quad + 3) % BLOCK_QUADS];
    __m128i sum = _mm_sha256msg1_epu32(w[quad % BLOCK_QUADS], w1);
    sum = _mm_add_epi32(sum, _mm_alignr_epi8(w3, w2, 4));
    w[quad % BLOCK_QUADS] = _mm_sha256msg2_epu32(sum, w3);
}

void sha256_compress_sha_ni(uint32_t *state, const uint8_t *const *data, size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    struct lane lanes[LANES];
    for (unsigned l = 0; l < LANES; l++) {
        load_state(&lanes[l], state + l * SHA256_WORDS);
    }
    for (size_t block = 0; block < blocks; block++) {
        struct lane before[LANES];
#pragma GCC unroll 2
        for (unsigned l = 0; l < LANES; l++) {
            before[l].abef = lanes[l].abef;
            before[l].cdgh = lanes[l].cdgh;
#pragma GCC unroll 4
            for (unsigned i = 0; i < BLOCK_QUADS; i++) {
                lanes[l].w[i] = _mm_shuffle_epi8(
                    load(data[l] + block * SHA256_BLOCK_BYTES + i * sizeof(__m128i)), swap);
            }
        }
#pragma GCC unroll 16
        for (unsigned quad = 0; quad < SHA256_ROUNDS / 4; quad++) {
#pragma GCC unroll 2
            for (unsigned l = 0; l < LANES; l++) {
                rounds(&lanes[l], quad);
                if (quad < SHA256_ROUNDS / 4 - BLOCK_QUADS) {
                    schedule(&lanes[l], quad);
                }
            }
        }
#pragma GCC unroll 2
        for (unsigned l = 0; l < LANES; l++) {
            lanes[l].abef = _mm_add_epi32(lanes[l].abef, before[l].abef);
            lanes[l].cdgh = _mm_add_epi32(lanes[l].cdgh, before[l].cdgh);
        }
    }
    for (unsigned l = 0; l < LANES; l++) {
        store_state(&lanes[l], state + l * SHA256_WORDS);
    }
}
