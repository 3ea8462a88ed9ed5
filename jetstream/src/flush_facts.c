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
 * In mid-flush, after a new connection or where something looks wrong, both are asked for anew: the
 * server may be another one by then, with a stream of its own under the same name.
 *
 * Specification: docs/SPEC.md §10.6.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>

#include "flusher.h"
#include "patience.h"
#include "receipt_stream.h"
#include "stored.h"

#define US_PER_MS 1000
#define HOLDS_US  ((int64_t)10 * 1000 * 1000)
/* A server that has just become a stream's leader may show older figures for a moment. */
#define LOOKS_MAX 10
#define LOOK_US   ((int64_t)200 * 1000)
#define LONG_US   ((int64_t)1000 * 1000) /* a flush that is looked after at its end */
/* What may lie between the question whether an event is there and its arrival is half of the time
 * for which the server knows ids (QUIPU_DEDUP_WINDOW). */
#define DUPLICATES_MIN_US ((int64_t)30 * 1000 * 1000)
#define ANSWER_US         ((int64_t)500 * 1000) /* then the connection is looked after in the usual way */

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
    const struct stored_ask ask = {.stream = nats->stream, .subject = probe->texts.subject};
    struct stored_room room;
    struct nats_outgoing message;
    struct quipu_error ignored;
    natsMsg *reply = NULL;
    struct nats_token token = {nats->next_token++, 0};
    quipu_stored_request(&ask, STORED_DIRECT, &room, &message);
    if (quipu_nats_publish(nats, &message, &token, &ignored) != QUIPU_OK ||
        !receive_reply(nats, token.number, &reply)) {
        return false;
    }
    struct stored stored;
    quipu_stored_read(reply, &stored);
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, stored.body);
    bool is_there =
        stored.code == 0 && stored.sequence == sequence && quipu_cid_equal(&cid, &probe->cid);
    quipu_stored_release(&stored);
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

/* What a reader may use, and a flush may not. */
static enum quipu_status usable(const struct flusher *flusher, struct quipu_error *err)
{
    const char *stream = flusher->nats->stream;
    if (flusher->stream.is_sealed) {
        return quipu_error_set(err, QUIPU_DRIFT,
                               "stream %s at %s is sealed: it takes nothing any more", stream,
                               flusher->nats->server);
    }
    if (flusher_looks(flusher) && flusher->stream.duplicates_us < DUPLICATES_MIN_US) {
        return quipu_error_set(
            err, QUIPU_DRIFT,
            "stream %s knows the ids of messages for %" PRId64 " ms; dedup = \"window\" wants "
            "%" PRId64 " ms: raise its duplicate window, or flush with dedup = \"subject\"",
            stream, flusher->stream.duplicates_us / US_PER_MS, DUPLICATES_MIN_US / US_PER_MS);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_flusher_facts(struct flusher *flusher, struct quipu_error *err)
{
    struct quipu_nats *nats = flusher->nats;
    enum quipu_status status = recall(flusher, &flusher->is_recalled, err);
    if (status == QUIPU_OK && !flusher->is_recalled) {
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
    return status == QUIPU_OK ? usable(flusher, err) : status;
}

/* The greatest sequence among what is acknowledged and not recorded yet; 0: nothing is. */
static uint64_t newest_ack(const struct flusher *flusher)
{
    uint64_t newest = 0;
    for (size_t i = 0; i < flusher->ack_count; i++) {
        newest = flusher->acks[i].sequence > newest ? flusher->acks[i].sequence : newest;
    }
    return newest;
}

/* The stream's figures against the receipts; again, where several servers hold it and one of them
 * may lag behind for a moment. */
static enum quipu_status hold(struct flusher *flusher, struct stream_facts *stream,
                              struct quipu_error *err)
{
    struct quipu_nats *nats = flusher->nats;
    enum quipu_status status = QUIPU_OK;
    for (int look = 0; look < LOOKS_MAX; look++) {
        status = quipu_receipts_hold(flusher->engine, nats->stream, stream, flusher->reach,
                                     newest_ack(flusher), err);
        if (status != QUIPU_DRIFT || !stream->is_replicated) {
            break;
        }
        quipu_nats_sleep(LOOK_US);
        enum quipu_status asked = quipu_event_stream_facts(nats, stream, err);
        if (asked != QUIPU_OK) {
            return asked;
        }
    }
    return status;
}

static void reaches(struct flusher *flusher)
{
    const struct stream_facts *stream = &flusher->stream;
    uint64_t reach = stream->last_sequence > stream->first_sequence ? stream->last_sequence
                                                                    : stream->first_sequence;
    flusher->reach = reach > flusher->reach ? reach : flusher->reach;
}

/* A stream that has never had a message begins at 0, and its first one is 1. */
static uint64_t first_of(const struct stream_facts *facts)
{
    return facts->first_sequence > 0 ? facts->first_sequence : 1;
}

enum quipu_status quipu_flusher_hold(struct flusher *flusher, struct quipu_error *err)
{
    enum quipu_status status =
        quipu_receipts_reach(flusher->engine, &flusher->stream, &flusher->reach, err);
    if (status == QUIPU_OK && !flusher->is_recalled && !flusher->options.restart) {
        status = hold(flusher, &flusher->stream, err);
    }
    if (status == QUIPU_OK) {
        reaches(flusher);
        flusher->base = flusher->stream.last_sequence;
        flusher->first_stream = first_of(&flusher->stream);
        flusher->first_bucket = first_of(&flusher->bucket);
    }
    return status;
}

static enum quipu_status made_anew(struct flusher *flusher, const char *name)
{
    return quipu_error_set(&flusher->trouble, QUIPU_DRIFT,
                           "stream %s at %s is another one than a moment ago: it was made anew, or "
                           "another server answers; quipu flush --again publishes everything to it",
                           name, flusher->nats->server);
}

enum quipu_status quipu_flusher_verify(struct flusher *flusher)
{
    struct quipu_nats *nats = flusher->nats;
    struct stream_facts stream;
    struct stream_facts bucket;
    enum quipu_status status = quipu_event_stream_facts(nats, &stream, &flusher->trouble);
    if (status == QUIPU_OK) {
        status = quipu_bucket_facts(nats, &bucket, &flusher->trouble);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (stream.created_unix_ns != flusher->stream.created_unix_ns) {
        return made_anew(flusher, nats->stream);
    }
    if (bucket.created_unix_ns != flusher->bucket.created_unix_ns) {
        return made_anew(flusher, nats->bucket_stream);
    }
    status = hold(flusher, &stream, &flusher->trouble);
    if (status == QUIPU_OK) {
        flusher->stream = stream;
        flusher->bucket = bucket;
        status = usable(flusher, &flusher->trouble);
        reaches(flusher);
    }
    return status;
}

void quipu_flusher_verify_end(struct flusher *flusher)
{
    if (flusher->status != QUIPU_OK) {
        return;
    }
    const struct quipu_flush_report *report = &flusher->report;
    bool is_long = report->published > flusher->window.capacity || report->reconnects > 0 ||
                   (report->published > 0 && quipu_monotonic_us() - flusher->began_us > LONG_US);
    enum quipu_status status = is_long ? quipu_flusher_verify(flusher) : QUIPU_OK;
    if (status == QUIPU_DRIFT || status == QUIPU_NOT_PROVISIONED) {
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
        return;
    }
    /* A server that has just gone away is for the next flush to look at: it begins with what is
     * noted so far. */
    uint64_t newest = newest_ack(flusher);
    if (status == QUIPU_OK && newest > flusher->reach) {
        flusher->reach = newest;
    }
}

static void check_drop(struct flusher *flusher, const char *name, const struct stream_facts *now,
                       uint64_t first)
{
    if (first_of(now) <= first) {
        return;
    }
    (void)quipu_error_set(&flusher->trouble, QUIPU_SERVER,
                          "stream %s has deleted its oldest messages to make room, though it is to "
                          "refuse new ones (its first sequence was %" PRIu64 ", now %" PRIu64
                          "): raise its limits, then quipu reconcile --repair",
                          name, first, first_of(now));
    /* Whatever else has ended the flush, a full stream most likely, this is worse. */
    flusher->status = QUIPU_SERVER;
    flusher->err = flusher->trouble;
}

/*
 * A server that holds a new message against max_bytes without what storing it adds (nats-server
 * 2.9.10: the subject and some thirty bytes) takes the last one that fits so, and then deletes old
 * ones until the stream is within its limit.
 */
void quipu_flusher_check_drops(struct flusher *flusher)
{
    struct quipu_nats *nats = flusher->nats;
    struct stream_facts now;
    bool has_sent = flusher->window.next != nats->next_token;
    bool is_cut = flusher->status == QUIPU_OFFLINE || flusher->status == QUIPU_TIMEOUT;
    if (!has_sent || is_cut) {
        return;
    }
    struct quipu_error ignored; /* what cannot be asked now is for a reconciliation */
    if (flusher->stream.is_refusing && quipu_event_stream_facts(nats, &now, &ignored) == QUIPU_OK) {
        check_drop(flusher, nats->stream, &now, flusher->first_stream);
    }
    if (flusher->bucket.is_refusing && quipu_bucket_facts(nats, &now, &ignored) == QUIPU_OK) {
        check_drop(flusher, nats->bucket_stream, &now, flusher->first_bucket);
    }
}

void quipu_flusher_facts_keep(struct flusher *flusher)
{
    const struct quipu_flush_report *report = &flusher->report;
    flusher->nats->facts.is_known = flusher->status == QUIPU_OK && report->reconnects == 0 &&
                                    report->resent == 0 && report->dead == 0 &&
                                    flusher->doubted_us == 0;
}
