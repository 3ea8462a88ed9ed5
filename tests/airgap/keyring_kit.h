/*
 * Key files for tests: a passphrase that is always at hand, a clock that stands still, scrypt that
 * costs nothing.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TESTS_KEYRING_KIT_H
#define QUIPU_TESTS_KEYRING_KIT_H

#include "quipu/buf.h"
#include "quipu/keyring.h"
#include "temp_dir.h"

#define KEYRING_KIT_PASSPHRASE "correct horse battery"

/* Who is asked: answers `answer`, or QUIPU_STOPPED where that is NULL. */
struct keyring_kit_asked {
    const char *answer;
    unsigned count;
};
struct quipu_passphrase keyring_kit_ask(struct keyring_kit_asked *asked);

/* A set with this passphrase; the caller frees. */
struct quipu_age_secrets *keyring_kit_secrets(const char *passphrase);

/* A low work factor and the clock; 2026-11-21T10:00:00Z. */
struct quipu_key_options keyring_kit_options(void);

/* Make a key; `passphrase` NULL: plain. The test fails where that fails. */
void keyring_kit_make(const char *path, enum quipu_key_kind kind, const char *passphrase,
                      enum quipu_age_form form, struct quipu_key_public *out);

/* What is in a wrapped file, read by the age reader; the caller releases. */
void keyring_kit_decrypt(const char *path, const char *passphrase, struct quipu_buf *out);

/* Nothing but `name` is in the folder. */
void keyring_kit_assert_alone(const struct temp_dir *dir, const char *name);

#endif
