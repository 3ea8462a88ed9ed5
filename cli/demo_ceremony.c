/*
 * The ceremony of the demo: an invented organisation makes its keys. Each step is one atomic batch;
 * every event of the ceremony shares its correlation, and names what caused it.
 *
 * The YubiKeys follow the two-person rule: whoever asked for a device may not approve it. The rule
 * is the application's: it reads the device's history, decides, and appends with the exact version
 * that it has read, so that nothing can come between.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <string.h>

#include "demo.h"
#include "quipu/dagcbor.h"

#define SCRIPT_EVENTS_MAX 16
#define COUNT(array)      (sizeof(array) / sizeof((array)[0]))
#define YEAR_US           (INT64_C(365) * 86400 * 1000000)

static const struct {
    const char *id;
    const char *name;
    const char *role;
} people[] = {
    {"ada", "Ada Quispe", "crypto officer"},      {"bruno", "Bruno Huaman", "crypto officer"},
    {"carla", "Carla Mamani", "crypto officer"},  {"dario", "Dario Condori", "ceremony leader"},
    {"elena", "Elena Rojas", "external witness"},
};

/* Each asked for by its holder, approved by somebody else. */
static const struct {
    const char *serial;
    enum demo_key_name key;
    const char *asked_by;
    const char *approved_by;
} devices[] = {
    {"20460117", DEMO_KEY_ADA, "ada", "bruno"},
    {"20460124", DEMO_KEY_BRUNO, "bruno", "carla"},
    {"20460131", DEMO_KEY_CARLA, "carla", "ada"},
};

/* In the order of issue: an issuer stands before its subjects. */
static const struct {
    enum demo_key_name subject;
    enum demo_key_name issuer;
    const char *uses;
    int64_t years;
} certificates[] = {
    {DEMO_KEY_ROOT_CA, DEMO_KEY_ROOT_CA, "sign certificates", 20},
    {DEMO_KEY_ISSUING_CA, DEMO_KEY_ROOT_CA, "sign certificates", 5},
    {DEMO_KEY_ADA, DEMO_KEY_ISSUING_CA, "sign", 1},
    {DEMO_KEY_BRUNO, DEMO_KEY_ISSUING_CA, "sign", 1},
    {DEMO_KEY_CARLA, DEMO_KEY_ISSUING_CA, "sign", 1},
};

/* Events that go into the store together. Ids are made in advance, so that one event can name
 * another of the same batch as its cause. */
struct script {
    struct demo *demo;
    struct quipu_uuid last; /* of the generator */
    struct quipu_event events[SCRIPT_EVENTS_MAX];
    struct quipu_buf payloads[SCRIPT_EVENTS_MAX];
    struct quipu_appended appended[SCRIPT_EVENTS_MAX];
    size_t count;
    struct quipu_uuid key_events[DEMO_KEYS]; /* the events that made the keys */
};

static enum quipu_status add(struct script *script, struct quipu_event event,
                             const struct catalogue_field *fields, size_t count,
                             struct quipu_error *err)
{
    struct quipu_clock clock = quipu_clock_system();
    struct quipu_random random = quipu_random_system();
    if (script->count == SCRIPT_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a step has more than %d events",
                               SCRIPT_EVENTS_MAX);
    }
    struct quipu_buf *payload = &script->payloads[script->count];
    quipu_buf_reset(payload);
    enum quipu_status status = catalogue_payload(fields, count, payload, err);
    if (status == QUIPU_OK) {
        status = quipu_uuid_v7(&clock, &random, &script->last, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    event.event_id = script->last;
    event.correlation_id = script->demo->correlation;
    event.payload = quipu_buf_slice(payload);
    script->events[script->count++] = event;
    return QUIPU_OK;
}

static enum quipu_status play(struct script *script, struct quipu_error *err)
{
    size_t count = script->count;
    script->count = 0;
    return quipu_append_batch(script->demo->engines[DEMO_CEREMONY], script->events, count,
                              script->appended, NULL, err);
}

/* ------------------------------------------------------------------ people and keys */

static enum quipu_status add_people(struct script *script, struct quipu_error *err)
{
    struct catalogue_field organization[] = {
        catalogue_text("name", "Tambo Trust"),
        catalogue_text("country", "PE"),
    };
    enum quipu_status status =
        add(script, catalogue_event(CATALOGUE_ORGANIZATION_CREATED, "tambo-trust"), organization,
            COUNT(organization), err);
    for (size_t i = 0; i < COUNT(people) && status == QUIPU_OK; i++) {
        struct catalogue_field person[] = {
            catalogue_text("name", people[i].name),
            catalogue_text("organization", "tambo-trust"),
        };
        struct quipu_event event = catalogue_event(CATALOGUE_PERSON_ADDED, people[i].id);
        event.causation_id = script->events[0].event_id;
        event.expected = quipu_expect_no_stream();
        status = add(script, event, person, COUNT(person), err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "people", "1 organisation and %zu people, one atomic batch",
                  COUNT(people));
    }
    return status;
}

/* The event that opens the ceremony gives its id to all that belong to it. */
static enum quipu_status open_ceremony(struct script *script, struct quipu_error *err)
{
    struct catalogue_field ceremony[] = {
        catalogue_text("name", "root key ceremony"),
        catalogue_text("place", "vault room 2, Cusco"),
        catalogue_number("officers_needed", 2),
    };
    enum quipu_status status = add(script, catalogue_event(CATALOGUE_CEREMONY_OPENED, "ceremony-1"),
                                   ceremony, COUNT(ceremony), err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_uuid opened = script->events[0].event_id;
    script->demo->correlation = opened;
    for (size_t i = 0; i < COUNT(people) && status == QUIPU_OK; i++) {
        struct catalogue_field role[] = {
            catalogue_text("role", people[i].role),
            catalogue_text("ceremony", "ceremony-1"),
        };
        struct quipu_event event = catalogue_event(CATALOGUE_PERSON_ROLE_GRANTED, people[i].id);
        event.causation_id = opened;
        event.expected = quipu_expect_exact(1);
        status = add(script, event, role, COUNT(role), err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "ceremony", "opened, %zu roles granted; its id correlates the rest",
                  COUNT(people));
    }
    return status;
}

static enum quipu_status make_keys(struct script *script, struct quipu_error *err)
{
    struct demo *demo = script->demo;
    enum quipu_status status = demo_keys_make(&demo->keys, err);
    for (int i = 0; i < DEMO_KEYS && status == QUIPU_OK; i++) {
        const struct demo_key *key = demo_key(demo->keys, (enum demo_key_name)i);
        struct catalogue_field fields[] = {
            catalogue_text("name", key->id),        catalogue_text("purpose", key->purpose),
            catalogue_text("algorithm", "Ed25519"), catalogue_text("nkey", key->nkey),
            catalogue_text("public_key", key->hex), catalogue_text("holder", key->holder),
        };
        struct quipu_event event = catalogue_event(CATALOGUE_KEY_GENERATED, key->id);
        event.causation_id = demo->correlation;
        event.expected = quipu_expect_no_stream();
        status = add(script, event, fields, COUNT(fields), err);
        if (status == QUIPU_OK) {
            script->key_events[i] = script->last;
        }
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(demo, "keys",
                  "%d Ed25519 key pairs made; public halves recorded, secret ones not", DEMO_KEYS);
    }
    return status;
}

/* ------------------------------------------------------------------ YubiKeys, by two persons */

/* What an approver has to know of a device. */
struct device_history {
    uint64_t version;
    struct quipu_uuid request;
    char asked_by[64]; /* "" where nobody asked */
};

static enum quipu_status remember(void *ctx, const struct quipu_event_view *event,
                                  struct quipu_error *err)
{
    struct device_history *history = ctx;
    history->version = event->envelope.version;
    const char *type = catalogue_entry(CATALOGUE_YUBIKEY_PROVISION_REQUESTED)->event_type;
    if (!quipu_slice_equal(event->envelope.event_type, quipu_slice_text(type))) {
        return QUIPU_OK;
    }
    struct quipu_slice value;
    struct quipu_slice by;
    struct quipu_dagcbor_reader reader;
    enum quipu_status status = quipu_dagcbor_map_get(event->payload, "by", &value, err);
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_dagcbor_reader_init(&reader, value);
    status = quipu_dagcbor_read_text(&reader, &by, err);
    if (status != QUIPU_OK) {
        return status;
    }
    history->request = event->envelope.event_id;
    (void)snprintf(history->asked_by, sizeof history->asked_by, "%.*s", QUIPU_SLICE_FMT(by));
    return QUIPU_OK;
}

/* Load, decide, append with the version that the decision stands on. */
static enum quipu_status approve(struct script *script, const char *serial, const char *by,
                                 struct quipu_error *err)
{
    struct device_history history = {0};
    struct quipu_filter filter = {.aggregate_type = "yubikey", .aggregate_id = serial};
    enum quipu_status status =
        quipu_each_event(script->demo->engines[DEMO_CEREMONY], &filter, remember, &history, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (strcmp(history.asked_by, by) == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "%s asked for YubiKey %s and may not approve it",
                               by, serial);
    }
    struct catalogue_field fields[] = {catalogue_text("by", by)};
    struct quipu_event event = catalogue_event(CATALOGUE_YUBIKEY_PROVISION_APPROVED, serial);
    event.causation_id = history.request;
    event.expected = quipu_expect_exact(history.version);
    status = add(script, event, fields, COUNT(fields), err);
    return status == QUIPU_OK ? play(script, err) : status;
}

static enum quipu_status ask_for_devices(struct script *script, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(devices) && status == QUIPU_OK; i++) {
        struct catalogue_field model[] = {
            catalogue_text("name", "YubiKey 5 NFC"),
            catalogue_text("firmware", "5.4.3"),
        };
        struct catalogue_field request[] = {
            catalogue_text("by", devices[i].asked_by),
            catalogue_text("slot", "9c"),
            catalogue_text("key", demo_key(script->demo->keys, devices[i].key)->id),
        };
        struct quipu_event event = catalogue_event(CATALOGUE_YUBIKEY_REGISTERED, devices[i].serial);
        event.causation_id = script->demo->correlation;
        event.expected = quipu_expect_no_stream();
        status = add(script, event, model, COUNT(model), err);
        if (status == QUIPU_OK) {
            event = catalogue_event(CATALOGUE_YUBIKEY_PROVISION_REQUESTED, devices[i].serial);
            event.causation_id = script->key_events[devices[i].key];
            status = add(script, event, request, COUNT(request), err);
        }
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "yubikeys", "%zu devices registered, each asked for by its holder",
                  COUNT(devices));
    }
    return status;
}

static enum quipu_status approve_devices(struct script *script, struct quipu_error *err)
{
    struct quipu_error refusal = {0};
    enum quipu_status status = approve(script, devices[0].serial, devices[0].asked_by, &refusal);
    if (status != QUIPU_INVALID) {
        return quipu_error_set(err, QUIPU_CORRUPT, "the two-person rule did not hold");
    }
    demo_step(script->demo, "refused", "two-person rule: %s", refusal.message);
    status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(devices) && status == QUIPU_OK; i++) {
        struct catalogue_field fields[] = {
            catalogue_text("slot", "9c"),
            catalogue_text("key", demo_key(script->demo->keys, devices[i].key)->id),
        };
        status = approve(script, devices[i].serial, devices[i].approved_by, err);
        if (status == QUIPU_OK) {
            struct quipu_event event =
                catalogue_event(CATALOGUE_YUBIKEY_PROVISIONED, devices[i].serial);
            event.causation_id = script->appended[0].event_id;
            event.expected = quipu_expect_exact(script->appended[0].version);
            status = add(script, event, fields, COUNT(fields), err);
        }
        if (status == QUIPU_OK) {
            status = play(script, err);
        }
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "yubikeys", "%zu devices approved by a second person, provisioned",
                  COUNT(devices));
    }
    return status;
}

/* ------------------------------------------------------------------ certificates */

/* The bytes that are signed are one block of DAG-CBOR, kept whole in the event: whoever checks the
 * signature does not have to encode anything again. */
static enum quipu_status add_certificate(struct script *script, size_t index, int64_t now_us,
                                         struct quipu_error *err)
{
    const struct demo_keys *keys = script->demo->keys;
    const struct demo_key *subject = demo_key(keys, certificates[index].subject);
    const struct demo_key *issuer = demo_key(keys, certificates[index].issuer);
    struct catalogue_field signed_fields[] = {
        catalogue_text("subject", subject->id),
        catalogue_text("issuer", issuer->id),
        catalogue_text("uses", certificates[index].uses),
        catalogue_number("serial", (int64_t)index + 1),
        catalogue_bytes("public_key", quipu_slice(subject->public_key, sizeof subject->public_key)),
        catalogue_number("not_before", now_us),
        catalogue_number("not_after", now_us + certificates[index].years * YEAR_US),
    };
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = catalogue_payload(signed_fields, COUNT(signed_fields), &block, err);
    if (status == QUIPU_OK) {
        demo_key_sign(keys, certificates[index].issuer, quipu_buf_slice(&block), signature);
        struct catalogue_field fields[] = {
            catalogue_text("name", subject->id),
            catalogue_text("issuer", issuer->id),
            catalogue_text("algorithm", "Ed25519 over signed_bytes"),
            catalogue_bytes("signed_bytes", quipu_buf_slice(&block)),
            catalogue_bytes("signature", quipu_slice(signature, sizeof signature)),
        };
        struct quipu_event event = catalogue_event(CATALOGUE_CERTIFICATE_ISSUED, subject->id);
        event.causation_id = script->key_events[certificates[index].subject];
        event.expected = quipu_expect_no_stream();
        status = add(script, event, fields, COUNT(fields), err);
    }
    quipu_buf_release(&block);
    return status;
}

static enum quipu_status issue_certificates(struct script *script, struct quipu_error *err)
{
    struct quipu_clock clock = quipu_clock_system();
    int64_t now_us = clock.unix_us(clock.ctx);
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(certificates) && status == QUIPU_OK; i++) {
        status = add_certificate(script, i, now_us, err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "certificates",
                  "%zu issued: root, issuing authority, officers; signed by their issuers",
                  COUNT(certificates));
    }
    return status;
}

/* ------------------------------------------------------------------ NATS, and the end */

static enum quipu_status add_nats(struct script *script, enum catalogue_type type,
                                  enum demo_key_name name, enum demo_key_name parent,
                                  struct quipu_error *err)
{
    const struct demo_key *key = demo_key(script->demo->keys, name);
    struct catalogue_field fields[] = {
        catalogue_text("name", key->id),
        catalogue_text("nkey", key->nkey),
        catalogue_text("signed_by", demo_key(script->demo->keys, parent)->nkey),
    };
    struct quipu_event event = catalogue_event(type, key->id);
    event.causation_id = script->key_events[name];
    event.expected = quipu_expect_no_stream();
    return add(script, event, fields, COUNT(fields), err);
}

static enum quipu_status close_ceremony(struct script *script, struct quipu_error *err)
{
    static const struct {
        enum catalogue_type type;
        enum demo_key_name key;
        enum demo_key_name parent;
    } identities[] = {
        {CATALOGUE_NATS_OPERATOR_CREATED, DEMO_KEY_OPERATOR, DEMO_KEY_OPERATOR},
        {CATALOGUE_NATS_ACCOUNT_CREATED, DEMO_KEY_ACCOUNT, DEMO_KEY_OPERATOR},
        {CATALOGUE_NATS_USER_CREATED, DEMO_KEY_ADA, DEMO_KEY_ACCOUNT},
        {CATALOGUE_NATS_USER_CREATED, DEMO_KEY_BRUNO, DEMO_KEY_ACCOUNT},
        {CATALOGUE_NATS_USER_CREATED, DEMO_KEY_CARLA, DEMO_KEY_ACCOUNT},
    };
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(identities) && status == QUIPU_OK; i++) {
        status = add_nats(script, identities[i].type, identities[i].key, identities[i].parent, err);
    }
    if (status == QUIPU_OK) {
        struct catalogue_field fields[] = {catalogue_text("by", "dario")};
        struct quipu_event event = catalogue_event(CATALOGUE_CEREMONY_CLOSED, "ceremony-1");
        event.causation_id = script->demo->correlation;
        event.expected = quipu_expect_exact(1);
        status = add(script, event, fields, COUNT(fields), err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "nats", "%zu identities recorded, ceremony closed",
                  COUNT(identities));
    }
    return status;
}

enum quipu_status demo_ceremony(struct demo *demo, struct quipu_error *err)
{
    static enum quipu_status (*const steps[])(struct script *, struct quipu_error *) = {
        add_people,      open_ceremony,      make_keys,      ask_for_devices,
        approve_devices, issue_certificates, close_ceremony,
    };
    struct script script = {.demo = demo};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(steps) && status == QUIPU_OK; i++) {
        status = steps[i](&script, err);
    }
    for (size_t i = 0; i < SCRIPT_EVENTS_MAX; i++) {
        quipu_buf_release(&script.payloads[i]);
    }
    demo_keys_wipe(&demo->keys);
    return status;
}
