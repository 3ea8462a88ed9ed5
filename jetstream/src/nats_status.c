/*
 * The two tables, and the one way to report a failure of libnats. Does no I/O.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "nats_status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct nats_row {
    natsStatus from;
    enum quipu_status to;
};

/* What is not here is QUIPU_SERVER: the server, or the library, did what it should not. */
static const struct nats_row nats_rows[] = {
    {NATS_OK, QUIPU_OK},
    {NATS_IO_ERROR, QUIPU_OFFLINE},
    {NATS_CONNECTION_CLOSED, QUIPU_OFFLINE},
    {NATS_NO_SERVER, QUIPU_OFFLINE},
    {NATS_STALE_CONNECTION, QUIPU_OFFLINE},
    {NATS_CONNECTION_DISCONNECTED, QUIPU_OFFLINE},
    {NATS_NOT_YET_CONNECTED, QUIPU_OFFLINE},
    {NATS_INVALID_SUBSCRIPTION, QUIPU_OFFLINE},
    {NATS_SECURE_CONNECTION_WANTED, QUIPU_INVALID},
    {NATS_SECURE_CONNECTION_REQUIRED, QUIPU_INVALID},
    {NATS_ADDRESS_MISSING, QUIPU_INVALID},
    {NATS_INVALID_ARG, QUIPU_INVALID},
    {NATS_INVALID_SUBJECT, QUIPU_INVALID},
    {NATS_CONNECTION_AUTH_FAILED, QUIPU_AUTH},
    {NATS_SSL_ERROR, QUIPU_AUTH},
    {NATS_NOT_PERMITTED, QUIPU_PERMISSION},
    {NATS_NOT_FOUND, QUIPU_NOT_FOUND},
    {NATS_MAX_PAYLOAD, QUIPU_TOO_LARGE},
    {NATS_NO_MEMORY, QUIPU_NO_MEMORY},
    {NATS_TIMEOUT, QUIPU_TIMEOUT},
    {NATS_NO_RESPONDERS, QUIPU_NOT_PROVISIONED},
};

struct js_row {
    int from;
    enum quipu_status to;
    enum js_refusal refusal;
};

static const struct js_row js_rows[] = {
    {JSStreamNotFoundErr, QUIPU_NOT_PROVISIONED, JS_REFUSAL_ALL},
    {JSConsumerNotFoundErr, QUIPU_NOT_FOUND, JS_REFUSAL_ALL},
    {JSNoMessageFoundErr, QUIPU_NOT_FOUND, JS_REFUSAL_ALL},
    {JSStreamNameExistErr, QUIPU_EXISTS, JS_REFUSAL_ALL},
    {JSStreamWrongLastSequenceErr, QUIPU_EXISTS, JS_REFUSAL_STORED},
    {JSStreamMessageExceedsMaximumErr, QUIPU_TOO_LARGE, JS_REFUSAL_EVENT},
    {JSClusterNotAvailErr, QUIPU_SERVER, JS_REFUSAL_NOT_NOW},
    {JSClusterNotLeaderErr, QUIPU_SERVER, JS_REFUSAL_NOT_NOW},
    {JSStreamOfflineErr, QUIPU_SERVER, JS_REFUSAL_NOT_NOW},
};

enum quipu_status quipu_status_from_nats(natsStatus status)
{
    for (size_t i = 0; i < sizeof nats_rows / sizeof nats_rows[0]; i++) {
        if (nats_rows[i].from == status) {
            return nats_rows[i].to;
        }
    }
    return QUIPU_SERVER;
}

static const struct js_row *js_row_of(int number)
{
    for (size_t i = 0; i < sizeof js_rows / sizeof js_rows[0]; i++) {
        if (js_rows[i].from == number) {
            return &js_rows[i];
        }
    }
    return NULL;
}

enum quipu_status quipu_status_from_js(int number)
{
    const struct js_row *row = js_row_of(number);
    return row == NULL ? QUIPU_SERVER : row->to;
}

enum js_refusal quipu_js_refusal(int number)
{
    const struct js_row *row = js_row_of(number);
    /* An unknown refusal stops the flush: nothing is lost by that, and a person reads the line. */
    return row == NULL ? JS_REFUSAL_ALL : row->refusal;
}

const char *quipu_nats_detail(void)
{
    const char *detail = nats_GetLastError(NULL);
    const char *end = detail == NULL || detail[0] != '(' ? NULL : strchr(detail, ')');
    return end == NULL ? detail : end + 1 + strspn(end + 1, ": ");
}

enum quipu_status quipu_error_nats(struct quipu_error *err, natsStatus status, int number,
                                   const char *format, ...)
{
    enum quipu_status to =
        number != 0 ? quipu_status_from_js(number) : quipu_status_from_nats(status);
    if (err == NULL) {
        return to;
    }

    char what[QUIPU_ERROR_MESSAGE_BYTES / 2];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(what, sizeof what, format, args);
    va_end(args);
    /* The status text is enough, except where JetStream or TLS spoke. */
    const char *detail = NULL;
    if (number != 0 || status == NATS_SSL_ERROR) {
        detail = quipu_nats_detail();
    }
    if (number != 0) {
        return quipu_error_set(err, to, "%s: %s (JetStream error %d)", what,
                               detail != NULL ? detail : "refused", number);
    }
    return quipu_error_set(err, to, "%s: %s", what,
                           detail != NULL ? detail : natsStatus_GetText(status));
}
