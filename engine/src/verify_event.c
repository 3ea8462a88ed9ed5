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

#include "event_at.h"
#include "forks.h"
#include "numbers.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "verify_run.h"

#define SOURCES_FIRST 16

/* ------------------------------------------------------------------ sources */

static int source_compare(const void *a, const void *b)
{
    /* The text is the first member of the rows, and a key by itself. */
    return memcmp(a, b, QUIPU_SOURCE_TEXT_BYTES - 1);
}

static struct verify_source *source_find(const struct verify_run *run, struct quipu_slice source)
{
    size_t len = (size_t)run->report.sources;
    return len == 0 ? NULL
                    : bsearch(source.data, run->sources, len, sizeof *run->sources, source_compare);
}

/* Its entry, made where it is met for the first time. Valid until the next call. */
static enum quipu_status source_take(struct verify_run *run, struct quipu_txn *txn,
                                     struct quipu_slice source, struct verify_source **out,
                                     struct quipu_error *err)
{
    *out = source_find(run, source);
    if (*out != NULL) {
        return QUIPU_OK;
    }
    size_t len = (size_t)run->report.sources;
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
    struct verify_source met = {0};
    struct quipu_error why;
    memcpy(met.text, source.data, QUIPU_SOURCE_TEXT_BYTES - 1);
    enum quipu_status status = identity_last_given(txn, source, &met.last_given, &why);
    if (run->has_own && quipu_slice_equal(source, quipu_slice_text(run->own.source))) {
        met.last_given = run->own.last_seq; /* as of the end that was fixed, not of this slice */
    }
    if (status != QUIPU_OK && status != QUIPU_CORRUPT) { /* a broken row is noted elsewhere */
        return quipu_error_set(err, status, "%s", why.message);
    }
    run->sources[len] = met;
    run->report.sources++;
    qsort(run->sources, len + 1, sizeof *run->sources, source_compare);
    *out = source_find(run, source);
    return QUIPU_OK;
}

/* An event that this store recorded: its number follows the one before. */
static void own_number_check(struct verify_run *run, uint64_t position,
                             const struct quipu_envelope *envelope, struct verify_source *source)
{
    if (source->last_given == 0) {
        run->report.mendable++;
        verify_problem(run, position,
                       "number %" PRIu64 " of source %s came from elsewhere, but the table of "
                       "numbers does not know it",
                       envelope->source_seq, source->text);
    } else if (envelope->source_seq != source->seq_max + 1) {
        verify_problem(run, position,
                       "source_seq of the store's own source: expected %" PRIu64 ", found %" PRIu64,
                       source->seq_max + 1, envelope->source_seq);
    }
    source->seq_own = envelope->source_seq;
}

static enum quipu_status number_check(struct verify_run *run, struct quipu_txn *txn,
                                      const struct quipu_event_view *event, struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    struct verify_source *source = NULL;
    enum quipu_status status = source_take(run, txn, envelope->source, &source, err);
    if (status != QUIPU_OK) {
        return status;
    }
    uint64_t named = 0;
    bool is_second = false;
    struct quipu_error why;
    status = numbers_get(txn, envelope->source, envelope->source_seq, &named, &why);
    bool is_out_of_line =
        status == QUIPU_OK ? named != event->position : envelope->source_seq <= source->seq_max;
    if (is_out_of_line && (status == QUIPU_OK || status == QUIPU_NOT_FOUND)) {
        enum quipu_status looked =
            place_number_is_second(txn, envelope, &event->cid, event->position, &is_second, &why);
        status = looked == QUIPU_OK ? status : looked;
    }
    if (is_second) {
        return QUIPU_OK; /* a number that was used twice, and that is recorded */
    }
    if (status == QUIPU_NOT_FOUND) {
        own_number_check(run, event->position, envelope, source);
    } else if (status == QUIPU_CORRUPT) {
        verify_problem(run, event->position, "%s", why.message);
    } else if (status != QUIPU_OK) {
        return quipu_error_set(err, status, "%s", why.message);
    } else if (named != event->position) {
        verify_problem(run, event->position,
                       "number %" PRIu64 " of source %s is that of position %" PRIu64 " too",
                       envelope->source_seq, source->text, named);
    } else {
        run->numbers++;
    }
    if (envelope->source_seq > source->seq_max) {
        source->seq_max = envelope->source_seq;
    }
    return QUIPU_OK;
}

void verify_own_numbers(struct verify_run *run)
{
    for (uint64_t i = 0; i < run->report.sources; i++) {
        const struct verify_source *source = &run->sources[i];
        /* Greater than its own last one where others' came in while its key was elsewhere. */
        if (source->last_given != source->seq_own && source->last_given != source->seq_max) {
            run->report.mendable++;
            verify_problem(run, 0,
                           "source %s: the store counts %" PRIu64 " events of its own, the log has "
                           "%" PRIu64,
                           source->text, source->last_given, source->seq_own);
        }
    }
    if (run->has_own && run->own.last_seq > 0 &&
        source_find(run, quipu_slice_text(run->own.source)) == NULL) {
        run->report.mendable++;
        verify_problem(run, 0,
                       "source %s: the store counts %" PRIu64 " events of its own, the log has 0",
                       run->own.source, run->own.last_seq);
    }
}

/* ------------------------------------------------------------------ the chain */

static void chain_link_check(struct verify_run *run, const struct quipu_event_view *event,
                             const struct quipu_event_view *before)
{
    const struct quipu_envelope *envelope = &event->envelope;
    const struct quipu_aggregate aggregate = {before->envelope.aggregate_type,
                                              before->envelope.aggregate_id};
    if (!envelope_is_of(envelope, &aggregate)) {
        run->report.mendable++;
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
    if (!fork_names(envelope, &before->cid)) {
        verify_problem(run, event->position,
                       "prev does not name the aggregate's event before, at position %" PRIu64,
                       before->position);
    }
}

static bool follows(const struct quipu_envelope *envelope, const struct quipu_event_view *before)
{
    return envelope->prev_count == 1 && envelope->version == before->envelope.version + 1 &&
           quipu_cid_equal(&envelope->prev[0], &before->cid);
}

/* Does it follow another event than `before`, as a fork that is recorded says? */
static enum quipu_status branch_check(struct verify_run *run, struct quipu_txn *txn,
                                      const struct quipu_event_view *event, uint64_t before,
                                      bool *is_branch, struct quipu_error *err)
{
    struct quipu_error why;
    enum quipu_status status = fork_is_recorded(txn, event, before, is_branch, &why);
    if (status == QUIPU_OK) {
        return status;
    }
    if (!verify_is_finding(status)) {
        return quipu_error_set(err, status, "%s", why.message);
    }
    verify_problem(run, event->position, "%s", why.message);
    return QUIPU_OK;
}

static enum quipu_status chain_check(struct verify_run *run, struct quipu_txn *txn,
                                     const struct quipu_event_view *event, uint64_t before,
                                     struct quipu_error *err)
{
    bool is_branch = false;
    if (event->envelope.version == 1) {
        enum quipu_status looked = before == 0 || before >= event->position
                                       ? QUIPU_OK
                                       : branch_check(run, txn, event, before, &is_branch, err);
        if (looked != QUIPU_OK || is_branch) {
            return looked;
        }
        run->report.aggregates++;
        if (before != 0) {
            run->report.mendable++;
            verify_problem(run, event->position,
                           "version 1, but its back-pointer leads to position %" PRIu64, before);
        }
        return QUIPU_OK;
    }
    if (before == 0 || before >= event->position) {
        run->report.mendable++;
        verify_problem(run, event->position,
                       "version %" PRIu64 ", but its back-pointer leads to position %" PRIu64,
                       event->envelope.version, before);
        return QUIPU_OK;
    }
    struct quipu_event_view view;
    struct quipu_error why;
    enum quipu_status status = event_view_at(txn, before, &view, &why);
    if (status == QUIPU_OK && !follows(&event->envelope, &view)) {
        status = branch_check(run, txn, event, before, &is_branch, &why);
    }
    if (status == QUIPU_OK) {
        if (!is_branch) {
            chain_link_check(run, event, &view);
        }
        return QUIPU_OK;
    }
    /* What is wrong with that record is noted at its own position. */
    return verify_is_finding(status) ? QUIPU_OK : quipu_error_set(err, status, "%s", why.message);
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
    if (!verify_is_finding(status)) {
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
    enum quipu_status status = number_check(run, txn, &event, err);
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
        if (!verify_is_finding(status)) {
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
