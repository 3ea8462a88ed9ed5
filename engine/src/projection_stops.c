/*
 * The events that stop a projection: the one that it is parked in front of, with the reason, and
 * those that a person skipped by name. Never applies an event (projection_lane.c does).
 *
 * A park belongs to a table, so one that a rebuild met does not hold up the rows that are already
 * past it, and goes with the table's rows. A skip belongs to a version: another one is other logic,
 * and meets the event again.
 *
 * A skip names the table that it was made in. It counts there and in later generations of that
 * version, but not in an older table, which may hold what the event did: so the digest, which names
 * the skips of its table, never says of an event that took effect that it was skipped.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_check.h"
#include "internal/bytes.h"
#include "quipu/text.h"
#include "registry.h"
#include "row_codec.h"
#include "slice_budget.h"
#include "tables.h"

/* name, 0, kind, table or version, position. No name holds a 0, so none is the beginning of
 * another's. */
#define KEY_BYTES_MAX (QUIPU_PROJECTION_NAME_BYTES_MAX + 2 + 8 + 8)
#define KIND_PARK     'p'
#define KIND_SKIP     's'
#define PARK_PAIRS    4
#define SKIP_PAIRS    4

struct stop_key {
    uint8_t bytes[KEY_BYTES_MAX];
    size_t len;
};

/* Everything of `name`; kinds and numbers are put behind it. */
static void key_init(struct stop_key *key, const char *name)
{
    key->len = strlen(name);
    memcpy(key->bytes, name, key->len);
    key->bytes[key->len++] = 0;
}

static void key_put(struct stop_key *key, uint64_t number)
{
    quipu_store_be64(key->bytes + key->len, number);
    key->len += 8;
}

static void key_of(struct stop_key *key, const char *name, char kind, uint64_t number)
{
    key_init(key, name);
    key->bytes[key->len++] = (uint8_t)kind;
    key_put(key, number);
}

static struct quipu_slice key_slice(const struct stop_key *key)
{
    return quipu_slice(key->bytes, key->len);
}

static bool key_begins_with(struct quipu_slice key, const struct stop_key *prefix)
{
    return key.len >= prefix->len && memcmp(key.data, prefix->bytes, prefix->len) == 0;
}

/* ------------------------------------------------------------------ parks */

static enum quipu_status park_decode(struct quipu_slice value, struct park *out,
                                     struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct park park = {.position = 0};
    uint64_t pairs = 0;
    uint64_t reason = 0;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    if (status == QUIPU_OK && pairs != PARK_PAIRS) {
        status = quipu_error_set(err, QUIPU_CORRUPT, "%" PRIu64 " members", pairs);
    }
    if (status == QUIPU_OK) {
        status = row_read_text(&reader, "line", &park.line, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "reason", &reason, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "position", &park.position, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_int(&reader, "parked_at", &park.unix_us, err);
    }
    if (status != QUIPU_OK || reason > UINT16_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT, "where a projection is parked: unreadable");
    }
    park.status = (enum quipu_status)reason;
    *out = park;
    return QUIPU_OK;
}

enum quipu_status park_get(struct quipu_txn *txn, const char *name, uint32_t table,
                           struct park *out, struct quipu_error *err)
{
    struct stop_key key;
    struct quipu_slice value;
    key_of(&key, name, KIND_PARK, table);
    enum quipu_status status = quipu_txn_table_get(txn, TABLE_STOPS, key_slice(&key), &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (park_decode(value, out, err) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_CORRUPT, "projection %s: unreadable: where it is parked",
                               name);
    }
    return QUIPU_OK;
}

enum quipu_status park_put(struct quipu_txn *txn, const char *name, uint32_t table,
                           const struct park *park, struct quipu_error *err)
{
    /* The line, 4 keys and 3 numbers always fit. */
    uint8_t storage[ROW_LINE_BYTES_MAX + 128];
    struct quipu_buf row;
    struct quipu_dagcbor_writer writer;
    struct stop_key key;
    quipu_buf_init_fixed(&row, storage, sizeof storage);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, PARK_PAIRS);
    quipu_dagcbor_write_key(&writer, "line");
    quipu_dagcbor_write_text(&writer, row_line(park->line));
    quipu_dagcbor_write_key(&writer, "reason");
    quipu_dagcbor_write_uint(&writer, (uint64_t)park->status);
    quipu_dagcbor_write_key(&writer, "position");
    quipu_dagcbor_write_uint(&writer, park->position);
    quipu_dagcbor_write_key(&writer, "parked_at");
    quipu_dagcbor_write_int(&writer, park->unix_us);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    key_of(&key, name, KIND_PARK, table);
    return quipu_txn_table_put(txn, TABLE_STOPS, key_slice(&key), quipu_buf_slice(&row), err);
}

enum quipu_status park_forget(struct quipu_txn *txn, const char *name, uint32_t table,
                              struct quipu_error *err)
{
    struct stop_key key;
    key_of(&key, name, KIND_PARK, table);
    enum quipu_status status = quipu_txn_table_delete(txn, TABLE_STOPS, key_slice(&key), err);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

enum quipu_status park_check(struct quipu_txn *txn, const char *name, uint32_t table,
                             struct quipu_error *err)
{
    struct park park;
    enum quipu_status status = park_get(txn, name, table, &park, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    char when[QUIPU_RFC3339_BYTES];
    quipu_rfc3339_format(park.unix_us, when);
    return quipu_error_set(err, QUIPU_PARKED,
                           "projection %s is parked in front of position %" PRIu64 " since %s: %.*s"
                           "; mend the cause, then retry or skip it",
                           name, park.position, when, QUIPU_SLICE_FMT(park.line));
}

/* ------------------------------------------------------------------ skips */

static enum quipu_status skip_decode(struct quipu_slice key, struct quipu_slice value,
                                     struct skip *out, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct skip skip = {.table = 0};
    uint64_t pairs = 0;
    uint64_t table = 0;
    enum quipu_status status = row_read_begin(&reader, value, &pairs, err);
    if (status == QUIPU_OK && (pairs != SKIP_PAIRS || key.len < 16)) {
        status = quipu_error_set(err, QUIPU_CORRUPT, "%" PRIu64 " members", pairs);
    }
    if (status == QUIPU_OK) {
        status = row_read_key(&reader, "cid", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_dagcbor_read_link(&reader, &skip.skip.cid, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_text(&reader, "why", &skip.skip.why, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_uint(&reader, "table", &table, err);
    }
    if (status == QUIPU_OK) {
        status = row_read_int(&reader, "skipped_at", &skip.skip.skipped_unix_us, err);
    }
    if (status != QUIPU_OK || table > UINT32_MAX) {
        return quipu_error_set(err, QUIPU_CORRUPT, "an event that a projection skips: unreadable");
    }
    skip.table = (uint32_t)table;
    skip.skip.version = quipu_load_be64(key.data + key.len - 16);
    skip.skip.position = quipu_load_be64(key.data + key.len - 8);
    *out = skip;
    return QUIPU_OK;
}

static enum quipu_status skip_put(struct quipu_txn *txn, const char *name, const struct skip *skip,
                                  struct quipu_error *err)
{
    /* The reason, 4 keys, a link and 2 numbers always fit. */
    uint8_t storage[QUIPU_PROJECTION_WHY_BYTES_MAX + 128];
    struct quipu_buf row;
    struct quipu_dagcbor_writer writer;
    struct stop_key key;
    quipu_buf_init_fixed(&row, storage, sizeof storage);
    quipu_dagcbor_writer_init(&writer, &row);
    quipu_dagcbor_write_map(&writer, SKIP_PAIRS);
    quipu_dagcbor_write_key(&writer, "cid");
    quipu_dagcbor_write_link(&writer, &skip->skip.cid);
    quipu_dagcbor_write_key(&writer, "why");
    quipu_dagcbor_write_text(&writer, skip->skip.why);
    quipu_dagcbor_write_key(&writer, "table");
    quipu_dagcbor_write_uint(&writer, skip->table);
    quipu_dagcbor_write_key(&writer, "skipped_at");
    quipu_dagcbor_write_int(&writer, skip->skip.skipped_unix_us);
    enum quipu_status status = quipu_dagcbor_writer_finish(&writer, err);
    if (status != QUIPU_OK) {
        return status;
    }
    key_of(&key, name, KIND_SKIP, skip->skip.version);
    key_put(&key, skip->skip.position);
    return quipu_txn_table_put(txn, TABLE_STOPS, key_slice(&key), quipu_buf_slice(&row), err);
}

enum quipu_status skip_next(struct quipu_txn *txn, const struct generation *generation,
                            uint64_t after, struct skip *out, struct quipu_error *err)
{
    struct stop_key prefix;
    key_of(&prefix, generation->name, KIND_SKIP, generation->version);
    for (uint64_t from = after;;) {
        struct stop_key key = prefix;
        struct quipu_slice found;
        struct quipu_slice value;
        key_put(&key, from);
        enum quipu_status status = quipu_txn_table_seek(txn, TABLE_STOPS, key_slice(&key),
                                                        QUIPU_SEEK_GT, &found, &value, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (!key_begins_with(found, &prefix)) {
            return QUIPU_DONE;
        }
        struct skip skip;
        status = skip_decode(found, value, &skip, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (skip.table <= generation->table) {
            *out = skip;
            return QUIPU_OK;
        }
        from = skip.skip.position;
    }
}

enum quipu_status quipu_projection_each_skip(struct quipu_engine *engine, const char *name,
                                             quipu_projection_skip_fn visit, void *ctx,
                                             struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    struct registry_row row;
    struct stop_key prefix;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = registry_get(txn, name, &row, err);
    }
    if (status == QUIPU_OK) {
        key_init(&prefix, name);
        prefix.bytes[prefix.len++] = KIND_SKIP;
        status = quipu_table_walk_open(txn, TABLE_STOPS, key_slice(&prefix), &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        struct skip skip;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            status = skip_decode(key, value, &skip, err);
        }
        if (status == QUIPU_OK) {
            status = visit(ctx, &skip.skip, err);
        }
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ what a person does */

struct skip_wish {
    uint64_t position;
    struct quipu_slice why;
    int64_t now_unix_us;
    bool was_granted;
    uint64_t other; /* where it is parked instead; 0: nowhere */
};

/* Skip the event in this table if it is parked in front of it; else `wish->other` is where it is.
 */
static enum quipu_status skip_in(struct quipu_txn *txn, const struct generation *generation,
                                 struct skip_wish *wish, struct quipu_error *err)
{
    struct park park;
    struct quipu_record record;
    enum quipu_status status = park_get(txn, generation->name, generation->table, &park, err);
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    if (park.position != wish->position) {
        wish->other = park.position;
        return QUIPU_OK;
    }
    status = quipu_txn_record_at(txn, wish->position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct skip skip = {
        .skip = {.version = generation->version,
                 .position = wish->position,
                 .cid = record.envelope_cid,
                 .skipped_unix_us = wish->now_unix_us,
                 .why = wish->why},
        .table = generation->table,
    };
    wish->was_granted = true;
    status = skip_put(txn, generation->name, &skip, err);
    return status == QUIPU_OK ? park_forget(txn, generation->name, generation->table, err) : status;
}

/* The rebuild beside comes first: of two tables of one version, the skip names the older one. */
static enum quipu_status skip_make(struct quipu_engine *engine, struct quipu_txn *txn,
                                   const char *name, struct registry_row *row, void *ctx,
                                   struct quipu_error *err)
{
    struct skip_wish *wish = ctx;
    const struct generation first = {name, row->version, row->table};
    const struct generation beside = {name, row->beside_version, row->beside};
    enum quipu_status status = QUIPU_OK;
    wish->now_unix_us = engine->clock.unix_us(engine->clock.ctx);
    if (beside.version != 0) {
        status = skip_in(txn, &beside, wish, err);
    }
    if (status == QUIPU_OK) {
        status = skip_in(txn, &first, wish, err);
    }
    if (status != QUIPU_OK || wish->was_granted) {
        return status;
    }
    if (wish->other != 0) {
        return quipu_error_set(err, QUIPU_NOT_FOUND,
                               "projection %s is parked in front of position %" PRIu64
                               ", not of %" PRIu64,
                               name, wish->other, wish->position);
    }
    return quipu_error_set(err, QUIPU_NOT_FOUND,
                           "projection %s is not parked; only the event that it is parked in front "
                           "of can be skipped",
                           name);
}

enum quipu_status quipu_projection_skip(struct quipu_engine *engine, const char *name,
                                        uint64_t position, const char *why, struct quipu_error *err)
{
    struct skip_wish wish = {.position = position, .why = quipu_slice_text(why)};
    if (wish.why.len == 0 || wish.why.len > QUIPU_PROJECTION_WHY_BYTES_MAX ||
        quipu_utf8_valid_prefix(wish.why) != wish.why.len) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "projection %s: the reason of a skip is text of 1 to %d bytes", name,
                               QUIPU_PROJECTION_WHY_BYTES_MAX);
    }
    return registry_change(engine, name, skip_make, &wish, err);
}

static enum quipu_status parks_forget(struct quipu_engine *engine, struct quipu_txn *txn,
                                      const char *name, struct registry_row *row, void *ctx,
                                      struct quipu_error *err)
{
    (void)engine;
    (void)ctx;
    enum quipu_status status = park_forget(txn, name, row->table, err);
    if (status == QUIPU_OK && row->beside != 0) {
        status = park_forget(txn, name, row->beside, err);
    }
    return status;
}

enum quipu_status quipu_projection_retry(struct quipu_engine *engine, const char *name,
                                         struct quipu_error *err)
{
    return registry_change(engine, name, parks_forget, NULL, err);
}

enum quipu_status stops_forget_slice(struct quipu_txn *txn, const char *name, bool *is_empty,
                                     struct quipu_error *err)
{
    struct stop_key prefix;
    key_init(&prefix, name);
    *is_empty = false;
    for (uint64_t i = 0; i < SLICE_EVENTS_MAX; i++) {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status = quipu_txn_table_seek(txn, TABLE_STOPS, key_slice(&prefix),
                                                        QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE || (status == QUIPU_OK && !key_begins_with(key, &prefix))) {
            *is_empty = true;
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        /* The key is borrowed from the page that the delete changes. */
        uint8_t copy[QUIPU_TABLE_KEY_BYTES_MAX];
        memcpy(copy, key.data, key.len);
        status = quipu_txn_table_delete(txn, TABLE_STOPS, quipu_slice(copy, key.len), err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}
