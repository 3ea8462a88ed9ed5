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

/* Every rule of SPEC §3 that is about values; `meta` and `enc` are taken for well-formed.
 * @retval QUIPU_ENVELOPE  names the field */
QUIPU_MUST_CHECK enum quipu_status envelope_check(const struct quipu_envelope *envelope,
                                                  struct quipu_error *err);

/* Append the block of an envelope whose every field the caller has checked already. */
QUIPU_MUST_CHECK enum quipu_status envelope_write(const struct quipu_envelope *envelope,
                                                  struct quipu_buf *out, struct quipu_error *err);

#endif
