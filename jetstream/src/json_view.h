/*
 * A read-only walk over the members of one JSON object, in place and without memory: what
 * JetStream's replies and ADR-20's object descriptions need. It finds values; it does not judge
 * what is nested in them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_JSON_VIEW_H
#define QUIPU_JSON_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/slice.h"

enum json_kind { JSON_TEXT, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_NESTED };

struct json_member {
    struct quipu_slice key; /* between its quotes, escapes as they stand */
    enum json_kind kind;
    /* Text: between its quotes, escapes as they stand; nested: with its braces. */
    struct quipu_slice raw;
};

struct json_view {
    const uint8_t *at;
    const uint8_t *end;
    enum { JSON_AT_START, JSON_INSIDE, JSON_AT_END, JSON_BAD } state;
};

struct json_view quipu_json_view(struct quipu_slice object);

/* The next member; false behind the last one (state JSON_AT_END), and where the text is not an
 * object or is cut off (JSON_BAD). */
bool quipu_json_next(struct json_view *view, struct json_member *out);

/* True where the member's key is `key` (which has no escapes). */
bool quipu_json_key_is(const struct json_member *member, const char *key);

/* A whole number from 0 to 2^64-1. */
bool quipu_json_u64(const struct json_member *member, uint64_t *out);

#endif
