/*
 * Payloads to and from C structs, by the table of fields that events.h gives; and the declarations
 * of the types. What is missing, empty, too long or of another kind is refused, with the field's
 * name; a member that the catalogue does not know is passed over when reading, since a newer
 * program may have written it.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "catalogue.h"

#include <string.h>

#include "quipu/dagcbor.h"

#define TEXT_BYTES_MAX 255

struct field {
    const char *name;
    enum catalogue_kind kind;
    size_t offset; /* in the struct */
    bool is_optional;
};

#define NEED_REQUIRED false
#define NEED_OPTIONAL true

/* One table of fields for each type. Inside of FIELD, EVENT is the struct it is about. */
#define FIELD(kind_, member_, need_)                                                               \
    {#member_, CATALOGUE_##kind_, offsetof(EVENT, member_), NEED_##need_},

#define EVENT struct catalogue_organization_created
static const struct field organization_created[] = {CATALOGUE_ORGANIZATION_CREATED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_person_added
static const struct field person_added[] = {CATALOGUE_PERSON_ADDED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_person_role_granted
static const struct field person_role_granted[] = {CATALOGUE_PERSON_ROLE_GRANTED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_person_left
static const struct field person_left[] = {CATALOGUE_PERSON_LEFT_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_ceremony_opened
static const struct field ceremony_opened[] = {CATALOGUE_CEREMONY_OPENED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_ceremony_closed
static const struct field ceremony_closed[] = {CATALOGUE_CEREMONY_CLOSED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_key_generated
static const struct field key_generated[] = {CATALOGUE_KEY_GENERATED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_key_provisioned
static const struct field key_provisioned[] = {CATALOGUE_KEY_PROVISIONED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_key_certified
static const struct field key_certified[] = {CATALOGUE_KEY_CERTIFIED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_key_revoked
static const struct field key_revoked[] = {CATALOGUE_KEY_REVOKED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_yubikey_registered
static const struct field yubikey_registered[] = {CATALOGUE_YUBIKEY_REGISTERED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_yubikey_provision_requested
static const struct field yubikey_provision_requested[] = {
    CATALOGUE_YUBIKEY_PROVISION_REQUESTED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_yubikey_provision_approved
static const struct field yubikey_provision_approved[] = {
    CATALOGUE_YUBIKEY_PROVISION_APPROVED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_yubikey_provisioned
static const struct field yubikey_provisioned[] = {CATALOGUE_YUBIKEY_PROVISIONED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_yubikey_retired
static const struct field yubikey_retired[] = {CATALOGUE_YUBIKEY_RETIRED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_certificate_issued
static const struct field certificate_issued[] = {CATALOGUE_CERTIFICATE_ISSUED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_certificate_revoked
static const struct field certificate_revoked[] = {CATALOGUE_CERTIFICATE_REVOKED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_nats_operator_created
static const struct field nats_operator_created[] = {CATALOGUE_NATS_OPERATOR_CREATED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_nats_account_created
static const struct field nats_account_created[] = {CATALOGUE_NATS_ACCOUNT_CREATED_FIELDS(FIELD)};
#undef EVENT
#define EVENT struct catalogue_nats_user_created
static const struct field nats_user_created[] = {CATALOGUE_NATS_USER_CREATED_FIELDS(FIELD)};
#undef EVENT

static const struct {
    const struct field *fields;
    size_t count;
} tables[CATALOGUE_TYPES] = {
#define TABLE(NAME, name, type, aggregate, state) {name, sizeof name / sizeof name[0]},
    CATALOGUE_MAP(TABLE)
#undef TABLE
};

static struct quipu_slice slice_at(const struct field *field, const void *payload)
{
    struct quipu_slice slice;
    memcpy(&slice, (const char *)payload + field->offset, sizeof slice);
    return slice;
}

static int64_t number_at(const struct field *field, const void *payload)
{
    int64_t number;
    memcpy(&number, (const char *)payload + field->offset, sizeof number);
    return number;
}

static bool is_number(const struct field *field)
{
    return field->kind == CATALOGUE_NUMBER || field->kind == CATALOGUE_TIME;
}

static enum quipu_status wrong(enum catalogue_type type, const struct field *field,
                               const char *expected, struct quipu_error *err)
{
    return quipu_error_set(err, QUIPU_INVALID, "%s: %s must be %s",
                           catalogue_entry(type)->event_type, field->name, expected);
}

/* Text, bytes or a digest that is there. */
static enum quipu_status check_slice(enum catalogue_type type, const struct field *field,
                                     struct quipu_slice slice, struct quipu_error *err)
{
    if (field->kind == CATALOGUE_TEXT && (slice.len == 0 || slice.len > TEXT_BYTES_MAX)) {
        return wrong(type, field, "text of 1 to 255 bytes", err);
    }
    if (field->kind == CATALOGUE_DIGEST && slice.len != QUIPU_SHA256_BYTES) {
        return wrong(type, field, "32 bytes", err);
    }
    return slice.len == 0 ? wrong(type, field, "bytes", err) : QUIPU_OK;
}

bool catalogue_knows(enum catalogue_type type, struct quipu_slice field)
{
    for (size_t i = 0; i < tables[type].count; i++) {
        if (quipu_slice_equal(field, quipu_slice_text(tables[type].fields[i].name))) {
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------------ writing */

enum quipu_status catalogue_write(enum catalogue_type type, const void *payload,
                                  struct quipu_buf *out, struct quipu_error *err)
{
    struct catalogue_field fields[CATALOGUE_FIELDS_MAX];
    size_t used = 0;
    for (size_t i = 0; i < tables[type].count; i++) {
        const struct field *field = &tables[type].fields[i];
        if (is_number(field)) {
            int64_t number = number_at(field, payload);
            if (!field->is_optional || number != 0) {
                fields[used++] = catalogue_number(field->name, number);
            }
            continue;
        }
        struct quipu_slice slice = slice_at(field, payload);
        if (field->is_optional && slice.len == 0) {
            continue;
        }
        enum quipu_status status = check_slice(type, field, slice, err);
        if (status != QUIPU_OK) {
            return status;
        }
        fields[used++] = (struct catalogue_field){field->name, field->kind, slice, 0};
    }
    return catalogue_payload(fields, used, out, err);
}

/* ------------------------------------------------------------------ reading */

static enum quipu_status read_field(enum catalogue_type type, const struct field *field,
                                    struct quipu_slice item, void *out, struct quipu_error *err)
{
    struct quipu_dagcbor_reader reader;
    struct quipu_slice slice = {NULL, 0};
    int64_t number = 0;
    quipu_dagcbor_reader_init(&reader, item);
    if (is_number(field)) {
        if (quipu_dagcbor_read_int(&reader, &number, NULL) != QUIPU_OK) {
            return wrong(type, field, "an integer", err);
        }
        memcpy((char *)out + field->offset, &number, sizeof number);
        return QUIPU_OK;
    }
    bool is_text = field->kind == CATALOGUE_TEXT;
    enum quipu_status status = is_text ? quipu_dagcbor_read_text(&reader, &slice, NULL)
                                       : quipu_dagcbor_read_bytes(&reader, &slice, NULL);
    if (status != QUIPU_OK) {
        return wrong(type, field, is_text ? "text" : "bytes", err);
    }
    status = check_slice(type, field, slice, err);
    if (status == QUIPU_OK) {
        memcpy((char *)out + field->offset, &slice, sizeof slice);
    }
    return status;
}

enum quipu_status catalogue_read(enum catalogue_type type, struct quipu_slice payload,
                                 struct catalogue_payload_of *out, struct quipu_error *err)
{
    struct catalogue_payload_of found;
    memset(&found, 0, sizeof found);
    found.type = type;
    for (size_t i = 0; i < tables[type].count; i++) {
        const struct field *field = &tables[type].fields[i];
        struct quipu_slice item;
        enum quipu_status status = quipu_dagcbor_map_get(payload, field->name, &item, NULL);
        if (status == QUIPU_NOT_FOUND && field->is_optional) {
            continue;
        }
        if (status != QUIPU_OK) {
            return status == QUIPU_NOT_FOUND || status == QUIPU_CBOR_KIND
                       ? quipu_error_set(err, QUIPU_INVALID, "%s: %s is missing",
                                         catalogue_entry(type)->event_type, field->name)
                       : quipu_error_set(err, status, "%s: the payload is damaged",
                                         catalogue_entry(type)->event_type);
        }
        status = read_field(type, field, item, &found.of, err);
        if (status != QUIPU_OK) {
            return status;
        }
    }
    *out = found;
    return QUIPU_OK;
}

/* ------------------------------------------------------------------ declarations */

static enum quipu_field_kind declared_kind(enum catalogue_kind kind)
{
    switch (kind) {
    case CATALOGUE_TEXT:
        return QUIPU_FIELD_TEXT;
    case CATALOGUE_BYTES:
    case CATALOGUE_DIGEST:
        return QUIPU_FIELD_BYTES;
    case CATALOGUE_NUMBER:
        return QUIPU_FIELD_INT;
    case CATALOGUE_TIME:
        return QUIPU_FIELD_TIME;
    }
    return QUIPU_FIELD_ANY;
}

enum quipu_status catalogue_declare(struct quipu_types *types, struct quipu_error *err)
{
    enum quipu_status status = QUIPU_OK;
    for (int type = 0; type < CATALOGUE_TYPES && status == QUIPU_OK; type++) {
        const struct catalogue_entry *entry = catalogue_entry((enum catalogue_type)type);
        struct quipu_field fields[CATALOGUE_FIELDS_MAX];
        memset(fields, 0, sizeof fields);
        for (size_t i = 0; i < tables[type].count; i++) {
            fields[i].name = tables[type].fields[i].name;
            fields[i].kind = declared_kind(tables[type].fields[i].kind);
            fields[i].is_optional = tables[type].fields[i].is_optional;
        }
        const struct quipu_type declaration = {
            .name = entry->event_type,
            .schema = CATALOGUE_SCHEMA,
            .aggregate_type = entry->aggregate_type,
            .payload = {.kind = QUIPU_FIELD_MAP,
                        .fields = fields,
                        .field_count = tables[type].count},
        };
        status = quipu_types_declare(types, &declaration, err);
    }
    return status;
}
