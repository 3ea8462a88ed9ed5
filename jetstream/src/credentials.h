/*
 * Keys that prove to a server who we are: read from a .creds file, an NKey seed file or the host's
 * callback, checked, and kept until newer ones come. All of it is memory and files; nothing here
 * talks to a server.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_JETSTREAM_CREDENTIALS_H
#define QUIPU_JETSTREAM_CREDENTIALS_H

#include <stdbool.h>
#include <stdint.h>

#include "jwt.h"
#include "quipu/buf.h"
#include "quipu/error.h"

#define SEED_TEXT_CHARS 58 /* SU… */

/* A seed and, of .creds, its JWT. Zero-initialised: none. */
struct nats_credentials {
    bool is_there;
    char seed[SEED_TEXT_CHARS + 1]; /* secret: wiped by release */
    uint8_t public_key[QUIPU_PUBLIC_KEY_BYTES];
    char public_text[QUIPU_SOURCE_TEXT_BYTES]; /* U… */
    struct quipu_buf jwt;                      /* text and a NUL; empty: a bare NKey */
    struct user_jwt claims;                    /* zero where there is no JWT */
};

void quipu_credentials_release(struct nats_credentials *credentials);

/* The same over again. @retval QUIPU_NO_MEMORY  `into` is as it was */
enum quipu_status quipu_credentials_copy(const struct nats_credentials *from,
                                         struct nats_credentials *into,
                                         struct quipu_error *err) QUIPU_MUST_CHECK;

/* The text of a .creds file; `name` is what messages call it.
 * @retval QUIPU_INVALID  no JWT, no seed, a malformed one, or two that do not belong together */
enum quipu_status quipu_credentials_parse(struct quipu_slice text, const char *name,
                                          struct nats_credentials *out,
                                          struct quipu_error *err) QUIPU_MUST_CHECK;

/* The text of a seed file: one seed, and white space. */
enum quipu_status quipu_seed_parse(struct quipu_slice text, const char *name,
                                   struct nats_credentials *out,
                                   struct quipu_error *err) QUIPU_MUST_CHECK;

/* Append a file of secrets to `out`; the caller wipes it with quipu_secret_release.
 * @retval QUIPU_PERMISSION  group or others have a right to it. @retval QUIPU_INVALID  it cannot be
 * read, is no plain file, or is too long */
enum quipu_status quipu_secret_read(const char *what, const char *path, struct quipu_buf *out,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

/* A file that libnats is going to read: the same check of its rights. */
enum quipu_status quipu_secret_check(const char *what, const char *path,
                                     struct quipu_error *err) QUIPU_MUST_CHECK;

/* Wipe and release. */
void quipu_secret_release(struct quipu_buf *secret);

#endif
