/*
 * Receipts: what the server said when it stored an event. Events are published in order, so a row
 * holds a run: up to 128 consecutive positions of one stream, eight bytes each. The row of a
 * position is the last one that begins at or before it.
 *
 * Never decides what is pending (outbox.c does).
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "receipts.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"

enum quipu_status receipt_run_decode(struct quipu_slice key, struct quipu_slice value,
                                     struct receipt_run *out, struct quipu_error *err)
{
    struct receipt_run run;
    enum quipu_status status = position_of_key(key, "receipts", &run.first, err);
    if (status != QUIPU_OK) {
        return status;
    }
    size_t stream_len = value.len == 0 ? 0 : value.data[0];
    bool has_stream = stream_len > 0 && value.len - 1 >= stream_len;
    size_t packed_len = has_stream ? value.len - 1 - stream_len : 0;
    if (packed_len == 0 || packed_len % 8 != 0 || run.first == 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "receipts from position %" PRIu64 ": %zu bytes that are no receipts",
                               run.first, value.len);
    }
    run.count = packed_len / 8;
    run.stream = quipu_slice(value.data + 1, stream_len);
    run.packed = quipu_slice(value.data + 1 + stream_len, packed_len);
    *out = run;
    return QUIPU_OK;
}

enum quipu_status receipt_run_seek(struct quipu_txn *txn, uint64_t position, enum quipu_seek seek,
                                   struct receipt_run *out, struct quipu_error *err)
{
    uint8_t storage[POSITION_KEY_BYTES];
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_status status = quipu_txn_table_seek(
        txn, TABLE_RECEIPTS, position_key(position, storage), seek, &key, &value, err);
    return status == QUIPU_OK ? receipt_run_decode(key, value, out, err) : status;
}

enum quipu_status quipu_receipt_at(struct quipu_txn *txn, uint64_t position,
                                   struct quipu_receipt *out, struct quipu_error *err)
{
    struct receipt_run run;
    enum quipu_status status = receipt_run_seek(txn, position, QUIPU_SEEK_LE, &run, err);
    if (status == QUIPU_DONE || (status == QUIPU_OK && !receipt_run_covers(&run, position))) {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "position %" PRIu64 " has no receipt: it is not published yet",
                               position);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t packed = quipu_load_be64(run.packed.data + 8 * (position - run.first));
    out->stream = run.stream;
    out->sequence = packed >> 1;
    out->was_duplicate = (packed & 1) != 0;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ writing */

void receipt_writer_init(struct receipt_writer *writer, struct quipu_txn *txn)
{
    writer->txn = txn;
    writer->added = 0;
    writer->first = 0;
    writer->count = 0;
    writer->next_first = 0;
    writer->is_changed = false;
    writer->value_len = 0;
}

enum quipu_status receipt_writer_flush(struct receipt_writer *writer, struct quipu_error *err)
{
    if (!writer->is_changed) {
        return QUIPU_OK;
    }
    uint8_t storage[POSITION_KEY_BYTES];
    enum quipu_status status =
        quipu_txn_table_put(writer->txn, TABLE_RECEIPTS, position_key(writer->first, storage),
                            quipu_slice(writer->value, writer->value_len), err);
    if (status == QUIPU_OK) {
        writer->is_changed = false;
    }
    return status;
}

static bool run_has_stream(const struct receipt_writer *writer, struct quipu_slice stream)
{
    return writer->value[0] == stream.len &&
           memcmp(writer->value + 1, stream.data, stream.len) == 0;
}

/* Can the open run take `position` as its next? */
static bool run_can_take(const struct receipt_writer *writer, struct quipu_slice stream,
                         uint64_t position)
{
    return writer->first != 0 && position == writer->first + writer->count &&
           writer->count < RECEIPT_RUN_EVENTS_MAX && position < writer->next_first &&
           run_has_stream(writer, stream);
}

/* Make the row that `position` would go on, or a new one, the open run.
 * @retval QUIPU_EXISTS  the position has a receipt */
static enum quipu_status run_open(struct receipt_writer *writer, struct quipu_slice stream,
                                  uint64_t position, struct quipu_error *err)
{
    enum quipu_status status = receipt_writer_flush(writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct receipt_run run;
    status = receipt_run_seek(writer->txn, position, QUIPU_SEEK_GT, &run, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    writer->next_first = status == QUIPU_OK ? run.first : UINT64_MAX;
    status = receipt_run_seek(writer->txn, position, QUIPU_SEEK_LE, &run, err);
    if (status != QUIPU_OK && status != QUIPU_DONE) {
        return status;
    }
    if (status == QUIPU_OK && receipt_run_covers(&run, position)) {
        writer->first = 0;
        return QUIPU_EXISTS;
    }
    if (status == QUIPU_OK && run.first + run.count == position &&
        run.count < RECEIPT_RUN_EVENTS_MAX && quipu_slice_equal(run.stream, stream)) {
        writer->first = run.first;
        writer->count = run.count;
        writer->value_len = 1 + run.stream.len + run.packed.len;
        writer->value[0] = (uint8_t)stream.len;
        memcpy(writer->value + 1, stream.data, stream.len);
        memcpy(writer->value + 1 + stream.len, run.packed.data, run.packed.len);
        return QUIPU_OK;
    }
    writer->first = position;
    writer->count = 0;
    writer->value_len = 1 + stream.len;
    writer->value[0] = (uint8_t)stream.len;
    memcpy(writer->value + 1, stream.data, stream.len);
    return QUIPU_OK;
}

enum quipu_status receipt_writer_add(struct receipt_writer *writer, struct quipu_slice stream,
                                     const struct quipu_ack *ack, struct quipu_error *err)
{
    if (stream.len == 0 || stream.len > RECEIPT_STREAM_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "receipt: a stream's name has 1 to %d bytes, found %zu",
                               RECEIPT_STREAM_BYTES_MAX, stream.len);
    }
    if (ack->sequence > INT64_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "receipt: sequence %" PRIu64 " is over 2^63-1",
                               ack->sequence);
    }
    if (!run_can_take(writer, stream, ack->position)) {
        enum quipu_status status = run_open(writer, stream, ack->position, err);
        if (status != QUIPU_OK) {
            return status == QUIPU_EXISTS ? QUIPU_OK : status;
        }
    }
    quipu_store_be64(writer->value + writer->value_len,
                     ack->sequence << 1 | (ack->was_duplicate ? 1 : 0));
    writer->value_len += 8;
    writer->count++;
    writer->added++;
    writer->is_changed = true;
    return QUIPU_OK;
}
