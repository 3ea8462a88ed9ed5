/*
 * What the files of bench_flush share: a server of its own, the bare peers, the JavaScript peer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BENCH_FLUSH_H
#define QUIPU_BENCH_FLUSH_H

#include <nats/nats.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdnoreturn.h>
#include <sys/types.h>

#include "quipu/engine.h"

#define BENCH_STREAM "CIM_KEYS_EVENTS"
#define BENCH_BUCKET "cim-keys-objects"
#define BENCH_WINDOW 1024

noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
double now_seconds(void);

/* ------------------------------------------------------------------ server */

struct bench_server {
    pid_t pid;
    char url[64];
};

/* A nats-server with JetStream on 127.0.0.1, its data below `folder`; ends with this process. */
void server_start(struct bench_server *server, const char *folder);
void server_stop(struct bench_server *server);

/* ------------------------------------------------------------------ bare peers */

/* The three messages of every event of a store, as quipu sends them, in memory. */
struct prepared;
struct prepared *prepared_make(struct quipu_engine *engine);
void prepared_free(struct prepared *prepared);

enum bare_parts { BARE_ALL, BARE_ENVELOPES };

/* A plain libnats program: publish them with a reply subject, at most BENCH_WINDOW events in
 * flight, and count the answers. No order among an event's messages, nothing read from a store,
 * nothing recorded. Returns seconds. */
double bare_publish(const char *url, const struct prepared *prepared, enum bare_parts parts);

/* A plain libnats program: fetch 500 at a time from a durable consumer, get each payload by a
 * direct get, all at once, acknowledge. Nothing is checked, nothing stored. Returns seconds. */
double bare_pull(const char *url, const struct prepared *prepared);

/* ------------------------------------------------------------------ official client */

/* False where there is no node or no client. */
bool peer_start(const char *url);
/* Object store put, then publish, one after the other, as its documentation shows it. Seconds. */
double peer_put(size_t count, size_t payload_bytes, size_t envelope_bytes);
/* The same, all started at once. */
double peer_put_all(size_t count, size_t payload_bytes, size_t envelope_bytes);
void peer_stop(void);

#endif
