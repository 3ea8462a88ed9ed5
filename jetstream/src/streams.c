/*
 * Reading stream configurations and judging whether quipu can work with them. Changes nothing on
 * the server.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "streams.h"

#include <stdio.h>
#include <string.h>

#include "nats_status.h"
#include "patience.h"
#include "quipu/clock.h"
#include "subject.h"

enum quipu_status quipu_js_failure(struct quipu_nats *nats, natsStatus s, int number,
                                   const char *what, const char *name, struct quipu_error *err)
{
    if (s == NATS_NO_RESPONDERS || number == JSNotEnabledErr ||
        number == JSNotEnabledForAccountErr) {
        return quipu_error_set(err, QUIPU_SERVER,
                               "server %s has no JetStream for this user; start it with -js, or "
                               "enable JetStream for the account",
                               nats->server);
    }
    enum quipu_status status =
        quipu_error_nats(err, s, number, "%s %s at %s", what, name, nats->server);
    if (status == QUIPU_TIMEOUT) {
        /* A request that is not allowed is never answered: the reason comes beside it. */
        status = quipu_nats_denied(nats, status, err);
    }
    return status;
}

/* While a stream in a cluster has no leader, any server of its group may answer for it, also one
 * that is behind: what it says of the last sequence would look like a stream that was set back. */
static bool is_leaderless(const jsStreamInfo *info)
{
    return info->Config->Replicas > 1 && (info->Cluster == NULL || info->Cluster->Leader == NULL ||
                                          info->Cluster->Leader[0] == 0);
}

static enum quipu_status ask_info(struct quipu_nats *nats, const char *stream, jsStreamInfo **out,
                                  struct quipu_error *err)
{
    jsErrCode number = 0;
    natsStatus s = js_GetStreamInfo(out, nats->js, stream, NULL, &number);
    if (s == NATS_OK) {
        return QUIPU_OK;
    }
    if (number == JSStreamNotFoundErr) {
        return quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                               "server %s has no stream %s; make it with quipu provision",
                               nats->server, stream);
    }
    return quipu_js_failure(nats, s, (int)number, "asking for stream", stream, err);
}

enum quipu_status quipu_stream_info(struct quipu_nats *nats, const char *stream, jsStreamInfo **out,
                                    struct quipu_error *err)
{
    char subject[NATS_STREAM_BYTES_MAX + 32];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    enum quipu_status status = quipu_nats_may_publish(nats, subject, err);
    int64_t until_us = quipu_monotonic_us() + nats->request_timeout_us;
    struct backoff backoff = {0};
    while (status == QUIPU_OK) {
        jsStreamInfo *info = NULL;
        status = ask_info(nats, stream, &info, err);
        if (status == QUIPU_OK && !is_leaderless(info)) {
            *out = info;
            return QUIPU_OK;
        }
        jsStreamInfo_Destroy(info);
        int64_t pause_us = quipu_backoff_next(&backoff, 0);
        if (status == QUIPU_OK && quipu_monotonic_us() + pause_us >= until_us) {
            return quipu_error_set(err, QUIPU_SERVER,
                                   "stream %s at %s has no leader at present; try again when its "
                                   "servers reach each other",
                                   stream, nats->server);
        }
        if (status == QUIPU_OK) {
            quipu_nats_sleep(pause_us);
        }
    }
    return status;
}

static bool takes_subject(const jsStreamConfig *config, const char *subject)
{
    for (int i = 0; i < config->SubjectsLen; i++) {
        if (quipu_subject_covers(config->Subjects[i], subject)) {
            return true;
        }
    }
    return false;
}

static void facts_from(const jsStreamInfo *info, struct stream_facts *out)
{
    out->messages = info->State.Msgs;
    out->first_sequence = info->State.FirstSeq;
    bool is_bounded = info->Config->MaxMsgs > 0 || info->Config->MaxBytes > 0;
    bool is_refusing = info->Config->Discard == js_DiscardNew;
    out->is_limited = info->Config->MaxAge > 0 || (is_bounded && !is_refusing);
    out->is_refusing = is_bounded && !out->is_limited;
    out->is_replicated = info->Config->Replicas > 1;
    out->last_sequence = info->State.LastSeq;
    out->created_unix_ns = info->Created;
    out->is_sealed = info->Config->Sealed;
    out->duplicates_us = info->Config->Duplicates / 1000;
    out->message_bytes_max = info->Config->MaxMsgSize > 0 ? info->Config->MaxMsgSize : INT64_MAX;
}

static enum quipu_status unfit(struct quipu_nats *nats, const char *stream, const char *what,
                               struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_DRIFT,
                           "stream %s at %s %s: quipu cannot use it so; quipu provision lists what "
                           "differs",
                           stream, nats->server, what);
}

/* Why a stream would lose what it has taken, or never take it; NULL: it keeps it. */
static const char *why_it_keeps_nothing(const jsStreamConfig *config)
{
    if (config->Retention != js_LimitsPolicy) {
        return config->Retention == js_InterestPolicy
                   ? "keeps messages only while consumers wait for them (interest retention)"
                   : "drops what a consumer has taken (work-queue retention)";
    }
    if (config->NoAck) {
        return "does not say what it has stored (no_ack)";
    }
    return config->Mirror != NULL ? "is a mirror of another one" : NULL;
}

enum quipu_status quipu_event_stream_facts(struct quipu_nats *nats, struct stream_facts *out,
                                           struct quipu_error *err)
{
    jsStreamInfo *info = NULL;
    enum quipu_status status = quipu_stream_info(nats, nats->stream, &info, err);
    if (status != QUIPU_OK) {
        return status;
    }
    char subject[NATS_NAME_BYTES_MAX + 3];
    (void)snprintf(subject, sizeof subject, "%s.>", nats->subject_prefix);
    const char *why = why_it_keeps_nothing(info->Config);
    if (why != NULL) {
        status = unfit(nats, nats->stream, why, err);
    } else if (!takes_subject(info->Config, subject)) {
        status = unfit(nats, nats->stream, "does not take our subjects", err);
    } else if (!info->Config->AllowDirect) {
        status = unfit(nats, nats->stream, "does not allow direct gets", err);
    } else {
        facts_from(info, out);
    }
    jsStreamInfo_Destroy(info);
    return status;
}

enum quipu_status quipu_bucket_facts(struct quipu_nats *nats, struct stream_facts *out,
                                     struct quipu_error *err)
{
    jsStreamInfo *info = NULL;
    enum quipu_status status = quipu_stream_info(nats, nats->bucket_stream, &info, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const char *why = why_it_keeps_nothing(info->Config);
    if (why != NULL) {
        status = unfit(nats, nats->bucket_stream, why, err);
    } else if (!info->Config->AllowRollup) {
        status = unfit(nats, nats->bucket_stream, "does not allow roll-ups", err);
    } else if (!info->Config->AllowDirect) {
        status = unfit(nats, nats->bucket_stream, "does not allow direct gets", err);
    } else {
        facts_from(info, out);
    }
    jsStreamInfo_Destroy(info);
    return status;
}
