/*
 * RocksDB with a synced write-ahead log and Bloom filters, the same indexes as keys of one space.
 *
 * Whether an event_id is known and what the head is, is looked up before each write, as SQLite's
 * unique indexes do. Compression and buffers as RocksDB sets them.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <endian.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "bench_store.h"

#define BLOOM_BITS    10
#define KEY_BYTES_MAX 40

struct rocks {
    rocksdb_t *db;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write;
    rocksdb_readoptions_t *read;
    atomic_uint_fast64_t last;
    bool is_prefill;
};

struct rocks_key {
    char bytes[KEY_BYTES_MAX];
    size_t len;
};

struct rocks_head {
    uint64_t version;
    uint64_t position;
};

struct rocks_record {
    uint64_t previous;
    uint64_t version;
    uint8_t envelope_digest[DIGEST_BYTES];
    uint64_t envelope_bytes;
    uint64_t payload_bytes;
};

static void must(char *line, const char *what)
{
    if (line != NULL) {
        die("rocksdb: %s: %s", what, line);
    }
}

static struct rocks_key key_of(char kind, const void *bytes, size_t len)
{
    struct rocks_key key = {{kind}, len + 1};
    memcpy(key.bytes + 1, bytes, len);
    return key;
}

static struct rocks_key log_key(uint64_t position)
{
    uint64_t big = htobe64(position);
    return key_of('l', &big, sizeof big);
}

static uint64_t rocks_last(struct rocks *rocks)
{
    struct rocks_key end = log_key(UINT64_MAX);
    uint64_t last = 0;
    rocksdb_iterator_t *walk = rocksdb_create_iterator(rocks->db, rocks->read);
    rocksdb_iter_seek_for_prev(walk, end.bytes, end.len);
    size_t len;
    const char *key = rocksdb_iter_valid(walk) ? rocksdb_iter_key(walk, &len) : NULL;
    if (key != NULL && key[0] == 'l') {
        memcpy(&last, key + 1, sizeof last);
        last = be64toh(last);
    }
    rocksdb_iter_destroy(walk);
    return last;
}

static void *rocks_open(const char *path, enum open_mode mode)
{
    struct rocks *rocks = must_alloc(1, sizeof *rocks);
    char *line = NULL;
    rocks->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(rocks->options, 1);
    rocksdb_options_increase_parallelism(rocks->options, 2);
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom(BLOOM_BITS));
    rocksdb_options_set_block_based_table_factory(rocks->options, table);
    rocksdb_block_based_options_destroy(table);
    rocks->write = rocksdb_writeoptions_create();
    rocks->is_prefill = mode == OPEN_PREFILL;
    if (rocks->is_prefill) {
        rocksdb_writeoptions_disable_WAL(rocks->write, 1);
    } else {
        rocksdb_writeoptions_set_sync(rocks->write, 1);
    }
    rocks->read = rocksdb_readoptions_create();
    rocks->db = rocksdb_open(rocks->options, path, &line);
    must(line, "open");
    atomic_store(&rocks->last, rocks_last(rocks));
    return rocks;
}

static void rocks_close(void *store)
{
    struct rocks *rocks = store;
    char *line = NULL;
    if (rocks->is_prefill) {
        rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
        rocksdb_flush(rocks->db, flush, &line);
        must(line, "flush");
        rocksdb_flushoptions_destroy(flush);
    }
    rocksdb_close(rocks->db);
    rocksdb_readoptions_destroy(rocks->read);
    rocksdb_writeoptions_destroy(rocks->write);
    rocksdb_options_destroy(rocks->options);
    free(rocks);
}

static void *rocks_session_open(void *store)
{
    return store;
}

static void rocks_session_close(void *session)
{
    (void)session;
}

/* A pinned value, or NULL; to be destroyed. */
static rocksdb_pinnableslice_t *rocks_find(struct rocks *rocks, const struct rocks_key *key)
{
    char *line = NULL;
    rocksdb_pinnableslice_t *found =
        rocksdb_get_pinned(rocks->db, rocks->read, key->bytes, key->len, &line);
    must(line, "get");
    return found;
}

/* Heads that this batch has written already are not in the database. Events of one batch take
 * AGGREGATES_IN_TURN aggregates in turns, so there is one place to look. */
static struct rocks_head rocks_head_of(struct rocks *rocks, const struct sample *samples, size_t at,
                                       uint64_t first)
{
    struct rocks_head head = {0, 0};
    const struct sample *before =
        at < AGGREGATES_IN_TURN ? NULL : &samples[at - AGGREGATES_IN_TURN];
    if (before != NULL && strcmp(before->aggregate_id, samples[at].aggregate_id) == 0) {
        head.version = before->version;
        head.position = first + at - AGGREGATES_IN_TURN;
        return head;
    }
    struct rocks_key key = key_of('h', samples[at].aggregate_id, strlen(samples[at].aggregate_id));
    rocksdb_pinnableslice_t *found = rocks_find(rocks, &key);
    if (found != NULL) {
        size_t len;
        memcpy(&head, rocksdb_pinnableslice_value(found, &len), sizeof head);
        rocksdb_pinnableslice_destroy(found);
    }
    return head;
}

static void rocks_put(rocksdb_writebatch_t *batch, struct rocks_key key, const void *value,
                      size_t len)
{
    rocksdb_writebatch_put(batch, key.bytes, key.len, value, len);
}

static void rocks_add(struct rocks *rocks, rocksdb_writebatch_t *batch,
                      const struct sample *samples, size_t at, uint64_t first)
{
    const struct sample *sample = &samples[at];
    uint64_t position = first + at;
    struct rocks_key event_key = key_of('e', sample->event_id, EVENT_ID_BYTES);
    if (rocks_find(rocks, &event_key) != NULL) {
        die("rocksdb: an event_id is known");
    }
    struct rocks_head head = rocks_head_of(rocks, samples, at, first);
    if (head.version + 1 != sample->version) {
        die("rocksdb: %s: expected version %llu, found %llu", sample->aggregate_id,
            (unsigned long long)sample->version - 1, (unsigned long long)head.version);
    }
    struct rocks_record record = {
        head.position, sample->version, {0}, sample->envelope_bytes, sample->payload_bytes};
    uint8_t value[sizeof record + ENVELOPE_BYTES_MAX + PAYLOAD_BYTES_MAX];
    memcpy(record.envelope_digest, sample->envelope_digest, DIGEST_BYTES);
    memcpy(value, &record, sizeof record);
    memcpy(value + sizeof record, sample->envelope, sample->envelope_bytes);
    memcpy(value + sizeof record + sample->envelope_bytes, sample->payload, sample->payload_bytes);
    rocks_put(batch, log_key(position), value,
              sizeof record + sample->envelope_bytes + sample->payload_bytes);
    rocks_put(batch, event_key, &position, sizeof position);
    rocks_put(batch, key_of('c', sample->envelope_digest, DIGEST_BYTES), &position,
              sizeof position);
    rocks_put(batch, key_of('c', sample->payload_digest, DIGEST_BYTES), &position, sizeof position);
    struct rocks_head next = {sample->version, position};
    rocks_put(batch, key_of('h', sample->aggregate_id, strlen(sample->aggregate_id)), &next,
              sizeof next);
}

static void rocks_append(void *session, const struct sample *samples, size_t count)
{
    struct rocks *rocks = session;
    char *line = NULL;
    uint64_t first = atomic_fetch_add(&rocks->last, count) + 1;
    rocksdb_writebatch_t *batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        rocks_add(rocks, batch, samples, i, first);
    }
    rocksdb_write(rocks->db, rocks->write, batch, &line);
    must(line, "write");
    rocksdb_writebatch_destroy(batch);
}

static struct rocks_record rocks_touch(const char *bytes, enum scan_kind kind)
{
    struct rocks_record record;
    memcpy(&record, bytes, sizeof record);
    const uint8_t *envelope = (const uint8_t *)bytes + sizeof record;
    blocks_touch(envelope, record.envelope_bytes, envelope + record.envelope_bytes,
                 record.payload_bytes, kind);
    return record;
}

static uint64_t rocks_scan(void *session, enum scan_kind kind, uint64_t count)
{
    struct rocks *rocks = session;
    struct rocks_key start = log_key(0);
    uint64_t seen = 0;
    rocksdb_iterator_t *walk = rocksdb_create_iterator(rocks->db, rocks->read);
    rocksdb_iter_seek(walk, start.bytes, start.len);
    while (seen < count && rocksdb_iter_valid(walk)) {
        size_t len;
        if (rocksdb_iter_key(walk, &len)[0] != 'l') {
            break;
        }
        (void)rocks_touch(rocksdb_iter_value(walk, &len), kind); /* the back-pointer */
        seen++;
        rocksdb_iter_next(walk);
    }
    rocksdb_iter_destroy(walk);
    return seen;
}

/* Touch the record at a position. */
static struct rocks_record rocks_touch_at(struct rocks *rocks, uint64_t position)
{
    struct rocks_key key = log_key(position);
    rocksdb_pinnableslice_t *found = rocks_find(rocks, &key);
    if (found == NULL) {
        die("rocksdb: position %llu is not there", (unsigned long long)position);
    }
    size_t len;
    struct rocks_record record =
        rocks_touch(rocksdb_pinnableslice_value(found, &len), SCAN_RECORDS);
    rocksdb_pinnableslice_destroy(found);
    return record;
}

static void rocks_get(void *session, const uint8_t digest[DIGEST_BYTES])
{
    struct rocks *rocks = session;
    struct rocks_key key = key_of('c', digest, DIGEST_BYTES);
    rocksdb_pinnableslice_t *found = rocks_find(rocks, &key);
    if (found == NULL) {
        die("rocksdb: an event is not found by its CID");
    }
    size_t len;
    uint64_t position;
    memcpy(&position, rocksdb_pinnableslice_value(found, &len), sizeof position);
    rocksdb_pinnableslice_destroy(found);
    (void)rocks_touch_at(rocks, position); /* the back-pointer is for aggregates */
}

static uint64_t rocks_from_version(void *session, const char *aggregate_id, uint64_t version)
{
    struct rocks *rocks = session;
    struct sample wanted = {.version = 1};
    memcpy(wanted.aggregate_id, aggregate_id, strlen(aggregate_id));
    uint64_t position = rocks_head_of(rocks, &wanted, 0, 0).position;
    uint64_t seen = 0;
    while (position != 0) {
        struct rocks_record record = rocks_touch_at(rocks, position);
        position = record.version > version ? record.previous : 0;
        seen++;
    }
    return seen;
}

static uint64_t rocks_aggregate(void *session, const char *aggregate_id)
{
    return rocks_from_version(session, aggregate_id, 1);
}

static bool rocks_knows(struct rocks *rocks, const struct sample *sample)
{
    struct rocks_key key = key_of('e', sample->event_id, EVENT_ID_BYTES);
    rocksdb_pinnableslice_t *found = rocks_find(rocks, &key);
    if (found != NULL) {
        rocksdb_pinnableslice_destroy(found);
    }
    return found != NULL;
}

/* A delivery is known as a whole or new as a whole: rocks_add takes heads from the same batch. */
static uint64_t rocks_append_new(void *session, const struct sample *samples, size_t count)
{
    uint64_t known = 0;
    for (size_t i = 0; i < count; i++) {
        known += rocks_knows(session, &samples[i]) ? 1 : 0;
    }
    if (known == 0) {
        rocks_append(session, samples, count);
    }
    return count - known;
}

const struct peer PEER_ROCKSDB = {
    .name = "rocksdb",
    .note = "RocksDB, WAL synced, Bloom filters; digests given, not computed",
    .folder = "rocksdb",
    .open = rocks_open,
    .close = rocks_close,
    .session_open = rocks_session_open,
    .session_close = rocks_session_close,
    .append = rocks_append,
    .scan = rocks_scan,
    .get = rocks_get,
    .aggregate = rocks_aggregate,
    .append_new = rocks_append_new,
    .from_version = rocks_from_version,
};
