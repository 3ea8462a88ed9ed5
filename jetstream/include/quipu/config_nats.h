/*
 * Settings (config.h) as the options of this library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CONFIG_NATS_H
#define QUIPU_CONFIG_NATS_H

#include "quipu/config.h"
#include "quipu/jetstream.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How to reach the server. The strings are those of `config`, borrowed. What is no setting
 * (engine, callbacks) is as QUIPU_NATS_OPTIONS_INIT leaves it. */
QUIPU_API void quipu_config_nats_options(const struct quipu_config *config,
                                         struct quipu_nats_options *out);

/** What a stream is made with. */
QUIPU_API void quipu_config_provision_options(const struct quipu_config *config,
                                              struct quipu_provision_options *out);

/** One flush, and one that goes on by itself. */
QUIPU_API void quipu_config_flush_options(const struct quipu_config *config,
                                          struct quipu_flush_options *out);
QUIPU_API void quipu_config_flusher_options(const struct quipu_config *config,
                                            struct quipu_flusher_options *out);

#ifdef __cplusplus
}
#endif

#endif
