/*
 * Reading rows that are DAG-CBOR maps of a known shape.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_ROW_CODEC_H
#define QUIPU_ENGINE_ROW_CODEC_H

#include "quipu/dagcbor.h"

/* Longest line for people that a row keeps; a longer one is cut between characters. */
#define ROW_LINE_BYTES_MAX 1000

/* Begin a map of `pairs`. @retval QUIPU_CORRUPT, QUIPU_CBOR_* */
QUIPU_MUST_CHECK enum quipu_status row_read_begin(struct quipu_dagcbor_reader *reader,
                                                  struct quipu_slice value, uint64_t *pairs,
                                                  struct quipu_error *err);
/* The next key must be this one. */
QUIPU_MUST_CHECK enum quipu_status row_read_key(struct quipu_dagcbor_reader *reader,
                                                const char *key, struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status row_read_text(struct quipu_dagcbor_reader *reader,
                                                 const char *key, struct quipu_slice *out,
                                                 struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status row_read_bytes(struct quipu_dagcbor_reader *reader,
                                                  const char *key, struct quipu_slice *out,
                                                  struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status row_read_uint(struct quipu_dagcbor_reader *reader,
                                                 const char *key, uint64_t *out,
                                                 struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status row_read_int(struct quipu_dagcbor_reader *reader,
                                                const char *key, int64_t *out,
                                                struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status row_read_bool(struct quipu_dagcbor_reader *reader,
                                                 const char *key, bool *out,
                                                 struct quipu_error *err);

/* What of a line is kept: valid UTF-8, at most ROW_LINE_BYTES_MAX bytes. */
struct quipu_slice row_line(struct quipu_slice line);

#endif
