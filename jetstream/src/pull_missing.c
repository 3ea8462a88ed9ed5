/*
 * Events in quarantine for want of their payload: a pull asks the bucket for it again, since the
 * place in the stream has moved on and the message itself does not come a second time. What is
 * found is ingested like a message; what is not stays where it is, and is asked for again after a
 * pause that doubles. Many requests are in flight, as with the payloads of a batch: what is missing
 * is put into the puller's batch, without a message.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "pull_retries.h"
#include "puller.h"
#include "quipu/alloc.h"
#include "quipu/clock.h"

#define ENVELOPES_BYTES_MAX ((size_t)8 << 20) /* of one round */

struct missing_envelope {
    size_t at;
    size_t len;
};

struct missing {
    struct puller *puller;
    struct retries retries;
    struct missing_envelope *envelopes; /* of puller->batch */
    struct quipu_buf bytes;
    struct quipu_cid *cids; /* of the rows; what a carrier calls an event may be otherwise */
    struct quipu_cid last;  /* the last one of the round before; they come in order */
    bool has_last;
    int64_t now_unix_us;
};

/* Where it has a payload that is missing, and its turn has come. */
static bool is_asked_for_now(struct missing *missing, const struct quipu_quarantined *event)
{
    struct retry *retry = quipu_retries_find(&missing->retries, &event->cid);
    if (retry != NULL) {
        retry->is_wanted = true;
    }
    bool was_before = missing->has_last && memcmp(event->cid.digest, missing->last.digest,
                                                  sizeof event->cid.digest) <= 0;
    return !was_before && (retry == NULL || missing->puller->options.asks_at_once ||
                           quipu_retry_is_due(retry, missing->now_unix_us));
}

static enum quipu_status note_missing(void *ctx, const struct quipu_quarantined *event,
                                      struct quipu_error *err)
{
    struct missing *missing = ctx;
    struct puller *puller = missing->puller;
    struct quipu_envelope envelope;
    if (event->payload.len > 0 || event->envelope.len == 0 ||
        quipu_envelope_decode(event->envelope, &envelope, NULL) != QUIPU_OK ||
        !is_asked_for_now(missing, event)) {
        return QUIPU_OK;
    }
    if (puller->count == puller->options.batch || missing->bytes.len >= ENVELOPES_BYTES_MAX) {
        return QUIPU_DONE;
    }
    bool is_ours = puller->has_receipts &&
                   quipu_slice_equal(event->stream, quipu_slice_text(puller->nats->stream));
    missing->last = event->cid;
    missing->cids[puller->count] = event->cid;
    missing->envelopes[puller->count] =
        (struct missing_envelope){missing->bytes.len, event->envelope.len};
    puller->batch[puller->count++] = (struct pulled){
        .sequence = is_ours ? event->sequence : 0, /* 0: no receipt is to be written */
        .cid = event->claimed,
        .payload_cid = envelope.payload,
        .is_envelope = true,
        .payload = QUIPU_BUF_INIT,
    };
    quipu_buf_append_slice(&missing->bytes, event->envelope);
    return missing->bytes.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading the quarantine");
}

/* One transaction for those of batch[from…to-1] that have their payload now. */
static enum quipu_status take_in(struct missing *missing, size_t from, size_t to,
                                 struct quipu_error *err)
{
    struct puller *puller = missing->puller;
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report = {.added = 0};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = from; status == QUIPU_OK && i < to; i++) {
        struct pulled *item = &puller->batch[i];
        const struct missing_envelope *envelope = &missing->envelopes[i];
        if (!item->has_payload) {
            continue;
        }
        if (ingest == NULL) {
            status = quipu_pull_ingest_begin(puller, &ingest, err);
        }
        struct quipu_foreign foreign = {
            .cid = item->cid,
            .envelope = quipu_slice(missing->bytes.data + envelope->at, envelope->len),
            .payload = quipu_buf_slice(&item->payload),
            .stream =
                item->sequence != 0 ? quipu_slice_text(puller->nats->stream) : quipu_slice(NULL, 0),
            .sequence = item->sequence};
        enum quipu_ingest_outcome outcome;
        if (status == QUIPU_OK) {
            status = quipu_ingest_event(ingest, &foreign, &outcome, err);
        }
        if (status == QUIPU_TOO_LARGE) { /* it stays in quarantine as it is, for later */
            item->has_payload = false;
            status = QUIPU_OK;
        }
    }
    if (status == QUIPU_OK && ingest != NULL) {
        status = quipu_ingest_commit(&ingest, &report, err);
    }
    quipu_ingest_abort(&ingest);
    if (status == QUIPU_OK) {
        /* Those that stay in quarantine, for another reason now, were reported when they came. */
        puller->report.events.added += report.added;
        puller->report.events.known += report.known;
        puller->report.events.released += report.released;
        puller->report.events.forks += report.forks;
    }
    return status;
}

/* Ask for the payloads of the batch, and take in what there is. */
static enum quipu_status ask(struct missing *missing, struct quipu_error *err)
{
    struct puller *puller = missing->puller;
    enum quipu_status status = QUIPU_OK;
    size_t from = 0;
    while (status == QUIPU_OK && from < puller->count) {
        size_t to = from;
        status = quipu_pull_payloads(puller, from, &to, err);
        if (status == QUIPU_OK) {
            status = take_in(missing, from, to, err);
        }
        for (size_t i = from; status == QUIPU_OK && i < to; i++) {
            quipu_buf_release(&puller->batch[i].payload);
            if (!puller->batch[i].has_payload) {
                status = quipu_retries_note(&missing->retries, &missing->cids[i],
                                            missing->now_unix_us, err);
            }
        }
        from = to;
    }
    return status;
}

/* Rounds of as many as fit into the batch; the last one has looked at all of quarantine. */
static enum quipu_status ask_for_all(struct missing *missing, struct quipu_error *err)
{
    struct puller *puller = missing->puller;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK) {
        struct retries *retries = &missing->retries;
        for (size_t i = 0; i < retries->count; i++) {
            retries->list[i].is_wanted = false;
        }
        quipu_buf_reset(&missing->bytes);
        status = quipu_each_quarantined(puller->engine, note_missing, missing, err);
        missing->has_last = missing->has_last || puller->count > 0;
        if (status == QUIPU_OK && puller->count == 0) {
            break;
        }
        if (status == QUIPU_OK) {
            status = ask(missing, err);
        }
        quipu_pull_batch_clear(puller);
        if (status == QUIPU_OK) {
            status = quipu_pull_stop_check(puller, err);
        }
    }
    quipu_pull_batch_clear(puller);
    return status;
}

enum quipu_status quipu_pull_missing(struct puller *puller, struct quipu_error *err)
{
    struct missing missing = {.puller = puller, .bytes = QUIPU_BUF_INIT};
    const struct quipu_clock clock = quipu_clock_system();
    missing.now_unix_us = clock.unix_us(clock.ctx);
    missing.envelopes = quipu_alloc_zero(puller->options.batch, sizeof *missing.envelopes);
    missing.cids = quipu_alloc_zero(puller->options.batch, sizeof *missing.cids);
    enum quipu_status status =
        missing.envelopes != NULL && missing.cids != NULL
            ? quipu_retries_load(&missing.retries, puller->engine, err)
            : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading the quarantine");
    if (status == QUIPU_OK) {
        status = ask_for_all(&missing, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_retries_save(&missing.retries, puller->engine, err);
    }
    quipu_retries_release(&missing.retries);
    quipu_buf_release(&missing.bytes);
    quipu_free(missing.envelopes);
    quipu_free(missing.cids);
    return status;
}
