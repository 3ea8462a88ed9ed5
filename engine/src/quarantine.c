/*
 * Quarantine: foreign events that were refused, kept whole with the reason, so that nothing is
 * silently dropped. One row per envelope, under the CID that its bytes have, whatever the carrier
 * called it: nobody can put other bytes in the place of what is kept. A block over its limit is not
 * kept: the line says how large it was.
 *
 * An event that waits for another one has a row in the table of waiting besides, so that the other
 * one finds it when it comes (ingest_waiting.c).
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quarantine.h"

#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "internal/bytes.h"
#include "quarantine_bound.h"
#include "row_codec.h"
#include "slice_budget.h"
#include "tables.h"

#define PAIRS_ALWAYS    7U
#define PAIRS_OF_PROOF  1U
#define PAIRS_OF_STREAM 2U
#define WAITING_KEY_MAX (WAIT_NUMBER_BYTES + QUIPU_CID_BYTES)

/* ------------------------------------------------------------------ what an event waits for */

void quarantine_wait_for_event(const struct quipu_cid *cid, struct quarantine_wait *out)
{
    quipu_cid_to_bytes(cid, out->key);
    out->len = WAIT_EVENT_BYTES;
}

void quarantine_wait_for_number(struct quipu_slice source, uint64_t source_seq,
                                struct quarantine_wait *out)
{
    memcpy(out->key, source.data, QUIPU_SOURCE_TEXT_BYTES - 1);
    quipu_store_be64(out->key + QUIPU_SOURCE_TEXT_BYTES - 1, source_seq);
    out->len = WAIT_NUMBER_BYTES;
}

static struct quipu_slice waiting_key(struct quipu_slice wait, const struct quipu_cid *cid,
                                      uint8_t storage[WAITING_KEY_MAX])
{
    memcpy(storage, wait.data, wait.len);
    quipu_cid_to_bytes(cid, storage + wait.len);
    return quipu_slice(storage, wait.len + QUIPU_CID_BYTES);
}

static enum quipu_status cid_of_key(struct quipu_slice key, struct quipu_cid *cid,
                                    struct quipu_error *err)
{
    struct quipu_error inner = {0};
    struct quipu_cid_view view;
    enum quipu_status status = quipu_cid_view_take(&key, &view, &inner);
    if (status == QUIPU_OK) {
        status = quipu_cid_from_view(&view, cid, &inner);
    }
    return status == QUIPU_OK
               ? status
               : quipu_error_set(err, QUIPU_CORRUPT, "quarantine: %s", inner.message);
}

enum quipu_status quarantine_waiter(struct quipu_txn *txn, struct quipu_slice wait,
                                    struct quipu_cid *cid, struct quipu_error *err)
{
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_seek(txn, TABLE_WAITING, wait, QUIPU_SEEK_GE, &key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* A CID and a source never begin alike, so a key with this front is one of those. */
    if (key.len != wait.len + QUIPU_CID_BYTES || memcmp(key.data, wait.data, wait.len) != 0) {
        return QUIPU_DONE;
    }
    return cid_of_key(quipu_slice(key.data + wait.len, QUIPU_CID_BYTES), cid, err);
}

/* ------------------------------------------------------------------ reading */

struct quarantine_row {
    struct quipu_quarantined event;
    struct quipu_slice wait; /* empty, or WAIT_EVENT_BYTES, or WAIT_NUMBER_BYTES */
    size_t bytes;            /* of the row */
};

/* What it waits for, for people. */
static enum quipu_status wait_read(struct quarantine_row *row, struct quipu_error *err)
{
    struct quipu_waits_for *out = &row->event.waits_for;
    switch (row->wait.len) {
    case 0:
        return QUIPU_OK;
    case WAIT_EVENT_BYTES:
        out->kind = QUIPU_WAITS_FOR_EVENT;
        return cid_of_key(row->wait, &out->event, err);
    case WAIT_NUMBER_BYTES:
        out->kind = QUIPU_WAITS_FOR_NUMBER;
        out->source = quipu_slice(row->wait.data, QUIPU_SOURCE_TEXT_BYTES - 1);
        out->source_seq = quipu_load_be64(row->wait.data + QUIPU_SOURCE_TEXT_BYTES - 1);
        return QUIPU_OK;
    default:
        return quipu_error_set(err, QUIPU_CORRUPT, "a wait of %zu bytes", row->wait.len);
    }
}

static enum quipu_status row_read(struct quipu_slice value, struct quarantine_row *row,
                                  struct quipu_error *err)
{
    struct quipu_quarantined *out = &row->event;
    struct quipu_dagcbor_reader reader;
    struct quipu_slice claimed = {0};
    uint64_t pairs;
    uint64_t reason = 0;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    if (status == QUIPU_OK &&
        (pairs < PAIRS_ALWAYS || pairs > PAIRS_ALWAYS + PAIRS_OF_PROOF + PAIRS_OF_STREAM)) {
        return quipu_error_set(err, QUIPU_CORRUPT, "a row of %" PRIu64 " pairs", pairs);
    }
    uint64_t optional = status == QUIPU_OK ? pairs - PAIRS_ALWAYS : 0;
    bool has_stream = (optional & PAIRS_OF_STREAM) != 0;
    if (status == QUIPU_OK) {
        status = row_read_text(&reader, "line", &out->line, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(&reader, "wait", &row->wait, err);
    }
    if (status == QUIPU_OK && (optional & PAIRS_OF_PROOF) != 0) {
        status = row_read_bool(&reader, "proven", &out->is_proven, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "reason", &reason, err);
        out->reason = (enum quipu_status)reason;
    }
    if (status == QUIPU_OK && has_stream) {
        status = row_read_text(&reader, "stream", &out->stream, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_bytes(&reader, "claimed", &claimed, err);
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
    if (status == QUIPU_OK) {
        status = wait_read(row, err);
    }
    return status == QUIPU_OK ? cid_of_key(claimed, &out->claimed, err) : status;
}

static enum quipu_status row_decode(struct quipu_slice key, struct quipu_slice value,
                                    struct quarantine_row *out, struct quipu_error *err)
{
    struct quarantine_row row = {.bytes = value.len};
    struct quipu_error inner = {0};
    enum quipu_status status = cid_of_key(key, &row.event.cid, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (row_read(value, &row, &inner) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "quarantine: %s", inner.message);
    }
    *out = row;
    return QUIPU_OK;
}

static enum quipu_status row_get(struct quipu_txn *txn, const struct quipu_cid *cid,
                                 struct quarantine_row *out, struct quipu_error *err)
{
    uint8_t key[QUIPU_CID_BYTES];
    struct quipu_slice value;
    quipu_cid_to_bytes(cid, key);
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key), &value, err);
    return status == QUIPU_OK ? row_decode(quipu_slice(key, sizeof key), value, out, err) : status;
}

enum quipu_status quarantine_read(struct quipu_txn *txn, const struct quipu_cid *cid,
                                  struct quipu_buf *copy, struct quipu_quarantined *out,
                                  struct quipu_error *err)
{
    uint8_t key[QUIPU_CID_BYTES];
    struct quipu_slice value;
    quipu_cid_to_bytes(cid, key);
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key), &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_buf_reset(copy);
    quipu_buf_append_slice(copy, value);
    if (copy->status != QUIPU_OK) {
        return quipu_error_set(err, copy->status, "quarantine: out of memory for %zu bytes",
                               value.len);
    }
    struct quarantine_row row;
    status = row_decode(quipu_slice(key, sizeof key), quipu_buf_slice(copy), &row, err);
    if (status == QUIPU_OK) {
        *out = row.event;
    }
    return status;
}

static enum quipu_status row_next(struct quipu_txn *txn, const struct quipu_cid *after,
                                  struct quarantine_row *out, struct quipu_error *err)
{
    uint8_t storage[QUIPU_CID_BYTES];
    struct quipu_slice from = quipu_slice(NULL, 0);
    struct quipu_slice key;
    struct quipu_slice value;
    if (after != NULL) {
        quipu_cid_to_bytes(after, storage);
        from = quipu_slice(storage, sizeof storage);
    }
    enum quipu_status status =
        quipu_txn_table_seek(txn, TABLE_QUARANTINE, from, QUIPU_SEEK_GT, &key, &value, err);
    return status == QUIPU_OK ? row_decode(key, value, out, err) : status;
}

enum quipu_status quarantine_next(struct quipu_txn *txn, const struct quipu_cid *after,
                                  struct quipu_quarantined *out, struct quipu_error *err)
{
    struct quarantine_row row;
    enum quipu_status status = row_next(txn, after, &row, err);
    if (status == QUIPU_OK) {
        *out = row.event;
    }
    return status;
}

enum quipu_status quarantine_check(struct quipu_txn *txn, struct quipu_error *err)
{
    struct quarantine_row row;
    struct quipu_cid at;
    struct quarantine_pending counted = {0};
    uint64_t kept_bytes = 0;
    enum quipu_status status = row_next(txn, NULL, &row, err);
    while (status == QUIPU_OK) {
        struct quipu_slice value;
        uint8_t key[WAITING_KEY_MAX];
        at = row.event.cid;
        kept_bytes += row.bytes;
        if (row.wait.len > 0) {
            counted.events++;
            counted.bytes += row.bytes;
            status = quipu_txn_table_get(txn, TABLE_WAITING, waiting_key(row.wait, &at, key),
                                         &value, err);
        }
        if (status == QUIPU_OK) {
            status = row_next(txn, &at, &row, err);
        }
    }
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: an event waits that is not in the "
                               "table of waiting");
    }
    uint64_t rows = 0;
    if (status == QUIPU_DONE) {
        status = table_count(txn, TABLE_WAITING, &rows, err);
    }
    if (status == QUIPU_OK && rows != counted.events) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: the table of waiting has %" PRIu64 " rows, %" PRIu64
                               " events wait",
                               rows, counted.events);
    }
    return status == QUIPU_OK ? quarantine_counts_check(txn, &counted, kept_bytes, err) : status;
}

/* ------------------------------------------------------------------ writing */

static struct quipu_slice block_kept(struct quipu_slice block, size_t max)
{
    return block.len <= max ? block : quipu_slice(NULL, 0);
}

/* Is that the payload which the envelope names? */
static bool is_payload_of(struct quipu_slice payload, struct quipu_slice envelope)
{
    struct quipu_envelope decoded;
    if (quipu_envelope_decode(envelope, &decoded, NULL) != QUIPU_OK) {
        return false;
    }
    struct quipu_cid found = quipu_cid_of(decoded.payload.codec, payload);
    return quipu_cid_equal(&found, &decoded.payload);
}

/* How far what is carried can be trusted: the payload is the one that the envelope names, and the
 * carrier calls the envelope by its CID. */
static int trust_in(struct quipu_slice payload, const struct quipu_cid *claimed,
                    struct quipu_slice envelope, const struct quipu_cid *cid)
{
    return (is_payload_of(payload, envelope) ? 2 : 0) + (quipu_cid_equal(claimed, cid) ? 1 : 0);
}

/* May the row that is there give way to `event`, whose envelope is the same? To the same bytes, and
 * to better ones; never to worse. */
static bool may_replace(const struct quarantine_row *row, const struct quipu_foreign *event)
{
    const struct quipu_quarantined *kept = &row->event;
    struct quipu_slice payload = block_kept(event->payload, QUIPU_PAYLOAD_BYTES_MAX);
    int before = trust_in(kept->payload, &kept->claimed, event->envelope, &kept->cid);
    int now = trust_in(payload, &event->cid, event->envelope, &kept->cid);
    return now > before || (now == before && quipu_slice_equal(kept->payload, payload));
}

static enum quipu_status row_encode(const struct quipu_foreign *event,
                                    const struct quarantine_verdict *verdict, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    struct quipu_slice stream = row_line(event->stream);
    uint8_t claimed[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(&event->cid, claimed);
    quipu_buf_reset(out);
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, out);
    quipu_dagcbor_write_map(&writer, PAIRS_ALWAYS + (stream.len > 0 ? PAIRS_OF_STREAM : 0U) +
                                         (verdict->is_proven ? PAIRS_OF_PROOF : 0U));
    quipu_dagcbor_write_key(&writer, "line");
    quipu_dagcbor_write_text(&writer, row_line(quipu_slice_text(verdict->why->message)));
    quipu_dagcbor_write_key(&writer, "wait");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(verdict->wait.key, verdict->wait.len));
    if (verdict->is_proven) {
        quipu_dagcbor_write_key(&writer, "proven");
        quipu_dagcbor_write_bool(&writer, true);
    }
    quipu_dagcbor_write_key(&writer, "reason");
    quipu_dagcbor_write_uint(&writer, (uint64_t)verdict->why->status);
    if (stream.len > 0) {
        quipu_dagcbor_write_key(&writer, "stream");
        quipu_dagcbor_write_text(&writer, stream);
    }
    quipu_dagcbor_write_key(&writer, "claimed");
    quipu_dagcbor_write_bytes(&writer, quipu_slice(claimed, sizeof claimed));
    quipu_dagcbor_write_key(&writer, "payload");
    quipu_dagcbor_write_bytes(&writer, block_kept(event->payload, QUIPU_PAYLOAD_BYTES_MAX));
    quipu_dagcbor_write_key(&writer, "envelope");
    quipu_dagcbor_write_bytes(&writer, block_kept(event->envelope, QUIPU_ENVELOPE_BYTES_MAX));
    if (stream.len > 0) {
        quipu_dagcbor_write_key(&writer, "sequence");
        quipu_dagcbor_write_uint(&writer, event->sequence);
    }
    quipu_dagcbor_write_key(&writer, "received_at");
    quipu_dagcbor_write_int(&writer, verdict->now_unix_us);
    return quipu_dagcbor_writer_finish(&writer, err);
}

static enum quipu_status row_put(struct quipu_txn *txn, const struct quipu_cid *cid,
                                 const struct quarantine_wait *wait, const struct quipu_buf *row,
                                 struct quipu_error *err)
{
    uint8_t key[QUIPU_CID_BYTES];
    uint8_t waiting[WAITING_KEY_MAX];
    quipu_cid_to_bytes(cid, key);
    enum quipu_status status = kept_add(txn, row->len, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_table_put(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key),
                                     quipu_buf_slice(row), err);
    }
    if (status != QUIPU_OK || wait->len == 0) {
        return status;
    }
    status = quipu_txn_table_put(txn, TABLE_WAITING,
                                 waiting_key(quipu_slice(wait->key, wait->len), cid, waiting),
                                 quipu_slice(NULL, 0), err);
    return status == QUIPU_OK ? pending_add(txn, row->len, err) : status;
}

enum quipu_status quarantine_put(struct quipu_txn *txn, const struct quipu_foreign *event,
                                 const struct quarantine_verdict *verdict,
                                 struct quipu_buf *scratch, struct quipu_error *err)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, event->envelope);
    struct quarantine_row row = {0};
    enum quipu_status status = row_get(txn, &cid, &row, err);
    if (status == QUIPU_OK &&
        (!may_replace(&row, event) || (row.event.is_proven && !verdict->is_proven))) {
        return QUIPU_OK; /* what was proven has its true bytes */
    }
    bool is_there = status == QUIPU_OK;
    if (is_there || status == QUIPU_NOT_FOUND) {
        status = row_encode(event, verdict, scratch, err);
    }
    if (status == QUIPU_OK && verdict->wait.len > 0 && row.wait.len == 0) {
        status = pending_bound(txn, scratch->len, &verdict->max, err);
    }
    /* Another line about the same bytes is never refused. */
    if (status == QUIPU_OK && (!is_there || scratch->len > row.bytes + QUIPU_ERROR_MESSAGE_BYTES)) {
        status = kept_bound(txn, scratch->len - row.bytes, verdict->kept_bytes_max, err);
    }
    if (status == QUIPU_OK && is_there) {
        status = quarantine_delete(txn, &cid, err);
    }
    return status == QUIPU_OK ? row_put(txn, &cid, &verdict->wait, scratch, err) : status;
}

enum quipu_status quarantine_delete(struct quipu_txn *txn, const struct quipu_cid *cid,
                                    struct quipu_error *err)
{
    struct quarantine_row row;
    enum quipu_status status = row_get(txn, cid, &row, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint8_t key[QUIPU_CID_BYTES];
    uint8_t storage[WAITING_KEY_MAX];
    struct quipu_slice waiting = quipu_slice(NULL, 0);
    if (row.wait.len > 0) {
        waiting = waiting_key(row.wait, cid, storage); /* the delete ends row's slices */
    }
    quipu_cid_to_bytes(cid, key);
    status = kept_remove(txn, row.bytes, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_table_delete(txn, TABLE_QUARANTINE, quipu_slice(key, sizeof key), err);
    }
    if (status != QUIPU_OK || waiting.len == 0) {
        return status;
    }
    status = quipu_txn_table_delete(txn, TABLE_WAITING, waiting, err);
    if (status != QUIPU_OK && status != QUIPU_NOT_FOUND) { /* verify tells that it was missing */
        return status;
    }
    return pending_remove(txn, row.bytes, err);
}

/* ------------------------------------------------------------------ public */

/* Visit rows behind `*after` in one transaction. @retval QUIPU_DONE  no more */
static enum quipu_status quarantine_slice(struct quipu_txn *txn, struct quipu_cid *after,
                                          bool *has_after, quipu_quarantine_fn visit, void *ctx,
                                          struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_quarantined event;
        enum quipu_status status = quarantine_next(txn, *has_after ? after : NULL, &event, err);
        if (status != QUIPU_OK) {
            return status;
        }
        *after = event.cid;
        *has_after = true;
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
    struct quipu_cid after;
    bool has_after = false;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = quarantine_slice(txn, &after, &has_after, visit, ctx, err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status quipu_quarantine_drop(struct quipu_engine *engine, const struct quipu_cid *cid,
                                        struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = quarantine_delete(txn, cid, err);
    }
    if (status == QUIPU_OK) {
        return quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    char text[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(cid, text);
    return quipu_error_set(err, QUIPU_NOT_FOUND, "quarantine: %s is not in it", text);
}
