/*
 * Where a replay begins: checking what the caller calls a projection, and finding or making the
 * table that it fills. Never applies an event (projection_lane.c does).
 *
 * A projection that is new gets a row and a table. One of another version than its rows, or one
 * that is to be rebuilt, gets a second table beside the first, which readers go on in; for another
 * version, a table that an earlier replay began to fill is gone on with. What a crash left beside
 * is cleared first.
 *
 * Specification: docs/SPEC.md §7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "engine_impl.h"
#include "event_check.h"
#include "projection_lane.h"
#include "quipu/alloc.h"

/* ------------------------------------------------------------------ the lane */

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
    enum quipu_status status = QUIPU_OK;
    const char *const *name = projection->event_types;
    for (; status == QUIPU_OK && name != NULL && *name != NULL; name++) {
        status = event_type_wanted_check(*name, err);
    }
    name = projection->aggregate_types;
    for (; status == QUIPU_OK && name != NULL && *name != NULL; name++) {
        status = aggregate_wanted_check(*name, NULL, err);
    }
    return status == QUIPU_OK ? status
                              : quipu_error_wrap(err, status, "projection %s", projection->name);
}

/* Lengths are counted once, not once an event. */
static enum quipu_status name_list_init(struct name_list *list, const char *const *texts,
                                        struct quipu_error *err)
{
    if (texts == NULL) {
        return QUIPU_OK;
    }
    while (texts[list->count] != NULL) {
        list->count++;
    }
    /* One more, so that an empty list, which lets nothing through, is not one that lets all. */
    list->names = quipu_alloc_zero(list->count + 1, sizeof *list->names);
    if (list->names == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "projection: out of memory for its filter");
    }
    for (size_t i = 0; i < list->count; i++) {
        list->names[i] = quipu_slice_text(texts[i]);
    }
    return QUIPU_OK;
}

static bool name_list_has(const struct name_list *list, struct quipu_slice name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (quipu_slice_equal(list->names[i], name)) {
            return true;
        }
    }
    return list->names == NULL;
}

enum quipu_status lane_init(struct lane *lane, struct quipu_engine *engine,
                            const struct quipu_projection *projection, struct quipu_error *err)
{
    *lane = (struct lane){.engine = engine, .projection = projection};
    rows_init(&lane->rows);
    enum quipu_status status = projection_check(projection, err);
    if (status == QUIPU_OK) {
        status = name_list_init(&lane->event_types, projection->event_types, err);
    }
    if (status == QUIPU_OK) {
        status = name_list_init(&lane->aggregate_types, projection->aggregate_types, err);
    }
    return status;
}

void lane_release(struct lane *lane)
{
    quipu_store_lock_release(&lane->claim);
    quipu_free(lane->event_types.names);
    quipu_free(lane->aggregate_types.names);
    rows_release(&lane->rows);
}

bool lane_wants(const struct lane *lane, const struct quipu_record *record)
{
    return name_list_has(&lane->event_types, record->event_type) &&
           name_list_has(&lane->aggregate_types, record->aggregate.type);
}

/* ------------------------------------------------------------------ where it goes on */

enum start { START_FIRST, START_CATCH_UP, START_RESUME, START_REBUILD };

static enum start start_of(const struct lane *lane, const struct registry_row *row,
                           enum quipu_replay_mode mode)
{
    uint64_t version = lane->projection->version;
    if (mode == QUIPU_REPLAY_REBUILD) {
        return START_REBUILD;
    }
    if (row->version == version) {
        return START_CATCH_UP;
    }
    return row->beside != 0 && row->beside_version == version && !row->is_causal ? START_RESUME
                                                                                 : START_REBUILD;
}

/* The rebuild beside that a catch-up clears: one that is left over. One that is parked stays, so
 * that a person can see why; retry or skip ends the park, and then it goes. */
static enum quipu_status left_over_look(struct lane *lane, struct quipu_txn *txn,
                                        const struct registry_row *row, uint32_t *take_over,
                                        struct quipu_error *err)
{
    struct park park;
    bool is_left_over = false;
    enum quipu_status status = beside_is_left_over(lane->engine, row, &is_left_over, err);
    if (status != QUIPU_OK || !is_left_over) {
        return status;
    }
    status = park_get(txn, lane->projection->name, row->beside, &park, err);
    *take_over = status == QUIPU_NOT_FOUND ? row->beside : 0;
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* What there is to do, seen from a read transaction, and which rebuild to clear for it. A row that
 * is being dropped is none. */
static enum quipu_status lane_look(struct lane *lane, enum quipu_replay_mode mode,
                                   enum start *start, uint32_t *take_over, struct quipu_error *err)
{
    const char *name = lane->projection->name;
    struct quipu_txn *txn = NULL;
    struct registry_row row;
    enum quipu_status status = quipu_txn_begin_read(lane->engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    *start = START_FIRST;
    status = registry_get(txn, name, &row, err);
    if (status == QUIPU_OK) {
        *start = start_of(lane, &row, mode);
    }
    if (status == QUIPU_OK && row.is_paused) {
        status = registry_is_paused(name, err);
    }
    if (status == QUIPU_OK && *start == START_CATCH_UP) {
        status = left_over_look(lane, txn, &row, take_over, err);
    } else if (status == QUIPU_OK && *start == START_REBUILD) {
        *take_over = BESIDE_ANY;
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

/* Take the table beside that is there, or a new one. */
static enum quipu_status beside_take(struct lane *lane, struct quipu_txn *txn, enum start start,
                                     struct registry_row *row, struct quipu_error *err)
{
    const struct quipu_projection *projection = lane->projection;
    if (start == START_RESUME) {
        lane->shadow = row->beside;
        return QUIPU_DONE;
    }
    if (row->beside != 0) {
        return registry_is_rebuilt(projection->name, err);
    }
    enum quipu_status status = registry_new_table(txn, &row->beside, err);
    if (status == QUIPU_OK) {
        status = quipu_store_claim_take(lane->engine->store, CLAIM_REBUILD, row->beside,
                                        &lane->claim, err);
    }
    if (status == QUIPU_OK) {
        row->beside_version = projection->version;
        row->beside_position = 0;
        row->is_causal = false;
        lane->shadow = row->beside;
    }
    return status;
}

/* Give the projection its row, or, to rebuild, its row an empty table beside. What others did since
 * we looked is seen here. @retval QUIPU_DONE  it is all there */
static enum quipu_status table_allot(struct lane *lane, struct quipu_txn *txn,
                                     enum quipu_replay_mode mode, struct quipu_error *err)
{
    const char *name = lane->projection->name;
    struct registry_row row = {0};
    enum quipu_status status = registry_get_any(txn, name, &row, err);
    if (status == QUIPU_NOT_FOUND) {
        row.version = lane->projection->version;
        status = registry_new_table(txn, &row.table, err);
        return status == QUIPU_OK ? registry_put(txn, name, &row, err) : status;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (row.is_dropped) {
        return quipu_error_set(err, QUIPU_BUSY, "projection %s is being dropped; let that end",
                               name);
    }
    enum start start = start_of(lane, &row, mode);
    if (start == START_CATCH_UP) {
        return QUIPU_DONE;
    }
    status = beside_take(lane, txn, start, &row, err);
    return status == QUIPU_OK ? registry_put(txn, name, &row, err) : status;
}

enum quipu_status lane_begin(struct lane *lane, enum quipu_replay_mode mode,
                             struct quipu_error *err)
{
    const char *name = lane->projection->name;
    enum start start = START_FIRST;
    uint32_t take_over = 0;
    lane->shadow = 0;
    quipu_store_lock_release(&lane->claim);
    enum quipu_status status = drop_finish(lane->engine, name, err);
    if (status == QUIPU_OK) {
        status = lane_look(lane, mode, &start, &take_over, err);
    }
    if (status == QUIPU_OK) {
        status = beside_clear(lane->engine, name, take_over, err);
    }
    if (status != QUIPU_OK || start == START_CATCH_UP) {
        return status;
    }
    struct quipu_txn *txn = NULL;
    status = quipu_txn_begin_write(lane->engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = table_allot(lane, txn, mode, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_txn_commit(&txn, err);
    }
    if (status != QUIPU_OK) {
        quipu_store_lock_release(&lane->claim); /* the next one gets the same number */
    }
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE ? QUIPU_OK : status;
}
