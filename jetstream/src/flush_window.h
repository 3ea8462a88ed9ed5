/*
 * The flush window: which message of which event goes out next, and what an answer, a deadline or a
 * lost connection means for it. A pure state machine: no I/O, no clock, no memory of its own; the
 * caller tells it the time and does what it says. Tested by going through every interleaving.
 *
 * An event's way, each step once the one before it is answered:
 *   CHUNK and META (its payload), and LOOK where the window looks → ENVELOPE → settled: published
 *                                                    ↘ CHECK (the server had something there)
 *                                                        → settled: duplicate, or conflict
 * Rules that hold whatever happens:
 *  1. An envelope is sent only when chunk and meta of its payload are answered: STORED or EXISTS.
 *     A window that looks also asks before each sending whether the event is there, and asks again
 *     where that was too long ago when the envelope's turn comes: the server then need not be told
 *     to expect nothing, and has to remember ids only for the time in between. It is always told
 *     the id. Where it knows one whose message is gone, it is asked until it has forgotten it.
 *  2. Envelopes are sent in the order of admission: one goes out only when every one before it, of
 *     whichever aggregate, is settled or in flight on this connection, which keeps the order. So an
 *     event's predecessor reaches the server before it, and is there unless the server refuses it;
 *     from the moment that such a refusal is known nothing behind it is sent until it is resolved.
 *     What was in flight behind it may be in the stream by then (docs/adr/0009).
 *  3. What is sent and unanswered is sent again after its deadline or on a new connection. Answers
 *     come nearly in order: while nothing that was sent later is answered, the deadline runs from
 *     the last answer to anything, so that a slow line is not taken for a lost message.
 *  4. An event settles exactly once; answers to what is settled are ignored.
 *  5. Where one is refused for good, those behind it in its aggregate are held: they settle without
 *     having been sent. One that was in flight already is an orphan: it settles by its own answer,
 *     and where none comes it is looked up, never sent again.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_FLUSH_WINDOW_H
#define QUIPU_FLUSH_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flush_part { FLUSH_CHUNK, FLUSH_META, FLUSH_LOOK, FLUSH_ENVELOPE, FLUSH_CHECK };
#define FLUSH_PARTS 5

enum flush_answer {
    FLUSH_STORED,  /* the server stored it, under `sequence` */
    FLUSH_EXISTS,  /* the server has something there already */
    FLUSH_NOT_NOW, /* the server asks for patience */
    FLUSH_NEVER,   /* refused for good, this event alone */
    /* Only to FLUSH_CHECK: */
    FLUSH_OURS,    /* what is there is this event, under `sequence` */
    FLUSH_FOREIGN, /* what is there is another event */
    FLUSH_GONE,    /* nothing is there after all; to FLUSH_LOOK too */
};

enum flush_phase {
    FLUSH_WAITS, /* for an earlier part */
    FLUSH_READY, /* to be sent */
    FLUSH_FLIES, /* sent, unanswered */
    FLUSH_RESTS, /* the server asked for patience; ready again at the deadline */
    FLUSH_DONE,
};

enum flush_outcome {
    FLUSH_UNSETTLED = 0,
    FLUSH_PUBLISHED,
    FLUSH_DUPLICATE, /* it was there, and it is ours */
    FLUSH_CONFLICT,  /* another event is there under its event_id */
    FLUSH_REFUSED,   /* FLUSH_NEVER */
    FLUSH_HELD,      /* behind a conflict or a refused one of its aggregate; not in the stream */
};

struct flush_part_state {
    enum flush_phase phase;
    uint32_t sends; /* since admission */
    uint64_t order; /* of the last sending, among all */
    int64_t deadline_us;
};

struct flush_slot {
    uint64_t position;
    uint64_t aggregate; /* equal: the same aggregate */
    uint64_t follower;  /* ticket of the next event of its aggregate; 0: none in the window */
    bool is_orphan;     /* its envelope was in flight when one before it was refused for good */
    struct flush_part_state parts[FLUSH_PARTS];
    enum flush_outcome outcome;
    uint64_t sequence;
    /* The server takes it for a duplicate but has nothing: leave Nats-Msg-Id out; never in a window
     * that looks. */
    bool is_without_msg_id;
    bool is_found;     /* FLUSH_LOOK: something is there */
    uint8_t looks;     /* FLUSH_LOOKs that were sent; an answer to an earlier one is stale */
    int64_t looked_us; /* when the last one was, with slept_us */
    bool is_taken;
    /* The window finds an event's predecessor by lists, newest first: that of aggregate `a` begins
     * at slots[a % capacity].newest and goes on at `older`; 0 or a ticket that is gone ends it. */
    uint64_t newest;
    uint64_t older;
};

/*
 * A ring: an event's ticket is its number in order of admission; it lives in
 * slots[ticket % capacity] while first <= ticket < next. The place is free again when it and all
 * before it are settled and taken.
 */
struct flush_window {
    struct flush_slot *slots; /* the caller's */
    uint32_t capacity;
    bool looks;
    int64_t look_holds_us;
    int64_t slept_us; /* the caller's to set: time that passed elsewhere and not in `now_us` */
    uint64_t first;
    uint64_t next;
    uint32_t untaken; /* events that are settled and not yet taken */
    uint64_t ahead;   /* orphans that are in the stream, so far */
    /* Nothing before this ticket is ready, per part; and every envelope before it is in flight or
     * settled. */
    uint64_t cursor[FLUSH_PARTS];
    int64_t answer_us;   /* how long an answer may take the first time */
    int64_t deadline_us; /* no deadline is earlier than this */
    uint64_t orders;     /* sendings so far */
    uint64_t answered;   /* the last sending to which an answer came */
    int64_t heard_us;    /* when any answer last came */
    int64_t progress_us; /* when an event last took a step that it had not taken before, or an
                            answer came that was late for one */
};

struct flush_window_setup {
    struct flush_slot *slots; /* `capacity` of them, the caller's */
    uint32_t capacity;        /* at least 1 */
    /* At least 1, and one that no reply can still come for: replies find their event by ticket. */
    uint64_t first_ticket;
    int64_t answer_us;     /* how long an answer may take the first time */
    bool looks;            /* rule 1 */
    int64_t look_holds_us; /* and how old the answer may be */
};
void quipu_window_init(struct flush_window *window, const struct flush_window_setup *setup,
                       int64_t now_us);

uint32_t quipu_window_room(const struct flush_window *window);
bool quipu_window_is_empty(const struct flush_window *window);

/* Take an event in; there must be room. `aggregate`: a number that no other aggregate has. Events
 * of one aggregate come in order. Returns its ticket. */
uint64_t quipu_window_admit(struct flush_window *window, uint64_t position, uint64_t aggregate,
                            int64_t now_us);

#define FLUSH_LOOK_ROUNDS 8

struct flush_send {
    uint64_t ticket;
    enum flush_part part;
    uint8_t round; /* of a FLUSH_LOOK: below FLUSH_LOOK_ROUNDS */
    bool is_without_msg_id;
};
/* What to send now; it counts as sent. False: nothing. */
bool quipu_window_next_send(struct flush_window *window, int64_t now_us, struct flush_send *out);

/* An answer has come. False: it is stale and means nothing any more. */
bool quipu_window_answer(struct flush_window *window, uint64_t ticket, enum flush_part part,
                         enum flush_answer answer, uint64_t sequence, int64_t now_us);

/* Is an answer to the FLUSH_LOOK of this round still worth anything? */
bool quipu_window_look_counts(const struct flush_window *window, uint64_t ticket, uint8_t round);

/* The connection is gone: all that is unanswered is to be sent again. */
void quipu_window_disconnected(struct flush_window *window);

/* What is beyond its deadline is to be sent again. Returns how many parts that are. */
uint32_t quipu_window_tick(struct flush_window *window, int64_t now_us);

/* Earliest deadline; INT64_MAX where nothing flies. May be too early, never too late. */
int64_t quipu_window_deadline(const struct flush_window *window);

/* The next settled event, in order of admission where several are, each once. */
bool quipu_window_next_settled(struct flush_window *window, uint64_t *ticket,
                               struct flush_slot *out);

/* The ticket's slot, or NULL where it is not in the window any more. */
struct flush_slot *quipu_window_slot(const struct flush_window *window, uint64_t ticket);

#endif
