/*
 * The log's side of a reconciliation: events with a receipt that the stream did not show are asked
 * for by their subjects, and payloads, where that is wanted, by their CIDs. A batch is copied out
 * of the store in one transaction and asked about outside of it.
 *
 * Specification: docs/SPEC.md §10.10.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "event_message.h"
#include "payload_store.h"
#include "quipu/alloc.h"
#include "quipu/outbox.h"
#include "reconcile.h"

/* Payloads that a batch asks for at once, unless it is one. */
#define BATCH_BYTES_MAX ((size_t)16 << 20)
/* Positions that one transaction looks at. */
#define SLICE_POSITIONS 10000

enum asked_state { ASKED_SAME, ASKED_MISSING, ASKED_OTHER };

struct asked {
    uint64_t position;
    uint64_t sequence; /* the receipt's, then the stream's where it has something */
    struct quipu_cid cid;
    struct quipu_cid payload_cid;
    char subject[EVENT_SUBJECT_BYTES];
    char event_id[QUIPU_UUID_TEXT_BYTES];
    enum asked_state state;
    bool is_payload_good;
};

struct sweep {
    struct reconcile *reconcile;
    uint64_t next; /* position */
    size_t count;
    struct asked list[ASK_MAX];
    /* Of the batch that is asked: indexes into `list`. */
    size_t asked[ASK_MAX];
    size_t asked_count;
};

/* ------------------------------------------------------------------ collecting */

static enum quipu_status add(struct sweep *sweep, const struct quipu_event_view *event,
                             const struct quipu_receipt *receipt, struct quipu_error *err)
{
    struct event_texts texts;
    enum quipu_status status = quipu_event_view_verify(event, err);
    if (status == QUIPU_OK) {
        status = quipu_event_texts(sweep->reconcile->nats->subject_template, event, &texts, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct asked *asked = &sweep->list[sweep->count++];
    asked->position = event->position;
    asked->sequence = receipt->sequence;
    asked->cid = event->cid;
    asked->payload_cid = event->envelope.payload;
    memcpy(asked->subject, texts.subject, sizeof asked->subject);
    memcpy(asked->event_id, texts.event_id, sizeof asked->event_id);
    asked->state =
        reconcile_is_seen(sweep->reconcile, event->position) ? ASKED_SAME : ASKED_MISSING;
    asked->is_payload_good = false;
    return QUIPU_OK;
}

/* The next event, where it is to be asked about; `*bytes` grows by its payload. */
static enum quipu_status collect_one(struct sweep *sweep, struct quipu_txn *txn, size_t *bytes,
                                     struct quipu_error *err)
{
    struct reconcile *reconcile = sweep->reconcile;
    struct quipu_receipt receipt;
    struct quipu_record record;
    struct quipu_event_view event;
    enum quipu_status status = quipu_receipt_at(txn, sweep->next, &receipt, err);
    if (status == QUIPU_NOT_FOUND) {
        reconcile->report.waiting++;
        return QUIPU_OK;
    }
    if (status != QUIPU_OK) {
        return status;
    }
    reconcile->report.events++;
    bool is_wanted = reconcile->options.payloads == QUIPU_PAYLOADS_CHECK ||
                     !reconcile_is_seen(reconcile, sweep->next);
    if (!is_wanted) {
        reconcile->report.same++;
        return QUIPU_OK;
    }
    status = quipu_txn_record_at(txn, sweep->next, &record, err);
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &event, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    *bytes += event.payload.len;
    return add(sweep, &event, &receipt, err);
}

static enum quipu_status collect(struct sweep *sweep, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    struct reconcile *reconcile = sweep->reconcile;
    size_t bytes = 0;
    enum quipu_status status =
        quipu_txn_begin_read(quipu_engine_store(reconcile->engine), &txn, err);
    uint64_t until = sweep->next + SLICE_POSITIONS;
    sweep->count = 0;
    while (status == QUIPU_OK && sweep->next <= reconcile->last_position && sweep->next < until &&
           sweep->count < ASK_MAX && bytes < BATCH_BYTES_MAX) {
        status = collect_one(sweep, txn, &bytes, err);
        sweep->next++;
    }
    quipu_txn_abort(&txn);
    return status;
}

/* ------------------------------------------------------------------ asking for events */

static void question_event(void *ctx, size_t index, char room[STORED_SUBJECT_BYTES],
                           struct stored_ask *out)
{
    const struct sweep *sweep = ctx;
    (void)room;
    out->stream = sweep->reconcile->nats->stream;
    out->subject = sweep->list[sweep->asked[index]].subject;
}

static enum quipu_status unexpected(const struct sweep *sweep, const char *subject, int code,
                                    struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_SERVER, "server %s answers %d when asked for %.300s",
                           sweep->reconcile->nats->server, code, subject);
}

static enum quipu_status answer_event(void *ctx, size_t index, const struct stored *stored,
                                      struct quipu_error *err)
{
    struct sweep *sweep = ctx;
    struct asked *asked = &sweep->list[sweep->asked[index]];
    if (stored->code == STORED_NOTHING) {
        return QUIPU_OK; /* it stays missing */
    }
    if (stored->code != 0) {
        return unexpected(sweep, asked->subject, stored->code, err);
    }
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, stored->body);
    asked->sequence = stored->sequence;
    asked->state = quipu_cid_equal(&cid, &asked->cid) ? ASKED_SAME : ASKED_OTHER;
    return QUIPU_OK;
}

/* Ask about those of the list that are in `state`. */
static enum quipu_status ask_those(struct sweep *sweep, enum asked_state state,
                                   struct ask_batch *batch, struct quipu_error *err)
{
    sweep->asked_count = 0;
    for (size_t i = 0; i < sweep->count; i++) {
        if (sweep->list[i].state == state) {
            sweep->asked[sweep->asked_count++] = i;
        }
    }
    batch->count = sweep->asked_count;
    batch->ctx = sweep;
    return batch->count == 0 ? QUIPU_OK : quipu_ask(sweep->reconcile->nats, batch, err);
}

/* ------------------------------------------------------------------ asking for payloads */

static void question_payload(void *ctx, size_t index, char room[STORED_SUBJECT_BYTES],
                             struct stored_ask *out)
{
    const struct sweep *sweep = ctx;
    char cid[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&sweep->list[sweep->asked[index]].payload_cid, cid);
    (void)snprintf(room, STORED_SUBJECT_BYTES, "$O.%s.C.%s", sweep->reconcile->nats->bucket, cid);
    out->stream = sweep->reconcile->nats->bucket_stream;
    out->subject = room;
}

static enum quipu_status answer_payload(void *ctx, size_t index, const struct stored *stored,
                                        struct quipu_error *err)
{
    struct sweep *sweep = ctx;
    struct asked *asked = &sweep->list[sweep->asked[index]];
    if (stored->code != 0 && stored->code != STORED_NOTHING) {
        return unexpected(sweep, asked->subject, stored->code, err);
    }
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(stored->body, digest);
    asked->is_payload_good =
        stored->code == 0 && memcmp(digest, asked->payload_cid.digest, sizeof digest) == 0;
    return QUIPU_OK;
}

/* What is not under the CID itself may be an object of several chunks, or somebody else's. */
static enum quipu_status look_closer(struct sweep *sweep, struct asked *asked,
                                     struct quipu_error *err)
{
    struct quipu_error why;
    struct quipu_buf payload = QUIPU_BUF_INIT;
    enum quipu_status status =
        quipu_payload_get(sweep->reconcile->nats, &asked->payload_cid, &payload, &why);
    quipu_buf_release(&payload);
    if (status == QUIPU_OK) {
        asked->is_payload_good = true;
        return QUIPU_OK;
    }
    if (status == QUIPU_NOT_FOUND || status == QUIPU_CORRUPT || status == QUIPU_TOO_LARGE) {
        return quipu_reconcile_tell(sweep->reconcile, QUIPU_DIFFERENCE_PAYLOAD, asked->position,
                                    asked->sequence, err, "position %" PRIu64 ": %s",
                                    asked->position, why.message);
    }
    if (err != NULL) {
        *err = why;
    }
    return status;
}

static enum quipu_status check_payloads(struct sweep *sweep, struct quipu_error *err)
{
    struct ask_batch batch = {.question = question_payload, .answer = answer_payload};
    enum quipu_status status = ask_those(sweep, ASKED_SAME, &batch, err);
    for (size_t i = 0; status == QUIPU_OK && i < sweep->count; i++) {
        struct asked *asked = &sweep->list[i];
        if (asked->state == ASKED_SAME && !asked->is_payload_good) {
            status = look_closer(sweep, asked, err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------ telling */

/* Below the first message of a stream that drops old ones by itself. */
static bool has_expired(const struct reconcile *reconcile, const struct asked *asked)
{
    return reconcile->facts.is_limited && asked->sequence != 0 &&
           asked->sequence < reconcile->facts.first_sequence;
}

static enum quipu_status tell(struct sweep *sweep, const struct asked *asked,
                              struct quipu_error *err)
{
    switch (asked->state) {
    case ASKED_SAME:
        sweep->reconcile->report.same++;
        return QUIPU_OK;
    case ASKED_MISSING:
        if (has_expired(sweep->reconcile, asked)) {
            return quipu_reconcile_tell(sweep->reconcile, QUIPU_DIFFERENCE_EXPIRED, asked->position,
                                        asked->sequence, err,
                                        "position %" PRIu64 ": event %s was stored under sequence "
                                        "%" PRIu64 ", which the stream has dropped by its limits",
                                        asked->position, asked->event_id, asked->sequence);
        }
        return quipu_reconcile_tell(sweep->reconcile, QUIPU_DIFFERENCE_MISSING, asked->position, 0,
                                    err,
                                    "position %" PRIu64 ": event %s was stored under sequence "
                                    "%" PRIu64 " and is not there",
                                    asked->position, asked->event_id, asked->sequence);
    case ASKED_OTHER:
        return quipu_reconcile_tell(
            sweep->reconcile, QUIPU_DIFFERENCE_OTHER, asked->position, asked->sequence, err,
            "position %" PRIu64 ": sequence %" PRIu64 " holds another event under event_id %s",
            asked->position, asked->sequence, asked->event_id);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_reconcile_log(struct reconcile *reconcile, struct quipu_error *err)
{
    struct sweep *sweep = quipu_alloc_zero(1, sizeof *sweep);
    if (sweep == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading the log");
    }
    sweep->reconcile = reconcile;
    sweep->next = 1;
    enum quipu_status status = QUIPU_OK;
    while (status == QUIPU_OK && sweep->next <= reconcile->last_position) {
        struct ask_batch batch = {.question = question_event, .answer = answer_event};
        status = collect(sweep, err);
        if (status == QUIPU_OK) {
            status = ask_those(sweep, ASKED_MISSING, &batch, err);
        }
        for (size_t i = 0; status == QUIPU_OK && i < sweep->count; i++) {
            status = tell(sweep, &sweep->list[i], err);
        }
        if (status == QUIPU_OK && reconcile->options.payloads == QUIPU_PAYLOADS_CHECK) {
            status = check_payloads(sweep, err);
        }
        if (status == QUIPU_OK && reconcile->options.progress != NULL) {
            reconcile->options.progress(reconcile->options.ctx, sweep->next - 1,
                                        reconcile->last_position);
        }
    }
    quipu_free(sweep);
    return status;
}
