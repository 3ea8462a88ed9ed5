/*
 * What the files of the keyring share: bytes in guarded memory, key files as they are read and
 * replaced. Private to airgap/.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_AIRGAP_KEYRING_PARTS_H
#define QUIPU_AIRGAP_KEYRING_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/keyring.h"

/* ------------------------------------------------------------------ guarded bytes
 * (keyring_cover.c)
 */

/* Zeroed is empty; release wipes. */
struct keyring_bytes {
    uint8_t *data; /* secret memory of `cap` bytes */
    size_t len;
    size_t cap;
    bool is_locked; /* the system locked every page */
};

/* @retval QUIPU_NO_MEMORY, QUIPU_NO_RANDOM (libsodium does not start) */
QUIPU_MUST_CHECK enum quipu_status keyring_bytes_init(struct keyring_bytes *bytes, size_t cap,
                                                      struct quipu_error *err);
void keyring_bytes_release(struct keyring_bytes *bytes);

static inline struct quipu_slice keyring_bytes_slice(const struct keyring_bytes *bytes)
{
    return quipu_slice(bytes->data, bytes->len);
}

/* ------------------------------------------------------------------ covers (keyring_cover.c) */

/* An age file, binary or armored, by its first bytes. */
bool keyring_is_wrapped(struct quipu_slice file);

/* What a key file holds, into `plain`, which the caller releases in any case. A plain file's bytes
 * are moved there. @retval QUIPU_KEY_LOCKED, QUIPU_AGE_*, QUIPU_NO_MEMORY, or what `passphrase`
 * says
 */
QUIPU_MUST_CHECK enum quipu_status keyring_open(const char *path, struct keyring_bytes *file,
                                                const struct quipu_passphrase *passphrase,
                                                struct keyring_bytes *plain,
                                                struct quipu_error *err);

/* The bytes of a key file with the cover that the options say. `wrapped` is the memory for a
 * wrapped one; the caller releases it. `*out` is borrowed from it or from `plain`. */
QUIPU_MUST_CHECK enum quipu_status keyring_cover(const struct keyring_bytes *plain,
                                                 const struct quipu_key_options *options,
                                                 struct quipu_buf *wrapped, struct quipu_slice *out,
                                                 struct quipu_error *err);

/* Does `file` open to exactly `plain`? @retval QUIPU_IO  it does not: the medium lost or changed
 * bytes */
QUIPU_MUST_CHECK enum quipu_status keyring_check(const char *path, struct keyring_bytes *file,
                                                 const struct quipu_key_options *options,
                                                 const struct keyring_bytes *plain,
                                                 struct quipu_error *err);

/* ------------------------------------------------------------------ files (keyring_file.c) */

/* All of a plain file that nobody else has a right to; `name` is looked up in the folder `dir`, and
 * `path` names it in errors. Release `out` in any case. @retval QUIPU_NOT_FOUND, QUIPU_PERMISSION,
 * QUIPU_CORRUPT (no plain file), QUIPU_TOO_LARGE, QUIPU_IO, QUIPU_NO_MEMORY */
QUIPU_MUST_CHECK enum quipu_status keyring_file_read(int dir, const char *name, const char *path,
                                                     struct keyring_bytes *out,
                                                     struct quipu_error *err);

#define KEYRING_NAME_BYTES 256

/* A key file that is being made or replaced: written beside it. Make it with KEYRING_FILE_INIT;
 * keyring_file_end works from then on. */
struct keyring_file {
    const char *path; /* as the caller names it; borrowed */
    const char *base; /* its last part; borrowed */
    int folder;
    int fd;                        /* of the temporary file, locked */
    char temp[KEYRING_NAME_BYTES]; /* empty: it is not there */
};

#define KEYRING_FILE_INIT                                                                          \
    {                                                                                              \
        .folder = -1, .fd = -1                                                                     \
    }

enum keyring_naming { KEYRING_NEW, KEYRING_REPLACE };

/* Make the temporary file, empty, and keep every other process from doing so.
 * @retval QUIPU_EXISTS (KEYRING_NEW: something has the name), QUIPU_BUSY, QUIPU_INVALID (the path
 * names no file), QUIPU_NOT_FOUND (no such folder), QUIPU_PERMISSION, QUIPU_IO */
QUIPU_MUST_CHECK enum quipu_status keyring_file_begin(struct keyring_file *file, const char *path,
                                                      enum keyring_naming naming,
                                                      struct quipu_error *err);

/* Write, sync, and read it back from the medium into `back`, which the caller releases. */
QUIPU_MUST_CHECK enum quipu_status keyring_file_write(struct keyring_file *file,
                                                      struct quipu_slice bytes,
                                                      struct keyring_bytes *back,
                                                      struct quipu_error *err);

/* Give it its name, durably. */
QUIPU_MUST_CHECK enum quipu_status
keyring_file_name(struct keyring_file *file, enum keyring_naming naming, struct quipu_error *err);

/* Remove the temporary file, where it has no name yet, and close. */
void keyring_file_end(struct keyring_file *file);

#endif
