/*
 * How far a store has taken in a stream: one row per stream in a table of the store. This is the
 * truth; the consumer on the server follows it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_PULL_PLACE_H
#define QUIPU_PULL_PLACE_H

#include "quipu/cid.h"
#include "quipu/engine.h"
#include "streams.h"

/* On disk, so they never change; store.h says who has which numbers. */
#define TABLE_PLACES  ((struct quipu_table){0x200})
#define TABLE_RETRIES ((struct quipu_table){0x201})

/* Everything up to the sequence is here. The message there is known by the hash of its body: a
 * server that was set back gives sequences a second time. */
struct pull_place {
    uint64_t sequence; /* 0: nothing is here */
    uint8_t digest[QUIPU_SHA256_BYTES];
};

/* The zero place where nothing is here, where the stream is another one than the one that was
 * pulled, or where it has become shorter than that. Whether the message there is still the same one
 * is the caller's to ask. */
enum quipu_status quipu_pull_place_load(struct quipu_engine *engine, const char *stream,
                                        const struct stream_facts *facts, struct pull_place *out,
                                        struct quipu_error *err) QUIPU_MUST_CHECK;

/* Durable when it returns. */
enum quipu_status quipu_pull_place_store(struct quipu_engine *engine, const char *stream,
                                         const struct stream_facts *facts,
                                         const struct pull_place *place,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
