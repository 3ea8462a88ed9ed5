/*
 * Signing with the store's own key. The key stays with the engine's identity; here only the bytes
 * that it signs are put together.
 *
 * Specification: PROTOCOL.sshsig of OpenSSH; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "quipu/sshsig.h"

enum quipu_status quipu_sshsig_sign(struct quipu_engine *engine, const char *name_space,
                                    struct quipu_slice message, struct quipu_buf *out,
                                    struct quipu_error *err)
{
    struct quipu_slice space = quipu_slice_text(name_space);
    struct quipu_buf signed_bytes = QUIPU_BUF_INIT;
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    char source[QUIPU_SOURCE_TEXT_BYTES];
    if (space.len == 0) {
        return quipu_error_set(err, QUIPU_INVALID, "a signature needs a namespace");
    }
    enum quipu_status status = quipu_identity_source(engine, source, err);
    if (status == QUIPU_OK) {
        status = quipu_source_public_key(quipu_slice_text(source), public_key, err);
    }
    if (status != QUIPU_OK) {
        return status;
    }
    quipu_sshsig_signed_bytes(space, QUIPU_SSHSIG_SHA512, message, &signed_bytes);
    if (signed_bytes.status != QUIPU_OK) {
        status = quipu_error_set(err, signed_bytes.status, "no memory to sign");
        goto done;
    }
    status = quipu_identity_sign(engine, quipu_buf_slice(&signed_bytes), signature, err);
    if (status != QUIPU_OK) {
        goto done;
    }
    quipu_sshsig_encode_ed25519(public_key, space, signature, out);
    if (out->status != QUIPU_OK) {
        status = quipu_error_set(err, out->status, "no memory for a signature");
    }
done:
    quipu_buf_release(&signed_bytes);
    return status;
}
