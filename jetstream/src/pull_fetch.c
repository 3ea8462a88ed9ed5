/*
 * Fetching from the durable pull consumer and acknowledging to it.
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
#include "patience.h"
#include "puller.h"
#include "stored.h"

#define NS_PER_US        1000
#define FETCH_BYTES_MIN  ((int64_t)8 << 20)
#define STATUS_NOTHING   404
#define STATUS_ENDED     408
#define STATUS_BOUNDED   409
#define NO_STATUS        0
#define ACK_TOKENS_PLAIN 9
#define ACK_TOKENS_LONG  11

static natsStatus inbox_subscribe(struct puller *puller)
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

enum quipu_status quipu_pull_inbox_open(struct puller *puller, struct quipu_error *err)
{
    natsStatus s = inbox_subscribe(puller);
    return s == NATS_OK ? QUIPU_OK
                        : quipu_error_nats(err, s, 0, "listening at %s", puller->nats->server);
}

/* The number that stands `behind` the consumer's name: 2 the stream's sequence, 3 that of the
 * delivery, 4 the time.
 * $JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<delivery>.<time>.…, and from 11 tokens on
 * with domain and account between ACK and stream. 0 where it is none. */
static uint64_t ack_subject_number(const char *reply, int behind)
{
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
    int skip = (tokens == ACK_TOKENS_PLAIN ? 3 : 5) + behind;
    const char *p = reply;
    while (skip > 0) {
        skip -= *p == '.';
        p++;
    }
    char *end = NULL;
    uint64_t number = strtoull(p, &end, 10);
    return *p >= '0' && *p <= '9' && *end == '.' ? number : 0;
}

uint64_t quipu_ack_subject_sequence(const char *reply)
{
    return ack_subject_number(reply, 2);
}

uint64_t quipu_ack_subject_delivery(const char *reply)
{
    return ack_subject_number(reply, 3);
}

int64_t quipu_ack_subject_time(const char *reply)
{
    uint64_t unix_ns = ack_subject_number(reply, 4);
    return unix_ns > INT64_MAX ? 0 : (int64_t)(unix_ns / NS_PER_US);
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
    enum quipu_status status = quipu_nats_may_publish(nats, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s =
        natsConnection_PublishRequest(nats->connection, subject, puller->inbox_subject, body, len);
    return s == NATS_OK ? QUIPU_OK : quipu_error_nats(err, s, 0, "fetching from %s", nats->stream);
}

/* Takes ownership of `msg`. Deliveries are numbered without gaps: one that got lost between servers
 * must not be acknowledged with those behind it. */
static enum quipu_status take_message(struct puller *puller, natsMsg *msg, uint64_t sequence,
                                      struct quipu_error *err)
{
    const char *reply = natsMsg_GetReply(msg);
    uint64_t delivery = quipu_ack_subject_delivery(reply);
    if (delivery != puller->delivery + 1) {
        enum quipu_status status =
            quipu_error_set(err, QUIPU_SERVER,
                            "stream %s: delivery %" PRIu64 " came behind %" PRIu64
                            ", what is between got lost; pull again",
                            puller->nats->stream, delivery, puller->delivery);
        natsMsg_Destroy(msg);
        return status;
    }
    puller->delivery = delivery;
    struct pulled *item = &puller->batch[puller->count++];
    item->msg = msg;
    item->sequence = sequence;
    item->stored_unix_us = quipu_ack_subject_time(reply);
    return QUIPU_OK;
}

/* Takes ownership of `msg`. `*is_over`: it was the server's last word on this request. */
static enum quipu_status take_fetched(struct puller *puller, natsMsg *msg, bool *is_over,
                                      struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    uint64_t sequence = quipu_ack_subject_sequence(natsMsg_GetReply(msg));
    if (sequence != 0) {
        return take_message(puller, msg, sequence, err);
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

/*
 * The library takes a message that is empty and has a header "Status: 503", which anybody can
 * store, for the server's word that nobody is there, and swallows it. So the stream's leader is
 * asked whether the next message is one without a body; that it is, and its place in the row, is
 * all that there is to it. `*is_one` false: it is not, and nobody was there.
 */
static enum quipu_status take_swallowed(struct puller *puller, bool *is_one,
                                        struct quipu_error *err)
{
    uint64_t before =
        puller->count > 0 ? puller->batch[puller->count - 1].sequence : puller->place.sequence;
    const struct stored_ask ask = {
        .stream = puller->nats->stream, .subject = ">", .sequence = before + 1};
    struct stored next;
    natsMsg *msg = NULL;
    enum quipu_status status = quipu_stored_get(puller->nats, &ask, STORED_LEADER, &next, err);
    *is_one = false;
    if (status != QUIPU_OK) {
        return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
    }
    if (next.body.len == 0 && next.subject[0] != 0) {
        natsStatus s = natsMsg_Create(&msg, next.subject, NULL, NULL, 0);
        if (s != NATS_OK) {
            status = quipu_error_nats(err, s, 0, "reading stream %s", puller->nats->stream);
        } else {
            puller->delivery++;
            puller->batch[puller->count++] = (struct pulled){.msg = msg,
                                                             .sequence = next.sequence,
                                                             .stored_unix_us = next.unix_us,
                                                             .payload = QUIPU_BUF_INIT};
            *is_one = true;
        }
    }
    quipu_stored_release(&next);
    return status;
}

static enum quipu_status take_silence(struct puller *puller, struct quipu_error *err)
{
    bool is_one = false;
    enum quipu_status status = take_swallowed(puller, &is_one, err);
    if (status != QUIPU_OK || is_one) {
        return status;
    }
    return quipu_error_set(err, QUIPU_NOT_PROVISIONED,
                           "stream %s or its consumer is gone; pull again, or quipu provision",
                           puller->nats->stream);
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
            status = take_silence(puller, err);
        } else {
            status = quipu_error_nats(err, s, 0, "fetching from %s", nats->stream);
            status = status == QUIPU_TIMEOUT ? quipu_nats_denied(nats, status, err) : status;
        }
    }
    return status;
}

/* The first message behind our place, as the stream's leader knows it; 0: there is none. A direct
 * get would be answered by whichever replica comes first. */
static enum quipu_status next_sequence(struct puller *puller, uint64_t *out,
                                       struct quipu_error *err)
{
    const struct stored_ask ask = {
        .stream = puller->nats->stream, .subject = ">", .sequence = puller->place.sequence + 1};
    struct stored next;
    enum quipu_status status = quipu_stored_get(puller->nats, &ask, STORED_LEADER, &next, err);
    *out = 0;
    if (status == QUIPU_OK) {
        *out = next.sequence;
        quipu_stored_release(&next);
    }
    return status == QUIPU_NOT_FOUND ? QUIPU_OK : status;
}

enum quipu_status quipu_pull_place_holds(struct puller *puller, bool *out, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    const struct pull_place *place = &puller->place;
    if (place->sequence < puller->stream.first_sequence) {
        *out = true; /* the stream has forgotten all of that */
        return QUIPU_OK;
    }
    char subject[NATS_NAME_BYTES_MAX + 32];
    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.MSG.GET.%s", nats->stream);
    enum quipu_status status = quipu_nats_may_publish(nats, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsMsg *msg = NULL;
    jsErrCode number = 0;
    natsStatus s = js_GetMsg(&msg, nats->js, nats->stream, place->sequence, NULL, &number);
    if (s != NATS_OK && number != JSNoMessageFoundErr) {
        return quipu_js_failure(nats, s, (int)number, "reading stream", nats->stream, err);
    }
    uint8_t digest[QUIPU_SHA256_BYTES] = {0};
    if (s == NATS_OK) {
        quipu_sha256(quipu_msg_body(msg), digest);
    }
    *out = s == NATS_OK && memcmp(digest, place->digest, sizeof digest) == 0;
    natsMsg_Destroy(msg);
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

/*
 * That nothing came is not yet the end. The server sends nothing where the next message is longer
 * than the bound; and a consumer whose leader is new in a cluster delivers, and counts as pending,
 * what its own server holds by then. So the stream is asked whether there is more, and the consumer
 * again, for a while.
 */
enum quipu_status quipu_pull_fetch(struct puller *puller, struct quipu_error *err)
{
    int64_t until_us = quipu_monotonic_us() + 2 * puller->nats->request_timeout_us;
    struct backoff backoff = {0};
    uint64_t next = 0;
    for (;;) {
        enum quipu_status status = fetch_once(puller, fetch_bytes_max(puller), err);
        if (status != QUIPU_OK || puller->count > 0) {
            return status;
        }
        status = next_sequence(puller, &next, err);
        if (status != QUIPU_OK) {
            return status;
        }
        if (next == 0 || next > puller->stream.last_sequence) {
            return QUIPU_DONE;
        }
        status = fetch_once(puller, 0, err);
        if (status != QUIPU_OK || puller->count > 0) {
            return status;
        }
        status = quipu_pull_stop_check(puller, err);
        if (status != QUIPU_OK) {
            return status;
        }
        int64_t pause_us = quipu_backoff_next(&backoff, 0);
        if (quipu_monotonic_us() + pause_us >= until_us) {
            break;
        }
        quipu_nats_sleep(pause_us);
    }
    return quipu_error_set(err, QUIPU_SERVER,
                           "stream %s has message %" PRIu64
                           " for us and its consumer delivers none; pull again later",
                           puller->nats->stream, next);
}

enum quipu_status quipu_pull_acknowledge(struct puller *puller, size_t from, size_t to,
                                         struct quipu_error *err)
{
    const char *subject = NULL; /* the last one's that has one: take_swallowed */
    while (subject == NULL && to > from) {
        subject = natsMsg_GetReply(puller->batch[--to].msg);
    }
    if (subject == NULL) {
        return QUIPU_OK;
    }
    enum quipu_status status = quipu_nats_may_publish(puller->nats, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsStatus s = natsConnection_PublishString(puller->nats->connection, subject, "+ACK");
    return s == NATS_OK ? QUIPU_OK
                        : quipu_error_nats(err, s, 0, "acknowledging to %s", puller->nats->stream);
}

enum quipu_status quipu_pull_acknowledged(struct puller *puller, struct quipu_error *err)
{
    natsStatus s = quipu_nats_round_trip(puller->nats);
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
