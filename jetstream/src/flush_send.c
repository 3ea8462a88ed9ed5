/*
 * What the window says becomes messages, and what the server says becomes answers for the window;
 * what is a question, and its answer, in flush_questions.c.
 *
 * Specification: docs/SPEC.md §10.2, §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flusher.h"
#include "internal/failpoint.h"
#include "nats_status.h"

/* Looking whether the streams still exist, at most this often in mid-flush. */
#define DOUBT_EVERY_US ((int64_t)500 * 1000)
/* Replies keep coming as long as the server is busy: whoever takes all of them before he sends what
 * they allow lets it run dry. */
#define REPLIES_AT_ONCE 64

enum quipu_status quipu_flusher_end(struct flusher *flusher, enum quipu_status status)
{
    if (flusher->status == QUIPU_OK) {
        flusher->status = status;
        flusher->err = flusher->trouble;
    }
    flusher->is_draining = false;
    return status;
}

void quipu_flusher_answer(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                          enum flush_answer what, uint64_t sequence)
{
    /* A stale answer changes nothing, which is all that one must do with it. */
    (void)quipu_window_answer(&flusher->window, ticket, part, what, sequence, quipu_monotonic_us());
}

void quipu_flusher_refuse(struct flush_item *item, enum quipu_status reason, const char *line)
{
    item->reason = reason;
    (void)snprintf(item->line, sizeof item->line, "%s", line);
}

static void count_stored(struct flusher *flusher, const struct flush_item *item)
{
    flusher->report.payloads_stored++;
    flusher->report.payload_bytes += item->payload.len;
}

struct quipu_cid *quipu_flusher_good_place(struct flusher *flusher, const struct quipu_cid *cid)
{
    return &flusher->good_payloads[cid->digest[0] % FLUSH_GOOD_PAYLOADS];
}

/* Somebody's subject has no taker, the library does not say whose; or an ack has a sequence that
 * the stream had long ago: see what is missing. Where nothing is, it was a passing thing, and the
 * deadline sends again. */
static enum quipu_status doubt(struct flusher *flusher)
{
    int64_t now = quipu_monotonic_us();
    if (now - flusher->doubted_us < DOUBT_EVERY_US) {
        return QUIPU_OK;
    }
    flusher->doubted_us = now;
    enum quipu_status status = quipu_flusher_verify(flusher);
    return status == QUIPU_TIMEOUT ? QUIPU_OK : status;
}

/* ------------------------------------------------------------------ sending */

/* An object of several chunks that was there: is it this payload? Read once per flush. */
static enum quipu_status compare_chained(struct flusher *flusher, const struct flush_item *item)
{
    struct quipu_cid *good = quipu_flusher_good_place(flusher, &item->payload_cid);
    if (quipu_cid_equal(good, &item->payload_cid)) {
        return QUIPU_OK;
    }
    struct quipu_buf theirs = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_payload_get(flusher->nats, &item->payload_cid, &theirs, &flusher->trouble);
    quipu_buf_release(&theirs);
    if (status == QUIPU_OK) {
        *good = item->payload_cid;
    }
    return status == QUIPU_NOT_FOUND ? QUIPU_TIMEOUT : status; /* gone since: try again */
}

/* A payload of several chunks goes up here and now, request by request. */
static enum quipu_status put_chained(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    enum payload_put outcome = PAYLOAD_PUT_EXISTED;
    enum quipu_status status =
        quipu_payload_put(flusher->nats, &item->payload_cid, quipu_buf_slice(&item->payload),
                          flusher->chunk_bytes_max, &outcome, &flusher->trouble);
    if (status == QUIPU_OK && outcome == PAYLOAD_PUT_EXISTED) {
        status = compare_chained(flusher, item);
    }
    if (status == QUIPU_OK) {
        if (outcome == PAYLOAD_PUT_STORED) {
            count_stored(flusher, item);
        }
        quipu_flusher_answer(flusher, ticket, FLUSH_CHUNK, FLUSH_STORED, 0);
        return QUIPU_OK;
    }
    if (status == QUIPU_OFFLINE) {
        return status;
    }
    if (status == QUIPU_NOT_PROVISIONED) {
        status = doubt(flusher);
        status = status == QUIPU_OK ? QUIPU_TIMEOUT : status;
    }
    if (status == QUIPU_TIMEOUT) {
        quipu_flusher_answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (status == QUIPU_TOO_LARGE || status == QUIPU_CORRUPT) {
        quipu_flusher_refuse(item, status, flusher->trouble.message);
        quipu_flusher_answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NEVER, 0);
        return QUIPU_OK;
    }
    return quipu_flusher_end(flusher, status);
}

enum quipu_status quipu_flusher_publish_chunk(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    struct nats_outgoing message;
    quipu_payload_chunk_message(&item->names, quipu_buf_slice(&item->payload),
                                flusher_looks(flusher) ? PAYLOAD_REPLACE : PAYLOAD_EXPECT_NOTHING,
                                &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_CHUNK, &message);
}

enum quipu_status quipu_flusher_publish_meta(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    struct nats_outgoing message;
    quipu_payload_meta_message(&item->names, quipu_buf_slice(&item->meta),
                               flusher_looks(flusher) ? PAYLOAD_REPLACE : PAYLOAD_EXPECT_NOTHING,
                               &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_META, &message);
}

static enum quipu_status send_chunk(struct flusher *flusher, uint64_t ticket)
{
    enum quipu_status status = quipu_failpoint("jetstream.flush.payload", &flusher->trouble);
    if (status != QUIPU_OK) {
        return quipu_flusher_end(flusher, status);
    }
    struct flush_item *item = flusher_item(flusher, ticket);
    if (item->is_chained) {
        return put_chained(flusher, ticket);
    }
    return flusher_looks(flusher) ? quipu_flusher_ask_meta(flusher, ticket)
                                  : quipu_flusher_publish_chunk(flusher, ticket);
}

bool quipu_flusher_is_chunk_up(const struct flusher *flusher, uint64_t ticket)
{
    const struct flush_slot *slot = quipu_window_slot(&flusher->window, ticket);
    return slot != NULL && slot->parts[FLUSH_CHUNK].phase == FLUSH_DONE;
}

static enum quipu_status send_meta(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    if (item->is_chained) {
        /* It went up with the last chunk, or waits for it. */
        quipu_flusher_answer(
            flusher, ticket, FLUSH_META,
            quipu_flusher_is_chunk_up(flusher, ticket) ? FLUSH_STORED : FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (!flusher_looks(flusher)) {
        return quipu_flusher_publish_meta(flusher, ticket);
    }
    /* The question that goes with the chunk decides; where that is answered for, and the meta's own
     * answer was lost, it is asked once more. */
    return quipu_flusher_is_chunk_up(flusher, ticket) ? quipu_flusher_ask_meta(flusher, ticket)
                                                      : QUIPU_OK;
}

static enum quipu_status send_envelope(struct flusher *flusher, const struct flush_send *send)
{
    enum quipu_status status = quipu_failpoint("jetstream.flush.envelope", &flusher->trouble);
    if (status != QUIPU_OK) {
        return quipu_flusher_end(flusher, status);
    }
    const struct flush_item *item = flusher_item(flusher, send->ticket);
    struct nats_outgoing message;
    unsigned guards = flusher_looks(flusher) ? 0U : EVENT_EXPECT_NOTHING;
    /* A server still knows the ids of a stream that was emptied a moment ago; what it refuses for
     * that comes again behind what it took. Where nothing is expected the ids are not needed. */
    bool is_known_too_long = flusher->options.restart && guards != 0;
    if (!send->is_without_msg_id && !is_known_too_long) {
        guards |= EVENT_MSG_ID;
    }
    quipu_event_message(&item->texts, quipu_buf_slice(&item->envelope), guards, &message);
    return quipu_flusher_publish(flusher, send->ticket, FLUSH_ENVELOPE, &message);
}

static enum quipu_status send_part(struct flusher *flusher, const struct flush_send *send)
{
    switch (send->part) {
    case FLUSH_CHUNK:
        return send_chunk(flusher, send->ticket);
    case FLUSH_META:
        return send_meta(flusher, send->ticket);
    case FLUSH_ENVELOPE:
        return send_envelope(flusher, send);
    case FLUSH_LOOK:
        return quipu_flusher_ask_event(flusher, send->ticket,
                                       (uint8_t)(FLUSH_LOOK_0 + send->round));
    case FLUSH_CHECK:
        return quipu_flusher_ask_event(flusher, send->ticket, FLUSH_CHECK);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_flusher_send(struct flusher *flusher)
{
    struct flush_send send;
    flusher->window.slept_us = quipu_slept_us();
    while (quipu_pace_allows(&flusher->pace) &&
           quipu_window_next_send(&flusher->window, quipu_monotonic_us(), &send)) {
        const struct flush_slot *slot = quipu_window_slot(&flusher->window, send.ticket);
        flusher->report.resent += slot != NULL && slot->parts[send.part].sends > 1;
        enum quipu_status status = send_part(flusher, &send);
        if (status == QUIPU_OK) {
            continue;
        }
        return status == QUIPU_OFFLINE ? status : quipu_flusher_end(flusher, status);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ answers */

/* Our chunk is new and a meta was there: see whether the chunk may stay. False: wait. */
static bool settle_chunk(struct flusher *flusher, struct flush_item *item,
                         enum quipu_status *status)
{
    if (item->chunk_sequence == 0 || !item->has_meta_existed) {
        return true;
    }
    *status = quipu_payload_settle(flusher->nats, &item->payload_cid, item->chunk_sequence,
                                   &flusher->trouble);
    item->chunk_sequence = 0;
    item->has_meta_existed = false;
    if (*status == QUIPU_NOT_FOUND || *status == QUIPU_TIMEOUT) {
        *status = QUIPU_OK;
        return false;
    }
    return *status == QUIPU_OK;
}

void quipu_flusher_refuse_payload(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                                  const char *line)
{
    quipu_flusher_refuse(flusher_item(flusher, ticket), QUIPU_CORRUPT, line);
    quipu_flusher_answer(flusher, ticket, part, FLUSH_NEVER, 0);
}

enum quipu_status quipu_flusher_answer_payload(struct flusher *flusher, uint64_t ticket,
                                               enum flush_part part, enum flush_answer what,
                                               uint64_t sequence)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    const struct flush_slot *slot = quipu_window_slot(&flusher->window, ticket);
    if (slot == NULL || slot->outcome != FLUSH_UNSETTLED || slot->parts[part].phase == FLUSH_DONE) {
        return QUIPU_OK; /* stale */
    }
    if (part == FLUSH_CHUNK && what == FLUSH_STORED) {
        item->chunk_sequence = sequence;
        *quipu_flusher_good_place(flusher, &item->payload_cid) = item->payload_cid;
    }
    if (part == FLUSH_META && what == FLUSH_STORED) {
        count_stored(flusher, item);
    }
    if (part == FLUSH_META && what == FLUSH_EXISTS) {
        item->has_meta_existed = true;
    }
    enum quipu_status status = QUIPU_OK;
    bool is_settled = settle_chunk(flusher, item, &status);
    if (status == QUIPU_CORRUPT || status == QUIPU_TOO_LARGE) {
        quipu_flusher_refuse_payload(flusher, ticket, part, flusher->trouble.message);
        return QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        quipu_flusher_answer(flusher, ticket, part, is_settled ? what : FLUSH_NOT_NOW, sequence);
    }
    return status;
}

static enum quipu_status refused(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                                 const struct nats_ack *ack)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    const char *stream =
        part == FLUSH_ENVELOPE ? flusher->nats->stream : flusher->nats->bucket_stream;
    char line[FLUSH_LINE_BYTES];
    switch (quipu_js_refusal(ack->refusal)) {
    case JS_REFUSAL_STORED:
        if (part == FLUSH_ENVELOPE) {
            quipu_flusher_answer(flusher, ticket, part, FLUSH_EXISTS, ack->sequence);
            return QUIPU_OK;
        }
        return part == FLUSH_CHUNK ? quipu_flusher_compare_chunk(flusher, ticket, ack->sequence)
                                   : quipu_flusher_answer_payload(flusher, ticket, part,
                                                                  FLUSH_EXISTS, ack->sequence);
    case JS_REFUSAL_NOT_NOW:
        quipu_flusher_answer(flusher, ticket, part, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    case JS_REFUSAL_EVENT:
        (void)snprintf(line, sizeof line, "stream %s: %.*s (JetStream error %d)", stream,
                       QUIPU_SLICE_FMT(ack->description), ack->refusal);
        quipu_flusher_refuse(item, quipu_status_from_js(ack->refusal), line);
        quipu_flusher_answer(flusher, ticket, part, FLUSH_NEVER, 0);
        return QUIPU_OK;
    case JS_REFUSAL_ALL:
        break;
    }
    const char *cure = ack->refusal == NATS_JS_STORE_FAILED
                           ? ": the stream is full: raise its limits or the server's storage, then "
                             "flush again"
                           : ": see to that, then flush again";
    return quipu_error_set(&flusher->trouble, quipu_status_from_js(ack->refusal),
                           "stream %s refuses: %.*s (JetStream error %d)%s", stream,
                           QUIPU_SLICE_FMT(ack->description), ack->refusal, cure);
}

static enum quipu_status answer_publish(struct flusher *flusher, uint64_t ticket,
                                        enum flush_part part, natsMsg *msg)
{
    struct nats_ack ack;
    if (!quipu_nats_ack_read(quipu_msg_body(msg), &ack)) {
        return quipu_error_set(&flusher->trouble, QUIPU_SERVER,
                               "server %s answers a publish with something else than an ack",
                               flusher->nats->server);
    }
    if (ack.refusal != 0) {
        return refused(flusher, ticket, part, &ack);
    }
    const char *stream =
        part == FLUSH_ENVELOPE ? flusher->nats->stream : flusher->nats->bucket_stream;
    if (!quipu_slice_equal(ack.stream, quipu_slice_text(stream))) {
        return quipu_error_set(&flusher->trouble, QUIPU_SERVER,
                               "stream %.*s takes the subjects of %s; remove it, or give another "
                               "prefix or bucket",
                               QUIPU_SLICE_FMT(ack.stream), stream);
    }
    enum flush_answer what = ack.is_duplicate ? FLUSH_EXISTS : FLUSH_STORED;
    if (part != FLUSH_ENVELOPE) {
        return quipu_flusher_answer_payload(flusher, ticket, part, what, ack.sequence);
    }
    enum quipu_status status = quipu_failpoint("jetstream.flush.ack", &flusher->trouble);
    if (status == QUIPU_OK && what == FLUSH_STORED) {
        /* Sequences only grow, unless this is another stream by now. */
        bool is_strange = ack.sequence <= flusher->base;
        flusher->base = is_strange ? flusher->base : ack.sequence;
        flusher->doubted_us = is_strange ? 0 : flusher->doubted_us;
        status = is_strange ? doubt(flusher) : QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        quipu_flusher_answer(flusher, ticket, part, what, ack.sequence);
    }
    return status;
}

static enum quipu_status take_reply(struct flusher *flusher, const struct nats_token *token,
                                    natsMsg *msg)
{
    const struct flush_slot *slot = quipu_window_slot(&flusher->window, token->number);
    if (slot != NULL && token->kind < FLUSH_KINDS) {
        quipu_pace_answered(&flusher->pace,
                            &flusher_item(flusher, token->number)->marks[token->kind],
                            flusher->window.answer_us, quipu_monotonic_us());
    }
    if (slot == NULL || slot->outcome != FLUSH_UNSETTLED) {
        return QUIPU_OK; /* stale */
    }
    if (token->kind >= FLUSH_KINDS) {
        return QUIPU_OK; /* nobody's */
    }
    if (token->kind >= FLUSH_PARTS || token->kind == FLUSH_CHECK) {
        return quipu_flusher_take_answer(flusher, token, msg);
    }
    return answer_publish(flusher, token->number, (enum flush_part)token->kind, msg);
}

enum quipu_status quipu_flusher_receive(struct flusher *flusher, int64_t wait_us)
{
    flusher->has_replies = false;
    for (int taken = 0; taken < REPLIES_AT_ONCE; taken++) {
        natsMsg *msg = NULL;
        struct nats_token token = {0, 0};
        enum quipu_status status =
            quipu_nats_receive(flusher->nats, wait_us, &msg, &token, &flusher->trouble);
        wait_us = 0; /* only for the first */
        if (status == QUIPU_DONE) {
            return QUIPU_OK;
        }
        if (status == QUIPU_OK) {
            flusher->heard_us = quipu_monotonic_us();
            status = take_reply(flusher, &token, msg);
            natsMsg_Destroy(msg);
        } else if (status == QUIPU_NOT_PROVISIONED) {
            flusher->is_wary = true; /* or it was an answer that the library has swallowed */
            status = doubt(flusher);
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_OFFLINE ? status : quipu_flusher_end(flusher, status);
        }
    }
    flusher->has_replies = true;
    return QUIPU_OK;
}
