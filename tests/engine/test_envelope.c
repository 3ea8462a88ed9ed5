/*
 * The envelope: golden bytes, every rule of SPEC §3, and encode(decode(x)) = x.
 *
 * The golden blocks and their CIDs were computed by an encoder of a few lines of Python and read
 * back by @ipld/dag-cbor, not by this code.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "envelope_keys.h"
#include "quipu/dagjson.h"
#include "quipu/envelope.h"
#include "quipu/store.h"
#include "quipu/text.h"

#define SOURCE "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN"

static const char first_hex[] =
    "ae61760164707265768066736368656d610166736f7572636578385541414143415144415143514d42594942"
    "4546415744414e4259485241454953434d4b424b46515844414d52554759344455504236334e4e677061796c"
    "6f6164d82a58250001711220c5863e9e3c7a63476909538093d54c0038e897da2dba68f486443a51b61a33bf"
    "6776657273696f6e01686576656e745f6964500190b5d67c3a700080000000000000016a6576656e745f7479"
    "70656d6b65792e67656e6572617465646a736f757263655f736571016b6f636375727265645f61741b000647"
    "48462040006c6167677265676174655f696469726f6f742d323032366c636175736174696f6e5f6964f66e61"
    "67677265676174655f74797065636b65796e636f7272656c6174696f6e5f6964500190b5d67c3a7000800000"
    "0000000001";
static const char first_cid[] = "bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge";
static const char second_hex[] =
    "b0617601646d657461a2616e22656163746f726161647072657681d82a58250001711220a548285d01e100d4"
    "e01b36ec349fe8491ad5742dfba159eb887c03752d12433166736368656d6119012c66736f75726365783855"
    "41414143415144415143514d425949424546415744414e4259485241454953434d4b424b46515844414d5255"
    "4759344455504236334e4e677061796c6f6164d82a58250001711220c5863e9e3c7a63476909538093d54c00"
    "38e897da2dba68f486443a51b61a33bf6776657273696f6e02686576656e745f6964500190b5d67c3a700080"
    "0000000000000269636175736174696f6ed82a58250001711220a548285d01e100d4e01b36ec349fe8491ad5"
    "742dfba159eb887c03752d1243316a6576656e745f747970656b6b65792e726f74617465646a736f75726365"
    "5f7365711a000111706b6f636375727265645f6174206c6167677265676174655f696469726f6f742d323032"
    "366c636175736174696f6e5f6964500190b5d67c3a700080000000000000016e6167677265676174655f7479"
    "7065636b65796e636f7272656c6174696f6e5f6964500190b5d67c3a70008000000000000001";
static const char second_cid[] = "bafyreicplk47udt232mc3ixz52kvumao2jv7kf556h4jldjgr73ak63qgu";

/* The second golden block as DAG-JSON, to make variants of. */
static const char second_json[] =
    "{\"v\":1,\"meta\":{\"n\":-3,\"actor\":\"a\"},\"prev\":[{\"/\":"
    "\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"}],\"schema\":300,"
    "\"source\":\"" SOURCE "\",\"payload\":{\"/\":"
    "\"bafyreigfqy7j4pd2mndwscktqcj5ktaahdujpwrnxjupjbsehji3mgrtx4\"},\"version\":2,"
    "\"event_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAg\"}},\"causation\":{\"/\":"
    "\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"},\"event_type\":"
    "\"key.rotated\",\"source_seq\":70000,\"occurred_at\":-1,\"aggregate_id\":\"root-2026\","
    "\"causation_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}},\"aggregate_type\":"
    "\"key\",\"correlation_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}}}";

static struct quipu_error err;

static void from_hex(const char *hex, struct quipu_buf *out)
{
    cr_assert_eq(quipu_hex_decode(out, quipu_slice_text(hex)), QUIPU_OK);
}

static void assert_cid(struct quipu_slice block, const char *expected)
{
    char text[QUIPU_CID_TEXT_BYTES];
    struct quipu_cid cid = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, block);
    quipu_cid_format(&cid, text);
    cr_assert_str_eq(text, expected);
}

static void assert_round_trip(struct quipu_slice block)
{
    struct quipu_envelope envelope;
    struct quipu_buf again = QUIPU_BUF_INIT;
    cr_assert_eq(quipu_envelope_decode(block, &envelope, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(quipu_envelope_encode(&envelope, &again, &err), QUIPU_OK, "%s", err.message);
    cr_assert(quipu_slice_equal(block, quipu_buf_slice(&again)));
    quipu_buf_release(&again);
}

static struct quipu_uuid uuid(uint8_t n)
{
    struct quipu_uuid out = {{0x01, 0x90, 0xb5, 0xd6, 0x7c, 0x3a, 0x70, 0, 0x80}};
    out.bytes[15] = n;
    return out;
}

/* The first golden envelope. */
static struct quipu_envelope first_envelope(void)
{
    static const uint8_t payload[] = {0xa1, 0x61, 0x6e, 0x01};
    return (struct quipu_envelope){
        .event_id = uuid(1),
        .event_type = quipu_slice_text("key.generated"),
        .schema = 1,
        .aggregate_type = quipu_slice_text("key"),
        .aggregate_id = quipu_slice_text("root-2026"),
        .version = 1,
        .payload = quipu_cid_of(QUIPU_CODEC_DAG_CBOR, quipu_slice(payload, sizeof payload)),
        .correlation_id = uuid(1),
        .occurred_unix_us = INT64_C(1767225600000000),
        .source = quipu_slice_text(SOURCE),
        .source_seq = 1,
    };
}

Test(envelope, encodes_the_golden_bytes_of_a_first_event)
{
    struct quipu_envelope envelope = first_envelope();
    struct quipu_buf golden = QUIPU_BUF_INIT;
    struct quipu_buf block = QUIPU_BUF_INIT;
    from_hex(first_hex, &golden);

    cr_assert_eq(quipu_envelope_encode(&envelope, &block, &err), QUIPU_OK, "%s", err.message);

    cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&golden)));
    assert_cid(quipu_buf_slice(&block), first_cid);
    quipu_buf_release(&golden);
    quipu_buf_release(&block);
}

Test(envelope, encodes_the_golden_bytes_of_an_event_with_everything)
{
    struct quipu_envelope envelope = first_envelope();
    struct quipu_buf golden = QUIPU_BUF_INIT;
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf meta = QUIPU_BUF_INIT;
    from_hex(second_hex, &golden);
    from_hex("a2616e22656163746f726161", &meta);
    envelope.version = 2;
    envelope.prev_count = 1;
    cr_assert_eq(quipu_cid_parse(quipu_slice_text(first_cid), &envelope.prev[0], &err), QUIPU_OK);
    envelope.schema = 300;
    envelope.event_id = uuid(2);
    envelope.event_type = quipu_slice_text("key.rotated");
    envelope.source_seq = 70000;
    envelope.occurred_unix_us = -1;
    envelope.causation_id = uuid(1);
    envelope.has_causation = true;
    envelope.causation = envelope.prev[0];
    envelope.meta = quipu_buf_slice(&meta);

    cr_assert_eq(quipu_envelope_encode(&envelope, &block, &err), QUIPU_OK, "%s", err.message);

    cr_assert(quipu_slice_equal(quipu_buf_slice(&block), quipu_buf_slice(&golden)));
    assert_cid(quipu_buf_slice(&block), second_cid);
    quipu_buf_release(&golden);
    quipu_buf_release(&block);
    quipu_buf_release(&meta);
}

Test(envelope, decodes_every_field)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    struct quipu_cid first;
    from_hex(second_hex, &block);
    cr_assert_eq(quipu_cid_parse(quipu_slice_text(first_cid), &first, &err), QUIPU_OK);

    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err), QUIPU_OK);

    cr_assert(quipu_uuid_equal(envelope.event_id, uuid(2)));
    cr_assert(quipu_uuid_equal(envelope.correlation_id, uuid(1)));
    cr_assert(quipu_uuid_equal(envelope.causation_id, uuid(1)));
    cr_assert(quipu_slice_equal(envelope.event_type, quipu_slice_text("key.rotated")));
    cr_assert(quipu_slice_equal(envelope.aggregate_type, quipu_slice_text("key")));
    cr_assert(quipu_slice_equal(envelope.aggregate_id, quipu_slice_text("root-2026")));
    cr_assert(quipu_slice_equal(envelope.source, quipu_slice_text(SOURCE)));
    cr_assert_eq(envelope.schema, 300);
    cr_assert_eq(envelope.version, 2);
    cr_assert_eq(envelope.source_seq, 70000);
    cr_assert_eq(envelope.occurred_unix_us, -1);
    cr_assert_eq(envelope.prev_count, 1);
    cr_assert(quipu_cid_equal(&envelope.prev[0], &first));
    cr_assert(envelope.has_causation);
    cr_assert(quipu_cid_equal(&envelope.causation, &first));
    cr_assert_eq(envelope.meta.len, 12);
    cr_assert_eq(envelope.enc.len, 0);
    quipu_buf_release(&block);
}

Test(envelope, reads_back_what_it_wrote)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    from_hex(first_hex, &block);
    assert_round_trip(quipu_buf_slice(&block));
    quipu_buf_reset(&block);
    from_hex(second_hex, &block);
    assert_round_trip(quipu_buf_slice(&block));
    quipu_buf_release(&block);
}

/* ------------------------------------------------------------------ decoding: refusals */

/* The second golden block with the first `from` replaced by `to`. */
static void variant(const char *from, const char *to, struct quipu_buf *block)
{
    char json[4096];
    const char *at = strstr(second_json, from);
    cr_assert_not_null(at, "%s", from);
    (void)snprintf(json, sizeof json, "%.*s%s%s", (int)(at - second_json), second_json, to,
                   at + strlen(from));
    quipu_buf_reset(block);
    cr_assert_eq(quipu_dagjson_to_dagcbor(quipu_slice_text(json), block, &err), QUIPU_OK, "%s: %s",
                 err.message, json);
}

static const char prev_link[] =
    "[{\"/\":\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"}]";
static const char payload_link[] =
    "\"payload\":{\"/\":\"bafyreigfqy7j4pd2mndwscktqcj5ktaahdujpwrnxjupjbsehji3mgrtx4\"}";
static const char cause_link[] = "\"causation\":{\"/\":"
                                 "\"bafyreiffjauf2apbadkoagzw5q2j72cjdlkxilp3ufm6xcd4an2s2esdge\"}";
static const char cause_id[] = "\"causation_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}}";
static const char event_id[] = "\"event_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAg\"}}";
static const char correlation_id[] =
    "\"correlation_id\":{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAAAQ\"}}";
#define NIL_BYTES   "{\"/\":{\"bytes\":\"AAAAAAAAAAAAAAAAAAAAAA\"}}"
#define SHORT_BYTES "{\"/\":{\"bytes\":\"AZC11nw6cACAAAAAAAAA\"}}"
#define RAW_LINK    "{\"/\":\"bafkreigfqy7j4pd2mndwscktqcj5ktaahdujpwrnxjupjbsehji3mgrtx4\"}"
#define CIDV0_LINK  "{\"/\":\"QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG\"}"

static const struct {
    const char *from;
    const char *to;
    const char *named;
} broken_rules[] = {
    {"\"v\":1", "\"v\":0", "v must be"},
    {"\"v\":1", "\"v\":\"1\"", "v is of the wrong kind"},
    {"\"v\":1", "\"v\":-1", "v is of the wrong kind"},
    {"\"v\":1,", "", "v is missing"},
    {"\"meta\":{\"n\":-3,\"actor\":\"a\"}", "\"meta\":[]", "meta is of the wrong kind"},
    {prev_link, "[]", "prev must be empty at version 1, and only there"},
    {prev_link, "null", "prev is of the wrong kind"},
    {prev_link, "[" CIDV0_LINK "]", "prev is of the wrong kind"},
    {prev_link, "[" RAW_LINK "]", "prev must hold dag-cbor links"},
    {prev_link, "[1]", "prev is of the wrong kind"},
    {"\"version\":2", "\"version\":1", "prev must be empty"},
    {"\"schema\":300", "\"schema\":0", "schema must be 1 to 2^53-1"},
    {"\"schema\":300", "\"schema\":9007199254740992", "schema must be 1 to 2^53-1"},
    {"\"schema\":300", "\"schema\":1.5", "schema is of the wrong kind"},
    {"\"schema\":300,", "", "schema is missing"},
    {"\"version\":2", "\"version\":0", "version must be 1 to 2^53-1"},
    {"\"version\":2", "\"version\":9007199254740992", "version must be 1 to 2^53-1"},
    {"\"source_seq\":70000", "\"source_seq\":0", "source_seq must be"},
    {"\"source_seq\":70000", "\"source_seq\":9007199254740992", "source_seq must be"},
    {"\"occurred_at\":-1", "\"occurred_at\":9007199254740992", "occurred_at must stay"},
    {"\"occurred_at\":-1", "\"occurred_at\":-9007199254740992", "occurred_at must stay"},
    {"\"occurred_at\":-1", "\"occurred_at\":\"2026\"", "occurred_at is of the wrong kind"},
    {"\"occurred_at\":-1", "\"occurred_at\":18446744073709551615", "occurred_at is of"},
    {"UAAACAQ", "AAAACAQ", "source must be"},
    {"UAAACAQ", "U1AACAQ", "source must be"},
    {"UAAACAQ", "UAAACA", "source must be"},
    {"\"source\":\"" SOURCE "\",", "", "source is missing"},
    {payload_link, "\"payload\":" CIDV0_LINK, "payload is of the wrong kind"},
    {payload_link, "\"payload\":" RAW_LINK, "payload must be a dag-cbor link"},
    {payload_link, "\"payload\":\"bafy\"", "payload is of the wrong kind"},
    {event_id, "\"event_id\":" NIL_BYTES, "event_id must not be the nil"},
    {event_id, "\"event_id\":" SHORT_BYTES, "event_id is of the wrong kind"},
    {event_id, "\"event_id\":null", "event_id is of the wrong kind"},
    {correlation_id, "\"correlation_id\":" NIL_BYTES, "correlation_id must not be the nil"},
    {correlation_id, "\"correlation_id\":null", "correlation_id is of the wrong kind"},
    {cause_id, "\"causation_id\":" NIL_BYTES, "causation_id is of the wrong kind"},
    {cause_id, "\"causation_id\":" SHORT_BYTES, "causation_id is of the wrong kind"},
    {cause_id, "\"causation_id\":null", "causation needs a causation_id"},
    {cause_link, "\"causation\":" RAW_LINK, "causation must be a dag-cbor link"},
    {cause_link, "\"causation\":null", "causation is of the wrong kind"},
    {"key.rotated", "key..rotated", "event_type must be"},
    {"key.rotated", ".rotated", "event_type must be"},
    {"key.rotated", "rotated.", "event_type must be"},
    {"key.rotated", "Key", "event_type must be"},
    {"key.rotated", "", "event_type must be"},
    {"\"aggregate_type\":\"key\"", "\"aggregate_type\":\"a.b\"", "aggregate_type must be"},
    {"\"aggregate_type\":\"key\"", "\"aggregate_type\":\"\"", "aggregate_type must be"},
    {"root-2026", "root\\n2026", "aggregate_id must be"},
    {"root-2026", "", "aggregate_id must be"},
    {"\"v\":1", "\"v\":1,\"w\":1", "unknown key 'w'"},
    {"\"v\":1", "\"v\":1,\"zzzz_zzzzzzzzzzzzz\":1", "unknown key 'zzzz_zzzzzzzzzzzzz'"},
    {","
     "\"aggregate_type\":\"key\"",
     "", "aggregate_type is missing"},
};

Test(envelope, refuses_what_breaks_a_rule_and_names_the_field)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof broken_rules / sizeof broken_rules[0]; i++) {
        struct quipu_envelope envelope;
        variant(broken_rules[i].from, broken_rules[i].to, &block);
        enum quipu_status status = quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err);
        cr_expect_eq(status, QUIPU_ENVELOPE, "row %zu: %s → %s: %s", i, broken_rules[i].from,
                     broken_rules[i].to, quipu_status_name(status));
        cr_expect_not_null(strstr(err.message, broken_rules[i].named), "row %zu: %s", i,
                           err.message);
    }
    quipu_buf_release(&block);
}

Test(envelope, takes_the_ends_of_every_range)
{
    static const struct {
        const char *from;
        const char *to;
    } table[] = {
        {"\"schema\":300", "\"schema\":9007199254740991"},
        {"\"version\":2", "\"version\":9007199254740991"},
        {"\"source_seq\":70000", "\"source_seq\":9007199254740991"},
        {"\"occurred_at\":-1", "\"occurred_at\":9007199254740991"},
        {"\"occurred_at\":-1", "\"occurred_at\":-9007199254740991"},
        {"\"meta\":{\"n\":-3,\"actor\":\"a\"}", "\"meta\":{}"},
        {"\"meta\":{\"n\":-3,\"actor\":\"a\"}", "\"enc\":{\"alg\":\"x\"}"},
        {"\"meta\":{\"n\":-3,\"actor\":\"a\"},", ""},
        {"\"aggregate_type\":\"key\"", "\"aggregate_type\":\"-_9\""},
    };
    struct quipu_buf block = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        variant(table[i].from, table[i].to, &block);
        assert_round_trip(quipu_buf_slice(&block));
    }
    quipu_buf_release(&block);
}

Test(envelope, takes_a_raw_payload_only_beside_enc)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    variant(payload_link, "\"enc\":{},\"payload\":" RAW_LINK, &block);
    assert_round_trip(quipu_buf_slice(&block));

    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err), QUIPU_OK);

    cr_assert_eq(envelope.payload.codec, QUIPU_CODEC_RAW);
    cr_assert_eq(envelope.enc.len, 1);
    quipu_buf_release(&block);
}

Test(envelope, says_that_a_later_format_needs_a_newer_program_whatever_its_keys)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    variant("\"v\":1", "\"v\":2,\"w\":1", &block);

    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err),
                 QUIPU_FORMAT_NEWER);

    cr_assert_not_null(strstr(err.message, "format 2"), "%s", err.message);
    quipu_buf_release(&block);
}

Test(envelope, says_which_rule_of_dag_cbor_is_broken)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    from_hex(first_hex, &block);

    for (size_t len = 0; len < block.len; len++) {
        enum quipu_status status =
            quipu_envelope_decode(quipu_slice(block.data, len), &envelope, &err);
        cr_assert_eq(status, QUIPU_CBOR_TRUNCATED, "%zu bytes: %s", len, err.message);
    }
    quipu_buf_append_byte(&block, 0);
    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err),
                 QUIPU_CBOR_TRAILING);
    /* The key "v", then 1 in two bytes. */
    block.data[3] = 0x18;
    block.data[4] = 0x01;
    cr_assert_eq(quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err),
                 QUIPU_CBOR_NOT_SHORTEST);
    cr_assert_eq(quipu_envelope_decode(quipu_slice("\x01", 1), &envelope, &err), QUIPU_ENVELOPE);
    cr_assert_eq(quipu_envelope_decode(quipu_slice(NULL, 0), &envelope, &err),
                 QUIPU_CBOR_TRUNCATED);
    quipu_buf_release(&block);
}

Test(envelope, writes_back_every_block_that_it_accepts)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    from_hex(second_hex, &block);

    for (size_t at = 0; at < block.len; at++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            block.data[at] ^= (uint8_t)(1u << bit);
            if (quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err) == QUIPU_OK) {
                assert_round_trip(quipu_buf_slice(&block));
            }
            block.data[at] ^= (uint8_t)(1u << bit);
        }
    }
    quipu_buf_release(&block);
}

static void assert_same_envelope(const struct quipu_envelope *a, const struct quipu_envelope *b)
{
    cr_assert(quipu_uuid_equal(a->event_id, b->event_id));
    cr_assert(quipu_uuid_equal(a->correlation_id, b->correlation_id));
    cr_assert(quipu_uuid_equal(a->causation_id, b->causation_id));
    cr_assert(quipu_slice_equal(a->event_type, b->event_type));
    cr_assert(quipu_slice_equal(a->aggregate_type, b->aggregate_type));
    cr_assert(quipu_slice_equal(a->aggregate_id, b->aggregate_id));
    cr_assert(quipu_slice_equal(a->source, b->source));
    cr_assert(quipu_slice_equal(a->meta, b->meta));
    cr_assert(quipu_slice_equal(a->enc, b->enc));
    cr_assert_eq(a->schema, b->schema);
    cr_assert_eq(a->version, b->version);
    cr_assert_eq(a->source_seq, b->source_seq);
    cr_assert_eq(a->occurred_unix_us, b->occurred_unix_us);
    cr_assert(quipu_cid_equal(&a->payload, &b->payload));
    cr_assert_eq(a->has_causation, b->has_causation);
    cr_assert(!a->has_causation || quipu_cid_equal(&a->causation, &b->causation));
    cr_assert_eq(a->prev_count, b->prev_count);
    for (size_t i = 0; i < a->prev_count; i++) {
        cr_assert(quipu_cid_equal(&a->prev[i], &b->prev[i]));
    }
}

/* The short way and the careful one must say the same of a block. */
static void assert_ways_agree(struct quipu_slice block)
{
    struct quipu_envelope by_both;
    struct quipu_envelope carefully;
    struct quipu_error why;
    enum quipu_status status = quipu_envelope_decode(block, &by_both, &err);
    enum quipu_status wanted = envelope_decode_carefully(block, &carefully, &why);
    cr_assert_eq(status, wanted, "%s, but %s", quipu_status_name(status),
                 quipu_status_name(wanted));
    if (status == QUIPU_OK) {
        assert_same_envelope(&by_both, &carefully);
    } else {
        cr_assert_str_eq(err.message, why.message);
    }
}

static void assert_ways_agree_on_changes(const char *hex)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    from_hex(hex, &block);
    struct quipu_envelope envelope;
    cr_assert(envelope_decode_plain(quipu_buf_slice(&block), &envelope), "the short way is taken");
    for (size_t at = 0; at < block.len; at++) {
        uint8_t was = block.data[at];
        for (unsigned value = 0; value < 256; value++) {
            block.data[at] = (uint8_t)value;
            assert_ways_agree(quipu_buf_slice(&block));
        }
        block.data[at] = was;
        assert_ways_agree(quipu_slice(block.data, at));
    }
    quipu_buf_release(&block);
}

Test(envelope, is_read_the_same_in_both_ways_whatever_byte_is_changed)
{
    assert_ways_agree_on_changes(first_hex);
    assert_ways_agree_on_changes(second_hex);
}

Test(envelope, is_read_the_same_in_both_ways_whatever_rule_is_broken)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    for (size_t i = 0; i < sizeof broken_rules / sizeof broken_rules[0]; i++) {
        variant(broken_rules[i].from, broken_rules[i].to, &block);
        assert_ways_agree(quipu_buf_slice(&block));
    }
    quipu_buf_release(&block);
}

/* meta that holds `lists` lists in each other. */
static enum quipu_status decode_nested(size_t lists)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_envelope envelope;
    static const char meta[] = "a2616e22656163746f726161";
    const char *at = strstr(second_hex, meta);
    cr_assert_not_null(at);
    char hex[4096];
    int len = snprintf(hex, sizeof hex, "%.*s%s", (int)(at - second_hex), second_hex, "a1616e");
    for (size_t i = 0; i < lists; i++) {
        len += snprintf(hex + len, sizeof hex - (size_t)len, "81");
    }
    (void)snprintf(hex + len, sizeof hex - (size_t)len, "80%s", at + strlen(meta));
    from_hex(hex, &block);
    assert_ways_agree(quipu_buf_slice(&block));
    enum quipu_status status = quipu_envelope_decode(quipu_buf_slice(&block), &envelope, &err);
    quipu_buf_release(&block);
    return status;
}

Test(envelope, counts_its_own_map_as_a_level)
{
    cr_assert_eq(decode_nested(0), QUIPU_OK, "%s", err.message);
    /* The envelope, meta, and the lists with an inner one that is empty. */
    for (size_t lists = 120; lists < 130; lists++) {
        enum quipu_status status = decode_nested(lists);
        cr_assert_eq(status, lists + 3 > QUIPU_DAGCBOR_DEPTH_DEFAULT ? QUIPU_CBOR_DEPTH : QUIPU_OK,
                     "%zu: %s", lists, quipu_status_name(status));
    }
}

/* ------------------------------------------------------------------ encoding: refusals */

static enum quipu_status encode(const struct quipu_envelope *envelope)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    quipu_buf_append_text(&block, "before");
    enum quipu_status status = quipu_envelope_encode(envelope, &block, &err);
    if (status != QUIPU_OK) {
        cr_assert_eq(block.len, 6, "nothing is left in the buffer");
    }
    quipu_buf_release(&block);
    return status;
}

Test(envelope, encodes_nothing_that_it_would_not_read)
{
    struct quipu_envelope envelope = first_envelope();
    envelope.event_id = (struct quipu_uuid){{0}};
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.schema = 0;
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.version = 2;
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.event_type = quipu_slice_text("A");
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.source = quipu_slice_text("me");
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.meta = quipu_slice("\x01", 1);
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.meta = quipu_slice("\xa1", 1);
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    envelope = first_envelope();
    envelope.enc = quipu_slice("\x80", 1);
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
}

Test(envelope, holds_prev_to_sixteen_different_links)
{
    struct quipu_envelope envelope = first_envelope();
    envelope.version = 2;
    envelope.prev_count = QUIPU_ENVELOPE_PREV_MAX;
    for (size_t i = 0; i < QUIPU_ENVELOPE_PREV_MAX; i++) {
        envelope.prev[i] = (struct quipu_cid){QUIPU_CODEC_DAG_CBOR, {(uint8_t)i}};
    }
    cr_assert_eq(encode(&envelope), QUIPU_OK, "%s", err.message);
    envelope.prev[3] = envelope.prev[9];
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
    cr_assert_not_null(strstr(err.message, "twice"));
    envelope.prev_count = QUIPU_ENVELOPE_PREV_MAX + 1;
    cr_assert_eq(encode(&envelope), QUIPU_ENVELOPE);
}

Test(envelope, is_held_to_its_size)
{
    /* meta: one key "a" and a byte string that fills the block up to the limit. */
    static uint8_t meta[QUIPU_ENVELOPE_BYTES_MAX + 8];
    struct quipu_envelope envelope = first_envelope();
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_buf golden = QUIPU_BUF_INIT;
    from_hex(first_hex, &golden);
    size_t bare = golden.len + 5; /* with the key "meta" */
    for (int over = -1; over <= 1; over++) {
        size_t len = (size_t)((int)(QUIPU_ENVELOPE_BYTES_MAX - bare) + over);
        size_t bytes = len - 6;
        const uint8_t head[6] = {0xa1, 0x61, 'a', 0x59, (uint8_t)(bytes >> 8), (uint8_t)bytes};
        memset(meta, 0, sizeof meta);
        memcpy(meta, head, sizeof head);
        envelope.meta = quipu_slice(meta, len);
        quipu_buf_reset(&block);
        enum quipu_status status = quipu_envelope_encode(&envelope, &block, &err);
        cr_assert_eq(status, over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK, "%d: %s", over, err.message);
        if (status == QUIPU_OK) {
            cr_assert_eq(block.len, (size_t)((int)QUIPU_ENVELOPE_BYTES_MAX + over));
            assert_round_trip(quipu_buf_slice(&block));
        }
    }
    static const uint8_t too_large[QUIPU_ENVELOPE_BYTES_MAX + 1];
    struct quipu_envelope out;
    cr_assert_eq(quipu_envelope_decode(quipu_slice(too_large, sizeof too_large), &out, &err),
                 QUIPU_ENVELOPE);
    quipu_buf_release(&block);
    quipu_buf_release(&golden);
}

Test(envelope, fails_where_a_fixed_buffer_is_full)
{
    struct quipu_envelope envelope = first_envelope();
    uint8_t storage[100];
    struct quipu_buf block;
    quipu_buf_init_fixed(&block, storage, sizeof storage);

    cr_assert_eq(quipu_envelope_encode(&envelope, &block, &err), QUIPU_TOO_LARGE);

    cr_assert_eq(block.len, 0);
}
