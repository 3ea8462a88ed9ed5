/*
 * Looking for the nearest row: in a handler among the changes of its slice and what is stored,
 * against a model with events that are taken back; and by a reader.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"
#include "quipu/alloc.h"
#include "rows.h"

#define TABLE ((struct quipu_table){0x00fffff0})
#define KEYS  240

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(rows_seek, .init = setup, .fini = teardown);

static const enum quipu_seek seeks[] = {QUIPU_SEEK_GE, QUIPU_SEEK_GT, QUIPU_SEEK_LE, QUIPU_SEEK_LT};

/* ------------------------------------------------------------------ the model */

/* Every key that there may be, in order; what has a value is there. */
struct model {
    uint32_t values[KEYS]; /* 0: none */
};

static char keys[KEYS][8];

/* Keys of two to five bytes, some of which begin others. */
static void make_keys(void)
{
    static const char *const ends[] = {"", "!", "0", "0zz"};
    for (unsigned i = 0; i < KEYS; i++) {
        (void)snprintf(keys[i], sizeof keys[0], "%02x%s", (i / 4) & 0xff, ends[i % 4]);
    }
}

/* Index of the row that a seek finds, -1: none. */
static int model_seek(const struct model *model, const char *key, enum quipu_seek seek)
{
    int found = -1;
    for (int i = 0; i < KEYS; i++) {
        int order = strcmp(keys[i], key);
        bool is_behind = key[0] == 0 && (seek == QUIPU_SEEK_LE || seek == QUIPU_SEEK_LT);
        if (model->values[i] == 0) {
            continue;
        }
        if ((seek == QUIPU_SEEK_GE && order >= 0) || (seek == QUIPU_SEEK_GT && order > 0)) {
            return i;
        }
        if (is_behind || (seek == QUIPU_SEEK_LE && order <= 0) ||
            (seek == QUIPU_SEEK_LT && order < 0)) {
            found = i;
        }
    }
    return found;
}

static void assert_seek(struct quipu_rows *rows, const struct model *model, const char *key,
                        enum quipu_seek seek)
{
    struct quipu_slice found = {0};
    struct quipu_slice value = {0};
    int expected = model_seek(model, key, seek);
    enum quipu_status status =
        quipu_rows_seek(rows, quipu_slice_text(key), seek, &found, &value, &kit.err);
    if (expected < 0) {
        cr_assert_eq(status, QUIPU_DONE, "seek %d of \"%s\"", (int)seek, key);
        return;
    }
    kit_assert_ok(&kit, status);
    cr_assert(quipu_slice_equal(found, quipu_slice_text(keys[expected])),
              "seek %d of \"%s\": expected %s, found %.*s", (int)seek, key, keys[expected],
              QUIPU_SLICE_FMT(found));
    cr_assert_eq(value.len, sizeof model->values[0]);
    cr_assert_eq(memcmp(value.data, &model->values[expected], value.len), 0);
}

/* One event: some changes and looks; half of the events fail, and are taken back. */
static void run_event(struct quipu_rows *rows, struct model *model, uint64_t *random)
{
    struct model before = *model;
    rows_event_begin(rows);
    for (unsigned i = 0; i < 12; i++) {
        size_t at = kit_random(random) % KEYS;
        struct quipu_slice key = quipu_slice_text(keys[at]);
        uint32_t value = (uint32_t)kit_random(random) | 1;
        switch (kit_random(random) % 4) {
        case 0:
            kit_assert_ok(&kit,
                          quipu_rows_put(rows, key, quipu_slice(&value, sizeof value), &kit.err));
            model->values[at] = value;
            break;
        case 1:
            cr_assert_eq(quipu_rows_delete(rows, key, &kit.err),
                         model->values[at] == 0 ? QUIPU_NOT_FOUND : QUIPU_OK);
            model->values[at] = 0;
            break;
        default:
            assert_seek(rows, model, at % 16 == 0 ? "" : keys[at], seeks[kit_random(random) % 4]);
        }
    }
    if (kit_random(random) % 2 == 0) {
        rows_event_undo(rows);
        *model = before;
    }
}

/* Forwards and backwards, each from the key that was found. */
static void assert_walks(struct quipu_rows *rows, const struct model *model)
{
    const char *at = "";
    for (int found = 0; (found = model_seek(model, at, QUIPU_SEEK_GT)) >= 0; at = keys[found]) {
        assert_seek(rows, model, at, QUIPU_SEEK_GT);
    }
    assert_seek(rows, model, at, QUIPU_SEEK_GT);
    at = "";
    for (int found = 0; (found = model_seek(model, at, QUIPU_SEEK_LT)) >= 0; at = keys[found]) {
        assert_seek(rows, model, at, QUIPU_SEEK_LT);
    }
}

Test(rows_seek, finds_what_a_model_finds_while_rows_change_and_events_are_taken_back)
{
    struct quipu_rows rows;
    struct model model = {{0}};
    uint64_t random = 20261121;
    make_keys();
    rows_init(&rows);
    for (unsigned slice = 0; slice < 60; slice++) {
        struct quipu_txn *txn = NULL;
        kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
        rows_attach(&rows, txn, TABLE);
        assert_walks(&rows, &model); /* stored rows only */
        for (unsigned event = 0; event < 25; event++) {
            run_event(&rows, &model, &random);
        }
        assert_walks(&rows, &model); /* and with changes over them */
        kit_assert_ok(&kit, rows_flush(&rows, &kit.err));
        kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
        rows_discard(&rows);
    }
    rows_release(&rows);
}

Test(rows_seek, keeps_up_with_a_slice_of_many_keys)
{
    struct quipu_rows rows;
    struct quipu_txn *txn = NULL;
    struct quipu_slice found = {0};
    struct quipu_slice value = {0};
    char key[16];
    uint64_t seen = 0;
    rows_init(&rows);
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    rows_attach(&rows, txn, TABLE);
    for (unsigned i = 0; i < 100000; i++) {
        (void)snprintf(key, sizeof key, "%08x", i * 2654435761u);
        kit_assert_ok(
            &kit, quipu_rows_put(&rows, quipu_slice_text(key), quipu_slice_text("x"), &kit.err));
        if (i % 10 == 0) {
            kit_assert_ok(&kit, quipu_rows_seek(&rows, quipu_slice_text(key), QUIPU_SEEK_LE, &found,
                                                &value, &kit.err));
            cr_assert(quipu_slice_equal(found, quipu_slice_text(key)));
        }
    }
    found = quipu_slice(NULL, 0);
    char last[16] = "";
    while (quipu_rows_seek(&rows, found, QUIPU_SEEK_GT, &found, &value, &kit.err) == QUIPU_OK) {
        cr_assert_eq(found.len, 8u);
        cr_assert_gt(memcmp(found.data, last, 8), 0);
        memcpy(last, found.data, 8);
        seen++;
    }
    cr_assert_eq(seen, 100000u);
    rows_release(&rows);
    quipu_txn_abort(&txn);
}

Test(rows_seek, refuses_a_key_that_is_too_long)
{
    uint8_t bytes[QUIPU_TABLE_KEY_BYTES_MAX + 1] = {1};
    struct quipu_rows rows;
    struct quipu_txn *txn = NULL;
    struct quipu_slice found = {0};
    struct quipu_slice value = {0};
    rows_init(&rows);
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    rows_attach(&rows, txn, TABLE);
    cr_assert_eq(quipu_rows_seek(&rows, quipu_slice(bytes, sizeof bytes), QUIPU_SEEK_GE, &found,
                                 &value, &kit.err),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(quipu_rows_seek(&rows, quipu_slice(bytes, sizeof bytes - 1), QUIPU_SEEK_GE, &found,
                                 &value, &kit.err),
                 QUIPU_DONE);
    rows_release(&rows);
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ memory */

static struct {
    uint64_t calls;
    uint64_t fail_at; /* 0: none */
} memory;

static void *reallocate(void *ctx, void *pointer, size_t bytes)
{
    (void)ctx;
    return ++memory.calls == memory.fail_at ? NULL : realloc(pointer, bytes);
}

static void release(void *ctx, void *pointer)
{
    (void)ctx;
    free(pointer);
}

Test(rows_seek, says_so_where_there_is_no_memory_for_the_order)
{
    struct quipu_allocator allocator = {reallocate, release, NULL};
    struct quipu_rows rows;
    struct quipu_txn *txn = NULL;
    struct quipu_slice found = {0};
    struct quipu_slice value = {0};
    quipu_alloc_set(&allocator);
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    bool was_short = true;
    for (uint64_t n = 1; was_short; n++) {
        rows_init(&rows);
        rows_attach(&rows, txn, TABLE);
        kit_assert_ok(
            &kit, quipu_rows_put(&rows, quipu_slice_text("b"), quipu_slice_text("2"), &kit.err));
        memory.calls = 0;
        memory.fail_at = n;
        enum quipu_status status =
            quipu_rows_seek(&rows, quipu_slice_text("a"), QUIPU_SEEK_GE, &found, &value, &kit.err);
        was_short = memory.calls >= n;
        memory.fail_at = 0;
        cr_assert_eq(status, was_short ? QUIPU_NO_MEMORY : QUIPU_OK, "allocation %d", (int)n);
        kit_assert_ok(&kit, quipu_rows_seek(&rows, quipu_slice_text("a"), QUIPU_SEEK_GE, &found,
                                            &value, &kit.err));
        cr_assert(quipu_slice_equal(found, quipu_slice_text("b")));
        rows_release(&rows);
        cr_assert_lt(n, 20u);
    }
    quipu_txn_abort(&txn);
}

/* ------------------------------------------------------------------ a projection that seeks */

/* Rows "w/<version>" of an aggregate in a ring of the last three: the oldest one is sought and
 * deleted. A poison event fails behind its changes. */
static enum quipu_status keep_three(void *ctx, struct quipu_rows *rows,
                                    const struct quipu_event_view *event, struct quipu_error *err)
{
    const uint64_t *poison = ctx;
    char key[32];
    struct quipu_slice found = {0};
    struct quipu_slice value = {0};
    unsigned long long version = event->envelope.version;
    (void)snprintf(key, sizeof key, "w/%08llu", version);
    enum quipu_status status =
        quipu_rows_put(rows, quipu_slice_text(key), quipu_slice_text("x"), err);
    if (status == QUIPU_OK && version > 3) {
        status = quipu_rows_seek(rows, quipu_slice_text("w/"), QUIPU_SEEK_GE, &found, &value, err);
    }
    if (status == QUIPU_OK && version > 3) {
        cr_assert_leq(found.len, sizeof key);
        memcpy(key, found.data, found.len); /* it lives until the delete */
        status = quipu_rows_delete(rows, quipu_slice(key, found.len), err);
    }
    if (status == QUIPU_OK && event->position == *poison) {
        return quipu_error_set(err, QUIPU_INVALID, "poison");
    }
    return status;
}

static enum quipu_status replay(uint64_t *poison, uint32_t slice_events)
{
    struct quipu_projection projection = {
        .name = "ring", .version = 1, .apply = keep_three, .ctx = poison};
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.slice_events = slice_events;
    return quipu_replay_with(kit.engine, &projection, &options, NULL, &kit.err);
}

/* All keys, each with a space behind, as a reader walks over them backwards and forwards. */
struct walked {
    char text[128];
    struct quipu_slice prefix;
};

static enum quipu_status walk(void *ctx, struct quipu_rows *rows, struct quipu_error *err)
{
    struct walked *walked = ctx;
    struct quipu_slice key = {0};
    struct quipu_slice value = {0};
    enum quipu_status status = quipu_rows_seek(rows, key, QUIPU_SEEK_LE, &key, &value, err);
    while (status == QUIPU_OK) {
        cr_assert_eq(quipu_rows_get(rows, key, &value, err), QUIPU_OK);
        status = quipu_rows_seek(rows, key, QUIPU_SEEK_LT, &key, &value, err);
    }
    if (status != QUIPU_DONE) {
        return status;
    }
    status = quipu_rows_seek(rows, walked->prefix, QUIPU_SEEK_GE, &key, &value, err);
    while (status == QUIPU_OK) {
        size_t len = strlen(walked->text);
        (void)snprintf(walked->text + len, sizeof walked->text - len, "%.*s ",
                       QUIPU_SLICE_FMT(key));
        status = quipu_rows_seek(rows, key, QUIPU_SEEK_GT, &key, &value, err);
    }
    return status;
}

static void assert_ring(const char *expected)
{
    struct walked walked = {.prefix = quipu_slice_text("w/")};
    kit_assert_ok(&kit, quipu_projection_read_rows(kit.engine, "ring", walk, &walked, &kit.err));
    cr_assert_str_eq(walked.text, expected);
}

Test(rows_seek, serves_a_projection_that_drops_its_oldest_row_whatever_the_slices)
{
    uint64_t poison = 0;
    for (int i = 0; i < 40; i++) {
        kit_append(&kit, "a", i);
    }
    for (uint32_t events = 1; events <= 40; events += 13) {
        kit_assert_ok(&kit, replay(&poison, events));
        assert_ring("w/00000038 w/00000039 w/00000040 ");
        kit_assert_ok(&kit, quipu_projection_drop(kit.engine, "ring", &kit.err));
    }
    poison = 20;
    cr_assert_eq(replay(&poison, 0), QUIPU_INVALID);
    assert_ring("w/00000017 w/00000018 w/00000019 ");
    poison = 0;
    kit_assert_ok(&kit, quipu_projection_retry(kit.engine, "ring", &kit.err));
    kit_assert_ok(&kit, replay(&poison, 0));
    assert_ring("w/00000038 w/00000039 w/00000040 ");
}

/* ------------------------------------------------------------------ a reader */

static enum quipu_status try_to_write(void *ctx, struct quipu_rows *rows, struct quipu_error *err)
{
    struct quipu_slice key = quipu_slice_text("w/00000001");
    struct quipu_slice value = {0};
    (void)ctx;
    cr_assert_eq(quipu_rows_put(rows, key, key, err), QUIPU_MISUSE);
    cr_assert_eq(quipu_rows_delete(rows, key, err), QUIPU_MISUSE);
    cr_assert_eq(quipu_rows_get(rows, key, &value, err), QUIPU_OK);
    return quipu_error_set(err, QUIPU_STOPPED, "that is enough");
}

Test(rows_seek, lets_a_reader_change_nothing)
{
    uint64_t poison = 0;
    cr_assert_eq(quipu_projection_read_rows(kit.engine, "ring", try_to_write, NULL, &kit.err),
                 QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_projection_read_rows(kit.engine, "ring", NULL, NULL, &kit.err),
                 QUIPU_MISUSE);
    kit_append(&kit, "a", 1);
    kit_assert_ok(&kit, replay(&poison, 0));
    cr_assert_eq(quipu_projection_read_rows(kit.engine, "ring", try_to_write, NULL, &kit.err),
                 QUIPU_STOPPED);
    cr_assert_str_eq(kit.err.message, "that is enough");
    assert_ring("w/00000001 ");
}
