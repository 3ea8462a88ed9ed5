/*
 * NKey texts: base32 of a prefix, 32 bytes of an Ed25519 key or seed, and a CRC-16. Private half of
 * what engine.h publishes.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_NKEY_H
#define QUIPU_ENGINE_NKEY_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/slice.h"
#include "quipu/status.h"

#define NKEY_SEED_BYTES      32
#define NKEY_SEED_TEXT_BYTES QUIPU_NKEY_SEED_TEXT_BYTES /* 58 characters and a NUL */
#define NKEY_PUBLIC_CHARS    56
#define NKEY_SEED_CHARS      58

/* Text "SU…" of the seed of a user key. Secret: the caller wipes both. */
void nkey_user_seed_format(const uint8_t seed[NKEY_SEED_BYTES], char out[NKEY_SEED_TEXT_BYTES]);

/* The seed that "SU…" stands for. @retval QUIPU_INVALID  not a user's seed */
enum quipu_status nkey_user_seed_parse(struct quipu_slice text, uint8_t seed[NKEY_SEED_BYTES]);

/* Ed25519; libsodium has started. */
void nkey_seed_sign(const uint8_t seed[NKEY_SEED_BYTES], struct quipu_slice message,
                    uint8_t signature[QUIPU_SIGNATURE_BYTES]);

/* Are these 58 characters a seed of any kind (O, A, U, N, C, X) with a valid checksum? */
bool nkey_is_seed(const uint8_t text[NKEY_SEED_CHARS]);

/* 'U' and 55 characters of base32: the shape of a source. The checksum is not looked at. */
bool nkey_looks_like_source(struct quipu_slice text);

#endif
