/*
 * SHA-256 over sixteen messages in step, for processors with AVX-512. Compiled with -mavx512f and
 * called only where the processor has it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define LANES           16
#define LANES_FUNCTION  sha256_compress_avx512
#define INTERLEAVE_LOW  0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define INTERLEAVE_HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31

#include "sha256_lanes_body.h"
