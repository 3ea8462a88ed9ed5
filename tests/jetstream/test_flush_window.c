/*
 * The flush window by itself: its rules one by one, then every interleaving for small windows.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <inttypes.h>

#include "flush_window.h"
#include "window_model.h"

#define ANSWER_US     1000000
#define LOOK_HOLDS_US (60 * ANSWER_US)

static struct flush_slot slots[4];
static struct flush_window window;

static void start(void)
{
    struct flush_window_setup setup = {
        .slots = slots, .capacity = 4, .first_ticket = 1, .answer_us = ANSWER_US};
    quipu_window_init(&window, &setup, 0);
}

TestSuite(flush_window, .init = start);

static void expect_send(uint64_t ticket, enum flush_part part)
{
    struct flush_send send;
    cr_assert(quipu_window_next_send(&window, 0, &send));
    cr_assert_eq(send.ticket, ticket);
    cr_assert_eq(send.part, part);
}

static void expect_no_send(void)
{
    struct flush_send send;
    cr_assert_not(quipu_window_next_send(&window, 0, &send));
}

static void answer(uint64_t ticket, enum flush_part part, enum flush_answer what, uint64_t sequence)
{
    cr_assert(quipu_window_answer(&window, ticket, part, what, sequence, 0));
}

static void expect_settled(uint64_t ticket, enum flush_outcome outcome, uint64_t sequence)
{
    uint64_t got = 0;
    struct flush_slot slot;
    cr_assert(quipu_window_next_settled(&window, &got, &slot));
    cr_assert_eq(got, ticket);
    cr_assert_eq(slot.outcome, outcome);
    cr_assert_eq(slot.sequence, sequence);
}

static void to_envelope(uint64_t ticket)
{
    expect_send(ticket, FLUSH_CHUNK);
    expect_send(ticket, FLUSH_META);
    answer(ticket, FLUSH_CHUNK, FLUSH_STORED, 1);
    answer(ticket, FLUSH_META, FLUSH_EXISTS, 0);
    expect_send(ticket, FLUSH_ENVELOPE);
}

Test(flush_window, sends_the_envelope_only_behind_both_payload_answers)
{
    quipu_window_admit(&window, 7, 7, 0);
    expect_send(1, FLUSH_CHUNK);
    expect_send(1, FLUSH_META);
    expect_no_send();
    answer(1, FLUSH_META, FLUSH_STORED, 2);
    expect_no_send();
    answer(1, FLUSH_CHUNK, FLUSH_STORED, 1);
    expect_send(1, FLUSH_ENVELOPE);
    answer(1, FLUSH_ENVELOPE, FLUSH_STORED, 33);
    expect_settled(1, FLUSH_PUBLISHED, 33);
    cr_assert(quipu_window_is_empty(&window));
}

Test(flush_window, keeps_envelopes_in_order_when_payloads_finish_out_of_order)
{
    quipu_window_admit(&window, 1, 1, 0);
    quipu_window_admit(&window, 2, 2, 0);
    expect_send(1, FLUSH_CHUNK);
    expect_send(1, FLUSH_META);
    expect_send(2, FLUSH_CHUNK);
    expect_send(2, FLUSH_META);
    answer(2, FLUSH_CHUNK, FLUSH_STORED, 1);
    answer(2, FLUSH_META, FLUSH_STORED, 2);
    expect_no_send();
    answer(1, FLUSH_CHUNK, FLUSH_STORED, 3);
    answer(1, FLUSH_META, FLUSH_STORED, 4);
    expect_send(1, FLUSH_ENVELOPE);
    expect_send(2, FLUSH_ENVELOPE);
}

Test(flush_window, an_event_refused_for_good_does_not_hold_the_ones_behind_it)
{
    quipu_window_admit(&window, 1, 1, 0);
    quipu_window_admit(&window, 2, 2, 0);
    expect_send(1, FLUSH_CHUNK);
    expect_send(1, FLUSH_META);
    expect_send(2, FLUSH_CHUNK);
    expect_send(2, FLUSH_META);
    answer(2, FLUSH_CHUNK, FLUSH_STORED, 1);
    answer(2, FLUSH_META, FLUSH_STORED, 2);
    answer(1, FLUSH_CHUNK, FLUSH_NEVER, 0);
    expect_settled(1, FLUSH_REFUSED, 0);
    cr_assert_not(quipu_window_answer(&window, 1, FLUSH_META, FLUSH_STORED, 3, 0));
    expect_send(2, FLUSH_ENVELOPE);
}

Test(flush_window, sends_again_at_the_deadline_and_waits_longer_each_time)
{
    quipu_window_admit(&window, 1, 1, 0);
    expect_send(1, FLUSH_CHUNK);
    expect_send(1, FLUSH_META);
    cr_assert_eq(quipu_window_deadline(&window), ANSWER_US);
    cr_assert_eq(quipu_window_tick(&window, ANSWER_US - 1), 0);
    cr_assert_eq(quipu_window_tick(&window, ANSWER_US), 2);

    struct flush_send send;
    cr_assert(quipu_window_next_send(&window, ANSWER_US, &send));
    cr_assert_eq(send.part, FLUSH_CHUNK);
    cr_assert_eq(quipu_window_deadline(&window), ANSWER_US + 2 * ANSWER_US);
}

Test(flush_window, takes_an_answer_that_comes_late)
{
    quipu_window_admit(&window, 1, 1, 0);
    to_envelope(1);
    cr_assert_eq(quipu_window_tick(&window, ANSWER_US), 1);
    answer(1, FLUSH_ENVELOPE, FLUSH_STORED, 5);
    expect_no_send();
    expect_settled(1, FLUSH_PUBLISHED, 5);
}

Test(flush_window, ignores_an_answer_for_a_place_that_another_event_has_now)
{
    for (uint64_t ticket = 1; ticket <= 4; ticket++) {
        quipu_window_admit(&window, ticket, ticket, 0);
        to_envelope(ticket);
    }
    cr_assert_eq(quipu_window_room(&window), 0);
    answer(1, FLUSH_ENVELOPE, FLUSH_STORED, 1);
    expect_settled(1, FLUSH_PUBLISHED, 1);
    cr_assert_eq(quipu_window_admit(&window, 5, 5, 0), 5);
    cr_assert_not(quipu_window_answer(&window, 1, FLUSH_ENVELOPE, FLUSH_EXISTS, 1, 0));
    cr_assert_not(quipu_window_answer(&window, 5, FLUSH_ENVELOPE, FLUSH_STORED, 9, 0));
    cr_assert_not(quipu_window_answer(&window, 99, FLUSH_CHUNK, FLUSH_STORED, 9, 0));
}

Test(flush_window, asks_what_is_there_before_it_calls_an_event_a_duplicate)
{
    quipu_window_admit(&window, 1, 1, 0);
    to_envelope(1);
    answer(1, FLUSH_ENVELOPE, FLUSH_EXISTS, 0);
    expect_send(1, FLUSH_CHECK);
    answer(1, FLUSH_CHECK, FLUSH_OURS, 12);
    expect_settled(1, FLUSH_DUPLICATE, 12);
}

Test(flush_window, reports_another_event_under_the_same_id)
{
    quipu_window_admit(&window, 1, 1, 0);
    to_envelope(1);
    answer(1, FLUSH_ENVELOPE, FLUSH_EXISTS, 0);
    expect_send(1, FLUSH_CHECK);
    answer(1, FLUSH_CHECK, FLUSH_FOREIGN, 12);
    expect_settled(1, FLUSH_CONFLICT, 12);
}

Test(flush_window, sends_without_the_id_what_the_server_only_remembers)
{
    quipu_window_admit(&window, 1, 1, 0);
    to_envelope(1);
    answer(1, FLUSH_ENVELOPE, FLUSH_EXISTS, 4);
    expect_send(1, FLUSH_CHECK);
    answer(1, FLUSH_CHECK, FLUSH_GONE, 0);
    expect_no_send();
    cr_assert_eq(quipu_window_tick(&window, quipu_window_deadline(&window)), 1);

    struct flush_send send;
    cr_assert(quipu_window_next_send(&window, ANSWER_US, &send));
    cr_assert_eq(send.part, FLUSH_ENVELOPE);
    cr_assert(send.is_without_msg_id);
}

Test(flush_window, a_lost_connection_sends_everything_unanswered_again_in_order)
{
    quipu_window_admit(&window, 1, 1, 0);
    quipu_window_admit(&window, 2, 2, 0);
    to_envelope(1);
    expect_send(2, FLUSH_CHUNK);
    expect_send(2, FLUSH_META);
    answer(2, FLUSH_META, FLUSH_STORED, 1);
    quipu_window_disconnected(&window);
    cr_assert_eq(quipu_window_deadline(&window), INT64_MAX);
    expect_send(1, FLUSH_ENVELOPE);
    expect_send(2, FLUSH_CHUNK);
    expect_no_send();
}

Test(flush_window, rests_when_the_server_asks_for_patience)
{
    quipu_window_admit(&window, 1, 1, 0);
    to_envelope(1);
    answer(1, FLUSH_ENVELOPE, FLUSH_NOT_NOW, 0);
    expect_no_send();
    int64_t first = quipu_window_deadline(&window);
    cr_assert_gt(first, 0);
    cr_assert_lt(first, ANSWER_US);
    cr_assert_eq(quipu_window_tick(&window, first), 1);
    expect_send(1, FLUSH_ENVELOPE);
}

/* ------------------------------------------------------------------ one aggregate */

static void payloads_up(uint64_t ticket)
{
    expect_send(ticket, FLUSH_CHUNK);
    expect_send(ticket, FLUSH_META);
    answer(ticket, FLUSH_CHUNK, FLUSH_STORED, 1);
    answer(ticket, FLUSH_META, FLUSH_STORED, 2);
}

Test(flush_window, an_aggregate_has_many_unanswered_envelopes_in_order)
{
    quipu_window_admit(&window, 1, 77, 0);
    quipu_window_admit(&window, 2, 77, 0);
    quipu_window_admit(&window, 3, 77, 0);
    to_envelope(1);
    payloads_up(2);
    expect_send(2, FLUSH_ENVELOPE);
    payloads_up(3);
    expect_send(3, FLUSH_ENVELOPE);
    answer(1, FLUSH_ENVELOPE, FLUSH_STORED, 3);
    answer(2, FLUSH_ENVELOPE, FLUSH_STORED, 4);
    quipu_window_disconnected(&window);
    expect_send(3, FLUSH_ENVELOPE);
}

Test(flush_window, nothing_more_is_sent_behind_an_envelope_that_rests_or_is_gone)
{
    quipu_window_admit(&window, 1, 77, 0);
    quipu_window_admit(&window, 2, 77, 0);
    quipu_window_admit(&window, 3, 78, 0);
    to_envelope(1);
    payloads_up(2);
    expect_send(2, FLUSH_ENVELOPE);
    answer(1, FLUSH_ENVELOPE, FLUSH_NOT_NOW, 0);
    payloads_up(3);
    expect_no_send();
    cr_assert_eq(quipu_window_tick(&window, quipu_window_deadline(&window)), 1);
    expect_send(1, FLUSH_ENVELOPE);
    expect_send(3, FLUSH_ENVELOPE);
    answer(1, FLUSH_ENVELOPE, FLUSH_EXISTS, 0);
    quipu_window_admit(&window, 4, 77, 0);
    expect_send(1, FLUSH_CHECK);
    payloads_up(4);
    expect_no_send();
    answer(1, FLUSH_CHECK, FLUSH_GONE, 0);
    expect_no_send();
    cr_assert_eq(quipu_window_tick(&window, quipu_window_deadline(&window)), 1);
    expect_send(1, FLUSH_ENVELOPE);
    expect_send(4, FLUSH_ENVELOPE);
}

Test(flush_window, a_conflict_holds_what_is_behind_it_and_what_still_comes)
{
    quipu_window_admit(&window, 1, 77, 0);
    quipu_window_admit(&window, 2, 77, 0);
    quipu_window_admit(&window, 3, 77 + 4, 0); /* in the same list, another aggregate */
    to_envelope(1);
    answer(1, FLUSH_ENVELOPE, FLUSH_EXISTS, 0);
    expect_send(1, FLUSH_CHECK);
    answer(1, FLUSH_CHECK, FLUSH_FOREIGN, 12);
    quipu_window_admit(&window, 4, 77, 0);
    expect_settled(1, FLUSH_CONFLICT, 12);
    expect_settled(2, FLUSH_HELD, 0);
    expect_settled(4, FLUSH_HELD, 0);
    to_envelope(3);
    answer(3, FLUSH_ENVELOPE, FLUSH_STORED, 13);
    expect_settled(3, FLUSH_PUBLISHED, 13);
    cr_assert(quipu_window_is_empty(&window));
}

/* Three of one aggregate in flight, and the first one refused for good. */
static void refuse_the_first_of_three(void)
{
    for (uint64_t ticket = 1; ticket <= 3; ticket++) {
        quipu_window_admit(&window, ticket, 77, 0);
        to_envelope(ticket);
    }
    answer(1, FLUSH_ENVELOPE, FLUSH_NEVER, 0);
    expect_settled(1, FLUSH_REFUSED, 0);
}

Test(flush_window, what_was_in_flight_behind_a_refused_one_settles_by_its_own_answer)
{
    refuse_the_first_of_three();
    quipu_window_admit(&window, 4, 77, 0); /* behind an orphan */
    expect_settled(4, FLUSH_HELD, 0);
    answer(2, FLUSH_ENVELOPE, FLUSH_STORED, 9);
    uint64_t ticket = 0;
    struct flush_slot slot;
    cr_assert(quipu_window_next_settled(&window, &ticket, &slot));
    cr_assert_eq(slot.outcome, FLUSH_PUBLISHED);
    cr_assert(slot.is_orphan);
    answer(3, FLUSH_ENVELOPE, FLUSH_STORED, 10);
    expect_settled(3, FLUSH_PUBLISHED, 10);
    cr_assert_eq(window.ahead, 2);
    cr_assert(quipu_window_is_empty(&window));
}

Test(flush_window, counts_what_was_published_and_taken_before_the_refusal_came)
{
    quipu_window_admit(&window, 1, 77, 0);
    quipu_window_admit(&window, 2, 77, 0);
    to_envelope(1);
    to_envelope(2);
    answer(2, FLUSH_ENVELOPE, FLUSH_STORED, 9);
    expect_settled(2, FLUSH_PUBLISHED, 9);
    answer(1, FLUSH_ENVELOPE, FLUSH_NEVER, 0);
    quipu_window_admit(&window, 3, 77, 0); /* behind one that is in the stream, and yet held */
    expect_settled(1, FLUSH_REFUSED, 0);
    expect_settled(3, FLUSH_HELD, 0);
    cr_assert_eq(window.ahead, 1);
    cr_assert(quipu_window_is_empty(&window));
}

Test(flush_window, an_orphan_without_an_answer_is_looked_up_and_never_sent_again)
{
    refuse_the_first_of_three();
    answer(2, FLUSH_ENVELOPE, FLUSH_NOT_NOW, 0);
    quipu_window_disconnected(&window);
    expect_send(2, FLUSH_CHECK);
    expect_send(3, FLUSH_CHECK);
    expect_no_send();
    answer(2, FLUSH_CHECK, FLUSH_OURS, 9);
    answer(3, FLUSH_CHECK, FLUSH_GONE, 0);
    expect_settled(2, FLUSH_DUPLICATE, 9);
    expect_settled(3, FLUSH_HELD, 0);
    expect_no_send();
    cr_assert(quipu_window_is_empty(&window));
}

/* ------------------------------------------------------------------ every interleaving */

Test(flush_window_exhaustive, two_new_events_under_every_fault, .timeout = 280)
{
    struct model_setup lossy = {.capacity = 2, .events = 2, .cuts = 1, .timeouts = 1, .losses = 1};
    struct model_setup cut = {.capacity = 2, .events = 2, .cuts = 2};

    cr_assert_gt(model_explore(&lossy), 10000);
    cr_assert_gt(model_explore(&cut), 10000);
}

Test(flush_window_exhaustive, two_events_and_a_server_that_asks_for_patience, .timeout = 280)
{
    struct model_setup setup = {.capacity = 2, .events = 2, .timeouts = 1, .refusals = 2};

    cr_assert_gt(model_explore(&setup), 5000);
}

Test(flush_window_exhaustive, events_that_are_there_in_part, .timeout = 280)
{
    static const enum model_before states[] = {MODEL_NOTHING, MODEL_PAYLOAD,   MODEL_AGED,
                                               MODEL_FOREIGN, MODEL_FORGOTTEN, MODEL_UNFIT};
    for (size_t i = 0; i < 6 * 6 * 2; i++) {
        struct model_setup setup = {.capacity = 2,
                                    .events = 2,
                                    .before = {states[i % 6], states[i / 6 % 6]},
                                    .aggregates = {0, (uint8_t)(i / 36)},
                                    .cuts = 1,
                                    .timeouts = i % 6 == 0 || i / 6 % 6 == 0};
        cr_assert_gt(model_explore(&setup), 300);
    }
}

Test(flush_window_exhaustive, a_window_that_looks_and_a_server_that_expects_nothing, .timeout = 280)
{
    static const enum model_before states[] = {MODEL_NOTHING, MODEL_OURS,      MODEL_AGED,
                                               MODEL_FOREIGN, MODEL_FORGOTTEN, MODEL_UNFIT};
    for (size_t i = 0; i < 6; i++) {
        struct model_setup setup = {.capacity = 2,
                                    .events = 2,
                                    .looks = true,
                                    .before = {states[i], MODEL_PAYLOAD},
                                    .refusals = i == 0,
                                    .cuts = 1,
                                    .forgets = 1};
        cr_assert_gt(model_explore(&setup), 2000);
    }
}

/* What is under way when the connection is lost the second time may have been sent before the
 * first, and the server may have forgotten an id meanwhile. */
Test(flush_window_exhaustive, a_window_that_looks_under_every_fault, .timeout = 280)
{
    static const enum model_before states[] = {MODEL_NOTHING, MODEL_AGED, MODEL_FORGOTTEN};
    for (size_t i = 0; i < 3; i++) {
        struct model_setup setup = {.capacity = 1,
                                    .events = 1,
                                    .looks = true,
                                    .before = {states[i]},
                                    .refusals = 1,
                                    .timeouts = 1,
                                    .losses = i == 2,
                                    .cuts = 2,
                                    .forgets = 1};
        cr_assert_gt(model_explore(&setup), 2000);
    }
}

Test(flush_window, a_window_that_looks_does_not_send_what_is_there)
{
    struct flush_window_setup setup = {.slots = slots,
                                       .capacity = 4,
                                       .first_ticket = 1,
                                       .answer_us = ANSWER_US,
                                       .looks = true,
                                       .look_holds_us = LOOK_HOLDS_US};
    quipu_window_init(&window, &setup, 0);
    quipu_window_admit(&window, 1, 1, 0);
    quipu_window_admit(&window, 2, 2, 0);
    expect_send(1, FLUSH_CHUNK);
    expect_send(1, FLUSH_META);
    expect_send(1, FLUSH_LOOK);
    payloads_up(2);
    expect_send(2, FLUSH_LOOK);
    answer(1, FLUSH_CHUNK, FLUSH_EXISTS, 0);
    answer(1, FLUSH_META, FLUSH_EXISTS, 0);
    expect_no_send();
    answer(1, FLUSH_LOOK, FLUSH_EXISTS, 0);
    expect_send(1, FLUSH_CHECK);
    answer(1, FLUSH_CHECK, FLUSH_OURS, 5);
    expect_settled(1, FLUSH_DUPLICATE, 5);
    answer(2, FLUSH_LOOK, FLUSH_GONE, 0);
    expect_send(2, FLUSH_ENVELOPE);
    quipu_window_disconnected(&window); /* it may have been stored: look again */
    expect_send(2, FLUSH_LOOK);
    expect_no_send();
    answer(2, FLUSH_LOOK, FLUSH_GONE, 0);
    expect_send(2, FLUSH_ENVELOPE);
    answer(2, FLUSH_ENVELOPE, FLUSH_STORED, 6);
    expect_settled(2, FLUSH_PUBLISHED, 6);
}

Test(flush_window_exhaustive, two_aggregates_one_of_them_in_trouble, .timeout = 280)
{
    static const enum model_before states[] = {MODEL_NOTHING, MODEL_FOREIGN, MODEL_FORGOTTEN,
                                               MODEL_UNFIT};
    for (size_t i = 0; i < 4; i++) {
        struct model_setup setup = {.capacity = 3,
                                    .events = 3,
                                    .before = {states[i], MODEL_PAYLOAD, MODEL_PAYLOAD},
                                    .aggregates = {0, 1, 0},
                                    .refusals = 1};
        cr_assert_gt(model_explore(&setup), 2000);
    }
}

Test(flush_window_exhaustive, three_of_one_aggregate_and_a_first_that_is_in_trouble, .timeout = 280)
{
    static const enum model_before states[] = {MODEL_NOTHING, MODEL_OURS, MODEL_FOREIGN,
                                               MODEL_FORGOTTEN, MODEL_UNFIT};
    for (size_t i = 0; i < 5; i++) {
        struct model_setup setup = {.capacity = 3,
                                    .events = 3,
                                    .before = {states[i], MODEL_PAYLOAD, MODEL_PAYLOAD},
                                    .refusals = 1,
                                    .cuts = 1};
        cr_assert_gt(model_explore(&setup), 2000);
    }
}

Test(flush_window_exhaustive, three_events_through_a_window_of_two, .timeout = 280)
{
    struct model_setup setup = {.capacity = 2, .events = 3, .cuts = 1};

    cr_assert_gt(model_explore(&setup), 5000);
}

/* ------------------------------------------------------------------ waiting */

static void start_looking(void)
{
    struct flush_window_setup setup = {.slots = slots,
                                       .capacity = 4,
                                       .first_ticket = 1,
                                       .answer_us = ANSWER_US,
                                       .looks = true,
                                       .look_holds_us = LOOK_HOLDS_US};
    quipu_window_init(&window, &setup, 0);
    quipu_window_admit(&window, 1, 1, 0);
    payloads_up(1);
    expect_send(1, FLUSH_LOOK);
}

static void expect_send_at(int64_t now_us, uint64_t ticket, enum flush_part part)
{
    struct flush_send send;
    cr_assert(quipu_window_next_send(&window, now_us, &send));
    cr_assert_eq(send.ticket, ticket);
    cr_assert_eq(send.part, part);
    cr_assert(!send.is_without_msg_id || !window.looks, "nothing else keeps a copy out");
}

Test(flush_window, looks_again_where_it_was_long_ago_when_the_envelope_goes_out)
{
    start_looking();
    answer(1, FLUSH_LOOK, FLUSH_GONE, 0);

    expect_send_at(LOOK_HOLDS_US + 1, 1, FLUSH_LOOK);
    expect_no_send();
    cr_assert(quipu_window_answer(&window, 1, FLUSH_LOOK, FLUSH_GONE, 0, LOOK_HOLDS_US + 2));
    window.slept_us = LOOK_HOLDS_US; /* the machine was suspended */
    expect_send_at(LOOK_HOLDS_US + 2, 1, FLUSH_LOOK);
    cr_assert(quipu_window_answer(&window, 1, FLUSH_LOOK, FLUSH_GONE, 0, LOOK_HOLDS_US + 2));
    expect_send_at(2 * LOOK_HOLDS_US + 1, 1, FLUSH_ENVELOPE);
}

Test(flush_window, an_answer_to_an_earlier_look_does_not_count)
{
    start_looking();
    cr_assert_eq(quipu_window_tick(&window, ANSWER_US), 1);
    struct flush_send send;
    cr_assert(quipu_window_next_send(&window, ANSWER_US, &send));
    cr_assert_eq(send.part, FLUSH_LOOK);
    cr_assert(quipu_window_look_counts(&window, 1, send.round));
    uint8_t earlier = (uint8_t)((send.round + FLUSH_LOOK_ROUNDS - 1) % FLUSH_LOOK_ROUNDS);
    cr_assert_not(quipu_window_look_counts(&window, 1, earlier));
}

Test(flush_window, waits_until_the_server_has_forgotten_an_id_whose_message_is_gone)
{
    start_looking();
    answer(1, FLUSH_LOOK, FLUSH_GONE, 0);
    expect_send_at(1, 1, FLUSH_ENVELOPE);
    int64_t now = 2;
    for (int round = 0; round < 20; round++) {
        cr_assert(quipu_window_answer(&window, 1, FLUSH_ENVELOPE, FLUSH_EXISTS, 9, now));
        expect_send_at(now, 1, FLUSH_CHECK);
        cr_assert(quipu_window_answer(&window, 1, FLUSH_CHECK, FLUSH_GONE, 0, now));
        expect_no_send();
        now = quipu_window_deadline(&window);
        cr_assert_eq(quipu_window_tick(&window, now), 1);
        expect_send_at(now, 1, FLUSH_LOOK);
        cr_assert(quipu_window_answer(&window, 1, FLUSH_LOOK, FLUSH_GONE, 0, now));
        expect_send_at(now, 1, FLUSH_ENVELOPE);
    }
    cr_assert(quipu_window_answer(&window, 1, FLUSH_ENVELOPE, FLUSH_STORED, 10, now));
    expect_settled(1, FLUSH_PUBLISHED, 10);
}

/* A slow line: the answers come one a deadline, and each is in time for the next. */
Test(flush_window, deadlines_run_from_the_last_answer_while_none_is_overtaken)
{
    for (uint64_t ticket = 1; ticket <= 4; ticket++) {
        quipu_window_admit(&window, ticket, ticket, 0);
        expect_send(ticket, FLUSH_CHUNK);
        expect_send(ticket, FLUSH_META);
    }
    for (uint64_t ticket = 1; ticket <= 4; ticket++) {
        answer(ticket, FLUSH_CHUNK, FLUSH_STORED, 1);
        answer(ticket, FLUSH_META, FLUSH_STORED, 2);
        expect_send(ticket, FLUSH_ENVELOPE);
    }
    int64_t now = 0;
    for (uint64_t ticket = 1; ticket <= 4; ticket++) {
        now += ANSWER_US - 1;
        cr_assert_eq(quipu_window_tick(&window, now), 0, "event %" PRIu64, ticket);
        cr_assert(quipu_window_answer(&window, ticket, FLUSH_ENVELOPE, FLUSH_STORED, ticket, now));
        expect_settled(ticket, FLUSH_PUBLISHED, ticket);
    }
    expect_no_send();
}

Test(flush_window, a_message_that_is_overtaken_is_not_waited_for_any_longer)
{
    for (uint64_t ticket = 1; ticket <= 2; ticket++) {
        quipu_window_admit(&window, ticket, ticket, 0);
        payloads_up(ticket);
        expect_send(ticket, FLUSH_ENVELOPE);
    }
    cr_assert(quipu_window_answer(&window, 2, FLUSH_ENVELOPE, FLUSH_STORED, 1, ANSWER_US / 2));
    cr_assert_eq(quipu_window_tick(&window, ANSWER_US), 1);
    expect_send_at(ANSWER_US, 1, FLUSH_ENVELOPE);
}

Test(flush_window, an_answer_that_is_late_shows_that_the_server_lives)
{
    quipu_window_admit(&window, 1, 1, 0);
    payloads_up(1);
    cr_assert_not(quipu_window_answer(&window, 1, FLUSH_CHUNK, FLUSH_EXISTS, 0, 7 * ANSWER_US));
    cr_assert_eq(window.progress_us, 7 * ANSWER_US);
    cr_assert_not(quipu_window_answer(&window, 1, FLUSH_CHUNK, FLUSH_NOT_NOW, 0, 9 * ANSWER_US));
    cr_assert_eq(window.progress_us, 7 * ANSWER_US);
}
