/*
 * The registry of event types that the store keeps, as the engine last saw it: what is appended
 * must fit it where the engine was given none.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_TYPES_STORED_H
#define QUIPU_ENGINE_TYPES_STORED_H

#include "engine_impl.h"
#include "quipu/types.h"

/* A registry and the bytes that it was read from; never changed, freed by its last holder. */
struct stored_types;

/* The registry as it was seen last; NULL: none was. To be given back. Any thread. */
struct stored_types *types_stored_hold(struct quipu_engine *engine);

/* The registry as `txn`, a write transaction, sees it; NULL: the store keeps none, or the engine
 * was told not to ask. To be given back. Reads it again only where its bytes are others than those
 * that were seen last. @retval QUIPU_CORRUPT, QUIPU_FORMAT_NEWER, QUIPU_NO_MEMORY, QUIPU_IO */
QUIPU_MUST_CHECK enum quipu_status types_stored_look(struct quipu_engine *engine,
                                                     struct quipu_txn *txn,
                                                     struct stored_types **out,
                                                     struct quipu_error *err);

/* NULL is fine. */
void types_stored_give_back(struct stored_types *stored);

/* What events must fit: the engine's own registry, else `stored`; NULL: nothing. */
const struct quipu_types *types_in_force(const struct quipu_engine *engine,
                                         const struct stored_types *stored);

#endif
