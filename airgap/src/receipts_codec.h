/*
 * The blocks of a file of receipts: the root, the statement that is signed, and chunks of receipts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_RECEIPTS_CODEC_H
#define QUIPU_AIRGAP_RECEIPTS_CODEC_H

#include "quipu/buf.h"
#include "quipu/receipts.h"

#define QUIPU_RECEIPTS_CHUNK      8192u
#define QUIPU_RECEIPTS_TOOL_BYTES 64u
#define QUIPU_RECEIPTS_STREAM_MAX 255u /* bytes of a name */

/* One receipt. */
struct quipu_travelled {
    uint8_t digest[QUIPU_SHA256_BYTES]; /* of the envelope's CID */
    uint64_t stream;                    /* index in the statement's list */
    uint64_t sequence;                  /* 0: not named */
};

struct quipu_receipts_root {
    struct quipu_cid statement;
    struct quipu_slice signatures[64];
    size_t signature_count;
};

/* What is signed. Texts are borrowed from the block; lists are walked with the readers below. */
struct quipu_receipts_statement {
    struct quipu_slice tool;
    uint64_t count;
    struct quipu_slice source;
    struct quipu_slice operator_name; /* empty: not said */
    int64_t created_unix_us;
    struct quipu_buf chunks; /* struct quipu_cid each; owned */
    size_t chunk_count;
    struct quipu_slice streams[QUIPU_RECEIPTS_STREAMS_MAX];
    size_t stream_count;
};

void quipu_receipts_statement_release(struct quipu_receipts_statement *statement);

/* Append the block. QUIPU_NO_MEMORY, QUIPU_CBOR_UTF8. */
QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_root_encode(const struct quipu_receipts_root *root, struct quipu_buf *out,
                           struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_statement_encode(const struct quipu_receipts_statement *statement,
                                struct quipu_buf *out, struct quipu_error *err);

/* Strict: encode(decode(x)) = x. QUIPU_BUNDLE: none; QUIPU_FORMAT_NEWER; QUIPU_CBOR_*;
 * QUIPU_NO_MEMORY. The statement is to be released where it was read. */
QUIPU_MUST_CHECK enum quipu_status quipu_receipts_root_decode(struct quipu_slice block,
                                                              struct quipu_receipts_root *out,
                                                              struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_statement_decode(struct quipu_slice block, struct quipu_receipts_statement *out,
                                struct quipu_error *err);

/* A chunk is a list of [digest, stream, sequence]. */
QUIPU_MUST_CHECK enum quipu_status quipu_receipts_chunk_encode(const struct quipu_travelled *items,
                                                               size_t count, struct quipu_buf *out,
                                                               struct quipu_error *err);

/* `items` has room for QUIPU_RECEIPTS_CHUNK. `streams`: how many there are. */
QUIPU_MUST_CHECK enum quipu_status
quipu_receipts_chunk_decode(struct quipu_slice block, size_t streams, struct quipu_travelled *items,
                            size_t *count, struct quipu_error *err);

#endif
