/*
 * A key-management catalogue on top of quipu: the types of events that a key ceremony records, a
 * builder for their payloads, and two projections. An example of what an application brings along,
 * so it is a library of its own and knows libquipu by its public headers only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CATALOGUE_H
#define QUIPU_CATALOGUE_H

#include <stddef.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/projection.h"

/* ------------------------------------------------------------------ types of events */

/* X(NAME, event type, aggregate type, state that the aggregate is in afterwards) */
#define CATALOGUE_MAP(X)                                                                           \
    X(ORGANIZATION_CREATED, "organization.created", "organization", "active")                      \
    X(PERSON_ADDED, "person.added", "person", "active")                                            \
    X(PERSON_ROLE_GRANTED, "person.role_granted", "person", "active")                              \
    X(PERSON_LEFT, "person.left", "person", "left")                                                \
    X(CEREMONY_OPENED, "ceremony.opened", "ceremony", "open")                                      \
    X(CEREMONY_CLOSED, "ceremony.closed", "ceremony", "closed")                                    \
    X(KEY_GENERATED, "key.generated", "key", "active")                                             \
    X(KEY_REVOKED, "key.revoked", "key", "revoked")                                                \
    X(YUBIKEY_REGISTERED, "yubikey.registered", "yubikey", "blank")                                \
    X(YUBIKEY_PROVISION_REQUESTED, "yubikey.provision_requested", "yubikey", "requested")          \
    X(YUBIKEY_PROVISION_APPROVED, "yubikey.provision_approved", "yubikey", "approved")             \
    X(YUBIKEY_PROVISIONED, "yubikey.provisioned", "yubikey", "provisioned")                        \
    X(YUBIKEY_RETIRED, "yubikey.retired", "yubikey", "retired")                                    \
    X(CERTIFICATE_ISSUED, "certificate.issued", "certificate", "valid")                            \
    X(CERTIFICATE_REVOKED, "certificate.revoked", "certificate", "revoked")                        \
    X(NATS_OPERATOR_CREATED, "nats_operator.created", "nats_operator", "active")                   \
    X(NATS_ACCOUNT_CREATED, "nats_account.created", "nats_account", "active")                      \
    X(NATS_USER_CREATED, "nats_user.created", "nats_user", "active")

enum catalogue_type {
#define CATALOGUE_ENUM(name, type, aggregate, state) CATALOGUE_##name,
    CATALOGUE_MAP(CATALOGUE_ENUM)
#undef CATALOGUE_ENUM
};

struct catalogue_entry {
    const char *event_type;
    const char *aggregate_type;
    const char *state;
};

/** What the catalogue says of a type. Static. */
const struct catalogue_entry *catalogue_entry(enum catalogue_type type);

/** The entry of an event type's text; NULL where the catalogue does not know it. */
const struct catalogue_entry *catalogue_find(struct quipu_slice event_type);

/* ------------------------------------------------------------------ payloads */

enum catalogue_kind { CATALOGUE_TEXT, CATALOGUE_BYTES, CATALOGUE_NUMBER };

/** One member of a payload. Borrowed. */
struct catalogue_field {
    const char *key;
    enum catalogue_kind kind;
    struct quipu_slice slice; /* text or bytes */
    int64_t number;
};

static inline struct catalogue_field catalogue_text(const char *key, const char *text)
{
    struct catalogue_field field = {key, CATALOGUE_TEXT, quipu_slice_text(text), 0};
    return field;
}

static inline struct catalogue_field catalogue_bytes(const char *key, struct quipu_slice bytes)
{
    struct catalogue_field field = {key, CATALOGUE_BYTES, bytes, 0};
    return field;
}

static inline struct catalogue_field catalogue_number(const char *key, int64_t number)
{
    struct catalogue_field field = {key, CATALOGUE_NUMBER, {NULL, 0}, number};
    return field;
}

#define CATALOGUE_FIELDS_MAX 16

/**
 * Append the map of these fields, in any order, as one item of DAG-CBOR.
 * @retval QUIPU_TOO_LARGE  more than CATALOGUE_FIELDS_MAX
 * @retval QUIPU_CBOR_KEY_DUPLICATE, QUIPU_CBOR_UTF8, QUIPU_NO_MEMORY
 */
QUIPU_MUST_CHECK enum quipu_status catalogue_payload(const struct catalogue_field *fields,
                                                     size_t count, struct quipu_buf *out,
                                                     struct quipu_error *err);

/** An event of this type for this aggregate, without payload; `aggregate_id` is borrowed. */
struct quipu_event catalogue_event(enum catalogue_type type, const char *aggregate_id);

/* ------------------------------------------------------------------ projections */

/**
 * Who may sign, at which threshold, in every published version of a TUF root.
 * Rows: "root/<version, four digits>" → {path, sha256, expires, version, signatures, thresholds:
 * {role: [threshold, number of keys]}}.
 */
extern const struct quipu_projection catalogue_roles;

/**
 * What there is and in which state.
 * Rows: "item/<aggregate type>/<aggregate id>" → {name, state, events} and
 * "count/<aggregate type>/<state>" → {count}.
 */
extern const struct quipu_projection catalogue_inventory;

extern const struct quipu_projection *const catalogue_projections[];
extern const size_t catalogue_projection_count;

/** NULL where there is none of this name. */
const struct quipu_projection *catalogue_projection_find(const char *name);

#endif
