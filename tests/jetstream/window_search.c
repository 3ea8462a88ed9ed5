/*
 * Every state that a setup can come to. In each the rules are checked, and from each a run without
 * further faults must end with every event settled as it should be.
 *
 * Such a run always goes on in the same way, so it is followed only until it comes to a state that
 * is known to end well. Most do at the first step.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "window_state.h"

#define STATES_MAX (1u << 21)
#define STEPS_MAX  2000

/* ------------------------------------------------------------------ states as keys */

/* When a part's deadline is reached in the end, as things stand: flush_window.h, rule 3. */
static int64_t reached(const struct flush_window *window, const struct flush_part_state *part)
{
    int64_t later =
        window->heard_us + (window->answer_us << (part->sends < 4 ? part->sends - 1 : 3));
    bool is_extended =
        part->phase == FLUSH_FLIES && part->order > window->answered && later > part->deadline_us;
    return is_extended ? later : part->deadline_us;
}

static bool is_timed(const struct flush_part_state *part)
{
    return part->phase == FLUSH_FLIES || part->phase == FLUSH_RESTS;
}

/* Among those of all parts that are timed: its deadline's rank and, where nothing that was sent
 * later has been answered, its order's. */
static void rank(const struct model_state *state, const struct flush_part_state *mine,
                 struct flush_part_state *out)
{
    const struct flush_window *window = &state->window;
    out->deadline_us = 0;
    out->order = mine->phase == FLUSH_FLIES && mine->order > window->answered;
    for (uint32_t i = 0; is_timed(mine) && i < window->capacity; i++) {
        for (int part = 0; part < FLUSH_PARTS; part++) {
            const struct flush_part_state *its = &state->slots[i].parts[part];
            out->deadline_us += is_timed(its) && reached(window, its) < reached(window, mine);
            out->order += out->order > 0 && its->phase == FLUSH_FLIES &&
                          its->order > window->answered && its->order < mine->order;
        }
    }
}

/* What a state is told from others by, one thing behind the other, the rest zero. */
struct state_key {
    uint64_t words[sizeof(struct model_state) / sizeof(uint64_t) + 4];
    size_t len; /* bytes */
};

static void key_add(struct state_key *key, const void *bytes, size_t len)
{
    memcpy((uint8_t *)key->words + key->len, bytes, len);
    key->len += len;
}

static void key_add_queue(struct state_key *key, const struct model_queue *queue)
{
    key_add(key, &queue->len, sizeof queue->len);
    key_add(key, queue->messages, queue->len * sizeof queue->messages[0]);
}

/* Time matters only as an order: deadlines become ranks, looks are fresh or not, and the present is
 * left out. */
static void canonical(const struct model_state *state, struct state_key *out)
{
    struct flush_window window = state->window;
    window.orders = 0;
    window.answered = 0;
    window.heard_us = 0;
    window.slots = NULL;
    window.progress_us = 0;
    window.deadline_us = 0;
    window.ahead = 0;
    out->len = 0;
    key_add(out, &window, sizeof window);
    for (uint32_t i = 0; i < state->window.capacity; i++) {
        struct flush_slot slot = state->slots[i];
        slot.looked_us = state->now - slot.looked_us <= MODEL_DUPLICATES_US / 2;
        for (int part = 0; part < FLUSH_PARTS; part++) {
            rank(state, &state->slots[i].parts[part], &slot.parts[part]);
        }
        key_add(out, &slot, sizeof slot);
    }
    key_add(out, &state->server, sizeof state->server);
    key_add_queue(out, &state->requests);
    key_add_queue(out, &state->leftover);
    key_add_queue(out, &state->replies);
    size_t rest = offsetof(struct model_state, is_flying);
    key_add(out, (const uint8_t *)state + rest, offsetof(struct model_state, now) - rest);
    memset((uint8_t *)out->words + out->len, 0, 4 * sizeof out->words[0]);
}

/* Four words at a time, which do not wait for one another: this is where the time goes. */
static uint64_t key_of(const struct model_state *state)
{
    enum { LANES = 4 };
    struct state_key key;
    canonical(state, &key);
    uint64_t lanes[LANES] = {1469598103934665603u, key.len, 3, 4};
    for (size_t at = 0; at * sizeof key.words[0] < key.len; at += LANES) {
        for (int i = 0; i < LANES; i++) {
            lanes[i] = (lanes[i] ^ key.words[at + (size_t)i]) * 0x9e3779b97f4a7c15u;
            lanes[i] ^= lanes[i] >> 32;
        }
    }
    uint64_t hash = 0;
    for (int i = 0; i < LANES; i++) {
        hash = (hash ^ lanes[i]) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return hash;
}

/* A hash of 62 bits and what is known of the states that have it: two of them with one is a 2^-38
 * chance here, and would only skip one. */
enum { STATE_IS_MET = 1, STATE_ENDS_WELL = 2, STATE_BITS = 3 };

struct key_set {
    uint64_t *cells; /* 0: empty */
    size_t size;     /* a power of two, at least twice as much as is used */
    size_t used;
};

static uint64_t *cell_of(const struct key_set *set, uint64_t key)
{
    size_t at = (size_t)(key >> 2) & (set->size - 1);
    while (set->cells[at] != 0 && (set->cells[at] ^ key) > STATE_BITS) {
        at = (at + 1) & (set->size - 1);
    }
    return &set->cells[at];
}

static bool set_has(const struct key_set *set, uint64_t key, unsigned bit)
{
    return set->size > 0 && (*cell_of(set, key) & bit) != 0;
}

static void set_grow(struct key_set *set)
{
    struct key_set more = {.size = set->size == 0 ? 1024 : 4 * set->size, .used = set->used};
    more.cells = calloc(more.size, sizeof *more.cells);
    cr_assert_not_null(more.cells);
    for (size_t i = 0; i < set->size; i++) {
        if (set->cells[i] != 0) {
            *cell_of(&more, set->cells[i]) = set->cells[i];
        }
    }
    free(set->cells);
    *set = more;
}

/* False where it is known already. */
static bool set_add(struct key_set *set, uint64_t key, unsigned bit)
{
    if (2 * set->used >= set->size) {
        set_grow(set);
    }
    uint64_t *cell = cell_of(set, key);
    bool is_new = (*cell & bit) == 0;
    set->used += *cell == 0;
    *cell |= (key & ~(uint64_t)STATE_BITS) | bit;
    return is_new;
}

/* ------------------------------------------------------------------ progress */

/* One step without a fault. False: there is none. */
static bool step_on(struct model_state *state, const struct model_setup *setup)
{
    static const enum model_action order[] = {TAKE, ADMIT, SEND, SERVE, DELIVER};
    state->window.slots = state->slots;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (model_is_enabled(state, setup, order[i]) && model_act(state, order[i])) {
            return true;
        }
    }
    return false;
}

/* Only time can help: it passes. */
static void wait_on(struct model_state *state, const struct model_setup *setup)
{
    cr_assert_lt(quipu_window_deadline(&state->window), INT64_MAX,
                 "nothing to do, nothing to wait for, and not done");
    /* A server that knows an id whose message is gone forgets it some day. */
    state->timeouts = 1;
    state->forgets = 1;
    enum model_action action = model_is_enabled(state, setup, SERVE_LEFTOVER) ? SERVE_LEFTOVER
                               : model_is_enabled(state, setup, FORGET)       ? FORGET
                                                                              : TIMEOUT;
    (void)model_act(state, action);
}

/* Without further faults, every event settles. */
static void check_progress(const struct model_state *from, const struct model_setup *setup,
                           struct key_set *known)
{
    struct model_state state = *from;
    uint64_t passed[STEPS_MAX];
    size_t steps = 0;
    while (steps < STEPS_MAX) {
        uint64_t key = key_of(&state);
        if (set_has(known, key, STATE_ENDS_WELL)) {
            break;
        }
        passed[steps++] = key;
        if (step_on(&state, setup)) {
            continue;
        }
        if (quipu_window_is_empty(&state.window)) {
            model_check_end(&state, setup);
            break;
        }
        wait_on(&state, setup);
    }
    cr_assert_lt(steps, STEPS_MAX, "an event never settles");
    for (size_t i = 0; i < steps; i++) {
        (void)set_add(known, passed[i], STATE_ENDS_WELL);
    }
}

/* ------------------------------------------------------------------ every state */

struct state_stack {
    struct model_state *states;
    size_t len;
    size_t cap;
};

static void stack_push(struct state_stack *stack, const struct model_state *state)
{
    if (stack->len == stack->cap) {
        stack->cap = stack->cap == 0 ? 1024 : 2 * stack->cap;
        struct model_state *more = realloc(stack->states, stack->cap * sizeof *more);
        cr_assert_not_null(more);
        stack->states = more;
    }
    stack->states[stack->len++] = *state;
}

size_t model_explore(const struct model_setup *setup)
{
    struct key_set known = {.size = 0};
    struct state_stack stack = {.len = 0};
    struct model_state state;
    size_t seen = 0;

    model_init(&state, setup);
    stack_push(&stack, &state);
    while (stack.len > 0) {
        state = stack.states[--stack.len];
        seen++;
        cr_assert_lt(seen, STATES_MAX, "more states than a test has time for");
        state.window.slots = state.slots;
        model_check_rules(&state, setup);
        check_progress(&state, setup, &known);
        for (int action = 0; action < ACTIONS; action++) {
            if (!model_is_enabled(&state, setup, (enum model_action)action)) {
                continue;
            }
            struct model_state next = state;
            if (model_act(&next, (enum model_action)action) &&
                set_add(&known, key_of(&next), STATE_IS_MET)) {
                stack_push(&stack, &next);
            }
        }
    }
    free(stack.states);
    free(known.cells);
    return seen;
}
