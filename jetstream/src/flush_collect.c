/*
 * From the outbox into the window: each event is hashed again, copied, and made into the texts of
 * its messages. A damaged one is never published. Sends nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "flusher.h"

/* What may be in flight, so that a flush of large payloads stays in bounded memory. One event is
 * always let in. */
#define IN_FLIGHT_BYTES_MAX ((size_t)16 << 20)
/* A buffer that has been longer than this is given back when its event is settled. */
#define KEEP_BYTES_MAX ((size_t)64 << 10)

struct collecting {
    struct flusher *flusher;
    uint32_t seen;
    bool is_full; /* stopped by us, not by the outbox's end */
    uint64_t last;
};

static enum quipu_status bury_later(struct flusher *flusher, const struct quipu_event_view *event,
                                    enum quipu_status reason, const char *line,
                                    struct quipu_error *err)
{
    struct flush_burial *burial = &flusher->burials[flusher->burial_count++];
    burial->position = event->position;
    burial->reason = reason;
    (void)snprintf(burial->line, sizeof burial->line, "%s", line);
    return quipu_held_add(&flusher->held, quipu_aggregate_key(&event->envelope), event->position,
                          err);
}

/* The message must fit into what the server and the stream take. */
static bool envelope_fits(const struct flusher *flusher, const struct flush_item *item,
                          char line[FLUSH_LINE_BYTES])
{
    struct nats_outgoing message;
    quipu_event_message(&item->texts, quipu_buf_slice(&item->envelope),
                        EVENT_MSG_ID | EVENT_EXPECT_NOTHING, &message);
    int64_t bytes = (int64_t)quipu_outgoing_bytes(&message);
    int64_t max = flusher->stream.message_bytes_max < flusher->server_bytes_max
                      ? flusher->stream.message_bytes_max
                      : flusher->server_bytes_max;
    if (bytes <= max) {
        return true;
    }
    (void)snprintf(line, FLUSH_LINE_BYTES,
                   "event %s is a message of %" PRId64 " bytes, the server takes %" PRId64
                   ": raise max_payload there (or the stream's max_msg_size) and retry",
                   item->texts.event_id, bytes, max);
    return false;
}

static enum quipu_status item_fill(struct flusher *flusher, const struct quipu_event_view *event,
                                   struct flush_item *item, struct quipu_error *err)
{
    item->payload_cid = event->envelope.payload;
    item->chunk_sequence = 0;
    item->has_meta_existed = false;
    item->stored_unix_us = 0;
    item->reason = QUIPU_OK;
    item->line[0] = 0;
    memset(item->marks, 0, sizeof item->marks);
    item->is_chained = event->payload.len > flusher->chunk_bytes_max;
    quipu_buf_reset(&item->envelope);
    quipu_buf_reset(&item->payload);
    quipu_buf_reset(&item->meta);

    enum quipu_status status =
        quipu_event_texts(flusher->nats->subject_template, event, &item->texts, err);
    if (status == QUIPU_OK) {
        status = quipu_payload_names(flusher->nats->bucket, &item->payload_cid, &item->names, err);
    }
    if (status == QUIPU_OK) {
        struct payload_object object = {item->names.cid, event->payload.len, 1};
        status = quipu_payload_meta(flusher->nats->bucket, &item->names, &item->payload_cid,
                                    &object, &item->meta, err);
    }
    quipu_buf_append_slice(&item->envelope, event->envelope_block);
    quipu_buf_append_slice(&item->payload, event->payload);
    if (status == QUIPU_OK &&
        (item->envelope.status != QUIPU_OK || item->payload.status != QUIPU_OK)) {
        status = quipu_error_set(err, QUIPU_NO_MEMORY, "out of memory collecting event %s",
                                 item->texts.event_id);
    }
    return status;
}

static enum quipu_status collect_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct collecting *collecting = ctx;
    struct flusher *flusher = collecting->flusher;
    collecting->seen++;
    collecting->last = event->position;

    char line[FLUSH_LINE_BYTES];
    uint64_t aggregate = quipu_aggregate_key(&event->envelope);
    uint64_t behind = quipu_held_behind(&flusher->held, aggregate, event->position);
    if (behind != 0) {
        quipu_flusher_held_line(&event->envelope, behind, line);
        return bury_later(flusher, event, QUIPU_GAP, line, err);
    }
    /* The ticket that comes next decides the item; nothing is admitted where filling fails. */
    struct flush_item *item = flusher_item(flusher, flusher->window.next);
    enum quipu_status status = item_fill(flusher, event, item, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!envelope_fits(flusher, item, line)) {
        return bury_later(flusher, event, QUIPU_TOO_LARGE, line, err);
    }
    (void)quipu_window_admit(&flusher->window, event->position, aggregate, quipu_monotonic_us());
    flusher->bytes_in_flight += item->envelope.len + item->payload.len;
    if (flusher->bytes_in_flight >= IN_FLIGHT_BYTES_MAX) {
        collecting->is_full = true;
        return QUIPU_DONE;
    }
    return QUIPU_OK;
}

static void bury_collected(struct flusher *flusher)
{
    for (size_t i = 0; i < flusher->burial_count && flusher->status == QUIPU_OK; i++) {
        const struct flush_burial *burial = &flusher->burials[i];
        enum quipu_status status =
            quipu_outbox_bury(flusher->engine, burial->position, burial->reason,
                              quipu_slice_text(burial->line), &flusher->trouble);
        if (status != QUIPU_OK) {
            (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
            break;
        }
        flusher->report.dead++;
        flusher->done++;
    }
    flusher->burial_count = 0;
}

void quipu_flusher_collect(struct flusher *flusher)
{
    uint32_t room = quipu_window_room(&flusher->window);
    /* Reading the outbox in small steps would cost a transaction per event. */
    bool is_worth_it = quipu_window_is_empty(&flusher->window) ||
                       (room >= (flusher->window.capacity + 7) / 8 && !flusher->is_at_end);
    if (!is_worth_it || flusher->is_draining || flusher->bytes_in_flight >= IN_FLIGHT_BYTES_MAX) {
        return;
    }
    struct collecting collecting = {.flusher = flusher, .last = flusher->after};
    uint64_t next = flusher->after;
    enum quipu_status status =
        quipu_outbox_each_pending(flusher->engine, flusher->after, room, collect_event, &collecting,
                                  &next, &flusher->trouble);
    flusher->after = collecting.is_full || next < collecting.last ? collecting.last : next;
    flusher->is_at_end = collecting.seen == 0;
    bury_collected(flusher);
    if (status != QUIPU_OK && flusher->status == QUIPU_OK) {
        /* What is in flight is still answered and recorded before this is reported. */
        (void)quipu_flusher_end(flusher, status); /* it is kept in flusher->status */
        flusher->is_draining = true;
    }
}

static void buf_done(struct quipu_buf *buf)
{
    if (buf->cap > KEEP_BYTES_MAX) {
        quipu_buf_release(buf);
    } else {
        quipu_buf_reset(buf);
    }
}

void quipu_flusher_item_done(struct flusher *flusher, uint64_t ticket)
{
    struct flush_item *item = flusher_item(flusher, ticket);
    flusher->bytes_in_flight -= item->envelope.len + item->payload.len;
    buf_done(&item->envelope);
    buf_done(&item->payload);
    buf_done(&item->meta);
}
