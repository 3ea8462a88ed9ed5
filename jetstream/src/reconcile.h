/*
 * A reconciliation, as its files share it: the stream is read (reconcile.c), then the log
 * (reconcile_log.c); both ask the server in batches (ask.c). Nothing is written anywhere but, where
 * that is asked for, when the stream got what it has (reconcile_times.c).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_RECONCILE_H
#define QUIPU_RECONCILE_H

#include "connection.h"
#include "quipu/jetstream.h"
#include "stored.h"
#include "streams.h"

/* ------------------------------------------------------------------ asking */

#define ASK_MAX 256

/* Up to ASK_MAX questions, sent at once, answered in any order. */
struct ask_batch {
    size_t count;
    /* The question of this index; the same each time that it is asked for. `out->subject` points to
     * `room`, or to what stays where it is. */
    void (*question)(void *ctx, size_t index, char room[STORED_SUBJECT_BYTES],
                     struct stored_ask *out);
    /* Called once for each, with a message or with what the server says instead. */
    enum quipu_status (*answer)(void *ctx, size_t index, const struct stored *stored,
                                struct quipu_error *err);
    void *ctx;
};

/* Ask all, those without an answer again, over a new connection where the old one is lost; by
 * direct get, and the stream's leader where that brings what cannot be read.
 * @retval QUIPU_TIMEOUT, QUIPU_OFFLINE  after three attempts; QUIPU_NOT_PROVISIONED; or what
 * `answer` says */
enum quipu_status quipu_ask(struct quipu_nats *nats, const struct ask_batch *batch,
                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* ------------------------------------------------------------------ reconciling */

struct reconcile {
    struct quipu_engine *engine;
    struct quipu_nats *nats;
    struct quipu_reconcile_options options;
    struct quipu_reconcile_report report;
    struct stream_facts facts;
    uint64_t last_position;  /* of the log, before the stream was looked at */
    uint8_t *seen;           /* a bit for each position: the event is in the stream */
    struct quipu_ack *times; /* to note; NULL: none are */
    size_t time_count;
};

static inline bool reconcile_is_seen(const struct reconcile *reconcile, uint64_t position)
{
    return (reconcile->seen[position / 8] >> (position % 8) & 1) != 0;
}

/* Times that are written together. */
#define RECONCILE_TIMES_AT 4096

/* Get room for times, where they are wanted. @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_reconcile_times_open(struct reconcile *reconcile,
                                             struct quipu_error *err) QUIPU_MUST_CHECK;

/* The event at `position` is in the stream. Written later. */
void quipu_reconcile_times_add(struct reconcile *reconcile, uint64_t position, uint64_t sequence,
                               int64_t stored_unix_us);

/* Write those that have come together: where there is no room for another batch, or `is_final`. No
 * transaction may be open. */
enum quipu_status quipu_reconcile_times_write(struct reconcile *reconcile, bool is_final,
                                              struct quipu_error *err) QUIPU_MUST_CHECK;

/* Count a difference and tell the caller. @retval what the caller returns */
enum quipu_status quipu_reconcile_tell(struct reconcile *reconcile, enum quipu_difference what,
                                       uint64_t position, uint64_t sequence,
                                       struct quipu_error *err, const char *format, ...)
    QUIPU_PRINTF(6, 7) QUIPU_MUST_CHECK;

/* Every event with a receipt: is it in the stream, and its payload in the bucket? */
enum quipu_status quipu_reconcile_log(struct reconcile *reconcile,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
