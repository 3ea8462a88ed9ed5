/*
 * A flush's questions for what is stored already, and what their answers mean: for an event's
 * message, for the chunk of a payload, and whether there is a meta. What a stored message is, only
 * its bytes tell; of its headers nothing is believed but what the server has put there (stored.h).
 *
 * Direct gets are asked, until one is answered with something that cannot be read: from then on the
 * streams' leaders, which costs the server more.
 *
 * Specification: docs/SPEC.md §10.2, §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "flusher.h"
#include "stored.h"

/* See is_compared. */
#define COMPARE_ALWAYS_BYTES 4096
#define COMPARE_LONG_EVERY   16

/* ------------------------------------------------------------------ asking */

static enum quipu_status ask(struct flusher *flusher, uint64_t ticket, uint8_t kind,
                             const struct stored_ask *question, enum stored_via via)
{
    struct stored_room room;
    struct nats_outgoing message;
    quipu_stored_request(question, flusher->is_wary ? STORED_LEADER : via, &room, &message);
    return quipu_flusher_publish(flusher, ticket, kind, &message);
}

/* A direct get is answered by whichever server has the stream, and one that is behind (it was cut
 * off, say) knows nothing of what was stored long ago: where there are several, and the answer
 * decides whether the event is sent, the leader is asked. */
enum quipu_status quipu_flusher_ask_event(struct flusher *flusher, uint64_t ticket, uint8_t kind)
{
    const struct stored_ask question = {.stream = flusher->nats->stream,
                                        .subject = flusher_item(flusher, ticket)->texts.subject};
    bool is_leaders = kind != FLUSH_CHECK && flusher->stream.is_replicated;
    return ask(flusher, ticket, kind, &question, is_leaders ? STORED_LEADER : STORED_DIRECT);
}

/* Where nothing may be expected, the meta decides whether chunk and meta are sent: answer_ask. Both
 * count as sent meanwhile. */
enum quipu_status quipu_flusher_ask_meta(struct flusher *flusher, uint64_t ticket)
{
    const struct stored_ask question = {.stream = flusher->nats->bucket_stream,
                                        .subject =
                                            flusher_item(flusher, ticket)->names.meta_subject};
    return ask(flusher, ticket, FLUSH_ASK, &question, STORED_DIRECT);
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
    if (quipu_cid_equal(quipu_flusher_good_place(flusher, &item->payload_cid),
                        &item->payload_cid)) {
        return false;
    }
    return item->payload.len <= COMPARE_ALWAYS_BYTES ||
           flusher->known_payloads++ % COMPARE_LONG_EVERY == 0;
}

enum quipu_status quipu_flusher_compare_chunk(struct flusher *flusher, uint64_t ticket,
                                              uint64_t sequence)
{
    const struct flush_item *item = flusher_item(flusher, ticket);
    if (!is_compared(flusher, item)) {
        return quipu_flusher_answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, sequence);
    }
    const struct stored_ask question = {.stream = flusher->nats->bucket_stream,
                                        .subject = item->names.chunk_subject};
    return ask(flusher, ticket, FLUSH_COMPARE, &question, STORED_DIRECT);
}

/* ------------------------------------------------------------------ answers */

/* What lies under the event's subject: the same bytes are the same event. */
static void answer_check(struct flusher *flusher, uint64_t ticket, const struct stored *stored)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    if (stored->code != 0) {
        quipu_flusher_answer(flusher, ticket, FLUSH_CHECK,
                             stored->code == STORED_NOTHING ? FLUSH_GONE : FLUSH_NOT_NOW, 0);
        return;
    }
    if (quipu_slice_equal(stored->body, quipu_buf_slice(&item->envelope))) {
        item->stored_unix_us = stored->unix_us;
        quipu_flusher_answer(flusher, ticket, FLUSH_CHECK, FLUSH_OURS, stored->sequence);
        return;
    }
    const char *theirs = quipu_msg_header(stored->reply, "X-Event-CID");
    char computed[QUIPU_CID_TEXT_BYTES];
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, stored->body);
    quipu_cid_format(&cid, computed);
    struct quipu_cid named;
    bool is_named = theirs != NULL && strcmp(theirs, item->texts.event_cid) != 0 &&
                    quipu_cid_parse(quipu_slice_text(theirs), &named, NULL) == QUIPU_OK;
    char line[FLUSH_LINE_BYTES];
    (void)snprintf(line, sizeof line,
                   "stream %s holds another event under event_id %s: %.80s at sequence %" PRIu64
                   ", ours is %s",
                   flusher->nats->stream, item->texts.event_id, is_named ? theirs : computed,
                   stored->sequence, item->texts.event_cid);
    quipu_flusher_refuse(item, QUIPU_EVENT_ID_CONFLICT, line);
    quipu_flusher_answer(flusher, ticket, FLUSH_CHECK, FLUSH_FOREIGN, stored->sequence);
}

static void answer_look(struct flusher *flusher, uint64_t ticket, const struct stored *stored)
{
    /* Of before a change in the stream's replicas, or beyond reading. */
    bool is_void =
        stored->code == STORED_UNREADABLE || (flusher->stream.is_replicated && !stored->is_leaders);
    bool is_nothing = stored->code == STORED_NOTHING;
    enum flush_answer what = is_void             ? FLUSH_NOT_NOW
                             : stored->code == 0 ? FLUSH_EXISTS
                             : is_nothing        ? FLUSH_GONE
                                                 : FLUSH_NOT_NOW;
    quipu_flusher_answer(flusher, ticket, FLUSH_LOOK, what, 0);
}

/* Whether there is a meta: then nothing is sent, unless its chunk turns out to be missing. */
static enum quipu_status answer_ask(struct flusher *flusher, uint64_t ticket,
                                    const struct stored *stored)
{
    if (stored->code == STORED_NOTHING) {
        enum quipu_status status = quipu_flusher_is_chunk_up(flusher, ticket)
                                       ? QUIPU_OK
                                       : quipu_flusher_publish_chunk(flusher, ticket);
        return status == QUIPU_OK ? quipu_flusher_publish_meta(flusher, ticket) : status;
    }
    if (stored->code != 0) {
        quipu_flusher_answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    enum quipu_status status =
        quipu_flusher_answer_payload(flusher, ticket, FLUSH_META, FLUSH_EXISTS, 0);
    if (status != QUIPU_OK) {
        return status;
    }
    return quipu_payload_is_erased(stored->body)
               ? quipu_flusher_answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, 0)
               : quipu_flusher_compare_chunk(flusher, ticket, 0);
}

static enum quipu_status answer_compare(struct flusher *flusher, uint64_t ticket,
                                        const struct stored *stored)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    if (flusher_looks(flusher) && stored->code == STORED_NOTHING) {
        return quipu_flusher_publish_chunk(flusher, ticket);
    }
    if (stored->code != 0) { /* gone since, or not now: the chunk is sent again */
        quipu_flusher_answer(flusher, ticket, FLUSH_CHUNK, FLUSH_NOT_NOW, 0);
        return QUIPU_OK;
    }
    if (quipu_slice_equal(stored->body, quipu_buf_slice(&item->payload))) {
        *quipu_flusher_good_place(flusher, &item->payload_cid) = item->payload_cid;
        return quipu_flusher_answer_payload(flusher, ticket, FLUSH_CHUNK, FLUSH_EXISTS, 0);
    }
    char line[FLUSH_LINE_BYTES];
    (void)snprintf(line, sizeof line,
                   "%.300s holds something else than payload %s; remove it from there, then retry",
                   item->names.chunk_subject, item->names.cid);
    quipu_flusher_refuse_payload(flusher, ticket, FLUSH_CHUNK, line);
    return QUIPU_OK;
}

enum quipu_status quipu_flusher_take_answer(struct flusher *flusher, const struct nats_token *token,
                                            natsMsg *msg)
{
    struct stored stored;
    enum quipu_status status = QUIPU_OK;
    quipu_stored_read(msg, &stored);
    flusher->is_wary = flusher->is_wary || stored.code == STORED_UNREADABLE;
    switch (token->kind) {
    case FLUSH_CHECK:
        answer_check(flusher, token->number, &stored);
        break;
    case FLUSH_COMPARE:
        status = answer_compare(flusher, token->number, &stored);
        break;
    case FLUSH_ASK:
        status = answer_ask(flusher, token->number, &stored);
        break;
    default:
        if (quipu_window_look_counts(&flusher->window, token->number,
                                     (uint8_t)(token->kind - FLUSH_LOOK_0))) {
            answer_look(flusher, token->number, &stored);
        }
        break;
    }
    quipu_stored_release(&stored);
    return status;
}
