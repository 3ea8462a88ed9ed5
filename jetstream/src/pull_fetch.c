/*
 * The durable pull consumer: making it, fetching from it, acknowledging to it.
 *
 * Requests are no_wait: the server sends what it has and then says so. Fetched messages come to an
 * inbox of their own, because they keep the subject that they were published under.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nats_status.h"
#include "publish.h"
#include "puller.h"

#define NS_PER_S         ((int64_t)1000 * 1000 * 1000)
#define ACK_WAIT_NS      (300 * NS_PER_S)
#define ACK_PENDING_MAX  20000
#define FETCH_BYTES_MIN  ((int64_t)8 << 20)
#define STATUS_NOTHING   404
#define STATUS_ENDED     408
#define STATUS_BOUNDED   409
#define NO_STATUS        0
#define ACK_TOKENS_PLAIN 9
#define ACK_TOKENS_LONG  11

/* ------------------------------------------------------------------ consumer */

static enum quipu_status consumer_create(struct puller *puller, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    jsConsumerConfig config;
    natsStatus s = jsConsumerConfig_Init(&config);
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "making consumer %s", puller->consumer);
    }
    config.Durable = puller->consumer;
    config.Description = "quipu: a store that pulls";
    config.AckPolicy = js_AckAll; /* what is committed is a beginning of the stream */
    config.AckWait = ACK_WAIT_NS;
    config.MaxAckPending = ACK_PENDING_MAX;
    config.ReplayPolicy = js_ReplayInstant;
    config.DeliverPolicy = js_DeliverAll;
    if (puller->place > 0) {
        config.DeliverPolicy = js_DeliverByStartSequence;
        config.OptStartSeq = puller->place + 1;
    }
    jsErrCode number = 0;
    jsConsumerInfo *info = NULL;
    s = js_AddConsumer(&info, nats->js, nats->stream, &config, NULL, &number);
    if (s != NATS_OK) {
        return quipu_js_failure(nats, s, (int)number, "making consumer", puller->consumer, err);
    }
    puller->total = info->NumPending;
    jsConsumerInfo_Destroy(info);
    return QUIPU_OK;
}

static enum quipu_status consumer_delete(struct puller *puller, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    jsErrCode number = 0;
    natsStatus s = js_DeleteConsumer(nats->js, nats->stream, puller->consumer, NULL, &number);
    if (s == NATS_OK || number == JSConsumerNotFoundErr) {
        return QUIPU_OK;
    }
    return quipu_js_failure(nats, s, (int)number, "resetting consumer", puller->consumer, err);
}

static natsStatus inbox_open(struct puller *puller)
{
    natsInbox *name = NULL;
    natsStatus s = natsInbox_Create(&name);
    if (s == NATS_OK) {
        (void)snprintf(puller->inbox_subject, sizeof puller->inbox_subject, "%s", name);
        natsInbox_Destroy(name);
        s = natsConnection_SubscribeSync(&puller->inbox, puller->nats->connection,
                                         puller->inbox_subject);
    }
    if (s == NATS_OK) {
        s = natsSubscription_SetPendingLimits(puller->inbox, -1, -1);
    }
    return s;
}

enum quipu_status quipu_pull_consumer(struct puller *puller, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    natsStatus s = inbox_open(puller);
    if (s != NATS_OK) {
        return quipu_error_nats(err, s, 0, "listening at %s", nats->server);
    }
    jsErrCode number = 0;
    jsConsumerInfo *info = NULL;
    s = js_GetConsumerInfo(&info, nats->js, nats->stream, puller->consumer, NULL, &number);
    if (s != NATS_OK && number != JSConsumerNotFoundErr) {
        return quipu_js_failure(nats, s, (int)number, "asking for consumer", puller->consumer, err);
    }
    if (s != NATS_OK) {
        return consumer_create(puller, err);
    }
    /* It stands elsewhere where a pull was killed between its commit and its acks, where the store
     * was restored, or where somebody else used its name. Messages that were delivered and never
     * acknowledged would come only after the server's ack wait. */
    bool is_in_place = info->AckFloor.Stream == puller->place && info->NumAckPending == 0 &&
                       info->Config->AckPolicy == js_AckAll;
    puller->total = info->NumPending;
    jsConsumerInfo_Destroy(info);
    if (is_in_place) {
        return QUIPU_OK;
    }
    enum quipu_status status = consumer_delete(puller, err);
    return status == QUIPU_OK ? consumer_create(puller, err) : status;
}

/* ------------------------------------------------------------------ fetching */

uint64_t quipu_ack_subject_sequence(const char *reply)
{
    /* $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.…, and from 11 tokens on with domain and
     * account between ACK and stream. */
    if (reply == NULL || strncmp(reply, "$JS.ACK.", 8) != 0) {
        return 0;
    }
    int tokens = 1;
    for (const char *p = reply; *p != 0; p++) {
        tokens += *p == '.';
    }
    if (tokens != ACK_TOKENS_PLAIN && tokens < ACK_TOKENS_LONG) {
        return 0;
    }
    int skip = tokens == ACK_TOKENS_PLAIN ? 5 : 7;
    const char *p = reply;
    while (skip > 0) {
        skip -= *p == '.';
        p++;
    }
    char *end = NULL;
    uint64_t sequence = strtoull(p, &end, 10);
    return *p >= '0' && *p <= '9' && *end == '.' ? sequence : 0;
}

/* `bytes_max` 0: no bound but the number of messages. */
static enum quipu_status fetch_request(struct puller *puller, int64_t bytes_max,
                                       struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    char subject[NATS_NAME_BYTES_MAX + PULL_CONSUMER_BYTES + 40];
    char body[128];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.MSG.NEXT.%s.%s", nats->stream,
                   puller->consumer);
    int len = bytes_max > 0
                  ? snprintf(body, sizeof body,
                             "{\"batch\":%" PRIu32 ",\"no_wait\":true,\"max_bytes\":%" PRId64 "}",
                             puller->options.batch, bytes_max)
                  : snprintf(body, sizeof body, "{\"batch\":1,\"no_wait\":true}");
    natsStatus s =
        natsConnection_PublishRequest(nats->connection, subject, puller->inbox_subject, body, len);
    return s == NATS_OK ? QUIPU_OK : quipu_error_nats(err, s, 0, "fetching from %s", nats->stream);
}

/* Takes ownership of `msg`. `*is_over`: it was the server's last word on this request. */
static enum quipu_status take_fetched(struct puller *puller, natsMsg *msg, bool *is_over,
                                      struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    uint64_t sequence = quipu_ack_subject_sequence(natsMsg_GetReply(msg));
    if (sequence != 0) {
        struct pulled *item = &puller->batch[puller->count++];
        item->msg = msg;
        item->sequence = sequence;
        return QUIPU_OK;
    }
    int code = quipu_msg_status(msg);
    switch (code) {
    case STATUS_NOTHING:
    case STATUS_ENDED:
    case STATUS_BOUNDED:
        *is_over = true;
        break;
    case NO_STATUS:
        break; /* not from the consumer: nothing of ours */
    default: {
        const char *text = quipu_msg_header(msg, "Description");
        status = quipu_error_set(err, QUIPU_SERVER, "stream %s does not deliver: %d %s",
                                 puller->nats->stream, code, text != NULL ? text : "");
        break;
    }
    }
    natsMsg_Destroy(msg);
    return status;
}

/* One request and what comes of it. */
static enum quipu_status fetch_once(struct puller *puller, int64_t bytes_max,
                                    struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    size_t max = bytes_max > 0 ? puller->options.batch : 1;
    bool is_asked = puller->is_requested && bytes_max > 0;
    enum quipu_status status = is_asked ? QUIPU_OK : fetch_request(puller, bytes_max, err);
    bool is_over = false;
    puller->is_requested = puller->is_requested && !is_asked;
    while (status == QUIPU_OK && !is_over && puller->count < max) {
        natsMsg *msg = NULL;
        natsStatus s =
            natsSubscription_NextMsg(&msg, puller->inbox, quipu_nats_ms(nats->request_timeout_us));
        if (s == NATS_OK) {
            status = take_fetched(puller, msg, &is_over, err);
        } else if (s == NATS_NO_RESPONDERS) {
            status = quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                                     "stream %s or its consumer is gone; pull again, or quipu "
                                     "provision",
                                     nats->stream);
        } else {
            status = quipu_error_nats(err, s, 0, "fetching from %s", nats->stream);
            status = status == QUIPU_TIMEOUT ? quipu_nats_denied(nats, status, err) : status;
        }
    }
    return status;
}

static enum quipu_status consumer_pending(struct puller *puller, uint64_t *pending,
                                          struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    jsErrCode number = 0;
    jsConsumerInfo *info = NULL;
    natsStatus s =
        js_GetConsumerInfo(&info, nats->js, nats->stream, puller->consumer, NULL, &number);
    if (s != NATS_OK) {
        return quipu_js_failure(nats, s, (int)number, "asking for consumer", puller->consumer, err);
    }
    *pending = info->NumPending;
    jsConsumerInfo_Destroy(info);
    return QUIPU_OK;
}

static int64_t fetch_bytes_max(const struct puller *puller)
{
    int64_t bytes_max = 2 * natsConnection_GetMaxPayload(puller->nats->connection);
    return bytes_max < FETCH_BYTES_MIN ? FETCH_BYTES_MIN : bytes_max;
}

enum quipu_status quipu_pull_fetch_ahead(struct puller *puller, struct quipu_error *err)
{
    enum quipu_status status = fetch_request(puller, fetch_bytes_max(puller), err);
    puller->is_requested = status == QUIPU_OK;
    return status;
}

/* That nothing came is not yet the end: the server also sends nothing where the next message is
 * longer than the bound. The end is where it says that nothing is pending. */
enum quipu_status quipu_pull_fetch(struct puller *puller, struct quipu_error *err)
{
    int64_t bytes_max = fetch_bytes_max(puller);
    uint64_t pending = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        enum quipu_status status = fetch_once(puller, attempt == 0 ? bytes_max : 0, err);
        if (status != QUIPU_OK || puller->count > 0) {
            return status;
        }
        status = consumer_pending(puller, &pending, err);
        if (status != QUIPU_OK || pending == 0) {
            return status == QUIPU_OK ? QUIPU_DONE : status;
        }
    }
    return quipu_error_set(err, QUIPU_SERVER,
                           "stream %s has %" PRIu64
                           " messages for us and delivers none; pull again "
                           "later",
                           puller->nats->stream, pending);
}

enum quipu_status quipu_pull_acknowledge(struct puller *puller, size_t from, size_t to,
                                         struct quipu_error *err)
{
    natsStatus s = NATS_OK;
    if (to > from) {
        s = natsConnection_PublishString(puller->nats->connection,
                                         natsMsg_GetReply(puller->batch[to - 1].msg), "+ACK");
    }
    return s == NATS_OK ? QUIPU_OK
                        : quipu_error_nats(err, s, 0, "acknowledging to %s", puller->nats->stream);
}

enum quipu_status quipu_pull_acknowledged(struct puller *puller, struct quipu_error *err)
{
    natsStatus s = natsConnection_FlushTimeout(puller->nats->connection,
                                               quipu_nats_ms(puller->nats->request_timeout_us));
    return s == NATS_OK ? QUIPU_OK
                        : quipu_error_nats(err, s, 0, "acknowledging to %s", puller->nats->stream);
}

void quipu_pull_batch_clear(struct puller *puller)
{
    for (size_t i = 0; i < puller->count; i++) {
        natsMsg_Destroy(puller->batch[i].msg);
        quipu_buf_release(&puller->batch[i].payload);
        memset(&puller->batch[i], 0, sizeof puller->batch[i]);
    }
    puller->count = 0;
}
