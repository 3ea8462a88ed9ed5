/*
 * Events as JSON: the input line of `quipu append`, and the line in which `quipu log --json` shows
 * one.
 *
 * Specification: docs/SPEC.md §8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_EVENT_JSON_H
#define QUIPU_EVENT_JSON_H

#include "quipu/buf.h"
#include "quipu/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Storage that an event read from JSON borrows from. Zero-initialised is empty; reuse it after
 * reset. */
struct quipu_event_arena {
    struct quipu_buf block; /* the line as DAG-CBOR */
    struct quipu_buf text;  /* NUL-terminated copies */
};

QUIPU_API void quipu_event_arena_release(struct quipu_event_arena *arena);

/**
 * Read one line: {"aggregate_type":…,"aggregate_id":…,"event_type":…,"payload":…} with optional
 * event_id, schema, correlation_id, causation_id (UUID text), occurred_at (RFC 3339 text or integer
 * microseconds), expected_version (integer; 0: no event yet), meta (object). Payload and meta are
 * DAG-JSON. `out` borrows from `arena` until its next use; the arena holds one event at a time.
 * @retval QUIPU_JSON, QUIPU_DAGJSON  not JSON. @retval QUIPU_INVALID  a field is missing, unknown
 * or of the wrong kind; err names it and the cure. @retval QUIPU_NO_MEMORY, QUIPU_CBOR_DEPTH, …
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_event_from_json(struct quipu_slice line,
                                                                   struct quipu_event_arena *arena,
                                                                   struct quipu_event *out,
                                                                   struct quipu_error *err);

/**
 * Append one JSON object (no newline) that shows the event whole: position, cid, every field of the
 * envelope (UUIDs and CIDs as text, occurred_at as RFC 3339), payload_cid and payload as DAG-JSON.
 * A payload, meta or enc that DAG-JSON cannot carry (a map that begins with the key "/") stands as
 * bytes under payload_bytes, meta_bytes or enc_bytes.
 * @retval QUIPU_CORRUPT, QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_event_to_json(const struct quipu_event_view *event, struct quipu_buf *out,
                    struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
