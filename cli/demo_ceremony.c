/*
 * The ceremony of the demo: an invented organisation makes its keys. Each step is one atomic batch;
 * every event of the ceremony shares its correlation, and names what caused it.
 *
 * What needs a decision (a device, a certificate) goes through the catalogue's commands, which read
 * the history, decide, and append with the exact version that they have read, so that nothing can
 * come between.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "demo.h"
#include "quipu/sha256.h"

#define SCRIPT_EVENTS_MAX 16
#define COUNT(array)      (sizeof(array) / sizeof((array)[0]))
#define YEAR_US           (INT64_C(365) * 86400 * 1000000)
#define CEREMONY          "ceremony-1"
#define SLOT              "9c" /* PIV: digital signature */

/* What the people in the room agreed to do; the event that opens the ceremony carries its digest.
 */
static const char ceremony_script[] =
    "1 introduce everybody; 2 make the keys; 3 put each officer's key on a device, by two persons; "
    "4 issue the certificates; 5 record the NATS identities; 6 close";

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

/* One more event of the step, with `rest` for what is not the same in all of them. */
static enum quipu_status add(struct script *script, enum catalogue_type type, const char *id,
                             const void *payload, struct quipu_event rest, struct quipu_error *err)
{
    struct quipu_clock clock = quipu_clock_system();
    struct quipu_random random = quipu_random_system();
    if (script->count == SCRIPT_EVENTS_MAX) {
        return quipu_error_set(err, QUIPU_TOO_LARGE, "a step has more than %d events",
                               SCRIPT_EVENTS_MAX);
    }
    struct quipu_buf *block = &script->payloads[script->count];
    quipu_buf_reset(block);
    enum quipu_status status = catalogue_write(type, payload, block, err);
    if (status == QUIPU_OK) {
        status = quipu_uuid_v7(&clock, &random, &script->last, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_event event = catalogue_event(type, id);
    event.event_id = script->last;
    event.correlation_id = script->demo->correlation;
    event.causation_id = rest.causation_id;
    event.expected = rest.expected;
    event.payload = quipu_buf_slice(block);
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

/* What is caused by `cause`, and is the first of its aggregate. */
static struct quipu_event first_of(struct quipu_uuid cause)
{
    const struct quipu_event event = {.causation_id = cause, .expected = quipu_expect_no_stream()};
    return event;
}

/* A command of the catalogue, caused by `cause`. */
static struct catalogue_context commanded(const struct script *script, struct quipu_uuid cause)
{
    const struct catalogue_context context = {
        .engine = script->demo->engines[DEMO_CEREMONY],
        .correlation_id = script->demo->correlation,
        .causation_id = cause,
    };
    return context;
}

static struct quipu_slice text(const char *value)
{
    return quipu_slice_text(value);
}

/* ------------------------------------------------------------------ people and keys */

static enum quipu_status add_people(struct script *script, struct quipu_error *err)
{
    const struct catalogue_organization_created organization = {
        .name = text("Tambo Trust"), .country = text("PE"), .domain = text("tambo.example")};
    enum quipu_status status = add(script, CATALOGUE_ORGANIZATION_CREATED, "tambo-trust",
                                   &organization, first_of((struct quipu_uuid){{0}}), err);
    for (size_t i = 0; i < COUNT(people) && status == QUIPU_OK; i++) {
        const struct catalogue_person_added person = {.name = text(people[i].name),
                                                      .organization = text("tambo-trust")};
        status = add(script, CATALOGUE_PERSON_ADDED, people[i].id, &person,
                     first_of(script->events[0].event_id), err);
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
    uint8_t digest[QUIPU_SHA256_BYTES];
    quipu_sha256(text(ceremony_script), digest);
    const struct catalogue_ceremony_opened ceremony = {
        .name = text("root key ceremony"),
        .place = text("vault room 2, Cusco"),
        .officers_needed = 2,
        .script_sha256 = quipu_slice(digest, sizeof digest),
    };
    enum quipu_status status = add(script, CATALOGUE_CEREMONY_OPENED, CEREMONY, &ceremony,
                                   first_of((struct quipu_uuid){{0}}), err);
    if (status != QUIPU_OK) {
        return status;
    }
    struct quipu_uuid opened = script->events[0].event_id;
    script->demo->correlation = opened;
    for (size_t i = 0; i < COUNT(people) && status == QUIPU_OK; i++) {
        const struct catalogue_person_role_granted role = {.role = text(people[i].role),
                                                           .ceremony = text(CEREMONY)};
        const struct quipu_event rest = {.causation_id = opened, .expected = quipu_expect_exact(1)};
        status = add(script, CATALOGUE_PERSON_ROLE_GRANTED, people[i].id, &role, rest, err);
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
        uint8_t fingerprint[QUIPU_SHA256_BYTES];
        quipu_sha256(quipu_slice(key->public_key, sizeof key->public_key), fingerprint);
        const struct catalogue_key_generated generated = {
            .name = text(key->id),
            .purpose = text(key->purpose),
            .algorithm = text("Ed25519"),
            .public_key = quipu_slice(key->public_key, sizeof key->public_key),
            .fingerprint = quipu_slice(fingerprint, sizeof fingerprint),
            .holder = text(key->holder),
            .nkey = text(key->nkey),
            .ceremony = text(CEREMONY),
        };
        status = add(script, CATALOGUE_KEY_GENERATED, key->id, &generated,
                     first_of(demo->correlation), err);
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

static enum quipu_status ask_for_devices(struct script *script, struct quipu_error *err)
{
    const struct catalogue_yubikey_registered model = {
        .name = text("YubiKey 5 NFC"), .firmware = text("5.4.3"), .ceremony = text(CEREMONY)};
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(devices) && status == QUIPU_OK; i++) {
        status = add(script, CATALOGUE_YUBIKEY_REGISTERED, devices[i].serial, &model,
                     first_of(script->demo->correlation), err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    for (size_t i = 0; i < COUNT(devices) && status == QUIPU_OK; i++) {
        const struct catalogue_context context =
            commanded(script, script->key_events[devices[i].key]);
        const struct catalogue_yubikey_provision_requested request = {
            .by = text(devices[i].asked_by),
            .slot = text(SLOT),
            .key = text(demo_key(script->demo->keys, devices[i].key)->id),
        };
        status = catalogue_request_provision(&context, devices[i].serial, &request, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "yubikeys", "%zu devices registered, each asked for by its holder",
                  COUNT(devices));
    }
    return status;
}

static enum quipu_status approve(struct script *script, const char *serial, const char *by,
                                 struct quipu_error *err)
{
    /* Its cause is the request, which the command finds. */
    const struct catalogue_context context = commanded(script, (struct quipu_uuid){{0}});
    const struct catalogue_yubikey_provision_approved approval = {.by = text(by)};
    return catalogue_approve_provision(&context, serial, &approval, err);
}

static enum quipu_status provision(struct script *script, size_t device, struct quipu_error *err)
{
    const struct catalogue_context context = commanded(script, (struct quipu_uuid){{0}});
    const struct catalogue_yubikey_provisioned provisioned = {
        .slot = text(SLOT),
        .key = text(demo_key(script->demo->keys, devices[device].key)->id),
        .pin_policy = text("once"),
        .touch_policy = text("always"),
    };
    return catalogue_provision(&context, devices[device].serial, &provisioned, err);
}

static enum quipu_status approve_devices(struct script *script, struct quipu_error *err)
{
    struct quipu_error refusal = {0};
    enum quipu_status status = approve(script, devices[0].serial, devices[0].asked_by, &refusal);
    if (status != QUIPU_INVALID) {
        return quipu_error_set(err, QUIPU_CORRUPT, "the two-person rule did not hold: %s",
                               refusal.message);
    }
    demo_step(script->demo, "refused", "two-person rule: %s", refusal.message);
    status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(devices) && status == QUIPU_OK; i++) {
        status = approve(script, devices[i].serial, devices[i].approved_by, err);
        if (status == QUIPU_OK) {
            status = provision(script, i, err);
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
static enum quipu_status signed_block(const struct demo_keys *keys, size_t index, int64_t now_us,
                                      struct quipu_buf *out, struct quipu_error *err)
{
    const struct demo_key *subject = demo_key(keys, certificates[index].subject);
    const struct catalogue_field fields[] = {
        catalogue_text("subject", subject->id),
        catalogue_text("issuer", demo_key(keys, certificates[index].issuer)->id),
        catalogue_text("uses", certificates[index].uses),
        catalogue_number("serial", (int64_t)index + 1),
        catalogue_bytes("public_key", quipu_slice(subject->public_key, sizeof subject->public_key)),
        catalogue_number("not_before", now_us),
        catalogue_number("not_after", now_us + certificates[index].years * YEAR_US),
    };
    return catalogue_payload(fields, COUNT(fields), out, err);
}

static enum quipu_status issue(struct script *script, size_t index, int64_t now_us,
                               struct quipu_error *err)
{
    const struct demo_keys *keys = script->demo->keys;
    const struct demo_key *subject = demo_key(keys, certificates[index].subject);
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    uint8_t fingerprint[QUIPU_SHA256_BYTES];
    struct quipu_buf block = QUIPU_BUF_INIT;
    enum quipu_status status = signed_block(keys, index, now_us, &block, err);
    if (status == QUIPU_OK) {
        demo_key_sign(keys, certificates[index].issuer, quipu_buf_slice(&block), signature);
        quipu_sha256(quipu_buf_slice(&block), fingerprint);
        const struct catalogue_certificate_issued certificate = {
            .name = text(subject->id),
            .key = text(subject->id),
            .issuer = text(demo_key(keys, certificates[index].issuer)->id),
            .serial = (int64_t)index + 1,
            .uses = text(certificates[index].uses),
            .not_before = now_us,
            .not_after = now_us + certificates[index].years * YEAR_US,
            .algorithm = text("Ed25519 over signed_bytes"),
            .signed_bytes = quipu_buf_slice(&block),
            .signature = quipu_slice(signature, sizeof signature),
            .fingerprint = quipu_slice(fingerprint, sizeof fingerprint),
            .ceremony = text(CEREMONY),
        };
        const struct catalogue_context context =
            commanded(script, script->key_events[certificates[index].subject]);
        status = catalogue_issue_certificate(&context, subject->id, &certificate, err);
    }
    quipu_buf_release(&block);
    return status;
}

/* A certificate for a key that nobody made. */
static enum quipu_status refuse_unknown_key(struct script *script, struct quipu_error *err)
{
    struct quipu_error refusal = {0};
    const uint8_t nothing[QUIPU_SHA256_BYTES] = {0};
    const struct quipu_slice bytes = quipu_slice(nothing, sizeof nothing);
    const struct catalogue_context context = commanded(script, script->demo->correlation);
    const struct catalogue_certificate_issued certificate = {
        .name = text("mallory"),
        .key = text("mallory-2026"),
        .issuer = text("issuing-ca"),
        .uses = text("sign"),
        .not_after = 1,
        .algorithm = text("none"),
        .signed_bytes = bytes,
        .signature = bytes,
        .fingerprint = bytes,
    };
    enum quipu_status status =
        catalogue_issue_certificate(&context, "mallory-2026", &certificate, &refusal);
    if (status != QUIPU_INVALID) {
        return quipu_error_set(err, QUIPU_CORRUPT, "a certificate for a key that is not there: %s",
                               quipu_status_name(status));
    }
    demo_step(script->demo, "refused", "a certificate wants a key: %s", refusal.message);
    return QUIPU_OK;
}

static enum quipu_status issue_certificates(struct script *script, struct quipu_error *err)
{
    struct quipu_clock clock = quipu_clock_system();
    int64_t now_us = clock.unix_us(clock.ctx);
    enum quipu_status status = QUIPU_OK;
    for (size_t i = 0; i < COUNT(certificates) && status == QUIPU_OK; i++) {
        status = issue(script, i, now_us, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "certificates",
                  "%zu issued: root, issuing authority, officers; signed by their issuers",
                  COUNT(certificates));
        status = refuse_unknown_key(script, err);
    }
    return status;
}

/* ------------------------------------------------------------------ NATS, and the end */

static enum quipu_status add_operator(struct script *script, struct quipu_error *err)
{
    const struct demo_key *key = demo_key(script->demo->keys, DEMO_KEY_OPERATOR);
    const struct catalogue_nats_operator_created operator= {
        .name = text("Tambo"), .key = text(key->id), .nkey = text(key->nkey)};
    return add(script, CATALOGUE_NATS_OPERATOR_CREATED, key->id, &operator,
               first_of(script->key_events[DEMO_KEY_OPERATOR]), err);
}

static enum quipu_status add_account(struct script *script, struct quipu_error *err)
{
    const struct demo_key *key = demo_key(script->demo->keys, DEMO_KEY_ACCOUNT);
    const struct demo_key *issuer = demo_key(script->demo->keys, DEMO_KEY_OPERATOR);
    const struct catalogue_nats_account_created account = {
        .name = text("ceremonies"),
        .key = text(key->id),
        .nkey = text(key->nkey),
        .issuer = text(issuer->id),
        .signed_by = text(issuer->nkey),
    };
    return add(script, CATALOGUE_NATS_ACCOUNT_CREATED, key->id, &account,
               first_of(script->key_events[DEMO_KEY_ACCOUNT]), err);
}

static enum quipu_status add_user(struct script *script, enum demo_key_name name,
                                  struct quipu_error *err)
{
    const struct demo_key *key = demo_key(script->demo->keys, name);
    const struct demo_key *issuer = demo_key(script->demo->keys, DEMO_KEY_ACCOUNT);
    const struct catalogue_nats_user_created user = {
        .name = text(key->holder),
        .key = text(key->id),
        .nkey = text(key->nkey),
        .issuer = text(issuer->id),
        .signed_by = text(issuer->nkey),
    };
    return add(script, CATALOGUE_NATS_USER_CREATED, key->id, &user,
               first_of(script->key_events[name]), err);
}

static enum quipu_status close_ceremony(struct script *script, struct quipu_error *err)
{
    static const enum demo_key_name users[] = {DEMO_KEY_ADA, DEMO_KEY_BRUNO, DEMO_KEY_CARLA};
    enum quipu_status status = add_operator(script, err);
    if (status == QUIPU_OK) {
        status = add_account(script, err);
    }
    for (size_t i = 0; i < COUNT(users) && status == QUIPU_OK; i++) {
        status = add_user(script, users[i], err);
    }
    if (status == QUIPU_OK) {
        const struct catalogue_ceremony_closed closed = {.by = text("dario")};
        const struct quipu_event rest = {.causation_id = script->demo->correlation,
                                         .expected = quipu_expect_exact(1)};
        status = add(script, CATALOGUE_CEREMONY_CLOSED, CEREMONY, &closed, rest, err);
    }
    if (status == QUIPU_OK) {
        status = play(script, err);
    }
    if (status == QUIPU_OK) {
        demo_step(script->demo, "nats", "%zu identities recorded, ceremony closed",
                  2 + COUNT(users));
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
