/*
 * What stream and bucket are like, before a flush: asked for, or recalled from a moment ago.
 *
 * A host that flushes after each append asks again and again, and the answer costs the server more
 * the more subjects the stream holds. So what was said over this connection holds for some seconds,
 * while the stream still has, under its sequence, the event that a late receipt of ours names: a
 * stream that was emptied, or made anew, does not. Whatever else has become otherwise (limits,
 * subjects, the bucket) is refused by the server as in the midst of any flush. A flush that fails,
 * a new connection, and silence forget it all.
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdlib.h>

#include "flusher.h"
#include "receipt_stream.h"

#define HOLDS_US  ((int64_t)10 * 1000 * 1000)
#define ANSWER_US ((int64_t)500 * 1000) /* then the connection is looked after in the usual way */

/* The reply to our question; what else comes is of an operation that has ended. False: none came,
 * or something is wrong with the connection. */
static bool receive_reply(struct quipu_nats *nats, uint64_t number, natsMsg **out)
{
    int64_t until_us = quipu_monotonic_us() + ANSWER_US;
    for (;;) {
        struct quipu_error ignored;
        struct nats_token token = {0, 0};
        int64_t left_us = until_us - quipu_monotonic_us();
        if (left_us <= 0 || quipu_nats_receive(nats, left_us, out, &token, &ignored) != QUIPU_OK) {
            return false;
        }
        if (token.number == number) {
            return true;
        }
        natsMsg_Destroy(*out);
    }
}

/* The question for an event of this log, and its envelope's CID. */
struct probe {
    struct event_texts texts;
    struct quipu_cid cid;
};

static enum quipu_status probe_make(struct flusher *flusher, uint64_t position, struct probe *out,
                                    struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = quipu_txn_begin_read(quipu_engine_store(flusher->engine), &txn, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_record_at(txn, position, &record, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &event, err);
    }
    if (status == QUIPU_OK) {
        out->cid = event.cid;
        status = quipu_event_texts(flusher->nats->subject_template, &event, &out->texts, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Under its subject, with its sequence, and byte by byte. */
static bool is_still_there(struct quipu_nats *nats, const struct probe *probe, uint64_t sequence)
{
    char subject[EVENT_CHECK_SUBJECT_BYTES];
    struct nats_outgoing message;
    struct quipu_error ignored;
    natsMsg *reply = NULL;
    struct nats_token token = {nats->next_token++, 0};
    quipu_event_check_message(nats->stream, &probe->texts, subject, &message);
    if (quipu_nats_publish(nats, &message, &token, &ignored) != QUIPU_OK ||
        !receive_reply(nats, token.number, &reply)) {
        return false;
    }
    const char *number = quipu_msg_header(reply, "Nats-Sequence");
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_msg_body(reply));
    bool is_there = quipu_msg_status(reply) == 0 && number != NULL &&
                    strtoull(number, NULL, 10) == sequence && quipu_cid_equal(&cid, &probe->cid);
    natsMsg_Destroy(reply);
    return is_there;
}

static enum quipu_status recall(struct flusher *flusher, bool *holds, struct quipu_error *err)
{
    struct quipu_nats *nats = flusher->nats;
    struct known_receipt known = {.sequence = 0};
    struct probe probe;
    struct quipu_error ignored; /* what is wrong with an event is told where it matters */
    *holds = false;
    if (!nats->facts.is_known || flusher->options.restart ||
        quipu_monotonic_us() - nats->facts.asked_us > HOLDS_US || !quipu_nats_stands(nats)) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_receipt_known(flusher->engine, nats->stream, &known, err);
    if (status != QUIPU_OK || known.sequence == 0) {
        return status;
    }
    *holds = probe_make(flusher, known.position, &probe, &ignored) == QUIPU_OK &&
             is_still_there(nats, &probe, known.sequence);
    return QUIPU_OK;
}

enum quipu_status quipu_flusher_facts(struct flusher *flusher, struct quipu_error *err)
{
    struct quipu_nats *nats = flusher->nats;
    bool holds = false;
    enum quipu_status status = recall(flusher, &holds, err);
    if (status == QUIPU_OK && !holds) {
        nats->facts.is_known = false;
        status = quipu_nats_ready(nats, err);
        if (status == QUIPU_OK) {
            status = quipu_event_stream_facts(nats, &nats->facts.stream, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_bucket_facts(nats, &nats->facts.bucket, err);
        }
        nats->facts.asked_us = quipu_monotonic_us();
    }
    flusher->stream = nats->facts.stream;
    flusher->bucket = nats->facts.bucket;
    return status;
}

void quipu_flusher_facts_keep(struct flusher *flusher)
{
    const struct quipu_flush_report *report = &flusher->report;
    flusher->nats->facts.is_known = flusher->status == QUIPU_OK && report->reconnects == 0 &&
                                    report->resent == 0 && report->dead == 0 &&
                                    flusher->doubted_us == 0;
}
