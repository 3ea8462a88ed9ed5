/*
 * Key, the CID of an event in quarantine; value, 8 bytes of when to ask for its payload again
 * (microseconds since 1970 UTC) and 8 bytes of how often that was in vain, both big-endian.
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "pull_retries.h"

#include <string.h>

#include "internal/bytes.h"
#include "pull_place.h"
#include "quipu/alloc.h"

#define RETRY_BYTES   16
#define CAP_FIRST     64
#define DOUBLINGS_MAX 20

/* Place of the first key that is not smaller. */
static size_t lower_bound(const struct retries *retries, const uint8_t key[QUIPU_CID_BYTES])
{
    size_t from = 0;
    size_t to = retries->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (memcmp(retries->list[middle].key, key, QUIPU_CID_BYTES) < 0) {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    return from;
}

static bool is_at(const struct retries *retries, size_t at, const uint8_t key[QUIPU_CID_BYTES])
{
    return at < retries->count && memcmp(retries->list[at].key, key, QUIPU_CID_BYTES) == 0;
}

struct retry *quipu_retries_find(const struct retries *retries, const struct quipu_cid *event)
{
    uint8_t key[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(event, key);
    size_t at = lower_bound(retries, key);
    return is_at(retries, at, key) ? &retries->list[at] : NULL;
}

bool quipu_retry_is_due(const struct retry *retry, int64_t now_unix_us)
{
    return now_unix_us >= retry->next_unix_us || retry->next_unix_us - now_unix_us > RETRY_MAX_US;
}

/* A new row at `at`, its key set. */
static enum quipu_status insert(struct retries *retries, size_t at,
                                const uint8_t key[QUIPU_CID_BYTES], struct quipu_error *err)
{
    if (retries->count == retries->cap) {
        size_t cap = retries->cap == 0 ? CAP_FIRST : retries->cap * 2;
        struct retry *list = quipu_realloc(retries->list, cap, sizeof *list);
        if (list == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory listing missing payloads");
        }
        retries->list = list;
        retries->cap = cap;
    }
    memmove(retries->list + at + 1, retries->list + at,
            (retries->count - at) * sizeof *retries->list);
    retries->list[at] = (struct retry){.tries = 0};
    memcpy(retries->list[at].key, key, QUIPU_CID_BYTES);
    retries->count++;
    return QUIPU_OK;
}

enum quipu_status quipu_retries_note(struct retries *retries, const struct quipu_cid *event,
                                     int64_t now_unix_us, struct quipu_error *err)
{
    uint8_t key[QUIPU_CID_BYTES];
    quipu_cid_to_bytes(event, key);
    size_t at = lower_bound(retries, key);
    enum quipu_status status = is_at(retries, at, key) ? QUIPU_OK : insert(retries, at, key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct retry *retry = &retries->list[at];
    int64_t pause_us = RETRY_FIRST_US
                       << (retry->tries < DOUBLINGS_MAX ? retry->tries : DOUBLINGS_MAX);
    retry->next_unix_us = now_unix_us + (pause_us < RETRY_MAX_US ? pause_us : RETRY_MAX_US);
    retry->tries++;
    retry->is_changed = true;
    retry->is_wanted = true;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ the table */

static enum quipu_status take_row(struct retries *retries, struct quipu_slice key,
                                  struct quipu_slice value, struct quipu_error *err)
{
    if (key.len != QUIPU_CID_BYTES || value.len != RETRY_BYTES) {
        return quipu_error_set(err, QUIPU_CORRUPT,
                               "a row about a missing payload has %zu and %zu bytes, not %d and %d",
                               key.len, value.len, QUIPU_CID_BYTES, RETRY_BYTES);
    }
    enum quipu_status status = insert(retries, retries->count, key.data, err);
    if (status == QUIPU_OK) {
        struct retry *retry = &retries->list[retries->count - 1];
        uint64_t next = quipu_load_be64(value.data);
        retry->next_unix_us = next > INT64_MAX ? INT64_MAX : (int64_t)next;
        retry->tries = quipu_load_be64(value.data + 8);
    }
    return status;
}

enum quipu_status quipu_retries_load(struct retries *retries, struct quipu_engine *engine,
                                     struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(engine), &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_table_walk_open(txn, TABLE_RETRIES, quipu_slice(NULL, 0), &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            status = take_row(retries, key, value, err);
        }
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status save_one(struct quipu_txn *txn, const struct retry *retry,
                                  struct quipu_error *err)
{
    struct quipu_slice key = quipu_slice(retry->key, sizeof retry->key);
    if (!retry->is_wanted) {
        enum quipu_status status = quipu_txn_table_delete(txn, TABLE_RETRIES, key, err);
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status; /* noted and taken in meanwhile */
    }
    if (!retry->is_changed) {
        return QUIPU_OK;
    }
    uint8_t value[RETRY_BYTES];
    quipu_store_be64(value, (uint64_t)retry->next_unix_us);
    quipu_store_be64(value + 8, retry->tries);
    return quipu_txn_table_put(txn, TABLE_RETRIES, key, quipu_slice(value, sizeof value), err);
}

enum quipu_status quipu_retries_save(struct retries *retries, struct quipu_engine *engine,
                                     struct quipu_error *err)
{
    bool is_changed = false;
    for (size_t i = 0; i < retries->count; i++) {
        is_changed = is_changed || retries->list[i].is_changed || !retries->list[i].is_wanted;
    }
    if (!is_changed) {
        return QUIPU_OK;
    }
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(quipu_engine_store(engine), &txn, err);
    for (size_t i = 0; status == QUIPU_OK && i < retries->count; i++) {
        status = save_one(txn, &retries->list[i], err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

void quipu_retries_release(struct retries *retries)
{
    quipu_free(retries->list);
    memset(retries, 0, sizeof *retries);
}
