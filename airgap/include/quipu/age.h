/*
 * age, the file encryption format: written to a sink and read from a source, in bounded memory.
 * To several X25519 recipients or to one passphrase (scrypt), binary or armored; `age -d` opens
 * what is written here.
 *
 * Never gives out a byte of plaintext that is not authenticated. But a file that is cut off or
 * damaged further on is known as such only there: what a reader gave before a failure is genuine,
 * and not whole. age does not say who encrypted: that is what signatures are for.
 *
 * Specification: age-encryption.org/v1 (c2sp.org/age); docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AGE_H
#define QUIPU_AGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/clock.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/io.h"
#include "quipu/slice.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Plaintext bytes of every chunk but the last. */
#define QUIPU_AGE_CHUNK_BYTES 65536
/** Longest header that is read or written: more than 10,000 recipients. */
#define QUIPU_AGE_HEADER_BYTES_MAX (1u << 20)
/** Recipients of one file, and X25519 identities of one set of secrets. */
#define QUIPU_AGE_RECIPIENTS_MAX 4096
#define QUIPU_AGE_IDENTITIES_MAX 256
/** Bytes of a passphrase, at least 1. */
#define QUIPU_AGE_PASSPHRASE_BYTES_MAX 4096
/** Base-two logarithm of scrypt's work factor: memory is 1 KiB times the factor, so 256 MiB at 18
 * and 1 GiB at 20. What is written without a word has 18. What is read may have up to 20, for
 * whoever made the file says what it costs to try a passphrase on it; a key file, which is one's
 * own, 22. */
#define QUIPU_AGE_SCRYPT_LOG         18
#define QUIPU_AGE_SCRYPT_LOG_MAX     20
#define QUIPU_AGE_SCRYPT_LOG_KEY_MAX 22
#define QUIPU_AGE_SCRYPT_LOG_CEILING 30
/** "age1…" and "AGE-SECRET-KEY-1…" with their NUL. */
#define QUIPU_AGE_RECIPIENT_TEXT_BYTES 63
#define QUIPU_AGE_IDENTITY_TEXT_BYTES  75

/* ------------------------------------------------------------------ keys */

/** To whom a file is encrypted: an X25519 public key. Not secret. */
struct quipu_age_recipient {
    uint8_t public_key[32];
};

/**
 * Read "age1…": all of `text`, lower case.
 * @retval QUIPU_AGE_KEY          not a key: checksum, length, case, a foreign character
 * @retval QUIPU_AGE_UNSUPPORTED  a recipient of another type (post-quantum, tagged, plugin, SSH)
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_recipient_parse(struct quipu_slice text, struct quipu_age_recipient *out,
                          struct quipu_error *err);

/** Write "age1…" and a NUL. Any thread. */
QUIPU_API void quipu_age_recipient_format(const struct quipu_age_recipient *recipient,
                                          char out[QUIPU_AGE_RECIPIENT_TEXT_BYTES]);

/** X25519 identities and at most one passphrase, in guarded memory that is left out of core dumps,
 * kept from swap where the system lets, and wiped by free. One thread at a time while it is
 * changed; after that shareable. */
struct quipu_age_secrets;

/** An empty set. @retval QUIPU_NO_MEMORY, QUIPU_NO_RANDOM (libsodium does not start) */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status quipu_age_secrets_new(struct quipu_age_secrets **out,
                                                                   struct quipu_error *err);

/** Wipe and free it and set `*secrets` to NULL; NULL in it is fine. */
QUIPU_API void quipu_age_secrets_free(struct quipu_age_secrets **secrets);

/**
 * Add every identity of a text as age-keygen writes it: one "AGE-SECRET-KEY-1…" a line, LF or CRLF,
 * empty lines and lines that begin with '#' between them. Identities of other types (post-quantum,
 * plugin) are noted, and a file that nothing else opens is then QUIPU_AGE_UNSUPPORTED. The caller
 * wipes `text`.
 * @retval QUIPU_AGE_KEY    a line that is no identity, or no identity at all; err names the line
 * and never its characters; nothing was added
 * @retval QUIPU_TOO_LARGE  more than QUIPU_AGE_IDENTITIES_MAX; nothing was added
 * @retval QUIPU_NO_MEMORY
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_add(struct quipu_age_secrets *secrets, struct quipu_slice text,
                      struct quipu_error *err);

/**
 * Make a new identity and add it.
 * @param random  NULL for the system's
 * @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY, or what the randomness says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_generate(struct quipu_age_secrets *secrets, const struct quipu_random *random,
                           struct quipu_error *err);

/** Set the passphrase; copied. The caller wipes its own. @retval QUIPU_INVALID it is empty.
 * @retval QUIPU_TOO_LARGE, QUIPU_NO_MEMORY */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_set_passphrase(struct quipu_age_secrets *secrets, struct quipu_slice passphrase,
                                 struct quipu_error *err);

/** Let the passphrase be tried on files with a work factor of up to `work_factor_max`, where the
 * options of the reader say nothing of it; 0: QUIPU_AGE_SCRYPT_LOG_MAX again.
 * @retval QUIPU_INVALID  over QUIPU_AGE_SCRYPT_LOG_CEILING; nothing changed */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_allow_work(struct quipu_age_secrets *secrets, unsigned work_factor_max,
                             struct quipu_error *err);

/** How many X25519 identities are in it. */
QUIPU_API size_t quipu_age_secrets_count(const struct quipu_age_secrets *secrets);

/** The public half of identity `index`. @retval QUIPU_MISUSE there is none */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_recipient(const struct quipu_age_secrets *secrets, size_t index,
                            struct quipu_age_recipient *out);

/** Write "AGE-SECRET-KEY-1…" and a NUL: a secret, which the caller keeps in locked memory and
 * wipes.
 * @retval QUIPU_MISUSE there is none */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_secrets_format(const struct quipu_age_secrets *secrets, size_t index,
                         char out[QUIPU_AGE_IDENTITY_TEXT_BYTES]);

/** Did the system lock every page of it in memory? Else it may reach swap. */
QUIPU_API bool quipu_age_secrets_is_locked(const struct quipu_age_secrets *secrets);

/* ------------------------------------------------------------------ encrypt */

enum quipu_age_form { QUIPU_AGE_BINARY = 0, QUIPU_AGE_ARMORED };

/** To whom and how. Either recipients or a passphrase. Borrowed for the call. */
struct quipu_age_write_options {
    size_t size; /* sizeof this struct */
    const struct quipu_age_recipient *recipients;
    size_t recipient_count;
    const struct quipu_age_secrets *passphrase; /* only its passphrase is used */
    unsigned work_factor;                       /* 0: QUIPU_AGE_SCRYPT_LOG; at most the ceiling */
    enum quipu_age_form form;
    const struct quipu_random *random; /* NULL: the system's; keys and nonces come from it */
};

#define QUIPU_AGE_WRITE_OPTIONS_INIT                                                               \
    {                                                                                              \
        .size = sizeof(struct quipu_age_write_options)                                             \
    }

/** One file being encrypted. One thread at a time. Holds two chunks. */
struct quipu_age_writer;

/**
 * Write the header to `sink`, which is borrowed until close.
 * @param out  Close it with quipu_age_writer_close. Untouched on failure.
 * @retval QUIPU_MISUSE     options of another size, neither or both of recipients and passphrase
 * @retval QUIPU_INVALID    a recipient twice, or one that no secret can be shared with; a work
 *         factor over QUIPU_AGE_SCRYPT_LOG_CEILING
 * @retval QUIPU_TOO_LARGE  more than QUIPU_AGE_RECIPIENTS_MAX
 * @retval QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, or what the sink or the randomness says
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_writer_open(struct quipu_sink sink, const struct quipu_age_write_options *options,
                      struct quipu_age_writer **out, struct quipu_error *err);

/** Sink that takes the plaintext; valid until close. After a failure it takes nothing more. */
QUIPU_API struct quipu_sink quipu_age_writer_sink(struct quipu_age_writer *writer);

/** Write the last chunk; without it the file is truncated. Once.
 * @retval QUIPU_MISUSE  it was finished, or has failed. @retval what the sink says */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_writer_finish(struct quipu_age_writer *writer, struct quipu_error *err);

/** Wipe and free it and set `*writer` to NULL; NULL in it is fine. */
QUIPU_API void quipu_age_writer_close(struct quipu_age_writer **writer);

/* ------------------------------------------------------------------ decrypt */

struct quipu_age_read_options {
    size_t size; /* sizeof this struct */
    /** 0: what quipu_age_secrets_allow_work says, else QUIPU_AGE_SCRYPT_LOG_MAX; at most the
     * ceiling. */
    unsigned work_factor_max;
};

#define QUIPU_AGE_READ_OPTIONS_INIT                                                                \
    {                                                                                              \
        .size = sizeof(struct quipu_age_read_options)                                              \
    }

/** One file being decrypted. One thread at a time. Holds three chunks and the header. */
struct quipu_age_reader;

/**
 * Read the header, armored or not, find its file key, check the header's MAC.
 *
 * @param source   Borrowed until close; read from where it stands to its end.
 * @param secrets  Borrowed for the call.
 * @param options  NULL for the defaults.
 * @param out      Close it with quipu_age_reader_close. Untouched on failure.
 * @retval QUIPU_AGE              not an age file
 * @retval QUIPU_AGE_VERSION      a version other than v1
 * @retval QUIPU_AGE_ARMOR        its armor is not strict PEM; also later, from the reader's source
 * @retval QUIPU_AGE_HEADER       its header is not as specified, or ends too early (the nonce of
 *         the payload counts as part of it); err names the byte
 * @retval QUIPU_AGE_WORK_FACTOR  scrypt was not even tried
 * @retval QUIPU_AGE_NO_MATCH     nothing in `secrets` opens it
 * @retval QUIPU_AGE_UNSUPPORTED  the same, and the file or `secrets` has keys of other types
 * @retval QUIPU_AGE_MAC          the header is not what its writer wrote
 * @retval QUIPU_TOO_LARGE        header over QUIPU_AGE_HEADER_BYTES_MAX
 * @retval QUIPU_MISUSE (options of another size), QUIPU_INVALID (work factor over the ceiling),
 *         QUIPU_NO_MEMORY, QUIPU_NO_RANDOM, or what the source says
 * err->offset counts from where the source stood: bytes of the source where its armor is at fault,
 * else bytes of the binary form.
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_reader_open(struct quipu_source source, const struct quipu_age_secrets *secrets,
                      const struct quipu_age_read_options *options, struct quipu_age_reader **out,
                      struct quipu_error *err);

/**
 * Source of the plaintext; valid until close. Its end (0 bytes) is given only behind a last chunk
 * that is authentic and behind which nothing follows; else it fails, now and on every further read:
 * QUIPU_AGE_PAYLOAD, QUIPU_AGE_TRUNCATED (certain only at the end of a chunk), QUIPU_AGE_ARMOR, or
 * what the source says.
 */
QUIPU_API struct quipu_source quipu_age_reader_source(struct quipu_age_reader *reader);

/** Wipe and free it and set `*reader` to NULL; NULL in it is fine. */
QUIPU_API void quipu_age_reader_close(struct quipu_age_reader **reader);

/* ------------------------------------------------------------------ whole files */

/** From a source to a sink. @retval as quipu_age_writer_open and _finish */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_encrypt(struct quipu_source source, const struct quipu_age_write_options *options,
                  struct quipu_sink sink, struct quipu_error *err);

/** From a source to a sink, which may have got genuine bytes before a failure.
 * @retval as quipu_age_reader_open and the reader's source, or what the sink says */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_decrypt(struct quipu_source source, const struct quipu_age_secrets *secrets,
                  const struct quipu_age_read_options *options, struct quipu_sink sink,
                  struct quipu_error *err);

/**
 * The same into a new file: complete and synced under its name, or not there. A decrypted file has
 * mode 0600.
 * @retval QUIPU_EXISTS  something has the name; it is not touched
 * @retval QUIPU_NOT_FOUND (no such folder), QUIPU_IO, QUIPU_NO_SPACE, QUIPU_PERMISSION, and as
 * above
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_encrypt_path(struct quipu_source source, const struct quipu_age_write_options *options,
                       const char *path, struct quipu_error *err);
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_age_decrypt_path(struct quipu_source source, const struct quipu_age_secrets *secrets,
                       const struct quipu_age_read_options *options, const char *path,
                       struct quipu_error *err);

#ifdef __cplusplus
}
#endif

#endif
