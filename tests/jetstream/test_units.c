/*
 * The pure parts: replies, subjects, addresses, names, messages, pauses.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "backoff.h"
#include "event_message.h"
#include "json_view.h"
#include "nats_options.h"
#include "nats_status.h"
#include "payload_store.h"
#include "publish.h"
#include "puller.h"
#include "subject.h"

/* ------------------------------------------------------------------ acks */

static bool read_ack(const char *text, struct nats_ack *ack)
{
    return quipu_nats_ack_read(quipu_slice_text(text), ack);
}

Test(ack, reads_what_the_server_sends)
{
    struct nats_ack ack;

    cr_assert(read_ack("{\"stream\":\"S\", \"seq\":1}", &ack));
    cr_assert_eq(ack.sequence, 1);
    cr_assert_eq(ack.refusal, 0);
    cr_assert_not(ack.is_duplicate);
    cr_assert(quipu_slice_equal(ack.stream, quipu_slice_text("S")));

    cr_assert(read_ack("{\"stream\":\"S\", \"domain\":\"hub\", \"seq\":18446744073709551615,"
                       "\"duplicate\": true}",
                       &ack));
    cr_assert_eq(ack.sequence, UINT64_MAX);
    cr_assert(ack.is_duplicate);
}

Test(ack, reads_a_refusal)
{
    struct nats_ack ack;

    cr_assert(read_ack("{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last "
                       "sequence: 1\"},\"stream\":\"S\",\"seq\":0}",
                       &ack));

    cr_assert_eq(ack.refusal, 10071);
    cr_assert(quipu_slice_equal(ack.description, quipu_slice_text("wrong last sequence: 1")));
    cr_assert(read_ack("{\"error\":{\"code\":503}}", &ack));
    cr_assert_eq(ack.refusal, -1);
}

Test(ack, takes_nothing_else_for_an_ack)
{
    static const char *const others[] = {
        "",
        "{}",
        "+OK",
        "{\"stream\":\"S\"}",
        "{\"stream\":\"S\",\"seq\":0}",
        "{\"stream\":\"S\",\"seq\":-1}",
        "{\"stream\":\"S\",\"seq\":1",
        "{\"stream\":\"S\",\"seq\":1,}",
        "{\"stream\":\"S,\"seq\":1}",
        "{\"stream\":\"S\",\"seq\":18446744073709551616}",
        "[1]",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct nats_ack ack;
        cr_assert_not(read_ack(others[i], &ack), "taken: %s", others[i]);
    }
}

Test(json_view, walks_members_and_skips_what_is_nested)
{
    struct json_view view = quipu_json_view(quipu_slice_text(
        " { \"a\" : [1,{\"}\":\"]\\\"\"}] , \"b\":null,\"c\":\"x\\\"y\",\"d\":-1.5e3 "
        "} "));
    static const enum json_kind kinds[] = {JSON_NESTED, JSON_NULL, JSON_TEXT, JSON_NUMBER};
    struct json_member member;
    for (size_t i = 0; i < 4; i++) {
        char key[2] = {(char)('a' + i), 0};
        cr_assert(quipu_json_next(&view, &member));
        cr_assert(quipu_json_key_is(&member, key));
        cr_assert_eq(member.kind, kinds[i]);
    }
    cr_assert_not(quipu_json_next(&view, &member));
    cr_assert_eq(view.state, JSON_AT_END);
}

Test(json_view, ends_at_every_cut_without_reading_beyond)
{
    static const char text[] = "{\"a\":[1,{\"b\":\"c\\\\\"}],\"d\":true,\"e\":\"\\\"\"}";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *copy = malloc(len + 1); /* so that the sanitizer sees a step too far */
        cr_assert_not_null(copy);
        memcpy(copy, text, len);
        struct json_view view = quipu_json_view(quipu_slice(copy, len));
        struct json_member member;
        while (quipu_json_next(&view, &member)) {
        }
        cr_assert_eq(view.state, JSON_BAD, "cut at %zu", len);
        free(copy);
    }
}

/* ------------------------------------------------------------------ subjects and addresses */

Test(subject, covers_as_the_server_matches)
{
    static const struct {
        const char *wide;
        const char *narrow;
        bool covers;
    } cases[] = {
        {"cim.keys.>", "cim.keys.>", true},
        {"cim.>", "cim.keys.>", true},
        {">", "cim.keys.>", true},
        {"cim.*.>", "cim.keys.>", true},
        {"cim.keys.*", "cim.keys.>", false},
        {"cim.keys", "cim.keys.>", false},
        {"cim.keys.>", "cim.>", false},
        {"cim.other.>", "cim.keys.>", false},
        {"a.*.c", "a.b.c", true},
        {"a.b.c", "a.*.c", false},
        {"a.b.>", "a.b", false},
        {"a.b", "a.b", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(quipu_subject_covers(cases[i].wide, cases[i].narrow), cases[i].covers,
                     "%s over %s", cases[i].wide, cases[i].narrow);
    }
}

Test(subject, is_literal_without_wildcards_and_empty_tokens)
{
    cr_assert(quipu_subject_is_literal("cim.keys"));
    cr_assert(quipu_subject_is_literal("a"));
    static const char *const bad[] = {"",    ".",   "a.",  ".a",  "a..b",
                                      "a.*", "a.>", "a b", "a\n", "\xc3\xbc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_not(quipu_subject_is_literal(bad[i]), "%s", bad[i]);
    }
}

Test(url, is_checked_before_anybody_connects)
{
    static const char *const good[] = {
        "nats://127.0.0.1:4222", "localhost",      "localhost:4222",    "tls://a.example:443",
        "nats://u:p@h:1",        "nats://token@h", "nats://[::1]:4222", "nats://a:1, nats://b:2"};
    static const char *const bad[] = {"",           "nats://",          "http://h:1", "nats://h:0",
                                      "nats://h:x", "nats://h:65536",   "nats://h:",  "nats://h/x",
                                      "nats://u@",  "nats://[::1:4222", "a:1,,b:2",   "nats://h h"};
    struct quipu_error err;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert_eq(quipu_nats_url_check(good[i], &err), QUIPU_OK, "%s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_nats_url_check(bad[i], &err), QUIPU_INVALID, "%s", bad[i]);
    }
}

Test(url, never_shows_a_secret)
{
    char shown[64];
    quipu_nats_url_redact("nats://user:secret@h:1, tls://to@ken@g:2", shown, sizeof shown);
    cr_assert_str_eq(shown, "tls://g:2"); /* all in front may be a password */
    quipu_nats_url_redact("nats://user:pa,ss@h:1, tls://g:2", shown, sizeof shown);
    cr_assert_str_eq(shown, "nats://h:1, tls://g:2");
    quipu_nats_url_redact("nats://g:1, h:2", shown, sizeof shown);
    cr_assert_str_eq(shown, "nats://g:1, nats://h:2");

    struct quipu_error err;
    cr_assert_eq(quipu_nats_url_check("nats://user:secret@h:x", &err), QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "secret"));
    cr_assert_eq(quipu_nats_url_check("nats://user:half,secret@h:1", &err), QUIPU_INVALID);
    cr_assert_null(strstr(err.message, "half"), "%s", err.message);

    char tiny[8];
    quipu_nats_url_redact("nats://user:secret@host:1", tiny, sizeof tiny);
    cr_assert_lt(strlen(tiny), sizeof tiny);
}

static enum quipu_status open_with(struct quipu_nats_options options, struct quipu_error *err)
{
    struct quipu_nats *nats = NULL;
    enum quipu_status status = quipu_nats_open(&options, &nats, err);
    cr_assert_null(nats);
    return status;
}

Test(options, are_refused_where_a_name_is_malformed)
{
    struct quipu_error err;
    struct quipu_nats_options options = QUIPU_NATS_OPTIONS_INIT;
    options.stream = "A.B";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "stream \"A.B\""));
    options.stream = NULL;
    options.bucket = "";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    options.bucket = NULL;
    options.subject_prefix = "cim.>";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    options.subject_prefix = NULL;
    options.credentials_file = "/nonexistent/quipu.creds";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    cr_assert_not_null(strstr(err.message, "/nonexistent/quipu.creds"));
    options.credentials_file = NULL;
    options.user = "u";
    options.token = "t";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    options.user = NULL;
    options.token = NULL;
    options.tls_ca_file = "/nonexistent/ca.pem";
    cr_assert_eq(open_with(options, &err), QUIPU_INVALID);
    options.size = 1;
    cr_assert_eq(open_with(options, &err), QUIPU_MISUSE);
}

Test(ack_subject, gives_the_stream_sequence_with_and_without_a_domain)
{
    cr_assert_eq(quipu_ack_subject_sequence("$JS.ACK.S.C.1.42.7.1795264906821090022.3"), 42);
    cr_assert_eq(quipu_ack_subject_sequence("$JS.ACK.hub.ACCT.S.C.1.43.7.1795264906821090022.3"),
                 43);
    cr_assert_eq(quipu_ack_subject_sequence("$JS.ACK.hub.ACCT.S.C.1.44.7.17952649068.3.rand"), 44);
    static const char *const bad[] = {"", "_INBOX.x", "$JS.ACK.S.C.1.42", "$JS.ACK.S.C.1.x.7.1.3",
                                      "$JS.ACK.S.C.1.42.7.1.3.9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_ack_subject_sequence(bad[i]), 0, "%s", bad[i]);
    }
    cr_assert_eq(quipu_ack_subject_sequence(NULL), 0);
}

Test(ack_subject, gives_the_time_that_the_stream_got_it)
{
    cr_assert_eq(quipu_ack_subject_time("$JS.ACK.S.C.1.42.7.1795264906821090022.3"),
                 INT64_C(1795264906821090));
    cr_assert_eq(quipu_ack_subject_time("$JS.ACK.hub.ACCT.S.C.1.43.7.1795264906821090999.3"),
                 INT64_C(1795264906821090));
    cr_assert_eq(quipu_ack_subject_time("$JS.ACK.hub.ACCT.S.C.1.44.7.17952649068.3.rand"),
                 17952649);
    static const char *const bad[] = {"",
                                      "_INBOX.x",
                                      "$JS.ACK.S.C.1.42.7.x.3",
                                      "$JS.ACK.S.C.1.42.7.-1.3",
                                      "$JS.ACK.S.C.1.42.7..3",
                                      "$JS.ACK.S.C.1.42.7.18446744073709551615.3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_assert_eq(quipu_ack_subject_time(bad[i]), 0, "%s", bad[i]);
    }
    cr_assert_eq(quipu_ack_subject_time(NULL), 0);
}

/* ------------------------------------------------------------------ objects */

Test(payload, has_the_names_that_official_clients_look_under)
{
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice("\xa0", 1));
    struct payload_names names;
    struct quipu_buf meta = QUIPU_BUF_INIT;
    struct quipu_error err;

    cr_assert_eq(quipu_payload_names("b", &cid, &names, &err), QUIPU_OK);

    /* The empty map: its CID is known everywhere. */
    cr_assert_str_eq(names.cid, "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua");
    cr_assert_str_eq(names.chunk_subject,
                     "$O.b.C.bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua");
    cr_assert_str_eq(names.meta_subject,
                     "$O.b.M.YmFmeXJlaWdidGo0eDdpcDVsZWduZnpudWZ1b3BsNHNnNGtuemMyY29mNmR1YXM0YjNxMm"
                     "Z5NnN3dWE=");
    struct payload_object object = {names.cid, 1, 1};
    cr_assert_eq(quipu_payload_meta("b", &names, &cid, &object, &meta, &err), QUIPU_OK);
    static const char expected[] =
        "{\"name\":\"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua\",\"bucket\":"
        "\"b\","
        "\"nuid\":\"bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua\",\"size\":1,"
        "\"mtime\":\"0001-01-01T00:00:00Z\",\"chunks\":1,"
        "\"digest\":\"SHA-256=wZp5f6H9WQzS5bQtHPXyRuKbkWhOL4dAS4HcNFx6VqA=\"}";
    cr_assert_eq(meta.len, sizeof expected - 1, "%.*s", (int)meta.len, (const char *)meta.data);
    cr_assert_arr_eq(meta.data, expected, meta.len);
    quipu_buf_release(&meta);
}

Test(payload, leaves_room_for_headers_in_a_message)
{
    cr_assert_eq(quipu_payload_chunk_max(1 << 20, INT64_MAX), (1 << 20) - 256);
    cr_assert_eq(quipu_payload_chunk_max(1 << 20, 1000), 744);
    cr_assert_eq(quipu_payload_chunk_max(256, INT64_MAX), 0);
}

/* ------------------------------------------------------------------ the rest */

Test(backoff, doubles_within_its_bounds_and_starts_again)
{
    struct backoff backoff = {0};
    int64_t whole = BACKOFF_FIRST_US;
    for (int i = 0; i < 40; i++) {
        struct backoff low = backoff;
        cr_assert_eq(quipu_backoff_next(&low, 0), whole / 2);
        int64_t pause = quipu_backoff_next(&backoff, UINT64_MAX);
        cr_assert_geq(pause, whole / 2);
        cr_assert_leq(pause, whole);
        whole = whole * 2 > BACKOFF_MAX_US ? BACKOFF_MAX_US : whole * 2;
    }
    cr_assert_eq(whole, BACKOFF_MAX_US);
    quipu_backoff_reset(&backoff);
    cr_assert_leq(quipu_backoff_next(&backoff, 7), BACKOFF_FIRST_US);
}

Test(status, tells_duplicates_from_full_streams)
{
    cr_assert_eq(quipu_js_refusal(NATS_JS_WRONG_LAST_SEQUENCE), JS_REFUSAL_STORED);
    cr_assert_eq(quipu_js_refusal(NATS_JS_STORE_FAILED), JS_REFUSAL_ALL);
    cr_assert_eq(quipu_js_refusal(JSStreamMessageExceedsMaximumErr), JS_REFUSAL_EVENT);
    cr_assert_eq(quipu_js_refusal(JSClusterNotAvailErr), JS_REFUSAL_NOT_NOW);
    cr_assert_eq(quipu_js_refusal(99999), JS_REFUSAL_ALL);
    cr_assert_eq(quipu_status_from_nats(NATS_CONNECTION_AUTH_FAILED), QUIPU_AUTH);
    cr_assert_eq(quipu_status_from_nats(NATS_NO_SERVER), QUIPU_OFFLINE);
    cr_assert_eq(quipu_status_from_nats(NATS_PROTOCOL_ERROR), QUIPU_SERVER);
}

Test(message, counts_its_bytes_as_the_server_does)
{
    struct nats_outgoing message = {.subject = "s", .body = quipu_slice("12345", 5)};
    cr_assert_eq(quipu_outgoing_bytes(&message), 5);
    quipu_outgoing_add(&message, "A", "b");
    /* NATS/1.0\r\nA: b\r\n\r\n and the body */
    cr_assert_eq(quipu_outgoing_bytes(&message), strlen("NATS/1.0\r\nA: b\r\n\r\n") + 5);
}
