/*
 * The rules of the catalogue as commands: load what the command is about, decide, append with the
 * version that the decision stands on. Of another aggregate that a rule depends on, such as the key
 * that is put on a device, an event is appended in the same batch with that aggregate's version, so
 * that the rule still holds at the moment of the commit. A certificate's issuer is looked at only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <stdio.h>
#include <string.h>

#include "quipu/alloc.h"

#define TEXT_BYTES 256

/* What the rules have to know of a key, a device or a certificate. */
struct item {
    const struct catalogue_entry *last; /* of its latest event; NULL: it has none */
    struct quipu_uuid last_event;
    char asked_by[TEXT_BYTES]; /* the open request */
    char key[TEXT_BYTES];
    char slot[TEXT_BYTES];
};

/* What a decision needs beside the aggregate. */
struct command {
    const struct catalogue_context *context;
    const char *id; /* of the command's aggregate */
    const void *payload;
};

/* ------------------------------------------------------------------ state */

static enum quipu_status create(void *ctx, void **state, struct quipu_error *err)
{
    (void)ctx;
    *state = quipu_alloc_zero(1, sizeof(struct item));
    return *state != NULL ? QUIPU_OK
                          : quipu_error_set(err, QUIPU_NO_MEMORY, "the state of an aggregate");
}

static void destroy(void *ctx, void *state)
{
    (void)ctx;
    quipu_free(state);
}

static void keep(char out[TEXT_BYTES], struct quipu_slice text)
{
    (void)snprintf(out, TEXT_BYTES, "%.*s", QUIPU_SLICE_FMT(text)); /* 255 bytes at most */
}

static enum quipu_status apply(void *ctx, void *state, const struct quipu_event_view *event,
                               struct quipu_error *err)
{
    (void)ctx;
    struct item *item = state;
    const struct catalogue_entry *entry = catalogue_find(event->envelope.event_type);
    if (entry == NULL) {
        return QUIPU_OK;
    }
    item->last = entry;
    item->last_event = event->envelope.event_id;
    if (catalogue_type_of(entry) != CATALOGUE_YUBIKEY_PROVISION_REQUESTED) {
        return QUIPU_OK;
    }
    struct catalogue_payload_of payload;
    enum quipu_status status =
        catalogue_read(catalogue_type_of(entry), event->payload, &payload, err);
    if (status == QUIPU_OK) {
        keep(item->asked_by, payload.of.yubikey_provision_requested.by);
        keep(item->key, payload.of.yubikey_provision_requested.key);
        keep(item->slot, payload.of.yubikey_provision_requested.slot);
    }
    return status;
}

#define KIND(name)                                                                                 \
    {                                                                                              \
        .aggregate_type = (name), .create = create, .apply = apply, .destroy = destroy             \
    }
static const struct quipu_aggregate_kind key_kind = KIND("key");
static const struct quipu_aggregate_kind yubikey_kind = KIND("yubikey");
static const struct quipu_aggregate_kind certificate_kind = KIND("certificate");

static bool is_in(const struct item *item, const char *state)
{
    return item->last != NULL && strcmp(item->last->state, state) == 0;
}

/* ------------------------------------------------------------------ what rules are made of */

static enum quipu_status add(struct quipu_decision *out, enum catalogue_type type,
                             const void *payload, struct quipu_event event, struct quipu_error *err)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    event.type = catalogue_entry(type)->event_type;
    event.schema = CATALOGUE_SCHEMA;
    enum quipu_status status = catalogue_write(type, payload, &block, err);
    if (status == QUIPU_OK) {
        event.payload = quipu_buf_slice(&block);
        status = quipu_decision_add(out, &event, err);
    }
    quipu_buf_release(&block);
    return status;
}

/* The key must be there and in use; `*version` is what to expect of it. */
static enum quipu_status require_key(struct quipu_engine *engine, const char *id, uint64_t *version,
                                     struct quipu_error *err)
{
    struct quipu_loaded key = {.state = NULL};
    enum quipu_status status = quipu_aggregate_load(engine, &key_kind, id, &key, err);
    if (status != QUIPU_OK) {
        return status;
    }
    const struct item *item = key.state;
    if (item->last == NULL) {
        status = quipu_error_set(err, QUIPU_INVALID, "key %s is not known", id);
    } else if (is_in(item, "revoked")) {
        status = quipu_error_set(err, QUIPU_INVALID, "key %s is revoked", id);
    }
    *version = key.version;
    quipu_loaded_release(&key_kind, &key);
    return status;
}

static enum quipu_status run(const struct catalogue_context *context,
                             const struct quipu_aggregate_kind *kind, quipu_decide_fn decide,
                             struct command command, struct quipu_error *err)
{
    struct quipu_command options = QUIPU_COMMAND_INIT;
    options.kind = kind;
    options.aggregate_id = command.id;
    options.decide = decide;
    options.ctx = &command;
    options.retries = context->retries;
    options.correlation_id = context->correlation_id;
    options.causation_id = context->causation_id;
    return quipu_command_run(context->engine, &options, NULL, err);
}

/* ------------------------------------------------------------------ devices */

static enum quipu_status decide_request(void *ctx, const struct quipu_loaded *loaded,
                                        struct quipu_decision *out, struct quipu_error *err)
{
    const struct command *command = ctx;
    const struct catalogue_yubikey_provision_requested *request = command->payload;
    const struct item *device = loaded->state;
    char key[TEXT_BYTES];
    uint64_t version;
    if (device->last == NULL) {
        return quipu_error_set(err, QUIPU_INVALID, "YubiKey %s is not registered", command->id);
    }
    if (is_in(device, "retired")) {
        return quipu_error_set(err, QUIPU_INVALID, "YubiKey %s is retired", command->id);
    }
    if (is_in(device, "requested") || is_in(device, "approved")) {
        return quipu_error_set(err, QUIPU_INVALID, "YubiKey %s: the request of %s is open",
                               command->id, device->asked_by);
    }
    keep(key, request->key);
    enum quipu_status status = require_key(command->context->engine, key, &version, err);
    return status == QUIPU_OK ? add(out, CATALOGUE_YUBIKEY_PROVISION_REQUESTED, request,
                                    (struct quipu_event){.type = NULL}, err)
                              : status;
}

enum quipu_status
catalogue_request_provision(const struct catalogue_context *context, const char *serial,
                            const struct catalogue_yubikey_provision_requested *request,
                            struct quipu_error *err)
{
    return run(context, &yubikey_kind, decide_request, (struct command){context, serial, request},
               err);
}

static enum quipu_status decide_approval(void *ctx, const struct quipu_loaded *loaded,
                                         struct quipu_decision *out, struct quipu_error *err)
{
    const struct command *command = ctx;
    const struct catalogue_yubikey_provision_approved *approval = command->payload;
    const struct item *device = loaded->state;
    if (!is_in(device, "requested")) {
        return quipu_error_set(err, QUIPU_INVALID, "YubiKey %s: nobody asked for it", command->id);
    }
    if (quipu_slice_equal(approval->by, quipu_slice_text(device->asked_by))) {
        return quipu_error_set(err, QUIPU_INVALID, "%s asked for YubiKey %s and may not approve it",
                               device->asked_by, command->id);
    }
    const struct quipu_event event = {.causation_id = device->last_event};
    return add(out, CATALOGUE_YUBIKEY_PROVISION_APPROVED, approval, event, err);
}

enum quipu_status
catalogue_approve_provision(const struct catalogue_context *context, const char *serial,
                            const struct catalogue_yubikey_provision_approved *approval,
                            struct quipu_error *err)
{
    return run(context, &yubikey_kind, decide_approval, (struct command){context, serial, approval},
               err);
}

static enum quipu_status decide_provision(void *ctx, const struct quipu_loaded *loaded,
                                          struct quipu_decision *out, struct quipu_error *err)
{
    const struct command *command = ctx;
    const struct catalogue_yubikey_provisioned *provisioned = command->payload;
    const struct item *device = loaded->state;
    uint64_t version = 0;
    if (!is_in(device, "approved")) {
        return quipu_error_set(err, QUIPU_INVALID, "YubiKey %s: nothing is approved", command->id);
    }
    if (!quipu_slice_equal(provisioned->key, quipu_slice_text(device->key)) ||
        !quipu_slice_equal(provisioned->slot, quipu_slice_text(device->slot))) {
        return quipu_error_set(err, QUIPU_INVALID,
                               "YubiKey %s: key %s in slot %s is approved, nothing else",
                               command->id, device->key, device->slot);
    }
    enum quipu_status status = require_key(command->context->engine, device->key, &version, err);
    struct quipu_event event = {.causation_id = device->last_event};
    if (status == QUIPU_OK) {
        status = add(out, CATALOGUE_YUBIKEY_PROVISIONED, provisioned, event, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    const struct catalogue_key_provisioned on_device = {.yubikey = quipu_slice_text(command->id),
                                                        .slot = provisioned->slot};
    event.aggregate.type = key_kind.aggregate_type;
    event.aggregate.id = device->key;
    event.expected = quipu_expect_exact(version);
    return add(out, CATALOGUE_KEY_PROVISIONED, &on_device, event, err);
}

enum quipu_status catalogue_provision(const struct catalogue_context *context, const char *serial,
                                      const struct catalogue_yubikey_provisioned *provisioned,
                                      struct quipu_error *err)
{
    return run(context, &yubikey_kind, decide_provision,
               (struct command){context, serial, provisioned}, err);
}

/* ------------------------------------------------------------------ certificates and keys */

/* A root answers for itself; any other issuer has a certificate that is valid. */
static enum quipu_status require_issuer(const struct command *command, struct quipu_slice issuer,
                                        struct quipu_error *err)
{
    char id[TEXT_BYTES];
    struct quipu_loaded certificate = {.state = NULL};
    keep(id, issuer);
    if (strcmp(id, command->id) == 0) {
        return QUIPU_OK;
    }
    enum quipu_status status =
        quipu_aggregate_load(command->context->engine, &certificate_kind, id, &certificate, err);
    if (status != QUIPU_OK) {
        return status;
    }
    if (!is_in(certificate.state, "valid")) {
        status = quipu_error_set(err, QUIPU_INVALID,
                                 "certificate %s: its issuer %s has no valid certificate",
                                 command->id, id);
    }
    quipu_loaded_release(&certificate_kind, &certificate);
    return status;
}

static enum quipu_status decide_certificate(void *ctx, const struct quipu_loaded *loaded,
                                            struct quipu_decision *out, struct quipu_error *err)
{
    const struct command *command = ctx;
    const struct catalogue_certificate_issued *certificate = command->payload;
    char key[TEXT_BYTES];
    uint64_t version = 0;
    if (is_in(loaded->state, "valid")) {
        return quipu_error_set(err, QUIPU_INVALID, "certificate %s is there and valid",
                               command->id);
    }
    if (certificate->not_before >= certificate->not_after) {
        return quipu_error_set(err, QUIPU_INVALID, "certificate %s ends before it begins",
                               command->id);
    }
    keep(key, certificate->key);
    enum quipu_status status = require_issuer(command, certificate->issuer, err);
    if (status == QUIPU_OK) {
        status = require_key(command->context->engine, key, &version, err);
    }
    if (status == QUIPU_OK) {
        status = add(out, CATALOGUE_CERTIFICATE_ISSUED, certificate,
                     (struct quipu_event){.type = NULL}, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    const struct catalogue_key_certified certified = {.certificate = quipu_slice_text(command->id),
                                                      .not_after = certificate->not_after};
    const struct quipu_event event = {.aggregate = {key_kind.aggregate_type, key},
                                      .expected = quipu_expect_exact(version)};
    return add(out, CATALOGUE_KEY_CERTIFIED, &certified, event, err);
}

enum quipu_status
catalogue_issue_certificate(const struct catalogue_context *context, const char *id,
                            const struct catalogue_certificate_issued *certificate,
                            struct quipu_error *err)
{
    return run(context, &certificate_kind, decide_certificate,
               (struct command){context, id, certificate}, err);
}

static enum quipu_status decide_revocation(void *ctx, const struct quipu_loaded *loaded,
                                           struct quipu_decision *out, struct quipu_error *err)
{
    const struct command *command = ctx;
    const struct item *key = loaded->state;
    if (key->last == NULL) {
        return quipu_error_set(err, QUIPU_INVALID, "key %s is not known", command->id);
    }
    if (is_in(key, "revoked")) {
        return quipu_error_set(err, QUIPU_INVALID, "key %s is revoked already", command->id);
    }
    return add(out, CATALOGUE_KEY_REVOKED, command->payload, (struct quipu_event){.type = NULL},
               err);
}

enum quipu_status catalogue_revoke_key(const struct catalogue_context *context, const char *id,
                                       const struct catalogue_key_revoked *revoked,
                                       struct quipu_error *err)
{
    return run(context, &key_kind, decide_revocation, (struct command){context, id, revoked}, err);
}
