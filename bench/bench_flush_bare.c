/*
 * What a plain program on the same library does with the same messages: the limit that a flush and
 * a pull are held against. It keeps nothing, checks nothing, and has no order to keep.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_flush.h"
#include "event_message.h"
#include "payload_store.h"
#include "quipu/jetstream.h"
#include "stored.h"

#define PARTS      3
#define FETCH      500
#define TIMEOUT_MS 20000

struct prepared_event {
    struct event_texts texts;
    struct payload_names names;
    struct quipu_buf blocks[PARTS]; /* chunk, meta, envelope */
};

struct prepared {
    size_t count;
    size_t cap;
    struct prepared_event *events;
    char subjects[SUBJECT_TEMPLATE_BYTES];
};

static void check(natsStatus s, const char *what)
{
    if (s != NATS_OK) {
        die("%s: %s", what, natsStatus_GetText(s));
    }
}

static enum quipu_status prepare_event(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *err)
{
    struct prepared *prepared = ctx;
    if (prepared->count == prepared->cap) {
        prepared->cap = prepared->cap == 0 ? 1024 : prepared->cap * 2;
        prepared->events = realloc(prepared->events, prepared->cap * sizeof *prepared->events);
        if (prepared->events == NULL) {
            die("out of memory");
        }
    }
    struct prepared_event *out = &prepared->events[prepared->count++];
    struct payload_object object = {out->names.cid, event->payload.len, 1};
    memset(out, 0, sizeof *out);
    quipu_buf_append_slice(&out->blocks[0], event->payload);
    quipu_buf_append_slice(&out->blocks[2], event->envelope_block);
    enum quipu_status status = quipu_event_texts(prepared->subjects, event, &out->texts, err);
    if (status == QUIPU_OK) {
        status = quipu_payload_names(BENCH_BUCKET, &event->envelope.payload, &out->names, err);
    }
    return status == QUIPU_OK
               ? quipu_payload_meta(BENCH_BUCKET, &out->names, &event->envelope.payload, &object,
                                    &out->blocks[1], err)
               : status;
}

struct prepared *prepared_make(struct quipu_engine *engine)
{
    struct quipu_error err;
    char literal[QUIPU_SUBJECT_LITERAL_MAX + 1];
    struct prepared *prepared = calloc(1, sizeof *prepared);
    if (prepared == NULL ||
        quipu_subject_template_make(QUIPU_SUBJECT_TEMPLATE_DEFAULT, QUIPU_SUBJECT_PREFIX_DEFAULT,
                                    prepared->subjects, literal, &err) != QUIPU_OK ||
        quipu_each_event(engine, NULL, prepare_event, prepared, &err) != QUIPU_OK) {
        die("preparing messages");
    }
    return prepared;
}

void prepared_free(struct prepared *prepared)
{
    for (size_t i = 0; i < prepared->count; i++) {
        for (size_t part = 0; part < PARTS; part++) {
            quipu_buf_release(&prepared->events[i].blocks[part]);
        }
    }
    free(prepared->events);
    free(prepared);
}

/* ------------------------------------------------------------------ a connection */

struct bare {
    natsConnection *connection;
    natsSubscription *inbox;
    char reply[64];
};

static void bare_open(struct bare *bare, const char *url)
{
    natsInbox *inbox = NULL;
    char all[80];
    check(natsConnection_ConnectTo(&bare->connection, url), "connect");
    check(natsInbox_Create(&inbox), "inbox");
    (void)snprintf(bare->reply, sizeof bare->reply, "%s.0000000000000000", inbox);
    (void)snprintf(all, sizeof all, "%s.*", inbox);
    natsInbox_Destroy(inbox);
    check(natsConnection_SubscribeSync(&bare->inbox, bare->connection, all), "subscribe");
    check(natsSubscription_SetPendingLimits(bare->inbox, -1, -1), "limits");
}

static void bare_close(struct bare *bare)
{
    natsSubscription_Destroy(bare->inbox);
    natsConnection_Destroy(bare->connection);
}

static void send_message(struct bare *bare, const struct nats_outgoing *message)
{
    natsMsg *msg = NULL;
    check(natsMsg_Create(&msg, message->subject, bare->reply, (const char *)message->body.data,
                         (int)message->body.len),
          "message");
    for (size_t i = 0; i < message->header_count; i++) {
        check(natsMsgHeader_Set(msg, message->headers[i].name, message->headers[i].value),
              "header");
    }
    check(natsConnection_PublishMsg(bare->connection, msg), "publish");
    natsMsg_Destroy(msg);
}

static void wait_for_answer(struct bare *bare)
{
    natsMsg *msg = NULL;
    check(natsSubscription_NextMsg(&msg, bare->inbox, TIMEOUT_MS), "answer");
    if (natsMsg_GetDataLength(msg) > 9 && memcmp(natsMsg_GetData(msg), "{\"error\":", 9) == 0) {
        die("refused: %.*s", natsMsg_GetDataLength(msg), natsMsg_GetData(msg));
    }
    natsMsg_Destroy(msg);
}

/* ------------------------------------------------------------------ publishing */

static void send_event(struct bare *bare, const struct prepared_event *event, enum bare_parts parts)
{
    struct nats_outgoing message;
    if (parts == BARE_ALL) {
        quipu_payload_chunk_message(&event->names, quipu_buf_slice(&event->blocks[0]),
                                    PAYLOAD_EXPECT_NOTHING, &message);
        send_message(bare, &message);
        quipu_payload_meta_message(&event->names, quipu_buf_slice(&event->blocks[1]),
                                   PAYLOAD_EXPECT_NOTHING, &message);
        send_message(bare, &message);
    }
    quipu_event_message(&event->texts, quipu_buf_slice(&event->blocks[2]),
                        EVENT_MSG_ID | EVENT_EXPECT_NOTHING, &message);
    send_message(bare, &message);
}

double bare_publish(const char *url, const struct prepared *prepared, enum bare_parts parts)
{
    struct bare bare;
    size_t each = parts == BARE_ALL ? PARTS : 1;
    size_t waiting = 0;
    bare_open(&bare, url);
    double began = now_seconds();
    for (size_t i = 0; i < prepared->count; i++) {
        while (waiting > (BENCH_WINDOW - 1) * each) {
            wait_for_answer(&bare);
            waiting--;
        }
        send_event(&bare, &prepared->events[i], parts);
        waiting += each;
    }
    for (; waiting > 0; waiting--) {
        wait_for_answer(&bare);
    }
    double took = now_seconds() - began;
    bare_close(&bare);
    return took;
}

/* ------------------------------------------------------------------ pulling */

static void get_payloads(struct bare *bare, const struct prepared *prepared, size_t from,
                         size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct stored_ask ask = {.stream = "OBJ_" BENCH_BUCKET,
                                       .subject = prepared->events[from + i].names.chunk_subject};
        struct stored_room room;
        struct nats_outgoing message;
        quipu_stored_request(&ask, STORED_DIRECT, &room, &message);
        check(
            natsConnection_PublishRequest(bare->connection, message.subject, bare->reply, NULL, 0),
            "get");
    }
    for (size_t i = 0; i < count; i++) {
        wait_for_answer(bare);
    }
}

double bare_pull(const char *url, const struct prepared *prepared)
{
    struct bare bare;
    jsCtx *js = NULL;
    natsSubscription *consumer = NULL;
    bare_open(&bare, url);
    check(natsConnection_JetStream(&js, bare.connection, NULL), "JetStream");
    double began = now_seconds();
    check(js_PullSubscribe(&consumer, js, "cim.keys.>", "bare", NULL, NULL, NULL), "consumer");
    for (size_t done = 0; done < prepared->count;) {
        natsMsgList list = {0};
        size_t rest = prepared->count - done;
        check(natsSubscription_Fetch(&list, consumer, rest < FETCH ? (int)rest : FETCH, TIMEOUT_MS,
                                     NULL),
              "fetch");
        get_payloads(&bare, prepared, done, (size_t)list.Count);
        for (int i = 0; i < list.Count; i++) {
            check(natsMsg_Ack(list.Msgs[i], NULL), "ack");
        }
        done += (size_t)list.Count;
        natsMsgList_Destroy(&list);
    }
    check(natsConnection_Flush(bare.connection), "flush");
    double took = now_seconds() - began;
    natsSubscription_Destroy(consumer);
    (void)js_DeleteConsumer(js, BENCH_STREAM, "bare", NULL, NULL);
    jsCtx_Destroy(js);
    bare_close(&bare);
    return took;
}
