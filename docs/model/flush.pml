/*
 * The flush protocol: two flushers with the same events (one bundle, imported on two machines), one
 * server, connections that break, processes that die, answers that come late. Checked for: no event
 * in the stream twice, none counted as published that is not there, no envelope before its payload,
 * and every event published in the end.
 *
 * What it leaves out: the window's size, the subject's form, dead letters. One step of the server is
 * one step here: it stores and answers, or does neither.
 *
 * docs/SPEC.md §10.3; tests/jetstream/model_flush.sh runs it, and runs it again with one guard taken
 * away at a time (-DWITHOUT_…), which must fail.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define CLIENTS 2
#ifndef EVENTS
#define EVENTS 1
#endif
#ifndef BREAKS
#define BREAKS 1 /* of each connection */
#endif
#ifndef DEATHS
#define DEATHS 1 /* of each process */
#endif
#ifndef IMPATIENCE
#define IMPATIENCE 1 /* deadlines that run out although the answer is under way */
#endif

mtype = { payload, envelope, stored, exists };

/* Where an event is in a flusher's window. Lost with the process. */
mtype = { idle, payload_sent, payload_there, envelope_sent, acknowledged };

/* The server's. */
bool has_payload[EVENTS];
byte envelopes[EVENTS];

/* In each store, durable. */
typedef outbox { bool receipt[EVENTS] };
outbox store[CLIENTS];

/* What is under way on each connection: part, event; answer, part, event. */
chan up[CLIENTS]   = [4] of { mtype, byte };
chan down[CLIENTS] = [4] of { mtype, mtype, byte };

inline take(c, part, e)
{
    if
    :: part == payload ->
        if
        :: has_payload[e] -> down[c]!exists, payload, e
        :: else -> has_payload[e] = true; down[c]!stored, payload, e
        fi
    :: part == envelope ->
        assert(has_payload[e]); /* no envelope before its payload */
        if
#ifndef WITHOUT_EXPECTATION
        :: envelopes[e] > 0 -> down[c]!exists, envelope, e
#endif
        :: else -> envelopes[e]++; down[c]!stored, envelope, e
        fi;
        assert(envelopes[e] <= 1) /* never twice */
    fi
}

active proctype server()
{
    mtype part;
    byte e;
end:
    do
    :: atomic { nfull(down[0]) && nempty(up[0]) -> up[0]?part, e; take(0, part, e) }
    :: atomic { nfull(down[1]) && nempty(up[1]) -> up[1]?part, e; take(1, part, e) }
    od
}

inline forget_what_is_under_way(c)
{
    do
    :: up[c]?_, _
    :: down[c]?_, _, _
    :: empty(up[c]) && empty(down[c]) -> break
    od
}

/* What was sent and not answered is sent again. */
inline send_again(e)
{
#ifndef WITHOUT_SENDING_AGAIN
    if
    :: window[e] == payload_sent -> window[e] = idle
    :: window[e] == envelope_sent -> window[e] = payload_there
    :: else -> skip
    fi
#else
    skip
#endif
}

#define WAITS(e) (window[e] == payload_sent || window[e] == envelope_sent)

/* A step that one event can take. */
#define STEPS(e)                                                                                   \
    :: atomic { window[e] == idle && !store[c].receipt[e] && nfull(up[c]) ->                       \
                up[c]!payload, e; window[e] = SENT }                                               \
    :: atomic { window[e] == payload_there && nfull(up[c]) ->                                      \
                up[c]!envelope, e; window[e] = envelope_sent; EARLY(e) }                           \
    :: atomic { window[e] == acknowledged ->                                                       \
                store[c].receipt[e] = true; window[e] = idle; PUBLISHED(e) }                       \
    :: atomic { WAITS(e) && empty(up[c]) && empty(down[c]) -> send_again(e) }                      \
    :: atomic { WAITS(e) && impatience > 0 -> impatience--; send_again(e) }

/* Never counted as published without being there. */
#define PUBLISHED(e) assert(envelopes[e] == 1 && has_payload[e])

#ifdef WITHOUT_WAITING_FOR_PAYLOADS
#define SENT payload_there
#else
#define SENT payload_sent
#endif

#ifdef WITHOUT_WAITING_FOR_ACKS
#define EARLY(e) store[c].receipt[e] = true; PUBLISHED(e)
#else
#define EARLY(e) skip
#endif

#ifdef WITHOUT_TAKING_EXISTS_FOR_STORED
#define MEANS_STORED(answer) (answer == stored)
#else
#define MEANS_STORED(answer) (answer == stored || answer == exists)
#endif

#if EVENTS > 1
#define FOR_EACH(first, second) first; second
#define ALL_OF(c)               (store[c].receipt[0] && store[c].receipt[1])
#else
#define FOR_EACH(first, second) first
#define ALL_OF(c)               store[c].receipt[0]
#endif

proctype flusher(byte c)
{
    mtype window[EVENTS];
    byte breaks = BREAKS, deaths = DEATHS, impatience = IMPATIENCE;
    byte e;
    mtype answer, part;
    window[0] = idle;
#if EVENTS > 1
    window[1] = idle;
#endif
    do
    STEPS(0)
#if EVENTS > 1
    STEPS(1)
#endif
    :: atomic { down[c]?answer, part, e ->
                if
                :: !MEANS_STORED(answer) -> skip
                :: else ->
                    if
                    :: part == payload && window[e] == payload_sent -> window[e] = payload_there
                    :: part == envelope && window[e] == envelope_sent -> window[e] = acknowledged
                    :: else -> skip /* late: the step was taken already */
                    fi
                fi;
                answer = 0; part = 0; e = 0 }
    :: atomic { breaks > 0 -> breaks--;
                forget_what_is_under_way(c); FOR_EACH(send_again(0), send_again(1)) }
    :: atomic { deaths > 0 -> deaths--;
                forget_what_is_under_way(c); FOR_EACH(window[0] = idle, window[1] = idle) }
    :: ALL_OF(c) -> break
    od
}

#ifdef ALONE /* the second store is published already */
init
{
    atomic { FOR_EACH(store[1].receipt[0] = true, store[1].receipt[1] = true); run flusher(0) }
}
#else
init
{
    atomic { run flusher(0); run flusher(1) }
}
#endif

#define ALL_PUBLISHED (ALL_OF(0) && ALL_OF(1))

ltl progress { <> ALL_PUBLISHED }
