/*
 * The durable pull consumer of a store: made where there is none, and made anew where the one that
 * is there stands elsewhere or is not as quipu makes it, since a consumer that filters, skips or
 * cuts would look like a stream that has nothing more.
 *
 * Its description is read as the server sends it: the library knows only part of its members.
 *
 * Specification: docs/SPEC.md §10.4.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "json_view.h"
#include "nats_status.h"
#include "publish.h"
#include "puller.h"

#define SUBJECT_BYTES (NATS_NAME_BYTES_MAX + PULL_CONSUMER_BYTES + 48)
#define BODY_BYTES    (NATS_NAME_BYTES_MAX + PULL_CONSUMER_BYTES + 512)

/* As consumer_create writes them. */
#define ACK_WAIT_NS     "300000000000"
#define ACK_PENDING_MAX "20000"

struct consumer_facts {
    bool is_as_made;
    uint64_t delivered;    /* its number of the last one */
    uint64_t delivered_to; /* sequence of the stream; of one that is new, where it begins */
    uint64_t ack_floor;    /* the same of what was acknowledged; of one that is new, 0 */
    uint64_t ack_pending;
    uint64_t pending;
};

/* ------------------------------------------------------------------ reading */

static bool is_text(const struct json_member *member, const char *text)
{
    return quipu_slice_equal(member->raw, quipu_slice_text(text));
}

/* As if it were not there. */
static bool is_nothing(const struct json_member *member)
{
    switch (member->kind) {
    case JSON_FALSE:
    case JSON_NULL:
        return true;
    case JSON_TEXT:
        return member->raw.len == 0;
    case JSON_NUMBER:
        return is_text(member, "0");
    case JSON_TRUE:
    case JSON_NESTED:
        break;
    }
    return false;
}

/* Is this member of a configuration as quipu makes it, or one that changes nothing about what is
 * delivered? What is not known is taken for a difference. */
static bool is_member_as_made(const struct json_member *member)
{
    static const struct {
        const char *key;
        const char *value; /* NULL: any */
    } known[] = {
        {"ack_policy", "all"},
        {"ack_wait", ACK_WAIT_NS},
        {"deliver_policy", "all"},
        {"deliver_policy", "by_start_sequence"},
        {"description", NULL},
        {"durable_name", NULL},
        {"max_ack_pending", ACK_PENDING_MAX},
        {"max_deliver", "-1"},
        {"max_waiting", NULL},
        {"metadata", NULL},
        {"name", NULL},
        {"num_replicas", NULL},
        {"opt_start_seq", NULL}, /* the ack floor says where it stands */
        {"replay_policy", "instant"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (quipu_json_key_is(member, known[i].key) &&
            (known[i].value == NULL || is_text(member, known[i].value))) {
            return true;
        }
    }
    return is_nothing(member);
}

static bool is_config_as_made(struct quipu_slice config)
{
    struct json_view view = quipu_json_view(config);
    struct json_member member;
    bool is_as_made = true;
    bool has_policy = false;
    while (quipu_json_next(&view, &member)) {
        is_as_made = is_as_made && is_member_as_made(&member);
        has_policy = has_policy || quipu_json_key_is(&member, "ack_policy");
    }
    return is_as_made && has_policy && view.state == JSON_AT_END;
}

/* The number `key` in a nested object; 0 where there is none. */
static uint64_t number_in(struct quipu_slice object, const char *key)
{
    struct json_view view = quipu_json_view(object);
    struct json_member member;
    uint64_t number = 0;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, key) && !quipu_json_u64(&member, &number)) {
            number = 0;
        }
    }
    return number;
}

static bool facts_read(struct quipu_slice body, struct consumer_facts *out)
{
    struct consumer_facts facts = {.is_as_made = false};
    bool has_config = false;
    bool is_paused = false;
    bool are_numbers = true;
    struct json_view view = quipu_json_view(body);
    struct json_member member;
    while (quipu_json_next(&view, &member)) {
        if (quipu_json_key_is(&member, "config")) {
            has_config = true;
            facts.is_as_made = is_config_as_made(member.raw);
        } else if (quipu_json_key_is(&member, "delivered")) {
            facts.delivered = number_in(member.raw, "consumer_seq");
            facts.delivered_to = number_in(member.raw, "stream_seq");
        } else if (quipu_json_key_is(&member, "ack_floor")) {
            facts.ack_floor = number_in(member.raw, "stream_seq");
        } else if (quipu_json_key_is(&member, "num_ack_pending")) {
            are_numbers = are_numbers && quipu_json_u64(&member, &facts.ack_pending);
        } else if (quipu_json_key_is(&member, "num_pending")) {
            are_numbers = are_numbers && quipu_json_u64(&member, &facts.pending);
        } else if (quipu_json_key_is(&member, "paused")) {
            is_paused = member.kind == JSON_TRUE;
        }
    }
    facts.is_as_made = facts.is_as_made && !is_paused;
    *out = facts;
    return view.state == JSON_AT_END && has_config && are_numbers;
}

/* ------------------------------------------------------------------ asking */

/* One request of $JS.API.CONSUMER; the caller destroys `*out`. `*refusal`: JetStream's number. */
static enum quipu_status ask(struct puller *puller, const char *verb, const char *body,
                             natsMsg **out, int *refusal, struct quipu_error *err)
{
    struct quipu_nats *nats = puller->nats;
    char subject[SUBJECT_BYTES];
    (void)snprintf(subject, sizeof subject, "$JS.API.CONSUMER.%s.%s.%s", verb, nats->stream,
                   puller->consumer);
    enum quipu_status status = quipu_nats_may_publish(nats, subject, err);
    if (status != QUIPU_OK) {
        return status;
    }
    natsMsg *reply = NULL;
    natsStatus s = natsConnection_RequestString(&reply, nats->connection, subject, body,
                                                quipu_nats_ms(nats->request_timeout_us));
    if (s != NATS_OK) {
        return quipu_js_failure(nats, s, 0, "asking for consumer", puller->consumer, err);
    }
    struct nats_ack ack;
    *refusal = quipu_nats_ack_read(quipu_msg_body(reply), &ack) ? ack.refusal : 0;
    *out = reply;
    return QUIPU_OK;
}

static enum quipu_status refused(struct puller *puller, const char *what, int refusal,
                                 const natsMsg *reply, struct quipu_error *err)
{
    struct nats_ack ack = {.description = quipu_slice(NULL, 0)};
    if (refusal == JSNotEnabledErr || refusal == JSNotEnabledForAccountErr) {
        return quipu_js_failure(puller->nats, NATS_ERR, refusal, what, puller->consumer, err);
    }
    (void)quipu_nats_ack_read(quipu_msg_body(reply), &ack);
    return quipu_error_set(
        err, quipu_status_from_js(refusal), "%s %s of stream %s: %.*s (JetStream error %d)", what,
        puller->consumer, puller->nats->stream, (int)ack.description.len,
        ack.description.len == 0 ? "" : (const char *)ack.description.data, refusal);
}

/* Facts out of a reply, which is destroyed. */
static enum quipu_status facts_take(struct puller *puller, natsMsg *reply,
                                    struct consumer_facts *facts, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    if (!facts_read(quipu_msg_body(reply), facts)) {
        status = quipu_error_set(err, QUIPU_SERVER,
                                 "stream %s describes consumer %s in words that quipu does not "
                                 "understand",
                                 puller->nats->stream, puller->consumer);
    }
    natsMsg_Destroy(reply);
    return status;
}

static enum quipu_status consumer_create(struct puller *puller, struct consumer_facts *facts,
                                         struct quipu_error *err)
{
    char start[80] = "\"deliver_policy\":\"all\"";
    char body[BODY_BYTES];
    if (puller->place.sequence > 0) {
        (void)snprintf(start, sizeof start,
                       "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":%" PRIu64,
                       puller->place.sequence + 1);
    }
    /* Cumulative acks: what is committed is a beginning of the stream. */
    (void)snprintf(body, sizeof body,
                   "{\"stream_name\":\"%s\",\"config\":{\"durable_name\":\"%s\","
                   "\"description\":\"quipu: a store that pulls\",%s,\"ack_policy\":\"all\","
                   "\"ack_wait\":" ACK_WAIT_NS ",\"max_ack_pending\":" ACK_PENDING_MAX ","
                   "\"replay_policy\":\"instant\"}}",
                   puller->nats->stream, puller->consumer, start);
    natsMsg *reply = NULL;
    int refusal = 0;
    enum quipu_status status = ask(puller, "DURABLE.CREATE", body, &reply, &refusal, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (refusal != 0) {
        status = refused(puller, "making consumer", refusal, reply, err);
        natsMsg_Destroy(reply);
        return status;
    }
    return facts_take(puller, reply, facts, err);
}

static enum quipu_status consumer_delete(struct puller *puller, struct quipu_error *err)
{
    natsMsg *reply = NULL;
    int refusal = 0;
    enum quipu_status status = ask(puller, "DELETE", "", &reply, &refusal, err);
    if (status == QUIPU_OK && refusal != 0 && refusal != JSConsumerNotFoundErr) {
        status = refused(puller, "resetting consumer", refusal, reply, err);
    }
    natsMsg_Destroy(reply);
    return status;
}

/* @retval QUIPU_NOT_FOUND  there is none */
static enum quipu_status consumer_facts(struct puller *puller, struct consumer_facts *facts,
                                        struct quipu_error *err)
{
    natsMsg *reply = NULL;
    int refusal = 0;
    enum quipu_status status = ask(puller, "INFO", "", &reply, &refusal, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (refusal != 0) {
        status = refusal == JSConsumerNotFoundErr
                     ? QUIPU_NOT_FOUND
                     : refused(puller, "asking for consumer", refusal, reply, err);
        natsMsg_Destroy(reply);
        return status;
    }
    return facts_take(puller, reply, facts, err);
}

/*
 * It stands elsewhere where a pull was killed between its commit and its acks, where the store was
 * restored, or where somebody else used its name. Messages that were delivered and never
 * acknowledged would come only after the server's ack wait. A floor behind our place is the
 * server's, where all up to there has been removed from the stream.
 */
static bool is_in_place(const struct puller *puller, const struct consumer_facts *facts)
{
    uint64_t place = puller->place.sequence;
    uint64_t stands_at = facts->delivered == 0 ? facts->delivered_to : facts->ack_floor;
    return facts->is_as_made && facts->ack_pending == 0 &&
           (stands_at == place || (stands_at > place && stands_at < puller->stream.first_sequence));
}

enum quipu_status quipu_pull_consumer(struct puller *puller, struct quipu_error *err)
{
    struct consumer_facts facts = {.is_as_made = false};
    enum quipu_status status = consumer_facts(puller, &facts, err);
    if (status == QUIPU_OK && !is_in_place(puller, &facts)) {
        status = consumer_delete(puller, err);
        status = status == QUIPU_OK ? QUIPU_NOT_FOUND : status;
    }
    if (status == QUIPU_NOT_FOUND) {
        status = consumer_create(puller, &facts, err);
    }
    if (status == QUIPU_OK) {
        puller->total = facts.pending;
        puller->delivery = facts.delivered;
    }
    return status;
}
