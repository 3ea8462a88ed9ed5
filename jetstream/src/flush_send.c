/*
 * What the window says becomes messages, and what the server says becomes answers for the window.
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
#define STATUS_NOTHING 404 /* of a direct get */
/* Replies keep coming as long as the server is busy: whoever takes all of them before he sends what
 * they allow lets it run dry. */
#define REPLIES_AT_ONCE 64
/* See is_compared. */
#define COMPARE_ALWAYS_BYTES 4096
#define COMPARE_LONG_EVERY   16

enum quipu_status quipu_flusher_end(struct flusher *flusher, enum quipu_status status)
{
    if (flusher->status == QUIPU_OK) {
        flusher->status = status;
        flusher->err = flusher->trouble;
    }
    flusher->is_draining = false;
    return status;
}

static void answer(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                   enum flush_answer what, uint64_t sequence)
{
    /* A stale answer changes nothing, which is all that one must do with it. */
    (void)quipu_window_answer(&flusher->window, ticket, part, what, sequence, quipu_monotonic_us());
}

/* Why the event is refused, for its dead letter. */
static void refuse(struct flush_item *item, enum quipu_status reason, const char *line)
{
    item->reason = reason;
    (void)snprintf(item->line, sizeof item->line, "%s", line);
}

static void count_stored(struct flusher *flusher, const struct flush_item *item)
{
    flusher->report.payloads_stored++;
    flusher->report.payload_bytes += item->payload.len;
}

static struct quipu_cid *good_place(struct flusher *flusher, const struct quipu_cid *cid)
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
    struct quipu_cid *good = good_place(flusher, &item->payload_cid);
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
        answer(flusher, ticket, FLUSH_CHUNK, FLUSH_STORED, 0);
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
        answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (status == QUIPU_TOO_LARGE || status == QUIPU_CORRUPT) {
        refuse(item, status, flusher->trouble.message);
        answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NEVER, 0);
        return QUIPU_OK;
    }
    return quipu_flusher_end(flusher, status);
}

static enum quipu_status publish_chunk(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    struct nats_outgoing message;
    quipu_payload_chunk_message(&item->names, quipu_buf_slice(&item->payload),
                                flusher_looks(flusher) ? PAYLOAD_REPLACE : PAYLOAD_EXPECT_NOTHING,
                                &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_CHUNK, &message);
}

static enum quipu_status publish_meta(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    struct nats_outgoing message;
    quipu_payload_meta_message(&item->names, quipu_buf_slice(&item->meta),
                               flusher_looks(flusher) ? PAYLOAD_REPLACE : PAYLOAD_EXPECT_NOTHING,
                               &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_META, &message);
}

/* Where nothing may be expected, the meta decides whether chunk and meta are sent: answer_ask. Both
 * count as sent meanwhile. */
static enum quipu_status ask(struct flusher *flusher, uint64_t ticket)
{
    const struct flush_item *item = flusher_item(flusher, ticket);
    char subject[PAYLOAD_GET_SUBJECT_BYTES];
    struct nats_outgoing message;
    quipu_payload_ask_message(flusher->nats->bucket_stream, &item->names, subject, &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_ASK, &message);
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
    return flusher_looks(flusher) ? ask(flusher, ticket) : publish_chunk(flusher, ticket);
}

static bool is_chunk_up(const struct flusher *flusher, uint64_t ticket)
{
    const struct flush_slot *slot = quipu_window_slot(&flusher->window, ticket);
    return slot != NULL && slot->parts[FLUSH_CHUNK].phase == FLUSH_DONE;
}

static enum quipu_status send_meta(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    if (item->is_chained) {
        /* It went up with the last chunk, or waits for it. */
        answer(flusher, ticket, FLUSH_META,
               is_chunk_up(flusher, ticket) ? FLUSH_STORED : FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (!flusher_looks(flusher)) {
        return publish_meta(flusher, ticket);
    }
    /* The question that goes with the chunk decides; where that is answered for, and the meta's own
     * answer was lost, it is asked once more. */
    return is_chunk_up(flusher, ticket) ? ask(flusher, ticket) : QUIPU_OK;
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

/* A direct get is answered by whichever server has the stream, and one that is behind (it was cut
 * off, say) knows nothing of what was stored long ago: where there are several the leader is
 * asked. */
static enum quipu_status send_look(struct flusher *flusher, const struct flush_send *send)
{
    const struct flush_item *item = flusher_item(flusher, send->ticket);
    char subject[EVENT_CHECK_SUBJECT_BYTES];
    struct event_ask_room room;
    struct nats_outgoing message;
    if (flusher->stream.is_replicated) {
        quipu_event_ask_leader_message(flusher->nats->stream, &item->texts, &room, &message);
    } else {
        quipu_event_check_message(flusher->nats->stream, &item->texts, subject, &message);
    }
    return quipu_flusher_publish(flusher, send->ticket, (uint8_t)(FLUSH_LOOK_0 + send->round),
                                 &message);
}

static enum quipu_status send_check(struct flusher *flusher, const struct flush_send *send)
{
    const struct flush_item *item = flusher_item(flusher, send->ticket);
    char subject[EVENT_CHECK_SUBJECT_BYTES];
    struct nats_outgoing message;
    quipu_event_check_message(flusher->nats->stream, &item->texts, subject, &message);
    return quipu_flusher_publish(flusher, send->ticket, FLUSH_CHECK, &message);
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
        return send_look(flusher, send);
    case FLUSH_CHECK:
        return send_check(flusher, send);
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

/* What lies under the event's subject: the same bytes are the same event. */
static void answer_check(struct flusher *flusher, uint64_t ticket, natsMsg *msg)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    int status = quipu_msg_status(msg);
    if (status != 0) {
        answer(flusher, ticket, FLUSH_CHECK, status == STATUS_NOTHING ? FLUSH_GONE : FLUSH_NOT_NOW,
               0);
        return;
    }
    const char *number = quipu_msg_header(msg, "Nats-Sequence");
    uint64_t sequence = number == NULL ? 0 : strtoull(number, NULL, 10);
    if (quipu_slice_equal(quipu_msg_body(msg), quipu_buf_slice(&item->envelope))) {
        item->stored_unix_us = quipu_msg_stored_us(msg);
        answer(flusher, ticket, FLUSH_CHECK, FLUSH_OURS, sequence);
        return;
    }
    const char *theirs = quipu_msg_header(msg, "X-Event-CID");
    char computed[QUIPU_CID_TEXT_BYTES];
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_msg_body(msg));
    quipu_cid_format(&cid, computed);
    bool is_named = theirs != NULL && strcmp(theirs, item->texts.event_cid) != 0;
    char line[FLUSH_LINE_BYTES];
    (void)snprintf(line, sizeof line,
                   "stream %s holds another event under event_id %s: %.80s at sequence %" PRIu64
                   ", ours is %s",
                   flusher->nats->stream, item->texts.event_id, is_named ? theirs : computed,
                   sequence, item->texts.event_cid);
    refuse(item, QUIPU_EVENT_ID_CONFLICT, line);
    answer(flusher, ticket, FLUSH_CHECK, FLUSH_FOREIGN, sequence);
}

static void answer_look(struct flusher *flusher, uint64_t ticket, natsMsg *msg)
{
    int code = quipu_msg_status(msg);
    uint64_t sequence = 0;
    if (flusher->stream.is_replicated &&
        !quipu_nats_message_read(quipu_msg_body(msg), &sequence, &code)) {
        code = -1; /* of before a change in the stream's replicas */
    }
    bool is_nothing = code == STATUS_NOTHING || code == JSNoMessageFoundErr;
    enum flush_answer what = code == 0 ? FLUSH_EXISTS : is_nothing ? FLUSH_GONE : FLUSH_NOT_NOW;
    answer(flusher, ticket, FLUSH_LOOK, what, 0);
}

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

/* What lies in the bucket under the payload's CID is not that payload: an envelope that names it
 * must not go out. */
static void refuse_payload(struct flusher *flusher, uint64_t ticket, enum flush_part part,
                           const char *line)
{
    refuse(flusher_item(flusher, ticket), QUIPU_CORRUPT, line);
    answer(flusher, ticket, part, FLUSH_NEVER, 0);
}

static enum quipu_status answer_payload(struct flusher *flusher, uint64_t ticket,
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
        *good_place(flusher, &item->payload_cid) = item->payload_cid;
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
        refuse_payload(flusher, ticket, part, flusher->trouble.message);
        return QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        answer(flusher, ticket, part, is_settled ? what : FLUSH_NOT_NOW, sequence);
    }
    return status;
}

/*
 * A chunk was there before ours, and anybody who may write to the bucket may have put anything
 * there; an envelope whose payload is something else is of no use to a reader, who finds out by its
 * hash. So it is asked for and compared, the chunk counting as unanswered meanwhile; a payload that
 * many events share, once. Up to a few kilobytes that costs no more than any other question. A long
 * one is a download, which a second flush of the same events would pay for all of them: of those
 * the first and then every sixteenth is compared. A bucket that somebody else writes to is noticed
 * so; that every single payload is right, quipu_reconcile shows.
 */
static bool is_compared(struct flusher *flusher, const struct flush_item *item)
{
    if (quipu_cid_equal(good_place(flusher, &item->payload_cid), &item->payload_cid)) {
        return false;
    }
    return item->payload.len <= COMPARE_ALWAYS_BYTES ||
           flusher->known_payloads++ % COMPARE_LONG_EVERY == 0;
}

static enum quipu_status compare_chunk(struct flusher *flusher, uint64_t ticket, uint64_t sequence)
{
    const struct flush_item *item = flusher_item(flusher, ticket);
    if (!is_compared(flusher, item)) {
        return answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, sequence);
    }
    char subject[PAYLOAD_GET_SUBJECT_BYTES];
    struct nats_outgoing message;
    quipu_payload_get_message(flusher->nats->bucket_stream, &item->names, subject, &message);
    return quipu_flusher_publish(flusher, ticket, FLUSH_COMPARE, &message);
}

/* Whether there is a meta: then nothing is sent, unless its chunk turns out to be missing. */
static enum quipu_status answer_ask(struct flusher *flusher, uint64_t ticket, natsMsg *msg)
{
    int code = quipu_msg_status(msg);
    if (code == STATUS_NOTHING) {
        enum quipu_status status =
            is_chunk_up(flusher, ticket) ? QUIPU_OK : publish_chunk(flusher, ticket);
        return status == QUIPU_OK ? publish_meta(flusher, ticket) : status;
    }
    if (code != 0) {
        answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    enum quipu_status status = answer_payload(flusher, ticket, FLUSH_META, FLUSH_EXISTS, 0);
    if (status != QUIPU_OK) {
        return status;
    }
    return quipu_payload_is_erased(quipu_msg_body(msg))
               ? answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, 0)
               : compare_chunk(flusher, ticket, 0);
}

static enum quipu_status answer_compare(struct flusher *flusher, uint64_t ticket, natsMsg *msg)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    if (flusher_looks(flusher) && quipu_msg_status(msg) == STATUS_NOTHING) {
        return publish_chunk(flusher, ticket);
    }
    if (quipu_msg_status(msg) != 0) { /* gone since, or not now: the chunk is sent again */
        answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (quipu_slice_equal(quipu_msg_body(msg), quipu_buf_slice(&item->payload))) {
        *good_place(flusher, &item->payload_cid) = item->payload_cid;
        return answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, 0);
    }
    char line[FLUSH_LINE_BYTES];
    (void)snprintf(line, sizeof line,
                   "%.300s holds something else than payload %s; remove it from there, then retry",
                   item->names.chunk_subject, item->names.cid);
    refuse_payload(flusher, ticket, FLUSH_CHUNK, line);
    return QUIPU_OK;
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
            answer(flusher, ticket, part, FLUSH_EXISTS, ack->sequence);
            return QUIPU_OK;
        }
        return part == FLUSH_CHUNK
                   ? compare_chunk(flusher, ticket, ack->sequence)
                   : answer_payload(flusher, ticket, part, FLUSH_EXISTS, ack->sequence);
    case JS_REFUSAL_NOT_NOW:
        answer(flusher, ticket, part, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    case JS_REFUSAL_EVENT:
        (void)snprintf(line, sizeof line, "stream %s: %.*s (JetStream error %d)", stream,
                       QUIPU_SLICE_FMT(ack->description), ack->refusal);
        refuse(item, quipu_status_from_js(ack->refusal), line);
        answer(flusher, ticket, part, FLUSH_NEVER, 0);
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
        return answer_payload(flusher, ticket, part, what, ack.sequence);
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
        answer(flusher, ticket, part, what, ack.sequence);
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
    switch (token->kind) {
    case FLUSH_COMPARE:
        return answer_compare(flusher, token->number, msg);
    case FLUSH_ASK:
        return answer_ask(flusher, token->number, msg);
    default:
        break;
    }
    if (token->kind >= FLUSH_KINDS) {
        return QUIPU_OK; /* nobody's */
    }
    if (token->kind >= FLUSH_LOOK_0) {
        if (quipu_window_look_counts(&flusher->window, token->number,
                                     (uint8_t)(token->kind - FLUSH_LOOK_0))) {
            answer_look(flusher, token->number, msg);
        }
        return QUIPU_OK;
    }
    if (token->kind == FLUSH_CHECK) {
        answer_check(flusher, token->number, msg);
        return QUIPU_OK;
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
            status = doubt(flusher);
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_OFFLINE ? status : quipu_flusher_end(flusher, status);
        }
    }
    flusher->has_replies = true;
    return QUIPU_OK;
}
