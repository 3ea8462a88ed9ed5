/*
 * How far a store has taken in a stream: one row per stream in a table of the store. This is the
 * truth; the consumer on the server follows it.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PULL_PLACE_H
#define QUIPU_PULL_PLACE_H

#include "quipu/engine.h"
#include "streams.h"

/* On disk, so it never changes; store.h says who has which numbers. */
#define TABLE_PLACES ((struct quipu_table){0x200})

/* Sequence up to which everything is here; 0 where nothing is, where the stream is another one than
 * the one that was pulled, or where it has become shorter than that. */
enum quipu_status quipu_pull_place_load(struct quipu_engine *engine, const char *stream,
                                        const struct stream_facts *facts, uint64_t *sequence,
                                        struct quipu_error *err) QUIPU_MUST_CHECK;

/* Durable when it returns. */
enum quipu_status quipu_pull_place_store(struct quipu_engine *engine, const char *stream,
                                         const struct stream_facts *facts, uint64_t sequence,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
