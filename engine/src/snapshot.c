/*
 * Snapshots in the store: finding one that agrees with the log, writing, listing, dropping.
 *
 * A snapshot is trusted only where its digest holds, its schema is the kind's, and the event it
 * names is in the log at its position, with its CID, version and aggregate. Whatever else is there
 * counts as nothing. Writing one never fails anybody's work: it is counted.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "snapshot.h"

#include <string.h>

#include "engine_impl.h"
#include "event_at.h"
#include "event_check.h"
#include "internal/failpoint.h"
#include "slice_budget.h"
#include "tables.h"

const char *quipu_snapshot_found_text(enum quipu_snapshot_found found)
{
    switch (found) {
    case QUIPU_SNAPSHOT_NONE:
        return "none";
    case QUIPU_SNAPSHOT_USED:
        return "used";
    case QUIPU_SNAPSHOT_STALE:
        return "stale";
    case QUIPU_SNAPSHOT_DAMAGED:
        return "damaged";
    case QUIPU_SNAPSHOT_FOREIGN:
        return "foreign";
    }
    return "unknown";
}

/* ------------------------------------------------------------------ counting */

#define COUNT_WRITTEN   (QUIPU_SNAPSHOT_FOREIGN + 1)
#define COUNT_UNWRITTEN (QUIPU_SNAPSHOT_FOREIGN + 2)
_Static_assert(COUNT_UNWRITTEN + 1 == SNAPSHOT_COUNTS, "one counter for each outcome");

static void count_one(struct quipu_engine *engine, int which)
{
    (void)atomic_fetch_add_explicit(&engine->snapshot_counts[which], 1, memory_order_relaxed);
}

void snapshot_count(struct quipu_engine *engine, enum quipu_snapshot_found found)
{
    count_one(engine, (int)found);
}

void snapshot_count_unwritten(struct quipu_engine *engine)
{
    count_one(engine, COUNT_UNWRITTEN);
}

void quipu_snapshot_counters(const struct quipu_engine *engine, struct quipu_snapshot_counters *out)
{
    uint64_t counts[SNAPSHOT_COUNTS];
    for (size_t i = 0; i < SNAPSHOT_COUNTS; i++) {
        counts[i] = atomic_load_explicit(&engine->snapshot_counts[i], memory_order_relaxed);
    }
    *out = (struct quipu_snapshot_counters){
        .none = counts[QUIPU_SNAPSHOT_NONE],
        .used = counts[QUIPU_SNAPSHOT_USED],
        .stale = counts[QUIPU_SNAPSHOT_STALE],
        .damaged = counts[QUIPU_SNAPSHOT_DAMAGED],
        .foreign = counts[QUIPU_SNAPSHOT_FOREIGN],
        .written = counts[COUNT_WRITTEN],
        .unwritten = counts[COUNT_UNWRITTEN],
    };
}

/* ------------------------------------------------------------------ finding */

static bool is_of_record(const struct snapshot_row *row, struct quipu_aggregate aggregate,
                         const struct quipu_record *record)
{
    return quipu_cid_equal(&row->cid, &record->envelope_cid) && row->version == record->version &&
           aggregate_equal(&aggregate, &record->aggregate);
}

/* What a row is worth. `*row` is filled where it could be decoded. */
static enum quipu_status row_judge(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                   uint64_t schema, struct quipu_slice value,
                                   struct snapshot_row *row, enum quipu_snapshot_found *found)
{
    struct quipu_error why; /* what is wrong with a snapshot is no failure */
    enum quipu_status status = snapshot_row_decode(value, row, &why);
    if (status != QUIPU_OK) {
        *found = status == QUIPU_FORMAT_NEWER ? QUIPU_SNAPSHOT_STALE : QUIPU_SNAPSHOT_DAMAGED;
        return QUIPU_OK;
    }
    if (row->schema != schema) {
        *found = QUIPU_SNAPSHOT_STALE;
        return QUIPU_OK;
    }
    struct quipu_record record;
    status = quipu_txn_record_at(txn, row->position, &record, &why);
    /* A damaged record is told by the fold, which then reads it. */
    if (status == QUIPU_NOT_FOUND || status == QUIPU_CORRUPT) {
        *found = QUIPU_SNAPSHOT_FOREIGN;
        return QUIPU_OK;
    }
    *found = status == QUIPU_OK && is_of_record(row, aggregate, &record) ? QUIPU_SNAPSHOT_USED
                                                                         : QUIPU_SNAPSHOT_FOREIGN;
    return status;
}

enum quipu_status snapshot_find(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                uint64_t schema, struct snapshot_row *row,
                                enum quipu_snapshot_found *found, struct quipu_error *err)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_slice value;
    *found = QUIPU_SNAPSHOT_NONE;
    enum quipu_status status =
        quipu_txn_table_get(txn, TABLE_SNAPSHOTS, snapshot_key(aggregate, storage), &value, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    status = row_judge(txn, aggregate, schema, value, row, found);
    return status == QUIPU_OK
               ? status
               : quipu_error_set(err, status, "the event of a snapshot cannot be read");
}

/* ------------------------------------------------------------------ writing */

/* Is what is there as good as the state that was loaded, or not ours to replace? */
static enum quipu_status is_to_stay(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                    const struct snapshot_row *ours,
                                    const struct quipu_loaded *loaded, bool *out,
                                    struct quipu_error *err)
{
    struct snapshot_row there = {.schema = 0};
    enum quipu_snapshot_found found;
    enum quipu_status status = snapshot_find(txn, aggregate, ours->schema, &there, &found, err);
    if (status != QUIPU_OK) {
        return status;
    }
    /* One that this very load could not restore goes, whatever it says. */
    bool is_usable = found == QUIPU_SNAPSHOT_USED && loaded->snapshot != QUIPU_SNAPSHOT_DAMAGED;
    /* A newer program's stays, so that two programs do not take turns at it. */
    *out = (is_usable && there.position >= ours->position) ||
           (found == QUIPU_SNAPSHOT_STALE && there.schema > ours->schema);
    return QUIPU_OK;
}

static enum quipu_status row_put(struct quipu_txn *txn, struct quipu_aggregate aggregate,
                                 struct snapshot_row *row, struct quipu_error *err)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_buf value = QUIPU_BUF_INIT;
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, row->position, &record, err);
    if (status == QUIPU_OK) {
        row->cid = record.envelope_cid;
        status = snapshot_row_encode(row, &value, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_table_put(txn, TABLE_SNAPSHOTS, snapshot_key(aggregate, storage),
                                     quipu_buf_slice(&value), err);
    }
    quipu_buf_release(&value);
    return status;
}

/* `*was_written` is false also where there was nothing to do. */
static enum quipu_status row_write(struct quipu_store *store, struct quipu_aggregate aggregate,
                                   struct snapshot_row *row, const struct quipu_loaded *loaded,
                                   bool *was_written, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    bool stays = false;
    enum quipu_status status = quipu_txn_begin_write(store, &txn, err);
    if (status == QUIPU_OK) {
        status = is_to_stay(txn, aggregate, row, loaded, &stays, err);
    }
    if (status == QUIPU_OK && !stays) {
        status = row_put(txn, aggregate, row, err);
        if (status == QUIPU_OK) {
            status = quipu_failpoint("engine.snapshot.before_commit", err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        *was_written = status == QUIPU_OK;
    }
    quipu_txn_abort(&txn);
    return status;
}

void snapshot_write(struct quipu_engine *engine, const struct quipu_aggregate_kind *kind,
                    struct quipu_aggregate aggregate, const struct quipu_loaded *loaded)
{
    struct quipu_error why = {.status = QUIPU_OK}; /* for the callback; nobody is told */
    struct quipu_buf state = QUIPU_BUF_INIT;
    bool was_written = false;
    enum quipu_status status = kind->save(kind->ctx, loaded->state, &state, &why);
    if (status == QUIPU_OK) {
        status = state.status;
    }
    if (status == QUIPU_OK && state.len > QUIPU_SNAPSHOT_STATE_BYTES_MAX) {
        status = QUIPU_TOO_LARGE;
    }
    if (status == QUIPU_OK) {
        struct snapshot_row row = {
            .schema = kind->snapshot_schema,
            .version = loaded->version,
            .position = loaded->position,
            .state = quipu_buf_slice(&state),
        };
        status = row_write(engine->store, aggregate, &row, loaded, &was_written, &why);
    }
    if (status != QUIPU_OK) {
        snapshot_count_unwritten(engine);
    } else if (was_written) {
        count_one(engine, COUNT_WRITTEN);
    }
    quipu_buf_release(&state);
}

/* ------------------------------------------------------------------ listing and dropping */

/* "type\0", with which the keys of its aggregates begin. */
static enum quipu_status prefix_of(const char *aggregate_type,
                                   uint8_t storage[SNAPSHOT_KEY_BYTES_MAX], struct quipu_slice *out,
                                   struct quipu_error *err)
{
    struct quipu_slice type = quipu_slice_text(aggregate_type);
    if (!name_is_token(type, QUIPU_AGGREGATE_TYPE_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID, "snapshots: no such type of an aggregate");
    }
    *out = snapshot_key((struct quipu_aggregate){type, {NULL, 0}}, storage);
    return QUIPU_OK;
}

static struct quipu_snapshot snapshot_of_row(struct quipu_slice key, struct quipu_slice value)
{
    struct quipu_snapshot snapshot = {.state_bytes = 0};
    struct snapshot_row row;
    const uint8_t *zero = memchr(key.data, 0, key.len);
    size_t type_len = zero == NULL ? key.len : (size_t)(zero - key.data);
    size_t id_at = zero == NULL ? key.len : type_len + 1;
    snapshot.aggregate_type = quipu_slice(key.data, type_len);
    snapshot.aggregate_id = quipu_slice(key.data + id_at, key.len - id_at);
    if (zero != NULL && snapshot_row_decode(value, &row, NULL) == QUIPU_OK) {
        snapshot.is_readable = true;
        snapshot.schema = row.schema;
        snapshot.version = row.version;
        snapshot.position = row.position;
        snapshot.cid = row.cid;
        snapshot.state_bytes = row.state.len;
    }
    return snapshot;
}

enum quipu_status quipu_each_snapshot(struct quipu_engine *engine, const char *aggregate_type,
                                      quipu_snapshot_fn visit, void *ctx, struct quipu_error *err)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_slice prefix = {NULL, 0};
    struct quipu_txn *txn = NULL;
    struct quipu_table_walk *walk = NULL;
    enum quipu_status status =
        aggregate_type == NULL ? QUIPU_OK : prefix_of(aggregate_type, storage, &prefix, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(engine->store, &txn, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_table_walk_open(txn, TABLE_SNAPSHOTS, prefix, &walk, err);
    }
    while (status == QUIPU_OK) {
        struct quipu_slice key;
        struct quipu_slice value;
        status = quipu_table_walk_next(walk, &key, &value, err);
        if (status == QUIPU_OK) {
            struct quipu_snapshot snapshot = snapshot_of_row(key, value);
            status = visit(ctx, &snapshot, err);
        }
    }
    quipu_table_walk_close(&walk);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

static enum quipu_status drop_one(struct quipu_engine *engine, struct quipu_aggregate aggregate,
                                  struct quipu_error *err)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_txn *txn = NULL;
    if (!name_is_token(aggregate.type, QUIPU_AGGREGATE_TYPE_BYTES_MAX) ||
        !name_is_aggregate_id(aggregate.id)) {
        return quipu_error_set(err, QUIPU_INVALID, "snapshots: no such name of an aggregate");
    }
    enum quipu_status status = quipu_txn_begin_write(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status =
            quipu_txn_table_delete(txn, TABLE_SNAPSHOTS, snapshot_key(aggregate, storage), err);
    }
    if (status == QUIPU_NOT_FOUND) {
        status = quipu_error_set(err, status, "there is no snapshot of %.*s/%.*s",
                                 QUIPU_SLICE_FMT(aggregate.type), QUIPU_SLICE_FMT(aggregate.id));
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Delete rows until the slice is over. @retval QUIPU_DONE  there are no more */
static enum quipu_status drop_slice(struct quipu_txn *txn, struct quipu_slice prefix,
                                    uint64_t *dropped, struct quipu_error *err)
{
    struct slice_budget budget;
    slice_budget_start(&budget);
    do {
        uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, TABLE_SNAPSHOTS, prefix, QUIPU_SEEK_GE, &key, &value, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (key.len < prefix.len || memcmp(key.data, prefix.data, prefix.len) != 0) {
            return QUIPU_DONE;
        }
        if (key.len > sizeof storage) {
            return quipu_error_set(err, QUIPU_CORRUPT, "snapshots: a key of %zu bytes", key.len);
        }
        memcpy(storage, key.data, key.len); /* the write ends the life of what was found */
        status = quipu_txn_table_delete(txn, TABLE_SNAPSHOTS, quipu_slice(storage, key.len), err);
        if (status != QUIPU_OK) {
            return status;
        }
        ++*dropped;
    } while (!slice_budget_spend(&budget));
    return QUIPU_OK;
}

static enum quipu_status drop_type(struct quipu_engine *engine, const char *aggregate_type,
                                   uint64_t *dropped, struct quipu_error *err)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_slice prefix = {NULL, 0};
    enum quipu_status status = prefix_of(aggregate_type, storage, &prefix, err);
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        uint64_t more = 0;
        status = quipu_txn_begin_write(engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = drop_slice(txn, prefix, &more, err);
        }
        bool is_end = status == QUIPU_DONE;
        if ((status == QUIPU_OK || is_end) && more > 0) {
            status = quipu_txn_commit(&txn, err);
            *dropped += status == QUIPU_OK ? more : 0;
        }
        quipu_txn_abort(&txn);
        if (is_end) {
            return status == QUIPU_DONE ? QUIPU_OK : status;
        }
    }
    return status;
}

enum quipu_status quipu_snapshot_drop(struct quipu_engine *engine, const char *aggregate_type,
                                      const char *aggregate_id, uint64_t *dropped,
                                      struct quipu_error *err)
{
    uint64_t count = 0;
    enum quipu_status status;
    if (aggregate_id == NULL) {
        status = drop_type(engine, aggregate_type, &count, err);
    } else {
        struct quipu_aggregate aggregate = {quipu_slice_text(aggregate_type),
                                            quipu_slice_text(aggregate_id)};
        status = drop_one(engine, aggregate, err);
        count = status == QUIPU_OK;
    }
    if (status == QUIPU_OK && dropped != NULL) {
        *dropped = count;
    }
    return status;
}
