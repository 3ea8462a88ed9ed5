/*
 * Heads: the last event of each aggregate. SPEC §6.4.
 *
 *   0  u64  version of the last event          16  u64  position of the last event
 *   8  u64  greatest version | has_fork << 63  24  [32] digest of its envelope
 *
 * SPDX-License-Identifier: Apache-2.0
 */
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

enum quipu_status quipu_txn_head(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                 struct quipu_head *out, struct quipu_error *err)
{
    uint8_t bytes[QUIPU_HEAD_KEY_BYTES_MAX];
    size_t len = quipu_head_key(aggregate, bytes);
    MDB_val key = quipu_val(bytes, len);
    MDB_val val;
    int code =
        len == 0 ? MDB_NOTFOUND : mdb_get(txn->mdb, txn->store->dbi[QUIPU_DB_HEAD], &key, &val);
    if (code == MDB_NOTFOUND) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "no event of the aggregate %.*s/%.*s",
                               QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
    }
    if (code != 0) {
        return quipu_lmdb_error(err, code, "%s: read a head", txn->store->path);
    }
    struct quipu_head head;
    enum quipu_status status = quipu_head_decode(quipu_slice_of(val), &head, err);
    if (status == QUIPU_OK && (head.position == 0 || head.position > txn->last_position)) {
        status = quipu_error_set(err, QUIPU_CORRUPT,
                                 "head of %.*s/%.*s is at a position that does not exist",
                                 QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
    }
    if (status == QUIPU_OK) {
        *out = head;
    }
    return status;
}
