/*
 * An event as a message: its subject, its headers, its body.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_EVENT_MESSAGE_H
#define QUIPU_EVENT_MESSAGE_H

#include "connection.h"
#include "publish.h"
#include "quipu/clock.h"
#include "quipu/engine.h"
#include "service_trace.h"

#define EVENT_SUBJECT_BYTES                                                                        \
    (NATS_NAME_BYTES_MAX + QUIPU_AGGREGATE_TYPE_BYTES_MAX + QUIPU_EVENT_TYPE_BYTES_MAX +           \
     QUIPU_UUID_TEXT_BYTES + 4)

/* All text that an event's message consists of, beside its body. */
struct event_texts {
    char subject[EVENT_SUBJECT_BYTES];
    char event_id[QUIPU_UUID_TEXT_BYTES];
    char correlation_id[QUIPU_UUID_TEXT_BYTES];
    char causation_id[QUIPU_UUID_TEXT_BYTES]; /* empty: none */
    char event_type[QUIPU_EVENT_TYPE_BYTES_MAX + 1];
    char aggregate_id[QUIPU_AGGREGATE_ID_BYTES_MAX + 1];
    char timestamp[QUIPU_RFC3339_BYTES];
    char event_cid[QUIPU_CID_TEXT_BYTES];
    char payload_cid[QUIPU_CID_TEXT_BYTES];
    char traceparent[TRACEPARENT_LEN + 1]; /* of the event's meta; empty: none */
};

/* Fill in the texts; the template is one that quipu_subject_template_make made. @retval
 * QUIPU_INVALID  the event's types cannot be in a subject */
enum quipu_status quipu_event_texts(const char *subject_template,
                                    const struct quipu_event_view *event, struct event_texts *out,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

/* Is `subject` the one that this event has? False too where it cannot have one. */
bool quipu_event_is_subject(const char *subject_template, const struct quipu_envelope *envelope,
                            const char *subject);

/* What the message tells the server, so that it is not stored twice; bits. */
enum event_guard {
    EVENT_MSG_ID = 1,         /* Nats-Msg-Id */
    EVENT_EXPECT_NOTHING = 2, /* Nats-Expected-Last-Subject-Sequence: 0 */
};

/* The message; borrows from `texts` and `envelope`. `guards`: of enum event_guard. */
void quipu_event_message(const struct event_texts *texts, struct quipu_slice envelope,
                         unsigned guards, struct nats_outgoing *out);

#endif
