/*
 * A state of the window's model, for the two files that share it: what may happen in it
 * (window_model.c), and the search over all of them (window_search.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_WINDOW_STATE_H
#define QUIPU_TESTS_WINDOW_STATE_H

#include "window_model.h"

/* How long the server knows an id. */
#define MODEL_DUPLICATES_US ((int64_t)1000 * 1000000)

struct model_message {
    uint8_t event; /* 0-based */
    uint8_t ticket;
    uint8_t part;
    uint8_t answer;
    uint8_t sequence;
    uint8_t round;
    bool is_without_msg_id;
};

struct model_queue {
    struct model_message messages[MODEL_QUEUE_MAX];
    uint8_t len;
};

struct model_server {
    bool has_chunk[MODEL_EVENTS_MAX];
    bool has_meta[MODEL_EVENTS_MAX];
    bool knows_id[MODEL_EVENTS_MAX];
    bool has_foreign[MODEL_EVENTS_MAX];
    bool is_unfit[MODEL_EVENTS_MAX];
    bool was_refused[MODEL_EVENTS_MAX]; /* it got the envelope once and did not have or store it */
    uint8_t sequence[MODEL_EVENTS_MAX]; /* of our envelope; 0: not there */
    uint8_t copies[MODEL_EVENTS_MAX];
    uint8_t last;
    bool expects_nothing; /* it is told to, with every envelope */
};

struct model_state {
    struct flush_slot slots[MODEL_EVENTS_MAX];
    struct flush_window window;
    struct model_server server;
    struct model_queue requests;
    struct model_queue leftover; /* of the connection before, which the server may still read */
    struct model_queue replies;
    bool is_flying[MODEL_EVENTS_MAX]; /* envelopes that are sent on this connection, unanswered */
    uint8_t outcomes[MODEL_EVENTS_MAX];
    uint8_t aggregates[MODEL_EVENTS_MAX];
    uint8_t offered;                    /* events that were admitted or held back */
    uint8_t admitted;                   /* tickets */
    uint8_t event_of[MODEL_EVENTS_MAX]; /* of ticket - 1 */
    uint8_t cuts, timeouts, losses, refusals, forgets;
    int64_t now;
};

enum model_action {
    ADMIT,
    TAKE,
    SEND,
    SERVE,
    SERVE_LEFTOVER,
    DELIVER,
    CUT,
    TIMEOUT,
    LOSE,
    REFUSE,
    FORGET,
    ACTIONS,
};

/* The state that a setup begins with. */
void model_init(struct model_state *state, const struct model_setup *setup);

/* May it happen now? Of SEND only whether the queue has room: model_act tells the rest. */
bool model_is_enabled(const struct model_state *state, const struct model_setup *setup,
                      enum model_action action);

/* Let it happen; false: the window has nothing to send. */
bool model_act(struct model_state *state, enum model_action action);

/* What holds in every state. */
void model_check_rules(const struct model_state *state, const struct model_setup *setup);

/* What must hold where nothing more can happen. */
void model_check_end(const struct model_state *state, const struct model_setup *setup);

#endif
