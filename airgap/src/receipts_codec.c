/*
 * Reading and writing the blocks of a file of receipts, as a straight line each: canonical DAG-CBOR
 * with the keys in their order, nothing else.
 *
 * Specification: docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "receipts_codec.h"

#include <inttypes.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/text.h"

#define STATEMENT_PAIRS 8u
#define SIGNATURES_MAX  64u
#define SEQUENCE_MAX    (UINT64_MAX >> 1)

/* ------------------------------------------------------------------ parts */

static enum quipu_status not_one(struct quipu_error *err, const char *what)
{
    return quipu_error_set(err, QUIPU_BUNDLE, "%s", what);
}

static enum quipu_status read_key(struct quipu_dagcbor_reader *reader, const char *wanted,
                                  struct quipu_error *err)
{
    struct quipu_slice key = {0};
    enum quipu_status status = quipu_dagcbor_read_text(reader, &key, err);
    if (status == QUIPU_OK && !quipu_slice_equal(key, quipu_slice_text(wanted))) {
        return quipu_error_set(err, QUIPU_BUNDLE, "expected the key \"%s\"", wanted);
    }
    return status;
}

static enum quipu_status read_map(struct quipu_dagcbor_reader *reader, uint64_t wanted,
                                  struct quipu_error *err)
{
    uint64_t pairs = 0;
    uint64_t version = 0;
    enum quipu_status status = quipu_dagcbor_read_map(reader, &pairs, err);
    if (status == QUIPU_OK) {
        status = read_key(reader, "v", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &version, err);
    }
    if (status == QUIPU_OK && version > QUIPU_RECEIPTS_FORMAT) {
        return quipu_error_set(err, QUIPU_FORMAT_NEWER, "receipts of version %" PRIu64 ", known %d",
                               version, QUIPU_RECEIPTS_FORMAT);
    }
    return status == QUIPU_OK && (version != QUIPU_RECEIPTS_FORMAT || pairs != wanted)
               ? not_one(err, "other keys than a file of receipts has")
               : status;
}

static enum quipu_status read_said(struct quipu_dagcbor_reader *reader, const char *key,
                                   size_t bytes_max, struct quipu_slice *out,
                                   struct quipu_error *err)
{
    enum quipu_status status = read_key(reader, key, err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_text(reader, out, err);
    }
    if (status == QUIPU_OK && (out->len > bytes_max || !quipu_text_is_printable(*out))) {
        return quipu_error_set(err, QUIPU_BUNDLE, "%s has %zu bytes or control characters", key,
                               out->len);
    }
    return status;
}

/* The count of a list behind its key. */
static enum quipu_status read_list(struct quipu_dagcbor_reader *reader, const char *key,
                                   uint64_t most, uint64_t *count, struct quipu_error *err)
{
    enum quipu_status status = read_key(reader, key, err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_list(reader, count, err);
    }
    return status == QUIPU_OK && (*count == 0 || *count > most)
               ? quipu_error_set(err, QUIPU_BUNDLE, "%" PRIu64 " %s, limit %" PRIu64, *count, key,
                                 most)
               : status;
}

/* ------------------------------------------------------------------ root */

enum quipu_status quipu_receipts_root_encode(const struct quipu_receipts_root *root,
                                             struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, 3);
    quipu_dagcbor_write_key(&writer, "v");
    quipu_dagcbor_write_uint(&writer, QUIPU_RECEIPTS_FORMAT);
    quipu_dagcbor_write_key(&writer, "receipts");
    quipu_dagcbor_write_link(&writer, &root->statement);
    quipu_dagcbor_write_key(&writer, "signatures");
    quipu_dagcbor_write_list(&writer, root->signature_count);
    for (size_t i = 0; i < root->signature_count; i++) {
        quipu_dagcbor_write_bytes(&writer, root->signatures[i]);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

enum quipu_status quipu_receipts_root_decode(struct quipu_slice block,
                                             struct quipu_receipts_root *out,
                                             struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t count = 0;
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status status = quipu_dagcbor_validate(block, err);
    if (status == QUIPU_OK) {
        status = read_map(&reader, 3, err);
    }
    if (status == QUIPU_OK) {
        status = read_key(&reader, "receipts", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_link(&reader, &out->statement, err);
    }
    if (status == QUIPU_OK) {
        status = read_key(&reader, "signatures", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_list(&reader, &count, err);
    }
    if (status == QUIPU_OK && count == 0) {
        return quipu_error_set(err, QUIPU_UNSIGNED, "nobody has signed the receipts");
    }
    if (status == QUIPU_OK && count > SIGNATURES_MAX) {
        return not_one(err, "more than 64 signatures");
    }
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        status = quipu_dagcbor_read_bytes(&reader, &out->signatures[i], err);
    }
    out->signature_count = (size_t)count;
    return status;
}

/* ------------------------------------------------------------------ statement */

void quipu_receipts_statement_release(struct quipu_receipts_statement *statement)
{
    quipu_buf_release(&statement->chunks);
}

static void write_text(struct quipu_dagcbor_writer *writer, const char *key,
                       struct quipu_slice text)
{
    quipu_dagcbor_write_key(writer, key);
    quipu_dagcbor_write_text(writer, text);
}

enum quipu_status quipu_receipts_statement_encode(const struct quipu_receipts_statement *statement,
                                                  struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, STATEMENT_PAIRS);
    quipu_dagcbor_write_key(&writer, "v");
    quipu_dagcbor_write_uint(&writer, QUIPU_RECEIPTS_FORMAT);
    write_text(&writer, "tool", statement->tool);
    quipu_dagcbor_write_key(&writer, "count");
    quipu_dagcbor_write_uint(&writer, statement->count);
    quipu_dagcbor_write_key(&writer, "chunks");
    quipu_dagcbor_write_list(&writer, statement->chunk_count);
    for (size_t i = 0; i < statement->chunk_count; i++) {
        struct quipu_cid cid;
        memcpy(&cid, statement->chunks.data + i * sizeof cid, sizeof cid);
        quipu_dagcbor_write_link(&writer, &cid);
    }
    write_text(&writer, "source", statement->source);
    quipu_dagcbor_write_key(&writer, "streams");
    quipu_dagcbor_write_list(&writer, statement->stream_count);
    for (size_t i = 0; i < statement->stream_count; i++) {
        quipu_dagcbor_write_text(&writer, statement->streams[i]);
    }
    write_text(&writer, "operator", statement->operator_name);
    quipu_dagcbor_write_key(&writer, "created_at");
    quipu_dagcbor_write_int(&writer, statement->created_unix_us);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static enum quipu_status read_chunks(struct quipu_dagcbor_reader *reader,
                                     struct quipu_receipts_statement *out, struct quipu_error *err)
{
    uint64_t count = 0;
    enum quipu_status status = read_list(reader, "chunks", QUIPU_RECEIPTS_CHUNKS_MAX, &count, err);
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        struct quipu_cid cid;
        status = quipu_dagcbor_read_link(reader, &cid, err);
        if (status == QUIPU_OK) {
            quipu_buf_append(&out->chunks, &cid, sizeof cid);
        }
    }
    if (status == QUIPU_OK && out->chunks.status != QUIPU_OK) {
        return quipu_error_set(err, out->chunks.status, "no memory for %" PRIu64 " links", count);
    }
    out->chunk_count = (size_t)count;
    /* Every chunk but the last is full. */
    bool fits = out->count > 0 && (out->count - 1) / QUIPU_RECEIPTS_CHUNK + 1 == count;
    return status == QUIPU_OK && !fits ? not_one(err, "count and chunks disagree") : status;
}

static enum quipu_status read_streams(struct quipu_dagcbor_reader *reader,
                                      struct quipu_receipts_statement *out, struct quipu_error *err)
{
    uint64_t count = 0;
    enum quipu_status status =
        read_list(reader, "streams", QUIPU_RECEIPTS_STREAMS_MAX, &count, err);
    for (uint64_t i = 0; i < count && status == QUIPU_OK; i++) {
        status = quipu_dagcbor_read_text(reader, &out->streams[i], err);
        if (status == QUIPU_OK &&
            (out->streams[i].len == 0 || out->streams[i].len > QUIPU_RECEIPTS_STREAM_MAX)) {
            status = not_one(err, "a stream's name has 1 to 255 bytes");
        }
    }
    out->stream_count = (size_t)count;
    return status;
}

static enum quipu_status read_statement(struct quipu_dagcbor_reader *reader,
                                        struct quipu_receipts_statement *out,
                                        struct quipu_error *err)
{
    uint8_t key[QUIPU_PUBLIC_KEY_BYTES];
    enum quipu_status status = read_map(reader, STATEMENT_PAIRS, err);
    if (status == QUIPU_OK) {
        status = read_said(reader, "tool", QUIPU_RECEIPTS_TOOL_BYTES, &out->tool, err);
    }
    if (status == QUIPU_OK) {
        status = read_key(reader, "count", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &out->count, err);
    }
    if (status == QUIPU_OK) {
        status = read_chunks(reader, out, err);
    }
    if (status == QUIPU_OK) {
        status = read_said(reader, "source", QUIPU_SOURCE_TEXT_BYTES - 1, &out->source, err);
    }
    if (status == QUIPU_OK && quipu_source_public_key(out->source, key, NULL) != QUIPU_OK) {
        status = not_one(err, "the source is no NKey of a user");
    }
    if (status == QUIPU_OK) {
        status = read_streams(reader, out, err);
    }
    if (status == QUIPU_OK) {
        status = read_said(reader, "operator", QUIPU_BUNDLE_OPERATOR_BYTES_MAX, &out->operator_name,
                           err);
    }
    if (status == QUIPU_OK) {
        status = read_key(reader, "created_at", err);
    }
    return status == QUIPU_OK ? quipu_dagcbor_read_int(reader, &out->created_unix_us, err) : status;
}

enum quipu_status quipu_receipts_statement_decode(struct quipu_slice block,
                                                  struct quipu_receipts_statement *out,
                                                  struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    *out = (struct quipu_receipts_statement){0};
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status status = quipu_dagcbor_validate(block, err);
    if (status == QUIPU_OK) {
        status = read_statement(&reader, out, err);
    }
    if (status != QUIPU_OK) {
        quipu_receipts_statement_release(out);
    }
    return status;
}

/* ------------------------------------------------------------------ chunks */

enum quipu_status quipu_receipts_chunk_encode(const struct quipu_travelled *items, size_t count,
                                              struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_list(&writer, count);
    for (size_t i = 0; i < count; i++) {
        quipu_dagcbor_write_list(&writer, 3);
        quipu_dagcbor_write_bytes(&writer, quipu_slice(items[i].digest, sizeof items[i].digest));
        quipu_dagcbor_write_uint(&writer, items[i].stream);
        quipu_dagcbor_write_uint(&writer, items[i].sequence);
    }
    return quipu_dagcbor_writer_finish(&writer, err);
}

static enum quipu_status read_item(struct quipu_dagcbor_reader *reader, size_t streams,
                                   struct quipu_travelled *item, struct quipu_error *err)
{
    struct quipu_slice digest = {0};
    uint64_t fields = 0;
    enum quipu_status status = quipu_dagcbor_read_list(reader, &fields, err);
    if (status == QUIPU_OK && fields != 3) {
        return not_one(err, "a receipt has three fields");
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_bytes(reader, &digest, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &item->stream, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_uint(reader, &item->sequence, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (digest.len != sizeof item->digest || item->stream >= streams ||
        item->sequence > SEQUENCE_MAX) {
        return not_one(err, "a receipt names no event, no stream of the list, or no sequence");
    }
    memcpy(item->digest, digest.data, digest.len);
    return QUIPU_OK;
}

enum quipu_status quipu_receipts_chunk_decode(struct quipu_slice block, size_t streams,
                                              struct quipu_travelled *items, size_t *count,
                                              struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t found = 0;
    quipu_dagcbor_reader_init(&reader, block);
    enum quipu_status status = quipu_dagcbor_validate(block, err);
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_list(&reader, &found, err);
    }
    if (status == QUIPU_OK && (found == 0 || found > QUIPU_RECEIPTS_CHUNK)) {
        return not_one(err, "a chunk has 1 to 8,192 receipts");
    }
    for (uint64_t i = 0; i < found && status == QUIPU_OK; i++) {
        status = read_item(&reader, streams, &items[i], err);
    }
    if (status == QUIPU_OK) {
        *count = (size_t)found;
    }
    return status;
}
