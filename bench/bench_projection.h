/*
 * What the files of bench_projection share.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BENCH_PROJECTION_H
#define QUIPU_BENCH_PROJECTION_H

#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES    16
#define BATCH_EVENTS 10000
#define FEW_KEYS     10000
#define EVENT_BYTES  480 /* of envelope and payload, about */

/* The key that event `number` (from 0) counts for: one of `keys`, at random, always the same. */
uint64_t key_number(uint64_t number, uint64_t keys);
/* Its text: "key-" and digits. */
void key_text(uint64_t key, char out[KEY_BYTES]);

/* What a replay took. Processor time is the steadier figure on a machine that others use too. */
struct spent {
    double seconds;
    double cpu_seconds; /* of this process */
};
struct spent spent_since(const struct spent *began);
struct spent spent_now(void);

#ifdef QUIPU_BENCH_SQLITE
/* What SQLite takes for one UPSERT an event, in one transaction per 10,000 events with the
 * checkpoint in it, into a fresh database in `path`. */
struct spent sqlite_upserts(const char *path, uint64_t events, uint64_t keys);
/* The same with the keys read from a log in that database, which is made where it is not there. */
struct spent sqlite_replay(const char *path, uint64_t events, uint64_t keys);
#endif

#endif
