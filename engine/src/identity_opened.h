/*
 * What is in a wrapped signing key, once somebody has opened it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_IDENTITY_OPENED_H
#define QUIPU_ENGINE_IDENTITY_OPENED_H

#include "engine_impl.h"
#include "nkey.h"

/* Source of the opened key. @retval QUIPU_KEY_LOCKED  none was opened; err names the cure */
QUIPU_MUST_CHECK enum quipu_status identity_opened_source(struct quipu_engine *engine,
                                                          char out[QUIPU_SOURCE_TEXT_BYTES],
                                                          struct quipu_error *err);

/* The opened seed, where it is that of `source`; the caller wipes it. @retval QUIPU_KEY_LOCKED */
QUIPU_MUST_CHECK enum quipu_status identity_opened_seed(struct quipu_engine *engine,
                                                        const char *source,
                                                        uint8_t seed[NKEY_SEED_BYTES],
                                                        struct quipu_error *err);

/* Take the place of what was opened before; the seed is copied. @retval QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status identity_opened_put(struct quipu_engine *engine,
                                                       const char *source,
                                                       const uint8_t seed[NKEY_SEED_BYTES],
                                                       struct quipu_error *err);

/* Wipe it; no call is in progress. */
void identity_opened_release(struct quipu_engine *engine);

#endif
