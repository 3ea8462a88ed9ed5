/*
 * Receipts: what the server said when it stored an event. Events are published in order, so a row
 * holds a run: up to 128 consecutive positions of one stream, eight bytes each, or sixteen where
 * the time of one of them is known (an ack does not say it; who reads the stream learns it). The
 * row of a position is the last one that begins at or before it.
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

#define PLAIN_BYTES 8  /* of a receipt without a time */
#define TIMED_BYTES 16 /* with one */

/* The name that `value` begins with: a byte of length in front, and a zero before that where times
 * are given. `*rest`: what stands behind it; empty where the name is cut off. */
static struct quipu_slice name_of(struct quipu_slice value, bool has_times,
                                  struct quipu_slice *rest)
{
    size_t at = has_times ? 1 : 0;
    size_t len = value.len > at ? value.data[at] : 0;
    *rest = quipu_slice(NULL, 0);
    if (len == 0 || value.len - at - 1 < len) {
        return quipu_slice(NULL, 0);
    }
    const uint8_t *name = value.data + at + 1;
    *rest = quipu_slice(name + len, value.len - at - 1 - len);
    return quipu_slice(name, len);
}

enum quipu_status receipt_run_decode(struct quipu_slice key, struct quipu_slice value,
                                     struct receipt_run *out, struct quipu_error *err)
{
    struct receipt_run run;
    enum quipu_status status = position_of_key(key, "receipts", &run.first, err);
    if (status != QUIPU_OK) {
        return status;
    }
    run.has_times = value.len > 0 && value.data[0] == 0;
    run.stream = name_of(value, run.has_times, &run.packed);
    size_t each = run.has_times ? TIMED_BYTES : PLAIN_BYTES;
    run.count = run.packed.len / each;
    if (run.count == 0 || run.packed.len % each != 0 || run.first == 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "receipts from position %" PRIu64 ": %zu bytes that are no receipts",
                               run.first, value.len);
    }
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

static struct receipt_entry entry_at(const struct receipt_run *run, uint64_t index)
{
    const uint8_t *at = run->packed.data + (run->has_times ? TIMED_BYTES : PLAIN_BYTES) * index;
    struct receipt_entry entry = {.packed = quipu_load_be64(at)};
    if (run->has_times) {
        entry.stored_unix_us = (int64_t)quipu_load_be64(at + PLAIN_BYTES);
    }
    return entry;
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
    struct receipt_entry entry = entry_at(&run, position - run.first);
    if (entry.stored_unix_us < 0) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "receipt of position %" PRIu64 ": a time of %" PRId64
                               " us, which is before 1970",
                               position, entry.stored_unix_us);
    }
    out->stream = run.stream;
    out->sequence = entry.packed >> 1;
    out->was_duplicate = (entry.packed & 1) != 0;
    out->stored_unix_us = entry.stored_unix_us;
    return QUIPU_OK;
}

enum quipu_status quipu_receipt_last(struct quipu_txn *txn, uint64_t *position,
                                     struct quipu_receipt *out, struct quipu_error *err)
{
    struct receipt_run run;
    enum quipu_status status = receipt_run_seek(txn, *position, QUIPU_SEEK_LE, &run, err);
    if (status == QUIPU_DONE) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "no position up to %" PRIu64 " has a receipt",
                               *position);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t last = run.first + run.count - 1;
    uint64_t at = last < *position ? last : *position;
    status = quipu_receipt_at(txn, at, out, err);
    if (status == QUIPU_OK) {
        *position = at;
    }
    return status;
}

/* ------------------------------------------------------------------ writing */

void receipt_writer_init(struct receipt_writer *writer, struct quipu_txn *txn)
{
    writer->txn = txn;
    writer->added = 0;
    writer->noted = 0;
    writer->only_notes = false;
    writer->first = 0;
    writer->count = 0;
    writer->next_first = 0;
    writer->is_changed = false;
    writer->stream_len = 0;
}

/* The open run as a row; the shorter form where no time is known. Returns its length. */
static size_t run_encode(const struct receipt_writer *writer,
                         uint8_t value[RECEIPT_VALUE_BYTES_MAX])
{
    bool has_times = false;
    for (uint64_t i = 0; i < writer->count; i++) {
        has_times = has_times || writer->entries[i].stored_unix_us != 0;
    }
    size_t len = 0;
    if (has_times) {
        value[len++] = 0;
    }
    value[len++] = (uint8_t)writer->stream_len;
    memcpy(value + len, writer->stream, writer->stream_len);
    len += writer->stream_len;
    for (uint64_t i = 0; i < writer->count; i++) {
        quipu_store_be64(value + len, writer->entries[i].packed);
        len += PLAIN_BYTES;
        if (has_times) {
            quipu_store_be64(value + len, (uint64_t)writer->entries[i].stored_unix_us);
            len += TIMED_BYTES - PLAIN_BYTES;
        }
    }
    return len;
}

enum quipu_status receipt_writer_flush(struct receipt_writer *writer, struct quipu_error *err)
{
    if (!writer->is_changed) {
        return QUIPU_OK;
    }
    uint8_t storage[POSITION_KEY_BYTES];
    uint8_t value[RECEIPT_VALUE_BYTES_MAX];
    enum quipu_status status =
        quipu_txn_table_put(writer->txn, TABLE_RECEIPTS, position_key(writer->first, storage),
                            quipu_slice(value, run_encode(writer, value)), err);
    if (status == QUIPU_OK) {
        writer->is_changed = false;
    }
    return status;
}

static bool run_has_stream(const struct receipt_writer *writer, struct quipu_slice stream)
{
    return writer->stream_len == stream.len && memcmp(writer->stream, stream.data, stream.len) == 0;
}

static bool run_holds(const struct receipt_writer *writer, uint64_t position)
{
    return writer->first != 0 && position >= writer->first &&
           position - writer->first < writer->count;
}

/* Can the open run take `position` as its next? */
static bool run_can_take(const struct receipt_writer *writer, struct quipu_slice stream,
                         uint64_t position)
{
    return writer->first != 0 && position == writer->first + writer->count &&
           writer->count < RECEIPT_RUN_EVENTS_MAX && position < writer->next_first &&
           run_has_stream(writer, stream);
}

static void run_begin(struct receipt_writer *writer, struct quipu_slice stream, uint64_t first)
{
    writer->first = first;
    writer->count = 0;
    writer->stream_len = stream.len;
    memcpy(writer->stream, stream.data, stream.len);
}

static void run_load(struct receipt_writer *writer, const struct receipt_run *run)
{
    run_begin(writer, run->stream, run->first);
    writer->count = run->count;
    for (uint64_t i = 0; i < run->count; i++) {
        writer->entries[i] = entry_at(run, i);
    }
}

/* Make the row that holds `position`, or that it would go on, or a new one, the open run. */
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
    bool is_held = status == QUIPU_OK && receipt_run_covers(&run, position);
    bool goes_on = status == QUIPU_OK && run.first + run.count == position &&
                   run.count < RECEIPT_RUN_EVENTS_MAX && quipu_slice_equal(run.stream, stream);
    if (!is_held && !goes_on) {
        run_begin(writer, stream, position);
        return QUIPU_OK;
    }
    if (run.count > RECEIPT_RUN_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "receipts from position %" PRIu64 ": %" PRIu64
                               " in a row, up to %d are written",
                               run.first, run.count, RECEIPT_RUN_EVENTS_MAX);
    }
    run_load(writer, &run);
    return QUIPU_OK;
}

/* A receipt stays what it was; the time of the message that it speaks of may become known. */
static void note_time(struct receipt_writer *writer, struct quipu_slice stream,
                      const struct quipu_ack *ack)
{
    struct receipt_entry *entry = &writer->entries[ack->position - writer->first];
    if (ack->stored_unix_us != 0 && entry->stored_unix_us == 0 && ack->sequence != 0 &&
        entry->packed >> 1 == ack->sequence && run_has_stream(writer, stream)) {
        entry->stored_unix_us = ack->stored_unix_us;
        writer->noted++;
        writer->is_changed = true;
    }
}

static enum quipu_status ack_check(struct quipu_slice stream, const struct quipu_ack *ack,
                                   struct quipu_error *err)
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
    if (ack->stored_unix_us < 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "receipt: a time of %" PRId64 " us is before 1970",
                               ack->stored_unix_us);
    }
    return QUIPU_OK;
}

enum quipu_status receipt_writer_add(struct receipt_writer *writer, struct quipu_slice stream,
                                     const struct quipu_ack *ack, struct quipu_error *err)
{
    enum quipu_status status = ack_check(stream, ack, err);
    if (status == QUIPU_OK && !run_holds(writer, ack->position) &&
        !run_can_take(writer, stream, ack->position)) {
        status = run_open(writer, stream, ack->position, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (run_holds(writer, ack->position)) {
        note_time(writer, stream, ack);
        return QUIPU_OK;
    }
    if (writer->only_notes) {
        return QUIPU_OK;
    }
    writer->entries[writer->count++] = (struct receipt_entry){
        .packed = ack->sequence << 1 | (ack->was_duplicate ? 1 : 0),
        .stored_unix_us = ack->stored_unix_us,
    };
    writer->added++;
    writer->is_changed = true;
    return QUIPU_OK;
}
