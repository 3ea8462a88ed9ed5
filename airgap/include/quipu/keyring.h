/*
 * Key files: signing keys (an NKey user seed, as a store's signing.key holds it) and age identities
 * (as age-keygen writes them), plain or wrapped. A wrapped key file is an age file for a passphrase
 * whose plaintext is exactly what the plain file would hold, so `age -d` opens it.
 *
 * Every file is made and replaced whole: written beside it with mode 0600, synced, read back and
 * opened, and only then named. There is never a moment without a usable key. A file that group or
 * others have any right to is refused. Secrets lie in guarded memory that is left out of core
 * dumps, kept from swap where the system lets, and wiped.
 *
 * What a disk once held in clear may stay on it: wrapping a plain file does not wipe the blocks it
 * had. A key that must never be found there is made wrapped.
 *
 * Specification: docs/SPEC.md §3.2, §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_KEYRING_H
#define QUIPU_KEYRING_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/age.h"
#include "quipu/clock.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Longest key file that is read, and longest plaintext of a wrapped one. */
#define QUIPU_KEY_FILE_BYTES_MAX 65536
/** Characters of a new passphrase; see quipu_passphrase_check. */
#define QUIPU_PASSPHRASE_CHARS_MIN 12

/* ------------------------------------------------------------------ passphrases */

/**
 * Is it long enough for a new key file? Who steals the file can try passphrases without anybody
 * noticing or slowing them down but scrypt, so it has to be longer than one that a server guards:
 * QUIPU_PASSPHRASE_CHARS_MIN characters (code points), up to QUIPU_AGE_PASSPHRASE_BYTES_MAX bytes.
 * Nothing else is asked of it, but that it is not all blanks and has no NUL, which no keyboard
 * types: rules about digits and signs make passphrases worse.
 * @retval QUIPU_INVALID    too short, blank, with a NUL. @retval QUIPU_TOO_LARGE. err never shows
 * it
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_passphrase_check(struct quipu_slice passphrase,
                                                                    struct quipu_error *err);

/**
 * Who knows the passphrase of a wrapped file. `ask` puts it into `into` with
 * quipu_age_secrets_set_passphrase, and is called at most once for a file, only where that is
 * wrapped. Any failure of it ends the call that asks, with that status.
 */
struct quipu_passphrase {
    enum quipu_status (*ask)(void *ctx, const char *path, struct quipu_age_secrets *into,
                             struct quipu_error *err);
    void *ctx;
};

/* ------------------------------------------------------------------ a signing key at work */

/** An Ed25519 key in guarded memory. It does not change: shareable. */
struct quipu_signing_key;

/**
 * Load a signing key file, plain or wrapped (binary or armored).
 *
 * @param path        A store's signing.key, or a file that quipu_key_make made.
 * @param passphrase  NULL: a wrapped file is refused.
 * @param out         Free it with quipu_signing_key_free. Untouched on failure.
 * @retval QUIPU_NOT_FOUND, QUIPU_IO
 * @retval QUIPU_PERMISSION  group or others have a right to the file, or we have none
 * @retval QUIPU_KEY_LOCKED  it is wrapped, and `passphrase` is NULL
 * @retval QUIPU_CORRUPT     no signing key is in it, or no plain file is there
 * @retval QUIPU_AGE_*       the wrapped file is damaged, or (QUIPU_AGE_NO_MATCH) the passphrase is
 *         another
 * @retval QUIPU_TOO_LARGE   over QUIPU_KEY_FILE_BYTES_MAX
 * @retval QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, or what `passphrase` says
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_signing_key_load(const char *path, const struct quipu_passphrase *passphrase,
                       struct quipu_signing_key **out, struct quipu_error *err);

/** Wipe and free it and set `*key` to NULL; NULL in it is fine. */
QUIPU_API void quipu_signing_key_free(struct quipu_signing_key **key);

/** Its raw Ed25519 public key. Any thread. */
QUIPU_API void quipu_signing_key_public(const struct quipu_signing_key *key,
                                        uint8_t out[QUIPU_PUBLIC_KEY_BYTES]);

/** Ed25519 signature of `message`. @retval QUIPU_NO_RANDOM  libsodium does not start. Any thread.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_signing_key_sign(const struct quipu_signing_key *key, struct quipu_slice message,
                       uint8_t signature[QUIPU_SIGNATURE_BYTES], struct quipu_error *err);

/** Did the system lock it in memory? Else it may reach swap. */
QUIPU_API bool quipu_signing_key_is_locked(const struct quipu_signing_key *key);

/**
 * Open the store's own wrapped key and hand it to the engine (quipu_identity_unlock). Does nothing
 * where the key is plain, was opened before, or is not there yet.
 * @retval as quipu_signing_key_load and quipu_identity_unlock
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_engine_unlock(struct quipu_engine *engine, const struct quipu_passphrase *passphrase,
                    struct quipu_error *err);

/**
 * Add every identity of an age identity file, plain or wrapped, to `secrets`.
 * @retval as quipu_signing_key_load, but QUIPU_AGE_KEY where no identity is in it;
 *         quipu_age_secrets_add
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_load(struct quipu_age_secrets *secrets, const char *path,
                       const struct quipu_passphrase *passphrase, struct quipu_error *err);

/* ------------------------------------------------------------------ making key files */

enum quipu_key_kind { QUIPU_KEY_SIGNING = 0, QUIPU_KEY_AGE };

/** What may be known of a key. */
struct quipu_key_public {
    enum quipu_key_kind kind;
    bool is_wrapped;
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES]; /* Ed25519 or X25519 */
    char text[QUIPU_AGE_RECIPIENT_TEXT_BYTES];  /* NKey "U…" or "age1…", and a NUL */
};

struct quipu_key_options {
    size_t size; /* sizeof this struct */
    /** Wrap it with this passphrase (nothing else of it is used); NULL: a plain file. Borrowed. */
    const struct quipu_age_secrets *passphrase;
    unsigned work_factor;              /* of scrypt; 0: QUIPU_AGE_SCRYPT_LOG */
    enum quipu_age_form form;          /* of a wrapped file */
    const struct quipu_clock *clock;   /* for the comment "created"; NULL: the system's */
    const struct quipu_random *random; /* NULL: the system's */
};

#define QUIPU_KEY_OPTIONS_INIT                                                                     \
    {                                                                                              \
        .size = sizeof(struct quipu_key_options), .form = QUIPU_AGE_ARMORED                        \
    }

/**
 * Make a key in a new file of mode 0600.
 * @param out  What may be known of it, or NULL.
 * @retval QUIPU_EXISTS   something has the name; it is not touched
 * @retval QUIPU_BUSY     another process is writing that file
 * @retval QUIPU_MISUSE   options of another size. @retval QUIPU_INVALID  no passphrase is set in
 *         `options->passphrase`, the path names no file, or as quipu_age_writer_open
 * @retval QUIPU_NOT_FOUND (no such folder), QUIPU_PERMISSION, QUIPU_IO, QUIPU_NO_SPACE,
 *         QUIPU_NO_MEMORY, QUIPU_NO_RANDOM
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_key_make(const char *path, enum quipu_key_kind kind, const struct quipu_key_options *options,
               struct quipu_key_public *out, struct quipu_error *err);

/** What may be known of the key in a file. @param passphrase  NULL: a wrapped file is refused.
 * @retval as quipu_signing_key_load; QUIPU_CORRUPT  neither a signing key nor an identity is in it
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_key_look(const char *path, const struct quipu_passphrase *passphrase,
               struct quipu_key_public *out, struct quipu_error *err);

/** Is the file wrapped? Needs no passphrase. @retval as quipu_signing_key_load */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_key_is_wrapped(const char *path, bool *out,
                                                                  struct quipu_error *err);

/**
 * Give the key in `path` another cover: wrapped with options->passphrase, or plain where that is
 * NULL. The key stays the same. The old file is in its place until the new one was read back and
 * opened, and then the new one is.
 * @param passphrase  that of the file as it is; NULL: it is plain
 * @param out         What may be known of it, or NULL.
 * @retval QUIPU_INVALID  it is plain and should become plain. @retval as quipu_key_look and
 *         quipu_key_make (but QUIPU_EXISTS)
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_key_rewrap(const char *path, const struct quipu_passphrase *passphrase,
                 const struct quipu_key_options *options, struct quipu_key_public *out,
                 struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
