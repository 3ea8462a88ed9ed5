/*
 * What lies on a subject or under a sequence of a stream: the question, and what the server says.
 *
 * A stream's message is its publisher's word, headers included, and a direct get gives those back
 * in front of the server's own. So of what a direct get brings only the last value of a header is
 * the server's, and that it brings a message is told by the sequence, which no status has, and not
 * by the absence of a status, which anybody can store. Where the headers that somebody has stored
 * cannot be read at all, and where the library takes them for "nobody is there" and swallows the
 * reply, the stream's leader is asked: its answer is JSON, in which nothing is the publisher's but
 * what is named so.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_STORED_H
#define QUIPU_STORED_H

#include <nats/nats.h>

#include "connection.h"
#include "publish.h"
#include "quipu/buf.h"

#define STORED_SUBJECT_BYTES 1024
#define STORED_NOTHING       404
/* There is something, and what it is only the stream's leader can say. */
#define STORED_UNREADABLE (-1)

/* `sequence` alone, the last message on `subject`, or, of both, the first message on it (it may
 * have wildcards) at or behind that sequence. */
struct stored_ask {
    const char *stream;
    const char *subject; /* NULL: any; below STORED_SUBJECT_BYTES */
    uint64_t sequence;   /* 0: the last one */
};

/* STORED_DIRECT costs the server less; any server that has the stream answers. */
enum stored_via { STORED_DIRECT, STORED_LEADER };

struct stored_room {
    char subject[STORED_SUBJECT_BYTES + NATS_STREAM_BYTES_MAX + 32];
    char body[2 * STORED_SUBJECT_BYTES + 80];
};

/* The question as a message; borrows `room`. */
void quipu_stored_request(const struct stored_ask *ask, enum stored_via via,
                          struct stored_room *room, struct nats_outgoing *out);

struct stored {
    /* 0: a message; 404 (STORED_NOTHING): there is none; STORED_UNREADABLE; else a status of the
     * server's or a JetStream error number. What follows is of a message. */
    int code;
    bool is_leaders; /* it came in JSON */
    uint64_t sequence;
    int64_t unix_us; /* when the server stored it, by its clock; 0: it does not say */
    struct quipu_slice body;
    char subject[STORED_SUBJECT_BYTES]; /* empty: longer than that */
    natsMsg *reply;                     /* its publisher's headers, where it came by a direct get */
    bool owns_reply;
    struct quipu_buf decoded;
};

/* What this reply to either question says; borrows it. To be released. */
void quipu_stored_read(natsMsg *reply, struct stored *out);
void quipu_stored_release(struct stored *stored);

/* Ask and wait, the leader where a direct get does not tell. `*out` is a message, to be released,
 * on QUIPU_OK and not otherwise.
 * @retval QUIPU_NOT_FOUND  there is none. @retval QUIPU_NOT_PROVISIONED  no such stream
 * @retval QUIPU_OFFLINE, QUIPU_TIMEOUT, QUIPU_PERMISSION, QUIPU_SERVER, QUIPU_NO_MEMORY */
enum quipu_status quipu_stored_get(struct quipu_nats *nats, const struct stored_ask *ask,
                                   enum stored_via via, struct stored *out,
                                   struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
