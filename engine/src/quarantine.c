/*
 * Quarantine: foreign events that were refused, kept whole with the reason, so that nothing is
 * silently dropped. One row per CID that the carrier named; the same event again replaces it. A
 * block over its limit is not kept: the line says how large it was.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quarantine.h"

#include <string.h>

#include "engine_impl.h"
#include "row_codec.h"
#include "slice_budget.h"
#include "tables.h"

#define PAIRS_ALWAYS      5
#define PAIRS_WITH_STREAM 7

static struct quipu_slice block_kept(struct quipu_slice block, size_t max)
{
    return block.len <= max ? block : quipu_slice(NULL, 0);
}

enum quipu_status quarantine_put(struct quipu_txn *txn, const struct quipu_foreign *event,
                                 const struct quipu_error *why, int64_t now_unix_us,
                                 struct quipu_buf *scratch, struct quipu_error *err)
{
    struct quipu_slice stream = row_line(event->stream);
    quipu_buf_reset(scratch);
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, scratch);
    quipu_dagcbor_write_map(&writer, stream.len > 0 ? PAIRS_WITH_STREAM : PAIRS_ALWAYS);
    quipu_dagcbor_write_key(&writer, "line");
    quipu_dagcbor_write_text(&writer, row_line(quipu_slice_text(why->message)));
    quipu_dagcbor_write_key(&writer, "reason");
    quipu_dagcbor_write_uint(&writer, (uint64_t)why->status);
    if (stream.len > 0) {
        quipu_dagcbor_write_key(&writer, "stream");
        quipu_dagcbor_write_text(&writer, stream);
    }
    quipu_dagcbor_write_key(&writer, "payload");
    quipu_dagcbor_write_bytes(&writer, block_kept(event->payload, QUIPU_PAYLOAD_BYTES_MAX));
    quipu_dagcbor_write_key(&writer, "envelope");
    quipu_dagcbor_write_bytes(&writer, block_kept(event->envelope, QUIPU_ENVELOPE_BYTES_MAX));
    if (stream.len > 0) {
        quipu_dagcbor_write_key(&writer, "sequence");
        quipu_dagcbor_write_uint(&writer, event->sequence);
    }
    quipu_dagcbor_write_key(&writer, "received_at");
    quipu_dagcbor_write_int(&writer, now_unix_us);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t key[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(&event->cid, key);
    return quipu_txn_table_put(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key),
                               quipu_buf_slice(scratch), err);
}

enum quipu_status quarantine_forget(struct quipu_txn *txn, const struct quipu_cid *cid,
                                    bool *was_there, struct quipu_error *err)
{
    uint8_t key[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(cid, key);
    enum quipu_status status =
        quipu_txn_table_delete(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key), err);
    *was_there = status == QUIPU_OK;
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

static enum quipu_status row_read(struct quipu_slice value, struct quipu_quarantined *out,
                                  struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    uint64_t pairs;
    uint64_t reason = 0;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    bool has_stream = status == QUIPU_OK && pairs == PAIRS_WITH_STREAM;
    if (status == QUIPU_OK) {
        status = row_read_text(&reader, "line", &out->line, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "reason", &reason, err);
        out->reason = (enum quipu_status)reason;
    }
    if (status == QUIPU_OK && has_stream) {
        status = row_read_text(&reader, "stream", &out->stream, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(&reader, "payload", &out->payload, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(&reader, "envelope", &out->envelope, err);
    }
    if (status == QUIPU_OK && has_stream) {
        status = row_read_uint(&reader, "sequence", &out->sequence, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_int(&reader, "received_at", &out->received_unix_us, err);
    }
    return status;
}

static enum quipu_status row_decode(struct quipu_slice key, struct quipu_slice value,
                                    struct quipu_quarantined *out, struct quipu_error *err)
{
    struct quipu_quarantined event = {0};
    struct quipu_error inner = {0};
    struct quipu_cid_view view;
    enum quipu_status status = quipu_cid_view_take(&key, &view, &inner);
    if (status == QUIPU_OK) {
        status = quipu_cid_from_view(&view, &event.cid, &inner);
    }
    if (status == QUIPU_OK) {
        status = row_read(value, &event, &inner);
    }
    if (status != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "quarantine: %s", inner.message);
    }
    *out = event;
    return QUIPU_OK;
}

/* Visit rows behind `after` in one transaction; its storage receives the last key.
 * @retval QUIPU_DONE  no more */
static enum quipu_status quarantine_slice(struct quipu_txn *txn, uint8_t after[QUIPU_CID_BYTES],
                                          size_t *after_len, quipu_quarantine_fn visit, void *ctx,
                                          struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, TABLE_QUARANTINE, quipu_slice(after, *after_len),
                                 QUIPU_SEEK_GT, &key, &value, err);
        struct quipu_quarantined event;
        if (status == QUIPU_OK) {
            status = row_decode(key, value, &event, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
        quipu_cid_to_bytes(&event.cid, after);
        *after_len = QUIPU_CID_BYTES;
        status = visit(ctx, &event, err);
        if (status != QUIPU_OK) {
            return status;
        }
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

enum quipu_status quipu_each_quarantined(struct quipu_engine *engine, quipu_quarantine_fn visit,
                                         void *ctx, struct quipu_error *err)
{
    uint8_t after[QUIPU_CID_BYTES];
    size_t after_len = 0;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = quarantine_slice(txn, after, &after_len, visit, ctx, err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
