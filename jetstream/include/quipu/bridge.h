/*
 * A bridge between NATS and a host application's own loop, both ways: a descriptor to poll, a
 * bounded queue of what has come, and publishing that never waits. A thread of the bridge's own
 * connects, connects anew, subscribes and sends.
 *
 * Core NATS delivers at most once: a message that was in flight when a connection broke may be
 * lost. What must not be lost is appended as an event and flushed.
 *
 * Specification: docs/SPEC.md §10.7.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_BRIDGE_H
#define QUIPU_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/jetstream.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_BRIDGE_MESSAGES_MAX      65536
#define QUIPU_BRIDGE_BYTES_MAX         (1u << 30)
#define QUIPU_BRIDGE_SUBSCRIPTIONS_MAX 256

/* ------------------------------------------------------------------ messages */

/** A message that has come. Free it. */
struct quipu_message;

/** What it was sent to. Borrowed from the message, as is all of the below. */
QUIPU_API const char *quipu_message_subject(const struct quipu_message *message);
/** Where an answer is awaited; NULL: nowhere. */
QUIPU_API const char *quipu_message_reply(const struct quipu_message *message);
QUIPU_API struct quipu_slice quipu_message_body(const struct quipu_message *message);
/** First value of a header, NULL where there is none; names are told apart by case. One thread at a
 * time. */
QUIPU_API const char *quipu_message_header(struct quipu_message *message, const char *name);
/** NULL is fine. */
QUIPU_API void quipu_message_free(struct quipu_message *message);

struct quipu_header {
    const char *name;
    const char *value;
};

/** A message to send. All borrowed for the call. */
struct quipu_outgoing {
    const char *subject;
    const char *reply; /* NULL: none is awaited */
    const struct quipu_header *headers;
    size_t header_count;
    struct quipu_slice body;
};

/* ------------------------------------------------------------------ the bridge */

struct quipu_bridge_subscription {
    const char *subject; /* may have wildcards */
    const char *queue;   /* of a group only one member gets a message; NULL: everyone does */
};

/** Strings are copied. 0 or NULL: the default. */
struct quipu_bridge_options {
    size_t size;
    const struct quipu_nats_options *nats;
    const struct quipu_bridge_subscription *subscriptions;
    size_t subscription_count;
    /** What may wait to be taken, and to be sent: 1,024 messages and 16 MiB of each. */
    uint32_t received_max;
    size_t received_bytes_max;
    uint32_t outgoing_max;
    size_t outgoing_bytes_max;
    /**
     * Told of a message that found the queue full and is dropped, so that whoever sent it can be
     * answered. Borrowed for the call. From a thread of libnats: must return soon; may call
     * quipu_bridge_publish and nothing else of the bridge. NULL: dropped and counted.
     */
    void (*overflow)(void *ctx, struct quipu_message *message);
    void *ctx;
};

#define QUIPU_BRIDGE_OPTIONS_INIT                                                                  \
    {                                                                                              \
        .size = sizeof(struct quipu_bridge_options)                                                \
    }

struct quipu_bridge;

/**
 * Begin. Waits for nothing: the thread connects, and tries again for ever, with growing pauses.
 * @retval QUIPU_INVALID  a subject, a number or the url is malformed. @retval QUIPU_IO  no
 * descriptor or thread is to be had. @retval QUIPU_MISUSE, QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bridge_open(const struct quipu_bridge_options *options, struct quipu_bridge **out,
                  struct quipu_error *err);

/** For poll, select or epoll: readable (level) while messages wait. Never read from it. Borrowed
 * until close. */
QUIPU_API int quipu_bridge_fd(const struct quipu_bridge *bridge);

/** The oldest message that waits; the caller frees it. Never waits.
 * @retval QUIPU_DONE  none is there. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_bridge_next(struct quipu_bridge *bridge,
                                                               struct quipu_message **out);

/**
 * Queue a message. Never waits for the server: while there is none, messages stay in the queue.
 * They are sent in the order of the calls.
 * @retval QUIPU_BUSY     the queue is full; take it that nothing was queued
 * @retval QUIPU_INVALID  the subject has wildcards, or a header holds a line end
 * @retval QUIPU_NO_MEMORY, QUIPU_MISUSE
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bridge_publish(struct quipu_bridge *bridge, const struct quipu_outgoing *message,
                     struct quipu_error *err);

struct quipu_bridge_report {
    struct quipu_nats_report nats;
    uint64_t received; /* into the queue */
    uint64_t dropped;  /* it was full */
    uint64_t published;
    uint64_t refused; /* could not be sent: over the server's limit, or no permission */
    uint32_t waiting; /* to be taken */
    uint32_t unsent;
    uint64_t message_bytes_max; /* the server's, headers included; 0: not known yet */
};

/** @threads any */
QUIPU_API void quipu_bridge_report(struct quipu_bridge *bridge, struct quipu_bridge_report *out);

/**
 * Wait until the subscriptions stand at the server.
 * @param timeout_us  microseconds
 * @retval QUIPU_TIMEOUT  they do not; err says what is in the way. @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bridge_wait_ready(struct quipu_bridge *bridge, int64_t timeout_us, struct quipu_error *err);

/**
 * Take nothing more: give the subscriptions back, and wait until all that the server had sent by
 * then is in the queue; at once where there is no connection. Publishing goes on. For a clean end:
 * drain, take what waits, sync, close.
 * @retval QUIPU_TIMEOUT  the server does not answer. @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bridge_drain(struct quipu_bridge *bridge, int64_t timeout_us, struct quipu_error *err);

/**
 * Wait until the server has taken all that was queued before the call; at once where nothing waits,
 * with or without a server.
 * @retval QUIPU_TIMEOUT  it has not
 * @retval QUIPU_OFFLINE  the connection ended while we waited: what was sent last may be lost
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_bridge_sync(struct quipu_bridge *bridge, int64_t timeout_us, struct quipu_error *err);

/** End the thread, drop what waits in both queues, and set NULL. NULL is fine. */
QUIPU_API void quipu_bridge_close(struct quipu_bridge **bridge);

#ifdef __cplusplus
}
#endif

#endif
