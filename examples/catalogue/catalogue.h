/*
 * A catalogue of key-management events and the projections that read them: an example of what a
 * host builds on top of libquipu. Not a part of the library.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef CATALOGUE_H
#define CATALOGUE_H

#include "quipu/projection.h"

/* Event types. */
#define CATALOGUE_ORGANIZATION_CREATED "organization.created"
#define CATALOGUE_PERSON_ADDED         "person.added"
#define CATALOGUE_KEY_GENERATED        "key.generated"
#define CATALOGUE_YUBIKEY_PROVISIONED  "yubikey.provisioned"
#define CATALOGUE_CERTIFICATE_ISSUED   "certificate.issued"
#define CATALOGUE_CERTIFICATE_REVOKED  "certificate.revoked"

/*
 * roles: who may sign a published root, at which threshold. A row "root/<version, 10 digits>" per
 * root version that a threshold of keys has signed; its value is a DAG-CBOR map
 * {"signed_by": number, "thresholds": {role: [threshold, keys]}}.
 */
struct quipu_projection catalogue_roles(void);

/*
 * inventory: what there is. Rows "<aggregate_type>/<aggregate_id>" for organisations, people, keys,
 * YubiKeys and certificates; the value is a DAG-CBOR map {"state": last event type, "version":
 * number}.
 */
struct quipu_projection catalogue_inventory(void);

#endif
