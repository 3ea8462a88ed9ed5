/*
 * The cursors of subscriptions: rows under their names, and the lock of whoever holds one.
 *
 * The named locks of a store take 32 characters of another alphabet, so a subscription's lock is
 * named after the hash of its name.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine_impl.h"
#include "internal/bytes.h"
#include "quipu/sha256.h"
#include "subscription_impl.h"
#include "tables.h"

#define CURSOR_BYTES    16
#define LOCK_HASH_BYTES 12

/* ------------------------------------------------------------------ names */

enum quipu_status subscription_name_check(const char *name, struct quipu_error *err)
{
    size_t len = name == NULL ? 0 : strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    if (len < 1 || len > QUIPU_SUBSCRIPTION_NAME_BYTES_MAX || name[len] != 0) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "name of a subscription: want 1 to %d of a-z, 0-9, _ and -",
                               QUIPU_SUBSCRIPTION_NAME_BYTES_MAX);
    }
    return QUIPU_OK;
}

enum quipu_status subscription_hold(struct quipu_engine *engine, const char *name,
                                    struct quipu_store_lock **out, struct quipu_error *err)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(quipu_slice_text(name), digest);
    char lock[sizeof "sub-" + 2 * LOCK_HASH_BYTES] = "sub-";
    for (size_t i = 0; i < LOCK_HASH_BYTES; i++) {
        (void)snprintf(lock + 4 + 2 * i, 3, "%02x", digest[i]); /* fits */
    }
    enum quipu_status status = quipu_store_lock_take(engine->store, lock, out, err);
    return status == QUIPU_OK ? status : quipu_error_wrap(err, status, "subscription %s", name);
}

/* ------------------------------------------------------------------ rows */

static enum quipu_status cursor_decode(struct quipu_slice name, struct quipu_slice value,
                                       struct quipu_subscription_cursor *out,
                                       struct quipu_error *err)
{
    if (value.len != CURSOR_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "subscription %.*s: a cursor of %zu bytes, expected %d",
                               QUIPU_SLICE_FMT(name), value.len, CURSOR_BYTES);
    }
    out->name = name;
    out->position = quipu_load_be64(value.data);
    out->acknowledged_unix_us = (int64_t)quipu_load_be64(value.data + 8);
    out->behind = 0;
    return QUIPU_OK;
}

enum quipu_status subscription_cursor_get(struct quipu_txn *txn, const char *name,
                                          uint64_t *position, struct quipu_error *err)
{
    struct quipu_slice key = quipu_slice_text(name);
    struct quipu_slice value;
    struct quipu_subscription_cursor cursor = {0};
    enum quipu_status status = quipu_txn_table_get(txn, TABLE_SUBSCRIPTIONS, key, &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return quipu_error_set(err, status, "there is no subscription %s", name);
    }
    if (status == QUIPU_OK) {
        status = cursor_decode(key, value, &cursor, err);
    }
    if (status == QUIPU_OK) {
        *position = cursor.position;
    }
    return status;
}

enum quipu_status subscription_cursor_put(struct quipu_engine *engine, struct quipu_txn *txn,
                                          const char *name, uint64_t position,
                                          struct quipu_error *err)
{
    uint8_t value[CURSOR_BYTES];
    quipu_store_be64(value, position);
    quipu_store_be64(value + 8, (uint64_t)engine->clock.unix_us(engine->clock.ctx));
    return quipu_txn_table_put(txn, TABLE_SUBSCRIPTIONS, quipu_slice_text(name),
                               quipu_slice(value, sizeof value), err);
}

/* ------------------------------------------------------------------ acknowledging */

static enum quipu_status acknowledge_check(const struct quipu_subscription *subscription,
                                           uint64_t position, struct quipu_error *err)
{
    if (subscription->lock == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a subscription without a name has no cursor to move");
    }
    if (position > subscription->handed) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "subscription %s: position %" PRIu64
                               " is acknowledged, but the last one handed out is %" PRIu64,
                               subscription->name, position, subscription->handed);
    }
    return QUIPU_OK;
}

/* Behind the last event that was handed out the filter may have left events out: up to the next one
 * in the buffer, or as far as the log was looked at. */
static uint64_t reached(const struct quipu_subscription *subscription, uint64_t position)
{
    if (position != subscription->handed) {
        return position;
    }
    uint64_t to = subscription->events_next < subscription->events_len
                      ? subscription->events[subscription->events_next].position - 1
                      : subscription->looked;
    return to > position ? to : position;
}

/* Store the cursor in `txn`, where it moves forwards. */
static enum quipu_status cursor_move(struct quipu_subscription *subscription, struct quipu_txn *txn,
                                     uint64_t to, struct quipu_error *err)
{
    uint64_t stored = 0;
    enum quipu_status status = subscription_cursor_get(txn, subscription->name, &stored, err);
    if (status != QUIPU_OK || to <= stored) {
        return status;
    }
    return subscription_cursor_put(subscription->engine, txn, subscription->name, to, err);
}

/* Store it in a transaction of its own. */
static enum quipu_status cursor_commit(struct quipu_subscription *subscription, uint64_t to,
                                       struct quipu_error *err)
{
    if (to <= subscription->cursor) {
        return QUIPU_OK;
    }
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(subscription->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = cursor_move(subscription, txn, to, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    if (status == QUIPU_OK) {
        subscription->cursor = to;
    }
    return status;
}

enum quipu_status quipu_subscription_acknowledge_within(struct quipu_subscription *subscription,
                                                        struct quipu_txn *txn, uint64_t position,
                                                        struct quipu_error *err)
{
    enum quipu_status status = acknowledge_check(subscription, position, err);
    if (status != QUIPU_OK || position <= subscription->cursor) {
        return status;
    }
    return cursor_move(subscription, txn, reached(subscription, position), err);
}

enum quipu_status quipu_subscription_acknowledge(struct quipu_subscription *subscription,
                                                 uint64_t position, struct quipu_error *err)
{
    enum quipu_status status = acknowledge_check(subscription, position, err);
    if (status != QUIPU_OK || position <= subscription->cursor) {
        return status;
    }
    return cursor_commit(subscription, reached(subscription, position), err);
}

enum quipu_status quipu_subscription_acknowledge_all(struct quipu_subscription *subscription,
                                                     struct quipu_error *err)
{
    enum quipu_status status = acknowledge_check(subscription, subscription->handed, err);
    if (status != QUIPU_OK) {
        return status;
    }
    return cursor_commit(subscription, reached(subscription, subscription->handed), err);
}

/* ------------------------------------------------------------------ cursors by name */

enum quipu_status subscription_each_in(struct quipu_txn *txn, quipu_subscription_cursor_fn visit,
                                       void *ctx, struct quipu_error *err)
{
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status =
        quipu_table_walk_open(txn, TABLE_SUBSCRIPTIONS, quipu_slice(NULL, 0), &walk, err);
    uint64_t last = quipu_txn_last_position(txn);
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        struct quipu_subscription_cursor cursor;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            status = cursor_decode(key, value, &cursor, err);
        }
        if (status == QUIPU_OK) {
            cursor.behind = cursor.position < last ? last - cursor.position : 0;
            status = visit(ctx, &cursor, err);
        }
    }
    quipu_table_walk_close(&walk);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

enum quipu_status quipu_each_subscription(struct quipu_engine *engine,
                                          quipu_subscription_cursor_fn visit, void *ctx,
                                          struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = subscription_each_in(txn, visit, ctx, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Asked before the lock is taken, which makes a file. @retval QUIPU_NOT_FOUND */
static enum quipu_status cursor_is_there(struct quipu_engine *engine, const char *name,
                                         struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    uint64_t position = 0;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = subscription_cursor_get(txn, name, &position, err);
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_CORRUPT ? QUIPU_OK : status;
}

/* Change the row of a subscription that nobody holds: to `position`, or delete it. */
static enum quipu_status cursor_change(struct quipu_engine *engine, const char *name,
                                       const uint64_t *position, struct quipu_error *err)
{
    struct quipu_store_lock *lock = NULL;
    struct quipu_txn *txn = NULL;
    uint64_t before;
    bool is_gone = false; /* then its lock's file is not needed either */
    enum quipu_status status = subscription_name_check(name, err);
    if (status == QUIPU_OK) {
        status = cursor_is_there(engine, name, err);
    }
    if (status == QUIPU_OK) {
        status = subscription_hold(engine, name, &lock, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_write(engine->store, &txn, err);
    }
    if (status != QUIPU_OK) {
        goto done;
    }
    status = subscription_cursor_get(txn, name, &before, err);
    is_gone = status == QUIPU_NOT_FOUND;
    if (status == QUIPU_CORRUPT) {
        status = QUIPU_OK; /* a damaged row is what this is the cure for */
    }
    if (status == QUIPU_OK && position == NULL) {
        status = quipu_txn_table_delete(txn, TABLE_SUBSCRIPTIONS, quipu_slice_text(name), err);
    } else if (status == QUIPU_OK && *position > quipu_txn_last_position(txn)) {
        status = quipu_error_set(err, QUIPU_INVALID,
                                 "subscription %s: position %" PRIu64
                                 " is beyond the log's end, %" PRIu64,
                                 name, *position, quipu_txn_last_position(txn));
    } else if (status == QUIPU_OK) {
        status = subscription_cursor_put(engine, txn, name, *position, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
        is_gone = status == QUIPU_OK && position == NULL;
    }
done:
    quipu_txn_abort(&txn);
    if (is_gone) {
        quipu_store_lock_remove(&lock);
    } else {
        quipu_store_lock_release(&lock);
    }
    return status;
}

enum quipu_status quipu_subscription_reset(struct quipu_engine *engine, const char *name,
                                           uint64_t position, struct quipu_error *err)
{
    return cursor_change(engine, name, &position, err);
}

enum quipu_status quipu_subscription_drop(struct quipu_engine *engine, const char *name,
                                          struct quipu_error *err)
{
    return cursor_change(engine, name, NULL, err);
}
