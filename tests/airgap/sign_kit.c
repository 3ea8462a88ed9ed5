/*
 * Keys of tests: made afresh each time, so that none lies in the tree.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sign_kit.h"

#include <stdlib.h>

void sign_kit_init(struct sign_kit *kit)
{
    if (sodium_init() < 0 || crypto_sign_keypair(kit->public_key, kit->secret_key) != 0) {
        abort();
    }
}

void sign_kit_sign(const struct sign_kit *kit, const char *name_space, enum quipu_sshsig_hash hash,
                   struct quipu_slice message, struct quipu_buf *out)
{
    struct quipu_sshsig sshsig = {.name_space = quipu_slice_text(name_space), .hash = hash};
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    memcpy(sshsig.public_key, kit->public_key, sizeof sshsig.public_key);
    quipu_sshsig_signed_bytes(sshsig.name_space, hash, message, &bytes);
    if (bytes.status != QUIPU_OK ||
        crypto_sign_detached(sshsig.signature, NULL, bytes.data, bytes.len, kit->secret_key) != 0) {
        abort();
    }
    quipu_sshsig_encode(&sshsig, out);
    quipu_buf_release(&bytes);
}
