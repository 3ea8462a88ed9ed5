/*
 * The events of the catalogue: for each type its name, its aggregate, the state that the aggregate
 * is in afterwards, and the fields of its payload. Written down once, as lists: the C structs, the
 * reading and writing of payloads, and the declarations for a registry of types (quipu/types.h) all
 * come from them.
 *
 * Payloads hold public facts only. Who or what is meant is told by the id of its aggregate, such as
 * "ada" for a person or a serial number for a YubiKey.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_CATALOGUE_EVENTS_H
#define QUIPU_CATALOGUE_EVENTS_H

#include <stdint.h>

#include "quipu/slice.h"

/* X(NAME, name, event type, aggregate type, state) */
#define CATALOGUE_MAP(X)                                                                           \
    X(ORGANIZATION_CREATED, organization_created, "organization.created", "organization",          \
      "active")                                                                                    \
    X(PERSON_ADDED, person_added, "person.added", "person", "active")                              \
    X(PERSON_ROLE_GRANTED, person_role_granted, "person.role_granted", "person", "active")         \
    X(PERSON_LEFT, person_left, "person.left", "person", "left")                                   \
    X(CEREMONY_OPENED, ceremony_opened, "ceremony.opened", "ceremony", "open")                     \
    X(CEREMONY_CLOSED, ceremony_closed, "ceremony.closed", "ceremony", "closed")                   \
    X(KEY_GENERATED, key_generated, "key.generated", "key", "active")                              \
    X(KEY_PROVISIONED, key_provisioned, "key.provisioned", "key", "active")                        \
    X(KEY_CERTIFIED, key_certified, "key.certified", "key", "active")                              \
    X(KEY_REVOKED, key_revoked, "key.revoked", "key", "revoked")                                   \
    X(YUBIKEY_REGISTERED, yubikey_registered, "yubikey.registered", "yubikey", "blank")            \
    X(YUBIKEY_PROVISION_REQUESTED, yubikey_provision_requested, "yubikey.provision_requested",     \
      "yubikey", "requested")                                                                      \
    X(YUBIKEY_PROVISION_APPROVED, yubikey_provision_approved, "yubikey.provision_approved",        \
      "yubikey", "approved")                                                                       \
    X(YUBIKEY_PROVISIONED, yubikey_provisioned, "yubikey.provisioned", "yubikey", "provisioned")   \
    X(YUBIKEY_RETIRED, yubikey_retired, "yubikey.retired", "yubikey", "retired")                   \
    X(CERTIFICATE_ISSUED, certificate_issued, "certificate.issued", "certificate", "valid")        \
    X(CERTIFICATE_REVOKED, certificate_revoked, "certificate.revoked", "certificate", "revoked")   \
    X(NATS_OPERATOR_CREATED, nats_operator_created, "nats_operator.created", "nats_operator",      \
      "active")                                                                                    \
    X(NATS_ACCOUNT_CREATED, nats_account_created, "nats_account.created", "nats_account",          \
      "active")                                                                                    \
    X(NATS_USER_CREATED, nats_user_created, "nats_user.created", "nats_user", "active")

enum catalogue_type {
#define CATALOGUE_ENUM(NAME, name, type, aggregate, state) CATALOGUE_##NAME,
    CATALOGUE_MAP(CATALOGUE_ENUM)
#undef CATALOGUE_ENUM
        CATALOGUE_TYPES
};

/* ------------------------------------------------------------------ fields */

/*
 * F(kind, member, need). Kinds: TEXT of 1 to 255 bytes; BYTES of any length but 0; DIGEST, 32
 * bytes; NUMBER, an integer; TIME, microseconds since 1970 UTC. A field that is OPTIONAL is absent
 * where it is empty or 0.
 */

#define CATALOGUE_ORGANIZATION_CREATED_FIELDS(F)                                                   \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, country, OPTIONAL)                                                                     \
    F(TEXT, domain, OPTIONAL)

#define CATALOGUE_PERSON_ADDED_FIELDS(F)                                                           \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, organization, REQUIRED)

#define CATALOGUE_PERSON_ROLE_GRANTED_FIELDS(F)                                                    \
    F(TEXT, role, REQUIRED)                                                                        \
    F(TEXT, ceremony, OPTIONAL)

#define CATALOGUE_PERSON_LEFT_FIELDS(F) F(TEXT, reason, OPTIONAL)

#define CATALOGUE_CEREMONY_OPENED_FIELDS(F)                                                        \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, place, REQUIRED)                                                                       \
    F(NUMBER, officers_needed, REQUIRED)                                                           \
    F(DIGEST, script_sha256, OPTIONAL)

#define CATALOGUE_CEREMONY_CLOSED_FIELDS(F)                                                        \
    F(TEXT, by, REQUIRED)                                                                          \
    F(DIGEST, transcript_sha256, OPTIONAL)

/* fingerprint: SHA-256 of public_key */
#define CATALOGUE_KEY_GENERATED_FIELDS(F)                                                          \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, purpose, REQUIRED)                                                                     \
    F(TEXT, algorithm, REQUIRED)                                                                   \
    F(BYTES, public_key, REQUIRED)                                                                 \
    F(DIGEST, fingerprint, REQUIRED)                                                               \
    F(TEXT, holder, REQUIRED)                                                                      \
    F(TEXT, nkey, OPTIONAL)                                                                        \
    F(TEXT, ceremony, OPTIONAL)

/* With yubikey.provisioned in one batch: the key's own history says where it is. */
#define CATALOGUE_KEY_PROVISIONED_FIELDS(F)                                                        \
    F(TEXT, yubikey, REQUIRED)                                                                     \
    F(TEXT, slot, REQUIRED)

/* With certificate.issued in one batch. */
#define CATALOGUE_KEY_CERTIFIED_FIELDS(F)                                                          \
    F(TEXT, certificate, REQUIRED)                                                                 \
    F(TIME, not_after, REQUIRED)

#define CATALOGUE_KEY_REVOKED_FIELDS(F)                                                            \
    F(TEXT, reason, REQUIRED)                                                                      \
    F(TEXT, by, OPTIONAL)                                                                          \
    F(TEXT, ceremony, OPTIONAL)

/* attestation_sha256: of the attestation certificate that the device came with */
#define CATALOGUE_YUBIKEY_REGISTERED_FIELDS(F)                                                     \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, firmware, REQUIRED)                                                                    \
    F(TEXT, ceremony, OPTIONAL)                                                                    \
    F(DIGEST, attestation_sha256, OPTIONAL)

#define CATALOGUE_YUBIKEY_PROVISION_REQUESTED_FIELDS(F)                                            \
    F(TEXT, by, REQUIRED)                                                                          \
    F(TEXT, slot, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)

#define CATALOGUE_YUBIKEY_PROVISION_APPROVED_FIELDS(F) F(TEXT, by, REQUIRED)

#define CATALOGUE_YUBIKEY_PROVISIONED_FIELDS(F)                                                    \
    F(TEXT, slot, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)                                                                         \
    F(TEXT, pin_policy, OPTIONAL)                                                                  \
    F(TEXT, touch_policy, OPTIONAL)

#define CATALOGUE_YUBIKEY_RETIRED_FIELDS(F)                                                        \
    F(TEXT, reason, REQUIRED)                                                                      \
    F(TEXT, by, OPTIONAL)

/* issuer: id of the issuer's certificate, its own for a root. signed_bytes: one block of DAG-CBOR,
 * kept whole, so that whoever checks the signature need not encode anything again. fingerprint: its
 * SHA-256. */
#define CATALOGUE_CERTIFICATE_ISSUED_FIELDS(F)                                                     \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)                                                                         \
    F(TEXT, issuer, REQUIRED)                                                                      \
    F(NUMBER, serial, REQUIRED)                                                                    \
    F(TEXT, uses, REQUIRED)                                                                        \
    F(TIME, not_before, REQUIRED)                                                                  \
    F(TIME, not_after, REQUIRED)                                                                   \
    F(TEXT, algorithm, REQUIRED)                                                                   \
    F(BYTES, signed_bytes, REQUIRED)                                                               \
    F(BYTES, signature, REQUIRED)                                                                  \
    F(DIGEST, fingerprint, REQUIRED)                                                               \
    F(TEXT, ceremony, OPTIONAL)

#define CATALOGUE_CERTIFICATE_REVOKED_FIELDS(F)                                                    \
    F(TEXT, reason, REQUIRED)                                                                      \
    F(TEXT, by, OPTIONAL)

#define CATALOGUE_NATS_OPERATOR_CREATED_FIELDS(F)                                                  \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)                                                                         \
    F(TEXT, nkey, REQUIRED)

/* issuer: id of the operator; signed_by: the NKey that signed, its own or one of its signing keys
 */
#define CATALOGUE_NATS_ACCOUNT_CREATED_FIELDS(F)                                                   \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)                                                                         \
    F(TEXT, nkey, REQUIRED)                                                                        \
    F(TEXT, issuer, REQUIRED)                                                                      \
    F(TEXT, signed_by, REQUIRED)

/* issuer: id of the account */
#define CATALOGUE_NATS_USER_CREATED_FIELDS(F)                                                      \
    F(TEXT, name, REQUIRED)                                                                        \
    F(TEXT, key, REQUIRED)                                                                         \
    F(TEXT, nkey, REQUIRED)                                                                        \
    F(TEXT, issuer, REQUIRED)                                                                      \
    F(TEXT, signed_by, REQUIRED)                                                                   \
    F(TIME, expires, OPTIONAL)

/* ------------------------------------------------------------------ as C structs */

#define CATALOGUE_C_TEXT                     struct quipu_slice
#define CATALOGUE_C_BYTES                    struct quipu_slice
#define CATALOGUE_C_DIGEST                   struct quipu_slice
#define CATALOGUE_C_NUMBER                   int64_t
#define CATALOGUE_C_TIME                     int64_t
#define CATALOGUE_MEMBER(kind, member, need) CATALOGUE_C_##kind member;

/* struct catalogue_key_generated { struct quipu_slice name; … }, and so on for each type. Slices
 * are borrowed. */
#define CATALOGUE_STRUCT(NAME, name, type, aggregate, state)                                       \
    struct catalogue_##name {                                                                      \
        CATALOGUE_##NAME##_FIELDS(CATALOGUE_MEMBER)                                                \
    };
CATALOGUE_MAP(CATALOGUE_STRUCT)
#undef CATALOGUE_STRUCT

/** Any of them; `type` says which. */
struct catalogue_payload_of {
    enum catalogue_type type;
    union {
#define CATALOGUE_UNION(NAME, name, type, aggregate, state) struct catalogue_##name name;
        CATALOGUE_MAP(CATALOGUE_UNION)
#undef CATALOGUE_UNION
    } of;
};

#endif
