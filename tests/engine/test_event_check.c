/*
 * What is let into the log: names and limits at -1, 0 and +1, strict DAG-CBOR, no secrets in clear.
 * Keys and seeds are made here at run time.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine_kit.h"
#include "nkey.h"
#include "quipu/alloc.h"
#include "quipu/dagcbor.h"
#include "secret_guard.h"

static struct kit kit;

static void setup(void)
{
    kit_open(&kit);
}

static void teardown(void)
{
    kit_close(&kit);
}

TestSuite(event_check, .init = setup, .fini = teardown);

static enum quipu_status append_one(const struct quipu_event *event)
{
    return quipu_append(kit.engine, event, NULL, &kit.err);
}

/* ------------------------------------------------------------------ names */

static char *repeated(char c, size_t len)
{
    char *text = calloc(len + 1, 1);
    memset(text, c, len);
    return text;
}

Test(event_check, holds_names_to_their_lengths)
{
    static const size_t limits[] = {QUIPU_EVENT_TYPE_BYTES_MAX, QUIPU_AGGREGATE_TYPE_BYTES_MAX,
                                    QUIPU_AGGREGATE_ID_BYTES_MAX};
    for (size_t field = 0; field < 3; field++) {
        for (int over = -1; over <= 1; over++) {
            char *name = repeated('a', (size_t)((int)limits[field] + over));
            struct quipu_event event = kit_event(&kit, "a", 1);
            if (field == 0) {
                event.type = name;
            } else if (field == 1) {
                event.aggregate.type = name;
            } else {
                event.aggregate.id = name;
            }
            cr_assert_eq(append_one(&event), over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK,
                         "field %zu, %d: %s", field, over, kit.err.message);
            free(name);
        }
    }
    kit_assert_sound(&kit, 6);
}

Test(event_check, refuses_names_that_are_not_safe)
{
    static const char *const types[] = {"",    "A", "a b", "a..b", ".a", "a.",
                                        "a/b", "*", "a>",  "ä",    ".",  "a\n"};
    static const char *const aggregate_types[] = {"", "A", "a.b", "a b", "ä", "."};
    static const char *const ids[] = {"", "a\nb", "a\x7f", "\xff", "a\xc2\x80"};
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        event.type = types[i];
        cr_assert_eq(append_one(&event), QUIPU_INVALID, "'%s'", types[i]);
        cr_assert_not_null(strstr(kit.err.message, "event_type"));
    }
    event = kit_event(&kit, "a", 1);
    for (size_t i = 0; i < sizeof aggregate_types / sizeof aggregate_types[0]; i++) {
        event.aggregate.type = aggregate_types[i];
        cr_assert_eq(append_one(&event), QUIPU_INVALID, "'%s'", aggregate_types[i]);
        cr_assert_not_null(strstr(kit.err.message, "aggregate_type"));
    }
    event = kit_event(&kit, "a", 1);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        event.aggregate.id = ids[i];
        cr_assert_eq(append_one(&event), QUIPU_INVALID, "'%s'", ids[i]);
        cr_assert_not_null(strstr(kit.err.message, "aggregate_id"));
    }
    event = kit_event(&kit, NULL, 1);
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    event = kit_event(&kit, "a", 1);
    event.type = NULL;
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    kit_assert_sound(&kit, 0);
}

Test(event_check, names_the_index_of_a_wrong_event)
{
    struct quipu_event events[3] = {kit_event(&kit, "a", 1), kit_event(&kit, "a", 2),
                                    kit_event(&kit, "a", 3)};
    size_t failed = 99;
    events[1].type = "Wrong";

    cr_assert_eq(quipu_append_batch(kit.engine, events, 3, NULL, &failed, &kit.err), QUIPU_INVALID);

    cr_assert_eq(failed, 1);
    cr_assert_not_null(strstr(kit.err.message, "events[1]: event_type"), "%s", kit.err.message);
    kit_assert_sound(&kit, 0);
}

/* ------------------------------------------------------------------ numbers */

Test(event_check, holds_numbers_to_what_popular_readers_carry)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    event.schema = QUIPU_ENVELOPE_INTEGER_MAX;
    cr_assert_eq(append_one(&event), QUIPU_OK);
    event.schema++;
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    event.schema = 1;
    event.occurred_at = quipu_instant_at(QUIPU_ENVELOPE_INTEGER_MAX);
    cr_assert_eq(append_one(&event), QUIPU_OK);
    event.occurred_at.unix_us++;
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    event.occurred_at = quipu_instant_at(-QUIPU_ENVELOPE_INTEGER_MAX);
    cr_assert_eq(append_one(&event), QUIPU_OK);
    event.occurred_at.unix_us--;
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    event.occurred_at.is_set = false;
    event.event_id = kit_uuid(1);
    event.causation_id = kit_uuid(1);
    cr_assert_eq(append_one(&event), QUIPU_INVALID, "its own cause");
    kit_assert_sound(&kit, 3);
}

Test(event_check, holds_a_call_to_its_number_of_events)
{
    struct quipu_event *events = calloc(QUIPU_APPEND_EVENTS_MAX + 1, sizeof *events);
    struct quipu_event one = kit_event(&kit, "a", 1);
    size_t failed = 0;
    for (size_t i = 0; i <= QUIPU_APPEND_EVENTS_MAX; i++) {
        events[i] = one;
    }

    cr_assert_eq(quipu_append_batch(kit.engine, events, QUIPU_APPEND_EVENTS_MAX + 1, NULL, &failed,
                                    &kit.err),
                 QUIPU_TOO_LARGE);
    cr_assert_eq(failed, QUIPU_APPEND_EVENTS_MAX + 1);
    kit_assert_ok(&kit, quipu_append_batch(kit.engine, events, QUIPU_APPEND_EVENTS_MAX, NULL,
                                           &failed, &kit.err));
    cr_assert_eq(kit_append(&kit, "a", 1).version, QUIPU_APPEND_EVENTS_MAX + 1);
    free(events);
}

/* ------------------------------------------------------------------ blocks */

/* A byte string of `len` bytes in all, head included. */
static struct quipu_slice block_of(uint8_t *storage, size_t len)
{
    size_t bytes = len - 5;
    memset(storage, 0, len);
    storage[0] = 0x5a;
    storage[1] = (uint8_t)(bytes >> 24);
    storage[2] = (uint8_t)(bytes >> 16);
    storage[3] = (uint8_t)(bytes >> 8);
    storage[4] = (uint8_t)bytes;
    return quipu_slice(storage, len);
}

Test(event_check, holds_a_payload_to_its_size)
{
    uint8_t *storage = malloc(QUIPU_PAYLOAD_BYTES_MAX + 1);
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (int over = -1; over <= 1; over++) {
        event.payload = block_of(storage, (size_t)((int)QUIPU_PAYLOAD_BYTES_MAX + over));
        cr_assert_eq(append_one(&event), over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK, "%s",
                     kit.err.message);
    }
    event.payload = quipu_slice(NULL, 0);
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    cr_assert_not_null(strstr(kit.err.message, "payload is missing"));
    kit_assert_sound(&kit, 2);
    free(storage);
}

Test(event_check, holds_a_call_to_its_bytes)
{
    enum { COUNT = QUIPU_APPEND_BYTES_MAX / QUIPU_PAYLOAD_BYTES_MAX + 1 };
    uint8_t *storage = malloc(QUIPU_PAYLOAD_BYTES_MAX);
    struct quipu_event events[COUNT];
    size_t failed = 0;
    for (size_t i = 0; i < COUNT; i++) {
        events[i] = kit_event(&kit, "a", 1);
        events[i].payload = block_of(storage, QUIPU_PAYLOAD_BYTES_MAX);
    }

    cr_assert_eq(quipu_append_batch(kit.engine, events, COUNT, NULL, &failed, &kit.err),
                 QUIPU_TOO_LARGE);

    cr_assert_eq(failed, COUNT - 1);
    kit_assert_sound(&kit, 0);
    free(storage);
}

Test(event_check, holds_meta_to_a_map_of_its_size)
{
    static uint8_t storage[QUIPU_META_BYTES_MAX + 1];
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (int over = -1; over <= 1; over++) {
        size_t len = (size_t)((int)QUIPU_META_BYTES_MAX + over);
        size_t bytes = len - 6;
        const uint8_t head[6] = {0xa1, 0x61, 'a', 0x59, (uint8_t)(bytes >> 8), (uint8_t)bytes};
        memcpy(storage, head, sizeof head);
        event.meta = quipu_slice(storage, len);
        cr_assert_eq(append_one(&event), over > 0 ? QUIPU_TOO_LARGE : QUIPU_OK, "%s",
                     kit.err.message);
    }
    event.meta = kit_block(&kit, "[1]");
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    event.meta = quipu_slice("\xa1\x61", 2);
    cr_assert_eq(append_one(&event), QUIPU_CBOR_TRUNCATED);
    event.meta = kit_block(&kit, "{}");
    cr_assert_eq(append_one(&event), QUIPU_OK);
    kit_assert_sound(&kit, 3);
}

Test(event_check, refuses_a_payload_that_is_not_strict_dag_cbor)
{
    static const struct {
        const char *bytes;
        size_t len;
        enum quipu_status status;
    } table[] = {
        {"\x18\x01", 2, QUIPU_CBOR_NOT_SHORTEST},
        {"\x01\x01", 2, QUIPU_CBOR_TRAILING},
        {"\x61", 1, QUIPU_CBOR_TRUNCATED},
        {"\xa2\x61\x62\x01\x61\x61\x01", 7, QUIPU_CBOR_KEY_ORDER},
        {"\x61\xff", 2, QUIPU_CBOR_UTF8},
    };
    struct quipu_event event = kit_event(&kit, "a", 1);
    for (int policy = 0; policy < 2; policy++) {
        event.secrets = policy == 0 ? QUIPU_SECRET_REFUSE : QUIPU_SECRET_ALLOW;
        for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
            event.payload = quipu_slice(table[i].bytes, table[i].len);
            cr_assert_eq(append_one(&event), table[i].status, "row %zu: %s", i, kit.err.message);
            cr_assert_not_null(strstr(kit.err.message, "payload"), "%s", kit.err.message);
        }
    }
    kit_assert_sound(&kit, 0);
}

/* ------------------------------------------------------------------ secrets */

/* A seed of a kind, with its checksum, as anybody's tool would make it. */
static void make_seed(char kind, char out[NKEY_SEED_TEXT_BYTES])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t bytes[36];
    unsigned prefix = (unsigned)(strchr(digits, kind) - digits) << 3;
    randombytes_buf(bytes, sizeof bytes);
    bytes[0] = (uint8_t)(18u << 3 | prefix >> 5);
    bytes[1] = (uint8_t)((prefix & 31u) << 3);
    unsigned crc = 0;
    for (size_t i = 0; i < 34; i++) {
        crc ^= (unsigned)bytes[i] << 8;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc & 0x8000) != 0 ? (crc << 1 ^ 0x1021) & 0xffff : crc << 1 & 0xffff;
        }
    }
    bytes[34] = (uint8_t)crc;
    bytes[35] = (uint8_t)(crc >> 8);
    for (size_t i = 0; i < NKEY_SEED_CHARS; i++) {
        unsigned value = 0;
        for (size_t bit = 5 * i; bit < 5 * i + 5; bit++) {
            value = value << 1 | (bit < 288 ? bytes[bit / 8] >> (7 - bit % 8) & 1u : 0);
        }
        out[i] = digits[value];
    }
    out[NKEY_SEED_CHARS] = 0;
}

static enum quipu_status append_text(const char *text, bool as_bytes, bool in_meta)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_dagcbor_writer writer;
    quipu_dagcbor_writer_init(&writer, &block);
    quipu_dagcbor_write_map(&writer, 1);
    quipu_dagcbor_write_key(&writer, "deep");
    quipu_dagcbor_write_list(&writer, 2);
    quipu_dagcbor_write_null(&writer);
    if (as_bytes) {
        quipu_dagcbor_write_bytes(&writer, quipu_slice_text(text));
    } else {
        quipu_dagcbor_write_text(&writer, quipu_slice_text(text));
    }
    cr_assert_eq(quipu_dagcbor_writer_finish(&writer, NULL), QUIPU_OK);
    struct quipu_event event = kit_event(&kit, "a", 1);
    if (in_meta) {
        event.meta = quipu_buf_slice(&block);
    } else {
        event.payload = quipu_buf_slice(&block);
    }
    enum quipu_status status = append_one(&event);
    if (status == QUIPU_SECRET_REFUSED) {
        event.secrets = QUIPU_SECRET_ALLOW;
        cr_assert_eq(append_one(&event), QUIPU_OK, "allowed by name");
    }
    quipu_buf_release(&block);
    return status;
}

static void assert_refused(const char *text, const char *rule)
{
    for (int variant = 0; variant < 4; variant++) {
        cr_assert_eq(append_text(text, (variant & 1) != 0, (variant & 2) != 0),
                     QUIPU_SECRET_REFUSED, "%s %d", rule, variant);
        cr_assert_not_null(strstr(kit.err.message, rule), "%s", kit.err.message);
        cr_assert_null(strstr(kit.err.message, text), "the secret is not shown");
    }
}

Test(event_check, refuses_private_keys_in_pem)
{
    static const char *const kinds[] = {"",     "RSA ",     "EC ",       "DSA ",
                                        "ANY ", "OPENSSH ", "ENCRYPTED "};
    char text[256];
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        (void)snprintf(text, sizeof text,
                       "x\n-----BEGIN %sPRIVATE KEY-----\nAAAA\n-----END %sPRIVATE KEY-----\n",
                       kinds[i], kinds[i]);
        assert_refused(text, "private-key-pem");
    }
    assert_refused("-----BEGIN PGP "
                   "PRIVATE KEY BLOCK-----",
                   "private-key-pem");
    assert_refused("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", "private-key-pem");
}

Test(event_check, answers_a_retry_of_what_was_allowed_as_the_first_time)
{
    struct quipu_event event = kit_event(&kit, "a", 1);
    struct quipu_appended first;
    struct quipu_appended again;
    event.event_id = kit_uuid(1);
    event.payload = kit_block(&kit, "\"-----BEGIN PGP "
                                    "PRIVATE KEY BLOCK-----\"");
    event.secrets = QUIPU_SECRET_ALLOW;
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &first, &kit.err));
    event.secrets = QUIPU_SECRET_REFUSE;

    /* Nothing is recorded by it. */
    kit_assert_ok(&kit, quipu_append(kit.engine, &event, &again, &kit.err));

    cr_assert(again.was_duplicate);
    cr_assert_eq(again.position, first.position);
    event.payload = kit_block(&kit, "\"-----BEGIN RSA "
                                    "PRIVATE KEY-----\"");
    cr_assert_eq(append_one(&event), QUIPU_SECRET_REFUSED, "another content");
    event.event_id = kit_uuid(2);
    cr_assert_eq(append_one(&event), QUIPU_SECRET_REFUSED, "another id");
    cr_assert_not_null(strstr(kit.err.message, "private-key-pem"), "%s", kit.err.message);
    event.payload = quipu_slice(event.payload.data, QUIPU_PAYLOAD_BYTES_MAX + 1);
    event.aggregate.id = "-----BEGIN RSA "
                         "PRIVATE KEY-----";
    cr_assert_eq(append_one(&event), QUIPU_TOO_LARGE, "sizes are known to hold first");
    kit_assert_sound(&kit, 1);
}

Test(event_check, refuses_nats_seeds_of_every_kind)
{
    char seed[NKEY_SEED_TEXT_BYTES];
    char text[256];
    for (const char *kind = "OAUNCX"; *kind != 0; kind++) {
        make_seed(*kind, seed);
        assert_refused(seed, "nats-seed");
        (void)snprintf(text, sizeof text, "SSSS seed=%s, SU", seed);
        assert_refused(text, "nats-seed");
        seed[30] = seed[30] == 'A' ? 'B' : 'A';
        cr_assert_eq(append_text(seed, false, false), QUIPU_OK, "the checksum is wrong");
    }
    make_seed('B', seed);
    cr_assert_eq(append_text(seed, false, false), QUIPU_OK, "no such kind");
}

Test(event_check, refuses_creds_files_and_age_keys)
{
    assert_refused("-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n",
                   "nats-creds");
    assert_refused("-----BEGIN USER NKEY SEED-----\nSU\n", "nats-creds");
    assert_refused("# key\nAGE-SECRET-KEY-1"
                   "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L\n",
                   "age-secret-key");
    assert_refused("AGE-SECRET-KEY-PQ-1QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L\n", "age-secret-key");
}

static const char *rule_of(const void *bytes, size_t len)
{
    const char *rule = secret_guard_rule(quipu_slice(bytes, len));
    return rule == NULL ? "none" : rule;
}

Test(event_check, tells_an_empty_name_from_one_that_is_missing)
{
    struct quipu_event event = kit_event(&kit, "", 1);
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "aggregate_id is empty");
    event.aggregate.id = NULL;
    cr_assert_eq(append_one(&event), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "aggregate_id is missing");
}

Test(secret_guard, finds_what_is_in_base64)
{
    char seed[NKEY_SEED_TEXT_BYTES];
    char text[512];
    char folded[600];
    for (const char *kind = "OAUNCX"; *kind != 0; kind++) {
        make_seed(*kind, seed);
        memcpy(text, "key-", 4);
        for (int variant = 1; variant <= 7; variant += 2) { /* every one of libsodium's */
            (void)sodium_bin2base64(text + 4, sizeof text - 4, (const uint8_t *)seed,
                                    NKEY_SEED_CHARS, variant);
            cr_assert_str_eq(rule_of(text, strlen(text)), "nats-seed", "%s", text);
        }
        (void)snprintf(folded, sizeof folded, "%.76s\r\n%s", text + 4, text + 80);
        cr_assert_str_eq(rule_of(folded, strlen(folded)), "nats-seed");
        seed[30] = seed[30] == 'A' ? 'B' : 'A';
        (void)sodium_bin2base64(text, sizeof text, (const uint8_t *)seed, NKEY_SEED_CHARS, 1);
        cr_assert_str_eq(rule_of(text, strlen(text)), "none");
    }
}

Test(event_check, refuses_encoded_keys_and_those_of_putty)
{
    assert_refused("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0tCk1D", "private-key-pem");
    assert_refused("data: LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURSBLRVktLS0tLQ==", "private-key-pem");
    assert_refused("QUdFLVNFQ1JFVC1LRVktMVFQWlJZOVg4R0YyVFZEVzBTM0pO", "age-secret-key");
    assert_refused("UHVUVFktVXNlci1LZXktRmlsZS0zOiBzc2gtZWQyNTUxOQ==", "private-key-putty");
    assert_refused("MC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAA", "private-key-der");
    assert_refused("PuTTY-User-Key-File-3: ssh-ed25519", "private-key-putty");
}

Test(secret_guard, finds_private_keys_in_der_and_lets_public_ones_through)
{
    static const struct {
        const char *rule;
        uint8_t bytes[26];
    } table[] = {
        {"private-key-der",
         {0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20}},
        {"private-key-der",
         {0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20}},
        {"private-key-der",
         {0x30, 0x47, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x71, 4, 0x3b, 4, 0x39}},
        {"private-key-der", {0x30, 0x82, 4,    0xbd, 2,    1,  0, 0x30, 13, 6, 9,
                             0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1,    1,  5, 0}},
        {"private-key-der",
         {0x30, 0x81, 0x87, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1}},
        {"private-key-der", {0x30, 0x77, 2, 1, 1, 4, 0x20, 7}},
        {"private-key-der", {0x30, 0x82, 4, 0xa4, 2, 1, 0, 2, 0x82, 1, 1}},
        /* A public key, a certificate, an algorithm that is no key's. */
        {"none", {0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0}},
        {"none", {0x30, 0x82, 3, 0, 0x30, 0x82, 2, 0, 0xa0, 3, 2, 1, 2}},
        {"none", {0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x72, 4, 0x22, 4, 0x20}},
        {"none", {0x30, 0x85, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20}},
    };
    char text[64];
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        cr_assert_str_eq(rule_of(table[i].bytes, sizeof table[i].bytes), table[i].rule, "%zu", i);
        (void)sodium_bin2base64(text, sizeof text, table[i].bytes, sizeof table[i].bytes, 1);
        cr_assert_str_eq(rule_of(text, strlen(text)), table[i].rule, "%zu", i);
        for (size_t len = 0; len < sizeof table[i].bytes; len++) {
            uint8_t *copy = malloc(len == 0 ? 1 : len); /* for the sanitizer, as above */
            memcpy(copy, table[i].bytes, len);
            const char *found = rule_of(copy, len);
            cr_assert(strcmp(found, "none") == 0 || strcmp(found, table[i].rule) == 0);
            free(copy);
        }
    }
}

Test(event_check, refuses_a_seed_as_the_name_of_an_aggregate)
{
    char seed[NKEY_SEED_TEXT_BYTES];
    make_seed('U', seed);
    struct quipu_event event = kit_event(&kit, seed, 1);
    cr_assert_eq(append_one(&event), QUIPU_SECRET_REFUSED);
    cr_assert_not_null(strstr(kit.err.message, "aggregate_id"), "%s", kit.err.message);
}

Test(event_check, lets_public_material_through)
{
    static const char *const texts[] = {
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE REQUEST-----",
        "UAAACAQDAQCQMBYIBEFAWDANBYHRAEISCMKBKFQXDAMRUGY4DUPB63NN",
        "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx",
        ("write BEGIN "
         "PRIVATE KEY somewhere"),
        "LS0tLS1CRUdJTiBQVUJMSUMgS0VZLS0tLS0K",
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=",
        "U0dWc2JHOGdkMjl5YkdRZ2FHVnNiRzhnZDI5eWJHUT0=",
        "-----BEGIN PRIVATE",
        "-----BEGIN ",
        "AGE-SECRET-KEY-",
        "AGE-SECRET-KEY-1",
        "SUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUASUA",
        "S",
        "",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        cr_assert_eq(append_text(texts[i], (i & 1) != 0, false), QUIPU_OK, "%s: %s", texts[i],
                     kit.err.message);
    }
}

Test(secret_guard, never_reads_beyond_either_end)
{
    static const char text[] = "-----BEGIN RSA "
                               "PRIVATE KEY-----AGE-SECRET-KEY-1"
                               "QPZRY9X8GF2TVDW";
    for (size_t len = 0; len < sizeof text - 1; len++) {
        /* A copy of exactly this size, so that the sanitizer sees one byte too far. */
        uint8_t *copy = malloc(len == 0 ? 1 : len);
        memcpy(copy, text, len);
        const char *rule = secret_guard_rule(quipu_slice(copy, len));
        /* The label ends with the first dash behind it. */
        cr_assert_eq(rule != NULL, len >= 27, "%zu", len);
        free(copy);
    }
    /* One dash short: what would be the fifth lies before the string. */
    static const char short_of_a_dash[] = "----BEGIN RSA "
                                          "PRIVATE KEY-----";
    uint8_t *copy = malloc(sizeof short_of_a_dash - 1);
    memcpy(copy, short_of_a_dash, sizeof short_of_a_dash - 1);
    cr_assert_null(secret_guard_rule(quipu_slice(copy, sizeof short_of_a_dash - 1)));
    free(copy);
}
