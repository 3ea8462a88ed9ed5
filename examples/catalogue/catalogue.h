/*
 * A key-management catalogue on top of quipu: the types of events that a key ceremony records
 * (events.h), payloads from and to C structs, the rules that decide what may happen, and three
 * projections. An example of what an application brings along, so it is a library of its own and
 * knows libquipu by its public headers only.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CATALOGUE_H
#define QUIPU_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "events.h"
#include "quipu/buf.h"
#include "quipu/command.h"
#include "quipu/engine.h"
#include "quipu/projection.h"
#include "quipu/types.h"

/* ------------------------------------------------------------------ types of events */

/** Of every type, so far. */
#define CATALOGUE_SCHEMA 1

struct catalogue_entry {
    const char *event_type;
    const char *aggregate_type;
    const char *state;
};

/** What the catalogue says of a type. Static. */
const struct catalogue_entry *catalogue_entry(enum catalogue_type type);

/** The type that an entry is of. */
enum catalogue_type catalogue_type_of(const struct catalogue_entry *entry);

/** The entry of an event type's text; NULL where the catalogue does not know it. */
const struct catalogue_entry *catalogue_find(struct quipu_slice event_type);

/** Append the subject on which events of this type are published below `prefix` (such as
 * "cim.keys"), with a wildcard for the event's id: what a subscriber to one type asks for. */
void catalogue_subject(enum catalogue_type type, const char *prefix, struct quipu_buf *out);

/** Declare every type. @retval as quipu_types_declare */
QUIPU_MUST_CHECK enum quipu_status catalogue_declare(struct quipu_types *types,
                                                     struct quipu_error *err);

/* ------------------------------------------------------------------ payloads */

/**
 * Append the payload of an event of this type, `payload` being its struct: struct
 * catalogue_key_generated for CATALOGUE_KEY_GENERATED. Rather use catalogue_write_key_generated and
 * its like, which hold the two together.
 * @retval QUIPU_INVALID  names the type and the field that is missing or does not fit
 * @retval QUIPU_CBOR_UTF8, QUIPU_NO_MEMORY
 */
QUIPU_MUST_CHECK enum quipu_status catalogue_write(enum catalogue_type type, const void *payload,
                                                   struct quipu_buf *out, struct quipu_error *err);

/** Read one; `out` borrows from `payload`. Members that are not of the type are passed over.
 * @retval QUIPU_INVALID  as above. @retval QUIPU_CBOR_* */
QUIPU_MUST_CHECK enum quipu_status catalogue_read(enum catalogue_type type,
                                                  struct quipu_slice payload,
                                                  struct catalogue_payload_of *out,
                                                  struct quipu_error *err);

/** Is this the name of a field of the type's payload? */
bool catalogue_knows(enum catalogue_type type, struct quipu_slice field);

#define CATALOGUE_WRITE(NAME, name, type, aggregate, state)                                        \
    QUIPU_MUST_CHECK static inline enum quipu_status catalogue_write_##name(                       \
        const struct catalogue_##name *payload, struct quipu_buf *out, struct quipu_error *err)    \
    {                                                                                              \
        return catalogue_write(CATALOGUE_##NAME, payload, out, err);                               \
    }
CATALOGUE_MAP(CATALOGUE_WRITE)
#undef CATALOGUE_WRITE

/* What the above is made of, for maps that are no payload of the catalogue. */

enum catalogue_kind {
    CATALOGUE_TEXT,
    CATALOGUE_BYTES,
    CATALOGUE_DIGEST,
    CATALOGUE_NUMBER,
    CATALOGUE_TIME
};

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

/* ------------------------------------------------------------------ rules */

/**
 * Commands that decide by the history of what they are about, and append with the version that the
 * decision stands on (quipu/command.h). Where two aggregates are concerned, such as a device and
 * the key on it, both get an event in one batch, each with its own expectation: so nothing can
 * come between, on either side. A refusal is QUIPU_INVALID with a line that names the rule.
 */
struct catalogue_context {
    struct quipu_engine *engine;
    struct quipu_uuid correlation_id; /* nil: none */
    struct quipu_uuid causation_id;   /* nil: none */
    uint32_t retries;                 /* where another writer came first */
};

/** Ask for a key to be put on a device. The device is registered and not retired, nobody else's
 * request is open, the key is known and not revoked. */
QUIPU_MUST_CHECK enum quipu_status
catalogue_request_provision(const struct catalogue_context *context, const char *serial,
                            const struct catalogue_yubikey_provision_requested *request,
                            struct quipu_error *err);

/** Two-person rule: there is an open request, and somebody else made it. */
QUIPU_MUST_CHECK enum quipu_status
catalogue_approve_provision(const struct catalogue_context *context, const char *serial,
                            const struct catalogue_yubikey_provision_approved *approval,
                            struct quipu_error *err);

/** It is approved, for this key and this slot; the key is not revoked. Appends yubikey.provisioned
 * and key.provisioned. */
QUIPU_MUST_CHECK enum quipu_status
catalogue_provision(const struct catalogue_context *context, const char *serial,
                    const struct catalogue_yubikey_provisioned *provisioned,
                    struct quipu_error *err);

/** The key is known and not revoked, the issuer's certificate is valid (or its own: a root), it
 * begins before it ends, and there is none of this id. Appends certificate.issued and
 * key.certified. */
QUIPU_MUST_CHECK enum quipu_status
catalogue_issue_certificate(const struct catalogue_context *context, const char *id,
                            const struct catalogue_certificate_issued *certificate,
                            struct quipu_error *err);

/** The key is known and not revoked yet. */
QUIPU_MUST_CHECK enum quipu_status catalogue_revoke_key(const struct catalogue_context *context,
                                                        const char *id,
                                                        const struct catalogue_key_revoked *revoked,
                                                        struct quipu_error *err);

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

/**
 * The current state of everything, row by row, for what a person would ask.
 * "<aggregate type>/<aggregate id>"      → the fields of its events, the later ones over the
 *                                          earlier ones, and "state"
 * "held/<yubikey>/<slot>"                → {holder, key, state}: who holds which key on which
 * device "expires/<time>/<certificate>"         → {issuer, key, not_before}: valid certificates by
 * the time when they end "signed/<issuer>/<id>"                 → {kind, nkey, signed_by}: which
 * operator signed which account, and which account which user "unfit/<aggregate type>/<aggregate
 * id>" → {event_type, why}: an event of the catalogue's types whose payload is not what the
 * catalogue writes; the last
 */
extern const struct quipu_projection catalogue_state;

extern const struct quipu_projection *const catalogue_projections[];
extern const size_t catalogue_projection_count;

/** NULL where there is none of this name. */
const struct quipu_projection *catalogue_projection_find(const char *name);

#endif
