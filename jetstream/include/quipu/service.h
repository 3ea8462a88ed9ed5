/*
 * The service: commands that come as NATS requests become events, answered when they are durable;
 * queries; health; and discovery that the tools of NATS services understand (ADR-32).
 *
 * Subjects, where P is the service's prefix ("svc." and the connection's subject prefix):
 *
 *     P.cmd.<name>      a command, to one service of the queue group
 *     P.query           get, list, event, events, status (query.h), and verify
 *     P.errors.<name>   what failed, published for whoever watches
 *     health.<name>     how it is, as JSON
 *     $SRV.PING, $SRV.INFO, $SRV.STATS, and the same with .<name> and .<name>.<id>
 *
 * P lies outside of "<subject prefix>.>", which the event stream takes: a request there would be
 * stored as if it were an event, and answered by the stream before the service could.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SERVICE_H
#define QUIPU_SERVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/bridge.h"
#include "quipu/command.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/jetstream.h"
#include "quipu/log_line.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_SERVICE_COMMANDS_MAX       64
#define QUIPU_SERVICE_WORKERS_MAX        64
#define QUIPU_SERVICE_NAME_BYTES_MAX     64
#define QUIPU_REQUEST_ID_BYTES_MAX       128
#define QUIPU_REQUEST_EVENTS_MAX         1024
#define QUIPU_TRACEPARENT_BYTES          56 /* with its NUL */
#define QUIPU_SERVICE_DESCRIPTION_BYTES  200
#define QUIPU_SERVICE_REPLY_PREFIXES_MAX 16

/* ------------------------------------------------------------------ requests */

/** A command that is being carried out. Valid during the handler's call, for its thread. */
struct quipu_request;

QUIPU_API struct quipu_engine *quipu_request_engine(const struct quipu_request *request);
/** What it was sent to. */
QUIPU_API const char *quipu_request_subject(const struct quipu_request *request);
/** Its body as DAG-CBOR, checked, whatever form it came in; empty where there was none. */
QUIPU_API struct quipu_slice quipu_request_body(const struct quipu_request *request);
/** First value of a header; NULL: none. */
QUIPU_API const char *quipu_request_header(const struct quipu_request *request, const char *name);
/** nil: none was given. */
QUIPU_API struct quipu_uuid quipu_request_correlation_id(const struct quipu_request *request);

/**
 * Append events, all or none; the reply will say where they are. Once in a request: only so is
 * "everything or nothing" true of the request too. Each event gets from the request what it has not
 * of its own: its event_id (made from the request's id, the command's name and the event's number,
 * so that a repeated request gives the same; a new UUIDv7 where the request has no id),
 * correlation_id and causation_id, and in its meta the request's id and digest, and traceparent. An
 * event that brings an event_id gets nothing into its meta: it is the same whenever it comes.
 * @retval QUIPU_MISUSE     the request has appended already
 * @retval QUIPU_TOO_LARGE  more than QUIPU_REQUEST_EVENTS_MAX, or a meta
 * @retval QUIPU_INVALID    a meta holds "request" already; or both the request has an id and an
 * event. @retval QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, and as quipu_append_batch
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_request_append(struct quipu_request *request,
                                                                  const struct quipu_event *events,
                                                                  size_t count,
                                                                  struct quipu_error *err);

/**
 * The same by a decision (command.h): quipu_command_run with the request's correlation and
 * causation. Within `decide`, events are added by quipu_request_decide, as above.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_request_run(struct quipu_request *request,
                                                               const struct quipu_command *command,
                                                               struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_request_decide(struct quipu_request *request,
                                                                  struct quipu_decision *decision,
                                                                  const struct quipu_event *event,
                                                                  struct quipu_error *err);

/** Put one item of DAG-CBOR into the reply as "result". Copied; replaces an earlier one.
 * @retval QUIPU_CBOR_*, QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_request_result(struct quipu_request *request,
                                                                  struct quipu_slice item,
                                                                  struct quipu_error *err);
/** Have the result be the whole body of the reply, for protocols that have a form of their own. */
QUIPU_API void quipu_request_result_is_reply(struct quipu_request *request);
/** Send the reply to this subject instead of where the request asks for it. Copied.
 * @retval QUIPU_INVALID  malformed; or the server ("$…"), the event stream or this service takes it
 * for a command. @retval QUIPU_TOO_LARGE */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_request_reply_to(struct quipu_request *request, const char *subject, struct quipu_error *err);

/**
 * Carry out a command. What it returns is what the requester gets: QUIPU_OK, with the events that
 * were appended, or a failure with its line. Not called for a request whose id was carried out
 * before: that one is answered with what was stored then.
 * @threads several at once, unless the service has one worker
 */
typedef enum quipu_status (*quipu_command_fn)(void *ctx, struct quipu_request *request,
                                              struct quipu_error *err);

struct quipu_service_command {
    const char *name;    /* one token of [a-zA-Z0-9_-] */
    const char *subject; /* NULL: "P.cmd.<name>"; may have wildcards */
    quipu_command_fn run;
    void *ctx;
};

/* ------------------------------------------------------------------ the service */

/**
 * How is what runs beside the service, such as a flush? A status other than QUIPU_OK, with its
 * line, makes the service's health "degraded". Must return soon.
 * @threads several at once
 */
typedef enum quipu_status (*quipu_service_health_fn)(void *ctx, struct quipu_error *err);

/** All copied but `commands[].ctx`, `health_ctx`, `engine` and `log`, which must stay. 0 or NULL:
 * the default. */
struct quipu_service_options {
    size_t size;
    const struct quipu_nats_options *nats;
    const char *name;        /* [a-zA-Z0-9_-]+; "quipu" */
    const char *version;     /* of semver; "0.1.0" */
    const char *description; /* "" */
    const char *prefix;      /* P; "svc." and the subject prefix of `nats` */
    const char *queue_group; /* "q" */
    const struct quipu_service_command *commands;
    size_t command_count;
    /** Leave the built-in command "append" out. */
    bool has_no_append;
    /** Requests that are carried out at the same time; their appends share commits. 4 */
    uint32_t workers;
    /** Requests that may wait; more are refused at once, as QUIPU_BUSY. 1,024 */
    uint32_t waiting_max;
    const struct quipu_log *log; /* NULL: none */
    /**
     * Prefixes of subjects that replies may go to beside "_INBOX.": of requesters that use inboxes
     * of their own. A request that names any other subject for its reply is not carried out,
     * because the service would send there with rights that the requester may not have.
     */
    const char *const *reply_prefixes;
    size_t reply_prefix_count;
    quipu_service_health_fn health;
    void *health_ctx;
};

#define QUIPU_SERVICE_OPTIONS_INIT                                                                 \
    {                                                                                              \
        .size = sizeof(struct quipu_service_options)                                               \
    }

struct quipu_service;

/**
 * @param engine  borrowed until close
 * @retval QUIPU_INVALID  a name, a subject or a number is malformed; a subject lies among those
 * that the event stream takes. @retval QUIPU_MISUSE, QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, QUIPU_IO
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_service_open(struct quipu_engine *engine, const struct quipu_service_options *options,
                   struct quipu_service **out, struct quipu_error *err);

/**
 * Serve until quipu_service_stop. Then: take nothing more, carry out what has come, send the
 * replies. A server that is away is waited for; while it is, nothing is lost but the replies that
 * were under way, and who repeats a request by its id gets them. Stopped while there is no
 * connection, and with no reply to send, it ends at once.
 * @retval QUIPU_OK       it was stopped, and all that had come is answered
 * @retval QUIPU_TIMEOUT  it was stopped, and within 5 s the server did not give up its
 * subscriptions, or within 5 s more did not take the last replies
 * @retval QUIPU_OFFLINE  it was stopped, and the connection ended under the last replies
 * @retval QUIPU_IO
 * @threads one; it starts the other workers
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_service_run(struct quipu_service *service,
                                                               struct quipu_error *err);

/** Have the run end cleanly; one that has not begun ends at once. @threads any; also from a signal
 * handler. NULL is fine. */
QUIPU_API void quipu_service_stop(struct quipu_service *service);

/** Close and set NULL, when no run is under way. NULL is fine. */
QUIPU_API void quipu_service_close(struct quipu_service **service);

/** The service's id, 22 characters. Borrowed until close. */
QUIPU_API const char *quipu_service_id(const struct quipu_service *service);

/** One endpoint: a command, or "query". */
struct quipu_endpoint_report {
    const char *name; /* borrowed until close, as is subject */
    const char *subject;
    uint64_t requests;
    uint64_t errors;
    uint64_t duplicates; /* repeated requests that were answered from the store */
    uint64_t took_us;    /* microseconds, all requests together */
};

struct quipu_service_report {
    struct quipu_bridge_report bridge;
    uint64_t requests;
    uint64_t errors;
    uint64_t duplicates;
    uint64_t refused; /* too many waited */
    size_t endpoint_count;
    struct quipu_endpoint_report endpoints[QUIPU_SERVICE_COMMANDS_MAX + 2];
};

/** @threads any, until close */
QUIPU_API void quipu_service_report(struct quipu_service *service,
                                    struct quipu_service_report *out);

/** Wait until the subscriptions stand. @retval QUIPU_TIMEOUT. @threads any */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_service_wait_ready(struct quipu_service *service,
                                                                      int64_t timeout_us,
                                                                      struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
