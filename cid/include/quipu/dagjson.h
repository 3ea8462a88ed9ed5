/*
 * DAG-JSON both ways: JSON text with {"/": "bafy…"} for links and {"/": {"bytes": "…"}} for bytes.
 * Own reader rather than a JSON library because integers run from -2^64 to 2^64-1 and a round trip
 * must give the same bytes (docs/adr/0003).
 *
 * Specification: ipld.io/specs/codecs/dag-json; docs/SPEC.md §4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_DAGJSON_H
#define QUIPU_DAGJSON_H

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Append the DAG-CBOR of the JSON text `json` (one value, RFC 8259, white space allowed around it;
 * keys in any order; a key twice is refused). A number with neither fraction nor exponent is an
 * integer, any other a float.
 * @retval QUIPU_JSON     not JSON, or a key twice; err->offset says where
 * @retval QUIPU_DAGJSON  the reserved key "/" used in another way
 * @retval QUIPU_CBOR_DEPTH, QUIPU_CBOR_FLOAT_NOT_FINITE, QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagjson_to_dagcbor(struct quipu_slice json, struct quipu_buf *out, struct quipu_error *err);

/**
 * Append the canonical DAG-JSON of the DAG-CBOR `block`: no white space, keys in bytewise order,
 * floats always with a fraction or an exponent, in the shortest text that reads back to the same
 * value.
 * @retval QUIPU_CBOR_*, QUIPU_NO_MEMORY, QUIPU_TOO_LARGE
 * @retval QUIPU_DAGJSON  a map that DAG-JSON cannot carry (its key "/" would read back as something
 * else)
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_dagjson_from_dagcbor(struct quipu_slice block,
                                                                        struct quipu_buf *out,
                                                                        struct quipu_error *err);

/** Append `text` as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD. */
QUIPU_API void quipu_json_append_string(struct quipu_buf *out, struct quipu_slice text);

#ifdef __cplusplus
}
#endif

#endif
