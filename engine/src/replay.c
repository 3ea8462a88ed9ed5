/*
 * Replay: history becomes state, each event exactly once. One slice is one write transaction:
 *
 *  1. Read the projection's row: its table and its checkpoint. What another process did in between
 *     is seen here, so two replays of one projection do no harm.
 *  2. Apply events behind the checkpoint to changes in memory (rows.c), up to 10,000.
 *  3. Write the changes and the new checkpoint, commit.
 *
 * An event whose handler fails is taken back; the ones before it in its slice are committed, and
 * the checkpoint stands in front of it.
 *
 * A rebuild, or a projection of another version, fills a second table from the first event on while
 * readers go on in the first. The slice that reaches the end of the log makes it the first. Then
 * the rows of the old one are deleted, in slices too. A crash leaves a second table behind, which
 * the next replay that may clears: a rebuild's own rest is cleared by the next rebuild.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_check.h"
#include "internal/failpoint.h"
#include "registry.h"
#include "rows.h"
#include "slice_budget.h"

struct replay {
    struct quipu_engine *engine;
    const struct quipu_projection *projection;
    struct quipu_rows rows;
    uint32_t shadow; /* table that this rebuild fills; 0: none, go on in the first */
    uint64_t applied;
};

/* ------------------------------------------------------------------ clearing */

/* Delete up to a slice of rows. `*is_empty` says whether none is left. */
static enum quipu_status table_clear_slice(struct quipu_txn *txn, uint32_t table, bool *is_empty,
                                           struct quipu_error *err)
{
    struct quipu_table rows = {table};
    *is_empty = false;
    for (uint64_t i = 0; i < SLICE_EVENTS_MAX; i++) {
        struct quipu_slice key;
        struct quipu_slice value;
        enum quipu_status status =
            quipu_txn_table_seek(txn, rows, quipu_slice(NULL, 0), QUIPU_SEEK_GT, &key, &value, err);
        if (status == QUIPU_DONE) {
            *is_empty = true;
            return QUIPU_OK;
        }
        if (status != QUIPU_OK) {
            return status;
        }
        /* The key is borrowed from the page that the delete changes. */
        uint8_t copy[QUIPU_TABLE_KEY_BYTES_MAX];
        memcpy(copy, key.data, key.len);
        status = quipu_txn_table_delete(txn, rows, quipu_slice(copy, key.len), err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}

/* One slice of clearing the table beside. @retval QUIPU_DONE  there is none, or a running rebuild's
 * while `may_take_over` is false */
static enum quipu_status beside_clear_slice(struct replay *replay, struct quipu_txn *txn,
                                            bool may_take_over, struct quipu_error *err)
{
    const char *name = replay->projection->name;
    struct registry_row row;
    enum quipu_status status = registry_get(txn, name, &row, err);
    if (status == QUIPU_NOT_FOUND) {
        return QUIPU_DONE;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (row.beside == 0 || (row.beside_version != 0 && !may_take_over)) {
        return QUIPU_DONE;
    }
    bool is_empty = false;
    status = table_clear_slice(txn, row.beside, &is_empty, err);
    if (status != QUIPU_OK) {
        return status;
    }
    row.beside = is_empty ? 0 : row.beside;
    /* From now on it holds rows to be deleted, whoever filled it. */
    row.beside_version = 0;
    row.beside_position = 0;
    return registry_put(txn, name, &row, err);
}

/* Does the table beside need clearing? Asked in a read transaction, so that a replay with nothing
 * to do writes nothing. */
static enum quipu_status beside_needs_clearing(struct replay *replay, bool may_take_over,
                                               bool *needs, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(replay->engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct registry_row row;
    status = registry_get(txn, replay->projection->name, &row, err);
    quipu_txn_abort(&txn);
    *needs = status == QUIPU_OK && row.beside != 0 && (row.beside_version == 0 || may_take_over);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

static enum quipu_status beside_clear(struct replay *replay, bool may_take_over,
                                      struct quipu_error *err)
{
    bool needs = false;
    enum quipu_status status = beside_needs_clearing(replay, may_take_over, &needs, err);
    while (status == QUIPU_OK && needs) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(replay->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = beside_clear_slice(replay, txn, may_take_over, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_failpoint("engine.replay.cleared", err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ applying */

/* The checkpoint that a slice goes on from and moves. */
struct checkpoint {
    struct registry_row row;
    uint64_t *position; /* in row: of the first table or of the one beside */
    uint32_t table;
};

/* This rebuild's table must still be the one beside. */
static enum quipu_status checkpoint_of_shadow(const struct replay *replay,
                                              struct checkpoint *checkpoint,
                                              struct quipu_error *err)
{
    struct registry_row *row = &checkpoint->row;
    if (row->beside != replay->shadow || row->beside_version != replay->projection->version) {
        return quipu_error_set(err, QUIPU_BUSY,
                               "projection %s: another rebuild of it has begun; let that one end",
                               replay->projection->name);
    }
    checkpoint->position = &row->beside_position;
    checkpoint->table = row->beside;
    return QUIPU_OK;
}

static enum quipu_status checkpoint_load(const struct replay *replay, struct quipu_txn *txn,
                                         struct checkpoint *checkpoint, struct quipu_error *err)
{
    enum quipu_status status = registry_get(txn, replay->projection->name, &checkpoint->row, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (replay->shadow != 0) {
        return checkpoint_of_shadow(replay, checkpoint, err);
    }
    if (checkpoint->row.version != replay->projection->version) {
        return quipu_error_set(err, QUIPU_BUSY,
                               "projection %s: it was rebuilt as version %" PRIu64
                               " while version %" PRIu64 " was being replayed",
                               replay->projection->name, checkpoint->row.version,
                               replay->projection->version);
    }
    checkpoint->position = &checkpoint->row.position;
    checkpoint->table = checkpoint->row.table;
    return QUIPU_OK;
}

static enum quipu_status event_apply(struct replay *replay, struct quipu_txn *txn,
                                     uint64_t position, struct quipu_error *err)
{
    struct quipu_record record;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_event_view view;
    status = quipu_event_view_of(&record, &view, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct quipu_projection *projection = replay->projection;
    rows_event_begin(&replay->rows);
    status = projection->apply(projection->ctx, &replay->rows, &view, err);
    if (status == QUIPU_OK) {
        return QUIPU_OK;
    }
    rows_event_undo(&replay->rows);
    if (status == QUIPU_DONE) {
        status = quipu_error_set(err, QUIPU_MISUSE, "its handler may not return QUIPU_DONE");
    }
    return quipu_error_wrap(err, status, "projection %s stopped in front of position %" PRIu64,
                            projection->name, position);
}

/* Apply events until the slice is full, the log ends or one fails. `*failure` is the latter's; the
 * events before it stand. */
static void events_apply(struct replay *replay, struct quipu_txn *txn, uint64_t *position,
                         enum quipu_status *failure, struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    for (uint64_t i = 0; i < SLICE_EVENTS_MAX && *position < last; i++) {
        *failure = event_apply(replay, txn, *position + 1, err);
        if (*failure != QUIPU_OK) {
            return;
        }
        ++*position;
        replay->applied++;
        if (rows_are_many(&replay->rows)) {
            return;
        }
    }
}

/* The second table becomes the first, and the old one is to be cleared. */
static void shadow_swap(struct replay *replay, struct registry_row *row)
{
    uint32_t old = row->table;
    row->table = row->beside;
    row->version = row->beside_version;
    row->position = row->beside_position;
    row->beside = old;
    row->beside_version = 0;
    row->beside_position = 0;
    replay->shadow = 0;
}

/* One slice. @retval QUIPU_DONE  the end of the log is reached */
static enum quipu_status replay_slice(struct replay *replay, struct quipu_txn **txn,
                                      struct quipu_error *err)
{
    struct checkpoint checkpoint;
    enum quipu_status status = checkpoint_load(replay, *txn, &checkpoint, err);
    if (status != QUIPU_OK) {
        return status;
    }
    rows_attach(&replay->rows, *txn, (struct quipu_table){checkpoint.table});
    uint64_t before = *checkpoint.position;
    uint64_t applied_before = replay->applied;
    enum quipu_status failure = QUIPU_OK;
    events_apply(replay, *txn, checkpoint.position, &failure, err);
    bool is_at_end = *checkpoint.position == quipu_txn_last_position(*txn);
    bool is_changed = *checkpoint.position != before;
    if (replay->shadow != 0 && is_at_end) {
        shadow_swap(replay, &checkpoint.row);
        is_changed = true;
    }
    struct quipu_error inner;
    if (is_changed) {
        status = rows_flush(&replay->rows, &inner);
    }
    if (status == QUIPU_OK && is_changed) {
        status = registry_put(*txn, replay->projection->name, &checkpoint.row, &inner);
    }
    if (status == QUIPU_OK && is_changed) {
        status = quipu_failpoint("engine.replay.slice", &inner);
    }
    if (status == QUIPU_OK && is_changed) {
        status = quipu_txn_commit(txn, &inner);
    }
    rows_discard(&replay->rows);
    if (status != QUIPU_OK) {
        replay->applied = applied_before;
        return quipu_error_set(err, status, "%s", inner.message);
    }
    if (failure != QUIPU_OK) {
        return failure;
    }
    return is_at_end ? QUIPU_DONE : QUIPU_OK;
}

static enum quipu_status replay_run(struct replay *replay, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct quipu_txn *txn = NULL;
        status = quipu_txn_begin_write(replay->engine->store, &txn, err);
        if (status == QUIPU_OK) {
            status = replay_slice(replay, &txn, err);
        }
        quipu_txn_abort(&txn);
    }
    return status == QUIPU_DONE ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ beginning */

enum replay_start { START_FIRST, START_CATCH_UP, START_REBUILD, START_NOTHING };

/* What there is to do, seen from a read transaction. */
static enum quipu_status replay_look(struct replay *replay, enum quipu_replay_mode mode,
                                     enum replay_start *start, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(replay->engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct registry_row row;
    status = registry_get(txn, replay->projection->name, &row, err);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    if (status == QUIPU_NOT_FOUND) {
        *start = START_FIRST;
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (mode == QUIPU_REPLAY_REBUILD || row.version != replay->projection->version) {
        *start = START_REBUILD;
    } else {
        *start = row.position == last ? START_NOTHING : START_CATCH_UP;
    }
    return QUIPU_OK;
}

/* Give the projection its row, or, to rebuild, its row an empty table beside. */
static enum quipu_status table_allot(struct replay *replay, struct quipu_txn *txn,
                                     enum replay_start start, struct quipu_error *err)
{
    const char *name = replay->projection->name;
    struct registry_row row = {0};
    uint32_t table = 0;
    enum quipu_status status = registry_get(txn, name, &row, err);
    bool is_first = status == QUIPU_NOT_FOUND;
    if (status != QUIPU_OK && !is_first) {
        return status;
    }
    if (!is_first && start == START_FIRST) {
        return QUIPU_OK; /* another thread or process was faster: go on from there */
    }
    status = registry_new_table(txn, &table, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (is_first) {
        row.table = table;
        row.version = replay->projection->version;
    } else if (row.beside != 0) {
        return quipu_error_set(err, QUIPU_BUSY,
                               "projection %s: another rebuild of it has begun; let that one end",
                               name);
    } else {
        row.beside = table;
        row.beside_version = replay->projection->version;
        row.beside_position = 0;
        replay->shadow = table;
    }
    return registry_put(txn, name, &row, err);
}

static enum quipu_status replay_begin(struct replay *replay, enum replay_start start,
                                      struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(replay->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = table_allot(replay, txn, start, err);
    }
    if (status == QUIPU_OK) {
        return quipu_txn_commit(&txn, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status projection_check(const struct quipu_projection *projection,
                                          struct quipu_error *err)
{
    if (!name_is_token(quipu_slice_text(projection->name), QUIPU_PROJECTION_NAME_BYTES_MAX)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "projection: a name has 1 to %d bytes of a-z, 0-9, _ and -",
                               QUIPU_PROJECTION_NAME_BYTES_MAX);
    }
    if (projection->version == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "projection %s: its version must be 1 or more",
                               projection->name);
    }
    if (projection->apply == NULL) {
        return quipu_error_set(err, QUIPU_INVALID, "projection %s has no handler",
                               projection->name);
    }
    return QUIPU_OK;
}

static enum quipu_status replay_start(struct replay *replay, enum quipu_replay_mode mode,
                                      struct quipu_error *err)
{
    enum replay_start start = START_NOTHING;
    enum quipu_status status = replay_look(replay, mode, &start, err);
    if (status == QUIPU_OK) {
        status = beside_clear(replay, start == START_REBUILD, err);
    }
    if (status == QUIPU_OK && (start == START_FIRST || start == START_REBUILD)) {
        status = replay_begin(replay, start, err);
    }
    if (status == QUIPU_OK && start != START_NOTHING) {
        status = replay_run(replay, err);
    }
    if (status == QUIPU_OK && start == START_REBUILD) {
        status = beside_clear(replay, false, err);
    }
    return status;
}

enum quipu_status quipu_replay(struct quipu_engine *engine,
                               const struct quipu_projection *projection,
                               enum quipu_replay_mode mode, struct quipu_replay_report *report,
                               struct quipu_error *err)
{
    enum quipu_status status = projection_check(projection, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct replay replay = {.engine = engine, .projection = projection};
    rows_init(&replay.rows);
    status = replay_start(&replay, mode, err);
    rows_release(&replay.rows);
    if (status != QUIPU_OK || report == NULL) {
        return status;
    }
    struct quipu_replay_report done = {.applied = replay.applied};
    status = projection_digest(engine, projection->name, &done, err);
    if (status == QUIPU_OK) {
        *report = done;
    }
    return status;
}
