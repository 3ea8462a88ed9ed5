/*
 * The outbox: pending events, receipts in any order, dead letters, the cursor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine_kit.h"
#include "receipts.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(outbox, .init = setup, .fini = teardown);

static void fill(int count)
{
    for (int i = 0; i < count; i++) {
        kit_append(&kit, i % 2 == 0 ? "a" : "b", i);
    }
}

struct seen {
    char text[2048];
    uint64_t count;
    uint64_t stop_at; /* position */
    enum quipu_status stop_with;
};

static enum quipu_status see(void *ctx, const struct quipu_event_view *event,
                             struct quipu_error *err)
{
    struct seen *seen = ctx;
    size_t used = strlen(seen->text);
    if (used < sizeof seen->text - 24) {
        (void)snprintf(seen->text + used, sizeof seen->text - used, "%s%lu", used == 0 ? "" : " ",
                       (unsigned long)event->position);
    }
    seen->count++;
    if (event->position != seen->stop_at) {
        return QUIPU_OK;
    }
    return seen->stop_with == QUIPU_DONE ? QUIPU_DONE
                                         : quipu_error_set(err, seen->stop_with, "enough");
}

static void assert_pending(uint64_t after, uint64_t limit, const char *expected, uint64_t next)
{
    struct seen seen = {.count = 0};
    uint64_t found = 999;
    kit_assert_ok(
        &kit, quipu_outbox_each_pending(kit.engine, after, limit, see, &seen, &found, &kit.err));
    cr_assert_str_eq(seen.text, expected);
    cr_assert_eq(found, next, "next is %lu", (unsigned long)found);
}

static void assert_status(uint64_t cursor, uint64_t pending, uint64_t published, uint64_t dead)
{
    struct quipu_outbox_status status;
    kit_assert_ok(&kit, quipu_outbox_status(kit.engine, &status, &kit.err));
    cr_assert_eq(status.cursor, cursor, "cursor %lu", (unsigned long)status.cursor);
    cr_assert_eq(status.pending, pending, "pending %lu", (unsigned long)status.pending);
    cr_assert_eq(status.published, published, "published %lu", (unsigned long)status.published);
    cr_assert_eq(status.dead, dead, "dead %lu", (unsigned long)status.dead);
}

static enum quipu_status ack(uint64_t position, uint64_t sequence, bool was_duplicate)
{
    struct quipu_ack acks = {position, sequence, was_duplicate, 0};
    return quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), &acks, 1, &kit.err);
}

static enum quipu_status receipt(uint64_t position, struct quipu_receipt *out)
{
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    enum quipu_status status = quipu_receipt_at(txn, position, out, &kit.err);
    if (status == QUIPU_OK) {
        cr_assert(quipu_slice_equal(out->stream, quipu_slice_text("EVENTS")));
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ pending */

Test(outbox, holds_every_event_until_it_is_acknowledged)
{
    assert_pending(0, 10, "", 0);
    fill(5);
    assert_status(0, 5, 0, 0);
    assert_pending(0, 10, "1 2 3 4 5", 5);
    assert_pending(2, 10, "3 4 5", 5);
    assert_pending(0, 2, "1 2", 2);
    assert_pending(2, 2, "3 4", 4);
    assert_pending(5, 2, "", 5);
    assert_pending(99, 2, "", 99);
    assert_pending(0, 0, "", 0);
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), NULL, 0, &kit.err));
}

Test(outbox, ends_as_the_visitor_says)
{
    fill(5);
    struct seen seen = {.stop_at = 3, .stop_with = QUIPU_DONE};
    uint64_t next = 0;
    kit_assert_ok(&kit, quipu_outbox_each_pending(kit.engine, 0, 10, see, &seen, &next, &kit.err));
    cr_assert_str_eq(seen.text, "1 2 3");
    cr_assert_eq(next, 3);
    seen = (struct seen){.stop_at = 2, .stop_with = QUIPU_STOPPED};
    cr_assert_eq(quipu_outbox_each_pending(kit.engine, 0, 10, see, &seen, &next, &kit.err),
                 QUIPU_STOPPED);
    cr_assert_eq(next, 3, "untouched");
}

Test(outbox, hands_out_more_than_one_transaction_may_read)
{
    enum { COUNT = 25000 };
    struct quipu_event *events = calloc(COUNT, sizeof *events);
    struct quipu_event one = kit_event(&kit, "a", 1);
    struct seen seen = {.count = 0};
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = one;
    }
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, COUNT, NULL, NULL, &kit.err));
    free(events);

    uint64_t next = 0;
    kit_assert_ok(&kit,
                  quipu_outbox_each_pending(kit.engine, 0, COUNT, see, &seen, &next, &kit.err));

    cr_assert_eq(seen.count, COUNT);
    cr_assert_eq(next, COUNT);
}

/* ------------------------------------------------------------------ receipts */

Test(outbox, keeps_what_the_server_said)
{
    fill(3);
    struct quipu_receipt said;
    cr_assert_eq(receipt(1, &said), QUIPU_NOT_FOUND);

    cr_assert_eq(ack(1, 41, false), QUIPU_OK);
    cr_assert_eq(ack(2, 17, true), QUIPU_OK);

    cr_assert_eq(receipt(1, &said), QUIPU_OK);
    cr_assert_eq(said.sequence, 41);
    cr_assert_not(said.was_duplicate);
    cr_assert_eq(receipt(2, &said), QUIPU_OK);
    cr_assert_eq(said.sequence, 17);
    cr_assert(said.was_duplicate);
    cr_assert_eq(receipt(3, &said), QUIPU_NOT_FOUND);
    cr_assert_eq(receipt(0, &said), QUIPU_NOT_FOUND);
    cr_assert_eq(receipt(99, &said), QUIPU_NOT_FOUND);
    assert_status(2, 1, 2, 0);
    kit_assert_sound(&kit, 3);
}

Test(outbox, takes_acks_in_any_order_and_moves_the_cursor_over_what_is_settled)
{
    fill(6);
    cr_assert_eq(ack(3, 3, false), QUIPU_OK);
    assert_status(0, 5, 1, 0);
    cr_assert_eq(ack(6, 6, false), QUIPU_OK);
    assert_status(0, 4, 2, 0);
    cr_assert_eq(ack(1, 1, false), QUIPU_OK);
    assert_status(1, 3, 3, 0);
    assert_pending(0, 10, "2 4 5", 6);
    cr_assert_eq(ack(2, 2, false), QUIPU_OK);
    assert_status(3, 2, 4, 0);
    const struct quipu_ack acks[] = {{5, 5, false, 0}, {4, 4, true, 0}};
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), acks, 2, &kit.err));
    assert_status(6, 0, 6, 0);
    assert_pending(0, 10, "", 6);
    for (uint64_t i = 1; i <= 6; i++) {
        struct quipu_receipt said;
        cr_assert_eq(receipt(i, &said), QUIPU_OK);
        cr_assert_eq(said.sequence, i);
    }
    kit_assert_sound(&kit, 6);
}

Test(outbox, ignores_a_second_ack)
{
    fill(2);
    const struct quipu_ack twice[] = {{1, 10, false, 0}, {1, 10, false, 0}};
    struct quipu_receipt said;
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), twice, 2, &kit.err));
    cr_assert_eq(ack(1, 99, true), QUIPU_OK);

    cr_assert_eq(receipt(1, &said), QUIPU_OK);
    cr_assert_eq(said.sequence, 10);
    assert_status(1, 1, 1, 0);
    kit_assert_sound(&kit, 2);
}

Test(outbox, records_nothing_of_acks_that_cannot_be)
{
    fill(2);
    const struct quipu_ack beyond[] = {{1, 1, false, 0}, {3, 3, false, 0}};
    const struct quipu_ack zero[] = {{1, 1, false, 0}, {0, 3, false, 0}};
    const struct quipu_ack large[] = {{1, (uint64_t)INT64_MAX + 1, false, 0}};
    struct quipu_slice stream = quipu_slice_text("EVENTS");
    char name[300];
    memset(name, 'n', sizeof name);
    cr_assert_eq(quipu_outbox_acknowledge(kit.engine, stream, beyond, 2, &kit.err),
                 QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_outbox_acknowledge(kit.engine, stream, zero, 2, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_outbox_acknowledge(kit.engine, stream, large, 1, &kit.err), QUIPU_INVALID);
    cr_assert_eq(quipu_outbox_acknowledge(kit.engine, quipu_slice(NULL, 0), beyond, 1, &kit.err),
                 QUIPU_INVALID);
    cr_assert_eq(quipu_outbox_acknowledge(kit.engine, quipu_slice(name, 256), beyond, 1, &kit.err),
                 QUIPU_INVALID);
    assert_status(0, 2, 0, 0);
    kit_assert_ok(
        &kit, quipu_outbox_acknowledge(kit.engine, quipu_slice(name, 255), beyond, 1, &kit.err));
    kit_assert_sound(&kit, 2);
}

Test(outbox, keeps_receipts_of_several_streams_apart)
{
    fill(4);
    const struct quipu_ack acks[] = {
        {1, 1, false, 0}, {2, 2, false, 0}, {3, 3, false, 0}, {4, 4, false, 0}};
    const char *const streams[] = {"ONE", "TWO", "TWO", "ONE"};
    for (size_t i = 0; i < 4; i++) {
        kit_assert_ok(&kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text(streams[i]),
                                                     &acks[i], 1, &kit.err));
    }
    struct quipu_txn *txn = NULL;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    for (size_t i = 0; i < 4; i++) {
        struct quipu_receipt said;
        kit_assert_ok(&kit, quipu_receipt_at(txn, i + 1, &said, &kit.err));
        cr_assert(quipu_slice_equal(said.stream, quipu_slice_text(streams[i])));
        cr_assert_eq(said.sequence, i + 1);
    }
    quipu_txn_abort(&txn);
    kit_assert_sound(&kit, 4);
}

static uint64_t receipt_rows(void)
{
    struct quipu_txn *txn = NULL;
    uint64_t rows = 0;
    uint64_t at = 0;
    struct receipt_run run;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    while (receipt_run_seek(txn, at, QUIPU_SEEK_GT, &run, &kit.err) == QUIPU_OK) {
        cr_assert_leq(run.count, RECEIPT_RUN_EVENTS_MAX);
        at = run.first;
        rows++;
    }
    quipu_txn_abort(&txn);
    return rows;
}

Test(outbox, packs_receipts_into_runs)
{
    enum { COUNT = 3 * RECEIPT_RUN_EVENTS_MAX + 1 };
    struct quipu_ack acks[COUNT];
    fill(COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        /* Backwards: they are sorted first. */
        acks[i] = (struct quipu_ack){COUNT - i, 10 * (COUNT - i), i % 2 == 0, 0};
    }
    /* In pieces, so that runs are gone on with. */
    for (size_t from = COUNT; from > 0;) {
        size_t count = from < 50 ? from : 50;
        from -= count;
        kit_assert_ok(&kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"),
                                                     acks + from, count, &kit.err));
    }
    assert_status(COUNT, 0, COUNT, 0);
    cr_assert_eq(receipt_rows(), 4);
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct quipu_receipt said;
        cr_assert_eq(receipt(i, &said), QUIPU_OK);
        cr_assert_eq(said.sequence, 10 * i);
        cr_assert_eq(said.was_duplicate, (COUNT - i) % 2 == 0);
    }
    kit_assert_sound(&kit, COUNT);
}

Test(outbox, agrees_with_a_model_over_random_acks)
{
    enum { COUNT = 600 };
    static bool is_settled[COUNT + 1];
    uint64_t state = 7;
    uint64_t published = 0;
    fill(COUNT);
    for (int round = 0; round < 200; round++) {
        struct quipu_ack acks[16];
        size_t count = 1 + kit_random(&state) % 16;
        uint64_t start = 1 + kit_random(&state) % COUNT;
        for (size_t i = 0; i < count; i++) {
            uint64_t position =
                (round & 1) == 0 ? 1 + (start + i - 1) % COUNT : 1 + kit_random(&state) % COUNT;
            acks[i] = (struct quipu_ack){position, 5 * position, false, 0};
            published += !is_settled[position];
            is_settled[position] = true;
        }
        kit_assert_ok(&kit, quipu_outbox_acknowledge(kit.engine, quipu_slice_text("EVENTS"), acks,
                                                     count, &kit.err));
        uint64_t cursor = 0;
        while (cursor < COUNT && is_settled[cursor + 1]) {
            cursor++;
        }
        assert_status(cursor, COUNT - published, published, 0);
    }
    for (uint64_t i = 1; i <= COUNT; i++) {
        struct quipu_receipt said;
        enum quipu_status status = receipt(i, &said);
        cr_assert_eq(status, is_settled[i] ? QUIPU_OK : QUIPU_NOT_FOUND);
        cr_assert(status != QUIPU_OK || said.sequence == 5 * i);
    }
    kit_assert_sound(&kit, COUNT);
}

/* ------------------------------------------------------------------ dead letters */

static enum quipu_status bury(uint64_t position, const char *line)
{
    return quipu_outbox_bury(kit.engine, position, QUIPU_EVENT_ID_CONFLICT, quipu_slice_text(line),
                             &kit.err);
}

struct letters {
    char text[2048];
    struct quipu_dead_letter last;
    char last_line[1100];
};

static enum quipu_status see_letter(void *ctx, const struct quipu_dead_letter *letter,
                                    struct quipu_error *err)
{
    (void)err;
    struct letters *letters = ctx;
    size_t used = strlen(letters->text);
    (void)snprintf(letters->text + used, sizeof letters->text - used, "%s%lu%s",
                   used == 0 ? "" : " ", (unsigned long)letter->position,
                   letter->is_dropped ? "x" : "");
    letters->last = *letter;
    (void)snprintf(letters->last_line, sizeof letters->last_line, "%.*s",
                   QUIPU_SLICE_FMT(letter->line));
    return QUIPU_OK;
}

static struct letters all_letters(void)
{
    struct letters letters = {{0}, {0}, {0}};
    kit_assert_ok(&kit, quipu_each_dead_letter(kit.engine, see_letter, &letters, &kit.err));
    return letters;
}

Test(outbox, goes_on_past_a_dead_letter)
{
    fill(4);
    cr_assert_eq(bury(2, "the stream refused it"), QUIPU_OK, "%s", kit.err.message);
    assert_pending(0, 10, "1 3 4", 4);
    assert_status(0, 3, 0, 1);
    cr_assert_eq(ack(1, 1, false), QUIPU_OK);
    assert_status(2, 2, 1, 1);

    struct letters letters = all_letters();
    cr_assert_str_eq(letters.text, "2");
    cr_assert_eq(letters.last.reason, QUIPU_EVENT_ID_CONFLICT);
    cr_assert_str_eq(letters.last_line, "the stream refused it");
    cr_assert_eq(letters.last.buried_unix_us, kit.now_unix_us);
    kit_assert_sound(&kit, 4);
}

Test(outbox, replaces_the_reason_of_a_dead_letter_and_cuts_a_long_line)
{
    char line[2001];
    fill(2);
    memset(line, 'x', sizeof line - 1);
    line[sizeof line - 1] = 0;
    memcpy(line + 999, "\xc3\xa4", 2); /* across the cut */
    cr_assert_eq(bury(1, "first"), QUIPU_OK);
    kit.now_unix_us += 5;
    cr_assert_eq(bury(1, line), QUIPU_OK);

    struct letters letters = all_letters();
    cr_assert_str_eq(letters.text, "1");
    cr_assert_eq(strlen(letters.last_line), 999);
    cr_assert_eq(letters.last.buried_unix_us, kit.now_unix_us);
    assert_status(1, 1, 0, 1);
    cr_assert_eq(bury(2, "bad \xff bytes"), QUIPU_OK);
    cr_assert_str_eq(all_letters().last_line, "bad ");
    kit_assert_sound(&kit, 2);
}

Test(outbox, makes_a_retried_letter_pending_again_and_moves_the_cursor_back)
{
    fill(4);
    cr_assert_eq(bury(2, "no"), QUIPU_OK);
    for (uint64_t i = 1; i <= 4; i++) {
        cr_assert_eq(i == 2 ? QUIPU_OK : ack(i, i, false), QUIPU_OK);
    }
    assert_status(4, 0, 3, 1);

    kit_assert_ok(&kit, quipu_dead_letter_retry(kit.engine, 2, &kit.err));

    assert_status(1, 1, 3, 0);
    assert_pending(0, 10, "2", 4);
    cr_assert_eq(ack(2, 9, false), QUIPU_OK);
    assert_status(4, 0, 4, 0);
    kit_assert_sound(&kit, 4);
}

Test(outbox, marks_a_dropped_letter_and_keeps_it)
{
    fill(3);
    cr_assert_eq(bury(1, "no"), QUIPU_OK);
    cr_assert_eq(bury(3, "never"), QUIPU_OK);

    kit_assert_ok(&kit, quipu_dead_letter_drop(kit.engine, 1, &kit.err));

    cr_assert_str_eq(all_letters().text, "1x 3");
    assert_status(1, 1, 0, 2);
    kit_assert_ok(&kit, quipu_dead_letter_drop(kit.engine, 1, &kit.err));
    kit_assert_ok(&kit, quipu_dead_letter_retry(kit.engine, 1, &kit.err));
    cr_assert_str_eq(all_letters().text, "3");
    assert_status(0, 2, 0, 1);
    kit_assert_sound(&kit, 3);
}

Test(outbox, forgets_the_letter_of_an_event_that_is_published_after_all)
{
    fill(2);
    cr_assert_eq(bury(1, "no"), QUIPU_OK);

    cr_assert_eq(ack(1, 1, true), QUIPU_OK);

    cr_assert_str_eq(all_letters().text, "");
    assert_status(1, 1, 1, 0);
    cr_assert_eq(bury(1, "no"), QUIPU_INVALID, "it is published");
    kit_assert_sound(&kit, 2);
}

Test(outbox, does_not_find_letters_that_are_none)
{
    fill(1);
    cr_assert_eq(bury(0, "no"), QUIPU_NOT_FOUND);
    cr_assert_eq(bury(2, "no"), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_dead_letter_retry(kit.engine, 1, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_eq(quipu_dead_letter_drop(kit.engine, 1, &kit.err), QUIPU_NOT_FOUND);
    cr_assert_not_null(strstr(kit.err.message, "position 1"), "%s", kit.err.message);
    assert_status(0, 1, 0, 0);
}

Test(outbox, starts_again_with_everything_pending_but_dead_letters)
{
    fill(7);
    kit_assert_ok(&kit, ack(2, 20, false));
    kit_assert_ok(&kit, ack(3, 30, true));
    kit_assert_ok(&kit, bury(1, "too long"));
    kit_assert_ok(&kit, bury(5, "too long as well"));
    assert_status(3, 3, 2, 2);

    kit_assert_ok(&kit, quipu_outbox_restart(kit.engine, &kit.err));

    assert_status(1, 5, 0, 2);
    assert_pending(0, 99, "2 3 4 6 7", 7);
    struct quipu_receipt found;
    cr_assert_eq(receipt(2, &found), QUIPU_NOT_FOUND);
    kit_reopen(&kit);
    assert_status(1, 5, 0, 2);
    kit_assert_ok(&kit, ack(2, 200, false));
    kit_assert_ok(&kit, receipt(2, &found));
    cr_assert_eq(found.sequence, 200);
    assert_status(2, 4, 1, 2);
}

Test(outbox, starts_an_empty_log_again)
{
    kit_assert_ok(&kit, quipu_outbox_restart(kit.engine, &kit.err));
    assert_status(0, 0, 0, 0);
}

static enum quipu_status stop_at_once(void *ctx, const struct quipu_dead_letter *letter,
                                      struct quipu_error *err)
{
    (void)letter;
    ++*(int *)ctx;
    return quipu_error_set(err, QUIPU_STOPPED, "enough");
}

Test(outbox, lists_letters_until_the_visitor_stops)
{
    int visits = 0;
    fill(2);
    cr_assert_eq(bury(1, "no"), QUIPU_OK);
    cr_assert_eq(bury(2, "no"), QUIPU_OK);
    cr_assert_eq(quipu_each_dead_letter(kit.engine, stop_at_once, &visits, &kit.err),
                 QUIPU_STOPPED);
    cr_assert_eq(visits, 1);
}

/* ------------------------------------------------------------------ crashes */

static void ack_in_child(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    (void)ack(1, 1, false);
}

Test(outbox, records_an_ack_wholly_or_not_at_all)
{
    static const char *const failpoints[] = {"engine.ack.before:kill", "engine.ack.after:kill"};
    fill(2);
    for (uint64_t i = 0; i < 2; i++) {
        kit_shut(&kit);
        int how = kit_run_child(failpoints[i], ack_in_child, NULL);
        cr_assert(WIFSIGNALED(how));
        kit_reopen(&kit);
        assert_status(i, 2 - i, i, 0);
        kit_assert_sound(&kit, 2);
    }
}

static void failing_ack_in_child(void *ctx)
{
    (void)ctx;
    kit_reopen(&kit);
    _exit(ack(1, 1, false) == QUIPU_IO ? 0 : 1);
}

Test(outbox, fails_the_ack_whose_commit_fails)
{
    fill(1);
    kit_shut(&kit);
    int how = kit_run_child("engine.ack.before:fail", failing_ack_in_child, NULL);
    cr_assert(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kit_reopen(&kit);
    assert_status(0, 1, 0, 0);
}
