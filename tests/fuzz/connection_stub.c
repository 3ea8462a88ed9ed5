/*
 * Stands in for jetstream's connection and for the three calls of libnats that touch a network, so
 * that what reads and writes messages runs without one. Messages themselves are libnats' own.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "connection_stub.h"

#include <stdio.h>

static natsMsg *waiting;
static char reply[256];

enum quipu_status quipu_nats_may_publish(const struct quipu_nats *nats, const char *subject,
                                         struct quipu_error *err)
{
    (void)nats;
    (void)subject;
    (void)err;
    return QUIPU_OK;
}

enum quipu_status quipu_nats_denied(struct quipu_nats *nats, enum quipu_status status,
                                    struct quipu_error *err)
{
    (void)nats;
    (void)err;
    return status;
}

int64_t quipu_nats_ms(int64_t us)
{
    return us < 1000 ? 1 : us / 1000;
}

bool stub_comes(const char *subject)
{
    natsMsg_Destroy(waiting);
    waiting = NULL;
    return subject == NULL || natsMsg_Create(&waiting, subject, NULL, "x", 1) == NATS_OK;
}

const char *stub_reply(void)
{
    return reply;
}

natsStatus natsConnection_PublishMsg(natsConnection *connection, natsMsg *msg)
{
    (void)connection;
    const char *to = natsMsg_GetReply(msg);
    (void)snprintf(reply, sizeof reply, "%s", to != NULL ? to : "");
    return NATS_OK;
}

natsStatus natsSubscription_NextMsg(natsMsg **msg, natsSubscription *subscription,
                                    int64_t timeout_ms)
{
    (void)subscription;
    (void)timeout_ms;
    *msg = waiting;
    waiting = NULL;
    return *msg != NULL ? NATS_OK : NATS_TIMEOUT;
}
