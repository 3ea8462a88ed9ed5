/*
 * The place in a stream: key, the stream's name; value, 8 bytes of when the stream was made
 * (nanoseconds since 1970 UTC), 8 bytes of sequence, both big-endian, and the SHA-256 of the body
 * of the message there.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "pull_place.h"

#include <string.h>

#include "internal/bytes.h"

#define DIGEST_AT   16
#define PLACE_BYTES (DIGEST_AT + QUIPU_SHA256_BYTES)
#define PLACE_BYTES_BEFORE                                                                         \
    DIGEST_AT /* of earlier versions: it names no message, and is no place                         \
               */

enum quipu_status quipu_pull_place_load(struct quipu_engine *engine, const char *stream,
                                        const struct stream_facts *facts, struct pull_place *out,
                                        struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct pull_place found = {.sequence = 0};
    struct quipu_slice value;
    status = quipu_txn_table_get(txn, TABLE_PLACES, quipu_slice_text(stream), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        status = QUIPU_OK;
    } else if (status == QUIPU_OK && value.len == PLACE_BYTES_BEFORE) {
        status = QUIPU_OK;
    } else if (status == QUIPU_OK && value.len != PLACE_BYTES) {
        status =
            quipu_error_set(err, QUIPU_CORRUPT, "the place in stream %s is %zu bytes long, not %d",
                            stream, value.len, PLACE_BYTES);
    } else if (status == QUIPU_OK) {
        uint64_t sequence = quipu_load_be64(value.data + 8);
        if (quipu_load_be64(value.data) == (uint64_t)facts->created_unix_ns &&
            sequence <= facts->last_sequence) {
            found.sequence = sequence;
            memcpy(found.digest, value.data + DIGEST_AT, sizeof found.digest);
        }
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        *out = found;
    }
    return status;
}

enum quipu_status quipu_pull_place_store(struct quipu_engine *engine, const char *stream,
                                         const struct stream_facts *facts,
                                         const struct pull_place *place, struct quipu_error *err)
{
    uint8_t value[PLACE_BYTES];
    quipu_store_be64(value, (uint64_t)facts->created_unix_ns);
    quipu_store_be64(value + 8, place->sequence);
    memcpy(value + DIGEST_AT, place->digest, sizeof place->digest);
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_table_put(txn, TABLE_PLACES, quipu_slice_text(stream),
                                     quipu_slice(value, sizeof value), err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}
