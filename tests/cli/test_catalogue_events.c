/*
 * The catalogue's events: each type there and back and against its declaration; the rules, each
 * refusal with its words.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "catalogue_kit.h"
#include "quipu/dagjson.h"

TestSuite(catalogue_events, .init = catalogue_kit_open, .fini = catalogue_kit_close);
TestSuite(catalogue_rules, .init = catalogue_kit_open, .fini = catalogue_kit_close);

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
        cr_assert_eq(catalogue_write_##name(&full, &once, &kit.err), QUIPU_OK, "%s",               \
                     kit.err.message);                                                             \
        event.payload = quipu_buf_slice(&once);                                                    \
        cr_assert_eq(quipu_types_check(kit.types, &event, &kit.err), QUIPU_OK, "%s",               \
                     kit.err.message);                                                             \
        cr_assert_str_eq(event.type, type_);                                                       \
        cr_assert_str_eq(event.aggregate.type, aggregate_);                                        \
        cr_assert_eq(catalogue_read(CATALOGUE_##NAME, event.payload, &read, &kit.err), QUIPU_OK,   \
                     "%s", kit.err.message);                                                       \
        cr_assert_eq(read.type, CATALOGUE_##NAME);                                                 \
        cr_assert(same_##name(&full, &read.of.name));                                              \
        cr_assert_eq(catalogue_write_##name(&read.of.name, &twice, &kit.err), QUIPU_OK);           \
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

    cr_assert_eq(catalogue_write_key_generated(&key, &block, &kit.err), QUIPU_OK, "%s",
                 kit.err.message);

    event.payload = quipu_buf_slice(&block);
    cr_assert_eq(quipu_types_check(kit.types, &event, &kit.err), QUIPU_OK, "%s", kit.err.message);
    cr_assert_eq(catalogue_read(CATALOGUE_KEY_GENERATED, event.payload, &read, &kit.err), QUIPU_OK);
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

    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &kit.err), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "key.provisioned: slot must be text of 1 to 255 bytes");
    on_device.slot = text(too_long);
    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &kit.err), QUIPU_INVALID);
    on_device.slot.len = 255;
    cr_assert_eq(catalogue_write_key_provisioned(&on_device, &block, &kit.err), QUIPU_OK);
    const struct catalogue_ceremony_closed closed = {.by = text("a"),
                                                     .transcript_sha256 = text("31 bytes")};
    quipu_buf_reset(&block);
    cr_assert_eq(catalogue_write_ceremony_closed(&closed, &block, &kit.err), QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "ceremony.closed: transcript_sha256 must be 32 bytes");
    const struct catalogue_certificate_issued unsigned_one = {
        .name = text("n"),
        .key = text("k"),
        .issuer = text("i"),
        .uses = text("u"),
        .algorithm = text("a"),
        .signed_bytes = bytes(),
        .fingerprint = bytes(),
    };
    cr_assert_eq(catalogue_write_certificate_issued(&unsigned_one, &block, &kit.err),
                 QUIPU_INVALID);
    cr_assert_str_eq(kit.err.message, "certificate.issued: signature must be bytes");
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
        cr_assert_eq(quipu_dagjson_to_dagcbor(text(cases[i].json), &block, &kit.err), QUIPU_OK);
        cr_assert_eq(
            catalogue_read(CATALOGUE_KEY_PROVISIONED, quipu_buf_slice(&block), &read, &kit.err),
            cases[i].status, "%s", cases[i].json);
        cr_assert_not_null(
            strstr(cases[i].status == QUIPU_OK ? "" : kit.err.message, cases[i].says), "%s: %s",
            cases[i].json, kit.err.message);
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

#define assert_refused(call, why)                                                                  \
    do {                                                                                           \
        uint64_t events_before = events_stored();                                                  \
        cr_assert_eq((call), QUIPU_INVALID);                                                       \
        cr_assert_str_eq(kit.err.message, why);                                                    \
        cr_assert_eq(events_stored(), events_before);                                              \
    } while (0)

static uint64_t events_stored(void)
{
    struct quipu_txn *txn = NULL;
    cr_assert_eq(quipu_txn_begin_read(kit.store, &txn, &kit.err), QUIPU_OK);
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

    assert_done(revoke_key("k"));

    assert_refused(provision("1", "k", "9c"), "key k is revoked");
    assert_refused(request("2", "ada", "k"), "key k is revoked");
    assert_refused(revoke_key("k"), "key k is revoked already");
    assert_refused(revoke_key("q"), "key q is not known");
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
    cr_assert_eq(quipu_txn_begin_read(kit.store, &txn, &kit.err), QUIPU_OK);

    for (uint64_t position = 4; position <= 6; position++) {
        uint64_t causing = position == 6 ? 4 : position - 1; /* both events of the last batch */
        cr_assert_eq(quipu_txn_record_at(txn, causing, &cause, &kit.err), QUIPU_OK);
        cr_assert_eq(quipu_txn_record_at(txn, position, &record, &kit.err), QUIPU_OK);
        cr_assert_eq(quipu_event_view_of(&record, &event, &kit.err), QUIPU_OK);
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
    const struct catalogue_context here = {.engine = kit.engine, .retries = 10};
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
    const struct catalogue_context here = {.engine = kit.engine, .retries = 10};
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
        assert_done(catalogue_revoke_key(&here, race.id, &revoked, &kit.err));
        cr_assert_eq(pthread_join(other, NULL), 0);
        cr_assert_eq(pthread_barrier_destroy(&race.start), 0);

        const struct quipu_filter filter = {.aggregate_type = "key", .aggregate_id = race.id};
        quipu_buf_reset(&kit.rows);
        assert_done(quipu_each_event(kit.engine, &filter, remember_type, &kit.rows, &kit.err));
        quipu_buf_append_byte(&kit.rows, 0);
        cr_assert(race.status == QUIPU_OK || race.status == QUIPU_INVALID);
        cr_assert_str_eq((const char *)kit.rows.data,
                         race.status == QUIPU_OK ? "key.generated key.provisioned key.revoked "
                                                 : "key.generated key.revoked ");
    }
}
