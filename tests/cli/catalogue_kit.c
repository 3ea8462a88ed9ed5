/*
 * A store of the catalogue's events.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue_kit.h"

#include <criterion/criterion.h>

struct catalogue_kit kit;
static const uint8_t digest[QUIPU_SHA256_BYTES] = {1, 2, 3};

void catalogue_kit_open(void)
{
    char path[2 * TEMP_DIR_BYTES];
    struct quipu_engine_options options = QUIPU_ENGINE_OPTIONS_INIT;
    temp_dir_init(&kit.dir);
    cr_assert_eq(quipu_types_new(QUIPU_TYPES_STRICT, &kit.types, &kit.err), QUIPU_OK);
    cr_assert_eq(catalogue_declare(kit.types, &kit.err), QUIPU_OK, "%s", kit.err.message);
    options.types = kit.types;
    cr_assert_eq(
        quipu_store_open(temp_dir_join(&kit.dir, "store", path), NULL, &kit.store, &kit.err),
        QUIPU_OK);
    cr_assert_eq(quipu_engine_open(kit.store, &options, &kit.engine, &kit.err), QUIPU_OK);
    kit.rows = (struct quipu_buf)QUIPU_BUF_INIT;
}

void catalogue_kit_close(void)
{
    quipu_engine_close(&kit.engine);
    quipu_store_close(&kit.store);
    quipu_types_free(kit.types);
    quipu_buf_release(&kit.rows);
    temp_dir_release(&kit.dir);
}

struct quipu_slice text(const char *value)
{
    return quipu_slice_text(value);
}

struct quipu_slice bytes(void)
{
    return quipu_slice(digest, sizeof digest);
}

void append(enum catalogue_type type, const char *id, const void *payload)
{
    struct quipu_buf block = QUIPU_BUF_INIT;
    struct quipu_event event = catalogue_event(type, id);
    cr_assert_eq(catalogue_write(type, payload, &block, &kit.err), QUIPU_OK, "%s", kit.err.message);
    event.payload = quipu_buf_slice(&block);
    cr_assert_eq(quipu_append(kit.engine, &event, NULL, &kit.err), QUIPU_OK, "%s", kit.err.message);
    quipu_buf_release(&block);
}

void make_key(const char *id)
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

void make_device(const char *serial)
{
    const struct catalogue_yubikey_registered device = {.name = text("YubiKey 5"),
                                                        .firmware = text("5.4.3")};
    append(CATALOGUE_YUBIKEY_REGISTERED, serial, &device);
}

static const struct catalogue_context *context(void)
{
    static struct catalogue_context here;
    here = (struct catalogue_context){.engine = kit.engine};
    return &here;
}

enum quipu_status request(const char *serial, const char *by, const char *key)
{
    const struct catalogue_yubikey_provision_requested wanted = {
        .by = text(by), .slot = text("9c"), .key = text(key)};
    return catalogue_request_provision(context(), serial, &wanted, &kit.err);
}

enum quipu_status approve(const char *serial, const char *by)
{
    const struct catalogue_yubikey_provision_approved approval = {.by = text(by)};
    return catalogue_approve_provision(context(), serial, &approval, &kit.err);
}

enum quipu_status provision(const char *serial, const char *key, const char *slot)
{
    const struct catalogue_yubikey_provisioned provisioned = {.slot = text(slot), .key = text(key)};
    return catalogue_provision(context(), serial, &provisioned, &kit.err);
}

enum quipu_status revoke_key(const char *key)
{
    const struct catalogue_key_revoked revoked = {.reason = text("lost")};
    return catalogue_revoke_key(context(), key, &revoked, &kit.err);
}

enum quipu_status issue(const char *id, const char *key, const char *issuer, int64_t not_after)
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
    return catalogue_issue_certificate(context(), id, &certificate, &kit.err);
}
