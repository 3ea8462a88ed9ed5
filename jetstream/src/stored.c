/*
 * Questions for stored messages, and answers: by direct get, or in JSON from the stream's leader.
 *
 * Specification: docs/SPEC.md §10.3.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "stored.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/hex.h"
#include "json_view.h"
#include "nats_status.h"
#include "quipu/clock.h"
#include "quipu/multibase.h"
#include "streams.h"

#define UNICODE_ESCAPE_BYTES 6 /* of \u0000 */

/* ------------------------------------------------------------------ asking */

static char *put_text(char *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

static char *put_json_text(char *to, const char *text)
{
    for (const char *from = text; *from != 0; from++) {
        if (*from == '"' || *from == '\\') {
            *to++ = '\\';
        }
        *to++ = *from;
    }
    return put_text(to, "\"");
}

static void put_body(const struct stored_ask *ask, struct stored_room *room)
{
    char number[32];
    char *to = put_text(room->body, "{");
    if (ask->sequence != 0) {
        (void)snprintf(number, sizeof number, "\"seq\":%" PRIu64, ask->sequence);
        to = put_text(to, number);
    }
    if (ask->subject != NULL) {
        to = put_text(to, ask->sequence != 0 ? ",\"next_by_subj\":\"" : "\"last_by_subj\":\"");
        to = put_json_text(to, ask->subject);
    }
    to = put_text(to, "}");
    *to = 0;
}

void quipu_stored_request(const struct stored_ask *ask, enum stored_via via,
                          struct stored_room *room, struct nats_outgoing *out)
{
    memset(out, 0, sizeof *out);
    out->subject = room->subject;
    if (via == STORED_DIRECT && ask->sequence == 0) {
        (void)snprintf(room->subject, sizeof room->subject, "$JS.API.DIRECT.GET.%s.%s", ask->stream,
                       ask->subject);
        return;
    }
    (void)snprintf(room->subject, sizeof room->subject, "$JS.API.%s.%s",
                   via == STORED_DIRECT ? "DIRECT.GET" : "STREAM.MSG.GET", ask->stream);
    put_body(ask, room);
    out->body = quipu_slice_text(room->body);
}

/* ------------------------------------------------------------------ an answer to a direct get */

/* The last value of a header, which the server has put behind what was stored; NULL: there is none.
 * Borrowed. `*is_readable` false: the headers are none. */
static const char *last_value(natsMsg *reply, const char *name, bool *is_readable)
{
    const char *first = NULL;
    const char **values = NULL;
    int count = 0;
    natsStatus s = natsMsgHeader_Get(reply, name, &first);
    *is_readable = s == NATS_OK || s == NATS_NOT_FOUND;
    if (s != NATS_OK || natsMsgHeader_Values(reply, name, &values, &count) != NATS_OK) {
        return NULL;
    }
    const char *last = count > 0 ? values[count - 1] : NULL;
    free((void *)values);
    return last;
}

static int64_t unix_us_of(struct quipu_slice text)
{
    int64_t unix_us = 0;
    return quipu_rfc3339_parse(text, &unix_us) == QUIPU_OK && unix_us > 0 ? unix_us : 0;
}

/* False: it is none that brings a message, and `*is_readable` says whether that is certain. */
static bool read_direct(natsMsg *reply, struct stored *out, bool *is_readable)
{
    bool is_rest_readable = true;
    const char *number = last_value(reply, "Nats-Sequence", is_readable);
    out->sequence = number == NULL ? 0 : strtoull(number, NULL, 10);
    if (out->sequence == 0) {
        return false;
    }
    const char *subject = last_value(reply, "Nats-Subject", &is_rest_readable);
    const char *time = last_value(reply, "Nats-Time-Stamp", &is_rest_readable);
    if (subject != NULL && strlen(subject) < sizeof out->subject) {
        memcpy(out->subject, subject, strlen(subject) + 1);
    }
    out->unix_us = time == NULL ? 0 : unix_us_of(quipu_slice_text(time));
    out->body = quipu_msg_body(reply);
    return true;
}

/* ------------------------------------------------------------------ the leader's answer */

/* A character that JSON has escaped; 0: one that is in no subject of ours. Moves `*at` behind. */
static char unescape(const uint8_t **at, const uint8_t *end)
{
    const uint8_t *from = *at; /* at the backslash */
    if (end - from >= UNICODE_ESCAPE_BYTES && from[1] == 'u') {
        int high = quipu_hex_value(from[4]);
        int low = quipu_hex_value(from[5]);
        *at = from + UNICODE_ESCAPE_BYTES;
        bool is_ascii = from[2] == '0' && from[3] == '0' && high >= 0 && high < 8 && low >= 0;
        return is_ascii ? (char)(high * 16 + low) : 0;
    }
    *at = end - from >= 2 ? from + 2 : end;
    bool is_itself = end - from >= 2 && (from[1] == '"' || from[1] == '\\' || from[1] == '/');
    return is_itself ? (char)from[1] : 0;
}

static void read_subject(struct quipu_slice text, struct stored *out)
{
    size_t len = 0;
    const uint8_t *at = text.data;
    const uint8_t *end = text.data + text.len;
    while (at < end && len + 1 < sizeof out->subject) {
        char byte = (char)*at;
        if (byte == '\\') {
            byte = unescape(&at, end);
        } else {
            at++;
        }
        if (byte == 0) {
            break;
        }
        out->subject[len++] = byte;
    }
    out->subject[at == end ? len : 0] = 0;
}

/* False: out of memory, or it is not base64. */
static bool read_data(struct quipu_slice text, struct stored *out)
{
    struct quipu_buf named = QUIPU_BUF_INIT;
    enum quipu_base base;
    quipu_buf_append_byte(&named, 'M'); /* multibase's letter for it */
    quipu_buf_append_slice(&named, text);
    bool is_read =
        named.status == QUIPU_OK &&
        quipu_multibase_decode(quipu_buf_slice(&named), &base, &out->decoded, NULL) == QUIPU_OK;
    quipu_buf_release(&named);
    out->body = quipu_buf_slice(&out->decoded);
    return is_read;
}

static bool read_message(struct quipu_slice object, struct stored *out)
{
    bool is_read = true;
    struct json_view view = quipu_json_view(object);
    struct json_member member;
    while (is_read && quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "seq")) {
            is_read = quipu_json_u64(&member, &out->sequence);
        } else if (member.kind != JSON_TEXT) {
            continue;
        } else if (quipu_json_key_is(&member, "subject")) {
            read_subject(member.raw, out);
        } else if (quipu_json_key_is(&member, "time")) {
            out->unix_us = unix_us_of(member.raw);
        } else if (quipu_json_key_is(&member, "data")) {
            is_read = read_data(member.raw, out);
        }
    }
    return is_read && view.state == JSON_AT_END && out->sequence != 0;
}

/* {"message":{"subject":…,"seq":N,"hdrs":…,"data":…,"time":…}}, or {"error":…}. */
static int read_json(struct quipu_slice json, struct stored *out)
{
    struct nats_ack ack;
    if (quipu_nats_ack_read(json, &ack)) {
        return ack.refusal == JSNoMessageFoundErr ? STORED_NOTHING
               : ack.refusal > 0                  ? ack.refusal
                                                  : STORED_UNREADABLE;
    }
    bool is_read = false;
    struct json_view view = quipu_json_view(json);
    struct json_member member;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "message") && member.kind == JSON_NESTED) {
            is_read = read_message(member.raw, out);
        }
    }
    return is_read && view.state == JSON_AT_END ? 0 : STORED_UNREADABLE;
}

/* ------------------------------------------------------------------ both */

void quipu_stored_read(natsMsg *reply, struct stored *out)
{
    bool is_readable = true;
    const char *status = NULL;
    out->code = 0;
    out->is_leaders = false;
    out->sequence = 0;
    out->unix_us = 0;
    out->body = quipu_slice(NULL, 0);
    out->subject[0] = 0;
    out->reply = reply;
    out->owns_reply = false;
    out->decoded = (struct quipu_buf)QUIPU_BUF_INIT;
    if (read_direct(reply, out, &is_readable)) {
        return;
    }
    status = is_readable ? last_value(reply, "Status", &is_readable) : NULL;
    int code = status == NULL ? 0 : (int)strtol(status, NULL, 10);
    if (!is_readable || (status != NULL && code <= 0)) {
        out->code = STORED_UNREADABLE;
    } else {
        out->is_leaders = status == NULL;
        out->code = out->is_leaders ? read_json(quipu_msg_body(reply), out) : code;
    }
}

void quipu_stored_release(struct stored *stored)
{
    quipu_buf_release(&stored->decoded);
    if (stored->owns_reply) {
        natsMsg_Destroy(stored->reply);
    }
    stored->owns_reply = false;
    stored->reply = NULL;
}

/* One question and its answer. @retval QUIPU_DONE  it has to be the leader that is asked */
static enum quipu_status get_once(struct quipu_nats *nats, const struct stored_ask *ask,
                                  enum stored_via via, struct stored *out, struct quipu_error *err)
{
    struct stored_room room;
    struct nats_outgoing request;
    natsMsg *reply = NULL;
    quipu_stored_request(ask, via, &room, &request);
    enum quipu_status status = quipu_nats_may_publish(nats, request.subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s = natsConnection_Request(&reply, nats->connection, request.subject,
                                          (const char *)request.body.data, (int)request.body.len,
                                          quipu_nats_ms(nats->request_timeout_us));
    if (s == NATS_NO_RESPONDERS && via == STORED_DIRECT) {
        return QUIPU_DONE;
    }
    if (s != NATS_OK) {
        return quipu_js_failure(nats, s, 0, "reading stream", ask->stream, err);
    }
    quipu_stored_read(reply, out);
    out->owns_reply = true;
    if (out->code == 0) {
        return QUIPU_OK;
    }
    int code = out->code;
    quipu_stored_release(out);
    if (code == STORED_UNREADABLE && via == STORED_DIRECT) {
        return QUIPU_DONE;
    }
    if (code == STORED_NOTHING) {
        return quipu_error_set(err, QUIPU_NOT_FOUND, "stream %s has nothing at %.300s", ask->stream,
                               ask->subject != NULL ? ask->subject : "that sequence");
    }
    if (code == JSStreamNotFoundErr) {
        return quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                               "server %s has no stream %s; make it with quipu provision",
                               nats->server, ask->stream);
    }
    return quipu_error_set(err, code > 0 ? quipu_status_from_js(code) : QUIPU_SERVER,
                           "stream %s does not say what it holds at %.300s (%d)", ask->stream,
                           ask->subject != NULL ? ask->subject : "a sequence", code);
}

enum quipu_status quipu_stored_get(struct quipu_nats *nats, const struct stored_ask *ask,
                                   enum stored_via via, struct stored *out, struct quipu_error *err)
{
    enum quipu_status status = get_once(nats, ask, via, out, err);
    return status == QUIPU_DONE ? get_once(nats, ask, STORED_LEADER, out, err) : status;
}
