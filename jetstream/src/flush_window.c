/*
 * The rules of flush_window.h. No I/O, no clock: see the head of the header.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "flush_window.h"

#include <string.h>

#include "internal/invariant.h"

/* An answer may take twice as long each time that it has not come, eight times at most. */
#define ANSWER_DOUBLINGS_MAX 3
/* Patience that the server asks for: 50 ms, doubled each time up to 3.2 s. */
#define REST_US            ((int64_t)50 * 1000)
#define REST_DOUBLINGS_MAX 6

void quipu_window_init(struct flush_window *window, const struct flush_window_setup *setup,
                       int64_t now_us)
{
    QUIPU_INVARIANT(setup->capacity > 0);
    QUIPU_INVARIANT(setup->first_ticket > 0);
    memset(window, 0, sizeof *window);
    window->slots = setup->slots;
    window->capacity = setup->capacity;
    window->first = setup->first_ticket;
    window->next = setup->first_ticket;
    for (size_t i = 0; i < FLUSH_PARTS; i++) {
        window->cursor[i] = setup->first_ticket;
    }
    for (uint32_t i = 0; i < setup->capacity; i++) {
        window->slots[i].newest = 0;
    }
    window->answer_us = setup->answer_us;
    window->looks = setup->looks;
    window->look_holds_us = setup->look_holds_us;
    window->heard_us = now_us;
    window->deadline_us = INT64_MAX;
    window->progress_us = now_us;
}

uint32_t quipu_window_room(const struct flush_window *window)
{
    return window->capacity - (uint32_t)(window->next - window->first);
}

bool quipu_window_is_empty(const struct flush_window *window)
{
    return window->first == window->next;
}

static struct flush_slot *slot_at(const struct flush_window *window, uint64_t ticket)
{
    return &window->slots[ticket % window->capacity];
}

struct flush_slot *quipu_window_slot(const struct flush_window *window, uint64_t ticket)
{
    return ticket >= window->first && ticket < window->next ? slot_at(window, ticket) : NULL;
}

/* Look at this ticket again before anything behind it is sent. */
static void retreat(struct flush_window *window, uint64_t ticket, enum flush_part part)
{
    if (window->cursor[part] > ticket) {
        window->cursor[part] = ticket;
    }
}

static void make_ready(struct flush_window *window, uint64_t ticket, enum flush_part part)
{
    slot_at(window, ticket)->parts[part].phase = FLUSH_READY;
    retreat(window, ticket, part);
}

static void look_up(struct flush_window *window, uint64_t ticket)
{
    slot_at(window, ticket)->parts[FLUSH_ENVELOPE].phase = FLUSH_DONE;
    retreat(window, ticket, FLUSH_ENVELOPE);
    make_ready(window, ticket, FLUSH_CHECK);
}

/* No answer has come, or one that asks for patience. */
static void repeat(struct flush_window *window, uint64_t ticket, enum flush_part part)
{
    struct flush_slot *slot = slot_at(window, ticket);
    if (part == FLUSH_ENVELOPE && slot->is_orphan) {
        look_up(window, ticket);
    } else if (part == FLUSH_ENVELOPE && window->looks) {
        slot->parts[FLUSH_ENVELOPE].phase = FLUSH_WAITS;
        retreat(window, ticket, FLUSH_ENVELOPE);
        make_ready(window, ticket, FLUSH_LOOK);
    } else {
        make_ready(window, ticket, part);
    }
}

/* What comes before the envelope (rule 1). */
static bool is_prepared(const struct flush_slot *slot)
{
    return slot->parts[FLUSH_CHUNK].phase == FLUSH_DONE &&
           slot->parts[FLUSH_META].phase == FLUSH_DONE &&
           slot->parts[FLUSH_LOOK].phase == FLUSH_DONE;
}

static bool is_in_stream(enum flush_outcome outcome)
{
    return outcome == FLUSH_PUBLISHED || outcome == FLUSH_DUPLICATE;
}

static void finish(struct flush_window *window, struct flush_slot *slot, enum flush_outcome outcome)
{
    slot->outcome = outcome;
    window->untaken++;
}

/* Rule 5, for one that is behind a refused one. */
static void hold(struct flush_window *window, uint64_t ticket)
{
    struct flush_slot *slot = slot_at(window, ticket);
    if (slot->is_orphan) {
        return;
    }
    slot->is_orphan = slot->parts[FLUSH_ENVELOPE].sends > 0;
    if (slot->outcome != FLUSH_UNSETTLED) {
        window->ahead += is_in_stream(slot->outcome);
        return;
    }
    if (!slot->is_orphan) {
        finish(window, slot, FLUSH_HELD);
    } else if (slot->parts[FLUSH_ENVELOPE].phase == FLUSH_READY ||
               slot->parts[FLUSH_ENVELOPE].phase == FLUSH_WAITS) {
        look_up(window, ticket);
    }
}

static void settle(struct flush_window *window, struct flush_slot *slot, enum flush_outcome outcome,
                   uint64_t sequence, int64_t now_us)
{
    finish(window, slot, outcome);
    slot->sequence = sequence;
    window->progress_us = now_us;
    window->ahead += slot->is_orphan && is_in_stream(outcome);
    uint64_t ticket = is_in_stream(outcome) ? 0 : slot->follower;
    for (; ticket != 0; ticket = slot_at(window, ticket)->follower) {
        hold(window, ticket);
    }
}

/* The newest event of the aggregate that is in the window, or 0. */
static uint64_t find_predecessor(const struct flush_window *window, uint64_t aggregate)
{
    uint64_t ticket = slot_at(window, aggregate)->newest;
    while (ticket >= window->first && slot_at(window, ticket)->aggregate != aggregate) {
        ticket = slot_at(window, ticket)->older;
    }
    return ticket >= window->first ? ticket : 0;
}

uint64_t quipu_window_admit(struct flush_window *window, uint64_t position, uint64_t aggregate,
                            int64_t now_us)
{
    QUIPU_INVARIANT(quipu_window_room(window) > 0);
    if (quipu_window_is_empty(window)) {
        window->progress_us = now_us;
    }
    uint64_t before = find_predecessor(window, aggregate);
    uint64_t ticket = window->next++;
    struct flush_slot *slot = slot_at(window, ticket);
    uint64_t newest = slot->newest; /* of another list */
    memset(slot, 0, sizeof *slot);
    slot->newest = newest;
    slot->position = position;
    slot->aggregate = aggregate;
    slot->older = slot_at(window, aggregate)->newest;
    slot_at(window, aggregate)->newest = ticket;
    slot->parts[FLUSH_CHUNK].phase = FLUSH_READY;
    slot->parts[FLUSH_META].phase = FLUSH_READY;
    slot->parts[FLUSH_LOOK].phase = window->looks ? FLUSH_READY : FLUSH_DONE;
    if (before != 0) {
        struct flush_slot *predecessor = slot_at(window, before);
        predecessor->follower = ticket;
        bool is_refused =
            predecessor->outcome != FLUSH_UNSETTLED && !is_in_stream(predecessor->outcome);
        if (is_refused || predecessor->is_orphan) {
            finish(window, slot, FLUSH_HELD);
        }
    }
    return ticket;
}

/* First ticket whose part is ready, or `next`. Envelopes stop at the first event whose envelope is
 * neither ready nor in flight: rule 2. */
static uint64_t find_ready(struct flush_window *window, enum flush_part part)
{
    uint64_t ticket = window->cursor[part] > window->first ? window->cursor[part] : window->first;
    uint64_t found = window->next;
    for (; ticket < window->next; ticket++) {
        const struct flush_slot *slot = slot_at(window, ticket);
        if (slot->outcome != FLUSH_UNSETTLED) {
            continue;
        }
        if (slot->parts[part].phase == FLUSH_READY) {
            found = ticket;
            break;
        }
        if (part == FLUSH_ENVELOPE && slot->parts[part].phase != FLUSH_FLIES) {
            break;
        }
    }
    window->cursor[part] = ticket;
    return found;
}

/* Later steps first, so that events leave the window; a chunk before its meta. */
static bool choose_send(struct flush_window *window, uint64_t *ticket, enum flush_part *part)
{
    static const enum flush_part finishing[] = {FLUSH_CHECK, FLUSH_ENVELOPE};
    static const enum flush_part preparing[] = {FLUSH_CHUNK, FLUSH_META, FLUSH_LOOK};
    for (size_t i = 0; i < 2; i++) {
        *ticket = find_ready(window, finishing[i]);
        *part = finishing[i];
        if (*ticket < window->next) {
            return true;
        }
    }
    *ticket = window->next;
    for (size_t i = 0; i < 3; i++) {
        uint64_t ready = find_ready(window, preparing[i]);
        if (ready < *ticket) {
            *ticket = ready;
            *part = preparing[i];
        }
    }
    return *ticket < window->next;
}

static void set_deadline(struct flush_window *window, struct flush_part_state *state, int64_t base,
                         uint32_t doublings, int64_t now_us)
{
    state->deadline_us = now_us + (base << doublings);
    if (window->deadline_us > state->deadline_us) {
        window->deadline_us = state->deadline_us;
    }
}

static uint32_t at_most(uint32_t value, uint32_t max)
{
    return value < max ? value : max;
}

bool quipu_window_next_send(struct flush_window *window, int64_t now_us, struct flush_send *out)
{
    uint64_t ticket = 0;
    enum flush_part part = FLUSH_CHUNK;
    struct flush_slot *slot = NULL;
    for (;;) {
        if (!choose_send(window, &ticket, &part)) {
            return false;
        }
        slot = slot_at(window, ticket);
        if (part != FLUSH_ENVELOPE || !window->looks ||
            now_us + window->slept_us - slot->looked_us <= window->look_holds_us) {
            break;
        }
        repeat(window, ticket, FLUSH_ENVELOPE); /* it was looked for too long ago */
    }
    struct flush_part_state *state = &slot->parts[part];
    if (part == FLUSH_LOOK) {
        slot->looks = (uint8_t)((slot->looks + 1) % FLUSH_LOOK_ROUNDS);
        slot->looked_us = now_us + window->slept_us;
    }
    set_deadline(window, state, window->answer_us, at_most(state->sends, ANSWER_DOUBLINGS_MAX),
                 now_us);
    state->phase = FLUSH_FLIES;
    state->sends++;
    state->order = ++window->orders;
    out->ticket = ticket;
    out->part = part;
    out->round = slot->looks;
    out->is_without_msg_id = slot->is_without_msg_id;
    return true;
}

static void rest(struct flush_window *window, uint64_t ticket, enum flush_part part, int64_t now_us)
{
    struct flush_part_state *state = &slot_at(window, ticket)->parts[part];
    state->phase = FLUSH_RESTS;
    retreat(window, ticket, part);
    set_deadline(window, state, REST_US, at_most(state->sends, REST_DOUBLINGS_MAX), now_us);
}

static void answer_preparation(struct flush_window *window, uint64_t ticket, enum flush_part part,
                               int64_t now_us)
{
    struct flush_slot *slot = slot_at(window, ticket);
    slot->parts[part].phase = FLUSH_DONE;
    window->progress_us = now_us;
    if (!is_prepared(slot)) {
        return;
    }
    if (slot->is_found || slot->is_orphan) {
        look_up(window, ticket);
    } else {
        make_ready(window, ticket, FLUSH_ENVELOPE);
    }
}

/* Is there something under this event's subject, before it is sent? */
static void answer_look(struct flush_window *window, uint64_t ticket, bool is_found, int64_t now_us)
{
    slot_at(window, ticket)->is_found = is_found;
    answer_preparation(window, ticket, FLUSH_LOOK, now_us);
}

/* The server has something under this event's subject: see what it is. */
static void answer_exists(struct flush_window *window, uint64_t ticket, int64_t now_us)
{
    if (slot_at(window, ticket)->parts[FLUSH_CHECK].sends == 0) {
        window->progress_us = now_us;
    }
    look_up(window, ticket);
}

/* The server remembers the message's id but has lost or deleted the message: send it again without
 * the id. The expected sequence still keeps a second copy out. Where nothing is expected, the id
 * alone does that: look again, and again, until the server has forgotten it. */
static void answer_gone(struct flush_window *window, uint64_t ticket, int64_t now_us)
{
    struct flush_slot *slot = slot_at(window, ticket);
    if (slot->is_orphan) {
        finish(window, slot, FLUSH_HELD); /* and so is all behind it, since it became one */
        window->progress_us = now_us;
        return;
    }
    slot->is_without_msg_id = slot->is_without_msg_id || (!slot->is_found && !window->looks);
    slot->is_found = false;
    slot->parts[FLUSH_CHECK].phase = FLUSH_WAITS;
    rest(window, ticket, FLUSH_ENVELOPE, now_us);
}

bool quipu_window_answer(struct flush_window *window, uint64_t ticket, enum flush_part part,
                         enum flush_answer answer, uint64_t sequence, int64_t now_us)
{
    struct flush_slot *slot = quipu_window_slot(window, ticket);
    if (slot == NULL || slot->outcome != FLUSH_UNSETTLED || slot->parts[part].sends == 0) {
        return false;
    }
    struct flush_part_state *state = &slot->parts[part];
    window->heard_us = now_us;
    window->answered = state->order > window->answered ? state->order : window->answered;
    if (state->phase == FLUSH_DONE || state->phase == FLUSH_WAITS) {
        window->progress_us = answer != FLUSH_NOT_NOW ? now_us : window->progress_us;
        /* Late: the same part was sent twice and answered already. Only the word that the first
         * one was stored after all still says more than what we know. */
        if (part != FLUSH_ENVELOPE || answer != FLUSH_STORED) {
            return false;
        }
    }

    switch (answer) {
    case FLUSH_STORED:
    case FLUSH_EXISTS:
        if (part == FLUSH_CHUNK || part == FLUSH_META) {
            answer_preparation(window, ticket, part, now_us);
        } else if (part == FLUSH_LOOK) {
            answer_look(window, ticket, true, now_us);
        } else if (part == FLUSH_CHECK) {
            return false;
        } else if (answer == FLUSH_STORED) {
            settle(window, slot, FLUSH_PUBLISHED, sequence, now_us);
        } else {
            answer_exists(window, ticket, now_us);
        }
        return true;
    case FLUSH_NOT_NOW:
        rest(window, ticket, part, now_us);
        return true;
    case FLUSH_NEVER:
        settle(window, slot, FLUSH_REFUSED, 0, now_us);
        return true;
    case FLUSH_OURS:
    case FLUSH_FOREIGN:
    case FLUSH_GONE:
        break;
    }
    if (part == FLUSH_LOOK && answer == FLUSH_GONE) {
        answer_look(window, ticket, false, now_us);
        return true;
    }
    if (part != FLUSH_CHECK) {
        return false;
    }
    if (answer == FLUSH_GONE) {
        answer_gone(window, ticket, now_us);
    } else {
        settle(window, slot, answer == FLUSH_OURS ? FLUSH_DUPLICATE : FLUSH_CONFLICT, sequence,
               now_us);
    }
    return true;
}

bool quipu_window_look_counts(const struct flush_window *window, uint64_t ticket, uint8_t round)
{
    const struct flush_slot *slot = quipu_window_slot(window, ticket);
    return slot != NULL && slot->looks == round;
}

void quipu_window_disconnected(struct flush_window *window)
{
    for (uint64_t ticket = window->first; ticket < window->next; ticket++) {
        struct flush_slot *slot = slot_at(window, ticket);
        if (slot->outcome != FLUSH_UNSETTLED) {
            continue;
        }
        for (int part = 0; part < FLUSH_PARTS; part++) {
            if (slot->parts[part].phase == FLUSH_FLIES || slot->parts[part].phase == FLUSH_RESTS) {
                repeat(window, ticket, (enum flush_part)part);
            }
        }
    }
    window->deadline_us = INT64_MAX;
    window->answered = window->orders;
}

/* Rule 3. True where the deadline has moved. */
static bool wait_longer(const struct flush_window *window, struct flush_part_state *state,
                        int64_t now_us)
{
    if (state->phase != FLUSH_FLIES || state->order <= window->answered) {
        return false;
    }
    uint32_t doublings = at_most(state->sends - 1, ANSWER_DOUBLINGS_MAX);
    int64_t later_us = window->heard_us + (window->answer_us << doublings);
    if (later_us <= now_us) {
        return false;
    }
    state->deadline_us = later_us;
    return true;
}

uint32_t quipu_window_tick(struct flush_window *window, int64_t now_us)
{
    if (now_us < window->deadline_us) {
        return 0;
    }
    uint32_t expired = 0;
    window->deadline_us = INT64_MAX;
    for (uint64_t ticket = window->first; ticket < window->next; ticket++) {
        struct flush_slot *slot = slot_at(window, ticket);
        if (slot->outcome != FLUSH_UNSETTLED) {
            continue;
        }
        for (int part = 0; part < FLUSH_PARTS; part++) {
            struct flush_part_state *state = &slot->parts[part];
            if (state->phase != FLUSH_FLIES && state->phase != FLUSH_RESTS) {
                continue;
            }
            if (state->deadline_us <= now_us && !wait_longer(window, state, now_us)) {
                repeat(window, ticket, (enum flush_part)part);
                expired++;
            } else if (state->deadline_us < window->deadline_us) {
                window->deadline_us = state->deadline_us;
            }
        }
    }
    return expired;
}

int64_t quipu_window_deadline(const struct flush_window *window)
{
    return window->deadline_us;
}

bool quipu_window_next_settled(struct flush_window *window, uint64_t *ticket,
                               struct flush_slot *out)
{
    bool is_found = false;
    for (uint64_t t = window->first; window->untaken > 0 && t < window->next && !is_found; t++) {
        struct flush_slot *slot = slot_at(window, t);
        if (slot->outcome == FLUSH_UNSETTLED || slot->is_taken) {
            continue;
        }
        slot->is_taken = true;
        window->untaken--;
        *ticket = t;
        *out = *slot;
        is_found = true;
    }
    while (window->first < window->next && slot_at(window, window->first)->is_taken) {
        window->first++;
    }
    return is_found;
}
