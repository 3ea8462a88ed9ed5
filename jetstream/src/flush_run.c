/*
 * A flusher that goes on by itself: flush, then wait for a commit, for the end of a pause, or to be
 * stopped. It decides when; how is quipu_flush's.
 *
 * The order that misses nothing: clear the watch, flush, and only then wait. What makes the watch
 * readable besides commits of events (receipts of our own, a call to stop) is seen to be for
 * nothing and waited on.
 *
 * Specification: docs/SPEC.md §10.5.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdatomic.h>
#include <string.h>

#include "connection.h"
#include "patience.h"
#include "quipu/alloc.h"
#include "quipu/jetstream.h"
#include "quipu/watch.h"

#define INTERVAL_US ((int64_t)60 * 1000 * 1000)
#define US_PER_MS   1000
#define WAIT_MS_MAX 3600000

struct quipu_flusher {
    struct quipu_engine *engine;
    struct quipu_nats *nats;
    struct quipu_flusher_options options; /* complete */
    struct quipu_watch *watch;
    atomic_bool is_stopped;
    struct backoff backoff;
};

static bool should_stop(void *ctx)
{
    const struct quipu_flusher *flusher = ctx;
    return atomic_load(&flusher->is_stopped);
}

/* The flush calls everything with one ctx: the flusher, which hands on to the host's. */
static void hand_progress(void *ctx, uint64_t done, uint64_t total)
{
    const struct quipu_flusher *flusher = ctx;
    if (flusher->options.flush.progress != NULL) {
        flusher->options.flush.progress(flusher->options.flush.ctx, done, total);
    }
}

static void hand_live(void *ctx, const struct quipu_flush_live *live)
{
    const struct quipu_flusher *flusher = ctx;
    if (flusher->options.flush.live != NULL) {
        flusher->options.flush.live(flusher->options.flush.ctx, live);
    }
}

enum quipu_status quipu_flusher_open(struct quipu_engine *engine, struct quipu_nats *nats,
                                     const struct quipu_flusher_options *options,
                                     struct quipu_flusher **out, struct quipu_error *err)
{
    struct quipu_flusher_options known = QUIPU_FLUSHER_OPTIONS_INIT;
    if (engine == NULL || nats == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a flusher needs an engine and a connection");
    }
    if (options != NULL && options->size != sizeof known) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "flusher options of %zu bytes, this library knows %zu: start from "
                               "QUIPU_FLUSHER_OPTIONS_INIT",
                               options->size, sizeof known);
    }
    known = options != NULL ? *options : known;
    known.interval_us = known.interval_us <= 0 ? INTERVAL_US : known.interval_us;
    struct quipu_flusher *flusher = quipu_alloc_zero(1, sizeof *flusher);
    if (flusher == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a flusher");
    }
    flusher->engine = engine;
    flusher->nats = nats;
    flusher->options = known;
    atomic_init(&flusher->is_stopped, false);
    enum quipu_status status = quipu_watch_open(quipu_engine_store(engine), &flusher->watch, err);
    if (status != QUIPU_OK) {
        quipu_free(flusher);
        return status;
    }
    *out = flusher;
    return QUIPU_OK;
}

void quipu_flusher_stop(struct quipu_flusher *flusher)
{
    if (flusher != NULL) {
        atomic_store(&flusher->is_stopped, true);
        quipu_watch_wake(flusher->watch);
    }
}

void quipu_flusher_close(struct quipu_flusher **flusher)
{
    if (flusher != NULL && *flusher != NULL) {
        quipu_watch_close(&(*flusher)->watch);
        quipu_free(*flusher);
        *flusher = NULL;
    }
}

/* ------------------------------------------------------------------ the run */

static enum quipu_status flush_once(struct quipu_flusher *flusher,
                                    struct quipu_flush_report *report, struct quipu_error *err)
{
    struct quipu_flush_options options = flusher->options.flush;
    options.ctx = flusher;
    options.progress = hand_progress;
    options.live = hand_live;
    options.should_stop = should_stop;
    enum quipu_status status = quipu_flush(flusher->engine, flusher->nats, &options, report, err);
    if (status == QUIPU_OK || report->published + report->duplicates + report->dead > 0) {
        flusher->options.flush.restart = false; /* once is what was asked for, and it was done */
    }
    return status;
}

static enum quipu_status has_pending(struct quipu_flusher *flusher, bool *out,
                                     struct quipu_error *err)
{
    struct quipu_outbox_status outbox = {.pending = 0};
    enum quipu_status status = quipu_outbox_status(flusher->engine, &outbox, err);
    *out = outbox.pending > 0 || flusher->options.flush.restart;
    return status;
}

/* Wait for `pause_us`, or, where `ends_early`, until something is pending. */
static enum quipu_status wait_for(struct quipu_flusher *flusher, int64_t pause_us, bool ends_early,
                                  struct quipu_error *err)
{
    int64_t until_us = quipu_monotonic_us() + pause_us;
    for (;;) {
        int64_t left_ms = (until_us - quipu_monotonic_us() + US_PER_MS - 1) / US_PER_MS;
        if (left_ms <= 0 || should_stop(flusher)) {
            return QUIPU_OK;
        }
        enum quipu_status status = quipu_watch_wait(
            flusher->watch, left_ms > WAIT_MS_MAX ? WAIT_MS_MAX : (int)left_ms, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
        bool is_pending = false;
        quipu_watch_clear(flusher->watch);
        if (ends_early) {
            status = has_pending(flusher, &is_pending, err);
            if ((status != QUIPU_OK && status != QUIPU_DONE) || is_pending) {
                return status;
            }
        }
    }
}

enum quipu_status quipu_flusher_run(struct quipu_flusher *flusher, struct quipu_error *err)
{
    struct quipu_error trouble;
    bool is_news = true; /* also that it goes well, the first time and after a failure */
    for (;;) {
        quipu_watch_clear(flusher->watch);
        if (should_stop(flusher)) {
            return QUIPU_OK;
        }
        struct quipu_flush_report report = {0};
        enum quipu_status status = flush_once(flusher, &report, &trouble);
        bool is_failed = status != QUIPU_OK && status != QUIPU_STOPPED;
        uint64_t settled = report.published + report.duplicates + report.dead;
        if (flusher->options.after != NULL && (is_failed || is_news || settled > 0)) {
            flusher->options.after(flusher->options.flush.ctx, status, &report,
                                   is_failed ? &trouble : NULL);
        }
        is_news = is_failed;
        enum failure_kind kind = quipu_failure_kind(status);
        if (is_failed && kind == FAILURE_LASTING) {
            if (err != NULL) {
                *err = trouble;
            }
            return status;
        }
        if (!is_failed || settled > 0) {
            quipu_backoff_reset(&flusher->backoff);
        }
        int64_t pause_us = flusher->options.interval_us;
        if (is_failed) {
            pause_us = quipu_failure_pause(&flusher->backoff, kind, pause_us);
        }
        status = wait_for(flusher, pause_us, !is_failed, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
    }
}
