/*
 * Events in quarantine for want of their payload: each pull asks the bucket for it again, since the
 * place in the stream has moved on and the message itself does not come a second time. What is
 * found is ingested like a message; what is not stays where it is.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "payload_store.h"
#include "puller.h"
#include "quipu/alloc.h"

/* One round: so many events, and so many bytes of payloads in one transaction. */
#define ROUND_EVENTS      256
#define TRANSACTION_BYTES ((size_t)16 << 20)

struct missing_event {
    struct quipu_cid claimed;
    struct quipu_cid payload_cid;
    size_t envelope_at;
    size_t envelope_len;
    size_t payload_at;
    size_t payload_len; /* 0: not found */
    uint64_t sequence;  /* 0: not from this stream, or no receipt is to be written */
};

struct missing {
    struct puller *puller;
    struct missing_event *events;
    size_t count;
    struct quipu_buf envelopes;
    struct quipu_buf payloads;
    struct quipu_cid last; /* the last one that was looked at; they come in order */
    bool has_last;
};

static enum quipu_status note_missing(void *ctx, const struct quipu_quarantined *event,
                                      struct quipu_error *err)
{
    struct missing *missing = ctx;
    if (missing->has_last &&
        memcmp(event->cid.digest, missing->last.digest, sizeof event->cid.digest) <= 0) {
        return QUIPU_OK;
    }
    if (missing->count == ROUND_EVENTS) {
        return QUIPU_DONE;
    }
    missing->last = event->cid;
    missing->has_last = true;
    struct quipu_envelope envelope;
    if (event->payload.len > 0 || event->envelope.len == 0 ||
        quipu_envelope_decode(event->envelope, &envelope, NULL) != QUIPU_OK) {
        return QUIPU_OK;
    }
    bool is_ours =
        missing->puller->has_receipts &&
        quipu_slice_equal(event->stream, quipu_slice_text(missing->puller->nats->stream));
    missing->events[missing->count++] = (struct missing_event){
        .claimed = event->claimed,
        .payload_cid = envelope.payload,
        .envelope_at = missing->envelopes.len,
        .envelope_len = event->envelope.len,
        .sequence = is_ours ? event->sequence : 0,
    };
    quipu_buf_append_slice(&missing->envelopes, event->envelope);
    return missing->envelopes.status == QUIPU_OK
               ? QUIPU_OK
               : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading the quarantine");
}

/* Get the payload, where the bucket has it now. */
static enum quipu_status fetch(struct missing *missing, struct missing_event *event,
                               struct quipu_error *err)
{
    event->payload_at = missing->payloads.len;
    enum quipu_status status =
        quipu_payload_get(missing->puller->nats, &event->payload_cid, &missing->payloads, err);
    event->payload_len = missing->payloads.len - event->payload_at;
    bool is_missing_still =
        status == QUIPU_NOT_FOUND || status == QUIPU_CORRUPT || status == QUIPU_TOO_LARGE;
    return is_missing_still ? QUIPU_OK : status;
}

/* One transaction for those of events[from…to-1] that have their payload now. */
static enum quipu_status take_in(struct missing *missing, size_t from, size_t to,
                                 struct quipu_error *err)
{
    if (missing->payloads.len == 0) {
        return QUIPU_OK;
    }
    struct puller *puller = missing->puller;
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report = {.added = 0};
    enum quipu_status status = quipu_pull_ingest_begin(puller, &ingest, err);
    for (size_t i = from; status == QUIPU_OK && i < to; i++) {
        const struct missing_event *event = &missing->events[i];
        struct quipu_foreign foreign = {
            .cid = event->claimed,
            .envelope =
                quipu_slice(missing->envelopes.data + event->envelope_at, event->envelope_len),
            .payload = quipu_slice(missing->payloads.data + event->payload_at, event->payload_len),
            .stream = event->sequence != 0 ? quipu_slice_text(puller->nats->stream)
                                           : quipu_slice(NULL, 0),
            .sequence = event->sequence};
        enum quipu_ingest_outcome outcome;
        if (event->payload_len > 0) {
            status = quipu_ingest_event(ingest, &foreign, &outcome, err);
            if (status == QUIPU_TOO_LARGE) {
                status = QUIPU_OK; /* no more may wait: it stays in quarantine as it is */
            }
        }
    }
    if (status == QUIPU_OK) {
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

static enum quipu_status round_trip(struct missing *missing, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    size_t from = 0;
    for (size_t i = 0; status == QUIPU_OK && i < missing->count; i++) {
        status = fetch(missing, &missing->events[i], err);
        bool is_due = i + 1 == missing->count || missing->payloads.len >= TRANSACTION_BYTES;
        if (status == QUIPU_OK && is_due) {
            status = take_in(missing, from, i + 1, err);
            from = i + 1;
            quipu_buf_reset(&missing->payloads);
        }
    }
    return status;
}

enum quipu_status quipu_pull_missing(struct puller *puller, struct quipu_error *err)
{
    struct missing missing = {
        .puller = puller, .envelopes = QUIPU_BUF_INIT, .payloads = QUIPU_BUF_INIT};
    missing.events = quipu_alloc_zero(ROUND_EVENTS, sizeof *missing.events);
    enum quipu_status status =
        missing.events != NULL
            ? QUIPU_OK
            : quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading the quarantine");
    while (status == QUIPU_OK) {
        missing.count = 0;
        quipu_buf_reset(&missing.envelopes);
        status = quipu_each_quarantined(puller->engine, note_missing, &missing, err);
        if (status == QUIPU_OK && missing.count == 0) {
            break;
        }
        if (status == QUIPU_OK) {
            status = round_trip(&missing, err);
        }
    }
    quipu_buf_release(&missing.envelopes);
    quipu_buf_release(&missing.payloads);
    quipu_free(missing.events);
    return status;
}
