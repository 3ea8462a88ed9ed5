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

/* string("ssh-ed25519") ‖ string(bytes), as keys and signatures are written. */
static void write_typed(struct quipu_buf *out, const uint8_t *bytes, size_t len)
{
    static const char name[] = "ssh-ed25519";
    const uint8_t name_head[] = {0, 0, 0, sizeof name - 1};
    const uint8_t head[] = {0, 0, 0, (uint8_t)len};
    quipu_buf_append(out, name_head, sizeof name_head);
    quipu_buf_append_text(out, name);
    quipu_buf_append(out, head, sizeof head);
    quipu_buf_append(out, bytes, len);
}

void sign_kit_sign(const struct sign_kit *kit, const char *name_space, enum quipu_sshsig_hash hash,
                   struct quipu_slice message, struct quipu_buf *out)
{
    uint8_t signature[QUIPU_SIGNATURE_BYTES];
    struct quipu_buf bytes = QUIPU_BUF_INIT;
    struct quipu_buf key = QUIPU_BUF_INIT;
    struct quipu_buf value = QUIPU_BUF_INIT;
    quipu_sshsig_signed_bytes(quipu_slice_text(name_space), hash, message, &bytes);
    if (bytes.status != QUIPU_OK ||
        crypto_sign_detached(signature, NULL, bytes.data, bytes.len, kit->secret_key) != 0) {
        abort();
    }
    write_typed(&key, kit->public_key, sizeof kit->public_key);
    write_typed(&value, signature, sizeof signature);
    struct quipu_sshsig sshsig = {
        .key = quipu_buf_slice(&key),
        .name_space = quipu_slice_text(name_space),
        .hash = hash,
        .signature = quipu_buf_slice(&value),
    };
    quipu_sshsig_encode(&sshsig, out);
    quipu_buf_release(&bytes);
    quipu_buf_release(&key);
    quipu_buf_release(&value);
}
