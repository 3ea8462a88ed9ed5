/*
 * What may happen in a flush, its server and its network, one step at a time, and the rules that
 * hold whatever does.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <string.h>

#include "window_state.h"

#define ANSWER_US 1000000

static void queue_push(struct model_queue *queue, struct model_message message)
{
    cr_assert_lt(queue->len, MODEL_QUEUE_MAX, "the model's queue is too short");
    queue->messages[queue->len++] = message;
}

static struct model_message queue_pop(struct model_queue *queue)
{
    struct model_message front = queue->messages[0];
    queue->len--;
    memmove(queue->messages, queue->messages + 1, queue->len * sizeof front);
    memset(&queue->messages[queue->len], 0, sizeof front);
    return front;
}

void model_init(struct model_state *state, const struct model_setup *setup)
{
    memset(state, 0, sizeof *state);
    state->now = 1;
    struct flush_window_setup window = {.slots = state->slots,
                                        .capacity = setup->capacity,
                                        .first_ticket = 1,
                                        .answer_us = ANSWER_US,
                                        .looks = setup->looks,
                                        .look_holds_us = MODEL_DUPLICATES_US / 2};
    state->server.expects_nothing = !setup->looks;
    quipu_window_init(&state->window, &window, state->now);
    for (uint32_t i = 0; i < setup->events; i++) {
        enum model_before before = setup->before[i];
        struct model_server *server = &state->server;
        bool is_ours = before == MODEL_OURS || before == MODEL_AGED;
        server->has_chunk[i] = before == MODEL_PAYLOAD || is_ours;
        server->has_meta[i] = server->has_chunk[i];
        server->has_foreign[i] = before == MODEL_FOREIGN;
        server->knows_id[i] = before == MODEL_FORGOTTEN || before == MODEL_OURS;
        server->is_unfit[i] = before == MODEL_UNFIT;
        state->aggregates[i] = setup->aggregates[i];
        if (is_ours) {
            server->sequence[i] = ++server->last;
            server->copies[i] = 1;
        }
    }
    state->cuts = setup->cuts;
    state->timeouts = setup->timeouts;
    state->losses = setup->losses;
    state->refusals = setup->refusals;
    state->forgets = setup->forgets;
}

/* The server as it is: a window of known ids, and expected sequence 0 unless the window looks. */
static void serve_envelope(struct model_server *server, struct model_message *message)
{
    uint8_t i = message->event;
    cr_assert(server->has_chunk[i] && server->has_meta[i], "an envelope before its payload");
    if (server->is_unfit[i]) {
        message->answer = FLUSH_NEVER;
    } else if (server->knows_id[i] && !message->is_without_msg_id) {
        message->answer = FLUSH_EXISTS;
        message->sequence = server->sequence[i];
    } else if (server->expects_nothing && (server->sequence[i] != 0 || server->has_foreign[i])) {
        message->answer = FLUSH_EXISTS;
    } else {
        server->sequence[i] = ++server->last;
        server->copies[i]++;
        server->knows_id[i] = true;
        message->answer = FLUSH_STORED;
        message->sequence = server->sequence[i];
    }
}

/* The server takes the next request of a connection; what it answers. */
static struct model_message serve(struct model_state *state, struct model_queue *requests,
                                  bool is_refused)
{
    struct model_message message = queue_pop(requests);
    struct model_server *server = &state->server;
    uint8_t i = message.event;
    bool *stored = message.part == FLUSH_CHUNK ? &server->has_chunk[i] : &server->has_meta[i];
    if (is_refused) {
        message.answer = FLUSH_NOT_NOW;
    } else if (message.part == FLUSH_ENVELOPE) {
        serve_envelope(server, &message);
    } else if (message.part == FLUSH_LOOK) {
        message.answer =
            server->has_foreign[i] || server->sequence[i] != 0 ? FLUSH_EXISTS : FLUSH_GONE;
    } else if (message.part == FLUSH_CHECK) {
        message.answer = server->has_foreign[i]     ? FLUSH_FOREIGN
                         : server->sequence[i] != 0 ? FLUSH_OURS
                                                    : FLUSH_GONE;
        message.sequence = server->sequence[i];
    } else {
        message.answer = *stored ? FLUSH_EXISTS : FLUSH_STORED;
        *stored = true;
    }
    if (message.part == FLUSH_ENVELOPE && server->sequence[i] == 0) {
        server->was_refused[i] = true;
    }
    return message;
}

/* What rules 2 and 5 allow at the moment that an envelope is sent. */
static void check_send(const struct model_state *state, const struct flush_send *send)
{
    uint8_t event = state->event_of[send->ticket - 1];
    for (uint64_t ticket = 1; ticket < send->ticket; ticket++) {
        uint8_t i = state->event_of[ticket - 1];
        const struct flush_slot *slot = quipu_window_slot(&state->window, ticket);
        uint8_t outcome = slot != NULL ? (uint8_t)slot->outcome : state->outcomes[i];
        cr_assert(outcome != FLUSH_UNSETTLED || state->is_flying[i],
                  "an envelope overtakes one that is neither settled nor in flight");
        cr_assert(state->aggregates[i] != state->aggregates[event] || outcome == FLUSH_UNSETTLED ||
                      outcome == FLUSH_PUBLISHED || outcome == FLUSH_DUPLICATE,
                  "an envelope behind one that is known to be refused");
    }
}

/* Has an earlier event of its aggregate been refused? */
static bool is_behind_refused(const struct model_state *state, uint8_t event)
{
    for (uint8_t i = 0; i < event; i++) {
        uint8_t outcome = state->outcomes[i];
        if (state->aggregates[i] == state->aggregates[event] &&
            (outcome == FLUSH_CONFLICT || outcome == FLUSH_REFUSED)) {
            return true;
        }
    }
    return false;
}

/* As the flusher does: what is behind a dead letter is not even admitted. */
static void offer(struct model_state *state)
{
    uint8_t event = state->offered++;
    if (is_behind_refused(state, event)) {
        state->outcomes[event] = FLUSH_HELD;
        return;
    }
    state->event_of[state->admitted++] = event;
    cr_assert_eq(quipu_window_admit(&state->window, (uint64_t)event + 101,
                                    (uint64_t)state->aggregates[event] * 7 + 1, state->now),
                 state->admitted);
}

static void take(struct model_state *state)
{
    uint64_t ticket = 0;
    struct flush_slot slot;
    cr_assert(quipu_window_next_settled(&state->window, &ticket, &slot));
    uint64_t i = state->event_of[ticket - 1];
    cr_assert_eq(slot.position, i + 101);
    cr_assert_eq(state->outcomes[i], FLUSH_UNSETTLED, "an event settled twice");
    if (slot.outcome == FLUSH_PUBLISHED || slot.outcome == FLUSH_DUPLICATE) {
        cr_assert_eq(state->server.copies[i], 1, "settled and not in the stream");
        cr_assert_eq(slot.sequence, state->server.sequence[i]);
    } else if (slot.outcome == FLUSH_HELD) {
        cr_assert(is_behind_refused(state, (uint8_t)i), "held for nothing");
    } else if (slot.outcome == FLUSH_REFUSED) {
        cr_assert(state->server.is_unfit[i]);
    } else {
        cr_assert_eq(slot.outcome, FLUSH_CONFLICT);
        cr_assert(state->server.has_foreign[i]);
    }
    state->outcomes[i] = (uint8_t)slot.outcome;
}

static bool is_under_way(const struct model_queue *queue, uint8_t event)
{
    for (uint8_t i = 0; i < queue->len; i++) {
        if (queue->messages[i].part == FLUSH_ENVELOPE && queue->messages[i].event == event) {
            return true;
        }
    }
    return false;
}

/* The first event whose id the server may forget now, or MODEL_EVENTS_MAX. */
static uint8_t to_forget(const struct model_state *state)
{
    uint8_t event = 0;
    while (event < MODEL_EVENTS_MAX &&
           (!state->server.knows_id[event] || is_under_way(&state->requests, event) ||
            is_under_way(&state->leftover, event))) {
        event++;
    }
    return event;
}

bool model_is_enabled(const struct model_state *state, const struct model_setup *setup,
                      enum model_action action)
{
    switch (action) {
    case ADMIT:
        return state->offered < setup->events && quipu_window_room(&state->window) > 0;
    case TAKE:
        return state->window.untaken > 0;
    case SEND:
        return state->requests.len + state->replies.len < MODEL_QUEUE_MAX;
    case SERVE:
        return state->requests.len > 0;
    case SERVE_LEFTOVER:
        return state->leftover.len > 0;
    case DELIVER:
        return state->replies.len > 0;
    case CUT:
        return state->cuts > 0 && state->requests.len + state->replies.len > 0;
    case TIMEOUT:
        return state->timeouts > 0 && quipu_window_deadline(&state->window) < INT64_MAX;
    case LOSE:
        return state->losses > 0 && state->replies.len > 0;
    case REFUSE:
        return state->refusals > 0 && state->requests.len > 0;
    case FORGET:
        return state->forgets > 0 && to_forget(state) < MODEL_EVENTS_MAX;
    case ACTIONS:
        break;
    }
    return false;
}

static bool send_next(struct model_state *state)
{
    struct flush_send send;
    if (!quipu_window_next_send(&state->window, state->now, &send)) {
        return false;
    }
    struct model_message message = {.event = state->event_of[send.ticket - 1],
                                    .ticket = (uint8_t)send.ticket,
                                    .part = (uint8_t)send.part,
                                    .round = send.part == FLUSH_LOOK ? send.round : 0,
                                    .is_without_msg_id = send.is_without_msg_id};
    if (send.part == FLUSH_ENVELOPE) {
        check_send(state, &send);
        state->is_flying[message.event] = true;
    }
    queue_push(&state->requests, message);
    return true;
}

static void deliver(struct model_state *state)
{
    struct model_message message = queue_pop(&state->replies);
    if (message.part == FLUSH_ENVELOPE) {
        state->is_flying[message.event] = false;
    }
    if (message.part == FLUSH_LOOK &&
        !quipu_window_look_counts(&state->window, message.ticket, message.round)) {
        return;
    }
    (void)quipu_window_answer(&state->window, message.ticket, (enum flush_part)message.part,
                              (enum flush_answer)message.answer, message.sequence, state->now);
}

static void cut(struct model_state *state)
{
    state->cuts--;
    state->leftover = state->requests;
    memset(&state->requests, 0, sizeof state->requests);
    memset(&state->replies, 0, sizeof state->replies);
    memset(state->is_flying, 0, sizeof state->is_flying);
    quipu_window_disconnected(&state->window);
}

/* Where answers came meanwhile, the first deadline that is reached may only move. */
static void time_out(struct model_state *state)
{
    state->timeouts--;
    for (uint32_t expired = 0; expired == 0;) {
        int64_t deadline = quipu_window_deadline(&state->window);
        state->now = deadline > state->now ? deadline : state->now;
        expired = quipu_window_tick(&state->window, state->now);
        expired += quipu_window_deadline(&state->window) == INT64_MAX;
    }
}

bool model_act(struct model_state *state, enum model_action action)
{
    state->window.slots = state->slots;
    state->now++;
    switch (action) {
    case ADMIT:
        offer(state);
        break;
    case TAKE:
        take(state);
        break;
    case SEND:
        return send_next(state);
    case SERVE:
        queue_push(&state->replies, serve(state, &state->requests, false));
        break;
    case SERVE_LEFTOVER:
        (void)serve(state, &state->leftover, false);
        break;
    case REFUSE:
        state->refusals--;
        queue_push(&state->replies, serve(state, &state->requests, true));
        break;
    case DELIVER:
        deliver(state);
        break;
    case CUT:
        cut(state);
        break;
    case TIMEOUT:
        time_out(state);
        break;
    case FORGET:
        state->forgets--;
        state->server.knows_id[to_forget(state)] = false;
        state->now += MODEL_DUPLICATES_US;
        break;
    case LOSE:
        state->losses--;
        (void)queue_pop(&state->replies);
        break;
    case ACTIONS:
        break;
    }
    return true;
}

static bool was_there(const struct model_setup *setup, uint32_t event)
{
    return setup->before[event] == MODEL_OURS || setup->before[event] == MODEL_AGED;
}

void model_check_rules(const struct model_state *state, const struct model_setup *setup)
{
    for (uint32_t i = 0; i < setup->events; i++) {
        cr_assert_leq(state->server.copies[i], 1, "an event twice in the stream");
        cr_assert(!(state->server.has_foreign[i] && state->server.copies[i] > 0));
        /* The order of an aggregate, whatever happens, unless the server would not take the earlier
         * one when it came, or an earlier flush has broken it. */
        for (uint32_t j = 0; j < i && !was_there(setup, i); j++) {
            if (setup->aggregates[i] == setup->aggregates[j] && state->server.sequence[i] != 0) {
                cr_assert(state->server.was_refused[j] ||
                              (state->server.sequence[j] != 0 &&
                               state->server.sequence[j] < state->server.sequence[i]),
                          "an event before the one that it follows");
            }
        }
    }
}

/* What must become of an event in the end. */
static bool is_right_end(const struct model_state *state, const struct model_setup *setup,
                         uint8_t event)
{
    switch ((enum flush_outcome)state->outcomes[event]) {
    case FLUSH_HELD:
        return is_behind_refused(state, event);
    case FLUSH_REFUSED:
        return setup->before[event] == MODEL_UNFIT;
    case FLUSH_CONFLICT:
        return setup->before[event] == MODEL_FOREIGN;
    case FLUSH_DUPLICATE:
    case FLUSH_PUBLISHED:
        return setup->before[event] != MODEL_UNFIT && setup->before[event] != MODEL_FOREIGN &&
               (!is_behind_refused(state, event) || state->server.copies[event] == 1) &&
               (!was_there(setup, event) || state->outcomes[event] == FLUSH_DUPLICATE);
    case FLUSH_UNSETTLED:
        break;
    }
    return false;
}

void model_check_end(const struct model_state *state, const struct model_setup *setup)
{
    for (uint32_t i = 0; i < setup->events; i++) {
        cr_assert_neq(state->outcomes[i], FLUSH_UNSETTLED, "an event never settles");
        cr_assert(is_right_end(state, setup, (uint8_t)i), "event %u ends as %u", i,
                  state->outcomes[i]);
    }
    model_check_rules(state, setup);
}
