/*
 * Receipts in the store: runs of consecutive positions that went to one stream.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_ENGINE_RECEIPTS_H
#define QUIPU_ENGINE_RECEIPTS_H

#include <stdbool.h>

#include "quipu/outbox.h"
#include "tables.h"

#define RECEIPT_RUN_EVENTS_MAX   128
#define RECEIPT_STREAM_BYTES_MAX 255
#define RECEIPT_VALUE_BYTES_MAX  (2 + RECEIPT_STREAM_BYTES_MAX + 16 * RECEIPT_RUN_EVENTS_MAX)

/* One row; slices live as long as the transaction allows. */
struct receipt_run {
    uint64_t first; /* position */
    uint64_t count; /* positions first … first + count - 1 */
    struct quipu_slice stream;
    struct quipu_slice
        packed; /* count × be64, each with a time as be64 behind it where has_times */
    bool has_times;
};

/* One receipt of a run. */
struct receipt_entry {
    uint64_t packed; /* sequence << 1 | was_duplicate */
    int64_t stored_unix_us;
};

/* @retval QUIPU_CORRUPT */
QUIPU_MUST_CHECK enum quipu_status receipt_run_decode(struct quipu_slice key,
                                                      struct quipu_slice value,
                                                      struct receipt_run *out,
                                                      struct quipu_error *err);

/* The run nearest to `position` on that side. @retval QUIPU_DONE  none */
QUIPU_MUST_CHECK enum quipu_status receipt_run_seek(struct quipu_txn *txn, uint64_t position,
                                                    enum quipu_seek seek, struct receipt_run *out,
                                                    struct quipu_error *err);

static inline bool receipt_run_covers(const struct receipt_run *run, uint64_t position)
{
    return position >= run->first && position - run->first < run->count;
}

/* Gathers receipts into rows; best fed in order of positions. Caller's storage, init then add…, and
 * flush before the transaction is committed or its receipts are read. */
struct receipt_writer {
    struct quipu_txn *txn;
    uint64_t added; /* receipts that are new */
    uint64_t noted; /* receipts that were there and have a time now */
    bool only_notes;
    uint64_t first;      /* of the open run; 0: none open */
    uint64_t count;      /* in it */
    uint64_t next_first; /* first position of the row behind it */
    bool is_changed;
    size_t stream_len;
    uint8_t stream[RECEIPT_STREAM_BYTES_MAX];
    struct receipt_entry entries[RECEIPT_RUN_EVENTS_MAX];
};

void receipt_writer_init(struct receipt_writer *writer, struct quipu_txn *txn);

/* Record that `stream` holds the event at `ack->position`. Where it has a receipt already, only its
 * time is noted, if that is new and the receipt speaks of the same message; where it has none and
 * writer->only_notes, nothing is.
 * @retval QUIPU_INVALID  stream name empty or over 255 bytes, sequence over 2^63-1, time below 0 */
QUIPU_MUST_CHECK enum quipu_status receipt_writer_add(struct receipt_writer *writer,
                                                      struct quipu_slice stream,
                                                      const struct quipu_ack *ack,
                                                      struct quipu_error *err);
QUIPU_MUST_CHECK enum quipu_status receipt_writer_flush(struct receipt_writer *writer,
                                                        struct quipu_error *err);

#endif
