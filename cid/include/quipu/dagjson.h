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

#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Append the DAG-CBOR of the JSON text `json`: one value of RFC 8259 in UTF-8, white space allowed
 * around it, keys in any order, a key twice refused, `\u` escapes only of whole code points. A
 * number with neither fraction nor exponent is an integer ("-0" is 0), any other a float, rounded
 * correctly.
 * {"/": "<CID>"} is a link (base32, or base58 for CIDv0), {"/": {"bytes": "<base64>"}} bytes (no
 * padding). A map whose first key in order is "/" and whose value there is a string, or a map whose
 * first key is "bytes" with a string, can be nothing else.
 *
 * @param out  Grown or fixed; on failure it holds what it held.
 * @retval QUIPU_JSON     not JSON, not UTF-8, or a key twice
 * @retval QUIPU_DAGJSON  the reserved key "/" used in another way, no CID or no base64 under it, or
 *         an integer outside -2^64 to 2^64-1
 * @retval QUIPU_CBOR_DEPTH             nested deeper than QUIPU_DAGCBOR_DEPTH_DEFAULT
 * @retval QUIPU_CBOR_FLOAT_NOT_FINITE  a number too large for a 64-bit float
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE (fixed buffer full)
 * err->offset is the byte of the text at fault.
 * @threads any   @cost one pass; memory in proportion to the text
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagjson_to_dagcbor(struct quipu_slice json, struct quipu_buf *out, struct quipu_error *err);

/**
 * Append the canonical DAG-JSON of the DAG-CBOR `block`, which is checked strictly: no white space,
 * keys in bytewise order, escapes only where JSON must, floats in the shortest digits that read
 * back to the same value and laid out as ECMAScript does, with ".0" where neither '.' nor 'e' would
 * show. What it writes reads back to the same bytes.
 *
 * @param out  Grown or fixed; on failure it holds what it held.
 * @retval QUIPU_CBOR_*   the block is not strict DAG-CBOR; err->offset is the byte of the block
 * @retval QUIPU_DAGJSON  a map that DAG-JSON cannot carry: with its first key "/" it would read
 * back as a link or as bytes; err->offset is the map's
 * @retval QUIPU_NO_MEMORY, QUIPU_TOO_LARGE (fixed buffer full)
 * @threads any   @cost one pass; maps whose two orders differ are copied once
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_dagjson_from_dagcbor(struct quipu_slice block,
                                                                        struct quipu_buf *out,
                                                                        struct quipu_error *err);

/**
 * Is `block` strict DAG-CBOR of at most `depth_max` levels that DAG-JSON can carry? Where it is,
 * with QUIPU_DAGCBOR_DEPTH_DEFAULT, quipu_dagjson_from_dagcbor writes it.
 *
 * @param depth_max  over QUIPU_DAGCBOR_DEPTH_DEFAULT: that
 * @retval QUIPU_CBOR_*, QUIPU_DAGJSON  as quipu_dagjson_from_dagcbor, with the same offset
 * @threads any   @cost one pass; no memory
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_dagjson_check(struct quipu_slice block, uint32_t depth_max, struct quipu_error *err);

/** Append `bytes` as DAG-JSON has them: {"/":{"bytes":"…"}}. Failure is the buffer's status. Any
 * thread. */
QUIPU_API void quipu_dagjson_append_bytes(struct quipu_buf *out, struct quipu_slice bytes);

/** Append `text` as a JSON string with its quotes. Each byte that is not UTF-8 becomes U+FFFD.
 * Failure is the buffer's status. Any thread. */
QUIPU_API void quipu_json_append_string(struct quipu_buf *out, struct quipu_slice text);

#ifdef __cplusplus
}
#endif

#endif
