/*
 * Rebuilding a projection: the swap, crashes and failures in its slices, two at a time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "counting_kit.h"
#include "registry.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(rebuild, .init = setup, .fini = teardown);

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

Test(rebuild, rebuilds_beside_the_old_rows_and_clears_them)
{
    struct counting counting = {0};
    struct quipu_replay_report report;
    struct registry_row before;
    struct registry_row after;
    kit_append(&kit, "a", 1);
    kit_append(&kit, "b", 2);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    registry(&before);

    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, &report));

    registry(&after);
    cr_assert_eq(report.applied, 2);
    cr_assert_neq(after.table, before.table);
    cr_assert_eq(after.beside, 0);
    cr_assert(table_is_empty(before.table));
    counts_assert_rows(&kit, "counts", "", "a=1 b=1");
    kit_assert_sound(&kit, 2);
}

Test(rebuild, rebuilds_when_its_version_is_another)
{
    struct counting counting = {0};
    struct quipu_projection projection = counts(&counting);
    struct quipu_replay_report report;
    kit_append(&kit, "a", 1);
    kit_append(&kit, "a", 2);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, &report));
    uint8_t first[QUIPU_SHA256_BYTES];
    memcpy(first, report.digest, sizeof first);

    projection.version = 2;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));

    cr_assert_eq(report.applied, 2);
    counts_assert_rows(&kit, "counts", "", "a=2");
    cr_assert(memcmp(first, report.digest, sizeof first) != 0, "the digest is bound to a version");
    projection.version = 1;
    kit_assert_ok(&kit,
                  quipu_replay(kit.engine, &projection, QUIPU_REPLAY_CATCH_UP, &report, &kit.err));
    cr_assert(memcmp(first, report.digest, sizeof first) == 0);
}

Test(rebuild, keeps_the_old_rows_while_a_rebuild_fails_and_cleans_up_with_the_next)
{
    struct counting counting = {0};
    struct registry_row row;
    kit_append_many(&kit, 15000); /* more than a slice, so that something is committed beside */
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    counting.poison = 12000;
    counting.fail_with = QUIPU_INVALID;

    cr_assert_eq(counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL), QUIPU_INVALID);

    registry(&row);
    uint32_t rest = row.beside;
    cr_assert_neq(rest, 0);
    cr_assert_eq(row.beside_position, 11999);
    cr_assert_not(table_is_empty(rest));
    counts_assert_rows(&kit, "counts", "", "a=15000");
    kit_append(&kit, "b", 1);
    counting.poison = 0;
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    counts_assert_rows(&kit, "counts", "", "a=15000 b=1");
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL));
    cr_assert(table_is_empty(rest));
    registry(&row);
    cr_assert_eq(row.beside, 0);
    counts_assert_rows(&kit, "counts", "", "a=15000 b=1");
    kit_assert_sound(&kit, 15001);
}

static void child_replay(void *ctx)
{
    struct counting counting = {0};
    kit_reopen(&kit);
    (void)counts_replay(&kit, &counting, *(enum quipu_replay_mode *)ctx, NULL);
}

Test(rebuild, applies_each_event_once_whatever_slice_the_process_dies_in)
{
    enum quipu_replay_mode modes[] = {QUIPU_REPLAY_CATCH_UP, QUIPU_REPLAY_REBUILD};
    struct counting counting = {0};
    kit_append_many(&kit, 25000); /* three slices */
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
                counts_assert_rows(&kit, "counts", "", "a=25000");
            }
        }
        cr_assert_geq(kills, mode == 0 ? 2 : 3);
        kit_assert_ok(&kit, counts_replay(&kit, &counting, modes[mode], NULL));
        counts_assert_rows(&kit, "counts", "", "a=25000");
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
    _exit(counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL) == QUIPU_IO ? 0 : 1);
}

Test(rebuild, keeps_what_was_committed_when_a_slice_fails)
{
    struct registry_row row;
    kit_append_many(&kit, 15000);
    kit_shut(&kit);
    int how = kit_run_child("engine.replay.slice:fail:2", failing_replay, NULL);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kit_reopen(&kit);
    registry(&row);
    cr_assert_eq(row.position, 10000);
    counts_assert_rows(&kit, "counts", "", "a=10000");
}

/* A row for each event, so that clearing takes more than one transaction. */
static enum quipu_status put_row(void *ctx, struct quipu_rows *rows,
                                 const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)ctx;
    return quipu_rows_put(rows, quipu_slice(event->cid.digest, sizeof event->cid.digest),
                          event->payload, err);
}

static const struct quipu_projection many_rows = {.name = "counts", .version = 1, .apply = put_row};

/* In slices of 10,000 events, however fast or slow this machine is. */
static enum quipu_status many_replay(enum quipu_replay_mode mode,
                                     struct quipu_replay_report *report)
{
    struct quipu_replay_options options = QUIPU_REPLAY_OPTIONS_INIT;
    options.mode = mode;
    options.slice_events = 10000;
    options.slice_us = 60000000;
    return quipu_replay_with(kit.engine, &many_rows, &options, report, &kit.err);
}

static void child_rebuild(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_REBUILD, NULL));
}

static void child_catch_up(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_CATCH_UP, NULL));
}

Test(rebuild, clears_old_rows_in_slices_and_goes_on_after_a_crash_in_them)
{
    struct registry_row row;
    struct quipu_replay_report report;
    kit_append_many(&kit, 15000);
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_CATCH_UP, NULL));
    registry(&row);
    uint32_t old = row.table;

    kit_shut(&kit);
    cr_assert(WIFSIGNALED(kit_run_child("engine.replay.cleared:kill", child_rebuild, NULL)));
    kit_reopen(&kit);
    registry(&row);
    cr_assert_eq(row.beside, old, "swapped, and half cleared");
    cr_assert_eq(row.beside_version, 0);
    kit_shut(&kit);
    cr_assert(WIFEXITED(kit_run_child("engine.replay.cleared:kill:9", child_catch_up, NULL)));
    kit_reopen(&kit);
    registry(&row);
    cr_assert_eq(row.beside, 0);
    cr_assert(table_is_empty(old));
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_CATCH_UP, &report));
    cr_assert_eq(report.rows, 15000);
}

Test(rebuild, makes_the_rest_of_another_rebuild_its_own_to_clear)
{
    struct registry_row row;
    kit_append_many(&kit, 25000);
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_CATCH_UP, NULL));
    kit_shut(&kit);
    cr_assert(WIFSIGNALED(kit_run_child("engine.replay.slice:kill:3", child_rebuild, NULL)));
    cr_assert(WIFSIGNALED(kit_run_child("engine.replay.cleared:kill", child_rebuild, NULL)));
    kit_reopen(&kit);
    registry(&row);
    cr_assert_neq(row.beside, 0);
    cr_assert_eq(row.beside_version, 0, "whoever filled it can no longer go on");
    cr_assert_not(table_is_empty(row.beside));
    uint32_t rest = row.beside;
    kit_assert_ok(&kit, many_replay(QUIPU_REPLAY_CATCH_UP, NULL));
    registry(&row);
    cr_assert_eq(row.beside, 0);
    cr_assert(table_is_empty(rest));
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

Test(rebuild, lets_two_rebuilds_get_in_each_others_way_without_harm)
{
    pthread_t threads[2];
    enum quipu_status failures[2] = {QUIPU_OK, QUIPU_OK};
    struct counting counting = {0};
    kit_append_many(&kit, 25000);
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_CATCH_UP, NULL));
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, rebuild_in_thread, &failures[i]), 0);
    }
    for (int i = 0; i < 20; i++) {
        counts_assert_rows(&kit, "counts", "", "a=25000");
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(failures[i], QUIPU_OK, "%s", quipu_status_name(failures[i]));
    }
    kit_assert_ok(&kit, counts_replay(&kit, &counting, QUIPU_REPLAY_REBUILD, NULL));
    counts_assert_rows(&kit, "counts", "", "a=25000");
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

Test(rebuild, applies_each_event_once_in_two_threads_at_a_time)
{
    pthread_t threads[2];
    enum quipu_status ends[2];
    kit_append_many(&kit, 25000);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, catch_up_in_thread, &ends[i]), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(ends[i], QUIPU_OK);
    }
    counts_assert_rows(&kit, "counts", "", "a=25000");
}
