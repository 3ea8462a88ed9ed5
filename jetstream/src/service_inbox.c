/*
 * Where a reply may go. A requester names that subject, and the service sends to it with rights of
 * its own, which may be far more than the requester's: so a request must not be able to choose one
 * that the server, the event stream or the service itself takes for a command.
 *
 * Specification: docs/SPEC.md §10.8.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <string.h>

#include "nats_options.h"
#include "service_impl.h"
#include "subject.h"

#define INBOX   "_INBOX."
#define IMPORT  "_R_."  /* made by the server for a request from another account */
#define GATEWAY "_GR_." /* the same for one from another cluster: two tokens, then its subject */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* Is `subject` the prefix itself, or below it? */
static bool is_under(const char *subject, const char *prefix)
{
    size_t len = strlen(prefix);
    return strncmp(subject, prefix, len) == 0 && (subject[len] == 0 || subject[len] == '.');
}

/* What a server of another cluster delivers it to. */
static const char *behind_gateway(const char *subject)
{
    if (!begins(subject, GATEWAY)) {
        return subject;
    }
    const char *at = subject + sizeof GATEWAY - 1;
    for (int i = 0; i < 2 && at != NULL; i++) {
        at = strchr(at, '.');
        at = at == NULL ? NULL : at + 1;
    }
    return at == NULL ? "" : at;
}

/* What takes it for something else than a reply; NULL: nothing that we know of. */
static const char *taken_by(const struct quipu_service *service, const char *subject)
{
    if (subject[0] == '$' || begins(subject, "_SYS.")) {
        return "the server";
    }
    if (quipu_subjects_meet(service->event_subjects, subject)) {
        return "the event stream";
    }
    if (is_under(subject, service->prefix) ||
        quipu_subjects_meet(service->health_subject, subject)) {
        return "this service";
    }
    for (size_t i = 0; i < service->endpoint_count; i++) {
        if (quipu_subjects_meet(service->endpoints[i].subject, subject)) {
            return "this service";
        }
    }
    return NULL;
}

enum quipu_status quipu_service_target_check(const struct quipu_service *service,
                                             const char *subject, struct quipu_error *err)
{
    const char *target = behind_gateway(subject);
    if (!quipu_subject_is_literal(target)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "reply subject \"%.100s\"; give tokens joined by dots", subject);
    }
    const char *taker = taken_by(service, target);
    if (taker != NULL) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "reply subject \"%.100s\" is taken by %s; give an inbox such as "
                               "\"_INBOX.x\"",
                               subject, taker);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_service_inbox_check(const struct quipu_service *service,
                                            const char *subject, struct quipu_error *err)
{
    enum quipu_status status = quipu_service_target_check(service, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *target = behind_gateway(subject);
    bool is_inbox = begins(target, INBOX) || begins(target, IMPORT);
    for (size_t i = 0; i < service->reply_prefix_count && !is_inbox; i++) {
        is_inbox = is_under(target, service->reply_prefixes[i]);
    }
    return is_inbox ? QUIPU_OK
                    : quipu_error_set(err, QUIPU_INVALID,
                                      "reply subject \"%.100s\" is no inbox; give one under "
                                      "\"_INBOX.\", or have this service allow its prefix",
                                      subject);
}

enum quipu_status quipu_service_inbox_setup(struct quipu_service *service,
                                            const struct quipu_service_options *options,
                                            struct quipu_error *err)
{
    if (options->reply_prefix_count > QUIPU_SERVICE_REPLY_PREFIXES_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%zu reply prefixes, up to %d are allowed",
                               options->reply_prefix_count, QUIPU_SERVICE_REPLY_PREFIXES_MAX);
    }
    for (size_t i = 0; i < options->reply_prefix_count; i++) {
        const char *given = options->reply_prefixes[i] == NULL ? "" : options->reply_prefixes[i];
        char all[SERVICE_SUBJECT_BYTES];
        size_t len = strlen(given);
        if (len > NATS_NAME_BYTES_MAX || !quipu_subject_is_literal(given)) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "reply prefix \"%.100s\"; give tokens joined by dots, such as "
                                   "\"_INBOX_keys\"",
                                   given);
        }
        memcpy(all, given, len);
        memcpy(all + len, ".>", 3);
        const char *taker = taken_by(service, given);
        taker = taker != NULL ? taker : taken_by(service, all);
        if (taker != NULL || is_under(service->prefix, given)) {
            return quipu_error_set(err, QUIPU_INVALID,
                                   "reply prefix \"%.100s\" holds subjects that %s takes; choose "
                                   "one beside them",
                                   given, taker != NULL ? taker : "this service");
        }
        memcpy(service->reply_prefixes[service->reply_prefix_count++], given, len + 1);
    }
    return QUIPU_OK;
}
