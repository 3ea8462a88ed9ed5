/*
 * The keys of the envelope, in canonical order (length first, then bytewise), and the rules that
 * encoder and decoder share.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_ENVELOPE_KEYS_H
#define QUIPU_ENGINE_ENVELOPE_KEYS_H

#include "quipu/dagcbor.h"
#include "quipu/envelope.h"

/* X(constant, key, is optional) */
#define ENVELOPE_KEY_MAP(X)                                                                        \
    X(V, "v", false)                                                                               \
    X(ENC, "enc", true)                                                                            \
    X(META, "meta", true)                                                                          \
    X(PREV, "prev", false)                                                                         \
    X(SCHEMA, "schema", false)                                                                     \
    X(SOURCE, "source", false)                                                                     \
    X(PAYLOAD, "payload", false)                                                                   \
    X(VERSION, "version", false)                                                                   \
    X(EVENT_ID, "event_id", false)                                                                 \
    X(CAUSATION, "causation", true)                                                                \
    X(EVENT_TYPE, "event_type", false)                                                             \
    X(SOURCE_SEQ, "source_seq", false)                                                             \
    X(OCCURRED_AT, "occurred_at", false)                                                           \
    X(AGGREGATE_ID, "aggregate_id", false)                                                         \
    X(CAUSATION_ID, "causation_id", false)                                                         \
    X(AGGREGATE_TYPE, "aggregate_type", false)                                                     \
    X(CORRELATION_ID, "correlation_id", false)

enum envelope_key {
#define ENVELOPE_KEY_ENUM(constant, key, optional) ENVELOPE_##constant,
    ENVELOPE_KEY_MAP(ENVELOPE_KEY_ENUM)
#undef ENVELOPE_KEY_ENUM
        ENVELOPE_KEY_COUNT
};

/* Keys that every envelope has. */
#define ENVELOPE_KEYS_ALWAYS 14

/* Each key as it stands in the block, with its head. */
static const struct quipu_dagcbor_key envelope_keys[ENVELOPE_KEY_COUNT] = {
#define ENVELOPE_KEY_BYTES(constant, key, optional) [ENVELOPE_##constant] = QUIPU_DAGCBOR_KEY(key),
    ENVELOPE_KEY_MAP(ENVELOPE_KEY_BYTES)
#undef ENVELOPE_KEY_BYTES
};

/* Read a block in the form that the encoder gives it. False: it is not plainly so, ask
 * quipu_envelope_decode why; `*out` is undefined then. True says nothing about the values yet:
 * envelope_check does. */
bool envelope_decode_plain(struct quipu_slice block, struct quipu_envelope *out);

/* quipu_envelope_decode without the short way; a block of any size. */
QUIPU_MUST_CHECK enum quipu_status envelope_decode_carefully(struct quipu_slice block,
                                                             struct quipu_envelope *out,
                                                             struct quipu_error *err);

/* Every rule of SPEC §3 that is about values; `meta` and `enc` are taken for well-formed.
 * @retval QUIPU_ENVELOPE  names the field */
QUIPU_MUST_CHECK enum quipu_status envelope_check(const struct quipu_envelope *envelope,
                                                  struct quipu_error *err);

/* Append the block of an envelope whose every field the caller has checked already. */
QUIPU_MUST_CHECK enum quipu_status envelope_write(const struct quipu_envelope *envelope,
                                                  struct quipu_buf *out, struct quipu_error *err);

#endif
