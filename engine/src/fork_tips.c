/*
 * Tips: the events of an aggregate that none of its events here names in prev. An aggregate without
 * an open conflict has one, its head, and no rows; rows exist exactly while there are several.
 *
 * Key: SHA-256(type ‖ 00 ‖ id) ‖ digest of the envelope; value: u64 position ‖ u64 version.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "event_at.h"
#include "forks.h"
#include "internal/bytes.h"

#define TIP_KEY_BYTES   (2 * QUIPU_SHA256_BYTES)
#define TIP_VALUE_BYTES 16
#define TIPS_NAMED_MAX  4

void tips_aggregate_hash(struct quipu_aggregate aggregate, uint8_t out[QUIPU_SHA256_BYTES])
{
    fork_hash_pair(aggregate.type, aggregate.id, out);
}

static struct quipu_slice tip_key(struct quipu_aggregate aggregate, const struct quipu_cid *cid,
                                  uint8_t key[TIP_KEY_BYTES])
{
    tips_aggregate_hash(aggregate, key);
    memcpy(key + QUIPU_SHA256_BYTES, cid->digest, sizeof cid->digest);
    return quipu_slice(key, TIP_KEY_BYTES);
}

/* ------------------------------------------------------------------ reading */

enum quipu_status tip_read(struct quipu_slice key, struct quipu_slice value, struct quipu_tip *out,
                           struct quipu_error *err)
{
    if (key.len != TIP_KEY_BYTES || value.len != TIP_VALUE_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT, "forks: a tip of %zu and %zu bytes", key.len,
                               value.len);
    }
    out->cid.codec = QUIPU_CODEC_DAG_CBOR;
    memcpy(out->cid.digest, key.data + QUIPU_SHA256_BYTES, sizeof out->cid.digest);
    out->position = quipu_load_be64(value.data);
    out->version = quipu_load_be64(value.data + 8);
    return QUIPU_OK;
}

enum quipu_status tips_next(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                            const struct quipu_cid *after, struct quipu_tip *out,
                            struct quipu_error *err)
{
    uint8_t from[TIP_KEY_BYTES] = {0};
    struct quipu_slice key;
    struct quipu_slice value;
    tips_aggregate_hash(aggregate, from);
    if (after != NULL) {
        memcpy(from + QUIPU_SHA256_BYTES, after->digest, sizeof after->digest);
    }
    enum quipu_status status = quipu_txn_table_seek(
        txn, TABLE_TIPS, quipu_slice(from, after == NULL ? QUIPU_SHA256_BYTES : sizeof from),
        after == NULL ? QUIPU_SEEK_GE : QUIPU_SEEK_GT, &key, &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (key.len < QUIPU_SHA256_BYTES || memcmp(key.data, from, QUIPU_SHA256_BYTES) != 0) {
        return QUIPU_DONE;
    }
    return tip_read(key, value, out, err);
}

enum quipu_status tips_are_several(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                   bool *are_several, struct quipu_error *err)
{
    struct quipu_tip tip;
    enum quipu_status status = tips_next(txn, aggregate, NULL, &tip, err);
    *are_several = status == QUIPU_OK;
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status tips_have(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                            const struct quipu_head *head, const struct quipu_cid *cid,
                            bool *is_tip, struct quipu_error *err)
{
    /* What was written last has nobody behind it yet. */
    *is_tip = quipu_cid_equal(cid, &head->envelope_cid);
    if (*is_tip || !head->has_fork) {
        return QUIPU_OK;
    }
    uint8_t key[TIP_KEY_BYTES];
    struct quipu_slice value;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_TIPS, tip_key(aggregate, cid, key), &value, err);
    *is_tip = status == QUIPU_OK;
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

enum quipu_status tips_list(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                            struct quipu_tip *out, uint64_t cap, uint64_t *count,
                            struct quipu_error *err)
{
    struct quipu_head head;
    enum quipu_status status = quipu_txn_head(txn, aggregate, &head, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_tip tip;
    uint64_t found = 0;
    status = tips_next(txn, aggregate, NULL, &tip, err);
    while (status == QUIPU_OK) {
        if (found < cap) {
            out[found] = tip;
        }
        found++;
        struct quipu_cid at = tip.cid;
        status = tips_next(txn, aggregate, &at, &tip, err);
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    if (found == 1) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "aggregate %.*s/%.*s: one tip of several is left in the table of "
                               "tips; run `quipu verify`",
                               QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
    }
    if (found == 0 && cap > 0) {
        out[0] = (struct quipu_tip){head.envelope_cid, head.position, head.version};
    }
    *count = found == 0 ? 1 : found;
    return QUIPU_OK;
}

enum quipu_status tips_refuse_several(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                      struct quipu_error *err)
{
    struct quipu_tip tips[TIPS_NAMED_MAX];
    uint64_t count = 0;
    enum quipu_status status = tips_list(txn, aggregate, tips, TIPS_NAMED_MAX, &count, err);
    if (status != QUIPU_OK || count < 2) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    char first[QUIPU_CID_TEXT_BYTES];
    char second[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&tips[0].cid, first);
    quipu_cid_format(&tips[1].cid, second);
    return quipu_error_set(err, QUIPU_FORK,
                           "aggregate %.*s/%.*s has %" PRIu64 " tips: %s of version %" PRIu64
                           ", %s of version %" PRIu64 "%s; join them by a merge (`quipu merge`)",
                           QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id), count,
                           first, tips[0].version, second, tips[1].version, count > 2 ? ", …" : "");
}

/* ------------------------------------------------------------------ are they true */

enum quipu_status tips_head_check(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                  const struct quipu_head *head, struct quipu_error *err)
{
    struct quipu_slice key;
    struct quipu_slice value;
    bool are_several = false;
    if (head->has_fork || head->position == 0) {
        return QUIPU_OK;
    }
    /* Mostly no aggregate has any, which takes no hash to see. */
    enum quipu_status status = quipu_txn_table_seek(txn, TABLE_TIPS, quipu_slice(NULL, 0),
                                                    QUIPU_SEEK_GE, &key, &value, err);
    if (status == QUIPU_OK) {
        status = tips_are_several(txn, aggregate, &are_several, err);
    }
    if (are_several) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "head of %.*s/%.*s says that there is no fork, but it has several "
                               "tips; run `quipu verify --repair-indexes`",
                               QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status tip_record_check(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                   const struct quipu_tip *tip, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, tip->position, &record, err);
    bool is_true = status == QUIPU_OK && quipu_cid_equal(&record.envelope_cid, &tip->cid) &&
                   record.version == tip->version && aggregate_equal(&record.aggregate, &aggregate);
    if (is_true || (status != QUIPU_OK && status != QUIPU_NOT_FOUND)) {
        return status;
    }
    return quipu_error_set(err, QUIPU_CORRUPT,
                           "aggregate %.*s/%.*s: position %" PRIu64
                           " is not the event that its table of tips names; run `quipu verify`",
                           QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id),
                           tip->position);
}

/* ------------------------------------------------------------------ writing */

static enum quipu_status tip_put(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                 const struct quipu_tip *tip, struct quipu_error *err)
{
    uint8_t key[TIP_KEY_BYTES];
    uint8_t value[TIP_VALUE_BYTES];
    quipu_store_be64(value, tip->position);
    quipu_store_be64(value + 8, tip->version);
    return quipu_txn_table_put(txn, TABLE_TIPS, tip_key(aggregate, &tip->cid, key),
                               quipu_slice(value, sizeof value), err);
}

static enum quipu_status tip_delete(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                    const struct quipu_cid *cid, struct quipu_error *err)
{
    uint8_t key[TIP_KEY_BYTES];
    enum quipu_status status =
        quipu_txn_table_delete(txn, TABLE_TIPS, tip_key(aggregate, cid, key), err);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status; /* it was no tip */
}

enum quipu_status tips_advance(struct quipu_txn *txn, const struct quipu_envelope *envelope,
                               const struct quipu_head *before, const struct quipu_tip *tip,
                               struct quipu_error *err)
{
    struct quipu_aggregate aggregate = {envelope->aggregate_type, envelope->aggregate_id};
    struct quipu_tip old = {before->envelope_cid, before->position, before->version};
    struct quipu_tip first;
    struct quipu_tip second;
    bool are_several = false;
    enum quipu_status status = tips_are_several(txn, aggregate, &are_several, err);
    if (status == QUIPU_OK && !are_several && before->position != 0) {
        status = tip_put(txn, aggregate, &old, err);
    }
    for (size_t i = 0; status == QUIPU_OK && i < envelope->prev_count; i++) {
        status = tip_delete(txn, aggregate, &envelope->prev[i], err);
    }
    if (status == QUIPU_OK) {
        status = tip_put(txn, aggregate, tip, err);
    }
    if (status == QUIPU_OK) {
        status = tips_next(txn, aggregate, NULL, &first, err);
    }
    if (status == QUIPU_OK) {
        status = tips_next(txn, aggregate, &first.cid, &second, err);
    }
    /* One is left: it needs no row, and it is the head. */
    return status == QUIPU_DONE ? tip_delete(txn, aggregate, &tip->cid, err) : status;
}
