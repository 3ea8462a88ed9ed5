/*
 * Inside of a service: its endpoints with their figures, a request that is carried out, and the
 * parts that the way of a request leads through: dispatch → request → handler → reply.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_SERVICE_IMPL_H
#define QUIPU_SERVICE_IMPL_H

#include <pthread.h>

#include "connection.h"
#include "quipu/buf.h"
#include "quipu/service.h"
#include "quipu/sha256.h"

#define SERVICE_SUBJECT_BYTES    512
#define SERVICE_ENDPOINTS_MAX    (QUIPU_SERVICE_COMMANDS_MAX + 2)
#define SERVICE_ID_BYTES         23
#define SERVICE_LAST_ERROR_BYTES 160

enum endpoint_kind { ENDPOINT_COMMAND, ENDPOINT_QUERY };

struct service_endpoint {
    enum endpoint_kind kind;
    char name[QUIPU_SERVICE_NAME_BYTES_MAX + 1];
    char subject[SERVICE_SUBJECT_BYTES];
    quipu_command_fn run;
    void *ctx;
    struct quipu_endpoint_report counts; /* guarded by the service's mutex, as is last_error */
    char last_error[SERVICE_LAST_ERROR_BYTES];
};

struct quipu_service {
    struct quipu_engine *engine;
    const struct quipu_log *log;
    struct quipu_clock clock;
    char name[QUIPU_SERVICE_NAME_BYTES_MAX + 1];
    char version[QUIPU_SERVICE_NAME_BYTES_MAX + 1];
    char description[QUIPU_SERVICE_DESCRIPTION_BYTES + 1];
    char prefix[NATS_NAME_BYTES_MAX + 8];
    char queue_group[QUIPU_SERVICE_NAME_BYTES_MAX + 1];
    char health_subject[SERVICE_SUBJECT_BYTES];
    char event_subjects[SERVICE_SUBJECT_BYTES]; /* what the event stream takes */
    char reply_prefixes[QUIPU_SERVICE_REPLY_PREFIXES_MAX][NATS_NAME_BYTES_MAX + 1];
    size_t reply_prefix_count;
    char id[SERVICE_ID_BYTES];
    int64_t started_unix_us;
    uint32_t workers;
    struct service_endpoint endpoints[SERVICE_ENDPOINTS_MAX];
    size_t endpoint_count;
    quipu_nats_state_fn on_state; /* the host's own */
    void *on_state_ctx;
    quipu_service_health_fn health;
    void *health_ctx;
    int stop_fd; /* readable once it shall end */
    int end_fd;  /* readable once all that will come is in the queue */

    pthread_mutex_t mutex; /* guards what is below, and the endpoints' figures */
    struct quipu_bridge *bridge;
    struct quipu_uuid last_uuid;
    uint64_t refused;
    bool is_verifying;
};

enum body_format { BODY_DAG_JSON, BODY_DAG_CBOR };

struct request_stamp {
    struct quipu_uuid event_id;
    struct quipu_buf meta;
};

struct quipu_request {
    struct quipu_service *service;
    struct service_endpoint *endpoint;
    struct quipu_message *message;
    enum body_format reply_format;
    struct quipu_buf body;              /* DAG-CBOR */
    const char *id;                     /* NULL: none was given */
    uint8_t digest[QUIPU_SHA256_BYTES]; /* of body */
    struct quipu_uuid correlation_id;
    struct quipu_uuid causation_id;
    struct quipu_slice traceparent; /* empty: none that is good */

    struct request_stamp *stamps;
    size_t stamp_count;
    size_t stamp_cap;
    struct quipu_appended *appended;
    size_t appended_count;
    bool has_appended;
    bool is_duplicate;
    struct quipu_buf result; /* an item, or empty */
    bool is_result_reply;
    char reply_subject[SERVICE_SUBJECT_BYTES]; /* empty: where the message says */
};

/* ------------------------------------------------------------------ a request (service_request.c)
 */

/* Read headers and body. @retval QUIPU_INVALID, QUIPU_JSON, QUIPU_DAGJSON, QUIPU_CBOR_*, … */
enum quipu_status quipu_request_read(struct quipu_request *request,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* Was a request of this id carried out before? Then `appended` is what came of it.
 * @retval QUIPU_NOT_FOUND  it was not. @retval QUIPU_EVENT_ID_CONFLICT  it had another body */
enum quipu_status quipu_request_recall(struct quipu_request *request,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;

void quipu_request_release(struct quipu_request *request);

/* ------------------------------------------------------------------ meta (service_meta.c) */

/* The event's meta with what the request adds. An empty `out` where there is nothing. */
enum quipu_status quipu_request_meta(const struct quipu_request *request, struct quipu_slice meta,
                                     struct quipu_buf *out,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* May a caller bring this meta? What a service finds under "request" it takes for its own word.
 * @retval QUIPU_INVALID  it has that key, or is malformed */
enum quipu_status quipu_request_meta_check(struct quipu_slice meta,
                                           struct quipu_error *err) QUIPU_MUST_CHECK;

/* What the meta of a stored event says about the request that it came of. */
enum request_origin {
    REQUEST_ORIGIN_OTHER,      /* none, or one of another id */
    REQUEST_ORIGIN_OTHER_BODY, /* one of this id */
    REQUEST_ORIGIN_SAME,
};
enum request_origin quipu_request_origin(const struct quipu_request *request,
                                         struct quipu_slice meta);

/* ------------------------------------------------------------------ replies (service_reply.c) */

/* Answer, with what was appended or with the failure, which also goes to the error subject. */
void quipu_request_answer(struct quipu_request *request, enum quipu_status status,
                          const struct quipu_error *failure);

/* Where the message asks for its reply; NULL, with a line in the log, where that may not be. */
const char *quipu_service_reply_subject(struct quipu_service *service,
                                        const struct quipu_message *message);

/* The short answer to a request that is not even looked at. Any thread. */
void quipu_service_refuse(struct quipu_service *service, struct quipu_message *message,
                          enum quipu_status status, const char *line);

/* Send JSON to where the message asks for it. */
void quipu_service_answer_json(struct quipu_service *service, const struct quipu_message *message,
                               struct quipu_slice json);

/* ------------------------------------------------------------------ reply subjects
 * (service_inbox.c) */

/* May anything be sent there at all? @retval QUIPU_INVALID  the server, the event stream or this
 * service takes it for a command */
enum quipu_status quipu_service_target_check(const struct quipu_service *service,
                                             const char *subject,
                                             struct quipu_error *err) QUIPU_MUST_CHECK;

/* May a requester choose it? @retval QUIPU_INVALID  as above, or it is no inbox */
enum quipu_status quipu_service_inbox_check(const struct quipu_service *service,
                                            const char *subject,
                                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* The prefixes among the options. Endpoints and subjects must be filled in.
 * @retval QUIPU_INVALID */
enum quipu_status quipu_service_inbox_setup(struct quipu_service *service,
                                            const struct quipu_service_options *options,
                                            struct quipu_error *err) QUIPU_MUST_CHECK;

/* ------------------------------------------------------------------ the rest */

/* Carry out a built-in command (service_append.c), a query (service_query.c). */
enum quipu_status quipu_service_append(void *ctx, struct quipu_request *request,
                                       struct quipu_error *err) QUIPU_MUST_CHECK;
enum quipu_status quipu_service_query(struct quipu_request *request,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

/* Answer if it is health or discovery (service_info.c). */
bool quipu_service_tell(struct quipu_service *service, struct quipu_message *message);

/* Options checked, names and endpoints filled in (service_setup.c). */
enum quipu_status quipu_service_setup(struct quipu_service *service,
                                      const struct quipu_service_options *options,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
