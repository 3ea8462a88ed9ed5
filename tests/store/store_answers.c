/*
 * All that a store answers, as one number.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "store_answers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal/bytes.h"
#include "store_fixture.h"

#define ROWS ((struct quipu_table){0x1000})

static void must(enum quipu_status status, const char *what, const struct quipu_error *err)
{
    if (status != QUIPU_OK) {
        fprintf(stderr, "%s: %s: %s\n", what, quipu_status_name(status), err->message);
        abort();
    }
}

static void mix(uint64_t *digest, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        *digest = (*digest ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
}

static void mix_record(uint64_t *digest, const struct quipu_record *record)
{
    mix(digest, &record->position, sizeof record->position);
    mix(digest, &record->aggregate_prev_position, sizeof record->aggregate_prev_position);
    mix(digest, &record->version, sizeof record->version);
    mix(digest, record->event_id.bytes, sizeof record->event_id.bytes);
    mix(digest, record->envelope.data, record->envelope.len);
    mix(digest, record->payload.data, record->payload.len);
}

/* The event by its type and by its correlation, and what comes behind it there. */
static void mix_terms(struct quipu_txn *txn, uint64_t *digest, const struct quipu_record *record)
{
    char type[QUIPU_TERM_BYTES_MAX];
    struct quipu_uuid correlation_id = record->correlation_id;
    memcpy(type, record->event_type.data, record->event_type.len);
    const struct quipu_term terms[] = {
        {QUIPU_TERM_EVENT_TYPE, quipu_slice(type, record->event_type.len)},
        {QUIPU_TERM_CORRELATION, quipu_slice(correlation_id.bytes, QUIPU_UUID_BYTES)},
    };
    for (size_t i = 0; i < 4; i++) {
        struct quipu_record found;
        struct quipu_error err;
        enum quipu_status status =
            quipu_txn_find_term(txn, terms[i / 2], record->position,
                                i % 2 == 0 ? QUIPU_SEEK_GE : QUIPU_SEEK_GT, &found, &err);
        if (status != QUIPU_DONE) {
            must(status, "term", &err);
            mix_record(digest, &found);
        }
    }
}

static void mix_position(struct quipu_txn *txn, uint64_t *digest, uint64_t position)
{
    struct quipu_record record;
    struct quipu_record found;
    struct quipu_error err;
    enum quipu_block_kind kind;
    must(quipu_txn_record_at(txn, position, &record, &err), "record_at", &err);
    mix_record(digest, &record);
    mix_terms(txn, digest, &record);
    struct quipu_uuid event_id = record.event_id;
    struct quipu_cid payload_cid = record.payload_cid;
    must(quipu_txn_find_cid(txn, &record.envelope_cid, &found, &kind, &err), "envelope", &err);
    mix_record(digest, &found);
    must(quipu_txn_find_cid(txn, &payload_cid, &found, &kind, &err), "payload", &err);
    mix_record(digest, &found);
    must(quipu_txn_find_event_id(txn, event_id, &found, &err), "event_id", &err);
    mix_record(digest, &found);
}

static void mix_heads(struct quipu_txn *txn, uint64_t *digest)
{
    struct quipu_error err;
    for (int i = 0; i < 10; i++) {
        char id[24];
        struct quipu_head head = {0};
        snprintf(id, sizeof id, "agg-%d", i);
        struct quipu_aggregate aggregate = {quipu_slice_text("sample"), quipu_slice_text(id)};
        enum quipu_status status = quipu_txn_head(txn, aggregate, &head, &err);
        if (status != QUIPU_NOT_FOUND) {
            must(status, "head", &err);
        }
        mix(digest, &head.version, sizeof head.version);
        mix(digest, &head.version_max, sizeof head.version_max);
        mix(digest, &head.position, sizeof head.position);
        mix(digest, head.envelope_cid.digest, sizeof head.envelope_cid.digest);
    }
}

static void mix_rows(struct quipu_txn *txn, uint64_t *digest)
{
    struct quipu_error err;
    struct quipu_table_walk *walk = NULL;
    must(quipu_table_walk_open(txn, ROWS, quipu_slice(NULL, 0), &walk, &err), "walk", &err);
    struct quipu_slice key;
    struct quipu_slice value;
    enum quipu_status status;
    while ((status = quipu_table_walk_next(walk, &key, &value, &err)) == QUIPU_OK) {
        mix(digest, key.data, key.len);
        mix(digest, value.data, value.len);
    }
    if (status != QUIPU_DONE) {
        must(status, "walk", &err);
    }
    quipu_table_walk_close(&walk);
}

uint64_t answers_of(struct quipu_store *store)
{
    uint64_t digest = UINT64_C(0xcbf29ce484222325);
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    struct quipu_uuid id = quipu_store_id(store);
    mix(&digest, id.bytes, sizeof id.bytes);
    must(quipu_txn_begin_read(store, &txn, &err), "read", &err);
    uint64_t last = quipu_txn_last_position(txn);
    for (uint64_t position = 1; position <= last; position++) {
        mix_position(txn, &digest, position);
    }
    mix_heads(txn, &digest);
    mix_rows(txn, &digest);
    quipu_txn_abort(&txn);
    return digest;
}

void rows_commit(struct quipu_store *store, uint64_t count)
{
    static uint8_t value[100 << 10];
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    must(quipu_txn_begin_write(store, &txn, &err), "write", &err);
    for (uint64_t i = 0; i <= count; i++) {
        uint8_t key[8];
        quipu_store_be64(key, i);
        memset(value, (int)(i & 0xff), sizeof value);
        must(quipu_txn_table_put(txn, ROWS, quipu_slice(key, sizeof key),
                                 quipu_slice(value, i == count ? sizeof value : 100), &err),
             "put", &err);
    }
    must(quipu_txn_commit(&txn, &err), "commit", &err);
}

uint64_t answers_at(const char *path)
{
    struct quipu_store_options options = QUIPU_STORE_OPTIONS_INIT;
    struct quipu_store_tuning tuning = tuning_small();
    struct quipu_store *store = NULL;
    struct quipu_error err;
    options.create = QUIPU_STORE_OPEN_EXISTING;
    must(quipu_store_open_tuned(path, &options, &tuning, &store, &err), "open", &err);
    if (problems_of(store) != 0) {
        fprintf(stderr, "%s has problems\n", path);
        abort();
    }
    uint64_t answers = answers_of(store);
    quipu_store_close(&store);
    return answers;
}

bool folder_has(const char *path, const char *name)
{
    char file[4096];
    snprintf(file, sizeof file, "%s/%s", path, name);
    return access(file, F_OK) == 0;
}
