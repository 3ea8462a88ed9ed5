/*
 * The row of a snapshot: a map of fixed keys, with a digest over everything in it, so that no bit
 * of it can change unnoticed.
 *
 * Never judges whether a snapshot belongs to this log (snapshot.c).
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "quipu/dagcbor.h"
#include "row_codec.h"
#include "snapshot.h"

static void row_digest(const struct snapshot_row *row, uint8_t digest[QUIPU_SHA256_BYTES])
{
    uint8_t numbers[24];
    uint8_t cid[QUIPU_CID_BYTES];
    struct quipu_sha256_stream stream;
    quipu_store_be64(numbers, row->schema);
    quipu_store_be64(numbers + 8, row->version);
    quipu_store_be64(numbers + 16, row->position);
    quipu_cid_to_bytes(&row->cid, cid);
    quipu_sha256_stream_init(&stream);
    quipu_sha256_stream_update(&stream, quipu_slice(numbers, sizeof numbers));
    quipu_sha256_stream_update(&stream, quipu_slice(cid, sizeof cid));
    quipu_sha256_stream_update(&stream, row->state);
    quipu_sha256_stream_final(&stream, digest);
}

enum quipu_status snapshot_row_encode(const struct snapshot_row *row, struct quipu_buf *out,
                                      struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    row_digest(row, digest);
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 7);
    quipu_dagcbor_write_key(&writer, "cid");
    quipu_dagcbor_write_link(&writer, &row->cid);
    quipu_dagcbor_write_key(&writer, "state");
    quipu_dagcbor_write_bytes(&writer, row->state);
    quipu_dagcbor_write_key(&writer, "format");
    quipu_dagcbor_write_uint(&writer, SNAPSHOT_FORMAT);
    quipu_dagcbor_write_key(&writer, "schema");
    quipu_dagcbor_write_uint(&writer, row->schema);
    quipu_dagcbor_write_key(&writer, "sha256");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(digest, sizeof digest));
    quipu_dagcbor_write_key(&writer, "version");
    quipu_dagcbor_write_uint(&writer, row->version);
    quipu_dagcbor_write_key(&writer, "position");
    quipu_dagcbor_write_uint(&writer, row->position);
    return quipu_dagcbor_writer_finish(&writer, err);
}

/* Everything up to the digest. */
static enum quipu_status front_read(struct quipu_dagcbor_reader *reader, struct snapshot_row *out,
                                    struct quipu_error *err)
{
    uint64_t format = 0;
    enum quipu_status status = row_read_key(reader, "cid", err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_link(reader, &out->cid, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(reader, "state", &out->state, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(reader, "format", &format, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (format != SNAPSHOT_FORMAT) {
        return quipu_error_set(err, format > SNAPSHOT_FORMAT ? QUIPU_FORMAT_NEWER : QUIPU_CORRUPT,
                               "a snapshot of format %" PRIu64 ", this quipu reads %d", format,
                               SNAPSHOT_FORMAT);
    }
    return row_read_uint(reader, "schema", &out->schema, err);
}

enum quipu_status snapshot_row_decode(struct quipu_slice value, struct snapshot_row *out,
                                      struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_slice claimed = {NULL, 0};
    uint64_t pairs = 0;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    if (status == QUIPU_OK) {
        status = front_read(&reader, out, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(&reader, "sha256", &claimed, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "version", &out->version, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "position", &out->position, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_next(&reader, &item, err);
    }
    if (status == QUIPU_OK || (status == QUIPU_DONE && pairs != 7)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "a snapshot of %" PRIu64 " members", pairs);
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    uint8_t digest[QUIPU_SHA256_BYTES];
    row_digest(out, digest);
    if (!quipu_slice_equal(claimed, quipu_slice(digest, sizeof digest))) {
        return quipu_error_set(err, QUIPU_CORRUPT, "a snapshot that does not have its digest");
    }
    return QUIPU_OK;
}

struct quipu_slice snapshot_key(struct quipu_aggregate aggregate,
                                uint8_t storage[SNAPSHOT_KEY_BYTES_MAX])
{
    struct quipu_buf key;
    quipu_buf_init_fixed(&key, storage, SNAPSHOT_KEY_BYTES_MAX);
    quipu_buf_append_slice(&key, aggregate.type);
    quipu_buf_append_byte(&key, 0); /* no token holds one */
    quipu_buf_append_slice(&key, aggregate.id);
    return quipu_buf_slice(&key);
}
