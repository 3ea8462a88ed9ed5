/*
 * Log and stream held against each other, without writing to either (but for times in receipts).
 *
 * First the stream: every sequence up to the last one as of the call is asked for, a batch at a
 * time, and its event looked up here by event_id and compared by CID; a bit notes each event that
 * is there. Then the log (reconcile_log.c): whatever counts as published and has no bit is asked
 * for by its subject, which settles what was published meanwhile too. So memory is a batch and a
 * bit an event.
 *
 * Specification: docs/SPEC.md §10.10.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "reconcile.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "event_message.h"
#include "quipu/alloc.h"
#include "quipu/cid.h"
#include "quipu/outbox.h"

/* A message of the stream, as far as it matters here. */
struct found {
    enum { FOUND_NOTHING, FOUND_ANOTHER_SUBJECT, FOUND_NO_EVENT, FOUND_EVENT } kind;
    struct quipu_uuid event_id;
    struct quipu_cid cid;
    int64_t stored_unix_us;
    char subject[EVENT_SUBJECT_BYTES]; /* empty: longer than an event's */
};

struct reading {
    struct reconcile *reconcile;
    uint64_t first; /* sequence of found[0] */
    struct found found[ASK_MAX];
};

enum quipu_status quipu_reconcile_tell(struct reconcile *reconcile, enum quipu_difference what,
                                       uint64_t position, uint64_t sequence,
                                       struct quipu_error *err, const char *format, ...)
{
    struct quipu_reconcile_report *report = &reconcile->report;
    uint64_t *counts[] = {[QUIPU_DIFFERENCE_MISSING] = &report->missing,
                          [QUIPU_DIFFERENCE_OTHER] = &report->other,
                          [QUIPU_DIFFERENCE_EXTRA] = &report->extra,
                          [QUIPU_DIFFERENCE_COPY] = &report->copies,
                          [QUIPU_DIFFERENCE_PAYLOAD] = &report->payloads,
                          [QUIPU_DIFFERENCE_EXPIRED] = &report->expired};
    ++*counts[what];
    if (reconcile->options.seen == NULL) {
        return QUIPU_OK;
    }
    char line[QUIPU_ERROR_MESSAGE_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    struct quipu_difference_seen seen = {
        .what = what, .position = position, .sequence = sequence, .line = quipu_slice_text(line)};
    return reconcile->options.seen(reconcile->options.ctx, &seen, err);
}

/* ------------------------------------------------------------------ the stream */

static void question_sequence(void *ctx, size_t index, char room[STORED_SUBJECT_BYTES],
                              struct stored_ask *out)
{
    const struct reading *reading = ctx;
    (void)room;
    out->stream = reading->reconcile->nats->stream;
    out->sequence = reading->first + index;
}

static bool is_under_prefix(const struct quipu_nats *nats, const char *subject)
{
    size_t len = strlen(nats->subject_prefix);
    return strncmp(subject, nats->subject_prefix, len) == 0 && subject[len] == '.';
}

static enum quipu_status answer_sequence(void *ctx, size_t index, const struct stored *stored,
                                         struct quipu_error *err)
{
    struct reading *reading = ctx;
    struct quipu_nats *nats = reading->reconcile->nats;
    struct found *found = &reading->found[index];
    found->kind = FOUND_NOTHING;
    if (stored->code == STORED_NOTHING) {
        return QUIPU_OK;
    }
    if (stored->code != 0) {
        return quipu_error_set(err, QUIPU_SERVER,
                               "stream %s: sequence %" PRIu64 " is answered with %d", nats->stream,
                               reading->first + index, stored->code);
    }
    if (!is_under_prefix(nats, stored->subject)) {
        found->kind = FOUND_ANOTHER_SUBJECT;
        return QUIPU_OK;
    }
    found->cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, stored->body);
    found->stored_unix_us = stored->unix_us;
    size_t len = strlen(stored->subject);
    found->subject[0] = 0;
    if (len < sizeof found->subject) {
        memcpy(found->subject, stored->subject, len + 1);
    }
    struct quipu_slice id = quipu_slice_text(strrchr(stored->subject, '.') + 1);
    bool is_event = quipu_uuid_parse(id, &found->event_id) == QUIPU_OK;
    found->kind = is_event ? FOUND_EVENT : FOUND_NO_EVENT;
    return QUIPU_OK;
}

/* Is it under the subject that the event has? Its bytes alone may be anywhere. */
static enum quipu_status is_in_place(const struct reconcile *reconcile, const struct found *found,
                                     const struct quipu_record *record, bool *out,
                                     struct quipu_error *err)
{
    struct quipu_event_view event;
    enum quipu_status status = quipu_event_view_of(record, &event, err);
    if (status == QUIPU_OK) {
        *out = quipu_event_is_subject(reconcile->nats->subject_template, &event.envelope,
                                      found->subject);
    }
    return status;
}

/* An event that is here: the same, the same once more, or another one under its id. */
static enum quipu_status compare(struct reconcile *reconcile, struct quipu_txn *txn,
                                 const struct found *found, const struct quipu_record *record,
                                 uint64_t sequence, struct quipu_error *err)
{
    char id[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(found->event_id, id);
    bool is_right = false;
    enum quipu_status status = is_in_place(reconcile, found, record, &is_right, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!is_right) {
        return quipu_reconcile_tell(reconcile, QUIPU_DIFFERENCE_EXTRA, 0, sequence, err,
                                    "sequence %" PRIu64 ": another subject than that of event %s, "
                                    "and its event_id",
                                    sequence, id);
    }
    if (!quipu_cid_equal(&record->envelope_cid, &found->cid)) {
        struct quipu_receipt receipt;
        status = quipu_receipt_at(txn, record->position, &receipt, err);
        if (status != QUIPU_NOT_FOUND) {
            return status; /* the log's turn tells it */
        }
        return quipu_reconcile_tell(reconcile, QUIPU_DIFFERENCE_EXTRA, 0, sequence, err,
                                    "sequence %" PRIu64 ": another event under event_id %s, which "
                                    "is not published from here",
                                    sequence, id);
    }
    if (record->position > reconcile->last_position) {
        return QUIPU_OK; /* appended meanwhile */
    }
    if (reconcile_is_seen(reconcile, record->position)) {
        return quipu_reconcile_tell(reconcile, QUIPU_DIFFERENCE_COPY, record->position, sequence,
                                    err, "sequence %" PRIu64 ": event %s once more", sequence, id);
    }
    reconcile->seen[record->position / 8] |= (uint8_t)(1u << (record->position % 8));
    quipu_reconcile_times_add(reconcile, record->position, sequence, found->stored_unix_us);
    return QUIPU_OK;
}

static enum quipu_status place(struct reconcile *reconcile, struct quipu_txn *txn,
                               const struct found *found, uint64_t sequence,
                               struct quipu_error *err)
{
    if (found->kind == FOUND_NOTHING || found->kind == FOUND_ANOTHER_SUBJECT) {
        return QUIPU_OK;
    }
    reconcile->report.messages++;
    if (found->kind == FOUND_NO_EVENT) {
        return quipu_reconcile_tell(reconcile, QUIPU_DIFFERENCE_EXTRA, 0, sequence, err,
                                    "sequence %" PRIu64 ": its subject names no event", sequence);
    }
    struct quipu_record record;
    enum quipu_status status = quipu_txn_find_event_id(txn, found->event_id, &record, err);
    if (status == QUIPU_OK) {
        return compare(reconcile, txn, found, &record, sequence, err);
    }
    if (status != QUIPU_NOT_FOUND) {
        return status;
    }
    char id[QUIPU_UUID_TEXT_BYTES];
    quipu_uuid_format(found->event_id, id);
    return quipu_reconcile_tell(reconcile, QUIPU_DIFFERENCE_EXTRA, 0, sequence, err,
                                "sequence %" PRIu64 ": event %s is not here; quipu pull", sequence,
                                id);
}

/* What a batch has brought, looked up in one transaction, in which nothing is asked. */
static enum quipu_status place_all(struct reading *reading, size_t count, bool *was_any,
                                   struct quipu_error *err)
{
    struct reconcile *reconcile = reading->reconcile;
    struct quipu_txn *txn = NULL;
    enum quipu_status status =
        quipu_txn_begin_read(quipu_engine_store(reconcile->engine), &txn, err);
    *was_any = false;
    for (size_t i = 0; status == QUIPU_OK && i < count; i++) {
        *was_any = *was_any || reading->found[i].kind != FOUND_NOTHING;
        status = place(reconcile, txn, &reading->found[i], reading->first + i, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

/* Behind a batch of nothing there may be millions more of it. */
static enum quipu_status skip_gap(struct reconcile *reconcile, uint64_t *sequence,
                                  struct quipu_error *err)
{
    struct quipu_nats *nats = reconcile->nats;
    char subject[NATS_NAME_BYTES_MAX + 3];
    (void)snprintf(subject, sizeof subject, "%s.>", nats->subject_prefix);
    const struct stored_ask ask = {
        .stream = nats->stream, .subject = subject, .sequence = *sequence};
    struct stored next;
    enum quipu_status status = quipu_stored_get(nats, &ask, STORED_DIRECT, &next, err);
    if (status == QUIPU_NOT_FOUND) {
        *sequence = reconcile->facts.last_sequence + 1;
        return QUIPU_OK;
    }
    if (status == QUIPU_OK) {
        *sequence = next.sequence > *sequence ? next.sequence : *sequence;
        quipu_stored_release(&next);
    }
    return status;
}

static enum quipu_status read_stream(struct reconcile *reconcile, struct quipu_error *err)
{
    struct reading *reading = quipu_alloc_zero(1, sizeof *reading);
    if (reading == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory reading a stream");
    }
    reading->reconcile = reconcile;
    enum quipu_status status = QUIPU_OK;
    /* A stream that has never had a message begins at 0, and has no such sequence. */
    uint64_t sequence = reconcile->facts.first_sequence > 0 ? reconcile->facts.first_sequence : 1;
    uint64_t last = reconcile->facts.last_sequence;
    while (status == QUIPU_OK && sequence <= last) {
        uint64_t rest = last - sequence + 1;
        struct ask_batch batch = {.count = rest < ASK_MAX ? (size_t)rest : ASK_MAX,
                                  .question = question_sequence,
                                  .answer = answer_sequence,
                                  .ctx = reading};
        bool was_any = false;
        reading->first = sequence;
        status = quipu_ask(reconcile->nats, &batch, err);
        if (status == QUIPU_OK) {
            status = place_all(reading, batch.count, &was_any, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_reconcile_times_write(reconcile, false, err);
        }
        sequence += batch.count;
        if (status == QUIPU_OK && !was_any && sequence <= last) {
            status = skip_gap(reconcile, &sequence, err);
        }
        if (status == QUIPU_OK && reconcile->options.progress != NULL) {
            uint64_t first = reconcile->facts.first_sequence;
            reconcile->options.progress(reconcile->options.ctx, sequence - first, last - first + 1);
        }
    }
    quipu_free(reading);
    return status;
}

/* ------------------------------------------------------------------ both */

static enum quipu_status prepare(struct reconcile *reconcile, struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_nats_ready(reconcile->nats, err);
    if (status == QUIPU_OK) {
        status = quipu_txn_begin_read(quipu_engine_store(reconcile->engine), &txn, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    /* The log first: what it has now and the stream gets afterwards is asked for by subject. */
    reconcile->last_position = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    status = quipu_event_stream_facts(reconcile->nats, &reconcile->facts, err);
    if (status != QUIPU_OK) {
        return status;
    }
    reconcile->report.first_sequence = reconcile->facts.first_sequence;
    reconcile->report.last_sequence = reconcile->facts.last_sequence;
    size_t bytes = (size_t)(reconcile->last_position / 8) + 1;
    reconcile->seen = quipu_alloc_zero(bytes, 1);
    return reconcile->seen != NULL
               ? quipu_reconcile_times_open(reconcile, err)
               : quipu_error_set(err, QUIPU_NO_MEMORY,
                                 "out of memory for a bit for each of %" PRIu64 " events",
                                 reconcile->last_position);
}

static enum quipu_status verdict(const struct reconcile *reconcile, struct quipu_error *err)
{
    const struct quipu_reconcile_report *report = &reconcile->report;
    if (report->missing + report->other + report->copies + report->payloads == 0) {
        return QUIPU_OK;
    }
    return quipu_error_set(err, QUIPU_DRIFT,
                           "log and stream %s differ: %" PRIu64 " missing, %" PRIu64
                           " other, %" PRIu64 " copies, %" PRIu64 " payloads; quipu reconcile "
                           "--repair sends again what is missing",
                           reconcile->nats->stream, report->missing, report->other, report->copies,
                           report->payloads);
}

enum quipu_status quipu_reconcile(struct quipu_engine *engine, struct quipu_nats *nats,
                                  const struct quipu_reconcile_options *options,
                                  struct quipu_reconcile_report *report, struct quipu_error *err)
{
    struct reconcile reconcile = {
        .engine = engine, .nats = nats, .options = QUIPU_RECONCILE_OPTIONS_INIT};
    if (engine == NULL || nats == NULL ||
        (options != NULL && options->size != sizeof reconcile.options)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "a reconciliation needs an engine, a connection, and options from "
                               "QUIPU_RECONCILE_OPTIONS_INIT");
    }
    reconcile.options = options != NULL ? *options : reconcile.options;
    enum quipu_status status = prepare(&reconcile, err);
    if (status == QUIPU_OK) {
        status = read_stream(&reconcile, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_reconcile_times_write(&reconcile, true, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_reconcile_log(&reconcile, err);
    }
    if (status == QUIPU_OK) {
        status = verdict(&reconcile, err);
    }
    quipu_free(reconcile.seen);
    quipu_free(reconcile.times);
    if (report != NULL) {
        *report = reconcile.report;
    }
    return status;
}
