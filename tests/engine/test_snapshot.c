/*
 * Snapshots: written when due, used when they agree with the log, passed over when they do not.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "after_test.h"
#include "command_kit.h"
#include "fork_kit.h"
#include "snapshot.h"
#include "tables.h"

static struct kit kit;
static struct tally_ctx calls;
static struct quipu_aggregate_kind kind;

static void setup(void)
{
    kit_open(&kit);
    calls = (struct tally_ctx){0};
    kind = tally_kind(&calls, 4);
}

static void teardown(void)
{
    after_test_require(calls.live == 0, "every state is destroyed");
    kit_close(&kit);
}

TestSuite(snapshot, .init = setup, .fini = teardown);

static void append(const char *id, int count)
{
    for (int i = 1; i <= count; i++) {
        kit_append(&kit, id, i);
    }
}

/* Load; the state must be what the log says, and the snapshot must have been this. */
static struct quipu_loaded load(const char *id, enum quipu_snapshot_found found)
{
    struct quipu_loaded loaded;
    tally_assert_equal(tally_load(&kit, &kind, id, &loaded), tally_from_log(&kit, id));
    cr_assert_eq(loaded.snapshot, found, "expected %s, found %s", quipu_snapshot_found_text(found),
                 quipu_snapshot_found_text(loaded.snapshot));
    return loaded;
}

static struct quipu_snapshot_counters counters(void)
{
    struct quipu_snapshot_counters out;
    quipu_snapshot_counters(kit.engine, &out);
    return out;
}

static const struct quipu_aggregate aggregate_a = {{(const uint8_t *)"thing", 5},
                                                   {(const uint8_t *)"a", 1}};

static void row_put(struct quipu_slice value)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_write(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_put(txn, TABLE_SNAPSHOTS,
                                            snapshot_key(aggregate_a, storage), value, &kit.err));
    kit_assert_ok(&kit, quipu_txn_commit(&txn, &kit.err));
}

/* A copy of the row of "a". */
static struct quipu_buf row_get(void)
{
    uint8_t storage[SNAPSHOT_KEY_BYTES_MAX];
    struct quipu_txn *txn = NULL;
    struct quipu_slice value;
    struct quipu_buf copy = QUIPU_BUF_INIT;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_table_get(txn, TABLE_SNAPSHOTS,
                                            snapshot_key(aggregate_a, storage), &value, &kit.err));
    quipu_buf_append_slice(&copy, value);
    quipu_txn_abort(&txn);
    return copy;
}

static void row_put_fields(const struct snapshot_row *row)
{
    struct quipu_buf value = QUIPU_BUF_INIT;
    kit_assert_ok(&kit, snapshot_row_encode(row, &value, &kit.err));
    row_put(quipu_buf_slice(&value));
    quipu_buf_release(&value);
}

/* ------------------------------------------------------------------ when it is due */

Test(snapshot, is_written_behind_every_n_events_and_spares_reading_them)
{
    append("a", 3);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().written, 0, "three are not four");
    append("a", 1);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().written, 1);
    append("a", 3);

    struct quipu_loaded loaded = load("a", QUIPU_SNAPSHOT_USED);

    cr_assert_eq(loaded.folded, 3);
    cr_assert_eq(loaded.snapshot_version, 4);
    cr_assert_eq(loaded.version, 7);
    cr_assert_eq(loaded.position, 7);
    cr_assert_eq(counters().written, 1, "only three since");
    append("a", 1);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 4);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
    cr_assert_eq(counters().written, 2);
    kit_assert_sound(&kit, 8);
}

Test(snapshot, is_neither_read_nor_written_by_a_kind_without)
{
    kind.snapshot_every = 0;
    append("a", 9);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    struct quipu_snapshot_counters found = counters();
    cr_assert_eq(found.none + found.written + found.unwritten, 0);
    cr_assert_eq(calls.saved, 0);
}

Test(snapshot, outlives_reopening_and_its_digest_is_not_the_projections)
{
    append("a", 5);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    kit_reopen(&kit);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
    cr_assert_eq(counters().used, 1);
    cr_assert_eq(counters().none, 0, "counters are of the engine");
}

Test(snapshot, is_written_behind_the_events_of_a_command)
{
    struct add_command add = {.kit = &kit, .value = 1, .events = 3};
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &kind;
    command.aggregate_id = "a";
    command.decide = decide_add;
    command.ctx = &add;
    struct quipu_command_report report;
    kit_assert_ok(&kit, quipu_command_run(kit.engine, &command, &report, &kit.err));
    cr_assert_eq(counters().written, 0);

    kit_assert_ok(&kit, quipu_command_run(kit.engine, &command, &report, &kit.err));

    cr_assert_eq(counters().written, 1);
    cr_assert_eq(report.snapshot, QUIPU_SNAPSHOT_NONE);
    struct quipu_loaded loaded = load("a", QUIPU_SNAPSHOT_USED);
    cr_assert_eq(loaded.snapshot_version, 6);
    cr_assert_eq(loaded.folded, 0);
}

Test(snapshot, is_written_also_where_the_command_is_refused)
{
    append("a", 4);
    struct add_command add = {.kit = &kit, .value = -1000};
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &kind;
    command.aggregate_id = "a";
    command.decide = decide_add;
    command.ctx = &add;
    cr_assert_eq(quipu_command_run(kit.engine, &command, NULL, &kit.err), QUIPU_INVALID);
    cr_assert_eq(counters().written, 1);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
}

/* ------------------------------------------------------------------ what is passed over */

Test(snapshot, of_another_schema_is_passed_over_and_replaced_by_a_newer_one_only)
{
    append("a", 4);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    kind.snapshot_schema = 2;
    (void)load("a", QUIPU_SNAPSHOT_STALE);
    cr_assert_eq(counters().stale, 1);
    cr_assert_eq(counters().written, 2, "the newer program writes its own");
    (void)load("a", QUIPU_SNAPSHOT_USED);

    kind.snapshot_schema = 1;
    append("a", 4);
    (void)load("a", QUIPU_SNAPSHOT_STALE);
    cr_assert_eq(counters().written, 2, "the older one leaves it");
    cr_assert_eq(counters().unwritten, 0);
    cr_assert_eq(calls.restored, 1, "never restored from another schema");
}

Test(snapshot, of_a_newer_format_is_passed_over)
{
    append("a", 4);
    row_put(kit_block(&kit, "{\"cid\":{\"/\":"
                            "\"bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy\"},"
                            "\"state\":{\"/\":{\"bytes\":\"AA\"}},\"format\":2}"));
    (void)load("a", QUIPU_SNAPSHOT_STALE);
}

Test(snapshot, is_passed_over_whichever_of_its_bits_changes_and_wherever_it_is_cut)
{
    append("a", 6);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    struct quipu_buf row = row_get();
    calls.refuses_to_save = true; /* what is there stays */
    for (size_t i = 0; i < row.len * 8; i += 3) {
        row.data[i / 8] ^= (uint8_t)(1u << i % 8);
        row_put(quipu_buf_slice(&row));
        row.data[i / 8] ^= (uint8_t)(1u << i % 8);
        struct quipu_loaded loaded;
        tally_assert_equal(tally_load(&kit, &kind, "a", &loaded), tally_from_log(&kit, "a"));
        cr_assert_neq(loaded.snapshot, QUIPU_SNAPSHOT_USED, "bit %zu", i);
        cr_assert_eq(loaded.folded, 6);
    }
    for (size_t len = 0; len < row.len; len++) {
        row_put(quipu_slice(row.data, len));
        cr_assert_eq(load("a", QUIPU_SNAPSHOT_DAMAGED).folded, 6);
    }
    quipu_buf_append_byte(&row, 0);
    row_put(quipu_buf_slice(&row));
    (void)load("a", QUIPU_SNAPSHOT_DAMAGED);
    row_put(quipu_slice(row.data, row.len - 1));
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
    quipu_buf_release(&row);
}

Test(snapshot, that_is_damaged_is_replaced)
{
    append("a", 4);
    row_put(quipu_slice_text("no snapshot"));
    (void)load("a", QUIPU_SNAPSHOT_DAMAGED);
    cr_assert_eq(counters().damaged, 1);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
}

Test(snapshot, that_cannot_be_restored_is_passed_over_and_replaced)
{
    append("a", 4);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    calls.refuses_to_restore = true;
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_DAMAGED).folded, 4);
    cr_assert_eq(counters().written, 2);
    calls.refuses_to_restore = false;
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
}

Test(snapshot, that_the_log_does_not_know_is_passed_over)
{
    append("a", 4);
    append("b", 1);
    struct tally lie = {.events = 4, .sum = 1000};
    struct kit_foreign fourth;
    struct kit_foreign fifth;
    kit_foreign_copy(&kit, 4, &fourth);
    kit_foreign_copy(&kit, 5, &fifth);
    const struct snapshot_row good = {.schema = 1,
                                      .version = 4,
                                      .position = 4,
                                      .cid = fourth.foreign.cid,
                                      .state = quipu_slice(&lie, sizeof lie)};
    calls.refuses_to_save = true;
    for (int which = 0; which < 6; which++) {
        struct snapshot_row row = good;
        switch (which) {
        case 0:
            row.position = 6; /* behind the log's end */
            break;
        case 1:
            row.position = 0;
            break;
        case 2:
            row.position = 3; /* another event's */
            break;
        case 3:
            row.version = 5;
            break;
        case 4:
            row.cid = fifth.foreign.cid; /* another history: all else is as it should be */
            break;
        default:
            row.position = 5; /* another aggregate's */
            row.version = 1;
            row.cid = fifth.foreign.cid;
        }
        row_put_fields(&row);
        cr_assert_eq(load("a", QUIPU_SNAPSHOT_FOREIGN).folded, 4, "case %d", which);
    }
    cr_assert_eq(counters().foreign, 6);
    /* All the same, the row is used where it is right: the cases above are what matters. */
    row_put_fields(&good);
    struct quipu_loaded loaded;
    cr_assert_eq(tally_load(&kit, &kind, "a", &loaded).sum, 1000);
    cr_assert_eq(loaded.snapshot, QUIPU_SNAPSHOT_USED);
    kit_foreign_release(&fourth);
    kit_foreign_release(&fifth);
}

Test(snapshot, of_the_log_before_a_fork_came_in_still_holds)
{
    struct kit twin;
    kit_open(&twin);
    twin.random_state = 77;
    append("a", 3);
    fork_kit_take_all(&twin, &kit);
    kit_append(&kit, "a", 10);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().written, 1);
    kit_append(&twin, "a", 20);
    cr_assert_eq(fork_kit_take(&kit, &twin, 4), QUIPU_INGEST_ADDED);

    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 1);

    (void)fork_kit_merge(&kit, "a", 4);
    append("a", 2);
    (void)load("a", QUIPU_SNAPSHOT_USED);
    cr_assert_eq(counters().written, 2);
    cr_assert_eq(load("a", QUIPU_SNAPSHOT_USED).folded, 0);
    kit_close(&twin);
}

/* ------------------------------------------------------------------ what cannot be written */

Test(snapshot, that_cannot_be_written_fails_nobody)
{
    append("a", 4);
    calls.refuses_to_save = true;
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().unwritten, 1);
    calls.refuses_to_save = false;
    calls.padding = QUIPU_SNAPSHOT_STATE_BYTES_MAX - sizeof(struct tally) + 1;
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().unwritten, 2);
    cr_assert_eq(counters().written, 0);
    calls.padding--;
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    cr_assert_eq(counters().written, 1, "as large as it may be");
    (void)load("a", QUIPU_SNAPSHOT_USED);
}

static struct add_command own_add;
static void poison_next(struct add_command *add)
{
    (void)add;
    calls.fail_at = 4;
}

Test(snapshot, that_cannot_be_made_behind_a_command_does_not_fail_it)
{
    append("a", 3);
    own_add = (struct add_command){.kit = &kit, .value = 1, .meddle = poison_next};
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &kind;
    command.aggregate_id = "a";
    command.decide = decide_add;
    command.ctx = &own_add;
    kit_assert_ok(&kit, quipu_command_run(kit.engine, &command, NULL, &kit.err));
    cr_assert_eq(counters().unwritten, 1);
    cr_assert_eq(counters().written, 0);
    kit_assert_sound(&kit, 4);
}

static void load_and_die(void *ctx)
{
    (void)ctx;
    struct quipu_store *store = NULL;
    struct quipu_engine *engine = NULL;
    struct quipu_loaded loaded;
    if (quipu_store_open(kit.path, NULL, &store, NULL) == QUIPU_OK &&
        quipu_engine_open(store, NULL, &engine, NULL) == QUIPU_OK) {
        /* A kill ends it here; a failure is not told. */
        _exit(quipu_aggregate_load(engine, &kind, "a", &loaded, NULL) == QUIPU_OK ? 3 : 4);
    }
}

Test(snapshot, is_there_whole_or_not_at_all_after_a_crash)
{
    append("a", 4);
    kit_shut(&kit);
    int how = kit_run_child("engine.snapshot.before_commit:kill", load_and_die, NULL);
    cr_assert_eq(how & 0x7f, 9, "killed by the failpoint");
    how = kit_run_child("engine.snapshot.before_commit:fail", load_and_die, NULL);
    cr_assert_eq(how >> 8, 3, "the load succeeds where the commit of its snapshot fails");
    kit_reopen(&kit);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    (void)load("a", QUIPU_SNAPSHOT_USED);
}

/* ------------------------------------------------------------------ listing, dropping */

struct listing {
    char text[256];
};

static enum quipu_status list_one(void *ctx, const struct quipu_snapshot *snapshot,
                                  struct quipu_error *err)
{
    (void)err;
    struct listing *listing = ctx;
    size_t used = strlen(listing->text);
    (void)snprintf(listing->text + used, sizeof listing->text - used, "%.*s/%.*s@%" PRIu64 "%s ",
                   QUIPU_SLICE_FMT(snapshot->aggregate_type),
                   QUIPU_SLICE_FMT(snapshot->aggregate_id), snapshot->version,
                   snapshot->is_readable ? "" : "!");
    return strcmp(listing->text, "thing/a@5 ") == 0 && listing->text[200] == 's' ? QUIPU_DONE
                                                                                 : QUIPU_OK;
}

static void assert_listed(const char *type, const char *expected)
{
    struct listing listing = {.text = ""};
    kit_assert_ok(&kit, quipu_each_snapshot(kit.engine, type, list_one, &listing, &kit.err));
    cr_assert_str_eq(listing.text, expected);
}

Test(snapshot, are_listed_and_dropped)
{
    append("a", 5);
    append("b", 6);
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    (void)load("b", QUIPU_SNAPSHOT_NONE);
    assert_listed(NULL, "thing/a@5 thing/b@6 ");
    assert_listed("thing", "thing/a@5 thing/b@6 ");
    assert_listed("thin", "");
    struct listing one = {.text = ""};
    one.text[200] = 's';
    kit_assert_ok(&kit, quipu_each_snapshot(kit.engine, NULL, list_one, &one, &kit.err));
    cr_assert_str_eq(one.text, "thing/a@5 ", "QUIPU_DONE ends it");
    row_put(quipu_slice_text("damaged"));
    assert_listed("thing", "thing/a@0! thing/b@6 ");

    uint64_t dropped = 77;
    cr_assert_eq(quipu_snapshot_drop(kit.engine, "thing", "c", &dropped, &kit.err),
                 QUIPU_NOT_FOUND);
    cr_assert_str_eq(kit.err.message, "there is no snapshot of thing/c");
    cr_assert_eq(dropped, 77);
    kit_assert_ok(&kit, quipu_snapshot_drop(kit.engine, "thing", "a", &dropped, &kit.err));
    cr_assert_eq(dropped, 1);
    assert_listed(NULL, "thing/b@6 ");
    (void)load("a", QUIPU_SNAPSHOT_NONE);
    kit_assert_ok(&kit, quipu_snapshot_drop(kit.engine, "thin", NULL, &dropped, &kit.err));
    cr_assert_eq(dropped, 0);
    kit_assert_ok(&kit, quipu_snapshot_drop(kit.engine, "thing", NULL, &dropped, &kit.err));
    cr_assert_eq(dropped, 2);
    assert_listed(NULL, "");
    cr_assert_eq(quipu_snapshot_drop(kit.engine, "Thing", NULL, NULL, &kit.err), QUIPU_INVALID);
    cr_assert_eq(quipu_snapshot_drop(kit.engine, "thing", "", NULL, &kit.err), QUIPU_INVALID);
    cr_assert_eq(quipu_each_snapshot(kit.engine, "", list_one, &one, &kit.err), QUIPU_INVALID);
}

/* ------------------------------------------------------------------ the property */

/* One random history: appends and commands on three aggregates, loads at random places with random
 * policies and schemas, snapshots dropped, damaged or lied about in between. Whatever happened, a
 * loaded aggregate is what folding its events from the first one gives. */
static void history(uint64_t seed)
{
    static const char *const ids[] = {"a", "b", "c"};
    uint64_t state = seed;
    for (int step = 0; step < 60; step++) {
        const char *id = ids[kit_random(&state) % 3];
        kind.snapshot_every = 1 + kit_random(&state) % 6;
        kind.snapshot_schema = 1 + (kit_random(&state) % 8 == 0);
        switch (kit_random(&state) % 6) {
        case 0:
        case 1:
            append(id, (int)(1 + kit_random(&state) % 5));
            break;
        case 2: {
            struct add_command add = {.kit = &kit, .value = (int64_t)(kit_random(&state) % 9) - 4};
            struct quipu_command command = QUIPU_COMMAND_INIT;
            command.kind = &kind;
            command.aggregate_id = id;
            command.decide = decide_add;
            command.ctx = &add;
            enum quipu_status status = quipu_command_run(kit.engine, &command, NULL, &kit.err);
            cr_assert(status == QUIPU_OK || status == QUIPU_INVALID, "%s", kit.err.message);
            break;
        }
        case 3: {
            enum quipu_status status = quipu_snapshot_drop(
                kit.engine, "thing", kit_random(&state) % 2 == 0 ? id : NULL, NULL, &kit.err);
            cr_assert(status == QUIPU_OK || status == QUIPU_NOT_FOUND);
            break;
        }
        case 4: {
            uint8_t junk[40];
            for (size_t i = 0; i < sizeof junk; i++) {
                junk[i] = (uint8_t)kit_random(&state);
            }
            row_put(quipu_slice(junk, kit_random(&state) % sizeof junk));
            break;
        }
        default:
            calls.refuses_to_restore = kit_random(&state) % 2 == 0;
        }
        tally_assert_equal(tally_load(&kit, &kind, id, NULL), tally_from_log(&kit, id));
    }
}

Test(snapshot, never_changes_what_is_loaded, .timeout = 120)
{
    for (uint64_t seed = 1; seed <= 25; seed++) {
        history(seed);
        cr_assert_gt(counters().used, 0);
    }
    struct quipu_snapshot_counters found = counters();
    cr_assert(found.none > 0 && found.stale > 0 && found.damaged > 0 && found.written > 0);
}
