/*
 * The compression function of SHA-256 (FIPS 180-4 §6.2.2) over LANES messages at once, in the
 * compiler's vector types: lane l of each vector belongs to message l. Included by the file of each
 * vector width, which defines
 *   LANES                          8 or 16
 *   LANES_FUNCTION                 name of the function
 *   INTERLEAVE_LOW, INTERLEAVE_HIGH  index lists of the perfect shuffle of two vectors
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "sha256_lanes.h"

typedef uint32_t words __attribute__((vector_size(4 * LANES)));

#define BLOCK_WORDS 16

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))

/* Words are stored most significant byte first. */
static inline words swap_bytes(words x)
{
    return (ROTATE(x, 24) & 0x00ff00ffu) | (ROTATE(x, 8) & 0xff00ff00u);
}

/*
 * Rows become columns. Seen as one run of LANES² words, an element's index is the bits of its row
 * followed by the bits of its column; a perfect shuffle of the first half with the second turns
 * that index round by one bit, so log2(LANES) of them exchange row and column.
 */
static inline void transpose(words rows[LANES])
{
    words other[LANES];
    words *from = rows;
    words *to = other;
    for (unsigned stage = 1; stage < LANES; stage *= 2) {
#pragma GCC unroll 16
        for (unsigned i = 0; i < LANES / 2; i++) {
            to[2 * i] = __builtin_shufflevector(from[i], from[i + LANES / 2], INTERLEAVE_LOW);
            to[2 * i + 1] = __builtin_shufflevector(from[i], from[i + LANES / 2], INTERLEAVE_HIGH);
        }
        words *swap = from;
        from = to;
        to = swap;
    }
    if (from != rows) {
        memcpy(rows, from, sizeof other);
    }
}

/* One block of every lane: w[i] holds word i of each. */
static inline void load_block(words w[BLOCK_WORDS], const uint8_t *const *data, size_t offset)
{
    for (unsigned part = 0; part < BLOCK_WORDS; part += LANES) {
        words rows[LANES];
#pragma GCC unroll 16
        for (unsigned lane = 0; lane < LANES; lane++) {
            memcpy(&rows[lane], data[lane] + offset + part * sizeof(uint32_t), sizeof rows[lane]);
        }
        transpose(rows);
#pragma GCC unroll 16
        for (unsigned i = 0; i < LANES; i++) {
            w[part + i] = swap_bytes(rows[i]);
        }
    }
}

static inline words schedule(const words w[BLOCK_WORDS], unsigned i)
{
    words w15 = w[(i + 1) % BLOCK_WORDS];
    words w2 = w[(i + 14) % BLOCK_WORDS];
    words s0 = ROTATE(w15, 7) ^ ROTATE(w15, 18) ^ w15 >> 3;
    words s1 = ROTATE(w2, 17) ^ ROTATE(w2, 19) ^ w2 >> 10;
    return w[i] + s0 + w[(i + 9) % BLOCK_WORDS] + s1;
}

void LANES_FUNCTION(uint32_t *state, const uint8_t *const *data, size_t blocks)
{
    words h[SHA256_WORDS];
    memcpy(h, state, sizeof h);
    for (size_t block = 0; block < blocks; block++) {
        words w[BLOCK_WORDS];
        words v[SHA256_WORDS];
        load_block(w, data, block * SHA256_BLOCK_BYTES);
        memcpy(v, h, sizeof v);
        for (unsigned round = 0; round < SHA256_ROUNDS; round += BLOCK_WORDS) {
#pragma GCC unroll 16
            for (unsigned i = 0; i < BLOCK_WORDS; i++) {
                /* a to h move one place a round: here their names move instead. */
                unsigned at = SHA256_WORDS - i % SHA256_WORDS;
                words a = v[at % 8];
                words b = v[(at + 1) % 8];
                words c = v[(at + 2) % 8];
                words e = v[(at + 4) % 8];
                words f = v[(at + 5) % 8];
                words g = v[(at + 6) % 8];
                words t1 = v[(at + 7) % 8] + (ROTATE(e, 6) ^ ROTATE(e, 11) ^ ROTATE(e, 25)) +
                           (g ^ (e & (f ^ g))) + sha256_round_constants[round + i] + w[i];
                words t2 =
                    (ROTATE(a, 2) ^ ROTATE(a, 13) ^ ROTATE(a, 22)) + ((a & b) | (c & (a | b)));
                v[(at + 3) % 8] += t1;
                v[(at + 7) % 8] = t1 + t2;
                w[i] = schedule(w, i);
            }
        }
#pragma GCC unroll 8
        for (unsigned i = 0; i < SHA256_WORDS; i++) {
            h[i] += v[i];
        }
    }
    memcpy(state, h, sizeof h);
}
