/*
 * Payloads of a batch: from this store where the event is known already, else from the object
 * store, many requests in flight. The chunk under the CID itself is asked for first: it is the
 * whole payload, or its hash tells that it is not, and then the object's meta is asked for, which
 * says where its chunks are, or is not there either.
 *
 * An event of this store's outbox is in the stream: that alone does not mean that it is published,
 * since anybody can have put its envelope there, and the payload may be in another bucket or in
 * none. So chunk and meta of such a one are asked for too, and a receipt is written only where both
 * are there; a flush sends what is missing.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <string.h>

#include "event_message.h"
#include "json_view.h"
#include "payload_store.h"
#include "publish.h"
#include "puller.h"
#include "stored.h"

#define GATHER_BYTES_MAX ((size_t)16 << 20)
#define RUN_MESSAGES     1000 /* of one transaction, which costs a sync */
#define IN_FLIGHT_FIRST  128  /* while nobody knows how long payloads are */
#define IN_FLIGHT_MAX    512
#define IN_FLIGHT_MIN    4
#define IN_FLIGHT_BYTES  ((size_t)8 << 20)
#define PAYLOAD_GET      8 /* kinds of tokens; the flusher has those from 0 */
#define PAYLOAD_ASK      9

/* What the message claims to be, and which payload it names. A body that is no envelope needs none:
 * it is on its way to quarantine. */
static void read_message(const struct puller *puller, struct pulled *item)
{
    struct quipu_slice body = quipu_msg_body(item->msg);
    const char *claimed = quipu_msg_header(item->msg, "X-Event-CID");
    if (claimed == NULL ||
        quipu_cid_parse(quipu_slice_text(claimed), &item->cid, NULL) != QUIPU_OK) {
        item->cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, body);
    }
    struct quipu_envelope envelope;
    item->is_envelope = body.len <= QUIPU_ENVELOPE_BYTES_MAX &&
                        quipu_envelope_decode(body, &envelope, NULL) == QUIPU_OK;
    if (item->is_envelope) {
        item->payload_cid = envelope.payload;
        item->is_in_place = quipu_event_is_subject(puller->nats->subject_template, &envelope,
                                                   natsMsg_GetSubject(item->msg));
    }
}

static bool hashes_to(const struct quipu_cid *cid, struct quipu_slice bytes)
{
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(bytes, digest);
    return memcmp(digest, cid->digest, sizeof digest) == 0;
}

/* An event that is here already brings its own payload; anything else is never filled from here. */
static enum quipu_status take_local(struct quipu_txn *txn, struct pulled *item,
                                    struct quipu_error *err)
{
    struct quipu_receipt receipt;
    struct quipu_record record;
    enum quipu_block_kind kind;
    enum quipu_status status = quipu_txn_find_cid(txn, &item->cid, &record, &kind, err);
    if (status == QUIPU_NOT_FOUND || (status == QUIPU_OK && kind != QUIPU_BLOCK_ENVELOPE)) {
        return QUIPU_OK;
    }
    if (status != QUIPU_OK || !hashes_to(&item->payload_cid, record.payload)) {
        return status; /* damaged here: the bucket may still have it */
    }
    quipu_buf_append_slice(&item->payload, record.payload);
    item->has_payload = item->payload.status == QUIPU_OK;
    if (!item->has_payload) {
        return quipu_error_set(err, item->payload.status, "out of memory pulling");
    }
    status = quipu_receipt_at(txn, record.position, &receipt, err);
    item->is_unpublished = status == QUIPU_NOT_FOUND;
    return item->is_unpublished ? QUIPU_OK : status;
}

/* Look at messages that have not been looked at, until their payloads that are here are enough. */
static enum quipu_status read_messages(struct puller *puller, size_t bytes, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(puller->engine), &txn, err);
    while (status == QUIPU_OK && puller->read_to < puller->count && bytes < GATHER_BYTES_MAX) {
        struct pulled *item = &puller->batch[puller->read_to++];
        if (item->msg != NULL) {
            read_message(puller, item);
        }
        if (item->is_envelope && item->msg != NULL) {
            status = take_local(txn, item, err);
        }
        bytes += item->payload.len;
    }
    quipu_txn_abort(&txn);
    return status;
}

/* `kind`: for the chunk under the CID, or for the meta message. */
static enum quipu_status send_request(struct puller *puller, size_t index, uint8_t kind,
                                      struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    struct payload_names names;
    enum quipu_status status =
        quipu_payload_names(nats->bucket, &puller->batch[index].payload_cid, &names, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct stored_ask ask = {.stream = nats->bucket_stream,
                                   .subject = kind == PAYLOAD_GET ? names.chunk_subject
                                                                  : names.meta_subject};
    struct stored_room room;
    struct nats_outgoing message;
    quipu_stored_request(&ask, puller->is_wary ? STORED_LEADER : STORED_DIRECT, &room, &message);
    struct nats_token token = {puller->token_base + index, kind};
    return quipu_nats_publish(nats, &message, &token, err);
}

/* The chunk under the CID, or whatever is there in its place. */
static enum quipu_status take_chunk(struct puller *puller, struct pulled *item,
                                    const struct stored *stored, struct quipu_error *err)
{
    struct quipu_slice body = stored->body;
    if (body.len > puller->reply_bytes_max) {
        puller->reply_bytes_max = body.len;
    }
    bool is_good = stored->code == 0 && hashes_to(&item->payload_cid, body);
    if (!is_good || item->is_unpublished) {
        item->is_chunk_good = is_good;
        item->is_meta_asked_for = true;
        return send_request(puller, (size_t)(item - puller->batch), PAYLOAD_ASK, err);
    }
    quipu_buf_append_slice(&item->payload, body);
    item->has_reply = true;
    item->has_payload = item->payload.status == QUIPU_OK;
    return item->has_payload ? QUIPU_OK
                             : quipu_error_set(err, item->payload.status, "out of memory pulling");
}

/* Does this meta message say that the chunks lie under `cid` itself? */
static bool is_under_cid(struct quipu_slice meta, const char *cid)
{
    struct json_view view = quipu_json_view(meta);
    struct json_member member;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "nuid")) {
            return quipu_slice_equal(member.raw, quipu_slice_text(cid));
        }
    }
    return false;
}

/* Chunk and meta of a payload that is here: are they in the bucket? */
static enum quipu_status take_proof(struct puller *puller, struct pulled *item,
                                    const struct stored *stored, struct quipu_error *err)
{
    struct quipu_buf theirs = QUIPU_BUF_INIT;
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&item->payload_cid, cid);
    item->has_reply = true;
    if (stored->code != 0 || quipu_payload_is_erased(stored->body)) {
        return QUIPU_OK;
    }
    if (is_under_cid(stored->body, cid)) {
        item->is_payload_up = item->is_chunk_good;
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_payload_get(puller->nats, &item->payload_cid, &theirs, err);
    quipu_buf_release(&theirs);
    item->is_payload_up = status == QUIPU_OK;
    bool is_none =
        status == QUIPU_NOT_FOUND || status == QUIPU_CORRUPT || status == QUIPU_TOO_LARGE;
    return is_none ? QUIPU_OK : status;
}

/* The meta message, or that there is none. A payload that is not there, or not what its CID says,
 * leaves has_payload false, and ingest says what is wrong. */
static enum quipu_status take_meta(struct puller *puller, struct pulled *item,
                                   const struct stored *stored, struct quipu_error *err)
{
    struct quipu_slice meta = stored->body;
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&item->payload_cid, cid);
    item->has_reply = true;
    if (stored->code != 0 || quipu_payload_is_erased(meta) ||
        is_under_cid(meta, cid)) { /* where it was not, a moment ago */
        return QUIPU_OK;
    }
    enum quipu_status status =
        quipu_payload_get(puller->nats, &item->payload_cid, &item->payload, err);
    if (status == QUIPU_NOT_FOUND || status == QUIPU_CORRUPT || status == QUIPU_TOO_LARGE) {
        return QUIPU_OK;
    }
    item->has_payload = status == QUIPU_OK;
    return status;
}

/* NULL: a late reply to something that is over. */
static struct pulled *find_item(struct puller *puller, const struct nats_token *token)
{
    uint64_t index = token->number - puller->token_base;
    if (index >= puller->count || puller->batch[index].has_reply) {
        return NULL;
    }
    struct pulled *item = &puller->batch[index];
    return token->kind == (item->is_meta_asked_for ? PAYLOAD_ASK : PAYLOAD_GET) ? item : NULL;
}

static size_t in_flight_max(const struct puller *puller)
{
    if (puller->reply_bytes_max == 0) {
        return IN_FLIGHT_FIRST;
    }
    size_t fit = IN_FLIGHT_BYTES / puller->reply_bytes_max;
    return fit < IN_FLIGHT_MIN ? IN_FLIGHT_MIN : fit > IN_FLIGHT_MAX ? IN_FLIGHT_MAX : fit;
}

static size_t bytes_from(const struct puller *puller, size_t from)
{
    size_t bytes = 0;
    for (size_t i = from; i < puller->read_to; i++) {
        bytes += puller->batch[i].payload.len;
    }
    return bytes;
}

/* Ask for as many as may be under way; `bytes` are here. */
static enum quipu_status send_gets(struct puller *puller, size_t bytes, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && puller->sent_to < puller->read_to && bytes < GATHER_BYTES_MAX &&
           puller->in_flight < in_flight_max(puller)) {
        struct pulled *item = &puller->batch[puller->sent_to];
        bool is_to_be_proven = puller->has_receipts && item->is_in_place && item->is_unpublished;
        item->is_asked_for = item->is_envelope && (!item->has_payload || is_to_be_proven);
        status =
            item->is_asked_for ? send_request(puller, puller->sent_to, PAYLOAD_GET, err) : QUIPU_OK;
        puller->in_flight += item->is_asked_for;
        puller->sent_to++;
    }
    return status;
}

/* All that is still to be answered has been answered so that it cannot be read: ask the bucket's
 * leader for it, and from now on. */
static enum quipu_status ask_leader(struct puller *puller, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    puller->is_wary = true;
    puller->unread = 0;
    for (size_t i = 0; status == QUIPU_OK && i < puller->sent_to; i++) {
        const struct pulled *item = &puller->batch[i];
        if (item->is_asked_for && !item->has_reply) {
            status =
                send_request(puller, i, item->is_meta_asked_for ? PAYLOAD_ASK : PAYLOAD_GET, err);
        }
    }
    return status;
}

static enum quipu_status take_answer(struct puller *puller, struct pulled *item, natsMsg *msg,
                                     struct quipu_error *err)
{
    struct stored stored;
    enum quipu_status status = QUIPU_OK;
    quipu_stored_read(msg, &stored);
    if (stored.code == STORED_UNREADABLE && !puller->is_wary) {
        puller->unread++;
    } else if (stored.code == JSStreamNotFoundErr) {
        status = quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                                 "server %s has no bucket %s; make it with quipu provision",
                                 puller->nats->server, puller->nats->bucket);
    } else {
        status = !item->is_meta_asked_for ? take_chunk(puller, item, &stored, err)
                 : item->is_unpublished   ? take_proof(puller, item, &stored, err)
                                          : take_meta(puller, item, &stored, err);
    }
    quipu_stored_release(&stored);
    return status;
}

/* Wait for one reply; `*bytes` grows by its payload. */
static enum quipu_status receive_one(struct puller *puller, size_t *bytes, struct quipu_error *err)
{
    natsMsg *msg = NULL;
    struct nats_token token = {0, 0};
    enum quipu_status status =
        quipu_nats_receive(puller->nats, puller->nats->request_timeout_us, &msg, &token, err);
    if (status == QUIPU_DONE) {
        return quipu_error_set(err, QUIPU_TIMEOUT, "bucket %s does not answer in time",
                               puller->nats->bucket);
    }
    if (status == QUIPU_NOT_PROVISIONED && !puller->is_wary) {
        puller->unread++; /* swallowed; or there is no bucket, which its leader's absence shows */
        status = QUIPU_OK;
    } else if (status == QUIPU_OK) {
        struct pulled *item = find_item(puller, &token);
        status = item == NULL ? QUIPU_OK : take_answer(puller, item, msg, err);
        if (item != NULL && item->has_reply) {
            *bytes += item->is_unpublished ? 0 : item->payload.len; /* it was here */
            puller->in_flight--;
        }
    }
    natsMsg_Destroy(msg);
    if (status == QUIPU_OK && puller->unread > 0 && puller->unread >= puller->in_flight) {
        status = ask_leader(puller, err);
    }
    return status;
}

enum quipu_status quipu_pull_payloads(struct puller *puller, size_t from, size_t *to,
                                      struct quipu_error *err)
{
    if (from == 0) {
        puller->read_to = 0;
        puller->sent_to = 0;
        puller->in_flight = 0;
        puller->unread = 0;
        puller->token_base = puller->nats->next_token;
        puller->nats->next_token += puller->count;
    }
    size_t ready = from;
    size_t until = puller->count - from < RUN_MESSAGES ? puller->count : from + RUN_MESSAGES;
    size_t bytes = bytes_from(puller, from);
    enum quipu_status status = read_messages(puller, bytes, err);
    bytes = bytes_from(puller, from);
    while (status == QUIPU_OK) {
        status = send_gets(puller, bytes, err);
        while (ready < until && ready < puller->sent_to &&
               (!puller->batch[ready].is_asked_for || puller->batch[ready].has_reply)) {
            ready++;
        }
        if (status != QUIPU_OK || ready == until || puller->in_flight == 0) {
            break;
        }
        status = receive_one(puller, &bytes, err);
    }
    *to = ready;
    return status;
}
