/*
 * The texts of the auditor's folder: keys as OpenSSH writes them, and the page of commands. Pure.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_UNPACK_TEXT_H
#define QUIPU_AIRGAP_UNPACK_TEXT_H

#include "bundle_manifest.h"

#define QUIPU_UNPACK_PRINCIPAL_BYTES 72

struct quipu_unpack_facts {
    const struct quipu_bundle_report *report;
    size_t signers;
    char principals[QUIPU_BUNDLE_SIGNATURES_MAX][QUIPU_UNPACK_PRINCIPAL_BYTES];
};

/* Whom ssh-keygen is asked for: the NKey text of an Ed25519 key, else "key-" and the first 32
 * digits of the key's SHA-256. */
void quipu_unpack_principal(struct quipu_slice key, char out[QUIPU_UNPACK_PRINCIPAL_BYTES]);

/* VERIFY.txt. */
void quipu_unpack_instructions(const struct quipu_unpack_facts *facts, struct quipu_buf *out);

#endif
