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

enum quipu_status quipu_stream_info(struct quipu_nats *nats, const char *stream, jsStreamInfo **out,
                                    struct quipu_error *err)
{
    char subject[NATS_STREAM_BYTES_MAX + 32];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.INFO.%s", stream);
    enum quipu_status status = quipu_nats_may_publish(nats, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
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

/* Takes the next token off `*rest`; its length is 0 behind the last one. */
static struct quipu_slice next_token(const char **rest)
{
    const char *from = *rest;
    size_t len = strcspn(from, ".");
    *rest = from[len] == '.' ? from + len + 1 : from + len;
    return quipu_slice(from, len);
}

bool quipu_subject_covers(const char *wide, const char *narrow)
{
    for (;;) {
        struct quipu_slice w = next_token(&wide);
        struct quipu_slice n = next_token(&narrow);
        if (w.len == 0 || n.len == 0) {
            return w.len == n.len;
        }
        if (quipu_slice_equal(w, quipu_slice_text(">"))) {
            return true;
        }
        if (quipu_slice_equal(n, quipu_slice_text(">"))) {
            return false;
        }
        bool is_any = quipu_slice_equal(w, quipu_slice_text("*"));
        if (!is_any && !quipu_slice_equal(w, n)) {
            return false;
        }
    }
}

bool quipu_subjects_meet(const char *a, const char *b)
{
    for (;;) {
        struct quipu_slice x = next_token(&a);
        struct quipu_slice y = next_token(&b);
        if (x.len == 0 || y.len == 0) {
            return x.len == y.len;
        }
        if (quipu_slice_equal(x, quipu_slice_text(">")) ||
            quipu_slice_equal(y, quipu_slice_text(">"))) {
            return true;
        }
        bool is_any = quipu_slice_equal(x, quipu_slice_text("*")) ||
                      quipu_slice_equal(y, quipu_slice_text("*"));
        if (!is_any && !quipu_slice_equal(x, y)) {
            return false;
        }
    }
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
