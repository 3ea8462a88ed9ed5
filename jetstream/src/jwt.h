/*
 * What a user's JWT says: whose it is, until when it holds, and what its user may publish. Its
 * signature is the server's business, which alone knows whom it trusts.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_JETSTREAM_JWT_H
#define QUIPU_JETSTREAM_JWT_H

#include <stdbool.h>
#include <stdint.h>

#include "quipu/buf.h"
#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/slice.h"

#define JWT_BYTES_MAX (64 << 10)

/* Subjects, each with a NUL behind it. Nothing in `allow`: everything is. */
struct subject_rules {
    struct quipu_buf allow;
    struct quipu_buf deny;
};

struct user_jwt {
    char subject[QUIPU_SOURCE_TEXT_BYTES]; /* the user's public key, U… */
    int64_t issued_unix_us;                /* 0: it does not say */
    int64_t expires_unix_us;               /* 0: never */
    struct subject_rules publish;
    bool may_respond; /* to requests that it gets, whatever the rules say */
};

/* Three parts of canonical base64url without padding; a header that says JWT and Ed25519; claims
 * that are JSON without a key twice, for a user (U…), issued by an account (A…).
 * @retval QUIPU_INVALID  err says what is wrong, and quotes nothing. @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_user_jwt_read(struct quipu_slice text, struct user_jwt *out,
                                      struct quipu_error *err) QUIPU_MUST_CHECK;
void quipu_user_jwt_release(struct user_jwt *jwt);

bool quipu_rules_are_empty(const struct subject_rules *rules);

/* The same rules over again. @retval QUIPU_NO_MEMORY */
enum quipu_status quipu_rules_copy(const struct subject_rules *from, struct subject_rules *into,
                                   struct quipu_error *err) QUIPU_MUST_CHECK;
void quipu_rules_release(struct subject_rules *rules);

/* @retval QUIPU_PERMISSION  a rule forbids `subject`, or a part of what it matches, or none allows
 * all of it */
enum quipu_status quipu_rules_check(const struct subject_rules *rules, const char *subject,
                                    struct quipu_error *err) QUIPU_MUST_CHECK;

#endif
