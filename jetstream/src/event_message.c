/*
 * Text of an event's message. Pure: no I/O, no memory.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "event_message.h"

#include <stdio.h>
#include <string.h>

#include "nats_options.h"

static void copy_text(struct quipu_slice from, char *out, size_t cap)
{
    size_t len = from.len < cap ? from.len : cap - 1;
    if (len > 0) {
        memcpy(out, from.data, len);
    }
    out[len] = 0;
}

enum quipu_status quipu_event_texts(const char *subject_template,
                                    const struct quipu_event_view *event, struct event_texts *out,
                                    struct quipu_error *err)
{
    const struct quipu_envelope *envelope = &event->envelope;
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
    copy_text(envelope->aggregate_type, aggregate_type, sizeof aggregate_type);
    copy_text(envelope->event_type, out->event_type, sizeof out->event_type);
    copy_text(envelope->aggregate_id, out->aggregate_id, sizeof out->aggregate_id);
    quipu_uuid_format(envelope->event_id, out->event_id);
    quipu_uuid_format(envelope->correlation_id, out->correlation_id);
    out->causation_id[0] = 0;
    if (!quipu_uuid_is_nil(envelope->causation_id)) {
        quipu_uuid_format(envelope->causation_id, out->causation_id);
    }
    quipu_rfc3339_format(envelope->occurred_unix_us, out->timestamp);
    quipu_cid_format(&event->cid, out->event_cid);
    quipu_cid_format(&envelope->payload, out->payload_cid);
    copy_text(quipu_traceparent_of_meta(envelope->meta), out->traceparent, sizeof out->traceparent);
    const struct subject_values values = {aggregate_type, out->event_type, out->event_id};
    quipu_subject_template_fill(subject_template, &values, out->subject, sizeof out->subject);
    if (!quipu_subject_is_literal(out->subject)) {
        return quipu_error_set(err, QUIPU_INVALID, "event %s cannot have the subject %s",
                               out->event_id, out->subject);
    }
    return QUIPU_OK;
}

bool quipu_event_is_subject(const char *subject_template, const struct quipu_envelope *envelope,
                            const char *subject)
{
    char aggregate_type[QUIPU_AGGREGATE_TYPE_BYTES_MAX + 1];
    char event_type[QUIPU_EVENT_TYPE_BYTES_MAX + 1];
    char event_id[QUIPU_UUID_TEXT_BYTES];
    char own[EVENT_SUBJECT_BYTES];
    copy_text(envelope->aggregate_type, aggregate_type, sizeof aggregate_type);
    copy_text(envelope->event_type, event_type, sizeof event_type);
    quipu_uuid_format(envelope->event_id, event_id);
    const struct subject_values values = {aggregate_type, event_type, event_id};
    quipu_subject_template_fill(subject_template, &values, own, sizeof own);
    return strcmp(own, subject) == 0;
}

void quipu_event_message(const struct event_texts *texts, struct quipu_slice envelope,
                         unsigned guards, struct nats_outgoing *out)
{
    memset(out, 0, sizeof *out);
    out->subject = texts->subject;
    out->body = envelope;
    if ((guards & EVENT_MSG_ID) != 0) {
        quipu_outgoing_add(out, "Nats-Msg-Id", texts->event_id);
    }
    if ((guards & EVENT_EXPECT_NOTHING) != 0) {
        quipu_outgoing_add(out, "Nats-Expected-Last-Subject-Sequence", "0");
    }
    quipu_outgoing_add(out, "X-Event-ID", texts->event_id);
    quipu_outgoing_add(out, "X-Correlation-ID", texts->correlation_id);
    if (texts->causation_id[0] != 0) {
        quipu_outgoing_add(out, "X-Causation-ID", texts->causation_id);
    }
    quipu_outgoing_add(out, "X-Event-Type", texts->event_type);
    quipu_outgoing_add(out, "X-Aggregate-ID", texts->aggregate_id);
    quipu_outgoing_add(out, "X-Timestamp", texts->timestamp);
    quipu_outgoing_add(out, "X-Event-CID", texts->event_cid);
    quipu_outgoing_add(out, "X-Payload-CID", texts->payload_cid);
    if (texts->traceparent[0] != 0) {
        quipu_outgoing_add(out, "traceparent", texts->traceparent);
    }
}
