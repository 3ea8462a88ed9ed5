/*
 * Listing conflicts and tips for others. Reads only; the rows are kept by fork_places.c and
 * fork_tips.c.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "engine_impl.h"
#include "forks.h"
#include "slice_budget.h"

/* ------------------------------------------------------------------ conflicts */

static enum quipu_status row_read(struct quipu_txn *txn, struct quipu_slice key,
                                  struct quipu_slice value, struct quipu_fork *out,
                                  struct quipu_error *err)
{
    struct quipu_error why;
    if (quipu_fork_verify(value, out, &why) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "forks: %s", why.message);
    }
    uint8_t cid[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(&out->cid, cid);
    if (!quipu_slice_equal(key, quipu_slice(cid, sizeof cid))) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "forks: a piece of evidence stands under another CID than its own");
    }
    if (out->kind == QUIPU_FORK_SOURCE) {
        return QUIPU_OK;
    }
    bool are_several = false;
    enum quipu_status status = tips_are_several(txn, out->aggregate, &are_several, err);
    out->state = are_several ? QUIPU_FORK_OPEN : QUIPU_FORK_CLOSED;
    return status;
}

/* Visit rows behind `at` in one transaction. @retval QUIPU_DONE  no more, or the visitor ended */
static enum quipu_status forks_slice(struct quipu_txn *txn, struct quipu_buf *at,
                                     quipu_fork_fn visit, void *ctx, struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        struct quipu_slice key;
        struct quipu_slice value;
        struct quipu_fork fork = {0};
        enum quipu_status status = quipu_txn_table_seek(txn, TABLE_FORKS, quipu_buf_slice(at),
                                                        QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_OK) {
            quipu_buf_reset(at);
            quipu_buf_append_slice(at, key);
            status = at->status == QUIPU_OK ? row_read(txn, key, value, &fork, err) : at->status;
        }
        if (status == QUIPU_OK) {
            status = visit(ctx, &fork, err);
        }
        if (status != QUIPU_OK) {
            return status;
        }
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

enum quipu_status quipu_each_fork(struct quipu_engine *engine, quipu_fork_fn visit, void *ctx,
                                  struct quipu_error *err)
{
    uint8_t storage[QUIPU_TABLE_KEY_BYTES_MAX];
    struct quipu_buf at;
    quipu_buf_init_fixed(&at, storage, sizeof storage);
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_read(engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = forks_slice(txn, &at, visit, ctx, err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status count_fork(void *ctx, const struct quipu_fork *fork,
                                    struct quipu_error *err)
{
    (void)err;
    struct quipu_fork_counts *counts = ctx;
    counts->sources += fork->kind == QUIPU_FORK_SOURCE;
    counts->aggregates += fork->kind == QUIPU_FORK_AGGREGATE;
    return QUIPU_OK;
}

/* Aggregates in the table of tips: rows of one begin alike. */
static enum quipu_status open_count(struct quipu_txn *txn, uint64_t *count, struct quipu_error *err)
{
    uint8_t from[QUIPU_SHA256_BYTES + QUIPU_SHA256_BYTES + 1];
    size_t from_len = 0;
    for (;;) {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status = quipu_txn_table_seek(
            txn, TABLE_TIPS, quipu_slice(from, from_len), QUIPU_SEEK_GT, &key, &value, err);
        if (status != QUIPU_OK) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
        if (key.len < QUIPU_SHA256_BYTES) {
            return quipu_error_set(err, QUIPU_CORRUPT, "forks: a tip with a key of %zu bytes",
                                   key.len);
        }
        memcpy(from, key.data, QUIPU_SHA256_BYTES);
        memset(from + QUIPU_SHA256_BYTES, 0xff, sizeof from - QUIPU_SHA256_BYTES);
        from_len = sizeof from;
        ++*count;
    }
}

enum quipu_status quipu_fork_count(struct quipu_engine *engine, struct quipu_fork_counts *out,
                                   struct quipu_error *err)
{
    struct quipu_fork_counts counts = {0};
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_each_fork(engine, count_fork, &counts, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(engine->store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = open_count(txn, &counts.aggregates_open, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        *out = counts;
    }
    return status;
}

enum quipu_status quipu_fork_evidence(struct quipu_engine *engine, const struct quipu_cid *cid,
                                      struct quipu_buf *out, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    uint8_t key[QUIPU_CID_BYTES];
    struct quipu_slice value;
    quipu_cid_to_bytes(cid, key);
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_txn_table_get(txn, TABLE_FORKS, quipu_slice(key, sizeof key), &value, err);
    if (status == QUIPU_OK) {
        quipu_buf_append_slice(out, value);
        if (out->status != QUIPU_OK) {
            status =
                quipu_error_set(err, out->status, "evidence: no room for %zu bytes", value.len);
        }
    } else if (status == QUIPU_NOT_FOUND) {
        char text[QUIPU_CID_TEXT_BYTES];
        quipu_cid_format(cid, text);
        (void)quipu_error_set(err, status, "no conflict has the evidence %s", text);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ tips */

enum quipu_status quipu_each_tip(struct quipu_engine *engine, struct quipu_aggregate aggregate,
                                 quipu_tip_fn visit, void *ctx, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_tip tip;
    uint64_t count = 0;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = tips_list(txn, aggregate, &tip, 1, &count, err);
    }
    while (status == QUIPU_OK) {
        status = visit(ctx, &tip, err);
        if (status == QUIPU_OK) {
            struct quipu_cid at = tip.cid;
            status = count > 1 ? tips_next(txn, aggregate, &at, &tip, err) : QUIPU_DONE;
        }
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
