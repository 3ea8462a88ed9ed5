/*
 * One flush (or, with "pull", one pull) in a process of its own, so that a test can kill it; with
 * "window", a flush with dedup = "window":
 *   flush_child STORE URL [pull|window]
 * Exits with 0, or with the status where the call failed.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "quipu/engine.h"
#include "quipu/jetstream.h"

int main(int argc, char **argv)
{
    struct quipu_error err;
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_nats *nats = NULL;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    if (argc < 3) {
        fputs("flush_child STORE URL [pull|window]\n", stderr);
        return QUIPU_MISUSE;
    }
    options.url = argv[2];

    enum quipu_status status = quipu_store_open(argv[1], NULL, &store, &err);
    if (status == QUIPU_OK) {
        status = quipu_engine_open(store, NULL, &engine, &err);
    }
    if (status == QUIPU_OK) {
        status = quipu_nats_open(&options, &nats, &err);
    }
    if (status == QUIPU_OK && argc > 3 && strcmp(argv[3], "pull") == 0) {
        struct quipu_pull_options pull = QUIPU_PULL_OPTIONS_INIT;
        pull.batch = 500;
        status = quipu_pull(engine, nats, &pull, NULL, &err);
    } else if (status == QUIPU_OK) {
        struct quipu_flush_options flush = QUIPU_FLUSH_OPTIONS_INIT;
        bool is_by_window = argc > 3 && strcmp(argv[3], "window") == 0;
        flush.dedup = is_by_window ? QUIPU_DEDUP_WINDOW : QUIPU_DEDUP_SUBJECT;
        status = quipu_flush(engine, nats, &flush, NULL, &err);
    }
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s\n", err.message);
    }
    quipu_nats_close(&nats);
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    return (int)status;
}
