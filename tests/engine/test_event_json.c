/*
 * Events as JSON: the input line, field by field, and the line that shows an event whole.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"
#include "quipu/dagcbor.h"

static struct kit kit;
static struct quipu_event_arena arena;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    quipu_event_arena_release(&arena);
    kit_close(&kit);
}

TestSuite(event_json, .init = setup, .fini = teardown);

static enum quipu_status read_line(const char *line, struct quipu_event *out)
{
    return quipu_event_from_json(quipu_slice_text(line), &arena, out, &kit.err);
}

#define NAMES "\"aggregate_type\":\"key\",\"aggregate_id\":\"root\",\"event_type\":\"key.made\""

Test(event_json, reads_what_is_required)
{
    struct quipu_event event;
    kit_assert_ok(&kit, read_line("{" NAMES ",\"payload\":{\"b\":1,\"a\":[]}}", &event));

    cr_assert_str_eq(event.type, "key.made");
    cr_assert_str_eq(event.aggregate.type, "key");
    cr_assert_str_eq(event.aggregate.id, "root");
    cr_assert(quipu_slice_equal(event.payload, quipu_slice("\xa2\x61\x61\x80\x61\x62\x01", 7)));
    cr_assert_eq(event.expected.kind, QUIPU_EXPECT_ANY);
    cr_assert_eq(event.schema, 0);
    cr_assert(quipu_uuid_is_nil(event.event_id));
    cr_assert(quipu_uuid_is_nil(event.correlation_id));
    cr_assert(quipu_uuid_is_nil(event.causation_id));
    cr_assert_not(event.occurred_at.is_set);
    cr_assert_eq(event.meta.len, 0);
    cr_assert_eq(event.secrets, QUIPU_SECRET_REFUSE);
}

Test(event_json, reads_every_field)
{
    struct quipu_event event;
    kit_assert_ok(
        &kit,
        read_line(" {\"payload\":null," NAMES ",\"schema\":2,\"expected_version\":7,"
                  "\"event_id\":\"0190b5d6-7c3a-7000-8000-000000000001\","
                  "\"correlation_id\":\"0190B5D6-7C3A-7000-8000-000000000002\","
                  "\"causation_id\":\"0190b5d6-7c3a-7000-8000-000000000003\","
                  "\"occurred_at\":\"2026-01-01T00:00:00.5+01:00\",\"meta\":{\"actor\":\"a\"}} ",
                  &event));

    cr_assert_eq(event.schema, 2);
    cr_assert_eq(event.expected.kind, QUIPU_EXPECT_EXACT);
    cr_assert_eq(event.expected.version, 7);
    cr_assert(quipu_uuid_equal(event.event_id, kit_uuid(1)));
    cr_assert(quipu_uuid_equal(event.correlation_id, kit_uuid(2)));
    cr_assert(quipu_uuid_equal(event.causation_id, kit_uuid(3)));
    cr_assert(event.occurred_at.is_set);
    cr_assert_eq(event.occurred_at.unix_us, INT64_C(1767222000500000));
    cr_assert(quipu_slice_equal(event.meta, kit_block(&kit, "{\"actor\":\"a\"}")));
    cr_assert(quipu_slice_equal(event.payload, quipu_slice("\xf6", 1)));
}

Test(event_json, takes_integers_for_times_and_null_for_ids_that_are_not_given)
{
    struct quipu_event event;
    kit_assert_ok(&kit, read_line("{" NAMES ",\"payload\":1,\"occurred_at\":-12}", &event));
    cr_assert_eq(event.occurred_at.unix_us, -12);
    kit_assert_ok(&kit, read_line("{" NAMES ",\"payload\":1,\"occurred_at\":0}", &event));
    cr_assert(event.occurred_at.is_set);
    kit_assert_ok(&kit, read_line("{" NAMES ",\"payload\":1,\"event_id\":null,"
                                  "\"causation_id\":null,\"correlation_id\":null}",
                                  &event));
    cr_assert(quipu_uuid_is_nil(event.event_id));
    kit_assert_ok(&kit, read_line("{" NAMES ",\"payload\":1,\"expected_version\":0}", &event));
    cr_assert_eq(event.expected.kind, QUIPU_EXPECT_EXACT);
    cr_assert_eq(event.expected.version, 0);
}

Test(event_json, keeps_links_and_bytes_of_a_payload)
{
    struct quipu_event event;
    struct quipu_appended appended;
    kit_assert_ok(
        &kit, read_line("{" NAMES ",\"payload\":{\"to\":{\"/\":\"bafyreigfqy7j4pd2mndwscktqcj5kt"
                        "aahdujpwrnxjupjbsehji3mgrtx4\"},\"raw\":{\"/\":{\"bytes\":\"AAEC\"}}}}",
                        &event));
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &appended, &kit.err));
    kit_assert_sound(&kit, 1);
}

Test(event_json, names_the_field_that_is_wrong_and_the_cure)
{
    static const struct {
        const char *line;
        enum quipu_status status;
        const char *words;
    } table[] = {
        {"", QUIPU_JSON, ""},
        {"{", QUIPU_JSON, ""},
        {"{" NAMES ",\"payload\":1} x", QUIPU_JSON, ""},
        {"{" NAMES ",\"payload\":1,\"payload\":2}", QUIPU_JSON, ""},
        {"{" NAMES ",\"payload\":{\"/\":\"no CID\"}}", QUIPU_DAGJSON, ""},
        {"[]", QUIPU_INVALID, "JSON object"},
        {"1", QUIPU_INVALID, "JSON object"},
        {"{}", QUIPU_INVALID, "aggregate_type is missing"},
        {"{\"aggregate_type\":\"a\"}", QUIPU_INVALID, "aggregate_id is missing"},
        {"{\"aggregate_type\":\"a\",\"aggregate_id\":\"b\",\"payload\":1}", QUIPU_INVALID,
         "event_type is missing"},
        {"\xef\xbb\xbf{}", QUIPU_JSON, "byte order mark"},
        {"{" NAMES "}", QUIPU_INVALID, "payload is missing"},
        {"{\"payload\":1,\"aggregate_id\":\"a\",\"event_type\":\"b\"}", QUIPU_INVALID,
         "aggregate_type is missing"},
        {"{" NAMES ",\"payload\":1,\"schema\":0}", QUIPU_INVALID, "schema must be"},
        {"{" NAMES ",\"payload\":1,\"schema\":\"1\"}", QUIPU_INVALID, "schema must be"},
        {"{" NAMES ",\"payload\":1,\"schema\":1.0}", QUIPU_INVALID, "schema must be"},
        {"{" NAMES ",\"payload\":1,\"expected_version\":-1}", QUIPU_INVALID, "expected_version"},
        {"{" NAMES ",\"payload\":1,\"expected_version\":\"any\"}", QUIPU_INVALID,
         "expected_version"},
        {"{" NAMES ",\"payload\":1,\"event_id\":\"x\"}", QUIPU_INVALID, "event_id must be a UUID"},
        {"{" NAMES ",\"payload\":1,\"event_id\":7}", QUIPU_INVALID, "event_id must be a UUID"},
        {"{" NAMES ",\"payload\":1,\"causation_id\":\"00000000-0000-0000-0000-000000000000\"}",
         QUIPU_INVALID, "nil UUID"},
        {"{" NAMES ",\"payload\":1,\"occurred_at\":\"yesterday\"}", QUIPU_INVALID, "RFC 3339"},
        {"{" NAMES ",\"payload\":1,\"occurred_at\":1.5}", QUIPU_INVALID, "RFC 3339"},
        {"{" NAMES ",\"payload\":1,\"occurred_at\":9223372036854775808}", QUIPU_INVALID,
         "RFC 3339"},
        {"{" NAMES ",\"payload\":1,\"occurred_at\":null}", QUIPU_INVALID, "RFC 3339"},
        {"{" NAMES ",\"payload\":1,\"meta\":[]}", QUIPU_INVALID, "meta must be an object"},
        {"{" NAMES ",\"payload\":1,\"meta\":null}", QUIPU_INVALID, "meta must be an object"},
        {"{\"aggregate_type\":1,\"aggregate_id\":\"a\",\"event_type\":\"b\",\"payload\":1}",
         QUIPU_INVALID, "aggregate_type must be a string"},
        {"{\"aggregate_type\":\"a\",\"aggregate_id\":\"a\\u0000b\",\"event_type\":\"b\","
         "\"payload\":1}",
         QUIPU_INVALID, "aggregate_id holds the control character U+0000"},
        {"{" NAMES ",\"payload\":1,\"evnt_id\":1}", QUIPU_INVALID, "did you mean 'event_id'?"},
        {"{" NAMES ",\"payload\":1,\"aggregateType\":1}", QUIPU_INVALID,
         "did you mean 'aggregate_type'?"},
        {"{" NAMES ",\"payload\":1,\"data\":1}", QUIPU_INVALID, "did you mean 'payload'?"},
        {"{" NAMES ",\"payload\":1,\"Meta\":{}}", QUIPU_INVALID, "did you mean 'meta'?"},
        {"{" NAMES ",\"payload\":1,\"colour\":1}", QUIPU_INVALID,
         "unknown field 'colour'; put what is your own"},
        {"{" NAMES ",\"payload\":1,\"a_name_that_is_far_longer_than_any_that_is_known\":1}",
         QUIPU_INVALID, "unknown field 'a_name"},
        {"{" NAMES ",\"payload\":1,\"\":1}", QUIPU_INVALID, "unknown field ''"},
    };
    struct quipu_event event = {.schema = 99};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        enum quipu_status status = read_line(table[i].line, &event);
        cr_expect_eq(status, table[i].status, "%s: %s (%s)", table[i].line,
                     quipu_status_name(status), kit.err.message);
        cr_expect_not_null(strstr(kit.err.message, table[i].words), "%s: %s", table[i].line,
                           kit.err.message);
    }
    cr_assert_eq(event.schema, 99, "untouched");
}

Test(event_json, may_reuse_its_arena_for_line_after_line)
{
    struct quipu_event event;
    char line[4096];
    for (int i = 0; i < 200; i++) {
        (void)snprintf(line, sizeof line,
                       "{\"aggregate_type\":\"key\",\"aggregate_id\":\"%0*d\",\"event_type\":\"e\","
                       "\"payload\":{\"pad\":\"%0*d\"}}",
                       1 + i, i, 1 + 7 * i, i);
        kit_assert_ok(&kit, read_line(line, &event));
        cr_assert_eq(strlen(event.aggregate.id), (size_t)(1 + i));
        kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    }
    kit_assert_sound(&kit, 200);
}

/* ------------------------------------------------------------------ showing */

static void with_view(uint64_t position, void (*use)(const struct quipu_event_view *view))
{
    struct quipu_txn *txn = NULL;
    struct quipu_record record;
    struct quipu_event_view view;
    kit_assert_ok(&kit, quipu_txn_begin_read(kit.store, &txn, &kit.err));
    kit_assert_ok(&kit, quipu_txn_record_at(txn, position, &record, &kit.err));
    kit_assert_ok(&kit, quipu_event_view_of(&record, &view, &kit.err));
    use(&view);
    quipu_txn_abort(&txn);
}

static void assert_whole(const struct quipu_event_view *view)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_buf expected = QUIPU_BUF_INIT;
    char cid[QUIPU_CID_TEXT_BYTES];
    char prev[QUIPU_CID_TEXT_BYTES];
    char payload[QUIPU_CID_TEXT_BYTES];
    quipu_cid_format(&view->cid, cid);
    quipu_cid_format(&view->envelope.prev[0], prev);
    quipu_cid_format(&view->envelope.payload, payload);
    quipu_buf_append_text(&out, "before ");
    quipu_buf_printf(&expected,
                     "before {\"position\":2,\"cid\":\"%s\","
                     "\"event_id\":\"0190b5d6-7c3a-7000-8000-000000000009\","
                     "\"event_type\":\"thing.changed\",\"schema\":2,\"aggregate_type\":\"thing\","
                     "\"aggregate_id\":\"q\\\"\\\\ä\",\"version\":2,\"prev\":[\"%s\"],"
                     "\"correlation_id\":\"0190b5d6-7c3a-7000-8000-000000000002\","
                     "\"causation_id\":\"0190b5d6-7c3a-7000-8000-000000000001\","
                     "\"causation\":\"%s\",\"occurred_at\":\"2026-01-01T00:00:00.000005Z\","
                     "\"source\":\"%.*s\",\"source_seq\":2,\"meta\":{\"actor\":\"a\"},"
                     "\"payload_cid\":\"%s\",\"payload\":{\"n\":2}}",
                     cid, prev, prev, QUIPU_SLICE_FMT(view->envelope.source), payload);

    kit_assert_ok(&kit, quipu_event_to_json(view, &out, &kit.err));

    cr_assert(quipu_slice_equal(quipu_buf_slice(&out), quipu_buf_slice(&expected)), "%.*s",
              QUIPU_SLICE_FMT(out));
    quipu_buf_release(&out);
    quipu_buf_release(&expected);
}

Test(event_json, shows_an_event_whole)
{
    struct quipu_event event = kit_event(&kit, "q\"\\ä", 1);
    event.event_id = kit_uuid(1);
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    event = kit_event(&kit, "q\"\\ä", 2);
    event.event_id = kit_uuid(9);
    event.schema = 2;
    event.correlation_id = kit_uuid(2);
    event.causation_id = kit_uuid(1);
    event.occurred_at = quipu_instant_at(kit.now_unix_us + 5);
    event.meta = kit_block(&kit, "{\"actor\":\"a\"}");
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, NULL, &kit.err));
    with_view(2, assert_whole);
}

static void assert_bare(const struct quipu_event_view *view)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    kit_assert_ok(&kit, quipu_event_to_json(view, &out, &kit.err));
    quipu_buf_append_byte(&out, 0);
    const char *text = (const char *)out.data;
    cr_assert_not_null(strstr(text, "\"prev\":[],"), "%s", text);
    cr_assert_not_null(strstr(text, "\"causation_id\":null,\"occurred_at\""), "%s", text);
    cr_assert_null(strstr(text, "\"meta\""));
    cr_assert_null(strstr(text, "\"enc\""));
    quipu_buf_release(&out);

    /* A block that is damaged, and a buffer that is full. */
    struct quipu_event_view broken = *view;
    broken.payload = quipu_slice("\x18\x01", 2);
    quipu_buf_append_text(&out, "before");
    cr_assert_eq(quipu_event_to_json(&broken, &out, &kit.err), QUIPU_CORRUPT);
    cr_assert_eq(out.len, 6);
    quipu_buf_release(&out);
    uint8_t storage[64];
    quipu_buf_init_fixed(&out, storage, sizeof storage);
    cr_assert_eq(quipu_event_to_json(view, &out, &kit.err), QUIPU_TOO_LARGE);

    struct quipu_event_view encrypted = *view;
    struct quipu_buf whole = QUIPU_BUF_INIT;
    encrypted.envelope.enc = quipu_slice("\xa0", 1);
    encrypted.envelope.payload.codec = QUIPU_CODEC_RAW;
    encrypted.payload = quipu_slice("\0\1\2", 3);
    kit_assert_ok(&kit, quipu_event_to_json(&encrypted, &whole, &kit.err));
    quipu_buf_append_byte(&whole, 0);
    cr_assert_not_null(strstr((const char *)whole.data, "\"enc\":{}"));
    cr_assert_not_null(
        strstr((const char *)whole.data, "\"payload\":{\"/\":{\"bytes\":\"AAEC\"}}}"));
    quipu_buf_release(&whole);
}

/* A map that begins with the key "/", wherever it stands. */
static void assert_bytes(const struct quipu_event_view *view)
{
    struct quipu_buf out = QUIPU_BUF_INIT;
    struct quipu_event_view odd = *view;
    odd.payload = quipu_slice("\xa1\x61/\x61x", 5);
    odd.envelope.meta = quipu_slice("\xa1\x61m\xa1\x61/\xa1\x65"
                                    "bytes\x60",
                                    14);
    odd.envelope.enc = quipu_slice("\xa1\x61/\x60", 4);
    kit_assert_ok(&kit, quipu_event_to_json(&odd, &out, &kit.err));
    quipu_buf_append_byte(&out, 0);
    const char *text = (const char *)out.data;
    cr_assert_not_null(strstr(text, ",\"source_seq\":1,"
                                    "\"meta_bytes\":{\"/\":{\"bytes\":\"oWFtoWEvoWVieXRlc2A\"}},"
                                    "\"enc_bytes\":{\"/\":{\"bytes\":\"oWEvYA\"}},"
                                    "\"payload_cid\":"),
                       "%s", text);
    cr_assert_not_null(strstr(text, "\",\"payload_bytes\":{\"/\":{\"bytes\":\"oWEvYXg\"}}}"), "%s",
                       text);
    quipu_buf_release(&out);

    /* Where there is no room for it, nothing stands there. */
    uint8_t storage[1000];
    for (size_t room = 0; room < sizeof storage; room++) {
        quipu_buf_init_fixed(&out, storage, room);
        enum quipu_status status = quipu_event_to_json(&odd, &out, &kit.err);
        if (status == QUIPU_OK) {
            break;
        }
        cr_assert_eq(status, QUIPU_TOO_LARGE, "%zu: %s", room, quipu_status_name(status));
        cr_assert_eq(out.len, 0u, "%zu", room);
    }
}

Test(event_json, shows_as_bytes_what_dag_json_cannot_carry)
{
    kit_append(&kit, "a", 1);
    with_view(1, assert_bytes);
}

Test(event_json, leaves_out_what_is_not_there_and_says_what_is_wrong)
{
    kit_append(&kit, "a", 1);
    with_view(1, assert_bare);
}
