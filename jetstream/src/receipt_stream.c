/*
 * A row of the table of places, under a key that is no stream's name: 8 bytes of when the stream
 * was made (nanoseconds since 1970 UTC, big-endian), then its name. The first flush or pull writes
 * it, before any receipt. It changes only while its writer holds both locks, "flusher" and
 * "puller", so nobody writes receipts for a stream that it no longer names.
 *
 * Beside it a row of how far that stream reached when it was last looked at and all was well: 8
 * bytes of when it was made, 8 bytes of sequence. A stream that begins behind that has lost
 * everything that was there then, even where it holds what came later.
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "receipt_stream.h"

#include <inttypes.h>
#include <string.h>

#include "internal/bytes.h"
#include "pull_place.h"
#include "quipu/clock.h"
#include "quipu/outbox.h"
#include "quipu/text.h"

#define ROW_KEY     ".receipts"
#define REACH_KEY   ".reach"
#define MADE_BYTES  8
#define REACH_BYTES 16
#define NS_PER_US   1000
#define RECENT_MAX  32 /* receipts that are looked at for one with a sequence in this stream */

struct receipt_stream {
    char name[NATS_NAME_BYTES_MAX + 1];
    int64_t made_unix_ns;
};

/* @retval QUIPU_NOT_FOUND  no row yet */
static enum quipu_status row_get(struct quipu_txn *txn, struct receipt_stream *out,
                                 struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PLACES, quipu_slice_text(ROW_KEY), &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (value.len <= MADE_BYTES || value.len > MADE_BYTES + NATS_NAME_BYTES_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "the name of the receipts' stream: a row of %zu bytes", value.len);
    }
    size_t len = value.len - MADE_BYTES;
    memcpy(out->name, value.data + MADE_BYTES, len);
    out->name[len] = 0;
    out->made_unix_ns = (int64_t)quipu_load_be64(value.data);
    return QUIPU_OK;
}

static enum quipu_status row_put(struct quipu_txn *txn, const struct receipt_stream *row,
                                 struct quipu_error *err)
{
    uint8_t value[MADE_BYTES + NATS_NAME_BYTES_MAX];
    size_t len = strlen(row->name);
    quipu_store_be64(value, (uint64_t)row->made_unix_ns);
    memcpy(value + MADE_BYTES, row->name, len);
    return quipu_txn_table_put(txn, TABLE_PLACES, quipu_slice_text(ROW_KEY),
                               quipu_slice(value, MADE_BYTES + len), err);
}

static bool is_same(const struct receipt_stream *a, const struct receipt_stream *b)
{
    return a->made_unix_ns == b->made_unix_ns && strcmp(a->name, b->name) == 0;
}

static enum quipu_status row_read(struct quipu_engine *engine, struct receipt_stream *out,
                                  struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = row_get(txn, out, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Write the row; where `is_first`, only if there is none. `*found` is what it says then. */
static enum quipu_status row_write(struct quipu_engine *engine, const struct receipt_stream *row,
                                   bool is_first, struct receipt_stream *found,
                                   struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = is_first ? row_get(txn, found, err) : QUIPU_NOT_FOUND;
    }
    if (status == QUIPU_NOT_FOUND) {
        status = row_put(txn, row, err);
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        *found = *row;
    }
    quipu_txn_abort(&txn);
    return status;
}

/* The stream that receipts speak of: this one, where there was none. */
static enum quipu_status claim(struct quipu_engine *engine, const struct receipt_stream *ours,
                               struct receipt_stream *found, struct quipu_error *err)
{
    enum quipu_status status = row_read(engine, found, err);
    return status == QUIPU_NOT_FOUND ? row_write(engine, ours, true, found, err) : status;
}

static void identity(const char *stream, const struct stream_facts *facts,
                     struct receipt_stream *out)
{
    memset(out, 0, sizeof *out);
    memcpy(out->name, stream, strnlen(stream, sizeof out->name - 1));
    out->made_unix_ns = facts->created_unix_ns;
}

/* ------------------------------------------------------------------ flush */

static enum quipu_status another_stream(const struct receipt_stream *theirs,
                                        const struct receipt_stream *ours, struct quipu_error *err)
{
    char then[QUIPU_RFC3339_BYTES];
    char now[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(theirs->made_unix_ns / NS_PER_US, then);
    quipu_rfc3339_format(ours->made_unix_ns / NS_PER_US, now);
    return quipu_error_set(err, QUIPU_DRIFT,
                           "this store has published to stream %.100s made %s, this is stream "
                           "%.100s made %s; quipu flush --again publishes everything to the new "
                           "one",
                           theirs->name, then, ours->name, now);
}

enum quipu_status quipu_receipt_known(struct quipu_engine *engine, const char *stream,
                                      struct known_receipt *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct known_receipt found = {.sequence = 0};
    uint64_t position = UINT64_MAX;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    for (int i = 0; status == QUIPU_OK && found.sequence == 0 && i < RECENT_MAX; i++) {
        struct quipu_receipt receipt;
        status = quipu_receipt_last(txn, &position, &receipt, err);
        if (status == QUIPU_OK && receipt.sequence != 0 &&
            quipu_slice_equal(receipt.stream, quipu_slice_text(stream))) {
            found = (struct known_receipt){receipt.sequence, position};
        }
        position -= status == QUIPU_OK ? 1 : 0;
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK || status == QUIPU_NOT_FOUND) {
        *out = found;
        return QUIPU_OK;
    }
    return status;
}

static enum quipu_status reach_get(struct quipu_txn *txn, const struct stream_facts *facts,
                                   uint64_t *out, struct quipu_error *err)
{
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_PLACES, quipu_slice_text(REACH_KEY), &value, err);
    *out = 1;
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    if (value.len != REACH_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "how far the receipts' stream reached: a row of %zu bytes, not %d",
                               value.len, REACH_BYTES);
    }
    if (quipu_load_be64(value.data) == (uint64_t)facts->created_unix_ns) {
        uint64_t sequence = quipu_load_be64(value.data + MADE_BYTES);
        *out = sequence > 1 ? sequence : 1;
    }
    return QUIPU_OK;
}

enum quipu_status quipu_receipts_reach(struct quipu_engine *engine,
                                       const struct stream_facts *facts, uint64_t *out,
                                       struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    uint64_t found = 1;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = reach_get(txn, facts, &found, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        *out = found;
    }
    return status;
}

enum quipu_status quipu_receipts_reach_put(struct quipu_txn *txn, int64_t created_unix_ns,
                                           uint64_t sequence, struct quipu_error *err)
{
    uint8_t value[REACH_BYTES];
    quipu_store_be64(value, (uint64_t)created_unix_ns);
    quipu_store_be64(value + MADE_BYTES, sequence);
    return quipu_txn_table_put(txn, TABLE_PLACES, quipu_slice_text(REACH_KEY),
                               quipu_slice(value, sizeof value), err);
}

enum quipu_status quipu_receipts_hold(struct quipu_engine *engine, const char *stream,
                                      const struct stream_facts *facts, uint64_t reach,
                                      uint64_t newest, struct quipu_error *err)
{
    struct known_receipt known;
    enum quipu_status status = quipu_receipt_known(engine, stream, &known, err);
    if (status == QUIPU_OK && known.sequence < newest) {
        known.sequence = newest;
    }
    if (status != QUIPU_OK || known.sequence == 0) {
        return status;
    }
    if (known.sequence > facts->last_sequence) {
        return quipu_error_set(err, QUIPU_DRIFT,
                               "stream %s has been set back to an older state: it ends at sequence "
                               "%" PRIu64 ", our last event went to %" PRIu64
                               "; quipu flush --again publishes what it lacks",
                               stream, facts->last_sequence, known.sequence);
    }
    /* A server that is full may delete what is oldest: that alone is not emptied. */
    bool is_unreached = !facts->is_refusing && reach < facts->first_sequence;
    if (!facts->is_limited && (known.sequence < facts->first_sequence || is_unreached)) {
        bool is_all = known.sequence < facts->first_sequence;
        return quipu_error_set(
            err, QUIPU_DRIFT,
            "stream %s has been emptied: it begins at sequence %" PRIu64 ", %s %" PRIu64
            "; quipu flush --again publishes everything once more",
            stream, facts->first_sequence, is_all ? "our last event went to" : "it had reached",
            is_all ? known.sequence : reach);
    }
    return QUIPU_OK;
}

/* With both locks held. */
static enum quipu_status turn_to(struct quipu_engine *engine, const struct receipt_stream *ours,
                                 bool restart, struct quipu_error *err)
{
    struct quipu_outbox_status outbox;
    struct receipt_stream found;
    enum quipu_status status = row_read(engine, &found, err);
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(engine, &outbox, err);
    }
    if (status == QUIPU_OK && !restart && outbox.published > 0 && !is_same(&found, ours)) {
        return another_stream(&found, ours, err);
    }
    /* Forgetting first: a crash in between leaves no receipts, and then any stream will do. */
    if (status == QUIPU_OK && restart) {
        status = quipu_outbox_restart(engine, err);
    }
    return status == QUIPU_OK ? row_write(engine, ours, false, &found, err) : status;
}

enum quipu_status quipu_receipts_for_flush(struct quipu_engine *engine, const char *stream,
                                           const struct stream_facts *facts, bool restart,
                                           struct quipu_error *err)
{
    struct receipt_stream ours;
    struct receipt_stream found;
    identity(stream, facts, &ours);
    enum quipu_status status = claim(engine, &ours, &found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_same(&found, &ours) && !restart) {
        return QUIPU_OK;
    }
    struct quipu_store_lock *lock = NULL;
    status = quipu_store_lock_take(quipu_engine_store(engine), PULLER_LOCK_NAME, &lock, err);
    if (status == QUIPU_OK) {
        status = turn_to(engine, &ours, restart, err);
        quipu_store_lock_release(&lock);
    }
    return status;
}

/* ------------------------------------------------------------------ pull */

enum quipu_status quipu_receipts_for_pull(struct quipu_engine *engine, const char *stream,
                                          const struct stream_facts *facts, bool *may_write,
                                          struct quipu_error *err)
{
    struct receipt_stream ours;
    struct receipt_stream found;
    identity(stream, facts, &ours);
    enum quipu_status status = claim(engine, &ours, &found, err);
    if (status != QUIPU_OK || is_same(&found, &ours)) {
        *may_write = status == QUIPU_OK;
        return status;
    }
    /* Where there are no receipts, they may begin with this stream, unless a flush to the other one
     * is under way. */
    struct quipu_store_lock *lock = NULL;
    status = quipu_store_lock_take(quipu_engine_store(engine), FLUSHER_LOCK_NAME, &lock, err);
    if (status == QUIPU_OK) {
        status = turn_to(engine, &ours, false, err);
        quipu_store_lock_release(&lock);
    }
    *may_write = status == QUIPU_OK;
    return status == QUIPU_BUSY || status == QUIPU_DRIFT ? QUIPU_OK : status;
}
