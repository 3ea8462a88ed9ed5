/*
 * Multibase: bytes as text in a base that the first character names. Reading is strict (right
 * padding, no stray bits, no white space) but takes either case where the base is
 * case-insensitive; writing gives the one canonical form.
 *
 * Specification: github.com/multiformats/multibase; docs/SPEC.md §2. Not supported: identity (it is
 * not text) and proquint.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_MULTIBASE_H
#define QUIPU_MULTIBASE_H

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Longest run of bytes, and of characters, in a base that is no power of two (10, 36, 58): work
 * grows with its square there. */
#define QUIPU_MULTIBASE_RADIX_MAX 4096

/* X(suffix, name, prefix) */
#define QUIPU_BASE_MAP(X)                                                                          \
    X(2, "base2", "0")                                                                             \
    X(8, "base8", "7")                                                                             \
    X(10, "base10", "9")                                                                           \
    X(16, "base16", "f")                                                                           \
    X(16_UPPER, "base16upper", "F")                                                                \
    X(32, "base32", "b")                                                                           \
    X(32_UPPER, "base32upper", "B")                                                                \
    X(32_PAD, "base32pad", "c")                                                                    \
    X(32_PAD_UPPER, "base32padupper", "C")                                                         \
    X(32_HEX, "base32hex", "v")                                                                    \
    X(32_HEX_UPPER, "base32hexupper", "V")                                                         \
    X(32_HEX_PAD, "base32hexpad", "t")                                                             \
    X(32_HEX_PAD_UPPER, "base32hexpadupper", "T")                                                  \
    X(32_Z, "base32z", "h")                                                                        \
    X(36, "base36", "k")                                                                           \
    X(36_UPPER, "base36upper", "K")                                                                \
    X(58_BTC, "base58btc", "z")                                                                    \
    X(58_FLICKR, "base58flickr", "Z")                                                              \
    X(64, "base64", "m")                                                                           \
    X(64_PAD, "base64pad", "M")                                                                    \
    X(64_URL, "base64url", "u")                                                                    \
    X(64_URL_PAD, "base64urlpad", "U")                                                             \
    X(256_EMOJI, "base256emoji", "\xf0\x9f\x9a\x80")

enum quipu_base {
#define QUIPU_BASE_ENUM(suffix, name, prefix) QUIPU_BASE_##suffix,
    QUIPU_BASE_MAP(QUIPU_BASE_ENUM)
#undef QUIPU_BASE_ENUM
};

/** Name as in the multibase table, such as "base32". Static text. Any thread. */
QUIPU_API const char *quipu_base_name(enum quipu_base base);

/** @retval QUIPU_NOT_FOUND  no supported base has this name; nothing written */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_base_find(struct quipu_slice name,
                                                             enum quipu_base *out);

/**
 * Append the prefix and the text of `bytes`.
 * @retval QUIPU_TOO_LARGE  more than QUIPU_MULTIBASE_RADIX_MAX bytes in base 10, 36 or 58, or a
 *         fixed buffer is full
 * @retval QUIPU_NO_MEMORY, QUIPU_MISUSE (no such base)
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_multibase_encode(enum quipu_base base,
                                                                    struct quipu_slice bytes,
                                                                    struct quipu_buf *out,
                                                                    struct quipu_error *err);

/**
 * Append the bytes that `text` (prefix and all) stands for.
 * @param base  what the prefix named; may be NULL
 * @retval QUIPU_MULTIBASE  unknown prefix, a foreign character, wrong padding, stray bits;
 *         err->offset names the character
 * @retval QUIPU_TOO_LARGE  more than QUIPU_MULTIBASE_RADIX_MAX characters in base 10, 36 or 58, or
 *         a fixed buffer is full
 * @retval QUIPU_NO_MEMORY
 * On failure the buffer's length is as it was.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_multibase_decode(struct quipu_slice text,
                                                                    enum quipu_base *base,
                                                                    struct quipu_buf *out,
                                                                    struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
