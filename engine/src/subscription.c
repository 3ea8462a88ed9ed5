/*
 * A subscription reads ahead: it asks how long the log is, walks from where it stopped up to there,
 * and copies what its filter lets through until the buffer is full.
 *
 * Nothing is missed and nothing comes twice, because positions are gap-free and never move: the
 * only state at the seam between history and live is the position up to which the log was looked
 * at. The descriptor is cleared before the look, so that a commit that the look does not see makes
 * it readable after it, and made readable again where the look has left something to do.
 *
 * Keeps no transaction between calls. Never writes but its cursor.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine_impl.h"
#include "event_check.h"
#include "kept_event.h"
#include "quipu/alloc.h"
#include "subscription_impl.h"

/* Positions that one look goes over at most: it must not keep the host's loop. */
#define LOOK_POSITIONS_MAX        65536
#define ACKNOWLEDGE_EVERY_DEFAULT 64

/* ------------------------------------------------------------------ options */

static enum quipu_status options_check(const struct quipu_subscription_options *options,
                                       struct quipu_error *err)
{
    if (options->size != sizeof *options) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "subscription options: size %zu, expected %zu; start from "
                               "QUIPU_SUBSCRIPTION_OPTIONS_INIT",
                               options->size, sizeof *options);
    }
    if (options->aggregate_id != NULL && options->aggregate_type == NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "subscription: an aggregate_id needs an aggregate_type beside it");
    }
    enum quipu_status status =
        aggregate_wanted_check(options->aggregate_type, options->aggregate_id, err);
    const char *const *type = options->event_types;
    for (; status == QUIPU_OK && type != NULL && *type != NULL; type++) {
        status = event_type_wanted_check(*type, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    if (options->buffer_events > QUIPU_SUBSCRIPTION_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "subscription: a buffer of %" PRIu32 " events, at most %d",
                               options->buffer_events, QUIPU_SUBSCRIPTION_EVENTS_MAX);
    }
    if ((unsigned)options->start > QUIPU_START_NOW) {
        return quipu_error_set(err, QUIPU_MISUSE, "subscription: no such start: %d",
                               (int)options->start);
    }
    return options->name == NULL ? QUIPU_OK : subscription_name_check(options->name, err);
}

/* Have the options point to copies of what they point to. */
static enum quipu_status texts_copy(struct quipu_subscription *subscription)
{
    struct quipu_subscription_options *options = &subscription->options;
    const char *const *types = options->event_types;
    size_t count = 0;
    while (types != NULL && types[count] != NULL) {
        count++;
    }
    size_t aggregate_type_at = kept_text_add(&subscription->texts, options->aggregate_type);
    size_t aggregate_id_at = kept_text_add(&subscription->texts, options->aggregate_id);
    size_t types_at = subscription->texts.len;
    for (size_t i = 0; i < count; i++) {
        (void)kept_text_add(&subscription->texts, types[i]); /* they follow each other */
    }
    if (subscription->texts.status != QUIPU_OK) {
        return subscription->texts.status;
    }
    options->aggregate_type =
        kept_text(&subscription->texts, options->aggregate_type, aggregate_type_at);
    options->aggregate_id = kept_text(&subscription->texts, options->aggregate_id, aggregate_id_at);
    if (types == NULL) {
        return QUIPU_OK;
    }
    subscription->event_types = quipu_alloc(count + 1, sizeof *subscription->event_types);
    if (subscription->event_types == NULL) {
        return QUIPU_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        subscription->event_types[i] = (const char *)subscription->texts.data + types_at;
        types_at += strlen(subscription->event_types[i]) + 1;
    }
    subscription->event_types[count] = NULL;
    options->event_types = subscription->event_types;
    return QUIPU_OK;
}

static enum quipu_status options_take(struct quipu_subscription *subscription,
                                      const struct quipu_subscription_options *given,
                                      struct quipu_error *err)
{
    struct quipu_subscription_options *options = &subscription->options;
    *options = *given;
    if (options->buffer_events == 0) {
        options->buffer_events = QUIPU_SUBSCRIPTION_EVENTS_DEFAULT;
    }
    if (options->buffer_bytes == 0) {
        options->buffer_bytes = QUIPU_SUBSCRIPTION_BYTES_DEFAULT;
    }
    if (options->acknowledge_every == 0) {
        options->acknowledge_every = ACKNOWLEDGE_EVERY_DEFAULT;
    }
    if (given->name != NULL) {
        (void)snprintf(subscription->name, sizeof subscription->name, "%s", given->name); /* fits */
        options->name = subscription->name;
    }
    subscription->events = quipu_alloc(options->buffer_events, sizeof *subscription->events);
    if (subscription->events == NULL || texts_copy(subscription) != QUIPU_OK) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for a subscription");
    }
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ opening */

static enum quipu_status position_check(const struct quipu_subscription *subscription,
                                        enum quipu_status status, uint64_t position, uint64_t last,
                                        struct quipu_error *err)
{
    if (position <= last) {
        return QUIPU_OK;
    }
    return quipu_error_set(
        err, status,
        "subscription%s%s: it stands at position %" PRIu64 ", beyond the log's end, %" PRIu64,
        subscription->name[0] != 0 ? " " : "", subscription->name, position, last);
}

/* Where it begins without a cursor. */
static enum quipu_status start_position(const struct quipu_subscription *subscription,
                                        const struct quipu_txn *txn, uint64_t *out,
                                        struct quipu_error *err)
{
    uint64_t last = quipu_txn_last_position(txn);
    switch (subscription->options.start) {
    case QUIPU_START_NOW:
        *out = last;
        return QUIPU_OK;
    case QUIPU_START_AFTER:
        *out = subscription->options.after;
        return position_check(subscription, QUIPU_INVALID, *out, last, err);
    case QUIPU_START_AT_BEGINNING:
        break;
    }
    *out = 0;
    return QUIPU_OK;
}

/* The cursor of its name, made where there is none. */
static enum quipu_status cursor_open(struct quipu_subscription *subscription, uint64_t *out,
                                     struct quipu_error *err)
{
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_write(subscription->engine->store, &txn, err);
    if (status != QUIPU_OK) {
        return status;
    }
    status = subscription_cursor_get(txn, subscription->name, out, err);
    if (status == QUIPU_OK) {
        status =
            position_check(subscription, QUIPU_CORRUPT, *out, quipu_txn_last_position(txn), err);
    } else if (status == QUIPU_NOT_FOUND) {
        status = start_position(subscription, txn, out, err);
        if (status == QUIPU_OK) {
            status =
                subscription_cursor_put(subscription->engine, txn, subscription->name, *out, err);
        }
        if (status == QUIPU_OK) {
            status = quipu_txn_commit(&txn, err);
        }
    }
    quipu_txn_abort(&txn);
    return status;
}

static enum quipu_status position_open(struct quipu_subscription *subscription, uint64_t *out,
                                       struct quipu_error *err)
{
    struct quipu_engine *engine = subscription->engine;
    if (subscription->name[0] != 0) {
        enum quipu_status status =
            subscription_hold(engine, subscription->name, &subscription->lock, err);
        if (status == QUIPU_OK) {
            status = cursor_open(subscription, out, err);
        }
        if (status != QUIPU_OK) {
            quipu_store_lock_remove(&subscription->lock); /* there may be no such subscription */
        }
        return status;
    }
    struct quipu_txn *txn = NULL;
    enum quipu_status status = quipu_txn_begin_read(engine->store, &txn, err);
    if (status == QUIPU_OK) {
        status = start_position(subscription, txn, out, err);
    }
    quipu_txn_abort(&txn);
    return status;
}

enum quipu_status quipu_subscription_open(struct quipu_engine *engine,
                                          const struct quipu_subscription_options *options,
                                          struct quipu_subscription **out, struct quipu_error *err)
{
    static const struct quipu_subscription_options everything = QUIPU_SUBSCRIPTION_OPTIONS_INIT;
    const struct quipu_subscription_options *given = options == NULL ? &everything : options;
    if (engine == NULL || out == NULL) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "subscription: no engine, or nowhere to put the handle");
    }
    enum quipu_status status = options_check(given, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_subscription *subscription = quipu_alloc_zero(1, sizeof *subscription);
    if (subscription == NULL) {
        return quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory for a subscription");
    }
    subscription->engine = engine;
    uint64_t position = 0;
    status = options_take(subscription, given, err);
    if (status == QUIPU_OK) {
        status = quipu_watch_open(engine->store, &subscription->watch, err);
    }
    if (status == QUIPU_OK) {
        status = position_open(subscription, &position, err);
    }
    if (status != QUIPU_OK) {
        quipu_subscription_close(&subscription);
        return status;
    }
    subscription->looked = position;
    subscription->handed = position;
    subscription->cursor = position;
    quipu_watch_wake(subscription->watch); /* nobody has looked yet */
    *out = subscription;
    return QUIPU_OK;
}

void quipu_subscription_close(struct quipu_subscription **subscription_pointer)
{
    if (subscription_pointer == NULL || *subscription_pointer == NULL) {
        return;
    }
    struct quipu_subscription *subscription = *subscription_pointer;
    *subscription_pointer = NULL;
    quipu_watch_close(&subscription->watch);
    quipu_store_lock_release(&subscription->lock);
    quipu_buf_release(&subscription->bytes);
    quipu_buf_release(&subscription->texts);
    quipu_free(subscription->event_types);
    quipu_free(subscription->events);
    quipu_free(subscription);
}

int quipu_subscription_fd(const struct quipu_subscription *subscription)
{
    return quipu_watch_fd(subscription->watch);
}

enum quipu_status quipu_subscription_wait(struct quipu_subscription *subscription, int timeout_ms,
                                          struct quipu_error *err)
{
    return quipu_watch_wait(subscription->watch, timeout_ms, err);
}

/* ------------------------------------------------------------------ reading ahead */

static bool type_is_wanted(const struct quipu_subscription *subscription, struct quipu_slice type)
{
    const char *const *types = subscription->options.event_types;
    if (types == NULL) {
        return true;
    }
    for (size_t i = 0; types[i] != NULL; i++) {
        if (quipu_slice_equal(quipu_slice_text(types[i]), type)) {
            return true;
        }
    }
    return false;
}

/* Copy one event. @retval QUIPU_DONE  the buffer is full */
static enum quipu_status keep(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    struct quipu_subscription *subscription = ctx;
    const struct quipu_subscription_options *options = &subscription->options;
    if (!type_is_wanted(subscription, event->envelope.event_type)) {
        subscription->looked = event->position;
        return QUIPU_OK;
    }
    struct quipu_buf *bytes = &subscription->bytes;
    size_t more = event->envelope_block.len + event->payload.len;
    bool is_first = subscription->events_len == 0;
    if (!is_first &&
        (bytes->len >= options->buffer_bytes || more > options->buffer_bytes - bytes->len)) {
        subscription->is_full = true;
        return QUIPU_DONE;
    }
    subscription->events[subscription->events_len] = (struct subscription_event){
        .position = event->position,
        .cid = event->cid,
        .at = bytes->len,
        .envelope_len = event->envelope_block.len,
        .payload_len = event->payload.len,
    };
    quipu_buf_append_slice(bytes, event->envelope_block);
    quipu_buf_append_slice(bytes, event->payload);
    if (bytes->status != QUIPU_OK) {
        return quipu_error_set(err, bytes->status, "subscription: out of memory for %zu bytes",
                               more);
    }
    subscription->events_len++;
    subscription->looked = event->position;
    subscription->is_full = subscription->events_len == options->buffer_events;
    return subscription->is_full ? QUIPU_DONE : QUIPU_OK;
}

/* Walk on from where it stopped, up to `end`, or less. */
static enum quipu_status look(struct quipu_subscription *subscription, uint64_t end,
                              struct quipu_error *err)
{
    const struct quipu_subscription_options *options = &subscription->options;
    uint64_t until = end - subscription->looked > LOOK_POSITIONS_MAX
                         ? subscription->looked + LOOK_POSITIONS_MAX
                         : end;
    const char *const *types = options->event_types;
    bool has_one_type = types != NULL && types[0] != NULL && types[1] == NULL;
    struct quipu_filter filter = {
        .after = subscription->looked,
        .until = until,
        .aggregate_type = options->aggregate_type,
        .aggregate_id = options->aggregate_id,
        .event_type = has_one_type ? types[0] : NULL,
        .correlation_id = options->correlation_id,
    };
    enum quipu_status status =
        quipu_each_event(subscription->engine, &filter, keep, subscription, err);
    if (status != QUIPU_OK) {
        /* What was read before it is handed out first; then the failure comes again. */
        return subscription->events_len > 0 ? QUIPU_OK : status;
    }
    if (!subscription->is_full) {
        subscription->looked = until;
    }
    return QUIPU_OK;
}

enum quipu_status subscription_fill(struct quipu_subscription *subscription,
                                    struct quipu_error *err)
{
    if (subscription->events_next < subscription->events_len) {
        return QUIPU_OK;
    }
    subscription->events_len = 0;
    subscription->events_next = 0;
    subscription->is_full = false;
    if (subscription->bytes.cap / 2 > subscription->options.buffer_bytes) {
        quipu_buf_release(&subscription->bytes); /* an event above the bound was in there */
    }
    quipu_buf_reset(&subscription->bytes);
    quipu_watch_clear(subscription->watch);
    uint64_t end = 0;
    enum quipu_status status = engine_last_position(subscription->engine, &end, err);
    if (status == QUIPU_OK && end > subscription->looked) {
        status = look(subscription, end, err);
    }
    subscription->is_behind = status != QUIPU_OK || end > subscription->looked;
    if (subscription->is_behind || subscription->events_len > 0) {
        quipu_watch_wake(subscription->watch);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    return subscription->events_len > 0 ? QUIPU_OK : QUIPU_DONE;
}

/* ------------------------------------------------------------------ handing out */

enum quipu_status subscription_peek(struct quipu_subscription *subscription,
                                    struct quipu_event_view *out, struct quipu_error *err)
{
    const struct subscription_event *event = &subscription->events[subscription->events_next];
    const uint8_t *at = subscription->bytes.data + event->at;
    struct quipu_event_view view = {
        .position = event->position,
        .cid = event->cid,
        .envelope_block = quipu_slice(at, event->envelope_len),
        .payload = quipu_slice(at + event->envelope_len, event->payload_len),
    };
    enum quipu_status status = quipu_envelope_decode(view.envelope_block, &view.envelope, err);
    if (status == QUIPU_OK && subscription->options.upcast != NULL) {
        status = subscription->options.upcast(subscription->options.upcast_ctx, &view, err);
    }
    if (status != QUIPU_OK) {
        return quipu_error_wrap(err, status, "position %" PRIu64, event->position);
    }
    *out = view;
    return QUIPU_OK;
}

enum quipu_status quipu_subscription_next(struct quipu_subscription *subscription,
                                          struct quipu_event_view *event, struct quipu_error *err)
{
    enum quipu_status status = subscription_fill(subscription, err);
    if (status == QUIPU_OK) {
        status = subscription_peek(subscription, event, err);
    }
    if (status == QUIPU_OK) {
        subscription->handed = event->position;
        subscription->events_next++;
    }
    return status;
}
