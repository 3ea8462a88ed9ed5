/*
 * A service's own handlers, its limits, its end, and what it refuses to be.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>

#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "service_kit.h"

#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

/* ------------------------------------------------------------------ a handler that decides */

/* The state is how many events there were. */
static enum quipu_status count_create(void *ctx, void **state, struct quipu_error *err)
{
    static _Thread_local uint64_t count;
    (void)ctx;
    (void)err;
    count = 0;
    *state = &count;
    return QUIPU_OK;
}

static enum quipu_status count_apply(void *ctx, void *state, const struct quipu_event_view *event,
                                     struct quipu_error *err)
{
    (void)ctx;
    (void)event;
    (void)err;
    ++*(uint64_t *)state;
    return QUIPU_OK;
}

static void count_destroy(void *ctx, void *state)
{
    (void)ctx;
    (void)state;
}

static const struct quipu_aggregate_kind vault = {.aggregate_type = "vault",
                                                  .create = count_create,
                                                  .apply = count_apply,
                                                  .destroy = count_destroy};

/* A vault may be opened once. */
static enum quipu_status open_once(void *ctx, const struct quipu_loaded *loaded,
                                   struct quipu_decision *out, struct quipu_error *err)
{
    static const uint8_t nothing[] = {0xf6};
    struct quipu_event event = {.type = "vault.opened", .payload = quipu_slice(nothing, 1)};
    if (*(const uint64_t *)loaded->state > 0) {
        return quipu_error_set(err, QUIPU_EXISTS, "the vault is open already");
    }
    return quipu_request_decide(ctx, out, &event, err);
}

static enum quipu_status run_open(void *ctx, struct quipu_request *request, struct quipu_error *err)
{
    (void)ctx;
    static const uint8_t yes[] = {0xf5};
    struct quipu_command command = QUIPU_COMMAND_INIT;
    command.kind = &vault;
    command.aggregate_id = "v1";
    command.decide = open_once;
    command.ctx = request;
    command.retries = 10;
    enum quipu_status status = quipu_request_run(request, &command, err);
    return status == QUIPU_OK ? quipu_request_result(request, quipu_slice(yes, 1), err) : status;
}

Test(service_run, a_handler_decides_and_a_repeat_is_not_decided_again)
{
    struct served served;
    struct quipu_service_command command = {.name = "open", .run = run_open};
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.commands = &command;
    options.command_count = 1;
    options.has_no_append = true;
    served_start(&served, &options);
    struct ask ask = {
        .subject = "svc.cim.keys.cmd.open", .body = "{}", .headers = {{"X-Request-ID", "r1"}}};
    char text[512];

    natsMsg *answer = served_ask(served.peer, &ask);
    cr_assert_eq(answer_number(answer, "events.0.version"), 1, "%s",
                 answer_header(answer, "Nats-Service-Error"));
    cr_assert_str_eq(answer_at(answer, "result", text), "true");
    natsMsg_Destroy(answer);
    answer = served_ask(served.peer, &ask);
    cr_assert_str_eq(answer_at(answer, "duplicate", text), "true");
    natsMsg_Destroy(answer);
    ask.headers[0][1] = "r2";
    answer = served_ask(served.peer, &ask);
    cr_assert_str_eq(answer_header(answer, "X-Quipu-Status"), "EXISTS");
    cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "the vault is open already");
    natsMsg_Destroy(answer);
    cr_assert_eq(served_events(&served), 1);
    served_release(&served);
}

/* ------------------------------------------------------------------ a protocol of one's own */

#define GUID "6f1c"

/* ExecuteHandler on …forVault becomes an event; its HandlerResult goes to …forApp. */
static enum quipu_status execute(void *ctx, struct quipu_request *request, struct quipu_error *err)
{
    (void)ctx;
    struct quipu_event event = {.type = "handler.executed",
                                .aggregate = {"owner_space", GUID},
                                .payload = quipu_request_body(request)};
    struct quipu_slice body = quipu_request_body(request);
    enum quipu_status status = quipu_request_append(request, &event, 1, err);
    if (status == QUIPU_OK) {
        status = quipu_request_reply_to(request, "OwnerSpace." GUID ".forApp.result", err);
    }
    quipu_request_result_is_reply(request);
    return status == QUIPU_OK ? quipu_request_result(request, body, err) : status;
}

/* What a handler was asked, as it sees it. */
struct asked {
    char subject[64];
    char why[64]; /* of the header Why; "none" */
    struct quipu_uuid correlation_id;
};

static enum quipu_status note_asked(void *ctx, struct quipu_request *request,
                                    struct quipu_error *err)
{
    struct asked *asked = ctx;
    const char *why = quipu_request_header(request, "Why");
    (void)err;
    (void)snprintf(asked->subject, sizeof asked->subject, "%s", quipu_request_subject(request));
    (void)snprintf(asked->why, sizeof asked->why, "%s", why == NULL ? "none" : why);
    asked->correlation_id = quipu_request_correlation_id(request);
    return QUIPU_OK;
}

Test(service_run, a_handler_sees_what_it_was_sent_to_and_with)
{
    static const char correlation[] = "0198f2c4-7a31-7c55-9d2e-4f5a6b7c8d9e";
    struct asked asked;
    struct quipu_service_command command = {
        .name = "note", .subject = "keys.*.note", .run = note_asked, .ctx = &asked};
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    struct served served;
    struct quipu_uuid expected;
    options.commands = &command;
    options.command_count = 1;
    cr_assert_eq(quipu_uuid_parse(quipu_slice_text(correlation), &expected), QUIPU_OK);
    served_start(&served, &options);

    struct ask full = {.subject = "keys.root.note",
                       .body = "{}",
                       .headers = {{"Why", "rotation"}, {"X-Correlation-ID", correlation}}};
    natsMsg *answer = served_ask(served.peer, &full);
    cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
    natsMsg_Destroy(answer);
    cr_assert_str_eq(asked.subject, "keys.root.note");
    cr_assert_str_eq(asked.why, "rotation");
    cr_assert(quipu_uuid_equal(asked.correlation_id, expected));

    struct ask bare = {.subject = "keys.leaf.note", .body = "{}"};
    answer = served_ask(served.peer, &bare);
    cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
    natsMsg_Destroy(answer);
    cr_assert_str_eq(asked.subject, "keys.leaf.note");
    cr_assert_str_eq(asked.why, "none");
    cr_assert(quipu_uuid_is_nil(asked.correlation_id));
    served_release(&served);
}

Test(service_run, is_asked_for_by_its_id)
{
    struct served served;
    char subject[128];
    char id[64];
    char text[512];
    served_start(&served, NULL);
    (void)snprintf(subject, sizeof subject, "$SRV.PING.quipu.%s", quipu_service_id(served.service));
    (void)snprintf(id, sizeof id, "\"%s\"", quipu_service_id(served.service));

    struct ask ask = {.subject = subject, .body = ""};
    natsMsg *answer = served_ask(served.peer, &ask);
    cr_assert_str_eq(answer_at(answer, "id", text), id);
    cr_assert_eq(strlen(quipu_service_id(served.service)), 22u);
    natsMsg_Destroy(answer);
    served_release(&served);
}

Test(service_run, request_and_reply_of_an_owner_space)
{
    struct served served;
    struct quipu_service_command command = {
        .name = "execute", .subject = "OwnerSpace." GUID ".forVault.>", .run = execute};
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.commands = &command;
    options.command_count = 1;
    served_start(&served, &options);
    natsSubscription *app = NULL;
    natsMsg *result = NULL;
    char text[512];
    cr_assert_eq(natsConnection_SubscribeSync(&app, served.peer, "OwnerSpace." GUID ".forApp.>"),
                 NATS_OK);

    cr_assert_eq(natsConnection_PublishString(served.peer, "OwnerSpace." GUID ".forVault.execute",
                                              "{\"handler\":\"sign\",\"request_id\":\"9\"}"),
                 NATS_OK);
    cr_assert_eq(natsSubscription_NextMsg(&result, app, PATIENCE_MS), NATS_OK);

    cr_assert_str_eq(natsMsg_GetSubject(result), "OwnerSpace." GUID ".forApp.result");
    cr_assert_str_eq(answer_at(result, "request_id", text), "\"9\"");
    cr_assert_eq(served_events(&served), 1);
    natsMsg_Destroy(result);
    natsSubscription_Destroy(app);
    served_release(&served);
}

/* ------------------------------------------------------------------ limits and the end */

Test(service_run, refuses_at_once_what_may_not_wait_and_answers_the_rest_at_the_end)
{
    struct served served;
    struct gate gate;
    struct quipu_service_command command = gate_command(&gate);
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.commands = &command;
    options.command_count = 1;
    options.workers = 1;
    options.waiting_max = 2;
    served_start(&served, &options);
    natsSubscription *inbox = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&inbox, served.peer, "_INBOX.answers"), NATS_OK);

    for (int i = 0; i < 6; i++) {
        cr_assert_eq(
            natsConnection_PublishRequestString(served.peer, GATE_SUBJECT, "_INBOX.answers", ""),
            NATS_OK);
        if (i == 0) {
            cr_assert_eq(sem_wait(&gate.entered), 0); /* the one worker is busy now */
        }
    }
    for (int i = 0; i < 3; i++) {
        natsMsg *busy = NULL;
        cr_assert_eq(natsSubscription_NextMsg(&busy, inbox, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(answer_header(busy, "X-Quipu-Status"), "BUSY");
        natsMsg_Destroy(busy);
    }
    quipu_service_stop(served.service);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(sem_post(&gate.may_go), 0);
    }
    for (int i = 0; i < 3; i++) {
        natsMsg *answer = NULL;
        cr_assert_eq(natsSubscription_NextMsg(&answer, inbox, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
        natsMsg_Destroy(answer);
    }
    natsSubscription_Destroy(inbox);
    served_release(&served);
}

Test(service_run, serves_again_after_the_server_was_away)
{
    struct served served;
    served_start(&served, NULL);
    natsConnection_Destroy(served.peer);
    nats_fixture_kill(&served.server);
    nats_fixture_restart(&served.server);
    cr_assert_eq(natsConnection_ConnectTo(&served.peer, served.server.url), NATS_OK);

    struct quipu_error err;
    struct quipu_service_report report;
    natsMsg *answer = NULL;
    quipu_service_report(served.service, &report);
    for (int i = 0; i < PATIENCE_MS / 10 && report.bridge.nats.connects < 2; i++) {
        (void)poll(NULL, 0, 10); /* nothing tells from outside that the loss was noticed */
        quipu_service_report(served.service, &report);
    }
    cr_assert_eq(quipu_service_wait_ready(served.service, PATIENCE_US, &err), QUIPU_OK);
    cr_assert_eq(
        natsConnection_RequestString(&answer, served.peer, "health.quipu", "", PATIENCE_MS),
        NATS_OK);

    char text[512];
    cr_assert_str_eq(answer_at(answer, "status", text), "\"ok\"");
    natsMsg_Destroy(answer);
    served_release(&served);
}

Test(service_run, a_trace_goes_from_the_request_into_the_stream)
{
    struct served served;
    served_start(&served, NULL);
    struct quipu_nats *nats = js_connect(&served.server);
    js_provision(nats, 0);
    natsSubscription *stream = NULL;
    natsMsg *published = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&stream, served.peer, "cim.keys.>"), NATS_OK);
    struct ask ask = {.subject = "svc.cim.keys.cmd.append",
                      .body = "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":"
                              "\"key.used\",\"payload\":1}",
                      .headers = {{"traceparent", TRACE}}};

    natsMsg_Destroy(served_ask(served.peer, &ask));
    cr_assert_eq(js_flush(&served.store, nats).published, 1);
    cr_assert_eq(natsSubscription_NextMsg(&published, stream, PATIENCE_MS), NATS_OK);

    cr_assert_str_eq(answer_header(published, "traceparent"), TRACE);
    natsMsg_Destroy(published);
    natsSubscription_Destroy(stream);
    quipu_nats_close(&nats);
    served_release(&served);
}

Test(service_run, refuses_names_and_subjects_that_cannot_be)
{
    static const struct {
        const char *name;
        const char *version;
        const char *prefix;
        const char *command;
        const char *subject;
    } bad[] = {
        {"a b", NULL, NULL, NULL, NULL},           {NULL, "1.0", NULL, NULL, NULL},
        {NULL, "01.0.0", NULL, NULL, NULL},        {NULL, "1.0.0-", NULL, NULL, NULL},
        {NULL, NULL, "cim.keys", NULL, NULL}, /* the stream would take and answer the requests */
        {NULL, NULL, "a..b", NULL, NULL},          {NULL, NULL, NULL, "a.b", NULL},
        {NULL, NULL, NULL, "append", NULL},        {NULL, NULL, NULL, "x", "cim.*.>"},
        {NULL, NULL, NULL, "x", "svc.cim.keys.>"}, {NULL, NULL, NULL, "x", "a.>.b"},
    };
    struct js_store store;
    struct quipu_error err;
    struct quipu_service *service = NULL;
    js_store_open(&store);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct quipu_service_command command = {
            .name = bad[i].command, .subject = bad[i].subject, .run = execute};
        struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
        options.name = bad[i].name;
        options.version = bad[i].version;
        options.prefix = bad[i].prefix;
        options.commands = &command;
        options.command_count = bad[i].command == NULL ? 0 : 1;
        cr_assert_eq(quipu_service_open(store.engine, &options, &service, &err), QUIPU_INVALID,
                     "%zu", i);
    }
    cr_assert_eq(quipu_service_open(store.engine, NULL, &service, &err), QUIPU_MISUSE);
    js_store_release(&store);
}
