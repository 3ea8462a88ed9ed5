/*
 * Which requests were carried out is known by events that were recorded here: none that a caller
 * made up, or that came in from elsewhere, can stand for a command that never ran.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "quipu/dagjson.h"
#include "quipu/sha256.h"
#include "service_kit.h"

#define APPEND "svc.cim.keys.cmd.append"
#define REVOKE                                                                                     \
    "{\"aggregate_type\":\"key\",\"aggregate_id\":\"root\",\"event_type\":\"key.revoked\","        \
    "\"payload\":{\"why\":\"compromised\"}}"
#define NOTE_IN  "{\"aggregate_type\":\"note\",\"aggregate_id\":\"n\",\"event_type\":\"note.made\","
#define NOTE     NOTE_IN "\"payload\":{\"x\":1}}"
#define VICTIM   "ceremony-7-step-3"
#define TRACE(n) "00-4bf92f3577b34da6a3ce929d0e0e473" n "-00f067aa0ba902b7-01"

TestSuite(service_origin, .timeout = 100);

/* The event_id that a request gives to its event `number`, as SPEC §10.8 has it. */
static const char *id_of(const char *request, unsigned char number, char out[QUIPU_UUID_TEXT_BYTES])
{
    static const char front[] = "quipu-request-v1\0append";
    uint8_t digest[QUIPU_SHA256_BYTES];
    struct quipu_uuid id;
    char text[128];
    size_t len = strlen(request) + 1;
    memcpy(text, front, sizeof front);
    memcpy(text + sizeof front, request, len);
    memset(text + sizeof front + len, 0, 8);
    text[sizeof front + len + 7] = (char)number;
    quipu_sha256(quipu_slice(text, sizeof front + len + 8), digest);
    memcpy(id.bytes, digest, sizeof id.bytes);
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0f) | 0x80);
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3f) | 0x80);
    quipu_uuid_format(id, out);
    return out;
}

static enum quipu_status take_meta(void *ctx, const struct quipu_event_view *event,
                                   struct quipu_error *err)
{
    char *meta = ctx;
    struct quipu_buf text;
    quipu_buf_init_fixed(&text, meta, 511);
    enum quipu_status status = quipu_dagjson_from_dagcbor(event->envelope.meta, &text, err);
    meta[text.len] = 0;
    return status;
}

/* The service itself tells the digest of a body: it carries it out under another request's id. */
static void digest_of(struct served *served, const char *body, char out[128])
{
    struct quipu_error err;
    char meta[512] = "";
    struct ask ask = {.subject = APPEND, .body = body, .headers = {{"X-Request-ID", "probe"}}};
    natsMsg_Destroy(served_ask(served->peer, &ask));
    struct quipu_filter filter = {.after = served_events(served) - 1};
    cr_assert_eq(quipu_each_event(served->store.engine, &filter, take_meta, meta, &err), QUIPU_OK);
    const char *digest = strstr(meta, "\"sha256\":");
    cr_assert_not_null(digest, "%s", meta);
    cr_assert_eq(sscanf(digest, "\"sha256\":{\"/\":{\"bytes\":\"%100[^\"]", out), 1, "%s", meta);
}

/* An event that says of itself what the victim's would: that it came of that request. */
static void forge(const char *digest, char out[1024])
{
    char id[QUIPU_UUID_TEXT_BYTES];
    (void)snprintf(out, 1024,
                   NOTE_IN "\"payload\":{\"x\":1},\"event_id\":\"%s\",\"meta\":{\"request\":{"
                           "\"id\":\"" VICTIM "\",\"sha256\":{\"/\":{\"bytes\":\"%s\"}}}}}",
                   id_of(VICTIM, 0, id), digest);
}

static void expect_status(natsMsg *answer, const char *status)
{
    cr_assert_str_eq(answer_header(answer, "X-Quipu-Status"), status, "%s",
                     answer_header(answer, "Nats-Service-Error"));
}

/* Ask to append `body` as request `id`. `is_duplicate`: what the answer must say. Where its first
 * event is comes back. */
static uint64_t ask_as(struct served *served, const char *body, const char *id, const char *trace,
                       const char *is_duplicate)
{
    char text[512];
    struct ask ask = {.subject = APPEND, .body = body, .headers = {{"X-Request-ID", id}}};
    if (trace != NULL) {
        ask.headers[1][0] = "traceparent";
        ask.headers[1][1] = trace;
    }
    natsMsg *answer = served_ask(served->peer, &ask);
    expect_status(answer, "");
    cr_assert_str_eq(answer_at(answer, "duplicate", text), is_duplicate);
    uint64_t position = answer_number(answer, "events.0.position");
    natsMsg_Destroy(answer);
    return position;
}

static void expect_conflict(struct served *served, const char *body, const char *id)
{
    struct ask ask = {.subject = APPEND, .body = body, .headers = {{"X-Request-ID", id}}};
    uint64_t events = served_events(served);
    natsMsg *answer = served_ask(served->peer, &ask);
    expect_status(answer, "EVENT_ID_CONFLICT");
    cr_assert_null(strstr(answer_header(answer, "Nats-Service-Error"), "carried out"), "%s",
                   answer_header(answer, "Nats-Service-Error"));
    natsMsg_Destroy(answer);
    cr_assert_eq(served_events(served), events);
}

Test(service_origin, a_caller_cannot_say_that_a_request_was_carried_out)
{
    struct served served;
    char digest[128];
    char forged[1024];
    served_start(&served, NULL);
    digest_of(&served, REVOKE, digest);
    forge(digest, forged);
    struct ask ask = {.subject = APPEND, .body = forged};
    natsMsg *answer = served_ask(served.peer, &ask);
    expect_status(answer, "INVALID");
    natsMsg_Destroy(answer);
    cr_assert_eq(served_events(&served), 1);

    cr_assert_eq(ask_as(&served, REVOKE, VICTIM, NULL, "false"), 2);
    served_release(&served);
}

Test(service_origin, nor_can_who_writes_into_the_stream)
{
    struct served served;
    struct js_store theirs;
    char digest[128];
    char forged[1024];
    served_start(&served, NULL);
    js_store_open(&theirs);
    struct quipu_nats *nats = js_connect(&served.server);
    js_provision(nats, 0);
    digest_of(&served, REVOKE, digest);
    forge(digest, forged);
    (void)js_store_append(&theirs, forged);
    cr_assert_eq(js_flush(&theirs, nats).published, 1);
    cr_assert_eq(js_pull(&served.store, nats).events.added, 1);

    expect_conflict(&served, REVOKE, VICTIM);
    cr_assert_eq(ask_as(&served, REVOKE, VICTIM " again", NULL, "false"), 3);
    quipu_nats_close(&nats);
    js_store_release(&theirs);
    served_release(&served);
}

Test(service_origin, what_another_store_recorded_of_the_same_request_is_the_same_event)
{
    struct served served;
    struct js_store first;
    struct js_store second;
    served_start(&served, NULL);
    (void)ask_as(&served, REVOKE, VICTIM, NULL, "false");
    served_stop(&served);
    js_store_open(&second);
    js_store_copy(&served.store, &second);
    first = served.store;
    served.store = second;
    served_run(&served, NULL);

    cr_assert_eq(ask_as(&served, REVOKE, VICTIM, NULL, "true"), 1);
    cr_assert_eq(served_events(&served), 1);
    expect_conflict(&served, NOTE, VICTIM);
    js_store_release(&first);
    served_release(&served);
}

Test(service_origin, a_store_with_another_key_knows_the_requests_of_the_one_before)
{
    struct served served;
    char key[4 * TEMP_DIR_BYTES];
    served_start(&served, NULL);
    (void)ask_as(&served, REVOKE, VICTIM, TRACE("1"), "false");
    served_stop(&served);
    js_store_close(&served.store);
    (void)snprintf(key, sizeof key, "%s/signing.key", served.store.path);
    cr_assert_eq(unlink(key), 0);
    js_store_reopen(&served.store);
    served_run(&served, NULL);

    cr_assert_eq(ask_as(&served, REVOKE, VICTIM, TRACE("2"), "true"), 1);
    cr_assert_eq(ask_as(&served, REVOKE, VICTIM " again", NULL, "false"), 2); /* by a new key */
    cr_assert_eq(ask_as(&served, REVOKE, VICTIM, TRACE("3"), "true"), 1);
    cr_assert_eq(served_events(&served), 2);
    served_release(&served);
}

Test(service_origin, whoever_takes_the_id_of_an_event_is_not_its_request)
{
    struct served served;
    char id[QUIPU_UUID_TEXT_BYTES];
    char taken[512];
    served_start(&served, NULL);
    struct ask ask = {.subject = APPEND, .body = taken};
    for (unsigned char number = 0; number < 2; number++) { /* of one request, and of another */
        const char *request = number == 0 ? VICTIM : "another";
        (void)snprintf(taken, sizeof taken, NOTE_IN "\"payload\":%d,\"event_id\":\"%s\"}", number,
                       id_of(request, number, id));
        natsMsg *answer = served_ask(served.peer, &ask);
        expect_status(answer, "");
        natsMsg_Destroy(answer);
    }

    expect_conflict(&served, REVOKE, VICTIM);
    cr_assert_eq(ask_as(&served, REVOKE, "another", NULL, "false"), 3);
    cr_assert_eq(ask_as(&served, REVOKE, "another", NULL, "true"),
                 3); /* it is one event, not two */
    served_release(&served);
}

/* The program and the library append what they are told; the id in the meta is held against the
 * request's all the same. */
Test(service_origin, nor_is_an_event_that_names_another_request)
{
    struct served served;
    char digest[128];
    char forged[1024];
    served_start(&served, NULL);
    digest_of(&served, REVOKE, digest);
    forge(digest, forged);
    char *named = strstr(forged, "\"id\":\"" VICTIM);
    cr_assert_not_null(named);
    named[sizeof "\"id\":\"" - 1] = 'X';
    (void)js_store_append(&served.store, forged);

    expect_conflict(&served, REVOKE, VICTIM);
    served_release(&served);
}
