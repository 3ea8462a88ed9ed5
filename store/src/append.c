/*
 * Appending one event: the record, the aggregate's head, the tail, and from time to time a run.
 *
 *   1. the limits are checked, and the envelope searched for what the header points at
 *   2. the aggregate's head tells the previous position
 *   3. the record goes behind the last one, written straight into LMDB's page
 *   4. the head moves
 *   5. the tail learns the keys; when it is full it becomes a run
 *
 * A failure from step 3 on leaves half an event in the transaction, so it is kept and commit
 * refuses.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>

#include "internal.h"
#include "internal/failpoint.h"
#include "record.h"

static enum quipu_status read_head(struct quipu_txn *txn, struct quipu_slice key_bytes,
                                   struct quipu_head *out, struct quipu_error *err)
{
    MDB_val key = quipu_val_of(key_bytes);
    MDB_val val;
    int code = mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &key, &val);
    if (code == MDB_NOTFOUND) {
        *out = (struct quipu_head){0};
        return QUIPU_OK;
    }
    if (code != 0) {
        return quipu_txn_fail(txn, code, "read a head", err);
    }
    return quipu_head_decode(quipu_slice_of(val), out, err);
}

static enum quipu_status put_record(struct quipu_txn *txn, const struct quipu_record_new *record,
                                    const struct quipu_record_layout *layout, uint64_t position,
                                    struct quipu_error *err)
{
    MDB_dbi dbi = txn->store->dbi[QUIPU_DB_LOG];
    int code = 0;
    if (txn->log_cursor == NULL) {
        code = mdb_cursor_open(txn->mdb, dbi, &txn->log_cursor);
    }
    MDB_val key = quipu_val(&position, sizeof position);
    MDB_val val = quipu_val(NULL, layout->value_bytes);
    if (code == 0) {
        code = mdb_cursor_put(txn->log_cursor, &key, &val, MDB_APPEND | MDB_RESERVE);
    }
    if (code != 0) {
        return quipu_txn_fail(txn, code, "append a record", err);
    }
    quipu_record_encode(record, layout, val.mv_data);
    return QUIPU_OK;
}

static enum quipu_status put_head(struct quipu_txn *txn, struct quipu_slice key_bytes,
                                  const struct quipu_head *head, struct quipu_error *err)
{
    uint8_t bytes[QUIPU_HEAD_VALUE_BYTES];
    quipu_head_encode(head, bytes);
    MDB_val key = quipu_val_of(key_bytes);
    MDB_val val = quipu_val(bytes, sizeof bytes);
    int code = mdb_put(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &key, &val, 0);
    return code == 0 ? QUIPU_OK : quipu_txn_fail(txn, code, "write a head", err);
}

static enum quipu_status index_record(struct quipu_txn *txn, const struct quipu_record_new *record,
                                      uint64_t position, struct quipu_error *err)
{
    struct quipu_tail *tail = &txn->store->writer.tail;
    struct quipu_record indexed = {
        .position = position,
        .event_id = record->event_id,
        .envelope_cid = record->envelope_cid,
        .payload_cid = record->payload_cid,
        .event_type = record->event_type,
        .correlation_id =
            quipu_uuid_is_nil(record->correlation_id) ? record->event_id : record->correlation_id,
    };
    quipu_tail_push(tail, &indexed);
    return tail->count == tail->cap ? quipu_runs_flush(txn, err) : QUIPU_OK;
}

enum quipu_status quipu_txn_append(struct quipu_txn *txn, const struct quipu_record_new *record,
                                   uint64_t *position, struct quipu_error *err)
{
    uint8_t key_bytes[QUIPU_HEAD_KEY_BYTES_MAX];
    struct quipu_slice key = quipu_slice(key_bytes, quipu_head_key(record->aggregate, key_bytes));
    if (key.len == 0) {
        bool is_empty = record->aggregate.type.len == 0 || record->aggregate.id.len == 0;
        return quipu_error_set(err, is_empty ? QUIPU_MISUSE : QUIPU_TOO_LARGE,
                               "aggregate type and id have %zu and %zu bytes, want 1 to %d and %d",
                               record->aggregate.type.len, record->aggregate.id.len,
                               QUIPU_AGGREGATE_TYPE_BYTES_MAX, QUIPU_AGGREGATE_ID_BYTES_MAX);
    }
    struct quipu_record_layout layout;
    enum quipu_status status = quipu_record_plan(record, &layout, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_may_write(txn, 0, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_writer_sync(txn, err);
    }
    struct quipu_head head;
    if (status == QUIPU_OK) {
        status = read_head(txn, key, &head, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }

    struct quipu_error failure;
    status = quipu_failpoint("store.append", &failure);
    if (status != QUIPU_OK) {
        return quipu_txn_fail_with(txn, &failure, err);
    }
    uint64_t next = txn->last_position + 1;
    layout.prev_position = head.position;
    quipu_head_advance(&head, next, record->version, &record->envelope_cid);
    status = put_record(txn, record, &layout, next, err);
    if (status == QUIPU_OK) {
        status = put_head(txn, key, &head, err);
    }
    if (status == QUIPU_OK) {
        txn->last_position = next;
        status = index_record(txn, record, next, err);
    }
    if (status == QUIPU_OK) {
        *position = next;
    }
    return status;
}
