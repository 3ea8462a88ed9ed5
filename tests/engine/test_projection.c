/*
 * Projections: rows, catching up, failures in a handler, crashes, rebuilds, digests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_kit.h"
#include "internal/bytes.h"
#include "registry.h"
#include "rows.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(projection, .init = setup, .fini = teardown);

/* Counts events per aggregate_id as decimal text; what to do at one position. */
struct counting {
    uint64_t poison; /* fail here, after having written */
    enum quipu_status fail_with;
    uint64_t calls;
};

static enum quipu_status count_up(struct quipu_rows *rows, struct quipu_slice key,
                                  struct quipu_error *err)
{
    struct quipu_slice value;
    char text[24];
    unsigned long count = 0;
    enum quipu_status status = quipu_rows_get(rows, key, &value, err);
    if (status == QUIPU_OK) {
        (void)snprintf(text, sizeof text, "%.*s", QUIPU_SLICE_FMT(value));
        count = strtoul(text, NULL, 10);
    } else if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    (void)snprintf(text, sizeof text, "%lu", count + 1);
    return quipu_rows_put(rows, key, quipu_slice_text(text), err);
}

static enum quipu_status count_event(void *ctx, struct quipu_rows *rows,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    struct counting *counting = ctx;
    counting->calls++;
    enum quipu_status status = count_up(rows, event->envelope.aggregate_id, err);
    if (status == QUIPU_OK && event->position == counting->poison) {
        status = count_up(rows, quipu_slice_text("poisoned"), err);
        if (status == QUIPU_OK) {
            status = quipu_rows_delete(rows, event->envelope.aggregate_id, err);
        }
        return counting->fail_with == QUIPU_DONE
                   ? QUIPU_DONE
                   : quipu_error_set(err, counting->fail_with, "poison");
    }
    return status;
}

static struct quipu_projection counts(struct counting *counting)
{
    return (struct quipu_projection){
        .name = "counts", .version = 1, .apply = count_event, .ctx = counting};
}

static enum quipu_status row_text(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                  struct quipu_error *err)
{
    (void)err;
    char *text = ctx;
    size_t used = strlen(text);
    cr_assert_lt(used, 900);
    (void)snprintf(text + used, 1000 - used, "%s%.*s=%.*s", used == 0 ? "" : " ",
                   QUIPU_SLICE_FMT(key), (int)value.len,
                   value.len == 0 ? "" : (const char *)value.data);
    return QUIPU_OK;
}

static void assert_rows(const char *name, const char *prefix, const char *expected)
{
    char text[1000] = {0};
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, name, quipu_slice_text(prefix),
                                                  row_text, text, &kit.err));
    cr_assert_str_eq(text, expected);
}

/* The digest as SPEC §7 says, from rows that are given as key, value, key, value… in order. */
static void expected_digest(const char *name, uint64_t version, uint64_t position,
                            const char *const *rows, size_t count,
                            uint8_t digest[QUIPU_SHA256_BYTES])
{
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    uint8_t number[8];
    const char *heads[] = {"quipu projection 1", name};
    for (size_t i = 0; i < 2; i++) {
        quipu_store_be64(number, strlen(heads[i]));
        quipu_buf_append(&bytes, number, 8);
        quipu_buf_append_text(&bytes, heads[i]);
    }
    quipu_store_be64(number, version);
    quipu_buf_append(&bytes, number, 8);
    quipu_store_be64(number, position);
    quipu_buf_append(&bytes, number, 8);
    for (size_t i = 0; i < 2 * count; i++) {
        quipu_store_be64(number, strlen(rows[i]));
        quipu_buf_append(&bytes, number, 8);
        quipu_buf_append_text(&bytes, rows[i]);
    }
    quipu_sha256(quipu_buf_slice(&bytes), digest);
    quipu_buf_release(&bytes);
}

static enum quipu_status replay(struct counting *counting, enum quipu_replay_mode mode,
                                struct quipu_replay_report *report)
{
    struct quipu_projection projection = counts(counting);
    return quipu_replay(kit.engine, &projection, mode, report, &kit.err);
}

/* ------------------------------------------------------------------ catching up */

Test(projection, turns_history_into_rows_and_goes_on_from_its_checkpoint)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    kit_append(&kit, "b", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "b", 3);

    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 3);
    cr_assert_eq(report.position, 3);
    cr_assert_eq(report.rows, 2);
    assert_rows("counts", "", "a=1 b=2");

    kit_append(&kit, "c", 4);
    kit_reopen(&kit);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 1);
    cr_assert_eq(report.position, 4);
    cr_assert_eq(report.rows, 3);
    assert_rows("counts", "", "a=1 b=2 c=1");
    cr_assert_eq(counting.calls, 4);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 0);
    cr_assert_eq(report.rows, 3);
    kit_assert_sound(&kit, 4);
}

Test(projection, is_there_and_empty_over_an_empty_log)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    char text[8] = {0};
    cr_assert_eq(quipu_projection_each_row(kit.engine, "counts", quipu_slice(NULL, 0), row_text,
                                           text, &kit.err),
                 QUIPU_NOT_FOUND);

    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));

    cr_assert_eq(report.position, 0);
    cr_assert_eq(report.rows, 0);
    assert_rows("counts", "", "");
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_REBUILD, NULL));
    assert_rows("counts", "", "");
}

Test(projection, reports_the_digest_of_the_specification)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    uint8_t digest[QUIPU_SHA256_BYTES];
    static const char *const rows[] = {"a", "1", "b", "2"};
    kit_append(&kit, "b", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "b", 3);

    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));

    expected_digest("counts", 1, 3, rows, 2, digest);
    cr_assert(memcmp(report.digest, digest, sizeof digest) == 0);
    uint8_t before[QUIPU_SHA256_BYTES];
    memcpy(before, report.digest, sizeof before);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_REBUILD, &report));
    cr_assert(memcmp(report.digest, before, sizeof before) == 0, "a rebuild gives the same");
    kit_append(&kit, "c", 4);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert(memcmp(report.digest, before, sizeof before) != 0);
}

static enum quipu_status stop_after_one(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                        struct quipu_error *err)
{
    (void)key;
    (void)value;
    (void)err;
    ++*(int *)ctx;
    return QUIPU_DONE;
}

Test(projection, shows_rows_by_prefix_until_the_visitor_stops)
{
    struct counting counting = {0};
    int visits = 0;
    kit_append(&kit, "key-1", 1);
    kit_append(&kit, "key-2", 2);
    kit_append(&kit, "other", 3);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL));

    assert_rows("counts", "key-", "key-1=1 key-2=1");
    assert_rows("counts", "z", "");
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "counts", quipu_slice(NULL, 0),
                                                  stop_after_one, &visits, &kit.err));
    cr_assert_eq(visits, 1);
}

Test(projection, refuses_what_is_no_projection)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    char name[QUIPU_PROJECTION_NAME_BYTES_MAX + 2];
    static const char *const names[] = {NULL, "", "A", "a.b", "a b"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        projection.name = names[i];
        cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                     QUIPU_INVALID);
    }
    for (int over = -1; over <= 1; over++) {
        size_t len = (size_t)(QUIPU_PROJECTION_NAME_BYTES_MAX + over);
        memset(name, 'n', len);
        name[len] = 0;
        projection.name = name;
        cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                     over > 0 ? QUIPU_INVALID : QUIPU_OK);
    }
    projection = counts(&counting);
    projection.version = 0;
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
    projection = counts(&counting);
    projection.apply = NULL;
    cr_assert_eq(quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err),
                 QUIPU_INVALID);
}

/* ------------------------------------------------------------------ rows */

static enum quipu_status exercise_rows(void *ctx, struct quipu_rows *rows,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    (void)event;
    static uint8_t large[QUIPU_ROW_VALUE_BYTES_MAX + 1];
    static uint8_t key[QUIPU_TABLE_KEY_BYTES_MAX + 1];
    struct quipu_slice value;
    struct quipu_slice a = quipu_slice_text("a");
    ++*(int *)ctx;
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_put(rows, a, quipu_slice_text("1"), err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_OK);
    cr_assert(quipu_slice_equal(value, quipu_slice_text("1")));
    cr_assert_eq(quipu_rows_put(rows, a, quipu_slice(NULL, 0), err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_OK);
    cr_assert_eq(value.len, 0);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_OK);
    cr_assert_eq(quipu_rows_get(rows, a, &value, err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_rows_delete(rows, a, err), QUIPU_NOT_FOUND);
    struct quipu_slice none = quipu_slice(NULL, 0);
    cr_assert_eq(quipu_rows_put(rows, none, a, err), QUIPU_TOO_LARGE);
    for (int over = -1; over <= 1; over++) {
        struct quipu_slice long_key = quipu_slice(key, (size_t)(QUIPU_TABLE_KEY_BYTES_MAX + over));
        struct quipu_slice long_value =
            quipu_slice(large, (size_t)((int)QUIPU_ROW_VALUE_BYTES_MAX + over));
        enum quipu_status expected = over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK;
        cr_assert_eq(quipu_rows_put(rows, long_key, none, err), expected);
        cr_assert_eq(quipu_rows_get(rows, long_key, &value, err), expected);
        cr_assert_eq(quipu_rows_put(rows, a, long_value, err), expected);
        if (over <= 0) {
            cr_assert_eq(quipu_rows_delete(rows, long_key, err), QUIPU_OK);
        }
    }
    return quipu_rows_delete(rows, a, err);
}

Test(projection, reads_its_own_writes_and_holds_rows_to_their_limits)
{
    int calls = 0;
    struct quipu_projection projection = {"rows", 1, exercise_rows, &calls};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    cr_assert_eq(calls, 2);
    assert_rows("rows", "", "");
}

/* Puts, gets and deletes of few keys, driven by position, checked against an array. */
enum { MODEL_KEYS = 97 };

struct rows_model {
    uint64_t values[MODEL_KEYS]; /* 0: absent */
    uint64_t state;
};

static enum quipu_status random_change(void *ctx, struct quipu_rows *rows,
                                       const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct rows_model *model = ctx;
    for (int i = 0; i < 4; i++) {
        uint64_t random = kit_random(&model->state);
        uint64_t key = random % MODEL_KEYS;
        char name[16];
        struct quipu_slice value;
        (void)snprintf(name, sizeof name, "k%02lu", (unsigned long)key);
        enum quipu_status found = quipu_rows_get(rows, quipu_slice_text(name), &value, err);
        cr_assert_eq(found, model->values[key] == 0 ? QUIPU_NOT_FOUND : QUIPU_OK);
        cr_assert(found != QUIPU_OK ||
                  (value.len == 8 && quipu_load_be64(value.data) == model->values[key]));
        if (random >> 60 < 5) {
            cr_assert_eq(quipu_rows_delete(rows, quipu_slice_text(name), err), found);
            model->values[key] = 0;
        } else {
            uint8_t bytes[8];
            model->values[key] = event->position * 4 + (uint64_t)i;
            quipu_store_be64(bytes, model->values[key]);
            cr_assert_eq(quipu_rows_put(rows, quipu_slice_text(name), quipu_slice(bytes, 8), err),
                         QUIPU_OK);
        }
    }
    return QUIPU_OK;
}

static enum quipu_status compare_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                     struct quipu_error *err)
{
    (void)err;
    struct rows_model *model = ctx;
    unsigned at = (unsigned)(key.data[1] - '0') * 10 + (unsigned)(key.data[2] - '0');
    cr_assert_eq(value.len, 8);
    cr_assert_eq(quipu_load_be64(value.data), model->values[at]);
    model->values[at] = 0;
    return QUIPU_OK;
}

static void append_many(size_t count)
{
    struct quipu_event *events = calloc(count, sizeof *events);
    struct quipu_event one = kit_event(&kit, "a", 1);
    for (size_t i = 0; i < count; i++) {
        events[i] = one;
    }
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, count, NULL, NULL, &kit.err));
    free(events);
}

Test(projection, agrees_with_a_model_over_random_changes_and_slices)
{
    struct rows_model model = {.state = 3};
    struct quipu_projection projection = {"model", 1, random_change, &model};
    static const size_t pieces[] = {1, 5, 100, 12000, 3};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        append_many(pieces[i]);
        kit_assert_ok(&kit,
                      quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &kit.err));
    }
    kit_assert_ok(&kit, quipu_projection_each_row(kit.engine, "model", quipu_slice(NULL, 0),
                                                  compare_row, &model, &kit.err));
    for (size_t i = 0; i < MODEL_KEYS; i++) {
        cr_assert_eq(model.values[i], 0, "row %zu is missing", i);
    }
}

static enum quipu_status put_much(void *ctx, struct quipu_rows *rows,
                                  const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    static uint8_t value[QUIPU_ROW_VALUE_BYTES_MAX];
    uint8_t key[8];
    quipu_store_be64(key, event->position);
    cr_assert_leq(rows->bytes, ROWS_CHANGES_BYTES_MAX);
    return quipu_rows_put(rows, quipu_slice(key, 8), quipu_slice(value, sizeof value), err);
}

Test(projection, writes_before_its_changes_take_much_memory)
{
    struct quipu_projection projection = {"much", 1, put_much, NULL};
    struct quipu_replay_report report;
    append_many(50);
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert_eq(report.rows, 50);
}

/* ------------------------------------------------------------------ failures */

Test(projection, stops_in_front_of_the_event_that_fails_and_keeps_the_ones_before)
{
    struct counting counting = {.poison = 3, .fail_with = QUIPU_INVALID};
    struct quipu_replay_report report = {.applied = 99};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_append(&kit, "a", 3);
    kit_append(&kit, "b", 4);

    cr_assert_eq(replay(&counting, QUIPU_REPLAY_CATCH_UP, &report), QUIPU_INVALID);

    cr_assert_not_null(strstr(kit.err.message, "position 3"), "%s", kit.err.message);
    cr_assert_not_null(strstr(kit.err.message, "poison"), "%s", kit.err.message);
    cr_assert_eq(report.applied, 99, "untouched");
    assert_rows("counts", "", "a=2");
    counting.calls = 0;
    cr_assert_eq(replay(&counting, QUIPU_REPLAY_CATCH_UP, &report), QUIPU_INVALID);
    cr_assert_eq(counting.calls, 1, "the ones before are not applied again");

    counting.poison = 0;
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.applied, 2);
    assert_rows("counts", "", "a=3 b=1");
}

Test(projection, calls_a_handler_that_ends_the_walk_misuse)
{
    struct counting counting = {.poison = 2, .fail_with = QUIPU_DONE};
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    cr_assert_eq(replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL), QUIPU_MISUSE);
    assert_rows("counts", "", "a=1");
}

/* ------------------------------------------------------------------ rebuilds */

static void registry(struct registry_row *row)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, registry_get(txn, "counts", row, &kit.err));
    quipu_txn_abort(&txn);
}

static bool table_is_empty(uint32_t table)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    enum quipu_status status =
        quipu_txn_table_seek(txn, (struct quipu_table){table}, quipu_slice(NULL, 0), QUIPU_SEEK_GE,
                             &key, &value, &kit.err);
    quipu_txn_abort(&txn);
    return status == QUIPU_DONE;
}

Test(projection, rebuilds_beside_the_old_rows_and_clears_them)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    struct registry_row before;
    struct registry_row after;
    kit_append(&kit, "a", 1);
    kit_append(&kit, "b", 2);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL));
    registry(&before);

    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_REBUILD, &report));

    registry(&after);
    cr_assert_eq(report.applied, 2);
    cr_assert_neq(after.table, before.table);
    cr_assert_eq(after.beside, 0);
    cr_assert(table_is_empty(before.table));
    assert_rows("counts", "", "a=1 b=1");
    kit_assert_sound(&kit, 2);
}

Test(projection, rebuilds_when_its_version_is_another)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_report report;
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, &report));
    uint8_t first[QUIPU_SHA256_BYTES];
    memcpy(first, report.digest, sizeof first);

    projection.version = 2;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));

    cr_assert_eq(report.applied, 2);
    assert_rows("counts", "", "a=2");
    cr_assert(memcmp(first, report.digest, sizeof first) != 0, "the digest is bound to a version");
    projection.version = 1;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert(memcmp(first, report.digest, sizeof first) == 0);
}

Test(projection, keeps_the_old_rows_while_a_rebuild_fails_and_cleans_up_with_the_next)
{
    struct counting counting = {0};
    struct registry_row row;
    append_many(15000); /* more than a slice, so that something is committed beside */
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL));
    counting.poison = 12000;
    counting.fail_with = QUIPU_INVALID;

    cr_assert_eq(replay(&counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_INVALID);

    registry(&row);
    uint32_t rest = row.beside;
    cr_assert_neq(rest, 0);
    cr_assert_eq(row.beside_position, 11999);
    cr_assert_not(table_is_empty(rest));
    assert_rows("counts", "", "a=15000");
    kit_append(&kit, "b", 1);
    counting.poison = 0;
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL));
    assert_rows("counts", "", "a=15000 b=1");
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_REBUILD, NULL));
    cr_assert(table_is_empty(rest));
    registry(&row);
    cr_assert_eq(row.beside, 0);
    assert_rows("counts", "", "a=15000 b=1");
    kit_assert_sound(&kit, 15001);
}

static void child_replay(void *ctx)
{
    struct counting counting = {0};
    kit_reopen(&kit);
    (void)replay(&counting, *(enum quipu_replay_mode *)ctx, NULL);
}

Test(projection, applies_each_event_once_whatever_slice_the_process_dies_in)
{
    enum quipu_replay_mode modes[] = {QUIPU_REPLAY_CATCH_UP, QUIPU_REPLAY_REBUILD};
    struct counting counting = {0};
    append_many(25000); /* three slices */
    for (size_t mode = 0; mode < 2; mode++) {
        int kills = 0;
        for (int slice = 1; slice <= 4; slice++) {
            char failpoint[64];
            (void)snprintf(failpoint, sizeof failpoint, "engine.replay.slice:kill:%d", slice);
            kit_shut(&kit);
            kills += WIFSIGNALED(kit_run_child(failpoint, child_replay, &modes[mode])) ? 1 : 0;
            kit_reopen(&kit);
            kit_assert_sound(&kit, 25000);
            if (mode == 1) {
                assert_rows("counts", "", "a=25000");
            }
        }
        cr_assert_geq(kills, mode == 0 ? 2 : 3);
        kit_assert_ok(&kit, replay(&counting, modes[mode], NULL));
        assert_rows("counts", "", "a=25000");
    }
    struct registry_row row;
    registry(&row);
    cr_assert_eq(row.beside, 0);
}

static void failing_replay(void *ctx)
{
    struct counting counting = {0};
    (void)ctx;
    kit_reopen(&kit);
    _exit(replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL) == QUIPU_IO ? 0 : 1);
}

Test(projection, keeps_what_was_committed_when_a_slice_fails)
{
    struct registry_row row;
    append_many(15000);
    kit_shut(&kit);
    int how = kit_run_child("engine.replay.slice:fail:2", failing_replay, NULL);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kit_reopen(&kit);
    registry(&row);
    cr_assert_eq(row.position, 10000);
    assert_rows("counts", "", "a=10000");
}

static void *rebuild_in_thread(void *ctx)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_error err;
    for (int i = 0; i < 5; i++) {
        enum quipu_status status =
            quipu_replay(kit.engine, &projection, QUIPU_REPLAY_REBUILD, NULL, &err);
        if (status != QUIPU_OK && status != QUIPU_BUSY) {
            *(enum quipu_status *)ctx = status;
        }
    }
    return NULL;
}

Test(projection, lets_two_rebuilds_get_in_each_others_way_without_harm)
{
    pthread_t threads[2];
    enum quipu_status failures[2] = {QUIPU_OK, QUIPU_OK};
    struct counting counting = {0};
    append_many(25000);
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_CATCH_UP, NULL));
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, rebuild_in_thread, &failures[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        assert_rows("counts", "", "a=25000");
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(failures[i], QUIPU_OK, "%s", quipu_status_name(failures[i]));
    }
    kit_assert_ok(&kit, replay(&counting, QUIPU_REPLAY_REBUILD, NULL));
    assert_rows("counts", "", "a=25000");
    kit_assert_sound(&kit, 25000);
}

static void *catch_up_in_thread(void *ctx)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_error err;
    *(enum quipu_status *)ctx =
        quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, NULL, &err);
    return NULL;
}

Test(projection, applies_each_event_once_in_two_threads_at_a_time)
{
    pthread_t threads[2];
    enum quipu_status ends[2];
    append_many(25000);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, catch_up_in_thread, &ends[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(ends[i], QUIPU_OK);
    }
    assert_rows("counts", "", "a=25000");
}
