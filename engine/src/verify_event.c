/*
 * Verifying one event: its record, its envelope, its payload, its place in its aggregate's chain,
 * its number in its source, its cause. Hashing is queued (verify.c does it for many blocks at
 * once).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "verify_run.h"

#define SOURCES_FIRST 16

/* Failures that say something about the data; others are the machine's. */
static bool is_finding(enum quipu_status status)
{
    return status == QUIPU_CORRUPT || status == QUIPU_NOT_FOUND || status >= QUIPU_CBOR_TRUNCATED;
}

/* ------------------------------------------------------------------ sources */

static int source_compare(const void *a, const void *b)
{
    return memcmp(a, b, QUIPU_SOURCE_TEXT_BYTES - 1);
}

static enum quipu_status source_count(struct verify_run *run, struct quipu_slice source,
                                      struct quipu_error *err)
{
    size_t len = (size_t)run->report.sources;
    if (len > 0 && bsearch(source.data, run->sources, len, sizeof *run->sources, source_compare)) {
        return QUIPU_OK;
    }
    if (len == run->sources_cap) {
        size_t cap = run->sources_cap == 0 ? SOURCES_FIRST : run->sources_cap * 2;
        void *grown = quipu_realloc(run->sources, cap, sizeof *run->sources);
        if (grown == NULL) {
            return quipu_error_set(err, QUIPU_NO_MEMORY, "verify: out of memory for %zu sources",
                                   cap);
        }
        run->sources = grown;
        run->sources_cap = cap;
    }
    memcpy(run->sources[len], source.data, QUIPU_SOURCE_TEXT_BYTES - 1);
    run->sources[len][QUIPU_SOURCE_TEXT_BYTES - 1] = 0;
    run->report.sources++;
    qsort(run->sources, len + 1, sizeof *run->sources, source_compare);
    return QUIPU_OK;
}

static void own_number_check(struct verify_run *run, uint64_t position,
                             const struct quipu_envelope *envelope)
{
    if (!run->has_own || !quipu_slice_equal(envelope->source, quipu_slice_text(run->own.source))) {
        return;
    }
    if (envelope->source_seq != run->own_seq + 1) {
        verify_problem(run, position,
                       "source_seq of the store's own source: expected %" PRIu64 ", found %" PRIu64,
                       run->own_seq + 1, envelope->source_seq);
    }
    run->own_seq = envelope->source_seq;
}

/* ------------------------------------------------------------------ the chain */

static void chain_link_check(struct verify_run *run, const struct quipu_event_view *event,
                             const struct quipu_event_view *before)
{
    const struct quipu_envelope *envelope = &event->envelope;
    if (!quipu_slice_equal(envelope->aggregate_type, before->envelope.aggregate_type) ||
        !quipu_slice_equal(envelope->aggregate_id, before->envelope.aggregate_id)) {
        verify_problem(run, event->position,
                       "its back-pointer leads to position %" PRIu64 ", which is of another "
                       "aggregate",
                       before->position);
        return;
    }
    if (envelope->version != before->envelope.version + 1) {
        verify_problem(run, event->position,
                       "version %" PRIu64 " follows version %" PRIu64 " at position %" PRIu64,
                       envelope->version, before->envelope.version, before->position);
        return;
    }
    for (size_t i = 0; i < envelope->prev_count; i++) {
        if (quipu_cid_equal(&envelope->prev[i], &before->cid)) {
            return;
        }
    }
    verify_problem(run, event->position,
                   "prev does not name the aggregate's event before, at position %" PRIu64,
                   before->position);
}

static enum quipu_status chain_check(struct verify_run *run, struct quipu_txn *txn,
                                     const struct quipu_event_view *event, uint64_t before,
                                     struct quipu_error *err)
{
    if (event->envelope.version == 1) {
        run->report.aggregates++;
        if (before != 0) {
            verify_problem(run, event->position,
                           "version 1, but its back-pointer leads to position %" PRIu64, before);
        }
        return QUIPU_OK;
    }
    if (before == 0 || before >= event->position) {
        verify_problem(run, event->position,
                       "version %" PRIu64 ", but its back-pointer leads to position %" PRIu64,
                       event->envelope.version, before);
        return QUIPU_OK;
    }
    struct quipu_record record;
    struct quipu_error why;
    enum quipu_status status = quipu_txn_record_at(txn, before, &record, &why);
    struct quipu_event_view view;
    if (status == QUIPU_OK) {
        status = quipu_event_view_of(&record, &view, &why);
    }
    if (status == QUIPU_OK) {
        chain_link_check(run, event, &view);
        return QUIPU_OK;
    }
    /* What is wrong with that record is noted at its own position. */
    return is_finding(status) ? QUIPU_OK : quipu_error_set(err, status, "%s", why.message);
}

static enum quipu_status cause_check(struct verify_run *run, struct quipu_txn *txn,
                                     const struct quipu_event_view *event, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    if (!envelope->has_causation) {
        return QUIPU_OK;
    }
    struct quipu_record cause;
    struct quipu_error why;
    enum quipu_status status = quipu_txn_find_event_id(txn, envelope->causation_id, &cause, &why);
    if (status == QUIPU_OK) {
        if (!quipu_cid_equal(&cause.envelope_cid, &envelope->causation)) {
            verify_problem(run, event->position,
                           "causation names another envelope than its causation_id, which is at "
                           "position %" PRIu64,
                           cause.position);
        }
        return QUIPU_OK;
    }
    if (!is_finding(status)) {
        return quipu_error_set(err, status, "%s", why.message);
    }
    /* A foreign event's cause may have stayed with its store; our own was here when we linked it.
     */
    bool is_own =
        run->has_own && quipu_slice_equal(envelope->source, quipu_slice_text(run->own.source));
    if (status != QUIPU_NOT_FOUND || is_own) {
        verify_problem(run, event->position, "its cause cannot be read: %s", why.message);
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ one position */

static void payload_check(struct verify_run *run, const struct quipu_event_view *event)
{
    struct quipu_error why;
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    if (quipu_source_public_key(event->envelope.source, public_key, &why) != QUIPU_OK) {
        verify_problem(run, event->position, "%s", why.message);
    }
    if (event->envelope.payload.codec == QUIPU_CODEC_DAG_CBOR &&
        quipu_dagcbor_validate(event->payload, &why) != QUIPU_OK) {
        verify_problem(run, event->position, "payload: %s", why.message);
    }
}

static enum quipu_status event_check(struct verify_run *run, struct quipu_txn *txn,
                                     const struct quipu_record *record, struct quipu_error *err)
{
    struct quipu_event_view event;
    struct quipu_error why;
    if (quipu_event_view_of(record, &event, &why) != QUIPU_OK) {
        verify_problem(run, record->position, "%s", why.message);
        return QUIPU_OK;
    }
    payload_check(run, &event);
    own_number_check(run, record->position, &event.envelope);
    enum quipu_status status = source_count(run, event.envelope.source, err);
    if (status == QUIPU_OK) {
        status = chain_check(run, txn, &event, record->aggregate_prev_position, err);
    }
    return status == QUIPU_OK ? cause_check(run, txn, &event, err) : status;
}

enum quipu_status verify_position(struct verify_run *run, struct quipu_txn *txn, uint64_t position,
                                  struct quipu_error *err)
{
    struct quipu_record record;
    struct quipu_error why;
    run->report.events++;
    enum quipu_status status = quipu_txn_record_at(txn, position, &record, &why);
    if (status != QUIPU_OK) {
        if (!is_finding(status)) {
            return quipu_error_set(err, status, "%s", why.message);
        }
        verify_problem(run, position, "%s", why.message);
        return QUIPU_OK;
    }
    run->report.block_bytes += record.envelope.len + record.payload.len;
    verify_block_add(run, position, &record.envelope_cid, record.envelope, "envelope");
    verify_block_add(run, position, &record.payload_cid, record.payload, "payload");
    return event_check(run, txn, &record, err);
}
