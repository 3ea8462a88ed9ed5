/*
 * Heads: the last event of each aggregate. SPEC §6.4.
 *
 *   0  u64  version of the last event          16  u64  position of the last event
 *   8  u64  greatest version | has_fork << 63  24  [32] digest of its envelope
 *
 * A head is read with the record that it names, and what does not agree is CORRUPT. Not seen so:
 * has_fork where it alone is wrong (the engine holds it against its tips), and the greatest version
 * of an aggregate with a fork, which nobody decides by.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "internal.h"
#include "internal/bytes.h"
#include "record.h"

#define FORK_BIT (UINT64_C(1) << 63)

void quipu_head_advance(struct quipu_head *head, uint64_t position, uint64_t version,
                        const struct quipu_cid *envelope_cid)
{
    head->has_fork = head->has_fork || (head->position != 0 && version != head->version + 1);
    head->version_max = version > head->version_max ? version : head->version_max;
    head->version = version;
    head->position = position;
    head->envelope_cid = *envelope_cid;
}

void quipu_head_encode(const struct quipu_head *head, uint8_t out[QUIPU_HEAD_VALUE_BYTES])
{
    quipu_store_be64(out, head->version);
    quipu_store_be64(out + 8, head->version_max | (head->has_fork ? FORK_BIT : 0));
    quipu_store_be64(out + 16, head->position);
    memcpy(out + 24, head->envelope_cid.digest, sizeof head->envelope_cid.digest);
}

enum quipu_status quipu_head_decode(struct quipu_slice value, struct quipu_head *out,
                                    struct quipu_error *err)
{
    if (value.len != QUIPU_HEAD_VALUE_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT, "head of an aggregate has %zu bytes, want %d",
                               value.len, QUIPU_HEAD_VALUE_BYTES);
    }
    out->version = quipu_load_be64(value.data);
    out->version_max = quipu_load_be64(value.data + 8) & ~FORK_BIT;
    out->has_fork = (quipu_load_be64(value.data + 8) & FORK_BIT) != 0;
    out->position = quipu_load_be64(value.data + 16);
    out->envelope_cid.codec = QUIPU_CODEC_DAG_CBOR;
    memcpy(out->envelope_cid.digest, value.data + 24, sizeof out->envelope_cid.digest);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ is it true */

static enum quipu_status head_is_wrong(struct quipu_aggregate aggregate, uint64_t position,
                                       const char *why, struct quipu_error *err)
{
    return quipu_error_set(
        err, QUIPU_CORRUPT,
        "head of %.*s/%.*s leads to position %" PRIu64 ", %s; run `quipu verify --repair-indexes`",
        QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id), position, why);
}

/* A head is in no hash, and what is believed of it goes into the next event for good: so it is held
 * against the record that it names. */
static enum quipu_status check_head(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                    const struct quipu_head *head, struct quipu_error *err)
{
    if (head->position == 0 || head->position > txn->last_position) {
        return head_is_wrong(aggregate, head->position, "which does not exist", err);
    }
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, head->position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!quipu_aggregate_equal(record.aggregate, aggregate)) {
        return head_is_wrong(aggregate, head->position, "which is of another aggregate", err);
    }
    if (record.version != head->version ||
        !quipu_cid_equal(&record.envelope_cid, &head->envelope_cid)) {
        return head_is_wrong(aggregate, head->position, "which is another version or envelope",
                             err);
    }
    /* Without a fork each version is the greatest. */
    bool is_possible =
        head->has_fork ? head->version_max >= head->version : head->version_max == head->version;
    return is_possible ? QUIPU_OK
                       : head_is_wrong(aggregate, head->position,
                                       "whose version is not the greatest that it says", err);
}

/* In the order of the heads' keys. */
static int compare_keys(MDB_val a, MDB_val b)
{
    size_t len = a.mv_size < b.mv_size ? a.mv_size : b.mv_size;
    int order = memcmp(a.mv_data, b.mv_data, len);
    return order != 0 ? order : (a.mv_size > b.mv_size) - (a.mv_size < b.mv_size);
}

/* A head beside the place where another one was looked for: is it there by right? */
static enum quipu_status check_neighbour(struct quipu_txn *txn, MDB_val key, MDB_val value,
                                         bool is_in_order, struct quipu_error *err)
{
    const uint8_t *bytes = key.mv_data;
    size_t type_bytes = key.mv_size > 0 ? bytes[0] : 0;
    if (!is_in_order || type_bytes == 0 || key.mv_size < type_bytes + 2) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "%s: a head's key is damaged; run `quipu verify --repair-indexes`",
                               txn->store->path);
    }
    struct quipu_aggregate aggregate = {
        quipu_slice(bytes + 1, type_bytes),
        quipu_slice(bytes + 1 + type_bytes, key.mv_size - 1 - type_bytes),
    };
    struct quipu_head head;
    enum quipu_status status = quipu_head_decode(quipu_slice_of(value), &head, err);
    return status == QUIPU_OK ? check_head(txn, aggregate, &head, err) : status;
}

/* No head has this key. One that has another since a disk changed it still lies where the search
 * for its old one ends, so it is a neighbour of that place. */
static enum quipu_status check_neighbours(struct quipu_txn *txn, MDB_val wanted,
                                          struct quipu_error *err)
{
    MDB_cursor *cursor = NULL;
    MDB_val key = wanted;
    MDB_val val;
    enum quipu_status status = QUIPU_OK;
    int code = mdb_cursor_open(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &cursor);
    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &val, MDB_SET_RANGE);
        bool is_there = code == 0;
        if (is_there) {
            status = check_neighbour(txn, key, val, compare_keys(key, wanted) > 0, err);
        }
        if (status == QUIPU_OK && (is_there || code == MDB_NOTFOUND)) {
            code = mdb_cursor_get(cursor, &key, &val, is_there ? MDB_PREV : MDB_LAST);
            if (code == 0) {
                status = check_neighbour(txn, key, val, compare_keys(key, wanted) < 0, err);
            }
        }
        mdb_cursor_close(cursor);
    }
    return code == 0 || code == MDB_NOTFOUND
               ? status
               : quipu_lmdb_error(err, code, "%s: read a head", txn->store->path);
}

/* ------------------------------------------------------------------ reading */

enum quipu_status quipu_txn_head(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                 struct quipu_head *out, struct quipu_error *err)
{
    uint8_t bytes[QUIPU_HEAD_KEY_BYTES_MAX];
    size_t len = quipu_head_key(aggregate, bytes);
    MDB_val key = quipu_val(bytes, len);
    MDB_val val;
    int code =
        len == 0 ? MDB_NOTFOUND : mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &key, &val);
    enum quipu_status status = QUIPU_OK;
    if (code == MDB_NOTFOUND) {
        /* An append goes on without: events of unlike aggregates are read for it, which need not be
         * in memory, and most appends of a first event would wait for them. */
        if (len != 0 && !txn->is_write) {
            status = check_neighbours(txn, key, err);
        }
        return status != QUIPU_OK
                   ? status
                   : quipu_error_set(err, QUIPU_NOT_FOUND, "no event of the aggregate %.*s/%.*s",
                                     QUIPU_SLICE_FMT(aggregate.type),
                                     QUIPU_SLICE_FMT(aggregate.id));
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read a head", txn->store->path);
    }
    struct quipu_head head;
    status = quipu_head_decode(quipu_slice_of(val), &head, err);
    if (status == QUIPU_OK) {
        status = check_head(txn, aggregate, &head, err);
    }
    if (status == QUIPU_OK) {
        *out = head;
    }
    return status;
}
