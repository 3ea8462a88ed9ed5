/*
 * Age files in memory, and headers forged with the file key at hand: what only a writer gone wrong,
 * or an attacker who is a recipient, could make.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_AGE_KIT_H
#define QUIPU_TESTS_AGE_KIT_H

#include "age_parts.h"

/* Secrets with `count` fresh identities; the caller frees. */
struct quipu_age_secrets *age_kit_secrets(size_t count);
struct quipu_age_secrets *age_kit_passphrase(const char *passphrase);
struct quipu_age_recipient age_kit_recipient(const struct quipu_age_secrets *secrets, size_t index);

/* `len` bytes that differ from chunk to chunk; the caller releases. */
void age_kit_plain(struct quipu_buf *out, size_t len);

/* Encrypt into `out`, `step` bytes a call (0: all at once); the test fails where that fails. */
void age_kit_encrypt(struct quipu_slice plain, const struct quipu_age_write_options *options,
                     size_t step, struct quipu_buf *out);
/* The same to identity 0 of `secrets`, binary. */
void age_kit_encrypt_to(struct quipu_slice plain, const struct quipu_age_secrets *secrets,
                        struct quipu_buf *out);

/* Decrypt, `step` bytes a read (0: as large as it likes). `out` has what was given out. */
enum quipu_status age_kit_decrypt(struct quipu_slice file, const struct quipu_age_secrets *secrets,
                                  size_t step, struct quipu_buf *out, struct quipu_error *err);

/* A file being forged; age_kit_forge_init makes its file key and a stanza for identity 0. */
struct age_forge {
    struct age_keys keys;
    char stanza[256];
};
void age_kit_forge_init(struct age_forge *forge, const struct quipu_age_secrets *secrets);
/* `lines` stands for all before "---"; "%s" in it for the stanza. MAC, nonce and `plain` follow. */
void age_kit_forge(struct age_forge *forge, const char *lines, struct quipu_slice plain,
                   struct quipu_buf *out);

#endif
