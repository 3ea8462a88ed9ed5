/*
 * Commands and queries as requests, against a real server; asked by libnats alone.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "quipu/cid.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "service_kit.h"

#define APPEND "svc.cim.keys.cmd.append"
#define QUERY  "svc.cim.keys.query"
#define EVENT                                                                                      \
    "{\"aggregate_type\":\"key\",\"aggregate_id\":\"k1\",\"event_type\":\"key.used\","             \
    "\"payload\":{\"n\":1}}"
#define CORRELATION "0198f2c4-7a31-7c55-9d2e-4f5a6b7c8d9e"
#define TRACE       "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

static void expect_failure(natsMsg *answer, enum quipu_status status)
{
    char code[16];
    char text[512];
    char name[64];
    (void)snprintf(code, sizeof code, "%d", (int)status);
    (void)snprintf(name, sizeof name, "\"%s\"", quipu_status_name(status));
    cr_assert_str_eq(answer_header(answer, "Nats-Service-Error-Code"), code, "%s",
                     answer_header(answer, "Nats-Service-Error"));
    cr_assert_neq(answer_header(answer, "Nats-Service-Error")[0], 0);
    cr_assert_str_eq(answer_header(answer, "X-Quipu-Status"), quipu_status_name(status));
    cr_assert_str_eq(answer_at(answer, "error.number", text), code);
    cr_assert_str_eq(answer_at(answer, "error.status", text), name);
}

/* The event at a position, as its view's copy of what the tests look at. */
struct seen {
    struct quipu_uuid event_id;
    struct quipu_uuid correlation_id;
    struct quipu_cid cid;
    char meta[512]; /* DAG-JSON */
};

static enum quipu_status look(void *ctx, const struct quipu_event_view *event,
                              struct quipu_error *err)
{
    struct seen *seen = ctx;
    struct quipu_buf text;
    seen->event_id = event->envelope.event_id;
    seen->correlation_id = event->envelope.correlation_id;
    seen->cid = event->cid;
    quipu_buf_init_fixed(&text, seen->meta, sizeof seen->meta - 1);
    enum quipu_status status = event->envelope.meta.len == 0
                                   ? QUIPU_OK
                                   : quipu_dagjson_from_dagcbor(event->envelope.meta, &text, err);
    seen->meta[text.len] = 0;
    return status;
}

static struct seen event_at(struct served *served, uint64_t position)
{
    struct quipu_error err;
    struct seen seen = {.meta = ""};
    struct quipu_filter filter = {.after = position - 1, .until = position};
    cr_assert_eq(quipu_each_event(served->store.engine, &filter, look, &seen, &err), QUIPU_OK);
    return seen;
}

Test(service, appends_and_answers_with_where_the_event_is)
{
    struct served served;
    served_start(&served, NULL);
    struct ask ask = {.subject = APPEND,
                      .body = EVENT,
                      .headers = {{"Content-Type", "application/json; charset=utf-8"},
                                  {"X-Correlation-ID", CORRELATION},
                                  {"traceparent", TRACE}}};
    char text[512];
    char cid[QUIPU_CID_TEXT_BYTES];
    char link[128];

    natsMsg *answer = served_ask(served.peer, &ask);
    struct seen seen = event_at(&served, 1);
    quipu_cid_format(&seen.cid, cid);
    (void)snprintf(link, sizeof link, "{\"/\":\"%s\"}", cid);

    cr_assert_eq(answer_number(answer, "events.0.position"), 1);
    cr_assert_eq(answer_number(answer, "events.0.version"), 1);
    cr_assert_str_eq(answer_at(answer, "events.0.cid", text), link);
    cr_assert_str_eq(answer_at(answer, "duplicate", text), "false");
    cr_assert_str_eq(answer_header(answer, "Content-Type"), "application/json");
    cr_assert_str_eq(answer_header(answer, "X-Correlation-ID"), CORRELATION);
    cr_assert_str_eq(answer_header(answer, "traceparent"), TRACE);
    cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
    struct quipu_uuid correlation;
    cr_assert_eq(quipu_uuid_parse(quipu_slice_text(CORRELATION), &correlation), QUIPU_OK);
    cr_assert(quipu_uuid_equal(seen.correlation_id, correlation));
    cr_assert_str_eq(seen.meta, "{\"traceparent\":\"" TRACE "\"}");
    cr_assert_eq(seen.event_id.bytes[6] >> 4, 7);
    natsMsg_Destroy(answer);
    served_release(&served);
}

Test(service, speaks_dag_cbor_where_it_is_asked_in_it)
{
    struct served served;
    served_start(&served, NULL);
    struct quipu_error err;
    struct quipu_buf block = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(EVENT), &block, &err), QUIPU_OK);
    struct ask ask = {.subject = APPEND,
                      .block = quipu_buf_slice(&block),
                      .headers = {{"Content-Type", "application/vnd.ipld.dag-cbor"}}};

    natsMsg *answer = served_ask(served.peer, &ask);
    struct quipu_slice body =
        quipu_slice(natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer));
    struct quipu_buf json = QUIPU_BUF_INIT;
    cr_assert_str_eq(answer_header(answer, "Content-Type"), "application/vnd.ipld.dag-cbor");
    cr_assert_eq(quipu_dagjson_from_dagcbor(body, &json, &err), QUIPU_OK, "%s", err.message);
    quipu_buf_append_byte(&json, 0);
    cr_assert_not_null(strstr((const char *)json.data, "\"position\":1"));
    natsMsg_Destroy(answer);

    ask.headers[1][0] = "Accept";
    ask.headers[1][1] = "application/json";
    answer = served_ask(served.peer, &ask);
    cr_assert_eq(answer_number(answer, "events.0.position"), 2);
    natsMsg_Destroy(answer);
    quipu_buf_release(&json);
    quipu_buf_release(&block);
    served_release(&served);
}

Test(service, appends_several_or_none)
{
    struct served served;
    served_start(&served, NULL);
    struct ask ask = {.subject = APPEND, .body = "{\"events\":[" EVENT "," EVENT "]}"};
    struct ask bad = {.subject = APPEND,
                      .body = "{\"events\":[" EVENT ",{\"aggregate_type\":\"key\"}]}"};
    struct ask both = {.subject = APPEND, .body = "{\"events\":[" EVENT "],\"more\":1}"};
    struct ask none = {.subject = APPEND, .body = "{\"events\":[]}"};

    natsMsg *answer = served_ask(served.peer, &ask);
    cr_assert_eq(answer_number(answer, "events.1.position"), 2);
    cr_assert_eq(answer_number(answer, "events.1.version"), 2);
    natsMsg_Destroy(answer);
    const struct ask *refused[] = {&bad, &both, &none};
    for (size_t i = 0; i < 3; i++) {
        answer = served_ask(served.peer, refused[i]);
        expect_failure(answer, QUIPU_INVALID);
        natsMsg_Destroy(answer);
    }
    cr_assert_eq(served_events(&served), 2);
    served_release(&served);
}

Test(service, a_repeated_request_appends_nothing_and_gets_the_first_answer)
{
    struct served served;
    served_start(&served, NULL);
    struct ask ask = {.subject = APPEND,
                      .body = "{\"events\":[" EVENT "," EVENT "]}",
                      .headers = {{"X-Request-ID", "order 66"}, {"traceparent", TRACE}}};
    char first[512];
    char text[512];
    natsMsg *answer = served_ask(served.peer, &ask);
    (void)answer_at(answer, "events.1.cid", first);
    natsMsg_Destroy(answer);

    /* Another trace, other white space: the same request all the same. Also after a restart. */
    ask.body = "{\"events\":[" EVENT ",  " EVENT "]}";
    ask.headers[1][1] = "00-11111111111111111111111111111111-2222222222222222-00";
    for (int i = 0; i < 2; i++) {
        answer = served_ask(served.peer, &ask);
        cr_assert_str_eq(answer_at(answer, "duplicate", text), "true");
        cr_assert_str_eq(answer_at(answer, "events.1.cid", text), first);
        cr_assert_eq(answer_number(answer, "events.0.position"), 1);
        cr_assert_str_eq(answer_header(answer, "X-Request-ID"), "order 66");
        natsMsg_Destroy(answer);
        served_stop(&served);
        served_run(&served, NULL);
    }
    ask.body = EVENT;
    answer = served_ask(served.peer, &ask);
    expect_failure(answer, QUIPU_EVENT_ID_CONFLICT);
    natsMsg_Destroy(answer);

    ask.headers[0][1] = "order 67";
    answer = served_ask(served.peer, &ask);
    cr_assert_eq(answer_number(answer, "events.0.position"), 3);
    natsMsg_Destroy(answer);
    struct seen seen = event_at(&served, 1);
    cr_assert_eq(seen.event_id.bytes[6] >> 4, 8);
    cr_assert_not_null(strstr(seen.meta, "\"request\":{\"id\":\"order 66\",\"sha256\":{\"/\":"));
    cr_assert_not_null(strstr(seen.meta, "\"traceparent\":\"" TRACE "\""));
    served_release(&served);
}

struct asking {
    const struct served *served;
    unsigned appended;
    unsigned repeated;
};

/* No assertion in here: it would leave the thread by the wrong way out. */
static void *ask_the_same(void *ctx)
{
    struct asking *asking = ctx;
    natsConnection *peer = NULL;
    natsStatus s = natsConnection_ConnectTo(&peer, asking->served->server.url);
    for (int i = 0; i < 25 && s == NATS_OK; i++) {
        char id[32];
        natsMsg *request = NULL;
        natsMsg *answer = NULL;
        (void)snprintf(id, sizeof id, "same-%d", i);
        s = natsMsg_Create(&request, APPEND, NULL, EVENT, (int)strlen(EVENT));
        if (s == NATS_OK) {
            s = natsMsgHeader_Set(request, "X-Request-ID", id);
        }
        if (s == NATS_OK) {
            s = natsConnection_RequestMsg(&answer, peer, request, PATIENCE_MS);
        }
        if (s == NATS_OK) {
            bool is_first = strstr(natsMsg_GetData(answer), "\"duplicate\":false") != NULL;
            asking->appended += is_first ? 1 : 0;
            asking->repeated += is_first ? 0 : 1;
        }
        natsMsg_Destroy(answer);
        natsMsg_Destroy(request);
    }
    natsConnection_Destroy(peer);
    return NULL;
}

Test(service, the_same_request_from_many_at_once_appends_once)
{
    struct served served;
    struct quipu_service_options options = QUIPU_SERVICE_OPTIONS_INIT;
    options.workers = 8;
    served_start(&served, &options);
    pthread_t threads[6];
    struct asking asking[6];
    unsigned appended = 0;
    unsigned repeated = 0;

    for (size_t i = 0; i < 6; i++) {
        asking[i] = (struct asking){&served, 0, 0};
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_the_same, &asking[i]), 0);
    }
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        appended += asking[i].appended;
        repeated += asking[i].repeated;
    }

    cr_assert_eq(served_events(&served), 25);
    cr_assert_eq(appended, 25, "%u of 150 answers speak of a new event", appended);
    cr_assert_eq(repeated, 125);
    struct quipu_service_report report;
    quipu_service_report(served.service, &report);
    cr_assert_eq(report.duplicates, 125);
    cr_assert_eq(report.errors, 0);
    served_release(&served);
}

static const struct {
    const char *body;
    const char *header;
    const char *value;
    enum quipu_status status;
} malformed[] = {
    {"{", NULL, NULL, QUIPU_JSON},
    {"", NULL, NULL, QUIPU_INVALID},
    {"[1]", NULL, NULL, QUIPU_INVALID},
    {"{\"aggregate_type\":\"key\"}", NULL, NULL, QUIPU_INVALID},
    {EVENT, "Content-Type", "text/plain", QUIPU_INVALID},
    {EVENT, "Content-Type", "application/vnd.ipld.dag-cbor", QUIPU_CBOR_TRUNCATED},
    {EVENT, "Accept", "image/png", QUIPU_INVALID},
    {EVENT, "X-Correlation-ID", "seven", QUIPU_INVALID},
    {EVENT, "X-Causation-ID", "seven", QUIPU_INVALID},
    {EVENT, "X-Request-ID",
     "012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012"
     "3"
     "45678901234567890123456789012345678",
     QUIPU_INVALID},
    {"{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":\"key.used\",\"payload\":1,"
     "\"event_id\":\"0198f2c4-7a31-7c55-9d2e-4f5a6b7c8d9e\"}",
     "X-Request-ID", "r", QUIPU_INVALID},
    {"{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":\"key.used\",\"payload\":1,"
     "\"expected_version\":7}",
     NULL, NULL, QUIPU_VERSION_CONFLICT},
    {"{\"aggregate_type\":\"key\",\"aggregate_id\":\"k\",\"event_type\":\"key.used\",\"payload\":1,"
     "\"meta\":{\"request\":1}}",
     "X-Request-ID", "r", QUIPU_INVALID},
};

Test(service, says_what_failed_in_the_answer_and_on_the_error_subject)
{
    struct served served;
    served_start(&served, NULL);
    natsSubscription *errors = NULL;
    cr_assert_eq(natsConnection_SubscribeSync(&errors, served.peer, "svc.cim.keys.errors.>"),
                 NATS_OK);
    size_t count = sizeof malformed / sizeof malformed[0];

    for (size_t i = 0; i < count; i++) {
        struct ask ask = {.subject = APPEND,
                          .body = malformed[i].body,
                          .headers = {{malformed[i].header, malformed[i].value}}};
        char text[512];
        natsMsg *told = NULL;
        natsMsg *answer = served_ask(served.peer, &ask);
        char code[16];
        (void)snprintf(code, sizeof code, "%d", (int)malformed[i].status);
        cr_assert_str_eq(answer_header(answer, "Nats-Service-Error-Code"), code, "%zu: %s", i,
                         answer_header(answer, "Nats-Service-Error"));
        cr_assert_eq(natsSubscription_NextMsg(&told, errors, PATIENCE_MS), NATS_OK);
        cr_assert_str_eq(natsMsg_GetSubject(told), "svc.cim.keys.errors.append");
        cr_assert_eq(answer_number(told, "number"), (uint64_t)malformed[i].status);
        cr_assert_str_eq(answer_at(told, "subject", text), "\"" APPEND "\"");
        natsMsg_Destroy(told);
        natsMsg_Destroy(answer);
    }

    struct quipu_service_report report;
    quipu_service_report(served.service, &report);
    cr_assert_eq(report.requests, count);
    cr_assert_eq(report.errors, count);
    cr_assert_eq(served_events(&served), 0);
    natsSubscription_Destroy(errors);
    served_release(&served);
}

Test(service, a_malformed_trace_is_as_good_as_none)
{
    static const char *const bad[] = {
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    struct served served;
    served_start(&served, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct ask ask = {.subject = APPEND, .body = EVENT, .headers = {{"traceparent", bad[i]}}};
        natsMsg *answer = served_ask(served.peer, &ask);
        cr_assert_str_eq(answer_header(answer, "traceparent"), "");
        natsMsg_Destroy(answer);
        cr_assert_str_eq(event_at(&served, i + 1).meta, "");
    }
    served_release(&served);
}

Test(service, queries_are_answered_and_the_store_is_verified)
{
    struct served served;
    char text[512];
    served_start(&served, NULL);
    js_store_fill(&served.store, 30, 20, JS_PAYLOADS_UNIQUE);
    struct ask status = {.subject = QUERY, .body = "{\"query\":\"status\"}"};
    struct ask events = {.subject = QUERY, .body = "{\"query\":\"events\",\"limit\":3}"};
    struct ask verify = {.subject = QUERY, .body = "{\"query\":\"verify\"}"};
    struct ask get = {.subject = QUERY,
                      .body = "{\"query\":\"get\",\"projection\":\"none\",\"key\":\"k\"}"};
    struct ask empty = {.subject = QUERY, .body = ""};

    natsMsg *answer = served_ask(served.peer, &status);
    cr_assert_eq(answer_number(answer, "store.events"), 30);
    cr_assert_eq(answer_number(answer, "outbox.pending"), 30);
    natsMsg_Destroy(answer);
    answer = served_ask(served.peer, &events);
    cr_assert_eq(answer_number(answer, "events.2.position"), 3);
    natsMsg_Destroy(answer);
    answer = served_ask(served.peer, &verify);
    cr_assert_eq(answer_number(answer, "events"), 30);
    cr_assert_eq(answer_number(answer, "problems"), 0);
    cr_assert_str_eq(answer_at(answer, "findings", text), "[]");
    natsMsg_Destroy(answer);
    answer = served_ask(served.peer, &get);
    expect_failure(answer, QUIPU_NOT_FOUND);
    natsMsg_Destroy(answer);
    answer = served_ask(served.peer, &empty);
    expect_failure(answer, QUIPU_INVALID);
    natsMsg_Destroy(answer);
    served_release(&served);
}

Test(service, pages_fit_into_what_the_server_takes)
{
    struct served served;
    served_start(&served, NULL);
    js_store_fill(&served.store, 300, 8000, JS_PAYLOADS_UNIQUE);
    uint64_t after = 0;
    uint64_t found = 0;

    for (int pages = 0; after < 300 && pages < 100; pages++) {
        char body[128];
        (void)snprintf(body, sizeof body, "{\"query\":\"events\",\"limit\":10000,\"after\":%llu}",
                       (unsigned long long)after);
        struct ask ask = {.subject = QUERY, .body = body};
        natsMsg *answer = served_ask(served.peer, &ask);
        cr_assert_str_eq(answer_header(answer, "Nats-Service-Error"), "");
        const char *json = natsMsg_GetData(answer);
        for (const char *at = json; (at = strstr(at, "\"event_type\"")) != NULL; at++) {
            found++;
        }
        after = strstr(json, "\"next\":") == NULL ? 300 : answer_number(answer, "next");
        natsMsg_Destroy(answer);
    }

    cr_assert_eq(found, 300);
    served_release(&served);
}
