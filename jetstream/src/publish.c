/*
 * Publishing and receiving over one connection. The reply subject is the inbox, sixteen digits of
 * the token's number and one of its kind, so that a reply finds its message without a table.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "publish.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/hex.h"
#include "internal/invariant.h"
#include "json_view.h"
#include "nats_status.h"

#define TOKEN_DIGITS 16
#define KIND_MAX     15

/* "NATS/1.0\r\n" and the empty line behind the headers; ": " and "\r\n" of each. */
#define HEADER_FRAME_BYTES 12
#define HEADER_EACH_BYTES  4

void quipu_outgoing_add(struct nats_outgoing *message, const char *name, const char *value)
{
    QUIPU_INVARIANT(message->header_count < NATS_HEADERS_MAX);
    struct nats_header header = {name, value};
    message->headers[message->header_count++] = header;
}

size_t quipu_outgoing_bytes(const struct nats_outgoing *message)
{
    size_t bytes = message->body.len;
    if (message->header_count > 0) {
        bytes += HEADER_FRAME_BYTES;
    }
    for (size_t i = 0; i < message->header_count; i++) {
        bytes += strlen(message->headers[i].name) + strlen(message->headers[i].value) +
                 HEADER_EACH_BYTES;
    }
    return bytes;
}

static void token_format(const struct quipu_nats *nats, const struct nats_token *token,
                         char out[NATS_INBOX_BYTES + TOKEN_DIGITS + 2])
{
    static const char digits[] = "0123456789abcdef";
    QUIPU_INVARIANT(token->kind <= KIND_MAX);
    size_t len = strlen(nats->inbox_prefix);
    memcpy(out, nats->inbox_prefix, len);
    for (size_t i = 0; i < TOKEN_DIGITS; i++) {
        out[len + i] = digits[(token->number >> (4 * (TOKEN_DIGITS - 1 - i))) & 15];
    }
    out[len + TOKEN_DIGITS] = digits[token->kind];
    out[len + TOKEN_DIGITS + 1] = 0;
}

static bool token_parse(const struct quipu_nats *nats, const char *subject, struct nats_token *out)
{
    size_t prefix = strlen(nats->inbox_prefix);
    if (strlen(subject) != prefix + TOKEN_DIGITS + 1 ||
        memcmp(subject, nats->inbox_prefix, prefix) != 0) {
        return false;
    }
    uint64_t number = 0;
    int kind = quipu_hex_value((uint8_t)subject[prefix + TOKEN_DIGITS]);
    for (size_t i = 0; i < TOKEN_DIGITS; i++) {
        int digit = quipu_hex_value((uint8_t)subject[prefix + i]);
        if (digit < 0) {
            return false;
        }
        number = number << 4 | (unsigned)digit;
    }
    if (kind < 0) {
        return false;
    }
    out->number = number;
    out->kind = (uint8_t)kind;
    return true;
}

enum quipu_status quipu_nats_publish(struct quipu_nats *nats, const struct nats_outgoing *message,
                                     const struct nats_token *token, struct quipu_error *err)
{
    if (message->body.len > INT32_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "message of %zu bytes", message->body.len);
    }
    enum quipu_status status = quipu_nats_may_publish(nats, message->subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    char reply[NATS_INBOX_BYTES + TOKEN_DIGITS + 2];
    if (token != NULL) {
        token_format(nats, token, reply);
    }
    natsMsg *msg = NULL;
    natsStatus s = natsMsg_Create(&msg, message->subject, token != NULL ? reply : NULL,
                                  (const char *)message->body.data, (int)message->body.len);
    for (size_t i = 0; s == NATS_OK && i < message->header_count; i++) {
        s = natsMsgHeader_Set(msg, message->headers[i].name, message->headers[i].value);
    }
    if (s == NATS_OK) {
        s = natsConnection_PublishMsg(nats->connection, msg);
    }
    natsMsg_Destroy(msg);
    if (s == NATS_OK) {
        return QUIPU_OK;
    }
    if (s == NATS_NO_MEMORY || s == NATS_MAX_PAYLOAD) {
        return quipu_error_nats(err, s, 0, "publishing to %s", message->subject);
    }
    /* Whatever it is, half a message may be on the wire: only a new connection is clean again. */
    natsConnection_Close(nats->connection);
    return quipu_error_set(err, QUIPU_OFFLINE, "connection to %s lost while publishing: %s",
                           nats->server, natsStatus_GetText(s));
}

enum quipu_status quipu_nats_receive(struct quipu_nats *nats, int64_t wait_us, natsMsg **out,
                                     struct nats_token *token, struct quipu_error *err)
{
    for (;;) {
        natsMsg *msg = NULL;
        natsStatus s =
            natsSubscription_NextMsg(&msg, nats->inbox, wait_us <= 0 ? 0 : quipu_nats_ms(wait_us));
        if (s == NATS_OK) {
            if (token_parse(nats, natsMsg_GetSubject(msg), token)) {
                *out = msg;
                return QUIPU_OK;
            }
            natsMsg_Destroy(msg); /* nobody's: a peer made up a subject below our inbox */
            continue;
        }
        enum quipu_status status = quipu_status_from_nats(s);
        if (status == QUIPU_TIMEOUT) {
            return quipu_nats_denied(nats, QUIPU_DONE, err);
        }
        if (status == QUIPU_NOT_PROVISIONED) {
            return quipu_error_set(err, status, "server %s: no stream takes what is sent",
                                   nats->server);
        }
        if (status == QUIPU_OFFLINE) {
            return quipu_error_set(err, status, "connection to %s lost", nats->server);
        }
        return quipu_error_nats(err, s, 0, "waiting for the server %s", nats->server);
    }
}

static void error_read(struct quipu_slice object, struct nats_ack *out)
{
    out->refusal = -1;
    struct json_view view = quipu_json_view(object);
    struct json_member member;
    uint64_t number = 0;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "err_code") && quipu_json_u64(&member, &number) &&
            number > 0 && number <= INT32_MAX) {
            out->refusal = (int)number;
        } else if (quipu_json_key_is(&member, "description") && member.kind == JSON_TEXT) {
            out->description = member.raw;
        }
    }
}

bool quipu_nats_ack_read(struct quipu_slice body, struct nats_ack *out)
{
    struct nats_ack ack = {.sequence = 0};
    bool has_sequence = false;
    struct json_view view = quipu_json_view(body);
    struct json_member member;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "seq")) {
            has_sequence = quipu_json_u64(&member, &ack.sequence);
        } else if (quipu_json_key_is(&member, "stream") && member.kind == JSON_TEXT) {
            ack.stream = member.raw;
        } else if (quipu_json_key_is(&member, "duplicate")) {
            ack.is_duplicate = member.kind == JSON_TRUE;
        } else if (quipu_json_key_is(&member, "error") && member.kind == JSON_NESTED) {
            error_read(member.raw, &ack);
        }
    }
    if (view.state != JSON_AT_END || (ack.refusal == 0 && (!has_sequence || ack.sequence == 0))) {
        return false;
    }
    *out = ack;
    return true;
}

struct quipu_slice quipu_msg_body(const natsMsg *msg)
{
    return quipu_slice(natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg));
}

const char *quipu_msg_header(natsMsg *msg, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(msg, name, &value) == NATS_OK ? value : NULL;
}

int quipu_msg_status(natsMsg *msg)
{
    const char *text = quipu_msg_header(msg, "Status");
    return text == NULL ? 0 : (int)strtol(text, NULL, 10);
}
