/*
 * A service's options: checked, copied, and made into subjects and endpoints. Connects to nothing.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "nats_options.h"
#include "service_impl.h"
#include "subject.h"

#define WORKERS_DEFAULT 4
#define PREFIX_BEFORE   "svc."

static bool is_name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static enum quipu_status copy_name(const char *what, const char *name,
                                   char out[QUIPU_SERVICE_NAME_BYTES_MAX + 1],
                                   struct quipu_error *err)
{
    size_t len = strlen(name);
    bool is_good = len >= 1 && len <= QUIPU_SERVICE_NAME_BYTES_MAX;
    for (size_t i = 0; i < len && is_good; i++) {
        is_good = is_name_char(name[i]);
    }
    if (!is_good) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s \"%.80s\"; give 1 to %d letters, digits, '-' and '_'", what,
                               name, QUIPU_SERVICE_NAME_BYTES_MAX);
    }
    memcpy(out, name, len + 1);
    return QUIPU_OK;
}

/* One of the three numbers: digits without a zero in front. Advances. */
static bool take_number(const char **at)
{
    const char *from = *at;
    while (**at >= '0' && **at <= '9') {
        (*at)++;
    }
    return *at > from && (*from != '0' || *at == from + 1);
}

/* semver.org 2.0.0: three numbers, then "-" and "+" with dotted identifiers. */
static bool is_semver(const char *version)
{
    const char *at = version;
    for (int i = 0; i < 3; i++) {
        if (!take_number(&at) || (i < 2 && *at++ != '.')) {
            return false;
        }
    }
    if (*at != 0 && *at != '-' && *at != '+') {
        return false;
    }
    bool is_empty = false;
    for (; *at != 0; at++) {
        bool separates = *at == '.' || *at == '+' || (*at == '-' && is_empty);
        if (!separates && !is_name_char(*at)) {
            return false;
        }
        is_empty = *at == '.' || *at == '+';
    }
    return !is_empty && version[strlen(version) - 1] != '-';
}

static enum quipu_status copy_version(struct quipu_service *service, const char *version,
                                      struct quipu_error *err)
{
    if (strlen(version) >= sizeof service->version || !is_semver(version)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "service version \"%.80s\"; give one such as 1.4.0 (semver.org)",
                               version);
    }
    memcpy(service->version, version, strlen(version) + 1);
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ subjects */

/* A subject among those that the event stream takes gets its requests stored, and answered by the
 * stream. */
static enum quipu_status check_subject(const char *subject, const char *events,
                                       struct quipu_error *err)
{
    if (quipu_subjects_meet(subject, events)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "service subject \"%.200s\" lies among \"%s\", which the event "
                               "stream takes and answers; choose a prefix outside of it",
                               subject, events);
    }
    return QUIPU_OK;
}

/* What the events' subjects begin with is for the template to say. */
static enum quipu_status set_event_subjects(struct quipu_service *service,
                                            const struct quipu_nats_options *nats,
                                            const char *event_prefix, struct quipu_error *err)
{
    char made[SUBJECT_TEMPLATE_BYTES];
    char prefix[NATS_NAME_BYTES_MAX + 1];
    if (strlen(event_prefix) > NATS_NAME_BYTES_MAX || !quipu_subject_is_literal(event_prefix)) {
        return quipu_error_set(err, QUIPU_INVALID, "subject prefix \"%.100s\"", event_prefix);
    }
    const char *text = nats != NULL && nats->subject_template != NULL
                           ? nats->subject_template
                           : QUIPU_SUBJECT_TEMPLATE_DEFAULT;
    enum quipu_status status = quipu_subject_template_make(text, event_prefix, made, prefix, err);
    if (status == QUIPU_OK) {
        (void)snprintf(service->event_subjects, sizeof service->event_subjects, "%s.>", prefix);
    }
    return status;
}

static enum quipu_status set_prefix(struct quipu_service *service, const char *given,
                                    const char *event_prefix, struct quipu_error *err)
{
    char made[NATS_NAME_BYTES_MAX + sizeof PREFIX_BEFORE];
    (void)snprintf(made, sizeof made, PREFIX_BEFORE "%s", event_prefix);
    const char *prefix = given == NULL ? made : given;
    if (strlen(prefix) >= sizeof service->prefix || !quipu_subject_is_literal(prefix)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "service prefix \"%.100s\"; give tokens joined by dots, such as "
                               "\"%s\"",
                               prefix, made);
    }
    memcpy(service->prefix, prefix, strlen(prefix) + 1);
    return QUIPU_OK;
}

static enum quipu_status add_endpoint(struct quipu_service *service,
                                      const struct quipu_service_command *command,
                                      enum endpoint_kind kind, struct quipu_error *err)
{
    struct service_endpoint *endpoint = &service->endpoints[service->endpoint_count];
    enum quipu_status status = copy_name(kind == ENDPOINT_QUERY ? "endpoint" : "command",
                                         command->name, endpoint->name, err);
    if (status != QUIPU_OK) {
        return status;
    }
    int len = 0;
    if (command->subject != NULL) {
        len = snprintf(endpoint->subject, sizeof endpoint->subject, "%s", command->subject);
    } else if (kind == ENDPOINT_QUERY) {
        len = snprintf(endpoint->subject, sizeof endpoint->subject, "%s.query", service->prefix);
    } else {
        len = snprintf(endpoint->subject, sizeof endpoint->subject, "%s.cmd.%s", service->prefix,
                       command->name);
    }
    if (len < 0 || (size_t)len >= sizeof endpoint->subject) {
        return quipu_error_set(err, QUIPU_INVALID, "command %s: its subject is over %zu bytes",
                               command->name, sizeof endpoint->subject - 1);
    }
    for (size_t i = 0; i < service->endpoint_count; i++) {
        if (strcmp(service->endpoints[i].name, endpoint->name) == 0 ||
            quipu_subjects_meet(service->endpoints[i].subject, endpoint->subject)) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "command %s: its name or its subject %s is also that of %s",
                                   endpoint->name, endpoint->subject, service->endpoints[i].name);
        }
    }
    endpoint->kind = kind;
    endpoint->run = command->run;
    endpoint->ctx = command->ctx;
    endpoint->counts.name = endpoint->name;
    endpoint->counts.subject = endpoint->subject;
    service->endpoint_count++;
    return check_subject(endpoint->subject, service->event_subjects, err);
}

static enum quipu_status add_endpoints(struct quipu_service *service,
                                       const struct quipu_service_options *options,
                                       struct quipu_error *err)
{
    static const struct quipu_service_command query = {.name = "query"};
    static const struct quipu_service_command append = {.name = "append",
                                                        .run = quipu_service_append};
    enum quipu_status status = add_endpoint(service, &query, ENDPOINT_QUERY, err);
    if (status == QUIPU_OK && !options->has_no_append) {
        status = add_endpoint(service, &append, ENDPOINT_COMMAND, err);
    }
    if (status == QUIPU_OK && options->command_count > QUIPU_SERVICE_COMMANDS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%zu commands, up to %d are allowed",
                               options->command_count, QUIPU_SERVICE_COMMANDS_MAX);
    }
    for (size_t i = 0; i < options->command_count && status == QUIPU_OK; i++) {
        const struct quipu_service_command *command = &options->commands[i];
        if (command->name == NULL || command->run == NULL) {
            return quipu_error_set(err, QUIPU_MISUSE, "a command needs a name and a function");
        }
        status = add_endpoint(service, command, ENDPOINT_COMMAND, err);
    }
    return status;
}

/* ------------------------------------------------------------------ identity */

static enum quipu_status make_id(char out[SERVICE_ID_BYTES], struct quipu_error *err)
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    uint8_t bytes[SERVICE_ID_BYTES - 1];
    struct quipu_random random = quipu_random_system();
    enum quipu_status status = random.fill(random.ctx, bytes, sizeof bytes, err);
    for (size_t i = 0; i < sizeof bytes; i++) {
        out[i] = digits[bytes[i] % (sizeof digits - 1)];
    }
    out[sizeof bytes] = 0;
    return status;
}

enum quipu_status quipu_service_setup(struct quipu_service *service,
                                      const struct quipu_service_options *options,
                                      struct quipu_error *err)
{
    const char *event_prefix = options->nats != NULL && options->nats->subject_prefix != NULL
                                   ? options->nats->subject_prefix
                                   : QUIPU_SUBJECT_PREFIX_DEFAULT;
    const char *description = options->description == NULL ? "" : options->description;
    if (options->workers > QUIPU_SERVICE_WORKERS_MAX ||
        strlen(description) > QUIPU_SERVICE_DESCRIPTION_BYTES) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%" PRIu32 " workers, a description of %zu bytes; up to %d and %d "
                               "are allowed",
                               options->workers, strlen(description), QUIPU_SERVICE_WORKERS_MAX,
                               QUIPU_SERVICE_DESCRIPTION_BYTES);
    }
    memcpy(service->description, description, strlen(description) + 1);
    service->workers = options->workers == 0 ? WORKERS_DEFAULT : options->workers;
    service->health = options->health;
    service->health_ctx = options->health_ctx;
    enum quipu_status status = set_event_subjects(service, options->nats, event_prefix, err);
    if (status == QUIPU_OK) {
        status = copy_name("service", options->name == NULL ? "quipu" : options->name,
                           service->name, err);
    }
    if (status == QUIPU_OK) {
        status = copy_version(service, options->version == NULL ? "0.1.0" : options->version, err);
    }
    if (status == QUIPU_OK) {
        status = copy_name("queue group", options->queue_group == NULL ? "q" : options->queue_group,
                           service->queue_group, err);
    }
    if (status == QUIPU_OK) {
        status = set_prefix(service, options->prefix, event_prefix, err);
    }
    if (status == QUIPU_OK) {
        (void)snprintf(service->health_subject, sizeof service->health_subject, "health.%s",
                       service->name);
        status = check_subject(service->health_subject, service->event_subjects, err);
    }
    if (status == QUIPU_OK) {
        status = add_endpoints(service, options, err);
    }
    if (status == QUIPU_OK) {
        status = quipu_service_inbox_setup(service, options, err);
    }
    return status == QUIPU_OK ? make_id(service->id, err) : status;
}
