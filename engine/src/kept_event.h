/*
 * Copies of events that somebody else decides on, in a buffer that moves while more are added: of
 * each text and block it is noted where it begins, and pointers are set once all are there.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_KEPT_EVENT_H
#define QUIPU_KEPT_EVENT_H

#include <string.h>

#include "quipu/buf.h"
#include "quipu/engine.h"

struct kept_event {
    struct quipu_event event; /* as it was given: its pointers are the giver's */
    size_t type_at;
    size_t aggregate_type_at;
    size_t aggregate_id_at;
    size_t payload_at;
    size_t meta_at;
};

/* Append a text with its NUL; nothing for NULL. Where it begins. */
static inline size_t kept_text_add(struct quipu_buf *bytes, const char *text)
{
    size_t at = bytes->len;
    if (text != NULL) {
        quipu_buf_append(bytes, text, strlen(text) + 1);
    }
    return at;
}

/* Where that text is now; NULL where `given` was. */
static inline const char *kept_text(const struct quipu_buf *bytes, const char *given, size_t at)
{
    return given == NULL ? NULL : (const char *)bytes->data + at;
}

static inline size_t kept_block_add(struct quipu_buf *bytes, struct quipu_slice block)
{
    size_t at = bytes->len;
    quipu_buf_append_slice(bytes, block);
    return at;
}

static inline void kept_event_add(struct quipu_buf *bytes, const struct quipu_event *event,
                                  struct kept_event *out)
{
    out->event = *event;
    out->type_at = kept_text_add(bytes, event->type);
    out->aggregate_type_at = kept_text_add(bytes, event->aggregate.type);
    out->aggregate_id_at = kept_text_add(bytes, event->aggregate.id);
    out->payload_at = kept_block_add(bytes, event->payload);
    out->meta_at = kept_block_add(bytes, event->meta);
}

/* The event, pointing into `bytes`. */
static inline struct quipu_event kept_event_get(const struct quipu_buf *bytes,
                                                const struct kept_event *kept)
{
    struct quipu_event event = kept->event;
    event.type = kept_text(bytes, event.type, kept->type_at);
    event.aggregate.type = kept_text(bytes, event.aggregate.type, kept->aggregate_type_at);
    event.aggregate.id = kept_text(bytes, event.aggregate.id, kept->aggregate_id_at);
    if (event.payload.len > 0) {
        event.payload.data = bytes->data + kept->payload_at;
    }
    if (event.meta.len > 0) {
        event.meta.data = bytes->data + kept->meta_at;
    }
    return event;
}

#endif
