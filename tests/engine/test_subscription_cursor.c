/*
 * The cursors of subscriptions: over reopening, over a crash, exactly once in the store, by name.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "engine_kit.h"
#include "internal/bytes.h"
#include "quipu/subscription.h"
#include "writer_kit.h"

static struct quipu_subscription *subscribe(struct kit *kit, const char *name)
{
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = name;
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(kit, quipu_subscription_open(kit->engine, &options, &subscription, &kit->err));
    return subscription;
}

static uint64_t next_position(struct kit *kit, struct quipu_subscription *subscription)
{
    struct quipu_event_view event;
    enum quipu_status status = quipu_subscription_next(subscription, &event, &kit->err);
    cr_assert(status == QUIPU_OK || status == QUIPU_DONE, "%s", kit->err.message);
    return status == QUIPU_OK ? event.position : 0;
}

static void assert_list(struct kit *kit, const char *expected);

static void append_n(struct kit *kit, int count)
{
    for (int n = 0; n < count; n++) {
        kit_append(kit, "a", n);
    }
}

Test(subscription_cursor, goes_on_behind_what_was_acknowledged)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 5);
    struct quipu_subscription *subscription = subscribe(&kit, "mailer");
    cr_assert_eq(next_position(&kit, subscription), 1);
    cr_assert_eq(next_position(&kit, subscription), 2);
    cr_assert_eq(next_position(&kit, subscription), 3);
    cr_assert_eq(quipu_subscription_acknowledge(subscription, 4, &kit.err), QUIPU_INVALID);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 2, &kit.err));
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 1, &kit.err));
    quipu_subscription_close(&subscription);
    kit_reopen(&kit);

    subscription = subscribe(&kit, "mailer");
    cr_assert_eq(next_position(&kit, subscription), 3, "1 did not take the cursor back");
    quipu_subscription_close(&subscription);

    subscription = subscribe(&kit, NULL);
    cr_assert_eq(next_position(&kit, subscription), 1);
    cr_assert_eq(quipu_subscription_acknowledge(subscription, 1, &kit.err), QUIPU_MISUSE);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

Test(subscription_cursor, moves_over_what_the_filter_leaves_out)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 1);
    kit_append(&kit, "b", 1);
    append_n(&kit, 10);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "b-only";
    options.aggregate_type = "thing";
    options.aggregate_id = "b";
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
    cr_assert_eq(next_position(&kit, subscription), 2);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 2, &kit.err));
    quipu_subscription_close(&subscription);
    subscription = subscribe(&kit, "b-only");
    cr_assert_eq(next_position(&kit, subscription), 0, "the log was looked at to its end");
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

static struct quipu_subscription *subscribe_to_b(struct kit *kit)
{
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "b-only";
    options.aggregate_type = "thing";
    options.aggregate_id = "b";
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(kit, quipu_subscription_open(kit->engine, &options, &subscription, &kit->err));
    return subscription;
}

/* What a host that polls does when there is nothing for it. */
Test(subscription_cursor, acknowledge_all_moves_over_what_was_left_out_and_over_nothing_else)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 10);
    struct quipu_subscription *subscription = subscribe_to_b(&kit);
    kit_assert_ok(&kit, quipu_subscription_acknowledge_all(subscription, &kit.err));
    assert_list(&kit, "b-only at 0, 10 behind\n"); /* nothing was looked at */
    cr_assert_eq(next_position(&kit, subscription), 0);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 0, &kit.err));
    assert_list(&kit, "b-only at 0, 10 behind\n"); /* at the cursor: changes nothing */
    kit_assert_ok(&kit, quipu_subscription_acknowledge_all(subscription, &kit.err));
    assert_list(&kit, "b-only at 10, 0 behind\n");

    append_n(&kit, 3);
    kit_append(&kit, "b", 1);
    append_n(&kit, 3);
    kit_append(&kit, "b", 2);
    append_n(&kit, 3);
    cr_assert_eq(next_position(&kit, subscription), 14);
    quipu_subscription_close(&subscription); /* as a kill: 14 was handed out, not acknowledged */
    subscription = subscribe_to_b(&kit);
    cr_assert_eq(next_position(&kit, subscription), 14);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 14, &kit.err));
    assert_list(&kit, "b-only at 17, 4 behind\n"); /* up to the event that is in the buffer */
    cr_assert_eq(next_position(&kit, subscription), 18);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(subscription, 14, &kit.err));
    assert_list(&kit, "b-only at 17, 4 behind\n");
    kit_assert_ok(&kit, quipu_subscription_acknowledge_all(subscription, &kit.err));
    assert_list(&kit, "b-only at 21, 0 behind\n");
    quipu_subscription_close(&subscription);

    subscription = subscribe(&kit, NULL);
    cr_assert_eq(quipu_subscription_acknowledge_all(subscription, &kit.err), QUIPU_MISUSE);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* A cursor begins to exist with the first opening: what comes in before the first acknowledgement
 * is not lost by one that starts now. */
Test(subscription_cursor, start_counts_only_where_there_is_no_cursor)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 3);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "late";
    options.start = QUIPU_START_NOW;
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
    quipu_subscription_close(&subscription);
    append_n(&kit, 2);
    kit_assert_ok(&kit, quipu_subscription_open(kit.engine, &options, &subscription, &kit.err));
    cr_assert_eq(next_position(&kit, subscription), 4);
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ by name */

static enum quipu_status list(void *ctx, const struct quipu_subscription_cursor *cursor,
                              struct quipu_error *err)
{
    (void)err;
    char *text = ctx;
    size_t len = strlen(text);
    (void)snprintf(text + len, 200 - len, "%.*s at %lu, %lu behind\n",
                   QUIPU_SLICE_FMT(cursor->name), (unsigned long)cursor->position,
                   (unsigned long)cursor->behind);
    cr_assert_gt(cursor->acknowledged_unix_us, 0);
    return QUIPU_OK;
}

static void assert_list(struct kit *kit, const char *expected)
{
    char text[200] = "";
    kit_assert_ok(kit, quipu_each_subscription(kit->engine, list, text, &kit->err));
    cr_assert_str_eq(text, expected);
}

Test(subscription_cursor, by_name)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 3);
    assert_list(&kit, "");
    struct quipu_subscription *one = subscribe(&kit, "one");
    struct quipu_subscription *two = subscribe(&kit, "two");
    cr_assert_eq(next_position(&kit, two), 1);
    kit_assert_ok(&kit, quipu_subscription_acknowledge(two, 1, &kit.err));
    assert_list(&kit, "one at 0, 3 behind\ntwo at 1, 2 behind\n");

    cr_assert_eq(quipu_subscription_reset(kit.engine, "one", 1, &kit.err), QUIPU_BUSY);
    cr_assert_eq(quipu_subscription_drop(kit.engine, "one", &kit.err), QUIPU_BUSY);
    cr_assert(strstr(kit.err.message, "subscription one: ") != NULL, "%s", kit.err.message);
    quipu_subscription_close(&one);
    quipu_subscription_close(&two);
    cr_assert_eq(quipu_subscription_reset(kit.engine, "one", 4, &kit.err), QUIPU_INVALID);
    kit_assert_ok(&kit, quipu_subscription_reset(kit.engine, "one", 3, &kit.err));
    kit_assert_ok(&kit, quipu_subscription_reset(kit.engine, "two", 0, &kit.err));
    assert_list(&kit, "one at 3, 0 behind\ntwo at 0, 3 behind\n");
    kit_assert_ok(&kit, quipu_subscription_drop(kit.engine, "two", &kit.err));
    cr_assert_eq(quipu_subscription_drop(kit.engine, "two", &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_subscription_reset(kit.engine, "two", 0, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_subscription_drop(kit.engine, "T", &kit.err), QUIPU_INVALID);
    assert_list(&kit, "one at 3, 0 behind\n");
    kit_close(&kit);
}

Test(subscription_cursor, one_holder_at_a_time)
{
    struct kit kit;
    kit_open(&kit);
    struct quipu_subscription *first = subscribe(&kit, "mailer");
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "mailer";
    struct quipu_subscription *second = NULL;
    cr_assert_eq(quipu_subscription_open(kit.engine, &options, &second, &kit.err), QUIPU_BUSY);
    cr_assert_null(second);
    quipu_subscription_close(&first);
    second = subscribe(&kit, "mailer");
    quipu_subscription_close(&second);
    kit_close(&kit);
}

static void put_cursor(struct kit *kit, const void *value, size_t len)
{
    struct quipu_txn *txn = NULL;
    const struct quipu_table table = {10};
    kit_assert_ok(kit, quipu_txn_begin_write(kit->store, &txn, &kit->err));
    kit_assert_ok(kit, quipu_txn_table_put(txn, table, quipu_slice_text("mailer"),
                                           quipu_slice(value, len), &kit->err));
    kit_assert_ok(kit, quipu_txn_commit(&txn, &kit->err));
}

static void assert_verify_finds(struct kit *kit, const char *line)
{
    struct quipu_verify_report report = {0};
    cr_assert_eq(quipu_verify(kit->engine, NULL, &report, &kit->err), QUIPU_CORRUPT);
    cr_assert_eq(report.problems, 1);
    cr_assert(strstr(kit->err.message, line) != NULL, "%s", kit->err.message);
}

Test(subscription_cursor, a_damaged_cursor_is_told_and_can_be_reset)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, 2);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "mailer";
    struct quipu_subscription *subscription = NULL;
    uint8_t row[17] = {0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9};

    put_cursor(&kit, row, sizeof row); /* too long */
    assert_verify_finds(&kit, "subscription mailer: a cursor of 17 bytes, expected 16");
    cr_assert_eq(quipu_subscription_open(kit.engine, &options, &subscription, &kit.err),
                 QUIPU_CORRUPT);
    cr_assert_null(subscription);
    kit_assert_ok(&kit, quipu_subscription_reset(kit.engine, "mailer", 2, &kit.err));
    assert_list(&kit, "mailer at 2, 0 behind\n");
    put_cursor(&kit, row, sizeof row);
    kit_assert_ok(&kit, quipu_subscription_drop(kit.engine, "mailer", &kit.err));
    assert_list(&kit, "");
    put_cursor(&kit, row, 16); /* beyond the log's end */
    assert_verify_finds(&kit, "mailer: its cursor is at 3, beyond the log's end, 2");
    cr_assert_eq(quipu_subscription_open(kit.engine, &options, &subscription, &kit.err),
                 QUIPU_CORRUPT);
    cr_assert(strstr(kit.err.message, "mailer") != NULL && strstr(kit.err.message, "3") != NULL);
    kit_assert_ok(&kit, quipu_subscription_reset(kit.engine, "mailer", 1, &kit.err));
    subscription = subscribe(&kit, "mailer");
    cr_assert_eq(next_position(&kit, subscription), 2);
    quipu_subscription_close(&subscription);
    kit_assert_sound(&kit, 2);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ crashes */

enum { EVENTS = 80 };

static void sum_key(struct quipu_slice *out)
{
    *out = quipu_slice_text("sum");
}

static const struct quipu_table host_table = {0x1000};

/* Adds the position to a row of the host's. */
static enum quipu_status add_within(void *ctx, struct quipu_txn *txn,
                                    const struct quipu_event_view *event, struct quipu_error *err)
{
    const uint64_t *fail_at = ctx;
    if (fail_at != NULL && event->position == *fail_at) {
        return quipu_error_set(err, QUIPU_INVALID, "cannot");
    }
    struct quipu_slice key;
    sum_key(&key);
    struct quipu_slice value;
    uint64_t sum = 0;
    enum quipu_status status = quipu_txn_table_get(txn, host_table, key, &value, err);
    if (status == QUIPU_OK) {
        sum = quipu_load_be64(value.data);
    } else if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    uint8_t bytes[8];
    quipu_store_be64(bytes, sum + event->position);
    return quipu_txn_table_put(txn, host_table, key, quipu_slice(bytes, sizeof bytes), err);
}

static uint64_t sum_of(struct kit *kit)
{
    struct quipu_txn *txn = NULL;
    struct quipu_slice key;
    struct quipu_slice value;
    sum_key(&key);
    kit_assert_ok(kit, quipu_txn_begin_read(kit->store, &txn, &kit->err));
    enum quipu_status status = quipu_txn_table_get(txn, host_table, key, &value, &kit->err);
    uint64_t sum = status == QUIPU_OK ? quipu_load_be64(value.data) : 0;
    quipu_txn_abort(&txn);
    return sum;
}

static const char *const child_name = "summer";

static void run_within(struct kit *kit, uint32_t buffer_events, uint64_t *fail_at,
                       enum quipu_status expected)
{
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = child_name;
    options.buffer_events = buffer_events;
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(kit, quipu_subscription_open(kit->engine, &options, &subscription, &kit->err));
    cr_assert_eq(quipu_subscription_run_within(subscription, QUIPU_RUN_CATCH_UP, add_within,
                                               fail_at, &kit->err),
                 expected, "%s", kit->err.message);
    quipu_subscription_close(&subscription);
}

static void child_within(void *ctx)
{
    struct kit *kit = ctx;
    kit_reopen(kit);
    run_within(kit, 7, NULL, QUIPU_OK);
}

Test(subscription_cursor, exactly_once_within)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, EVENTS);
    kit_shut(&kit);
    static const char *const points[] = {"engine.subscription.before_commit:kill:3",
                                         "store.commit.before:kill:4", "store.commit.after:kill:5"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        int how = kit_run_child(points[i], child_within, &kit);
        cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL, "%s", points[i]);
    }
    kit_reopen(&kit);
    uint64_t before = sum_of(&kit);
    cr_assert(before > 0 && before < EVENTS * (EVENTS + 1) / 2, "killed in the middle");
    run_within(&kit, 7, NULL, QUIPU_OK);
    cr_assert_eq(sum_of(&kit), EVENTS * (EVENTS + 1) / 2);
    kit_close(&kit);
}

Test(subscription_cursor, within_stops_in_front_of_the_event_that_fails)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, EVENTS);
    uint64_t fail_at = 10;
    for (int i = 0; i < 2; i++) {
        run_within(&kit, 32, &fail_at, QUIPU_INVALID);
        cr_assert_eq(sum_of(&kit), 45, "1 to 9");
        assert_list(&kit, "summer at 9, 71 behind\n");
    }
    fail_at = EVENTS;
    run_within(&kit, 32, &fail_at, QUIPU_INVALID);
    cr_assert_eq(sum_of(&kit), EVENTS * (EVENTS - 1) / 2);
    fail_at = 0;
    run_within(&kit, 32, &fail_at, QUIPU_OK);
    cr_assert_eq(sum_of(&kit), EVENTS * (EVENTS + 1) / 2);
    struct quipu_subscription *unnamed = subscribe(&kit, NULL);
    cr_assert_eq(
        quipu_subscription_run_within(unnamed, QUIPU_RUN_CATCH_UP, add_within, NULL, &kit.err),
        QUIPU_MISUSE);
    quipu_subscription_close(&unnamed);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ what nobody wants */

enum { LEFT_OUT = 3000 };

static enum quipu_status never(void *ctx, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    (void)ctx;
    return quipu_error_set(err, QUIPU_INVALID, "position %lu", (unsigned long)event->position);
}

static enum quipu_status never_within(void *ctx, struct quipu_txn *txn,
                                      const struct quipu_event_view *event, struct quipu_error *err)
{
    (void)txn;
    return never(ctx, event, err);
}

static enum quipu_status run_b(struct kit *kit, bool is_within)
{
    struct quipu_subscription *subscription = subscribe_to_b(kit);
    enum quipu_status status =
        is_within
            ? quipu_subscription_run_within(subscription, QUIPU_RUN_CATCH_UP, never_within, NULL,
                                            &kit->err)
            : quipu_subscription_run(subscription, QUIPU_RUN_CATCH_UP, never, NULL, &kit->err);
    quipu_subscription_close(&subscription);
    return status;
}

/* Neither run has anything to do; the second one has nothing to look at either. */
Test(subscription_cursor, a_run_moves_over_what_the_filter_leaves_out)
{
    for (int is_within = 0; is_within < 2; is_within++) {
        struct kit kit;
        kit_open(&kit);
        append_n(&kit, 100);
        kit_assert_ok(&kit, run_b(&kit, is_within != 0));
        assert_list(&kit, "b-only at 100, 0 behind\n");
        kit_reopen(&kit);
        append_n(&kit, 50);
        kit_append(&kit, "b", 1);
        append_n(&kit, 5);
        cr_assert_eq(run_b(&kit, is_within != 0), QUIPU_INVALID);
        assert_list(&kit, "b-only at 150, 6 behind\n"); /* in front of what was not dealt with */
        cr_assert_eq(run_b(&kit, is_within != 0), QUIPU_INVALID);
        cr_assert_str_eq(kit.err.message, "position 151");
        kit_close(&kit);
    }
}

/* Dies when it has gone over what nobody wants and waits: far enough for the cursor to be stored.
 */
static void child_left_out(void *ctx)
{
    struct kit *kit = ctx;
    kit_reopen(kit);
    struct quipu_subscription *subscription = subscribe_to_b(kit);
    append_n(kit, LEFT_OUT);
    kit_assert_ok(kit, quipu_subscription_run(subscription, QUIPU_RUN_ON, never, NULL, &kit->err));
}

Test(subscription_cursor, a_run_that_is_killed_does_not_look_at_it_all_again)
{
    struct kit kit;
    kit_open(&kit);
    kit_append(&kit, "a", 0);
    kit_shut(&kit);
    int how = kit_run_child("engine.subscription.rest:kill:1", child_left_out, &kit);
    cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    kit_reopen(&kit);
    char expected[64];
    (void)snprintf(expected, sizeof expected, "b-only at %d, 0 behind\n", LEFT_OUT + 1);
    assert_list(&kit, expected);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ lock files */

static int lock_files(struct kit *kit)
{
    int count = 0;
    DIR *folder = opendir(kit->path);
    cr_assert_not_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        count += strncmp(entry->d_name, "sub-", 4) == 0;
    }
    cr_assert_eq(closedir(folder), 0);
    return count;
}

Test(subscription_cursor, a_drop_takes_the_lock_file_along_and_an_unknown_name_makes_none)
{
    struct kit kit;
    kit_open(&kit);
    cr_assert_eq(quipu_subscription_reset(kit.engine, "nobody", 0, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_subscription_drop(kit.engine, "nobody", &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(lock_files(&kit), 0);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = "too-far";
    options.start = QUIPU_START_AFTER;
    options.after = 9;
    struct quipu_subscription *subscription = NULL;
    cr_assert_eq(quipu_subscription_open(kit.engine, &options, &subscription, &kit.err),
                 QUIPU_INVALID);
    cr_assert_eq(lock_files(&kit), 0);

    subscription = subscribe(&kit, "mailer");
    cr_assert_eq(lock_files(&kit), 1);
    cr_assert_eq(quipu_subscription_drop(kit.engine, "mailer", &kit.err), QUIPU_BUSY);
    cr_assert_eq(lock_files(&kit), 1, "it is held");
    quipu_subscription_close(&subscription);
    kit_assert_ok(&kit, quipu_subscription_drop(kit.engine, "mailer", &kit.err));
    cr_assert_eq(lock_files(&kit), 0);
    subscription = subscribe(&kit, "mailer");
    quipu_subscription_close(&subscription);
    kit_close(&kit);
}

/* ------------------------------------------------------------------ over a crash */

static enum quipu_status note(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    (void)err;
    FILE *file = ctx;
    cr_assert_gt(fprintf(file, "%lu\n", (unsigned long)event->position), 0);
    cr_assert_eq(fflush(file), 0);
    return QUIPU_OK;
}

static void run_noting(struct kit *kit)
{
    char path[3 * TEMP_DIR_BYTES];
    (void)snprintf(path, sizeof path, "%s/handled", kit->dir.path);
    FILE *file = fopen(path, "a");
    cr_assert_not_null(file);
    struct quipu_subscription_options options = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    options.name = child_name;
    options.acknowledge_every = 8;
    struct quipu_subscription *subscription = NULL;
    kit_assert_ok(kit, quipu_subscription_open(kit->engine, &options, &subscription, &kit->err));
    kit_assert_ok(kit,
                  quipu_subscription_run(subscription, QUIPU_RUN_CATCH_UP, note, file, &kit->err));
    quipu_subscription_close(&subscription);
    cr_assert_eq(fclose(file), 0);
}

static void child_noting(void *ctx)
{
    struct kit *kit = ctx;
    kit_reopen(kit);
    run_noting(kit);
}

/* Between the callback and the acknowledgement of the third eight: they come again, and no other.
 */
Test(subscription_cursor, at_least_once_over_a_crash)
{
    struct kit kit;
    kit_open(&kit);
    append_n(&kit, EVENTS);
    kit_shut(&kit);
    int how = kit_run_child("engine.subscription.before_acknowledge:kill:3", child_noting, &kit);
    cr_assert(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    kit_reopen(&kit);
    assert_list(&kit, "summer at 16, 64 behind\n");
    run_noting(&kit);
    assert_list(&kit, "summer at 80, 0 behind\n");

    char path[3 * TEMP_DIR_BYTES];
    (void)snprintf(path, sizeof path, "%s/handled", kit.dir.path);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    unsigned times[EVENTS + 1] = {0};
    unsigned long position;
    while (fscanf(file, "%lu", &position) == 1) {
        cr_assert(position >= 1 && position <= EVENTS);
        times[position]++;
    }
    cr_assert_eq(fclose(file), 0);
    for (size_t i = 1; i <= EVENTS; i++) {
        cr_assert_eq(times[i], i > 16 && i <= 24 ? 2 : 1, "position %zu: %u times", i, times[i]);
    }
    kit_close(&kit);
}
