/*
 * Whom one trusts: a file of allowed signers as ssh-keygen reads it, so that one file serves quipu
 * and `ssh-keygen -Y verify`.
 *
 * Each line: principals, options, key type, base64, comment. Options are namespaces="…",
 * valid-after="…" and valid-before="…"; cert-authority is refused, because certificates are not
 * read, and so is any option that is not known here. Every type of key that sshsig.h verifies may
 * stand in a line; lines with DSA keys are counted, and trust nobody.
 *
 * Specification: ssh-keygen(1), ALLOWED SIGNERS; docs/SPEC.md §9.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QUIPU_TRUST_H
#define QUIPU_TRUST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quipu/engine.h"
#include "quipu/error.h"
#include "quipu/export.h"
#include "quipu/slice.h"
#include "quipu/sshsig.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QUIPU_TRUST_BYTES_MAX   (1u << 20) /* of a file */
#define QUIPU_TRUST_SIGNERS_MAX 4096u

/** Immutable once made; shareable. */
struct quipu_trust;

/** One line. Slices are borrowed from the trust. */
struct quipu_trust_signer {
    struct quipu_slice principals; /* comma-separated patterns; never empty */
    struct quipu_slice namespaces; /* the same; empty: any namespace */
    struct quipu_slice key;        /* in its wire form */
    enum quipu_ssh_key_type type;
    int64_t valid_after_unix_us;  /* INT64_MIN: not said */
    int64_t valid_before_unix_us; /* INT64_MAX: not said */
    uint64_t line;                /* from 1 */
};

/**
 * Read the text of a file. Times without a final Z are local time, as ssh-keygen takes them.
 * @param out  Free it with quipu_trust_free. Untouched on failure.
 * @retval QUIPU_INVALID    a line that is none; err names line and cure. Also cert-authority
 * @retval QUIPU_TOO_LARGE  over QUIPU_TRUST_BYTES_MAX or QUIPU_TRUST_SIGNERS_MAX
 * @retval QUIPU_NO_MEMORY
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_trust_parse(struct quipu_slice text, struct quipu_trust **out, struct quipu_error *err);

/**
 * The same of a file. Nobody but this user and the superuser may be able to change it: as sshd asks
 * of authorized_keys, neither it nor a folder on the way to it is another user's or open to group
 * and others; folders like /tmp, where others can rename nothing but their own, may be.
 * @retval QUIPU_PERMISSION  somebody else could have written it; or it cannot be read
 * @retval QUIPU_INVALID     not a regular file. QUIPU_NOT_FOUND, QUIPU_IO, and as above
 * @threads any
 */
QUIPU_API QUIPU_MUST_CHECK enum quipu_status
quipu_trust_load(const char *path, struct quipu_trust **out, struct quipu_error *err);

/** NULL in it is fine; becomes NULL. */
QUIPU_API void quipu_trust_free(struct quipu_trust **trust);

/** Lines with keys that may sign. */
QUIPU_API size_t quipu_trust_count(const struct quipu_trust *trust);

/** Lines with DSA keys, which trust nobody here. */
QUIPU_API size_t quipu_trust_ignored(const struct quipu_trust *trust);

/** NULL where there is none at `index`. Borrowed from the trust. */
QUIPU_API const struct quipu_trust_signer *quipu_trust_signer_at(const struct quipu_trust *trust,
                                                                 size_t index);

/** May the key of this line sign in this namespace, at this time (µs since 1970 UTC)? Valid at
 * both ends of its span, as ssh-keygen has it. Any thread. */
QUIPU_API bool quipu_trust_signer_may(const struct quipu_trust_signer *signer,
                                      const char *name_space, int64_t unix_us);

/** The first line by which the key may sign in this namespace at this time; NULL: none. Any thread.
 */
QUIPU_API const struct quipu_trust_signer *quipu_trust_find(const struct quipu_trust *trust,
                                                            struct quipu_slice key,
                                                            const char *name_space,
                                                            int64_t unix_us);

#ifdef __cplusplus
}
#endif

#endif
