/*
 * A flush: collect → admit → send → answers → settle → record, round and round, until nothing is
 * pending or something ends it. Whatever ends it, all that is acknowledged is recorded first, and
 * all that is not stays in the outbox.
 *
 * A lost connection is rebuilt here, with growing pauses; what was in flight is then sent again.
 * The flush gives up when no event has taken a step for options.give_up_us.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "flusher.h"

#include <inttypes.h>
#include <string.h>

#include "patience.h"
#include "quipu/alloc.h"
#include "quipu/clock.h"
#include "receipt_stream.h"

#define WINDOW_DEFAULT 512
#define WINDOW_MAX     65536
#define GIVE_UP_US     ((int64_t)30 * 1000 * 1000)
#define LISTEN_US      ((int64_t)50 * 1000) /* longest wait for a reply in one go */
#define SHOW_EVERY_US  ((int64_t)100 * 1000)
#define US_PER_S       1000000

/* Where the server is asked first, it may know an id whose message is gone, and must be waited for
 * until it has forgotten that. */
static int64_t patience_us(const struct flusher *flusher)
{
    int64_t forgets_us = flusher_looks(flusher) ? flusher->stream.duplicates_us : 0;
    return flusher->options.give_up_us + forgets_us;
}

static bool has_given_up(const struct flusher *flusher)
{
    return quipu_monotonic_us() - flusher->window.progress_us >= patience_us(flusher);
}

static uint64_t any_64_bits(void)
{
    uint64_t bits = 0;
    struct quipu_random random = quipu_random_system();
    if (random.fill(random.ctx, &bits, sizeof bits, NULL) != QUIPU_OK) {
        return 0; /* jitter only spreads clients; without it we still wait */
    }
    return bits;
}

/* The host wants an end: what is acknowledged is recorded, the rest stays in the outbox. */
static bool is_stopped(struct flusher *flusher)
{
    if (flusher->options.should_stop == NULL ||
        !flusher->options.should_stop(flusher->options.ctx)) {
        return false;
    }
    (void)quipu_error_set(&flusher->trouble, QUIPU_STOPPED,
                          "the flush was stopped; what is not published yet waits in the outbox");
    (void)quipu_flusher_end(flusher, QUIPU_STOPPED); /* it is kept in flusher->status */
    return true;
}

static void measure_rate(struct flusher *flusher, int64_t now_us)
{
    struct flush_rate *rate = &flusher->rate;
    int64_t elapsed = now_us - rate->since_us;
    if (rate->since_us != 0 && elapsed < US_PER_S) {
        return;
    }
    if (rate->since_us != 0) {
        rate->per_second = (flusher->done - rate->since_done) * US_PER_S / (uint64_t)elapsed;
    }
    rate->since_us = now_us;
    rate->since_done = flusher->done;
}

static void show_live(struct flusher *flusher, uint64_t total)
{
    struct quipu_flush_live live = {
        .pending = total - flusher->done,
        .in_flight = flusher->window.capacity - quipu_window_room(&flusher->window),
        .published = flusher->report.published,
        .duplicates = flusher->report.duplicates,
        .dead = flusher->report.dead,
        .resent = flusher->report.resent,
        .events_per_second = flusher->rate.per_second,
        .is_reconnecting = flusher->is_reconnecting,
    };
    flusher->options.live(flusher->options.ctx, &live);
}

static void show_progress(struct flusher *flusher, bool is_final)
{
    int64_t now = quipu_monotonic_us();
    if (!is_final && now - flusher->shown_us < SHOW_EVERY_US) {
        return;
    }
    flusher->shown_us = now;
    measure_rate(flusher, now);
    uint64_t total = flusher->total > flusher->done ? flusher->total : flusher->done;
    if (flusher->options.progress != NULL) {
        flusher->options.progress(flusher->options.ctx, flusher->done, total);
    }
    if (flusher->options.live != NULL) {
        show_live(flusher, total);
    }
}

/* Connect anew, again and again. Leaves flusher->status set where it cannot be. */
static void reconnect(struct flusher *flusher)
{
    quipu_window_disconnected(&flusher->window);
    quipu_pace_begin(&flusher->pace);
    quipu_flusher_settle(flusher);
    quipu_flusher_record(flusher, true);
    flusher->is_reconnecting = true;
    while (flusher->status == QUIPU_OK || flusher->is_draining) {
        show_progress(flusher, true);
        quipu_nats_sleep(quipu_backoff_next(&flusher->backoff, any_64_bits()));
        if (is_stopped(flusher)) {
            return;
        }
        enum quipu_status status = quipu_nats_reconnect(flusher->nats, &flusher->trouble);
        bool is_connected = status == QUIPU_OK;
        if (is_connected) {
            status = quipu_flusher_verify(flusher);
        }
        if (status == QUIPU_OK) {
            flusher->report.reconnects++;
            flusher->is_reconnecting = false;
            quipu_backoff_reset(&flusher->backoff);
            flusher->heard_us = quipu_monotonic_us();
            return;
        }
        /* A server that has just begun, or has no leader yet, says so of its streams. */
        bool is_passing = status == QUIPU_OFFLINE || status == QUIPU_TIMEOUT ||
                          (is_connected && status == QUIPU_SERVER);
        if (!is_passing || has_given_up(flusher)) {
            (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
            return;
        }
    }
}

/* Nothing at all has come for two deadlines: the other end may have vanished without a word. */
static bool is_silent(const struct flusher *flusher)
{
    return quipu_monotonic_us() - flusher->heard_us > 2 * flusher->nats->request_timeout_us;
}

/* Send, listen, and see to deadlines once. */
static void exchange(struct flusher *flusher)
{
    enum quipu_status status = quipu_flusher_send(flusher);
    if (status == QUIPU_OK) {
        int64_t wait = quipu_window_deadline(&flusher->window) - quipu_monotonic_us();
        wait = wait > LISTEN_US ? LISTEN_US : wait;
        status = quipu_flusher_receive(flusher, wait);
    }
    if (status == QUIPU_OFFLINE || (status == QUIPU_OK && is_silent(flusher))) {
        reconnect(flusher);
        return;
    }
    /* Only after all that has come is taken: an answer in our queue is not late. */
    if (!flusher->has_replies) {
        if (quipu_window_tick(&flusher->window, quipu_monotonic_us()) > 0) {
            quipu_pace_expired(&flusher->pace);
        }
    }
    if (status == QUIPU_OK && has_given_up(flusher) && !quipu_window_is_empty(&flusher->window)) {
        status = quipu_error_set(&flusher->trouble, QUIPU_TIMEOUT,
                                 "server %s has not answered for %" PRId64
                                 " s; what it has not acknowledged waits in the outbox",
                                 flusher->nats->server, patience_us(flusher) / US_PER_S);
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
    }
}

static void run(struct flusher *flusher)
{
    while ((flusher->status == QUIPU_OK || flusher->is_draining) && !is_stopped(flusher)) {
        if (quipu_window_is_empty(&flusher->window)) {
            flusher->heard_us = quipu_monotonic_us();
        }
        if (flusher->status == QUIPU_OK) {
            quipu_flusher_collect(flusher);
        }
        if (quipu_window_is_empty(&flusher->window)) {
            if (flusher->is_at_end || flusher->status != QUIPU_OK) {
                break;
            }
            continue;
        }
        exchange(flusher);
        quipu_flusher_settle(flusher);
        quipu_flusher_record(flusher, false);
        show_progress(flusher, false);
    }
    quipu_flusher_settle(flusher);
    quipu_flusher_verify_end(flusher);
    quipu_flusher_check_drops(flusher);
    quipu_flusher_record(flusher, true);
    show_progress(flusher, true);
}

/* ------------------------------------------------------------------ set-up */

static enum quipu_status options_complete(const struct quipu_flush_options *given,
                                          struct quipu_flush_options *out, struct quipu_error *err)
{
    struct quipu_flush_options known = QUIPU_FLUSH_OPTIONS_INIT;
    if (given != NULL) {
        if (given->size != sizeof known) {
            return quipu_error_set(err, QUIPU_MISUSE,
                                   "flush options of %zu bytes, this library knows %zu: start from "
                                   "QUIPU_FLUSH_OPTIONS_INIT",
                                   given->size, sizeof known);
        }
        known = *given;
    }
    if (known.window > WINDOW_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "a window of %" PRIu32 " events, 1 to %d are "
                               "allowed",
                               known.window, WINDOW_MAX);
    }
    if (known.dedup != QUIPU_DEDUP_SUBJECT && known.dedup != QUIPU_DEDUP_WINDOW) {
        return quipu_error_set(err, QUIPU_INVALID, "dedup %d is none of those that there are",
                               (int)known.dedup);
    }
    known.window = known.window == 0 ? WINDOW_DEFAULT : known.window;
    known.give_up_us = known.give_up_us <= 0 ? GIVE_UP_US : known.give_up_us;
    *out = known;
    return QUIPU_OK;
}

static enum quipu_status flusher_allocate(struct flusher *flusher, struct quipu_error *err)
{
    uint32_t window = flusher->options.window;
    flusher->slots = quipu_alloc_zero(window, sizeof *flusher->slots);
    flusher->items = quipu_alloc_zero(window, sizeof *flusher->items);
    flusher->burials = quipu_alloc_zero(window, sizeof *flusher->burials);
    flusher->acks = quipu_alloc_zero((size_t)window + FLUSH_RECORD_AT, sizeof *flusher->acks);
    if (flusher->slots == NULL || flusher->items == NULL || flusher->burials == NULL ||
        flusher->acks == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY,
                               "out of memory for a window of %" PRIu32 " events", window);
    }
    struct flush_window_setup setup = {.slots = flusher->slots,
                                       .capacity = window,
                                       .first_ticket = flusher->nats->next_token,
                                       .answer_us = flusher->nats->request_timeout_us,
                                       .looks = flusher_looks(flusher),
                                       .look_holds_us = flusher->stream.duplicates_us / 2};
    quipu_pace_begin(&flusher->pace);
    quipu_window_init(&flusher->window, &setup, quipu_monotonic_us());
    return QUIPU_OK;
}

static void flusher_release(struct flusher *flusher)
{
    for (uint32_t i = 0; flusher->items != NULL && i < flusher->options.window; i++) {
        quipu_buf_release(&flusher->items[i].envelope);
        quipu_buf_release(&flusher->items[i].payload);
        quipu_buf_release(&flusher->items[i].meta);
    }
    quipu_held_release(&flusher->held);
    quipu_free(flusher->items);
    quipu_free(flusher->slots);
    quipu_free(flusher->burials);
    quipu_free(flusher->acks);
    quipu_free(flusher);
}

/* The server and its streams, and what is pending. */
static enum quipu_status prepare(struct flusher *flusher, struct quipu_error *err)
{
    struct quipu_nats *nats = flusher->nats;
    enum quipu_status status = quipu_flusher_facts(flusher, err);
    if (status == QUIPU_OK) {
        flusher->server_bytes_max = natsConnection_GetMaxPayload(nats->connection);
        flusher->chunk_bytes_max =
            quipu_payload_chunk_max(flusher->server_bytes_max, flusher->bucket.message_bytes_max);
        status = quipu_receipts_for_flush(flusher->engine, nats->stream, &flusher->stream,
                                          flusher->options.restart, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_flusher_hold(flusher, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_held_load(&flusher->held, flusher->engine, err);
    }
    struct quipu_outbox_status outbox;
    if (status == QUIPU_OK) {
        status = quipu_outbox_status(flusher->engine, &outbox, err);
    }
    if (status == QUIPU_OK) {
        flusher->total = outbox.pending;
        flusher->recorded_us = quipu_monotonic_us();
    }
    return status;
}

static enum quipu_status flush(struct flusher *flusher, struct quipu_error *err)
{
    enum quipu_status status = prepare(flusher, err);
    if (status == QUIPU_OK) {
        status = flusher_allocate(flusher, err);
    }
    if (status != QUIPU_OK) {
        flusher->nats->facts.is_known = false;
        return status;
    }
    flusher->began_us = quipu_monotonic_us();
    run(flusher);
    flusher->report.ahead = flusher->window.ahead;
    flusher->report.took_us = quipu_monotonic_us() - flusher->began_us;
    flusher->nats->next_token = flusher->window.next;
    quipu_flusher_figures_end(flusher);
    quipu_flusher_facts_keep(flusher);
    if (flusher->status != QUIPU_OK && err != NULL) {
        *err = flusher->err;
    }
    return flusher->status;
}

enum quipu_status quipu_flush(struct quipu_engine *engine, struct quipu_nats *nats,
                              const struct quipu_flush_options *options,
                              struct quipu_flush_report *report, struct quipu_error *err)
{
    struct quipu_flush_options known;
    if (engine == NULL || nats == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE, "a flush needs an engine and a connection");
    }
    enum quipu_status status = options_complete(options, &known, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct flusher *flusher = quipu_alloc_zero(1, sizeof *flusher);
    if (flusher == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory starting a flush");
    }
    flusher->engine = engine;
    flusher->nats = nats;
    flusher->options = known;

    struct quipu_store_lock *lock = NULL;
    status = quipu_store_lock_take(quipu_engine_store(engine), FLUSHER_LOCK_NAME, &lock, err);
    if (status == QUIPU_OK) {
        status = flush(flusher, err);
        struct quipu_outbox_status outbox;
        if (quipu_outbox_status(engine, &outbox, NULL) == QUIPU_OK) {
            flusher->report.pending = outbox.pending;
        }
        quipu_store_lock_release(&lock);
    }
    if (report != NULL) {
        *report = flusher->report;
    }
    flusher_release(flusher);
    return status;
}
