/*
 * SHA-256 over eight messages in step, for processors with AVX2. Compiled with -mavx2 and called
 * only where the processor has it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define LANES           8
#define LANES_FUNCTION  sha256_compress_avx2
#define INTERLEAVE_LOW  0, 8, 1, 9, 2, 10, 3, 11
#define INTERLEAVE_HIGH 4, 12, 5, 13, 6, 14, 7, 15

#include "sha256_lanes_body.h"
