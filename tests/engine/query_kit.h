/*
 * The suite "query": a store to ask, its last reply, and the parts of that; a projection with a row
 * for each aggregate.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_QUERY_KIT_H
#define QUIPU_TESTS_QUERY_KIT_H

#include "engine_kit.h"
#include "quipu/query.h"

/* Opened, and released, around each test of the suite. */
extern struct kit kit;
extern struct quipu_buf reply; /* the last one */

/* Answer this request, given as JSON, into `reply`. */
enum quipu_status ask(const char *json);
enum quipu_status ask_within(const char *json, size_t reply_bytes_max);

/* The last reply as DAG-JSON; it is strict DAG-CBOR. */
const char *reply_json(void);

/* A member of a map; the test fails where it is not there, or is no number. */
struct quipu_slice member(struct quipu_slice map, const char *key);
uint64_t number(struct quipu_slice map, const char *key);

/* Named "mirror", version 3. Row "row/<aggregate>" → the payload; row ff → bytes that are no
 * DAG-CBOR. */
extern const struct quipu_projection mirrored;
void replay(enum quipu_replay_mode mode);

#endif
