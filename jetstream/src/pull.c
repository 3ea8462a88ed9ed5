/*
 * A pull: fetch → payloads → verify and ingest → commit → acknowledge, batch by batch, up to what
 * was the end of the stream when it began. No transaction is open while we wait for the network.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "internal/failpoint.h"
#include "patience.h"
#include "publish.h"
#include "puller.h"
#include "quipu/alloc.h"
#include "receipt_stream.h"

#define BATCH_DEFAULT 2000
#define BATCH_MAX     10000
#define PLACE_EVERY   8 /* batches; a crash takes in so many again, as known ones */
#define SHOW_EVERY_US ((int64_t)100 * 1000)
#define ROUNDS_MAX    8 /* see pull_to_the_end */

/* A receipt keeps a flush from sending the event. So it is written only for what is published:
 * under the event's own subject, and with its payload in our bucket, whence it came unless it was
 * here. */
static bool gets_receipt(const struct puller *puller, const struct pulled *item)
{
    return puller->has_receipts && item->is_in_place &&
           (!item->is_unpublished || item->is_payload_up);
}

static enum quipu_status ingest_item(struct puller *puller, struct quipu_ingest *ingest,
                                     const struct pulled *item, struct quipu_error *err)
{
    struct quipu_foreign event = {.cid = item->cid,
                                  .envelope = quipu_msg_body(item->msg),
                                  .payload = quipu_buf_slice(&item->payload),
                                  .stream = gets_receipt(puller, item)
                                                ? quipu_slice_text(puller->nats->stream)
                                                : quipu_slice(NULL, 0),
                                  .sequence = item->sequence,
                                  .stored_unix_us = item->stored_unix_us};
    enum quipu_ingest_outcome outcome;
    enum quipu_status status = quipu_ingest_event(ingest, &event, &outcome, err);
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "message %" PRIu64 " of stream %s", item->sequence,
                                puller->nats->stream);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_pull_ingest_begin(const struct puller *puller, struct quipu_ingest **out,
                                          struct quipu_error *err)
{
    struct quipu_ingest_options options = QUIPU_INGEST_OPTIONS_INIT;
    options.policy = QUIPU_INGEST_QUARANTINE;
    options.forks = QUIPU_INGEST_FORKS_KEEP;
    options.pending_events_max = puller->options.pending_events_max;
    options.pending_bytes_max = puller->options.pending_bytes_max;
    options.quarantine_bytes_max = puller->options.quarantine_bytes_max;
    return quipu_ingest_begin_with(puller->engine, &options, out, err);
}

/* One transaction for batch[from…*to-1]. It ends early in front of an event that there is no room
 * for in quarantine, unless that is the first; then it fails, and the stream keeps the event. */
static enum quipu_status ingest_run(struct puller *puller, size_t from, size_t *to,
                                    struct quipu_error *err)
{
    struct quipu_ingest *ingest = NULL;
    struct quipu_ingest_report report = {.added = 0};
    enum quipu_status status = quipu_pull_ingest_begin(puller, &ingest, err);
    for (size_t i = from; status == QUIPU_OK && i < *to; i++) {
        status = ingest_item(puller, ingest, &puller->batch[i], err);
        if (status == QUIPU_TOO_LARGE && i > from) {
            *to = i;
            status = QUIPU_OK;
        }
    }
    if (status == QUIPU_OK) {
        status = quipu_failpoint("jetstream.pull.commit", err);
    }
    if (status == QUIPU_OK) {
        status = quipu_ingest_commit(&ingest, &report, err);
    }
    quipu_ingest_abort(&ingest);
    if (status != QUIPU_OK) {
        return status;
    }
    puller->report.events.added += report.added;
    puller->report.events.known += report.known;
    puller->report.events.quarantined += report.quarantined;
    puller->report.events.released += report.released;
    puller->report.events.forks += report.forks;
    puller->done += *to - from;
    const struct pulled *newest = &puller->batch[from];
    for (size_t i = from; i < *to; i++) {
        newest = puller->batch[i].sequence > newest->sequence ? &puller->batch[i] : newest;
    }
    if (newest->sequence > puller->place.sequence) {
        puller->place.sequence = newest->sequence;
        quipu_sha256(quipu_msg_body(newest->msg), puller->place.digest);
    }
    return QUIPU_OK;
}

static enum quipu_status store_place(struct puller *puller, struct quipu_error *err)
{
    const struct pull_place *place = &puller->place;
    const struct pull_place *stored = &puller->stored_place;
    if (place->sequence == stored->sequence &&
        memcmp(place->digest, stored->digest, sizeof place->digest) == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status =
        quipu_pull_place_store(puller->engine, puller->nats->stream, &puller->stream, place, err);
    if (status == QUIPU_OK) {
        puller->stored_place = puller->place;
    }
    return status;
}

static enum quipu_status take_batch(struct puller *puller, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    size_t from = 0;
    while (status == QUIPU_OK && from < puller->count) {
        size_t to = from;
        status = quipu_pull_payloads(puller, from, &to, err);
        if (status == QUIPU_OK && to == puller->count && !puller->is_requested &&
            puller->batch[to - 1].sequence < puller->stream.last_sequence) {
            status = quipu_pull_fetch_ahead(puller, err);
        }
        if (status == QUIPU_OK) {
            status = ingest_run(puller, from, &to, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_failpoint("jetstream.pull.ack", err);
        }
        if (status == QUIPU_OK) {
            status = quipu_pull_acknowledge(puller, from, to, err);
        }
        from = to;
    }
    return status;
}

static void show_progress(struct puller *puller, bool is_final)
{
    int64_t now = quipu_monotonic_us();
    if (puller->options.progress == NULL || (!is_final && now - puller->shown_us < SHOW_EVERY_US)) {
        return;
    }
    puller->shown_us = now;
    uint64_t total = puller->total > puller->done ? puller->total : puller->done;
    puller->options.progress(puller->options.ctx, puller->done, total);
}

enum quipu_status quipu_pull_stop_check(const struct puller *puller, struct quipu_error *err)
{
    return puller->options.should_stop != NULL && puller->options.should_stop(puller->options.ctx)
               ? quipu_error_set(err, QUIPU_STOPPED,
                                 "the pull was stopped; what is not here yet waits in the stream")
               : QUIPU_OK;
}

/*
 * Up to the last sequence that the stream was said to have. The place is never further than what
 * was delivered, also where nothing is left below that sequence: messages may have been removed,
 * and may as well be known only to others than the server that says so.
 */
static enum quipu_status run(struct puller *puller, bool *has_less, struct quipu_error *err)
{
    uint64_t target = puller->stream.last_sequence;
    enum quipu_status status = QUIPU_OK;
    for (uint64_t batches = 1; status == QUIPU_OK && puller->place.sequence < target; batches++) {
        status = quipu_pull_stop_check(puller, err);
        if (status == QUIPU_OK) {
            status = quipu_pull_fetch(puller, err);
        }
        if (status == QUIPU_OK) {
            status = take_batch(puller, err);
        }
        quipu_pull_batch_clear(puller);
        if (status == QUIPU_OK && batches % PLACE_EVERY == 0) {
            status = store_place(puller, err);
        }
        show_progress(puller, false);
    }
    *has_less = status == QUIPU_DONE;
    status = *has_less ? QUIPU_OK : status;
    if (status == QUIPU_OK && puller->done > 0) {
        status = quipu_pull_acknowledged(puller, err);
    }
    show_progress(puller, true);
    return status;
}

/* ------------------------------------------------------------------ set-up */

static enum quipu_status options_complete(const struct quipu_pull_options *given,
                                          struct quipu_pull_options *out, struct quipu_error *err)
{
    struct quipu_pull_options known = QUIPU_PULL_OPTIONS_INIT;
    if (given != NULL) {
        if (given->size != sizeof known) {
            return quipu_error_set(err, QUIPU_MISUSE,
                                   "pull options of %zu bytes, this library knows %zu: start from "
                                   "QUIPU_PULL_OPTIONS_INIT",
                                   given->size, sizeof known);
        }
        known = *given;
    }
    if (known.batch > BATCH_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "a batch of %" PRIu32 " messages, 1 to %d are allowed", known.batch,
                               BATCH_MAX);
    }
    known.batch = known.batch == 0 ? BATCH_DEFAULT : known.batch;
    *out = known;
    return QUIPU_OK;
}

/* Our place, and whether the stream's messages are still those that were taken in. */
static enum quipu_status place_find(struct puller *puller, struct quipu_error *err)
{
    bool is_same = false;
    enum quipu_status status = quipu_pull_place_load(puller->engine, puller->nats->stream,
                                                     &puller->stream, &puller->place, err);
    if (status != QUIPU_OK || puller->place.sequence == 0) {
        return status;
    }
    puller->stored_place = puller->place;
    status = quipu_pull_place_holds(puller, &is_same, err);
    if (status == QUIPU_OK && !is_same) {
        puller->place = (struct pull_place){.sequence = 0};
    }
    return status;
}

/* The server, its streams, our name there and our place. */
static enum quipu_status prepare(struct puller *puller, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    struct stream_facts bucket;
    char source[QUIPU_SOURCE_TEXT_BYTES];
    enum quipu_status status = quipu_nats_ready(nats, err);
    if (status == QUIPU_OK) {
        status = quipu_event_stream_facts(nats, &puller->stream, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_bucket_facts(nats, &bucket, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_ensure(puller->engine, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_identity_source(puller->engine, source, err);
    }
    if (status == QUIPU_OK) {
        (void)snprintf(puller->consumer, sizeof puller->consumer, "quipu-%s", source);
        status = place_find(puller, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_receipts_for_pull(puller->engine, nats->stream, &puller->stream,
                                         &puller->has_receipts, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_pull_inbox_open(puller, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_pull_consumer(puller, err);
    }
    return status;
}

/* By the stream's own count: it has lost fewer messages in its midst than it has sequences behind
 * our place. */
static bool has_surely_more(const struct puller *puller)
{
    const struct stream_facts *stream = &puller->stream;
    uint64_t before = stream->first_sequence > 0 ? stream->first_sequence - 1 : 0;
    uint64_t from = puller->place.sequence > before ? puller->place.sequence : before;
    return stream->last_sequence > from &&
           stream->last_sequence - from > stream->last_sequence - before - stream->messages;
}

/*
 * A leader that is new may not have applied yet all that the old one had stored: it says a last
 * sequence that is too small, or that nothing is left below the one that the old leader said. So a
 * stream with replicas is asked again behind the end, until it names nothing more; or until it
 * names more, has nothing twice, and by its count may have nothing: there the messages have been
 * removed. Not for ever, since others may be publishing.
 */
static enum quipu_status pull_to_the_end(struct puller *puller, struct quipu_error *err)
{
    struct backoff backoff = {0};
    bool had_less = false;
    for (int round = 1;; round++) {
        bool has_less = false;
        enum quipu_status status = run(puller, &has_less, err);
        if (status != QUIPU_OK || !puller->stream.is_replicated ||
            (round >= ROUNDS_MAX && !has_less)) {
            return status;
        }
        status = quipu_event_stream_facts(puller->nats, &puller->stream, err);
        bool has_more = has_surely_more(puller);
        if (status != QUIPU_OK || puller->stream.last_sequence <= puller->place.sequence ||
            (has_less && had_less && !has_more)) {
            return status;
        }
        if (round >= ROUNDS_MAX && has_more) {
            return quipu_error_set(err, QUIPU_SERVER,
                                   "stream %s has messages up to %" PRIu64
                                   " and delivers none behind %" PRIu64 "; pull again later",
                                   puller->nats->stream, puller->stream.last_sequence,
                                   puller->place.sequence);
        }
        if (has_less) {
            quipu_nats_sleep(quipu_backoff_next(&backoff, 0));
        }
        had_less = has_less;
    }
}

static enum quipu_status pull(struct puller *puller, struct quipu_error *err)
{
    puller->batch = quipu_alloc_zero(puller->options.batch, sizeof *puller->batch);
    if (puller->batch == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY,
                               "out of memory for a batch of %" PRIu32 " messages",
                               puller->options.batch);
    }
    enum quipu_status status = prepare(puller, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = quipu_pull_missing(puller, err);
    if (status == QUIPU_OK) {
        status = pull_to_the_end(puller, err);
    }
    /* On the way out of a failure too: what is in the store need not come again. */
    struct quipu_error place_err;
    enum quipu_status placed = store_place(puller, &place_err);
    puller->report.last_sequence = puller->place.sequence;
    if (status == QUIPU_OK && placed != QUIPU_OK) {
        if (err != NULL) {
            *err = place_err;
        }
        return placed;
    }
    return status;
}

/* The library's reading thread does not hold the subscription of a message that it delivers (up to
 * 3.5), so it may go only when no message for it can come any more: the answer to a ping behind the
 * unsubscription says so, or the end of the connection. */
static void inbox_close(struct puller *puller)
{
    if (puller->inbox == NULL) {
        return;
    }
    struct quipu_nats *nats = puller->nats;
    natsStatus s = natsSubscription_Unsubscribe(puller->inbox);
    if (s == NATS_OK) {
        s = quipu_nats_round_trip(nats);
    }
    bool is_quiet = s == NATS_OK || quipu_nats_hang_up(nats);
    if (is_quiet) {
        natsSubscription_Destroy(puller->inbox); /* otherwise a leak is better */
    }
    puller->inbox = NULL;
}

enum quipu_status quipu_pull(struct quipu_engine *engine, struct quipu_nats *nats,
                             const struct quipu_pull_options *options,
                             struct quipu_pull_report *report, struct quipu_error *err)
{
    struct quipu_pull_options known;
    if (engine == NULL || nats == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a pull needs an engine and a connection");
    }
    enum quipu_status status = options_complete(options, &known, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct puller *puller = quipu_alloc_zero(1, sizeof *puller);
    if (puller == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory starting a pull");
    }
    puller->engine = engine;
    puller->nats = nats;
    puller->options = known;

    struct quipu_store_lock *lock = NULL;
    int64_t began_us = quipu_monotonic_us();
    status = quipu_store_lock_take(quipu_engine_store(engine), PULLER_LOCK_NAME, &lock, err);
    if (status == QUIPU_OK) {
        status = pull(puller, err);
        quipu_store_lock_release(&lock);
    }
    puller->report.took_us = quipu_monotonic_us() - began_us;
    if (report != NULL) {
        *report = puller->report;
    }
    quipu_pull_batch_clear(puller);
    inbox_close(puller);
    quipu_free(puller->batch);
    quipu_free(puller);
    return status;
}
