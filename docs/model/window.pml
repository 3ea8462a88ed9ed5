/*
 * The flush protocol with dedup = "window": the server is told the event's id and to expect nothing
 * of its subject; it knows ids for a while only, so it is asked before each sending. Two flushers
 * with the same event, connections that break, processes that die, answers that come late, messages
 * of a connection that is gone, and time, which passes for all alike. Checked for: the event is in
 * the stream once, it never counts as published without being there, its envelope never comes before
 * its payload, and it is published in the end.
 *
 * Time is counted in ticks, half a duplicate window each. What the mode presumes stands in
 * network(): no envelope is under way for longer. A server knows an id for a whole window behind the
 * tick in which it stored the message: what a question did not see was stored after the question set
 * out, from which on its answer's age is counted.
 *
 * Direct gets and publishes are served in any order, and so are messages among themselves. What it
 * leaves out: as flush.pml, and an event's other parts.
 *
 * docs/SPEC.md §10.3; tests/jetstream/model_flush.sh runs it, and runs it again with one guard taken
 * away, or what is presumed not kept, at a time, which must fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define CLIENTS 2
#ifndef WINDOW
#define WINDOW 2 /* ticks for which the server knows an id */
#endif
#ifndef HOLDS
#define HOLDS 1 /* ticks that the question may be old when the envelope goes out */
#endif
#ifndef TRANSIT
#define TRANSIT 1 /* ticks that an envelope may be under way */
#endif
#ifndef FAULTS
#define FAULTS 3 /* broken connections, dead processes, deadlines that run out too early */
#endif

/* The payload, in a flusher's window: asked for and put where it is not there, as one step. */
mtype = { payload_not_sent, payload_sent, payload_there };
/* The question before the envelope, and what it was answered. */
mtype = { to_be_asked, asked, nothing };
/* The envelope: `compares` asks what is there, `rests` waits for the server to forget an id. */
mtype = { waits, flies, compares, rests, acknowledged };
/* Answers to a question. */
mtype = { none, there, not_there };

/* The server's. */
bool has_payload;
byte envelopes;
#ifdef REMEMBERED /* the message was deleted a moment ago */
byte known = WINDOW + 1;
#else
byte known; /* ticks for which it still knows the id */
#endif
bool replica; /* what another server that holds the stream has of it */

byte faults = FAULTS;

/* In each store, durable. */
bool receipt[CLIENTS];

/* What each process knows, lost with it. */
mtype payload[CLIENTS]  = payload_not_sent;
mtype question[CLIENTS] = to_be_asked;
mtype envelope[CLIENTS] = waits;
byte age[CLIENTS]; /* of the last question, since it was sent */
bool is_without_id[CLIENTS];

/* On each connection. */
bool is_asking[CLIENTS];
mtype told[CLIENTS] = none;
#ifdef WITHOUT_ROUNDS /* an answer to an earlier question counts as one to the last */
bool is_asking_still[CLIENTS];
mtype told_before[CLIENTS] = none;
#endif
byte stored_acks[CLIENTS];
byte exists_acks[CLIENTS];

/* Envelopes under way, by the ticks that they have been: on the connection, and on those before. */
typedef envelopes_by_age { byte n[TRANSIT + 1] };
envelopes_by_age way[CLIENTS];
envelopes_by_age leftover[CLIENTS];

#define ALL_PUBLISHED (receipt[0] && receipt[1])

#ifdef WITHOUT_ID
#define IS_KNOWN(c) false
#else
#define IS_KNOWN(c) (known > 0 && !is_without_id[c])
#endif

/* Another server may answer a direct get, and may be behind. */
#ifdef WITHOUT_ASKING_THE_LEADER
#define IS_SEEN replica
#else
#define IS_SEEN (envelopes > 0)
#endif

/* The answer to what was asked before counts no more, wherever it is. */
inline ask_again(c)
{
#ifdef WITHOUT_ROUNDS
    if
    :: is_asking[c] && !is_asking_still[c] && told_before[c] == none -> is_asking_still[c] = true
    :: told[c] != none && !is_asking_still[c] && told_before[c] == none -> told_before[c] = told[c]
    :: else -> skip
    fi;
#endif
    is_asking[c] = false;
    told[c] = none;
    question[c] = to_be_asked;
    age[c] = 0
}

/* ------------------------------------------------------------------ the server and the network */

/* Stores an envelope unless it knows the id; `answers` is whether somebody still listens. */
inline take(c, answers)
{
    assert(has_payload); /* no envelope before its payload */
    if
    :: IS_KNOWN(c) -> exists_acks[c] = exists_acks[c] + answers
    :: else ->
        envelopes++;
        assert(envelopes <= 1); /* never twice */
        known = WINDOW + 1;
        stored_acks[c] = stored_acks[c] + answers
    fi
}

#define CARRY(c, a)                                                                                \
    :: atomic { way[c].n[a] > 0 -> way[c].n[a]--; take(c, 1) }                                     \
    :: atomic { leftover[c].n[a] > 0 -> leftover[c].n[a]--; take(c, 0) }                           \
    :: atomic { leftover[c].n[a] > 0 -> leftover[c].n[a]-- }

#ifdef WITHOUT_ROUNDS
#define ANSWER_BEFORE(c)                                                                           \
    :: atomic { is_asking_still[c] ->                                                              \
                is_asking_still[c] = false; told_before[c] = (IS_SEEN -> there : not_there) }
#else
#define ANSWER_BEFORE(c)
#endif

#define SERVE(c)                                                                                   \
    :: atomic { payload[c] == payload_sent && !has_payload -> has_payload = true }                           \
    :: atomic { is_asking[c] ->                                                                    \
                is_asking[c] = false; told[c] = (IS_SEEN -> there : not_there) }                   \
    ANSWER_BEFORE(c)                                                                               \
    CARRY(c, 0)                                                                                    \
    CARRY(c, 1)

proctype network()
{
end:
    do
    SERVE(0)
    SERVE(1)
#if TRANSIT > 1
    CARRY(0, 2)
    CARRY(1, 2)
#endif
#ifdef WITHOUT_ASKING_THE_LEADER
    :: atomic { envelopes > 0 && !replica -> replica = true }
#endif
    od
}

/* ------------------------------------------------------------------ time */

#define IS_LATE(c) (way[c].n[TRANSIT] > 0 || leftover[c].n[TRANSIT] > 0)

inline grow_older(c)
{
#if TRANSIT > 1
    way[c].n[2] = way[c].n[1];
    leftover[c].n[2] = leftover[c].n[1];
#endif
    way[c].n[1] = way[c].n[0];
    way[c].n[0] = 0;
    leftover[c].n[1] = leftover[c].n[0];
    leftover[c].n[0] = 0;
    age[c] = (question[c] != to_be_asked && age[c] <= HOLDS -> age[c] + 1 : age[c]);
    if
    :: envelope[c] == rests -> envelope[c] = waits; ask_again(c)
    :: else -> skip
    fi
}

inline tick()
{
    grow_older(0);
    grow_older(1);
    known = (known > 0 -> known - 1 : 0)
}

/* For ever, where it is only asked what may happen (no SLOW). Where it is asked what happens in the
 * end, time passes SLOW times while there is something to do, and then only while all wait for it:
 * a machine that takes half a window for each step gets nowhere. */
proctype clock()
{
#ifdef SLOW
    byte slow = SLOW;
#endif
end:
    do
#ifdef SLOW
    :: atomic { slow > 0 && !IS_LATE(0) && !IS_LATE(1) -> slow--; tick() }
    :: atomic { timeout && !ALL_PUBLISHED -> tick() }
#else
    :: atomic { !IS_LATE(0) && !IS_LATE(1) -> tick() }
#endif
    od
}

/* ------------------------------------------------------------------ a flusher */

/* What was sent and not answered is sent again: an envelope, once it was asked for again. */
inline send_again(c)
{
    if
    :: payload[c] == payload_sent -> payload[c] = payload_not_sent
    :: else -> skip
    fi;
#ifndef WITHOUT_SENDING_AGAIN
    if
    :: envelope[c] == flies || envelope[c] == rests -> envelope[c] = waits; ask_again(c)
    :: envelope[c] == compares || question[c] == asked -> ask_again(c)
    :: else -> skip
    fi
#endif
}

inline forget_what_is_under_way(c)
{
    leftover[c].n[0] = leftover[c].n[0] + way[c].n[0];
    way[c].n[0] = 0;
    leftover[c].n[1] = leftover[c].n[1] + way[c].n[1];
    way[c].n[1] = 0;
#if TRANSIT > 1
    leftover[c].n[2] = leftover[c].n[2] + way[c].n[2];
    way[c].n[2] = 0;
#endif
    stored_acks[c] = 0;
    exists_acks[c] = 0;
    is_asking[c] = false;
    told[c] = none;
#ifdef WITHOUT_ROUNDS
    is_asking_still[c] = false;
    told_before[c] = none
#endif
}

inline forget_all(c)
{
    payload[c] = payload_not_sent;
    question[c] = to_be_asked;
    envelope[c] = waits;
    age[c] = 0;
    is_without_id[c] = false
}

/* An answer to the question before the envelope. */
inline hear(c, answer)
{
    if
    :: answer == there -> envelope[c] = compares; question[c] = to_be_asked; age[c] = 0
    :: else -> question[c] = nothing
    fi
}

/* The server knows the id and has nothing: it forgets the id in time. */
inline miss(c)
{
#ifdef LEAVING_THE_ID_OUT
    is_without_id[c] = true;
    envelope[c] = waits
#else
    envelope[c] = rests
#endif
}

#ifdef WITHOUT_WAITING_FOR_PAYLOADS
#define IS_PAYLOAD_READY(c) (payload[c] != payload_not_sent)
#else
#define IS_PAYLOAD_READY(c) (payload[c] == payload_there)
#endif

#ifdef WITHOUT_ASKING
#define IS_ASKED(c) true
#else
#ifdef WITHOUT_AGE
#define IS_ASKED(c) (question[c] == nothing)
#else
#define IS_ASKED(c) (question[c] == nothing && age[c] <= HOLDS)
#endif
#endif

/* What "exists" means: see what is there. */
#ifdef TAKING_EXISTS_FOR_STORED
#define SEE acknowledged
#else
#define SEE compares
#endif

proctype flusher(byte c)
{
    do
    :: atomic { payload[c] == payload_not_sent -> payload[c] = payload_sent }
    :: atomic { payload[c] == payload_sent && has_payload -> payload[c] = payload_there }
    :: atomic { envelope[c] == waits && question[c] == to_be_asked ->
                question[c] = asked; age[c] = 0; is_asking[c] = true }
    :: atomic { envelope[c] == waits && question[c] == asked && told[c] != none ->
                hear(c, told[c]); told[c] = none }
#ifdef WITHOUT_ROUNDS
    :: atomic { envelope[c] == waits && question[c] == asked && told_before[c] != none ->
                hear(c, told_before[c]); told_before[c] = none; is_asking[c] = false }
#endif
    :: atomic { envelope[c] == waits && question[c] == nothing && !IS_ASKED(c) -> ask_again(c) }
    :: atomic { envelope[c] == waits && IS_PAYLOAD_READY(c) && IS_ASKED(c) ->
                way[c].n[0]++; envelope[c] = flies; ask_again(c) }
    :: atomic { stored_acks[c] > 0 -> stored_acks[c]--; envelope[c] = acknowledged }
    :: atomic { exists_acks[c] > 0 -> exists_acks[c]--;
                if
                :: envelope[c] == flies -> envelope[c] = SEE
                :: else -> skip /* late: it was asked for again already */
                fi }
    :: atomic { envelope[c] == compares && question[c] == to_be_asked ->
                question[c] = asked; is_asking[c] = true }
    :: atomic { envelope[c] == compares && told[c] == there -> ask_again(c);
                envelope[c] = acknowledged }
    :: atomic { envelope[c] == compares && told[c] == not_there -> ask_again(c); miss(c) }
    :: atomic { envelope[c] == acknowledged -> break }
    :: atomic { faults > 0 -> faults--; send_again(c) }
    :: atomic { faults > 0 -> faults--; forget_what_is_under_way(c); send_again(c) }
    :: atomic { faults > 0 -> faults--; forget_what_is_under_way(c); forget_all(c) }
    od;
    atomic {
        /* Never counted as published without being there. */
        assert(envelopes == 1 && has_payload);
        receipt[c] = true;
        forget_what_is_under_way(c);
        forget_all(c)
    }
}

init
{
    atomic {
        run network();
        run clock();
        run flusher(0);
        run flusher(1)
    }
}

ltl progress { <> ALL_PUBLISHED }
