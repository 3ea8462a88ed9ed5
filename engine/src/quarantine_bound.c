/*
 * How much is in quarantine: the events that wait for others and the bytes of their rows, and the
 * bytes of all rows, whatever they are there for. Both are bounded, since others decide what comes.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quarantine_bound.h"

#include <inttypes.h>

#include "tables.h"

enum quipu_status quarantine_pending_get(struct quipu_txn *txn, struct quarantine_pending *out,
                                         struct quipu_error *err)
{
    struct quarantine_pending pending = {0};
    enum quipu_status status = meta_get_u64(txn, META_PENDING, &pending.events, err);
    if (status == QUIPU_OK) {
        status = meta_get_u64(txn, META_PENDING_BYTES, &pending.bytes, err);
    }
    if (status == QUIPU_OK) {
        *out = pending;
    }
    return status;
}

static enum quipu_status pending_put(struct quipu_txn *txn,
                                     const struct quarantine_pending *pending,
                                     struct quipu_error *err)
{
    enum quipu_status status = meta_put_u64(txn, META_PENDING, pending->events, err);
    return status == QUIPU_OK ? meta_put_u64(txn, META_PENDING_BYTES, pending->bytes, err) : status;
}

/* May one more of `bytes` wait? */
enum quipu_status pending_bound(struct quipu_txn *txn, uint64_t bytes,
                                const struct quarantine_pending *max, struct quipu_error *err)
{
    struct quarantine_pending pending;
    enum quipu_status status = quarantine_pending_get(txn, &pending, err);
    if (status != QUIPU_OK || max->events == 0 ||
        (pending.events < max->events && pending.bytes <= max->bytes &&
         bytes <= max->bytes - pending.bytes)) {
        return status;
    }
    return quipu_error_set(err, QUIPU_TOO_LARGE,
                           "quarantine: %" PRIu64 " events of %" PRIu64
                           " bytes wait for others, at "
                           "most %" PRIu64 " of %" PRIu64 " may; bring in what they wait for, drop "
                           "some, or allow more",
                           pending.events, pending.bytes, max->events, max->bytes);
}

enum quipu_status pending_add(struct quipu_txn *txn, uint64_t bytes, struct quipu_error *err)
{
    struct quarantine_pending pending;
    enum quipu_status status = quarantine_pending_get(txn, &pending, err);
    if (status != QUIPU_OK) {
        return status;
    }
    pending.events++;
    pending.bytes += bytes;
    return pending_put(txn, &pending, err);
}

enum quipu_status pending_remove(struct quipu_txn *txn, uint64_t bytes, struct quipu_error *err)
{
    struct quarantine_pending pending;
    enum quipu_status status = quarantine_pending_get(txn, &pending, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (pending.events == 0 || pending.bytes < bytes) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: the store counts %" PRIu64 " waiting events of %" PRIu64
                               " bytes, one of %" PRIu64 " bytes leaves",
                               pending.events, pending.bytes, bytes);
    }
    pending.events--;
    pending.bytes -= bytes;
    return pending_put(txn, &pending, err);
}

/* ------------------------------------------------------------------ all rows */

static enum quipu_status kept_walk(struct quipu_txn *txn, uint64_t *bytes, struct quipu_error *err)
{
    struct quipu_table_walk *walk = NULL;
    uint64_t found = 0;
    enum quipu_status status =
        quipu_table_walk_open(txn, TABLE_QUARANTINE, quipu_slice(NULL, 0), &walk, err);
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        found += status == QUIPU_OK ? value.len : 0;
    }
    quipu_table_walk_close(&walk);
    if (status != QUIPU_DONE) {
        return status;
    }
    *bytes = found;
    return QUIPU_OK;
}

/* A store from before this was counted says 0: there the rows are counted, once. */
static enum quipu_status kept_get(struct quipu_txn *txn, uint64_t *bytes, struct quipu_error *err)
{
    uint64_t found = 0;
    enum quipu_status status = meta_get_u64(txn, META_KEPT_BYTES, &found, err);
    if (status == QUIPU_OK && found == 0) {
        status = kept_walk(txn, &found, err);
    }
    if (status == QUIPU_OK) {
        *bytes = found;
    }
    return status;
}

enum quipu_status kept_bound(struct quipu_txn *txn, uint64_t more, uint64_t max,
                             struct quipu_error *err)
{
    uint64_t bytes = 0;
    enum quipu_status status = kept_get(txn, &bytes, err);
    if (status != QUIPU_OK || max == 0 || (bytes <= max && more <= max - bytes)) {
        return status;
    }
    return quipu_error_set(err, QUIPU_TOO_LARGE,
                           "quarantine: it holds %" PRIu64 " bytes, %" PRIu64
                           " more are beyond the %" PRIu64
                           " that it may hold; look at them (quipu quarantine list), drop some, or "
                           "allow more",
                           bytes, more, max);
}

enum quipu_status kept_add(struct quipu_txn *txn, uint64_t bytes, struct quipu_error *err)
{
    uint64_t kept = 0;
    enum quipu_status status = kept_get(txn, &kept, err);
    return status == QUIPU_OK ? meta_put_u64(txn, META_KEPT_BYTES, kept + bytes, err) : status;
}

enum quipu_status kept_remove(struct quipu_txn *txn, uint64_t bytes, struct quipu_error *err)
{
    uint64_t kept = 0;
    enum quipu_status status = kept_get(txn, &kept, err);
    if (status == QUIPU_OK && kept < bytes) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: the store counts %" PRIu64
                               " bytes in it, a row of %" PRIu64 " leaves",
                               kept, bytes);
    }
    return status == QUIPU_OK ? meta_put_u64(txn, META_KEPT_BYTES, kept - bytes, err) : status;
}

enum quipu_status quarantine_counts_check(struct quipu_txn *txn,
                                          const struct quarantine_pending *pending,
                                          uint64_t kept_bytes, struct quipu_error *err)
{
    struct quarantine_pending stored;
    uint64_t kept = 0;
    enum quipu_status status = quarantine_pending_get(txn, &stored, err);
    if (status == QUIPU_OK &&
        (stored.events != pending->events || stored.bytes != pending->bytes)) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: the store counts %" PRIu64 " waiting events of %" PRIu64
                               " bytes, there are %" PRIu64 " of %" PRIu64,
                               stored.events, stored.bytes, pending->events, pending->bytes);
    }
    if (status == QUIPU_OK) {
        status = kept_get(txn, &kept, err);
    }
    if (status == QUIPU_OK && kept != kept_bytes) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "quarantine: the store counts %" PRIu64
                               " bytes in it, there are %" PRIu64,
                               kept, kept_bytes);
    }
    return status;
}
