/*
 * What the programs of many threads share. They are plain programs, because the
 * thread sanitizer and Criterion do not get on; a claim that does not hold aborts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_RACE_KIT_H
#define QUIPU_TESTS_RACE_KIT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "temp_dir.h"

/* How long a call may wait for what must come; nothing is judged by how long it takes. */
#define RACE_PATIENCE_US ((int64_t)60 * 1000 * 1000)

void race_require(bool is_true, const char *what);
void race_must(enum quipu_status status, const struct quipu_error *err);

pthread_t race_begin(void *(*run)(void *ctx), void *ctx);
void race_end(pthread_t thread);

/* A moment's pause between two looks at something that changes by itself. */
void race_pause_ms(long ms);

/* A store in a folder of its own. */
struct race_store {
    struct temp_dir dir;
    struct quipu_store *store;
    struct quipu_engine *engine;
};

void race_store_open(struct race_store *store);
void race_store_close(struct race_store *store);

/* Append one event to aggregate "thing/<id>". */
void race_append(struct quipu_engine *engine, const char *id);

/* Acknowledge what waits in the outbox, up to 64 events, as a flusher does; how many it were. */
size_t race_acknowledge(struct quipu_engine *engine);

/* Position of the last event. */
uint64_t race_events(struct race_store *store);

#endif
