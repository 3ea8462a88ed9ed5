/*
 * Makes the event stream and the object-store bucket where they are missing, and says how what is
 * there differs from what it would have made. Never changes and never deletes anything.
 *
 * Specification: docs/SPEC.md §10.1 (stream), §10.2 (bucket; NATS ADR-20).
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "connection.h"
#include "nats_status.h"
#include "streams.h"

#define NS_PER_US            1000
#define REPLICAS_MAX         5
#define AGE_US_MIN           100000
#define NS_PER_S             1000000000.0
#define DUPLICATE_WINDOW_NS  ((int64_t)120 * 1000 * 1000 * 1000)
#define SUBJECT_BYTES        (NATS_NAME_BYTES_MAX + 16)
#define STREAM_SUBJECTS_MAX  2
#define DUPLICATE_WINDOW_ANY 0

/* What one stream should be, in few words. */
struct wanted_stream {
    const char *name;
    const char *description;
    char subjects[STREAM_SUBJECTS_MAX][SUBJECT_BYTES];
    int subject_count;
    int64_t replicas;
    jsStorageType storage;
    int64_t max_age_ns;          /* 0: none */
    int64_t max_msgs;            /* -1: none */
    int64_t max_bytes;           /* -1: none */
    int64_t duplicate_window_ns; /* DUPLICATE_WINDOW_ANY: the server's default, not compared */
    bool allows_rollup;
};

static jsStorageType storage_of(const struct quipu_provision_options *options)
{
    return options->storage == QUIPU_STREAM_MEMORY ? js_MemoryStorage : js_FileStorage;
}

static int64_t limit_of(uint64_t given)
{
    return given == 0 ? -1 : (int64_t)given;
}

static struct wanted_stream wanted_events(const struct quipu_nats *nats,
                                          const struct quipu_provision_options *options)
{
    struct wanted_stream wanted = {.name = nats->stream,
                                   .description = "quipu: events (envelopes)",
                                   .subject_count = 1,
                                   .replicas = options->replicas == 0 ? 1 : options->replicas,
                                   .storage = storage_of(options),
                                   .max_age_ns = options->max_age_us * NS_PER_US,
                                   .max_msgs = limit_of(options->max_events),
                                   .max_bytes = limit_of(options->max_bytes),
                                   .duplicate_window_ns = DUPLICATE_WINDOW_NS};
    if (options->duplicate_window_us > 0) {
        wanted.duplicate_window_ns = options->duplicate_window_us * NS_PER_US;
    } else if (wanted.max_age_ns > 0 && wanted.max_age_ns < DUPLICATE_WINDOW_NS) {
        wanted.duplicate_window_ns = wanted.max_age_ns; /* the server allows no more */
    }
    (void)snprintf(wanted.subjects[0], SUBJECT_BYTES, "%s.>", nats->subject_prefix);
    return wanted;
}

static struct wanted_stream wanted_bucket(const struct quipu_nats *nats,
                                          const struct quipu_provision_options *options)
{
    struct wanted_stream wanted = {.name = nats->bucket_stream,
                                   .description = "quipu: payloads, by CID",
                                   .subject_count = 2,
                                   .storage = storage_of(options),
                                   .max_msgs = -1,
                                   .max_bytes = -1,
                                   .replicas = options->replicas == 0 ? 1 : options->replicas,
                                   .duplicate_window_ns = DUPLICATE_WINDOW_ANY,
                                   .allows_rollup = true};
    (void)snprintf(wanted.subjects[0], SUBJECT_BYTES, "$O.%s.C.>", nats->bucket);
    (void)snprintf(wanted.subjects[1], SUBJECT_BYTES, "$O.%s.M.>", nats->bucket);
    return wanted;
}

/* ------------------------------------------------------------------ drift */

static void drift_number(struct quipu_buf *drift, const char *stream, const char *field,
                         int64_t found, int64_t wanted)
{
    if (found != wanted) {
        quipu_buf_printf(drift,
                         "stream %s: %s is %" PRId64 ", quipu would have made it %" PRId64 "\n",
                         stream, field, found, wanted);
    }
}

static void drift_seconds(struct quipu_buf *drift, const char *stream, const char *field,
                          int64_t found_ns, int64_t wanted_ns)
{
    if (found_ns != wanted_ns) {
        quipu_buf_printf(drift, "stream %s: %s is %g s, quipu would have made it %g s\n", stream,
                         field, (double)found_ns / NS_PER_S, (double)wanted_ns / NS_PER_S);
    }
}

static void drift_word(struct quipu_buf *drift, const char *stream, const char *field,
                       const char *found, const char *wanted)
{
    if (strcmp(found, wanted) != 0) {
        quipu_buf_printf(drift, "stream %s: %s is %s, quipu would have made it %s\n", stream, field,
                         found, wanted);
    }
}

static const char *yes_no(bool value)
{
    return value ? "yes" : "no";
}

static const char *retention_name(jsRetentionPolicy policy)
{
    switch (policy) {
    case js_LimitsPolicy:
        return "limits";
    case js_InterestPolicy:
        return "interest";
    case js_WorkQueuePolicy:
        return "work queue";
    }
    return "unknown";
}

static const char *storage_name(jsStorageType storage)
{
    return storage == js_FileStorage ? "file" : "memory";
}

static bool has_subject(const jsStreamConfig *config, const char *subject)
{
    for (int i = 0; i < config->SubjectsLen; i++) {
        if (strcmp(config->Subjects[i], subject) == 0) {
            return true;
        }
    }
    return false;
}

static void drift_subjects(struct quipu_buf *drift, const struct wanted_stream *wanted,
                           const jsStreamConfig *config)
{
    for (int i = 0; i < wanted->subject_count; i++) {
        if (!has_subject(config, wanted->subjects[i])) {
            quipu_buf_printf(drift, "stream %s: subject %s is missing\n", wanted->name,
                             wanted->subjects[i]);
        }
    }
    for (int i = 0; i < config->SubjectsLen; i++) {
        bool is_wanted = false;
        for (int j = 0; j < wanted->subject_count; j++) {
            is_wanted = is_wanted || strcmp(config->Subjects[i], wanted->subjects[j]) == 0;
        }
        if (!is_wanted) {
            quipu_buf_printf(drift, "stream %s: subject %s is more than quipu would have made\n",
                             wanted->name, config->Subjects[i]);
        }
    }
}

static void drift_collect(struct quipu_buf *drift, const struct wanted_stream *wanted,
                          const jsStreamConfig *config)
{
    const char *name = wanted->name;
    drift_subjects(drift, wanted, config);
    drift_word(drift, name, "retention", retention_name(config->Retention), "limits");
    drift_word(drift, name, "storage", storage_name(config->Storage),
               storage_name(wanted->storage));
    drift_word(drift, name, "discard", config->Discard == js_DiscardNew ? "new" : "old", "new");
    drift_seconds(drift, name, "max_age", config->MaxAge, wanted->max_age_ns);
    drift_number(drift, name, "max_msgs", config->MaxMsgs, wanted->max_msgs);
    drift_number(drift, name, "max_bytes", config->MaxBytes, wanted->max_bytes);
    drift_number(drift, name, "max_msgs_per_subject", config->MaxMsgsPerSubject, -1);
    drift_number(drift, name, "max_msg_size", config->MaxMsgSize, -1);
    drift_number(drift, name, "num_replicas", config->Replicas, wanted->replicas);
    if (wanted->duplicate_window_ns != DUPLICATE_WINDOW_ANY) {
        drift_seconds(drift, name, "duplicate_window", config->Duplicates,
                      wanted->duplicate_window_ns);
    }
    drift_word(drift, name, "allow_direct", yes_no(config->AllowDirect), "yes");
    drift_word(drift, name, "allow_rollup_hdrs", yes_no(config->AllowRollup),
               yes_no(wanted->allows_rollup));
    drift_word(drift, name, "no_ack", yes_no(config->NoAck), "no");
    drift_word(drift, name, "sealed", yes_no(config->Sealed), "no");
    drift_word(drift, name, "mirror or sources",
               yes_no(config->Mirror != NULL || config->SourcesLen > 0), "no");
}

/* ------------------------------------------------------------------ making */

static enum quipu_status stream_create(struct quipu_nats *nats, const struct wanted_stream *wanted,
                                       jsStreamInfo **out, bool *was_created,
                                       struct quipu_error *err)
{
    char request[NATS_STREAM_BYTES_MAX + 32];
    (void)snprintf(request, sizeof request, "$JS.API.STREAM.CREATE.%s", wanted->name);
    enum quipu_status status = quipu_nats_may_publish(nats, request, err);
    if (status != QUIPU_OK) {
        return status;
    }
    jsStreamConfig config;
    const char *subjects[STREAM_SUBJECTS_MAX] = {wanted->subjects[0], wanted->subjects[1]};
    natsStatus s = jsStreamConfig_Init(&config);
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "making stream %s", wanted->name);
    }
    config.Name = wanted->name;
    config.Description = wanted->description;
    config.Subjects = subjects;
    config.SubjectsLen = wanted->subject_count;
    config.Retention = js_LimitsPolicy;
    config.Discard = js_DiscardNew;
    config.Storage = wanted->storage;
    config.MaxAge = wanted->max_age_ns;
    config.MaxMsgs = wanted->max_msgs;
    config.MaxBytes = wanted->max_bytes;
    config.Replicas = wanted->replicas;
    config.Duplicates = wanted->duplicate_window_ns;
    config.AllowDirect = true;
    config.AllowRollup = wanted->allows_rollup;

    jsErrCode number = 0;
    s = js_AddStream(out, nats->js, &config, NULL, &number);
    if (s == NATS_OK) {
        *was_created = true;
        return QUIPU_OK;
    }
    if (number == JSStreamNameExistErr) { /* somebody was faster */
        return quipu_stream_info(nats, wanted->name, out, err);
    }
    if (number == JSStreamSubjectOverlapErr) {
        return quipu_error_set(err, QUIPU_SERVER,
                               "another stream at %s takes subjects of %s; give another subject "
                               "prefix or bucket, or remove that stream",
                               nats->server, wanted->subjects[0]);
    }
    return quipu_js_failure(nats, s, (int)number, "making stream", wanted->name, err);
}

struct ensured {
    bool was_created;
    uint64_t messages;
    struct quipu_buf *drift;
    struct quipu_buf *notes;
};

static enum quipu_status stream_ensure(struct quipu_nats *nats, const struct wanted_stream *wanted,
                                       struct ensured *out, struct quipu_error *err)
{
    jsStreamInfo *info = NULL;
    enum quipu_status status = quipu_stream_info(nats, wanted->name, &info, err);
    if (status == QUIPU_NOT_PROVISIONED) {
        status = stream_create(nats, wanted, &info, &out->was_created, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    out->messages = info->State.Msgs;
    drift_collect(out->drift, wanted, info->Config);
    quipu_provision_notes(info, !wanted->allows_rollup, out->notes);
    jsStreamInfo_Destroy(info);
    return QUIPU_OK;
}

static enum quipu_status options_check(const struct quipu_provision_options *options,
                                       struct quipu_error *err)
{
    bool is_losing = options->max_age_us != 0 || options->storage == QUIPU_STREAM_MEMORY;
    if (is_losing && !options->may_lose_events) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "%s asked for: an audit log must not lose events; say that it may "
                               "(may_lose_events), or leave that out",
                               options->max_age_us != 0 ? "a maximum age is"
                                                        : "storage in memory is");
    }
    if (options->replicas > REPLICAS_MAX) {
        return quipu_error_set(err, QUIPU_INVALID, "%" PRIu32 " replicas, 1 to %d are allowed",
                               options->replicas, REPLICAS_MAX);
    }
    if (options->max_events > INT64_MAX || options->max_bytes > INT64_MAX) {
        return quipu_error_set(
            err, QUIPU_INVALID, "a limit of %" PRIu64 ", at most 2^63-1 is allowed",
            options->max_events > INT64_MAX ? options->max_events : options->max_bytes);
    }
    if (options->max_age_us != 0 &&
        (options->max_age_us < AGE_US_MIN || options->max_age_us > INT64_MAX / NS_PER_US ||
         options->duplicate_window_us > options->max_age_us)) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "a maximum age of %" PRId64 " us with a duplicate window of %" PRId64
                               " us; the age is at least %d us and the window no longer",
                               options->max_age_us, options->duplicate_window_us, AGE_US_MIN);
    }
    if (options->duplicate_window_us < 0 || options->duplicate_window_us > INT64_MAX / NS_PER_US) {
        return quipu_error_set(err, QUIPU_INVALID, "a duplicate window of %" PRId64 " us",
                               options->duplicate_window_us);
    }
    return QUIPU_OK;
}

enum quipu_status quipu_provision(struct quipu_nats *nats,
                                  const struct quipu_provision_options *options,
                                  struct quipu_provision_report *report, struct quipu_error *err)
{
    struct quipu_provision_options known = QUIPU_PROVISION_OPTIONS_INIT;
    if (nats == NULL || report == NULL || (options != NULL && options->size != sizeof known)) {
        return quipu_error_set(err, QUIPU_MISUSE,
                               "provision needs a connection, a report, and options made with "
                               "QUIPU_PROVISION_OPTIONS_INIT");
    }
    if (options != NULL) {
        known = *options;
    }
    enum quipu_status status = options_check(&known, err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_provision_report made = {.drift = QUIPU_BUF_INIT};
    struct quipu_buf notes;
    quipu_buf_init_fixed(&notes, made.notes, sizeof made.notes - 1); /* cut where they are many */
    struct wanted_stream events = wanted_events(nats, &known);
    struct wanted_stream bucket = wanted_bucket(nats, &known);
    struct ensured stream_made = {.drift = &made.drift, .notes = &notes};
    struct ensured bucket_made = {.drift = &made.drift, .notes = &notes};

    status = quipu_nats_ready(nats, err);
    if (status == QUIPU_OK) {
        status = stream_ensure(nats, &events, &stream_made, err);
    }
    if (status == QUIPU_OK) {
        status = stream_ensure(nats, &bucket, &bucket_made, err);
    }
    made.stream_created = stream_made.was_created;
    made.bucket_created = bucket_made.was_created;
    made.stream_messages = stream_made.messages;
    made.notes[notes.len] = 0;
    quipu_buf_release(&notes);
    if (status == QUIPU_OK && made.drift.status != QUIPU_OK) {
        status = quipu_error_set(err, made.drift.status, "out of memory listing differences");
    }
    if (status != QUIPU_OK) {
        quipu_buf_release(&made.drift);
        return status;
    }
    *report = made;
    if (made.drift.len > 0) {
        const uint8_t *newline = memchr(made.drift.data, '\n', made.drift.len);
        return quipu_error_set(err, QUIPU_DRIFT, "%.*s",
                               newline == NULL ? 0 : (int)(newline - made.drift.data),
                               (const char *)made.drift.data);
    }
    return QUIPU_OK;
}
