/*
 * The shared part of the service's tests.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "service_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

static void *run(void *ctx)
{
    struct served *served = ctx;
    struct quipu_error err;
    served->ended = quipu_service_run(served->service, &err);
    return NULL;
}

void served_begin(struct served *served, const struct quipu_service_options *given)
{
    struct quipu_error err;
    struct quipu_nats_options nats = QUIPU_NATS_OPTIONS_INIT;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    if (given != NULL) {
        options = *given;
    }
    if (options.nats != NULL) {
        nats = *options.nats;
    } else {
        nats.url = served->server.url;
        nats.credentials_file = "";
    }
    options.nats = &nats;
    enum quipu_status status =
        quipu_service_open(served->store.engine, &options, &served->service, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
    cr_assert_eq(pthread_create(&served->thread, NULL, run, served), 0);
}

void served_run(struct served *served, const struct quipu_service_options *options)
{
    struct quipu_error err;
    served_begin(served, options);
    enum quipu_status status = quipu_service_wait_ready(served->service, PATIENCE_US, &err);
    cr_assert_eq(status, QUIPU_OK, "%s", err.message);
}

void served_start(struct served *served, const struct quipu_service_options *options)
{
    memset(served, 0, sizeof *served);
    nats_fixture_start(&served->server, NULL);
    js_store_open(&served->store);
    served_run(served, options);
    cr_assert_eq(natsConnection_ConnectTo(&served->peer, served->server.url), NATS_OK);
}

void served_stop(struct served *served)
{
    if (served->service == NULL) {
        return;
    }
    quipu_service_stop(served->service);
    cr_assert_eq(pthread_join(served->thread, NULL), 0);
    cr_assert_eq(served->ended, QUIPU_OK, "%s", quipu_status_name(served->ended));
    quipu_service_close(&served->service);
}

void served_release(struct served *served)
{
    served_stop(served);
    natsConnection_Destroy(served->peer);
    js_store_release(&served->store);
    nats_fixture_stop(&served->server);
}

static enum quipu_status wait_at(void *ctx, struct quipu_request *request, struct quipu_error *err)
{
    struct gate *gate = ctx;
    (void)request;
    (void)err;
    (void)sem_post(&gate->entered);
    (void)sem_wait(&gate->may_go);
    return QUIPU_OK;
}

struct quipu_service_command gate_command(struct gate *gate)
{
    struct quipu_service_command command = {.name = "wait", .run = wait_at, .ctx = gate};
    cr_assert_eq(sem_init(&gate->entered, 0, 0), 0);
    cr_assert_eq(sem_init(&gate->may_go, 0, 0), 0);
    return command;
}

natsMsg *served_ask(natsConnection *peer, const struct ask *ask)
{
    natsMsg *request = NULL;
    natsMsg *answer = NULL;
    struct quipu_slice body = ask->body != NULL ? quipu_slice_text(ask->body) : ask->block;
    cr_assert_eq(
        natsMsg_Create(&request, ask->subject, NULL, (const char *)body.data, (int)body.len),
        NATS_OK);
    for (int i = 0; i < 8 && ask->headers[i][0] != NULL; i++) {
        cr_assert_eq(natsMsgHeader_Set(request, ask->headers[i][0], ask->headers[i][1]), NATS_OK);
    }
    natsStatus s = natsConnection_RequestMsg(&answer, peer, request, PATIENCE_MS);
    cr_assert_eq(s, NATS_OK, "%s: %s", ask->subject, natsStatus_GetText(s));
    natsMsg_Destroy(request);
    return answer;
}

const char *answer_header(natsMsg *answer, const char *name)
{
    const char *value = NULL;
    return natsMsgHeader_Get(answer, name, &value) == NATS_OK ? value : "";
}

static struct quipu_slice step(struct quipu_slice at, const char *name, const char *path)
{
    struct quipu_error err;
    struct quipu_slice out = {NULL, 0};
    if (name[0] < '0' || name[0] > '9') {
        cr_assert_eq(quipu_dagcbor_map_get(at, name, &out, &err), QUIPU_OK, "nothing at %s", path);
        return out;
    }
    struct quipu_dagcbor_reader reader;
    uint64_t items = 0;
    quipu_dagcbor_reader_init(&reader, at);
    cr_assert_eq(quipu_dagcbor_read_list(&reader, &items, &err), QUIPU_OK, "%s", path);
    unsigned long wanted = strtoul(name, NULL, 10);
    cr_assert_lt(wanted, items, "nothing at %s", path);
    for (unsigned long i = 0; i <= wanted; i++) {
        cr_assert_eq(quipu_dagcbor_next_whole(&reader, &out, &err), QUIPU_OK);
    }
    return out;
}

const char *answer_at(natsMsg *answer, const char *path, char out[512])
{
    struct quipu_error err;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_slice body =
        quipu_slice(natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer));
    cr_assert_eq(quipu_dagjson_to_dagcbor(body, &block, &err), QUIPU_OK, "%.*s: %s",
                 QUIPU_SLICE_FMT(body), err.message);
    struct quipu_slice at = quipu_buf_slice(&block);
    char names[128];
    (void)snprintf(names, sizeof names, "%s", path);
    char *rest = NULL;
    for (char *name = strtok_r(names, ".", &rest); name != NULL;
         name = strtok_r(NULL, ".", &rest)) {
        at = step(at, name, path);
    }
    struct quipu_buf text;
    quipu_buf_init_fixed(&text, out, 511);
    cr_assert_eq(quipu_dagjson_from_dagcbor(at, &text, &err), QUIPU_OK);
    out[text.len] = 0;
    quipu_buf_release(&block);
    return out;
}

uint64_t answer_number(natsMsg *answer, const char *path)
{
    char text[512];
    return strtoull(answer_at(answer, path, text), NULL, 10);
}

uint64_t served_events(struct served *served)
{
    struct quipu_error err;
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(served->store.store, &txn, &err), QUIPU_OK);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}
