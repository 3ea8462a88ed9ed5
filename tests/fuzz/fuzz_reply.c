/*
 * What comes back from a server. Properties: an ack that is accepted reads the same when it is
 * written anew; the view of a JSON object finds in whatever the strict reader accepts the same keys
 * and values; a reply subject that is taken for ours is the one that its token gives, and every
 * token comes back from the subject that it is put into.
 *
 * The first byte chooses: 's' a reply subject, else JSON.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "connection_stub.h"
#include "fuzz.h"
#include "json_view.h"
#include "publish.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"

#define INBOX "_INBOX.fuzz."

/* ------------------------------------------------------------------ JSON */

static bool has_escape(struct quipu_slice text)
{
    return text.len > 0 && memchr(text.data, '\\', text.len) != NULL;
}

/* A whole number without sign, point, exponent or leading zero: what both readers call one. */
static bool is_plain_number(struct quipu_slice raw)
{
    for (size_t i = 0; i < raw.len; i++) {
        if (raw.data[i] < '0' || raw.data[i] > '9') {
            return false;
        }
    }
    return raw.len > 0;
}

static void require_same_value(struct quipu_slice block, const struct json_member *member)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_dagcbor_item item;
    struct quipu_slice text;
    uint64_t number = 0;
    uint64_t ours = 0;
    quipu_dagcbor_reader_init(&reader, block);
    switch (member->kind) {
    case JSON_TEXT:
        FUZZ_REQUIRE(quipu_dagcbor_read_text(&reader, &text, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(has_escape(member->raw) || quipu_slice_equal(text, member->raw));
        return;
    case JSON_NUMBER:
        if (!is_plain_number(member->raw)) {
            FUZZ_REQUIRE(!quipu_json_u64(member, &ours));
            return;
        }
        FUZZ_REQUIRE(quipu_dagcbor_read_uint(&reader, &number, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(quipu_json_u64(member, &ours) && ours == number);
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        FUZZ_REQUIRE(quipu_dagcbor_next(&reader, &item, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(item.kind == QUIPU_DAGCBOR_BOOL &&
                     (item.number != 0) == (member->kind == JSON_TRUE));
        return;
    case JSON_NULL:
        FUZZ_REQUIRE(quipu_dagcbor_next(&reader, &item, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(item.kind == QUIPU_DAGCBOR_NULL);
        return;
    case JSON_NESTED:
        break;
    }
    FUZZ_REQUIRE(member->raw.data[0] == '{' || member->raw.data[0] == '[');
}

/* Compares the walk with what the strict reader made of the same text. */
static void require_same_object(struct quipu_slice text, struct quipu_slice block)
{
    struct quipu_dagcbor_reader reader;
    struct json_view view = quipu_json_view(text);
    struct json_member member;
    uint64_t pairs = 0;
    uint64_t seen = 0;
    quipu_dagcbor_reader_init(&reader, block);
    if (quipu_dagcbor_read_map(&reader, &pairs, NULL) != QUIPU_OK) {
        return; /* a list, a text, or a link, which is written as an object */
    }
    while (quipu_json_next(&view, &member)) {
        char key[64];
        struct quipu_slice value;
        seen++;
        if (has_escape(member.key) || member.key.len >= sizeof key) {
            continue;
        }
        memcpy(key, member.key.data, member.key.len);
        key[member.key.len] = 0;
        FUZZ_REQUIRE(quipu_json_key_is(&member, key));
        FUZZ_REQUIRE(quipu_dagcbor_map_get(block, key, &value, NULL) == QUIPU_OK);
        require_same_value(value, &member);
    }
    FUZZ_REQUIRE(view.state == JSON_AT_END && seen == pairs);
}

static void require_inside(struct quipu_slice part, struct quipu_slice whole)
{
    FUZZ_REQUIRE(part.len == 0 ||
                 (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static void require_ack_comes_back(const struct nats_ack *ack)
{
    struct quipu_buf text = QUIPU_BUF_INIT;
    struct nats_ack again;
    quipu_buf_printf(&text, "{\"stream\":\"%.*s\",\"seq\":%" PRIu64 ",\"duplicate\":%s",
                     QUIPU_SLICE_FMT(ack->stream), ack->sequence,
                     ack->is_duplicate ? "true" : "false");
    if (ack->refusal != 0) {
        quipu_buf_printf(&text, ",\"error\":{");
        if (ack->refusal > 0) {
            quipu_buf_printf(&text, "\"err_code\":%d,", ack->refusal);
        }
        quipu_buf_printf(&text, "\"description\":\"%.*s\"}", QUIPU_SLICE_FMT(ack->description));
    }
    quipu_buf_append_text(&text, "}");
    FUZZ_REQUIRE(text.status == QUIPU_OK);
    FUZZ_REQUIRE(quipu_nats_ack_read(quipu_buf_slice(&text), &again));
    FUZZ_REQUIRE(quipu_slice_equal(again.stream, ack->stream));
    FUZZ_REQUIRE(again.sequence == ack->sequence && again.refusal == ack->refusal);
    FUZZ_REQUIRE(again.is_duplicate == ack->is_duplicate);
    FUZZ_REQUIRE(quipu_slice_equal(again.description, ack->description));
    quipu_buf_release(&text);
}

static void json(struct quipu_slice text)
{
    struct nats_ack ack;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct nats_ack before;
    memset(&ack, 0x5a, sizeof ack);
    memset(&before, 0x5a, sizeof before);
    if (quipu_nats_ack_read(text, &ack)) {
        FUZZ_REQUIRE(ack.refusal != 0 || ack.sequence > 0);
        require_inside(ack.stream, text);
        require_inside(ack.description, text);
        /* printf ends a text at a NUL byte, which no JSON has. */
        if ((ack.stream.len == 0 || memchr(ack.stream.data, 0, ack.stream.len) == NULL) &&
            (ack.description.len == 0 ||
             memchr(ack.description.data, 0, ack.description.len) == NULL)) {
            require_ack_comes_back(&ack);
        }
    } else {
        FUZZ_REQUIRE(memcmp(&ack, &before, sizeof ack) == 0);
    }
    if (quipu_dagjson_to_dagcbor(text, &block, NULL) == QUIPU_OK) {
        require_same_object(text, quipu_buf_slice(&block));
    }
    quipu_buf_release(&block);
}

/* ------------------------------------------------------------------ reply subjects */

static struct quipu_nats *handle(void)
{
    static struct quipu_nats nats = {.inbox_prefix = INBOX, .request_timeout_us = 1};
    if (nats.next_token == 0) {
        FUZZ_REQUIRE(nats_Open(-1) == NATS_OK); /* messages are freed by a thread of libnats */
        nats.next_token = 1;
    }
    return &nats;
}

static bool receive(const char *subject, struct nats_token *token)
{
    natsMsg *msg = NULL;
    if (!stub_comes(subject)) {
        return false; /* libnats makes no message with this subject */
    }
    enum quipu_status status = quipu_nats_receive(handle(), 0, &msg, token, NULL);
    FUZZ_REQUIRE(status == QUIPU_OK || status == QUIPU_DONE);
    FUZZ_REQUIRE((status == QUIPU_OK) == (msg != NULL));
    natsMsg_Destroy(msg);
    return status == QUIPU_OK;
}

static void require_token_comes_back(const struct nats_token *token)
{
    struct nats_token again = {0, 0};
    struct nats_outgoing message = {.subject = "to", .body = quipu_slice("x", 1)};
    FUZZ_REQUIRE(quipu_nats_publish(handle(), &message, token, NULL) == QUIPU_OK);
    FUZZ_REQUIRE(strncmp(stub_reply(), INBOX, strlen(INBOX)) == 0);
    FUZZ_REQUIRE(receive(stub_reply(), &again));
    FUZZ_REQUIRE(again.number == token->number && again.kind == token->kind);
}

static void reply_subject(struct quipu_slice input)
{
    char subject[256];
    struct nats_token token = {0, 0};
    size_t len = input.len < sizeof subject - 1 ? input.len : sizeof subject - 1;
    if (len > 0) {
        memcpy(subject, input.data, len);
    }
    subject[len] = 0;
    if (receive(subject, &token)) {
        struct nats_outgoing message = {.subject = "to", .body = quipu_slice("x", 1)};
        FUZZ_REQUIRE(quipu_nats_publish(handle(), &message, &token, NULL) == QUIPU_OK);
        FUZZ_REQUIRE(strcasecmp(stub_reply(), subject) == 0);
    }
    /* The input's bytes as a token of their own. */
    token = (struct nats_token){0, 0};
    for (size_t i = 0; i < len && i < 8; i++) {
        token.number = token.number << 8 | input.data[i];
    }
    token.kind = len > 8 ? input.data[8] & 15 : 0;
    require_token_comes_back(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 's') {
        reply_subject(quipu_slice(data + 1, size - 1));
    } else {
        json(quipu_slice(data, size));
    }
    return 0;
}
