/*
 * The catalogue's events: each type there and back and against its declaration; the rules, each
 * refusal with its words; the projection of current state.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "catalogue.h"
#include "quipu/dagcbor.h"
#include "quipu/dagjson.h"
#include "temp_dir.h"

static struct temp_dir dir;
static struct quipu_store *store;
static struct quipu_engine *engine;
static struct quipu_types *types;
static struct quipu_error err;
static struct quipu_buf rows;
static const uint8_t digest[QUIPU_SHA256_BYTES] = {1, 2, 3};

/* The engine knows the catalogue's types and takes no others. */
static void setup(void)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    temp_dir_init(&dir);
    cr_assert_eq(quipu_types_new(QUIPU_TYPES_STRICT, &types, &err), QUIPU_OK);
    cr_assert_eq(catalogue_declare(types, &err), QUIPU_OK, "%s", err.message);
    options.types = types;
    cr_assert_eq(quipu_store_open(temp_dir_join(&dir, "store", path), NULL, &store, &err),
                 QUIPU_OK);
    cr_assert_eq(quipu_engine_open(store, &options, &engine, &err), QUIPU_OK);
    rows = (struct quipu_buf)QUIPU_BUF_INIT;
}

static void teardown(void)
{
    quipu_engine_close(&engine);
    quipu_store_close(&store);
    quipu_types_free(types);
    quipu_buf_release(&rows);
    temp_dir_release(&dir);
}

TestSuite(catalogue_events, .init = setup, .fini = teardown);
TestSuite(catalogue_rules, .init = setup, .fini = teardown);
TestSuite(catalogue_state, .init = setup, .fini = teardown);

static struct quipu_slice text(const char *value)
{
    return quipu_slice_text(value);
}

static struct quipu_slice bytes(void)
{
    return quipu_slice(digest, sizeof digest);
}

static void append(enum catalogue_type type, const char *id, const void *payload)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_event event = catalogue_event(type, id);
    cr_assert_eq(catalogue_write(type, payload, &block, &err), QUIPU_OK, "%s", err.message);
    event.payload = quipu_buf_slice(&block);
    cr_assert_eq(quipu_append(engine, &event, NULL, &err), QUIPU_OK, "%s", err.message);
    quipu_buf_release(&block);
}

/* ------------------------------------------------------------------ there and back */

/* What a field of this name gets: every field of every type has its value here. */
#define VALUE_TEXT(member)      text("the " #member)
#define VALUE_BYTES(member)     text("bytes of " #member)
#define VALUE_DIGEST(member)    bytes()
#define VALUE_NUMBER(member)    (INT64_C(-7) - (int64_t)sizeof #member)
#define VALUE_TIME(member)      (INT64_C(1767225600000000) + (int64_t)sizeof #member)
#define ALL(kind, member, need) .member = VALUE_##kind(member),

#define SAME_TEXT(a, b)          quipu_slice_equal(a, b)
#define SAME_BYTES(a, b)         quipu_slice_equal(a, b)
#define SAME_DIGEST(a, b)        quipu_slice_equal(a, b)
#define SAME_NUMBER(a, b)        ((a) == (b))
#define SAME_TIME(a, b)          ((a) == (b))
#define SAME(kind, member, need) &&SAME_##kind(a->member, b->member)

#define COMPARE(NAME, name, type, aggregate, state)                                                \
    static bool same_##name(const struct catalogue_##name *a, const struct catalogue_##name *b)    \
    {                                                                                              \
        return true CATALOGUE_##NAME##_FIELDS(SAME);                                               \
    }
CATALOGUE_MAP(COMPARE)

/* Written, it fits its declaration; read, it is what it was; written again, the same bytes. */
#define ROUND_TRIP(NAME, name, type_, aggregate_, state)                                           \
    Test(catalogue_events, name##_goes_there_and_back)                                             \
    {                                                                                              \
        const struct catalogue_##name full = {CATALOGUE_##NAME##_FIELDS(ALL)};                     \
        struct quipu_buf once = QUIPU_BUF_INIT;                                                    \
        struct quipu_buf twice = QUIPU_BUF_INIT;                                                   \
        struct catalogue_payload_of read;                                                          \
        struct quipu_event event = catalogue_event(CATALOGUE_##NAME, "id");                        \
                                                                                                   \
        cr_assert_eq(catalogue_write_##name(&full, &once, &err), QUIPU_OK, "%s", err.message);     \
        event.payload = quipu_buf_slice(&once);                                                    \
        cr_assert_eq(quipu_types_check(types, &event, &err), QUIPU_OK, "%s", err.message);         \
        cr_assert_str_eq(event.type, type_);                                                       \
        cr_assert_str_eq(event.aggregate.type, aggregate_);                                        \
        cr_assert_eq(catalogue_read(CATALOGUE_##NAME, event.payload, &read, &err), QUIPU_OK, "%s", \
                     err.message);                                                                 \
        cr_assert_eq(read.type, CATALOGUE_##NAME);                                                 \
        cr_assert(same_##name(&full, &read.of.name));                                              \
        cr_assert_eq(catalogue_write_##name(&read.of.name, &twice, &err), QUIPU_OK);               \
        cr_assert(quipu_slice_equal(quipu_buf_slice(&once), quipu_buf_slice(&twice)));             \
        quipu_buf_release(&once);                                                                  \
        quipu_buf_release(&twice);                                                                 \
    }
CATALOGUE_MAP(ROUND_TRIP)

Test(catalogue_events, optional_fields_may_be_absent)
{
    const struct catalogue_key_generated key = {
        .name = text("n"),
        .purpose = text("p"),
        .algorithm = text("a"),
        .public_key = text("k"),
        .fingerprint = bytes(),
        .holder = text("h"),
    };
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct catalogue_payload_of read;
    struct quipu_event event = catalogue_event(CATALOGUE_KEY_GENERATED, "id");

    cr_assert_eq(catalogue_write_key_generated(&key, &block, &err), QUIPU_OK, "%s", err.message);

    event.payload = quipu_buf_slice(&block);
    cr_assert_eq(quipu_types_check(types, &event, &err), QUIPU_OK, "%s", err.message);
    cr_assert_eq(catalogue_read(CATALOGUE_KEY_GENERATED, event.payload, &read, &err), QUIPU_OK);
    cr_assert_eq(read.of.key_generated.nkey.len, 0);
    quipu_buf_release(&block);
}

Test(catalogue_events, what_does_not_fit_is_not_written)
{
    char too_long[257];
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct catalogue_key_provisioned on_device = {.yubikey = text("1")};
    memset(too_long, 'x', 256);
    too_long[256] = 0;

    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &err), QUIPU_INVALID);
    cr_assert_str_eq(err.message, "key.provisioned: slot must be text of 1 to 255 bytes");
    on_device.slot = text(too_long);
    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &err), QUIPU_INVALID);
    on_device.slot.len = 255;
    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &err), QUIPU_OK);
    const struct catalogue_ceremony_closed closed = {.by = text("a"),
                                                     .transcript_sha256 = text("31 bytes")};
    quipu_buf_reset(&block);
    cr_assert_eq(catalogue_write_ceremony_closed(&closed, &block, &err), QUIPU_INVALID);
    cr_assert_str_eq(err.message, "ceremony.closed: transcript_sha256 must be 32 bytes");
    const struct catalogue_certificate_issued unsigned_one = {
        .name = text("n"),
        .key = text("k"),
        .issuer = text("i"),
        .uses = text("u"),
        .algorithm = text("a"),
        .signed_bytes = bytes(),
        .fingerprint = bytes(),
    };
    cr_assert_eq(catalogue_write_certificate_issued(&unsigned_one, &block, &err), QUIPU_INVALID);
    cr_assert_str_eq(err.message, "certificate.issued: signature must be bytes");
    cr_assert_eq(block.len, 0);
    quipu_buf_release(&block);
}

Test(catalogue_events, what_does_not_fit_is_not_read)
{
    static const struct {
        const char *json;
        enum quipu_status status;
        const char *says;
    } cases[] = {
        {"{\"yubikey\":\"1\"}", QUIPU_INVALID, "key.provisioned: slot is missing"},
        {"{\"yubikey\":\"1\",\"slot\":7}", QUIPU_INVALID, "key.provisioned: slot must be text"},
        {"{\"yubikey\":\"1\",\"slot\":\"\"}", QUIPU_INVALID, "slot must be text of 1 to 255 bytes"},
        {"[1]", QUIPU_INVALID, "is missing"},
        {"{\"yubikey\":\"1\",\"slot\":\"9c\",\"new\":true}", QUIPU_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct quipu_buf block = QUIPU_BUF_INIT;
        struct catalogue_payload_of read;
        cr_assert_eq(quipu_dagjson_to_dagcbor(text(cases[i].json), &block, &err), QUIPU_OK);
        cr_assert_eq(
            catalogue_read(CATALOGUE_KEY_PROVISIONED, quipu_buf_slice(&block), &read, &err),
            cases[i].status, "%s", cases[i].json);
        cr_assert_not_null(strstr(cases[i].status == QUIPU_OK ? "" : err.message, cases[i].says),
                           "%s: %s", cases[i].json, err.message);
        quipu_buf_release(&block);
    }
}

Test(catalogue_events, have_subjects)
{
    struct quipu_buf subject = QUIPU_BUF_INIT;

    catalogue_subject(CATALOGUE_NATS_USER_CREATED, "cim.keys", &subject);

    cr_assert(quipu_slice_equal(quipu_buf_slice(&subject),
                                text("cim.keys.nats_user.nats_user.created.*")));
    quipu_buf_release(&subject);
}

/* ------------------------------------------------------------------ rules */

static void make_key(const char *id)
{
    const struct catalogue_key_generated key = {
        .name = text(id),
        .purpose = text("signing"),
        .algorithm = text("Ed25519"),
        .public_key = bytes(),
        .fingerprint = bytes(),
        .holder = text("ada"),
    };
    append(CATALOGUE_KEY_GENERATED, id, &key);
}

static void make_device(const char *serial)
{
    const struct catalogue_yubikey_registered device = {.name = text("YubiKey 5"),
                                                        .firmware = text("5.4.3")};
    append(CATALOGUE_YUBIKEY_REGISTERED, serial, &device);
}

static const struct catalogue_context *context(void)
{
    static struct catalogue_context here;
    here = (struct catalogue_context){.engine = engine};
    return &here;
}

static enum quipu_status request(const char *serial, const char *by, const char *key)
{
    const struct catalogue_yubikey_provision_requested wanted = {
        .by = text(by), .slot = text("9c"), .key = text(key)};
    return catalogue_request_provision(context(), serial, &wanted, &err);
}

static enum quipu_status approve(const char *serial, const char *by)
{
    const struct catalogue_yubikey_provision_approved approval = {.by = text(by)};
    return catalogue_approve_provision(context(), serial, &approval, &err);
}

static enum quipu_status provision(const char *serial, const char *key, const char *slot)
{
    const struct catalogue_yubikey_provisioned provisioned = {.slot = text(slot), .key = text(key)};
    return catalogue_provision(context(), serial, &provisioned, &err);
}

static enum quipu_status revoke(const char *key)
{
    const struct catalogue_key_revoked revoked = {.reason = text("lost")};
    return catalogue_revoke_key(context(), key, &revoked, &err);
}

static enum quipu_status issue(const char *id, const char *key, const char *issuer,
                               int64_t not_after)
{
    const struct catalogue_certificate_issued certificate = {
        .name = text(id),
        .key = text(key),
        .issuer = text(issuer),
        .serial = 1,
        .uses = text("sign"),
        .not_before = 1000000,
        .not_after = not_after,
        .algorithm = text("x"),
        .signed_bytes = bytes(),
        .signature = bytes(),
        .fingerprint = bytes(),
    };
    return catalogue_issue_certificate(context(), id, &certificate, &err);
}

#define assert_done(call) cr_assert_eq((call), QUIPU_OK, "%s", err.message)
#define assert_refused(call, why)                                                                  \
    do {                                                                                           \
        uint64_t events_before = events_stored();                                                  \
        cr_assert_eq((call), QUIPU_INVALID);                                                       \
        cr_assert_str_eq(err.message, why);                                                        \
        cr_assert_eq(events_stored(), events_before);                                              \
    } while (0)

static uint64_t events_stored(void)
{
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(store, &txn, &err), QUIPU_OK);
    uint64_t last = quipu_txn_last_position(txn);
    quipu_txn_abort(&txn);
    return last;
}

Test(catalogue_rules, a_key_gets_onto_a_device_by_two_persons)
{
    make_key("k");
    make_device("1");

    assert_refused(request("2", "ada", "k"), "YubiKey 2 is not registered");
    assert_refused(request("1", "ada", "other"), "key other is not known");
    assert_refused(approve("1", "bruno"), "YubiKey 1: nobody asked for it");
    assert_refused(provision("1", "k", "9c"), "YubiKey 1: nothing is approved");
    assert_done(request("1", "ada", "k"));
    assert_refused(request("1", "carla", "k"), "YubiKey 1: the request of ada is open");
    assert_refused(approve("1", "ada"), "ada asked for YubiKey 1 and may not approve it");
    assert_refused(provision("1", "k", "9c"), "YubiKey 1: nothing is approved");
    assert_done(approve("1", "bruno"));
    assert_refused(approve("1", "carla"), "YubiKey 1: nobody asked for it");
    assert_refused(provision("1", "k", "9a"),
                   "YubiKey 1: key k in slot 9c is approved, nothing else");
    assert_refused(provision("1", "q", "9c"),
                   "YubiKey 1: key k in slot 9c is approved, nothing else");
    assert_done(provision("1", "k", "9c"));
    assert_refused(provision("1", "k", "9c"), "YubiKey 1: nothing is approved");
    cr_assert_eq(events_stored(), 6); /* the last one in two aggregates */
}

Test(catalogue_rules, a_revoked_key_is_neither_asked_for_nor_provisioned)
{
    make_key("k");
    make_device("1");
    make_device("2");
    assert_done(request("1", "ada", "k"));
    assert_done(approve("1", "bruno"));

    assert_done(revoke("k"));

    assert_refused(provision("1", "k", "9c"), "key k is revoked");
    assert_refused(request("2", "ada", "k"), "key k is revoked");
    assert_refused(revoke("k"), "key k is revoked already");
    assert_refused(revoke("q"), "key q is not known");
    assert_refused(issue("c", "k", "c", 2000000), "key k is revoked");
}

Test(catalogue_rules, a_retired_device_is_not_asked_for)
{
    const struct catalogue_yubikey_retired retired = {.reason = text("lost")};
    make_key("k");
    make_device("1");
    append(CATALOGUE_YUBIKEY_RETIRED, "1", &retired);

    assert_refused(request("1", "ada", "k"), "YubiKey 1 is retired");
}

Test(catalogue_rules, a_certificate_wants_a_key_and_an_issuer)
{
    const struct catalogue_certificate_revoked revoked = {.reason = text("moved")};
    make_key("root");
    make_key("k");

    assert_refused(issue("k", "other", "k", 2000000), "key other is not known");
    assert_refused(issue("k", "k", "root", 2000000),
                   "certificate k: its issuer root has no valid certificate");
    assert_refused(issue("k", "k", "k", 1000000), "certificate k ends before it begins");
    assert_done(issue("root", "root", "root", 2000000));
    assert_refused(issue("root", "root", "root", 3000000), "certificate root is there and valid");
    assert_done(issue("k", "k", "root", 2000000));
    append(CATALOGUE_CERTIFICATE_REVOKED, "root", &revoked);
    make_key("k2");
    assert_refused(issue("k2", "k2", "root", 2000000),
                   "certificate k2: its issuer root has no valid certificate");
}

Test(catalogue_rules, events_name_what_caused_them)
{
    make_key("k");
    make_device("1");
    assert_done(request("1", "ada", "k"));
    assert_done(approve("1", "bruno"));
    assert_done(provision("1", "k", "9c"));
    struct quipu_txn *txn = NULL;
    struct quipu_record cause;
    struct quipu_record record;
    struct quipu_event_view event;
    cr_assert_eq(quipu_txn_begin_read(store, &txn, &err), QUIPU_OK);

    for (uint64_t position = 4; position <= 6; position++) {
        uint64_t causing = position == 6 ? 4 : position - 1; /* both events of the last batch */
        cr_assert_eq(quipu_txn_record_at(txn, causing, &cause, &err), QUIPU_OK);
        cr_assert_eq(quipu_txn_record_at(txn, position, &record, &err), QUIPU_OK);
        cr_assert_eq(quipu_event_view_of(&record, &event, &err), QUIPU_OK);
        cr_assert(quipu_uuid_equal(event.envelope.causation_id, cause.event_id), "position %d",
                  (int)position);
    }
    quipu_txn_abort(&txn);
}

enum { RACES = 30 };

struct race {
    pthread_barrier_t start;
    char id[8]; /* of the key and of the device */
    enum quipu_status status;
};

static void *provision_it(void *ctx)
{
    struct race *race = ctx;
    struct quipu_error error;
    const struct catalogue_context here = {.engine = engine, .retries = 10};
    const struct catalogue_yubikey_provisioned provisioned = {.slot = text("9c"),
                                                              .key = text(race->id)};
    (void)pthread_barrier_wait(&race->start);
    race->status = catalogue_provision(&here, race->id, &provisioned, &error);
    return NULL;
}

static enum quipu_status remember_type(void *ctx, const struct quipu_event_view *event,
                                       struct quipu_error *error)
{
    struct quipu_buf *types_met = ctx;
    (void)error;
    quipu_buf_append_slice(types_met, event->envelope.event_type);
    quipu_buf_append_byte(types_met, ' ');
    return QUIPU_OK;
}

/* Whoever comes first: nothing happens to a key after its revocation. */
Test(catalogue_rules, nothing_comes_between_a_decision_and_its_events, .timeout = 60)
{
    const struct catalogue_key_revoked revoked = {.reason = text("lost")};
    const struct catalogue_context here = {.engine = engine, .retries = 10};
    for (int i = 0; i < RACES; i++) {
        struct race race = {.status = QUIPU_OK};
        pthread_t other;
        (void)snprintf(race.id, sizeof race.id, "k%d", i);
        make_key(race.id);
        make_device(race.id);
        assert_done(request(race.id, "ada", race.id));
        assert_done(approve(race.id, "bruno"));
        cr_assert_eq(pthread_barrier_init(&race.start, NULL, 2), 0);
        cr_assert_eq(pthread_create(&other, NULL, provision_it, &race), 0);
        (void)pthread_barrier_wait(&race.start);
        assert_done(catalogue_revoke_key(&here, race.id, &revoked, &err));
        cr_assert_eq(pthread_join(other, NULL), 0);
        cr_assert_eq(pthread_barrier_destroy(&race.start), 0);

        const struct quipu_filter filter = {.aggregate_type = "key", .aggregate_id = race.id};
        quipu_buf_reset(&rows);
        assert_done(quipu_each_event(engine, &filter, remember_type, &rows, &err));
        quipu_buf_append_byte(&rows, 0);
        cr_assert(race.status == QUIPU_OK || race.status == QUIPU_INVALID);
        cr_assert_str_eq((const char *)rows.data, race.status == QUIPU_OK
                                                      ? "key.generated key.provisioned key.revoked "
                                                      : "key.generated key.revoked ");
    }
}

/* ------------------------------------------------------------------ state */

static enum quipu_status print_row(void *ctx, struct quipu_slice key, struct quipu_slice value,
                                   struct quipu_error *error)
{
    struct quipu_buf *out = ctx;
    quipu_buf_append_slice(out, key);
    quipu_buf_append_byte(out, ' ');
    enum quipu_status status = quipu_dagjson_from_dagcbor(value, out, error);
    quipu_buf_append_byte(out, '\n');
    return status;
}

/* "key value\n" for each row below `prefix`. */
static const char *state(const char *prefix)
{
    quipu_buf_reset(&rows);
    assert_done(quipu_replay(engine, &catalogue_state, QUIPU_REPLAY_CATCH_UP, NULL, &err));
    assert_done(
        quipu_projection_each_row(engine, "catalogue", text(prefix), print_row, &rows, &err));
    quipu_buf_append_byte(&rows, 0);
    return (const char *)rows.data;
}

static void put_on_device(const char *serial, const char *key)
{
    assert_done(request(serial, "ada", key));
    assert_done(approve(serial, "bruno"));
    assert_done(provision(serial, key, "9c"));
}

Test(catalogue_state, says_who_holds_which_key_on_which_device)
{
    const struct catalogue_yubikey_retired retired = {.reason = text("broken")};
    make_key("k1");
    make_key("k2");
    make_device("1");
    make_device("2");
    assert_done(request("1", "ada", "k1"));
    cr_assert_str_eq(state("yubikey/1"), "yubikey/1 {\"asked_by\":\"ada\",\"firmware\":\"5.4.3\","
                                         "\"name\":\"YubiKey 5\",\"state\":\"requested\"}\n");
    assert_done(approve("1", "bruno"));
    cr_assert_not_null(strstr(state("yubikey/1"), "\"approved_by\":\"bruno\""));
    assert_done(provision("1", "k1", "9c"));
    put_on_device("2", "k2");

    cr_assert_str_eq(state("held/"),
                     "held/1/9c {\"holder\":\"ada\",\"key\":\"k1\",\"state\":\"in use\"}\n"
                     "held/2/9c {\"holder\":\"ada\",\"key\":\"k2\",\"state\":\"in use\"}\n");
    cr_assert_str_eq(state("yubikey/1"),
                     "yubikey/1 {\"firmware\":\"5.4.3\",\"name\":\"YubiKey 5\",\"slots\":{\"9c\":"
                     "\"k1\"},\"state\":\"provisioned\"}\n");

    assert_done(revoke("k1"));
    append(CATALOGUE_YUBIKEY_RETIRED, "2", &retired);

    cr_assert_str_eq(state("held/"),
                     "held/1/9c {\"holder\":\"ada\",\"key\":\"k1\",\"state\":\"revoked\"}\n");
    cr_assert_not_null(strstr(state("key/k1"), "\"state\":\"revoked\""));
    cr_assert_not_null(strstr(state("key/k1"), "\"yubikey\":\"1\""));
    cr_assert_str_eq(state("yubikey/2"),
                     "yubikey/2 {\"firmware\":\"5.4.3\",\"name\":\"YubiKey 5\",\"reason\":"
                     "\"broken\",\"state\":\"retired\"}\n");
}

Test(catalogue_state, says_which_certificates_are_valid_until_when)
{
    const struct catalogue_certificate_revoked revoked = {.reason = text("moved")};
    make_key("root");
    make_key("k");
    assert_done(issue("root", "root", "root", 5000000));
    assert_done(issue("k", "k", "root", 2000000));

    cr_assert_str_eq(state("expires/"),
                     "expires/1970-01-01T00:00:02Z/k {\"issuer\":\"root\",\"key\":\"k\","
                     "\"not_before\":1000000}\n"
                     "expires/1970-01-01T00:00:05Z/root {\"issuer\":\"root\",\"key\":\"root\","
                     "\"not_before\":1000000}\n");
    cr_assert_null(strstr(state("certificate/k"), "signature"));

    append(CATALOGUE_CERTIFICATE_REVOKED, "k", &revoked);
    cr_assert_null(strstr(state("expires/"), "/k "));
    assert_done(issue("k", "k", "root", 7000000)); /* again, under its old name */
    cr_assert_not_null(strstr(state("expires/"), "expires/1970-01-01T00:00:07Z/k "));
    cr_assert_not_null(strstr(state("certificate/k"), "\"state\":\"valid\""));
}

Test(catalogue_state, says_who_signed_what)
{
    const struct catalogue_nats_operator_created operator= {
        .name = text("O"), .key = text("ok"), .nkey = text("OAAA")};
    const struct catalogue_nats_account_created account = {.name = text("A"),
                                                           .key = text("ak"),
                                                           .nkey = text("AAAA"),
                                                           .issuer = text("op"),
                                                           .signed_by = text("OAAA")};
    const struct catalogue_nats_user_created user = {.name = text("U"),
                                                     .key = text("uk"),
                                                     .nkey = text("UAAA"),
                                                     .issuer = text("acc"),
                                                     .signed_by = text("AAAA")};
    append(CATALOGUE_NATS_OPERATOR_CREATED, "op", &operator);
    append(CATALOGUE_NATS_ACCOUNT_CREATED, "acc", &account);
    append(CATALOGUE_NATS_USER_CREATED, "usr", &user);

    cr_assert_str_eq(state("signed/"),
                     "signed/acc/usr {\"kind\":\"nats_user\",\"nkey\":\"UAAA\",\"signed_by\":"
                     "\"AAAA\"}\n"
                     "signed/op/acc {\"kind\":\"nats_account\",\"nkey\":\"AAAA\",\"signed_by\":"
                     "\"OAAA\"}\n");
}

Test(catalogue_state, keeps_later_fields_over_earlier_ones)
{
    const struct catalogue_person_added added = {.name = text("Ada"), .organization = text("org")};
    const struct catalogue_person_role_granted first = {.role = text("witness"),
                                                        .ceremony = text("c1")};
    const struct catalogue_person_role_granted second = {.role = text("officer")};
    const struct catalogue_person_left left = {.reason = text("retired")};
    append(CATALOGUE_PERSON_ADDED, "ada", &added);
    append(CATALOGUE_PERSON_ROLE_GRANTED, "ada", &first);
    append(CATALOGUE_PERSON_ROLE_GRANTED, "ada", &second);
    append(CATALOGUE_PERSON_LEFT, "ada", &left);

    cr_assert_str_eq(state("person/"),
                     "person/ada {\"ceremony\":\"c1\",\"name\":\"Ada\",\"organization\":\"org\","
                     "\"reason\":\"retired\",\"role\":\"officer\",\"state\":\"left\"}\n");
}

/* Another store may have recorded anything under these names. */
Test(catalogue_state, notes_a_payload_that_does_not_fit_and_goes_on)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_event event = catalogue_event(CATALOGUE_KEY_GENERATED, "odd");
    quipu_engine_close(&engine);
    assert_done(quipu_engine_open(store, NULL, &engine, &err));
    assert_done(quipu_dagjson_to_dagcbor(text("{\"name\":7}"), &block, &err));
    event.payload = quipu_buf_slice(&block);
    assert_done(quipu_append(engine, &event, NULL, &err));
    event.aggregate.type = "yubikey"; /* not the type's aggregate: none of the catalogue's */
    assert_done(quipu_append(engine, &event, NULL, &err));
    make_key("good");

    cr_assert_str_eq(state("unfit/"), "unfit/key/odd {\"event_type\":\"key.generated\",\"why\":"
                                      "\"key.generated: name must be text\"}\n");
    cr_assert_not_null(strstr(state("key/"), "key/good {"));
    cr_assert_null(strstr(state("key/"), "odd"));
    quipu_buf_release(&block);
}
