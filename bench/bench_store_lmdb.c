/*
 * LMDB as one would use it at first: every index a B-tree.
 *
 * The same functions as quipu's store: log by position, CIDs of envelopes and payloads, event_id
 * (refused when known), head with back-pointers through the records.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench_store.h"

#define MAP_BYTES ((size_t)64 << 30)

struct plain {
    MDB_env *env;
    MDB_dbi log;
    MDB_dbi cid;
    MDB_dbi event_id;
    MDB_dbi head;
};

struct plain_head {
    uint64_t version;
    uint64_t position;
};

struct plain_record {
    uint64_t previous;
    uint64_t version;
    uint8_t envelope_digest[DIGEST_BYTES];
    uint64_t envelope_bytes;
    uint64_t payload_bytes;
};

static void must(int status, const char *what)
{
    if (status != 0) {
        die("lmdb: %s: %s", what, mdb_strerror(status));
    }
}

static MDB_val value_of(const void *bytes, size_t len)
{
    /* LMDB takes what it reads through a pointer that is not const. */
    MDB_val value = {len, NULL};
    memcpy(&value.mv_data, &bytes, sizeof value.mv_data);
    return value;
}

static void *plain_open(const char *path, enum open_mode mode)
{
    struct plain *plain = must_alloc(1, sizeof *plain);
    MDB_txn *txn;
    (void)mkdir(path, 0700);
    must(mdb_env_create(&plain->env), "create");
    must(mdb_env_set_maxdbs(plain->env, 4), "maxdbs");
    must(mdb_env_set_mapsize(plain->env, MAP_BYTES), "mapsize");
    must(mdb_env_open(plain->env, path, MDB_NOTLS | (mode == OPEN_PREFILL ? MDB_NOSYNC : 0), 0600),
         "open");
    must(mdb_txn_begin(plain->env, NULL, 0, &txn), "begin");
    must(mdb_dbi_open(txn, "log", MDB_CREATE | MDB_INTEGERKEY, &plain->log), "log");
    must(mdb_dbi_open(txn, "cid", MDB_CREATE, &plain->cid), "cid");
    must(mdb_dbi_open(txn, "event_id", MDB_CREATE, &plain->event_id), "event_id");
    must(mdb_dbi_open(txn, "head", MDB_CREATE, &plain->head), "head");
    must(mdb_txn_commit(txn), "commit");
    return plain;
}

static void plain_close(void *store)
{
    struct plain *plain = store;
    (void)mdb_env_sync(plain->env, 1);
    mdb_env_close(plain->env);
    free(plain);
}

static void *plain_session_open(void *store)
{
    return store;
}

static void plain_session_close(void *session)
{
    (void)session;
}

static uint64_t plain_last(struct plain *plain, MDB_txn *txn)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint64_t last = 0;
    must(mdb_cursor_open(txn, plain->log, &cursor), "cursor");
    if (mdb_cursor_get(cursor, &key, &value, MDB_LAST) == 0) {
        memcpy(&last, key.mv_data, sizeof last);
    }
    mdb_cursor_close(cursor);
    return last;
}

static void plain_put_record(struct plain *plain, MDB_txn *txn, uint64_t position,
                             const struct sample *sample, uint64_t previous)
{
    struct plain_record record = {
        previous, sample->version, {0}, sample->envelope_bytes, sample->payload_bytes};
    memcpy(record.envelope_digest, sample->envelope_digest, DIGEST_BYTES);
    MDB_val key = value_of(&position, sizeof position);
    MDB_val value = {sizeof record + sample->envelope_bytes + sample->payload_bytes, NULL};
    must(mdb_put(txn, plain->log, &key, &value, MDB_APPEND | MDB_RESERVE), "put log");
    uint8_t *into = value.mv_data;
    memcpy(into, &record, sizeof record);
    memcpy(into + sizeof record, sample->envelope, sample->envelope_bytes);
    memcpy(into + sizeof record + sample->envelope_bytes, sample->payload, sample->payload_bytes);
}

static void plain_append_one(struct plain *plain, MDB_txn *txn, uint64_t position,
                             const struct sample *sample)
{
    MDB_val position_value = value_of(&position, sizeof position);
    MDB_val key = value_of(sample->event_id, EVENT_ID_BYTES);
    must(mdb_put(txn, plain->event_id, &key, &position_value, MDB_NOOVERWRITE), "put event_id");
    key = value_of(sample->envelope_digest, DIGEST_BYTES);
    must(mdb_put(txn, plain->cid, &key, &position_value, MDB_NOOVERWRITE), "put cid");
    key = value_of(sample->payload_digest, DIGEST_BYTES);
    must(mdb_put(txn, plain->cid, &key, &position_value, MDB_NOOVERWRITE), "put payload cid");

    struct plain_head head = {0, 0};
    MDB_val found;
    key = value_of(sample->aggregate_id, strlen(sample->aggregate_id));
    if (mdb_get(txn, plain->head, &key, &found) == 0) {
        memcpy(&head, found.mv_data, sizeof head);
    }
    if (head.version + 1 != sample->version) {
        die("lmdb: %s: expected version %llu, found %llu", sample->aggregate_id,
            (unsigned long long)sample->version - 1, (unsigned long long)head.version);
    }
    plain_put_record(plain, txn, position, sample, head.position);
    struct plain_head next = {sample->version, position};
    found = value_of(&next, sizeof next);
    must(mdb_put(txn, plain->head, &key, &found, 0), "put head");
}

static uint64_t plain_append_new(void *session, const struct sample *samples, size_t count)
{
    struct plain *plain = session;
    MDB_txn *txn;
    uint64_t made = 0;
    must(mdb_txn_begin(plain->env, NULL, 0, &txn), "begin");
    uint64_t last = plain_last(plain, txn);
    for (size_t i = 0; i < count; i++) {
        MDB_val key = value_of(samples[i].event_id, EVENT_ID_BYTES);
        MDB_val found;
        if (mdb_get(txn, plain->event_id, &key, &found) != 0) {
            made++;
            plain_append_one(plain, txn, last + made, &samples[i]);
        }
    }
    must(mdb_txn_commit(txn), "commit");
    return made;
}

static void plain_append(void *session, const struct sample *samples, size_t count)
{
    struct plain *plain = session;
    MDB_txn *txn;
    must(mdb_txn_begin(plain->env, NULL, 0, &txn), "begin");
    uint64_t last = plain_last(plain, txn);
    for (size_t i = 0; i < count; i++) {
        plain_append_one(plain, txn, last + 1 + i, &samples[i]);
    }
    must(mdb_txn_commit(txn), "commit");
}

/* Its back-pointer and its version. */
static struct plain_record plain_touch(const MDB_val *value, enum scan_kind kind)
{
    struct plain_record record;
    const uint8_t *bytes = value->mv_data;
    memcpy(&record, bytes, sizeof record);
    const uint8_t *envelope = bytes + sizeof record;
    blocks_touch(envelope, record.envelope_bytes, envelope + record.envelope_bytes,
                 record.payload_bytes, kind);
    return record;
}

static uint64_t plain_scan(void *session, enum scan_kind kind, uint64_t count)
{
    struct plain *plain = session;
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val value;
    uint64_t seen = 0;
    must(mdb_txn_begin(plain->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_cursor_open(txn, plain->log, &cursor), "cursor");
    while (seen < count && mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
        (void)plain_touch(&value, kind); /* the back-pointer is for aggregates */
        seen++;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return seen;
}

static void plain_get(void *session, const uint8_t digest[DIGEST_BYTES])
{
    struct plain *plain = session;
    MDB_txn *txn;
    MDB_val key = value_of(digest, DIGEST_BYTES);
    MDB_val value;
    must(mdb_txn_begin(plain->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_get(txn, plain->cid, &key, &value), "get cid");
    key = value;
    must(mdb_get(txn, plain->log, &key, &value), "get record");
    (void)plain_touch(&value, SCAN_RECORDS); /* the same */
    mdb_txn_abort(txn);
}

static uint64_t plain_from_version(void *session, const char *aggregate_id, uint64_t version)
{
    struct plain *plain = session;
    struct plain_head head;
    MDB_txn *txn;
    MDB_val key = value_of(aggregate_id, strlen(aggregate_id));
    MDB_val value;
    uint64_t seen = 0;
    must(mdb_txn_begin(plain->env, NULL, MDB_RDONLY, &txn), "begin");
    must(mdb_get(txn, plain->head, &key, &value), "get head");
    memcpy(&head, value.mv_data, sizeof head);
    uint64_t position = head.position;
    while (position != 0) {
        key = value_of(&position, sizeof position);
        must(mdb_get(txn, plain->log, &key, &value), "get record");
        struct plain_record record = plain_touch(&value, SCAN_RECORDS);
        position = record.version > version ? record.previous : 0;
        seen++;
    }
    mdb_txn_abort(txn);
    return seen;
}

static uint64_t plain_aggregate(void *session, const char *aggregate_id)
{
    return plain_from_version(session, aggregate_id, 1);
}

const struct peer PEER_LMDB = {
    .name = "lmdb",
    .note = "LMDB, every index a B-tree; digests given, not computed; aggregates newest first",
    .folder = "lmdb",
    .open = plain_open,
    .close = plain_close,
    .session_open = plain_session_open,
    .session_close = plain_session_close,
    .append = plain_append,
    .scan = plain_scan,
    .get = plain_get,
    .aggregate = plain_aggregate,
    .append_new = plain_append_new,
    .from_version = plain_from_version,
};
