/*
 * A puller that goes on by itself: pull, then wait for the end of an interval, of a pause behind a
 * failure, or to be stopped. How a pull goes is quipu_pull's.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdatomic.h>

#include "connection.h"
#include "patience.h"
#include "quipu/alloc.h"
#include "quipu/jetstream.h"
#include "quipu/watch.h"

#define INTERVAL_US ((int64_t)5 * 1000 * 1000)
#define US_PER_MS   1000
#define WAIT_MS_MAX 3600000

struct quipu_puller {
    struct quipu_engine *engine;
    struct quipu_nats *nats;
    struct quipu_puller_options options; /* complete */
    struct quipu_watch *watch;           /* to be woken by quipu_puller_stop */
    atomic_bool is_stopped;
    struct backoff backoff;
};

/* The pull calls everything with one ctx: the puller, which hands on to the host's. */
static bool should_stop(void *ctx)
{
    const struct quipu_puller *puller = ctx;
    return atomic_load(&puller->is_stopped);
}

static void hand_progress(void *ctx, uint64_t done, uint64_t total)
{
    const struct quipu_puller *puller = ctx;
    if (puller->options.pull.progress != NULL) {
        puller->options.pull.progress(puller->options.pull.ctx, done, total);
    }
}

enum quipu_status quipu_puller_open(struct quipu_engine *engine, struct quipu_nats *nats,
                                    const struct quipu_puller_options *options,
                                    struct quipu_puller **out, struct quipu_error *err)
{
    struct quipu_puller_options known = QUIPU_PULLER_OPTIONS_INIT;
    if (engine == NULL || nats == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a puller needs an engine and a connection");
    }
    if (options != NULL && options->size != sizeof known) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "puller options of %zu bytes, this library knows %zu: start from "
                               "QUIPU_PULLER_OPTIONS_INIT",
                               options->size, sizeof known);
    }
    known = options != NULL ? *options : known;
    known.interval_us = known.interval_us <= 0 ? INTERVAL_US : known.interval_us;
    struct quipu_puller *puller = quipu_alloc_zero(1, sizeof *puller);
    if (puller == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory opening a puller");
    }
    puller->engine = engine;
    puller->nats = nats;
    puller->options = known;
    atomic_init(&puller->is_stopped, false);
    enum quipu_status status = quipu_watch_open(quipu_engine_store(engine), &puller->watch, err);
    if (status != QUIPU_OK) {
        quipu_free(puller);
        return status;
    }
    *out = puller;
    return QUIPU_OK;
}

void quipu_puller_stop(struct quipu_puller *puller)
{
    if (puller != NULL) {
        atomic_store(&puller->is_stopped, true);
        quipu_watch_wake(puller->watch);
    }
}

void quipu_puller_close(struct quipu_puller **puller)
{
    if (puller != NULL && *puller != NULL) {
        quipu_watch_close(&(*puller)->watch);
        quipu_free(*puller);
        *puller = NULL;
    }
}

static enum quipu_status pull_once(struct quipu_puller *puller, struct quipu_pull_report *report,
                                   struct quipu_error *err)
{
    struct quipu_pull_options options = puller->options.pull;
    options.ctx = puller;
    options.progress = hand_progress;
    options.should_stop = should_stop;
    return quipu_pull(puller->engine, puller->nats, &options, report, err);
}

/* Commits to the store wake the watch too, for nothing. */
static enum quipu_status wait_for(struct quipu_puller *puller, int64_t pause_us,
                                  struct quipu_error *err)
{
    int64_t until_us = quipu_monotonic_us() + pause_us;
    for (;;) {
        quipu_watch_clear(puller->watch);
        int64_t left_ms = (until_us - quipu_monotonic_us() + US_PER_MS - 1) / US_PER_MS;
        if (left_ms <= 0 || should_stop(puller)) {
            return QUIPU_OK;
        }
        enum quipu_status status = quipu_watch_wait(
            puller->watch, left_ms > WAIT_MS_MAX ? WAIT_MS_MAX : (int)left_ms, err);
        if (status != QUIPU_OK && status != QUIPU_DONE) {
            return status;
        }
    }
}

enum quipu_status quipu_puller_run(struct quipu_puller *puller, struct quipu_error *err)
{
    struct quipu_error trouble;
    while (!should_stop(puller)) {
        struct quipu_pull_report report = {.last_sequence = 0};
        enum quipu_status status = pull_once(puller, &report, &trouble);
        const struct quipu_ingest_report *events = &report.events;
        bool is_failed = status != QUIPU_OK && status != QUIPU_STOPPED;
        bool has_taken = events->added + events->known + events->quarantined > 0;
        if (puller->options.after != NULL && (is_failed || has_taken)) {
            puller->options.after(puller->options.pull.ctx, status, &report,
                                  is_failed ? &trouble : NULL);
        }
        enum failure_kind kind = quipu_failure_kind(status);
        if (is_failed && kind == FAILURE_LASTING) {
            if (err != NULL) {
                *err = trouble;
            }
            return status;
        }
        if (!is_failed || has_taken) {
            quipu_backoff_reset(&puller->backoff);
        }
        int64_t interval_us = puller->options.interval_us;
        status = wait_for(puller,
                          is_failed ? quipu_failure_pause(&puller->backoff, kind, interval_us)
                                    : interval_us,
                          err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    return QUIPU_OK;
}
