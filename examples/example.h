/*
 * What the examples share, so that their pages show what they are about: stop at a failure, record
 * an event whose payload is given as DAG-JSON, print a block of DAG-CBOR and a digest.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <stdio.h>
#include <stdlib.h>

#include "quipu/dagjson.h"
#include "quipu/engine.h"

static inline void check(enum quipu_status status, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s\n", quipu_status_text(status), err->message);
        exit(1);
    }
}

/* The store in this folder, made where there is none, and its engine. */
static inline struct quipu_engine *open_engine(const char *path)
{
    struct quipu_store *store;
    struct quipu_engine *engine;
    struct quipu_error err;
    check(quipu_store_open(path, NULL, &store, &err), &err);
    check(quipu_engine_open(store, NULL, &engine, &err), &err);
    return engine;
}

static inline void close_engine(struct quipu_engine *engine)
{
    struct quipu_store *store = quipu_engine_store(engine);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
}

/* Append `event` with this payload. */
static inline enum quipu_status append_json(struct quipu_engine *engine, struct quipu_event event,
                                            const char *json, struct quipu_error *err)
{
    struct quipu_buf payload = QUIPU_BUF_INIT;
    enum quipu_status status = quipu_dagjson_to_dagcbor(quipu_slice_text(json), &payload, err);
    if (status == QUIPU_OK) {
        event.payload = quipu_buf_slice(&payload);
        status = quipu_append(engine, &event, NULL, err);
    }
    quipu_buf_release(&payload);
    return status;
}

/* The block as one line of DAG-JSON. */
static inline void print_json(const char *before, struct quipu_slice block)
{
    struct quipu_error err;
    struct quipu_buf json = QUIPU_BUF_INIT;
    check(quipu_dagjson_from_dagcbor(block, &json, &err), &err);
    printf("%s%.*s\n", before, QUIPU_SLICE_FMT(json));
    quipu_buf_release(&json);
}

static inline void print_digest(const char *before, const uint8_t digest[QUIPU_SHA256_BYTES])
{
    printf("%s, digest ", before);
    for (size_t i = 0; i < QUIPU_SHA256_BYTES; i++) {
        printf("%02x", digest[i]);
    }
    printf("\n");
}

#endif
