/*
 * The envelope: the DAG-CBOR block that names a payload by CID and carries identity, order and
 * causation. Decoded strictly into a view that borrows from the block; encoded canonically.
 *
 * Specification: docs/SPEC.md §3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENVELOPE_H
#define QUIPU_ENVELOPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/cid.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/uuid.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_ENVELOPE_FORMAT      1
#define QUIPU_EVENT_TYPE_BYTES_MAX 128
#define QUIPU_SOURCE_BYTES_MAX     64
#define QUIPU_ENVELOPE_PREV_MAX    16
#define QUIPU_META_BYTES_MAX       (32u << 10)
/* Integers of the envelope stay within ±(2^53-1): popular readers cannot carry more. */
#define QUIPU_ENVELOPE_INTEGER_MAX ((INT64_C(1) << 53) - 1)

/** What an envelope says. Slices are borrowed from the block (decode) or the caller (encode). */
struct quipu_envelope {
    struct quipu_uuid event_id;
    struct quipu_slice event_type; /* NATS-safe tokens joined by dots */
    uint64_t schema;               /* ≥ 1 */
    struct quipu_slice aggregate_type;
    struct quipu_slice aggregate_id;
    uint64_t version; /* ≥ 1, order in the aggregate */
    /** The aggregate's previous envelopes: none at version 1, one, or several in a merge. */
    struct quipu_cid prev[QUIPU_ENVELOPE_PREV_MAX];
    size_t prev_count;
    struct quipu_cid payload;
    struct quipu_uuid correlation_id;
    struct quipu_uuid causation_id; /* nil: none */
    struct quipu_cid causation;     /* valid where has_causation */
    bool has_causation;
    int64_t occurred_unix_us;
    struct quipu_slice source; /* NKey text "U…" of the store that recorded it */
    uint64_t source_seq;       /* ≥ 1 */
    struct quipu_slice meta;   /* a DAG-CBOR map, or empty */
    struct quipu_slice enc;    /* a DAG-CBOR map, or empty */
};

/**
 * Read and check a block against every rule of SPEC §3. Unknown keys are refused: a later format
 * has another `v`. On failure `*out` is undefined; on success what `prev_count` and `has_causation`
 * do not count is.
 * @retval QUIPU_ENVELOPE      a field is missing, of the wrong kind or outside its limits; err
 * names it
 * @retval QUIPU_FORMAT_NEWER  `v` is greater than QUIPU_ENVELOPE_FORMAT
 * @retval QUIPU_CBOR_*        not DAG-CBOR
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_envelope_decode(struct quipu_slice block,
                                                                   struct quipu_envelope *out,
                                                                   struct quipu_error *err);

/** Append the block. @retval QUIPU_ENVELOPE, QUIPU_TOO_LARGE, QUIPU_NO_MEMORY. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_envelope_encode(const struct quipu_envelope *envelope, struct quipu_buf *out,
                      struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
