/*
 * What the files of bench_cid share: cases, the sample events, the peers.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BENCH_CID_H
#define QUIPU_BENCH_CID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/dagcbor.h"

#define EVENT_BYTES 308
#define EVENT_COUNT 1024
#define EVENT_PAIRS 14

/* One measured thing: `run` does it `count` times. */
struct bench_case {
    const char *name;
    /* The case that the rate is compared with, or NULL. */
    const char *against;
    void (*run)(size_t count);
    double ns; /* median of the rounds, one operation; filled in by bench_run */
};

/* Measure every case in turns and print a table, or JSON lines. Cases whose run is NULL (a peer
 * that was not there at build time, an engine that this processor lacks) are left out. */
void bench_run(struct bench_case *cases, size_t count, unsigned rounds, bool is_json);

/* A value that the compiler cannot prove unused. */
extern volatile uint64_t bench_sink;

/* ------------------------------------------------------------------ the events */

/* A pair of a map as a program without a schema holds it: keys in any order. */
struct event_pair {
    struct quipu_slice key;
    struct quipu_dagcbor_item value;
};

struct event {
    uint8_t event_id[16];
    uint8_t correlation_id[16];
    char aggregate_id[16];
    struct quipu_cid payload;
    uint64_t source_seq;
    int64_t occurred_at;
    struct event_pair pairs[EVENT_PAIRS];
    uint8_t payload_bytes[QUIPU_CID_BYTES];
    uint8_t block[EVENT_BYTES]; /* its DAG-CBOR */
};

/* EVENT_COUNT events, made at the first call. */
struct event *bench_events(void);

/* Append the block of an event: keys of a fixed schema, or sorted as they come. */
void event_write_fixed(const struct event *event, struct quipu_buf *out);
void event_write_dynamic(const struct event *event, struct quipu_buf *out);

/* ------------------------------------------------------------------ the peers */

void peer_libcrypto_hash(size_t count);
void peer_libsodium_hash(size_t count);

#ifdef QUIPU_BENCH_LIBCBOR
void peer_libcbor_encode_hash(size_t count);
void peer_libcbor_encode(size_t count);
void peer_libcbor_decode(size_t count);
#else
#define peer_libcbor_encode_hash NULL
#define peer_libcbor_encode      NULL
#define peer_libcbor_decode      NULL
#endif

/* Verify and decode the events out of a CAR in memory: one operation is one block. */
void car_verify_decode(size_t count);

/* Start the JavaScript peers; false where there is no node or no packages (tests/interop/install.sh
 * and tests/cid/differential/install.sh fetch them). Stop them in any case. */
bool peers_js_start(void);
void peers_js_stop(void);
void peer_ipld_encode(size_t count);
void peer_atcute_encode(size_t count);
void peer_ipld_decode(size_t count);
void peer_atcute_decode(size_t count);
void peer_ipld_car(size_t count);

#endif
